//! Proves that what people see is what the log says: rows against rows that are made again, scores against scores that are made
//! again. Nothing is written, and nobody is kept waiting.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use domain::{Kind, StreamId, id::TenantId};
use infra::{
    checkpoint,
    database::{Access, Connection, Database, DatabaseError},
    event_log, model_registry, parked,
    read_model::{
        risk::RiskRow,
        shadow::{self, Difference},
    },
    sealing::{Keyring, SubjectKey},
};
use ml_pipeline::{artifact::Artifact, explain, features::FeatureState};
use schemas::{codec::AnyEvent, envelope::StoredEvent, topics};
use uuid::Uuid;

use crate::{
    read_models::{self, ReadModels},
    runner::{self, BATCH_EVENTS_MAX, Opened, Projection},
    scorer::{FACTORS_MAX, unavailable},
};

/// What a comparison of a tenant's read models came to.
#[derive(Debug, Default)]
pub struct Rows {
    /// Events that the rows were made of again.
    pub events: usize,
    /// Rows that there are, by table.
    pub tables: Vec<(&'static str, i64)>,
    /// People (and other streams) with parked events, whose rows say less than the log: not compared, and counts of heads neither.
    pub waiting: usize,
    pub difference: Option<Difference>,
}

/// Makes a tenant's read models again, up to where each partition is projected, and compares all rows.
///
/// # Errors
/// When the database fails.
pub async fn rows(database: &Database, keyring: &Keyring, tenant: TenantId) -> Result<Rows, DatabaseError> {
    let tables: Vec<&'static str> = shadow::TABLES.iter().map(|(table, _, _)| *table).collect();
    let keyring = keyring.clone();
    database
        .transact_in_shadow(&[tenant], &tables, move |connection| {
            Box::pin(async move {
                let made = make_again(connection, &keyring, tenant, None).await?;
                compared(connection, tenant, made).await
            })
        })
        .await
}

/// Rows that were made again.
pub(crate) struct Made {
    pub events: usize,
    /// The streams with parked events, whose rows were not made.
    pub waiting: Vec<Uuid>,
}

/// Makes the rows of a tenant, or of one employee, again in the tables that shadow the live ones, up to where each partition is
/// projected.
pub(crate) async fn make_again(
    connection: &mut Connection,
    keyring: &Keyring,
    tenant: TenantId,
    employee: Option<Uuid>,
) -> Result<Made, DatabaseError> {
    let positions = checkpoint::positions(connection, ReadModels::NAME, topics::EVENTS).await?;
    let positions: BTreeMap<i32, i64> = positions
        .into_iter()
        .map(|(partition, at, _)| (partition, at))
        .collect();
    let partitions = i32::try_from(positions.len()).unwrap_or(i32::MAX).max(1);
    let waiting = parked::waiting(connection, tenant, ReadModels::NAME).await?;
    let is_projected = |event: &StoredEvent| {
        let partition = topics::partition(topics::key(&event.stream).as_bytes(), partitions);
        positions.get(&partition).is_some_and(|at| event.position <= *at) && !waiting.contains(&event.stream.id)
    };
    let (mut after, mut count) = (0, 0);
    if let Some(employee) = employee {
        let streams = [Kind::Employee, Kind::Risk].map(|kind| StreamId::new(tenant, kind, employee));
        let mut events = event_log::read_streams(connection, &streams).await?;
        events.retain(is_projected);
        events.sort_unstable_by_key(|event| event.position);
        let opened = open_all(keyring, events).await?;
        read_models::fold(connection, &opened).await?;
        let events = opened.len();
        return Ok(Made { events, waiting });
    }
    loop {
        let page = event_log::read_tenant_after(connection, tenant, after, BATCH_EVENTS_MAX as i64).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        let events: Vec<StoredEvent> = page.into_iter().filter(is_projected).collect();
        let opened = open_all(keyring, events).await?;
        count += opened.len();
        read_models::fold(connection, &opened).await?;
    }
    Ok(Made { events: count, waiting })
}

async fn compared(connection: &mut Connection, tenant: TenantId, made: Made) -> Result<Rows, DatabaseError> {
    let waiting = made.waiting;
    let mut rows = Rows {
        events: made.events,
        waiting: waiting.len(),
        ..Rows::default()
    };
    for table in shadow::TABLES {
        if table.2.is_none() && table.0.ends_with("_stats") && !waiting.is_empty() {
            continue;
        }
        let (count, difference) = shadow::compare(connection, tenant, table, &waiting).await?;
        rows.tables.push((table.0, count));
        rows.difference = rows.difference.or(difference);
    }
    Ok(rows)
}

/// What does not read is parked when it is met, and then not asked for.
async fn open_all(keyring: &Keyring, events: Vec<StoredEvent>) -> Result<Vec<Opened>, DatabaseError> {
    let keys = keys(keyring, &events).await?;
    let open = |event: StoredEvent| {
        let opened = runner::open(&event, keys.get(&(event.stream.tenant, event.stream.id))).ok()?;
        Some(Opened {
            stored: Arc::new(event),
            event: opened,
        })
    };
    Ok(events.into_iter().filter_map(open).collect())
}

pub(crate) async fn keys(
    keyring: &Keyring,
    events: &[StoredEvent],
) -> Result<HashMap<(TenantId, Uuid), SubjectKey>, DatabaseError> {
    let mut subjects: Vec<_> = events
        .iter()
        .map(|event| (event.stream.tenant, event.stream.id))
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    keyring.subjects(&subjects).await.map_err(unavailable)
}

/// What making a sample of a tenant's scores again came to.
#[derive(Debug, Default)]
pub struct Scores {
    /// Scores that came out the same, to the last bit, with the same reasons from the same inputs.
    pub reproduced: usize,
    /// Scores of a model that neither ships with this version of the product nor is in the registry.
    pub unknown_model: usize,
    /// The first person whose score came out otherwise.
    pub difference: Option<Uuid>,
}

/// Makes up to `sample` current scores again, each from the events up to its position, with its model, on its day.
///
/// # Errors
/// When the database fails.
pub async fn scores(
    database: &Database,
    keyring: &Keyring,
    (tenant, sample): (TenantId, i64),
    prior: &Arc<Artifact>,
) -> Result<Scores, DatabaseError> {
    let rows = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { shadow::sample_of_scores(connection, tenant, sample).await })
        })
        .await?;
    let mut models: HashMap<String, Option<Arc<Artifact>>> = HashMap::new();
    models.insert(prior.version.clone(), Some(Arc::clone(prior)));
    let mut scores = Scores::default();
    for row in rows {
        let model = match models.get(&row.model) {
            Some(known) => known.clone(),
            None => {
                let loaded = registered(database, tenant, row.model.clone()).await?;
                models.insert(row.model.clone(), loaded.clone());
                loaded
            }
        };
        let Some(artifact) = model else {
            scores.unknown_model += 1;
            continue;
        };
        if is_reproduced(database, keyring, &artifact, (tenant, &row)).await? {
            scores.reproduced += 1;
        } else {
            scores.difference = scores.difference.or(Some(row.employee));
        }
    }
    Ok(scores)
}

async fn registered(
    database: &Database,
    tenant: TenantId,
    version: String,
) -> Result<Option<Arc<Artifact>>, DatabaseError> {
    let bytes = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { model_registry::load(connection, tenant, &version).await })
        })
        .await?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| Artifact::from_json(&text).ok()).map(Arc::new))
}

async fn is_reproduced(
    database: &Database,
    keyring: &Keyring,
    artifact: &Artifact,
    (tenant, row): (TenantId, &RiskRow),
) -> Result<bool, DatabaseError> {
    let stream = StreamId::new(tenant, Kind::Employee, row.employee);
    let events = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { event_log::read_streams(connection, &[stream]).await })
        })
        .await?;
    let keys = keys(keyring, &events).await?;
    let mut state = FeatureState::default();
    for event in events.iter().filter(|event| event.position <= row.position) {
        if let Ok(AnyEvent::Employee(event)) = runner::open(event, keys.get(&(tenant, row.employee))) {
            state.apply(&event);
        }
    }
    let on = row.scored_at.date_naive();
    let vector = artifact.vector(&state, on);
    let prediction = artifact.score(&vector.values, on);
    let factors = explain::factors(&artifact.hazard, &prediction, &vector, FACTORS_MAX);
    Ok(prediction.probability.to_bits() == row.probability.to_bits()
        && row.vector.as_ref().is_none_or(|digest| *digest == vector.digest())
        && factors == row.factors.0)
}
