//! Live scores: fold the event into the person's features, predict, show, and tell history what is news.
//!
//! The fold and the features are `ml-pipeline`'s, the same that training uses. A score is a function of the events up to a
//! position, the model and the day on which the last of them was recorded: the same again gives the same bytes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use domain::{
    Date, Kind, Personal, StreamId, Timestamp, employee,
    id::{CommandId, TenantId},
    risk::{self, Assessment, Factor, Score},
    tenant::Bands,
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    model_registry,
    outbox::{self, Outgoing},
    read_model::{
        risk::{self as risk_table, FeatureStateRow, RiskRow},
        settings,
    },
    route,
    sealing::{Keyring, SealingError, SubjectKey},
};
use ml_pipeline::{artifact::Artifact, explain, features::FeatureState, prior};
use schemas::codec::{AnyCommand, AnyEvent};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::runner::{Opened, Projection};

/// Reasons that a score carries.
pub const FACTORS_MAX: usize = 5;
/// People who are scored in one transaction when a model or the bands change.
const RESCORE_CHUNK: i64 = 500;
const ACTOR: &str = "scorer";

/// Cheap to clone.
#[derive(Clone)]
pub struct Scorer {
    database: Database,
    keyring: Keyring,
    prior: Arc<Artifact>,
    /// What each tenant is scored with.
    scoring: Arc<Mutex<HashMap<TenantId, Arc<Scoring>>>>,
    /// The day for which each tenant's people were last looked through.
    swept: Arc<Mutex<HashMap<TenantId, Date>>>,
    /// Rung when commands wait in the outbox.
    outgoing: Arc<Notify>,
}

/// Whose scores are made anew.
#[derive(Debug, Clone, Copy)]
enum Whom {
    Everybody,
    /// Those with the score of another model or of an earlier day, and those without any.
    Outdated {
        today: Date,
    },
}

impl Whom {
    fn holds(self, current: Option<&RiskRow>, model: &str) -> bool {
        match (self, current) {
            (Self::Everybody, _) | (Self::Outdated { .. }, None) => true,
            (Self::Outdated { today }, Some(row)) => row.model != model || row.scored_at.date_naive() < today,
        }
    }
}

/// A model and the bands to sort its probabilities into.
struct Scoring {
    /// The version that the settings name; the artifact is another one where that does not read.
    asked: Option<String>,
    artifact: Arc<Artifact>,
    bands: Bands,
}

/// What the scorer remembers of a person, sealed with the person's key.
#[derive(Clone, Serialize, Deserialize, Default)]
struct Memory {
    features: FeatureState,
    /// The last score that was sent to history.
    told: Option<Assessment>,
}

impl Scorer {
    /// # Errors
    /// When the shared prior that ships with the product does not read.
    pub fn new(
        database: Database,
        keyring: Keyring,
        outgoing: Arc<Notify>,
    ) -> Result<Self, ml_pipeline::artifact::ArtifactError> {
        Ok(Self {
            database,
            keyring,
            prior: Arc::new(prior::prior()?),
            scoring: Arc::default(),
            swept: Arc::default(),
            outgoing,
        })
    }

    /// What `tenant` is scored with: from memory, or as the settings say.
    async fn scoring(&self, connection: &mut Connection, tenant: TenantId) -> Result<Arc<Scoring>, DatabaseError> {
        if let Some(scoring) = self.remembered(tenant) {
            return Ok(scoring);
        }
        let settings = settings::load(connection, tenant).await?;
        let bands = settings
            .as_ref()
            .map_or_else(Bands::default, |settings| settings.bands.0);
        let asked = settings.and_then(|settings| settings.model);
        let artifact = match &asked {
            Some(version) => match model_registry::load(connection, tenant, version).await? {
                Some(bytes) => match std::str::from_utf8(&bytes).ok().map(Artifact::from_json) {
                    Some(Ok(artifact)) => Arc::new(artifact),
                    Some(Err(_)) | None => {
                        tracing::error!(%tenant, version, "the model {version} does not read: the shared prior is used");
                        Arc::clone(&self.prior)
                    }
                },
                None => {
                    tracing::error!(%tenant, version, "the model {version} is not in the registry: the shared prior is used");
                    Arc::clone(&self.prior)
                }
            },
            None => Arc::clone(&self.prior),
        };
        let scoring = Arc::new(Scoring { asked, artifact, bands });
        self.scoring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant, Arc::clone(&scoring));
        Ok(scoring)
    }

    fn remembered(&self, tenant: TenantId) -> Option<Arc<Scoring>> {
        self.scoring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&tenant)
            .cloned()
    }
}

/// Some of a tenant's people, in order of id.
pub struct People {
    /// Those whose memory opens.
    pub people: Vec<(Uuid, FeatureState)>,
    /// The last one that was looked at; nothing after the last page.
    pub last: Option<Uuid>,
}

impl Scorer {
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The model that a tenant's people are scored with.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifact(&self, tenant: TenantId) -> Result<Arc<Artifact>, DatabaseError> {
        let scorer = self.clone();
        self.database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { Ok(Arc::clone(&scorer.scoring(connection, tenant).await?.artifact)) })
            })
            .await
    }

    /// What is remembered of a tenant's people after `after`.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn people(&self, tenant: TenantId, after: Option<Uuid>, limit: i64) -> Result<People, DatabaseError> {
        let scorer = self.clone();
        self.database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    let rows = risk_table::page_states(connection, tenant, after, limit).await?;
                    let ids: Vec<(TenantId, Uuid)> = rows.iter().map(|row| (tenant, row.employee)).collect();
                    let keys = scorer.keyring.subjects(&ids).await.map_err(unavailable)?;
                    Ok(People {
                        last: rows.last().map(|row| row.employee),
                        people: rows
                            .into_iter()
                            .filter_map(|row| Some((row.employee, recall(&keys, &row)?.features)))
                            .collect(),
                    })
                })
            })
            .await
    }
}

impl Projection for Scorer {
    const NAME: &'static str = "scorer";

    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            let mut people: BTreeMap<(TenantId, Uuid), Vec<(&Opened, &employee::Event)>> = BTreeMap::new();
            for opened in events {
                if let AnyEvent::Employee(event) = &opened.event {
                    people
                        .entry((opened.stored.stream.tenant, opened.stored.stream.id))
                        .or_default()
                        .push((opened, event));
                }
            }
            if people.is_empty() {
                return Ok(());
            }
            let ids: Vec<(TenantId, Uuid)> = people.keys().copied().collect();
            let keys = self.keyring.subjects(&ids).await.map_err(unavailable)?;
            let mut memories = self.memories(connection, &ids, &keys).await?;
            let mut round = Round::default();
            for ((tenant, employee), events) in people {
                let (mut memory, seen) = memories.remove(&(tenant, employee)).unwrap_or_default();
                // A score belongs to the last event that moved an input, however events were batched.
                let mut scored = None;
                for (opened, event) in events {
                    if opened.stored.position <= seen {
                        continue; // applied already, when a batch was taken one by one
                    }
                    if memory.features.apply(event) {
                        scored = Some(opened);
                    }
                }
                // What moved no input is not worth a write: taking it again would move none either.
                let Some(scored) = scored else { continue };
                if memory.features.is_erased() {
                    round.forget.push((tenant, employee));
                    continue;
                }
                let who = Who {
                    tenant,
                    employee,
                    position: scored.stored.position,
                    key: keys.get(&(tenant, employee)),
                };
                let scoring = self.scoring(connection, tenant).await?;
                round.score(
                    &scoring,
                    &who,
                    &mut memory,
                    scored.stored.recorded_at,
                    scored.stored.provenance.correlation,
                );
                round.remember(&who, &memory)?;
            }
            round.store(connection, &self.keyring).await
        })
    }

    /// Scores a tenant's people anew when its model or bands are others than those that they were scored with, and once a
    /// day those whose last score is of an earlier day: tenure, waits and seasons go on without events.
    fn tick<'c>(
        &'c self,
        owns: &'c (dyn Fn(&StreamId) -> bool + Send + Sync),
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            let tenants = self
                .database
                .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
                .await?;
            for tenant in tenants {
                let settings = self
                    .database
                    .transact(Access::Read, &[tenant], move |connection| {
                        Box::pin(settings::load(connection, tenant))
                    })
                    .await?;
                let Some(settings) = settings else { continue };
                let today = clock::today();
                let used = self.remembered(tenant);
                let is_new = used
                    .as_ref()
                    .is_none_or(|used| (&used.asked, used.bands) != (&settings.model, settings.bands.0));
                if is_new {
                    self.scoring
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&tenant);
                }
                // At first sight of a tenant in this process, only people with another model's or day's score are scored anew.
                let whom = if used.is_some_and(|used| used.bands != settings.bands.0) {
                    Whom::Everybody
                } else {
                    Whom::Outdated { today }
                };
                let swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant) == Some(&today);
                if is_new || !swept {
                    self.rescore(tenant, whom, owns).await?;
                    self.swept
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(tenant, today);
                }
            }
            Ok(())
        })
    }

    fn committed(&self) {
        self.outgoing.notify_one();
    }
}

impl Scorer {
    async fn rescore(
        &self,
        tenant: TenantId,
        whom: Whom,
        owns: &(dyn Fn(&StreamId) -> bool + Send + Sync),
    ) -> Result<(), DatabaseError> {
        let started = Instant::now();
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(risk_table::page_states(connection, tenant, after, RESCORE_CHUNK))
                })
                .await?;
            let Some(last) = page.last() else { break };
            after = Some(last.employee);
            let mine: Vec<(TenantId, Uuid)> = page
                .iter()
                .map(|row| row.employee)
                .filter(|employee| owns(&StreamId::new(tenant, Kind::Employee, *employee)))
                .map(|employee| (tenant, employee))
                .collect();
            let scorer = self.clone();
            count += self
                .database
                .transact(Access::Write, &[tenant], move |connection| {
                    Box::pin(async move { scorer.rescore_chunk(connection, tenant, mine, whom).await })
                })
                .await?;
        }
        if count > 0 {
            self.outgoing.notify_one();
            tracing::info!(%tenant, people = count, seconds = started.elapsed().as_secs_f64(), "{count} people were scored anew");
        }
        Ok(())
    }

    async fn rescore_chunk(
        &self,
        connection: &mut Connection,
        tenant: TenantId,
        mut people: Vec<(TenantId, Uuid)>,
        whom: Whom,
    ) -> Result<usize, DatabaseError> {
        let scoring = self.scoring(connection, tenant).await?;
        let current: HashMap<Uuid, RiskRow> = risk_table::load(connection, &people)
            .await?
            .into_iter()
            .map(|row| (row.employee, row))
            .collect();
        people.retain(|(_, employee)| whom.holds(current.get(employee), &scoring.artifact.version));
        let keys = self.keyring.subjects(&people).await.map_err(unavailable)?;
        let memories = self.memories(connection, &people, &keys).await?;
        let mut round = Round::default();
        let now = clock::now();
        for ((_, employee), (mut memory, position)) in memories {
            if !current.contains_key(&employee) && !memory.features.is_at_risk(now.date_naive()) {
                continue; // nobody to score, now as before
            }
            let who = Who {
                tenant,
                employee,
                position,
                key: keys.get(&(tenant, employee)),
            };
            round.score(&scoring, &who, &mut memory, now, clock::new_id());
            round.remember(&who, &memory)?;
        }
        let count = round.memories.len();
        round.store(connection, &self.keyring).await?;
        Ok(count)
    }

    /// What is remembered of people, with the position up to which it was told. What cannot be opened is forgotten.
    async fn memories(
        &self,
        connection: &mut Connection,
        people: &[(TenantId, Uuid)],
        keys: &HashMap<(TenantId, Uuid), SubjectKey>,
    ) -> Result<HashMap<(TenantId, Uuid), (Memory, i64)>, DatabaseError> {
        let rows = risk_table::load_states(connection, people).await?;
        let mut memories = HashMap::with_capacity(rows.len());
        for row in rows {
            let who = (TenantId::from_uuid(row.tenant), row.employee);
            if let Some(memory) = recall(keys, &row) {
                memories.insert(who, (memory, row.position));
            }
        }
        Ok(memories)
    }
}

/// A sealed memory, opened; nothing if its key is gone.
fn recall(keys: &HashMap<(TenantId, Uuid), SubjectKey>, row: &FeatureStateRow) -> Option<Memory> {
    let who = (TenantId::from_uuid(row.tenant), row.employee);
    let plain = keys.get(&who)?.open_bytes(&place(who), &row.state).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn place((tenant, employee): (TenantId, Uuid)) -> String {
    format!("{tenant}|feature state|{employee}")
}

/// Keys that cannot be fetched are the database's fault; a key that does not fit is nobody's and shows up as such.
pub(crate) fn unavailable(error: SealingError) -> DatabaseError {
    match error {
        SealingError::Database(error) => error,
        SealingError::MasterKeyFile { .. }
        | SealingError::BadMasterKey
        | SealingError::NoTenantKey(_)
        | SealingError::DoesNotOpen
        | SealingError::Seal => DatabaseError::Corrupt("key"),
    }
}

/// Whom a score is about, and up to where the log was read for it.
#[derive(Clone, Copy)]
struct Who<'k> {
    tenant: TenantId,
    employee: Uuid,
    position: i64,
    key: Option<&'k SubjectKey>,
}

/// What has to be remembered of a score to tell whether the next is news.
fn without_factors(assessment: &Assessment) -> Assessment {
    let probability = assessment.score.open().map(|score| score.probability);
    Assessment {
        model: assessment.model.clone(),
        score: probability.map_or(Personal::Unreadable, |probability| {
            Personal::Open(Score {
                probability,
                factors: Vec::new(),
                vector: None,
            })
        }),
        ..*assessment
    }
}

/// Everything that one transaction writes.
#[derive(Default)]
struct Round {
    memories: Vec<FeatureStateRow>,
    risks: Vec<RiskRow>,
    /// No longer scored: gone, on notice, objecting.
    unscored: Vec<(TenantId, Uuid)>,
    forget: Vec<(TenantId, Uuid)>,
    /// News for history: the command's id, its stream, the command, what it is part of.
    news: Vec<(CommandId, StreamId, AnyCommand, Uuid)>,
}

impl Round {
    fn score(&mut self, scoring: &Scoring, who: &Who<'_>, memory: &mut Memory, at: Timestamp, correlation: Uuid) {
        let started = Instant::now();
        let on: Date = at.date_naive();
        if !memory.features.is_at_risk(on) || who.key.is_none() {
            self.unscored.push((who.tenant, who.employee));
            return;
        }
        let vector = memory.features.vector(on);
        let digest = vector.digest();
        let prediction = scoring.artifact.score(&vector.values, on);
        let factors: Vec<Factor> = explain::factors(&scoring.artifact.hazard, &prediction, &vector, FACTORS_MAX);
        let band = scoring.bands.band(prediction.probability);
        let horizon_days = scoring.artifact.card.horizon_days;
        let version = &scoring.artifact.version;
        self.risks.push(RiskRow {
            tenant: who.tenant.into(),
            employee: who.employee,
            probability: prediction.probability,
            horizon_days: i16::try_from(horizon_days).unwrap_or(i16::MAX),
            band: band.name().to_owned(),
            factors: risk_table::json(factors.clone()),
            model: version.clone(),
            scored_at: at,
            position: who.position,
            vector: Some(digest.clone()),
        });
        let assessment = Assessment {
            model: version.clone(),
            position: who.position,
            scored_at: at,
            horizon_days,
            band,
            score: Personal::Open(Score {
                probability: prediction.probability,
                factors,
                vector: Some(digest),
            }),
        };
        if memory.told.as_ref().is_none_or(|last| risk::is_news(last, &assessment)) {
            memory.told = Some(without_factors(&assessment));
            let id = CommandId::derive(
                who.tenant,
                ACTOR,
                &format!("{}|{version}|{}|{}", who.employee, who.position, band.name()),
            );
            let stream = StreamId::new(who.tenant, Kind::Risk, who.employee);
            self.news.push((
                id,
                stream,
                AnyCommand::Risk(risk::Command::Assess(assessment)),
                correlation,
            ));
        }
        metrics::histogram!("tenure_scoring_seconds").record(started.elapsed().as_secs_f64());
    }

    fn remember(&mut self, who: &Who<'_>, memory: &Memory) -> Result<(), DatabaseError> {
        let Some(key) = who.key else { return Ok(()) }; // nothing personal was ever sealed for this person, or it is gone
        let plain = serde_json::to_vec(memory).map_err(|_| DatabaseError::Corrupt("feature state"))?;
        let state = key
            .seal_bytes(&place((who.tenant, who.employee)), &plain)
            .map_err(unavailable)?;
        self.memories.push(FeatureStateRow {
            tenant: who.tenant.into(),
            employee: who.employee,
            state,
            position: who.position,
        });
        Ok(())
    }

    async fn store(self, connection: &mut Connection, keyring: &Keyring) -> Result<(), DatabaseError> {
        risk_table::upsert_states(connection, &self.memories).await?;
        risk_table::upsert(connection, &self.risks).await?;
        let gone: Vec<(TenantId, Uuid)> = self.unscored.iter().chain(&self.forget).copied().collect();
        if !gone.is_empty() {
            risk_table::remove(connection, &gone).await?;
        }
        if !self.forget.is_empty() {
            risk_table::remove_states(connection, &self.forget).await?;
        }
        let mut outgoing = Vec::with_capacity(self.news.len());
        for (id, stream, command, correlation) in self.news {
            let plain = serde_json::to_vec(&command).map_err(|_| DatabaseError::Corrupt("command"))?;
            let keys = keyring.tenant(stream.tenant).await.map_err(unavailable)?;
            let command = keys.seal(&outbox::place(id), &plain).map_err(unavailable)?;
            outgoing.push(Outgoing {
                id,
                stream,
                command,
                actor: ACTOR.to_owned(),
                correlation,
                backfill: false,
            });
        }
        outbox::add(connection, &outgoing).await?;
        let mut changed: BTreeMap<TenantId, Vec<Uuid>> = BTreeMap::new();
        for row in &self.risks {
            changed
                .entry(TenantId::from_uuid(row.tenant))
                .or_default()
                .push(row.employee);
        }
        for (tenant, employees) in changed {
            risk_table::announce(connection, tenant, &employees).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outdated_are_scores_of_another_model_or_day_and_missing_ones() {
        let today = Date::from_ymd_opt(2026, 11, 21).expect("a day");
        let row = |model: &str, days_ago: u64| RiskRow {
            tenant: Uuid::nil(),
            employee: Uuid::nil(),
            probability: 0.1,
            horizon_days: 180,
            band: "LOW".to_owned(),
            factors: risk_table::json(vec![]),
            model: model.to_owned(),
            scored_at: (today - chrono::Days::new(days_ago))
                .and_time(chrono::NaiveTime::MIN)
                .and_utc(),
            position: 1,
            vector: None,
        };
        let outdated = Whom::Outdated { today };
        assert!(!outdated.holds(Some(&row("m1", 0)), "m1"));
        assert!(outdated.holds(Some(&row("m1", 1)), "m1"), "time alone has moved it");
        assert!(outdated.holds(Some(&row("m0", 0)), "m1"));
        assert!(outdated.holds(None, "m1"));
        assert!(Whom::Everybody.holds(Some(&row("m1", 0)), "m1"));
    }
}
