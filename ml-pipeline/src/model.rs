//! What turns a feature vector into a probability and the reasons for it.

pub mod logistic;

use serde::{Deserialize, Serialize};

pub use logistic::Logistic;

use crate::features::{FeatureId, FeatureVector};

/// Every kind of model. All of them explain themselves in the same way, additively in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Model {
    Logistic(Logistic),
}

/// A probability with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Of voluntary notice within the horizon.
    pub probability: f64,
    /// `base` plus all contributions.
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
    pub fn predict(&self, x: &FeatureVector) -> Prediction {
        match self {
            Self::Logistic(logistic) => logistic.predict(x),
        }
    }

    /// The kind's stable name, with which versions begin.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Logistic(_) => "logistic",
        }
    }

    /// The features that the model looks at.
    #[must_use]
    pub fn features(&self) -> Vec<FeatureId> {
        match self {
            Self::Logistic(logistic) => logistic.columns.iter().map(|column| column.feature).collect(),
        }
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

/// Nine decimals: enough for any parameter, and few enough that every JSON reader reads back the very same number (fewer
/// than 2^53 units for anything below nine million), so that checksums hold.
#[must_use]
pub(crate) fn nine_decimals(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}
