//! What any backend of the event log must do, then what Postgres does besides.

pub mod conformance;
mod model;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::{Kind, StreamId};
use futures_util::future::{BoxFuture, join_all};
use infra::{
    database::{Access, DatabaseError},
    event_log::{self, Append, Appended, EventLog},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use self::conformance::{Log, append_to, new_stream, recorded};
use crate::server::{self, REFUSED, World, alone, code, on_purpose, run, shared};

/// Runs a function of [`conformance`] on a log in the shared database.
macro_rules! conforms {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            run(async {
                let log = Log::Postgres(EventLog::new(shared().await.database.clone()));
                conformance::$name(&log, server::tenant()).await;
            });
        }
    )*};
}

conformance::every_log!(conforms);

#[test]
fn a_repeat_is_known_after_a_restart() {
    run(async {
        let world = shared().await;
        let before = world.another_process();
        let log = EventLog::new(before.clone());
        let append = append_to(new_stream(server::tenant()), 0, 2);
        let (first, ..) = recorded(log.append(append.clone()).await);
        drop(log);
        before.close().await;
        let log = Log::Postgres(EventLog::new(world.database.clone()));
        conformance::a_repeat_is_known_to(&log, append, first).await;
    });
}

#[test]
fn concurrent_writers_lose_and_duplicate_nothing() {
    run(async {
        // Four processes: each batches for itself.
        let world = alone().await;
        let logs: Vec<Log> = (0..4)
            .map(|_| Log::Postgres(EventLog::new(world.database.clone())))
            .collect();
        conformance::concurrent_writers_lose_and_duplicate_nothing(&logs, server::tenant()).await;
        assert_gapless(&world).await;
        world.close().await;
    });
}

pub async fn assert_gapless(world: &World) {
    // One statement, one snapshot.
    let (events, last, ids, head): (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*), coalesce(max(position), 0), (select count(*) from event_id), (select position from log_head) from event",
    )
    .fetch_one(&world.owner)
    .await
    .expect("counts");
    assert_eq!(
        (events, last, ids),
        (head, head, head),
        "count(*), max(position) and the ids all equal the head"
    );
    let torn =
        "select count(*) from (select count(*) as events, max(revision) as last, min(revision) as first from event
                 group by tenant, kind, stream_id) s where events <> last or first <> 1";
    assert_eq!(world.owner_number(torn).await, 0, "revisions are 1..n in every stream");
    let astray = "select count(*) from stream s where revision <> (select max(revision) from event e
                   where (e.tenant, e.kind, e.stream_id) = (s.tenant, s.kind, s.id))";
    assert_eq!(
        world.owner_number(astray).await,
        0,
        "each stream's row names its last revision"
    );
    let backwards = "select count(*) from (select recorded_at < lag(recorded_at) over (order by position) as back from event) e where back";
    assert_eq!(
        world.owner_number(backwards).await,
        0,
        "recorded_at never decreases with position"
    );
}

#[test]
fn a_transaction_that_fails_after_its_append_leaves_no_gap() {
    run(async {
        let world = alone().await;
        let (tenant, log) = (server::tenant(), EventLog::new(world.database.clone()));
        let (before, ..) = recorded(log.append(append_to(new_stream(tenant), 0, 3)).await);
        let doomed = append_to(new_stream(tenant), 0, 5);
        let again = doomed.clone();
        let result = world
            .database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    let appended = event_log::append(connection, std::slice::from_ref(&doomed)).await?;
                    assert!(matches!(appended[..], [Appended::Recorded { .. }]));
                    Err::<(), _>(on_purpose())
                })
            })
            .await;
        assert!(
            matches!(result, Err(DatabaseError::Corrupt("on purpose"))),
            "{result:?}"
        );
        // It never was: neither its stream, nor its ids, nor its positions.
        let (first, _, revision) = recorded(log.append(again).await);
        assert_eq!((first, revision), (before + 3, 5));
        assert_gapless(&world).await;
        world.close().await;
    });
}

/// What was taken for granted and is not so fails whole, and is told by looking.
#[test]
fn an_append_without_a_look_fails_where_a_look_would_tell() {
    run(async {
        let world = alone().await;
        let (tenant, log) = (server::tenant(), EventLog::new(world.database.clone()));
        let write = async |appends: Vec<Append>, looks: bool| {
            world
                .database
                .transact(Access::Write, &[tenant], move |connection| {
                    Box::pin(async move {
                        if looks {
                            event_log::append(connection, &appends).await
                        } else {
                            event_log::append_expected(connection, &appends).await
                        }
                    })
                })
                .await
        };
        let (stream, other) = (new_stream(tenant), new_stream(tenant));
        let first = append_to(stream, 0, 2);
        let answers = write(vec![first.clone(), append_to(stream, 2, 1)], false)
            .await
            .expect("appended");
        assert!(matches!(
            answers[..],
            [Appended::Recorded { .. }, Appended::Recorded { revision: 3, .. }]
        ));
        let repeated = Append {
            expected: 3,
            ..first.clone()
        };
        for (wrong, told) in [
            (first, Appended::Duplicate { first: 1 }),
            (repeated, Appended::Duplicate { first: 1 }),
            (append_to(stream, 2, 1), Appended::Conflict { actual: 3 }),
            (append_to(stream, 4, 1), Appended::Conflict { actual: 3 }),
            (append_to(other, 1, 1), Appended::Conflict { actual: 0 }),
        ] {
            let new = append_to(new_stream(tenant), 0, 1);
            let failed = write(vec![new.clone(), wrong.clone()], false)
                .await
                .expect_err("not as expected");
            assert!(failed.is_transient(), "{failed:?}");
            assert_gapless(&world).await;
            let answers = write(vec![new, wrong], true).await.expect("told");
            assert!(matches!(answers[0], Appended::Recorded { .. }));
            assert_eq!(answers[1], told);
        }
        recorded(log.append(append_to(stream, 3, 1)).await);
        assert_gapless(&world).await;
        world.close().await;
    });
}

/// Both saw the same revision; the first commits while the second waits for its stream.
#[test]
fn a_writer_that_was_overtaken_is_told() {
    run(async {
        let world = alone().await;
        let (tenant, log) = (server::tenant(), EventLog::new(world.database.clone()));
        for expected in [0, 2] {
            let stream = new_stream(tenant);
            if expected > 0 {
                recorded(log.append(append_to(stream, 0, 2)).await);
            }
            let write = async |append: Append, then: BoxFuture<'static, ()>| {
                world
                    .database
                    .transact(Access::Write, &[tenant], move |connection| {
                        Box::pin(async move {
                            let answers = event_log::append(connection, &[append]).await?;
                            then.await;
                            Ok(answers)
                        })
                    })
                    .await
            };
            let (has_written, written) = oneshot::channel();
            let (go_on, is_waited_for) = oneshot::channel::<()>();
            let first = write(
                append_to(stream, expected, 1),
                Box::pin(async move {
                    has_written.send(()).expect("the test waits");
                    is_waited_for.await.expect("the test goes on");
                }),
            );
            let second = async {
                written.await.expect("written");
                write(append_to(stream, expected, 3), Box::pin(async {})).await
            };
            let waits = async {
                let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
                while world.owner_number(waiting).await == 0 {
                    tokio::task::yield_now().await;
                }
                go_on.send(()).expect("the first waits");
            };
            let (first, second, ()) = tokio::join!(first, second, waits);
            assert!(matches!(first.as_deref(), Ok([Appended::Recorded { .. }])), "{first:?}");
            assert!(matches!(second, Err(DatabaseError::Contended(_))), "{second:?}");
            let answer = log.append(append_to(stream, expected, 3)).await.expect("an answer");
            assert_eq!(answer, Appended::Conflict { actual: expected + 1 });
        }
        assert_gapless(&world).await;
        world.close().await;
    });
}

/// Sixteen writers, of whom every fifth append is rolled back, and a reader that asks for what is after the last position
/// that it saw, as the relay does: a position that became visible late would be missed for ever.
#[test]
fn readers_never_see_a_gap() {
    const WRITERS: usize = 16;
    const APPENDS: usize = 30;
    run(async {
        let world = Arc::new(alone().await);
        let written = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (world, written) = (Arc::clone(&world), Arc::clone(&written));
            async move {
                let mut cursor = 0;
                loop {
                    let done = written.load(Ordering::SeqCst);
                    let page = world
                        .database
                        .transact_as_relay(move |c| Box::pin(event_log::read_after(c, cursor, 7)))
                        .await
                        .expect("a page");
                    if page.is_empty() && done {
                        return cursor;
                    }
                    for event in page {
                        assert_eq!(event.position, cursor + 1, "the reader skipped a position");
                        cursor = event.position;
                    }
                }
            }
        });
        let writers = join_all((0..WRITERS).map(|writer| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let (tenant, stream) = (server::tenant(), new_stream(server::tenant()));
                let stream = StreamId { tenant, ..stream };
                let mut revision = 0;
                for turn in 0..APPENDS {
                    let append = append_to(stream, revision, 1 + turn % 3);
                    let events = append.events.len() as i64;
                    let fails = (turn + writer) % 5 == 0;
                    let result = world
                        .database
                        .transact(Access::Write, &[tenant], move |connection| {
                            Box::pin(async move {
                                event_log::append(connection, std::slice::from_ref(&append)).await?;
                                if fails { Err(on_purpose()) } else { Ok(()) }
                            })
                        })
                        .await;
                    assert_eq!(result.is_err(), fails, "{result:?}");
                    revision += if fails { 0 } else { events };
                }
                revision
            })
        }))
        .await;
        let events: i64 = writers.into_iter().map(|revision| revision.expect("a writer")).sum();
        written.store(true, Ordering::SeqCst);
        assert_eq!(reader.await.expect("a reader"), events);
        assert_gapless(&world).await;
        Arc::into_inner(world).expect("nobody else").close().await;
    });
}

#[test]
fn a_clock_that_goes_back_does_not_take_the_log_along() {
    run(async {
        let world = alone().await;
        let log = EventLog::new(world.database.clone());
        let stream = new_stream(server::tenant());
        world
            .as_owner("update log_head set recorded_at = '2100-01-01T00:00:00Z'")
            .await;
        recorded(log.append(append_to(stream, 0, 2)).await);
        let events = log.read_stream(stream, 0).await.expect("events");
        assert!(
            events
                .iter()
                .all(|event| event.recorded_at.to_rfc3339() == "2100-01-01T00:00:00+00:00")
        );
        world.close().await;
    });
}

#[test]
fn the_log_refuses_change_even_by_its_owner() {
    run(async {
        let world = alone().await;
        recorded(
            EventLog::new(world.database.clone())
                .append(append_to(new_stream(server::tenant()), 0, 1))
                .await,
        );
        for table in ["event", "event_from_0"] {
            for change in [
                "update {} set actor = 'me'",
                "delete from {}",
                "truncate {}",
                "truncate {} cascade",
            ] {
                let sql = change.replace("{}", table);
                let mut connection = world.owner.acquire().await.expect("a connection");
                assert_eq!(
                    code(server::execute(&mut connection, &sql).await),
                    REFUSED,
                    "{sql} went through"
                );
            }
        }
        assert_gapless(&world).await;
        world.close().await;
    });
}

#[test]
fn the_log_grows_into_partitions_that_are_there_in_time() {
    const SPAN: i64 = 10_000_000;
    run(async {
        let world = alone().await;
        let log = EventLog::new(world.database.clone());
        let stream = new_stream(server::tenant());
        let exists = async |from: i64| {
            let sql = format!("select count(*) from pg_class where relname = 'event_from_{from}'");
            world.owner_number(&sql).await == 1
        };
        // An append across the border, of which the next partition is ready and the one after it is made.
        world
            .as_owner(&format!("update log_head set position = {}", SPAN - 2))
            .await;
        let (first, last, _) = recorded(log.append(append_to(stream, 0, 4)).await);
        assert_eq!((first, last), (SPAN - 1, SPAN + 2));
        assert!(exists(2 * SPAN).await && !exists(3 * SPAN).await);
        assert_eq!(log.read_stream(stream, 0).await.expect("events").len(), 4);

        // Far ahead there is no room, until someone prepares it: the owner, or the application at its start.
        let far = 70 * SPAN + 5;
        world.as_owner(&format!("update log_head set position = {far}")).await;
        log.append(append_to(stream, 4, 1))
            .await
            .expect_err("there is no partition for it");
        world.as_owner(&format!("select tenure_prepare_log({far})")).await;
        assert_eq!(
            recorded(log.append(append_to(stream, 4, 1)).await),
            (far + 1, far + 1, 5)
        );

        let farther = 1_000 * SPAN - 1;
        world
            .as_owner(&format!("update log_head set position = {farther}"))
            .await;
        log.prepare().await.expect("prepared");
        log.prepare().await.expect("prepared once more");
        assert_eq!(
            recorded(log.append(append_to(stream, 5, 2)).await),
            (farther + 1, farther + 2, 7)
        );
        world.close().await;
    });
}

#[test]
fn several_streams_read_back_in_log_order() {
    run(async {
        let world = shared().await;
        let (log, tenant) = (EventLog::new(world.database.clone()), server::tenant());
        let (one, other, risk) = (
            new_stream(tenant),
            new_stream(tenant),
            StreamId::new(tenant, Kind::Risk, Uuid::from_u128(1)),
        );
        for (stream, expected) in [(one, 0), (other, 0), (one, 1), (risk, 0), (other, 1)] {
            recorded(log.append(append_to(stream, expected, 1)).await);
        }
        let found = world
            .database
            .transact(Access::Read, &[tenant], move |c| {
                Box::pin(async move { event_log::read_streams(c, &[other, one]).await })
            })
            .await
            .expect("events");
        let streams: Vec<StreamId> = found.iter().map(|event| event.stream).collect();
        assert_eq!(streams, [one, other, one, other]);
        assert!(found.is_sorted_by_key(|event| event.position));
    });
}
