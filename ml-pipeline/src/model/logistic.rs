//! Logistic regression: smartcore's solver between our own preparation and our own, exactly additive, prediction.

use serde::{Deserialize, Serialize};
use smartcore::{
    linalg::basic::{arrays::Array, matrix::DenseMatrix},
    linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters},
};

use super::{FitError, Prediction, nine_decimals};
use crate::{features::Direction, table::Table};

/// A column that deviates less than this is constant, and dropped.
const DEVIATION_MIN: f64 = 1e-6;

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitting {
    /// The weight of the L2 penalty; smartcore's own default of 0 is none.
    pub alpha: f64,
    /// Whether it may matter that a value is missing. Not in a model for other companies than those it was trained on: there
    /// it mostly says which systems a company has.
    pub missing_flags: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    pub alpha: f64,
    /// The log-odds at the training mean.
    pub intercept: f64,
    pub terms: Vec<Term>,
}

/// One standardised column: its weight is per standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The input's place in the table.
    pub input: usize,
    pub of: TermKind,
    pub weight: f64,
    /// The training mean, which also stands in for a missing value.
    pub mean: f64,
    pub deviation: f64,
}

/// What a column is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TermKind {
    /// The value, kept within what was seen in training: a straight line is not to be trusted beyond.
    Value { least: f64, most: f64 },
    /// 1 if it is this category, else 0.
    Is(usize),
    /// 1 if the value is missing, else 0.
    Missing,
}

impl Logistic {
    /// Fits rows to their outcomes. The classes are never balanced: the score is shown as a probability.
    ///
    /// # Errors
    /// When all outcomes are the same, no input varies, or the solver fails.
    pub fn fit(table: &Table, outcomes: &[bool], fitting: &Fitting) -> Result<Self, FitError> {
        let positives = outcomes.iter().filter(|y| **y).count();
        if positives == 0 || positives == outcomes.len() {
            return Err(FitError::OneOutcome);
        }
        let mut model = Self {
            alpha: fitting.alpha,
            intercept: 0.0,
            terms: prepare(table, fitting),
        };
        if model.terms.is_empty() {
            return Err(FitError::NoColumns);
        }
        let labels: Vec<i32> = outcomes.iter().map(|y| i32::from(*y)).collect();
        // A weight against what is expected is chance or a stand-in for something else: its column goes, until none is left.
        loop {
            model.solve(table, &labels)?;
            let before = model.terms.len();
            model
                .terms
                .retain(|term| !term.is_against(table.inputs[term.input].expected));
            if model.terms.len() == before {
                break;
            }
            if model.terms.is_empty() {
                return Err(FitError::NoColumns);
            }
        }
        Ok(model)
    }

    fn solve(&mut self, table: &Table, labels: &Vec<i32>) -> Result<(), FitError> {
        let width = self.terms.len();
        let mut values = Vec::with_capacity(labels.len() * width);
        for row in 0..labels.len() {
            values.extend(
                self.terms
                    .iter()
                    .map(|term| term.standardised(table.columns[term.input][row])),
            );
        }
        debug_assert!(values.iter().all(|value| value.is_finite()));
        let solution = solve(values, labels.len(), width, labels, self.alpha)?;
        for (term, weight) in self.terms.iter_mut().zip(solution.weights) {
            term.weight = nine_decimals(weight);
        }
        self.intercept = nine_decimals(solution.intercept);
        Ok(())
    }

    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Prediction {
        let mut parts: Vec<(usize, f64)> = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            let part = term.weight * term.standardised(x[term.input]);
            // The terms of one input follow each other.
            match parts.last_mut().filter(|(input, _)| *input == term.input) {
                Some((_, sum)) => *sum += part,
                None => parts.push((term.input, part)),
            }
        }
        Prediction::from_parts(self.intercept, parts)
    }

    /// The log-odds alone.
    #[must_use]
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        let parts = self
            .terms
            .iter()
            .map(|term| term.weight * term.standardised(x[term.input]));
        self.intercept + parts.sum::<f64>()
    }
}

impl Term {
    /// Whether the weight of a value is against what is expected of it.
    fn is_against(&self, expected: Option<Direction>) -> bool {
        let is_value = matches!(self.of, TermKind::Value { .. });
        is_value
            && match expected {
                Some(Direction::Up) => self.weight < 0.0,
                Some(Direction::Down) => self.weight > 0.0,
                None => false,
            }
    }

    fn standardised(&self, value: f64) -> f64 {
        let value = match self.of {
            TermKind::Value { least, most } if value.is_finite() => value.clamp(least, most),
            TermKind::Value { .. } => return 0.0,
            TermKind::Is(category) => flag(value == category as f64),
            TermKind::Missing => flag(!value.is_finite()),
        };
        (value - self.mean) / self.deviation
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// The columns that vary, with weights still to come.
fn prepare(table: &Table, fitting: &Fitting) -> Vec<Term> {
    let mut patterns: Vec<Vec<bool>> = Vec::new();
    let mut terms = Vec::new();
    for (input, values) in table.columns.iter().enumerate() {
        let n = values.len() as f64;
        match table.inputs[input].categories() {
            None => terms.extend(value_term(input, values)),
            Some(count) => {
                let is = |category: usize| values.iter().filter(|value| **value == category as f64).count() as f64 / n;
                terms.extend((0..count).filter_map(|category| flag_term(input, TermKind::Is(category), is(category))));
            }
        }
        let known = terms.last().is_some_and(|term| term.input == input);
        let pattern: Vec<bool> = values.iter().map(|value| !value.is_finite()).collect();
        let share = pattern.iter().filter(|missing| **missing).count() as f64 / n;
        // Two inputs that are missing together need one flag.
        if fitting.missing_flags && known && share > 0.0 && !patterns.contains(&pattern) {
            terms.extend(flag_term(input, TermKind::Missing, share));
            patterns.push(pattern);
        }
    }
    terms
}

fn value_term(input: usize, values: &[f64]) -> Option<Term> {
    let known = || values.iter().copied().filter(|value| value.is_finite());
    let count = known().count();
    if count == 0 {
        return None;
    }
    let mean = known().sum::<f64>() / count as f64;
    let deviation = (known().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    // Values beyond 10^150 have none that a number holds.
    if !(DEVIATION_MIN..f64::MAX).contains(&deviation) {
        return None;
    }
    let (least, most) = known().fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    Some(Term {
        input,
        of: TermKind::Value {
            least: nine_decimals(least),
            most: nine_decimals(most),
        },
        weight: 0.0,
        mean: nine_decimals(mean),
        deviation: nine_decimals(deviation),
    })
}

fn flag_term(input: usize, of: TermKind, share: f64) -> Option<Term> {
    let deviation = (share * (1.0 - share)).sqrt();
    (deviation >= DEVIATION_MIN).then(|| Term {
        input,
        of,
        weight: 0.0,
        mean: nine_decimals(share),
        deviation: nine_decimals(deviation),
    })
}

struct Solution {
    weights: Vec<f64>,
    intercept: f64,
}

fn solve(values: Vec<f64>, height: usize, width: usize, labels: &Vec<i32>, alpha: f64) -> Result<Solution, FitError> {
    type Fit = LogisticRegression<f64, i32, DenseMatrix<f64>, Vec<i32>>;
    let failed = |cause: smartcore::error::Failed| FitError::Solver(cause.to_string());
    let x = DenseMatrix::new(height, width, values, false).map_err(failed)?;
    let parameters = LogisticRegressionParameters::default().with_alpha(alpha);
    // smartcore's line search panics when it does not converge; that must not take the process along.
    let fit = std::panic::catch_unwind(|| Fit::fit(&x, labels, parameters));
    let fit = fit
        .map_err(|_| FitError::Solver("the line search did not converge".to_owned()))?
        .map_err(failed)?;
    // Its classes are in order, so the weights are those of the outcome 1.
    let weights: Vec<f64> = (0..width).map(|column| *fit.coefficients().get((0, column))).collect();
    let intercept = *fit.intercept().get((0, 0));
    if weights.iter().chain([&intercept]).all(|weight| weight.is_finite()) {
        Ok(Solution { weights, intercept })
    } else {
        Err(FitError::NotFinite)
    }
}

#[cfg(test)]
mod tests;
