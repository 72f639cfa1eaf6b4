//! Who is told of which exit, on a real Postgres: whatever the order in which people's streams arrive, everybody of the team is told
//! once, in history what is history.

mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use chrono::{Days, NaiveDate, TimeDelta};
use domain::{
    Aggregate, Date, Kind, StreamId,
    employee::{Command, Employee, Ended, Ending, Event, GiveNotice, Hired, Job, Relation, Voluntariness},
    id::{CommandId, EmployeeId, EventId, TenantId},
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    embedded::EmbeddedPostgres,
    outbox,
    sealing::Keyring,
    teams as tables,
};
use projection_workers::{
    runner::{Opened, Projection},
    teams::{COMMANDS_MAX, Facts, Teams},
};
use proptest::{prelude::*, test_runner::TestRunner};
use schemas::{
    codec::{AnyCommand, AnyEvent},
    envelope::{Provenance, StoredEvent},
};
use tokio::{
    runtime::Runtime,
    sync::{Notify, oneshot},
};
use uuid::Uuid;

const WAITING_MAX: i64 = 100_000;

/// What somebody has been told: of whom, for which day, who it is to them.
type Heard = BTreeSet<(EmployeeId, EmployeeId, Date, Relation)>;

struct World {
    database: Database,
    keyring: Keyring,
    _server: (EmbeddedPostgres, tempfile::TempDir),
    runtime: Runtime,
}

/// One server for all tests of this file that run at a time; each works for tenants of its own.
fn world() -> Arc<World> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    // A test that failed while it started the server left nothing half done.
    let mut known = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = known.upgrade() {
        return world;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (database, keyring, _, server) = runtime.block_on(server::start("teams"));
    let world = Arc::new(World {
        database,
        keyring,
        _server: server,
        runtime,
    });
    *known = Arc::downgrade(&world);
    world
}

/// A tenant's teams, and the log of its people.
struct Company {
    world: Arc<World>,
    tenant: TenantId,
    teams: Teams,
    position: i64,
    people: BTreeMap<EmployeeId, Employee>,
}

impl Company {
    async fn new() -> Self {
        let world = world();
        let tenant = TenantId::from_uuid(clock::new_id());
        world.keyring.ensure_tenant(tenant).await.expect("a key");
        Self {
            tenant,
            teams: Teams::new(world.database.clone(), world.keyring.clone(), Arc::new(Notify::new())),
            world,
            position: 0,
            people: BTreeMap::new(),
        }
    }

    async fn work<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.world
            .database
            .transact(Access::Write, &[self.tenant], work)
            .await
            .expect("a unit of work")
    }

    fn opened(&mut self, person: EmployeeId, event: &Event, backfill: bool) -> Opened {
        self.position += 1;
        let before = self.people.remove(&person).unwrap_or_default();
        self.people.insert(person, before.evolve(event));
        let any = AnyEvent::Employee(event.clone());
        let command = CommandId::from_uuid(clock::new_id());
        Opened {
            stored: Arc::new(StoredEvent {
                position: self.position,
                stream: StreamId::new(self.tenant, Kind::Employee, person),
                revision: 1,
                event_id: EventId::of_command(command, 0),
                event_type: any.encode().expect("an event").event_type,
                schema_version: 1,
                effective_on: any.effective_on(),
                recorded_at: clock::now(),
                provenance: Provenance {
                    actor: "tenure".into(),
                    correlation: command.uuid(),
                    causation: command,
                    backfill,
                    traceparent: None,
                },
                data: Vec::new(),
            }),
            event: any,
        }
    }

    async fn apply(&self, events: Vec<Opened>) {
        let teams = self.teams.clone();
        self.work(move |connection| Box::pin(async move { teams.apply(connection, &events).await }))
            .await;
    }

    async fn happen(&mut self, person: EmployeeId, event: Event, backfill: bool) {
        let opened = self.opened(person, &event, backfill);
        self.apply(vec![opened]).await;
    }

    /// Tells everybody, however quiet the streams have been.
    async fn tell(&self) -> usize {
        let later = clock::now() + TimeDelta::hours(1);
        let mut commands = 0;
        loop {
            match self.teams.tell(self.tenant, later).await.expect("told") {
                0 => return commands,
                some => commands += some,
            }
        }
    }

    /// The commands that wait, in order.
    async fn commands(&self) -> Vec<(EmployeeId, Command, bool)> {
        let waiting = self
            .work(|connection| Box::pin(outbox::waiting(connection, WAITING_MAX)))
            .await;
        let keys = self.world.keyring.tenant(self.tenant).await.expect("keys");
        let open = |outgoing: &outbox::Outgoing| {
            let plain = keys
                .open(&outbox::place(outgoing.id), &outgoing.command)
                .expect("opens");
            match serde_json::from_slice(&plain).expect("a command") {
                AnyCommand::Employee(command) => {
                    let person = EmployeeId::from_uuid(outgoing.stream.id);
                    (person, command, outgoing.backfill)
                }
                other => panic!("{other:?}"),
            }
        };
        waiting.iter().map(open).collect()
    }

    /// What people have heard once the commands are decided.
    async fn heard(&self) -> Heard {
        let mut people = self.people.clone();
        for (person, command, _) in self.commands().await {
            let before = people.remove(&person).expect("somebody");
            let events = before.decide(command, clock::today()).expect("no rule is broken");
            people.insert(person, events.iter().fold(before, Employee::evolve));
        }
        let heard = people.into_iter().filter_map(|(person, state)| match state {
            Employee::OnFile(file) => Some((person, file.colleagues_left)),
            Employee::Unknown | Employee::Erased => None,
        });
        heard
            .flat_map(|(person, left)| {
                left.into_iter()
                    .map(move |((on, colleague), relation)| (person, colleague, on, relation))
            })
            .collect()
    }
}

fn on(day: u64) -> Date {
    NaiveDate::from_ymd_opt(2025, 1, 1).expect("a day") + Days::new(day)
}

fn person(number: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(number))
}

fn hired(manager: Option<u128>, day: u64) -> Event {
    Event::Hired(Hired {
        on: on(day),
        source: None,
        name: Default::default(),
        contact: Default::default(),
        job: Job::default(),
        manager: manager.map(person),
        pay: None,
        hours: None,
    })
}

fn notice(day: u64) -> Event {
    Event::NoticeGiven(GiveNotice {
        on: on(day),
        last_day: None,
        voluntariness: Voluntariness::Voluntary,
    })
}

fn terminated(day: u64) -> Event {
    Event::Terminated(Ending {
        on: on(day),
        ended: Ended::new(Voluntariness::Voluntary, None),
    })
}

fn moved_to(manager: Option<u128>, day: u64) -> Event {
    Event::ManagerChanged {
        from: None,
        to: manager.map(person),
        on: on(day),
    }
}

const BOSS: u128 = 1;
const ADA: u128 = 2;
const BOB: u128 = 3;
const CLEO: u128 = 4;

/// A boss with a team of three.
async fn team() -> Company {
    let mut company = Company::new().await;
    company.happen(person(BOSS), hired(None, 0), true).await;
    for one in [ADA, BOB, CLEO] {
        company.happen(person(one), hired(Some(BOSS), 0), true).await;
    }
    company.tell().await;
    company
}

#[test]
fn the_team_hears_of_an_exit_and_of_its_withdrawal_and_of_the_managers() {
    world().runtime.block_on(async {
        let mut company = team().await;
        company.happen(person(ADA), notice(30), false).await;
        company.tell().await;
        let of_ada = [BOB, CLEO].map(|one| (person(one), person(ADA), on(30), Relation::Peer));
        assert_eq!(company.heard().await, of_ada.into_iter().collect());
        assert_eq!(company.tell().await, 0, "once");

        company
            .happen(person(ADA), Event::NoticeWithdrawn { on: on(35) }, false)
            .await;
        company.tell().await;
        assert_eq!(company.heard().await, Heard::new());

        // The same notice again, and the boss's.
        company.happen(person(ADA), notice(30), false).await;
        company.tell().await;
        company.happen(person(BOSS), terminated(50), false).await;
        company.tell().await;
        let of_boss = [ADA, BOB, CLEO].map(|one| (person(one), person(BOSS), on(50), Relation::Manager));
        assert_eq!(company.heard().await, of_ada.into_iter().chain(of_boss).collect());
    });
}

#[test]
fn what_is_history_is_told_as_history_and_news_as_news() {
    world().runtime.block_on(async {
        let mut company = team().await;
        company.happen(person(ADA), notice(30), true).await;
        company.tell().await;
        company.happen(person(BOB), notice(40), false).await;
        company.tell().await;
        // A source corrects today where Cleo was then: that she heard of the exits was believed until today.
        company.happen(person(CLEO), moved_to(None, 20), false).await;
        company.tell().await;
        let flags: Vec<(u128, &str, bool)> = company
            .commands()
            .await
            .into_iter()
            .map(|(to, command, backfill)| match command {
                Command::HearOfExit(exit) if exit.colleague == person(ADA) => {
                    (to.uuid().as_u128(), "Ada left", backfill)
                }
                Command::HearOfExit(_) => (to.uuid().as_u128(), "Bob left", backfill),
                Command::HearOfStay(_) => (to.uuid().as_u128(), "taken back", backfill),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            (BOB, "Ada left", true),
            (CLEO, "Ada left", true),
            (ADA, "Bob left", false),
            (CLEO, "Bob left", false),
            (CLEO, "taken back", false),
            (CLEO, "taken back", false),
        ];
        assert_eq!(flags, expected);

        // Corrected by more history, it never was.
        let mut company = team().await;
        company.happen(person(ADA), notice(30), true).await;
        company.tell().await;
        company.happen(person(ADA), moved_to(None, 20), true).await;
        company.tell().await;
        let commands = company.commands().await;
        assert_eq!(commands.len(), 4);
        assert!(commands.iter().all(|(_, _, backfill)| *backfill), "{commands:?}");
    });
}

#[test]
fn history_waits_until_its_stream_is_quiet_and_news_does_not() {
    world().runtime.block_on(async {
        let mut company = team().await;
        company.happen(person(ADA), notice(30), true).await;
        assert_eq!(company.teams.tell(company.tenant, clock::now()).await.expect("told"), 0);
        // What is taken back before anybody was told is never told.
        company
            .happen(person(ADA), Event::NoticeWithdrawn { on: on(31) }, true)
            .await;
        assert_eq!(company.tell().await, 0);
        company.happen(person(BOB), notice(30), false).await;
        assert_eq!(company.teams.tell(company.tenant, clock::now()).await.expect("told"), 2);
    });
}

#[test]
fn a_large_team_is_told_page_by_page() {
    world().runtime.block_on(async {
        let mut company = Company::new().await;
        let reports = COMMANDS_MAX as u128 + 100;
        let mut events = vec![company.opened(person(BOSS), &hired(None, 0), true)];
        for one in 0..reports {
            events.push(company.opened(person(100 + one), &hired(Some(BOSS), 0), true));
        }
        company.apply(events).await;
        company.tell().await;
        company.happen(person(BOSS), notice(30), false).await;
        assert_eq!(company.tell().await as u128, reports);
        let heard: BTreeSet<EmployeeId> = company.heard().await.into_iter().map(|(who, ..)| who).collect();
        assert_eq!(heard.len() as u128, reports);
    });
}

/// Neither transaction sees what the other is about to write.
#[test]
fn of_two_at_the_same_time_at_least_one_tells_and_only_one() {
    world().runtime.block_on(async {
        for _ in 0..25 {
            let mut company = Company::new().await;
            let leaver = [
                company.opened(person(ADA), &hired(Some(BOSS), 0), false),
                company.opened(person(ADA), &notice(30), false),
            ];
            let mate = [company.opened(person(BOB), &hired(Some(BOSS), 0), false)];
            let both = Arc::new(tokio::sync::Barrier::new(2));
            let at_once = |events: Vec<Opened>| {
                let (teams, both, company) = (company.teams.clone(), Arc::clone(&both), &company);
                async move {
                    company
                        .work(move |connection| {
                            Box::pin(async move {
                                teams.apply(connection, &events).await?;
                                both.wait().await; // both have written, none has committed
                                Ok(())
                            })
                        })
                        .await;
                    company.tell().await
                }
            };
            let (first, second) = tokio::join!(at_once(leaver.into()), at_once(mate.into()));
            assert_eq!(first + second, 1, "once");
            let expected = (person(BOB), person(ADA), on(30), Relation::Peer);
            assert_eq!(company.heard().await, [expected].into_iter().collect());
        }
    });
}

/// Whoever tells has read what a correction, committed meanwhile, makes untrue. The correction's own step waits, and takes it back.
#[test]
fn what_is_corrected_while_it_is_told_is_taken_back() {
    world().runtime.block_on(async {
        let mut company = team().await;
        company.happen(person(ADA), notice(30), false).await;
        let (has_told, told) = oneshot::channel();
        let (go_on, wait) = oneshot::channel::<()>();
        let tenant = company.tenant;
        let slow = company.work(move |connection| {
            Box::pin(async move {
                tables::lock(connection, tenant).await?;
                let now = clock::now() + TimeDelta::hours(1);
                let due: Vec<Uuid> = tables::claim(connection, tenant, now, 10)
                    .await?
                    .iter()
                    .map(|row| row.employee)
                    .collect();
                let news = tables::tell(connection, tenant, &due, 10).await?;
                has_told.send(news.len()).expect("somebody waits");
                wait.await.expect("a word");
                tables::settle(connection, tenant, &due).await
            })
        });
        let correct = async {
            assert_eq!(told.await.expect("told"), 2);
            let mut corrected = Company {
                people: company.people.clone(),
                teams: company.teams.clone(),
                ..Company::new().await
            };
            (corrected.tenant, corrected.position) = (company.tenant, company.position);
            corrected.happen(person(BOB), moved_to(None, 20), false).await;
            let taken_back = corrected.tell();
            tokio::pin!(taken_back);
            let early = tokio::time::timeout(Duration::from_millis(300), &mut taken_back).await;
            assert!(early.is_err(), "it does not wait for the one before it: {early:?}");
            go_on.send(()).expect("somebody waits");
            taken_back.await
        };
        let ((), taken_back) = tokio::join!(slow, correct);
        assert_eq!(taken_back, 1);
        let told = company
            .work(move |connection| {
                Box::pin(async move { tables::take_back(connection, tenant, &[person(ADA).uuid()], 10).await })
            })
            .await;
        assert_eq!(told, [], "nothing untrue is left");
    });
}

/// What happens to one person, one after the other.
#[derive(Debug, Clone)]
enum Step {
    Notice(u64),
    Withdrawn(u64),
    Terminated(u64),
    Reversed(u64),
    Rehired(u64),
    Deleted(u64),
    Managed(Option<u128>, u64),
}

impl Step {
    fn event(&self) -> Event {
        match *self {
            Self::Notice(day) => notice(day),
            Self::Withdrawn(day) => Event::NoticeWithdrawn { on: on(day) },
            Self::Terminated(day) => terminated(day),
            Self::Reversed(day) => Event::TerminationReversed { on: on(day) },
            Self::Rehired(day) => Event::Rehired { on: on(day) },
            Self::Deleted(day) => Event::SourceRecordDeleted { on: on(day) },
            Self::Managed(manager, day) => moved_to(manager, day),
        }
    }
}

const PEOPLE: u128 = 6;

fn step() -> impl Strategy<Value = Step> {
    let day = || 0_u64..40;
    prop_oneof![
        3 => day().prop_map(Step::Notice),
        1 => day().prop_map(Step::Withdrawn),
        3 => day().prop_map(Step::Terminated),
        1 => day().prop_map(Step::Reversed),
        1 => day().prop_map(Step::Rehired),
        1 => day().prop_map(Step::Deleted),
        3 => (proptest::option::weighted(0.9, 1..=PEOPLE), day()).prop_map(|(manager, day)| Step::Managed(manager, day)),
    ]
}

/// Everybody's stream, and two orders in which they arrive: at each turn some person's next event, or a telling.
fn story() -> impl Strategy<Value = (Vec<Vec<Event>>, [Vec<usize>; 2])> {
    let first = (proptest::option::weighted(0.9, 1..=3_u128), 0_u64..10);
    let stream = (first, proptest::collection::vec(step(), 0..6)).prop_map(|((manager, day), steps)| {
        let steps = steps.iter().map(Step::event);
        std::iter::once(hired(manager, day)).chain(steps).collect()
    });
    let order = || proptest::collection::vec(0..PEOPLE as usize + 2, 60);
    (proptest::collection::vec(stream, PEOPLE as usize), [order(), order()])
}

/// Who has to have heard of what in the end, pair by pair.
fn expected(streams: &[Vec<Event>]) -> Heard {
    let facts = |stream: &Vec<Event>| {
        let mut facts = Facts::default();
        for event in stream {
            facts.take(event, false);
        }
        facts
    };
    let people: Vec<(EmployeeId, Facts)> = (1..).map(person).zip(streams.iter().map(facts)).collect();
    let mut heard = Heard::new();
    for (leaver, left) in &people {
        for exit in left.exits(*leaver) {
            for (mate, facts) in people.iter().filter(|(mate, _)| mate != leaver) {
                let mut teams = facts.memberships().into_iter();
                if teams.any(|one| one.team == exit.team && one.from_on <= exit.exit_on && exit.exit_on < one.to_on) {
                    heard.insert((*mate, *leaver, exit.exit_on, exit.relation));
                }
            }
        }
    }
    heard
}

async fn arrive(streams: &[Vec<Event>], order: &[usize]) -> Heard {
    let mut company = Company::new().await;
    let mut rest: Vec<std::collections::VecDeque<Event>> =
        streams.iter().map(|stream| stream.iter().cloned().collect()).collect();
    let mut batch = Vec::new();
    for turn in order {
        match rest.get_mut(*turn) {
            Some(stream) => {
                if let Some(event) = stream.pop_front() {
                    batch.push(company.opened(person(*turn as u128 + 1), &event, false));
                }
            }
            None if *turn == PEOPLE as usize => company.apply(std::mem::take(&mut batch)).await,
            None => drop(company.tell().await),
        }
    }
    for (index, stream) in rest.into_iter().enumerate() {
        for event in stream {
            batch.push(company.opened(person(index as u128 + 1), &event, false));
        }
    }
    company.apply(batch).await;
    company.tell().await;
    company.heard().await
}

#[test]
fn the_order_of_arrival_leaves_no_trace() {
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let mut told = 0;
    let seen = std::cell::RefCell::new(&mut told);
    let world = world();
    runner
        .run(&story(), |(streams, orders)| {
            world.runtime.block_on(async {
                let expected = expected(&streams);
                **seen.borrow_mut() += expected.len();
                for order in &orders {
                    prop_assert_eq!(&arrive(&streams, order).await, &expected);
                }
                Ok(())
            })
        })
        .expect("every order ends the same");
    assert!(told > 40, "the stories tell of too few exits: {told}");
}
