//! What a connection does without being told: it imports everybody once, asks who changed, and compares everybody.
//!
//! Webhooks get lost, and a source that was away tells nothing of the meantime. So every few minutes each source is asked who changed
//! since the last time (`changes`), and once a day everybody is read again (`reconciliation`). Both only queue readings
//! ([`infra::completion`]); what a reading finds that nobody had told becomes events whose actor says how they were found.
//!
//! The tasks are rows ([`infra::connection_task`]): they outlive the process, and of several processes one does each.

pub mod webhooks;

use std::{convert::Infallible, time::Duration};

use domain::{
    Timestamp,
    connection::{self, System},
    id::{CommandId, ConnectionId, TenantId},
};
use infra::{
    clock,
    completion::{self, FoundBy},
    connection_task::{self, Claimed, Task},
    database::{Access, DatabaseError},
};
use schemas::codec::AnyCommand;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    CommandService,
    bamboohr::payload::{Kind, Notification},
    connections::{ConnectionsError, Live},
    files::{
        inbox,
        report::{ReportError, Reporter},
    },
    intake::{self, Content, IntakeError, Notified, Submission},
    scim::resources::Resources,
    source::{Backoff, Client, Roster, SourceProblem},
};

/// How often a source is asked who changed.
pub const CHANGES_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often everybody is compared.
pub const RECONCILIATION_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a webhook that Tenure registered is looked after.
pub const WEBHOOKS_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often accounts of an identity provider are looked for among the employees of other sources.
pub const ACCOUNTS_EVERY: Duration = Duration::from_secs(15 * 60);
/// How often a folder is looked into.
pub const INBOX_EVERY: Duration = Duration::from_secs(30);
/// How long to wait with a report that cannot be taken as it is.
const REPORT_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Tasks that one process works on at once. They mostly wait for the readings that they asked for.
const TASKS_MAX: usize = 64;
/// Requests that are queued in one transaction.
const QUEUE_CHUNK: usize = 500;
/// How often the plan is looked at when nobody rings.
const POLL: Duration = Duration::from_secs(1);
/// How often a task that waits for its readings looks whether they are done.
const WAIT: Duration = Duration::from_millis(200);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(300),
};

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the source could not say who is to be read")]
    Source(#[from] SourceProblem),
    #[error("the source lists nobody: is the address right, and may the key's user see employees?")]
    Nobody,
    #[error("the connection could not be looked up")]
    Connection(#[from] ConnectionsError),
    #[error("the readings could not be queued")]
    Database(#[from] DatabaseError),
    #[error("the readings could not be sealed")]
    Sealing(#[from] infra::sealing::SealingError),
    #[error("a notification did not serialise")]
    Encode(#[source] serde_json::Error),
    #[error("what was done could not be reported")]
    Intake(#[from] IntakeError),
    /// Without its source, which may name what is in the report.
    #[error("the report was not taken in: {}", .0.told())]
    Report(Box<ReportError>),
    #[error("accounts could not be looked through: {0}")]
    Accounts(String),
    #[error("files could not be taken in: {0}")]
    Inbox(#[from] inbox::TakeError),
    #[error("the process ends")]
    Interrupted,
}

impl Failure {
    /// What the source said, if it is the source's matter.
    const fn source_problem(&self) -> Option<&SourceProblem> {
        match self {
            Self::Source(problem) => Some(problem),
            Self::Report(problem) => problem.source_problem(),
            _ => None,
        }
    }

    /// What is told in the connection's history: nothing of what lies with us, nor that changes could not be asked for just now.
    fn cause(&self, task: Task) -> Option<&'static str> {
        match self {
            Self::Source(problem) if task == Task::Changes && problem.is_retryable() => None,
            // Why it is left alone was told.
            Self::Source(SourceProblem::LeftAlone { .. }) => None,
            Self::Source(problem) => Some(problem.cause()),
            Self::Report(problem) => match problem.source_problem() {
                Some(SourceProblem::LeftAlone { .. }) => None,
                Some(_) | None => problem.cause(),
            },
            Self::Nobody => Some("nobody-listed"),
            Self::Inbox(inbox::TakeError::Inbox(_)) => Some("inbox-unreachable"),
            Self::Connection(_)
            | Self::Database(_)
            | Self::Sealing(_)
            | Self::Encode(_)
            | Self::Intake(_)
            | Self::Accounts(_)
            | Self::Inbox(_)
            | Self::Interrupted => None,
        }
    }
}

/// Plans what a connection that is alive needs, and has it begin: its import, or if that is done, asking what happened meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn plan(service: &CommandService, live: &Live) -> Result<(), DatabaseError> {
    let of = (live.tenant, live.id);
    let registers_webhook = match &live.system {
        System::BambooHr(account) => account.webhook.is_some(),
        // It calls nobody.
        System::Workday(_) => false,
        System::Push(_) => return plan_files(service, live).await,
        System::Scim(_) => return plan_accounts(service, live).await,
        // Asked when somebody's pay is changed.
        System::Gusto(_) | System::Adp(_) => return Ok(()),
    };
    let (is_imported, cursor) = (live.synchronised, live.cursor);
    service
        .database
        .transact(Access::Write, &[live.tenant], move |connection| {
            Box::pin(async move {
                if registers_webhook {
                    let first = (WEBHOOKS_EVERY, None);
                    connection_task::ensure(connection, of, Task::Webhooks, first).await?;
                }
                let first = if is_imported {
                    plan_what_follows(connection, of, cursor).await?;
                    Task::Changes
                } else {
                    connection_task::ensure(connection, of, Task::Import, (Duration::ZERO, None)).await?;
                    Task::Import
                };
                connection_task::hasten(connection, of, first).await
            })
        })
        .await?;
    service.tasks_wanted.notify_one();
    Ok(())
}

/// A source of files has a folder, if there is a place for folders; and its report is fetched, if it has one.
async fn plan_files(service: &CommandService, live: &Live) -> Result<(), DatabaseError> {
    let (has_folder, has_report) = (
        service.inbox.is_some() && live.mapping().is_some(),
        live.report().is_some(),
    );
    let (of, tenants) = ((live.tenant, live.id), [live.tenant]);
    let planned = service.database.transact(Access::Write, &tenants, move |connection| {
        Box::pin(async move {
            let at_once = (Duration::ZERO, None);
            if has_folder {
                connection_task::ensure(connection, of, Task::Inbox, at_once).await?;
            }
            if has_report {
                connection_task::ensure(connection, of, Task::Report, at_once).await?;
            }
            Ok(())
        })
    });
    planned.await?;
    service.tasks_wanted.notify_one();
    Ok(())
}

/// Accounts are looked for among the employees of other sources.
async fn plan_accounts(service: &CommandService, live: &Live) -> Result<(), DatabaseError> {
    let (of, tenants) = ((live.tenant, live.id), [live.tenant]);
    let first = (ACCOUNTS_EVERY, None);
    let planned = service.database.transact(Access::Write, &tenants, move |connection| {
        Box::pin(connection_task::ensure(connection, of, Task::Accounts, first))
    });
    planned.await
}

/// A source that does not say where its changes are to be asked from is only compared.
async fn plan_what_follows(
    connection: &mut infra::database::Connection,
    of: (TenantId, ConnectionId),
    cursor: Option<Timestamp>,
) -> Result<(), DatabaseError> {
    if cursor.is_some() {
        connection_task::ensure(connection, of, Task::Changes, (CHANGES_EVERY, cursor)).await?;
    }
    connection_task::ensure(connection, of, Task::Reconciliation, (RECONCILIATION_EVERY, None)).await
}

/// Works on tasks until shut down.
pub async fn run(service: CommandService, shutdown: CancellationToken) {
    let mut running = JoinSet::new();
    while !shutdown.is_cancelled() {
        let claimed = match claim(&service, TASKS_MAX.saturating_sub(running.len())).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "connections' tasks cannot be read yet"
                );
                Vec::new()
            }
        };
        for claimed in claimed {
            running.spawn(perform(service.clone(), claimed, shutdown.clone()));
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = service.tasks_wanted.notified() => {}
            Some(_ended) = running.join_next() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    while running.join_next().await.is_some() {}
}

async fn claim(service: &CommandService, limit: usize) -> Result<Vec<Claimed>, DatabaseError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let tenants = service
        .database
        .transact(Access::Read, &[], |connection| {
            Box::pin(infra::route::tenants(connection))
        })
        .await?;
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    service
        .database
        .transact(Access::Write, &tenants, move |connection| {
            Box::pin(connection_task::claim(connection, limit as i64))
        })
        .await
}

async fn perform(service: CommandService, claimed: Claimed, shutdown: CancellationToken) {
    let worked = tokio::select! {
        worked = synchronise(&service, &claimed) => worked,
        // A source may take minutes to answer.
        () = shutdown.cancelled() => Err(Failure::Interrupted),
        never = keep(&service, &claimed) => match never {},
    };
    let (tenant, connection, task) = (claimed.tenant, claimed.connection, claimed.task.name());
    let ended = match worked {
        Ok(synchronised) => {
            // A folder mostly has nothing in it, and what it had is told file by file.
            let is_told = !matches!(claimed.task, Task::Inbox | Task::Webhooks | Task::Accounts);
            if let Some(Synchronised { asked, .. }) = &synchronised
                && (is_told || (claimed.task == Task::Webhooks && *asked > 0))
            {
                tracing::info!(%connection, task, asked, "{task} of connection {connection}: {asked} employees read");
            }
            metrics::counter!("tenure_connection_tasks_total", "task" => task, "outcome" => "done").increment(1);
            finish(&service, &claimed, synchronised).await
        }
        Err(failure) => {
            if !matches!(failure, Failure::Interrupted) {
                metrics::counter!("tenure_connection_tasks_total", "task" => task, "outcome" => "failed").increment(1);
                tracing::warn!(error = &failure as &dyn std::error::Error, %connection, task, "{task} of connection {connection} waits");
            }
            put_off(&service, &claimed, &failure).await
        }
    };
    if let Err(error) = ended {
        // Its lease runs out, and it is done again.
        tracing::warn!(error = &error as &dyn std::error::Error, %tenant, %connection, task, "the end of a task could not be written");
    }
}

/// While this waits, nobody else takes the task.
async fn keep(service: &CommandService, claimed: &Claimed) -> Infallible {
    let tenants = [claimed.tenant];
    loop {
        tokio::time::sleep(connection_task::LEASE / 3).await;
        let kept = claimed.clone();
        let kept = service.database.transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { connection_task::keep(connection, &kept).await })
        });
        if let Err(error) = kept.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a task could not be kept");
        }
    }
}

/// What a task came to.
#[derive(Default)]
struct Synchronised {
    /// How many people were read.
    asked: usize,
    /// Where to ask for changes from next time, if the source said.
    cursor: Option<Timestamp>,
    /// When to do it again, if that is the connection's own matter.
    every: Option<Duration>,
}

/// None: the connection is gone.
async fn synchronise(service: &CommandService, claimed: &Claimed) -> Result<Option<Synchronised>, Failure> {
    let live = if claimed.task == Task::Report {
        // Whether it still has one is not to be remembered wrongly: the task would be ended.
        service.connections.refresh(claimed.connection).await?
    } else {
        service.connections.find(claimed.connection).await?
    };
    let Some(live) = live else { return Ok(None) };
    let live = &live;
    let asked_of = || live.client(&service.http, &service.paces);
    match claimed.task {
        Task::Inbox => look_into_inbox(service, live).await,
        Task::Report => fetch_report(service, live).await,
        Task::Accounts => {
            let found = Resources::new(service, live).find_employees().await;
            found.map_err(|problem| Failure::Accounts(problem.detail))?;
            let (asked, cursor) = (0, None);
            Ok(Some(Synchronised {
                asked,
                cursor,
                ..Synchronised::default()
            }))
        }
        Task::Webhooks => match asked_of()? {
            Some(Client::BambooHr(client)) if webhooks::registered(live).is_some() => {
                let cursor = webhooks::look_after(service, (live, &client), claimed.cursor).await?;
                Ok(Some(cursor))
            }
            Some(_) | None => Ok(None),
        },
        Task::Import | Task::Reconciliation => match asked_of()? {
            Some(client) => compare(service, (live, &client), claimed.task).await.map(Some),
            None => Ok(None),
        },
        Task::Changes => match asked_of()? {
            Some(client) => ask_who_changed(service, (live, &client), claimed.cursor)
                .await
                .map(Some),
            None => Ok(None),
        },
    }
}

/// Reads everybody.
async fn compare(
    service: &CommandService,
    (live, client): (&Live, &Client),
    task: Task,
) -> Result<Synchronised, Failure> {
    let Roster {
        mut remote_ids,
        deleted,
        cursor,
        ..
    } = client.everybody().await?;
    let employees = remote_ids.len();
    if employees == 0 {
        return Err(Failure::Nobody);
    }
    let found_by = if task == Task::Import {
        FoundBy::Import
    } else {
        remote_ids.extend(deleted);
        FoundBy::Reconciliation
    };
    everybody(service, live, (&remote_ids, found_by, clock::new_id())).await?;
    // Before it is said that all is there: whoever hears that may ask for changes.
    let (of, tenants) = ((live.tenant, live.id), [live.tenant]);
    let planned = service.database.transact(Access::Write, &tenants, move |connection| {
        Box::pin(plan_what_follows(connection, of, cursor))
    });
    planned.await?;
    report(service, live, employees, cursor).await?;
    Ok(Synchronised {
        asked: remote_ids.len(),
        cursor: None,
        ..Synchronised::default()
    })
}

async fn ask_who_changed(
    service: &CommandService,
    (live, client): (&Live, &Client),
    since: Option<Timestamp>,
) -> Result<Synchronised, Failure> {
    let changes = client.changed_since(since.unwrap_or_else(clock::now)).await?;
    let remote_ids: Vec<String> = changes.employees.into_iter().map(|changed| changed.remote_id).collect();
    // Not waited for: they are durable, and the next look is minutes away.
    queue(service, live, (&remote_ids, FoundBy::Changes, clock::new_id())).await?;
    Ok(Synchronised {
        asked: remote_ids.len(),
        cursor: changes.cursor,
        ..Synchronised::default()
    })
}

/// None: there is no folder for it any more.
async fn look_into_inbox(service: &CommandService, live: &Live) -> Result<Option<Synchronised>, Failure> {
    let (Some(inbox), Some(mapping)) = (&service.inbox, live.mapping()) else {
        return Ok(None);
    };
    let taken = inbox::take(service, inbox, live, mapping).await?;
    if taken.refused > 0 {
        let command = connection::Command::ReportFailed {
            cause: "file-refused".to_owned(),
            on: clock::today(),
        };
        tell(service, (live.tenant, live.id), command).await?;
    }
    let (asked, cursor) = (taken.people, None);
    Ok(Some(Synchronised {
        asked,
        cursor,
        ..Synchronised::default()
    }))
}

/// None: nothing is fetched for it any more.
async fn fetch_report(service: &CommandService, live: &Live) -> Result<Option<Synchronised>, Failure> {
    let Some(reporter) = Reporter::of(live, &service.http, service.paces.of(live.id)) else {
        return Ok(None);
    };
    let taken = match reporter.take(service).await {
        Err(ReportError::Ending) => return Err(Failure::Interrupted),
        taken => taken.map_err(|problem| Failure::Report(Box::new(problem)))?,
    };
    if taken.problems > 0 {
        let (connection, problems) = (live.id, taken.problems);
        tracing::warn!(%connection, problems, "the report of connection {connection} has {problems} problems: `tenure connection test {connection}` shows them");
        let command = connection::Command::ReportFailed {
            cause: "report-has-problems".to_owned(),
            on: clock::today(),
        };
        tell(service, (live.tenant, live.id), command).await?;
    }
    let every = Duration::from_secs(u64::from(reporter.report.every_hours) * 60 * 60);
    let (asked, cursor) = (taken.people, None);
    Ok(Some(Synchronised {
        asked,
        cursor,
        every: Some(every),
    }))
}

/// Has everybody read, and waits until they are.
async fn everybody(service: &CommandService, live: &Live, wanted: (&[String], FoundBy, Uuid)) -> Result<(), Failure> {
    let (.., correlation) = wanted;
    let tenants = [live.tenant];
    queue(service, live, wanted).await?;
    loop {
        let waiting = service.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(completion::waiting_for(connection, correlation))
        });
        match waiting.await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Beginning anew would read everybody again.
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(WAIT).await;
    }
}

/// Has people read from their source.
pub(crate) async fn queue(
    service: &CommandService,
    live: &Live,
    (remote_ids, found_by, correlation): (&[String], FoundBy, Uuid),
) -> Result<(), Failure> {
    let keys = service.keyring.tenant(live.tenant).await?;
    for chunk in remote_ids.chunks(QUEUE_CHUNK) {
        let mut requests = Vec::with_capacity(chunk.len());
        for remote_id in chunk {
            let notified = Notified {
                connection: live.id,
                notification: notification(remote_id),
            };
            let plain = serde_json::to_vec(&notified).map_err(Failure::Encode)?;
            let notification = keys.seal(&completion::place(live.id, remote_id), &plain)?;
            requests.push(completion::Request {
                tenant: live.tenant,
                connection: live.id,
                remote_id: remote_id.clone(),
                notification,
                correlation,
                backfill: found_by == FoundBy::Import,
                found_by,
            });
        }
        service
            .database
            .transact(Access::Write, &[live.tenant], move |connection| {
                Box::pin(async move { completion::request(connection, &requests).await })
            })
            .await?;
    }
    service.readings_wanted.notify_one();
    Ok(())
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

/// None: the connection is gone, and with it what was planned.
async fn finish(
    service: &CommandService,
    claimed: &Claimed,
    synchronised: Option<Synchronised>,
) -> Result<(), DatabaseError> {
    let own = claimed.clone();
    service
        .database
        .transact(Access::Write, &[claimed.tenant], move |connection| {
            Box::pin(async move {
                let Some(Synchronised { cursor, every, .. }) = synchronised else {
                    return connection_task::end(connection, &own).await;
                };
                match own.task {
                    Task::Import => connection_task::end(connection, &own).await,
                    Task::Changes => connection_task::done(connection, &own, (CHANGES_EVERY, cursor)).await,
                    Task::Reconciliation => connection_task::done(connection, &own, (RECONCILIATION_EVERY, None)).await,
                    Task::Inbox => connection_task::done(connection, &own, (INBOX_EVERY, None)).await,
                    Task::Webhooks => connection_task::done(connection, &own, (WEBHOOKS_EVERY, cursor)).await,
                    Task::Accounts => connection_task::done(connection, &own, (ACCOUNTS_EVERY, None)).await,
                    Task::Report => {
                        let every = every.unwrap_or(RECONCILIATION_EVERY);
                        connection_task::done(connection, &own, (every, None)).await
                    }
                }
            })
        })
        .await
}

async fn put_off(service: &CommandService, claimed: &Claimed, failure: &Failure) -> Result<(), DatabaseError> {
    let attempt = u32::try_from(claimed.attempts.max(1) - 1).unwrap_or(0);
    let delay = match (failure, failure.source_problem()) {
        (Failure::Interrupted, _) => Duration::ZERO,
        // How long that is grows by itself.
        (_, Some(SourceProblem::LeftAlone { left })) => *left,
        // Somebody has to do something, or its owner to mend it; and it may take the source minutes to make.
        (Failure::Report(problem), source)
            if problem.cause().is_some() && !source.is_some_and(SourceProblem::is_retryable) =>
        {
            REPORT_AGAIN
        }
        (_, source) => BACKOFF.delay(attempt, rand::random(), source.and_then(SourceProblem::retry_after)),
    };
    if let Some(cause) = failure.cause(claimed.task) {
        let command = connection::Command::ReportFailed {
            cause: cause.to_owned(),
            on: clock::today(),
        };
        if let Err(error) = tell(service, (claimed.tenant, claimed.connection), command).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a failure could not be reported"
            );
        }
    }
    let (own, problem) = (claimed.clone(), failure.to_string());
    service
        .database
        .transact(Access::Write, &[claimed.tenant], move |connection| {
            Box::pin(async move { connection_task::postpone(connection, &own, delay, &problem).await })
        })
        .await
}

async fn report(
    service: &CommandService,
    live: &Live,
    employees: usize,
    cursor: Option<Timestamp>,
) -> Result<(), IntakeError> {
    let command = connection::Command::ReportSynchronised {
        employees: u32::try_from(employees).unwrap_or(u32::MAX),
        cursor: cursor.map(|cursor| cursor.to_rfc3339()),
        on: clock::today(),
    };
    tell(service, (live.tenant, live.id), command).await
}

/// Into the connection's own history.
async fn tell(
    service: &CommandService,
    (tenant, connection): (TenantId, ConnectionId),
    command: connection::Command,
) -> Result<(), IntakeError> {
    let id = CommandId::from_uuid(clock::new_id());
    let submission = Submission {
        id,
        stream: intake::connection_stream(tenant, connection),
        actor: "tenure".to_owned(),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(AnyCommand::Connection(command))),
    };
    intake::submit(&service.bulk, &service.keyring, vec![submission]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_says_whether_the_source_told_by_itself() {
        let connection = ConnectionId::from_uuid(Uuid::from_u128(7));
        for found_by in [
            FoundBy::Notification,
            FoundBy::Import,
            FoundBy::Changes,
            FoundBy::Reconciliation,
        ] {
            for kind in ["bamboohr", "workday"] {
                let actor = intake::source_actor(kind, connection, found_by);
                let told = found_by.is_asked_for().then_some(found_by);
                assert_eq!(intake::asked_for(&actor), told, "{actor}");
            }
        }
        for other in ["user:changes", "user:7:changes", "tenure", ""] {
            assert_eq!(intake::asked_for(other), None, "{other}");
        }
    }
}
