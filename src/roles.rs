//! The roles, each a set of loops and a router; `up` runs all of them, a cluster runs some in each process.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use command_service::{
    CommandService, appender, completer, connections::Connections, pace::Paces, payroll, synchroniser,
};
use infra::{database, fairness::FairnessStore, telemetry::Metrics};
use projection_workers::{
    ProjectionWorkers, bulk, fairness::Fairness, lag, outbox, performance, read_models::ReadModels, relay, runner,
    scorer::Scorer, teams::Teams,
};
use query_api::QueryApi;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Parts, Settings},
    health::{self, Health},
    train,
};

/// What a subcommand can fail with: printed with its causes by `main`.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a loop that failed waits before it is started again.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// How long loops may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A role as a process of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    pub settings: Settings,
    /// Where HTTP is served.
    #[arg(long, env = "TENURE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How this service is reached from outside.
    #[arg(long, env = "TENURE_PUBLIC_URL")]
    pub public_url: Option<String>,
}

/// Loops that run until shut down.
#[derive(Clone)]
pub struct Loops {
    pub tracker: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Loops {
    #[must_use]
    pub fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Runs a part that ends by itself only on shutdown or when it cannot go on: then, and when it panics, it is told of and started
    /// again. Nobody else would notice that a part of the process is gone.
    fn keep<F, E>(&self, name: &'static str, start: impl Fn(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            while !shutdown.is_cancelled() {
                // A task of its own, so that a panic ends no more than the part.
                let error: Failure = match tokio::spawn(start(shutdown.clone())).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error.into(),
                    // What it says is on standard error; it may hold values, which logs must not.
                    Err(_panicked) => "it panicked".into(),
                };
                metrics::counter!("tenure_restarts_total", "part" => name).increment(1);
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    part = name,
                    "{name} stopped and is started again"
                );
                tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(RESTART_DELAY) => {} }
            }
        });
    }

    /// As [`Self::keep`], for a part that goes on whatever it meets.
    fn keep_on<F>(&self, name: &'static str, start: impl Fn(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.keep(name, move |shutdown| {
            let part = start(shutdown);
            async move {
                part.await;
                Ok::<(), std::convert::Infallible>(())
            }
        });
    }

    /// Tells all loops to end, and waits.
    pub async fn end(&self) {
        self.shutdown.cancel();
        self.tracker.close();
        if tokio::time::timeout(END_TIMEOUT, self.tracker.wait()).await.is_err() {
            tracing::warn!("not everything ended in time: what is left is repeated at the next start");
        }
    }
}

impl Default for Loops {
    fn default() -> Self {
        Self::new()
    }
}

/// The command service, not started.
#[must_use]
pub fn new_command_service(parts: &Parts, public_url: &str, shutdown: CancellationToken) -> CommandService {
    CommandService {
        connections: Connections::new(parts.database.clone(), parts.keyring.clone()),
        database: parts.database.clone(),
        keyring: parts.keyring.clone(),
        brokers: parts.brokers.clone(),
        interactive: parts.interactive.clone(),
        bulk: parts.bulk.clone(),
        verifier: parts.verifier.clone(),
        http: parts.http.clone(),
        public_url: public_url.trim_end_matches('/').into(),
        instance: Arc::clone(&parts.instance),
        readings_wanted: Arc::default(),
        pay_changes_wanted: Arc::default(),
        inbox: parts.inbox.clone(),
        files: Arc::new(Semaphore::new(1)),
        paces: Paces::default(),
        tasks_wanted: Arc::default(),
        shutdown,
    }
}

/// Starts the command service's loops; answers its router.
///
/// # Errors
/// Never at once: loops that cannot work yet try again.
pub async fn start_command_service(parts: &Parts, public_url: &str, loops: &Loops) -> Result<Router, Failure> {
    let service = new_command_service(parts, public_url, loops.shutdown.clone());
    // Known before Postgres can go away.
    for live in service.connections.warm().await? {
        synchroniser::plan(&service, &live).await?;
    }
    let appending = service.clone();
    loops.keep("appender", move |shutdown| appender::run(appending.clone(), shutdown));
    let completing = service.clone();
    loops.keep_on("completer", move |shutdown| {
        completer::run(completing.clone(), shutdown)
    });
    let paying = service.clone();
    loops.keep_on("payroll", move |shutdown| payroll::run(paying.clone(), shutdown));
    let synchronising = service.clone();
    loops.keep_on("synchroniser", move |shutdown| {
        synchroniser::run(synchronising.clone(), shutdown)
    });
    Ok(command_service::http::router(service))
}

/// Starts relay, projections and scorer. The store's handle goes to its projection and to the audit, and nowhere else.
///
/// # Errors
/// When the model that ships with the product does not read.
pub fn start_projection_workers(parts: &Parts, store: &FairnessStore, loops: &Loops) -> Result<(), Failure> {
    let workers = ProjectionWorkers {
        database: parts.database.clone(),
        keyring: parts.keyring.clone(),
        brokers: parts.brokers.clone(),
        bulk: parts.bulk.clone(),
        instance: Arc::clone(&parts.instance),
    };
    let outgoing = Arc::new(Notify::new());
    let relaying = parts.clone();
    loops.keep_on("relay", move |shutdown| {
        let Parts { database, bulk, .. } = relaying.clone();
        relay::run(database, bulk, relaying.sealing(), shutdown)
    });
    let (sending, work) = (workers.clone(), Arc::clone(&outgoing));
    loops.keep_on("outbox", move |shutdown| {
        outbox::run(sending.clone(), Arc::clone(&work), shutdown)
    });
    let sending = workers.clone();
    loops.keep_on("bulk", move |shutdown| bulk::run(sending.clone(), shutdown));
    let database = parts.database.clone();
    loops.keep_on("lag", move |shutdown| lag::run(database.clone(), shutdown));
    let reading = workers.clone();
    loops.keep("read-models", move |shutdown| {
        runner::run(reading.clone(), ReadModels::new(reading.database.clone()), shutdown)
    });
    let (apart, fairness) = Fairness::new(&workers, store);
    loops.keep("fairness", move |shutdown| {
        runner::run(apart.clone(), fairness.clone(), shutdown)
    });
    let teams = Teams::new(workers.database.clone(), workers.keyring.clone(), Arc::clone(&outgoing));
    let knowing = workers.clone();
    loops.keep("teams", move |shutdown| {
        runner::run(knowing.clone(), teams.clone(), shutdown)
    });
    let scorer = Scorer::new(workers.database.clone(), workers.keyring.clone(), outgoing)?;
    let (judging, store) = (scorer.clone(), store.clone());
    loops.keep_on("performance", move |shutdown| {
        performance::run(judging.clone(), store.clone(), shutdown)
    });
    if parts.retrain_days > 0 {
        let training = parts.clone();
        loops.keep_on("training", move |shutdown| {
            train::keep_trained(training.clone(), shutdown)
        });
    }
    loops.keep("scorer", move |shutdown| {
        runner::run(workers.clone(), scorer.clone(), shutdown)
    });
    Ok(())
}

/// The query API's router.
pub fn start_query_api(parts: &Parts, loops: &Loops) -> Router {
    let options = query_api::Options {
        development: parts.development,
        pseudonym_key: parts.master.derive("pseudonyms").to_vec().into(),
    };
    query_api::router(QueryApi::new(
        parts.database.clone(),
        parts.keyring.clone(),
        parts.verifier.clone(),
        options,
        loops.shutdown.clone(),
    ))
}

/// Serves until told to stop, then ends in order: no new requests, running ones finish, loops end.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listener: TcpListener, router: Router, loops: &Loops) -> Result<(), Failure> {
    let stop = loops.shutdown.clone();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await?;
    loops.end().await;
    Ok(())
}

/// Cancels the loops when the process is told to end.
pub fn end_on_signal(loops: &Loops) {
    let shutdown = loops.shutdown.clone();
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, () = shutdown.cancelled() => {} }
        shutdown.cancel();
    });
}

async fn alone(
    serve_at: Serve,
    role: &'static str,
    start: impl AsyncFnOnce(&Parts, &str, &Loops) -> Result<Router, Failure>,
) -> Result<(), Failure> {
    let metrics = Metrics::start()?;
    let parts = serve_at.settings.parts()?;
    parts.database.assert_trustworthy().await?;
    let loops = Loops::new();
    end_on_signal(&loops);
    let listener = TcpListener::bind(serve_at.listen).await?;
    let public_url = serve_at
        .public_url
        .unwrap_or_else(|| format!("http://{}", serve_at.listen));
    let router = start(&parts, &public_url, &loops).await?;
    let health = health::router(Health {
        database: parts.database.clone(),
        brokers: parts.brokers.clone(),
        metrics,
        role,
    });
    tracing::info!(listen = %serve_at.listen, role, "{role} serves on {}", serve_at.listen);
    serve(listener, router.merge(health), &loops).await?;
    parts.bulk.flush().await;
    parts.database.close().await;
    Ok(())
}

/// # Errors
/// When it cannot start.
pub async fn command_service(serve: Serve) -> Result<(), Failure> {
    let replication = serve.settings.kafka_replication;
    alone(serve, "command-service", async |parts, url, loops| {
        parts
            .brokers
            .ensure_topics(schemas::topics::PARTITIONS_DEFAULT, replication)
            .await?;
        start_command_service(parts, url, loops).await
    })
    .await
}

/// # Errors
/// When it cannot start.
pub async fn projection_workers(serve: Serve) -> Result<(), Failure> {
    let settings = serve.settings.clone();
    alone(serve, "projection-workers", async |parts, _url, loops| {
        let store = settings.fairness_store(&parts.keyring)?;
        store.database().assert_trustworthy().await?;
        start_projection_workers(parts, &store, loops).map(|()| Router::new())
    })
    .await
}

/// # Errors
/// When it cannot start.
pub async fn query_api(serve: Serve) -> Result<(), Failure> {
    alone(serve, "query-api", async |parts, _url, loops| {
        Ok(start_query_api(parts, loops))
    })
    .await
}

/// # Errors
/// When the database cannot be reached or a migration fails.
pub async fn migrate(settings: Settings) -> Result<(), Failure> {
    settings.prepare_data_dir()?;
    database::migrate(&settings.database_url()?, &settings.master()?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_started_again() {
        let loops = Loops::new();
        let (starts, goes_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (Arc::clone(&starts), Arc::clone(&goes_on));
        loops.keep_on("test", move |shutdown| {
            let (counted, told) = (Arc::clone(&counted), Arc::clone(&told));
            async move {
                if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                    std::panic::resume_unwind(Box::new("on purpose")); // without a word on the screen
                }
                told.notify_one();
                shutdown.cancelled().await;
            }
        });
        goes_on.notified().await;
        loops.end().await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        assert!(loops.tracker.is_empty(), "it ends with the others");
    }
}
