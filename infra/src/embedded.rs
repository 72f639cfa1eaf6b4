//! Postgres and a Kafka-protocol broker that start with the product: for one machine, for a first look, and for tests.

mod broker;
mod postgres;

pub use broker::{EmbeddedBroker, EmbeddedBrokerError};
pub use postgres::{EmbeddedPostgres, EmbeddedPostgresError};

/// A port that is free now.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
