//! The event log in Postgres: gapless, in the order of commits, one transaction per batch.
//!
//! An append is compare-and-set on its stream's revision. Positions come from one counter row, updated late in the
//! transaction: a rollback gives them back, so `count(*) = max(position)` always holds. An append whose first event id is
//! known already is answered with the position that it got then. (Techniques and sources: facts/event-log.md §4.)

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::{
    Date, Kind, StreamId, Timestamp,
    id::{CommandId, EventId, TenantId},
};
use schemas::envelope::{Provenance, StoredEvent};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use uuid::Uuid;

use crate::{
    clock,
    database::{Access, Connection, Database, DatabaseError, Doing, LOG_CHANNEL},
    log_archive::Archived,
};

/// Appends that one transaction takes at most.
pub const BATCH_APPENDS_MAX: usize = 1_000;
/// Appends that wait in this process at most; beyond, callers wait.
pub const QUEUE_APPENDS_MAX: usize = 4_096;
/// From so many appends on, two batches are under way at once: while one holds the counter row until it is durable, the other moves
/// its streams. Fewer are quicker together, with one wait for the disk.
const OVERLAP_FROM: usize = 128;
/// Events of one page when the log is read.
pub const PAGE_EVENTS_MAX: i64 = 5_000;
/// How often a batch is tried when another writer got in between.
const ATTEMPTS_MAX: u32 = 5;

/// An event that wants to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub event_id: EventId,
    pub event_type: String,
    pub schema_version: i16,
    pub effective_on: Date,
    pub provenance: Provenance,
    /// Sealed JSON.
    pub data: Vec<u8>,
}

/// Events for one stream: all or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    pub stream: StreamId,
    /// The stream's revision as the decision saw it; 0 for a new stream.
    pub expected: i64,
    pub events: Vec<NewEvent>,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    Recorded {
        first: i64,
        last: i64,
        revision: i64,
    },
    /// The same events are in the log already, from this position on.
    Duplicate {
        first: i64,
    },
    /// The stream is elsewhere: load, decide and append again.
    Conflict {
        actual: i64,
    },
}

/// Appends through an in-process batcher: whoever comes while a batch commits is in the next one. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    database: Database,
    queue: mpsc::Sender<Queued>,
}

type Answer = oneshot::Sender<Result<Appended, AppendFailed>>;

struct Queued {
    append: Append,
    answer: Answer,
}

/// An append whose outcome is not known: append again with the same event ids to find out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log could not be written: {0}")]
pub struct AppendFailed(String);

impl EventLog {
    /// Starts the batcher; it ends when the last clone is dropped.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let (queue, arriving) = mpsc::channel(QUEUE_APPENDS_MAX);
        tokio::spawn(batcher(database.clone(), arriving));
        Self { database, queue }
    }

    /// Appends, and answers when that is durable.
    ///
    /// # Errors
    /// When the database fails: the outcome is then unknown.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendFailed> {
        let (answer, answered) = oneshot::channel();
        let stopped = || AppendFailed("the process is stopping".to_owned());
        self.queue
            .send(Queued { append, answer })
            .await
            .map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// A stream's events after `revision`, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_stream(&self, stream: StreamId, after_revision: i64) -> Result<Vec<StoredEvent>, DatabaseError> {
        self.database
            .transact(Access::Read, &[stream.tenant], move |connection| {
                Box::pin(async move {
                    let mut events = read_streams(connection, &[stream]).await?;
                    events.retain(|event| event.revision > after_revision);
                    Ok(events)
                })
            })
            .await
    }

    /// One tenant's events of one kind after `position`, in order: at most [`PAGE_EVENTS_MAX`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_tenant(
        &self,
        tenant: TenantId,
        kind: Kind,
        after_position: i64,
    ) -> Result<Vec<StoredEvent>, DatabaseError> {
        self.database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    let rows: Vec<EventRow> =
                        sqlx::query_as("select * from event where tenant = $1 and kind = $2 and position > $3 order by position limit $4")
                            .bind(Uuid::from(tenant))
                            .bind(kind.name())
                            .bind(after_position)
                            .bind(PAGE_EVENTS_MAX)
                            .fetch_all(&mut *connection)
                            .await
                            .doing("read a tenant's events")?;
                    Archived::look(connection)
                        .await?
                        .of_tenant_after((tenant, Some(kind)), after_position, PAGE_EVENTS_MAX, events(rows)?)
                        .await
                })
            })
            .await
    }

    /// The position of the last event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn head(&self) -> Result<i64, DatabaseError> {
        self.database
            .transact(Access::Read, &[], |connection| Box::pin(head(connection)))
            .await
    }

    /// Makes room for what will be appended: call at start, and now and then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare(&self) -> Result<(), DatabaseError> {
        self.database
            .transact(Access::Write, &[], |connection| {
                Box::pin(async move {
                    let head = head(connection).await?;
                    prepare_partitions(connection, head).await
                })
            })
            .await
    }
}

/// The position of the last event.
///
/// # Errors
/// When the database fails.
pub async fn head(connection: &mut Connection) -> Result<i64, DatabaseError> {
    sqlx::query_scalar("select position from log_head")
        .fetch_one(connection)
        .await
        .doing("read the head of the log")
}

async fn prepare_partitions(connection: &mut Connection, head: i64) -> Result<(), DatabaseError> {
    sqlx::query("select tenure_prepare_log($1)")
        .bind(head)
        .execute(connection)
        .await
        .doing("prepare the log's next partition")
        .map(drop)
}

/// Prepares the next partition when the events from `first` to `head` are the first in theirs.
async fn keep_ahead(connection: &mut Connection, first: i64, head: i64) -> Result<(), DatabaseError> {
    const SPAN: i64 = 10_000_000;
    if head / SPAN != (first - 1) / SPAN {
        prepare_partitions(connection, head).await?;
    }
    Ok(())
}

async fn batcher(database: Database, mut arriving: mpsc::Receiver<Queued>) {
    let mut waiting: Vec<Queued> = Vec::new();
    let mut under_way: JoinSet<UnderWay> = JoinSet::new();
    let mut busy: HashSet<StreamKey> = HashSet::new();
    let mut is_open = true;
    while is_open || !waiting.is_empty() || !under_way.is_empty() {
        tokio::select! {
            Some(ended) = under_way.join_next() => {
                let Ok(ended) = ended else { return }; // it panicked: whoever waits is told that we stop
                for stream in &ended.streams {
                    busy.remove(stream);
                }
                ended.answer();
            }
            count = arriving.recv_many(&mut waiting, BATCH_APPENDS_MAX), if is_open && waiting.len() < BATCH_APPENDS_MAX => {
                is_open = count > 0;
            }
        }
        // Those who were answered a moment ago are about to append again: they run first, or all but the fastest of them would
        // wait for a whole commit.
        let mut before = usize::MAX;
        while waiting.len() != before && waiting.len() < BATCH_APPENDS_MAX {
            before = waiting.len();
            tokio::task::yield_now().await;
            while waiting.len() < BATCH_APPENDS_MAX
                && let Ok(queued) = arriving.try_recv()
            {
                waiting.push(queued);
            }
        }
        loop {
            let batch = take_batch(&mut waiting, &busy, under_way.len());
            if batch.is_empty() {
                break;
            }
            let (appends, answers): (Vec<Append>, Vec<_>) =
                batch.into_iter().map(|queued| (queued.append, queued.answer)).unzip();
            metrics::histogram!("tenure_append_batch_size").record(answers.len() as f64);
            let streams: Vec<StreamKey> = appends.iter().map(|append| key(&append.stream)).collect();
            busy.extend(&streams);
            let database = database.clone();
            under_way.spawn(async move {
                let result = append_batch(&database, appends).await;
                UnderWay {
                    streams,
                    answers,
                    result,
                }
            });
        }
    }
}

/// A batch that was appended or not, and who is to hear of it.
struct UnderWay {
    streams: Vec<StreamKey>,
    answers: Vec<Answer>,
    result: Result<Vec<Appended>, DatabaseError>,
}

impl UnderWay {
    fn answer(self) {
        match self.result {
            Ok(appended) => {
                for (answer, appended) in self.answers.into_iter().zip(appended) {
                    answer.send(Ok(appended)).ok(); // who no longer waits appends again to find out
                }
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a batch could not be appended"
                );
                let failed = AppendFailed(error.to_string());
                for answer in self.answers {
                    answer.send(Err(failed.clone())).ok();
                }
            }
        }
    }
}

/// What to append next. Appends of a stream that is under way wait for that, so that a stream's stay in order.
fn take_batch(waiting: &mut Vec<Queued>, busy: &HashSet<StreamKey>, under_way: usize) -> Vec<Queued> {
    let size = match (under_way, waiting.len()) {
        (0, count) if count < OVERLAP_FROM => count,
        (0, count) => count.div_ceil(2),
        (1, count) if count >= OVERLAP_FROM / 2 => count,
        (_, _) => 0,
    };
    let mut batch = Vec::with_capacity(size);
    if size > 0 {
        for queued in std::mem::take(waiting) {
            if batch.len() < size && !busy.contains(&key(&queued.append.stream)) {
                batch.push(queued);
            } else {
                waiting.push(queued);
            }
        }
    }
    batch
}

async fn append_batch(database: &Database, appends: Vec<Append>) -> Result<Vec<Appended>, DatabaseError> {
    let appends = std::sync::Arc::new(appends);
    let tenants = tenants_of(appends.iter().map(|append| append.stream.tenant));
    for attempt in 1.. {
        let appends = std::sync::Arc::clone(&appends);
        let result = database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move {
                    if attempt == 1 {
                        append_expected(connection, &appends).await
                    } else {
                        append(connection, &appends).await
                    }
                })
            })
            .await;
        match result {
            // Also when what was expected is not what is there, and when another process wrote between our look and our write.
            Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => {}
            other => return other,
        }
    }
    unreachable!("the loop returns")
}

/// The distinct tenants, for a transaction that works for them.
pub fn tenants_of(tenants: impl Iterator<Item = TenantId>) -> Vec<TenantId> {
    let mut tenants: Vec<_> = tenants.collect();
    tenants.sort_unstable();
    tenants.dedup();
    tenants
}

/// How far back it is looked for what others did.
const ACTED_EVENTS_MAX: i64 = 5_000;

/// Whether somebody did something after this position and within this time: neither Tenure by itself, nor a file.
///
/// # Errors
/// When the database fails.
pub async fn others_acted(connection: &mut Connection, after: i64, within: Duration) -> Result<bool, DatabaseError> {
    sqlx::query_scalar(
        "select exists (select 1 from event
                         where position > greatest($1, (select position from log_head) - $2) and recorded_at > now() - make_interval(secs => $3)
                           and actor not in ('scorer', 'teams') and actor not like 'file:%' and actor not like 'tenure%')",
    )
    .bind(after)
    .bind(ACTED_EVENTS_MAX)
    .bind(within.as_secs_f64())
    .fetch_one(connection)
    .await
    .doing("see whether others are at work")
}

/// Appends within the caller's transaction, which must name all tenants concerned. Several appends may continue the same
/// stream, in order. Answers one by one; a conflict of one does not concern the others.
///
/// # Errors
/// [`DatabaseError::Contended`] when another writer was faster: roll back and try again. Otherwise when the database fails.
pub async fn append(connection: &mut Connection, appends: &[Append]) -> Result<Vec<Appended>, DatabaseError> {
    let there = There::look(connection, appends).await?;
    append_to(connection, appends, &there).await
}

/// As [`append`], but without looking first: streams are taken to be where they are expected, and events to be new. That is nearly
/// always so, and saves two ways down an index for each event.
///
/// # Errors
/// A transient one when it is not so: roll back, and [`append`]. Otherwise when the database fails.
pub async fn append_expected(connection: &mut Connection, appends: &[Append]) -> Result<Vec<Appended>, DatabaseError> {
    match There::as_expected(appends) {
        Some(there) => append_to(connection, appends, &there).await,
        None => append(connection, appends).await,
    }
}

/// A plan made for what is not there fails: streams move by compare-and-set, and an event id is stored once.
async fn append_to(
    connection: &mut Connection,
    appends: &[Append],
    there: &There,
) -> Result<Vec<Appended>, DatabaseError> {
    let plan = Plan::make(appends, there);
    if !plan.winners.is_empty() {
        move_streams(connection, &plan.moved, &there.revisions).await?;
        plan.insert(connection, appends)
            .await
            .map(|first| plan.answers(appends, first))
    } else {
        Ok(plan.answers(appends, 0))
    }
}

type StreamKey = (TenantId, Kind, Uuid);

fn key(stream: &StreamId) -> StreamKey {
    (stream.tenant, stream.kind, stream.id)
}

/// What the log has already of what some appends concern.
struct There {
    /// Positions of first events.
    events: HashMap<(TenantId, EventId), i64>,
    /// Of the streams that exist.
    revisions: HashMap<StreamKey, i64>,
}

impl There {
    /// What will be found if nobody else wrote, and nothing is repeated: nearly always. None if the write would not tell that it
    /// is otherwise: it tells of every stream that has a winner, and under these conditions the first append of each stream wins.
    fn as_expected(appends: &[Append]) -> Option<Self> {
        let mut firsts = HashSet::with_capacity(appends.len());
        let mut revisions = HashMap::with_capacity(appends.len());
        for append in appends {
            let is_new = firsts.insert(first_event(append)?);
            if !is_new || append.expected < 0 {
                return None;
            }
            revisions.entry(key(&append.stream)).or_insert(append.expected);
        }
        revisions.retain(|_, revision| *revision > 0);
        Some(Self {
            events: HashMap::new(),
            revisions,
        })
    }

    /// In one round trip.
    async fn look(connection: &mut Connection, appends: &[Append]) -> Result<Self, DatabaseError> {
        let firsts = || appends.iter().filter_map(first_event);
        let mut streams: Vec<StreamKey> = appends.iter().map(|append| key(&append.stream)).collect();
        streams.sort_unstable();
        streams.dedup();
        let rows: Vec<(Uuid, Uuid, i64, Option<String>)> = sqlx::query_as(
            "select e.tenant, e.event_id, e.position, null::text as kind from unnest($1::uuid[], $2::uuid[]) as u(tenant, event_id)
              cross join lateral (select tenant, event_id, position from event_id where (tenant, event_id) = (u.tenant, u.event_id) offset 0) e
             union all
             select s.tenant, s.id, s.revision, s.kind from unnest($3::uuid[], $4::text[], $5::uuid[]) as u(tenant, kind, id)
              cross join lateral (select tenant, kind, id, revision from stream where (tenant, kind, id) = (u.tenant, u.kind, u.id) offset 0) s",
        )
        .bind(firsts().map(|(tenant, _)| tenant.into()).collect::<Vec<Uuid>>())
        .bind(firsts().map(|(_, id)| id.into()).collect::<Vec<Uuid>>())
        .bind(streams.iter().map(|(tenant, _, _)| Uuid::from(*tenant)).collect::<Vec<_>>())
        .bind(streams.iter().map(|(_, kind, _)| kind.name()).collect::<Vec<_>>())
        .bind(streams.iter().map(|(_, _, id)| *id).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
        .doing("look for streams and repeated events")?;
        let mut there = Self {
            events: HashMap::new(),
            revisions: HashMap::with_capacity(streams.len()),
        };
        for (tenant, id, number, kind) in rows {
            let tenant = TenantId::from_uuid(tenant);
            match kind {
                None => drop(there.events.insert((tenant, EventId::from_uuid(id)), number)),
                Some(kind) => {
                    let kind = kind.parse().map_err(|_| DatabaseError::Corrupt("kind of stream"))?;
                    there.revisions.insert((tenant, kind, id), number);
                }
            }
        }
        Ok(there)
    }
}

fn first_event(append: &Append) -> Option<(TenantId, EventId)> {
    let first = append.events.first()?;
    Some((append.stream.tenant, first.event_id))
}

/// Which appends win, and where their streams end up.
struct Plan {
    verdicts: Vec<Verdict>,
    /// Indices of the winners, in order.
    winners: Vec<usize>,
    /// New revisions of the streams that move, in a fixed order (so that two writers never wait for each other in a ring).
    moved: Vec<(StreamKey, i64)>,
    events: usize,
}

enum Verdict {
    /// The revision after it, and its events' offset among the batch's events.
    Wins {
        revision: i64,
        offset: usize,
    },
    Nothing {
        revision: i64,
    },
    Known {
        first: i64,
    },
    /// Repeats the append with this index, of the same batch.
    Repeats {
        index: usize,
    },
    Conflict {
        actual: i64,
    },
}

impl Plan {
    fn make(appends: &[Append], there: &There) -> Self {
        let mut now = there.revisions.clone();
        let mut in_batch: HashMap<(TenantId, EventId), usize> = HashMap::new();
        let (mut verdicts, mut winners, mut offset) = (Vec::with_capacity(appends.len()), Vec::new(), 0);
        for (index, append) in appends.iter().enumerate() {
            let stream = key(&append.stream);
            let actual = now.get(&stream).copied().unwrap_or(0);
            let Some(first) = first_event(append) else {
                verdicts.push(if actual == append.expected {
                    Verdict::Nothing { revision: actual }
                } else {
                    Verdict::Conflict { actual }
                });
                continue;
            };
            verdicts.push(if let Some(first) = there.events.get(&first) {
                Verdict::Known { first: *first }
            } else if let Some(index) = in_batch.get(&first) {
                Verdict::Repeats { index: *index }
            } else if actual != append.expected {
                Verdict::Conflict { actual }
            } else {
                let revision = actual + append.events.len() as i64;
                now.insert(stream, revision);
                in_batch.insert(first, index);
                winners.push(index);
                let at = offset;
                offset += append.events.len();
                Verdict::Wins { revision, offset: at }
            });
        }
        let mut moved: Vec<(StreamKey, i64)> = now
            .into_iter()
            .filter(|(stream, revision)| there.revisions.get(stream) != Some(revision))
            .collect();
        moved.sort_unstable();
        Self {
            verdicts,
            winners,
            moved,
            events: offset,
        }
    }

    /// Takes positions, inserts the winners' events and announces them, in one round trip. Answers with the first position.
    async fn insert(&self, connection: &mut Connection, appends: &[Append]) -> Result<i64, DatabaseError> {
        let mut rows = Columns::with_capacity(self.events);
        for index in &self.winners {
            let append = &appends[*index];
            let Verdict::Wins { revision, .. } = self.verdicts[*index] else {
                continue;
            };
            let before = revision - append.events.len() as i64;
            for (event, revision) in append.events.iter().zip(before + 1..) {
                rows.push(&append.stream, revision, event);
            }
        }
        let count = self.events as i64;
        // One hint per batch. At commit it takes a lock that all notifying transactions share: never one per row.
        let (head, ()): (i64, ()) = sqlx::query_as(
            "with head as (update log_head set position = position + $1, recorded_at = greatest(recorded_at, $2) returning position, recorded_at),
                  stored as (
                    insert into event (position, tenant, kind, stream_id, revision, event_id, event_type, schema_version, effective_on, recorded_at,
                                       actor, correlation_id, causation_id, backfill, traceparent, data)
                    select head.position - $1 + u.n, u.tenant, u.kind, u.stream_id, u.revision, u.event_id, u.event_type, u.schema_version, u.effective_on,
                           head.recorded_at, u.actor, u.correlation_id, u.causation_id, u.backfill, u.traceparent, u.data
                      from head, unnest($3::uuid[], $4::text[], $5::uuid[], $6::bigint[], $7::uuid[], $8::text[], $9::smallint[], $10::date[],
                                        $11::text[], $12::uuid[], $13::uuid[], $14::boolean[], $15::text[], $16::bytea[])
                           with ordinality
                           as u(tenant, kind, stream_id, revision, event_id, event_type, schema_version, effective_on,
                                actor, correlation_id, causation_id, backfill, traceparent, data, n)),
                  remembered as (
                    insert into event_id (tenant, event_id, position)
                    select u.tenant, u.event_id, head.position - $1 + u.n
                      from head, unnest($3::uuid[], $7::uuid[]) with ordinality as u(tenant, event_id, n))
             select position, pg_notify($17, position::text) from head",
        )
        .bind(count)
        .bind(clock::now())
        .bind(&rows.tenant)
        .bind(&rows.kind)
        .bind(&rows.stream_id)
        .bind(&rows.revision)
        .bind(&rows.event_id)
        .bind(&rows.event_type)
        .bind(&rows.schema_version)
        .bind(&rows.effective_on)
        .bind(&rows.actor)
        .bind(&rows.correlation_id)
        .bind(&rows.causation_id)
        .bind(&rows.backfill)
        .bind(&rows.traceparent)
        .bind(&rows.data)
        .bind(LOG_CHANNEL)
        .fetch_one(&mut *connection)
        .await
        .doing("insert events")?;
        let first = head - count + 1;
        keep_ahead(connection, first, head).await?;
        Ok(first)
    }

    fn answers(&self, appends: &[Append], first: i64) -> Vec<Appended> {
        self.verdicts
            .iter()
            .enumerate()
            .map(|(index, verdict)| match verdict {
                Verdict::Wins { revision, offset } => {
                    let first = first + *offset as i64;
                    Appended::Recorded {
                        first,
                        last: first + appends[index].events.len() as i64 - 1,
                        revision: *revision,
                    }
                }
                // Nothing to store: it "is" at the stream's revision, at no position of its own.
                Verdict::Nothing { revision } => Appended::Recorded {
                    first: 0,
                    last: 0,
                    revision: *revision,
                },
                Verdict::Known { first } => Appended::Duplicate { first: *first },
                Verdict::Repeats { index } => match self.verdicts[*index] {
                    Verdict::Wins { offset, .. } => Appended::Duplicate {
                        first: first + offset as i64,
                    },
                    Verdict::Nothing { .. }
                    | Verdict::Known { .. }
                    | Verdict::Repeats { .. }
                    | Verdict::Conflict { .. } => Appended::Conflict { actual: 0 },
                },
                Verdict::Conflict { actual } => Appended::Conflict { actual: *actual },
            })
            .collect()
    }
}

/// Compare-and-set of all streams at once, from where they are (`revisions`, of those that exist) to where they go.
async fn move_streams(
    connection: &mut Connection,
    moved: &[(StreamKey, i64)],
    revisions: &HashMap<StreamKey, i64>,
) -> Result<(), DatabaseError> {
    let (old, new): (Vec<_>, Vec<_>) = moved.iter().partition(|(stream, _)| revisions.contains_key(stream));
    let mut done = 0;
    if !old.is_empty() {
        let (tenants, kinds, ids) = columns(&old);
        let before: Vec<i64> = old.iter().map(|(stream, _)| revisions[stream]).collect();
        let after: Vec<i64> = old.iter().map(|(_, revision)| *revision).collect();
        done += sqlx::query(
            "update stream s set revision = o.after
               from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[]) as u(tenant, kind, id, before, after)
                    cross join lateral (select ctid as row, u.before, u.after from stream where (tenant, kind, id) = (u.tenant, u.kind, u.id) offset 0) o
              where s.ctid = o.row and s.revision = o.before",
        )
        .bind(tenants)
        .bind(kinds)
        .bind(ids)
        .bind(before)
        .bind(after)
        .execute(&mut *connection)
        .await
        .doing("advance streams")?
        .rows_affected();
    }
    if !new.is_empty() {
        let (tenants, kinds, ids) = columns(&new);
        let after: Vec<i64> = new.iter().map(|(_, revision)| *revision).collect();
        done += sqlx::query(
            "insert into stream (tenant, kind, id, revision) select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[]) on conflict do nothing",
        )
        .bind(tenants)
        .bind(kinds)
        .bind(ids)
        .bind(after)
        .execute(connection)
        .await
        .doing("begin streams")?
        .rows_affected();
    }
    if done == moved.len() as u64 {
        Ok(())
    } else {
        Err(DatabaseError::Contended("a stream"))
    }
}

fn columns<'a>(streams: &[&'a (StreamKey, i64)]) -> (Vec<Uuid>, Vec<&'a str>, Vec<Uuid>) {
    (
        streams.iter().map(|((tenant, _, _), _)| Uuid::from(*tenant)).collect(),
        streams.iter().map(|((_, kind, _), _)| kind.name()).collect(),
        streams.iter().map(|((_, _, id), _)| *id).collect(),
    )
}

/// One array per column: a statement of fixed arity for any number of rows.
#[derive(Default)]
struct Columns<'a> {
    tenant: Vec<Uuid>,
    kind: Vec<&'a str>,
    stream_id: Vec<Uuid>,
    revision: Vec<i64>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'a str>,
    schema_version: Vec<i16>,
    effective_on: Vec<Date>,
    actor: Vec<&'a str>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Uuid>,
    backfill: Vec<bool>,
    traceparent: Vec<Option<&'a str>>,
    data: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            tenant: Vec::with_capacity(rows),
            event_id: Vec::with_capacity(rows),
            data: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    fn push(&mut self, stream: &'a StreamId, revision: i64, event: &'a NewEvent) {
        self.push_place(stream, revision, event.event_id);
        self.event_type.push(&event.event_type);
        self.schema_version.push(event.schema_version);
        self.effective_on.push(event.effective_on);
        self.push_provenance(&event.provenance);
        self.data.push(&event.data);
    }

    fn push_stored(&mut self, event: &'a StoredEvent) {
        self.push_place(&event.stream, event.revision, event.event_id);
        self.event_type.push(&event.event_type);
        self.schema_version.push(event.schema_version);
        self.effective_on.push(event.effective_on);
        self.push_provenance(&event.provenance);
        self.data.push(&event.data);
    }

    fn push_place(&mut self, stream: &'a StreamId, revision: i64, id: EventId) {
        self.tenant.push(stream.tenant.into());
        self.kind.push(stream.kind.name());
        self.stream_id.push(stream.id);
        self.revision.push(revision);
        self.event_id.push(id.into());
    }

    fn push_provenance(&mut self, provenance: &'a Provenance) {
        self.actor.push(&provenance.actor);
        self.correlation_id.push(provenance.correlation);
        self.causation_id.push(provenance.causation.into());
        self.backfill.push(provenance.backfill);
        self.traceparent.push(provenance.traceparent.as_deref());
    }
}

/// Stores events that were recorded in another log, as they were: the next ones in the order of that log. Within the caller's
/// transaction, which must name all tenants concerned.
///
/// # Errors
/// [`DatabaseError::Contended`] when the log, or a stream, ends elsewhere than right before them; [`DatabaseError::Corrupt`] when they
/// are not in order. Otherwise when the database fails.
pub async fn restore(connection: &mut Connection, events: &[StoredEvent]) -> Result<(), DatabaseError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    let (moved, revisions) = streams_of(events).ok_or(DatabaseError::Corrupt("order of events"))?;
    move_streams(connection, &moved, &revisions).await?;
    let mut rows = Columns::with_capacity(events.len());
    for event in events {
        rows.push_stored(event);
    }
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    let recorded_at: Vec<Timestamp> = events.iter().map(|event| event.recorded_at).collect();
    let stored: Option<()> = sqlx::query_scalar(
        "with head as (update log_head set position = $2, recorded_at = greatest(recorded_at, (select max(at) from unnest($4::timestamptz[]) as u(at)))
                        where position = $1 - 1 returning position),
              stored as (
                insert into event (position, tenant, kind, stream_id, revision, event_id, event_type, schema_version, effective_on, recorded_at,
                                   actor, correlation_id, causation_id, backfill, traceparent, data)
                select u.* from head, unnest($3::bigint[], $5::uuid[], $6::text[], $7::uuid[], $8::bigint[], $9::uuid[], $10::text[], $11::smallint[],
                                             $12::date[], $4::timestamptz[], $13::text[], $14::uuid[], $15::uuid[], $16::boolean[], $17::text[],
                                             $18::bytea[]) as u),
              remembered as (
                insert into event_id (tenant, event_id, position)
                select u.* from head, unnest($5::uuid[], $9::uuid[], $3::bigint[]) as u)
         select pg_notify($19, position::text) from head",
    )
    .bind(first.position)
    .bind(last.position)
    .bind(positions)
    .bind(recorded_at)
    .bind(&rows.tenant)
    .bind(&rows.kind)
    .bind(&rows.stream_id)
    .bind(&rows.revision)
    .bind(&rows.event_id)
    .bind(&rows.event_type)
    .bind(&rows.schema_version)
    .bind(&rows.effective_on)
    .bind(&rows.actor)
    .bind(&rows.correlation_id)
    .bind(&rows.causation_id)
    .bind(&rows.backfill)
    .bind(&rows.traceparent)
    .bind(&rows.data)
    .bind(LOG_CHANNEL)
    .fetch_optional(&mut *connection)
    .await
    .doing("restore events")?;
    stored.ok_or(DatabaseError::Contended("the log"))?;
    keep_ahead(connection, first.position, last.position).await
}

/// Where events move their streams to, and where these must be before, of those that exist; none if they are not in order.
#[expect(clippy::type_complexity, reason = "what `move_streams` takes")]
fn streams_of(events: &[StoredEvent]) -> Option<(Vec<(StreamKey, i64)>, HashMap<StreamKey, i64>)> {
    let (mut moved, mut revisions) = (HashMap::new(), HashMap::new());
    for (event, position) in events.iter().zip(events.first()?.position..) {
        let stream = key(&event.stream);
        let before = moved.insert(stream, event.revision);
        if before.is_none() && event.revision > 1 {
            revisions.insert(stream, event.revision - 1);
        }
        let is_next = before.is_none_or(|before| event.revision == before + 1);
        if event.position != position || event.revision < 1 || !is_next {
            return None;
        }
    }
    let mut moved: Vec<_> = moved.into_iter().collect();
    moved.sort_unstable();
    Some((moved, revisions))
}

/// A row of `event`.
#[derive(sqlx::FromRow)]
struct EventRow {
    position: i64,
    tenant: Uuid,
    kind: String,
    stream_id: Uuid,
    revision: i64,
    event_id: Uuid,
    event_type: String,
    schema_version: i16,
    effective_on: Date,
    recorded_at: Timestamp,
    actor: String,
    correlation_id: Uuid,
    causation_id: Uuid,
    backfill: bool,
    traceparent: Option<String>,
    data: Vec<u8>,
}

impl EventRow {
    fn event(self) -> Result<StoredEvent, DatabaseError> {
        Ok(StoredEvent {
            position: self.position,
            stream: StreamId::new(
                TenantId::from_uuid(self.tenant),
                self.kind
                    .parse()
                    .map_err(|_| DatabaseError::Corrupt("kind of stream"))?,
                self.stream_id,
            ),
            revision: self.revision,
            event_id: EventId::from_uuid(self.event_id),
            event_type: self.event_type,
            schema_version: self.schema_version,
            effective_on: self.effective_on,
            recorded_at: self.recorded_at,
            provenance: Provenance {
                actor: self.actor,
                correlation: self.correlation_id,
                causation: CommandId::from_uuid(self.causation_id),
                backfill: self.backfill,
                traceparent: self.traceparent,
            },
            data: self.data,
        })
    }
}

fn events(rows: Vec<EventRow>) -> Result<Vec<StoredEvent>, DatabaseError> {
    rows.into_iter().map(EventRow::event).collect()
}

/// The whole histories of `streams`, in log order.
///
/// # Errors
/// When the database fails.
pub async fn read_streams(
    connection: &mut Connection,
    streams: &[StreamId],
) -> Result<Vec<StoredEvent>, DatabaseError> {
    let tenants: Vec<Uuid> = streams.iter().map(|stream| stream.tenant.into()).collect();
    let kinds: Vec<&str> = streams.iter().map(|stream| stream.kind.name()).collect();
    let ids: Vec<Uuid> = streams.iter().map(|stream| stream.id).collect();
    let rows: Vec<EventRow> = sqlx::query_as(
        "select e.* from unnest($1::uuid[], $2::text[], $3::uuid[]) as u(tenant, kind, stream_id)
          cross join lateral (select * from event where (tenant, kind, stream_id) = (u.tenant, u.kind, u.stream_id) offset 0) e order by e.position",
    )
    .bind(tenants)
    .bind(kinds)
    .bind(ids)
    .fetch_all(&mut *connection)
    .await
    .doing("read streams")?;
    let mut rows = events(rows)?;
    let whole: HashSet<StreamId> = rows
        .iter()
        .filter(|event| event.revision == 1)
        .map(|event| event.stream)
        .collect();
    let begun: Vec<&StreamId> = streams.iter().filter(|stream| !whole.contains(stream)).collect();
    if begun.is_empty() {
        return Ok(rows);
    }
    let archived = Archived::look(connection).await?;
    let mut events = archived.of_streams(connection, &begun).await?;
    if !events.is_empty() {
        rows.retain(|event| event.position > archived.last() || whole.contains(&event.stream));
    }
    events.append(&mut rows);
    events.sort_by_key(|event| event.position);
    Ok(events)
}

/// Streams of the transaction's tenants after `after`, in the order of tenant, kind and id, each with its number of events.
///
/// # Errors
/// When the database fails.
pub async fn streams_after(
    connection: &mut Connection,
    after: Option<(Uuid, String, Uuid)>,
    limit: i64,
) -> Result<Vec<(Uuid, String, Uuid, i64)>, DatabaseError> {
    let (tenant, kind, id) = after.map_or((Uuid::nil(), String::new(), Uuid::nil()), |after| after);
    sqlx::query_as(
        "select tenant, kind, id, revision from stream where (tenant, kind, id) > ($1, $2, $3) order by tenant, kind, id limit $4",
    )
    .bind(tenant)
    .bind(kind)
    .bind(id)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("list streams")
}

/// One tenant's events of all kinds after `position`, in order: at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn read_tenant_after(
    connection: &mut Connection,
    tenant: TenantId,
    position: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, DatabaseError> {
    let rows: Vec<EventRow> =
        sqlx::query_as("select * from event where tenant = $1 and position > $2 order by position limit $3")
            .bind(Uuid::from(tenant))
            .bind(position)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await
            .doing("read a tenant's events")?;
    Archived::look(connection)
        .await?
        .of_tenant_after((tenant, None), position, limit, events(rows)?)
        .await
}

/// How many of a tenant's events the registry of event ids does not know by their position, or knows though they are not there.
///
/// # Errors
/// When the database fails.
pub async fn unregistered(connection: &mut Connection, tenant: TenantId) -> Result<i64, DatabaseError> {
    sqlx::query("lock table event in access share mode") // what is looked at next stays so
        .execute(&mut *connection)
        .await
        .doing("keep events where they are")?;
    let archived = Archived::look(connection).await?;
    let in_table: i64 = sqlx::query_scalar(
        "select count(*) from (select event_id, position from event where tenant = $1 and position > $2) e
           full join (select event_id, position from event_id where tenant = $1 and position > $2) i using (event_id, position)
          where e.event_id is null or i.event_id is null",
    )
    .bind(Uuid::from(tenant))
    .bind(archived.last())
    .fetch_one(&mut *connection)
    .await
    .doing("compare events with their ids")?;
    Ok(in_table + archived.unregistered(connection, tenant).await?)
}

/// How many of a tenant's streams are not at the revision of their last event.
///
/// # Errors
/// When the database fails.
pub async fn streams_astray(connection: &mut Connection, tenant: TenantId) -> Result<i64, DatabaseError> {
    sqlx::query_scalar(
        "select count(*) from (select kind, stream_id as id, max(revision) as revision
                                 from (select kind, stream_id, revision from event where tenant = $1
                                       union all
                                       select kind, stream_id, revision + cardinality(positions) - 1 from archived_stream where tenant = $1) r
                                group by 1, 2) e
           full join (select kind, id, revision from stream where tenant = $1) s using (kind, id, revision)
          where e.kind is null or s.kind is null",
    )
    .bind(Uuid::from(tenant))
    .fetch_one(connection)
    .await
    .doing("compare streams with their events")
}

/// The log after `position`, of all tenants: for the relay's role.
///
/// # Errors
/// When the database fails.
pub async fn read_after(
    connection: &mut Connection,
    position: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, DatabaseError> {
    let rows: Vec<EventRow> = sqlx::query_as("select * from event where position > $1 order by position limit $2")
        .bind(position)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await
        .doing("read the log")?;
    let rows = events(rows)?;
    // Positions are gapless: what comes next is in the table, or was moved, or is not there yet.
    if rows.first().is_some_and(|event| event.position == position + 1) {
        return Ok(rows);
    }
    Archived::look(connection).await?.after(position, limit, rows).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(stream: u128, expected: i64, event: u128) -> Append {
        Append {
            stream: StreamId::new(
                TenantId::from_uuid(Uuid::nil()),
                Kind::Employee,
                Uuid::from_u128(stream),
            ),
            expected,
            events: vec![NewEvent {
                event_id: EventId::from_uuid(Uuid::from_u128(event)),
                event_type: "employee.note-written".to_owned(),
                schema_version: 1,
                effective_on: Date::default(),
                provenance: Provenance {
                    actor: "user:7".to_owned(),
                    correlation: Uuid::nil(),
                    causation: CommandId::from_uuid(Uuid::nil()),
                    backfill: false,
                    traceparent: None,
                },
                data: b"{}".to_vec(),
            }],
        }
    }

    fn queued(stream: u128) -> Queued {
        Queued {
            append: append(stream, 0, stream),
            answer: oneshot::channel().0,
        }
    }

    #[test]
    fn nothing_is_assumed_that_the_write_would_not_contradict() {
        let nothing = Append {
            events: vec![],
            ..append(2, 3, 2)
        };
        for untold in [nothing, append(2, 0, 1), append(2, -1, 2)] {
            assert!(There::as_expected(&[append(1, 0, 1), untold]).is_none());
        }
        // A stream's later append may be wrong about it: the first one's word is what the write checks.
        let appends = [append(1, 3, 1), append(1, 9, 2), append(2, 0, 3)];
        let there = There::as_expected(&appends).expect("an assumption");
        assert_eq!(there.revisions, HashMap::from([(key(&appends[0].stream), 3)]));
        let plan = Plan::make(&appends, &there);
        let moved: Vec<StreamKey> = plan.moved.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(
            moved,
            [key(&appends[0].stream), key(&appends[2].stream)],
            "both are checked"
        );
        assert_eq!(plan.answers(&appends, 10)[1], Appended::Conflict { actual: 4 });
    }

    #[test]
    fn many_go_in_two_batches_and_a_streams_appends_one_after_the_other() {
        let mut waiting: Vec<Queued> = (0..OVERLAP_FROM as u128 - 1).map(queued).collect();
        assert_eq!(take_batch(&mut waiting, &HashSet::new(), 0).len(), OVERLAP_FROM - 1);

        let mut waiting: Vec<Queued> = (0..OVERLAP_FROM as u128).map(|n| queued(n % 100)).collect();
        let first = take_batch(&mut waiting, &HashSet::new(), 0);
        assert_eq!((first.len(), waiting.len()), (OVERLAP_FROM / 2, OVERLAP_FROM / 2));
        let busy = first.iter().map(|queued| key(&queued.append.stream)).collect();
        let second = take_batch(&mut waiting, &busy, 1);
        assert!(second.iter().all(|queued| !busy.contains(&key(&queued.append.stream))));
        assert_eq!((second.len(), waiting.len()), (36, 28), "0 to 27 came twice");
        assert!(take_batch(&mut waiting, &busy, 2).is_empty());
    }
}
