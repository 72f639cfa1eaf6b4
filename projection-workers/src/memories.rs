//! What projections remember of people between events, against a fold of the log: who worked for whom and who left (`teams`), and the
//! inputs of scores (`scorer`). No screen shows either; what comes next depends on both.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    Kind, StreamId,
    id::{EmployeeId, TenantId},
};
use infra::{
    checkpoint, clock,
    database::{self, Access, Connection, Database, DatabaseError},
    event_log, parked,
    read_model::risk as risk_table,
    sealing::{Keyring, SubjectKey},
    teams::{self as tables, PersonRow},
};
use ml_pipeline::features::FeatureState;
use schemas::{
    codec::{AnyEvent, DEMOGRAPHICS_CHANGED},
    envelope::StoredEvent,
    topics,
};
use uuid::Uuid;

use crate::{
    proof,
    runner::{self, Projection},
    scorer::{self, Memory, Scorer},
    teams::{Facts, Teams},
};

/// People whose histories are open at once.
const CHUNK: i64 = 500;

/// What the comparison came to.
#[derive(Debug, Default)]
pub struct Memories {
    /// People whose teams and exits were compared.
    pub teams: usize,
    /// People whose inputs of scores were compared.
    pub inputs: usize,
    /// Whose memory, and of whom, is otherwise.
    pub difference: Option<(Of, Uuid)>,
}

/// Compares what is remembered of a tenant's people with a fold of their events, up to the first difference.
///
/// # Errors
/// When the database or the keys fail.
pub async fn compare(database: &Database, keyring: &Keyring, tenant: TenantId) -> Result<Memories, DatabaseError> {
    let mut memories = Memories::default();
    let mut after = None;
    loop {
        let (keyring, last) = (keyring.clone(), after.take());
        let (people, next) = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    // Rows, and how far they are, at one moment.
                    database::one_snapshot(connection).await?;
                    page(connection, &keyring, tenant, last).await
                })
            })
            .await?;
        for person in people {
            memories.teams += usize::from(person.is_same_in_teams.is_some());
            memories.inputs += usize::from(person.is_same_in_inputs.is_some());
            for (of, is_same) in [
                (Of::Teams, person.is_same_in_teams),
                (Of::Scorer, person.is_same_in_inputs),
            ] {
                if is_same == Some(false) {
                    memories.difference = memories.difference.or(Some((of, person.id)));
                }
            }
        }
        if next.is_none() || memories.difference.is_some() {
            return Ok(memories);
        }
        after = next;
    }
}

/// Whose memory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Teams,
    Scorer,
}

impl Of {
    /// What it remembers.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Teams => "teams and exits",
            Self::Scorer => "inputs of scores",
        }
    }

    /// The projection's name.
    #[must_use]
    pub fn projection(self) -> &'static str {
        match self {
            Self::Teams => Teams::NAME,
            Self::Scorer => Scorer::NAME,
        }
    }
}

/// What was remembered otherwise than the log says.
#[derive(Debug, Default)]
pub struct Mended {
    /// People who were looked at.
    pub people: usize,
    pub mended: Vec<Uuid>,
}

/// Makes one projection's memory of a tenant's people again from the log and puts it in the place of what is otherwise, in one
/// transaction: that projection waits meanwhile, and nobody else. Colleagues of those whose teams or exits were otherwise are told the
/// difference by the projection; scores whose inputs were otherwise are made anew with the person's next event.
///
/// # Errors
/// When the database or the keys fail; nothing was changed then.
pub async fn mend(database: &Database, keyring: &Keyring, tenant: TenantId, of: Of) -> Result<Mended, DatabaseError> {
    let keyring = keyring.clone();
    database
        .transact(Access::Write, &[tenant], move |connection| {
            Box::pin(async move {
                match of {
                    Of::Teams => tables::keep_to_oneself(connection).await?,
                    Of::Scorer => risk_table::keep_states_to_oneself(connection).await?,
                }
                let (mut mended, mut after) = (Mended::default(), None);
                loop {
                    let (people, next) = page(connection, &keyring, tenant, after).await?;
                    for person in people {
                        let is_same = match of {
                            Of::Teams => person.is_same_in_teams,
                            Of::Scorer => person.is_same_in_inputs,
                        };
                        mended.people += usize::from(is_same.is_some());
                        if is_same == Some(false) {
                            match of {
                                Of::Teams => person.mend_teams(connection, tenant).await?,
                                Of::Scorer => person.mend_inputs(connection, tenant).await?,
                            }
                            mended.mended.push(person.id);
                        }
                    }
                    after = next;
                    if after.is_none() {
                        return Ok(mended);
                    }
                }
            })
        })
        .await
}

/// A person as the log says, and whether it is remembered so. None: there is nothing to remember, or events are parked.
struct Person {
    id: Uuid,
    folded: Folded,
    key: Option<SubjectKey>,
    /// What the scorer remembers.
    memory: Option<Memory>,
    is_same_in_teams: Option<bool>,
    is_same_in_inputs: Option<bool>,
}

#[derive(Default)]
struct Folded {
    facts: Facts,
    /// The last event about teams, and whether all of them are imported history.
    last: Option<StoredEvent>,
    backfill: bool,
    features: FeatureState,
    /// The last event that moved an input.
    moved: i64,
}

impl Person {
    async fn mend_teams(&self, connection: &mut Connection, tenant: TenantId) -> Result<(), DatabaseError> {
        let facts = &self.folded.facts;
        let Some(last) = &self.folded.last else { return Ok(()) };
        let teams = tables::Teams {
            tenant,
            employee: self.id,
            memberships: facts.memberships(),
            exits: facts.exits(EmployeeId::from_uuid(self.id)),
        };
        let row = PersonRow {
            tenant: tenant.into(),
            employee: self.id,
            facts: serde_json::to_string(facts).map_err(|_| DatabaseError::Corrupt("facts of teams"))?,
            position: last.position,
            due_at: Some(clock::now()),
            backfill: self.folded.backfill,
            correlation: last.provenance.correlation,
        };
        tables::replace(connection, &[teams]).await?;
        tables::store(connection, &[row]).await
    }

    async fn mend_inputs(&self, connection: &mut Connection, tenant: TenantId) -> Result<(), DatabaseError> {
        let who = (tenant, self.id);
        if self.folded.features.is_erased() {
            return risk_table::remove_states(connection, &[who]).await;
        }
        let Some(key) = &self.key else { return Ok(()) };
        let mut memory = self.memory.clone().unwrap_or_default();
        memory.features = self.folded.features.clone();
        let row = scorer::remembered(who, &memory, (key, self.folded.moved))?;
        risk_table::upsert_states(connection, &[row]).await
    }
}

type StreamKey = (Uuid, String, Uuid);

/// Some people, and the last stream that was looked at.
async fn page(
    connection: &mut Connection,
    keyring: &Keyring,
    tenant: TenantId,
    after: Option<StreamKey>,
) -> Result<(Vec<Person>, Option<StreamKey>), DatabaseError> {
    let streams = event_log::streams_after(connection, after, CHUNK).await?;
    let next = streams.last().map(|(tenant, kind, id, _)| (*tenant, kind.clone(), *id));
    let ids: Vec<(TenantId, Uuid)> = streams
        .iter()
        .filter(|(_, kind, ..)| kind == Kind::Employee.name())
        .map(|(_, _, id, _)| (tenant, *id))
        .collect();
    let (teams, scorer) = (
        Progress::of::<Teams>(connection, tenant).await?,
        Progress::of::<Scorer>(connection, tenant).await?,
    );
    let stored: HashMap<Uuid, PersonRow> = tables::load(connection, &ids)
        .await?
        .into_iter()
        .map(|row| (row.employee, row))
        .collect();
    let derived = tables::of(connection, tenant, &ids).await?;
    let states: HashMap<Uuid, risk_table::FeatureStateRow> = risk_table::load_states(connection, &ids)
        .await?
        .into_iter()
        .map(|row| (row.employee, row))
        .collect();
    let streams: Vec<StreamId> = ids
        .iter()
        .map(|(_, id)| StreamId::new(tenant, Kind::Employee, *id))
        .collect();
    let events = event_log::read_streams(connection, &streams).await?;
    let keys = proof::keys(keyring, &events).await?;
    let mut people = Vec::with_capacity(ids.len());
    for (id, folded) in fold(events, &keys, (&teams, &scorer)) {
        let is_same_in_teams = (!teams.waiting.contains(&id) && folded.last.is_some()).then(|| {
            let remembered = stored
                .get(&id)
                .and_then(|row| serde_json::from_str::<Facts>(&row.facts).ok());
            let (memberships, exits) = derived.get(&id).cloned().unwrap_or_default();
            remembered.as_ref() == Some(&folded.facts)
                && memberships == folded.facts.memberships()
                && same_exits(&exits, &folded.facts.exits(EmployeeId::from_uuid(id)))
        });
        let memory = match states.get(&id) {
            Some(row) => scorer::recall(connection, &keys, row).await?,
            None => None,
        };
        let has_inputs = folded.features != FeatureState::default() && !scorer.waiting.contains(&id);
        let key = keys.get(&(tenant, id)).cloned();
        let is_same_in_inputs = if folded.features.is_erased() {
            Some(!states.contains_key(&id))
        } else {
            // Nothing is remembered of somebody without a key: nothing personal was ever known.
            (has_inputs && key.is_some())
                .then(|| memory.as_ref().is_some_and(|memory| memory.features == folded.features))
        };
        people.push(Person {
            id,
            folded,
            key,
            memory,
            is_same_in_teams,
            is_same_in_inputs,
        });
    }
    Ok((people, next))
}

fn fold(
    events: Vec<StoredEvent>,
    keys: &HashMap<(TenantId, Uuid), SubjectKey>,
    (teams, scorer): (&Progress, &Progress),
) -> BTreeMap<Uuid, Folded> {
    let mut people: BTreeMap<Uuid, Folded> = BTreeMap::new();
    for event in events {
        if event.event_type == DEMOGRAPHICS_CHANGED {
            continue;
        }
        let key = keys.get(&(event.stream.tenant, event.stream.id));
        let Ok(AnyEvent::Employee(opened)) = runner::open(&event, key) else {
            continue;
        };
        let person = people.entry(event.stream.id).or_insert_with(|| Folded {
            backfill: true,
            ..Folded::default()
        });
        if scorer.has(&event) && person.features.apply(&opened) {
            person.moved = event.position;
        }
        if teams.has(&event) && person.facts.take(&opened, event.provenance.backfill) {
            person.backfill &= event.provenance.backfill;
            person.last = Some(event);
        }
    }
    people
}

/// In any order: two teams may hear of one exit.
fn same_exits(one: &[tables::Exit], other: &[tables::Exit]) -> bool {
    one.len() == other.len() && one.iter().all(|exit| other.contains(exit))
}

/// How far a projection is.
pub(crate) struct Progress {
    positions: BTreeMap<i32, i64>,
    partitions: i32,
    /// Streams with parked events.
    pub(crate) waiting: HashSet<Uuid>,
}

impl Progress {
    pub(crate) async fn of<P: Projection>(
        connection: &mut Connection,
        tenant: TenantId,
    ) -> Result<Self, DatabaseError> {
        let positions = checkpoint::positions(connection, P::NAME, topics::EVENTS).await?;
        let positions: BTreeMap<i32, i64> = positions
            .into_iter()
            .map(|(partition, at, _)| (partition, at))
            .collect();
        let waiting = parked::waiting(connection, tenant, P::NAME).await?;
        Ok(Self {
            partitions: i32::try_from(positions.len()).unwrap_or(i32::MAX).max(1),
            positions,
            waiting: waiting.into_iter().collect(),
        })
    }

    pub(crate) fn has(&self, event: &StoredEvent) -> bool {
        let partition = topics::partition(topics::key(&event.stream).as_bytes(), self.partitions);
        self.positions.get(&partition).is_some_and(|at| event.position <= *at)
    }
}
