//! `pay_change`: changes of pay that are asked for here and made elsewhere, as they stand.

use domain::{
    Date, Timestamp,
    id::{EmployeeId, TenantId},
};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct PayChangeRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub id: Uuid,
    pub connection: Uuid,
    /// [`domain::pay_change::Stage::name`].
    pub stage: String,
    pub effective_on: Date,
    pub requested_by: String,
    pub requested_at: Timestamp,
    /// The request's place in the log.
    pub requested_position: i64,
    pub decided_by: Option<String>,
    pub reference: Option<String>,
    pub cause: Option<String>,
    pub message: Option<String>,
    pub changed_at: Timestamp,
    /// The event that the request is in: its sealed values are bound to it.
    pub event_id: Uuid,
    pub schema_version: i16,
    /// Sealed JSON.
    pub data: Vec<u8>,
    pub position: i64,
}

/// One of them with what keeps it from going on.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Standing {
    #[sqlx(flatten)]
    pub row: PayChangeRow,
    /// A stable word, while something does.
    pub waiting_for: Option<String>,
}

/// # Errors
/// When the database fails.
pub async fn load(
    connection: &mut Connection,
    tenant: TenantId,
    (employee, id): (Uuid, Uuid),
) -> Result<Option<PayChangeRow>, DatabaseError> {
    sqlx::query_as("select * from pay_change where tenant = $1 and employee = $2 and id = $3")
        .bind(Uuid::from(tenant))
        .bind(employee)
        .bind(id)
        .fetch_optional(connection)
        .await
        .doing("read a change of pay")
}

/// # Errors
/// When the database fails.
pub async fn upsert(connection: &mut Connection, row: &PayChangeRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into pay_change (tenant, employee, id, connection, stage, effective_on, requested_by, requested_at, requested_position, decided_by, reference, cause, message,
                                 changed_at, event_id, schema_version, data, position)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         on conflict (tenant, employee, id) do update
            set stage = excluded.stage, decided_by = excluded.decided_by, reference = excluded.reference, cause = excluded.cause,
                message = excluded.message, changed_at = excluded.changed_at, position = excluded.position",
    )
    .bind(row.tenant)
    .bind(row.employee)
    .bind(row.id)
    .bind(row.connection)
    .bind(&row.stage)
    .bind(row.effective_on)
    .bind(&row.requested_by)
    .bind(row.requested_at)
    .bind(row.requested_position)
    .bind(&row.decided_by)
    .bind(&row.reference)
    .bind(&row.cause)
    .bind(&row.message)
    .bind(row.changed_at)
    .bind(row.event_id)
    .bind(row.schema_version)
    .bind(&row.data)
    .bind(row.position)
    .execute(connection)
    .await
    .doing("write a change of pay")
    .map(drop)
}

/// Which of a tenant's changes: at one of some stages (all, if none is named), of the people of a manager (all, if none is named), asked for
/// before a place in the log, so many at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub stages: Vec<&'static str>,
    pub team_of: Option<EmployeeId>,
    pub employee: Option<EmployeeId>,
    pub before: Option<i64>,
    pub limit: i64,
}

/// The newest first.
///
/// # Errors
/// When the database fails.
pub async fn page(connection: &mut Connection, tenant: TenantId, page: &Page) -> Result<Vec<Standing>, DatabaseError> {
    sqlx::query_as(
        "select p.*, t.last_problem as waiting_for
           from pay_change p left join pay_change_task t on (t.tenant, t.employee, t.change) = (p.tenant, p.employee, p.id)
          where p.tenant = $1 and (cardinality($2::text[]) = 0 or p.stage = any($2))
            and ($3::uuid is null or p.employee = $3)
            and ($4::uuid is null or exists (select from employee e where e.tenant = p.tenant and e.id = p.employee and e.manager = $4))
            and p.requested_position < $5
          order by p.requested_position desc limit $6",
    )
    .bind(Uuid::from(tenant))
    .bind(&page.stages)
    .bind(page.employee.map(Uuid::from))
    .bind(page.team_of.map(Uuid::from))
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(page.limit)
    .fetch_all(connection)
    .await
    .doing("list changes of pay")
}
