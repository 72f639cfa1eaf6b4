//! One event of every kind, filled to the brim: every optional value is there, every list has entries.
//!
//! Do not change a value here: it is what the committed sample of its version was made from. A new version gets a new value.

use std::collections::BTreeMap;

use domain::{
    Date, Personal, Timestamp, access,
    connection::{self, BambooHr, Secrets, System},
    employee::{
        self, Absence, Assessment, Contact, Demographics, Ended, Ending, Erasure, GiveNotice, Hired, Job, Moved, Name,
        Note, Objection, Overtime, PayChanged, Recognition, Relation, Review, Source, Survey, Voluntariness,
        WeeklyMinutes,
    },
    id::{ConnectionId, EmployeeId, PayChangeId, ProgramId},
    money::{Currency, Money, PayPeriod, PayRate},
    pay_change::{self, Decision, Declining, Refusal, Request, Step, Submission},
    program,
    risk::{self, Band, Factor, HumanReview, Level, Score, Verdict},
    tenant::{self, Bands},
};
use schemas::codec::AnyEvent;
use uuid::Uuid;

/// All samples: each function below goes from one event to the next, and matches every variant. A new variant does not
/// compile until it has its place in the row.
pub fn all() -> Vec<AnyEvent> {
    let mut all = Vec::new();
    all.extend(row(next_employee).map(AnyEvent::Employee));
    all.extend(row(next_risk).map(AnyEvent::Risk));
    all.extend(row(next_connection).map(AnyEvent::Connection));
    all.extend(row(next_tenant).map(AnyEvent::Tenant));
    all.extend(row(next_program).map(AnyEvent::Program));
    all.extend(row(next_access).map(AnyEvent::Access));
    all.extend(row(next_pay_change).map(AnyEvent::PayChange));
    all
}

fn row<E>(next: fn(Option<&E>) -> Option<E>) -> impl Iterator<Item = E> {
    std::iter::successors(next(None), move |event| next(Some(event)))
}

fn day(day: u32) -> Date {
    Date::from_ymd_opt(2026, 3, day).expect("a day")
}

fn person(id: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(id))
}

fn words(text: &str) -> Personal<String> {
    Personal::Open(text.to_owned())
}

fn name() -> Personal<Name> {
    Personal::Open(Name {
        first: "Augusta".into(),
        last: "King".into(),
        preferred: Some("Ada".into()),
    })
}

fn contact() -> Personal<Contact> {
    Personal::Open(Contact {
        work_email: Some("ada@example.org".into()),
        work_phone: Some("+44 20 7946 0001".into()),
        mobile_phone: Some("+44 7700 900001".into()),
    })
}

fn job(title: &str) -> Job {
    Job {
        title: Some(title.into()),
        department: Some("Engines".into()),
        division: Some("Computing".into()),
        location: Some("London".into()),
    }
}

fn pay(minor_units: i64, per: PayPeriod) -> Personal<PayRate> {
    Personal::Open(PayRate {
        amount: Money {
            minor_units,
            currency: Currency::EUR,
        },
        per,
    })
}

fn moved(to: &str, on: u32) -> Moved {
    Moved {
        from: job("Analyst"),
        to: job(to),
        on: day(on),
    }
}

fn next_employee(event: Option<&employee::Event>) -> Option<employee::Event> {
    use employee::Event::*;
    let Some(event) = event else {
        return Some(Hired(hired()));
    };
    Some(match event {
        Hired(_) => Rehired { on: day(2) },
        Rehired { .. } => Transferred(moved("Analyst of engines", 3)),
        Transferred(_) => Promoted(moved("Senior analyst", 4)),
        Promoted(_) => ManagerChanged {
            from: Some(person(20)),
            to: Some(person(21)),
            on: day(5),
        },
        ManagerChanged { .. } => PayChanged(pay_changed()),
        PayChanged(_) => HoursChanged {
            from: Some(WeeklyMinutes(2_400)),
            to: WeeklyMinutes(1_800),
            on: day(7),
        },
        HoursChanged { .. } => LeaveStarted { on: day(8) },
        LeaveStarted { .. } => LeaveEnded { on: day(9) },
        LeaveEnded { .. } => NoticeGiven(GiveNotice {
            on: day(10),
            last_day: Some(day(31)),
            voluntariness: Voluntariness::Voluntary,
        }),
        NoticeGiven(_) => NoticeWithdrawn { on: day(11) },
        NoticeWithdrawn { .. } => Terminated(Ending {
            on: day(12),
            ended: Ended {
                voluntariness: Voluntariness::Retirement,
                reason: Some(words("Wants to see the sea")),
            },
        }),
        Terminated(_) => TerminationReversed { on: day(13) },
        TerminationReversed { .. } => SourceRecordDeleted { on: day(14) },
        SourceRecordDeleted { .. } => ContactChanged {
            name: name(),
            contact: contact(),
            on: day(15),
        },
        ContactChanged { .. } => DemographicsChanged {
            demographics: Personal::Open(Demographics {
                gender: Some("Female".into()),
                date_of_birth: Date::from_ymd_opt(1985, 12, 10),
                ethnicity: Some("Not said".into()),
            }),
            on: day(16),
        },
        DemographicsChanged { .. } => SourceFieldsKept {
            fields: Personal::Open(BTreeMap::from([("shirtSize".to_owned(), "M".to_owned())])),
            on: day(17),
        },
        SourceFieldsKept { .. } => AssessmentCompleted(Assessment {
            on: day(18),
            name: "Engine safety".into(),
            score: Personal::Open(93),
        }),
        AssessmentCompleted(_) => ReviewRecorded(Review {
            on: day(19),
            rating: Personal::Open(4),
            reviewer: Some(person(21)),
        }),
        ReviewRecorded(_) => SurveyAnswered(Survey {
            on: day(20),
            survey: "Spring pulse".into(),
            score: Personal::Open(8),
        }),
        SurveyAnswered(_) => RecognitionGiven(Recognition {
            on: day(21),
            from: person(22),
        }),
        RecognitionGiven(_) => AbsenceRecorded(Absence {
            on: day(22),
            days: 3,
            kind: Some(words("Sick")),
        }),
        AbsenceRecorded(_) => OvertimeRecorded(Overtime {
            on: day(23),
            minutes: 240,
        }),
        OvertimeRecorded(_) => NoteWritten(Note {
            on: day(24),
            text: words("Would like to lead the next engine"),
        }),
        NoteWritten(_) => ScoringObjected(Objection { on: day(25) }),
        ScoringObjected(_) => ScoringObjectionWithdrawn(Objection { on: day(26) }),
        ScoringObjectionWithdrawn(_) => ColleagueLeft(employee::ColleagueLeft {
            colleague: person(22),
            relation: Relation::Manager,
            on: day(26),
        }),
        ColleagueLeft(_) => ColleagueStayed(employee::ColleagueStayed {
            colleague: person(22),
            on: day(26),
        }),
        ColleagueStayed(_) => Erased(Erasure {
            on: day(27),
            basis: "request 12".into(),
        }),
        Erased(_) => return None,
    })
}

fn hired() -> Hired {
    Hired {
        on: day(1),
        source: Some(Source {
            connection: ConnectionId::from_uuid(Uuid::from_u128(10)),
            remote_id: "42".into(),
        }),
        name: name(),
        contact: contact(),
        job: job("Analyst"),
        manager: Some(person(20)),
        pay: Some(pay(5_500_000, PayPeriod::Year)),
        hours: Some(WeeklyMinutes(2_400)),
    }
}

fn pay_changed() -> PayChanged {
    PayChanged {
        from: Some(pay(5_500_000, PayPeriod::Year)),
        to: pay(3_150, PayPeriod::Hour),
        reason: Some(words("Merit")),
        on: day(6),
    }
}

fn next_risk(event: Option<&risk::Event>) -> Option<risk::Event> {
    use risk::Event::*;
    match event {
        None => Some(RiskAssessed(risk::Assessment {
            model: "prior-1".into(),
            position: 1_234,
            scored_at: "2026-03-01T12:34:56.789012Z".parse::<Timestamp>().expect("a moment"),
            horizon_days: 180,
            band: Band::Medium,
            score: Personal::Open(Score {
                probability: 0.1875,
                vector: Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0".into()),
                factors: vec![
                    Factor {
                        feature: "months_since_raise".into(),
                        label: "no raise for 2.4 years".into(),
                        contribution: 0.53125,
                    },
                    Factor {
                        feature: "tenure_years".into(),
                        label: "here for 6.1 years".into(),
                        contribution: -0.25,
                    },
                ],
            }),
        })),
        Some(RiskAssessed(_)) => Some(ReadinessAssessed(risk::Readiness {
            program: ProgramId::from_uuid(Uuid::from_u128(30)),
            model: "additive-2026-03".into(),
            position: 1_235,
            scored_at: "2026-03-01T12:34:56.789012Z".parse::<Timestamp>().expect("a moment"),
            horizon_days: 180,
            level: Level::Ready,
            score: Personal::Open(Score {
                probability: 0.1875,
                vector: Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0".into()),
                factors: vec![Factor {
                    feature: "rating".into(),
                    label: "last review rating 5 of 5".into(),
                    contribution: 0.75,
                }],
            }),
        })),
        Some(ReadinessAssessed(_)) => Some(HumanReviewRecorded(HumanReview {
            on: day(2),
            verdict: Verdict::Override,
            band: Some(Band::Low),
            reason: words("Has just bought a house next door"),
            reviewer: Some(person(21)),
        })),
        Some(HumanReviewRecorded(_)) => None,
    }
}

fn next_connection(event: Option<&connection::Event>) -> Option<connection::Event> {
    use connection::Event::*;
    match event {
        None => Some(Connected {
            system: System::BambooHr(BambooHr {
                company_domain: "acme".into(),
                base_url: "https://acme.bamboohr.com".into(),
                webhook: None,
            }),
            secrets: Personal::Open(Secrets {
                api_key: Some("an API key".into()),
                client_secret: None,
                identity: None,
                webhook_keys: vec!["a webhook key".into(), "its successor".into()],
                tokens: vec![],
            }),
            freshness_seconds: 10_800,
            on: day(1),
        }),
        Some(Connected { .. }) => Some(Synchronised {
            employees: 120,
            cursor: Some("2026-03-02T00:00:00Z".into()),
            on: day(2),
        }),
        Some(Synchronised { .. }) => Some(Failed {
            cause: "the source answers 503".into(),
            on: day(3),
        }),
        Some(Failed { .. }) => Some(Disconnected { on: day(4) }),
        Some(Disconnected { .. }) => None,
    }
}

fn next_tenant(event: Option<&tenant::Event>) -> Option<tenant::Event> {
    use tenant::Event::*;
    match event {
        None => Some(Created {
            name: "Acme Stores".into(),
            on: day(1),
        }),
        Some(Created { .. }) => Some(SettingsChanged {
            bands: Bands {
                medium_above: 0.125,
                high_above: 0.25,
                critical_above: 0.75,
            },
            on: day(2),
        }),
        Some(SettingsChanged { .. }) => Some(ModelPromoted {
            model: "additive-2026-03".into(),
            on: day(3),
        }),
        Some(ModelPromoted { .. }) => Some(ChallengerChanged {
            model: Some("boosted-2026-04".into()),
            on: day(4),
        }),
        Some(ChallengerChanged { .. }) => None,
    }
}

fn next_program(event: Option<&program::Event>) -> Option<program::Event> {
    use program::Event::*;
    match event {
        None => Some(Defined {
            name: "Cashier to Supervisor".into(),
            path: program::Path {
                from: vec!["Cashier".into(), "Senior Cashier".into()],
                to: vec!["Supervisor".into()],
            },
            on: day(1),
        }),
        Some(Defined { .. }) => Some(ModelPromoted {
            model: "additive-2026-03".into(),
            on: day(2),
        }),
        Some(ModelPromoted { .. }) => Some(Closed { on: day(3) }),
        Some(Closed { .. }) => Some(ChallengerChanged {
            model: Some("boosted-2026-04".into()),
            on: day(4),
        }),
        Some(ChallengerChanged { .. }) => None,
    }
}

fn next_access(event: Option<&access::Event>) -> Option<access::Event> {
    use access::Event::*;
    match event {
        None => Some(HistoryAskedFor(access::Question {
            on: day(1),
            about: "employees".into(),
            as_of: Some(day(1) - chrono::Days::new(400)),
            known_at: Some("2026-02-28T09:30:00Z".parse().expect("a moment")),
            purpose: words("turnover of the winter season"),
        })),
        Some(HistoryAskedFor(_)) => None,
    }
}

fn next_pay_change(event: Option<&pay_change::Event>) -> Option<pay_change::Event> {
    use pay_change::Event::*;
    let change = PayChangeId::from_uuid(Uuid::from_u128(0x70));
    let decision = |on| Decision {
        change,
        by: "user:grace".into(),
        on,
    };
    let step = |on| Step { change, on };
    match event {
        None => Some(Requested(Request {
            change,
            at: Source {
                connection: ConnectionId::from_uuid(Uuid::from_u128(0xb0)),
                remote_id: "42".into(),
            },
            to: Personal::Open(PayRate {
                amount: Money {
                    minor_units: 3_150,
                    currency: Currency::USD,
                },
                per: PayPeriod::Hour,
            }),
            effective_on: day(28),
            instead_of: Some(Personal::Open(PayRate {
                amount: Money {
                    minor_units: 3_100,
                    currency: Currency::USD,
                },
                per: PayPeriod::Hour,
            })),
            reason: Some(words("Merit")),
            by: "user:ada".into(),
            on: day(1),
        })),
        Some(Requested(_)) => Some(Approved(decision(day(2)))),
        Some(Approved(_)) => Some(Declined(Declining {
            change,
            by: "user:grace".into(),
            reason: Some(words("not in this round")),
            on: day(2),
        })),
        Some(Declined(_)) => Some(Withdrawn(decision(day(3)))),
        Some(Withdrawn(_)) => Some(Abandoned(decision(day(6)))),
        Some(Abandoned(_)) => Some(SubmissionBegun(step(day(4)))),
        Some(SubmissionBegun(_)) => Some(Submitted(Submission {
            change,
            reference: Some("request-7".into()),
            on: day(4),
        })),
        Some(Submitted(_)) => Some(Accepted(step(day(5)))),
        Some(Accepted(_)) => Some(Rejected(Refusal {
            change,
            cause: "refused".into(),
            message: Some("an active pay schedule is needed".into()),
            on: day(5),
        })),
        Some(Rejected(_)) => Some(Effective(step(day(28)))),
        Some(Effective(_)) => Some(Overtaken(step(day(28)))),
        Some(Overtaken(_)) => None,
    }
}
