use super::*;
use crate::{
    artifact::{Hazard, Horizon, Persistence},
    dataset::{Dataset, Window},
    model::{
        Calibration, Fitting, Learner,
        additive::{Additive, Shape},
        probability,
    },
    prior,
};

fn index(name: &str) -> usize {
    FeatureId::named(name).expect("a feature").index()
}

fn small_company() -> Dataset {
    let company = prior::company(7, 60);
    Dataset::build(&company.histories(), company.ends_on(), &mut |_| {})
}

fn rows(dataset: &Dataset) -> Vec<Vec<f64>> {
    dataset.rows.iter().map(|row| row.x.clone()).collect()
}

/// The prior with another model in it.
fn with(form: Form) -> Artifact {
    let mut artifact = prior::prior().expect("the committed prior");
    artifact.hazard.model = Model::new(form, Calibration::None);
    artifact
}

fn chart<'a>(charts: &'a [ShapeChart], name: &str) -> &'a ShapeChart {
    charts.iter().find(|chart| chart.feature == name).expect("a chart")
}

#[test]
fn a_curve_is_what_the_model_makes_of_people_with_that_value() {
    let artifact = prior::prior().expect("the committed prior");
    let dataset = small_company();
    let charts = shapes(&artifact, &rows(&dataset));
    let mut compared = 0;
    for row in dataset.rows.iter().step_by(50) {
        let parts = artifact.hazard.model.predict(&row.x).contributions;
        for chart in charts.iter().filter(|chart| chart.kind == ShapeKind::Curve) {
            let value = row.x[index(&chart.feature)];
            let above = chart.points.partition_point(|point| point.value <= value);
            let (Some(left), Some(right)) = (above.checked_sub(1).map(|at| chart.points[at]), chart.points.get(above))
            else {
                continue;
            };
            let share = (value - left.value) / (right.value - left.value);
            let drawn = left.effect.log_odds + share * (right.effect.log_odds - left.effect.log_odds);
            let inputs: Vec<usize> = chart.inputs.iter().map(|name| index(name)).collect();
            let told: f64 = parts
                .iter()
                .filter(|(input, _)| inputs.contains(input))
                .map(|(_, part)| part)
                .sum();
            assert!(
                (drawn - told).abs() < 2.0 * BEND_MIN,
                "{} at {value}: {drawn} for {told}",
                chart.feature
            );
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_input_is_in_one_chart_and_views_are_drawn_with_what_decides_them() {
    let artifact = prior::prior().expect("the committed prior");
    let charts = shapes(&artifact, &[]);
    let mut drawn: Vec<&str> = charts
        .iter()
        .flat_map(|chart| chart.inputs.iter().map(String::as_str))
        .collect();
    let mut used: Vec<&str> = artifact.card.features.iter().map(String::as_str).collect();
    drawn.sort_unstable();
    used.sort_unstable();
    assert_eq!(drawn, used);
    let tenure = chart(&charts, "tenure_years");
    assert_eq!(tenure.inputs.len(), 5);
    assert!(
        tenure.probability_at(0.6) > tenure.probability_at(2.5),
        "the first year's peak is drawn"
    );
    assert!(
        tenure.probability_at(1.05) > tenure.probability_at(1.6),
        "the first vesting is drawn"
    );
    assert_eq!(chart(&charts, "season_december").points.len(), 2);
    assert!(charts.windows(2).all(|pair| {
        let size = |chart: &ShapeChart| chart.range().high - chart.range().low;
        size(&pair[0]) >= size(&pair[1])
    }));
}

#[test]
fn what_is_straight_needs_two_points_and_what_is_missing_is_told() {
    let (mut table, outcomes) = small_company().table(Window::Month, &[]);
    // Nothing is left out, whatever chance makes of so few people.
    table.inputs.iter_mut().for_each(|input| input.expected = None);
    let fitting = Fitting {
        missing_flags: false,
        ..Fitting::default()
    };
    let artifact = Artifact {
        hazard: Hazard {
            model: Learner::Logistic.fit(&table, &outcomes, &fitting).expect("a fit"),
            ..prior::prior().expect("the committed prior").hazard
        },
        ..prior::prior().expect("the committed prior")
    };
    let charts = shapes(&artifact, &[]);
    let raise = chart(&charts, "years_since_raise");
    let values: Vec<f64> = raise.points.iter().map(|point| point.value).collect();
    let [first, last] = values[..] else {
        panic!("{values:?}")
    };
    assert!(first < 0.1 && last > 2.9, "the ends of what was seen: {values:?}");
    assert_eq!(
        (raise.missing.log_odds, raise.missing.probability),
        (0.0, 0.0),
        "it takes the average"
    );
    // A review that is not on record is neither a low nor a top one.
    assert!(chart(&charts, "rating").missing.log_odds != 0.0);
    assert!(
        (raise.probability_at(99.0) - raise.points[1].effect.probability).abs() < 1e-12,
        "level beyond the end"
    );
    assert_eq!(raise.probability_at(f64::NAN), 0.0);
}

#[test]
fn points_of_probability_are_those_of_the_horizon() {
    let mut artifact = with(Form::Additive(Additive {
        intercept: -4.0,
        shapes: vec![Shape {
            input: index("rating"),
            curve: Curve::Line {
                knots: vec![(1.0, 1.0), (5.0, -1.0)],
            },
            missing: 0.25,
        }],
        pairs: Vec::new(),
    }));
    let mut later = vec![1.0; FEATURES.len()];
    later[index("rating")] = 0.5;
    artifact.hazard = Hazard {
        shift: 0.0,
        persistence: Persistence::ByInput(vec![vec![1.0; FEATURES.len()], later]),
        horizons: vec![Horizon {
            days: 60,
            calibration: Calibration::None,
        }],
        ..artifact.hazard
    };
    artifact.card.horizon_days = 60;
    let charts = shapes(&artifact, &[]);
    let within = |first: f64, second: f64| 1.0 - (1.0 - probability(first)) * (1.0 - probability(second));
    let found = charts[0].points[0];
    assert_eq!((found.value, found.effect.log_odds), (1.0, 1.0));
    assert!((found.effect.probability - (within(-3.0, -3.5) - within(-4.0, -4.0))).abs() < 1e-8);
    assert_eq!(charts[0].missing.log_odds, 0.25);
    // Whole numbers: between two ratings is nothing.
    let values: Vec<f64> = charts[0].points.iter().map(|point| point.value).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn what_the_date_decides_counts_for_one_month() {
    let mut artifact = prior::prior().expect("the committed prior");
    for horizon in &mut artifact.hazard.horizons {
        horizon.calibration = Calibration::None;
    }
    let december = [(index("season_december"), 1.0)];
    let of = |parts: &[(usize, f64)], days| artifact.hazard.of_parts(-4.0, parts, days);
    let stays = (1.0 - of(&december, 30)) * (1.0 - of(&[], 150));
    assert!((1.0 - stays - of(&december, 180)).abs() < 1e-12);
}

#[test]
fn pairs_are_told_apart_from_the_curves() {
    let (rating, hours) = (index("rating"), index("weekly_hours"));
    let pair = PairShape {
        inputs: (rating, hours),
        axes: (Axis::Cuts(vec![2.5]), Axis::Cuts(vec![20.0, 37.5])),
        values: vec![0.0, 0.0, 0.0, 0.0, 0.1, -0.2, 0.3, 0.0, 0.0, 0.0, 0.0, -0.4],
    };
    let line = |input, at: f64| Shape {
        input,
        curve: Curve::Line {
            knots: vec![(0.0, 0.0), (at, 1.0)],
        },
        missing: 0.0,
    };
    let artifact = with(Form::Additive(Additive {
        intercept: -4.0,
        shapes: vec![line(rating, 5.0), line(hours, 40.0)],
        pairs: vec![pair],
    }));
    let charts = shapes(&artifact, &[]);
    let curve = chart(&charts, "weekly_hours");
    assert_eq!(curve.paired_with, ["rating"]);
    let ends: Vec<f64> = curve.points.iter().map(|point| point.effect.log_odds).collect();
    assert_eq!(ends, [0.0, 1.0], "the curve is without the pair");
    let pairs = pairs(&artifact);
    assert_eq!(pairs.len(), 1);
    assert_eq!(pairs[0].cells.0, ["not on record", "up to 2.5", "above 2.5"]);
    assert_eq!(
        pairs[0].cells.1,
        ["not on record", "up to 20", "20 to 37.5", "above 37.5"]
    );
    let grid: Vec<Vec<f64>> = pairs[0]
        .effects
        .iter()
        .map(|row| row.iter().map(|effect| effect.log_odds).collect())
        .collect();
    assert_eq!(
        grid,
        [[0.0, 0.0, 0.0, 0.0], [0.1, -0.2, 0.3, 0.0], [0.0, 0.0, 0.0, -0.4]]
    );
    assert!(pairs[0].effects[2][3].probability < 0.0);
}

#[test]
fn trees_are_asked_about_people() {
    let dataset = small_company();
    let (table, outcomes) = dataset.table(Window::Month, &[]);
    let model = Learner::Boosted
        .fit(&table, &outcomes, &Fitting::default())
        .expect("a model");
    let artifact = with(model.form);
    assert_eq!(shapes(&artifact, &[]), [], "without people there is nothing to ask");
    let reference: Vec<Vec<f64>> = rows(&dataset).into_iter().take(200).collect();
    let charts = shapes(&artifact, &reference);
    assert!(!charts.is_empty());
    let chart = charts
        .iter()
        .find(|chart| chart.inputs.len() == 1)
        .expect("an input by itself");
    assert_eq!(chart.method, ShapeMethod::PartialDependence { rows: 200 });
    let model = &artifact.hazard.model;
    let mean = |value: Option<f64>| {
        let of = |row: &Vec<f64>| {
            let mut x = row.clone();
            x[index(&chart.feature)] = value.unwrap_or(x[index(&chart.feature)]);
            model.log_odds(&x)
        };
        reference.iter().map(of).sum::<f64>() / 200.0
    };
    for point in &chart.points {
        let told = mean(Some(point.value)) - mean(None);
        assert!(
            (point.effect.log_odds - told).abs() < 1e-6,
            "{} at {}",
            chart.feature,
            point.value
        );
    }
}

#[test]
fn charts_are_data() {
    let artifact = prior::prior().expect("the committed prior");
    let charts = shapes(&artifact, &rows(&small_company()));
    let text = serde_json::to_string(&charts).expect("json");
    assert_eq!(serde_json::from_str::<Vec<ShapeChart>>(&text).expect("charts"), charts);
    let more = text.replacen("\"title\"", "\"colour\":1,\"title\"", 1);
    assert!(serde_json::from_str::<Vec<ShapeChart>>(&more).is_err());
}

#[test]
fn most_people_are_where_98_in_100_are() {
    let artifact = prior::prior().expect("the committed prior");
    let mut row = vec![f64::NAN; FEATURES.len()];
    let reference: Vec<Vec<f64>> = (0..200)
        .map(|step| {
            row[index("years_since_raise")] = f64::from(step) / 100.0;
            row.clone()
        })
        .collect();
    let charts = shapes(&artifact, &reference);
    let raise = chart(&charts, "years_since_raise");
    assert_eq!(raise.common, Some(Interval { low: 0.02, high: 1.97 }));
    let curve = raise.common_curve();
    assert_eq!((curve[0].0, curve[curve.len() - 1].0), (0.02, 1.97));
    assert!((curve[0].1 - raise.probability_at(0.02)).abs() < 1e-12);
}

#[test]
fn values_are_as_short_as_they_are_read() {
    assert_eq!(
        [0.0, 12.0, 1.5, 0.123, 12.34, 1234.5].map(short),
        ["0", "12", "1.5", "0.12", "12.3", "1234"]
    );
}
