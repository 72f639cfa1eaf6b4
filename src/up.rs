//! `tenure up`: the whole product in one process, with an embedded default for what is not given by address.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use command_service::intake::{self, Content, Submission};
use domain::{
    Kind, StreamId,
    id::{CommandId, EmployeeId, TenantId},
    policy::Role,
    tenant,
};
use infra::{
    auth,
    broker::Brokers,
    checkpoint, clock,
    database::{self, Access, Database, DatabaseError},
    embedded::{EmbeddedBroker, EmbeddedPostgres},
    event_log::EventLog,
    outcome, read_model, route,
    telemetry::Metrics,
};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Parts, Settings},
    demo,
    health::{self, Health},
    roles::{self, Failure, Loops},
};

/// How long development tokens are valid: `tenure up` writes new ones at each start.
const TOKEN_VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long everything may take to work.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const TOKENS_FILE: &str = "dev-tokens.json";

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub settings: Settings,
    /// Where everything is served.
    #[arg(long, env = "TENURE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How this is reached from outside: webhook addresses begin with it.
    #[arg(long, env = "TENURE_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Connects a simulated BambooHR with a retail company, imports it, trains a model, and keeps sending changes.
    #[arg(long)]
    pub demo: bool,
    /// How many people the simulated company employs.
    #[arg(long, default_value_t = demo::EMPLOYEES_DEFAULT)]
    pub demo_employees: usize,
}

/// Services that this process started itself.
struct Embedded {
    postgres: Option<EmbeddedPostgres>,
    broker: Option<EmbeddedBroker>,
}

/// Runs until told to end.
///
/// # Errors
/// When something cannot start.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let started = Instant::now();
    let settings = &arguments.settings;
    settings.prepare_data_dir()?;
    let metrics = Metrics::start()?;
    let loops = Loops::new();
    roles::end_on_signal(&loops);
    // First, so that a port that is taken is told before anything else is started.
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        format!(
            "{} cannot be listened on ({error}): give another --listen",
            arguments.listen
        )
    })?;
    let address = listener.local_addr()?;

    let (embedded, database_url, brokers) = services(settings).await?;
    let stop_postgres = CancellationToken::new();
    let postgres = embedded
        .postgres
        .map(|postgres| tokio::spawn(postgres.keep(stop_postgres.clone())));
    database::migrate(&database_url, &settings.master()?).await?;
    settings.publish(&database_url, &brokers)?;
    let parts = Parts::new(settings, Database::new(&database_url, &settings.master()?)?, brokers)?;
    if let Err(error) = parts.database.warm().await {
        // A smaller server does too; what is missing is opened when it is needed.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "not every connection to the database could be opened at the start"
        );
    }
    patiently(|| parts.database.assert_trustworthy()).await?;
    let store = settings.fairness_store(&parts.keyring)?;
    patiently(|| store.database().assert_trustworthy()).await?;
    let log = EventLog::new(parts.database.clone());
    patiently(|| log.prepare()).await?;
    parts
        .brokers
        .ensure_topics(schemas::topics::PARTITIONS_DEFAULT, settings.kafka_replication)
        .await?;
    let tenant = tenant(&parts).await?;

    let before = epochs(&parts).await?;
    let url = arguments
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}"));
    let router = roles::start_command_service(&parts, &url, &loops).await?;
    roles::start_projection_workers(&parts, &store, &loops)?;
    let router = router
        .merge(roles::start_query_api(&parts, &loops))
        .merge(health::router(Health {
            database: parts.database.clone(),
            brokers: parts.brokers.clone(),
            metrics,
            role: "up",
        }));
    let serving = {
        let loops = loops.clone();
        tokio::spawn(async move { roles::serve(listener, router, &loops).await })
    };

    let outcome = async {
        create_tenant(&parts, tenant).await?;
        await_consumers(&parts, &before).await?;
        let tokens = write_tokens(settings, &parts, tenant).await?;
        let mut out = std::io::stdout();
        if arguments.demo {
            demo::run(demo::Scene {
                parts: &parts,
                loops: &loops,
                url: &url,
                tenant,
                admin_token: tokens.get(Role::Admin.name()).cloned().unwrap_or_default(),
                employees: arguments.demo_employees,
                data_dir: &settings.data_dir,
            })
            .await?;
            // The store manager of the demo is known only now.
            write_tokens(settings, &parts, tenant).await?;
        }
        say_where(&mut out, &url, settings, &parts, tenant).await?;
        writeln!(out, "ready {url} after {:.1} s", started.elapsed().as_secs_f64())?;
        out.flush()?;
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = outcome => outcome,
        () = loops.shutdown.cancelled() => Ok(()),
    };
    if outcome.is_err() {
        loops.shutdown.cancel();
    }
    serving.await??;
    parts.bulk.flush().await;
    store.database().close().await;
    parts.database.close().await;
    drop(embedded.broker);
    if let Some(postgres) = postgres {
        stop_postgres.cancel();
        postgres.await?.stop().await;
    }
    outcome
}

/// Postgres and Kafka: by address, or embedded.
async fn services(settings: &Settings) -> Result<(Embedded, SecretString, Brokers), Failure> {
    let master = settings.master()?;
    let (postgres_folder, broker_folder) = (settings.data_dir.join("postgres"), settings.data_dir.join("broker"));
    let postgres = async {
        match &settings.database_url {
            Some(_) => Ok::<_, Failure>(None),
            None => Ok(Some(EmbeddedPostgres::start(&postgres_folder, &master).await?)),
        }
    };
    let broker = async {
        match &settings.kafka_brokers {
            Some(_) => Ok::<_, Failure>(None),
            None => Ok(Some(EmbeddedBroker::start(&broker_folder).await?)),
        }
    };
    let (postgres, broker) = tokio::try_join!(postgres, broker)?;
    let database_url = match &postgres {
        Some(postgres) => postgres.url.clone(),
        None => settings.database_url()?,
    };
    let brokers = match &broker {
        Some(broker) => broker.brokers.clone(),
        None => settings.brokers()?,
    };
    Ok((Embedded { postgres, broker }, database_url, brokers))
}

/// The installation's tenant: the first there is, or a new one with a key of its own.
async fn tenant(parts: &Parts) -> Result<TenantId, Failure> {
    let known = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    let tenant = known
        .first()
        .copied()
        .unwrap_or_else(|| TenantId::from_uuid(clock::new_id()));
    parts.keyring.ensure_tenant(tenant).await?;
    Ok(tenant)
}

/// Tells the log of the tenant, and sees by it that the way through intake and appender works.
async fn create_tenant(parts: &Parts, tenant: TenantId) -> Result<(), Failure> {
    let command = tenant::Command::Create {
        name: "Development".to_owned(),
        on: clock::today(),
    };
    let id = CommandId::derive(tenant, "up", "create");
    let tenants = [tenant];
    let find = || {
        parts.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(async move { outcome::find(connection, &[(tenant, id)]).await })
        })
    };
    if !patiently(find).await?.is_empty() {
        return Ok(());
    }
    let submission = Submission {
        id,
        stream: StreamId::new(tenant, Kind::Tenant, tenant),
        actor: "tenure:up".to_owned(),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(schemas::codec::AnyCommand::Tenant(command))),
    };
    intake::submit(&parts.interactive, &parts.keyring, vec![submission]).await?;
    let deadline = Instant::now() + READY_TIMEOUT;
    while patiently(find).await?.is_empty() {
        if Instant::now() > deadline {
            return Err(
                "the first command did not get through to the log: see the log above for what is broken".into(),
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until this process owns every partition of every consumer (each has changed hands since `before`), and the
/// projections have caught up.
async fn await_consumers(parts: &Parts, before: &Epochs) -> Result<(), Failure> {
    use projection_workers::{
        fairness::Fairness, read_models::ReadModels, runner::Projection, scorer::Scorer, teams::Teams,
    };
    let deadline = Instant::now() + READY_TIMEOUT;
    let partitions = parts.bulk.partitions(schemas::topics::EVENTS).await?;
    let consumers = [
        command_service::appender::CONSUMER,
        ReadModels::NAME,
        Scorer::NAME,
        Fairness::NAME,
        Teams::NAME,
    ];
    loop {
        let now = epochs(parts).await?;
        let owned = consumers.iter().all(|consumer| {
            (0..partitions).all(|partition| {
                let key = ((*consumer).to_owned(), partition);
                now.get(&key)
                    .is_some_and(|epoch| before.get(&key).is_none_or(|before| epoch > before))
            })
        });
        let standing = patiently(|| projection_workers::lag::standing(&parts.database)).await?;
        if owned && standing.projections.iter().all(|named| named.behind.lag_events <= 0) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(
                "the consumers do not get their partitions or do not catch up: see the log above for what is broken"
                    .into(),
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

type Epochs = BTreeMap<(String, i32), i64>;

async fn epochs(parts: &Parts) -> Result<Epochs, Failure> {
    let ask = || {
        parts
            .database
            .transact(Access::Read, &[], |connection| Box::pin(checkpoint::epochs(connection)))
    };
    Ok(patiently(ask).await?)
}

/// Asks a database that is busy for a moment, while all parts begin at once, again.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, DatabaseError>
where
    F: Future<Output = Result<T, DatabaseError>>,
{
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        match ask().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

/// One development token per role, for the data directory and the terminal.
///
/// # Errors
/// When the file cannot be written.
async fn write_tokens(
    settings: &Settings,
    parts: &Parts,
    tenant: TenantId,
) -> Result<BTreeMap<&'static str, String>, Failure> {
    let secret = config::development_secret(&parts.master);
    let manager = largest_team(parts, tenant).await?;
    let mut tokens = BTreeMap::new();
    for role in Role::ALL {
        let employee = manager.filter(|_| role == Role::StoreManager);
        tokens.insert(
            role.name(),
            auth::development_token(&secret, tenant, role, employee, clock::now(), TOKEN_VALID)?,
        );
    }
    let path = settings.data_dir.join(TOKENS_FILE);
    config::write_private(&path, &serde_json::to_string_pretty(&tokens)?)?;
    Ok(tokens)
}

/// Whom the development store manager is: somebody with a team to look at.
async fn largest_team(parts: &Parts, tenant: TenantId) -> Result<Option<EmployeeId>, Failure> {
    let tenants = [tenant];
    let ask = || {
        parts.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(read_model::stats::largest_team(connection, tenant))
        })
    };
    let manager = patiently(ask).await?;
    Ok(manager.map(EmployeeId::from_uuid))
}

/// Where to click, and with what.
async fn say_where(
    out: &mut impl Write,
    url: &str,
    settings: &Settings,
    parts: &Parts,
    tenant: TenantId,
) -> Result<(), Failure> {
    let tokens = write_tokens(settings, parts, tenant).await?;
    let path: &Path = &settings.data_dir.join(TOKENS_FILE);
    writeln!(out, "GraphQL (open it in a browser)   {url}/graphql")?;
    writeln!(out, "health                           {url}/health/detailed")?;
    writeln!(out, "metrics                          {url}/metrics")?;
    writeln!(out, "development tokens               {}", path.display())?;
    for (role, token) in tokens {
        writeln!(out, "  {role:<14} {token}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_busy_database_is_asked_again_and_a_broken_one_is_not() {
        let asked = Cell::new(0);
        let busy_at_first = || {
            asked.set(asked.get() + 1);
            let answer = if asked.get() < 3 {
                Err(DatabaseError::CutOff)
            } else {
                Ok(asked.get())
            };
            std::future::ready(answer)
        };
        assert!(matches!(patiently(busy_at_first).await, Ok(3)));
        asked.set(0);
        let broken = || {
            asked.set(asked.get() + 1);
            std::future::ready(Err::<(), _>(DatabaseError::Corrupt("by this test")))
        };
        assert!(matches!(patiently(broken).await, Err(DatabaseError::Corrupt(_))));
        assert_eq!(asked.get(), 1);
    }
}
