//! Seals on the log: whoever changes, drops, swaps or adds an event afterwards breaks them, also with the database's password.
//!
//! Events are hashed one after the other, each with what was before it (a hash chain). Now and then the chain's head is stored
//! with a code (HMAC-SHA-256) that only who has the master key can make. Heads are kept in a file outside the database too, so
//! that a log cannot be cut off at its end together with its seals.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    iter::Peekable,
    path::{Path, PathBuf},
    vec::IntoIter,
};

use domain::StreamId;
use hmac::{Hmac, Mac};
use schemas::envelope::StoredEvent;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use zeroize::Zeroizing;

use crate::{
    database::{Connection, DatabaseError, Doing},
    sealing::MasterKey,
};

/// Seals that are read at once at most.
pub const SEALS_MAX: i64 = 5_000;

/// Everything up to a position: the hash of the last event, chained to all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    pub position: i64,
    pub hash: [u8; 32],
}

impl Head {
    /// The head after one more event.
    #[must_use]
    pub fn with(&self, event: &StoredEvent) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.hash);
        hash.update(event.position.to_be_bytes());
        hash.update(event.stream.tenant.uuid().as_bytes());
        hash.update(event.stream.id.as_bytes());
        hash.update(event.revision.to_be_bytes());
        hash.update(event.event_id.uuid().as_bytes());
        hash.update(event.schema_version.to_be_bytes());
        hash.update(event.recorded_at.timestamp_micros().to_be_bytes());
        hash.update(event.provenance.correlation.as_bytes());
        hash.update(event.provenance.causation.uuid().as_bytes());
        hash.update([u8::from(event.provenance.backfill)]);
        let effective_on = event.effective_on.to_string();
        let traceparent = event.provenance.traceparent.as_deref().unwrap_or_default();
        let texts = [
            event.stream.kind.name().as_bytes(),
            event.event_type.as_bytes(),
            effective_on.as_bytes(),
            event.provenance.actor.as_bytes(),
            traceparent.as_bytes(),
            &event.data,
        ];
        // With their lengths: what ends one text cannot begin the next.
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self {
            position: event.position,
            hash: hash.finalize().into(),
        }
    }
}

/// A head with its code, and the position of the seal before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    pub after: i64,
    pub head: Head,
    pub code: [u8; 32],
}

/// Makes seals and knows its own. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(std::sync::Arc<Zeroizing<Vec<u8>>>);

impl Sealer {
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive("log seals").into())
    }

    /// The seal on `events`, which follow `before`; none if there are none.
    #[must_use]
    pub fn seal(&self, before: Head, events: &[StoredEvent]) -> Option<Seal> {
        if events.is_empty() {
            return None;
        }
        let head = events.iter().fold(before, |head, event| head.with(event));
        let code = self.code(before.position, &head).finalize().into_bytes().into();
        Some(Seal {
            after: before.position,
            head,
            code,
        })
    }

    /// Whether a seal was made with this key.
    #[must_use]
    pub fn is_genuine(&self, seal: &Seal) -> bool {
        self.code(seal.after, &seal.head).verify_slice(&seal.code).is_ok()
    }

    fn code(&self, after: i64, head: &Head) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(&after.to_be_bytes());
        mac.update(&head.position.to_be_bytes());
        mac.update(&head.hash);
        mac
    }
}

#[derive(FromRow)]
struct SealRow {
    position: i64,
    after: i64,
    hash: Vec<u8>,
    code: Vec<u8>,
}

impl SealRow {
    /// A hash of another length is one that matches nothing.
    fn seal(self) -> Seal {
        Seal {
            after: self.after,
            head: Head {
                position: self.position,
                hash: self.hash.try_into().unwrap_or_default(),
            },
            code: self.code.try_into().unwrap_or_default(),
        }
    }
}

/// The last seal.
///
/// # Errors
/// When the database fails.
pub async fn last(connection: &mut Connection) -> Result<Option<Seal>, DatabaseError> {
    let row: Option<SealRow> =
        sqlx::query_as("select position, after, hash, code from log_seal order by position desc limit 1")
            .fetch_optional(connection)
            .await
            .doing("read the last seal")?;
    Ok(row.map(SealRow::seal))
}

/// Seals after a position, in order: at most [`SEALS_MAX`].
///
/// # Errors
/// When the database fails.
pub async fn page(connection: &mut Connection, after: i64) -> Result<Vec<Seal>, DatabaseError> {
    let rows: Vec<SealRow> = sqlx::query_as(
        "select position, after, hash, code from log_seal where position > $1 order by position limit $2",
    )
    .bind(after)
    .bind(SEALS_MAX)
    .fetch_all(connection)
    .await
    .doing("read seals")?;
    Ok(rows.into_iter().map(SealRow::seal).collect())
}

/// Stores a seal.
///
/// # Errors
/// When the database fails, or somebody else has sealed meanwhile.
pub async fn add(connection: &mut Connection, seal: &Seal) -> Result<(), DatabaseError> {
    sqlx::query("insert into log_seal (position, after, hash, code) values ($1, $2, $3, $4)")
        .bind(seal.head.position)
        .bind(seal.after)
        .bind(seal.head.hash.as_slice())
        .bind(seal.code.as_slice())
        .execute(connection)
        .await
        .doing("seal the log")
        .map(drop)
}

/// The file of heads outside the database: a line for each, `after position hash code`, the numbers decimal, the rest
/// hexadecimal. It may lag; what it says stays true.
#[derive(Debug, Clone)]
pub struct Heads(PathBuf);

#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    #[error("{path} could not be used")]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("line {line} of {path} is no head of the log")]
    Unreadable { path: PathBuf, line: usize },
}

impl Heads {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Adds a head, and waits until the disk has it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&self, seal: &Seal) -> Result<(), HeadsError> {
        let line = format!(
            "{} {} {} {}\n",
            seal.after,
            seal.head.position,
            hex(&seal.head.hash),
            hex(&seal.code)
        );
        let open = OpenOptions::new().create(true).read(true).append(true).open(&self.0);
        let written = open.and_then(|mut file| {
            drop_half_a_line(&mut file)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        });
        written.map_err(|cause| self.failed(cause))
    }

    /// All heads of the file; none if it is not there. A last line without its end was cut off by a crash and says nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is none.
    pub fn read(&self) -> Result<Vec<Seal>, HeadsError> {
        if !self.0.exists() {
            return Ok(vec![]);
        }
        let mut file = BufReader::new(File::open(&self.0).map_err(|cause| self.failed(cause))?);
        let (mut seals, mut line) = (Vec::new(), String::new());
        while file.read_line(&mut line).map_err(|cause| self.failed(cause))? > 0 {
            let Some(text) = line.strip_suffix('\n') else { break };
            let seal = read_line(text).ok_or_else(|| HeadsError::Unreadable {
                path: self.0.clone(),
                line: seals.len() + 1,
            })?;
            seals.push(seal);
            line.clear();
        }
        Ok(seals)
    }

    fn failed(&self, cause: std::io::Error) -> HeadsError {
        HeadsError::File {
            path: self.0.clone(),
            cause,
        }
    }
}

/// What a crash cut off would spoil the line after it.
fn drop_half_a_line(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(());
    }
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)
}

fn read_line(line: &str) -> Option<Seal> {
    let mut words = line.split(' ');
    let after = words.next()?.parse().ok()?;
    let position = words.next()?.parse().ok()?;
    let hash = unhex(words.next()?)?;
    let code = unhex(words.next()?)?;
    words.next().is_none().then_some(Seal {
        after,
        head: Head { position, hash },
        code,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// What does not fit in a sealed log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the log has no event {0}, though it goes on after it")]
    Missing(i64),
    #[error("event {position} is number {revision} of its stream, whose last one was number {before}")]
    OutOfStep { position: i64, revision: i64, before: i64 },
    #[error("the events after {after} up to {position} are not those that were sealed")]
    Changed { after: i64, position: i64 },
    #[error("the seal at {0} was not made with the master key")]
    Forged(i64),
    #[error("the seal at {0} does not follow the one before it")]
    Unchained(i64),
    #[error("the log ends at {end}, but was sealed up to {sealed}")]
    CutOff { end: i64, sealed: i64 },
    #[error("the log ends at {end}, but counted up to {counter}")]
    Miscounted { end: i64, counter: i64 },
    #[error("the head of the log that was kept outside the database at {0} is not among its seals")]
    NotKept(i64),
}

/// Holds a log against its seals and against the heads that were kept outside the database, event by event, in order.
pub struct Checker {
    sealer: Sealer,
    head: Head,
    /// The position of the last seal, and how many there were.
    sealed: i64,
    seals: usize,
    /// Heads from outside that no seal has come up to yet.
    kept: Peekable<IntoIter<Seal>>,
    revisions: HashMap<StreamId, i64>,
}

impl Checker {
    #[must_use]
    pub fn new(sealer: Sealer, kept: Vec<Seal>) -> Self {
        Self {
            sealer,
            head: Head::default(),
            sealed: 0,
            seals: 0,
            kept: kept.into_iter().peekable(),
            revisions: HashMap::new(),
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// What does not fit.
    pub fn take(&mut self, event: &StoredEvent) -> Result<(), Broken> {
        if event.position != self.head.position + 1 {
            return Err(Broken::Missing(self.head.position + 1));
        }
        let revision = self.revisions.entry(event.stream).or_default();
        if event.revision != *revision + 1 {
            return Err(Broken::OutOfStep {
                position: event.position,
                revision: event.revision,
                before: *revision,
            });
        }
        *revision = event.revision;
        self.head = self.head.with(event);
        Ok(())
    }

    /// Holds the events that were taken against the next seal, which is on the last of them.
    ///
    /// # Errors
    /// What does not fit.
    pub fn meet(&mut self, seal: &Seal) -> Result<(), Broken> {
        let position = seal.head.position;
        if !self.sealer.is_genuine(seal) {
            return Err(Broken::Forged(position));
        }
        if seal.after != self.sealed {
            return Err(Broken::Unchained(position));
        }
        if self.head.position < position {
            return Err(Broken::CutOff {
                end: self.head.position,
                sealed: position,
            });
        }
        if self.head != seal.head {
            let after = seal.after;
            return Err(Broken::Changed { after, position });
        }
        while let Some(kept) = self.kept.next_if(|kept| kept.head.position <= position) {
            if kept != *seal {
                return Err(self.not_met(&kept));
            }
        }
        (self.sealed, self.seals) = (position, self.seals + 1);
        Ok(())
    }

    /// After all events and all seals: whether there should be more of them, by the log's counter and by what was kept.
    ///
    /// # Errors
    /// What does not fit.
    pub fn finish(&mut self, counter: i64) -> Result<(), Broken> {
        if let Some(kept) = self.kept.next() {
            return Err(self.not_met(&kept));
        }
        if counter != self.head.position {
            let end = self.head.position;
            return Err(Broken::Miscounted { end, counter });
        }
        Ok(())
    }

    /// Why a head that was kept is not among the seals.
    fn not_met(&self, kept: &Seal) -> Broken {
        let sealed = kept.head.position;
        if !self.sealer.is_genuine(kept) {
            Broken::Forged(sealed)
        } else if sealed > self.head.position {
            let end = self.head.position;
            Broken::CutOff { end, sealed }
        } else {
            Broken::NotKept(sealed)
        }
    }

    /// The position of the last event that was taken.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.head.position
    }

    /// The position of the last seal that was met.
    #[must_use]
    pub const fn sealed(&self) -> i64 {
        self.sealed
    }

    #[must_use]
    pub const fn seals(&self) -> usize {
        self.seals
    }

    #[must_use]
    pub fn streams(&self) -> usize {
        self.revisions.len()
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Kind,
        id::{CommandId, EventId, TenantId},
    };
    use schemas::envelope::Provenance;
    use uuid::Uuid;

    use super::*;

    const TRIES: usize = 100;

    /// SplitMix64 (Steele, Lea and Flood, 2014): the same places on every run.
    struct Random(u64);

    impl Random {
        fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn next_u32(&mut self) -> u32 {
            (self.next_u64() >> 32) as u32
        }
    }

    /// A log with its seals, some of which were kept outside.
    #[derive(Clone)]
    struct World {
        events: Vec<StoredEvent>,
        seals: Vec<Seal>,
        kept: Vec<Seal>,
        counter: i64,
    }

    fn sealer() -> Sealer {
        Sealer::new(&MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key"))
    }

    fn world(random: &mut Random) -> World {
        let mut revisions: HashMap<u128, i64> = HashMap::new();
        let events: Vec<StoredEvent> = (1..=60)
            .map(|position| {
                let stream = u128::from(random.next_u32() % 7);
                let revision = revisions.entry(stream).or_default();
                *revision += 1;
                StoredEvent {
                    position,
                    stream: StreamId::new(
                        TenantId::from_uuid(Uuid::from_u128(stream % 2)),
                        Kind::Employee,
                        Uuid::from_u128(stream),
                    ),
                    revision: *revision,
                    event_id: EventId::from_uuid(Uuid::from_u128(position as u128)),
                    event_type: "employee.note-written".to_owned(),
                    schema_version: 1,
                    effective_on: "2026-01-31".parse().expect("a day"),
                    recorded_at: "2026-02-01T10:00:00Z".parse().expect("a moment"),
                    provenance: Provenance {
                        actor: format!("user:{}", random.next_u32()),
                        correlation: Uuid::nil(),
                        causation: CommandId::from_uuid(Uuid::nil()),
                        backfill: false,
                        traceparent: None,
                    },
                    data: random.next_u64().to_string().into_bytes(),
                }
            })
            .collect();
        let (mut seals, mut head, mut rest) = (Vec::new(), Head::default(), events.as_slice());
        while !rest.is_empty() {
            let (block, others) = rest.split_at((1 + random.next_u32() as usize % 9).min(rest.len()));
            let seal = sealer().seal(head, block).expect("a seal");
            (head, rest) = (seal.head, others);
            seals.push(seal);
        }
        let kept = seals.iter().copied().step_by(2).collect();
        World {
            counter: events.len() as i64,
            events,
            seals,
            kept,
        }
    }

    /// As `tenure verify` does it.
    fn verified(world: &World) -> Result<(), Broken> {
        let mut checker = Checker::new(sealer(), world.kept.clone());
        let mut events = world.events.iter().peekable();
        for seal in &world.seals {
            while let Some(event) = events.next_if(|_| checker.position() < seal.head.position) {
                checker.take(event)?;
            }
            checker.meet(seal)?;
        }
        for event in events {
            checker.take(event)?;
        }
        checker.finish(world.counter)
    }

    fn tampered(what: &str, tamper: impl Fn(&mut World, &mut Random)) {
        let mut random = Random(7);
        for _ in 0..TRIES {
            let mut world = world(&mut random);
            assert_eq!(verified(&world), Ok(()));
            tamper(&mut world, &mut random);
            assert!(verified(&world).is_err(), "{what} was not noticed");
        }
    }

    fn any_event<'w>(world: &'w mut World, random: &mut Random) -> &'w mut StoredEvent {
        let index = random.next_u32() as usize % world.events.len();
        &mut world.events[index]
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        tampered("a byte", |world, random| {
            let column = random.next_u32() % 11;
            let event = any_event(world, random);
            match column {
                0 => event.data[0] ^= 1,
                1 => event.provenance.actor.push('x'),
                2 => event.event_type = "employee.rehired".to_owned(),
                3 => event.effective_on = event.effective_on.succ_opt().expect("a day"),
                4 => event.recorded_at += chrono::TimeDelta::microseconds(1),
                5 => event.event_id = EventId::from_uuid(Uuid::from_u128(999)),
                6 => event.schema_version = 2,
                7 => event.provenance.backfill = true,
                8 => event.provenance.traceparent = Some("00-1".to_owned()),
                9 => event.provenance.correlation = Uuid::from_u128(5),
                _ => event.provenance.causation = CommandId::from_uuid(Uuid::from_u128(5)),
            }
        });
    }

    #[test]
    fn an_event_that_moved_to_another_stream_is_noticed() {
        tampered("another stream", |world, random| {
            let event = any_event(world, random);
            event.stream = StreamId::new(event.stream.tenant, Kind::Risk, event.stream.id);
            event.revision = 1;
        });
    }

    #[test]
    fn a_deleted_event_is_noticed_also_when_those_after_it_move_up() {
        tampered("a gap", |world, random| {
            let index = random.next_u32() as usize % world.events.len();
            world.events.remove(index);
            world.counter -= 1;
        });
        tampered("a closed gap", |world, random| {
            let index = random.next_u32() as usize % world.events.len();
            let gone = world.events.remove(index);
            for event in &mut world.events[index..] {
                event.position -= 1;
                event.revision -= i64::from(event.stream == gone.stream);
            }
            world.counter -= 1;
        });
    }

    #[test]
    fn a_swapped_pair_is_noticed() {
        tampered("a swap", |world, random| {
            let one = random.next_u32() as usize % (world.events.len() - 1);
            let (first, second) = (world.events[one].data.clone(), world.events[one + 1].data.clone());
            (world.events[one].data, world.events[one + 1].data) = (second, first);
        });
    }

    #[test]
    fn a_log_that_was_cut_off_is_noticed_with_its_seals_or_without() {
        tampered("a cut", |world, random| {
            let end = random.next_u32() as usize % world.events.len();
            world.events.truncate(end);
            world.counter = end as i64;
        });
        tampered("a cut of log and seals", |world, random| {
            // Before the last head that was kept: after it nobody outside knows of more.
            let last = world.kept.last().expect("a head").head.position as usize;
            let end = random.next_u32() as usize % last;
            world.events.truncate(end);
            world.seals.retain(|seal| seal.head.position <= end as i64);
            world.counter = end as i64;
        });
    }

    #[test]
    fn a_forged_head_is_noticed_inside_and_outside() {
        tampered("a forged seal", |world, random| {
            let index = random.next_u32() as usize % world.seals.len();
            let from = world.seals[index].after;
            // Whoever changes events and makes the chain anew lacks the key.
            world.events[from as usize].data = b"{}".to_vec();
            let mut head = Head::default();
            let events = world.events.clone();
            for seal in &mut world.seals {
                let block = &events[seal.after as usize..seal.head.position as usize];
                head = block.iter().fold(head, |head, event| head.with(event));
                seal.head = head;
            }
            world.kept.clear();
        });
        tampered("a seal of another key", |world, random| {
            let other = Sealer::new(&MasterKey::from_base64(&format!("{}=", "Q".repeat(43))).expect("a key"));
            let index = random.next_u32() as usize % world.seals.len();
            let before = index
                .checked_sub(1)
                .map_or_else(Head::default, |before| world.seals[before].head);
            let seal = world.seals[index];
            let block = &world.events[seal.after as usize..seal.head.position as usize];
            world.seals[index] = other.seal(before, block).expect("a seal");
            world.kept.clear();
        });
        tampered("a forged head outside", |world, random| {
            let index = random.next_u32() as usize % world.kept.len();
            world.kept[index].head.hash[random.next_u32() as usize % 32] ^= 1;
        });
    }

    #[test]
    fn heads_are_read_back_and_half_a_line_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let heads = Heads::new(folder.path().join("log-heads"));
        assert_eq!(heads.read().expect("nothing yet"), vec![]);
        let world = world(&mut Random(7));
        for seal in &world.kept {
            heads.add(seal).expect("added");
        }
        assert_eq!(heads.read().expect("heads"), world.kept);
        let text = std::fs::read_to_string(heads.path()).expect("the file");
        std::fs::write(heads.path(), format!("{text}12 13 ab")).expect("written");
        assert_eq!(heads.read().expect("heads"), world.kept);
        heads.add(&world.kept[0]).expect("added after half a line");
        let mut expected = world.kept.clone();
        expected.push(world.kept[0]);
        assert_eq!(heads.read().expect("heads"), expected);
        std::fs::write(heads.path(), format!("nonsense\n{text}")).expect("written");
        assert!(matches!(heads.read(), Err(HeadsError::Unreadable { line: 1, .. })));
    }
}
