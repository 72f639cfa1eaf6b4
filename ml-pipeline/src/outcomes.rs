//! Truth in use: what became of the people whose scores were shown, as time tells.
//!
//! A prediction is ripe when its whole window lies in what is known: not before, for those who left already as for those who
//! are still here, or only leavers would be counted. What counts as leaving is the rule of the labels that models learn from:
//! notice of the person's own will within the window. Whoever went for another reason first is unknown, and left out.
//!
//! Scores are made whenever something happens, so that one person has many with windows that overlap and one exit would be
//! counted in all of them. Here each person's windows do not overlap: the first score counts, then the first one after its
//! window ended. No outcome decides which scores are taken, and each exit is counted once, which is what the bounds need.

use std::collections::BTreeMap;

use domain::{Date, id::EmployeeId};
use serde::{Deserialize, Serialize};

use crate::{
    dataset::{Window, label_of},
    features::SpellEnd,
    metrics::{Bin, Judged, brier, expected_calibration_error, lift, reliability, roc_auc},
    statistics::{CONFIDENCE, Interval, observed_over_expected_bounds},
};

/// The fewest ripe predictions with a known outcome, overall or in a band, to say anything about.
pub const RIPE_MIN: usize = 30;
/// The fewest for deciles: ten people in each.
pub const DECILES_RIPE_MIN: usize = 100;
/// The fewest leavers, and the fewest stayers, for what tells them apart (AUC, lift): as for a model's test
/// ([`crate::train::TEST_CASES_MIN`]).
pub const OUTCOMES_MIN: usize = crate::train::TEST_CASES_MIN;
/// The share of people with the highest scores that the lift is about.
pub const LIFT_SHARE: f64 = 0.1;

/// A score as it was shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    pub employee: EmployeeId,
    /// Of what is predicted within the horizon, from 0 to 1.
    pub probability: f64,
    /// The name of the band (or level) as it was shown; the thresholds may have changed since.
    pub band: String,
    pub scored_on: Date,
    pub horizon_days: u16,
}

/// How predictions compare with what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// The last day that is known.
    pub known_until: Date,
    /// Scores that were looked at.
    pub scores: usize,
    /// Of them, those left out because their window overlaps with that of an earlier score of the same person.
    pub overlapping: usize,
    pub overall: Record,
    /// One for each band (or level), lowest first, also where nobody is in it.
    pub bands: Vec<BandRecord>,
}

/// The record of one band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandRecord {
    pub band: String,
    pub record: Record,
}

/// How many predictions there are, and what they were worth. The three counts are all predictions that do not overlap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whose window has passed and whose outcome is known.
    pub ripe: usize,
    /// Whose window is still open.
    pub unripe: usize,
    /// Whose window has passed without an answer: gone for another reason, gone before the score without our knowing it, or
    /// erased.
    pub unknown: usize,
    pub finding: Finding,
}

/// What the ripe predictions say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Finding {
    /// Not enough ripe predictions: there are fewer than [`RIPE_MIN`].
    NotEnoughRipe { needed: usize },
    /// Measured over the ripe predictions.
    Measured(Measures),
}

/// Figures over ripe predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// The sum of the probabilities: how many people should have left.
    pub expected: f64,
    /// How many did.
    pub observed: usize,
    /// `observed / expected`. Nothing if none was expected.
    pub observed_over_expected: Option<f64>,
    /// Its exact Poisson bounds at [`CONFIDENCE`], a little wide since nobody leaves twice in a window.
    pub bounds: Option<Interval>,
    pub reading: Reading,
    /// The mean squared error of the probabilities.
    pub brier: f64,
    /// Nothing with fewer than [`OUTCOMES_MIN`] leavers or stayers. Within a band, where all scores are alike, expect little.
    pub auc: Option<f64>,
    /// The rate of exits among the [`LIFT_SHARE`] with the highest scores over that of all. Nothing as for the AUC.
    pub lift_top_tenth: Option<f64>,
    /// Predicted and observed by tenths of the scores. Nothing with fewer than [`DECILES_RIPE_MIN`] predictions.
    pub deciles: Option<Deciles>,
}

/// The reliability table and its summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deciles {
    /// Ten groups of (nearly) the same size, lowest scores first.
    pub table: Vec<Bin>,
    /// How far predicted and observed rates lie apart, on average over the people.
    pub mean_absolute_error: f64,
}

/// Whether as many left as predicted, as far as chance lets one tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The bounds hold 1.
    AsPredicted,
    /// Even the low bound is above 1: the risk was understated.
    MoreLeft,
    /// Even the high bound is below 1: the risk was overstated.
    FewerLeft,
}

/// Holds predictions against outcomes. `bands` are the names to tell apart, lowest first. `outcome` tells what is known of a
/// person after the day of a score, as [`crate::FeatureState::end_after`] does (nothing for a record that was erased or is not
/// there); a person who came back has another outcome after each return. `known_until` is the
/// last day that the outcomes tell of.
///
/// Give the scores of one model for a verdict on that model: windows are made not to overlap among the scores that are given.
/// Probabilities that are not finite numbers are not scores. The order of the scores does not matter, but for several of one
/// person on one day, of which the first counts.
#[must_use]
pub fn truth(
    scores: &[Scored],
    bands: &[&str],
    outcome: impl Fn(EmployeeId, Date) -> Option<SpellEnd>,
    known_until: Date,
) -> Truth {
    let scores = finite(scores);
    let apart = without_overlap(&scores);
    let told: Vec<(Scored, Told)> = apart
        .iter()
        .map(|score| {
            (
                score.clone(),
                tell(score, outcome(score.employee, score.scored_on), known_until),
            )
        })
        .collect();
    let band = |band: &&str| BandRecord {
        band: (*band).to_owned(),
        record: record(told.iter().filter(|(score, _)| score.band == **band)),
    };
    Truth {
        known_until,
        scores: scores.len(),
        overlapping: scores.len() - apart.len(),
        overall: record(told.iter()),
        bands: bands.iter().map(band).collect(),
    }
}

/// The predictions that [`truth`] judges, and whether each came true: those that are ripe and whose outcome is known, in order
/// of people and days.
#[must_use]
pub fn ripe(
    scores: &[Scored],
    outcome: impl Fn(EmployeeId, Date) -> Option<SpellEnd>,
    known_until: Date,
) -> Vec<(Scored, bool)> {
    without_overlap(&finite(scores))
        .into_iter()
        .filter_map(
            |score| match tell(&score, outcome(score.employee, score.scored_on), known_until) {
                Told::Left => Some((score, true)),
                Told::Stayed => Some((score, false)),
                Told::Unripe | Told::Unknown => None,
            },
        )
        .collect()
}

fn finite(scores: &[Scored]) -> Vec<Scored> {
    let is_finite = |score: &&Scored| score.probability.is_finite();
    scores.iter().filter(is_finite).cloned().collect()
}

/// Each person's scores whose windows do not overlap, from the first one on, in order of people and days.
fn without_overlap(scores: &[Scored]) -> Vec<Scored> {
    let mut by_person: BTreeMap<EmployeeId, Vec<Scored>> = BTreeMap::new();
    for score in scores {
        by_person.entry(score.employee).or_default().push(score.clone());
    }
    let mut apart = Vec::new();
    for mut of_one in by_person.into_values() {
        of_one.sort_by_key(|score| score.scored_on); // stable: the first of a day counts
        let mut free_from = Date::MIN;
        for score in of_one {
            if score.scored_on >= free_from {
                free_from = Window::Days(score.horizon_days).end(score.scored_on);
                // A window of no days ends on its own day, and the next one begins after it.
                free_from = free_from.max(score.scored_on.succ_opt().unwrap_or(Date::MAX));
                apart.push(score);
            }
        }
    }
    apart
}

/// What time has told of one prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Unripe,
    Unknown,
    Left,
    Stayed,
}

fn tell(score: &Scored, outcome: Option<SpellEnd>, known_until: Date) -> Told {
    if Window::Days(score.horizon_days).end(score.scored_on) > known_until {
        return Told::Unripe;
    }
    let end = match outcome {
        None => return Told::Unknown,
        // Decided before the score and learnt of after it: there was nothing left to predict.
        Some(SpellEnd::Event { on }) if on <= score.scored_on => return Told::Unknown,
        Some(end) => end,
    };
    match label_of(end, Window::Days(score.horizon_days).end(score.scored_on), known_until) {
        Some(true) => Told::Left,
        Some(false) => Told::Stayed,
        None => Told::Unknown,
    }
}

fn record<'a>(told: impl Iterator<Item = &'a (Scored, Told)>) -> Record {
    let (mut judged, mut unripe, mut unknown): (Vec<Judged>, usize, usize) = (Vec::new(), 0, 0);
    for (score, told) in told {
        match told {
            Told::Unripe => unripe += 1,
            Told::Unknown => unknown += 1,
            Told::Left => judged.push((score.probability, true)),
            Told::Stayed => judged.push((score.probability, false)),
        }
    }
    Record {
        ripe: judged.len(),
        unripe,
        unknown,
        finding: if judged.len() < RIPE_MIN {
            Finding::NotEnoughRipe { needed: RIPE_MIN }
        } else {
            Finding::Measured(measure(&judged))
        },
    }
}

fn measure(judged: &[Judged]) -> Measures {
    let expected: f64 = judged.iter().map(|(p, _)| p).sum();
    let observed = judged.iter().filter(|(_, y)| *y).count();
    let bounds = observed_over_expected_bounds(observed, expected, CONFIDENCE);
    let telling = observed.min(judged.len() - observed) >= OUTCOMES_MIN;
    Measures {
        expected,
        observed,
        observed_over_expected: (expected > 0.0).then(|| observed as f64 / expected),
        bounds,
        reading: read(bounds, observed),
        brier: brier(judged),
        auc: roc_auc(judged).filter(|_| telling),
        lift_top_tenth: lift(judged, LIFT_SHARE).filter(|_| telling),
        deciles: (judged.len() >= DECILES_RIPE_MIN).then(|| {
            let table = reliability(judged);
            Deciles {
                mean_absolute_error: expected_calibration_error(&table),
                table,
            }
        }),
    }
}

fn read(bounds: Option<Interval>, observed: usize) -> Reading {
    match bounds {
        Some(bounds) if bounds.low > 1.0 => Reading::MoreLeft,
        Some(bounds) if bounds.high < 1.0 => Reading::FewerLeft,
        // None was expected.
        None if observed > 0 => Reading::MoreLeft,
        Some(_) | None => Reading::AsPredicted,
    }
}

#[cfg(test)]
mod tests;
