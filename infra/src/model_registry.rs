//! Trained models, kept for ever, and what became of their predictions: artifacts, cards and reports are opaque here
//! (`ml-pipeline` writes and reads them).

use domain::{Timestamp, id::TenantId};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// A model that was trained.
pub struct NewModel<'m> {
    pub version: &'m str,
    pub artifact: &'m [u8],
    /// What people are told of it.
    pub card: Value,
    pub created_at: Timestamp,
}

/// Stores a model under its version; a version that exists stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn store(connection: &mut Connection, tenant: TenantId, model: NewModel<'_>) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into model_version (tenant, version, artifact, card, created_at) values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(Uuid::from(tenant))
    .bind(model.version)
    .bind(model.artifact)
    .bind(Json(model.card))
    .bind(model.created_at)
    .execute(connection)
    .await
    .doing("store a model")
    .map(drop)
}

/// The artifact of a version.
///
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

/// What a version of the registry predicts, as its card has it (JSON); nothing if there is no such version.
///
/// # Errors
/// When the database fails.
pub async fn target(
    connection: &mut Connection,
    tenant: TenantId,
    version: &str,
) -> Result<Option<Value>, DatabaseError> {
    let target: Option<Json<Value>> = sqlx::query_scalar(
        "select coalesce(card #> '{target}', '{\"kind\": \"notice\"}') from model_version where tenant = $1 and version = $2",
    )
    .bind(Uuid::from(tenant))
    .bind(version)
    .fetch_optional(connection)
    .await
    .doing("look for a model")?;
    Ok(target.map(|Json(target)| target))
}

/// A model of the registry, without its artifact.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ModelRow {
    pub version: String,
    pub created_at: Timestamp,
    /// Nothing for models from before cards were kept beside artifacts.
    pub card: Option<Json<Value>>,
    /// What became of its predictions, and when that was last looked at.
    pub report: Option<Json<Value>>,
    pub reported_at: Option<Timestamp>,
}

/// The models that a list shows, at most: the newest.
pub const MODELS_MAX: i64 = 100;

/// A tenant's models, the newest first; with the report of a model that is none of its own (the shared prior) last.
///
/// # Errors
/// When the database fails.
pub async fn list(connection: &mut Connection, tenant: TenantId) -> Result<Vec<ModelRow>, DatabaseError> {
    sqlx::query_as(
        "select coalesce(m.version, r.model) as version, coalesce(m.created_at, r.made_at) as created_at, m.card, r.report, r.made_at as reported_at
           from (select * from model_version where tenant = $1) m
           full join (select * from model_report where tenant = $1) r on r.model = m.version
          order by m.created_at desc nulls last, 1 limit $2",
    )
    .bind(Uuid::from(tenant))
    .bind(MODELS_MAX)
    .fetch_all(connection)
    .await
    .doing("list models")
}

/// What is known of the last time that a model's predictions were held against what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct LastReport {
    pub made_at: Timestamp,
    /// How many predictions there were.
    pub scores: i64,
    /// Whether it tells how groups fare.
    pub audited: bool,
}

/// When and how a model's predictions were last held against what happened.
///
/// # Errors
/// When the database fails.
pub async fn last_report(
    connection: &mut Connection,
    tenant: TenantId,
    model: &str,
) -> Result<Option<LastReport>, DatabaseError> {
    sqlx::query_as(
        "select made_at, coalesce((report #>> '{truth,scores}')::bigint, 0) as scores, report -> 'fairness' is not null as audited
           from model_report where tenant = $1 and model = $2",
    )
    .bind(Uuid::from(tenant))
    .bind(model)
    .fetch_optional(connection)
    .await
    .doing("look for a model's report")
}

/// Keeps what became of a model's predictions.
///
/// # Errors
/// When the database fails.
pub async fn report(
    connection: &mut Connection,
    tenant: TenantId,
    model: &str,
    made_at: Timestamp,
    report: Value,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into model_report (tenant, model, made_at, report) values ($1, $2, $3, $4)
         on conflict (tenant, model) do update set made_at = excluded.made_at, report = excluded.report",
    )
    .bind(Uuid::from(tenant))
    .bind(model)
    .bind(made_at)
    .bind(Json(report))
    .execute(connection)
    .await
    .doing("keep a model's report")
    .map(drop)
}
