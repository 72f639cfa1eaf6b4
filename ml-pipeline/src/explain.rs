//! The reasons for a score, in words. They say what goes along with the score, never that it is because of it.

pub mod drawing;

use domain::risk::Factor;

use crate::{
    artifact::{Hazard, HazardScore},
    features::{FEATURES, FeatureId, FeatureVector},
    model::nine_decimals,
};

/// The `top` largest contributions, largest absolute first, with what each is worth in points of probability. Inputs that
/// spell out one thing, such as the five views of tenure, are one factor: their sum. What moves nothing is left out.
#[must_use]
pub fn factors(hazard: &Hazard, score: &HazardScore, x: &FeatureVector, top: usize) -> Vec<Factor> {
    let mut shown = shown(&score.contributions);
    shown.truncate(top);
    let factor = |(id, contribution): (FeatureId, f64)| {
        let words = id.feature().label(x.get(id).unwrap_or(f64::NAN));
        Factor {
            feature: id.feature().name.to_owned(),
            label: format!("{words}: {}", points(worth(hazard, score, id))),
            contribution,
        }
    };
    shown.into_iter().map(factor).collect()
}

/// What a feature, and those that it is shown for, is worth in a score.
fn worth(hazard: &Hazard, score: &HazardScore, id: FeatureId) -> f64 {
    let name = id.feature().name;
    let inputs: Vec<usize> = FeatureId::all()
        .filter(|other| other.feature().shown_as == name)
        .map(FeatureId::index)
        .collect();
    hazard.worth(score, &inputs)
}

/// What people are shown of some contributions: summed up by the feature that stands for others, largest absolute first.
fn shown(contributions: &[(usize, f64)]) -> Vec<(FeatureId, f64)> {
    let mut sums = vec![0.0; FEATURES.len()];
    for (index, contribution) in contributions {
        let shown = FEATURES
            .get(*index)
            .and_then(|feature| FeatureId::named(feature.shown_as));
        if let Some(shown) = shown {
            sums[shown.index()] += contribution;
        }
    }
    let mut shown: Vec<(FeatureId, f64)> = FeatureId::all()
        .zip(sums)
        .filter(|(_, sum)| nine_decimals(*sum) != 0.0)
        .collect();
    // Equal ones stay in the order of the table.
    shown.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    shown
}

/// A part of a probability, such as "+6 points".
#[must_use]
pub fn points(part: f64) -> String {
    let points = part * 100.0;
    if points.abs() < 0.05 {
        "0.0 points".to_owned()
    } else if points.abs() >= 9.95 {
        format!("{points:+.0} points")
    } else {
        format!("{points:+.1} points")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str) -> usize {
        FeatureId::named(name).expect("a feature").index()
    }

    #[test]
    fn the_largest_come_first_and_views_of_one_thing_are_one() {
        let found = shown(&[
            (index("tenure_years"), 0.3),
            (index("tenure_log"), 0.4),
            (index("years_since_raise"), 0.6),
            (index("rating"), -0.8),
            (index("managers"), 0.0),
        ]);
        let names: Vec<&str> = found.iter().map(|(id, _)| id.feature().name).collect();
        assert_eq!(names, ["rating", "tenure_years", "years_since_raise"]);
        assert!((found[1].1 - 0.7).abs() < 1e-12);
    }

    #[test]
    fn words_and_points_say_what_is_and_how_much() {
        let artifact = crate::prior::prior().expect("the committed prior");
        let mut values = vec![f64::NAN; FEATURES.len()];
        values[index("tenure_years")] = 0.6;
        values[index("years_since_raise")] = 2.4;
        let x = FeatureVector { values };
        let day = domain::Date::from_ymd_opt(2026, 6, 1).expect("a day");
        let score = artifact.score(&x.values, day);
        let found = factors(&artifact.hazard, &score, &x, FEATURES.len());
        let raise = found
            .iter()
            .find(|factor| factor.feature == "years_since_raise")
            .expect("a factor");
        assert!(
            raise.label.starts_with("no raise for 2.4 years: ") && raise.label.ends_with(" points"),
            "{}",
            raise.label
        );
        assert_eq!(raise.label.contains(": +"), raise.contribution > 0.0, "{raise:?}");
        let without = score.probability
            - worth(
                &artifact.hazard,
                &score,
                FeatureId::named("years_since_raise").expect("a feature"),
            );
        assert!((0.0..=1.0).contains(&without));
        assert_eq!(factors(&artifact.hazard, &score, &x, 1).len(), 1);
        assert_eq!([points(0.061), points(-0.1234)], ["+6.1 points", "-12 points"]);
    }
}
