//! Whether an event costs the same in a long log as in a short one. Takes half an hour, so only when it is named.

use crate::{
    projection::{self, History},
    replay::{raw_reading, rebuild, tool},
    report::{Row, median, tell},
    stage::{Site, on_site},
};

const SIZES: [usize; 2] = [100_000, 5_000_000];
const EVENTS_PER_PERSON: usize = 20;
const STORED_AT_ONCE: usize = 100_000;
/// A short log is over too soon for one look.
const ROUNDS: usize = 3;

pub async fn run(real_kafka: bool) -> Vec<Row> {
    let mut figures = Vec::new();
    for size in SIZES {
        figures.push(on_site(real_kafka, "bench_scale", async |site| of(site, size).await).await);
    }
    let [short, long] = &figures[..] else {
        unreachable!("two sizes")
    };
    let names = [
        "storing events, 5,000,000 in the log",
        "projecting them live, 5,000,000 in the log",
        "reading the log, of 5,000,000",
        "rebuilding the read models, of 5,000,000",
        "export of events to Parquet, of 5,000,000",
    ];
    let rows = names.into_iter().zip(long.iter().zip(short));
    rows.map(|(name, (long, short))| {
        Row::new(name, *long, "events/s")
            .beside("of 100,000", *short)
            .at_least_times_the_peer(0.8)
    })
    .collect()
}

/// Events in a second of each.
async fn of(site: &Site, size: usize) -> [f64; 5] {
    tell(&format!("scale: {size} events"));
    let people = size / EVENTS_PER_PERSON;
    let mut history = History::begin(site, people).await;
    let mut left = size - people;
    let mut stored = 0.0;
    while left > 0 {
        let some = left.min(STORED_AT_ONCE);
        let begun = std::time::Instant::now();
        history.happen(some).await;
        stored = some as f64 / begun.elapsed().as_secs_f64(); // of the last ones
        left -= some;
    }
    drop(history);
    let live = projection::read_models(site).await;
    let (mut raw, mut rebuilt, mut exported) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = if size == SIZES[0] { ROUNDS } else { 1 };
    for _ in 0..rounds {
        raw.push(raw_reading(site).await);
        let seconds = rebuild(site).await;
        rebuilt.push(size as f64 / seconds);
        exported.push(
            tool(
                site,
                &["export", "events", "--format", "parquet", "--purpose", "to measure it"],
            )
            .0,
        );
    }
    [stored, live, median(raw), median(rebuilt), median(exported)]
}
