//! Thin notifications become whole snapshots: the employee is read from the source and sent back into the intake.
//!
//! The queue is durable and coalescing: five notifications about a person are one reading, and a notification that comes
//! during a reading causes another. While the source cannot be asked, requests wait; a field-based notification is then
//! believed for what it says, so that the news is not older than it must be.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    StreamId,
    employee::{self, Employee, Snapshot, Source},
    id::{CommandId, ConnectionId, EmployeeId, TenantId},
};
use infra::{
    clock,
    completion::{self, Claimed},
    database::{Access, DatabaseError},
};
use schemas::codec::AnyCommand;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    CommandService,
    bamboohr::translate,
    connections::Live,
    intake::{self, Content, Notified, Submission},
    source::{self, Backoff, SourceProblem},
};

/// Readings that run at once in this process.
const READINGS_MAX: usize = 32;
/// Readings that one source bears at once; no more are claimed at a time, so that one source cannot take all places.
const READINGS_PER_CONNECTION_MAX: usize = 8;
/// A reading ends within this time, well before its lease: an old reading must not be sent after a newer one.
const READING_MAX: Duration = Duration::from_secs(50);
const _: () = assert!(READING_MAX.as_secs() < completion::LEASE.as_secs());
/// Readings of a source that was left alone begin within this time after it.
const SPREAD: Duration = Duration::from_millis(500);
/// How often the end of a reading is written while the database is busy.
const MARKS_MAX: u32 = 4;
/// How often the queue is looked at when nobody rings: another process's appender may have filled it, a delay may be over.
const POLL: Duration = Duration::from_millis(200);

/// Completes until shut down.
pub async fn run(service: CommandService, shutdown: CancellationToken) {
    let wanted = Arc::clone(&service.readings_wanted);
    let completer = Arc::new(Completer { service });
    let mut readings = JoinSet::new();
    let mut running: HashMap<tokio::task::Id, ConnectionId> = HashMap::new();
    while !shutdown.is_cancelled() {
        let places = Completer::places(running.values().copied());
        let limit = places.each.min(READINGS_MAX.saturating_sub(running.len()));
        // From before the claim: the lease begins in it.
        let until = tokio::time::Instant::now() + READING_MAX;
        let claimed = match completer.claim(limit, places.none_at).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the completion queue cannot be read yet"
                );
                Vec::new()
            }
        };
        let perhaps_more = limit > 0 && claimed.len() == limit;
        for claimed in claimed {
            let (completer, connection) = (Arc::clone(&completer), claimed.request.connection);
            let reading = readings.spawn(async move { completer.complete(claimed, until).await });
            running.insert(reading.id(), connection);
        }
        if perhaps_more {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = wanted.notified() => {}
            // A place is free, or something was told about a person while the person was read.
            Some(ended) = readings.join_next_with_id() => {
                running.remove(&ended.map_or_else(|panicked| panicked.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
    // What is cut off would wait for its lease to run out.
    while readings.join_next().await.is_some() {}
}

struct Completer {
    service: CommandService,
}

/// Where another reading may begin.
struct Places {
    /// So many at each source but these.
    each: usize,
    none_at: Vec<ConnectionId>,
}

/// Why a reading did not become a command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the source could not be asked")]
    Source(#[from] SourceProblem),
    #[error("the connection is not alive")]
    Disconnected,
    #[error("the source only tells, and cannot be asked")]
    NotAsked,
    #[error("what the source said could not be translated")]
    Translate(#[from] translate::TranslateProblem),
    #[error("the connection could not be looked up")]
    Connection(#[from] crate::connections::ConnectionsError),
    #[error("the reading could not be sent")]
    Intake(#[from] intake::IntakeError),
    #[error("the request could not be opened")]
    Sealing(#[from] infra::sealing::SealingError),
    #[error("the reading took longer than {} s", READING_MAX.as_secs())]
    Slow,
}

impl Completer {
    /// What the sources bear beside the readings that run.
    fn places(running: impl Iterator<Item = ConnectionId>) -> Places {
        let mut taken: HashMap<ConnectionId, usize> = HashMap::new();
        for connection in running {
            *taken.entry(connection).or_default() += 1;
        }
        let mut none_at = Vec::new();
        let mut each = READINGS_PER_CONNECTION_MAX;
        for (connection, count) in taken {
            match READINGS_PER_CONNECTION_MAX.saturating_sub(count) {
                0 => none_at.push(connection),
                free => each = each.min(free),
            }
        }
        Places { each, none_at }
    }

    async fn claim(&self, limit: usize, busy: Vec<ConnectionId>) -> Result<Vec<Claimed>, DatabaseError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
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
        let closed = self.service.paces.closed();
        self.service
            .database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move { completion::claim(connection, limit as i64, (&busy, &closed)).await })
            })
            .await
    }

    async fn complete(&self, claimed: Claimed, until: tokio::time::Instant) {
        let request = &claimed.request;
        let (tenant, connection) = (request.tenant, request.connection);
        let started = Instant::now();
        let result = tokio::time::timeout_at(until, self.try_complete(&claimed))
            .await
            .unwrap_or(Err(Failure::Slow));
        metrics::histogram!("tenure_completion_seconds", "outcome" => if result.is_ok() { "completed" } else { "postponed" }).record(started.elapsed().as_secs_f64());
        let postponed = match result {
            Ok(()) => None,
            Err(failure) => {
                let attempt = u32::try_from(claimed.attempts.max(1) - 1).unwrap_or(0);
                let retry_after = match &failure {
                    Failure::Source(problem) => problem.retry_after(),
                    _ => None,
                };
                let delay = match &failure {
                    // How long that is grows by itself.
                    Failure::Source(SourceProblem::LeftAlone { left }) => *left + SPREAD.mul_f64(rand::random()),
                    _ => Backoff::default().delay(attempt, rand::random(), retry_after),
                };
                let cause = match &failure {
                    Failure::Source(problem) => problem.cause().to_owned(),
                    other => other.to_string(),
                };
                tracing::warn!(error = &failure as &dyn std::error::Error, %connection, attempts = claimed.attempts, delay_seconds = delay.as_secs_f64(), "an employee of connection {connection} could not be read: {cause}");
                if matches!(failure, Failure::Source(_)) && claimed.attempts == 1 {
                    self.believe_notification(&claimed).await;
                }
                Some((delay, cause))
            }
        };
        self.mark(tenant, Arc::new(claimed), postponed).await;
    }

    /// Says what became of a request. A database that is busy for a moment is asked again: unmarked, the request would wait
    /// for its lease to run out, and an import for the request.
    async fn mark(&self, tenant: TenantId, claimed: Arc<Claimed>, postponed: Option<(Duration, String)>) {
        for attempt in 0..MARKS_MAX {
            let (claimed, postponed) = (Arc::clone(&claimed), postponed.clone());
            let marked = self
                .service
                .database
                .transact(Access::Write, &[tenant], move |c| {
                    Box::pin(async move {
                        match postponed {
                            None => completion::done(c, std::slice::from_ref(&*claimed)).await,
                            Some((delay, cause)) => completion::postpone(c, &claimed, delay, &cause).await,
                        }
                    })
                })
                .await;
            let Err(error) = marked else { return };
            if attempt + 1 == MARKS_MAX || !error.is_transient() {
                // The lease runs out and the request is taken up again: the intake deduplicates.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a finished reading could not be marked"
                );
                return;
            }
            tokio::time::sleep(Backoff::default().delay(attempt, rand::random(), None)).await;
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
        let snapshot = read(&self.service, &live, &request.remote_id).await?;
        fail::fail_point!("after-reading");
        self.synchronise(claimed, live.system.kind(), snapshot).await
    }

    /// Sends what a source of that kind said.
    async fn synchronise(&self, claimed: &Claimed, kind: &str, snapshot: Snapshot) -> Result<(), Failure> {
        let request = &claimed.request;
        let employee = EmployeeId::derive(request.tenant, request.connection, &request.remote_id);
        let command = AnyCommand::Employee(employee::Command::Synchronise(Box::new(snapshot)));
        // The same reading sent twice is one command; the same content read again for another notification is not.
        let content = serde_json::to_vec(&command).map_err(intake::IntakeError::Encode)?;
        let key = format!(
            "{}|{}|{}",
            request.correlation,
            claimed.generation,
            intake::hex(&Sha256::digest(&content))
        );
        let submission = Submission {
            id: CommandId::derive(request.tenant, &format!("{kind}:{}:reading", request.connection), &key),
            stream: StreamId::new(request.tenant, <Employee as domain::Aggregate>::KIND, employee),
            actor: intake::source_actor(kind, request.connection, request.found_by),
            correlation: request.correlation,
            traceparent: None,
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
            self.synchronise(claimed, "bamboohr", snapshot).await
        };
        if let Err(error) = believed.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a notification could not stand in for its reading"
            );
        }
    }
}

/// Reads one person with all their history.
async fn read(service: &CommandService, live: &Live, remote_id: &str) -> Result<Snapshot, Failure> {
    let client = live.client(&service.http, &service.paces)?.ok_or(Failure::NotAsked)?;
    let source = Source {
        connection: live.id,
        remote_id: remote_id.to_owned(),
    };
    let (snapshot, warnings) = client.read((live.tenant, source), clock::today()).await?;
    warn(&warnings, live.id);
    Ok(snapshot)
}

fn warn(warnings: &[source::Warning], connection: ConnectionId) {
    for warning in warnings {
        metrics::counter!("tenure_translation_warnings_total").increment(1);
        tracing::debug!(%connection, field = warning.field, problem = %warning.problem, "the field {} {}", warning.field, warning.problem);
    }
}
