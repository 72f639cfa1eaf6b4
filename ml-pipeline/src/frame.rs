//! Training rows as a table: a row per person and month, as it was known then.

use std::ops::Range;

use crate::{
    dataset::{Dataset, Target, Window},
    features::FEATURES,
    files::{Table, Values},
    train::HORIZONS_DAYS,
};

/// Some of the rows. Columns, in this order:
///
/// - `employee`: the id, which is a pseudonym; `cutoff`: the date as of which everything was known;
/// - every feature of [`FEATURES`] by its name, as a floating-point number; null where it is missing;
/// - `left_within_month`, and `left_within_90_days`, `_180_days`, `_365_days`: whether notice of voluntary leaving came in
///   that time; null where that is not known (yet), because the window is open or the person went for another reason. Of rows
///   about a career program `promoted_within_…`: whether the person moved up.
///
/// # Panics
/// When there are no such rows.
#[must_use]
pub fn table(dataset: &Dataset, rows: Range<usize>) -> Table {
    let rows = &dataset.rows[rows];
    let employees = rows.iter().map(|row| Some(row.employee.to_string())).collect();
    let cutoffs = rows.iter().map(|row| Some(row.cutoff)).collect();
    let mut columns = vec![
        ("employee".to_owned(), Values::Text(employees)),
        ("cutoff".to_owned(), Values::Day(cutoffs)),
    ];
    for (index, feature) in FEATURES.iter().enumerate() {
        let values = rows
            .iter()
            .map(|row| Some(row.x[index]).filter(|value| value.is_finite()));
        columns.push((feature.name.to_owned(), Values::Number(values.collect())));
    }
    let what = match dataset.target {
        Target::Notice => "left",
        Target::Promotion { .. } => "promoted",
    };
    let mut windows = vec![(format!("{what}_within_month"), Window::Month)];
    windows.extend(HORIZONS_DAYS.map(|days| (format!("{what}_within_{days}_days"), Window::Days(days))));
    for (name, window) in windows {
        let outcomes = rows.iter().map(|row| dataset.outcome(row, window)).collect();
        columns.push((name, Values::Flag(outcomes)));
    }
    Table(columns)
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;
    use polars::prelude::{ParquetReader, SerReader};

    use super::*;
    use crate::{
        files::{EPOCH_DAYS, Format, Writer},
        prior,
    };

    #[test]
    fn a_file_reads_back_as_the_rows_that_were_written() {
        let company = prior::company(5, 40);
        let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(Format::Parquet, &mut bytes, &table(&dataset, 0..0)).expect("begun");
        let half = dataset.rows.len() / 2;
        for rows in [0..half, half..dataset.rows.len()] {
            writer.write(&table(&dataset, rows)).expect("written");
        }
        writer.finish().expect("a file");
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
