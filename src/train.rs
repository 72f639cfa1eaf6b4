//! `tenure train`: a model from the log's own history.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    time::Duration,
};

use command_service::intake::{self, Content, Submission};
use domain::{
    Kind, StreamId, Timestamp,
    id::{CommandId, EmployeeId, TenantId},
    program, tenant,
};
use indicatif::{ProgressBar, ProgressStyle};
use infra::{
    clock,
    database::Access,
    event_log::EventLog,
    model_registry::{self, ModelRow},
    read_model::{
        readiness::{self, ProgramRow},
        settings,
    },
    route, sealing,
};
use ml_pipeline::{
    artifact::Artifact,
    dataset::{Dataset, History, Recorded, Target},
    prior,
    train::{Options, Progress, TrainingError, adapt, train_on},
};
use schemas::{
    codec::{AnyCommand, AnyEvent, DEMOGRAPHICS_CHANGED},
    envelope::StoredEvent,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{Parts, Settings},
    roles::Failure,
};

/// Trains for every tenant.
///
/// # Errors
/// When the log cannot be read or the model not be stored. A tenant without enough history is told, not an error.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let parts = settings.tool()?;
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    let mut out = std::io::stdout();
    for tenant in tenants {
        let (_, programs, _) = known(&parts, tenant).await?;
        let due = Due { risk: true, programs };
        for (question, trained) in for_tenant(&parts, tenant, Promotion::IfBetter, due).await? {
            writeln!(out, "{tenant}: {}", told(&question, &trained))?;
        }
    }
    parts.bulk.flush().await;
    Ok(())
}

/// What became of a question, in words.
#[must_use]
pub fn told(question: &Question, trained: &Trained) -> String {
    let (of, otherwise) = match question {
        Question::Risk => ("flight risk".to_owned(), "the shared prior stays in use"),
        Question::Program(program) => (
            format!("readiness for {}", program.name),
            "what was in use stays in use, if there was a model",
        ),
    };
    match trained {
        Trained::Promoted(artifact) => {
            format!("{of}: {} trained and promoted\n{}", artifact.version, summary(artifact))
        }
        Trained::Kept(artifact) => format!(
            "{of}: {} trained and kept in the registry, but not shown to be better; {otherwise}\n{}",
            artifact.version,
            summary(artifact)
        ),
        Trained::Adapted(artifact, why) => format!(
            "{of}: {} promoted: a model of more people, at the level here\n  no model of its own: {why}\n{}",
            artifact.version,
            summary(artifact)
        ),
        Trained::Abstained(why) => format!("{of}: no model of its own, {otherwise}: {why}"),
    }
}

/// How often it is looked whose model is due.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// Trains models again when they are due, until shut down. A tenant without any model of its own is due at the first look,
/// which comes an hour after the start: by then an import has usually ended.
///
/// A model of the tenant's own that is in use stays in use: the new one is its challenger, and somebody who may promotes it.
pub async fn keep_trained(parts: Parts, shutdown: CancellationToken) {
    let mut tried: HashMap<TenantId, Timestamp> = HashMap::new();
    loop {
        tokio::select! { () = shutdown.cancelled() => return, () = tokio::time::sleep(LOOK_EVERY) => {} }
        let tenants = parts
            .database
            .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
            .await;
        for tenant in tenants.unwrap_or_default() {
            // One tenant's trouble is not the next one's, and is not met again every hour.
            let lately = tried.get(&tenant).is_some_and(|at| (clock::now() - *at).num_days() < 1);
            if lately || shutdown.is_cancelled() {
                continue;
            }
            match train_if_due(&parts, tenant, clock::now()).await {
                Ok(false) => {}
                Ok(true) => _ = tried.insert(tenant, clock::now()),
                Err(error) => {
                    tried.insert(tenant, clock::now());
                    tracing::warn!(%tenant, error = %error, "a model could not be trained again: {error}");
                }
            }
        }
    }
}

/// Trains those of a tenant's models that are too old at `now`, or not there. Tells whether there were any.
///
/// # Errors
/// As [`for_tenant`].
pub async fn train_if_due(parts: &Parts, tenant: TenantId, now: Timestamp) -> Result<bool, Failure> {
    let (_, programs, models) = known(parts, tenant).await?;
    let due = Due {
        risk: is_due(&models, None, now, parts.retrain_days),
        programs: programs
            .into_iter()
            .filter(|program| is_due(&models, Some(program), now, parts.retrain_days))
            .collect(),
    };
    if !due.risk && due.programs.is_empty() {
        return Ok(false);
    }
    for (question, trained) in for_tenant(parts, tenant, Promotion::UnlessOwn, due).await? {
        tracing::info!(%tenant, "{}", told(&question, &trained));
    }
    Ok(true)
}

/// The version in use for the flight risk, the open programs, and the registry's models.
async fn known(parts: &Parts, tenant: TenantId) -> Result<(Option<String>, Vec<ProgramRow>, Vec<ModelRow>), Failure> {
    let (settings, mut programs, models) = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                let settings = settings::load(connection, tenant).await?;
                let programs = readiness::programs(connection, tenant).await?;
                Ok((settings, programs, model_registry::list(connection, tenant).await?))
            })
        })
        .await?;
    programs.retain(ProgramRow::is_open);
    Ok((settings.and_then(|settings| settings.model), programs, models))
}

/// Whether the newest model for a question (a career program; none: the flight risk) is too old, or there is none.
fn is_due(models: &[ModelRow], program: Option<&ProgramRow>, now: Timestamp, retrain_days: u32) -> bool {
    let paths = program.map(|program| json!([program.path()]));
    let answers = |model: &&ModelRow| {
        let card = model.card.as_ref();
        card.is_some_and(|card| card.0.pointer("/target/paths") == paths.as_ref())
    };
    let newest = models.iter().filter(answers).map(|model| model.created_at).max();
    newest.is_none_or(|at| (now - at).num_days() >= i64::from(retrain_days))
}

/// Whether the version in use was learnt from the tenant's own history, or is one that nothing is known of.
fn has_own(models: &[ModelRow], in_use: Option<&str>) -> bool {
    let Some(version) = in_use else { return false };
    let row = models.iter().find(|model| model.version == version);
    let origin = row.and_then(|row| row.card.as_ref()?.0.pointer("/origin/kind")?.as_str());
    origin != Some("adapted")
}

/// When a trained model comes into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// At once, if it is better than what there is for everybody: the shared prior, or the plain rate.
    IfBetter,
    /// The same, but where a model of the tenant's own is in use, somebody who may has to promote it.
    UnlessOwn,
}

/// What is to be trained.
pub struct Due {
    pub risk: bool,
    pub programs: Vec<ProgramRow>,
}

/// What a model answers.
#[derive(Debug, Clone)]
pub enum Question {
    Risk,
    Program(ProgramRow),
}

/// What training came to.
pub enum Trained {
    /// Better than what there is for everybody, on later months than it learnt from: people see its scores from now on.
    Promoted(Box<Artifact>),
    Kept(Box<Artifact>),
    /// Too little history for a model of its own: the shared prior (or the model of all programs) at the level here.
    Adapted(Box<Artifact>, TrainingError),
    /// Too little history even for that.
    Abstained(TrainingError),
}

impl Trained {
    fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Promoted(artifact) | Self::Kept(artifact) | Self::Adapted(artifact, _) => Some(artifact),
            Self::Abstained(_) => None,
        }
    }
}

/// Trains on one tenant's history, stores the models with their cards, and promotes them as `promotion` says.
///
/// # Errors
/// When the log cannot be read, a feature knows the future, or a model cannot be stored.
pub async fn for_tenant(
    parts: &Parts,
    tenant: TenantId,
    promotion: Promotion,
    due: Due,
) -> Result<Vec<(Question, Trained)>, Failure> {
    let (in_use, _, models) = known(parts, tenant).await?;
    let (all, of_all) = with_history(parts, tenant, move |histories, options, show| {
        let mut all = Vec::new();
        if due.risk {
            all.push((Question::Risk, own_or_adapted(histories, options, show)?));
        }
        let (programs, of_all) = for_programs(histories, options, &due.programs, show)?;
        all.extend(programs);
        Ok((all, of_all))
    })
    .await?;
    if let Some(artifact) = of_all {
        store(parts, tenant, &artifact).await?; // what adapted models name as their origin
    }
    for (question, trained) in &all {
        let Some(artifact) = trained.artifact() else { continue };
        store(parts, tenant, artifact).await?;
        let in_use = match question {
            Question::Risk => in_use.as_deref(),
            Question::Program(program) => program.model.as_deref(),
        };
        let stays = promotion == Promotion::UnlessOwn && has_own(&models, in_use);
        if stays {
            challenge(parts, tenant, question, &artifact.version).await?;
        } else if !matches!(trained, Trained::Kept(_)) {
            promote(parts, tenant, question, &artifact.version).await?;
        }
    }
    Ok(all)
}

async fn store(parts: &Parts, tenant: TenantId, artifact: &Artifact) -> Result<(), Failure> {
    let bytes = artifact.to_json()?.into_bytes();
    let (version, created_at) = (artifact.version.clone(), artifact.card.trained_at);
    let card = serde_json::to_value(&artifact.card)?;
    parts
        .database
        .transact(Access::Write, &[tenant], move |connection| {
            Box::pin(async move {
                let model = model_registry::NewModel {
                    version: &version,
                    artifact: &bytes,
                    card,
                    created_at,
                };
                model_registry::store(connection, tenant, model).await
            })
        })
        .await?;
    Ok(())
}

/// The model of the flight risk that [`for_tenant`] would train, with its card: nothing is stored or promoted.
///
/// # Errors
/// When the log cannot be read, a feature knows the future, or a model cannot be fitted.
pub async fn evaluate(parts: &Parts, tenant: TenantId) -> Result<Result<Box<Artifact>, TrainingError>, Failure> {
    let trained = with_history(parts, tenant, own_or_adapted).await?;
    Ok(match trained {
        Trained::Promoted(artifact) | Trained::Kept(artifact) | Trained::Adapted(artifact, _) => Ok(artifact),
        Trained::Abstained(why) => Err(why),
    })
}

/// Does something with a tenant's whole history, and shows how far it is.
async fn with_history<T: Send + 'static>(
    parts: &Parts,
    tenant: TenantId,
    work: impl FnOnce(&[History], &Options, &mut dyn FnMut(Progress)) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (histories, position) = histories(parts, tenant).await?;
    let bar = ProgressBar::new(100).with_style(ProgressStyle::with_template("{msg:>24} {bar:40} {pos}/{len}")?);
    let options = Options {
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..Options::new(clock::today(), position, clock::now())
    };
    let drawn = bar.clone();
    let mut show = move |progress| {
        let (what, done, total) = match progress {
            Progress::Histories { done, total } => ("histories", done, total),
            Progress::Fits { done, total } => ("kinds of models", done, total),
        };
        drawn.set_message(what);
        drawn.set_length(total as u64);
        drawn.set_position(done as u64);
    };
    let done = tokio::task::spawn_blocking(move || work(&histories, &options, &mut show)).await?;
    bar.finish_and_clear();
    done
}

fn own_or_adapted(
    histories: &[History],
    options: &Options,
    show: &mut dyn FnMut(Progress),
) -> Result<Trained, Failure> {
    let dataset = rows(Target::Notice, histories, options, show);
    let why = match train_on(&dataset, options, show) {
        Ok(artifact) if artifact.card.evaluation.beats_shared_prior() && artifact.card.evaluation.beats_base_rate() => {
            return Ok(Trained::Promoted(Box::new(artifact)));
        }
        Ok(artifact) => return Ok(Trained::Kept(Box::new(artifact))),
        Err(why) if why.is_abstention() => why,
        Err(error) => return Err(error.into()),
    };
    adapted(&prior::prior()?, &dataset, options, why)
}

/// The models of career programs, and that of all of them together, if it was needed and there is one.
type ForPrograms = (Vec<(Question, Trained)>, Option<Artifact>);

/// Models of career programs: each of its own where there is enough history, else that of all of them at its level.
fn for_programs(
    histories: &[History],
    options: &Options,
    programs: &[ProgramRow],
    show: &mut dyn FnMut(Progress),
) -> Result<ForPrograms, Failure> {
    let mut all = Vec::new();
    let mut of_all = None;
    for program in programs {
        let dataset = rows(target_of(program), histories, options, show);
        let trained = match train_on(&dataset, options, show) {
            Ok(artifact) if artifact.card.evaluation.beats_base_rate() => Trained::Promoted(Box::new(artifact)),
            Ok(artifact) => Trained::Kept(Box::new(artifact)),
            Err(why) if why.is_abstention() => {
                let of_all = match &of_all {
                    Some(known) => known,
                    None => of_all.insert(model_of_all(histories, options, programs, show)?),
                };
                match of_all {
                    Some(model) => adapted(model, &dataset, options, why)?,
                    None => Trained::Abstained(why),
                }
            }
            Err(error) => return Err(error.into()),
        };
        all.push((Question::Program(program.clone()), trained));
    }
    Ok((all, of_all.flatten()))
}

/// One model of all programs together; nothing if that is too little as well, or no better than the plain rate.
fn model_of_all(
    histories: &[History],
    options: &Options,
    programs: &[ProgramRow],
    show: &mut dyn FnMut(Progress),
) -> Result<Option<Artifact>, Failure> {
    let target = Target::Promotion {
        name: "all programs".to_owned(),
        paths: programs.iter().map(ProgramRow::path).collect(),
    };
    match train_on(&rows(target, histories, options, show), options, show) {
        Ok(artifact) => Ok(Some(artifact).filter(|artifact| artifact.card.evaluation.beats_base_rate())),
        Err(why) if why.is_abstention() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a career program's candidates are predicted.
///
/// # Errors
/// When there is no such program.
pub async fn target(parts: &Parts, tenant: TenantId, name: &str) -> Result<Target, Failure> {
    let (_, programs, _) = known(parts, tenant).await?;
    let found = programs.iter().find(|program| program.name == name);
    found.map(target_of).ok_or_else(|| {
        let names: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
        format!(
            "there is no open career program called {name:?}; there are: {}",
            names.join(", ")
        )
        .into()
    })
}

fn target_of(program: &ProgramRow) -> Target {
    Target::Promotion {
        name: program.name.clone(),
        paths: vec![program.path()],
    }
}

fn rows(target: Target, histories: &[History], options: &Options, show: &mut dyn FnMut(Progress)) -> Dataset {
    let total = histories.len();
    Dataset::of(target, histories, options.today, &mut |done| {
        show(Progress::Histories { done, total });
    })
}

fn adapted(from: &Artifact, dataset: &Dataset, options: &Options, why: TrainingError) -> Result<Trained, Failure> {
    match adapt(from, dataset, options) {
        Ok(artifact) => Ok(Trained::Adapted(Box::new(artifact), why)),
        Err(not_even) if not_even.is_abstention() => Ok(Trained::Abstained(not_even)),
        Err(error) => Err(error.into()),
    }
}

/// Makes a model of the registry the one whose scores people see.
async fn promote(parts: &Parts, tenant: TenantId, question: &Question, version: &str) -> Result<(), Failure> {
    let (model, on) = (version.to_owned(), clock::today());
    let (stream, command) = match question {
        Question::Risk => (
            StreamId::new(tenant, Kind::Tenant, tenant),
            AnyCommand::Tenant(tenant::Command::PromoteModel { model, on }),
        ),
        Question::Program(row) => (
            StreamId::new(tenant, Kind::Program, row.id),
            AnyCommand::Program(program::Command::PromoteModel { model, on }),
        ),
    };
    submit(parts, stream, command, version).await
}

/// Runs a model of the registry beside the one in use.
async fn challenge(parts: &Parts, tenant: TenantId, question: &Question, version: &str) -> Result<(), Failure> {
    let (model, on) = (Some(version.to_owned()), clock::today());
    let (stream, command) = match question {
        Question::Risk => (
            StreamId::new(tenant, Kind::Tenant, tenant),
            AnyCommand::Tenant(tenant::Command::Challenge { model, on }),
        ),
        Question::Program(row) => (
            StreamId::new(tenant, Kind::Program, row.id),
            AnyCommand::Program(program::Command::Challenge { model, on }),
        ),
    };
    submit(parts, stream, command, &format!("challenge|{version}")).await
}

async fn submit(parts: &Parts, stream: StreamId, command: AnyCommand, key: &str) -> Result<(), Failure> {
    let id = CommandId::derive(stream.tenant, "train", &format!("{stream}|{key}"));
    let submission = Submission {
        id,
        stream,
        actor: "tenure:train".to_owned(),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(command)),
    };
    intake::submit(&parts.bulk, &parts.keyring, vec![submission]).await?;
    Ok(())
}

/// Every employee's events in the order of the log, and the position up to which it was read.
pub async fn histories(parts: &Parts, tenant: TenantId) -> Result<(Vec<History>, i64), Failure> {
    let log = EventLog::new(parts.database.clone());
    let mut people: BTreeMap<Uuid, Vec<Recorded>> = BTreeMap::new();
    let mut position = 0;
    loop {
        let page = log.read_tenant(tenant, Kind::Employee, position).await?;
        let Some(last) = page.last() else { break };
        position = last.position;
        let mut subjects: Vec<sealing::Subject> = page.iter().map(|event| (tenant, event.stream.id)).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let keys = parts.keyring.subjects(&subjects).await?;
        for event in page {
            if let Some(recorded) = opened(&event, keys.get(&(tenant, event.stream.id)))? {
                people.entry(event.stream.id).or_default().push(recorded);
            }
        }
    }
    let histories = people
        .into_iter()
        .map(|(id, events)| History {
            employee: EmployeeId::from_uuid(id),
            events,
        })
        .collect();
    Ok((histories, position))
}

/// An employee's event, opened with the person's key as far as there is one; nothing of other kinds of events, nor of protected
/// attributes, which models do not learn from.
///
/// # Errors
/// When the event does not read.
pub fn opened(event: &StoredEvent, key: Option<&sealing::SubjectKey>) -> Result<Option<Recorded>, Failure> {
    if event.event_type == DEMOGRAPHICS_CHANGED {
        return Ok(None);
    }
    let mut payload = serde_json::from_slice(&event.data)?;
    let place = sealing::Place {
        stream: &event.stream,
        event_id: event.event_id,
        schema_version: event.schema_version,
    };
    sealing::open_payload(key, place, &mut payload);
    Ok(
        match AnyEvent::decode(&event.event_type, event.schema_version, payload)? {
            AnyEvent::Employee(opened) => Some(Recorded {
                known_on: event.known_at().date_naive(),
                event: opened,
            }),
            AnyEvent::Risk(_)
            | AnyEvent::Connection(_)
            | AnyEvent::Tenant(_)
            | AnyEvent::Program(_)
            | AnyEvent::Access(_)
            | AnyEvent::PayChange(_) => None,
        },
    )
}

/// The card's essentials, for the terminal.
#[must_use]
pub fn summary(artifact: &Artifact) -> String {
    let card = &artifact.card;
    let evaluation = &card.evaluation;
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.4}"));
    let mut text = format!(
        "  {} months of {} people, it came to {}; {} to {}, log position {}\n  forward in time from {}: AUC {}{}, Brier {:.4} (base rate {:.4}), lift at 10 % {}, observed/expected {}",
        card.data.rows,
        card.data.people,
        card.data.cases,
        card.data.first_cutoff,
        card.data.last_cutoff,
        card.data.log_position,
        evaluation.test_from,
        figure(evaluation.auc),
        evaluation
            .intervals
            .as_ref()
            .and_then(|intervals| intervals.auc.as_ref())
            .map_or_else(String::new, |auc| format!(" ({:.3} to {:.3})", auc.low, auc.high)),
        evaluation.brier,
        evaluation.brier_base_rate,
        figure(evaluation.lift_top_tenth),
        figure(evaluation.observed_over_expected),
    );
    if let Some(prior) = &evaluation.shared_prior {
        let auc = figure(prior.auc);
        text.push_str(&format!(
            "\n  the shared prior on the same rows: AUC {auc}, Brier {:.4}",
            prior.brier
        ));
    }
    for tried in &card.candidates {
        let mark = if tried.champion { '*' } else { ' ' };
        text.push_str(&format!(
            "\n  {mark} {:<15} AUC {}, Brier {:.4}, log loss {:.4} ({:+.4} to the best, standard error {:.4})",
            tried.learner.name(),
            figure(tried.auc),
            tried.brier,
            tried.log_loss,
            tried.behind,
            tried.standard_error,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;
    use schemas::envelope::Provenance;
    use serde_json::json;

    use super::*;

    fn model(version: &str, origin: &str, days_old: i64) -> ModelRow {
        ModelRow {
            version: version.to_owned(),
            created_at: Timestamp::UNIX_EPOCH - chrono::Duration::days(days_old),
            card: Some(json!({"origin": {"kind": origin}}).into()),
            report: None,
            reported_at: None,
        }
    }

    /// The payload is no event at all: it is not looked at.
    #[test]
    fn training_does_not_open_protected_attributes() {
        let told = |event_type: &str| {
            let command = CommandId::from_uuid(Uuid::nil());
            let event = StoredEvent {
                position: 1,
                stream: StreamId::new(TenantId::from_uuid(Uuid::nil()), Kind::Employee, Uuid::nil()),
                revision: 1,
                event_id: EventId::of_command(command, 0),
                event_type: event_type.to_owned(),
                schema_version: 1,
                effective_on: Timestamp::UNIX_EPOCH.date_naive(),
                recorded_at: Timestamp::UNIX_EPOCH,
                provenance: Provenance {
                    actor: String::new(),
                    correlation: Uuid::nil(),
                    causation: command,
                    backfill: false,
                    traceparent: None,
                },
                data: b"sealed".to_vec(),
            };
            opened(&event, None)
        };
        assert!(matches!(told("employee.demographics-changed"), Ok(None)));
        assert!(told("employee.hired").is_err());
    }

    #[test]
    fn the_newest_model_decides_when_training_is_due() {
        let now = Timestamp::UNIX_EPOCH;
        let due = |models: &[ModelRow]| is_due(models, None, now, 30);
        assert!(due(&[]));
        assert!(due(&[model("a", "own", 31), model("b", "own", 30)]));
        assert!(!due(&[model("a", "own", 31), model("b", "own", 29)]));
        let mut report_on_the_prior = model("prior", "pooled", 0);
        report_on_the_prior.card = None;
        assert!(due(&[report_on_the_prior]), "a report is no model");
    }

    #[test]
    fn each_question_has_its_own_schedule() {
        let now = Timestamp::UNIX_EPOCH;
        let program = |to: &str| ProgramRow {
            tenant: Uuid::nil(),
            id: Uuid::nil(),
            name: "Ladder".to_owned(),
            titles_from: vec!["Cashier".to_owned()],
            titles_to: vec![to.to_owned()],
            status: readiness::OPEN.to_owned(),
            model: None,
            challenger: None,
            position: 1,
        };
        let known = program("Supervisor");
        let mut ladder = model("c", "own", 1);
        let card = json!({"origin": {"kind": "own"}, "target": {"kind": "promotion", "paths": [known.path()]}});
        ladder.card = Some(card.into());
        let models = [model("a", "own", 31), ladder];
        assert!(is_due(&models, None, now, 30));
        assert!(!is_due(&models, Some(&known), now, 30));
        assert!(
            is_due(&models, Some(&program("Lead")), now, 30),
            "another path is another question"
        );
    }

    #[test]
    fn no_schedule_replaces_a_model_that_somebody_chose() {
        let models = [model("mine", "own", 40), model("small", "adapted", 40)];
        assert!(has_own(&models, Some("mine")) && has_own(&models, Some("of another build")));
        assert!(!has_own(&models, Some("small")) && !has_own(&models, None));
    }
}
