//! Asks ADP's API, over mutual TLS: who works there, what they are paid on a day, and please change it.

use std::fmt;

use domain::{
    Date,
    connection::{Adp, Secrets, Shape},
};
use reqwest::{Certificate, Identity, Method, StatusCode, Url, header::ACCEPT};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    pace::Pace,
    payroll::Whom,
    source::{self, SourceProblem, read_bounded},
    token::Token,
};

/// Workers on a page of a list.
const PAGE_WORKERS: usize = 100;
/// The most pages of one list.
const PAGES_MAX: usize = 2_000;
/// Where ADP is.
pub const BASE_URL: &str = "https://api.adp.com";
pub const TOKEN_URL: &str = "https://accounts.adp.com/auth/oauth/v2/token";
const CHANGE: [&str; 4] = ["events", "hr", "v1", "worker.work-assignment.base-remuneration.change"];

/// One organisation's payroll.
#[derive(Clone)]
pub struct Client {
    base: Url,
    token_address: Url,
    client_id: String,
    client_secret: SecretString,
    reason: Option<String>,
    shape: Shape,
    token: Token,
    /// Shows the organisation's certificate.
    http: reqwest::Client,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// What somebody does there, and is paid for.
pub struct Assignment {
    pub item_id: String,
    pub is_primary: bool,
    pub base_remuneration: Value,
}

/// Somebody who works there.
pub struct Worker {
    pub associate_oid: String,
    pub work_emails: Vec<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Address(#[from] SourceProblem),
    #[error("the certificate and the private key are not PEM, or do not belong together")]
    Identity(#[source] reqwest::Error),
    #[error("the authority's certificate is not PEM")]
    Authority(#[source] reqwest::Error),
}

impl Client {
    /// The payroll of an account.
    ///
    /// # Errors
    /// When an address is not HTTPS (except on this machine), or a certificate does not read.
    pub fn new(account: &Adp, (secrets, token): (&Secrets, Token)) -> Result<Self, Unusable> {
        let shown = secrets.identity.as_deref();
        let pem = shown.map(|shown| format!("{}\n{}", shown.certificate, shown.private_key));
        let identity = Identity::from_pem(pem.unwrap_or_default().as_bytes()).map_err(Unusable::Identity)?;
        let mut http = source::http_builder().identity(identity);
        if let Some(authority) = &account.authority {
            let authority = Certificate::from_pem_bundle(authority.as_bytes()).map_err(Unusable::Authority)?;
            http = http.tls_certs_merge(authority);
        }
        Ok(Self {
            base: source::address(&account.base_url)?,
            token_address: source::address(&account.token_url)?,
            client_id: account.client_id.clone(),
            client_secret: secrets.client_secret.clone().unwrap_or_default().into(),
            reason: account.reason.clone(),
            shape: account.shape,
            token,
            http: http.build().map_err(Unusable::Identity)?,
            pace: Pace::default(),
        })
    }

    /// The same at the pace of everybody who asks this source.
    #[must_use]
    pub fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Everybody who works there, a page after the other.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn everybody(&self) -> Result<Vec<Worker>, SourceProblem> {
        const WHAT: &str = "the workers";
        let mut all = Vec::new();
        for page in 0..PAGES_MAX {
            let (top, skip) = (PAGE_WORKERS.to_string(), (page * PAGE_WORKERS).to_string());
            let query = [("$top", top.as_str()), ("$skip", skip.as_str())];
            let answer = self
                .ask(WHAT, Method::GET, (&["hr", "v2", "workers"], &query), None)
                .await?;
            let workers = answer.get("workers").and_then(Value::as_array);
            // After the last page comes none (204).
            let Some(workers) = workers.filter(|workers| !workers.is_empty()) else {
                return Ok(all);
            };
            all.extend(workers.iter().filter_map(worker));
            if workers.len() < PAGE_WORKERS {
                return Ok(all);
            }
        }
        Err(SourceProblem::TooLarge { what: WHAT })
    }

    /// Who has a work address, without regard to case.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn whom(&self, work_email: &str) -> Result<Whom, SourceProblem> {
        let wanted = work_email.trim().to_lowercase();
        let mut theirs = self.everybody().await?.into_iter().filter(|worker| {
            let mut known = worker.work_emails.iter();
            known.any(|known| known.trim().to_lowercase() == wanted)
        });
        Ok(match (theirs.next(), theirs.next()) {
            (Some(one), None) => Whom::One(one.associate_oid),
            (None, _) => Whom::Nobody,
            (Some(_), Some(_)) => Whom::Several,
        })
    }

    /// Somebody's first assignment, as of a day.
    ///
    /// # Errors
    /// When there is no usable answer; `NothingThere` when there is no such person, or they have no assignment.
    pub async fn assignment(&self, worker: &str, on: Date) -> Result<Assignment, SourceProblem> {
        const WHAT: &str = "a worker";
        let on = on.format("%m/%d/%Y").to_string();
        let path = ["hr", "v2", "workers", worker];
        let answer = self.ask(WHAT, Method::GET, (&path, &[("asOfDate", &on)]), None).await?;
        first_assignment(&answer, worker).ok_or(SourceProblem::NothingThere { what: WHAT })
    }

    /// Sends the event that changes what is paid.
    ///
    /// # Errors
    /// When ADP refuses.
    pub async fn change(
        &self,
        (worker, item_id): (&str, &str),
        on: Date,
        remuneration: &Value,
    ) -> Result<Option<String>, SourceProblem> {
        const WHAT: &str = "a change of pay";
        let assignment = json!({ "baseRemuneration": remuneration });
        let mut transform = match self.shape {
            Shape::Worker => json!({ "worker": { "workAssignment": assignment } }),
            Shape::WorkAssignment => json!({ "workAssignment": assignment }),
        };
        transform["effectiveDateTime"] = json!(on.to_string());
        if let Some(reason) = &self.reason {
            transform["eventReasonCode"] = json!({ "codeValue": reason });
        }
        let context = json!({ "worker": { "associateOID": worker, "workAssignment": { "itemID": item_id } } });
        let body = json!({ "events": [{ "data": { "eventContext": context, "transform": transform } }] });
        let answer = self.ask(WHAT, Method::POST, (&CHANGE, &[]), Some(&body)).await?;
        Ok(reference(&answer))
    }

    /// One request, when it is its turn; with another token if the first is refused. Nothing (204) is `null`.
    async fn ask(
        &self,
        what: &'static str,
        method: Method,
        (path, query): (&[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<Value, SourceProblem> {
        let answered = async {
            let mut refused = None;
            loop {
                let token = self.token.good(refused.as_ref(), self.exchange()).await?;
                match self.ask_with(&token, (what, method.clone()), (path, query), body).await {
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
    ) -> Result<Value, SourceProblem> {
        let mut request = self
            .http
            .request(method, source::below(&self.base, path)?)
            .query(query)
            .bearer_auth(token.expose_secret())
            .header(ACCEPT, "application/json")
            // Who may change what others are paid; without it one asks as an employee.
            .header("roleCode", "practitioner");
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(SourceProblem::network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_bounded(response, what).await?;
        if status == StatusCode::NO_CONTENT || (status.is_success() && body.trim_ascii().is_empty()) {
            return Ok(Value::Null);
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| SourceProblem::BadAnswer { what });
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == StatusCode::NOT_FOUND {
            return Err(SourceProblem::NothingThere { what });
        }
        let said = messages(&body);
        let said = Some(said.as_str()).filter(|said| !said.is_empty());
        Err(source::refusal(what, (status, &headers), said))
    }

    async fn exchange(&self) -> Result<(SecretString, Option<u64>), SourceProblem> {
        const WHAT: &str = "an access token";
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            expires_in: Option<u64>,
        }
        let request = self
            .http
            .post(self.token_address.clone())
            .basic_auth(&self.client_id, Some(self.client_secret.expose_secret()))
            .form(&[("grant_type", "client_credentials")]);
        let response = request.send().await.map_err(SourceProblem::network)?;
        let response = match response.status() {
            StatusCode::BAD_REQUEST => return Err(SourceProblem::Unauthorised),
            _ => source::accepted(WHAT, response)?,
        };
        let answer = read_bounded(response, WHAT).await?;
        let granted: Granted = serde_json::from_slice(&answer).map_err(|_| SourceProblem::BadAnswer { what: WHAT })?;
        Ok((granted.access_token.into(), granted.expires_in))
    }
}

/// Of an answer about a worker, the assignment that counts. Never simply the first: people have several.
#[must_use]
pub fn first_assignment(answer: &Value, worker: &str) -> Option<Assignment> {
    let workers = answer.get("workers").and_then(Value::as_array);
    let theirs = workers
        .into_iter()
        .flatten()
        .find(|found| found.get("associateOID").and_then(Value::as_str) == Some(worker))?;
    let assignments = theirs.get("workAssignments").and_then(Value::as_array);
    let assignments = assignments.into_iter().flatten().filter_map(assignment);
    assignments.min_by_key(|assignment| !assignment.is_primary)
}

/// Who a worker is; none without an id.
#[must_use]
pub fn worker(worker: &Value) -> Option<Worker> {
    let emails = worker
        .pointer("/businessCommunication/emails")
        .and_then(Value::as_array);
    Some(Worker {
        associate_oid: worker.get("associateOID")?.as_str()?.to_owned(),
        work_emails: (emails.into_iter().flatten())
            .filter_map(|email| email.get("emailUri")?.as_str().map(str::to_owned))
            .collect(),
    })
}

fn assignment(assignment: &Value) -> Option<Assignment> {
    Some(Assignment {
        item_id: assignment.get("itemID")?.as_str()?.to_owned(),
        is_primary: assignment
            .get("primaryIndicator")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        base_remuneration: assignment.get("baseRemuneration").cloned().unwrap_or_default(),
    })
}

/// The longest name of an event that is kept, in characters.
const REFERENCE_CHARS_MAX: usize = 100;

/// What ADP calls an event that it took. Its answers differ: none is relied on.
#[must_use]
pub fn reference(answer: &Value) -> Option<String> {
    let places = [
        "/confirmMessage/requestID",
        "/confirmMessage/confirmMessageID/idValue",
        "/events/0/eventID",
    ];
    let told = places.iter().find_map(|place| answer.pointer(place)?.as_str())?;
    let told = told.chars().filter(|c| !c.is_control());
    Some(told.take(REFERENCE_CHARS_MAX).collect())
}

/// How deep messages lie, and how many are repeated.
const DEPTH_MAX: usize = 8;
const MESSAGES_MAX: usize = 5;

/// What an error says to people, in whichever of its four shapes.
#[must_use]
pub fn messages(body: &Value) -> String {
    fn collect<'v>(value: &'v Value, found: &mut Vec<&'v str>, depth: usize) {
        if depth > DEPTH_MAX || found.len() >= MESSAGES_MAX {
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if matches!(name.as_str(), "messageTxt" | "message" | "messageText") => {
                            found.push(text);
                        }
                        value => collect(value, found, depth + 1),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found, depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    collect(body, &mut found, 0);
    found.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is ADP's own sample (`adpllc/marketplace-sample-payloads`), in which the status says "success".
    #[test]
    fn errors_of_any_shape_are_told_in_their_own_words() {
        let sample = json!({"confirmMessage": {"protocolStatusCode": {"codeValue": "400"}, "requestStatusCode": {"codeValue": "failed"},
            "processMessages": [], "resourceMessages": [{"processMessages": [{"processMessageID": {"idValue": "errors.invalid"},
            "messageTypeCode": {"codeValue": "error"}, "userMessage": {"messageTxt": "workAssignmentID is invalid."}}]}]},
            "status": "success", "statusSuccess": true});
        assert_eq!(messages(&sample), "workAssignmentID is invalid.");
        let others = [
            json!({"exceptionMessages": [{"message": "not so"}]}),
            json!({"response": {"applicationCode": {"code": "1", "message": "not so"}}}),
            json!({"_confirmMessage": {"messages": [{"messageText": "not so"}]}}),
        ];
        for other in others {
            assert_eq!(messages(&other), "not so");
        }
        assert_eq!(messages(&Value::Null), "");
    }

    #[test]
    fn what_adp_calls_an_event_is_told_if_it_says() {
        let known = json!({"confirmMessage": {"requestID": "r-7"}});
        assert_eq!(reference(&known).as_deref(), Some("r-7"));
        assert_eq!(
            reference(&json!({"events": [{"eventStatusCode": {"codeValue": "complete"}}]})),
            None
        );
    }
}
