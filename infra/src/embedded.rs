//! Postgres and a Kafka-protocol broker that start with the product: for one machine, for a first look, and for tests.

mod broker;
mod postgres;

pub use broker::{EmbeddedBroker, EmbeddedBrokerError};
pub use postgres::{EmbeddedPostgres, EmbeddedPostgresError};

/// A port that is free now, below those that systems give to outgoing connections: a service that died is started again on
/// its port, and its clients' own attempts to reach it must not have taken that meanwhile.
fn free_port() -> std::io::Result<u16> {
    const FIRST: u16 = 16_000;
    const COUNT: u16 = 16_000;
    const ATTEMPTS: usize = 100;
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let found = (0..ATTEMPTS)
        .map(|_| {
            let id = crate::clock::new_id().into_bytes(); // its last bytes are random
            FIRST + u16::from_le_bytes([id[14], id[15]]) % COUNT
        })
        .find(|port| free(*port));
    match found {
        Some(port) => Ok(port),
        None => Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port()),
    }
}
