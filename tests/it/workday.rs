//! A Workday tenant: what a vendor that is only asked, and only says what holds on a day, comes to here.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tenure::demo::{
    company::{Company, Plan},
    workday::{ServerOptions, SimulatedWorkday},
};

use crate::{
    convergence::{Compared, Shows, agree, none, reconcile, step},
    faults::{settled, sql},
    harness::{DataDir, Tenure, eventually, today, told, tool},
};

/// Seeds, unless `TENURE_CONVERGENCE_SEEDS` asks for another number, and `TENURE_CONVERGENCE_FROM` for another first one. With a real
/// Kafka it is the same, and fewer will do.
const SEEDS: u64 = 40;
const SEEDS_REAL_KAFKA: u64 = 12;
/// Tenants in which something happens at once.
const AT_ONCE: usize = 8;
const STEPS: usize = 12;
/// What a security group may lack.
const ELEMENTS: [&str; 6] = [
    "Compensation_Data",
    "Management_Chain_Data",
    "Organization_Data",
    "Contact_Data",
    "Position_Data",
    "Business_Site_Summary_Data",
];

/// One tenant of Workday.
struct Tenant {
    name: String,
    server: SimulatedWorkday,
    /// The connection, once it is made.
    connection: String,
}

impl Tenant {
    /// A small company of the generator, the same for a seed.
    async fn start(seed: u64, employees: usize) -> Self {
        let company = Company::generate(&Plan::new(seed, employees, 2, today()));
        let name = format!("acme_{seed}");
        let options = ServerOptions {
            client: Some(["NjkwZjM4".into(), "s".into(), "r&=+%".into()]),
            // Several pages, which shift unless they are asked for as of one moment.
            page_workers_max: 5,
            ..ServerOptions::new(&name, "ISU_Tenure", "a <password> & more")
        };
        let server = SimulatedWorkday::start(Arc::new(Mutex::new(company)), options).await;
        Self {
            name,
            server: server.expect("a vendor"),
            connection: String::new(),
        }
    }

    async fn connect(&mut self, tenure: &Tenure) {
        let request = json!({"tenant": self.name, "base_url": self.server.base_url(), "user": "ISU_Tenure", "password": "a <password> & more"});
        let (status, answer) = tenure.post("/v1/integrations/workday", "admin", &[], request).await;
        assert_eq!(status, 201, "{answer:#}");
        self.connection = answer["id"].as_str().expect("an id").to_owned();
    }

    /// Of every other seed nobody sees the log.
    fn hide_log(seed: u64) -> Option<&'static str> {
        seed.is_multiple_of(2).then_some("Transaction_Log_Entry_Data")
    }

    fn fault(&self, (seed, random): (u64, &mut StdRng)) {
        let faults = self.server.faults();
        match random.random_range(0..6) {
            0 => faults.rate_limit(random.random_range(1..6), 1),
            1 => faults.unavailable(random.random_range(1..6), random.random_range(0..2)),
            2 => faults.set_down(true),
            3 => faults.set_slow(Duration::from_millis(random.random_range(0..20))),
            4 => {
                let hidden = ELEMENTS.choose_multiple(random, 2).copied();
                return faults.hide_fields(hidden.chain(Self::hide_log(seed)));
            }
            _ => faults.clear(),
        }
        faults.hide_fields(Self::hide_log(seed));
    }

    fn compared(&self, seed: u64, shows: Shows) -> Compared {
        Compared::of((seed, &self.connection), &self.server.company(), shows)
    }
}

async fn imported(data: &DataDir, tenure: &Tenure) {
    none(&data.0, "select count(*) from connection_task where task = 'import'").await;
    settled(tenure).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_imported_with_all_its_history_and_asked_who_changed() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let mut tenant = Tenant::start(7, 40).await;
    tenant.connect(&tenure).await;
    imported(&data, &tenure).await;
    agree(&data.0, &[tenant.compared(7, Shows::StatesAndLog)]).await;
    // About as many questions as there are changes: no grid of days, no endless halving.
    let (asked, days) = {
        let company = tenant.server.company();
        let changes = company
            .employees
            .iter()
            .map(|one| one.job_info.len() + one.compensation.len() + one.employment_status.len());
        let days = changes.sum::<usize>() as u64;
        (tenant.server.faults().requests("POST Get_Workers"), days)
    };
    eprintln!("{asked} questions for {days} rows of history");
    assert!(asked < 3 * days, "{asked} questions for {days} rows of history");
    let actors = "select count(*) from event where actor like 'workday:%:%'";
    assert_eq!(sql(&data.0, actors), "0", "history is told as history");

    // Somebody is entered, and something that was entered long ago becomes effective.
    let now = infra::clock::now();
    let id = {
        let mut company = tenant.server.company();
        let id = company.employees[0].id;
        company.set_field(id, "preferredName", "Addie", now).expect("set");
        id
    };
    let path = format!("/v1/connections/{}/changes", tenant.connection);
    let renamed = format!(
        "select count(*) from event where event_type = 'employee.contact-changed' and actor = 'workday:{}:changes'",
        tenant.connection
    );
    let mut told_of = String::new();
    for _ in 0..600 {
        // What is entered shows a moment later: a question ends before now.
        let (status, answer) = tenure.post(&path, "admin", &[], Value::Null).await;
        assert_eq!(status, 202, "{answer:#}");
        settled(&tenure).await;
        told_of = sql(&data.0, &renamed);
        if told_of != "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(told_of, "1", "employee {id}");
    agree(&data.0, &[tenant.compared(7, Shows::StatesAndLog)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_may_not_see_is_told_and_stays_as_it_is_known() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let mut tenant = Tenant::start(11, 12).await;
    tenant.connect(&tenure).await;
    imported(&data, &tenure).await;
    let test = |expected: bool| {
        let said = told(&mut tool(&data.0, &["connection", "test", &tenant.connection]));
        assert_eq!(said.is_ok(), expected, "{said:?}");
        said.unwrap_or_else(|said| said)
    };
    let said = test(true);
    assert!(said.contains("ok       pay") && !said.contains("missing"), "{said}");

    // Rights are taken away: nothing is forgotten for that.
    let history = "select count(*) from event where actor like 'workday:%'";
    let before = sql(&data.0, history);
    tenant.server.faults().hide_fields(ELEMENTS);
    let said = test(true);
    assert!(
        said.contains("missing  pay") && said.contains("Worker Data: Compensation by Organization"),
        "{said}"
    );
    reconcile(&tenure, &[&tenant.connection]).await;
    for element in [
        "Worker_Status_Data",
        "Employment_Data",
        "Email_Address_Data",
        "Worker_Data",
    ] {
        tenant.server.faults().hide_fields([element]);
        reconcile(&tenure, &[&tenant.connection]).await;
    }
    assert_eq!(sql(&data.0, history), before);

    tenant.server.faults().hide_fields(["Get_Workers"]);
    assert!(test(false).contains("cannot be read"));
    tenant.server.faults().clear();

    // An API client in place of the user and the password: the same tenant, and no news.
    let by_token = json!({"tenant": tenant.name, "base_url": tenant.server.base_url(), "client_id": "NjkwZjM4", "client_secret": "s", "refresh_token": "r&=+%"});
    let (status, answer) = tenure
        .post("/v1/integrations/workday", "admin", &[], by_token.clone())
        .await;
    assert_eq!(
        (status, answer["id"].as_str()),
        (201, Some(&*tenant.connection)),
        "{answer:#}"
    );
    assert!(test(true).contains("ok       pay"));
    reconcile(&tenure, &[&tenant.connection]).await;
    assert_eq!(sql(&data.0, history), before);
    assert!(tenant.server.faults().requests("POST token") > 0);
    let mut both = by_token;
    both["user"] = json!("ISU");
    let (status, answer) = tenure.post("/v1/integrations/workday", "admin", &[], both).await;
    assert_eq!(status, 400, "{answer:#}");

    let wrong = json!({"tenant": tenant.name, "base_url": tenant.server.base_url(), "user": "ISU_Tenure", "password": "another"});
    let (status, answer) = tenure.post("/v1/integrations/workday", "admin", &[], wrong).await;
    assert_eq!(status, 201, "{answer:#}");
    test(false);
    for (field, value) in [
        ("tenant", "../x"),
        ("version", "42"),
        ("user", "ISU@acme"),
        ("base_url", "http://workday.example"),
    ] {
        let mut request = json!({"tenant": "acme", "base_url": "https://wd2.example", "user": "ISU", "password": "p"});
        request[field] = json!(value);
        let (status, answer) = tenure.post("/v1/integrations/workday", "admin", &[], request).await;
        assert_eq!(status, 400, "{field}: {answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_fetched_and_one_that_lost_a_column_changes_nothing() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let tenant = Tenant::start(13, 30).await;
    let request = |format: &str, password: &str| {
        let url = format!("{}?format={format}&Worker_Type!WID=1", tenant.server.report_url());
        json!({"name": "workday-report", "report": {"url": url, "user": "ISU_Tenure", "password": password}, "mapping": {
            "columns": {"id": "Employee_ID", "first_name": "First_Name", "last_name": "Last_Name", "start_date": "Hire_Date", "job_title": "Title",
                "department": "Department", "manager_id": "Manager_ID", "pay_rate": "Annual_Salary", "pay_currency": "Currency"},
            "pay_period": "YEAR", "decimal_mark": "."}})
    };
    let connect = async |format: &str, password: &str| {
        let (status, answer) = tenure
            .post("/v1/integrations/files", "admin", &[], request(format, password))
            .await;
        assert_eq!(status, 201, "{answer:#}");
        answer["id"].as_str().expect("an id").to_owned()
    };
    let cause = "select coalesce(last_cause, '') from connection";
    let id = connect("json", "a <password> & more").await;
    let employed = tenant.server.company().headcount_on(today());
    let taken = format!("select {employed} - count(*) from employee");
    none(&data.0, &taken).await;
    settled(&tenure).await;
    assert_eq!(
        sql(
            &data.0,
            "select count(*) from employee where manager is null and status <> 'LEFT'"
        ),
        "1"
    );

    // The same in another format is no news.
    let history = "select count(*) from event where kind = 'employee' and actor like 'file:%'";
    let before = sql(&data.0, history);
    let path = format!("/v1/connections/{id}/report");
    let fetch = async || {
        let done = "select coalesce(max(done_at), '-infinity') || ' ' || max(attempts) from connection_task where task = 'report'";
        let last = sql(&data.0, done);
        let (status, answer) = tenure.post(&path, "admin", &[], Value::Null).await;
        assert_eq!(status, 202, "{answer:#}");
        eventually("the report is fetched", async || {
            let now = sql(&data.0, done);
            if now == last { Err(json!(now)) } else { Ok(()) }
        })
        .await;
        settled(&tenure).await;
    };
    connect("csv", "a <password> & more").await;
    fetch().await;
    assert_eq!(
        (sql(&data.0, history), sql(&data.0, cause)),
        (before.clone(), String::new())
    );

    // Its owner takes a column away, or writes nonsense into a cell.
    tenant.server.faults().hide_fields(["Title"]);
    fetch().await;
    assert_eq!(
        (sql(&data.0, history), sql(&data.0, cause)),
        (before.clone(), "report-lost-columns".to_owned())
    );
    let test = || told(&mut tool(&data.0, &["connection", "test", &id]));
    let said = test();
    assert!(said.is_err(), "{said:?}");
    tenant.server.faults().clear();
    let somebody = tenant
        .server
        .company()
        .employees
        .iter()
        .find(|employee| employee.is_employed_on(today()))
        .expect("somebody")
        .id;
    tenant
        .server
        .company()
        .set_field(somebody, "payRate", "a lot", infra::clock::now())
        .expect("set");
    tenant
        .server
        .company()
        .employee_mut(somebody)
        .expect("there")
        .overrides
        .insert("payRate".into(), "a lot".into());
    fetch().await;
    assert_eq!(
        (sql(&data.0, history), sql(&data.0, cause)),
        (before.clone(), "report-has-problems".to_owned())
    );
    let said = test().expect("the others are there");
    assert!(said.contains("Annual_Salary is no number"), "{said}");

    // A mapping alone leaves the report as it is.
    let mut mapping = request("csv", "");
    mapping.as_object_mut().expect("an object").remove("report");
    let (status, answer) = tenure.post("/v1/integrations/files", "admin", &[], mapping).await;
    assert_eq!(status, 201, "{answer:#}");
    fetch().await;
    assert_eq!(sql(&data.0, cause), "report-has-problems");

    // Without a format it is XML, and with a wrong password nothing.
    connect("", "a <password> & more").await;
    fetch().await;
    assert_eq!(sql(&data.0, cause), "report-unreadable");
    connect("csv", "another").await;
    fetch().await;
    assert_eq!(
        (sql(&data.0, history), sql(&data.0, cause)),
        (before, "unauthorised".to_owned())
    );
    let mut elsewhere = request("csv", "p");
    elsewhere["report"]["url"] = json!("http://workday.example/report?format=csv");
    let (status, answer) = tenure.post("/v1/integrations/files", "admin", &[], elsewhere).await;
    assert_eq!(status, 400, "{answer:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_believed_converges_to_what_workday_holds() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let usual = if std::env::var("KAFKA_BROKERS").is_ok() {
        SEEDS_REAL_KAFKA
    } else {
        SEEDS
    };
    let seeds = number("TENURE_CONVERGENCE_SEEDS").unwrap_or(usual);
    let start = number("TENURE_CONVERGENCE_FROM").unwrap_or(1);
    eprintln!("seeds {start}..{}", start + seeds);
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let histories = stream::iter(start..start + seeds).map(|seed| {
        let tenure = &tenure;
        async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut tenant = Tenant::start(seed, random.random_range(5..8)).await;
            tenant.fault((seed, &mut random));
            tenant.connect(tenure).await;
            for _ in 0..STEPS {
                if random.random_bool(0.3) {
                    tenant.fault((seed, &mut random));
                }
                step(&mut tenant.server.company(), &mut random);
                if random.random_bool(0.5) {
                    let pause = random.random_range(0..80);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
            tenant.server.faults().clear();
            tenant.server.faults().hide_fields(Tenant::hide_log(seed));
            (seed, tenant)
        }
    });
    let tenants: Vec<(u64, Tenant)> = histories.buffer_unordered(AT_ONCE).collect().await;
    let connections: Vec<&str> = tenants.iter().map(|(_, tenant)| tenant.connection.as_str()).collect();
    none(&data.0, "select count(*) from connection_task where task = 'import'").await;
    reconcile(&tenure, &connections).await;
    let compared = tenants.iter().map(|(seed, tenant)| {
        let sees_log = Tenant::hide_log(*seed).is_none();
        tenant.compared(*seed, if sees_log { Shows::StatesAndLog } else { Shows::States })
    });
    let compared: Vec<Compared> = compared.collect();
    agree(&data.0, &compared).await;

    // Asked once more, no source has anything new to tell.
    let history = "select count(*) from event where kind = 'employee'";
    let before = sql(&data.0, history);
    reconcile(&tenure, &connections).await;
    assert_eq!(sql(&data.0, history), before);
}
