//! `Get_Workers`: who may ask, for whom, as of when. And where reports are asked for.

use super::super::company::{Company, Employee, EmployeeId};
use super::super::vendor::lock;
use super::Server;
use super::worker::{Asked, day_begins, effective_days, first_day, worker};
use super::{report, token};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use command_service::workday::soap::{at, attribute, children, document, escape, id, text};
use roxmltree::Node;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Largest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Workers on a page when nothing is said (documented).
const PAGE_WORKERS_DEFAULT: usize = 100;
/// The newest version that is served.
const VERSION_MAX: f64 = 45.0;

/// A fault: code, text.
struct Fault(&'static str, String);

fn invalid(said: impl std::fmt::Display) -> Fault {
    Fault(
        "SOAP-ENV:Client.validationError",
        format!("Validation error occurred. {said}"),
    )
}

/// Answers every request: counts it, applies faults, checks the user, finds the workers.
pub(super) async fn answer(State(server): State<Server>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let is_token = head.uri.path().starts_with("/ccx/oauth2/");
    let name = if is_token { "token" } else { "Get_Workers" };
    let verdict = server.faults.judge(format!("{} {name}", head.method));
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    if let Some((status, retry_after)) = verdict.refusal {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = (status, "try again later").into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        return response;
    }
    let path = head.uri.path().strip_prefix("/ccx/").unwrap_or_default();
    if let ["oauth2", tenant, "token"] = path.split('/').collect::<Vec<_>>()[..] {
        let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
        return token::grant(&server, tenant, &head.headers, &String::from_utf8_lossy(&body));
    }
    let parts: Vec<&str> = path.strip_prefix("service/").unwrap_or_default().split('/').collect();
    if let ["customreport2", tenant, _owner, _report] = parts[..] {
        return report::answer(&server, tenant, &head);
    }
    let [tenant, "Human_Resources", version] = parts[..] else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let by_token = token::has_token(&server, &head.headers);
    if by_token == Some(false) {
        let refused = serde_json::json!({"error": "invalid_token"});
        return (StatusCode::UNAUTHORIZED, axum::Json(refused)).into_response();
    }
    let answered = respond(&server, (tenant, version), (by_token.is_some(), &body));
    let (status, xml) = match answered {
        Ok(xml) => (StatusCode::OK, xml),
        Err(Fault(code, said)) => (StatusCode::INTERNAL_SERVER_ERROR, fault(code, &said)),
    };
    (status, [(header::CONTENT_TYPE, "text/xml; charset=UTF-8")], xml).into_response()
}

fn fault(code: &str, said: &str) -> String {
    let said = escape(said);
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Body>\
         <SOAP-ENV:Fault xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:wd=\"urn:com.workday/bsvc\"><faultcode>{code}</faultcode>\
         <faultstring>{said}</faultstring></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
}

fn respond(server: &Server, (tenant, version): (&str, &str), (by_token, body): (bool, &str)) -> Result<String, Fault> {
    let envelope = document(body).ok_or_else(|| invalid("The request is no XML"))?;
    let root = envelope.root_element();
    let options = &server.options;
    let given = at(root, "Header/Security/UsernameToken");
    let given = given.map(|given| (text(given, "Username"), text(given, "Password")));
    let user = format!("{}@{tenant}", options.user);
    let by_password = given == Some((Some(user.as_str()), Some(options.password.as_str())));
    if tenant != options.tenant || !(by_token || by_password) {
        let said = "invalid username or password".to_owned();
        return Err(Fault("SOAP-ENV:Client.authenticationError", said));
    }
    let number = version
        .strip_prefix('v')
        .and_then(|version| version.parse::<f64>().ok());
    if number.is_none_or(|number| number > VERSION_MAX) {
        let said = "The web service or version is invalid for the requested operation".to_owned();
        return Err(Fault("SOAP-ENV:Client.validationError", said));
    }
    let request = at(root, "Body/Get_Workers_Request").ok_or_else(|| invalid("Not an operation of this service"))?;
    if server.faults.hidden().contains("Get_Workers") {
        let said = "Processing error occurred. The task submitted is not authorized.".to_owned();
        return Err(Fault("SOAP-ENV:Server.processingError", said));
    }
    let company = lock(&server.company);
    let now = (options.clock)();
    let filter = at(request, "Response_Filter");
    let of_filter = |name: &str| filter.and_then(|filter| text(filter, name));
    let asked = Asked {
        // Entra sends a whole moment where a day belongs, and is understood.
        on: match of_filter("As_Of_Effective_Date") {
            Some(day) => parse_day(day).ok_or_else(|| invalid("As_Of_Effective_Date is no date"))?,
            None => pacific(now),
        },
        today: pacific(now),
        groups: groups(request),
        hidden: server.faults.hidden(),
    };
    let found = select(&company, request, (&asked, now))?;
    let number = |name: &str, otherwise: usize| match of_filter(name) {
        Some(written) => written
            .parse::<usize>()
            .map_err(|_| invalid(format!("{name} is no number"))),
        None => Ok(otherwise),
    };
    let (page, count) = (number("Page", 1)?, number("Count", PAGE_WORKERS_DEFAULT)?);
    if page == 0 {
        return Err(invalid("Page Number cannot be zero."));
    }
    let count = count.clamp(1, options.page_workers_max);
    let mut found = found;
    if of_filter("As_Of_Entry_DateTime").is_none() {
        // Pages shift while people are entered.
        let turn = server.unpinned.fetch_add(1, Ordering::Relaxed) as usize;
        let places = turn % found.len().max(1);
        found.rotate_left(places);
    }
    let pages = found.len().div_ceil(count).max(1);
    let shown: Vec<String> = found
        .iter()
        .skip((page - 1) * count)
        .take(count)
        .map(|who| worker(&company, *who, &asked))
        .collect();
    Ok(format!(
        "<?xml version='1.0' encoding='UTF-8'?><env:Envelope xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\"><env:Body>\
         <wd:Get_Workers_Response xmlns:wd=\"urn:com.workday/bsvc\" wd:version=\"{version}\"><wd:Response_Results>\
         <wd:Total_Results>{}</wd:Total_Results><wd:Total_Pages>{pages}</wd:Total_Pages><wd:Page_Results>{}</wd:Page_Results>\
         <wd:Page>{page}</wd:Page></wd:Response_Results><wd:Response_Data>{}</wd:Response_Data></wd:Get_Workers_Response></env:Body></env:Envelope>",
        found.len(),
        shown.len(),
        shown.concat()
    ))
}

/// Somebody who is on record, or whose hire was taken back.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    OnRecord(&'a Employee),
    Rescinded(EmployeeId),
}

/// Whom a request is about.
fn select<'a>(
    company: &'a Company,
    request: Node<'_, '_>,
    (asked, now): (&Asked, DateTime<Utc>),
) -> Result<Vec<Who<'a>>, Fault> {
    if let Some(references) = at(request, "Request_References") {
        let skips = attribute(references, "Skip_Non_Existing_Instances") == Some("true");
        let mut found = Vec::new();
        for reference in children(references, "Worker_Reference") {
            let written = id(reference, "Employee_ID").unwrap_or_default();
            let one = written.parse().ok().and_then(|id: EmployeeId| {
                let on_record = company.employee(id).map(Who::OnRecord);
                on_record.or_else(|| company.deleted.contains_key(&id).then_some(Who::Rescinded(id)))
            });
            match one {
                Some(Who::OnRecord(employee)) if !asked.shows(employee) => {}
                Some(who) => found.push(who),
                None if skips => {}
                // With the two spaces of the real one.
                None => {
                    return Err(invalid(format!(
                        "Invalid ID value.  '{written}' is not a valid ID value for type = 'Employee_ID'"
                    )));
                }
            }
        }
        return Ok(found);
    }
    let criteria = at(request, "Request_Criteria");
    let excludes_former = criteria
        .and_then(|criteria| text(criteria, "Exclude_Inactive_Workers"))
        .is_some_and(|flag| matches!(flag, "1" | "true"));
    let mut ranges = Vec::new();
    for log in criteria
        .into_iter()
        .flat_map(|criteria| children(criteria, "Transaction_Log_Criteria_Data"))
    {
        let Some(range) = at(log, "Transaction_Date_Range_Data") else {
            continue;
        };
        for kind in ["Updated", "Effective"] {
            let of = |end: &str| text(range, &format!("{kind}_{end}")).map(parse_moment);
            match (of("From"), of("Through")) {
                (None, None) => {}
                (Some(Some(from)), Some(Some(through))) => {
                    if from > through {
                        return Err(invalid(format!(
                            "{kind} From must be less than or equal to {kind} Through!"
                        )));
                    }
                    if kind == "Updated" && through > now {
                        return Err(invalid("Updated Through must be less than or equal to Current Moment!"));
                    }
                    ranges.push((kind, from, through));
                }
                _ => {
                    return Err(invalid(format!(
                        "If one of {kind} From or {kind} Through contains a value, both are Required!"
                    )));
                }
            }
        }
    }
    let in_ranges = |employee: &Employee| {
        ranges.iter().all(|(kind, from, through)| match *kind {
            "Updated" => (*from..=*through).contains(&employee.last_changed),
            _ => (effective_days(employee).iter()).any(|day| (*from..=*through).contains(&day_begins(*day))),
        })
    };
    let is_wanted = |employee: &&Employee| {
        let is_former = !employee.is_employed_on(asked.on);
        // Who comes later is shown by their id and among the changes, and not in a list of today.
        let is_there = first_day(employee) <= asked.on;
        let is_excluded = (excludes_former && is_former) || (ranges.is_empty() && !is_there);
        !is_excluded && in_ranges(employee)
    };
    let on_record = company.employees.iter().filter(is_wanted);
    let rescinded = company.deleted.iter().filter(|(_, at)| {
        !excludes_former
            && ranges
                .iter()
                .all(|(kind, from, through)| *kind == "Updated" && (*from..=*through).contains(*at))
    });
    Ok(on_record
        .map(Who::OnRecord)
        .chain(rescinded.map(|(id, _)| Who::Rescinded(*id)))
        .collect())
}

/// What is to be sent: what is named, or if nothing is, what is sent by default (documented).
fn groups(request: Node<'_, '_>) -> BTreeSet<String> {
    let named = at(request, "Response_Group")
        .into_iter()
        .flat_map(|group| group.children().filter(Node::is_element));
    let set: BTreeSet<String> = named
        .filter(|flag| flag.text().is_some_and(|text| matches!(text.trim(), "1" | "true")))
        .map(|flag| flag.tag_name().name().to_owned())
        .collect();
    if !set.is_empty() {
        return set;
    }
    let by_default = [
        "Reference",
        "Personal_Information",
        "Employment_Information",
        "Compensation",
        "Organizations",
    ];
    by_default.iter().map(|name| format!("Include_{name}")).collect()
}

/// The day in California, where the servers think that they are.
fn pacific(now: DateTime<Utc>) -> NaiveDate {
    (now - super::worker::PACIFIC).date_naive()
}

fn parse_day(written: &str) -> Option<NaiveDate> {
    written.get(..10)?.parse().ok()
}

fn parse_moment(written: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(written).ok().map(|moment| moment.to_utc())
}
