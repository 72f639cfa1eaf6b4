//! Users' commands: `POST /v1/employees/{id}/{command}`, `POST /v1/tenant/{command}`,
//! `POST /v1/programs/{id}/{command}`, `GET /v1/commands/{id}`.

use std::time::{Duration, Instant};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{
    Kind, StreamId,
    id::{CommandId, EmployeeId, ProgramId, TenantId},
    policy::{self, Actor, Permission, Reach},
};
use infra::{
    clock,
    database::Access,
    model_registry,
    outcome::{self, Outcome, Verdict},
    read_model::readiness,
};
use schemas::{codec::AnyCommand, topics};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{COMMAND_BYTES_MAX, WAIT_DEFAULT, WAIT_MAX};
use crate::{
    CommandService, actor_name,
    intake::{self, Content, Submission},
    problem::Problem,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Answered with a command's outcome, and taken by GraphQL as `Tenure-Min-Position`: read your own writes.
const POSITION: HeaderName = HeaderName::from_static("tenure-position");
/// Says that facts are imported history: known from the day on which they were true.
const BACKFILL: &str = "tenure-backfill";
const KEY_CHARS_MAX: usize = 255;
/// How often a waiting request looks for its outcome.
const POLL: Duration = Duration::from_millis(10);

pub fn router() -> Router<CommandService> {
    Router::new()
        .route("/v1/employees/{id}/{command}", post(employee_command))
        .route("/v1/tenant/{command}", post(tenant_command))
        .route("/v1/programs/{id}/{command}", post(program_command))
        .route("/v1/commands/{id}", get(status))
}

#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeWord {
    /// Not decided yet.
    Pending,
    Accepted,
}

/// A command and what became of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CommandAnswer {
    #[schema(value_type = String, format = Uuid)]
    id: CommandId,
    outcome: OutcomeWord,
    /// The freshness token, as in the header `Tenure-Position`; none if nothing changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// The stream's revision after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

/// Sends a command about an employee.
///
/// `give-notice`, `complete-assessment`, `record-review`, `answer-survey`, `give-recognition`, `record-absence`,
/// `record-overtime`, `write-note`, `object-to-scoring`, `withdraw-objection`, `erase`, and `review-risk`.
/// Waits for the outcome (5 s; `Prefer: wait=n`), or answers at once with `Prefer: respond-async`.
#[utoipa::path(
    post, path = "/v1/employees/{id}/{command}",
    params(
        ("id" = String, Path, description = "The employee"),
        ("command" = String, Path, description = "What to do"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client: the same request under the same key counts once"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, or `wait=n` in seconds"),
    ),
    request_body(content = Object, description = "The command's fields; every one has `on`, a date"),
    responses(
        (status = 200, body = CommandAnswer, description = "Done"),
        (status = 202, body = CommandAnswer, description = "Durable; see `Location`"),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
        (status = 409, body = inline(super::ProblemDocument), description = "A rule was broken; nothing changed"),
        (status = 422, body = inline(super::ProblemDocument), description = "This Idempotency-Key was used for another request"),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn employee_command(
    State(service): State<CommandService>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let nobody = || Problem::not_found("There is no employee with this id, or none whom you may see");
    let employee: EmployeeId = id.parse().map_err(|_| nobody())?;
    let fields = fields(body).await?;
    let (command, permission) = if name == "review-risk" {
        let command = command(Kind::Risk, &name, fields)?;
        let AnyCommand::Risk(risk) = &command else {
            return Err(unknown_command(&name));
        };
        let permission = policy::for_risk_command(risk);
        (command, permission)
    } else {
        let command = command(Kind::Employee, &name, fields)?;
        let AnyCommand::Employee(employee) = &command else {
            return Err(unknown_command(&name));
        };
        let permission = policy::for_employee_command(employee);
        (command, permission)
    };
    let permission = permission.ok_or_else(|| unknown_command(&name))?;
    require(&actor, permission)?;
    if !reaches(&service, &actor, employee).await? {
        return Err(nobody());
    }
    let stream = StreamId::new(actor.tenant, command.kind(), employee);
    send(&service, &actor, &headers, stream, command).await
}

/// Changes the tenant's settings: `change-settings` (bands), `promote-model`, or `challenge` (a model that runs beside the one
/// in use, unseen; null ends that).
#[utoipa::path(
    post, path = "/v1/tenant/{command}",
    params(("command" = String, Path), ("Idempotency-Key" = String, Header)),
    request_body(content = Object),
    responses(
        (status = 200, body = CommandAnswer),
        (status = 202, body = CommandAnswer),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 409, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn tenant_command(
    State(service): State<CommandService>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let command = command(Kind::Tenant, &name, fields(body).await?)?;
    let AnyCommand::Tenant(tenant) = &command else {
        return Err(unknown_command(&name));
    };
    require(
        &actor,
        match tenant {
            domain::tenant::Command::Create { .. } | domain::tenant::Command::ChangeSettings { .. } => {
                Permission::ManageTenant
            }
            domain::tenant::Command::PromoteModel { .. } | domain::tenant::Command::Challenge { .. } => {
                Permission::ManageModels
            }
        },
    )?;
    if let domain::tenant::Command::PromoteModel { model, .. }
    | domain::tenant::Command::Challenge { model: Some(model), .. } = tenant
    {
        in_registry(&service, actor.tenant, model, None).await?;
    }
    let stream = StreamId::new(actor.tenant, Kind::Tenant, actor.tenant);
    send(&service, &actor, &headers, stream, command).await
}

/// Only a model that is there, and that answers the question (of a career program; none: the flight risk), can be promoted:
/// scores would stop, or be about something else.
async fn in_registry(
    service: &CommandService,
    tenant: TenantId,
    version: &str,
    asked: Option<ProgramId>,
) -> Result<(), Problem> {
    let wanted = version.to_owned();
    let (found, program) = service
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                let found = model_registry::target(connection, tenant, &wanted).await?;
                let program = match asked {
                    Some(id) => readiness::load_program(connection, tenant, id.uuid()).await?,
                    None => None,
                };
                Ok((found, program))
            })
        })
        .await
        .map_err(|error| Problem::internal(&error))?;
    let Some(found) = found else {
        return Err(Problem::bad_request(format!(
            "there is no model {version} in the registry: GraphQL `models` lists those that there are"
        )));
    };
    let answers = match (asked, &program) {
        (None, _) => found.get("kind").is_some_and(|kind| kind == "notice"),
        (Some(_), Some(program)) => found.get("paths") == Some(&json!([program.path()])),
        // Not there, or not projected yet: the aggregate knows; and the scorer uses no model that tells something else.
        (Some(_), None) => true,
    };
    if answers {
        Ok(())
    } else {
        Err(Problem::bad_request(format!(
            "the model {version} was trained for something else: GraphQL `models` lists each with its target and program"
        )))
    }
}

/// Defines, changes or closes a career program: `define` (`name`, `path` with the job titles `from` and `to`), `close`,
/// `promote-model`, or `challenge` (a model that runs beside the one in use, unseen; null ends that). The id is yours to
/// choose: a UUID.
#[utoipa::path(
    post, path = "/v1/programs/{id}/{command}",
    params(
        ("id" = String, Path, description = "The program"),
        ("command" = String, Path),
        ("Idempotency-Key" = String, Header),
    ),
    request_body(content = Object),
    responses(
        (status = 200, body = CommandAnswer),
        (status = 202, body = CommandAnswer),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 409, body = inline(super::ProblemDocument), description = "A rule was broken; nothing changed"),
    ),
    security(("bearer" = []))
)]
pub async fn program_command(
    State(service): State<CommandService>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let program: ProgramId = id
        .parse()
        .map_err(|_| Problem::bad_request("a program's id is a UUID, such as 7d9f3c1e-2f4b-4c7a-9e55-0d1b2c3a4f5e"))?;
    let command = command(Kind::Program, &name, fields(body).await?)?;
    let AnyCommand::Program(wanted) = &command else {
        return Err(unknown_command(&name));
    };
    require(&actor, policy::for_program_command(wanted))?;
    if let domain::program::Command::PromoteModel { model, .. }
    | domain::program::Command::Challenge { model: Some(model), .. } = wanted
    {
        in_registry(&service, actor.tenant, model, Some(program)).await?;
    }
    let stream = StreamId::new(actor.tenant, Kind::Program, program);
    send(&service, &actor, &headers, stream, command).await
}

/// What became of a command.
#[utoipa::path(
    get, path = "/v1/commands/{id}",
    params(("id" = String, Path, description = "As answered when the command was sent")),
    responses(
        (status = 200, body = CommandAnswer),
        (status = 409, body = inline(super::ProblemDocument), description = "It broke a rule"),
        (status = 404, body = inline(super::ProblemDocument), description = "Not decided yet, or never sent"),
    ),
    security(("bearer" = []))
)]
pub async fn status(
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let actor = super::actor(&service.verifier, &headers).await?;
    let unknown = || {
        Problem::not_found(
            "No command with this id has been decided here. If you have just sent it, ask again in a moment.",
        )
    };
    let id: CommandId = id.parse().map_err(|_| unknown())?;
    let outcome = find(&service, &actor, id).await?.ok_or_else(unknown)?;
    answer(&service, &outcome).await
}

/// The id of the command that a request sends.
pub(super) fn command_id(actor: &Actor, headers: &HeaderMap) -> Result<CommandId, Problem> {
    let key = idempotency_key(headers)?;
    Ok(CommandId::derive(actor.tenant, &actor_name(actor), &key))
}

/// Sends a command and waits for what becomes of it, as the client prefers.
pub(super) async fn send(
    service: &CommandService,
    actor: &Actor,
    headers: &HeaderMap,
    stream: StreamId,
    command: AnyCommand,
) -> Result<Response, Problem> {
    let asked = serde_json::to_vec(&command).map_err(|error| Problem::internal(&error))?;
    send_asked(service, (actor, headers), (stream, command), &asked).await
}

/// The first answer again, if the same was asked for before under its key. `asked` is what the client sent, and nothing that was found out.
pub(super) async fn answered(
    service: &CommandService,
    (actor, headers): (&Actor, &HeaderMap),
    (stream, asked): (&StreamId, &[u8]),
) -> Result<Option<Response>, Problem> {
    let id = command_id(actor, headers)?;
    match find(service, actor, id).await? {
        Some(outcome) => replay(service, &outcome, &fingerprint(stream, asked, false))
            .await
            .map(Some),
        None => Ok(None),
    }
}

/// As [`send`], for a command that has more in it than what the client `asked` for.
pub(super) async fn send_asked(
    service: &CommandService,
    (actor, headers): (&Actor, &HeaderMap),
    (stream, command): (StreamId, AnyCommand),
    asked: &[u8],
) -> Result<Response, Problem> {
    let id = command_id(actor, headers)?;
    let backfill = headers.get(BACKFILL).is_some_and(|value| value == "true");
    if backfill {
        require(actor, Permission::Backfill)?;
    }
    let fingerprint = fingerprint(&stream, asked, backfill);
    if let Some(outcome) = find(service, actor, id).await? {
        return replay(service, &outcome, &fingerprint).await;
    }
    let submission = Submission {
        id,
        stream,
        actor: actor_name(actor),
        correlation: id.uuid(),
        traceparent: super::traceparent(headers),
        backfill,
        fingerprint: Some(fingerprint.clone()),
        content: Content::Command(Box::new(command)),
    };
    intake::submit(&service.interactive, &service.keyring, vec![submission]).await?;
    let deadline = Instant::now() + wait(headers);
    while Instant::now() < deadline && !service.shutdown.is_cancelled() {
        // The command is durable: if its outcome cannot be looked up now, that is no failure of the command.
        match tokio::time::timeout_at(deadline.into(), find(service, actor, id)).await {
            Ok(Ok(Some(outcome))) => return replay(service, &outcome, &fingerprint).await,
            Ok(Ok(None) | Err(_)) | Err(_) => {
                tokio::select! { () = service.shutdown.cancelled() => {}, () = tokio::time::sleep(POLL) => {} }
            }
        }
    }
    let pending = CommandAnswer {
        id,
        outcome: OutcomeWord::Pending,
        position: None,
        revision: None,
    };
    let location = HeaderValue::from_str(&format!("/v1/commands/{id}")).map_err(|error| Problem::internal(&error))?;
    Ok((
        StatusCode::ACCEPTED,
        [
            (header::LOCATION, location),
            (header::RETRY_AFTER, HeaderValue::from_static("1")),
        ],
        Json(pending),
    )
        .into_response())
}

/// The first answer again, if it is to the same request.
async fn replay(service: &CommandService, outcome: &Outcome, fingerprint: &str) -> Result<Response, Problem> {
    if outcome.fingerprint.as_deref().is_some_and(|first| first != fingerprint) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "This Idempotency-Key was used for another request",
            "Choose a new key for a new request; repeat a request unchanged under its old one",
        ));
    }
    answer(service, outcome).await
}

async fn answer(service: &CommandService, outcome: &Outcome) -> Result<Response, Problem> {
    match &outcome.verdict {
        Verdict::Accepted { position, revision } => {
            let token = match position {
                Some(position) => {
                    let partitions = service
                        .interactive
                        .partitions(topics::EVENTS)
                        .await
                        .map_err(|error| Problem::internal(&error))?;
                    let partition = topics::partition(topics::key(&outcome.stream).as_bytes(), partitions);
                    Some(format!("{partition}.{position}"))
                }
                None => None,
            };
            let body = CommandAnswer {
                id: outcome.command,
                outcome: OutcomeWord::Accepted,
                position: token.clone(),
                revision: Some(*revision),
            };
            let mut response = Json(body).into_response();
            if let Some(value) = token.and_then(|token| HeaderValue::from_str(&token).ok()) {
                response.headers_mut().insert(POSITION, value);
            }
            Ok(response)
        }
        Verdict::Rejected { rule } => Err(Problem::new(
            StatusCode::CONFLICT,
            "rejected",
            "The command breaks a rule; nothing was changed",
            rule.clone(),
        )
        .with("command", outcome.command.to_string())),
    }
}

async fn find(service: &CommandService, actor: &Actor, id: CommandId) -> Result<Option<Outcome>, Problem> {
    let tenant = actor.tenant;
    let found = service
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { outcome::find(connection, &[(tenant, id)]).await })
        })
        .await?;
    Ok(found.into_iter().next())
}

pub(super) fn require(actor: &Actor, permission: Permission) -> Result<(), Problem> {
    if actor.may(permission) {
        Ok(())
    } else {
        Err(Problem::forbidden(format!(
            "The role {} may not do this",
            actor.role.name()
        )))
    }
}

/// Whether the actor's permissions reach this employee. Asked of the read model: authorisation may lag a change of manager
/// by a moment, `decide` never looks there.
pub(super) async fn reaches(service: &CommandService, actor: &Actor, employee: EmployeeId) -> Result<bool, Problem> {
    match actor.reach() {
        Reach::WholeTenant => Ok(true),
        Reach::Nobody => Ok(false),
        Reach::TeamOf(manager) => {
            let tenant = actor.tenant;
            let rows = service
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(async move {
                        infra::read_model::employee::load(connection, &[(tenant, employee.uuid())]).await
                    })
                })
                .await?;
            Ok(rows.first().is_some_and(|row| row.manager == Some(manager.uuid())))
        }
    }
}

/// The body as an object. Decoded once, here: unknown fields are refused by the command's own type.
async fn fields(body: Body) -> Result<Map<String, Value>, Problem> {
    let bytes = axum::body::to_bytes(body, COMMAND_BYTES_MAX).await.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The command is too large",
            format!("A command may have {COMMAND_BYTES_MAX} bytes"),
        )
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("The body must be a JSON object: {error}")))
}

fn command(kind: Kind, name: &str, mut fields: Map<String, Value>) -> Result<AnyCommand, Problem> {
    if fields.contains_key("command") {
        return Err(Problem::bad_request(
            "`command` is not a field: it is the last part of the address",
        ));
    }
    fields
        .entry("on")
        .or_insert_with(|| Value::String(clock::today().to_string()));
    fields.insert("command".to_owned(), Value::String(name.to_owned()));
    let mut tagged = Map::new();
    tagged.insert("kind".to_owned(), Value::String(kind.name().to_owned()));
    tagged.insert("command".to_owned(), Value::Object(fields));
    serde_json::from_value(Value::Object(tagged)).map_err(|error| {
        let words = error.to_string();
        if words.starts_with("unknown variant") {
            unknown_command(name)
        } else {
            Problem::bad_request(format!("The command {name} does not read: {words}"))
        }
    })
}

fn unknown_command(name: &str) -> Problem {
    let name: String = name.chars().take(50).collect();
    Problem::not_found(format!(
        "There is no command {name:?} to send here; the OpenAPI document lists them"
    ))
}

/// A structured-field string, with or without its quotes.
fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let missing = || {
        Problem::bad_request(
            "Send an `Idempotency-Key`: any text of your choice, new for each request, the same when you repeat one",
        )
    };
    let key = headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(missing)?
        .trim()
        .trim_matches('"');
    if key.is_empty() || key.len() > KEY_CHARS_MAX {
        return Err(Problem::bad_request(format!(
            "An Idempotency-Key has 1 to {KEY_CHARS_MAX} characters"
        )));
    }
    Ok(key.to_owned())
}

fn fingerprint(stream: &StreamId, content: &[u8], backfill: bool) -> String {
    let digest = Sha256::new()
        .chain_update(stream.to_string())
        .chain_update([u8::from(backfill)])
        .chain_update(content)
        .finalize();
    intake::hex(&digest)
}

/// RFC 7240: `respond-async` does not wait, `wait=n` waits n seconds, within bounds.
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    let preferences = || {
        headers
            .get_all("prefer")
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    };
    if preferences().any(|preference| preference.eq_ignore_ascii_case("respond-async")) {
        return Duration::ZERO;
    }
    let seconds = preferences().find_map(|preference| preference.strip_prefix("wait=")?.parse().ok());
    seconds.map_or(WAIT_DEFAULT, |seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_body_is_a_command_s_fields() {
        let read = command(
            Kind::Employee,
            "record-review",
            map(json!({"on": "2026-01-10", "rating": 4})),
        )
        .expect("a command");
        assert!(
            matches!(read, AnyCommand::Employee(domain::employee::Command::RecordReview(review)) if review.rating.open() == Some(&4))
        );
    }

    #[test]
    fn what_is_no_command_says_why() {
        let refused = |name: &str, fields: Value| {
            command(Kind::Employee, name, map(fields))
                .expect_err("refused")
                .status()
        };
        assert_eq!(refused("promote-to-king", json!({})), StatusCode::NOT_FOUND);
        assert_eq!(
            refused("record-review", json!({"on": "2026-01-10"})),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            refused(
                "record-review",
                json!({"on": "2026-01-10", "rating": 4, "is_admin": true})
            ),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            refused("record-review", json!({"command": "erase"})),
            StatusCode::BAD_REQUEST
        );
    }

    #[test]
    fn a_key_may_be_quoted() {
        let mut headers = HeaderMap::new();
        assert!(idempotency_key(&headers).is_err());
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("\"8e03978e\""));
        assert_eq!(idempotency_key(&headers).expect("a key"), "8e03978e");
    }

    #[test]
    fn waiting_is_bounded() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(value));
            wait(&headers)
        };
        assert_eq!(with("respond-async, wait=10"), Duration::ZERO);
        assert_eq!(with("wait=2"), Duration::from_secs(2));
        assert_eq!(with("wait=9999"), WAIT_MAX);
        assert_eq!(wait(&HeaderMap::new()), WAIT_DEFAULT);
    }
}
