use domain::{
    Personal,
    employee::{
        Absence, ColleagueLeft, ColleagueStayed, Contact, Demographics, Ended, Ending, Erasure, Event, GiveNotice,
        Hired, Job, Moved, Name, Note, Objection, Overtime, PayChanged, Recognition, Review, Survey, Voluntariness,
        WeeklyMinutes,
    },
    id::EmployeeId,
    money::{Currency, Money, PayPeriod, PayRate},
};
use proptest::prelude::*;

use super::*;

fn on(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

fn manager(number: u8) -> EmployeeId {
    format!("00000000-0000-0000-0000-0000000000{number:02}")
        .parse()
        .expect("an id")
}

fn yearly(dollars: i64) -> Personal<PayRate> {
    let amount = Money {
        minor_units: dollars * 100,
        currency: Currency::USD,
    };
    Personal::Open(PayRate {
        amount,
        per: PayPeriod::Year,
    })
}

fn hired(day: Date) -> Event {
    Event::Hired(Hired {
        on: day,
        source: None,
        name: Name::default().into(),
        contact: Contact::default().into(),
        job: Job::default(),
        manager: Some(manager(1)),
        pay: Some(yearly(50_000)),
        hours: Some(WeeklyMinutes(2_400)),
    })
}

fn pay(dollars: i64, day: Date) -> Event {
    Event::PayChanged(PayChanged {
        from: None,
        to: yearly(dollars),
        reason: None,
        on: day,
    })
}

fn review(rating: Personal<u8>, day: Date) -> Event {
    Event::ReviewRecorded(Review {
        on: day,
        rating,
        reviewer: None,
    })
}

fn survey(score: u8, day: Date) -> Event {
    Event::SurveyAnswered(Survey {
        on: day,
        survey: "pulse".to_owned(),
        score: score.into(),
    })
}

fn absence(days: u16, day: Date) -> Event {
    Event::AbsenceRecorded(Absence {
        on: day,
        days,
        kind: None,
    })
}

fn notice(voluntariness: Voluntariness, day: Date) -> Event {
    Event::NoticeGiven(GiveNotice {
        on: day,
        last_day: None,
        voluntariness,
    })
}

fn terminated(voluntariness: Voluntariness, day: Date) -> Event {
    Event::Terminated(Ending {
        on: day,
        ended: Ended {
            voluntariness,
            reason: None,
        },
    })
}

fn state(events: &[Event]) -> FeatureState {
    let mut state = FeatureState::default();
    for event in events {
        state.apply(event);
    }
    state
}

fn value(events: &[Event], name: &str, day: Date) -> f64 {
    let id = FeatureId::named(name).expect("a feature");
    state(events).vector(day, &PayLevels::default()).values[id.index()]
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// By bits, so that missing equals missing.
fn bits(vector: &FeatureVector) -> Vec<u64> {
    vector.values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn the_table_is_whole() {
    for (index, feature) in FEATURES.iter().enumerate() {
        assert_eq!(
            FeatureId::named(feature.name).map(FeatureId::index),
            Some(index),
            "{} is there twice",
            feature.name
        );
        let shown = FeatureId::named(feature.shown_as)
            .expect("a feature is shown as a feature")
            .feature();
        assert_eq!(shown.shown_as, shown.name);
        for value in [f64::NAN, 0.0, 0.3, 1.0, 2.4, 200.0] {
            let label = feature.label(value);
            assert!(
                !label.is_empty() && !label.contains("because") && !label.contains("NaN") && !label.contains("-0"),
                "{label}"
            );
        }
    }
}

#[test]
fn labels_are_plain_words_with_the_value() {
    let label = |name, value| FeatureId::named(name).expect("a feature").feature().label(value);
    assert_eq!(label("years_since_raise", 2.4), "no raise for 2.4 years");
    assert_eq!(label("years_since_raise", 3.0), "no raise for 3 years or more");
    assert_eq!(label("tenure_years", 0.6), "employed for 7 months");
    assert_eq!(
        label("manager_change_recent", (-5.0_f64 / 16.0).exp()),
        "manager changed 5 weeks ago"
    );
    assert_eq!(
        label("survey_trend", -2.04),
        "survey score 2.0 below the average before"
    );
    assert_eq!(label("absence_days", 1.0), "absent for 1 day in the last 26 weeks");
    assert_eq!(label("rating", f64::NAN), "no review on record");
    assert!(!label("pay_log", 10.9).contains("10"), "not everybody may see pay");
}

#[test]
fn values_are_read_off_the_facts_of_the_day() {
    let today = on(2026, 7, 1);
    let events = [
        hired(on(2024, 7, 1)),
        pay(51_000, on(2025, 7, 1)),
        pay(50_900, on(2026, 1, 1)),
        Event::ManagerChanged {
            from: Some(manager(1)),
            to: Some(manager(2)),
            on: on(2026, 6, 17),
        },
        Event::Transferred(Moved {
            from: Job::default(),
            to: Job::default(),
            on: on(2026, 2, 1),
        }),
        review(4.into(), on(2026, 1, 15)),
        review(5.into(), on(2026, 6, 15)),
        survey(8, on(2025, 12, 1)),
        survey(6, on(2026, 3, 1)),
        survey(4, on(2026, 6, 24)),
        absence(3, on(2026, 6, 1)),
        absence(9, on(2025, 6, 1)),
        Event::OvertimeRecorded(Overtime {
            on: on(2026, 6, 1),
            minutes: 90,
        }),
        Event::RecognitionGiven(Recognition {
            on: on(2026, 6, 17),
            from: manager(3),
        }),
    ];
    let value = |name| value(&events, name, today);
    close(value("tenure_years"), 730.0 / 365.25);
    close(value("tenure_log"), (1.0 + 730.0 / 365.25_f64).ln());
    close(value("years_since_raise"), 365.0 / 365.25);
    close(value("last_raise"), 0.02);
    close(value("years_since_promotion"), 730.0 / 365.25);
    close(value("promotion_overdue"), 730.0 / 365.25 - 1.5);
    close(value("manager_change_recent"), (-2.0_f64 / 16.0).exp());
    close(value("managers"), 2.0);
    close(value("rating"), 5.0);
    close(value("rating_top"), 1.0);
    close(value("survey_score"), 4.0);
    close(value("survey_trend"), -3.0);
    close(value("survey_weeks"), 1.0);
    close(value("absence_days"), 3.0);
    close(value("absence_count"), 1.0);
    close(value("overtime_minutes"), 90.0);
    close(value("recognition_recent"), (-2.0_f64 / 8.0).exp());
    close(value("weekly_hours"), 40.0);
    close(value("pay_log"), 50_900.0_f64.ln());
    close(value("transfers"), 1.0);
    assert!(value("assessment_score").is_nan());
}

#[test]
fn pay_is_compared_as_full_time_pay() {
    let half = Event::HoursChanged {
        from: None,
        to: WeeklyMinutes(1_200),
        on: on(2026, 1, 1),
    };
    let events = [hired(on(2025, 1, 1)), half, pay(25_000, on(2026, 1, 1))];
    close(value(&events, "pay_log", on(2026, 2, 1)), 50_000.0_f64.ln());
}

#[test]
fn what_cannot_be_read_is_missing() {
    let unreadable = Event::PayChanged(PayChanged {
        from: None,
        to: Personal::Unreadable,
        reason: None,
        on: on(2026, 1, 1),
    });
    let events = [
        hired(on(2025, 1, 1)),
        unreadable,
        review(Personal::Unreadable, on(2026, 1, 1)),
    ];
    assert!(value(&events, "pay_log", on(2026, 2, 1)).is_nan());
    assert!(value(&events, "rating", on(2026, 2, 1)).is_nan());
    close(value(&events, "rating_low", on(2026, 2, 1)), 0.0);
}

#[test]
fn what_the_model_must_not_know_leaves_no_trace() {
    let before = state(&[hired(on(2025, 1, 1))]);
    let on = on(2026, 1, 1);
    let demographics = Demographics {
        gender: Some("f".to_owned()),
        date_of_birth: Some(on),
        ethnicity: None,
    };
    for event in [
        Event::DemographicsChanged {
            demographics: demographics.into(),
            on,
        },
        Event::ContactChanged {
            name: Name::default().into(),
            contact: Contact::default().into(),
            on,
        },
        Event::NoteWritten(Note {
            on,
            text: "looks for another job".to_owned().into(),
        }),
        Event::SourceFieldsKept {
            fields: Personal::Unreadable,
            on,
        },
    ] {
        let mut after = before.clone();
        assert!(!after.apply(&event));
        assert_eq!(after, before);
    }
}

#[test]
fn a_fact_that_changes_nothing_is_no_change() {
    let mut known = state(&[hired(on(2025, 1, 1)), pay(60_000, on(2026, 1, 1))]);
    assert!(!known.apply(&pay(60_000, on(2026, 1, 1))));
    assert!(known.apply(&pay(61_000, on(2026, 1, 1))));
    assert!(
        !FeatureState::default().apply(&pay(61_000, on(2026, 1, 1))),
        "nothing precedes the hire"
    );
}

#[test]
fn facts_of_the_future_do_not_count_yet_and_push_out_nothing() {
    let today = on(2026, 7, 1);
    let mut events = vec![
        hired(on(2024, 7, 1)),
        pay(55_000, on(2026, 1, 1)),
        absence(2, on(2026, 6, 1)),
    ];
    let vector = bits(&state(&events).vector(today, &PayLevels::default()));
    events.push(pay(90_000, on(2030, 1, 1)));
    events.push(Event::ManagerChanged {
        from: None,
        to: Some(manager(9)),
        on: on(2028, 1, 1),
    });
    events.push(Event::LeaveStarted { on: on(2026, 8, 1) });
    assert_eq!(bits(&state(&events).vector(today, &PayLevels::default())), vector);
    assert!(state(&events).is_at_risk(today));
}

#[test]
fn a_rehire_begins_anew() {
    let events = [
        hired(on(2020, 1, 1)),
        review(1.into(), on(2021, 1, 1)),
        notice(Voluntariness::Voluntary, on(2024, 1, 1)),
        terminated(Voluntariness::Voluntary, on(2024, 2, 1)),
        Event::Rehired { on: on(2025, 1, 1) },
    ];
    let state = state(&events);
    assert_eq!(state.employed_since(on(2023, 1, 1)), Some(on(2020, 1, 1)));
    assert_eq!(state.employed_since(on(2024, 6, 1)), None);
    assert_eq!(state.employed_since(on(2025, 7, 1)), Some(on(2025, 1, 1)));
    assert!(state.is_at_risk(on(2025, 7, 1)));
    assert!(value(&events, "rating", on(2025, 7, 1)).is_nan());
    assert!(
        state
            .vector(on(2024, 6, 1), &PayLevels::default())
            .values
            .iter()
            .all(|value| value.is_nan())
    );
    assert_eq!(state.end_after(on(2023, 1, 1)), SpellEnd::Event { on: on(2024, 1, 1) });
    assert_eq!(state.end_after(on(2025, 7, 1)), SpellEnd::Open);
}

#[test]
fn who_is_on_notice_or_objects_is_not_at_risk() {
    let today = on(2026, 7, 1);
    let mut state = state(&[hired(on(2025, 1, 1))]);
    assert!(state.is_at_risk(today) && !state.is_at_risk(on(2024, 1, 1)));
    let objection = Objection { on: on(2026, 1, 1) };
    assert!(state.apply(&Event::ScoringObjected(objection.clone())) && state.objects() && !state.is_at_risk(today));
    assert!(state.apply(&Event::ScoringObjectionWithdrawn(objection)) && state.is_at_risk(today));
    state.apply(&notice(Voluntariness::Involuntary, on(2026, 6, 1)));
    assert!(!state.is_at_risk(today) && state.is_at_risk(on(2026, 5, 1)));
    state.apply(&Event::NoticeWithdrawn { on: on(2026, 6, 15) });
    assert!(state.is_at_risk(today));
    state.apply(&terminated(Voluntariness::Voluntary, on(2026, 9, 1)));
    assert!(!state.is_at_risk(today), "the end is on record already");
    state.apply(&Event::TerminationReversed { on: on(2026, 9, 1) });
    state.apply(&notice(Voluntariness::Unknown, on(2026, 9, 5)));
    state.apply(&Event::SourceRecordDeleted { on: on(2026, 9, 10) });
    state.apply(&Event::Rehired { on: on(2026, 10, 1) });
    assert!(state.is_at_risk(on(2026, 10, 1)), "a notice ends with its employment");
}

#[test]
fn ends_are_told_by_their_reason_and_dated_by_their_notice() {
    use Voluntariness::{Involuntary, Retirement, Unknown, Voluntary};
    let (first, second, end) = (on(2026, 2, 1), on(2026, 2, 10), on(2026, 3, 1));
    let left = |on| SpellEnd::Event { on };
    let censored = |on| SpellEnd::Censored { on };
    let withdrawn = |on| Event::NoticeWithdrawn { on };
    let cases: Vec<(Vec<Event>, SpellEnd)> = vec![
        (vec![], SpellEnd::Open),
        (vec![notice(Voluntary, first)], left(first)),
        (vec![notice(Voluntary, first), notice(Voluntary, second)], left(first)),
        (vec![notice(Unknown, first)], censored(first)),
        (vec![notice(Unknown, first), terminated(Voluntary, end)], left(first)),
        (vec![notice(Voluntary, first), terminated(Unknown, end)], left(first)),
        (
            vec![notice(Voluntary, first), terminated(Involuntary, end)],
            censored(first),
        ),
        (vec![notice(Voluntary, first), withdrawn(second)], left(first)),
        (vec![notice(Unknown, first), withdrawn(second)], SpellEnd::Open),
        (
            vec![notice(Unknown, first), withdrawn(second), terminated(Voluntary, end)],
            left(end),
        ),
        (vec![terminated(Voluntary, end)], left(end)),
        (vec![terminated(Voluntary, end), notice(Voluntary, first)], left(first)),
        (vec![terminated(Retirement, end)], censored(end)),
        (vec![terminated(Unknown, end)], censored(end)),
        (
            vec![terminated(Voluntary, end), Event::TerminationReversed { on: end }],
            SpellEnd::Open,
        ),
        (vec![Event::SourceRecordDeleted { on: end }], censored(end)),
        (
            vec![
                terminated(Involuntary, end),
                Event::Rehired { on: on(2026, 6, 1) },
                notice(Voluntary, on(2026, 7, 1)),
            ],
            censored(end),
        ),
    ];
    for (events, expected) in cases {
        let mut known = state(&[hired(on(2025, 1, 1))]);
        for event in &events {
            known.apply(event);
        }
        assert_eq!(known.end_after(on(2026, 1, 1)), expected, "{events:?}");
    }
}

#[test]
fn an_erased_person_has_no_state() {
    let mut state = state(&[hired(on(2025, 1, 1)), review(3.into(), on(2026, 1, 1))]);
    assert!(state.apply(&Event::Erased(Erasure {
        on: on(2026, 2, 1),
        basis: "request".to_owned()
    })));
    assert!(!state.apply(&hired(on(2026, 3, 1))));
    assert!(state.is_erased() && !state.is_at_risk(on(2026, 4, 1)));
    assert_eq!(state, serde_json::from_str(r#"{"erased":true}"#).expect("a state"));
}

fn left(number: u8, relation: Relation, day: Date) -> Event {
    Event::ColleagueLeft(ColleagueLeft {
        colleague: manager(number),
        relation,
        on: day,
    })
}

fn stayed(number: u8, day: Date) -> Event {
    Event::ColleagueStayed(ColleagueStayed {
        colleague: manager(number),
        on: day,
    })
}

#[test]
fn exits_in_the_team_add_up_and_fade_over_thirteen_weeks() {
    let of = |exits: &[Event], day| value(&[&[hired(on(2024, 1, 1))], exits].concat(), "team_exits", day);
    let exits = [
        left(5, Relation::Peer, on(2024, 4, 1)),
        left(1, Relation::Manager, on(2024, 5, 6)), // five weeks later
    ];
    close(of(&[], on(2024, 5, 6)), 0.0);
    close(of(&exits, on(2024, 5, 6)), (-5.0_f64 / 13.0).exp() + 1.0);
    close(of(&exits, on(2024, 3, 31)), 0.0);
    // The same exit twice is one, whoever it is to them in the end.
    let again = [&exits[..], &exits[..1], &[left(5, Relation::Manager, on(2024, 4, 1))]].concat();
    close(of(&again, on(2024, 5, 6)), (-5.0_f64 / 13.0).exp() + 1.0);
    let taken_back = [&exits[..], &[stayed(5, on(2024, 4, 1))]].concat();
    close(of(&taken_back, on(2024, 5, 6)), 1.0);
    // What was before this employment does not count.
    let ended = [
        terminated(Voluntariness::Voluntary, on(2024, 4, 8)),
        Event::Rehired { on: on(2024, 4, 15) },
    ];
    close(of(&[&exits[..], &ended].concat(), on(2024, 5, 6)), 1.0);
}

#[test]
fn an_exit_that_is_told_again_or_was_never_told_moves_nothing() {
    let mut state = state(&[hired(on(2024, 1, 1))]);
    let exit = left(5, Relation::Peer, on(2024, 4, 1));
    assert!(!state.apply(&stayed(5, on(2024, 4, 1))));
    assert!(state.apply(&exit));
    assert!(!state.apply(&exit));
    assert!(state.apply(&stayed(5, on(2024, 4, 1))));
}

#[test]
fn a_manager_who_leaves_counts_until_another_takes_over() {
    let of = |events: &[Event], day| value(&[&[hired(on(2024, 1, 1))], events].concat(), "manager_left", day);
    let taken_over = |to| Event::ManagerChanged {
        from: Some(manager(1)),
        to,
        on: on(2024, 5, 1),
    };
    let leaving = left(1, Relation::Manager, on(2024, 4, 1));
    close(of(&[], on(2024, 4, 29)), 0.0);
    close(
        of(std::slice::from_ref(&leaving), on(2024, 4, 29)),
        (-4.0_f64 / 16.0).exp(),
    );
    close(of(&[left(5, Relation::Peer, on(2024, 4, 1))], on(2024, 4, 29)), 0.0);
    let nobody = [leaving.clone(), taken_over(None)];
    close(of(&nobody, on(2024, 5, 13)), (-6.0_f64 / 16.0).exp());
    let somebody = [leaving.clone(), taken_over(Some(manager(2)))];
    close(of(&somebody, on(2024, 5, 13)), 0.0);
    close(of(&[leaving, stayed(1, on(2024, 4, 1))], on(2024, 4, 29)), 0.0);
}

#[test]
fn exits_are_told_in_words() {
    let label = |name: &str, value: f64| FeatureId::named(name).expect("a feature").feature().label(value);
    assert_eq!(label("team_exits", 1.8), "2 colleagues left lately");
    assert_eq!(label("team_exits", 0.9), "1 colleague left lately");
    assert_eq!(label("team_exits", 0.2), "a colleague left some months ago");
    assert_eq!(label("team_exits", 0.0), "no colleague left lately");
    assert_eq!(
        label("manager_left", (-3.0_f64 / 16.0).exp()),
        "their manager gave notice or left 3 weeks ago"
    );
    assert_eq!(label("manager_left", 0.0), "their manager is not known to leave");
}

#[test]
fn a_state_is_bounded_and_keeps_the_day_of_hire() {
    let start = on(2000, 1, 1);
    let mut full = state(&[hired(start)]);
    for month in 1..=300_i64 {
        let day = start + chrono::Days::new(month as u64 * 30);
        let toggle = if month % 2 == 0 {
            Event::LeaveEnded { on: day }
        } else {
            Event::LeaveStarted { on: day }
        };
        let manager = Event::ManagerChanged {
            from: None,
            to: Some(manager((month % 90) as u8)),
            on: day,
        };
        let moved = Event::Transferred(Moved {
            from: Job::default(),
            to: Job::default(),
            on: day,
        });
        let overtime = Event::OvertimeRecorded(Overtime { on: day, minutes: 600 });
        let withdrawn = Event::NoticeWithdrawn {
            on: day + chrono::Days::new(9),
        };
        for event in [
            toggle,
            manager,
            moved,
            overtime,
            pay(50_000 + month, day),
            review(3.into(), day),
            survey(5, day),
            left((month % 90) as u8, Relation::Peer, day),
            left((month % 90) as u8, Relation::Manager, day + chrono::Days::new(9)),
        ] {
            full.apply(&event);
        }
        for week in 0..4 {
            full.apply(&absence(2, day + chrono::Days::new(week * 7)));
        }
        full.apply(&notice(Voluntariness::Unknown, day));
        full.apply(&withdrawn);
    }
    let bytes = serde_json::to_string(&full).expect("json");
    assert!(bytes.len() < 9_000, "{} bytes", bytes.len());
    assert_eq!(full.employed_since(on(2024, 1, 1)), Some(start));
    assert_eq!(serde_json::from_str::<FeatureState>(&bytes).expect("a state"), full);
}

#[test]
fn every_feature_has_a_title_of_its_own() {
    let mut titles: Vec<&str> = FEATURES.iter().map(Feature::title).collect();
    assert!(!titles.contains(&words::UNTITLED), "{titles:?}");
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), FEATURES.len());
}

#[test]
fn views_are_what_the_shown_value_decides() {
    let mut events = vec![hired(on(2021, 3, 1))];
    for (year, rating) in [(2022, 1), (2023, 5), (2024, 3)] {
        events.push(review(rating.into(), on(year, 1, 10)));
    }
    let mut seen = 0;
    for months in 0..60 {
        let day = on(2021, 3, 1) + chrono::Months::new(months);
        let known: Vec<Event> = events
            .iter()
            .filter(|event| event.effective_on() <= day)
            .cloned()
            .collect();
        let x = state(&known).vector(day, &PayLevels::default());
        for (feature, value) in FEATURES.iter().zip(&x.values) {
            let shown = FeatureId::named(feature.shown_as).expect("a feature");
            if let Some(view) = feature.seen_in(x.values[shown.index()]) {
                assert!(
                    (view - value).abs() < 1e-12,
                    "{} on {day}: {view} for {value}",
                    feature.name
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 60 * 7);
}

fn observation() -> impl Strategy<Value = Event> {
    (0..900_u64, 0..5_u8, 1..5_u8).prop_map(|(days, kind, size)| {
        let day = on(2024, 1, 1) + chrono::Days::new(days);
        match kind {
            0 => absence(u16::from(size), day),
            1 => survey(size, day),
            2 => review(size.into(), day),
            3 => Event::OvertimeRecorded(Overtime {
                on: day,
                minutes: u16::from(size) * 60,
            }),
            _ => Event::RecognitionGiven(Recognition {
                on: day,
                from: manager(1),
            }),
        }
    })
}

proptest! {
    #[test]
    fn observations_in_any_order_make_the_same_state(
        (observed, shuffled) in prop::collection::vec(observation(), 0..120).prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        let fold = |events: &[Event]| state(&[&[hired(on(2020, 1, 1))], events].concat());
        prop_assert_eq!(fold(&observed), fold(&shuffled));
    }

    /// The state may forget, but never what a day after the newest fact still asks for.
    #[test]
    fn what_is_forgotten_is_not_missed(observed in prop::collection::vec(observation(), 0..40)) {
        let today = on(2024, 1, 1) + chrono::Days::new(900);
        let recent: Vec<Event> = observed.iter().filter(|event| (today - event.effective_on()).num_days() < 200).cloned().collect();
        let fold = |events: &[Event], name| {
            let index = FeatureId::named(name).expect("a feature").index();
            state(&[&[hired(on(2020, 1, 1))], events].concat()).vector(today, &PayLevels::default()).values[index]
        };
        for name in ["absence_days", "absence_count", "overtime_minutes"] {
            close(fold(&observed, name), fold(&recent, name));
        }
    }
}
