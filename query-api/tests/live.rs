//! The real thing over HTTP and WebSocket, on a real Postgres of its own.

use std::time::Duration;

use domain::{
    Date, Kind, Personal, StreamId, Timestamp,
    employee::{Event, Note},
    id::{EmployeeId, EventId, TenantId},
    policy::Role,
    risk::Factor,
    tenant::Bands,
};
use futures_util::{SinkExt, StreamExt};
use infra::{
    auth::{Verifier, development_token},
    checkpoint, clock,
    database::{Access, Database, migrate},
    embedded::EmbeddedPostgres,
    model_registry::{self, LastReport, NewModel},
    read_model::{employee, employee::EmployeeRow, risk, risk::RiskRow, settings, stats, timeline},
    sealing::{self, Keyring, MasterKey, Place},
};
use query_api::{CONSUMERS, Options, QueryApi, router};
use schemas::{codec::AnyEvent, topics};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SECRET: &[u8] = b"a secret for tests only, 32 bytes";
const PEOPLE: u128 = 60;

struct Live {
    address: String,
    tenant: TenantId,
    database: Database,
    keyring: Keyring,
    http: reqwest::Client,
    shutdown: CancellationToken,
    _postgres: EmbeddedPostgres,
    _folder: tempfile::TempDir,
}

impl Live {
    async fn start() -> Option<Self> {
        let master = MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key");
        let folder = tempfile::Builder::new()
            .prefix("tenure-query-")
            .tempdir()
            .expect("a folder");
        // The server runs as another user, who must pass through.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .expect("permissions");
        let postgres = EmbeddedPostgres::start(folder.path(), &master).await.expect("a server");
        let url = postgres.url.clone();
        migrate(&url, &master).await.expect("migrates");
        let database = Database::new(&url, &master).expect("an address");
        database
            .assert_trustworthy()
            .await
            .expect("bound by row-level security");
        let keyring = Keyring::new(master.clone(), database.clone());
        let tenant = TenantId::from_uuid(clock::new_id());
        let shutdown = CancellationToken::new();
        let options = Options {
            development: false,
            pseudonym_key: master.derive("pseudonyms"),
        };
        let api = QueryApi::new(
            database.clone(),
            keyring.clone(),
            Verifier::with_secret(SECRET),
            options,
            shutdown.clone(),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, router(api)).await });
        Some(Self {
            address,
            tenant,
            database,
            keyring,
            http: reqwest::Client::new(),
            shutdown,
            _postgres: postgres,
            _folder: folder,
        })
    }

    fn token(&self, role: Role) -> String {
        let employee = (role == Role::StoreManager).then(|| id(self.tenant, 0));
        development_token(
            SECRET,
            self.tenant,
            role,
            employee,
            clock::now(),
            Duration::from_secs(600),
        )
        .expect("a token")
    }

    async fn ask(&self, role: Role, document: &str) -> Value {
        let answer = self
            .post(role, json!({"query": document}))
            .send()
            .await
            .expect("an answer");
        answer.json().await.expect("json")
    }

    fn post(&self, role: Role, body: Value) -> reqwest::RequestBuilder {
        self.http
            .post(format!("http://{}/graphql", self.address))
            .bearer_auth(self.token(role))
            .json(&body)
    }

    async fn write<F>(&self, work: F)
    where
        F: for<'c> FnOnce(
                &'c mut infra::database::Connection,
            )
                -> futures_util::future::BoxFuture<'c, Result<(), infra::database::DatabaseError>>
            + Send
            + 'static,
    {
        self.database
            .transact(Access::Write, &[self.tenant], work)
            .await
            .expect("written");
    }
}

/// The employee with this number in this tenant. Employee 0 manages the first half.
fn id(tenant: TenantId, number: u128) -> EmployeeId {
    EmployeeId::from_uuid(Uuid::from_u128(tenant.uuid().as_u128() ^ (number + 1) << 4))
}

fn person(tenant: TenantId, number: u128) -> EmployeeRow {
    EmployeeRow {
        tenant: tenant.uuid(),
        id: id(tenant, number).uuid(),
        connection: None,
        remote_id: Some(number.to_string()),
        // Some share a name, and the last has none any more.
        display_name: (number != PEOPLE - 1).then(|| format!("Person {:02}", number / 2)),
        work_email: Some("x@example.com".into()),
        work_phone: None,
        mobile_phone: None,
        job_title: Some("Cashier".into()),
        department: Some(
            if number < 3 {
                "Tiny"
            } else if number < 20 {
                "Middle"
            } else {
                "Large"
            }
            .to_owned(),
        ),
        division: None,
        location: Some("Leeds".into()),
        manager: (number > 0 && number <= PEOPLE / 2).then(|| id(tenant, 0).uuid()),
        status: "ACTIVE".into(),
        hired_on: Date::from_ymd_opt(2024, 1, 1).expect("a day"),
        left_on: None,
        notice_on: None,
        last_day: None,
        weekly_minutes: None,
        objects_to_scoring: false,
        next_change_on: None,
        position: 1,
    }
}

fn score(tenant: TenantId, number: u128, probability: f64) -> RiskRow {
    let factor = Factor {
        feature: "pay_age".into(),
        label: "no raise for 2.4 years".into(),
        contribution: 0.5,
    };
    serde_json::from_value::<Vec<Factor>>(json!([factor])).map_or_else(
        |_| unreachable!("a list of factors"),
        |factors| RiskRow {
            tenant: tenant.uuid(),
            employee: id(tenant, number).uuid(),
            probability,
            horizon_days: 180,
            band: Bands::default().band(probability).name().into(),
            factors: factors.into(),
            model: "m1".into(),
            scored_at: Timestamp::UNIX_EPOCH,
            position: 1,
            vector: Some("00ff".into()),
        },
    )
}

async fn fill(live: &Live) {
    let tenant = live.tenant;
    live.write(move |connection| {
        Box::pin(async move {
            let people: Vec<EmployeeRow> = (0..PEOPLE).map(|number| person(tenant, number)).collect();
            employee::upsert(connection, &people).await?;
            // Every fifth has no score; scores repeat.
            let scores: Vec<RiskRow> = (0..PEOPLE)
                .filter(|n| n % 5 != 0)
                .map(|n| score(tenant, n, (n % 7) as f64 / 7.0))
                .collect();
            risk::upsert(connection, &scores).await?;
            let row = settings::SettingsRow {
                tenant: tenant.uuid(),
                name: "Acme".into(),
                bands: Bands::default().into(),
                model: None,
                challenger: None,
                position: 1,
            };
            settings::upsert(connection, &row).await?;
            let mut changes = stats::Changes::default();
            let heads = |headcount| stats::Counts {
                headcount,
                on_leave: 0,
                on_notice: 0,
                departed: 0,
            };
            changes.departments.insert((tenant.uuid(), "Tiny".into()), heads(3));
            changes.departments.insert((tenant.uuid(), "Middle".into()), heads(17));
            changes.departments.insert((tenant.uuid(), "Large".into()), heads(40));
            changes.teams.insert((tenant.uuid(), id(tenant, 0).uuid()), heads(30));
            stats::apply(connection, &changes).await
        })
    })
    .await;
}

/// Every page of a list, forwards or backwards, as ids.
async fn all(live: &Live, role: Role, order: &str, backwards: bool) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let place = cursor
            .as_ref()
            .map(|cursor| format!(", {}: \"{cursor}\"", if backwards { "before" } else { "after" }))
            .unwrap_or_default();
        let size = if backwards { "last: 7" } else { "first: 7" };
        let document = format!(
            "{{ employees({size}{place}, orderBy: {order}) {{ totalCount edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
        );
        let answer = live.ask(role, &document).await;
        let page = &answer["data"]["employees"];
        let mut page_ids: Vec<String> = page["edges"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .iter()
            .map(|edge| edge["node"]["id"].as_str().expect("an id").to_owned())
            .collect();
        let (more, next) = if backwards {
            ("hasPreviousPage", "startCursor")
        } else {
            ("hasNextPage", "endCursor")
        };
        if backwards {
            page_ids.extend(ids);
            ids = page_ids;
        } else {
            ids.extend(page_ids);
        }
        if page["pageInfo"][more] != json!(true) {
            assert_eq!(page["totalCount"], json!(ids.len()), "{order}");
            return ids;
        }
        cursor = page["pageInfo"][next].as_str().map(str::to_owned);
    }
}

#[tokio::test]
async fn lists_are_whole_and_the_same_both_ways() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    for order in ["NAME", "RISK"] {
        for (role, count) in [(Role::HrManager, 60), (Role::Analyst, 60), (Role::StoreManager, 30)] {
            let forwards = all(&live, role, order, false).await;
            let mut distinct = forwards.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(
                (forwards.len(), distinct.len()),
                (count, count),
                "{order} {}",
                role.name()
            );
            assert_eq!(forwards, all(&live, role, order, true).await, "{order} {}", role.name());
        }
    }
    let nameless = all(&live, Role::HrManager, "NAME", false).await.pop();
    assert_eq!(
        nameless,
        Some(id(live.tenant, PEOPLE - 1).to_string()),
        "the nameless come last"
    );
}

#[tokio::test]
async fn an_employee_is_shown_with_everything_that_hangs_on_it() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let tenant = live.tenant;
    write_note(&live, 4, "likes the night shift").await;
    let document = format!(
        "{{ employee(id: \"{}\") {{ id displayName workEmail status hiredOn manager {{ id displayName team(first: 3) {{ totalCount nodes {{ displayName risk {{ band }} }} pageInfo {{ hasNextPage endCursor }} }} }}
            risk {{ probability horizonDays band factors {{ feature label contribution }} model scoredAt position }} riskHistory {{ band }}
            timeline {{ edges {{ cursor node {{ position type effectiveOn recordedAt source summary details }} }} }} }} }}",
        id(tenant, 4)
    );
    let answer = live.ask(Role::HrManager, &document).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let employee = &answer["data"]["employee"];
    assert_eq!(
        (&employee["displayName"], &employee["workEmail"]),
        (&json!("Person 02"), &json!("x@example.com"))
    );
    assert_eq!(employee["manager"]["team"]["totalCount"], 30);
    assert_eq!(employee["manager"]["team"]["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(employee["risk"]["factors"][0]["label"], "no raise for 2.4 years");
    let entry = &employee["timeline"]["edges"][0]["node"];
    assert_eq!(
        (&entry["type"], &entry["summary"]),
        (&json!("employee.note-written"), &json!("Note: likes the night shift"))
    );

    let seen = live.ask(Role::Analyst, &document).await;
    let text = seen.to_string();
    assert!(
        seen.get("errors").is_none()
            && !text.contains("Person")
            && !text.contains("night shift")
            && !text.contains("@"),
        "{text}"
    );
    assert!(
        seen["data"]["employee"]["displayName"]
            .as_str()
            .is_some_and(|name| name.starts_with("Employee "))
    );

    let own = live.ask(Role::StoreManager, &document).await;
    assert_eq!(
        own["data"]["employee"]["timeline"]["edges"][0]["node"]["summary"], "Note: likes the night shift",
        "{own}"
    );
    let other = live
        .ask(
            Role::StoreManager,
            &format!("{{ employee(id: \"{}\") {{ id }} }}", id(tenant, PEOPLE - 2)),
        )
        .await;
    let absent = live
        .ask(
            Role::StoreManager,
            &format!("{{ employee(id: \"{}\") {{ id }} }}", Uuid::nil()),
        )
        .await;
    assert_eq!(other, absent, "absent and out of reach look the same");
    let me = live
        .ask(
            Role::StoreManager,
            "{ viewer { role employee { displayName risk { band } } } }",
        )
        .await;
    assert_eq!(
        me["data"]["viewer"],
        json!({"role": "store_manager", "employee": {"displayName": "Person 00", "risk": null}}),
        "{me}"
    );
}

async fn write_note(live: &Live, number: u128, text: &str) {
    let tenant = live.tenant;
    live.keyring.ensure_tenant(tenant).await.expect("a tenant's key");
    let person = id(tenant, number).uuid();
    let (new, key) = live.keyring.new_subject((tenant, person)).await.expect("a key");
    let event = AnyEvent::Employee(Event::NoteWritten(Note {
        on: clock::today(),
        text: Personal::Open(text.to_owned()),
    }));
    let mut encoded = event.encode().expect("encodes");
    let stream = StreamId::new(tenant, Kind::Employee, person);
    let event_id = EventId::from_uuid(clock::new_id());
    key.seal(
        Place {
            stream: &stream,
            event_id,
            schema_version: encoded.schema_version,
        },
        &mut encoded.payload,
    )
    .expect("sealed");
    assert!(!encoded.payload.to_string().contains(text));
    let row = timeline::TimelineRow {
        tenant: tenant.uuid(),
        employee: person,
        position: 7,
        kind: "employee".into(),
        stream_id: person,
        event_id: event_id.uuid(),
        event_type: encoded.event_type,
        schema_version: encoded.schema_version,
        effective_on: clock::today(),
        recorded_at: clock::now(),
        actor: "user:7".into(),
        data: encoded.payload.to_string().into_bytes(),
    };
    live.write(move |connection| {
        Box::pin(async move {
            sealing::store_subject_keys(connection, &[new]).await?;
            timeline::add(connection, &[row]).await
        })
    })
    .await;
}

#[tokio::test]
async fn filters_find_what_they_say_and_nothing_else() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let manager = id(live.tenant, 0);
    for (filter, count) in [
        ("search: \"PERSON 0\"".to_owned(), 20),
        ("search: \"%\"".to_owned(), 0),
        ("department: \"Tiny\"".to_owned(), 3),
        ("location: \"Leeds\"".to_owned(), 60),
        ("band: CRITICAL".to_owned(), 0),
        (
            "band: [HIGH, MEDIUM]".to_owned(),
            (0..PEOPLE).filter(|n| n % 5 != 0 && n % 7 != 0).count(),
        ),
        (format!("manager: \"{manager}\""), 30),
        ("status: ON_LEAVE".to_owned(), 0),
        ("status: ACTIVE, department: \"Middle\"".to_owned(), 17),
    ] {
        for order in ["NAME", "RISK"] {
            let answer = live.ask(Role::HrManager, &format!("{{ employees(first: 100, orderBy: {order}, filter: {{{filter}}}) {{ totalCount nodes {{ id }} }} }}")).await;
            let found = &answer["data"]["employees"];
            assert_eq!(
                (&found["totalCount"], found["nodes"].as_array().map(Vec::len)),
                (&json!(count), Some(count)),
                "{filter} {order}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn aggregates_hide_small_groups_from_executives() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let document = "{ riskOverview(groupBy: DEPARTMENT) { suppressedGroups total { headcount scored } groups { key headcount averageProbability bands { low } suppressed } } departments { name headcount } teams { manager managerName headcount } }";
    let hr = live.ask(Role::HrManager, document).await;
    assert_eq!(hr["data"]["riskOverview"]["suppressedGroups"], 0, "{hr}");
    assert_eq!(hr["data"]["teams"][0]["managerName"], "Person 00");
    let executive = live.ask(Role::Executive, document).await;
    assert!(executive.get("errors").is_none(), "{executive}");
    let overview = &executive["data"]["riskOverview"];
    assert_eq!(
        (&overview["suppressedGroups"], &overview["total"]["headcount"]),
        (&json!(2), &json!(60)),
        "{executive}"
    );
    assert!(!executive.to_string().contains("Person"), "{executive}");
    for grouping in ["LOCATION", "BAND", "MANAGER"] {
        let answer = live
            .ask(
                Role::Executive,
                &format!("{{ riskOverview(groupBy: {grouping}) {{ groups {{ key label headcount }} }} }}"),
            )
            .await;
        assert!(
            answer.get("errors").is_none() && !answer.to_string().contains("Person"),
            "{answer}"
        );
    }
    assert_eq!(
        live.ask(Role::Executive, "{ employees { nodes { id } } }").await["errors"][0]["extensions"]["code"],
        "FORBIDDEN"
    );
    assert_eq!(
        live.ask(
            Role::Admin,
            "{ tenant { name bands { highAbove } model } status { logHead readModelPosition } connections { id } }"
        )
        .await["data"]["tenant"]["name"],
        "Acme"
    );
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let person = id(live.tenant, 4);
    let mut other = live;
    other.tenant = TenantId::from_uuid(clock::new_id());
    let answer = other.ask(Role::Admin, &format!("{{ employee(id: \"{person}\") {{ id }} employees {{ totalCount nodes {{ id }} }} departments {{ name }} teams {{ manager }} riskOverview {{ total {{ headcount }} }} }}")).await;
    assert_eq!(
        answer["data"],
        json!({"employee": null, "employees": {"totalCount": 0, "nodes": []}, "departments": [], "teams": [], "riskOverview": {"total": {"headcount": 0}}}),
        "{answer}"
    );
}

#[tokio::test]
async fn requests_are_answered_as_graphql_over_http_says() {
    let Some(live) = Live::start().await else { return };
    let status = json!({"query": "{ status { logHead } }"});
    let strict = "application/graphql-response+json";
    let with = |accept: &'static str, body: Value| live.post(Role::HrManager, body).header("accept", accept);
    for (what, request, expected, media) in [
        ("a query", with(strict, status.clone()), 200, strict),
        (
            "a legacy client",
            with("application/json", status.clone()),
            200,
            "application/json",
        ),
        (
            "a document that does not parse",
            with(strict, json!({"query": "{"})),
            400,
            strict,
        ),
        (
            "the same, legacy",
            with("application/json", json!({"query": "{"})),
            200,
            "application/json",
        ),
        (
            "an unknown field",
            with(strict, json!({"query": "{ nothing }"})),
            422,
            strict,
        ),
        (
            "a subscription",
            with(
                strict,
                json!({"query": "subscription { riskChanged { risk { band } } }"}),
            ),
            422,
            strict,
        ),
        (
            "a batch",
            with(strict, json!([status])),
            400,
            "application/problem+json",
        ),
        (
            "another media type",
            with("text/csv", status.clone()),
            406,
            "application/problem+json",
        ),
        (
            "too large",
            with(strict, json!({"query": "x".repeat(70_000)})),
            413,
            "application/problem+json",
        ),
        (
            "a bad position",
            with(strict, status.clone()).header("tenure-min-position", "soon"),
            400,
            "application/problem+json",
        ),
        (
            "text",
            live.http
                .post(format!("http://{}/graphql", live.address))
                .bearer_auth(live.token(Role::Admin))
                .body("{ status { logHead } }"),
            415,
            "application/problem+json",
        ),
        (
            "nobody",
            live.http.post(format!("http://{}/graphql", live.address)).json(&status),
            401,
            "application/problem+json",
        ),
        (
            "a forged token",
            live.http
                .post(format!("http://{}/graphql", live.address))
                .bearer_auth("a.b.c")
                .json(&status),
            401,
            "application/problem+json",
        ),
        (
            "GET",
            live.http
                .get(format!("http://{}/graphql?query={{status}}", live.address))
                .header("accept", "text/html"),
            405,
            "application/problem+json",
        ),
    ] {
        let answer = request.send().await.expect("an answer");
        let content = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(
            (answer.status().as_u16(), content.starts_with(media)),
            (expected, true),
            "{what}: {content} {}",
            answer.text().await.unwrap_or_default()
        );
    }
}

#[tokio::test]
async fn a_query_waits_for_the_position_it_asks_for() {
    let Some(live) = Live::start().await else { return };
    // A partition of its own, so that runs do not disturb each other.
    let partition = i32::try_from(live.tenant.uuid().as_u128() % 1_000_000).expect("small") + 1_000;
    let ask = |position: i64| {
        live.post(Role::HrManager, json!({"query": "{ tenant { name } }"}))
            .header("tenure-min-position", format!("{partition}.{position}"))
    };
    let move_to = |position: i64| {
        live.write(move |connection| {
            Box::pin(async move {
                for consumer in CONSUMERS {
                    let claimed = checkpoint::claim(connection, consumer, topics::EVENTS, &[partition]).await?;
                    let step = checkpoint::Step {
                        from: claimed[0],
                        next_offset: claimed[0].next_offset + 1,
                        position,
                        recorded_at: None,
                    };
                    checkpoint::advance(connection, consumer, topics::EVENTS, &[step]).await?;
                }
                Ok(())
            })
        })
    };
    move_to(5).await;
    assert_eq!(ask(5).send().await.expect("an answer").status(), 200);
    let waiting = tokio::spawn(ask(6).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    move_to(6).await;
    assert_eq!(waiting.await.expect("joined").expect("an answer").status(), 200);
    let late = ask(7).send().await.expect("an answer");
    assert_eq!(
        (late.status().as_u16(), late.headers().contains_key("retry-after")),
        (503, true)
    );
    assert_eq!(
        late.json::<Value>().await.expect("json")["errors"][0]["extensions"]["code"],
        "NOT_FRESH"
    );
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(live: &Live, protocol: &str) -> Socket {
    let mut request = format!("ws://{}/graphql", live.address)
        .into_client_request()
        .expect("a request");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol.parse().expect("a value"));
    tokio_tungstenite::connect_async(request).await.expect("connected").0
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("sent");
}

/// The next message, or the code of the close.
async fn hear(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match tokio::time::timeout(Duration::from_secs(5), socket.next())
            .await
            .expect("in time")
            .expect("more")
            .expect("received")
        {
            Message::Text(text) => return Ok(serde_json::from_str(&text).expect("json")),
            Message::Close(frame) => return Err(frame.map_or(0, |frame| frame.code.into())),
            _ => {}
        }
    }
}

#[tokio::test]
async fn subscriptions_tell_what_the_viewer_reaches_and_nothing_else() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let tenant = live.tenant;
    let mut socket = connect(&live, "graphql-transport-ws").await;
    say(&mut socket, json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {}", live.token(Role::StoreManager))}})).await;
    assert_eq!(hear(&mut socket).await, Ok(json!({"type": "connection_ack"})));
    say(&mut socket, json!({"type": "subscribe", "id": "1", "payload": {"query": "subscription { riskChanged { employee { id displayName } risk { band } } }"}})).await;
    say(
        &mut socket,
        json!({"type": "subscribe", "id": "2", "payload": {"query": "{ tenant { name } }"}}),
    )
    .await;
    assert_eq!(
        hear(&mut socket).await,
        Ok(json!({"id": "2", "type": "next", "payload": {"data": {"tenant": {"name": "Acme"}}}}))
    );
    assert_eq!(hear(&mut socket).await, Ok(json!({"id": "2", "type": "complete"})));
    say(
        &mut socket,
        json!({"type": "subscribe", "id": "3", "payload": {"query": "{ nothing }"}}),
    )
    .await;
    let refused = hear(&mut socket).await.expect("a message");
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("INVALID")),
        "{refused}"
    );
    let (mine, others) = (id(tenant, 4).uuid(), id(tenant, PEOPLE - 2).uuid());
    let elsewhere = TenantId::from_uuid(clock::new_id());
    let announce = || {
        live.write(move |connection| {
            Box::pin(async move {
                risk::announce(connection, elsewhere, &[mine]).await?;
                risk::announce(connection, tenant, &[others]).await?;
                risk::announce(connection, tenant, &[others, mine]).await
            })
        })
    };
    // The listener may still be connecting, and what is announced before is lost.
    announce().await;
    let told = loop {
        match tokio::time::timeout(Duration::from_millis(100), socket.next()).await {
            Ok(message) => break message.expect("more").expect("received").into_text().expect("text"),
            Err(_not_yet) => announce().await,
        }
    };
    let told: Value = serde_json::from_str(&told).expect("json");
    let about_me = json!({"id": mine, "displayName": "Person 02"});
    assert_eq!(told["payload"]["data"]["riskChanged"]["employee"], about_me, "{told}");
    say(&mut socket, json!({"type": "ping"})).await;
    loop {
        let told = hear(&mut socket).await.expect("a message");
        if told == json!({"type": "pong"}) {
            break;
        }
        let employee = &told["payload"]["data"]["riskChanged"]["employee"];
        assert_eq!(employee, &about_me, "nothing about anybody else: {told}");
    }
    live.shutdown.cancel();
    assert_eq!(hear(&mut socket).await, Err(1001));
}

#[tokio::test]
async fn sockets_that_break_the_protocol_are_closed_by_its_codes() {
    let Some(live) = Live::start().await else { return };
    let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {}", live.token(Role::HrManager))}});
    let subscribe =
        json!({"type": "subscribe", "id": "1", "payload": {"query": "subscription { riskChanged { risk { band } } }"}});
    for (what, protocol, messages, code) in [
        (
            "a bad token",
            "graphql-transport-ws",
            vec![json!({"type": "connection_init", "payload": {"Authorization": "Bearer a.b.c"}})],
            4403,
        ),
        (
            "no token",
            "graphql-transport-ws",
            vec![json!({"type": "connection_init"})],
            4403,
        ),
        (
            "subscribing first",
            "graphql-transport-ws",
            vec![subscribe.clone()],
            4401,
        ),
        (
            "initialising twice",
            "graphql-transport-ws",
            vec![init.clone(), init.clone()],
            4429,
        ),
        (
            "one id twice",
            "graphql-transport-ws",
            vec![init.clone(), subscribe.clone(), subscribe.clone()],
            4409,
        ),
        (
            "no message",
            "graphql-transport-ws",
            vec![init.clone(), json!({"type": "start"})],
            4400,
        ),
    ] {
        let mut socket = connect(&live, protocol).await;
        for message in messages {
            say(&mut socket, message).await;
        }
        let closed = loop {
            if let Err(code) = hear(&mut socket).await {
                break code;
            }
        };
        assert_eq!(closed, code, "{what}");
    }
}

/// A page of fifty with risk and managers is two statements in one transaction, teams of a page one more, their risks
/// another: `log_statement = all` shows it.
#[tokio::test]
async fn a_page_with_everything_on_it_is_answered() {
    let Some(live) = Live::start().await else { return };
    fill(&live).await;
    let fields = "id displayName jobTitle department location status hiredOn manager { id displayName } risk { probability horizonDays band factors { feature label contribution } model scoredAt position }";
    let answer = live
        .ask(
            Role::HrManager,
            &format!(
                "{{ employees(first: 50, filter: {{search: \"person\"}}) {{ edges {{ node {{ {fields} }} }} }} }}"
            ),
        )
        .await;
    assert_eq!(
        answer["data"]["employees"]["edges"].as_array().map(Vec::len),
        Some(50),
        "{answer}"
    );
    let answer = live.ask(Role::HrManager, "{ employees(first: 10, filter: {search: \"person\"}) { nodes { team(first: 5) { nodes { id risk { band } } } } } }").await;
    assert!(answer.get("errors").is_none(), "{answer}");
}

/// Every role, and nobody, at the one question that is not GraphQL.
#[tokio::test]
async fn model_performance_is_for_those_who_may_see_aggregates() {
    let Some(live) = Live::start().await else { return };
    let tenant = live.tenant;
    live.write(move |connection| {
        Box::pin(async move {
            let model = NewModel {
                version: "m1",
                artifact: b"opaque",
                card: json!({"learner": "additive"}),
                created_at: Timestamp::UNIX_EPOCH,
            };
            model_registry::store(connection, tenant, model).await?;
            let before = json!({"words": ["as predicted"], "truth": {"scores": 7}});
            let mut after = before.clone();
            after["fairness"] = json!({"people": 40});
            for (report, audited) in [(before, false), (after, true)] {
                model_registry::report(connection, tenant, "m1", Timestamp::UNIX_EPOCH, report).await?;
                assert_eq!(
                    model_registry::last_report(connection, tenant, "m1").await?,
                    Some(LastReport {
                        made_at: Timestamp::UNIX_EPOCH,
                        scores: 7,
                        audited
                    })
                );
            }
            Ok(())
        })
    })
    .await;
    let url = format!("http://{}/analytics/model-performance", live.address);
    for role in Role::ALL {
        let answer = live
            .http
            .get(&url)
            .bearer_auth(live.token(role))
            .send()
            .await
            .expect("an answer");
        if role == Role::StoreManager {
            assert_eq!(answer.status(), 403);
            continue;
        }
        assert_eq!(answer.status(), 200, "{role:?}");
        let body: Value = answer.json().await.expect("json");
        assert_eq!(body["models"][0]["version"], "m1");
        assert_eq!(body["models"][0]["performance"]["words"][0], "as predicted");
        assert_eq!(body["models"][0]["performance"]["fairness"]["people"], 40);
        let graph = live
            .ask(role, "{ models { version kind findings fairness inUse } }")
            .await;
        let model = json!({"version": "m1", "kind": "additive", "findings": ["as predicted"], "fairness": {"people": 40}, "inUse": false});
        assert_eq!(graph["data"]["models"], json!([model]));
    }
    let answer = live.http.get(&url).send().await.expect("an answer");
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}
