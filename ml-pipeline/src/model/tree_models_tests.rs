//! What the forest and the boosted trees have in common.

use super::*;
use crate::{
    metrics::{self, Judged},
    synthetic::Random,
    table::{Input, InputKind, Table},
};

const TREES: [Learner; 2] = [Learner::Boosted, Learner::Forest];

fn fitting(threads: usize) -> Fitting {
    Fitting {
        threads,
        ..Fitting::default()
    }
}

/// The sign of a product in the log-odds; one more input says a little by its category, and one by being missing.
fn rows(n: usize, seed: u64) -> (Table, Vec<bool>) {
    let mut random = Random::seeded(seed);
    let names = ["a", "b", "c", "never"].map(str::to_owned).to_vec();
    let mut table = Table {
        inputs: ["x", "y", "category", "missing"].map(Input::numeric).to_vec(),
        columns: vec![Vec::new(); 4],
    };
    table.inputs[2].kind = InputKind::Category { names };
    let mut outcomes = Vec::new();
    for _ in 0..n {
        let (x, y, category) = (random.normal(), random.normal(), random.below(3));
        let missing = random.happens(0.3);
        let known = random.normal();
        let product = if x * y > 0.0 { 1.5 } else { -1.5 };
        let log_odds = product + [-1.0, 0.0, 1.0][category] + if missing { 1.5 } else { -0.5 };
        outcomes.push(random.happens(probability(log_odds)));
        let values = [x, y, category as f64, if missing { f64::NAN } else { known }];
        for (column, value) in table.columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    (table, outcomes)
}

fn fit(learner: Learner, (table, outcomes): &(Table, Vec<bool>)) -> Model {
    learner.fit(table, outcomes, &fitting(2)).expect("a model")
}

fn auc(scores: &[f64], outcomes: &[bool]) -> f64 {
    let judged: Vec<Judged> = scores.iter().copied().zip(outcomes.iter().copied()).collect();
    metrics::roc_auc(&judged).expect("both outcomes")
}

#[test]
fn trees_find_what_needs_two_inputs_at_once() {
    let (learnt, later) = (rows(3_000, 1), rows(3_000, 2));
    let singly = auc(&fit(Learner::Additive, &learnt).probabilities(&later.0, 2), &later.1);
    for learner in TREES {
        let model = fit(learner, &learnt);
        let found = auc(&model.probabilities(&later.0, 2), &later.1);
        assert!(
            found > singly + 0.05,
            "{} has {found}, single inputs {singly}",
            learner.name()
        );
        let judged: Vec<Judged> = model
            .probabilities(&later.0, 1)
            .into_iter()
            .zip(later.1.iter().copied())
            .collect();
        let error = metrics::expected_calibration_error(&metrics::reliability(&judged));
        assert!(error < 0.05, "{} is {error} off", learner.name());
    }
}

#[test]
fn contributions_and_base_make_the_log_odds_of_trees() {
    let learnt = rows(1_000, 3);
    let mut random = Random::seeded(4);
    for learner in TREES {
        let model = fit(learner, &learnt);
        for _ in 0..100 {
            let missing = |random: &mut Random, value: f64| if random.happens(0.2) { f64::NAN } else { value };
            let values = [
                3.0 * random.normal(),
                random.normal(),
                random.below(6) as f64,
                random.normal(),
            ];
            let x = values.map(|value| missing(&mut random, value));
            let prediction = model.predict(&x);
            let sum = prediction.base + prediction.contributions.iter().map(|(_, part)| part).sum::<f64>();
            assert!((sum - prediction.log_odds).abs() < 1e-9, "{} {x:?}", learner.name());
            assert!((prediction.probability - model.probability(&x)).abs() < 1e-9);
        }
        let mean = |of: &dyn Fn(&[f64]) -> f64| {
            let mut x = Vec::new();
            let row = |row| {
                learnt.0.row_into(row, &mut x);
                of(&x)
            };
            (0..30).map(row).sum::<f64>() / 30.0
        };
        let spread = |input: usize| {
            mean(&|x| {
                let parts = model.predict(x).contributions;
                parts
                    .iter()
                    .find(|(of, _)| *of == input)
                    .map_or(0.0, |(_, part)| part.abs())
            })
        };
        let spreads = [0, 1, 2, 3].map(spread);
        assert!(
            spreads.iter().all(|spread| *spread > 0.05),
            "{} {spreads:?}",
            learner.name()
        );
    }
}

#[test]
fn the_same_seed_makes_the_same_trees_on_any_number_of_threads() {
    let (table, outcomes) = rows(600, 5);
    for learner in TREES {
        let json = |seed: u64, threads: usize| {
            let fitting = Fitting {
                seed,
                ..fitting(threads)
            };
            serde_json::to_string(&learner.fit(&table, &outcomes, &fitting).expect("a model")).expect("json")
        };
        assert_eq!(json(1, 1), json(1, 2), "{}", learner.name());
        assert_ne!(json(1, 1), json(2, 1), "{}", learner.name());
    }
    let largest = Fitting {
        seed: u64::MAX,
        ..fitting(1)
    };
    assert!(Learner::Forest.fit(&table, &outcomes, &largest).is_ok());
}

#[test]
fn trees_read_back_to_the_same_bytes_and_scores() {
    let learnt = rows(1_000, 6);
    let model_of = |scale: f64, learner: Learner| {
        let mut scaled = learnt.clone();
        for column in [0, 1, 3] {
            for value in &mut scaled.0.columns[column] {
                *value *= scale;
            }
        }
        (fit(learner, &scaled), scaled.0)
    };
    for learner in TREES {
        for scale in [1.0 / 3.0, 1e-9 / 3.0, 1e9 / 3.0] {
            let (model, table) = model_of(scale, learner);
            let json = serde_json::to_string(&model).expect("json");
            let read: Model = serde_json::from_str(&json).expect("a model");
            assert_eq!(read, model, "{} at {scale}", learner.name());
            assert_eq!(serde_json::to_string(&read).expect("json"), json);
            let bits = |model: &Model| {
                let scores = model.probabilities(&table, 1);
                scores.into_iter().map(f64::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(&read), bits(&model), "{} at {scale}", learner.name());
        }
    }
}

#[test]
fn what_is_missing_and_every_category_count_in_trees() {
    let learnt = rows(3_000, 7);
    for learner in TREES {
        let model = fit(learner, &learnt);
        let of = |category: f64, missing: f64| model.probability(&[1.0, 1.0, category, missing]);
        assert!(
            of(0.0, 0.0) + 0.03 < of(1.0, 0.0) && of(1.0, 0.0) + 0.03 < of(2.0, 0.0),
            "{} {:?}",
            learner.name(),
            [of(0.0, 0.0), of(1.0, 0.0), of(2.0, 0.0)]
        );
        assert!(of(1.0, f64::NAN) > of(1.0, 0.0) + 0.05, "{}", learner.name());
        let unknown = of(f64::NAN, 0.0);
        for unseen in [3.0, 4.0, 77.0, -1.0] {
            assert_eq!(
                of(unseen, 0.0).to_bits(),
                unknown.to_bits(),
                "{}: category {unseen} is like a missing one",
                learner.name()
            );
        }
        assert!(unknown < 0.99 * of(2.0, 0.0), "it is none of them: {}", learner.name());
    }
}

#[test]
fn trees_have_nothing_to_learn_from_one_outcome_or_constants() {
    let (table, outcomes) = rows(100, 8);
    let mut constant = table.clone();
    for (column, value) in constant.columns.iter_mut().zip([1.0, f64::NAN, 2.0, -1.0]) {
        column.fill(value);
    }
    for learner in Learner::ALL {
        let error = |table: &Table, outcomes: &[bool]| learner.fit(table, outcomes, &fitting(1)).expect_err("no model");
        assert_eq!(error(&table, &[true; 100]), FitError::OneOutcome, "{}", learner.name());
        assert_eq!(error(&constant, &outcomes), FitError::NoColumns, "{}", learner.name());
        assert_eq!(
            error(&Table::default(), &outcomes),
            FitError::NoColumns,
            "{}",
            learner.name()
        );
    }
}

/// Few rows, and values that no measurement has: whatever comes out is an error or a probability.
#[test]
fn strange_values_make_no_learner_panic() {
    let mut random = Random::seeded(9);
    let strange = [
        0.0,
        -0.0,
        1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        1e-300,
        1e300,
        1e17,
    ];
    for round in 0..6 {
        let n = [2, 3, 10, 60, 60, 60][round];
        let mut column = || {
            (0..n)
                .map(|_| strange[random.below(strange.len())])
                .collect::<Vec<f64>>()
        };
        let table = Table {
            inputs: ["x", "y"].map(Input::numeric).to_vec(),
            columns: vec![column(), column()],
        };
        let outcomes: Vec<bool> = (0..n).map(|row| row % 3 == 0).collect();
        for learner in Learner::ALL {
            let Ok(model) = learner.fit(&table, &outcomes, &fitting(1)) else {
                continue;
            };
            for p in model.probabilities(&table, 1) {
                assert!((0.0..=1.0).contains(&p), "{} says {p} in round {round}", learner.name());
            }
            let json = serde_json::to_string(&model).expect("json");
            assert!(
                serde_json::from_str::<Model>(&json).is_ok(),
                "{} in round {round}: {json}",
                learner.name()
            );
        }
    }
}

#[test]
fn many_rows_at_once_get_what_each_gets_alone() {
    let (learnt, later) = (rows(1_500, 3), rows(1_200, 4));
    for learner in Learner::ALL {
        let model = fit(learner, &learnt);
        let together = model.probabilities(&later.0, 2);
        let mut x = Vec::new();
        for (row, found) in together.iter().enumerate() {
            later.0.row_into(row, &mut x);
            let alone = model.probability(&x);
            assert!(
                (found - alone).abs() < 1e-12,
                "{found} is not {alone} in row {row} of {}",
                learner.name()
            );
        }
    }
}
