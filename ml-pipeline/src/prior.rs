//! The shared model for companies without enough history of their own: committed, and loaded with the program.

use chrono::NaiveTime;
use domain::Date;

use crate::{
    artifact::{Artifact, ArtifactError},
    model::Learner,
    synthetic::Company,
    train::{Options, Progress, TrainingError, train},
};

/// The committed artifact.
const PRIOR: &str = include_str!("../models/prior.json");
/// What the prior's histories are drawn from.
const SEED: u64 = 2026;
const PLACES: usize = 12_000;
const WEEKS: u32 = 3 * 52;

/// The committed prior.
pub fn prior() -> Result<Artifact, ArtifactError> {
    Artifact::from_json(PRIOR)
}

/// Makes the prior anew: draws its histories and trains on them. The same code gives the same artifact.
pub fn build_prior(progress: &mut dyn FnMut(Progress)) -> Result<Artifact, TrainingError> {
    build(&company(SEED, PLACES), progress)
}

/// A company like the one that the prior was trained on, drawn from another seed or of another size.
#[must_use]
pub fn company(seed: u64, places: usize) -> Company {
    let begins_on = Date::from_ymd_opt(2022, 1, 3).unwrap_or_default();
    Company {
        seed,
        places,
        weeks: WEEKS,
        begins_on,
    }
}

fn build(company: &Company, progress: &mut dyn FnMut(Progress)) -> Result<Artifact, TrainingError> {
    let today = company.ends_on();
    // The day of training is that of the last event: the artifact depends on nothing but the code.
    let trained_at = today.and_time(NaiveTime::MIN).and_utc();
    let options = Options {
        pooled_prior: true,
        seed: company.seed,
        learners: vec![Learner::Logistic, Learner::Additive],
        ..Options::new(today, 0, trained_at)
    };
    train(&company.histories(), &options, progress)
}

#[cfg(test)]
mod tests;
