use super::super::company::Plan;
use super::*;
use chrono::Days;
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use std::time::Duration;

const KEY: &str = "demo-key";

fn now() -> DateTime<Utc> {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

async fn server() -> SimulatedBambooHr {
    let company = Company::generate(&Plan::new(5, 120, 2, now().date_naive()));
    let options = ServerOptions {
        clock: Arc::new(now),
        ..ServerOptions::new(KEY)
    };
    SimulatedBambooHr::start(Arc::new(Mutex::new(company)), options)
        .await
        .unwrap()
}

async fn get(server: &SimulatedBambooHr, path: &str) -> Response {
    let url = format!("{}/v1/{path}", server.base_url());
    let request = Client::new()
        .get(url)
        .basic_auth(KEY, Some("x"))
        .header("accept", "application/json");
    request.send().await.unwrap()
}

async fn json(server: &SimulatedBambooHr, path: &str) -> Value {
    let response = get(server, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    assert!(response.headers().contains_key("x-request-id"));
    response.json().await.unwrap()
}

/// Somebody who is employed and has a manager.
fn anybody(server: &SimulatedBambooHr) -> EmployeeId {
    let company = server.company();
    let today = company.today;
    let found = company.employees.iter().find(|employee| {
        employee.is_employed_on(today)
            && employee.termination_date.is_none()
            && employee.job_on(today).is_some_and(|row| row.reports_to.is_some())
            && employee.preferred_name.is_none()
    });
    found.unwrap().id
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_both_addresses_answer() {
    let server = server().await;
    let client = Client::new();
    let url = format!("{}/v1/meta/fields", server.base_url());
    let wrong = client.get(&url).basic_auth("other", Some("x")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(wrong.headers().contains_key("x-bamboohr-error-message"));
    assert_eq!(
        client.get(&url).send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let old = format!("{}/v1/meta/fields", server.gateway_url());
    let old = client.get(old).basic_auth(KEY, Some("x")).send().await.unwrap();
    assert_eq!(old.status(), StatusCode::OK);
    let stranger = format!("http://{}/api/gateway.php/another/v1/meta/fields", server.address());
    let stranger = client.get(stranger).basic_auth(KEY, Some("x")).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::NOT_FOUND);
    assert_eq!(server.faults().requests("GET meta/fields"), 3);
}

#[tokio::test]
async fn an_employee_is_a_flat_object_of_strings() {
    let server = server().await;
    let id = anybody(&server);
    let default = json(&server, &format!("employees/{id}")).await;
    assert_eq!(default.as_object().unwrap().len(), 3);
    let path = format!("employees/{id}?fields=firstName,payRate,supervisorEId,supervisor,terminationDate,noSuchField");
    let employee = json(&server, &path).await;
    assert!(employee["payRate"].as_str().unwrap().ends_with(" USD"));
    assert_eq!(employee["terminationDate"], Value::Null);
    assert!(employee.get("noSuchField").is_none());
    let manager: EmployeeId = employee["supervisorEId"].as_str().unwrap().parse().unwrap();
    let name = server.company().employee(manager).unwrap().display_name();
    assert_eq!(employee["supervisor"], json!(name));
    server.faults().hide_fields(["payRate"]);
    assert!(json(&server, &path).await.get("payRate").is_none());
    let rows = json(&server, &format!("employees/{id}/tables/compensation")).await;
    assert!(rows[0].get("rate").is_none() && rows[0].get("startDate").is_some());
    let missing = get(&server, "employees/999999").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(missing.headers().contains_key("X-BambooHR-Error-Message"));
    let many = vec!["firstName"; 401].join(",");
    assert_eq!(
        get(&server, &format!("employees/{id}?fields={many}")).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn without_accept_an_employee_comes_as_xml() {
    let server = server().await;
    let url = format!("{}/v1/employees/{}", server.base_url(), anybody(&server));
    let response = Client::new().get(url).basic_auth(KEY, Some("x")).send().await.unwrap();
    assert!(response.text().await.unwrap().starts_with("<?xml"));
}

#[tokio::test]
async fn the_list_pages_through_everybody_once() {
    let server = server().await;
    let mut seen = Vec::new();
    let mut path = "employees?page[limit]=17".to_owned();
    loop {
        let page = json(&server, &path).await;
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["employeeId"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["meta"]["page"]["nextCursor"].as_str() else {
            break;
        };
        path = format!("employees?page[limit]=17&page[after]={next}");
    }
    let all: Vec<String> = server
        .company()
        .employees
        .iter()
        .map(|employee| employee.id.to_string())
        .collect();
    assert_eq!(seen, all);
    let active = json(&server, "employees?filter[status]=Active&page[limit]=100").await;
    let headcount = server.company().headcount_on(now().date_naive());
    assert_eq!(active["meta"]["total"], json!(headcount));
    assert_eq!(
        json(&server, "employees/directory").await["employees"]
            .as_array()
            .unwrap()
            .len(),
        headcount
    );
    assert_eq!(
        get(&server, "employees?page[limit]=101").await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn rates_have_two_shapes_and_changes_are_found() {
    let server = server().await;
    let id = anybody(&server);
    let none = json(&server, "employees/changed?since=2026-11-20T09:00:00Z").await;
    assert_eq!(none["employees"], json!({}));
    let on = now().date_naive() + Days::new(30);
    let row = json!({ "startDate": on.to_string(), "rate": { "value": "21.50", "currency": "USD" }, "type": "Hourly" });
    let (_, change) = server.add_table_row(id, Table::Compensation, &row).unwrap();
    assert!(change.fields.is_empty(), "a raise that lies ahead is not announced");
    let changed = json(&server, "employees/changed?since=2026-11-20T09:00:00Z").await;
    assert_eq!(changed["latest"], json!("2026-11-20T10:00:00+00:00"));
    assert_eq!(changed["employees"][id.to_string()]["action"], json!("Updated"));
    let tables = json(
        &server,
        "employees/changed/tables/compensation?since=2026-11-20T09:00:00Z",
    )
    .await;
    let rows = tables["employees"][id.to_string()]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["rate"] == json!("21.50 USD")));
    let rows = json(&server, &format!("employees/{id}/tables/compensation")).await;
    assert!(
        rows.as_array()
            .unwrap()
            .iter()
            .any(|row| row["rate"] == json!({ "value": "21.50", "currency": "USD" }))
    );
    let current = json(&server, &format!("employees/{id}?fields=payRate")).await;
    assert_ne!(current["payRate"], json!("21.50 USD"));
    let ahead = json(&server, &format!("employees/{id}?fields=payRate&onlyCurrent=false")).await;
    assert_eq!(ahead["payRate"], json!("21.50 USD"));
    let all = json(&server, "employees/all/tables/jobInfo").await;
    let rows: usize = server
        .company()
        .employees
        .iter()
        .map(|employee| employee.job_info.len())
        .sum();
    assert_eq!(all.as_array().unwrap().len(), rows);
}

#[tokio::test]
async fn records_can_be_edited_from_outside() {
    let server = server().await;
    let id = anybody(&server);
    server.set_field(id, "jobTitle", "Store Manager").unwrap();
    server.set_field(id, "dateOfBirth", "not a date").unwrap();
    let fields = "jobTitle,dateOfBirth,status,terminationDate";
    let employee = json(&server, &format!("employees/{id}?fields={fields}")).await;
    assert_eq!(
        (&employee["jobTitle"], &employee["dateOfBirth"]),
        (&json!("Store Manager"), &json!("not a date"))
    );
    server.terminate(id, now().date_naive(), true, "Relocation").unwrap();
    let employee = json(&server, &format!("employees/{id}?fields={fields}")).await;
    assert_eq!(
        (&employee["status"], &employee["terminationDate"]),
        (&json!("Inactive"), &json!("2026-11-20"))
    );
    let record = json!({ "id": 9001, "firstName": "Ada", "lastName": "Quist", "hireDate": "2026-11-20",
        "jobTitle": "Cashier", "payRate": "17.25", "supervisorEId": id.to_string(), "shirtSize": "M" });
    let new = server.insert_employee(&record).unwrap();
    assert_eq!(new, EmployeeId(9001));
    assert_eq!(server.insert_employee(&record), Err(EditRefused::IdTaken(new)));
    let ada = json(
        &server,
        "employees/9001?fields=jobTitle,payRate,supervisorEId,shirtSize",
    )
    .await;
    assert_eq!(ada["payRate"], json!("17.25 USD"));
    assert_eq!(
        (&ada["supervisorEId"], &ada["shirtSize"]),
        (&json!(id.to_string()), &json!("M"))
    );
    let changed = json(&server, "employees/changed?since=2026-11-20T09:00:00Z&type=inserted").await;
    assert_eq!(changed["employees"].as_object().unwrap().len(), 1);
    server.delete_employee(new).unwrap();
    let changed = json(&server, "employees/changed?since=2026-11-20T09:00:00Z&type=deleted").await;
    assert_eq!(changed["employees"]["9001"]["action"], json!("Deleted"));
}

#[tokio::test]
async fn faults_follow_the_plan() {
    let server = server().await;
    let status = async || {
        let response = get(&server, "meta/fields").await;
        let retry = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), retry)
    };
    server.faults().set_down(true);
    assert_eq!(status().await, (503, None));
    server.faults().set_down(false);
    server.faults().rate_limit(2, 7);
    assert_eq!(status().await, (429, Some("7".to_owned())));
    assert_eq!(status().await, (429, Some("7".to_owned())));
    assert_eq!(status().await, (200, None));
    server.faults().unavailable(1, 3);
    assert_eq!(status().await, (503, Some("3".to_owned())));
    server.faults().set_slow(Duration::from_millis(50));
    let started = std::time::Instant::now();
    assert_eq!(status().await.0, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(server.faults().requests("GET meta/fields"), 6);
}

#[tokio::test]
async fn webhooks_are_registered_and_their_key_is_shown_once() {
    let server = server().await;
    let url = format!("{}/v1/webhooks", server.base_url());
    let post = async |body: Value| {
        Client::new()
            .post(&url)
            .basic_auth(KEY, Some("x"))
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let good = json!({ "name": "sync", "url": "https://example.test/h", "format": "json",
        "monitorFields": ["firstName", "payRate"], "includeCompanyDomain": true, "events": ["employee.updated"] });
    let answer = post(good.clone()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["privateKey"].as_str().unwrap().len(), 32);
    let id = body["id"].as_str().unwrap().to_owned();
    let listed = json(&server, "webhooks").await;
    assert!(listed["webhooks"][0].get("privateKey").is_none());
    let refusals = [
        ("url", json!("http://example.test"), 400),
        ("url", json!("http://127.0.0.1.example.test/"), 400),
        ("format", json!("xml"), 400),
        ("monitorFields", json!([]), 400),
        ("monitorFields", json!(["shoeSize"]), 403),
        (
            "events",
            json!(["employee.updated", "employee_with_fields.updated"]),
            400,
        ),
    ];
    for (key, value, status) in refusals {
        let mut bad = good.clone();
        bad[key] = value;
        assert_eq!(post(bad).await.status().as_u16(), status, "{key}");
    }
    let delete = Client::new()
        .delete(format!("{url}/{id}"))
        .basic_auth(KEY, Some("x"))
        .send()
        .await
        .unwrap();
    assert_eq!(delete.status(), StatusCode::OK);
    assert!(server.webhooks().is_empty());
}
