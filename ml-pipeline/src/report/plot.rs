//! Plots as inline SVG. Every plot has a title and a description in words, and means nothing by colour alone.

use std::fmt::Write;

use super::escaped;
use crate::{
    metrics::Bin,
    shapes::{ShapeChart, ShapeKind, short},
    statistics::Interval,
};

/// How many standard errors of a normal distribution are on either side of [`crate::statistics::CONFIDENCE`].
const ERRORS: f64 = 1.959_963_984_540_054;

/// The most whole numbers that get a dot each.
const DOTS_MAX: usize = 16;

/// A range of values along a range of pixels.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    pub const fn new(values: (f64, f64), pixels: (f64, f64)) -> Self {
        Self { values, pixels }
    }

    pub fn at(&self, value: f64) -> f64 {
        let width = self.values.1 - self.values.0;
        let part = if width > 0.0 {
            (value - self.values.0) / width
        } else {
            0.5
        };
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }

    /// Round values within the range, about as many as asked for.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        let step = round_step((self.values.1 - self.values.0) / about.max(1) as f64);
        if step == 0.0 {
            return vec![self.values.0];
        }
        let first = (self.values.0 / step - 1e-9).ceil() as i64;
        let last = (self.values.1 / step + 1e-9).floor() as i64;
        (first..=last).map(|tick| tick as f64 * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `least` by much.
pub fn round_step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 0.0;
    }
    let power = 10.0_f64.powf(least.log10().floor());
    let leading = least / power;
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| leading <= *round + 1e-9);
    round.unwrap_or(10.0) * power
}

/// One plot: its size, its words, and what is drawn.
pub struct Plot {
    width: f64,
    height: f64,
    body: String,
}

impl Plot {
    pub const fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            self.body,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        );
    }

    fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            self.body,
            "<polygon class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        );
    }

    /// A circle that says more under a pointer.
    fn dot(&mut self, class: &str, at: (f64, f64), radius: f64, words: &str) {
        let _ = write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>",
            at.0,
            at.1,
            escaped(words)
        );
    }

    fn bar(&mut self, class: &str, from: (f64, f64), to: (f64, f64), words: &str) {
        let (x, y) = (from.0.min(to.0), from.1.min(to.1));
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            (to.0 - from.0).abs(),
            (to.1 - from.1).abs(),
            escaped(words)
        );
    }

    fn text(&mut self, class: &str, anchor: &str, at: (f64, f64), words: &str) {
        let _ = write!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at.0,
            at.1,
            escaped(words)
        );
    }

    /// The whole, with its title and description as the text alternative.
    fn svg(&self, title: &str, description: &str) -> String {
        format!(
            "<svg role=\"img\" viewBox=\"0 0 {} {}\" aria-label=\"{}: {}\">{}</svg>",
            self.width,
            self.height,
            escaped(title),
            escaped(description),
            self.body
        )
    }
}

/// Where a share of `n` cases probably lies (Wilson, 1927).
pub fn share_interval(share: f64, n: f64) -> Interval {
    let square = ERRORS * ERRORS;
    let middle = (share + square / (2.0 * n)) / (1.0 + square / n);
    let reach = ERRORS / (1.0 + square / n) * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    Interval {
        low: (middle - reach).max(0.0),
        high: (middle + reach).min(1.0),
    }
}

/// The bins with the intervals of what was observed. A person has several rows: a row counts as the part of a person that it
/// is, so that the intervals are rather too wide than too narrow.
pub fn with_intervals(bins: &[Bin], rows: usize, people: usize) -> Vec<(Bin, Interval)> {
    let part = people.min(rows).max(1) as f64 / rows.max(1) as f64;
    bins.iter()
        .map(|bin| {
            (
                bin.clone(),
                share_interval(bin.observed, (bin.n as f64 * part).max(1.0)),
            )
        })
        .collect()
}

/// Predicted against observed.
pub fn reliability(bins: &[(Bin, Interval)]) -> String {
    let largest = bins
        .iter()
        .flat_map(|(bin, interval)| [bin.predicted, interval.high])
        .fold(0.01, f64::max);
    let step = round_step(largest / 5.0);
    let most = ((largest / step).ceil() * step).min(1.0);
    let (x, y) = (
        Scale::new((0.0, most), (44.0, 390.0)),
        Scale::new((0.0, most), (280.0, 14.0)),
    );
    let mut plot = Plot::new(400.0, 320.0);
    for tick in x.ticks(5) {
        plot.line("gridline", (x.at(tick), y.at(0.0)), (x.at(tick), y.at(most)));
        plot.line("gridline", (x.at(0.0), y.at(tick)), (x.at(most), y.at(tick)));
        plot.text("", "middle", (x.at(tick), 296.0), &percent(tick));
        plot.text("", "end", (38.0, y.at(tick) + 4.0), &percent(tick));
    }
    plot.line("reference", (x.at(0.0), y.at(0.0)), (x.at(most), y.at(most)));
    plot.text("", "end", (x.at(most) - 42.0, y.at(most) + 12.0), "as predicted");
    plot.text("", "start", (x.at(0.0) + 6.0, 9.0), "observed");
    plot.text("", "end", (x.at(most), 314.0), "predicted probability");
    for (bin, interval) in bins {
        let at = x.at(bin.predicted);
        plot.line("range", (at, y.at(interval.low)), (at, y.at(interval.high)));
    }
    for (bin, interval) in bins {
        let words = format!(
            "{} rows: predicted {}, observed {} ({} to {})",
            bin.n,
            percent(bin.predicted),
            percent(bin.observed),
            percent(interval.low),
            percent(interval.high)
        );
        plot.dot("dot", (x.at(bin.predicted), y.at(bin.observed)), 4.5, &words);
    }
    let inside = bins
        .iter()
        .filter(|(bin, interval)| interval.contains(bin.predicted))
        .count();
    plot.svg(
        "Predicted against observed",
        &format!("in {inside} of {} groups the prediction lies within the interval of what was observed; the figures follow as a table", bins.len()),
    )
}

/// The share of all to whom it came (who `did`) among the people with the highest scores.
pub fn gains(gains: &[(f64, f64)], base: f64, did: &str) -> String {
    let (x, y) = (
        Scale::new((0.0, 1.0), (44.0, 390.0)),
        Scale::new((0.0, 1.0), (280.0, 14.0)),
    );
    let mut plot = Plot::new(400.0, 320.0);
    for tick in x.ticks(5) {
        plot.line("gridline", (x.at(tick), y.at(0.0)), (x.at(tick), y.at(1.0)));
        plot.line("gridline", (x.at(0.0), y.at(tick)), (x.at(1.0), y.at(tick)));
        plot.text("", "middle", (x.at(tick), 296.0), &percent(tick));
        plot.text("", "end", (38.0, y.at(tick) + 4.0), &percent(tick));
    }
    let drawn: Vec<(f64, f64)> = gains.iter().map(|(share, held)| (x.at(*share), y.at(*held))).collect();
    let mut area = drawn.clone();
    area.push((x.at(0.0), y.at(0.0)));
    plot.polygon("area", &area);
    plot.line("reference", (x.at(0.0), y.at(0.0)), (x.at(1.0), y.at(1.0)));
    plot.polyline(
        "reference",
        &[(x.at(0.0), y.at(0.0)), (x.at(base), y.at(1.0)), (x.at(1.0), y.at(1.0))],
    );
    plot.text("", "start", (x.at(0.56), y.at(0.5)), "by chance");
    plot.text("", "start", (x.at(base) + 8.0, y.at(0.95)), "knowing the future");
    plot.polyline("curve", &drawn);
    for (share, held) in gains.iter().filter(|(share, _)| *share > 0.0) {
        let words = format!(
            "the {} with the highest scores: {} of those who {did}",
            percent(*share),
            percent(*held)
        );
        plot.dot("dot", (x.at(*share), y.at(*held)), 3.6, &words);
    }
    plot.text("", "start", (x.at(0.0) + 6.0, 10.0), &format!("of those who {did}"));
    plot.text("", "end", (x.at(1.0), 314.0), "of all people, highest scores first");
    let tenth = gains.iter().find(|(share, _)| *share > 0.05);
    let words = tenth.map_or_else(String::new, |(share, held)| {
        format!(
            "the {} with the highest scores hold {} of those who {did}; the figures follow as a table",
            percent(*share),
            percent(*held)
        )
    });
    plot.svg("Cumulative gains", &words)
}

/// Where people's scores lie now, with the bands.
pub fn distribution(bins: &[(Interval, usize)], thresholds: &[(f64, &str)]) -> String {
    let most = bins.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1) as f64;
    let end = bins.last().map_or(1.0, |(bin, _)| bin.high);
    let (x, y) = (
        Scale::new((0.0, end), (34.0, 470.0)),
        Scale::new((0.0, most), (170.0, 26.0)),
    );
    let mut plot = Plot::new(480.0, 205.0);
    for tick in y.ticks(4).into_iter().filter(|tick| tick.fract() == 0.0) {
        plot.line("gridline", (x.at(0.0), y.at(tick)), (x.at(end), y.at(tick)));
        plot.text("", "end", (29.0, y.at(tick) + 4.0), &format!("{tick:.0}"));
    }
    for (bin, n) in bins.iter().filter(|(_, n)| *n > 0) {
        let words = format!("{} to {}: {n} people", percent(bin.low), percent(bin.high));
        plot.bar(
            "bar",
            (x.at(bin.low) + 1.0, y.at(0.0)),
            (x.at(bin.high) - 1.0, y.at(*n as f64)),
            &words,
        );
    }
    for tick in x.ticks(8) {
        plot.text("", "middle", (x.at(tick), 186.0), &percent(tick));
    }
    for (from, band) in thresholds.iter().filter(|(from, _)| *from < end) {
        if *from > 0.0 {
            plot.line("reference", (x.at(*from), 14.0), (x.at(*from), y.at(0.0)));
        }
        plot.text("strong", "start", (x.at(*from) + 4.0, 20.0), band);
    }
    plot.text("", "end", (470.0, 202.0), "probability");
    plot.svg("People by probability", "the numbers by band follow as a table")
}

/// One feature's shape, on the same vertical scale as all others.
pub fn shape(chart: &ShapeChart, vertical: Interval) -> String {
    const LEFT: f64 = 34.0;
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 130.0;
    let is_missing_told = chart.missing.log_odds != 0.0;
    let right = if is_missing_told { 246.0 } else { 288.0 };
    let y = Scale::new((vertical.low, vertical.high), (BOTTOM, TOP));
    let mut plot = Plot::new(300.0, 166.0);
    for tick in y.ticks(4) {
        plot.line("gridline", (LEFT, y.at(tick)), (right, y.at(tick)));
        let sign = if tick == 0.0 {
            "0".to_owned()
        } else {
            format!("{:+}", round(tick * 100.0))
        };
        plot.text("", "end", (LEFT - 5.0, y.at(tick) + 4.0), &sign);
    }
    plot.line("reference", (LEFT, y.at(0.0)), (right, y.at(0.0)));
    match chart.kind {
        ShapeKind::Flag => flag(&mut plot, chart, y, (LEFT, right)),
        ShapeKind::Curve | ShapeKind::Steps => {
            let curve = chart.common_curve();
            let shown: Vec<f64> = curve.iter().map(|(value, _)| in_unit(chart, *value)).collect();
            let ends = (
                shown.first().copied().unwrap_or(0.0),
                shown.last().copied().unwrap_or(1.0),
            );
            let x = Scale::new(ends, (LEFT, right));
            let drawn: Vec<(f64, f64)> = shown
                .iter()
                .zip(&curve)
                .map(|(value, (_, part))| (x.at(*value), y.at(*part)))
                .collect();
            let mut area = drawn.clone();
            area.extend([(right, y.at(0.0)), (LEFT, y.at(0.0))]);
            plot.polygon("area", &area);
            plot.polyline("curve", &drawn);
            if chart.kind == ShapeKind::Steps && drawn.len() <= DOTS_MAX {
                for (at, (value, part)) in drawn.iter().zip(&curve) {
                    plot.dot("dot", *at, 3.2, &format!("{}: {}", short(*value), points_words(*part)));
                }
            }
            let ticks = x.ticks(5).into_iter();
            for tick in ticks.filter(|tick| chart.kind == ShapeKind::Curve || tick.fract() == 0.0) {
                plot.line("axis", (x.at(tick), BOTTOM), (x.at(tick), BOTTOM + 4.0));
                plot.text("", "middle", (x.at(tick), BOTTOM + 16.0), &short(round(tick)));
            }
            plot.text(
                "",
                "middle",
                (f64::midpoint(LEFT, right), BOTTOM + 32.0),
                unit_words(chart),
            );
        }
    }
    if is_missing_told {
        let words = format!("not on record: {}", points_words(chart.missing.probability));
        plot.dot("open", (279.0, y.at(chart.missing.probability)), 4.0, &words);
        plot.text("", "middle", (279.0, BOTTOM + 16.0), "not on");
        plot.text("", "middle", (279.0, BOTTOM + 28.0), "record");
    }
    plot.svg(&chart.title, &described(chart))
}

fn flag(plot: &mut Plot, chart: &ShapeChart, y: Scale, (left, right): (f64, f64)) {
    let (no, yes) = (left + (right - left) / 4.0, right - (right - left) / 4.0);
    for (point, (words, at)) in chart.points.iter().zip([("no", no), ("yes", yes)]) {
        let part = point.effect.probability;
        let class = if part > 0.0 { "up" } else { "down" };
        plot.bar(
            class,
            (at - 26.0, y.at(0.0)),
            (at + 26.0, y.at(part)),
            &points_words(part),
        );
        plot.text("", "middle", (at, 146.0), words);
        let beside = if part >= 0.0 { -5.0 } else { 13.0 };
        plot.text("strong", "middle", (at, y.at(part) + beside), &signed(part));
    }
}

/// What the shape says, in words.
pub fn described(chart: &ShapeChart) -> String {
    if chart.kind == ShapeKind::Flag {
        return match chart.points.as_slice() {
            [no, yes] => format!(
                "if so {}, if not {}",
                points_words(yes.effect.probability),
                points_words(no.effect.probability)
            ),
            _ => String::new(),
        };
    }
    let curve = chart.common_curve();
    let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    match (curve.iter().min_by(by), curve.iter().max_by(by)) {
        (Some(low), Some(high)) => format!(
            "from {} at {} to {} at {}",
            signed(low.1),
            value_words(chart, low.0),
            points_words(high.1),
            value_words(chart, high.0)
        ),
        _ => String::new(),
    }
}

fn value_words(chart: &ShapeChart, value: f64) -> String {
    let unit = match chart.unit.as_str() {
        "years" | "weeks" | "hours" | "points" => chart.unit.as_str(),
        "percent" | "relative" => "%",
        "minutes in 13 weeks" => "hours",
        _ => "",
    };
    let value = in_unit(chart, value);
    let value = if chart.unit == "0 to 1" {
        round(value)
    } else {
        (value * 10.0).round() / 10.0
    };
    format!("{} {unit}", short(value)).trim_end().to_owned()
}

/// A value as it is shown: minutes as hours, and parts as percent.
fn in_unit(chart: &ShapeChart, value: f64) -> f64 {
    match chart.unit.as_str() {
        "minutes in 13 weeks" => value / 60.0,
        "relative" => value * 100.0,
        _ => value,
    }
}

fn unit_words(chart: &ShapeChart) -> &str {
    match chart.unit.as_str() {
        "minutes in 13 weeks" => "hours in 13 weeks",
        "relative" => "% of pay",
        "0 to 1" => "0: never or long ago; 1: just now",
        unit => unit,
    }
}

/// Rounds what arithmetic left in the last digits.
fn round(value: f64) -> f64 {
    let rounded = (value * 100.0).round() / 100.0;
    if rounded == 0.0 { 0.0 } else { rounded }
}

/// A part of a probability in points, with its sign.
pub fn signed(part: f64) -> String {
    let points = (part * 1_000.0).round() / 10.0;
    if points == 0.0 {
        "0".to_owned()
    } else {
        format!("{points:+.1}")
    }
}

pub fn points_words(part: f64) -> String {
    format!("{} points", signed(part))
}

/// A probability in words, with as many digits as one reads.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() >= 9.95 || (percent - percent.round()).abs() < 1e-6 {
        format!("{percent:.0}\u{a0}%")
    } else {
        format!("{percent:.1}\u{a0}%")
    }
}

/// A group's rate over that of the highest, with its interval and the line of four fifths.
pub fn ratio(ratio: f64, interval: Option<Interval>) -> String {
    const MOST: f64 = 1.4;
    let x = Scale::new((0.0, MOST), (4.0, 176.0));
    let mut plot = Plot::new(180.0, 30.0);
    plot.line("gridline", (x.at(0.0), 15.0), (x.at(MOST), 15.0));
    plot.line("reference", (x.at(0.8), 2.0), (x.at(0.8), 28.0));
    plot.line("axis", (x.at(1.0), 5.0), (x.at(1.0), 25.0));
    if let Some(interval) = interval {
        plot.line(
            "range",
            (x.at(interval.low.min(MOST)), 15.0),
            (x.at(interval.high.min(MOST)), 15.0),
        );
    }
    plot.dot("dot", (x.at(ratio.min(MOST)), 15.0), 4.5, &format!("{ratio:.2}"));
    plot.svg(
        "Ratio to the highest rate",
        &format!("{ratio:.2}, with a dashed line at 0.80"),
    )
}

/// A figure on a short line, with its interval and what it is measured against.
pub fn gauge(range: (f64, f64), value: f64, interval: Option<Interval>, against: f64, words: &str) -> String {
    let x = Scale::new(range, (6.0, 214.0));
    let within = |value: f64| x.at(value.clamp(range.0, range.1));
    let mut plot = Plot::new(220.0, 40.0);
    plot.line("axis", (x.at(range.0), 12.0), (x.at(range.1), 12.0));
    plot.line("reference", (within(against), 2.0), (within(against), 22.0));
    let anchor = match (against - range.0) / (range.1 - range.0) {
        part if part < 0.15 => "start",
        part if part > 0.85 => "end",
        _ => "middle",
    };
    plot.text("large", anchor, (within(against), 38.0), words);
    if let Some(interval) = interval {
        plot.line("range", (within(interval.low), 12.0), (within(interval.high), 12.0));
    }
    plot.dot("dot", (within(value), 12.0), 5.0, &short(value));
    plot.svg(
        "On a line",
        &format!("{}, against {} ({words})", short(value), short(against)),
    )
}
