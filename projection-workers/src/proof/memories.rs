//! What projections remember of people between events, against a fold of the log: who worked for whom and who left (`teams`), and the
//! inputs of scores (`scorer`). No screen shows either; what comes next depends on both.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    Kind, StreamId,
    id::{EmployeeId, TenantId},
};
use infra::{
    checkpoint,
    database::{self, Access, Connection, Database, DatabaseError},
    event_log, parked,
    read_model::risk as risk_table,
    sealing::Keyring,
    teams as tables,
};
use ml_pipeline::features::FeatureState;
use schemas::{
    codec::{AnyEvent, DEMOGRAPHICS_CHANGED},
    topics,
};
use uuid::Uuid;

use crate::{
    runner::{self, Projection},
    scorer::{self, Scorer},
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
    /// What of whom is otherwise.
    pub difference: Option<(&'static str, Uuid)>,
}

/// Compares what is remembered of a tenant's people with a fold of their events.
///
/// # Errors
/// When the database or the keys fail.
pub async fn memories(database: &Database, keyring: &Keyring, tenant: TenantId) -> Result<Memories, DatabaseError> {
    let mut memories = Memories::default();
    let mut after = None;
    while memories.difference.is_none() {
        let (keyring, last) = (keyring.clone(), after.take());
        let (page, next) = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { page(connection, &keyring, tenant, last).await })
            })
            .await?;
        memories.teams += page.teams;
        memories.inputs += page.inputs;
        memories.difference = page.difference;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(memories)
}

type StreamKey = (Uuid, String, Uuid);

/// Some people, and the last stream that was looked at.
async fn page(
    connection: &mut Connection,
    keyring: &Keyring,
    tenant: TenantId,
    after: Option<StreamKey>,
) -> Result<(Memories, Option<StreamKey>), DatabaseError> {
    // Rows, and how far they are, at one moment.
    database::one_snapshot(connection).await?;
    let streams = event_log::streams_after(connection, after, CHUNK).await?;
    let next = streams.last().map(|(tenant, kind, id, _)| (*tenant, kind.clone(), *id));
    let people: Vec<(TenantId, Uuid)> = streams
        .iter()
        .filter(|(_, kind, ..)| kind == Kind::Employee.name())
        .map(|(_, _, id, _)| (tenant, *id))
        .collect();
    let teams = Progress::of::<Teams>(connection, tenant).await?;
    let scorer = Progress::of::<Scorer>(connection, tenant).await?;
    let stored: HashMap<Uuid, tables::PersonRow> = tables::load(connection, &people)
        .await?
        .into_iter()
        .map(|row| (row.employee, row))
        .collect();
    let derived = tables::of(connection, tenant, &people).await?;
    let states: HashMap<Uuid, risk_table::FeatureStateRow> = risk_table::load_states(connection, &people)
        .await?
        .into_iter()
        .map(|row| (row.employee, row))
        .collect();
    let ids: Vec<StreamId> = people
        .iter()
        .map(|(_, id)| StreamId::new(tenant, Kind::Employee, *id))
        .collect();
    let events = event_log::read_streams(connection, &ids).await?;
    let keys = super::keys(keyring, &events).await?;
    let mut folded: BTreeMap<Uuid, (Facts, FeatureState)> = BTreeMap::new();
    for event in events {
        if event.event_type == DEMOGRAPHICS_CHANGED {
            continue;
        }
        let Ok(AnyEvent::Employee(opened)) = runner::open(&event, keys.get(&(tenant, event.stream.id))) else {
            continue;
        };
        let (facts, features) = folded.entry(event.stream.id).or_default();
        if teams.has(&event.stream, event.position) {
            facts.take(&opened, event.provenance.backfill);
        }
        if scorer.has(&event.stream, event.position) {
            features.apply(&opened);
        }
    }
    let mut memories = Memories::default();
    for (id, (facts, features)) in folded {
        if !teams.waiting.contains(&id) && facts != Facts::default() {
            memories.teams += 1;
            let remembered = stored
                .get(&id)
                .and_then(|row| serde_json::from_str::<Facts>(&row.facts).ok());
            let (memberships, exits) = derived.get(&id).cloned().unwrap_or_default();
            let is_same = remembered.as_ref() == Some(&facts)
                && memberships == facts.memberships()
                && same_exits(&exits, &facts.exits(EmployeeId::from_uuid(id)));
            if !is_same {
                memories.difference = memories.difference.or(Some(("teams and exits", id)));
            }
        }
        // Erased, or nothing yet that a model would look at.
        if scorer.waiting.contains(&id) || features.is_erased() || features == FeatureState::default() {
            continue;
        }
        let Some(row) = states.get(&id) else {
            memories.difference = memories.difference.or(Some(("inputs of scores", id)));
            continue;
        };
        if let Some(memory) = scorer::recall(connection, &keys, row).await? {
            memories.inputs += 1;
            if memory.features != features {
                memories.difference = memories.difference.or(Some(("inputs of scores", id)));
            }
        }
    }
    Ok((memories, next))
}

/// In any order: two teams may hear of one exit.
fn same_exits(one: &[tables::Exit], other: &[tables::Exit]) -> bool {
    one.len() == other.len() && one.iter().all(|exit| other.contains(exit))
}

/// How far a projection is.
struct Progress {
    positions: BTreeMap<i32, i64>,
    partitions: i32,
    waiting: HashSet<Uuid>,
}

impl Progress {
    async fn of<P: Projection>(connection: &mut Connection, tenant: TenantId) -> Result<Self, DatabaseError> {
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

    fn has(&self, stream: &StreamId, position: i64) -> bool {
        let partition = topics::partition(topics::key(stream).as_bytes(), self.partitions);
        self.positions.get(&partition).is_some_and(|at| position <= *at)
    }
}
