//! BambooHR: what it sends, what is asked of it, and what both mean.
//!
//! | module | does | IO |
//! |---|---|---|
//! | [`signature`] | proves that a webhook comes from the account and is fresh | none |
//! | [`payload`] | reads a webhook of any style into notifications | none |
//! | [`client`] | asks BambooHR's API | HTTP |
//! | [`pay`] | adds a row to the table of rates of pay | HTTP |
//! | [`translate`] | turns an employee's fields and tables into a domain snapshot | none |
//!
//! A webhook is only a hint: whom it names is read again through the API, because history (pay, jobs, standing) lives in
//! tables that no webhook carries. Every wire shape here is from facts/connectors.md A1, which names its sources.

pub mod client;
pub mod pay;
pub mod payload;
pub mod signature;
pub mod translate;

use chrono::{DateTime, NaiveDateTime, Utc};
use domain::{
    Date, Timestamp,
    employee::{Rows, Snapshot, Source, Standing},
    id::TenantId,
};

use self::{
    client::{Client, Table, Whose},
    translate::{FIELDS, Tables, TranslateProblem},
};
use crate::source::{SourceProblem, Warning};

/// The longest employee id that is believed, in characters. BambooHR's own are short numbers.
pub const REMOTE_ID_CHARS_MAX: usize = 64;

/// Unix seconds above this are milliseconds: it is the year 5138.
const UNIX_SECONDS_MAX: i64 = 100_000_000_000;

/// Whether `id` can be an employee's id at BambooHR. It becomes part of a path, so nothing but letters, digits, hyphens and
/// underscores is let through.
#[must_use]
pub fn is_remote_id(id: &str) -> bool {
    (1..=REMOTE_ID_CHARS_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads a moment as BambooHR writes it: Unix seconds (or milliseconds), or ISO 8601 with `Z`, `+00:00` or `+0000`. A time
/// without an offset is taken as UTC.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return match number {
            0..UNIX_SECONDS_MAX => DateTime::from_timestamp(number, 0),
            UNIX_SECONDS_MAX.. => DateTime::from_timestamp_millis(number),
            _ => None,
        };
    }
    let with_offset = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
    let without = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| {
            with_offset
                .iter()
                .find_map(|format| DateTime::parse_from_str(text, format).ok())
        })
        .map(|moment| moment.with_timezone(&Utc))
        .or_else(|| {
            let text = text.strip_suffix('Z').unwrap_or(text);
            without
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .map(|moment| moment.and_utc())
        })
}

/// Reads one person with all tables. Who is not there any more was deleted.
///
/// # Errors
/// When BambooHR cannot be asked, or its answer is about somebody else.
pub async fn read(
    client: &Client,
    (tenant, source): (TenantId, Source),
    today: Date,
) -> Result<(Snapshot, Vec<Warning>), SourceProblem> {
    let remote_id = source.remote_id.clone();
    let whose = Whose::One(&remote_id);
    let Some(fields) = client.employee(&remote_id, FIELDS).await? else {
        let gone = Snapshot {
            standing: Rows::current(today, Standing::Deleted),
            ..Snapshot::silent(source, today)
        };
        return Ok((gone, Vec::new()));
    };
    let (job_info, compensation, employment_status) = tokio::join!(
        client.table(whose, Table::JobInfo),
        client.table(whose, Table::Compensation),
        client.table(whose, Table::EmploymentStatus)
    );
    let tables = Tables {
        job_info: readable(job_info)?,
        compensation: readable(compensation)?,
        employment_status: readable(employment_status)?,
    };
    let read = translate::snapshot(tenant, source, &fields, Some(&tables), &|_| None, today);
    read.map_err(|problem| match problem {
        TranslateProblem::NoRemoteId => SourceProblem::BadEmployeeId(remote_id),
        TranslateProblem::SomebodyElse => SourceProblem::BadAnswer { what: "an employee" },
    })
}

/// A table that the key may not see (or that the account does not have) is not said; any other problem is one.
fn readable<T>(table: Result<Vec<T>, SourceProblem>) -> Result<Option<Vec<T>>, SourceProblem> {
    match table {
        Ok(rows) => Ok(Some(rows)),
        Err(SourceProblem::Forbidden { .. } | SourceProblem::Unexpected { status: 404, .. }) => Ok(None),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_spelling() {
        for (text, expected) in [
            ("1769884920", "2026-01-31T18:42:00+00:00"),
            ("1769884920123", "2026-01-31T18:42:00.123+00:00"),
            ("2026-01-31T18:42:00+0000", "2026-01-31T18:42:00+00:00"),
            ("2026-01-31T18:42:00.250+0000", "2026-01-31T18:42:00.250+00:00"),
            ("2026-01-31T18:42:00Z", "2026-01-31T18:42:00+00:00"),
            ("2026-01-31T11:42:00-07:00", "2026-01-31T18:42:00+00:00"),
            ("2026-01-31T11:42:00-0700", "2026-01-31T18:42:00+00:00"),
            ("2026-01-31 18:42:00", "2026-01-31T18:42:00+00:00"),
            (" 2026-01-31T18:42:00 ", "2026-01-31T18:42:00+00:00"),
        ] {
            assert_eq!(
                moment(text).map(|moment| moment.to_rfc3339()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "yesterday",
            "-5",
            "2026-13-01T00:00:00Z",
            "99999999999999999999",
            "9223372036854775807",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_cannot_climb_out_of_its_path() {
        assert!(is_remote_id("12345") && is_remote_id("a-b_C"));
        for id in ["", "..", "1/2", "1?x", "1%2f", "ä", &"9".repeat(65)] {
            assert!(!is_remote_id(id), "{id}");
        }
    }
}
