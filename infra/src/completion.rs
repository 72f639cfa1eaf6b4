//! Employees whose source must be asked: a durable, coalescing queue.

use std::time::Duration;

use domain::id::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// After this long a claimed reading is taken up by whoever looks: its process has died. A reading must end well before.
pub const LEASE: Duration = Duration::from_secs(60);

/// A notification that wants its employee to be read from the source.
#[derive(Debug, Clone)]
pub struct Request {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub remote_id: String,
    /// The notification, sealed with the tenant's key under [`place`].
    pub notification: Vec<u8>,
    pub correlation: Uuid,
    pub backfill: bool,
    pub found_by: FoundBy,
}

/// How it came out that somebody is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// The source told.
    Notification,
    /// Everybody was read for the first time.
    Import,
    /// The source was asked who changed.
    Changes,
    /// Everybody was read again.
    Reconciliation,
}

impl FoundBy {
    const ALL: [Self; 4] = [Self::Notification, Self::Import, Self::Changes, Self::Reconciliation];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Import => "import",
            Self::Changes => "changes",
            Self::Reconciliation => "reconciliation",
        }
    }

    /// # Errors
    /// When it names none.
    pub fn from_name(name: &str) -> Result<Self, DatabaseError> {
        let found = Self::ALL.into_iter().find(|found_by| found_by.name() == name);
        found.ok_or(DatabaseError::Corrupt("how a reading came about"))
    }

    /// Whether what a reading finds then is news that the source did not tell by itself.
    #[must_use]
    pub const fn is_asked_for(self) -> bool {
        match self {
            Self::Changes | Self::Reconciliation => true,
            Self::Notification | Self::Import => false,
        }
    }
}

/// Where a sealed notification belongs.
#[must_use]
pub fn place(connection: ConnectionId, remote_id: &str) -> String {
    format!("completion|{connection}|{remote_id}")
}

/// A request that this process works on.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub request: Request,
    pub generation: i64,
    pub attempts: i32,
}

/// Adds requests: one that waits already becomes newer, not double. What the source has told stays told.
///
/// # Errors
/// When the database fails.
pub async fn request(connection: &mut Connection, requests: &[Request]) -> Result<(), DatabaseError> {
    if requests.is_empty() {
        return Ok(());
    }
    // Of several for one employee in a batch the last stands for all; a fixed order keeps two writers from a deadlock.
    let mut last: std::collections::BTreeMap<(TenantId, ConnectionId, &str), &Request> =
        std::collections::BTreeMap::new();
    for request in requests {
        last.insert((request.tenant, request.connection, &request.remote_id), request);
    }
    let tenants: Vec<Uuid> = last.values().map(|r| r.tenant.into()).collect();
    let connections: Vec<Uuid> = last.values().map(|r| r.connection.into()).collect();
    let remote: Vec<&str> = last.values().map(|r| r.remote_id.as_str()).collect();
    let notifications: Vec<&[u8]> = last.values().map(|r| r.notification.as_slice()).collect();
    let correlations: Vec<Uuid> = last.values().map(|r| r.correlation).collect();
    let backfill: Vec<bool> = last.values().map(|r| r.backfill).collect();
    let found_by: Vec<&str> = last.values().map(|r| r.found_by.name()).collect();
    sqlx::query(
        "insert into completion as c (tenant, connection, remote_id, notification, correlation, backfill, found_by)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[], $6::boolean[], $7::text[])
         on conflict (tenant, connection, remote_id) do update
            set generation = excluded.generation, notification = excluded.notification, correlation = excluded.correlation,
                backfill = c.backfill and excluded.backfill,
                found_by = case when c.found_by = 'notification' then c.found_by else excluded.found_by end",
    )
    .bind(tenants)
    .bind(connections)
    .bind(remote)
    .bind(notifications)
    .bind(correlations)
    .bind(backfill)
    .bind(found_by)
    .execute(connection)
    .await
    .doing("queue readings from the source")
    .map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant: Uuid,
    connection: Uuid,
    remote_id: String,
    generation: i64,
    attempts: i32,
    notification: Vec<u8>,
    correlation: Uuid,
    backfill: bool,
    found_by: String,
}

/// Claims up to `limit` requests that are due, for [`LEASE`]; none of the connections in `busy`, and of those in `closed` only
/// requests that are new.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    connection: &mut Connection,
    limit: i64,
    (busy, closed): (&[ConnectionId], &[ConnectionId]),
) -> Result<Vec<Claimed>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        // Materialised: as a part of the join it could run again, and claim more than was asked for.
        "with due as materialized
                (select tenant, connection, remote_id from completion where not_before <= now() and connection <> all($3) and (attempts = 0 or connection <> all($4))
                  order by not_before limit $1 for update skip locked)
         update completion c set not_before = now() + make_interval(secs => $2), attempts = c.attempts + 1
           from due
          where (c.tenant, c.connection, c.remote_id) = (due.tenant, due.connection, due.remote_id)
         returning c.tenant, c.connection, c.remote_id, c.generation, c.attempts, c.notification, c.correlation, c.backfill, c.found_by",
    )
    .bind(limit)
    .bind(LEASE.as_secs_f64())
    .bind(busy.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
    .bind(closed.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .doing("claim readings from the source")?;
    rows.into_iter()
        .map(|row| {
            Ok(Claimed {
                request: Request {
                    tenant: TenantId::from_uuid(row.tenant),
                    connection: ConnectionId::from_uuid(row.connection),
                    remote_id: row.remote_id,
                    notification: row.notification,
                    correlation: row.correlation,
                    backfill: row.backfill,
                    found_by: FoundBy::from_name(&row.found_by)?,
                },
                generation: row.generation,
                attempts: row.attempts,
            })
        })
        .collect()
}

/// The reading is durable in the intake: the request goes, unless a newer notification came meanwhile; then it is due at once.
///
/// # Errors
/// When the database fails.
pub async fn done(connection: &mut Connection, claimed: &[Claimed]) -> Result<(), DatabaseError> {
    let tenants: Vec<Uuid> = claimed.iter().map(|c| c.request.tenant.into()).collect();
    let connections: Vec<Uuid> = claimed.iter().map(|c| c.request.connection.into()).collect();
    let remote: Vec<&str> = claimed.iter().map(|c| c.request.remote_id.as_str()).collect();
    let generations: Vec<i64> = claimed.iter().map(|c| c.generation).collect();
    sqlx::query(
        "with finished as (select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) as u(tenant, connection, remote_id, generation)),
              newer as (update completion c set not_before = now(), attempts = 0 from finished f
                         where (c.tenant, c.connection, c.remote_id) = (f.tenant, f.connection, f.remote_id) and c.generation <> f.generation)
         delete from completion c using finished f
          where (c.tenant, c.connection, c.remote_id) = (f.tenant, f.connection, f.remote_id) and c.generation = f.generation",
    )
    .bind(tenants)
    .bind(connections)
    .bind(remote)
    .bind(generations)
    .execute(connection)
    .await
    .doing("finish readings from the source")
    .map(drop)
}

/// The reading failed: try again after `delay`.
///
/// # Errors
/// When the database fails.
pub async fn postpone(
    connection: &mut Connection,
    claimed: &Claimed,
    delay: Duration,
    problem: &str,
) -> Result<(), DatabaseError> {
    sqlx::query("update completion set not_before = now() + make_interval(secs => $4), last_problem = $5 where tenant = $1 and connection = $2 and remote_id = $3")
        .bind(Uuid::from(claimed.request.tenant))
        .bind(Uuid::from(claimed.request.connection))
        .bind(&claimed.request.remote_id)
        .bind(delay.as_secs_f64())
        .bind(problem)
        .execute(connection)
        .await
        .doing("postpone a reading from the source")
        .map(drop)
}

/// How many requests wait.
///
/// # Errors
/// When the database fails.
pub async fn waiting(connection: &mut Connection) -> Result<i64, DatabaseError> {
    sqlx::query_scalar("select count(*) from completion")
        .fetch_one(connection)
        .await
        .doing("count readings from the source")
}

/// How many requests of one correlation wait.
///
/// # Errors
/// When the database fails.
pub async fn waiting_for(connection: &mut Connection, correlation: Uuid) -> Result<i64, DatabaseError> {
    sqlx::query_scalar("select count(*) from completion where correlation = $1")
        .bind(correlation)
        .fetch_one(connection)
        .await
        .doing("count readings from the source")
}
