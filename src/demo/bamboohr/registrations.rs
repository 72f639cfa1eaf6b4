//! `webhooks`: registering, listing and deleting.

use super::fields::{FIELDS, field_by_alias};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most webhooks that one company may register.
const WEBHOOKS_MAX: usize = 100;

/// Most rows that the log of a webhook shows.
const LOG_ROWS_MAX: usize = 200;

const EVENTS: [&str; 9] = [
    "employee_with_fields.created",
    "employee_with_fields.updated",
    "employee_with_fields.deleted",
    "employee.created",
    "employee.updated",
    "employee.deleted",
    "company.updated",
    "company.deleted",
    "company-integrations.updated",
];

/// How a webhook's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    FormEncoded,
}

/// A webhook that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredWebhook {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub url: String,
    /// How its body is written.
    pub format: Format,
    /// Aliases of the fields whose change it announces.
    pub monitor_fields: Vec<String>,
    /// Aliases of the fields that field-based bodies carry, each with the name it carries them under.
    pub post_fields: BTreeMap<String, String>,
    /// Whether the header `company-domain` is sent.
    pub include_company_domain: bool,
    /// What it announces.
    pub events: Vec<String>,
    /// Signs its bodies.
    pub private_key: String,
    created: String,
}

impl RegisteredWebhook {
    /// Whether bodies carry fields (`employee_with_fields.*`, the default) or only say that something happened.
    pub fn is_field_based(&self) -> bool {
        self.events.is_empty()
            || self
                .events
                .iter()
                .any(|event| event.starts_with("employee_with_fields."))
    }

    /// The answer's body; the key is in it only when it was just made.
    fn to_json(&self, with_key: bool) -> Value {
        let mut body = json!({
            "id": self.id.to_string(),
            "name": self.name,
            "created": self.created,
            "lastSent": null,
            "monitorFields": self.monitor_fields,
            "postFields": self.post_fields,
            "url": self.url,
            "format": self.format,
            "includeCompanyDomain": self.include_company_domain,
            "events": self.events,
        });
        if with_key {
            body["privateKey"] = Value::String(self.private_key.clone());
        }
        body
    }
}

/// A refusal: the status, the text for the error header, and a body.
pub(super) type Refused = (u16, String, Value);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    name: String,
    url: String,
    format: Format,
    #[serde(default)]
    monitor_fields: Vec<String>,
    #[serde(default)]
    post_fields: BTreeMap<String, String>,
    #[serde(default)]
    include_company_domain: bool,
    #[serde(default)]
    events: Vec<String>,
}

/// All webhooks of the company.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    webhooks: Vec<RegisteredWebhook>,
    last_id: u32,
    /// What was sent, by the webhook's number.
    log: Vec<(u32, Value)>,
}

impl Registrations {
    pub(super) fn all(&self) -> Vec<RegisteredWebhook> {
        self.webhooks.clone()
    }

    pub(super) fn list(&self) -> Value {
        json!({ "webhooks": self.webhooks.iter().map(|webhook| webhook.to_json(false)).collect::<Vec<_>>() })
    }

    pub(super) fn one(&self, id: &str) -> Option<Value> {
        self.webhooks
            .iter()
            .find(|webhook| webhook.id.to_string() == id)
            .map(|webhook| webhook.to_json(false))
    }

    /// Up to 200 rows, the newest first.
    pub(super) fn log(&self, id: &str) -> Option<Value> {
        let webhook = self.webhooks.iter().find(|webhook| webhook.id.to_string() == id)?;
        let rows = self.log.iter().rev().filter(|(of, _)| *of == webhook.id);
        Some(rows.take(LOG_ROWS_MAX).map(|(_, row)| row.clone()).collect())
    }

    pub(super) fn sent(&mut self, id: u32, employees: &[u64], status: u16, at: &str) {
        let Some(webhook) = self.webhooks.iter().find(|webhook| webhook.id == id) else {
            return;
        };
        let row = json!({
            "webhookId": id,
            "url": webhook.url,
            "lastAttempted": at,
            "lastSuccess": (200..300).contains(&status).then_some(at),
            "statusCode": status,
            "format": webhook.format,
            "employeeIds": employees,
        });
        self.log.push((id, row));
    }

    pub(super) fn delete(&mut self, id: &str) -> bool {
        let before = self.webhooks.len();
        self.webhooks.retain(|webhook| webhook.id.to_string() != id);
        self.webhooks.len() < before
    }

    pub(super) fn create(&mut self, body: &[u8], created: String) -> Result<Value, Refused> {
        let malformed = |why: String| (400, why, Value::Null);
        let wanted: Wanted = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        check(&wanted)?;
        if self.webhooks.len() >= WEBHOOKS_MAX {
            return Err(malformed("too many webhooks".to_owned()));
        }
        self.last_id += 1;
        let webhook = RegisteredWebhook {
            id: self.last_id,
            name: wanted.name,
            url: wanted.url,
            format: wanted.format,
            monitor_fields: wanted.monitor_fields,
            post_fields: wanted.post_fields,
            include_company_domain: wanted.include_company_domain,
            events: wanted.events,
            private_key: super::random_id().simple().to_string(),
            created,
        };
        let answer = webhook.to_json(true);
        self.webhooks.push(webhook);
        Ok(answer)
    }
}

fn check(wanted: &Wanted) -> Result<(), Refused> {
    let refuse = |why: &str| Err((400, why.to_owned(), Value::Null));
    if wanted.name.trim().is_empty() {
        return refuse("name is required");
    }
    if !wanted.url.starts_with("https://") && !is_this_machine(&wanted.url) {
        return refuse("url must start with https://");
    }
    if let Some(unknown) = wanted.events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
        return refuse(&format!("unknown event {unknown}"));
    }
    let with_fields = wanted
        .events
        .iter()
        .any(|event| event.starts_with("employee_with_fields."));
    if with_fields && wanted.events.iter().any(|event| event.starts_with("employee.")) {
        return refuse("employee.* and employee_with_fields.* cannot be mixed");
    }
    let monitors = wanted.events.is_empty() || wanted.events.iter().any(|event| event.ends_with(".updated"));
    if monitors && wanted.monitor_fields.is_empty() {
        return refuse("monitorFields is required");
    }
    let is_unknown = |name: &&String| field_by_alias(name).is_none() && !FIELDS.iter().any(|f| f.name == name.as_str());
    let monitor: Vec<&String> = wanted.monitor_fields.iter().filter(is_unknown).collect();
    let post: Vec<&String> = wanted.post_fields.keys().filter(is_unknown).collect();
    if monitor.is_empty() && post.is_empty() {
        return Ok(());
    }
    let unknown: Vec<&&String> = monitor.iter().chain(&post).collect();
    let body = json!({ "monitorFields": monitor, "postFields": post, "unknownFields": unknown });
    Err((403, "some fields are unknown or not permitted".to_owned(), body))
}

/// The one departure from BambooHR: plain HTTP is accepted towards the machine itself.
fn is_this_machine(url: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .any(|own| {
            url.strip_prefix(own)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        })
}
