//! From the log to rows: relay, read models, scorer.

use std::{sync::Arc, time::Instant};

use domain::{
    Kind, StreamId,
    id::{CommandId, EmployeeId, EventId},
};
use infra::{
    clock,
    database::Access,
    event_log::{self, Append, NewEvent},
    sealing::{self, NewSubjectKey, Place, SubjectKey},
};
use projection_workers::{
    ProjectionWorkers,
    read_models::ReadModels,
    relay,
    runner::{self, Projection},
    scorer::Scorer,
};
use schemas::{codec::AnyEvent, envelope::Provenance, topics};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    company::Company,
    report::{Row, median, tell},
    stage::{Site, rate_after_first_step, until},
};

const PEOPLE: usize = 5_000;
/// Enough that beginning and end, when not all parts have work, weigh little.
const EVENTS: usize = 150_000;
const ROUNDS: usize = 3;
/// Events that are stored in one transaction while the log is filled.
const STORED_AT_ONCE: usize = 1_000;

/// Fills the log of `site` and projects it.
pub async fn run(site: &Site) -> Vec<Row> {
    let mut history = History::begin(site, PEOPLE).await;
    tell(&format!("projection: storing {PEOPLE} people and {EVENTS} events"));
    history.happen(EVENTS).await;

    tell("projection: each part alone");
    let relay_alone = relay_all(site).await;
    let records = site.head().await;
    let read_models_alone = alone(site, ReadModels::new(site.parts.database.clone()), records).await;
    let scorer_alone = alone(site, scorer(site), records).await;

    let mut together = Vec::new();
    for round in 1..=ROUNDS {
        tell(&format!("projection: together, round {round} of {ROUNDS}"));
        history.happen(EVENTS).await;
        together.push(all_together(site).await);
    }
    site.assert_nothing_parked().await;
    let target = if site.real_kafka { 20_000.0 } else { 10_000.0 };
    vec![
        Row::new("relay alone", relay_alone, "events/s"),
        Row::new("read models alone", read_models_alone, "events/s"),
        Row::new("scorer alone", scorer_alone, "events/s"),
        Row::new(
            "live projection: relay, read models and scorer",
            median(together),
            "events/s",
        )
        .at_least(target),
    ]
}

/// Only fills and projects, for what reads the rows.
pub async fn prepare(site: &Site) {
    tell("preparing people with scores");
    History::begin(site, PEOPLE).await;
    project(site).await;
}

/// Projects what there is, and looks at what the tables hold then.
pub async fn project(site: &Site) {
    all_together(site).await;
    // The product does so within a second of such growth.
    site.parts
        .database
        .transact(Access::Write, &[], |connection| {
            Box::pin(infra::read_model::refresh_statistics(connection))
        })
        .await
        .expect("statistics");
}

pub fn workers(site: &Site) -> ProjectionWorkers {
    ProjectionWorkers {
        database: site.parts.database.clone(),
        keyring: site.parts.keyring.clone(),
        brokers: site.parts.brokers.clone(),
        bulk: site.parts.bulk.clone(),
        instance: site.parts.instance.clone(),
    }
}

pub fn scorer(site: &Site) -> Scorer {
    let outgoing = Arc::new(Notify::new());
    Scorer::new(site.parts.database.clone(), site.parts.keyring.clone(), outgoing).expect("the shared prior")
}

pub async fn relay_all(site: &Site) -> f64 {
    let shutdown = CancellationToken::new();
    let relaying = tokio::spawn(relay::run(
        site.parts.database.clone(),
        site.parts.bulk.clone(),
        site.parts.sealing(),
        shutdown.clone(),
    ));
    let rate = rate_after_first_step(site.head().await, async || site.relayed().await).await;
    shutdown.cancel();
    relaying.await.expect("the relay");
    rate
}

pub async fn alone<P: Projection>(site: &Site, projection: P, records: i64) -> f64 {
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner::run(workers(site), projection, shutdown.clone()));
    let taken = async || {
        let taken = site.taken(P::NAME).await.min(records - 1);
        let is_done = site.projected(P::NAME).await >= records;
        if is_done { records } else { taken }
    };
    let rate = rate_after_first_step(records, taken).await;
    shutdown.cancel();
    running.await.expect("no panic").expect("the projection ends well");
    let again = site.taken(P::NAME).await - site.relayed().await;
    if again > 0 {
        tell(&format!("{}: {again} records had been sent again", P::NAME));
    }
    rate
}

/// Relays and projects everything into the read models, and lets the server look at what they hold. Answers how quick the projection was.
pub async fn read_models(site: &Site) -> f64 {
    relay_all(site).await;
    let rate = alone(site, ReadModels::new(site.parts.database.clone()), site.head().await).await;
    site.vacuum().await;
    rate
}

/// From the moment when the relay is let go until both projections have taken everything.
async fn all_together(site: &Site) -> f64 {
    let shutdown = CancellationToken::new();
    let reading = tokio::spawn(runner::run(
        workers(site),
        ReadModels::new(site.parts.database.clone()),
        shutdown.clone(),
    ));
    let scoring = tokio::spawn(runner::run(workers(site), scorer(site), shutdown.clone()));
    let before = site.relayed().await;
    until("the projections' start", async || {
        let mut ready = true;
        for name in [ReadModels::NAME, Scorer::NAME] {
            ready &= site.claimed(name).await == i64::from(topics::PARTITIONS_DEFAULT);
            ready &= site.projected(name).await == before;
        }
        ready
    })
    .await;
    // Rejoining leaves no trace in the checkpoints.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;

    let (begun, records) = (Instant::now(), site.head().await);
    let relaying = tokio::spawn(relay::run(
        site.parts.database.clone(),
        site.parts.bulk.clone(),
        site.parts.sealing(),
        shutdown.clone(),
    ));
    until("the last row", async || {
        site.projected(ReadModels::NAME).await >= records && site.projected(Scorer::NAME).await >= records
    })
    .await;
    let rate = (records - before) as f64 / begun.elapsed().as_secs_f64();
    shutdown.cancel();
    relaying.await.expect("the relay");
    reading.await.expect("no panic").expect("the read models end well");
    scoring.await.expect("no panic").expect("the scorer ends well");
    rate
}

/// A log that is filled without the appender, but as it would.
pub struct History<'s> {
    site: &'s Site,
    company: Company,
    keys: Vec<SubjectKey>,
    revisions: Vec<i64>,
}

impl<'s> History<'s> {
    /// Hires everybody.
    pub async fn begin(site: &'s Site, people: usize) -> Self {
        let mut company = Company::new(site.tenant, people);
        let (mut keys, mut new_keys, mut hires) = (Vec::new(), Vec::new(), Vec::new());
        for (index, employee) in company.people.clone().into_iter().enumerate() {
            let (new, key) = site
                .parts
                .keyring
                .new_subject((site.tenant, employee.uuid()))
                .await
                .expect("a key");
            new_keys.push(new);
            keys.push(key);
            hires.push((index, company.hired(index)));
        }
        store_keys(site, new_keys).await;
        let mut history = Self {
            site,
            company,
            keys,
            revisions: vec![0; people],
        };
        history.store(hires).await;
        history
    }

    /// `count` things happen to people drawn at random.
    pub async fn happen(&mut self, count: usize) {
        let mut events = Vec::with_capacity(count);
        for nth in 0..count {
            let event = self.company.event(Company::day(nth, count));
            events.push((rand::random_range(0..self.revisions.len()), event));
        }
        self.store(events).await;
    }

    /// `count` things happen to one person.
    pub async fn happen_to(&mut self, who: usize, count: usize) {
        let events = (0..count).map(|nth| (who, self.company.event(Company::day(nth, count))));
        let events = events.collect();
        self.store(events).await;
    }

    /// Everybody's streams.
    pub fn streams(&self) -> Vec<StreamId> {
        let of = |employee: &EmployeeId| StreamId::new(self.site.tenant, Kind::Employee, *employee);
        self.company.people.iter().map(of).collect()
    }

    async fn store(&mut self, events: Vec<(usize, domain::employee::Event)>) {
        let mut appends = Vec::with_capacity(events.len());
        for (who, event) in events {
            appends.push(self.append(who, event));
        }
        let tenants = [self.site.tenant];
        for some in appends.chunks(STORED_AT_ONCE) {
            let some = some.to_vec();
            self.site
                .parts
                .database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move { event_log::append_expected(connection, &some).await.map(drop) })
                })
                .await
                .expect("stored");
        }
    }

    fn append(&mut self, who: usize, event: domain::employee::Event) -> Append {
        let employee: EmployeeId = self.company.people[who];
        let stream = StreamId::new(self.site.tenant, Kind::Employee, employee);
        let event = AnyEvent::Employee(event);
        let encoded = event.encode().expect("an event");
        let command = CommandId::from_uuid(clock::new_id());
        let event_id = EventId::of_command(command, 0);
        let mut payload = encoded.payload;
        let place = Place {
            stream: &stream,
            event_id,
            schema_version: encoded.schema_version,
        };
        self.keys[who].seal(place, &mut payload).expect("sealed");
        let expected = self.revisions[who];
        self.revisions[who] += 1;
        Append {
            stream,
            expected,
            events: vec![NewEvent {
                event_id,
                event_type: encoded.event_type,
                schema_version: encoded.schema_version,
                effective_on: event.effective_on(),
                provenance: Provenance {
                    actor: "user:bench".to_owned(),
                    correlation: command.uuid(),
                    causation: command,
                    backfill: false,
                    traceparent: None,
                },
                data: serde_json::to_vec(&payload).expect("JSON"),
            }],
        }
    }
}

async fn store_keys(site: &Site, keys: Vec<NewSubjectKey>) {
    let tenants = [site.tenant];
    let stored = keys.clone();
    site.parts
        .database
        .transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { sealing::store_subject_keys(connection, &keys).await })
        })
        .await
        .expect("stored keys");
    site.parts.keyring.stored(stored);
}
