//! The first and second derivative of the logistic loss, row by row, and their sums by bin: what boosting is made of.
//!
//! Scores are single precision: two passes over a hundred thousand rows for every step are what training time is.

/// Rows with their outcomes, scores, and what is left to explain.
#[derive(Debug, Clone)]
pub struct Part {
    outcomes: Vec<f32>,
    scores: Vec<f32>,
    /// Outcome less probability, and the variance of the outcome.
    slopes: Vec<[f32; 2]>,
}

/// Sums over some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    pub gradient: f64,
    pub curvature: f64,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
    }

    pub fn minus(&self, other: &Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
        }
    }

    pub fn plus(&self, other: &Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            curvature: self.curvature + other.curvature,
        }
    }

    /// The Newton step of these rows, in log-odds.
    pub fn step(&self, ridge: f64) -> f64 {
        self.gradient / (self.curvature.max(0.0) + ridge)
    }

    /// What that step takes off the loss (twice).
    pub fn gain(&self, ridge: f64) -> f64 {
        self.gradient * self.gradient / (self.curvature.max(0.0) + ridge)
    }
}

impl Part {
    #[must_use]
    pub fn new(outcomes: &[bool], score: f64) -> Self {
        let mut part = Self {
            outcomes: outcomes.iter().map(|y| if *y { 1.0 } else { 0.0 }).collect(),
            scores: vec![score as f32; outcomes.len()],
            slopes: vec![[0.0; 2]; outcomes.len()],
        };
        part.derive();
        part
    }

    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    pub fn slopes(&self) -> &[[f32; 2]] {
        &self.slopes
    }

    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    fn derive(&mut self) {
        for ((slope, score), outcome) in self.slopes.iter_mut().zip(&self.scores).zip(&self.outcomes) {
            let p = 1.0 / (1.0 + exp(-score));
            *slope = [outcome - p, p * (1.0 - p)];
        }
    }

    /// Sums by bin.
    #[must_use]
    pub fn sums(&self, bins: &[u8], count: usize) -> Vec<Sums> {
        self.sums_of(bins.iter().map(|bin| usize::from(*bin)), count)
    }

    /// Sums by cell.
    #[must_use]
    pub fn sums_of(&self, cells: impl Iterator<Item = usize>, count: usize) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); count];
        for (cell, [gradient, curvature]) in cells.zip(&self.slopes) {
            let sums = &mut sums[cell];
            sums.gradient += f64::from(*gradient);
            sums.curvature += f64::from(*curvature);
        }
        sums
    }

    /// Adds a step by cell to the scores, and derives anew.
    pub fn add<C: Copy + Into<usize>>(&mut self, cells: &[C], delta: &[f64]) {
        self.add_score(cells, delta);
        self.derive();
    }

    /// Adds a step by cell to the scores only.
    pub fn add_score<C: Copy + Into<usize>>(&mut self, cells: &[C], delta: &[f64]) {
        let delta: Vec<f32> = delta.iter().map(|value| *value as f32).collect();
        for (score, cell) in self.scores.iter_mut().zip(cells) {
            *score += delta[(*cell).into()];
        }
    }

    /// Sets the scores to the sum of shapes, and derives anew.
    pub fn score_anew<'s>(&mut self, intercept: f64, shapes: impl Iterator<Item = (&'s Vec<u8>, &'s Vec<f64>)>) {
        self.scores.fill(intercept as f32);
        for (bins, shape) in shapes {
            self.add_score(bins, shape);
        }
        self.derive();
    }

    /// The mean negative log-likelihood.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let rows = self.scores.iter().zip(&self.outcomes);
        let loss = |(score, outcome): (&f32, &f32)| {
            let margin = f64::from(if *outcome > 0.5 { *score } else { -*score });
            // ln(1 + e^-margin) without overflow.
            (-margin.abs()).exp().ln_1p() + (-margin).max(0.0)
        };
        rows.map(loss).sum::<f64>() / (self.len().max(1) as f64)
    }
}

/// e^x to seven digits by Cody and Waite's reduction and a polynomial of degree six, in operations that processors do four
/// at a time.
#[inline]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 x 2^23: adding it rounds to a whole number
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-80.0, 80.0);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let whole = shifted - SHIFT;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let power = 1.987_569_1e-4_f32;
    let power = power * rest + 1.398_199_9e-3;
    let power = power * rest + 8.333_452e-3;
    let power = power * rest + 4.166_579_6e-2;
    let power = power * rest + 1.666_666_5e-1;
    let power = power * rest + 5.0e-1;
    let power = power * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127) << 23;
    power * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_seven_digits() {
        for step in -800..=800_i16 {
            let x = f32::from(step) / 10.0;
            let (found, right) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / right - 1.0).abs() < 3e-7, "exp({x}) is {right}, not {found}");
        }
    }

    #[test]
    fn derivatives_are_those_of_the_logistic_loss() {
        let mut part = Part::new(&[true, false], 0.0);
        part.add(&[0_u8, 1], &[1.0, -2.0]);
        let p = [1.0 / (1.0 + (-1.0_f64).exp()), 1.0 / (1.0 + 2.0_f64.exp())];
        let sums = part.sums(&[0, 1], 2);
        assert!((sums[0].gradient - (1.0 - p[0])).abs() < 1e-6);
        assert!((sums[1].gradient + p[1]).abs() < 1e-6);
        assert!((sums[1].curvature - p[1] * (1.0 - p[1])).abs() < 1e-6);
        assert!((part.loss() + (p[0].ln() + (1.0 - p[1]).ln()) / 2.0).abs() < 1e-6);
    }
}
