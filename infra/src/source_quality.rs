//! How well sources tell: what they told by day, and what was wrong with it.
//!
//! Counted by the appender in the transaction that takes it in. A person belongs to one connection (its id is derived from it), so
//! the newest moment that was told of a person is kept by person alone.

use domain::{
    Date, Timestamp,
    id::{ConnectionId, EmployeeId, TenantId},
};
use uuid::Uuid;

use crate::{
    database::{Connection, DatabaseError, Doing},
    sealing::Subject,
};

/// What is counted of one connection on one day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Counts {
    /// Notifications, each person of a message counted.
    pub received: i64,
    /// Notifications that had come before.
    pub duplicate: i64,
    /// Notifications that came long after what they tell of.
    pub late: i64,
    /// Notifications that came after one that tells of something later about the same person.
    pub out_of_order: i64,
    /// People about whom asking found news that nobody had told.
    pub missed: i64,
    /// Messages that could not be understood, and readings that a rule refused.
    pub rejected: i64,
    /// When the source last told something.
    pub heard_at: Option<Timestamp>,
}

impl Counts {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.out_of_order += other.out_of_order;
        self.missed += other.missed;
        self.rejected += other.rejected;
        self.heard_at = self.heard_at.max(other.heard_at);
    }
}

/// A moment that a source told of a person.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub employee: EmployeeId,
    pub at: Timestamp,
}

/// Remembers what was told, in the order in which it came. Answers of which connections how many came after something later.
///
/// # Errors
/// When the database fails.
pub async fn tell(
    connection: &mut Connection,
    told: &[Told],
) -> Result<Vec<(TenantId, ConnectionId, i64)>, DatabaseError> {
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "with news as (select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[]) with ordinality
                         as u(tenant, connection, employee, at, n)),
              known as (select n.tenant, n.connection, n.at,
                               greatest(s.told_at, max(n.at) over (partition by n.tenant, n.employee order by n.n
                                                                    rows between unbounded preceding and 1 preceding)) as told_at
                          from news n left join source_told s using (tenant, employee)),
              kept as (insert into source_told (tenant, employee, told_at)
                       select tenant, employee, max(at) from news group by tenant, employee order by tenant, employee
                       on conflict (tenant, employee) do update set told_at = excluded.told_at where source_told.told_at < excluded.told_at)
         select tenant, connection, count(*) from known where at < told_at group by tenant, connection",
    )
    .bind(told.iter().map(|told| Uuid::from(told.tenant)).collect::<Vec<_>>())
    .bind(told.iter().map(|told| Uuid::from(told.connection)).collect::<Vec<_>>())
    .bind(told.iter().map(|told| Uuid::from(told.employee)).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.at).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .doing("remember what sources told")?;
    let ids = |(tenant, of, count)| (TenantId::from_uuid(tenant), ConnectionId::from_uuid(of), count);
    Ok(rows.into_iter().map(ids).collect())
}

/// Forgets what was told of a person (or of nobody: nothing is told of other subjects).
///
/// # Errors
/// When the database fails.
pub async fn forget(connection: &mut Connection, (tenant, employee): Subject) -> Result<(), DatabaseError> {
    sqlx::query("delete from source_told where tenant = $1 and employee = $2")
        .bind(Uuid::from(tenant))
        .bind(employee)
        .execute(connection)
        .await
        .doing("forget what sources told")
        .map(drop)
}

/// Adds to a connection's day.
///
/// # Errors
/// When the database fails.
pub async fn count(
    connection: &mut Connection,
    (tenant, of, day): (TenantId, ConnectionId, Date),
    counts: Counts,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into source_quality as q (tenant, connection, day, received, duplicate, late, out_of_order, missed, rejected, heard_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (tenant, connection, day) do update
            set received = q.received + excluded.received, duplicate = q.duplicate + excluded.duplicate, late = q.late + excluded.late,
                out_of_order = q.out_of_order + excluded.out_of_order, missed = q.missed + excluded.missed,
                rejected = q.rejected + excluded.rejected, heard_at = greatest(q.heard_at, excluded.heard_at)",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(day)
    .bind(counts.received)
    .bind(counts.duplicate)
    .bind(counts.late)
    .bind(counts.out_of_order)
    .bind(counts.missed)
    .bind(counts.rejected)
    .bind(counts.heard_at)
    .execute(connection)
    .await
    .doing("count what a source told")
    .map(drop)
}

/// One day of a connection.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Day {
    pub day: Date,
    #[sqlx(flatten)]
    pub counts: Counts,
}

/// The days since `from` on which anything was counted, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn days(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
    from: Date,
) -> Result<Vec<Day>, DatabaseError> {
    sqlx::query_as("select * from source_quality where tenant = $1 and connection = $2 and day >= $3 order by day")
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(of))
        .bind(from)
        .fetch_all(connection)
        .await
        .doing("read what sources told by day")
}

/// When a connection was heard of, and when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Freshness {
    pub connection: Uuid,
    /// The source told something by itself.
    pub heard_at: Option<Timestamp>,
    /// The source was asked who changed, and answered.
    pub asked_at: Option<Timestamp>,
    /// Everybody was compared.
    pub compared_at: Option<Timestamp>,
}

/// Of every connection of a tenant of which anything is known.
///
/// # Errors
/// When the database fails.
pub async fn freshness(connection: &mut Connection, tenant: TenantId) -> Result<Vec<Freshness>, DatabaseError> {
    sqlx::query_as(
        "select connection, max(heard_at) as heard_at, max(asked_at) as asked_at, max(compared_at) as compared_at
           from (select connection, heard_at, null::timestamptz as asked_at, null::timestamptz as compared_at
                   from source_quality where tenant = $1
                 union all
                 select connection, null, case when task = 'changes' then done_at end, case when task = 'reconciliation' then done_at end
                   from connection_task where tenant = $1) known
          group by connection",
    )
    .bind(Uuid::from(tenant))
    .fetch_all(connection)
    .await
    .doing("read how fresh sources are")
}
