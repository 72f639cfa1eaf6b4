//! How much of what sets people apart lasts, measured on their own later months.

use std::collections::BTreeMap;

use super::HORIZONS_DAYS;
use crate::{
    artifact::{MONTH_DAYS, Persistence},
    dataset::{Dataset, Row},
    features::{self, FEATURES, FeatureId},
    model::{Form, Model, nine_decimals},
};

/// The most rows that are looked at: the latest.
const ROWS_MAX: usize = 100_000;
/// Fewer pairs of rows than this, and the month before stands in.
const PAIRS_MIN: f64 = 200.0;

/// The persistence of a model's parts over the months of the longest horizon.
pub fn of(model: &Model, dataset: &Dataset) -> Persistence {
    let rows = &dataset.rows[dataset.rows.len().saturating_sub(ROWS_MAX)..];
    let count = usize::from(HORIZONS_DAYS.iter().max().copied().unwrap_or(MONTH_DAYS) / MONTH_DAYS);
    match &model.form {
        Form::Logistic(_) | Form::Additive(_) => {
            let parts = |row: &Row| {
                let mut parts = vec![0.0; FEATURES.len()];
                for (input, part) in model.predict(&row.x).contributions {
                    parts[input] = part;
                }
                parts
            };
            let mut months = slopes(rows, FEATURES.len(), count, &parts).1;
            for month in &mut months {
                for id in FeatureId::all().filter(|id| features::is_calendar(*id)) {
                    month[id.index()] = 1.0;
                }
            }
            Persistence::ByInput(months)
        }
        Form::Forest(_) | Form::Boosted(_) => {
            let (means, months) = slopes(rows, 1, count, &|row: &Row| vec![model.log_odds(&row.x)]);
            Persistence::Whole {
                centre: nine_decimals(means.first().copied().unwrap_or(0.0)),
                months: months.into_iter().map(|month| month[0]).collect(),
            }
        }
    }
}

/// The means of some values of rows, and by month ahead, then value, the slope of the later value on the earlier one among
/// people who have rows at both times. The first month is the present one: its slopes are 1.
fn slopes(rows: &[Row], width: usize, count: usize, values: &dyn Fn(&Row) -> Vec<f64>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut people: BTreeMap<_, Vec<(usize, Vec<f64>)>> = BTreeMap::new();
    let mut cutoffs: Vec<_> = rows.iter().map(|row| row.cutoff).collect();
    cutoffs.dedup();
    let mut means = vec![0.0; width];
    for row in rows {
        let values = values(row);
        for (mean, value) in means.iter_mut().zip(&values) {
            *mean += value / rows.len() as f64;
        }
        // Cut-offs are a month apart.
        let month = cutoffs.partition_point(|cutoff| *cutoff < row.cutoff);
        people.entry(row.employee).or_default().push((month, values));
    }
    let mut months = vec![vec![1.0; width]];
    for ahead in 1..count {
        let (mut products, mut squares, mut pairs) = (vec![0.0; width], vec![0.0; width], 0.0);
        for of_one in people.values() {
            for (index, (month, now)) in of_one.iter().enumerate() {
                let Some((_, later)) = of_one[index..].iter().find(|(later, _)| *later == month + ahead) else {
                    continue;
                };
                pairs += 1.0;
                for value in 0..width {
                    let centred = now[value] - means[value];
                    products[value] += centred * (later[value] - means[value]);
                    squares[value] += centred * centred;
                }
            }
        }
        let before = months[ahead - 1].clone();
        let slope = |value: usize| {
            if pairs < PAIRS_MIN || squares[value] <= 0.0 {
                before[value]
            } else {
                nine_decimals((products[value] / squares[value]).clamp(0.0, 1.0))
            }
        };
        months.push((0..width).map(slope).collect());
    }
    (means, months)
}
