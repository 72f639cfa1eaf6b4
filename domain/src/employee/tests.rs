//! Given, when, then; and properties over random histories.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    id::TenantId,
    money::{Currency, Money, PayPeriod},
};

fn day(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

const TODAY: (i32, u32, u32) = (2026, 6, 30);

fn today() -> Date {
    day(TODAY.0, TODAY.1, TODAY.2)
}

fn source() -> Source {
    Source {
        connection: ConnectionId::from_uuid(Uuid::from_u128(1)),
        remote_id: "42".into(),
    }
}

fn job(title: &str) -> Job {
    Job {
        title: Some(title.into()),
        department: Some("Sales".into()),
        division: None,
        location: Some("Turin".into()),
    }
}

fn pay(minor_units: i64) -> Personal<PayRate> {
    Personal::Open(PayRate {
        amount: Money {
            minor_units,
            currency: Currency::EUR,
        },
        per: PayPeriod::Year,
    })
}

/// A cashier, hired on 1 March 2024.
fn cashier() -> Snapshot {
    let hired_on = day(2024, 3, 1);
    Snapshot {
        hired_on: Some(hired_on),
        name: Some(Personal::Open(Name {
            first: "Ada".into(),
            last: "Rossi".into(),
            preferred: None,
        })),
        standing: Rows::all(vec![(hired_on, Standing::Working)]),
        jobs: Rows::all(vec![(hired_on, job("Cashier"))]),
        pay: Rows::all(vec![(hired_on, pay(2_400_000))]),
        ..Snapshot::silent(source(), today())
    }
}

fn given(snapshots: &[Snapshot]) -> Employee {
    snapshots.iter().fold(Employee::default(), |employee, snapshot| {
        let events = employee
            .decide(Command::Synchronise(Box::new(snapshot.clone())), today())
            .expect("accepted");
        events.iter().fold(employee, Employee::evolve)
    })
}

#[track_caller]
fn told(employee: &Employee, snapshot: Snapshot) -> Vec<Event> {
    employee
        .decide(Command::Synchronise(Box::new(snapshot)), today())
        .expect("accepted")
}

fn resigned() -> Standing {
    Standing::Ended(Ended::new(Voluntariness::Voluntary, Some("Better offer".into())))
}

#[test]
fn the_first_snapshot_hires_and_the_second_says_nothing_new() {
    let events = told(&Employee::default(), cashier());
    assert!(
        matches!(&events[..], [Event::Hired(hired)] if hired.job == job("Cashier") && hired.pay == Some(pay(2_400_000)))
    );
    assert_eq!(told(&given(&[cashier()]), cashier()), vec![]);
}

#[test]
fn nobody_is_hired_without_a_date() {
    let snapshot = Snapshot {
        hired_on: None,
        ..cashier()
    };
    assert_eq!(
        Employee::default().decide(Command::Synchronise(Box::new(snapshot)), today()),
        Err(Rejection::HireDateMissing)
    );
}

#[test]
fn a_history_is_imported_with_its_dates() {
    let mut snapshot = cashier();
    snapshot.jobs.known.push((day(2025, 9, 1), job("Supervisor")));
    snapshot.pay.known.push((day(2025, 9, 1), pay(2_700_000)));
    snapshot.promotions.insert(day(2025, 9, 1));
    let events = told(&Employee::default(), snapshot);
    assert!(
        matches!(&events[1], Event::Promoted(moved) if moved.on == day(2025, 9, 1) && moved.from == job("Cashier"))
    );
    assert!(
        matches!(&events[2], Event::PayChanged(change) if change.on == day(2025, 9, 1) && change.from == Some(pay(2_400_000)))
    );
}

#[test]
fn a_back_dated_raise_is_told_once_and_only_until_the_next_fact() {
    let mut first = cashier();
    first.pay.known.push((day(2025, 9, 1), pay(2_700_000)));
    let employee = given(&[first.clone()]);
    let mut corrected = first;
    corrected.pay.known.push((day(2025, 1, 1), pay(2_500_000)));
    let events = told(&employee, corrected);
    assert!(matches!(&events[..], [Event::PayChanged(change)] if change.on == day(2025, 1, 1)));
    let Employee::OnFile(file) = employee.evolve(&events[0]) else {
        panic!("on file")
    };
    assert_eq!(file.pay.at(day(2025, 5, 1)), Some(&pay(2_500_000)));
    assert_eq!(file.pay.at(today()), Some(&pay(2_700_000)));
}

#[test]
fn a_row_that_the_source_took_back_is_corrected() {
    let mut with_raise = cashier();
    with_raise.pay.known.push((day(2025, 9, 1), pay(2_700_000)));
    let events = told(&given(&[with_raise]), cashier());
    assert!(
        matches!(&events[..], [Event::PayChanged(change)] if change.on == day(2025, 9, 1) && change.to == pay(2_400_000))
    );
}

#[test]
fn a_future_raise_is_told_before_it_is_true() {
    let mut snapshot = cashier();
    snapshot.pay.known.push((day(2026, 9, 1), pay(2_600_000)));
    let events = told(&given(&[cashier()]), snapshot.clone());
    assert!(matches!(&events[..], [Event::PayChanged(change)] if change.on == day(2026, 9, 1)));
    let Employee::OnFile(file) = given(&[cashier(), snapshot]) else {
        panic!("on file")
    };
    assert_eq!(file.pay.at(today()), Some(&pay(2_400_000)));
}

#[test]
fn a_planned_ending_is_a_notice_and_then_a_termination() {
    let mut leaving = cashier();
    leaving.standing.known.push((day(2026, 8, 1), resigned()));
    let employee = given(&[cashier()]);
    let events = told(&employee, leaving.clone());
    let expected = GiveNotice {
        on: today(),
        last_day: Some(day(2026, 7, 31)),
        voluntariness: Voluntariness::Voluntary,
    };
    assert_eq!(events, vec![Event::NoticeGiven(expected)]);
    let on_notice = employee.evolve(&events[0]);
    assert_eq!(told(&on_notice, leaving.clone()), vec![], "told once");
    assert_eq!(
        told(&on_notice, cashier()),
        vec![Event::NoticeWithdrawn { on: today() }]
    );

    let gone = Snapshot {
        as_of: day(2026, 8, 1),
        ..leaving
    };
    let events = told(&on_notice, gone);
    assert!(matches!(&events[..], [Event::Terminated(ending)] if ending.on == day(2026, 8, 1)));
}

#[test]
fn rehire_and_reversal_differ() {
    let mut left = cashier();
    left.standing.known.push((day(2025, 6, 1), resigned()));
    let gone = given(&[left.clone()]);
    assert_eq!(
        told(&gone, cashier()),
        vec![Event::TerminationReversed { on: day(2025, 6, 1) }]
    );
    let mut back = left;
    back.standing.known.push((day(2026, 1, 15), Standing::Working));
    assert_eq!(told(&gone, back.clone()), vec![Event::Rehired { on: day(2026, 1, 15) }]);
    assert_eq!(told(&given(&[back.clone()]), back), vec![]);
}

#[test]
fn leave_starts_and_ends() {
    let mut snapshot = cashier();
    snapshot.standing.known.push((day(2025, 5, 1), Standing::OnLeave));
    snapshot.standing.known.push((day(2025, 8, 1), Standing::Working));
    let events = told(&given(&[cashier()]), snapshot);
    assert_eq!(
        events,
        vec![
            Event::LeaveStarted { on: day(2025, 5, 1) },
            Event::LeaveEnded { on: day(2025, 8, 1) }
        ]
    );
}

#[test]
fn a_record_that_vanishes_at_its_source_is_not_a_termination() {
    let deleted = Snapshot {
        standing: Rows::current(today(), Standing::Deleted),
        ..Snapshot::silent(source(), today())
    };
    assert_eq!(
        told(&given(&[cashier()]), deleted.clone()),
        vec![Event::SourceRecordDeleted { on: today() }]
    );
    assert_eq!(
        told(&Employee::default(), deleted),
        vec![],
        "and of a stranger it says nothing"
    );
}

#[test]
fn a_record_that_vanishes_before_its_first_day_never_was() {
    let first_day = today() + chrono::TimeDelta::days(30);
    let ahead = Snapshot {
        hired_on: Some(first_day),
        standing: Rows::all(vec![(first_day, Standing::Working)]),
        jobs: Rows::all(vec![(first_day, job("Cashier"))]),
        pay: Rows::default(),
        ..cashier()
    };
    let deleted = Snapshot {
        standing: Rows::current(today(), Standing::Deleted),
        ..Snapshot::silent(source(), today())
    };
    let employee = given(&[ahead]);
    let taken_back = Event::SourceRecordDeleted { on: first_day };
    assert_eq!(told(&employee, deleted.clone()), vec![taken_back.clone()]);
    assert_eq!(told(&employee.evolve(&taken_back), deleted), vec![], "and once");
}

#[test]
fn measurements_are_recorded() {
    let on = day(2025, 1, 10);
    let commands = [
        Command::CompleteAssessment(Assessment {
            on,
            name: "Till".into(),
            score: Personal::Open(80),
        }),
        Command::RecordReview(Review {
            on,
            rating: Personal::Open(4),
            reviewer: None,
        }),
        Command::AnswerSurvey(Survey {
            on,
            survey: "Pulse".into(),
            score: Personal::Open(7),
        }),
        Command::GiveRecognition(Recognition {
            on,
            from: EmployeeId::from_uuid(Uuid::from_u128(3)),
        }),
        Command::RecordAbsence(Absence {
            on,
            days: 2,
            kind: None,
        }),
        Command::RecordOvertime(Overtime { on, minutes: 90 }),
        Command::WriteNote(Note {
            on,
            text: Personal::Open("Asked about the supervisor course.".into()),
        }),
        Command::ObjectToScoring(Objection { on }),
        Command::Erase(Erasure {
            on,
            basis: "GDPR art. 17 request".into(),
        }),
    ];
    for command in commands {
        assert_eq!(
            given(&[cashier()])
                .decide(command.clone(), today())
                .expect("accepted")
                .len(),
            1,
            "{command:?}"
        );
    }
}

#[test]
fn objecting_and_erasing_twice_is_once() {
    let on = today();
    let objected = given(&[cashier()]).evolve(&Event::ScoringObjected(Objection { on }));
    assert_eq!(
        objected.decide(Command::ObjectToScoring(Objection { on }), on),
        Ok(vec![])
    );
    assert_eq!(
        given(&[cashier()]).decide(Command::WithdrawObjection(Objection { on }), on),
        Ok(vec![])
    );
    assert_eq!(
        objected
            .decide(Command::WithdrawObjection(Objection { on }), on)
            .expect("accepted")
            .len(),
        1
    );
    let erasure = Erasure {
        on,
        basis: "request".into(),
    };
    let erased = objected.evolve(&Event::Erased(erasure.clone()));
    assert_eq!(erased.decide(Command::Erase(erasure), on), Ok(vec![]));
}

#[test]
fn every_rejection_is_produced() {
    let employee = given(&[cashier()]);
    let left = {
        let mut snapshot = cashier();
        snapshot.standing.known.push((day(2025, 6, 1), resigned()));
        given(&[snapshot])
    };
    let review = |on, rating| {
        Command::RecordReview(Review {
            on,
            rating: Personal::Open(rating),
            reviewer: None,
        })
    };
    let on = day(2025, 1, 10);
    let refused = |employee: &Employee, command| employee.decide(command, today()).expect_err("refused");
    assert_eq!(refused(&Employee::default(), review(on, 3)), Rejection::NotOnFile);
    assert_eq!(
        refused(&employee, review(day(2024, 2, 1), 3)),
        Rejection::BeforeHire {
            on: day(2024, 2, 1),
            hired_on: day(2024, 3, 1)
        }
    );
    assert_eq!(
        refused(&left, review(day(2026, 1, 1), 3)),
        Rejection::NotEmployedOn { on: day(2026, 1, 1) }
    );
    assert_eq!(
        refused(&employee, review(day(2026, 7, 1), 3)),
        Rejection::TooFarAhead { on: day(2026, 7, 1) }
    );
    assert_eq!(
        refused(&employee, review(on, 6)),
        Rejection::OutOfRange {
            what: "a rating",
            min: 1,
            max: 5
        }
    );
    let note = |text: &str| {
        Command::WriteNote(Note {
            on,
            text: Personal::Open(text.into()),
        })
    };
    assert_eq!(
        refused(&employee, note("")),
        Rejection::BadText {
            what: "a note",
            max: NOTE_CHARS_MAX
        }
    );
    let notice = GiveNotice {
        on,
        last_day: Some(day(2025, 1, 9)),
        voluntariness: Voluntariness::Voluntary,
    };
    assert_eq!(
        refused(&employee, Command::GiveNotice(notice)),
        Rejection::LastDayBeforeNotice {
            on,
            last_day: day(2025, 1, 9)
        }
    );
    let erased = employee.evolve(&Event::Erased(Erasure {
        on,
        basis: "request".into(),
    }));
    assert_eq!(refused(&erased, review(on, 3)), Rejection::Erased);
    assert_eq!(
        refused(&erased, Command::Synchronise(Box::new(cashier()))),
        Rejection::Erased
    );
}

fn colleague(id: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(id))
}

fn exit(id: u128, relation: Relation, on: Date) -> ColleagueLeft {
    ColleagueLeft {
        colleague: colleague(id),
        relation,
        on,
    }
}

#[track_caller]
fn heard(employee: &Employee, command: Command) -> Vec<Event> {
    employee.decide(command, today()).expect("accepted")
}

#[test]
fn a_colleagues_exit_is_heard_of_once_and_taken_back_once() {
    let employee = given(&[cashier()]);
    let left = exit(7, Relation::Peer, day(2025, 1, 10));
    let stayed = ColleagueStayed {
        colleague: left.colleague,
        on: left.on,
    };
    assert_eq!(
        heard(&employee, Command::HearOfStay(stayed)),
        vec![],
        "nothing to take back"
    );
    let told = heard(&employee, Command::HearOfExit(left));
    assert_eq!(told, vec![Event::ColleagueLeft(left)]);
    assert_eq!(told[0].effective_on(), left.on);
    let employee = told.iter().fold(employee, Employee::evolve);
    assert_eq!(heard(&employee, Command::HearOfExit(left)), vec![]);

    // Another day, another colleague and another relation are each something else.
    let corrected = exit(7, Relation::Manager, left.on);
    for other in [
        exit(7, Relation::Peer, day(2025, 1, 11)),
        exit(8, Relation::Peer, left.on),
        corrected,
    ] {
        assert_eq!(
            heard(&employee, Command::HearOfExit(other)),
            vec![Event::ColleagueLeft(other)]
        );
    }
    let employee = employee.evolve(&Event::ColleagueLeft(corrected));
    assert_eq!(heard(&employee, Command::HearOfExit(corrected)), vec![]);
    assert_eq!(
        heard(&employee, Command::HearOfStay(stayed)),
        vec![Event::ColleagueStayed(stayed)]
    );
    let employee = employee.evolve(&Event::ColleagueStayed(stayed));
    assert_eq!(heard(&employee, Command::HearOfStay(stayed)), vec![]);
    assert_eq!(
        heard(&employee, Command::HearOfExit(left)),
        vec![Event::ColleagueLeft(left)],
        "it can happen again"
    );
}

#[test]
fn who_is_not_on_file_hears_of_nobody() {
    let left = exit(7, Relation::Peer, day(2025, 1, 10));
    let erased = given(&[cashier()]).evolve(&Event::Erased(Erasure {
        on: today(),
        basis: "request".into(),
    }));
    for employee in [Employee::Unknown, erased] {
        assert_eq!(heard(&employee, Command::HearOfExit(left)), vec![]);
    }
}

#[test]
fn a_file_remembers_the_newest_exits() {
    let first = day(2024, 3, 1);
    let exits: Vec<ColleagueLeft> = (0..=COLLEAGUES_MAX as u64)
        .map(|number| exit(u128::from(number), Relation::Peer, first + chrono::Days::new(number)))
        .collect();
    let employee = exits.iter().fold(given(&[cashier()]), |employee, exit| {
        employee.evolve(&Event::ColleagueLeft(*exit))
    });
    let Employee::OnFile(file) = &employee else {
        panic!("on file")
    };
    assert_eq!(file.colleagues_left.len(), COLLEAGUES_MAX);
    let last = exits[COLLEAGUES_MAX];
    assert_eq!(heard(&employee, Command::HearOfExit(last)), vec![]);
    assert_eq!(heard(&employee, Command::HearOfExit(exits[0])).len(), 1, "forgotten");
}

#[test]
fn relations_have_stable_names() {
    for relation in Relation::ALL {
        assert_eq!(Relation::from_name(relation.name()), Some(relation));
        assert_eq!(
            serde_json::to_value(relation).expect("JSON"),
            serde_json::json!(relation.name())
        );
    }
    assert_eq!(Relation::from_name("boss"), None);
}

/// A source's truth: any mix of facts, dates and standings.
fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let some_day = || (0_i64..1200).prop_map(|offset| day(2024, 3, 1) + chrono::Days::new(offset as u64));
    let standing = prop_oneof![Just(Standing::Working), Just(Standing::OnLeave), Just(resigned())];
    let titles = prop_oneof![Just("Cashier"), Just("Supervisor"), Just("Lead")];
    (
        proptest::collection::btree_map(some_day(), standing, 0..4),
        proptest::collection::btree_map(some_day(), titles, 0..4),
        proptest::collection::btree_map(some_day(), 2_000_000_i64..4_000_000, 0..5),
        proptest::collection::btree_map(some_day(), 0_u128..3, 0..4),
        any::<bool>(),
    )
        .prop_map(|(standing, jobs, pays, managers, complete)| {
            let mut snapshot = cashier();
            let first = day(2024, 3, 1);
            snapshot.standing.known = [(first, Standing::Working)]
                .into_iter()
                .chain(standing.into_iter().filter(|(d, _)| *d > first))
                .collect();
            snapshot.jobs.known.extend(
                jobs.into_iter()
                    .filter(|(d, _)| *d > first)
                    .map(|(d, title)| (d, job(title))),
            );
            snapshot.pay.known.extend(
                pays.into_iter()
                    .filter(|(d, _)| *d > first)
                    .map(|(d, minor)| (d, pay(minor))),
            );
            snapshot.managers = Rows {
                known: managers
                    .into_iter()
                    .map(|(d, m)| (d, Some(EmployeeId::from_uuid(Uuid::from_u128(m)))))
                    .collect(),
                complete,
            };
            for complete_too in [&mut snapshot.jobs.complete, &mut snapshot.pay.complete] {
                *complete_too = complete;
            }
            snapshot
        })
}

proptest! {
    /// After one comparison the second one finds nothing: whatever was believed before.
    #[test]
    fn synchronising_twice_is_once(before in proptest::collection::vec(any_snapshot(), 0..3), now in any_snapshot()) {
        let employee = given(&before);
        let events = told(&employee, now.clone());
        let after = events.iter().fold(employee, Employee::evolve);
        prop_assert_eq!(told(&after, now), vec![]);
    }

    /// A complete snapshot leaves the file agreeing with the source on every day that it speaks of.
    #[test]
    fn the_file_agrees_with_its_source(before in proptest::collection::vec(any_snapshot(), 0..3), now in any_snapshot()) {
        let mut now = now;
        for complete in [&mut now.jobs.complete, &mut now.pay.complete] { *complete = true; }
        let Employee::OnFile(file) = given(&[before, vec![now.clone()]].concat()) else { panic!("on file") };
        let said: Dated<Personal<PayRate>> = now.pay.known.iter().cloned().collect();
        for offset in 0..1300 {
            let on = day(2024, 3, 1) + chrono::Days::new(offset);
            prop_assert_eq!(file.pay.at(on), said.at(on));
        }
        // Of days to come an ending is a notice, and not yet a standing.
        let said: Dated<Standing> = now.standing.known.iter().cloned().collect();
        for on in day(2024, 3, 1).iter_days().take_while(|on| *on <= now.as_of) {
            prop_assert_eq!(file.standing.at(on), said.at(on), "{}", on);
        }
    }

    /// fold(a ++ b) = fold(fold(a), b), and every event reads back from its own serialisation.
    #[test]
    fn histories_fold_in_parts_and_read_back(snapshots in proptest::collection::vec(any_snapshot(), 1..4), cut in 0_usize..20) {
        let mut employee = Employee::default();
        let mut history = Vec::new();
        for snapshot in snapshots {
            let events = told(&employee, snapshot);
            employee = events.iter().fold(employee, Employee::evolve);
            history.extend(events);
        }
        let (a, b) = history.split_at(cut.min(history.len()));
        prop_assert_eq!(&b.iter().fold(Employee::fold(a), Employee::evolve), &employee);
        for event in &history {
            let json = serde_json::to_string(event).expect("json");
            prop_assert_eq!(&serde_json::from_str::<Event>(&json).expect("an event"), event);
        }
    }
}

#[test]
fn ids_of_people_are_stable() {
    let tenant = TenantId::from_uuid(Uuid::from_u128(1));
    assert_eq!(
        EmployeeId::derive(tenant, source().connection, "42"),
        EmployeeId::derive(tenant, source().connection, "42")
    );
    assert_ne!(
        EmployeeId::derive(tenant, source().connection, "42"),
        EmployeeId::derive(tenant, source().connection, "43")
    );
}

/// What holds again when an ending is taken back is the leave before it, and a source that says "working" ends that too.
#[test]
fn an_ending_that_turns_out_to_be_the_end_of_a_leave() {
    let (leave, end) = (day(2025, 1, 10), day(2025, 3, 1));
    let with = |last: Standing| {
        let mut snapshot = cashier();
        let first = snapshot.hired_on.expect("a day");
        snapshot.standing = Rows::all(vec![
            (first, Standing::Working),
            (leave, Standing::OnLeave),
            (end, last),
        ]);
        snapshot
    };
    let left = given(&[with(resigned())]);
    let back = with(Standing::Working);
    let events = told(&left, back.clone());
    assert_eq!(
        events,
        vec![Event::TerminationReversed { on: end }, Event::LeaveEnded { on: end }]
    );
    let after = events.iter().fold(left, Employee::evolve);
    assert_eq!(told(&after, back), vec![]);
}

/// What is believed follows from what the source holds now, not from which rows it once had.
#[test]
fn a_first_row_that_is_taken_away_gives_its_days_to_the_next() {
    let mut snapshot = cashier();
    snapshot.pay.known.push((day(2025, 9, 1), pay(2_700_000)));
    let mut without = snapshot.clone();
    without.pay.known.remove(0);
    let hired_on = snapshot.hired_on.expect("a day");
    let events = told(&given(&[snapshot.clone()]), without.clone());
    assert!(
        matches!(&events[..], [Event::PayChanged(changed)] if changed.on == hired_on && changed.to == pay(2_700_000)),
        "{events:?}"
    );
    let pay_of = |snapshots: &[Snapshot]| {
        let employee = given(snapshots);
        let file = employee.file().expect("on file");
        [hired_on, day(2025, 8, 31), day(2025, 9, 1)].map(|on| file.pay.at(on).cloned())
    };
    assert_eq!(
        pay_of(&[snapshot.clone(), without.clone()]),
        pay_of(std::slice::from_ref(&without))
    );
    // What the rows withhold is, on the first day too, what was on file on that day.
    let mut moved = cashier();
    let department = |name: &str| Job {
        department: Some(name.into()),
        ..job("Cashier")
    };
    moved.jobs = Rows::all(vec![
        (hired_on, department("Sales")),
        (day(2025, 9, 1), department("Stock")),
    ]);
    let mut less = moved.clone();
    less.jobs = Rows::all(vec![(day(2025, 9, 1), job("Cashier"))]);
    less.unsaid.insert(Field::Department);
    assert_eq!(told(&given(&[moved]), less), vec![]);
    // A source that shows only some rows takes nothing away.
    without.pay.complete = false;
    assert_eq!(told(&given(&[snapshot]), without), vec![]);
}
