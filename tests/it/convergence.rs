//! Whatever happens at a source, whatever goes wrong on the way, and whatever no webhook tells: after one reconciliation Tenure
//! believes what the source holds.
//!
//! Each seed is an account of its own in one installation: a small company, a random history, and faults while it happens. What the
//! source holds is read from the simulated company itself, not through the code that translates it.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use chrono::{NaiveDate, TimeDelta};
use domain::{
    Aggregate, StreamId,
    employee::{Employee, File, Standing, WeeklyMinutes},
    id::{ConnectionId, EmployeeId, TenantId},
    money::PayPeriod,
};
use futures_util::{StreamExt, stream};
use infra::{
    database::Access,
    event_log,
    sealing::{Place, open_payload},
};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom, SliceRandom},
};
use schemas::codec::AnyEvent;
use serde_json::{Value, json};
use tenure::{
    config::Parts,
    demo::{
        company::{self, Change, ChangeAction, Company, LEAVE_OF_ABSENCE, PayType, TERMINATED, Table},
        faults::RateShape,
        webhooks::{PayloadStyle, WebhookTarget},
    },
};

use crate::{
    faults::{settled, sql},
    harness::{Connected, DataDir, PATIENCE, Tenure, Vendor, parts, today},
};

/// Seeds, unless `TENURE_CONVERGENCE_SEEDS` asks for another number, and `TENURE_CONVERGENCE_FROM` for another first one. With a real Kafka it is the same, and fewer will do.
const SEEDS: u64 = 200;
const SEEDS_REAL_KAFKA: u64 = 40;
/// Accounts in which something happens at once.
const AT_ONCE: usize = 8;
const STEPS: usize = 12;

/// One account, and what goes wrong with it.
struct Account {
    seed: u64,
    vendor: Vendor,
    connected: Connected,
    random: StdRng,
    /// Webhooks that are late.
    held_back: Vec<(&'static str, String)>,
}

impl Account {
    async fn open(tenure: &Tenure, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut vendor = Vendor::start(seed, random.random_range(5..8)).await;
        vendor.domain = format!("company-{seed}");
        vendor.server.company().domain.clone_from(&vendor.domain);
        let mut account = Self {
            seed,
            connected: Connected {
                id: String::new(),
                webhook_url: String::new(),
                webhook_key: String::new(),
            },
            vendor,
            random,
            held_back: Vec::new(),
        };
        account.fault();
        account.connected = tenure.connect(&account.vendor).await;
        account
    }

    /// Everything that happens there, with what goes wrong meanwhile.
    async fn happen(&mut self, tenure: &Tenure) {
        for _ in 0..STEPS {
            if self.random.random_bool(0.3) {
                self.fault();
            }
            let change = step(&mut self.vendor.server.company(), &mut self.random);
            if let Some(change) = change {
                self.announce(tenure, &change).await;
            }
            if self.random.random_bool(0.5) {
                let pause = self.random.random_range(0..80);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        self.vendor.server.faults().clear();
        self.held_back.shuffle(&mut self.random);
        for (content_type, body) in std::mem::take(&mut self.held_back) {
            self.deliver(tenure, content_type, &body).await;
        }
    }

    fn fault(&mut self) {
        let faults = self.vendor.server.faults();
        match self.random.random_range(0..7) {
            0 => faults.rate_limit(self.random.random_range(1..6), 1),
            1 => faults.unavailable(self.random.random_range(1..6), self.random.random_range(0..2)),
            2 => faults.set_down(true),
            3 => faults.set_slow(Duration::from_millis(self.random.random_range(0..40))),
            4 => {
                let all: Vec<&str> = command_service::bamboohr::translate::FIELDS.to_vec();
                let hidden = all.choose_multiple(&mut self.random, 5).copied();
                faults.hide_fields(hidden.collect::<Vec<_>>());
            }
            5 => faults.set_rate_shape(Some(RateShape::Text)),
            _ => faults.clear(),
        }
    }

    /// Tells of a change: not at all, once, twice, late, or both.
    async fn announce(&mut self, tenure: &Tenure, change: &Change) {
        let style = *PayloadStyle::ALL.choose(&mut self.random).expect("styles");
        let target = WebhookTarget::new(
            self.connected.webhook_url.clone(),
            self.connected.webhook_key.clone(),
            style,
        );
        let bodies = {
            let company = self.vendor.server.company();
            let events = target.events(&company, std::slice::from_ref(change));
            target.bodies(&company.company_id, &events)
        };
        for body in bodies {
            let fate = self.random.random_range(0..10);
            if (3..9).contains(&fate) {
                self.deliver(tenure, style.content_type(), &body).await;
            }
            if matches!(fate, 7 | 8) {
                self.deliver(tenure, style.content_type(), &body).await;
            }
            if matches!(fate, 8 | 9) {
                self.held_back.push((style.content_type(), body));
            }
        }
    }

    async fn deliver(&self, tenure: &Tenure, content_type: &str, body: &str) {
        let (status, answer) = tenure.webhook(&self.connected, content_type, body).await;
        assert_eq!(status, 202, "seed {}: {body}\n{answer:#}", self.seed);
    }
}

/// Somebody does something to a record.
pub fn step(company: &mut Company, random: &mut StdRng) -> Option<Change> {
    let now = infra::clock::now();
    let ids: Vec<company::EmployeeId> = company.employees.iter().map(|employee| employee.id).collect();
    let (id, other) = (*ids.choose(random)?, *ids.choose(random)?);
    // From the first day of the person, until two months ahead.
    let first = company.employee(id)?.hire_date;
    let days = (today() - first).num_days().max(1);
    let day = first + TimeDelta::days(random.random_range(0..days + 60));
    let word = |random: &mut StdRng, words: &[&str]| (*words.choose(random).expect("words")).to_owned();
    match random.random_range(0..12) {
        0 => {
            let aliases = [
                "firstName",
                "lastName",
                "preferredName",
                "workEmail",
                "mobilePhone",
                "department",
            ];
            let alias = word(random, &aliases);
            let value = format!("v{}", random.random_range(0..100));
            company.set_field(id, &alias, &value, now).ok()
        }
        1 => company
            .set_field(id, "gender", &word(random, &["Female", "Male"]), now)
            .ok(),
        2 => company
            .set_field(id, "standardHoursPerWeek", &word(random, &["20", "32", "40"]), now)
            .ok(),
        3 if other != id => company.set_field(id, "supervisorEId", &other.to_string(), now).ok(),
        4 | 5 => {
            let mut row = json!({"date": day.to_string(), "jobTitle": word(random, &["Cashier", "Buyer", "Clerk"]),
                "department": word(random, &["Sales", "Stock"])});
            if other != id && random.random_bool(0.5) {
                row["reportsToId"] = json!(other.to_string());
            }
            company
                .add_table_row(id, Table::JobInfo, &row, now)
                .ok()
                .map(|(_, change)| change)
        }
        6 | 7 => {
            let rate = random.random_range(1_500..9_000);
            let row = json!({"startDate": day.to_string(), "rate": format!("{rate}.{:02}", rate % 100),
                "reason": word(random, &["Merit", "Promotion", ""])});
            company
                .add_table_row(id, Table::Compensation, &row, now)
                .ok()
                .map(|(_, change)| change)
        }
        8 => {
            let row = json!({"date": day.min(today()).to_string(),
                "employmentStatus": word(random, &[LEAVE_OF_ABSENCE, company::FULL_TIME, company::PART_TIME])});
            company
                .add_table_row(id, Table::EmploymentStatus, &row, now)
                .ok()
                .map(|(_, change)| change)
        }
        9 => company
            .terminate(id, day, random.random_bool(0.5), "Better offer", now)
            .ok(),
        10 if ids.len() > 5 && random.random_bool(0.5) => company.delete_employee(id, now).ok(),
        10 => {
            let record = json!({"firstName": "New", "lastName": format!("Person{}", random.random_range(0..100)),
                "hireDate": day.min(today()).to_string(), "jobTitle": "Cashier", "department": "Sales", "division": "North",
                "location": "Turin", "payRate": "2000.00", "supervisorEId": other.to_string(), "workEmail": "new@acme.example"});
            let id = company.insert_employee(&record, now).ok()?;
            let (action, fields) = (ChangeAction::Created, Vec::new());
            Some(Change {
                employee: id,
                action,
                fields,
                at: now,
            })
        }
        // A row that was wrong is mended, or taken away.
        _ => {
            let employee = company.employee_mut(id)?;
            employee.last_changed = now;
            let (jobs, rates) = (employee.job_info.len(), employee.compensation.len());
            let fields = match random.random_range(0..3) {
                0 if rates > 1 => {
                    employee.compensation.remove(random.random_range(0..rates));
                    vec!["payRate"]
                }
                1 if jobs > 1 => {
                    employee.job_info.remove(random.random_range(0..jobs));
                    vec!["jobTitle"]
                }
                _ => {
                    employee.compensation.choose_mut(random)?.rate_cents += 100;
                    vec!["payRate"]
                }
            };
            let action = ChangeAction::Updated;
            Some(Change {
                employee: id,
                action,
                fields,
                at: now,
            })
        }
    }
}

/// What Tenure believes of a person, folded from the log.
async fn believed(parts: &Parts, tenant: TenantId, employee: EmployeeId) -> Employee {
    let stream = StreamId::new(tenant, Employee::KIND, employee);
    let tenants = [tenant];
    let stored = parts.database.transact(Access::Read, &tenants, move |connection| {
        Box::pin(async move { event_log::read_streams(connection, &[stream]).await })
    });
    let stored = stored.await.expect("events");
    let subject = (tenant, stream.id);
    let keys = parts.keyring.subjects(&[subject]).await.expect("keys");
    let mut ids = BTreeSet::new();
    stored.into_iter().fold(Employee::default(), |employee, event| {
        assert!(ids.insert(event.event_id), "an event twice");
        let mut payload = serde_json::from_slice(&event.data).expect("JSON");
        let place = Place {
            stream: &stream,
            event_id: event.event_id,
            schema_version: event.schema_version,
        };
        open_payload(keys.get(&subject), place, &mut payload);
        let AnyEvent::Employee(event) =
            AnyEvent::decode(&event.event_type, event.schema_version, payload).expect("an event")
        else {
            panic!("not of an employee")
        };
        employee.evolve(&event)
    })
}

/// Where what is believed differs from what the source holds.
///
/// See [`Shows`] for what is compared.
fn differences(
    held: &company::Employee,
    believed: &File,
    (shows, who): (Shows, impl Fn(company::EmployeeId) -> EmployeeId),
) -> Vec<String> {
    let is_said = |day: NaiveDate| shows == Shows::Tables || held.is_employed_on(day);
    let mut differences = Vec::new();
    let mut compare = |what: String, held: String, believed: String| {
        if held != believed {
            differences.push(format!("{what}: the source holds {held}, believed is {believed}"));
        }
    };
    let first = held
        .original_hire_date
        .map_or(held.hire_date, |original| original.min(held.hire_date));
    compare("first day".into(), first.to_string(), believed.hired_on.to_string());
    let name = believed
        .name
        .open()
        .map(|name| (name.first.clone(), name.last.clone(), name.preferred.clone()));
    let preferred = held.preferred_name.clone().filter(|name| !name.is_empty());
    let held_name = Some((held.first_name.clone(), held.last_name.clone(), preferred));
    compare("name".into(), format!("{held_name:?}"), format!("{name:?}"));
    let contact = believed
        .contact
        .open()
        .map(|contact| (contact.work_email.clone(), contact.mobile_phone.clone()));
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let held_contact = Some((filled(&held.work_email), filled(&held.mobile_phone)));
    compare("contact".into(), format!("{held_contact:?}"), format!("{contact:?}"));
    let demographics = believed
        .demographics
        .open()
        .map(|known| (known.gender.clone(), known.date_of_birth));
    let held_demographics = Some((Some(held.gender.as_str().to_owned()), Some(held.date_of_birth)));
    compare(
        "demographics".into(),
        format!("{held_demographics:?}"),
        format!("{demographics:?}"),
    );
    if is_said(today()) {
        let hours = WeeklyMinutes(u16::try_from(held.standard_hours_per_week * 60).expect("hours"));
        compare(
            "hours".into(),
            format!("{:?}", Some(&hours)),
            format!("{:?}", believed.hours.at(today())),
        );
        let manager = held.job_on(today()).and_then(|job| job.reports_to).map(&who);
        let believed_manager = believed.managers.at(today()).copied().flatten();
        compare(
            "manager".into(),
            format!("{manager:?}"),
            format!("{believed_manager:?}"),
        );
    }

    // Every day on which anything begins, at the source or here.
    let mut days: BTreeSet<NaiveDate> = BTreeSet::from([today(), first]);
    days.extend(held.job_info.iter().map(|row| row.date));
    days.extend(held.compensation.iter().map(|row| row.start_date));
    days.extend(held.employment_status.iter().map(|row| row.date));
    days.extend(believed.jobs.facts().map(|(on, _)| on));
    days.extend(believed.pay.facts().map(|(on, _)| on));
    days.extend(believed.standing.facts().map(|(on, _)| on));
    for day in days.into_iter().filter(|day| *day >= first) {
        let organisations = if shows == Shows::States && day != today() { 0 } else { 2 };
        let job = believed.jobs.at(day).map(|job| {
            let all = [&job.title, &job.location, &job.department, &job.division];
            all.map(|part| part.clone().unwrap_or_default())[..2 + organisations].to_vec()
        });
        // Before its first row a history is taken to have been as in it.
        let first_job = held.job_info.iter().rev().min_by_key(|row| row.date);
        let held_job = held.job_on(day).or(first_job).map(|row| {
            let all = [&row.job_title, &row.location, &row.department, &row.division];
            all.map(Clone::clone)[..2 + organisations].to_vec()
        });
        if is_said(day) && (shows == Shows::Tables || held.job_on(day).is_some()) {
            compare(format!("job on {day}"), format!("{held_job:?}"), format!("{job:?}"));
        }
        let pay = believed
            .pay
            .at(day)
            .and_then(|pay| pay.open())
            .map(|rate| (rate.amount.minor_units, rate.per));
        let first_pay = held.compensation.iter().rev().min_by_key(|row| row.start_date);
        let held_pay = held.pay_on(day).or(first_pay).map(|row| {
            let per = match row.pay_type {
                PayType::Hourly => PayPeriod::Hour,
                PayType::Salary => PayPeriod::Year,
            };
            (row.rate_cents, per)
        });
        if is_said(day) && (shows == Shows::Tables || held.pay_on(day).is_some()) {
            compare(format!("pay on {day}"), format!("{held_pay:?}"), format!("{pay:?}"));
        }
        // What lies ahead is a notice, not a standing.
        if day <= today() {
            let standing = match believed.standing.at(day) {
                Some(Standing::Working) => "working",
                Some(Standing::OnLeave) => "on leave",
                Some(Standing::Ended(_)) => "ended",
                Some(Standing::Deleted) => "deleted",
                None => "unknown",
            };
            let held_standing = match held.status_on(day).map(|row| row.employment_status.as_str()) {
                Some(TERMINATED) => "ended",
                Some(LEAVE_OF_ABSENCE) => "on leave",
                Some(_) => "working",
                None => "unknown",
            };
            compare(format!("standing on {day}"), held_standing.into(), standing.into());
        }
    }
    let ahead = held
        .employment_status
        .iter()
        .filter(|row| row.date > today() && row.employment_status == TERMINATED);
    let ahead = ahead.map(|row| row.date).min();
    let leaves = believed.notice.as_ref().and_then(|notice| notice.last_day?.succ_opt());
    let leaves = leaves.filter(|day| *day > today());
    if held.is_employed_on(today()) {
        compare("planned end".into(), format!("{ahead:?}"), format!("{leaves:?}"));
    }
    differences
}

/// What a source holds.
pub struct Compared {
    seed: u64,
    connection: ConnectionId,
    held: Vec<company::Employee>,
    deleted: Vec<company::EmployeeId>,
    shows: Shows,
}

/// What a source shows of the past.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// All rows.
    Tables,
    /// What holds on a day, and the days on which anything began. Of days on which somebody has no job and no pay, none.
    StatesAndLog,
    /// What holds on a day. Organisations have no days of their own: what changed and changed back is not seen.
    States,
}

impl Compared {
    pub fn of((seed, connection): (u64, &str), company: &Company, shows: Shows) -> Self {
        Self {
            seed,
            connection: connection.parse().expect("an id"),
            held: company.employees.clone(),
            deleted: company.deleted.keys().copied().collect(),
            shows,
        }
    }
}

/// That Tenure believes of everybody what the sources hold, and that nothing was parked.
pub async fn agree(data_dir: &Path, sources: &[Compared]) {
    let parts = parts(data_dir);
    let tenant: TenantId = sql(data_dir, "select distinct tenant from connection")
        .parse()
        .expect("a tenant");
    let mut wrong = Vec::new();
    for source in sources {
        let seed = source.seed;
        let who = |id: company::EmployeeId| EmployeeId::derive(tenant, source.connection, &id.to_string());
        for person in &source.held {
            let differences = match believed(&parts, tenant, who(person.id)).await {
                Employee::OnFile(file) => differences(person, &file, (source.shows, who)),
                other => vec![format!("believed is {other:?}")],
            };
            let of = format!("seed {seed}, employee {} ({})", person.id, who(person.id));
            wrong.extend(differences.into_iter().map(|difference| format!("{of}: {difference}")));
        }
        for id in &source.deleted {
            if let Employee::OnFile(file) = believed(&parts, tenant, who(*id)).await
                && file.standing.at(today()) != Some(&Standing::Deleted)
            {
                wrong.push(format!("seed {seed}: {id} is deleted there, and not here"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(sql(data_dir, "select count(*) from parked"), "0");
}

/// Has every source compared, and waits until all that comes of it is done.
pub async fn reconcile(tenure: &Tenure, connections: &[&str]) {
    let task = "connection_task where task = 'reconciliation'";
    let before = sql(
        &tenure.data_dir,
        &format!("select coalesce(max(done_at), '-infinity') from {task}"),
    );
    for connection in connections {
        let path = format!("/v1/connections/{connection}/reconciliation");
        let (status, answer) = tenure.post(&path, "admin", &[], Value::Null).await;
        assert_eq!(status, 202, "{connection}: {answer:#}");
    }
    let waiting = format!("select count(*) from {task} and (done_at is null or done_at <= '{before}')");
    none(&tenure.data_dir, &waiting).await;
    settled(tenure).await;
}

/// Waits until a query counts none, as long as the number moves.
pub async fn none(data_dir: &Path, query: &str) {
    let (mut last, mut since) = (String::new(), Instant::now());
    loop {
        let left = sql(data_dir, query);
        if left == "0" {
            return;
        }
        if left != last {
            (last, since) = (left, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{query} stays at {last} for {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_believed_converges_to_what_the_source_holds() {
    let asked = std::env::var("TENURE_CONVERGENCE_SEEDS").ok();
    let usual = if std::env::var("KAFKA_BROKERS").is_ok() {
        SEEDS_REAL_KAFKA
    } else {
        SEEDS
    };
    let seeds = asked.map_or(usual, |number| number.parse().expect("a number of seeds"));
    let from = std::env::var("TENURE_CONVERGENCE_FROM").ok();
    let start: u64 = from.map_or(1, |from| from.parse().expect("a seed"));
    eprintln!("seeds {start}..{}", start + seeds);
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let histories = stream::iter(start..start + seeds).map(|seed| {
        let tenure = &tenure;
        async move {
            let mut account = Account::open(tenure, seed).await;
            account.happen(tenure).await;
            account
        }
    });
    let accounts: Vec<Account> = histories.buffer_unordered(AT_ONCE).collect().await;

    let connections: Vec<&str> = accounts.iter().map(|account| account.connected.id.as_str()).collect();

    none(&data.0, "select count(*) from connection_task where task = 'import'").await;
    reconcile(&tenure, &connections).await;

    let compared: Vec<Compared> = accounts
        .iter()
        .map(|account| {
            let company = account.vendor.server.company();
            Compared::of((account.seed, &account.connected.id), &company, Shows::Tables)
        })
        .collect();
    agree(&data.0, &compared).await;

    // Asked once more, no source has anything new to tell.
    let history = "select count(*) from event where kind = 'employee'";
    let before = sql(&data.0, history);
    reconcile(&tenure, &connections).await;
    assert_eq!(sql(&data.0, history), before);
}
