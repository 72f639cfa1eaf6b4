//! Scores of a changed history.
//!
//! Whose history is changed, or what they are scored with, is scored again: when they really were (the same events, day and model, so
//! that what did not change comes out the same to the byte), when what is changed was recorded, and when other events of theirs were
//! recorded at which the live scorer had nothing to tell. A moment at which it really scored nobody (an import is scored once, at its
//! end) is left out: else more scores would look like an effect of the script. What is news enters history, as in reality.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use domain::{
    Personal, Timestamp,
    id::{ProgramId, TenantId},
    risk::{self, Assessment, Command, Event, Readiness},
    tenant,
};
use infra::{
    database::{Connection, DatabaseError},
    model_registry,
    read_model::{
        readiness::{self, ReadinessRow},
        risk::{self as risk_table, RiskRow},
        settings,
    },
    sealing::{Keyring, SubjectKey},
};
use ml_pipeline::{artifact::Artifact, dataset::Target, features::FeatureState};
use schemas::codec::{AnyCommand, AnyEvent};
use uuid::Uuid;

use super::{
    END, Inserted, ScriptError, Spot, WhatIfError,
    changes::Plan,
    history::{Origin, Person},
    script::{Change, Spanned},
};
use crate::scorer::{self, Memory, Ready, Round, Scoring, Who, unavailable};

/// People whose histories are open at once.
pub const CHUNK: usize = 200;

/// Current scores of those who were scored again.
#[derive(Default)]
pub struct Scored {
    pub touched: Vec<Uuid>,
    pub risks: Vec<RiskRow>,
    pub readiness: Vec<ReadinessRow>,
    /// Scores that stay as they were, because their model is not there any more.
    pub unknown_models: usize,
}

/// What people are scored with.
struct Models {
    prior: Arc<Artifact>,
    known: HashMap<String, Option<Arc<Artifact>>>,
    /// In use at the end.
    current: Arc<Artifact>,
    programs: Vec<Ready>,
    /// When somebody was last scored.
    last_scored: Option<Timestamp>,
}

impl Models {
    async fn load(connection: &mut Connection, tenant: TenantId, prior: &Arc<Artifact>) -> Result<Self, DatabaseError> {
        let mut models = Self {
            prior: Arc::clone(prior),
            known: HashMap::new(),
            current: Arc::clone(prior),
            programs: Vec::new(),
            last_scored: risk_table::last_scored(connection, tenant).await?,
        };
        let settings = settings::load(connection, tenant).await?;
        if let Some(version) = settings.and_then(|settings| settings.model)
            && let Some(artifact) = models.get(connection, tenant, &version).await?
            && artifact.card.target == Target::Notice
        {
            models.current = artifact;
        }
        for program in readiness::programs(connection, tenant).await? {
            let Some(version) = program.model.as_deref().filter(|_| program.is_open()) else {
                continue;
            };
            if let Some(artifact) = models.get(connection, tenant, version).await?
                && artifact.card.target.is_for(&program.path())
            {
                models.programs.push(Ready {
                    program: ProgramId::from_uuid(program.id),
                    artifact,
                    challenger: None,
                });
            }
        }
        Ok(models)
    }

    /// A model by its version, if it is there.
    async fn get(
        &mut self,
        connection: &mut Connection,
        tenant: TenantId,
        version: &str,
    ) -> Result<Option<Arc<Artifact>>, DatabaseError> {
        if version == self.prior.version {
            return Ok(Some(Arc::clone(&self.prior)));
        }
        if let Some(known) = self.known.get(version) {
            return Ok(known.clone());
        }
        let bytes = model_registry::load(connection, tenant, version).await?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let artifact = text.and_then(|text| Artifact::from_json(&text).ok()).map(Arc::new);
        self.known.insert(version.to_owned(), artifact.clone());
        Ok(artifact)
    }

    fn loaded(&self, version: &str) -> Option<Arc<Artifact>> {
        if version == self.prior.version {
            return Some(Arc::clone(&self.prior));
        }
        self.known.get(version).cloned().flatten()
    }
}

/// Scores whoever is touched again, and puts what comes of it into the plan.
///
/// # Errors
/// When the script names a model that is not there, or the database fails.
pub async fn again(
    plan: &mut Plan<'_>,
    connection: &mut Connection,
    (keyring, prior): (&Keyring, &Arc<Artifact>),
) -> Result<Scored, WhatIfError> {
    let tenant = plan.history.tenant;
    let mut models = Models::load(connection, tenant, prior).await?;
    check_models(plan, connection, &mut models).await?;
    let touched: Vec<Uuid> = if plan.settings.is_empty() {
        let people = plan.people.iter().filter(|(_, person)| person.is_changed());
        people.map(|(id, _)| *id).collect()
    } else {
        plan.history.people.keys().copied().collect()
    };
    let mut scored = Scored::default();
    for chunk in touched.chunks(CHUNK) {
        let missing: Vec<Uuid> = chunk
            .iter()
            .filter(|id| !plan.people.contains_key(id))
            .copied()
            .collect();
        let others = plan.history.load(connection, keyring, &missing).await?;
        let ids: Vec<(TenantId, Uuid)> = chunk.iter().map(|id| (tenant, *id)).collect();
        let keys = keyring.subjects(&ids).await.map_err(unavailable)?;
        let current: HashMap<Uuid, RiskRow> = risk_table::load(connection, &ids)
            .await?
            .into_iter()
            .map(|row| (row.employee, row))
            .collect();
        for employee in chunk {
            let Some(key) = keys.get(&(tenant, *employee)) else {
                continue; // erased: there is nothing to score
            };
            let mine = plan.people.remove(employee);
            let Some(person) = mine.as_ref().or_else(|| others.get(employee)) else {
                continue;
            };
            for (_, said) in &person.said {
                if let Some(version) = model_of(said) {
                    models.get(connection, tenant, version).await?;
                }
            }
            let subject = Subject {
                employee: *employee,
                person,
                key,
                current: current.get(employee),
            };
            match score(plan, &models, &subject) {
                Some(end) => {
                    scored.touched.push(*employee);
                    scored.risks.extend(end.risk);
                    scored.readiness.extend(end.readiness);
                }
                None => scored.unknown_models += 1,
            }
            if let Some(mine) = mine {
                plan.people.insert(*employee, mine);
            }
        }
    }
    Ok(scored)
}

/// Models that a script names have to be there, and to answer what is asked.
async fn check_models(plan: &Plan<'_>, connection: &mut Connection, models: &mut Models) -> Result<(), WhatIfError> {
    let named = plan.script.changes.iter().filter_map(|change| match &change.value {
        Change::Model(model) => Some(&model.version),
        Change::Raise(_)
        | Change::Stay(_)
        | Change::Leave(_)
        | Change::Insert(_)
        | Change::Edit(_)
        | Change::Drop(_)
        | Change::Bands(_) => None,
    });
    for version in named {
        let why = match models.get(connection, plan.history.tenant, &version.value).await? {
            Some(artifact) if artifact.card.target == Target::Notice => continue,
            Some(_) => "was trained for a career program, not for who leaves".to_owned(),
            None => format!(
                "is not in the registry; there are {}",
                versions(connection, plan.history.tenant, &models.prior.version).await?
            ),
        };
        return Err(unknown_model(version, &why).into());
    }
    Ok(())
}

fn unknown_model(version: &Spanned<String>, why: &str) -> ScriptError {
    ScriptError::at(version, format_args!("the model {} {why}", version.value))
}

async fn versions(connection: &mut Connection, tenant: TenantId, prior: &str) -> Result<String, DatabaseError> {
    let listed = model_registry::list(connection, tenant).await?;
    let versions = listed.into_iter().map(|model| model.version).chain([prior.to_owned()]);
    let versions: BTreeSet<String> = versions.collect();
    Ok(versions.into_iter().collect::<Vec<_>>().join(", "))
}

fn model_of(said: &Event) -> Option<&str> {
    match said {
        Event::RiskAssessed(assessment) => Some(&assessment.model),
        Event::ReadinessAssessed(readiness) => Some(&readiness.model),
        Event::HumanReviewRecorded(_) => None,
    }
}

/// Whoever is scored again.
struct Subject<'a> {
    employee: Uuid,
    person: &'a Person,
    key: &'a SubjectKey,
    /// The live score.
    current: Option<&'a RiskRow>,
}

/// The current scores in the end.
struct End {
    risk: Option<RiskRow>,
    readiness: Vec<ReadinessRow>,
}

/// A moment in which somebody is scored.
#[derive(Debug, Clone)]
struct Occasion {
    /// Where its news enters the log.
    spot: Spot,
    /// Up to which position real events are seen.
    until: i64,
    at: Timestamp,
    /// What was really said of it: positions in the log, by what it is about.
    flight: Option<(i64, Assessment)>,
    readiness: BTreeMap<ProgramId, (i64, Readiness)>,
}

/// Scores one person again, and puts what comes of it into the plan. Nothing, and nothing is changed, if a model is missing.
fn score(plan: &mut Plan<'_>, models: &Models, subject: &Subject<'_>) -> Option<End> {
    let person = subject.person;
    if person
        .said
        .iter()
        .filter_map(|(_, said)| model_of(said))
        .any(|version| models.loaded(version).is_none())
    {
        return None;
    }
    let mut memory = Memory::default();
    let mut end = End {
        risk: None,
        readiness: Vec::new(),
    };
    for occasion in occasions(plan, models, subject) {
        let (features, seen) = visible(person, &occasion);
        memory.features = features;
        let scoring = scoring(plan, models, &occasion, memory.told.as_ref());
        let who = Who {
            tenant: plan.history.tenant,
            employee: subject.employee,
            position: occasion
                .flight
                .as_ref()
                .map_or(seen, |(_, actual)| actual.position.max(seen)),
            key: Some(subject.key),
        };
        let mut round = Round::default();
        round.score(&scoring, &who, &mut memory, occasion.at, Uuid::nil());
        tell(plan, subject, &occasion, (&round, &mut memory));
        if occasion.spot == END {
            end.risk = round.risks.pop();
            end.readiness = round.readiness;
        }
    }
    Some(end)
}

/// The events that a score is made from, folded, and the last real position among them.
fn visible(person: &Person, occasion: &Occasion) -> (FeatureState, i64) {
    let mut features = FeatureState::default();
    let mut seen = 0;
    for (spot, step) in &person.steps {
        let is_seen = match step.origin {
            Origin::Inserted => *spot <= occasion.spot && step.recorded_at <= occasion.at,
            Origin::Kept | Origin::Changed => spot.0 <= occasion.until,
        };
        if is_seen {
            features.apply(&step.event);
            seen = spot.0;
        }
    }
    (features, seen)
}

fn scoring(plan: &Plan<'_>, models: &Models, occasion: &Occasion, told: Option<&Assessment>) -> Scoring {
    let promoted = |event: &tenant::Event| match event {
        tenant::Event::ModelPromoted { model, .. } => models.loaded(model),
        tenant::Event::Created { .. }
        | tenant::Event::SettingsChanged { .. }
        | tenant::Event::ChallengerChanged { .. } => None,
    };
    let actual = occasion.flight.as_ref().map(|(_, actual)| actual).or(told);
    let artifact = plan
        .overruling(occasion.spot, promoted)
        .or_else(|| models.loaded(&actual?.model))
        .unwrap_or_else(|| Arc::clone(&models.current));
    let mut ready = models.programs.clone();
    for ready in &mut ready {
        if let Some((_, actual)) = occasion.readiness.get(&ready.program)
            && let Some(artifact) = models.loaded(&actual.model)
        {
            ready.artifact = artifact;
        }
    }
    Scoring::of(artifact, plan.bands_at(occasion.spot), ready)
}

/// Puts the news of an occasion in the place of what was really said.
fn tell(plan: &mut Plan<'_>, subject: &Subject<'_>, occasion: &Occasion, (round, memory): (&Round, &mut Memory)) {
    let mut news = News::default();
    for (_, _, command, _) in &round.news {
        match command {
            AnyCommand::Risk(Command::Assess(assessment)) => news.flight = Some(assessment.clone()),
            AnyCommand::Risk(Command::AssessReadiness(readiness)) => {
                news.readiness.insert(readiness.program, readiness.clone());
            }
            AnyCommand::Risk(Command::ReviewRisk(_))
            | AnyCommand::Employee(_)
            | AnyCommand::Connection(_)
            | AnyCommand::Tenant(_)
            | AnyCommand::Program(_)
            | AnyCommand::Access(_)
            | AnyCommand::PayChange(_) => {}
        }
    }
    let is_overruled = plan
        .overruling(occasion.spot, |event| {
            matches!(event, tenant::Event::SettingsChanged { .. }).then_some(())
        })
        .is_some();
    match &occasion.flight {
        Some((_, actual)) if round.risks.last().is_some_and(|row| is_same(row, actual, is_overruled)) => {
            memory.told = Some(Assessment {
                score: scorer::without_factors(&actual.score),
                ..actual.clone()
            });
        }
        actual => {
            let position = actual.as_ref().map(|(position, _)| *position);
            put(
                plan,
                subject,
                occasion,
                (position, news.flight.map(Event::RiskAssessed)),
            );
        }
    }
    for (program, (position, actual)) in &occasion.readiness {
        let row = round.readiness.iter().find(|row| row.program == program.uuid());
        if row.is_some_and(|row| is_same_readiness(row, actual)) {
            news.readiness.remove(program);
            let told = Readiness {
                score: scorer::without_factors(&actual.score),
                ..actual.clone()
            };
            memory.told_readiness.insert(*program, told);
        } else {
            let event = news.readiness.remove(program).map(Event::ReadinessAssessed);
            put(plan, subject, occasion, (Some(*position), event));
        }
    }
    for (_, readiness) in news.readiness {
        put(
            plan,
            subject,
            occasion,
            (None, Some(Event::ReadinessAssessed(readiness))),
        );
    }
}

#[derive(Default)]
struct News {
    flight: Option<Assessment>,
    readiness: BTreeMap<ProgramId, Readiness>,
}

/// In the place of what was said at a position comes something else, or nothing; without a position, something more.
fn put(plan: &mut Plan<'_>, subject: &Subject<'_>, occasion: &Occasion, news: (Option<i64>, Option<Event>)) {
    match news {
        (Some(position), Some(event)) => _ = plan.edits.changed.insert(position, AnyEvent::Risk(event)),
        (Some(position), None) => _ = plan.edits.dropped.insert(position),
        (None, Some(event)) => {
            let after = occasion.spot.0.min(plan.history.head);
            let spot = plan.spot_after(after);
            let inserted = Inserted {
                stream: plan.history.risk_stream(subject.employee),
                event: AnyEvent::Risk(event),
                recorded_at: occasion.at,
                backfill: false,
            };
            plan.edits.inserted.insert(spot, inserted);
        }
        (None, None) => {}
    }
}

/// Whether a score is the one that was told. Where a setting and a score were under way at once, the band that was told counts.
fn is_same(row: &RiskRow, actual: &Assessment, is_overruled: bool) -> bool {
    let is_score = actual.score.open().is_some_and(|score| {
        score.probability.to_bits() == row.probability.to_bits() && score.factors == row.factors.0
    });
    is_score && row.model == actual.model && (!is_overruled || row.band == actual.band.name())
}

fn is_same_readiness(row: &ReadinessRow, actual: &Readiness) -> bool {
    let is_score = actual.score.open().is_some_and(|score| {
        score.probability.to_bits() == row.probability.to_bits() && score.factors == row.factors.0
    });
    is_score && row.model == actual.model && row.level == actual.level.name()
}

/// When somebody is scored, in order.
fn occasions(plan: &Plan<'_>, models: &Models, subject: &Subject<'_>) -> Vec<Occasion> {
    let mut occasions = actual(subject.person);
    let first_said = occasions.first().map(|occasion| occasion.spot);
    let said: BTreeSet<(i64, Timestamp)> = occasions.iter().map(|one| (one.until, one.at)).collect();
    let moments: BTreeSet<Timestamp> = said.iter().map(|(_, at)| *at).collect();
    let own: Vec<Occasion> = recorded(subject.person)
        .into_iter()
        .filter(|one| !moments.contains(&one.at))
        .filter(|one| one.is_changed || was_scored(plan, models, subject.person, one))
        .map(|one| occasion(one.spot, one.spot.0, one.at))
        .collect();
    occasions.extend(own);
    // Whoever had a score is scored again when something is set, as the scorer does.
    for setting in &plan.settings {
        if first_said.is_some_and(|first| first < setting.spot) {
            occasions.push(occasion(setting.spot, setting.spot.0, setting.recorded_at));
        }
    }
    let last = occasions.iter().map(|one| one.at).max();
    let end = match subject.current {
        Some(row) => Some((row.position, last.map_or(row.scored_at, |last| last.max(row.scored_at)))),
        None => models
            .last_scored
            .map(|at| (i64::MAX, last.map_or(at, |last| last.max(at)))),
    };
    if let Some((until, at)) = end {
        occasions.push(occasion(END, until, at));
    }
    occasions.sort_by_key(|one| one.spot);
    occasions
}

fn occasion(spot: Spot, until: i64, at: Timestamp) -> Occasion {
    Occasion {
        spot,
        until,
        at,
        flight: None,
        readiness: BTreeMap::new(),
    }
}

/// When somebody was really scored: what was said of the same events at the same moment is one occasion.
fn actual(person: &Person) -> Vec<Occasion> {
    let mut occasions: BTreeMap<(i64, Timestamp), Occasion> = BTreeMap::new();
    for (position, said) in &person.said {
        let (until, at) = match said {
            Event::RiskAssessed(assessment) => (assessment.position, assessment.scored_at),
            Event::ReadinessAssessed(readiness) => (readiness.position, readiness.scored_at),
            Event::HumanReviewRecorded(_) => continue,
        };
        let one = occasions
            .entry((until, at))
            .or_insert_with(|| occasion((*position, 0), until, at));
        match said {
            Event::RiskAssessed(assessment) => one.flight = Some((*position, assessment.clone())),
            Event::ReadinessAssessed(readiness) => {
                one.readiness.insert(readiness.program, (*position, readiness.clone()));
            }
            Event::HumanReviewRecorded(_) => {}
        }
    }
    let mut occasions: Vec<Occasion> = occasions.into_values().collect();
    occasions.sort_by_key(|one| one.spot);
    occasions
}

/// Events of a changed history that were recorded at one moment; they are scored together, at the last of them.
struct Recorded {
    spot: Spot,
    at: Timestamp,
    /// Whether one of them is other than it was, or is missing.
    is_changed: bool,
}

/// What was recorded from the first change on.
fn recorded(person: &Person) -> Vec<Recorded> {
    let missing = person
        .real
        .iter()
        .filter(|known| !person.steps.contains_key(&(known.position, 0)));
    let mut all: BTreeMap<Spot, (Timestamp, bool)> = missing
        .map(|known| ((known.position, 0), (known.recorded_at, true)))
        .collect();
    for (spot, step) in &person.steps {
        all.insert(*spot, (step.recorded_at, step.origin != Origin::Kept));
    }
    let mut moments: Vec<Recorded> = Vec::new();
    for (spot, (at, is_changed)) in all {
        match moments.last_mut() {
            Some(last) if last.at == at => {
                last.spot = spot;
                last.is_changed |= is_changed;
            }
            Some(_) | None => moments.push(Recorded { spot, at, is_changed }),
        }
    }
    let first = moments
        .iter()
        .position(|moment| moment.is_changed)
        .unwrap_or(moments.len());
    moments.split_off(first)
}

/// Whether the live scorer looked at a person at a moment, and found nothing to tell: had it told what this would have been, it would
/// be in the log.
fn was_scored(plan: &Plan<'_>, models: &Models, person: &Person, moment: &Recorded) -> bool {
    let told = person.said.iter().rev().find_map(|(_, said)| match said {
        Event::RiskAssessed(assessment) => (assessment.position <= moment.spot.0).then_some(assessment),
        Event::ReadinessAssessed(_) | Event::HumanReviewRecorded(_) => None,
    });
    let Some(told) = told else { return false };
    let Some(artifact) = models.loaded(&told.model) else {
        return false;
    };
    let mut features = FeatureState::default();
    for known in person.real.iter().take_while(|known| known.position <= moment.spot.0) {
        features.apply(&known.event);
    }
    let on = moment.at.date_naive();
    if !features.is_at_risk(on) {
        return false;
    }
    let vector = artifact.vector(&features, on);
    let probability = artifact
        .hazard
        .probability(&vector.values, on, artifact.card.horizon_days);
    let real_bands = plan
        .history
        .settings
        .iter()
        .rev()
        .find_map(|(position, event)| match event {
            tenant::Event::SettingsChanged { bands, .. } if *position <= moment.spot.0 => Some(*bands),
            tenant::Event::SettingsChanged { .. }
            | tenant::Event::Created { .. }
            | tenant::Event::ModelPromoted { .. }
            | tenant::Event::ChallengerChanged { .. } => None,
        });
    let next = Assessment {
        model: told.model.clone(),
        position: moment.spot.0,
        scored_at: moment.at,
        horizon_days: told.horizon_days,
        band: real_bands.unwrap_or_default().band(probability),
        score: Personal::Open(risk::Score {
            probability,
            factors: Vec::new(),
            vector: None,
        }),
    };
    !risk::is_news(told, &next)
}
