//! `POST /v1/webhooks/{connection}`: verify, read, seal, send; 202 when Kafka has it. What is sent by systems without a connector is
//! read in [`super::push`].

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use domain::{
    Kind as StreamKind, StreamId,
    connection::System,
    id::{CommandId, ConnectionId, EmployeeId},
};
use infra::clock;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    CommandService,
    bamboohr::{
        payload::{self, BODY_BYTES_MAX, Message, Notification},
        signature::{self, SIGNATURE_HEADER, SignatureProblem, TIMESTAMP_HEADER},
    },
    connections::Live,
    intake::{self, Content, Notified, Submission, Unreadable},
    problem::Problem,
};

pub fn router() -> Router<CommandService> {
    Router::new().route("/v1/webhooks/{connection}", post(receive))
}

/// What was taken in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Received {
    /// How many people the webhook told of.
    pub(super) accepted: usize,
}

/// Takes a webhook of BambooHR (event-based or field-based, JSON or form, one person or many), or what a system without a connector
/// tells (Standard Webhooks, CloudEvents; docs/webhooks.md).
///
/// 202 means durable. The same webhook again is answered the same and counts once.
#[utoipa::path(
    post, path = "/v1/webhooks/{connection}",
    params(
        ("connection" = String, Path, description = "The id that connecting answered"),
        ("X-BambooHR-Timestamp" = Option<String>, Header, description = "BambooHR: Unix seconds or ISO 8601; part of what is signed"),
        ("X-BambooHR-Signature" = Option<String>, Header, description = "BambooHR: hexadecimal HMAC-SHA256 of the body followed by the timestamp"),
        ("webhook-id" = Option<String>, Header, description = "Standard Webhooks: the same for every attempt"),
        ("webhook-timestamp" = Option<String>, Header, description = "Standard Webhooks: Unix seconds of the attempt"),
        ("webhook-signature" = Option<String>, Header, description = "Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over id.timestamp.body"),
    ),
    request_body(content = String, content_type = "application/json"),
    responses(
        (status = 202, body = Received, description = "Durable; processed soon"),
        (status = 400, body = inline(super::ProblemDocument), description = "Authentic, but not to be understood: kept, and listed by `tenure parked`"),
        (status = 401, body = inline(super::ProblemDocument), description = "Unknown connection, wrong signature, or too old"),
        (status = 413, body = inline(super::ProblemDocument), description = "Too large"),
        (status = 503, body = inline(super::ProblemDocument), description = "Nothing was taken in; the sender tries again"),
    )
)]
pub async fn receive(
    State(service): State<CommandService>,
    Path(connection): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let outcome = take_in(&service, &connection, &headers, body).await;
    let word = match &outcome {
        Ok(_) => "accepted",
        Err(problem) => match problem.status() {
            StatusCode::UNAUTHORIZED => "unauthorised",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            status if status.is_client_error() => "refused",
            _ => "failed",
        },
    };
    metrics::counter!("tenure_webhooks_total", "outcome" => word).increment(1);
    outcome.map(|received| (StatusCode::ACCEPTED, Json(received)).into_response())
}

async fn take_in(
    service: &CommandService,
    connection: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Problem> {
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| too_large())?;
    // An unknown connection and a wrong signature are answered alike: nobody learns which connections exist.
    let id: ConnectionId = connection.parse().map_err(|_| not_authentic())?;
    let mut live = service.connections.find(id).await?.ok_or_else(not_authentic)?;
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (timestamp, signed) = (text(TIMESTAMP_HEADER), text(SIGNATURE_HEADER));
    let check = |live: &Live| match live.system {
        System::BambooHr(_) => signature::verify(
            &live.secrets.webhook_keys,
            &body,
            timestamp,
            signed,
            clock::now(),
            live.freshness_seconds,
        )
        .map_err(|problem| refusal(&problem)),
        System::Push(_) => super::push::check(live, headers, &body),
        // An identity provider sends no webhooks.
        System::Scim(_) | System::Workday(_) | System::Gusto(_) | System::Adp(_) => Err(not_authentic()),
    };
    let mut verdict = check(&live);
    if verdict.is_err()
        && let Ok(Some(fresh)) = service.connections.refresh(id).await
    {
        // A key may have been added a moment ago: a 4xx would lose the event for good.
        live = fresh;
        verdict = check(&live);
    }
    verdict?;
    super::log_tenant(live.tenant);
    match live.system {
        System::BambooHr(_) | System::Scim(_) | System::Workday(_) | System::Gusto(_) | System::Adp(_) => {}
        System::Push(_) => return super::push::take_in(service, &live, headers, &body).await,
    }
    let trace = super::traceparent(headers);

    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match payload::parse(content_type, &body) {
        Ok(Message::Employees(notifications)) => {
            let accepted = notifications.len();
            let submissions = notifications
                .into_iter()
                .enumerate()
                .map(|(index, notification)| Submission {
                    traceparent: trace.clone(),
                    ..submission(&live, &body, timestamp, index, notification)
                })
                .collect();
            intake::submit(&service.interactive, &service.keyring, submissions).await?;
            Ok(Received { accepted })
        }
        Ok(Message::Company { kind }) => {
            tracing::info!(connection = %live.id, kind, "connection {} told of its account: {kind}", live.id);
            Ok(Received { accepted: 0 })
        }
        Err(problem) => {
            let id = command_id(&live, &body, timestamp, "unreadable");
            let content = Content::Unreadable(Unreadable::new(
                content_type.map(str::to_owned),
                &body,
                problem.to_string(),
            ));
            let stream = intake::connection_stream(live.tenant, live.id);
            intake::submit(
                &service.interactive,
                &service.keyring,
                vec![with(&live, id, stream, content)],
            )
            .await?;
            Err(Problem::bad_request(format!(
                "{problem}. The message was kept; `tenure parked` lists it."
            )))
        }
    }
}

fn submission(live: &Live, body: &Bytes, timestamp: &str, index: usize, notification: Notification) -> Submission {
    let employee = EmployeeId::derive(live.tenant, live.id, &notification.remote_id);
    let id = command_id(live, body, timestamp, &index.to_string());
    let stream = StreamId::new(live.tenant, StreamKind::Employee, employee);
    with(
        live,
        id,
        stream,
        Content::Notification(Box::new(Notified {
            connection: live.id,
            notification,
        })),
    )
}

/// The same body with the same timestamp is the same message, however often it is sent.
fn command_id(live: &Live, body: &Bytes, timestamp: &str, part: &str) -> CommandId {
    let content = Sha256::new().chain_update(body).chain_update(timestamp).finalize();
    let content: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
    CommandId::derive(
        live.tenant,
        &format!("bamboohr:{}", live.id),
        &format!("{content}|{part}"),
    )
}

fn with(live: &Live, id: CommandId, stream: StreamId, content: Content) -> Submission {
    Submission {
        id,
        stream,
        actor: format!("bamboohr:{}", live.id),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content,
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The webhook is too large",
        format!("A webhook may have {BODY_BYTES_MAX} bytes: let it post fewer employees or fields at once"),
    )
}

fn not_authentic() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "bad-signature",
        "The webhook's signature does not fit",
        "Check that the webhook's private key was given to Tenure for this connection, and that the address is the one that connecting answered",
    )
}

fn refusal(problem: &SignatureProblem) -> Problem {
    match problem {
        SignatureProblem::Stale { .. } => Problem::new(
            StatusCode::UNAUTHORIZED,
            "stale",
            "The webhook is too old",
            problem.to_string(),
        ),
        _ => not_authentic().with("reason", problem.to_string()),
    }
}
