//! The log to Kafka, in order.
//!
//! At least once: after a failure everything since the checkpoint is sent again, and consumers skip positions that they
//! have. Two relays at once would do harm to nobody (each sends a gapless run from a committed checkpoint), only work twice;
//! a seat in Postgres keeps it to one.

use std::time::Duration;

use infra::{
    broker::{BrokerError, Outgoing, Producer},
    database::{Database, DatabaseError, LOG_CHANNEL},
    event_log,
    relay::{self, Relayed},
};
use schemas::{envelope::StoredEvent, topics};
use tokio_util::sync::CancellationToken;

/// Events of one round.
const BATCH_EVENTS_MAX: i64 = 2_000;
/// How often the log is looked at when nobody hints.
const POLL: Duration = Duration::from_millis(250);
const RETRY_DELAY: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the log or the checkpoint could not be used")]
    Database(#[from] DatabaseError),
    #[error("Kafka did not take the events")]
    Broker(#[from] BrokerError),
}

/// Relays until shut down.
pub async fn run(database: Database, producer: Producer, shutdown: CancellationToken) {
    let mut hint = database.listen(LOG_CHANNEL, shutdown.clone());
    while !shutdown.is_cancelled() {
        let seat = match database.try_relay_seat().await {
            Ok(Some(seat)) => seat,
            Ok(None) | Err(_) => {
                tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(RETRY_DELAY) => {} }
                continue;
            }
        };
        if let Err(error) = relay(&database, &producer, seat, &mut hint, &shutdown).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the relay begins again from its checkpoint"
            );
            tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(RETRY_DELAY) => {} }
        }
    }
}

async fn relay(
    database: &Database,
    producer: &Producer,
    mut seat: infra::database::RelaySeat,
    hint: &mut tokio::sync::watch::Receiver<String>,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    let mut relayed = database
        .transact_as_relay(|connection| Box::pin(relay::read(connection)))
        .await?;
    while !shutdown.is_cancelled() {
        hint.mark_unchanged();
        let after = relayed.position;
        let events = database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, BATCH_EVENTS_MAX)))
            .await?;
        if events.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                _changed = hint.changed() => {}
                () = tokio::time::sleep(POLL) => if !seat.is_held().await { return Ok(()) },
            }
            continue;
        }
        relayed = send(database, producer, relayed, events).await?;
    }
    Ok(())
}

async fn send(
    database: &Database,
    producer: &Producer,
    relayed: Relayed,
    events: Vec<StoredEvent>,
) -> Result<Relayed, RelayError> {
    let partitions = producer.partitions(topics::EVENTS).await?;
    let mut next = relayed.clone();
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let key = topics::key(&event.stream);
        let partition = topics::partition(key.as_bytes(), partitions);
        let before = next.sent.insert(partition, event.position);
        next.position = event.position;
        records.push(Outgoing {
            topic: topics::EVENTS,
            key,
            value: event.write(before.unwrap_or(0)),
        });
    }
    let count = records.len();
    producer.send_all(records).await?;
    fail::fail_point!("after-relay-before-checkpoint");
    let (from, to) = (relayed.position, next.clone());
    database
        .transact_as_relay(move |connection| Box::pin(async move { relay::advance(connection, from, &to).await }))
        .await?;
    metrics::counter!("tenure_relayed_events_total").increment(count as u64);
    Ok(next)
}
