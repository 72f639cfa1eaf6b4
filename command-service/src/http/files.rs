//! Files: what their columns say, trying one, and taking one in.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{
    Date, Personal,
    connection::{self, Mapping, Push, Secrets, System},
    employee::Said,
    id::ConnectionId,
    personal::OPEN_MARKER,
    policy::Actor,
};
use infra::{
    clock,
    connection_task::{self, Task},
    database::Access,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;

use super::{commands, integrations, push::FRESHNESS_SECONDS_DEFAULT};
use crate::{
    CommandService,
    connections::Live,
    files::{
        import::{self, Upload},
        people::{self, Origin, People, RowProblem},
        preview, proposal,
        table::{self, FILE_BYTES_MAX, FileProblem, Hints, Table},
    },
    intake,
    problem::Problem,
    record::said,
    source,
};

/// The most problems that are told one by one; as CSV all are.
const PROBLEMS_TOLD_MAX: usize = 1_000;

pub fn router() -> Router<CommandService> {
    Router::new()
        .route("/v1/files/proposal", post(propose))
        .route("/v1/integrations/files", post(connect_files))
        .route("/v1/connections/{connection}/mapping", get(mapping))
        .route("/v1/connections/{connection}/files", post(import))
}

/// How a file is to be read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    sheet: Option<String>,
    #[serde(default)]
    dry_run: bool,
    as_of: Option<Date>,
}

/// A mapping that the file suggests.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Proposed {
    rows: usize,
    /// See docs/files.md.
    #[schema(value_type = Object)]
    mapping: Mapping,
    /// Headers of columns that nothing was found for.
    unread: Vec<String>,
    /// What somebody has to decide or to add.
    unclear: Vec<String>,
}

/// Suggests how a file is to be read. Nothing of it is kept.
#[utoipa::path(
    post, path = "/v1/files/proposal",
    params(("sheet" = Option<String>, Query, description = "Of a workbook; the first that is visible without it")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "CSV, or an Excel workbook (.xlsx)"),
    responses(
        (status = 200, body = Proposed),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 413, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn propose(
    State(service): State<CommandService>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    integrations::manager(&service, &headers).await?;
    let (bytes, encoding) = (whole(body).await?, encoding(&headers));
    let _alone = turn(&service).await?;
    let proposed = blocking(move || {
        let table = table::read(&bytes, hints(encoding.as_deref(), &asked))?;
        let proposal = proposal::propose(&table);
        Ok::<_, FileProblem>(Proposed {
            rows: table.rows.len(),
            mapping: proposal.mapping,
            unread: proposal.unread,
            unclear: proposal.unclear,
        })
    });
    Ok(Json(proposed.await?.map_err(of_file)?).into_response())
}

/// A source of files.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectFiles {
    /// Your word for it: letters, digits and hyphens. The name of a system that sends webhooks is that system: people are the same.
    name: String,
    /// How its files are read: see docs/files.md.
    #[schema(value_type = Object)]
    mapping: Mapping,
    /// Where Tenure fetches the file from, if nobody sends it. Left out, it stays as it is; `null` ends it.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<FetchedReport>)]
    report: Said<FetchedReport>,
}

/// A report that a system gives to whoever asks for it, such as Workday's reports as a service.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchedReport {
    /// With its prompts; of Workday's with `format=csv` or `format=json`.
    url: String,
    user: String,
    password: String,
    /// 24 unless said otherwise.
    every_hours: Option<u16>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ConnectedFiles {
    #[schema(value_type = String, format = Uuid)]
    id: ConnectionId,
    /// Where its files are sent to.
    files_url: String,
}

/// Connects a source of files, or changes how they are read.
#[utoipa::path(
    post, path = "/v1/integrations/files",
    request_body = ConnectFiles,
    responses(
        (status = 201, body = ConnectedFiles),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_files(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = integrations::manager(&service, &headers).await?;
    let request: ConnectFiles = integrations::read(body).await?;
    let id = ConnectionId::derive(actor.tenant, "push", &request.name);
    let known = service.connections.refresh(id).await?;
    let freshness = known.as_ref().map(|known| known.freshness_seconds);
    let (report, password) = match request.report {
        Some(Some(FetchedReport {
            url,
            user,
            password,
            every_hours,
        })) => {
            // Refuses addresses to which the password must not be sent.
            source::address_with_query(&url).map_err(|problem| Problem::bad_request(problem.to_string()))?;
            let every_hours = every_hours.unwrap_or(connection::Report::EVERY_HOURS);
            (Some(connection::Report { url, user, every_hours }), Some(password))
        }
        Some(None) => (None, None),
        None => {
            let report = known.as_ref().and_then(Live::report).cloned();
            (report, known.as_ref().and_then(|known| known.secrets.api_key.clone()))
        }
    };
    let is_fetched = report.is_some();
    let command = connection::Command::Connect {
        system: System::Push(Push {
            name: request.name,
            mapping: Some(Box::new(request.mapping)),
            report: report.map(Box::new),
        }),
        // Webhooks that it also sends stay as they are.
        secrets: Personal::Open(Secrets {
            api_key: password,
            webhook_keys: known.map(|known| known.secrets.webhook_keys).unwrap_or_default(),
            ..Secrets::default()
        }),
        freshness_seconds: freshness.unwrap_or(FRESHNESS_SECONDS_DEFAULT),
        on: clock::today(),
    };
    integrations::connect(&service, (&actor, &headers), (id, command)).await?;
    if is_fetched {
        // Whoever changes it wants to see what comes of it.
        let (of, tenants) = ((actor.tenant, id), [actor.tenant]);
        let hastened = service.database.transact(Access::Write, &tenants, move |connection| {
            Box::pin(connection_task::hasten(connection, of, Task::Report))
        });
        hastened.await?;
        service.tasks_wanted.notify_one();
    }
    let files_url = format!("{}/v1/connections/{id}/files", service.public_url);
    Ok((StatusCode::CREATED, Json(ConnectedFiles { id, files_url })).into_response())
}

/// How the files of a source are read.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/mapping",
    params(("connection" = String, Path, description = "The connection")),
    responses(
        (status = 200, body = Object, description = "See docs/files.md"),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn mapping(
    State(service): State<CommandService>,
    Path(connection): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let actor = integrations::manager(&service, &headers).await?;
    let (_, mapping) = source_of(&service, &actor, &connection).await?;
    Ok(Json(mapping).into_response())
}

/// What became of a file.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Report {
    rows: usize,
    /// Of whom all rows could be read.
    people: usize,
    rows_with_problems: usize,
    /// The first 1,000. With `accept: text/csv` the rows come back, each with what is wrong with it.
    problems: Vec<ProblemOfRow>,
    /// Headers of columns that are not read.
    unread: Vec<String>,
    /// Of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Preview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// What is wrong with a row.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemOfRow {
    /// Where it begins in the file, counted from 1.
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    problem: String,
}

/// What would happen.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Preview {
    /// How many people were looked at: all, or the first 1,000.
    people: usize,
    /// Of whom the file says nothing new.
    unchanged: usize,
    /// How many events of each type.
    events: BTreeMap<String, usize>,
    /// The first 50.
    first: Vec<PreviewedEvent>,
}

/// An event that would happen.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PreviewedEvent {
    /// Of the person's first row.
    line: usize,
    event: String,
    effective_on: Date,
    #[schema(value_type = Object)]
    data: Value,
}

/// What happened, by people.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct Outcome {
    changed: usize,
    unchanged: usize,
    /// By a rule: each is among the problems.
    refused: usize,
    /// Taken in and durable, and not judged yet.
    pending: usize,
}

/// Takes a file in, or says what it would change (`dry_run=true`).
///
/// Who has a row with a problem is left out; everybody else is taken in. Waits for what becomes of them (5 s; `Prefer: wait=n`).
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files",
    params(
        ("connection" = String, Path, description = "The connection"),
        ("dry_run" = Option<bool>, Query, description = "Says what would change, and changes nothing"),
        ("as_of" = Option<String>, Query, description = "The day on which what has no day of its own is true; today without it"),
        ("sheet" = Option<String>, Query, description = "Of a workbook; the first that is visible without it"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same file under the same key counts once"),
        ("Accept" = Option<String>, Header, description = "`text/csv`: the rows with problems come back, to be mended and sent again"),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, or `wait=n` in seconds"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "CSV, or an Excel workbook (.xlsx)"),
    responses(
        (status = 200, body = Report, description = "Done, or tried"),
        (status = 202, body = Report, description = "Durable, and not all judged yet"),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
        (status = 413, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn import(
    State(service): State<CommandService>,
    Path(connection): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = integrations::manager(&service, &headers).await?;
    let (live, mapping) = source_of(&service, &actor, &connection).await?;
    let as_of = asked.as_of.unwrap_or_else(clock::today);
    if as_of > clock::today() {
        return Err(Problem::bad_request(
            "as_of lies ahead: a file says what is so, with days for what will be",
        ));
    }
    let origin = Origin {
        tenant: live.tenant,
        connection: live.id,
        as_of,
    };
    let (bytes, encoding, dry_run) = (whole(body).await?, encoding(&headers), asked.dry_run);
    let _alone = turn(&service).await?;
    let read = blocking(move || {
        let table = table::read(&bytes, hints(encoding.as_deref(), &asked))?;
        let people = people::read(&table, &mapping, origin)?;
        Ok::<_, FileProblem>((table, people, intake::hex(&Sha256::digest(&bytes))))
    });
    let (
        table,
        People {
            people,
            mut problems,
            unread,
        },
        digest,
    ) = read.await?.map_err(of_file)?;
    let (mut preview, mut outcome) = (None, None);
    if dry_run {
        let would = preview::preview((&service.database, &service.keyring), &people, origin).await;
        let mut would = would.map_err(|error| Problem::internal(&error))?;
        problems.append(&mut would.problems);
        preview = Some(shown(would, &table));
    } else {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        let upload = Upload {
            service: &service,
            live: &live,
            // Another file under the same key is another.
            key: key.map(|key| format!("{key} {digest}")),
            traceparent: super::traceparent(&headers),
        };
        let ids = upload.submit(&people).await?;
        let until = tokio::time::Instant::now() + commands::wait(&headers);
        let decided = upload.decided(&people, ids, until).await?;
        problems.extend(decided.problems);
        outcome = Some(Outcome {
            changed: decided.changed,
            unchanged: decided.unchanged,
            refused: decided.refused,
            pending: decided.pending,
        });
    }
    problems.sort_by_key(|problem| problem.row);
    let status = match &outcome {
        Some(Outcome { pending: 1.., .. }) => StatusCode::ACCEPTED,
        Some(_) | None => StatusCode::OK,
    };
    if wants_csv(&headers) {
        return Ok((
            status,
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8")],
            import::to_mend(&table, &problems),
        )
            .into_response());
    }
    let mut with_problems: Vec<usize> = problems.iter().map(|problem| problem.row).collect();
    with_problems.dedup();
    let report = Report {
        rows: table.rows.len(),
        people: people.len(),
        rows_with_problems: with_problems.len(),
        problems: told(problems, &table),
        unread,
        preview,
        outcome,
    };
    Ok((status, Json(report)).into_response())
}

/// The connection, if it is the caller's and takes files.
async fn source_of(service: &CommandService, actor: &Actor, connection: &str) -> Result<(Live, Mapping), Problem> {
    let nothing = || {
        Problem::not_found(
            "There is no such connection, or it takes no files: POST /v1/integrations/files connects one",
        )
    };
    let id: ConnectionId = connection.parse().map_err(|_| nothing())?;
    let live = service.connections.refresh(id).await?;
    let live = live.filter(|live| live.tenant == actor.tenant).ok_or_else(nothing)?;
    let mapping = live.mapping().cloned().ok_or_else(nothing)?;
    Ok((live, mapping))
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, FILE_BYTES_MAX).await.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The file is too large, or did not come whole",
            format!(
                "A file may have {} MB: send it in several",
                FILE_BYTES_MAX / 1024 / 1024
            ),
        )
    })
}

/// Waits until no other file is worked on.
async fn turn(service: &CommandService) -> Result<SemaphorePermit<'_>, Problem> {
    let closed = |_| Problem::unavailable("Tenure is ending: send the file again");
    service.files.acquire().await.map_err(closed)
}

/// Reading a large file takes seconds, in which others are to be answered.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::internal(&error))
}

fn of_file(problem: FileProblem) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-file",
        "The file cannot be read",
        problem.to_string(),
    )
}

/// The encoding that the content type names.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    table::charset(content_type).map(str::to_owned)
}

fn hints<'a>(encoding: Option<&'a str>, asked: &'a Asked) -> Hints<'a> {
    Hints {
        encoding,
        sheet: asked.sheet.as_deref(),
    }
}

fn wants_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.to_ascii_lowercase().starts_with("text/csv"))
}

fn shown(would: preview::Preview, table: &Table) -> Preview {
    let first = would.first.into_iter().map(|event| PreviewedEvent {
        line: table.rows[event.row].line,
        event: event.event_type,
        effective_on: event.effective_on,
        data: readable(event.payload),
    });
    Preview {
        people: would.people,
        unchanged: would.unchanged,
        events: would.events,
        first: first.collect(),
    }
}

/// Without the marks of what is sealed in the log: whoever sent the file knows it.
fn readable(value: Value) -> Value {
    match value {
        Value::Object(mut object) => match object.remove(OPEN_MARKER) {
            Some(open) => readable(open),
            None => object
                .into_iter()
                .map(|(name, value)| (name, readable(value)))
                .collect(),
        },
        Value::Array(values) => values.into_iter().map(readable).collect(),
        value => value,
    }
}

fn told(problems: Vec<RowProblem>, table: &Table) -> Vec<ProblemOfRow> {
    let problems = problems.into_iter().take(PROBLEMS_TOLD_MAX);
    let problems = problems.map(|RowProblem { row, column, problem }| ProblemOfRow {
        line: table.rows[row].line,
        column,
        problem,
    });
    problems.collect()
}
