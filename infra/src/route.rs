//! Which tenants there are, and which of them a connection belongs to.

use domain::id::{ConnectionId, TenantId};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// # Errors
/// When the database fails.
pub async fn tenant_of(connection: &mut Connection, of: ConnectionId) -> Result<Option<TenantId>, DatabaseError> {
    let tenant: Option<Uuid> = sqlx::query_scalar("select tenant from connection_route where connection = $1")
        .bind(Uuid::from(of))
        .fetch_optional(connection)
        .await
        .doing("look up a connection's tenant")?;
    Ok(tenant.map(TenantId::from_uuid))
}

/// # Errors
/// When the database fails.
pub async fn add(connection: &mut Connection, of: ConnectionId, tenant: TenantId) -> Result<(), DatabaseError> {
    sqlx::query("insert into connection_route (connection, tenant) values ($1, $2) on conflict do nothing")
        .bind(Uuid::from(of))
        .bind(Uuid::from(tenant))
        .execute(connection)
        .await
        .doing("remember a connection's tenant")
        .map(drop)
}

/// Every connection with its tenant.
///
/// # Errors
/// When the database fails.
pub async fn all(connection: &mut Connection) -> Result<Vec<(ConnectionId, TenantId)>, DatabaseError> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select connection, tenant from connection_route")
        .fetch_all(connection)
        .await
        .doing("list connections' tenants")?;
    Ok(rows
        .into_iter()
        .map(|(connection, tenant)| (ConnectionId::from_uuid(connection), TenantId::from_uuid(tenant)))
        .collect())
}

/// Every tenant.
///
/// # Errors
/// When the database fails.
pub async fn tenants(connection: &mut Connection) -> Result<Vec<TenantId>, DatabaseError> {
    let rows: Vec<Uuid> = sqlx::query_scalar("select tenant from tenant_directory order by tenant")
        .fetch_all(connection)
        .await
        .doing("list tenants")?;
    Ok(rows.into_iter().map(TenantId::from_uuid).collect())
}
