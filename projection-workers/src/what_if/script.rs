//! Scripts: what is changed in a history, as a small YAML file. `docs/what-if.md` says how to write one.

use std::collections::BTreeMap;

use domain::{Date, id::EmployeeId};
use serde::Deserialize;
use serde_json::Value;
pub use serde_saphyr::Spanned;

/// The longest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// The most changes of one script.
pub const CHANGES_MAX: usize = 100;

/// A script that does not say what it means: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(String);

impl ScriptError {
    pub(super) fn at<T>(place: &Spanned<T>, why: impl std::fmt::Display) -> Self {
        let (line, column) = (place.referenced.line(), place.referenced.column());
        Self(format!("line {line}, column {column} of the script: {why}"))
    }
}

/// What a history is changed by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Script {
    /// What is asked, in a sentence.
    pub title: Spanned<String>,
    /// The fork: nothing that was true before this day changes.
    pub from: Spanned<Date>,
    #[serde(default)]
    pub changes: Vec<Spanned<Change>>,
}

/// One change. They are made in the order of the script, each to what the ones before have made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Raise(Raise),
    Stay(Stay),
    Leave(Leave),
    Insert(Insert),
    Edit(Edit),
    Drop(Drop),
    Bands(Bands),
    Model(Model),
}

/// Pay rises by so many percent on a day; later pay rises with it, so that what was raised then is raised on top.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raise {
    pub who: Spanned<Who>,
    pub on: Spanned<Date>,
    pub percent: Spanned<f64>,
}

/// Nobody of them gives notice or leaves, from the fork on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stay {
    pub who: Spanned<Who>,
}

/// They leave, and nothing of what they did from that day on happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Leave {
    pub who: Spanned<Who>,
    /// The first day away.
    pub on: Spanned<Date>,
    /// By their own will.
    #[serde(default = "yes")]
    pub voluntary: bool,
}

const fn yes() -> bool {
    true
}

/// An event more.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Insert {
    pub who: Spanned<Who>,
    /// Such as `employee.manager-changed`.
    #[serde(rename = "type")]
    pub event_type: Spanned<String>,
    /// Its payload, as in `schemas/events`; personal values are written bare. `on` is the day on which it is true.
    pub data: Spanned<Value>,
}

/// Events that are otherwise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Edit {
    pub who: Spanned<Who>,
    #[serde(rename = "type")]
    pub event_type: Spanned<String>,
    /// The events that are true from this day on [default: the fork].
    pub since: Option<Spanned<Date>>,
    /// And until this one, with it.
    pub until: Option<Spanned<Date>>,
    /// Fields of the payload, each with its new value.
    pub set: Spanned<BTreeMap<String, Value>>,
}

/// Events that did not happen.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Drop {
    pub who: Spanned<Who>,
    #[serde(rename = "type")]
    pub event_type: Spanned<String>,
    pub since: Option<Spanned<Date>>,
    pub until: Option<Spanned<Date>>,
}

/// Other thresholds of the bands, from a day on, whatever was set later; those that are not named stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bands {
    pub from: Option<Spanned<Date>>,
    pub medium_above: Option<f64>,
    pub high_above: Option<f64>,
    pub critical_above: Option<f64>,
}

/// Another model, from a day on, whatever was promoted later.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Model {
    pub from: Option<Spanned<Date>>,
    pub version: Spanned<String>,
}

/// Who is meant: whoever fits all that is said, on the day of the change, as it really was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Who {
    pub everybody: bool,
    pub employees: Vec<Spanned<EmployeeId>>,
    pub department: Option<Spanned<String>>,
    pub division: Option<Spanned<String>>,
    pub location: Option<Spanned<String>>,
    pub job_title: Option<Spanned<String>>,
    /// Whoever reports to this person.
    pub manager: Option<Spanned<EmployeeId>>,
    /// Pay over the median of the same job and currency.
    pub compa_ratio_below: Option<f64>,
    pub compa_ratio_above: Option<f64>,
}

impl Who {
    /// Whether it says anything.
    const fn is_anybody(&self) -> bool {
        self.everybody
            || !self.employees.is_empty()
            || self.department.is_some()
            || self.division.is_some()
            || self.location.is_some()
            || self.job_title.is_some()
            || self.manager.is_some()
            || self.compa_ratio_below.is_some()
            || self.compa_ratio_above.is_some()
    }
}

impl Script {
    /// Reads a script, and checks what can be told without the history.
    ///
    /// # Errors
    /// Where it does not read, and why.
    pub fn parse(text: &str, today: Date) -> Result<Self, ScriptError> {
        if text.len() > SCRIPT_BYTES_MAX {
            return Err(ScriptError(format!(
                "the script is longer than {SCRIPT_BYTES_MAX} bytes"
            )));
        }
        let script: Self = serde_saphyr::from_str(text).map_err(|error| ScriptError(error.to_string()))?;
        script.check(today)?;
        Ok(script)
    }

    fn check(&self, today: Date) -> Result<(), ScriptError> {
        if self.title.value.trim().is_empty() {
            return Err(ScriptError::at(&self.title, "say in a sentence what is asked"));
        }
        if self.from.value > today {
            return Err(ScriptError::at(
                &self.from,
                format_args!("{} has not come yet: a fork lies in the past", self.from.value),
            ));
        }
        if let Some(change) = self.changes.get(CHANGES_MAX) {
            return Err(ScriptError::at(
                change,
                format_args!("a script has {CHANGES_MAX} changes at most"),
            ));
        }
        self.changes
            .iter()
            .try_for_each(|change| self.check_change(change, today))
    }

    fn check_change(&self, change: &Spanned<Change>, today: Date) -> Result<(), ScriptError> {
        let (who, days) = match &change.value {
            Change::Raise(raise) => {
                if !(-90.0..=1_000.0).contains(&raise.percent.value) {
                    return Err(ScriptError::at(
                        &raise.percent,
                        "a raise lies between -90 and 1000 percent",
                    ));
                }
                (Some(&raise.who), vec![Some(&raise.on)])
            }
            Change::Stay(stay) => (Some(&stay.who), vec![]),
            Change::Leave(leave) => (Some(&leave.who), vec![Some(&leave.on)]),
            Change::Insert(insert) => {
                changeable(&insert.event_type)?;
                (Some(&insert.who), vec![])
            }
            Change::Edit(edit) => {
                changeable(&edit.event_type)?;
                (Some(&edit.who), vec![edit.since.as_ref(), edit.until.as_ref()])
            }
            Change::Drop(drop) => {
                changeable(&drop.event_type)?;
                (Some(&drop.who), vec![drop.since.as_ref(), drop.until.as_ref()])
            }
            Change::Bands(bands) => (None, vec![bands.from.as_ref()]),
            Change::Model(model) => (None, vec![model.from.as_ref()]),
        };
        for day in days.into_iter().flatten() {
            self.check_day(day, today)?;
        }
        match who {
            Some(who) if !who.value.is_anybody() => Err(ScriptError::at(
                who,
                "say who is meant: `everybody: true`, or a department, a manager, employees, …",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing before the fork changes, and nothing is made up of days that have not come.
    pub(super) fn check_day(&self, day: &Spanned<Date>, today: Date) -> Result<(), ScriptError> {
        if day.value < self.from.value {
            return Err(ScriptError::at(
                day,
                format_args!(
                    "{} is before the fork, {}: nothing before it changes",
                    day.value, self.from.value
                ),
            ));
        }
        if day.value > today {
            return Err(ScriptError::at(day, format_args!("{} has not come yet", day.value)));
        }
        Ok(())
    }
}

/// Events of employees' own streams, but for those that begin and end a record, and those that Tenure makes by itself.
fn changeable(event_type: &Spanned<String>) -> Result<(), ScriptError> {
    let name = event_type.value.as_str();
    let why = match name {
        "employee.hired" | "employee.erased" => "cannot be changed: a record begins and ends as it did",
        "employee.colleague-left" | "employee.colleague-stayed" => {
            "follows by itself from who leaves: change that (`stay`, `leave`)"
        }
        "employee.demographics-changed" => "is no input of anything that is shown",
        _ if !name.starts_with("employee.") => "is no event of an employee's, such as employee.pay-changed",
        _ => return Ok(()),
    };
    Err(ScriptError::at(event_type, format_args!("{name} {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        let today = Date::from_ymd_opt(2026, 11, 22).expect("a day");
        Script::parse(text, today).map_err(|error| error.to_string())
    }

    #[test]
    fn a_broken_script_says_where_and_why() {
        let head = "title: What if?\nfrom: 2026-03-01\nchanges:\n";
        for (changes, line, column, why) in [
            ("  - rise: {percent: 5}", 4, 5, "unknown variant `rise`"),
            (
                "  - raise: {who: {everybody: true}, on: 2026-02-30, percent: 5}",
                4,
                41,
                "",
            ),
            (
                "  - raise: {who: {everybody: true}, on: 2026-02-01, percent: 5}",
                4,
                41,
                "before the fork",
            ),
            (
                "  - raise: {who: {everybody: true}, on: 2027-02-01, percent: 5}",
                4,
                41,
                "has not come yet",
            ),
            (
                "  - raise: {who: {}, on: 2026-03-01, percent: 5}",
                4,
                18,
                "say who is meant",
            ),
            (
                "  - raise:\n      who: {everybody: true}\n      on: 2026-03-01\n      percent: 5000",
                7,
                16,
                "percent",
            ),
            (
                "  - drop:\n      who: {everybody: true}\n      type: risk.risk-assessed",
                6,
                13,
                "no event of an employee's",
            ),
            (
                "  - drop:\n      who: {everybody: true}\n      type: employee.colleague-left",
                6,
                13,
                "follows by itself",
            ),
            ("  - stay: {who: {employees: [nobody]}}", 4, 30, ""),
        ] {
            let error = parse(&format!("{head}{changes}\n")).expect_err(changes);
            assert!(
                error.contains(&format!("line {line}")) && error.contains(&format!("column {column}")),
                "{changes}: {error}"
            );
            assert!(error.contains(why), "{changes}: {error}");
        }
        assert!(
            parse("title: ''\nfrom: 2026-03-01")
                .expect_err("no title")
                .contains("line 1")
        );
        assert!(
            parse(&"#".repeat(SCRIPT_BYTES_MAX + 1))
                .expect_err("too long")
                .contains("longer")
        );
        let many = format!(
            "{head}{}",
            "  - stay: {who: {everybody: true}}\n".repeat(CHANGES_MAX + 1)
        );
        assert!(parse(&many).expect_err("too many").contains("at most"));
        assert!(
            parse("title: Nothing\nfrom: 2026-03-01").is_ok(),
            "an empty script is one"
        );
    }
}
