//! `tenure up` as its users run it: from a webhook to a visible score, restarts, memory.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use infra::clock;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tenure::demo::{
    bamboohr::{ServerOptions, SimulatedBambooHr},
    company::{Company, EmployeeId, Plan},
    webhooks::{PayloadStyle, RetryLadder, WebhookSender, WebhookTarget},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::{
    report::{Row, quantile, tell},
    stage::{Kafka, folder, until},
};

const EMPLOYEES: usize = 600;
const WEBHOOKS_PER_SECOND: u64 = 50;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(30);
const RESTARTS: usize = 3;
const WEBHOOK_KEY: &str = "bench-private-key";
const API_KEY: &str = "bench-api-key";

pub async fn run(real_kafka: bool) -> Vec<Row> {
    let folder = folder();
    // The embedded broker is the process's own; another one must be there before.
    let kafka = if real_kafka || std::env::var_os("KAFKA_BROKERS").is_some() {
        Some(Kafka::start(folder.path(), real_kafka).await)
    } else {
        None
    };
    let brokers = kafka.as_ref().map(|kafka| kafka.brokers().addresses.clone());
    let start = || Tenure::start(&folder.path().join("data"), brokers.as_deref());

    let mut tenure = start();
    let (vendor, webhook_url) = connect(&tenure).await;
    let mut latencies = freshness(&tenure, &vendor, &webhook_url).await;
    latencies.sort_by(f64::total_cmp);
    let (p50, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));

    tell(&format!("product: at rest for {REST:?}"));
    tokio::time::sleep(REST).await;
    let (resident, postgres) = (tenure.resident_megabytes(), tenure.postgres_megabytes());

    let (mut after_kill, mut after_stop) = (Vec::new(), Vec::new());
    for round in 1..=RESTARTS {
        tell(&format!("product: restarts, round {round} of {RESTARTS}"));
        tenure.kill();
        tenure = start();
        after_kill.push(tenure.started_in.as_secs_f64());
        tenure.stop();
        tenure = start();
        after_stop.push(tenure.started_in.as_secs_f64());
    }
    tell(&format!("product: at rest for {REST:?} after a restart"));
    tokio::time::sleep(REST).await;
    let resident_fresh = tenure.resident_megabytes();
    tenure.stop();
    let worst = |figures: &[f64]| figures.iter().copied().fold(0.0, f64::max);
    vec![
        Row::new(
            format!(
                "webhook to visible score at {WEBHOOKS_PER_SECOND}/s, p50 of {}",
                latencies.len()
            ),
            p50,
            "ms",
        )
        .at_most(60.0),
        Row::new("webhook to visible score, p99", p99, "ms").at_most(250.0),
        Row::new(
            format!("restart after kill -9, worst of {RESTARTS}"),
            worst(&after_kill),
            "s",
        )
        .at_most(3.0),
        Row::new(
            format!("restart after a clean stop, worst of {RESTARTS}"),
            worst(&after_stop),
            "s",
        )
        .at_most(3.0),
        Row::new("resident memory at rest, after that load", resident, "MB").at_most(300.0),
        Row::new("resident memory at rest, after a restart", resident_fresh, "MB").at_most(300.0),
        Row::new("  its Postgres (proportional, all processes)", postgres, "MB"),
    ]
}

/// A running `tenure up`.
struct Tenure {
    process: Child,
    url: String,
    data_dir: PathBuf,
    started_in: Duration,
    tokens: Value,
}

impl Tenure {
    /// Starts it on the same data and waits for the line `ready`.
    fn start(data_dir: &Path, brokers: Option<&str>) -> Self {
        let begun = Instant::now();
        std::fs::create_dir_all(data_dir).expect("a folder");
        std::os::unix::fs::chown(data_dir, None, None).expect("owned");
        std::fs::set_permissions(data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("permissions");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data_dir.join("tenure.log"))
            .expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .env_remove("DATABASE_URL")
            .env_remove("TENURE_MASTER_KEY")
            .env_remove("KAFKA_BROKERS");
        if let Some(brokers) = brokers {
            command.env("KAFKA_BROKERS", brokers);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout")).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.starts_with("ready "))
            .expect("a line `ready`");
        let started_in = begun.elapsed();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let tokens = std::fs::read_to_string(data_dir.join("dev-tokens.json")).expect("tokens");
        Self {
            process,
            url: ready.split_whitespace().nth(1).expect("an address").to_owned(),
            data_dir: data_dir.to_owned(),
            started_in,
            tokens: serde_json::from_str(&tokens).expect("JSON"),
        }
    }

    fn token(&self, role: &str) -> &str {
        self.tokens[role].as_str().expect("a token")
    }

    async fn graphql(&self, http: &reqwest::Client, query: &str) -> Value {
        let answer: Value = http
            .post(format!("{}/graphql", self.url))
            .bearer_auth(self.token("admin"))
            .json(&json!({ "query": query }))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }

    fn stop(&mut self) {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        self.process.wait().ok();
    }

    fn resident_megabytes(&self) -> f64 {
        kilobytes(&format!("/proc/{}/status", self.process.id()), "VmRSS:") / 1024.0
    }

    /// All processes of the data directory's Postgres, shared memory counted once.
    fn postgres_megabytes(&self) -> f64 {
        let pid_file = self.data_dir.join("postgres/data/postmaster.pid");
        let Ok(text) = std::fs::read_to_string(pid_file) else {
            return 0.0;
        };
        let postmaster = text.lines().next().unwrap_or_default().to_owned();
        let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        std::iter::once(postmaster.as_str())
            .chain(children.as_deref().unwrap_or_default().split_whitespace())
            .map(|pid| kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:") / 1024.0)
            .sum()
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

fn kilobytes(file: &str, field: &str) -> f64 {
    std::fs::read_to_string(file)
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0.0)
}

/// Connects a simulated vendor as an administrator would, and waits until everybody is read and scored.
async fn connect(tenure: &Tenure) -> (SimulatedBambooHr, String) {
    tell(&format!("product: importing {EMPLOYEES} people"));
    let company = Company::generate(&Plan::new(7, EMPLOYEES, 2, clock::today()));
    let domain = company.domain.clone();
    let employed = company.headcount_on(clock::today()) as u64;
    let vendor = SimulatedBambooHr::start(Arc::new(Mutex::new(company)), ServerOptions::new(API_KEY))
        .await
        .expect("a vendor");
    let http = reqwest::Client::new();
    let request = json!({"company_domain": domain, "api_key": API_KEY, "webhook_keys": [WEBHOOK_KEY], "base_url": vendor.base_url()});
    let answer: Value = http
        .post(format!("{}/v1/integrations/bamboohr", tenure.url))
        .bearer_auth(tenure.token("admin"))
        .json(&request)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let webhook_url = answer["webhook_url"].as_str().expect("an address").to_owned();
    until("the import", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let overview = tenure
            .graphql(
                &http,
                "{ connections { synchronisedAt } riskOverview { total { scored } } }",
            )
            .await;
        let scored = overview["riskOverview"]["total"]["scored"].as_u64().unwrap_or(0);
        // Some are on notice, and not scored.
        !overview["connections"][0]["synchronisedAt"].is_null() && scored * 10 >= employed * 9
    })
    .await;
    (vendor, webhook_url)
}

/// Webhooks under way, by the person they are about.
type UnderWay = Arc<Mutex<HashMap<String, Instant>>>;

/// Milliseconds from the POST of a webhook until the new score is told through GraphQL.
async fn freshness(tenure: &Tenure, vendor: &SimulatedBambooHr, webhook_url: &str) -> Vec<f64> {
    let people = scored_people(tenure, vendor).await;
    let under_way: UnderWay = Arc::default();
    let latencies: Arc<Mutex<Vec<(Instant, f64)>>> = Arc::default();
    let listening = tokio::spawn(listen(
        tenure.url.replace("http://", "ws://"),
        tenure.token("hr_manager").to_owned(),
        Arc::clone(&under_way),
        Arc::clone(&latencies),
    ));
    tokio::time::sleep(Duration::from_millis(500)).await;

    tell(&format!(
        "product: {WEBHOOKS_PER_SECOND} webhooks a second for {MEASURED:?}"
    ));
    let target = WebhookTarget::new(webhook_url, WEBHOOK_KEY, PayloadStyle::EventJson);
    let sender = WebhookSender::new(target, RetryLadder(vec![])).expect("a sender");
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / WEBHOOKS_PER_SECOND));
    let begun = Instant::now();
    let mut sent = 0_u64;
    for nth in 0_u32.. {
        ticks.tick().await;
        if begun.elapsed() > WARM_UP + MEASURED {
            break;
        }
        // Nobody twice at once: one score would answer both.
        let Some((id, name)) = free(&people, &under_way) else {
            continue;
        };
        // A rate that this person never had.
        let rate = format!("{}.{:02}", 20 + nth / 100 % 60, nth % 100);
        let change = vendor.set_field(id, "payRate", &rate).expect("a change");
        lock(&under_way).insert(name, Instant::now());
        sent += 1;
        let (sender, company) = (sender.clone(), vendor.shared_company());
        tokio::spawn(async move {
            for outcome in sender.send_changes(&company, &[change]).await {
                outcome.expect("the webhook is taken");
            }
        });
    }
    until("the last scores", async || lock(&under_way).is_empty()).await;
    listening.abort();
    let latencies: Vec<f64> = lock(&latencies)
        .iter()
        .filter(|(sent_at, _)| *sent_at >= begun + WARM_UP)
        .map(|(_, latency)| *latency)
        .collect();
    tell(&format!(
        "product: {sent} webhooks sent, {} of them measured",
        latencies.len()
    ));
    latencies
}

/// Scored people whose names are their own, with the ids that the vendor knows them by.
async fn scored_people(tenure: &Tenure, vendor: &SimulatedBambooHr) -> Vec<(EmployeeId, String)> {
    let http = reqwest::Client::new();
    let mut names: HashMap<String, (usize, String)> = HashMap::new();
    let mut after = String::new();
    loop {
        let page = tenure
            .graphql(&http, &format!("{{ employees(first: 100{after}) {{ edges {{ node {{ id workEmail risk {{ position }} }} }} pageInfo {{ endCursor hasNextPage }} }} }}"))
            .await;
        for edge in page["employees"]["edges"].as_array().into_iter().flatten() {
            let node = &edge["node"];
            if let (Some(email), Some(id), false) =
                (node["workEmail"].as_str(), node["id"].as_str(), node["risk"].is_null())
            {
                names.entry(email.to_owned()).or_insert((0, id.to_owned())).0 += 1;
            }
        }
        if page["employees"]["pageInfo"]["hasNextPage"] != json!(true) {
            break;
        }
        after = format!(r#", after: {}"#, page["employees"]["pageInfo"]["endCursor"]);
    }
    let company = vendor.company();
    let people: Vec<_> = company
        .employees
        .iter()
        .filter_map(|employee| match names.get(&employee.work_email) {
            Some((1, id)) => Some((employee.id, id.clone())),
            _ => None,
        })
        .collect();
    assert!(people.len() > EMPLOYEES / 2, "{} people are scored", people.len());
    people
}

fn free(people: &[(EmployeeId, String)], under_way: &UnderWay) -> Option<(EmployeeId, String)> {
    let under_way = lock(under_way);
    (0..20).find_map(|_| {
        let person = people.choose(&mut rand::rng())?;
        (!under_way.contains_key(&person.1)).then(|| person.clone())
    })
}

/// Hears of every changed score, and notes how long it took.
async fn listen(url: String, token: String, under_way: UnderWay, latencies: Arc<Mutex<Vec<(Instant, f64)>>>) {
    let mut request = format!("{url}/graphql").into_client_request().expect("an address");
    request.headers_mut().insert(
        "sec-websocket-protocol",
        "graphql-transport-ws".parse().expect("a header"),
    );
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a socket");
    let messages = [
        json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {token}")}}),
        json!({"type": "subscribe", "id": "1", "payload": {"query": "subscription { riskChanged { employee { id } risk { probability position } } }"}}),
    ];
    let mut messages = messages.into_iter();
    let first = messages.next().expect("two messages");
    socket.send(Message::text(first.to_string())).await.expect("said");
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let heard: Value = serde_json::from_str(&text).expect("JSON");
        match heard["type"].as_str() {
            Some("connection_ack") => {
                let subscribe = messages.next().expect("one acknowledgement");
                socket.send(Message::text(subscribe.to_string())).await.expect("said");
            }
            Some("next") => {
                let id = heard["payload"]["data"]["riskChanged"]["employee"]["id"]
                    .as_str()
                    .unwrap_or_default();
                if let Some(sent_at) = lock(&under_way).remove(id) {
                    lock(&latencies).push((sent_at, sent_at.elapsed().as_secs_f64() * 1_000.0));
                }
            }
            Some("ping") => socket
                .send(Message::text(json!({"type": "pong"}).to_string()))
                .await
                .expect("said"),
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}
