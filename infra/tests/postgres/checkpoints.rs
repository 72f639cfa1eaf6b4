//! Checkpoints move with the rows that they stand for, or not at all.

use std::collections::BTreeMap;

use domain::id::TenantId;
use infra::{
    checkpoint::{self, Checkpoint, Step},
    clock,
    database::{Access, Connection, DatabaseError},
    relay::{self, Relayed},
};
use tokio::sync::oneshot;

use crate::server::{self, World, alone, execute, on_purpose, run, shared};

const TOPIC: &str = "tenure.events";

/// A consumer of its own for each test.
fn consumer() -> String {
    clock::new_id().to_string()
}

async fn claim(world: &World, consumer: &str, partitions: &[i32]) -> Vec<Checkpoint> {
    let (consumer, partitions) = (consumer.to_owned(), partitions.to_vec());
    let mut claimed = world
        .database
        .transact(Access::Write, &[], move |c| {
            Box::pin(async move { checkpoint::claim(c, &consumer, TOPIC, &partitions).await })
        })
        .await
        .expect("claimed");
    claimed.sort_unstable_by_key(|checkpoint| checkpoint.partition);
    claimed
}

fn step(from: Checkpoint, records: i64) -> Step {
    Step {
        from,
        next_offset: from.next_offset + records,
        position: from.position + 10 * records,
        recorded_at: None,
    }
}

/// Where the owner is after a step.
fn after(step: Step) -> Checkpoint {
    Checkpoint {
        next_offset: step.next_offset,
        position: step.position,
        ..step.from
    }
}

/// A projection's row: it must share the checkpoint's fate.
async fn write_row(connection: &mut Connection, tenant: TenantId) -> Result<u64, DatabaseError> {
    let row = format!(
        "insert into team_stats values ('{tenant}', '{}', 1, 0, 0, 0)",
        clock::new_id()
    );
    execute(connection, &row).await
}

/// Writes a row and moves the checkpoints, as a projection does.
async fn project(world: &World, tenant: TenantId, consumer: &str, steps: &[Step]) -> Result<(), DatabaseError> {
    let (consumer, steps) = (consumer.to_owned(), steps.to_vec());
    world
        .database
        .transact(Access::Write, &[tenant], move |c| {
            Box::pin(async move {
                write_row(c, tenant).await?;
                checkpoint::advance(c, &consumer, TOPIC, &steps).await
            })
        })
        .await
}

async fn rows(world: &World, tenant: TenantId) -> i64 {
    world
        .number(&[tenant], "select count(*) from team_stats")
        .await
        .expect("a count")
}

async fn offsets(world: &World, consumer: &str) -> BTreeMap<i32, i64> {
    let rows: Vec<(i32, i64)> =
        sqlx::query_as(r#"select "partition", next_offset from consumer_checkpoint where consumer = $1"#)
            .bind(consumer)
            .fetch_all(&world.owner)
            .await
            .expect("checkpoints");
    rows.into_iter().collect()
}

#[track_caller]
fn assert_fenced(result: Result<(), DatabaseError>) {
    assert!(matches!(result, Err(DatabaseError::Fenced(_))), "{result:?}");
}

#[test]
fn an_owner_goes_on_where_it_was() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let first = claim(world, &consumer, &[4, 2]).await;
        assert_eq!(
            first,
            [2, 4].map(|partition| Checkpoint {
                partition,
                next_offset: 0,
                position: 0,
                epoch: 1
            })
        );
        let moved = step(first[0], 3);
        project(world, tenant, &consumer, &[moved]).await.expect("its own");
        project(world, tenant, &consumer, &[step(after(moved), 2)])
            .await
            .expect("its own still");
        assert_eq!(rows(world, tenant).await, 2);
        let next = claim(world, &consumer, &[2]).await;
        assert_eq!(
            next,
            [Checkpoint {
                partition: 2,
                next_offset: 5,
                position: 50,
                epoch: 2
            }]
        );
        // Another consumer, and another topic, have places of their own.
        assert_eq!(claim(world, &self::consumer(), &[2]).await[0].next_offset, 0);
    });
}

#[test]
fn a_repeated_batch_changes_nothing() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let own = claim(world, &consumer, &[0]).await[0];
        project(world, tenant, &consumer, &[step(own, 3)])
            .await
            .expect("the first time");
        assert_fenced(project(world, tenant, &consumer, &[step(own, 3)]).await);
        let ahead = Checkpoint { next_offset: 9, ..own };
        assert_fenced(project(world, tenant, &consumer, &[step(ahead, 1)]).await);
        assert_eq!(rows(world, tenant).await, 1);
        assert_eq!(offsets(world, &consumer).await, BTreeMap::from([(0, 3)]));
    });
}

#[test]
fn a_zombie_changes_nothing() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let zombie = claim(world, &consumer, &[0]).await[0];
        let owner = claim(world, &consumer, &[0]).await[0];
        assert_eq!(
            owner,
            Checkpoint {
                epoch: zombie.epoch + 1,
                ..zombie
            }
        );
        // The offset is the same: only the epoch tells them apart.
        assert_fenced(project(world, tenant, &consumer, &[step(zombie, 3)]).await);
        assert_eq!(
            rows(world, tenant).await,
            0,
            "the zombie's row is gone with its checkpoint"
        );
        project(world, tenant, &consumer, &[step(owner, 3)])
            .await
            .expect("the owner goes on");
        assert_fenced(project(world, tenant, &consumer, &[step(zombie, 3)]).await);
        assert_eq!(rows(world, tenant).await, 1);
        assert_eq!(offsets(world, &consumer).await, BTreeMap::from([(0, 3)]));
    });
}

/// The zombie is in the middle of its transaction when its partition changes hands.
#[test]
fn an_owner_that_is_overtaken_in_its_transaction_changes_nothing() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let zombie = claim(world, &consumer, &[0]).await[0];
        let (has_written, written) = oneshot::channel();
        let (go_on, taken_over) = oneshot::channel::<()>();
        let overtaken = tokio::spawn({
            let (consumer, database) = (consumer.clone(), world.database.clone());
            async move {
                database
                    .transact(Access::Write, &[tenant], move |c| {
                        Box::pin(async move {
                            write_row(c, tenant).await?;
                            has_written.send(()).expect("the test waits");
                            taken_over.await.expect("the test goes on");
                            checkpoint::advance(c, &consumer, TOPIC, &[step(zombie, 3)]).await
                        })
                    })
                    .await
            }
        });
        written.await.expect("a row");
        let owner = claim(world, &consumer, &[0]).await[0];
        go_on.send(()).expect("the zombie waits");
        assert_fenced(overtaken.await.expect("no panic"));
        assert_eq!(rows(world, tenant).await, 0);
        project(world, tenant, &consumer, &[step(owner, 1)])
            .await
            .expect("the owner goes on");
    });
}

/// The other way round: who has moved the checkpoint but not committed yet is waited for, and its work is not done twice.
#[test]
fn a_claim_waits_for_the_owners_commit() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let owner = claim(world, &consumer, &[0]).await[0];
        let (has_moved, moved) = oneshot::channel();
        let (go_on, is_waited_for) = oneshot::channel::<()>();
        let commits = tokio::spawn({
            let (consumer, database) = (consumer.clone(), world.database.clone());
            async move {
                database
                    .transact(Access::Write, &[tenant], move |c| {
                        Box::pin(async move {
                            write_row(c, tenant).await?;
                            checkpoint::advance(c, &consumer, TOPIC, &[step(owner, 3)]).await?;
                            has_moved.send(()).expect("the test waits");
                            is_waited_for.await.expect("the test goes on");
                            Ok(())
                        })
                    })
                    .await
            }
        });
        moved.await.expect("moved");
        let next = tokio::spawn({
            let consumer = consumer.clone();
            async move { claim(shared().await, &consumer, &[0]).await }
        });
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%consumer_checkpoint%'";
        while world.owner_number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).expect("the owner waits");
        commits.await.expect("no panic").expect("committed");
        assert_eq!(next.await.expect("no panic")[0].next_offset, 3);
        assert_eq!(rows(world, tenant).await, 1);
    });
}

#[test]
fn several_partitions_move_together_or_not_at_all() {
    run(async {
        let (world, tenant, consumer) = (shared().await, server::tenant(), consumer());
        let own = claim(world, &consumer, &[0, 1, 2]).await;
        claim(world, &consumer, &[1]).await; // by someone else
        let steps: Vec<Step> = own.iter().map(|checkpoint| step(*checkpoint, 5)).collect();
        assert_fenced(project(world, tenant, &consumer, &steps).await);
        assert_eq!(
            offsets(world, &consumer).await,
            BTreeMap::from([(0, 0), (1, 0), (2, 0)])
        );
        let unknown = Checkpoint { partition: 7, ..own[0] };
        assert_fenced(project(world, tenant, &consumer, &[steps[0], step(unknown, 1)]).await);
        assert_eq!(rows(world, tenant).await, 0);
        project(world, tenant, &consumer, &[steps[0], steps[2]])
            .await
            .expect("what is still its own");
        assert_eq!(
            offsets(world, &consumer).await,
            BTreeMap::from([(0, 5), (1, 0), (2, 5)])
        );
    });
}

#[test]
fn a_checkpoint_goes_back_with_its_transaction() {
    run(async {
        let (world, consumer) = (shared().await, consumer());
        let own = claim(world, &consumer, &[0]).await[0];
        let failing = consumer.clone();
        let result = world
            .database
            .transact(Access::Write, &[], move |c| {
                Box::pin(async move {
                    checkpoint::advance(c, &failing, TOPIC, &[step(own, 3)]).await?;
                    Err::<(), _>(on_purpose())
                })
            })
            .await;
        assert!(result.is_err());
        assert_eq!(offsets(world, &consumer).await, BTreeMap::from([(0, 0)]));
    });
}

#[test]
fn when_the_last_event_was_recorded_is_not_forgotten() {
    run(async {
        let (world, consumer) = (shared().await, consumer());
        let own = claim(world, &consumer, &[0]).await[0];
        let at = clock::now();
        let first = Step {
            recorded_at: Some(at),
            ..step(own, 1)
        };
        let positions = world
            .database
            .transact(Access::Write, &[], move |c| {
                Box::pin(async move {
                    checkpoint::advance(c, &consumer, TOPIC, &[first]).await?;
                    // A step over records that were not events.
                    checkpoint::advance(c, &consumer, TOPIC, &[step(after(first), 1)]).await?;
                    checkpoint::positions(c, &consumer, TOPIC).await
                })
            })
            .await
            .expect("positions");
        assert_eq!(positions, [(0, 20, Some(at))]);
    });
}

#[test]
fn two_relays_do_not_both_move_the_checkpoint() {
    run(async {
        let world = alone().await;
        let advance = async |from: i64, to: Relayed| {
            world
                .database
                .transact_as_relay(move |c| Box::pin(async move { relay::advance(c, from, &to).await }))
                .await
        };
        let to = |position, sent: &[(i32, i64)]| Relayed {
            position,
            sent: sent.iter().copied().collect(),
        };
        advance(0, to(5, &[(0, 4), (3, 5)])).await.expect("the first relay");
        assert_fenced(advance(0, to(7, &[])).await);
        assert_fenced(advance(6, to(7, &[])).await);
        let read = world
            .database
            .transact_as_relay(|c| Box::pin(relay::read(c)))
            .await
            .expect("a checkpoint");
        assert_eq!(read, to(5, &[(0, 4), (3, 5)]));
        advance(5, to(6, &[(0, 6), (3, 5)])).await.expect("it goes on");

        // And only one of them has the seat, until it leaves.
        let mut seat = world.database.try_relay_seat().await.expect("asked").expect("free");
        assert!(seat.is_held().await);
        let another = world.another_process();
        assert!(another.try_relay_seat().await.expect("asked").is_none());
        drop(seat);
        let mut taken = another.try_relay_seat().await.expect("asked");
        while taken.is_none() {
            // The connection closes by itself.
            tokio::task::yield_now().await;
            taken = another.try_relay_seat().await.expect("asked");
        }
        drop(taken);
        another.close().await;
        world.close().await;
    });
}
