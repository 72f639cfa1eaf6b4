//! `GET /analytics/model-performance`: the models with their cards, and what became of their predictions, as JSON.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::policy::Permission;
use infra::{model_registry, read_model::settings};
use serde_json::json;

use crate::{Inner, access::Viewer, error::Problem};

/// Figures over everybody, no names: for whoever may see aggregates.
pub async fn model_performance(State(api): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    match answer(&api, &headers).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(api: &Inner, headers: &HeaderMap) -> Result<Response, Response> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let refused = |problem: Problem| problem.into_response();
    let actor = api
        .verifier
        .actor(authorization)
        .await
        .map_err(|error| refused(error.into()))?;
    let viewer = Viewer(actor);
    if !viewer.may(Permission::SeeAggregates) {
        return Err(StatusCode::FORBIDDEN.into_response());
    }
    let tenant = viewer.0.tenant;
    let read = api.store.read(tenant, move |connection| {
        Box::pin(async move {
            let settings = settings::load(connection, tenant).await?;
            Ok((settings, model_registry::list(connection, tenant).await?))
        })
    });
    let (settings, rows) = read.await.map_err(|error| {
        tracing::error!(%error, "model performance could not be read: {error}");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
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
    let in_use = settings.and_then(|settings| settings.model);
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(json!({"inUse": in_use, "models": models}))).into_response())
}
