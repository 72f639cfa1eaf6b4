//! Scores, with what explains and reproduces them.

use std::sync::Arc;

use async_graphql::{Object, SimpleObject};
use domain::{Timestamp, risk::Band as BandName, risk::Factor};
use infra::read_model::risk::{RiskHistoryRow, RiskRow};

use super::{
    flat::{Flat, Plain},
    scalar::{Band, Position},
};
use crate::error::ApiError;

/// The probability that someone gives notice by their own will within the horizon.
pub struct Risk(pub Arc<RiskRow>);

#[Object]
impl Risk {
    /// Calibrated, 0 to 1.
    async fn probability(&self) -> f64 {
        self.0.probability
    }

    async fn horizon_days(&self) -> i16 {
        self.0.horizon_days
    }

    async fn band(&self) -> Result<Band, ApiError> {
        band(&self.0.band)
    }

    /// What moved the score most, largest first.
    async fn factors(&self) -> Flat<Vec<RiskFactor<'_>>> {
        factors(&self.0.factors)
    }

    /// The version of the model.
    async fn model(&self) -> &str {
        &self.0.model
    }

    async fn scored_at(&self) -> Timestamp {
        self.0.scored_at
    }

    /// The place in the event log that the score was made from.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }

    /// The digest of the model's inputs: the same inputs, model and day give the same score.
    async fn vector(&self) -> Option<&str> {
        self.0.vector.as_deref()
    }
}

impl Plain for Risk {}

/// How much one feature moves a score.
pub struct RiskFactor<'r>(&'r Factor);

impl Plain for RiskFactor<'_> {}

pub fn factors(factors: &[Factor]) -> Flat<Vec<RiskFactor<'_>>> {
    Flat(factors.iter().map(RiskFactor).collect())
}

#[Object]
impl RiskFactor<'_> {
    /// The feature's stable name.
    async fn feature(&self) -> &str {
        &self.0.feature
    }

    /// Plain words with the value.
    async fn label(&self) -> &str {
        &self.0.label
    }

    /// In log-odds: above 0 raises the risk, below lowers it.
    async fn contribution(&self) -> f64 {
        self.0.contribution
    }
}

/// A score that entered history: another band, a step, or another model.
pub struct RiskAssessment(pub RiskHistoryRow);

impl Plain for RiskAssessment {}

#[Object]
impl RiskAssessment {
    /// Null when it can no longer be read, because the person was erased.
    async fn probability(&self) -> Option<f64> {
        self.0.probability
    }

    async fn horizon_days(&self) -> i16 {
        self.0.horizon_days
    }

    async fn band(&self) -> Result<Band, ApiError> {
        band(&self.0.band)
    }

    async fn factors(&self) -> Flat<Vec<RiskFactor<'_>>> {
        factors(&self.0.factors)
    }

    async fn model(&self) -> &str {
        &self.0.model
    }

    async fn scored_at(&self) -> Timestamp {
        self.0.scored_at
    }

    /// The place of the assessment in the event log: what `riskHistory(before)` takes.
    async fn position(&self) -> Position {
        Position(self.0.position)
    }

    /// The place in the event log that the score was made from.
    async fn scored_position(&self) -> Position {
        Position(self.0.scored_position)
    }
}

/// How many people are in each band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, SimpleObject)]
pub struct BandCounts {
    pub low: i64,
    pub medium: i64,
    pub high: i64,
    pub critical: i64,
}

fn band(name: &str) -> Result<Band, ApiError> {
    BandName::from_name(name)
        .map(Band::from)
        .ok_or(ApiError::Corrupt("band"))
}
