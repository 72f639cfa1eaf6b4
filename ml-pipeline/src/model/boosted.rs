//! Boosted trees on the additive model's bins and gradients: the ceiling that the glass box is measured against.
//!
//! Leaf-wise histogram boosting with logistic loss (Ke et al., "LightGBM", NIPS 2017).

use serde::{Deserialize, Serialize};

use super::{
    FitError, Prediction,
    bins::{Binned, Binning, MISSING},
    gradient::{Part, Sums},
    nine_decimals,
    tree::{Left, Node, Split, Tree},
};
use crate::{synthetic::Random, table::Table};

const BINS: usize = 128;
/// How much of a step is taken.
const RATE: f64 = 0.05;
const LEAVES_MAX: usize = 15;
const LEAF_ROWS_MIN: usize = 20;
const RIDGE: f64 = 1.0;
const GAIN_MIN: f64 = 1e-3;
const TREES_MAX: usize = 600;
/// The rows that say when to stop.
const HELD_OUT: f64 = 0.15;
/// After how many trees without improvement it is over.
const PATIENCE: usize = 25;
/// More than every value; a power of ten, which JSON readers get right.
const EVERYTHING: f64 = 1e308;
/// The share of rows and of inputs that a tree sees.
const ROWS_SEEN: f64 = 0.8;
const INPUTS_SEEN: f64 = 0.8;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boosted {
    /// Log-odds before any tree.
    pub intercept: f64,
    /// Leaves are log-odds.
    pub trees: Vec<Tree>,
}

impl Boosted {
    /// Fits rows to their outcomes: once on a part to learn how many trees it takes, then on all.
    ///
    /// # Errors
    /// When all outcomes are the same, or no input varies.
    pub fn fit(table: &Table, outcomes: &[bool], seed: u64) -> Result<Self, FitError> {
        let positives = outcomes.iter().filter(|y| **y).count();
        if positives == 0 || positives == outcomes.len() {
            return Err(FitError::OneOutcome);
        }
        let binned = Binned::of(table, BINS);
        if binned.columns.iter().all(|bins| bins.iter().all(|bin| *bin == bins[0])) {
            return Err(FitError::NoColumns);
        }
        let mut random = Random::seeded(seed);
        let mut rows: Vec<u32> = (0..outcomes.len() as u32).collect();
        random.shuffle(&mut rows);
        let held_out = rows.split_off(((rows.len() as f64) * (1.0 - HELD_OUT)) as usize);
        let trees = Growth::new(&binned, outcomes, rows, held_out, seed).trees_until_stopped();
        let all = (0..outcomes.len() as u32).collect();
        Ok(Growth::new(&binned, outcomes, all, Vec::new(), seed).grow(trees.max(1)))
    }

    #[must_use]
    pub fn log_odds(&self, x: &[f64]) -> f64 {
        self.intercept + self.trees.iter().map(|tree| tree.value(x)).sum::<f64>()
    }

    #[must_use]
    pub fn predict(&self, x: &[f64]) -> Prediction {
        let mut parts = vec![0.0; x.len()];
        let mut base = self.intercept;
        for tree in &self.trees {
            base += tree.mean();
            tree.contributions(x, &mut parts);
        }
        let parts = parts.into_iter().enumerate().filter(|(_, part)| *part != 0.0);
        Prediction::from_parts(base, parts.collect())
    }
}

struct Growth<'a> {
    binned: &'a Binned,
    /// Bins by input, then by place in `train`.
    columns: Vec<Vec<u8>>,
    judge_columns: Vec<Vec<u8>>,
    /// Where each input's bins begin in a histogram.
    offsets: Vec<usize>,
    train: Part,
    judge: Part,
    intercept: f64,
    random: Random,
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    rows: Vec<u32>,
    sums: Vec<Sums>,
    counts: Vec<u32>,
    best: Option<Candidate>,
}

#[derive(Clone)]
struct Candidate {
    gain: f64,
    input: usize,
    /// The bins that go left.
    left: Vec<bool>,
}

impl<'a> Growth<'a> {
    fn new(binned: &'a Binned, outcomes: &[bool], rows: Vec<u32>, held_out: Vec<u32>, seed: u64) -> Self {
        let of = |rows: &[u32]| rows.iter().map(|row| outcomes[*row as usize]).collect::<Vec<_>>();
        let (train, judge) = (of(&rows), of(&held_out));
        let rate = (train.iter().filter(|y| **y).count() as f64 + 0.5) / (train.len() as f64 + 1.0);
        let intercept = (rate / (1.0 - rate)).ln();
        let mut offsets = vec![0];
        for binning in &binned.binnings {
            offsets.push(offsets.last().copied().unwrap_or(0) + binning.count());
        }
        Self {
            columns: binned.take(&rows),
            judge_columns: binned.take(&held_out),
            binned,
            offsets,
            train: Part::new(&train, intercept),
            judge: Part::new(&judge, intercept),
            intercept,
            random: Random::seeded(seed ^ 0x7265_6573),
        }
    }

    fn trees_until_stopped(mut self) -> usize {
        let (mut least, mut best) = (self.judge.loss(), 0);
        for count in 1..=TREES_MAX {
            if self.tree().is_none() {
                break;
            }
            let loss = self.judge.loss();
            if loss < least {
                (least, best) = (loss, count);
            } else if count >= best + PATIENCE {
                break;
            }
        }
        best
    }

    fn grow(mut self, count: usize) -> Boosted {
        let trees = (0..count).map_while(|_| self.tree()).collect();
        Boosted {
            intercept: nine_decimals(self.intercept),
            trees,
        }
    }

    /// Grows one tree and adds it to the scores.
    fn tree(&mut self) -> Option<Tree> {
        let inputs: Vec<usize> = (0..self.columns.len())
            .filter(|_| self.random.happens(INPUTS_SEEN))
            .collect();
        let all = self.train.len() as u32;
        let seen: Vec<u32> = (0..all).filter(|_| self.random.happens(ROWS_SEEN)).collect();
        let mut tree = Tree { nodes: Vec::new() };
        // By node: the bins that go left, to send rows down without their values.
        let mut lefts: Vec<Option<(usize, Vec<bool>)>> = Vec::new();
        let mut open = vec![self.open(&mut tree, &mut lefts, seen, None, &inputs)];
        while open.len() < LEAVES_MAX {
            let gain = |leaf: &Open| leaf.best.as_ref().map_or(0.0, |best| best.gain);
            let most = (0..open.len()).max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])));
            let Some(index) = most.filter(|index| gain(&open[*index]) > GAIN_MIN) else {
                break;
            };
            let leaf = open.swap_remove(index);
            let Some(best) = leaf.best.clone() else { break };
            let bins = &self.columns[best.input];
            let (left, right): (Vec<u32>, Vec<u32>) = leaf
                .rows
                .iter()
                .partition(|row| best.left[usize::from(bins[**row as usize])]);
            // The histogram of the larger child is what the smaller one leaves over.
            let (small, large) = if left.len() <= right.len() {
                (left.clone(), right.clone())
            } else {
                (right.clone(), left.clone())
            };
            let left_is_small = left.len() <= right.len();
            let parent = leaf.node;
            let small = self.open(&mut tree, &mut lefts, small, None, &inputs);
            let large = self.open(&mut tree, &mut lefts, large, Some((&leaf, &small)), &inputs);
            let children = if left_is_small {
                (small.node, large.node)
            } else {
                (large.node, small.node)
            };
            tree.nodes[parent].split = Some(self.split(&best, children));
            lefts[parent] = Some((best.input, best.left));
            open.push(small);
            open.push(large);
        }
        if tree.nodes.len() < 2 {
            return None;
        }
        for (part, columns) in [(&mut self.train, &self.columns), (&mut self.judge, &self.judge_columns)] {
            let mut ends: Vec<u8> = Vec::with_capacity(part.len());
            for row in 0..part.len() {
                let mut at = 0;
                while let (Some(split), Some((input, left))) = (&tree.nodes[at].split, &lefts[at]) {
                    at = if left[usize::from(columns[*input][row])] {
                        split.left
                    } else {
                        split.right
                    };
                }
                ends.push(at as u8);
            }
            let values: Vec<f64> = tree.nodes.iter().map(|node| node.value).collect();
            part.add(&ends, &values);
        }
        Some(tree)
    }

    fn open(
        &self,
        tree: &mut Tree,
        lefts: &mut Vec<Option<(usize, Vec<bool>)>>,
        rows: Vec<u32>,
        rest: Option<(&Open, &Open)>,
        inputs: &[usize],
    ) -> Open {
        let total = self.offsets.last().copied().unwrap_or(0);
        let (mut sums, mut counts);
        if let Some((parent, sibling)) = rest {
            sums = parent
                .sums
                .iter()
                .zip(&sibling.sums)
                .map(|(all, other)| all.minus(other))
                .collect();
            counts = parent
                .counts
                .iter()
                .zip(&sibling.counts)
                .map(|(all, other)| all - other)
                .collect();
        } else {
            (sums, counts) = (vec![Sums::default(); total], vec![0_u32; total]);
            let slopes: Vec<[f32; 2]> = rows.iter().map(|row| self.train.slopes()[*row as usize]).collect();
            for input in inputs {
                let (from, bins) = (self.offsets[*input], &self.columns[*input]);
                let (sums, counts) = (
                    &mut sums[from..self.offsets[input + 1]],
                    &mut counts[from..self.offsets[input + 1]],
                );
                for (row, [gradient, curvature]) in rows.iter().zip(&slopes) {
                    let bin = usize::from(bins[*row as usize]);
                    sums[bin].gradient += f64::from(*gradient);
                    sums[bin].curvature += f64::from(*curvature);
                    counts[bin] += 1;
                }
            }
        }
        let mut all = Sums::default();
        for row in &rows {
            let [gradient, curvature] = self.train.slopes()[*row as usize];
            all.gradient += f64::from(gradient);
            all.curvature += f64::from(curvature);
        }
        let node = tree.nodes.len();
        tree.nodes.push(Node {
            value: nine_decimals(RATE * all.step(RIDGE)),
            cover: rows.len() as f64,
            split: None,
        });
        lefts.push(None);
        let mut best: Option<Candidate> = None;
        if rows.len() >= 2 * LEAF_ROWS_MIN {
            for input in inputs {
                let range = self.offsets[*input]..self.offsets[input + 1];
                let found = best_split(
                    *input,
                    &self.binned.binnings[*input],
                    &sums[range.clone()],
                    &counts[range],
                    &all,
                    rows.len(),
                );
                if found.as_ref().map_or(0.0, |found| found.gain) > best.as_ref().map_or(0.0, |best| best.gain) {
                    best = found;
                }
            }
        }
        Open {
            node,
            rows,
            sums,
            counts,
            best,
        }
    }

    fn split(&self, best: &Candidate, (left, right): (usize, usize)) -> Split {
        let goes_left = match &self.binned.binnings[best.input] {
            Binning::Numeric { cuts, .. } => {
                let last = (1..best.left.len()).rev().find(|bin| best.left[*bin]).unwrap_or(0);
                // Behind the last cut everything known goes left, and only what is missing does not.
                let cut = last.checked_sub(1).and_then(|index| cuts.get(index));
                Left::AtMost(cut.copied().unwrap_or(EVERYTHING))
            }
            Binning::Category { .. } => Left::OneOf(
                (1..best.left.len())
                    .filter(|bin| best.left[*bin])
                    .map(|bin| bin - 1)
                    .collect(),
            ),
        };
        Split {
            input: best.input,
            goes_left,
            missing_left: best.left[usize::from(MISSING)],
            left,
            right,
        }
    }
}

/// The best way to send the bins of one input to two sides.
fn best_split(
    input: usize,
    binning: &Binning,
    sums: &[Sums],
    counts: &[u32],
    all: &Sums,
    rows: usize,
) -> Option<Candidate> {
    let mut order: Vec<usize> = (1..sums.len()).filter(|bin| counts[*bin] > 0).collect();
    if !binning.is_ordered() {
        // Categories in the order of their step: of all subsets the best one is then a beginning (Fisher, 1958).
        order.sort_by(|a, b| sums[*a].step(RIDGE).total_cmp(&sums[*b].step(RIDGE)));
    }
    let mut best: Option<(f64, usize, bool)> = None;
    let sides: &[bool] = if counts[0] > 0 { &[true, false] } else { &[false] };
    for &missing_left in sides {
        let (mut left, mut left_rows) = (Sums::default(), 0);
        if missing_left {
            left.add(&sums[0]);
            left_rows += counts[0] as usize;
        }
        for (index, bin) in order.iter().enumerate() {
            left.add(&sums[*bin]);
            left_rows += counts[*bin] as usize;
            if left_rows < LEAF_ROWS_MIN || rows - left_rows < LEAF_ROWS_MIN {
                continue;
            }
            let gain = left.gain(RIDGE) + all.minus(&left).gain(RIDGE) - all.gain(RIDGE);
            if gain > best.map_or(0.0, |(gain, ..)| gain) {
                // Where nothing is missing in training, what is missing later goes with the larger side.
                let missing_left = if counts[0] > 0 {
                    missing_left
                } else {
                    2 * left_rows >= rows
                };
                best = Some((gain, index, missing_left));
            }
        }
    }
    let (gain, index, missing_left) = best?;
    let mut left = vec![false; sums.len()];
    left[0] = missing_left;
    if binning.is_ordered() {
        // Empty bins on the way go with their neighbours.
        left[1..=order[index]].fill(true);
    } else {
        // The side with what is missing is the right one: there goes a category that no row had, too.
        let listed = if missing_left {
            &order[index + 1..]
        } else {
            &order[..=index]
        };
        left[0] = false;
        for bin in listed {
            left[*bin] = true;
        }
    }
    Some(Candidate { gain, input, left })
}
