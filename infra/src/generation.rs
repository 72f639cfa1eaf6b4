//! Generations of read models: a second set of the tables that people query is filled beside the live one, and takes its place in
//! one transaction.
//!
//! The new tables are in a schema of their own, [`BUILDING`], under the same names: whatever writes read models writes them
//! there, on connections that look into that schema first. Taking their place is a change of schema, which moves no row; the
//! tables before are kept in [`KEPT`] until the next generation, or until somebody is erased.

use std::collections::{BTreeMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

use crate::{
    checkpoint,
    copies::{self, Part},
    database::{Connection, Database, DatabaseError, Doing, owner_pool},
    locks, parked,
    read_model::shadow::{self, Comparison, TABLES},
    route,
    sealing::MasterKey,
};

/// The schema of a generation that is being filled.
pub const BUILDING: &str = "read_models_building";
/// The schema of the generation before the live one.
pub const KEPT: &str = "read_models_kept";

/// Tables that are worked on at once: the owner's connections but for those that hold the seat and the standstill.
const TABLES_AT_ONCE: usize = 2;
/// Rows that are shown of a table that came out otherwise.
const SHOWN: i64 = 3;

#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("another `tenure rebuild` is at work on this database: wait for its end, or end it")]
    Busy,
    #[error(
        "no generation is kept: there was no rebuild yet, or somebody was erased since, whose rows it would have kept. `tenure rebuild` makes a new one"
    )]
    NothingKept,
    #[error(
        "the kept generation waits for events that could not be read when they came: `tenure rebuild` makes a new one"
    )]
    KeptIncomplete,
    #[error("the kept generation is from before an upgrade that changed {0}: `tenure rebuild` makes a new one")]
    Outdated(String),
    #[error("nothing has been projected yet: there are no read models to make again")]
    NothingLive,
    #[error("the tables are never free of readers for long enough: try again when fewer people are at work")]
    NeverFree,
    #[error(
        "the event at position {0} does not read with this version of Tenure, though it was read before: nothing was changed"
    )]
    Unreadable(i64),
}

/// A stream as the table of streams is sorted: tenant, kind and id.
pub type StreamKey = (Uuid, String, Uuid);

/// A generation that is filled stream by stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// Up to which position, by partition.
    pub targets: BTreeMap<i32, i64>,
    /// The last stream that is in it.
    pub after: Option<StreamKey>,
}

/// Whether a begun generation was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Anew,
    /// One that was left half-way.
    Again,
}

/// What held one table against its new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub table: &'static str,
    pub comparison: Comparison,
}

/// The one who may make generations, on connections of the database's owner. Only one works on a database at a time.
pub struct Workshop {
    owner: PgPool,
    /// The build of the product: what another one began, with other code, is not gone on with.
    build: String,
    /// Holds the seat.
    _seat: PoolConnection<Postgres>,
    /// The application, with the generation in place of the live tables.
    pub inside: Database,
}

impl Workshop {
    /// # Errors
    /// When another one is at work, or the database cannot be reached.
    pub async fn open(owner_url: &SecretString, master: &MasterKey, build: String) -> Result<Self, GenerationError> {
        let owner = owner_pool(owner_url).await?;
        let mut seat = owner.acquire().await.doing("connect as the owner")?;
        seat.close_on_drop();
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock(7467)")
            .fetch_one(&mut *seat)
            .await
            .doing("take the seat of the rebuild")?;
        if !taken {
            return Err(GenerationError::Busy);
        }
        Ok(Self {
            owner,
            build,
            _seat: seat,
            inside: Database::in_schema(owner_url, master, BUILDING)?.patient(),
        })
    }

    /// Makes the empty tables of a generation that is first filled as far as the `live` one is, by partition; or finds those of one
    /// that was left half-way and still fits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self, live: &BTreeMap<i32, i64>) -> Result<Begun, GenerationError> {
        if self.exists(BUILDING).await? {
            let is_ours = self.origin().await? == Origin::Log(self.build.clone());
            if is_ours && self.fits(live).await? {
                return Ok(Begun::Again);
            }
            self.put_away().await?;
        }
        if live.is_empty() {
            return Err(GenerationError::NothingLive);
        }
        self.abandon().await?;
        let mut statements = vec![format!("create schema {BUILDING}")];
        for (table, ..) in TABLES {
            for part in [Part::Table, Part::Rights] {
                statements.extend(copies::like(&self.owner, BUILDING, table, part).await?);
            }
        }
        let rows = live.iter().map(|(shard, target)| format!("({shard}, 0, {target})"));
        statements.push(notes(BUILDING, &Origin::Log(self.build.clone()), rows, &[]));
        // All or none: several statements in one message are one transaction.
        self.run(&statements.join(";\n"), "make a generation's tables").await?;
        Ok(Begun::Anew)
    }

    /// Takes up the kept generation again, as it was when it was put away.
    ///
    /// # Errors
    /// When there is none that fits.
    pub async fn begin_with_kept(&self, live: &BTreeMap<i32, i64>) -> Result<(), GenerationError> {
        if self.exists(BUILDING).await? {
            if self.origin().await? == Origin::Kept && self.fits(live).await? {
                return Ok(()); // a way back that was left half-way
            }
            self.put_away().await?;
        }
        if !self.exists(KEPT).await? {
            return Err(GenerationError::NothingKept);
        }
        if let Some(changed) = self.changed_columns(KEPT).await? {
            return Err(GenerationError::Outdated(changed));
        }
        if self.has_unread(KEPT).await? {
            return Err(GenerationError::KeptIncomplete);
        }
        let statement =
            format!("alter schema {KEPT} rename to {BUILDING}; grant usage on schema {BUILDING} to tenure_app");
        self.run(&statement, "take up the kept generation").await?;
        Ok(())
    }

    /// Where the generation comes from.
    async fn origin(&self) -> Result<Origin, DatabaseError> {
        let build: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("select build from {BUILDING}.generation_origin")))
                .fetch_one(&self.owner)
                .await
                .doing("read where a generation comes from")?;
        Ok(build.map_or(Origin::Kept, Origin::Log))
    }

    /// Whether the generation can be gone on with: no upgrade changed its tables, and nothing waits in it behind events that could
    /// not be read.
    async fn fits(&self, live: &BTreeMap<i32, i64>) -> Result<bool, DatabaseError> {
        Ok(self.changed_columns(BUILDING).await?.is_none()
            && self.progress().await?.keys().eq(live.keys())
            && !self.has_unread(BUILDING).await?)
    }

    async fn has_unread(&self, schema: &str) -> Result<bool, DatabaseError> {
        sqlx::query_scalar(AssertSqlSafe(format!(
            "select exists (select from {schema}.generation_unread)"
        )))
        .fetch_one(&self.owner)
        .await
        .doing("look for events that could not be read")
    }

    /// Makes room for another generation: a kept one stays kept, a half-made one goes.
    async fn put_away(&self) -> Result<(), DatabaseError> {
        if self.origin().await? == Origin::Kept {
            let statement = format!("drop schema if exists {KEPT} cascade; alter schema {BUILDING} rename to {KEPT}");
            return self.run(&statement, "keep a generation").await;
        }
        self.abandon().await
    }

    /// Removes a generation that is not live.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandon(&self) -> Result<(), DatabaseError> {
        self.run(
            &format!("drop schema if exists {BUILDING} cascade"),
            "remove a half-made generation",
        )
        .await
    }

    /// Removes the kept generation, and what a killed rebuild left. Tells whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self) -> Result<bool, DatabaseError> {
        let was_there = self.exists(KEPT).await? || self.exists(BUILDING).await?;
        self.abandon().await?;
        self.run(
            &format!("drop schema if exists {KEPT} cascade"),
            "remove the kept generation",
        )
        .await?;
        Ok(was_there)
    }

    /// Up to which position each partition's events are in the generation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress(&self) -> Result<BTreeMap<i32, i64>, DatabaseError> {
        let rows: Vec<(i32, i64)> = sqlx::query_as(AssertSqlSafe(format!(
            "select shard, position from {BUILDING}.generation_progress"
        )))
        .fetch_all(&self.owner)
        .await
        .doing("read how far a generation is")?;
        Ok(rows.into_iter().collect())
    }

    /// What is left of the first filling, stream by stream. None: it is done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn filling(&self) -> Result<Option<Filling>, DatabaseError> {
        type Place = (Option<Uuid>, Option<String>, Option<Uuid>);
        let of = |columns: &str, table: &str| AssertSqlSafe(format!("select {columns} from {BUILDING}.{table}"));
        let targets: Vec<(i32, i64)> = sqlx::query_as(of("shard, target", "generation_progress"))
            .fetch_all(&self.owner)
            .await
            .doing("read how far a generation is to be filled")?;
        let after: Option<Place> = sqlx::query_as(of("tenant, kind, id", "generation_filling"))
            .fetch_optional(&self.owner)
            .await
            .doing("read how far a generation is filled")?;
        Ok(after.map(|(tenant, kind, id)| Filling {
            targets: targets.into_iter().collect(),
            after: tenant.zip(kind).zip(id).map(|((tenant, kind), id)| (tenant, kind, id)),
        }))
    }

    /// Notes up to which stream the generation is filled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn filled_to(&self, (tenant, kind, id): &StreamKey) -> Result<(), DatabaseError> {
        sqlx::query(AssertSqlSafe(format!(
            "update {BUILDING}.generation_filling set tenant = $1, kind = $2, id = $3"
        )))
        .bind(tenant)
        .bind(kind)
        .bind(id)
        .execute(&self.owner)
        .await
        .doing("note how far a generation is filled")
        .map(drop)
    }

    /// Notes that all streams are in it, up to the targets, and makes the indexes that only readers need: at once, which is quicker
    /// than row by row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn filled(&self) -> Result<(), DatabaseError> {
        self.end_filling(&format!("update {BUILDING}.generation_progress set position = target"))
            .await
    }

    /// Notes that it is not filled stream by stream, but follows the log from its beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_from_the_beginning(&self) -> Result<(), DatabaseError> {
        self.end_filling(&format!("update {BUILDING}.generation_progress set position = 0"))
            .await
    }

    async fn end_filling(&self, statement: &str) -> Result<(), DatabaseError> {
        // Each table is done or not at all: whoever goes on after a kill finds some done.
        stream::iter(TABLES.map(|(table, ..)| self.make_readable(table)))
            .buffer_unordered(TABLES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        fail::fail_point!("indexes-made");
        self.run(
            &format!("{statement}; delete from {BUILDING}.generation_filling"),
            "finish the filling of a generation",
        )
        .await
    }

    /// Makes the indexes that only readers need, and tells the planner what a table holds.
    async fn make_readable(&self, table: &str) -> Result<(), DatabaseError> {
        let mut statements = copies::like(&self.owner, BUILDING, table, Part::Indexes).await?;
        statements.push(format!("analyze {BUILDING}.{table}"));
        self.run(&statements.join(";\n"), "make a generation's indexes").await
    }

    /// Keeps the projection out of the live tables; readers go on. What it holds ends with [`Standstill::flip`] or
    /// [`Standstill::leave`].
    ///
    /// # Errors
    /// When there is never a moment without a writer.
    pub async fn stand_still(&self) -> Result<Standstill, GenerationError> {
        for _ in 0..locks::TRIES {
            let mut connection = self.owner.acquire().await.doing("connect as the owner")?;
            connection.close_on_drop();
            let tenants = route::tenants(&mut connection).await?;
            let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
            let for_tenants = format!("set local app.tenants = '{{{}}}'", tenants.join(","));
            let statement = format!(
                "begin; {for_tenants}; {}",
                lock_statement("public", "share row exclusive")
            );
            match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await {
                Ok(_) => {
                    return Ok(Standstill {
                        connection,
                        owner: self.owner.clone(),
                        for_tenants,
                    });
                }
                Err(error) if locks::timed_out(&error) => tokio::time::sleep(locks::PAUSE).await,
                Err(cause) => {
                    let doing = "keep the projection out";
                    return Err(DatabaseError::Failed { doing, cause }.into());
                }
            }
        }
        Err(GenerationError::NeverFree)
    }

    async fn exists(&self, schema: &str) -> Result<bool, DatabaseError> {
        sqlx::query_scalar("select to_regnamespace($1) is not null")
            .bind(schema)
            .fetch_one(&self.owner)
            .await
            .doing("look for a generation")
    }

    async fn run(&self, statement: &str, doing: &'static str) -> Result<(), DatabaseError> {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&self.owner)
            .await
            .doing(doing)
            .map(drop)
    }

    /// The first table of a generation whose columns are not those of the live one.
    async fn changed_columns(&self, schema: &str) -> Result<Option<String>, DatabaseError> {
        let tables: Vec<&str> = TABLES.iter().map(|(table, ..)| *table).collect();
        sqlx::query_scalar(
            "with described as (
                 select n.nspname = 'public' as is_live, c.relname::text as name,
                        string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull, ', ' order by a.attnum) as columns
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
                  where n.nspname in ('public', $1) and c.relkind = 'r' and c.relname = any ($2) and a.attnum > 0 and not a.attisdropped
                  group by 1, 2)
             select l.name from described l left join described g on g.name = l.name and not g.is_live
              where l.is_live and g.columns is distinct from l.columns order by 1 limit 1",
        )
        .bind(schema)
        .bind(tables)
        .fetch_optional(&self.owner)
        .await
        .doing("compare the columns of generations")
    }
}

/// Where the rows of a generation come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// From the log, by the code of this build.
    Log(String),
    /// They were live before.
    Kept,
}

/// What a schema says of its generation: where it comes from, how far each partition is, while there is a row that it is being
/// filled, and the positions of events that could not be read.
fn notes(schema: &str, origin: &Origin, rows: impl Iterator<Item = String>, unread: &[i64]) -> String {
    let rows: Vec<String> = rows.collect();
    let unread: Vec<String> = unread.iter().map(ToString::to_string).collect();
    let (build, is_empty) = match origin {
        // A version, numbers and dots of our own making: no quotes.
        Origin::Log(build) => (format!("'{build}'"), true),
        Origin::Kept => ("null".to_owned(), false),
    };
    format!(
        "create table {schema}.generation_origin (build text);
         insert into {schema}.generation_origin values ({build});
         create table {schema}.generation_unread (position bigint not null);
         insert into {schema}.generation_unread select * from unnest('{{{}}}'::bigint[]);
         create table {schema}.generation_progress (shard integer primary key, position bigint not null, target bigint not null);
         insert into {schema}.generation_progress values {};
         create table {schema}.generation_filling (tenant uuid, kind text, id uuid);
         insert into {schema}.generation_filling select null::uuid where {is_empty};
         grant usage on schema {schema} to tenure_app;
         grant select, update on {schema}.generation_progress to tenure_app;
         grant insert on {schema}.generation_unread to tenure_app",
        unread.join(","),
        rows.join(", ")
    )
}

/// Locks the read models of a schema.
fn lock_statement(schema: &str, mode: &str) -> String {
    let tables: Vec<String> = TABLES.iter().map(|(table, ..)| format!("{schema}.{table}")).collect();
    locks::statement(&tables.join(", "), mode)
}

/// Notes, in the transaction that wrote the rows, how far these partitions are.
///
/// # Errors
/// When the database fails.
pub async fn advance(connection: &mut Connection, progress: &[(i32, i64)]) -> Result<(), DatabaseError> {
    let (shards, positions): (Vec<i32>, Vec<i64>) = progress.iter().copied().unzip();
    sqlx::query(
        "update generation_progress p set position = u.position from unnest($1::integer[], $2::bigint[]) as u(shard, position)
          where p.shard = u.shard",
    )
    .bind(shards)
    .bind(positions)
    .execute(connection)
    .await
    .doing("note how far a generation is")
    .map(drop)
}

/// Notes, in the transaction that wrote the rows around them, the events that could not be read.
///
/// # Errors
/// When the database fails.
pub async fn skipped(connection: &mut Connection, positions: &[i64]) -> Result<(), DatabaseError> {
    sqlx::query("insert into generation_unread select * from unnest($1::bigint[])")
        .bind(positions)
        .execute(connection)
        .await
        .doing("note what could not be read")
        .map(drop)
}

/// Removes the kept generation in the caller's transaction: somebody in it is erased.
///
/// # Errors
/// When the database fails.
pub async fn forget_kept(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::query("select tenure_forget_kept_generation()")
        .execute(connection)
        .await
        .doing("remove the kept generation")
        .map(drop)
}

/// A moment in which nothing is projected.
pub struct Standstill {
    connection: PoolConnection<Postgres>,
    owner: PgPool,
    /// The statement that lets a transaction see everybody's rows.
    for_tenants: String,
}

impl Standstill {
    /// How far the live tables are, by partition.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live(&mut self, consumer: &str, topic: &str) -> Result<BTreeMap<i32, i64>, DatabaseError> {
        let positions = checkpoint::positions(&mut self.connection, consumer, topic).await?;
        Ok(positions
            .into_iter()
            .map(|(partition, at, _)| (partition, at))
            .collect())
    }

    /// Holds every table against its new generation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn compare(&self) -> Result<Vec<Compared>, DatabaseError> {
        // Nobody writes to either: it does not matter which connection looks.
        stream::iter(TABLES.map(|(table, name, _)| self.compare_table(table, name)))
            .buffered(TABLES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn compare_table(&self, table: &'static str, name: &str) -> Result<Compared, DatabaseError> {
        let mut transaction = self.owner.begin().await.doing("begin a transaction")?;
        sqlx::raw_sql(AssertSqlSafe(self.for_tenants.clone()))
            .execute(&mut *transaction)
            .await
            .doing("name the transaction's tenants")?;
        let schemas = ("public", BUILDING);
        let comparison = shadow::compare_schemas(&mut transaction, (table, name), schemas, SHOWN).await?;
        transaction.rollback().await.doing("end a transaction")?;
        Ok(Compared { table, comparison })
    }

    /// Puts the new generation in the place of the live one, and keeps that. What `consumer` had parked and the new generation
    /// has read is done; `unread` are the positions that the new one could not read either.
    ///
    /// # Errors
    /// [`GenerationError::Unreadable`] when the live generation has read one of `unread`; [`GenerationError::NeverFree`]. Then
    /// nothing was changed.
    pub async fn flip(
        mut self,
        consumer: &str,
        live: &BTreeMap<i32, i64>,
        unread: &[i64],
    ) -> Result<u64, GenerationError> {
        let parked: HashSet<i64> = parked::positions(&mut self.connection, consumer)
            .await?
            .into_iter()
            .collect();
        if let Some(position) = unread.iter().find(|position| !parked.contains(position)) {
            return Err(GenerationError::Unreadable(*position));
        }
        let read = parked::resolve_but(&mut self.connection, consumer, unread).await?;
        self.lock_out_readers().await?;
        let mut statements = vec![
            format!("drop schema if exists {KEPT} cascade"),
            format!("create schema {KEPT}"),
        ];
        for (table, ..) in TABLES {
            statements.push(format!("alter table public.{table} set schema {KEPT}"));
            statements.push(format!("alter table {BUILDING}.{table} set schema public"));
        }
        let rows = live
            .iter()
            .map(|(shard, position)| format!("({shard}, {position}, {position})"));
        let waiting: Vec<i64> = parked.into_iter().collect();
        statements.push(notes(KEPT, &Origin::Kept, rows, &waiting));
        statements.push(format!("drop schema {BUILDING} cascade"));
        statements.push("commit".to_owned());
        sqlx::raw_sql(AssertSqlSafe(statements.join(";\n")))
            .execute(&mut *self.connection)
            .await
            .doing("put a generation in place")?;
        Ok(read)
    }

    async fn lock_out_readers(&mut self) -> Result<(), GenerationError> {
        for _ in 0..locks::TRIES {
            let statement = format!("savepoint alone; {}", lock_statement("public", "access exclusive"));
            match sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *self.connection)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) if locks::timed_out(&error) => {
                    sqlx::raw_sql("rollback to savepoint alone")
                        .execute(&mut *self.connection)
                        .await
                        .doing("let readers through")?;
                    tokio::time::sleep(locks::PAUSE).await;
                }
                Err(cause) => {
                    let doing = "keep readers out";
                    return Err(DatabaseError::Failed { doing, cause }.into());
                }
            }
        }
        Err(GenerationError::NeverFree)
    }

    /// Lets the projection go on with the live tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave(mut self) -> Result<(), DatabaseError> {
        sqlx::raw_sql("rollback")
            .execute(&mut *self.connection)
            .await
            .doing("let the projection go on")
            .map(drop)
    }
}
