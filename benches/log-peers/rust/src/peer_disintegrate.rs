//! disintegrate: a decision reads the events of its query, and is stored in a serializable transaction if no other event of that
//! query came between. A conflict is the caller's to try again.

use disintegrate::{
    Decision, DecisionError, Event, EventStore, NoSnapshot, StateMutate, StateQuery, StreamItem, StreamQuery, query,
    serde::json::Json,
};
use disintegrate_postgres::{Error, PgDecisionMaker, PgEventId, PgEventStore, decision_maker};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::log::{Answer, Log, STREAM_EVENTS};

type Store = PgEventStore<EmployeeEvent, Json<EmployeeEvent>>;

/// The rest of what `Migrator` does. One of its functions has a hexadecimal number, which only Postgres 16 and newer read: here the same
/// function has it in decimal.
const INITIALISED_BEFORE_POSTGRES_16: &str = r#"
    create or replace function event_store_begin_epoch() returns void as $$
    declare
        id bigint;
        db_id int;
    begin
        select last_value into id from seq_event_event_id;
        select oid into db_id from pg_database where datname = current_database();

        perform pg_try_advisory_xact_lock_shared(db_id, 0);
        perform pg_try_advisory_xact_lock_shared(1, (id & 4294967295)::bit(32)::integer);
        perform pg_try_advisory_xact_lock_shared(2, (id >> 32)::bit(32)::integer);
    end;
    $$ language plpgsql;
    alter table event add column if not exists employee_id uuid;
    create index if not exists idx_event_employee_id on event (employee_id) where employee_id is not null;
"#;

#[derive(Clone)]
pub struct Disintegrate {
    pool: PgPool,
    store: Store,
    decisions: PgDecisionMaker<EmployeeEvent, Json<EmployeeEvent>, NoSnapshot>,
}

impl Disintegrate {
    pub fn new(pool: PgPool) -> Self {
        let store = PgEventStore::new_uninitialized(pool.clone(), Json::default());
        let decisions = decision_maker(store.clone(), NoSnapshot);
        Self { pool, store, decisions }
    }
}

impl Log for Disintegrate {
    async fn prepare(&self) {
        let made = Store::try_new(self.pool.clone(), Json::default()).await;
        let Err(Error::Migration(error)) = made else {
            made.expect("tables");
            return;
        };
        assert!(error.to_string().contains("0xFFFFFFFF"), "{error}");
        sqlx::raw_sql(INITIALISED_BEFORE_POSTGRES_16)
            .execute(&self.pool)
            .await
            .expect("tables");
    }

    async fn append(&self, stream: Uuid, _written: i64) -> u64 {
        let mut again = 0;
        loop {
            match self.decisions.make(AnswerSurvey { employee_id: stream }).await {
                Ok(_stored) => return again,
                Err(error) if is_conflict(&error) => again += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn load(&self, streams: Vec<Uuid>) {
        let events = streams
            .into_iter()
            .flat_map(|stream| (0..STREAM_EVENTS).map(move |_| answered(stream)))
            .collect();
        self.store.append_without_validation(events).await.expect("stored");
    }

    async fn replay(&self) -> usize {
        let everything: StreamQuery<PgEventId, EmployeeEvent> = query!(EmployeeEvent);
        let mut stream = self.store.stream(&everything);
        let mut events = 0;
        while let Some(item) = stream.next().await {
            match item.expect("an event") {
                StreamItem::Event(_) => events += 1,
                StreamItem::End(_) => {}
            }
        }
        events
    }
}

/// Postgres says 40001 at whichever statement it notices, and the library translates only that of the commit.
fn is_conflict(error: &DecisionError<NoAnswer>) -> bool {
    let DecisionError::StateStore(error) = error else {
        return false;
    };
    match error.downcast_ref() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(error))) => error.code().as_deref() == Some("40001"),
        _ => false,
    }
}

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[stream(SurveyEvent, [SurveyAnswered])]
pub enum EmployeeEvent {
    SurveyAnswered {
        #[id]
        employee_id: Uuid,
        on: String,
        survey: String,
        answer: String,
    },
}

#[derive(Debug, Clone, Default, StateQuery, Serialize, Deserialize)]
#[state_query(SurveyEvent)]
struct Employee {
    #[id]
    employee_id: Uuid,
    answers: u64,
}

impl StateMutate for Employee {
    fn mutate(&mut self, event: Self::Event) {
        let SurveyEvent::SurveyAnswered { .. } = event;
        self.answers += 1;
    }
}

struct AnswerSurvey {
    employee_id: Uuid,
}

#[derive(Debug, thiserror::Error)]
#[error("this employee does not answer")]
struct NoAnswer;

impl Decision for AnswerSurvey {
    type Event = EmployeeEvent;
    type StateQuery = Employee;
    type Error = NoAnswer;

    fn state_query(&self) -> Employee {
        Employee {
            employee_id: self.employee_id,
            answers: 0,
        }
    }

    fn process(&self, _state: &Employee) -> Result<Vec<EmployeeEvent>, NoAnswer> {
        Ok(vec![answered(self.employee_id)])
    }
}

fn answered(employee_id: Uuid) -> EmployeeEvent {
    let Answer { on, survey, answer } = Answer::default();
    EmployeeEvent::SurveyAnswered {
        employee_id,
        on,
        survey,
        answer,
    }
}
