use std::collections::BTreeMap;

use chrono::Days;
use domain::{risk::Band, tenant::Bands};
use proptest::prelude::*;

use super::*;
use crate::{dataset::Dataset, features::FeatureState, prior, synthetic::Random};

const BANDS: [&str; 4] = [
    Band::Low.name(),
    Band::Medium.name(),
    Band::High.name(),
    Band::Critical.name(),
];

fn on(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

fn person(number: u32) -> EmployeeId {
    format!("00000000-0000-0000-0000-{number:012}").parse().expect("an id")
}

fn scored(number: u32, probability: f64, scored_on: Date) -> Scored {
    Scored {
        employee: person(number),
        probability,
        band: Bands::default().band(probability).name().to_owned(),
        scored_on,
        horizon_days: 180,
    }
}

fn measured(record: &Record) -> &Measures {
    match &record.finding {
        Finding::Measured(measures) => measures,
        Finding::NotEnoughRipe { .. } => panic!("not enough ripe predictions: {record:?}"),
    }
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

const fn left(on: Date) -> Option<SpellEnd> {
    Some(SpellEnd::Event { on })
}

/// The counts (ripe, unripe, unknown) of one prediction of New Year 2025, whose window ends on 30 June.
fn counts(outcome: Option<SpellEnd>, known_until: Date) -> (usize, usize, usize) {
    let found = truth(&[scored(1, 0.3, on(2025, 1, 1))], &BANDS, |_, _| outcome, known_until);
    (found.overall.ripe, found.overall.unripe, found.overall.unknown)
}

#[test]
fn a_prediction_is_ripe_when_its_whole_window_is_known() {
    let (ripe, unripe, unknown) = ((1, 0, 0), (0, 1, 0), (0, 0, 1));
    let end = on(2025, 6, 30);
    let later = on(2026, 1, 1);
    // For leavers as for those who are still here.
    for outcome in [Some(SpellEnd::Open), left(on(2025, 2, 1)), None] {
        assert_eq!(counts(outcome, on(2025, 6, 29)), unripe, "{outcome:?}");
    }
    assert_eq!(counts(Some(SpellEnd::Open), end), ripe);
    assert_eq!(counts(left(on(2025, 2, 1)), end), ripe);
    assert_eq!(counts(left(on(2025, 7, 1)), later), ripe);
    let censored = |on| Some(SpellEnd::Censored { on });
    assert_eq!(counts(censored(on(2025, 6, 30)), later), unknown);
    assert_eq!(counts(censored(on(2025, 7, 1)), later), ripe);
    assert_eq!(counts(None, later), unknown);
    // Known later, but decided before the score.
    assert_eq!(counts(left(on(2025, 1, 1)), later), unknown);
}

#[test]
fn an_exit_counts_from_the_day_after_the_score_to_the_windows_last_day() {
    let known_until = on(2026, 6, 1);
    let observed = |exit: Date| {
        let scores: Vec<Scored> = (0..30).map(|number| scored(number, 0.3, on(2025, 1, 1))).collect();
        let found = truth(&scores, &BANDS, |_, _| left(exit), known_until);
        measured(&found.overall).observed
    };
    assert_eq!(observed(on(2025, 1, 2)), 30);
    assert_eq!(observed(on(2025, 6, 30)), 30);
    assert_eq!(observed(on(2025, 7, 1)), 0);
}

#[test]
fn figures_are_those_of_a_calculation_by_hand() {
    // 20 of 100 people at .3 (high) and 30 of 300 at .05 (low) left.
    let high = (0..100).map(|number| scored(number, 0.3, on(2025, 1, 1)));
    let low = (100..400).map(|number| scored(number, 0.05, on(2025, 1, 1)));
    let scores: Vec<Scored> = high.chain(low).collect();
    let leavers: Vec<EmployeeId> = (0..20).chain(100..130).map(person).collect();
    let outcome = |employee: EmployeeId, _: Date| {
        if leavers.contains(&employee) {
            left(on(2025, 3, 1))
        } else {
            Some(SpellEnd::Open)
        }
    };
    let found = truth(&scores, &BANDS, outcome, on(2025, 12, 31));
    assert_eq!((found.scores, found.overlapping), (400, 0));

    let all = measured(&found.overall);
    close(all.expected, 100.0 * 0.3 + 300.0 * 0.05);
    assert_eq!(all.observed, 50);
    close(all.observed_over_expected.expect("some expected"), 50.0 / 45.0);
    // Garwood, 50: 37.11 to 65.92 (the tables of Pearson and Hartley).
    let bounds = all.bounds.expect("some expected");
    assert!(
        (bounds.low * 45.0 - 37.11).abs() < 0.01 && (bounds.high * 45.0 - 65.92).abs() < 0.01,
        "{bounds:?}"
    );
    assert_eq!(all.reading, Reading::AsPredicted);
    close(
        all.brier,
        (20.0 * 0.49 + 80.0 * 0.09 + 30.0 * 0.9025 + 270.0 * 0.0025) / 400.0,
    );
    // Pairs: 20 high leavers beat 270 low stayers and tie with 80; 30 low leavers tie with 270.
    let won = 20.0 * (270.0 + 40.0) + 30.0 * 135.0;
    close(all.auc.expect("both kinds"), won / (50.0 * 350.0));
    // The top tenth are 40 of the 100 high ones, who share their luck.
    close(all.lift_top_tenth.expect("both kinds"), 0.2 / 0.125);
    let deciles = all.deciles.as_ref().expect("enough");
    assert_eq!(deciles.table.len(), 10);
    assert!(deciles.table.iter().all(|bin| bin.n == 40));
    close(deciles.mean_absolute_error, expected_calibration_error(&deciles.table));

    let bands: Vec<&str> = found.bands.iter().map(|band| band.band.as_str()).collect();
    assert_eq!(bands, BANDS);
    let low = measured(&found.bands[0].record);
    assert_eq!((low.observed, low.reading), (30, Reading::MoreLeft));
    close(low.expected, 15.0);
    assert_eq!(low.auc, Some(0.5));
    let medium = &found.bands[1].record;
    assert_eq!(
        (medium.ripe, &medium.finding),
        (0, &Finding::NotEnoughRipe { needed: RIPE_MIN })
    );
    let high = measured(&found.bands[2].record);
    close(high.observed_over_expected.expect("some expected"), 20.0 / 30.0);
}

#[test]
fn what_the_numbers_are_too_small_for_is_not_said() {
    let figures = |ripe: u32, leavers: u32| {
        let scores: Vec<Scored> = (0..ripe).map(|number| scored(number, 0.2, on(2025, 1, 1))).collect();
        let outcome = |employee: EmployeeId, _: Date| {
            if (0..leavers).any(|number| person(number) == employee) {
                left(on(2025, 2, 2))
            } else {
                Some(SpellEnd::Open)
            }
        };
        truth(&scores, &BANDS, outcome, on(2026, 1, 1)).overall
    };
    assert_eq!(figures(29, 10).finding, Finding::NotEnoughRipe { needed: 30 });
    let thirty = figures(30, 9);
    assert_eq!((measured(&thirty).observed, measured(&thirty).auc), (9, None));
    assert_eq!(
        (measured(&thirty).lift_top_tenth, &measured(&thirty).deciles),
        (None, &None)
    );
    assert_eq!(measured(&figures(30, 10)).auc, Some(0.5));
    assert_eq!(measured(&figures(30, 21)).auc, None);
    assert!(measured(&figures(99, 10)).deciles.is_none() && measured(&figures(100, 10)).deciles.is_some());
    assert_eq!(measured(&figures(200, 10)).reading, Reading::FewerLeft);
}

#[test]
fn an_exit_is_counted_once_however_often_the_person_was_scored() {
    let first = on(2025, 1, 1);
    let later = |days| first + Days::new(days);
    let scores: Vec<Scored> = (0..40)
        .flat_map(|number| [179, 0, 1, 90, 180, 200, 360].map(|days| scored(number, 0.25, later(days))))
        .collect();
    // They left within the first window; of a second one there is nothing left to know.
    let outcome = |_: EmployeeId, _: Date| left(later(100));
    let found = truth(&scores, &BANDS, outcome, on(2026, 12, 31));
    assert_eq!((found.scores, found.overlapping), (280, 40 * 4));
    assert_eq!((found.overall.ripe, found.overall.unknown), (40, 80));
    assert_eq!(measured(&found.overall).observed, 40);
    // Windows that touch do not overlap: (first, later(180)] and (later(180), later(360)].
    let touching = truth(
        &[scores[1].clone(), scores[4].clone()],
        &BANDS,
        outcome,
        on(2026, 12, 31),
    );
    assert_eq!(touching.overlapping, 0);
}

#[test]
fn a_person_who_came_back_has_an_outcome_after_each_return() {
    let scores = [scored(1, 0.3, on(2024, 1, 1)), scored(1, 0.3, on(2025, 1, 1))];
    let outcome = |_: EmployeeId, after: Date| {
        if after < on(2024, 6, 1) {
            left(on(2024, 3, 1))
        } else {
            Some(SpellEnd::Open)
        }
    };
    let found = truth(&scores, &BANDS, outcome, on(2026, 1, 1));
    assert_eq!((found.overall.ripe, found.overall.unknown), (2, 0));
}

/// The whole way, on invented histories: what is told of scores in use is what the labels of the data set say.
#[test]
fn truth_in_use_is_what_labels_say() {
    let company = prior::company(5, 400);
    let histories = company.histories();
    let prior = prior::prior().expect("the committed prior");
    let dataset = Dataset::build(&histories, company.ends_on(), &mut |_| {});
    let cutoff = dataset.rows[dataset.rows.len() / 2].cutoff;
    let rows: Vec<_> = dataset.rows.iter().filter(|row| row.cutoff == cutoff).collect();
    let scores: Vec<Scored> = rows
        .iter()
        .map(|row| {
            let probability = prior.score(&row.x, cutoff).probability;
            Scored {
                employee: row.employee,
                ..scored(0, probability, cutoff)
            }
        })
        .collect();
    let states: BTreeMap<EmployeeId, FeatureState> = histories
        .iter()
        .map(|history| {
            let mut state = FeatureState::default();
            history
                .events
                .iter()
                .for_each(|recorded| _ = state.apply(&recorded.event));
            (history.employee, state)
        })
        .collect();
    let outcome = |employee: EmployeeId, after: Date| states.get(&employee).map(|state| state.end_after(after));
    let found = truth(&scores, &BANDS, outcome, company.ends_on());
    let labels = rows
        .iter()
        .filter(|row| dataset.outcome(row, Window::Days(180)).is_some())
        .count();
    let positives = rows
        .iter()
        .filter(|row| dataset.outcome(row, Window::Days(180)) == Some(true))
        .count();
    assert!(labels > 300 && positives > 10, "{labels} {positives}");
    assert_eq!(found.overall.ripe, labels);
    assert_eq!(found.overall.unknown, rows.len() - labels);
    assert_eq!(measured(&found.overall).observed, positives);
}

#[test]
fn a_truth_reads_back_as_it_was_written() {
    let mut random = Random::seeded(31);
    let scores: Vec<Scored> = (0..120)
        .map(|number| scored(number, random.unit(), on(2025, 1, 1)))
        .collect();
    let found = truth(&scores, &BANDS, |_, _| Some(SpellEnd::Open), on(2026, 1, 1));
    let json = serde_json::to_string(&found).expect("json");
    assert!(
        json.contains(r#""finding":{"kind":"not_enough_ripe","needed":30}"#),
        "{json}"
    );
    let again: Truth = serde_json::from_str(&json).expect("a truth");
    assert_eq!(again.overall.ripe, 120);
    assert!(serde_json::from_str::<Truth>(&json.replacen("overlapping", "twice", 1)).is_err());
    assert!(serde_json::from_str::<Truth>(&json.replacen("\"brier\"", "\"brier_score\"", 1)).is_err());
}

proptest! {
    #[test]
    fn every_score_is_counted_once_and_windows_stay_apart(
        given in prop::collection::vec((0..6_u32, 0..900_u64, 0.0..1.0_f64, prop_oneof![Just(0_u16), Just(90), Just(180)]), 0..80),
    ) {
        let first = on(2024, 1, 1);
        let scores: Vec<Scored> = given
            .iter()
            .map(|(number, days, probability, horizon_days)| Scored {
                horizon_days: *horizon_days,
                ..scored(*number, *probability, first + Days::new(*days))
            })
            .collect();
        let outcome = |employee: EmployeeId, after: Date| match employee.to_string().as_bytes().last() {
            Some(b'0') => left(after + Days::new(30)),
            Some(b'1') => Some(SpellEnd::Censored { on: after + Days::new(30) }),
            Some(b'2') => None,
            Some(_) | None => Some(SpellEnd::Open),
        };
        let found = truth(&scores, &BANDS, outcome, on(2025, 6, 1));
        let counted = |record: &Record| record.ripe + record.unripe + record.unknown;
        prop_assert_eq!(counted(&found.overall) + found.overlapping, found.scores);
        let in_bands: usize = found.bands.iter().map(|band| counted(&band.record)).sum();
        prop_assert_eq!(in_bands, counted(&found.overall));
        for pair in without_overlap(&scores).windows(2) {
            if pair[0].employee == pair[1].employee {
                prop_assert!(pair[1].scored_on >= Window::Days(pair[0].horizon_days).end(pair[0].scored_on));
                prop_assert!(pair[1].scored_on > pair[0].scored_on);
            }
        }
    }
}
