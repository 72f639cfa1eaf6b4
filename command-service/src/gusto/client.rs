//! Asks Gusto's API: who works there, what they are paid, and please change it.

use std::fmt;

use domain::{Date, connection::Gusto};
use reqwest::{Method, StatusCode, Url, header::HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::token::{TokenProblem, Tokens};
use crate::{
    pace::Pace,
    payroll::Whom,
    source::{self, SourceProblem, read_bounded},
};

/// The version of the API that is asked for.
const VERSION: (&str, &str) = ("x-gusto-api-version", "2025-06-15");
/// Entries on a page of a list.
const PAGE_ENTRIES: usize = 100;
/// The most pages of one list.
const PAGES_MAX: usize = 2_000;

/// One company's payroll.
#[derive(Clone)]
pub struct Client {
    base: Url,
    company: String,
    tokens: Tokens,
    http: reqwest::Client,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("company", &self.company)
            .finish_non_exhaustive()
    }
}

/// What somebody is paid from a day on.
#[derive(Clone, Deserialize)]
pub struct Compensation {
    pub uuid: String,
    /// Of what can be changed: a change names the one that it was made from.
    #[serde(default)]
    pub version: String,
    /// US dollars, as text with any number of decimals.
    pub rate: String,
    /// `Hour`, `Week`, `Month`, `Year` or `Paycheck`.
    pub payment_unit: String,
    #[serde(default)]
    pub flsa_status: String,
    #[serde(deserialize_with = "super::day")]
    pub effective_date: Date,
}

/// What is asked for.
#[derive(Serialize)]
pub struct Terms {
    pub rate: String,
    pub payment_unit: &'static str,
    /// Whether overtime is paid, in Gusto's words.
    pub flsa_status: String,
    pub effective_date: Date,
}

/// Somebody who works there.
#[derive(Deserialize)]
pub struct Employee {
    pub uuid: String,
    /// The other address, `email`, is personal.
    pub work_email: Option<String>,
    #[serde(default)]
    pub jobs: Vec<Job>,
}

#[derive(Deserialize)]
pub struct Job {
    pub uuid: String,
    #[serde(default)]
    pub primary: bool,
}

/// The address where production is.
pub const BASE_URL: &str = "https://api.gusto.com";

/// Where tokens are exchanged.
///
/// # Errors
/// When the address is none.
pub fn token_address(base_url: &str) -> Result<Url, SourceProblem> {
    source::below(&source::address(base_url)?, &["oauth", "token"])
}

impl Client {
    /// The payroll of an account. `http` must not follow redirects: see [`source::http_client`].
    ///
    /// # Errors
    /// When the address is not HTTPS (except on this machine), or holds more than scheme, host, port and path.
    pub fn new(account: &Gusto, tokens: Tokens, http: reqwest::Client) -> Result<Self, SourceProblem> {
        Ok(Self {
            base: source::address(&account.base_url)?,
            company: account.company.clone(),
            tokens,
            http,
            pace: Pace::default(),
        })
    }

    /// The same at the pace of everybody who asks this source.
    #[must_use]
    pub fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Everybody whom the company pays, or did.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn everybody(&self) -> Result<Vec<Employee>, SourceProblem> {
        let path = ["v1", "companies", &self.company, "employees"];
        self.list("the employees", &path, &[]).await
    }

    /// Who has a work address, without regard to case.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn whom(&self, work_email: &str) -> Result<Whom, SourceProblem> {
        let mut theirs = self.everybody().await?.into_iter().filter(|employee| {
            let known = employee.work_email.as_deref().unwrap_or_default();
            !known.is_empty() && known.trim().to_lowercase() == work_email.trim().to_lowercase()
        });
        Ok(match (theirs.next(), theirs.next()) {
            (Some(one), None) => Whom::One(one.uuid),
            (None, _) => Whom::Nobody,
            (Some(_), Some(_)) => Whom::Several,
        })
    }

    /// Somebody's first job, and all that was and will be paid for it.
    ///
    /// # Errors
    /// When there is no usable answer; `NothingThere` when there is no such person, or they have no job.
    pub async fn compensations(&self, employee: &str) -> Result<(String, Vec<Compensation>), SourceProblem> {
        const WHO: &str = "an employee";
        const WHAT: &str = "rates of pay";
        let path = ["v1", "companies", &self.company, "employees"];
        let found: Vec<Employee> = self.list(WHO, &path, &[("uuids", employee)]).await?;
        let found = found.into_iter().find(|found| found.uuid == employee);
        let jobs = found.ok_or(SourceProblem::NothingThere { what: WHO })?.jobs;
        let job = match jobs.iter().find(|job| job.primary).or(jobs.first()) {
            Some(job) => job.uuid.clone(),
            // Without the scope nobody has one.
            None => return Err(SourceProblem::Forbidden { what: "jobs" }),
        };
        let path = ["v1", "jobs", &job, "compensations"];
        let known = self.list(WHAT, &path, &[("include", "all_compensations")]).await?;
        Ok((job, known))
    }

    /// Adds a rate to a job; answers its id.
    ///
    /// # Errors
    /// When Gusto refuses.
    pub async fn add(&self, job: &str, terms: &Terms) -> Result<String, SourceProblem> {
        let path = ["v1", "jobs", job, "compensations"];
        let body = json!(terms);
        self.write(Method::POST, &path, &body).await
    }

    /// Changes a rate that is as it was seen; answers its id.
    ///
    /// # Errors
    /// When Gusto refuses; [`SourceProblem::Outdated`] when it was changed meanwhile.
    pub async fn change(&self, known: &Compensation, terms: &Terms) -> Result<String, SourceProblem> {
        let mut body = json!(terms);
        body["version"] = json!(known.version);
        self.write(Method::PUT, &["v1", "compensations", &known.uuid], &body)
            .await
    }

    async fn write(&self, method: Method, path: &[&str], body: &Value) -> Result<String, SourceProblem> {
        const WHAT: &str = "a rate of pay";
        let (_, answer) = self.ask(WHAT, method, (path, &[]), Some(body)).await?;
        let written: Compensation =
            serde_json::from_slice(&answer).map_err(|_| SourceProblem::BadAnswer { what: WHAT })?;
        Ok(written.uuid)
    }

    /// All pages of a list.
    async fn list<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, SourceProblem> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let (asked, per) = (page.to_string(), PAGE_ENTRIES.to_string());
            let of_page = [("page", asked.as_str()), ("per", per.as_str())];
            let query = [query, &of_page[..]].concat();
            let (headers, answer) = self.ask(what, Method::GET, (path, &query), None).await?;
            let entries: Vec<T> = serde_json::from_slice(&answer).map_err(|_| SourceProblem::BadAnswer { what })?;
            let (count, pages) = (entries.len(), number(&headers, "x-total-pages"));
            all.extend(entries);
            let is_last = pages.map_or(count < PAGE_ENTRIES, |pages| page >= pages);
            if is_last || count == 0 {
                return Ok(all);
            }
        }
        Err(SourceProblem::TooLarge { what })
    }

    /// One request, when it is its turn; with another token if the first is refused.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        (path, query): (&[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<(HeaderMap, Vec<u8>), SourceProblem> {
        let answered = async {
            let mut refused = None;
            loop {
                let token = self.tokens.token(&self.http, refused.as_ref()).await.map_err(unkept)?;
                let answer = self.ask_with(&token, (what, method.clone()), (path, query), body).await;
                match answer {
                    Err(SourceProblem::Unauthorised) if refused.is_none() => refused = Some(token),
                    answer => return answer,
                }
            }
        };
        source::at_pace(&self.pace, answered).await
    }

    async fn ask_with(
        &self,
        token: &SecretString,
        (what, method): (&'static str, Method),
        (path, query): (&[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<(HeaderMap, Vec<u8>), SourceProblem> {
        let mut request = self
            .http
            .request(method, source::below(&self.base, path)?)
            .query(query)
            .bearer_auth(token.expose_secret())
            .header(VERSION.0, VERSION.1);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(SourceProblem::network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_bounded(response, what).await?;
        if status.is_success() {
            return Ok((headers, body));
        }
        Err(refusal(what, (status, &headers), &body))
    }
}

/// The token's own trouble is not the payroll's: it passes.
fn unkept(problem: TokenProblem) -> SourceProblem {
    match problem {
        TokenProblem::Source(problem) => problem,
        TokenProblem::Database(_) | TokenProblem::Sealing(_) => {
            tracing::warn!(
                error = &problem as &dyn std::error::Error,
                "an access token could not be kept"
            );
            SourceProblem::Unavailable {
                status: 0,
                retry_after: None,
            }
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// What `{"errors":[{"error_key","category","message"}]}` means. Errors may lie in `errors` of an error.
#[must_use]
pub fn refusal(what: &'static str, (status, headers): (StatusCode, &HeaderMap), body: &[u8]) -> SourceProblem {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let (mut categories, mut messages) = (Vec::new(), Vec::new());
    collect(&body, (&mut categories, &mut messages), 0);
    // The documentation names 409 for it, and the specification shows it with 422.
    if categories.contains(&"invalid_resource_version") {
        return SourceProblem::Outdated { what };
    }
    // An endpoint that one may not use answers as if there were nothing.
    if categories.contains(&"missing_permissions") {
        return SourceProblem::Forbidden { what };
    }
    match status {
        StatusCode::NOT_FOUND => SourceProblem::NothingThere { what },
        StatusCode::CONFLICT if messages.is_empty() => SourceProblem::Outdated { what },
        status => {
            let said = messages.join("; ");
            source::refusal(
                what,
                (status, headers),
                Some(&said).filter(|said| !said.is_empty()).map(String::as_str),
            )
        }
    }
}

/// How deep errors may lie in errors.
const NESTED_MAX: usize = 4;

fn collect<'v>(body: &'v Value, (categories, messages): (&mut Vec<&'v str>, &mut Vec<&'v str>), depth: usize) {
    let errors = body.get("errors").and_then(Value::as_array);
    for error in errors.into_iter().flatten() {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        categories.extend(text("category"));
        messages.extend(text("message"));
        if depth < NESTED_MAX {
            collect(error, (&mut *categories, &mut *messages), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &Value) -> SourceProblem {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = serde_json::to_vec(body).expect("json");
        refusal("a rate of pay", (status, &HeaderMap::new()), &body)
    }

    fn error(category: &str, message: &str) -> Value {
        json!({ "errors": [{ "error_key": "base", "category": category, "message": message }] })
    }

    /// The bodies are those of Gusto's specification and documentation.
    #[test]
    fn errors_are_told_by_their_category() {
        let outdated = error(
            "invalid_resource_version",
            "You are attempting to update a resource using an out-of-date version.",
        );
        for status in [409, 422] {
            assert_eq!(told(status, &outdated).cause(), "outdated");
        }
        assert!(told(409, &outdated).is_retryable());
        let missing = error("missing_permissions", "not for you");
        assert_eq!(told(404, &missing).cause(), "forbidden");
        let nobody = error("not_found", "The requested resource was not found.");
        assert_eq!(told(404, &nobody).cause(), "nothing-there");
        assert_eq!(told(401, &Value::Null).cause(), "unauthorised");
        assert_eq!(told(429, &Value::Null).cause(), "rate-limited");
        let nested = json!({ "errors": [{ "error_key": "jobs", "category": "nested_errors",
            "errors": [{ "error_key": "rate", "category": "invalid_attribute_value", "message": "must be positive" }] }] });
        match told(422, &nested) {
            SourceProblem::Unexpected { status, message, .. } => {
                assert_eq!((status, message.as_deref()), (422, Some("must be positive")));
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn addresses_keep_what_comes_before() {
        let base = source::address("http://localhost:9000/vendor/").expect("an address");
        let url = source::below(&base, &["v1", "jobs", "a/b", "compensations"]).expect("an address");
        assert_eq!(url.as_str(), "http://localhost:9000/vendor/v1/jobs/a%2Fb/compensations");
    }
}
