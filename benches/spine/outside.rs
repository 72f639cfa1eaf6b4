//! `tenure up` as its users have it: a process with an address, tenants that ask it things, a vendor that tells it things.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{id::TenantId, policy::Role};
use futures_util::{SinkExt, StreamExt};
use infra::{auth, clock, database::Database, sealing::Keyring};
use rand::seq::IndexedRandom;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tenure::{
    config,
    demo::{
        bamboohr::{ServerOptions, SimulatedBambooHr},
        company::{Company, EmployeeId, Plan},
        webhooks::{PayloadStyle, RetryLadder, WebhookSender, WebhookTarget},
    },
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::{
    report::tell,
    stage::{settings, until},
};

pub const WEBHOOK_KEY: &str = "bench-private-key";
const API_KEY: &str = "bench-api-key";
/// How long a second tenant's tokens are valid.
const TOKEN_VALID: Duration = Duration::from_secs(24 * 60 * 60);

/// A running `tenure up`.
pub struct Tenure {
    process: Child,
    pub url: String,
    data_dir: PathBuf,
    pub started_in: Duration,
}

impl Tenure {
    /// Starts it on the same data and waits for the line `ready`.
    pub fn start(data_dir: &Path, brokers: Option<&str>) -> Self {
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
        Self {
            process,
            url: ready.split_whitespace().nth(1).expect("an address").to_owned(),
            data_dir: data_dir.to_owned(),
            started_in,
        }
    }

    /// The tenant that it has made by itself.
    pub fn tenant(&self) -> Tenant {
        let tokens = std::fs::read_to_string(self.data_dir.join("dev-tokens.json")).expect("tokens");
        self.with_tokens(serde_json::from_str(&tokens).expect("JSON"))
    }

    /// A tenant beside it.
    pub async fn another_tenant(&self) -> Tenant {
        let settings = settings(&self.data_dir);
        let (master, url) = (
            settings.master().expect("a master key"),
            settings.database_url().expect("an address"),
        );
        let (id, secret) = (
            TenantId::from_uuid(clock::new_id()),
            config::development_secret(&master),
        );
        let database = Database::new(&url, &master).expect("an address");
        let keyring = Keyring::new(master, database.clone());
        keyring.ensure_tenant(id).await.expect("a tenant's key");
        database.close().await;
        let tokens = [Role::Admin, Role::HrManager].map(|role| {
            let token = auth::development_token(&secret, id, role, None, clock::now(), TOKEN_VALID);
            (role.name().to_owned(), Value::from(token.expect("a token")))
        });
        self.with_tokens(tokens.into_iter().collect())
    }

    fn with_tokens(&self, tokens: Value) -> Tenant {
        Tenant {
            url: self.url.clone(),
            tokens,
            http: reqwest::Client::new(),
        }
    }

    pub fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }

    pub fn stop(&mut self) {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        self.process.wait().ok();
    }

    pub fn resident_megabytes(&self) -> f64 {
        kilobytes(&format!("/proc/{}/status", self.process.id()), "VmRSS:") / 1024.0
    }

    /// All processes of the data directory's Postgres, shared memory counted once.
    pub fn postgres_megabytes(&self) -> f64 {
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

/// Who asks it things.
pub struct Tenant {
    url: String,
    tokens: Value,
    http: reqwest::Client,
}

impl Tenant {
    fn token(&self, role: Role) -> &str {
        self.tokens[role.name()].as_str().expect("a token")
    }

    /// A POST of its administrator.
    pub fn post(&self, path: &str) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.url));
        request.bearer_auth(self.token(Role::Admin))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub async fn graphql(&self, query: &str) -> Value {
        let answer = told(self.post("/graphql").json(&json!({ "query": query }))).await;
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }
}

/// What is answered, whatever the status.
pub async fn told(request: RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

/// Connects a simulated vendor as an administrator would, and waits until everybody is read and scored. Answers the vendor and where
/// its webhooks go.
pub async fn connect(tenant: &Tenant, people: usize) -> (SimulatedBambooHr, String) {
    tell(&format!("importing {people} people"));
    let company = Company::generate(&Plan::new(7, people, 2, clock::today()));
    let domain = company.domain.clone();
    let employed = company.headcount_on(clock::today()) as u64;
    let vendor = SimulatedBambooHr::start(Arc::new(Mutex::new(company)), ServerOptions::new(API_KEY))
        .await
        .expect("a vendor");
    let request = json!({"company_domain": domain, "api_key": API_KEY, "webhook_keys": [WEBHOOK_KEY], "base_url": vendor.base_url()});
    let answer = told(tenant.post("/v1/integrations/bamboohr").json(&request)).await;
    let webhook_url = answer["webhook_url"].as_str().expect("an address").to_owned();
    until("the import", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let overview = tenant
            .graphql("{ connections { synchronisedAt } riskOverview { total { scored } } }")
            .await;
        let scored = overview["riskOverview"]["total"]["scored"].as_u64().unwrap_or(0);
        // Some are on notice, and not scored.
        !overview["connections"][0]["synchronisedAt"].is_null() && scored * 10 >= employed * 9
    })
    .await;
    (vendor, webhook_url)
}

/// Rates of pay that have not been given to anybody yet, in hundredths.
static RATES: AtomicU32 = AtomicU32::new(0);

/// Webhooks under way, by the person they are about.
type UnderWay = Arc<Mutex<HashMap<String, Instant>>>;

/// Sends webhooks about different people, so many a second, while `during` goes on, each with a change of pay. Answers what came of
/// `during`, and for each webhook after how many seconds it was sent, and how many milliseconds later its score was told through GraphQL.
pub async fn freshness<T>(
    tenant: &Tenant,
    (vendor, webhook_url): &(SimulatedBambooHr, String),
    per_second: u64,
    during: impl Future<Output = T>,
) -> (T, Vec<(f64, f64)>) {
    let people = scored_people(tenant, vendor).await;
    let under_way: UnderWay = Arc::default();
    let latencies: Arc<Mutex<Vec<(Instant, f64)>>> = Arc::default();
    let listening = tokio::spawn(listen(
        tenant.url.replace("http://", "ws://"),
        tenant.token(Role::HrManager).to_owned(),
        Arc::clone(&under_way),
        Arc::clone(&latencies),
    ));
    // Nobody tells when a subscription has begun, and what it misses is waited for in vain.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let target = WebhookTarget::new(webhook_url, WEBHOOK_KEY, PayloadStyle::EventJson);
    let sender = WebhookSender::new(target, RetryLadder(vec![])).expect("a sender");
    let begun = Instant::now();
    let sending = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(per_second).expect("few"));
        for nth in RATES.fetch_add(10_000, Ordering::Relaxed).. {
            ticks.tick().await;
            // Nobody twice at once: one score would answer both.
            let Some((id, name)) = free(&people, &under_way) else {
                continue;
            };
            // A rate that this person never had.
            let rate = format!("{}.{:02}", 20 + nth / 100, nth % 100);
            let change = vendor.set_field(id, "payRate", &rate).expect("a change");
            lock(&under_way).insert(name, Instant::now());
            let (sender, company) = (sender.clone(), vendor.shared_company());
            tokio::spawn(async move {
                for outcome in sender.send_changes(&company, &[change]).await {
                    outcome.expect("the webhook is taken");
                }
            });
        }
    };
    let done = tokio::select! {
        done = during => done,
        () = sending => unreachable!("it has no end"),
    };
    until("the last scores", async || lock(&under_way).is_empty()).await;
    listening.abort();
    let latencies = lock(&latencies)
        .iter()
        .map(|(sent_at, latency)| (sent_at.duration_since(begun).as_secs_f64(), *latency))
        .collect();
    (done, latencies)
}

/// Scored people whose names are their own, with the ids that the vendor knows them by.
async fn scored_people(tenant: &Tenant, vendor: &SimulatedBambooHr) -> Vec<(EmployeeId, String)> {
    let mut names: HashMap<String, (usize, String)> = HashMap::new();
    let mut after = String::new();
    loop {
        let page = tenant
            .graphql(&format!("{{ employees(first: 100{after}) {{ edges {{ node {{ id workEmail risk {{ position }} }} }} pageInfo {{ endCursor hasNextPage }} }} }}"))
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
    assert!(people.len() > 100, "{} people are scored", people.len());
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
