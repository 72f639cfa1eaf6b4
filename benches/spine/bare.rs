//! Bare peers: the least that plain axum and sqlx must do for the same result, as the database's owner, past row-level
//! security. Nothing here is the product's.

use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing};
use domain::id::TenantId;
use serde_json::{Value, json};
use sqlx::{PgPool, types::Json};
use uuid::Uuid;

use crate::appends::{Payload, event_ids};

/// Events per second, one transaction each: compare-and-set of the stream, counter row, event, event id.
pub async fn one_transaction_per_event(pool: &PgPool, tenant: TenantId, connections: usize, during: Duration) -> f64 {
    let begun = Instant::now();
    let writers = (0..connections).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (stream, mut revision) = (infra::clock::new_id(), 0_i64);
            while begun.elapsed() < during {
                append_one(&pool, tenant, stream, revision).await.expect("an append");
                revision += 1;
            }
            revision
        })
    });
    let mut events = 0;
    for writer in writers.collect::<Vec<_>>() {
        events += writer.await.expect("a writer");
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

async fn append_one(pool: &PgPool, tenant: TenantId, stream: Uuid, revision: i64) -> Result<(), sqlx::Error> {
    let payload = Payload::default();
    let event_id = event_ids(1)[0];
    let mut transaction = pool.begin().await?;
    let moved = if revision == 0 {
        sqlx::query("insert into stream (tenant, kind, id, revision) values ($1, 'employee', $2, 1)")
            .bind(Uuid::from(tenant))
            .bind(stream)
            .execute(&mut *transaction)
            .await?
    } else {
        sqlx::query(
            "update stream set revision = $3 + 1 where tenant = $1 and kind = 'employee' and id = $2 and revision = $3",
        )
        .bind(Uuid::from(tenant))
        .bind(stream)
        .bind(revision)
        .execute(&mut *transaction)
        .await?
    };
    assert_eq!(moved.rows_affected(), 1);
    let position: i64 =
        sqlx::query_scalar("update log_head set position = position + 1, recorded_at = now() returning position")
            .fetch_one(&mut *transaction)
            .await?;
    sqlx::query(
        "insert into event (position, tenant, kind, stream_id, revision, event_id, event_type, schema_version, effective_on, recorded_at,
                            actor, correlation_id, causation_id, backfill, traceparent, data)
         values ($1, $2, 'employee', $3, $4, $5, $6, 1, $7, now(), $8, $5, $5, false, null, $9)",
    )
    .bind(position)
    .bind(Uuid::from(tenant))
    .bind(stream)
    .bind(revision + 1)
    .bind(event_id)
    .bind(payload.event_type)
    .bind(payload.on)
    .bind(payload.actor)
    .bind(&payload.data)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("insert into event_id (tenant, event_id, position) values ($1, $2, $3)")
        .bind(Uuid::from(tenant))
        .bind(event_id)
        .bind(position)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Events per second in batches: counter row and one UNNEST insert into the log, no compare-and-set, no event ids.
pub async fn counter_row_and_unnest(pool: &PgPool, tenant: TenantId, batch: usize, during: Duration) -> f64 {
    let begun = Instant::now();
    let mut events = 0;
    while begun.elapsed() < during {
        append_batch(pool, tenant, batch).await.expect("a batch");
        events += batch;
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

async fn append_batch(pool: &PgPool, tenant: TenantId, batch: usize) -> Result<(), sqlx::Error> {
    let payload = Payload::default();
    let ids = event_ids(batch);
    let mut transaction = pool.begin().await?;
    let head: i64 =
        sqlx::query_scalar("update log_head set position = position + $1, recorded_at = now() returning position")
            .bind(batch as i64)
            .fetch_one(&mut *transaction)
            .await?;
    sqlx::query(
        "insert into event (position, tenant, kind, stream_id, revision, event_id, event_type, schema_version, effective_on, recorded_at,
                            actor, correlation_id, causation_id, backfill, traceparent, data)
         select $1 + u.n, u.tenant, u.kind, u.stream_id, u.revision, u.event_id, u.event_type, 1, u.effective_on, now(),
                u.actor, u.event_id, u.event_id, false, null, u.data
           from unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::date[], $9::text[], $10::bytea[])
                with ordinality as u(tenant, kind, stream_id, revision, event_id, event_type, effective_on, actor, data, n)",
    )
    .bind(head - batch as i64)
    .bind(vec![Uuid::from(tenant); batch])
    .bind(vec!["employee"; batch])
    .bind(&ids)
    .bind(vec![1_i64; batch])
    .bind(&ids)
    .bind(vec![payload.event_type; batch])
    .bind(vec![payload.on; batch])
    .bind(vec![payload.actor; batch])
    .bind(vec![payload.data.as_slice(); batch])
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// `GET /page`: one hand-written join, serialised.
pub fn page(pool: PgPool, tenant: TenantId, people: i64) -> Router {
    Router::new()
        .route("/page", routing::get(answer))
        .with_state((pool, tenant, people))
}

#[derive(sqlx::FromRow)]
struct PageRow {
    id: Uuid,
    display_name: Option<String>,
    job_title: Option<String>,
    department: Option<String>,
    location: Option<String>,
    status: String,
    hired_on: domain::Date,
    probability: f64,
    horizon_days: i16,
    band: String,
    factors: Json<Vec<domain::risk::Factor>>,
    model: String,
    scored_at: domain::Timestamp,
    position: i64,
}

async fn answer(State((pool, tenant, people)): State<(PgPool, TenantId, i64)>) -> impl IntoResponse {
    let rows: Vec<PageRow> = sqlx::query_as(
        "select e.id, e.display_name, e.job_title, e.department, e.location, e.status, e.hired_on,
                r.probability, r.horizon_days, r.band, r.factors, r.model, r.scored_at, r.position
           from employee e join risk r on r.tenant = e.tenant and r.employee = e.id
          where e.tenant = $1 order by lower(e.display_name), e.id limit $2",
    )
    .bind(Uuid::from(tenant))
    .bind(people)
    .fetch_all(&pool)
    .await
    .expect("a page");
    let edges: Vec<Edge<'_>> = rows.iter().map(Edge::new).collect();
    let body = serde_json::to_vec(&Answer {
        data: Data {
            employees: Employees { edges },
        },
    })
    .expect("JSON");
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body)
}

#[derive(serde::Serialize)]
struct Answer<'r> {
    data: Data<'r>,
}

#[derive(serde::Serialize)]
struct Data<'r> {
    employees: Employees<'r>,
}

#[derive(serde::Serialize)]
struct Employees<'r> {
    edges: Vec<Edge<'r>>,
}

#[derive(serde::Serialize)]
struct Edge<'r> {
    node: Node<'r>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'r> {
    id: Uuid,
    display_name: Option<&'r str>,
    job_title: Option<&'r str>,
    department: Option<&'r str>,
    location: Option<&'r str>,
    status: &'r str,
    hired_on: domain::Date,
    risk: Risk<'r>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Risk<'r> {
    probability: f64,
    horizon_days: i16,
    band: &'r str,
    factors: Vec<Factor<'r>>,
    model: &'r str,
    scored_at: domain::Timestamp,
    position: i64,
}

#[derive(serde::Serialize)]
struct Factor<'r> {
    feature: &'r str,
    label: &'r str,
    contribution: f64,
}

impl<'r> Edge<'r> {
    fn new(row: &'r PageRow) -> Self {
        let factor = |factor: &'r domain::risk::Factor| Factor {
            feature: &factor.feature,
            label: &factor.label,
            contribution: factor.contribution,
        };
        Self {
            node: Node {
                id: row.id,
                display_name: row.display_name.as_deref(),
                job_title: row.job_title.as_deref(),
                department: row.department.as_deref(),
                location: row.location.as_deref(),
                status: &row.status,
                hired_on: row.hired_on,
                risk: Risk {
                    probability: row.probability,
                    horizon_days: row.horizon_days,
                    band: &row.band,
                    factors: row.factors.iter().map(factor).collect(),
                    model: &row.model,
                    scored_at: row.scored_at,
                    position: row.position,
                },
            },
        }
    }
}

/// The same data as GraphQL asks for it.
pub fn graphql_request(people: i64) -> Value {
    json!({"query": format!(
        "{{ employees(first: {people}) {{ edges {{ node {{ id displayName jobTitle department location status hiredOn
            risk {{ probability horizonDays band factors {{ feature label contribution }} model scoredAt position }} }} }} }} }}"
    )})
}
