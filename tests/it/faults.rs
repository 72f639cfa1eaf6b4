//! Faults from outside, and looks past the product: signals, the database as its owner, a Kafka that can be killed.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use infra::embedded::EmbeddedBroker;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{Connected, Tenure, eventually};

/// What a run's faults are drawn from: `SEED`, or something new, told either way.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    eprintln!("{test}: SEED={seed}");
    seed
}

pub fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// An address that stays free while nothing listens there: below the ports of outgoing connections.
pub fn lasting_address() -> String {
    let mut random = rand::rng();
    loop {
        let port: u16 = random.random_range(12_000..16_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Sends a signal by name; whether the process was there.
pub fn signal(pid: u32, name: &str) -> bool {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    sent.is_ok_and(|status| status.success())
}

/// Asks the embedded Postgres as its owner, past row-level security. Rows as lines.
pub fn psql(data_dir: &Path, sql: &str) -> Result<String, String> {
    let addresses = std::fs::read_to_string(data_dir.join("addresses.json")).map_err(|error| error.to_string())?;
    let addresses: Value = serde_json::from_str(&addresses).map_err(|error| error.to_string())?;
    let output = Command::new("psql")
        .arg(addresses["database_url"].as_str().unwrap_or_default())
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .env("PGCONNECT_TIMEOUT", "5")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// As [`psql`]; a failure fails the test.
#[track_caller]
pub fn sql(data_dir: &Path, sql: &str) -> String {
    psql(data_dir, sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

/// The embedded Postgres of a data directory.
pub struct Postgres(PathBuf);

impl Postgres {
    pub fn of(tenure: &Tenure) -> Self {
        Self(tenure.data_dir.join("postgres"))
    }

    pub fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.0.join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// SIGKILL to the server's first process; its children end by themselves.
    pub fn kill(&self) -> u32 {
        let pid = self.pid().expect("a running Postgres");
        assert!(signal(pid, "KILL"), "Postgres {pid} was not there");
        pid
    }

    /// Kills the server and keeps it from starting again, by taking its data away, until [`Away::back`].
    pub fn take_away(&self) -> Away {
        let (data, aside) = (self.0.join("data"), self.0.join("data.aside"));
        let pid = self.pid().expect("a running Postgres");
        std::fs::rename(&data, &aside).expect("moved aside");
        assert!(signal(pid, "KILL"), "Postgres {pid} was not there");
        Away { data, aside }
    }

    /// Stops the server and all its children in their tracks: connections stay open, nothing answers.
    pub fn freeze(&self) -> Frozen {
        let first = self.pid().expect("a running Postgres");
        // The first process first, so that it makes no more children.
        assert!(signal(first, "STOP"), "Postgres {first} was not there");
        let mut pids = children(first);
        for pid in &pids {
            signal(*pid, "STOP");
        }
        pids.push(first);
        Frozen(pids)
    }
}

fn children(of: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // "pid (name) state parent ...": the name may hold anything but a last bracket.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}

pub struct Away {
    data: PathBuf,
    aside: PathBuf,
}

impl Away {
    pub fn back(self) {}
}

impl Drop for Away {
    fn drop(&mut self) {
        std::fs::rename(&self.aside, &self.data).ok();
    }
}

pub struct Frozen(Vec<u32>);

impl Frozen {
    pub fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            signal(*pid, "CONT");
        }
    }
}

/// A Kafka for one test alone, which may be killed: a real one if `TENURE_TEST_KAFKA_CTL` tells how to run it, else an
/// embedded broker in a runtime of its own, so that nothing of it outlives its end.
pub enum PrivateKafka {
    Real {
        script: String,
        folder: String,
    },
    Embedded {
        folder: PathBuf,
        running: Option<(Runtime, EmbeddedBroker)>,
    },
}

impl PrivateKafka {
    /// `data_dir` is used by an embedded one.
    pub fn new(name: &str, data_dir: &Path) -> Self {
        match real_kafka() {
            Some((script, folder)) => Self::Real {
                script,
                folder: format!("{folder}-{name}-{}", std::process::id()),
            },
            None => Self::Embedded {
                folder: data_dir.join("private-broker"),
                running: None,
            },
        }
    }

    pub fn is_real(&self) -> bool {
        matches!(self, Self::Real { .. })
    }

    /// Starts it, or starts it again on its data and port; answers its address.
    pub fn start(&mut self) -> String {
        match self {
            Self::Real { script, folder } => control(script, "start", folder),
            Self::Embedded { folder, running } => {
                let folder = folder.clone();
                // A runtime cannot be entered from within another.
                let started = std::thread::spawn(move || {
                    let runtime = Runtime::new().expect("a runtime");
                    let broker = runtime.block_on(EmbeddedBroker::start(&folder)).expect("a broker");
                    (runtime, broker)
                });
                let (runtime, broker) = started.join().expect("a broker");
                let address = broker.brokers.addresses.clone();
                *running = Some((runtime, broker));
                address
            }
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        match self {
            Self::Real { script, folder } => drop(control(script, "kill", folder)),
            Self::Embedded { running, .. } => {
                if let Some((runtime, broker)) = running.take() {
                    drop(broker);
                    // Dropping a runtime waits for its threads, which must not happen on a thread of another one.
                    std::thread::spawn(move || drop(runtime)).join().expect("ended");
                }
            }
        }
    }
}

impl Drop for PrivateKafka {
    fn drop(&mut self) {
        match self {
            Self::Real { script, folder } => {
                control(script, "kill", folder);
                std::fs::remove_dir_all(folder).ok();
            }
            Self::Embedded { .. } => self.kill(),
        }
    }
}

/// A real Kafka for one data directory, if the suite runs on real ones: started when first asked for, the same afterwards.
pub fn real_kafka_for(data_dir: &Path) -> Option<String> {
    let (script, folder) = real_kafka()?;
    Some(control(&script, "start", &format!("{folder}-{}", name_of(data_dir))))
}

/// Ends the Kafka of a data directory, if there is one.
pub fn end_real_kafka_of(data_dir: &Path) {
    let Some((script, folder)) = real_kafka() else { return };
    let folder = format!("{folder}-{}", name_of(data_dir));
    if Path::new(&folder).exists() {
        control(&script, "kill", &folder);
        std::fs::remove_dir_all(&folder).ok();
    }
}

fn name_of(data_dir: &Path) -> String {
    data_dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The script that runs a real Kafka, and the folder that names are appended to.
fn real_kafka() -> Option<(String, String)> {
    let text = std::env::var("TENURE_TEST_KAFKA_CTL").ok()?;
    let (script, folder) = text.split_once(' ')?;
    Some((script.to_owned(), folder.trim().to_owned()))
}

fn control(script: &str, action: &str, folder: &str) -> String {
    let output = Command::new(script)
        .args([action, folder])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the script");
    assert!(output.status.success(), "{script} {action} {folder}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until a connection's first import went through.
pub async fn imported(tenure: &Tenure, connected: &Connected) {
    eventually("the import", || async {
        // While a large company is imported on a busy machine, an answer may take too long: then it is asked for again.
        let answer = tenure.ask("admin", "{ connections { id synchronisedAt } }", &[]).await;
        let all = answer["data"]["connections"].as_array();
        let done = all.is_some_and(|all| {
            all.iter()
                .any(|one| one["id"] == connected.id.as_str() && !one["synchronisedAt"].is_null())
        });
        if done { Ok(()) } else { Err(answer) }
    })
    .await;
    // The connection's row may be there before the last of the people's, which are in other partitions.
    settled(tenure).await;
}

/// Waits until nothing is on its way: queues empty, everything relayed and projected, and the log at rest meanwhile.
pub async fn settled(tenure: &Tenure) {
    let mut rested = (String::new(), 0);
    let (mut last, mut deadline) = (String::new(), std::time::Instant::now() + SETTLE_PATIENCE);
    loop {
        let standing = psql(&tenure.data_dir, SETTLED);
        // However much there is to do: as long as something moves.
        let seen = format!("{standing:?}");
        if seen != last {
            (last, deadline) = (seen, std::time::Instant::now() + SETTLE_PATIENCE);
        }
        match &standing {
            Ok(text) if text.ends_with("|0|0|0|0") => {
                let count = if rested.0 == *text { rested.1 + 1 } else { 0 };
                rested = (text.clone(), count);
            }
            _ => rested = (String::new(), 0),
        }
        if rested.1 >= RESTED_LOOKS {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "not at rest within {SETTLE_PATIENCE:?}: head|completions|outbox|unrelayed|unprojected = {standing:?}\n{}",
            json!(tenure.get("/health/detailed", "admin").await)
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A reading that was claimed by a killed process is taken up again when its lease of a minute is over.
const SETTLE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(150);
/// Looks in a row with nothing under way.
const RESTED_LOOKS: usize = 15;
const SETTLED: &str = "select (select position from log_head), (select count(*) from completion), (select (select count(*) from outbox) + (select count(*) from team_person where due_at is not null)),
    (select h.position - r.position from log_head h, relay_checkpoint r),
    (select count(*) from relay_checkpoint r, jsonb_each_text(r.sent) s(p, upto), (values ('read-models'), ('scorer'), ('fairness'), ('teams')) c(consumer)
      where not exists (select from consumer_checkpoint k where k.consumer = c.consumer and k.topic = 'tenure.events'
                           and k.\"partition\" = s.p::int and k.position = s.upto::bigint))";
