//! `timeline_entry`: every event about a person, sealed as in the log.

use domain::{Date, Timestamp, id::TenantId};
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

/// A person's newest entries before `before` (exclusive), newest first: `limit` at most, and of the past only those that were true
/// and recorded by then.
///
/// # Errors
/// When the database fails.
pub async fn page(
    connection: &mut Connection,
    tenant: TenantId,
    employee: Uuid,
    (before, limit): (Option<i64>, i64),
    at: Option<Moment>,
) -> Result<Vec<TimelineRow>, DatabaseError> {
    sqlx::query_as(
        "select * from timeline_entry where tenant = $1 and employee = $2 and position < $3 and ($5 is null or recorded_at <= $5)
            and ($6 is null or effective_on <= $6) order by position desc limit $4",
    )
        .bind(Uuid::from(tenant))
        .bind(employee)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .bind(at.map(|at| at.known_at))
        .bind(at.map(|at| at.day))
        .fetch_all(connection)
        .await
        .doing("read a timeline")
}
