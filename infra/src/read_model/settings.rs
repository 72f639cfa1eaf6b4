//! `tenant_settings` and `connection`: small tables, a row at a time.

use domain::{Timestamp, id::TenantId, tenant::Bands};
use sqlx::types::Json;
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct SettingsRow {
    pub tenant: Uuid,
    pub name: String,
    pub bands: Json<Bands>,
    /// The version of the model in use; none: the shared prior.
    pub model: Option<String>,
    /// The version that runs beside it, unseen.
    pub challenger: Option<String>,
    pub position: i64,
}

/// # Errors
/// When the database fails.
pub async fn load(connection: &mut Connection, tenant: TenantId) -> Result<Option<SettingsRow>, DatabaseError> {
    sqlx::query_as("select * from tenant_settings where tenant = $1")
        .bind(Uuid::from(tenant))
        .fetch_optional(connection)
        .await
        .doing("load a tenant's settings")
}

/// # Errors
/// When the database fails.
pub async fn upsert(connection: &mut Connection, row: &SettingsRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into tenant_settings (tenant, name, bands, model, challenger, position) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant) do update set name = excluded.name, bands = excluded.bands, model = excluded.model,
            challenger = excluded.challenger, position = excluded.position",
    )
    .bind(row.tenant)
    .bind(&row.name)
    .bind(row.bands)
    .bind(&row.model)
    .bind(&row.challenger)
    .bind(row.position)
    .execute(connection)
    .await
    .doing("write a tenant's settings")
    .map(drop)
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ConnectionRow {
    pub tenant: Uuid,
    pub id: Uuid,
    pub vendor: String,
    pub company_domain: String,
    /// `CONNECTED`, `FAILING` or `DISCONNECTED`.
    pub status: String,
    pub last_cause: Option<String>,
    pub synchronised_at: Option<Timestamp>,
    pub employees: Option<i64>,
    pub position: i64,
}

/// # Errors
/// When the database fails.
pub async fn load_connection(
    connection: &mut Connection,
    tenant: TenantId,
    id: Uuid,
) -> Result<Option<ConnectionRow>, DatabaseError> {
    sqlx::query_as("select * from connection where tenant = $1 and id = $2")
        .bind(Uuid::from(tenant))
        .bind(id)
        .fetch_optional(connection)
        .await
        .doing("load a connection")
}

/// A tenant's connections.
///
/// # Errors
/// When the database fails.
pub async fn list_connections(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Vec<ConnectionRow>, DatabaseError> {
    sqlx::query_as("select * from connection where tenant = $1 order by vendor, company_domain")
        .bind(Uuid::from(tenant))
        .fetch_all(connection)
        .await
        .doing("list connections")
}

/// # Errors
/// When the database fails.
pub async fn upsert_connection(connection: &mut Connection, row: &ConnectionRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into connection (tenant, id, vendor, company_domain, status, last_cause, synchronised_at, employees, position)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (tenant, id) do update set vendor = excluded.vendor, company_domain = excluded.company_domain, status = excluded.status,
            last_cause = excluded.last_cause, synchronised_at = excluded.synchronised_at, employees = excluded.employees, position = excluded.position",
    )
    .bind(row.tenant)
    .bind(row.id)
    .bind(&row.vendor)
    .bind(&row.company_domain)
    .bind(&row.status)
    .bind(&row.last_cause)
    .bind(row.synchronised_at)
    .bind(row.employees)
    .bind(row.position)
    .execute(connection)
    .await
    .doing("write a connection")
    .map(drop)
}

/// Wraps a value for a JSON column.
pub const fn json<T>(value: T) -> Json<T> {
    Json(value)
}
