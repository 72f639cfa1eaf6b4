//! The history read again: raw, and into a new generation of read models, beside the same rows by COPY.

use std::time::Instant;

use infra::{event_log, generation::Workshop};
use projection_workers::{
    read_models::ReadModels,
    rebuild::{Aim, Rebuild},
};
use sqlx::AssertSqlSafe;

use crate::{
    projection::{self, History},
    report::{Row, tell},
    stage::Site,
};

const PEOPLE: usize = 20_000;
const EVENTS: usize = 180_000;
/// Events that are read at once.
const PAGE: i64 = 5_000;
const RAW_TARGET: f64 = 300_000.0;
/// A million events in 40 seconds.
const REBUILD_TARGET: f64 = 25_000.0;

pub async fn run(site: &Site) -> Vec<Row> {
    tell("replay: preparing 200,000 events");
    History::begin(site, PEOPLE).await.happen(EVENTS).await;
    projection::relay_all(site).await;
    let live = projection::alone(site, ReadModels::new(site.parts.database.clone()), site.head().await).await;
    sqlx::raw_sql("vacuum analyze")
        .execute(&site.owner)
        .await
        .expect("vacuumed");
    let raw = raw_reading(site).await;
    tell("replay: rebuilding");
    let rebuilt = rebuild(site).await;
    tell("replay: the same rows by COPY");
    let copied = copy(site).await;
    let head = site.head().await as f64;
    vec![
        Row::new("read models, live", live, "events/s"),
        Row::new("reading the log", raw, "events/s").at_least(RAW_TARGET),
        Row::new("rebuilding the read models", head / rebuilt, "events/s").at_least(REBUILD_TARGET),
        Row::new("rebuilding the read models, beside COPY", head / rebuilt, "events/s")
            .beside("COPY of the same rows", head / copied)
            .at_least_times_the_peer(0.5),
    ]
}

/// Everything as `tenure replay` and a rebuild read it, without opening it.
async fn raw_reading(site: &Site) -> f64 {
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
async fn rebuild(site: &Site) -> f64 {
    let begun = Instant::now();
    let workshop = Workshop::open(&site.url, &site.parts.master).await.expect("a workshop");
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
