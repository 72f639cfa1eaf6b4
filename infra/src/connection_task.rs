//! What is to be done for connections besides reading whom they tell of: importing, asking who changed, comparing everybody.
//!
//! A task is taken for a while ([`LEASE`]) by moving its time on; a process that dies with it loses it to whoever looks next. All of
//! them may be done twice: they queue readings, and those coalesce.

use std::time::Duration;

use domain::{
    Timestamp,
    id::{ConnectionId, TenantId},
};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// After this long a task that is under way is taken up by whoever looks, unless it is kept ([`keep`]).
pub const LEASE: Duration = Duration::from_secs(60);

/// What can be done for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Everybody with their history, once.
    Import,
    /// Who changed since the last time: notices what no webhook told.
    Changes,
    /// Everybody again: notices what not even the list of changes told.
    Reconciliation,
    /// Files that somebody put into the connection's folder.
    Inbox,
    /// Whether the source's webhook is still there, and what of it never arrived.
    Webhooks,
    /// Whose the accounts of an identity provider are, among the employees of other sources.
    Accounts,
    /// A report that is fetched.
    Report,
}

impl Task {
    pub const ALL: [Self; 7] = [
        Self::Import,
        Self::Changes,
        Self::Reconciliation,
        Self::Inbox,
        Self::Webhooks,
        Self::Accounts,
        Self::Report,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Changes => "changes",
            Self::Reconciliation => "reconciliation",
            Self::Inbox => "inbox",
            Self::Webhooks => "webhooks",
            Self::Accounts => "accounts",
            Self::Report => "report",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }
}

/// A task that this process works on.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub task: Task,
    /// How often it was taken without success, this time included.
    pub attempts: i32,
    pub cursor: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant: Uuid,
    connection: Uuid,
    task: String,
    attempts: i32,
    cursor: Option<Timestamp>,
}

/// Sees to it that there is the task, `delay` from now; one that is there stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn ensure(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
    task: Task,
    (delay, cursor): (Duration, Option<Timestamp>),
) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into connection_task (tenant, connection, task, due_at, cursor) values ($1, $2, $3, now() + make_interval(secs => $4), $5)
         on conflict do nothing",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(task.name())
    .bind(delay.as_secs_f64())
    .bind(cursor)
    .execute(connection)
    .await
    .doing("plan a connection's task")
    .map(drop)
}

/// Makes a task due now, unless somebody is at it. Answers whether there is one.
///
/// # Errors
/// When the database fails.
pub async fn hasten(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
    task: Task,
) -> Result<bool, DatabaseError> {
    // What was taken is due again within a lease; what failed and waits for longer is nobody's. The clock, not the transaction's
    // beginning: whoever takes the task while this waits for its row does so later.
    let found = sqlx::query(
        "update connection_task
            set due_at = case when attempts = 0 or due_at > clock_timestamp() + make_interval(secs => $4) then least(due_at, now()) else due_at end
          where tenant = $1 and connection = $2 and task = $3",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(task.name())
    .bind(LEASE.as_secs_f64())
    .execute(connection)
    .await
    .doing("hasten a connection's task")?;
    Ok(found.rows_affected() == 1)
}

/// Takes up to `limit` tasks that are due, for [`LEASE`].
///
/// # Errors
/// When the database fails, or a row names no task.
pub async fn claim(connection: &mut Connection, limit: i64) -> Result<Vec<Claimed>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        // Materialised: as a part of the join it could run again, and claim more than was asked for.
        "with due as materialized
                (select tenant, connection, task from connection_task where due_at <= now() order by due_at limit $1 for update skip locked)
         update connection_task t set due_at = now() + make_interval(secs => $2), attempts = t.attempts + 1
           from due
          where (t.tenant, t.connection, t.task) = (due.tenant, due.connection, due.task)
         returning t.tenant, t.connection, t.task, t.attempts, t.cursor",
    )
    .bind(limit)
    .bind(LEASE.as_secs_f64())
    .fetch_all(connection)
    .await
    .doing("take connections' tasks")?;
    rows.into_iter()
        .map(|row| {
            Ok(Claimed {
                tenant: TenantId::from_uuid(row.tenant),
                connection: ConnectionId::from_uuid(row.connection),
                task: Task::from_name(&row.task).ok_or(DatabaseError::Corrupt("a connection's task"))?,
                attempts: row.attempts,
                cursor: row.cursor,
            })
        })
        .collect()
}

/// Keeps a task for another [`LEASE`].
///
/// # Errors
/// When the database fails.
pub async fn keep(connection: &mut Connection, claimed: &Claimed) -> Result<(), DatabaseError> {
    put_off(connection, claimed, LEASE, None).await
}

/// The task failed: try again after `delay`.
///
/// # Errors
/// When the database fails.
pub async fn postpone(
    connection: &mut Connection,
    claimed: &Claimed,
    delay: Duration,
    problem: &str,
) -> Result<(), DatabaseError> {
    put_off(connection, claimed, delay, Some(problem)).await
}

async fn put_off(
    connection: &mut Connection,
    claimed: &Claimed,
    delay: Duration,
    problem: Option<&str>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update connection_task set due_at = now() + make_interval(secs => $4), last_problem = coalesce($5, last_problem)
          where tenant = $1 and connection = $2 and task = $3",
    )
    .bind(Uuid::from(claimed.tenant))
    .bind(Uuid::from(claimed.connection))
    .bind(claimed.task.name())
    .bind(delay.as_secs_f64())
    .bind(problem)
    .execute(connection)
    .await
    .doing("put a connection's task off")
    .map(drop)
}

/// The task is done, and due again after `delay`, from `cursor` (or from where it was).
///
/// # Errors
/// When the database fails.
pub async fn done(
    connection: &mut Connection,
    claimed: &Claimed,
    (delay, cursor): (Duration, Option<Timestamp>),
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update connection_task set due_at = now() + make_interval(secs => $4), cursor = coalesce($5, cursor), attempts = 0,
                done_at = now(), last_problem = null
          where tenant = $1 and connection = $2 and task = $3",
    )
    .bind(Uuid::from(claimed.tenant))
    .bind(Uuid::from(claimed.connection))
    .bind(claimed.task.name())
    .bind(delay.as_secs_f64())
    .bind(cursor)
    .execute(connection)
    .await
    .doing("finish a connection's task")
    .map(drop)
}

/// Ends a task for good.
///
/// # Errors
/// When the database fails.
pub async fn end(connection: &mut Connection, claimed: &Claimed) -> Result<(), DatabaseError> {
    sqlx::query("delete from connection_task where tenant = $1 and connection = $2 and task = $3")
        .bind(Uuid::from(claimed.tenant))
        .bind(Uuid::from(claimed.connection))
        .bind(claimed.task.name())
        .execute(connection)
        .await
        .doing("end a connection's task")
        .map(drop)
}
