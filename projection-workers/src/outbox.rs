//! Sends what projections decided back into the intake.

use std::{sync::Arc, time::Duration};

use infra::{
    broker::{BrokerError, Outgoing},
    clock,
    database::{Access, DatabaseError},
    outbox, route,
};
use schemas::{
    envelope::{IntakeHeader, IntakeKind, Provenance},
    topics,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ProjectionWorkers;

const BATCH_MAX: i64 = 1_000;
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error("outgoing commands could not be read or removed")]
    Database(#[from] DatabaseError),
    #[error("outgoing commands could not be sent")]
    Broker(#[from] BrokerError),
}

/// Sends until shut down; `work` is rung when a projection has committed.
pub async fn run(workers: ProjectionWorkers, work: Arc<Notify>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match send(&workers).await {
            Ok(count) if count == BATCH_MAX as usize => {}
            Ok(_) => tokio::select! {
                () = shutdown.cancelled() => {}
                () = work.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            },
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "outgoing commands wait");
                tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(POLL) => {} }
            }
        }
    }
}

async fn send(workers: &ProjectionWorkers) -> Result<usize, OutboxError> {
    let tenants = workers
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    let waiting = workers
        .database
        .transact(Access::Read, &tenants, |connection| {
            Box::pin(outbox::waiting(connection, BATCH_MAX))
        })
        .await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let records = waiting
        .iter()
        .map(|outgoing| {
            let header = IntakeHeader {
                kind: IntakeKind::Command,
                id: outgoing.id,
                stream: outgoing.stream,
                accepted_at: clock::now(),
                provenance: Provenance {
                    actor: outgoing.actor.clone(),
                    correlation: outgoing.correlation,
                    causation: outgoing.id,
                    backfill: outgoing.backfill,
                    traceparent: None,
                },
                fingerprint: None,
            };
            Outgoing {
                topic: topics::INTAKE,
                key: topics::key(&outgoing.stream),
                value: header.write(&outgoing.command),
            }
        })
        .collect();
    workers.bulk.send_all(records).await?;
    fail::fail_point!("after-outbox-send");
    let count = waiting.len();
    workers
        .database
        .transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { outbox::sent(connection, &waiting).await })
        })
        .await?;
    Ok(count)
}
