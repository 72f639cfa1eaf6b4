//! From histories to an artifact: rows, a test forward in time, and a fit to everything.

use domain::{Date, Timestamp};

use crate::{
    artifact::{Artifact, ArtifactError, DataWindow, Evaluation, ModelCard, Rival},
    dataset::{Dataset, History},
    features::{FEATURE_SET, FeatureId},
    metrics::{self, Judged},
    model::{Calibration, FitError, Form, Logistic, Model, logistic::Fitting, nine_decimals},
    prior,
};

/// How far ahead a score looks, in days, unless told otherwise.
pub const HORIZON_DAYS: u16 = 180;
/// The fewest people to learn from. Below, the shared prior is better (prediction.md, section 0, point 7).
pub const PEOPLE_MIN: usize = 200;
/// The fewest of them who left.
pub const LEAVERS_MIN: usize = 50;
/// The fewest leavers on either side of a test forward in time.
pub const TRAIN_LEAVERS_MIN: usize = 25;
/// The fewest leavers in the part that is tested on.
pub const TEST_LEAVERS_MIN: usize = 10;
/// The share of the cut-offs that is tested on, at most.
const TEST_SHARE: f64 = 0.3;
/// The penalties to choose from. Neighbouring cut-offs repeat each other, so that larger ones are right than for as many
/// independent rows; beyond the largest, small companies' models shrink to nothing by chance.
const ALPHAS: [f64; 5] = [10.0, 30.0, 100.0, 300.0, 1_000.0];
/// The penalty where the history is too short to choose one.
const ALPHA_DEFAULT: f64 = 300.0;

/// How to train.
#[derive(Debug, Clone)]
pub struct Options {
    pub horizon_days: u16,
    /// The last day that the histories tell of.
    pub today: Date,
    pub log_position: i64,
    pub trained_at: Timestamp,
    pub code_version: String,
    /// Whether the model is for other companies than the one that the histories are from: then it ignores what depends on
    /// the company, which are currencies and which values are missing.
    pub pooled_prior: bool,
    /// The seed that the histories were drawn from, if they were.
    pub seed: Option<u64>,
}

impl Options {
    /// The usual options for one company's own model.
    #[must_use]
    pub fn new(today: Date, log_position: i64, trained_at: Timestamp) -> Self {
        Self {
            horizon_days: HORIZON_DAYS,
            today,
            log_position,
            trained_at,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            pooled_prior: false,
            seed: None,
        }
    }

    fn fitting(&self, alpha: f64) -> Fitting {
        Fitting {
            alpha,
            missing_flags: !self.pooled_prior,
        }
    }

    fn exclusions(&self) -> Vec<FeatureId> {
        let company_specific = FeatureId::named("pay_log").filter(|_| self.pooled_prior);
        company_specific.into_iter().collect()
    }
}

/// What training is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Histories { done: usize, total: usize },
    Fits { done: usize, total: usize },
}

/// Why no model was trained. Abstaining is an answer: the shared prior stays in place.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("there are {have} people with a known outcome, and it takes at least {PEOPLE_MIN} to learn from")]
    TooFewPeople { have: usize },
    #[error(
        "{have} people left of their own will within a known window, and it takes at least {LEAVERS_MIN} to learn from"
    )]
    TooFewLeavers { have: usize },
    #[error(
        "the history is too short to test a model on later months than it learnt from: that takes {TRAIN_LEAVERS_MIN} leavers \
         in an earlier part, {TEST_LEAVERS_MIN} in a later one, and {horizon_days} days between them"
    )]
    HistoryTooShort { horizon_days: u16 },
    #[error("the model could not be fitted")]
    Fit(#[source] FitError),
    #[error("the model could not be packed")]
    Pack(#[source] ArtifactError),
}

/// Trains a model on one company's histories, or abstains.
pub fn train(
    histories: &[History],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Artifact, TrainingError> {
    let total = histories.len();
    let dataset = Dataset::build(histories, options.horizon_days, options.today, &mut |done| {
        progress(Progress::Histories { done, total });
    });
    let (people, leavers) = (dataset.people(), dataset.leavers());
    if people < PEOPLE_MIN {
        return Err(TrainingError::TooFewPeople { have: people });
    }
    if leavers < LEAVERS_MIN {
        return Err(TrainingError::TooFewLeavers { have: leavers });
    }
    let horizon_days = options.horizon_days;
    let (train, test) = forward(&dataset, horizon_days).ok_or(TrainingError::HistoryTooShort { horizon_days })?;
    let mut fits = 0;
    let mut fit = |rows: &Dataset, alpha: f64| {
        progress(Progress::Fits {
            done: fits,
            total: ALPHAS.len() + 2,
        });
        fits += 1;
        fit(rows, &options.exclusions(), &options.fitting(alpha)).map_err(TrainingError::Fit)
    };
    let alpha = match forward(&train, horizon_days) {
        Some((earlier, later)) => {
            let losses = ALPHAS
                .map(|alpha| fit(&earlier, alpha).map(|model| (alpha, metrics::log_loss(&judge(&model, &later)))));
            best(losses)?
        }
        None => ALPHA_DEFAULT,
    };
    let mut evaluation = evaluate(&fit(&train, alpha)?, &train, &test);
    evaluation.shared_prior = shared_prior(options, &test);
    let model = fit(&dataset, alpha)?;
    progress(Progress::Fits {
        done: ALPHAS.len() + 2,
        total: ALPHAS.len() + 2,
    });
    let card = card(options, &dataset, &model, evaluation);
    Artifact::new(card, model).map_err(TrainingError::Pack)
}

/// The penalty with the smallest loss; of equal ones the larger, which makes the simpler model.
fn best(losses: [Result<(f64, f64), TrainingError>; ALPHAS.len()]) -> Result<f64, TrainingError> {
    let mut best = (ALPHA_DEFAULT, f64::INFINITY);
    for loss in losses {
        let (alpha, loss) = loss?;
        if loss <= best.1 {
            best = (alpha, loss);
        }
    }
    Ok(best.0)
}

/// The latest cut-offs to test on and what may be learnt from before them: as many of the former as leave enough of the
/// latter.
fn forward(dataset: &Dataset, horizon_days: u16) -> Option<(Dataset, Dataset)> {
    let cutoffs = dataset.labelled_cutoffs();
    let most = (cutoffs.len() as f64 * TEST_SHARE).ceil() as usize;
    (1..=most)
        .rev()
        .map(|count| dataset.split(cutoffs[cutoffs.len() - count], horizon_days))
        .find(|(train, test)| train.leavers() >= TRAIN_LEAVERS_MIN && test.leavers() >= TEST_LEAVERS_MIN)
}

fn fit(rows: &Dataset, exclusions: &[FeatureId], fitting: &Fitting) -> Result<Model, FitError> {
    let (table, outcomes) = rows.table(exclusions);
    Logistic::fit(&table, &outcomes, fitting).map(|form| Model::new(Form::Logistic(form), Calibration::None))
}

/// The model's probabilities for the labelled rows, beside what happened.
#[must_use]
pub fn judge(model: &Model, rows: &Dataset) -> Vec<Judged> {
    let judged = |(row, y): (&crate::dataset::Row, bool)| (model.probability(&row.x), y);
    rows.labelled().map(judged).collect()
}

/// How well `model`, fitted to `train`, tells what came in `test`.
#[must_use]
pub fn evaluate(model: &Model, train: &Dataset, test: &Dataset) -> Evaluation {
    let judged = judge(model, test);
    let base_rate = rate(train);
    let constant: Vec<Judged> = judged.iter().map(|(_, y)| (base_rate, *y)).collect();
    let mut reliability = metrics::reliability(&judged);
    let calibration_error = nine_decimals(metrics::expected_calibration_error(&reliability));
    for bin in &mut reliability {
        (bin.predicted, bin.observed) = (nine_decimals(bin.predicted), nine_decimals(bin.observed));
    }
    Evaluation {
        train_until: train.rows.last().map(|row| row.cutoff).unwrap_or_default(),
        test_from: test.rows.first().map(|row| row.cutoff).unwrap_or_default(),
        test_rows: judged.len(),
        test_positives: judged.iter().filter(|(_, y)| *y).count(),
        auc: metrics::roc_auc(&judged).map(nine_decimals),
        brier: nine_decimals(metrics::brier(&judged)),
        brier_base_rate: nine_decimals(metrics::brier(&constant)),
        log_loss: nine_decimals(metrics::log_loss(&judged)),
        calibration_error,
        lift_top_tenth: metrics::lift(&judged, 0.1).map(nine_decimals),
        observed_over_expected: metrics::observed_over_expected(&judged).map(nine_decimals),
        reliability,
        shared_prior: None,
    }
}

/// The shared prior on the same rows, if it looks as far ahead.
fn shared_prior(options: &Options, test: &Dataset) -> Option<Rival> {
    let comparable = |prior: &Artifact| !options.pooled_prior && prior.card.horizon_days == options.horizon_days;
    let prior = prior::prior().ok().filter(comparable)?;
    let judged = judge(&prior.model, test);
    let auc = metrics::roc_auc(&judged).map(nine_decimals);
    Some(Rival {
        version: prior.version,
        auc,
        brier: nine_decimals(metrics::brier(&judged)),
    })
}

fn rate(rows: &Dataset) -> f64 {
    let positives = rows.labelled().filter(|(_, y)| *y).count();
    positives as f64 / rows.labelled().count().max(1) as f64
}

fn card(options: &Options, dataset: &Dataset, model: &Model, evaluation: Evaluation) -> ModelCard {
    let cutoffs = dataset.labelled_cutoffs();
    let used: Vec<FeatureId> = model.inputs().into_iter().filter_map(FeatureId::at).collect();
    let names = |of: &mut dyn Iterator<Item = FeatureId>| of.map(String::from).collect();
    ModelCard {
        kind: model.kind().to_owned(),
        feature_set: FEATURE_SET,
        trained_at: options.trained_at,
        code_version: options.code_version.clone(),
        pooled_prior: options.pooled_prior,
        data: DataWindow {
            first_cutoff: cutoffs.first().copied().unwrap_or_default(),
            last_cutoff: cutoffs.last().copied().unwrap_or_default(),
            known_until: options.today,
            log_position: options.log_position,
            rows: dataset.labelled().count(),
            positives: dataset.labelled().filter(|(_, y)| *y).count(),
            people: dataset.people(),
            leavers: dataset.leavers(),
        },
        features: names(&mut used.iter().copied()),
        exclusions: names(&mut FeatureId::all().filter(|id| !used.contains(id))),
        label: format!(
            "voluntary notice (or, without one on record, voluntary exit) within {} days after the cut-off; other exits and \
             windows that are still open are unknown; on notice, not employed or objecting: not at risk",
            options.horizon_days
        ),
        horizon_days: options.horizon_days,
        seed: options.seed,
        limits: limits(options, &evaluation),
        evaluation,
    }
}

fn limits(options: &Options, evaluation: &Evaluation) -> Vec<String> {
    let mut limits = vec![
        "A score is a probability for people like this one, not knowledge of this person; contributions tell what goes along \
         with it, not why."
            .to_owned(),
        "Protected attributes are never inputs; what goes along with them may be (pay, hours, leave): look at the fairness report."
            .to_owned(),
        "One exit counts at every cut-off that has it in its window, so rows are not independent and the figures are less \
         certain than their number suggests."
            .to_owned(),
    ];
    if options.pooled_prior {
        limits.push(
            "Trained on invented histories, not on any company's: it ranks by common patterns, and its level is that of some \
             13 % of voluntary exits a year."
                .to_owned(),
        );
    }
    if !evaluation.beats_base_rate() {
        let constant = evaluation.brier_base_rate;
        limits.push(format!(
            "Forward in time it was no better than the plain rate of exits (Brier {constant:.4}): do not promote it."
        ));
    }
    if let Some(prior) = evaluation
        .shared_prior
        .as_ref()
        .filter(|_| !evaluation.beats_shared_prior())
    {
        limits.push(format!(
            "Forward in time the shared prior {} was as good or better: keep it in place.",
            prior.version
        ));
    }
    limits
}

#[cfg(test)]
mod tests;
