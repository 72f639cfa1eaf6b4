//! The four bodies that BambooHR sends, as pure functions.

use super::super::company::ChangeAction;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a moment is written: with an offset that has no colon, which strict parsers refuse.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S+0000";

/// One of the payload styles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadStyle {
    /// `{"type","timestamp","data"}`: thin, one employee each; recommended by the vendor.
    EventJson,
    /// The same as a form.
    EventForm,
    /// `{"employees":[...]}`: with values, several employees in one; the older default.
    FieldJson,
    /// The same as a form.
    FieldForm,
}

impl PayloadStyle {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EventJson, Self::EventForm, Self::FieldJson, Self::FieldForm];

    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::EventJson | Self::FieldJson => "application/json",
            Self::EventForm | Self::FieldForm => "application/x-www-form-urlencoded",
        }
    }

    /// Whether one body carries several employees.
    pub fn is_field_based(self) -> bool {
        matches!(self, Self::FieldJson | Self::FieldForm)
    }
}

/// How field-based JSON writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldShape {
    /// `"First Name":"Bryony"`
    #[default]
    Plain,
    /// `"First Name":{"value":"Bryony"}`, as older customers get it; without action and timestamp.
    ValueObject,
}

/// What a body says about one employee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmployeeEvent {
    /// The employee's number.
    pub employee_id: String,
    /// What happened.
    pub action: ChangeAction,
    /// Aliases of the changed fields; event-based bodies carry these.
    pub changed_aliases: Vec<String>,
    /// Names of the changed fields; field-based bodies carry these.
    pub changed_names: Vec<String>,
    /// Names and values; field-based bodies carry these.
    pub fields: BTreeMap<String, String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl EmployeeEvent {
    /// The event's name, such as `employee.updated`.
    pub fn kind(&self) -> &'static str {
        match self.action {
            ChangeAction::Created => "employee.created",
            ChangeAction::Updated => "employee.updated",
            ChangeAction::Deleted => "employee.deleted",
        }
    }

    fn action_word(&self) -> &'static str {
        match self.action {
            ChangeAction::Created => "Created",
            ChangeAction::Updated => "Updated",
            ChangeAction::Deleted => "Deleted",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    r#type: &'a str,
    timestamp: String,
    data: EventData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    company_id: &'a str,
    employee_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_fields: Option<&'a [String]>,
}

#[derive(Serialize)]
struct FieldBody<'a> {
    employees: Vec<FieldEmployee<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldEmployee<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    changed_fields: &'a [String],
    fields: BTreeMap<&'a str, FieldValue<'a>>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FieldValue<'a> {
    Plain(&'a str),
    Object { value: &'a str },
}

/// `{"type":"employee.updated","timestamp":...,"data":{"companyId","employeeId","changedFields"}}`
pub fn event_json(company_id: &str, event: &EmployeeEvent) -> String {
    let changed = event.action == ChangeAction::Updated;
    let body = EventBody {
        r#type: event.kind(),
        timestamp: event.at.format(TIMESTAMP).to_string(),
        data: EventData {
            company_id,
            employee_id: &event.employee_id,
            changed_fields: changed.then_some(event.changed_aliases.as_slice()),
        },
    };
    to_json(&body)
}

/// `type=employee.updated&data[companyId]=12345&data[employeeId]=67890&data[changedFields][0]=firstName`
pub fn event_form(company_id: &str, event: &EmployeeEvent) -> String {
    let mut form = Form::default();
    form.pair(&["type"], event.kind());
    form.pair(&["data", "companyId"], company_id);
    form.pair(&["data", "employeeId"], &event.employee_id);
    if event.action == ChangeAction::Updated {
        for (place, alias) in event.changed_aliases.iter().enumerate() {
            form.pair(&["data", "changedFields", &place.to_string()], alias);
        }
    }
    form.text
}

/// `{"employees":[{"action","changedFields","fields","id","timestamp"}, ...]}`
pub fn field_json(events: &[EmployeeEvent], shape: FieldShape) -> String {
    let employees = events
        .iter()
        .map(|event| {
            let updated = event.action == ChangeAction::Updated;
            let value = |value| match shape {
                FieldShape::Plain => FieldValue::Plain(value),
                FieldShape::ValueObject => FieldValue::Object { value },
            };
            let fields = event.fields.iter().filter(|_| updated);
            FieldEmployee {
                action: (shape == FieldShape::Plain).then(|| event.action_word()),
                changed_fields: if updated { &event.changed_names } else { &[] },
                fields: fields
                    .map(|(name, text)| (name.as_str(), value(text.as_str())))
                    .collect(),
                id: &event.employee_id,
                timestamp: (shape == FieldShape::Plain).then(|| event.at.format(TIMESTAMP).to_string()),
            }
        })
        .collect();
    to_json(&FieldBody { employees })
}

/// `employees[12345][changedFields][0]=First+name&employees[12345][First+name]=John`
///
/// What this style says about a created or deleted employee is not documented; here it is `[action]=Created`.
pub fn field_form(events: &[EmployeeEvent]) -> String {
    let mut form = Form::default();
    for event in events {
        let id = event.employee_id.as_str();
        if event.action != ChangeAction::Updated {
            form.pair(&["employees", id, "action"], event.action_word());
            continue;
        }
        for (place, name) in event.changed_names.iter().enumerate() {
            form.pair(&["employees", id, "changedFields", &place.to_string()], name);
        }
        for (name, value) in &event.fields {
            form.pair(&["employees", id, name], value);
        }
    }
    form.text
}

/// The bodies hold nothing that JSON cannot write; should that change, an empty body shows it at once.
fn to_json<T: Serialize>(body: &T) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| {
        tracing::error!(%error, "a webhook body could not be written");
        String::new()
    })
}

/// A form with keys in PHP's manner: brackets as they are, everything else escaped.
#[derive(Default)]
struct Form {
    text: String,
}

impl Form {
    fn pair(&mut self, key: &[&str], value: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        for (depth, part) in key.iter().enumerate() {
            let part = escaped(part);
            self.text.push_str(&if depth == 0 { part } else { format!("[{part}]") });
        }
        self.text.push('=');
        self.text.push_str(&escaped(value));
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
