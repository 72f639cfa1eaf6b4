//! The event log in KurrentDB, on the official client: the log alone. The product's appender and relay run on Postgres.
//!
//! A stream `tenant/kind/id` is the stream `<name>-<tenant>-<kind>-<id>` there; the name is [`NAME_DEFAULT`] unless something else
//! is asked for, so that several logs can lie on one server. Revision n is KurrentDB's n - 1. How an event lies there: `stored`.
//!
//! **Positions.** KurrentDB has no gapless count. An event's `position` is its commit position in `$all`: a place in a file, which
//! rises in the order of commits and leaves gaps. Whoever follows the log keeps a [`Checkpoint`], which is the whole place. The
//! ordinal 1..n that a copy and a comparison need follows from reading `$all` from its beginning ([`crate::log_copy`]).
//!
//! **Duplicates.** KurrentDB takes an append that repeats itself *at the same expected revision* for a success, and looks no
//! further: the same events at the stream's present end are stored once more. So an append reads its stream first (they are
//! short: one person's life), and again afterwards; what then is there, and by which call it was written (the metadata say), is
//! the answer. That is also how a call finds out what became of a try whose answer was lost. It costs two reads, and an append
//! takes 40 ms at the least with most servers, for the client's sake (see [`Restorer`]); those to other streams go on meanwhile.
//! An event id is looked for in its own stream only, where Postgres knows it tenant-wide: ids are derived from the command, and
//! a command is for one stream.
//!
//! **Failures.** The client follows a leader that it is told of. It keeps a node that is gone, though, and once it could not
//! connect it is closed for good; then a new one is made. It would also wait for an answer for ever, so each is waited for
//! [`ANSWER_MAX`] only. Tries are bounded by [`ATTEMPTS_MAX`]. One thing cannot be helped from here: if a server ended a
//! subscription with the status OK, which KurrentDB is not known to do, the client (1.2) would turn in a circle for ever, without
//! giving its thread back (seen with the stand-in of the tests).
//!
//! It needs a server of 22.6 or later (which tells positions with a stream's events), and a user who may read `$all`.

mod stored;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    Kind, StreamId,
    id::{EventId, TenantId},
};
use eventstore::{
    AppendToStreamOptions, BatchAppendClient, BatchAppendOptions, Client, ClientSettings, EventData, ReadAllOptions,
    ReadStream, ReadStreamOptions, StreamPosition, StreamState, SubscribeToAllOptions, SubscriptionEvent,
    SubscriptionFilter,
};
use schemas::envelope::StoredEvent;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

pub use self::stored::Found;
use crate::{
    clock,
    event_log::{Append, Appended, PAGE_EVENTS_MAX},
};

/// What streams are called by, unless something else is asked for.
pub const NAME_DEFAULT: &str = "tenure";
/// How often something is tried in a row. With the pauses some 15 seconds: longer than the election of a leader.
pub const ATTEMPTS_MAX: u32 = 12;
/// How long an answer is waited for, unless something else is asked for. KurrentDB itself gives an append up after seconds.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Before the second try; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Appends to different streams that wait for each other only by accident.
const TURNS: usize = 256;

/// What went wrong with KurrentDB.
#[derive(Debug, thiserror::Error)]
pub enum KurrentError {
    /// Without a word on what it says: it may hold a password.
    #[error("the address of KurrentDB does not read: expected kurrentdb://user:password@host:2113?tls=true")]
    Address,
    #[error("{0:?} cannot be what streams in KurrentDB are called by: expected lower-case letters and digits")]
    Name(String),
    #[error("a client of KurrentDB could not be made: {0}")]
    Client(String),
    #[error("could not {doing} in KurrentDB")]
    Failed {
        doing: &'static str,
        #[source]
        cause: eventstore::Error,
    },
    #[error("event {revision} of KurrentDB's stream {stream} is none of Tenure's: {what}")]
    Unreadable {
        stream: String,
        revision: u64,
        what: &'static str,
    },
    /// Someone wrote in between; deciding again on what is there now will do.
    #[error("{0} was written by someone else meanwhile")]
    Contended(StreamId),
}

impl KurrentError {
    /// Whether it may go by itself: no node could do it just now.
    fn may_pass(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => may_pass(cause),
            Self::Contended(_) => true,
            Self::Address | Self::Name(_) | Self::Client(_) | Self::Unreadable { .. } => false,
        }
    }

    /// Whether this client will not do it any more, whatever happens, or does not answer.
    const fn ends_the_client(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                cause: eventstore::Error::ConnectionClosed
                    | eventstore::Error::GrpcConnectionError(_)
                    | eventstore::Error::DeadlineExceeded,
                ..
            }
        )
    }
}

fn may_pass(cause: &eventstore::Error) -> bool {
    /// gRPC's numbers for: cancelled, resource exhausted, aborted.
    const PASSING: [i32; 3] = [1, 8, 10];
    match cause {
        eventstore::Error::ServerError(_)
        | eventstore::Error::NotLeaderException(_)
        | eventstore::Error::ConnectionClosed
        | eventstore::Error::GrpcConnectionError(_)
        | eventstore::Error::DeadlineExceeded => true,
        eventstore::Error::Grpc { code, .. } => PASSING.contains(&i32::from(*code)),
        _ => false,
    }
}

/// Names what a failed call was for.
trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, KurrentError>;
}

impl<T> Doing<T> for Result<T, eventstore::Error> {
    fn doing(self, doing: &'static str) -> Result<T, KurrentError> {
        self.map_err(|cause| KurrentError::Failed { doing, cause })
    }
}

/// A place in `$all`, behind an event. What is read or followed after it begins with the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    pub commit: u64,
    pub prepare: u64,
}

impl From<eventstore::Position> for Checkpoint {
    fn from(position: eventstore::Position) -> Self {
        Self {
            commit: position.commit,
            prepare: position.prepare,
        }
    }
}

fn position_of(after: Option<Checkpoint>) -> StreamPosition<eventstore::Position> {
    after.map_or(StreamPosition::Start, |Checkpoint { commit, prepare }| {
        StreamPosition::Position(eventstore::Position { commit, prepare })
    })
}

/// A log in KurrentDB. Cheap to clone.
#[derive(Clone)]
pub struct KurrentLog(Arc<Shared>);

struct Shared {
    settings: ClientSettings,
    name: String,
    answer_max: Duration,
    /// The client in use, and the how-manieth it is.
    client: Mutex<(u64, Option<Client>)>,
    /// Appends to one stream go one after the other, in the order in which they came.
    turns: Vec<tokio::sync::Mutex<()>>,
}

impl KurrentLog {
    /// Prepares a client; connects when it is first used. Streams are called by `name`.
    ///
    /// # Errors
    /// When the address or the name does not read.
    pub fn new(address: &SecretString, name: &str) -> Result<Self, KurrentError> {
        Self::that_answers_within(ANSWER_MAX, address, name)
    }

    /// The same, with a server that is asked again if it has not answered by then.
    ///
    /// # Errors
    /// As [`KurrentLog::new`].
    pub fn that_answers_within(answer_max: Duration, address: &SecretString, name: &str) -> Result<Self, KurrentError> {
        let settings = address.expose_secret().parse().map_err(|_| KurrentError::Address)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || !name.chars().all(fits) {
            return Err(KurrentError::Name(name.to_owned()));
        }
        Ok(Self(Arc::new(Shared {
            settings,
            name: name.to_owned(),
            answer_max,
            client: Mutex::new((0, None)),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
        })))
    }

    /// Appends, and answers when that is durable.
    ///
    /// # Errors
    /// When KurrentDB fails: the outcome is then unknown. Append again with the same event ids to find out.
    pub async fn append(&self, append: Append) -> Result<Appended, KurrentError> {
        let _turn = self.turn(&append.stream).lock().await;
        let mut there = There::nothing(&append);
        let mut tries = Tries::new(self);
        loop {
            match self.try_append(&append, &mut there, &mut tries).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => tries.again(KurrentError::Contended(append.stream)).await?,
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn try_append(
        &self,
        append: &Append,
        there: &mut There,
        tries: &mut Tries,
    ) -> Result<Option<Appended>, KurrentError> {
        let client = tries.client()?;
        self.look(&client, append.stream, there).await?;
        if let Some(answer) = there.answer(append) {
            return Ok(Some(answer));
        }
        let events = append
            .events
            .iter()
            .map(|event| stored::new(event, there.mark))
            .collect();
        self.send(&client, append.stream, append.expected, events).await?;
        self.look(&client, append.stream, there).await?;
        // Nothing, if the stream was at that revision only when it was looked at.
        Ok(there.answer(append))
    }

    async fn look(&self, client: &Client, stream: StreamId, there: &mut There) -> Result<(), KurrentError> {
        self.read_on(client, stream, there.revision, |found| there.take(&found))
            .await
    }

    async fn send(
        &self,
        client: &Client,
        stream: StreamId,
        expected: i64,
        events: Vec<EventData>,
    ) -> Result<(), KurrentError> {
        let options = AppendToStreamOptions::default().stream_state(state_at(expected));
        let name = stored::stream_name(&self.0.name, &stream);
        match self.answer(client.append_to_stream(name, &options, events)).await {
            // The next look tells what is there instead.
            Err(eventstore::Error::WrongExpectedVersion { .. }) | Ok(_) => Ok(()),
            Err(cause) => Err(cause).doing("append events"),
        }
    }

    /// A stream's events after `revision`, in order.
    ///
    /// # Errors
    /// When KurrentDB fails, or an event does not read.
    pub async fn read_stream(&self, stream: StreamId, after_revision: i64) -> Result<Vec<StoredEvent>, KurrentError> {
        let mut events: Vec<StoredEvent> = Vec::new();
        let mut tries = Tries::new(self);
        loop {
            let after = events.last().map_or(after_revision, |event| event.revision);
            let client = tries.client()?;
            match self
                .read_on(&client, stream, after, |found| events.push(found.event))
                .await
            {
                Ok(()) => return Ok(events),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Gives a stream's events after `after` to `take`, without a gap.
    async fn read_on(
        &self,
        client: &Client,
        stream: StreamId,
        mut after: i64,
        mut take: impl FnMut(Found),
    ) -> Result<(), KurrentError> {
        let name = stored::stream_name(&self.0.name, &stream);
        let from = u64::try_from(after).unwrap_or_default();
        let options = ReadStreamOptions::default().position(StreamPosition::Position(from));
        let mut events = match self.answer(client.read_stream(name, &options)).await {
            Err(eventstore::Error::ResourceNotFound) => return Ok(()),
            opened => opened.doing("read a stream")?,
        };
        loop {
            let event = match self.answer(events.next()).await {
                Err(eventstore::Error::ResourceNotFound) => None,
                read => read.doing("read a stream")?,
            };
            let Some(event) = event else { return Ok(()) };
            let found = stored::read(&self.0.name, event.get_original_event())?;
            if found.event.revision != after + 1 {
                let what = "those before it are gone";
                return Err(stored::unreadable(event.get_original_event(), what));
            }
            after = found.event.revision;
            take(found);
        }
    }

    /// One tenant's events of one kind after `position`, in order: at most [`PAGE_EVENTS_MAX`].
    ///
    /// # Errors
    /// When KurrentDB fails, or an event does not read.
    pub async fn read_tenant(
        &self,
        tenant: TenantId,
        kind: Kind,
        after_position: i64,
    ) -> Result<Vec<StoredEvent>, KurrentError> {
        let after = u64::try_from(after_position).ok().filter(|commit| *commit > 0);
        let mut reader = Reader {
            after: after.map(|commit| Checkpoint {
                commit,
                prepare: commit,
            }),
            prefix: stored::prefix_of_kind(&self.0.name, tenant, kind),
            ..self.read_after(None)
        };
        let mut events = Vec::new();
        while (events.len() as i64) < PAGE_EVENTS_MAX
            && let Some(found) = reader.next().await?
        {
            events.push(found.event);
        }
        Ok(events)
    }

    /// Takes events from elsewhere.
    #[must_use]
    pub fn restorer(&self) -> Restorer {
        Restorer {
            open: None,
            tries: Tries::new(self),
        }
    }

    /// The log after a place in it, up to where it ends when the reader comes there.
    #[must_use]
    pub fn read_after(&self, after: Option<Checkpoint>) -> Reader {
        Reader {
            prefix: stored::prefix(&self.0.name),
            after,
            open: None,
            tries: Tries::new(self),
        }
    }

    /// The log after a place in it, and then whatever is appended.
    #[must_use]
    pub fn follow(&self, after: Option<Checkpoint>) -> Follower {
        Follower {
            prefix: stored::prefix(&self.0.name),
            after,
            open: None,
            tries: Tries::new(self),
        }
    }

    /// The position of the last event; 0 if there is none.
    ///
    /// # Errors
    /// When KurrentDB fails, or that event does not read.
    pub async fn head(&self) -> Result<i64, KurrentError> {
        let options = ReadAllOptions::default()
            .backwards()
            .position(StreamPosition::End)
            .filter(filter(&stored::prefix(&self.0.name)))
            .max_count(1);
        let mut tries = Tries::new(self);
        loop {
            match self.last(&tries.client()?, &options).await {
                Ok(found) => return Ok(found.map_or(0, |found| found.event.position)),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn last(&self, client: &Client, options: &ReadAllOptions) -> Result<Option<Found>, KurrentError> {
        let mut events = self
            .answer(client.read_all(options))
            .await
            .doing("read the end of the log")?;
        match self.answer(events.next()).await.doing("read the end of the log")? {
            Some(event) => stored::read(&self.0.name, event.get_original_event()).map(Some),
            None => Ok(None),
        }
    }

    /// What KurrentDB answers, if it does so in time.
    async fn answer<T>(&self, asked: impl Future<Output = eventstore::Result<T>>) -> eventstore::Result<T> {
        tokio::time::timeout(self.0.answer_max, asked)
            .await
            .unwrap_or(Err(eventstore::Error::DeadlineExceeded))
    }

    fn turn(&self, stream: &StreamId) -> &tokio::sync::Mutex<()> {
        let mut hash = DefaultHasher::new();
        stream.hash(&mut hash);
        &self.0.turns[hash.finish() as usize % TURNS]
    }

    /// The client in use, and which one it is.
    fn client(&self) -> Result<(u64, Client), KurrentError> {
        let mut slot = self.0.client.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, client) = &mut *slot;
        let client = match client {
            Some(client) => client.clone(),
            None => {
                let new = Client::new(self.0.settings.clone());
                let new = new.map_err(|error| KurrentError::Client(error.to_string()))?;
                client.insert(new).clone()
            }
        };
        Ok((*number, client))
    }

    /// Gives a client up, unless somebody else has done so.
    fn give_up(&self, used: u64) {
        let mut slot = self.0.client.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.0 == used {
            *slot = (used + 1, None);
        }
    }
}

/// Whether it is the same event, wherever it lies.
fn is_same(a: &StoredEvent, b: &StoredEvent) -> bool {
    let there = StoredEvent {
        position: b.position,
        ..a.clone()
    };
    there == *b
}

fn state_at(revision: i64) -> StreamState {
    match u64::try_from(revision - 1) {
        Ok(last) => StreamState::StreamRevision(last),
        Err(_) => StreamState::NoStream,
    }
}

fn filter(prefix: &str) -> SubscriptionFilter {
    SubscriptionFilter::on_stream_name().add_prefix(prefix)
}

/// Failures in a row, and the client that they were met with.
struct Tries {
    log: KurrentLog,
    failed: u32,
    used: u64,
}

impl Tries {
    fn new(log: &KurrentLog) -> Self {
        Self {
            log: log.clone(),
            failed: 0,
            used: 0,
        }
    }

    fn client(&mut self) -> Result<Client, KurrentError> {
        let (number, client) = self.log.client()?;
        self.used = number;
        Ok(client)
    }

    /// Waits for the next try, if it makes sense and there may be one.
    async fn again(&mut self, error: KurrentError) -> Result<(), KurrentError> {
        self.failed += 1;
        if !error.may_pass() || self.failed >= ATTEMPTS_MAX {
            return Err(error);
        }
        // The first time the client itself may know better: it was told who leads now, or its connection is made anew.
        if error.ends_the_client() || self.failed > 1 {
            self.log.give_up(self.used);
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            failed = self.failed,
            "KurrentDB is asked again"
        );
        tokio::time::sleep((PAUSE * 2_u32.pow(self.failed - 1)).min(PAUSE_MAX)).await;
        Ok(())
    }
}

/// What is known of an append's stream.
struct There {
    revision: i64,
    /// What this call's events bear.
    mark: Uuid,
    first: Option<EventId>,
    found: Option<Range>,
}

/// Where the events of an append lie.
struct Range {
    is_ours: bool,
    first: i64,
    last: i64,
    revision: i64,
}

impl There {
    fn nothing(append: &Append) -> Self {
        Self {
            revision: 0,
            mark: clock::new_id(),
            first: append.events.first().map(|event| event.event_id),
            found: None,
        }
    }

    fn take(&mut self, found: &Found) {
        let (position, revision) = (found.event.position, found.event.revision);
        let is_ours = found.mark == Some(self.mark);
        self.revision = revision;
        match &mut self.found {
            None if self.first == Some(found.event.event_id) => {
                self.found = Some(Range {
                    is_ours,
                    first: position,
                    last: position,
                    revision,
                });
            }
            Some(range) if is_ours => (range.last, range.revision) = (position, revision),
            None | Some(_) => {}
        }
    }

    /// None if the events are to be appended.
    fn answer(&self, append: &Append) -> Option<Appended> {
        match &self.found {
            Some(range) if range.is_ours => Some(Appended::Recorded {
                first: range.first,
                last: range.last,
                revision: range.revision,
            }),
            Some(range) => Some(Appended::Duplicate { first: range.first }),
            None if self.revision != append.expected => Some(Appended::Conflict { actual: self.revision }),
            // It "is" at the stream's revision, at no position of its own.
            None if append.events.is_empty() => Some(Appended::Recorded {
                first: 0,
                last: 0,
                revision: self.revision,
            }),
            None => None,
        }
    }
}

/// Stores events that were recorded elsewhere, as they were, one append after the other, in a session of batch appends. (A single
/// append is more than one packet, and the client has Nagle's algorithm wait with the second until the first is acknowledged, which most
/// systems put off for 40 ms.)
pub struct Restorer {
    open: Option<BatchAppendClient>,
    tries: Tries,
}

impl Restorer {
    /// Appends consecutive events of one stream. The same again changes nothing.
    ///
    /// # Errors
    /// [`KurrentError::Contended`] when the stream has other events there already. Otherwise when KurrentDB fails.
    pub async fn restore(&mut self, events: &[StoredEvent]) -> Result<(), KurrentError> {
        let Some(first) = events.first() else { return Ok(()) };
        let (stream, expected) = (first.stream, first.revision - 1);
        loop {
            let Err(error) = self.try_restore(stream, expected, events).await else {
                self.tries.failed = 0;
                return Ok(());
            };
            self.open = None; // after a failure the client has closed it
            // An earlier try may have come through, and others may have written after it.
            let there = self.tries.log.read_stream(stream, expected).await?;
            if there.len() >= events.len() && there.iter().zip(events).all(|(a, b)| is_same(a, b)) {
                return Ok(());
            }
            if !there.is_empty() {
                return Err(KurrentError::Contended(stream));
            }
            self.tries.again(error).await?;
        }
    }

    async fn try_restore(
        &mut self,
        stream: StreamId,
        expected: i64,
        events: &[StoredEvent],
    ) -> Result<(), KurrentError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let client = self.tries.client()?;
                let options = BatchAppendOptions::default();
                let open = self.tries.log.answer(client.batch_append(&options)).await;
                self.open.insert(open.doing("append events")?)
            }
        };
        let log = &self.tries.log;
        let name = stored::stream_name(&log.0.name, &stream);
        let data = events.iter().map(stored::old).collect();
        let written = log.answer(open.append_to_stream(name, state_at(expected), data)).await;
        written.map(drop).doing("append events")
    }
}

/// Reads the log in order, and goes on where it was when a node fails.
pub struct Reader {
    prefix: String,
    after: Option<Checkpoint>,
    open: Option<ReadStream>,
    tries: Tries,
}

impl Reader {
    /// The next event; none at the end of the log.
    ///
    /// # Errors
    /// When KurrentDB fails for longer, or the event does not read.
    pub async fn next(&mut self) -> Result<Option<Found>, KurrentError> {
        loop {
            match self.try_next().await {
                // A read begins with the event that the one before ended with.
                Ok(Some(found)) if Some(found.at) <= self.after => {}
                Ok(Some(found)) => {
                    self.after = Some(found.at);
                    self.tries.failed = 0;
                    return Ok(Some(found));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.open = None;
                    self.tries.again(error).await?;
                }
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Found>, KurrentError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let options = ReadAllOptions::default()
                    .position(position_of(self.after))
                    .filter(filter(&self.prefix));
                let client = self.tries.client()?;
                let open = self
                    .tries
                    .log
                    .answer(client.read_all(&options))
                    .await
                    .doing("read the log")?;
                self.open.insert(open)
            }
        };
        let log = &self.tries.log;
        match log.answer(open.next()).await.doing("read the log")? {
            Some(event) => stored::read(&log.0.name, event.get_original_event()).map(Some),
            None => Ok(None),
        }
    }
}

/// What a follower of the log hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Event(Box<Found>),
    /// Nothing of the log's up to here: as good a place to go on from as an event.
    Nothing(Checkpoint),
    /// That was all there is; the rest comes as it is appended.
    CaughtUp,
}

/// Follows the log, and goes on where it was when the subscription is dropped: nothing is lost, nothing comes twice.
pub struct Follower {
    prefix: String,
    after: Option<Checkpoint>,
    open: Option<eventstore::Subscription>,
    tries: Tries,
}

impl Follower {
    /// What comes next; waits for it.
    ///
    /// # Errors
    /// When KurrentDB fails for longer, or an event does not read.
    pub async fn next(&mut self) -> Result<Heard, KurrentError> {
        loop {
            let heard = match self.try_next().await {
                Ok(heard) => heard,
                Err(error) => {
                    self.open = None;
                    self.tries.again(error).await?;
                    continue;
                }
            };
            // Whatever is heard, the server is there.
            self.tries.failed = 0;
            let at = match &heard {
                Heard::Event(found) => found.at,
                Heard::Nothing(at) => *at,
                Heard::CaughtUp => return Ok(heard),
            };
            if Some(at) > self.after {
                self.after = Some(at);
                return Ok(heard);
            }
        }
    }

    async fn try_next(&mut self) -> Result<Heard, KurrentError> {
        let mut is_new = false;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                is_new = true;
                // Without the client's own retries: it would go on after the last event, not after the last place, and forever
                // on a connection that is closed.
                let options = SubscribeToAllOptions::default()
                    .position(position_of(self.after))
                    .filter(filter(&self.prefix));
                let client = self.tries.client()?;
                self.open.insert(client.subscribe_to_all(&options).await)
            }
        };
        let log = &self.tries.log;
        loop {
            // It is confirmed at once; then there may be nothing to tell for long, and the connection's keep-alive looks after it.
            let told = if std::mem::take(&mut is_new) {
                log.answer(open.next_subscription_event()).await
            } else {
                open.next_subscription_event().await
            };
            match told.doing("follow the log")? {
                SubscriptionEvent::EventAppeared(event) => {
                    return stored::read(&log.0.name, event.get_original_event())
                        .map(|found| Heard::Event(Box::new(found)));
                }
                SubscriptionEvent::Checkpoint(position) => return Ok(Heard::Nothing(position.into())),
                SubscriptionEvent::CaughtUp(_) => return Ok(Heard::CaughtUp),
                SubscriptionEvent::Confirmed(_)
                | SubscriptionEvent::FirstStreamPosition(_)
                | SubscriptionEvent::LastStreamPosition(_)
                | SubscriptionEvent::LastAllPosition(_)
                | SubscriptionEvent::FellBehind(_) => {}
            }
        }
    }
}
