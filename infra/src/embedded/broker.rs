//! Tansu with its SQLite storage, in this process. What it acknowledged survives the death of the process; after a power
//! cut the last moments may be missing (SQLite's WAL with `synchronous = normal`), which one machine's Kafka shares.

mod delivery;

use std::{path::Path, time::Duration};

use rama::{Context, Layer as _, Service};
use tansu_broker::{
    coordinator::group::administrator::Controller,
    service::{coordinator, storage as api},
};
use tansu_service::{BytesFrameLayer, FrameRouteService, TcpBytesLayer, TcpContext, TcpContextLayer};
use tansu_storage::{BrokerRegistrationRequest, Storage as _, StorageContainer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use url::Url;
use uuid::Uuid;

use self::delivery::Arrivals;
use super::free_port;
use crate::broker::Brokers;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const CLUSTER: &str = "tenure";
const NODE: i32 = 111;
/// Threads that serve connections; SQLite itself writes one at a time.
const THREADS: usize = 4;
/// After a connection could not be accepted (no file descriptor was free, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        let listener = match remembered.map(listen) {
            Some(Ok(listener)) => listener,
            _ => free_port().and_then(listen).map_err(EmbeddedBrokerError::Folder)?,
        };
        let port = listener.local_addr().map_err(EmbeddedBrokerError::Folder)?.port();
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
        let started = Self {
            brokers: Brokers {
                addresses: format!("127.0.0.1:{port}"),
                exclusive: true,
            },
            runtime: Some(runtime),
        };
        if let Some(runtime) = &started.runtime {
            runtime
                .spawn(async move {
                    let broker = Broker::open(&storage, &address).await?;
                    index_headers(&database).await?;
                    tokio::spawn(broker.serve(listener));
                    Ok::<_, BoxError>(())
                })
                .await
                .map_err(|error| EmbeddedBrokerError::Start(error.to_string()))?
                .map_err(|error| EmbeddedBrokerError::Start(error.to_string()))?;
        }
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

fn listen(port: u16) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The broker's parts, put together as tansu-broker does, but with [`delivery`]'s ways to produce and fetch.
struct Broker {
    storage: StorageContainer,
    groups: Controller<StorageContainer>,
    arrivals: Arrivals,
}

impl Broker {
    async fn open(storage: &Url, address: &Url) -> Result<Self, BoxError> {
        let storage = StorageContainer::builder()
            .cluster_id(CLUSTER)
            .node_id(NODE)
            .advertised_listener(address.clone())
            .schema_registry(None)
            .storage(storage.clone())
            .silent(true)
            .build()
            .await?;
        storage
            .register_broker(BrokerRegistrationRequest {
                broker_id: NODE,
                cluster_id: CLUSTER.to_owned(),
                incarnation_id: Uuid::nil(),
                rack: None,
            })
            .await?;
        Ok(Self {
            groups: Controller::with_storage(storage.clone())?,
            storage,
            arrivals: Arrivals::default(),
        })
    }

    /// Serves connections until its runtime ends.
    async fn serve(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the embedded broker cannot listen");
                return;
            }
        };
        loop {
            let accepted = listener.accept().await.and_then(|(stream, _)| {
                stream.set_nodelay(true)?;
                Ok(stream)
            });
            match (accepted, self.services()) {
                (Ok(stream), Ok(services)) => drop(tokio::spawn(async move {
                    if let Err(error) = services.serve(Context::default(), stream).await {
                        tracing::debug!(%error, "a connection to the embedded broker ended");
                    }
                })),
                (Err(error), _) => {
                    tracing::warn!(%error, "the embedded broker could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (_, Err(error)) => tracing::error!(%error, "the embedded broker could not serve a connection"),
            }
        }
    }

    /// What one connection may ask for.
    fn services(
        &self,
    ) -> Result<impl Service<(), TcpStream, Response = (), Error = tansu_broker::Error> + use<>, tansu_broker::Error>
    {
        let apis = [
            api::consumer_group_describe,
            api::create_topics,
            api::delete_groups,
            api::delete_topics,
            api::describe_cluster,
            api::describe_configs,
            api::describe_groups,
            api::describe_topic_partitions,
            api::find_coordinator,
            api::init_producer_id,
            api::list_groups,
            api::list_offsets,
            api::metadata,
        ];
        let builder = apis.iter().try_fold(FrameRouteService::builder(), |builder, api| {
            api(builder, self.storage.clone())
        })?;
        let builder = delivery::produce(builder, self.storage.clone(), self.arrivals.clone())?;
        let builder = delivery::fetch(builder, self.storage.clone(), self.arrivals.clone())?;
        let routes = coordinator::services(builder, self.groups.clone())?.build()?;
        Ok((
            TcpContextLayer::new(TcpContext::default().cluster_id(Some(CLUSTER.to_owned()))),
            TcpBytesLayer::default(),
            BytesFrameLayer::default(),
        )
            .into_layer(routes))
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
