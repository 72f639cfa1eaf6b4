//! A random forest: smartcore's regressor on 0/1 outcomes, whose leaf means are class proportions (a split by squared error
//! is then a split by Gini), copied into our own flat trees, and calibrated on what each tree did not see.

use serde::{Deserialize, Serialize};
use smartcore::{
    ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters},
    linalg::basic::matrix::DenseMatrix,
};

use super::{
    FitError, Prediction,
    additive::in_threads,
    bins::LARGEST,
    calibration::Calibration,
    nine_decimals,
    tree::{Left, Node, Split, Tree},
    twelve_digits,
};
use crate::{synthetic::Random, table::Table};

const TREES: usize = 200;
/// Trees that are grown, and copied, at once: what smartcore hands out is large.
const TREES_AT_ONCE: usize = 10;
const LEAF_ROWS_MIN: usize = 5;
/// Where outcomes are rare, leaves are large enough to hold this many of them on average: shares of smaller ones tell nothing, and
/// explaining a score takes time by the number of leaves.
const LEAF_POSITIVES_MIN: f64 = 0.5;
/// The most rows that one group of trees draws from: smartcore takes minutes for more.
const ROWS_MAX: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forest {
    /// Leaves are shares of positive outcomes.
    pub trees: Vec<Tree>,
    /// No mean share is believed to be nearer to 0 or 1 than this.
    pub margin: f64,
}

impl Forest {
    /// Fits rows to their outcomes; forests shrink towards the mean, and the calibration stretches them again.
    ///
    /// # Errors
    /// When all outcomes are the same, no input varies, or smartcore fails.
    pub fn fit(table: &Table, outcomes: &[bool], seed: u64, threads: usize) -> Result<(Self, Calibration), FitError> {
        let positives = outcomes.iter().filter(|y| **y).count();
        if positives == 0 || positives == outcomes.len() {
            return Err(FitError::OneOutcome);
        }
        let encoding = Encoding::of(table);
        if encoding.columns.is_empty() {
            return Err(FitError::NoColumns);
        }
        let groups = in_threads(threads, (0..TREES / TREES_AT_ONCE).collect(), |group| {
            // smartcore seeds tree i with seed + i.
            grow(
                &encoding,
                table,
                outcomes,
                seed.wrapping_mul(1_000_003) ^ ((group * TREES) as u64),
            )
        });
        let (mut trees, mut unseen) = (Vec::with_capacity(TREES), vec![(0.0, 0.0); outcomes.len()]);
        for group in groups {
            let (grown, of_unseen) = group?;
            trees.extend(grown);
            for (row, share) in of_unseen {
                let (sum, n) = &mut unseen[row];
                (*sum, *n) = (*sum + share, *n + 1.0);
            }
        }
        let margin = 0.5 / (outcomes.len() as f64 + 1.0);
        let judged = unseen.iter().zip(outcomes).filter(|((_, n), _)| *n > 0.0);
        let judged: Vec<(f64, bool)> = judged.map(|((sum, n), y)| (log_odds_of(sum / n, margin), *y)).collect();
        Ok((Self { trees, margin }, Calibration::fit(&judged)))
    }

    #[must_use]
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        self.log_odds_of_sum(self.trees.iter().map(|tree| tree.value(x)).sum())
    }

    /// The log-odds of the sum of all trees' values.
    pub(crate) fn log_odds_of_sum(&self, sum: f64) -> f64 {
        log_odds_of(sum / self.trees.len() as f64, self.margin)
    }

    /// The trees' Shapley values add up in shares; here they are stretched by one factor to add up in log-odds.
    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Prediction {
        let (mut parts, mut mean) = (vec![0.0; x.len()], 0.0);
        let n = self.trees.len() as f64;
        for tree in &self.trees {
            tree.contributions(x, &mut parts);
            mean += tree.mean() / n;
        }
        let base = log_odds_of(mean, self.margin);
        let moved = parts.iter().sum::<f64>();
        let factor = if moved.abs() > f64::EPSILON {
            (self.log_odds(x) - base) / moved
        } else {
            0.0
        };
        let parts = parts.into_iter().enumerate().filter(|(_, part)| *part != 0.0);
        Prediction::from_parts(base, parts.map(|(input, part)| (input, part * factor)).collect())
    }
}

/// The fewest rows of a leaf.
fn leaf_rows(outcomes: &[bool]) -> usize {
    let positives = outcomes.iter().filter(|y| **y).count().max(1);
    let rows = LEAF_POSITIVES_MIN * outcomes.len() as f64 / positives as f64;
    (rows.ceil() as usize).max(LEAF_ROWS_MIN)
}

fn log_odds_of(share: f64, margin: f64) -> f64 {
    let share = share.clamp(margin, 1.0 - margin);
    (share / (1.0 - share)).ln()
}

/// How inputs become smartcore's columns, in which nothing may be missing.
struct Encoding {
    columns: Vec<Column>,
}

struct Column {
    input: usize,
    /// The category that a column of flags is about.
    is: Option<usize>,
    /// What stands for a missing value: less than every value, so that it goes left everywhere.
    missing: f64,
}

impl Encoding {
    fn of(table: &Table) -> Self {
        let mut columns = Vec::new();
        for (index, (input, values)) in table.inputs.iter().zip(&table.columns).enumerate() {
            if let Some(categories) = input.categories() {
                columns.extend((0..categories).map(|category| Column {
                    input: index,
                    is: Some(category),
                    missing: 0.0,
                }));
                continue;
            }
            let least = values
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .fold(f64::INFINITY, f64::min)
                .max(-LARGEST);
            if least.is_finite() {
                columns.push(Column {
                    input: index,
                    is: None,
                    missing: least - least.abs() - 1.0,
                });
            }
        }
        let varies = |column: &Column| {
            let mut values = table.columns[column.input].iter().map(|value| column.encode(*value));
            let first = values.next();
            values.any(|value| Some(value) != first)
        };
        columns.retain(varies);
        Self { columns }
    }
}

impl Column {
    fn encode(&self, value: f64) -> f64 {
        match self.is {
            Some(category) => f64::from(u8::from(value == category as f64)),
            None if value.is_finite() => value.clamp(-LARGEST, LARGEST),
            None => self.missing,
        }
    }

    fn split(&self, at_most: f64, left: usize, right: usize) -> Split {
        let (left, right) = if self.is.is_some() {
            (right, left)
        } else {
            (left, right)
        };
        Split {
            input: self.input,
            goes_left: match self.is {
                // Smartcore's right side is the category; here it is the left one, so that every other value goes right.
                Some(category) => Left::OneOf(vec![category]),
                None => Left::AtMost(at_most),
            },
            missing_left: self.is.is_none(),
            left,
            right,
        }
    }
}

type Regressor = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;
/// Trees, and for rows that some of them did not see, what those say.
type Grown = (Vec<Tree>, Vec<(usize, f64)>);

fn grow(encoding: &Encoding, table: &Table, outcomes: &[bool], seed: u64) -> Result<Grown, FitError> {
    let failed = |cause: smartcore::error::Failed| FitError::Solver(cause.to_string());
    let mut rows: Vec<usize> = (0..outcomes.len()).collect();
    if rows.len() > ROWS_MAX {
        Random::seeded(seed).shuffle(&mut rows);
        rows.truncate(ROWS_MAX);
    }
    let width = encoding.columns.len();
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in &rows {
        values.extend(
            encoding
                .columns
                .iter()
                .map(|column| column.encode(table.columns[column.input][*row])),
        );
    }
    let x = DenseMatrix::new(rows.len(), width, values, false).map_err(failed)?;
    let y: Vec<f64> = rows.iter().map(|row| f64::from(u8::from(outcomes[*row]))).collect();
    let parameters = RandomForestRegressorParameters::default()
        .with_n_trees(TREES_AT_ONCE)
        .with_min_samples_leaf(leaf_rows(outcomes))
        .with_m(((width as f64).sqrt().round() as usize).max(1))
        .with_keep_samples(true)
        .with_seed(seed);
    let fitted = Regressor::fit(&x, &y, parameters).map_err(failed)?;
    // A row that every tree has seen is 0/0 there.
    let unseen = fitted.predict_oob(&x).map_err(failed)?;
    let unseen = rows
        .iter()
        .copied()
        .zip(unseen)
        .filter(|(_, share)| share.is_finite())
        .collect();
    let copied = serde_json::to_value(&fitted).and_then(serde_json::from_value::<Copied>);
    let copied = copied.map_err(|cause| FitError::Solver(cause.to_string()))?;
    let mut trees: Vec<Tree> = copied
        .forest_regressor
        .trees
        .into_iter()
        .map(|tree| tree.flat(encoding))
        .collect();
    let mut seen = vec![Vec::with_capacity(table.columns.len()); rows.len()];
    for (x, row) in seen.iter_mut().zip(&rows) {
        table.row_into(*row, x);
    }
    for tree in &mut trees {
        tree.count_covers(seen.iter().map(Vec::as_slice));
    }
    Ok((trees, unseen))
}

/// What is read of smartcore's own serialisation.
#[derive(Deserialize)]
struct Copied {
    forest_regressor: CopiedForest,
}

#[derive(Deserialize)]
struct CopiedForest {
    trees: Vec<CopiedTree>,
}

#[derive(Deserialize)]
struct CopiedTree {
    nodes: Vec<CopiedNode>,
}

#[derive(Deserialize)]
struct CopiedNode {
    output: f64,
    split_feature: usize,
    split_value: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

impl CopiedTree {
    fn flat(self, encoding: &Encoding) -> Tree {
        let node = |node: CopiedNode| Node {
            value: nine_decimals(node.output),
            cover: 0.0,
            split: match (node.split_value, node.true_child, node.false_child) {
                (Some(at_most), Some(left), Some(right)) => {
                    Some(encoding.columns[node.split_feature].split(twelve_digits(at_most), left, right))
                }
                _ => None,
            },
        };
        Tree {
            nodes: self.nodes.into_iter().map(node).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_larger_where_outcomes_are_rare() {
        let outcomes = |positives: usize| (0..1_000).map(|row| row < positives).collect::<Vec<_>>();
        assert_eq!(
            [500, 160, 10].map(|positives| leaf_rows(&outcomes(positives))),
            [5, 5, 50]
        );
    }
}
