//! What a model makes of each feature, as data for charts.
//!
//! Of a logistic or additive model the curves are the model itself: read off, not estimated. Of trees they are partial
//! dependence (Friedman, 2001): the mean over reference people who are all given the same value, which may be a combination
//! that nobody has.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{
    artifact::Artifact,
    features::{FEATURES, FeatureId},
    model::{
        Form, Model,
        additive::{Additive, Axis, Curve, PairShape},
        logistic::TermKind,
        nine_decimals,
    },
    statistics::Interval,
};

/// Into how many steps a curve is cut before what lies on a straight line is left out.
const STEPS: usize = 1_000;
/// How far a chart's straight lines may be from the curve, in log-odds: a two-hundredth of the odds.
const BEND_MIN: f64 = 0.005;
/// The units of features that are whole numbers.
const WHOLE: [&str; 6] = [
    "1 to 5",
    "0 to 10",
    "people",
    "in a year",
    "days in 26 weeks",
    "absences in 26 weeks",
];
/// The most values at which trees are asked.
const TREE_VALUES_MAX: usize = 40;
/// The most reference rows that trees are asked about: evenly taken from all.
const TREE_ROWS_MAX: usize = 400;
/// The fewest reference rows that tell where most people are.
pub const COMMON_ROWS_MIN: usize = 30;
/// The share of reference rows beyond either end of what is common.
const COMMON_TAIL: f64 = 0.01;
/// How many standard deviations around the mean are common, where there are no reference rows.
const COMMON_DEVIATIONS: f64 = 2.5;

/// What the model makes of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeChart {
    /// The feature's stable name.
    pub feature: String,
    /// Plain words, such as "years since the last raise".
    pub title: String,
    pub unit: String,
    /// All inputs that the curve adds up: a feature and other views of it, which its value decides.
    pub inputs: Vec<String>,
    pub kind: ShapeKind,
    pub method: ShapeMethod,
    /// By rising value; between two of them, a straight line in log-odds.
    pub points: Vec<ShapePoint>,
    /// What is made of a value that is not on record.
    pub missing: Effect,
    /// Where most people are: the middle 98 % of the reference rows, or what the model itself knows of it.
    pub common: Option<Interval>,
    /// The features with which this one also counts together, beyond the curve: see [`pairs`].
    pub paired_with: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeKind {
    /// A quantity.
    Curve,
    /// A whole number: between two of them is nothing.
    Steps,
    /// 0 for no and 1 for yes.
    Flag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum ShapeMethod {
    /// The model's own curve.
    Exact,
    /// The mean over so many reference people.
    PartialDependence { rows: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapePoint {
    pub value: f64,
    pub effect: Effect,
}

/// How far something moves a score from that of the average person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Of the first month's hazard.
    pub log_odds: f64,
    /// Of the probability within the card's horizon, for somebody who is average in everything else: 0.01 is one point.
    pub probability: f64,
}

/// What the model makes of two features together, beyond what it makes of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairChart {
    pub features: (String, String),
    pub titles: (String, String),
    /// The cells of either feature, in words.
    pub cells: (Vec<String>, Vec<String>),
    /// Row by row of the first feature.
    pub effects: Vec<Vec<Effect>>,
}

impl ShapeChart {
    /// The curve where most people are, in parts of a probability: `(value, part)`.
    #[must_use]
    pub fn common_curve(&self) -> Vec<(f64, f64)> {
        let all = self.points.iter().map(|point| (point.value, point.effect.probability));
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Vec::new();
        };
        let Some(common) = self.common.filter(|_| self.kind != ShapeKind::Flag) else {
            return all.collect();
        };
        let (low, high) = (common.low.max(first.value), common.high.min(last.value));
        if low >= high {
            return all.collect();
        }
        let inside = all.filter(|(value, _)| low < *value && *value < high);
        std::iter::once((low, self.probability_at(low)))
            .chain(inside)
            .chain([(high, self.probability_at(high))])
            .collect()
    }

    /// The lowest and the highest part of a probability where most people are; the average person's 0 is always within.
    #[must_use]
    pub fn range(&self) -> Interval {
        let curve = self.common_curve();
        let (low, high) = curve.iter().fold((0.0_f64, 0.0_f64), |(low, high), (_, part)| {
            (low.min(*part), high.max(*part))
        });
        Interval { low, high }
    }

    /// The curve at a value, in parts of a probability; level beyond its ends.
    #[must_use]
    pub fn probability_at(&self, value: f64) -> f64 {
        if !value.is_finite() {
            return self.missing.probability;
        }
        let above = self.points.partition_point(|point| point.value <= value);
        match (
            above.checked_sub(1).map(|below| self.points[below]),
            self.points.get(above),
        ) {
            (Some(left), Some(right)) => {
                let part = (value - left.value) / (right.value - left.value);
                left.effect.probability + part * (right.effect.probability - left.effect.probability)
            }
            (Some(end), None) => end.effect.probability,
            (None, Some(end)) => end.effect.probability,
            (None, None) => 0.0,
        }
    }
}

/// The shape of every feature that the model looks at; those that move the probability most come first. `reference` are rows
/// of [`FEATURES`] such as those of the people scored now: they tell where most people are, and without any there are no
/// shapes of trees.
#[must_use]
pub fn shapes(artifact: &Artifact, reference: &[Vec<f64>]) -> Vec<ShapeChart> {
    let used = artifact.hazard.model.inputs();
    let sample: Vec<&Vec<f64>> = reference
        .iter()
        .step_by(reference.len().div_ceil(TREE_ROWS_MAX).max(1))
        .collect();
    let source = Source::new(artifact, &sample);
    let mut charts: Vec<ShapeChart> = heads(&used)
        .into_iter()
        .filter_map(|head| chart(artifact, &source, head, &used, reference))
        .collect();
    let size = |chart: &ShapeChart| chart.range().high - chart.range().low;
    charts.sort_by(|a, b| size(b).total_cmp(&size(a)));
    charts
}

/// The pairs of features that an additive model looks at together, strongest first.
#[must_use]
pub fn pairs(artifact: &Artifact) -> Vec<PairChart> {
    let Form::Additive(model) = &artifact.hazard.model.form else {
        return Vec::new();
    };
    let mut pairs: Vec<&PairShape> = model.pairs.iter().collect();
    let size = |pair: &PairShape| pair.values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    pairs.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let chart = |pair: &PairShape| {
        let (first, second) = (FeatureId::at(pair.inputs.0)?, FeatureId::at(pair.inputs.1)?);
        // Half each, as contributions are told.
        let effect = |value: &f64| {
            effect(
                artifact,
                model.intercept,
                &[(first.index(), value / 2.0), (second.index(), value / 2.0)],
            )
        };
        Some(PairChart {
            features: (first.into(), second.into()),
            titles: (first.feature().title().to_owned(), second.feature().title().to_owned()),
            cells: (cells(&pair.axes.0), cells(&pair.axes.1)),
            effects: pair
                .values
                .chunks(pair.axes.1.len())
                .map(|row| row.iter().map(effect).collect())
                .collect(),
        })
    };
    pairs.into_iter().filter_map(chart).collect()
}

/// The features whose value a chart's axis is: of several views of one thing, the one that decides the others.
fn heads(used: &[usize]) -> Vec<FeatureId> {
    let is_drawn_with_another = |id: FeatureId| {
        let head = FeatureId::named(id.feature().shown_as);
        id.feature().seen_in(0.0).is_some() && head.is_some_and(|head| used.contains(&head.index()))
    };
    let used = used.iter().filter_map(|input| FeatureId::at(*input));
    used.filter(|id| !is_drawn_with_another(*id)).collect()
}

/// Where parts of the log-odds come from.
enum Source<'a> {
    /// Every input has its own.
    Exact(&'a Model),
    /// The mean over reference rows.
    Trees {
        model: &'a Model,
        rows: &'a [&'a Vec<f64>],
        mean: f64,
    },
}

impl<'a> Source<'a> {
    fn new(artifact: &'a Artifact, rows: &'a [&'a Vec<f64>]) -> Self {
        let model = &artifact.hazard.model;
        match &model.form {
            Form::Logistic(_) | Form::Additive(_) => Self::Exact(model),
            Form::Forest(_) | Form::Boosted(_) => {
                let sum: f64 = rows.iter().map(|row| model.log_odds(row)).sum();
                Self::Trees {
                    model,
                    rows,
                    mean: sum / rows.len().max(1) as f64,
                }
            }
        }
    }

    /// The log-odds of the average person.
    fn average(&self) -> f64 {
        match self {
            Self::Exact(model) => match &model.form {
                Form::Logistic(form) => form.intercept,
                Form::Additive(form) => form.intercept,
                Form::Forest(_) | Form::Boosted(_) => 0.0,
            },
            Self::Trees { mean, .. } => *mean,
        }
    }

    /// What these values of inputs move, told for the first of them where that cannot be told apart.
    fn parts(&self, values: &[(usize, f64)]) -> Vec<(usize, f64)> {
        match self {
            Self::Exact(model) => match &model.form {
                Form::Additive(form) => values
                    .iter()
                    .map(|(input, value)| (*input, single(form, *input, *value)))
                    .collect(),
                Form::Logistic(_) | Form::Forest(_) | Form::Boosted(_) => {
                    let mut x = vec![f64::NAN; FEATURES.len()];
                    for (input, value) in values {
                        x[*input] = *value;
                    }
                    let mut parts = model.predict(&x).contributions;
                    parts.retain(|(input, _)| values.iter().any(|(of, _)| of == input));
                    parts
                }
            },
            Self::Trees { model, rows, mean } => {
                let mut x = Vec::with_capacity(FEATURES.len());
                let mut sum = 0.0;
                for row in *rows {
                    x.clone_from(row);
                    for (input, value) in values {
                        x[*input] = *value;
                    }
                    sum += model.log_odds(&x);
                }
                let part = sum / rows.len().max(1) as f64 - mean;
                values.first().map(|(input, _)| (*input, part)).into_iter().collect()
            }
        }
    }
}

/// What an additive model makes of one input by itself.
fn single(form: &Additive, input: usize, value: f64) -> f64 {
    let shapes = form.shapes.iter().filter(|shape| shape.input == input);
    shapes.map(|shape| shape.at(value)).sum()
}

fn chart(
    artifact: &Artifact,
    source: &Source<'_>,
    head: FeatureId,
    used: &[usize],
    reference: &[Vec<f64>],
) -> Option<ShapeChart> {
    let inputs: Vec<FeatureId> = FeatureId::all()
        .filter(|id| used.contains(&id.index()))
        .filter(|id| {
            *id == head || (id.feature().shown_as == head.feature().name && id.feature().seen_in(0.0).is_some())
        })
        .collect();
    let at = |value: f64| {
        let seen = |id: &FeatureId| {
            let value = if *id == head {
                Some(value)
            } else {
                id.feature().seen_in(value)
            };
            (id.index(), value.unwrap_or(f64::NAN))
        };
        let values: Vec<(usize, f64)> = inputs.iter().map(seen).collect();
        effect(artifact, source.average(), &source.parts(&values))
    };
    let observed = sorted(reference, head.index());
    let kind = match head.feature().unit {
        "flag" => ShapeKind::Flag,
        unit if WHOLE.contains(&unit) => ShapeKind::Steps,
        _ => ShapeKind::Curve,
    };
    let values = match kind {
        ShapeKind::Flag => vec![0.0, 1.0],
        ShapeKind::Steps => {
            let values = values(&artifact.hazard.model, head.index(), &observed)?;
            let (least, most) = (values.first()?.ceil() as i64, values.last()?.floor() as i64);
            (least..=most).map(|value| value as f64).collect()
        }
        ShapeKind::Curve => values(&artifact.hazard.model, head.index(), &observed)?,
    };
    let points: Vec<ShapePoint> = values
        .into_iter()
        .map(|value| ShapePoint {
            value: nine_decimals(value),
            effect: at(value),
        })
        .collect();
    let points = match source {
        Source::Exact(_) if kind == ShapeKind::Curve => without_straight(points),
        Source::Exact(_) | Source::Trees { .. } => points,
    };
    Some(ShapeChart {
        feature: head.into(),
        title: head.feature().title().to_owned(),
        unit: head.feature().unit.to_owned(),
        inputs: inputs.iter().copied().map(String::from).collect(),
        kind,
        method: match source {
            Source::Exact(_) => ShapeMethod::Exact,
            Source::Trees { rows: [], .. } => return None,
            Source::Trees { rows, .. } => ShapeMethod::PartialDependence { rows: rows.len() },
        },
        points,
        missing: at(f64::NAN),
        common: common(&artifact.hazard.model, head.index(), &observed),
        paired_with: paired_with(&artifact.hazard.model, &inputs),
    })
}

fn effect(artifact: &Artifact, average: f64, parts: &[(usize, f64)]) -> Effect {
    let days = artifact.card.horizon_days;
    let of = |parts: &[(usize, f64)]| artifact.hazard.of_parts(average, parts, days);
    Effect {
        log_odds: nine_decimals(parts.iter().map(|(_, part)| part).sum()),
        probability: nine_decimals(of(parts) - of(&[])),
    }
}

/// The values at which a curve is told; nothing if there is no telling where it lies.
fn values(model: &Model, input: usize, observed: &[f64]) -> Option<Vec<f64>> {
    let even = |least: f64, most: f64| (0..=STEPS).map(move |step| least + (most - least) * step as f64 / STEPS as f64);
    let mut values: Vec<f64> = match &model.form {
        Form::Logistic(form) => {
            let terms = form.terms.iter().filter(|term| term.input == input);
            let (least, most) = terms
                .filter_map(|term| match term.of {
                    TermKind::Value { least, most } => Some((least, most)),
                    TermKind::Is(_) | TermKind::Missing => None,
                })
                .next()?;
            even(least, most).collect()
        }
        Form::Additive(form) => {
            let shape = form.shapes.iter().find(|shape| shape.input == input)?;
            match &shape.curve {
                Curve::Line { knots } => {
                    let (least, most) = (knots.first()?.0, knots.last()?.0);
                    even(least, most).chain(knots.iter().map(|(at, _)| *at)).collect()
                }
                Curve::Steps { values } => (0..values.len()).map(|category| category as f64).collect(),
            }
        }
        Form::Forest(_) | Form::Boosted(_) => {
            let mut distinct = observed.to_vec();
            distinct.dedup();
            if distinct.len() > TREE_VALUES_MAX {
                let place = |step: usize| step * (observed.len() - 1) / (TREE_VALUES_MAX - 1);
                distinct = (0..TREE_VALUES_MAX).map(|step| observed[place(step)]).collect();
            }
            distinct
        }
    };
    values.sort_by(f64::total_cmp);
    values.dedup();
    (!values.is_empty()).then_some(values)
}

/// The known values of a column, rising.
fn sorted(reference: &[Vec<f64>], input: usize) -> Vec<f64> {
    let column = reference.iter().filter_map(|row| row.get(input).copied());
    let mut values: Vec<f64> = column.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn common(model: &Model, input: usize, observed: &[f64]) -> Option<Interval> {
    let interval = if observed.len() >= COMMON_ROWS_MIN {
        let tail = (observed.len() as f64 * COMMON_TAIL) as usize;
        Interval {
            low: observed[tail],
            high: observed[observed.len() - 1 - tail],
        }
    } else if let Form::Logistic(form) = &model.form {
        let term = form.terms.iter().find(|term| term.input == input)?;
        let TermKind::Value { least, most } = term.of else {
            return None;
        };
        let reach = COMMON_DEVIATIONS * term.deviation;
        Interval {
            low: least.max(term.mean - reach),
            high: most.min(term.mean + reach),
        }
    } else {
        return None;
    };
    (interval.low < interval.high).then_some(interval)
}

/// The points without those that lie on a straight line between others, within [`BEND_MIN`] (Ramer, 1972; Douglas and
/// Peucker, 1973).
fn without_straight(points: Vec<ShapePoint>) -> Vec<ShapePoint> {
    let Some(last) = points.len().checked_sub(1) else {
        return points;
    };
    let mut kept = vec![false; points.len()];
    (kept[0], kept[last]) = (true, true);
    let mut open = vec![(0, last)];
    while let Some((from, to)) = open.pop() {
        let (left, right) = (&points[from], &points[to]);
        let slope = (right.effect.log_odds - left.effect.log_odds) / (right.value - left.value);
        let off = |at: &usize| {
            let point = &points[*at];
            (point.effect.log_odds - left.effect.log_odds - slope * (point.value - left.value)).abs()
        };
        let worst = (from + 1..to).max_by(|a, b| off(a).total_cmp(&off(b)));
        if let Some(worst) = worst.filter(|worst| off(worst) > BEND_MIN) {
            kept[worst] = true;
            open.extend([(from, worst), (worst, to)]);
        }
    }
    let mut kept = kept.into_iter();
    points.into_iter().filter(|_| kept.next().unwrap_or(false)).collect()
}

fn paired_with(model: &Model, inputs: &[FeatureId]) -> Vec<String> {
    let Form::Additive(form) = &model.form else {
        return Vec::new();
    };
    let has = |input: usize| inputs.iter().any(|id| id.index() == input);
    let other = |pair: &PairShape| match pair.inputs {
        (first, second) if has(first) => FeatureId::at(second),
        (first, second) if has(second) => FeatureId::at(first),
        _ => None,
    };
    form.pairs.iter().filter_map(other).map(String::from).collect()
}

/// The cells of an axis in words, the one of what is missing first.
fn cells(axis: &Axis) -> Vec<String> {
    let mut words = vec!["not on record".to_owned()];
    match axis {
        Axis::Categories(count) => words.extend((0..*count).map(|category| category.to_string())),
        Axis::Cuts(cuts) => {
            let number = |value: &f64| short(*value);
            let between = cuts
                .windows(2)
                .map(|pair| format!("{} to {}", number(&pair[0]), number(&pair[1])));
            match (cuts.first(), cuts.last()) {
                (Some(first), Some(last)) => {
                    words.push(format!("up to {}", number(first)));
                    words.extend(between);
                    words.push(format!("above {}", number(last)));
                }
                _ => words.push("any".to_owned()),
            }
        }
    }
    words
}

/// A value with as many digits as one reads on an axis.
#[must_use]
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
