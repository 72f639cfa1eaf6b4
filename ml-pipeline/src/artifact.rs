//! A trained model with its card, in a format of our own: JSON with a format number and a checksum over the content.

use std::fmt::Write;

use domain::{Date, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{features::FEATURE_SET, metrics::Bin, model::Model};

/// The number of this format.
pub const FORMAT: u32 = 1;
/// How much of the checksum is part of a version, in hexadecimal digits.
const VERSION_DIGITS: usize = 8;

/// A model that can be used, named, and answered for.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Such as `logistic-2026-11-21-1f0c92ab`: kind, day of training, first digits of the checksum.
    pub version: String,
    pub card: ModelCard,
    pub model: Model,
}

/// What one must know of a model to use it (AI Act art. 11 and 13).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    pub kind: String,
    /// The set of feature definitions that the model was trained on ([`FEATURE_SET`]).
    pub feature_set: u32,
    pub trained_at: Timestamp,
    pub code_version: String,
    /// Made by a pool of other data, for companies without enough history of their own.
    pub pooled_prior: bool,
    pub data: DataWindow,
    /// The names of the features that the model looks at.
    pub features: Vec<String>,
    /// The names of the features that it does not, by choice or because they did not vary.
    pub exclusions: Vec<String>,
    pub label: String,
    pub horizon_days: u16,
    /// Where chance comes in; training itself draws no random numbers.
    pub seed: Option<u64>,
    pub evaluation: Evaluation,
    /// What the model is not good for, in words.
    pub limits: Vec<String>,
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
    pub rows: usize,
    pub positives: usize,
    pub people: usize,
    pub leavers: usize,
}

/// How well a model that saw only the past predicted what came after, one horizon apart. The model on the card was then
/// fitted again to everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    pub train_until: Date,
    pub test_from: Date,
    pub test_rows: usize,
    pub test_positives: usize,
    pub auc: Option<f64>,
    pub brier: f64,
    /// Of the constant prediction of the training rate: what a model must beat.
    pub brier_base_rate: f64,
    pub log_loss: f64,
    /// Over ten bins of equal mass.
    pub calibration_error: f64,
    /// The rate of exits in the top tenth over the rate in all.
    pub lift_top_tenth: Option<f64>,
    /// 1 is calibrated in the large.
    pub observed_over_expected: Option<f64>,
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

impl Evaluation {
    /// Whether the model knows more than the rate of exits.
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
    #[error("the model file has format {found}, and this build reads format {FORMAT}")]
    Format { found: u32 },
    #[error("the model file was changed or damaged: its checksum should be {expected} and is {found}")]
    Checksum { expected: String, found: String },
    #[error("the model file calls itself {found}, but its content is {expected}")]
    Version { expected: String, found: String },
    #[error("the model was trained on feature set {found}, and this build computes set {FEATURE_SET}: train it again")]
    FeatureSet { found: u32 },
}

/// What the checksum is over.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    card: ModelCard,
    model: Model,
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
    pub fn new(card: ModelCard, model: Model) -> Result<Self, ArtifactError> {
        let content = Content { card, model };
        let version = version(&content, &checksum(&content)?);
        Ok(Self {
            version,
            card: content.card,
            model: content.model,
        })
    }

    /// The artifact as it is stored: the same artifact gives the same bytes.
    pub fn to_json(&self) -> Result<String, ArtifactError> {
        let content = Content {
            card: self.card.clone(),
            model: self.model.clone(),
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
        Ok(Self {
            version: stored.version,
            card: stored.content.card,
            model: stored.content.model,
        })
    }
}

fn version(content: &Content, checksum: &str) -> String {
    let digits = checksum.get(..VERSION_DIGITS).unwrap_or(checksum);
    format!(
        "{}-{}-{digits}",
        content.model.kind(),
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
            damaged("\"format\": 1", "\"format\": 2"),
            Err(ArtifactError::Format { found: 2 })
        ));
        assert!(matches!(
            damaged("\"horizon_days\": 180", "\"horizon_days\": 90"),
            Err(ArtifactError::Checksum { .. })
        ));
        assert!(matches!(
            damaged(&version, "logistic-2026-01-01-00000000"),
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
        let other = Artifact::new(artifact.card, artifact.model).expect("an artifact");
        let read = Artifact::from_json(&other.to_json().expect("json"));
        assert!(matches!(read, Err(ArtifactError::FeatureSet { .. })));
    }
}
