//! Live scores: fold the event into the person's features, predict, show, and tell history what is news.
//!
//! The fold and the features are `ml-pipeline`'s, the same that training uses. A score is a function of the events up to a
//! position, the model and the day on which the last of them was recorded: the same again gives the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use domain::{
    Date, Kind, Personal, StreamId, Timestamp, employee,
    id::{CommandId, ProgramId, TenantId},
    program::Path,
    risk::{self, Assessment, Factor, Level, Readiness, Score},
    tenant::Bands,
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    event_log, model_registry,
    outbox::{self, Outgoing},
    read_model::{
        readiness::{self, ProgramRow, ReadinessRow},
        risk::{self as risk_table, FeatureStateRow, RiskRow, ShadowRow},
        settings,
    },
    route,
    sealing::{Keyring, SealingError, SubjectKey},
};
use ml_pipeline::{
    artifact::Artifact,
    dataset::Target,
    explain,
    features::{FEATURE_SET, FeatureState},
    prior,
};
use schemas::codec::{AnyCommand, AnyEvent, DEMOGRAPHICS_CHANGED};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::runner::{self, Opened, Owned, Projection};

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
    /// The day for which each tenant's people were last looked through, and the partitions of whose people that was.
    swept: Arc<Mutex<HashMap<TenantId, (Date, Owned)>>>,
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

/// Whether people of these partitions were looked through today.
fn is_swept(last: Option<&(Date, Owned)>, today: Date, owned: &Owned) -> bool {
    last.is_some_and(|(day, of)| *day == today && of.covers(owned))
}

/// A model and the bands to sort its probabilities into, and the models of the career programs.
pub(crate) struct Scoring {
    /// The version that the settings name; the artifact is another one where that does not read.
    asked: Option<String>,
    artifact: Arc<Artifact>,
    /// The version that the settings name to run beside it, and its artifact if it reads.
    challenger_asked: Option<String>,
    challenger: Option<Arc<Artifact>>,
    bands: Bands,
    /// Whether there are, or were, any career programs.
    has_programs: bool,
    /// Those that people are scored for, and with what, as the settings name them; `ready` are those whose model reads.
    wanted: Vec<Wanted>,
    ready: Vec<Ready>,
}

impl Scoring {
    /// What somebody would have been scored with: nothing runs beside it.
    pub(crate) const fn of(artifact: Arc<Artifact>, bands: Bands, ready: Vec<Ready>) -> Self {
        Self {
            asked: None,
            artifact,
            challenger_asked: None,
            challenger: None,
            bands,
            has_programs: false,
            wanted: Vec::new(),
            ready,
        }
    }
}

/// A career program that has a model, and what it is scored with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    program: Uuid,
    path: Path,
    model: String,
    challenger: Option<String>,
}

/// A career program that has a model.
#[derive(Clone)]
pub struct Ready {
    pub program: ProgramId,
    pub artifact: Arc<Artifact>,
    /// The model that runs beside it, if there is one that reads.
    pub challenger: Option<Arc<Artifact>>,
}

/// What the scorer remembers of a person, sealed with the person's key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The set of feature definitions that `features` was folded by.
    #[serde(default)]
    set: u32,
    pub features: FeatureState,
    /// The last score that was sent to history.
    pub told: Option<Assessment>,
    /// The same, by program.
    #[serde(default)]
    pub told_readiness: BTreeMap<ProgramId, Readiness>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            set: FEATURE_SET,
            features: FeatureState::default(),
            told: None,
            told_readiness: BTreeMap::new(),
        }
    }
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
        let (asked, challenger_asked) = settings.map_or((None, None), |settings| (settings.model, settings.challenger));
        let artifact = match &asked {
            Some(version) => stored(connection, tenant, version, |target| *target == Target::Notice).await?,
            None => None,
        };
        let artifact = artifact.unwrap_or_else(|| Arc::clone(&self.prior));
        let challenger = match &challenger_asked {
            Some(version) => stored(connection, tenant, version, |target| *target == Target::Notice).await?,
            None => None,
        };
        let programs = readiness::programs(connection, tenant).await?;
        let mut ready = Vec::new();
        let wanted = wanted(&programs);
        for wanted in &wanted {
            let answers = |target: &Target| target.is_for(&wanted.path);
            // Of a model that does not read there are no scores: there is no shared one to fall back on.
            if let Some(artifact) = stored(connection, tenant, &wanted.model, answers).await? {
                ready.push(Ready {
                    program: ProgramId::from_uuid(wanted.program),
                    artifact,
                    challenger: match &wanted.challenger {
                        Some(version) => stored(connection, tenant, version, answers).await?,
                        None => None,
                    },
                });
            }
        }
        let scoring = Arc::new(Scoring {
            asked,
            artifact,
            challenger_asked,
            challenger,
            bands,
            has_programs: !programs.is_empty(),
            wanted,
            ready,
        });
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

/// A model of the registry; nothing (and an error in the log) if it is not there, does not read, or does not answer what it is
/// asked: a program may have become another one while its model was trained.
pub(crate) async fn stored(
    connection: &mut Connection,
    tenant: TenantId,
    version: &str,
    answers: impl Fn(&Target) -> bool + Send,
) -> Result<Option<Arc<Artifact>>, DatabaseError> {
    let why = match model_registry::load(connection, tenant, version).await? {
        None => "is not in the registry",
        Some(bytes) => match std::str::from_utf8(&bytes).ok().map(Artifact::from_json) {
            Some(Ok(artifact)) if answers(&artifact.card.target) => return Ok(Some(Arc::new(artifact))),
            Some(Ok(_)) => "was trained for something else",
            Some(Err(_)) | None => "does not read",
        },
    };
    tracing::error!(%tenant, version, "the model {version} {why}: it is not used");
    Ok(None)
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

    /// The model that runs beside it, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn challenger(&self, tenant: TenantId) -> Result<Option<Arc<Artifact>>, DatabaseError> {
        let scorer = self.clone();
        self.database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { Ok(scorer.scoring(connection, tenant).await?.challenger.clone()) })
            })
            .await
    }

    /// The career programs that a tenant's people are scored for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn programs(&self, tenant: TenantId) -> Result<Vec<Ready>, DatabaseError> {
        let scorer = self.clone();
        self.database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { Ok(scorer.scoring(connection, tenant).await?.ready.clone()) })
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
                    let mut people = Vec::with_capacity(rows.len());
                    for row in &rows {
                        if let Some(memory) = recall(connection, &keys, row).await? {
                            people.push((row.employee, memory.features));
                        }
                    }
                    Ok(People {
                        last: rows.last().map(|row| row.employee),
                        people,
                    })
                })
            })
            .await
    }
}

impl Projection for Scorer {
    const NAME: &'static str = "scorer";

    /// Protected attributes are not even opened for models.
    fn wants(event_type: &str) -> bool {
        event_type != DEMOGRAPHICS_CHANGED
    }

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
    fn tick<'c>(&'c self, owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            if owned.is_empty() {
                return Ok(());
            }
            let tenants = self
                .database
                .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
                .await?;
            for tenant in tenants {
                let used = self.remembered(tenant);
                let first_sight = used.is_none();
                let (settings, programs, scored_for) = self
                    .database
                    .transact(Access::Read, &[tenant], move |connection| {
                        Box::pin(async move {
                            let settings = settings::load(connection, tenant).await?;
                            let programs = readiness::programs(connection, tenant).await?;
                            let scored_for = if first_sight {
                                readiness::scored_for(connection, tenant).await?
                            } else {
                                BTreeSet::new()
                            };
                            Ok((settings, programs, scored_for))
                        })
                    })
                    .await?;
                let Some(settings) = settings else { continue };
                let wanted = wanted(&programs);
                let today = clock::today();
                let is_new = used.as_ref().is_none_or(|used| {
                    (&used.asked, &used.challenger_asked, used.bands, &used.wanted)
                        != (&settings.model, &settings.challenger, settings.bands.0, &wanted)
                });
                if is_new {
                    self.scoring
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&tenant);
                }
                // At first sight of a tenant in this process, only people with another model's or day's score are scored anew.
                let all = match used {
                    Some(used) => {
                        used.bands != settings.bands.0
                            || used.wanted != wanted
                            || used.challenger_asked != settings.challenger
                    }
                    None => scored_for != wanted.into_iter().map(|one| (one.program, one.model)).collect(),
                };
                let whom = if all { Whom::Everybody } else { Whom::Outdated { today } };
                // People of partitions that came since then were another process's, which may not have got to them.
                let swept = is_swept(
                    self.swept.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant),
                    today,
                    owned,
                );
                if is_new || !swept {
                    self.rescore(tenant, whom, owned).await?;
                    self.swept
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(tenant, (today, owned.clone()));
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
    async fn rescore(&self, tenant: TenantId, whom: Whom, owned: &Owned) -> Result<(), DatabaseError> {
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
                .filter(|employee| owned.holds(&StreamId::new(tenant, Kind::Employee, *employee)))
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
            if let Some(memory) = recall(connection, keys, &row).await? {
                memories.insert(who, (memory, row.position));
            }
        }
        Ok(memories)
    }
}

/// The programs that people are to be scored for.
fn wanted(programs: &[ProgramRow]) -> Vec<Wanted> {
    let open = programs.iter().filter(|program| program.is_open());
    open.filter_map(|program| {
        Some(Wanted {
            program: program.id,
            path: program.path(),
            model: program.model.clone()?,
            challenger: program.challenger.clone(),
        })
    })
    .collect()
}

/// A sealed memory, opened; nothing if its key is gone. One that was folded by other definitions is folded again from the log,
/// as far as it had come.
pub(crate) async fn recall(
    connection: &mut Connection,
    keys: &HashMap<(TenantId, Uuid), SubjectKey>,
    row: &FeatureStateRow,
) -> Result<Option<Memory>, DatabaseError> {
    let who = (TenantId::from_uuid(row.tenant), row.employee);
    let Some(key) = keys.get(&who) else { return Ok(None) };
    let Ok(plain) = key.open_bytes(&place(who), &row.state) else {
        return Ok(None);
    };
    if let Ok(memory) = serde_json::from_slice::<Memory>(&plain)
        && memory.set == FEATURE_SET
    {
        return Ok(Some(memory));
    }
    let mut memory = Memory::default();
    let stream = StreamId::new(who.0, Kind::Employee, who.1);
    let events = event_log::read_streams(connection, &[stream]).await?;
    for event in events.iter().filter(|event| event.position <= row.position) {
        // What does not read was parked when it was first met; the fold goes on without it, as it did then.
        if let Ok(AnyEvent::Employee(event)) = runner::open(event, Some(key)) {
            memory.features.apply(&event);
        }
    }
    Ok(Some(memory))
}

/// A memory as it is stored, of events up to a position.
pub(crate) fn remembered(
    who: (TenantId, Uuid),
    memory: &Memory,
    (key, position): (&SubjectKey, i64),
) -> Result<FeatureStateRow, DatabaseError> {
    let plain = serde_json::to_vec(memory).map_err(|_| DatabaseError::Corrupt("feature state"))?;
    Ok(FeatureStateRow {
        tenant: who.0.into(),
        employee: who.1,
        state: key.seal_bytes(&place(who), &plain).map_err(unavailable)?,
        position,
    })
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
pub(crate) struct Who<'k> {
    pub tenant: TenantId,
    pub employee: Uuid,
    pub position: i64,
    pub key: Option<&'k SubjectKey>,
}

/// What has to be remembered of a score to tell whether the next is news.
pub(crate) fn without_factors(score: &Personal<Score>) -> Personal<Score> {
    let probability = score.open().map(|score| score.probability);
    probability.map_or(Personal::Unreadable, |probability| {
        Personal::Open(Score {
            probability,
            factors: Vec::new(),
            vector: None,
        })
    })
}

fn readiness_row(who: &Who<'_>, assessed: &Readiness) -> Option<ReadinessRow> {
    let score = assessed.score.open()?;
    Some(ReadinessRow {
        tenant: who.tenant.into(),
        employee: who.employee,
        program: assessed.program.into(),
        probability: score.probability,
        horizon_days: i16::try_from(assessed.horizon_days).unwrap_or(i16::MAX),
        level: assessed.level.name().to_owned(),
        factors: risk_table::json(score.factors.clone()),
        model: assessed.model.clone(),
        scored_at: assessed.scored_at,
        position: assessed.position,
        vector: score.vector.clone()?,
    })
}

/// What a challenger says of a person, beside what the model in use says.
fn shadow_row(
    who: &Who<'_>,
    (champion, challenger): (&Artifact, &Artifact),
    features: &FeatureState,
    champion_probability: f64,
    at: Timestamp,
) -> ShadowRow {
    let (on, horizon_days) = (at.date_naive(), champion.card.horizon_days);
    let seen = challenger.vector(features, on);
    ShadowRow {
        tenant: who.tenant.into(),
        employee: who.employee,
        challenger: challenger.version.clone(),
        program: None,
        probability: challenger.hazard.probability(&seen.values, on, horizon_days),
        champion: champion.version.clone(),
        champion_probability,
        horizon_days: i16::try_from(horizon_days).unwrap_or(i16::MAX),
        scored_at: at,
    }
}

/// Everything that one transaction writes.
#[derive(Default)]
pub(crate) struct Round {
    memories: Vec<FeatureStateRow>,
    pub risks: Vec<RiskRow>,
    /// Whose readiness is what `readiness` says, and nothing else.
    candidates: Vec<(TenantId, Uuid)>,
    pub readiness: Vec<ReadinessRow>,
    shadows: Vec<ShadowRow>,
    /// No longer scored: gone, on notice, objecting.
    unscored: Vec<(TenantId, Uuid)>,
    forget: Vec<(TenantId, Uuid)>,
    /// News for history: the command's id, its stream, the command, what it is part of.
    pub news: Vec<(CommandId, StreamId, AnyCommand, Uuid)>,
}

impl Round {
    pub(crate) fn score(
        &mut self,
        scoring: &Scoring,
        who: &Who<'_>,
        memory: &mut Memory,
        at: Timestamp,
        correlation: Uuid,
    ) {
        let started = Instant::now();
        let on: Date = at.date_naive();
        if scoring.has_programs {
            self.candidates.push((who.tenant, who.employee));
        }
        if !memory.features.is_at_risk(on) || who.key.is_none() {
            self.unscored.push((who.tenant, who.employee));
            return;
        }
        let vector = scoring.artifact.vector(&memory.features, on);
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
        if let Some(challenger) = &scoring.challenger {
            let shadow = shadow_row(
                who,
                (&scoring.artifact, challenger),
                &memory.features,
                prediction.probability,
                at,
            );
            self.shadows.push(shadow);
        }
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
            memory.told = Some(Assessment {
                model: assessment.model.clone(),
                score: without_factors(&assessment.score),
                ..assessment
            });
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
        for ready in &scoring.ready {
            if ready.artifact.card.target.is_about(&memory.features, on) {
                self.score_readiness(ready, who, memory, (at, correlation));
            }
        }
        metrics::histogram!("tenure_scoring_seconds").record(started.elapsed().as_secs_f64());
    }

    fn score_readiness(
        &mut self,
        ready: &Ready,
        who: &Who<'_>,
        memory: &mut Memory,
        (at, correlation): (Timestamp, Uuid),
    ) {
        let artifact = &ready.artifact;
        let vector = artifact.vector(&memory.features, at.date_naive());
        let prediction = artifact.score(&vector.values, at.date_naive());
        if let Some(challenger) = &ready.challenger {
            let shadow = shadow_row(
                who,
                (artifact, challenger),
                &memory.features,
                prediction.probability,
                at,
            );
            self.shadows.push(ShadowRow {
                program: Some(ready.program.into()),
                ..shadow
            });
        }
        let assessed = Readiness {
            program: ready.program,
            model: artifact.version.clone(),
            position: who.position,
            scored_at: at,
            horizon_days: artifact.card.horizon_days,
            level: Level::of(prediction.probability, artifact.card.usual),
            score: Personal::Open(Score {
                probability: prediction.probability,
                factors: explain::factors(&artifact.hazard, &prediction, &vector, FACTORS_MAX),
                vector: Some(vector.digest()),
            }),
        };
        self.readiness.extend(readiness_row(who, &assessed));
        let last = memory.told_readiness.get(&ready.program);
        if last.is_none_or(|last| risk::is_readiness_news(last, &assessed)) {
            let told = Readiness {
                model: assessed.model.clone(),
                score: without_factors(&assessed.score),
                ..assessed
            };
            memory.told_readiness.insert(ready.program, told);
            let key = format!(
                "{}|{}|{}|{}|{}",
                who.employee,
                ready.program,
                assessed.model,
                who.position,
                assessed.level.name()
            );
            self.news.push((
                CommandId::derive(who.tenant, ACTOR, &key),
                StreamId::new(who.tenant, Kind::Risk, who.employee),
                AnyCommand::Risk(risk::Command::AssessReadiness(assessed)),
                correlation,
            ));
        }
    }

    fn remember(&mut self, who: &Who<'_>, memory: &Memory) -> Result<(), DatabaseError> {
        let Some(key) = who.key else { return Ok(()) }; // nothing personal was ever sealed for this person, or it is gone
        self.memories
            .push(remembered((who.tenant, who.employee), memory, (key, who.position))?);
        Ok(())
    }

    async fn store(self, connection: &mut Connection, keyring: &Keyring) -> Result<(), DatabaseError> {
        risk_table::upsert_states(connection, &self.memories).await?;
        risk_table::upsert(connection, &self.risks).await?;
        risk_table::add_shadows(connection, &self.shadows).await?;
        let touched: Vec<(TenantId, Uuid)> = self.candidates.iter().chain(&self.forget).copied().collect();
        if !touched.is_empty() {
            readiness::replace(connection, &touched, &self.readiness).await?;
        }
        let gone: Vec<(TenantId, Uuid)> = self.unscored.iter().chain(&self.forget).copied().collect();
        if !gone.is_empty() {
            risk_table::remove(connection, &gone).await?;
        }
        if !self.forget.is_empty() {
            risk_table::remove_states(connection, &self.forget).await?;
            risk_table::remove_shadows(connection, &self.forget).await?;
        }
        let mut outgoing = Vec::with_capacity(self.news.len());
        for (id, stream, command, correlation) in self.news {
            let keys = keyring.tenant(stream.tenant).await.map_err(unavailable)?;
            let sealed = Outgoing::seal(&keys, (id, stream), ACTOR, &command).map_err(unavailable)?;
            outgoing.push(Outgoing { correlation, ..sealed });
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
    fn people_of_partitions_that_came_since_are_looked_through_the_same_day() {
        let day = |day: u32| Date::from_ymd_opt(2026, 11, day).expect("a day");
        let last = (day(21), Owned::new([0, 1], 4));
        assert!(is_swept(Some(&last), day(21), &Owned::new([1], 4)));
        assert!(!is_swept(Some(&last), day(21), &Owned::new([1, 2], 4)), "2 came since");
        assert!(!is_swept(Some(&last), day(22), &Owned::new([1], 4)), "another day");
        assert!(!is_swept(None, day(21), &Owned::new([1], 4)));
    }

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
