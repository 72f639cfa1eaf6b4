//! The process is killed under load, at random moments and at named points; Postgres is killed beneath it. Afterwards
//! nothing that was acknowledged is lost or there twice, the log has no gap, and what is shown can be made again from it.
//!
//! `SEED` replays a run's choices, `TENURE_KILLS` says how often the process is killed (20).

use std::{
    collections::{BTreeMap, HashSet},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::Engine;
use domain::id::{CommandId, TenantId};
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tenure::demo::{
    company::EmployeeId,
    webhooks::{PayloadStyle, WebhookTarget, sign},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    faults::{Postgres, PrivateKafka, imported, lasting_address, psql, random, seed, settled, signal, sql},
    harness::{Connected, DataDir, Tenure, Vendor, eventually, today},
    journal::{Journal, Outcome},
    rebuild::compare,
    verify::verify,
};

/// Places in the code where a process that dies could do harm.
const FAIL_POINTS: [&str; 9] = [
    "after-intake-ack",
    "before-append",
    "after-append-before-offset",
    "after-append",
    "after-reading",
    "after-relay-before-checkpoint",
    "mid-projection",
    "after-projection",
    "after-outbox-send",
];
const KILLS_DEFAULT: usize = 20;
const POSTGRES_KILLS: usize = 2;
const WRITERS: u64 = 4;
const EMPLOYEES: usize = 30;
/// How long a fail point may take to be hit under load.
const HIT_PATIENCE: Duration = Duration::from_secs(120);
/// Tries of one request by a client that repeats what it got no answer to.
const TRIES_MAX: u32 = 4;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The process dies at a named point, the n-th time that it gets there.
    At(&'static str, u32),
    /// SIGKILL this long after it was ready.
    Running(Duration),
    /// SIGKILL this long after it was started.
    Starting(Duration),
    /// SIGKILL to Postgres; the process goes on.
    Postgres(Duration),
}

/// The run's faults, in their order. Every named point is among them, however few kills are asked for.
fn plan(seed: u64) -> Vec<Fault> {
    let kills =
        std::env::var("TENURE_KILLS").map_or(KILLS_DEFAULT, |text| text.parse().expect("TENURE_KILLS: a number"));
    let mut random = random(seed, 0);
    let mut faults: Vec<Fault> = FAIL_POINTS
        .iter()
        .map(|name| Fault::At(name, random.random_range(0..4)))
        .collect();
    for index in 0..kills.saturating_sub(faults.len()) {
        faults.push(match index % 3 {
            2 => Fault::Starting(Duration::from_millis(random.random_range(50..2_500))),
            _ => Fault::Running(Duration::from_millis(random.random_range(50..1_500))),
        });
    }
    faults.extend((0..POSTGRES_KILLS).map(|_| Fault::Postgres(Duration::from_millis(random.random_range(100..1_000)))));
    faults.shuffle(&mut random);
    faults
}

/// What writers share.
struct Load {
    url: String,
    token: String,
    tenant: TenantId,
    /// Who the token says that its holder is.
    subject: String,
    connected: Connected,
    vendor: Vendor,
    http: reqwest::Client,
    /// Notes by their text.
    notes: Journal,
    /// Commands and webhooks by their command ids.
    commands: Journal,
    /// Names that were given at the vendor: several changes may become one, so all but the last may be missing.
    names: Journal,
    /// Anything that was acknowledged.
    progress: AtomicU64,
}

/// One writer works on two people of its own.
struct Writer {
    number: u64,
    written: u32,
    /// Notes and facts are about this one.
    told_of: EmployeeId,
    /// This one changes at the vendor.
    changed: EmployeeId,
    random: ChaCha8Rng,
    load: Arc<Load>,
}

impl Load {
    fn employee(&self, id: EmployeeId) -> String {
        let connection = self.connected.id.parse().expect("a connection's id");
        domain::id::EmployeeId::derive(self.tenant, connection, &id.to_string()).to_string()
    }

    /// The status, or none when the connection broke.
    async fn send(&self, request: reqwest::RequestBuilder) -> Option<u16> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        // The answer counts when it is whole.
        response.bytes().await.ok()?;
        if (200..300).contains(&status) {
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        Some(status)
    }
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            match self.random.random_range(0..20) {
                0 => self.note_of_tomorrow().await,
                1 => self.forged_webhook().await,
                2..8 => self.note().await,
                8..11 => self.fact().await,
                11..13 => self.hire().await,
                _ => drop(self.change(1).await),
            }
            // A pace, so that the history stays short enough to be rebuilt in a test.
            let pause = Duration::from_millis(self.random.random_range(5..40));
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
        self
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("w-{}-{}", self.number, self.written)
    }

    /// Sends until there is an answer, or the client has had enough; records what it knows by then.
    async fn tell(
        &mut self,
        request: impl Fn(&Load) -> reqwest::RequestBuilder,
        journals: &[(&Journal, &str)],
        tries: u32,
    ) {
        for (journal, value) in journals {
            journal.invoke(value);
        }
        for _ in 0..tries {
            let outcome = Outcome::of(self.load.send(request(&self.load)).await);
            for (journal, value) in journals {
                journal.complete(value, outcome);
            }
            if outcome != Outcome::Info {
                return;
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(20..150))).await;
        }
    }

    /// Some clients repeat what they got no answer to, others give up.
    fn tries(&mut self) -> u32 {
        if self.random.random_bool(0.5) { TRIES_MAX } else { 1 }
    }

    async fn command(&mut self, name: &str, key: String, body: Value, note: Option<&str>, tries: u32) {
        let load = Arc::clone(&self.load);
        let id = CommandId::derive(load.tenant, &format!("user:{}", load.subject), &key).to_string();
        let request = self.command_request(name, &key, body);
        let mut journals = vec![(&load.commands, id.as_str())];
        journals.extend(note.map(|note| (&load.notes, note)));
        self.tell(request, &journals, tries).await;
    }

    fn command_request(&self, name: &str, key: &str, body: Value) -> impl Fn(&Load) -> reqwest::RequestBuilder + use<> {
        let address = format!(
            "{}/v1/employees/{}/{name}",
            self.load.url,
            self.load.employee(self.told_of)
        );
        let key = key.to_owned();
        move |load| {
            load.http
                .post(&address)
                .bearer_auth(&load.token)
                .header("idempotency-key", &key)
                .header("prefer", "wait=10")
                .json(&body)
        }
    }

    async fn note(&mut self) {
        let (value, tries) = (self.value(), self.tries());
        let body = json!({"on": today(), "text": value});
        self.command("write-note", value.clone(), body, Some(&value), tries)
            .await;
    }

    /// Breaks a rule, so it must leave nothing behind. It is in no journal, because a 202 for it is no promise that it holds:
    /// its text in a timeline is one that nobody is known to have written.
    async fn note_of_tomorrow(&mut self) {
        let value = self.value();
        let body = json!({"on": today() + chrono::Days::new(2), "text": value});
        let request = self.command_request("write-note", &value, body);
        self.tell(request, &[], 1).await;
    }

    /// Something that moves the risk, so that the scorer has news for history.
    async fn fact(&mut self) {
        let (value, tries) = (self.value(), self.tries());
        let extreme = self.random.random_bool(0.5);
        let (name, body) = match self.random.random_range(0..3) {
            0 => (
                "record-review",
                json!({"on": today(), "rating": if extreme { 1 } else { 5 }}),
            ),
            1 => (
                "answer-survey",
                json!({"on": today(), "survey": "Pulse", "score": if extreme { 0 } else { 10 }}),
            ),
            _ => (
                "record-overtime",
                json!({"on": today(), "minutes": if extreme { 1_500 } else { 10 }}),
            ),
        };
        self.command(name, value, body, None, tries).await;
    }

    /// Changes somebody at the vendor, and announces it as the vendor would.
    async fn change(&mut self, tries_min: u32) -> String {
        let value = self.value();
        let load = Arc::clone(&self.load);
        load.names.invoke(&value);
        let style = PayloadStyle::ALL[self.random.random_range(0..PayloadStyle::ALL.len())];
        let change = load
            .vendor
            .server
            .set_field(self.changed, "preferredName", &value)
            .expect("set");
        let target = WebhookTarget::new(
            load.connected.webhook_url.clone(),
            load.connected.webhook_key.clone(),
            style,
        );
        let body = {
            let company = load.vendor.server.company();
            let events = target.events(&company, &[change]);
            target.bodies(&company.company_id, &events).remove(0)
        };
        let tries = self.tries().max(tries_min);
        let key = load.connected.webhook_key.clone();
        self.webhook(style, body, &key, tries).await;
        value
    }

    /// Somebody new, whose first score is news for history.
    async fn hire(&mut self) {
        let (value, tries) = (self.value(), self.tries());
        let record = json!({"firstName": "New", "lastName": value, "hireDate": today() - chrono::Days::new(90), "jobTitle": "Cashier",
            "department": "Front End", "location": "Store 1", "payRate": "18.50", "payType": "Hourly"});
        let id = self.load.vendor.server.insert_employee(&record).expect("inserted");
        let body = json!({"type": "employee.created", "timestamp": "2026-01-01T00:00:00+0000",
            "data": {"companyId": "1", "employeeId": id.to_string()}});
        let key = self.load.connected.webhook_key.clone();
        self.webhook(PayloadStyle::EventJson, body.to_string(), &key, tries)
            .await;
    }

    async fn forged_webhook(&mut self) {
        let value = self.value();
        let body = json!({"type": "employee.updated", "timestamp": "2026-01-01T00:00:00+0000",
            "data": {"companyId": value, "employeeId": self.changed.to_string(), "changedFields": ["firstName"]}});
        self.webhook(PayloadStyle::EventJson, body.to_string(), "not the key", 1)
            .await;
    }

    async fn webhook(&mut self, style: PayloadStyle, body: String, key: &str, tries: u32) {
        let load = Arc::clone(&self.load);
        let stamped = || {
            let timestamp = infra::clock::now().timestamp().to_string();
            let digest = Sha256::new().chain_update(&body).chain_update(&timestamp).finalize();
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let source = format!("bamboohr:{}", load.connected.id);
            (
                timestamp,
                CommandId::derive(load.tenant, &source, &format!("{digest}|0")).to_string(),
            )
        };
        let (mut timestamp, mut id) = stamped();
        // Thin, about the same person, in the same second: that would be the same message as the one before.
        while load.commands.knows(&id) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            (timestamp, id) = stamped();
        }
        let signature = sign(key, body.as_bytes(), &timestamp);
        let request = |load: &Load| {
            load.http
                .post(&load.connected.webhook_url)
                .header("content-type", style.content_type())
                .header("x-bamboohr-timestamp", &timestamp)
                .header("x-bamboohr-signature", &signature)
                .body(body.clone())
        };
        self.tell(request, &[(&load.commands, &id)], tries).await;
    }
}

/// What the run did, for whoever reads it.
#[derive(Debug, Default)]
struct Tally {
    /// How often the process died at each point.
    hits: BTreeMap<&'static str, u32>,
    running: u32,
    starting: u32,
    postgres: u32,
}

impl Tally {
    fn kills(&self) -> u32 {
        self.hits.values().sum::<u32>() + self.running + self.starting
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_or_doubled_whatever_is_killed() {
    let seed = seed("crash");
    let data = DataDir::new();
    let mut kafka = PrivateKafka::new("crash", &data.0);
    // An embedded broker lives in the process and dies with it; a real one is a process of its own.
    let kafka_address = if kafka.is_real() { Some(kafka.start()) } else { None };
    let address = lasting_address();
    let start = |fail_points: &str| {
        let mut environment = vec![("TENURE_CRASH_ON_FAILPOINT", "1"), ("FAILPOINTS", fail_points)];
        environment.extend(kafka_address.as_deref().map(|address| ("KAFKA_BROKERS", address)));
        tokio::task::block_in_place(|| Tenure::try_start(&data.0, &address, &environment))
    };
    let healthy = || start("").unwrap_or_else(|log| panic!("did not become ready: {}", tail(&log)));

    let mut tenure = Some(healthy());
    let load = load(tenure.as_ref().expect("running")).await;
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let writers: Vec<_> = writers(&load, seed)
        .into_iter()
        .map(|writer| tracker.spawn(writer.run(stop.clone())))
        .collect();

    let mut tally = Tally::default();
    for fault in plan(seed) {
        eprintln!(
            "crash: {fault:?}, {} acknowledged so far",
            load.progress.load(Ordering::Relaxed)
        );
        match fault {
            Fault::At(name, after) => {
                end(tenure.take());
                die_at(name, after, &data.0, start).await;
                *tally.hits.entry(name).or_default() += 1;
            }
            Fault::Running(after) => {
                let mut running = tenure.take().unwrap_or_else(healthy);
                await_progress(&load).await;
                tokio::time::sleep(after).await;
                running.kill();
                std::mem::forget(running); // its Drop would wait for a process that is gone
                tally.running += 1;
            }
            Fault::Starting(after) => {
                end(tenure.take());
                kill_while_starting(&data.0, &address, kafka_address.as_deref(), after).await;
                tally.starting += 1;
            }
            Fault::Postgres(after) => {
                let running = tenure.get_or_insert_with(healthy);
                await_progress(&load).await;
                tokio::time::sleep(after).await;
                let killed = Postgres::of(running).kill();
                back_again(running, killed).await;
                await_progress(&load).await;
                tally.postgres += 1;
            }
        }
    }

    // Heal, then check.
    let tenure = tenure.unwrap_or_else(healthy);
    stop.cancel();
    let mut last_names = Vec::new();
    for writer in writers {
        let mut writer = writer.await.expect("a writer");
        // The last word of each writer gets through, and everything before it on its streams is then through, too.
        writer.note().await;
        let name = writer.change(TRIES_MAX).await;
        load.names.complete(&name, Outcome::Ok);
        last_names.push((load.employee(writer.changed), name));
    }
    for (employee, name) in &last_names {
        eventually("the last name", || async {
            let answer = tenure
                .query(
                    "hr_manager",
                    &format!(r#"{{ employee(id: "{employee}") {{ displayName }} }}"#),
                )
                .await;
            let shown = answer["employee"]["displayName"].as_str().unwrap_or_default();
            if shown.starts_with(name.as_str()) {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    }
    settled(&tenure).await;
    eprintln!("crash: {} kills of the process {tally:?}", tally.kills());
    for name in FAIL_POINTS {
        assert!(tally.hits.contains_key(name), "the process never died at {name}");
    }
    check_journals(&tenure, &load).await;
    check_invariants(&data.0);
    rebuilt_rows_equal_live_rows(tenure, healthy).await;
}

async fn load(tenure: &Tenure) -> Arc<Load> {
    let vendor = Vendor::start(11, EMPLOYEES).await;
    let connected = tenure.connect(&vendor).await;
    imported(tenure, &connected).await;
    let define = "/v1/programs/7d9f3c1e-2f4b-4c7a-9e55-0d1b2c3a4f5e/define";
    let body = json!({"name": "First step", "path": {"from": ["Cashier"], "to": ["Supervisor"]}, "on": today()});
    let (status, answer) = tenure
        .post(define, "hr_manager", &[("idempotency-key", "program")], body)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let somebody = sql(
        &tenure.data_dir,
        "select id from employee where status = 'ACTIVE' and remote_id is not null order by remote_id limit 1",
    );
    let raise = json!({"to": {"amount": "71000", "currency": "USD", "per": "YEAR"}, "effective_on": today()});
    let ask = format!("/v1/employees/{somebody}/pay-changes");
    let (status, answer) = tenure
        .post(&ask, "hr_manager", &[("idempotency-key", "raise")], raise)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let token = tenure.token("hr_manager");
    let claims = token.split('.').nth(1).expect("claims");
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    Arc::new(Load {
        url: tenure.url.clone(),
        token,
        tenant: claims["tenant"].as_str().expect("a tenant").parse().expect("an id"),
        subject: claims["sub"].as_str().expect("a subject").to_owned(),
        connected,
        vendor,
        http: reqwest::Client::builder()
            .timeout(Duration::from_secs(15))
            .build()
            .expect("a client"),
        notes: Journal::default(),
        commands: Journal::default(),
        names: Journal::default(),
        progress: AtomicU64::new(0),
    })
}

fn writers(load: &Arc<Load>, seed: u64) -> Vec<Writer> {
    let employed: Vec<EmployeeId> = {
        let company = load.vendor.server.company();
        let employed = company
            .employees
            .iter()
            .filter(|employee| employee.is_employed_on(today()));
        employed.map(|employee| employee.id).collect()
    };
    (0..WRITERS)
        .zip(employed.chunks_exact(2))
        .map(|(number, pair)| Writer {
            number,
            written: 0,
            told_of: pair[0],
            changed: pair[1],
            random: random(seed, 1 + number),
            load: Arc::clone(load),
        })
        .collect()
}

/// Ends a process in order, if there is one.
fn end(tenure: Option<Tenure>) {
    tokio::task::block_in_place(|| drop(tenure));
}

/// The load goes on: something more was acknowledged.
async fn await_progress(load: &Load) {
    let before = load.progress.load(Ordering::Relaxed);
    eventually("progress of the load", || async {
        let now = load.progress.load(Ordering::Relaxed);
        if now > before + 5 { Ok(()) } else { Err(json!(now)) }
    })
    .await;
}

/// Runs the product until it dies at `name`; it must.
async fn die_at(name: &'static str, after: u32, data: &Path, start: impl Fn(&str) -> Result<Tenure, String>) {
    let deaths = || {
        let log = std::fs::read_to_string(data.join("tenure.log")).unwrap_or_default();
        log.matches(&format!("failpoint {name} panic")).count()
    };
    let before = deaths();
    let actions = if after == 0 {
        "panic".to_owned()
    } else {
        format!("{after}*off->panic")
    };
    if let Ok(mut running) = start(&format!("{name}={actions}")) {
        let deadline = Instant::now() + HIT_PATIENCE;
        let status = loop {
            match running.process.try_wait().expect("a child") {
                Some(status) => break status,
                None => assert!(
                    Instant::now() < deadline,
                    "the process did not die at {name} under load"
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(status.signal(), Some(6), "{name}: {status}, not an abort");
        std::mem::forget(running);
    }
    assert!(
        deaths() > before,
        "the process ended, but not at {name}: {}",
        tail(&std::fs::read_to_string(data.join("tenure.log")).unwrap_or_default())
    );
}

async fn kill_while_starting(data: &Path, address: &str, kafka: Option<&str>, after: Duration) {
    let log = std::fs::File::options()
        .append(true)
        .open(data.join("tenure.log"))
        .expect("the log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["up", "--listen", address, "--data-dir"]).arg(data);
    command
        .env_remove("DATABASE_URL")
        .env_remove("KAFKA_BROKERS")
        .envs(kafka.map(|address| ("KAFKA_BROKERS", address)));
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary");
    tokio::time::sleep(after).await;
    process.kill().expect("killed");
    process.wait().expect("waited");
}

/// Postgres runs again, by another process id, and the product never ended.
async fn back_again(tenure: &mut Tenure, killed: u32) {
    let (postgres, data) = (Postgres::of(tenure), tenure.data_dir.clone());
    eventually("Postgres running again", || async {
        let again = postgres.pid().filter(|pid| *pid != killed);
        match (again, psql(&data, "select 1")) {
            (Some(_), Ok(_)) => Ok(()),
            (pid, answer) => Err(json!([pid, answer.err()])),
        }
    })
    .await;
    assert!(
        matches!(tenure.process.try_wait(), Ok(None)),
        "the product ended with its Postgres"
    );
    assert!(!signal(killed, "0"), "the old server lives");
}

async fn check_journals(tenure: &Tenure, load: &Load) {
    let (mut notes, mut names) = (Vec::new(), Vec::new());
    for employee in sql(&tenure.data_dir, "select id from employee").lines() {
        for entry in timeline(tenure, employee).await {
            let summary = entry["summary"].as_str().unwrap_or_default();
            if let Some(text) = summary.strip_prefix("Note: ") {
                notes.push(text.to_owned());
            }
            // The first event about a person already carries a name; only those that we gave are counted.
            if let Some(name) = entry["details"]["name"]["preferred"].as_str()
                && name.starts_with("w-")
            {
                names.push(name.to_owned());
            }
        }
    }
    let outcomes = sql(
        &tenure.data_dir,
        "select command_id from command_outcome where outcome = 'accepted'",
    );
    let outcomes: Vec<&str> = outcomes.lines().filter(|id| load.commands.knows(id)).collect();
    let verdicts = [
        ("notes", load.notes.judge(notes.iter().map(String::as_str))),
        ("commands and webhooks", load.commands.judge(outcomes)),
        ("names", load.names.judge(names.iter().map(String::as_str))),
    ];
    for (what, verdict) in &verdicts {
        eprintln!("crash: {what}: {verdict}");
    }
    for (what, verdict) in verdicts {
        assert!(verdict.is_clean(), "{what}: {verdict:#?}");
    }
    let logged = sql(
        &tenure.data_dir,
        "select count(*) from event where event_type = 'employee.note-written'",
    );
    assert_eq!(
        logged,
        notes.len().to_string(),
        "notes in the log, and in the timelines"
    );
}

/// A person's whole timeline.
async fn timeline(tenure: &Tenure, employee: &str) -> Vec<Value> {
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!(
            r#"{{ employee(id: "{employee}") {{ timeline(first: 100{after}) {{ nodes {{ type summary details }} pageInfo {{ hasNextPage endCursor }} }} }} }}"#
        );
        let answer = tenure.query("hr_manager", &query).await;
        let page = &answer["employee"]["timeline"];
        entries.extend(page["nodes"].as_array().expect("entries").iter().cloned());
        if page["pageInfo"]["hasNextPage"] != true {
            return entries;
        }
        after = format!(r#", after: {}"#, page["pageInfo"]["endCursor"]);
    }
}

/// Each is a count of what must not be.
const VIOLATIONS: [(&str, &str); 10] = [
    ("positions have gaps", "select count(*) - coalesce(max(position), 0) from event"),
    ("the head is not the last position", "select position - (select max(position) from event) from log_head"),
    (
        "a stream's revisions are not 1..n",
        "select count(*) from (select min(revision) lo, max(revision) hi, count(*) n from event group by tenant, kind, stream_id) s where lo <> 1 or hi <> n",
    ),
    (
        "a stream's row is not at its last revision",
        "select count(*) from stream s where revision <> (select count(*) from event e where (e.tenant, e.kind, e.stream_id) = (s.tenant, s.kind, s.id))",
    ),
    (
        "an event's id occurs twice",
        "select count(*) from (select from event group by tenant, event_id having count(*) > 1) s",
    ),
    (
        "an event and its id do not point to each other",
        "select count(*) from event e full join event_id i using (tenant, event_id) where e.position is distinct from i.position",
    ),
    ("something is parked", "select count(*) from parked"),
    (
        "an accepted command's position is not its last event's",
        "select count(*) from command_outcome o where o.position is not null and not exists
           (select from event e where e.position = o.position and (e.tenant, e.kind, e.stream_id) = (o.tenant, o.kind, o.stream_id))",
    ),
    ("a command waits", "select (select count(*) from outbox) + (select count(*) from completion)"),
    ("the relay is not at the head", "select h.position - r.position from log_head h, relay_checkpoint r"),
];

fn check_invariants(data: &Path) {
    for (violation, query) in VIOLATIONS {
        assert_eq!(sql(data, query), "0", "{violation}: {query}");
    }
    eprintln!(
        "crash: {} invariants hold over {} events of {} streams",
        VIOLATIONS.len(),
        sql(data, "select count(*) from event"),
        sql(data, "select count(*) from stream"),
    );
}

/// What projections made, and what identifies a row's content. Feature states and protected attributes are sealed anew with each
/// write, so that only their places can be compared.
const READ_MODELS: [(&str, &str); 17] = [
    ("employee", "t.*"),
    ("employee_version", "t.*"),
    ("department_stats", "t.*"),
    ("team_stats", "t.*"),
    ("timeline_entry", "t.*"),
    ("risk", "t.*"),
    ("risk_history", "t.*"),
    ("feature_state", "t.tenant, t.employee, t.position"),
    ("fairness.attributes", "t.tenant, t.employee, t.position"),
    ("tenant_settings", "t.*"),
    ("connection", "t.*"),
    ("program", "t.*"),
    ("pay_change", "t.*"),
    ("team_person", "t.tenant, t.employee, t.facts, t.position, t.due_at"),
    ("team_membership", "t.*"),
    ("team_exit", "t.*"),
    ("team_told", "t.tenant, t.teammate, t.colleague, t.exit_on, t.relation"),
];

/// Takes the read models away, lets the product make them again from the log's stream of events, and compares.
async fn rebuilt_rows_equal_live_rows(tenure: Tenure, start: impl FnOnce() -> Tenure) {
    let data = tenure.data_dir.clone();
    let head = sql(&data, "select position from log_head");
    let before = dump(&data);
    let delete: String = READ_MODELS
        .iter()
        .map(|(table, _)| format!("delete from {table}; "))
        .collect();
    // A new epoch: a batch that is under way in the running process then changes nothing.
    let begin_again = "update consumer_checkpoint set next_offset = 0, position = 0, epoch = epoch + 1 where topic = 'tenure.events';";
    sql(&data, &format!("begin; {delete} {begin_again} commit;"));
    end(Some(tenure));
    let tenure = start();
    settled(&tenure).await;
    let after = dump(&data);
    for ((table, before), (_, after)) in before.iter().zip(&after) {
        let missing: Vec<&String> = before.difference(after).take(3).collect();
        let other: Vec<&String> = after.difference(before).take(3).collect();
        assert!(
            missing.is_empty() && other.is_empty(),
            "{table}: live rows {missing:#?}\nrebuilt rows {other:#?}"
        );
        assert!(!before.is_empty(), "{table} has no rows to compare");
    }
    let rows: usize = before.iter().map(|(_, rows)| rows.len()).sum();
    eprintln!(
        "crash: {rows} rows of {} read models rebuilt and equal",
        READ_MODELS.len()
    );
    assert_eq!(
        sql(&data, "select position from log_head"),
        head,
        "rebuilding wrote history"
    );
    check_invariants(&data);
    let proof = verify(&data).unwrap_or_else(|found| panic!("{found}"));
    let compared = compare(&data).unwrap_or_else(|found| panic!("{found}"));
    assert!(
        !compared.contains("differ"),
        "a rebuild comes out otherwise: {compared}"
    );
    eprintln!("crash: {}", proof.lines().next().unwrap_or_default());
}

fn dump(data: &Path) -> Vec<(&'static str, HashSet<String>)> {
    READ_MODELS
        .iter()
        .map(|(table, columns)| {
            let rows = sql(data, &format!("copy (select {columns} from {table} t) to stdout"));
            (*table, rows.lines().map(str::to_owned).collect())
        })
        .collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
