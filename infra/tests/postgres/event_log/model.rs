//! Random batches against a log that fits in a page.

use std::collections::HashMap;

use domain::{
    StreamId,
    id::{EventId, TenantId},
};
use infra::{
    database::{Access, DatabaseError},
    event_log::{self, Append, Appended},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::conformance::{append_to, new_stream};
use crate::server::{self, alone, on_purpose, run};

/// What the log is meant to be: appends one after the other.
#[derive(Clone, Default)]
struct Model {
    log: Vec<(StreamId, i64, EventId)>,
    revisions: HashMap<StreamId, i64>,
    firsts: HashMap<(TenantId, EventId), i64>,
}

impl Model {
    fn append(&mut self, append: &Append) -> Appended {
        let actual = self.revisions.get(&append.stream).copied().unwrap_or(0);
        let Some(first) = append.events.first() else {
            return if actual == append.expected {
                Appended::Recorded {
                    first: 0,
                    last: 0,
                    revision: actual,
                }
            } else {
                Appended::Conflict { actual }
            };
        };
        let id = (append.stream.tenant, first.event_id);
        if let Some(first) = self.firsts.get(&id) {
            return Appended::Duplicate { first: *first };
        }
        if actual != append.expected {
            return Appended::Conflict { actual };
        }
        let first = self.log.len() as i64 + 1;
        self.firsts.insert(id, first);
        for (event, revision) in append.events.iter().zip(actual + 1..) {
            self.log.push((append.stream, revision, event.event_id));
        }
        let revision = actual + append.events.len() as i64;
        self.revisions.insert(append.stream, revision);
        Appended::Recorded {
            first,
            last: self.log.len() as i64,
            revision,
        }
    }
}

/// A batch of new appends, stale ones, repeats of old ones and of its own, on a few streams of two tenants.
fn batch(random: &mut StdRng, model: &Model, streams: &[StreamId], before: &[Append]) -> Vec<Append> {
    let mut expected = model.revisions.clone();
    let mut batch: Vec<Append> = Vec::new();
    for _ in 0..random.random_range(1..8) {
        let known = if random.random_bool(0.5) { before } else { &batch };
        if random.random_bool(0.2)
            && let Some(again) = known.choose(random)
        {
            batch.push(again.clone());
            continue;
        }
        let stream = *streams.choose(random).expect("streams");
        let now = expected.entry(stream).or_default();
        let events = random.random_range(0..4);
        let off = if random.random_bool(0.2) {
            random.random_range(-1..2)
        } else {
            0
        };
        batch.push(append_to(stream, (*now + off).max(0), events));
        *now += if off == 0 { events as i64 } else { 0 };
    }
    batch
}

#[test]
fn a_batch_does_what_its_appends_would_do_one_by_one() {
    const BATCHES: usize = 150;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    run(async {
        let world = alone().await;
        let mut random = StdRng::seed_from_u64(seed);
        let tenants = [server::tenant(), server::tenant()];
        let streams: Vec<StreamId> = (0..6).map(|n| new_stream(tenants[n % 2])).collect();
        let (mut model, mut before) = (Model::default(), Vec::new());
        for _ in 0..BATCHES {
            let appends = batch(&mut random, &model, &streams, &before);
            let mut after = model.clone();
            let expected: Vec<Appended> = appends.iter().map(|append| after.append(append)).collect();
            let rolls_back = random.random_bool(0.2);
            let asked = appends.clone();
            let result = world
                .database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move {
                        let answers = event_log::append(connection, &asked).await?;
                        assert_eq!(answers, expected, "for {asked:#?}");
                        if rolls_back { Err(on_purpose()) } else { Ok(()) }
                    })
                })
                .await;
            match result {
                Ok(()) => {
                    model = after;
                    before.extend(appends);
                }
                Err(DatabaseError::Corrupt(_)) if rolls_back => {}
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
        }
        let stored: Vec<(StreamId, i64, EventId)> = world
            .database
            .transact_as_relay(|connection| Box::pin(event_log::read_after(connection, 0, i64::MAX)))
            .await
            .expect("the log")
            .into_iter()
            .zip(1..)
            .map(|(event, position)| {
                assert_eq!(event.position, position);
                (event.stream, event.revision, event.event_id)
            })
            .collect();
        assert_eq!(stored, model.log, "seed {seed}");
        super::assert_gapless(&world).await;
        world.close().await;
    });
}
