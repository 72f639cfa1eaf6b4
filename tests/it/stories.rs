//! From a webhook to an answer.

use domain::id::TenantId;
use serde_json::{Value, json};
use tenure::{
    demo::webhooks::{PayloadStyle, WebhookTarget},
    train::train_if_due,
};

use crate::{
    faults::{imported, settled, sql},
    harness::{DataDir, Tenure, Vendor, eventually, parts, today, told, tool},
};

async fn employee_named(tenure: &Tenure, name: &str) -> Value {
    eventually("the employee", || async {
        let query = format!(
            r#"{{ employees(first: 5, filter: {{search: "{name}"}}) {{ edges {{ node {{ id displayName jobTitle department location status hiredOn
                 manager {{ id displayName }} risk {{ probability horizonDays band factors {{ feature label contribution }} model scoredAt position }} }} }} }} }}"#
        );
        let answer = tenure.query("hr_manager", &query).await;
        match answer["employees"]["edges"].as_array().and_then(|edges| edges.first()) {
            Some(edge) => Ok(edge["node"].clone()),
            None => Err(answer),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_of_each_style_becomes_a_fresh_score() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(7, 40).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;

    for (index, style) in PayloadStyle::ALL.into_iter().enumerate() {
        let id = {
            let company = vendor.server.company();
            let today = crate::harness::today();
            company
                .employees
                .iter()
                .filter(|employee| employee.is_employed_on(today))
                .nth(index)
                .expect("somebody")
                .id
        };
        let first = format!("Zoe{index}");
        vendor.server.set_field(id, "preferredName", &first).expect("set");
        let change = vendor.server.set_field(id, "firstName", &first).expect("set");
        let target = WebhookTarget::new(connected.webhook_url.clone(), connected.webhook_key.clone(), style);
        let (company_id, events) = {
            let company = vendor.server.company();
            (company.company_id.clone(), target.events(&company, &[change]))
        };
        for body in target.bodies(&company_id, &events) {
            let (status, answer) = tenure.webhook(&connected, style.content_type(), &body).await;
            assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{style:?}: {answer}");
        }
        let employee = employee_named(&tenure, &first).await;
        assert!(
            employee["displayName"].as_str().expect("a name").starts_with(&first),
            "{employee:#}"
        );
        let risk = &employee["risk"];
        let probability = risk["probability"].as_f64().expect("a probability");
        assert!(
            (0.0..=1.0).contains(&probability) && !risk["factors"].as_array().expect("factors").is_empty(),
            "{employee:#}"
        );
        assert!(
            risk["model"].is_string() && risk["position"].as_i64().is_some_and(|p| p > 0) && risk["horizonDays"] == 180,
            "{risk:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_read_their_own_writes_and_subscribers_hear_of_scores() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(11, 30).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let people = tenure
        .query(
            "hr_manager",
            "{ employees(first: 30, filter: {status: ACTIVE}) { nodes { id risk { probability } } } }",
        )
        .await;
    let scored = people["employees"]["nodes"]
        .as_array()
        .expect("people")
        .iter()
        .find(|person| !person["risk"].is_null());
    let id = scored.expect("somebody with a score")["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let mut subscription = subscribe(&tenure, &id).await;
    let command = format!("/v1/employees/{id}/answer-survey");
    let today = crate::harness::today().to_string();
    let body = json!({"on": today, "survey": "Pulse", "score": 0});
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let key = [("idempotency-key", "survey-1"), ("traceparent", trace)];
    let (status, answer) = tenure.post(&command, "hr_manager", &key, body.clone()).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("accepted")), "{answer:#}");
    let token = answer["position"].as_str().expect("a freshness token").to_owned();

    // At once, without asking again: the query waits for the event.
    let query = format!(
        r#"{{ employee(id: "{id}") {{ timeline(first: 1) {{ edges {{ node {{ type position summary }} }} }} risk {{ position }} }} }}"#
    );
    let fresh = tenure
        .ask("hr_manager", &query, &[("tenure-min-position", &token)])
        .await;
    let position: i64 = token
        .split_once('.')
        .and_then(|(_, position)| position.parse().ok())
        .expect("partition.position");
    let kept = sql(
        &data.0,
        &format!("select traceparent from event where position = {position}"),
    );
    assert_eq!(kept, trace, "the caller's trace travels into the log");
    let newest = &fresh["data"]["employee"]["timeline"]["edges"][0]["node"];
    assert!(
        newest["position"].as_i64().is_some_and(|newest| newest >= position),
        "{fresh:#}"
    );
    assert_eq!(
        fresh["data"]["employee"]["risk"]["position"],
        json!(position),
        "the score is made from that event: {fresh:#}"
    );

    let heard = next_change(&mut subscription).await;
    assert_eq!(heard["employee"]["id"], json!(id));
    assert_eq!(heard["risk"]["position"], json!(position), "{heard:#}");

    // The same again is the same answer; another request under the same key is refused.
    let (status, again) = tenure.post(&command, "hr_manager", &key, body).await;
    assert_eq!((status, &again), (200, &answer));
    let (status, problem) = tenure
        .post(
            &command,
            "hr_manager",
            &key,
            json!({"on": today, "survey": "Pulse", "score": 9}),
        )
        .await;
    assert_eq!(
        (
            status,
            problem["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("/key-reused"))
        ),
        (422, true),
        "{problem:#}"
    );
    // A rule that is broken is named.
    let (status, problem) = tenure
        .post(
            &command,
            "hr_manager",
            &[("idempotency-key", "survey-2")],
            json!({"on": today, "survey": "Pulse", "score": 99}),
        )
        .await;
    assert_eq!(status, 409, "{problem:#}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("between 0 and 10")),
        "{problem:#}"
    );
    // Roles: an analyst records nothing, an executive sees nobody, a stranger nothing at all.
    let (status, _) = tenure
        .post(
            &command,
            "analyst",
            &[("idempotency-key", "survey-3")],
            json!({"on": today, "survey": "Pulse", "score": 3}),
        )
        .await;
    assert_eq!(status, 403);
    let (status, _) = tenure
        .get(
            &format!("/v1/commands/{}", answer["id"].as_str().expect("an id")),
            "hr_manager",
        )
        .await;
    assert_eq!(status, 200);
    let refused = tenure.ask("executive", &query, &[]).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"],
        json!("FORBIDDEN"),
        "{refused:#}"
    );
}

/// The fan-out: an employee gives notice, and the scores of those who report to the same manager are made anew from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_moves_the_scores_of_the_team() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(19, 60).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let exits = |condition: &str| {
        let query = "select count(*) from event where event_type = 'employee.colleague-left' and ";
        let count = sql(&data.0, &format!("{query}{condition}"));
        count.parse::<u32>().expect("a number")
    };
    assert!(exits("backfill") > 0, "the company's past is known, too");
    assert_eq!(exits("not backfill"), 0, "as past");

    let people = tenure
        .query(
            "hr_manager",
            "{ employees(first: 100, filter: {status: ACTIVE}) { nodes { id manager { id } risk { probability } } } }",
        )
        .await;
    let people = people["employees"]["nodes"].as_array().expect("people");
    let team_of = |person: &Value| -> Vec<&Value> {
        let of_the_same = |other: &&Value| {
            other["manager"]["id"] == person["manager"]["id"] && other["id"] != person["id"] && !other["risk"].is_null()
        };
        people.iter().filter(of_the_same).collect()
    };
    let leaver = people
        .iter()
        .filter(|person| person["manager"].is_object())
        .max_by_key(|person| team_of(person).len())
        .expect("somebody with a manager");
    let team = team_of(leaver);
    assert!(team.len() > 1, "{people:#?}");

    // Nobody but Tenure itself tells of a colleague's exit.
    let id = |person: &Value| person["id"].as_str().expect("an id").to_owned();
    let today = crate::harness::today().to_string();
    let exit = json!({"colleague": id(leaver), "relation": "peer", "on": today});
    let path = format!("/v1/employees/{}/hear-of-exit", id(team[0]));
    let (status, _) = tenure
        .post(&path, "admin", &[("idempotency-key", "exit-1")], exit)
        .await;
    assert_eq!(status, 404);

    let path = format!("/v1/employees/{}/give-notice", id(leaver));
    let notice = json!({"on": today, "voluntariness": "voluntary"});
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "notice-1")], notice)
        .await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("accepted")), "{answer:#}");
    let mut higher = 0;
    for teammate in &team {
        let query = format!(
            r#"{{ employee(id: "{}") {{ timeline(first: 5) {{ nodes {{ type position summary source details }} }} risk {{ probability position }} }} }}"#,
            id(teammate)
        );
        let (heard, risk) = eventually("the teammate's new score", || async {
            let answer = tenure.query("hr_manager", &query).await;
            let entries = answer["employee"]["timeline"]["nodes"].as_array().expect("entries");
            let heard = entries.iter().find(|entry| {
                entry["type"] == "employee.colleague-left" && entry["details"]["colleague"] == leaver["id"]
            });
            match heard {
                Some(heard) if heard["position"] == answer["employee"]["risk"]["position"] => {
                    Ok((heard.clone(), answer["employee"]["risk"].clone()))
                }
                Some(_) | None => Err(answer),
            }
        })
        .await;
        assert_eq!(heard["summary"], "A colleague of the team gave notice or left.");
        assert_eq!(heard["source"], "teams");
        let probability = |risk: &Value| risk["probability"].as_f64().expect("a probability");
        let (before, after) = (probability(&teammate["risk"]), probability(&risk));
        assert!(after >= before - 1e-12, "{before} to {after}: {teammate:#}");
        higher += usize::from(after > before);
    }
    assert!(higher > 0, "an exit in the team says nothing to the model");
    assert!(
        exits("not backfill") >= team.len() as u32,
        "what is heard today was not known before"
    );
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Subscribes to one person's scores, as a dashboard does.
async fn subscribe(tenure: &Tenure, employee: &str) -> Socket {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    let mut request = format!("ws://{}/graphql", tenure.listen())
        .into_client_request()
        .expect("a request");
    request.headers_mut().insert(
        "sec-websocket-protocol",
        "graphql-transport-ws".parse().expect("a header"),
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a socket");
    let init = json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {}", tenure.token("hr_manager"))}});
    socket.send(Message::text(init.to_string())).await.expect("sent");
    let ack = socket.next().await.expect("an answer").expect("a message");
    assert!(
        ack.to_text().is_ok_and(|text| text.contains("connection_ack")),
        "{ack:?}"
    );
    let query = format!(
        r#"subscription {{ riskChanged(employee: "{employee}") {{ employee {{ id }} risk {{ probability position }} }} }}"#
    );
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": query}});
    socket.send(Message::text(subscribe.to_string())).await.expect("sent");
    // An answered ping proves that the subscription before it was taken.
    socket
        .send(Message::text(json!({"type": "ping"}).to_string()))
        .await
        .expect("sent");
    loop {
        let message = socket.next().await.expect("an answer").expect("a message");
        if message.to_text().is_ok_and(|text| text.contains("pong")) {
            return socket;
        }
    }
}

async fn next_change(socket: &mut Socket) -> Value {
    use futures_util::StreamExt;
    let heard = async {
        loop {
            let message = socket.next().await.expect("an answer").expect("a message");
            let Ok(message) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else {
                continue;
            };
            if message["type"] == "next" {
                return message["payload"]["data"]["riskChanged"].clone();
            }
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, heard)
        .await
        .expect("a change is heard of")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_goes_on_and_metrics_tell() {
    let data = DataDir::new();
    let mut tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(13, 20).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let listen = tenure.listen();
    let before = tenure
        .query(
            "hr_manager",
            "{ employees(first: 50) { totalCount nodes { id displayName status } } }",
        )
        .await;
    tenure.kill();
    drop(tenure);

    let tenure = Tenure::start_with(&data.0, &listen, &[]);
    let after = tenure
        .query(
            "hr_manager",
            "{ employees(first: 50) { totalCount nodes { id displayName status } } }",
        )
        .await;
    assert_eq!(before, after);
    let health: Value = serde_json::from_str(&tenure.text("/health/detailed").await).expect("JSON");
    assert_eq!(health["status"], json!("ok"), "{health:#}");
    eventually("the metrics", || async {
        let metrics = tenure.text("/metrics").await;
        let told = [
            "tenure_log_head_position",
            "tenure_relay_lag_events",
            "tenure_projection_lag_seconds",
            "tenure_graphql_seconds",
        ];
        if told.iter().all(|name| metrics.contains(name)) {
            Ok(())
        } else {
            Err(Value::String(metrics))
        }
    })
    .await;
}

const PROGRAM: &str = "7d9f3c1e-2f4b-4c7a-9e55-0d1b2c3a4f5e";

/// A career program with its candidates, if it is as wanted.
async fn program(tenure: &Tenure, is: impl Fn(&Value) -> bool) -> Result<Value, Value> {
    let query = format!(
        "{{ program(id: \"{PROGRAM}\") {{ name model challenger status levels {{ early developing ready }} candidates(first: 100) {{ nodes {{
             level probability factors {{ label }} employee {{ jobTitle readiness {{ level }} }} }} }} }} }}"
    );
    let found = tenure.query("hr_manager", &query).await["program"].clone();
    if is(&found) { Ok(found) } else { Err(found) }
}

/// The version that `tenure train` tells of after some words.
fn version_in<'t>(told: &'t str, after: &str) -> &'t str {
    let rest = told.split_once(after).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("{told}"))
}

/// From a program's definition to levels that people see, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_of_a_career_program_are_told_how_ready_they_are() {
    let data = DataDir::new();
    let mut tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(17, 700).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;

    let path = format!("/v1/programs/{PROGRAM}");
    let body = json!({"name": "First step", "on": today(), "path": {
        "from": ["Cashier", "Sales Associate", "Stock Associate", "Customer Service Representative"],
        "to": ["Supervisor", "Senior Sales Associate", "Inventory Specialist", "Senior Customer Service Representative"],
    }});
    let key = |key: &'static str| [("idempotency-key", key)];
    let define = format!("{path}/define");
    let (status, _) = tenure.post(&define, "store_manager", &key("a"), body.clone()).await;
    assert_eq!(status, 403);
    let (status, answer) = tenure.post(&define, "hr_manager", &key("b"), body.clone()).await;
    assert_eq!(status, 200, "{answer:#}");
    let unknown = json!({"model": "additive-2020-01-01-00000000", "on": today()});
    let promote = format!("{path}/promote-model");
    let (status, answer) = tenure.post(&promote, "analyst", &key("c"), unknown).await;
    assert_eq!(
        (
            status,
            answer["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("registry"))
        ),
        (400, true)
    );

    eventually("the program", || {
        program(&tenure, |found| found["name"] == "First step")
    })
    .await;
    let said = told(&mut tool(&data.0, &["train"])).unwrap_or_else(|error| panic!("{error}"));
    // Of a history without reviews little can be learnt: whether the model is used is for people to decide.
    let version = version_in(&said, "readiness for First step: ");
    let model = json!({"model": version, "on": today()});
    let (status, answer) = tenure.post(&promote, "store_manager", &key("e"), model.clone()).await;
    assert_eq!(status, 403, "{answer:#}");
    let (status, answer) = tenure.post(&promote, "analyst", &key("f"), model).await;
    assert_eq!(status, 200, "{answer:#} {said}");
    eventually("readiness", || {
        program(&tenure, |program| {
            program["candidates"]["nodes"]
                .as_array()
                .is_some_and(|nodes| nodes.len() > 50)
        })
    })
    .await;
    settled(&tenure).await; // people are scored some hundred at a time
    let scored = program(&tenure, |_| true).await.expect("the program");
    let titles = [
        "Cashier",
        "Sales Associate",
        "Stock Associate",
        "Customer Service Representative",
    ];
    for node in scored["candidates"]["nodes"].as_array().expect("candidates") {
        let title = node["employee"]["jobTitle"].as_str().unwrap_or_default();
        assert!(titles.contains(&title), "{node:#}");
        assert_eq!(node["level"], node["employee"]["readiness"][0]["level"]);
        assert!(
            node["factors"].as_array().is_some_and(|factors| !factors.is_empty()),
            "{node:#}"
        );
    }
    let levels = scored["levels"].as_object().expect("levels");
    let counted: i64 = levels.values().filter_map(Value::as_i64).sum();
    assert!(counted > 100, "more than the first page: {scored:#}");

    // A month later the schedule trains again. Somebody has chosen the model in use: the new one is its challenger.
    let chosen = version_in(&said, "flight risk: ");
    let model = json!({"model": chosen, "on": today()});
    let (status, answer) = tenure
        .post("/v1/tenant/promote-model", "analyst", &key("g"), model)
        .await;
    assert_eq!(status, 200, "{answer:#} {said}");
    let of_kind = |kind: &'static str| {
        let asked = tenure.query("analyst", "{ models { version target inUse isChallenger } }");
        async move {
            let answer = asked.await;
            let all = answer["models"].as_array().cloned().unwrap_or_default();
            let found = all
                .iter()
                .find(|model| model["target"] == "notice" && model[kind] == true);
            found.map(|model| model["version"].clone()).ok_or(answer)
        }
    };
    eventually("the chosen model", || async {
        let used = of_kind("inUse").await?;
        if used == chosen { Ok(()) } else { Err(used) }
    })
    .await;
    let parts = parts(&data.0);
    let tenant: TenantId = sql(&data.0, "select tenant from tenant_directory")
        .parse()
        .expect("an id");
    let now = infra::clock::now();
    assert!(
        !train_if_due(&parts, tenant, now).await.expect("looked"),
        "all models are new"
    );
    let later = now + chrono::Duration::days(31);
    assert!(train_if_due(&parts, tenant, later).await.expect("trained"));
    let challenger = eventually("the challenger", || of_kind("isChallenger")).await;
    assert_eq!(
        of_kind("inUse").await.expect("a model in use"),
        chosen,
        "nobody promoted it"
    );
    assert_ne!(challenger, chosen);
    let of_program = eventually("the program's own challenger", || {
        program(&tenure, |program| program["challenger"].is_string())
    })
    .await;
    assert_eq!(of_program["model"], version, "nobody promoted that one either");
    eventually("what both say of everybody", || async {
        let shadows = sql(
            &data.0,
            "select count(*) filter (where program is null), count(program) from shadow_score",
        );
        let said = sql(
            &data.0,
            "select (select count(*) from risk), (select count(*) from readiness)",
        );
        if shadows == said {
            Ok(())
        } else {
            Err(json!([shadows, said]))
        }
    })
    .await;

    // A restart finds what there is.
    let listen = tenure.listen();
    tenure.kill();
    drop(tenure);
    let tenure = Tenure::start_with(&data.0, &listen, &[]);
    let again = eventually("the program again", || {
        program(&tenure, |program| program["model"].is_string())
    })
    .await;
    assert_eq!(again, of_program);

    let close = format!("{path}/close");
    let (status, _) = tenure
        .post(&close, "hr_manager", &key("d"), json!({"on": today()}))
        .await;
    assert_eq!(status, 200);
    eventually("no candidates", || {
        program(&tenure, |program| {
            program["status"] == "CLOSED" && program["candidates"]["nodes"].as_array().is_some_and(Vec::is_empty)
        })
    })
    .await;
}
