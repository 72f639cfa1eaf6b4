//! `/health`, `/health/detailed` and `/metrics`.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use infra::{broker::Brokers, database::Database, telemetry::Metrics};
use projection_workers::lag;
use serde_json::json;

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

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        health.metrics.render(),
    )
}
