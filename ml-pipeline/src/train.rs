//! From histories to an artifact: rows, a test forward in time, the choice of a kind of model, and a fit to everything.

mod persistence;

use domain::{Date, Timestamp};

use crate::{
    artifact::{
        Artifact, ArtifactError, Candidate, DataWindow, Evaluation, Hazard, Horizon, ModelCard, Origin, Rival,
        log_odds_of,
    },
    dataset::{Dataset, History, Target, Window},
    features::{FEATURE_SET, FEATURES, FeatureId, PayLevels},
    metrics::{self, Judged},
    model::{Calibration, FitError, Fitting, Learner, Model, nine_decimals},
    prior,
    synthetic::Random,
    table,
};

/// How far ahead a score looks, in days, unless told otherwise.
pub const HORIZON_DAYS: u16 = 180;
/// The horizons that every model is calibrated for.
pub const HORIZONS_DAYS: [u16; 3] = [90, HORIZON_DAYS, 365];
/// The fewest people to learn from. Below, the shared prior is better (prediction.md, section 0, point 7).
pub const PEOPLE_MIN: usize = 200;
/// The fewest of them to whom what is predicted came.
pub const CASES_MIN: usize = 50;
/// The fewest months of people to adapt the shared prior's level with.
pub const ADAPT_MONTHS_MIN: usize = 100;
/// The fewest of these in the part that is learnt from, for a test forward in time.
pub const TRAIN_CASES_MIN: usize = 25;
/// The fewest in the part that is tested on.
pub const TEST_CASES_MIN: usize = 10;
/// The share of the cut-offs that is tested on, at most.
const TEST_SHARE: f64 = 0.3;
/// The penalties of the logistic regression to choose from.
const ALPHAS: [f64; 4] = [3.0, 10.0, 30.0, 100.0];
/// The most rows that smartcore's solver is given: it takes minutes for more.
const LOGISTIC_ROWS_MAX: usize = 60_000;
/// The most rows for kinds of models that are only tried to see what the others cost.
const FOREST_ROWS_MAX: usize = 20_000;
/// The fewest months to learn from what each month of the year is like.
const MONTHS_MIN: usize = 24;
/// What a model for other companies does not look at: a level of pay is in one currency and of one company's jobs, and raises
/// are given by one policy, and a month is what one company makes of it (bonuses, promotion rounds).
const COMPANY_SPECIFIC: [&str; 4] = ["pay_log", "compa_ratio", "last_raise", "month"];
/// A single feature that tells what comes next month this well knows of it.
pub const LEAK_AUC: f64 = 0.95;
/// How many events' worth of doubt there is that a company is like the pool: with as many of its own, its own rate counts half.
const DOUBT_EVENTS: f64 = 10.0;

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
    /// the company, which are `COMPANY_SPECIFIC` features and which values are missing.
    pub pooled_prior: bool,
    pub seed: u64,
    pub threads: usize,
    /// The kinds of models to choose from.
    pub learners: Vec<Learner>,
    /// Whether the history has each month at least twice: of one April nobody can tell what Aprils are like. Set by training.
    pub knows_months: bool,
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
            seed: 1,
            threads: 1,
            learners: Learner::ALL.to_vec(),
            knows_months: true,
        }
    }

    fn fitting(&self, alpha: f64) -> Fitting {
        Fitting {
            seed: self.seed,
            threads: self.threads,
            alpha,
            missing_flags: !self.pooled_prior,
        }
    }

    fn exclusions(&self) -> Vec<FeatureId> {
        let company_specific = COMPANY_SPECIFIC.iter().filter(|_| self.pooled_prior);
        let months = ["month"].iter().filter(|_| !self.knows_months);
        let excluded = company_specific.chain(months);
        excluded.filter_map(|name| FeatureId::named(name)).collect()
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
        "what is predicted came to {have} people in a known month, and it takes at least {CASES_MIN} to learn from"
    )]
    TooFewCases { have: usize },
    #[error(
        "the history is too short to test a model on later months than it learnt from: that takes {TRAIN_CASES_MIN} people to \
         whom what is predicted came in an earlier part, and {TEST_CASES_MIN} in a later one whose windows of {horizon_days} days are over"
    )]
    HistoryTooShort { horizon_days: u16 },
    #[error(
        "there is not enough history: it takes {ADAPT_MONTHS_MIN} months of people after the first known exit, and there are {have}"
    )]
    NotEnoughHistory { have: usize },
    #[error(
        "{feature} alone tells what comes within the month with an AUC of {auc:.3}: that is too good to be true. Something that \
         is recorded because it comes (an off-boarding task, a new job's pay) reaches the feature first; no model is trained until \
         it does not"
    )]
    Leak { feature: &'static str, auc: f64 },
    #[error("the model could not be fitted")]
    Fit(#[source] FitError),
    #[error("the model could not be packed")]
    Pack(#[source] ArtifactError),
}

impl TrainingError {
    /// Whether it means that there is too little to learn from, rather than that something went wrong.
    #[must_use]
    pub const fn is_abstention(&self) -> bool {
        match self {
            Self::TooFewPeople { .. }
            | Self::TooFewCases { .. }
            | Self::HistoryTooShort { .. }
            | Self::NotEnoughHistory { .. } => true,
            Self::Leak { .. } | Self::Fit(_) | Self::Pack(_) => false,
        }
    }
}

/// Trains a model on one company's histories, or abstains.
///
/// The later part of the history is put aside. Every kind of model learns from the earlier part, is calibrated by the later
/// months of that, and is judged by what was put aside. The champion is the simplest within one standard error of the best;
/// it is then fitted again to everything.
///
/// # Errors
/// When there is too little to learn from, a feature knows the future, or a model cannot be fitted.
pub fn train(
    histories: &[History],
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Artifact, TrainingError> {
    let total = histories.len();
    let dataset = Dataset::build(histories, options.today, &mut |done| {
        progress(Progress::Histories { done, total });
    });
    train_on(&dataset, options, progress)
}

/// [`train`], on rows that are there already.
///
/// # Errors
/// As [`train`].
pub fn train_on(
    dataset: &Dataset,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Artifact, TrainingError> {
    let (people, cases) = (dataset.people(Window::Month), dataset.cases(Window::Month));
    if people < PEOPLE_MIN {
        return Err(TrainingError::TooFewPeople { have: people });
    }
    if cases < CASES_MIN {
        return Err(TrainingError::TooFewCases { have: cases });
    }
    refuse_leaks(dataset)?;
    let horizon_days = options.horizon_days;
    let (train, test) = forward(dataset, horizon_days).ok_or(TrainingError::HistoryTooShort { horizon_days })?;
    let months = train.labelled_cutoffs(Window::Month).len();
    let options = &Options {
        knows_months: months >= MONTHS_MIN,
        ..options.clone()
    };
    let mut trials = Vec::new();
    let learners = learners(options, &train);
    for (done, learner) in learners.iter().enumerate() {
        progress(Progress::Fits {
            done,
            total: learners.len() + 1,
        });
        trials.push(Trial::run(*learner, &train, &test, options)?);
    }
    let candidates = choose(&trials, &test, options);
    let champion = candidates.iter().position(|candidate| candidate.champion).unwrap_or(0);
    let trial = trials.swap_remove(champion);
    let mut evaluation = evaluate(&trial.hazard, &train, &test, options);
    evaluation.shared_prior = shared_prior(options, &test);
    progress(Progress::Fits {
        done: learners.len(),
        total: learners.len() + 1,
    });
    let model = fit(trial.learner, dataset, options, trial.alpha)?;
    let hazard = Hazard {
        shift: 0.0,
        persistence: persistence::of(&model, dataset),
        horizons: calibrate(&trial.hazard, &test),
        model,
    };
    progress(Progress::Fits {
        done: learners.len() + 1,
        total: learners.len() + 1,
    });
    let origin = if options.pooled_prior {
        Origin::Pooled
    } else {
        Origin::Own
    };
    let card = card(
        options,
        dataset,
        &hazard,
        (trial.learner, origin),
        (evaluation, candidates),
    );
    Artifact::new(card, hazard, levels(dataset, options)).map_err(TrainingError::Pack)
}

/// Another model (the shared prior; the model of all career programs) with its level moved to a company's (or one program's)
/// own rate, as far as its history speaks: for those too small for a model of their own. The rate of observed to expected events is shrunk towards one (the posterior mean
/// of a rate under a gamma prior worth `DOUBT_EVENTS` events).
///
/// # Errors
/// When there is too little history even for that.
pub fn adapt(prior: &Artifact, dataset: &Dataset, options: &Options) -> Result<Artifact, TrainingError> {
    let months: Vec<Judged> = dataset
        .labelled(Window::Month)
        .map(|(row, y)| {
            (
                prior
                    .hazard
                    .probability(&row.x, row.cutoff, crate::artifact::MONTH_DAYS),
                y,
            )
        })
        .collect();
    if months.len() < ADAPT_MONTHS_MIN {
        return Err(TrainingError::NotEnoughHistory { have: months.len() });
    }
    let observed = months.iter().filter(|(_, y)| *y).count() as f64;
    let expected: f64 = months.iter().map(|(p, _)| p).sum();
    let hazard = Hazard {
        shift: nine_decimals(((observed + DOUBT_EVENTS) / (expected + DOUBT_EVENTS)).ln()),
        ..prior.hazard.clone()
    };
    // Judged by the same rows that moved its level: there are no others. The card says so.
    let mut evaluation = evaluate(&hazard, dataset, dataset, options);
    evaluation.shared_prior = shared_prior(options, dataset);
    let origin = Origin::Adapted {
        from: prior.version.clone(),
    };
    let card = card(
        options,
        dataset,
        &hazard,
        (prior.card.learner, origin),
        (evaluation, Vec::new()),
    );
    Artifact::new(card, hazard, levels(dataset, options)).map_err(TrainingError::Pack)
}

/// What the model compares pay with; a model for other companies compares none.
fn levels(dataset: &Dataset, options: &Options) -> PayLevels {
    if options.pooled_prior {
        PayLevels::default()
    } else {
        dataset.pay_levels.clone()
    }
}

/// No feature may know by itself to whom it comes next.
fn refuse_leaks(dataset: &Dataset) -> Result<(), TrainingError> {
    let (table, outcomes) = dataset.table(Window::Month, &[]);
    for ((input, values), feature) in table.inputs.iter().zip(&table.columns).zip(FEATURES) {
        if let Some(auc) = table::alone(input, values, &outcomes).filter(|auc| *auc >= LEAK_AUC) {
            return Err(TrainingError::Leak {
                feature: feature.name,
                auc,
            });
        }
    }
    Ok(())
}

/// The kinds of models that this many rows can be tried with.
fn learners(options: &Options, train: &Dataset) -> Vec<Learner> {
    let rows = train.labelled(Window::Month).count();
    let fits = |learner: &Learner| *learner != Learner::Forest || rows <= FOREST_ROWS_MAX;
    let mut learners: Vec<Learner> = options.learners.iter().copied().filter(fits).collect();
    learners.sort_unstable();
    learners
}

/// A kind of model that learnt from the earlier part.
struct Trial {
    learner: Learner,
    alpha: f64,
    hazard: Hazard,
    /// What it says of the later part.
    judged: Vec<Judged>,
}

impl Trial {
    fn run(learner: Learner, train: &Dataset, test: &Dataset, options: &Options) -> Result<Self, TrainingError> {
        let inner = forward(train, options.horizon_days);
        let mut alpha = crate::model::ALPHA_DEFAULT;
        let mut horizons = Vec::new();
        if let Some((earlier, later)) = &inner {
            let mut earlier_model = fit(learner, earlier, options, alpha)?;
            if learner == Learner::Logistic {
                let mut least = f64::INFINITY;
                for candidate in ALPHAS {
                    let model = fit(learner, earlier, options, candidate)?;
                    let loss = metrics::log_loss(&judge_months(&model, later));
                    // Of equal ones the larger, which makes the simpler model.
                    if loss <= least {
                        (least, alpha, earlier_model) = (loss, candidate, model);
                    }
                }
            }
            let hazard = Hazard {
                persistence: persistence::of(&earlier_model, earlier),
                model: earlier_model,
                shift: 0.0,
                horizons: Vec::new(),
            };
            horizons = calibrate(&hazard, later);
        }
        let model = fit(learner, train, options, alpha)?;
        let hazard = Hazard {
            persistence: persistence::of(&model, train),
            model,
            shift: 0.0,
            horizons,
        };
        let judged = judge(&hazard, test, options.horizon_days);
        Ok(Self {
            learner,
            alpha,
            hazard,
            judged,
        })
    }
}

/// What a model's hazards come to over longer times, held against rows that it has not learnt from.
fn calibrate(hazard: &Hazard, later: &Dataset) -> Vec<Horizon> {
    let hazard = Hazard {
        horizons: Vec::new(),
        ..hazard.clone()
    };
    let horizon = |days: u16| {
        let judged = judge(&hazard, later, days)
            .into_iter()
            .map(|(p, y)| (log_odds_of(p), y));
        Horizon {
            days,
            calibration: level(&judged.collect::<Vec<_>>()),
        }
    };
    HORIZONS_DAYS.map(horizon).into()
}

/// A straight line, shrunk towards the one that changes nothing: rows of overlapping windows repeat each other, and the next
/// months may be others than the last.
fn level(judged: &[(f64, bool)]) -> Calibration {
    let positives = judged.iter().filter(|(_, y)| *y).count() as f64;
    if positives < TEST_CASES_MIN as f64 {
        return Calibration::None;
    }
    match Calibration::platt(judged) {
        Calibration::Platt { slope, intercept } => {
            let trust = positives / (positives + 10.0 * DOUBT_EVENTS);
            Calibration::Platt {
                slope: nine_decimals(1.0 + trust * (slope - 1.0)),
                intercept: nine_decimals(trust * intercept),
            }
        }
        other @ (Calibration::None | Calibration::Beta { .. } | Calibration::Isotonic(_)) => other,
    }
}

/// The champion is the simplest kind of model whose log loss is within one standard error of the best one's. The error is
/// that of the paired difference, over people: one person's rows stand or fall together.
fn choose(trials: &[Trial], test: &Dataset, options: &Options) -> Vec<Candidate> {
    let people: Vec<_> = test
        .labelled(Window::Days(options.horizon_days))
        .map(|(row, _)| row.employee)
        .collect();
    let losses: Vec<Vec<f64>> = trials.iter().map(|trial| losses(&trial.judged)).collect();
    let mean = |losses: &Vec<f64>| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let best = (0..trials.len())
        .min_by(|a, b| mean(&losses[*a]).total_cmp(&mean(&losses[*b])))
        .unwrap_or(0);
    let mut candidates: Vec<Candidate> = trials
        .iter()
        .zip(&losses)
        .map(|(trial, of)| {
            let mut by_person = std::collections::BTreeMap::new();
            for ((person, loss), least) in people.iter().zip(of).zip(&losses[best]) {
                *by_person.entry(*person).or_insert(0.0) += loss - least;
            }
            let (n, behind) = (of.len().max(1) as f64, mean(of) - mean(&losses[best]));
            let squares: f64 = by_person.values().map(|sum| sum * sum).sum();
            Candidate {
                learner: trial.learner,
                champion: false,
                auc: metrics::roc_auc(&trial.judged).map(nine_decimals),
                brier: nine_decimals(metrics::brier(&trial.judged)),
                log_loss: nine_decimals(mean(of)),
                calibration_error: nine_decimals(metrics::expected_calibration_error(&metrics::reliability(
                    &trial.judged,
                ))),
                behind: nine_decimals(behind),
                standard_error: nine_decimals(squares.sqrt() / n),
            }
        })
        .collect();
    if let Some(champion) = candidates
        .iter_mut()
        .find(|candidate| candidate.behind <= candidate.standard_error)
    {
        champion.champion = true;
    }
    candidates
}

fn losses(judged: &[Judged]) -> Vec<f64> {
    judged
        .iter()
        .map(|one| metrics::log_loss(std::slice::from_ref(one)))
        .collect()
}

/// The latest cut-offs to test on and what was known before them: as many of the former as leave enough of the latter.
fn forward(dataset: &Dataset, horizon_days: u16) -> Option<(Dataset, Dataset)> {
    let window = Window::Days(horizon_days);
    let cutoffs = dataset.labelled_cutoffs(window);
    let most = (cutoffs.len() as f64 * TEST_SHARE).ceil() as usize;
    (1..=most)
        .rev()
        .map(|count| cutoffs[cutoffs.len() - count])
        .map(|from| (dataset.before(from), dataset.from(from)))
        .find(|(train, test)| train.cases(Window::Month) >= TRAIN_CASES_MIN && test.cases(window) >= TEST_CASES_MIN)
}

fn fit(learner: Learner, rows: &Dataset, options: &Options, alpha: f64) -> Result<Model, TrainingError> {
    let (mut table, mut outcomes) = rows.table(Window::Month, &options.exclusions());
    if learner == Learner::Logistic && outcomes.len() > LOGISTIC_ROWS_MAX {
        let mut sample: Vec<usize> = (0..outcomes.len()).collect();
        Random::seeded(options.seed).shuffle(&mut sample);
        sample.truncate(LOGISTIC_ROWS_MAX);
        sample.sort_unstable();
        outcomes = sample.iter().map(|row| outcomes[*row]).collect();
        table = table.take(&sample);
    }
    learner
        .fit(&table, &outcomes, &options.fitting(alpha))
        .map_err(TrainingError::Fit)
}

/// The hazards of the labelled months, beside what happened.
fn judge_months(model: &Model, rows: &Dataset) -> Vec<Judged> {
    rows.labelled(Window::Month)
        .map(|(row, y)| (model.probability(&row.x), y))
        .collect()
}

/// The probabilities for the rows whose outcome within the horizon is known, beside what happened.
#[must_use]
pub fn judge(hazard: &Hazard, rows: &Dataset, horizon_days: u16) -> Vec<Judged> {
    let labelled = rows.labelled(Window::Days(horizon_days));
    labelled
        .map(|(row, y)| (hazard.probability(&row.x, row.cutoff, horizon_days), y))
        .collect()
}

/// How well `hazard`, learnt from `train`, tells what came in `test`.
#[must_use]
pub fn evaluate(hazard: &Hazard, train: &Dataset, test: &Dataset, options: &Options) -> Evaluation {
    let window = Window::Days(options.horizon_days);
    let judged = judge(hazard, test, options.horizon_days);
    let months = train.labelled(Window::Month).filter(|(_, y)| *y).count() as f64
        / train.labelled(Window::Month).count().max(1) as f64;
    let base_rate = 1.0 - (1.0 - months).powi(i32::from(options.horizon_days / crate::artifact::MONTH_DAYS));
    let constant: Vec<Judged> = judged.iter().map(|(_, y)| (base_rate, *y)).collect();
    let people = test.labelled(window).map(|(row, _)| row.employee);
    let clustered: Vec<_> = people.zip(judged.iter().copied()).collect();
    let draws = if judged.len() > 50_000 {
        metrics::DRAWS / 10
    } else {
        metrics::DRAWS
    };
    Evaluation {
        test_from: test.rows.first().map(|row| row.cutoff).unwrap_or_default(),
        horizon_days: options.horizon_days,
        test_rows: judged.len(),
        test_positives: judged.iter().filter(|(_, y)| *y).count(),
        test_people: test.people(window),
        auc: metrics::roc_auc(&judged),
        pr_auc: metrics::pr_auc(&judged),
        brier: metrics::brier(&judged),
        brier_base_rate: metrics::brier(&constant),
        log_loss: metrics::log_loss(&judged),
        calibration_error: metrics::expected_calibration_error(&metrics::reliability(&judged)),
        lift_top_tenth: metrics::lift(&judged, 0.1),
        observed_over_expected: metrics::observed_over_expected(&judged),
        recalibration: metrics::recalibration(&judged),
        intervals: metrics::intervals(&clustered, draws, &mut Random::seeded(options.seed)),
        reliability: metrics::reliability(&judged),
        shared_prior: None,
    }
}

/// The shared prior on the same rows, where it answers the same question.
fn shared_prior(options: &Options, test: &Dataset) -> Option<Rival> {
    let is_ours = !options.pooled_prior && test.target == Target::Notice;
    let prior = prior::prior().ok().filter(|_| is_ours)?;
    let judged = judge(&prior.hazard, test, options.horizon_days);
    Some(Rival {
        version: prior.version,
        auc: metrics::roc_auc(&judged),
        brier: metrics::brier(&judged),
    })
}

/// How far each feature moves the log-odds on average over rows of all months, most first; what moves nothing is left out.
fn importance(hazard: &Hazard, dataset: &Dataset) -> Vec<(String, f64)> {
    const ROWS: usize = 2_000;
    let sample: Vec<_> = dataset
        .rows
        .iter()
        .step_by(dataset.rows.len().div_ceil(ROWS).max(1))
        .collect();
    let mut sums = vec![0.0; FEATURES.len()];
    for row in &sample {
        for (input, part) in hazard.model.predict(&row.x).contributions {
            sums[input] += part.abs() / sample.len() as f64;
        }
    }
    let named = FEATURES
        .iter()
        .zip(sums)
        .map(|(feature, sum)| (feature.name.to_owned(), nine_decimals(sum)));
    let mut importance: Vec<(String, f64)> = named.filter(|(_, sum)| *sum > 0.0).collect();
    importance.sort_by(|a, b| b.1.total_cmp(&a.1));
    importance
}

fn card(
    options: &Options,
    dataset: &Dataset,
    hazard: &Hazard,
    (learner, origin): (Learner, Origin),
    (evaluation, candidates): (Evaluation, Vec<Candidate>),
) -> ModelCard {
    let cutoffs = dataset.labelled_cutoffs(Window::Month);
    let used: Vec<FeatureId> = hazard.model.inputs().into_iter().filter_map(FeatureId::at).collect();
    let names = |of: &mut dyn Iterator<Item = FeatureId>| of.map(String::from).collect();
    ModelCard {
        target: dataset.target.clone(),
        usual: usual(dataset, options.horizon_days),
        learner,
        feature_set: FEATURE_SET,
        trained_at: options.trained_at,
        code_version: options.code_version.clone(),
        data: DataWindow {
            first_cutoff: cutoffs.first().copied().unwrap_or_default(),
            last_cutoff: cutoffs.last().copied().unwrap_or_default(),
            known_until: options.today,
            log_position: options.log_position,
            rows: dataset.labelled(Window::Month).count(),
            positives: dataset.labelled(Window::Month).filter(|(_, y)| *y).count(),
            people: dataset.people(Window::Month),
            cases: dataset.cases(Window::Month),
        },
        features: names(&mut used.iter().copied()),
        exclusions: names(&mut FeatureId::all().filter(|id| !used.contains(id))),
        label: label(&dataset.target, options.horizon_days),
        horizon_days: options.horizon_days,
        seed: options.seed,
        limits: limits(&dataset.target, &origin, &evaluation, &candidates),
        importance: importance(hazard, dataset),
        origin,
        evaluation,
        candidates,
    }
}

/// The rate of the event within the horizon.
fn usual(dataset: &Dataset, horizon_days: u16) -> f64 {
    let (mut n, mut came) = (0usize, 0usize);
    for (_, y) in dataset.labelled(Window::Days(horizon_days)) {
        n += 1;
        came += usize::from(y);
    }
    nine_decimals(came as f64 / n.max(1) as f64)
}

fn label(target: &Target, horizon_days: u16) -> String {
    match target {
        Target::Notice => format!(
            "voluntary notice (or, without one on record, voluntary exit), learnt month by month, told for {horizon_days} days \
             after the cut-off; other exits censor; windows that are still open are unknown; on notice, not employed or \
             objecting: not at risk"
        ),
        Target::Promotion { name, .. } => format!(
            "a job title that {name} leads to, for those who have one that it starts from, learnt month by month, told for \
             {horizon_days} days after the cut-off; notice, exits and moves to other jobs censor; windows that are still open are \
             unknown; on notice, not employed or objecting: no candidate"
        ),
    }
}

fn limits(target: &Target, origin: &Origin, evaluation: &Evaluation, candidates: &[Candidate]) -> Vec<String> {
    let mut limits = vec![
        "A score is a probability for people like this one, not knowledge of this person; contributions tell what goes along \
         with it, not why."
            .to_owned(),
        "Protected attributes are never inputs; what goes along with them may be (pay, hours, leave): look at the fairness report."
            .to_owned(),
        "One event counts at every cut-off that has it in its window, so test rows are not independent; the intervals draw people, \
         not rows, for that reason."
            .to_owned(),
    ];
    if matches!(target, Target::Promotion { .. }) {
        limits.push(
            "It has learnt who was promoted here, which is not who deserved to be: where promotions were unfair, it repeats that. \
             No decision on a promotion may rest on it alone."
                .to_owned(),
        );
    }
    match origin {
        Origin::Pooled => limits.push(
            "Trained on invented histories, not on any company's: it ranks by common patterns, and its level is that of some \
             13 % of voluntary exits a year."
                .to_owned(),
        ),
        Origin::Adapted { from } => limits.push(format!(
            "There is too little history for a model of its own: this is {from}, with its level moved to the rate here. It was \
             judged by the months that moved it."
        )),
        Origin::Own => {}
    }
    let of = |learner: Learner| candidates.iter().find(|candidate| candidate.learner == learner);
    let champion = candidates.iter().find(|candidate| candidate.champion);
    if let (Some(champion), Some(ceiling)) = (champion, of(Learner::Boosted))
        && champion.learner != Learner::Boosted
        && let (Some(ours), Some(theirs)) = (champion.auc, ceiling.auc)
    {
        limits.push(format!(
            "What the glass box costs: boosted trees on the same rows have an AUC of {theirs:.4} and a Brier score of {:.4}, this \
             model {ours:.4} and {:.4}.",
            ceiling.brier, champion.brier
        ));
    }
    if !evaluation.beats_base_rate() {
        let constant = evaluation.brier_base_rate;
        limits.push(format!(
            "Forward in time it was no better than the plain rate (Brier {constant:.4}): do not promote it."
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
