//! Makes read models again from the log, beside the live ones, and puts them in their place.
//!
//! A generation follows the live projection, never ahead of it: of each partition it has what is projected there. Both can then be
//! compared row by row in a moment in which nothing is projected, and change places in it. Rows go with the note of how far they
//! are in one transaction, so that a rebuild that was killed goes on where it was.
//!
//! Only rows are made: a projection's other doings (commands, notifications, metrics of what people wait for) are not its `apply`.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{StreamId, id::TenantId};
use infra::{
    checkpoint,
    database::{Access, Database, DatabaseError},
    event_log,
    generation::{self, Begun, Compared, Filling, GenerationError, Standstill, StreamKey, Workshop},
    log_archive::Archived,
    read_model::shadow,
    sealing::Keyring,
};
use schemas::{envelope::StoredEvent, topics};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    proof,
    read_models::{self, ReadModels},
    runner::{self, BATCH_EVENTS_MAX, Opened, Projection},
};

/// Events that the log is read by.
const PAGE_EVENTS_MAX: i64 = 2 * BATCH_EVENTS_MAX as i64;
/// Streams that are written at once, if they have no more than [`PAGE_EVENTS_MAX`] events.
const STREAMS_MAX: i64 = 2_000;
/// How often a batch is tried whose rows somebody else held.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// A generation that is behind by fewer events is brought up in the standstill.
const CLOSE_ENOUGH: i64 = 500;
/// Rounds of catching up before the standstill ends them in any case.
const ROUNDS_MAX: usize = 20;

/// The tables with rows of one person.
const PERSONAL: [&str; 6] = [
    "employee",
    "employee_version",
    "timeline_entry",
    "risk_history",
    "readiness_history",
    "pay_change",
];

/// What a rebuild came to.
#[derive(Debug)]
pub struct Outcome {
    pub begun: Begun,
    /// Events that rows were made of in this run.
    pub events: u64,
    pub tables: Vec<Compared>,
    /// Events that cannot be read, now as before, with those that wait behind them.
    pub unread: usize,
    /// Parked events that went through. None: nothing was put in place.
    pub resolved: Option<u64>,
}

/// What is to become of the new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// It takes the place of the live one.
    Flip,
    /// It is compared, and removed.
    Compare,
    /// The kept generation is brought up to date and takes the place of the live one.
    Back,
}

/// Rebuilds the read models, and tells `show` how many events are done of how many.
pub struct Rebuild<'r> {
    pub database: Database,
    pub keyring: Keyring,
    pub workshop: Workshop,
    /// Pieces that the streams which are read at once are written in, each in a transaction.
    pub workers: usize,
    pub show: &'r (dyn Fn(u64, u64) + Sync),
}

/// Streams that are being written.
struct Writing {
    /// The last of them.
    upto: StreamKey,
    /// Each of them tells how many events it had.
    pieces: JoinSet<Result<u64, DatabaseError>>,
}

/// Events that cannot be read, and the streams that wait behind them.
#[derive(Debug, Default)]
struct Unread {
    streams: HashSet<StreamId>,
    positions: Vec<i64>,
}

impl Rebuild<'_> {
    /// # Errors
    /// When the database or a key fails, or the new generation may not take the live one's place: that is then unchanged.
    pub async fn run(&self, aim: Aim) -> Result<Outcome, GenerationError> {
        let live = self.live().await?;
        let begun = match aim {
            Aim::Back => {
                self.workshop.begin_with_kept(&live).await?;
                Begun::Again
            }
            Aim::Flip | Aim::Compare => self.workshop.begin(&live).await?,
        };
        let unread = Arc::default();
        let mut events = self.fill(&unread).await?;
        for _ in 0..ROUNDS_MAX {
            let live = self.live().await?;
            let behind = self.behind(&live).await?;
            events += self.catch_up(&live, &unread).await?;
            if behind < CLOSE_ENOUGH {
                break;
            }
        }
        fail::fail_point!("before-flip");
        let mut still = self.workshop.stand_still().await?;
        let finished = self.finish(&mut still, &unread).await;
        let (live, more, tables) = match finished {
            Ok(finished) => finished,
            Err(error) => {
                still.leave().await?;
                return Err(error.into());
            }
        };
        let unread = std::mem::take(&mut *unread.lock().unwrap_or_else(PoisonError::into_inner));
        let resolved = match aim {
            Aim::Flip | Aim::Back => Some(still.flip(ReadModels::NAME, &live, &unread.positions).await?),
            Aim::Compare => {
                still.leave().await?;
                self.workshop.abandon().await?;
                None
            }
        };
        Ok(Outcome {
            begun,
            events: events + more,
            tables,
            unread: unread.positions.len(),
            resolved,
        })
    }

    /// Fills an empty generation person by person, up to its targets: each row is then written once, however much has happened.
    /// Rows know the events that they have seen, so that a piece that was cut off can be written again.
    async fn fill(&self, unread: &Arc<Mutex<Unread>>) -> Result<u64, DatabaseError> {
        let Some(Filling { targets, mut after }) = self.workshop.filling().await? else {
            return Ok(0);
        };
        if after.is_none() && self.archived().await? > 0 {
            // The events of one person lie scattered over the archive's files: those are read through once instead.
            self.workshop.follow_from_the_beginning().await?;
            return Ok(0);
        }
        let all = targets.values().copied().max().unwrap_or(0);
        let targets = Arc::new(targets);
        let tenants = self.tenants().await?;
        let (mut events, mut before) = (0, None);
        loop {
            // Read while those before are written.
            let next = self.write_streams(&tenants, after, &targets, unread).await?;
            if let Some(Writing { upto, mut pieces }) = std::mem::replace(&mut before, next) {
                while let Some(written) = pieces.join_next().await {
                    events += written.map_err(|_| DatabaseError::CutOff)??;
                }
                self.workshop.filled_to(&upto).await?;
                fail::fail_point!("mid-rebuild");
                (self.show)(events, u64::try_from(all).unwrap_or(0));
            }
            let Some(Writing { upto, .. }) = &before else { break };
            after = Some(upto.clone());
        }
        self.workshop.filled().await?;
        Ok(events)
    }

    /// Begins to write the streams after `after`, as many as go at once. None: there are no more.
    async fn write_streams(
        &self,
        tenants: &[TenantId],
        after: Option<StreamKey>,
        targets: &Arc<BTreeMap<i32, i64>>,
        unread: &Arc<Mutex<Unread>>,
    ) -> Result<Option<Writing>, DatabaseError> {
        let mut streams = self
            .database
            .transact(Access::Read, tenants, move |connection| {
                Box::pin(event_log::streams_after(connection, after, STREAMS_MAX))
            })
            .await?;
        let mut count = 0;
        let many = streams.iter().position(|(.., revision)| {
            count += revision;
            count > PAGE_EVENTS_MAX
        });
        streams.truncate(many.map_or(STREAMS_MAX as usize, |many| many.max(1)));
        let Some((tenant, kind, id, _)) = streams.last().cloned() else {
            return Ok(None);
        };
        let mut pieces = JoinSet::new();
        for mine in streams.chunks(streams.len().div_ceil(self.workers)) {
            let mine: Result<Vec<StreamId>, DatabaseError> = mine.iter().map(stream).collect();
            let (mine, targets, unread) = (mine?, Arc::clone(targets), Arc::clone(unread));
            let (database, keyring) = (self.database.clone(), self.keyring.clone());
            let inside = self.workshop.inside.clone();
            pieces.spawn(async move {
                let events = whole(&database, mine, &targets).await?;
                let piece = open(&keyring, events, &unread).await?;
                let count = piece.events.len() as u64;
                write(inside, piece).await?;
                Ok(count)
            });
        }
        let upto = (tenant, kind, id);
        Ok(Some(Writing { upto, pieces }))
    }

    /// The last event that is in a file.
    async fn archived(&self) -> Result<i64, DatabaseError> {
        let archived = self
            .database
            .transact(Access::Read, &[], |connection| Box::pin(Archived::look(connection)));
        Ok(archived.await?.last())
    }

    async fn tenants(&self) -> Result<Vec<TenantId>, DatabaseError> {
        self.database
            .transact(Access::Read, &[], |connection| {
                Box::pin(infra::route::tenants(connection))
            })
            .await
    }

    async fn finish(
        &self,
        still: &mut Standstill,
        unread: &Arc<Mutex<Unread>>,
    ) -> Result<(BTreeMap<i32, i64>, u64, Vec<Compared>), DatabaseError> {
        let live = still.live(ReadModels::NAME, topics::EVENTS).await?;
        let events = self.catch_up(&live, unread).await?;
        Ok((live, events, still.compare().await?))
    }

    /// How far the live tables are.
    async fn live(&self) -> Result<BTreeMap<i32, i64>, DatabaseError> {
        let positions = self
            .database
            .transact(Access::Read, &[], |connection| {
                Box::pin(checkpoint::positions(connection, ReadModels::NAME, topics::EVENTS))
            })
            .await?;
        Ok(positions
            .into_iter()
            .map(|(partition, at, _)| (partition, at))
            .collect())
    }

    async fn behind(&self, live: &BTreeMap<i32, i64>) -> Result<i64, DatabaseError> {
        let done = self.workshop.progress().await?;
        let behind = live
            .iter()
            .map(|(partition, at)| at - done.get(partition).copied().unwrap_or(0));
        Ok(behind.max().unwrap_or(0))
    }

    /// Applies what is projected and not yet in the generation. Tells how many events that were.
    async fn catch_up(&self, live: &BTreeMap<i32, i64>, unread: &Arc<Mutex<Unread>>) -> Result<u64, DatabaseError> {
        let done = self.workshop.progress().await?;
        let at = |partition: i32| done.get(&partition).copied().unwrap_or(0);
        let due: BTreeMap<i32, (i64, i64)> = live
            .iter()
            .map(|(partition, upto)| (*partition, (at(*partition), *upto)))
            .filter(|(_, (from, upto))| from < upto)
            .collect();
        let Some(first) = due.values().map(|(from, _)| *from).min() else {
            return Ok(0);
        };
        let last = due.values().map(|(_, upto)| *upto).max().unwrap_or(first);
        let partitions = i32::try_from(live.len()).unwrap_or(i32::MAX).max(1);
        let wanted = |event: &StoredEvent| {
            let partition = topics::partition(topics::key(&event.stream).as_bytes(), partitions);
            let (from, upto) = due.get(&partition)?;
            (*from < event.position && event.position <= *upto).then_some(partition)
        };
        let (mut after, mut events) = (first, 0);
        let mut page = self.page(after, last).await?;
        while let Some(end) = page.last().map(|event| event.position) {
            let mut by_worker: BTreeMap<usize, Vec<StoredEvent>> = BTreeMap::new();
            for event in page {
                if let Some(partition) = wanted(&event) {
                    let worker = usize::try_from(partition).unwrap_or(0) % self.workers;
                    by_worker.entry(worker).or_default().push(event);
                }
            }
            // What has come so far is in the generation, whether or not it had anything for a partition.
            let mut progress: BTreeMap<usize, Vec<(i32, i64)>> = BTreeMap::new();
            for (partition, (from, upto)) in &due {
                let worker = usize::try_from(*partition).unwrap_or(0) % self.workers;
                let at = (*upto).min(end).max(*from);
                progress.entry(worker).or_default().push((*partition, at));
            }
            let mut writing = JoinSet::new();
            for (worker, progress) in progress {
                let mine = by_worker.remove(&worker).unwrap_or_default();
                let piece = open(&self.keyring, mine, unread).await?;
                events += piece.events.len() as u64;
                let inside = self.workshop.inside.clone();
                writing.spawn(write(inside, Piece { progress, ..piece }));
            }
            after = end;
            page = self.page(after, last).await?; // read while the one before is written
            while let Some(written) = writing.join_next().await {
                written.map_err(|_| DatabaseError::CutOff)??;
            }
            fail::fail_point!("mid-rebuild");
            (self.show)(
                u64::try_from(after - first).unwrap_or(0),
                u64::try_from(last - first).unwrap_or(0),
            );
        }
        Ok(events)
    }

    async fn page(&self, after: i64, last: i64) -> Result<Vec<StoredEvent>, DatabaseError> {
        let limit = PAGE_EVENTS_MAX.min(last - after);
        if limit <= 0 {
            return Ok(Vec::new());
        }
        self.database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)))
            .await
    }
}

fn stream((tenant, kind, id, _): &(Uuid, String, Uuid, i64)) -> Result<StreamId, DatabaseError> {
    let kind = kind.parse().map_err(|_| DatabaseError::Corrupt("kind of stream"))?;
    Ok(StreamId::new(TenantId::from_uuid(*tenant), kind, *id))
}

/// The events of streams up to where their partitions are to be filled.
async fn whole(
    database: &Database,
    streams: Vec<StreamId>,
    targets: &BTreeMap<i32, i64>,
) -> Result<Vec<StoredEvent>, DatabaseError> {
    let tenants = event_log::tenants_of(streams.iter().map(|stream| stream.tenant));
    let mut events = database
        .transact(Access::LookUp, &tenants, move |connection| {
            Box::pin(async move { event_log::read_streams(connection, &streams).await })
        })
        .await?;
    let partitions = i32::try_from(targets.len()).unwrap_or(i32::MAX).max(1);
    events.retain(|event| {
        let partition = topics::partition(topics::key(&event.stream).as_bytes(), partitions);
        targets.get(&partition).is_some_and(|target| event.position <= *target)
    });
    Ok(events)
}

/// What one transaction writes.
#[derive(Default)]
struct Piece {
    events: Vec<Opened>,
    /// The positions of events between them that are not written: they cannot be read, or wait behind one that cannot.
    unread: Vec<i64>,
    /// How far each of these partitions is with it.
    progress: Vec<(i32, i64)>,
}

/// Opens events; what cannot be read, and what follows it on its stream, is put to the `unread`.
async fn open(keyring: &Keyring, events: Vec<StoredEvent>, unread: &Mutex<Unread>) -> Result<Piece, DatabaseError> {
    let keys = proof::keys(keyring, &events).await?;
    let mut piece = Piece::default();
    for event in events {
        let opened = runner::open(&event, keys.get(&(event.stream.tenant, event.stream.id)));
        let mut unread = unread.lock().unwrap_or_else(PoisonError::into_inner);
        match opened {
            Ok(opened) if !unread.streams.contains(&event.stream) => piece.events.push(Opened {
                stored: Arc::new(event),
                event: opened,
            }),
            Ok(_) | Err(_) => {
                unread.streams.insert(event.stream);
                unread.positions.push(event.position);
                piece.unread.push(event.position);
            }
        }
    }
    Ok(piece)
}

/// One transaction: rows, how far they are, and what is missing in them.
async fn write(inside: Database, piece: Piece) -> Result<(), DatabaseError> {
    let tenants = event_log::tenants_of(piece.events.iter().map(|opened| opened.stored.stream.tenant));
    let piece = Arc::new(piece);
    let mut tries = 0;
    loop {
        let piece = Arc::clone(&piece);
        let written = inside
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(async move {
                    read_models::fold(connection, &piece.events).await?;
                    if !piece.unread.is_empty() {
                        generation::skipped(connection, &piece.unread).await?;
                    }
                    if !piece.progress.is_empty() {
                        generation::advance(connection, &piece.progress).await?;
                    }
                    Ok(())
                })
            })
            .await;
        match written {
            Err(error) if error.is_transient() && tries < TRIES => tries += 1,
            other => return other,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was made again in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    pub events: usize,
    pub rows: u64,
}

/// Makes the rows of one tenant, or of one of its employees, again and puts them in the place of those that there are, in one
/// transaction: nothing is projected meanwhile, and readers see the rows before until it ends.
///
/// # Errors
/// When the database or a key fails; nothing was changed then.
pub async fn in_place(
    database: &Database,
    keyring: &Keyring,
    tenant: TenantId,
    employee: Option<Uuid>,
) -> Result<Made, DatabaseError> {
    let all = shadow::TABLES.iter();
    let tables: Vec<&'static str> = match employee {
        None => all.map(|(table, ..)| *table).collect(),
        // Counts of heads are of more people than one: they move by the difference.
        Some(_) => PERSONAL.to_vec(),
    };
    let mut tries = 0;
    loop {
        let (keyring, shadowed) = (keyring.clone(), tables.clone());
        let made = database
            .transact_in_place(&[tenant], &tables, move |connection| {
                Box::pin(async move {
                    if let Some(employee) = employee {
                        read_models::count_live(connection, (tenant, employee), -1).await?;
                    }
                    let rows = proof::make_again(connection, &keyring, tenant, employee).await?;
                    let stays = |id: &&Uuid| employee.is_none_or(|employee| employee == **id);
                    for waiting in rows.waiting.iter().filter(stays) {
                        read_models::count_live(connection, (tenant, *waiting), 1).await?; // whose row stays
                    }
                    let mut put = 0;
                    for table in shadowed {
                        put += shadow::put_in_place(connection, tenant, table, (employee, &rows.waiting)).await?;
                    }
                    Ok(Made {
                        events: rows.events,
                        rows: put,
                    })
                })
            })
            .await;
        match made {
            Err(error) if error.is_transient() && tries < TRIES => tries += 1,
            other => return other,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
