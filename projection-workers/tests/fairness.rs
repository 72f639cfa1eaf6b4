//! The fairness store on a real Postgres and a real broker: what it holds of whom, that it can be made again from the log, who may
//! read it, and the audit that is made of it.

mod server;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::NaiveDate;
use domain::{
    Kind, Personal, StreamId, Timestamp,
    employee::{Contact, Demographics, Erasure, Event, Hired, Job, Name, Overtime},
    id::{CommandId, EmployeeId, EventId, TenantId},
    risk::Band,
};
use infra::{
    broker::{Outgoing, Pace, Producer},
    checkpoint, clock,
    database::{Access, Connection, Database, DatabaseError},
    embedded::{EmbeddedBroker, EmbeddedPostgres},
    event_log::{Append, EventLog, NewEvent},
    fairness::{self, FairnessStore},
    model_registry, parked,
    read_model::risk,
    sealing::{self, Keyring, Place, SubjectKey},
};
use ml_pipeline::{fairness::Verdict, monitor::UseReport};
use projection_workers::{
    ProjectionWorkers, audit,
    fairness::Fairness,
    performance,
    runner::{self, Projection},
    scorer::Scorer,
};
use schemas::{
    codec::AnyEvent,
    envelope::{LogId, Provenance, StoredEvent},
    topics,
};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_holds_the_last_word_and_is_made_again_from_the_log() {
    let mut world = World::start().await;
    let tenant = world.tenant().await;
    let [changed, cleared, erased, silent, troubled] = [1, 2, 3, 4, 5].map(employee);
    let female = said("Female");
    let running = world.run();
    for (person, events) in [
        (
            changed,
            vec![
                hired(),
                attributes(said("Male")),
                overtime(),
                attributes(female.clone()),
            ],
        ),
        (
            cleared,
            vec![hired(), attributes(said("Male")), attributes(Demographics::default())],
        ),
        (erased, vec![hired(), attributes(said("Male"))]),
        (silent, vec![hired(), overtime()]),
    ] {
        world.happen(tenant, person, &events).await;
    }
    let expected = BTreeMap::from([(changed, female.clone()), (erased, said("Male"))]);
    eventually("the store to be filled", async || {
        (world.store.attributes(tenant).await.expect("attributes") == expected).then_some(())
    })
    .await;
    let rows = world.rows(tenant).await;
    assert_eq!(rows.len(), 2);
    let sealed = rows
        .values()
        .flat_map(|(sealed, _)| sealed.clone())
        .collect::<Vec<u8>>();
    assert!(!String::from_utf8_lossy(&sealed).contains("ale"), "attributes lie open");

    // Erasure destroys the key and takes the row away.
    world.happen(tenant, erased, &[erasure()]).await;
    eventually("the erasure", async || {
        (world.rows(tenant).await.len() == 1).then_some(())
    })
    .await;

    // What cannot be applied waits, and holds back nobody else.
    world.send_unreadable(tenant, troubled).await;
    world.happen(tenant, silent, &[attributes(female.clone())]).await;
    let expected = BTreeMap::from([(changed, female.clone()), (silent, female)]);
    eventually("the word after the poison", async || {
        (world.store.attributes(tenant).await.expect("attributes") == expected).then_some(())
    })
    .await;
    let waiting = eventually("the poison to be parked", async || {
        let parked = world.work(tenant, |c| Box::pin(parked::list(c, 10))).await;
        parked.into_iter().next()
    })
    .await;
    assert_eq!(
        (waiting.consumer.as_str(), waiting.stream.id),
        (Fairness::NAME, troubled.uuid())
    );
    running.end().await;

    let before = world.rows(tenant).await;
    world.forget_everything(tenant).await;
    assert!(world.rows(tenant).await.is_empty());
    let running = world.run();
    eventually("the store to be made again", async || {
        (world.store.attributes(tenant).await.expect("attributes") == expected).then_some(())
    })
    .await;
    let positions = |rows: &Rows| {
        rows.iter()
            .map(|(who, (_, position))| (*who, *position))
            .collect::<Vec<_>>()
    };
    assert_eq!(positions(&world.rows(tenant).await), positions(&before));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_report_tells_how_groups_fare_and_names_nobody() {
    let mut world = World::start().await;
    let tenant = world.tenant().await;
    let running = world.run();
    let scorer =
        Scorer::new(world.database.clone(), world.keyring.clone(), Arc::new(Notify::new())).expect("the prior");
    let shutdown = CancellationToken::new();
    let scoring = tokio::spawn(runner::run(world.workers(), scorer.clone(), shutdown.clone()));
    let gender = |number: u128| match number {
        0..40 => "Female",
        40..75 => "Male",
        _ => "Other",
    };
    for number in 0..78 {
        world
            .happen(tenant, employee(number), &[hired(), attributes(said(gender(number)))])
            .await;
    }
    eventually("everybody to be scored and on record", async || {
        let people: Vec<(TenantId, Uuid)> = (0..78).map(|number| (tenant, employee(number).uuid())).collect();
        let scored = world
            .work(tenant, move |c| Box::pin(async move { risk::load(c, &people).await }))
            .await;
        (scored.len() == 78 && world.store.attributes(tenant).await.expect("attributes").len() == 78).then_some(())
    })
    .await;
    let reporting = tokio::spawn(performance::run(scorer, world.store.clone(), shutdown.clone()));
    let report = eventually("the report", async || {
        let rows = world
            .work(tenant, move |c| Box::pin(model_registry::list(c, tenant)))
            .await;
        rows.into_iter().find_map(|row| row.report).map(|report| report.0)
    })
    .await;
    let text = report.to_string();
    let report: UseReport = serde_json::from_value(report).expect("a report");
    let impact = report.fairness.expect("an audit");
    assert_eq!((impact.people, impact.thresholds.len()), (78, 9));
    for at in &impact.thresholds {
        let found: Vec<(&str, usize)> = at
            .audit
            .groups
            .iter()
            .map(|of| (of.group.as_str(), of.favoured.of))
            .collect();
        match at.audit.attribute.as_str() {
            // Three people of a third gender are not shown, and the next smallest group covers them.
            "gender" => assert_eq!((found, at.audit.not_shown), (vec![("Female", 40)], 38), "{:?}", at.band),
            "age" => assert_eq!(
                (found, at.audit.not_shown),
                (vec![("under 40", 78)], 0),
                "{:?}",
                at.band
            ),
            _ => assert_eq!(
                (found, at.audit.verdict),
                (vec![], Verdict::InsufficientData),
                "{:?}",
                at.band
            ),
        }
    }
    let bands: Vec<Option<Band>> = impact
        .thresholds
        .iter()
        .take(3)
        .map(|at| Band::from_name(&at.band))
        .collect();
    assert_eq!(bands, [Some(Band::Medium), Some(Band::High), Some(Band::Critical)]);
    assert!(
        report.words.iter().any(|words| words.contains("insufficient data")),
        "{:?}",
        report.words
    );
    for secret in [employee(1).to_string(), "Other".to_owned(), "Male".to_owned()] {
        assert!(!text.contains(&secret), "{secret} is told: {text}");
    }
    shutdown.cancel();
    scoring.await.expect("no panic").expect("the scorer ends well");
    reporting.await.expect("no panic");
    running.end().await;
}

/// An audit of those who happen to be on record already would stand for a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_audit_is_made_while_the_store_is_being_filled() {
    let world = World::start().await;
    let tenant = world.tenant().await;
    let audited = async || {
        let predictions = audit::Predictions {
            current: vec![],
            ripe: vec![],
            today: day(1),
        };
        let impact = audit::impact(&world.store, &world.database, tenant, None, predictions).await;
        impact.expect("no trouble").is_some()
    };
    assert!(audited().await);
    let log = EventLog::new(world.database.clone());
    log.prepare().await.expect("a log");
    let event = |_| NewEvent {
        event_id: EventId::from_uuid(clock::new_id()),
        event_type: "employee.overtime-recorded".to_owned(),
        schema_version: 1,
        effective_on: day(1),
        provenance: provenance(),
        data: b"{}".to_vec(),
    };
    let append = Append {
        stream: StreamId::new(tenant, Kind::Employee, employee(1)),
        expected: 0,
        events: (0..1_001).map(event).collect(),
    };
    log.append(append).await.expect("appended");
    assert!(!audited().await);
}

/// The scorer works with a role that the database refuses, and no handle on the store is within reach of what makes models.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_models_cannot_read_the_store() {
    let world = World::start().await;
    let tenant = world.tenant().await;
    let scorer =
        Scorer::new(world.database.clone(), world.keyring.clone(), Arc::new(Notify::new())).expect("the prior");
    let tenants = [tenant];
    let asked = scorer.database().transact(Access::Read, &tenants, move |c| {
        Box::pin(fairness::page(c, tenant, None, 1))
    });
    let refused = asked.await.expect_err("refused");
    let cause = std::error::Error::source(&refused).expect("a cause").to_string();
    assert!(cause.contains("permission denied for schema fairness"), "{cause}");
    // Not even the events that carry attributes are opened for it.
    let event = AnyEvent::Employee(attributes(said("Female")))
        .encode()
        .expect("encoded");
    assert!(!Scorer::wants(&event.event_type) && Fairness::wants(&event.event_type));
    for others in [hired(), erasure()] {
        let event = AnyEvent::Employee(others).encode().expect("encoded");
        assert!(Scorer::wants(&event.event_type) && Fairness::wants(&event.event_type));
    }
    assert!(!Fairness::wants(
        &AnyEvent::Employee(overtime()).encode().expect("encoded").event_type
    ));
}

/// Whoever is to have the handle on protected attributes is named here: the adapter, the projection, the audit and what starts them,
/// the page for whoever runs the product, and what proves and mends the store. Nothing that learns, scores or answers queries.
#[test]
fn the_handle_on_protected_attributes_is_named_where_audits_are_made_and_nowhere_else() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(&workspace).expect("the workspace") {
        let folder = folder.expect("an entry").path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if folder.is_dir() && !name.starts_with('.') && name != "target" {
            sources(&folder, &mut found);
        }
    }
    let found: BTreeSet<String> = found
        .iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).expect("a source");
            ["FairnessStore", "fairness_store", "of_fairness"]
                .iter()
                .any(|name| text.contains(name))
        })
        .map(|path| path.strip_prefix(&workspace).expect("within").display().to_string())
        .collect();
    let expected = [
        "infra/src/database.rs",
        "infra/src/fairness.rs",
        "infra/tests/postgres/server.rs",
        "projection-workers/src/audit.rs",
        "projection-workers/src/fairness.rs",
        "projection-workers/src/performance.rs",
        "projection-workers/tests/fairness.rs",
        "src/config.rs",
        "src/rebuild.rs",
        "src/report.rs",
        "src/roles.rs",
        "src/up.rs",
        "src/verify.rs",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

fn sources(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

/// By person: what is sealed, and the position that it comes from.
type Rows = BTreeMap<Uuid, (Vec<u8>, i64)>;

struct World {
    database: Database,
    store: FairnessStore,
    keyring: Keyring,
    bulk: Producer,
    log: LogId,
    broker: EmbeddedBroker,
    _server: (EmbeddedPostgres, tempfile::TempDir),
    /// What was sent last to each partition.
    sent: HashMap<i32, i64>,
    revisions: HashMap<EmployeeId, i64>,
    position: i64,
}

/// The projection at work.
struct Running {
    task: JoinHandle<Result<(), runner::RunnerError>>,
    shutdown: CancellationToken,
}

impl Running {
    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("the runner ends well");
    }
}

impl World {
    async fn start() -> Self {
        let (database, keyring, master, server) = server::start("fairness").await;
        let broker = EmbeddedBroker::start(&server.1.path().join("broker"))
            .await
            .expect("a broker");
        broker.brokers.ensure_topics(PARTITIONS, 1).await.expect("topics");
        Self {
            store: FairnessStore::new(&server.0.url, &master, keyring.clone()).expect("an address"),
            keyring,
            bulk: Producer::new(&broker.brokers, Pace::BULK).expect("a producer"),
            log: database.log_id().await.expect("a log"),
            database,
            broker,
            _server: server,
            sent: HashMap::new(),
            revisions: HashMap::new(),
            position: 0,
        }
    }

    async fn tenant(&self) -> TenantId {
        let tenant = TenantId::from_uuid(clock::new_id());
        self.keyring.ensure_tenant(tenant).await.expect("a tenant's key");
        tenant
    }

    fn workers(&self) -> ProjectionWorkers {
        ProjectionWorkers {
            database: self.database.clone(),
            keyring: self.keyring.clone(),
            brokers: self.broker.brokers.clone(),
            bulk: self.bulk.clone(),
            instance: "fairness".into(),
        }
    }

    fn run(&self) -> Running {
        let (workers, fairness) = Fairness::new(&self.workers(), &self.store);
        let shutdown = CancellationToken::new();
        Running {
            task: tokio::spawn(runner::run(workers, fairness, shutdown.clone())),
            shutdown,
        }
    }

    /// Events of a person, as the relay would tell them. An erasure destroys the key, as the appender does.
    async fn happen(&mut self, tenant: TenantId, person: EmployeeId, events: &[Event]) {
        let key = self.key(tenant, person).await;
        let records = events
            .iter()
            .map(|event| {
                let encoded = AnyEvent::Employee(event.clone()).encode().expect("an event");
                self.record(tenant, person, &key, (encoded.event_type, encoded.payload))
            })
            .collect();
        if events.iter().any(|event| matches!(event, Event::Erased(_))) {
            self.work(tenant, move |c| {
                Box::pin(sealing::destroy_subject_key(c, (tenant, person.uuid())))
            })
            .await;
            self.keyring.forget(&[(tenant, person.uuid())]);
        }
        self.bulk.send_all(records).await.expect("sent");
    }

    /// An event of the right type that does not read as one.
    async fn send_unreadable(&mut self, tenant: TenantId, person: EmployeeId) {
        let key = self.key(tenant, person).await;
        let (event_type, payload) = (schemas::codec::DEMOGRAPHICS_CHANGED, json!({"on": "not a day"}));
        let record = self.record(tenant, person, &key, (event_type.to_owned(), payload));
        self.bulk.send_all(vec![record]).await.expect("sent");
    }

    async fn key(&self, tenant: TenantId, person: EmployeeId) -> SubjectKey {
        let subject = (tenant, person.uuid());
        if let Some(key) = self.keyring.subjects(&[subject]).await.expect("keys").remove(&subject) {
            return key;
        }
        let (new, key) = self.keyring.new_subject(subject).await.expect("a key");
        self.work(tenant, move |c| {
            Box::pin(async move { sealing::store_subject_keys(c, &[new]).await })
        })
        .await;
        key
    }

    fn record(
        &mut self,
        tenant: TenantId,
        person: EmployeeId,
        key: &SubjectKey,
        (event_type, mut payload): (String, Value),
    ) -> Outgoing {
        self.position += 1;
        let revision = self.revisions.entry(person).or_default();
        *revision += 1;
        let stream = StreamId::new(tenant, Kind::Employee, person);
        let event_id = EventId::from_uuid(clock::new_id());
        let place = Place {
            stream: &stream,
            event_id,
            schema_version: 1,
        };
        key.seal(place, &mut payload).expect("sealed");
        let stored = StoredEvent {
            position: self.position,
            stream,
            revision: *revision,
            event_id,
            event_type,
            schema_version: 1,
            effective_on: day(1),
            recorded_at: Timestamp::from_timestamp(1_780_000_000 + self.position, 0).expect("a moment"),
            provenance: provenance(),
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

    async fn rows(&self, tenant: TenantId) -> Rows {
        let tenants = [tenant];
        let rows = self.store.database().transact(Access::Read, &tenants, move |c| {
            Box::pin(fairness::page(c, tenant, None, 1_000))
        });
        let rows = rows.await.expect("rows");
        rows.into_iter()
            .map(|row| (row.employee, (row.sealed, row.position)))
            .collect()
    }

    /// Takes the rows away, and lets the projection begin again, as a rebuild does.
    async fn forget_everything(&self, tenant: TenantId) {
        let people: Vec<(TenantId, Uuid)> = self.rows(tenant).await.keys().map(|person| (tenant, *person)).collect();
        let tenants = [tenant];
        let forgotten = self.store.database().transact(Access::Write, &tenants, move |c| {
            Box::pin(async move {
                fairness::remove(c, &people).await?;
                let partitions: Vec<i32> = (0..PARTITIONS).collect();
                let stands = checkpoint::claim(c, Fairness::NAME, topics::EVENTS, &partitions).await?;
                let back = |from| checkpoint::Step {
                    from,
                    next_offset: 0,
                    position: 0,
                    recorded_at: None,
                };
                let steps: Vec<checkpoint::Step> = stands.into_iter().map(back).collect();
                checkpoint::advance(c, Fairness::NAME, topics::EVENTS, &steps).await
            })
        });
        forgotten.await.expect("forgotten");
    }

    async fn work<T, W>(&self, tenant: TenantId, work: W) -> T
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> futures_util::future::BoxFuture<'c, Result<T, DatabaseError>>
            + Send
            + 'static,
    {
        self.database
            .transact(Access::Write, &[tenant], work)
            .await
            .expect("Postgres works")
    }
}

fn provenance() -> Provenance {
    let command = CommandId::from_uuid(clock::new_id());
    Provenance {
        actor: "tenure".into(),
        correlation: command.uuid(),
        causation: command,
        backfill: false,
        traceparent: None,
    }
}

fn hired() -> Event {
    Event::Hired(Hired {
        on: day(1),
        source: None,
        name: Personal::Open(Name {
            first: "Ada".to_owned(),
            last: "Fair".to_owned(),
            preferred: None,
        }),
        contact: Personal::Open(Contact::default()),
        job: Job::default(),
        manager: None,
        pay: None,
        hours: None,
    })
}

fn overtime() -> Event {
    Event::OvertimeRecorded(Overtime {
        on: day(2),
        minutes: 90,
    })
}

fn attributes(demographics: Demographics) -> Event {
    Event::DemographicsChanged {
        demographics: Personal::Open(demographics),
        on: day(1),
    }
}

fn erasure() -> Event {
    Event::Erased(Erasure {
        on: day(3),
        basis: "asked for".to_owned(),
    })
}

fn said(gender: &str) -> Demographics {
    Demographics {
        gender: Some(gender.to_owned()),
        date_of_birth: NaiveDate::from_ymd_opt(2000, 2, 29),
        ethnicity: None,
    }
}

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, day).expect("a day")
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
