//! Rows that were made again in copies of their tables ([`crate::database::Database::transact_in_shadow`]), held against the live ones.

use domain::id::TenantId;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// The tables that the projection of read models writes, each with what names a row without telling anything personal, and the
/// columns, if any, that say whom it is about.
pub const TABLES: [(&str, &str, Option<&str>); 10] = [
    ("employee", "id::text", Some("id")),
    (
        "employee_version",
        "employee || ' from ' || effective_from || ', recorded ' || recorded_from",
        Some("employee"),
    ),
    ("department_stats", "department", None),
    ("team_stats", "manager::text", None),
    ("timeline_entry", "employee || ' at ' || position", Some("employee")),
    ("risk_history", "employee || ' at ' || position", Some("employee")),
    ("readiness_history", "employee || ' at ' || position", Some("employee")),
    ("program", "id::text", Some("id")),
    ("tenant_settings", "tenant::text", None),
    ("connection", "id::text", Some("id")),
];

/// A row that is not as it was made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub table: &'static str,
    /// Which row; nothing personal.
    pub row: String,
    /// Whether it is the live table that has such a row.
    pub is_live: bool,
}

/// How many rows a tenant has in a live table, and the first that differs. What is about `excepted` is not compared.
///
/// # Errors
/// When the database fails.
pub async fn compare(
    connection: &mut Connection,
    tenant: TenantId,
    (table, name, about): (&'static str, &str, Option<&str>),
    excepted: &[Uuid],
) -> Result<(i64, Option<Difference>), DatabaseError> {
    let about = about.map_or_else(|| "true".to_owned(), |column| format!("{column} <> all ($2)"));
    // All of it is ours: names of tables and columns.
    let rows = |schema: &str| {
        format!("select t::text as whole, {name} as name from {schema}.{table} t where tenant = $1 and {about}")
    };
    let (live, again) = (rows("public"), rows("pg_temp"));
    let statement = format!(
        "with live as materialized ({live}), again as materialized ({again}),
              odd as ((select name, true as is_live from (select * from live except all select * from again) l)
                      union all (select name, false from (select * from again except all select * from live) a))
         select (select count(*) from live), (select name from odd order by name, is_live limit 1),
                (select is_live from odd order by name, is_live limit 1), $2::uuid[] is null"
    );
    let (count, row, is_live, _): (i64, Option<String>, Option<bool>, bool) = sqlx::query_as(AssertSqlSafe(statement))
        .bind(Uuid::from(tenant))
        .bind(excepted)
        .fetch_one(connection)
        .await
        .doing("compare rows with those made again")?;
    let difference = row
        .zip(is_live)
        .map(|(row, is_live)| Difference { table, row, is_live });
    Ok((count, difference))
}

/// Some of a tenant's current scores, spread evenly over the people: at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn sample_of_scores(
    connection: &mut Connection,
    tenant: TenantId,
    limit: i64,
) -> Result<Vec<super::risk::RiskRow>, DatabaseError> {
    sqlx::query_as(
        "select tenant, employee, probability, horizon_days, band, factors, model, scored_at, position, vector
           from (select *, row_number() over (order by employee) as n, count(*) over () as total from risk where tenant = $1) r
          where n % greatest(1, total / $2) = 0 order by employee limit $2",
    )
    .bind(Uuid::from(tenant))
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("take a sample of scores")
}
