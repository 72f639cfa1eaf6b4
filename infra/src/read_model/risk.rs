//! `risk`, `risk_history` and the scorer's own `feature_state`.

use domain::{
    Timestamp,
    id::{EmployeeId, ProgramId, TenantId},
    risk::Factor,
};
use sqlx::types::Json;
use uuid::Uuid;

use super::{keys, timeline::Page};
use crate::database::{Connection, DatabaseError, Doing, RISK_CHANNEL};

#[derive(Clone, PartialEq, sqlx::FromRow)]
pub struct RiskRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub probability: f64,
    pub horizon_days: i16,
    /// A [`domain::risk::Band`]'s name.
    pub band: String,
    pub factors: Json<Vec<Factor>>,
    pub model: String,
    pub scored_at: Timestamp,
    /// The log position that the score was made from.
    pub position: i64,
    /// The digest of the model's inputs; nothing for scores from before there was one.
    pub vector: Option<String>,
}

#[derive(Clone, PartialEq, sqlx::FromRow)]
pub struct RiskHistoryRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    /// The log position of the assessment.
    pub position: i64,
    /// None: no longer readable.
    pub probability: Option<f64>,
    pub horizon_days: i16,
    pub band: String,
    pub factors: Json<Vec<Factor>>,
    pub model: String,
    pub scored_at: Timestamp,
    pub scored_position: i64,
    pub recorded_at: Timestamp,
    /// The digest of the model's inputs; nothing for scores from before there was one.
    pub vector: Option<String>,
}

/// Wraps factors for their JSON column.
#[must_use]
pub const fn json(factors: Vec<Factor>) -> Json<Vec<Factor>> {
    Json(factors)
}

fn text(factors: &[Factor]) -> Result<String, DatabaseError> {
    serde_json::to_string(factors).map_err(|_| DatabaseError::Corrupt("factors"))
}

/// The current scores of `employees`.
///
/// # Errors
/// When the database fails.
pub async fn load(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<Vec<RiskRow>, DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query_as(
        "select r.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          cross join lateral (select * from risk where (tenant, employee) = (u.tenant, u.employee) offset 0) r",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("load risks")
}

/// Writes current scores.
///
/// # Errors
/// When the database fails.
pub async fn upsert(connection: &mut Connection, rows: &[RiskRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into risk (tenant, employee, probability, horizon_days, band, factors, model, scored_at, position, vector)
         select tenant, employee, probability, horizon_days, band, factors::json, model, scored_at, position, vector
           from unnest($1::uuid[], $2::uuid[], $3::double precision[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::bigint[], $10::text[])
                as u(tenant, employee, probability, horizon_days, band, factors, model, scored_at, position, vector)
         on conflict (tenant, employee) do update set probability = excluded.probability, horizon_days = excluded.horizon_days, band = excluded.band,
            factors = excluded.factors, model = excluded.model, scored_at = excluded.scored_at, position = excluded.position, vector = excluded.vector",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.horizon_days).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.band.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| text(&r.factors)).collect::<Result<Vec<_>, _>>()?)
    .bind(rows.iter().map(|r| r.model.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.vector.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write risks")
    .map(drop)
}

/// Removes scores: of people who left, object, or were erased.
///
/// # Errors
/// When the database fails.
pub async fn remove(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query("delete from risk r using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (r.tenant, r.employee) = (u.tenant, u.employee)")
        .bind(tenants)
        .bind(ids)
        .execute(connection)
        .await
        .doing("remove risks")
        .map(drop)
}

/// How many employees one announcement names: Postgres takes 8,000 bytes.
const ANNOUNCED_MAX: usize = 150;

/// Announces changed scores to subscribers, when the transaction commits.
///
/// # Errors
/// When the database fails.
pub async fn announce(connection: &mut Connection, tenant: TenantId, employees: &[Uuid]) -> Result<(), DatabaseError> {
    for employees in employees.chunks(ANNOUNCED_MAX) {
        let payload = serde_json::json!({"tenant": tenant, "employees": employees});
        sqlx::query("select pg_notify($1, $2)")
            .bind(RISK_CHANNEL)
            .bind(payload.to_string())
            .execute(&mut *connection)
            .await
            .doing("announce risks")?;
    }
    Ok(())
}

/// Adds assessments to history; one that is there stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn add_history(connection: &mut Connection, rows: &[RiskHistoryRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into risk_history (tenant, employee, position, probability, horizon_days, band, factors, model, scored_at, scored_position, recorded_at, vector)
         select tenant, employee, position, probability, horizon_days, band, factors::json, model, scored_at, scored_position, recorded_at, vector
           from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::double precision[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bigint[], $11::timestamptz[], $12::text[])
                as u(tenant, employee, position, probability, horizon_days, band, factors, model, scored_at, scored_position, recorded_at, vector)
         on conflict do nothing",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.horizon_days).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.band.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| text(&r.factors)).collect::<Result<Vec<_>, _>>()?)
    .bind(rows.iter().map(|r| r.model.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.recorded_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.vector.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write risk history")
    .map(drop)
}

/// The same page of several people's assessments: of each person the newest first, of the past those of the day and before that were
/// recorded by then.
///
/// # Errors
/// When the database fails.
pub async fn history_pages(
    connection: &mut Connection,
    tenant: TenantId,
    employees: &[EmployeeId],
    page: Page,
) -> Result<Vec<RiskHistoryRow>, DatabaseError> {
    sqlx::query_as(
        "select h.* from unnest($2::uuid[]) as u(employee) cross join lateral
            (select * from risk_history where tenant = $1 and employee = u.employee and position < $3
                and ($5 is null or recorded_at <= $5) and ($6 is null or scored_at < $6) order by position desc limit $4) h
          order by h.employee, h.position desc",
    )
    .bind(Uuid::from(tenant))
    .bind(employees.iter().map(|employee| Uuid::from(*employee)).collect::<Vec<_>>())
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(page.limit)
    .bind(page.at.map(|at| at.known_at))
    .bind(page.at.map(|at| at.day_ends()))
    .fetch_all(connection)
    .await
    .doing("read the history of scores")
}

/// Makes a person's history of scores unreadable, when the person is erased.
///
/// # Errors
/// When the database fails.
pub async fn clear_history(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query(
        "update risk_history h set probability = null, factors = '[]', vector = null
           from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (h.tenant, h.employee) = (u.tenant, u.employee)",
    )
    .bind(tenants)
    .bind(ids)
    .execute(connection)
    .await
    .doing("clear risk history")
    .map(drop)
}

/// The scorer's fold of one person, sealed with the person's key under [`state_place`].
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct FeatureStateRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub state: Vec<u8>,
    pub position: i64,
}

/// # Errors
/// When the database fails.
pub async fn load_states(
    connection: &mut Connection,
    employees: &[(TenantId, Uuid)],
) -> Result<Vec<FeatureStateRow>, DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query_as("select s.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          cross join lateral (select * from feature_state where (tenant, employee) = (u.tenant, u.employee) offset 0) s")
        .bind(tenants)
        .bind(ids)
        .fetch_all(connection)
        .await
        .doing("load feature states")
}

/// Keeps everybody else from writing feature states until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn keep_states_to_oneself(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::raw_sql("lock table feature_state in share row exclusive mode")
        .execute(connection)
        .await
        .doing("keep the feature states")
        .map(drop)
}

/// A tenant's feature states after `after` (an employee's id), in order of id.
///
/// # Errors
/// When the database fails.
pub async fn page_states(
    connection: &mut Connection,
    tenant: TenantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<FeatureStateRow>, DatabaseError> {
    sqlx::query_as("select * from feature_state where tenant = $1 and ($2::uuid is null or employee > $2) order by employee limit $3")
        .bind(Uuid::from(tenant))
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("read feature states")
}

/// # Errors
/// When the database fails.
pub async fn upsert_states(connection: &mut Connection, rows: &[FeatureStateRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into feature_state (tenant, employee, state, position) select * from unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bigint[])
         on conflict (tenant, employee) do update set state = excluded.state, position = excluded.position",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.state.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write feature states")
    .map(drop)
}

/// # Errors
/// When the database fails.
pub async fn remove_states(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query("delete from feature_state s using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (s.tenant, s.employee) = (u.tenant, u.employee)")
        .bind(tenants)
        .bind(ids)
        .execute(connection)
        .await
        .doing("remove feature states")
        .map(drop)
}

/// A prediction that entered history, to be held against what happened.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct PredictionRow {
    pub employee: Uuid,
    pub probability: f64,
    pub horizon_days: i16,
    pub band: String,
    pub scored_at: Timestamp,
}

/// A model's readable predictions, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn predictions(
    connection: &mut Connection,
    tenant: TenantId,
    model: &str,
) -> Result<Vec<PredictionRow>, DatabaseError> {
    sqlx::query_as(
        "select employee, probability, horizon_days, band, scored_at from risk_history
          where tenant = $1 and model = $2 and probability is not null order by scored_at, employee",
    )
    .bind(Uuid::from(tenant))
    .bind(model)
    .fetch_all(connection)
    .await
    .doing("read predictions")
}

/// What the model in use and its challenger say of one person.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ShadowRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub challenger: String,
    /// The career program; none: the flight risk.
    pub program: Option<Uuid>,
    pub probability: f64,
    pub champion: String,
    pub champion_probability: f64,
    pub horizon_days: i16,
    pub scored_at: Timestamp,
}

/// Keeps what both models said: of each person the first of a month.
///
/// # Errors
/// When the database fails.
pub async fn add_shadows(connection: &mut Connection, rows: &[ShadowRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into shadow_score (tenant, employee, challenger, program, month, probability, champion, champion_probability, horizon_days, scored_at)
         select tenant, employee, challenger, program, date_trunc('month', scored_at at time zone 'utc')::date, probability, champion, champion_probability, horizon_days, scored_at
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::double precision[], $6::text[], $7::double precision[], $8::smallint[], $9::timestamptz[])
                as u(tenant, employee, challenger, program, probability, champion, champion_probability, horizon_days, scored_at)
         on conflict do nothing",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.challenger.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.program).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.champion.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.champion_probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.horizon_days).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_at).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write shadow scores")
    .map(drop)
}

/// What a challenger and the models in use beside it have said of a career program (none: of the flight risk), oldest first.
///
/// # Errors
/// When the database fails.
pub async fn shadows(
    connection: &mut Connection,
    tenant: TenantId,
    challenger: &str,
    program: Option<ProgramId>,
) -> Result<Vec<ShadowRow>, DatabaseError> {
    sqlx::query_as(
        "select tenant, employee, challenger, program, probability, champion, champion_probability, horizon_days, scored_at
           from shadow_score where tenant = $1 and challenger = $2 and program is not distinct from $3 order by scored_at, employee",
    )
    .bind(Uuid::from(tenant))
    .bind(challenger)
    .bind(program.map(Uuid::from))
    .fetch_all(connection)
    .await
    .doing("read shadow scores")
}

/// # Errors
/// When the database fails.
pub async fn remove_shadows(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query("delete from shadow_score s using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (s.tenant, s.employee) = (u.tenant, u.employee)")
        .bind(tenants)
        .bind(ids)
        .execute(connection)
        .await
        .doing("remove shadow scores")
        .map(drop)
}

/// When somebody of a tenant was last scored.
///
/// # Errors
/// When the database fails.
pub async fn last_scored(connection: &mut Connection, tenant: TenantId) -> Result<Option<Timestamp>, DatabaseError> {
    sqlx::query_scalar("select max(scored_at) from risk where tenant = $1")
        .bind(Uuid::from(tenant))
        .fetch_one(connection)
        .await
        .doing("find the last score")
}
