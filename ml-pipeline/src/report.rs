//! A model report that one looks at rather than reads: one HTML file without scripts and without anything to be fetched.

mod plot;
#[cfg(test)]
mod tests;
pub mod wording;

use crate::{
    artifact::{Artifact, Evaluation, ModelCard, Origin},
    explain::points,
    fairness::{Audit, Favourable, Group, Rule, Standing, Verdict},
    features::{self, FeatureId},
    metrics::Bin,
    model::Learner,
    shapes::{PairChart, ShapeChart, ShapeMethod},
    statistics::Interval,
};
use plot::percent;
use wording::Wording;

const STYLE: &str = include_str!("report/style.css");
/// Importances that are drawn; the rest is told as a number.
const BARS_MAX: usize = 14;
/// Shapes that move a probability by less than this between their lowest and highest are drawn on demand: half a point.
const SHAPE_MIN: f64 = 0.005;
/// How wide the bins of the scores are.
const SCORE_BIN: f64 = 0.02;
/// Below this many people a distribution of scores would tell of single ones.
pub const SCORED_MIN: usize = 20;

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub artifact: &'a Artifact,
    /// Whose report it is: a company's name, or nothing for the shared prior by itself.
    pub company: Option<&'a str>,
    pub shapes: &'a [ShapeChart],
    pub pairs: &'a [PairChart],
    /// The scores of the people who are scored now.
    pub scores: Option<&'a Scores>,
    pub audits: &'a [Audit],
}

/// How many people have which probability, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// By band or level, lowest first: where it begins, its name, how many people are in it.
    pub by_band: Vec<(f64, &'static str, usize)>,
    pub bins: Vec<(Interval, usize)>,
    pub people: usize,
}

impl Scores {
    /// Counts probabilities; nothing with fewer than [`SCORED_MIN`], which would tell of single people.
    #[must_use]
    pub fn of(probabilities: &[f64], thresholds: &[(f64, &'static str)]) -> Option<Self> {
        if probabilities.len() < SCORED_MIN {
            return None;
        }
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        let count = ((most / SCORE_BIN) as usize + 1).min((1.0 / SCORE_BIN) as usize);
        let bin = |probability: f64| ((probability / SCORE_BIN) as usize).min(count - 1);
        let bins = (0..count).map(|at| {
            let interval = Interval {
                low: at as f64 * SCORE_BIN,
                high: (at + 1) as f64 * SCORE_BIN,
            };
            (
                interval,
                probabilities
                    .iter()
                    .filter(|probability| bin(**probability) == at)
                    .count(),
            )
        });
        let band = |probability: f64| {
            thresholds
                .iter()
                .rposition(|(from, _)| probability > *from)
                .unwrap_or(0)
        };
        let by_band = thresholds.iter().enumerate().map(|(at, (from, name))| {
            let of = probabilities.iter().filter(|probability| band(**probability) == at);
            (*from, *name, of.count())
        });
        Some(Self {
            by_band: by_band.collect(),
            bins: bins.collect(),
            people: probabilities.len(),
        })
    }
}

/// The whole report.
#[must_use]
pub fn html(report: &Report<'_>) -> String {
    let card = &report.artifact.card;
    let title = format!("{}: model report", report.company.unwrap_or("Shared prior"));
    let sections = [
        head(report),
        key_figures(card),
        honesty(&card.evaluation, &Wording::of(&card.target)),
        report.scores.map_or_else(String::new, distribution),
        looks_at(report),
        together(report.pairs),
        candidates(card),
        groups(report.audits),
        limits(card),
        provenance(report.artifact),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{}\n</main>\n</body>\n</html>\n",
        escaped(&title),
        sections.concat()
    )
}

/// Text as HTML shows it, within elements and within attributes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What it is, whose data, how good, and what not to do with it.
fn head(report: &Report<'_>) -> String {
    let card = &report.artifact.card;
    let whose = report.company.map_or_else(|| "Shared prior".to_owned(), escaped);
    let (kind, made) = match card.learner {
        Learner::Logistic => (
            "A logistic regression",
            "one weight per feature; every contribution can be read off",
        ),
        Learner::Additive => (
            "An additive model",
            "one curve per feature; every contribution can be read off",
        ),
        Learner::AdditivePairs => (
            "An additive model with pairs",
            "one curve per feature and a few tables for two at a time; every contribution can be read off",
        ),
        Learner::Boosted => (
            "Boosted trees",
            "many small trees; the curves below are averages over people",
        ),
        Learner::Forest => (
            "A forest of trees",
            "many trees; the curves below are averages over people",
        ),
    };
    let learnt = match &card.origin {
        Origin::Pooled => "Invented histories, drawn by a simulation: no company's, and nobody's".to_owned(),
        Origin::Own => "This company's own history".to_owned(),
        Origin::Adapted { from } => format!(
            "The shared model {}, with its level moved to this company's own rate of exits; the figures below are from the months \
             that moved it",
            escaped(from)
        ),
    };
    let data = &card.data;
    let words = Wording::of(&card.target);
    format!(
        "<header>\n<p class=\"over\">Model report · {whose} · {}</p>\n<h1>{}</h1>\n{}<div class=\"grid\">\n\
         <section class=\"card\"><h3>What it is</h3><p>{kind}: {made}. It gives the probability that somebody {} \
         within {} days.</p></section>\n\
         <section class=\"card\"><h3>Whose data</h3><p>{learnt}: {} people, {} who {}, {} to {}.</p></section>\n\
         <section class=\"card\"><h3>How good it is</h3><p>{}</p></section>\n\
         <section class=\"card\"><h3>What it is not for</h3><p>Not for {}, and for no decision by itself. A \
         score is about people like this one; it does not know this person, and it does not say why.</p></section>\n</div>\n</header>\n",
        escaped(&report.artifact.version),
        headline(&card.evaluation, card.horizon_days, &words),
        alarm(&card.evaluation),
        words.somebody,
        card.horizon_days,
        thousands(data.people),
        thousands(data.cases),
        words.did,
        data.first_cutoff,
        data.known_until,
        good(&card.evaluation, &words),
        words.not_for,
    )
}

fn headline(evaluation: &Evaluation, days: u16, words: &Wording) -> String {
    let low = evaluation
        .intervals
        .as_ref()
        .and_then(|intervals| Some(intervals.auc?.low));
    let is_shown = low.is_some_and(|low| low > 0.5) && evaluation.beats_base_rate();
    match evaluation.lift_top_tenth {
        Some(lift) if is_shown => format!(
            "Of the tenth with the highest scores, {lift:.1} times as many {} within {days} days as among all people",
            words.came
        ),
        _ => format!(
            "Who {} within {days} days: not shown to be better than the plain rate of {}",
            words.comes, words.events
        ),
    }
}

/// What must not be overlooked.
fn alarm(evaluation: &Evaluation) -> String {
    let mut words = Vec::new();
    if !evaluation.beats_base_rate() {
        words.push(
            "Forward in time, this model was no better than saying the same for everybody. Do not use its scores.",
        );
    }
    if !evaluation.beats_shared_prior() {
        words.push("Forward in time, the shared prior was as good or better on the same people.");
    }
    if words.is_empty() {
        return String::new();
    }
    let words: String = words
        .iter()
        .map(|word| format!("<p><strong>Mind:</strong> {word}</p>"))
        .collect();
    format!("<div class=\"alarm\" role=\"note\">{words}</div>\n")
}

fn good(evaluation: &Evaluation, words: &Wording) -> String {
    let did = words.did;
    let order = evaluation.auc.map_or_else(
        || format!("It cannot be said how well it orders people: too few {did}. "),
        |auc| {
            format!(
                "Of two people of whom one {did}, it puts the one who {did} higher {:.0} times in 100; chance does so 50 times. ",
                auc * 100.0
            )
        },
    );
    let level = evaluation.observed_over_expected.map_or_else(String::new, |ratio| {
        format!("Of 100 {} that it predicted, {:.0} came. ", words.events, ratio * 100.0)
    });
    format!(
        "{order}{level}Most people with a high score do not {} within the time all the same.",
        words.infinitive
    )
}

fn key_figures(card: &ModelCard) -> String {
    let evaluation = &card.evaluation;
    let words = &Wording::of(&card.target);
    let intervals = evaluation.intervals.as_ref();
    let between = |interval: Option<Interval>, digits: usize| {
        interval.map_or_else(String::new, |interval| {
            format!("<small>{:.digits$} to {:.digits$}</small>", interval.low, interval.high)
        })
    };
    let tile = |title: &str, figure: String, gauge: String, words: &str| {
        format!(
            "<section class=\"card\"><h3>{title}</h3><p class=\"figure\">{figure}</p><div class=\"gauge\">{gauge}</div><p class=\"note\">{words}</p></section>\n"
        )
    };
    let untold = || "–".to_owned();
    let auc = intervals.and_then(|intervals| intervals.auc);
    let ratio = intervals.and_then(|intervals| intervals.observed_over_expected);
    let error = intervals.and_then(|intervals| intervals.calibration_error);
    let brier = intervals.and_then(|intervals| intervals.brier);
    let tiles = [
        tile(
            "Order (AUC)",
            evaluation
                .auc
                .map_or_else(untold, |value| format!("{value:.3}{}", between(auc, 2))),
            evaluation.auc.map_or_else(String::new, |value| {
                plot::gauge((0.4, 1.0), value, auc, 0.5, "chance 0.5")
            }),
            &format!(
                "How often the one who {} is ranked above the one who {}. Real models of this kind reach 0.65 to 0.75.",
                words.did, words.did_not
            ),
        ),
        tile(
            "Lift in the top tenth",
            evaluation
                .lift_top_tenth
                .map_or_else(untold, |value| format!("{value:.2} ×")),
            evaluation.lift_top_tenth.map_or_else(String::new, |value| {
                plot::gauge((0.5, 4.0), value, None, 1.0, "chance 1")
            }),
            &format!(
                "The rate of {} among the tenth with the highest scores, over that of all.",
                words.events
            ),
        ),
        tile(
            "Level (observed over expected)",
            evaluation
                .observed_over_expected
                .map_or_else(untold, |value| format!("{value:.2}{}", between(ratio, 2))),
            evaluation.observed_over_expected.map_or_else(String::new, |value| {
                plot::gauge((0.5, 1.5), value, ratio, 1.0, "right 1")
            }),
            &format!("Above 1 more {} than predicted, below 1 fewer.", words.did),
        ),
        tile(
            "Calibration error",
            format!(
                "{:.1} points{}",
                evaluation.calibration_error * 100.0,
                error.map_or_else(String::new, |error| format!(
                    "<small>at worst {:.1}</small>",
                    error.high * 100.0
                ))
            ),
            plot::gauge(
                (0.0, 5.0_f64.max(evaluation.calibration_error * 120.0)),
                evaluation.calibration_error * 100.0,
                error.map(|error| Interval {
                    low: error.low * 100.0,
                    high: error.high * 100.0,
                }),
                0.0,
                "right 0",
            ),
            "How far a probability is from what came of it, on average over ten groups.",
        ),
        tile(
            "Brier score",
            format!("{:.4}{}", evaluation.brier, between(brier, 3)),
            plot::gauge(
                (evaluation.brier_base_rate * 0.8, evaluation.brier_base_rate * 1.1),
                evaluation.brier,
                None,
                evaluation.brier_base_rate,
                &format!("rate alone {:.4}", evaluation.brier_base_rate),
            ),
            &format!(
                "The mean squared error; smaller is better. It must be below that of the plain rate of {}.",
                words.events
            ),
        ),
        evaluation.shared_prior.as_ref().map_or_else(String::new, |prior| {
            tile(
                "The shared prior on the same rows",
                prior
                    .auc
                    .map_or_else(untold, |auc| format!("{auc:.3}<small>AUC</small>")),
                String::new(),
                &format!(
                    "Brier score {:.4}: {} for {}.",
                    prior.brier,
                    if evaluation.beats_shared_prior() {
                        "worse than this model"
                    } else {
                        "as good or better"
                    },
                    escaped(&prior.version)
                ),
            )
        }),
    ];
    format!(
        "<h2>Key figures</h2>\n<p class=\"note\">Measured forward in time: a model that saw only what was known before {}, on {} rows of {} \
         people after it, {} of them before {}. Intervals hold the truth 95 times in 100 (people drawn anew, not rows).</p>\n\
         <div class=\"grid\">\n{}</div>\n",
        evaluation.test_from,
        thousands(evaluation.test_rows),
        thousands(evaluation.test_people),
        thousands(evaluation.test_positives),
        words.event,
        tiles.concat()
    )
}

/// Whether probabilities come true, and what the order is worth.
fn honesty(evaluation: &Evaluation, words: &Wording) -> String {
    if evaluation.reliability.is_empty() {
        return String::new();
    }
    let bins = plot::with_intervals(&evaluation.reliability, evaluation.test_rows, evaluation.test_people);
    let rows: String = bins
        .iter()
        .map(|(bin, interval)| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{} to {}</td></tr>",
                percent(bin.predicted),
                percent(bin.observed),
                thousands(bin.n),
                percent(interval.low),
                percent(interval.high)
            )
        })
        .collect();
    let gains = gains(&evaluation.reliability);
    let base = evaluation.test_positives as f64 / evaluation.test_rows.max(1) as f64;
    let held: String = gains
        .iter()
        .filter(|(share, _)| *share > 0.0)
        .map(|(share, held)| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{:.2} ×</td></tr>",
                percent(*share),
                percent(*held),
                held / share
            )
        })
        .collect();
    format!(
        "<h2>Do its percentages come true, and does its order help?</h2>\n<div class=\"grid two\">\n\
         <figure class=\"card\"><h3>Predicted against observed</h3>\n{}\n<figcaption class=\"note\">Ten groups of about {} rows, from the lowest \
         scores to the highest. On the dashed line, what was predicted is what came. The lines up and down hold the truth 95 times \
         in 100, and are wide rather than narrow: a person's rows count as one.</figcaption>\n\
         <details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">predicted</th><th scope=\"col\">observed</th><th scope=\"col\">rows</th><th scope=\"col\">interval</th></tr></thead><tbody>{rows}</tbody></table></div></details></figure>\n\
         <figure class=\"card\"><h3>Who is found when one looks at the highest scores first</h3>\n{}\n<figcaption class=\"note\">The curve between the two dashed \
         lines is this model; the lower line is chance, the upper one would be knowing the future.</figcaption>\n\
         <details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">highest scores</th><th scope=\"col\">hold of all {}</th><th scope=\"col\">lift</th></tr></thead><tbody>{held}</tbody></table></div></details></figure>\n</div>\n",
        plot::reliability(&bins),
        thousands(evaluation.reliability.iter().map(|bin| bin.n).max().unwrap_or(0)),
        plot::gains(&gains, base, words.did),
        words.people,
    )
}

/// Which share of all to whom it came the people with the highest scores hold, by the bins of the reliability table.
#[must_use]
pub fn gains(bins: &[Bin]) -> Vec<(f64, f64)> {
    let rows: f64 = bins.iter().map(|bin| bin.n as f64).sum();
    let all: f64 = bins.iter().map(|bin| bin.n as f64 * bin.observed).sum();
    let (mut taken, mut held) = (0.0, 0.0);
    let mut gains = vec![(0.0, 0.0)];
    for bin in bins.iter().rev() {
        taken += bin.n as f64;
        held += bin.n as f64 * bin.observed;
        if all > 0.0 {
            gains.push((taken / rows, held / all));
        }
    }
    gains
}

fn distribution(scores: &Scores) -> String {
    let thresholds: Vec<(f64, &str)> = scores.by_band.iter().map(|(from, name, _)| (*from, *name)).collect();
    let rows: String = scores
        .by_band
        .iter()
        .map(|(from, name, n)| {
            format!(
                "<tr><th scope=\"row\">{name}</th><td>above {}</td><td>{}</td><td>{}</td></tr>",
                percent(*from),
                thousands(*n),
                percent(*n as f64 / scores.people as f64)
            )
        })
        .collect();
    format!(
        "<h2>Where people's scores lie now</h2>\n<figure class=\"card bounded\"><h3>{} people by probability</h3>\n{}\n\
         <div class=\"scroll\"><table><thead><tr><th scope=\"col\">band</th><th scope=\"col\">probability</th><th scope=\"col\">people</th><th scope=\"col\">share</th></tr></thead><tbody>{rows}</tbody></table></div></figure>\n",
        thousands(scores.people),
        plot::distribution(&scores.bins, &thresholds)
    )
}

/// What the model looks at: how much each feature counts, and how.
fn looks_at(report: &Report<'_>) -> String {
    let card = &report.artifact.card;
    let mut sums: Vec<(FeatureId, f64, usize)> = Vec::new();
    for (name, importance) in &card.importance {
        let Some(shown) = FeatureId::named(name).and_then(|id| FeatureId::named(id.feature().shown_as)) else {
            continue;
        };
        match sums.iter_mut().find(|(id, _, _)| *id == shown) {
            Some((_, sum, inputs)) => (*sum, *inputs) = (*sum + importance, *inputs + 1),
            None => sums.push((shown, *importance, 1)),
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = sums.first().map_or(1.0, |(_, sum, _)| *sum);
    let bars: String = sums
        .iter()
        .take(BARS_MAX)
        .map(|(id, sum, inputs)| {
            let views = match *inputs {
                _ if features::is_calendar(*id) => " (in the latest months)".to_owned(),
                0 | 1 => String::new(),
                inputs => format!(" ({inputs} inputs)"),
            };
            format!(
                "<li><b>{}{views}</b><i style=\"width:{:.1}%\"></i><span>× {:.2}</span></li>",
                escaped(id.feature().title()),
                100.0 * sum / most,
                sum.exp()
            )
        })
        .collect();
    let rest = sums.len().saturating_sub(BARS_MAX);
    let rest = if rest == 0 {
        String::new()
    } else {
        format!(" {rest} more count for less than the last of these.")
    };
    format!(
        "<h2>What it looks at</h2>\n<p>How far each feature moves the odds, on average over people: × 1.30 means up or down by some 30 %. \
         It says what the model uses, not what makes people {}.{rest}</p>\n<ol class=\"bars\">{bars}</ol>\n{}",
        Wording::of(&card.target).infinitive,
        shapes(report)
    )
}

fn shapes(report: &Report<'_>) -> String {
    if report.shapes.is_empty() {
        return String::new();
    }
    let ranges = report.shapes.iter().map(ShapeChart::range);
    let (low, high) = ranges.fold((-0.01_f64, 0.01_f64), |(low, high), range| {
        (low.min(range.low), high.max(range.high))
    });
    let margin = (high - low) * 0.06;
    let vertical = Interval {
        low: low - margin,
        high: high + margin,
    };
    let figure = |chart: &ShapeChart| {
        let pairs: Vec<&str> = chart
            .paired_with
            .iter()
            .filter_map(|name| FeatureId::named(name).map(|id| id.feature().title()))
            .collect();
        let pairs = if pairs.is_empty() {
            String::new()
        } else {
            format!(" Counts also together with: {}.", escaped(&pairs.join(", ")))
        };
        format!(
            "<figure class=\"card\"><h3>{}</h3>\n{}\n<figcaption class=\"note\">{}.{pairs}</figcaption></figure>\n",
            escaped(&capital(&chart.title)),
            plot::shape(chart, vertical),
            escaped(&capital(&plot::described(chart)))
        )
    };
    let is_large = |chart: &&ShapeChart| chart.range().high - chart.range().low >= SHAPE_MIN;
    let large: String = report.shapes.iter().filter(is_large).map(figure).collect();
    let small: Vec<String> = report
        .shapes
        .iter()
        .filter(|chart| !is_large(chart))
        .map(figure)
        .collect();
    let small = if small.is_empty() {
        String::new()
    } else {
        format!(
            "<details><summary>{} more, which move a probability by less than {}</summary>\n<div class=\"grid small\">\n{}</div></details>\n",
            small.len(),
            points(SHAPE_MIN).trim_start_matches('+'),
            small.concat()
        )
    };
    let how = match report.shapes[0].method {
        ShapeMethod::Exact => "These curves are the model itself, not an estimate of it.".to_owned(),
        ShapeMethod::PartialDependence { rows } => format!(
            "These curves are averages over {rows} people who are all given the same value (partial dependence), which may be one that \
             nobody has with the rest of what they are."
        ),
    };
    let days = report.artifact.card.horizon_days;
    format!(
        "<h2>How each feature counts</h2>\n<p>How many points the probability within {days} days goes up or down with a value, for \
         somebody who is average in everything else; 0 is that average person, {}. All have the same vertical scale, and are drawn \
         where most people are. {how}</p>\n<div class=\"grid small\">\n{large}</div>\n{small}",
        percent(average(report.artifact)),
    )
}

/// The probability of the average person.
fn average(artifact: &Artifact) -> f64 {
    use crate::model::Form;
    let log_odds = match &artifact.hazard.model.form {
        Form::Logistic(form) => form.intercept,
        Form::Additive(form) => form.intercept,
        Form::Forest(_) | Form::Boosted(_) => {
            return artifact.card.evaluation.test_positives as f64 / artifact.card.evaluation.test_rows.max(1) as f64;
        }
    };
    artifact.hazard.of_parts(log_odds, &[], artifact.card.horizon_days)
}

/// What two features make together.
fn together(pairs: &[PairChart]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let table = |pair: &PairChart| {
        let columns: String = pair
            .cells
            .1
            .iter()
            .map(|cell| format!("<th scope=\"col\">{}</th>", escaped(cell)))
            .collect();
        let most = pair
            .effects
            .iter()
            .flatten()
            .map(|effect| effect.probability.abs())
            .fold(0.001, f64::max);
        let row = |(cell, effects): (&String, &Vec<crate::shapes::Effect>)| {
            let cells: String = effects
                .iter()
                .map(|effect| {
                    let part = effect.probability;
                    let name = if part >= 0.0 { "up" } else { "down" };
                    format!(
                        "<td style=\"background:color-mix(in srgb,var(--{name}) {:.0}%,transparent)\">{}</td>",
                        35.0 * part.abs() / most,
                        plot::signed(part)
                    )
                })
                .collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escaped(cell))
        };
        let rows: String = pair.cells.0.iter().zip(&pair.effects).map(row).collect();
        format!(
            "<figure class=\"card\"><h3>{} × {}</h3><div class=\"scroll\"><table class=\"heat\"><caption>Points; down: {}, across: {}</caption><thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody></table></div></figure>\n",
            escaped(&capital(&pair.titles.0)),
            escaped(&pair.titles.1),
            escaped(&pair.titles.0),
            escaped(&pair.titles.1)
        )
    };
    let tables: String = pairs.iter().map(table).collect();
    format!(
        "<h2>What counts only together</h2>\n<p>Points beyond the curves above, for somebody who is average in everything else.</p>\n<div class=\"grid two\">\n{tables}</div>\n"
    )
}

fn candidates(card: &ModelCard) -> String {
    if card.candidates.is_empty() {
        return String::new();
    }
    let rows: String = card
        .candidates
        .iter()
        .map(|candidate| {
            let (class, mark) = if candidate.champion { (" class=\"chosen\"", " ✓ in use") } else { ("", "") };
            let auc = candidate.auc.map_or_else(|| "–".to_owned(), |auc| format!("{auc:.3}"));
            format!(
                "<tr{class}><th scope=\"row\">{}{mark}</th><td data-label=\"AUC\">{auc}</td><td data-label=\"Brier\">{:.4}</td><td data-label=\"log loss\">{:.4}</td><td data-label=\"calibration error\">{}</td><td data-label=\"behind the best\">{}</td></tr>",
                learner_words(candidate.learner),
                candidate.brier,
                candidate.log_loss,
                percent(candidate.calibration_error),
                if candidate.behind == 0.0 {
                    "best".to_owned()
                } else {
                    format!("{:.4} ± {:.4}", candidate.behind, candidate.standard_error)
                }
            )
        })
        .collect();
    format!(
        "<h2>What seeing through it costs</h2>\n<p>{}</p>\n<div class=\"card\"><table class=\"stack\"><thead><tr><th scope=\"col\">kind of model</th><th scope=\"col\">AUC</th><th scope=\"col\">Brier</th><th scope=\"col\">log loss</th><th scope=\"col\">calibration error</th><th scope=\"col\">behind the best (log loss)</th></tr></thead><tbody>{rows}</tbody></table></div>\n",
        cost(card)
    )
}

/// What the model in use gives away for being readable.
fn cost(card: &ModelCard) -> String {
    let rule = "All were judged by the same later months. The simplest within one standard error of the best is used.";
    let is_glass = |learner: Learner| matches!(learner, Learner::Logistic | Learner::Additive | Learner::AdditivePairs);
    let champion = card.candidates.iter().find(|candidate| candidate.champion);
    let dark = card.candidates.iter().filter(|candidate| !is_glass(candidate.learner));
    let best = dark.min_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
    match (champion, best) {
        (Some(champion), Some(best)) if is_glass(champion.learner) => {
            let difference = best.auc.zip(champion.auc).map_or(0.0, |(theirs, ours)| theirs - ours);
            let words = if champion.log_loss <= best.log_loss {
                "nothing: it is better than the best that nobody can see through".to_owned()
            } else {
                format!(
                    "{difference:+.3} of AUC against {}",
                    learner_words(best.learner).to_lowercase()
                )
            };
            format!("To see through the model in use costs {words}. {rule}")
        }
        (Some(champion), None) if is_glass(champion.learner) => {
            format!("Only models that one can see through were tried. {rule}")
        }
        _ => rule.to_owned(),
    }
}

const fn learner_words(learner: Learner) -> &'static str {
    match learner {
        Learner::Logistic => "Logistic regression",
        Learner::Additive => "Additive model",
        Learner::AdditivePairs => "Additive with pairs",
        Learner::Boosted => "Boosted trees",
        Learner::Forest => "Forest of trees",
    }
}

fn groups(audits: &[Audit]) -> String {
    if audits.is_empty() {
        return "<h2>Do groups fare alike?</h2>\n<p>Insufficient data: no attribute has enough people on record to compare groups. That is no \
                sign that they fare alike.</p>\n"
            .to_owned();
    }
    let tables: String = audits.iter().map(audited).collect();
    format!(
        "<h2>Do groups fare alike?</h2>\n<p>A ratio is a question and not an answer: where groups truly differ in their rates, a good \
         score selects them at different rates. Calibration (observed over expected) and AUC of each group say which it is. \
         Attributes come from the fairness records and are no model input.</p>\n{tables}"
    )
}

fn audited(audit: &Audit) -> String {
    let rule = match audit.rule {
        Rule::AtOrAbove { probability } => format!("a probability of {} or more", percent(probability)),
        Rule::Above { probability } => format!("a probability above {}", percent(probability)),
        Rule::TopShare { share } => format!("the {} with the highest scores", percent(share)),
        Rule::AboveMedian => "a probability above the median".to_owned(),
    };
    let rate = match audit.favourable {
        Favourable::Selected => "Selected are",
        Favourable::NotSelected => "Called a risk are",
    };
    let favoured = match audit.favourable {
        Favourable::Selected => "selected",
        Favourable::NotSelected => "not called a risk",
    };
    let ratio = audit
        .adverse_impact_ratio
        .map_or_else(String::new, |ratio| format!(" Lowest over highest rate: {ratio:.2}."));
    let verdict = match audit.verdict {
        Verdict::InsufficientData => "Insufficient data to compare groups",
        Verdict::NoDisparityFound => "No group below four fifths of the highest rate",
        Verdict::BelowFourFifths { significant: true } => "⚠ Below four fifths, and not by chance",
        Verdict::BelowFourFifths { significant: false } => "⚠ Below four fifths; it may be chance",
    };
    let also = if audit.significant_above_four_fifths.is_empty() {
        String::new()
    } else {
        format!(
            " Lower by more than chance, though above four fifths: {}.",
            escaped(&audit.significant_above_four_fifths.join(", "))
        )
    };
    let rows: String = audit
        .groups
        .iter()
        .map(|group| group_row(group, audit.highest.as_deref()))
        .collect();
    let hidden = if audit.not_shown == 0 {
        String::new()
    } else {
        format!(
            " {} people are in no group that is large enough to be shown, or not on record.",
            thousands(audit.not_shown)
        )
    };
    format!(
        "<section class=\"card\" style=\"margin-bottom:1rem\"><h3>{}: {verdict}</h3><p class=\"note\">{rate} those with {rule}.{ratio}{also}{hidden}</p>\n\
         <table class=\"stack\"><thead><tr><th scope=\"col\">group</th><th scope=\"col\">people</th><th scope=\"col\">{favoured}</th><th scope=\"col\">ratio to the highest</th><th scope=\"col\"></th><th scope=\"col\">observed / expected</th><th scope=\"col\">AUC</th></tr></thead><tbody>{rows}</tbody></table></section>\n",
        escaped(&capital(&audit.attribute))
    )
}

fn group_row(group: &Group, highest: Option<&str>) -> String {
    let none = || "insufficient data".to_owned();
    let (ratio, drawn) = match (&group.to_highest, group.standing) {
        (_, Standing::InsufficientData) => (none(), String::new()),
        (Some(comparison), Standing::Judged) => (
            comparison.ratio.map_or_else(none, |ratio| {
                let interval = comparison.ratio_interval.map_or_else(String::new, |interval| {
                    format!(" ({:.2} to {:.2})", interval.low, interval.high)
                });
                format!("{ratio:.2}{interval}")
            }),
            comparison
                .ratio
                .map_or_else(String::new, |ratio| plot::ratio(ratio, comparison.ratio_interval)),
        ),
        (None, Standing::Judged) if highest == Some(group.group.as_str()) => {
            ("highest".to_owned(), plot::ratio(1.0, None))
        }
        (None, Standing::Judged) => (none(), String::new()),
    };
    let calibration = group.calibration.map_or_else(none, |calibration| {
        format!(
            "{:.2} ({:.2} to {:.2})",
            calibration.ratio, calibration.bounds.low, calibration.bounds.high
        )
    });
    format!(
        "<tr><th scope=\"row\">{}</th><td data-label=\"people\">{}</td><td data-label=\"rate\">{}</td><td data-label=\"ratio\">{ratio}</td><td data-label=\"\"><div style=\"width:10rem;max-width:100%\">{drawn}</div></td><td data-label=\"observed / expected\">{calibration}</td><td data-label=\"AUC\">{}</td></tr>",
        escaped(&group.group),
        thousands(group.favoured.of),
        percent(group.rate),
        group.auc.map_or_else(none, |auc| format!("{auc:.2}"))
    )
}

fn limits(card: &ModelCard) -> String {
    let items: String = card
        .limits
        .iter()
        .map(|limit| format!("<li>{}</li>", escaped(limit)))
        .collect();
    format!("<h2>Limits</h2>\n<ul>{items}</ul>\n")
}

fn provenance(artifact: &Artifact) -> String {
    let card = &artifact.card;
    let data = &card.data;
    let titles = |names: &[String]| {
        let named = names.iter().filter_map(|name| FeatureId::named(name));
        let mut titles: Vec<&str> = named.map(|id| id.feature().title()).collect();
        titles.dedup();
        if titles.is_empty() {
            "none".to_owned()
        } else {
            titles.join(", ")
        }
    };
    let words = Wording::of(&card.target);
    let checksum = artifact.version.rsplit('-').next().unwrap_or_default();
    let rows: String = [
        ("version", artifact.version.clone()),
        ("checksum begins", checksum.to_owned()),
        ("trained at", card.trained_at.format("%Y-%m-%d %H:%M UTC").to_string()),
        ("cut-offs", format!("{} to {}", data.first_cutoff, data.last_cutoff)),
        ("events known until", data.known_until.to_string()),
        (
            "position in the log",
            thousands(usize::try_from(data.log_position).unwrap_or(0)),
        ),
        (
            "learnt from",
            format!(
                "{} months of {} people; {} of these months before {}, {} people who {}",
                thousands(data.rows),
                thousands(data.people),
                thousands(data.positives),
                words.event,
                thousands(data.cases),
                words.did
            ),
        ),
        ("tested from", card.evaluation.test_from.to_string()),
        ("what is predicted", card.label.clone()),
        ("not looked at", titles(&card.exclusions)),
        ("seed", card.seed.to_string()),
        ("set of features", card.feature_set.to_string()),
        ("version of the code", card.code_version.clone()),
    ]
    .iter()
    .map(|(term, words)| format!("<dt>{term}</dt><dd>{}</dd>", escaped(words)))
    .collect();
    format!("<h2>Where it comes from</h2>\n<dl>{rows}</dl>\n")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A count with narrow spaces between thousands.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
