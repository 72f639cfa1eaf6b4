//! An event that a projection cannot apply, on a real Postgres and a real broker: it is parked, holds back only its own stream, and
//! once it can be applied, the rows are those that would have been there without it.

mod server;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use chrono::NaiveDate;
use domain::{
    Kind, Personal, StreamId, Timestamp,
    employee::{Event, Hired, Job, Moved, Name, Overtime},
    id::{CommandId, EmployeeId, EventId, TenantId},
};
use futures_util::future::BoxFuture;
use infra::{
    broker::{Outgoing, Pace, Producer},
    clock,
    database::{Access, Connection, Database, DatabaseError},
    embedded::{EmbeddedBroker, EmbeddedPostgres},
    parked::{self, Parked},
    read_model::{employee, timeline, version},
    sealing::{self, Keyring, Place, SubjectKey},
};
use projection_workers::{
    ProjectionWorkers,
    read_models::ReadModels,
    runner::{self, Opened, Owned, Projection},
};
use schemas::{
    codec::AnyEvent,
    envelope::{LogId, Provenance, StoredEvent},
    topics,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;
/// The second event of the first person.
const POISON: i64 = 3;
const EVENTS_OF_A_TENANT: i64 = 8;

const FIRST_PAGE: timeline::Page = timeline::Page {
    before: None,
    limit: 100,
    at: None,
};

const WELL: u8 = 0;
const FAILS: u8 = 1;
const PANICS: u8 = 2;

/// The product's read models, except that one event fails as long as the test wants it to.
#[derive(Clone)]
struct Refusing {
    read_models: ReadModels,
    poison: i64,
    mood: Arc<AtomicU8>,
}

impl Projection for Refusing {
    const NAME: &'static str = ReadModels::NAME;

    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        let mood = self.mood.load(Ordering::SeqCst);
        if mood != WELL && events.iter().any(|opened| opened.stored.position == self.poison) {
            assert_ne!(mood, PANICS, "on purpose");
            return Box::pin(async { Err(DatabaseError::Corrupt("on purpose")) });
        }
        self.read_models.apply(connection, events)
    }

    fn tick<'c>(&'c self, owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>> {
        self.read_models.tick(owned)
    }
}

struct World {
    database: Database,
    keyring: Keyring,
    bulk: Producer,
    /// What records are sent as events of.
    log: LogId,
    _broker: EmbeddedBroker,
    _server: (EmbeddedPostgres, tempfile::TempDir),
    /// What was sent last to each partition.
    sent: HashMap<i32, i64>,
    position: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fails_holds_back_only_its_stream_and_goes_through_later() {
    poison(FAILS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_panics_holds_back_only_its_stream_and_goes_through_later() {
    poison(PANICS).await;
}

async fn poison(mood: u8) {
    let mut world = World::start().await;
    let (troubled, well) = (tenant(), tenant());
    // The same people in both tenants: rows can be compared.
    let people = [employee(1), employee(2)];
    let refusing = Refusing {
        read_models: ReadModels::new(world.database.clone()),
        poison: POISON,
        mood: Arc::new(AtomicU8::new(mood)),
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner::run(world.workers(), refusing.clone(), shutdown.clone()));
    world.happen(troubled, people).await;
    world.happen(well, people).await;

    // All of the first person's events but the first wait; everybody else's are there.
    let waiting = eventually("the poison to be parked", async || {
        let waiting = world.parked(troubled, 100).await;
        (waiting.len() == 3 && world.rows(well, people[1], 0).await.entries.len() == 4).then_some(waiting)
    })
    .await;
    let [poison, behind @ ..] = waiting.as_slice() else {
        panic!("{waiting:?}")
    };
    assert_eq!(poison.position, POISON);
    assert!(poison.cause.contains("cannot apply"), "{}", poison.cause);
    assert!(
        behind.iter().all(|one| one.cause.contains("waits behind")),
        "{behind:?}"
    );
    assert!(waiting.iter().all(|one| one.stream.id == people[0].uuid()));
    assert_eq!(world.rows(troubled, people[0], 0).await.entries.len(), 1);
    assert_eq!(world.rows(troubled, people[1], 0).await.entries.len(), 4);

    // Tried too early it waits on.
    world.retry(troubled).await;
    eventually("the vain try", async || {
        let again = world.to_retry(troubled).await;
        again.is_empty().then_some(())
    })
    .await;
    assert_eq!(world.parked(troubled, 100).await.len(), 3);

    refusing.mood.store(WELL, Ordering::SeqCst);
    world.retry(troubled).await;
    eventually("the retry", async || {
        world.parked(troubled, 100).await.is_empty().then_some(())
    })
    .await;
    for person in people {
        let (troubled, well) = (
            world.rows(troubled, person, 0).await,
            world.rows(well, person, EVENTS_OF_A_TENANT).await,
        );
        assert_eq!(troubled.entries, well.entries);
        assert_eq!(troubled.versions, well.versions);
        assert!(troubled.employee == well.employee, "the person's current row differs");
    }
    shutdown.cancel();
    running.await.expect("no panic").expect("the runner ends well");
}

/// With a backlog the next batch is read while one is written, and so before anybody knows that the one is to be parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_held_in_the_batch_that_was_read_meanwhile() {
    const EVENTS: i64 = 7_000;
    const LATE_POISON: i64 = 4_500;
    let mut world = World::start().await;
    let (tenant, person) = (tenant(), employee(1));
    world.keep_busy(tenant, person, EVENTS).await;
    let refusing = Refusing {
        read_models: ReadModels::new(world.database.clone()),
        poison: LATE_POISON,
        mood: Arc::new(AtomicU8::new(FAILS)),
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner::run(world.workers(), refusing, shutdown.clone()));

    let parked = eventually("everything to be taken", async || {
        let parked = world.parked(tenant, EVENTS).await;
        let taken = parked.last().is_some_and(|last| last.position == EVENTS);
        taken.then_some(parked)
    })
    .await;
    let positions = parked.iter().map(|one| one.position);
    assert!(positions.eq(LATE_POISON..=EVENTS), "{} are parked", parked.len());
    let applied = world.rows(tenant, person, 0).await.entries;
    assert_eq!(applied.first().map(|newest| newest.0), Some(LATE_POISON - 1));
    shutdown.cancel();
    running.await.expect("no panic").expect("the runner ends well");
}

/// A Kafka may have had another database before: its positions say nothing of this log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_another_log_are_left_out() {
    let mut world = World::start().await;
    let (here, elsewhere, people) = (tenant(), tenant(), [employee(1), employee(2)]);
    let ours = std::mem::replace(&mut world.log, LogId(clock::new_id()));
    world.happen(elsewhere, people).await;
    (world.log, world.position) = (ours, 0);
    world.sent.clear();
    world.happen(here, people).await;
    let shutdown = CancellationToken::new();
    let read_models = ReadModels::new(world.database.clone());
    let running = tokio::spawn(runner::run(world.workers(), read_models, shutdown.clone()));

    for person in people {
        eventually("a career", async || {
            let entries = world.rows(here, person, 0).await.entries;
            (entries.len() == career().len()).then_some(())
        })
        .await;
        let rows = world.rows(elsewhere, person, 0).await;
        assert!(rows.employee.is_none() && rows.entries.is_empty());
    }
    assert_eq!(world.parked(elsewhere, 100).await, []);
    shutdown.cancel();
    running.await.expect("no panic").expect("the runner ends well");
}

/// What the read models say of a person, without what the tenant decides: its own id, and where in the log it begins.
struct Rows {
    employee: Option<employee::EmployeeRow>,
    versions: Vec<version::VersionRow>,
    entries: Vec<(i64, String, NaiveDate, Timestamp)>,
}

impl World {
    async fn start() -> Self {
        let (database, keyring, _, server) = server::start("poison").await;
        let broker = EmbeddedBroker::start(&server.1.path().join("broker"))
            .await
            .expect("a broker");
        broker.brokers.ensure_topics(PARTITIONS, 1).await.expect("topics");
        Self {
            keyring,
            bulk: Producer::new(&broker.brokers, Pace::BULK).expect("a producer"),
            log: database.log_id().await.expect("a log"),
            database,
            _broker: broker,
            _server: server,
            sent: HashMap::new(),
            position: 0,
        }
    }

    fn workers(&self) -> ProjectionWorkers {
        ProjectionWorkers {
            database: self.database.clone(),
            keyring: self.keyring.clone(),
            brokers: self._broker.brokers.clone(),
            bulk: self.bulk.clone(),
            instance: "poison".into(),
        }
    }

    async fn key(&self, tenant: TenantId, person: EmployeeId) -> SubjectKey {
        self.keyring.ensure_tenant(tenant).await.expect("a tenant's key");
        let (new, key) = self.keyring.new_subject((tenant, person.uuid())).await.expect("a key");
        self.work(tenant, move |c| {
            Box::pin(async move { sealing::store_subject_keys(c, &[new]).await })
        })
        .await;
        key
    }

    /// Somebody is hired and then works overtime.
    async fn keep_busy(&mut self, tenant: TenantId, person: EmployeeId, events: i64) {
        let key = self.key(tenant, person).await;
        let stream = StreamId::new(tenant, Kind::Employee, person);
        let [hired, _, overtime, _] = career();
        let events: Vec<Outgoing> = (1..=events)
            .map(|revision| self.record(stream, &key, revision, if revision == 1 { &hired } else { &overtime }))
            .collect();
        self.bulk.send_all(events).await.expect("sent");
    }

    /// Two people are hired and move, in turn, as the relay would tell it.
    async fn happen(&mut self, tenant: TenantId, people: [EmployeeId; 2]) {
        let keys = [self.key(tenant, people[0]).await, self.key(tenant, people[1]).await];
        let mut records = Vec::new();
        for (revision, event) in (1..).zip(career()) {
            for (person, key) in people.iter().zip(&keys) {
                records.push(self.record(StreamId::new(tenant, Kind::Employee, *person), key, revision, &event));
            }
        }
        self.bulk.send_all(records).await.expect("sent");
    }

    fn record(&mut self, stream: StreamId, key: &SubjectKey, revision: i64, event: &Event) -> Outgoing {
        self.position += 1;
        let any = AnyEvent::Employee(event.clone());
        let encoded = any.encode().expect("an event");
        let command = CommandId::from_uuid(clock::new_id());
        let event_id = EventId::of_command(command, 0);
        let mut payload = encoded.payload;
        let place = Place {
            stream: &stream,
            event_id,
            schema_version: encoded.schema_version,
        };
        key.seal(place, &mut payload).expect("sealed");
        let stored = StoredEvent {
            position: self.position,
            stream,
            revision,
            event_id,
            event_type: encoded.event_type,
            schema_version: encoded.schema_version,
            effective_on: any.effective_on(),
            recorded_at: Timestamp::from_timestamp(1_780_000_000 + revision * 60, 0).expect("a moment"),
            provenance: Provenance {
                actor: "tenure".into(),
                correlation: command.uuid(),
                causation: command,
                backfill: false,
                traceparent: None,
            },
            data: serde_json::to_vec(&payload).expect("JSON"),
        };
        let key = topics::key(&stream);
        let before = self
            .sent
            .insert(topics::partition(key.as_bytes(), PARTITIONS), self.position);
        Outgoing {
            topic: topics::EVENTS,
            key,
            value: stored.write(self.log, before.unwrap_or(0)),
        }
    }

    async fn work<T, W>(&self, tenant: TenantId, work: W) -> T
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.database
            .transact(Access::Write, &[tenant], work)
            .await
            .expect("Postgres works")
    }

    async fn parked(&self, tenant: TenantId, limit: i64) -> Vec<Parked> {
        let mut parked = self.work(tenant, move |c| Box::pin(parked::list(c, limit))).await;
        parked.sort_unstable_by_key(|one| one.position);
        parked
    }

    async fn retry(&self, tenant: TenantId) {
        self.work(tenant, |c| Box::pin(parked::ask_retry(c, None))).await;
    }

    async fn to_retry(&self, tenant: TenantId) -> Vec<Parked> {
        self.work(tenant, |c| {
            Box::pin(parked::to_retry(c, ReadModels::NAME, &[0, 1, 2], 100))
        })
        .await
    }

    async fn rows(&self, tenant: TenantId, person: EmployeeId, begins: i64) -> Rows {
        let who = [(tenant, person.uuid())];
        let (employee, versions, entries) = self
            .work(tenant, move |c| {
                Box::pin(async move {
                    Ok((
                        employee::load(c, &who).await?.pop(),
                        version::load_believed(c, &who).await?,
                        timeline::pages(c, tenant, &[person], FIRST_PAGE).await?,
                    ))
                })
            })
            .await;
        Rows {
            employee: employee.map(|row| employee::EmployeeRow {
                tenant: Uuid::nil(),
                position: row.position - begins,
                ..row
            }),
            versions: versions
                .into_iter()
                .map(|row| version::VersionRow {
                    tenant: Uuid::nil(),
                    position: row.position - begins,
                    ..row
                })
                .collect(),
            entries: entries
                .into_iter()
                .map(|row| (row.position - begins, row.event_type, row.effective_on, row.recorded_at))
                .collect(),
        }
    }
}

fn career() -> [Event; 4] {
    let on = |month| NaiveDate::from_ymd_opt(2026, month, 1).expect("a day");
    let job = |title: &str| Job {
        title: Some(title.to_owned()),
        department: Some("Stores".to_owned()),
        ..Job::default()
    };
    [
        Event::Hired(Hired {
            on: on(1),
            source: None,
            name: Personal::Open(Name {
                first: "Ada".to_owned(),
                last: "Poison".to_owned(),
                preferred: None,
            }),
            contact: Personal::Open(domain::employee::Contact::default()),
            job: job("Cashier"),
            manager: None,
            pay: None,
            hours: None,
        }),
        Event::Promoted(Moved {
            from: job("Cashier"),
            to: job("Supervisor"),
            on: on(3),
        }),
        Event::OvertimeRecorded(Overtime { on: on(4), minutes: 90 }),
        Event::Transferred(Moved {
            from: job("Supervisor"),
            to: job("Team lead"),
            on: on(5),
        }),
    ]
}

fn tenant() -> TenantId {
    TenantId::from_uuid(clock::new_id())
}

fn employee(number: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(number))
}

async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} took too long"))
}
