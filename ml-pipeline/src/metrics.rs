//! How good probabilities are, judged by what happened. Never accuracy: "nobody leaves" is right nine times in ten.

mod interval;
mod recalibration;

use serde::{Deserialize, Serialize};

pub use interval::{DRAWS, Intervals, PEOPLE_MIN, intervals};
pub use recalibration::{Recalibration, recalibration};

/// The number of equal-mass bins of the reliability table and the calibration error.
pub const BINS: usize = 10;

/// A predicted probability and what happened.
pub type Judged = (f64, bool);

/// One row of the reliability table: people with similar scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    pub n: usize,
    pub predicted: f64,
    pub observed: f64,
}

/// The probability that of two people, one who left and one who did not, the one who left has the higher score; ties count
/// half. Nothing if all left or none.
#[must_use]
pub fn roc_auc(judged: &[Judged]) -> Option<f64> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|(_, y)| *y).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut below, mut won) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let left = tied.iter().filter(|(_, y)| *y).count() as f64;
        let stayed = tied.len() as f64 - left;
        won += left * (below + stayed / 2.0);
        below += stayed;
    }
    Some(won / (positives * negatives))
}

/// The area under the precision-recall curve as average precision: at every score, from the highest down, the share of leavers
/// among all who have that score or a higher one, weighted by how many of the leavers have exactly that score. People with the
/// same score count together. The same as scikit-learn's `average_precision_score`; the base rate is what chance makes of it.
/// Nothing if nobody left.
#[must_use]
pub fn pr_auc(judged: &[Judged]) -> Option<f64> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = sorted.iter().filter(|(_, y)| *y).count() as f64;
    if positives == 0.0 {
        return None;
    }
    let (mut left, mut taken, mut area) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let leavers = tied.iter().filter(|(_, y)| *y).count() as f64;
        left += leavers;
        taken += tied.len() as f64;
        area += leavers / positives * (left / taken);
    }
    Some(area)
}

/// The mean squared error of the probabilities.
#[must_use]
pub fn brier(judged: &[Judged]) -> f64 {
    mean(judged, |(p, y)| (p - truth(y)).powi(2))
}

/// The mean negative log-likelihood. A probability of 0 or 1 that was wrong costs much, but not infinitely.
#[must_use]
pub fn log_loss(judged: &[Judged]) -> f64 {
    mean(judged, |(p, y)| -(if y { p } else { 1.0 - p }).max(1e-15).ln())
}

/// Observed over expected number of exits: 1 is calibrated in the large. Nothing if none was expected.
#[must_use]
pub fn observed_over_expected(judged: &[Judged]) -> Option<f64> {
    let expected: f64 = judged.iter().map(|(p, _)| p).sum();
    let observed = judged.iter().filter(|(_, y)| *y).count() as f64;
    (expected > 0.0).then(|| observed / expected)
}

/// The rate of exits among the `share` with the highest scores, over the rate among all; people with the same score share
/// their luck. Nothing if nobody left.
#[must_use]
pub fn lift(judged: &[Judged], share: f64) -> Option<f64> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let base = mean(judged, |(_, y)| truth(y));
    let wanted = (judged.len() as f64 * share).round().max(1.0);
    if base == 0.0 {
        return None;
    }
    let (mut left, mut taken) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let take = (wanted - taken).min(tied.len() as f64);
        left += take * mean(tied, |(_, y)| truth(y));
        taken += take;
    }
    Some(left / taken / base)
}

/// Predicted against observed in [`BINS`] groups of (nearly) the same size, lowest scores first.
#[must_use]
pub fn reliability(judged: &[Judged]) -> Vec<Bin> {
    let mut sorted = judged.to_vec();
    // By outcome too, so that the order of the rows leaves no trace.
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let bounds = (0..=BINS).map(|bin| bin * sorted.len() / BINS);
    let groups = bounds.clone().zip(bounds.skip(1)).map(|(from, to)| &sorted[from..to]);
    let bin = |group: &[Judged]| Bin {
        n: group.len(),
        predicted: mean(group, |(p, _)| p),
        observed: mean(group, |(_, y)| truth(y)),
    };
    groups.filter(|group| !group.is_empty()).map(bin).collect()
}

/// The expected calibration error: how far predicted and observed lie apart in the bins, on average.
#[must_use]
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let n: usize = bins.iter().map(|bin| bin.n).sum();
    bins.iter()
        .map(|bin| bin.n as f64 * (bin.predicted - bin.observed).abs())
        .sum::<f64>()
        / (n.max(1) as f64)
}

fn truth(y: bool) -> f64 {
    if y { 1.0 } else { 0.0 }
}

fn mean(judged: &[Judged], of: impl Fn(Judged) -> f64) -> f64 {
    judged.iter().copied().map(of).sum::<f64>() / (judged.len().max(1) as f64)
}

#[cfg(test)]
mod tests;
