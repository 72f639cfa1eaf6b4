//! Starts the product as its users start it, and talks to it as they do.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::NaiveDate;
use serde_json::{Value, json};
use tenure::{
    config::{Parts, Settings},
    demo::{
        bamboohr::{ServerOptions, SimulatedBambooHr},
        company::{Company, Plan},
        webhooks::sign,
    },
};

use crate::faults;

/// How long anything may take before a test gives up. Generous: it bounds, it does not measure.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A data directory that the embedded Postgres can reach, removed at the end.
pub struct DataDir(pub PathBuf);

impl DataDir {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = tempfile::Builder::new()
            .prefix("tenure-it-")
            .tempdir()
            .expect("a folder")
            .keep();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).expect("permissions");
        Self(path)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        faults::end_real_kafka_of(&self.0);
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }
}

/// A running `tenure up`. Killed when dropped.
pub struct Tenure {
    pub url: String,
    pub process: Child,
    pub data_dir: PathBuf,
    tokens: Value,
    pub http: reqwest::Client,
}

impl Tenure {
    /// Starts on a free port and waits for the line `ready`.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, "127.0.0.1:0", &[])
    }

    pub fn start_with(data_dir: &Path, listen: &str, environment: &[(&str, &str)]) -> Self {
        Self::try_start(data_dir, listen, environment)
            .unwrap_or_else(|log| panic!("tenure up did not become ready:\n{log}"))
    }

    /// As above; the log if the process ended before it was ready (a fail point may have killed it).
    pub fn try_start(data_dir: &Path, listen: &str, environment: &[(&str, &str)]) -> Result<Self, String> {
        let log_path = data_dir.join("tenure.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.args(["up", "--listen", listen, "--data-dir"]).arg(data_dir);
        // A Kafka for this data directory alone: the topics' names are the product's own.
        let given = environment.iter().any(|(name, _)| *name == "KAFKA_BROKERS");
        let kafka = if given { None } else { faults::real_kafka_for(data_dir) };
        if let Some(address) = kafka {
            command.env("KAFKA_BROKERS", address);
        } else {
            command.env_remove("KAFKA_BROKERS");
        }
        command
            .env_remove("DATABASE_URL")
            .env_remove("TENURE_MASTER_KEY")
            .envs(environment.iter().copied());
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
            .find(|line| line.starts_with("ready "));
        let Some(ready) = ready else {
            process.wait().ok();
            return Err(std::fs::read_to_string(&log_path).unwrap_or_default());
        };
        // Keep reading, or the process blocks when the pipe is full.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let url = ready.split_whitespace().nth(1).expect("an address").to_owned();
        let tokens = std::fs::read_to_string(data_dir.join("dev-tokens.json")).expect("tokens");
        Ok(Self {
            url,
            process,
            data_dir: data_dir.to_owned(),
            tokens: serde_json::from_str(&tokens).expect("JSON"),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()
                .expect("a client"),
        })
    }

    /// SIGKILL, and wait until the process is gone.
    pub fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }

    pub fn listen(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    pub fn token(&self, role: &str) -> String {
        self.tokens[role].as_str().expect("a token").to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("tenure.log")).unwrap_or_default()
    }

    pub async fn post(&self, path: &str, role: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
        let mut request = self
            .http
            .post(format!("{}{path}", self.url))
            .bearer_auth(self.token(role))
            .json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    pub async fn get(&self, path: &str, role: &str) -> (u16, Value) {
        answer(
            self.http
                .get(format!("{}{path}", self.url))
                .bearer_auth(self.token(role)),
        )
        .await
    }

    pub async fn text(&self, path: &str) -> String {
        self.http
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text")
    }

    /// A GraphQL query; panics on errors.
    pub async fn query(&self, role: &str, query: &str) -> Value {
        let answer = self.ask(role, query, &[]).await;
        assert!(answer.get("errors").is_none(), "{query}\n{answer:#}");
        answer["data"].clone()
    }

    /// A GraphQL query with whatever it answers.
    pub async fn ask(&self, role: &str, query: &str, headers: &[(&str, &str)]) -> Value {
        self.post("/graphql", role, headers, json!({"query": query})).await.1
    }

    /// A webhook as BambooHR sends it.
    pub async fn webhook(&self, to: &Connected, content_type: &str, body: &str) -> (u16, Value) {
        let timestamp = infra::clock::now().timestamp().to_string();
        self.webhook_signed(
            &to.webhook_url,
            content_type,
            body,
            &timestamp,
            &sign(&to.webhook_key, body.as_bytes(), &timestamp),
        )
        .await
    }

    pub async fn webhook_signed(
        &self,
        url: &str,
        content_type: &str,
        body: &str,
        timestamp: &str,
        signature: &str,
    ) -> (u16, Value) {
        let request = self
            .http
            .post(url)
            .header("content-type", content_type)
            .header("x-bamboohr-timestamp", timestamp)
            .header("x-bamboohr-signature", signature)
            .header("user-agent", "BambooHR-WebHooks/1.0 (test)")
            .body(body.to_owned());
        answer(request).await
    }

    /// Connects the vendor as an administrator would.
    pub async fn connect(&self, vendor: &Vendor) -> Connected {
        let request = json!({
            "company_domain": vendor.domain, "api_key": vendor.api_key, "webhook_keys": ["an old key", vendor.webhook_key], "base_url": vendor.server.base_url(),
        });
        let (status, answer) = self.post("/v1/integrations/bamboohr", "admin", &[], request).await;
        assert_eq!(status, 201, "{answer:#}");
        Connected {
            id: answer["id"].as_str().expect("an id").to_owned(),
            webhook_url: answer["webhook_url"].as_str().expect("an address").to_owned(),
            webhook_key: vendor.webhook_key.clone(),
        }
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- the last of {}/tenure.log ---", self.data_dir.display());
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        // In order, so that Postgres ends too.
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub struct Connected {
    pub id: String,
    pub webhook_url: String,
    pub webhook_key: String,
}

/// A simulated BambooHR account.
pub struct Vendor {
    pub server: SimulatedBambooHr,
    pub domain: String,
    pub api_key: String,
    pub webhook_key: String,
}

impl Vendor {
    /// A small company of the generator, the same for a seed.
    pub async fn start(seed: u64, employees: usize) -> Self {
        let company = Company::generate(&Plan::new(seed, employees, 2, today()));
        let domain = company.domain.clone();
        let api_key = "an-api-key".to_owned();
        let server = SimulatedBambooHr::start(Arc::new(Mutex::new(company)), ServerOptions::new(api_key.clone()))
            .await
            .expect("a vendor");
        Self {
            server,
            domain,
            api_key,
            webhook_key: "test-private-key".to_owned(),
        }
    }
}

/// Runs a script of this repository, which has to end well; answers what it prints.
pub fn script(path: &str, arguments: &[&str]) -> String {
    let ran = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the script");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        ran.status.success(),
        "{path}: {}{}",
        text(&ran.stdout),
        text(&ran.stderr)
    );
    text(&ran.stdout)
}

/// The parts of a running installation, for what has no door outside.
pub fn parts(data_dir: &Path) -> Parts {
    let settings = Settings {
        data_dir: data_dir.to_owned(),
        database_url: None,
        kafka_brokers: None,
        master_key: None,
        kafka_replication: 1,
        instance: "from-outside".to_owned(),
        jwks_url: None,
        jwt_issuer: None,
        jwt_audience: None,
        log_heads: None,
        inbox: None,
        retrain_days: 30,
    };
    settings.tool().expect("the installation's parts")
}

/// A subcommand of the product on an installation's folder, whose addresses are in it, whatever the environment says.
pub fn tool(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(arguments).arg("--data-dir").arg(data_dir);
    for name in ["DATABASE_URL", "KAFKA_BROKERS", "TENURE_MASTER_KEY", "EVENTSTORE_URL"] {
        command.env_remove(name);
    }
    command
}

/// What a command prints; what it complains of otherwise.
pub fn told(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("the binary");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

pub fn today() -> NaiveDate {
    infra::clock::today()
}

/// Asks until the answer satisfies, or patience ends; then shows the last answer.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, Value>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => {
                panic!("{what} did not happen within {PATIENCE:?}; the last answer was {last:#}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}
