//! Rows for exports: everybody on a day, and every score that was news, page by page, each after the one before. People are
//! pseudonyms: no name, no contact.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Date, Timestamp, id::TenantId, policy::GROUP_SIZE_MIN};
use sqlx::types::Json;
use uuid::Uuid;

use super::query::Moment;
use crate::database::{Connection, DatabaseError, Doing};

/// A person on a day, with the score that was known then, if the person was one to score.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct PersonRow {
    pub id: Uuid,
    pub status: String,
    pub job_title: Option<String>,
    pub department: Option<String>,
    pub division: Option<String>,
    pub location: Option<String>,
    pub manager: Option<Uuid>,
    pub hired_on: Date,
    pub left_on: Option<Date>,
    pub notice_on: Option<Date>,
    pub last_day: Option<Date>,
    pub weekly_minutes: Option<i32>,
    pub objects_to_scoring: bool,
    pub probability: Option<f64>,
    pub band: Option<String>,
    pub horizon_days: Option<i16>,
    pub model: Option<String>,
    pub scored_at: Option<Timestamp>,
}

/// Up to `limit` people at a moment after the one with the id `after`.
///
/// # Errors
/// When the database fails.
pub async fn people(
    connection: &mut Connection,
    tenant: TenantId,
    at: Moment,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<PersonRow>, DatabaseError> {
    sqlx::query_as(
        "select e.id, e.status, e.job_title, e.department, e.division, e.location, e.manager, e.hired_on, e.left_on, e.notice_on, e.last_day,
                e.weekly_minutes, e.objects_to_scoring, r.probability, r.band, r.horizon_days, r.model, r.scored_at
           from employee_at($2, $3) e left join lateral risk_at(e.tenant, e.id, $2, $3) r
                -- Whoever is going, gone or objects is not scored; what was said before is in the history of scores.
                on e.status in ('ACTIVE', 'ON_LEAVE') and not e.objects_to_scoring and e.last_day is null
          where e.tenant = $1 and ($4::uuid is null or e.id > $4) order by e.id limit $5",
    )
    .bind(Uuid::from(tenant))
    .bind(at.day)
    .bind(at.known_at)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read people")
}

/// Departments, divisions, locations, job titles and managers of so few people that each of them could be told by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rare(BTreeMap<String, BTreeSet<String>>);

impl Rare {
    /// Blanks what is rare in a row.
    pub fn hide(&self, row: &mut PersonRow) {
        for (what, value) in [
            ("department", &mut row.department),
            ("division", &mut row.division),
            ("location", &mut row.location),
            ("job_title", &mut row.job_title),
        ] {
            let is_rare = |value: &String| self.0.get(what).is_some_and(|rare| rare.contains(value));
            *value = value.take().filter(|value| !is_rare(value));
        }
        let managers = self.0.get("manager");
        row.manager = row
            .manager
            .filter(|manager| !managers.is_some_and(|rare| rare.contains(&manager.to_string())));
    }
}

/// What is rare among everybody at a moment: of fewer than [`GROUP_SIZE_MIN`] people.
///
/// # Errors
/// When the database fails.
pub async fn rare(connection: &mut Connection, tenant: TenantId, at: Moment) -> Result<Rare, DatabaseError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "with e as materialized (select department, division, location, job_title, manager::text from employee_at($2, $3) where tenant = $1)
         select what, value from (
             select 'department' as what, department as value from e union all select 'division', division from e
             union all select 'location', location from e union all select 'job_title', job_title from e
             union all select 'manager', manager from e) v
          where value is not null group by what, value having count(*) < $4",
    )
    .bind(Uuid::from(tenant))
    .bind(at.day)
    .bind(at.known_at)
    .bind(GROUP_SIZE_MIN)
    .fetch_all(connection)
    .await
    .doing("look for small groups")?;
    let mut rare = Rare::default();
    for (what, value) in rows {
        rare.0.entry(what).or_default().insert(value);
    }
    Ok(rare)
}

/// A score that was news.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ScoreRow {
    pub employee: Uuid,
    /// The log position of the assessment.
    pub position: i64,
    pub scored_at: Timestamp,
    pub recorded_at: Timestamp,
    /// None: no longer readable.
    pub probability: Option<f64>,
    pub horizon_days: i16,
    pub band: String,
    pub model: String,
    pub factors: Option<Json<serde_json::Value>>,
}

/// Which scores are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// Made at this moment or later …
    pub from: Timestamp,
    /// … and before this one …
    pub to: Timestamp,
    /// … and recorded by then.
    pub known_at: Timestamp,
}

/// Up to `limit` scores after `after` (a person and a position), person by person, each in order.
///
/// # Errors
/// When the database fails.
pub async fn scores(
    connection: &mut Connection,
    tenant: TenantId,
    wanted: Scored,
    after: Option<(Uuid, i64)>,
    limit: i64,
) -> Result<Vec<ScoreRow>, DatabaseError> {
    let (employee, position) = after.unzip();
    sqlx::query_as(
        "select employee, position, scored_at, recorded_at, probability, horizon_days, band, model, factors
           from risk_history
          where tenant = $1 and scored_at >= $2 and scored_at < $3 and recorded_at <= $4
            and ($5::uuid is null or (employee, position) > ($5, $6))
          order by employee, position limit $7",
    )
    .bind(Uuid::from(tenant))
    .bind(wanted.from)
    .bind(wanted.to)
    .bind(wanted.known_at)
    .bind(employee)
    .bind(position)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read scores")
}
