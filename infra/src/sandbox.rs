//! Sandboxes: read models as they would have come out, each in a schema of its own, beside those that people see.
//!
//! A sandbox is made in one transaction, or not at all. What fills it runs with a role that can read history and the live tables, and
//! can write nothing but the sandbox's own: the database refuses the rest.

use domain::{Date, Timestamp, id::TenantId};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, types::Json};
use uuid::Uuid;

use crate::{
    clock,
    copies::{self, Part},
    database::{Access, Connection, DatabaseError, Doing, WHAT_IF_ROLE, begin_statement, owner_pool},
    read_model::shadow::{TABLES, row_hash},
};

/// The most sandboxes of a tenant.
pub const SANDBOXES_MAX: i64 = 10;
/// The most events that a sandbox is made of, unless it is asked for more.
pub const SANDBOX_EVENTS_MAX: usize = 2_000_000;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 40;

/// The tables of a sandbox: what the projection of read models writes, and current scores.
fn tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(table, ..)| *table).chain(["risk", "readiness"])
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("there is a sandbox {0} already: drop it first (`tenure what-if drop {0}`), or take another name")]
    Taken(String),
    #[error(
        "there are {SANDBOXES_MAX} sandboxes already, and no more are kept: drop one first (`tenure what-if list`, `tenure what-if drop NAME`)"
    )]
    TooMany,
    #[error("there is no sandbox {0}: `tenure what-if list` says which there are")]
    Unknown(String),
    #[error(
        "a sandbox's name is made of small letters, digits and hyphens, {NAME_CHARS_MAX} at most, and begins with a letter"
    )]
    BadName,
}

/// What a sandbox is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// # Errors
    /// When it is no name.
    pub fn new(text: &str) -> Result<Self, SandboxError> {
        let is_word = text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        if is_word && begins_well && text.len() <= NAME_CHARS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(SandboxError::BadName)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its schema: no name of another tenant's sandbox makes the same one. Letters, digits and underscores only.
    #[must_use]
    pub fn schema(&self, tenant: TenantId) -> String {
        let id = Uuid::new_v5(&tenant.uuid(), self.0.as_bytes()).simple().to_string();
        format!("what_if_{id}")
    }
}

/// A sandbox that is there.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Sandbox {
    pub tenant: Uuid,
    pub name: String,
    pub title: String,
    /// SHA-256 of the script, hexadecimal.
    pub script: String,
    pub created_at: Timestamp,
    /// The last event of the log that it was made from.
    pub position: i64,
    pub events: i64,
    /// What differs from what happened.
    pub difference: Json<Value>,
    /// On disk.
    pub bytes: i64,
}

/// What is noted of a sandbox when it is full.
#[derive(Debug, Clone)]
pub struct Made {
    pub title: String,
    pub script: String,
    pub position: i64,
    pub events: i64,
    pub difference: Value,
}

/// Makes, lists and removes sandboxes, on connections of the database's owner. Cheap to clone.
#[derive(Clone)]
pub struct Sandboxes {
    owner: PgPool,
}

impl Sandboxes {
    /// # Errors
    /// When the database cannot be reached.
    pub async fn open(owner_url: &SecretString) -> Result<Self, SandboxError> {
        Ok(Self {
            owner: owner_pool(owner_url).await?,
        })
    }

    /// Makes a sandbox of empty tables and lets `work` fill it, in a transaction that sees everything else as it was when it began.
    /// Within it the tables' names mean the sandbox's own; the live ones are `public.…`, to be read only. Whatever goes wrong, and
    /// a process that is killed, leave nothing behind.
    ///
    /// # Errors
    /// When the name is taken, there are too many, or what `work` says.
    pub async fn fill<E, W>(&self, tenant: TenantId, name: &Name, work: W) -> Result<Made, E>
    where
        E: From<SandboxError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<Made, E>> + Send + 'static,
    {
        let (owner, name) = (self.owner.clone(), name.clone());
        let task = tokio::spawn(async move {
            let mut connection = owner
                .acquire()
                .await
                .doing("connect as the owner")
                .map_err(SandboxError::from)?;
            connection.close_on_drop();
            begin(&mut connection, tenant, &name).await?;
            let made = work(&mut connection).await?;
            finish(&owner, &mut connection, (tenant, &name), &made).await?;
            Ok(made)
        });
        task.await.map_err(|_| SandboxError::from(DatabaseError::CutOff))?
    }

    /// A tenant's sandboxes, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, tenant: TenantId) -> Result<Vec<Sandbox>, SandboxError> {
        Ok(sqlx::query_as(
            "select s.*, coalesce((select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                                    where n.nspname = s.schema_name and c.relkind = 'r'), 0)::bigint as bytes
               from sandbox s
              where s.tenant = $1 order by created_at desc, name",
        )
        .bind(Uuid::from(tenant))
        .fetch_all(&mut *self.of(tenant).await?)
        .await
        .doing("list sandboxes")?)
    }

    /// One of them.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn get(&self, tenant: TenantId, name: &Name) -> Result<Sandbox, SandboxError> {
        let all = self.list(tenant).await?;
        let found = all.into_iter().find(|sandbox| sandbox.name == name.0);
        found.ok_or_else(|| SandboxError::Unknown(name.0.clone()))
    }

    /// Removes one, with everything in it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn drop(&self, tenant: TenantId, name: &Name) -> Result<(), SandboxError> {
        self.get(tenant, name).await?;
        let schema = name.schema(tenant);
        let mut connection = self.of(tenant).await?;
        let statement = format!(
            "begin; {}; drop schema if exists {schema} cascade; delete from sandbox where schema_name = '{schema}'; commit",
            for_tenant(tenant)
        );
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await
            .doing("remove a sandbox")?;
        Ok(())
    }

    /// A connection that works for one tenant: also the owner sees only what it names.
    async fn of(&self, tenant: TenantId) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, SandboxError> {
        let mut connection = self.owner.acquire().await.doing("connect as the owner")?;
        connection.close_on_drop();
        sqlx::raw_sql(AssertSqlSafe(for_tenant(tenant).replace("local ", "")))
            .execute(&mut *connection)
            .await
            .doing("name a tenant")?;
        Ok(connection)
    }
}

fn for_tenant(tenant: TenantId) -> String {
    format!("set local app.tenants = '{{{tenant}}}'")
}

async fn begin(connection: &mut Connection, tenant: TenantId, name: &Name) -> Result<(), SandboxError> {
    let begin = begin_statement(Access::Write, &[tenant]).replacen("begin", "begin isolation level repeatable read", 1);
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut *connection)
        .await
        .doing("begin a sandbox")?;
    let (count, is_taken): (i64, bool) =
        sqlx::query_as("select count(*), coalesce(bool_or(name = $2), false) from sandbox where tenant = $1")
            .bind(Uuid::from(tenant))
            .bind(&name.0)
            .fetch_one(&mut *connection)
            .await
            .doing("count sandboxes")?;
    if is_taken {
        return Err(SandboxError::Taken(name.0.clone()));
    }
    if count >= SANDBOXES_MAX {
        return Err(SandboxError::TooMany);
    }
    let schema = name.schema(tenant);
    // What is there without a row in the list is nobody's.
    let mut statements = vec![
        format!("drop schema if exists {schema} cascade"),
        format!("create schema {schema}"),
        format!("grant usage on schema {schema} to {WHAT_IF_ROLE}"),
    ];
    for table in tables() {
        statements.extend(copies::like(&mut *connection, &schema, table, Part::Table).await?);
        statements.push(format!(
            "grant select, insert, update, delete on {schema}.{table} to {WHAT_IF_ROLE}"
        ));
    }
    statements.push(format!("set local search_path = {schema}, public"));
    statements.push(format!("set local role {WHAT_IF_ROLE}"));
    sqlx::raw_sql(AssertSqlSafe(statements.join(";\n")))
        .execute(connection)
        .await
        .doing("make a sandbox's tables")?;
    Ok(())
}

/// Takes out who was erased meanwhile, notes the sandbox, and makes it last.
async fn finish(
    owner: &PgPool,
    connection: &mut Connection,
    (tenant, name): (TenantId, &Name),
    made: &Made,
) -> Result<(), SandboxError> {
    // Erasures that come from here on wait, and then find the sandbox; those before are seen with other eyes than this
    // transaction's, which sees what was when it began.
    sqlx::raw_sql("reset role; select pg_advisory_xact_lock(7469)")
        .execute(&mut *connection)
        .await
        .doing("look for erasures")?;
    let mut other = owner.acquire().await.doing("connect as the owner")?;
    other.close_on_drop();
    sqlx::raw_sql(AssertSqlSafe(format!("begin; {}", for_tenant(tenant))))
        .execute(&mut *other)
        .await
        .doing("look for erasures")?;
    let erased: Vec<Uuid> =
        sqlx::query_scalar("select id from public.employee where tenant = $1 and status = 'ERASED'")
            .bind(Uuid::from(tenant))
            .fetch_all(&mut *other)
            .await
            .doing("look for erasures")?;
    let schema = name.schema(tenant);
    for table in tables() {
        let column = match table {
            "employee" => "id",
            "employee_version" | "timeline_entry" | "risk" | "risk_history" | "readiness" | "readiness_history"
            | "pay_change" => "employee",
            _ => continue,
        };
        // Whoever was erased before has nothing left to take out but the bare row.
        let statement = format!(
            "delete from {schema}.{table} t where {column} = any ($1)
                and not exists (select from public.employee e where e.tenant = $2 and e.id = t.{column} and e.status = 'ERASED')"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(&erased)
            .bind(Uuid::from(tenant))
            .execute(&mut *connection)
            .await
            .doing("take out who was erased")?;
    }
    sqlx::query(
        "insert into public.sandbox (tenant, name, schema_name, title, script, created_at, position, events, difference)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(Uuid::from(tenant))
    .bind(&name.0)
    .bind(schema)
    .bind(&made.title)
    .bind(&made.script)
    .bind(clock::now())
    .bind(made.position)
    .bind(made.events)
    .bind(Json(&made.difference))
    .execute(&mut *connection)
    .await
    .doing("note a sandbox")?;
    sqlx::raw_sql("commit")
        .execute(connection)
        .await
        .doing("finish a sandbox")?;
    Ok(())
}

/// Removes people who are erased from their tenant's sandboxes.
///
/// # Errors
/// When the database fails.
pub async fn forget(connection: &mut Connection, erased: &[(TenantId, Uuid)]) -> Result<(), DatabaseError> {
    let mut of: std::collections::BTreeMap<TenantId, Vec<Uuid>> = std::collections::BTreeMap::new();
    for (tenant, employee) in erased {
        of.entry(*tenant).or_default().push(*employee);
    }
    for (tenant, employees) in of {
        sqlx::query("select tenure_forget_in_sandboxes($1, $2)")
            .bind(Uuid::from(tenant))
            .bind(employees)
            .execute(&mut *connection)
            .await
            .doing("take people out of sandboxes")?;
    }
    Ok(())
}

/// Which of two histories is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// What happened: the live tables.
    Happened,
    /// The sandbox.
    WhatIf,
}

/// Lets the names of tables mean those of one world, within [`Sandboxes::fill`].
///
/// # Errors
/// When the database fails.
pub async fn look_at(
    connection: &mut Connection,
    world: World,
    (tenant, name): (TenantId, &Name),
) -> Result<(), DatabaseError> {
    let path = match world {
        World::Happened => "public".to_owned(),
        World::WhatIf => format!("{},public", name.schema(tenant)),
    };
    sqlx::query("select set_config('search_path', $1, true)")
        .bind(path)
        .execute(connection)
        .await
        .doing("look at another world")
        .map(drop)
}

/// Makes a sandbox whose rows are all written ready to be read: with indexes, and a planner that knows how many rows there are and
/// chooses by it. Until then rows are found by their keys.
///
/// # Errors
/// When the database fails.
pub async fn filled(connection: &mut Connection, (tenant, name): (TenantId, &Name)) -> Result<(), DatabaseError> {
    let schema = name.schema(tenant);
    let mut statements = vec!["reset role".to_owned()];
    for table in tables() {
        statements.extend(copies::like(&mut *connection, &schema, table, Part::Indexes).await?);
        statements.push(format!("analyze {schema}.{table}"));
    }
    statements.push(format!("set local role {WHAT_IF_ROLE}"));
    statements.push("set local enable_seqscan = on; set local enable_bitmapscan = on; set local plan_cache_mode = auto; set local jit = off".to_owned());
    sqlx::raw_sql(AssertSqlSafe(statements.join(";\n")))
        .execute(connection)
        .await
        .doing("make a sandbox ready to be read")
        .map(drop)
}

/// What people are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    Department,
    Division,
    Location,
    JobTitle,
}

impl By {
    pub const ALL: [Self; 4] = [Self::Department, Self::Division, Self::Location, Self::JobTitle];

    /// The column of `employee`, and the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Department => "department",
            Self::Division => "division",
            Self::Location => "location",
            Self::JobTitle => "job_title",
        }
    }
}

/// One group of people, in one world.
#[derive(Debug, Clone, PartialEq, Default, sqlx::FromRow)]
pub struct Group {
    /// None: of whom it is not known.
    pub name: Option<String>,
    pub headcount: i64,
    /// Who left since the day that is asked for.
    pub left: i64,
    /// Who has a score.
    pub scored: i64,
    /// Their probabilities added up: so many are expected to leave within the horizon.
    pub expected: f64,
    /// Whose score is in the band HIGH or CRITICAL.
    pub high: i64,
    /// How often, since that day, somebody's score rose into these bands.
    pub alerts: i64,
}

/// The groups of the world that is looked at.
///
/// # Errors
/// When the database fails.
pub async fn groups(
    connection: &mut Connection,
    tenant: TenantId,
    (by, from): (By, Date),
    excepted: &[Uuid],
) -> Result<Vec<Group>, DatabaseError> {
    let column = by.name();
    let statement = format!(
        "with rising as (
            select employee, scored_at, band in ('HIGH', 'CRITICAL') as is_high,
                   lag(band in ('HIGH', 'CRITICAL')) over (partition by employee order by position) as was_high
              from risk_history where tenant = $1),
          alert as (select employee, count(*) as alerts from rising
                     where is_high and not coalesce(was_high, false) and (scored_at at time zone 'UTC')::date >= $2 group by 1)
         select e.{column} as name,
                count(*) filter (where e.status in ('ACTIVE', 'ON_LEAVE', 'ON_NOTICE')) as headcount,
                count(*) filter (where e.status = 'LEFT' and e.left_on >= $2) as left,
                count(r.employee) as scored, coalesce(sum(r.probability order by e.id), 0) as expected,
                count(*) filter (where r.band in ('HIGH', 'CRITICAL')) as high,
                coalesce(sum(a.alerts), 0)::bigint as alerts
           from employee e left join risk r on (r.tenant, r.employee) = (e.tenant, e.id) left join alert a on a.employee = e.id
          where e.tenant = $1 and e.id <> all ($3) group by 1 order by 1"
    );
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(Uuid::from(tenant))
        .bind(from)
        .bind(excepted)
        .fetch_all(connection)
        .await
        .doing("count groups of people")
}

/// A person whose score is not the one that there is.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Mover {
    pub employee: Uuid,
    /// None: no score, because the person left or objects.
    pub happened: Option<f64>,
    pub happened_band: Option<String>,
    pub what_if: Option<f64>,
    pub what_if_band: Option<String>,
}

/// Those whose current score differs most, and how many there are altogether.
///
/// # Errors
/// When the database fails.
pub async fn movers(
    connection: &mut Connection,
    (tenant, name): (TenantId, &Name),
    excepted: &[Uuid],
    limit: i64,
) -> Result<(i64, Vec<Mover>), DatabaseError> {
    let schema = name.schema(tenant);
    let differing = format!(
        "select coalesce(h.employee, w.employee) as employee, h.probability as happened, h.band as happened_band,
                w.probability as what_if, w.band as what_if_band
           from (select * from public.risk where tenant = $1) h full join {schema}.risk w on w.employee = h.employee
          where (h.probability, h.band) is distinct from (w.probability, w.band) and coalesce(h.employee, w.employee) <> all ($2)"
    );
    let count = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from ({differing}) d")))
        .bind(Uuid::from(tenant))
        .bind(excepted)
        .fetch_one(&mut *connection)
        .await
        .doing("count scores that differ")?;
    let movers = sqlx::query_as(AssertSqlSafe(format!(
        "{differing} order by abs(coalesce(h.probability, 0) - coalesce(w.probability, 0)) desc, 1 limit $3"
    )))
    .bind(Uuid::from(tenant))
    .bind(excepted)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read scores that differ")?;
    Ok((count, movers))
}

/// How many rows of each table differ, positions aside: a sandbox has a log of its own. Counts of heads are compared only if nobody
/// is `excepted`, who is in some of them.
///
/// # Errors
/// When the database fails.
pub async fn differing_rows(
    connection: &mut Connection,
    (tenant, name): (TenantId, &Name),
    excepted: &[Uuid],
) -> Result<Vec<(&'static str, i64)>, DatabaseError> {
    let schema = name.schema(tenant);
    let about = |table: &str| {
        TABLES
            .iter()
            .find(|(other, ..)| *other == table)
            .map_or(Some("employee"), |(_, _, about)| *about)
    };
    let mut counts = Vec::new();
    for table in tables() {
        let counted = if table.ends_with("_stats") {
            if !excepted.is_empty() {
                continue;
            }
            // Where somebody was counted for a moment only, a row of nobody is left.
            " and (headcount, on_leave, on_notice, departed) <> (0, 0, 0, 0)"
        } else {
            ""
        };
        let whom = about(table).map_or_else(|| "true".to_owned(), |column| format!("{column} <> all ($2)"));
        let hash = row_hash(connection, table, &["position", "scored_position"]).await?;
        let rows = |schema: &str, sign: &str| {
            format!(
                "select {hash} as hash, {sign}1 as side
                   from {schema}.{table} t where tenant = $1 and ({whom} or $2::uuid[] is null){counted}"
            )
        };
        let statement = format!(
            "select coalesce(sum(abs(more)), 0)::bigint
               from (select sum(side) as more from ({} union all {}) r group by hash having sum(side) <> 0) d",
            rows("public", ""),
            rows(&schema, "-")
        );
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(Uuid::from(tenant))
            .bind(excepted)
            .fetch_one(&mut *connection)
            .await
            .doing("compare a sandbox's rows")?;
        counts.push((table, count));
    }
    Ok(counts)
}

/// Takes over the current scores, of risk and readiness, of everybody but `others`.
///
/// # Errors
/// When the database fails.
pub async fn copy_scores(connection: &mut Connection, tenant: TenantId, others: &[Uuid]) -> Result<(), DatabaseError> {
    for table in ["risk", "readiness"] {
        let statement =
            format!("insert into {table} select * from public.{table} where tenant = $1 and employee <> all ($2)");
        sqlx::query(AssertSqlSafe(statement))
            .bind(Uuid::from(tenant))
            .bind(others)
            .execute(&mut *connection)
            .await
            .doing("take over scores")?;
    }
    Ok(())
}
