//! Commands on their way into the intake, stored with the rows that cause them; and those that can wait while others are at work.

use domain::{
    Kind, StreamId,
    access::{Command, Question},
    id::{CommandId, TenantId, access_stream},
};
use schemas::codec::AnyCommand;
use uuid::Uuid;

use crate::{
    clock,
    database::{Access, Connection, Database, DatabaseError, Doing},
    sealing::{Keyring, SealingError, TenantKeys},
};

#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: CommandId,
    pub stream: StreamId,
    /// `AnyCommand` as JSON, sealed with the tenant's key under [`place`].
    pub command: Vec<u8>,
    pub actor: String,
    pub correlation: Uuid,
    /// Whether it tells of imported history: its events then count as known from the day on which they were true.
    pub backfill: bool,
    /// The trace in which it was given.
    pub traceparent: Option<String>,
}

impl Outgoing {
    /// A command of `actor` (such as `user:ada`) to `stream`, sealed; nothing else led to it, and it is no imported history.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(
        keys: &TenantKeys,
        (id, stream): (CommandId, StreamId),
        actor: &str,
        command: &AnyCommand,
    ) -> Result<Self, SealingError> {
        let plain = serde_json::to_vec(command).map_err(|_| SealingError::Seal)?;
        Ok(Self {
            id,
            stream,
            command: keys.seal(&place(id), &plain)?,
            actor: actor.to_owned(),
            correlation: id.uuid(),
            backfill: false,
            traceparent: None,
        })
    }
}

/// Where a sealed outgoing command belongs: the same place as in the intake, so that it is sent on as it is.
#[must_use]
pub fn place(id: CommandId) -> String {
    format!("intake|{id}")
}

/// Stores commands to send, in this order; one that waits already stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn add(connection: &mut Connection, outgoing: &[Outgoing]) -> Result<(), DatabaseError> {
    store(connection, outgoing, false).await
}

/// Stores commands that can wait while others are at work, as [`add`] does.
///
/// # Errors
/// When the database fails.
pub async fn add_bulk(connection: &mut Connection, outgoing: &[Outgoing]) -> Result<(), DatabaseError> {
    store(connection, outgoing, true).await
}

async fn store(connection: &mut Connection, outgoing: &[Outgoing], bulk: bool) -> Result<(), DatabaseError> {
    if outgoing.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into outbox (id, tenant, kind, stream_id, command, actor, correlation, backfill, traceparent, bulk)
         select *, $10 from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bytea[], $6::text[], $7::uuid[], $8::boolean[], $9::text[])
             on conflict do nothing",
    )
    .bind(outgoing.iter().map(|o| o.id.into()).collect::<Vec<Uuid>>())
    .bind(outgoing.iter().map(|o| o.stream.tenant.into()).collect::<Vec<Uuid>>())
    .bind(outgoing.iter().map(|o| o.stream.kind.name()).collect::<Vec<&str>>())
    .bind(outgoing.iter().map(|o| o.stream.id).collect::<Vec<Uuid>>())
    .bind(outgoing.iter().map(|o| o.command.as_slice()).collect::<Vec<&[u8]>>())
    .bind(outgoing.iter().map(|o| o.actor.as_str()).collect::<Vec<&str>>())
    .bind(outgoing.iter().map(|o| o.correlation).collect::<Vec<Uuid>>())
    .bind(outgoing.iter().map(|o| o.backfill).collect::<Vec<bool>>())
    .bind(outgoing.iter().map(|o| o.traceparent.as_deref()).collect::<Vec<Option<&str>>>())
    .bind(bulk)
    .execute(connection)
    .await
    .doing("store outgoing commands")
    .map(drop)
}

/// Records that `actor` (such as `user:ada`) asks for history: on its way into the log when this answers well.
///
/// # Errors
/// When the database fails, or the tenant's key is not there.
pub async fn record_question(
    database: &Database,
    keyring: &Keyring,
    (tenant, actor): (TenantId, &str),
    question: Question,
) -> Result<(), SealingError> {
    let id = CommandId::from_uuid(clock::new_id());
    let command = AnyCommand::Access(Command::AskForHistory(question));
    let stream = StreamId::new(tenant, Kind::Access, access_stream(tenant, actor));
    let outgoing = Outgoing::seal(&*keyring.tenant(tenant).await?, (id, stream), actor, &command)?;
    database
        .transact(Access::Write, &[tenant], move |connection| {
            Box::pin(async move { add(connection, &[outgoing]).await })
        })
        .await?;
    Ok(())
}

#[derive(Clone, sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant: Uuid,
    kind: String,
    stream_id: Uuid,
    command: Vec<u8>,
    actor: String,
    correlation: Uuid,
    backfill: bool,
    traceparent: Option<String>,
}

impl TryFrom<Row> for Outgoing {
    type Error = DatabaseError;

    fn try_from(row: Row) -> Result<Self, DatabaseError> {
        let kind: Kind = row.kind.parse().map_err(|_| DatabaseError::Corrupt("kind of stream"))?;
        Ok(Self {
            id: CommandId::from_uuid(row.id),
            stream: StreamId::new(TenantId::from_uuid(row.tenant), kind, row.stream_id),
            command: row.command,
            actor: row.actor,
            correlation: row.correlation,
            backfill: row.backfill,
            traceparent: row.traceparent,
        })
    }
}

/// Up to `limit` waiting commands, the first stored first. Two senders may get the same: the intake deduplicates by id.
///
/// # Errors
/// When the database fails.
pub async fn waiting(connection: &mut Connection, limit: i64) -> Result<Vec<Outgoing>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, tenant, kind, stream_id, command, actor, correlation, backfill, traceparent from outbox where not bulk
          order by number limit $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read outgoing commands")?;
    rows.into_iter().map(Outgoing::try_from).collect()
}

/// Up to about `limit` commands that can wait: of each of `tenants` that has some the same share, the first stored first.
///
/// # Errors
/// When the database fails.
pub async fn waiting_bulk(
    connection: &mut Connection,
    tenants: &[TenantId],
    limit: usize,
) -> Result<Vec<Outgoing>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select o.* from unnest($1::uuid[]) as t(tenant)
          cross join lateral (select id, tenant, kind, stream_id, command, actor, correlation, backfill, traceparent, number from outbox
                               where bulk and tenant = t.tenant order by number limit $2) o
          order by o.tenant, o.number",
    )
    .bind(tenants.iter().map(|tenant| Uuid::from(*tenant)).collect::<Vec<Uuid>>())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .doing("read outgoing commands that can wait")?;
    let of_tenants: Vec<&[Row]> = rows.chunk_by(|one, other| one.tenant == other.tenant).collect();
    let share = (limit / of_tenants.len().max(1)).max(1);
    let taken = of_tenants.into_iter().flat_map(|rows| &rows[..rows.len().min(share)]);
    taken.cloned().map(Outgoing::try_from).collect()
}

/// Removes what has been sent.
///
/// # Errors
/// When the database fails.
pub async fn sent(connection: &mut Connection, sent: &[Outgoing]) -> Result<(), DatabaseError> {
    let tenants: Vec<Uuid> = sent.iter().map(|o| o.stream.tenant.into()).collect();
    let ids: Vec<Uuid> = sent.iter().map(|o| o.id.into()).collect();
    sqlx::query(
        "delete from outbox o using unnest($1::uuid[], $2::uuid[]) as u(tenant, id)
                cross join lateral (select ctid as row from outbox where (tenant, id) = (u.tenant, u.id) offset 0) b
          where o.ctid = b.row",
    )
    .bind(tenants)
    .bind(ids)
    .execute(connection)
    .await
    .doing("remove sent commands")
    .map(drop)
}
