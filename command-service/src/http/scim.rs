//! SCIM 2.0 (`/scim/v2`), and connecting an identity provider. What is kept and concluded is in [`crate::scim`].

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use domain::{
    Personal,
    connection::{self, SCIM_TOKENS_MAX, Scim, Secrets, System},
    id::ConnectionId,
};
use infra::clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{integrations, push::FRESHNESS_SECONDS_DEFAULT};
use crate::{
    CommandService,
    connections::Live,
    problem::Problem,
    scim::{
        filter::{Filter, FilterProblem},
        problem::{MEDIA_TYPE, ScimProblem},
        resources::{self, Change, Listing, RESULTS_DEFAULT, RESULTS_MAX, Resource, Resources},
        schema::{self, Object, ResourceType, SCHEMAS},
        token,
    },
};

/// The largest request, in bytes: a group with all its members.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Where it is served.
const PATH: &str = "/scim/v2";

pub fn router() -> Router<CommandService> {
    let mut router = Router::new()
        .route("/v1/integrations/scim", post(connect_scim))
        .route("/scim/v2/ServiceProviderConfig", get(service_provider_config))
        .route("/scim/v2/ResourceTypes", get(resource_types))
        .route("/scim/v2/ResourceTypes/{name}", get(resource_type))
        .route("/scim/v2/Schemas", get(schemas))
        .route("/scim/v2/Schemas/{urn}", get(one_schema))
        .route(
            "/scim/v2/.search",
            post(move |s, h, b| search(&ResourceType::ALL, s, h, b)),
        )
        .route("/scim/v2/Me", any(not_implemented))
        .route("/scim/v2/Bulk", any(not_implemented))
        .route("/scim/v2/{*rest}", any(nothing_there));
    for of in ResourceType::ALL {
        let all = format!("{PATH}/{}", of.endpoint());
        router = router
            .route(
                &all,
                get(move |s, h, q| list(of, s, h, q)).post(move |s, h, b| create(of, s, h, b)),
            )
            .route(
                &format!("{all}/.search"),
                post(move |s, h, b| search(of.alone(), s, h, b)),
            )
            .route(
                &format!("{all}/{{id}}"),
                get(move |s, p, h, q| read(of, s, p, h, q))
                    .put(move |s, p, h, b| replace(of, s, p, h, b))
                    .patch(move |s, p, h, b| patch(of, s, p, h, b))
                    .delete(move |s, p, h| delete(of, s, p, h)),
            );
    }
    router
}

/// An identity provider that sends accounts by SCIM.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectScim {
    /// Your word for it: letters, digits and hyphens.
    name: String,
    /// Makes another token. The one before it is taken until the next is made.
    #[serde(default)]
    new_token: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct ConnectedScim {
    #[schema(value_type = String, format = Uuid)]
    id: ConnectionId,
    /// The tenant URL, or base URL, of the identity provider's settings.
    scim_url: String,
    /// The bearer token that was made. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Connects an identity provider (Okta, Entra ID, any SCIM 2.0 client), or makes it a new token.
#[utoipa::path(
    post, path = "/v1/integrations/scim",
    request_body = ConnectScim,
    responses(
        (status = 201, body = ConnectedScim),
        (status = 400, body = inline(super::ProblemDocument)),
        (status = 401, body = inline(super::ProblemDocument)),
        (status = 403, body = inline(super::ProblemDocument)),
        (status = 503, body = inline(super::ProblemDocument)),
    ),
    security(("bearer" = []))
)]
pub async fn connect_scim(
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = integrations::manager(&service, &headers).await?;
    let request: ConnectScim = integrations::read(body).await?;
    let id = ConnectionId::derive(actor.tenant, "scim", &request.name);
    let known = service.connections.refresh(id).await?;
    let mut tokens = known.map(|known| known.secrets.tokens).unwrap_or_default();
    let mut made = None;
    if tokens.is_empty() || request.new_token {
        let token = made.insert(token::new(id));
        tokens.insert(0, token::digest(token));
        tokens.truncate(SCIM_TOKENS_MAX);
    }
    let command = connection::Command::Connect {
        system: System::Scim(Scim { name: request.name }),
        secrets: Personal::Open(Secrets {
            tokens,
            ..Secrets::default()
        }),
        freshness_seconds: FRESHNESS_SECONDS_DEFAULT,
        on: clock::today(),
    };
    let connected = integrations::connect(&service, (&actor, &headers), (id, command)).await;
    connected.map_err(|problem| match (&made, problem.status()) {
        (Some(_), StatusCode::SERVICE_UNAVAILABLE) => Problem::unavailable(
            "The token may have been kept, and cannot be shown any more. Send the same request again, with \"new_token\": true.",
        ),
        _ => problem,
    })?;
    let connected = ConnectedScim {
        id,
        scim_url: base(&service),
        token: made,
    };
    Ok((StatusCode::CREATED, Json(connected)).into_response())
}

impl From<Problem> for ScimProblem {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status(), problem.detail())
    }
}

fn base(service: &CommandService) -> String {
    format!("{}{PATH}", service.public_url)
}

/// Who asks: the connection whose token comes with the request.
async fn client(service: &CommandService, headers: &HeaderMap) -> Result<Live, ScimProblem> {
    // What is unknown, ended or wrong is answered alike.
    let refused = || {
        ScimProblem::new(
            StatusCode::UNAUTHORIZED,
            "The bearer token is none that Tenure made, or another one took its place",
        )
    };
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token.trim()).ok_or_else(refused)?;
    let id = token::connection(token).ok_or_else(refused)?;
    let is_client =
        |live: &Live| matches!(live.system, System::Scim(_)) && token::is_one_of(&live.secrets.tokens, token);
    let mut live = service.connections.find(id).await.map_err(Problem::from)?;
    if !live.as_ref().is_some_and(is_client) {
        // A token may have been made a moment ago.
        live = service.connections.refresh(id).await.map_err(Problem::from)?;
    }
    let live = live.filter(is_client).ok_or_else(refused)?;
    super::log_tenant(live.tenant);
    Ok(live)
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => {
            let media_type = HeaderValue::from_static(MEDIA_TYPE);
            (status, [(header::CONTENT_TYPE, media_type)], body).into_response()
        }
        Err(error) => ScimProblem::from(Problem::internal(&error)).into_response(),
    }
}

fn listed(total: usize, start: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

async fn service_provider_config(
    State(service): State<CommandService>,
    headers: HeaderMap,
) -> Result<Response, ScimProblem> {
    client(&service, &headers).await?;
    let config = schema::service_provider_config(&base(&service), RESULTS_MAX);
    Ok(answer(StatusCode::OK, &config))
}

async fn resource_types(State(service): State<CommandService>, headers: HeaderMap) -> Result<Response, ScimProblem> {
    client(&service, &headers).await?;
    let all: Vec<Value> = ResourceType::ALL.map(|one| one.described(&base(&service))).into();
    Ok(answer(StatusCode::OK, &listed(all.len(), 1, all)))
}

async fn resource_type(
    State(service): State<CommandService>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ScimProblem> {
    client(&service, &headers).await?;
    let one = ResourceType::ALL.into_iter().find(|one| one.name() == name);
    let one = one.ok_or_else(|| ScimProblem::not_found("resource type"))?;
    Ok(answer(StatusCode::OK, &one.described(&base(&service))))
}

async fn schemas(State(service): State<CommandService>, headers: HeaderMap) -> Result<Response, ScimProblem> {
    client(&service, &headers).await?;
    let all: Vec<Value> = SCHEMAS.iter().map(|one| one.described(&base(&service))).collect();
    Ok(answer(StatusCode::OK, &listed(all.len(), 1, all)))
}

async fn one_schema(
    State(service): State<CommandService>,
    Path(urn): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ScimProblem> {
    client(&service, &headers).await?;
    let one = SCHEMAS.iter().find(|one| one.urn.eq_ignore_ascii_case(&urn));
    let one = one.ok_or_else(|| ScimProblem::not_found("schema"))?;
    Ok(answer(StatusCode::OK, &one.described(&base(&service))))
}

async fn not_implemented() -> ScimProblem {
    ScimProblem::new(
        StatusCode::NOT_IMPLEMENTED,
        "This is not supported: see ServiceProviderConfig",
    )
}

async fn nothing_there() -> ScimProblem {
    ScimProblem::not_found("resource: there are Users, Groups, ServiceProviderConfig, ResourceTypes and Schemas")
}

/// Parameters of reading. Others (such as Entra ID's `aadOptscim062020`) change nothing: both shapes of changes are understood.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

type Asked = Result<Query<Wanted>, axum::extract::rejection::QueryRejection>;

fn wanted(asked: Asked) -> Result<Wanted, ScimProblem> {
    match asked {
        Ok(Query(wanted)) => Ok(wanted),
        Err(_) => Err(ScimProblem::bad(
            "invalidValue",
            "startIndex and count are to be whole numbers",
        )),
    }
}

impl Wanted {
    fn show(&self, resource: &Resource, (of, base): (ResourceType, &str)) -> Object {
        let (wanted, unwanted) = (self.attributes.as_deref(), self.excluded_attributes.as_deref());
        resources::select(of, resource.document(base), wanted, unwanted)
    }
}

async fn list(
    of: ResourceType,
    State(service): State<CommandService>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, ScimProblem> {
    let live = client(&service, &headers).await?;
    page(&service, &live, (of.alone(), wanted(asked)?)).await
}

/// As [`list`], with what is wanted in the body: of all types, too (RFC 7644 §3.4.3).
async fn search(
    of: &'static [ResourceType],
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ScimProblem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct SearchRequest {
        filter: Option<String>,
        start_index: Option<i64>,
        count: Option<i64>,
        attributes: Option<Vec<String>>,
        excluded_attributes: Option<Vec<String>>,
    }
    let live = client(&service, &headers).await?;
    let asked: SearchRequest = serde_json::from_value(json_of(body).await?)
        .map_err(|_| ScimProblem::bad("invalidSyntax", "The request is no SearchRequest"))?;
    let wanted = Wanted {
        filter: asked.filter,
        start_index: asked.start_index,
        count: asked.count,
        attributes: asked.attributes.map(|names| names.join(",")),
        excluded_attributes: asked.excluded_attributes.map(|names| names.join(",")),
    };
    page(&service, &live, (of, wanted)).await
}

async fn page(
    service: &CommandService,
    live: &Live,
    (types, wanted): (&[ResourceType], Wanted),
) -> Result<Response, ScimProblem> {
    let base = base(service);
    let not_negative = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    let start = not_negative(wanted.start_index.unwrap_or(1)).max(1);
    let count = wanted.count.map_or(RESULTS_DEFAULT, not_negative).min(RESULTS_MAX);
    let unwanted = wanted.excluded_attributes.as_deref().unwrap_or_default();
    let without_members = unwanted
        .split(',')
        .any(|name| name.trim().eq_ignore_ascii_case("members"));
    let filter = wanted.filter.as_deref().filter(|filter| !filter.trim().is_empty());
    let (mut total, mut resources) = (0, Vec::new());
    for &of in types {
        let filter = match filter.map(|filter| Filter::parse(of, filter)).transpose() {
            Ok(filter) => filter,
            // Of several types, one need not have the attribute.
            Err(FilterProblem::Unknown(_)) if types.len() > 1 => continue,
            Err(problem) => {
                let text = format!("The filter is not understood: {problem}");
                return Err(ScimProblem::bad("invalidFilter", text));
            }
        };
        let listing = Listing {
            filter,
            skipped: (start - 1).saturating_sub(total),
            count: count - resources.len(),
            without_members,
        };
        let (found, page) = Resources::new(service, live).list(of, listing, &base).await?;
        total += found;
        resources.extend(page.iter().map(|one| Value::Object(wanted.show(one, (of, &base)))));
    }
    Ok(answer(StatusCode::OK, &listed(total, start, resources)))
}

async fn read(
    of: ResourceType,
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, ScimProblem> {
    let live = client(&service, &headers).await?;
    let wanted = wanted(asked)?;
    let resource = Resources::new(&service, &live).get(of, parsed(of, &id)?).await?;
    if tags(&headers, header::IF_NONE_MATCH).is_some_and(|tags| resource.is_one_of(tags)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, resource.tag())]).into_response());
    }
    let shown = wanted.show(&resource, (of, &base(&service)));
    Ok(tagged(&resource, answer(StatusCode::OK, &shown)))
}

async fn create(
    of: ResourceType,
    State(service): State<CommandService>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ScimProblem> {
    let live = client(&service, &headers).await?;
    let change = Change::Create(json_of(body).await?);
    let made = Resources::new(&service, &live)
        .change(of, (clock::new_id(), None), change)
        .await?;
    let base = base(&service);
    let mut response = answer(StatusCode::CREATED, &made.document(&base));
    if let Ok(location) = made.location(&base).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(tagged(&made, response))
}

async fn replace(
    of: ResourceType,
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ScimProblem> {
    let changed = changed(of, &service, (&id, &headers), (body, Change::Replace)).await?;
    let document = changed.document(&base(&service));
    Ok(tagged(&changed, answer(StatusCode::OK, &document)))
}

async fn patch(
    of: ResourceType,
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ScimProblem> {
    let changed = changed(of, &service, (&id, &headers), (body, Change::Patch)).await?;
    let response = match of {
        ResourceType::User => answer(StatusCode::OK, &changed.document(&base(&service))),
        // As Entra ID expects it; a group may have many members.
        ResourceType::Group => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(tagged(&changed, response))
}

async fn changed(
    of: ResourceType,
    service: &CommandService,
    (id, headers): (&str, &HeaderMap),
    (body, change): (Body, fn(Value) -> Change),
) -> Result<Resource, ScimProblem> {
    let live = client(service, headers).await?;
    let (id, sent) = (parsed(of, id)?, json_of(body).await?);
    let target = (id, tags(headers, header::IF_MATCH));
    Resources::new(service, &live).change(of, target, change(sent)).await
}

async fn delete(
    of: ResourceType,
    State(service): State<CommandService>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ScimProblem> {
    let live = client(&service, &headers).await?;
    let tags = tags(&headers, header::IF_MATCH);
    let id = parsed(of, &id)?;
    Resources::new(&service, &live).delete(of, id, tags).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An id that is none is nobody's.
fn parsed(of: ResourceType, id: &str) -> Result<Uuid, ScimProblem> {
    id.parse().map_err(|_| ScimProblem::not_found(of.name()))
}

fn tags(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn tagged(resource: &Resource, mut response: Response) -> Response {
    if let Ok(tag) = resource.tag().parse() {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn json_of(body: Body) -> Result<Value, ScimProblem> {
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let text = format!("A request may have {BODY_BYTES_MAX} bytes");
        ScimProblem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ScimProblem::bad(
            "invalidSyntax",
            format!("The request is no JSON (line {line}, column {column})"),
        )
    })
}
