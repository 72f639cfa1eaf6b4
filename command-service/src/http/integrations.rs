//! `POST /v1/integrations/bamboohr`, `/v1/integrations/workday`, `/v1/integrations/gusto`, `/v1/integrations/adp`: connects what is asked.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use domain::{
    Personal,
    connection::{
        self, Adp, BambooHr, FRESHNESS_SECONDS_DEFAULT, Gusto, Identity, Login, Pays, Secrets, Shape, System, Workday,
    },
    id::{CommandId, ConnectionId},
    policy::{Actor, Permission},
};
use infra::{
    clock,
    connection_task::{self, Task},
    database::Access,
    outcome::{self, Verdict},
    pay_change_task,
};
use schemas::codec::AnyCommand;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{COMMAND_BYTES_MAX, WAIT_DEFAULT};
use crate::{
    CommandService, actor_name, adp,
    bamboohr::client::{Client, default_base_url},
    gusto,
    intake::{self, Content, Submission},
    problem::Problem,
    synchroniser::{
        self,
        webhooks::{self, Registered},
    },
    token::Token,
    workday,
};

pub fn router() -> Router<CommandService> {
    Router::new()
        .route("/v1/integrations/bamboohr", post(connect_bamboohr))
        .route("/v1/integrations/workday", post(connect_workday))
        .route("/v1/integrations/gusto", post(connect_gusto))
        .route("/v1/integrations/adp", post(connect_adp))
        .route("/v1/connections/{connection}/{task}", post(ask_source))
}

/// How to reach an account, and how to know its webhooks.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectBambooHr {
    /// The first part of the account's address.
    company_domain: String,
    /// Of a user who may see the fields that you want to import.
    api_key: String,
    /// The private keys of webhooks that you registered yourself; several while you change over from one to the next. Left out: Tenure
    /// registers a webhook, and sees to it that there is one.
    #[serde(default)]
    webhook_keys: Vec<String>,
    /// Registers another webhook in place of the one that Tenure registered before, with a new key.
    #[serde(default)]
    new_webhook: bool,
    /// Only for another address than `https://{company_domain}.bamboohr.com`.
    base_url: Option<String>,
    /// How old a webhook may be; 10,800 unless said otherwise.
    freshness_seconds: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Connected {
    #[schema(value_type = String, format = Uuid)]
    id: ConnectionId,
    /// Where BambooHR sends to: give it this address, if you register the webhook yourself.
    webhook_url: String,
}

/// Connects a BambooHR account, or changes its keys; its people are imported in the background.
#[utoipa::path(
    post, path = "/v1/integrations/bamboohr",
    request_body = ConnectBambooHr,
    responses(
        (status = 201, body = Connected),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_bamboohr(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = manager(&service, &headers).await?;
    let request: ConnectBambooHr = read(body).await?;

    let base_url = request
        .base_url
        .unwrap_or_else(|| default_base_url(&request.company_domain))
        .trim_end_matches('/')
        .to_owned();
    // Refuses addresses to which the API key must not be sent.
    let client = Client::new(
        &base_url,
        &request.company_domain,
        request.api_key.clone().into(),
        service.http.clone(),
    )
    .map_err(|problem| Problem::bad_request(problem.to_string()))?;
    let id = ConnectionId::derive(actor.tenant, "bamboohr", &request.company_domain);
    let webhook_url = webhooks::address(&service, id);
    let client = client.at(service.paces.of(id));
    let known = service.connections.refresh(id).await?;
    let ours = known.as_ref().and_then(webhooks::registered).map(str::to_owned);
    let (mut webhook_keys, mut webhook, mut made) = (request.webhook_keys, None, false);
    if webhook_keys.is_empty() {
        webhook_keys = known.map(|known| known.secrets.webhook_keys).unwrap_or_default();
        webhook.clone_from(&ours);
        if webhook.is_none() || request.new_webhook {
            let new = registered_at(&client, &webhook_url, &webhook_keys).await?;
            (webhook_keys, webhook, made) = (new.keys, Some(new.id), true);
        }
    }
    let command = connection::Command::Connect {
        system: System::BambooHr(BambooHr {
            company_domain: request.company_domain,
            base_url,
            webhook: webhook.clone(),
        }),
        secrets: Personal::Open(Secrets {
            api_key: Some(request.api_key),
            webhook_keys,
            ..Secrets::default()
        }),
        freshness_seconds: request.freshness_seconds.unwrap_or(FRESHNESS_SECONDS_DEFAULT),
        on: clock::today(),
    };
    let connected = connect(&service, (&actor, &headers), (id, command)).await;
    match (&connected, &webhook, &ours) {
        (Ok(()), Some(webhook), _) if made => {
            if let Err(problem) = webhooks::delete_others(&client, &webhook_url, webhook).await {
                tracing::warn!(
                    error = &problem as &dyn std::error::Error,
                    "an earlier webhook at BambooHR could not be deleted yet"
                );
            }
        }
        // They are registered by hand from now on.
        (Ok(()), None, Some(ours)) => webhooks::delete(&client, ours).await,
        // It was refused. If it is only not made yet, it will be, with this key.
        (Err(problem), Some(webhook), _) if made && problem.status().is_client_error() => {
            webhooks::delete(&client, webhook).await;
        }
        (Ok(()) | Err(_), ..) => {}
    }
    connected?;
    Ok((StatusCode::CREATED, Json(Connected { id, webhook_url })).into_response())
}

/// How to reach a Workday tenant.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectWorkday {
    /// The tenant's name, such as `acme_dpt1`.
    tenant: String,
    /// The host of its web services, such as `https://wd2-impl-services1.workday.com`.
    base_url: String,
    /// The integration system user, without `@` and the tenant; with `password`.
    user: Option<String>,
    password: Option<String>,
    /// In place of both: an API client for integrations; with `client_secret` and `refresh_token`.
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    /// Of the web services; `v42.0` unless said otherwise.
    version: Option<String>,
    /// The type of organisation that is the department: `SUPERVISORY` unless said otherwise, or such as `COST_CENTER`.
    department: Option<String>,
    /// The type that is the division: `BUSINESS_UNIT` unless said otherwise.
    division: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Asked {
    #[schema(value_type = String, format = Uuid)]
    id: ConnectionId,
}

/// Who reads the tenant, and the secrets that go with it.
fn opened_by(request: &ConnectWorkday) -> Result<(Login, Secrets), Problem> {
    let ConnectWorkday {
        user,
        password,
        client_id,
        client_secret,
        refresh_token,
        ..
    } = request;
    match (user, password, client_id, client_secret, refresh_token) {
        (Some(user), Some(password), None, None, None) => {
            let secrets = Secrets {
                api_key: Some(password.clone()),
                ..Secrets::default()
            };
            Ok((Login::Password { user: user.clone() }, secrets))
        }
        (None, None, Some(client_id), Some(client_secret), Some(refresh_token)) => {
            let secrets = Secrets {
                api_key: Some(refresh_token.clone()),
                client_secret: Some(client_secret.clone()),
                ..Secrets::default()
            };
            let client_id = client_id.clone();
            Ok((Login::RefreshToken { client_id }, secrets))
        }
        _ => Err(Problem::bad_request(
            "Give either user and password, or client_id, client_secret and refresh_token",
        )),
    }
}

/// Connects a Workday tenant, or changes how it is read; its workers are imported in the background.
#[utoipa::path(
    post, path = "/v1/integrations/workday",
    request_body = ConnectWorkday,
    responses(
        (status = 201, body = Asked),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_workday(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = manager(&service, &headers).await?;
    let request: ConnectWorkday = read(body).await?;
    let (login, secrets) = opened_by(&request)?;
    let account = Workday {
        base_url: request.base_url.trim().trim_end_matches('/').to_owned(),
        version: request.version.unwrap_or_else(|| Workday::VERSION.to_owned()),
        login,
        department: request.department.unwrap_or_else(|| Workday::DEPARTMENT.to_owned()),
        division: request.division.unwrap_or_else(|| Workday::DIVISION.to_owned()),
        tenant: request.tenant,
    };
    // Refuses addresses to which the password must not be sent.
    workday::client::Client::new(&account, (&secrets, Token::default()), service.http.clone())
        .map_err(|problem| Problem::bad_request(problem.to_string()))?;
    let id = ConnectionId::derive(actor.tenant, "workday", &account.tenant);
    let command = connection::Command::Connect {
        system: System::Workday(Box::new(account)),
        secrets: Personal::Open(secrets),
        freshness_seconds: FRESHNESS_SECONDS_DEFAULT,
        on: clock::today(),
    };
    connect(&service, (&actor, &headers), (id, command)).await?;
    Ok((StatusCode::CREATED, Json(Asked { id })).into_response())
}

/// How to reach a company's payroll at Gusto, and whom it pays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectGusto {
    /// The company's id there, a UUID.
    company: String,
    /// Of your application at Gusto.
    client_id: String,
    client_secret: String,
    /// From the consent of an administrator of the company, with the scopes `employees:read`, `jobs:read`, `compensations:read` and
    /// `compensations:write`. It changes with every use, and Tenure keeps the new one.
    refresh_token: String,
    /// The connections whose employees it pays: changes of their pay are made here from now on.
    #[schema(value_type = Vec<String>)]
    employees_of: Vec<ConnectionId>,
    /// Whether profiles follow what Gusto shows: for people whose own source tells nothing of pay. Otherwise they follow their source.
    #[serde(default)]
    tells_profiles: bool,
    /// Only for another address than `https://api.gusto.com`.
    base_url: Option<String>,
}

/// Connects a payroll at Gusto, or changes its secrets or whom it pays.
#[utoipa::path(
    post, path = "/v1/integrations/gusto",
    request_body = ConnectGusto,
    responses(
        (status = 201, body = Asked),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_gusto(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = manager(&service, &headers).await?;
    let request: ConnectGusto = read(body).await?;
    check_paid(&service, &actor, &request.employees_of).await?;
    let base_url = request.base_url.unwrap_or_else(|| gusto::client::BASE_URL.to_owned());
    let base_url = base_url.trim().trim_end_matches('/').to_owned();
    // Refuses addresses to which the secrets must not be sent.
    gusto::client::token_address(&base_url).map_err(|problem| Problem::bad_request(problem.to_string()))?;
    let id = ConnectionId::derive(actor.tenant, "gusto", &request.company);
    let command = connection::Command::Connect {
        system: System::Gusto(Box::new(Gusto {
            company: request.company,
            base_url,
            client_id: request.client_id,
            pays: Pays {
                employees_of: request.employees_of,
                tells_profiles: request.tells_profiles,
            },
        })),
        secrets: Personal::Open(Secrets {
            api_key: Some(request.refresh_token),
            client_secret: Some(request.client_secret),
            ..Secrets::default()
        }),
        freshness_seconds: FRESHNESS_SECONDS_DEFAULT,
        on: clock::today(),
    };
    connect(&service, (&actor, &headers), (id, command)).await?;
    Ok((StatusCode::CREATED, Json(Asked { id })).into_response())
}

/// How to reach an organisation's payroll at ADP Workforce Now, and whom it pays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectAdp {
    /// Your word for it.
    name: String,
    /// Of your project at ADP.
    client_id: String,
    client_secret: String,
    /// The certificate that ADP signed for the project, and its private key, as PEM.
    certificate: String,
    private_key: String,
    /// The connections whose employees it pays: changes of their pay are made here from now on.
    #[schema(value_type = Vec<String>)]
    employees_of: Vec<ConnectionId>,
    /// Whether profiles follow what ADP shows: for people whose own source tells nothing of pay. Otherwise they follow their source.
    #[serde(default)]
    tells_profiles: bool,
    /// The reason that changes are sent with, one of your organisation's codes: the event's `/meta` lists them.
    reason: Option<String>,
    /// Where in an event the assignment lies, as the event's `/meta` says: `worker` (`transform.worker.workAssignment`, unless said
    /// otherwise) or `work-assignment` (`transform.workAssignment`).
    #[serde(default)]
    #[schema(value_type = String)]
    shape: Shape,
    /// Only for other addresses than ADP's own.
    base_url: Option<String>,
    token_url: Option<String>,
    /// Who vouches for those addresses, as PEM.
    authority: Option<String>,
}

/// Connects a payroll at ADP Workforce Now, or changes its secrets or whom it pays.
#[utoipa::path(
    post, path = "/v1/integrations/adp",
    request_body = ConnectAdp,
    responses(
        (status = 201, body = Asked),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_adp(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = manager(&service, &headers).await?;
    let request: ConnectAdp = read(body).await?;
    check_paid(&service, &actor, &request.employees_of).await?;
    let or = |given: Option<String>, usual: &str| {
        let given = given.unwrap_or_else(|| usual.to_owned());
        given.trim().trim_end_matches('/').to_owned()
    };
    let account = Adp {
        name: request.name,
        base_url: or(request.base_url, adp::client::BASE_URL),
        token_url: or(request.token_url, adp::client::TOKEN_URL),
        client_id: request.client_id,
        reason: request.reason,
        shape: request.shape,
        authority: request.authority,
        pays: Pays {
            employees_of: request.employees_of,
            tells_profiles: request.tells_profiles,
        },
    };
    let secrets = Secrets {
        client_secret: Some(request.client_secret),
        identity: Some(Box::new(Identity {
            certificate: request.certificate,
            private_key: request.private_key,
        })),
        ..Secrets::default()
    };
    // Refuses addresses to which the secret must not be sent, and certificates that do not read.
    adp::client::Client::new(&account, (&secrets, Token::default()))
        .map_err(|problem| Problem::bad_request(problem.to_string()))?;
    let id = ConnectionId::derive(actor.tenant, "adp", &account.name);
    let command = connection::Command::Connect {
        system: System::Adp(Box::new(account)),
        secrets: Personal::Open(secrets),
        freshness_seconds: FRESHNESS_SECONDS_DEFAULT,
        on: clock::today(),
    };
    connect(&service, (&actor, &headers), (id, command)).await?;
    Ok((StatusCode::CREATED, Json(Asked { id })).into_response())
}

/// Whose employees a payroll pays must be connected.
async fn check_paid(service: &CommandService, actor: &Actor, employees_of: &[ConnectionId]) -> Result<(), Problem> {
    for paid in employees_of {
        let known = service.connections.find(*paid).await?;
        if known.is_none_or(|known| known.tenant != actor.tenant) {
            return Err(Problem::bad_request(format!("there is no connection {paid}")));
        }
    }
    Ok(())
}

async fn registered_at(client: &Client, url: &str, keys: &[String]) -> Result<Registered, Problem> {
    webhooks::register(client, url, keys).await.map_err(|problem| {
        let advice = "Or register a webhook at BambooHR yourself, and give its key in webhook_keys";
        if problem.is_retryable() {
            Problem::unavailable(problem.to_string())
        } else if url.starts_with("http://") {
            Problem::bad_request(format!(
                "{problem}. BambooHR sends to https:// addresses only: start Tenure with --public-url. {advice}"
            ))
        } else {
            Problem::bad_request(format!("{problem}. {advice}"))
        }
    })
}

/// Whoever asks, if they may manage connections.
pub(super) async fn manager(service: &CommandService, headers: &HeaderMap) -> Result<Actor, Problem> {
    let actor = super::actor(&service.verifier, headers).await?;
    if actor.may(Permission::ManageConnections) {
        return Ok(actor);
    }
    let role = actor.role.name();
    Err(Problem::forbidden(format!(
        "The role {role} may not manage connections"
    )))
}

/// What is asked for.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let body = axum::body::to_bytes(body, COMMAND_BYTES_MAX)
        .await
        .map_err(|_| Problem::bad_request("The request is too large"))?;
    serde_json::from_slice(&body).map_err(|error| Problem::bad_request(format!("The request does not read: {error}")))
}

/// Makes or changes a connection, and waits until it is there.
pub(super) async fn connect(
    service: &CommandService,
    (actor, headers): (&Actor, &HeaderMap),
    (id, command): (ConnectionId, connection::Command),
) -> Result<(), Problem> {
    // Connecting is idempotent by itself (the same again changes nothing), so each request is a command of its own.
    let command_id = CommandId::from_uuid(clock::new_id());
    let submission = Submission {
        id: command_id,
        stream: intake::connection_stream(actor.tenant, id),
        actor: actor_name(actor),
        correlation: command_id.uuid(),
        traceparent: super::traceparent(headers),
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(AnyCommand::Connection(command))),
    };
    intake::submit(&service.interactive, &service.keyring, vec![submission]).await?;
    let tenant = actor.tenant;
    let deadline = std::time::Instant::now() + WAIT_DEFAULT * 2;
    let verdict = loop {
        let found = service
            .database
            .transact(Access::Read, &[tenant], move |c| {
                Box::pin(async move { outcome::find(c, &[(tenant, command_id)]).await })
            })
            .await?;
        if let Some(outcome) = found.into_iter().next() {
            break outcome.verdict;
        }
        if std::time::Instant::now() > deadline {
            return Err(Problem::unavailable(
                "The connection was taken in but is not made yet. Send the same request again.",
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    if let Verdict::Rejected { rule } = verdict {
        return Err(Problem::bad_request(rule));
    }
    service.paces.forget(id);
    if let Some(live) = service.connections.refresh(id).await? {
        synchroniser::plan(service, &live).await?;
    }
    let tenants = [tenant];
    let hastened = service.database.transact(Access::Write, &tenants, move |c| {
        Box::pin(async move { pay_change_task::hasten(c, (tenant, id)).await })
    });
    hastened.await?;
    service.pay_changes_wanted.notify_one();
    Ok(())
}

/// What a connection is about to do.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Begun {
    task: &'static str,
}

/// Asks a source now instead of when it is due: who changed (`changes`), or about everybody (`reconciliation`).
#[utoipa::path(
    post, path = "/v1/connections/{connection}/{task}",
    params(
        ("connection" = String, Path, description = "The connection"),
        ("task" = String, Path, description = "`changes`, `reconciliation`, `webhooks` (of those that Tenure registered), `inbox`, `report`, or `import` while that is not done"),
    ),
    responses(
        (status = 202, body = Begun),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 404, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn ask_source(
    State(service): State<CommandService>,
    Path((connection, task)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let actor = manager(&service, &headers).await?;
    let nothing = || Problem::not_found("There is no such connection, or nothing like that is planned for it");
    let (id, task) = connection
        .parse::<ConnectionId>()
        .ok()
        .zip(Task::from_name(&task))
        .ok_or_else(nothing)?;
    let tenant = actor.tenant;
    let tenants = [tenant];
    let is_planned = service.database.transact(Access::Write, &tenants, move |connection| {
        Box::pin(connection_task::hasten(connection, (tenant, id), task))
    });
    if !is_planned.await? {
        return Err(nothing());
    }
    service.tasks_wanted.notify_one();
    Ok((StatusCode::ACCEPTED, Json(Begun { task: task.name() })).into_response())
}
