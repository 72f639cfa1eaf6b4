//! Errors to HTTP, in one place: RFC 9457 problems that say what was wrong and what to do, and nothing about the inside.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use infra::{auth::AuthError, clock, database::DatabaseError};
use serde_json::{Value, json};

use crate::{connections::ConnectionsError, intake::IntakeError};

/// A refusal.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// The last part of the problem's type URI: stable, for programs.
    kind: &'static str,
    title: &'static str,
    detail: String,
    extensions: Vec<(&'static str, Value)>,
    retry_after_seconds: Option<u32>,
}

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            extensions: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be understood",
            detail,
        )
    }

    /// 404, also for what exists and is none of the caller's business.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing here",
            detail,
        )
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Your role does not allow this",
            detail,
        )
    }

    /// 503: passes; try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "A part of Tenure is away at the moment",
            detail,
        );
        problem.retry_after_seconds = Some(5);
        problem
    }

    /// 500: our fault. The cause is logged under an id that the caller can name.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let id = clock::new_id();
        tracing::error!(error, request_problem = %id, "a request failed (problem {id})");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong inside Tenure",
            format!("Tell your operator this id: {id}"),
        )
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extensions.push((name, value.into()));
        self
    }

    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What was wrong, for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("https://tenure.dev/problems/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (name, value) in self.extensions {
            body[name] = value;
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Expired | AuthError::Invalid => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthorised",
                "Tell us who you are",
                error.to_string(),
            ),
            AuthError::NoKeys => Self::unavailable(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        if error.is_transient() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database is away");
            Self::unavailable("The database cannot be reached. Nothing was changed; try again.")
        } else {
            Self::internal(&error)
        }
    }
}

impl From<ConnectionsError> for Problem {
    fn from(error: ConnectionsError) -> Self {
        match error {
            ConnectionsError::Database(error)
            | ConnectionsError::Sealing(infra::sealing::SealingError::Database(error)) => error.into(),
            ConnectionsError::Sealing(_) | ConnectionsError::Unreadable => Self::internal(&error),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Broker(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Kafka did not confirm");
                Self::unavailable("The message queue did not confirm. Send the same request again: it counts once.")
            }
            IntakeError::Seal(infra::sealing::SealingError::Database(error)) => error.into(),
            IntakeError::Seal(_) | IntakeError::Encode(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_500_says_nothing_about_the_inside() {
        let error = std::io::Error::other("password=hunter2 at /var/lib");
        let response = Problem::internal(&error).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .expect("a body");
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(!text.contains("hunter2") && !text.contains("/var/lib"), "{text}");
    }
}
