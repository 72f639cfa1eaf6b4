//! cqrs-es with postgres-es: a command loads its aggregate's events, decides, and inserts in a transaction of its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cqrs_es::{
    Aggregate, DomainEvent, EventEnvelope, Query,
    event_sink::EventSink,
    persist::{PersistedEventRepository, QueryReplay, SerializedEvent},
};
use postgres_es::{PostgresCqrs, PostgresEventRepository, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::log::{Answer, Log, STREAM_EVENTS};

/// As in the library's documentation; its default of 200 makes no difference worth mentioning.
const STREAMED_AHEAD: usize = 1_000;

#[derive(Clone)]
pub struct CqrsEs {
    pool: PgPool,
    framework: Arc<PostgresCqrs<Employee>>,
}

impl CqrsEs {
    pub fn new(pool: PgPool) -> Self {
        let framework = Arc::new(postgres_cqrs(pool.clone(), Vec::new(), ()));
        Self { pool, framework }
    }
}

impl Log for CqrsEs {
    /// The table of the library's `db/init.sql`; the crate has no function that makes it.
    async fn prepare(&self) {
        sqlx::raw_sql(
            "create table public.events (
                 aggregate_type text not null,
                 aggregate_id text not null,
                 sequence bigint check (sequence >= 0) not null,
                 event_type text not null,
                 event_version text not null,
                 payload json not null,
                 metadata json not null,
                 primary key (aggregate_type, aggregate_id, sequence)
             )",
        )
        .execute(&self.pool)
        .await
        .expect("a table");
    }

    async fn append(&self, stream: Uuid, _written: i64) -> u64 {
        let command = AnswerSurvey(Answer::default());
        self.framework
            .execute(&stream.to_string(), command)
            .await
            .expect("an append");
        0
    }

    async fn load(&self, streams: Vec<Uuid>) {
        let repository = PostgresEventRepository::new(self.pool.clone());
        let payload = serde_json::to_value(EmployeeEvent::SurveyAnswered(Answer::default())).expect("JSON");
        let events: Vec<SerializedEvent> = streams
            .iter()
            .flat_map(|stream| (1..=STREAM_EVENTS as usize).map(move |sequence| (stream, sequence)))
            .map(|(stream, sequence)| {
                SerializedEvent::new(
                    stream.to_string(),
                    sequence,
                    Employee::TYPE.to_owned(),
                    "SurveyAnswered".to_owned(),
                    "1.0".to_owned(),
                    payload.clone(),
                    serde_json::json!({}),
                )
            })
            .collect();
        repository.persist::<Employee>(&events, None).await.expect("stored");
    }

    async fn replay(&self) -> usize {
        let repository = PostgresEventRepository::new(self.pool.clone()).with_streaming_channel_size(STREAMED_AHEAD);
        let counted = Counted::default();
        let mut replay = QueryReplay::new(repository, counted.clone());
        replay.use_error_handler(Box::new(|error| panic!("{error}")));
        replay.replay_all().await.expect("replayed");
        counted.events.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Employee {
    answers: u64,
}

pub struct AnswerSurvey(Answer);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EmployeeEvent {
    SurveyAnswered(Answer),
}

#[derive(Debug, thiserror::Error)]
#[error("this employee does not answer")]
pub struct NoAnswer;

impl DomainEvent for EmployeeEvent {
    fn event_type(&self) -> String {
        "SurveyAnswered".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Employee {
    const TYPE: &'static str = "employee";
    type Command = AnswerSurvey;
    type Event = EmployeeEvent;
    type Error = NoAnswer;
    type Services = ();

    async fn handle(&mut self, command: AnswerSurvey, _: &(), sink: &EventSink<Self>) -> Result<(), NoAnswer> {
        sink.write(EmployeeEvent::SurveyAnswered(command.0), self).await;
        Ok(())
    }

    fn apply(&mut self, event: EmployeeEvent) {
        let EmployeeEvent::SurveyAnswered(_) = event;
        self.answers += 1;
    }
}

/// A projection that only counts.
#[derive(Clone, Default)]
struct Counted {
    events: Arc<AtomicUsize>,
}

#[async_trait]
impl Query<Employee> for Counted {
    async fn dispatch(&self, _aggregate_id: &str, events: &[EventEnvelope<Employee>]) {
        self.events.fetch_add(events.len(), Ordering::Relaxed);
    }
}
