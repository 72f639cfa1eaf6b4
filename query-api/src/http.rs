//! GraphQL over HTTP: media types, status codes, who asks, how fresh, how long.

use std::{sync::Arc, time::Instant};

use async_graphql::{
    Request as GraphRequest, Response as GraphResponse, Value, Variables, http::GraphiQLSource, parser::parse_query,
};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use infra::telemetry::{self, REQUEST_ID};
use serde::Deserialize;

use crate::{
    Inner,
    access::Viewer,
    error::{self, ApiError, Problem, SharedError},
    freshness::MinPosition,
    graphql::{equip, past::Purpose},
    limits::{self, BODY_BYTES_MAX, DEADLINE, Shape},
    socket,
};

/// The header that names the position an answer must have seen.
pub const MIN_POSITION: HeaderName = HeaderName::from_static("tenure-min-position");
/// The header that says what history is wanted for.
const PURPOSE: HeaderName = HeaderName::from_static("tenure-purpose");
const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    /// Status codes mean something.
    GraphqlResponse,
    /// Before there was a media type of its own: 200 whenever there is a GraphQL answer.
    Legacy,
}

impl Media {
    /// The one that the client likes best; nothing said means the legacy one.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut said_anything = false;
        let mut best: Option<(f32, Self)> = None;
        for value in headers.get_all(header::ACCEPT) {
            for range in value.to_str().unwrap_or_default().split(',') {
                said_anything = true;
                let mut parts = range.split(';').map(str::trim);
                let media = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                    GRAPHQL_RESPONSE => Self::GraphqlResponse,
                    JSON | "application/*" | "*/*" => Self::Legacy,
                    _ => continue,
                };
                let quality = parts
                    .find_map(|part| part.strip_prefix("q="))
                    .and_then(|q| q.parse::<f32>().ok())
                    .unwrap_or(1.0);
                let better = best.is_none_or(|(known, of)| {
                    quality > known || (quality == known && media == Self::GraphqlResponse && of == Self::Legacy)
                });
                if quality > 0.0 && better {
                    best = Some((quality, media));
                }
            }
        }
        if said_anything {
            best.map(|(_, media)| media)
        } else {
            Some(Self::Legacy)
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Legacy => "application/json; charset=utf-8",
        }
    }
}

/// The body of a request. One operation: a list (a batch) does not read.
#[derive(Deserialize)]
pub struct Asked {
    query: String,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, serde_json::Value>>,
}

pub async fn post(State(api): State<Arc<Inner>>, request: Request) -> Response {
    let begun = Instant::now();
    let request_id = request_id(request.headers());
    let (response, kind, outcome) = match answer(&api, request, &request_id).await {
        Ok(answered) => answered,
        Err(problem) => (problem.into_response(), "none", "refused"),
    };
    observe(begun, kind, outcome);
    harden(response, &request_id)
}

/// Metrics by kind and outcome only: no word of a user becomes a label.
pub fn observe(begun: Instant, kind: &'static str, outcome: &'static str) {
    metrics::histogram!("tenure_graphql_seconds", "kind" => kind, "outcome" => outcome)
        .record(begun.elapsed().as_secs_f64());
}

fn harden(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

async fn answer(
    api: &Inner,
    request: Request,
    request_id: &str,
) -> Result<(Response, &'static str, &'static str), Problem> {
    let (parts, body) = request.into_parts();
    let media = Media::accepted(&parts.headers).ok_or(Problem::NotAcceptable)?;
    if !is_json(&parts.headers) {
        return Err(Problem::UnsupportedMediaType);
    }
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let viewer = Viewer(api.verifier.actor(authorization).await?);
    let min_position = min_position(&parts.headers)?;
    let said = parts
        .headers
        .get(PURPOSE)
        .and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let purpose = Purpose(said.map(str::to_owned));
    let body = read(body).await?;
    let asked: Asked = serde_json::from_slice(&body).map_err(|_| {
        Problem::BadRequest(
            "the body is one JSON object with `query`, and `operationName` and `variables` if needed".to_owned(),
        )
    })?;
    let prepared = match prepare(asked) {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(write(media, *refused, request_id, "invalid")),
    };
    let kind = prepared.kind();
    if prepared.shape.subscribes {
        let refused = error::refusal(ApiError::bad_input(
            "subscriptions go over a WebSocket (graphql-transport-ws) at this address",
        ));
        return Ok(write(
            media,
            Refused {
                response: refused,
                status: StatusCode::UNPROCESSABLE_ENTITY,
            },
            request_id,
            kind,
        ));
    }
    let executed = async {
        if let Some(min_position) = min_position {
            api.freshness.wait(min_position).await?;
        }
        let request = equip(prepared.request, viewer, &api.store).data(purpose);
        let schema = api
            .schemas
            .introspection
            .as_ref()
            .filter(|_| prepared.shape.introspects)
            .unwrap_or(&api.schemas.main);
        tokio::time::timeout(DEADLINE, schema.execute(request))
            .await
            .map_err(|_| SharedError::from(ApiError::Deadline))
    };
    let response = executed.await.unwrap_or_else(error::refusal);
    Ok(write(
        media,
        Refused {
            response,
            status: StatusCode::UNPROCESSABLE_ENTITY,
        },
        request_id,
        kind,
    ))
}

/// A parsed request within its limits.
pub struct Prepared {
    pub request: GraphRequest,
    pub shape: Shape,
}

impl Prepared {
    pub const fn kind(&self) -> &'static str {
        match self.shape {
            Shape { subscribes: true, .. } => "subscription",
            Shape { introspects: true, .. } => "introspection",
            Shape { .. } => "query",
        }
    }
}

/// An answer, and the status it gets if nothing was executed.
pub struct Refused {
    pub response: GraphResponse,
    status: StatusCode,
}

/// Parses the document and checks what must be checked before anyone walks it.
pub fn prepare(asked: Asked) -> Result<Prepared, Box<Refused>> {
    let document = parse_query(&asked.query).map_err(|error| {
        let error: async_graphql::ServerError = error.into();
        Box::new(Refused {
            response: GraphResponse::from_errors(vec![error]),
            status: StatusCode::BAD_REQUEST,
        })
    })?;
    let shape = limits::check(&document, asked.operation_name.as_deref()).map_err(|error| {
        Box::new(Refused {
            response: error::refusal(ApiError::bad_input(error.to_string())),
            status: StatusCode::UNPROCESSABLE_ENTITY,
        })
    })?;
    let mut request = GraphRequest::new(asked.query);
    if let Some(variables) = asked.variables {
        request = request.variables(Variables::from_json(serde_json::Value::Object(variables)));
    }
    if let Some(name) = asked.operation_name {
        request = request.operation_name(name);
    }
    request.set_parsed_query(document);
    Ok(Prepared { request, shape })
}

fn write(
    media: Media,
    refused: Refused,
    request_id: &str,
    kind: &'static str,
) -> (Response, &'static str, &'static str) {
    let response = error::mask(refused.response, request_id);
    let code = error::first_code(&response);
    let retry = matches!(code, Some("NOT_FRESH" | "UNAVAILABLE" | "DEADLINE")) && response.data == Value::Null;
    let status = if retry {
        StatusCode::SERVICE_UNAVAILABLE
    } else if media == Media::GraphqlResponse && error::is_request_error(&response) {
        refused.status
    } else {
        StatusCode::OK
    };
    let outcome = outcome(code);
    let body = serde_json::to_vec(&response).unwrap_or_default();
    let mut http = (status, [(header::CONTENT_TYPE, media.name())], body).into_response();
    if retry {
        http.headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    (http, kind, outcome)
}

/// An answer's outcome, for metrics.
pub fn outcome(code: Option<&str>) -> &'static str {
    match code {
        None => "ok",
        Some("FORBIDDEN") => "forbidden",
        Some("BAD_INPUT" | "INVALID") => "invalid",
        Some("NOT_FRESH") => "not_fresh",
        Some("DEADLINE") => "deadline",
        Some("UNAVAILABLE") => "unavailable",
        Some(_) => "failed",
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case(JSON))
}

fn min_position(headers: &HeaderMap) -> Result<Option<MinPosition>, Problem> {
    let Some(value) = headers.get(MIN_POSITION) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(MinPosition::parse);
    parsed.map(Some).ok_or_else(|| {
        Problem::BadRequest(
            "Tenure-Min-Position is a log position, or the freshness token of a command (partition.position)"
                .to_owned(),
        )
    })
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Problem::TooLarge)
}

fn request_id(headers: &HeaderMap) -> String {
    telemetry::request_id(headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()))
}

/// WebSockets; in development, a page to try queries on.
pub async fn get(State(api): State<Arc<Inner>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let request_id = request_id(&parts.headers);
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        return socket::accept(upgrade, api, request_id);
    }
    let wants_html = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if api.development && wants_html {
        return Html(
            GraphiQLSource::build()
                .endpoint("/graphql")
                .subscription_endpoint("/graphql")
                .title("Tenure")
                .finish(),
        )
        .into_response();
    }
    harden(Problem::MethodNotAllowed.into_response(), &request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &[&'static str]) -> HeaderMap {
        accept
            .iter()
            .map(|value| (header::ACCEPT, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_best_acceptable_media_type_is_chosen() {
        let of = |accept: &[&'static str]| Media::accepted(&accepting(accept));
        assert_eq!(of(&[]), Some(Media::Legacy));
        assert_eq!(
            of(&["application/graphql-response+json, application/json;q=0.9"]),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            of(&["application/json, application/graphql-response+json"]),
            Some(Media::GraphqlResponse)
        );
        assert_eq!(
            of(&["application/json", "application/graphql-response+json;q=0.5"]),
            Some(Media::Legacy)
        );
        assert_eq!(of(&["*/*"]), Some(Media::Legacy));
        assert_eq!(of(&["text/html"]), None);
        assert_eq!(of(&["application/json;q=0"]), None);
    }

    #[test]
    fn only_json_is_taken() {
        let of = |value| {
            is_json(
                &[(header::CONTENT_TYPE, HeaderValue::from_static(value))]
                    .into_iter()
                    .collect(),
            )
        };
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        assert!(!of("text/plain") && !of("application/graphql") && !is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_batch_does_not_read() {
        assert!(serde_json::from_str::<Asked>(r#"[{"query": "{ status { logHead } }"}]"#).is_err());
        assert!(serde_json::from_str::<Asked>(r#"{"query": "{ status { logHead } }", "variables": null}"#).is_ok());
    }
}
