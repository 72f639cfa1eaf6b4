//! Old partitions of the log, moved out of Postgres into Parquet files, and read from there as if they had stayed.
//!
//! A partition is first written to a file and read back, event by event; then its index is stored ([`Archivist::archive`]); then,
//! in one short transaction, the table loses it. Killed in between, nothing is lost: the table still has what the file has, and the
//! next run goes on. Reading functions of [`crate::event_log`] ask the table first and [`Archived::look`] after it: what left the table
//! in between is then found in a file.

pub mod file;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use domain::{Kind, StreamId, Timestamp, id::TenantId};
use parquet::errors::ParquetError;
use schemas::envelope::StoredEvent;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

use crate::{
    database::{Connection, Database, DatabaseError, Doing, owner_pool},
    event_log::{self, PAGE_EVENTS_MAX},
    locks, route,
};
use file::{Archive, Writer};

/// A file of the archive, and what went wrong with it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("events {first} to {last} of the log are in {path}, which does not read: put the file back, as it was ({})", told(cause), path = path.display())]
pub struct Unreadable {
    pub first: i64,
    pub last: i64,
    pub path: PathBuf,
    cause: Arc<ParquetError>,
}

/// Why a partition stayed where it is.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("another `tenure log archive` is at work on this database: wait for its end, or end it")]
    Busy,
    #[error("{path} cannot be written: {}. Nothing was moved", told(cause), path = path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: ParquetError,
    },
    #[error("what was written to {path} is not what the log has at position {position}: nothing was moved", path = path.display())]
    Differs { path: PathBuf, position: i64 },
    #[error("the log is never free for long enough: try again when fewer people are at work")]
    NeverFree,
}

/// What the system says, without the library's words around it.
fn told(cause: &ParquetError) -> String {
    match cause {
        ParquetError::External(cause) => cause.to_string(),
        other => other.to_string(),
    }
}

/// A file that events were moved into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    pub first: i64,
    pub last: i64,
    pub path: PathBuf,
}

impl Filed {
    /// Reads on a thread of its own: files block.
    async fn read<T, W>(&self, work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: FnOnce(&Archive) -> Result<T, ParquetError> + Send + 'static,
    {
        let (path, first, last) = (self.path.clone(), self.first, self.last);
        let read = tokio::task::spawn_blocking(move || work(&*opened(&path, first, last)?));
        let unreadable = |cause| Unreadable {
            first,
            last,
            path: self.path.clone(),
            cause: Arc::new(cause),
        };
        Ok(read.await.map_err(|_| DatabaseError::CutOff)?.map_err(unreadable)?)
    }
}

/// Files stay open: what they say of themselves is read once.
fn opened(path: &PathBuf, first: i64, last: i64) -> Result<Arc<Archive>, ParquetError> {
    static OPEN: Mutex<Option<HashMap<PathBuf, Arc<Archive>>>> = Mutex::new(None);
    let open = || OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(archive) = open().get_or_insert_default().get(path) {
        return Ok(Arc::clone(archive));
    }
    let archive = Arc::new(Archive::open(path, first, last)?);
    open()
        .get_or_insert_default()
        .insert(path.clone(), Arc::clone(&archive));
    Ok(archive)
}

/// What of the log is in files, in order.
#[derive(Debug, Default)]
pub struct Archived(Vec<Filed>);

impl Archived {
    /// What is in files by now. A transaction that reads from the table `event` too reads that table first, and looks here after it.
    ///
    /// # Errors
    /// When the database fails; [`DatabaseError::Contended`] when events were moved after this transaction's view of the database
    /// was taken.
    pub async fn look(connection: &mut Connection) -> Result<Self, DatabaseError> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "select first, last, path from log_archive where last <= (select last_value from log_archived)
              union all select 0, last_value, '' from log_archived order by first",
        )
        .fetch_all(connection)
        .await
        .doing("look for archived events")?;
        let (moved, rows) = rows.split_first().ok_or(DatabaseError::Corrupt("end of the archive"))?;
        let files = rows.iter().map(|(first, last, path)| Filed {
            first: *first,
            last: *last,
            path: path.into(),
        });
        let archived = Self(files.collect());
        if archived.last() == moved.1 {
            Ok(archived)
        } else {
            Err(DatabaseError::Contended("the log's archive"))
        }
    }

    /// The last event that is in a file; 0: none is.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.0.last().map_or(0, |file| file.last)
    }

    #[must_use]
    pub fn files(&self) -> &[Filed] {
        &self.0
    }

    /// The events after `position`, of the archive and then of the table (`rows`): at most `limit`.
    pub(crate) async fn after(
        &self,
        position: i64,
        limit: i64,
        rows: Vec<StoredEvent>,
    ) -> Result<Vec<StoredEvent>, DatabaseError> {
        self.before(position, limit, rows, move |archive, limit| {
            archive.after(position, limit)
        })
        .await
    }

    /// One tenant's, likewise.
    pub(crate) async fn of_tenant_after(
        &self,
        (tenant, kind): (TenantId, Option<Kind>),
        position: i64,
        limit: i64,
        rows: Vec<StoredEvent>,
    ) -> Result<Vec<StoredEvent>, DatabaseError> {
        self.before(position, limit, rows, move |archive, limit| {
            archive.of_tenant_after(tenant, kind, position, limit)
        })
        .await
    }

    async fn before<R>(
        &self,
        position: i64,
        limit: i64,
        mut rows: Vec<StoredEvent>,
        read: R,
    ) -> Result<Vec<StoredEvent>, DatabaseError>
    where
        R: Fn(&Archive, usize) -> Result<Vec<StoredEvent>, ParquetError> + Copy + Send + 'static,
    {
        let limit = usize::try_from(limit).unwrap_or(0);
        let mut events = Vec::new();
        for file in self.0.iter().filter(|file| file.last > position) {
            let left = limit - events.len();
            if left == 0 {
                return Ok(events);
            }
            events.extend(file.read(move |archive| read(archive, left)).await?);
        }
        rows.retain(|event| event.position > self.last());
        events.append(&mut rows);
        events.truncate(limit);
        Ok(events)
    }

    /// The archived events of `streams`, in log order.
    pub(crate) async fn of_streams(
        &self,
        connection: &mut Connection,
        streams: &[&StreamId],
    ) -> Result<Vec<StoredEvent>, DatabaseError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let tenants: Vec<Uuid> = streams.iter().map(|stream| stream.tenant.uuid()).collect();
        let kinds: Vec<&str> = streams.iter().map(|stream| stream.kind.name()).collect();
        let ids: Vec<Uuid> = streams.iter().map(|stream| stream.id).collect();
        let positions: Vec<i64> = sqlx::query_scalar(
            "select p.position from unnest($1::uuid[], $2::text[], $3::uuid[]) as u(tenant, kind, stream_id)
               join archived_stream a using (tenant, kind, stream_id) cross join unnest(a.positions) as p(position)
              where a.archive <= $4 order by 1",
        )
        .bind(tenants)
        .bind(kinds)
        .bind(ids)
        .bind(self.last())
        .fetch_all(connection)
        .await
        .doing("look for archived events of streams")?;
        let mut events = Vec::with_capacity(positions.len());
        let mut rest = positions.as_slice();
        for file in &self.0 {
            let (mine, others) = rest.split_at(rest.partition_point(|position| *position <= file.last));
            rest = others;
            if !mine.is_empty() {
                let mine = mine.to_vec();
                events.extend(file.read(move |archive| archive.at(&mine)).await?);
            }
        }
        Ok(events)
    }

    /// How many of a tenant's archived events the registry of event ids, or the index of the archive, does not know by their position,
    /// or knows though they are not there.
    pub(crate) async fn unregistered(
        &self,
        connection: &mut Connection,
        tenant: TenantId,
    ) -> Result<i64, DatabaseError> {
        let (mut after, mut archived, mut known) = (0, 0, 0);
        while after < self.last() {
            let page = self
                .of_tenant_after((tenant, None), after, PAGE_EVENTS_MAX, Vec::new())
                .await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            archived += page.len() as i64;
            let matched: i64 = sqlx::query_scalar(
                "select count(*) from unnest($2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::bigint[])
                     as u(event_id, position, kind, stream_id, revision)
                   join event_id i on i.tenant = $1 and i.event_id = u.event_id and i.position = u.position
                   join archived_stream a on a.tenant = $1 and a.kind = u.kind and a.stream_id = u.stream_id
                    and a.positions[u.revision - a.revision + 1] = u.position",
            )
            .bind(tenant.uuid())
            .bind(page.iter().map(|event| event.event_id.uuid()).collect::<Vec<_>>())
            .bind(page.iter().map(|event| event.position).collect::<Vec<_>>())
            .bind(page.iter().map(|event| event.stream.kind.name()).collect::<Vec<_>>())
            .bind(page.iter().map(|event| event.stream.id).collect::<Vec<_>>())
            .bind(page.iter().map(|event| event.revision).collect::<Vec<_>>())
            .fetch_one(&mut *connection)
            .await
            .doing("compare archived events with their ids")?;
            known += matched;
        }
        let registered: i64 = sqlx::query_scalar(
            "select greatest((select count(*) from event_id where tenant = $1 and position <= $2),
                             (select coalesce(sum(cardinality(positions)), 0) from archived_stream where tenant = $1 and archive <= $2))",
        )
        .bind(tenant.uuid())
        .bind(self.last())
        .fetch_one(connection)
        .await
        .doing("count the ids of archived events")?;
        Ok((archived - known) + (registered - known))
    }
}

/// A partition of the table `event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    table: String,
    pub first: i64,
    pub last: i64,
}

/// The one who moves partitions, on connections of the database's owner. Only one works on a database at a time.
pub struct Archivist {
    owner: PgPool,
    database: Database,
    /// Holds the seat.
    _seat: PoolConnection<Postgres>,
}

impl Archivist {
    /// # Errors
    /// When another one is at work, or the database cannot be reached.
    pub async fn open(owner_url: &SecretString, database: Database) -> Result<Self, ArchiveError> {
        let owner = owner_pool(owner_url).await?;
        let mut seat = owner.acquire().await.doing("connect as the owner")?;
        seat.close_on_drop();
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock(7470)")
            .fetch_one(&mut *seat)
            .await
            .doing("take the seat of the archivist")?;
        if !taken {
            return Err(ArchiveError::Busy);
        }
        Ok(Self {
            owner,
            database,
            _seat: seat,
        })
    }

    /// The oldest partitions, in order, whose events are all sealed, and recorded before `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due(&self, before: Timestamp) -> Result<Vec<Partition>, DatabaseError> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "select name, greatest(bounds[1], 1), bounds[2] - 1
               from (select c.relname as name,
                            regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \\('(\\d+)'\\) TO \\('(\\d+)'\\)$$)::bigint[] as bounds
                       from pg_inherits i join pg_class c on c.oid = i.inhrelid
                      where i.inhparent = 'public.event'::regclass) p
              where bounds[2] - 1 <= (select max(position) from log_seal) order by bounds[1]",
        )
        .fetch_all(&self.owner)
        .await
        .doing("list the log's partitions")?;
        let mut due = Vec::new();
        for (table, first, last) in rows {
            let newest = self
                .database
                .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, last - 1, 1)))
                .await?;
            if newest.first().is_none_or(|event| event.recorded_at >= before) {
                break;
            }
            due.push(Partition { table, first, last });
        }
        Ok(due)
    }

    /// Moves a partition into a file of `directory` (absolute), and tells `show` how many events are done.
    ///
    /// # Errors
    /// When the file cannot be written, or not read back as it was: nothing was moved then. When the database fails, or is never free of
    /// readers: then the next run goes on.
    pub async fn archive(
        &self,
        partition: &Partition,
        directory: &Path,
        mut show: impl FnMut(i64),
    ) -> Result<Filed, ArchiveError> {
        let (first, last) = (partition.first, partition.last);
        let name = format!("events-{first:012}-{last:012}.parquet");
        let filed = Filed {
            first,
            last,
            path: directory.join(&name),
        };
        let part = Filed {
            path: directory.join(format!(".{name}.part")),
            ..filed.clone()
        };
        let written = self.write(&part, &filed.path, &mut show).await;
        let failed = |cause: std::io::Error| ArchiveError::Write {
            path: filed.path.clone(),
            cause: cause.into(),
        };
        if let Err(error) = written {
            std::fs::remove_file(&part.path).ok(); // it is of no use, and may not be there
            return Err(error);
        }
        std::fs::rename(&part.path, &filed.path).map_err(failed)?;
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        self.index(partition, &filed).await?;
        fail::fail_point!("archived-not-detached");
        self.detach(partition).await?;
        Ok(filed)
    }

    /// Writes a file, and holds it against the table.
    async fn write(&self, part: &Filed, told: &Path, show: &mut impl FnMut(i64)) -> Result<(), ArchiveError> {
        let (path, last) = (part.path.clone(), part.last);
        let failed = |cause| ArchiveError::Write {
            path: told.to_owned(),
            cause,
        };
        let mut after = part.first - 1;
        let mut writer = Writer::create(&path).map_err(failed)?;
        while after < last {
            let events = self.page(after, last).await?;
            after = events.last().map_or(last, |event| event.position);
            writer = blocking(move || writer.add(events).map(|()| writer))
                .await?
                .map_err(failed)?;
            show(after);
        }
        blocking(move || writer.finish()).await?.map_err(failed)?;
        // Not through `opened`: nobody is to find it before it is whole.
        let opening = path.clone();
        let first = part.first;
        let archive = blocking(move || Archive::open(&opening, first, last)).await?;
        let archive = Arc::new(archive.map_err(failed)?);
        after = first - 1;
        while after < last {
            let events = self.page(after, last).await?;
            let (archive, count) = (Arc::clone(&archive), events.len());
            let read = blocking(move || archive.after(after, count)).await?.map_err(failed)?;
            if events != read {
                let position = events.iter().zip(&read).find(|(here, there)| here != there);
                return Err(ArchiveError::Differs {
                    path: told.to_owned(),
                    position: position.map_or(after + 1, |(here, _)| here.position),
                });
            }
            after = events.last().map_or(last, |event| event.position);
        }
        Ok(())
    }

    /// Events of the table after a position: a page.
    async fn page(&self, after: i64, last: i64) -> Result<Vec<StoredEvent>, DatabaseError> {
        let limit = PAGE_EVENTS_MAX.min(last - after);
        self.database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)))
            .await
    }

    /// Stores where a partition's events are. The table has them still.
    async fn index(&self, partition: &Partition, filed: &Filed) -> Result<(), DatabaseError> {
        let mut transaction = self.owner.begin().await.doing("begin a transaction of the owner")?;
        let tenants = route::tenants(&mut transaction).await?;
        let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
        sqlx::query("select set_config('app.tenants', $1, true)")
            .bind(format!("{{{}}}", tenants.join(",")))
            .execute(&mut *transaction)
            .await
            .doing("name all tenants")?;
        sqlx::query("insert into log_archive (first, last, path) values ($1, $2, $3) on conflict (first) do update set path = excluded.path")
            .bind(filed.first)
            .bind(filed.last)
            .bind(filed.path.display().to_string())
            .execute(&mut *transaction)
            .await
            .doing("store where archived events are")?;
        sqlx::query(AssertSqlSafe(format!(
            "insert into archived_stream (tenant, kind, stream_id, archive, revision, positions)
             select tenant, kind, stream_id, $1, min(revision), array_agg(position order by revision) from {} group by tenant, kind, stream_id
             on conflict do nothing",
            partition.table
        )))
        .bind(filed.first)
        .execute(&mut *transaction)
        .await
        .doing("store the index of archived events")?;
        let indexed: i64 = sqlx::query_scalar(
            "select coalesce(sum(cardinality(positions)), 0)::bigint from archived_stream where archive = $1",
        )
        .bind(filed.first)
        .fetch_one(&mut *transaction)
        .await
        .doing("count the index of archived events")?;
        // An owner who is no superuser sees only the tenants that he names.
        if indexed != filed.last - filed.first + 1 {
            return Err(DatabaseError::Corrupt("list of tenants"));
        }
        transaction.commit().await.doing("store where archived events are")
    }

    /// Takes the partition out of the table.
    async fn detach(&self, partition: &Partition) -> Result<(), ArchiveError> {
        let Partition { table, last, .. } = partition;
        let statement = format!(
            "begin; {}; select setval('log_archived', {last}); alter table event detach partition {table}; drop table {table}; commit",
            locks::statement("event", "access exclusive")
        );
        for _ in 0..locks::TRIES {
            let mut connection = self.owner.acquire().await.doing("connect as the owner")?;
            connection.close_on_drop(); // a transaction that failed ends with it
            let statement = AssertSqlSafe(statement.clone());
            match sqlx::raw_sql(statement).execute(&mut *connection).await {
                Ok(_) => return Ok(()),
                Err(error) if locks::timed_out(&error) => tokio::time::sleep(locks::PAUSE).await,
                Err(cause) => {
                    let doing = "take a partition out of the log";
                    return Err(DatabaseError::Failed { doing, cause }.into());
                }
            }
        }
        Err(ArchiveError::NeverFree)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DatabaseError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| DatabaseError::CutOff)
}
