//! What the benchmarks stand on: a Postgres and a broker of their own, in a temporary folder.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use domain::id::TenantId;
use infra::{
    broker::Brokers,
    clock,
    database::{self, Database},
    embedded::{EmbeddedBroker, EmbeddedPostgres},
};
use projection_workers::lag;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tenure::config::{Parts, Settings};

/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder that the embedded Postgres, which is another user, can reach.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("tenure-bench-")
        .tempdir_in("/tmp")
        .expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("permissions");
    folder
}

/// Settings of an installation in this folder.
pub fn settings(data_dir: &Path) -> Settings {
    Settings {
        data_dir: data_dir.to_owned(),
        database_url: None,
        kafka_brokers: None,
        master_key: None,
        kafka_replication: 1,
        instance: "bench".to_owned(),
        jwks_url: None,
        jwt_issuer: None,
        jwt_audience: None,
        log_heads: None,
        inbox: None,
        retrain_days: 0,
    }
}

/// A broker that nobody has used yet.
pub enum Kafka {
    Embedded(EmbeddedBroker),
    /// `KAFKA_BROKERS`.
    Given(Brokers),
    /// Started by `.ci/real-kafka`.
    Real {
        folder: PathBuf,
        brokers: Brokers,
    },
}

static GIVEN_IS_USED: AtomicBool = AtomicBool::new(false);

impl Kafka {
    pub async fn start(folder: &Path, real: bool) -> Self {
        if let Ok(addresses) = std::env::var("KAFKA_BROKERS") {
            // Offsets are kept in Postgres, and every stage has a new one: old records would be taken for its own.
            assert!(
                !GIVEN_IS_USED.swap(true, Ordering::SeqCst),
                "KAFKA_BROKERS names one cluster, and it has been used: give names of benchmarks that share a stage (benches/README.md), or --real-kafka"
            );
            return Self::Given(Brokers {
                addresses,
                exclusive: false,
            });
        }
        if !real {
            return Self::Embedded(EmbeddedBroker::start(&folder.join("broker")).await.expect("a broker"));
        }
        let folder = folder.join("kafka");
        let output = script("start", &folder);
        let addresses = String::from_utf8_lossy(&output).trim().to_owned();
        Self::Real {
            folder,
            brokers: Brokers {
                addresses,
                exclusive: false,
            },
        }
    }

    /// For a process that has an embedded broker of its own; another one must be there before.
    pub async fn outside(folder: &Path, real: bool) -> Option<Self> {
        if real || std::env::var_os("KAFKA_BROKERS").is_some() {
            Some(Self::start(folder, real).await)
        } else {
            None
        }
    }

    pub const fn brokers(&self) -> &Brokers {
        match self {
            Self::Embedded(broker) => &broker.brokers,
            Self::Given(brokers) | Self::Real { brokers, .. } => brokers,
        }
    }

    /// Whether the higher targets hold.
    pub const fn is_real(&self) -> bool {
        !matches!(self, Self::Embedded(_))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Self::Real { folder, .. } = self {
            script("stop", folder);
        }
    }
}

fn script(action: &str, folder: &Path) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/real-kafka");
    let output = Command::new(path).arg(action).arg(folder).output().expect("the script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a benchmark with a Postgres and a broker of its own: what another has left in the topics is not of its log.
pub async fn on_stage<T>(real_kafka: bool, run: impl AsyncFnOnce(&Stage) -> T) -> T {
    let stage = Stage::start(real_kafka).await;
    let measured = run(&stage).await;
    stage.end().await;
    measured
}

/// The same, in a database of this name.
pub async fn on_site<T>(real_kafka: bool, name: &str, run: impl AsyncFnOnce(&Site) -> T) -> T {
    on_stage(real_kafka, async |stage| {
        let site = stage.site(name).await;
        let measured = run(&site).await;
        site.end().await;
        measured
    })
    .await
}

/// Postgres and a broker, started with a benchmark and ended with it.
pub struct Stage {
    postgres: EmbeddedPostgres,
    kafka: Kafka,
    settings: Settings,
    folder: TempDir,
}

impl Stage {
    pub async fn start(real_kafka: bool) -> Self {
        let folder = folder();
        let settings = settings(folder.path());
        let master = settings.master().expect("a master key");
        let postgres = EmbeddedPostgres::start(&folder.path().join("postgres"), &master)
            .await
            .expect("a Postgres");
        let kafka = Kafka::start(folder.path(), real_kafka).await;
        kafka
            .brokers()
            .ensure_topics(schemas::topics::PARTITIONS_DEFAULT, 1)
            .await
            .expect("topics");
        Self {
            postgres,
            kafka,
            settings,
            folder,
        }
    }

    /// A database of its own for one benchmark, with a tenant.
    pub async fn site(&self, name: &str) -> Site {
        let server = self.postgres.url.expose_secret();
        let owner = pool(server, 1).await;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&owner)
            .await
            .expect("a database");
        owner.close().await;
        let (server, _) = server.rsplit_once('/').expect("a database in the address");
        let url = SecretString::from(format!("{server}/{name}"));
        let master = self.settings.master().expect("a master key");
        database::migrate(&url, &master).await.expect("a schema");
        let database = Database::new(&url, &master).expect("an address");
        let parts = Parts::new(&self.settings, database, self.kafka.brokers().clone()).expect("parts");
        parts
            .database
            .assert_trustworthy()
            .await
            .expect("bound by row-level security");
        let tenant = TenantId::from_uuid(clock::new_id());
        parts.keyring.ensure_tenant(tenant).await.expect("a tenant's key");
        Site {
            owner: pool(url.expose_secret(), 2).await,
            real_kafka: self.kafka.is_real(),
            parts,
            tenant,
            url,
            folder: self.folder.path().to_owned(),
        }
    }

    pub async fn end(self) {
        drop(self.kafka);
        self.postgres.stop().await;
        drop(self.folder);
    }
}

/// One benchmark's database, and the product's parts on it.
pub struct Site {
    pub parts: Parts,
    pub tenant: TenantId,
    /// As the owner, past row-level security: to look at progress.
    pub owner: PgPool,
    pub url: SecretString,
    /// Where the master key is.
    pub folder: PathBuf,
    pub real_kafka: bool,
}

impl Site {
    /// As the server does by itself when a table has grown.
    pub async fn vacuum(&self) {
        sqlx::raw_sql("vacuum analyze")
            .execute(&self.owner)
            .await
            .expect("vacuumed");
    }

    /// How many records a consumer has taken.
    pub async fn taken(&self, consumer: &str) -> i64 {
        sqlx::query_scalar("select coalesce(sum(next_offset), 0)::bigint from consumer_checkpoint where consumer = $1")
            .bind(consumer)
            .fetch_one(&self.owner)
            .await
            .expect("checkpoints")
    }

    /// Up to where in the log a projection has everything. Offsets do not tell: what the relay sent twice is skipped.
    pub async fn projected(&self, projection: &str) -> i64 {
        let standing = lag::standing(&self.parts.database)
            .await
            .expect("where everything stands");
        standing.of(projection).expect("a projection").position
    }

    pub async fn relayed(&self) -> i64 {
        sqlx::query_scalar("select position from relay_checkpoint")
            .fetch_one(&self.owner)
            .await
            .expect("the relay's checkpoint")
    }

    pub async fn head(&self) -> i64 {
        sqlx::query_scalar("select position from log_head")
            .fetch_one(&self.owner)
            .await
            .expect("the log's head")
    }

    /// How many partitions a consumer has claimed so far.
    pub async fn claimed(&self, consumer: &str) -> i64 {
        sqlx::query_scalar("select count(*) from consumer_checkpoint where consumer = $1")
            .bind(consumer)
            .fetch_one(&self.owner)
            .await
            .expect("checkpoints")
    }

    /// Nothing may have been parked: what is not done is not fast.
    pub async fn assert_nothing_parked(&self) {
        let causes: Vec<String> = sqlx::query_scalar("select cause from parked limit 3")
            .fetch_all(&self.owner)
            .await
            .expect("parked records");
        assert!(causes.is_empty(), "records were parked: {causes:?}");
    }

    pub async fn end(self) {
        self.parts.database.close().await;
        self.owner.close().await;
    }
}

pub async fn pool(url: &str, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .connect(url)
        .await
        .expect("the database")
}

/// Waits until `done` answers true.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done().await {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The rate at which `count` rises to `upto`, from its first step on: what comes before is joining, not working. However long it
/// takes, as long as it does rise.
pub async fn rate_after_first_step(upto: i64, mut count: impl AsyncFnMut() -> i64) -> f64 {
    let mut last = count().await;
    let mut first = None;
    while last < upto {
        let before = last;
        until("the next record", async || {
            last = count().await;
            last > before
        })
        .await;
        first.get_or_insert_with(|| (Instant::now(), last));
    }
    let (at, step) = first.expect("a step");
    (last - step) as f64 / at.elapsed().as_secs_f64()
}
