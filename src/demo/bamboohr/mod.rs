//! A BambooHR that runs on this machine, over a simulated company.
//!
//! It answers as the vendor documents it (`facts/connectors.md`, A1): both forms of address, Basic auth, fields that
//! one may not see left out in silence, table rows in no order, two shapes of a rate, `changed` keyed on the
//! employee's last change of anything. A [`FaultPlan`] makes it misbehave while it runs.
//!
//! Departures: plain HTTP; webhook addresses on this machine may be plain HTTP; the list of employees is sorted by id
//! only and takes Basic auth; nothing but `employees/{id}` answers in XML when JSON is not asked for.

mod api;
mod fields;
mod registrations;
#[cfg(test)]
mod tests;

pub use fields::{FIELDS, Field, field_by_alias, value_of};
pub use registrations::{Format, RegisteredWebhook};

use super::company::{Change, Company, EditRefused, EmployeeId, Table};
use super::faults::FaultPlan;
use super::vendor::{CannotListen, Clock, SharedCompany, lock, system_clock};
use axum::Router;
use chrono::{DateTime, NaiveDate, Utc};
use registrations::Registrations;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// Something that nobody can guess, for request ids and private keys.
#[expect(
    clippy::disallowed_methods,
    reason = "the vendor's own ids: the simulation is outside of Tenure"
)]
fn random_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// How to serve.
#[derive(Clone)]
pub struct ServerOptions {
    /// Port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// The one key that is accepted.
    pub api_key: String,
    /// Tells the time.
    pub clock: Clock,
}

impl ServerOptions {
    /// Any free port and the machine's clock.
    pub fn new(api_key: impl Into<String>) -> Self {
        Self {
            port: 0,
            api_key: api_key.into(),
            clock: system_clock(),
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Server {
    company: SharedCompany,
    faults: FaultPlan,
    registrations: Arc<Mutex<Registrations>>,
    options: ServerOptions,
}

impl Server {
    fn registrations(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running simulation; it stops when dropped.
pub struct SimulatedBambooHr {
    address: SocketAddr,
    server: Server,
    task: JoinHandle<()>,
}

impl SimulatedBambooHr {
    /// Starts to serve a company.
    pub async fn start(company: SharedCompany, options: ServerOptions) -> Result<Self, CannotListen> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .map_err(|cause| CannotListen {
                vendor: "BambooHR",
                cause,
            })?;
        let address = listener.local_addr().map_err(|cause| CannotListen {
            vendor: "BambooHR",
            cause,
        })?;
        let server = Server {
            company,
            faults: FaultPlan::default(),
            registrations: Arc::default(),
            options,
        };
        let router = Router::new().fallback(api::answer).with_state(server.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated BambooHR stopped");
            }
        });
        tracing::info!(%address, "the simulated BambooHR listens");
        Ok(Self { address, server, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base of the present form of address, up to and without the version: `http://127.0.0.1:port/api`.
    pub fn base_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// The base of the older form of address: `http://127.0.0.1:port/api/gateway.php/{companyDomain}`.
    pub fn gateway_url(&self) -> String {
        format!("http://{}/api/gateway.php/{}", self.address, self.company().domain)
    }

    /// The company.
    pub fn company(&self) -> MutexGuard<'_, Company> {
        lock(&self.server.company)
    }

    /// A handle to the company.
    pub fn shared_company(&self) -> SharedCompany {
        Arc::clone(&self.server.company)
    }

    /// Faults and counters.
    pub fn faults(&self) -> &FaultPlan {
        &self.server.faults
    }

    /// The webhooks that were registered, with their keys.
    pub fn webhooks(&self) -> Vec<RegisteredWebhook> {
        self.server.registrations().all()
    }

    /// Has the log of a webhook say that it told of `employees` just now, and that the receiver answered `status`.
    pub fn log_delivery(&self, webhook: u32, employees: &[EmployeeId], status: u16) {
        let at = self.now().format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let employees: Vec<u64> = employees.iter().map(|id| u64::from(id.0)).collect();
        self.server.registrations().sent(webhook, &employees, status, &at);
    }

    /// Ends a webhook without a word, as when its user is deactivated.
    pub fn end_webhook(&self, id: u32) {
        self.server.registrations().delete(&id.to_string());
    }

    /// See [`Company::set_field`].
    pub fn set_field(&self, id: EmployeeId, alias: &str, value: &str) -> Result<Change, EditRefused> {
        self.company().set_field(id, alias, value, self.now())
    }

    /// See [`Company::insert_employee`].
    pub fn insert_employee(&self, record: &Value) -> Result<EmployeeId, EditRefused> {
        self.company().insert_employee(record, self.now())
    }

    /// See [`Company::add_table_row`].
    pub fn add_table_row(&self, id: EmployeeId, table: Table, row: &Value) -> Result<(u64, Change), EditRefused> {
        self.company().add_table_row(id, table, row, self.now())
    }

    /// See [`Company::terminate`].
    pub fn terminate(
        &self,
        id: EmployeeId,
        on: NaiveDate,
        voluntary: bool,
        reason: &str,
    ) -> Result<Change, EditRefused> {
        self.company().terminate(id, on, voluntary, reason, self.now())
    }

    /// See [`Company::delete_employee`].
    pub fn delete_employee(&self, id: EmployeeId) -> Result<Change, EditRefused> {
        self.company().delete_employee(id, self.now())
    }

    fn now(&self) -> DateTime<Utc> {
        (self.server.options.clock)()
    }
}

impl Drop for SimulatedBambooHr {
    fn drop(&mut self) {
        self.task.abort();
    }
}
