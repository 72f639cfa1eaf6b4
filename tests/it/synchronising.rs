//! What a source did not tell by itself is found out by asking.

use serde_json::{Value, json};

use crate::{
    faults::{imported, settled, sql},
    harness::{Connected, DataDir, Tenure, Vendor, eventually},
    outages::employed,
};

async fn until(tenure: &Tenure, query: &str, fits: impl Fn(&str) -> bool) {
    eventually(query, || async {
        let found = sql(&tenure.data_dir, query);
        if fits(&found) { Ok(()) } else { Err(json!(found)) }
    })
    .await;
}

/// Asks the source now, once nobody is at it any more.
async fn ask(tenure: &Tenure, connected: &Connected, task: &str) {
    let attempts = format!("select attempts from connection_task where task = '{task}'");
    until(tenure, &attempts, |attempts| attempts == "0").await;
    let path = format!("/v1/connections/{}/{task}", connected.id);
    let (status, answer) = tenure.post(&path, "admin", &[], Value::Null).await;
    assert_eq!((status, answer), (202, json!({"task": task})));
}

/// The newest entry of somebody's timeline, once they have the name.
async fn newest_of(tenure: &Tenure, name: &str) -> Value {
    let query = format!(
        r#"{{ employees(first: 5, filter: {{search: "{name}"}}) {{ nodes {{ status timeline(first: 1) {{ nodes {{ type source }} }} }} }} }}"#
    );
    eventually("the person of that name", || async {
        let answer = tenure.query("hr_manager", &query).await;
        let found = answer["employees"]["nodes"].as_array().and_then(|nodes| nodes.first());
        found.map(|person| person["timeline"]["nodes"][0].clone()).ok_or(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_webhook_told_is_found_by_asking() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(23, 30).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let people = employed(&vendor, 3);
    let source = |found_by: &str| json!(format!("bamboohr:{}:{found_by}", connected.id));

    vendor
        .server
        .set_field(people[0], "preferredName", "Unheard")
        .expect("set");
    ask(&tenure, &connected, "changes").await;
    assert_eq!(newest_of(&tenure, "Unheard").await["source"], source("changes"));

    vendor
        .server
        .set_field(people[1], "preferredName", "Unlisted")
        .expect("set");
    vendor.server.delete_employee(people[2]).expect("deleted");
    ask(&tenure, &connected, "reconciliation").await;
    assert_eq!(newest_of(&tenure, "Unlisted").await["source"], source("reconciliation"));
    let deleted = "select count(*) from event where event_type = 'employee.source-record-deleted' and actor like '%:reconciliation'";
    until(&tenure, deleted, |count| count == "1").await;

    // Asked again, it has nothing to tell.
    let history = "select count(*) from event where kind = 'employee'";
    let reconciled = "select count(*) from event where event_type = 'connection.synchronised'";
    settled(&tenure).await;
    let (before, rounds) = (sql(&data.0, history), sql(&data.0, reconciled));
    ask(&tenure, &connected, "changes").await;
    ask(&tenure, &connected, "reconciliation").await;
    until(&tenure, reconciled, |count| count != rounds).await;
    settled(&tenure).await;
    assert_eq!(sql(&data.0, history), before);

    let path = format!("/v1/connections/{}/changes", connected.id);
    assert_eq!(tenure.post(&path, "analyst", &[], Value::Null).await.0, 403);
    for nowhere in [
        path.replace(&connected.id, "00000000-0000-0000-0000-000000000001"),
        path.replace("changes", "import"),
        path.replace("changes", "everything"),
    ] {
        assert_eq!(
            tenure.post(&nowhere, "admin", &[], Value::Null).await.0,
            404,
            "{nowhere}"
        );
    }
}

/// Whoever was away asks what happened meanwhile, without being told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_tenure_was_away_is_asked_for() {
    let data = DataDir::new();
    let vendor = Vendor::start(29, 20).await;
    let person = employed(&vendor, 1)[0];
    let connected = {
        let mut tenure = Tenure::start(&data.0);
        let connected = tenure.connect(&vendor).await;
        imported(&tenure, &connected).await;
        tenure.kill();
        connected
    };
    vendor
        .server
        .set_field(person, "preferredName", "Meanwhile")
        .expect("set");
    let tenure = Tenure::start(&data.0);
    let source = json!(format!("bamboohr:{}:changes", connected.id));
    assert_eq!(newest_of(&tenure, "Meanwhile").await["source"], source);
}
