//! OAuth: an access token for a refresh token.

use super::Server;
use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::HashMap;
use std::sync::PoisonError;

/// How long a token lasts.
const LASTS: TimeDelta = TimeDelta::hours(1);

/// User and password of Basic.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(given.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    pair.split_once(':')
        .map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// Whether a request has a token that is good.
pub(super) fn has_token(server: &Server, headers: &HeaderMap) -> Option<bool> {
    let given = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    let tokens = server.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    Some(tokens.get(given).is_some_and(|until| (server.options.clock)() < *until))
}

/// One answer for whatever is wrong, as it is documented.
pub(super) fn grant(server: &Server, tenant: &str, headers: &HeaderMap, body: &str) -> Response {
    if tenant != server.options.tenant {
        return (StatusCode::SERVICE_UNAVAILABLE, "Invalid Tenant Name").into_response();
    }
    let form = reqwest::Url::parse(&format!("form:?{body}"));
    let form: HashMap<String, String> = form
        .map(|form| form.query_pairs().into_owned().collect())
        .unwrap_or_default();
    let given = basic(headers).zip(form.get("refresh_token").cloned());
    let given = given.map(|((id, secret), token)| [id, secret, token]);
    if server.options.client.is_none()
        || given != server.options.client
        || form.get("grant_type").map(String::as_str) != Some("refresh_token")
    {
        let refused = json!({"error": "invalid_client"});
        return (StatusCode::UNAUTHORIZED, Json(refused)).into_response();
    }
    let mut tokens = server.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let token = format!("token-{}", tokens.len() + 1);
    tokens.insert(token.clone(), (server.options.clock)() + LASTS);
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": LASTS.num_seconds().to_string()}))
        .into_response()
}
