//! Logistic regression: smartcore's solver between our own preparation and our own, exactly additive, prediction.

use serde::{Deserialize, Serialize};
use smartcore::{
    linalg::basic::{arrays::Array, matrix::DenseMatrix},
    linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters},
};

use super::{FitError, Prediction, nine_decimals};
use crate::features::{FeatureId, FeatureVector};

/// A column that deviates less than this is constant, and dropped.
const DEVIATION_MIN: f64 = 1e-6;

/// How to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitting {
    /// The weight of the L2 penalty; smartcore's own default of 0 is none.
    pub alpha: f64,
    /// Features that must not be used.
    pub exclusions: Vec<FeatureId>,
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
    pub columns: Vec<Column>,
}

/// What the model makes of one feature. Weights are per standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub feature: FeatureId,
    pub weight: f64,
    /// The training mean, which also stands in for a missing value.
    pub mean: f64,
    pub deviation: f64,
    /// The smallest and the largest value seen in training: a straight line is not to be trusted beyond.
    pub range: (f64, f64),
    pub missing: Option<MissingFlag>,
}

/// A 0/1 column that says that the value is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingFlag {
    pub weight: f64,
    pub mean: f64,
    pub deviation: f64,
}

impl Logistic {
    /// Fits rows of [`crate::FEATURES`] values and their outcomes. The classes are never balanced: the score is shown as a
    /// probability.
    pub fn fit(rows: &[(&[f64], bool)], fitting: &Fitting) -> Result<Self, FitError> {
        let positives = rows.iter().filter(|(_, y)| *y).count();
        if positives == 0 || positives == rows.len() {
            return Err(FitError::OneOutcome);
        }
        let mut model = Self {
            alpha: fitting.alpha,
            intercept: 0.0,
            columns: prepare(rows, fitting),
        };
        if model.columns.is_empty() {
            return Err(FitError::NoColumns);
        }
        let width = model.columns.iter().map(Column::width).sum();
        let mut values = Vec::with_capacity(rows.len() * width);
        for (x, _) in rows {
            values.extend(
                model
                    .columns
                    .iter()
                    .flat_map(|column| column.standardised(x[column.feature.index()])),
            );
        }
        debug_assert!(values.iter().all(|value| value.is_finite()));
        let labels: Vec<i32> = rows.iter().map(|(_, y)| i32::from(*y)).collect();
        let solution = solve(values, rows.len(), width, &labels, fitting.alpha)?;
        model.take_weights(&solution);
        Ok(model)
    }

    fn take_weights(&mut self, solution: &Solution) {
        let mut weights = solution.weights.iter().copied().map(nine_decimals);
        for column in &mut self.columns {
            column.weight = weights.next().unwrap_or(0.0);
            if let Some(flag) = &mut column.missing {
                flag.weight = weights.next().unwrap_or(0.0);
            }
        }
        self.intercept = nine_decimals(solution.intercept);
    }

    #[must_use]
    pub fn predict(&self, x: &FeatureVector) -> Prediction {
        let part = |column: &Column| (column.feature.index(), column.contribution(x.get(column.feature)));
        Prediction::from_parts(self.intercept, self.columns.iter().map(part).collect())
    }
}

impl Column {
    const fn width(&self) -> usize {
        if self.missing.is_some() { 2 } else { 1 }
    }

    /// The value and, if there is one, the flag, each with mean 0 and deviation 1 in training.
    fn standardised(&self, value: f64) -> impl Iterator<Item = f64> {
        let known = Some(value).filter(|value| value.is_finite());
        let flag = self.missing.as_ref().map(|flag| flag.standardised(known.is_none()));
        std::iter::once(self.standardised_value(known)).chain(flag)
    }

    fn standardised_value(&self, value: Option<f64>) -> f64 {
        value.map_or(0.0, |value| {
            (value.clamp(self.range.0, self.range.1) - self.mean) / self.deviation
        })
    }

    fn contribution(&self, value: Option<f64>) -> f64 {
        let flag = self
            .missing
            .as_ref()
            .map_or(0.0, |flag| flag.weight * flag.standardised(value.is_none()));
        self.weight * self.standardised_value(value) + flag
    }
}

impl MissingFlag {
    fn standardised(&self, is_missing: bool) -> f64 {
        (f64::from(u8::from(is_missing)) - self.mean) / self.deviation
    }
}

/// The columns that vary, with weights still to come.
fn prepare(rows: &[(&[f64], bool)], fitting: &Fitting) -> Vec<Column> {
    let mut patterns: Vec<Vec<bool>> = Vec::new();
    let mut columns = Vec::new();
    for feature in FeatureId::all().filter(|feature| !fitting.exclusions.contains(feature)) {
        let of = |x: &[f64]| x[feature.index()];
        let known: Vec<f64> = rows
            .iter()
            .map(|(x, _)| of(x))
            .filter(|value| value.is_finite())
            .collect();
        if known.is_empty() {
            continue;
        }
        let n = rows.len() as f64;
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
        if deviation < DEVIATION_MIN {
            continue;
        }
        let pattern: Vec<bool> = rows.iter().map(|(x, _)| !of(x).is_finite()).collect();
        let share = (rows.len() - known.len()) as f64 / n;
        // Two features that are missing together need one flag.
        let flagged = fitting.missing_flags && share > 0.0 && !patterns.contains(&pattern);
        if flagged {
            patterns.push(pattern);
        }
        let (low, high) = known.iter().fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        columns.push(Column {
            feature,
            weight: 0.0,
            mean: nine_decimals(mean),
            deviation: nine_decimals(deviation),
            range: (nine_decimals(low), nine_decimals(high)),
            missing: flagged.then(|| MissingFlag {
                weight: 0.0,
                mean: nine_decimals(share),
                deviation: nine_decimals((share * (1.0 - share)).sqrt()),
            }),
        });
    }
    columns
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
