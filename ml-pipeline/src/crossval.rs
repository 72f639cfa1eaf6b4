//! How good the models are on a table: the same splits for all of them, every row judged by a model that has not seen it.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use crate::{
    metrics::{self, Judged},
    model::{FitError, Fitting, Learner, Model, additive::in_threads},
    synthetic::{Random, optimum},
    table::Read,
};

/// Into how many parts one file is split to choose a champion within it.
const CHAMPION_FOLDS: usize = 5;
/// Of more rows than this, one part is enough.
const CHAMPION_FOLD_ROWS_MAX: usize = 20_000;

/// How rows are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Folds with the same share of positive outcomes each.
    Stratified,
    /// Folds that keep groups together.
    Grouped,
    /// Learn from what is earlier, judge by what is later.
    Forward,
}

/// One way to split the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub repeat: usize,
    pub fold: usize,
    pub learn: Vec<usize>,
    pub judge: Vec<usize>,
}

/// How to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub learners: Vec<Learner>,
    pub folds: usize,
    pub repeats: usize,
    pub seed: u64,
    pub threads: usize,
}

/// A figure over splits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    pub mean: f64,
    pub sd: f64,
}

/// One kind of model, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    pub model: Learner,
    pub champion: bool,
    pub roc_auc: Figure,
    pub pr_auc: Figure,
    pub brier: Figure,
    pub log_loss: Figure,
    pub lift_top_tenth: Figure,
    /// Over ten bins of equal mass, of all rows of a repeat together; the mean over repeats.
    pub ece: f64,
    pub observed_over_expected: f64,
    pub fit_seconds: f64,
    pub predict_seconds_per_100k: f64,
    /// By row that was judged, in order: the mean over repeats.
    #[serde(skip)]
    pub log_losses: Vec<f64>,
}

/// All models on the same splits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub scheme: Scheme,
    pub rows: usize,
    pub positives: usize,
    pub repeats: usize,
    pub folds: usize,
    pub models: Vec<Judgement>,
}

/// One kind of model, judged by rows of another file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOut {
    pub model: Learner,
    /// Chosen within the rows that were learnt from.
    pub champion: bool,
    pub roc_auc: Option<f64>,
    pub pr_auc: Option<f64>,
    pub brier: f64,
    pub log_loss: f64,
    pub ece: f64,
    pub lift_top_tenth: Option<f64>,
    pub observed_over_expected: Option<f64>,
    /// What is missing to the best ROC-AUC that anybody could have, if the truth is known.
    pub regret: Option<f64>,
    /// The mean squared distance of the probabilities from the true ones, if those are known.
    pub excess_brier: Option<f64>,
    pub fit_seconds: f64,
    pub predict_seconds_per_100k: f64,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("the {model} model could not be fitted")]
    Fit {
        model: &'static str,
        #[source]
        cause: FitError,
    },
    #[error("there are {have} groups: it takes at least {folds} for {folds} folds")]
    TooFewGroups { have: usize, folds: usize },
    #[error("there are {have} points in time: it takes at least 2 to learn from one and be judged by the other")]
    TooFewTimes { have: usize },
    #[error("of the rarer outcome there are {have} rows, too few for {folds} folds: ask for fewer with --folds")]
    TooFewOutcomes { have: usize, folds: usize },
    #[error("there must be at least 2 folds and 1 repeat")]
    NoFolds,
    #[error("split {fold} has one outcome only on one of its sides: ask for fewer folds with --folds")]
    OneOutcome { fold: usize },
}

/// The splits of a table: forward if it has times, else by groups if it has them, else stratified. Drawn from `seed`.
///
/// # Errors
/// When there are too few rows, groups or points in time for it.
pub fn splits(read: &Read, folds: usize, repeats: usize, seed: u64) -> Result<(Scheme, Vec<Split>), CompareError> {
    if folds < 2 || repeats < 1 {
        return Err(CompareError::NoFolds);
    }
    let (scheme, splits) = match (&read.times, &read.groups) {
        (Some(times), _) => (Scheme::Forward, forward(times, folds)?),
        (None, Some(groups)) => (Scheme::Grouped, grouped(groups, folds, repeats, seed)?),
        (None, None) => (Scheme::Stratified, stratified(&read.outcomes, folds, repeats, seed)?),
    };
    for split in &splits {
        for side in [&split.learn, &split.judge] {
            let positives = side.iter().filter(|row| read.outcomes[**row]).count();
            if positives == 0 || positives == side.len() {
                return Err(CompareError::OneOutcome { fold: split.fold });
            }
        }
    }
    Ok((scheme, splits))
}

fn stratified(outcomes: &[bool], folds: usize, repeats: usize, seed: u64) -> Result<Vec<Split>, CompareError> {
    let positives = outcomes.iter().filter(|y| **y).count();
    let have = positives.min(outcomes.len() - positives);
    if have < folds {
        return Err(CompareError::TooFewOutcomes { have, folds });
    }
    let mut splits = Vec::new();
    for repeat in 0..repeats {
        let mut random = Random::seeded(seed.wrapping_add(repeat as u64));
        let mut fold_of = vec![0; outcomes.len()];
        for class in [true, false] {
            let mut rows: Vec<usize> = (0..outcomes.len()).filter(|row| outcomes[*row] == class).collect();
            random.shuffle(&mut rows);
            for (place, row) in rows.into_iter().enumerate() {
                fold_of[row] = place % folds;
            }
        }
        splits.extend(by_fold(repeat, folds, &fold_of));
    }
    Ok(splits)
}

/// Groups in a random order, each to the fold that has the fewest rows.
fn grouped(groups: &[String], folds: usize, repeats: usize, seed: u64) -> Result<Vec<Split>, CompareError> {
    let mut rows_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        rows_of.entry(group).or_default().push(row);
    }
    if rows_of.len() < folds {
        return Err(CompareError::TooFewGroups {
            have: rows_of.len(),
            folds,
        });
    }
    let mut splits = Vec::new();
    for repeat in 0..repeats {
        let mut order: Vec<&Vec<usize>> = rows_of.values().collect();
        Random::seeded(seed.wrapping_add(repeat as u64)).shuffle(&mut order);
        let (mut sizes, mut fold_of) = (vec![0; folds], vec![0; groups.len()]);
        for rows in order {
            let smallest = (0..folds).min_by_key(|fold| sizes[*fold]).unwrap_or(0);
            sizes[smallest] += rows.len();
            for row in rows {
                fold_of[*row] = smallest;
            }
        }
        splits.extend(by_fold(repeat, folds, &fold_of));
    }
    Ok(splits)
}

fn by_fold(repeat: usize, folds: usize, fold_of: &[usize]) -> Vec<Split> {
    let split = |fold: usize| {
        let (judge, learn) = (0..fold_of.len()).partition(|row| fold_of[*row] == fold);
        Split {
            repeat,
            fold,
            learn,
            judge,
        }
    };
    (0..folds).map(split).collect()
}

/// `folds` later parts of about the same number of rows, each judged by what was learnt from everything before it. Rows of
/// one point in time stay together.
fn forward(times: &[f64], folds: usize) -> Result<Vec<Split>, CompareError> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    if distinct.len() < 2 {
        return Err(CompareError::TooFewTimes { have: distinct.len() });
    }
    let mut starts: Vec<f64> = (1..=folds)
        .map(|part| sorted[part * sorted.len() / (folds + 1)])
        .collect();
    starts.retain(|start| *start > sorted[0]);
    starts.dedup();
    if starts.is_empty() {
        starts.push(distinct[1]);
    }
    let ends = starts.iter().skip(1).copied().chain([f64::INFINITY]);
    let split = |(fold, (start, end)): (usize, (f64, f64))| Split {
        repeat: 0,
        fold,
        learn: (0..times.len()).filter(|row| times[*row] < start).collect(),
        judge: (0..times.len())
            .filter(|row| times[*row] >= start && times[*row] < end)
            .collect(),
    };
    Ok(starts.iter().copied().zip(ends).enumerate().map(split).collect())
}

/// What one model made of one split.
struct Outcome {
    judged: Vec<Judged>,
    fit_seconds: f64,
    predict_seconds: f64,
}

/// Fits every kind of model to every split. `progress` is told how many of how many fits are done.
///
/// # Errors
/// When a model cannot be fitted.
pub fn compare(
    read: &Read,
    scheme: Scheme,
    splits: &[Split],
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Comparison, CompareError> {
    let total = splits.len() * options.learners.len();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let mut models = Vec::new();
    for learner in &options.learners {
        let outcomes = in_threads(options.threads, splits.iter().collect(), |split: &Split| {
            let outcome = judge(read, split, *learner, options.seed);
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            outcome
        });
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        let outcomes = outcomes.map_err(|cause| CompareError::Fit {
            model: learner.name(),
            cause,
        })?;
        models.push(judgement(*learner, splits, &outcomes));
    }
    crown(&mut models);
    Ok(Comparison {
        scheme,
        rows: read.table.len(),
        positives: read.outcomes.iter().filter(|y| **y).count(),
        repeats: splits.last().map_or(0, |split| split.repeat + 1),
        folds: splits.iter().map(|split| split.fold + 1).max().unwrap_or(0),
        models,
    })
}

fn judge(read: &Read, split: &Split, learner: Learner, seed: u64) -> Result<Outcome, FitError> {
    let outcomes = |rows: &[usize]| rows.iter().map(|row| read.outcomes[*row]).collect::<Vec<_>>();
    let (table, learnt) = (read.table.take(&split.learn), outcomes(&split.learn));
    let started = Instant::now();
    let fitting = Fitting {
        seed,
        ..Fitting::default()
    };
    let model = learner.fit(&table, &learnt, &fitting)?;
    let fit_seconds = started.elapsed().as_secs_f64();
    let table = read.table.take(&split.judge);
    let started = Instant::now();
    let probabilities = model.probabilities(&table, 1);
    Ok(Outcome {
        judged: probabilities.into_iter().zip(outcomes(&split.judge)).collect(),
        fit_seconds,
        predict_seconds: started.elapsed().as_secs_f64(),
    })
}

fn judgement(model: Learner, splits: &[Split], outcomes: &[Outcome]) -> Judgement {
    let over =
        |of: &dyn Fn(&[Judged]) -> f64| figure(&outcomes.iter().map(|outcome| of(&outcome.judged)).collect::<Vec<_>>());
    let mut pooled: BTreeMap<usize, Vec<Judged>> = BTreeMap::new();
    for (split, outcome) in splits.iter().zip(outcomes) {
        pooled.entry(split.repeat).or_default().extend(&outcome.judged);
    }
    let over_repeats =
        |of: &dyn Fn(&[Judged]) -> f64| pooled.values().map(|judged| of(judged)).sum::<f64>() / pooled.len() as f64;
    let n = outcomes.len() as f64;
    let rows: usize = outcomes.iter().map(|outcome| outcome.judged.len()).sum();
    Judgement {
        model,
        champion: false,
        roc_auc: over(&|judged| metrics::roc_auc(judged).unwrap_or(f64::NAN)),
        pr_auc: over(&|judged| metrics::pr_auc(judged).unwrap_or(f64::NAN)),
        brier: over(&metrics::brier),
        log_loss: over(&metrics::log_loss),
        lift_top_tenth: over(&|judged| metrics::lift(judged, 0.1).unwrap_or(f64::NAN)),
        ece: over_repeats(&|judged| metrics::expected_calibration_error(&metrics::reliability(judged))),
        observed_over_expected: over_repeats(&|judged| metrics::observed_over_expected(judged).unwrap_or(f64::NAN)),
        fit_seconds: outcomes.iter().map(|outcome| outcome.fit_seconds).sum::<f64>() / n,
        predict_seconds_per_100k: outcomes.iter().map(|outcome| outcome.predict_seconds).sum::<f64>() / rows as f64
            * 1e5,
        log_losses: row_losses(splits, outcomes),
    }
}

fn row_losses(splits: &[Split], outcomes: &[Outcome]) -> Vec<f64> {
    let mut losses: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (split, outcome) in splits.iter().zip(outcomes) {
        for (row, judged) in split.judge.iter().zip(&outcome.judged) {
            let (sum, n) = losses.entry(*row).or_default();
            *sum += metrics::log_loss(std::slice::from_ref(judged));
            *n += 1.0;
        }
    }
    losses.into_values().map(|(sum, n)| sum / n).collect()
}

fn figure(values: &[f64]) -> Figure {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Figure {
        mean,
        sd: variance.sqrt(),
    }
}

/// The champion is the simplest model whose log loss is within one standard error of the best one's, row by row
/// (Breiman et al., 1984, section 3.4.3, on paired differences).
fn crown(models: &mut [Judgement]) {
    let Some(best) = models.iter().min_by(|a, b| a.log_loss.mean.total_cmp(&b.log_loss.mean)) else {
        return;
    };
    let best = best.log_losses.clone();
    let within = |model: &Judgement| {
        let differences: Vec<f64> = model
            .log_losses
            .iter()
            .zip(&best)
            .map(|(loss, best)| loss - best)
            .collect();
        let Figure { mean, sd } = figure(&differences);
        mean <= sd / (differences.len() as f64).sqrt()
    };
    let champion = models
        .iter()
        .filter(|model| within(model))
        .map(|model| model.model)
        .min();
    for model in models {
        model.champion = Some(model.model) == champion;
    }
}

/// The champion within one file: by folds, or of many rows by one split.
fn champion(read: &Read, options: &Options) -> Result<Option<Learner>, CompareError> {
    if options.learners.len() < 2 {
        return Ok(options.learners.first().copied());
    }
    let (scheme, mut splits) = splits(read, CHAMPION_FOLDS, 1, options.seed)?;
    if read.table.len() > CHAMPION_FOLD_ROWS_MAX {
        splits.truncate(1);
    }
    let comparison = compare(read, scheme, &splits, options, &|_, _| {})?;
    Ok(comparison
        .models
        .iter()
        .find(|model| model.champion)
        .map(|model| model.model))
}

/// Fits every kind of model to one file and judges it by another, with all threads for one model after the other.
///
/// # Errors
/// When a model cannot be fitted.
pub fn hold_out(
    read: &Read,
    test: &Read,
    options: &Options,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<(HeldOut, Model)>, CompareError> {
    let champion = champion(read, options)?;
    let mut models = Vec::new();
    for (index, learner) in options.learners.iter().enumerate() {
        progress(index, options.learners.len());
        let fitting = Fitting {
            seed: options.seed,
            threads: options.threads,
            ..Fitting::default()
        };
        let started = Instant::now();
        let model = learner
            .fit(&read.table, &read.outcomes, &fitting)
            .map_err(|cause| CompareError::Fit {
                model: learner.name(),
                cause,
            })?;
        let fit_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let probabilities = model.probabilities(&test.table, options.threads);
        let predict_seconds = started.elapsed().as_secs_f64();
        let judged: Vec<Judged> = probabilities
            .iter()
            .copied()
            .zip(test.outcomes.iter().copied())
            .collect();
        let held_out = HeldOut {
            model: *learner,
            champion: Some(*learner) == champion,
            roc_auc: metrics::roc_auc(&judged),
            pr_auc: metrics::pr_auc(&judged),
            brier: metrics::brier(&judged),
            log_loss: metrics::log_loss(&judged),
            ece: metrics::expected_calibration_error(&metrics::reliability(&judged)),
            lift_top_tenth: metrics::lift(&judged, 0.1),
            observed_over_expected: metrics::observed_over_expected(&judged),
            regret: test
                .truth
                .as_ref()
                .and_then(|truth| optimum::regret(&probabilities, truth)),
            excess_brier: test
                .truth
                .as_ref()
                .map(|truth| optimum::excess_brier(&probabilities, truth)),
            fit_seconds,
            predict_seconds_per_100k: predict_seconds / test.table.len() as f64 * 1e5,
        };
        models.push((held_out, model));
    }
    progress(options.learners.len(), options.learners.len());
    Ok(models)
}

#[cfg(test)]
mod tests;
