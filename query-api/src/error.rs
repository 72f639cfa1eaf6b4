//! The one place that says how failures look from outside. Internals are logged here, never sent.

use std::error::Error as StdError;

use async_graphql::{ErrorExtensionValues, Response as GraphResponse, ServerError, Value};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use infra::{auth::AuthError, database::DatabaseError, sealing::SealingError};
use serde_json::json;

/// What a resolver can fail with.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The viewer's role does not allow it, whoever it is about.
    #[error("your role may not see this")]
    Forbidden,
    #[error("{0}")]
    BadInput(String),
    #[error("the read models have not reached the position asked for: try again")]
    NotFresh,
    #[error("the query took too long: ask for less at once")]
    Deadline,
    #[error("the database failed: {0}")]
    Database(#[from] DatabaseError),
    #[error("keys could not be had")]
    Sealing(#[from] SealingError),
    /// A stored value that this version cannot read.
    #[error("stored {0} does not read")]
    Corrupt(&'static str),
}

impl ApiError {
    pub fn bad_input(what: impl Into<String>) -> Self {
        Self::BadInput(what.into())
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) | Self::Sealing(SealingError::Database(error)) => error.is_transient(),
            Self::Forbidden
            | Self::BadInput(_)
            | Self::NotFresh
            | Self::Deadline
            | Self::Sealing(_)
            | Self::Corrupt(_) => false,
        }
    }

    /// The code that clients go by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden => "FORBIDDEN",
            Self::BadInput(_) => "BAD_INPUT",
            Self::NotFresh => "NOT_FRESH",
            Self::Deadline => "DEADLINE",
            Self::Database(_) | Self::Sealing(_) | Self::Corrupt(_) => {
                if self.is_transient() {
                    "UNAVAILABLE"
                } else {
                    "INTERNAL"
                }
            }
        }
    }

    fn public_message(&self) -> String {
        match self.code() {
            "UNAVAILABLE" => "temporarily unavailable: try again".to_owned(),
            "INTERNAL" => "internal error".to_owned(),
            _ => self.to_string(),
        }
    }
}

/// A loader hands one error to many fields.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a batched read failed")]
pub struct SharedError(#[source] std::sync::Arc<ApiError>);

impl From<ApiError> for SharedError {
    fn from(error: ApiError) -> Self {
        Self(std::sync::Arc::new(error))
    }
}

/// An answer's errors as the outside may see them.
pub fn mask(mut response: GraphResponse, request_id: &str) -> GraphResponse {
    for error in &mut response.errors {
        mask_one(error, request_id);
    }
    response
}

fn mask_one(error: &mut ServerError, request_id: &str) {
    let own = error
        .source::<ApiError>()
        .or_else(|| error.source::<SharedError>().map(|shared| &*shared.0));
    let (code, message) = match own {
        Some(own) => {
            let code = own.code();
            if matches!(code, "INTERNAL" | "UNAVAILABLE") {
                tracing::error!(
                    request_id,
                    code,
                    error = own as &dyn StdError,
                    "request {request_id} failed"
                );
            }
            (code, Some(own.public_message()))
        }
        // A failure of no known kind says nothing about itself.
        None if error.source.is_some() => ("INTERNAL", Some("internal error".to_owned())),
        None if error.path.is_empty() => ("INVALID", None),
        // The framework's own words about an argument or a non-null field.
        None => ("BAD_INPUT", None),
    };
    if let Some(message) = message {
        error.message = message;
    }
    error.source = None;
    let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
    extensions.set("code", code);
    if code == "INTERNAL" {
        extensions.set("requestId", request_id);
    }
}

/// An answer that consists of one error.
pub fn refusal(error: impl Into<SharedError>) -> GraphResponse {
    let error = error.into();
    let mut server_error = ServerError::new(error.to_string(), None);
    server_error.source = Some(std::sync::Arc::new(error));
    GraphResponse::from_errors(vec![server_error])
}

/// The code of an answer's first error.
pub fn first_code(response: &GraphResponse) -> Option<&str> {
    let code = response.errors.first()?.extensions.as_ref()?.get("code")?;
    match code {
        Value::String(code) => Some(code),
        _ => None,
    }
}

/// Whether nothing was executed: every error is about the request itself.
pub fn is_request_error(response: &GraphResponse) -> bool {
    !response.errors.is_empty()
        && response.data == Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// What is refused before GraphQL is reached: an RFC 9457 problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// 401
    #[error("{0}")]
    Unauthorized(AuthError),
    /// 503
    #[error("{0}")]
    NoKeys(AuthError),
    /// 403
    #[error("your role may not see this")]
    Forbidden,
    /// 503
    #[error("the database does not answer: try again")]
    Unavailable,
    /// 400
    #[error("{0}")]
    BadRequest(String),
    /// 405
    #[error("queries are sent by POST, subscriptions over a WebSocket")]
    MethodNotAllowed,
    /// 406
    #[error("answers are application/graphql-response+json or application/json: accept one of them")]
    NotAcceptable,
    /// 413
    #[error("the request is larger than {} bytes", crate::limits::BODY_BYTES_MAX)]
    TooLarge,
    /// 415
    #[error("send application/json")]
    UnsupportedMediaType,
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Expired | AuthError::Invalid => Self::Unauthorized(error),
            AuthError::NoKeys => Self::NoKeys(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title) = match &self {
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "Not authenticated"),
            Self::NoKeys(_) => (StatusCode::SERVICE_UNAVAILABLE, "Tokens cannot be checked now"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Not allowed"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Cannot be read now"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "Not a GraphQL request"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Not by this method"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "No acceptable media type"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request too large"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
        };
        let body =
            json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.to_string()})
                .to_string();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let extra = match self {
            Self::Unauthorized(_) => Some((header::WWW_AUTHENTICATE, "Bearer")),
            Self::NoKeys(_) => Some((header::RETRY_AFTER, "5")),
            Self::MethodNotAllowed => Some((header::ALLOW, "POST")),
            Self::Forbidden
            | Self::Unavailable
            | Self::BadRequest(_)
            | Self::NotAcceptable
            | Self::TooLarge
            | Self::UnsupportedMediaType => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(error: ApiError) -> ServerError {
        mask(refusal(error), "r-1").errors.remove(0)
    }

    #[test]
    fn internals_are_masked_and_named_by_the_request() {
        for error in [
            ApiError::Database(DatabaseError::Corrupt("secret column")),
            ApiError::Corrupt("secret status"),
        ] {
            let error = masked(error);
            let text = serde_json::to_string(&error).expect("json");
            assert_eq!(error.message, "internal error");
            assert!(
                text.contains("r-1") && text.contains("INTERNAL") && !text.contains("secret"),
                "{text}"
            );
        }
        assert_eq!(
            masked(ApiError::Database(DatabaseError::CutOff)).message,
            "temporarily unavailable: try again"
        );
    }

    #[test]
    fn an_unknown_failure_is_masked_too() {
        let mut error = ServerError::new("select * from secret", None);
        error.source = Some(std::sync::Arc::new("foreign"));
        let error = mask(GraphResponse::from_errors(vec![error]), "r").errors.remove(0);
        assert_eq!(error.message, "internal error");
    }

    #[test]
    fn what_the_caller_can_mend_is_said() {
        assert_eq!(masked(ApiError::bad_input("no such order")).message, "no such order");
        assert_eq!(first_code(&mask(refusal(ApiError::Forbidden), "r")), Some("FORBIDDEN"));
    }
}
