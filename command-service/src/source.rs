//! What is asked of a source, whichever it is, and what can come of it.
//!
//! A client asks once, at the connection's [`Pace`](crate::pace::Pace); whoever calls decides about trying again with [`SourceProblem::is_retryable`] and
//! [`Backoff`]. What fails is told by status, request id and the source's own error, never by a body: bodies are personal data.

use std::time::Duration;

use chrono::DateTime;
use domain::{
    Date, Timestamp,
    employee::{self, DAYS_AHEAD_MAX},
    id::TenantId,
    money::NotMoney,
};
use reqwest::{
    Response, StatusCode, Url,
    header::{DATE, HeaderMap, RETRY_AFTER},
};

use crate::{
    bamboohr::{self, payload::Kind},
    pace::{Outcome, Pace},
    workday,
};

/// How long to wait for a connection, in seconds.
pub const CONNECT_SECONDS_MAX: u64 = 10;
/// How long to wait for one whole answer, in seconds. A table of everybody takes a while.
pub const ANSWER_SECONDS_MAX: u64 = 120;
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest wait that a `Retry-After` can ask for, in seconds; more is taken as this.
pub const RETRY_AFTER_SECONDS_MAX: u64 = 60 * 60;
/// The most of a source's error text that is repeated, in characters.
pub(crate) const ERROR_CHARS_MAX: usize = 200;

/// The most fields that are kept without a word for them.
pub const OTHER_FIELDS_MAX: usize = 400;
/// The longest value that is kept so, in characters.
pub const OTHER_CHARS_MAX: usize = 2_000;

/// Who changed since a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Where to ask from next time. `None`: the source did not say, so the cursor stays where it is.
    pub cursor: Option<Timestamp>,
    /// Sorted by remote id.
    pub employees: Vec<Changed>,
}

/// One changed person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub remote_id: String,
    pub kind: Kind,
    pub at: Option<Timestamp>,
}

/// Everybody, for the first import and for reconciling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// Sorted and unique.
    pub remote_ids: Vec<String>,
    /// Those who were there once and are not any more, as far as the source tells.
    pub deleted: Vec<String>,
    /// Where to ask for changes from.
    pub cursor: Option<Timestamp>,
    /// Whether those who left are listed too. If not, only the directory could be read.
    pub includes_former: bool,
}

/// Why a source did not give an answer that can be used. The texts are for administrators.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    #[error("{0:?} is no address of a source: give https://, a host, and neither user name nor fragment")]
    BadAddress(String),
    #[error("{0:?} is no employee id of the source")]
    BadEmployeeId(String),
    #[error("the source limits the rate of requests")]
    RateLimited { retry_after: Option<Duration> },
    /// It was not asked: others were told to wait, or failed.
    #[error("the source is left alone for another {} s", .left.as_secs() + 1)]
    LeftAlone { left: Duration },
    #[error("the source is not available for now (status {status})")]
    Unavailable { status: u16, retry_after: Option<Duration> },
    #[error("the source does not accept the key or password: make a new one there and store it in the connection")]
    Unauthorised,
    #[error("the key may not read {what}: give the user to whom it belongs access to it at the source")]
    Forbidden { what: &'static str },
    #[error("there is nothing at the address of {what}: check the company's name and the base address")]
    NothingThere { what: &'static str },
    #[error("{what} was changed at the source meanwhile")]
    Outdated { what: &'static str },
    #[error("the source took too long to answer")]
    Timeout,
    #[error("the source could not be reached: check the address and the network")]
    Network(#[source] reqwest::Error),
    #[error("the source sends the request elsewhere (status {status}): check the company's name and the base address")]
    Redirected { status: u16 },
    #[error(
        "the source answered {what} with status {status}{}{}",
        .message.as_ref().map(|said| format!(": {said}")).unwrap_or_default(),
        .request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default()
    )]
    Unexpected {
        what: &'static str,
        status: u16,
        request_id: Option<String>,
        message: Option<String>,
    },
    #[error("the answer about {what} is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge { what: &'static str },
    #[error("the answer about {what} is not what the source's documentation says")]
    BadAnswer { what: &'static str },
}

impl SourceProblem {
    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::LeftAlone { .. }
            | Self::Unavailable { .. }
            | Self::Outdated { .. }
            | Self::Timeout
            | Self::Network(_) => true,
            Self::BadAddress(_)
            | Self::BadEmployeeId(_)
            | Self::Unauthorised
            | Self::Forbidden { .. }
            | Self::NothingThere { .. }
            | Self::Redirected { .. }
            | Self::Unexpected { .. }
            | Self::TooLarge { .. }
            | Self::BadAnswer { .. } => false,
        }
    }

    /// How long to wait: because the source asks for it, or because it is left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::LeftAlone { left } => Some(*left),
            _ => None,
        }
    }

    /// A stable word for the kind of failure, for metrics and `connection::Command::ReportFailed`.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::BadAddress(_) => "bad-address",
            Self::BadEmployeeId(_) => "bad-employee-id",
            Self::RateLimited { .. } => "rate-limited",
            Self::LeftAlone { .. } => "left-alone",
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden { .. } => "forbidden",
            Self::NothingThere { .. } => "nothing-there",
            Self::Outdated { .. } => "outdated",
            Self::Timeout => "timeout",
            Self::Network(_) => "network",
            Self::Redirected { .. } => "redirected",
            Self::Unexpected { .. } => "unexpected",
            Self::TooLarge { .. } => "too-large",
            Self::BadAnswer { .. } => "bad-answer",
        }
    }

    /// For `map_err`: the address is taken out, because it names a person's id.
    pub(crate) fn network(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Network(error.without_url())
        }
    }

    /// What it says of the source.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::RateLimited { retry_after } => Outcome::Limited(*retry_after),
            Self::Unavailable { retry_after, .. } => Outcome::Failed(*retry_after),
            // Whoever asks on with a wrong password locks the user out.
            Self::Timeout | Self::Network(_) | Self::Unauthorised => Outcome::Failed(None),
            _ => Outcome::Answered,
        }
    }
}

/// How long to wait before trying again: exponential, with jitter, never sooner than `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait, unless `Retry-After` asks for more.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait before the attempt after `attempt` (from 0). `fraction` is a random number from 0 to 1: half of the wait
    /// is fixed and half is random, so that many clients do not come back at once.
    #[must_use]
    pub fn delay(self, attempt: u32, fraction: f64, retry_after: Option<Duration>) -> Duration {
        let fraction = if fraction.is_finite() {
            fraction.clamp(0.0, 1.0)
        } else {
            1.0
        };
        let whole = self
            .first
            .saturating_mul(2_u32.saturating_pow(attempt))
            .min(self.longest);
        let jittered = whole / 2 + (whole / 2).mul_f64(fraction);
        match retry_after {
            // A little later than asked, each by a different bit.
            Some(asked) => {
                asked.min(Duration::from_secs(RETRY_AFTER_SECONDS_MAX)).max(jittered) + self.first.mul_f64(fraction)
            }
            None => jittered,
        }
    }
}

/// A value that could not be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field's own name, or `table#row.column`.
    pub field: String,
    pub problem: Problem,
}

/// What is wrong with a value. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is not a day such as 2024-03-01; it was left out")]
    NotADay,
    #[error("lies more than {DAYS_AHEAD_MAX} days ahead; it was left out")]
    TooFarAhead,
    #[error("is not a rate of pay ({0}); it was left out")]
    NotARate(NotMoney),
    #[error("is finer than the currency's smallest unit; it was rounded")]
    Rounded,
    #[error("does not say what the rate is paid for; the rate was left out")]
    UnknownPeriod,
    #[error("is not a number of hours in a week; it was left out")]
    NotHours,
    #[error("is no text; it was left out")]
    NotText,
    #[error("is longer than {OTHER_CHARS_MAX} characters, or one of more than {OTHER_FIELDS_MAX}; it was cut")]
    TooMuch,
    #[error("names a manager who is unknown, ambiguous, or the person; it was left out")]
    UnknownManager,
    #[error("contradicts the status; the status was believed")]
    Contradiction,
    #[error("is hidden or empty; the first row of the history was taken instead")]
    HireDateFromTable,
    #[error("has more changes than can be asked about at once; what is known of it is not taken for all")]
    TooLong,
    #[error("is hidden from the key; what depends on it was left out")]
    Hidden,
}

/// What asks a source.
pub enum Client {
    BambooHr(bamboohr::client::Client),
    Workday(workday::client::Client),
}

impl Client {
    /// Everybody.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn everybody(&self) -> Result<Roster, SourceProblem> {
        match self {
            Self::BambooHr(client) => client.employee_ids().await,
            Self::Workday(client) => client.workers().await,
        }
    }

    /// Who changed since `since`; the same change can be told twice.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn changed_since(&self, since: Timestamp) -> Result<Changes, SourceProblem> {
        match self {
            Self::BambooHr(client) => client.changed_since(since).await,
            Self::Workday(client) => client.changed_since(since).await,
        }
    }

    /// One person with all their history, and what of it could not be taken as it is.
    ///
    /// # Errors
    /// When the source cannot be asked, or its answer is about somebody else.
    pub async fn read(
        &self,
        of: (TenantId, employee::Source),
        today: Date,
    ) -> Result<(employee::Snapshot, Vec<Warning>), SourceProblem> {
        match self {
            Self::BambooHr(client) => bamboohr::read(client, of, today).await,
            Self::Workday(client) => workday::read(client, of, today).await,
        }
    }
}

/// The HTTP client to share among all clients: no redirects (they would carry the key elsewhere), bounded waits.
///
/// # Errors
/// When the TLS backend cannot be set up.
pub fn http_client() -> Result<reqwest::Client, SourceProblem> {
    http_builder().build().map_err(SourceProblem::Network)
}

/// The same before it is made.
pub(crate) fn http_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("Tenure/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
}

/// An address below another, each part escaped.
pub(crate) fn below(base: &Url, path: &[&str]) -> Result<Url, SourceProblem> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| SourceProblem::BadAddress(base.to_string()))?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}

/// Asks when it is the source's turn, and tells its pace what came of it.
pub(crate) async fn at_pace<T>(
    pace: &Pace,
    ask: impl Future<Output = Result<T, SourceProblem>>,
) -> Result<T, SourceProblem> {
    let turn = (pace.turn().await).map_err(|left| SourceProblem::LeftAlone { left })?;
    let answered = ask.await;
    turn.tell(
        answered
            .as_ref()
            .map_or_else(SourceProblem::outcome, |_| Outcome::Answered),
    );
    answered
}

pub(crate) async fn read_bounded(mut response: Response, what: &'static str) -> Result<Vec<u8>, SourceProblem> {
    let announced = response
        .content_length()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or_default();
    if announced > ANSWER_BYTES_MAX {
        return Err(SourceProblem::TooLarge { what });
    }
    let mut body = Vec::with_capacity(announced.min(1024 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(SourceProblem::network)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(SourceProblem::TooLarge { what });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer that can be read; for what is at an address of its own, so that 404 is a wrong address.
pub(crate) fn accepted(what: &'static str, response: Response) -> Result<Response, SourceProblem> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(SourceProblem::NothingThere { what }),
        status => Err(refusal(what, (status, response.headers()), None)),
    }
}

/// What a status other than 2xx and 404 means; `message` is the source's own word for it. At BambooHR, since 16 September 2026 the rate limit
/// is 429, and 503 is a failure.
pub(crate) fn refusal(
    what: &'static str,
    (status, headers): (StatusCode, &HeaderMap),
    message: Option<&str>,
) -> SourceProblem {
    match status.as_u16() {
        429 => SourceProblem::RateLimited {
            retry_after: retry_after(headers),
        },
        401 => SourceProblem::Unauthorised,
        403 => SourceProblem::Forbidden { what },
        status @ (408 | 500 | 502 | 503 | 504 | 598) => SourceProblem::Unavailable {
            status,
            retry_after: retry_after(headers),
        },
        status @ 300..=399 => SourceProblem::Redirected { status },
        status => SourceProblem::Unexpected {
            what,
            status,
            request_id: ["x-request-id", "x-bamboohr-request-id", "request-id"]
                .iter()
                .find_map(|name| headers.get(*name))
                .and_then(|id| id.to_str().ok())
                .map(|id| {
                    id.chars()
                        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                        .take(64)
                        .collect()
                }),
            message: message.map(without_values),
        },
    }
}

/// A source's error text without what could be a value: addresses and numbers. Requests hold no other personal data.
pub(crate) fn without_values(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let hidden = word.contains('@') || word.bytes().filter(u8::is_ascii_digit).count() > 3;
        if hidden { "…" } else { word }
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(ERROR_CHARS_MAX)
        .collect()
}

/// `Retry-After` in seconds, or as a date, which is compared with the answer's own `Date`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(bounded_seconds(seconds));
    }
    let until = DateTime::parse_from_rfc2822(asked).ok()?;
    let now = DateTime::parse_from_rfc2822(text(DATE)?).ok()?;
    Some(bounded_seconds(
        u64::try_from((until - now).num_seconds()).unwrap_or_default(),
    ))
}

pub(crate) fn bounded_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX))
}

/// An address to which a key may be sent: HTTPS except on this machine, and no more than scheme, host, port and path.
///
/// # Errors
/// When it is none.
pub(crate) fn address(given: &str) -> Result<Url, SourceProblem> {
    let url = address_with_query(given.trim().trim_end_matches('/'))?;
    match url.query() {
        None => Ok(url),
        Some(_) => Err(bad_address(given)),
    }
}

/// The same with a query.
///
/// # Errors
/// When it is none.
pub(crate) fn address_with_query(given: &str) -> Result<Url, SourceProblem> {
    let url = Url::parse(given.trim()).map_err(|_| bad_address(given))?;
    let host = url.host_str().ok_or_else(|| bad_address(given))?;
    let on_this_machine = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && on_this_machine);
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if scheme_fits && bare {
        Ok(url)
    } else {
        Err(bad_address(given))
    }
}

fn bad_address(given: &str) -> SourceProblem {
    // What stands before an `@` or in a query may be a secret; with both it is not clear which is which.
    let shown = match (given.rsplit_once('@'), given.split_once('?')) {
        (Some(_), Some(_)) => "…",
        (Some((_, shown)), None) | (None, Some((shown, _))) => shown,
        (None, None) => given,
    };
    SourceProblem::BadAddress(shown.chars().take(ERROR_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_meaning_and_never_repeats_a_value() {
        for (code, cause, retryable) in [
            (429, "rate-limited", true),
            (503, "unavailable", true),
            (500, "unavailable", true),
            (504, "unavailable", true),
            (408, "unavailable", true),
            (401, "unauthorised", false),
            (403, "forbidden", false),
            (302, "redirected", false),
            (400, "unexpected", false),
            (412, "unexpected", false),
        ] {
            let headers = HeaderMap::from_iter([
                (RETRY_AFTER, "30".parse().expect("a header")),
                (
                    "x-bamboohr-request-id".parse().expect("a name"),
                    "req-1".parse().expect("a header"),
                ),
            ]);
            let status = StatusCode::from_u16(code).expect("a status");
            let said = Some("Bad ada@example.com 123-45-6789 value");
            let problem = refusal("an employee", (status, &headers), said);
            assert_eq!((problem.cause(), problem.is_retryable()), (cause, retryable), "{code}");
            assert_eq!(
                problem.retry_after().is_some(),
                matches!(cause, "rate-limited" | "unavailable"),
                "{code}"
            );
            let text = problem.to_string();
            assert!(!text.contains("example.com") && !text.contains("6789"), "{text}");
            assert_eq!(
                text.contains("Bad … … value") && text.contains("req-1"),
                cause == "unexpected",
                "{text}"
            );
        }
    }

    #[test]
    fn waiting_grows_is_capped_and_honours_retry_after() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
        };
        let seconds = |attempt, fraction, asked: Option<u64>| {
            backoff
                .delay(attempt, fraction, asked.map(Duration::from_secs))
                .as_secs_f64()
        };
        for (attempt, fraction, asked, expected) in [
            (0, 0.0, None, 0.5),
            (0, 1.0, None, 1.0),
            (3, 1.0, None, 8.0),
            (3, 0.5, None, 6.0),
            (u32::MAX, 1.0, None, 30.0),
            (0, f64::NAN, None, 1.0),
            (0, -3.0, None, 0.5),
            (0, 0.0, Some(60), 60.0),
            (0, 1.0, Some(60), 61.0),
            (4, 1.0, Some(2), 17.0),
            (0, 0.0, Some(1_000_000), 3600.0),
        ] {
            assert!(
                (seconds(attempt, fraction, asked) - expected).abs() < 1e-9,
                "{attempt} {fraction} {asked:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let headers = |pairs: &[(reqwest::header::HeaderName, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), reqwest::header::HeaderValue::from_static(value)))
                .collect()
        };
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (given, expected) in [
            (headers(&[(RETRY_AFTER, "30")]), Some(30)),
            (
                headers(&[(RETRY_AFTER, date), (DATE, "Wed, 21 Oct 2026 07:27:15 GMT")]),
                Some(45),
            ),
            (
                headers(&[(RETRY_AFTER, date), (DATE, "Wed, 21 Oct 2026 07:30:00 GMT")]),
                Some(0),
            ),
            (headers(&[(RETRY_AFTER, date)]), None),
            (headers(&[(RETRY_AFTER, "soon")]), None),
            (headers(&[]), None),
        ] {
            assert_eq!(retry_after(&given), expected.map(Duration::from_secs));
        }
    }

    #[test]
    fn only_https_addresses_are_taken_except_on_this_machine() {
        for base in [
            "https://acme.example/",
            "http://localhost:9000",
            "http://[::1]:9000/vendor",
        ] {
            assert!(address(base).is_ok(), "{base}");
        }
        for base in [
            "http://acme.bamboohr.com",
            "http://localhost.evil.example",
            "ftp://localhost",
            "https://user@acme.bamboohr.com",
            "https://acme.bamboohr.com?x=1",
            "acme",
            "",
        ] {
            assert!(address(base).is_err(), "{base}");
        }
    }
}
