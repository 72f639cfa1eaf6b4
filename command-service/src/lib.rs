#![doc = include_str!("../README.md")]

pub mod adp;
pub mod appender;
pub mod bamboohr;
pub mod check;
pub mod completer;
pub mod connections;
pub mod files;
pub mod gusto;
pub mod http;
pub mod intake;
pub mod pace;
pub mod payroll;
pub mod problem;
pub mod push;
pub mod record;
pub mod scim;
pub mod source;
pub mod synchroniser;
pub mod token;
mod words;
pub mod workday;

use std::sync::Arc;

use domain::policy::Actor;
use infra::{
    auth::Verifier,
    broker::{Brokers, Producer},
    database::Database,
    inbox::Inbox,
    sealing::Keyring,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{connections::Connections, pace::Paces};

/// What all parts of the service share. Cheap to clone.
#[derive(Clone)]
pub struct CommandService {
    pub database: Database,
    pub keyring: Keyring,
    pub brokers: Brokers,
    /// For requests that wait.
    pub interactive: Producer,
    /// For streams of records.
    pub bulk: Producer,
    pub verifier: Verifier,
    pub connections: Connections,
    pub http: reqwest::Client,
    /// Where others put files, if there is such a place.
    pub inbox: Option<Inbox>,
    /// Files are worked on one at a time: each may need hundreds of megabytes.
    pub files: Arc<Semaphore>,
    /// How fast each source is asked.
    pub paces: Paces,
    /// Where this service is reached from outside, without a slash at the end: webhook addresses begin with it.
    pub public_url: Arc<str>,
    /// Unique among the processes of an installation, and the same after a restart.
    pub instance: Arc<str>,
    /// Rung when the appender has queued readings from the source.
    pub readings_wanted: Arc<Notify>,
    /// Rung when the appender has written the next step of a change of pay.
    pub pay_changes_wanted: Arc<Notify>,
    /// Rung when a connection has got something to do.
    pub tasks_wanted: Arc<Notify>,
    /// When the process ends: who waits for an outcome is then answered that it is pending.
    pub shutdown: CancellationToken,
}

/// How an actor is named in the log: by the token's subject, never by name.
#[must_use]
pub fn actor_name(actor: &Actor) -> String {
    format!("user:{}", actor.subject)
}
