//! `/health`, `/health/detailed`, `/health/ml-models` and `/metrics`.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use infra::{
    broker::Brokers,
    database::{Access, Database, DatabaseError},
    model_registry,
    read_model::settings,
    route,
    telemetry::Metrics,
};
use projection_workers::lag;
use serde_json::{Value, json};

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

/// The model that each tenant is scored with, how old it is, and when it was last held against what happened.
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
        let (settings, rows) = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    let settings = settings::load(connection, tenant).await?;
                    Ok((settings, model_registry::list(connection, tenant).await?))
                })
            })
            .await?;
        let version = settings.and_then(|settings| settings.model);
        let used = rows.iter().find(|row| match &version {
            Some(version) => row.version == *version,
            None => row.card.is_none(),
        });
        models.push(json!({
            "tenant": tenant,
            "model": version.as_deref().unwrap_or("shared prior"),
            "trained_at": used.filter(|_| version.is_some()).map(|row| row.created_at),
            "reported_at": used.and_then(|row| row.reported_at),
            "findings": used.and_then(|row| row.report.as_ref()?.0.get("words").cloned()),
        }));
    }
    Ok(models)
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        health.metrics.render(),
    )
}
