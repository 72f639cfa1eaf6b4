//! What is to be done next about changes of pay that are made in another system.
//!
//! Rows are written with the events that they follow from, in one transaction; a task is taken for a while ([`LEASE`]) by moving its time on.
//! Every step may be done twice: whoever takes one looks first what the other system has.

use std::time::Duration;

use domain::id::{ConnectionId, EmployeeId, PayChangeId, TenantId};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// After this long a task that is under way is taken up by whoever looks.
pub const LEASE: Duration = Duration::from_secs(60);

/// What an event means for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is one, and it waits for people.
    Planned(ConnectionId),
    Due,
    /// Nothing is to be done any more.
    Over,
}

/// Which change of whose pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Of {
    pub tenant: TenantId,
    pub employee: EmployeeId,
    pub change: PayChangeId,
}

/// A task that this process works on.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub of: Of,
    pub connection: ConnectionId,
    /// How often it was taken since the last event, this time included.
    pub attempts: i32,
    /// How long ago a request was sent of which nobody knows what became, in seconds.
    pub sent_seconds_ago: Option<f64>,
    generation: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant: Uuid,
    employee: Uuid,
    change: Uuid,
    connection: Uuid,
    attempts: i32,
    generation: i64,
    sent_seconds_ago: Option<f64>,
}

/// Says what is next, when an event has happened.
///
/// # Errors
/// When the database fails.
pub async fn follow(connection: &mut Connection, of: Of, next: Next) -> Result<(), DatabaseError> {
    let statement = match next {
        Next::Planned(_) => {
            "insert into pay_change_task (tenant, employee, change, connection, due_at) values ($1, $2, $3, $4, 'infinity') on conflict do nothing"
        }
        Next::Due => {
            "update pay_change_task set due_at = now(), attempts = 0, last_problem = null, sent_at = null, generation = nextval('completion_generation')
              where tenant = $1 and employee = $2 and change = $3"
        }
        Next::Over => "delete from pay_change_task where tenant = $1 and employee = $2 and change = $3",
    };
    let mut query = sqlx::query(statement)
        .bind(Uuid::from(of.tenant))
        .bind(Uuid::from(of.employee))
        .bind(Uuid::from(of.change));
    if let Next::Planned(at) = next {
        query = query.bind(Uuid::from(at));
    }
    query.execute(connection).await.doing("plan a change of pay").map(drop)
}

/// What waits for a connection is due now, as it was connected anew; not what somebody is at.
///
/// # Errors
/// When the database fails.
pub async fn hasten(connection: &mut Connection, (tenant, of): (TenantId, ConnectionId)) -> Result<(), DatabaseError> {
    sqlx::query(
        "update pay_change_task set due_at = now()
          where tenant = $1 and connection = $2 and last_problem is not null and due_at > now() + make_interval(secs => $3)",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(LEASE.as_secs_f64())
    .execute(connection)
    .await
    .doing("go on with changes of pay")
    .map(drop)
}

/// Nothing is to be done about somebody's pay any more.
///
/// # Errors
/// When the database fails.
pub async fn forget(connection: &mut Connection, (tenant, employee): (TenantId, Uuid)) -> Result<(), DatabaseError> {
    sqlx::query("delete from pay_change_task where tenant = $1 and employee = $2")
        .bind(Uuid::from(tenant))
        .bind(employee)
        .execute(connection)
        .await
        .doing("forget changes of somebody's pay")
        .map(drop)
}

/// Claims up to `limit` tasks that are due, for [`LEASE`]; none of the connections in `closed`.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    connection: &mut Connection,
    limit: i64,
    closed: &[ConnectionId],
) -> Result<Vec<Claimed>, DatabaseError> {
    let rows: Vec<Row> = sqlx::query_as(
        // Materialised: as a part of the join it could run again, and claim more than was asked for.
        "with due as materialized
                (select tenant, employee, change from pay_change_task where due_at <= now() and connection <> all($3)
                  order by due_at limit $1 for update skip locked)
         update pay_change_task t set due_at = now() + make_interval(secs => $2), attempts = t.attempts + 1
           from due
          where (t.tenant, t.employee, t.change) = (due.tenant, due.employee, due.change)
         returning t.tenant, t.employee, t.change, t.connection, t.attempts, t.generation,
                   extract(epoch from now() - t.sent_at)::float8 as sent_seconds_ago",
    )
    .bind(limit)
    .bind(LEASE.as_secs_f64())
    .bind(closed.iter().map(|id| Uuid::from(*id)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .doing("claim changes of pay")?;
    let claimed = rows.into_iter().map(|row| Claimed {
        of: Of {
            tenant: TenantId::from_uuid(row.tenant),
            employee: EmployeeId::from_uuid(row.employee),
            change: PayChangeId::from_uuid(row.change),
        },
        connection: ConnectionId::from_uuid(row.connection),
        attempts: row.attempts,
        sent_seconds_ago: row.sent_seconds_ago,
        generation: row.generation,
    });
    Ok(claimed.collect())
}

/// Notes that a request is about to be sent, or that what was noted has come to nothing. Answers whether the task is still the same: if
/// not, nothing is to be sent.
///
/// # Errors
/// When the database fails.
pub async fn note_sent(connection: &mut Connection, claimed: &Claimed, is_sent: bool) -> Result<bool, DatabaseError> {
    let noted = sqlx::query(
        "update pay_change_task set sent_at = case when $5 then now() end
          where tenant = $1 and employee = $2 and change = $3 and generation = $4",
    )
    .bind(Uuid::from(claimed.of.tenant))
    .bind(Uuid::from(claimed.of.employee))
    .bind(Uuid::from(claimed.of.change))
    .bind(claimed.generation)
    .bind(is_sent)
    .execute(connection)
    .await
    .doing("note that a change of pay is sent")?;
    Ok(noted.rows_affected() > 0)
}

/// It is due again after `delay`, unless something has happened since it was claimed.
///
/// # Errors
/// When the database fails.
pub async fn postpone(
    connection: &mut Connection,
    claimed: &Claimed,
    delay: Duration,
    problem: Option<&str>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update pay_change_task set due_at = now() + make_interval(secs => $5), last_problem = $6
          where tenant = $1 and employee = $2 and change = $3 and generation = $4",
    )
    .bind(Uuid::from(claimed.of.tenant))
    .bind(Uuid::from(claimed.of.employee))
    .bind(Uuid::from(claimed.of.change))
    .bind(claimed.generation)
    .bind(delay.as_secs_f64())
    .bind(problem)
    .execute(connection)
    .await
    .doing("postpone a change of pay")
    .map(drop)
}
