//! The HTTP surface: a router per noun, merged.

mod commands;
mod integrations;
mod webhooks;

use std::time::{Duration, Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::HeaderMap,
    middleware::{self, Next},
    response::Response,
};
use domain::policy::Actor;
use infra::auth::Verifier;
use utoipa::OpenApi;

use crate::{CommandService, problem::Problem};

/// The largest command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;
/// How long a command waits for its outcome unless the client says otherwise, and at most.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(5);
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// The whole surface of this service.
pub fn router(service: CommandService) -> Router {
    Router::new()
        .merge(webhooks::router())
        .merge(commands::router())
        .merge(integrations::router())
        .with_state(service)
        .layer(middleware::from_fn(measure))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenure: commands and intake",
        description = "Webhooks, users' commands and connections. Reading is done over GraphQL at /graphql.",
        license(name = "Apache-2.0")
    ),
    paths(
        webhooks::receive,
        commands::employee_command,
        commands::tenant_command,
        commands::status,
        integrations::connect_bamboohr
    ),
    components(schemas(
        integrations::ConnectBambooHr,
        integrations::Connected,
        commands::CommandAnswer,
        commands::OutcomeWord,
        webhooks::Received,
        ProblemDocument
    ))
)]
struct ApiDocument;

/// RFC 9457.
#[derive(utoipa::ToSchema)]
#[schema(as = Problem)]
#[expect(
    dead_code,
    reason = "describes `problem::Problem` to readers of the OpenAPI document"
)]
struct ProblemDocument {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
}

/// The OpenAPI document, as JSON.
///
/// # Errors
/// When it does not serialise, which it does.
pub fn openapi() -> Result<String, serde_json::Error> {
    ApiDocument::openapi().to_pretty_json().map(|json| json + "\n")
}

async fn actor(verifier: &Verifier, headers: &HeaderMap) -> Result<Actor, Problem> {
    let authorization = headers
        .get(axum::http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    Ok(verifier.actor(authorization).await?)
}

/// Counts and times requests by route and status: no identifiers, so that the number of series stays small.
async fn measure(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = path.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::histogram!("tenure_http_seconds", "route" => route, "status" => status)
        .record(started.elapsed().as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn golden_openapi() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/openapi.json");
        let now = super::openapi().expect("a document");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &now).expect("written");
        }
        let committed = std::fs::read_to_string(path).expect("schemas/openapi.json");
        assert!(
            committed == now,
            "the HTTP contract changed: run `just golden` and review the difference"
        );
    }
}
