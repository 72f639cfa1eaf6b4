//! The neutral input of every model: named columns of numbers, and what happened in each row.

mod read;

use serde::{Deserialize, Serialize};

pub use read::{Read, ReadOptions, TableError, alone, read_csv, read_csv_like};

use crate::features::Direction;

/// One column that a model looks at. Its place in a table is its index in every row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    pub kind: InputKind,
    /// Where the risk may go when the value rises, if the model is held to that (a monotone constraint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Direction>,
}

/// What the numbers of a column mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// A quantity; what is missing is not a number.
    Numeric,
    /// One of these, by its place in the list; what is missing or unknown is not a number.
    Category { names: Vec<String> },
}

impl Input {
    #[must_use]
    pub fn numeric(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: InputKind::Numeric,
            expected: None,
        }
    }

    /// How many categories there are; nothing for a quantity.
    #[must_use]
    pub fn categories(&self) -> Option<usize> {
        match &self.kind {
            InputKind::Numeric => None,
            InputKind::Category { names } => Some(names.len()),
        }
    }
}

/// Rows by column: `columns[input][row]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub inputs: Vec<Input>,
    pub columns: Vec<Vec<f64>>,
}

impl Table {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let column = |values: &Vec<f64>| rows.iter().map(|row| values[*row]).collect();
        Self {
            inputs: self.inputs.clone(),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    /// Writes one row's values, in the order of the inputs, into `x`.
    pub fn row_into(&self, row: usize, x: &mut Vec<f64>) {
        x.clear();
        x.extend(self.columns.iter().map(|column| column[row]));
    }
}
