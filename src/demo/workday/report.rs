//! A report as a service (RaaS): all workers of today in CSV, JSON, or, as nobody expects, XML.

use super::super::company::{Company, Employee};
use super::super::vendor::lock;
use super::Server;
use super::token::basic;
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

/// Its columns, as its owner made them.
const COLUMNS: [&str; 9] = [
    "Employee_ID",
    "First_Name",
    "Last_Name",
    "Hire_Date",
    "Title",
    "Department",
    "Manager_ID",
    "Annual_Salary",
    "Currency",
];

/// Basic, with the tenant behind the user or without.
fn is_authorised(server: &Server, headers: &HeaderMap) -> bool {
    let (user, password) = basic(headers).unwrap_or_default();
    let options = &server.options;
    let without_tenant = user.strip_suffix(&format!("@{}", options.tenant)).unwrap_or(&user);
    without_tenant == options.user && password == options.password
}

pub(super) fn answer(server: &Server, tenant: &str, head: &Parts) -> Response {
    if tenant != server.options.tenant {
        return StatusCode::NOT_FOUND.into_response();
    }
    if !is_authorised(server, &head.headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let company = lock(&server.company);
    let (today, hidden) = ((server.options.clock)().date_naive(), server.faults.hidden());
    let columns: Vec<&str> = COLUMNS.into_iter().filter(|column| !hidden.contains(*column)).collect();
    let employed = company
        .employees
        .iter()
        .filter(|employee| employee.is_employed_on(today));
    let query = head.uri.query().unwrap_or_default();
    if query.contains("format=json") {
        // What is empty is left out.
        let entry = |employee: &Employee| {
            let cells = columns
                .iter()
                .map(|column| ((*column).to_owned(), json!(cell(&company, employee, column, today))));
            Value::Object(
                cells
                    .filter(|(_, cell)| *cell != json!(""))
                    .collect::<Map<String, Value>>(),
            )
        };
        let entries: Vec<Value> = employed.map(entry).collect();
        return axum::Json(json!({ "Report_Entry": entries })).into_response();
    }
    if query.contains("format=csv") {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let rows = employed.map(|employee| {
            columns
                .iter()
                .map(|column| cell(&company, employee, column, today))
                .collect()
        });
        let header: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        for row in std::iter::once(header).chain(rows) {
            if writer.write_record(&row).is_err() {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
        let body = writer.into_inner().unwrap_or_default();
        return ([(header::CONTENT_TYPE, "text/csv;charset=UTF-8")], body).into_response();
    }
    let xml =
        "<?xml version='1.0' encoding='UTF-8'?><wd:Report_Data xmlns:wd=\"urn:com.workday.report/Tenure_Workers\"/>";
    ([(header::CONTENT_TYPE, "text/xml;charset=UTF-8")], xml).into_response()
}

fn cell(company: &Company, employee: &Employee, column: &str, today: NaiveDate) -> String {
    let job = employee.job_on(today);
    match column {
        "Employee_ID" => employee.id.to_string(),
        "First_Name" => employee.first_name.clone(),
        "Last_Name" => employee.last_name.clone(),
        "Hire_Date" => format!("{}-08:00", employee.original_hire_date.unwrap_or(employee.hire_date)),
        "Title" => job.map(|row| row.job_title.clone()).unwrap_or_default(),
        "Department" => job.map(|row| row.department.clone()).unwrap_or_default(),
        "Manager_ID" => {
            let manager = job
                .and_then(|row| row.reports_to)
                .filter(|manager| company.employee(*manager).is_some());
            manager.map(|manager| manager.to_string()).unwrap_or_default()
        }
        "Annual_Salary" => match employee.overrides.get("payRate") {
            Some(given) => given.clone(),
            None => employee.pay_on(today).map(|row| row.rate_decimal()).unwrap_or_default(),
        },
        _ => employee
            .pay_on(today)
            .map(|row| row.currency.clone())
            .unwrap_or_default(),
    }
}
