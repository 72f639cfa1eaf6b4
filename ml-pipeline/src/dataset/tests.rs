use domain::{
    Personal,
    employee::{
        Absence, ColleagueLeft, Contact, Ended, Ending, Erasure, GiveNotice, Hired, Job, Moved, Name, Objection,
        Relation, Review, Voluntariness,
    },
};

use super::*;
use crate::{
    features::{FeatureId, PayLevels},
    prior,
};

const HORIZON: Window = Window::Days(180);

fn on(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

fn until() -> Date {
    on(2026, 1, 1)
}

fn known(known_on: Date, event: Event) -> Recorded {
    Recorded { known_on, event }
}

fn hired(day: Date) -> Recorded {
    let event = Event::Hired(Hired {
        on: day,
        source: None,
        name: Name::default().into(),
        contact: Contact::default().into(),
        job: Job::default(),
        manager: None,
        pay: None,
        hours: None,
    });
    known(day, event)
}

fn notice(day: Date) -> Recorded {
    known(
        day,
        Event::NoticeGiven(GiveNotice {
            on: day,
            last_day: None,
            voluntariness: Voluntariness::Voluntary,
        }),
    )
}

fn terminated(voluntariness: Voluntariness, day: Date) -> Recorded {
    known(
        day,
        Event::Terminated(Ending {
            on: day,
            ended: Ended {
                voluntariness,
                reason: None,
            },
        }),
    )
}

fn absence(effective: Date, known_on: Date) -> Recorded {
    known(
        known_on,
        Event::AbsenceRecorded(Absence {
            on: effective,
            days: 9,
            kind: None,
        }),
    )
}

fn history(events: Vec<Recorded>) -> History {
    History {
        employee: "00000000-0000-0000-0000-000000000001".parse().expect("an id"),
        events,
    }
}

/// Somebody whose exit shows that the source tells of exits from 2023 on.
fn stranger() -> History {
    History {
        employee: "00000000-0000-0000-0000-000000000002".parse().expect("an id"),
        events: vec![
            hired(on(2022, 12, 1)),
            terminated(Voluntariness::Involuntary, on(2023, 1, 15)),
        ],
    }
}

fn build(events: Vec<Recorded>) -> Dataset {
    Dataset::build(&[history(events), stranger()], until(), &mut |_| {})
}

fn y(dataset: &Dataset, cutoff: Date) -> Option<bool> {
    dataset.outcome(row(dataset, cutoff).expect("at risk"), HORIZON)
}

fn row(dataset: &Dataset, cutoff: Date) -> Option<&Row> {
    dataset.rows.iter().find(|row| row.cutoff == cutoff)
}

fn bits(row: &Row) -> Vec<u64> {
    row.x.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn the_window_is_open_at_the_cutoff_and_closed_at_the_horizon() {
    let dataset = build(vec![
        hired(on(2024, 1, 1)),
        notice(on(2025, 2, 1)),
        terminated(Voluntariness::Voluntary, on(2025, 3, 1)),
    ]);
    let label = |cutoff| row(&dataset, cutoff).map(|row| dataset.outcome(row, HORIZON));
    assert_eq!(label(on(2024, 8, 1)), Some(Some(false)), "184 days before");
    assert_eq!(label(on(2024, 9, 1)), Some(Some(true)), "153 days before");
    assert_eq!(label(on(2025, 1, 1)), Some(Some(true)));
    assert_eq!(label(on(2025, 2, 1)), None, "on notice");
    assert_eq!(label(on(2025, 4, 1)), None, "gone");
    let exactly = build(vec![hired(on(2024, 1, 1)), notice(on(2024, 2, 1) + Days::new(180))]);
    assert_eq!(y(&exactly, on(2024, 2, 1)), Some(true));
    let just_after = build(vec![hired(on(2024, 1, 1)), notice(on(2024, 2, 1) + Days::new(181))]);
    assert_eq!(y(&just_after, on(2024, 2, 1)), Some(false));
}

#[test]
fn an_exit_in_the_team_is_seen_when_it_is_known_and_not_before() {
    let exit = Event::ColleagueLeft(ColleagueLeft {
        colleague: "00000000-0000-0000-0000-000000000003".parse().expect("an id"),
        relation: Relation::Peer,
        on: on(2024, 3, 20),
    });
    let seen = |known_on, cutoff| {
        let dataset = build(vec![hired(on(2024, 1, 1)), known(known_on, exit.clone())]);
        let id = FeatureId::named("team_exits").expect("a feature");
        row(&dataset, cutoff).expect("at risk").x[id.index()]
    };
    // Told three weeks later: the first cut-off after it has happened does not know of it.
    assert!(seen(on(2024, 4, 10), on(2024, 4, 1)).abs() < f64::EPSILON);
    assert!(seen(on(2024, 4, 10), on(2024, 5, 1)) > 0.5);
    assert!(seen(on(2024, 3, 20), on(2024, 4, 1)) > 0.5, "imported history");
}

#[test]
fn open_windows_and_other_exits_are_unknown() {
    let dismissed = build(vec![
        hired(on(2024, 1, 1)),
        terminated(Voluntariness::Involuntary, on(2025, 1, 15)),
    ]);
    assert_eq!(y(&dismissed, on(2024, 10, 1)), None);
    assert_eq!(y(&dismissed, on(2024, 5, 1)), Some(false));
    let recent = build(vec![hired(on(2024, 1, 1)), notice(on(2025, 12, 1))]);
    assert_eq!(
        y(&recent, on(2025, 10, 1)),
        None,
        "positives of open windows are unknown, too"
    );
    assert_eq!(y(&recent, on(2025, 7, 1)), Some(true));
    assert_eq!(y(&recent, on(2025, 5, 1)), Some(false));
}

#[test]
fn a_rehire_is_at_risk_again() {
    let rehired = known(on(2025, 1, 1), Event::Rehired { on: on(2025, 1, 1) });
    let dataset = build(vec![
        hired(on(2023, 1, 1)),
        terminated(Voluntariness::Voluntary, on(2024, 3, 10)),
        rehired,
    ]);
    assert_eq!(y(&dataset, on(2024, 2, 1)), Some(true));
    assert!(row(&dataset, on(2024, 6, 1)).is_none());
    let again = row(&dataset, on(2025, 2, 1)).expect("at risk");
    assert_eq!(dataset.outcome(again, HORIZON), Some(false));
    assert!(again.x[FeatureId::named("tenure_years").expect("a feature").index()] < 0.1);
}

#[test]
fn a_leak_that_is_recorded_after_the_cutoff_changes_nothing() {
    let honest = vec![
        hired(on(2024, 1, 1)),
        notice(on(2025, 2, 10)),
        terminated(Voluntariness::Voluntary, on(2025, 3, 1)),
    ];
    let mut leaking = honest.clone();
    // Written down when the person left, back-dated to before: the classic way in which the future gets into training.
    leaking.push(absence(on(2024, 12, 1), on(2025, 3, 2)));
    let review = Review {
        on: on(2024, 12, 1),
        rating: 1.into(),
        reviewer: None,
    };
    leaking.push(known(on(2025, 3, 2), Event::ReviewRecorded(review)));
    let (honest, leaking) = (build(honest), build(leaking));
    assert_eq!(honest.rows.len(), leaking.rows.len());
    for (honest, leaking) in honest.rows.iter().zip(&leaking.rows) {
        assert_eq!(bits(honest), bits(leaking));
    }
    let seen = build(vec![hired(on(2024, 1, 1)), absence(on(2024, 12, 1), on(2024, 12, 2))]);
    let days =
        row(&seen, on(2025, 1, 1)).expect("at risk").x[FeatureId::named("absence_days").expect("a feature").index()];
    assert_eq!(days, 9.0, "the same fact counts if it was known");
}

#[test]
fn labels_know_nothing_that_was_recorded_after_the_last_known_day() {
    let mut late = notice(on(2025, 3, 10));
    late.known_on = until() + Days::new(1);
    let dataset = build(vec![hired(on(2024, 1, 1)), late]);
    assert_eq!(y(&dataset, on(2025, 3, 1)), Some(false));
}

#[test]
fn erased_and_objecting_people_are_left_out() {
    let erased = Event::Erased(Erasure {
        on: on(2025, 6, 1),
        basis: "request".to_owned(),
    });
    assert!(
        build(vec![hired(on(2024, 1, 1)), known(on(2025, 6, 1), erased)])
            .rows
            .is_empty()
    );
    let objected = Event::ScoringObjected(Objection { on: on(2025, 6, 1) });
    assert!(
        build(vec![hired(on(2024, 1, 1)), known(on(2025, 6, 1), objected)])
            .rows
            .is_empty()
    );
}

#[test]
fn unreadable_values_are_missing() {
    let review = Event::ReviewRecorded(Review {
        on: on(2024, 2, 1),
        rating: Personal::Unreadable,
        reviewer: None,
    });
    let dataset = build(vec![hired(on(2024, 1, 1)), known(on(2024, 2, 1), review)]);
    assert!(
        row(&dataset, on(2024, 3, 1)).expect("at risk").x[FeatureId::named("rating").expect("a feature").index()]
            .is_nan()
    );
}

#[test]
fn features_as_of_a_day_are_those_of_a_replay_to_that_day() {
    // Late and out-of-order events included; the log order is not the order of learning for some of them.
    let company = prior::company(5, 40);
    let mut histories = company.histories();
    for history in &mut histories {
        let swap = history.events.len() / 2;
        if swap > 2 {
            history.events.swap(swap, swap - 1);
        }
    }
    let dataset = Dataset::build(&histories, company.ends_on(), &mut |_| {});
    assert!(dataset.rows.len() > 500);
    let known_then = |row: &Row| {
        let history = histories
            .iter()
            .find(|history| history.employee == row.employee)
            .expect("a history");
        let mut state = FeatureState::default();
        for recorded in history.events.iter().filter(|recorded| recorded.known_on <= row.cutoff) {
            state.apply(&recorded.event);
        }
        state
    };
    let mut compared = 0;
    for of_day in dataset.rows.chunk_by(|one, other| one.cutoff == other.cutoff) {
        let states: Vec<FeatureState> = of_day.iter().map(known_then).collect();
        let levels = PayLevels::of(states.iter().filter_map(|state| state.pay_in_group(of_day[0].cutoff)));
        for (row, state) in of_day.iter().zip(states) {
            let live: Vec<u64> = state
                .vector(row.cutoff, &levels)
                .values
                .iter()
                .map(|value| value.to_bits())
                .collect();
            assert_eq!(bits(row), live);
            let compa_ratio = FeatureId::named("compa_ratio").expect("a feature").index();
            compared += usize::from(row.x[compa_ratio].is_finite());
        }
    }
    assert!(compared > 100, "pay was compared {compared} times");
}

#[test]
fn no_label_that_is_learnt_from_looks_into_what_is_tested_on() {
    let company = prior::company(5, 40);
    let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
    let test_from = on(2024, 1, 1);
    let (train, test) = (dataset.before(test_from), dataset.from(test_from));
    for window in [Window::Month, HORIZON] {
        assert!(train.labelled(window).count() > 0);
        assert!(
            train
                .labelled(window)
                .all(|(row, _)| window.end(row.cutoff) <= test_from)
        );
    }
    assert!(!test.rows.is_empty() && test.rows.iter().all(|row| row.cutoff >= test_from));
}

#[test]
fn every_exit_is_in_one_month() {
    let dataset = build(vec![
        hired(on(2024, 1, 1)),
        notice(on(2025, 2, 1)),
        terminated(Voluntariness::Voluntary, on(2025, 3, 1)),
    ]);
    let months: Vec<Date> = dataset
        .labelled(Window::Month)
        .filter(|(_, y)| *y)
        .map(|(row, _)| row.cutoff)
        .collect();
    assert_eq!(months, [on(2025, 1, 1)]);
}

#[test]
fn months_before_the_first_known_exit_teach_nothing() {
    // Back to 2003 in the source, which forgets who left before 2023.
    let dataset = build(vec![hired(on(2003, 5, 1)), notice(on(2025, 2, 10))]);
    assert_eq!(dataset.rows.first().map(|row| row.cutoff), Some(on(2023, 2, 1)));
    let nobody_left = Dataset::build(&[history(vec![hired(on(2003, 5, 1))])], until(), &mut |_| {});
    assert!(nobody_left.rows.is_empty());
}

/// A career program from Cashier to Supervisor.
fn ladder() -> Path {
    Path {
        from: vec!["Cashier".to_owned(), "Senior Cashier".to_owned()],
        to: vec!["Supervisor".to_owned()],
    }
}

fn titled(title: &str) -> Job {
    Job {
        title: Some(title.to_owned()),
        ..Job::default()
    }
}

fn hired_as(title: &str, day: Date) -> Recorded {
    let mut hire = hired(day);
    if let Event::Hired(hired) = &mut hire.event {
        hired.job = titled(title);
    }
    hire
}

fn becomes(title: &str, day: Date) -> Recorded {
    let moved = Moved {
        from: Job::default(),
        to: titled(title),
        on: day,
    };
    known(day, Event::Promoted(moved))
}

fn candidates(events: Vec<Recorded>) -> Dataset {
    let target = Target::Promotion {
        name: "Ladder".to_owned(),
        paths: vec![ladder()],
    };
    Dataset::of(target, &[history(events), stranger()], until(), &mut |_| {})
}

#[test]
fn candidates_are_those_in_a_job_that_the_program_starts_from() {
    let dataset = candidates(vec![
        hired_as("Trainee", on(2023, 2, 1)),
        becomes("Cashier", on(2024, 1, 15)),
        becomes("senior cashier ", on(2024, 7, 1)),
        becomes("Supervisor", on(2025, 1, 15)),
    ]);
    let cutoffs: Vec<Date> = dataset.rows.iter().map(|row| row.cutoff).collect();
    assert_eq!(cutoffs.first(), Some(&on(2024, 2, 1)), "a trainee is none");
    assert_eq!(cutoffs.last(), Some(&on(2025, 1, 1)), "a supervisor is none any more");
    let end = SpellEnd::Event { on: on(2025, 1, 15) };
    assert!(
        dataset.rows.iter().all(|row| row.end == end),
        "a step between is no end"
    );
    assert_eq!(y(&dataset, on(2024, 2, 1)), Some(false));
    assert_eq!(y(&dataset, on(2024, 8, 1)), Some(true));
    let in_role = FeatureId::named("years_in_role").expect("a feature").index();
    let years = row(&dataset, on(2024, 8, 1)).expect("a candidate").x[in_role];
    assert!((years - 31.0 / 365.25).abs() < 1e-9, "{years}");
}

#[test]
fn whoever_leaves_or_goes_elsewhere_is_no_failure_of_readiness() {
    let start = || hired_as("Cashier", on(2024, 1, 1));
    let end = |event: Recorded| candidates(vec![start(), event]).rows[0].end;
    let day = on(2024, 6, 1);
    assert_eq!(end(notice(day)), SpellEnd::Censored { on: day });
    assert_eq!(
        end(terminated(Voluntariness::Involuntary, day)),
        SpellEnd::Censored { on: day }
    );
    assert_eq!(end(becomes("Accountant", day)), SpellEnd::Censored { on: day });
    assert_eq!(end(becomes("Supervisor", day)), SpellEnd::Event { on: day });
    // A promotion after notice was given did not come of readiness as a candidate.
    let both = candidates(vec![start(), notice(day), becomes("Supervisor", on(2024, 6, 10))]);
    assert_eq!(both.rows[0].end, SpellEnd::Censored { on: day });
    assert_eq!(
        both.rows.last().map(|row| row.cutoff),
        Some(day - chrono::Days::new(31))
    );
}

#[test]
fn a_promotion_is_not_seen_before_it_was_known() {
    let late = Recorded {
        known_on: on(2025, 3, 10),
        ..becomes("Supervisor", on(2025, 1, 15))
    };
    let dataset = candidates(vec![hired_as("Cashier", on(2024, 1, 1)), late]);
    assert!(row(&dataset, on(2025, 3, 1)).is_some(), "nobody knew yet");
    assert_eq!(y(&dataset, on(2025, 3, 1)), None, "and nothing was left to predict");
    assert_eq!(y(&dataset, on(2025, 1, 1)), Some(true));
    assert!(row(&dataset, on(2025, 4, 1)).is_none());
}

#[test]
fn pay_is_compared_with_the_same_job_as_it_was_known_then() {
    use domain::{
        employee::PayChanged,
        money::{Currency, Money, PayPeriod, PayRate},
    };
    let paid = |number: u32, title: &str, thousands: i64| {
        let rate = PayRate {
            amount: Money {
                minor_units: thousands * 100_000,
                currency: Currency::USD,
            },
            per: PayPeriod::Year,
        };
        let change = Event::PayChanged(PayChanged {
            from: None,
            to: Personal::Open(rate),
            reason: None,
            on: on(2024, 1, 2),
        });
        History {
            employee: format!("00000000-0000-0000-0001-{number:012}").parse().expect("an id"),
            events: vec![hired_as(title, on(2024, 1, 1)), known(on(2024, 1, 2), change)],
        }
    };
    let mut histories: Vec<History> = [40, 45, 50, 55, 60]
        .into_iter()
        .enumerate()
        .map(|(number, pay)| paid(number as u32, "Cashier", pay))
        .collect();
    histories.extend((10..14).map(|number| paid(number, "Accountant", 90)));
    histories.push(stranger());
    let compa_ratio = FeatureId::named("compa_ratio").expect("a feature").index();
    let ratios = |histories: &[History], cutoff: Date| -> Vec<f64> {
        let dataset = Dataset::build(histories, until(), &mut |_| {});
        let of_day = dataset.rows.iter().filter(|row| row.cutoff == cutoff);
        of_day.map(|row| row.x[compa_ratio]).collect()
    };
    let day = on(2024, 3, 1);
    let found = ratios(&histories, day);
    assert_eq!(found[..5], [0.8, 0.9, 1.0, 1.1, 1.2]);
    assert!(
        found[5..].iter().all(|ratio| ratio.is_nan()),
        "four are too few to compare with"
    );
    // Somebody who comes later, or whose pay is learnt of later, does not change what was known then.
    let mut later = paid(99, "cashier", 500);
    later.events[1].known_on = on(2024, 6, 1);
    histories.push(later);
    assert_eq!(ratios(&histories, day)[..5], [0.8, 0.9, 1.0, 1.1, 1.2]);
    assert_eq!(ratios(&histories, on(2024, 7, 1))[2], 50.0 / 52.5);
}
