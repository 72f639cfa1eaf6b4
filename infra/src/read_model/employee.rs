//! `employee`: everyone, as believed of today.

use domain::{Date, id::TenantId};
use uuid::Uuid;

use super::keys;
use crate::database::{Connection, DatabaseError, Doing};

/// Where someone stands today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Hired for a later day.
    Prehire,
    Active,
    OnLeave,
    OnNotice,
    Left,
    /// The source deleted the record.
    Deleted,
    Erased,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Prehire,
        Self::Active,
        Self::OnLeave,
        Self::OnNotice,
        Self::Left,
        Self::Deleted,
        Self::Erased,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prehire => "PREHIRE",
            Self::Active => "ACTIVE",
            Self::OnLeave => "ON_LEAVE",
            Self::OnNotice => "ON_NOTICE",
            Self::Left => "LEFT",
            Self::Deleted => "DELETED",
            Self::Erased => "ERASED",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the person counts as head.
    #[must_use]
    pub const fn is_employed(self) -> bool {
        match self {
            Self::Active | Self::OnLeave | Self::OnNotice => true,
            Self::Prehire | Self::Left | Self::Deleted | Self::Erased => false,
        }
    }
}

#[derive(Clone, PartialEq, sqlx::FromRow)]
pub struct EmployeeRow {
    pub tenant: Uuid,
    pub id: Uuid,
    pub connection: Option<Uuid>,
    pub remote_id: Option<String>,
    /// Personal.
    pub display_name: Option<String>,
    /// Personal.
    pub work_email: Option<String>,
    /// Personal.
    pub work_phone: Option<String>,
    /// Personal.
    pub mobile_phone: Option<String>,
    pub job_title: Option<String>,
    pub department: Option<String>,
    pub division: Option<String>,
    pub location: Option<String>,
    pub manager: Option<Uuid>,
    pub status: String,
    pub hired_on: Date,
    pub left_on: Option<Date>,
    /// Notice given and not withdrawn.
    pub notice_on: Option<Date>,
    pub last_day: Option<Date>,
    pub weekly_minutes: Option<i32>,
    pub objects_to_scoring: bool,
    pub next_change_on: Option<Date>,
    pub position: i64,
}

impl std::fmt::Debug for EmployeeRow {
    /// Without the personal columns: rows end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmployeeRow")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// # Errors
/// When the database fails.
pub async fn load(
    connection: &mut Connection,
    employees: &[(TenantId, Uuid)],
) -> Result<Vec<EmployeeRow>, DatabaseError> {
    let (tenants, ids) = keys(employees);
    sqlx::query_as("select e.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, id) cross join lateral (select * from employee where (tenant, id) = (u.tenant, u.id) offset 0) e")
        .bind(tenants)
        .bind(ids)
        .fetch_all(connection)
        .await
        .doing("load employees")
}

/// Those of the transaction's tenants of whom something becomes true by itself by `today`.
///
/// # Errors
/// When the database fails.
pub async fn due(connection: &mut Connection, today: Date, limit: i64) -> Result<Vec<EmployeeRow>, DatabaseError> {
    sqlx::query_as("select * from employee where next_change_on <= $1 order by tenant, id limit $2 for update")
        .bind(today)
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("find employees whose day has come")
}

/// The live row of one employee, also where another table of employees shadows it.
///
/// # Errors
/// When the database fails.
pub async fn load_live(
    connection: &mut Connection,
    tenant: TenantId,
    employee: Uuid,
) -> Result<Option<EmployeeRow>, DatabaseError> {
    sqlx::query_as("select * from public.employee where tenant = $1 and id = $2")
        .bind(Uuid::from(tenant))
        .bind(employee)
        .fetch_optional(connection)
        .await
        .doing("load a live employee")
}

/// Writes rows as they are now.
///
/// # Errors
/// When the database fails.
pub async fn upsert(connection: &mut Connection, rows: &[EmployeeRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into employee (tenant, id, connection, remote_id, display_name, work_email, work_phone, mobile_phone, job_title, department,
                               division, location, manager, status, hired_on, left_on, notice_on, last_day, weekly_minutes, objects_to_scoring, next_change_on, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                              $11::text[], $12::text[], $13::uuid[], $14::text[], $15::date[], $16::date[], $17::date[], $18::date[], $19::integer[], $20::boolean[], $21::date[], $22::bigint[])
         on conflict (tenant, id) do update set
            connection = excluded.connection, remote_id = excluded.remote_id, display_name = excluded.display_name, work_email = excluded.work_email,
            work_phone = excluded.work_phone, mobile_phone = excluded.mobile_phone, job_title = excluded.job_title, department = excluded.department,
            division = excluded.division, location = excluded.location, manager = excluded.manager, status = excluded.status,
            hired_on = excluded.hired_on, left_on = excluded.left_on, notice_on = excluded.notice_on, last_day = excluded.last_day, weekly_minutes = excluded.weekly_minutes,
            objects_to_scoring = excluded.objects_to_scoring, next_change_on = excluded.next_change_on, position = excluded.position",
    )
    .bind(rows.iter().map(|r| r.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.connection).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.remote_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.display_name.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.work_email.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.work_phone.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.mobile_phone.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.job_title.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.department.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.division.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.location.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.manager).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.status.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.hired_on).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.left_on).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.notice_on).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.last_day).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.weekly_minutes).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.objects_to_scoring).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.next_change_on).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.position).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("write employees")
    .map(drop)
}

/// How many of a tenant's people have a work address, without regard to case; not those whose record is gone.
///
/// # Errors
/// When the database fails.
pub async fn with_address(
    connection: &mut Connection,
    tenant: TenantId,
    work_email: &str,
) -> Result<i64, DatabaseError> {
    sqlx::query_scalar(
        "select count(*) from employee where tenant = $1 and lower(work_email) = lower($2) and status not in ('DELETED', 'ERASED')",
    )
    .bind(Uuid::from(tenant))
    .bind(work_email.trim())
    .fetch_one(connection)
    .await
    .doing("count who has an address")
}
