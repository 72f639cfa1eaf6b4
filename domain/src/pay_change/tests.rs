//! Given, when, then.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    id::ConnectionId,
    money::{Currency, Money, PayPeriod},
};

fn day(d: u32) -> Date {
    Date::from_ymd_opt(2026, 7, d).expect("a day")
}

fn change(number: u128) -> PayChangeId {
    PayChangeId::from_uuid(Uuid::from_u128(number))
}

fn request(number: u128, effective_on: Date) -> Request {
    Request {
        change: change(number),
        at: Source {
            connection: ConnectionId::from_uuid(Uuid::from_u128(1)),
            remote_id: "42".to_owned(),
        },
        to: Personal::Open(PayRate {
            amount: Money {
                minor_units: 6_000_000,
                currency: Currency::EUR,
            },
            per: PayPeriod::Year,
        }),
        effective_on,
        instead_of: None,
        reason: Some(Personal::Open("Merit".to_owned())),
        by: "user:ada".to_owned(),
        on: day(1),
    }
}

fn decision(number: u128, by: &str) -> Decision {
    Decision {
        change: change(number),
        by: by.to_owned(),
        on: day(2),
    }
}

fn step(number: u128) -> Step {
    Step {
        change: change(number),
        on: day(3),
    }
}

fn submission(number: u128) -> Submission {
    Submission {
        change: change(number),
        reference: Some("r-1".to_owned()),
        on: day(3),
    }
}

fn refusal(number: u128) -> Refusal {
    Refusal {
        change: change(number),
        cause: "refused".to_owned(),
        message: None,
        on: day(3),
    }
}

fn declining(number: u128, by: &str) -> Declining {
    Declining {
        change: change(number),
        by: by.to_owned(),
        reason: None,
        on: day(2),
    }
}

/// What each stage is reached by.
fn way_to(stage: Stage) -> Vec<Command> {
    let approved = [
        Command::Request(request(1, day(20))),
        Command::Approve(decision(1, "user:ben")),
    ];
    let begun = [&approved[..], &[Command::BeginSubmission(step(1))]].concat();
    let submitted = [&begun[..], &[Command::ReportSubmitted(submission(1))]].concat();
    let accepted = [&submitted[..], &[Command::ReportAccepted(step(1))]].concat();
    match stage {
        Stage::Requested => approved[..1].to_vec(),
        Stage::Approved => approved.to_vec(),
        Stage::Submitting => begun,
        Stage::Submitted => submitted,
        Stage::Accepted => accepted,
        Stage::Declined => [&approved[..1], &[Command::Decline(declining(1, "user:ben"))]].concat(),
        Stage::Withdrawn => [&approved[..1], &[Command::Withdraw(decision(1, "user:ada"))]].concat(),
        Stage::Abandoned => [&begun[..], &[Command::Abandon(decision(1, "user:ben"))]].concat(),
        Stage::Rejected => [&begun[..], &[Command::ReportRejected(refusal(1))]].concat(),
        Stage::Effective => [&accepted[..], &[Command::ReportEffective(step(1))]].concat(),
        Stage::Overtaken => [&accepted[..], &[Command::ReportOvertaken(step(1))]].concat(),
    }
}

fn at(stage: Stage) -> PayChanges {
    let changes = way_to(stage).into_iter().fold(PayChanges::default(), after);
    assert_eq!(changes.get(change(1)).map(|change| change.stage), Some(stage));
    changes
}

fn after(changes: PayChanges, command: Command) -> PayChanges {
    let events = changes.decide(command, day(1)).expect("accepted");
    events.iter().fold(changes, PayChanges::evolve)
}

#[test]
fn a_change_goes_from_the_request_to_its_day() {
    let changes = at(Stage::Effective);
    let known = changes.get(change(1)).expect("known");
    assert_eq!(known.reference.as_deref(), Some("r-1"));
    assert_eq!(known.request, request(1, day(20)));
    assert_eq!(known.since, day(3));
}

#[test]
fn who_asked_does_not_approve_or_decline() {
    let asked = at(Stage::Requested);
    for command in [
        Command::Approve(decision(1, "user:ada")),
        Command::Decline(declining(1, "user:ada")),
    ] {
        assert_eq!(asked.decide(command, day(1)), Err(Rejection::OwnRequest));
    }
    assert_eq!(
        asked.decide(Command::Withdraw(decision(1, "user:ben")), day(1)),
        Err(Rejection::NotYours)
    );
    assert_eq!(
        asked.decide(Command::Withdraw(decision(1, "user:ada")), day(1)),
        Ok(vec![Event::Withdrawn(decision(1, "user:ada"))])
    );
}

/// What people may still do at each stage, and that the same again is no error.
#[test]
fn people_decide_before_it_is_submitted_and_not_after() {
    for stage in Stage::ALL {
        let changes = at(stage);
        let judged = |command| changes.decide(command, day(1)).map(|events| events.len());
        let expected = |same: Stage, from: &[Stage]| match stage {
            stage if stage == same => Ok(0),
            stage if from.contains(&stage) => Ok(1),
            stage => Err(Rejection::Already(stage)),
        };
        assert_eq!(
            judged(Command::Approve(decision(1, "user:ben"))),
            expected(Stage::Approved, &[Stage::Requested]),
            "{stage:?}"
        );
        assert_eq!(
            judged(Command::Decline(declining(1, "user:ben"))),
            expected(Stage::Declined, &[Stage::Requested, Stage::Approved]),
            "{stage:?}"
        );
        assert_eq!(
            judged(Command::Withdraw(decision(1, "user:ada"))),
            expected(Stage::Withdrawn, &[Stage::Requested, Stage::Approved]),
            "{stage:?}"
        );
        let abandoned = judged(Command::Abandon(decision(1, "user:ben")));
        if matches!(stage, Stage::Requested | Stage::Approved) {
            assert_eq!(abandoned, Err(Rejection::NotBegun));
        } else {
            let begun = [Stage::Submitting, Stage::Submitted, Stage::Accepted];
            assert_eq!(abandoned, expected(Stage::Abandoned, &begun), "{stage:?}");
        }
    }
}

/// What the other system is said to have done counts where it is news, and is no error anywhere.
#[test]
fn news_counts_once_and_in_its_order() {
    for stage in Stage::ALL {
        let changes = at(stage);
        for (command, news_at) in [
            (Command::BeginSubmission(step(1)), &[Stage::Approved][..]),
            (Command::ReportSubmitted(submission(1)), &[Stage::Submitting]),
            (Command::ReportAccepted(step(1)), &[Stage::Submitting, Stage::Submitted]),
            (
                Command::ReportRejected(refusal(1)),
                &[Stage::Submitting, Stage::Submitted],
            ),
            (Command::ReportEffective(step(1)), &[Stage::Accepted]),
            (Command::ReportOvertaken(step(1)), &[Stage::Accepted]),
        ] {
            let events = changes.decide(command.clone(), day(1)).expect("no rule is broken");
            assert_eq!(
                events.len(),
                usize::from(news_at.contains(&stage)),
                "{command:?} at {stage:?}"
            );
        }
    }
}

#[test]
fn every_rejection_is_produced() {
    let nothing = PayChanges::default();
    let refused =
        |changes: &PayChanges, request| changes.decide(Command::Request(request), day(1)).expect_err("a rule");
    let free = Request {
        to: Personal::Open(PayRate {
            amount: Money {
                minor_units: 0,
                currency: Currency::EUR,
            },
            per: PayPeriod::Year,
        }),
        ..request(1, day(20))
    };
    assert_eq!(refused(&nothing, free), Rejection::NoRate);
    let same = Request {
        instead_of: Some(request(1, day(20)).to),
        ..request(1, day(20))
    };
    assert_eq!(refused(&nothing, same), Rejection::NothingNew);
    let far = day(1) + chrono::Days::new(DAYS_AHEAD_MAX as u64 + 1);
    assert_eq!(refused(&nothing, request(1, far)), Rejection::TooFarAhead { on: far });
    let silent = Request {
        reason: Some(Personal::Open(" ".to_owned())),
        ..request(1, day(20))
    };
    assert_eq!(refused(&nothing, silent), Rejection::BadReason);
    let asked = at(Stage::Requested);
    assert_eq!(
        refused(&asked, request(2, day(20))),
        Rejection::DayTaken { on: day(20) }
    );
    let many = (1..=UNDER_WAY_MAX).fold(PayChanges::default(), |changes, number| {
        let on = day(1) + chrono::Days::new(number as u64);
        after(changes, Command::Request(request(number as u128, on)))
    });
    assert_eq!(refused(&many, request(99, day(1))), Rejection::TooMany);
    assert_eq!(
        nothing.decide(Command::Approve(decision(1, "user:ben")), day(1)),
        Err(Rejection::Unknown)
    );
}

#[test]
fn the_same_request_again_changes_nothing_and_a_day_is_free_when_its_change_is_over() {
    let asked = at(Stage::Requested);
    assert_eq!(asked.decide(Command::Request(request(1, day(20))), day(1)), Ok(vec![]));
    for over in Stage::ALL.into_iter().filter(|stage| !stage.is_under_way()) {
        assert!(at(over).decide(Command::Request(request(2, day(20))), day(1)).is_ok());
    }
}

#[test]
fn what_was_accepted_can_be_replaced_by_whoever_knows_of_it() {
    let another = PayRate {
        amount: Money {
            minor_units: 6_100_000,
            currency: Currency::EUR,
        },
        per: PayPeriod::Year,
    };
    let replacing = Request {
        to: Personal::Open(another),
        instead_of: Some(request(1, day(20)).to),
        ..request(2, day(20))
    };
    for stage in Stage::ALL.into_iter().filter(|stage| stage.is_under_way()) {
        let judged = at(stage).decide(Command::Request(replacing.clone()), day(1));
        let expected = if stage == Stage::Accepted {
            Ok(vec![Event::Requested(replacing.clone())])
        } else {
            Err(Rejection::DayTaken { on: day(20) })
        };
        assert_eq!(judged, expected, "{stage:?}");
    }
}

#[test]
fn stages_have_stable_names() {
    for stage in Stage::ALL {
        assert_eq!(Stage::from_name(stage.name()), Some(stage));
    }
    assert_eq!(Stage::from_name("PAID"), None);
}

proptest! {
    /// Whatever is said in whatever order: at most one change for a day is not made yet, what is over stays over, nothing is effective that
    /// was not approved by somebody else, and the events fold to the same state.
    #[test]
    fn rules_hold_for_any_order(commands in proptest::collection::vec((0_u8..11, 1_u128..4, any::<bool>()), 0..40)) {
        let mut changes = PayChanges::default();
        let mut history: Vec<Event> = Vec::new();
        for (which, number, by_ada) in commands {
            let by = if by_ada { "user:ada" } else { "user:ben" };
            let command = match which {
                0 => Command::Request(request(number, day(20 + (number % 2) as u32))),
                1 => Command::Approve(decision(number, by)),
                2 => Command::Decline(declining(number, by)),
                3 => Command::Withdraw(decision(number, by)),
                4 => Command::BeginSubmission(step(number)),
                5 => Command::ReportSubmitted(submission(number)),
                6 => Command::ReportAccepted(step(number)),
                7 => Command::ReportRejected(refusal(number)),
                8 => Command::ReportEffective(step(number)),
                9 => Command::Abandon(decision(number, by)),
                _ => Command::ReportOvertaken(step(number)),
            };
            let before = changes.clone();
            let Ok(events) = changes.decide(command, day(1)) else { continue };
            changes = events.iter().fold(changes, PayChanges::evolve);
            history.extend(events);
            for (id, known) in &before.0 {
                if !known.stage.is_under_way() {
                    prop_assert_eq!(changes.get(*id), Some(known));
                }
            }
            let waiting = changes.under_way().filter(|change| change.stage != Stage::Accepted);
            let mut days: Vec<Date> = waiting.map(|change| change.request.effective_on).collect();
            let under_way = days.len();
            days.sort_unstable();
            days.dedup();
            prop_assert_eq!(days.len(), under_way);
        }
        for known in changes.0.values().filter(|change| change.stage == Stage::Effective) {
            let approved = history.iter().any(|event| matches!(event, Event::Approved(decision) if decision.change == known.request.change && decision.by != known.request.by));
            prop_assert!(approved);
        }
        prop_assert_eq!(PayChanges::fold(&history), changes);
        for event in &history {
            let json = serde_json::to_string(event).expect("json");
            prop_assert_eq!(&serde_json::from_str::<Event>(&json).expect("an event"), event);
        }
    }
}
