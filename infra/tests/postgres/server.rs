//! One embedded server for this test binary, and databases on it.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use domain::id::TenantId;
use infra::{
    clock,
    database::{self, Access, Connection, Database, DatabaseError},
    embedded::EmbeddedPostgres,
    fairness::FairnessStore,
    sealing::{Keyring, MasterKey},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    runtime::Runtime,
    sync::{OnceCell, Semaphore, SemaphorePermit},
};

/// How long anything may take before a test gives up. Generous: it bounds, it does not measure.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The migrated database that others are copied from. Nobody else connects to it.
const TEMPLATE: &str = "tenure";

/// All tests share it: a connection of a pool lives only as long as the runtime that it was made in.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SERVER: OnceCell<Server> = OnceCell::const_new();
static SHARED: OnceCell<World> = OnceCell::const_new();
/// The server has room for the shared database's connections and for those of one more.
static ALONE: Semaphore = Semaphore::const_new(1);

struct Server {
    postgres: EmbeddedPostgres,
    master: MasterKey,
}

/// A database that is migrated and ready.
pub struct World {
    /// As the application sees it.
    pub database: Database,
    /// As its owner, a superuser, sees it.
    pub owner: PgPool,
    pub owner_url: SecretString,
    pub master: MasterKey,
    _seat: Option<SemaphorePermit<'static>>,
}

/// Runs a test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async { tokio::time::timeout(20 * PATIENCE, test).await.expect("an end") })
}

/// The database that tests share, each with tenants of its own.
pub async fn shared() -> &'static World {
    SHARED
        .get_or_init(|| async { World::open(server().await, &copy_of_template("shared").await, None).await })
        .await
}

/// A database for one test: where the whole log is counted, or something breaks on purpose.
pub async fn alone() -> World {
    let seat = ALONE.acquire().await.expect("a seat");
    World::open(server().await, &copy_of_template("alone").await, Some(seat)).await
}

/// As [`alone`], before any migration.
pub async fn empty() -> World {
    let seat = ALONE.acquire().await.expect("a seat");
    let name = create("empty", "template1").await;
    World::open(server().await, &name, Some(seat)).await
}

pub fn tenant() -> TenantId {
    TenantId::from_uuid(clock::new_id())
}

pub fn master(byte: u8) -> MasterKey {
    MasterKey::from_base64(&BASE64.encode([byte; 32])).expect("32 bytes")
}

async fn server() -> &'static Server {
    SERVER
        .get_or_init(|| async {
            let folder = tempfile::Builder::new()
                .prefix("tenure-infra-")
                .tempdir_in("/tmp")
                .expect("a folder")
                .keep();
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711)).expect("permissions");
            let master = master(7);
            let postgres = EmbeddedPostgres::start(&folder, &master).await.expect("Postgres");
            end_with_this_process(&folder);
            database::migrate(&postgres.url, &master).await.expect("migrated");
            Server { postgres, master }
        })
        .await
}

/// Nothing drops a static: a helper waits for the end of its standard input, which is ours, then ends the server and
/// removes its folder. So a killed test leaves nothing behind either.
fn end_with_this_process(folder: &Path) {
    let script = r#"
        cat >/dev/null
        kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"
        for i in $(seq 100); do [ -e "$0/data/postmaster.pid" ] || break; sleep 0.1; done
        rm -rf "$0"
    "#;
    let helper = Command::new("sh")
        .args(["-c", script])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a helper");
    // Its pipe stays open until this process is gone.
    std::mem::forget(helper);
}

fn url_of(server: &Server, database: &str) -> SecretString {
    let url = server.postgres.url.expose_secret();
    let (server, _) = url.rsplit_once('/').expect("a path");
    SecretString::from(format!("{server}/{database}"))
}

/// Another name for the same server: `postgres` is always there.
async fn create(purpose: &str, template: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("{purpose}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let pool = connect(&url_of(server().await, "postgres"), 1).await;
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name} template {template}")))
        .execute(&pool)
        .await
        .expect("a database");
    pool.close().await;
    name
}

async fn copy_of_template(purpose: &str) -> String {
    // A template must have no connections while it is copied, and two copies at once are connections to it.
    static COPYING: Semaphore = Semaphore::const_new(1);
    let _one = COPYING.acquire().await.expect("a turn");
    create(purpose, TEMPLATE).await
}

async fn connect(url: &SecretString, connections: u32) -> PgPool {
    let options = PgConnectOptions::from_str(url.expose_secret()).expect("an address");
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
        .expect("a connection")
}

impl World {
    async fn open(server: &Server, name: &str, seat: Option<SemaphorePermit<'static>>) -> Self {
        let owner_url = url_of(server, name);
        Self {
            database: Database::new(&owner_url, &server.master).expect("an address"),
            owner: connect(&owner_url, 4).await,
            owner_url,
            master: server.master.clone(),
            _seat: seat,
        }
    }

    /// The same database as another process sees it: with connections of its own. Close it.
    pub fn another_process(&self) -> Database {
        Database::new(&self.owner_url, &self.master).expect("an address")
    }

    /// The fairness store of this database. Close its database.
    pub fn fairness(&self) -> FairnessStore {
        let keyring = Keyring::new(self.master.clone(), self.database.clone());
        FairnessStore::new(&self.owner_url, &self.master, keyring).expect("an address")
    }

    /// Gives back the connections of a database of one's own, for the next test.
    pub async fn close(self) {
        self.database.close().await;
        self.owner.close().await;
    }

    /// Runs SQL as the owner.
    pub async fn as_owner(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.owner)
            .await
            .expect("the owner may");
    }

    /// Runs one statement in a transaction of the application: how many rows it touched.
    pub async fn execute(&self, tenants: &[TenantId], sql: &str) -> Result<u64, DatabaseError> {
        let sql = sql.to_owned();
        self.database
            .transact(Access::Write, tenants, move |connection| {
                Box::pin(async move { execute(connection, &sql).await })
            })
            .await
    }

    /// Reads one number in a transaction of the application.
    pub async fn number(&self, tenants: &[TenantId], sql: &str) -> Result<i64, DatabaseError> {
        let sql = sql.to_owned();
        self.database
            .transact(Access::Read, tenants, move |connection| {
                Box::pin(async move { number(connection, &sql).await })
            })
            .await
    }

    /// Reads one number as the owner.
    pub async fn owner_number(&self, sql: &str) -> i64 {
        let mut connection = self.owner.acquire().await.expect("a connection");
        number(&mut connection, sql).await.expect("a number")
    }
}

pub async fn execute(connection: &mut Connection, sql: &str) -> Result<u64, DatabaseError> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(failed)
}

pub async fn number(connection: &mut Connection, sql: &str) -> Result<i64, DatabaseError> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(connection)
        .await
        .map_err(failed)
}

pub fn failed(cause: sqlx::Error) -> DatabaseError {
    DatabaseError::Failed {
        doing: "do what the test asks",
        cause,
    }
}

/// A failure that a test wants.
pub fn on_purpose() -> DatabaseError {
    DatabaseError::Corrupt("on purpose")
}

/// Postgres' own code of a failure.
pub fn code<T: std::fmt::Debug>(result: Result<T, DatabaseError>) -> String {
    match result {
        Err(DatabaseError::Failed {
            cause: sqlx::Error::Database(error),
            ..
        }) => error.code().unwrap_or_default().into_owned(),
        other => format!("{other:?}"),
    }
}

/// `insufficient_privilege`: no grant, or a policy that refuses the row.
pub const REFUSED: &str = "42501";
