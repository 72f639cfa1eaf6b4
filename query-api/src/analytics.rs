//! `GET /analytics/model-performance`: the models with their cards, and what became of their predictions, as JSON.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use domain::policy::Permission;
use infra::{
    model_registry,
    read_model::{readiness, settings},
};
use serde_json::json;

use crate::{Inner, access::Viewer, error::Problem};

/// Figures over everybody, no names: for whoever may see aggregates.
pub async fn model_performance(State(api): State<Arc<Inner>>, headers: HeaderMap) -> Result<Response, Problem> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let viewer = Viewer(api.verifier.actor(authorization).await?);
    if !viewer.may(Permission::SeeAggregates) {
        return Err(Problem::Forbidden);
    }
    let tenant = viewer.0.tenant;
    let read = api.store.read(tenant, move |connection| {
        Box::pin(async move {
            let settings = settings::load(connection, tenant).await?;
            let programs = readiness::programs(connection, tenant).await?;
            Ok((settings, programs, model_registry::list(connection, tenant).await?))
        })
    });
    let (settings, programs, rows) = read.await.map_err(|error| {
        tracing::error!(%error, "model performance could not be read: {error}");
        Problem::Unavailable
    })?;
    let models: Vec<_> = rows
        .into_iter()
        .map(|row| {
            json!({
                "version": row.version,
                "createdAt": row.created_at,
                "card": row.card,
                "reportedAt": row.reported_at,
                "performance": row.report,
            })
        })
        .collect();
    let (in_use, challenger) = settings.map_or((None, None), |settings| (settings.model, settings.challenger));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    let programs: Vec<_> = programs
        .into_iter()
        .map(
            |program| json!({"id": program.id, "name": program.name, "status": program.status, "inUse": program.model, "challenger": program.challenger}),
        )
        .collect();
    let answer = json!({"inUse": in_use, "challenger": challenger, "programs": programs, "models": models});
    Ok((headers, Json(answer)).into_response())
}
