//! The small tables that work waits in: completion, outbox, parked, and commands' outcomes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use domain::{
    Kind, StreamId,
    id::{CommandId, ConnectionId, TenantId},
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    completion::{self, Claimed, FoundBy, Request},
    connection_task::{self, Task},
    database::{Access, Connection, DatabaseError},
    outbox::{self, Outgoing},
    outcome::{self, Outcome, Verdict},
    parked::{self, Parked},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::server::{self, World, run, shared};

/// Works for one tenant of the shared database.
struct Desk {
    world: &'static World,
    tenant: TenantId,
}

impl Desk {
    async fn new() -> Self {
        Self {
            world: shared().await,
            tenant: server::tenant(),
        }
    }

    async fn work<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.world
            .database
            .transact(Access::Write, &[self.tenant], work)
            .await
            .expect("a unit of work")
    }

    /// Lets everything be due that waits for a later moment.
    async fn let_time_pass(&self) {
        let sql = format!(
            "update completion set not_before = now() - interval '1 second' where tenant = '{}'",
            self.tenant
        );
        self.world.as_owner(&sql).await;
    }

    fn request(&self, remote_id: &str, notification: &str) -> Request {
        Request {
            tenant: self.tenant,
            connection: ConnectionId::from_uuid(Uuid::from_u128(1)),
            remote_id: remote_id.to_owned(),
            notification: notification.as_bytes().to_vec(),
            correlation: clock::new_id(),
            backfill: false,
            found_by: FoundBy::Notification,
        }
    }

    async fn ask(&self, requests: Vec<Request>) {
        self.work(move |c| Box::pin(async move { completion::request(c, &requests).await }))
            .await;
    }

    async fn claim(&self, limit: i64) -> Vec<Claimed> {
        self.work(move |c| Box::pin(completion::claim(c, limit, (&[], &[]))))
            .await
    }

    async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(10).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        claimed.remove(0)
    }

    async fn done(&self, claimed: Claimed) {
        self.work(move |c| Box::pin(async move { completion::done(c, &[claimed]).await }))
            .await;
    }

    async fn waiting(&self) -> i64 {
        self.work(|c| Box::pin(completion::waiting(c))).await
    }

    fn stream(&self, id: u128) -> StreamId {
        StreamId::new(self.tenant, Kind::Employee, Uuid::from_u128(id))
    }
}

fn text(claimed: &Claimed) -> &str {
    std::str::from_utf8(&claimed.request.notification).expect("text")
}

/// A reading's command is named by its generation: used twice, the second reading would count as done.
#[test]
fn a_generation_does_not_come_again_when_its_row_has_gone() {
    run(async {
        let desk = Desk::new().await;
        let mut generations = Vec::new();
        for _ in 0..3 {
            desk.ask(vec![desk.request("7", "")]).await;
            let claimed = desk.claim_one().await;
            generations.push(claimed.generation);
            desk.done(claimed).await;
        }
        assert!(
            generations.is_sorted_by(|earlier, later| earlier < later),
            "{generations:?}"
        );
    });
}

#[test]
fn a_busy_connection_is_left_alone() {
    run(async {
        let desk = Desk::new().await;
        let busy = desk.request("7", "");
        let other = Request {
            connection: ConnectionId::from_uuid(Uuid::from_u128(2)),
            ..desk.request("8", "")
        };
        desk.ask(vec![busy.clone(), other]).await;
        let claimed = desk
            .work(move |c| Box::pin(async move { completion::claim(c, 10, (&[busy.connection], &[])).await }))
            .await;
        let claimed: Vec<&str> = claimed.iter().map(|c| c.request.remote_id.as_str()).collect();
        assert_eq!(claimed, ["8"]);
        assert_eq!(desk.claim_one().await.request.remote_id, "7");
    });
}

#[test]
fn no_more_is_claimed_than_was_asked_for() {
    run(async {
        let desk = Desk::new().await;
        let requests = (0..200).map(|n| desk.request(&n.to_string(), "")).collect();
        desk.ask(requests).await;
        assert_eq!(desk.claim(3).await.len(), 3);
        assert_eq!(desk.claim(300).await.len(), 197);
    });
}

/// A source that is left alone is not asked again, but what is new is looked at: it may be believed for what it says.
#[test]
fn of_a_closed_connection_only_what_is_new_is_claimed() {
    run(async {
        let desk = Desk::new().await;
        desk.ask(vec![desk.request("7", "")]).await;
        let old = desk.claim_one().await;
        let connection = old.request.connection;
        desk.work(move |c| Box::pin(async move { completion::postpone(c, &old, Duration::ZERO, "away").await }))
            .await;
        desk.ask(vec![desk.request("8", "")]).await;
        let claimed = desk
            .work(move |c| Box::pin(async move { completion::claim(c, 10, (&[], &[connection])).await }))
            .await;
        let claimed: Vec<&str> = claimed.iter().map(|c| c.request.remote_id.as_str()).collect();
        assert_eq!(claimed, ["8"]);
        assert_eq!(desk.claim_one().await.request.remote_id, "7");
    });
}

#[test]
fn notifications_of_one_employee_become_one_reading() {
    run(async {
        let desk = Desk::new().await;
        desk.ask(vec![
            desk.request("7", "first"),
            desk.request("8", "other"),
            desk.request("7", "second"),
        ])
        .await;
        desk.ask(vec![desk.request("7", "third")]).await;
        assert_eq!(desk.waiting().await, 2);
        let claimed = desk.claim(10).await;
        let found: BTreeMap<&str, &str> = claimed
            .iter()
            .map(|claimed| (claimed.request.remote_id.as_str(), text(claimed)))
            .collect();
        assert_eq!(
            found,
            BTreeMap::from([("7", "third"), ("8", "other")]),
            "the last word stands for all"
        );
        for claimed in claimed {
            desk.done(claimed).await;
        }
        assert_eq!(desk.waiting().await, 0);
    });
}

#[test]
fn a_notification_during_a_reading_makes_it_due_again() {
    run(async {
        let desk = Desk::new().await;
        desk.ask(vec![desk.request("7", "before")]).await;
        let reading = desk.claim_one().await;
        desk.ask(vec![desk.request("7", "meanwhile")]).await;
        assert_eq!(desk.claim(10).await.len(), 0, "it is still being read");
        desk.done(reading).await;
        // At once, and as the first try.
        let again = desk.claim_one().await;
        assert_eq!((text(&again), again.attempts), ("meanwhile", 1));
        desk.done(again.clone()).await;
        assert_eq!(desk.waiting().await, 0);
        desk.done(again).await;
    });
}

#[test]
fn only_what_is_imported_throughout_counts_as_backfill() {
    run(async {
        let desk = Desk::new().await;
        let imported = |id| Request {
            backfill: true,
            ..desk.request(id, "")
        };
        desk.ask(vec![imported("7"), imported("8")]).await;
        desk.ask(vec![imported("7"), desk.request("8", "live")]).await;
        let backfill: BTreeMap<String, bool> = desk
            .claim(10)
            .await
            .into_iter()
            .map(|claimed| (claimed.request.remote_id, claimed.request.backfill))
            .collect();
        assert_eq!(
            backfill,
            BTreeMap::from([("7".to_owned(), true), ("8".to_owned(), false)])
        );
    });
}

#[test]
fn what_was_told_stays_told() {
    run(async {
        use FoundBy::{Changes, Import, Notification, Reconciliation};
        let desk = Desk::new().await;
        for (first, then, found_by) in [
            (Notification, Changes, Notification),
            (Notification, Reconciliation, Notification),
            (Reconciliation, Notification, Notification),
            (Import, Notification, Notification),
            (Changes, Reconciliation, Reconciliation),
        ] {
            for found_by in [first, then] {
                let request = desk.request("7", "");
                desk.ask(vec![Request { found_by, ..request }]).await;
            }
            let [claimed] = &desk.claim(10).await[..] else {
                panic!("one reading")
            };
            assert_eq!(claimed.request.found_by, found_by, "{first:?}, then {then:?}");
            desk.done(claimed.clone()).await;
        }
    });
}

#[test]
fn a_task_is_done_by_one_and_taken_up_when_nobody_keeps_it() {
    run(async {
        let desk = Desk::new().await;
        let of = (desk.tenant, ConnectionId::from_uuid(Uuid::from_u128(1)));
        let minute = Duration::from_secs(60);
        let claim = async || desk.work(|c| Box::pin(connection_task::claim(c, 10))).await;
        let let_time_pass = async || {
            let sql = format!(
                "update connection_task set due_at = now() where tenant = '{}'",
                desk.tenant
            );
            desk.world.as_owner(&sql).await;
        };
        desk.work(move |c| {
            Box::pin(async move {
                connection_task::ensure(c, of, Task::Import, (Duration::ZERO, None)).await?;
                connection_task::ensure(c, of, Task::Import, (minute, None)).await?;
                connection_task::ensure(c, of, Task::Changes, (minute, None)).await
            })
        })
        .await;
        let [import] = &claim().await[..] else {
            panic!("one is due")
        };
        assert_eq!((import.task, import.attempts), (Task::Import, 1));
        assert!(claim().await.is_empty(), "somebody is at it");
        let is_there = desk
            .work(move |c| Box::pin(connection_task::hasten(c, of, Task::Import)))
            .await;
        assert!(is_there && claim().await.is_empty(), "nor is it hastened");
        let kept = import.clone();
        desk.work(move |c| Box::pin(async move { connection_task::keep(c, &kept).await }))
            .await;
        assert!(claim().await.is_empty());
        let_time_pass().await;
        let mut again = claim().await;
        again.sort_unstable_by_key(|claimed| claimed.task);
        assert_eq!(again.iter().map(|claimed| claimed.attempts).collect::<Vec<_>>(), [2, 1]);

        // It failed, and waits for long: whoever has mended the connection need not.
        let [import, changes] = <[connection_task::Claimed; 2]>::try_from(again).expect("both");
        let failed = import.clone();
        desk.work(move |c| Box::pin(async move { connection_task::postpone(c, &failed, 60 * minute, "no key").await }))
            .await;
        assert!(claim().await.is_empty());
        assert!(
            desk.work(move |c| Box::pin(connection_task::hasten(c, of, Task::Import)))
                .await
        );
        assert_eq!(claim().await.len(), 1);

        // Done, it comes again from where the source said; ended, it does not.
        let cursor = Some(clock::now());
        desk.work(move |c| {
            Box::pin(async move {
                connection_task::done(c, &changes, (Duration::ZERO, cursor)).await?;
                connection_task::end(c, &import).await
            })
        })
        .await;
        let [changes] = &claim().await[..] else {
            panic!("one is left")
        };
        assert_eq!(
            (changes.task, changes.attempts, changes.cursor),
            (Task::Changes, 1, cursor)
        );
        let unsaid = changes.clone();
        desk.work(move |c| Box::pin(async move { connection_task::done(c, &unsaid, (Duration::ZERO, None)).await }))
            .await;
        assert_eq!(
            claim().await[0].cursor,
            cursor,
            "a source that does not say is asked from there again"
        );
    });
}

#[test]
fn a_failed_reading_waits_and_is_tried_again() {
    run(async {
        let desk = Desk::new().await;
        desk.ask(vec![desk.request("7", "it")]).await;
        for attempt in 1..=3 {
            let claimed = desk.claim_one().await;
            assert_eq!(claimed.attempts, attempt);
            desk.work(move |c| {
                Box::pin(async move { completion::postpone(c, &claimed, Duration::from_secs(3_600), "503").await })
            })
            .await;
            assert_eq!(desk.claim(10).await.len(), 0, "it is not due yet");
            desk.let_time_pass().await;
        }
        let now = desk.claim_one().await;
        desk.work(move |c| Box::pin(async move { completion::postpone(c, &now, Duration::ZERO, "503").await }))
            .await;
        assert_eq!(desk.claim_one().await.attempts, 5, "due in the next transaction");
    });
}

#[test]
fn a_reading_that_died_is_taken_up_after_its_lease() {
    run(async {
        let desk = Desk::new().await;
        desk.ask(vec![desk.request("7", "it")]).await;
        let died = desk.claim_one().await;
        assert_eq!(desk.claim(10).await.len(), 0, "leased");
        desk.let_time_pass().await;
        let taken = desk.claim_one().await;
        assert_eq!(taken.generation, died.generation);
        desk.done(taken).await;
        desk.done(died).await; // it was only slow
        assert_eq!(desk.waiting().await, 0);
    });
}

#[test]
fn two_claimers_never_get_the_same_row() {
    run(async {
        let desk = Desk::new().await;
        desk.ask((0..20).map(|n| desk.request(&n.to_string(), "")).collect())
            .await;
        // The first has not committed when the second asks: it must neither wait nor get the same.
        let (has_claimed, claimed) = oneshot::channel();
        let (go_on, others_are_done) = oneshot::channel::<()>();
        let tenant = desk.tenant;
        let first = tokio::spawn({
            let database = desk.world.database.clone();
            async move {
                database
                    .transact(Access::Write, &[tenant], move |c| {
                        Box::pin(async move {
                            let rows = completion::claim(c, 8, (&[], &[])).await?;
                            has_claimed.send(()).expect("the test waits");
                            others_are_done.await.expect("the test goes on");
                            Ok(rows)
                        })
                    })
                    .await
            }
        });
        claimed.await.expect("claimed");
        let second = desk.claim(8).await;
        let third = desk.claim(8).await;
        go_on.send(()).expect("the first waits");
        let first = first.await.expect("no panic").expect("committed");
        let ids: Vec<&str> = [&first, &second, &third]
            .into_iter()
            .flatten()
            .map(|claimed| claimed.request.remote_id.as_str())
            .collect();
        assert_eq!((first.len(), second.len(), third.len()), (8, 8, 4));
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 20, "{ids:?}");
    });
}

#[test]
fn an_outgoing_command_waits_once_and_goes_once() {
    run(async {
        let desk = Desk::new().await;
        let outgoing = |id: u128, command: &str| Outgoing {
            id: CommandId::from_uuid(Uuid::from_u128(id)),
            stream: desk.stream(id),
            command: command.as_bytes().to_vec(),
            actor: "scorer".into(),
            correlation: Uuid::from_u128(9),
            backfill: id == 2,
            traceparent: Some("00-trace".to_owned()),
        };
        let add = async |commands: Vec<Outgoing>| {
            desk.work(move |c| Box::pin(async move { outbox::add(c, &commands).await }))
                .await;
        };
        let waiting = async |limit| desk.work(move |c| Box::pin(outbox::waiting(c, limit))).await;
        let said = |outgoing: &[Outgoing]| -> Vec<String> {
            outgoing
                .iter()
                .map(|o| String::from_utf8(o.command.clone()).expect("text"))
                .collect()
        };
        add(vec![]).await;
        add(vec![outgoing(1, "a"), outgoing(2, "b")]).await;
        add(vec![outgoing(2, "not this"), outgoing(3, "c"), outgoing(3, "nor this")]).await;
        let all = waiting(10).await;
        assert_eq!(said(&all), ["a", "b", "c"], "the first stays");
        assert_eq!(
            all.iter().map(|o| o.backfill).collect::<Vec<_>>(),
            [false, true, false],
            "history stays history"
        );
        let first = &all[0];
        assert_eq!(
            (first.id, first.stream, first.actor.as_str(), first.correlation),
            (
                CommandId::from_uuid(Uuid::from_u128(1)),
                desk.stream(1),
                "scorer",
                Uuid::from_u128(9)
            )
        );
        assert_eq!(said(&waiting(2).await), ["a", "b"]);
        for _ in 0..2 {
            let gone = all[..2].to_vec();
            desk.work(move |c| Box::pin(async move { outbox::sent(c, &gone).await }))
                .await;
            assert_eq!(said(&waiting(10).await), ["c"]);
        }
        // What is stored later goes later, whatever its id.
        add(vec![outgoing(2, "d"), outgoing(1, "e")]).await;
        assert_eq!(said(&waiting(10).await), ["c", "d", "e"]);
    });
}

#[test]
fn what_can_wait_goes_in_turns_and_holds_nobody_up() {
    run(async {
        let desk = Desk::new().await;
        let other = server::tenant();
        let both = [desk.tenant, other];
        let outgoing = |tenant: TenantId, number: u128| Outgoing {
            id: CommandId::from_uuid(Uuid::from_u128(number)),
            stream: StreamId::new(tenant, Kind::Employee, Uuid::from_u128(number)),
            command: format!("{number}").into_bytes(),
            actor: "file:1".into(),
            correlation: Uuid::from_u128(9),
            backfill: true,
            traceparent: None,
        };
        // What was stored first has the higher ids, so that no order of ids passes for the order of storing.
        let large: Vec<Outgoing> = (100..110).rev().map(|number| outgoing(desk.tenant, number)).collect();
        let small: Vec<Outgoing> = (200..202).rev().map(|number| outgoing(other, number)).collect();
        let urgent = vec![outgoing(desk.tenant, 1)];
        let world = &desk.world.database;
        let stored = world.transact(Access::Write, &both, move |c| {
            let (large, small, urgent) = (large.clone(), small.clone(), urgent.clone());
            Box::pin(async move {
                outbox::add_bulk(c, &large).await?;
                outbox::add_bulk(c, &small).await?;
                outbox::add(c, &urgent).await
            })
        });
        stored.await.expect("stored");
        let said = |outgoing: Vec<Outgoing>| -> Vec<String> {
            (outgoing
                .into_iter()
                .map(|o| String::from_utf8(o.command).expect("text")))
            .collect()
        };
        let bulk = async |limit| {
            let waiting = world.transact(Access::Read, &both, move |c| {
                Box::pin(async move { outbox::waiting_bulk(c, &both, limit).await })
            });
            said(waiting.await.expect("read"))
        };
        let (large, small): (Vec<_>, Vec<_>) =
            (bulk(6).await.into_iter()).partition(|command| command.starts_with('1'));
        assert_eq!(large, ["109", "108", "107"], "each has its share, in its order");
        assert_eq!(small, ["201", "200"]);
        assert_eq!(bulk(1).await.len(), 2, "and nobody's is nothing");
        let urgent = world.transact(Access::Read, &both, |c| Box::pin(outbox::waiting(c, 100)));
        assert_eq!(
            said(urgent.await.expect("read")),
            ["1"],
            "who is in a hurry does not wait for files"
        );
    });
}

#[test]
fn of_a_commands_outcomes_the_first_stays() {
    run(async {
        let desk = Desk::new().await;
        let outcome = |id: u128, verdict: Verdict| Outcome {
            command: CommandId::from_uuid(Uuid::from_u128(id)),
            stream: desk.stream(id),
            fingerprint: (id == 1).then(|| "abc".to_owned()),
            decided_at: clock::now(),
            verdict,
        };
        let accepted = outcome(
            1,
            Verdict::Accepted {
                position: Some(12),
                revision: 3,
            },
        );
        let unchanged = outcome(
            2,
            Verdict::Accepted {
                position: None,
                revision: 3,
            },
        );
        let rejected = outcome(
            3,
            Verdict::Rejected {
                rule: "not on file".into(),
            },
        );
        let other = |id| outcome(id, Verdict::Rejected { rule: "later".into() });
        let record = async |outcomes: Vec<Outcome>| {
            desk.work(move |c| Box::pin(async move { outcome::record(c, &outcomes).await }))
                .await;
        };
        record(vec![]).await;
        record(vec![accepted.clone(), unchanged.clone(), other(2)]).await;
        record(vec![rejected.clone(), other(1), other(2)]).await;
        record(vec![other(3)]).await;
        let asked: Vec<(TenantId, CommandId)> = (1..=4)
            .map(|id| (desk.tenant, CommandId::from_uuid(Uuid::from_u128(id))))
            .collect();
        let mut found = desk
            .work(move |c| Box::pin(async move { outcome::find(c, &asked).await }))
            .await;
        found.sort_unstable_by_key(|outcome| outcome.command);
        assert_eq!(found, [accepted, unchanged, rejected]);
    });
}

/// A parking place for one consumer.
fn record(consumer: &str, stream: StreamId, partition: i32, offset: i64, position: i64) -> Parked {
    Parked {
        id: clock::new_id(),
        consumer: consumer.to_owned(),
        stream,
        topic: "tenure.events".into(),
        partition,
        offset,
        position,
        cause: "an unknown event type".into(),
        headers: BTreeMap::from([("ce_type".to_owned(), "employee.hired".to_owned())]),
        value: vec![0, 159, 146, 150],
        parked_at: clock::now(),
    }
}

#[test]
fn what_is_parked_holds_its_stream_until_it_went_through() {
    run(async {
        let desk = Desk::new().await;
        let (one, other, free) = (desk.stream(1), desk.stream(2), desk.stream(3));
        // Out of order, as partitions come.
        let records = vec![
            record("rows", one, 0, 12, 112),
            record("rows", one, 0, 10, 110),
            record("rows", other, 1, 3, 111),
            record("rows", one, 0, 11, 113),
            record("scorer", free, 0, 10, 110),
        ];
        let all = records.clone();
        desk.work(move |c| Box::pin(async move { parked::park(c, &all).await }))
            .await;
        let list = async || desk.work(|c| Box::pin(parked::list(c, 10))).await;
        let held = async |consumer: &'static str| {
            desk.work(move |c| {
                Box::pin(async move { parked::held_streams(c, consumer, &[one, other, free, one]).await })
            })
            .await
            .into_iter()
            .collect::<BTreeSet<_>>()
        };
        let retry = async |partitions: &'static [i32], limit| {
            desk.work(move |c| Box::pin(async move { parked::to_retry(c, "rows", partitions, limit).await }))
                .await
        };
        let ask = async |id: Option<Uuid>| {
            desk.work(move |c| Box::pin(async move { parked::ask_retry(c, id).await }))
                .await
        };
        let resolve = async |gone: &[Parked]| {
            let ids: Vec<_> = gone.iter().map(|parked| (parked.stream.tenant, parked.id)).collect();
            desk.work(move |c| Box::pin(async move { parked::resolve(c, &ids).await }))
                .await;
        };
        let positions = |parked: &[Parked]| -> Vec<i64> { parked.iter().map(|parked| parked.position).collect() };

        let listed = list().await;
        assert_eq!(listed.len(), 5);
        assert!(records.iter().all(|parked| listed.contains(parked)), "as it came");
        assert_eq!(held("rows").await, BTreeSet::from([one, other]));
        assert_eq!(held("scorer").await, BTreeSet::from([free]));
        assert_eq!(retry(&[0, 1], 10).await, [], "nobody asked");

        // Asked for one record: its whole stream goes again, in the log's order, and no other.
        assert_eq!(ask(Some(records[1].id)).await, 1);
        assert_eq!(positions(&retry(&[0, 1], 10).await), [110, 112, 113]);
        assert_eq!(positions(&retry(&[0, 1], 2).await), [110, 112]);
        assert_eq!(retry(&[1], 10).await, [], "that partition is someone else's");

        // It fails again, for another reason: parked as before, and not asked for any more.
        let again = Parked {
            cause: "still unknown".into(),
            ..records[1].clone()
        };
        let copy = again.clone();
        desk.work(move |c| Box::pin(async move { parked::park(c, &[copy]).await }))
            .await;
        assert_eq!(list().await.len(), 5);
        assert!(list().await.contains(&again));
        assert_eq!(retry(&[0, 1], 10).await, []);

        assert_eq!(ask(None).await, 5);
        assert_eq!(positions(&retry(&[0, 1], 10).await), [110, 111, 112, 113]);
        resolve(&[again, records[0].clone()]).await;
        assert_eq!(
            held("rows").await,
            BTreeSet::from([one, other]),
            "one record holds it still"
        );
        resolve(&records).await;
        resolve(&records).await;
        assert_eq!(held("rows").await, BTreeSet::new());
        assert_eq!(list().await, []);
    });
}
