//! The history read again: raw, and into a new generation of read models, beside the same rows by COPY.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use infra::{event_log, generation::Workshop};
use projection_workers::rebuild::{Aim, Rebuild};
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;

use crate::{
    projection::{self, History},
    report::{Row, median, tell},
    stage::Site,
};

const PEOPLE: usize = 50_000;
const EVENTS: usize = 950_000;
/// Events that are read at once.
const PAGE: i64 = 5_000;
const ROUNDS: usize = 3;
const RAW_TARGET: f64 = 300_000.0;
const REPLAY_TARGET: f64 = 60_000.0;
const EXPORT_TARGET: f64 = 150_000.0;
const EXPORT_MEGABYTES_MAX: f64 = 300.0;
/// A million events in 40 seconds.
const REBUILD_TARGET: f64 = 25_000.0;

pub async fn run(site: &Site) -> Vec<Row> {
    tell("replay: preparing 1,000,000 events");
    History::begin(site, PEOPLE).await.happen(EVENTS).await;
    let live = projection::read_models(site).await;
    let raw = raw_reading(site).await;
    tell("replay: rebuilding");
    let rebuilt = rebuild(site).await;
    tell("replay: the same rows by COPY");
    let copied = copy(site).await;
    tell("replay: to Kafka, and to files");
    // A broker that has just begun is still compiling itself.
    let to_kafka: Vec<f64> = (0..ROUNDS)
        .map(|_| tool(site, &["replay", "--into", "kafka:bench.replayed"]).0)
        .collect();
    let mut exports = Vec::new();
    for (format, name) in [
        ("parquet", "export of events, Parquet"),
        ("arrow", "export of events, Arrow"),
        ("csv", "export of events, CSV"),
        ("jsonl", "export of events, JSON lines"),
    ] {
        let (rate, megabytes) = tool(
            site,
            &["export", "events", "--format", format, "--purpose", "to measure it"],
        );
        exports.push(Row::new(name, rate, "rows/s").at_least(EXPORT_TARGET));
        exports.push(Row::new(format!("{name}: peak memory"), megabytes, "MB").at_most(EXPORT_MEGABYTES_MAX));
    }
    tell("replay: what if");
    let head = site.head().await as f64;
    let what_if = |name: &str, changes: &str| {
        let script = format!("title: A measurement\nfrom: 2020-01-01\n{changes}");
        let file = site.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, script).expect("a script");
        let begun = Instant::now();
        let path = file.to_str().expect("a path");
        let megabytes = run_tool(site, &["what-if", "run", path, "--purpose", "to measure it"]).1;
        (head / begun.elapsed().as_secs_f64(), megabytes)
    };
    let (nothing, _) = what_if("nothing", "");
    let raise = "changes:\n  - raise: {who: {everybody: true}, on: DAY, percent: 5}\n";
    let day = infra::clock::today() - chrono::Days::new(30);
    let (raised, megabytes) = what_if("raised", &raise.replace("DAY", &day.to_string()));
    let mut rows = vec![
        Row::new("read models, live", live, "events/s"),
        Row::new("reading the log", raw, "events/s").at_least(RAW_TARGET),
        Row::new("rebuilding the read models", head / rebuilt, "events/s").at_least(REBUILD_TARGET),
        Row::new("rebuilding the read models, beside COPY", head / rebuilt, "events/s")
            .beside("COPY of the same rows", head / copied)
            .at_least_times_the_peer(0.5),
        Row::new("replay into Kafka", median(to_kafka), "events/s").at_least(REPLAY_TARGET),
    ];
    rows.extend(exports);
    rows.push(Row::new("what-if, nothing changed", nothing, "events/s"));
    rows.push(Row::new("what-if, everybody's pay raised", raised, "events/s"));
    rows.push(Row::new(
        "what-if, everybody's pay raised: peak memory",
        megabytes,
        "MB",
    ));
    rows
}

/// Runs a subcommand of the product on the site; the rate that it tells, and the most memory that it had, in megabytes.
pub fn tool(site: &Site, arguments: &[&str]) -> (f64, f64) {
    let (told, peak) = run_tool(site, arguments);
    let (_, rate) = told.rsplit_once('(').expect("a rate");
    let rate = rate.split_whitespace().next().and_then(|rate| rate.parse().ok());
    (rate.expect("a rate"), peak)
}

/// Runs a subcommand of the product on the site; what it tells on standard error, and the most memory that it had, in megabytes.
fn run_tool(site: &Site, arguments: &[&str]) -> (String, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(arguments)
        .arg("--data-dir")
        .arg(&site.folder)
        .current_dir(folder.path())
        .env("DATABASE_URL", site.url.expose_secret())
        .env("KAFKA_BROKERS", &site.parts.brokers.addresses)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let status = format!("/proc/{}/status", process.id());
    let mut peak: f64 = 0.0;
    while process.try_wait().expect("a process").is_none() {
        peak = peak.max(peak_megabytes(Path::new(&status)));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = process.wait_with_output().expect("an end");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    (told, peak)
}

fn peak_megabytes(status: &Path) -> f64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.map_or(0.0, |kilobytes: f64| kilobytes / 1024.0)
}

/// Everything as `tenure replay` and a rebuild read it, without opening it.
pub async fn raw_reading(site: &Site) -> f64 {
    let (begun, mut after, mut count) = (Instant::now(), 0, 0);
    loop {
        let page = site
            .parts
            .database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, PAGE)))
            .await
            .expect("a page");
        let Some(last) = page.last() else { break };
        after = last.position;
        count += page.len();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Seconds from the empty generation to the live one.
pub async fn rebuild(site: &Site) -> f64 {
    let begun = Instant::now();
    let workshop = Workshop::open(&site.url, &site.parts.master, "bench".to_owned())
        .await
        .expect("a workshop");
    let rebuild = Rebuild {
        database: site.parts.database.clone(),
        keyring: site.parts.keyring.clone(),
        workshop,
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        show: &|_, _| {},
    };
    let outcome = rebuild.run(Aim::Flip).await.expect("rebuilt");
    assert_eq!(i64::try_from(outcome.events).expect("a number"), site.head().await);
    for table in &outcome.tables {
        assert!(table.comparison.differing.is_empty(), "{table:?}");
    }
    begun.elapsed().as_secs_f64()
}

/// Seconds for the live rows into empty tables with the same indexes.
async fn copy(site: &Site) -> f64 {
    let folder: String = sqlx::query_scalar("show data_directory")
        .fetch_one(&site.owner)
        .await
        .expect("a folder");
    let tables = infra::read_model::shadow::TABLES;
    let run = async |statement: String| {
        let statement = format!("set app.tenants = '{{{}}}'; {statement}", site.tenant);
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&site.owner)
            .await
            .expect("copied");
    };
    run("create schema copied".to_owned()).await;
    for (table, ..) in tables {
        run(format!(
            "create table copied.{table} (like public.{table} including all)"
        ))
        .await;
        run(format!(
            "copy public.{table} to '{folder}/{table}.copy' (format binary)"
        ))
        .await;
    }
    let begun = Instant::now();
    for (table, ..) in tables {
        run(format!(
            "copy copied.{table} from '{folder}/{table}.copy' (format binary)"
        ))
        .await;
    }
    begun.elapsed().as_secs_f64()
}
