//! Tansu with its SQLite storage, in this process. What it acknowledged survives the death of the process; after a power
//! cut the last moments may be missing (SQLite's WAL with `synchronous = normal`), which one machine's Kafka shares.

use std::{marker::PhantomData, path::Path, time::Duration};

use tansu_broker::broker::Builder;
use tokio::runtime::Runtime;
use url::Url;
use uuid::Uuid;

use super::free_port;
use crate::broker::Brokers;

/// Threads that serve connections; SQLite itself writes one at a time.
const THREADS: usize = 4;
/// How long the broker may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedBrokerError {
    #[error("the embedded broker's folder could not be used")]
    Folder(#[source] std::io::Error),
    #[error("the embedded broker's address does not read")]
    Address(#[source] url::ParseError),
    #[error("the embedded broker did not start: {0}")]
    Start(String),
}

/// A running broker; it ends when this is dropped.
///
/// It has threads of its own: its storage engine blocks them, and the product's must not wait for that.
pub struct EmbeddedBroker {
    pub brokers: Brokers,
    runtime: Option<Runtime>,
}

impl EmbeddedBroker {
    /// Starts a broker whose data is in `folder`, on the port that it had before, or a free one.
    ///
    /// # Errors
    /// When the folder or the port cannot be used.
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedBrokerError> {
        std::fs::create_dir_all(folder).map_err(EmbeddedBrokerError::Folder)?;
        // Clients and the broker's own metadata remember the address, so it stays the same if it can.
        let port_file = folder.join("port");
        let remembered = std::fs::read_to_string(&port_file)
            .ok()
            .and_then(|text| text.trim().parse::<u16>().ok());
        let port = match remembered.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            Some(port) => port,
            None => free_port().map_err(EmbeddedBrokerError::Folder)?,
        };
        std::fs::write(&port_file, port.to_string()).map_err(EmbeddedBrokerError::Folder)?;

        let address = Url::parse(&format!("tcp://127.0.0.1:{port}")).map_err(EmbeddedBrokerError::Address)?;
        let database = std::path::absolute(folder.join("broker.db")).map_err(EmbeddedBrokerError::Folder)?;
        // The engine strips one slash and joins the rest to the working directory: a second slash keeps the path absolute.
        let storage = Url::parse(&format!("sqlite:///{}", database.display())).map_err(EmbeddedBrokerError::Address)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("embedded broker")
            .enable_all()
            .build()
            .map_err(EmbeddedBrokerError::Folder)?;
        let building = Builder::<
            PhantomData<i32>,
            PhantomData<String>,
            PhantomData<Uuid>,
            PhantomData<Url>,
            PhantomData<Url>,
            PhantomData<Url>,
        >::default()
        .node_id(111)
        .cluster_id("tenure")
        .incarnation_id(Uuid::nil())
        .advertised_listener(address.clone())
        .schema_registry(None)
        .storage(storage)
        .listener(address)
        .silent(true)
        .build();
        let built = runtime.spawn(building).await;
        let started = Self {
            brokers: Brokers {
                addresses: format!("127.0.0.1:{port}"),
                exclusive: true,
            },
            runtime: Some(runtime),
        };
        let mut broker = built
            .map_err(|error| EmbeddedBrokerError::Start(error.to_string()))?
            .map_err(|error| EmbeddedBrokerError::Start(error.to_string()))?;
        index_headers(&database)
            .await
            .map_err(|error| EmbeddedBrokerError::Start(error.to_string()))?;
        if let Some(runtime) = &started.runtime {
            runtime.spawn(async move {
                if let Err(error) = broker.serve(tokio::time::Instant::now()).await {
                    tracing::error!(%error, "the embedded broker stopped");
                }
            });
        }
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, listening)
            .await
            .map_err(|_| EmbeddedBrokerError::Start("it does not listen".to_owned()))?;
        Ok(started)
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits for its threads, which an async context must not.
            runtime.shutdown_background();
        }
    }
}

/// The broker keeps a row per header and looks them up by record, but its schema (tansu-storage 0.6.0) has no index for
/// that: each fetched record would scan all headers that were ever written.
async fn index_headers(database: &Path) -> Result<(), libsql::Error> {
    let connection = libsql::Builder::new_local(database).build().await?.connect()?;
    connection
        .execute(
            "create index if not exists tenure_header_by_record on header (topition, offset_id)",
            (),
        )
        .await?;
    Ok(())
}
