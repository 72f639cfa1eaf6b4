//! Systems without a connector: connecting one, and what it tells.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use domain::{
    Kind as StreamKind, Personal, StreamId,
    connection::{self, Push, Secrets, System},
    employee::{self, Source},
    id::{CommandId, ConnectionId, EmployeeId},
};
use infra::clock;
use schemas::codec::AnyCommand;
use serde::{Deserialize, Serialize};

use super::{integrations, webhooks::Received};
use crate::{
    CommandService,
    connections::Live,
    intake::{self, Content, Submission},
    problem::Problem,
    push::{
        message::{self, Message, Mode},
        signature::{self, ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER},
    },
    record,
    synchroniser::webhooks,
};

/// How old an attempt to deliver may be, in seconds, unless said otherwise: each attempt has its own time.
pub(super) const FRESHNESS_SECONDS_DEFAULT: u32 = 5 * 60;

pub fn router() -> Router<CommandService> {
    Router::new().route("/v1/integrations/webhooks", post(connect_webhooks))
}

/// A system that tells by itself.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectWebhooks {
    /// Your word for it: letters, digits and hyphens.
    name: String,
    /// Secrets that it signs with, `whsec_` and base64 of 24 to 64 bytes; several while you change over from one to the next. Left
    /// out: those in use stay, and for a new system one is made.
    #[serde(default)]
    secrets: Vec<String>,
    /// How old an attempt to deliver may be; 300 unless said otherwise.
    freshness_seconds: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ConnectedWebhooks {
    #[schema(value_type = String, format = Uuid)]
    id: ConnectionId,
    /// Where it sends to.
    webhook_url: String,
    /// The secret that was made. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Connects any system that can send webhooks, or changes its secrets.
#[utoipa::path(
    post, path = "/v1/integrations/webhooks",
    request_body = ConnectWebhooks,
    responses(
        (status = 201, body = ConnectedWebhooks),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_webhooks(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = integrations::manager(&service, &headers).await?;
    let request: ConnectWebhooks = integrations::read(body).await?;
    if request
        .secrets
        .iter()
        .any(|secret| signature::bytes_of(secret).is_none())
    {
        return Err(Problem::bad_request(
            "A secret is `whsec_` and base64 of 24 to 64 bytes",
        ));
    }
    let id = ConnectionId::derive(actor.tenant, "push", &request.name);
    let known = service.connections.refresh(id).await?;
    let (mut secrets, mut made) = (request.secrets, None);
    if secrets.is_empty() {
        // Whoever asks again must not put the secret in use out of force: what is signed with it would be refused.
        secrets = known
            .as_ref()
            .map(|known| known.secrets.webhook_keys.clone())
            .unwrap_or_default();
    }
    if secrets.is_empty() {
        secrets.push(made.insert(signature::new_secret()).clone());
    }
    let command = connection::Command::Connect {
        system: System::Push(Push {
            name: request.name,
            mapping: known.as_ref().and_then(|known| known.mapping().cloned()).map(Box::new),
            report: known.as_ref().and_then(|known| known.report().cloned()).map(Box::new),
        }),
        secrets: Personal::Open(Secrets {
            api_key: known.and_then(|known| known.secrets.api_key),
            webhook_keys: secrets,
            ..Secrets::default()
        }),
        freshness_seconds: request.freshness_seconds.unwrap_or(FRESHNESS_SECONDS_DEFAULT),
        on: clock::today(),
    };
    integrations::connect(&service, (&actor, &headers), (id, command)).await?;
    let connected = ConnectedWebhooks {
        id,
        webhook_url: webhooks::address(&service, id),
        secret: made,
    };
    Ok((StatusCode::CREATED, Json(connected)).into_response())
}

/// Whether a request comes from whoever has the secret: signed, or with the secret as bearer token.
pub(super) fn check(live: &Live, headers: &HeaderMap, body: &Bytes) -> Result<(), Problem> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let secrets = &live.secrets.webhook_keys;
    let token = text(header::AUTHORIZATION.as_str());
    let token = token
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if let Some((_, token)) = token {
        return if signature::is_secret(secrets, token.trim()) {
            Ok(())
        } else {
            Err(not_authentic("the bearer token is none of this connection's secrets"))
        };
    }
    let signed = Signed {
        id: text(ID_HEADER),
        timestamp: text(TIMESTAMP_HEADER),
        signature: text(SIGNATURE_HEADER),
    };
    let fresh = (clock::now(), live.freshness_seconds);
    signature::verify(secrets, body, signed, fresh).map_err(|problem| not_authentic(&problem.to_string()))?;
    if message::mode(headers) == Mode::Binary {
        return Err(Problem::bad_request(
            "What an event is stands in headers in binary mode, which the signature does not cover: send it structured, or with the secret as bearer token",
        ));
    }
    Ok(())
}

/// All messages of an authentic request, or none.
pub(super) async fn take_in(
    service: &CommandService,
    live: &Live,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Received, Problem> {
    let messages = message::parse(message::mode(headers), headers, body);
    let messages = messages.map_err(|problem| Problem::bad_request(problem.to_string()))?;
    let trace = super::traceparent(headers);
    let mut submissions = Vec::with_capacity(messages.len());
    for (index, one) in messages.into_iter().enumerate() {
        let submission = submission(live, one);
        let submission =
            submission.map_err(|problem| Problem::bad_request(format!("data of event {index}: {problem}")))?;
        submissions.push(Submission {
            traceparent: trace.clone(),
            ..submission
        });
    }
    let accepted = submissions.len();
    intake::submit(&service.interactive, &service.keyring, submissions).await?;
    Ok(Received { accepted })
}

fn submission(live: &Live, message: Message) -> Result<Submission, record::RecordProblem> {
    let source = Source {
        connection: live.id,
        remote_id: message.record.id.clone(),
    };
    let employee = EmployeeId::derive(live.tenant, live.id, &source.remote_id);
    let as_of = message.at.unwrap_or_else(clock::now).date_naive();
    let snapshot = record::snapshot(message.record, message.kind, (live.tenant, source, as_of))?;
    let actor = intake::push_actor(live.id);
    // The same message is the same command, however often it is sent.
    let id = CommandId::derive(live.tenant, &actor, &message.id);
    let command = employee::Command::Synchronise(Box::new(snapshot));
    Ok(Submission {
        id,
        stream: StreamId::new(live.tenant, StreamKind::Employee, employee),
        actor,
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(AnyCommand::Employee(command))),
    })
}

fn not_authentic(reason: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "bad-signature",
        "The message is not proven to come from the connected system",
        "Sign it as Standard Webhooks has it, or send the secret as bearer token; and check that the address is the one that connecting answered",
    )
    .with("reason", reason.to_owned())
}
