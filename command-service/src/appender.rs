//! From `tenure.intake` to the event log: load, fold, decide, seal, append.
//!
//! A batch of records is one transaction: events, outcomes, queue entries, parked records and the checkpoint move together,
//! so that a crash anywhere repeats the batch or does not. What was decided before is answered from its outcome.

mod batch;
mod ledger;
pub(crate) mod streams;

use std::{collections::BTreeMap, time::Duration};

use infra::{
    broker::{self, BrokerError, Delivery, Member, Outgoing, Record},
    checkpoint::Checkpoint,
    database::{Access, DatabaseError},
    parked,
    sealing::SealingError,
};
use schemas::topics;
use tokio_util::sync::CancellationToken;

use self::streams::Streams;
use crate::CommandService;

/// The appender's consumer group, and its name in the checkpoints.
pub const CONSUMER: &str = "appender";
/// Records of one transaction at most.
pub const BATCH_RECORDS_MAX: usize = 1_000;
/// How long a failed batch waits before it is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// How often re-drives are looked for.
const REDRIVE_EVERY: Duration = Duration::from_secs(2);
/// Parked records that are re-driven at once.
const REDRIVE_MAX: i64 = 500;

#[derive(Debug, thiserror::Error)]
pub enum AppenderError {
    #[error("the appender's database work failed: {0}")]
    Database(#[from] DatabaseError),
    #[error("the appender could not seal or open")]
    Sealing(#[from] SealingError),
    #[error("the appender could not consume")]
    Broker(#[from] BrokerError),
    #[error("the appender's partitions cannot be read: {0}")]
    Broken(String),
    #[error("the appender's input ended")]
    Ended,
}

impl AppenderError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) | Self::Sealing(SealingError::Database(error)) => error.is_transient(),
            Self::Sealing(_) | Self::Broker(_) | Self::Broken(_) | Self::Ended => false,
        }
    }
}

/// Appends until shut down. Losing a partition to another process ends it with an error: start it again.
///
/// # Errors
/// When it cannot go on by itself.
pub async fn run(service: CommandService, shutdown: CancellationToken) -> Result<(), AppenderError> {
    let member = Member {
        group: CONSUMER,
        topic: topics::INTAKE,
        instance: format!("{}-{CONSUMER}", service.instance),
    };
    let own = shutdown.child_token();
    let _stop_consuming = own.clone().drop_guard();
    let mut deliveries = broker::consume(&service.brokers, member, service.database.clone(), own)?;
    let mut appender = Appender {
        service,
        streams: Streams::default(),
        owned: BTreeMap::new(),
        looks_first: false,
    };
    let mut redrive = tokio::time::interval(REDRIVE_EVERY);
    redrive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut arrived = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _tick = redrive.tick() => appender.redrive().await?,
            count = deliveries.recv_many(&mut arrived, BATCH_RECORDS_MAX) => {
                if count == 0 {
                    return if shutdown.is_cancelled() { Ok(()) } else { Err(AppenderError::Ended) };
                }
                appender.handle(arrived.drain(..), &shutdown).await?;
            }
        }
    }
}

struct Appender {
    service: CommandService,
    streams: Streams,
    owned: BTreeMap<i32, Checkpoint>,
    /// Whether the batch was tried without success: perhaps because the log was not as expected.
    looks_first: bool,
}

impl Appender {
    async fn handle(
        &mut self,
        deliveries: impl Iterator<Item = Delivery>,
        shutdown: &CancellationToken,
    ) -> Result<(), AppenderError> {
        let mut records = Vec::new();
        for delivery in deliveries {
            match delivery {
                Delivery::Record(record) => {
                    if self
                        .owned
                        .get(&record.partition)
                        .is_some_and(|checkpoint| record.offset >= checkpoint.next_offset)
                    {
                        records.push(record);
                    }
                }
                Delivery::Assigned(checkpoint) => {
                    self.append(std::mem::take(&mut records), shutdown).await?;
                    self.owned.insert(checkpoint.partition, checkpoint);
                }
                Delivery::Revoked(partition) => {
                    self.append(std::mem::take(&mut records), shutdown).await?;
                    self.owned.remove(&partition);
                    // Another owner may write these streams now.
                    self.streams.clear();
                }
                Delivery::Broken(cause) => return Err(AppenderError::Broken(cause)),
            }
        }
        self.append(records, shutdown).await
    }

    /// Appends one batch, however long the database is away.
    async fn append(&mut self, records: Vec<Record>, shutdown: &CancellationToken) -> Result<(), AppenderError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut told = false;
        while !shutdown.is_cancelled() {
            let tried = self.try_append(&records).await;
            self.looks_first = tried.is_err();
            match tried {
                Ok(()) => {
                    metrics::histogram!("tenure_appender_batch_size").record(records.len() as f64);
                    metrics::counter!("tenure_intake_records_total").increment(records.len() as u64);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    if !told {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            records = records.len(),
                            "a batch of {} waits for the database",
                            records.len()
                        );
                        told = true;
                    }
                    // Whether the transaction was committed is unknown: believe nothing that was cached for it.
                    self.streams.clear();
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends parked records whose retry was asked for through the intake once more.
    async fn redrive(&self) -> Result<(), AppenderError> {
        let partitions: Vec<i32> = self.owned.keys().copied().collect();
        let found = async {
            let mut tenants = self
                .service
                .database
                .transact(Access::Read, &[], |connection| {
                    Box::pin(infra::route::tenants(connection))
                })
                .await?;
            tenants.push(parked::UNKNOWN_TENANT);
            let again = self
                .service
                .database
                .transact(Access::Read, &tenants, move |connection| {
                    Box::pin(async move { parked::to_retry(connection, CONSUMER, &partitions, REDRIVE_MAX).await })
                })
                .await?;
            Ok::<_, DatabaseError>((
                tenants,
                again
                    .into_iter()
                    .filter(|item| item.topic == topics::INTAKE)
                    .collect::<Vec<_>>(),
            ))
        };
        let (tenants, again) = match found.await {
            Ok(found) => found,
            Err(error) if error.is_transient() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if again.is_empty() {
            return Ok(());
        }
        let count = again.len();
        let resolved: Vec<_> = again.iter().map(|item| (item.stream.tenant, item.id)).collect();
        let records = again
            .into_iter()
            .map(|item| Outgoing {
                topic: topics::INTAKE,
                key: topics::key(&item.stream),
                value: item.value,
            })
            .collect();
        self.service.bulk.send_all(records).await?;
        self.service
            .database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move { parked::resolve(connection, &resolved).await })
            })
            .await?;
        tracing::info!(count, "{count} parked records were sent through the intake again");
        Ok(())
    }
}
