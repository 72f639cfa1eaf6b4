//! The endpoints.

use super::super::company::{Company, EditRefused, Employee, EmployeeId, TERMINATED, Table};
use super::super::faults::{RateShape, Write};
use super::super::vendor::lock;
use super::fields::{FIELDS, TIMESTAMP, record_of, rows_of, value_of};
use super::{Server, random_id};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Largest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most fields that one request may ask for (documented).
const FIELDS_PER_REQUEST_MAX: usize = 400;
/// Employees on a page when nothing is said (documented).
const PAGE_EMPLOYEES_DEFAULT: usize = 50;
/// Most employees on a page (documented).
const PAGE_EMPLOYEES_MAX: usize = 100;
const ERROR_MESSAGE: &str = "x-bamboohr-error-message";

/// What becomes of a request.
enum Reply {
    Json(Value),
    Created { location: Option<String>, body: Value },
    Xml(String),
    Empty,
    Refused { status: u16, why: String, body: Value },
}

fn refused(status: u16, why: impl Into<String>) -> Reply {
    Reply::Refused {
        status,
        why: why.into(),
        body: Value::Null,
    }
}

type Query = BTreeMap<String, String>;

/// Answers every request: counts it, applies faults, checks the key, finds the endpoint.
pub(super) async fn answer(State(server): State<Server>, request: Request) -> Response {
    let mut response = answer_inner(&server, request).await;
    if let Ok(id) = HeaderValue::from_str(&random_id().to_string()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

async fn answer_inner(server: &Server, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let Some(path) = after_version(&path, &lock(&server.company).domain) else {
        return refused(404, "no such company or endpoint").into_response();
    };
    let verdict = server.faults.judge(format!("{} {path}", head.method));
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    if let Some((status, retry_after)) = verdict.refusal {
        let mut response = refused(status, "try again later").into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        return response;
    }
    if !is_authorised(&head.headers, &server.options.api_key) {
        return refused(401, "the API key is missing or wrong").into_response();
    }
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return refused(413, "the body is too large").into_response();
    };
    let query: Query = axum::extract::Query::try_from_uri(&head.uri)
        .map(|query| query.0)
        .unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let call = Call {
        server,
        query: &query,
        headers: &head.headers,
        body,
        now: (server.options.clock)(),
    };
    call.route(&head.method, &segments).into_response()
}

/// What follows `/api/v1/` or `/api/gateway.php/{company}/v1/`.
fn after_version<'a>(path: &'a str, company: &str) -> Option<&'a str> {
    let rest = path.strip_prefix("/api/")?;
    let rest = match rest.strip_prefix("gateway.php/") {
        Some(rest) => rest.strip_prefix(company)?.strip_prefix('/')?,
        None => rest,
    };
    let (version, rest) = rest.split_once('/')?;
    matches!(version, "v1" | "v1_1" | "v1_2").then(|| rest.trim_end_matches('/'))
}

/// Basic: the user name is the key, the password may be anything but nothing.
fn is_authorised(headers: &HeaderMap, api_key: &str) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let Some((scheme, encoded)) = value.split_once(' ') else {
        return false;
    };
    let decoded = BASE64_STANDARD
        .decode(encoded.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    scheme.eq_ignore_ascii_case("basic")
        && decoded.is_some_and(|pair| {
            pair.split_once(':')
                .is_some_and(|(user, password)| user == api_key && !password.is_empty())
        })
}

struct Call<'a> {
    server: &'a Server,
    query: &'a Query,
    headers: &'a HeaderMap,
    body: Bytes,
    now: DateTime<Utc>,
}

impl Call<'_> {
    fn route(&self, method: &Method, segments: &[&str]) -> Reply {
        let (get, post, delete) = (method == Method::GET, method == Method::POST, method == Method::DELETE);
        match segments {
            ["employees", "directory"] if get => self.directory(),
            ["employees", "changed"] if get => self.changed(),
            ["employees", "changed", "tables", table] if get => self.changed_table(table),
            ["employees"] if get => self.list(),
            ["employees"] if post => self.create_employee(),
            ["employees", id] if get => self.employee(id),
            ["employees", id] if post => self.update_employee(id),
            ["employees", id, "tables", table] if get => self.table(id, table),
            ["employees", id, "tables", table] if post => self.write_row(id, table, None),
            ["employees", id, "tables", table, row] if post => self.write_row(id, table, Some(row)),
            ["meta", "fields"] if get => meta_fields(),
            ["webhooks", "monitor_fields"] if get => monitor_fields(),
            ["webhooks"] if get => Reply::Json(self.server.registrations().list()),
            ["webhooks"] if post => self.create_webhook(),
            ["webhooks", id, "log"] if get => self
                .server
                .registrations()
                .log(id)
                .map_or_else(|| refused(404, "no such webhook"), Reply::Json),
            ["webhooks", id] if get => self
                .server
                .registrations()
                .one(id)
                .map_or_else(|| refused(404, "no such webhook"), Reply::Json),
            ["webhooks", id] if delete => match self.server.registrations().delete(id) {
                true => Reply::Empty,
                false => refused(404, "no such webhook"),
            },
            _ => refused(404, "no such endpoint"),
        }
    }

    /// The day as of which values are current.
    fn today(&self, company: &Company) -> NaiveDate {
        company.today.max(self.now.date_naive())
    }

    fn directory(&self) -> Reply {
        const SHOWN: [&str; 10] = [
            "displayName",
            "firstName",
            "lastName",
            "preferredName",
            "jobTitle",
            "mobilePhone",
            "workEmail",
            "department",
            "location",
            "division",
        ];
        let company = lock(&self.server.company);
        let (today, hidden) = (self.today(&company), self.server.faults.hidden());
        let fields: Vec<Value> = FIELDS
            .iter()
            .filter(|field| SHOWN.contains(&field.alias) && !hidden.contains(field.alias))
            .map(|field| json!({ "id": field.alias, "type": field.kind, "name": field.name }))
            .collect();
        let employees: Vec<Value> = company
            .employees
            .iter()
            .filter(|employee| employee.is_employed_on(today))
            .map(|employee| Value::Object(record_of(&company, employee, &SHOWN, today, &hidden)))
            .collect();
        if employees.is_empty() {
            return refused(404, "the directory is empty");
        }
        Reply::Json(json!({ "fields": fields, "employees": employees }))
    }

    fn list(&self) -> Reply {
        let limit = match self.query.get("page[limit]").map(|limit| limit.parse::<usize>()) {
            None => PAGE_EMPLOYEES_DEFAULT,
            Some(Ok(limit)) if (1..=PAGE_EMPLOYEES_MAX).contains(&limit) => limit,
            Some(_) => return refused(400, "page[limit] must be 1 to 100"),
        };
        let after = match self.query.get("page[after]") {
            None => None,
            Some(cursor) => match cursor_id(cursor) {
                Some(id) => Some(id),
                None => return refused(400, "page[after] is not a cursor"),
            },
        };
        let company = lock(&self.server.company);
        let (today, hidden) = (self.today(&company), self.server.faults.hidden());
        let matching: Vec<&Employee> = company
            .employees
            .iter()
            .filter(|employee| self.matches_filters(&company, employee, today))
            .collect();
        let start = matching.partition_point(|employee| after.is_some_and(|after| employee.id <= after));
        let page: Vec<&&Employee> = matching.iter().skip(start).take(limit).collect();
        let next = page
            .last()
            .filter(|_| start + page.len() < matching.len())
            .map(|last| cursor_of(last.id));
        let data: Vec<Value> = page
            .iter()
            .map(|employee| list_item(&company, employee, today, &hidden))
            .collect();
        let previous = start
            .checked_sub(limit + 1)
            .and_then(|place| matching.get(place))
            .map(|e| cursor_of(e.id));
        let link = |cursor: &Option<String>| {
            cursor
                .as_ref()
                .map(|cursor| format!("/api/v1/employees?page[limit]={limit}&page[after]={cursor}"))
        };
        Reply::Json(json!({
            "data": data,
            "meta": { "total": matching.len(), "page": { "nextCursor": next, "prevCursor": previous } },
            "links": { "next": link(&next), "prev": link(&previous) },
        }))
    }

    fn matches_filters(&self, company: &Company, employee: &Employee, today: NaiveDate) -> bool {
        let value = |alias: &str| value_of(company, employee, alias, today).flatten().unwrap_or_default();
        let contains = |filter: &str, alias: &str| {
            let wanted = self.query.get(filter).map(|wanted| wanted.to_lowercase());
            wanted.is_none_or(|wanted| value(alias).to_lowercase().contains(&wanted))
        };
        contains("filter[firstName]", "firstName")
            && contains("filter[lastName]", "lastName")
            && contains("filter[jobTitleName]", "jobTitle")
            && self
                .query
                .get("filter[status]")
                .is_none_or(|wanted| value("status").eq_ignore_ascii_case(wanted))
            && self
                .query
                .get("filter[ids]")
                .is_none_or(|ids| ids.split(',').any(|id| id == value("id")))
    }

    fn employee(&self, id: &str) -> Reply {
        let company = lock(&self.server.company);
        let employee = match id {
            "0" => company.employees.first(),
            id => id.parse().ok().and_then(|id| company.employee(id)),
        };
        let Some(employee) = employee else {
            return refused(404, format!("employee {id} not found"));
        };
        let asked = self.query.get("fields").map_or("firstName,lastName", String::as_str);
        let aliases: Vec<&str> = asked
            .split(',')
            .map(str::trim)
            .filter(|alias| !alias.is_empty())
            .collect();
        if aliases.len() > FIELDS_PER_REQUEST_MAX {
            return refused(400, "at most 400 fields may be asked for");
        }
        let only_current = self
            .query
            .get("onlyCurrent")
            .is_none_or(|text| !matches!(text.as_str(), "false" | "0"));
        let day = if only_current {
            self.today(&company)
        } else {
            NaiveDate::MAX
        };
        let record = record_of(&company, employee, &aliases, day, &self.server.faults.hidden());
        match self.wants_json() {
            true => Reply::Json(Value::Object(record)),
            false => Reply::Xml(xml_of(&record)),
        }
    }

    fn wants_json(&self) -> bool {
        let accept = self.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("application/json"))
    }

    fn table(&self, id: &str, table: &str) -> Reply {
        let Some(table) = Table::named(table) else {
            return refused(404, format!("table {table} not found"));
        };
        let company = lock(&self.server.company);
        let shape = self.server.faults.rate_shape_or(RateShape::Object);
        let hidden = self.server.faults.hidden();
        let rows = |employee: &Employee| rows_of(&company, employee, table, shape, &hidden);
        if id == "all" {
            return Reply::Json(company.employees.iter().flat_map(rows).collect());
        }
        match id.parse().ok().and_then(|id| company.employee(id)) {
            Some(employee) => Reply::Json(Value::Array(rows(employee))),
            None => refused(404, format!("employee {id} not found")),
        }
    }

    fn changed(&self) -> Reply {
        let Some(since) = self.since() else {
            return refused(400, "since is missing or not ISO 8601");
        };
        let kind = self.query.get("type").map(|kind| kind.to_lowercase());
        let company = lock(&self.server.company);
        let changed = company
            .employees
            .iter()
            .filter(|employee| employee.last_changed > since)
            .map(|employee| {
                let action = if employee.created_at > since {
                    "Inserted"
                } else {
                    "Updated"
                };
                (employee.id, action, employee.last_changed)
            });
        let deleted = company
            .deleted
            .iter()
            .filter(|(_, at)| **at > since)
            .map(|(id, at)| (*id, "Deleted", *at));
        let mut latest = since;
        let mut employees = Map::new();
        for (id, action, at) in changed.chain(deleted) {
            latest = latest.max(at);
            if kind.as_ref().is_none_or(|kind| action.eq_ignore_ascii_case(kind)) {
                let id = id.to_string();
                let last_changed = at.format(TIMESTAMP).to_string();
                employees.insert(
                    id.clone(),
                    json!({ "id": id, "action": action, "lastChanged": last_changed }),
                );
            }
        }
        Reply::Json(json!({ "latest": latest.format(TIMESTAMP).to_string(), "employees": employees }))
    }

    fn changed_table(&self, table: &str) -> Reply {
        let Some(since) = self.since() else {
            return refused(400, "since is missing or not ISO 8601");
        };
        let Some(kind) = Table::named(table) else {
            return refused(404, format!("table {table} not found"));
        };
        let company = lock(&self.server.company);
        let shape = self.server.faults.rate_shape_or(RateShape::Text);
        let hidden = self.server.faults.hidden();
        let employees: Map<String, Value> = company
            .employees
            .iter()
            .filter(|employee| employee.last_changed > since)
            .map(|employee| {
                let rows = rows_of(&company, employee, kind, shape, &hidden);
                let last_changed = employee.last_changed.format(TIMESTAMP).to_string();
                (
                    employee.id.to_string(),
                    json!({ "lastChanged": last_changed, "rows": rows }),
                )
            })
            .collect();
        Reply::Json(json!({ "table": table, "employees": employees }))
    }

    fn since(&self) -> Option<DateTime<Utc>> {
        let text = self.query.get("since")?;
        let parsed =
            DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z"));
        parsed.ok().map(|moment| moment.to_utc())
    }

    fn create_employee(&self) -> Reply {
        let Ok(record) = serde_json::from_slice::<Value>(&self.body) else {
            return refused(400, "not JSON");
        };
        if record.get("firstName").is_none() || record.get("lastName").is_none() {
            return refused(400, "firstName and lastName are required");
        }
        match lock(&self.server.company).insert_employee(&record, self.now) {
            Ok(id) => Reply::Created {
                location: Some(format!("/api/v1/employees/{id}")),
                body: Value::Null,
            },
            Err(error) => refused_edit(&error),
        }
    }

    fn update_employee(&self, id: &str) -> Reply {
        let Ok(id) = id.parse::<EmployeeId>() else {
            return refused(404, "employee not found");
        };
        let Ok(Value::Object(record)) = serde_json::from_slice(&self.body) else {
            return refused(400, "not JSON");
        };
        let mut company = lock(&self.server.company);
        for (alias, value) in &record {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if let Err(error) = company.set_field(id, alias, &text, self.now) {
                return refused_edit(&error);
            }
        }
        Reply::Empty
    }

    /// Adds a row, or puts it in place of another.
    fn write_row(&self, id: &str, table: &str, instead_of: Option<&str>) -> Reply {
        let Ok(id) = id.parse::<EmployeeId>() else {
            return refused(404, "employee not found");
        };
        let Some(table) = Table::named(table) else {
            return refused(404, "table not found");
        };
        let Ok(row) = serde_json::from_slice::<Value>(&self.body) else {
            return refused(400, "not JSON");
        };
        let write = self.server.faults.write();
        match write {
            Write::Refused(status, why) => return refused(status, why),
            Write::Swallowed => return Reply::Empty,
            Write::Done | Write::Unanswered => {}
        }
        let mut company = lock(&self.server.company);
        if let Some(instead_of) = instead_of {
            let known = instead_of.parse().is_ok_and(|row| company.remove_pay_row(id, row));
            if table != Table::Compensation || !known {
                return refused(404, "no such row");
            }
        }
        match company.add_table_row(id, table, &row, self.now) {
            Ok(_) if write == Write::Unanswered => refused(504, "the gateway gave up"),
            Ok(_) => Reply::Empty,
            Err(error) => refused_edit(&error),
        }
    }

    fn create_webhook(&self) -> Reply {
        let created = self.now.format("%Y-%m-%d %H:%M:%S").to_string();
        match self.server.registrations().create(&self.body, created) {
            Ok(body) => Reply::Created { location: None, body },
            Err((status, why, body)) => Reply::Refused { status, why, body },
        }
    }
}

fn refused_edit(error: &EditRefused) -> Reply {
    let status = match error {
        EditRefused::UnknownEmployee(_) => 404,
        EditRefused::IdTaken(_) => 409,
        EditRefused::NotAnObject => 400,
        EditRefused::BadColumn(_) => 406,
    };
    refused(status, error.to_string())
}

fn list_item(company: &Company, employee: &Employee, today: NaiveDate, hidden: &BTreeSet<String>) -> Value {
    let mut item = json!({
        "employeeId": employee.id.to_string(),
        "photoUrl": null,
        "status": if employee.status_on(today).is_some_and(|row| row.employment_status == TERMINATED) { "Inactive" } else { "Active" },
    });
    let mut restricted = Vec::new();
    let names = [
        ("firstName", "firstName"),
        ("lastName", "lastName"),
        ("preferredName", "preferredName"),
        ("jobTitleName", "jobTitle"),
    ];
    for (name, alias) in names {
        if hidden.contains(alias) {
            restricted.push(name);
        } else {
            let value = value_of(company, employee, alias, today).flatten();
            item[name] = value.map_or(Value::Null, Value::String);
        }
    }
    if !restricted.is_empty() {
        item["_restrictedFields"] = json!(restricted);
    }
    item
}

fn cursor_of(id: EmployeeId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("after:{id}"))
}

fn cursor_id(cursor: &str) -> Option<EmployeeId> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("after:")?.parse().ok()
}

fn meta_fields() -> Reply {
    let fields = FIELDS.iter().map(|field| {
        json!({ "id": field.id, "name": field.name, "type": field.kind, "alias": field.alias, "deprecated": false })
    });
    Reply::Json(fields.collect())
}

fn monitor_fields() -> Reply {
    let fields: Vec<Value> = FIELDS
        .iter()
        .map(|field| json!({ "id": field.id, "name": field.name, "alias": field.alias }))
        .collect();
    Reply::Json(json!({ "fields": fields }))
}

/// What BambooHR answers to those who forget to ask for JSON.
fn xml_of(record: &Map<String, Value>) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let id = record.get("id").and_then(Value::as_str).unwrap_or_default();
    let mut xml = format!("<?xml version=\"1.0\"?>\n<employee id=\"{}\">", escape(id));
    for (alias, value) in record.iter().filter(|(alias, _)| *alias != "id") {
        let text = escape(value.as_str().unwrap_or_default());
        xml.push_str(&format!("<field id=\"{}\">{text}</field>", escape(alias)));
    }
    xml.push_str("</employee>");
    xml
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Json(body) => axum::Json(body).into_response(),
            Self::Created { location, body } => {
                let content = if body.is_null() {
                    Body::empty().into_response()
                } else {
                    axum::Json(body).into_response()
                };
                let mut response = (StatusCode::CREATED, content).into_response();
                if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                response
            }
            Self::Xml(body) => ([(header::CONTENT_TYPE, "application/xml; charset=utf-8")], body).into_response(),
            Self::Empty => StatusCode::OK.into_response(),
            Self::Refused { status, why, body } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let content = if body.is_null() {
                    Body::empty().into_response()
                } else {
                    axum::Json(body).into_response()
                };
                let mut response = (status, content).into_response();
                if let Ok(why) = HeaderValue::from_str(&why) {
                    response.headers_mut().insert(ERROR_MESSAGE, why);
                }
                response
            }
        }
    }
}
