//! `tenure up` as its users run it: from a webhook to a visible score, restarts, memory.

use std::time::Duration;

use crate::{
    outside::{Tenure, connect, freshness},
    report::{Row, quantile, tell},
    stage::{Kafka, folder},
};

const EMPLOYEES: usize = 600;
const WEBHOOKS_PER_SECOND: u64 = 50;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(30);
const RESTARTS: usize = 3;

pub async fn run(real_kafka: bool) -> Vec<Row> {
    let folder = folder();
    let kafka = Kafka::outside(folder.path(), real_kafka).await;
    let brokers = kafka.as_ref().map(|kafka| kafka.brokers().addresses.clone());
    let start = || Tenure::start(&folder.path().join("data"), brokers.as_deref());

    let mut tenure = start();
    let tenant = tenure.tenant();
    let source = connect(&tenant, EMPLOYEES).await;
    tell(&format!(
        "product: {WEBHOOKS_PER_SECOND} webhooks a second for {MEASURED:?}"
    ));
    let load = tokio::time::sleep(WARM_UP + MEASURED);
    let ((), sent) = freshness(&tenant, &source, WEBHOOKS_PER_SECOND, load).await;
    let mut latencies: Vec<f64> = (sent.into_iter())
        .filter(|(second, _)| *second >= WARM_UP.as_secs_f64())
        .map(|(_, latency)| latency)
        .collect();
    latencies.sort_by(f64::total_cmp);
    let (p50, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));

    tell(&format!("product: at rest for {REST:?}"));
    tokio::time::sleep(REST).await;
    let (resident, postgres) = (tenure.resident_megabytes(), tenure.postgres_megabytes());

    let (mut after_kill, mut after_stop) = (Vec::new(), Vec::new());
    for round in 1..=RESTARTS {
        tell(&format!("product: restarts, round {round} of {RESTARTS}"));
        tenure.kill();
        tenure = start();
        after_kill.push(tenure.started_in.as_secs_f64());
        tenure.stop();
        tenure = start();
        after_stop.push(tenure.started_in.as_secs_f64());
    }
    tell(&format!("product: at rest for {REST:?} after a restart"));
    tokio::time::sleep(REST).await;
    let resident_fresh = tenure.resident_megabytes();
    tenure.stop();
    let worst = |figures: &[f64]| figures.iter().copied().fold(0.0, f64::max);
    vec![
        Row::new(
            format!(
                "webhook to visible score at {WEBHOOKS_PER_SECOND}/s, p50 of {}",
                latencies.len()
            ),
            p50,
            "ms",
        )
        .at_most(60.0),
        Row::new("webhook to visible score, p99", p99, "ms").at_most(250.0),
        Row::new(
            format!("restart after kill -9, worst of {RESTARTS}"),
            worst(&after_kill),
            "s",
        )
        .at_most(3.0),
        Row::new(
            format!("restart after a clean stop, worst of {RESTARTS}"),
            worst(&after_stop),
            "s",
        )
        .at_most(3.0),
        Row::new("resident memory at rest, after that load", resident, "MB").at_most(300.0),
        Row::new("resident memory at rest, after a restart", resident_fresh, "MB").at_most(300.0),
        Row::new("  its Postgres (proportional, all processes)", postgres, "MB"),
    ]
}
