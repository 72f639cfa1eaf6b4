//! One person's score, drawn for a terminal: how likely, what goes along with it, and where the person stands on the curves.

use std::fmt::Write;

use domain::{
    Date,
    risk::{Level, READY_FROM},
    tenant::Bands,
};

use super::{points, shown, worth};
use crate::{
    artifact::{Artifact, HazardScore, Origin},
    dataset::Target,
    features::{FEATURES, FeatureId, FeatureState, FeatureVector, Unscored},
    shapes::{ShapeChart, ShapeKind, shapes, short},
};

/// The width that is drawn for where nobody says how wide it is.
pub const WIDTH_DEFAULT: usize = 80;
/// Narrower than this, lines run over.
pub const WIDTH_MIN: usize = 66;
/// Wider than this, the eye loses the line.
pub const WIDTH_MAX: usize = 110;
/// Contributions that get a line of their own.
const BARS_MAX: usize = 10;
/// Curves that are drawn.
const CURVES_MAX: usize = 3;
/// Columns that a bar has on either side, at least.
const SIDE_MIN: usize = 9;
const INDENT: &str = "  ";

/// What is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// In columns.
    pub width: usize,
    /// Whether it is a terminal that shows colours. They never say anything that the text does not.
    pub colours: bool,
}

impl Default for Canvas {
    fn default() -> Self {
        Self {
            width: WIDTH_DEFAULT,
            colours: false,
        }
    }
}

impl Canvas {
    fn width(self) -> usize {
        self.width.clamp(WIDTH_MIN, WIDTH_MAX)
    }

    fn in_style(self, style: &str, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\u{1b}[{style}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn strong(self, text: &str) -> String {
        self.in_style("1", text)
    }

    fn quiet(self, text: &str) -> String {
        self.in_style("2", text)
    }

    fn up(self, text: &str) -> String {
        self.in_style("33", text)
    }

    fn down(self, text: &str) -> String {
        self.in_style("36", text)
    }
}

/// What a probability is sorted into.
struct Scale {
    /// From where on the next one begins, lowest first.
    thresholds: Vec<f64>,
    /// Such as "to give notice".
    what: String,
    /// Such as "band HIGH".
    called: String,
    /// Such as "bands above 10 %, 20 %, 90 %".
    legend: String,
}

impl Scale {
    fn of(artifact: &Artifact, bands: &Bands, probability: f64) -> Self {
        match &artifact.card.target {
            Target::Notice => Self {
                thresholds: vec![bands.medium_above, bands.high_above, bands.critical_above],
                what: "to give notice".to_owned(),
                called: format!("band {}", bands.band(probability).name()),
                legend: format!(
                    "bands above {}, {}, {}",
                    whole_percent(bands.medium_above),
                    whole_percent(bands.high_above),
                    whole_percent(bands.critical_above)
                ),
            },
            Target::Promotion { name, .. } => {
                let usual = artifact.card.usual;
                Self {
                    thresholds: vec![usual, READY_FROM * usual],
                    what: format!("to move up ({name})"),
                    called: format!("level {}", Level::of(probability, usual).name()),
                    legend: format!(
                        "DEVELOPING from the usual {} on, READY from {}",
                        whole_percent(usual),
                        whole_percent(READY_FROM * usual)
                    ),
                }
            }
        }
    }
}

/// A person's score on a day, or why there is none.
#[must_use]
pub fn drawing(artifact: &Artifact, bands: &Bands, state: &FeatureState, on: Date, canvas: Canvas) -> String {
    if let Some(why) = state.unscored(on) {
        return format!("{} {}\n", canvas.strong("Not scored:"), words_of(why));
    }
    if let Target::Promotion { name, .. } = &artifact.card.target
        && !artifact.card.target.is_about(state, on)
    {
        let title = canvas.strong("No candidate:");
        return format!("{title} their job is not one that {name} starts from.\n");
    }
    let x = artifact.vector(state, on);
    let score = artifact.score(&x.values, on);
    let largest = shown(&score.contributions);
    [
        head(
            artifact,
            &Scale::of(artifact, bands, score.probability),
            &score,
            on,
            canvas,
        ),
        contributions(artifact, &score, &x, &largest, canvas),
        curves(artifact, &score, &x, &largest, canvas),
        foot(canvas),
    ]
    .join("\n")
}

/// Why somebody is not scored, in words.
#[must_use]
pub fn words_of(why: Unscored) -> String {
    match why {
        Unscored::Erased => "the record was erased; nothing is left to score.".to_owned(),
        Unscored::Objects => "this person objects to being scored (GDPR art. 21).".to_owned(),
        Unscored::NotEmployed => "not employed on this day: gone, or not yet there.".to_owned(),
        Unscored::OnNotice => "notice was given; there is nothing left to predict.".to_owned(),
        Unscored::EndOnRecord { on } => format!("the end of the employment is on record: {on}."),
    }
}

fn head(artifact: &Artifact, scale: &Scale, score: &HazardScore, on: Date, canvas: Canvas) -> String {
    let days = artifact.card.horizon_days;
    let every: Vec<usize> = (0..FEATURES.len()).collect();
    let average = score.probability - artifact.hazard.worth(score, &every);
    let model = match &artifact.card.origin {
        Origin::Pooled => "the shared prior",
        Origin::Own => "this company's own model",
        Origin::Adapted { .. } => "a model of more people, at the level here",
    };
    let mut text = String::new();
    let probability = format!("{:.1} %", score.probability * 100.0);
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{INDENT}{} {} within {days} days    {}",
        canvas.strong(&probability),
        scale.what,
        canvas.strong(&scale.called)
    );
    let _ = writeln!(
        text,
        "{INDENT}{}",
        gauge(score.probability, average, &scale.thresholds, canvas)
    );
    let _ = writeln!(
        text,
        "{INDENT}┼ {:.1} % is the average person's; {}",
        average * 100.0,
        scale.legend
    );
    text.push_str(&wrapped(&format!("on {on}, by {model}, {}", artifact.version), canvas));
    text
}

fn whole_percent(share: f64) -> String {
    format!("{} %", short((share * 1_000.0).round() / 10.0))
}

/// The probability on a line: filled as far as it goes, with a mark for the average person and for each band.
fn gauge(probability: f64, average: f64, thresholds: &[f64], canvas: Canvas) -> String {
    let width = canvas.width() - INDENT.len() - 8;
    // As far as the next band's beginning, but not to the end of all bands for somebody at three percent.
    let most = thresholds
        .iter()
        .copied()
        .find(|from| *from > probability.max(average) * 1.2)
        .unwrap_or(1.0);
    let place = |share: f64| ((share / most) * width as f64).round() as usize;
    let filled = place(probability).clamp(1, width);
    let line: String = (0..width)
        .map(|column| {
            if column == place(average).min(width - 1) {
                '┼'
            } else if thresholds.iter().any(|from| place(*from) == column) {
                '┊'
            } else if column < filled {
                '━'
            } else {
                '─'
            }
        })
        .collect();
    let (full, rest) = line.split_at(line.char_indices().nth(filled).map_or(line.len(), |(at, _)| at));
    format!(
        "{}{} {:>6}",
        canvas.strong(full),
        canvas.quiet(rest),
        whole_percent(most)
    )
}

/// The largest contributions as bars, up to the right and down to the left.
fn contributions(
    artifact: &Artifact,
    score: &HazardScore,
    x: &FeatureVector,
    largest: &[(FeatureId, f64)],
    canvas: Canvas,
) -> String {
    let (single, rest) = largest.split_at(largest.len().min(BARS_MAX));
    let mut rows: Vec<(String, f64)> = single
        .iter()
        .map(|(id, _)| {
            let words = id.feature().label(x.get(*id).unwrap_or(f64::NAN));
            (words, worth(&artifact.hazard, score, *id))
        })
        .collect();
    rows.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    if !rest.is_empty() {
        let inputs: Vec<usize> = rest.iter().flat_map(|(id, _)| inputs_of(*id)).collect();
        rows.push((
            format!("{} more together", rest.len()),
            artifact.hazard.worth(score, &inputs),
        ));
    }
    let numbers = 13;
    let words_most = rows.iter().map(|(words, _)| words.chars().count()).max().unwrap_or(0);
    let words_width = words_most.min(canvas.width() - INDENT.len() - numbers - 3 - 2 * SIDE_MIN);
    // Columns to either side of the axis.
    let side = ((canvas.width() - INDENT.len() - words_width - numbers - 3) / 2).max(SIDE_MIN);
    let most = rows.iter().map(|(_, part)| part.abs()).fold(1e-9, f64::max);
    let mut text = format!(
        "{INDENT}{:<words_width$} {:>side$} {:<side$}\n",
        shortened("goes along with it", words_width),
        "lower ◂",
        "▸ higher"
    );
    for (words, part) in rows {
        let halves = (part.abs() / most * side as f64 * 2.0).round() as usize;
        let (left, right) = if part < 0.0 { (halves, 0) } else { (0, halves) };
        let left = format!("{}{}", if left % 2 == 1 { "▐" } else { "" }, "█".repeat(left / 2));
        let right = format!("{}{}", "█".repeat(right / 2), if right % 2 == 1 { "▌" } else { "" });
        let (before, after) = (side - left.chars().count(), side - right.chars().count());
        let _ = writeln!(
            text,
            "{INDENT}{:<words_width$} {}{}│{}{} {}",
            shortened(&words, words_width),
            " ".repeat(before),
            canvas.down(&left),
            canvas.up(&right),
            " ".repeat(after),
            points(part)
        );
    }
    text
}

/// A feature's inputs: itself and what is shown as it.
fn inputs_of(id: FeatureId) -> impl Iterator<Item = usize> {
    FeatureId::all()
        .filter(move |other| other.feature().shown_as == id.feature().name)
        .map(FeatureId::index)
}

/// The text, cut to a width where it is longer.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The curves behind the largest contributions, with a mark where the person stands.
fn curves(
    artifact: &Artifact,
    score: &HazardScore,
    x: &FeatureVector,
    largest: &[(FeatureId, f64)],
    canvas: Canvas,
) -> String {
    let charts = shapes(artifact, &[]);
    let part = |input: usize| {
        score
            .contributions
            .iter()
            .find(|(of, _)| *of == input)
            .map_or(0.0, |(_, part)| *part)
    };
    // Of inputs that no one value decides, the curve of the one that counts most.
    let chart_of = |id: FeatureId| {
        let of = charts.iter().filter(|chart| {
            let input = FeatureId::named(&chart.feature);
            input.is_some_and(|input| input == id || input.feature().shown_as == id.feature().name)
        });
        let size = |chart: &ShapeChart| -> f64 {
            let inputs = chart.inputs.iter().filter_map(|name| FeatureId::named(name));
            inputs.map(|input| part(input.index())).sum::<f64>().abs()
        };
        of.max_by(|a, b| size(a).total_cmp(&size(b)))
    };
    let drawn: Vec<&ShapeChart> = largest
        .iter()
        .filter_map(|(id, _)| chart_of(*id))
        .filter(|chart| chart.kind != ShapeKind::Flag)
        .take(CURVES_MAX)
        .collect();
    if drawn.is_empty() {
        return String::new();
    }
    let title_width = drawn.iter().map(|chart| chart.title.chars().count()).max().unwrap_or(0);
    let title_width = title_width.min((canvas.width() - INDENT.len()) / 2);
    let width = canvas.width() - INDENT.len() - title_width - 22;
    let mut text = format!("{INDENT}by value, the rest being average (▲ is this person)\n");
    for chart in drawn {
        let value = FeatureId::named(&chart.feature).and_then(|id| x.get(id));
        text.push_str(&curve(chart, value, title_width, width, canvas));
    }
    text
}

/// One curve as blocks, and a line under it with the ends of its axis and the mark.
fn curve(chart: &ShapeChart, value: Option<f64>, title_width: usize, width: usize, canvas: Canvas) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let drawn = chart.common_curve();
    let (Some(first), Some(last)) = (drawn.first(), drawn.last()) else {
        return String::new();
    };
    // Somebody beyond what is common widens the axis, as far as the model knows.
    let known = |end: Option<&crate::shapes::ShapePoint>, or: f64| end.map_or(or, |point| point.value);
    let low = value.map_or(first.0, |value| {
        first.0.min(value.max(known(chart.points.first(), first.0)))
    });
    let high = value.map_or(last.0, |value| {
        last.0.max(value.min(known(chart.points.last(), last.0)))
    });
    let at = |column: usize| low + (high - low) * column as f64 / (width - 1) as f64;
    let parts: Vec<f64> = (0..width).map(|column| chart.probability_at(at(column))).collect();
    let (least, most) = parts
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), part| {
            (least.min(*part), most.max(*part))
        });
    let block = |part: &f64| {
        let height = if most > least {
            (part - least) / (most - least)
        } else {
            0.0
        };
        BLOCKS[(height * 7.0).round() as usize]
    };
    let blocks: String = parts.iter().map(block).collect();
    let mark = match value {
        Some(value) => {
            let place = (value - low) / (high - low) * (width - 1) as f64;
            let place = place.round().clamp(0.0, (width - 1) as f64) as usize;
            let words = axis(chart, value);
            // To the left of the mark where there is no room to its right.
            if place + 2 + words.chars().count() <= width + 8 {
                format!("{}▲ {words}", " ".repeat(place))
            } else {
                format!(
                    "{}{words} ▲",
                    " ".repeat(place.saturating_sub(words.chars().count() + 1))
                )
            }
        }
        None => format!("not on record: {}", points(chart.missing.probability)),
    };
    format!(
        "{INDENT}{:<title_width$} {} {} to {}\n{INDENT}{} {mark}\n",
        shortened(&chart.title, title_width),
        canvas.strong(&blocks),
        points(least).trim_end_matches(" points"),
        points(most),
        canvas.quiet(&format!(
            "{:<title_width$}",
            shortened(
                &format!("  {} to {}", number(chart, low), axis(chart, high)),
                title_width
            )
        )),
    )
}

/// A value with its unit.
fn axis(chart: &ShapeChart, value: f64) -> String {
    let unit = match chart.unit.as_str() {
        "minutes in 13 weeks" => " hours",
        "relative" | "percent" => " %",
        "years" => " years",
        "weeks" => " weeks",
        "hours" => " hours",
        "points" => " points",
        _ => "",
    };
    number(chart, value) + unit
}

fn number(chart: &ShapeChart, value: f64) -> String {
    let value = match chart.unit.as_str() {
        "minutes in 13 weeks" => value / 60.0,
        "relative" => value * 100.0,
        _ => value,
    };
    short((value * 10.0).round() / 10.0)
}

fn foot(canvas: Canvas) -> String {
    let words = "Points are what the probability would be less without that line; several together are not their sum. They say what \
                 goes along with the score, not why somebody leaves, and the score is no decision.";
    wrapped(words, canvas)
}

/// Quiet text in lines that fit.
fn wrapped(words: &str, canvas: Canvas) -> String {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let room = canvas.width() - INDENT.len();
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let lines = lines.iter().map(|line| format!("{INDENT}{}\n", canvas.quiet(line)));
    lines.collect()
}

#[cfg(test)]
mod tests;
