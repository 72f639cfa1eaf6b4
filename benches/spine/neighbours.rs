//! What others feel while one tenant is loud: a first import of 100,000 people from a file, a merit round for all of them in another, and
//! 100,000 webhooks in ten minutes.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{Days, Months, NaiveDate};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tenure::demo::{
    bamboohr::SimulatedBambooHr,
    webhooks::{PayloadStyle, RetryLadder, WebhookSender, WebhookTarget},
};
use tokio::task::JoinSet;

use crate::{
    outside::{Tenant, Tenure, WEBHOOK_KEY, connect, freshness, told},
    report::{Row, quantile, tell},
    stage::{Kafka, folder, until},
};

/// Of the quiet tenant, whose webhooks are measured.
const NEIGHBOURS: usize = 600;
const WEBHOOKS_PER_SECOND: u64 = 5;
/// How long the quiet tenant is alone.
const ALONE: Duration = Duration::from_secs(60);
const PEOPLE: usize = 100_000;
const FLOOD: u32 = 100_000;
const FLOOD_LASTS: Duration = Duration::from_secs(600);
/// Of whom the flood of webhooks tells.
const FLOODED: usize = 2_000;
/// After the flood everything is to be visible within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

pub async fn run(real_kafka: bool) -> Vec<Row> {
    let folder = folder();
    let kafka = Kafka::outside(folder.path(), real_kafka).await;
    let brokers = kafka.as_ref().map(|kafka| kafka.brokers().addresses.clone());
    let mut tenure = Tenure::start(&folder.path().join("data"), brokers.as_deref());
    let (loud, quiet) = (tenure.tenant(), tenure.another_tenant().await);
    let neighbour = connect(&quiet, NEIGHBOURS).await;

    let mut rows = Vec::new();
    tell(&format!("neighbours: the quiet one alone for {ALONE:?}"));
    let ((), latencies) = freshness(&quiet, &neighbour, WEBHOOKS_PER_SECOND, tokio::time::sleep(ALONE)).await;
    let alone = Felt::of(latencies);
    rows.push(Row::new(
        "webhook to visible score, nobody else there: p50",
        alone.p50,
        "ms",
    ));
    rows.push(Row::new("… p99", alone.p99, "ms"));

    let files = connect_files(&loud).await;
    for (name, rows_each) in [("first import", 3), ("merit round", 1)] {
        tell(&format!("neighbours: {name} of {PEOPLE} people"));
        let sending = send(&loud, &files, name, csv(rows_each));
        let (took, latencies) = freshness(&quiet, &neighbour, WEBHOOKS_PER_SECOND, sending).await;
        let rate = |seconds| PEOPLE as f64 / seconds;
        rows.push(Row::new(
            format!("{name} of {PEOPLE} people: durable"),
            rate(took.durable),
            "people/s",
        ));
        rows.push(Row::new("… in the log", rate(took.logged), "people/s"));
        rows.push(Row::new("… projected and scored after", took.projected, "s"));
        rows.extend(Felt::of(latencies).beside(&alone));
        rows.push(Row::new(
            "… resident memory after it",
            tenure.resident_megabytes(),
            "MB",
        ));
    }

    let loud = tenure.another_tenant().await;
    let source = connect(&loud, FLOODED).await;
    tell(&format!("neighbours: {FLOOD} webhooks in {FLOOD_LASTS:?}"));
    let sending = flood(&tenure, &loud, &source);
    let (flooded, latencies) = freshness(&quiet, &neighbour, WEBHOOKS_PER_SECOND, sending).await;
    rows.push(Row::new("webhooks taken", flooded.taken as f64, "").at_least(f64::from(FLOOD)));
    rows.push(Row::new("… people not known as the source has them", flooded.differ as f64, "").at_most(0.0));
    rows.push(Row::new("… after the last webhook, within", flooded.settled, "s"));
    rows.extend(Felt::of(latencies).beside(&alone));
    let (early, late) = flooded.memory;
    rows.push(
        Row::new("… resident memory at the end", late, "MB")
            .beside("after a fifth", early)
            .at_most_times_the_peer(1.2),
    );
    tenure.stop();
    rows
}

/// How long the quiet tenant's scores took, in milliseconds.
struct Felt {
    p50: f64,
    p99: f64,
    worst: f64,
}

impl Felt {
    fn of(latencies: Vec<(f64, f64)>) -> Self {
        let mut latencies: Vec<f64> = latencies.into_iter().map(|(_, latency)| latency).collect();
        latencies.sort_by(f64::total_cmp);
        Self {
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            worst: latencies.last().copied().unwrap_or_default(),
        }
    }

    fn beside(&self, alone: &Self) -> [Row; 3] {
        let row = |name, figure, peer| Row::new(name, figure, "ms").beside("nobody else there", peer);
        [
            row("… webhook to visible score of others: p50", self.p50, alone.p50).at_most_times_the_peer(2.0),
            row("… p99", self.p99, alone.p99).at_most_times_the_peer(2.0),
            row("… worst", self.worst, alone.worst),
        ]
    }
}

/// Where files are sent to.
async fn connect_files(tenant: &Tenant) -> String {
    let proposal = tenant.post("/v1/files/proposal").header("content-type", "text/csv");
    let proposal = told(proposal.body(csv(1))).await;
    let request = json!({"name": "load", "mapping": proposal["mapping"]});
    let connection = told(tenant.post("/v1/integrations/files").json(&request)).await;
    let id = connection["id"].as_str().expect("an id");
    format!("/v1/connections/{id}/files")
}

/// Everybody, with three rows a year apart, or with one that comes after them.
fn csv(rows_each: u32) -> String {
    let mut random = StdRng::seed_from_u64(7);
    let mut csv = "Employee ID,First Name,Last Name,Work Email,Hire Date,Effective Date,Job Title,Department,Manager ID,Annual Salary,Currency\n".to_owned();
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a day");
    for number in 1..=PEOPLE {
        let hired = day(2020) + Days::new(random.random_range(0..1_000));
        let boss = random.random_range(1..=(number / 10).max(1));
        let boss = if number < 10 { String::new() } else { boss.to_string() };
        let title = ["Cashier", "Baker", "Driver"][random.random_range(0..3)];
        let department = ["Sales", "Bakery", "Logistics"][random.random_range(0..3)];
        let pay = random.random_range(20_000..60_000);
        let mut row = |on: NaiveDate, pay: u32| {
            let last = number % 997;
            writeln!(csv, "{number},First{number},Last{last},p{number}@load.example,{hired},{on},{title},{department},{boss},{pay}.00,EUR").expect("a string");
        };
        if rows_each == 1 {
            row(day(2026), pay + 3_000);
        } else {
            (0..rows_each).for_each(|year| row(hired + Months::new(12 * year), pay + 1_000 * year));
        }
    }
    csv
}

/// Seconds until a file was durable, in the log, and in every read model.
struct Took {
    durable: f64,
    logged: f64,
    projected: f64,
}

async fn send(tenant: &Tenant, files: &str, name: &str, csv: String) -> Took {
    let begun = Instant::now();
    let sent = async |prefer: &str| {
        let request = tenant.post(files).header("content-type", "text/csv");
        let request = request.header("idempotency-key", name).header("prefer", prefer);
        told(request.body(csv.clone())).await
    };
    // The same key: sent again it is the same commands, and what became of them is told.
    let mut report = sent("respond-async").await;
    let durable = begun.elapsed().as_secs_f64();
    while report["outcome"]["pending"].as_u64() != Some(0) {
        report = sent("wait=60").await;
    }
    let logged = begun.elapsed().as_secs_f64();
    let changed = report["outcome"]["changed"].as_u64();
    assert_eq!(changed, Some(PEOPLE as u64), "{report:#}");
    until("everything is projected", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        is_projected(tenant).await
    })
    .await;
    Took {
        durable,
        logged,
        projected: begun.elapsed().as_secs_f64(),
    }
}

/// Whether the read models are behind the log by no more than what the quiet tenant does at the moment.
async fn is_projected(tenant: &Tenant) -> bool {
    let health: Value = told(tenant.get("/health/detailed")).await;
    let standing = &health["standing"];
    let mut parts = standing["projections"].as_array().into_iter().flatten();
    let is_near = |part: &Value| part["lag_events"].as_u64().is_some_and(|lag| lag < 50);
    is_near(&standing["relay"]) && parts.all(is_near)
}

struct Flooded {
    taken: u64,
    differ: usize,
    /// Seconds.
    settled: f64,
    /// Megabytes: after a fifth of the time, and at the end.
    memory: (f64, f64),
}

/// A hundred thousand webhooks, evenly over ten minutes, each about a change of somebody's pay and telephone.
async fn flood(tenure: &Tenure, tenant: &Tenant, (vendor, webhook_url): &(SimulatedBambooHr, String)) -> Flooded {
    let target = WebhookTarget::new(webhook_url, WEBHOOK_KEY, PayloadStyle::EventJson);
    let sender = WebhookSender::new(target, RetryLadder(vec![])).expect("a sender");
    let people: Vec<_> = (vendor.company().employees.iter().map(|employee| employee.id)).collect();
    let taken = Arc::new(AtomicU64::new(0));
    let (mut ticks, mut sending) = (tokio::time::interval(FLOOD_LASTS / FLOOD), JoinSet::new());
    let mut early = 0.0;
    for nth in 0..FLOOD {
        ticks.tick().await;
        if nth == FLOOD / 5 {
            early = tenure.resident_megabytes();
        }
        let id = people[nth as usize % people.len()];
        let rate = format!("{}.{:02}", 20 + nth / 100, nth % 100);
        vendor.set_field(id, "payRate", &rate).expect("a change");
        let telephone = format!("+1 555 {nth}");
        let change = vendor.set_field(id, "mobilePhone", &telephone).expect("a change");
        let (sender, company, taken) = (sender.clone(), vendor.shared_company(), Arc::clone(&taken));
        sending.spawn(async move {
            for outcome in sender.send_changes(&company, &[change]).await {
                outcome.expect("the webhook is taken");
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
    let late = tenure.resident_megabytes();
    let (ended, mut differ) = (Instant::now(), people.len());
    until("what was told is believed", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        differ = differing(tenant, vendor).await;
        differ == 0 || ended.elapsed() > SETTLES_WITHIN
    })
    .await;
    Flooded {
        taken: taken.load(Ordering::Relaxed),
        differ,
        settled: ended.elapsed().as_secs_f64(),
        memory: (early, late),
    }
}

/// How many of the vendor's people have another telephone here.
async fn differing(tenant: &Tenant, vendor: &SimulatedBambooHr) -> usize {
    let mut known: HashMap<String, String> = HashMap::new();
    let (mut after, text) = (String::new(), |value: &Value| {
        value.as_str().unwrap_or_default().to_owned()
    });
    loop {
        let page = tenant.graphql(&format!("{{ employees(first: 100{after}) {{ nodes {{ workEmail mobilePhone }} pageInfo {{ endCursor hasNextPage }} }} }}")).await;
        for node in page["employees"]["nodes"].as_array().into_iter().flatten() {
            known.insert(text(&node["workEmail"]), text(&node["mobilePhone"]));
        }
        if page["employees"]["pageInfo"]["hasNextPage"] != json!(true) {
            break;
        }
        after = format!(", after: {}", page["employees"]["pageInfo"]["endCursor"]);
    }
    let company = vendor.company();
    let people = company.employees.iter();
    people
        .filter(|person| known.get(&person.work_email) != Some(&person.mobile_phone))
        .count()
}
