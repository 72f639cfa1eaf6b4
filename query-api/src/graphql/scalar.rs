//! Scalars and enumerations.

use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, Value};

/// A day, as `2026-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(pub domain::Date);

/// A day, as `2026-01-31`.
#[Scalar(name = "Date")]
impl ScalarType for Day {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text
                .parse()
                .map(Day)
                .map_err(|_| InputValueError::custom("a day is written as 2026-01-31")),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A place in the event log: a whole number that may need 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub i64);

/// A place in the event log: a whole number that may need 64 bits.
#[Scalar]
impl ScalarType for Position {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::Number(number) if number.as_i64().is_some_and(|position| position >= 0) => {
                Ok(Self(number.as_i64().unwrap_or_default()))
            }
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// How urgent a flight risk is; the thresholds are `tenant.bands`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::risk::Band", name = "RiskBand")]
pub enum Band {
    Low,
    Medium,
    High,
    Critical,
}

/// Where someone stands today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "infra::read_model::employee::Status", name = "EmployeeStatus")]
pub enum Status {
    /// Hired for a later day.
    Prehire,
    Active,
    OnLeave,
    OnNotice,
    Left,
    /// The source deleted the record.
    Deleted,
    Erased,
}

/// How a list of employees is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum EmployeeOrder {
    /// By name; by id for those who do not see names.
    Name,
    /// The highest probability of leaving first; people without a score last.
    Risk,
}

/// What `riskOverview` groups by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "infra::read_model::query::Grouping", name = "RiskGrouping")]
pub enum Grouping {
    Department,
    Location,
    Band,
    Manager,
}
