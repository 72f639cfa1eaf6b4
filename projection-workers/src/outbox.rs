//! Sends into the intake what was stored for it: what projections decided, and what was said beside a table of somebody's own.

use std::{sync::Arc, time::Duration};

use infra::{
    broker::{BrokerError, Outgoing},
    clock,
    database::{Access, DatabaseError},
    event_log,
    outbox::{self, Outgoing as Command},
    route,
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
pub(crate) enum OutboxError {
    #[error("outgoing commands could not be read or removed")]
    Database(#[from] DatabaseError),
    #[error("outgoing commands could not be sent")]
    Broker(#[from] BrokerError),
}

/// Sends until shut down; `work` is rung when a projection has committed.
pub async fn run(workers: ProjectionWorkers, work: Arc<Notify>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match send_next(&workers).await {
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

async fn send_next(workers: &ProjectionWorkers) -> Result<usize, OutboxError> {
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
    let count = waiting.len();
    send(workers, waiting).await?;
    Ok(count)
}

/// Sends commands and removes them: again, if something fails between, which the intake notices.
pub(crate) async fn send(workers: &ProjectionWorkers, commands: Vec<Command>) -> Result<(), OutboxError> {
    if commands.is_empty() {
        return Ok(());
    }
    let records = commands
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
                    traceparent: outgoing.traceparent.clone(),
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
    let tenants = event_log::tenants_of(commands.iter().map(|command| command.stream.tenant));
    workers
        .database
        .transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { outbox::sent(connection, &commands).await })
        })
        .await?;
    Ok(())
}
