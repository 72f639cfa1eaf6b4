//! Rows of the table, and how they are shown.

use std::io::{self, Write};

use serde_json::{Value, json};

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// So many times the peer's figure.
    RatioAtLeast(f64),
    RatioAtMost(f64),
}

/// One thing that was measured.
#[derive(Debug, Clone)]
pub struct Row {
    name: String,
    figure: f64,
    unit: &'static str,
    target: Option<Target>,
    /// What stood beside it in the same run, and its figure in the same unit.
    peer: Option<(&'static str, f64)>,
}

impl Row {
    pub fn new(name: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            figure,
            unit,
            target: None,
            peer: None,
        }
    }

    pub fn at_least(self, target: f64) -> Self {
        Self {
            target: Some(Target::AtLeast(target)),
            ..self
        }
    }

    pub fn at_most(self, target: f64) -> Self {
        Self {
            target: Some(Target::AtMost(target)),
            ..self
        }
    }

    pub fn beside(self, peer: &'static str, figure: f64) -> Self {
        Self {
            peer: Some((peer, figure)),
            ..self
        }
    }

    pub fn at_least_times_the_peer(self, ratio: f64) -> Self {
        Self {
            target: Some(Target::RatioAtLeast(ratio)),
            ..self
        }
    }

    pub fn at_most_times_the_peer(self, ratio: f64) -> Self {
        Self {
            target: Some(Target::RatioAtMost(ratio)),
            ..self
        }
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| self.figure / peer)
    }

    fn passes(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtLeast(least) => self.figure >= least,
            Target::AtMost(most) => self.figure <= most,
            Target::RatioAtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Target::RatioAtMost(most) => self.ratio().is_some_and(|ratio| ratio <= most),
        })
    }

    fn verdict(&self) -> &'static str {
        match self.passes() {
            None => "-",
            Some(true) => "pass",
            Some(false) => "FAIL",
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::AtLeast(least)) => format!(">= {}", number(least)),
            Some(Target::AtMost(most)) => format!("<= {}", number(most)),
            Some(Target::RatioAtLeast(ratio)) => format!(">= {ratio} x peer"),
            Some(Target::RatioAtMost(ratio)) => format!("<= {ratio} x peer"),
        }
    }

    fn cells(&self) -> [String; 7] {
        let (peer, peer_figure) = self.peer.map_or((String::new(), String::new()), |(peer, figure)| {
            (peer.to_owned(), number(figure))
        });
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        [
            self.name.clone(),
            format!("{} {}", number(self.figure), self.unit),
            self.target_text(),
            peer,
            peer_figure,
            ratio,
            self.verdict().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "figure": self.figure, "unit": self.unit, "target": self.target_text(),
            "peer": self.peer.map(|(name, _)| name), "peer_figure": self.peer.map(|(_, figure)| figure),
            "ratio": self.ratio(), "verdict": self.verdict(),
        })
    }
}

/// `12,345` or `12.3`: as many digits as mean something.
fn number(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.1}");
    }
    let digits = format!("{figure:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

const HEADINGS: [&str; 7] = [
    "what",
    "figure",
    "target",
    "peer in the same run",
    "its figure",
    "ratio",
    "verdict",
];

/// Writes the table (Markdown, so that it can be pasted), or one JSON array.
pub fn write(rows: &[Row], as_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        return writeln!(out, "{}", Value::Array(rows));
    }
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        lines
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    lines.insert(1, widths.map(|width| "-".repeat(width)));
    for cells in lines {
        write!(out, "|")?;
        for (cell, width) in cells.iter().zip(widths) {
            write!(out, " {cell:<width$} |")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Says on standard error what is going on: the table is all that goes to standard output.
pub fn tell(what: &str) {
    // Nobody listening is no reason to stop measuring.
    writeln!(io::stderr(), "{what}").ok();
}

/// The median of a few rounds: others use this machine too.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The value below which `share` of `sorted` lie.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted[((sorted.len() as f64 * share).ceil() as usize)
        .saturating_sub(1)
        .min(last)]
}
