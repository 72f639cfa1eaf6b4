//! A table out of a CSV file that nobody has prepared: what each column is, what must be left out, and what looks wrong.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Input, InputKind, Table};
use crate::metrics;

/// The most rows that are read.
pub const ROWS_MAX: usize = 5_000_000;
/// The fewest rows that anything can be said of.
pub const ROWS_MIN: usize = 50;
/// The fewest rows of the rarer outcome.
pub const OUTCOMES_MIN: usize = 10;
/// The most categories of a column; the rarer ones share the last.
pub const CATEGORIES_MAX: usize = 60;
/// A column of text in which more than this share of the rows have a value of their own is a name or a number, not a category.
const IDENTIFIER_SHARE: f64 = 0.5;
/// If more than this share of the known values are numbers, the rest are mistakes.
const NUMBERS_SHARE: f64 = 0.9;
/// A single column that ranks the outcomes this well is the outcome in disguise, until shown otherwise.
pub const DISGUISE_AUC: f64 = 0.98;
/// The name of the category that rare ones share.
const OTHER: &str = "(other)";

/// What is what in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    pub label: String,
    /// The value of the label that counts as the outcome; without it, the one that says yes.
    pub positive: Option<String>,
    /// Columns that no model may see.
    pub exclude: Vec<String>,
    /// Whose rows must stay together.
    pub group: Option<String>,
    /// What tells earlier from later.
    pub time: Option<String>,
    /// A column of true probabilities, if the rows were invented.
    pub truth: Option<String>,
}

/// A file as a table.
#[derive(Debug, Clone, Default)]
pub struct Read {
    pub table: Table,
    pub outcomes: Vec<bool>,
    /// The place of each row in the file, the header not counted.
    pub rows: Vec<usize>,
    pub groups: Option<Vec<String>>,
    /// Larger is later.
    pub times: Option<Vec<f64>>,
    pub truth: Option<Vec<f64>>,
    /// The value of the label that counts as the outcome.
    pub positive: String,
    /// Columns that were left out, and why.
    pub excluded: Vec<(String, String)>,
    /// What looks wrong, for people.
    pub warnings: Vec<String>,
}

/// Why a file is no table. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the file cannot be read")]
    Io(#[source] std::io::Error),
    #[error("line {line} is not UTF-8: save the file as UTF-8 (in a spreadsheet program: \"CSV UTF-8\")")]
    NotUtf8 { line: usize },
    #[error(
        "line {line} has {found} fields, the header has {expected}: look for a stray or missing separator or quote there"
    )]
    Ragged { line: u64, found: u64, expected: u64 },
    #[error("the file is not CSV")]
    Csv(#[source] csv::Error),
    #[error("the file has more than {ROWS_MAX} rows: take a sample of them")]
    TooLarge,
    #[error("two columns are called {0:?}: rename one")]
    SameName(String),
    #[error("there is no column {name:?}; the columns are: {columns}")]
    NoColumn { name: String, columns: String },
    #[error("the label {label:?} never is {positive:?}; its values are: {values}")]
    NoPositive {
        label: String,
        positive: String,
        values: String,
    },
    #[error("which value of {label:?} is the outcome? Say so with --positive; its values are: {values}")]
    WhichPositive { label: String, values: String },
    #[error("the label {label:?} is {value:?} in every row: there is nothing to tell apart")]
    ConstantLabel { label: String, value: String },
    #[error("there are {rows} rows with a label: it takes at least {ROWS_MIN} to say anything")]
    TooFewRows { rows: usize },
    #[error("there are {have} rows of the rarer outcome: it takes at least {OUTCOMES_MIN} to say anything")]
    TooFewOutcomes { have: usize },
    #[error("no column is left to learn from: {reasons}")]
    NoInputs { reasons: String },
    #[error("{column:?} has {value:?} in row {row}, which is neither a number nor a date (YYYY-MM-DD)")]
    NotATime { column: String, value: String, row: usize },
    #[error(
        "{column:?} has numbers in some rows and dates in others (such as {value:?} in row {row}): write all of them the same way"
    )]
    MixedTimes { column: String, value: String, row: usize },
    #[error("{column:?} has {value:?} in row {row}, which is no probability")]
    NotAProbability { column: String, value: String, row: usize },
}

/// Reads a CSV file with a header. The separator is the comma, the semicolon or the tabulator, whichever the header has most of.
///
/// # Errors
/// When the file is none, or nothing can be learnt from it.
pub fn read_csv(source: &mut dyn std::io::Read, options: &ReadOptions) -> Result<Read, TableError> {
    let raw = Raw::read(source, ROWS_MAX)?;
    let inputs = infer(&raw, options)?;
    encode(&raw, options, inputs)
}

/// Reads another file the way that `like` was read: the same columns, categories and outcome.
///
/// # Errors
/// As [`read_csv`]; also when a column is missing.
pub fn read_csv_like(source: &mut dyn std::io::Read, options: &ReadOptions, like: &Read) -> Result<Read, TableError> {
    let raw = Raw::read(source, ROWS_MAX)?;
    let mut inputs = Inferred::default();
    for input in &like.table.inputs {
        inputs.kept.push((raw.column(&input.name)?, input.clone()));
    }
    let options = ReadOptions {
        positive: Some(like.positive.clone()),
        ..options.clone()
    };
    encode(&raw, &options, inputs)
}

/// The file as text.
struct Raw {
    header: Vec<String>,
    records: Vec<csv::StringRecord>,
}

impl Raw {
    fn read(source: &mut dyn std::io::Read, rows_max: usize) -> Result<Self, TableError> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(TableError::Io)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}'),
            Err(error) => {
                let line = bytes[..error.valid_up_to()]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count()
                    + 1;
                return Err(TableError::NotUtf8 { line });
            }
        };
        let separator = separator(text);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let wrong = |error: csv::Error| match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => TableError::Ragged {
                line: pos.as_ref().map_or(0, csv::Position::line),
                found: *len,
                expected: *expected_len,
            },
            csv::ErrorKind::Io(_)
            | csv::ErrorKind::Utf8 { .. }
            | csv::ErrorKind::Seek
            | csv::ErrorKind::Serialize(_)
            | csv::ErrorKind::Deserialize { .. }
            | _ => TableError::Csv(error),
        };
        let header: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(TableError::SameName(twice.clone()));
        }
        let mut records = Vec::new();
        for record in reader.into_records() {
            if records.len() == rows_max {
                return Err(TableError::TooLarge);
            }
            records.push(record.map_err(wrong)?);
        }
        Ok(Self { header, records })
    }

    fn column(&self, name: &str) -> Result<usize, TableError> {
        let found = self.header.iter().position(|column| column == name);
        found.ok_or_else(|| TableError::NoColumn {
            name: name.to_owned(),
            columns: self.header.join(", "),
        })
    }

    /// The cells of a column; nothing where there is nothing.
    fn cells(&self, column: usize) -> impl Iterator<Item = Option<&str>> {
        self.records
            .iter()
            .map(move |record| record.get(column).filter(|cell| !is_missing(cell)))
    }
}

/// Whichever of the separators the header has most of, outside of quotes.
fn separator(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let outside = || first.split('"').step_by(2).flat_map(str::bytes);
    let count = |separator: &u8| outside().filter(|byte| byte == separator).count();
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// How spreadsheets and statistics programs write that there is nothing.
fn is_missing(cell: &str) -> bool {
    matches!(
        cell,
        "" | "NA" | "N/A" | "n/a" | "NaN" | "nan" | "NULL" | "null" | "None" | "?" | "-" | "#N/A"
    )
}

fn number(cell: &str) -> Option<f64> {
    cell.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The columns that models may look at, and what was found on the way.
#[derive(Default)]
struct Inferred {
    kept: Vec<(usize, Input)>,
    excluded: Vec<(String, String)>,
    warnings: Vec<String>,
}

fn infer(raw: &Raw, options: &ReadOptions) -> Result<Inferred, TableError> {
    for name in &options.exclude {
        raw.column(name)?;
    }
    let roles = [
        Some(&options.label),
        options.group.as_ref(),
        options.time.as_ref(),
        options.truth.as_ref(),
    ];
    for name in roles.iter().flatten() {
        raw.column(name)?;
    }
    let mut inferred = Inferred::default();
    for (index, name) in raw.header.iter().enumerate() {
        if roles.contains(&Some(name)) {
            continue;
        }
        if options.exclude.contains(name) {
            inferred.excluded.push((name.clone(), "as asked".to_owned()));
            continue;
        }
        match kind(raw, index, name, &mut inferred.warnings) {
            Ok(kind) => inferred.kept.push((
                index,
                Input {
                    kind,
                    ..Input::numeric(name)
                },
            )),
            Err(reason) => inferred.excluded.push((name.clone(), reason.to_owned())),
        }
    }
    Ok(inferred)
}

/// What a column is, or why it is left out.
fn kind(raw: &Raw, column: usize, name: &str, warnings: &mut Vec<String>) -> Result<InputKind, &'static str> {
    let (mut known, mut numbers, mut rising) = (0_usize, 0_usize, true);
    let mut last = f64::NEG_INFINITY;
    let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stranger = None;
    for cell in raw.cells(column).flatten() {
        known += 1;
        *texts.entry(cell).or_default() += 1;
        if let Some(value) = number(cell) {
            numbers += 1;
            rising &= value > last && value.fract() == 0.0;
            last = value;
        } else {
            stranger = stranger.or(Some(cell));
        }
    }
    if known == 0 {
        return Err("it is empty");
    }
    if texts.len() == 1 && known == raw.records.len() {
        return Err("it is the same in every row");
    }
    if numbers as f64 > NUMBERS_SHARE * known as f64 {
        if rising && numbers == raw.records.len() && numbers > 2 {
            warnings.push(format!("{name:?} counts the rows, and was left out"));
            return Err("it counts the rows");
        }
        if let Some(stranger) = stranger {
            let strangers = known - numbers;
            warnings.push(format!(
                "{name:?} holds numbers, but also text in {strangers} rows (such as {stranger:?}), which was taken for missing"
            ));
        }
        return Ok(InputKind::Numeric);
    }
    if texts.len() as f64 > IDENTIFIER_SHARE * known as f64 && texts.len() > 20 {
        warnings.push(format!(
            "{name:?} has another text in most rows, as names and numbers do, and was left out"
        ));
        return Err("nearly every row has another text");
    }
    let mut names: Vec<(usize, &str)> = texts.into_iter().map(|(text, count)| (count, text)).collect();
    if names.len() > CATEGORIES_MAX {
        names.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        warnings.push(format!(
            "{name:?} has {} categories: all but the {} most frequent ones were put together",
            names.len(),
            CATEGORIES_MAX - 1
        ));
        names.truncate(CATEGORIES_MAX - 1);
        names.push((0, OTHER));
    }
    let mut names: Vec<String> = names.into_iter().map(|(_, name)| name.to_owned()).collect();
    names.sort();
    Ok(InputKind::Category { names })
}

fn encode(raw: &Raw, options: &ReadOptions, inferred: Inferred) -> Result<Read, TableError> {
    let label = raw.column(&options.label)?;
    let positive = positive(raw, label, options)?;
    let rows: Vec<usize> = raw
        .cells(label)
        .enumerate()
        .filter(|(_, cell)| cell.is_some())
        .map(|(row, _)| row)
        .collect();
    let mut warnings = inferred.warnings;
    if rows.len() < raw.records.len() {
        let without = raw.records.len() - rows.len();
        warnings.push(format!("{without} rows have no label and were left out"));
    }
    if rows.len() < ROWS_MIN {
        return Err(TableError::TooFewRows { rows: rows.len() });
    }
    let cell = |row: usize, column: usize| raw.records[row].get(column).filter(|cell| !is_missing(cell));
    let outcomes: Vec<bool> = rows
        .iter()
        .map(|row| cell(*row, label) == Some(positive.as_str()))
        .collect();
    let positives = outcomes.iter().filter(|y| **y).count();
    if positives == 0 || positives == rows.len() {
        return Err(TableError::ConstantLabel {
            label: options.label.clone(),
            value: cell(rows[0], label).unwrap_or_default().to_owned(),
        });
    }
    let have = positives.min(rows.len() - positives);
    if have < OUTCOMES_MIN {
        return Err(TableError::TooFewOutcomes { have });
    }
    // The label comes first: what is wrong with it is what people have to mend.
    if inferred.kept.is_empty() {
        let reason = |(name, reason): &(String, String)| format!("{name} ({reason})");
        let reasons: Vec<String> = inferred.excluded.iter().map(reason).collect();
        return Err(TableError::NoInputs {
            reasons: match reasons.is_empty() {
                true => "there is none but those that were named".to_owned(),
                false => reasons.join(", "),
            },
        });
    }
    let mut table = Table::default();
    for (column, input) in inferred.kept {
        let value = |row: &usize| cell(*row, column).map_or(f64::NAN, |cell| value(&input.kind, cell));
        table.columns.push(rows.iter().map(value).collect());
        table.inputs.push(input);
    }
    let mut read = Read {
        groups: match &options.group {
            Some(name) => {
                let column = raw.column(name)?;
                // A row without a group is a group of its own.
                let group = |row: &usize| cell(*row, column).map_or_else(|| format!("\u{0}row {row}"), str::to_owned);
                Some(rows.iter().map(group).collect())
            }
            None => None,
        },
        times: match &options.time {
            Some(name) => Some(times(raw, name, &rows)?),
            None => None,
        },
        truth: match &options.truth {
            Some(name) => Some(truth(raw, name, &rows)?),
            None => None,
        },
        table,
        outcomes,
        rows,
        positive,
        excluded: inferred.excluded,
        warnings,
    };
    look_closer(&mut read);
    Ok(read)
}

fn value(kind: &InputKind, cell: &str) -> f64 {
    match kind {
        InputKind::Numeric => number(cell).unwrap_or(f64::NAN),
        InputKind::Category { names } => {
            let place = |name: &str| names.binary_search_by(|known| known.as_str().cmp(name)).ok();
            place(cell)
                .or_else(|| place(OTHER))
                .map_or(f64::NAN, |index| index as f64)
        }
    }
}

/// The value of the label that counts as the outcome.
fn positive(raw: &Raw, label: usize, options: &ReadOptions) -> Result<String, TableError> {
    let values: BTreeSet<&str> = raw.cells(label).flatten().collect();
    let shown = || values.iter().take(20).copied().collect::<Vec<_>>().join(", ");
    let name = || options.label.clone();
    if let Some(positive) = &options.positive {
        return match values.contains(positive.as_str()) {
            true => Ok(positive.clone()),
            false => Err(TableError::NoPositive {
                label: name(),
                positive: positive.clone(),
                values: shown(),
            }),
        };
    }
    let says_yes = |value: &&&str| {
        let value = value.to_ascii_lowercase();
        matches!(value.as_str(), "1" | "1.0" | "yes" | "y" | "true" | "t")
    };
    let yes: Vec<&&str> = values.iter().filter(says_yes).collect();
    match (&yes[..], values.len()) {
        ([yes], 2) => Ok((**yes).to_owned()),
        (_, 0) => Err(TableError::TooFewRows { rows: 0 }),
        (_, 1) => Err(TableError::ConstantLabel {
            label: name(),
            value: shown(),
        }),
        _ => Err(TableError::WhichPositive {
            label: name(),
            values: shown(),
        }),
    }
}

fn times(raw: &Raw, name: &str, rows: &[usize]) -> Result<Vec<f64>, TableError> {
    let column = raw.column(name)?;
    let mut days = None;
    let time = |row: &usize| {
        let cell = raw.records[*row].get(column).unwrap_or_default();
        let day = || {
            use chrono::Datelike as _;
            let day = cell.get(..10)?.parse::<domain::Date>().ok()?;
            Some(f64::from(day.num_days_from_ce()))
        };
        let day = number(cell).map_or_else(|| day().map(|day| (true, day)), |number| Some((false, number)));
        let (is_day, time) = day.ok_or_else(|| TableError::NotATime {
            column: name.to_owned(),
            value: cell.to_owned(),
            row: *row + 1,
        })?;
        // The year 2024 is not before a day of the year 2019.
        if is_day != *days.get_or_insert(is_day) {
            return Err(TableError::MixedTimes {
                column: name.to_owned(),
                value: cell.to_owned(),
                row: *row + 1,
            });
        }
        Ok(time)
    };
    rows.iter().map(time).collect()
}

fn truth(raw: &Raw, name: &str, rows: &[usize]) -> Result<Vec<f64>, TableError> {
    let column = raw.column(name)?;
    let probability = |row: &usize| {
        let cell = raw.records[*row].get(column).unwrap_or_default();
        let known = number(cell).filter(|p| (0.0..=1.0).contains(p));
        known.ok_or_else(|| TableError::NotAProbability {
            column: name.to_owned(),
            value: cell.to_owned(),
            row: *row + 1,
        })
    };
    rows.iter().map(probability).collect()
}

/// Warns of columns that are the outcome in disguise, and of rows that are there twice.
fn look_closer(read: &mut Read) {
    for (input, values) in read.table.inputs.iter().zip(&read.table.columns) {
        if let Some(auc) = alone(input, values, &read.outcomes).filter(|auc| *auc >= DISGUISE_AUC) {
            read.warnings.push(format!(
                "{:?} alone tells the outcomes apart with a ROC-AUC of {auc:.3}: it may be the label in disguise, or something \
                 that is known only afterwards. If so, leave it out: --exclude {}",
                input.name, input.name
            ));
        }
    }
    // Sixty-four bits for a row: of five million different rows, two look alike less than once in a million files.
    let mut seen: HashSet<u64> = HashSet::with_capacity(read.rows.len());
    let mut x = Vec::new();
    let mut doubled = 0_usize;
    for row in 0..read.table.len() {
        read.table.row_into(row, &mut x);
        let mut hasher = DefaultHasher::new();
        x.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        read.outcomes[row].hash(&mut hasher);
        let key = hasher.finish();
        doubled += usize::from(!seen.insert(key));
    }
    if doubled * 100 > read.table.len() && read.groups.is_none() && read.times.is_none() {
        read.warnings.push(format!(
            "{doubled} rows repeat another one: the same cases on both sides of a split make every model look better than it \
             is. Leave the copies out, or keep them together with --group"
        ));
    }
}

/// How well one column tells the outcomes apart by itself: by the rate of its bins in the other half of the rows.
#[must_use]
pub fn alone(input: &Input, values: &[f64], outcomes: &[bool]) -> Option<f64> {
    const BINS: usize = 32;
    let binning = crate::model::bins::Binning::of(input, values, BINS);
    let bins: Vec<usize> = values.iter().map(|value| usize::from(binning.bin(*value))).collect();
    let base = outcomes.iter().filter(|y| **y).count() as f64 / outcomes.len().max(1) as f64;
    let mut counts = [vec![(0.0, 0.0); binning.count()], vec![(0.0, 0.0); binning.count()]];
    // Half of each outcome's rows on either side, in whatever order they come: in matched pairs every other row is a case.
    let mut seen = [0_usize; 2];
    let half = |y: &bool| {
        seen[usize::from(*y)] += 1;
        seen[usize::from(*y)] % 2
    };
    let halves: Vec<usize> = outcomes.iter().map(half).collect();
    for ((bin, y), half) in bins.iter().zip(outcomes).zip(&halves) {
        let (positives, n) = &mut counts[*half][*bin];
        *positives += f64::from(u8::from(*y));
        *n += 1.0;
    }
    let rate = |(bin, half): (&usize, &usize)| {
        let (positives, n) = counts[1 - half][*bin];
        (positives + base) / (n + 1.0)
    };
    let judged: Vec<(f64, bool)> = bins
        .iter()
        .zip(&halves)
        .map(rate)
        .zip(outcomes.iter().copied())
        .collect();
    metrics::roc_auc(&judged)
}

#[cfg(test)]
mod tests;
