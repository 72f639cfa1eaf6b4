//! `program`, `readiness` and `readiness_history`: career programs, and how ready their candidates are.

use std::collections::BTreeSet;

use domain::{
    Timestamp,
    id::{ProgramId, TenantId},
    program::Path,
    risk::Factor,
};
use sqlx::types::Json;
use uuid::Uuid;

use super::{keys, risk::PredictionRow};
use crate::database::{Connection, DatabaseError, Doing};

/// The status of a program that takes candidates.
pub const OPEN: &str = "OPEN";
/// The status of one that does not any more.
pub const CLOSED: &str = "CLOSED";
/// The programs of one tenant that are looked at, at most.
pub const PROGRAMS_MAX: i64 = 200;

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ProgramRow {
    pub tenant: Uuid,
    pub id: Uuid,
    pub name: String,
    pub titles_from: Vec<String>,
    pub titles_to: Vec<String>,
    /// [`OPEN`] or [`CLOSED`].
    pub status: String,
    /// The version of the model in use; none: no scores yet.
    pub model: Option<String>,
    /// The version that runs beside it, unseen.
    pub challenger: Option<String>,
    pub position: i64,
}

impl ProgramRow {
    #[must_use]
    pub fn path(&self) -> Path {
        Path {
            from: self.titles_from.clone(),
            to: self.titles_to.clone(),
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == OPEN
    }
}

/// A tenant's programs, by name.
///
/// # Errors
/// When the database fails.
pub async fn programs(connection: &mut Connection, tenant: TenantId) -> Result<Vec<ProgramRow>, DatabaseError> {
    sqlx::query_as("select * from program where tenant = $1 order by name, id limit $2")
        .bind(Uuid::from(tenant))
        .bind(PROGRAMS_MAX)
        .fetch_all(connection)
        .await
        .doing("list programs")
}

/// # Errors
/// When the database fails.
pub async fn load_program(
    connection: &mut Connection,
    tenant: TenantId,
    id: Uuid,
) -> Result<Option<ProgramRow>, DatabaseError> {
    sqlx::query_as("select * from program where tenant = $1 and id = $2")
        .bind(Uuid::from(tenant))
        .bind(id)
        .fetch_optional(connection)
        .await
        .doing("load a program")
}

/// # Errors
/// When the database fails.
pub async fn upsert_program(connection: &mut Connection, row: &ProgramRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into program (tenant, id, name, titles_from, titles_to, status, model, challenger, position) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (tenant, id) do update set name = excluded.name, titles_from = excluded.titles_from, titles_to = excluded.titles_to,
            status = excluded.status, model = excluded.model, challenger = excluded.challenger, position = excluded.position",
    )
    .bind(row.tenant)
    .bind(row.id)
    .bind(&row.name)
    .bind(&row.titles_from)
    .bind(&row.titles_to)
    .bind(&row.status)
    .bind(&row.model)
    .bind(&row.challenger)
    .bind(row.position)
    .execute(connection)
    .await
    .doing("write a program")
    .map(drop)
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ReadinessRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub program: Uuid,
    pub probability: f64,
    pub horizon_days: i16,
    /// A [`domain::risk::Level`]'s name.
    pub level: String,
    pub factors: Json<Vec<Factor>>,
    pub model: String,
    pub scored_at: Timestamp,
    /// The log position that the score was made from.
    pub position: i64,
    /// The digest of the model's inputs.
    pub vector: String,
}

/// The current readiness of `employees`, of each in the order of the programs' ids.
///
/// # Errors
/// When the database fails.
pub async fn load(
    connection: &mut Connection,
    employees: &[(TenantId, Uuid)],
) -> Result<Vec<ReadinessRow>, DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query_as(
        "select r.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          cross join lateral (select * from readiness where (tenant, employee) = (u.tenant, u.employee) offset 0) r
          order by r.tenant, r.employee, r.program",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("load readiness")
}

/// The programs and models that a tenant's current readiness is of.
///
/// # Errors
/// When the database fails.
pub async fn scored_for(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<BTreeSet<(Uuid, String)>, DatabaseError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as("select distinct program, model from readiness where tenant = $1")
        .bind(Uuid::from(tenant))
        .fetch_all(connection)
        .await
        .doing("list what readiness is of")?;
    Ok(rows.into_iter().collect())
}

/// How many candidates of a program there are at each level, and the names of the levels.
///
/// # Errors
/// When the database fails.
pub async fn level_counts(
    connection: &mut Connection,
    tenant: TenantId,
    program: ProgramId,
) -> Result<Vec<(String, i64)>, DatabaseError> {
    sqlx::query_as("select level, count(*) from readiness where tenant = $1 and program = $2 group by level")
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(program))
        .fetch_all(connection)
        .await
        .doing("count candidates")
}

/// A program's candidates after `after` (a probability and an employee), the readiest first. With a manager, only the people
/// who report to them.
///
/// # Errors
/// When the database fails.
pub async fn candidates(
    connection: &mut Connection,
    (tenant, program): (TenantId, ProgramId),
    manager: Option<Uuid>,
    after: Option<(f64, Uuid)>,
    limit: i64,
) -> Result<Vec<ReadinessRow>, DatabaseError> {
    let (probability, employee) = after.unzip();
    sqlx::query_as(
        "select r.* from readiness r
          where r.tenant = $1 and r.program = $2
            and ($3::uuid is null or exists (select 1 from employee e where e.tenant = r.tenant and e.id = r.employee and e.manager = $3))
            and ($4::double precision is null or (-r.probability, r.employee) > (-$4, $5))
          order by r.probability desc, r.employee limit $6",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(program))
    .bind(manager)
    .bind(probability)
    .bind(employee)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("list candidates")
}

/// Replaces the current readiness of `employees` by `rows`: of whoever has none in it, there is none any more.
///
/// # Errors
/// When the database fails.
pub async fn replace(
    connection: &mut Connection,
    employees: &[(TenantId, Uuid)],
    rows: &[ReadinessRow],
) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query("delete from readiness r using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (r.tenant, r.employee) = (u.tenant, u.employee)")
        .bind(tenants)
        .bind(ids)
        .execute(&mut *connection)
        .await
        .doing("remove readiness")?;
    if rows.is_empty() {
        return Ok(());
    }
    let factors: Result<Vec<String>, _> = rows.iter().map(|row| serde_json::to_string(&row.factors.0)).collect();
    sqlx::query(
        "insert into readiness (tenant, employee, program, probability, horizon_days, level, factors, model, scored_at, position, vector)
         select tenant, employee, program, probability, horizon_days, level, factors::json, model, scored_at, position, vector
           from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::double precision[], $5::smallint[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bigint[], $11::text[])
                as u(tenant, employee, program, probability, horizon_days, level, factors, model, scored_at, position, vector)",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.program).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.horizon_days).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.level.as_str()).collect::<Vec<_>>())
    .bind(factors.map_err(|_| DatabaseError::Corrupt("factors"))?)
    .bind(rows.iter().map(|r| r.model.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.vector.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write readiness")
    .map(drop)
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ReadinessHistoryRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    /// The log position of the assessment.
    pub position: i64,
    pub program: Uuid,
    /// None: no longer readable.
    pub probability: Option<f64>,
    pub horizon_days: i16,
    pub level: String,
    pub model: String,
    pub scored_at: Timestamp,
}

/// Adds assessments to history; one that is there stays as it is.
///
/// # Errors
/// When the database fails.
pub async fn add_history(connection: &mut Connection, rows: &[ReadinessHistoryRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into readiness_history (tenant, employee, position, program, probability, horizon_days, level, model, scored_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::double precision[], $6::smallint[], $7::text[], $8::text[], $9::timestamptz[])
         on conflict do nothing",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.program).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.probability).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.horizon_days).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.level.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.model.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.scored_at).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write readiness history")
    .map(drop)
}

/// Makes a person's history of readiness unreadable, when the person is erased.
///
/// # Errors
/// When the database fails.
pub async fn clear_history(connection: &mut Connection, employees: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query(
        "update readiness_history h set probability = null
           from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee) where (h.tenant, h.employee) = (u.tenant, u.employee)",
    )
    .bind(tenants)
    .bind(ids)
    .execute(connection)
    .await
    .doing("clear readiness history")
    .map(drop)
}

/// A model's readable predictions about a program, oldest first; their band is the level.
///
/// # Errors
/// When the database fails.
pub async fn predictions(
    connection: &mut Connection,
    tenant: TenantId,
    program: ProgramId,
    model: &str,
) -> Result<Vec<PredictionRow>, DatabaseError> {
    sqlx::query_as(
        "select employee, probability, horizon_days, level as band, scored_at from readiness_history
          where tenant = $1 and program = $2 and model = $3 and probability is not null order by scored_at, employee",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(program))
    .bind(model)
    .fetch_all(connection)
    .await
    .doing("read predictions of readiness")
}
