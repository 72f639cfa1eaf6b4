//! The first import of a connection: everybody whom the source knows is queued for reading, as history.

use std::time::Duration;

use domain::{
    StreamId, connection,
    id::{CommandId, ConnectionId},
};
use infra::{clock, completion, database::Access};
use schemas::codec::AnyCommand;
use tokio_util::sync::CancellationToken;

use crate::{
    CommandService,
    bamboohr::{
        client::{Backoff, Client, ClientProblem},
        payload::{Kind, Notification},
    },
    completer,
    connections::Live,
    intake::{self, Content, IntakeError, Notified, Submission},
};

/// Requests that are queued in one transaction.
const QUEUE_CHUNK: usize = 500;
/// How often a failing import is tried before it waits for the next start.
const ATTEMPTS_MAX: u32 = 10;

#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("the source could not list its people")]
    Source(#[from] ClientProblem),
    #[error("the source lists nobody: is the address right, and may the key's user see employees?")]
    Nobody,
    #[error("the readings could not be queued")]
    Database(#[from] infra::database::DatabaseError),
    #[error("the readings could not be sealed")]
    Sealing(#[from] infra::sealing::SealingError),
    #[error("a notification did not serialise")]
    Encode(#[source] serde_json::Error),
    #[error("the import could not be reported")]
    Intake(#[from] IntakeError),
}

/// Imports in the background; a failure is told in the connection's history and tried again.
pub fn start(service: CommandService, live: Live, shutdown: CancellationToken) {
    tokio::spawn(async move {
        for attempt in 0..ATTEMPTS_MAX {
            let error = match import(&service, &live, &shutdown).await {
                Ok(employees) => {
                    tracing::info!(connection = %live.id, employees, "connection {}: {employees} employees imported", live.id);
                    return;
                }
                Err(error) => error,
            };
            tracing::warn!(error = &error as &dyn std::error::Error, connection = %live.id, "connection {} could not be imported yet", live.id);
            let mut retry_after = None;
            let cause = match &error {
                ImportError::Source(problem) => {
                    retry_after = problem.retry_after();
                    Some(problem.cause().to_owned())
                }
                ImportError::Nobody => Some("nobody-listed".to_owned()),
                ImportError::Database(_)
                | ImportError::Sealing(_)
                | ImportError::Encode(_)
                | ImportError::Intake(_) => None,
            };
            if let Some(cause) = cause {
                report(
                    &service,
                    &live,
                    connection::Command::ReportFailed {
                        cause,
                        on: clock::today(),
                    },
                )
                .await
                .ok();
            }
            let delay = Backoff {
                first: Duration::from_secs(2),
                longest: Duration::from_secs(300),
            }
            .delay(attempt, rand::random(), retry_after);
            tokio::select! { () = shutdown.cancelled() => return, () = tokio::time::sleep(delay) => {} }
        }
    });
}

/// Queues everybody and waits until all are read.
async fn import(service: &CommandService, live: &Live, shutdown: &CancellationToken) -> Result<u32, ImportError> {
    let client = Client::new(
        &live.vendor.base_url,
        &live.vendor.company_domain,
        live.secrets.api_key.clone().into(),
        service.http.clone(),
    )?;
    let roster = client.employee_ids().await?;
    if roster.remote_ids.is_empty() {
        return Err(ImportError::Nobody);
    }
    let correlation = clock::new_id();
    let keys = service.keyring.tenant(live.tenant).await?;
    for chunk in roster.remote_ids.chunks(QUEUE_CHUNK) {
        let mut requests = Vec::with_capacity(chunk.len());
        for remote_id in chunk {
            let notified = Notified {
                connection: live.id,
                notification: notification(remote_id),
            };
            let plain = serde_json::to_vec(&notified).map_err(ImportError::Encode)?;
            let notification = keys.seal(&completion::place(live.id, remote_id), &plain)?;
            requests.push(completion::Request {
                tenant: live.tenant,
                connection: live.id,
                remote_id: remote_id.clone(),
                notification,
                correlation,
                backfill: true,
            });
        }
        service
            .database
            .transact(Access::Write, &[live.tenant], move |connection| {
                Box::pin(async move { completion::request(connection, &requests).await })
            })
            .await?;
    }
    loop {
        match completer::waiting(service, live.tenant).await {
            Ok(0) => break,
            Ok(_) => {}
            // Beginning anew would read everybody again.
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
        if shutdown.is_cancelled() {
            return Ok(0);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let employees = u32::try_from(roster.remote_ids.len()).unwrap_or(u32::MAX);
    let cursor = roster.cursor.map(|cursor| cursor.to_rfc3339());
    report(
        service,
        live,
        connection::Command::ReportSynchronised {
            employees,
            cursor,
            on: clock::today(),
        },
    )
    .await?;
    Ok(employees)
}

fn notification(remote_id: &str) -> Notification {
    Notification {
        remote_id: remote_id.to_owned(),
        kind: Kind::Updated,
        changed_fields: vec![],
        fields: std::collections::BTreeMap::new(),
        at: None,
        company_id: None,
    }
}

async fn report(service: &CommandService, live: &Live, command: connection::Command) -> Result<(), IntakeError> {
    let id = CommandId::from_uuid(clock::new_id());
    let submission = Submission {
        id,
        stream: stream(live.tenant, live.id),
        actor: "tenure".to_owned(),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(AnyCommand::Connection(command))),
    };
    intake::submit(&service.bulk, &service.keyring, vec![submission]).await
}

fn stream(tenant: domain::id::TenantId, connection: ConnectionId) -> StreamId {
    intake::connection_stream(tenant, connection)
}
