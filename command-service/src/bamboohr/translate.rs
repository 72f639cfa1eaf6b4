//! What BambooHR says of a person, in the domain's words: fields and tables in, a [`Snapshot`] out.
//!
//! | BambooHR | here |
//! |---|---|
//! | a field or column that is missing | unsaid: the key's user may not see it, so what is on file stays |
//! | a field that is `null`, `""` or `0000-00-00` | cleared, where that makes sense |
//! | a table that was read and has rows | the whole history: later corrections there correct it here |
//! | a table that could not be read, or is empty | the flat fields, as of today |
//!
//! BambooHR's day of termination (`terminationDate`, the "Terminated" row of employmentStatus) is taken as the **first day on
//! which the person no longer counts as employed**: from that day on the row's status holds. Facts A1 do not say whether
//! somebody still works on it; this reading agrees with the status that BambooHR shows on the day.
//!
//! No value makes a snapshot fail. What cannot be read is kept in [`Snapshot::other`] under its name and told as a
//! [`Warning`], which never repeats the value.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::{
    Date, Dated, Personal,
    employee::{DAYS_AHEAD_MAX, Ended, Field, Job, Rows, Snapshot, Source, Standing, Voluntariness},
    id::{EmployeeId, TenantId},
    money::PayRate,
};
use serde_json::{Map, Value};

pub use words::DEFAULT_CURRENCY;

use super::{
    client::{Fields, Row},
    is_remote_id,
    payload::{Kind, Notification},
};
use crate::{
    source::{OTHER_CHARS_MAX, OTHER_FIELDS_MAX, Problem, Warning},
    words::canonical,
};
use words::Status;

/// The fields to ask for. What only changes because something else changed (`lastChanged`, `age`) is left out, and so is
/// what Tenure has no use for (`ssn`, addresses, private contacts).
pub const FIELDS: &[&str] = &[
    "firstName",
    "lastName",
    "preferredName",
    "workEmail",
    "workPhone",
    "mobilePhone",
    "jobTitle",
    "department",
    "division",
    "location",
    "supervisor",
    "supervisorEId",
    "status",
    "employmentHistoryStatus",
    "hireDate",
    "originalHireDate",
    "terminationDate",
    "payRate",
    "payPer",
    "payType",
    "payRateEffectiveDate",
    "payChangeReason",
    "standardHoursPerWeek",
    "gender",
    "dateOfBirth",
    "ethnicity",
    "employeeNumber",
    "exempt",
    "payGroup",
    "paySchedule",
    "country",
    "state",
];

/// What is asked for if BambooHR refuses the rest: fields that every account has.
pub const ESSENTIAL_FIELDS: &[&str] = &[
    "firstName",
    "lastName",
    "workEmail",
    "jobTitle",
    "department",
    "location",
    "supervisor",
    "status",
    "hireDate",
    "terminationDate",
];

/// The fields that a field-based webhook should post, so that [`partial_snapshot`] can use them.
pub const POST_FIELDS: &[&str] = &[
    "First Name",
    "Last Name",
    "Preferred Name",
    "Work Email",
    "Work Phone",
    "Mobile Phone",
    "Job Title",
    "Department",
    "Division",
    "Location",
    "Reporting to",
    "Status",
    "Employment Status",
    "Hire Date",
    "Original Hire Date",
    "Pay rate",
    "Paid per",
    "Pay type",
    "Compensation: Date",
    "Compensation Change Reason",
    "Standard Hours Per Week",
    "Gender",
    "Birth Date",
    "Ethnicity",
];

/// A person's effective-dated tables. `None`: could not be read, for example because the key may not see it.
#[derive(Clone, Default)]
pub struct Tables {
    pub job_info: Option<Vec<Row>>,
    pub compensation: Option<Vec<Row>>,
    pub employment_status: Option<Vec<Row>>,
}

/// Why nothing at all can be said of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranslateProblem {
    #[error("the record has no usable employee id")]
    NoRemoteId,
    #[error("BambooHR answered about somebody else than was asked for")]
    SomebodyElse,
}

/// Finds a person by the name that BambooHR shows; `None` if there is none, or more than one.
pub type Managers<'a> = &'a dyn Fn(&str) -> Option<EmployeeId>;

/// What BambooHR's API says of one person. `as_of` is today in the account's own days: flat fields are true on it.
///
/// # Errors
/// When it is not clear whom the fields are about.
pub fn snapshot(
    tenant: TenantId,
    source: Source,
    fields: &Fields,
    tables: Option<&Tables>,
    managers: Managers<'_>,
    as_of: Date,
) -> Result<(Snapshot, Vec<Warning>), TranslateProblem> {
    let said = ["id", "employeeId"]
        .iter()
        .find_map(|name| fields.get(*name))
        .and_then(words::text);
    if said.is_some_and(|id| !id.is_empty() && id != source.remote_id) {
        return Err(TranslateProblem::SomebodyElse);
    }
    let mut translation = Translation::new(tenant, source, fields, managers, as_of)?;
    let without_word = FIELDS.iter().filter(|name| alias(name).is_none());
    let withheld = without_word.filter(|name| !fields.contains_key(**name));
    (translation.unsaid).extend(withheld.map(|name| Field::Other((*name).to_owned())));
    Ok(translation.finish(tables.unwrap_or(&Tables::default())))
}

/// What a webhook alone says, for when the API cannot be asked. A webhook may hold a part of what belongs together (a job
/// title without its department): the rest stays as on file.
///
/// # Errors
/// When it is not clear whom the webhook is about.
pub fn partial_snapshot(
    tenant: TenantId,
    source: Source,
    notification: &Notification,
    managers: Managers<'_>,
    as_of: Date,
) -> Result<(Snapshot, Vec<Warning>), TranslateProblem> {
    if notification.remote_id != source.remote_id {
        return Err(TranslateProblem::SomebodyElse);
    }
    let fields: Map<String, Value> = notification
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let mut translation = Translation::new(tenant, source, &fields, managers, as_of)?;
    translation.partial = true;
    if notification.kind == Kind::Deleted {
        let silent = Snapshot::silent(translation.source.clone(), as_of);
        return Ok((
            Snapshot {
                standing: Rows::current(as_of, Standing::Deleted),
                ..silent
            },
            Vec::new(),
        ));
    }
    Ok(translation.finish(&Tables::default()))
}

/// The alias of a field under any of its names: API aliases, display names of webhooks, older spellings. `None`: no word
/// for it.
fn alias(name: &str) -> Option<&'static str> {
    Some(match canonical(name).as_str() {
        "firstname" => "firstName",
        "lastname" => "lastName",
        "preferredname" => "preferredName",
        "workemail" => "workEmail",
        "workphone" => "workPhone",
        "mobilephone" => "mobilePhone",
        "jobtitle" => "jobTitle",
        "department" => "department",
        "division" => "division",
        "location" => "location",
        "jobinformationdate" => "jobDate",
        "supervisor" | "reportingto" | "reportsto" | "manager" => "supervisor",
        "supervisoreid" => "supervisorEId",
        "status" => "status",
        "employmenthistorystatus" | "employmentstatus" => "employmentHistoryStatus",
        "employmentstatusdate" => "employmentStatusDate",
        "hiredate" => "hireDate",
        "originalhiredate" => "originalHireDate",
        "terminationdate" => "terminationDate",
        "payrate" => "payRate",
        "payper" | "paidper" => "payPer",
        "paytype" => "payType",
        "payrateeffectivedate" | "compensationdate" => "payRateEffectiveDate",
        "paychangereason" | "compensationchangereason" => "payChangeReason",
        "standardhoursperweek" => "standardHoursPerWeek",
        "gender" => "gender",
        "dateofbirth" | "birthdate" => "dateOfBirth",
        "ethnicity" => "ethnicity",
        // About the record, not the person; some of them change with every edit.
        "id" | "employeeid" | "lastchanged" | "displayname" | "supervisorid" | "photourl" | "photouploaded" => "",
        _ => return None,
    })
}

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// Not there: no permission, or not asked for.
    Nothing,
    Cleared,
    Text(String),
}

impl Said {
    fn text(&self) -> &str {
        match self {
            Self::Nothing | Self::Cleared => "",
            Self::Text(text) => text,
        }
    }

    fn into_option(self) -> Option<String> {
        match self {
            Self::Nothing | Self::Cleared => None,
            Self::Text(text) => Some(text),
        }
    }

    fn is_said(&self) -> bool {
        *self != Self::Nothing
    }
}

struct Translation<'a> {
    tenant: TenantId,
    source: Source,
    managers: Managers<'a>,
    as_of: Date,
    /// Whether this is only what a webhook posted.
    partial: bool,
    /// By alias: the field's own name and what it says.
    fields: BTreeMap<&'static str, (String, Said)>,
    other: BTreeMap<String, String>,
    /// Parts of what is said that are not said themselves.
    unsaid: BTreeSet<Field>,
    warnings: Vec<Warning>,
}

impl<'a> Translation<'a> {
    fn new(
        tenant: TenantId,
        source: Source,
        fields: &Fields,
        managers: Managers<'a>,
        as_of: Date,
    ) -> Result<Self, TranslateProblem> {
        if !is_remote_id(&source.remote_id) {
            return Err(TranslateProblem::NoRemoteId);
        }
        let mut translation = Self {
            tenant,
            source,
            managers,
            as_of,
            partial: false,
            fields: BTreeMap::new(),
            other: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            warnings: Vec::new(),
        };
        for (name, value) in fields {
            translation.sort_in(name, value);
        }
        Ok(translation)
    }

    /// Puts a field where it belongs: under its alias, among the others, or nowhere.
    fn sort_in(&mut self, name: &str, value: &Value) {
        let alias = alias(name);
        if alias == Some("") {
            return;
        }
        match (words::text(value), alias) {
            (None, Some(_)) => self.keep(name, &value.to_string(), Problem::NotText),
            // A list or an object that nobody has a word for.
            (None, None) => self.warn(name, Problem::NotText),
            (Some(text), Some(alias)) => {
                let said = if text.is_empty() {
                    Said::Cleared
                } else {
                    Said::Text(text)
                };
                // Of two spellings of one field, the one that says more.
                let before = self.fields.get(alias).map_or(&Said::Nothing, |(_, before)| before);
                if !matches!(before, Said::Text(_)) {
                    self.fields.insert(alias, (name.to_owned(), said));
                }
            }
            (Some(text), None) => {
                if !text.is_empty() {
                    self.keep_other(name, &text);
                }
            }
        }
    }

    fn finish(mut self, tables: &Tables) -> (Snapshot, Vec<Warning>) {
        let (hired_on, standing) = self.standing(rows_of(tables.employment_status.as_ref()));
        let (jobs, managers) = self.jobs(rows_of(tables.job_info.as_ref()), hired_on);
        let pay = self.pay(rows_of(tables.compensation.as_ref()), hired_on);
        let mut promotions = pay.promotions;
        promotions.extend(self.called_promotions(rows_of(tables.job_info.as_ref())));
        let hours = self.hours();
        let date_of_birth = self.date_of_birth();
        let part = |alias: &str| self.part(alias);
        let (first, last, preferred) = (part("firstName"), part("lastName"), part("preferredName"));
        let (email, phone, mobile) = (part("workEmail"), part("workPhone"), part("mobilePhone"));
        let (gender, ethnicity) = (part("gender"), part("ethnicity"));
        let mut snapshot = Snapshot {
            hired_on,
            standing,
            jobs,
            managers,
            pay: pay.rows,
            pay_reasons: pay.reasons,
            hours,
            promotions,
            // A part of the other fields would clear the rest.
            other: (!self.partial).then_some(Personal::Open(self.other)),
            unsaid: self.unsaid,
            ..Snapshot::silent(self.source, self.as_of)
        };
        snapshot.say_name(first, last, preferred);
        snapshot.say_contact(email, phone, mobile);
        snapshot.say_demographics(gender, date_of_birth, ethnicity);
        (snapshot, self.warnings)
    }

    fn said(&self, alias: &str) -> Said {
        self.fields.get(alias).map_or(Said::Nothing, |(_, said)| said.clone())
    }

    fn warn(&mut self, field: &str, problem: Problem) {
        self.warnings.push(Warning {
            field: field.to_owned(),
            problem,
        });
    }

    /// Tells of a value that cannot be read, and keeps it.
    fn keep(&mut self, field: &str, value: &str, problem: Problem) {
        self.warn(field, problem);
        self.keep_other(field, value);
    }

    fn keep_other(&mut self, field: &str, value: &str) {
        if self.other.len() >= OTHER_FIELDS_MAX {
            return self.warn(field, Problem::TooMuch);
        }
        let cut: String = value.chars().take(OTHER_CHARS_MAX).collect();
        if cut.len() < value.len() {
            self.warn(field, Problem::TooMuch);
        }
        self.other.insert(field.to_owned(), cut);
    }

    /// The field's own name, for warnings.
    fn name_of(&self, alias: &str) -> String {
        self.fields
            .get(alias)
            .map_or_else(|| alias.to_owned(), |(name, _)| name.clone())
    }

    fn day(&mut self, alias: &str) -> Option<Date> {
        let text = self.said(alias).into_option()?;
        self.read_day(&self.name_of(alias), &text)
    }

    fn read_day(&mut self, field: &str, text: &str) -> Option<Date> {
        // One day less than the domain's limit: its today may be a zone behind.
        let latest = self.as_of.checked_add_signed(TimeDelta::days(DAYS_AHEAD_MAX - 1));
        match words::date(text) {
            Ok(Some(day)) if latest.is_some_and(|latest| day > latest) => {
                self.keep(field, text, Problem::TooFarAhead);
                None
            }
            Ok(day) => day,
            Err(()) => {
                self.keep(field, text, Problem::NotADay);
                None
            }
        }
    }

    /// What a field says, as a snapshot takes it.
    fn part(&self, alias: &str) -> domain::employee::Said<String> {
        match self.said(alias) {
            Said::Nothing => None,
            Said::Cleared => Some(None),
            Said::Text(text) => Some(Some(text)),
        }
    }

    /// A day of birth that does not read is not the same as none: it is left unsaid.
    fn date_of_birth(&mut self) -> domain::employee::Said<Date> {
        match self.said("dateOfBirth") {
            Said::Nothing => None,
            Said::Cleared => Some(None),
            Said::Text(text) if words::date(&text) == Ok(None) => Some(None),
            Said::Text(_) => self.day("dateOfBirth").map(Some),
        }
    }

    fn hours(&mut self) -> Rows<domain::employee::WeeklyMinutes> {
        let Some(text) = self.said("standardHoursPerWeek").into_option() else {
            return Rows::default();
        };
        match crate::words::weekly_minutes(&text) {
            Ok(minutes) => minutes.map_or_else(Rows::default, |minutes| Rows::current(self.as_of, minutes)),
            Err(()) => {
                self.keep(&self.name_of("standardHoursPerWeek"), &text, Problem::NotHours);
                Rows::default()
            }
        }
    }
}

/// What a job is, by its alias and its column.
const JOB_PARTS: [(&str, Field); 4] = [
    ("jobTitle", Field::JobTitle),
    ("department", Field::Department),
    ("division", Field::Division),
    ("location", Field::Location),
];

/// A table's rows in order of their days, and whether none had to be left out.
struct History<'a> {
    table: &'static str,
    rows: Vec<(Date, &'a Row)>,
    complete: bool,
}

/// An empty table says nothing: BambooHR hides what a key may not see, and everybody has a first row.
fn rows_of(table: Option<&Vec<Row>>) -> Option<&[Row]> {
    table.map(Vec::as_slice).filter(|rows| !rows.is_empty())
}

/// A column under any of its names; the first that holds a text.
fn column(row: &Row, names: &[&str]) -> Said {
    let mut said = Said::Nothing;
    for value in names.iter().filter_map(|name| row.get(*name)) {
        match words::text(value) {
            Some(text) if !text.is_empty() => return Said::Text(text),
            Some(_) | None => said = Said::Cleared,
        }
    }
    said
}

fn cell(table: &str, row: &Row, name: &str) -> String {
    let id = row
        .get("id")
        .and_then(words::text)
        .filter(|id| is_remote_id(id))
        .unwrap_or_else(|| "?".to_owned());
    format!("{table}#{id}.{name}")
}

impl Translation<'_> {
    /// Of several rows for one day, the one with the highest id comes last: it counts.
    fn history<'r>(&mut self, table: &'static str, day: &'static str, rows: &'r [Row]) -> History<'r> {
        let mut history = History {
            table,
            rows: Vec::with_capacity(rows.len()),
            complete: true,
        };
        for row in rows {
            let text = column(row, &[day]);
            match self.read_day(&cell(table, row, day), text.text()) {
                Some(on) => history.rows.push((on, row)),
                None => {
                    history.complete = false;
                    if text.text().is_empty() || words::date(text.text()) == Ok(None) {
                        self.warn(&cell(table, row, day), Problem::NotADay);
                    }
                }
            }
        }
        let id = |row: &Row| {
            row.get("id")
                .and_then(words::text)
                .and_then(|id| id.parse::<u64>().ok())
                .unwrap_or_default()
        };
        history.rows.sort_by_key(|(on, row)| (*on, id(row)));
        history
    }

    /// The first day and the standing since then.
    fn standing(&mut self, table: Option<&[Row]>) -> (Option<Date>, Rows<Standing>) {
        let hire = self.day("hireDate");
        let hired_on = [hire, self.day("originalHireDate")].into_iter().flatten().min();
        match table {
            Some(rows) => self.standing_of_table(rows, hire, hired_on),
            None => (hired_on, self.standing_of_fields(hire, hired_on)),
        }
    }

    fn standing_of_table(
        &mut self,
        rows: &[Row],
        hire: Option<Date>,
        hired_on: Option<Date>,
    ) -> (Option<Date>, Rows<Standing>) {
        let History { rows, mut complete, .. } = self.history("employmentStatus", "date", rows);
        let mut known: Dated<Standing> = rows.iter().map(|(on, row)| (*on, standing_of_row(row))).collect();

        let hired_on = first_day(hired_on, &known);
        if hire.is_none() && hired_on.is_some() && !self.said("originalHireDate").is_said() {
            self.warn("hireDate", Problem::HireDateFromTable);
        }
        let active = canonical(self.said("status").text()) == "active";
        let inactive = canonical(self.said("status").text()) == "inactive";
        if let Some(hired_on) = hired_on {
            let in_force = known.at(hired_on).cloned();
            let on_the_day = known.fact_on(hired_on).is_some();
            known = known
                .facts()
                .filter(|(on, _)| *on >= hired_on)
                .map(|(on, standing)| (on, standing.clone()))
                .collect();
            if !on_the_day {
                known.set(
                    hired_on,
                    in_force.filter(Standing::is_employed).unwrap_or(Standing::Working),
                );
            }
        }
        // Hired again, and nobody added the row.
        if let Some(hire) = hire
            && active
            && known.fact_on(hire).is_none()
            && known.at(self.as_of).is_some_and(|standing| !standing.is_employed())
            && known
                .facts()
                .filter(|(on, _)| *on <= self.as_of)
                .all(|(on, _)| on < hire)
        {
            known.set(hire, Standing::Working);
        }
        // Gone, and no row says so.
        if inactive
            && hired_on.is_none_or(|hired_on| hired_on <= self.as_of)
            && known.at(self.as_of).is_none_or(Standing::is_employed)
        {
            let last_row = known.facts().map(|(on, _)| on).filter(|on| *on <= self.as_of).max();
            let told = self
                .day("terminationDate")
                .filter(|on| *on <= self.as_of && last_row.is_none_or(|last| last <= *on));
            // Without a day, today is a guess; a whole history must not be corrected by it.
            complete &= told.is_some();
            known.set(
                told.unwrap_or(self.as_of),
                Standing::Ended(Ended::new(Voluntariness::Unknown, None)),
            );
        }
        let known = known.facts().map(|(on, standing)| (on, standing.clone())).collect();
        (hired_on, Rows { known, complete })
    }

    /// Without the table: what the flat fields let one say, which is never everything.
    fn standing_of_fields(&mut self, hire: Option<Date>, hired_on: Option<Date>) -> Rows<Standing> {
        let ended = || Standing::Ended(Ended::new(Voluntariness::Unknown, None));
        let status = canonical(self.said("status").text());
        let (active, mut inactive) = (status == "active", status == "inactive");
        let label = self.said("employmentHistoryStatus").into_option();
        inactive |= !active && label.as_deref().map(words::status) == Some(Status::Ended);

        let mut known = Dated::default();
        for day in [hired_on, hire].into_iter().flatten() {
            known.set(day, Standing::Working);
        }
        if let Some(on) = self.day("terminationDate") {
            if active && on < self.as_of && hire.is_none_or(|hire| hire <= on) {
                self.warn(&self.name_of("terminationDate"), Problem::Contradiction);
            } else if known.fact_on(on).is_none() || !active {
                known.set(on, ended());
            }
        }
        let started = hired_on.is_none_or(|hired_on| hired_on <= self.as_of);
        let here_now = known.at(self.as_of).is_none_or(Standing::is_employed);
        if started && here_now {
            let since = self
                .day("employmentStatusDate")
                .filter(|on| *on <= self.as_of)
                .unwrap_or(self.as_of);
            if inactive {
                known.set(self.as_of, ended());
            } else if let Some(label) = label {
                let standing = if words::status(&label) == Status::OnLeave {
                    Standing::OnLeave
                } else {
                    Standing::Working
                };
                known.set(hired_on.map_or(since, |hired_on| since.max(hired_on)), standing);
            } else if active && !self.partial {
                // A webhook's "Active" also covers leave, so it says nothing of today.
                known.set(self.as_of, Standing::Working);
            }
        }
        Rows {
            known: known.facts().map(|(on, standing)| (on, standing.clone())).collect(),
            complete: false,
        }
    }

    fn jobs(&mut self, table: Option<&[Row]>, hired_on: Option<Date>) -> (Rows<Job>, Rows<Option<EmployeeId>>) {
        let history = table.map(|rows| self.history("jobInfo", "date", rows));
        let jobs = match &history {
            Some(history) => {
                let withheld = JOB_PARTS.into_iter();
                let withheld =
                    withheld.filter(|(name, _)| history.rows.iter().all(|(_, row)| !row.contains_key(*name)));
                self.unsaid.extend(withheld.map(|(_, field)| field));
                let rows = history.rows.iter().map(|(on, row)| (*on, job_of_row(row)));
                Rows {
                    known: since(hired_on, rows),
                    complete: history.complete,
                }
            }
            None if JOB_PARTS.iter().any(|(alias, _)| self.said(alias).is_said()) => {
                let withheld = JOB_PARTS.into_iter().filter(|(alias, _)| !self.said(alias).is_said());
                let withheld: Vec<Field> = withheld.map(|(_, field)| field).collect();
                self.unsaid.extend(withheld);
                let job = Job {
                    title: self.said("jobTitle").into_option(),
                    department: self.said("department").into_option(),
                    division: self.said("division").into_option(),
                    location: self.said("location").into_option(),
                };
                let on = self.day("jobDate").filter(|on| *on <= self.as_of).unwrap_or(self.as_of);
                Rows::current(on, job)
            }
            None => Rows::default(),
        };
        let managers = self.managers_of(history.as_ref(), hired_on);
        (jobs, managers)
    }

    /// Managers by the names in jobInfo; the current one by id, where it is told.
    fn managers_of(&mut self, history: Option<&History<'_>>, hired_on: Option<Date>) -> Rows<Option<EmployeeId>> {
        let current = self.current_manager();
        let Some(history) = history else {
            return current.map_or_else(Rows::default, |manager| Rows::current(self.as_of, manager));
        };
        let mut complete = history.complete;
        let mut known = Vec::new();
        let in_force = history.rows.iter().rposition(|(on, _)| *on <= self.as_of);
        for (index, (on, row)) in history.rows.iter().enumerate() {
            let said = column(row, &["reportsTo"]);
            let resolved = match (&said, current) {
                (_, Some(manager)) if Some(index) == in_force => Some(manager),
                (Said::Nothing, _) => None,
                (Said::Cleared, _) => Some(None),
                (Said::Text(name), _) => self.person(name).map(Some),
            };
            match resolved {
                Some(manager) => known.push((*on, manager)),
                None => {
                    complete = false;
                    if let Said::Text(name) = said {
                        self.keep(&cell(history.table, row, "reportsTo"), &name, Problem::UnknownManager);
                    }
                }
            }
        }
        // Who is above today is known by id; of a history with gaps an older belief could still hold today.
        if !(complete && in_force.is_some())
            && let Some(manager) = current
            && hired_on.is_none_or(|hired_on| hired_on <= self.as_of)
        {
            known.push((self.as_of, manager));
            complete = false;
        }
        Rows {
            known: since(hired_on, known.into_iter()),
            complete,
        }
    }

    /// `Some(None)`: BambooHR says that there is no manager.
    fn current_manager(&mut self) -> Option<Option<EmployeeId>> {
        match (self.said("supervisorEId"), self.said("supervisor")) {
            (Said::Text(id), _) if id != "0" => {
                if is_remote_id(&id) && id != self.source.remote_id {
                    return Some(Some(EmployeeId::derive(self.tenant, self.source.connection, &id)));
                }
                self.keep(&self.name_of("supervisorEId"), &id, Problem::UnknownManager);
                None
            }
            (_, Said::Text(name)) => match self.person(&name) {
                Some(manager) => Some(Some(manager)),
                None => {
                    self.keep(&self.name_of("supervisor"), &name, Problem::UnknownManager);
                    None
                }
            },
            (Said::Nothing, Said::Nothing) => None,
            (Said::Nothing | Said::Cleared | Said::Text(_), Said::Nothing | Said::Cleared) => Some(None),
        }
    }

    /// A person by name, which BambooHR writes as `First Last` in tables and `Last, First` in fields.
    fn person(&self, name: &str) -> Option<EmployeeId> {
        let own = EmployeeId::derive(self.tenant, self.source.connection, &self.source.remote_id);
        let swapped = || {
            name.split_once(',')
                .map(|(last, first)| format!("{} {}", first.trim(), last.trim()))
        };
        (self.managers)(name)
            .or_else(|| (self.managers)(&swapped()?))
            .filter(|manager| *manager != own)
    }

    /// The days on which a row of jobInfo itself calls the change a promotion (accounts can add such a column).
    fn called_promotions(&self, table: Option<&[Row]>) -> BTreeSet<Date> {
        let rows = table.unwrap_or_default().iter();
        rows.filter(|row| is_promotion(column(row, &["reason", "changeReason", "jobChangeReason"]).text()))
            .filter_map(|row| words::date(column(row, &["date"]).text()).ok().flatten())
            .collect()
    }
}

fn standing_of_row(row: &Row) -> Standing {
    // Lists have `0` for "nothing chosen".
    let chosen = |names: &[&str]| {
        column(row, names)
            .into_option()
            .filter(|text| text != "0")
            .unwrap_or_default()
    };
    let kind = chosen(&["terminationTypeId", "terminationType"]);
    let reason = chosen(&["terminationReasonId", "terminationReason"]);
    let status = words::status(column(row, &["employmentStatus", "status"]).text());
    if status == Status::Ended || !kind.is_empty() || !reason.is_empty() {
        let is_words = |text: &&String| text.chars().any(char::is_alphabetic);
        let told = [&reason, &kind].into_iter().find(is_words).cloned();
        return Standing::Ended(Ended::new(crate::words::voluntariness(&kind, &reason), told));
    }
    if status == Status::OnLeave {
        Standing::OnLeave
    } else {
        Standing::Working
    }
}

fn job_of_row(row: &Row) -> Job {
    let text = |name: &str| column(row, &[name]).into_option();
    Job {
        title: text("jobTitle"),
        department: text("department"),
        division: text("division"),
        location: text("location"),
    }
}

/// The first day of work. The table knows better than the fields if somebody worked here and left before the hire date:
/// then this is a second employment whose original hire date nobody filled in.
fn first_day(hired_on: Option<Date>, known: &Dated<Standing>) -> Option<Date> {
    let first_working = known
        .facts()
        .find(|(_, standing)| standing.is_employed())
        .map(|(on, _)| on);
    let Some(hired_on) = hired_on else { return first_working };
    let left_before = known.facts().any(|(on, standing)| {
        on < hired_on && !standing.is_employed() && first_working.is_some_and(|first| first < on)
    });
    if left_before { first_working } else { Some(hired_on) }
}

/// The rows from the first day on: what was set up before it holds on that day.
fn since<T: Clone>(hired_on: Option<Date>, rows: impl Iterator<Item = (Date, T)>) -> Vec<(Date, T)> {
    let all: Dated<T> = rows.collect();
    let begins = |on: Date| hired_on.map_or(on, |hired_on| on.max(hired_on));
    let moved: Dated<T> = all.facts().map(|(on, value)| (begins(on), value.clone())).collect();
    moved.facts().map(|(on, value)| (on, value.clone())).collect()
}

fn is_promotion(reason: &str) -> bool {
    reason.to_lowercase().contains("promotion")
}

/// What is known of somebody's pay.
#[derive(Default)]
struct Pay {
    rows: Rows<Personal<PayRate>>,
    reasons: BTreeMap<Date, Personal<String>>,
    promotions: BTreeSet<Date>,
}

impl Translation<'_> {
    fn pay(&mut self, table: Option<&[Row]>, hired_on: Option<Date>) -> Pay {
        let Some(rows) = table else { return self.pay_of_fields() };
        let history = self.history("compensation", "startDate", rows);
        let mut pay = Pay {
            rows: Rows {
                known: Vec::new(),
                complete: history.complete,
            },
            ..Pay::default()
        };
        for (on, row) in &history.rows {
            let field = |name: &str| cell(history.table, row, name);
            let reason = column(row, &["reason"]);
            if is_promotion(reason.text()) {
                pay.promotions.insert(*on);
            }
            let said = match (column(row, &["rate"]), row.get("rate")) {
                (Said::Cleared, Some(value)) if words::text(value).is_none() => {
                    self.keep(&field("rate"), &value.to_string(), Problem::NotText);
                    pay.rows.complete = false;
                    continue;
                }
                (said, _) => said,
            };
            if said == Said::Nothing {
                self.warn(&field("rate"), Problem::Hidden);
                pay.rows.complete = false;
                continue;
            }
            let (paid_per, pay_type) = (column(row, &["paidPer"]), column(row, &["type"]));
            let names = (field("rate"), field("paidPer"));
            match self.read_rate((&names.0, &names.1), said.text(), paid_per.text(), pay_type.text()) {
                Ok(Some(rate)) => {
                    pay.rows.known.push((*on, Personal::Open(rate)));
                    pay.reasons.remove(on);
                    if let Said::Text(reason) = reason {
                        pay.reasons.insert(*on, Personal::Open(reason));
                    }
                }
                // Commission only: no rate to tell of.
                Ok(None) => {}
                Err(()) => pay.rows.complete = false,
            }
        }
        pay.rows.known = since(hired_on, pay.rows.known.into_iter());
        pay
    }

    fn pay_of_fields(&mut self) -> Pay {
        let said = self.said("payRate");
        let names = (self.name_of("payRate"), self.name_of("payPer"));
        let (paid_per, pay_type) = (self.said("payPer"), self.said("payType"));
        let read = self.read_rate((&names.0, &names.1), said.text(), paid_per.text(), pay_type.text());
        let Ok(Some(rate)) = read else { return Pay::default() };
        let on = self.day("payRateEffectiveDate").unwrap_or(self.as_of);
        let mut pay = Pay {
            rows: Rows::current(on, Personal::Open(rate)),
            ..Pay::default()
        };
        if let Said::Text(reason) = self.said("payChangeReason") {
            if is_promotion(&reason) {
                pay.promotions.insert(on);
            }
            pay.reasons.insert(on, Personal::Open(reason));
        }
        pay
    }

    /// `Err`: there is something, and it could not be read; it has been told and kept.
    fn read_rate(
        &mut self,
        (rate_name, per_name): (&str, &str),
        text: &str,
        paid_per: &str,
        pay_type: &str,
    ) -> Result<Option<PayRate>, ()> {
        let (amount, rounded) = match words::rate(text) {
            Ok(None) => return Ok(None),
            Ok(Some(read)) => read,
            Err(problem) => {
                self.keep(rate_name, text, Problem::NotARate(problem));
                return Err(());
            }
        };
        let Some(per) = words::period(paid_per, pay_type) else {
            self.keep_other(rate_name, text);
            self.keep(
                per_name,
                if paid_per.is_empty() { pay_type } else { paid_per },
                Problem::UnknownPeriod,
            );
            return Err(());
        };
        if rounded {
            self.keep(rate_name, text, Problem::Rounded);
        }
        Ok(Some(PayRate { amount, per }))
    }
}

/// Since when a row of the table compensation holds; none if its day does not read.
#[must_use]
pub fn day_of_rate(row: &Row) -> Option<Date> {
    words::date(&words::text(row.get("startDate")?)?).ok().flatten()
}

/// The rate of a row of the table compensation, if it reads exactly as it is.
#[must_use]
pub fn exact_rate(row: &Row) -> Option<PayRate> {
    let text = |name: &str| row.get(name).and_then(words::text).unwrap_or_default();
    let (amount, is_rounded) = words::rate(&text("rate")).ok()??;
    let per = words::period(&text("paidPer"), &text("type"))?;
    (!is_rounded).then_some(PayRate { amount, per })
}

#[cfg(test)]
mod tests;
