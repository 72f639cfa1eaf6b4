//! Runs a projection: batches of events become rows, with the checkpoint, in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{Kind, StreamId, Timestamp};
use futures_util::future::BoxFuture;
use infra::{
    broker::{self, BrokerError, Delivery, Member, Record},
    checkpoint::{self, Checkpoint, Step},
    clock,
    database::{Access, Connection, DatabaseError},
    event_log,
    parked::{self, Parked, UNKNOWN_TENANT},
    route,
    sealing::{Place, SealingError, Subject, SubjectKey, open_payload},
};
use schemas::{
    codec::AnyEvent,
    envelope::{LogId, Received, StoredEvent},
    topics,
};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ProjectionWorkers;

/// Events of one transaction at most.
pub const BATCH_EVENTS_MAX: usize = 5_000;
/// A backlog from which the next batch is read while one is written.
const READ_AHEAD_EVENTS_MIN: usize = 500;
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// How often a projection gets to do what time alone asks for, and re-drives are looked for.
const TICK: Duration = Duration::from_secs(1);
const REDRIVE_MAX: i64 = 1_000;

/// An event with its personal values opened (or unreadable).
#[derive(Debug, Clone)]
pub struct Opened {
    pub stored: Arc<StoredEvent>,
    pub event: AnyEvent,
}

/// The partitions that a process owns at a moment. Others may follow, or be taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    partitions: BTreeSet<i32>,
    /// Of so many.
    of: i32,
}

impl Owned {
    #[must_use]
    pub fn new(partitions: impl IntoIterator<Item = i32>, of: i32) -> Self {
        Self {
            partitions: partitions.into_iter().collect(),
            of,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Whether a stream's events come to this process.
    #[must_use]
    pub fn holds(&self, stream: &StreamId) -> bool {
        self.partitions
            .contains(&topics::partition(topics::key(stream).as_bytes(), self.of))
    }

    /// Whether all partitions of `other` are among these.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.partitions.is_subset(&self.partitions)
    }
}

/// Turns events into rows.
pub trait Projection: Clone + Send + Sync + 'static {
    /// The consumer group, and the name in the checkpoints. Never changes.
    const NAME: &'static str;

    /// Whether events of this type are opened for it; others only move its checkpoint.
    #[must_use]
    fn wants(_event_type: &str) -> bool {
        true
    }

    /// Applies events (in the order of each stream) within the caller's transaction.
    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>>;

    /// What time alone asks for: called about once a second, between batches, for streams of the partitions that this
    /// process owns then.
    fn tick<'c>(&'c self, owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>>;

    /// Told after a commit.
    fn committed(&self) {}
}

#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    #[error("the projection's database work failed: {0}")]
    Database(#[from] DatabaseError),
    #[error("the projection could not open events")]
    Sealing(#[from] SealingError),
    #[error("the projection could not consume")]
    Broker(#[from] BrokerError),
    #[error("the projection's partitions cannot be read: {0}")]
    Broken(String),
    #[error("the projection's input ended")]
    Ended,
}

impl RunnerError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) | Self::Sealing(SealingError::Database(error)) => error.is_transient(),
            Self::Sealing(_) | Self::Broker(_) | Self::Broken(_) | Self::Ended => false,
        }
    }
}

/// Runs until shut down. Losing a partition to another process ends it with an error: start it again.
///
/// # Errors
/// When it cannot go on by itself.
pub async fn run<P: Projection>(
    workers: ProjectionWorkers,
    projection: P,
    shutdown: CancellationToken,
) -> Result<(), RunnerError> {
    let member = Member {
        group: P::NAME,
        topic: topics::EVENTS,
        instance: format!("{}-{}", workers.instance, P::NAME),
    };
    let own = shutdown.child_token();
    let _stop_consuming = own.clone().drop_guard();
    let partitions = workers.bulk.partitions(topics::EVENTS).await?;
    let mut deliveries = broker::consume(&workers.brokers, member, workers.database.clone(), own)?;
    let mut runner = Runner {
        writer: Writer {
            workers,
            projection,
            partitions,
            shutdown: shutdown.clone(),
        },
        owned: BTreeMap::new(),
        under_way: None,
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut arrived = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return runner.settle().await.map(drop),
            _tick = tick.tick() => runner.tick().await?,
            written = under_way(&mut runner.under_way) => drop(runner.settled(written)?),
            // A few events rather wait for the batch before them and go with those that come meanwhile.
            count = deliveries.recv_many(&mut arrived, BATCH_EVENTS_MAX),
                if runner.under_way.is_none() || deliveries.len() >= READ_AHEAD_EVENTS_MIN =>
            {
                if count == 0 {
                    return if shutdown.is_cancelled() { Ok(()) } else { Err(RunnerError::Ended) };
                }
                runner.handle(arrived.drain(..)).await?;
            }
        }
    }
}

/// While one batch is written, the next is read.
struct Runner<P> {
    writer: Writer<P>,
    /// Where each partition stands once the batch that is under way is written.
    owned: BTreeMap<i32, Checkpoint>,
    under_way: Option<JoinHandle<Result<Written, RunnerError>>>,
}

/// A batch on its way: what to apply, what to park, where the checkpoints go.
#[derive(Default)]
struct Batch {
    events: Vec<Opened>,
    parked: Vec<Parked>,
    steps: Vec<Step>,
}

/// What the batch after this one has to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// All of it.
    Whole,
    /// Streams may be held now that were not when the next batch was read.
    WithParked,
}

/// Waits for what is under way; for ever if nothing is.
async fn under_way(
    task: &mut Option<JoinHandle<Result<Written, RunnerError>>>,
) -> Result<Result<Written, RunnerError>, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

impl<P: Projection> Runner<P> {
    async fn handle(&mut self, deliveries: impl Iterator<Item = Delivery>) -> Result<(), RunnerError> {
        let mut records = Vec::new();
        for delivery in deliveries {
            match delivery {
                Delivery::Record(record) => {
                    if self
                        .owned
                        .get(&record.partition)
                        .is_some_and(|checkpoint| record.offset >= checkpoint.next_offset)
                    {
                        records.push(record);
                    }
                }
                Delivery::Assigned(checkpoint) => {
                    self.process(std::mem::take(&mut records)).await?;
                    self.settle().await?;
                    self.owned.insert(checkpoint.partition, checkpoint);
                }
                Delivery::Revoked(partition) => {
                    self.process(std::mem::take(&mut records)).await?;
                    self.settle().await?;
                    self.owned.remove(&partition);
                }
                Delivery::Broken(cause) => return Err(RunnerError::Broken(cause)),
            }
        }
        self.process(records).await
    }

    /// Reads records while the batch before is written, and then begins to write them.
    async fn process(&mut self, records: Vec<Record>) -> Result<(), RunnerError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut batch = self.read_patiently(&records).await?;
        if self.settle().await? == Written::WithParked {
            batch = self.read_patiently(&records).await?;
        }
        let Some(batch) = batch else { return Ok(()) };
        for step in &batch.steps {
            if let Some(owned) = self.owned.get_mut(&step.from.partition) {
                (owned.next_offset, owned.position) = (step.next_offset, step.position);
            }
        }
        let writer = self.writer.clone();
        self.under_way = Some(tokio::spawn(async move { writer.write(batch).await }));
        Ok(())
    }

    /// Waits until nothing is under way. Without it, rows are not touched and partitions not given up.
    async fn settle(&mut self) -> Result<Written, RunnerError> {
        if self.under_way.is_none() {
            return Ok(Written::Whole);
        }
        let written = under_way(&mut self.under_way).await;
        self.settled(written)
    }

    fn settled(&mut self, written: Result<Result<Written, RunnerError>, JoinError>) -> Result<Written, RunnerError> {
        self.under_way = None;
        written.unwrap_or(Err(RunnerError::Database(DatabaseError::CutOff)))
    }

    /// However long the database is away; nothing after a shutdown.
    async fn read_patiently(&self, records: &[Record]) -> Result<Option<Batch>, RunnerError> {
        let mut patience = self.writer.patience();
        loop {
            match self.read(records).await {
                Ok(batch) => return Ok(Some(batch)),
                Err(error) => {
                    if !patience.after(error).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads, opens and decodes. What repeats an earlier position is skipped; what cannot be read is parked, with what
    /// follows it on its stream.
    async fn read(&self, records: &[Record]) -> Result<Batch, RunnerError> {
        let mut batch = Batch::default();
        let mut seen: HashMap<i32, (i64, Option<Timestamp>)> = HashMap::new();
        let mut stored = Vec::with_capacity(records.len());
        let log = self.writer.workers.database.log_id().await?;
        let mut foreign = None;
        for record in records {
            let Some(owned) = self.owned.get(&record.partition) else {
                continue;
            };
            let (position, recorded_at) = seen.entry(record.partition).or_insert((owned.position, None));
            match StoredEvent::read(&record.value) {
                // Its positions say nothing here.
                Ok(received) if received.log.is_some_and(|other| other != log) => foreign = received.log,
                // Something before it is missing here: the relay, which never got it confirmed, sends all of it again.
                Ok(Received {
                    event,
                    previous_position,
                    ..
                }) if previous_position > *position => {
                    metrics::counter!("tenure_projection_gaps_total", "projection" => P::NAME).increment(1);
                    tracing::warn!(
                        projection = P::NAME,
                        position = event.position,
                        "a gap before position {}: waiting for the relay",
                        event.position
                    );
                }
                Ok(Received { event, .. }) if event.position > *position => {
                    (*position, *recorded_at) = (event.position, Some(event.recorded_at));
                    if P::wants(&event.event_type) {
                        stored.push((Arc::new(event), record));
                    }
                }
                Ok(_) => metrics::counter!("tenure_projection_repeats_total", "projection" => P::NAME).increment(1),
                Err(error) => {
                    let nowhere = StreamId::new(UNKNOWN_TENANT, Kind::Tenant, Uuid::nil());
                    batch.parked.push(self.writer.park(
                        nowhere,
                        record.partition,
                        record.offset,
                        0,
                        error.to_string(),
                        record.headers_text(),
                        record.value.clone(),
                    ));
                }
            }
        }
        if let Some(LogId(other)) = foreign {
            metrics::counter!("tenure_projection_foreign_total", "projection" => P::NAME).increment(1);
            tracing::error!(
                projection = P::NAME,
                "{} also holds events of another log ({other}; ours is {}): they are left out. Was this Kafka used with another database \
                 before? Two installations cannot share one Kafka.",
                topics::EVENTS,
                log.0
            );
        }
        batch.steps = self.steps(records, &seen);
        let streams: HashSet<StreamId> = stored.iter().map(|(event, _)| event.stream).collect();
        batch.events.reserve(stored.len());
        let mut held = self.held(streams.iter().copied().collect()).await?;
        let keys = self.keys(stored.iter().map(|(event, _)| event.as_ref())).await?;
        for (event, record) in stored {
            let cause = if held.contains(&event.stream) {
                "waits behind a parked event of its stream".to_owned()
            } else {
                match open(&event, keys.get(&(event.stream.tenant, event.stream.id))) {
                    Ok(opened) => {
                        batch.events.push(Opened {
                            stored: event,
                            event: opened,
                        });
                        continue;
                    }
                    Err(cause) => cause,
                }
            };
            held.insert(event.stream);
            batch.parked.push(self.writer.park(
                event.stream,
                record.partition,
                record.offset,
                event.position,
                cause,
                record.headers_text(),
                record.value.clone(),
            ));
        }
        Ok(batch)
    }

    fn steps(&self, records: &[Record], seen: &HashMap<i32, (i64, Option<Timestamp>)>) -> Vec<Step> {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for record in records {
            let upto = last.entry(record.partition).or_insert(record.offset);
            *upto = record.offset.max(*upto);
        }
        last.into_iter()
            .filter_map(|(partition, offset)| {
                let from = *self.owned.get(&partition)?;
                let (position, recorded_at) = seen.get(&partition).copied().unwrap_or((from.position, None));
                Some(Step {
                    from,
                    next_offset: offset + 1,
                    position,
                    recorded_at,
                })
            })
            .collect()
    }

    async fn held(&self, streams: Vec<StreamId>) -> Result<HashSet<StreamId>, RunnerError> {
        let tenants = event_log::tenants_of(streams.iter().map(|stream| stream.tenant));
        Ok(self
            .writer
            .workers
            .database
            .transact(Access::LookUp, &tenants, move |connection| {
                Box::pin(async move { parked::held_streams(connection, P::NAME, &streams).await })
            })
            .await?)
    }

    async fn keys(
        &self,
        events: impl Iterator<Item = &StoredEvent>,
    ) -> Result<HashMap<Subject, SubjectKey>, RunnerError> {
        let mut subjects: Vec<Subject> = events.map(|event| (event.stream.tenant, event.stream.id)).collect();
        subjects.sort_unstable();
        subjects.dedup();
        Ok(self.writer.workers.keyring.subjects(&subjects).await?)
    }

    async fn tick(&mut self) -> Result<(), RunnerError> {
        self.settle().await?;
        let done = async {
            self.redrive().await?;
            let owned = Owned::new(self.owned.keys().copied(), self.writer.partitions);
            self.writer.projection.tick(&owned).await?;
            Ok::<(), RunnerError>(())
        };
        match done.await {
            Err(error) if error.is_transient() => Ok(()),
            other => other,
        }
    }

    /// Applies parked events whose retry was asked for, with what waits behind them, in order.
    async fn redrive(&self) -> Result<(), RunnerError> {
        if self.owned.is_empty() {
            return Ok(());
        }
        let mut tenants = self
            .writer
            .workers
            .database
            .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
            .await?;
        tenants.push(UNKNOWN_TENANT);
        let partitions: Vec<i32> = self.owned.keys().copied().collect();
        let again = self
            .writer
            .workers
            .database
            .transact(Access::Read, &tenants, move |connection| {
                Box::pin(async move { parked::to_retry(connection, P::NAME, &partitions, REDRIVE_MAX).await })
            })
            .await?;
        let mut held: HashSet<StreamId> = HashSet::new();
        for item in again {
            if held.contains(&item.stream) {
                continue;
            }
            let read = StoredEvent::read(&item.value).map_err(|error| error.to_string());
            let keys = self
                .writer
                .workers
                .keyring
                .subjects(&[(item.stream.tenant, item.stream.id)])
                .await?;
            let outcome = match read.and_then(|Received { event, .. }| {
                open(&event, keys.get(&(event.stream.tenant, event.stream.id))).map(|opened| Opened {
                    stored: Arc::new(event),
                    event: opened,
                })
            }) {
                Ok(opened) => self.writer.commit_redriven(opened, &item).await,
                Err(cause) => Err(cause),
            };
            if let Err(cause) = outcome {
                held.insert(item.stream);
                let (stream, again) = (item.stream, Parked { cause, ..item });
                self.writer
                    .workers
                    .database
                    .transact(Access::Write, &[stream.tenant], move |connection| {
                        Box::pin(async move {
                            parked::park(connection, &[again]).await?;
                            parked::stop_retry(connection, P::NAME, stream).await
                        })
                    })
                    .await?;
            }
        }
        Ok(())
    }
}

/// Writes batches. Cheap to clone.
#[derive(Clone)]
struct Writer<P> {
    workers: ProjectionWorkers,
    projection: P,
    partitions: i32,
    shutdown: CancellationToken,
}

impl<P: Projection> Writer<P> {
    /// However long the database is away; nothing after a shutdown.
    async fn write(&self, batch: Batch) -> Result<Written, RunnerError> {
        let (started, batch) = (Instant::now(), Arc::new(batch));
        let mut patience = self.patience();
        let written = loop {
            if self.shutdown.is_cancelled() {
                return Ok(Written::Whole);
            }
            match self.try_write(&batch).await {
                Ok(written) => break written,
                Err(error) => drop(patience.after(error).await?),
            }
        };
        self.projection.committed();
        let count = batch.events.len();
        metrics::histogram!("tenure_projection_batch_seconds", "projection" => P::NAME)
            .record(started.elapsed().as_secs_f64());
        metrics::histogram!("tenure_projection_batch_size", "projection" => P::NAME).record(count as f64);
        metrics::counter!("tenure_projected_events_total", "projection" => P::NAME).increment(count as u64);
        Ok(written)
    }

    async fn try_write(&self, batch: &Arc<Batch>) -> Result<Written, RunnerError> {
        match self.commit(Arc::clone(batch)).await {
            Ok(()) if batch.parked.is_empty() => Ok(Written::Whole),
            Ok(()) => Ok(Written::WithParked),
            // A panic cuts the task off; a broken value is an error that no retry mends. Find out which event it is.
            Err(RunnerError::Database(
                error @ (DatabaseError::CutOff | DatabaseError::Corrupt(_) | DatabaseError::Failed { .. }),
            )) if matches!(error, DatabaseError::CutOff) || !error.is_transient() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    projection = P::NAME,
                    "{} meets an event that it cannot apply",
                    P::NAME
                );
                self.one_by_one(batch).await.map(|()| Written::WithParked)
            }
            Err(error) => Err(error),
        }
    }

    /// Applies a batch's events each in a transaction of its own, parking those that fail, and then moves the checkpoint.
    /// Applying again after a crash in between is harmless: rows carry the position that they have seen.
    async fn one_by_one(&self, batch: &Batch) -> Result<(), RunnerError> {
        let mut rest = Batch {
            events: Vec::new(),
            parked: batch.parked.clone(),
            steps: batch.steps.clone(),
        };
        let log = self.workers.database.log_id().await?;
        let mut held: HashSet<StreamId> = HashSet::new();
        for opened in &batch.events {
            let stream = opened.stored.stream;
            if held.contains(&stream) {
                rest.parked.push(self.park_event(
                    &opened.stored,
                    log,
                    "waits behind a parked event of its stream".to_owned(),
                ));
                continue;
            }
            let alone = Batch {
                events: vec![opened.clone()],
                ..Batch::default()
            };
            match self.commit(Arc::new(alone)).await {
                Ok(()) => {}
                Err(RunnerError::Database(error))
                    if error.is_transient() && !matches!(error, DatabaseError::CutOff) =>
                {
                    return Err(error.into());
                }
                Err(RunnerError::Database(error @ DatabaseError::Fenced(_))) => return Err(error.into()),
                Err(error) => {
                    held.insert(stream);
                    rest.parked.push(self.park_event(
                        &opened.stored,
                        log,
                        format!("{} cannot apply it: {error}", P::NAME),
                    ));
                }
            }
        }
        self.commit(Arc::new(rest)).await
    }

    async fn commit(&self, batch: Arc<Batch>) -> Result<(), RunnerError> {
        let tenants = event_log::tenants_of(
            (batch.events.iter().map(|opened| opened.stored.stream.tenant))
                .chain(batch.parked.iter().map(|item| item.stream.tenant)),
        );
        let projection = self.projection.clone();
        self.workers
            .database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move {
                    projection.apply(connection, &batch.events).await?;
                    parked::park(connection, &batch.parked).await?;
                    fail::fail_point!("mid-projection");
                    if batch.steps.is_empty() {
                        Ok(())
                    } else {
                        checkpoint::advance(connection, P::NAME, topics::EVENTS, &batch.steps).await
                    }
                })
            })
            .await?;
        fail::fail_point!("after-projection");
        Ok(())
    }

    async fn commit_redriven(&self, opened: Opened, item: &Parked) -> Result<(), String> {
        let (projection, tenant, id) = (self.projection.clone(), item.stream.tenant, item.id);
        let tenants = [tenant];
        let done = self
            .workers
            .database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move {
                    projection.apply(connection, &[opened]).await?;
                    parked::resolve(connection, &[(tenant, id)]).await
                })
            });
        done.await
            .map_err(|error| format!("{} cannot apply it: {error}", P::NAME))
    }

    fn park_event(&self, event: &StoredEvent, log: LogId, cause: String) -> Parked {
        let partition = topics::partition(topics::key(&event.stream).as_bytes(), self.partitions);
        self.park(
            event.stream,
            partition,
            0,
            event.position,
            cause,
            BTreeMap::new(),
            event.write(log, 0),
        )
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    fn park(
        &self,
        stream: StreamId,
        partition: i32,
        offset: i64,
        position: i64,
        cause: String,
        headers: BTreeMap<String, String>,
        value: Vec<u8>,
    ) -> Parked {
        tracing::error!(projection = P::NAME, %stream, position, cause, "{} parked the event at position {position}: {cause}", P::NAME);
        let place = if position > 0 {
            format!("position {position}")
        } else {
            format!("{partition}/{offset}")
        };
        Parked {
            id: Uuid::new_v5(
                &Uuid::NAMESPACE_OID,
                format!("{}|{}|{place}", P::NAME, topics::EVENTS).as_bytes(),
            ),
            consumer: P::NAME.to_owned(),
            stream,
            topic: topics::EVENTS.to_owned(),
            partition,
            offset,
            position,
            cause,
            headers,
            value,
            parked_at: clock::now(),
        }
    }

    const fn patience(&self) -> Patience<'_> {
        Patience {
            projection: P::NAME,
            told: false,
            shutdown: &self.shutdown,
        }
    }
}

/// How to wait for a database that is away.
struct Patience<'s> {
    projection: &'static str,
    told: bool,
    shutdown: &'s CancellationToken,
}

impl Patience<'_> {
    /// Waits a moment; whether to try again.
    async fn after(&mut self, error: RunnerError) -> Result<bool, RunnerError> {
        if !error.is_transient() {
            return Err(error);
        }
        if !self.told {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                projection = self.projection,
                "{} waits for the database",
                self.projection
            );
            self.told = true;
        }
        tokio::time::sleep(RETRY_DELAY).await;
        Ok(!self.shutdown.is_cancelled())
    }
}

/// Opens and decodes, or says why not.
pub(crate) fn open(event: &StoredEvent, key: Option<&SubjectKey>) -> Result<AnyEvent, String> {
    let mut payload = serde_json::from_slice(&event.data).map_err(|_| "the payload is not JSON".to_owned())?;
    open_payload(
        key,
        Place {
            stream: &event.stream,
            event_id: event.event_id,
            schema_version: event.schema_version,
        },
        &mut payload,
    );
    AnyEvent::decode(&event.event_type, event.schema_version, payload).map_err(|error| error.to_string())
}
