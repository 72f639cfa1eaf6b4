//! `/health`, `/health/detailed`, `/health/ml-models` and `/metrics`.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use domain::id::TenantId;
use infra::{
    broker::Brokers,
    database::{Access, Database, DatabaseError},
    model_registry::{self, ModelRow},
    read_model::{readiness, settings},
    route,
    telemetry::Metrics,
};
use projection_workers::lag;
use serde_json::{Value, json};

/// What is told of a tenant that has no model of its own.
const SHARED_PRIOR: &str = "shared prior";

/// What health is asked of. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    pub database: Database,
    pub brokers: Brokers,
    pub metrics: Metrics,
    pub role: &'static str,
}

pub fn router(health: Health) -> Router {
    Router::new()
        .route("/health", get(ready))
        .route("/health/detailed", get(detailed))
        .route("/health/ml-models", get(models))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// 200 when this process can do its work: what it needs answers.
async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let (database, kafka) = tokio::join!(health.database.is_up(), health.brokers.are_up());
    let status = if database && kafka {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"status": if database && kafka { "ok" } else { "unavailable" }})),
    )
}

/// What answers, and how far each part is behind.
async fn detailed(State(health): State<Health>) -> impl IntoResponse {
    let (database, kafka, standing) = tokio::join!(
        health.database.is_up(),
        health.brokers.are_up(),
        lag::standing(&health.database)
    );
    let up = |up: bool| if up { "up" } else { "down" };
    let status = if database && kafka {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": if database && kafka { "ok" } else { "unavailable" },
        "role": health.role,
        "version": env!("CARGO_PKG_VERSION"),
        "database": up(database),
        "kafka": up(kafka),
        "standing": standing.ok(),
    });
    (status, Json(body))
}

/// The models that each tenant's people are scored with, by question (the flight risk, each open program), how old each is, and
/// when it was last held against what happened.
async fn models(State(health): State<Health>) -> impl IntoResponse {
    match used_models(&health.database).await {
        Ok(models) => (StatusCode::OK, Json(json!({"status": "ok", "models": models}))),
        Err(error) => {
            tracing::error!(%error, "models could not be read: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable"})))
        }
    }
}

async fn used_models(database: &Database) -> Result<Vec<Value>, DatabaseError> {
    let tenants = database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    let mut models = Vec::new();
    for tenant in tenants {
        let (settings, programs, rows) = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    let settings = settings::load(connection, tenant).await?;
                    let programs = readiness::programs(connection, tenant).await?;
                    Ok((settings, programs, model_registry::list(connection, tenant).await?))
                })
            })
            .await?;
        let version = settings.and_then(|settings| settings.model);
        models.push(used(
            tenant,
            "flight risk",
            version.as_deref().unwrap_or(SHARED_PRIOR),
            &rows,
        ));
        for program in programs.iter().filter(|program| program.is_open()) {
            if let Some(version) = &program.model {
                models.push(used(tenant, &program.name, version, &rows));
            }
        }
    }
    Ok(models)
}

fn used(tenant: TenantId, of: &str, version: &str, rows: &[ModelRow]) -> Value {
    let row = if version == SHARED_PRIOR {
        // The prior is no model of a tenant's: its row is there for its reports, one for each prior that was ever in use.
        rows.iter()
            .filter(|row| row.card.is_none())
            .max_by_key(|row| row.reported_at)
    } else {
        rows.iter().find(|row| row.version == version)
    };
    json!({
        "tenant": tenant,
        "of": of,
        "model": version,
        "trained_at": row.filter(|row| row.card.is_some()).map(|row| row.created_at),
        "reported_at": row.and_then(|row| row.reported_at),
        "findings": row.and_then(|row| row.report.as_ref()?.0.get("words").cloned()),
    })
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        health.metrics.render(),
    )
}
