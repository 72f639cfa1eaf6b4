//! Rows that were made again in copies of their tables ([`crate::database::Database::transact_in_shadow`]), held against the live ones.

use domain::id::TenantId;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// The tables that the projection of read models writes, each with what names a row without telling anything personal, and the
/// columns, if any, that say whom it is about.
pub const TABLES: [(&str, &str, Option<&str>); 11] = [
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
    ("pay_change", "employee || ' ' || id", Some("employee")),
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

/// Counts of nobody are not compared: a row of them is left where somebody was counted for a moment, which depends on the batches.
fn counted(table: &str) -> &'static str {
    if table.ends_with("_stats") {
        " and (headcount, on_leave, on_notice, departed) <> (0, 0, 0, 0)"
    } else {
        ""
    }
}

/// Replaces the rows of a live table by those that were made again: a tenant's, or one employee's. What is about `waiting` stays.
/// Tells how many rows were put.
///
/// # Errors
/// When the database fails.
pub async fn put_in_place(
    connection: &mut Connection,
    tenant: TenantId,
    table: &'static str,
    (employee, waiting): (Option<Uuid>, &[Uuid]),
) -> Result<u64, DatabaseError> {
    let about = TABLES
        .iter()
        .find(|(name, ..)| *name == table)
        .and_then(|(.., about)| *about);
    let which = about.map_or_else(
        || "true".to_owned(),
        |column| format!("({column} = $2 or $2::uuid is null) and {column} <> all ($3::uuid[])"),
    );
    // Both parameters are named also where they say nothing: a statement has to know their types.
    let rows = format!("where tenant = $1 and {which} and ($2::uuid is null or $3::uuid[] is not null)");
    let removed = format!("delete from public.{table} {rows}");
    let added = format!("insert into public.{table} select * from pg_temp.{table} {rows}");
    let mut put = 0;
    for statement in [removed, added] {
        put = sqlx::query(AssertSqlSafe(statement))
            .bind(Uuid::from(tenant))
            .bind(employee)
            .bind(waiting)
            .execute(&mut *connection)
            .await
            .doing("put rows in place")?
            .rows_affected();
    }
    Ok(put)
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
        format!(
            "select t::text as whole, {name} as name from {schema}.{table} t where tenant = $1 and {about}{}",
            counted(table)
        )
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

/// What computes the hash of a row of a table, but for the columns `skipped`: five times as quick as the hash of its text. JSON, which
/// has none of its own, is compared as it is written.
pub(crate) async fn row_hash(
    connection: &mut Connection,
    table: &'static str,
    skipped: &[&str],
) -> Result<String, DatabaseError> {
    sqlx::query_scalar(
        "select format('hash_record_extended(row(%s), 0)',
                       string_agg(quote_ident(attname) || case when atttypid = 'json'::regtype then '::text' else '' end, ', ' order by attnum))
           from pg_attribute where attrelid = ('public.' || $1)::regclass and attnum > 0 and not attisdropped and attname <> all ($2)",
    )
    .bind(table)
    .bind(skipped)
    .fetch_one(connection)
    .await
    .doing("describe a table's rows")
}

/// Two sets of rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub live: i64,
    pub again: i64,
    /// Some of the rows that only one of them has; nothing when both are the same.
    pub differing: Vec<Difference>,
}

/// Holds a table of one schema (the live one) against its namesake in another: numbers and checksums of rows, and where these
/// differ, up to `shown` rows of each that the other has not.
///
/// # Errors
/// When the database fails.
pub async fn compare_schemas(
    connection: &mut Connection,
    (table, name): (&'static str, &str),
    (live, again): (&str, &str),
    shown: i64,
) -> Result<Comparison, DatabaseError> {
    // All of it is ours: names of schemas, tables and columns.
    let counted = counted(table);
    let hash = row_hash(connection, table, &[]).await?;
    let sum = |schema: &str| {
        format!("select count(*) as rows, sum({hash}::numeric) as sum from {schema}.{table} t where true{counted}")
    };
    let statement = format!(
        "select l.rows, a.rows, l.sum is not distinct from a.sum from ({}) l, ({}) a",
        sum(live),
        sum(again)
    );
    let (live_rows, again_rows, is_same): (i64, i64, bool) = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_one(&mut *connection)
        .await
        .doing("compare the checksums of a table")?;
    let mut comparison = Comparison {
        live: live_rows,
        again: again_rows,
        differing: Vec::new(),
    };
    if is_same && live_rows == again_rows {
        return Ok(comparison);
    }
    for (one, other, is_live) in [(live, again, true), (again, live, false)] {
        let statement = format!(
            "select {name} from {one}.{table} t where t::text in
                    (select t::text from {one}.{table} t where true{counted} except all select t::text from {other}.{table} t where true{counted})
              order by 1 limit $1"
        );
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(shown)
            .fetch_all(&mut *connection)
            .await
            .doing("look for rows that differ")?;
        let differing = rows.into_iter().map(|row| Difference { table, row, is_live });
        comparison.differing.extend(differing);
    }
    Ok(comparison)
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
