//! Whether probabilities are too high, too low, too bold or too shy, and the correction.

use serde::{Deserialize, Serialize};

use super::Judged;
use crate::model::probability;

/// Probabilities are kept this far away from 0 and 1, where log-odds end.
const PROBABILITY_MIN: f64 = 1e-9;
/// Newton's method takes five to ten steps; more than this is no convergence.
const STEPS_MAX: usize = 100;
/// A step that promises to raise the log-likelihood by less than this is the last: steps get better so fast that nothing to
/// speak of is left to gain after it.
const PROMISE_MIN: f64 = 1e-16;
/// How much lower an equal height may look, relatively, because of rounding.
const ROUNDING: f64 = 1e-12;
/// A step that makes the fit worse is halved, at most this often.
const HALVINGS_MAX: usize = 40;

/// Outcomes as a logistic regression on the predicted log-odds (Cox, Biometrika 45, 1958): `log-odds of the outcome =
/// intercept + slope × predicted log-odds`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalibration {
    /// In log-odds; 0 is right, if the slope is 1.
    pub intercept: f64,
    /// 1 is right; below 1, the probabilities are too bold (too far from the mean), above 1 too shy.
    pub slope: f64,
    /// The intercept when the slope is held at 1: calibration in the large, in log-odds. Above 0, more left than predicted.
    pub in_the_large: f64,
}

impl Recalibration {
    /// The corrected probability.
    #[must_use]
    pub fn apply(&self, predicted: f64) -> f64 {
        probability(self.intercept + self.slope * log_odds(predicted))
    }
}

/// Fits the recalibration by maximum likelihood (Newton's method with halved steps). Nothing if there is no such maximum: if
/// the probabilities are all the same or tell leavers and stayers apart without a single overlap, which includes that all left
/// or none.
#[must_use]
pub fn recalibration(judged: &[Judged]) -> Option<Recalibration> {
    let points: Vec<(f64, bool)> = judged.iter().map(|(p, y)| (log_odds(*p), *y)).collect();
    if !overlap(&points) {
        return None;
    }
    // Around the mean log-odds, where intercept and slope hardly depend on one another.
    let centre = points.iter().map(|(x, _)| x).sum::<f64>() / points.len() as f64;
    let centred: Vec<(f64, bool)> = points.iter().map(|(x, y)| (x - centre, *y)).collect();
    let (at_centre, slope) = maximise(&centred, Line::Free)?;
    let (in_the_large, _) = maximise(&points, Line::SlopeOfOne)?;
    Some(Recalibration {
        intercept: at_centre - slope * centre,
        slope,
        in_the_large,
    })
}

/// Whether the two kinds lie among one another, neither below the other: then, and only then, the likelihood of a line has one
/// maximum (Albert and Anderson, 1984, in one dimension).
fn overlap(points: &[(f64, bool)]) -> bool {
    let range = |of: bool| {
        points
            .iter()
            .filter(|(_, y)| *y == of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
                (low.min(*x), high.max(*x))
            })
    };
    let (left, stayed) = (range(true), range(false));
    left.0 < stayed.1 && stayed.0 < left.1
}

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    (p / (1.0 - p)).ln()
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    Free,
    SlopeOfOne,
}

/// Intercept and slope with the highest likelihood.
fn maximise(points: &[(f64, bool)], line: Line) -> Option<(f64, f64)> {
    let mut at = match line {
        Line::Free => (base_log_odds(points), 0.0),
        Line::SlopeOfOne => (0.0, 1.0),
    };
    let mut likelihood = ln_likelihood(points, at);
    for _ in 0..STEPS_MAX {
        let (step, promise) = newton(points, line, at)?;
        (at, likelihood) = climb(points, at, likelihood, step)?;
        if promise <= PROMISE_MIN {
            return Some(at);
        }
    }
    None
}

/// Takes the step, halved until it makes nothing worse.
fn climb(points: &[(f64, bool)], at: (f64, f64), likelihood: f64, step: (f64, f64)) -> Option<((f64, f64), f64)> {
    let halved = std::iter::successors(Some(1.0), |share: &f64| Some(share / 2.0)).take(HALVINGS_MAX);
    halved
        .map(|share| (at.0 + share * step.0, at.1 + share * step.1))
        .map(|next| (next, ln_likelihood(points, next)))
        .find(|(_, reached)| *reached >= likelihood - ROUNDING * (1.0 + likelihood.abs()))
}

/// The inverse of the information times the score, and what that promises: their product, twice the gain if the likelihood were
/// a parabola.
fn newton(points: &[(f64, bool)], line: Line, (intercept, slope): (f64, f64)) -> Option<((f64, f64), f64)> {
    let (mut score, mut information) = ((0.0, 0.0), (0.0, 0.0, 0.0));
    for (x, y) in points {
        let p = probability(intercept + slope * x);
        let error = f64::from(u8::from(*y)) - p;
        let weight = p * (1.0 - p);
        score = (score.0 + error, score.1 + error * x);
        information = (
            information.0 + weight,
            information.1 + weight * x,
            information.2 + weight * x * x,
        );
    }
    let (a, b, d) = information;
    let step = match line {
        Line::SlopeOfOne => (score.0 / a, 0.0),
        Line::Free => {
            let determinant = a * d - b * b;
            (
                (d * score.0 - b * score.1) / determinant,
                (a * score.1 - b * score.0) / determinant,
            )
        }
    };
    let promise = step.0 * score.0 + step.1 * score.1;
    promise.is_finite().then_some((step, promise))
}

fn base_log_odds(points: &[(f64, bool)]) -> f64 {
    log_odds(points.iter().filter(|(_, y)| *y).count() as f64 / points.len() as f64)
}

/// The sum of `ln P(outcome)`, in a form that neither overflows nor loses the small ones.
fn ln_likelihood(points: &[(f64, bool)], (intercept, slope): (f64, f64)) -> f64 {
    let of = |(x, y): &(f64, bool)| {
        let towards = intercept + slope * x;
        let towards = if *y { towards } else { -towards };
        // ln(1 / (1 + e^-t))
        towards.min(0.0) - (-towards.abs()).exp().ln_1p()
    };
    points.iter().map(of).sum()
}
