//! A log goes from one place to another and back, is interrupted on its way, and is told from another one.

use domain::{Kind, StreamId, id::TenantId};
use infra::{
    database::{Access, DatabaseError},
    event_log::{self, Append, EventLog},
    kurrent::{KurrentLog, NAME_DEFAULT},
    log_copy::{self, Copied, CopyError, PAGE_EVENTS_MAX, Place},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use schemas::envelope::StoredEvent;

use crate::{
    event_log::{
        assert_gapless,
        conformance::{append_to, new_stream, recorded},
    },
    kurrent::{
        new_log,
        stand_in::{Fate, StandIn},
    },
    server::{self, World, alone, run},
};

/// More than two pages.
pub const EVENTS: usize = 2 * PAGE_EVENTS_MAX + 300;

/// A log of several tenants and kinds, whose streams lie across one another.
pub async fn write_history(world: &World) -> Vec<TenantId> {
    let tenants = vec![server::tenant(), server::tenant()];
    let mut random = StdRng::seed_from_u64(7);
    let mut streams: Vec<(StreamId, i64)> = (0..60)
        .map(|n| {
            let stream = new_stream(tenants[n % 2]);
            let kind = Kind::ALL[n % Kind::ALL.len()];
            (StreamId { kind, ..stream }, 0)
        })
        .collect();
    let mut written = 0;
    let mut appends: Vec<Append> = Vec::new();
    while written < EVENTS {
        let at = random.random_range(0..streams.len());
        let (stream, revision) = &mut streams[at];
        let events = random.random_range(1..5).min(EVENTS - written);
        appends.push(append_to(*stream, *revision, events));
        *revision += events as i64;
        written += events;
    }
    let all = tenants.clone();
    world
        .database
        .transact(Access::Write, &all, move |connection| {
            Box::pin(async move { event_log::append(connection, &appends).await })
        })
        .await
        .expect("a history");
    tenants
}

pub async fn everything(world: &World) -> Vec<StoredEvent> {
    world
        .database
        .transact_as_relay(|connection| Box::pin(event_log::read_after(connection, 0, i64::MAX)))
        .await
        .expect("the log")
}

fn place_of(world: &World) -> Place {
    Place::Postgres(world.database.clone())
}

/// A copy that ends, as a crash would end it, as soon as the target has so many events.
async fn copy_until(source: &Place, target: &Place, events: i64) {
    let (source, target) = (source.clone(), target.clone());
    let copy = tokio::spawn(async move {
        let told = |position| {
            if position >= events {
                std::panic::resume_unwind(Box::new("a crash"));
            }
        };
        log_copy::copy(&source, &target, told).await
    });
    assert!(copy.await.expect_err("a crash").is_panic());
}

async fn copy(source: &Place, target: &Place) -> Result<Copied, CopyError> {
    log_copy::copy(source, target, |_| {}).await
}

#[test]
fn a_log_goes_to_kurrentdb_and_back() {
    run(async {
        let world = alone().await;
        let tenants = write_history(&world).await;
        let (here, there) = (place_of(&world), Place::Kurrent(new_log()));

        copy_until(&here, &there, 1_000).await;
        let to = copy(&here, &there).await.expect("copied");
        assert_eq!((to.already, to.copied), (1_000, EVENTS as i64 - 1_000));
        assert_eq!(to.source, to.target);
        let again = copy(&here, &there).await.expect("copied again");
        assert_eq!((again.already, again.copied), (EVENTS as i64, 0));
        let history = everything(&world).await;
        drop((here, tenants.clone()));
        world.close().await;

        let world = alone().await;
        let back = place_of(&world);
        copy_until(&there, &back, 1_000).await;
        assert_eq!(everything(&world).await, history[..1_000]);
        let from = copy(&there, &back).await.expect("copied back");
        assert_eq!((from.already, from.copied), (1_000, EVENTS as i64 - 1_000));
        assert_eq!(
            (from.source, from.target),
            (to.source, to.source),
            "all three are the same"
        );
        assert_eq!(everything(&world).await, history);

        // It is a log as any: complete in all its tables, and it goes on.
        assert_gapless(&world).await;
        for tenant in tenants {
            let (ids, streams) = world
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(async move {
                        let ids = event_log::unregistered(connection, tenant).await?;
                        Ok((ids, event_log::streams_astray(connection, tenant).await?))
                    })
                })
                .await
                .expect("counts");
            assert_eq!((ids, streams), (0, 0));
        }
        let last = history.last().expect("events");
        let log = EventLog::new(world.database.clone());
        let stream = new_stream(server::tenant());
        let (first, ..) = recorded(log.append(append_to(stream, 0, 1)).await);
        assert_eq!(first, last.position + 1);
        assert_gapless(&world).await;

        // And the source has no part in that.
        let refused = copy(&there, &back).await;
        assert!(matches!(refused, Err(CopyError::TargetGoesOn(at)) if at == last.position));
        world.close().await;
    });
}

#[test]
fn a_copy_goes_on_after_kurrentdb_has_failed() {
    run(async {
        let (world, stand_in) = (alone().await, StandIn::start());
        write_history(&world).await;
        let log = KurrentLog::new(&stand_in.address(), NAME_DEFAULT).expect("an address");
        let (here, there) = (place_of(&world), Place::Kurrent(log.clone()));
        // Failures that pass are not even noticed; one that does not is told, and the next run goes on.
        let mut fates = vec![Fate::Done; 100];
        fates.extend([Fate::Unavailable, Fate::AnswerLost, Fate::Done, Fate::Denied]);
        stand_in.next_appends(&fates);
        let refused = copy(&here, &there).await;
        assert!(matches!(refused, Err(CopyError::Kurrent(_))), "{refused:?}");
        assert!(stand_in.has_no_more_fates());
        stand_in.cut_reads(&[17, 0, 40]);
        let copied = copy(&here, &there).await.expect("copied");
        assert!(copied.already > 0 && copied.copied > 0, "{copied:?}");
        assert_eq!(copied.target.position, EVENTS as i64);
        assert_eq!(copied.source, copied.target);

        // What is appended there belongs to the log, and goes along with the next copy back.
        let stream = new_stream(server::tenant());
        recorded(log.append(append_to(stream, 0, 2)).await);
        let refused = copy(&here, &there).await;
        assert!(matches!(refused, Err(CopyError::TargetGoesOn(_))), "{refused:?}");
        let back = copy(&there, &here).await.expect("copied back");
        assert_eq!((back.already, back.copied), (EVENTS as i64, 2));
        assert_gapless(&world).await;
        world.close().await;
    });
}

#[test]
fn an_event_that_differs_is_found() {
    run(async {
        let (world, stand_in) = (alone().await, StandIn::start());
        write_history(&world).await;
        let log = KurrentLog::new(&stand_in.address(), NAME_DEFAULT).expect("an address");
        let (here, there) = (place_of(&world), Place::Kurrent(log.clone()));
        copy(&here, &there).await.expect("copied");
        let history = everything(&world).await;
        let victim = &history[EVENTS - 5];
        stand_in.tamper(victim.event_id.uuid(), b"{}");
        for (source, target) in [(&here, &there), (&there, &here)] {
            let refused = copy(source, target).await;
            assert!(
                matches!(refused, Err(CopyError::Differs { position, .. }) if position == victim.position),
                "{refused:?}"
            );
        }
        let hash = async |place: &Place| log_copy::hash(place).await.expect("a hash");
        assert_ne!(hash(&here).await, hash(&there).await);
        world.close().await;
    });
}

/// Between the comparison and the end nothing but the hashes tells.
#[test]
fn what_changes_while_it_is_copied_is_not_proven_equal() {
    run(async {
        let (world, stand_in) = (alone().await, StandIn::start());
        write_history(&world).await;
        let log = KurrentLog::new(&stand_in.address(), NAME_DEFAULT).expect("an address");
        let (here, there) = (place_of(&world), Place::Kurrent(log));
        let victim = everything(&world).await.remove(EVENTS / 2);
        let told = |position: i64| {
            if position == EVENTS as i64 {
                stand_in.tamper(victim.event_id.uuid(), b"{}");
            }
        };
        let refused = log_copy::copy(&here, &there, told).await;
        assert!(matches!(refused, Err(CopyError::Unequal(..))), "{refused:?}");
        world.close().await;
    });
}

/// Postgres takes what comes next, whole and in order, and nothing else.
#[test]
fn only_what_comes_next_is_restored() {
    run(async {
        let world = alone().await;
        let tenants = write_history(&world).await;
        let history = everything(&world).await;
        world.close().await;

        let world = alone().await;
        let restore = async |events: Vec<StoredEvent>| {
            world
                .database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move { event_log::restore(connection, &events).await })
                })
                .await
        };
        restore(history[..100].to_vec()).await.expect("the beginning");
        let again = history[..100].to_vec();
        let later = history[101..200].to_vec();
        let mut swapped = history[100..200].to_vec();
        swapped.swap(0, 1);
        let mut gap = history[100..200].to_vec();
        gap.remove(50);
        let mut other_revision = history[100..200].to_vec();
        other_revision[0].revision += 1;
        for wrong in [again, later, swapped, gap, other_revision] {
            let refused = restore(wrong).await;
            assert!(
                matches!(refused, Err(DatabaseError::Contended(_) | DatabaseError::Corrupt(_))),
                "{refused:?}"
            );
        }
        assert_eq!(everything(&world).await, history[..100]);
        restore(history[100..200].to_vec()).await.expect("the next");
        assert_gapless(&world).await;
        world.close().await;
    });
}

/// A log that somebody wrote to before, or while, it was copied is no whole copy.
#[test]
fn a_piece_of_a_log_is_not_taken_for_the_whole() {
    run(async {
        let world = alone().await;
        write_history(&world).await;
        let (log, here) = (new_log(), place_of(&world));
        recorded(log.append(append_to(new_stream(server::tenant()), 0, 1)).await);
        let there = Place::Kurrent(log.clone());
        let refused = copy(&here, &there).await;
        assert!(
            matches!(refused, Err(CopyError::Differs { position: 1, .. })),
            "{refused:?}"
        );
        let first = everything(&world).await.remove(0);
        log.restorer().restore(&[first]).await.expect("restored");
        let refused = log_copy::hash(&there).await;
        assert!(
            matches!(refused, Err(CopyError::Misplaced { place: 2, position: 1 })),
            "{refused:?}"
        );
        world.close().await;
    });
}
