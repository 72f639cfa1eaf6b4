//! Folded states of streams, cached. The expected revision guards every append, so a stale entry costs a retry, no harm.

use std::collections::HashMap;

use domain::{
    Aggregate, Date, Kind, StreamId, access::Access as Asking, connection::Connection, employee::Employee,
    pay_change::PayChanges, program::Program, risk::Risk, tenant::Tenant,
};
use infra::{
    database::{Access, Database},
    event_log,
    sealing::{Keyring, Place, Subject, open_payload},
};
use schemas::{
    codec::{AnyCommand, AnyEvent},
    envelope::StoredEvent,
};

use super::AppenderError;

/// States that are kept; beyond, the cache starts anew.
const STREAMS_CACHED_MAX: usize = 100_000;

/// The state of any aggregate.
#[derive(Debug, Clone)]
pub enum AnyState {
    Employee(Employee),
    Risk(Risk),
    Connection(Connection),
    Tenant(Tenant),
    Program(Program),
    Access(Asking),
    PayChange(PayChanges),
}

impl AnyState {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Employee => Self::Employee(Employee::default()),
            Kind::Risk => Self::Risk(Risk::default()),
            Kind::Connection => Self::Connection(Connection::default()),
            Kind::Tenant => Self::Tenant(Tenant::default()),
            Kind::Program => Self::Program(Program::default()),
            Kind::Access => Self::Access(Asking),
            Kind::PayChange => Self::PayChange(PayChanges::default()),
        }
    }

    /// Judges a command: events, or the broken rule in words.
    pub fn decide(&self, command: AnyCommand, today: Date) -> Result<Vec<AnyEvent>, String> {
        match (self, command) {
            (Self::Employee(state), AnyCommand::Employee(command)) => {
                decided(state.decide(command, today), AnyEvent::Employee)
            }
            (Self::Risk(state), AnyCommand::Risk(command)) => decided(state.decide(command, today), AnyEvent::Risk),
            (Self::Connection(state), AnyCommand::Connection(command)) => {
                decided(state.decide(command, today), AnyEvent::Connection)
            }
            (Self::Tenant(state), AnyCommand::Tenant(command)) => {
                decided(state.decide(command, today), AnyEvent::Tenant)
            }
            (Self::Program(state), AnyCommand::Program(command)) => {
                decided(state.decide(command, today), AnyEvent::Program)
            }
            (Self::Access(state), AnyCommand::Access(command)) => {
                decided(state.decide(command, today), AnyEvent::Access)
            }
            (Self::PayChange(state), AnyCommand::PayChange(command)) => {
                decided(state.decide(command, today), AnyEvent::PayChange)
            }
            (_, _) => Err("this command is for another kind of stream".to_owned()),
        }
    }

    pub fn evolve(self, event: &AnyEvent) -> Self {
        match (self, event) {
            (Self::Employee(state), AnyEvent::Employee(event)) => Self::Employee(state.evolve(event)),
            (Self::Risk(state), AnyEvent::Risk(event)) => Self::Risk(state.evolve(event)),
            (Self::Connection(state), AnyEvent::Connection(event)) => Self::Connection(state.evolve(event)),
            (Self::Tenant(state), AnyEvent::Tenant(event)) => Self::Tenant(state.evolve(event)),
            (Self::Program(state), AnyEvent::Program(event)) => Self::Program(state.evolve(event)),
            (Self::Access(state), AnyEvent::Access(event)) => Self::Access(state.evolve(event)),
            (Self::PayChange(state), AnyEvent::PayChange(event)) => Self::PayChange(state.evolve(event)),
            (state, _) => state,
        }
    }
}

fn decided<E, R: std::error::Error>(
    judgement: Result<Vec<E>, R>,
    any: fn(E) -> AnyEvent,
) -> Result<Vec<AnyEvent>, String> {
    judgement
        .map(|events| events.into_iter().map(any).collect())
        .map_err(|rejection| rejection.to_string())
}

/// A stream as it is known.
#[derive(Debug, Clone)]
pub enum Known {
    At {
        revision: i64,
        state: AnyState,
    },
    /// Its history holds an event that does not read, at this position.
    Unreadable {
        position: i64,
    },
}

#[derive(Default)]
pub struct Streams(HashMap<StreamId, Known>);

impl Streams {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn forget(&mut self, stream: &StreamId) {
        self.0.remove(stream);
    }

    pub fn get(&self, stream: &StreamId) -> Option<&Known> {
        self.0.get(stream)
    }

    pub fn set(&mut self, stream: StreamId, revision: i64, state: AnyState) {
        self.0.insert(stream, Known::At { revision, state });
    }

    /// Loads and folds those of `wanted` that are not cached, in one query.
    pub async fn load(
        &mut self,
        database: &Database,
        keyring: &Keyring,
        wanted: impl Iterator<Item = StreamId>,
    ) -> Result<(), AppenderError> {
        if self.0.len() > STREAMS_CACHED_MAX {
            self.0.clear();
        }
        let mut missing: Vec<StreamId> = wanted.filter(|stream| !self.0.contains_key(stream)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let tenants = event_log::tenants_of(missing.iter().map(|stream| stream.tenant));
        let asked = missing.clone();
        let events = database
            .transact(Access::LookUp, &tenants, move |connection| {
                Box::pin(async move { event_log::read_streams(connection, &asked).await })
            })
            .await?;
        let mut subjects: Vec<Subject> = events
            .iter()
            .map(|event| (event.stream.tenant, event.stream.id))
            .collect();
        subjects.dedup();
        let keys = keyring.subjects(&subjects).await?;
        for stream in missing {
            self.0.insert(
                stream,
                Known::At {
                    revision: 0,
                    state: AnyState::new(stream.kind),
                },
            );
        }
        for event in events {
            let Some(Known::At { state, .. }) = self.0.remove(&event.stream) else {
                self.0.insert(
                    event.stream,
                    Known::Unreadable {
                        position: event.position,
                    },
                );
                continue;
            };
            let known = match opened(&event, keys.get(&(event.stream.tenant, event.stream.id))) {
                Some(any) => Known::At {
                    revision: event.revision,
                    state: state.evolve(&any),
                },
                None => Known::Unreadable {
                    position: event.position,
                },
            };
            self.0.insert(event.stream, known);
        }
        Ok(())
    }
}

/// A stored event, opened and decoded.
fn opened(event: &StoredEvent, key: Option<&infra::sealing::SubjectKey>) -> Option<AnyEvent> {
    let mut payload = serde_json::from_slice(&event.data).ok()?;
    open_payload(
        key,
        Place {
            stream: &event.stream,
            event_id: event.event_id,
            schema_version: event.schema_version,
        },
        &mut payload,
    );
    AnyEvent::decode(&event.event_type, event.schema_version, payload).ok()
}
