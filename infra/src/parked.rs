//! What could not be processed: kept with its cause, and re-driven on request.

use std::collections::{BTreeMap, HashSet};

use domain::{Kind, StreamId, Timestamp, id::TenantId};
use sqlx::types::Json;
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// The tenant of a record whose own cannot be read.
pub const UNKNOWN_TENANT: TenantId = TenantId::from_uuid(Uuid::nil());

/// A parked record, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Parked {
    pub id: Uuid,
    pub consumer: String,
    pub stream: StreamId,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The log position; 0 in the intake.
    pub position: i64,
    /// In words, without anything personal.
    pub cause: String,
    pub headers: BTreeMap<String, String>,
    /// Sealed, as it came.
    pub value: Vec<u8>,
    pub parked_at: Timestamp,
}

/// # Errors
/// When the database fails.
pub async fn park(connection: &mut Connection, parked: &[Parked]) -> Result<HashSet<Uuid>, DatabaseError> {
    let mut new = HashSet::new();
    for item in parked {
        metrics::counter!("tenure_parked_total", "consumer" => item.consumer.clone()).increment(1);
        let is_new: bool = sqlx::query_scalar(
            r#"insert into parked (id, tenant, consumer, kind, stream_id, topic, "partition", "offset", position, cause, headers, value, parked_at)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
               on conflict (tenant, id) do update set cause = excluded.cause, retry_at = null
               returning xmax = 0"#,
        )
        .bind(item.id)
        .bind(Uuid::from(item.stream.tenant))
        .bind(&item.consumer)
        .bind(item.stream.kind.name())
        .bind(item.stream.id)
        .bind(&item.topic)
        .bind(item.partition)
        .bind(item.offset)
        .bind(item.position)
        .bind(&item.cause)
        .bind(Json(&item.headers))
        .bind(&item.value)
        .bind(item.parked_at)
        .fetch_one(&mut *connection)
        .await
        .doing("park a record")?;
        if is_new {
            new.insert(item.id);
        }
    }
    Ok(new)
}

/// Those of `streams` that have something parked for `consumer`: what follows on them must wait too.
///
/// # Errors
/// When the database fails.
pub async fn held_streams(
    connection: &mut Connection,
    consumer: &str,
    streams: &[StreamId],
) -> Result<HashSet<StreamId>, DatabaseError> {
    let tenants: Vec<Uuid> = streams.iter().map(|s| s.tenant.into()).collect();
    let kinds: Vec<&str> = streams.iter().map(|s| s.kind.name()).collect();
    let ids: Vec<Uuid> = streams.iter().map(|s| s.id).collect();
    let rows: Vec<(Uuid, String, Uuid)> = sqlx::query_as(
        "select distinct p.tenant, p.kind, p.stream_id from unnest($2::uuid[], $3::text[], $4::uuid[]) as u(tenant, kind, stream_id)
           join parked p using (tenant, kind, stream_id) where p.consumer = $1",
    )
    .bind(consumer)
    .bind(tenants)
    .bind(kinds)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("look for parked streams")?;
    rows.into_iter()
        .map(|(tenant, kind, id)| {
            Ok(StreamId::new(
                TenantId::from_uuid(tenant),
                kind.parse().map_err(|_| DatabaseError::Corrupt("kind of stream"))?,
                id,
            ))
        })
        .collect()
}

/// The ids of a tenant's streams that have something parked for `consumer`.
///
/// # Errors
/// When the database fails.
pub async fn waiting(
    connection: &mut Connection,
    tenant: TenantId,
    consumer: &str,
) -> Result<Vec<Uuid>, DatabaseError> {
    sqlx::query_scalar("select distinct stream_id from parked where tenant = $1 and consumer = $2")
        .bind(Uuid::from(tenant))
        .bind(consumer)
        .fetch_all(connection)
        .await
        .doing("look for parked streams")
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant: Uuid,
    consumer: String,
    kind: String,
    stream_id: Uuid,
    topic: String,
    partition: i32,
    offset: i64,
    position: i64,
    cause: String,
    headers: Json<BTreeMap<String, String>>,
    value: Vec<u8>,
    parked_at: Timestamp,
}

impl Row {
    fn parked(self) -> Result<Parked, DatabaseError> {
        let kind: Kind = self
            .kind
            .parse()
            .map_err(|_| DatabaseError::Corrupt("kind of stream"))?;
        Ok(Parked {
            id: self.id,
            consumer: self.consumer,
            stream: StreamId::new(TenantId::from_uuid(self.tenant), kind, self.stream_id),
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            position: self.position,
            cause: self.cause,
            headers: self.headers.0,
            value: self.value,
            parked_at: self.parked_at,
        })
    }
}

/// Everything that is parked for the transaction's tenants, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(connection: &mut Connection, limit: i64) -> Result<Vec<Parked>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as("select * from parked order by parked_at, position, id limit $1")
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("list parked records")?;
    rows.into_iter().map(Row::parked).collect()
}

/// Asks for another try: of one record, or of all.
///
/// # Errors
/// When the database fails.
pub async fn ask_retry(connection: &mut Connection, id: Option<Uuid>) -> Result<u64, DatabaseError> {
    Ok(
        sqlx::query("update parked set retry_at = now() where ($1::uuid is null or id = $1)")
            .bind(id)
            .execute(connection)
            .await
            .doing("ask for a retry")?
            .rows_affected(),
    )
}

/// The records whose retry was asked for, with everything that waits behind them on their streams, in order.
///
/// # Errors
/// When the database fails.
pub async fn to_retry(
    connection: &mut Connection,
    consumer: &str,
    partitions: &[i32],
    limit: i64,
) -> Result<Vec<Parked>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        r#"select p.* from parked p
            where p.consumer = $1 and p."partition" = any($2)
              and exists (select from parked r where r.retry_at is not null and (r.tenant, r.consumer, r.kind, r.stream_id) = (p.tenant, p.consumer, p.kind, p.stream_id))
            order by p.position, p."offset" limit $3"#,
    )
    .bind(consumer)
    .bind(partitions)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read records to retry")?;
    rows.into_iter().map(Row::parked).collect()
}

/// A stream's retry was in vain: what waits on it waits until somebody asks again.
///
/// # Errors
/// When the database fails.
pub async fn stop_retry(connection: &mut Connection, consumer: &str, stream: StreamId) -> Result<(), DatabaseError> {
    sqlx::query(
        "update parked set retry_at = null where tenant = $1 and consumer = $2 and kind = $3 and stream_id = $4",
    )
    .bind(Uuid::from(stream.tenant))
    .bind(consumer)
    .bind(stream.kind.name())
    .bind(stream.id)
    .execute(connection)
    .await
    .doing("stop a retry")
    .map(drop)
}

/// The log positions of everything that is parked for `consumer`.
///
/// # Errors
/// When the database fails.
pub async fn positions(connection: &mut Connection, consumer: &str) -> Result<Vec<i64>, DatabaseError> {
    sqlx::query_scalar("select position from parked where consumer = $1 and position > 0")
        .bind(consumer)
        .fetch_all(connection)
        .await
        .doing("list parked events")
}

/// Removes the events that are parked for `consumer`, but those at `unread`: all others went through. Tells how many.
///
/// # Errors
/// When the database fails.
pub async fn resolve_but(connection: &mut Connection, consumer: &str, unread: &[i64]) -> Result<u64, DatabaseError> {
    Ok(
        sqlx::query("delete from parked where consumer = $1 and position > 0 and position <> all ($2)")
            .bind(consumer)
            .bind(unread)
            .execute(connection)
            .await
            .doing("remove parked events")?
            .rows_affected(),
    )
}

/// Removes records that went through.
///
/// # Errors
/// When the database fails.
pub async fn resolve(connection: &mut Connection, resolved: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let tenants: Vec<Uuid> = resolved.iter().map(|(tenant, _)| Uuid::from(*tenant)).collect();
    let ids: Vec<Uuid> = resolved.iter().map(|(_, id)| *id).collect();
    sqlx::query("delete from parked p using unnest($1::uuid[], $2::uuid[]) as u(tenant, id) where (p.tenant, p.id) = (u.tenant, u.id)")
        .bind(tenants)
        .bind(ids)
        .execute(connection)
        .await
        .doing("remove parked records")
        .map(drop)
}
