//! The endpoints.

use super::super::company::PayType;
use super::super::faults::Write;
use super::tls::Peer;
use super::{Payee, Rate, Server, locked};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Largest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Workers on a page when nothing is said, and at most.
const PAGE_WORKERS: usize = 100;
const HOURS_IN_A_YEAR: i64 = 2_080;
const LASTS: TimeDelta = TimeDelta::hours(1);
const CHANGE: &str = "events/hr/v1/worker.work-assignment.base-remuneration.change";

/// The status, and what it says to people.
struct Refused(u16, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The status in it says "success" in ADP's own samples, too.
        let body = json!({"confirmMessage": {"protocolStatusCode": {"codeValue": self.0.to_string()}, "requestStatusCode": {"codeValue": "failed"},
            "processMessages": [], "resourceMessages": [{"processMessages": [{"processMessageID": {"idValue": "errors.invalid"},
            "messageTypeCode": {"codeValue": "error"}, "userMessage": {"messageTxt": self.1}}]}]}, "status": "success"});
        (status, Json(body)).into_response()
    }
}

type Query = BTreeMap<String, String>;

/// Answers every request: counts it, applies faults, checks certificate and token, finds the endpoint.
pub(super) async fn answer(
    State(server): State<Server>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_owned();
    let verdict = server.faults.judge(format!("{} {path}", head.method));
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    if let Some((status, retry_after)) = verdict.refusal {
        let mut response = Refused(status, "try again later").into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        return response;
    }
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    if !peer.has_certificate {
        let said =
            json!({"error": "invalid_request", "error_description": "proper client ssl certificate was not presented"});
        return (StatusCode::UNAUTHORIZED, Json(said)).into_response();
    }
    if path == "auth/oauth/v2/token" && head.method == Method::POST {
        return grant(&server, &head.headers, &body);
    }
    if !is_authorised(&server, &head.headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_token"}))).into_response();
    }
    let query = axum::extract::Query::<Query>::try_from_uri(&head.uri);
    let query = query.map(|query| query.0).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let answered = match (&head.method, &parts[..]) {
        (&Method::GET, ["hr", "v2", "workers"]) => Ok(workers(&server, &query)),
        (&Method::GET, ["hr", "v2", "workers", oid]) => worker(&server, oid, &query),
        (&Method::POST, _) if path == CHANGE => change(&server, &head.headers, &body),
        _ => Err(Refused(404, "there is no such resource")),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn text(headers: &HeaderMap, name: impl axum::http::header::AsHeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn grant(server: &Server, headers: &HeaderMap, body: &[u8]) -> Response {
    let [id, secret] = &server.options.client;
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")));
    if text(headers, header::AUTHORIZATION) != expected || body != b"grant_type=client_credentials" {
        let said =
            json!({"error": "invalid_client", "error_description": "The given client credentials were not valid"});
        return (StatusCode::UNAUTHORIZED, Json(said)).into_response();
    }
    let mut tokens = locked(&server.tokens);
    let token = format!("token-{}", tokens.len() + 1);
    tokens.insert(token.clone(), (server.options.clock)() + LASTS);
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": LASTS.num_seconds(), "scope": "api"}))
        .into_response()
}

fn is_authorised(server: &Server, headers: &HeaderMap) -> bool {
    let tokens = locked(&server.tokens);
    let given = text(headers, header::AUTHORIZATION).strip_prefix("Bearer ");
    given.is_some_and(|given| tokens.get(given).is_some_and(|until| (server.options.clock)() < *until))
}

fn shown(server: &Server, payee: &Payee, on: NaiveDate) -> Value {
    let today = (server.options.clock)().date_naive();
    let on = if server.options.shows_days_to_come {
        on
    } else {
        on.min(today)
    };
    let rate = payee.rates.range(..=on).next_back();
    let number =
        |cents: i64| serde_json::from_str(&format!("{}.{:02}", cents / 100, cents % 100)).unwrap_or(Value::Null);
    let amount = |name: &str, cents: i64| json!({"nameCode": {"codeValue": name}, "amountValue": number(cents), "currencyCode": "USD"});
    let remuneration = rate.map_or(Value::Null, |(since, rate)| match rate.pay_type {
        PayType::Hourly => json!({"hourlyRateAmount": amount("HOURLY", rate.cents),
            "annualRateAmount": amount("ANNUAL", rate.cents * HOURS_IN_A_YEAR), "effectiveDate": since}),
        PayType::Salary => json!({"annualRateAmount": amount("ANNUAL", rate.cents), "effectiveDate": since}),
    });
    json!({
        "associateOID": payee.associate_oid,
        "businessCommunication": {"emails": [{"nameCode": {"codeValue": "Work E-mail"}, "emailUri": payee.work_email}]},
        "workAssignments": [{"itemID": format!("{}N", payee.associate_oid), "primaryIndicator": true, "baseRemuneration": remuneration}],
    })
}

fn workers(server: &Server, query: &Query) -> Response {
    let today = (server.options.clock)().date_naive();
    let number = |name: &str, or: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(or);
    let payees = locked(&server.payees);
    let page = payees
        .values()
        .skip(number("$skip", 0))
        .take(number("$top", PAGE_WORKERS).min(PAGE_WORKERS));
    let page: Vec<Value> = page.map(|payee| shown(server, payee, today)).collect();
    if page.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    Json(json!({"workers": page, "meta": null, "confirmMessage": null})).into_response()
}

fn worker(server: &Server, oid: &str, query: &Query) -> Result<Response, Refused> {
    let today = (server.options.clock)().date_naive();
    let on = match query.get("asOfDate") {
        None => today,
        Some(text) => NaiveDate::parse_from_str(text, "%m/%d/%Y").map_err(|_| Refused(400, "asOfDate is invalid."))?,
    };
    let payees = locked(&server.payees);
    let payee = payees.get(oid).ok_or(Refused(404, "there is no such worker"))?;
    Ok(Json(json!({"workers": [shown(server, payee, on)]})).into_response())
}

fn change(server: &Server, headers: &HeaderMap, body: &Value) -> Result<Response, Refused> {
    if text(headers, "roleCode") != "practitioner" {
        return Err(Refused(403, "the role does not allow this"));
    }
    let at = |place: &str| body.pointer(&format!("/events/0/data{place}"));
    let word = |place: &str| at(place).and_then(Value::as_str).unwrap_or_default();
    let oid = word("/eventContext/worker/associateOID");
    let place = if server.options.in_worker {
        "/transform/worker/workAssignment/baseRemuneration"
    } else {
        "/transform/workAssignment/baseRemuneration"
    };
    let paid = at(place).ok_or(Refused(400, "baseRemuneration is required."))?;
    let on = word("/transform/effectiveDateTime");
    let on: NaiveDate = on.parse().map_err(|_| Refused(400, "effectiveDateTime is invalid."))?;
    let named = [
        ("hourlyRateAmount", "H", PayType::Hourly),
        ("annualRateAmount", "A", PayType::Salary),
    ];
    let found = named.into_iter().find_map(|(member, name, pay_type)| {
        let amount = paid.get(member)?;
        let is_named = amount.pointer("/nameCode/codeValue").and_then(Value::as_str) == Some(name);
        let text = amount.get("amountValue")?.as_number()?.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let cents = format!("{whole}{fraction:0<2}").parse().ok()?;
        is_named.then_some(Rate { cents, pay_type })
    });
    let rate = found.ok_or(Refused(400, "a rate is required."))?;
    let write = || {
        let mut payees = locked(&server.payees);
        let payee = payees.get_mut(oid).ok_or(Refused(400, "associateOID is invalid."))?;
        if word("/eventContext/worker/workAssignment/itemID") != format!("{oid}N") {
            return Err(Refused(400, "workAssignmentID is invalid."));
        }
        payee.rates.insert(on, rate);
        payee.changes += 1;
        Ok(())
    };
    match server.faults.write() {
        Write::Done => write()?,
        Write::Unanswered => {
            write()?;
            return Err(Refused(504, "the gateway gave up"));
        }
        Write::Refused(status, why) => return Err(Refused(status, why)),
        Write::Swallowed => {}
    }
    Ok(Json(json!({"events": [{"eventStatusCode": {"codeValue": "complete"}}], "confirmMessage": {"requestID": format!("request-{oid}")}}))
        .into_response())
}
