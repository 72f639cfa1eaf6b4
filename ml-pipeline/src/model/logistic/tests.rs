use proptest::prelude::*;

use super::*;
use crate::{
    model::probability,
    synthetic::Random,
    table::{Input, InputKind},
};

fn fitting(alpha: f64) -> Fitting {
    Fitting {
        alpha,
        missing_flags: true,
    }
}

/// Rows in which the log-odds are -1 + 2 x0 - x1, x2 is missing more often for leavers, x3 is never seen, x4 never varies, and
/// x5 is infinite where x2 is missing.
fn rows(n: usize) -> (Table, Vec<bool>) {
    let mut random = Random::seeded(3);
    let mut table = Table {
        inputs: (0..6).map(|index| Input::numeric(format!("x{index}"))).collect(),
        columns: vec![Vec::new(); 6],
    };
    let mut outcomes = Vec::new();
    for _ in 0..n {
        let (a, b) = (random.normal(), 10.0 * random.normal());
        let y = random.happens(probability(-1.0 + 2.0 * a - 0.1 * b));
        let known = !random.happens(if y { 0.6 } else { 0.3 });
        let c = if known { random.normal() } else { f64::NAN };
        let d = if known { c.abs() } else { f64::INFINITY };
        for (column, value) in table.columns.iter_mut().zip([a, b, c, f64::NAN, 7.0, d]) {
            column.push(value);
        }
        outcomes.push(y);
    }
    (table, outcomes)
}

fn fit((table, outcomes): &(Table, Vec<bool>), fitting: &Fitting) -> Result<Logistic, FitError> {
    Logistic::fit(table, outcomes, fitting)
}

#[test]
fn known_coefficients_are_found() {
    let model = fit(&rows(4_000), &fitting(0.0)).expect("a model");
    let slope = |input: usize| {
        let term = model.terms.iter().find(|term| term.input == input).expect("a term");
        term.weight / term.deviation
    };
    assert!((slope(0) - 2.0).abs() < 0.15, "{}", slope(0));
    assert!((slope(1) + 0.1).abs() < 0.015, "{}", slope(1));
    let flags: Vec<usize> = model
        .terms
        .iter()
        .filter(|term| term.of == TermKind::Missing)
        .map(|term| term.input)
        .collect();
    assert_eq!(flags, [2], "missing together, flagged once; infinite is missing");
    assert!(
        model.terms.iter().all(|term| ![3, 4].contains(&term.input)),
        "empty and constant columns are dropped"
    );
}

#[test]
fn the_penalty_shrinks() {
    let rows = rows(500);
    let size = |alpha| {
        let model = fit(&rows, &fitting(alpha)).expect("a model");
        model.terms.iter().map(|term| term.weight.powi(2)).sum::<f64>()
    };
    assert!(size(0.0) > size(10.0) && size(10.0) > size(1_000.0));
}

#[test]
fn without_flags_it_does_not_matter_what_is_missing() {
    let silent = Fitting {
        alpha: 1.0,
        missing_flags: false,
    };
    let model = fit(&rows(500), &silent).expect("a model");
    assert!(model.terms.iter().all(|term| term.of != TermKind::Missing));
    let at_the_mean = model.log_odds(&[f64::NAN; 6]);
    assert!(
        (at_the_mean - model.intercept).abs() < 1e-12,
        "what is missing is average"
    );
}

#[test]
fn a_value_beyond_the_training_range_counts_as_the_nearest_one_within() {
    let rows = rows(500);
    let model = fit(&rows, &fitting(1.0)).expect("a model");
    let most = rows.0.columns[0].iter().copied().fold(f64::MIN, f64::max);
    let of = |value: f64| model.log_odds(&[value, 0.0, 0.0, 0.0, 7.0, 0.0]);
    assert!((of(most) - of(1e6)).abs() < 1e-6 && of(most) > of(most - 0.1));
}

/// Every category has its own level; an unknown one is like a missing one.
#[test]
fn categories_are_told_apart_one_by_one() {
    let truth = [-2.0, 0.0, 1.5];
    let names = ["night", "day", "swing"].map(str::to_owned).to_vec();
    let mut random = Random::seeded(4);
    let shifts: Vec<usize> = (0..6_000).map(|_| random.below(3)).collect();
    let outcomes: Vec<bool> = shifts
        .iter()
        .map(|shift| random.happens(probability(truth[*shift])))
        .collect();
    let table = Table {
        inputs: vec![Input {
            kind: InputKind::Category { names },
            ..Input::numeric("shift")
        }],
        columns: vec![shifts.iter().map(|shift| *shift as f64).collect()],
    };
    let model = Logistic::fit(&table, &outcomes, &fitting(0.1)).expect("a model");
    let kinds: Vec<TermKind> = model.terms.iter().map(|term| term.of).collect();
    assert_eq!(kinds, [0, 1, 2].map(TermKind::Is));
    for (category, truth) in truth.iter().enumerate() {
        let found = model.log_odds(&[category as f64]);
        assert!(
            (found - truth).abs() < 0.15,
            "{found} is not {truth} for category {category}"
        );
        let prediction = model.predict(&[category as f64]);
        assert_eq!(
            prediction.contributions.len(),
            1,
            "one input is one contribution, however many terms it has"
        );
    }
    assert_eq!(model.log_odds(&[3.0]).to_bits(), model.log_odds(&[f64::NAN]).to_bits());
}

#[test]
fn nothing_to_learn_is_an_error() {
    let (table, _) = rows(50);
    assert_eq!(
        Logistic::fit(&table, &[false; 50], &fitting(1.0)),
        Err(FitError::OneOutcome)
    );
    let constant = Table {
        inputs: vec![Input::numeric("x")],
        columns: vec![vec![1.0; 50]],
    };
    let outcomes: Vec<bool> = (0..50).map(|row| row % 2 == 0).collect();
    assert_eq!(
        Logistic::fit(&constant, &outcomes, &fitting(1.0)),
        Err(FitError::NoColumns)
    );
}

#[test]
fn the_same_data_makes_the_same_bytes() {
    let model = || fit(&rows(300), &fitting(1.0)).expect("a model");
    let json = serde_json::to_string(&model()).expect("json");
    assert_eq!(json, serde_json::to_string(&model()).expect("json"));
    assert_eq!(serde_json::from_str::<Logistic>(&json).expect("a model"), model());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contributions_and_base_make_the_log_odds(x in prop::collection::vec(prop_oneof![Just(f64::NAN), -1e6..1e6_f64], 6)) {
        static MODEL: std::sync::OnceLock<Logistic> = std::sync::OnceLock::new();
        let model = MODEL.get_or_init(|| fit(&rows(300), &fitting(1.0)).expect("a model"));
        let prediction = model.predict(&x);
        let sum = prediction.base + prediction.contributions.iter().map(|(_, part)| part).sum::<f64>();
        prop_assert!((sum - prediction.log_odds).abs() < 1e-9);
        prop_assert!((model.log_odds(&x) - prediction.log_odds).abs() < 1e-9);
        prop_assert!((0.0..=1.0).contains(&prediction.probability));
        prop_assert!((prediction.probability.ln() - (-prediction.probability).ln_1p() - prediction.log_odds).abs() < 1e-6);
    }
}

#[test]
fn a_weight_against_what_is_expected_is_left_out() {
    let mut random = Random::seeded(12);
    let (mut columns, mut outcomes) = (vec![Vec::new(), Vec::new()], Vec::new());
    for _ in 0..2_000 {
        let (a, b) = (random.normal(), random.normal());
        columns[0].push(a);
        columns[1].push(b);
        outcomes.push(random.happens(crate::model::probability(-1.0 + a + 0.5 * b)));
    }
    let mut inputs = vec![crate::table::Input::numeric("a"), crate::table::Input::numeric("b")];
    let used = |inputs: &[crate::table::Input]| {
        let table = Table {
            inputs: inputs.to_vec(),
            columns: columns.clone(),
        };
        let fitting = Fitting {
            alpha: 1.0,
            missing_flags: true,
        };
        let model = Logistic::fit(&table, &outcomes, &fitting).expect("a model");
        model.terms.iter().map(|term| term.input).collect::<Vec<_>>()
    };
    inputs[1].expected = Some(Direction::Up);
    assert_eq!(used(&inputs), [0, 1]);
    inputs[1].expected = Some(Direction::Down);
    assert_eq!(used(&inputs), [0]);
}
