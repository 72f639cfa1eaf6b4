//! A decision tree as a flat list of nodes, shared by the forest and the boosted trees, and its exact contributions.

use serde::{Deserialize, Serialize};

/// Nodes in an order in which children follow their parents; the first is the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tree {
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What a row that ends here gets.
    pub value: f64,
    /// How many training rows came by.
    pub cover: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The input's place in the table.
    pub input: usize,
    pub goes_left: Left,
    /// Where what is missing goes.
    pub missing_left: bool,
    pub left: usize,
    pub right: usize,
}

/// Which known values go to the left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    AtMost(f64),
    /// Categories, in order. What is in no list, for no row of training had it, goes to the other side; so does what is missing.
    OneOf(Vec<usize>),
}

/// Trees for many rows at once: small nodes in one list, so that a tree stays in the cache while a block of rows goes
/// through it.
pub struct Compact<'t> {
    nodes: Vec<CompactNode<'t>>,
    /// Where each tree begins.
    roots: Vec<u32>,
}

struct CompactNode<'t> {
    test: Test<'t>,
    /// Of the table.
    input: u32,
    left: u32,
    right: u32,
    missing: u32,
}

enum Test<'t> {
    Leaf(f64),
    AtMost(f64),
    OneOf(&'t [usize]),
}

impl<'t> Compact<'t> {
    #[must_use]
    pub fn of(trees: &'t [Tree]) -> Self {
        let (mut nodes, mut roots) = (Vec::new(), Vec::with_capacity(trees.len()));
        for tree in trees {
            let root = nodes.len() as u32;
            roots.push(root);
            nodes.extend(tree.nodes.iter().map(|node| match &node.split {
                None => CompactNode {
                    test: Test::Leaf(node.value),
                    input: 0,
                    left: 0,
                    right: 0,
                    missing: 0,
                },
                Some(split) => {
                    let (left, right) = (root + split.left as u32, root + split.right as u32);
                    CompactNode {
                        test: match &split.goes_left {
                            Left::AtMost(most) => Test::AtMost(*most),
                            Left::OneOf(categories) => Test::OneOf(categories),
                        },
                        input: split.input as u32,
                        left,
                        right,
                        missing: if split.missing_left { left } else { right },
                    }
                }
            }));
        }
        Self { nodes, roots }
    }

    /// Adds every tree's value of each row to its sum, tree by tree.
    pub fn add(&self, rows: &[Vec<f64>], sums: &mut [f64]) {
        for root in &self.roots {
            for (x, sum) in rows.iter().zip(sums.iter_mut()) {
                let mut node = &self.nodes[*root as usize];
                *sum += loop {
                    let value = x[node.input as usize];
                    let left = match node.test {
                        Test::Leaf(value) => break value,
                        _ if !value.is_finite() => {
                            node = &self.nodes[node.missing as usize];
                            continue;
                        }
                        Test::AtMost(most) => value <= most,
                        Test::OneOf(categories) => value >= 0.0 && categories.binary_search(&(value as usize)).is_ok(),
                    };
                    node = &self.nodes[if left { node.left } else { node.right } as usize];
                };
            }
        }
    }
}

impl Split {
    #[must_use]
    pub fn child(&self, x: &[f64]) -> usize {
        let value = x[self.input];
        let left = match &self.goes_left {
            _ if !value.is_finite() => self.missing_left,
            Left::AtMost(most) => value <= *most,
            Left::OneOf(categories) => value >= 0.0 && categories.binary_search(&(value as usize)).is_ok(),
        };
        if left { self.left } else { self.right }
    }
}

impl Tree {
    /// The value of the leaf that a row ends in.
    #[must_use]
    pub fn value(&self, x: &[f64]) -> f64 {
        let mut node = &self.nodes[0];
        while let Some(split) = &node.split {
            node = &self.nodes[split.child(x)];
        }
        node.value
    }

    /// The mean value over the rows that the tree has seen.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let leaves = self.nodes.iter().filter(|node| node.split.is_none());
        let sum: f64 = leaves.map(|leaf| leaf.value * leaf.cover).sum();
        sum / self.nodes[0].cover.max(f64::MIN_POSITIVE)
    }

    /// Counts the rows that come by each node.
    pub fn count_covers<'r>(&mut self, rows: impl Iterator<Item = &'r [f64]>) {
        for node in &mut self.nodes {
            node.cover = 0.0;
        }
        for x in rows {
            let mut at = 0;
            loop {
                self.nodes[at].cover += 1.0;
                match &self.nodes[at].split {
                    Some(split) => at = split.child(x),
                    None => break,
                }
            }
        }
    }

    /// Adds the Shapley value of every input to `parts`: with [`Tree::mean`] they add up to the row's value. What an
    /// unknown input would have done is taken from the covers (path-dependent TreeSHAP: Lundberg, Erion and Lee, "Consistent
    /// individualized feature attribution for tree ensembles", 2018, algorithm 2).
    pub fn contributions(&self, x: &[f64], parts: &mut [f64]) {
        self.descend(0, x, &mut Paths::default(), (1.0, 1.0, None), parts);
    }

    fn descend(&self, at: usize, x: &[f64], paths: &mut Paths, step: (f64, f64, Option<usize>), parts: &mut [f64]) {
        paths.begin_with_last();
        paths.extend(step.0, step.1, step.2);
        let node = &self.nodes[at];
        let Some(split) = &node.split else {
            if node.value != 0.0 {
                add_leaf(paths.last(), node.value, parts);
            }
            paths.end();
            return;
        };
        let hot = split.child(x);
        let cold = if hot == split.left { split.right } else { split.left };
        let (mut zero, mut one) = (1.0, 1.0);
        // An input that was split on before: its earlier step is taken back, and this one stands for both.
        let is_same = |element: &Element| element.input == Some(split.input);
        if let Some(earlier) = paths.last().iter().position(is_same) {
            (zero, one) = (paths.last()[earlier].zero, paths.last()[earlier].one);
            paths.unwind(earlier);
        }
        let share = |child: usize| {
            if node.cover > 0.0 {
                self.nodes[child].cover / node.cover
            } else {
                0.5
            }
        };
        self.descend(hot, x, paths, (zero * share(hot), one, Some(split.input)), parts);
        self.descend(cold, x, paths, (zero * share(cold), 0.0, Some(split.input)), parts);
        paths.end();
    }
}

/// The paths from the root to the node that is visited, one after the other in one buffer: nothing is allocated on the way. A path
/// has the inputs that were split on along it, with the share of paths that go on without (`zero`) and with (`one`) each, and
/// the weights of sets by size.
#[derive(Default)]
struct Paths {
    elements: Vec<Element>,
    begins: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Element {
    input: Option<usize>,
    zero: f64,
    one: f64,
    weight: f64,
}

impl Paths {
    /// A new path, as long as the last one was.
    fn begin_with_last(&mut self) {
        let end = self.elements.len();
        self.elements.extend_from_within(self.begin()..end);
        self.begins.push(end);
    }

    fn end(&mut self) {
        self.elements.truncate(self.begin());
        self.begins.pop();
    }

    fn begin(&self) -> usize {
        self.begins.last().copied().unwrap_or_default()
    }

    fn last(&self) -> &[Element] {
        &self.elements[self.begin()..]
    }

    fn extend(&mut self, zero: f64, one: f64, input: Option<usize>) {
        let begin = self.begin();
        let length = self.elements.len() - begin;
        self.elements.push(Element {
            input,
            zero,
            one,
            weight: if length == 0 { 1.0 } else { 0.0 },
        });
        let path = &mut self.elements[begin..];
        for i in (0..length).rev() {
            path[i + 1].weight += one * path[i].weight * (i + 1) as f64 / (length + 1) as f64;
            path[i].weight = zero * path[i].weight * (length - i) as f64 / (length + 1) as f64;
        }
    }

    fn unwind(&mut self, index: usize) {
        let begin = self.begin();
        let path = &mut self.elements[begin..];
        let last = path.len() - 1;
        let (zero, one) = (path[index].zero, path[index].one);
        let mut next = path[last].weight;
        for i in (0..last).rev() {
            if one != 0.0 {
                let weight = path[i].weight;
                path[i].weight = next * (last + 1) as f64 / ((i + 1) as f64 * one);
                next = weight - path[i].weight * zero * (last - i) as f64 / (last + 1) as f64;
            } else {
                path[i].weight = path[i].weight * (last + 1) as f64 / (zero * (last - i) as f64);
            }
        }
        for i in index..last {
            let Element { input, zero, one, .. } = path[i + 1];
            (path[i].input, path[i].zero, path[i].one) = (input, zero, one);
        }
        self.elements.pop();
    }
}

/// Adds to each input what a leaf at the end of a path says of it.
fn add_leaf(path: &[Element], value: f64, parts: &mut [f64]) {
    // Of all the steps that the row does not go (`one` is 0) the sums differ by a factor alone.
    let mut not_gone = None;
    for (index, element) in path.iter().enumerate().skip(1) {
        let Some(input) = element.input else { continue };
        let sum = if element.one == 0.0 {
            *not_gone.get_or_insert_with(|| sum_without_ungone(path)) / element.zero
        } else {
            sum_without_gone(path, index)
        };
        parts[input] += sum * (element.one - element.zero) * value;
    }
}

/// The weights that a path would have without a step that the row does not go, added up, times the step's `zero`.
fn sum_without_ungone(path: &[Element]) -> f64 {
    let last = path.len() - 1;
    let weights = path[..last].iter().enumerate();
    weights
        .map(|(i, element)| element.weight * (last + 1) as f64 / (last - i) as f64)
        .sum()
}

/// The weights that a path would have without a step that the row goes (`one` is 1), added up.
fn sum_without_gone(path: &[Element], index: usize) -> f64 {
    let last = path.len() - 1;
    let (length, zero) = ((last + 1) as f64, path[index].zero / (last + 1) as f64);
    let (mut next, mut sum) = (path[last].weight, 0.0);
    for i in (0..last).rev() {
        let weight = next * length / (i + 1) as f64;
        next = path[i].weight - weight * zero * (last - i) as f64;
        sum += weight;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn leaf(value: f64, cover: f64) -> Node {
        Node {
            value,
            cover,
            split: None,
        }
    }

    fn inner(input: usize, at_most: f64, left: usize, right: usize, cover: f64) -> Node {
        Node {
            value: 0.0,
            cover,
            split: Some(Split {
                input,
                goes_left: Left::AtMost(at_most),
                missing_left: true,
                left,
                right,
            }),
        }
    }

    /// The tree's value when only the inputs in `known` are known: by covers elsewhere.
    fn expectation(tree: &Tree, at: usize, x: &[f64], known: u32) -> f64 {
        let node = &tree.nodes[at];
        let Some(split) = &node.split else { return node.value };
        if known & (1 << split.input) != 0 {
            return expectation(tree, split.child(x), x, known);
        }
        let of = |child: usize| tree.nodes[child].cover / node.cover * expectation(tree, child, x, known);
        of(split.left) + of(split.right)
    }

    fn factorial(n: u32) -> f64 {
        (1..=n).map(f64::from).product()
    }

    /// Shapley's own formula, over all sets.
    fn shapley(tree: &Tree, x: &[f64], input: usize) -> f64 {
        let n = x.len() as u32;
        let sets = (0..1_u32 << n).filter(|set| set & (1 << input) == 0);
        sets.map(|set| {
            let weight = factorial(set.count_ones()) * factorial(n - set.count_ones() - 1) / factorial(n);
            weight * (expectation(tree, 0, x, set | (1 << input)) - expectation(tree, 0, x, set))
        })
        .sum()
    }

    #[test]
    fn contributions_are_the_shapley_values_by_definition() {
        // Input 0 is split on twice along one path.
        let tree = Tree {
            nodes: vec![
                inner(0, 0.0, 1, 2, 100.0),
                inner(1, 0.5, 3, 4, 60.0),
                inner(2, -0.5, 5, 6, 40.0),
                leaf(1.0, 20.0),
                inner(0, -1.0, 7, 8, 40.0),
                leaf(-2.0, 10.0),
                leaf(3.0, 30.0),
                leaf(5.0, 15.0),
                leaf(-4.0, 25.0),
            ],
        };
        let mut random = Random::seeded(11);
        for _ in 0..200 {
            let x = [2.0 * random.normal(), random.normal(), random.normal()];
            let mut parts = [0.0; 3];
            tree.contributions(&x, &mut parts);
            for (input, part) in parts.iter().enumerate() {
                let right = shapley(&tree, &x, input);
                assert!(
                    (part - right).abs() < 1e-9,
                    "{part} is not {right} for input {input} of {x:?}"
                );
            }
            assert!((tree.mean() + parts.iter().sum::<f64>() - tree.value(&x)).abs() < 1e-9);
        }
    }

    #[test]
    fn covers_are_the_rows_that_come_by() {
        let mut tree = Tree {
            nodes: vec![
                inner(0, 0.0, 1, 2, 99.0),
                leaf(1.0, 99.0),
                inner(1, 0.5, 3, 4, 99.0),
                leaf(2.0, 99.0),
                leaf(3.0, 99.0),
            ],
        };
        let rows = [[0.0, 9.0], [f64::NAN, 9.0], [1.0, 0.5], [1.0, 0.6], [2.0, 7.0]];
        tree.count_covers(rows.iter().map(<[f64; 2]>::as_slice));
        let covers: Vec<f64> = tree.nodes.iter().map(|node| node.cover).collect();
        assert_eq!(covers, [5.0, 2.0, 3.0, 1.0, 2.0]);
        let mean = rows.iter().map(|x| tree.value(x)).sum::<f64>() / 5.0;
        assert!((tree.mean() - mean).abs() < 1e-12);
    }

    #[test]
    fn categories_and_missing_values_find_their_side() {
        let split = Split {
            input: 0,
            goes_left: Left::OneOf(vec![0, 3]),
            missing_left: false,
            left: 1,
            right: 2,
        };
        let sides = [0.0, 1.0, 3.0, 4.0, -1.0, f64::NAN, 1e300].map(|value| split.child(&[value]));
        assert_eq!(sides, [1, 2, 1, 2, 2, 2, 2]);
    }
}
