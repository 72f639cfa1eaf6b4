use chrono::Days;
use domain::{
    employee::{Contact, Erasure, Event, GiveNotice, Hired, Job, Name, Objection, Voluntariness, WeeklyMinutes},
    money::{Currency, Money, PayPeriod, PayRate},
};

use super::*;
use crate::prior;

fn on() -> Date {
    Date::from_ymd_opt(2026, 6, 1).expect("a day")
}

fn hired(years_ago: f64) -> Event {
    let amount = Money {
        minor_units: 5_000_000,
        currency: Currency::USD,
    };
    let pay = PayRate {
        amount,
        per: PayPeriod::Year,
    };
    Event::Hired(Hired {
        on: on() - Days::new((years_ago * 365.25) as u64),
        source: None,
        name: Name::default().into(),
        contact: Contact::default().into(),
        job: Job::default(),
        manager: None,
        pay: Some(domain::Personal::Open(pay)),
        hours: Some(WeeklyMinutes(2_400)),
    })
}

fn state(events: &[Event]) -> FeatureState {
    let mut state = FeatureState::default();
    for event in events {
        state.apply(event);
    }
    state
}

fn drawn(state: &FeatureState, canvas: Canvas) -> String {
    let artifact = prior::prior().expect("the committed prior");
    drawing(&artifact, &Bands::default(), state, on(), canvas)
}

/// Everybody of an invented company.
fn people() -> (Vec<FeatureState>, Date) {
    let company = prior::company(7, 40);
    let fold = |history: &crate::History| {
        let events: Vec<Event> = history.events.iter().map(|recorded| recorded.event.clone()).collect();
        state(&events)
    };
    (company.histories().iter().map(fold).collect(), company.ends_on())
}

#[test]
fn a_score_is_drawn_with_what_goes_along_with_it() {
    let text = drawn(&state(&[hired(2.4)]), Canvas::default());
    assert!(text.contains("to give notice within 180 days    band "), "{text}");
    assert!(
        text.contains("the shared prior") && text.contains("is the average person's"),
        "{text}"
    );
    let raise = text
        .lines()
        .find(|line| line.contains("no raise for 2.4 years"))
        .expect("the raise");
    assert!(
        raise.contains("│█") && raise.contains(" +") && raise.ends_with(" points"),
        "{raise}"
    );
    let artifact = prior::prior().expect("the committed prior");
    let probability = artifact
        .score(&artifact.vector(&state(&[hired(2.4)]), on()).values, on())
        .probability;
    assert!(
        text.contains(&format!("{:.1} % to give", probability * 100.0)),
        "{text}"
    );
}

#[test]
fn the_mark_is_where_the_person_stands() {
    let place = |years: f64| {
        let text = drawn(&state(&[hired(years)]), Canvas::default());
        let lines: Vec<&str> = text.lines().collect();
        let curve = lines
            .iter()
            .position(|line| line.contains("length of employment "))
            .expect("a curve");
        let mark = lines[curve + 1];
        assert!(mark.contains(&format!("{years} years")), "{mark}");
        mark.chars().position(|letter| letter == '▲').expect("a mark")
    };
    assert!(
        place(0.5) < place(8.0) && place(8.0) < place(14.0),
        "{} {} {}",
        place(0.5),
        place(8.0),
        place(14.0)
    );
}

#[test]
fn nobody_is_told_why_somebody_leaves_and_every_line_fits() {
    let artifact = prior::prior().expect("the committed prior");
    let (people, today) = people();
    let mut scored = 0;
    for width in [10, WIDTH_MIN, WIDTH_DEFAULT, 200] {
        let canvas = Canvas { width, colours: false };
        for state in &people {
            let text = drawing(&artifact, &Bands::default(), state, today, canvas);
            assert!(
                !text.to_lowercase().contains("because") && !text.contains('\u{1b}'),
                "{text}"
            );
            assert!(!text.contains("-0.0 ") && !text.contains("NaN"), "{text}");
            let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(
                longest <= width.clamp(WIDTH_MIN, WIDTH_MAX),
                "{longest} columns of {width}:\n{text}"
            );
            scored += usize::from(state.is_at_risk(today));
        }
    }
    assert!(scored > 100, "{scored}");
}

#[test]
fn colours_say_nothing_that_the_text_does_not() {
    let state = state(&[hired(2.4)]);
    let plain = drawn(&state, Canvas::default());
    let coloured = drawn(
        &state,
        Canvas {
            colours: true,
            ..Canvas::default()
        },
    );
    assert!(coloured.contains("\u{1b}[33m"), "what goes up is marked");
    let mut stripped = String::new();
    for part in coloured.split('\u{1b}') {
        stripped.push_str(
            part.strip_prefix('[')
                .map_or(part, |rest| &rest[rest.find('m').map_or(0, |at| at + 1)..]),
        );
    }
    assert_eq!(stripped, plain);
}

#[test]
fn who_is_not_scored_is_told_why() {
    let day = on() - Days::new(5);
    let notice = |last_day| {
        Event::NoticeGiven(GiveNotice {
            on: day,
            last_day,
            voluntariness: Voluntariness::Voluntary,
        })
    };
    let erased = Event::Erased(Erasure {
        on: day,
        basis: "a request".to_owned(),
    });
    let ended = |on| {
        Event::Terminated(domain::employee::Ending {
            on,
            ended: domain::employee::Ended {
                voluntariness: Voluntariness::Retirement,
                reason: None,
            },
        })
    };
    let objected = Event::ScoringObjected(Objection { on: day });
    let later = on() + Days::new(30);
    for (events, expected, words) in [
        (
            vec![hired(1.0), erased, objected.clone()],
            Unscored::Erased,
            "was erased",
        ),
        (vec![hired(1.0), objected], Unscored::Objects, "objects"),
        (vec![], Unscored::NotEmployed, "not employed"),
        (vec![hired(1.0), ended(day)], Unscored::NotEmployed, "gone"),
        (vec![hired(1.0), notice(None)], Unscored::OnNotice, "notice was given"),
        (
            vec![hired(1.0), ended(later)],
            Unscored::EndOnRecord { on: later },
            "2026-07-01",
        ),
    ] {
        let state = state(&events);
        assert_eq!(state.unscored(on()), Some(expected));
        let text = drawn(&state, Canvas::default());
        assert!(
            text.starts_with("Not scored: ") && text.contains(words) && !text.contains('%'),
            "{text}"
        );
    }
    assert_eq!(state(&[hired(1.0)]).unscored(on()), None);
}
