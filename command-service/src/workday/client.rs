//! Asks Workday's `Human_Resources` service: who is there, who changed, what held of one worker on a day.
//!
//! Everything is `Get_Workers` (facts/connectors.md A2). Workday calls nobody: changes are asked for, twice each time, because what was
//! entered and what became effective are two things. All pages of a list are asked for as entered by one moment, or they would shift.

use std::fmt;

use chrono::{SecondsFormat, TimeDelta};
use domain::{
    Date, Timestamp,
    connection::{self, Secrets, Workday},
};
use infra::clock;
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName},
};
use roxmltree::Document;
use secrecy::{ExposeSecret, SecretString};

use super::{
    login::{Login, Refresh},
    soap::{self, at, children, escape, text},
    worker::{self, Worker},
};
use crate::{
    bamboohr::payload::Kind,
    pace::Pace,
    source::{self, Changed, Changes, Roster, SourceProblem, read_bounded},
    token::Token,
};

/// Workers on a page of a list; 999 is the most that Workday gives.
pub const PAGE_WORKERS: u32 = 999;
/// The most pages of one list.
pub const PAGES_MAX: u32 = 2_000;
/// How far back before the cursor changes are asked for: Workday's clock is not ours, and what was entered shows a little later.
pub const CURSOR_OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// How far before now a question about changes ends: a moment that is not over at Workday is refused.
pub const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(30);
/// The most days of what became effective that are asked for at once.
const EFFECTIVE_DAYS_MAX: i64 = 366;

/// What of a worker is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Only who it is.
    Reference,
    /// What holds on the day.
    State,
    /// That, the person, and the days on which anything became effective.
    Everything,
}

impl Group {
    /// Once anything is named, only what is named is sent.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Reference => &["Include_Reference"],
            Self::State => &[
                "Include_Reference",
                "Include_Employment_Information",
                "Include_Compensation",
                "Include_Organizations",
                "Include_Management_Chain_Data",
            ],
            Self::Everything => &[
                "Include_Reference",
                "Include_Personal_Information",
                "Include_Employment_Information",
                "Include_Compensation",
                "Include_Organizations",
                "Include_Management_Chain_Data",
                "Include_Transaction_Log_Data",
            ],
        }
    }
}

/// One tenant's service.
#[derive(Clone)]
pub struct Client {
    account: Workday,
    endpoint: Url,
    login: Login,
    http: reqwest::Client,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("tenant", &self.account.tenant)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The service of an account. `http` must not follow redirects: see [`source::http_client`].
    ///
    /// # Errors
    /// When the address is not HTTPS (except on this machine), or holds more than scheme, host, port and path.
    pub fn new(
        account: &Workday,
        (secrets, token): (&Secrets, Token),
        http: reqwest::Client,
    ) -> Result<Self, SourceProblem> {
        let base = source::address(&account.base_url)?;
        let (tenant, version) = (&account.tenant, &account.version);
        let base = base.as_str().trim_end_matches('/');
        let at = |path: String| {
            Url::parse(&format!("{base}/ccx/{path}")).map_err(|_| SourceProblem::BadAddress(base.to_owned()))
        };
        let secret = |secret: &Option<String>| SecretString::from(secret.clone().unwrap_or_default());
        let key = secret(&secrets.api_key);
        let login = match &account.login {
            connection::Login::Password { user } => Login::Password {
                user: format!("{user}@{tenant}"),
                password: key,
            },
            connection::Login::RefreshToken { client_id } => Login::RefreshToken(Box::new(Refresh {
                address: at(format!("oauth2/{tenant}/token"))?,
                client_id: client_id.clone(),
                client_secret: secret(&secrets.client_secret),
                refresh_token: key,
                token,
            })),
        };
        Ok(Self {
            account: account.clone(),
            endpoint: at(format!("service/{tenant}/Human_Resources/{version}"))?,
            login,
            http,
            pace: Pace::default(),
        })
    }

    /// The same at the pace of everybody who asks this source.
    #[must_use]
    pub fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Everybody who is or was employed, as entered by now; contingent workers are left out.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn workers(&self) -> Result<Roster, SourceProblem> {
        let now = clock::now();
        let mut remote_ids = self.list("everybody", "", (now, None)).await?;
        // Whoever is hired for a later day may not be there yet today.
        let later = clock::today() + super::AHEAD;
        remote_ids.extend(self.list("who is to come", "", (now, Some(later))).await?);
        remote_ids.sort_unstable();
        remote_ids.dedup();
        Ok(Roster {
            remote_ids,
            deleted: Vec::new(),
            cursor: Some(now),
            includes_former: true,
        })
    }

    /// Who was changed since `since`, and for whom something became effective that had been entered before.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn changed_since(&self, since: Timestamp) -> Result<Changes, SourceProblem> {
        let now = clock::now();
        let through = now - CLOCK_MARGIN;
        let from = (since - CURSOR_OVERLAP).min(through);
        let range = |kind: &str, from: Timestamp| {
            format!(
                "<bsvc:Transaction_Log_Criteria_Data><bsvc:Transaction_Date_Range_Data>\
                 <bsvc:{kind}_From>{}</bsvc:{kind}_From><bsvc:{kind}_Through>{}</bsvc:{kind}_Through>\
                 </bsvc:Transaction_Date_Range_Data></bsvc:Transaction_Log_Criteria_Data>",
                moment(from),
                moment(through)
            )
        };
        // Both in one question would be those who are in both.
        let entered = self
            .list("who was changed", &range("Updated", from), (now, None))
            .await?;
        let effective_from = from.max(through - TimeDelta::days(EFFECTIVE_DAYS_MAX));
        let effective = range("Effective", effective_from);
        let mut remote_ids = self
            .list("for whom something became effective", &effective, (now, None))
            .await?;
        remote_ids.extend(entered);
        remote_ids.sort_unstable();
        remote_ids.dedup();
        let changed = |remote_id| Changed {
            remote_id,
            kind: Kind::Updated,
            at: None,
        };
        Ok(Changes {
            cursor: Some(through),
            employees: remote_ids.into_iter().map(changed).collect(),
        })
    }

    /// A worker as of a day, as entered by `entered_by`. None: nobody is shown.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn worker(
        &self,
        remote_id: &str,
        on: Date,
        (group, entered_by): (Group, Timestamp),
    ) -> Result<Option<Worker>, SourceProblem> {
        const WHAT: &str = "a worker";
        let references = format!(
            "<bsvc:Request_References bsvc:Skip_Non_Existing_Instances=\"true\"><bsvc:Worker_Reference>\
             <bsvc:ID bsvc:type=\"Employee_ID\">{}</bsvc:ID></bsvc:Worker_Reference></bsvc:Request_References>",
            escape(remote_id)
        );
        let filter = format!(
            "<bsvc:As_Of_Effective_Date>{on}</bsvc:As_Of_Effective_Date><bsvc:As_Of_Entry_DateTime>{}</bsvc:As_Of_Entry_DateTime>",
            moment(entered_by)
        );
        let answer = self.ask(WHAT, &self.request(&references, &filter, group)).await?;
        let answer = soap::document(&answer).ok_or(SourceProblem::BadAnswer { what: WHAT })?;
        let shown = workers_of(&answer, WHAT)?;
        let read = shown.filter_map(|node| worker::read(node, on, &self.account));
        // Somebody who was hired again in another way is there twice.
        Ok(read
            .filter(|worker| worker.id == remote_id)
            .max_by_key(|worker| worker.is_active))
    }

    /// The Employee_IDs of all pages of a list, as of a day (today without it) and as entered by a moment.
    async fn list(
        &self,
        what: &'static str,
        criteria: &str,
        (entered_by, on): (Timestamp, Option<Date>),
    ) -> Result<Vec<String>, SourceProblem> {
        let as_of = on.map(|on| format!("<bsvc:As_Of_Effective_Date>{on}</bsvc:As_Of_Effective_Date>"));
        let as_of = as_of.unwrap_or_default();
        let criteria = format!(
            "<bsvc:Request_Criteria>{criteria}<bsvc:Exclude_Inactive_Workers>false</bsvc:Exclude_Inactive_Workers>\
             <bsvc:Exclude_Contingent_Workers>true</bsvc:Exclude_Contingent_Workers></bsvc:Request_Criteria>"
        );
        let mut ids = Vec::new();
        for page in 1..=PAGES_MAX {
            let filter = format!(
                "{as_of}<bsvc:As_Of_Entry_DateTime>{}</bsvc:As_Of_Entry_DateTime><bsvc:Page>{page}</bsvc:Page><bsvc:Count>{PAGE_WORKERS}</bsvc:Count>",
                moment(entered_by)
            );
            let answer = self
                .ask(what, &self.request(&criteria, &filter, Group::Reference))
                .await?;
            let bad = || SourceProblem::BadAnswer { what };
            let answer = soap::document(&answer).ok_or_else(bad)?;
            let shown = workers_of(&answer, what)?;
            ids.extend(shown.filter_map(|node| Some(worker::employee_id(at(node, "Worker_Reference")?)?.to_owned())));
            let results = answer
                .root_element()
                .descendants()
                .find(|node| node.tag_name().name() == "Response_Results");
            let pages = results
                .and_then(|results| text(results, "Total_Pages"))
                .ok_or_else(bad)?;
            if pages.parse::<u32>().map_err(|_| bad())? <= page {
                return Ok(ids);
            }
        }
        Err(SourceProblem::TooLarge { what })
    }

    fn request(&self, selection: &str, filter: &str, group: Group) -> String {
        let version = &self.account.version;
        let group: String = (group.names().iter())
            .map(|name| format!("<bsvc:{name}>true</bsvc:{name}>"))
            .collect();
        format!(
            "<bsvc:Get_Workers_Request bsvc:version=\"{version}\">{selection}<bsvc:Response_Filter>{filter}</bsvc:Response_Filter>\
             <bsvc:Response_Group>{group}</bsvc:Response_Group></bsvc:Get_Workers_Request>"
        )
    }

    /// One question, when it is its turn.
    async fn ask(&self, what: &'static str, body: &str) -> Result<String, SourceProblem> {
        source::at_pace(&self.pace, self.ask_now(what, body)).await
    }

    async fn ask_now(&self, what: &'static str, body: &str) -> Result<String, SourceProblem> {
        let refresh = match &self.login {
            Login::Password { user, password } => {
                let envelope = soap::envelope(Some((user, password.expose_secret())), body);
                return self.send(what, envelope, None).await;
            }
            Login::RefreshToken(refresh) => refresh,
        };
        let envelope = soap::envelope(None, body);
        let token = refresh.token(&self.http, None).await?;
        match self.send(what, envelope.clone(), Some(&token)).await {
            // It ended before its time.
            Err(SourceProblem::Unauthorised) => {
                let another = refresh.token(&self.http, Some(&token)).await?;
                self.send(what, envelope, Some(&another)).await
            }
            answer => answer,
        }
    }

    async fn send(
        &self,
        what: &'static str,
        envelope: String,
        token: Option<&SecretString>,
    ) -> Result<String, SourceProblem> {
        let mut request = self
            .http
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(HeaderName::from_static("soapaction"), "\"\"")
            .body(envelope);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(SourceProblem::network)?;
        let (status, headers) = (response.status(), response.headers().clone());
        // Faults come with 500, and say what it is; an answer that is none says what its status says.
        let response = match status {
            StatusCode::INTERNAL_SERVER_ERROR => response,
            _ => source::accepted(what, response)?,
        };
        let answer =
            String::from_utf8(read_bounded(response, what).await?).map_err(|_| SourceProblem::BadAnswer { what })?;
        let problem = match soap::document(&answer) {
            Some(document) => soap::fault(what, status, &document),
            None if status.is_success() => Some(SourceProblem::BadAnswer { what }),
            None => None,
        };
        match problem {
            Some(problem) => Err(problem),
            None if status.is_success() => Ok(answer),
            None => Err(source::refusal(what, (status, &headers), None)),
        }
    }
}

/// The workers of an answer.
fn workers_of<'a, 'input: 'a>(
    answer: &'a Document<'input>,
    what: &'static str,
) -> Result<impl Iterator<Item = roxmltree::Node<'a, 'input>>, SourceProblem> {
    let response = at(answer.root_element(), "Body/Get_Workers_Response");
    let response = response.ok_or(SourceProblem::BadAnswer { what })?;
    let shown: Vec<_> = at(response, "Response_Data")
        .into_iter()
        .flat_map(|data| children(data, "Worker"))
        .collect();
    Ok(shown.into_iter())
}

fn moment(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
