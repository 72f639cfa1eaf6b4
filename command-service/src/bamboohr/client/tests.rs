//! Against a tiny vendor that answers as recorded.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Response as Answer,
};
use serde_json::json;

use super::*;
use crate::source::{ANSWER_BYTES_MAX, http_client};

/// What the vendor does with a request: by its path and query.
type Script = fn(&str, &str) -> Answer<Body>;

struct Vendor {
    client: Client,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("the list").clone()
    }
}

async fn vendor(script: Script) -> Vendor {
    type Seen = Arc<Mutex<Vec<String>>>;
    async fn answer(State((script, seen)): State<(Script, Seen)>, request: Request) -> Answer<Body> {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("-")
        };
        assert_eq!(header("authorization"), "Basic a2V5Ong=", "key:x");
        assert_eq!(header("accept"), "application/json");
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        seen.lock().expect("the list").push(format!("{path}?{query}"));
        script(path, query)
    }
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(answer).with_state((script, seen.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::new(
        &format!("http://{address}/"),
        "acme",
        "key".into(),
        http_client().expect("a client"),
    );
    Vendor {
        client: client.expect("an address"),
        seen,
    }
}

fn ok(body: impl ToString) -> Answer<Body> {
    Answer::new(Body::from(body.to_string()))
}

fn status(status: u16, headers: &[(&str, &str)]) -> Answer<Body> {
    let answer = headers
        .iter()
        .fold(Answer::builder().status(status), |answer, (name, value)| {
            answer.header(*name, *value)
        });
    answer
        .body(Body::from("Ada Rossi, ada@example.com"))
        .expect("an answer")
}

#[tokio::test]
async fn an_employee_is_asked_for_by_fields_and_404_is_nobody() {
    let vendor = vendor(|path, _| match path {
        "/api/v1/employees/42" => ok(json!({"id": "42", "firstName": "Ada", "jobTitle": null})),
        _ => status(404, &[]),
    })
    .await;
    let ada = vendor
        .client
        .employee("42", &["firstName", "jobTitle"])
        .await
        .expect("an answer")
        .expect("Ada");
    assert_eq!(ada["firstName"], "Ada");
    assert_eq!(
        vendor.client.employee("43", &["firstName"]).await.expect("an answer"),
        None
    );
    assert_eq!(
        vendor.seen()[0],
        "/api/v1/employees/42?fields=firstName%2CjobTitle&onlyCurrent=true"
    );
    assert!(matches!(
        vendor.client.employee("../users", &["a"]).await,
        Err(SourceProblem::BadEmployeeId(_))
    ));
}

#[tokio::test]
async fn many_fields_are_asked_for_in_parts() {
    let vendor = vendor(|_, query| ok(json!({query.len().to_string(): "x"}))).await;
    let names: Vec<String> = (0..=FIELDS_PER_REQUEST_MAX)
        .map(|number| format!("field{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(
        vendor
            .client
            .employee("42", &names)
            .await
            .expect("an answer")
            .expect("someone")
            .len(),
        2
    );
    assert_eq!(vendor.seen().len(), 2);
}

#[tokio::test]
async fn refused_fields_are_left_out_once() {
    let named = vendor(|_, query| match query.contains("customFoo") {
        true => status(400, &[("X-BambooHR-Error-Message", "Unknown field: customFoo.")]),
        false => ok(json!({"firstName": "Ada"})),
    })
    .await;
    assert!(
        named
            .client
            .employee("42", &["firstName", "customFoo", "customBar"])
            .await
            .expect("an answer")
            .is_some()
    );
    assert_eq!(
        named.seen()[1],
        "/api/v1/employees/42?fields=firstName%2CcustomBar&onlyCurrent=true"
    );

    let unnamed = vendor(|_, query| {
        if query.contains("custom") {
            status(406, &[])
        } else {
            ok(json!({"a": 1}))
        }
    })
    .await;
    assert!(
        unnamed
            .client
            .employee("42", &["firstName", "customFoo"])
            .await
            .expect("an answer")
            .is_some()
    );
    assert_eq!(
        unnamed.seen()[1],
        "/api/v1/employees/42?fields=firstName&onlyCurrent=true"
    );

    let never = vendor(|_, _| status(400, &[])).await;
    assert!(matches!(
        never.client.employee("42", &["firstName", "x"]).await,
        Err(SourceProblem::Unexpected { status: 400, .. })
    ));
    assert_eq!(never.seen().len(), 2, "once more, not for ever");
    assert!(never.client.employee("42", &["customFoo"]).await.is_err());
}

#[tokio::test]
async fn tables_are_read_for_one_and_for_all() {
    let vendor = vendor(|path, _| match path {
        "/api/v1/employees/42/tables/jobInfo" => ok(json!([{"id": "1", "date": "2024-03-01"}])),
        "/api/v1/employees/all/tables/compensation" => ok(json!({"3": {"id": "1"}, "5": {"id": "2"}})),
        "/api/v1/employees/44/tables/jobInfo" => ok(""),
        "/api/v1/employees/45/tables/jobInfo" => ok("[7]"),
        _ => status(404, &[]),
    })
    .await;
    let rows = async |whose, table| vendor.client.table(whose, table).await.map(|rows| rows.len());
    assert_eq!(rows(Whose::One("42"), Table::JobInfo).await.expect("rows"), 1);
    assert_eq!(rows(Whose::All, Table::Compensation).await.expect("rows"), 2);
    assert_eq!(rows(Whose::One("43"), Table::EmploymentStatus).await.expect("rows"), 0);
    assert_eq!(rows(Whose::One("44"), Table::JobInfo).await.expect("rows"), 0);
    assert!(matches!(
        rows(Whose::One("45"), Table::JobInfo).await,
        Err(SourceProblem::BadAnswer { .. })
    ));
}

#[tokio::test]
async fn changes_are_asked_for_with_an_overlap() {
    let vendor = vendor(|_, query| match query {
        "since=2026-01-31T18%3A41%3A50Z" => ok(json!({"latest": "2026-02-01T00:00:00+00:00", "employees": {
            "9": {"id": "9", "action": "Deleted", "lastChanged": "2026-01-31T18:45:00+00:00"},
            "123": {"id": 123, "action": "Inserted", "lastChanged": "2026-01-31T18:44:00+0000"}}})),
        _ => ok(json!({"latest": "2026-02-01T00:00:00Z", "employees": []})),
    })
    .await;
    let changes = vendor
        .client
        .changed_since(moment("2026-01-31T18:42:00Z").expect("a moment"))
        .await
        .expect("changes");
    assert_eq!(changes.cursor, moment("2026-02-01T00:00:00Z"));
    let kinds: Vec<_> = changes
        .employees
        .iter()
        .map(|changed| (changed.remote_id.as_str(), changed.kind))
        .collect();
    assert_eq!(kinds, [("123", Kind::Created), ("9", Kind::Deleted)]);
    assert_eq!(changes.employees[0].at, moment("2026-01-31T18:44:00Z"));
    let none = vendor
        .client
        .changed_since(DateTime::UNIX_EPOCH)
        .await
        .expect("changes");
    assert!(none.employees.is_empty() && none.cursor.is_some());
    assert_eq!(
        vendor.seen()[1],
        "/api/v1/employees/changed?since=1970-01-01T00%3A00%3A00Z"
    );
}

#[tokio::test]
async fn everybody_comes_from_the_changes_or_else_from_the_directory() {
    let full = vendor(|_, _| {
        ok(json!({"latest": "2026-02-01T00:00:00Z", "employees": {"1": {"action": "Updated"}, "2": {"action": "Deleted"}}}))
    })
    .await;
    let roster = full.client.employee_ids().await.expect("a roster");
    assert_eq!(
        (roster.remote_ids, roster.deleted, roster.includes_former),
        (vec!["1".to_owned()], vec!["2".to_owned()], true)
    );

    let shy = vendor(|path, _| match path {
        "/api/v1/employees/directory" => ok(json!({"fields": [], "employees": [
            {"id": "7", "displayName": "Ada Rossi"}, {"id": 3, "firstName": "Bo", "lastName": "Li", "preferredName": null}]})),
        _ => status(403, &[]),
    })
    .await;
    let roster = shy.client.employee_ids().await.expect("a roster");
    assert_eq!(
        (roster.remote_ids, roster.includes_former),
        (vec!["3".to_owned(), "7".to_owned()], false)
    );
    let names: Vec<_> = shy
        .client
        .directory()
        .await
        .expect("people")
        .into_iter()
        .filter_map(|p| p.display_name)
        .collect();
    assert_eq!(names, ["Ada Rossi", "Bo Li"]);

    let empty = vendor(|_, _| status(404, &[])).await;
    assert_eq!(empty.client.directory().await.expect("nobody"), vec![]);
    let limited = vendor(|_, _| status(429, &[])).await;
    assert!(
        limited.client.employee_ids().await.expect_err("limited").is_retryable(),
        "no half import under a limit"
    );
}

#[tokio::test]
async fn a_refusal_never_repeats_a_body() {
    let vendor = vendor(|_, _| status(418, &[])).await;
    let problem = vendor.client.employee("42", &["firstName"]).await.expect_err("refused");
    assert!(!format!("{problem} {problem:?}").contains("Ada"));
}

#[tokio::test]
async fn a_limit_behind_status_200_and_broken_answers_are_seen() {
    let disguised = vendor(|_, _| {
        ok(json!({"error": {"code": 429, "message": "Over rate limit, please try again in 60 seconds"}}))
    })
    .await;
    let problem = disguised
        .client
        .employee("42", &["firstName"])
        .await
        .expect_err("limited");
    assert_eq!(problem.retry_after(), Some(Duration::from_secs(60)));
    let xml = vendor(|_, _| ok("<employee/>")).await;
    assert!(matches!(
        xml.client.employee("42", &["firstName"]).await,
        Err(SourceProblem::BadAnswer { .. })
    ));
    let large = vendor(|_, _| ok(" ".repeat(ANSWER_BYTES_MAX + 1))).await;
    assert!(matches!(
        large.client.directory().await,
        Err(SourceProblem::TooLarge { .. })
    ));
}

#[tokio::test]
async fn a_silent_or_absent_vendor_is_worth_another_try() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let hasty = reqwest::Client::builder()
        .timeout(Duration::from_millis(100))
        .build()
        .expect("a client");
    let client = Client::new(&base, "acme", "key".into(), hasty).expect("an address");
    let problem = client.employee("4242", &["firstName"]).await.expect_err("silence");
    assert!(matches!(problem, SourceProblem::Timeout) && problem.is_retryable());
    drop(listener);
    let problem = client.employee("4242", &["firstName"]).await.expect_err("nobody there");
    assert!(problem.is_retryable());
    assert!(!format!("{problem:?}").contains("4242"), "the address is not shown");
    assert!(!format!("{client:?}").contains("key"));
}

#[test]
fn an_address_is_taken_with_more_or_less_of_its_end() {
    for (base, expected) in [
        ("https://acme.bamboohr.com", "https://acme.bamboohr.com/api/v1/"),
        ("https://acme.bamboohr.com/", "https://acme.bamboohr.com/api/v1/"),
        ("http://localhost:9000", "http://localhost:9000/api/v1/"),
        ("http://[::1]:9000/vendor", "http://[::1]:9000/vendor/api/v1/"),
        (
            "https://api.bamboohr.com/api/gateway.php/acme",
            "https://api.bamboohr.com/api/gateway.php/acme/v1/",
        ),
    ] {
        let base = source::address(base).expect("an address");
        assert_eq!(api_address(&base).map(String::from).as_deref(), Some(expected));
    }
    assert!(source::address(&default_base_url("acme")).is_ok());
    let secret = Client::new(
        "https://key:hush@acme.example",
        "acme",
        "key".into(),
        http_client().expect("a client"),
    );
    assert!(!secret.expect_err("refused").to_string().contains("hush"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_because_it_would_carry_the_key_away() {
    let vendor = vendor(|_, _| status(302, &[("Location", "/elsewhere")])).await;
    let problem = vendor
        .client
        .employee("42", &["firstName"])
        .await
        .expect_err("a redirect");
    assert!(matches!(problem, SourceProblem::Redirected { status: 302 }));
    assert_eq!(vendor.seen().len(), 1);
}

#[test]
fn the_log_of_a_webhook_reads_in_every_shape() {
    let row = |status: Value| {
        let mut row = json!({"webhookId": 7, "url": "https://x.example", "lastAttempted": "2026-01-31T18:42:00+00:00",
            "lastSuccess": null, "employeeIds": [101, "102"]});
        row.as_object_mut()
            .expect("an object")
            .extend(status.as_object().cloned().unwrap_or_default());
        row
    };
    let failed = row(json!({"statusCode": 500}));
    for answer in [
        json!([failed]),
        json!({"logs": [failed]}),
        failed.clone(),
        json!([row(json!({"status": "503"}))]),
        json!([row(json!({}))]),
    ] {
        let read = deliveries(&answer).expect("deliveries");
        let [one] = read.as_slice() else { panic!("{answer}") };
        assert_eq!(
            (one.remote_ids.as_slice(), one.is_delivered),
            (&["101".to_owned(), "102".to_owned()][..], false),
            "{answer}"
        );
        assert_eq!(
            one.last_attempted.map(|at| at.timestamp()),
            Some(1_769_884_920),
            "{answer}"
        );
    }
    let delivered = row(json!({"lastSuccess": "2026-01-31T18:42:00+00:00"}));
    for answer in [json!([row(json!({"status": 204}))]), json!([delivered])] {
        assert!(deliveries(&answer).expect("deliveries")[0].is_delivered, "{answer}");
    }
    assert_eq!(deliveries(&Value::Null), Some(vec![]));
    assert_eq!(deliveries(&json!("soon")), None);
}

#[test]
fn fields_that_a_webhook_may_not_watch_are_named_in_every_shape() {
    for body in [
        json!({"monitorFields": ["payRate"], "postFields": [], "unknownFields": ["exempt"]}),
        json!({"monitorFields": {"0": "payRate"}, "unknownFields": {"exempt": "Exempt"}}),
    ] {
        let named = refused_fields(&body);
        assert!(named.contains("payRate") && named.contains("exempt"), "{body}");
    }
    assert!(refused_fields(&Value::Null).is_empty());
}
