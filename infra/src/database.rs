//! Postgres: roles, migrations, and transactions that know their tenants.
//!
//! Five roles: whoever `DATABASE_URL` names owns and migrates; `tenure_app` works, owns nothing and is subject to
//! row-level security; `tenure_relay` reads the sealed log of all tenants and nothing else; `tenure_fairness`, alone, has the
//! protected attributes ([`crate::fairness`]); `tenure_what_if` reads, and writes only in sandboxes ([`crate::sandbox`]).
//!
//! Every unit of work runs in a task of its own. A request that is dropped half-way therefore never leaves an open
//! transaction behind: sqlx's `begin` is not cancel-safe (transact-rs/sqlx#4393), and the next borrower of the connection
//! would work inside it, with the tenant before.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use domain::id::TenantId;
use futures_util::future::BoxFuture;
use hmac::{Hmac, Mac};
use schemas::envelope::LogId;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use sqlx::{
    AssertSqlSafe, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::{log_archive::Unreadable, sealing::MasterKey};

/// The connection that a unit of work gets.
pub type Connection = sqlx::PgConnection;

/// Channel on which an append announces the new head of the log. A hint: readers poll as well.
pub const LOG_CHANNEL: &str = "tenure_log";
/// Channel on which changed risks are announced: JSON `{"tenant": …, "employees": […]}`.
pub const RISK_CHANNEL: &str = "tenure_risk";

const APP_ROLE: &str = "tenure_app";
const RELAY_ROLE: &str = "tenure_relay";
const FAIRNESS_ROLE: &str = "tenure_fairness";
/// Nobody logs in as this one: a transaction of the owner's takes it on.
pub(crate) const WHAT_IF_ROLE: &str = "tenure_what_if";
/// Connections of one process for the application's work.
pub const APP_CONNECTIONS_MAX: u32 = 24;
const RELAY_CONNECTIONS_MAX: u32 = 2;
/// One projection, and an audit a day.
const FAIRNESS_CONNECTIONS_MAX: u32 = 4;
/// How long a unit of work waits for a connection before it gives up.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The same where somebody waits for the end of a command, which would have to begin anew.
const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that was idle for longer is tried before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// A unit of work that failed, named by what it was doing.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("could not {doing}{}", why(cause))]
    Failed {
        doing: &'static str,
        #[source]
        cause: sqlx::Error,
    },
    /// Someone else got there first: another owner of the partition, or another writer of the stream.
    #[error("{0} was taken over by another process")]
    Fenced(&'static str),
    /// Someone wrote in between; deciding again on what is there now will do.
    #[error("{0} was written by someone else meanwhile")]
    Contended(&'static str),
    #[error("a unit of database work was cut off")]
    CutOff,
    #[error(
        "the database role {0} may bypass row-level security or owns tables: give the application a role of its own"
    )]
    TooPowerful(String),
    #[error("Postgres runs with {0} = off, so that it may lose what it has confirmed: set it on, and start again")]
    NotDurable(String),
    #[error(
        "no Postgres listens at {0}: start the product first (`tenure up` leaves its addresses in the data directory), or give DATABASE_URL"
    )]
    Nobody(String),
    #[error("stored {0} does not read")]
    Corrupt(&'static str),
    #[error(transparent)]
    Archive(#[from] Unreadable),
}

/// What kind of failure it was, in words that hold no stored value: logs show these, and nothing of what is below.
fn why(cause: &sqlx::Error) -> String {
    match cause {
        sqlx::Error::PoolTimedOut => " (no connection was free in time)".to_owned(),
        sqlx::Error::Io(_) => " (the connection broke)".to_owned(),
        sqlx::Error::Database(error) => error
            .code()
            .map(|code| format!(" (SQLSTATE {code})"))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

impl DatabaseError {
    /// Whether the connection is what failed: it broke, or the server ended it.
    fn is_connection_lost(&self) -> bool {
        let Self::Failed { cause, .. } = self else {
            return false;
        };
        match cause {
            sqlx::Error::Io(_) => true,
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02", "57P05"].contains(&code.as_ref())),
            _ => false,
        }
    }

    /// Whether trying again later can help, because the database, or a file of the log, cannot be reached
    /// or was busy.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => match cause {
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_) => true,
                // Serialisation, deadlock, lock timeout, unique races of ids that are derived, connection and shutdown classes.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    ["40001", "40P01", "55P03", "23505"].contains(&code.as_ref())
                        || code.starts_with("08")
                        || code.starts_with("57P")
                        || code.starts_with("53")
                }),
                _ => false,
            },
            // A folder that is not mounted comes back, as a database does.
            Self::CutOff | Self::Contended(_) | Self::Archive(_) | Self::Nobody(_) => true,
            Self::Fenced(_) | Self::TooPowerful(_) | Self::NotDurable(_) | Self::Corrupt(_) => false,
        }
    }
}

/// Names what a failed statement was for.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, DatabaseError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, DatabaseError> {
        self.map_err(|cause| DatabaseError::Failed { doing, cause })
    }
}

/// Creates roles and brings the schema up to date, as the owner. Safe to run by several processes at once.
///
/// # Errors
/// When the database cannot be reached, the role may not create roles, or a migration fails.
pub async fn migrate(owner_url: &SecretString, master: &MasterKey) -> Result<(), DatabaseError> {
    let pool = owner_pool(owner_url).await?;
    for role in [APP_ROLE, RELAY_ROLE, FAIRNESS_ROLE] {
        let password = role_password(master, role);
        // Names and password are our own, and the password is hexadecimal: nothing here comes from outside.
        let statement = format!(
            "do $$ begin
                perform pg_advisory_xact_lock(7465);
                if not exists (select from pg_roles where rolname = '{role}') then create role {role}; end if;
                alter role {role} login nosuperuser nobypassrls nocreatedb nocreaterole password '{password}';
                alter role {role} set idle_in_transaction_session_timeout = '60s';
                alter role {role} set lock_timeout = '10s';
            end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .doing("create the application's roles")?;
    }
    let what_if = format!(
        "do $$ begin
            perform pg_advisory_xact_lock(7465);
            if not exists (select from pg_roles where rolname = '{WHAT_IF_ROLE}') then create role {WHAT_IF_ROLE} nologin; end if;
            if not pg_has_role(current_user, '{WHAT_IF_ROLE}', 'member') then execute format('grant {WHAT_IF_ROLE} to %I', current_user); end if;
        end $$"
    );
    sqlx::raw_sql(AssertSqlSafe(what_if))
        .execute(&pool)
        .await
        .doing("create the role of sandboxes")?;
    sqlx::migrate!("../schemas/migrations")
        .run(&pool)
        .await
        .map_err(|cause| DatabaseError::Failed {
            doing: "bring the schema up to date",
            cause: cause.into(),
        })?;
    pool.close().await;
    Ok(())
}

/// The address at which nothing listens, if that is so: whoever is patient need not wait for what is not there.
fn nobody_at(owner_url: &SecretString) -> Result<Option<String>, DatabaseError> {
    let options = PgConnectOptions::from_str(owner_url.expose_secret()).doing("read the database's address")?;
    let (host, port) = (options.get_host(), options.get_port());
    // A socket's folder, or a name that nobody knows, is told of by the first connection.
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .unwrap_or_default();
    let refuses = |address: &SocketAddr| {
        TcpStream::connect_timeout(address, ACQUIRE_TIMEOUT)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    let nobody = !addresses.is_empty() && addresses.iter().all(refuses);
    Ok(nobody.then(|| format!("{host}:{port}")))
}

/// A few connections of the owner, for what changes tables.
pub(crate) async fn owner_pool(owner_url: &SecretString) -> Result<PgPool, DatabaseError> {
    let options = PgConnectOptions::from_str(owner_url.expose_secret()).doing("read the database's address")?;
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await
        .doing("connect to the database as its owner")
}

/// The roles' passwords follow from the master key, so that every process of an installation knows them.
fn role_password(master: &MasterKey, role: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(master.bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(b"database role ");
    mac.update(role.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What a unit of work wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    /// Reads rows by their keys, or along an index.
    LookUp,
    Write,
}

/// How a role connects.
fn options(owner_url: &SecretString, master: &MasterKey, role: &str) -> Result<PgConnectOptions, DatabaseError> {
    Ok(PgConnectOptions::from_str(owner_url.expose_secret())
        .doing("read the database's address")?
        .username(role)
        .password(&role_password(master, role))
        .application_name(role))
}

/// Connections of one role, made when they are first used.
fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < IDLE_TRUSTED {
                    return Ok(true);
                }
                Ok(sqlx::Connection::ping(connection).await.is_ok())
            })
        })
        .connect_lazy_with(options)
}

/// The application's database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    app: PgPool,
    relay: PgPool,
    log: Arc<OnceCell<LogId>>,
}

impl Database {
    /// Prepares pools; connects when first used, so that a process can start while Postgres is away.
    ///
    /// # Errors
    /// When the address does not read.
    pub fn new(owner_url: &SecretString, master: &MasterKey) -> Result<Self, DatabaseError> {
        Ok(Self {
            app: pool(options(owner_url, master, APP_ROLE)?, APP_CONNECTIONS_MAX),
            relay: pool(options(owner_url, master, RELAY_ROLE)?, RELAY_CONNECTIONS_MAX),
            log: Arc::default(),
        })
    }

    /// The database of a tool: waited for while it is busy ([`Self::patient`]), but not where nothing listens.
    ///
    /// # Errors
    /// When the address does not read, or nobody is there.
    pub fn of_tool(owner_url: &SecretString, master: &MasterKey) -> Result<Self, DatabaseError> {
        match nobody_at(owner_url)? {
            Some(address) => Err(DatabaseError::Nobody(address)),
            None => Ok(Self::new(owner_url, master)?.patient()),
        }
    }

    /// The same database for a tool, which rather waits for one that is busy than fails: not for whatever answers requests.
    #[must_use]
    pub fn patient(&self) -> Self {
        let again = |pool: &PgPool| {
            let options = pool.options().clone().acquire_timeout(PATIENCE);
            options.connect_lazy_with((*pool.connect_options()).clone())
        };
        Self {
            app: again(&self.app),
            relay: again(&self.relay),
            log: Arc::clone(&self.log),
        }
    }

    /// The same database, in which the tables of `schema` come before those of the same names that everybody else sees. What is
    /// written is as safe as the next transaction that waits for the disk, which is enough for what can be made again.
    pub(crate) fn in_schema(
        owner_url: &SecretString,
        master: &MasterKey,
        schema: &'static str,
    ) -> Result<Self, DatabaseError> {
        let search_path = format!("{schema},public");
        let own = [("search_path", search_path.as_str()), ("synchronous_commit", "off")];
        Ok(Self {
            app: pool(options(owner_url, master, APP_ROLE)?.options(own), APP_CONNECTIONS_MAX),
            relay: pool(options(owner_url, master, RELAY_ROLE)?, RELAY_CONNECTIONS_MAX),
            log: Arc::default(),
        })
    }

    /// The same database with the one role that may open the fairness store: for [`crate::fairness::FairnessStore`] only. It
    /// has no right to scores, features, the log or keys, and what is asked of it as the relay is refused.
    pub(crate) fn of_fairness(owner_url: &SecretString, master: &MasterKey) -> Result<Self, DatabaseError> {
        let pool = pool(options(owner_url, master, FAIRNESS_ROLE)?, FAIRNESS_CONNECTIONS_MAX);
        Ok(Self {
            app: pool.clone(),
            relay: pool,
            log: Arc::default(),
        })
    }

    /// Runs `work` in one transaction that sees and writes only `tenants`' rows. It runs in a task of its own: dropping the
    /// returned future lets it finish.
    ///
    /// # Errors
    /// What `work` says, or that the transaction could not begin or commit. After a failed commit the outcome is unknown:
    /// look before trying again.
    pub async fn transact<T, W>(&self, access: Access, tenants: &[TenantId], work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        Self::transact_on(self.app.clone(), access, tenants, work).await
    }

    /// As [`Self::transact`], with the relay's role: sees the whole log, sealed.
    ///
    /// # Errors
    /// As [`Self::transact`].
    pub async fn transact_as_relay<T, W>(&self, work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        Self::transact_on(self.relay.clone(), Access::Write, &[], work).await
    }

    /// Runs `work` on copies of `tables` that are empty at first, in a transaction that sees everything else as it was when it
    /// began, and that leaves nothing behind. Within it the tables' names mean the copies (as `pg_temp.…`); what they shadow
    /// is `public.…`, of which it sees `tenants`' rows.
    ///
    /// # Errors
    /// What `work` says, or that the transaction could not begin.
    pub async fn transact_in_shadow<T, W>(
        &self,
        tenants: &[TenantId],
        tables: &[&'static str],
        work: W,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.on_copies(tenants, tables, "rollback", work).await
    }

    /// As [`Self::transact_in_shadow`], but what `work` does to `public.…` stays. Nobody else writes to the shadowed tables
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Self::transact`].
    pub async fn transact_in_place<T, W>(
        &self,
        tenants: &[TenantId],
        tables: &[&'static str],
        work: W,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.on_copies(tenants, tables, "select 1; commit", work).await
    }

    async fn on_copies<T, W>(
        &self,
        tenants: &[TenantId],
        tables: &[&'static str],
        end: &'static str,
        work: W,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        let mut statement =
            begin_statement(Access::Write, tenants).replacen("begin", "begin isolation level repeatable read", 1);
        if end != "rollback" {
            // Before the first look at any row: what is seen is then all that there is until the end.
            let names: Vec<String> = tables.iter().map(|table| format!("public.{table}")).collect();
            statement.push_str(&format!(
                "; lock table {} in share row exclusive mode",
                names.join(", ")
            ));
        }
        for table in tables {
            statement.push_str(&format!(
                "; create temp table {table} (like public.{table} including all) on commit drop"
            ));
        }
        let pool = self.app.clone();
        let task = tokio::spawn(async move {
            let mut connection = pool.acquire().await.doing("get a database connection")?;
            // A statement that was prepared outside would still mean the tables themselves, and one from inside must not outlive this.
            connection.close_on_drop();
            sqlx::Connection::clear_cached_statements(&mut *connection)
                .await
                .doing("forget prepared statements")?;
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *connection)
                .await
                .doing("make empty copies of tables")?;
            let answer = work(&mut connection).await?;
            sqlx::raw_sql(end)
                .execute(&mut *connection)
                .await
                .doing("end a transaction")?;
            Ok(answer)
        });
        task.await.map_err(|_| DatabaseError::CutOff)?
    }

    async fn transact_on<T, W>(pool: PgPool, access: Access, tenants: &[TenantId], work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        let begin = begin_statement(access, tenants);
        let task = tokio::spawn(async move {
            let mut unit = Unit::begin(&pool, begin).await?;
            let answer = work(unit.connection()?).await;
            unit.end(access, answer.is_ok()).await?;
            answer
        });
        task.await.map_err(|_| DatabaseError::CutOff)?
    }

    /// The relay's exclusive seat: a session lock on a connection of its own, free as soon as that connection ends. Not
    /// needed for correctness (consumers skip what they have), only so that two relays do not both do the work.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn try_relay_seat(&self) -> Result<Option<Seat>, DatabaseError> {
        Seat::try_take(self.relay.clone(), 7466).await
    }

    /// The seat of whoever sends on what can wait: two would not keep each stream's order.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn try_bulk_seat(&self) -> Result<Option<Seat>, DatabaseError> {
        Seat::try_take(self.app.clone(), 7467).await
    }

    /// A watch that changes whenever `channel` is notified (the payload is a hint), and whenever the listener reconnected,
    /// because what was sent meanwhile is lost.
    #[must_use]
    pub fn listen(&self, channel: &'static str, shutdown: CancellationToken) -> watch::Receiver<String> {
        let (sender, receiver) = watch::channel(String::new());
        let pool = self.app.clone();
        tokio::spawn(async move {
            while !shutdown.is_cancelled() {
                let listened = async {
                    let mut listener = PgListener::connect_with(&pool).await?;
                    listener.listen(channel).await?;
                    sender.send_replace(String::new());
                    loop {
                        match listener.try_recv().await? {
                            Some(notification) => drop(sender.send_replace(notification.payload().to_owned())),
                            None => drop(sender.send_replace(String::new())),
                        }
                    }
                    #[expect(unreachable_code, reason = "gives the block its type")]
                    Ok::<(), sqlx::Error>(())
                };
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    _ended = listened => tokio::time::sleep(Duration::from_millis(500)).await,
                }
            }
        });
        receiver
    }

    /// Every notification of `channel`, in order; none while the connection is down.
    #[must_use]
    pub fn notifications(
        &self,
        channel: &'static str,
        capacity: usize,
        shutdown: CancellationToken,
    ) -> tokio::sync::broadcast::Sender<String> {
        let (sender, _) = tokio::sync::broadcast::channel(capacity);
        let pool = self.app.clone();
        let out = sender.clone();
        tokio::spawn(async move {
            while !shutdown.is_cancelled() {
                let listened = async {
                    let mut listener = PgListener::connect_with(&pool).await?;
                    listener.listen(channel).await?;
                    loop {
                        // Nobody listening is no error.
                        out.send(listener.recv().await?.payload().to_owned()).ok();
                    }
                    #[expect(unreachable_code, reason = "gives the block its type")]
                    Ok::<(), sqlx::Error>(())
                };
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    _ended = listened => tokio::time::sleep(Duration::from_millis(500)).await,
                }
            }
        });
        sender
    }

    /// Opens every connection that there may be, one after the other: whoever waits for one that is being opened cannot take another
    /// that becomes free meanwhile, and a machine on which everything begins at the same time opens them slowly.
    ///
    /// # Errors
    /// When one could not be opened in time, or the server has no more; those before it stay open.
    pub async fn warm(&self) -> Result<(), DatabaseError> {
        let mut open = Vec::new();
        for _ in 0..APP_CONNECTIONS_MAX {
            open.push(self.app.acquire().await.doing("open the database's connections")?);
        }
        Ok(())
    }

    /// Refuses to work with a role that row-level security does not bind, and with a server that confirms what it may lose: all
    /// that Tenure promises stands on both.
    ///
    /// # Errors
    /// When the role is too powerful, the server does not keep what it confirms, or the database cannot be reached.
    pub async fn assert_trustworthy(&self) -> Result<(), DatabaseError> {
        for pool in [&self.app, &self.relay] {
            let lossy: Option<String> = sqlx::query_scalar(
                "select name from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' limit 1",
            )
            .fetch_optional(pool)
            .await
            .doing("check the database's settings")?;
            if let Some(setting) = lossy {
                return Err(DatabaseError::NotDurable(setting));
            }
            let (role, powerful): (String, bool) = sqlx::query_as(
                "select current_user::text, rolsuper or rolbypassrls
                        or exists (select from pg_class where relowner = pg_roles.oid and relkind in ('r', 'p', 'v', 'm'))
                   from pg_roles where rolname = current_user",
            )
            .fetch_one(pool)
            .await
            .doing("check the application's role")?;
            if powerful {
                return Err(DatabaseError::TooPowerful(role));
            }
        }
        Ok(())
    }

    /// Which log it has. Asked for once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_id(&self) -> Result<LogId, DatabaseError> {
        let asked = self.log.get_or_try_init(|| async {
            let id = sqlx::query_scalar("select id from log_identity")
                .fetch_one(&self.app)
                .await;
            id.map(LogId).doing("read which log this is")
        });
        asked.await.copied()
    }

    /// Whether the database answers.
    pub async fn is_up(&self) -> bool {
        let pool = self.app.clone();
        let asked = tokio::spawn(async move { sqlx::query("select 1").execute(&pool).await.is_ok() });
        // A server that hangs keeps its connections open and says nothing.
        tokio::time::timeout(ACQUIRE_TIMEOUT, asked)
            .await
            .is_ok_and(|answer| answer.unwrap_or(false))
    }

    pub async fn close(&self) {
        self.app.close().await;
        self.relay.close().await;
    }
}

/// Lets a transaction that has not read anything yet see everything as it is at one moment.
///
/// # Errors
/// When it has read already, or the database fails.
pub async fn one_snapshot(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::raw_sql("set transaction isolation level repeatable read")
        .execute(connection)
        .await
        .doing("look at one moment")
        .map(drop)
}

/// `BEGIN` with the tenants named, in one round trip. A tenant's id is a UUID: it cannot carry SQL.
pub(crate) fn begin_statement(access: Access, tenants: &[TenantId]) -> String {
    // A batch finds its rows by lists of keys, and its table may have grown a thousandfold since anybody counted its rows. Left to
    // guess, the planner hashes or walks whole tables. `cross join lateral (… offset 0)` in the statements fixes the order, keys
    // first; these settings leave only the index for each key, and keep the plan: look-ups then cost the same at any size.
    const BY_KEYS: &str = "; set local plan_cache_mode = force_generic_plan; set local enable_bitmapscan = off; set local enable_seqscan = off";
    // Also projections wait for the disk, though the log could make their rows again: a transaction that a crash of the server takes
    // back after it was answered is missed by nobody until its partition's next event.
    let (mode, planning) = match access {
        Access::Read => ("read only", ""),
        Access::LookUp => ("read only", BY_KEYS),
        Access::Write => ("read write", BY_KEYS),
    };
    let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
    format!(
        "begin {mode}; set local app.tenants = '{{{}}}'{planning}",
        tenants.join(",")
    )
}

/// A transaction on a pooled connection. Ends with [`Unit::end`]; any other way (a panic, a runtime that stops) closes the
/// connection, so that nobody gets it with a transaction open.
struct Unit {
    connection: Option<PoolConnection<Postgres>>,
}

impl Unit {
    async fn begin(pool: &PgPool, statement: String) -> Result<Self, DatabaseError> {
        // A server that restarted leaves connections in the pool that fail when they are used next. Nothing was asked of them
        // yet, so the next one is tried: each failure takes one of them out of the pool.
        let mut stale = pool.options().get_max_connections();
        loop {
            let mut unit = Self {
                connection: Some(pool.acquire().await.doing("get a database connection")?),
            };
            let begun = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(unit.connection()?)
                .await
                .doing("begin a transaction");
            match begun {
                Ok(_) => return Ok(unit),
                Err(error) if stale > 0 && error.is_connection_lost() => stale -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, DatabaseError> {
        self.connection.as_deref_mut().ok_or(DatabaseError::CutOff)
    }

    async fn end(mut self, access: Access, commit: bool) -> Result<(), DatabaseError> {
        // Postgres rolls back the commit of a transaction in which something failed, and calls that a success. A statement
        // before it, in the same round trip, fails instead: what is answered as done was done.
        let statement = match access {
            Access::Write if commit => "select 1; commit",
            Access::Read | Access::LookUp if commit => "commit",
            Access::Read | Access::LookUp | Access::Write => "rollback",
        };
        let ended = sqlx::raw_sql(statement)
            .execute(self.connection()?)
            .await
            .doing("end a transaction");
        match ended {
            Ok(_) => {
                drop(self.connection.take()); // back to the pool
                Ok(())
            }
            // The work's own error says more than the failed rollback that followed it.
            Err(error) => {
                if commit {
                    Err(error)
                } else {
                    Ok(())
                }
            }
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
        }
    }
}

/// Holding it, this process is the only one that does a thing.
pub struct Seat {
    connection: PoolConnection<Postgres>,
}

impl Seat {
    async fn try_take(pool: PgPool, lock: i64) -> Result<Option<Self>, DatabaseError> {
        let task = tokio::spawn(async move {
            let mut connection = pool.acquire().await.doing("connect for a seat")?;
            connection.close_on_drop();
            let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
                .bind(lock)
                .fetch_one(&mut *connection)
                .await
                .doing("take a seat")?;
            Ok(taken.then_some(Self { connection }))
        });
        task.await.map_err(|_| DatabaseError::CutOff)?
    }

    /// Whether the seat's connection, and with it the seat, still lives.
    pub async fn is_held(&mut self) -> bool {
        sqlx::query("select 1").execute(&mut *self.connection).await.is_ok()
    }
}

/// Whether the server at `url` answers.
#[cfg(feature = "embedded")]
pub(crate) async fn answers(url: &SecretString) -> bool {
    use sqlx::{ConnectOptions, Connection as _};
    let Ok(options) = PgConnectOptions::from_str(url.expose_secret()) else {
        return false;
    };
    match options.connect().await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// Creates the database `name` on the server at `url`, if it is not there. The name is ours, never a user's.
#[cfg(feature = "embedded")]
pub(crate) async fn create_database(url: &SecretString, name: &'static str) -> Result<(), DatabaseError> {
    use sqlx::{ConnectOptions, Connection as _};
    let options = PgConnectOptions::from_str(url.expose_secret()).doing("read the database's address")?;
    let mut connection = options.connect().await.doing("connect to the embedded Postgres")?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .doing("look for the database")?;
    if !exists {
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await
            .doing("create the database")?;
    }
    connection.close().await.doing("close a connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_at_which_nothing_listens_is_told_apart_from_a_busy_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = SecretString::from(format!("postgres://somebody@{address}/tenure"));
        assert_eq!(nobody_at(&url).expect("an address"), None); // it does not answer, but it is there
        drop(listener);
        let master = MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key");
        let told = Database::of_tool(&url, &master)
            .err()
            .expect("nobody is there")
            .to_string();
        assert!(
            told.contains(&address.to_string()) && told.contains("tenure up"),
            "{told}"
        );
    }
}
