use super::*;
use crate::{
    features::Direction,
    metrics,
    model::{FitError, Fitting as AnyFitting, Learner, probability},
    synthetic::Random,
    table::{Input, InputKind, Table},
};

fn inputs(names: &[&str]) -> Vec<Input> {
    names.iter().map(|name| Input::numeric(*name)).collect()
}

fn category(name: &str, names: &[&str]) -> Input {
    Input {
        kind: InputKind::Category {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        },
        ..Input::numeric(name)
    }
}

/// Rows drawn one by one, with outcomes by their log-odds.
fn draw(
    inputs: Vec<Input>,
    n: usize,
    seed: u64,
    row: impl Fn(&mut Random) -> Vec<f64>,
    log_odds: impl Fn(&[f64]) -> f64,
) -> (Table, Vec<bool>) {
    let mut random = Random::seeded(seed);
    let mut table = Table {
        columns: vec![Vec::with_capacity(n); inputs.len()],
        inputs,
    };
    let mut outcomes = Vec::with_capacity(n);
    for _ in 0..n {
        let x = row(&mut random);
        outcomes.push(random.happens(probability(log_odds(&x))));
        for (column, value) in table.columns.iter_mut().zip(x) {
            column.push(value);
        }
    }
    (table, outcomes)
}

fn fitted((table, outcomes): &(Table, Vec<bool>), pairs: usize) -> Additive {
    let fitting = Fitting {
        seed: 1,
        pairs,
        threads: 2,
    };
    fit(table, outcomes, &fitting).expect("a model").0
}

fn shape(model: &Additive, input: usize) -> &Shape {
    model
        .shapes
        .iter()
        .find(|shape| shape.input == input)
        .expect("a shape of the input")
}

/// The mean contribution of an input, however signed, over the rows.
fn importance(model: &Additive, table: &Table, input: usize) -> f64 {
    let shape = shape(model, input);
    let values = &table.columns[input];
    values.iter().map(|value| shape.at(*value).abs()).sum::<f64>() / values.len() as f64
}

/// The root of the mean squared distance of a shape from the true one, both with the mean 0 over the rows.
fn distance(model: &Additive, table: &Table, input: usize, truth: impl Fn(f64) -> f64) -> f64 {
    let shape = shape(model, input);
    let values = &table.columns[input];
    let mean = values.iter().map(|value| truth(*value)).sum::<f64>() / values.len() as f64;
    let off = |value: &f64| (shape.at(*value) - (truth(*value) - mean)).powi(2);
    (values.iter().map(off).sum::<f64>() / values.len() as f64).sqrt()
}

fn auc(model: &Additive, (table, outcomes): &(Table, Vec<bool>)) -> f64 {
    let mut x = Vec::new();
    let judged: Vec<(f64, bool)> = (0..table.len())
        .map(|row| {
            table.row_into(row, &mut x);
            (model.log_odds(&x), outcomes[row])
        })
        .collect();
    metrics::roc_auc(&judged).expect("both outcomes")
}

fn bump(x: f64) -> f64 {
    2.0 * (-(x - 0.5).powi(2) / 0.02).exp()
}

fn step(x: f64) -> f64 {
    if x > 0.7 { 1.2 } else { 0.0 }
}

const OF_CATEGORY: [f64; 4] = [0.0, 1.0, -1.0, 0.3];

/// A line, a bump, a step, a category that matters, and pure noise.
fn known(n: usize, seed: u64) -> (Table, Vec<bool>) {
    let mut inputs = inputs(&["line", "bump", "step", "category", "noise"]);
    inputs[3] = category("category", &["a", "b", "c", "d", "never"]);
    let row = |random: &mut Random| {
        vec![
            random.normal(),
            random.unit(),
            random.unit(),
            random.below(4) as f64,
            random.normal(),
        ]
    };
    let log_odds = |x: &[f64]| -1.5 + 0.8 * x[0] + bump(x[1]) + step(x[2]) + OF_CATEGORY[x[3] as usize];
    draw(inputs, n, seed, row, log_odds)
}

#[test]
fn known_shapes_are_found() {
    let rows = known(20_000, 1);
    let model = fitted(&rows, 0);
    let far = [
        distance(&model, &rows.0, 0, |x| 0.8 * x),
        distance(&model, &rows.0, 1, bump),
        distance(&model, &rows.0, 2, step),
        distance(&model, &rows.0, 3, |x| OF_CATEGORY[x as usize]),
        distance(&model, &rows.0, 4, |_| 0.0),
    ];
    println!("distances {far:?}");
    // The shapes' own deviations are .8, .7, .55 and .7.
    for (input, (far, most)) in far.iter().zip([0.1, 0.12, 0.12, 0.05, 0.1]).enumerate() {
        assert!(*far < most, "input {input} is {far} off");
    }
    let jump = shape(&model, 2).at(0.72) - shape(&model, 2).at(0.68);
    assert!(jump > 0.7, "a step is steep: {jump}");
    assert!(
        importance(&model, &rows.0, 4) < 0.05,
        "noise: {}",
        importance(&model, &rows.0, 4)
    );
}

#[test]
fn every_shape_has_the_mean_0_over_the_rows() {
    let rows = known(3_000, 2);
    let model = fitted(&rows, 4);
    assert_eq!(model.pairs.len(), 4);
    for shape in &model.shapes {
        let bins = &rows.0.columns[shape.input];
        // Shapes are lines between bins, so that the mean over the values is 0 only nearly.
        let mean = bins.iter().map(|value| shape.at(*value)).sum::<f64>() / bins.len() as f64;
        assert!(mean.abs() < 0.005, "{mean} for input {}", shape.input);
    }
    for pair in &model.pairs {
        let (a, b) = (&rows.0.columns[pair.inputs.0], &rows.0.columns[pair.inputs.1]);
        let mean = a.iter().zip(b).map(|(a, b)| pair.at(*a, *b)).sum::<f64>() / a.len() as f64;
        assert!(mean.abs() < 1e-6, "{mean} for the pair {:?}", pair.inputs);
    }
}

#[test]
fn contributions_and_base_make_the_log_odds() {
    let (mut table, outcomes) = known(2_000, 3);
    for (row, value) in table.columns[1].iter_mut().enumerate() {
        if row % 7 == 0 {
            *value = f64::NAN;
        }
    }
    let model = fitted(&(table, outcomes), 5);
    let mut random = Random::seeded(9);
    for _ in 0..500 {
        let wild = |random: &mut Random, value: f64| if random.happens(0.1) { f64::NAN } else { value };
        let values = [
            4.0 * random.normal(),
            2.0 * random.unit() - 0.5,
            random.unit(),
            random.below(8) as f64,
            1e9 * random.normal(),
        ];
        let x = values.map(|value| wild(&mut random, value));
        let prediction = model.predict(&x);
        let sum = prediction.base + prediction.contributions.iter().map(|(_, part)| part).sum::<f64>();
        assert!((sum - prediction.log_odds).abs() < 1e-9, "{x:?}");
        assert!((model.log_odds(&x) - prediction.log_odds).abs() < 1e-9, "{x:?}");
        let order: Vec<usize> = prediction.contributions.iter().map(|(input, _)| *input).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }
}

#[test]
fn a_pair_is_shared_equally_by_its_inputs() {
    let model = Additive {
        intercept: -1.0,
        shapes: vec![],
        pairs: vec![PairShape {
            inputs: (0, 2),
            axes: (Axis::Cuts(vec![0.0]), Axis::Categories(2)),
            // Cells of the first input: missing, up to 0, more; of the second: missing, a, b.
            values: vec![0.1, 0.2, 0.3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }],
    };
    for (x, part) in [
        ([-1.0, 0.0, 0.0], 2.0),
        ([0.0, 0.0, 1.0], 3.0),
        ([0.1, 0.0, 1.0], 6.0),
        ([0.1, 0.0, 2.0], 4.0),
        ([0.1, 0.0, -1.0], 4.0),
        ([f64::NAN, 0.0, f64::NAN], 0.1),
    ] {
        let prediction = model.predict(&x);
        assert_eq!(prediction.contributions, [(0, part / 2.0), (2, part / 2.0)]);
        assert!((prediction.log_odds - model.log_odds(&x)).abs() < 1e-12);
    }
}

/// A truth that goes both up and down, but on the whole as is expected, under a constraint that it does only that.
fn held_to(direction: Option<Direction>, pairs: usize) -> (Additive, Table) {
    let row = |random: &mut Random| vec![random.unit(), random.unit()];
    let sign = if direction == Some(Direction::Down) { -1.0 } else { 1.0 };
    let log_odds = |x: &[f64]| sign * ((12.0 * x[0]).sin() + if x[0] > 0.5 { 2.0 * x[1] } else { -2.0 * x[1] });
    let (mut table, outcomes) = draw(inputs(&["held", "free"]), 6_000, 5, row, log_odds);
    for (row, value) in table.columns[0].iter_mut().enumerate() {
        if row % 9 == 0 {
            *value = f64::NAN;
        }
    }
    table.inputs[0].expected = direction;
    (fitted(&(table.clone(), outcomes), pairs), table)
}

/// The log-odds along the held input, with the other one fixed.
fn along(model: &Additive, free: f64) -> Vec<f64> {
    (0..=400)
        .map(|step| model.log_odds(&[f64::from(step) / 400.0, free]))
        .collect()
}

#[test]
fn what_is_expected_to_rise_or_fall_does() {
    for pairs in [0, 1] {
        let (up, _) = held_to(Some(Direction::Up), pairs);
        let (down, _) = held_to(Some(Direction::Down), pairs);
        let (free, _) = held_to(None, pairs);
        assert_eq!([up.pairs.len(), free.pairs.len()], [pairs, pairs]);
        for other in [f64::NAN, 0.05, 0.3, 0.6, 0.95] {
            let (rise, fall) = (along(&up, other), along(&down, other));
            assert!(
                rise.windows(2).all(|two| two[1] > two[0] - 1e-8),
                "with {pairs} pairs, the other at {other}: {rise:?}"
            );
            assert!(
                fall.windows(2).all(|two| two[1] < two[0] + 1e-8),
                "with {pairs} pairs, the other at {other}: {fall:?}"
            );
            assert!(
                rise[400] > rise[0] + 0.1 && fall[400] < fall[0] - 0.1,
                "they move all the same"
            );
            let free = along(&free, other);
            assert!(!free.is_sorted(), "left to itself, it does not rise");
        }
        let Curve::Line { knots } = &shape(&up, 0).curve else {
            panic!("a line")
        };
        assert!(knots.len() > 100 && knots.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1 + 1e-8));
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes_on_any_number_of_threads() {
    let (table, outcomes) = known(600, 6);
    let json = |seed: u64, threads: usize| {
        let fitting = Fitting {
            seed,
            pairs: 3,
            threads,
        };
        serde_json::to_string(&fit(&table, &outcomes, &fitting).expect("a model")).expect("json")
    };
    assert_eq!(json(1, 1), json(1, 2));
    assert_ne!(json(1, 1), json(2, 1));
}

#[test]
fn what_is_written_reads_back_to_the_same_bytes_and_scores() {
    let (mut table, outcomes) = known(2_000, 7);
    // Scales on which nine decimals are too few, or too many.
    for value in &mut table.columns[0] {
        *value *= 1e-9;
    }
    for value in &mut table.columns[2] {
        *value *= 1e12;
    }
    let model = fitted(&(table.clone(), outcomes.clone()), 5);
    let json = serde_json::to_string(&model).expect("json");
    let read: Additive = serde_json::from_str(&json).expect("a model");
    assert_eq!(serde_json::to_string(&read).expect("json"), json);
    let mut x = Vec::new();
    for row in 0..table.len() {
        table.row_into(row, &mut x);
        assert_eq!(read.log_odds(&x).to_bits(), model.log_odds(&x).to_bits(), "{x:?}");
    }
    let usual = fitted(&known(2_000, 7), 0);
    let scaled = |factor: f64| (shape(&model, 0).at(factor * 1e-9) - shape(&usual, 0).at(factor)).abs();
    assert!(scaled(-1.5) < 0.1 && scaled(1.5) < 0.1, "the unit does not matter");
}

#[test]
fn noise_does_not_make_it_worse() {
    let without = {
        let (mut table, outcomes) = known(4_000, 8);
        table.inputs.truncate(4);
        table.columns.truncate(4);
        fitted(&(table, outcomes), 0)
    };
    let mut noisy = known(4_000, 8);
    let mut random = Random::seeded(10);
    for number in 0..10 {
        noisy.0.inputs.push(Input::numeric(format!("noise {number}")));
        noisy.0.columns.push((0..4_000).map(|_| random.normal()).collect());
    }
    let with = fitted(&noisy, 0);
    for input in 4..15 {
        let moved = importance(&with, &noisy.0, input);
        assert!(moved < 0.1, "noise {input} moves the log-odds by {moved}");
    }
    let later = known(20_000, 11);
    let mut later_noisy = later.clone();
    for number in 0..10 {
        later_noisy.0.inputs.push(Input::numeric(format!("noise {number}")));
        later_noisy
            .0
            .columns
            .push((0..20_000).map(|_| random.normal()).collect());
    }
    let (before, after) = (auc(&without, &later), auc(&with, &later_noisy));
    println!("AUC without noise {before:.4}, with {after:.4}");
    assert!(before > 0.75 && after > before - 0.01, "{before} {after}");
}

/// The sign of a product: neither input alone says anything.
fn exclusive_or(n: usize, seed: u64) -> (Table, Vec<bool>) {
    let row = |random: &mut Random| vec![random.normal(), random.normal(), random.normal()];
    let log_odds = |x: &[f64]| if x[0] * x[2] > 0.0 { 2.0 } else { -2.0 };
    draw(inputs(&["a", "noise", "b"]), n, seed, row, log_odds)
}

#[test]
fn an_exclusive_or_is_found_by_pairs_and_not_without() {
    let (table, outcomes) = exclusive_or(4_000, 1);
    let later = exclusive_or(4_000, 2);
    let judged = |learner: Learner| {
        let model = learner.fit(&table, &outcomes, &AnyFitting::default()).expect("a model");
        let scores = model.probabilities(&later.0, 2);
        let judged: Vec<(f64, bool)> = scores.into_iter().zip(later.1.iter().copied()).collect();
        (metrics::roc_auc(&judged).expect("both outcomes"), model)
    };
    let ((alone, _), (paired, model)) = (judged(Learner::Additive), judged(Learner::AdditivePairs));
    // The best that anybody could have is .88.
    assert!(alone < 0.55 && paired > 0.85, "{alone} {paired}");
    let crate::model::Form::Additive(model) = model.form else {
        panic!("an additive model")
    };
    assert_eq!(model.pairs[0].inputs, (0, 2), "the largest pair comes first");
}

#[test]
fn a_missing_value_has_a_contribution_of_its_own() {
    let row = |random: &mut Random| {
        let x = random.normal();
        vec![if random.happens(0.3) { f64::NAN } else { x }, random.normal()]
    };
    let log_odds = |x: &[f64]| -1.0 + if x[0].is_nan() { 2.0 } else { 0.0 } + 0.5 * x[1];
    let rows = draw(inputs(&["often missing", "always there"]), 5_000, 12, row, log_odds);
    let model = fitted(&rows, 0);
    let lifted = |model: &Additive| shape(model, 0).missing - shape(model, 0).at(0.0);
    assert!((lifted(&model) - 2.0).abs() < 0.2, "{}", lifted(&model));
    let mut alone = rows;
    alone.0.inputs.truncate(1);
    alone.0.columns.truncate(1);
    let alone = lifted(&fitted(&alone, 0));
    assert!((alone - 2.0).abs() < 0.3, "no other shape helps: {alone}");
    assert_eq!(
        shape(&model, 0).at(f64::INFINITY).to_bits(),
        shape(&model, 0).missing.to_bits()
    );
    assert_eq!(
        shape(&model, 1).missing.to_bits(),
        0.0_f64.to_bits(),
        "what was never missing is average when it is"
    );
}

#[test]
fn what_was_never_seen_is_level() {
    let rows = known(3_000, 13);
    let model = fitted(&rows, 3);
    let bump = shape(&model, 1);
    let Curve::Line { knots } = &bump.curve else {
        panic!("a line")
    };
    let (first, last) = (knots[0], knots[knots.len() - 1]);
    assert!(first.0 < 0.02 && last.0 > 0.98);
    for (far, end) in [
        (-1e300, first),
        (-0.1, first),
        (last.0, last),
        (1.1, last),
        (1e300, last),
    ] {
        assert_eq!(bump.at(far).to_bits(), end.1.to_bits(), "at {far}");
    }
    let categories = shape(&model, 3);
    for unseen in [4.0, 5.0, 99.0, -1.0, f64::NAN] {
        assert_eq!(categories.at(unseen).to_bits(), 0.0_f64.to_bits(), "category {unseen}");
    }
    assert!(categories.at(1.0) > 0.5 && categories.at(2.0) < -0.5);
}

#[test]
fn between_two_knots_is_a_straight_line() {
    let shape = Shape {
        input: 0,
        curve: Curve::Line {
            knots: vec![(0.0, 1.0), (1.0, 3.0), (3.0, -1.0)],
        },
        missing: 7.0,
    };
    let values = [-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0, f64::NAN].map(|x| shape.at(x));
    assert_eq!(values, [1.0, 1.0, 1.5, 3.0, 1.0, -1.0, -1.0, 7.0]);
}

#[test]
fn a_constant_input_is_left_out() {
    let (mut table, outcomes) = known(500, 14);
    for (input, value) in [(1, 3.5), (4, f64::NAN)] {
        table.columns[input].fill(value);
    }
    let model = fitted(&(table, outcomes), 2);
    let used: Vec<usize> = model.shapes.iter().map(|shape| shape.input).collect();
    assert_eq!(used, [0, 2, 3]);
    let used = model.pairs.iter().flat_map(|pair| [pair.inputs.0, pair.inputs.1]);
    assert!(used.into_iter().all(|input| ![1, 4].contains(&input)));
}

#[test]
fn nothing_to_learn_is_an_error() {
    let (table, outcomes) = known(100, 15);
    let fitting = Fitting {
        seed: 1,
        pairs: 0,
        threads: 1,
    };
    for same in [true, false] {
        assert_eq!(
            fit(&table, &[same; 100], &fitting).expect_err("one outcome"),
            FitError::OneOutcome
        );
    }
    let mut constant = table;
    for column in &mut constant.columns {
        column.fill(1.0);
    }
    assert_eq!(
        fit(&constant, &outcomes, &fitting).expect_err("nothing varies"),
        FitError::NoColumns
    );
    let nothing = Table::default();
    assert_eq!(
        fit(&nothing, &outcomes, &fitting).expect_err("no inputs"),
        FitError::NoColumns
    );
}
