//! Trained models, kept for ever: artifacts are opaque here (`ml-pipeline` reads them).

use domain::{Timestamp, id::TenantId};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// Stores an artifact under its version; a version that exists stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn store(
    connection: &mut Connection,
    tenant: TenantId,
    version: &str,
    artifact: &[u8],
    created_at: Timestamp,
) -> Result<(), DatabaseError> {
    sqlx::query("insert into model_version (tenant, version, artifact, created_at) values ($1, $2, $3, $4) on conflict do nothing")
        .bind(Uuid::from(tenant))
        .bind(version)
        .bind(artifact)
        .bind(created_at)
        .execute(connection)
        .await
        .doing("store a model")
        .map(drop)
}

/// # Errors
/// When the database fails.
pub async fn load(
    connection: &mut Connection,
    tenant: TenantId,
    version: &str,
) -> Result<Option<Vec<u8>>, DatabaseError> {
    sqlx::query_scalar("select artifact from model_version where tenant = $1 and version = $2")
        .bind(Uuid::from(tenant))
        .bind(version)
        .fetch_optional(connection)
        .await
        .doing("load a model")
}
