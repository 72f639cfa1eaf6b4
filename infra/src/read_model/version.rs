//! `employee_version`: what was true of everyone on any day, as believed at any time.

use domain::{Date, Timestamp, id::TenantId};
use uuid::Uuid;

use super::{STILL_BELIEVED, keys};
use crate::database::{Connection, DatabaseError, Doing};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct VersionRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub effective_from: Date,
    /// Exclusive.
    pub effective_to: Date,
    pub recorded_from: Timestamp,
    /// Exclusive.
    pub recorded_to: Timestamp,
    /// Which attributes a fact set on `effective_from`.
    pub asserted: i32,
    pub standing: String,
    pub job_title: Option<String>,
    pub department: Option<String>,
    pub division: Option<String>,
    pub location: Option<String>,
    pub manager: Option<Uuid>,
    pub weekly_minutes: Option<i32>,
    /// Notice given and not withdrawn, and the last day that it names.
    pub notice_on: Option<Date>,
    pub last_day: Option<Date>,
    /// Of the leaving that the notice or the end is about: a [`domain::employee::Voluntariness`]'s name.
    pub voluntariness: Option<String>,
    pub objects_to_scoring: bool,
    pub position: i64,
}

/// The versions that are believed now, by employee and effective date.
///
/// # Errors
/// When the database fails.
pub async fn load_believed(
    connection: &mut Connection,
    employees: &[(TenantId, Uuid)],
) -> Result<Vec<VersionRow>, DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query_as(
        "select v.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          cross join lateral (select * from employee_version
            where (tenant, employee) = (u.tenant, u.employee) and recorded_to = '9999-12-31T00:00:00Z' offset 0) v order by v.tenant, v.employee, v.effective_from",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("load employees' versions")
}

/// Ends the belief in `closed` (whose `recorded_to` says when) and adds `added`. A version that was believed for no time at
/// all is removed: nobody can have seen it.
///
/// # Errors
/// When the database fails.
pub async fn replace(
    connection: &mut Connection,
    closed: &[VersionRow],
    added: &[VersionRow],
) -> Result<(), DatabaseError> {
    let (never, ended): (Vec<&VersionRow>, Vec<&VersionRow>) =
        closed.iter().partition(|row| row.recorded_from >= row.recorded_to);
    if !never.is_empty() {
        let gone = sqlx::query(
            "delete from employee_version v using unnest($1::uuid[], $2::uuid[], $3::date[], $4::timestamptz[]) as k(tenant, employee, effective_from, recorded_from)
                    cross join lateral (select ctid as row, effective_from, recorded_from from employee_version
                      where (tenant, employee) = (k.tenant, k.employee) and recorded_to = '9999-12-31T00:00:00Z' offset 0) b
              where (b.effective_from, b.recorded_from) = (k.effective_from, k.recorded_from) and v.ctid = b.row",
        )
        .bind(never.iter().map(|r| r.tenant).collect::<Vec<_>>())
        .bind(never.iter().map(|r| r.employee).collect::<Vec<_>>())
        .bind(never.iter().map(|r| r.effective_from).collect::<Vec<_>>())
        .bind(never.iter().map(|r| r.recorded_from).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .doing("remove versions that nobody saw")?;
        all_of(never.len(), gone.rows_affected())?;
    }
    if !ended.is_empty() {
        let closed = sqlx::query(
            "update employee_version v set recorded_to = k.recorded_to
               from unnest($1::uuid[], $2::uuid[], $3::date[], $4::timestamptz[], $5::timestamptz[]) as k(tenant, employee, effective_from, recorded_from, recorded_to)
                    cross join lateral (select ctid as row, effective_from, recorded_from from employee_version
                      where (tenant, employee) = (k.tenant, k.employee) and recorded_to = '9999-12-31T00:00:00Z' offset 0) b
              where (b.effective_from, b.recorded_from) = (k.effective_from, k.recorded_from) and v.ctid = b.row",
        )
        .bind(ended.iter().map(|r| r.tenant).collect::<Vec<_>>())
        .bind(ended.iter().map(|r| r.employee).collect::<Vec<_>>())
        .bind(ended.iter().map(|r| r.effective_from).collect::<Vec<_>>())
        .bind(ended.iter().map(|r| r.recorded_from).collect::<Vec<_>>())
        .bind(ended.iter().map(|r| r.recorded_to).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .doing("end versions")?;
        all_of(ended.len(), closed.rows_affected())?;
    }
    if added.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into employee_version (tenant, employee, effective_from, effective_to, recorded_from, recorded_to, asserted, standing, job_title,
                                       department, division, location, manager, weekly_minutes, notice_on, last_day, voluntariness, objects_to_scoring, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::date[], $4::date[], $5::timestamptz[], $6::timestamptz[], $7::integer[], $8::text[], $9::text[],
                              $10::text[], $11::text[], $12::text[], $13::uuid[], $14::integer[], $15::date[], $16::date[], $17::text[], $18::boolean[], $19::bigint[])",
    )
    .bind(added.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.employee).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.effective_from).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.effective_to).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.recorded_from).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.recorded_to).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.asserted).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.standing.as_str()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.job_title.as_deref()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.department.as_deref()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.division.as_deref()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.location.as_deref()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.manager).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.weekly_minutes).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.notice_on).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.last_day).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.voluntariness.as_deref()).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.objects_to_scoring).collect::<Vec<_>>())
    .bind(added.iter().map(|r| r.position).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("add versions")
    .map(drop)
}

/// What was loaded to be replaced is still there: if not, somebody else projects the same partition.
fn all_of(meant: usize, found: u64) -> Result<(), DatabaseError> {
    if found == meant as u64 {
        Ok(())
    } else {
        Err(DatabaseError::Contended("an employee's versions"))
    }
}

impl VersionRow {
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.recorded_to == STILL_BELIEVED
    }
}
