//! Thin notifications become whole snapshots: the employee is read from the source and sent back into the intake.
//!
//! The queue is durable and coalescing: five notifications about a person are one reading, and a notification that comes
//! during a reading causes another. While the source cannot be asked, requests wait; a field-based notification is then
//! believed for what it says, so that the news is not older than it must be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    StreamId,
    employee::{self, Employee, Snapshot, Source},
    id::{CommandId, ConnectionId, EmployeeId, TenantId},
};
use futures_util::{StreamExt, stream};
use infra::{
    clock,
    completion::{self, Claimed},
    database::{Access, DatabaseError},
};
use schemas::codec::AnyCommand;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    CommandService,
    bamboohr::{
        client::{Backoff, Client, ClientProblem, Table, Whose},
        translate::{self, FIELDS, Tables},
    },
    connections::Live,
    intake::{self, Content, Notified, Submission},
};

/// Requests that are claimed at once.
const CLAIM_MAX: i64 = 64;
/// Readings that run at once in this process.
const READINGS_MAX: usize = 16;
/// Readings that one source bears at once.
const READINGS_PER_CONNECTION_MAX: usize = 8;
/// How often the queue is looked at when nothing hints at work.
const POLL: Duration = Duration::from_millis(20);
const POLL_IDLE: Duration = Duration::from_millis(200);
/// Polls without work before the slower pace.
const BUSY_POLLS: u32 = 250;

/// Completes until shut down.
pub async fn run(service: CommandService, shutdown: CancellationToken) {
    let completer = Arc::new(Completer {
        service,
        gates: Mutex::default(),
    });
    let mut idle = 0;
    while !shutdown.is_cancelled() {
        let done = match completer.claim().await {
            Ok(claimed) => {
                let count = claimed.len();
                let each = stream::iter(claimed).for_each_concurrent(READINGS_MAX, |claimed| {
                    let completer = Arc::clone(&completer);
                    async move { completer.complete(claimed).await }
                });
                each.await;
                count
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the completion queue cannot be read yet"
                );
                0
            }
        };
        idle = if done == 0 { idle + 1 } else { 0 };
        if done < CLAIM_MAX as usize {
            let pause = if idle > BUSY_POLLS { POLL_IDLE } else { POLL };
            tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }
}

struct Completer {
    service: CommandService,
    gates: Mutex<HashMap<ConnectionId, Arc<Gate>>>,
}

/// How much one source bears, and until when it wants to be left alone.
struct Gate {
    permits: Semaphore,
    closed_until: Mutex<Option<Instant>>,
}

/// Why a reading did not become a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the source could not be asked")]
    Source(#[from] ClientProblem),
    #[error("the connection is not alive")]
    Disconnected,
    #[error("what the source said could not be translated")]
    Translate(#[from] translate::TranslateProblem),
    #[error("the connection could not be looked up")]
    Connection(#[from] crate::connections::ConnectionsError),
    #[error("the reading could not be sent")]
    Intake(#[from] intake::IntakeError),
    #[error("the request could not be opened")]
    Sealing(#[from] infra::sealing::SealingError),
    #[error("the source asked to be left alone for a while")]
    Closed(Duration),
}

impl Completer {
    async fn claim(&self) -> Result<Vec<Claimed>, DatabaseError> {
        let tenants = self
            .service
            .database
            .transact(Access::Read, &[], |connection| {
                Box::pin(infra::route::tenants(connection))
            })
            .await?;
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        self.service
            .database
            .transact(Access::Write, &tenants, |connection| {
                Box::pin(completion::claim(connection, CLAIM_MAX))
            })
            .await
    }

    async fn complete(&self, claimed: Claimed) {
        let request = &claimed.request;
        let (tenant, connection) = (request.tenant, request.connection);
        let started = Instant::now();
        let result = self.try_complete(&claimed).await;
        metrics::histogram!("tenure_completion_seconds", "outcome" => if result.is_ok() { "completed" } else { "postponed" }).record(started.elapsed().as_secs_f64());
        let stored = match result {
            Ok(()) => {
                self.service
                    .database
                    .transact(Access::Write, &[tenant], move |c| {
                        Box::pin(async move { completion::done(c, &[claimed]).await })
                    })
                    .await
            }
            Err(failure) => {
                let attempt = u32::try_from(claimed.attempts.max(1) - 1).unwrap_or(0);
                let retry_after = match &failure {
                    Failure::Source(problem) => problem.retry_after(),
                    Failure::Closed(left) => Some(*left),
                    _ => None,
                };
                let delay = Backoff::default().delay(attempt, rand::random(), retry_after);
                let cause = match &failure {
                    Failure::Source(problem) => problem.cause().to_owned(),
                    other => other.to_string(),
                };
                tracing::warn!(error = &failure as &dyn std::error::Error, %connection, attempts = claimed.attempts, delay_seconds = delay.as_secs_f64(), "an employee of connection {connection} could not be read: {cause}");
                if let Failure::Source(problem) = &failure {
                    self.gate(connection).close(problem.retry_after());
                    if claimed.attempts == 1 {
                        self.believe_notification(&claimed).await;
                    }
                }
                self.service
                    .database
                    .transact(Access::Write, &[tenant], move |c| {
                        Box::pin(async move { completion::postpone(c, &claimed, delay, &cause).await })
                    })
                    .await
            }
        };
        if let Err(error) = stored {
            // The lease runs out and the request is taken up again: the intake deduplicates.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a finished reading could not be marked"
            );
        }
    }

    async fn try_complete(&self, claimed: &Claimed) -> Result<(), Failure> {
        let request = &claimed.request;
        let live = self
            .service
            .connections
            .find(request.connection)
            .await?
            .ok_or(Failure::Disconnected)?;
        let gate = self.gate(request.connection);
        if let Some(left) = gate.closed_for() {
            return Err(Failure::Closed(left));
        }
        let Ok(_permit) = gate.permits.acquire().await else {
            return Err(Failure::Disconnected);
        };
        let snapshot = read(&self.service, &live, &request.remote_id).await?;
        fail::fail_point!("after-reading");
        self.synchronise(claimed, snapshot).await
    }

    async fn synchronise(&self, claimed: &Claimed, snapshot: Snapshot) -> Result<(), Failure> {
        let request = &claimed.request;
        let employee = EmployeeId::derive(request.tenant, request.connection, &request.remote_id);
        let command = AnyCommand::Employee(employee::Command::Synchronise(Box::new(snapshot)));
        // The same reading sent twice is one command; the same content read again for another notification is not.
        let content = serde_json::to_vec(&command).map_err(intake::IntakeError::Encode)?;
        let key = format!(
            "{}|{}|{}",
            request.correlation,
            claimed.generation,
            hex(&Sha256::digest(&content))
        );
        let submission = Submission {
            id: CommandId::derive(
                request.tenant,
                &format!("bamboohr:{}:reading", request.connection),
                &key,
            ),
            stream: StreamId::new(request.tenant, <Employee as domain::Aggregate>::KIND, employee),
            actor: format!("bamboohr:{}", request.connection),
            correlation: request.correlation,
            backfill: request.backfill,
            fingerprint: None,
            content: Content::Command(Box::new(command)),
        };
        intake::submit(&self.service.bulk, &self.service.keyring, vec![submission]).await?;
        Ok(())
    }

    /// The source cannot be asked: what a field-based notification says is better than nothing. The reading still waits.
    async fn believe_notification(&self, claimed: &Claimed) {
        let believed = async {
            let request = &claimed.request;
            let keys = self.service.keyring.tenant(request.tenant).await?;
            let plain = keys.open(
                &completion::place(request.connection, &request.remote_id),
                &request.notification,
            )?;
            let Ok(Notified { notification, .. }) = serde_json::from_slice::<Notified>(&plain) else {
                return Ok(());
            };
            if notification.fields.is_empty() {
                return Ok(());
            }
            let as_of = notification.at.unwrap_or_else(clock::now).date_naive();
            let source = Source {
                connection: request.connection,
                remote_id: request.remote_id.clone(),
            };
            let (snapshot, warnings) =
                translate::partial_snapshot(request.tenant, source, &notification, &|_| None, as_of)?;
            warn(&warnings, request.connection);
            self.synchronise(claimed, snapshot).await
        };
        if let Err(error) = believed.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a notification could not stand in for its reading"
            );
        }
    }

    fn gate(&self, connection: ConnectionId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(connection).or_insert_with(|| {
            Arc::new(Gate {
                permits: Semaphore::new(READINGS_PER_CONNECTION_MAX),
                closed_until: Mutex::default(),
            })
        }))
    }
}

impl Gate {
    /// Everybody waits, not only the one who was told to.
    fn close(&self, retry_after: Option<Duration>) {
        if let Some(retry_after) = retry_after {
            *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + retry_after);
        }
    }

    fn closed_for(&self) -> Option<Duration> {
        let until = (*self.closed_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}

/// Reads one person with all tables.
///
/// # Errors
/// When the source cannot be asked, or its answer is about somebody else.
async fn read(service: &CommandService, live: &Live, remote_id: &str) -> Result<Snapshot, Failure> {
    let client = Client::new(
        &live.vendor.base_url,
        &live.vendor.company_domain,
        live.secrets.api_key.clone().into(),
        service.http.clone(),
    )?;
    let source = Source {
        connection: live.id,
        remote_id: remote_id.to_owned(),
    };
    let as_of = clock::today();
    let whose = Whose::One(remote_id);
    let fields = client.employee(remote_id, FIELDS).await?;
    let Some(fields) = fields else {
        let gone = employee::Rows::current(as_of, employee::Standing::Deleted);
        return Ok(Snapshot {
            standing: gone,
            ..Snapshot::silent(source, as_of)
        });
    };
    let (job_info, compensation, employment_status) = tokio::join!(
        client.table(whose, Table::JobInfo),
        client.table(whose, Table::Compensation),
        client.table(whose, Table::EmploymentStatus)
    );
    let tables = Tables {
        job_info: readable(job_info)?,
        compensation: readable(compensation)?,
        employment_status: readable(employment_status)?,
    };
    let (snapshot, warnings) = translate::snapshot(live.tenant, source, &fields, Some(&tables), &|_| None, as_of)?;
    warn(&warnings, live.id);
    Ok(snapshot)
}

/// A table that the key may not see (or that the account does not have) is not said; any other problem is one.
fn readable<T>(table: Result<Vec<T>, ClientProblem>) -> Result<Option<Vec<T>>, ClientProblem> {
    match table {
        Ok(rows) => Ok(Some(rows)),
        Err(ClientProblem::Forbidden { .. } | ClientProblem::Unexpected { status: 404, .. }) => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn warn(warnings: &[translate::Warning], connection: ConnectionId) {
    for warning in warnings {
        metrics::counter!("tenure_translation_warnings_total").increment(1);
        tracing::debug!(%connection, field = warning.field, problem = %warning.problem, "the field {} {}", warning.field, warning.problem);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many requests of `tenant` wait.
///
/// # Errors
/// When the database fails.
pub async fn waiting(service: &CommandService, tenant: TenantId) -> Result<i64, DatabaseError> {
    service
        .database
        .transact(Access::Read, &[tenant], |connection| {
            Box::pin(completion::waiting(connection))
        })
        .await
}
