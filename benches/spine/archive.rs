//! What a long history costs whoever decides on it (would snapshots of states pay?), and what it costs in files.

use std::time::{Duration, Instant};

use domain::{Aggregate, StreamId, employee::Employee};
use infra::{
    clock,
    database::Access,
    event_log,
    log_archive::{Archived, Archivist},
    sealing::{Place, open_payload},
};
use schemas::codec::AnyEvent;
use sqlx::AssertSqlSafe;

use crate::{
    projection::History,
    replay::raw_reading,
    report::{Row, median, tell},
    stage::Site,
};

const PEOPLE: usize = 4_000;
const EVENTS: usize = 200_000;
/// A person of whom something is recorded every week for twenty years.
const LONG: usize = 1_000;
const LOADS: usize = 200;

pub async fn run(site: &Site) -> Vec<Row> {
    tell("archive: preparing 200,000 events");
    let mut history = History::begin(site, PEOPLE).await;
    history.happen_to(0, LONG).await;
    history.happen(EVENTS).await;
    let streams = history.streams();
    site.vacuum().await;

    tell("archive: states from the table");
    let (usual, events) = states(site, &streams[1..=LOADS]).await;
    let (long, _) = states(site, &vec![streams[0]; LOADS]).await;
    let raw = raw_reading(site).await;
    let table: i64 = sqlx::query_scalar(
        "select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits where inhparent = 'event'::regclass",
    )
    .fetch_one(&site.owner)
    .await
    .expect("a size");

    tell("archive: moving all but the last events into a file");
    let head = site.head().await;
    divide(site, head).await;
    let directory = tempfile::tempdir().expect("a folder");
    let archivist = Archivist::open(&site.url, site.parts.database.clone())
        .await
        .expect("the owner");
    let due = archivist
        .due(clock::now() + chrono::Days::new(1))
        .await
        .expect("partitions");
    let begun = Instant::now();
    for partition in &due {
        archivist
            .archive(partition, directory.path(), |_| {})
            .await
            .expect("archived");
    }
    let archived = head as f64 / begun.elapsed().as_secs_f64();
    let files = site
        .parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(Archived::look(connection)))
        .await
        .expect("files");
    let bytes: u64 = files
        .files()
        .iter()
        .map(|file| std::fs::metadata(&file.path).map_or(0, |file| file.len()))
        .sum();
    let raw_archived = raw_reading(site).await;
    let (usual_archived, _) = states(site, &streams[1..=LOADS]).await;
    let (long_archived, _) = states(site, &vec![streams[0]; LOADS]).await;
    vec![
        Row::new(format!("state of a person with {events:.0} events, cold"), usual, "ms"),
        Row::new(format!("state of a person with {LONG} events more, cold"), long, "ms"),
        Row::new("state of the usual person, from the archive", usual_archived, "ms"),
        Row::new("state of the long one, from the archive", long_archived, "ms"),
        Row::new("moving the log into files, with the comparison", archived, "events/s"),
        Row::new("reading the log from files", raw_archived, "events/s").beside("from the table", raw),
        Row::new("the log in files", bytes as f64 / head as f64, "bytes/event")
            .beside("in the table", table as f64 / head as f64),
    ]
}

/// The median milliseconds from nothing to a person's state, and their mean number of events.
async fn states(site: &Site, streams: &[StreamId]) -> (f64, f64) {
    let (mut times, mut events) = (Vec::with_capacity(streams.len()), 0);
    for stream in streams.iter().copied() {
        let begun = Instant::now();
        let read = site.parts.database.transact(
            Access::LookUp,
            std::slice::from_ref(&stream.tenant),
            move |connection| Box::pin(async move { event_log::read_streams(connection, &[stream]).await }),
        );
        let history = read.await.expect("a stream");
        let subject = (stream.tenant, stream.id);
        let keys = site.parts.keyring.subjects(&[subject]).await.expect("a key");
        let state = history.iter().fold(Employee::default(), |state, event| {
            let mut payload = serde_json::from_slice(&event.data).expect("JSON");
            let place = Place {
                stream: &event.stream,
                event_id: event.event_id,
                schema_version: event.schema_version,
            };
            open_payload(keys.get(&subject), place, &mut payload);
            match AnyEvent::decode(&event.event_type, event.schema_version, payload) {
                Ok(AnyEvent::Employee(event)) => state.evolve(&event),
                other => panic!("{other:?}"),
            }
        });
        times.push(begun.elapsed());
        assert_ne!(format!("{state:?}"), format!("{:?}", Employee::default()));
        events += history.len();
    }
    let milliseconds = times
        .iter()
        .map(Duration::as_secs_f64)
        .map(|seconds| 1_000.0 * seconds)
        .collect();
    (median(milliseconds), events as f64 / streams.len() as f64)
}

/// The log's first partition, which has room for ten million events, as one that is full and one with the last event; sealed.
async fn divide(site: &Site, head: i64) {
    let moved = format!(
        "begin; alter table event detach partition event_from_0; alter table event_from_0 rename to all_events;
         create table event_from_0 partition of event for values from (0) to ({head}); call tenure_guard_partition('event_from_0');
         create table event_from_{head} partition of event for values from ({head}) to (10000000); call tenure_guard_partition('event_from_{head}');
         set local app.tenants = '{{{}}}'; insert into event select * from all_events; drop table all_events;
         insert into log_seal (position, after, hash, code) values ({head}, 0, '', ''); commit",
        site.tenant
    );
    let moved = AssertSqlSafe(moved);
    sqlx::raw_sql(moved).execute(&site.owner).await.expect("divided");
    site.vacuum().await;
}
