//! Signed announcements of changes, as BambooHR sends them.
//!
//! The signature is the lower-case hex of HMAC-SHA256 over the raw body followed by the timestamp header, keyed with
//! the webhook's private key as it was given. 2xx is success; 4xx is final; 5xx and a broken connection are tried
//! again on a ladder, with the same headers unless [`WebhookSender::restamping`] is asked for (the vendor does not
//! document which).

mod bodies;
mod live;
#[cfg(test)]
mod tests;

pub use bodies::{EmployeeEvent, FieldShape, PayloadStyle, event_form, event_json, field_form, field_json};
pub use live::{Life, LiveReport, run_live};

use super::bamboohr::{FIELDS, Format, RegisteredWebhook, field_by_alias, value_of};
use super::company::{Change, ChangeAction, Company};
use super::vendor::{Clock, SharedCompany, lock, system_clock};
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// Employees in one field-based body.
const EMPLOYEES_PER_BODY_MAX: usize = 100;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How the vendor introduces itself.
const USER_AGENT: &str = "BambooHR-WebHooks/1.0 (https://www.bamboohr.com; simulated)";

/// The value of `X-BambooHR-Signature`: lower-case hex of HMAC-SHA256(key, body || timestamp).
pub fn sign(key: &str, body: &[u8], timestamp: &str) -> String {
    // HMAC takes a key of any length, so this never refuses; an empty signature would be refused by any receiver.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    mac.update(timestamp.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// How `X-BambooHR-Timestamp` is written; both are seen in the wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampForm {
    /// `1658248023`
    #[default]
    UnixSeconds,
    /// `2026-01-31T18:42:00Z`
    Iso8601,
}

impl TimestampForm {
    fn write(self, at: DateTime<Utc>) -> String {
        match self {
            Self::UnixSeconds => at.timestamp().to_string(),
            Self::Iso8601 => at.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

/// Where announcements go, and what they say.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// Address of the receiver.
    pub url: String,
    /// Signs the bodies.
    pub private_key: String,
    /// Which of the four bodies.
    pub style: PayloadStyle,
    /// How field-based JSON writes a value.
    pub field_shape: FieldShape,
    /// How the timestamp header is written.
    pub timestamp_form: TimestampForm,
    /// Whether the header `company-domain` is sent.
    pub include_company_domain: bool,
    /// Aliases of the fields whose change is announced; none for all.
    pub monitor_fields: Option<BTreeSet<String>>,
    /// Aliases and names of the fields that field-based bodies carry; empty for those that changed.
    pub post_fields: BTreeMap<String, String>,
    /// Which actions are announced.
    pub actions: Vec<ChangeAction>,
}

impl WebhookTarget {
    /// Announces every change of every field.
    pub fn new(url: impl Into<String>, private_key: impl Into<String>, style: PayloadStyle) -> Self {
        Self {
            url: url.into(),
            private_key: private_key.into(),
            style,
            field_shape: FieldShape::default(),
            timestamp_form: TimestampForm::default(),
            include_company_domain: true,
            monitor_fields: None,
            post_fields: BTreeMap::new(),
            actions: vec![ChangeAction::Created, ChangeAction::Updated, ChangeAction::Deleted],
        }
    }

    /// What a registration asks for.
    pub fn registered(webhook: &RegisteredWebhook) -> Self {
        let style = match (webhook.is_field_based(), webhook.format) {
            (false, Format::Json) => PayloadStyle::EventJson,
            (false, Format::FormEncoded) => PayloadStyle::EventForm,
            (true, Format::Json) => PayloadStyle::FieldJson,
            (true, Format::FormEncoded) => PayloadStyle::FieldForm,
        };
        let announces =
            |word: &str| webhook.events.is_empty() || webhook.events.iter().any(|event| event.ends_with(word));
        let actions = [
            (ChangeAction::Created, ".created"),
            (ChangeAction::Updated, ".updated"),
            (ChangeAction::Deleted, ".deleted"),
        ];
        let aliases = webhook.monitor_fields.iter().map(|field| alias_of(field).to_owned());
        Self {
            include_company_domain: webhook.include_company_domain,
            monitor_fields: Some(aliases.collect()),
            post_fields: webhook
                .post_fields
                .iter()
                .map(|(key, name)| (alias_of(key).to_owned(), name.clone()))
                .collect(),
            actions: actions
                .into_iter()
                .filter(|(_, word)| announces(word))
                .map(|(action, _)| action)
                .collect(),
            ..Self::new(&webhook.url, &webhook.private_key, style)
        }
    }

    /// What this target is told about changes, in their order.
    pub fn events(&self, company: &Company, changes: &[Change]) -> Vec<EmployeeEvent> {
        changes
            .iter()
            .filter_map(|change| self.event(company, change))
            .collect()
    }

    fn event(&self, company: &Company, change: &Change) -> Option<EmployeeEvent> {
        let monitored = |alias: &&&str| {
            self.monitor_fields
                .as_ref()
                .is_none_or(|fields| fields.contains(**alias))
        };
        let changed: Vec<&str> = change.fields.iter().filter(monitored).copied().collect();
        let silent = change.action == ChangeAction::Updated && changed.is_empty();
        if silent || !self.actions.contains(&change.action) {
            return None;
        }
        let names: BTreeMap<&str, &str> = match self.post_fields.is_empty() {
            true => changed.iter().map(|alias| (*alias, name_of(alias))).collect(),
            false => self
                .post_fields
                .iter()
                .map(|(alias, name)| (alias.as_str(), name.as_str()))
                .collect(),
        };
        let employee = company.employee(change.employee);
        let fields = names.into_iter().filter_map(|(alias, name)| {
            let value = value_of(company, employee?, alias, company.today.max(change.at.date_naive()))?;
            Some((name.to_owned(), value.unwrap_or_default()))
        });
        Some(EmployeeEvent {
            employee_id: change.employee.to_string(),
            action: change.action,
            fields: fields.collect(),
            changed_names: changed.iter().map(|alias| name_of(alias).to_owned()).collect(),
            changed_aliases: changed.into_iter().map(str::to_owned).collect(),
            at: change.at,
        })
    }

    /// The bodies for events: one each, or batches where the style allows it. The order of a person's events is kept.
    pub fn bodies(&self, company_id: &str, events: &[EmployeeEvent]) -> Vec<String> {
        match self.style {
            PayloadStyle::EventJson => events.iter().map(|event| event_json(company_id, event)).collect(),
            PayloadStyle::EventForm => events.iter().map(|event| event_form(company_id, event)).collect(),
            PayloadStyle::FieldJson => batches(events)
                .map(|batch| field_json(batch, self.field_shape))
                .collect(),
            PayloadStyle::FieldForm => batches(events).map(field_form).collect(),
        }
    }
}

/// Runs of the same action, so that nobody is in a body twice.
fn batches(events: &[EmployeeEvent]) -> impl Iterator<Item = &[EmployeeEvent]> {
    events
        .chunk_by(|one, next| one.action == next.action)
        .flat_map(|same_action| same_action.chunks(EMPLOYEES_PER_BODY_MAX))
}

/// Registrations name fields by alias or by name.
fn alias_of(field: &str) -> &str {
    FIELDS
        .iter()
        .find(|known| known.name == field)
        .map_or(field, |known| known.alias)
}

fn name_of(alias: &str) -> &str {
    field_by_alias(alias).map_or(alias, |field| field.name)
}

/// How long to wait before each further attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryLadder(pub Vec<Duration>);

impl RetryLadder {
    /// Five attempts more, after 5, 10, 20, 40 and 80 minutes.
    pub fn vendor() -> Self {
        Self(
            [5, 10, 20, 40, 80]
                .map(|minutes| Duration::from_secs(60 * minutes))
                .to_vec(),
        )
    }

    /// The same shape within seconds.
    pub fn demo() -> Self {
        Self([250, 500, 1_000, 2_000, 4_000].map(Duration::from_millis).to_vec())
    }
}

/// A body that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The receiver's answer.
    pub status: u16,
    /// How many attempts it took.
    pub attempts: usize,
}

/// A body that was not taken, and is gone: the receiver must find the change by polling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Undelivered {
    /// Final by the vendor's rule.
    #[error("the receiver refused the webhook with {status}")]
    Refused {
        /// The receiver's answer.
        status: u16,
    },
    /// The ladder ended.
    #[error("the receiver did not take the webhook in {attempts} attempts")]
    GaveUp {
        /// How many attempts were made.
        attempts: usize,
    },
}

/// The sender could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for webhooks could not be made")]
pub struct NoClient(#[source] reqwest::Error);

/// Sends webhooks to one target.
#[derive(Clone)]
pub struct WebhookSender {
    client: reqwest::Client,
    target: WebhookTarget,
    ladder: RetryLadder,
    clock: Clock,
    restamps: bool,
}

impl WebhookSender {
    /// A sender with a ladder of retries.
    pub fn new(target: WebhookTarget, ladder: RetryLadder) -> Result<Self, NoClient> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(NoClient)?;
        Ok(Self {
            client,
            target,
            ladder,
            clock: system_clock(),
            restamps: false,
        })
    }

    /// Takes the time from elsewhere.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Stamps and signs anew for every attempt.
    pub fn restamping(mut self) -> Self {
        self.restamps = true;
        self
    }

    /// Where it sends to.
    pub fn target(&self) -> &WebhookTarget {
        &self.target
    }

    /// Announces changes, one body after the other.
    pub async fn send_changes(
        &self,
        company: &SharedCompany,
        changes: &[Change],
    ) -> Vec<Result<Delivery, Undelivered>> {
        let (bodies, domain) = {
            let company = lock(company);
            let events = self.target.events(&company, changes);
            (self.target.bodies(&company.company_id, &events), company.domain.clone())
        };
        let mut outcomes = Vec::with_capacity(bodies.len());
        for body in bodies {
            outcomes.push(self.send_body(&domain, body).await);
        }
        outcomes
    }

    /// Signs and sends one body, and climbs the ladder if need be.
    pub async fn send_body(&self, company_domain: &str, body: String) -> Result<Delivery, Undelivered> {
        let mut timestamp = self.target.timestamp_form.write((self.clock)());
        let mut waits = self.ladder.0.iter();
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt(company_domain, &body, &timestamp).await {
                Ok(status) if (200..300).contains(&status) => return Ok(Delivery { status, attempts }),
                Ok(status) if status < 500 => return Err(Undelivered::Refused { status }),
                Ok(status) => tracing::debug!(status, attempts, "a webhook was not taken"),
                Err(error) => tracing::debug!(error = %error.without_url(), attempts, "a webhook did not arrive"),
            }
            let Some(wait) = waits.next() else {
                return Err(Undelivered::GaveUp { attempts });
            };
            tokio::time::sleep(*wait).await;
            if self.restamps {
                timestamp = self.target.timestamp_form.write((self.clock)());
            }
        }
    }

    async fn attempt(&self, company_domain: &str, body: &str, timestamp: &str) -> Result<u16, reqwest::Error> {
        let signature = sign(&self.target.private_key, body.as_bytes(), timestamp);
        let mut request = self
            .client
            .post(&self.target.url)
            .header("Content-Type", self.target.style.content_type())
            .header("X-BambooHR-Timestamp", timestamp)
            .header("X-BambooHR-Signature", signature)
            .body(body.to_owned());
        if self.target.include_company_domain {
            request = request.header("company-domain", company_domain);
        }
        Ok(request.send().await?.status().as_u16())
    }
}
