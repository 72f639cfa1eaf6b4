//! What the simulated vendors share.

use super::company::Company;
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The company, shared between the server, the senders of webhooks and tests.
pub type SharedCompany = Arc<Mutex<Company>>;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The clock of the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the vendor's own clock: the simulation is outside of Tenure"
)]
pub fn system_clock() -> Clock {
    Arc::new(Utc::now)
}

/// Locks the company, also after somebody panicked while holding it.
pub fn lock(company: &SharedCompany) -> MutexGuard<'_, Company> {
    company.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on 127.0.0.1 for the simulated {vendor}")]
pub struct CannotListen {
    /// Whose simulation.
    pub vendor: &'static str,
    #[source]
    pub(super) cause: std::io::Error,
}
