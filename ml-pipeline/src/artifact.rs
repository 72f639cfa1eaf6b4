//! A trained model with its card, in a format of our own: JSON with a format number and a checksum over the content.

use std::fmt::Write;

use chrono::Days;
use domain::{Date, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    dataset::Target,
    features::{self, FEATURE_SET, FeatureId, FeatureState, FeatureVector, PayLevels},
    metrics::{Bin, Intervals, Recalibration},
    model::{Calibration, Learner, Model, Prediction, probability},
};

/// The number of this format.
pub const FORMAT: u32 = 3;
/// How much of the checksum is part of a version, in hexadecimal digits.
const VERSION_DIGITS: usize = 8;
/// What a month counts for in horizons, in days.
pub const MONTH_DAYS: u16 = 30;

/// A model that can be used, named, and answered for.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Such as `additive-2026-11-21-1f0c92ab`: kind, day of training, first digits of the checksum.
    pub version: String,
    pub card: ModelCard,
    pub hazard: Hazard,
    /// What jobs paid when it was trained.
    pub pay_levels: PayLevels,
}

/// The chance that what is predicted (for a flight risk: notice) comes within the next month (a discrete-time hazard; Singer and Willett, 1993), and what it comes to
/// over longer times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hazard {
    /// Of the event within a month.
    pub model: Model,
    /// What is added to the log-odds for one company, where the model was learnt from others.
    pub shift: f64,
    pub persistence: Persistence,
    /// Shortest first.
    pub horizons: Vec<Horizon>,
}

/// How much of what sets a person apart today still does in later months. An absence last week says more of this month than
/// of the one in half a year: measured on people who were at risk at both times, as the slope of the later part of the
/// log-odds on the earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// By month, then input. What the date alone decides needs none: it is known of every month.
    ByInput(Vec<Vec<f64>>),
    /// By month, of the distance of the whole log-odds from `centre`: for models whose parts take long to tell.
    Whole { centre: f64, months: Vec<f64> },
}

/// A time ahead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Horizon {
    pub days: u16,
    /// What is still between the months' hazards and what happened.
    pub calibration: Calibration,
}

/// The log-odds of one month, and what they are made of.
#[derive(Debug, Clone, PartialEq)]
struct Month {
    log_odds: f64,
    base: f64,
    parts: Vec<(usize, f64)>,
}

impl Hazard {
    /// The probability of the event within `days` after a day: `1 - prod (1 - h)` over its months, calibrated as measured.
    #[must_use]
    pub fn probability(&self, x: &[f64], on: Date, days: u16) -> f64 {
        let months = self.months(x, on, days, false);
        self.over(months.iter().map(|month| month.log_odds), days)
    }

    /// The months ahead. With `parts`, also what they are made of, where that takes long to tell.
    fn months(&self, x: &[f64], on: Date, days: u16, parts: bool) -> Vec<Month> {
        let mut x = x.to_vec();
        let month = |number: usize| {
            features::turn_to(&mut x, on + Days::new(number as u64 * u64::from(MONTH_DAYS)));
            match &self.persistence {
                Persistence::ByInput(months) => by_input(self.model.predict(&x), months.get(number)),
                Persistence::Whole { centre, months } => {
                    let stays = months.get(number).or(months.last()).copied().unwrap_or(1.0);
                    let prediction = parts.then(|| self.model.predict(&x));
                    let log_odds = prediction
                        .as_ref()
                        .map_or_else(|| self.model.log_odds(&x), |whole| whole.log_odds);
                    let contributions = prediction.map(|whole| whole.contributions).unwrap_or_default();
                    let parts: Vec<(usize, f64)> = contributions
                        .into_iter()
                        .map(|(input, part)| (input, stays * part))
                        .collect();
                    let log_odds = centre + stays * (log_odds - centre);
                    Month {
                        log_odds,
                        base: log_odds - parts.iter().map(|(_, part)| part).sum::<f64>(),
                        parts,
                    }
                }
            }
        };
        (0..months_in(days)).map(month).collect()
    }

    /// The probability within `days` of somebody whose monthly log-odds are `average` but for some parts of inputs: what a
    /// shape comes to. What the date alone decides is so in the first month, and on the average in the others.
    #[must_use]
    pub fn of_parts(&self, average: f64, parts: &[(usize, f64)], days: u16) -> f64 {
        let is_so = |input: usize, month: usize| month == 0 || !FeatureId::at(input).is_some_and(features::is_calendar);
        let month = |number: usize| {
            let parts = parts.iter().filter(|(input, _)| is_so(*input, number));
            match &self.persistence {
                Persistence::ByInput(months) => {
                    let stays = months.get(number);
                    let of = |input: usize| stays.and_then(|stays| stays.get(input)).copied().unwrap_or(1.0);
                    parts.fold(average, |sum, (input, part)| sum + of(*input) * part)
                }
                Persistence::Whole { centre, months } => {
                    let stays = months.get(number).or(months.last()).copied().unwrap_or(1.0);
                    centre + stays * (parts.fold(average, |sum, (_, part)| sum + part) - centre)
                }
            }
        };
        self.over((0..months_in(days)).map(month), days)
    }

    /// The probability over months with these log-odds.
    fn over(&self, months: impl Iterator<Item = f64>, days: u16) -> f64 {
        let stays = |log_odds: f64| {
            let hazard = self.model.calibration.probability(log_odds);
            // The shift is of calibrated log-odds.
            1.0 - if self.shift == 0.0 {
                hazard
            } else {
                probability(log_odds_of(hazard) + self.shift)
            }
        };
        let goes = 1.0 - months.map(stays).product::<f64>();
        match self.horizons.iter().find(|horizon| horizon.days == days) {
            Some(Horizon { calibration, .. }) if *calibration != Calibration::None => {
                calibration.probability(log_odds_of(goes))
            }
            Some(_) | None => goes,
        }
    }

    /// The score of a row: the probability within `days`, and the mean log-odds of its months with what they are made of.
    #[must_use]
    pub fn score(&self, x: &[f64], on: Date, days: u16) -> HazardScore {
        let months = self.months(x, on, days, true);
        let n = months.len() as f64;
        let mut parts = vec![None; x.len()];
        for (input, part) in months.iter().flat_map(|month| &month.parts) {
            *parts[*input].get_or_insert(0.0) += part / n;
        }
        let base = months.iter().map(|month| month.base).sum::<f64>() / n;
        let parts = parts.into_iter().enumerate();
        let contributions: Vec<(usize, f64)> = parts.filter_map(|(input, part)| Some((input, part?))).collect();
        HazardScore {
            probability: self.over(months.iter().map(|month| month.log_odds), days),
            log_odds: contributions.iter().fold(base, |sum, (_, part)| sum + part),
            base,
            contributions,
            months,
            days,
        }
    }

    /// What some inputs are worth in a score: its probability less what it would be without their parts.
    #[must_use]
    pub fn worth(&self, score: &HazardScore, inputs: &[usize]) -> f64 {
        let without = |month: &Month| {
            let parts = month.parts.iter().filter(|(input, _)| inputs.contains(input));
            month.log_odds - parts.map(|(_, part)| part).sum::<f64>()
        };
        score.probability - self.over(score.months.iter().map(without), score.days)
    }
}

fn months_in(days: u16) -> usize {
    usize::from((days / MONTH_DAYS).max(1))
}

fn by_input(prediction: Prediction, stays: Option<&Vec<f64>>) -> Month {
    let of = |input: usize| stays.and_then(|stays| stays.get(input)).copied().unwrap_or(1.0);
    let parts = prediction.contributions.into_iter();
    let parts: Vec<(usize, f64)> = parts.map(|(input, part)| (input, of(input) * part)).collect();
    Month {
        log_odds: parts.iter().fold(prediction.base, |sum, (_, part)| sum + part),
        base: prediction.base,
        parts,
    }
}

/// A probability within a horizon, with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct HazardScore {
    /// Of the event within the horizon.
    pub probability: f64,
    /// The mean log-odds of the months' hazards: `base` plus all contributions.
    pub log_odds: f64,
    /// The log-odds of somebody who is average in everything.
    pub base: f64,
    /// By input, in that order: how far this person's value moves the log-odds away from the average person's. Inputs that
    /// the model does not use are left out.
    pub contributions: Vec<(usize, f64)>,
    months: Vec<Month>,
    days: u16,
}

pub(crate) fn log_odds_of(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).ln()
}

/// What one must know of a model to use it (AI Act art. 11 and 13).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    pub target: Target,
    pub learner: Learner,
    /// The set of feature definitions that the model was trained on ([`FEATURE_SET`]).
    pub feature_set: u32,
    pub trained_at: Timestamp,
    pub code_version: String,
    pub origin: Origin,
    pub data: DataWindow,
    /// The names of the features that the model looks at.
    pub features: Vec<String>,
    /// The names of the features that it does not, by choice or because they did not vary.
    pub exclusions: Vec<String>,
    pub label: String,
    /// How far ahead scores look, unless asked otherwise.
    pub horizon_days: u16,
    /// The rate of the event within the horizon, over all rows that the model was fitted to and whose outcome is known.
    pub usual: f64,
    /// Where chance comes in: bags, held-out rows, resampling.
    pub seed: u64,
    pub evaluation: Evaluation,
    /// Every kind of model that was tried, simplest first.
    pub candidates: Vec<Candidate>,
    /// How far each feature moves the log-odds on average, most first.
    pub importance: Vec<(String, f64)>,
    /// What the model is not good for, in words.
    pub limits: Vec<String>,
}

/// Whose history a model was learnt from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// Invented ones: the prior that ships with the product, for companies without enough history of their own.
    Pooled,
    /// The company's own.
    Own,
    /// Another model, with its level moved to the rate of the company (or of one career program).
    Adapted { from: String },
}

/// What the model was fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataWindow {
    pub first_cutoff: Date,
    pub last_cutoff: Date,
    /// The last day whose events were known.
    pub known_until: Date,
    /// The position in the log up to which events were seen.
    pub log_position: i64,
    /// Months of people.
    pub rows: usize,
    pub positives: usize,
    pub people: usize,
    /// People to whom the event came.
    pub cases: usize,
}

/// How well a model that saw only the past predicted what came after. The model on the card was then fitted again to
/// everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// No label that was learnt from looks beyond the first day that is tested on.
    pub test_from: Date,
    pub horizon_days: u16,
    pub test_rows: usize,
    pub test_positives: usize,
    pub test_people: usize,
    pub auc: Option<f64>,
    pub pr_auc: Option<f64>,
    pub brier: f64,
    /// Of the constant prediction of the training rate: what a model must beat.
    pub brier_base_rate: f64,
    pub log_loss: f64,
    /// Over ten bins of equal mass.
    pub calibration_error: f64,
    /// The rate of events in the top tenth over the rate in all.
    pub lift_top_tenth: Option<f64>,
    /// 1 is calibrated in the large.
    pub observed_over_expected: Option<f64>,
    pub recalibration: Option<Recalibration>,
    /// 95 %, over people drawn anew.
    pub intervals: Option<Intervals>,
    pub reliability: Vec<Bin>,
    /// The shared prior on the same rows: what a company's own model must beat to be worth having.
    pub shared_prior: Option<Rival>,
}

/// Another model on the same test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    pub version: String,
    pub auc: Option<f64>,
    pub brier: f64,
}

/// A kind of model that was tried on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub learner: Learner,
    pub champion: bool,
    pub auc: Option<f64>,
    pub brier: f64,
    pub log_loss: f64,
    pub calibration_error: f64,
    /// How much more its log loss is than the best one's, and the standard error of that over people.
    pub behind: f64,
    pub standard_error: f64,
}

impl Evaluation {
    /// Whether the model knows more than the rate of the event.
    #[must_use]
    pub fn beats_base_rate(&self) -> bool {
        self.brier < self.brier_base_rate
    }

    /// Whether it knows more than the shared prior, where that was measured.
    #[must_use]
    pub fn beats_shared_prior(&self) -> bool {
        self.shared_prior.as_ref().is_none_or(|prior| self.brier < prior.brier)
    }
}

/// Why an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the model file cannot be read")]
    Read(#[source] serde_json::Error),
    #[error("the model cannot be written")]
    Write(#[source] serde_json::Error),
    #[error("the model file has format {found}, and this build reads format {FORMAT}: train it again")]
    Format { found: u32 },
    #[error("the model file was changed or damaged: its checksum should be {expected} and is {found}")]
    Checksum { expected: String, found: String },
    #[error("the model file calls itself {found}, but its content is {expected}")]
    Version { expected: String, found: String },
    #[error("the model was trained on feature set {found}, and this build computes set {FEATURE_SET}: train it again")]
    FeatureSet { found: u32 },
    #[error("the model was trained on other features than this build computes: train it again")]
    Inputs,
}

/// What the checksum is over.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The names of the features, by which the model's inputs are known.
    inputs: Vec<String>,
    card: ModelCard,
    hazard: Hazard,
    pay_levels: PayLevels,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    version: String,
    checksum: String,
    content: Content,
}

/// Read first, so that a file of another format says so instead of failing somewhere inside.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl Artifact {
    /// Names a model after its content.
    pub fn new(card: ModelCard, hazard: Hazard, pay_levels: PayLevels) -> Result<Self, ArtifactError> {
        let content = Content {
            inputs: inputs(),
            card,
            hazard,
            pay_levels,
        };
        let version = version(&content, &checksum(&content)?);
        Ok(Self {
            version,
            card: content.card,
            hazard: content.hazard,
            pay_levels: content.pay_levels,
        })
    }

    /// A person's model inputs on a day, with pay compared as this model compares it.
    #[must_use]
    pub fn vector(&self, state: &FeatureState, on: Date) -> FeatureVector {
        state.vector(on, &self.pay_levels)
    }

    /// The score of a row of [`crate::FEATURES`] on a day, within the card's horizon.
    #[must_use]
    pub fn score(&self, x: &[f64], on: Date) -> HazardScore {
        self.hazard.score(x, on, self.card.horizon_days)
    }

    /// The artifact as it is stored: the same artifact gives the same bytes.
    pub fn to_json(&self) -> Result<String, ArtifactError> {
        let content = Content {
            inputs: inputs(),
            card: self.card.clone(),
            hazard: self.hazard.clone(),
            pay_levels: self.pay_levels.clone(),
        };
        let checksum = checksum(&content)?;
        let stored = Stored {
            format: FORMAT,
            version: self.version.clone(),
            checksum,
            content,
        };
        Ok(serde_json::to_string_pretty(&stored).map_err(ArtifactError::Write)? + "\n")
    }

    /// Reads and verifies. The layout of the JSON does not matter (a database may change it), its content does.
    pub fn from_json(text: &str) -> Result<Self, ArtifactError> {
        let header: Header = serde_json::from_str(text).map_err(ArtifactError::Read)?;
        if header.format != FORMAT {
            return Err(ArtifactError::Format { found: header.format });
        }
        let stored: Stored = serde_json::from_str(text).map_err(ArtifactError::Read)?;
        let found = checksum(&stored.content)?;
        if found != stored.checksum {
            return Err(ArtifactError::Checksum {
                expected: stored.checksum,
                found,
            });
        }
        let expected = version(&stored.content, &found);
        if expected != stored.version {
            return Err(ArtifactError::Version {
                expected,
                found: stored.version,
            });
        }
        if stored.content.card.feature_set != FEATURE_SET {
            return Err(ArtifactError::FeatureSet {
                found: stored.content.card.feature_set,
            });
        }
        if stored.content.inputs != inputs() {
            return Err(ArtifactError::Inputs);
        }
        Ok(Self {
            version: stored.version,
            card: stored.content.card,
            hazard: stored.content.hazard,
            pay_levels: stored.content.pay_levels,
        })
    }
}

fn inputs() -> Vec<String> {
    features::inputs(false).into_iter().map(|input| input.name).collect()
}

fn version(content: &Content, checksum: &str) -> String {
    let digits = checksum.get(..VERSION_DIGITS).unwrap_or(checksum);
    format!(
        "{}-{}-{digits}",
        content.card.learner.name(),
        content.card.trained_at.date_naive()
    )
}

/// SHA-256 over the compact JSON of the content, in hexadecimal.
fn checksum(content: &Content) -> Result<String, ArtifactError> {
    let bytes = serde_json::to_vec(content).map_err(ArtifactError::Write)?;
    Ok(Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior;

    fn damaged(from: &str, to: &str) -> Result<Artifact, ArtifactError> {
        let text = prior::prior().expect("the committed prior").to_json().expect("json");
        assert!(text.contains(from), "{from} is not there to be damaged");
        Artifact::from_json(&text.replacen(from, to, 1))
    }

    #[test]
    fn what_is_written_reads_back_to_the_same_bytes() {
        let artifact = prior::prior().expect("the committed prior");
        let text = artifact.to_json().expect("json");
        let again = Artifact::from_json(&text).expect("an artifact");
        assert_eq!(again, artifact);
        assert_eq!(again.to_json().expect("json"), text);
        let compact = serde_json::from_str::<serde_json::Value>(&text)
            .expect("json")
            .to_string();
        assert_eq!(
            Artifact::from_json(&compact).expect("an artifact in another layout"),
            artifact
        );
    }

    #[test]
    fn every_damage_is_told_apart() {
        let version = prior::prior().expect("the committed prior").version;
        assert!(matches!(
            damaged("\"format\": 3", "\"format\": 4"),
            Err(ArtifactError::Format { found: 4 })
        ));
        assert!(matches!(
            damaged("\"horizon_days\": 180", "\"horizon_days\": 90"),
            Err(ArtifactError::Checksum { .. })
        ));
        assert!(matches!(
            damaged(&version, "additive-2026-01-01-00000000"),
            Err(ArtifactError::Version { .. })
        ));
        assert!(matches!(
            damaged("\"tenure_log\"", "\"shoe_size\""),
            Err(ArtifactError::Read(_) | ArtifactError::Checksum { .. })
        ));
        assert!(matches!(Artifact::from_json("{"), Err(ArtifactError::Read(_))));
    }

    #[test]
    fn a_model_of_other_features_is_refused() {
        let mut artifact = prior::prior().expect("the committed prior");
        artifact.card.feature_set = FEATURE_SET + 1;
        let other = Artifact::new(artifact.card, artifact.hazard, artifact.pay_levels).expect("an artifact");
        let read = Artifact::from_json(&other.to_json().expect("json"));
        assert!(matches!(read, Err(ArtifactError::FeatureSet { .. })));
    }
}
