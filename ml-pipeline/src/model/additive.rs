//! The additive model: one shape function per input, a few for pairs, and nothing else (a generalised additive model with
//! pairwise terms; Lou, Caruana, Gehrke and Hooker, KDD 2013, whose cyclic boosting of binned features this follows).
//!
//! The log-odds are the intercept plus one look-up per shape, so that contributions are exact and every shape can be drawn.

mod boost;

use serde::{Deserialize, Serialize};

pub(crate) use boost::in_threads;
pub use boost::{Fitting, fit};

use super::Prediction;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Additive {
    /// The mean log-odds of the training rows: every shape has the mean 0 over them.
    pub intercept: f64,
    pub shapes: Vec<Shape>,
    pub pairs: Vec<PairShape>,
}

/// What the model makes of one input, in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The input's place in the table.
    pub input: usize,
    pub curve: Curve,
    /// Of a missing value.
    pub missing: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// Straight lines between the knots `(value, log-odds)`, level beyond the first and the last. Values rise.
    Line { knots: Vec<(f64, f64)> },
    /// By category.
    Steps { values: Vec<f64> },
}

/// What the model makes of two inputs together, beyond what it makes of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairShape {
    pub inputs: (usize, usize),
    pub axes: (Axis, Axis),
    /// Row by row of the first axis.
    pub values: Vec<f64>,
}

/// How the values of one input of a pair are sorted into cells; cell 0 is what is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Cell `i + 1` ends at (and holds) `cuts[i]`.
    Cuts(Vec<f64>),
    /// Cell `i + 1` is category `i`.
    Categories(usize),
}

impl Axis {
    /// How many cells there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Cuts(cuts) => cuts.len() + 2,
            Self::Categories(count) => *count + 1,
        }
    }

    /// There is always the cell of what is missing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    fn cell(&self, value: f64) -> usize {
        if !value.is_finite() {
            return 0;
        }
        match self {
            Self::Cuts(cuts) => cuts.partition_point(|cut| *cut < value) + 1,
            Self::Categories(count) if value >= 0.0 && (value as usize) < *count => value as usize + 1,
            Self::Categories(_) => 0,
        }
    }
}

impl Shape {
    /// The contribution of a value, in log-odds.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        if !value.is_finite() {
            return self.missing;
        }
        match &self.curve {
            Curve::Line { knots } => line(knots, value).unwrap_or(self.missing),
            Curve::Steps { values } if value >= 0.0 => values.get(value as usize).copied().unwrap_or(self.missing),
            Curve::Steps { .. } => self.missing,
        }
    }
}

fn line(knots: &[(f64, f64)], value: f64) -> Option<f64> {
    let above = knots.partition_point(|(at, _)| *at <= value);
    let Some((left, low)) = above.checked_sub(1).map(|below| knots[below]) else {
        return knots.first().map(|(_, first)| *first);
    };
    let Some((right, high)) = knots.get(above).copied() else {
        return Some(low);
    };
    Some(low + (high - low) * (value - left) / (right - left))
}

impl PairShape {
    /// The contribution of two values, in log-odds.
    #[must_use]
    pub fn at(&self, first: f64, second: f64) -> f64 {
        self.values[self.axes.0.cell(first) * self.axes.1.len() + self.axes.1.cell(second)]
    }
}

impl Additive {
    /// A pair's contribution is shared equally between its two inputs: their Shapley values in this additive game.
    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Prediction {
        let mut parts = vec![None; x.len()];
        let mut add = |input: usize, part: f64| *parts[input].get_or_insert(0.0) += part;
        for shape in &self.shapes {
            add(shape.input, shape.at(x[shape.input]));
        }
        for pair in &self.pairs {
            let (first, second) = pair.inputs;
            let half = pair.at(x[first], x[second]) / 2.0;
            add(first, half);
            add(second, half);
        }
        let parts = parts.into_iter().enumerate();
        Prediction::from_parts(
            self.intercept,
            parts.filter_map(|(input, part)| Some((input, part?))).collect(),
        )
    }

    /// The log-odds alone.
    #[must_use]
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        let singles: f64 = self.shapes.iter().map(|shape| shape.at(x[shape.input])).sum();
        let pairs: f64 = self
            .pairs
            .iter()
            .map(|pair| pair.at(x[pair.inputs.0], x[pair.inputs.1]))
            .sum();
        self.intercept + singles + pairs
    }
}

#[cfg(test)]
mod tests;
