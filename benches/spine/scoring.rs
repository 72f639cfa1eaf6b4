//! Scores: one at a time, a hundred thousand in memory, and a hundred thousand from the log to rows.

use std::{hint::black_box, time::Instant};

use ml_pipeline::{
    explain,
    features::{FEATURES, FeatureState},
    model::{Fitting, Learner},
    prior,
    table::{Input, Table},
};
use projection_workers::runner;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use crate::{
    projection::{History, alone, relay_all, scorer, workers},
    report::{Row, tell},
    stage::{Site, until},
};

const PEOPLE: usize = 100_000;
/// What happened to them, beside being hired.
const EVENTS: usize = 300_000;
/// Invented people whose scores are made one at a time.
const PLACES: usize = 2_000;
const REASONS: usize = 5;

/// Scores without a database.
pub fn in_memory() -> Vec<Row> {
    tell("scoring: people in memory");
    let artifact = prior::prior().expect("the committed prior");
    let company = prior::company(99, PLACES);
    let on = company.ends_on();
    let states: Vec<FeatureState> = company
        .histories()
        .iter()
        .map(|history| {
            let mut state = FeatureState::default();
            history
                .events
                .iter()
                .for_each(|recorded| _ = state.apply(&recorded.event));
            state
        })
        .filter(|state| state.is_at_risk(on))
        .collect();
    // Features, probability and reasons, as after an event.
    let mut micros: Vec<f64> = states
        .iter()
        .cycle()
        .take(20_000)
        .map(|state| {
            let begun = Instant::now();
            let vector = artifact.vector(state, on);
            let score = artifact.score(&vector.values, on);
            black_box(explain::factors(&artifact.hazard, &score, &vector, REASONS));
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    let rows: Vec<Vec<f64>> = states.iter().map(|state| artifact.vector(state, on).values).collect();
    let begun = Instant::now();
    for row in rows.iter().cycle().take(PEOPLE) {
        black_box(artifact.hazard.probability(row, on, artifact.card.horizon_days));
    }
    let all = begun.elapsed().as_secs_f64();
    let forest = of_forest(&rows, |row| {
        artifact.hazard.probability(row, on, artifact.card.horizon_days)
    });
    vec![
        Row::new(
            "one score with features and reasons, p50",
            micros[micros.len() / 2],
            "us",
        ),
        Row::new(
            "one score with features and reasons, p99",
            micros[micros.len() * 99 / 100],
            "us",
        )
        .at_most(100.0),
        Row::new("100,000 people over 180 days, features in memory, one thread", all, "s").at_most(0.5),
        Row::new(
            "100,000 people by a forest of 200 trees, features in memory, two threads",
            forest,
            "s",
        )
        .at_most(5.0),
    ]
}

/// Seconds for the probabilities of everybody by a forest, grown on as many rows as one takes.
fn of_forest(rows: &[Vec<f64>], probability: impl Fn(&[f64]) -> f64) -> f64 {
    const GROWN_ON: usize = 20_000;
    tell("scoring: growing a forest");
    let table = |count: usize| {
        let mut table = Table {
            inputs: FEATURES.iter().map(|feature| Input::numeric(feature.name)).collect(),
            columns: vec![Vec::with_capacity(count); FEATURES.len()],
        };
        for row in rows.iter().cycle().take(count) {
            for (column, value) in table.columns.iter_mut().zip(row) {
                column.push(*value);
            }
        }
        table
    };
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let outcomes: Vec<bool> = rows
        .iter()
        .cycle()
        .take(GROWN_ON)
        .map(|row| random.random_bool(probability(row).clamp(0.0, 1.0)))
        .collect();
    let fitting = Fitting {
        threads: 2,
        ..Fitting::default()
    };
    let forest = Learner::Forest
        .fit(&table(GROWN_ON), &outcomes, &fitting)
        .expect("a forest");
    let everybody = table(PEOPLE);
    let begun = Instant::now();
    black_box(forest.probabilities(&everybody, 2));
    begun.elapsed().as_secs_f64()
}

/// Scores from the log, and all of them again by another model's name.
pub async fn run(site: &Site) -> Vec<Row> {
    tell(&format!("scoring: storing {PEOPLE} people and {EVENTS} events"));
    let mut history = History::begin(site, PEOPLE).await;
    history.happen(EVENTS).await;
    drop(history);
    relay_all(site).await;
    let records = site.head().await;
    tell("scoring: from the log");
    let begun = Instant::now();
    let rate = alone(site, scorer(site), records).await;
    let from_log = begun.elapsed().as_secs_f64();
    let scored: i64 = count(site, "select count(*) from risk").await;

    tell("scoring: everybody anew");
    sqlx::raw_sql("update risk set model = 'another'")
        .execute(&site.owner)
        .await
        .expect("rows");
    sqlx::query("insert into tenant_settings (tenant, name, bands, position) values ($1, 'Bench', $2, 1)")
        .bind(uuid::Uuid::from(site.tenant))
        .bind(serde_json::to_value(domain::tenant::Bands::default()).expect("JSON"))
        .execute(&site.owner)
        .await
        .expect("settings");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner::run(workers(site), scorer(site), shutdown.clone()));
    let left = "select count(*) from risk where model = 'another'";
    until("the first new score", async || count(site, left).await < scored).await;
    let (begun, before) = (Instant::now(), count(site, left).await);
    until("the last new score", async || count(site, left).await == 0).await;
    let anew = begun.elapsed().as_secs_f64() * scored as f64 / before.max(1) as f64;
    shutdown.cancel();
    running.await.expect("no panic").expect("the scorer ends well");
    site.assert_nothing_parked().await;
    vec![
        Row::new(
            format!("{records} events of {PEOPLE} people from the log to {scored} rows"),
            from_log,
            "s",
        ),
        Row::new("the same", rate, "events/s"),
        Row::new(format!("{scored} people scored anew, to visible rows"), anew, "s").at_most(30.0),
        Row::new("peak memory of the process", peak_megabytes(), "MB"),
    ]
}

async fn count(site: &Site, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&site.owner).await.expect("a count")
}

fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}
