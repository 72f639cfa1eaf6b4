//! What would have happened: a tenant's history is forked, changed by a script, and taken through the same projections and the same
//! scorer into a sandbox, which is then held against what happened (ADR 17).
//!
//! Only what the script touches is made again. Everything else of the log goes into the sandbox as it is, so that a script that
//! changes nothing comes out the same. Whose history changes is scored again when they were really scored, and when their changed
//! history says so ([`scores`]); who leaves or stays changes what colleagues hear ([`teams`]).
//!
//! A sandbox's log has room between any two events of the real one: an event at position `p` is at `p * ROOM` there, and what the script
//! inserts after it follows at `p * ROOM + 1` and so on.

mod changes;
mod history;
pub mod report;
mod scores;
pub mod script;
mod teams;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use domain::{
    Date, Kind, StreamId, Timestamp,
    id::{EventId, TenantId},
    tenant,
};
use infra::{
    clock,
    database::{Connection, Database, DatabaseError},
    event_log,
    read_model::{readiness, risk as risk_table},
    sandbox::{self, Made, Name, SANDBOX_EVENTS_MAX, SandboxError, Sandboxes, World},
    sealing::{Keyring, Place as SealingPlace, SubjectKey, has_open_marker},
};
use ml_pipeline::artifact::Artifact;
use schemas::{
    codec::AnyEvent,
    envelope::{Provenance, StoredEvent},
};
use uuid::Uuid;

use crate::{
    proof, read_models,
    runner::{self, BATCH_EVENTS_MAX, Opened},
    scorer::unavailable,
};
use history::History;
use report::Report;
use script::{Script, ScriptError};

/// Positions of a sandbox between two of the real log.
pub const ROOM: i64 = 1 << 20;
/// Who is told to have done what the script says.
const ACTOR: &str = "what-if";

#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the history has more than {0} events, and a sandbox takes no more: `--events-max` lets it have more room")]
    TooManyEvents(usize),
    #[error("there is no history to fork: nothing has been projected yet")]
    NoHistory,
}

/// Where in a history something is: after the event at a position of the real log, the how-manieth.
type Spot = (i64, u32);

/// The last spot there can be.
const END: Spot = (i64::MAX, 0);

/// An event that the script makes, or that follows from it.
#[derive(Debug, Clone)]
struct Inserted {
    stream: StreamId,
    event: AnyEvent,
    recorded_at: Timestamp,
    backfill: bool,
}

/// What is other than in the real log.
#[derive(Debug, Default)]
struct Edits {
    dropped: HashSet<i64>,
    changed: HashMap<i64, AnyEvent>,
    inserted: BTreeMap<Spot, Inserted>,
}

/// What is asked, and of whom.
pub struct Question {
    pub tenant: TenantId,
    pub name: Name,
    pub script: Script,
    /// The script's text.
    pub text: String,
    /// The most events that the history may have.
    pub events_max: usize,
}

/// What answers it.
#[derive(Clone)]
pub struct Laboratory {
    pub database: Database,
    pub keyring: Keyring,
    pub sandboxes: Sandboxes,
    pub prior: Arc<Artifact>,
}

impl Question {
    /// # Errors
    /// When the script does not read.
    pub fn new(tenant: TenantId, name: Name, text: String) -> Result<Self, WhatIfError> {
        Ok(Self {
            tenant,
            name,
            script: Script::parse(&text, clock::today())?,
            text,
            events_max: SANDBOX_EVENTS_MAX,
        })
    }
}

impl Laboratory {
    /// Makes the sandbox, and says what is other in it than what happened. `show` hears how many events are done of how many.
    ///
    /// # Errors
    /// When the script asks for what is not there, the history is too long, or the database fails; then there is no sandbox.
    pub async fn run(
        &self,
        question: Question,
        show: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<Report, WhatIfError> {
        let laboratory = self.clone();
        let (tenant, name) = (question.tenant, question.name.clone());
        let made = self
            .sandboxes
            .fill(tenant, &name, move |connection| {
                Box::pin(async move { laboratory.fill(connection, &question, &show).await })
            })
            .await?;
        serde_json::from_value(made.difference).map_err(|_| DatabaseError::Corrupt("difference").into())
    }

    async fn fill(
        &self,
        connection: &mut Connection,
        question: &Question,
        show: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Made, WhatIfError> {
        let (tenant, name) = (question.tenant, &question.name);
        sandbox::look_at(connection, World::Happened, (tenant, name)).await?;
        let history = History::read(connection, &self.keyring, tenant, question.events_max).await?;
        let mut plan = changes::Plan::new(&history, &question.script);
        plan.make(connection, &self.keyring).await?;
        teams::follow(&mut plan, connection, &self.keyring).await?;
        let scored = scores::again(&mut plan, connection, (&self.keyring, &self.prior)).await?;
        let changes = plan.counted();
        let edits = plan.into_edits();

        sandbox::look_at(connection, World::WhatIf, (tenant, name)).await?;
        let events = self.replay(connection, (tenant, &history), edits, show).await?;
        sandbox::copy_scores(connection, tenant, &scored.touched).await?;
        risk_table::upsert(connection, &scored.risks).await?;
        let touched: Vec<(TenantId, Uuid)> = scored.touched.iter().map(|employee| (tenant, *employee)).collect();
        if !touched.is_empty() {
            readiness::replace(connection, &touched, &scored.readiness).await?;
        }
        sandbox::filled(connection, (tenant, name)).await?;
        let report = report::of(connection, question, &history, changes, scored.unknown_models).await?;
        Ok(Made {
            title: question.script.title.value.clone(),
            script: report.script.clone(),
            position: history.head,
            events,
            difference: serde_json::to_value(&report).map_err(|_| DatabaseError::Corrupt("difference"))?,
        })
    }

    /// Takes the log, changed, through the projection of read models into the sandbox. Answers how many events that were.
    async fn replay(
        &self,
        connection: &mut Connection,
        (tenant, history): (TenantId, &History),
        mut edits: Edits,
        show: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<i64, DatabaseError> {
        let total = u64::try_from(history.events).unwrap_or_default();
        let (mut after, mut count, mut done) = (0, 0, 0);
        loop {
            let page = event_log::read_tenant_after(connection, tenant, after, BATCH_EVENTS_MAX as i64).await?;
            let last = page.last().map(|event| event.position);
            let until = last.map_or(END, |position| (position, 0));
            let later = edits.inserted.split_off(&until);
            let inserted = std::mem::replace(&mut edits.inserted, later);
            let page: Vec<StoredEvent> = page.into_iter().filter(|event| history.holds(event)).collect();
            done += page.len() as u64;
            let events = self.changed(page, inserted, &edits).await?;
            count += events.len() as i64;
            read_models::fold(connection, &events).await?;
            show(done, total);
            match last {
                Some(position) => after = position,
                None => return Ok(count),
            }
        }
    }

    /// Some events as they are in the sandbox, in order, with those that were inserted before the last of them.
    async fn changed(
        &self,
        page: Vec<StoredEvent>,
        inserted: BTreeMap<Spot, Inserted>,
        edits: &Edits,
    ) -> Result<Vec<Opened>, DatabaseError> {
        let mut subjects: Vec<(TenantId, Uuid)> = page
            .iter()
            .map(|event| &event.stream)
            .chain(inserted.values().map(|inserted| &inserted.stream))
            .map(|stream| (stream.tenant, stream.id))
            .collect();
        subjects.sort_unstable();
        subjects.dedup();
        let keys = self.keyring.subjects(&subjects).await.map_err(unavailable)?;
        let mut events: Vec<(Spot, Opened)> = Vec::with_capacity(page.len() + inserted.len());
        for event in page {
            if edits.dropped.contains(&event.position) {
                continue;
            }
            let spot = (event.position, 0);
            let key = keys.get(&(event.stream.tenant, event.stream.id));
            let opened = match edits.changed.get(&event.position) {
                Some(changed) => written(event, changed.clone(), key)?,
                None => match runner::open(&event, key) {
                    Ok(opened) => Opened {
                        stored: Arc::new(event),
                        event: opened,
                    },
                    Err(_) => continue, // parked when it was met; its stream is not compared
                },
            };
            events.push((spot, opened));
        }
        for (spot, inserted) in inserted {
            let key = keys.get(&(inserted.stream.tenant, inserted.stream.id));
            events.push((spot, of_script(spot, inserted, key)?));
        }
        events.sort_by_key(|(spot, _)| *spot);
        Ok(events.into_iter().map(|(spot, opened)| moved(spot, opened)).collect())
    }
}

/// At its position in the sandbox.
fn moved((position, nth): Spot, opened: Opened) -> Opened {
    let mut stored = Arc::unwrap_or_clone(opened.stored);
    stored.position = position * ROOM + i64::from(nth);
    Opened {
        stored: Arc::new(stored),
        event: opened.event,
    }
}

/// A stored event with another content, sealed as the appender seals it.
fn written(stored: StoredEvent, event: AnyEvent, key: Option<&SubjectKey>) -> Result<Opened, DatabaseError> {
    let encoded = event.encode().map_err(|_| DatabaseError::Corrupt("event"))?;
    let mut payload = encoded.payload;
    if has_open_marker(&payload) {
        let place = SealingPlace {
            stream: &stored.stream,
            event_id: stored.event_id,
            schema_version: encoded.schema_version,
        };
        let key = key.ok_or(DatabaseError::Corrupt("key of a person whose history is changed"))?;
        key.seal(place, &mut payload).map_err(unavailable)?;
    }
    let stored = StoredEvent {
        event_type: encoded.event_type,
        schema_version: encoded.schema_version,
        effective_on: event.effective_on(),
        data: serde_json::to_vec(&payload).map_err(|_| DatabaseError::Corrupt("event"))?,
        ..stored
    };
    Ok(Opened {
        stored: Arc::new(stored),
        event,
    })
}

fn of_script((position, nth): Spot, inserted: Inserted, key: Option<&SubjectKey>) -> Result<Opened, DatabaseError> {
    let stream = inserted.stream;
    let id = Uuid::new_v5(&stream.id, format!("{ACTOR}|{position}|{nth}").as_bytes());
    let stored = StoredEvent {
        position,
        stream,
        revision: 0, // no read model looks at it
        event_id: EventId::from_uuid(id),
        event_type: String::new(),
        schema_version: 0,
        effective_on: inserted.event.effective_on(),
        recorded_at: inserted.recorded_at,
        provenance: Provenance {
            actor: ACTOR.to_owned(),
            correlation: id,
            causation: domain::id::CommandId::from_uuid(id),
            backfill: inserted.backfill,
            traceparent: None,
        },
        data: Vec::new(),
    };
    written(stored, inserted.event, key)
}

/// Opens events of a person, as far as they read.
async fn opened(keyring: &Keyring, events: Vec<StoredEvent>) -> Result<Vec<(StoredEvent, AnyEvent)>, DatabaseError> {
    let keys = proof::keys(keyring, &events).await?;
    let open = |event: StoredEvent| {
        let opened = runner::open(&event, keys.get(&(event.stream.tenant, event.stream.id))).ok()?;
        Some((event, opened))
    };
    Ok(events.into_iter().filter_map(open).collect())
}

fn first_moment(day: Date) -> Timestamp {
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// The stream of a tenant's settings.
fn settings_stream(tenant: TenantId) -> StreamId {
    StreamId::new(tenant, Kind::Tenant, tenant.uuid())
}

/// What was set, and where in the log.
type Set = (i64, tenant::Event);
