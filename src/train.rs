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
    tenant,
};
use indicatif::{ProgressBar, ProgressStyle};
use infra::{
    clock,
    database::Access,
    event_log::EventLog,
    model_registry::{self, ModelRow},
    read_model::settings,
    route, sealing,
};
use ml_pipeline::{
    artifact::Artifact,
    dataset::{Dataset, History, Recorded},
    prior,
    train::{Options, Progress, TrainingError, adapt, train_on},
};
use schemas::{
    codec::{AnyCommand, AnyEvent, DEMOGRAPHICS_CHANGED},
    envelope::StoredEvent,
};
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
    let parts = settings.parts()?;
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    let mut out = std::io::stdout();
    for tenant in tenants {
        match for_tenant(&parts, tenant, Promotion::IfBetter).await? {
            Trained::Promoted(artifact) => writeln!(
                out,
                "{tenant}: {} trained and promoted\n{}",
                artifact.version,
                summary(&artifact)
            )?,
            Trained::Kept(artifact) => writeln!(
                out,
                "{tenant}: {} trained and kept in the registry; the shared prior does as well and stays in use\n{}",
                artifact.version,
                summary(&artifact)
            )?,
            Trained::Adapted(artifact, why) => writeln!(
                out,
                "{tenant}: {} promoted: the shared prior at this company's own level\n  no model of its own: {why}\n{}",
                artifact.version,
                summary(&artifact)
            )?,
            Trained::Abstained(why) => writeln!(
                out,
                "{tenant}: no model of its own, the shared prior stays in use: {why}"
            )?,
        }
    }
    parts.bulk.flush().await;
    Ok(())
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
            match train_if_due(&parts, tenant).await {
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

/// Trains a tenant's model if the last one is too old. Tells whether it was.
async fn train_if_due(parts: &Parts, tenant: TenantId) -> Result<bool, Failure> {
    let (settings, models) = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                let settings = settings::load(connection, tenant).await?;
                Ok((settings, model_registry::list(connection, tenant).await?))
            })
        })
        .await?;
    if !is_due(&models, clock::now(), parts.retrain_days) {
        return Ok(false);
    }
    let in_use = settings.and_then(|settings| settings.model);
    let promotion = if has_own(&models, in_use.as_deref()) {
        Promotion::ByAuthor
    } else {
        Promotion::IfBetter
    };
    let trained = for_tenant(parts, tenant, promotion).await?;
    match &trained {
        Trained::Promoted(artifact) | Trained::Adapted(artifact, _) | Trained::Kept(artifact) => {
            tracing::info!(%tenant, model = artifact.version, ?promotion, "{} was trained", artifact.version);
        }
        Trained::Abstained(why) => tracing::info!(%tenant, "no model was trained: {why}"),
    }
    Ok(true)
}

/// Whether the newest model is too old, or there is none.
fn is_due(models: &[ModelRow], now: Timestamp, retrain_days: u32) -> bool {
    let trained = models.iter().filter(|model| model.card.is_some());
    let newest = trained.map(|model| model.created_at).max();
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
    /// At once, if it is better than the shared prior.
    IfBetter,
    /// When somebody promotes it.
    ByAuthor,
}

/// What training came to.
pub enum Trained {
    /// Better than the shared prior on later months than it learnt from: people see its scores from now on.
    Promoted(Box<Artifact>),
    Kept(Box<Artifact>),
    /// Too little history for a model of its own: the shared prior at the company's own level.
    Adapted(Box<Artifact>, TrainingError),
    /// Too little history even for that.
    Abstained(TrainingError),
}

/// Trains on one tenant's history, stores the model with its card, and promotes it as `promotion` says.
///
/// # Errors
/// When the log cannot be read, a feature knows the future, or the model cannot be stored.
pub async fn for_tenant(parts: &Parts, tenant: TenantId, promotion: Promotion) -> Result<Trained, Failure> {
    let trained = with_history(parts, tenant, own_or_adapted).await?;
    let artifact = match &trained {
        Trained::Promoted(artifact) | Trained::Kept(artifact) | Trained::Adapted(artifact, _) => artifact,
        Trained::Abstained(_) => return Ok(trained),
    };
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
    if promotion == Promotion::IfBetter && !matches!(trained, Trained::Kept(_)) {
        promote(parts, tenant, &artifact.version).await?;
    }
    Ok(trained)
}

/// The model that [`for_tenant`] would train, with its card: nothing is stored or promoted.
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

/// What is done with a history; tells how far it is.
type Work<T> = fn(&[History], &Options, &mut dyn FnMut(Progress)) -> Result<T, Failure>;

/// Does something with a tenant's whole history, and shows how far it is.
async fn with_history<T: Send + 'static>(parts: &Parts, tenant: TenantId, work: Work<T>) -> Result<T, Failure> {
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
    let total = histories.len();
    let dataset = Dataset::build(histories, options.today, &mut |done| {
        show(Progress::Histories { done, total });
    });
    let why = match train_on(&dataset, options, show) {
        Ok(artifact) if artifact.card.evaluation.beats_shared_prior() && artifact.card.evaluation.beats_base_rate() => {
            return Ok(Trained::Promoted(Box::new(artifact)));
        }
        Ok(artifact) => return Ok(Trained::Kept(Box::new(artifact))),
        Err(why) if why.is_abstention() => why,
        Err(error) => return Err(error.into()),
    };
    match adapt(&prior::prior()?, &dataset, options) {
        Ok(artifact) => Ok(Trained::Adapted(Box::new(artifact), why)),
        Err(not_even) if not_even.is_abstention() => Ok(Trained::Abstained(not_even)),
        Err(error) => Err(error.into()),
    }
}

/// Makes a model of the registry the one whose scores people see.
async fn promote(parts: &Parts, tenant: TenantId, version: &str) -> Result<(), Failure> {
    let command = tenant::Command::PromoteModel {
        model: version.to_owned(),
        on: clock::today(),
    };
    let id = CommandId::derive(tenant, "train", version);
    let submission = Submission {
        id,
        stream: StreamId::new(tenant, Kind::Tenant, tenant),
        actor: "tenure:train".to_owned(),
        correlation: id.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(AnyCommand::Tenant(command))),
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
            AnyEvent::Risk(_) | AnyEvent::Connection(_) | AnyEvent::Tenant(_) => None,
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
        "  {} months of {} people, {} who left; {} to {}, log position {}\n  forward in time from {}: AUC {}{}, Brier {:.4} (base rate {:.4}), lift at 10 % {}, observed/expected {}",
        card.data.rows,
        card.data.people,
        card.data.leavers,
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
        assert!(is_due(&[], now, 30));
        assert!(is_due(&[model("a", "own", 31), model("b", "own", 30)], now, 30));
        assert!(!is_due(&[model("a", "own", 31), model("b", "own", 29)], now, 30));
        let mut report_on_the_prior = model("prior", "pooled", 0);
        report_on_the_prior.card = None;
        assert!(is_due(&[report_on_the_prior], now, 30), "a report is no model");
    }

    #[test]
    fn no_schedule_replaces_a_model_that_somebody_chose() {
        let models = [model("mine", "own", 40), model("small", "adapted", 40)];
        assert!(has_own(&models, Some("mine")) && has_own(&models, Some("of another build")));
        assert!(!has_own(&models, Some("small")) && !has_own(&models, None));
    }
}
