//! `timeline_entry`: every event about a person, sealed as in the log.

use domain::{
    Date, Timestamp,
    id::{EmployeeId, TenantId},
};
use uuid::Uuid;

use super::query::Moment;
use crate::database::{Connection, DatabaseError, Doing};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct TimelineRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub position: i64,
    /// The kind and id of the stream that the event is in: its sealed values are bound to them.
    pub kind: String,
    pub stream_id: Uuid,
    pub event_id: Uuid,
    pub event_type: String,
    pub schema_version: i16,
    pub effective_on: Date,
    pub recorded_at: Timestamp,
    pub actor: String,
    /// Sealed JSON.
    pub data: Vec<u8>,
}

/// Adds entries; one that is there stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn add(connection: &mut Connection, rows: &[TimelineRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into timeline_entry (tenant, employee, position, kind, stream_id, event_id, event_type, schema_version, effective_on, recorded_at, actor, data)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::smallint[], $9::date[], $10::timestamptz[], $11::text[], $12::bytea[])
         on conflict do nothing",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.stream_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.event_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.event_type.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.schema_version).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.effective_on).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.recorded_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.actor.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.data.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write timelines")
    .map(drop)
}

/// Which entries of a person: the newest before a log position (exclusive), so many at most, and of the past only those that were
/// true and recorded by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Page {
    pub before: Option<i64>,
    pub limit: i64,
    pub at: Option<Moment>,
}

/// The same page of several people's timelines: of each person the newest entry first.
///
/// # Errors
/// When the database fails.
pub async fn pages(
    connection: &mut Connection,
    tenant: TenantId,
    employees: &[EmployeeId],
    page: Page,
) -> Result<Vec<TimelineRow>, DatabaseError> {
    sqlx::query_as(
        "select t.* from unnest($2::uuid[]) as u(employee) cross join lateral
            (select * from timeline_entry where tenant = $1 and employee = u.employee and position < $3
                and ($5 is null or recorded_at <= $5) and ($6 is null or effective_on <= $6) order by position desc limit $4) t
          order by t.employee, t.position desc",
    )
    .bind(Uuid::from(tenant))
    .bind(employees.iter().map(|employee| Uuid::from(*employee)).collect::<Vec<_>>())
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(page.limit)
    .bind(page.at.map(|at| at.known_at))
    .bind(page.at.map(|at| at.day))
    .fetch_all(connection)
    .await
    .doing("read timelines")
}
