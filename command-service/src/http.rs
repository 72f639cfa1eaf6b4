//! The HTTP surface: a router per noun, merged.

mod commands;
mod files;
mod integrations;
mod pay_changes;
mod push;
mod scim;
mod webhooks;

use std::time::{Duration, Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue},
    middleware::{self, Next},
    response::Response,
};
use domain::{id::TenantId, policy::Actor};
use infra::{
    auth::Verifier,
    telemetry::{self, REQUEST_ID},
};
use tracing::Instrument;
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
        .merge(pay_changes::router())
        .merge(push::router())
        .merge(files::router())
        .merge(scim::router())
        .with_state(service)
        .layer(middleware::from_fn(observe))
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
        commands::program_command,
        commands::status,
        pay_changes::request_pay_change,
        pay_changes::decide_pay_change,
        integrations::connect_bamboohr,
        integrations::connect_workday,
        integrations::connect_gusto,
        integrations::connect_adp,
        integrations::ask_source,
        push::connect_webhooks,
        scim::connect_scim,
        files::propose,
        files::connect_files,
        files::mapping,
        files::import
    ),
    components(schemas(
        integrations::ConnectBambooHr,
        integrations::Connected,
        integrations::ConnectWorkday,
        integrations::ConnectGusto,
        integrations::ConnectAdp,
        integrations::Asked,
        integrations::Begun,
        push::ConnectWebhooks,
        push::ConnectedWebhooks,
        scim::ConnectScim,
        scim::ConnectedScim,
        files::Proposed,
        files::ConnectFiles,
        files::ConnectedFiles,
        files::FetchedReport,
        files::Report,
        files::ProblemOfRow,
        files::Preview,
        files::PreviewedEvent,
        files::Outcome,
        commands::CommandAnswer,
        commands::OutcomeWord,
        pay_changes::RequestPayChange,
        pay_changes::Rate,
        pay_changes::DecidePayChange,
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
    let actor = verifier.actor(authorization).await?;
    log_tenant(actor.tenant);
    Ok(actor)
}

/// Counts and times requests by route and status (no identifiers, so that the number of series stays small), and names each in
/// the logs that it causes and in its answer.
async fn observe(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = path.map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = telemetry::request_id(given);
    let span = tracing::info_span!("request", request_id = id, route, tenant = tracing::field::Empty);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let status = response.status().as_u16().to_string();
    metrics::histogram!("tenure_http_seconds", "route" => route, "status" => status)
        .record(started.elapsed().as_secs_f64());
    response
}

/// Whose request this is, for its logs.
fn log_tenant(tenant: TenantId) {
    tracing::Span::current().record("tenant", tracing::field::display(tenant));
}

/// The trace that the caller is in: it travels with the command into the log (W3C Trace Context, version 00:
/// `00-<32 hexadecimal digits>-<16>-<2>`). Anything else is as if it had not been sent, as the standard says.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = given.split('-').collect();
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_some = |part: &str| part.bytes().any(|b| b != b'0');
    match parts.as_slice() {
        ["00", trace, parent, flags]
            if is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2) && is_some(trace) && is_some(parent) =>
        {
            Some(given.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn only_a_well_formed_trace_is_passed_on() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            super::traceparent(&headers)
        };
        // The standard's own example: https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(with(example).as_deref(), Some(example));
        for wrong in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "Ada Lovelace",
        ] {
            assert_eq!(with(wrong), None, "{wrong}");
        }
    }

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
