//! Consumers of the embedded broker.

use std::collections::BTreeSet;

use infra::{
    broker::{self, Delivery, Member, Outgoing, Pace, Producer},
    embedded::EmbeddedBroker,
};
use schemas::topics;
use tokio_util::sync::CancellationToken;

use crate::server::{PATIENCE, alone, run, shared};

const PARTITIONS: i32 = 6;
const RECORDS: usize = 2_000;
/// With these, a partition has more than the broker keeps in memory, and one record more than one answer usually has.
const RECORD_BYTES: usize = 6 * 1024;
const LARGE_BYTES: usize = 3 * 1024 * 1024;

fn value(number: usize) -> Vec<u8> {
    let length = if number == 7 { LARGE_BYTES } else { RECORD_BYTES };
    let mut value = number.to_string().into_bytes();
    value.resize(length, b' ');
    value
}

/// A loop that fails is started again in the same process. Its predecessor must not be waited for.
#[test]
fn a_consumer_that_begins_again_gets_everything_again() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let started = EmbeddedBroker::start(folder.path()).await.expect("a broker");
        let brokers = started.brokers.clone();
        brokers.ensure_topics(PARTITIONS, 1).await.expect("topics");
        let producer = Producer::new(&brokers, Pace::BULK).expect("a producer");
        let records = (0..RECORDS)
            .map(|number| Outgoing {
                topic: topics::INTAKE,
                key: number.to_string(),
                value: value(number),
            })
            .collect();
        producer.send_all(records).await.expect("sent");
        for round in 0..3 {
            let shutdown = CancellationToken::new();
            let member = Member {
                group: "begins-again",
                topic: topics::INTAKE,
                instance: "the same".to_owned(),
            };
            let database = shared().await.database.clone();
            let mut deliveries = broker::consume(&brokers, member, database, shutdown.clone()).expect("a consumer");
            let (mut assigned, mut values) = (BTreeSet::new(), BTreeSet::new());
            let all = async {
                while values.len() < RECORDS {
                    match deliveries.recv().await.expect("the consumer lives") {
                        Delivery::Assigned(checkpoint) => drop(assigned.insert(checkpoint.partition)),
                        Delivery::Record(record) => {
                            assert!(assigned.contains(&record.partition), "a record before its partition");
                            values.insert(record.value);
                        }
                        Delivery::Revoked(partition) => panic!("{partition} was taken away"),
                        Delivery::Broken(cause) => panic!("{cause}"),
                    }
                }
            };
            let in_time = tokio::time::timeout(PATIENCE, all).await;
            assert!(
                in_time.is_ok(),
                "round {round}: {} records of {} partitions",
                values.len(),
                assigned.len()
            );
            assert_eq!(assigned, (0..PARTITIONS).collect());
            shutdown.cancel();
        }
    });
}

/// Postgres may be busy just when partitions are given: the consumer's thread survives it, and has them later.
#[test]
fn a_consumer_that_cannot_claim_its_partitions_tries_again() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let started = EmbeddedBroker::start(folder.path()).await.expect("a broker");
        started.brokers.ensure_topics(PARTITIONS, 1).await.expect("topics");
        let world = alone().await;
        // A sequence counts also what is rolled back.
        let refuse = "create sequence tries;
            create function refuse() returns trigger language plpgsql security definer as
                $$ begin perform nextval('tries'); raise 'on purpose'; end $$;
            create trigger refuse before insert or update on consumer_checkpoint for each statement execute function refuse()";
        sqlx::raw_sql(refuse).execute(&world.owner).await.expect("refused");
        let shutdown = CancellationToken::new();
        let member = Member {
            group: "waits",
            topic: topics::INTAKE,
            instance: "one".to_owned(),
        };
        let mut deliveries =
            broker::consume(&started.brokers, member, world.database.clone(), shutdown.clone()).expect("a consumer");
        tokio::select! {
            first = deliveries.recv() => panic!("{}", if first.is_some() { "nothing can be assigned yet" } else { "the consumer died" }),
            () = async {
                while world.owner_number("select last_value from tries").await < 3 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        let allow = "drop trigger refuse on consumer_checkpoint";
        sqlx::raw_sql(allow).execute(&world.owner).await.expect("allowed");
        let first = tokio::time::timeout(PATIENCE, deliveries.recv())
            .await
            .expect("in time");
        assert!(matches!(first, Some(Delivery::Assigned(_))), "the consumer died");
        shutdown.cancel();
    });
}
