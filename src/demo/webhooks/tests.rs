use super::super::bamboohr::{ServerOptions, SimulatedBambooHr};
use super::super::company::{EmployeeId, Plan};
use super::*;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const KEY: &str = "test-private-key";
const VECTOR_BODY: &str = r#"{"type":"employee.updated","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890","changedFields":["firstName"]}}"#;

fn event(action: ChangeAction) -> EmployeeEvent {
    EmployeeEvent {
        employee_id: "67890".to_owned(),
        action,
        changed_aliases: vec!["firstName".to_owned()],
        changed_names: vec!["First Name".to_owned()],
        fields: BTreeMap::from([("First Name".to_owned(), "Bryony & Jo".to_owned())]),
        at: "2026-01-31T18:42:00Z".parse().unwrap(),
    }
}

#[test]
fn the_signature_is_that_of_the_vector() {
    let signature = "8a9bbff957766dd991561e6fad13cafa4c3a479a39dc86c5ab8089351a2b117a";
    assert_eq!(sign(KEY, VECTOR_BODY.as_bytes(), "1769884920"), signature);
}

#[test]
fn bodies_are_written_as_documented() {
    let updated = event(ChangeAction::Updated);
    assert_eq!(event_json("12345", &updated), VECTOR_BODY);
    assert_eq!(
        event_json("12345", &event(ChangeAction::Created)),
        r#"{"type":"employee.created","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890"}}"#
    );
    assert_eq!(
        event_form("12345", &updated),
        "type=employee.updated&data[companyId]=12345&data[employeeId]=67890&data[changedFields][0]=firstName"
    );
    assert_eq!(
        field_json(std::slice::from_ref(&updated), FieldShape::Plain),
        r#"{"employees":[{"action":"Updated","changedFields":["First Name"],"fields":{"First Name":"Bryony & Jo"},"id":"67890","timestamp":"2026-01-31T18:42:00+0000"}]}"#
    );
    assert_eq!(
        field_json(std::slice::from_ref(&updated), FieldShape::ValueObject),
        r#"{"employees":[{"changedFields":["First Name"],"fields":{"First Name":{"value":"Bryony & Jo"}},"id":"67890"}]}"#
    );
    assert_eq!(
        field_json(&[event(ChangeAction::Deleted)], FieldShape::Plain),
        r#"{"employees":[{"action":"Deleted","changedFields":[],"fields":{},"id":"67890","timestamp":"2026-01-31T18:42:00+0000"}]}"#
    );
    assert_eq!(
        field_form(&[updated]),
        "employees[67890][changedFields][0]=First+Name&employees[67890][First+Name]=Bryony+%26+Jo"
    );
}

#[test]
fn batches_keep_a_persons_events_in_order() {
    let target = WebhookTarget::new("http://127.0.0.1", KEY, PayloadStyle::FieldJson);
    let events = [ChangeAction::Created, ChangeAction::Updated, ChangeAction::Updated].map(event);
    let bodies = target.bodies("1", &events);
    assert_eq!(bodies.len(), 2);
    let second: Value = serde_json::from_str(&bodies[1]).unwrap();
    assert_eq!(second["employees"].as_array().unwrap().len(), 2);
}

/// A receiver that verifies, notes what it got, and answers by a script (200 when it ends).
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    script: Arc<Mutex<Vec<u16>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        header("x-bamboohr-signature"),
        sign(KEY, &body, &header("x-bamboohr-timestamp"))
    );
    receiver
        .got
        .lock()
        .unwrap()
        .push((headers.clone(), String::from_utf8(body.to_vec()).unwrap()));
    receiver
        .script
        .lock()
        .unwrap()
        .pop()
        .map_or(StatusCode::OK, |status| StatusCode::from_u16(status).unwrap())
}

async fn receiver() -> (Receiver, String) {
    let receiver = Receiver::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (receiver, url)
}

fn company() -> SharedCompany {
    let today = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    Arc::new(Mutex::new(Company::generate(&Plan::new(5, 120, 1, today))))
}

fn sender(url: &str, style: PayloadStyle) -> WebhookSender {
    let ladder = RetryLadder(vec![Duration::from_millis(5); 3]);
    let clock: Clock = Arc::new(|| "2026-11-20T10:00:00Z".parse().unwrap());
    WebhookSender::new(WebhookTarget::new(url, KEY, style), ladder)
        .unwrap()
        .with_clock(clock)
}

#[tokio::test]
async fn server_errors_are_tried_again_and_refusals_are_not() {
    let (receiver, url) = receiver().await;
    let sender = sender(&url, PayloadStyle::EventJson);
    *receiver.script.lock().unwrap() = vec![503, 500];
    let taken = sender.send_body("harborpine", VECTOR_BODY.to_owned()).await;
    assert_eq!(
        taken,
        Ok(Delivery {
            status: 200,
            attempts: 3
        })
    );
    *receiver.script.lock().unwrap() = vec![401];
    let refused = sender.send_body("harborpine", VECTOR_BODY.to_owned()).await;
    assert_eq!(refused, Err(Undelivered::Refused { status: 401 }));
    *receiver.script.lock().unwrap() = vec![503; 4];
    let given_up = sender.send_body("harborpine", VECTOR_BODY.to_owned()).await;
    assert_eq!(given_up, Err(Undelivered::GaveUp { attempts: 4 }));
    let got = receiver.got.lock().unwrap();
    assert_eq!(got.len(), 8);
    let headers = &got[0].0;
    assert!(
        headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("BambooHR-WebHooks/1.0 (")
    );
    assert_eq!(headers["company-domain"], "harborpine");
    assert_eq!(headers["x-bamboohr-timestamp"], "1795168800");
}

#[tokio::test]
async fn nobody_at_home_is_given_up() {
    let outcome = sender("http://127.0.0.1:9/hook", PayloadStyle::EventJson)
        .send_body("harborpine", String::new())
        .await;
    assert_eq!(outcome, Err(Undelivered::GaveUp { attempts: 4 }));
}

#[tokio::test]
async fn a_registration_decides_what_is_announced() {
    let server = SimulatedBambooHr::start(company(), ServerOptions::new("k"))
        .await
        .unwrap();
    let body = json!({ "name": "sync", "url": "http://127.0.0.1:9/hook", "format": "form-encoded",
        "monitorFields": ["Pay rate"], "postFields": { "firstName": "First Name", "payRate": "Rate" },
        "events": ["employee_with_fields.updated"] });
    let url = format!("{}/v1/webhooks", server.base_url());
    reqwest::Client::new()
        .post(url)
        .basic_auth("k", Some("x"))
        .json(&body)
        .send()
        .await
        .unwrap();
    let target = WebhookTarget::registered(&server.webhooks()[0]);
    assert_eq!(target.style, PayloadStyle::FieldForm);
    let id = server
        .company()
        .employees
        .iter()
        .find(|e| e.truth.phase == super::super::company::Phase::Passive)
        .unwrap()
        .id;
    let raise = server.set_field(id, "payRate", "31.50").unwrap();
    let renamed = server.set_field(id, "firstName", "Ida").unwrap();
    let deleted = Change {
        employee: EmployeeId(1),
        action: ChangeAction::Deleted,
        fields: vec![],
        at: raise.at,
    };
    let company = server.company();
    let events = target.events(&company, &[raise, renamed, deleted]);
    assert_eq!(events.len(), 1);
    let expected = [("First Name", "Ida"), ("Rate", "31.50 USD")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(events[0].fields, BTreeMap::from(expected));
    assert_eq!(events[0].changed_names, ["Pay rate"]);
}

#[tokio::test]
async fn the_living_company_announces_what_happens() {
    for style in PayloadStyle::ALL {
        let (receiver, url) = receiver().await;
        let told = async {
            while receiver.got.lock().unwrap().len() < 30 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // However busy the machine is, 30 webhooks come.
        let shutdown = async {
            let _ = tokio::time::timeout(Duration::from_secs(60), told).await;
        };
        let report = run_live(
            company(),
            sender(&url, style),
            Duration::from_millis(5),
            Life::new(1),
            shutdown,
        )
        .await;
        let got = receiver.got.lock().unwrap();
        assert!(report.steps > 1 && report.delivered >= 30, "{report:?}");
        assert_eq!(report.undelivered, 0);
        assert_eq!(report.delivered, got.len() as u64);
        assert!(
            got.iter()
                .all(|(headers, _)| headers["content-type"] == style.content_type())
        );
    }
}

/// A second start must find the company as it was left, not as it was generated.
#[test]
fn a_company_remembers_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let moment = |step: i64| DateTime::from_timestamp(1_780_000_000 + 40_000 * step, 123_456_000).unwrap();
    let live = |steps: std::ops::Range<i64>| {
        let company = company();
        let mut company = lock(&company);
        let mut life = Life::remembered(7, &diary, &mut company).unwrap();
        let changes: Vec<_> = steps.map(|step| life.step(&mut company, moment(step))).collect();
        (format!("{:#?}", company.employees), changes)
    };
    let (left, _) = live(0..60);
    // A crash cuts a line off.
    let mut torn = std::fs::OpenOptions::new().append(true).open(&diary).unwrap();
    std::io::Write::write_all(&mut torn, b"2026-06-").unwrap();
    let (found, _) = live(0..0);
    assert_eq!(found, left);
    let (_, again) = live(60..90);
    std::fs::remove_file(&diary).unwrap();
    let (_, at_once) = live(0..90);
    assert_eq!(again, at_once[60..], "chance goes on where it was");
}
