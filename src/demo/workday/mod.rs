//! A Workday that runs on this machine, over a simulated company.
//!
//! It answers `Get_Workers` as facts/connectors.md A2 and the sources named in docs/adr/0023 have it: a state as of a day, pages that shift
//! unless they are asked for as entered by one moment, two kinds of questions about changes, faults with status 500, elements left out that
//! the user may not see. A [`FaultPlan`] makes it misbehave while it runs.
//!
//! Of a position, only title and location move its effective date. Departments and managers change without a day, as organisations do.
//!
//! Departures: plain HTTP; what was entered is known by its last moment per person, not transaction by transaction; every day begins at
//! midnight Pacific standard time, in summer too.

mod api;
mod report;
#[cfg(test)]
mod tests;
mod token;
mod worker;

use super::company::Company;
use super::faults::FaultPlan;
use super::vendor::{CannotListen, Clock, SharedCompany, lock, system_clock};
use axum::Router;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// Most workers on a page (documented).
const PAGE_WORKERS_MAX: usize = 999;

/// How to serve.
#[derive(Clone)]
pub struct ServerOptions {
    /// The tenant's name.
    pub tenant: String,
    /// The integration system user, without the tenant.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Id and secret of an API client, and a user's refresh token, that open it too.
    pub client: Option<[String; 3]>,
    /// The most workers on a page, whatever is asked for.
    pub page_workers_max: usize,
    /// Tells the time.
    pub clock: Clock,
}

impl ServerOptions {
    /// The machine's clock, and pages as long as Workday's.
    pub fn new(tenant: impl Into<String>, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
            password: password.into(),
            client: None,
            page_workers_max: PAGE_WORKERS_MAX,
            clock: system_clock(),
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Server {
    company: SharedCompany,
    faults: FaultPlan,
    options: ServerOptions,
    /// Lists that were asked for without saying as entered when.
    unpinned: Arc<AtomicU64>,
    /// Access tokens that were given, and when they end.
    tokens: Tokens,
}

type Tokens = Arc<Mutex<HashMap<String, DateTime<Utc>>>>;

/// A running simulation; it stops when dropped.
pub struct SimulatedWorkday {
    address: SocketAddr,
    server: Server,
    task: JoinHandle<()>,
}

impl SimulatedWorkday {
    /// Starts to serve a company on any free port of 127.0.0.1.
    pub async fn start(company: SharedCompany, options: ServerOptions) -> Result<Self, CannotListen> {
        let cannot = |cause| CannotListen {
            vendor: "Workday",
            cause,
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let server = Server {
            company,
            faults: FaultPlan::default(),
            options,
            unpinned: Arc::default(),
            tokens: Arc::default(),
        };
        let router = Router::new().fallback(api::answer).with_state(server.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated Workday stopped");
            }
        });
        Ok(Self { address, server, task })
    }

    /// The address of its web services: `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all access tokens before their time.
    pub fn end_tokens(&self) {
        self.server
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The address of its one report as a service, without a format.
    pub fn report_url(&self) -> String {
        let (base, tenant) = (self.base_url(), &self.server.options.tenant);
        format!("{base}/ccx/service/customreport2/{tenant}/owner/Tenure_Workers")
    }

    /// The company.
    pub fn company(&self) -> MutexGuard<'_, Company> {
        lock(&self.server.company)
    }

    /// Faults and counters: requests are counted as `POST Get_Workers` and `POST token`.
    pub fn faults(&self) -> &FaultPlan {
        &self.server.faults
    }
}

impl Drop for SimulatedWorkday {
    fn drop(&mut self) {
        self.task.abort();
    }
}
