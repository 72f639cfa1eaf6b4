#![doc = include_str!("../README.md")]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod audit;
pub mod bulk;
pub mod fairness;
pub mod lag;
pub mod memories;
pub mod outbox;
pub mod performance;
pub mod proof;
pub mod read_models;
pub mod rebuild;
pub mod relay;
pub mod runner;
pub mod scorer;
pub mod teams;
pub mod version;
pub mod what_if;

use std::sync::Arc;

use infra::{
    broker::{Brokers, Producer},
    database::Database,
    sealing::Keyring,
};

/// What all parts of the service share. Cheap to clone.
#[derive(Clone)]
pub struct ProjectionWorkers {
    pub database: Database,
    pub keyring: Keyring,
    pub brokers: Brokers,
    pub bulk: Producer,
    /// Unique among the processes of an installation, and the same after a restart.
    pub instance: Arc<str>,
}
