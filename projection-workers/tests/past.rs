//! The past as the tables tell it, on a real Postgres: every answer about a day, as known at a moment, equals a naive fold of the
//! events that qualify.

mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    Date, Kind, Personal, StreamId, Timestamp,
    employee::{
        Contact, Ended, Ending, Erasure, Event, GiveNotice, Hired, Job, Moved, Name, Objection, Voluntariness,
        WeeklyMinutes,
    },
    id::{CommandId, EmployeeId, EventId, TenantId},
    risk::{self, Assessment, Band, Score},
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    read_model::{
        employee::EmployeeRow,
        query::{self, Filter, FoundRow, Grouping, Key, Moment, Order, Page},
        risk as risk_rows, timeline,
        trends::{self, Asked, Point},
    },
};
use projection_workers::{
    read_models::ReadModels,
    runner::{Opened, Projection},
};
use proptest::{prelude::*, test_runner::TestRunner};
use schemas::{
    codec::AnyEvent,
    envelope::{Provenance, StoredEvent},
};
use uuid::Uuid;

const PEOPLE: u128 = 4;
/// Days of a history, half of them before today.
const DAYS: u64 = 40;
const HORIZON_DAYS: u16 = 5;

/// Something that happened to one of the people.
#[derive(Debug, Clone)]
enum What {
    Working,
    OnLeave,
    /// By their own will or not.
    Ended(bool),
    Deleted,
    Rehired,
    Job(Option<&'static str>),
    Manager(Option<u128>),
    Hours(u16),
    Notice(Option<u64>),
    Withdrawn,
    Objects(bool),
    Erased,
    Scored(f64),
}

#[derive(Debug, Clone)]
struct Told {
    person: u128,
    /// The day, from the first one.
    on: u64,
    /// Hours since the moment of the event before.
    after: i64,
    what: What,
}

#[derive(Debug, Clone)]
struct History {
    /// On which day each of the people begins, and the hours after which that was recorded.
    hired: Vec<(u64, i64)>,
    told: Vec<Told>,
    batch: usize,
    asked: Vec<(u64, i64)>,
}

fn histories() -> impl Strategy<Value = History> {
    let what = prop_oneof![
        Just(What::Working),
        Just(What::OnLeave),
        any::<bool>().prop_map(What::Ended),
        Just(What::Deleted),
        Just(What::Rehired),
        Just(What::Erased),
        prop_oneof![Just(None), Just(Some("Front")), Just(Some("Back"))].prop_map(What::Job),
        proptest::option::of(1..=PEOPLE).prop_map(What::Manager),
        (1_u16..4).prop_map(|n| What::Hours(n * 600)),
        proptest::option::of(0_u64..20).prop_map(What::Notice),
        Just(What::Withdrawn),
        any::<bool>().prop_map(What::Objects),
        (0_u8..100).prop_map(|percent| What::Scored(f64::from(percent) / 100.0)),
        (0_u8..100).prop_map(|percent| What::Scored(f64::from(percent) / 100.0)),
    ];
    let told = (1..=PEOPLE, 0..DAYS, 0_i64..30, what).prop_map(|(person, on, after, what)| Told {
        person,
        on,
        after,
        what,
    });
    (
        proptest::collection::vec((0..DAYS, 0_i64..40), PEOPLE as usize),
        proptest::collection::vec(told, 0..30),
        1_usize..8,
        proptest::collection::vec((0..DAYS, 0_i64..480), 1..12),
    )
        .prop_map(|(hired, told, batch, asked)| History {
            hired,
            told,
            batch,
            asked,
        })
}

/// An event, as the log has it.
#[derive(Debug, Clone)]
struct Recorded {
    position: i64,
    person: u128,
    on: Date,
    at: Timestamp,
    event: AnyEvent,
}

struct World {
    first_day: Date,
    begins: Timestamp,
    now: Timestamp,
    events: Vec<Recorded>,
}

impl World {
    fn new(history: &History) -> Self {
        let now = clock::now();
        let first_day = now.date_naive() - chrono::Days::new(DAYS / 2);
        let begins = first_day.and_time(chrono::NaiveTime::MIN).and_utc();
        let mut world = Self {
            first_day,
            begins,
            now,
            events: Vec::new(),
        };
        let mut at = begins;
        for (person, (on, after)) in (1..).zip(&history.hired) {
            at += chrono::TimeDelta::hours(*after);
            world.push(person, at, AnyEvent::Employee(hired(person, world.day(*on))));
        }
        let mut erased = BTreeSet::new();
        for told in &history.told {
            at += chrono::TimeDelta::hours(told.after);
            let is_last = matches!(told.what, What::Erased);
            // Nothing is recorded of whom an erasure made unknown.
            if erased.contains(&told.person) || is_last && !erased.insert(told.person) {
                continue;
            }
            let event = world.event(told, at.min(now));
            world.push(told.person, at, event);
        }
        world
    }

    fn push(&mut self, person: u128, at: Timestamp, event: AnyEvent) {
        self.events.push(Recorded {
            position: self.events.len() as i64 + 1,
            person,
            on: event.effective_on(),
            at: at.min(self.now),
            event,
        });
    }

    fn day(&self, number: u64) -> Date {
        self.first_day + chrono::Days::new(number)
    }

    fn event(&self, told: &Told, at: Timestamp) -> AnyEvent {
        let on = self.day(told.on);
        let event = match &told.what {
            What::Working => Event::LeaveEnded { on },
            What::OnLeave => Event::LeaveStarted { on },
            What::Ended(voluntarily) => Event::Terminated(Ending {
                on,
                ended: Ended {
                    voluntariness: if *voluntarily {
                        Voluntariness::Voluntary
                    } else {
                        Voluntariness::Retirement
                    },
                    reason: None,
                },
            }),
            What::Deleted => Event::SourceRecordDeleted { on },
            What::Rehired => Event::Rehired { on },
            What::Job(department) => Event::Transferred(Moved {
                from: Job::default(),
                to: Job {
                    department: department.map(str::to_owned),
                    ..Job::default()
                },
                on,
            }),
            What::Manager(manager) => Event::ManagerChanged {
                from: None,
                to: manager.map(id),
                on,
            },
            What::Hours(minutes) => Event::HoursChanged {
                from: None,
                to: WeeklyMinutes(*minutes),
                on,
            },
            What::Notice(days) => Event::NoticeGiven(GiveNotice {
                on,
                last_day: days.map(|days| on + chrono::Days::new(days)),
                voluntariness: Voluntariness::Voluntary,
            }),
            What::Withdrawn => Event::NoticeWithdrawn { on },
            What::Erased => Event::Erased(Erasure {
                on: at.date_naive(),
                basis: "asked for".to_owned(),
            }),
            What::Objects(true) => Event::ScoringObjected(Objection { on }),
            What::Objects(false) => Event::ScoringObjectionWithdrawn(Objection { on }),
            What::Scored(probability) => {
                return AnyEvent::Risk(risk::Event::RiskAssessed(Assessment {
                    model: "m".to_owned(),
                    position: 1,
                    scored_at: at - chrono::TimeDelta::hours(5),
                    horizon_days: HORIZON_DAYS,
                    band: if *probability > 0.5 { Band::High } else { Band::Low },
                    score: Personal::Open(Score {
                        probability: *probability,
                        factors: vec![],
                        vector: None,
                    }),
                }));
            }
        };
        AnyEvent::Employee(event)
    }

    fn opened(&self, tenant: TenantId) -> Vec<Opened> {
        let opened = |recorded: &Recorded| {
            let kind = match recorded.event {
                AnyEvent::Risk(_) => Kind::Risk,
                _ => Kind::Employee,
            };
            let command = CommandId::from_uuid(clock::new_id());
            Opened {
                stored: Arc::new(StoredEvent {
                    position: recorded.position,
                    stream: StreamId::new(tenant, kind, id(recorded.person)),
                    revision: 1,
                    event_id: EventId::of_command(command, 0),
                    event_type: recorded.event.encode().expect("an event").event_type,
                    schema_version: 1,
                    effective_on: recorded.on,
                    recorded_at: recorded.at,
                    provenance: Provenance {
                        actor: "tenure".into(),
                        correlation: Uuid::nil(),
                        causation: command,
                        backfill: false,
                        traceparent: None,
                    },
                    data: b"{}".to_vec(),
                }),
                event: recorded.event.clone(),
            }
        };
        self.events.iter().map(opened).collect()
    }

    /// What was said of a person's employment until `day`, by what was recorded until `known`, in the order of its days.
    fn qualifying(&self, person: u128, day: Date, known: Timestamp) -> Vec<&Event> {
        let mut events: Vec<(Date, i64, &Event)> = self
            .events
            .iter()
            .filter(|event| event.person == person && event.on <= day && event.at <= known)
            .filter_map(|event| match &event.event {
                AnyEvent::Employee(told) => Some((event.on, event.position, told)),
                _ => None,
            })
            .collect();
        events.sort_by_key(|(on, position, _)| (*on, *position));
        events.into_iter().map(|(_, _, event)| event).collect()
    }

    fn folded(&self, person: u128, day: Date, known: Timestamp) -> Folded {
        let mut folded = Folded::default();
        let events = self.qualifying(person, day, known);
        for event in &events {
            folded.apply(event);
        }
        // There is no coming back, whatever was planned for later.
        if events.iter().any(|event| matches!(event, Event::Erased(_))) {
            folded.standing = Some("ERASED");
        }
        folded
    }

    /// The answer that is right: `None` if the person is not to be told of.
    fn expected(&self, person: u128, at: Moment) -> Option<Answer> {
        let eve = at.known_at.min(at.day_ends() - chrono::TimeDelta::microseconds(1));
        let hired_on = self.events.iter().find_map(|event| match &event.event {
            AnyEvent::Employee(Event::Hired(hired)) if event.person == person => Some(hired.on),
            _ => None,
        })?;
        let now = self.folded(person, at.day, at.known_at);
        let (folded, status) = match now.standing {
            Some("ENDED") => (now.clone(), "LEFT"),
            Some("DELETED") => (now.clone(), "DELETED"),
            Some("ERASED") => (now.clone(), "ERASED"),
            Some(_) if now.notice.is_some() => (now.clone(), "ON_NOTICE"),
            Some("ON_LEAVE") => (now.clone(), "ON_LEAVE"),
            Some(_) => (now.clone(), "ACTIVE"),
            None => {
                let coming = self.folded(person, hired_on, eve);
                coming.standing.filter(|_| hired_on > at.day)?;
                (coming, "PREHIRE")
            }
        };
        let left_on = (status == "LEFT").then(|| {
            let mut since = at.day;
            while self.folded(person, since - chrono::Days::new(1), at.known_at).standing == Some("ENDED") {
                since = since - chrono::Days::new(1);
            }
            since
        });
        let known_end = || {
            let ends: BTreeSet<Date> = self
                .events
                .iter()
                .filter(|event| event.person == person && event.on > at.day && event.at <= eve)
                .filter(|event| matches!(event.event, AnyEvent::Employee(_)))
                .map(|event| event.on)
                .collect();
            ends.into_iter()
                .find(|day| self.folded(person, *day, eve).standing == Some("ENDED"))
        };
        let last_day = match (left_on, folded.notice.and_then(|(_, last_day)| last_day)) {
            (Some(left_on), _) => left_on.pred_opt(),
            (None, Some(last_day)) => Some(last_day),
            (None, None) => known_end().and_then(|day| day.pred_opt()),
        };
        let employed = matches!(status, "ACTIVE" | "ON_LEAVE" | "ON_NOTICE");
        let risk = self
            .scores(person, at)
            .last()
            .copied()
            .filter(|_| employed && !folded.objects);
        Some(Answer {
            status: status.to_owned(),
            department: folded.department,
            manager: folded.manager.map(|manager| id(manager).uuid()),
            weekly_minutes: folded.hours,
            notice_on: folded.notice.map(|(on, _)| on),
            last_day,
            left_on,
            risk,
        })
    }

    /// The series up to a day, by looking at every person on every day.
    fn trend(&self, days: &[Date], department: Option<&str>, known_at: Timestamp) -> Vec<Point> {
        let on = |person, day| self.expected(person, Moment { day, known_at });
        let counts = |answer: &Option<Answer>| {
            let answer = answer.as_ref().filter(|answer| answer.is_employed());
            answer.is_some_and(|answer| department.is_none() || answer.department.as_deref() == department)
        };
        let is_leaving = |person, day: Date| {
            let folded = self.folded(person, day, known_at);
            let leaves = match folded.standing {
                Some("ENDED") => true,
                Some("WORKING" | "ON_LEAVE") => folded.notice.is_some(),
                _ => false,
            };
            leaves && folded.voluntarily
        };
        let next = |day: Date| day + chrono::Days::new(1);
        let mut before: Option<Date> = None;
        let mut points = Vec::new();
        for day in days {
            let mut point = Point::default();
            let horizon_end = *day + chrono::Days::new(HORIZON_DAYS.into());
            let has_passed = horizon_end <= known_at.date_naive() && self.has_scores();
            point.came_true = (has_passed || !self.has_scores() && *day <= known_at.date_naive()).then_some(0);
            for person in 1..=PEOPLE {
                let today = on(person, *day);
                if counts(&today) {
                    let answer = today.as_ref().expect("somebody");
                    point.headcount += 1;
                    point.on_leave += i64::from(answer.status == "ON_LEAVE");
                    point.on_notice += i64::from(answer.status == "ON_NOTICE");
                    if let Some(risk) = answer.risk {
                        point.bands[if risk > 0.5 { 2 } else { 0 }] += 1;
                        point.expected += risk;
                        let soon = std::iter::successors(Some(next(*day)), |day| Some(next(*day)))
                            .take_while(|day| *day <= horizon_end);
                        let leaves = soon
                            .into_iter()
                            .any(|day| is_leaving(person, day) && !is_leaving(person, day - chrono::Days::new(1)));
                        point.came_true = point.came_true.map(|n| n + i64::from(leaves));
                    }
                }
                let Some(before) = before else { continue };
                let between =
                    std::iter::successors(Some(next(before)), |day| Some(next(*day))).take_while(|then| then <= day);
                for then in between {
                    let (eve, now) = (on(person, then - chrono::Days::new(1)), on(person, then));
                    let was_employed = eve.as_ref().is_some_and(Answer::is_employed);
                    point.joined += i64::from(counts(&now) && !was_employed);
                    if counts(&eve) && now.as_ref().is_some_and(|now| now.status == "LEFT") {
                        point.left += 1;
                        point.left_voluntarily += i64::from(self.folded(person, then, known_at).voluntarily);
                    }
                }
            }
            before = Some(*day);
            points.push(point);
        }
        points
    }

    fn has_scores(&self) -> bool {
        self.events.iter().any(|event| matches!(event.event, AnyEvent::Risk(_)))
    }

    fn scores(&self, person: u128, at: Moment) -> Vec<f64> {
        let is_erasure = |event: &AnyEvent| matches!(event, AnyEvent::Employee(Event::Erased(_)));
        if self
            .events
            .iter()
            .any(|event| event.person == person && is_erasure(&event.event))
        {
            return vec![]; // an erasure takes them from every past
        }
        let told = self
            .events
            .iter()
            .filter(|event| event.person == person && event.at <= at.known_at);
        told.filter_map(|event| match &event.event {
            AnyEvent::Risk(risk::Event::RiskAssessed(made)) if made.scored_at < at.day_ends() => {
                made.score.open().map(|score| score.probability)
            }
            _ => None,
        })
        .collect()
    }
}

/// What events say, one after the other.
#[derive(Debug, Clone, Default)]
struct Folded {
    standing: Option<&'static str>,
    department: Option<String>,
    manager: Option<u128>,
    hours: Option<i32>,
    notice: Option<(Date, Option<Date>)>,
    objects: bool,
    /// Of the end that the notice or the termination is about.
    voluntarily: bool,
}

impl Folded {
    fn apply(&mut self, event: &Event) {
        let person = |id: &EmployeeId| id.uuid().as_u128();
        match event {
            Event::Hired(hired) => {
                self.standing = Some("WORKING");
                self.department.clone_from(&hired.job.department);
                self.manager = hired.manager.as_ref().map(person);
            }
            Event::LeaveStarted { .. } => self.standing = Some("ON_LEAVE"),
            Event::LeaveEnded { .. } => self.standing = Some("WORKING"),
            Event::Rehired { .. } => {
                (self.standing, self.notice, self.voluntarily) = (Some("WORKING"), None, false);
            }
            Event::Terminated(ending) => {
                (self.standing, self.notice) = (Some("ENDED"), None);
                self.voluntarily = ending.ended.voluntariness == Voluntariness::Voluntary;
            }
            Event::SourceRecordDeleted { .. } => self.standing = Some("DELETED"),
            Event::Erased(_) => self.standing = Some("ERASED"),
            Event::Transferred(moved) => self.department.clone_from(&moved.to.department),
            Event::ManagerChanged { to, .. } => self.manager = to.as_ref().map(person),
            Event::HoursChanged { to, .. } => self.hours = Some(i32::from(to.0)),
            Event::NoticeGiven(notice) => (self.notice, self.voluntarily) = (Some((notice.on, notice.last_day)), true),
            Event::NoticeWithdrawn { .. } => (self.notice, self.voluntarily) = (None, false),
            Event::ScoringObjected(_) => self.objects = true,
            Event::ScoringObjectionWithdrawn(_) => self.objects = false,
            _ => unreachable!("not told in these histories"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: String,
    department: Option<String>,
    manager: Option<Uuid>,
    weekly_minutes: Option<i32>,
    notice_on: Option<Date>,
    last_day: Option<Date>,
    left_on: Option<Date>,
    risk: Option<f64>,
}

impl Answer {
    fn of(row: &EmployeeRow, risk: Option<f64>) -> Self {
        Self {
            status: row.status.clone(),
            department: row.department.clone(),
            manager: row.manager,
            weekly_minutes: row.weekly_minutes,
            notice_on: row.notice_on,
            last_day: row.last_day,
            left_on: row.left_on,
            risk,
        }
    }

    fn is_employed(&self) -> bool {
        matches!(self.status.as_str(), "ACTIVE" | "ON_LEAVE" | "ON_NOTICE")
    }
}

fn id(person: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(person))
}

fn hired(person: u128, on: Date) -> Event {
    Event::Hired(Hired {
        on,
        source: None,
        name: Personal::Open(Name {
            first: "Ada".to_owned(),
            last: person.to_string(),
            preferred: None,
        }),
        contact: Personal::Open(Contact::default()),
        job: Job {
            department: Some("Front".to_owned()),
            ..Job::default()
        },
        manager: Some(id(1)),
        pay: None,
        hours: None,
    })
}

async fn work<T, W>(database: &Database, tenant: TenantId, work: W) -> T
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
{
    database
        .transact(Access::Write, &[tenant], work)
        .await
        .expect("a unit of work")
}

/// All the answers of the tables about one moment, held against the fold.
async fn check(database: &Database, tenant: TenantId, world: &World, at: Moment) -> Result<(), TestCaseError> {
    let expected: BTreeMap<Uuid, Answer> = (1..=PEOPLE)
        .filter_map(|person| Some((id(person).uuid(), world.expected(person, at)?)))
        .collect();
    let filter = Filter {
        at: Some(at),
        ..Filter::default()
    };
    let (by_id, overview, departments, teams) = work(database, tenant, {
        let (filter, everybody) = (filter.clone(), (1..=PEOPLE).map(id).collect::<Vec<_>>());
        move |c| {
            Box::pin(async move {
                Ok((
                    query::employees_by_id(c, tenant, &everybody, &filter, true).await?,
                    query::risk_overview(c, tenant, Grouping::Department, Some(at)).await?,
                    query::departments(c, tenant, Some(at)).await?,
                    query::team_heads(c, tenant, Some(at)).await?,
                ))
            })
        }
    })
    .await;
    prop_assert_eq!(&answers(&by_id), &expected, "each of them, {:?}", at);

    let in_front = |answer: &Answer| answer.department.as_deref() == Some("Front");
    let heads = |key: &dyn Fn(&Answer) -> bool, what: &dyn Fn(&Answer) -> bool| {
        expected.values().filter(|answer| key(answer) && what(answer)).count() as i64
    };
    let front = overview.iter().find(|row| row.key.as_deref() == Some("Front"));
    prop_assert_eq!(
        front.map_or((0, 0, 0), |row| (row.headcount, row.scored, row.high)),
        (
            heads(&in_front, &Answer::is_employed),
            heads(&in_front, &|answer| answer.risk.is_some()),
            heads(&in_front, &|answer| answer.risk.is_some_and(|risk| risk > 0.5)),
        )
    );
    let front = departments.iter().find(|row| row.key == "Front");
    prop_assert_eq!(
        front.map_or((0, 0, 0, 0), |row| (
            row.headcount,
            row.on_leave,
            row.on_notice,
            row.departed
        )),
        (
            heads(&in_front, &Answer::is_employed),
            heads(&in_front, &|answer| answer.status == "ON_LEAVE"),
            heads(&in_front, &|answer| answer.status == "ON_NOTICE"),
            heads(&in_front, &|answer| answer.status == "LEFT"),
        )
    );
    let boss = id(1).uuid();
    let team = teams.iter().find(|row| row.key == boss.to_string());
    prop_assert_eq!(
        team.map_or(0, |row| row.headcount),
        heads(&|answer| answer.manager == Some(boss), &Answer::is_employed)
    );

    // Lists, in each order, with each filter, page by page.
    for (order, department, manager) in [
        (Order::Name, None, None),
        (Order::Id, Some("Front"), None),
        (Order::Risk, None, None),
        (Order::Name, None, Some(id(1))),
    ] {
        let filter = Filter {
            department: department.map(str::to_owned),
            manager,
            ..filter.clone()
        };
        let listed = pages(database, tenant, &filter, order).await;
        let wanted: BTreeMap<Uuid, Answer> = expected
            .iter()
            .filter(|(_, answer)| department.is_none() || answer.department.as_deref() == department)
            .filter(|(_, answer)| manager.is_none() || answer.manager == manager.map(EmployeeId::uuid))
            .map(|(id, answer)| (*id, answer.clone()))
            .collect();
        prop_assert_eq!(listed.len(), wanted.len(), "nobody twice");
        prop_assert_eq!(answers(&listed), wanted, "a list, {:?}", at);
        let count = work(database, tenant, move |c| {
            Box::pin(async move { query::count_employees(c, tenant, &filter).await })
        });
        prop_assert_eq!(count.await, listed.len() as i64);
    }

    let days: Vec<Date> = (0..DAYS).step_by(6).map(|day| world.day(day)).collect();
    for department in [None, Some("Back")] {
        let asked = Asked {
            days: days.clone(),
            department: department.map(str::to_owned),
            known_at: at.known_at,
        };
        let series = work(database, tenant, move |c| {
            Box::pin(async move { trends::series(c, tenant, &asked).await })
        });
        let mut series = series.await;
        let mut expected = world.trend(&days, department, at.known_at);
        for point in series.iter_mut().chain(&mut expected) {
            point.expected = (point.expected * 1e6).round() / 1e6;
        }
        prop_assert_eq!(
            series,
            expected,
            "a series, {:?} known at {:?}",
            department,
            at.known_at
        );
    }

    let (entries, scores) = work(database, tenant, move |c| {
        Box::pin(async move {
            let page = timeline::Page {
                before: None,
                limit: 100,
                at: Some(at),
            };
            let people = [id(2), id(1)];
            Ok((
                timeline::pages(c, tenant, &people, page).await?,
                risk_rows::history_pages(c, tenant, &people, page).await?,
            ))
        })
    })
    .await;
    for person in [1, 2] {
        let of = id(person).uuid();
        let told = entries.iter().rev().filter(|entry| entry.employee == of);
        let happened = world
            .events
            .iter()
            .filter(|event| event.person == person && event.on <= at.day && event.at <= at.known_at);
        prop_assert_eq!(
            told.map(|entry| entry.position).collect::<Vec<_>>(),
            happened.map(|event| event.position).collect::<Vec<_>>()
        );
        let scores = scores.iter().rev().filter(|row| row.employee == of);
        let scores: Vec<f64> = scores.filter_map(|row| row.probability).collect();
        prop_assert_eq!(scores, world.scores(person, at));
    }
    Ok(())
}

fn answers(found: &[FoundRow]) -> BTreeMap<Uuid, Answer> {
    found
        .iter()
        .map(|found| {
            let risk = found.risk.as_ref().map(|risk| risk.probability);
            (found.employee.id, Answer::of(&found.employee, risk))
        })
        .collect()
}

async fn pages(database: &Database, tenant: TenantId, filter: &Filter, order: Order) -> Vec<FoundRow> {
    let mut listed: Vec<FoundRow> = Vec::new();
    loop {
        let from: Option<Key> = listed.last().map(|last| last.key(order));
        let page = Page {
            order,
            backwards: false,
            from,
            limit: 2,
            with_risk: true,
        };
        let filter = filter.clone();
        let found = work(database, tenant, move |c| {
            Box::pin(async move { query::employees(c, tenant, &filter, &page).await })
        })
        .await;
        let is_last = found.len() < 2;
        listed.extend(found);
        if is_last {
            return listed;
        }
    }
}

#[test]
fn every_answer_about_the_past_equals_a_naive_fold() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (database, _, _, _server) = runtime.block_on(server::start("past"));
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    });
    let result = runner.run(&histories(), |history| {
        runtime.block_on(async {
            let tenant = TenantId::from_uuid(clock::new_id());
            let world = World::new(&history);
            let models = ReadModels::new(database.clone());
            for batch in world.opened(tenant).chunks(history.batch) {
                let (models, batch) = (models.clone(), batch.to_vec());
                work(&database, tenant, move |c| {
                    Box::pin(async move { models.apply(c, &batch).await })
                })
                .await;
            }
            for (day, hours) in &history.asked {
                let at = Moment {
                    day: world.day(*day),
                    known_at: world.begins + chrono::TimeDelta::hours(*hours),
                };
                check(&database, tenant, &world, at).await?;
            }
            // Today, by all that is known, is what the tables of today say.
            let today = Moment {
                day: world.now.date_naive(),
                known_at: world.now,
            };
            check(&database, tenant, &world, today).await?;
            let live = work(&database, tenant, move |c| {
                Box::pin(async move {
                    let everybody: Vec<EmployeeId> = (1..=PEOPLE).map(id).collect();
                    query::employees_by_id(c, tenant, &everybody, &Filter::default(), false).await
                })
            })
            .await;
            if clock::today() == today.day {
                for found in &live {
                    let person = found.employee.id.as_u128();
                    let expected = world
                        .expected(person, today)
                        .map(|answer| Answer { risk: None, ..answer });
                    prop_assert_eq!(
                        Some(Answer::of(&found.employee, None)),
                        expected,
                        "today's row of {}",
                        person
                    );
                }
            }
            Ok(())
        })
    });
    if let Err(failure) = result {
        panic!("{failure}\n{runner}");
    }
}
