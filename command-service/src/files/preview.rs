//! What a file would change, without changing it.

use std::collections::BTreeMap;

use domain::{
    Aggregate, Date, StreamId,
    employee::{Command, Employee},
    id::EmployeeId,
};
use infra::{clock, database::Database, sealing::Keyring};
use schemas::codec::{AnyCommand, AnyEvent, CodecError};
use serde_json::Value;

use super::people::{Origin, Person, RowProblem};
use crate::appender::{
    AppenderError,
    streams::{Known, Streams},
};

/// The most people that are looked at: their histories are read for it.
pub const PEOPLE_MAX: usize = 1_000;
/// The most events that are shown.
const EVENTS_MAX: usize = 50;
/// How many histories are read at once.
const CHUNK: usize = 250;

/// What would happen.
#[derive(Debug, Default)]
pub struct Preview {
    /// How many people were looked at: all, or [`PEOPLE_MAX`].
    pub people: usize,
    /// Of whom the file says nothing new.
    pub unchanged: usize,
    /// Events by their type.
    pub events: BTreeMap<String, usize>,
    pub first: Vec<PreviewedEvent>,
    /// Rules that would be broken.
    pub problems: Vec<RowProblem>,
}

/// An event that would happen. Holds personal values: for whoever sent the file.
#[derive(Debug)]
pub struct PreviewedEvent {
    /// Where the person's first row stands in the table.
    pub row: usize,
    pub event_type: String,
    pub effective_on: Date,
    pub payload: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error("what is known could not be read")]
    Known(#[from] AppenderError),
    #[error("an event could not be shown")]
    Codec(#[from] CodecError),
}

/// Judges what the file says of the first people as the log would.
///
/// # Errors
/// When the log cannot be read.
pub async fn preview(
    (database, keyring): (&Database, &Keyring),
    people: &[Person],
    origin: Origin,
) -> Result<Preview, PreviewError> {
    let mut preview = Preview::default();
    let stream = |person: &Person| {
        let employee = EmployeeId::derive(origin.tenant, origin.connection, &person.id);
        StreamId::new(origin.tenant, Employee::KIND, employee)
    };
    for chunk in people[..people.len().min(PEOPLE_MAX)].chunks(CHUNK) {
        let mut streams = Streams::default();
        streams.load(database, keyring, chunk.iter().map(stream)).await?;
        for person in chunk {
            preview.people += 1;
            let row = person.rows.first().copied().unwrap_or_default();
            let judged = match streams.get(&stream(person)) {
                Some(Known::At { state, .. }) => {
                    let command = Command::Synchronise(Box::new(person.snapshot.clone()));
                    state.decide(AnyCommand::Employee(command), clock::today())
                }
                Some(Known::Unreadable { .. }) | None => {
                    Err("what is known of this person does not read: tell your operator".to_owned())
                }
            };
            match judged {
                Ok(events) => preview.tell(row, &events)?,
                Err(rule) => preview.problems.extend(person.rows.iter().map(|row| RowProblem {
                    row: *row,
                    column: None,
                    problem: rule.clone(),
                })),
            }
        }
    }
    Ok(preview)
}

impl Preview {
    fn tell(&mut self, row: usize, events: &[AnyEvent]) -> Result<(), CodecError> {
        self.unchanged += usize::from(events.is_empty());
        for event in events {
            let encoded = event.encode()?;
            if self.first.len() < EVENTS_MAX {
                self.first.push(PreviewedEvent {
                    row,
                    event_type: encoded.event_type.clone(),
                    effective_on: event.effective_on(),
                    payload: encoded.payload,
                });
            }
            *self.events.entry(encoded.event_type).or_default() += 1;
        }
        Ok(())
    }
}
