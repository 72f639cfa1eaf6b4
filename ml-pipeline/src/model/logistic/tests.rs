use proptest::prelude::*;

use super::*;
use crate::{features::FEATURES, synthetic::Random};

fn fitting(alpha: f64) -> Fitting {
    Fitting {
        alpha,
        exclusions: vec![],
        missing_flags: true,
    }
}

/// Rows in which the log-odds are -1 + 2 x0 - x1, x2 is missing more often for leavers, and x3 is noise that is never seen.
fn rows(n: usize) -> Vec<(Vec<f64>, bool)> {
    let mut random = Random::seeded(3);
    let mut row = || {
        let (a, b) = (random.normal(), 10.0 * random.normal());
        let y = random.happens(crate::model::probability(-1.0 + 2.0 * a - 0.1 * b));
        let mut x = vec![f64::NAN; FEATURES.len()];
        (x[0], x[1], x[4]) = (a, b, 7.0);
        if !random.happens(if y { 0.6 } else { 0.3 }) {
            x[2] = random.normal();
        }
        x[5] = if x[2].is_nan() { f64::INFINITY } else { x[2].abs() };
        (x, y)
    };
    (0..n).map(|_| row()).collect()
}

fn fit(rows: &[(Vec<f64>, bool)], fitting: &Fitting) -> Result<Logistic, FitError> {
    let rows: Vec<(&[f64], bool)> = rows.iter().map(|(x, y)| (x.as_slice(), *y)).collect();
    Logistic::fit(&rows, fitting)
}

#[test]
fn known_coefficients_are_found() {
    let model = fit(&rows(4_000), &fitting(0.0)).expect("a model");
    let slope = |index: usize| {
        let column = model
            .columns
            .iter()
            .find(|column| column.feature.index() == index)
            .expect("a column");
        column.weight / column.deviation
    };
    assert!((slope(0) - 2.0).abs() < 0.15, "{}", slope(0));
    assert!((slope(1) + 0.1).abs() < 0.015, "{}", slope(1));
    let flags: Vec<usize> = model
        .columns
        .iter()
        .filter(|column| column.missing.is_some())
        .map(|column| column.feature.index())
        .collect();
    assert_eq!(flags, [2], "missing together, flagged once; infinite is missing");
    assert!(
        model
            .columns
            .iter()
            .all(|column| ![3, 4].contains(&column.feature.index())),
        "empty and constant columns are dropped"
    );
}

#[test]
fn the_penalty_shrinks() {
    let rows = rows(500);
    let size = |alpha| {
        fit(&rows, &fitting(alpha))
            .expect("a model")
            .columns
            .iter()
            .map(|column| column.weight.powi(2))
            .sum::<f64>()
    };
    assert!(size(0.0) > size(10.0) && size(10.0) > size(1_000.0));
}

#[test]
fn exclusions_and_flags_are_obeyed() {
    let excluding = Fitting {
        alpha: 1.0,
        exclusions: FeatureId::all().take(1).collect(),
        missing_flags: false,
    };
    let model = fit(&rows(500), &excluding).expect("a model");
    assert!(
        model
            .columns
            .iter()
            .all(|column| column.feature.index() != 0 && column.missing.is_none())
    );
}

#[test]
fn nothing_to_learn_is_an_error() {
    let stayed: Vec<_> = rows(50).into_iter().map(|(x, _)| (x, false)).collect();
    assert_eq!(fit(&stayed, &fitting(1.0)), Err(FitError::OneOutcome));
    let constant: Vec<_> = (0..50).map(|i| (vec![1.0; FEATURES.len()], i % 2 == 0)).collect();
    assert_eq!(fit(&constant, &fitting(1.0)), Err(FitError::NoColumns));
}

#[test]
fn the_same_data_makes_the_same_bytes() {
    let json = || serde_json::to_string(&fit(&rows(300), &fitting(1.0)).expect("a model")).expect("json");
    assert_eq!(json(), json());
    assert_eq!(
        serde_json::from_str::<Logistic>(&json()).expect("a model"),
        fit(&rows(300), &fitting(1.0)).expect("a model")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contributions_and_base_make_the_log_odds(values in prop::collection::vec(prop_oneof![Just(f64::NAN), -1e6..1e6_f64], FEATURES.len())) {
        let model = crate::prior::prior().expect("the prior").model;
        let prediction = model.predict(&FeatureVector { values });
        let sum = prediction.base + prediction.contributions.iter().map(|(_, part)| part).sum::<f64>();
        prop_assert!((sum - prediction.log_odds).abs() < 1e-9);
        prop_assert!((0.0..=1.0).contains(&prediction.probability));
        prop_assert!((prediction.probability.ln() - (-prediction.probability).ln_1p() - prediction.log_odds).abs() < 1e-6);
    }
}
