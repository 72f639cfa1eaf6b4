//! Tokens of connections whose refresh token changes with every exchange: one row for all processes, sealed.

use std::time::Duration;

use domain::id::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// How long whoever exchanges a token has for it, before another may.
pub const LEASE: Duration = Duration::from_secs(60);

/// Where the sealed content belongs.
#[must_use]
pub fn place(connection: ConnectionId) -> String {
    format!("token|{connection}")
}

/// The sealed content, if there is any.
///
/// # Errors
/// When the database fails.
pub async fn load(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
) -> Result<Option<Vec<u8>>, DatabaseError> {
    let content: Option<Vec<u8>> =
        sqlx::query_scalar("select content from connection_token where tenant = $1 and connection = $2")
            .bind(Uuid::from(tenant))
            .bind(Uuid::from(of))
            .fetch_optional(connection)
            .await
            .doing("read a connection's token")?;
    Ok(content.filter(|content| !content.is_empty()))
}

/// Whether the token may be exchanged here and now: nobody else may, for [`LEASE`].
///
/// # Errors
/// When the database fails.
pub async fn claim(connection: &mut Connection, (tenant, of): (TenantId, ConnectionId)) -> Result<bool, DatabaseError> {
    let claimed = sqlx::query(
        "insert into connection_token as t (tenant, connection, content, renewing_until) values ($1, $2, '', now() + make_interval(secs => $3))
         on conflict (tenant, connection) do update set renewing_until = excluded.renewing_until where t.renewing_until < now()",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(LEASE.as_secs_f64())
    .execute(connection)
    .await
    .doing("claim a connection's token")?;
    Ok(claimed.rows_affected() > 0)
}

/// Keeps what came of the exchange, if anything did, and ends the claim.
///
/// # Errors
/// When the database fails.
pub async fn keep(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
    content: Option<&[u8]>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update connection_token set content = coalesce($3, content), renewing_until = '-infinity' where tenant = $1 and connection = $2",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(content)
    .execute(connection)
    .await
    .doing("keep a connection's token")
    .map(drop)
}
