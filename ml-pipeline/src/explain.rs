//! The reasons for a score, in words. They say what goes along with the score, never that it is because of it.

use domain::risk::Factor;

use crate::{
    features::{FEATURES, FeatureId, FeatureVector},
    model::{Prediction, nine_decimals},
};

/// The `top` largest contributions, largest absolute first. Inputs that spell out one thing, such as the five views of
/// tenure, are one factor: their sum. Missing and average values that move nothing are left out.
#[must_use]
pub fn factors(prediction: &Prediction, x: &FeatureVector, top: usize) -> Vec<Factor> {
    let mut sums = vec![0.0; FEATURES.len()];
    for (index, contribution) in &prediction.contributions {
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
    shown.truncate(top);
    let factor = |(id, contribution): (FeatureId, f64)| Factor {
        feature: id.feature().name.to_owned(),
        label: id.feature().label(x.get(id).unwrap_or(f64::NAN)),
        contribution,
    };
    shown.into_iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str) -> usize {
        FeatureId::named(name).expect("a feature").index()
    }

    #[test]
    fn the_largest_come_first_in_words_and_views_of_one_thing_are_one() {
        let mut values = vec![f64::NAN; FEATURES.len()];
        values[index("tenure_years")] = 0.6;
        values[index("years_since_raise")] = 2.4;
        let x = FeatureVector { values };
        let prediction = Prediction {
            probability: 0.5,
            log_odds: 0.0,
            base: -2.0,
            contributions: vec![
                (index("tenure_years"), 0.3),
                (index("tenure_log"), 0.4),
                (index("years_since_raise"), 0.6),
                (index("rating"), -0.8),
                (index("managers"), 0.0),
            ],
        };
        let found = factors(&prediction, &x, 10);
        let told: Vec<(&str, &str)> = found
            .iter()
            .map(|factor| (factor.feature.as_str(), factor.label.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("rating", "no review on record"),
                ("tenure_years", "employed for 7 months"),
                ("years_since_raise", "no raise for 2.4 years"),
            ]
        );
        assert!((found[1].contribution - 0.7).abs() < 1e-12);
        assert_eq!(factors(&prediction, &x, 1).len(), 1);
    }
}
