//! What was moved into files reads as before, also while it is being moved; and a file that is not there is missed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{Kind, id::TenantId};
use infra::{
    clock,
    database::{Access, DatabaseError},
    event_log::{self, Appended, EventLog},
    log_archive::{ArchiveError, Archivist, Filed, Partition},
};
use schemas::envelope::StoredEvent;
use sqlx::Connection as _;

use crate::{
    event_log::conformance::{append_to, recorded},
    log_copy::{EVENTS, everything, write_history},
    server::{World, alone, code, run},
};

/// Events of a partition; the product's have ten million.
const SPAN: usize = 500;

/// A history in small partitions, sealed.
async fn history(world: &World, span: usize) -> Vec<TenantId> {
    let mut statements = vec!["alter table event detach partition event_from_0; drop table event_from_0".to_owned()];
    for from in (0..EVENTS).step_by(span) {
        let upto = if from + span < EVENTS { from + span } else { 10_000_000 };
        statements.push(format!(
            "create table event_from_{from} partition of event for values from ({from}) to ({upto}); call tenure_guard_partition('event_from_{from}')"
        ));
    }
    world.as_owner(&statements.join("; ")).await;
    let tenants = write_history(world).await;
    seal(world).await;
    tenants
}

/// What the relay does; what the seal says is of no matter here.
async fn seal(world: &World) {
    world
        .as_owner("insert into log_seal (position, after, hash, code) select position, (select coalesce(max(position), 0) from log_seal), '', '' from log_head")
        .await;
}

async fn archivist(world: &World) -> Archivist {
    Archivist::open(&world.owner_url, world.database.clone())
        .await
        .expect("the owner")
}

async fn due(archivist: &Archivist) -> Vec<Partition> {
    let tomorrow = clock::now() + chrono::Duration::days(1);
    archivist.due(tomorrow).await.expect("partitions")
}

async fn archive(archivist: &Archivist, directory: &Path) -> Result<Vec<Filed>, ArchiveError> {
    let mut filed = Vec::new();
    for partition in due(archivist).await {
        filed.push(archivist.archive(&partition, directory, |_| {}).await?);
    }
    Ok(filed)
}

/// Everything that can be asked of a log, in one answer.
async fn answers(world: &World, tenants: &[TenantId]) -> Vec<Vec<StoredEvent>> {
    let mut answers = Vec::new();
    for (after, limit) in [
        (0, 1),
        (0, 10_000),
        (498, 3),
        (499, 1),
        (600, 900),
        (1_999, 1),
        (2_299, 5),
        (2_300, 5),
        (0, 0),
    ] {
        let page = world
            .database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)));
        answers.push(page.await.expect("a page"));
        for tenant in tenants.iter().copied() {
            let page = world
                .database
                .transact(Access::Read, std::slice::from_ref(&tenant), move |connection| {
                    Box::pin(event_log::read_tenant_after(connection, tenant, after, limit))
                });
            answers.push(page.await.expect("a tenant's page"));
        }
    }
    let log = EventLog::new(world.database.clone());
    let mut streams = Vec::new();
    for tenant in tenants.iter().copied() {
        for kind in Kind::ALL {
            for after in [0, 700, 2_290] {
                answers.push(log.read_tenant(tenant, kind, after).await.expect("events of a kind"));
            }
        }
        let all = world
            .database
            .transact(Access::Read, std::slice::from_ref(&tenant), |connection| {
                Box::pin(event_log::streams_after(connection, None, 1_000))
            });
        for (tenant, kind, id, revision) in all.await.expect("streams") {
            let kind = kind.parse().expect("a kind");
            let stream = domain::StreamId::new(TenantId::from_uuid(tenant), kind, id);
            streams.push(stream);
            answers.push(log.read_stream(stream, 0).await.expect("a stream"));
            answers.push(
                log.read_stream(stream, revision / 2)
                    .await
                    .expect("the end of a stream"),
            );
        }
    }
    let many = world.database.transact(Access::LookUp, tenants, |connection| {
        Box::pin(async move { event_log::read_streams(connection, &streams).await })
    });
    answers.push(many.await.expect("all streams"));
    answers
}

async fn astray(world: &World, tenants: &[TenantId]) -> i64 {
    let mut astray = 0;
    for tenant in tenants.iter().copied() {
        let counts = world
            .database
            .transact(Access::Read, std::slice::from_ref(&tenant), move |connection| {
                Box::pin(async move {
                    let ids = event_log::unregistered(connection, tenant).await?;
                    Ok(ids + event_log::streams_astray(connection, tenant).await?)
                })
            });
        astray += counts.await.expect("counts");
    }
    astray
}

#[test]
fn what_was_moved_into_files_reads_as_before() {
    run(async {
        let world = alone().await;
        let directory = tempfile::tempdir().expect("a folder");
        let tenants = history(&world, SPAN).await;
        let before = answers(&world, &tenants).await;
        let archivist = archivist(&world).await;

        assert!(
            archivist
                .due(clock::now() - chrono::Duration::days(1))
                .await
                .expect("partitions")
                .is_empty()
        );
        let all = due(&archivist).await;
        let ends: Vec<(i64, i64)> = all.iter().map(|partition| (partition.first, partition.last)).collect();
        assert_eq!(
            ends,
            [(1, 499), (500, 999), (1_000, 1_499), (1_500, 1_999)],
            "the last one is not full"
        );
        for (number, partition) in all.iter().enumerate() {
            archivist
                .archive(partition, directory.path(), |_| {})
                .await
                .expect("archived");
            let left = EVENTS as i64 - partition.last;
            assert_eq!(world.owner_number("select count(*) from event").await, left);
            assert!(
                answers(&world, &tenants).await == before,
                "after {} partitions",
                number + 1
            );
            assert_eq!(astray(&world, &tenants).await, 0);
        }
        assert!(due(&archivist).await.is_empty());

        // An old stream goes on, and what it has is known.
        let log = EventLog::new(world.database.clone());
        let (old, new): (Vec<_>, Vec<_>) = everything(&world)
            .await
            .into_iter()
            .partition(|event| event.position < 2_000);
        let silent = old
            .iter()
            .rfind(|event| new.iter().all(|later| later.stream != event.stream));
        let stream = silent.map_or(old[0].stream, |event| event.stream);
        let revision = log.read_stream(stream, 0).await.expect("a stream").len() as i64;
        let late = log.append(append_to(stream, 0, 1)).await.expect("an answer");
        assert_eq!(late, Appended::Conflict { actual: revision });
        let (position, ..) = recorded(log.append(append_to(stream, revision, 1)).await);
        assert_eq!(position, EVENTS as i64 + 1);
        assert_eq!(
            log.read_stream(stream, 0).await.expect("a stream").len() as i64,
            revision + 1
        );

        // What is wrong with files or their index is found.
        world.as_owner("update archived_stream set positions[1] = positions[1] + 1 where archive = 500 and tenant = (select min(tenant::text)::uuid from archived_stream)").await;
        assert!(astray(&world, &tenants).await > 0);
        drop(archivist);
        world.close().await;
    });
}

#[test]
fn whoever_reads_meanwhile_misses_nothing() {
    run(async {
        let world = alone().await;
        let directory = tempfile::tempdir().expect("a folder");
        let tenants = history(&world, SPAN / 4).await;
        let archivist = archivist(&world).await;

        // One who sees everything as it was cannot look into a table that is gone, and is told so.
        let mut was = world.owner.acquire().await.expect("a connection");
        let mut transaction = was
            .begin_with("begin isolation level repeatable read")
            .await
            .expect("a transaction");
        event_log::head(&mut transaction).await.expect("the head");

        let is_over = Arc::new(AtomicBool::new(false));
        let of_all = tokio::spawn({
            let (database, is_over) = (world.database.clone(), Arc::clone(&is_over));
            async move {
                let mut rounds = 0;
                while !is_over.load(Ordering::Relaxed) || rounds == 0 {
                    let mut after = 0;
                    loop {
                        let page = database.transact_as_relay(move |connection| {
                            Box::pin(event_log::read_after(connection, after, 97))
                        });
                        let page = page.await.expect("a page");
                        let Some(last) = page.last() else { break };
                        let mut positions = page.iter().map(|event| event.position);
                        assert!(positions.by_ref().eq(after + 1..=last.position), "after {after}");
                        after = last.position;
                    }
                    assert_eq!(after, EVENTS as i64);
                    rounds += 1;
                }
                rounds
            }
        });
        let of_one = tokio::spawn({
            let (database, is_over, tenant) = (world.database.clone(), Arc::clone(&is_over), tenants[0]);
            let all = everything(&world).await;
            let expected = all.iter().filter(|event| event.stream.tenant == tenant).count();
            async move {
                let mut rounds = 0;
                while !is_over.load(Ordering::Relaxed) || rounds == 0 {
                    let read = database.transact(Access::Read, std::slice::from_ref(&tenant), move |connection| {
                        Box::pin(event_log::read_tenant_after(connection, tenant, 0, i64::MAX))
                    });
                    assert_eq!(read.await.expect("a tenant's events").len(), expected);
                    rounds += 1;
                }
                rounds
            }
        });
        let filed = archive(&archivist, directory.path()).await.expect("archived");
        assert_eq!(filed.len(), 18);
        is_over.store(true, Ordering::Relaxed);
        let rounds: (usize, usize) = (of_all.await.expect("a reader"), of_one.await.expect("a reader"));
        eprintln!("{rounds:?} rounds were read");

        let read = event_log::read_after(&mut transaction, 0, 10).await;
        assert!(matches!(read, Err(DatabaseError::Contended(_))), "{}", code(read));
        drop(transaction);
        drop((was, archivist));
        world.close().await;
    });
}

#[test]
fn a_file_that_cannot_be_written_or_read_is_told_of() {
    run(async {
        let world = alone().await;
        let directory = tempfile::tempdir().expect("a folder");
        let tenants = history(&world, SPAN).await;
        let before = answers(&world, &tenants).await;
        let archivist = archivist(&world).await;

        let nowhere = archive(&archivist, Path::new("/nowhere/at/all"))
            .await
            .expect_err("no folder");
        assert!(
            nowhere.to_string().contains("/nowhere/at/all/events-000000000001"),
            "{nowhere}"
        );
        assert_eq!(world.owner_number("select count(*) from event").await, EVENTS as i64);
        let busy = Archivist::open(&world.owner_url, world.database.clone())
            .await
            .map(drop);
        assert!(matches!(busy, Err(ArchiveError::Busy)));

        let filed = archive(&archivist, directory.path()).await.expect("archived");
        let names = std::fs::read_dir(directory.path()).expect("a folder").count();
        assert_eq!(names, filed.len(), "nothing half-done is left");
        let (path, elsewhere) = (&filed[1].path, directory.path().join("elsewhere"));
        let read = async || {
            let page = world
                .database
                .transact_as_relay(|connection| Box::pin(event_log::read_after(connection, 600, 10)));
            page.await.map_err(|error| error.to_string())
        };
        std::fs::rename(path, &elsewhere).expect("moved");
        let missing = read().await.expect_err("no file");
        assert!(
            missing.contains("events 500 to 999") && missing.contains(&path.display().to_string()),
            "{missing}"
        );
        let whole = std::fs::read(&elsewhere).expect("bytes");
        for damaged in [&whole[..whole.len() / 2], b"PAR1", &[]] {
            std::fs::write(path, damaged).expect("written");
            let error = read().await.expect_err("a damaged file");
            assert!(error.contains("put the file back"), "{error}");
        }
        // Another stretch of the log is no substitute.
        std::fs::copy(&filed[0].path, path).expect("copied");
        read().await.expect_err("another file");
        std::fs::rename(&elsewhere, path).expect("moved back");
        assert!(answers(&world, &tenants).await == before);
        drop(archivist);
        world.close().await;
    });
}
