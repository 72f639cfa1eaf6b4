//! How good probabilities are, judged by what happened. Never accuracy: "nobody leaves" is right nine times in ten.

use serde::{Deserialize, Serialize};

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
mod tests {
    use super::*;

    const FOUR: [Judged; 4] = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn auc_counts_pairs_and_ties_half() {
        assert_eq!(roc_auc(&FOUR), Some(0.75));
        assert_eq!(roc_auc(&[(0.5, true), (0.5, false)]), Some(0.5));
        // Pairs: (.5 against .5) one half, (.5 against .2) one, (.9 against both) two.
        assert_eq!(
            roc_auc(&[(0.5, true), (0.5, false), (0.2, false), (0.9, true)]),
            Some(3.5 / 4.0)
        );
        assert_eq!(roc_auc(&[(0.5, true)]), None);
    }

    #[test]
    fn brier_and_log_loss_are_those_of_a_calculation_by_hand() {
        close(brier(&FOUR), (0.01 + 0.16 + 0.4225 + 0.04) / 4.0);
        close(
            log_loss(&[(0.8, true), (0.4, false)]),
            -(0.8_f64.ln() + 0.6_f64.ln()) / 2.0,
        );
        assert!(log_loss(&[(0.0, true)]).is_finite());
    }

    #[test]
    fn calibration_in_the_large_compares_totals() {
        close(observed_over_expected(&FOUR).expect("some expected"), 2.0 / 1.65);
        assert_eq!(observed_over_expected(&[]), None);
    }

    #[test]
    fn lift_is_the_top_rate_over_the_base_rate() {
        let ten: Vec<Judged> = (0..10).map(|i| (f64::from(i) / 10.0, i == 9 || i == 0)).collect();
        close(lift(&ten, 0.1).expect("somebody left"), 5.0);
        close(
            lift(&[(0.5, true), (0.5, false), (0.5, false), (0.5, false)], 0.25).expect("somebody left"),
            1.0,
        );
        assert_eq!(lift(&[(0.5, false)], 0.1), None);
    }

    #[test]
    fn bins_have_equal_mass() {
        let twenty: Vec<Judged> = (0..20).map(|i| (f64::from(i / 2) / 10.0, i % 2 == 0)).collect();
        let bins = reliability(&twenty);
        assert_eq!(bins.len(), BINS);
        assert!(bins.iter().all(|bin| bin.n == 2 && (bin.observed - 0.5).abs() < 1e-12));
        // |p - .5| over 0, .1, ... .9 is 2.5 in all.
        close(expected_calibration_error(&bins), 0.25);
    }
}
