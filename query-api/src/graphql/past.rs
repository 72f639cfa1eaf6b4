//! Which past is asked for, and what for: looking back is itself recorded.

use async_graphql::Context;
use domain::{
    Date, Timestamp,
    access::{self, Question},
    policy::Permission,
};
use infra::{clock, read_model::query::Moment};

use super::{employee::store, scalar::Day};
use crate::{access::Viewer, error::ApiError};

/// What a request says that it wants history for, if it does.
#[derive(Debug, Clone)]
pub struct Purpose(pub Option<String>);

/// What `asOf` and `knownAt` mean together; none of them: today. Only `asOf`: that day, by all that is known. Only `knownAt`: its
/// own day, as it was known then. Before anything is answered, it is recorded who asked for `about`, and what for.
///
/// # Errors
/// Forbidden without [`Permission::SeeHistory`]; bad input for what has not happened yet, or without a purpose.
pub async fn moment(
    ctx: &Context<'_>,
    about: &str,
    as_of: Option<Day>,
    known_at: Option<Timestamp>,
) -> Result<Option<Moment>, ApiError> {
    if as_of.is_none() && known_at.is_none() {
        return Ok(None);
    }
    Viewer::of(ctx)?.require(Permission::SeeHistory)?;
    let at = resolve(as_of.map(|day| day.0), known_at, clock::now())?;
    record(ctx, about, at.day, known_at).await?;
    Ok(Some(at))
}

/// Records that somebody asks for history.
///
/// # Errors
/// Bad input without a purpose; when it could not be recorded.
pub async fn record(ctx: &Context<'_>, about: &str, as_of: Date, known_at: Option<Timestamp>) -> Result<(), ApiError> {
    let said = ctx.data_opt::<Purpose>().and_then(|purpose| purpose.0.as_ref());
    let purpose = said.filter(|text| access::is_purpose(text)).ok_or_else(|| {
        ApiError::bad_input(format!(
            "say what the history is wanted for in the header `Tenure-Purpose` ({} characters at most): it is recorded",
            access::PURPOSE_CHARS_MAX
        ))
    })?;
    let question = Question {
        on: clock::today(),
        about: about.to_owned(),
        as_of: Some(as_of),
        known_at,
        purpose: purpose.clone().into(),
    };
    store(ctx)?.record_question(Viewer::of(ctx)?, question).await
}

fn resolve(as_of: Option<Date>, known_at: Option<Timestamp>, now: Timestamp) -> Result<Moment, ApiError> {
    let known_at = known_at.unwrap_or(now);
    let day = as_of.unwrap_or_else(|| known_at.date_naive());
    if known_at > now {
        return Err(ApiError::bad_input(format!(
            "`knownAt` is in the future: nothing is recorded after {}",
            now.to_rfc3339()
        )));
    }
    if day > now.date_naive() {
        return Err(ApiError::bad_input(format!(
            "`asOf` is in the future: the latest day is {} (UTC)",
            now.date_naive()
        )));
    }
    Ok(Moment { day, known_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_follows_from_what_is_given() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a moment");
        let then: Timestamp = "2025-03-31T23:30:00Z".parse().expect("a moment");
        let day = |text: &str| Some(text.parse::<Date>().expect("a day"));
        let told = |as_of, known_at| resolve(as_of, known_at, now).ok().map(|at| (at.day, at.known_at));
        assert_eq!(
            told(day("2024-02-29"), None),
            Some((day("2024-02-29").expect("a day"), now))
        );
        assert_eq!(told(None, Some(then)), Some((day("2025-03-31").expect("a day"), then)));
        // What was planned then is a fair question.
        assert_eq!(
            told(day("2026-01-01"), Some(then)),
            Some((day("2026-01-01").expect("a day"), then))
        );
        assert_eq!(told(day("2026-11-22"), None), None, "tomorrow");
        assert_eq!(
            told(None, Some("2026-11-21T12:00:01Z".parse().expect("a moment"))),
            None
        );
    }
}
