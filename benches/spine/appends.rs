//! Durable appends of one event each.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use domain::{
    Kind, StreamId,
    id::{CommandId, EventId, TenantId},
};
use infra::{
    clock,
    event_log::{Append, Appended, EventLog, NewEvent},
};
use schemas::envelope::Provenance;
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    bare,
    report::{Row, median, tell},
    stage::{Stage, pool},
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// Connections of the peer that takes a transaction for each event: more only wait for each other.
const PEER_CONNECTIONS: u32 = 32;
/// Streams that one writer writes in turn.
const STREAMS_PER_WRITER: usize = 20;

/// What is stored: a survey's answer with one sealed value, as long as the real one.
pub struct Payload {
    pub event_type: &'static str,
    pub on: NaiveDate,
    pub actor: &'static str,
    pub data: Vec<u8>,
}

impl Default for Payload {
    fn default() -> Self {
        Self {
            event_type: "employee.survey-answered",
            on: NaiveDate::default(),
            actor: "user:0b0e9a53-30a4-4f7e-8f3c-2f8f0a3f6c11",
            data: format!(
                r#"{{"on":"2026-01-31","survey":"Pulse","score":{{"$sealed":"{}"}}}}"#,
                "A".repeat(64)
            )
            .into_bytes(),
        }
    }
}

/// Ids as the product derives them: hashes, which land anywhere in an index.
pub fn event_ids(count: usize) -> Vec<Uuid> {
    (0..count)
        .map(|_| EventId::of_command(CommandId::from_uuid(clock::new_id()), 0).uuid())
        .collect()
}

pub async fn run(stage: &Stage) -> Vec<Row> {
    let site = stage.site("bench_log").await;
    let peers = pool(site.url.expose_secret(), PEER_CONNECTIONS).await;
    let log = EventLog::new(site.parts.database.clone());
    let tenant = site.tenant;
    let (mut one, mut few, mut many) = (Vec::new(), Vec::new(), Vec::new());
    let (mut single, mut bare_few, mut bare_many) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        tell(&format!("log: round {round} of {ROUNDS}"));
        one.push(appends(&log, tenant, 1).await);
        few.push(appends(&log, tenant, 64).await);
        bare_few.push(bare::counter_row_and_unnest(&peers, tenant, 64, ROUND).await);
        many.push(appends(&log, tenant, 256).await);
        bare_many.push(bare::counter_row_and_unnest(&peers, tenant, 256, ROUND).await);
        single.push(bare::one_transaction_per_event(&peers, tenant, PEER_CONNECTIONS as usize, ROUND).await);
    }
    peers.close().await;
    site.end().await;
    let (few, many) = (median(few), median(many));
    let (single, bare_few, bare_many) = (median(single), median(bare_few), median(bare_many));
    let each = "one transaction per event";
    let bare = "bare counter row and UNNEST";
    vec![
        Row::new("durable appends, 1 writer", median(one), "events/s"),
        Row::new("durable appends, 64 writers", few, "events/s").at_least(8_000.0),
        Row::new("durable appends, 256 writers", many, "events/s").at_least(20_000.0),
        Row::new("  256 writers, against", many, "events/s")
            .beside(each, single)
            .at_least_times_the_peer(20.0),
        Row::new("  64 writers, against batches of 64", few, "events/s")
            .beside(bare, bare_few)
            .at_least_times_the_peer(0.5),
        Row::new("  256 writers, against batches of 256", many, "events/s")
            .beside(bare, bare_many)
            .at_least_times_the_peer(0.5),
    ]
}

/// Events per second: each writer appends one event, waits until it is durable, and appends the next.
async fn appends(log: &EventLog, tenant: TenantId, writers: usize) -> f64 {
    let begun = Instant::now();
    let writers: Vec<_> = (0..writers)
        .map(|_| tokio::spawn(write(log.clone(), tenant, begun)))
        .collect();
    let mut events = 0;
    for writer in writers {
        events += writer.await.expect("a writer");
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

async fn write(log: EventLog, tenant: TenantId, begun: Instant) -> u64 {
    let streams: Vec<StreamId> = (0..STREAMS_PER_WRITER)
        .map(|_| StreamId::new(tenant, Kind::Employee, clock::new_id()))
        .collect();
    let mut events = 0;
    for expected in 0.. {
        for stream in &streams {
            if begun.elapsed() > ROUND {
                return events;
            }
            let append = Append {
                stream: *stream,
                expected,
                events: vec![event()],
            };
            let appended = log.append(append).await.expect("an append");
            assert!(matches!(appended, Appended::Recorded { .. }), "{appended:?}");
            events += 1;
        }
    }
    events
}

fn event() -> NewEvent {
    let payload = Payload::default();
    let command = CommandId::from_uuid(clock::new_id());
    NewEvent {
        event_id: EventId::of_command(command, 0),
        event_type: payload.event_type.to_owned(),
        schema_version: 1,
        effective_on: payload.on,
        provenance: Provenance {
            actor: payload.actor.to_owned(),
            correlation: command.uuid(),
            causation: command,
            backfill: false,
            traceparent: None,
        },
        data: payload.data,
    }
}
