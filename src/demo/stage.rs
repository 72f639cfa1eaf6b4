//! `tenure up --demo`: the simulated vendor on stage, and Tenure connected to it as a customer would connect it.
//!
//! Everything goes over HTTP: the connection, the import, the talent records (as a user's commands), and the live changes
//! (as signed webhooks). A second start on the same data directory finds the connection, and the company as it was left.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::NaiveDate;
use domain::id::{ConnectionId, EmployeeId, ProgramId, TenantId};
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use infra::{
    clock, completion,
    database::Access,
    read_model::readiness::{self, ProgramRow},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    bamboohr::{ServerOptions, SimulatedBambooHr},
    company::{Company, Plan, TalentRecord},
    webhooks::{Life, PayloadStyle, RetryLadder, WebhookSender, WebhookTarget, run_live},
};
use crate::{
    config::{Parts, write_private},
    roles::{Failure, Loops},
    train::{self, Due, Promotion},
};

/// How many people the simulated company employs unless said otherwise.
pub const EMPLOYEES_DEFAULT: usize = 1_200;
const YEARS: u32 = 3;
const SEED: u64 = 42;
/// A change now and then, so that one can watch.
const PACE: Duration = Duration::from_millis(700);
/// Commands that are sent at once while talent records are loaded.
const COMMANDS_IN_FLIGHT: usize = 64;
/// The career programs: a name, the job titles that it starts from, and those that it leads to.
const PROGRAMS: [(&str, &[&str], &[&str]); 3] = [
    ("Cashier to Supervisor", &["Cashier"], &["Supervisor"]),
    (
        "Sales to Lead",
        &["Sales Associate", "Senior Sales Associate"],
        &["Sales Lead"],
    ),
    ("Stock to Inventory", &["Stock Associate"], &["Inventory Specialist"]),
];
const PROGRAMS_TIMEOUT: Duration = Duration::from_mins(1);
const STAGE_FILE: &str = "demo.json";
const DIARY_FILE: &str = "demo-diary.txt";

/// What a second start must know.
#[derive(Serialize, Deserialize)]
struct Stage {
    employees: usize,
    /// The day on which the company was generated: the same day gives the same company.
    today: NaiveDate,
    webhook_key: String,
    api_key: String,
    /// Whether talent records are loaded and a model was trained.
    complete: bool,
}

/// Where the demonstration plays.
pub struct Scene<'a> {
    pub parts: &'a Parts,
    pub loops: &'a Loops,
    /// Where Tenure is served.
    pub url: &'a str,
    pub tenant: TenantId,
    /// Of the development administrator.
    pub admin_token: String,
    /// How many people the simulated company employs, if it is new.
    pub employees: usize,
    pub data_dir: &'a Path,
}

/// Sets the stage and lets the company live.
///
/// # Errors
/// When the vendor cannot be simulated or Tenure refuses what a customer would do.
pub async fn run(scene: Scene<'_>) -> Result<(), Failure> {
    let Scene {
        parts,
        loops,
        url,
        tenant,
        admin_token,
        employees,
        data_dir,
    } = scene;
    let mut out = std::io::stdout();
    let file = data_dir.join(STAGE_FILE);
    let known = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| serde_json::from_str::<Stage>(&text).ok());
    let mut stage = known.unwrap_or_else(|| Stage {
        employees,
        today: clock::today(),
        webhook_key: clock::new_id().simple().to_string(),
        api_key: clock::new_id().simple().to_string(),
        complete: false,
    });
    let plan = Plan::new(SEED, stage.employees, YEARS, stage.today);
    let diary = data_dir.join(DIARY_FILE);
    let (company, life) = tokio::task::spawn_blocking(move || {
        let mut company = Company::generate(&plan);
        let life = Life::remembered(SEED, &diary, &mut company)?;
        Ok::<_, std::io::Error>((company, life))
    })
    .await??;
    let talent = company.talent.clone();
    let domain_name = company.domain.clone();
    writeln!(
        out,
        "demo: {} people work at {domain_name} today, {} records in all",
        company.headcount_on(company.today),
        company.employees.len()
    )?;
    let vendor =
        SimulatedBambooHr::start(Arc::new(Mutex::new(company)), ServerOptions::new(stage.api_key.clone())).await?;
    write_private(&file, &serde_json::to_string(&stage)?)?;

    let customer = Customer {
        http: parts.http.clone(),
        url: url.to_owned(),
        token: admin_token,
    };
    let connection = customer.connect(&domain_name, &stage, &vendor.base_url()).await?;
    if !stage.complete {
        import(parts, tenant, &vendor).await?;
        customer.load(tenant, connection, talent).await?;
        customer.define_programs(tenant).await?;
        let programs = programs(parts, tenant).await?;
        writeln!(out, "demo: training models on {YEARS} years of history")?;
        let due = Due { risk: true, programs };
        for (question, trained) in train::for_tenant(parts, tenant, Promotion::IfBetter, due).await? {
            writeln!(out, "demo: {}", train::told(&question, &trained))?;
        }
        stage.complete = true;
        write_private(&file, &serde_json::to_string(&stage)?)?;
    }
    let target = WebhookTarget::new(
        format!("{url}/v1/webhooks/{connection}"),
        stage.webhook_key.clone(),
        PayloadStyle::EventJson,
    );
    let sender = WebhookSender::new(target, RetryLadder::demo())?;
    let shutdown = loops.shutdown.clone();
    loops.tracker.spawn(async move {
        let company = vendor.shared_company();
        run_live(company, sender, PACE, life, shutdown.cancelled_owned()).await;
        drop(vendor);
    });
    writeln!(
        out,
        "demo: {domain_name} now changes every {} ms, told by signed webhooks",
        PACE.as_millis()
    )?;
    Ok(())
}

/// Waits until everybody is read, and shows how far that is.
async fn import(parts: &Parts, tenant: TenantId, vendor: &SimulatedBambooHr) -> Result<(), Failure> {
    let total = vendor.company().employees.len() as u64;
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(
        "demo: importing {bar:40} {pos}/{len} people ({elapsed})",
    )?);
    let tenants = [tenant];
    let synchronised = || {
        parts.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(async move {
                let connections = infra::read_model::settings::list_connections(connection, tenant).await?;
                let waiting = completion::waiting(connection).await?;
                Ok((
                    connections
                        .iter()
                        .any(|connection| connection.synchronised_at.is_some()),
                    waiting,
                ))
            })
        })
    };
    let mut begun = false;
    loop {
        let (done, waiting) = synchronised().await?;
        begun |= waiting > 0;
        if begun {
            bar.set_position(total.saturating_sub(u64::try_from(waiting).unwrap_or(0)));
        }
        if done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bar.finish();
    Ok(())
}

/// The programs, once they are where training looks for them.
async fn programs(parts: &Parts, tenant: TenantId) -> Result<Vec<ProgramRow>, Failure> {
    let deadline = tokio::time::Instant::now() + PROGRAMS_TIMEOUT;
    loop {
        let found = parts
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(readiness::programs(connection, tenant))
            })
            .await?;
        if found.len() >= PROGRAMS.len() {
            return Ok(found);
        }
        if tokio::time::Instant::now() > deadline {
            return Err("the demo's career programs did not reach the read models: see the log above".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Does what a customer's administrator would do.
struct Customer {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Customer {
    async fn connect(&self, company_domain: &str, stage: &Stage, base_url: &str) -> Result<ConnectionId, Failure> {
        let request = json!({"company_domain": company_domain, "api_key": stage.api_key, "webhook_keys": [stage.webhook_key], "base_url": base_url});
        let response = self
            .http
            .post(format!("{}/v1/integrations/bamboohr", self.url))
            .bearer_auth(&self.token)
            .json(&request)
            .send()
            .await?;
        if !response.status().is_success() {
            return Err(format!("the demo could not connect: {}", response.text().await?).into());
        }
        let connected: Value = response.json().await?;
        Ok(connected
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .parse()?)
    }

    async fn define_programs(&self, tenant: TenantId) -> Result<(), Failure> {
        for (name, from, to) in PROGRAMS {
            let id = ProgramId::derive(tenant, name);
            let body = json!({"name": name, "path": {"from": from, "to": to}, "on": clock::today()});
            let response = self
                .http
                .post(format!("{}/v1/programs/{id}/define", self.url))
                .bearer_auth(&self.token)
                .header("idempotency-key", format!("demo-program-{name}"))
                .json(&body)
                .send()
                .await?;
            if !response.status().is_success() {
                return Err(format!("the demo could not define {name}: {}", response.text().await?).into());
            }
        }
        Ok(())
    }

    /// Sends the talent records as backdated commands: each counts once, however often this is interrupted.
    async fn load(&self, tenant: TenantId, connection: ConnectionId, talent: Vec<TalentRecord>) -> Result<(), Failure> {
        let bar = ProgressBar::new(talent.len() as u64).with_style(ProgressStyle::with_template(
            "demo: loading   {bar:40} {pos}/{len} reviews, surveys, absences … ({elapsed})",
        )?);
        let person = |id: super::company::EmployeeId| EmployeeId::derive(tenant, connection, &id.to_string());
        let commands = talent
            .into_iter()
            .enumerate()
            .map(|(index, record)| (index, request(&record, &person)));
        let mut answers = stream::iter(commands)
            .map(|(index, (employee, command, body))| self.send(index, employee, command, body))
            .buffer_unordered(COMMANDS_IN_FLIGHT);
        while let Some(answer) = answers.next().await {
            answer?;
            bar.inc(1);
        }
        bar.finish();
        Ok(())
    }

    async fn send(
        &self,
        index: usize,
        employee: EmployeeId,
        command: &'static str,
        body: Value,
    ) -> Result<(), Failure> {
        loop {
            let response = self
                .http
                .post(format!("{}/v1/employees/{employee}/{command}", self.url))
                .bearer_auth(&self.token)
                .header("idempotency-key", format!("demo-talent-{index}"))
                .header("prefer", "respond-async")
                .header("tenure-backfill", "true")
                .json(&body)
                .send()
                .await?;
            match response.status().as_u16() {
                // 409: the record is about a day that the HRIS has since corrected; a rule, not a fault.
                200..=299 | 409 => return Ok(()),
                503 => tokio::time::sleep(Duration::from_millis(200)).await,
                _ => return Err(format!("the demo's {command} was refused: {}", response.text().await?).into()),
            }
        }
    }
}

/// A talent record as a user's command.
fn request(
    record: &TalentRecord,
    person: &dyn Fn(super::company::EmployeeId) -> EmployeeId,
) -> (EmployeeId, &'static str, Value) {
    match record {
        TalentRecord::Review { employee, on, rating } => {
            (person(*employee), "record-review", json!({"on": on, "rating": rating}))
        }
        TalentRecord::Survey { employee, on, score } => (
            person(*employee),
            "answer-survey",
            json!({"on": on, "survey": "Pulse", "score": score}),
        ),
        TalentRecord::Recognition { employee, on, from } => (
            person(*employee),
            "give-recognition",
            json!({"on": on, "from": person(*from)}),
        ),
        TalentRecord::Absence {
            employee, from, days, ..
        } => (person(*employee), "record-absence", json!({"on": from, "days": days})),
        TalentRecord::Overtime {
            employee,
            week_of,
            minutes,
        } => (
            person(*employee),
            "record-overtime",
            json!({"on": week_of, "minutes": minutes}),
        ),
        TalentRecord::Assessment {
            employee,
            on,
            name,
            score,
        } => (
            person(*employee),
            "complete-assessment",
            json!({"on": on, "name": name, "score": score}),
        ),
        TalentRecord::Note { employee, on, text } => (person(*employee), "write-note", json!({"on": on, "text": text})),
    }
}
