//! The endpoints.

use super::super::faults::Write;
use super::tokens::LASTS;
use super::{Compensation, Payee, Server, named};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Largest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Entries on a page when nothing is said (documented), and at most.
const PAGE_ENTRIES: usize = 25;
const PAGE_ENTRIES_MAX: usize = 100;
const VERSIONS: [&str; 4] = ["2025-06-15", "2025-11-15", "2026-02-01", "2026-06-15"];

struct Refused(StatusCode, &'static str, String);

fn refused<T>(status: u16, category: &'static str, message: impl Into<String>) -> Result<T, Refused> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Err(Refused(status, category, message.into()))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let errors = json!({"errors": [{"error_key": "base", "category": self.1, "message": self.2}]});
        (self.0, Json(errors)).into_response()
    }
}

type Query = BTreeMap<String, String>;

/// Answers every request: counts it, applies faults, checks the token, finds the endpoint.
pub(super) async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_owned();
    let verdict = server.faults.judge(format!("{} {path}", head.method));
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    if let Some((status, retry_after)) = verdict.refusal {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = status.into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        return response;
    }
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query = axum::extract::Query::<Query>::try_from_uri(&head.uri);
    let query = query.map(|query| query.0).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    if parts == ["oauth", "token"] && head.method == Method::POST {
        return exchange(&server, &body);
    }
    let answered = authorised(&server, &head.headers).and_then(|()| match (&head.method, &parts[..]) {
        (&Method::GET, ["v1", "companies", company, "employees"]) => employees(&server, company, &query),
        (&Method::GET, ["v1", "jobs", job, "compensations"]) => compensations(&server, job, &query),
        (&Method::POST, ["v1", "jobs", job, "compensations"]) => add(&server, job, &body),
        (&Method::PUT, ["v1", "compensations", id]) => change(&server, id, &body),
        _ => refused(404, "not_found", "The requested resource was not found."),
    });
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn exchange(server: &Server, body: &Value) -> Response {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let [id, secret] = &server.options.client;
    let is_client = text("client_id") == id && text("client_secret") == secret;
    let given = (is_client && text("grant_type") == "refresh_token")
        .then(|| {
            server
                .tokens()
                .exchange(text("refresh_token"), (server.options.clock)())
        })
        .flatten();
    match given {
        Some((access, refresh)) => Json(json!({"access_token": access, "token_type": "Bearer",
            "expires_in": LASTS.num_seconds(), "refresh_token": refresh}))
        .into_response(),
        None => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response(),
    }
}

fn authorised(server: &Server, headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(header::AUTHORIZATION).and_then(|given| given.strip_prefix("Bearer "));
    if !token.is_some_and(|token| server.tokens().is_good(token, (server.options.clock)())) {
        return refused(401, "invalid_token", "The access token is invalid.");
    }
    match text(HeaderName::from_static("x-gusto-api-version")) {
        Some(version) if !VERSIONS.contains(&version) => refused(406, "invalid_api_version", "No such version."),
        _ => Ok(()),
    }
}

fn paged(all: Vec<Value>, query: &Query) -> Response {
    let number = |name: &str, or: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (page, per) = (
        number("page", 1).max(1),
        number("per", PAGE_ENTRIES).clamp(1, PAGE_ENTRIES_MAX),
    );
    let pages = all.len().div_ceil(per);
    let some: Vec<Value> = all.into_iter().skip((page - 1) * per).take(per).collect();
    let mut response = Json(some).into_response();
    let pages = HeaderValue::from(pages as u64);
    response.headers_mut().insert("x-total-pages", pages);
    response
}

fn employees(server: &Server, company: &str, query: &Query) -> Result<Response, Refused> {
    if company != server.options.company.to_string() {
        return refused(404, "not_found", "The requested resource was not found.");
    }
    let wanted = query.get("uuids").map(|ids| ids.split(',').collect::<Vec<_>>());
    let payees = server.payees();
    let chosen = payees.values().filter(|payee| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&payee.uuid.to_string().as_str()))
    });
    Ok(paged(chosen.map(employee).collect(), query))
}

fn employee(payee: &Payee) -> Value {
    json!({
        "uuid": payee.uuid, "first_name": "", "last_name": "", "email": null, "work_email": payee.work_email, "terminated": false,
        "jobs": [{"uuid": payee.job, "employee_uuid": payee.uuid, "primary": true}],
    })
}

fn shown(payee: &Payee, known: &Compensation) -> Value {
    json!({
        "uuid": known.uuid, "version": known.version.to_string(), "job_uuid": payee.job, "employee_uuid": payee.uuid,
        "rate": format!("{}.{:02}", known.rate_cents / 100, known.rate_cents % 100), "payment_unit": known.payment_unit,
        "flsa_status": known.flsa_status, "effective_date": known.effective_date, "adjust_for_minimum_wage": false, "minimum_wages": [],
    })
}

fn compensations(server: &Server, job: &str, query: &Query) -> Result<Response, Refused> {
    let today = (server.options.clock)().date_naive();
    let payees = server.payees();
    let Some(payee) = payees.values().find(|payee| payee.job.to_string() == job) else {
        return refused(404, "not_found", "The requested resource was not found.");
    };
    if server.faults.hidden().contains("compensations") {
        return refused(404, "missing_permissions", "You do not have the required permissions.");
    }
    // Only the one of now, unless all are asked for.
    let all = query
        .get("include")
        .is_some_and(|include| include.contains("all_compensations"));
    let now = payee.compensations.iter().filter(|known| known.effective_date <= today);
    let now = now.max_by_key(|known| known.effective_date).map(|known| known.uuid);
    let known = payee
        .compensations
        .iter()
        .filter(|known| all || Some(known.uuid) == now);
    Ok(paged(known.map(|known| shown(payee, known)).collect(), query))
}

/// What is asked for, read as Gusto's specification has it.
fn terms(body: &Value) -> Result<(i64, String, String, NaiveDate), Refused> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rate = text("rate");
    let (whole, fraction) = rate.split_once('.').unwrap_or((&rate, "0"));
    let cents = whole
        .parse::<i64>()
        .ok()
        .zip(format!("{fraction:0<2}").parse::<i64>().ok());
    let (Some((whole, fraction)), Ok(on)) = (cents, text("effective_date").parse()) else {
        return refused(422, "invalid_attribute_value", "rate and effective_date do not read");
    };
    if !["Hour", "Week", "Month", "Year", "Paycheck"].contains(&text("payment_unit").as_str()) {
        return refused(
            422,
            "invalid_attribute_value",
            "payment_unit is not one of the allowed values",
        );
    }
    if !["Exempt", "Nonexempt", "Salaried Nonexempt"].contains(&text("flsa_status").as_str()) {
        return refused(
            422,
            "invalid_attribute_value",
            "flsa_status is not one of the allowed values",
        );
    }
    Ok((whole * 100 + fraction, text("payment_unit"), text("flsa_status"), on))
}

/// Lets the fault plan have its way with what is written.
fn written(
    server: &Server,
    status: StatusCode,
    write: impl FnOnce() -> Result<Value, Refused>,
) -> Result<Response, Refused> {
    match server.faults.write() {
        Write::Done => Ok((status, Json(write()?)).into_response()),
        Write::Unanswered => write().map(|_| StatusCode::GATEWAY_TIMEOUT.into_response()),
        Write::Refused(status, why) => refused(status, "invalid_operation", why),
        Write::Swallowed => {
            let nothing = json!({"uuid": named("nothing", 0), "version": "1", "rate": "0.00", "payment_unit": "Year",
                "flsa_status": "Exempt", "effective_date": "2020-01-01"});
            Ok((status, Json(nothing)).into_response())
        }
    }
}

fn add(server: &Server, job: &str, body: &Value) -> Result<Response, Refused> {
    let (rate_cents, payment_unit, flsa_status, effective_date) = terms(body)?;
    written(server, StatusCode::CREATED, || {
        let mut payees = server.payees();
        let Some(payee) = payees.values_mut().find(|payee| payee.job.to_string() == job) else {
            return refused(404, "not_found", "The requested resource was not found.");
        };
        if payee
            .compensations
            .iter()
            .any(|known| known.effective_date == effective_date)
        {
            return refused(
                422,
                "invalid_attribute_value",
                "a compensation begins on this day already",
            );
        }
        let added = Compensation {
            uuid: named("added", format!("{job} {effective_date}")),
            version: 1,
            rate_cents,
            payment_unit,
            flsa_status,
            effective_date,
        };
        let shown = shown(payee, &added);
        payee.compensations.push(added);
        Ok(shown)
    })
}

fn change(server: &Server, id: &str, body: &Value) -> Result<Response, Refused> {
    let (rate_cents, payment_unit, flsa_status, effective_date) = terms(body)?;
    let version = body
        .get("version")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    written(server, StatusCode::OK, || {
        let mut payees = server.payees();
        for payee in payees.values_mut() {
            let Some(known) = payee
                .compensations
                .iter_mut()
                .find(|known| known.uuid.to_string() == id)
            else {
                continue;
            };
            if known.version.to_string() != version {
                let said = "You are attempting to update a resource using an out-of-date version.";
                return refused(409, "invalid_resource_version", said);
            }
            *known = Compensation {
                version: known.version + 1,
                rate_cents,
                payment_unit,
                flsa_status,
                effective_date,
                uuid: known.uuid,
            };
            let changed = known.clone();
            return Ok(shown(payee, &changed));
        }
        refused(404, "not_found", "The requested resource was not found.")
    })
}
