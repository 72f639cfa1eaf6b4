//! Asks BambooHR's API: who is there, who changed, what is known of one person.
//!
//! Addresses, limits and errors are those of facts/connectors.md A1 (from BambooHR's SDK and its documentation). The client
//! asks once, at the connection's [`Pace`]; whoever calls decides about trying again with [`SourceProblem::is_retryable`] and
//! [`Backoff`](crate::source::Backoff).
//!
//! What fails is told by status, request id and BambooHR's own error header, never by a body: bodies are personal data.

use std::{collections::HashSet, fmt};

use chrono::{DateTime, SecondsFormat, TimeDelta};
use domain::Timestamp;
use reqwest::{Method, Response, StatusCode, Url, header::ACCEPT};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{
    is_remote_id, moment,
    payload::Kind,
    translate::{ESSENTIAL_FIELDS, FIELDS},
};
use crate::{
    pace::Pace,
    source::{self, Changed, Changes, Roster, SourceProblem, bounded_seconds, read_bounded},
};

/// The most fields that BambooHR gives at once.
pub const FIELDS_PER_REQUEST_MAX: usize = 400;
/// How far back before the cursor changes are asked for, in seconds: BambooHR's clock and its index are not one.
pub const CURSOR_OVERLAP_SECONDS: i64 = 10;

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

impl Client {
    /// The API at `base_url` (with or without a slash at its end; the legacy
    /// `https://api.bamboohr.com/api/gateway.php/{company}` too). `http` must not follow redirects: see [`source::http_client`].
    ///
    /// # Errors
    /// When the address is not HTTPS (except on this machine), or holds more than scheme, host, port and path.
    pub fn new(
        base_url: &str,
        company_domain: &str,
        api_key: SecretString,
        http: reqwest::Client,
    ) -> Result<Self, SourceProblem> {
        let base = source::address(base_url)?;
        let base = api_address(&base).ok_or_else(|| SourceProblem::BadAddress(company_domain.to_owned()))?;
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
    pub async fn employee(&self, remote_id: &str, fields: &[&str]) -> Result<Option<Fields>, SourceProblem> {
        let mut all = Fields::new();
        for some in fields.chunks(FIELDS_PER_REQUEST_MAX) {
            let answer = match self.employee_once(remote_id, some).await {
                Err(problem) if is_refused_request(&problem) => {
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

    async fn employee_once(&self, remote_id: &str, fields: &[&str]) -> Result<Option<Fields>, SourceProblem> {
        const WHAT: &str = "an employee";
        let path = ["employees", checked(remote_id)?];
        // Only current values: a future title is the tables' business.
        let query = [("fields", fields.join(",")), ("onlyCurrent", "true".to_owned())];
        match self.get(WHAT, &path, &query).await? {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(SourceProblem::BadAnswer { what: WHAT }),
        }
    }

    /// The rows of a table, unsorted; none if there is no such person.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn table(&self, whose: Whose<'_>, table: Table) -> Result<Vec<Row>, SourceProblem> {
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
            Some(_) => Err(SourceProblem::BadAnswer { what }),
        }
    }

    /// Everybody who is employed now.
    ///
    /// # Errors
    /// When there is no usable answer; `Forbidden` when the account does not share its directory.
    pub async fn directory(&self) -> Result<Vec<Listed>, SourceProblem> {
        const WHAT: &str = "the directory";
        let bad = || SourceProblem::BadAnswer { what: WHAT };
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
    pub async fn changed_since(&self, since: Timestamp) -> Result<Changes, SourceProblem> {
        const WHAT: &str = "changed employees";
        let overlapped = since
            .checked_sub_signed(TimeDelta::seconds(CURSOR_OVERLAP_SECONDS))
            .unwrap_or(since);
        let since = overlapped
            .max(DateTime::UNIX_EPOCH)
            .to_rfc3339_opts(SecondsFormat::Secs, true);
        let answer = self.get(WHAT, &["employees", "changed"], &[("since", since)]).await?;
        let answer = answer.ok_or(SourceProblem::NothingThere { what: WHAT })?;
        changes(&answer).ok_or(SourceProblem::BadAnswer { what: WHAT })
    }

    /// Everybody's id, with those who left where the key allows it: everybody changed since 1970. Otherwise the directory.
    ///
    /// # Errors
    /// When neither gives a usable answer.
    pub async fn employee_ids(&self) -> Result<Roster, SourceProblem> {
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
                problem @ (SourceProblem::Forbidden { .. }
                | SourceProblem::NothingThere { .. }
                | SourceProblem::Unexpected { .. }
                | SourceProblem::BadAnswer { .. }),
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

    async fn roster_of_directory(&self, cursor: Option<Timestamp>) -> Result<Roster, SourceProblem> {
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
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, SourceProblem> {
        const WHAT: &str = "webhooks";
        let bad = || SourceProblem::BadAnswer { what: WHAT };
        let answer = self.get(WHAT, &["webhooks"], &[]).await?;
        let answer = answer.ok_or(SourceProblem::NothingThere { what: WHAT })?;
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
    pub async fn create_webhook(&self, url: &str) -> Result<(String, SecretString), SourceProblem> {
        const WHAT: &str = "a new webhook";
        let bad = || SourceProblem::BadAnswer { what: WHAT };
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
                    return Err(SourceProblem::Forbidden { what: WHAT });
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
        Err(SourceProblem::Forbidden { what: WHAT })
    }

    /// Deletes a webhook; one that is gone is no failure.
    ///
    /// # Errors
    /// When BambooHR refuses.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), SourceProblem> {
        const WHAT: &str = "a webhook";
        let path = ["webhooks", checked(id)?];
        match self.ask(WHAT, Method::DELETE, (&path, None)).await? {
            (StatusCode::FORBIDDEN, _) => Err(SourceProblem::Forbidden { what: WHAT }),
            _ => Ok(()),
        }
    }

    /// Adds a row to a person's table. It answers nothing: what is in the table then is to be read.
    ///
    /// # Errors
    /// When BambooHR refuses.
    pub async fn add_row(&self, remote_id: &str, table: Table, row: &Value) -> Result<(), SourceProblem> {
        const WHAT: &str = "a new row of a table";
        // The version that takes rates with a currency.
        let path = ["..", "v1_1", "employees", checked(remote_id)?, "tables", table.name()];
        self.written(WHAT, (&path, row)).await
    }

    /// Changes a row of a person's table, as [`Self::add_row`] adds one.
    ///
    /// # Errors
    /// When BambooHR refuses.
    pub async fn change_row(
        &self,
        remote_id: &str,
        (table, id): (Table, &str),
        row: &Value,
    ) -> Result<(), SourceProblem> {
        const WHAT: &str = "a row of a table";
        let (remote_id, id) = (checked(remote_id)?, checked(id)?);
        let path = ["..", "v1_1", "employees", remote_id, "tables", table.name(), id];
        self.written(WHAT, (&path, row)).await
    }

    async fn written(&self, what: &'static str, (path, row): (&[&str], &Value)) -> Result<(), SourceProblem> {
        match self.ask(what, Method::POST, (path, Some(row))).await? {
            (StatusCode::FORBIDDEN, _) => Err(SourceProblem::Forbidden { what }),
            (StatusCode::NOT_FOUND, _) => Err(SourceProblem::NothingThere { what }),
            _ => Ok(()),
        }
    }

    /// What a webhook sent in the last 14 days (200 at most), and what became of it.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn webhook_log(&self, id: &str) -> Result<Vec<Delivery>, SourceProblem> {
        const WHAT: &str = "a webhook's log";
        let answer = self.get(WHAT, &["webhooks", checked(id)?, "log"], &[]).await?;
        deliveries(&answer.unwrap_or_default()).ok_or(SourceProblem::BadAnswer { what: WHAT })
    }

    /// One GET, when it is its turn. `None` is a 404; an empty answer is `null`.
    async fn get(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, SourceProblem> {
        source::at_pace(&self.pace, self.get_now(what, path, query)).await
    }

    /// One request that changes something, when it is its turn: its answer, also if that is 403 or 404.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        (path, body): (&[&str], Option<&Value>),
    ) -> Result<(StatusCode, Vec<u8>), SourceProblem> {
        let answered = async {
            let response = self.send(method, path, &[], body).await?;
            match response.status() {
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {}
                status if status.is_success() => {}
                _ => return Err(refused(what, &response)),
            }
            let status = response.status();
            let body = read_bounded(response, what).await?;
            let answer = serde_json::from_slice(&body).unwrap_or_default();
            limited_in_disguise(&answer).map_or(Ok((status, body)), Err)
        };
        source::at_pace(&self.pace, answered).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Response, SourceProblem> {
        // The parts are letters, digits, hyphens and underscores: constants and checked ids.
        let url = self
            .base
            .join(&path.join("/"))
            .map_err(|_| SourceProblem::BadAddress(self.company_domain.clone()))?;
        let mut request = self
            .http
            .request(method, url)
            .query(query)
            .basic_auth(self.api_key.expose_secret(), Some("x"))
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(SourceProblem::network)
    }

    async fn get_now(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<Value>, SourceProblem> {
        let response = self.send(Method::GET, path, query, None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let body = read_bounded(response, what).await?;
                let answer = if body.trim_ascii().is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(&body).map_err(|_| SourceProblem::BadAnswer { what })?
                };
                limited_in_disguise(&answer).map_or(Ok(Some(answer)), Err)
            }
            _ => Err(refused(what, &response)),
        }
    }
}

/// None: what is added to the address makes it one no more.
fn api_address(base: &Url) -> Option<Url> {
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

fn refused(what: &'static str, response: &Response) -> SourceProblem {
    let message = response.headers().get("x-bamboohr-error-message");
    let message = message.and_then(|text| text.to_str().ok());
    source::refusal(what, (response.status(), response.headers()), message)
}

/// Whether BambooHR disliked the request itself, such as a field that it does not know.
const fn is_refused_request(problem: &SourceProblem) -> bool {
    matches!(problem, SourceProblem::Unexpected { status: 400 | 406, .. })
}

fn checked(remote_id: &str) -> Result<&str, SourceProblem> {
    if is_remote_id(remote_id) {
        Ok(remote_id)
    } else {
        Err(SourceProblem::BadEmployeeId(
            remote_id.chars().take(super::REMOTE_ID_CHARS_MAX).collect(),
        ))
    }
}

fn object(row: Value, what: &'static str) -> Result<Row, SourceProblem> {
    match row {
        Value::Object(row) => Ok(row),
        _ => Err(SourceProblem::BadAnswer { what }),
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
fn without_refused<'a>(fields: &[&'a str], problem: &SourceProblem) -> Vec<&'a str> {
    let message = match problem {
        SourceProblem::Unexpected {
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

/// Some calls say "over the limit" with status 200: `{"error": {"code": 429, "message": "... try again in 60 seconds"}}`.
fn limited_in_disguise(answer: &Value) -> Option<SourceProblem> {
    let error = answer.get("error")?;
    let code = error.get("code")?;
    if code.as_u64() != Some(429) && code.as_str() != Some("429") {
        return None;
    }
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let seconds = message.split_whitespace().find_map(|word| word.parse().ok());
    Some(SourceProblem::RateLimited {
        retry_after: seconds.map(bounded_seconds),
    })
}

#[cfg(test)]
mod tests;
