//! How far metrics may be off by chance: resampled persons, because one person's rows share one fate.

use serde::{Deserialize, Serialize};

use super::{Judged, brier, expected_calibration_error, observed_over_expected, reliability, roc_auc};
use crate::{
    statistics::{CONFIDENCE, Interval},
    synthetic::Random,
};

/// Enough draws for the ends of a 95 % interval to settle in the second digit (Efron and Tibshirani, 1993, chapter 13).
pub const DRAWS: usize = 1_000;
/// The fewest people to resample.
pub const PEOPLE_MIN: usize = 20;
/// A metric that more than this share of the draws cannot tell (nobody left in them, say) has no interval.
const UNTOLD_MAX: f64 = 0.05;

/// Percentile bootstrap intervals at [`CONFIDENCE`], of the metrics over all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervals {
    /// How many people were resampled.
    pub people: usize,
    pub draws: usize,
    /// Of [`roc_auc`]. Nothing if too few people left or stayed to resample.
    pub auc: Option<Interval>,
    /// Of [`brier`].
    pub brier: Option<Interval>,
    /// Of [`expected_calibration_error`] over [`reliability`]. A calibration error is never below zero, so that chance only
    /// makes it larger, and resampling adds chance: the interval may lie above the figure itself. Read it as "no worse than
    /// its high end".
    pub calibration_error: Option<Interval>,
    /// Of [`observed_over_expected`].
    pub observed_over_expected: Option<Interval>,
}

/// Intervals for rows that belong to persons: whole persons are drawn with replacement, as many as there are, each with all
/// their rows (Efron and Tibshirani, 1993; for clusters: Field and Welsh, 2007). Drawing rows would make intervals that are far
/// too narrow, since one person has a row for every month. Nothing with fewer than [`PEOPLE_MIN`] people or without draws.
///
/// The order of the rows does not matter. The same generator gives the same intervals.
#[must_use]
pub fn intervals<P: Ord>(rows: &[(P, Judged)], draws: usize, random: &mut Random) -> Option<Intervals> {
    let mut persons: Vec<&P> = rows.iter().map(|(person, _)| person).collect();
    persons.sort();
    persons.dedup();
    if persons.len() < PEOPLE_MIN || draws == 0 {
        return None;
    }
    let person_of = |row: &P| persons.partition_point(|person| *person < row);
    // Sorted once, so that every draw is sorted too.
    let mut sorted: Vec<(Judged, usize)> = rows.iter().map(|(row, judged)| (*judged, person_of(row))).collect();
    sorted.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut told = Told::default();
    let mut times = vec![0_usize; persons.len()];
    for _ in 0..draws {
        times.fill(0);
        for _ in 0..persons.len() {
            times[random.below(persons.len())] += 1;
        }
        let drawn: Vec<Judged> = sorted
            .iter()
            .flat_map(|(judged, person)| std::iter::repeat_n(*judged, times[*person]))
            .collect();
        told.take(&drawn);
    }
    Some(Intervals {
        people: persons.len(),
        draws,
        auc: percentiles(told.auc, draws),
        brier: percentiles(told.brier, draws),
        calibration_error: percentiles(told.calibration_error, draws),
        observed_over_expected: percentiles(told.observed_over_expected, draws),
    })
}

/// What the draws say, where they can tell.
#[derive(Default)]
struct Told {
    auc: Vec<f64>,
    brier: Vec<f64>,
    calibration_error: Vec<f64>,
    observed_over_expected: Vec<f64>,
}

impl Told {
    fn take(&mut self, drawn: &[Judged]) {
        self.auc.extend(roc_auc(drawn));
        self.brier.push(brier(drawn));
        self.calibration_error
            .push(expected_calibration_error(&reliability(drawn)));
        self.observed_over_expected.extend(observed_over_expected(drawn));
    }
}

/// The values that leave half of the rest on either side; between two neighbours, a straight line (R's type 7).
fn percentiles(mut values: Vec<f64>, draws: usize) -> Option<Interval> {
    if (values.len() as f64) < draws as f64 * (1.0 - UNTOLD_MAX) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval {
        low: quantile(&values, tail)?,
        high: quantile(&values, 1.0 - tail)?,
    })
}

fn quantile(sorted: &[f64], below: f64) -> Option<f64> {
    let place = below * (sorted.len().checked_sub(1)? as f64);
    let (from, to) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(from + (to - from) * place.fract())
}
