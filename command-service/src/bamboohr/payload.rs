//! Reads a webhook's body, whichever of BambooHR's styles it has.
//!
//! There are two styles (event-based and field-based) in two formats (JSON and form-encoded), plus the shapes of older
//! tenants (facts/connectors.md A1, "Webhooks"). The content type is not trusted: a body that begins like JSON is JSON.
//!
//! BambooHR does not send again after a 4xx, so whatever can be understood is: unknown keys, unknown actions and unknown
//! `employee.*` events only lead to reading the person again.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{is_remote_id, moment};

/// The largest body that is read, in bytes.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most employees that one webhook can name.
pub const EMPLOYEES_MAX: usize = 1_000;
/// The most fields that one employee can have in a webhook.
pub const FIELDS_PER_EMPLOYEE_MAX: usize = 400;
/// The longest value or field name, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The most of a foreign word that a problem repeats, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// These people changed, in the order in which the webhook tells of them.
    Employees(Vec<Notification>),
    /// Something about the account itself, such as `company.updated`: nobody to read again.
    Company { kind: String },
}

/// One person changed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub remote_id: String,
    pub kind: Kind,
    /// As the source names them; empty where the source does not say.
    #[serde(default)]
    pub changed_fields: Vec<String>,
    /// Values by field name, in field-based webhooks only.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// When it happened at the source.
    #[serde(default)]
    pub at: Option<Timestamp>,
    #[serde(default)]
    pub company_id: Option<String>,
}

/// The values are personal, so only their names are shown.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("remote_id", &self.remote_id)
            .field("kind", &self.kind)
            .field("changed_fields", &self.changed_fields)
            .field("fields", &self.fields.keys())
            .field("at", &self.at)
            .field("company_id", &self.company_id)
            .finish()
    }
}

/// What happened to a person's record. A termination is an update; a deletion is a mistake being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Created,
    Updated,
    Deleted,
}

impl Kind {
    /// Reads `Created`, `employee.created`, `Inserted` and the like. An unknown word is an update: reading the person again
    /// is always right.
    #[must_use]
    pub fn of_action(word: &str) -> Self {
        let word = word.trim().rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "created" | "inserted" => Self::Created,
            "deleted" => Self::Deleted,
            _ => Self::Updated,
        }
    }
}

/// Why a body could not be read, and what to do about it. Never holds a value from the body other than an event's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadProblem {
    #[error("the body is empty: let the webhook send its event as JSON or form fields")]
    Empty,
    #[error("the body has {bytes} bytes, and at most {BODY_BYTES_MAX} are read: monitor fewer fields")]
    TooLarge { bytes: usize },
    #[error(
        "the body is broken JSON (line {line}, column {column}): set the webhook's format to JSON and send it unchanged"
    )]
    BrokenJson { line: usize, column: usize },
    #[error(
        "the body is no BambooHR webhook{}: expected `type` and `data`, or `employees`, as JSON or form fields",
        .content_type.as_ref().map(|said| format!(" (content type {said:?})")).unwrap_or_default()
    )]
    UnknownShape { content_type: Option<String> },
    #[error("the event {0:?} is unknown: subscribe the webhook to employee events only")]
    UnknownEvent(String),
    #[error(
        "employee number {index} of the webhook has no usable id: expected letters, digits, hyphens and underscores"
    )]
    BadEmployeeId { index: usize },
    #[error("the webhook names {found} employees, and at most {EMPLOYEES_MAX} are read at once: lower its batch size")]
    TooManyEmployees { found: usize },
    #[error(
        "employee number {index} has {found} fields, and at most {FIELDS_PER_EMPLOYEE_MAX} are read: post fewer fields"
    )]
    TooManyFields { index: usize, found: usize },
    #[error("a field of employee number {index} is longer than {VALUE_BYTES_MAX} bytes: do not post that field")]
    TooLong { index: usize },
}

/// Reads a webhook's body. `content_type` is used only to explain a body that cannot be read.
///
/// # Errors
/// When the body is no webhook, or exceeds one of this module's limits.
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Message, PayloadProblem> {
    if body.len() > BODY_BYTES_MAX {
        return Err(PayloadProblem::TooLarge { bytes: body.len() });
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let tree = match body.first() {
        None => return Err(PayloadProblem::Empty),
        Some(b'{' | b'[') => serde_json::from_slice(body).map_err(|error| PayloadProblem::BrokenJson {
            line: error.line(),
            column: error.column(),
        })?,
        Some(_) => form_tree(body),
    };
    read(&tree)?.ok_or_else(|| PayloadProblem::UnknownShape {
        content_type: content_type.map(quoted),
    })
}

/// `None`: no shape of a webhook.
fn read(tree: &Value) -> Result<Option<Message>, PayloadProblem> {
    match tree {
        Value::Array(events) => read_batch(events),
        Value::Object(root) => match (root.get("employees"), root.get("type").and_then(Value::as_str)) {
            (Some(employees), event) => field_based(employees, event, root).map(|all| all.map(Message::Employees)),
            (None, Some(event)) => event_based(event, root).map(Some),
            (None, None) => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Several messages in one array: of employees if there are any.
fn read_batch(events: &[Value]) -> Result<Option<Message>, PayloadProblem> {
    check_count(events.len())?;
    let (mut employees, mut company) = (Vec::new(), None);
    for event in events {
        match event.is_object().then(|| read(event)).transpose()?.flatten() {
            Some(Message::Employees(more)) => employees.extend(more),
            Some(about_company @ Message::Company { .. }) => company = Some(about_company),
            None => return Ok(None),
        }
        check_count(employees.len())?;
    }
    Ok(Some(
        company
            .filter(|_| employees.is_empty())
            .unwrap_or(Message::Employees(employees)),
    ))
}

/// `{"type": "employee.updated", "timestamp": .., "data": {"companyId", "employeeId", "changedFields"}}`.
fn event_based(event: &str, root: &Map<String, Value>) -> Result<Message, PayloadProblem> {
    let family = event.split('.').next().unwrap_or_default();
    if matches!(family, "company" | "company-integrations") {
        return Ok(Message::Company { kind: quoted(event) });
    }
    if !matches!(family, "employee" | "employee_with_fields") {
        return Err(PayloadProblem::UnknownEvent(quoted(event)));
    }
    let data = root.get("data").and_then(Value::as_object).unwrap_or(root);
    let notification = Notification {
        remote_id: remote_id(data.get("employeeId").or_else(|| data.get("id")), 1)?,
        kind: Kind::of_action(event),
        changed_fields: names(data.get("changedFields"), 1)?,
        fields: BTreeMap::new(),
        at: at(root.get("timestamp")),
        company_id: company_id(data),
    };
    Ok(Message::Employees(vec![notification]))
}

/// `{"employees": [{"id", "action", "timestamp", "changedFields", "fields"}]}`, or an object by id, as forms have it.
fn field_based(
    employees: &Value,
    event: Option<&str>,
    root: &Map<String, Value>,
) -> Result<Option<Vec<Notification>>, PayloadProblem> {
    let people: Vec<(Option<&String>, &Value)> = match employees {
        Value::Array(list) => list.iter().map(|person| (None, person)).collect(),
        Value::Object(by_id) => by_id.iter().map(|(id, person)| (Some(id), person)).collect(),
        _ => return Ok(None),
    };
    check_count(people.len())?;
    let mut notifications = Vec::with_capacity(people.len());
    for (index, (key, person)) in people.into_iter().enumerate() {
        let Some(person) = person.as_object() else {
            return Ok(None);
        };
        notifications.push(field_based_one(index + 1, key, person, event, root)?);
    }
    Ok(Some(notifications))
}

fn field_based_one(
    index: usize,
    key: Option<&String>,
    person: &Map<String, Value>,
    event: Option<&str>,
    root: &Map<String, Value>,
) -> Result<Notification, PayloadProblem> {
    let key = key.map(|key| Value::String(key.clone()));
    let said = person
        .get("action")
        .and_then(Value::as_str)
        .or(event)
        .unwrap_or_default();
    let fields = match person.get("fields") {
        // PHP writes an empty map as `[]`.
        Some(Value::Array(_) | Value::Null) => BTreeMap::new(),
        Some(Value::Object(fields)) => values(fields.iter(), index)?,
        // Forms hold the fields beside the rest.
        _ if key.is_some() => values(person.iter().filter(|(name, _)| !is_reserved(name)), index)?,
        _ => BTreeMap::new(),
    };
    Ok(Notification {
        remote_id: remote_id(person.get("id").or(key.as_ref()), index)?,
        kind: Kind::of_action(said),
        changed_fields: names(person.get("changedFields"), index)?,
        fields,
        at: at(person.get("timestamp").or_else(|| root.get("timestamp"))),
        company_id: company_id(person).or_else(|| company_id(root)),
    })
}

fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "id" | "action" | "timestamp" | "changedFields" | "fields" | "companyId"
    )
}

fn check_count(found: usize) -> Result<(), PayloadProblem> {
    if found > EMPLOYEES_MAX {
        Err(PayloadProblem::TooManyEmployees { found })
    } else {
        Ok(())
    }
}

fn remote_id(value: Option<&Value>, index: usize) -> Result<String, PayloadProblem> {
    let id = value.map(plain).unwrap_or_default();
    let id = id.trim();
    if is_remote_id(id) {
        Ok(id.to_owned())
    } else {
        Err(PayloadProblem::BadEmployeeId { index })
    }
}

fn company_id(data: &Map<String, Value>) -> Option<String> {
    data.get("companyId").map(plain).filter(|id| is_remote_id(id))
}

fn at(value: Option<&Value>) -> Option<Timestamp> {
    moment(&plain(value?))
}

/// Names of fields: a list, or in forms an object by index.
fn names(value: Option<&Value>, index: usize) -> Result<Vec<String>, PayloadProblem> {
    let names: Vec<String> = match value {
        Some(Value::Array(list)) => list.iter().map(plain).collect(),
        Some(Value::Object(by_index)) => by_index.values().map(plain).collect(),
        Some(Value::String(list)) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        _ => Vec::new(),
    };
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    check_fields(names.len(), names.iter().map(String::len).max(), index)?;
    Ok(names)
}

fn values<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    index: usize,
) -> Result<BTreeMap<String, String>, PayloadProblem> {
    let values: BTreeMap<String, String> = fields
        .map(|(name, value)| (name.trim().to_owned(), plain(value)))
        .collect();
    check_fields(
        values.len(),
        values.iter().map(|(name, value)| name.len().max(value.len())).max(),
        index,
    )?;
    Ok(values)
}

fn check_fields(found: usize, longest: Option<usize>, index: usize) -> Result<(), PayloadProblem> {
    if found > FIELDS_PER_EMPLOYEE_MAX {
        return Err(PayloadProblem::TooManyFields { index, found });
    }
    if longest.is_some_and(|bytes| bytes > VALUE_BYTES_MAX) {
        return Err(PayloadProblem::TooLong { index });
    }
    Ok(())
}

/// A value as text: `"x"`, `12`, `true`, `{"value": "x"}`, `{"value": "5.00", "currency": "USD"}`, or a list of those.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(plain)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
        Value::Object(object) => match (object.get("value"), object.get("currency").and_then(Value::as_str)) {
            (Some(amount @ (Value::String(_) | Value::Number(_))), Some(currency)) if plain(amount).trim() != "" => {
                format!("{} {currency}", plain(amount))
            }
            (Some(inner), _) => plain(inner),
            (None, _) => String::new(),
        },
    }
}

/// `a[b][c]=v&a[d]=w` as `{"a": {"b": {"c": "v"}, "d": "w"}}`.
fn form_tree(body: &[u8]) -> Value {
    /// More levels than any webhook has; the rest of a deeper key is part of its last name.
    const DEPTH_MAX: usize = 6;

    let mut root = BTreeMap::new();
    for (key, value) in url::form_urlencoded::parse(body) {
        let (first, rest) = key.split_once('[').map_or((&*key, ""), |(first, rest)| (first, rest));
        let rest = rest.strip_suffix(']').unwrap_or(rest);
        let names = std::iter::once(first).chain(rest.splitn(DEPTH_MAX, "][").filter(|_| key.len() > first.len()));
        plant(&mut root, &names.collect::<Vec<_>>(), &value);
    }
    Value::Object(
        root.into_iter()
            .map(|(name, branch)| (name, branch.into_value()))
            .collect(),
    )
}

/// A form's keys as a tree.
enum Branch {
    Leaf(String),
    Fork(BTreeMap<String, Branch>),
}

impl Branch {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(text) => Value::String(text),
            Self::Fork(branches) => {
                // Numbered branches keep their order: 2 before 10.
                let mut branches: Vec<_> = branches.into_iter().collect();
                let numbered = branches.iter().all(|(name, _)| name.parse::<u64>().is_ok());
                if numbered {
                    branches.sort_by_key(|(name, _)| name.parse::<u64>().unwrap_or_default());
                    let counted = branches
                        .iter()
                        .enumerate()
                        .all(|(place, (name, _))| *name == place.to_string());
                    let leaves = branches.iter().all(|(_, branch)| matches!(branch, Self::Leaf(_)));
                    if counted && leaves {
                        return Value::Array(branches.into_iter().map(|(_, branch)| branch.into_value()).collect());
                    }
                }
                Value::Object(
                    branches
                        .into_iter()
                        .map(|(name, branch)| (name, branch.into_value()))
                        .collect(),
                )
            }
        }
    }
}

/// Puts a value at its place. Of two values for one place, the one that fits the tree so far stays.
fn plant(branches: &mut BTreeMap<String, Branch>, names: &[&str], value: &str) {
    let Some((&name, deeper)) = names.split_first() else {
        return;
    };
    // `changedFields[]=a&changedFields[]=b`: the next number.
    let name = if name.is_empty() {
        branches.len().to_string()
    } else {
        name.to_owned()
    };
    match (branches.entry(name), deeper.is_empty()) {
        (Entry::Vacant(place), true) => {
            place.insert(Branch::Leaf(value.to_owned()));
        }
        (Entry::Vacant(place), false) => {
            let mut fork = BTreeMap::new();
            plant(&mut fork, deeper, value);
            place.insert(Branch::Fork(fork));
        }
        (Entry::Occupied(mut place), deepest) => match (place.get_mut(), deepest) {
            (Branch::Fork(fork), false) => plant(fork, deeper, value),
            (Branch::Leaf(leaf), true) => value.clone_into(leaf),
            (Branch::Fork(_), true) | (Branch::Leaf(_), false) => {}
        },
    }
}

fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(QUOTED_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests;
