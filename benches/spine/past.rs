//! The same questions about today and about a past day, one after the other, over GraphQL.

use std::time::{Duration, Instant};

use infra::clock;
use serde_json::{Value, json};
use tenure::roles::{Loops, start_query_api};

use crate::{
    page::{Client, request, serve},
    projection::{self, History},
    report::{Row, median, tell},
    stage::Site,
};

const PEOPLE: usize = 20_000;
const EVENTS: usize = 60_000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// A day in the middle of what happened.
const DAYS_AGO: u64 = 180;

pub async fn run(site: &Site) -> Vec<Row> {
    tell("past: preparing a year of 20,000 people");
    History::begin(site, PEOPLE).await.happen(EVENTS).await;
    projection::project(site).await;
    // Scores become history when they are news, by way of the intake, which does not run here.
    sqlx::raw_sql(
        "insert into risk_history (tenant, employee, position, probability, horizon_days, band, factors, model, scored_at, scored_position, recorded_at, vector)
         select tenant, employee, position + n, probability, horizon_days, band, factors, model, scored_at - n * interval '100 days', position, scored_at, vector
           from risk, generate_series(0, 3) n",
    )
    .execute(&site.owner)
    .await
    .expect("scores of the past");
    site.vacuum().await;
    let manager: String = sqlx::query_scalar(
        "select manager::text from employee where manager is not null group by 1 order by count(*) desc, 1 limit 1",
    )
    .fetch_one(&site.owner)
    .await
    .expect("a manager");
    let somebody: String = sqlx::query_scalar("select id::text from employee order by id limit 1")
        .fetch_one(&site.owner)
        .await
        .expect("somebody");
    let department: String = sqlx::query_scalar(
        "select department from employee where department is not null group by 1 order by count(*) desc limit 1",
    )
    .fetch_one(&site.owner)
    .await
    .expect("a department");
    let loops = Loops::new();
    let address = serve(start_query_api(&site.parts, &loops)).await;
    let mut client = Client::connect(address).await;
    let day = clock::today() - chrono::Days::new(DAYS_AGO);
    let page = "nodes { id displayName jobTitle department status risk { probability band factors { label } } }";
    let mut rows = Vec::new();
    for (what, field, arguments, selection) in [
        ("a page of 50 by name", "employees", "first: 50", page.to_owned()),
        (
            "a page of 50 by risk",
            "employees",
            "first: 50, orderBy: RISK",
            page.to_owned(),
        ),
        (
            "a page of 50 of a department",
            "employees",
            &format!("first: 50, filter: {{department: {department:?}}}"),
            page.to_owned(),
        ),
        (
            "one person with the manager",
            "employee",
            &format!("id: {somebody:?}"),
            "displayName status risk { probability } manager { displayName jobTitle }".to_owned(),
        ),
        (
            "a manager with 50 of the team",
            "employee",
            &format!("id: {manager:?}"),
            format!("displayName team(first: 50) {{ {page} }}"),
        ),
        (
            "risk by department",
            "riskOverview",
            "groupBy: DEPARTMENT",
            "groups { label headcount averageProbability }".to_owned(),
        ),
        ("heads by department", "departments", "", "name headcount".to_owned()),
    ] {
        let ask = |past: bool| {
            let as_of = if past {
                format!("asOf: \"{day}\"")
            } else {
                String::new()
            };
            let arguments: Vec<&str> = [arguments, &as_of]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            let arguments = if arguments.is_empty() {
                String::new()
            } else {
                format!("({})", arguments.join(", "))
            };
            request(
                site,
                address,
                &json!({"query": format!("{{ {field}{arguments} {{ {selection} }} }}")}),
            )
        };
        let (today, past) = (ask(false), ask(true));
        for request in [&today, &past] {
            let answer: Value = serde_json::from_slice(client.ask(request).await).expect("JSON");
            assert!(
                answer["errors"].is_null() && !answer["data"][field].is_null(),
                "{what}: {answer:#}"
            );
        }
        let (mut of_today, mut of_past) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            tell(&format!("past: {what}, round {round} of {ROUNDS}"));
            of_today.push(milliseconds(&mut client, &today).await);
            of_past.push(milliseconds(&mut client, &past).await);
        }
        rows.push(
            Row::new(format!("{what}, {DAYS_AGO} days ago"), median(of_past), "ms")
                .beside("the same of today", median(of_today))
                .at_most_times_the_peer(3.0),
        );
    }
    let from = clock::today() - chrono::Days::new(360);
    let trends = format!(
        "{{ trends(from: \"{from}\", to: \"{}\", step: MONTH) {{ headcount turnover bands {{ high }} actualLeavers }} }}",
        clock::today()
    );
    let trends = request(site, address, &json!({"query": trends}));
    rows.push(Row::new(
        "a year of monthly trends of 20,000 people",
        milliseconds(&mut client, &trends).await,
        "ms",
    ));
    loops.end().await;
    rows
}

/// The mean time of an answer.
async fn milliseconds(client: &mut Client, request: &[u8]) -> f64 {
    let (begun, mut answers) = (Instant::now(), 0_u32);
    while begun.elapsed() < ROUND {
        client.ask(request).await;
        answers += 1;
    }
    begun.elapsed().as_secs_f64() * 1_000.0 / f64::from(answers)
}
