//! How the columns of a customer's files are read: a part of the connection, so that the next file is read like the last one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::money::{Currency, PayPeriod};

/// The longest header or word of a mapping, in characters.
pub const HEADER_CHARS_MAX: usize = 200;
/// The most custom columns, and the most words, of a mapping.
pub const ENTRIES_MAX: usize = 100;

/// What a column says, in the vocabulary of `docs/webhooks.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    Id,
    FirstName,
    LastName,
    /// Both in one: `Rossi, Ada` or `Ada Rossi`.
    FullName,
    PreferredName,
    WorkEmail,
    WorkPhone,
    MobilePhone,
    Gender,
    DateOfBirth,
    Ethnicity,
    StartDate,
    WeeklyHours,
    /// The day from which on the row holds. Without such a column a row holds from the day of the file on.
    EffectiveDate,
    JobTitle,
    Department,
    Division,
    Location,
    ManagerId,
    PayRate,
    PayCurrency,
    PayPeriod,
    ChangeReason,
    Status,
    /// The last day on which somebody is employed.
    LastDay,
    LeavingReason,
    Voluntary,
}

impl Column {
    pub const ALL: [Self; 27] = [
        Self::Id,
        Self::FirstName,
        Self::LastName,
        Self::FullName,
        Self::PreferredName,
        Self::WorkEmail,
        Self::WorkPhone,
        Self::MobilePhone,
        Self::Gender,
        Self::DateOfBirth,
        Self::Ethnicity,
        Self::StartDate,
        Self::WeeklyHours,
        Self::EffectiveDate,
        Self::JobTitle,
        Self::Department,
        Self::Division,
        Self::Location,
        Self::ManagerId,
        Self::PayRate,
        Self::PayCurrency,
        Self::PayPeriod,
        Self::ChangeReason,
        Self::Status,
        Self::LastDay,
        Self::LeavingReason,
        Self::Voluntary,
    ];

    /// Its name in a mapping.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::FullName => "full_name",
            Self::PreferredName => "preferred_name",
            Self::WorkEmail => "work_email",
            Self::WorkPhone => "work_phone",
            Self::MobilePhone => "mobile_phone",
            Self::Gender => "gender",
            Self::DateOfBirth => "date_of_birth",
            Self::Ethnicity => "ethnicity",
            Self::StartDate => "start_date",
            Self::WeeklyHours => "weekly_hours",
            Self::EffectiveDate => "effective_date",
            Self::JobTitle => "job_title",
            Self::Department => "department",
            Self::Division => "division",
            Self::Location => "location",
            Self::ManagerId => "manager_id",
            Self::PayRate => "pay_rate",
            Self::PayCurrency => "pay_currency",
            Self::PayPeriod => "pay_period",
            Self::ChangeReason => "change_reason",
            Self::Status => "status",
            Self::LastDay => "last_day",
            Self::LeavingReason => "leaving_reason",
            Self::Voluntary => "voluntary",
        }
    }

    /// Whether its cells are days.
    #[must_use]
    pub const fn is_day(self) -> bool {
        matches!(
            self,
            Self::DateOfBirth | Self::StartDate | Self::EffectiveDate | Self::LastDay
        )
    }
}

/// How `03/04/2026` is read. `2026-04-03` and `3 Apr 2026` read the same under both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayOrder {
    DayFirst,
    MonthFirst,
}

/// What stands before the decimals of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecimalMark {
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
}

/// What a word of the columns `status` and `voluntary` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    Active,
    Leave,
    Terminated,
    Voluntary,
    Involuntary,
}

/// How a customer's files are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The header of the column that says it.
    pub columns: BTreeMap<Column, String>,
    /// Headers of columns that are kept as they are, as custom fields.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub custom: BTreeSet<String>,
    /// Needed for days that are written in numbers and do not begin with the year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<DayOrder>,
    /// Needed for numbers that could be read in two ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal_mark: Option<DecimalMark>,
    /// Of pay without a column for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_currency: Option<Currency>,
    /// Of pay without a column for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_period: Option<PayPeriod>,
    /// The customer's own words, beside those that are known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, Meaning>,
    /// Whether the rows of a person are their whole history, so that what is known beside them is taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
}

/// Why a mapping cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingProblem {
    #[error("no column is mapped to id: somebody could not be told from another from one file to the next")]
    NoId,
    #[error("the header of {} is empty or longer than {HEADER_CHARS_MAX} characters", .0.name())]
    Header(Column),
    #[error("{} and {} are both read from one column", .0.name(), .1.name())]
    Twice(Column, Column),
    #[error("full_name is both names: leave it, or first_name and last_name")]
    Names,
    #[error("pay_rate needs a pay_currency and a pay_period, each as a column or for all rows")]
    Pay,
    #[error("complete needs a column for effective_date: without one a row holds from the day of the file on")]
    Complete,
    #[error(
        "a mapping may have {ENTRIES_MAX} custom columns and as many words, none of them empty or longer than {HEADER_CHARS_MAX} characters"
    )]
    Entries,
}

impl Mapping {
    /// The header that is mapped.
    #[must_use]
    pub fn header(&self, column: Column) -> Option<&str> {
        self.columns.get(&column).map(String::as_str)
    }

    /// # Errors
    /// When rows could not be read by it.
    pub fn check(&self) -> Result<(), MappingProblem> {
        let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= HEADER_CHARS_MAX;
        let has = |column: Column| self.columns.contains_key(&column);
        if !has(Column::Id) {
            return Err(MappingProblem::NoId);
        }
        let mut seen: BTreeMap<&str, Column> = BTreeMap::new();
        for (column, header) in &self.columns {
            if !fits(header) {
                return Err(MappingProblem::Header(*column));
            }
            if let Some(other) = seen.insert(header, *column) {
                return Err(MappingProblem::Twice(other, *column));
            }
        }
        if has(Column::FullName) && (has(Column::FirstName) || has(Column::LastName)) {
            return Err(MappingProblem::Names);
        }
        let has_currency = has(Column::PayCurrency) || self.pay_currency.is_some();
        let has_period = has(Column::PayPeriod) || self.pay_period.is_some();
        if has(Column::PayRate) && !(has_currency && has_period) {
            return Err(MappingProblem::Pay);
        }
        if self.complete && !has(Column::EffectiveDate) {
            return Err(MappingProblem::Complete);
        }
        let entries = self.custom.iter().chain(self.words.keys());
        if self.custom.len() > ENTRIES_MAX
            || self.words.len() > ENTRIES_MAX
            || !entries.into_iter().all(|text| fits(text))
        {
            return Err(MappingProblem::Entries);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(columns: &[(Column, &str)]) -> Mapping {
        Mapping {
            columns: columns
                .iter()
                .map(|(column, header)| (*column, (*header).to_owned()))
                .collect(),
            custom: BTreeSet::new(),
            days: None,
            decimal_mark: None,
            pay_currency: None,
            pay_period: None,
            words: BTreeMap::new(),
            complete: false,
        }
    }

    #[test]
    fn a_mapping_that_could_not_be_read_by_is_refused() {
        let id = (Column::Id, "Nr.");
        let pay = mapping(&[id, (Column::PayRate, "Lohn")]);
        for (mapping, problem) in [
            (mapping(&[]), MappingProblem::NoId),
            (
                mapping(&[id, (Column::Gender, " ")]),
                MappingProblem::Header(Column::Gender),
            ),
            (
                mapping(&[id, (Column::Gender, "Nr.")]),
                MappingProblem::Twice(Column::Id, Column::Gender),
            ),
            (
                mapping(&[id, (Column::FullName, "Name"), (Column::LastName, "Nachname")]),
                MappingProblem::Names,
            ),
            (pay.clone(), MappingProblem::Pay),
            (
                Mapping {
                    pay_period: Some(PayPeriod::Year),
                    ..pay.clone()
                },
                MappingProblem::Pay,
            ),
            (
                Mapping {
                    complete: true,
                    ..mapping(&[id])
                },
                MappingProblem::Complete,
            ),
            (
                Mapping {
                    custom: ["".to_owned()].into(),
                    ..mapping(&[id])
                },
                MappingProblem::Entries,
            ),
        ] {
            assert_eq!(mapping.check(), Err(problem));
        }
        let whole = Mapping {
            pay_period: Some(PayPeriod::Year),
            pay_currency: Some(Currency::EUR),
            ..pay
        };
        assert_eq!(whole.check(), Ok(()));
    }

    /// The log keeps mappings: what was written once is read for ever.
    #[test]
    fn a_mapping_reads_as_it_was_written() {
        let written = serde_json::json!({"columns": {"id": "Nr", "full_name": "Name", "pay_rate": "Lohn", "effective_date": "ab"},
            "custom": ["Badge"], "days": "day_first", "decimal_mark": ",", "pay_currency": "EUR", "pay_period": "EVERY_TWO_WEEKS",
            "words": {"Eigenkündigung": "voluntary", "ruhend": "leave"}, "complete": true});
        let read: Mapping = serde_json::from_value(written.clone()).expect("a mapping");
        assert_eq!(read.check(), Ok(()));
        assert_eq!(serde_json::to_value(&read).expect("serialises"), written);
    }

    #[test]
    fn columns_have_the_names_that_they_serialise_to() {
        for column in Column::ALL {
            assert_eq!(serde_json::to_value(column).expect("serialises"), column.name());
        }
        let all: BTreeSet<Column> = Column::ALL.into();
        assert_eq!(all.len(), Column::ALL.len());
    }
}
