//! Training rows as a polars frame and a Parquet file: a row per person and month, as it was known then.

use std::io::Write;

use chrono::Datelike;
use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, ParquetWriter, PolarsError, Series};

use crate::{
    dataset::{Dataset, Target, Window},
    features::FEATURES,
    train::HORIZONS_DAYS,
};

/// Days between the first day of the common era's first year and the first of 1970, from which Parquet counts dates.
const EPOCH_DAYS: i32 = 719_163;

/// Why no frame or file came out.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the rows do not make a frame")]
    Frame(#[source] PolarsError),
    #[error("the Parquet file cannot be written")]
    Write(#[source] PolarsError),
}

/// The rows as a frame. Columns, in this order:
///
/// - `employee`: the id, which is a pseudonym; `cutoff`: the date as of which everything was known;
/// - every feature of [`FEATURES`] by its name, as a floating-point number; null where it is missing;
/// - `left_within_month`, and `left_within_90_days`, `_180_days`, `_365_days`: whether notice of voluntary leaving came in
///   that time; null where that is not known (yet), because the window is open or the person went for another reason. Of rows
///   about a career program `promoted_within_…`: whether the person moved up.
///
/// # Errors
/// When polars fails.
pub fn frame(dataset: &Dataset) -> Result<DataFrame, FrameError> {
    let rows = &dataset.rows;
    let employees: Vec<String> = rows.iter().map(|row| row.employee.to_string()).collect();
    let days: Vec<i32> = rows
        .iter()
        .map(|row| row.cutoff.num_days_from_ce() - EPOCH_DAYS)
        .collect();
    let cutoffs = Series::new("cutoff".into(), days)
        .cast(&DataType::Date)
        .map_err(FrameError::Frame)?;
    let mut columns: Vec<Column> = vec![
        Series::new("employee".into(), employees).into_column(),
        cutoffs.into_column(),
    ];
    for (index, feature) in FEATURES.iter().enumerate() {
        let values: Vec<Option<f64>> = rows
            .iter()
            .map(|row| Some(row.x[index]).filter(|value| value.is_finite()))
            .collect();
        columns.push(Series::new(feature.name.into(), values).into_column());
    }
    let what = match dataset.target {
        Target::Notice => "left",
        Target::Promotion { .. } => "promoted",
    };
    let mut windows = vec![(format!("{what}_within_month"), Window::Month)];
    windows.extend(HORIZONS_DAYS.map(|days| (format!("{what}_within_{days}_days"), Window::Days(days))));
    for (name, window) in windows {
        let outcomes: Vec<Option<bool>> = rows.iter().map(|row| dataset.outcome(row, window)).collect();
        columns.push(Series::new(name.into(), outcomes).into_column());
    }
    DataFrame::new(rows.len(), columns).map_err(FrameError::Frame)
}

/// Writes a frame as a Parquet file.
///
/// # Errors
/// When polars or the writer fails.
pub fn write_parquet(frame: &mut DataFrame, out: impl Write) -> Result<(), FrameError> {
    ParquetWriter::new(out)
        .finish(frame)
        .map(drop)
        .map_err(FrameError::Write)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ParquetReader, SerReader};

    use super::*;
    use crate::prior;

    #[test]
    fn a_file_reads_back_as_the_rows_that_were_written() {
        let company = prior::company(5, 40);
        let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
        let mut bytes = Vec::new();
        write_parquet(&mut frame(&dataset).expect("a frame"), &mut bytes).expect("a file");
        let read = ParquetReader::new(std::io::Cursor::new(bytes))
            .finish()
            .expect("a Parquet file");
        assert_eq!(read.height(), dataset.rows.len());
        assert_eq!(read.width(), 2 + FEATURES.len() + 1 + HORIZONS_DAYS.len());
        let column = |name: &str| read.column(name).expect("a column").clone();
        for (index, row) in dataset.rows.iter().enumerate().step_by(17) {
            let employee = row.employee.to_string();
            assert_eq!(
                column("employee").str().expect("text").get(index),
                Some(employee.as_str())
            );
            let since = column("cutoff").date().expect("dates").phys.get(index);
            assert_eq!(since, Some(row.cutoff.num_days_from_ce() - EPOCH_DAYS));
            for (feature, value) in FEATURES.iter().zip(&row.x) {
                let read = column(feature.name).f64().expect("numbers").get(index);
                assert_eq!(read, Some(*value).filter(|value| value.is_finite()));
            }
            let left = column("left_within_180_days").bool().expect("flags").get(index);
            assert_eq!(left, dataset.outcome(row, Window::Days(180)));
        }
    }
}
