//! Moves a log from one place to another, Postgres or KurrentDB, and proves that both hold the same.
//!
//! Everything that an event is goes along: position, revision, id, recorded time. What is equal on both sides is left alone, so that a
//! copy that was interrupted goes on; what differs stops it. At the end both logs' hash chains ([`seal::Head`]) are compared.
//!
//! Keys are no part of the log: what is sealed opens only with the keys in the database that it comes from.

use schemas::envelope::StoredEvent;

use crate::{
    database::{Access, Database, DatabaseError},
    event_log::{self, tenants_of},
    kurrent::{self, KurrentError, KurrentLog},
    seal::Head,
};

/// Events that are held in memory, and that Postgres takes in one transaction.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// Of one append to KurrentDB, which takes a megabyte unless it is told otherwise.
const APPEND_BYTES_MAX: usize = 512 * 1024;
/// What KurrentDB adds to an event, and its metadata, at most about.
const EVENT_OVERHEAD_BYTES: usize = 1_024;

/// Where a log is.
#[derive(Clone)]
pub enum Place {
    Postgres(Database),
    Kurrent(KurrentLog),
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Events that the target had already.
    pub already: i64,
    /// Events that it got.
    pub copied: i64,
    /// The last position of both, and the hash of all events up to it.
    pub source: Head,
    pub target: Head,
}

/// Why a log was not copied, or not found equal.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the log in Postgres could not be used")]
    Postgres(#[source] DatabaseError),
    #[error("the log in KurrentDB could not be used")]
    Kurrent(#[source] KurrentError),
    #[error("the target has another event {position} than the source: {there} instead of {here}; nothing was changed")]
    Differs {
        position: i64,
        there: Box<str>,
        here: Box<str>,
    },
    #[error("the target has events after {0}, where the source ends; nothing was changed")]
    TargetGoesOn(i64),
    #[error("the source has no event {0}, though it goes on after it")]
    Missing(i64),
    #[error(
        "the event that KurrentDB has at place {place} of the log was copied from position {position}: it is not a whole log"
    )]
    Misplaced { place: i64, position: i64 },
    #[error("the logs are not equal: {0} at the source, {1} at the target")]
    Unequal(Box<str>, Box<str>),
}

impl From<DatabaseError> for CopyError {
    fn from(cause: DatabaseError) -> Self {
        Self::Postgres(cause)
    }
}

impl From<KurrentError> for CopyError {
    fn from(cause: KurrentError) -> Self {
        Self::Kurrent(cause)
    }
}

/// Copies what the target lacks, and proves that both are equal. `told` hears now and then up to where they are.
///
/// The source may be written to meanwhile: what came after the beginning may or may not go along, and the next run takes it. The target may
/// not.
///
/// # Errors
/// When the target is no beginning of the source, a log cannot be read or written, or they are not equal in the end.
pub async fn copy(source: &Place, target: &Place, mut told: impl FnMut(i64)) -> Result<Copied, CopyError> {
    let mut from = Reading::begin(source).await?;
    let mut head = Head::default();
    let mut to = Writing::begin(target);
    let already = compare(&mut from, &mut Reading::begin(target).await?, &mut head).await?;
    told(already);
    loop {
        let events = from.page(PAGE_EVENTS_MAX).await?;
        if events.is_empty() {
            break;
        }
        to.restore(&events).await?;
        head = events.iter().fold(head, |head, event| head.with(event));
        told(head.position);
    }
    let found = hash(target).await?;
    if found != head {
        return Err(CopyError::Unequal(shown(head).into(), shown(found).into()));
    }
    Ok(Copied {
        already,
        copied: head.position - already,
        source: head,
        target: found,
    })
}

/// Takes what the target has from both, as far as it is the same: how many events that is.
async fn compare(from: &mut Reading, to: &mut Reading, head: &mut Head) -> Result<i64, CopyError> {
    loop {
        let there = to.page(PAGE_EVENTS_MAX).await?;
        if there.is_empty() {
            return Ok(head.position);
        }
        let here = from.page(there.len()).await?;
        for (there, here) in there.iter().zip(&here) {
            if there != here {
                return Err(CopyError::Differs {
                    position: here.position,
                    there: named(there),
                    here: named(here),
                });
            }
            *head = head.with(here);
        }
        if here.len() < there.len() {
            return Err(CopyError::TargetGoesOn(head.position));
        }
    }
}

/// What can be said of an event without opening it.
fn named(event: &StoredEvent) -> Box<str> {
    format!(
        "{} {} of {} ({})",
        event.event_type, event.revision, event.stream, event.event_id
    )
    .into()
}

/// A head for people.
#[must_use]
pub fn shown(head: Head) -> String {
    let hash: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} events with the hash {hash}", head.position)
}

/// The hash of a whole log.
///
/// # Errors
/// When it cannot be read, or has a gap.
pub async fn hash(place: &Place) -> Result<Head, CopyError> {
    let mut reading = Reading::begin(place).await?;
    let mut head = Head::default();
    loop {
        let events = reading.page(PAGE_EVENTS_MAX).await?;
        if events.is_empty() {
            return Ok(head);
        }
        head = events.iter().fold(head, |head, event| head.with(event));
    }
}

/// A log that gets what comes next.
enum Writing {
    Postgres(Database),
    Kurrent(Box<kurrent::Restorer>),
}

impl Writing {
    fn begin(place: &Place) -> Self {
        match place {
            Place::Postgres(database) => Self::Postgres(database.clone()),
            Place::Kurrent(log) => Self::Kurrent(Box::new(log.restorer())),
        }
    }

    async fn restore(&mut self, events: &[StoredEvent]) -> Result<(), CopyError> {
        match self {
            Self::Postgres(database) => {
                let tenants = tenants_of(events.iter().map(|event| event.stream.tenant));
                let events = events.to_vec();
                database
                    .transact(Access::Write, &tenants, move |connection| {
                        Box::pin(async move { event_log::restore(connection, &events).await })
                    })
                    .await?;
            }
            // One after the other: what is under way at once may come in any order.
            Self::Kurrent(restorer) => {
                for run in runs(events) {
                    restorer.restore(run).await?;
                }
            }
        }
        Ok(())
    }
}

/// Events that follow one another in one stream, as many as go into one append.
fn runs(events: &[StoredEvent]) -> impl Iterator<Item = &[StoredEvent]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut bytes = 0;
        let fits = |event: &StoredEvent| {
            bytes += event.data.len() + EVENT_OVERHEAD_BYTES;
            event.stream == first.stream && bytes <= APPEND_BYTES_MAX
        };
        // An event that is too big by itself is tried nevertheless.
        let count = rest.iter().map(fits).take_while(|fits| *fits).count().max(1);
        let (run, after) = rest.split_at(count);
        rest = after;
        Some(run)
    })
}

/// A log that is read from its beginning, with its positions 1, 2, 3, …
enum Reading {
    Postgres {
        database: Database,
        position: i64,
        /// Where it ended at the beginning: others may append meanwhile.
        end: i64,
    },
    Kurrent {
        reader: Box<kurrent::Reader>,
        position: i64,
    },
}

impl Reading {
    async fn begin(place: &Place) -> Result<Self, CopyError> {
        Ok(match place {
            Place::Postgres(database) => Self::Postgres {
                database: database.clone(),
                position: 0,
                end: database
                    .transact_as_relay(|connection| Box::pin(event_log::head(connection)))
                    .await?,
            },
            Place::Kurrent(log) => Self::Kurrent {
                reader: Box::new(log.read_after(None)),
                position: 0,
            },
        })
    }

    /// The next events, fewer than `limit` only at the end.
    async fn page(&mut self, limit: usize) -> Result<Vec<StoredEvent>, CopyError> {
        match self {
            Self::Postgres {
                database,
                position,
                end,
            } => {
                let (after, limit) = (*position, (*end - *position).min(limit as i64));
                if limit == 0 {
                    return Ok(vec![]);
                }
                let events = database
                    .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)))
                    .await?;
                let astray = events
                    .iter()
                    .zip(after + 1..)
                    .find(|(event, expected)| event.position != *expected);
                if let Some((_, expected)) = astray {
                    return Err(CopyError::Missing(expected));
                }
                if (events.len() as i64) < limit {
                    return Err(CopyError::Missing(after + events.len() as i64 + 1));
                }
                *position += limit;
                Ok(events)
            }
            Self::Kurrent { reader, position } => {
                let mut events = Vec::new();
                while events.len() < limit
                    && let Some(found) = reader.next().await?
                {
                    *position += 1;
                    if let Some(from) = found.copied_from.filter(|from| from != position) {
                        let (place, position) = (*position, from);
                        return Err(CopyError::Misplaced { place, position });
                    }
                    events.push(StoredEvent {
                        position: *position,
                        ..found.event
                    });
                }
                Ok(events)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{
        Date, Kind, StreamId,
        id::{CommandId, EventId, TenantId},
    };
    use schemas::envelope::Provenance;
    use uuid::Uuid;

    use super::*;

    fn event(stream: u128, bytes: usize) -> StoredEvent {
        StoredEvent {
            position: 1,
            stream: StreamId::new(TenantId::from_uuid(Uuid::nil()), Kind::Risk, Uuid::from_u128(stream)),
            revision: 1,
            event_id: EventId::from_uuid(Uuid::nil()),
            event_type: "risk.assessed".to_owned(),
            schema_version: 1,
            effective_on: Date::default(),
            recorded_at: DateTime::UNIX_EPOCH,
            provenance: Provenance {
                actor: "scorer".to_owned(),
                correlation: Uuid::nil(),
                causation: CommandId::from_uuid(Uuid::nil()),
                backfill: false,
                traceparent: None,
            },
            data: vec![b' '; bytes],
        }
    }

    #[test]
    fn an_append_is_of_one_stream_and_not_too_big() {
        let half = APPEND_BYTES_MAX / 2 - EVENT_OVERHEAD_BYTES;
        let events = [
            event(1, 0),
            event(1, 0),
            event(2, 0),
            event(1, half),
            event(1, half),
            event(1, 1),
            event(3, 3 * half),
            event(3, 1),
        ];
        let counts: Vec<usize> = runs(&events).map(<[_]>::len).collect();
        assert_eq!(counts, [2, 1, 2, 1, 1, 1]);
        assert_eq!(runs(&[]).count(), 0);
    }
}
