//! Tables of any kind as files that pandas, polars, DuckDB and spreadsheet programs open: written in pieces, so that a file may be
//! larger than memory.

use std::io::{self, Write};

use chrono::{Datelike, SecondsFormat};
use domain::{Date, Timestamp};
use polars::{
    io::{ipc, parquet},
    prelude::{
        Column as PolarsColumn, CompatLevel, DataFrame, DataType, IntoColumn, IpcWriter, NamedFrom, ParquetWriter,
        PolarsError, Schema, SerWriter, Series, TimeUnit,
    },
};
use serde_json::{Map, Value};

/// Days between the first day of the common era's first year and the first of 1970, from which Parquet counts dates.
pub(crate) const EPOCH_DAYS: i32 = 719_163;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Parquet,
    /// The file format of Arrow IPC, also called Feather.
    Arrow,
    /// With a line of names, RFC 4180. A text that a spreadsheet program would take for a formula gets an apostrophe before it.
    Csv,
    /// A JSON object on each line.
    JsonLines,
}

/// The values of one column; none: unknown, or withheld.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Text(Vec<Option<String>>),
    Integer(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Day(Vec<Option<Date>>),
    /// To the microsecond, in UTC.
    Moment(Vec<Option<Timestamp>>),
}

/// Some rows of a table: named columns of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Table(pub Vec<(String, Values)>);

/// Why a file did not come out.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the rows do not make a table")]
    Frame(#[source] PolarsError),
    #[error("the file cannot be written")]
    Columnar(#[source] PolarsError),
    #[error("the file cannot be written")]
    Text(#[source] io::Error),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Number(values) => values.len(),
            Self::Flag(values) => values.len(),
            Self::Day(values) => values.len(),
            Self::Moment(values) => values.len(),
        }
    }

    fn series(&self, name: &str) -> Result<Series, PolarsError> {
        let name = name.into();
        match self {
            Self::Text(values) => Ok(Series::new(name, values)),
            Self::Integer(values) => Ok(Series::new(name, values)),
            Self::Number(values) => Ok(Series::new(name, values)),
            Self::Flag(values) => Ok(Series::new(name, values)),
            Self::Day(values) => {
                let days: Vec<Option<i32>> = values
                    .iter()
                    .map(|day| day.map(|day| day.num_days_from_ce() - EPOCH_DAYS))
                    .collect();
                Series::new(name, days).cast(&DataType::Date)
            }
            Self::Moment(values) => {
                let micros: Vec<Option<i64>> = values.iter().map(|at| at.map(|at| at.timestamp_micros())).collect();
                Series::new(name, micros).cast(&DataType::Datetime(TimeUnit::Microseconds, None))
            }
        }
    }

    /// As text; numbers as short as they read back the same.
    fn text(&self, row: usize) -> Option<String> {
        match self {
            Self::Text(values) => values[row].as_deref().map(harmless),
            Self::Integer(values) => values[row].map(|value| value.to_string()),
            Self::Number(values) => values[row].map(|value| value.to_string()),
            Self::Flag(values) => values[row].map(|value| value.to_string()),
            Self::Day(values) => values[row].map(|day| day.to_string()),
            Self::Moment(values) => values[row].map(moment),
        }
    }

    fn json(&self, row: usize) -> Value {
        match self {
            Self::Text(values) => values[row].clone().into(),
            Self::Integer(values) => values[row].into(),
            Self::Number(values) => values[row].into(),
            Self::Flag(values) => values[row].into(),
            Self::Day(values) => values[row].map(|day| day.to_string()).into(),
            Self::Moment(values) => values[row].map(moment).into(),
        }
    }
}

fn moment(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A text that no spreadsheet program runs as a formula (OWASP, "CSV injection").
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

impl Table {
    /// Adds the rows of another table with the same columns.
    pub fn append(&mut self, rows: Self) {
        for ((_, values), (_, more)) in self.0.iter_mut().zip(rows.0) {
            match (values, more) {
                (Values::Text(values), Values::Text(more)) => values.extend(more),
                (Values::Integer(values), Values::Integer(more)) => values.extend(more),
                (Values::Number(values), Values::Number(more)) => values.extend(more),
                (Values::Flag(values), Values::Flag(more)) => values.extend(more),
                (Values::Day(values), Values::Day(more)) => values.extend(more),
                (Values::Moment(values), Values::Moment(more)) => values.extend(more),
                (values, more) => unreachable!("the same columns: {values:?} and {more:?}"),
            }
        }
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.first().map_or(0, |(_, values)| values.len())
    }

    /// # Errors
    /// When columns have the same name or not the same length.
    pub fn frame(&self) -> Result<DataFrame, TableError> {
        let column = |(name, values): &(String, Values)| values.series(name).map(IntoColumn::into_column);
        let columns: Result<Vec<PolarsColumn>, PolarsError> = self.0.iter().map(column).collect();
        DataFrame::new(self.rows(), columns.map_err(TableError::Frame)?).map_err(TableError::Frame)
    }
}

/// Writes a table piece by piece. A piece of columnar formats is a row group: tens of thousands of rows are a good size.
pub struct Writer<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Parquet(Box<parquet::write::BatchedWriter<W>>),
    Arrow(Box<ipc::BatchedWriter<W>>),
    Csv(Box<csv::Writer<W>>),
    JsonLines(W),
}

impl<W: Write> Writer<W> {
    /// Begins a file. `like` has the columns, with or without rows; they are not written.
    ///
    /// # Errors
    /// When the file takes nothing.
    pub fn begin(format: Format, out: W, like: &Table) -> Result<Self, TableError> {
        Ok(Self(match format {
            Format::Parquet => {
                let schema = like.frame()?.schema().as_ref().clone();
                let writer = ParquetWriter::new(out).batched(&schema);
                Kind::Parquet(Box::new(writer.map_err(TableError::Columnar)?))
            }
            Format::Arrow => {
                let schema: Schema = like.frame()?.schema().as_ref().clone();
                let fields = schema.iter().map(|_| Default::default()).collect();
                // Text as every reader of Arrow knows it, not as views.
                let writer = IpcWriter::new(out).with_compat_level(CompatLevel::oldest());
                let writer = writer.batched(&schema, fields);
                Kind::Arrow(Box::new(writer.map_err(TableError::Columnar)?))
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer
                    .write_record(like.0.iter().map(|(name, _)| name))
                    .map_err(|error| TableError::Text(error.into()))?;
                Kind::Csv(Box::new(writer))
            }
            Format::JsonLines => Kind::JsonLines(out),
        }))
    }

    /// # Errors
    /// When the file takes no more, or the rows have other columns than the first ones.
    pub fn write(&mut self, rows: &Table) -> Result<(), TableError> {
        match &mut self.0 {
            Kind::Parquet(writer) => writer.write_batch(&rows.frame()?).map_err(TableError::Columnar),
            Kind::Arrow(writer) => writer.write_batch(&rows.frame()?).map_err(TableError::Columnar),
            Kind::Csv(writer) => {
                for row in 0..rows.rows() {
                    let cells = rows.0.iter().map(|(_, values)| values.text(row).unwrap_or_default());
                    writer
                        .write_record(cells)
                        .map_err(|error| TableError::Text(error.into()))?;
                }
                Ok(())
            }
            Kind::JsonLines(out) => {
                for row in 0..rows.rows() {
                    let object: Map<String, Value> = rows
                        .0
                        .iter()
                        .map(|(name, values)| (name.clone(), values.json(row)))
                        .collect();
                    serde_json::to_writer(&mut *out, &object).map_err(|error| TableError::Text(error.into()))?;
                    out.write_all(b"\n").map_err(TableError::Text)?;
                }
                Ok(())
            }
        }
    }

    /// Ends the file; without it, columnar files do not read.
    ///
    /// # Errors
    /// When the file takes no more.
    pub fn finish(self) -> Result<(), TableError> {
        match self.0 {
            Kind::Parquet(writer) => writer.finish().map(drop).map_err(TableError::Columnar),
            Kind::Arrow(mut writer) => writer.finish().map_err(TableError::Columnar),
            Kind::Csv(mut writer) => writer.flush().map_err(TableError::Text),
            Kind::JsonLines(mut out) => out.flush().map_err(TableError::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars::prelude::{IpcReader, ParquetReader, SerReader};

    use super::*;

    fn table(from: i64) -> Table {
        let day = Date::from_ymd_opt(2026, 2, 28);
        let at = "2026-02-28T09:30:00.000001Z".parse().ok();
        Table(vec![
            (
                "text".to_owned(),
                Values::Text(vec![Some("=1+1".to_owned()), None, Some("a \"b\", c".to_owned())]),
            ),
            ("integer".to_owned(), Values::Integer(vec![Some(from), Some(-5), None])),
            (
                "number".to_owned(),
                Values::Number(vec![Some(0.1), None, Some(-2.5e-7)]),
            ),
            ("flag".to_owned(), Values::Flag(vec![Some(true), Some(false), None])),
            ("day".to_owned(), Values::Day(vec![day, None, day])),
            ("moment".to_owned(), Values::Moment(vec![at, at, None])),
        ])
    }

    fn file(format: Format) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(format, &mut bytes, &table(0)).expect("begun");
        writer.write(&table(1)).expect("written");
        writer.write(&table(2)).expect("written");
        writer.finish().expect("a file");
        bytes
    }

    #[test]
    fn columnar_files_read_back_as_the_rows_that_were_written() {
        let mut all = table(1).frame().expect("a frame");
        all.vstack_mut(&table(2).frame().expect("a frame"))
            .expect("the same columns");
        let parquet = ParquetReader::new(Cursor::new(file(Format::Parquet))).finish();
        assert!(parquet.expect("Parquet").equals_missing(&all));
        let arrow = IpcReader::new(Cursor::new(file(Format::Arrow))).finish();
        assert!(arrow.expect("Arrow").equals_missing(&all));
    }

    #[test]
    fn lines_of_csv_are_numbers_dates_and_harmless_text() {
        let text = String::from_utf8(file(Format::Csv)).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "text,integer,number,flag,day,moment",
                "'=1+1,1,0.1,true,2026-02-28,2026-02-28T09:30:00.000001Z",
                ",-5,,false,,2026-02-28T09:30:00.000001Z",
                "\"a \"\"b\"\", c\",,-0.00000025,,2026-02-28,",
            ]
        );
        assert_eq!(lines.len(), 7, "one line of names");
        for formula in ["=A1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        assert_eq!(harmless("a=b"), "a=b");
    }

    #[test]
    fn each_line_of_json_is_an_object() {
        let text = String::from_utf8(file(Format::JsonLines)).expect("text");
        let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        let expected = serde_json::json!({"text": "=1+1", "integer": 1, "number": 0.1, "flag": true, "day": "2026-02-28", "moment": "2026-02-28T09:30:00.000001Z"});
        assert_eq!(first, expected);
        assert_eq!(text.lines().count(), 6);
    }
}
