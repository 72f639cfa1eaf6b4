//! The distributions and exact tests that say whether a difference may be chance: chi-square, Poisson bounds, Fisher.
//!
//! Of our own, so that a figure in a report does not change with a dependency. The tests hold them against published values
//! and against scipy 1.17.

use serde::{Deserialize, Serialize};

/// How often an interval holds the truth, unless told otherwise.
pub const CONFIDENCE: f64 = 0.95;
/// Two tables count as equally likely in Fisher's test if their chances differ by less than this, relatively, as in R.
const TIED: f64 = 1e-7;
/// From here on Stirling's series for the logarithm of the gamma function is exact to the last digits.
const STIRLING_FROM: f64 = 15.0;
/// A sum or fraction stops when its terms are smaller than this, relatively.
const TERM_MIN: f64 = 1e-16;
/// The most terms. About the square root of the larger argument times ten are needed, so this is enough up to a billion.
const TERMS_MAX: usize = 400_000;
/// What stands in for zero in the continued fraction (Lentz).
const TINY: f64 = 1e-300;
/// How often a bracket is halved: after 200 times it is no wider than two neighbouring numbers.
const HALVINGS_MAX: usize = 200;

/// Where a figure probably lies. Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The natural logarithm of the gamma function of `x > 0`: Stirling's series (Abramowitz and Stegun 6.1.41), after the
/// recurrence Γ(x + 1) = x Γ(x) has brought the argument up to 15. Absolute error below 1e-13 up to `x` = 100, and below 1e-15
/// of the value beyond.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    let (mut at, mut product) = (x, 1.0);
    while at < STIRLING_FROM {
        product *= at;
        at += 1.0;
    }
    let square = at * at;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / at;
    (at - 0.5) * at.ln() - at + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

/// The natural logarithm of `n` factorial.
#[must_use]
pub fn ln_factorial(n: usize) -> f64 {
    ln_gamma(n as f64 + 1.0)
}

/// The regularised incomplete gamma functions P and Q of `shape > 0` at `x`: the two parts that lie below and above `x`, which
/// add up to 1. The smaller one is computed and the other is the rest, by the series below `shape + 1` and by the continued
/// fraction above (Abramowitz and Stegun 6.5.29 and 6.5.31). Relative error of the smaller part below 1e-12 for shapes up to
/// 1,000, below 1e-9 up to a million.
fn incomplete_gamma(shape: f64, x: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    if x.is_infinite() {
        return (1.0, 0.0);
    }
    let front = (shape * x.ln() - x - ln_gamma(shape)).exp();
    if x < shape + 1.0 {
        let below = (front * series(shape, x)).min(1.0);
        (below, 1.0 - below)
    } else {
        let above = (front * fraction(shape, x)).min(1.0);
        (1.0 - above, above)
    }
}

/// The sum over k of x^k / (shape (shape + 1) ... (shape + k)).
fn series(shape: f64, x: f64) -> f64 {
    let mut term = 1.0 / shape;
    let mut sum = term;
    for k in 1..TERMS_MAX {
        term *= x / (shape + k as f64);
        sum += term;
        if term < sum * TERM_MIN {
            break;
        }
    }
    sum
}

/// The continued fraction 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))), by Lentz's method.
fn fraction(shape: f64, x: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut b = x + 1.0 - shape;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / away_from_zero(b);
    let mut value = d;
    for k in 1..TERMS_MAX {
        let k = k as f64;
        let a = k * (shape - k);
        b += 2.0;
        d = 1.0 / away_from_zero(a * d + b);
        c = away_from_zero(b + a / c);
        value *= d * c;
        if (d * c - 1.0).abs() < 2.0 * f64::EPSILON {
            break;
        }
    }
    value
}

/// The chance that a chi-square value with this many degrees of freedom is `value` or more.
#[must_use]
pub fn chi_square_above(value: f64, freedom: f64) -> f64 {
    incomplete_gamma(freedom / 2.0, value / 2.0).1
}

/// The value below which a chi-square value with this many degrees of freedom lies with chance `below`, in (0, 1). Found by
/// halving a bracket until it cannot be halved; as accurate as the incomplete gamma function (relative error below 1e-9).
#[must_use]
pub fn chi_square_quantile(below: f64, freedom: f64) -> f64 {
    if below <= 0.0 {
        return 0.0;
    }
    if below >= 1.0 {
        return f64::INFINITY;
    }
    // The smaller part is the accurate one.
    let too_small = |value: f64| {
        let (under, over) = incomplete_gamma(freedom / 2.0, value / 2.0);
        if below < 0.5 { under < below } else { over > 1.0 - below }
    };
    let mut high = freedom.max(1.0);
    while too_small(high) {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS_MAX {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if too_small(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The exact bounds of the mean of a Poisson count of which `count` was seen (Garwood, Biometrika 28, 1936): they hold the
/// mean at least `confidence` of the time.
///
/// For exits they are a little too wide, because a person leaves at most once; and far too narrow if the same exit is counted
/// in several rows, which the caller must prevent.
#[must_use]
pub fn poisson_bounds(count: usize, confidence: f64) -> Interval {
    let tail = (1.0 - confidence) / 2.0;
    let count = count as f64;
    let low = if count > 0.0 {
        chi_square_quantile(tail, 2.0 * count) / 2.0
    } else {
        0.0
    };
    Interval {
        low,
        high: chi_square_quantile(1.0 - tail, 2.0 * count + 2.0) / 2.0,
    }
}

/// Exact Poisson bounds ([`poisson_bounds`]) of `observed / expected`, where the expected number is taken as known. Nothing if
/// none was expected.
#[must_use]
pub fn observed_over_expected_bounds(observed: usize, expected: f64, confidence: f64) -> Option<Interval> {
    let bounds = poisson_bounds(observed, confidence);
    (expected > 0.0).then(|| Interval {
        low: bounds.low / expected,
        high: bounds.high / expected,
    })
}

/// Some of a number of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// How many of them; not more than `of`.
    pub some: usize,
    pub of: usize,
}

impl Part {
    /// As a share. Nothing of nobody.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.of > 0).then(|| self.some as f64 / self.of as f64)
    }
}

/// Fisher's exact test, two-sided: the chance that two parts of one and the same population differ as these do or in a less
/// likely way, given how many there are of each kind (Fisher, 1935). As in R's `fisher.test` and scipy's `fisher_exact`, all
/// tables that are no likelier than the one seen are added up. 1 if there is nothing to compare.
#[must_use]
pub fn fisher_exact(first: Part, second: Part) -> f64 {
    let some = first.some + second.some;
    // How many of the `some` may be in the first part.
    let least = some.saturating_sub(second.of);
    let most = some.min(first.of);
    let ln_chance = |k: usize| {
        let cells = [k, first.of - k, some - k, second.of + k - some];
        -cells.into_iter().map(ln_factorial).sum::<f64>()
    };
    let ln_chances: Vec<f64> = (least..=most).map(ln_chance).collect();
    let likeliest = ln_chances.iter().copied().fold(f64::MIN, f64::max);
    let seen = ln_chance(first.some);
    let (mut all, mut no_likelier) = (0.0, 0.0);
    for ln_chance in ln_chances {
        let chance = (ln_chance - likeliest).exp();
        all += chance;
        if ln_chance <= seen + TIED {
            no_likelier += chance;
        }
    }
    (no_likelier / all).min(1.0)
}

#[cfg(test)]
mod tests;
