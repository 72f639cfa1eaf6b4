//! message-db: functions in the database. The quickest client that is at hand calls them, so that they are what is measured.

use sqlx::{PgPool, Row, types::Json};
use uuid::Uuid;

use crate::log::{Answer, Log, STREAM_EVENTS};

/// Messages that are read at once.
const PAGE: i64 = 5_000;

#[derive(Clone)]
pub struct MessageDb {
    pool: PgPool,
}

impl MessageDb {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl Log for MessageDb {
    /// The package's own `install.sh` has made everything.
    async fn prepare(&self) {}

    /// A writer knows the version that it expects, as message-db's clients do from their entity cache.
    async fn append(&self, stream: Uuid, written: i64) -> u64 {
        sqlx::query("select write_message($1, $2, 'SurveyAnswered', $3, null, $4)")
            .bind(Uuid::new_v4().to_string())
            .bind(stream_name(stream))
            .bind(Json(Answer::default()))
            .bind(written - 1)
            .execute(&self.pool)
            .await
            .expect("an append");
        0
    }

    async fn load(&self, streams: Vec<Uuid>) {
        let names: Vec<String> = streams.into_iter().map(stream_name).collect();
        sqlx::query(
            "select write_message(gen_random_uuid()::varchar, name, 'SurveyAnswered', $2)
             from unnest($1) name, generate_series(1, $3)",
        )
        .bind(names)
        .bind(Json(Answer::default()))
        .bind(STREAM_EVENTS)
        .execute(&self.pool)
        .await
        .expect("stored");
    }

    async fn replay(&self) -> usize {
        let (mut position, mut count) = (1, 0);
        loop {
            let page = sqlx::query(
                "select id, stream_name, type, position, global_position, data, metadata from get_category_messages('employee', $1, $2)",
            )
            .bind(position)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await
            .expect("a page");
            let Some(last) = page.last() else { return count };
            position = last.get::<i64, _>("global_position") + 1;
            for row in &page {
                let data: &str = row.get("data");
                let _decoded: Answer = serde_json::from_str(data).expect("an answer");
            }
            count += page.len();
        }
    }
}

fn stream_name(stream: Uuid) -> String {
    format!("employee-{stream}")
}
