//! The log to Kafka, in order.
//!
//! At least once: after a failure everything since the checkpoint is sent again, and consumers skip positions that they
//! have. Two relays at once would do harm to nobody (each sends a gapless run from a committed checkpoint), only work twice;
//! a seat in Postgres keeps it to one. With its checkpoint, the relay seals what it has sent ([`infra::seal`]).

use std::time::{Duration, Instant};

use infra::{
    broker::{BrokerError, Outgoing, Producer},
    database::{Database, DatabaseError, LOG_CHANNEL},
    event_log,
    relay::{self, Relayed},
    seal::{self, Head, Heads, Seal, Sealer},
};
use schemas::{envelope::StoredEvent, topics};
use tokio_util::sync::CancellationToken;

/// Events of one round.
const BATCH_EVENTS_MAX: i64 = 2_000;
/// How often the log is looked at when nobody hints.
const POLL: Duration = Duration::from_millis(250);
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How often the head of the log is written down outside the database, as long as it moves.
const HEADS_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the log or the checkpoint could not be used")]
    Database(#[from] DatabaseError),
    #[error("Kafka did not take the events")]
    Broker(#[from] BrokerError),
}

/// Seals what is relayed, and writes heads down outside the database.
pub struct Sealing {
    sealer: Sealer,
    heads: Heads,
    /// The last seal, as long as it is not written down, and since when there is one.
    unwritten: Option<(Seal, Instant)>,
}

impl Sealing {
    #[must_use]
    pub const fn new(sealer: Sealer, heads: Heads) -> Self {
        Self {
            sealer,
            heads,
            unwritten: None,
        }
    }

    /// Seals what was relayed and is not sealed yet: a log from before there were seals, for one. Answers the sealed head.
    async fn catch_up(&mut self, database: &Database, relayed: i64) -> Result<Head, RelayError> {
        let last = database
            .transact_as_relay(|connection| Box::pin(seal::last(connection)))
            .await?;
        if let Some(seal) = last {
            let heads = self.heads.clone();
            let written = tokio::task::spawn_blocking(move || heads.read()).await;
            let is_written = matches!(written, Ok(Ok(seals)) if seals.last() == Some(&seal));
            self.unwritten = (!is_written).then(|| (seal, Instant::now()));
        }
        let mut head = last.map_or_else(Head::default, |seal| seal.head);
        while head.position < relayed {
            let (after, limit) = (head.position, BATCH_EVENTS_MAX.min(relayed - head.position));
            let sealer = self.sealer.clone();
            let sealed = database.transact_as_relay(move |connection| {
                Box::pin(async move {
                    let events = event_log::read_after(connection, after, limit).await?;
                    let sealed = sealer.seal(head, &events);
                    if let Some(seal) = &sealed {
                        seal::add(connection, seal).await?;
                    }
                    Ok(sealed)
                })
            });
            let Some(seal) = sealed.await? else { break };
            head = seal.head;
            self.sealed(seal);
        }
        Ok(head)
    }

    fn sealed(&mut self, seal: Seal) {
        let since = self.unwritten.map_or_else(Instant::now, |(_, since)| since);
        self.unwritten = Some((seal, since));
    }

    async fn write_when_due(&mut self) {
        if self.unwritten.is_some_and(|(_, since)| since.elapsed() >= HEADS_EVERY) {
            self.write().await;
        }
    }

    async fn write(&mut self) {
        let Some((seal, _)) = self.unwritten.take() else { return };
        let heads = self.heads.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || heads.add(&seal)).await {
            // The log is as sealed as before; what is missing is a witness outside the database. The next head will do as well.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the head of the log could not be written down"
            );
            self.unwritten = Some((seal, Instant::now()));
        }
    }
}

/// Relays until shut down.
pub async fn run(database: Database, producer: Producer, mut sealing: Sealing, shutdown: CancellationToken) {
    let mut hint = database.listen(LOG_CHANNEL, shutdown.clone());
    while !shutdown.is_cancelled() {
        let seat = match database.try_relay_seat().await {
            Ok(Some(seat)) => seat,
            Ok(None) | Err(_) => {
                tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(RETRY_DELAY) => {} }
                continue;
            }
        };
        let relayed = relay(&database, &producer, seat, (&mut sealing, &mut hint), &shutdown).await;
        sealing.write().await;
        if let Err(error) = relayed {
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
    mut seat: infra::database::Seat,
    (sealing, hint): (&mut Sealing, &mut tokio::sync::watch::Receiver<String>),
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    let mut relayed = database
        .transact_as_relay(|connection| Box::pin(relay::read(connection)))
        .await?;
    let mut head = sealing.catch_up(database, relayed.position).await?;
    while !shutdown.is_cancelled() {
        hint.mark_unchanged();
        let after = relayed.position;
        let events = database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, BATCH_EVENTS_MAX)))
            .await?;
        sealing.write_when_due().await;
        if events.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                _changed = hint.changed() => {}
                () = tokio::time::sleep(POLL) => if !seat.is_held().await { return Ok(()) },
            }
            continue;
        }
        // After a checkpoint that was set back, what comes again is sealed already.
        let fresh = events.partition_point(|event| event.position <= head.position);
        let seal = sealing.sealer.seal(head, &events[fresh..]);
        relayed = send(database, producer, relayed, (events, seal)).await?;
        if let Some(seal) = seal {
            head = seal.head;
            sealing.sealed(seal);
        }
    }
    Ok(())
}

async fn send(
    database: &Database,
    producer: &Producer,
    relayed: Relayed,
    (events, seal): (Vec<StoredEvent>, Option<Seal>),
) -> Result<Relayed, RelayError> {
    let log = database.log_id().await?;
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
            value: event.write(log, before.unwrap_or(0)),
        });
    }
    let count = records.len();
    producer.send_all(records).await?;
    fail::fail_point!("after-relay-before-checkpoint");
    let (from, to) = (relayed.position, next.clone());
    database
        .transact_as_relay(move |connection| {
            Box::pin(async move {
                if let Some(seal) = &seal {
                    seal::add(connection, seal).await?;
                }
                relay::advance(connection, from, &to).await
            })
        })
        .await?;
    metrics::counter!("tenure_relayed_events_total").increment(count as u64);
    Ok(next)
}
