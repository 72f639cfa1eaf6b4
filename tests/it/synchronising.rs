//! What a source did not tell by itself is found out by asking.

use serde_json::{Value, json};
use tenure::demo::{company::EmployeeId, webhooks::sign};

use crate::{
    faults::{imported, settled, sql},
    harness::{Connected, DataDir, Tenure, Vendor, eventually, told, tool},
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

/// Webhooks at BambooHR end without a word, and not everything that they send arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_tenure_registered_is_looked_after() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(43, 12).await;
    let people = employed(&vendor, 4);
    let request = |api_key: &str| json!({"company_domain": vendor.domain, "api_key": api_key, "base_url": vendor.server.base_url()});
    let connect = async |request: Value| tenure.post("/v1/integrations/bamboohr", "admin", &[], request).await;
    let (status, problem) = connect(request("another")).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        status == 400 && detail.contains("does not accept the key or password") && detail.contains("webhook_keys"),
        "{problem:#}"
    );
    let (status, answer) = connect(request(&vendor.api_key)).await;
    assert_eq!(status, 201, "{answer:#}");
    let registered = vendor.server.webhooks();
    let [first] = registered.as_slice() else {
        panic!("{registered:?}")
    };
    assert_eq!(Some(first.url.as_str()), answer["webhook_url"].as_str());
    for field in ["payRate", "jobTitle", "status"] {
        assert!(
            first.monitor_fields.iter().any(|one| one == field),
            "{field}: {first:?}"
        );
    }
    let mut connected = Connected {
        id: answer["id"].as_str().expect("an id").to_owned(),
        webhook_url: first.url.clone(),
        webhook_key: first.private_key.clone(),
    };
    imported(&tenure, &connected).await;
    let seconds = || infra::clock::now().timestamp();
    let set = |person, name: &str| vendor.server.set_field(person, "preferredName", name).expect("set");
    set(people[0], "Heard");
    announce(&tenure, &connected, people[0], (seconds(), seconds())).await;
    newest_of(&tenure, "Heard").await;
    let (status, _) = connect(request(&vendor.api_key)).await;
    assert_eq!(
        (status, vendor.server.webhooks()),
        (201, registered.clone()),
        "asking again changes nothing"
    );

    // It ends, and another takes its place; what the first one has sent may still be on its way.
    vendor.server.end_webhook(first.id);
    ask(&tenure, &connected, "webhooks").await;
    let second = eventually("another webhook", || async {
        match vendor.server.webhooks().as_slice() {
            [one] => Ok(one.clone()),
            none => Err(json!(none.len())),
        }
    })
    .await;
    assert!(second.private_key != first.private_key && second.url == first.url);
    let failed = "select count(*) from event where event_type = 'connection.failed'";
    until(&tenure, failed, |count| count == "1").await;
    let connections = "select count(*) from event where event_type = 'connection.connected'";
    until(&tenure, connections, |count| count == "2").await;
    set(people[1], "Late");
    announce(&tenure, &connected, people[1], (seconds(), seconds())).await;
    newest_of(&tenure, "Late").await;
    connected.webhook_key = second.private_key.clone();
    set(people[2], "Renewed");
    announce(&tenure, &connected, people[2], (seconds(), seconds())).await;
    newest_of(&tenure, "Renewed").await;

    // What was refused is read all the same, and what arrived is not read again.
    set(people[3], "Undelivered");
    vendor.server.log_delivery(second.id, &[people[3]], 500);
    vendor.server.log_delivery(second.id, &[people[0]], 200);
    let others = format!("GET employees/{}", people[0]);
    let read = vendor.server.faults().requests(&others);
    ask(&tenure, &connected, "webhooks").await;
    let source = json!(format!("bamboohr:{}:changes", connected.id));
    assert_eq!(newest_of(&tenure, "Undelivered").await["source"], source);
    assert!(read > 0);
    assert_eq!(vendor.server.faults().requests(&others), read);

    // A new key on request.
    let mut again = request(&vendor.api_key);
    again["new_webhook"] = json!(true);
    let (status, answer) = connect(again).await;
    assert_eq!(status, 201, "{answer:#}");
    let third = vendor.server.webhooks();
    assert!(third.len() == 1 && third[0].id != second.id, "{third:?}");
}

/// Says as BambooHR does that a person changed at a moment, in a message with a timestamp of its own (Unix seconds).
async fn announce(tenure: &Tenure, connected: &Connected, person: EmployeeId, (at, stamp): (i64, i64)) {
    let at = chrono::DateTime::from_timestamp(at, 0).expect("a moment");
    let body = json!({"type": "employee.updated", "timestamp": at.format("%Y-%m-%dT%H:%M:%S+0000").to_string(),
        "data": {"companyId": "1", "employeeId": person.to_string(), "changedFields": ["preferredName"]}});
    let answer = deliver(tenure, connected, &body.to_string(), stamp).await;
    assert_eq!(answer, (202, json!({"accepted": 1})));
}

async fn deliver(tenure: &Tenure, connected: &Connected, body: &str, stamp: i64) -> (u16, Value) {
    let signature = sign(&connected.webhook_key, body.as_bytes(), &stamp.to_string());
    let (url, json) = (&connected.webhook_url, "application/json");
    tenure
        .webhook_signed(url, json, body, &stamp.to_string(), &signature)
        .await
}

/// What an administrator sees of the source, added up.
async fn quality(tenure: &Tenure) -> Value {
    let query = "{ connections { heardAt askedAt comparedAt
        quality(days: 2) { received duplicate late outOfOrder missed rejected } } }";
    let answer = tenure.query("admin", query).await;
    let connection = &answer["connections"][0];
    let sum = |what: &str| -> i64 {
        let days = connection["quality"].as_array().expect("days");
        days.iter().map(|day| day[what].as_i64().expect("a number")).sum()
    };
    let mut known = json!({});
    for what in ["received", "duplicate", "late", "outOfOrder", "missed", "rejected"] {
        known[what] = json!(sum(what));
    }
    for when in ["heardAt", "askedAt", "comparedAt"] {
        known[when] = json!(!connection[when].is_null());
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_well_a_source_tells_is_counted() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(31, 20).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    ask(&tenure, &connected, "changes").await;
    until(
        &tenure,
        "select count(*) from connection_task where task = 'changes' and done_at is not null and due_at > now()",
        |count| count == "1",
    )
    .await;
    settled(&tenure).await;
    let nothing = json!({"received": 0, "duplicate": 0, "late": 0, "outOfOrder": 0, "missed": 0, "rejected": 0,
        "heardAt": false, "askedAt": true, "comparedAt": false});
    assert_eq!(quality(&tenure).await, nothing);

    let people = employed(&vendor, 3);
    let now = infra::clock::now().timestamp();
    announce(&tenure, &connected, people[0], (now - 60, now)).await;
    settled(&tenure).await;
    // An hour late, so before what was told already; the same once more; and late, but in order.
    announce(&tenure, &connected, people[0], (now - 3_600, now - 1)).await;
    announce(&tenure, &connected, people[0], (now - 3_600, now - 1)).await;
    announce(&tenure, &connected, people[1], (now - 3_600, now - 2)).await;
    // Not to be understood, and sent again: one message.
    for _ in 0..2 {
        assert_eq!(deliver(&tenure, &connected, "{\"type\": 7}", now).await.0, 400);
    }
    // Nobody tells of this. (A new name would be news of the people below, too: their records name who is above.)
    (vendor.server.set_field(people[2], "gender", "Unheard of")).expect("set");
    ask(&tenure, &connected, "changes").await;
    until(
        &tenure,
        "select count(*) from event where actor like '%:changes'",
        |count| count == "1",
    )
    .await;
    ask(&tenure, &connected, "reconciliation").await;
    until(
        &tenure,
        "select count(*) from connection_task where task = 'reconciliation' and done_at is not null",
        |count| count == "1",
    )
    .await;
    settled(&tenure).await;
    let counted = json!({"received": 4, "duplicate": 1, "late": 2, "outOfOrder": 1, "missed": 1, "rejected": 1,
        "heardAt": true, "askedAt": true, "comparedAt": true});
    assert_eq!(quality(&tenure).await, counted);
    assert_eq!(
        tenure.ask("analyst", "{ connections { heardAt } }", &[]).await["data"],
        Value::Null
    );
    let metrics = tenure.text("/metrics").await;
    for line in [
        format!(
            "tenure_source_quality_total{{connection=\"{}\",what=\"received\"}} 4",
            connected.id
        ),
        format!(
            "tenure_source_quality_total{{connection=\"{}\",what=\"missed\"}} 1",
            connected.id
        ),
        format!(
            "tenure_source_heard_timestamp_seconds{{connection=\"{}\"}} ",
            connected.id
        ),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    // Who is erased is not remembered here either.
    let told = "select count(*) from source_told";
    assert_eq!(sql(&data.0, told), "2");
    let somebody = sql(&data.0, "select employee from source_told limit 1");
    let erase = json!({"on": crate::harness::today(), "basis": "asked for"});
    let path = format!("/v1/employees/{somebody}/erase");
    let (status, answer) = tenure
        .post(&path, "admin", &[("idempotency-key", "erase")], erase)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    until(&tenure, told, |count| count == "1").await;
}

/// An administrator asks why something is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_says_what_it_can_read_and_what_it_cannot() {
    let data = DataDir::new();
    let list = |arguments: &[&str]| told(&mut tool(&data.0, arguments));
    let tenure = Tenure::start(&data.0);
    assert!(list(&["connection"]).expect("listed").contains("nothing is connected"));
    let vendor = Vendor::start(37, 12).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;

    let listed = list(&["connection", "list"]).expect("listed");
    let first = format!(
        "{}  bamboohr {}: connected\n    heard of never, asked who changed ",
        connected.id, vendor.domain
    );
    assert!(listed.starts_with(&first), "{listed}");
    assert!(listed.contains("    in 7 days: 0 received, 0 duplicate, "), "{listed}");

    // The simulated account has no such fields.
    let none = "missing  fields               5 of 32 are not shown: workPhone, ethnicity, payGroup, country, state. If the account";
    let all = list(&["connection", "test", &connected.id]).expect("it works");
    let (fields, others): (Vec<&str>, Vec<&str>) = all.lines().partition(|line| line.contains(" fields "));
    assert!(fields.len() == 1 && fields[0].starts_with(none), "{all}");
    assert!(
        others.len() == 6 && others.iter().all(|line| line.starts_with("ok ")),
        "{all}"
    );
    vendor.server.faults().hide_fields(["payRate", "gender"]);
    let less = list(&["connection", "test", &connected.id]).expect("it works");
    assert!(
        less.contains("7 of 32 are not shown: ") && less.contains("payRate, ") && less.contains("gender, "),
        "{less}"
    );
    vendor.server.faults().set_down(true);
    let away = list(&["connection", "test", &connected.id]).expect_err("it is away");
    assert!(away.contains("the source cannot be read as it is"), "{away}");
    vendor.server.faults().clear();

    let request = json!({"company_domain": vendor.domain, "api_key": "revoked", "webhook_keys": ["k"], "base_url": vendor.server.base_url()});
    let (status, answer) = tenure.post("/v1/integrations/bamboohr", "admin", &[], request).await;
    assert_eq!(status, 201, "{answer:#}");
    let output = tool(&data.0, &["connection", "test", &connected.id])
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success()
            && said.contains("broken   key and address      the source does not accept the key or password"),
        "{said}"
    );
    let nobody = "00000000-0000-0000-0000-000000000001";
    let unknown = list(&["connection", "test", nobody]).expect_err("there is none");
    assert!(unknown.contains("`tenure connection` lists them"), "{unknown}");
}

/// A system without a connector, as its administrator sets it up.
struct System {
    url: String,
    secret: String,
    id: String,
}

impl System {
    async fn connect(tenure: &Tenure) -> Self {
        let request = json!({"name": "our-hr"});
        let (status, answer) = tenure.post("/v1/integrations/webhooks", "admin", &[], request).await;
        assert_eq!(status, 201, "{answer:#}");
        let text = |name: &str| answer[name].as_str().expect(name).to_owned();
        Self {
            url: text("webhook_url"),
            secret: text("secret"),
            id: text("id"),
        }
    }

    /// Sends with a signature of `secret`.
    async fn signed(&self, (secret, id): (&str, &str), content_type: &str, body: &Value) -> (u16, Value) {
        let (body, timestamp) = (body.to_string(), infra::clock::now().timestamp().to_string());
        let signature = command_service::push::signature::sign(secret, id, &timestamp, body.as_bytes());
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", &timestamp),
            ("webhook-signature", &signature.unwrap_or_default()),
        ];
        self.send(&headers, content_type, body).await
    }

    async fn send(&self, headers: &[(&str, &str)], content_type: &str, body: String) -> (u16, Value) {
        let mut request = reqwest::Client::new()
            .post(&self.url)
            .header("content-type", content_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_without_a_connector_tells_by_itself() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let system = System::connect(&tenure).await;
    let secret = system.secret.as_str();
    let person = |id: &str, name: &str| {
        json!({"id": id, "first_name": name, "last_name": "Rossi", "start_date": "2024-03-01",
            "employments": [{"effective_date": "2024-03-01", "job_title": "Cashier", "department": "Sales", "manager_id": "7",
                "pay_rate": "2000.00", "pay_currency": "EUR", "pay_period": "MONTH"}]})
    };
    let standard =
        json!({"type": "employee.upserted", "timestamp": "2026-01-31T18:42:00Z", "data": person("42", "Standard")});
    for _ in 0..2 {
        let answer = system.signed((secret, "msg_1"), "application/json", &standard).await;
        assert_eq!(answer, (202, json!({"accepted": 1})));
    }
    let event = |id: &str, kind: &str, data: Value| json!({"specversion": "1.0", "id": id, "source": "/hr", "type": kind, "data": data});
    let boss = event(
        "1",
        "acme.employee.upserted",
        json!({"id": "7", "first_name": "Bo", "last_name": "Batch", "start_date": "2020-01-01"}),
    );
    let gone = event("2", "acme.employee.deleted", json!({"id": "99"}));
    let batch = json!([boss, gone]);
    let answer = system
        .signed((secret, "msg_2"), "application/cloudevents-batch+json", &batch)
        .await;
    assert_eq!(answer, (202, json!({"accepted": 2})));
    let bearer = format!("Bearer {secret}");
    let binary = [
        ("authorization", bearer.as_str()),
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/hr"),
        ("ce-type", "employee.upserted"),
    ];
    let moved = json!({"id": "42", "preferred_name": "Binary",
        "employments": [{"effective_date": "2025-09-01", "job_title": "Supervisor", "change_reason": "Promotion"}]});
    let answer = system.send(&binary, "application/json", moved.to_string()).await;
    assert_eq!(answer, (202, json!({"accepted": 1})));

    let query = r#"{ employees(first: 5, filter: {search: "Binary"}) { nodes {
        displayName jobTitle department manager { displayName } timeline(first: 9) { nodes { type source } } } } }"#;
    let told = eventually("the promotion", || async {
        let answer = tenure.query("hr_manager", query).await;
        let person = answer["employees"]["nodes"]
            .as_array()
            .and_then(|nodes| nodes.first())
            .cloned();
        person.filter(|person| person["jobTitle"] == "Supervisor").ok_or(answer)
    })
    .await;
    assert_eq!(
        (&told["displayName"], &told["department"]),
        (&json!("Binary Rossi"), &json!("Sales"))
    );
    assert_eq!(told["manager"]["displayName"], "Bo Batch");
    let source = json!(format!("push:{}", system.id));
    let timeline = told["timeline"]["nodes"].as_array().expect("entries");
    assert!(
        timeline.len() >= 3
            && timeline
                .iter()
                .all(|entry| entry["source"] == source || entry["source"] == "scorer"),
        "{timeline:?}"
    );
    settled(&tenure).await;
    assert_eq!(
        sql(&data.0, "select received, duplicate, rejected from source_quality"),
        "5|1|0"
    );

    // Asked again, the address is answered, and the secret in use stays.
    let (status, again) = tenure
        .post("/v1/integrations/webhooks", "admin", &[], json!({"name": "our-hr"}))
        .await;
    assert_eq!(
        (status, &again),
        (201, &json!({"id": system.id, "webhook_url": system.url}))
    );
    let answer = system.signed((secret, "msg_1"), "application/json", &standard).await;
    assert_eq!(answer.0, 202, "{answer:?}");

    // What is not proven, or not understood, is refused, and says why.
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(
        system.signed((other, "msg_3"), "application/json", &standard).await.0,
        401
    );
    assert_eq!(system.send(&[], "application/json", standard.to_string()).await.0, 401);
    let stolen = [&binary[1..], &[("authorization", "Bearer whsec_x")]].concat();
    assert_eq!(system.send(&stolen, "application/json", moved.to_string()).await.0, 401);
    for (body, said) in [
        (
            json!({"type": "employee.upserted", "data": {"id": "42", "firstname": "Ada"}}),
            "a field that is unknown",
        ),
        (
            json!({"type": "employee.upserted", "data": {"id": "42", "weekly_hours": 999}}),
            "weekly_hours is to lie between 0 and 168",
        ),
        (
            json!({"type": "employee.hired", "data": {"id": "42"}}),
            "the type is to be",
        ),
    ] {
        let (status, answer) = system.signed((secret, "msg_4"), "application/json", &body).await;
        assert_eq!(status, 400, "{answer:#}");
        assert!(
            answer["detail"].as_str().unwrap_or_default().contains(said),
            "{answer:#}"
        );
    }
    // Nobody can be hired without a day: a rule refuses it, and it is counted.
    let unknown = json!({"type": "employee.upserted", "data": {"id": "43", "first_name": "Nobody"}});
    assert_eq!(
        system.signed((secret, "msg_5"), "application/json", &unknown).await.0,
        202
    );
    until(&tenure, "select rejected from source_quality", |count| count == "1").await;
    let (status, _) = tenure
        .post("/v1/integrations/webhooks", "analyst", &[], json!({"name": "x"}))
        .await;
    assert_eq!(status, 403);
    for refused in [json!({"name": "our hr"}), json!({"name": "x", "secrets": ["short"]})] {
        let (status, answer) = tenure.post("/v1/integrations/webhooks", "admin", &[], refused).await;
        assert_eq!(status, 400, "{answer:#}");
    }
    let listed = crate::harness::told(&mut tool(&data.0, &["connection"])).expect("listed");
    assert!(
        listed.contains("push our-hr: connected\n    heard of just now"),
        "{listed}"
    );
}
