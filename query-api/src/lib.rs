#![doc = include_str!("../README.md")]

mod access;
mod analytics;
mod changes;
mod cursor;
mod error;
mod freshness;
mod graphql;
mod http;
mod limits;
mod loaders;
mod socket;
mod store;

use std::sync::Arc;

pub(crate) use domain::suppression;

use axum::{Router, routing};
use infra::{auth::Verifier, database::Database, sealing::Keyring};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use freshness::{CONSUMERS, READ_MODELS_CONSUMER, SCORER_CONSUMER};
pub use graphql::sdl;

use changes::Changes;
use freshness::Freshness;
use graphql::Schemas;
use store::Store;

/// What an installation may choose.
pub struct Options {
    /// GraphiQL and introspection: for development only.
    pub development: bool,
    /// What pseudonyms are made with (`MasterKey::derive("pseudonyms")`): they are stable for as long as it is.
    pub pseudonym_key: Zeroizing<Vec<u8>>,
}

/// The query side of one process. Cheap to clone.
#[derive(Clone)]
pub struct QueryApi(Arc<Inner>);

pub(crate) struct Inner {
    pub verifier: Verifier,
    pub store: Store,
    pub freshness: Freshness,
    pub schemas: Schemas,
    pub development: bool,
    pub shutdown: CancellationToken,
}

impl QueryApi {
    /// Starts listening for changed risks; needs a tokio runtime. Works while the database is away: requests then say so.
    #[must_use]
    pub fn new(
        database: Database,
        keyring: Keyring,
        verifier: Verifier,
        options: Options,
        shutdown: CancellationToken,
    ) -> Self {
        let changes = Changes::listen(&database, shutdown.clone());
        let freshness = Freshness::new(database.clone());
        let store = Store::new(database, keyring, options.pseudonym_key, changes);
        let schemas = Schemas::new(&store, &freshness, options.development);
        Self(Arc::new(Inner {
            verifier,
            store,
            freshness,
            schemas,
            development: options.development,
            shutdown,
        }))
    }
}

/// `/analytics/model-performance`; and `/graphql`: POST for queries, WebSocket for subscriptions (and queries), GraphiQL in development.
pub fn router(api: QueryApi) -> Router {
    Router::new()
        .route("/graphql", routing::post(http::post).get(http::get))
        .route(
            "/analytics/model-performance",
            routing::get(analytics::model_performance),
        )
        .with_state(api.0)
}
