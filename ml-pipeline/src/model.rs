//! What turns a row of inputs into a probability and the reasons for it.

pub mod additive;
pub mod bins;
pub mod boosted;
pub mod calibration;
pub mod forest;
mod gradient;
pub mod logistic;
pub mod tree;

use serde::{Deserialize, Serialize};

pub use additive::Additive;
pub use boosted::Boosted;
pub use calibration::Calibration;
pub use forest::Forest;
pub use logistic::Logistic;

use self::tree::Compact;
use crate::table::Table;

/// A model: what makes log-odds out of a row, and what makes a probability out of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub form: Form,
    #[serde(default)]
    pub calibration: Calibration,
}

/// Every kind of model. All of them explain themselves in the same way, additively in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Form {
    Logistic(Logistic),
    Additive(Additive),
    Forest(Forest),
    Boosted(Boosted),
}

/// What learns models. In order of simplicity: of equally good ones the first is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learner {
    Logistic,
    Additive,
    AdditivePairs,
    Boosted,
    Forest,
}

/// The most pairs of the additive model with pairs: more than people would look at helps no table that was tried.
pub const PAIRS_MAX: usize = 10;

impl Learner {
    pub const ALL: [Self; 5] = [
        Self::Logistic,
        Self::Additive,
        Self::AdditivePairs,
        Self::Boosted,
        Self::Forest,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Additive => "additive",
            Self::AdditivePairs => "additive-pairs",
            Self::Boosted => "boosted",
            Self::Forest => "forest",
        }
    }

    /// Fits rows to their outcomes. The same seed gives the same model, on any number of threads.
    ///
    /// # Errors
    /// When all outcomes are the same, no input varies, or a solver fails.
    pub fn fit(self, table: &Table, outcomes: &[bool], fitting: &Fitting) -> Result<Model, FitError> {
        let additive = |pairs: usize| {
            let fitting = additive::Fitting {
                seed: fitting.seed,
                pairs,
                threads: fitting.threads,
            };
            additive::fit(table, outcomes, &fitting)
                .map(|(form, calibration)| Model::new(Form::Additive(form), calibration))
        };
        match self {
            Self::Logistic => {
                let fitting = logistic::Fitting {
                    alpha: fitting.alpha,
                    missing_flags: fitting.missing_flags,
                };
                Logistic::fit(table, outcomes, &fitting).map(|form| Model::new(Form::Logistic(form), Calibration::None))
            }
            Self::Additive => additive(0),
            Self::AdditivePairs => additive(PAIRS_MAX),
            Self::Boosted => Boosted::fit(table, outcomes, fitting.seed)
                .map(|form| Model::new(Form::Boosted(form), Calibration::None)),
            Self::Forest => Forest::fit(table, outcomes, fitting.seed, fitting.threads)
                .map(|(form, calibration)| Model::new(Form::Forest(form), calibration)),
        }
    }
}

/// How to fit, whatever the learner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitting {
    pub seed: u64,
    pub threads: usize,
    /// Of the logistic regression: the weight of its penalty.
    pub alpha: f64,
    /// Of the logistic regression: whether it may matter that a value is missing.
    pub missing_flags: bool,
}

/// The usual penalty of the logistic regression, as scikit-learn's C = 0.1.
pub const ALPHA_DEFAULT: f64 = 10.0;

impl Default for Fitting {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 1,
            alpha: ALPHA_DEFAULT,
            missing_flags: true,
        }
    }
}

/// A probability with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Of the outcome: for people, of voluntary notice within the horizon.
    pub probability: f64,
    /// `base` plus all contributions; what the model's calibration makes a probability of.
    pub log_odds: f64,
    /// The log-odds of somebody who is average in everything.
    pub base: f64,
    /// By feature index, in that order: how far this person's value moves the log-odds away from the average person's.
    /// Features that the model does not use are left out.
    pub contributions: Vec<(usize, f64)>,
}

impl Prediction {
    /// Puts a prediction together from its additive parts.
    fn from_parts(base: f64, contributions: Vec<(usize, f64)>) -> Self {
        let log_odds = contributions.iter().fold(base, |sum, (_, part)| sum + part);
        Self {
            probability: probability(log_odds),
            log_odds,
            base,
            contributions,
        }
    }
}

impl Model {
    #[must_use]
    pub const fn new(form: Form, calibration: Calibration) -> Self {
        Self { form, calibration }
    }

    /// The probability of a row, with its parts.
    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Prediction {
        let prediction = match &self.form {
            Form::Logistic(form) => form.predict(x),
            Form::Additive(form) => form.predict(x),
            Form::Forest(form) => form.predict(x),
            Form::Boosted(form) => form.predict(x),
        };
        Prediction {
            probability: self.calibration.probability(prediction.log_odds),
            ..prediction
        }
    }

    /// The log-odds alone, before calibration, which takes less time.
    #[must_use]
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        match &self.form {
            Form::Logistic(form) => form.log_odds(x),
            Form::Additive(form) => form.log_odds(x),
            Form::Forest(form) => form.log_odds(x),
            Form::Boosted(form) => form.log_odds(x),
        }
    }

    /// The probability alone.
    #[must_use]
    pub fn probability(&self, x: &[f64]) -> f64 {
        self.calibration.probability(self.log_odds(x))
    }

    /// The probability of every row.
    #[must_use]
    pub fn probabilities(&self, table: &Table, threads: usize) -> Vec<f64> {
        let size = table.len().div_ceil(threads.max(1)).max(1);
        let parts: Vec<std::ops::Range<usize>> = (0..table.len())
            .step_by(size)
            .map(|from| from..(from + size).min(table.len()))
            .collect();
        let compact = match &self.form {
            Form::Forest(form) => Some(Compact::of(&form.trees)),
            Form::Boosted(form) => Some(Compact::of(&form.trees)),
            Form::Logistic(_) | Form::Additive(_) => None,
        };
        let of = |rows: std::ops::Range<usize>| match &compact {
            Some(trees) => self.of_trees(trees, table, rows),
            None => {
                let mut x = Vec::with_capacity(table.columns.len());
                let one = |row: usize| {
                    table.row_into(row, &mut x);
                    self.probability(&x)
                };
                rows.map(one).collect::<Vec<f64>>()
            }
        };
        additive::in_threads(threads, parts, of).concat()
    }

    /// The probabilities of some rows, block by block through all trees.
    fn of_trees(&self, trees: &Compact<'_>, table: &Table, rows: std::ops::Range<usize>) -> Vec<f64> {
        const BLOCK: usize = 512;
        let mut probabilities = Vec::with_capacity(rows.len());
        let mut block = vec![Vec::with_capacity(table.columns.len()); BLOCK.min(rows.len())];
        for from in rows.clone().step_by(BLOCK) {
            let count = BLOCK.min(rows.end - from);
            for (x, row) in block.iter_mut().zip(from..from + count) {
                table.row_into(row, x);
            }
            let mut sums = vec![0.0; count];
            trees.add(&block[..count], &mut sums);
            let log_odds = |sum: f64| match &self.form {
                Form::Forest(form) => form.log_odds_of_sum(sum),
                Form::Boosted(form) => form.intercept + sum,
                Form::Logistic(_) | Form::Additive(_) => f64::NAN, // have no trees
            };
            probabilities.extend(sums.into_iter().map(|sum| self.calibration.probability(log_odds(sum))));
        }
        probabilities
    }

    /// The kind's stable name, with which versions begin.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.form {
            Form::Logistic(_) => "logistic",
            Form::Additive(_) => "additive",
            Form::Forest(_) => "forest",
            Form::Boosted(_) => "boosted",
        }
    }

    /// The inputs that the model looks at, by their place in the table.
    #[must_use]
    pub fn inputs(&self) -> Vec<usize> {
        let of_trees = |trees: &[tree::Tree]| -> Vec<usize> {
            let nodes = trees.iter().flat_map(|tree| &tree.nodes);
            nodes.filter_map(|node| Some(node.split.as_ref()?.input)).collect()
        };
        let mut inputs = match &self.form {
            Form::Logistic(model) => model.terms.iter().map(|term| term.input).collect(),
            Form::Additive(model) => {
                let pairs = model.pairs.iter().flat_map(|pair| [pair.inputs.0, pair.inputs.1]);
                model.shapes.iter().map(|shape| shape.input).chain(pairs).collect()
            }
            Form::Forest(model) => of_trees(&model.trees),
            Form::Boosted(model) => of_trees(&model.trees),
        };
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    }
}

/// The probability of these log-odds.
#[must_use]
pub fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Why no model came out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    #[error("there is nothing to tell apart: all rows have the same outcome")]
    OneOutcome,
    #[error("no feature varies")]
    NoColumns,
    #[error("the solver failed: {0}")]
    Solver(String),
    #[error("the solver's result is not a number")]
    NotFinite,
}

/// Nine decimals, fewer from nine million on: enough for any parameter, and few enough that every JSON reader reads back the
/// very same number (fewer than 2^53 units), so that checksums hold.
#[must_use]
pub(crate) fn nine_decimals(value: f64) -> f64 {
    decimals(value, 9, 9e15)
}

/// Twelve digits, wherever the decimal point is, but at most 22 decimals: as nine decimals, for what is on the scale of the inputs,
/// which may be small.
#[must_use]
pub(crate) fn twelve_digits(value: f64) -> f64 {
    decimals(value, 22, 1e12)
}

/// Rounds to as many decimals as keep the number of units below `units`. Powers of ten up to 10^22 are exact, and so is then
/// what reads `units` and scales them.
fn decimals(value: f64, most: i32, units: f64) -> f64 {
    let scaled = |places: i32| {
        if places < 0 {
            value / 10_f64.powi(-places)
        } else {
            value * 10_f64.powi(places)
        }
    };
    // Whole numbers are written with one decimal more than they have.
    let most_units = |places: i32| match places {
        1.. => units,
        0 => units.min(9e14),
        ..0 => units.min(1e13),
    };
    let places = (-22..=most)
        .rev()
        .find(|places| scaled(*places).abs() < most_units(*places));
    match places {
        Some(places) if places < 0 => scaled(places).round() * 10_f64.powi(-places),
        Some(places) => scaled(places).round() / 10_f64.powi(places),
        None => value,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tree_models_tests;
