//! An ADP Workforce Now that runs on this machine: the payroll of a simulated company, over mutual TLS.
//!
//! It answers as the sources in docs/adr/0024 have it: a token for a certificate and a secret, one rate for each assignment as of a day,
//! changes as events, errors that say "success", 204 after the last page. A [`FaultPlan`] makes it misbehave while it runs.
//!
//! Departures: people have one assignment; rates are shown by the hour and by the year, whichever they are set by.

mod api;
mod tls;

use super::company::{EmployeeId, PayType};
use super::faults::FaultPlan;
use super::vendor::{CannotListen, Clock, SharedCompany, lock, system_clock};
use axum::Router;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// How to serve.
#[derive(Clone)]
pub struct ServerOptions {
    /// Id and secret of the project.
    pub client: [String; 2],
    /// The server's own certificate and private key, as PEM.
    pub identity: [String; 2],
    /// Who signs clients' certificates, as PEM.
    pub authority: String,
    /// Whether an event has the assignment in the worker.
    pub in_worker: bool,
    /// Whether a rate is shown before the day on which it begins.
    pub shows_days_to_come: bool,
    /// Tells the time.
    pub clock: Clock,
}

impl ServerOptions {
    /// The machine's clock; the assignment is in the worker, and days to come are shown.
    pub fn new(client: [&str; 2], identity: [String; 2], authority: String) -> Self {
        Self {
            client: client.map(str::to_owned),
            identity,
            authority,
            in_worker: true,
            shows_days_to_come: true,
            clock: system_clock(),
        }
    }
}

/// What somebody is paid from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Cents.
    pub cents: i64,
    /// By the hour or by the year.
    pub pay_type: PayType,
}

/// Somebody on the payroll.
#[derive(Debug, Clone)]
pub struct Payee {
    /// Who it is in the simulated company.
    pub employee: EmployeeId,
    /// The worker's id here.
    pub associate_oid: String,
    /// The address at work.
    pub work_email: String,
    /// By the day on which they begin.
    pub rates: BTreeMap<NaiveDate, Rate>,
    /// Changes that were taken in.
    pub changes: u32,
}

#[derive(Clone)]
struct Server {
    payees: Arc<Mutex<BTreeMap<String, Payee>>>,
    tokens: Arc<Mutex<BTreeMap<String, DateTime<Utc>>>>,
    faults: FaultPlan,
    options: ServerOptions,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn payee(employee: &super::company::Employee) -> Payee {
    let rates = employee.compensation.iter().map(|row| {
        let rate = Rate {
            cents: row.rate_cents,
            pay_type: row.pay_type,
        };
        (row.start_date, rate)
    });
    Payee {
        employee: employee.id,
        associate_oid: format!("G{}", employee.id),
        work_email: employee.work_email.clone(),
        rates: rates.collect(),
        changes: 0,
    }
}

/// A running simulation; it stops when dropped.
pub struct SimulatedAdp {
    address: SocketAddr,
    server: Server,
    task: JoinHandle<()>,
}

impl SimulatedAdp {
    /// Starts to pay the people of a company, on any free port of 127.0.0.1.
    pub async fn start(company: &SharedCompany, options: ServerOptions) -> Result<Self, CannotListen> {
        let cannot = |cause| CannotListen { vendor: "ADP", cause };
        let payees: Vec<Payee> = lock(company).employees.iter().map(payee).collect();
        let payees = payees.into_iter().map(|payee| (payee.associate_oid.clone(), payee));
        let payees = payees.collect();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let listener = tls::Listener::new(listener, &options.identity, &options.authority).map_err(cannot)?;
        let server = Server {
            payees: Arc::new(Mutex::new(payees)),
            tokens: Arc::default(),
            faults: FaultPlan::default(),
            options,
        };
        let router = Router::new().fallback(api::answer).with_state(server.clone());
        let router = router.into_make_service_with_connect_info::<tls::Peer>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated ADP stopped");
            }
        });
        Ok(Self { address, server, task })
    }

    /// Where it listens: `https://localhost:port`.
    pub fn base_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Faults and counters.
    pub fn faults(&self) -> &FaultPlan {
        &self.server.faults
    }

    /// What the payroll has of somebody of the company.
    pub fn payee(&self, employee: EmployeeId) -> Option<Payee> {
        let payees = locked(&self.server.payees);
        payees.values().find(|payee| payee.employee == employee).cloned()
    }

    /// Ends all tokens before their time.
    pub fn end_tokens(&self) {
        locked(&self.server.tokens).clear();
    }
}

impl Drop for SimulatedAdp {
    fn drop(&mut self) {
        self.task.abort();
    }
}
