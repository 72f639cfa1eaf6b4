//! Measures one peer and says what it saw as one line of JSON. `../run` calls it; `DATABASE_URL` names an empty database, or one that
//! was prepared.
//!
//! `log-peers <peer> prepare`, `… load <events>`, `… append <writers> <seconds> <connections>`, `… replay`

mod log;
mod peer_cqrs_es;
mod peer_disintegrate;
mod peer_message_db;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use log::{Log, STREAM_EVENTS};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

/// Streams that one call of `load` stores.
const LOADED_AT_ONCE: usize = 50;
/// Connections of everything but `append`.
const CONNECTIONS: u32 = 4;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [peer, action, numbers @ ..] = arguments.as_slice() else {
        panic!("no peer and action are given")
    };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
    let task = match (action.as_str(), numbers.as_slice()) {
        ("prepare", []) => Task::Prepare,
        ("load", [events]) => Task::Load { events: *events as i64 },
        ("append", [writers, seconds, connections]) => Task::Append {
            writers: *writers as usize,
            during: Duration::from_secs(*seconds),
            connections: *connections as u32,
        },
        ("replay", []) => Task::Replay,
        _ => panic!("{action} {numbers:?} is nothing that can be measured"),
    };
    let pool = pool(&task).await;
    let seen = match peer.as_str() {
        "cqrs-es" => task.carry_out(peer_cqrs_es::CqrsEs::new(pool)).await,
        "disintegrate" => task.carry_out(peer_disintegrate::Disintegrate::new(pool)).await,
        "message-db" => task.carry_out(peer_message_db::MessageDb::new(pool)).await,
        unknown => panic!("{unknown} is none of the peers"),
    };
    println!("{seen}");
}

/// What is asked of a peer.
enum Task {
    Prepare,
    Load {
        events: i64,
    },
    Append {
        writers: usize,
        during: Duration,
        connections: u32,
    },
    Replay,
}

impl Task {
    async fn carry_out(self, log: impl Log) -> Value {
        let begun = Instant::now();
        let (events, again) = match self {
            Self::Prepare => {
                log.prepare().await;
                (0, 0)
            }
            Self::Load { events } => {
                load(&log, events).await;
                (events as u64, 0)
            }
            Self::Append { writers, during, .. } => append(&log, writers, during).await,
            Self::Replay => (log.replay().await as u64, 0),
        };
        json!({"events": events, "again": again, "seconds": begun.elapsed().as_secs_f64()})
    }
}

/// Connections that are open before the clock starts.
async fn pool(task: &Task) -> PgPool {
    let connections = match task {
        Task::Append { connections, .. } => *connections,
        Task::Prepare | Task::Load { .. } | Task::Replay => CONNECTIONS,
    };
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    // Only message-db has that schema, and asks for this path.
    let options = url
        .parse::<PgConnectOptions>()
        .expect("a URL")
        .options([("search_path", "message_store,public")]);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options)
        .await
        .expect("a database");
    let opened = join_all((0..connections).map(|_| pool.acquire())).await;
    assert!(opened.iter().all(Result::is_ok), "a connection could not be opened");
    pool
}

async fn load(log: &impl Log, events: i64) {
    let streams: Vec<Uuid> = (0..events / STREAM_EVENTS).map(|_| Uuid::new_v4()).collect();
    for chunks in streams.chunks(LOADED_AT_ONCE * CONNECTIONS as usize) {
        join_all(chunks.chunks(LOADED_AT_ONCE).map(|streams| log.load(streams.to_vec()))).await;
    }
}

/// Each writer appends one event, waits until it is durable, and appends the next, one stream after the other.
async fn append(log: &impl Log, writers: usize, during: Duration) -> (u64, u64) {
    let begun = Instant::now();
    let writers: Vec<_> = (0..writers)
        .map(|_| tokio::spawn(write(log.clone(), begun, during)))
        .collect();
    let (mut events, mut again) = (0, 0);
    for writer in writers {
        let written = writer.await.expect("a writer");
        events += written.0;
        again += written.1;
    }
    (events, again)
}

async fn write(log: impl Log, begun: Instant, during: Duration) -> (u64, u64) {
    let (mut events, mut again) = (0, 0);
    loop {
        let stream = Uuid::new_v4();
        for written in 0..STREAM_EVENTS {
            if begun.elapsed() > during {
                return (events, again);
            }
            again += log.append(stream, written).await;
            events += 1;
        }
    }
}
