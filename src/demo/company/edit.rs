//! What a clerk or a test does to the records by hand, by BambooHR's names of fields and columns.

use super::super::bamboohr::FIELDS;
use super::{
    Change, ChangeAction, Company, CompensationRow, Employee, EmployeeId, EmploymentStatusRow, FULL_TIME, Gender,
    JobInfoRow, PayType, Phase, TERMINATED, Truth,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use std::collections::BTreeMap;

/// The effective-dated tables that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `jobInfo`
    JobInfo,
    /// `compensation`
    Compensation,
    /// `employmentStatus`
    EmploymentStatus,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::JobInfo, Self::Compensation, Self::EmploymentStatus];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobInfo => "jobInfo",
            Self::Compensation => "compensation",
            Self::EmploymentStatus => "employmentStatus",
        }
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.as_str() == name)
    }

    /// The fields that change when a row of it takes effect.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::JobInfo => &["jobTitle", "department", "division", "location", "supervisor"],
            Self::Compensation => super::steps::PAY_FIELDS,
            Self::EmploymentStatus => &["status", "employmentHistoryStatus"],
        }
    }
}

/// Why a record was not edited.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EditRefused {
    /// There is no such employee.
    #[error("there is no employee {0}")]
    UnknownEmployee(EmployeeId),
    /// The id is taken.
    #[error("employee {0} exists already")]
    IdTaken(EmployeeId),
    /// The text given is not a flat JSON object.
    #[error("a record must be a JSON object")]
    NotAnObject,
    /// A column is missing or does not read.
    #[error("column {0} is missing or does not read")]
    BadColumn(&'static str),
}

impl Company {
    /// Sets one field by its alias, effective today, and records the change.
    ///
    /// Fields that come from tables (`jobTitle`, `payRate`, `supervisorEId`, ...) get a new row in their table. A value
    /// that does not fit its type, and any alias that is not known, is kept as it is given and served as it is given.
    pub fn set_field(
        &mut self,
        id: EmployeeId,
        alias: &str,
        value: &str,
        now: DateTime<Utc>,
    ) -> Result<Change, EditRefused> {
        let today = now.date_naive().max(self.today);
        let job_row = self.next_row_id + 1;
        let employee = self.employee_mut(id).ok_or(EditRefused::UnknownEmployee(id))?;
        employee.overrides.remove(alias);
        let written = set_personal(employee, alias, value) || set_in_table(employee, alias, value, today, job_row);
        if !written {
            employee.overrides.insert(alias.to_owned(), value.to_owned());
        }
        employee.last_changed = employee.last_changed.max(now);
        self.next_row_id = job_row;
        Ok(Change {
            employee: id,
            action: ChangeAction::Updated,
            fields: known_alias(alias),
            at: now,
        })
    }

    /// Adds a record from a flat object of aliases; `id` may be given. Rows for hiring are made from `hireDate`,
    /// `jobTitle`, `department`, `division`, `location`, `supervisorEId`, `payRate` and `payType`.
    pub fn insert_employee(&mut self, record: &Value, now: DateTime<Utc>) -> Result<EmployeeId, EditRefused> {
        let record = record.as_object().ok_or(EditRefused::NotAnObject)?;
        let text = |alias: &str| record.get(alias).map(plain).unwrap_or_default();
        let id = match record.get("id") {
            Some(given) => plain(given).parse().map_err(|_| EditRefused::BadColumn("id"))?,
            None => EmployeeId(self.next_employee_id),
        };
        if self.employee(id).is_some() {
            return Err(EditRefused::IdTaken(id));
        }
        let hired_on = text("hireDate").parse().unwrap_or_else(|_| now.date_naive());
        let (job_id, pay_id, status_id) = (self.row_id(), self.row_id(), self.row_id());
        let mut employee = blank(id, hired_on, now);
        employee.job_info.push(JobInfoRow {
            id: job_id,
            date: hired_on,
            location: text("location"),
            department: text("department"),
            division: text("division"),
            job_title: text("jobTitle"),
            reports_to: text("supervisorEId").parse().ok(),
            recorded_on: now.date_naive(),
        });
        if let Some(rate_cents) = cents(&text("payRate")) {
            let pay_type = if text("payType") == "Salary" {
                PayType::Salary
            } else {
                PayType::Hourly
            };
            employee.compensation.push(pay_row(
                pay_id,
                hired_on,
                rate_cents,
                pay_type,
                "New Hire",
                now.date_naive(),
            ));
        }
        employee
            .employment_status
            .push(status_row(status_id, hired_on, FULL_TIME, now.date_naive()));
        const FROM_ROWS: [&str; 9] = [
            "id",
            "hireDate",
            "jobTitle",
            "department",
            "division",
            "location",
            "supervisorEId",
            "payRate",
            "payType",
        ];
        for (alias, value) in record.iter().filter(|(alias, _)| !FROM_ROWS.contains(&alias.as_str())) {
            let value = plain(value);
            if !set_personal(&mut employee, alias, &value) {
                employee.overrides.insert(alias.clone(), value);
            }
        }
        self.deleted.remove(&id);
        self.insert(employee);
        Ok(id)
    }

    /// Adds a row to a table, by the names of its columns; answers with the row's id.
    ///
    /// `rate` may be a number, a string (`"18.50"`, `"18.50 USD"`) or `{"value","currency"}`; `reportsTo` is not read,
    /// give `reportsToId`. Without `type` the pay type stays what it was.
    pub fn add_table_row(
        &mut self,
        id: EmployeeId,
        table: Table,
        row: &Value,
        now: DateTime<Utc>,
    ) -> Result<(u64, Change), EditRefused> {
        let columns = row.as_object().ok_or(EditRefused::NotAnObject)?;
        let text = |name: &str| columns.get(name).map(plain).unwrap_or_default();
        let row_id = self.next_row_id + 1;
        let today = now.date_naive();
        let employee = self.employee_mut(id).ok_or(EditRefused::UnknownEmployee(id))?;
        let date_column = if table == Table::Compensation {
            "startDate"
        } else {
            "date"
        };
        let date: NaiveDate = text(date_column)
            .parse()
            .map_err(|_| EditRefused::BadColumn(date_column))?;
        match table {
            Table::JobInfo => {
                let before = employee.job_on(date).cloned();
                let keep = |name: &str, known: Option<&String>| {
                    columns
                        .get(name)
                        .map(plain)
                        .or_else(|| known.cloned())
                        .unwrap_or_default()
                };
                employee.job_info.push(JobInfoRow {
                    id: row_id,
                    date,
                    location: keep("location", before.as_ref().map(|row| &row.location)),
                    department: keep("department", before.as_ref().map(|row| &row.department)),
                    division: keep("division", before.as_ref().map(|row| &row.division)),
                    job_title: keep("jobTitle", before.as_ref().map(|row| &row.job_title)),
                    reports_to: text("reportsToId")
                        .parse()
                        .ok()
                        .or(before.and_then(|row| row.reports_to)),
                    recorded_on: today,
                });
            }
            Table::Compensation => {
                let rate = columns
                    .get("rate")
                    .map(|rate| rate.get("value").map_or_else(|| plain(rate), plain));
                let rate_cents = rate
                    .and_then(|rate| cents(&rate))
                    .ok_or(EditRefused::BadColumn("rate"))?;
                let pay_type = match text("type").as_str() {
                    "Salary" => PayType::Salary,
                    "Hourly" => PayType::Hourly,
                    _ => employee.pay_on(date).map_or(PayType::Hourly, |row| row.pay_type),
                };
                // The simulated company pays by the hour and by the year.
                if ![String::new(), pay_type.paid_per().to_owned()].contains(&text("paidPer")) {
                    return Err(EditRefused::BadColumn("paidPer"));
                }
                let mut row = pay_row(row_id, date, rate_cents, pay_type, &text("reason"), today);
                row.comment = text("comment");
                if let Some(currency) = columns.get("rate").and_then(|rate| rate.get("currency")) {
                    row.currency = plain(currency);
                }
                employee.compensation.push(row);
            }
            Table::EmploymentStatus => {
                let mut row = status_row(row_id, date, &text("employmentStatus"), today);
                row.comment = text("comment");
                row.termination_type = columns.get("terminationTypeId").map(plain);
                row.termination_reason = columns.get("terminationReasonId").map(plain);
                if row.employment_status == TERMINATED {
                    employee.termination_date = Some(date);
                    employee.truth.phase = Phase::Notice;
                }
                employee.employment_status.push(row);
            }
        }
        employee.last_changed = employee.last_changed.max(now);
        self.next_row_id = row_id;
        let fields = if date <= today {
            table.fields().to_vec()
        } else {
            Vec::new()
        };
        Ok((
            row_id,
            Change {
                employee: id,
                action: ChangeAction::Updated,
                fields,
                at: now,
            },
        ))
    }

    /// Takes a rate of pay away; whether there was one with that id.
    pub fn remove_pay_row(&mut self, id: EmployeeId, row: u64) -> bool {
        let Some(employee) = self.employee_mut(id) else {
            return false;
        };
        let before = employee.compensation.len();
        employee.compensation.retain(|known| known.id != row);
        employee.compensation.len() < before
    }

    /// Ends an employment on a day, which may lie ahead.
    pub fn terminate(
        &mut self,
        id: EmployeeId,
        on: NaiveDate,
        voluntary: bool,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<Change, EditRefused> {
        let row = serde_json::json!({
            "date": on.to_string(),
            "employmentStatus": TERMINATED,
            "terminationTypeId": if voluntary { "Voluntary" } else { "Involuntary" },
            "terminationReasonId": reason,
        });
        let (_, mut change) = self.add_table_row(id, Table::EmploymentStatus, &row, now)?;
        if on <= now.date_naive() {
            change.fields = super::steps::TERMINATION_FIELDS.to_vec();
        }
        Ok(change)
    }

    /// Deletes a record, as an administrator can; not what happens when somebody leaves.
    pub fn delete_employee(&mut self, id: EmployeeId, now: DateTime<Utc>) -> Result<Change, EditRefused> {
        let index = self.index_of(id).ok_or(EditRefused::UnknownEmployee(id))?;
        let employee = self.employees.remove(index);
        if let Some(seat) = employee
            .truth
            .seat
            .and_then(|seat| self.organisation.seats.get_mut(seat))
        {
            seat.holder = None;
        }
        self.deleted.insert(id, now);
        Ok(Change {
            employee: id,
            action: ChangeAction::Deleted,
            fields: Vec::new(),
            at: now,
        })
    }
}

/// Writes a field that lives in the record itself; false if the alias is another's or the value does not fit.
fn set_personal(employee: &mut Employee, alias: &str, value: &str) -> bool {
    let date = value.parse::<NaiveDate>();
    match alias {
        "firstName" => employee.first_name = value.to_owned(),
        "lastName" => employee.last_name = value.to_owned(),
        "preferredName" => employee.preferred_name = (!value.is_empty()).then(|| value.to_owned()),
        "workEmail" => employee.work_email = value.to_owned(),
        "mobilePhone" => employee.mobile_phone = value.to_owned(),
        "employeeNumber" => employee.employee_number = value.to_owned(),
        "gender" if value == "Female" => employee.gender = Gender::Female,
        "gender" if value == "Male" => employee.gender = Gender::Male,
        "dateOfBirth" if date.is_ok() => employee.date_of_birth = date.unwrap_or_default(),
        "hireDate" if date.is_ok() => employee.hire_date = date.unwrap_or_default(),
        "originalHireDate" if date.is_ok() => employee.original_hire_date = date.ok(),
        "standardHoursPerWeek" => match value.parse() {
            Ok(hours) => employee.standard_hours_per_week = hours,
            Err(_) => return false,
        },
        _ => return false,
    }
    true
}

/// Writes a field that comes from a table, as a new row from `today` on; false if the alias is another's.
fn set_in_table(employee: &mut Employee, alias: &str, value: &str, today: NaiveDate, row_id: u64) -> bool {
    match alias {
        "jobTitle" | "department" | "division" | "location" | "supervisorEId" => {
            let Some(mut row) = employee.job_on(today).cloned() else {
                return false;
            };
            match alias {
                "jobTitle" => row.job_title = value.to_owned(),
                "department" => row.department = value.to_owned(),
                "division" => row.division = value.to_owned(),
                "location" => row.location = value.to_owned(),
                _ => row.reports_to = value.parse().ok(),
            }
            (row.id, row.date, row.recorded_on) = (row_id, today, today);
            employee.job_info.push(row);
        }
        "payRate" => {
            let Some(rate_cents) = cents(value) else { return false };
            let Some(mut row) = employee.pay_on(today).cloned() else {
                return false;
            };
            (row.id, row.start_date, row.recorded_on, row.rate_cents) = (row_id, today, today, rate_cents);
            row.reason = "Market Adjustment".to_owned();
            employee.compensation.push(row);
        }
        _ => return false,
    }
    true
}

/// The alias as a field of the simulation; none if it has no such field.
fn known_alias(alias: &str) -> Vec<&'static str> {
    match alias {
        "supervisorEId" => vec!["supervisor"],
        "payRate" => super::steps::PAY_FIELDS.to_vec(),
        alias => FIELDS
            .iter()
            .map(|field| field.alias)
            .find(|known| *known == alias)
            .into_iter()
            .collect(),
    }
}

/// Hundredths of a decimal number, which may be followed by a currency.
fn cents(text: &str) -> Option<i64> {
    let number: f64 = text.split_whitespace().next()?.parse().ok()?;
    number.is_finite().then(|| (number * 100.0).round() as i64)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn pay_row(
    id: u64,
    start_date: NaiveDate,
    rate_cents: i64,
    pay_type: PayType,
    reason: &str,
    recorded_on: NaiveDate,
) -> CompensationRow {
    CompensationRow {
        id,
        start_date,
        rate_cents,
        currency: super::CURRENCY.to_owned(),
        pay_type,
        exempt: pay_type == PayType::Salary,
        reason: reason.to_owned(),
        comment: String::new(),
        pay_schedule: "Biweekly".to_owned(),
        recorded_on,
    }
}

fn status_row(id: u64, date: NaiveDate, status: &str, recorded_on: NaiveDate) -> EmploymentStatusRow {
    EmploymentStatusRow {
        id,
        date,
        employment_status: status.to_owned(),
        comment: String::new(),
        termination_type: None,
        termination_reason: None,
        recorded_on,
    }
}

/// A record with nothing in it. It holds no seat: it is an outsider to the simulated processes.
fn blank(id: EmployeeId, hired_on: NaiveDate, now: DateTime<Utc>) -> Employee {
    Employee {
        id,
        employee_number: format!("E{:05}", id.0),
        first_name: String::new(),
        last_name: String::new(),
        preferred_name: None,
        work_email: String::new(),
        mobile_phone: String::new(),
        gender: Gender::Female,
        date_of_birth: NaiveDate::from_ymd_opt(1990, 1, 1).unwrap_or_default(),
        hire_date: hired_on,
        original_hire_date: None,
        termination_date: None,
        standard_hours_per_week: 40,
        job_info: Vec::new(),
        compensation: Vec::new(),
        employment_status: Vec::new(),
        overrides: BTreeMap::new(),
        created_at: now,
        last_changed: now,
        truth: Truth {
            phase: Phase::Passive,
            frailty: 1.0,
            engagement: 0.0,
            performance: 0.0,
            hazard: Vec::new(),
            seat: None,
            rung: 0,
            rating: None,
            last_raise: hired_on,
            last_promotion: hired_on,
            manager_changed: None,
            recognised: None,
            overtime_per_year: 0.0,
            overtime_weeks: 0,
            training_weeks: 0,
            on_leave_until: None,
        },
    }
}
