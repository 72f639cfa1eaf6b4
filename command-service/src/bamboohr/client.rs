//! Asks BambooHR's API: who is there, who changed, what is known of one person.
//!
//! Addresses, limits and errors are those of facts/connectors.md A1 (from BambooHR's SDK and its documentation). The client
//! asks once, at the connection's [`Pace`]; whoever calls decides about trying again with [`ClientProblem::is_retryable`] and
//! [`Backoff`].
//!
//! What fails is told by status, request id and BambooHR's own error header, never by a body: bodies are personal data.

use std::{collections::HashSet, fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta};
use domain::Timestamp;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{ACCEPT, DATE, HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    is_remote_id, moment,
    payload::Kind,
    translate::{ESSENTIAL_FIELDS, FIELDS},
};
use crate::pace::{Outcome, Pace};

/// How long to wait for a connection, in seconds.
pub const CONNECT_SECONDS_MAX: u64 = 10;
/// How long to wait for one whole answer, in seconds. A table of everybody takes BambooHR a while.
pub const ANSWER_SECONDS_MAX: u64 = 120;
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most fields that BambooHR gives at once.
pub const FIELDS_PER_REQUEST_MAX: usize = 400;
/// How far back before the cursor changes are asked for, in seconds: BambooHR's clock and its index are not one.
pub const CURSOR_OVERLAP_SECONDS: i64 = 10;
/// The longest wait that a `Retry-After` can ask for, in seconds; more is taken as this.
pub const RETRY_AFTER_SECONDS_MAX: u64 = 60 * 60;
/// The most of BambooHR's error text that is repeated, in characters.
const ERROR_CHARS_MAX: usize = 200;

/// A flat answer: an employee's fields by alias, or a table's row by column.
pub type Fields = Map<String, Value>;
/// A row of an effective-dated table. Rows come unsorted.
pub type Row = Map<String, Value>;

/// The effective-dated tables that Tenure reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    JobInfo,
    Compensation,
    EmploymentStatus,
}

impl Table {
    pub const ALL: [Self; 3] = [Self::JobInfo, Self::Compensation, Self::EmploymentStatus];

    /// The table's name at BambooHR.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobInfo => "jobInfo",
            Self::Compensation => "compensation",
            Self::EmploymentStatus => "employmentStatus",
        }
    }
}

/// Whose rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// One person, by remote id.
    One(&'a str),
    /// Everybody; each row says whose it is in `employeeId`.
    All,
}

/// A person in the directory, which lists only who is employed now.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    pub remote_id: String,
    /// As `reportsTo` and `supervisor` name this person.
    pub display_name: Option<String>,
}

/// The name is personal, so it is not shown.
impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed")
            .field("remote_id", &self.remote_id)
            .finish_non_exhaustive()
    }
}

/// Who changed since a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Where to ask from next time. `None`: BambooHR did not say, so the cursor stays where it is.
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

/// A webhook of the user whose key is used: BambooHR lists nobody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: String,
    /// Where it sends to.
    pub url: String,
}

/// What became of something that a webhook sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of whom it told.
    pub remote_ids: Vec<String>,
    pub last_attempted: Option<Timestamp>,
    /// Whether it was taken in the end.
    pub is_delivered: bool,
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

/// Why BambooHR did not give an answer that can be used. The texts are for administrators.
#[derive(Debug, thiserror::Error)]
pub enum ClientProblem {
    #[error("{0:?} is no address for BambooHR: give https://, a host, and neither user name, query nor fragment")]
    BadAddress(String),
    #[error("{0:?} is no employee id of BambooHR")]
    BadEmployeeId(String),
    #[error("BambooHR limits the rate of requests")]
    RateLimited { retry_after: Option<Duration> },
    /// It was not asked: others were told to wait, or failed.
    #[error("BambooHR is left alone for another {} s", .left.as_secs() + 1)]
    LeftAlone { left: Duration },
    #[error("BambooHR is not available for now (status {status})")]
    Unavailable { status: u16, retry_after: Option<Duration> },
    #[error("BambooHR does not accept the API key: make a new one there and store it in the connection")]
    Unauthorised,
    #[error("the API key may not read {what}: give the user who made the key access to it in BambooHR")]
    Forbidden { what: &'static str },
    #[error("there is nothing at the address of {what}: check the company domain and the base address")]
    NothingThere { what: &'static str },
    #[error("BambooHR took too long to answer")]
    Timeout,
    #[error("BambooHR could not be reached: check the address and the network")]
    Network(#[source] reqwest::Error),
    #[error("BambooHR sends the request elsewhere (status {status}): check the company domain and the base address")]
    Redirected { status: u16 },
    #[error(
        "BambooHR answered {what} with status {status}{}{}",
        .message.as_ref().map(|said| format!(": {said}")).unwrap_or_default(),
        .request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default()
    )]
    Unexpected {
        what: &'static str,
        status: u16,
        request_id: Option<String>,
        message: Option<String>,
    },
    #[error("BambooHR's answer about {what} is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge { what: &'static str },
    #[error("BambooHR's answer about {what} is not what its documentation says")]
    BadAnswer { what: &'static str },
}

impl ClientProblem {
    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::LeftAlone { .. }
            | Self::Unavailable { .. }
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

    /// How long to wait: because BambooHR asks for it, or because it is left alone.
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
            Self::Timeout => "timeout",
            Self::Network(_) => "network",
            Self::Redirected { .. } => "redirected",
            Self::Unexpected { .. } => "unexpected",
            Self::TooLarge { .. } => "too-large",
            Self::BadAnswer { .. } => "bad-answer",
        }
    }

    /// For `map_err`: the address is taken out, because it names a person's id.
    fn network(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Network(error.without_url())
        }
    }

    /// What it says of the source.
    const fn outcome(&self) -> Outcome {
        match self {
            Self::RateLimited { retry_after } => Outcome::Limited(*retry_after),
            Self::Unavailable { retry_after, .. } => Outcome::Failed(*retry_after),
            Self::Timeout | Self::Network(_) => Outcome::Failed(None),
            _ => Outcome::Answered,
        }
    }

    /// Whether BambooHR disliked the request itself, such as a field that it does not know.
    const fn is_refused_request(&self) -> bool {
        matches!(self, Self::Unexpected { status: 400 | 406, .. })
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

/// One account's API.
#[derive(Clone)]
pub struct Client {
    /// Ends with `/v1/`.
    base: Url,
    company_domain: String,
    api_key: SecretString,
    http: reqwest::Client,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("company_domain", &self.company_domain)
            .finish_non_exhaustive()
    }
}

/// The address of an account at BambooHR itself.
#[must_use]
pub fn default_base_url(company_domain: &str) -> String {
    format!("https://{company_domain}.bamboohr.com")
}

/// The HTTP client to share among all [`Client`]s: no redirects (they would carry the API key elsewhere), bounded waits.
///
/// # Errors
/// When the TLS backend cannot be set up.
pub fn http_client() -> Result<reqwest::Client, ClientProblem> {
    reqwest::Client::builder()
        .user_agent(concat!("Tenure/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
        .build()
        .map_err(ClientProblem::Network)
}

impl Client {
    /// The API at `base_url` (with or without a slash at its end; the legacy
    /// `https://api.bamboohr.com/api/gateway.php/{company}` too). `http` must not follow redirects: see [`http_client`].
    ///
    /// # Errors
    /// When the address is not HTTPS (except on this machine), or holds more than scheme, host, port and path.
    pub fn new(
        base_url: &str,
        company_domain: &str,
        api_key: SecretString,
        http: reqwest::Client,
    ) -> Result<Self, ClientProblem> {
        let base = api_address(base_url).ok_or_else(|| {
            // What stands before an `@` may be a secret.
            ClientProblem::BadAddress(
                base_url
                    .rsplit('@')
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(ERROR_CHARS_MAX)
                    .collect(),
            )
        })?;
        Ok(Self {
            base,
            company_domain: company_domain.to_owned(),
            api_key,
            http,
            pace: Pace::default(),
        })
    }

    /// The same at the pace of everybody who asks this source.
    #[must_use]
    pub fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// One person's fields by alias, or `None` if there is no such person. Fields that the key may not see are missing.
    ///
    /// If BambooHR refuses a field (400 or 406), it is asked once more without the fields that its error names, or, if it
    /// names none, for [`ESSENTIAL_FIELDS`] only.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn employee(&self, remote_id: &str, fields: &[&str]) -> Result<Option<Fields>, ClientProblem> {
        let mut all = Fields::new();
        for some in fields.chunks(FIELDS_PER_REQUEST_MAX) {
            let answer = match self.employee_once(remote_id, some).await {
                Err(problem) if problem.is_refused_request() => {
                    let fewer = without_refused(some, &problem);
                    if fewer.is_empty() || fewer.len() == some.len() {
                        return Err(problem);
                    }
                    tracing::warn!(
                        company_domain = %self.company_domain,
                        refused = some.len() - fewer.len(),
                        "BambooHR refused some fields; asking for the others"
                    );
                    self.employee_once(remote_id, &fewer).await?
                }
                answer => answer?,
            };
            match answer {
                Some(more) => all.extend(more),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    async fn employee_once(&self, remote_id: &str, fields: &[&str]) -> Result<Option<Fields>, ClientProblem> {
        const WHAT: &str = "an employee";
        let path = ["employees", checked(remote_id)?];
        // Only current values: a future title is the tables' business.
        let query = [("fields", fields.join(",")), ("onlyCurrent", "true".to_owned())];
        match self.get(WHAT, &path, &query).await? {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(ClientProblem::BadAnswer { what: WHAT }),
        }
    }

    /// The rows of a table, unsorted; none if there is no such person.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn table(&self, whose: Whose<'_>, table: Table) -> Result<Vec<Row>, ClientProblem> {
        let what = match table {
            Table::JobInfo => "the table jobInfo",
            Table::Compensation => "the table compensation",
            Table::EmploymentStatus => "the table employmentStatus",
        };
        let id = match whose {
            Whose::One(remote_id) => checked(remote_id)?,
            Whose::All => "all",
        };
        match self.get(what, &["employees", id, "tables", table.name()], &[]).await? {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(rows)) => rows.into_iter().map(|row| object(row, what)).collect(),
            // PHP writes a list with gaps as an object.
            Some(Value::Object(rows)) => rows.into_iter().map(|(_, row)| object(row, what)).collect(),
            Some(_) => Err(ClientProblem::BadAnswer { what }),
        }
    }

    /// Everybody who is employed now.
    ///
    /// # Errors
    /// When there is no usable answer; `Forbidden` when the account does not share its directory.
    pub async fn directory(&self) -> Result<Vec<Listed>, ClientProblem> {
        const WHAT: &str = "the directory";
        let bad = || ClientProblem::BadAnswer { what: WHAT };
        // 404: the directory is empty.
        let Some(mut answer) = self.get(WHAT, &["employees", "directory"], &[]).await? else {
            return Ok(Vec::new());
        };
        let Some(Value::Array(people)) = answer.get_mut("employees").map(Value::take) else {
            return Err(bad());
        };
        people
            .iter()
            .map(|person| {
                let text = |name: &str| {
                    person
                        .get(name)
                        .and_then(Value::as_str)
                        .map(str::trim)
                        .filter(|text| !text.is_empty())
                };
                let display_name = text("displayName").map(str::to_owned).or_else(|| {
                    let first = text("preferredName").or_else(|| text("firstName"));
                    Some(format!("{} {}", first?, text("lastName")?))
                });
                Ok(Listed {
                    remote_id: person.get("id").and_then(id_text).ok_or_else(bad)?,
                    display_name,
                })
            })
            .collect()
    }

    /// Who changed since `since`, in any field or table. The same change can be told twice: see
    /// [`CURSOR_OVERLAP_SECONDS`].
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn changed_since(&self, since: Timestamp) -> Result<Changes, ClientProblem> {
        const WHAT: &str = "changed employees";
        let overlapped = since
            .checked_sub_signed(TimeDelta::seconds(CURSOR_OVERLAP_SECONDS))
            .unwrap_or(since);
        let since = overlapped
            .max(DateTime::UNIX_EPOCH)
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        let answer = self.get(WHAT, &["employees", "changed"], &[("since", since)]).await?;
        let answer = answer.ok_or(ClientProblem::NothingThere { what: WHAT })?;
        changes(&answer).ok_or(ClientProblem::BadAnswer { what: WHAT })
    }

    /// Everybody's id, with those who left where the key allows it: everybody changed since 1970. Otherwise the directory.
    ///
    /// # Errors
    /// When neither gives a usable answer.
    pub async fn employee_ids(&self) -> Result<Roster, ClientProblem> {
        match self.changed_since(DateTime::UNIX_EPOCH).await {
            Ok(changes) if !changes.employees.is_empty() => {
                let (deleted, present): (Vec<Changed>, Vec<Changed>) =
                    (changes.employees.into_iter()).partition(|changed| changed.kind == Kind::Deleted);
                let ids = |changed: Vec<Changed>| changed.into_iter().map(|changed| changed.remote_id).collect();
                Ok(Roster {
                    remote_ids: ids(present),
                    deleted: ids(deleted),
                    cursor: changes.cursor,
                    includes_former: true,
                })
            }
            Ok(changes) => self.roster_of_directory(changes.cursor).await,
            Err(
                problem @ (ClientProblem::Forbidden { .. }
                | ClientProblem::NothingThere { .. }
                | ClientProblem::Unexpected { .. }
                | ClientProblem::BadAnswer { .. }),
            ) => {
                tracing::warn!(
                    company_domain = %self.company_domain,
                    cause = problem.cause(),
                    "BambooHR does not list changed employees; importing the directory, which lacks those who left"
                );
                self.roster_of_directory(None).await
            }
            Err(problem) => Err(problem),
        }
    }

    async fn roster_of_directory(&self, cursor: Option<Timestamp>) -> Result<Roster, ClientProblem> {
        let mut remote_ids: Vec<String> = self
            .directory()
            .await?
            .into_iter()
            .map(|listed| listed.remote_id)
            .collect();
        remote_ids.sort_unstable();
        remote_ids.dedup();
        Ok(Roster {
            remote_ids,
            deleted: Vec::new(),
            cursor,
            includes_former: false,
        })
    }

    /// The webhooks of the user whose key is used.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientProblem> {
        const WHAT: &str = "webhooks";
        let bad = || ClientProblem::BadAnswer { what: WHAT };
        let answer = self.get(WHAT, &["webhooks"], &[]).await?;
        let answer = answer.ok_or(ClientProblem::NothingThere { what: WHAT })?;
        let webhooks = answer.get("webhooks").and_then(Value::as_array).ok_or_else(bad)?;
        let webhooks = webhooks.iter().map(|webhook| {
            Ok(Webhook {
                id: webhook.get("id").and_then(id_text).ok_or_else(bad)?,
                url: webhook.get("url").and_then(Value::as_str).ok_or_else(bad)?.to_owned(),
            })
        });
        webhooks.collect()
    }

    /// Registers a webhook that sends to `url` whenever something changes that Tenure reads, as far as the key may see it. Answers its
    /// id and its private key, which BambooHR tells this once.
    ///
    /// # Errors
    /// When there is no usable answer, or the key may see nothing of what is read.
    pub async fn create_webhook(&self, url: &str) -> Result<(String, SecretString), ClientProblem> {
        const WHAT: &str = "a new webhook";
        let bad = || ClientProblem::BadAnswer { what: WHAT };
        let mut fields = FIELDS.to_vec();
        while !fields.is_empty() {
            let wanted = json!({
                "name": "Tenure",
                "url": url,
                "format": "json",
                "monitorFields": fields,
                "includeCompanyDomain": true,
                "events": ["employee.created", "employee.updated", "employee.deleted"],
            });
            let (status, body) = self.ask(WHAT, Method::POST, (&["webhooks"], Some(&wanted))).await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            if status == StatusCode::FORBIDDEN {
                // Its body names the fields at fault, and nobody's values.
                let named = refused_fields(&body);
                let before = fields.len();
                fields.retain(|field| !named.contains(*field));
                if fields.len() == before {
                    return Err(ClientProblem::Forbidden { what: WHAT });
                }
                tracing::warn!(
                    company_domain = %self.company_domain,
                    refused = before - fields.len(),
                    "BambooHR does not tell this key when some fields change"
                );
                continue;
            }
            let id = body.get("id").and_then(id_text).ok_or_else(bad)?;
            let Some(key) = body.get("privateKey").and_then(Value::as_str) else {
                // What it would send could not be proven.
                self.delete_webhook(&id).await?;
                return Err(bad());
            };
            return Ok((id, key.to_owned().into()));
        }
        Err(ClientProblem::Forbidden { what: WHAT })
    }

    /// Deletes a webhook; one that is gone is no failure.
    ///
    /// # Errors
    /// When BambooHR refuses.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ClientProblem> {
        const WHAT: &str = "a webhook";
        let path = ["webhooks", checked(id)?];
        match self.ask(WHAT, Method::DELETE, (&path, None)).await? {
            (StatusCode::FORBIDDEN, _) => Err(ClientProblem::Forbidden { what: WHAT }),
            _ => Ok(()),
        }
    }

    /// What a webhook sent in the last 14 days (200 at most), and what became of it.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn webhook_log(&self, id: &str) -> Result<Vec<Delivery>, ClientProblem> {
        const WHAT: &str = "a webhook's log";
        let answer = self.get(WHAT, &["webhooks", checked(id)?, "log"], &[]).await?;
        deliveries(&answer.unwrap_or_default()).ok_or(ClientProblem::BadAnswer { what: WHAT })
    }

    /// One GET, when it is its turn. `None` is a 404; an empty answer is `null`.
    async fn get(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, ClientProblem> {
        let turn = (self.pace.turn().await).map_err(|left| ClientProblem::LeftAlone { left })?;
        let answer = self.get_now(what, path, query).await;
        turn.tell(
            answer
                .as_ref()
                .map_or_else(ClientProblem::outcome, |_| Outcome::Answered),
        );
        answer
    }

    /// One request that changes something, when it is its turn: its answer, also if that is 403 or 404.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        (path, body): (&[&str], Option<&Value>),
    ) -> Result<(StatusCode, Vec<u8>), ClientProblem> {
        let turn = (self.pace.turn().await).map_err(|left| ClientProblem::LeftAlone { left })?;
        let answered = async {
            let response = self.send(method, path, &[], body).await?;
            match response.status() {
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {}
                status if status.is_success() => {}
                status => return Err(refusal(what, status, response.headers())),
            }
            Ok((response.status(), read_bounded(response, what).await?))
        };
        let answered = answered.await;
        turn.tell(
            answered
                .as_ref()
                .map_or_else(ClientProblem::outcome, |_| Outcome::Answered),
        );
        answered
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Response, ClientProblem> {
        // The parts are letters, digits, hyphens and underscores: constants and checked ids.
        let url = self
            .base
            .join(&path.join("/"))
            .map_err(|_| ClientProblem::BadAddress(self.company_domain.clone()))?;
        let mut request = self
            .http
            .request(method, url)
            .query(query)
            .basic_auth(self.api_key.expose_secret(), Some("x"))
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(ClientProblem::network)
    }

    async fn get_now(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, ClientProblem> {
        let response = self.send(Method::GET, path, query, None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = read_bounded(response, what).await?;
                let answer = if body.trim_ascii().is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(&body).map_err(|_| ClientProblem::BadAnswer { what })?
                };
                limited_in_disguise(&answer).map_or(Ok(Some(answer)), Err)
            }
            status => Err(refusal(what, status, response.headers())),
        }
    }
}

fn api_address(base_url: &str) -> Option<Url> {
    let base = Url::parse(base_url.trim().trim_end_matches('/')).ok()?;
    let host = base.host_str()?;
    let on_this_machine = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let scheme_fits = base.scheme() == "https" || (base.scheme() == "http" && on_this_machine);
    let bare =
        base.username().is_empty() && base.password().is_none() && base.query().is_none() && base.fragment().is_none();
    if !scheme_fits || !bare {
        return None;
    }
    // People copy addresses with more or less of their end.
    let given = base.as_str().trim_end_matches('/');
    let given = given.strip_suffix("/v1").unwrap_or(given);
    // The legacy gateway has `/api` before the company, not before the version.
    let version = if base.path().contains("/gateway.php/") {
        "v1"
    } else {
        "api/v1"
    };
    let root = if version == "v1" {
        given
    } else {
        given.strip_suffix("/api").unwrap_or(given)
    };
    Url::parse(&format!("{root}/{version}/")).ok()
}

fn checked(remote_id: &str) -> Result<&str, ClientProblem> {
    if is_remote_id(remote_id) {
        Ok(remote_id)
    } else {
        Err(ClientProblem::BadEmployeeId(
            remote_id.chars().take(super::REMOTE_ID_CHARS_MAX).collect(),
        ))
    }
}

fn object(row: Value, what: &'static str) -> Result<Row, ClientProblem> {
    match row {
        Value::Object(row) => Ok(row),
        _ => Err(ClientProblem::BadAnswer { what }),
    }
}

fn id_text(id: &Value) -> Option<String> {
    let id = match id {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    is_remote_id(&id).then_some(id)
}

/// `{"latest": .., "employees": {"123": {"id", "action", "lastChanged"}}}`; without employees PHP writes `[]`.
fn changes(answer: &Value) -> Option<Changes> {
    let people: Vec<(Option<&str>, &Value)> = match answer.get("employees")? {
        Value::Object(by_id) => by_id.iter().map(|(id, person)| (Some(id.as_str()), person)).collect(),
        Value::Array(list) => list.iter().map(|person| (None, person)).collect(),
        _ => return None,
    };
    let mut employees = people
        .into_iter()
        .map(|(key, person)| {
            let text = |name: &str| person.get(name).and_then(Value::as_str);
            Some(Changed {
                remote_id: person
                    .get("id")
                    .and_then(id_text)
                    .or_else(|| key.filter(|id| is_remote_id(id)).map(str::to_owned))?,
                kind: Kind::of_action(text("action").unwrap_or_default()),
                at: text("lastChanged").and_then(moment),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    employees.sort_by(|a, b| a.remote_id.cmp(&b.remote_id));
    employees.dedup_by(|a, b| a.remote_id == b.remote_id);
    Some(Changes {
        cursor: answer.get("latest").and_then(Value::as_str).and_then(moment),
        employees,
    })
}

/// `{"monitorFields": ["a"], "postFields": [], "unknownFields": ["a"]}`, in a list or as members of an object.
fn refused_fields(body: &Value) -> HashSet<String> {
    let lists = ["monitorFields", "unknownFields"].map(|name| body.get(name));
    let mut named = HashSet::new();
    for list in lists.into_iter().flatten() {
        match list {
            Value::Array(names) => named.extend(names.iter().filter_map(Value::as_str).map(str::to_owned)),
            Value::Object(names) => {
                named.extend(names.keys().cloned());
                named.extend(names.values().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    named
}

/// Rows `{"webhookId", "url", "lastAttempted", "lastSuccess", "statusCode" or "status", "employeeIds": [1]}`: in a list, in a member, or one
/// by itself. Nothing that was ever sent is an empty answer.
fn deliveries(answer: &Value) -> Option<Vec<Delivery>> {
    let rows: Vec<&Value> = match answer {
        Value::Null => Vec::new(),
        Value::Array(rows) => rows.iter().collect(),
        Value::Object(row) if row.contains_key("employeeIds") => vec![answer],
        Value::Object(members) => members.values().find_map(Value::as_array)?.iter().collect(),
        _ => return None,
    };
    let rows = rows.into_iter().map(|row| {
        let at = |name: &str| row.get(name).and_then(Value::as_str).and_then(moment);
        let (attempted, succeeded) = (at("lastAttempted"), at("lastSuccess"));
        let status = row.get("statusCode").or_else(|| row.get("status"));
        let status = status.and_then(|status| match status {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        });
        let told = row.get("employeeIds").and_then(Value::as_array);
        Delivery {
            remote_ids: told.into_iter().flatten().filter_map(id_text).collect(),
            last_attempted: attempted,
            is_delivered: match status {
                Some(status) => (200..300).contains(&status),
                None => succeeded.is_some() && succeeded >= attempted,
            },
        }
    });
    Some(rows.collect())
}

/// The fields without those that BambooHR's error names; if it names none, only the essential ones.
fn without_refused<'a>(fields: &[&'a str], problem: &ClientProblem) -> Vec<&'a str> {
    let message = match problem {
        ClientProblem::Unexpected {
            message: Some(message), ..
        } => message.as_str(),
        _ => "",
    };
    let named: Vec<&str> = message
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let kept: Vec<&str> = fields.iter().copied().filter(|field| !named.contains(field)).collect();
    if kept.len() < fields.len() {
        kept
    } else {
        fields
            .iter()
            .copied()
            .filter(|field| ESSENTIAL_FIELDS.contains(field))
            .collect()
    }
}

async fn read_bounded(mut response: Response, what: &'static str) -> Result<Vec<u8>, ClientProblem> {
    let announced = response
        .content_length()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or_default();
    if announced > ANSWER_BYTES_MAX {
        return Err(ClientProblem::TooLarge { what });
    }
    let mut body = Vec::with_capacity(announced.min(1024 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(ClientProblem::network)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientProblem::TooLarge { what });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Some calls say "over the limit" with status 200: `{"error": {"code": 429, "message": "... try again in 60 seconds"}}`.
fn limited_in_disguise(answer: &Value) -> Option<ClientProblem> {
    let error = answer.get("error")?;
    let code = error.get("code")?;
    if code.as_u64() != Some(429) && code.as_str() != Some("429") {
        return None;
    }
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let seconds = message.split_whitespace().find_map(|word| word.parse().ok());
    Some(ClientProblem::RateLimited {
        retry_after: seconds.map(bounded_seconds),
    })
}

/// What a status other than 2xx and 404 means. Since 16 September 2026 the rate limit is 429, and 503 is a failure.
fn refusal(what: &'static str, status: StatusCode, headers: &HeaderMap) -> ClientProblem {
    match status.as_u16() {
        429 => ClientProblem::RateLimited {
            retry_after: retry_after(headers),
        },
        401 => ClientProblem::Unauthorised,
        403 => ClientProblem::Forbidden { what },
        status @ (408 | 500 | 502 | 503 | 504 | 598) => ClientProblem::Unavailable {
            status,
            retry_after: retry_after(headers),
        },
        status @ 300..=399 => ClientProblem::Redirected { status },
        status => ClientProblem::Unexpected {
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
            message: headers
                .get("x-bamboohr-error-message")
                .and_then(|text| text.to_str().ok())
                .map(without_values),
        },
    }
}

/// BambooHR's error text without what could be a value: addresses and numbers. Requests hold no other personal data.
fn without_values(text: &str) -> String {
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
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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

fn bounded_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX))
}

#[cfg(test)]
mod tests;
