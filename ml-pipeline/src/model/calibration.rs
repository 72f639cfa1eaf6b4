//! Scores that mean what they say: out of a hundred people with a tenth, ten leave.

use serde::{Deserialize, Serialize};

use super::{nine_decimals, probability};

/// Below this many positive outcomes steps would follow chance, and a straight line is fitted instead (a rule of thumb;
/// prediction.md, section 4).
pub const ISOTONIC_POSITIVES_MIN: usize = 1_000;

/// How log-odds become a probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Calibration {
    /// As they are.
    #[default]
    None,
    /// A straight line through the log-odds (Platt, 1999, with his smoothed targets).
    Platt {
        slope: f64,
        intercept: f64,
    },
    /// One slope for what speaks for the outcome and one for what speaks against it: `low ln p - high ln(1 - p) + intercept`
    /// (Kull, Silva Filho and Flach, "Beta calibration", AISTATS 2017). Where the safest people leave now and then, as they
    /// do, no straight line is right at both ends.
    Beta {
        low: f64,
        high: f64,
        intercept: f64,
    },
    Isotonic(Isotonic),
}

impl Calibration {
    /// What fits the outcomes, judged by log-odds of models that had not seen them: the best by Akaike's criterion, in which
    /// every step of the isotonic one counts as a parameter.
    #[must_use]
    pub fn fit(judged: &[(f64, bool)]) -> Self {
        let positives = judged.iter().filter(|(_, y)| *y).count();
        let mut candidates = vec![(Self::None, 0), (Self::platt(judged), 2), (Self::beta(judged), 3)];
        if positives.min(judged.len() - positives) >= ISOTONIC_POSITIVES_MIN
            && let Some(isotonic) = Isotonic::fit(judged)
        {
            let steps = isotonic.knots.len();
            candidates.push((Self::Isotonic(isotonic), steps));
        }
        let cost = |(candidate, parameters): &(Self, usize)| *parameters as f64 - likelihood(candidate, judged);
        let best = candidates.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.map_or(Self::None, |(candidate, _)| candidate)
    }

    /// The straight line under which the outcomes are likeliest; none where that would turn the order around.
    #[must_use]
    pub fn platt(judged: &[(f64, bool)]) -> Self {
        match newton(judged, [1.0, 0.0], |z| [z, 1.0]) {
            Some([slope, intercept]) if slope > 0.0 => Self::Platt {
                slope: nine_decimals(slope),
                intercept: nine_decimals(intercept),
            },
            Some(_) | None => Self::None,
        }
    }

    /// The two slopes under which the outcomes are likeliest; none where they would turn the order around.
    #[must_use]
    pub fn beta(judged: &[(f64, bool)]) -> Self {
        match newton(judged, [1.0, 1.0, 0.0], |z| [ln_p(z), -ln_p(-z), 1.0]) {
            Some([low, high, intercept]) if low > 0.0 && high > 0.0 => Self::Beta {
                low: nine_decimals(low),
                high: nine_decimals(high),
                intercept: nine_decimals(intercept),
            },
            Some(_) | None => Self::None,
        }
    }

    /// The calibrated probability.
    #[must_use]
    pub fn probability(&self, log_odds: f64) -> f64 {
        match self {
            Self::None => probability(log_odds),
            Self::Platt { slope, intercept } => probability(slope * log_odds + intercept),
            Self::Beta { low, high, intercept } => {
                probability(low * ln_p(log_odds) - high * ln_p(-log_odds) + intercept)
            }
            Self::Isotonic(isotonic) => isotonic.probability(log_odds),
        }
    }
}

/// The logarithm of the probability of these log-odds.
fn ln_p(log_odds: f64) -> f64 {
    -((-log_odds.abs()).exp().ln_1p() + (-log_odds).max(0.0))
}

fn likelihood(calibration: &Calibration, judged: &[(f64, bool)]) -> f64 {
    let of = |(z, y): &(f64, bool)| {
        let p = calibration.probability(*z);
        (if *y { p } else { 1.0 - p }).max(1e-15).ln()
    };
    judged.iter().map(of).sum()
}

/// Logistic regression of the outcomes on a few functions of the log-odds, by Newton's method, towards Platt's smoothed
/// targets. Nothing where it does not converge.
fn newton<const N: usize>(
    judged: &[(f64, bool)],
    start: [f64; N],
    basis: impl Fn(f64) -> [f64; N],
) -> Option<[f64; N]> {
    let positives = judged.iter().filter(|(_, y)| *y).count() as f64;
    let negatives = judged.len() as f64 - positives;
    let mut weights = start;
    for _ in 0..100 {
        let (mut slope, mut curve) = ([0.0; N], [[0.0; N]; N]);
        for (z, y) in judged {
            let x = basis(*z);
            let p = probability(x.iter().zip(&weights).map(|(x, weight)| x * weight).sum());
            let target = if *y {
                (positives + 1.0) / (positives + 2.0)
            } else {
                1.0 / (negatives + 2.0)
            };
            for i in 0..N {
                slope[i] += (target - p) * x[i];
                for j in 0..N {
                    curve[i][j] += p * (1.0 - p) * x[i] * x[j];
                }
            }
        }
        let step = solve(curve, slope)?;
        let size: f64 = step.iter().map(|by| by.abs()).sum();
        // Far from the solution a full step may overshoot.
        let shorter = (1.0 / size).min(1.0);
        for (weight, by) in weights.iter_mut().zip(step) {
            *weight += shorter * by;
        }
        if size < 1e-10 {
            return Some(weights);
        }
    }
    None
}

/// Solves a small symmetric system by elimination; nothing where it is singular.
fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for pivot in 0..N {
        if a[pivot][pivot].abs() < 1e-12 {
            return None;
        }
        for row in pivot + 1..N {
            let factor = a[row][pivot] / a[pivot][pivot];
            let above = a[pivot];
            for (value, above) in a[row].iter_mut().zip(above) {
                *value -= factor * above;
            }
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..N).rev() {
        let rest: f64 = (row + 1..N).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - rest) / a[row][row];
    }
    Some(b)
}

/// A rising step function from log-odds to probability, in straight lines between its steps' middles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Isotonic {
    /// `(log-odds, probability)`, both rising.
    pub knots: Vec<(f64, f64)>,
}

impl Isotonic {
    /// The rising function nearest to the outcomes (pool adjacent violators; Ayer et al., 1955). Nothing without outcomes.
    #[must_use]
    pub fn fit(judged: &[(f64, bool)]) -> Option<Self> {
        let mut sorted = judged.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Blocks of rows: sum of log-odds, positives, rows.
        let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
        for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
            let positives = tied.iter().filter(|(_, y)| *y).count() as f64;
            blocks.push((tied.iter().map(|(z, _)| z).sum(), positives, tied.len() as f64));
            while let [.., before, last] = blocks[..] {
                if before.1 / before.2 < last.1 / last.2 {
                    break;
                }
                blocks.truncate(blocks.len() - 2);
                blocks.push((before.0 + last.0, before.1 + last.1, before.2 + last.2));
            }
        }
        // Smoothed as Platt's targets are: nobody's probability is 0 or 1.
        let knot =
            |(z, positives, n): (f64, f64, f64)| (nine_decimals(z / n), nine_decimals((positives + 0.5) / (n + 1.0)));
        let mut knots: Vec<(f64, f64)> = blocks.into_iter().map(knot).collect();
        // Smoothing moves small blocks most: what it put out of order is put back.
        let mut highest: f64 = 0.0;
        for (_, p) in &mut knots {
            highest = highest.max(*p);
            *p = highest;
        }
        (!knots.is_empty()).then_some(Self { knots })
    }

    /// The calibrated probability.
    #[must_use]
    pub fn probability(&self, log_odds: f64) -> f64 {
        let above = self.knots.partition_point(|(at, _)| *at <= log_odds);
        match (
            above.checked_sub(1).map(|below| self.knots[below]),
            self.knots.get(above),
        ) {
            (Some((left, low)), Some((right, high))) => low + (high - low) * (log_odds - left) / (right - left),
            (Some((_, last)), None) => last,
            (None, Some((_, first))) => *first,
            (None, None) => probability(log_odds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    /// Scores that are too bold by half and too high by 0.4.
    fn judged(n: usize) -> Vec<(f64, bool)> {
        let mut random = Random::seeded(5);
        let one = |_| {
            let truth = -1.0 + random.normal();
            (2.0 * truth + 0.4, random.happens(probability(truth)))
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn platt_finds_the_line_that_was_bent() {
        let Calibration::Platt { slope, intercept } = Calibration::platt(&judged(100_000)) else {
            panic!("a line")
        };
        assert!((slope - 0.5).abs() < 0.01, "{slope}");
        assert!((intercept + 0.2).abs() < 0.02, "{intercept}");
    }

    #[test]
    fn beta_finds_a_floor_that_no_line_can_follow() {
        let mut random = Random::seeded(8);
        let one = |_| {
            let z = -2.0 + 2.0 * random.normal();
            (z, random.happens(0.05 + 0.9 * probability(z)))
        };
        let judged: Vec<(f64, bool)> = (0..20_000).map(one).collect();
        let (beta, platt) = (Calibration::beta(&judged), Calibration::platt(&judged));
        let off = |calibration: &Calibration| (calibration.probability(-6.0) - 0.052).abs();
        assert!(off(&beta) < 0.03 && off(&platt) > 0.035, "{beta:?} {platt:?}");
        assert!(matches!(Calibration::fit(&judged[..2_000]), Calibration::Beta { .. }));
    }

    #[test]
    fn no_calibration_turns_the_order_around() {
        let backwards: Vec<(f64, bool)> = judged(500).into_iter().map(|(z, y)| (-z, y)).collect();
        assert_eq!(Calibration::platt(&backwards), Calibration::None);
        assert_eq!(Calibration::fit(&backwards), Calibration::None);
        assert_eq!(Calibration::fit(&[]), Calibration::None);
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let mut random = Random::seeded(6);
        let one = |_| {
            let z = -1.0 + random.normal();
            (z, random.happens(probability(z)))
        };
        let judged: Vec<(f64, bool)> = (0..2_000).map(one).collect();
        assert_eq!(Calibration::fit(&judged), Calibration::None);
    }

    #[test]
    fn isotonic_rises_and_is_near_the_truth() {
        let found = Isotonic::fit(&judged(100_000)).expect("rows");
        assert!(found.knots.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        for z in [-4.0, -2.0, 0.0, 1.0] {
            let truth = probability((z - 0.4) / 2.0);
            assert!(
                (found.probability(z) - truth).abs() < 0.02,
                "{} at {z}, not {truth}",
                found.probability(z)
            );
        }
        assert!(found.probability(-99.0) > 0.0 && found.probability(99.0) < 1.0);
    }
}
