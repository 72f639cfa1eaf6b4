//! Tokens of connections whose refresh token changes with every exchange: one row for all processes, sealed.

use std::time::Duration;

use domain::{
    Timestamp,
    id::{ConnectionId, TenantId},
};
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

/// Of whoever may exchange the token now.
#[derive(Debug, Clone)]
pub struct Claim {
    until: Timestamp,
    /// The sealed content as it is now, if there is any.
    pub content: Option<Vec<u8>>,
}

/// A claim, if the token may be exchanged here and now: nobody else may, for [`LEASE`].
///
/// # Errors
/// When the database fails.
pub async fn claim(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
) -> Result<Option<Claim>, DatabaseError> {
    let claimed: Option<(Vec<u8>, Timestamp)> = sqlx::query_as(
        "insert into connection_token as t (tenant, connection, content, renewing_until) values ($1, $2, '', now() + make_interval(secs => $3))
         on conflict (tenant, connection) do update set renewing_until = excluded.renewing_until where t.renewing_until < now()
         returning content, renewing_until",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(LEASE.as_secs_f64())
    .fetch_optional(connection)
    .await
    .doing("claim a connection's token")?;
    Ok(claimed.map(|(content, until)| Claim {
        until,
        content: Some(content).filter(|content| !content.is_empty()),
    }))
}

/// Keeps what came of the exchange, if anything did, and ends the claim. Answers whether it was still ours.
///
/// # Errors
/// When the database fails.
pub async fn keep(
    connection: &mut Connection,
    (tenant, of): (TenantId, ConnectionId),
    (claim, content): (&Claim, Option<&[u8]>),
) -> Result<bool, DatabaseError> {
    let kept = sqlx::query(
        "update connection_token set content = coalesce($3, content), renewing_until = '-infinity'
          where tenant = $1 and connection = $2 and renewing_until = $4",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(content)
    .bind(claim.until)
    .execute(connection)
    .await
    .doing("keep a connection's token")?;
    Ok(kept.rows_affected() > 0)
}
