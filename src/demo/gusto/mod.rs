//! A Gusto that runs on this machine: the payroll of a simulated company.
//!
//! It answers as Gusto's specification has it (facts/connectors.md A6, docs/adr/0024): rates hang off jobs, only the one of now is shown
//! unless all are asked for, a change names the version that it was made from, tokens last two hours, and a refresh token ends when the
//! access token that it was exchanged for is first used. A [`FaultPlan`] makes it misbehave while it runs.
//!
//! The payroll has rates of its own, which begin as the company's and follow nobody. Departures: plain HTTP; employees have one job.

mod api;
mod tokens;

use super::company::{EmployeeId, PayType};
use super::faults::FaultPlan;
use super::vendor::{CannotListen, Clock, SharedCompany, lock, system_clock};
use axum::Router;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokens::Tokens;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How to serve.
#[derive(Clone)]
pub struct ServerOptions {
    /// The company's id.
    pub company: Uuid,
    /// Id and secret of the application.
    pub client: [String; 2],
    /// The first refresh token.
    pub refresh_token: String,
    /// Tells the time.
    pub clock: Clock,
}

impl ServerOptions {
    /// The machine's clock.
    pub fn new(company: Uuid, client: [&str; 2], refresh_token: &str) -> Self {
        Self {
            company,
            client: client.map(str::to_owned),
            refresh_token: refresh_token.to_owned(),
            clock: system_clock(),
        }
    }
}

/// What somebody is paid from a day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compensation {
    /// Its id.
    pub uuid: Uuid,
    /// How often it was changed.
    pub version: u32,
    /// Cents.
    pub rate_cents: i64,
    /// `Hour`, `Week`, `Month`, `Year` or `Paycheck`.
    pub payment_unit: String,
    /// Whether overtime is paid, in Gusto's words.
    pub flsa_status: String,
    /// From this day on.
    pub effective_date: NaiveDate,
}

/// Somebody on the payroll.
#[derive(Debug, Clone)]
pub struct Payee {
    /// Who it is in the simulated company.
    pub employee: EmployeeId,
    /// The employee's id here.
    pub uuid: Uuid,
    /// Of the one job.
    pub job: Uuid,
    /// The address at work.
    pub work_email: String,
    /// In no order.
    pub compensations: Vec<Compensation>,
}

#[derive(Clone)]
struct Server {
    payees: Arc<Mutex<BTreeMap<Uuid, Payee>>>,
    tokens: Arc<Mutex<Tokens>>,
    faults: FaultPlan,
    options: ServerOptions,
}

impl Server {
    fn payees(&self) -> MutexGuard<'_, BTreeMap<Uuid, Payee>> {
        self.payees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id that is the same in every run.
fn named(what: &str, id: impl std::fmt::Display) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("gusto {what} {id}").as_bytes())
}

fn payee(employee: &super::company::Employee) -> Payee {
    let rates = employee.compensation.iter().map(|row| Compensation {
        uuid: named("compensation", row.id),
        version: 1,
        rate_cents: row.rate_cents,
        payment_unit: match row.pay_type {
            PayType::Hourly => "Hour",
            PayType::Salary => "Year",
        }
        .to_owned(),
        flsa_status: if row.exempt { "Exempt" } else { "Nonexempt" }.to_owned(),
        effective_date: row.start_date,
    });
    Payee {
        employee: employee.id,
        uuid: named("employee", employee.id),
        job: named("job", employee.id),
        work_email: employee.work_email.clone(),
        compensations: rates.collect(),
    }
}

/// A running simulation; it stops when dropped.
pub struct SimulatedGusto {
    address: SocketAddr,
    server: Server,
    task: JoinHandle<()>,
}

impl SimulatedGusto {
    /// Starts to pay the people of a company, on any free port of 127.0.0.1.
    pub async fn start(company: &SharedCompany, options: ServerOptions) -> Result<Self, CannotListen> {
        let payees: BTreeMap<Uuid, Payee> = (lock(company).employees.iter().map(payee))
            .map(|payee| (payee.uuid, payee))
            .collect();
        let cannot = |cause| CannotListen { vendor: "Gusto", cause };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let server = Server {
            payees: Arc::new(Mutex::new(payees)),
            tokens: Arc::new(Mutex::new(Tokens::new(&options.refresh_token))),
            faults: FaultPlan::default(),
            options,
        };
        let router = Router::new().fallback(api::answer).with_state(server.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated Gusto stopped");
            }
        });
        Ok(Self { address, server, task })
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Faults and counters.
    pub fn faults(&self) -> &FaultPlan {
        &self.server.faults
    }

    /// What the payroll has of somebody of the company.
    pub fn payee(&self, employee: EmployeeId) -> Option<Payee> {
        let payees = self.server.payees();
        payees.values().find(|payee| payee.employee == employee).cloned()
    }

    /// Changes what the payroll has of somebody, as a clerk would.
    pub fn edit(&self, employee: EmployeeId, change: impl FnOnce(&mut Payee)) {
        let mut payees = self.server.payees();
        if let Some(payee) = payees.values_mut().find(|payee| payee.employee == employee) {
            change(payee);
        }
    }

    /// Ends all access tokens before their time.
    pub fn end_tokens(&self) {
        self.server.tokens().end();
    }
}

impl Drop for SimulatedGusto {
    fn drop(&mut self) {
        self.task.abort();
    }
}
