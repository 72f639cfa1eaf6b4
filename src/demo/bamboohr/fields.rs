//! The fields of an employee and the rows of the tables, as BambooHR spells them.

use super::super::company::{Company, Employee, JobInfoRow, PayType, TERMINATED, Table};
use super::super::faults::RateShape;
use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A field as `meta/fields` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Number in BambooHR.
    pub id: u32,
    /// The name that people see, and that field-based webhooks carry.
    pub name: &'static str,
    /// BambooHR's type of it.
    pub kind: &'static str,
    /// The name in the API.
    pub alias: &'static str,
}

const fn field(id: u32, name: &'static str, kind: &'static str, alias: &'static str) -> Field {
    Field { id, name, kind, alias }
}

/// Every field of the simulation.
pub const FIELDS: &[Field] = &[
    field(1, "First Name", "text", "firstName"),
    field(2, "Last Name", "text", "lastName"),
    field(3, "Hire Date", "date", "hireDate"),
    field(4, "Department", "list", "department"),
    field(5, "Gender", "gender", "gender"),
    field(6, "Birth Date", "date", "dateOfBirth"),
    field(13, "Employee #", "employee_number", "employeeNumber"),
    field(15, "Status", "status", "status"),
    field(17, "Job Title", "list", "jobTitle"),
    field(18, "Location", "list", "location"),
    field(19, "Pay rate", "currency", "payRate"),
    field(22, "Pay type", "pay_type", "payType"),
    field(23, "Division", "list", "division"),
    field(60, "Mobile Phone", "phone", "mobilePhone"),
    field(80, "Work Email", "email", "workEmail"),
    field(91, "Reporting to", "employee", "supervisor"),
    field(157, "Termination Date", "date", "terminationDate"),
    field(174, "Original Hire Date", "date", "originalHireDate"),
    field(1355, "Preferred Name", "text", "preferredName"),
    field(1360, "Employment Status", "list", "employmentHistoryStatus"),
    field(1556, "Compensation Change Reason", "list", "payChangeReason"),
    field(1557, "Compensation: Date", "date", "payRateEffectiveDate"),
    field(1558, "Overtime Status", "exempt", "exempt"),
    field(4010, "Paid per", "paid_per", "payPer"),
    field(4011, "Pay Schedule", "pay_schedule", "paySchedule"),
    field(4314, "Display Name", "text", "displayName"),
    field(4315, "Last changed", "timestamp", "lastChanged"),
    field(4370, "Supervisor Employee #", "text", "supervisorEId"),
    field(4371, "Supervisor User #", "text", "supervisorId"),
    field(4500, "Standard Hours Per Week", "decimal", "standardHoursPerWeek"),
];

/// The field with an alias.
pub fn field_by_alias(alias: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.alias == alias)
}

/// How BambooHR writes a moment in answers.
pub const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S+00:00";

/// BambooHR numbers people's log-ins apart from employees; the simulation adds this to the employee's number.
const USER_ID_OFFSET: u32 = 2_000;

/// The value of a field on a day; `None` for a field that does not exist, `Some(None)` for an empty one.
pub fn value_of(company: &Company, employee: &Employee, alias: &str, day: NaiveDate) -> Option<Option<String>> {
    if let Some(given) = employee.overrides.get(alias) {
        return Some(Some(given.clone()).filter(|text| !text.is_empty()));
    }
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let job = |column: fn(&JobInfoRow) -> &String| employee.job_on(day).and_then(|row| text(column(row)));
    let pay = || employee.pay_on(day);
    let manager = || employee.job_on(day)?.reports_to;
    let left = employee
        .status_on(day)
        .is_some_and(|row| row.employment_status == TERMINATED);
    Some(match alias {
        "id" => Some(employee.id.to_string()),
        "firstName" => text(&employee.first_name),
        "lastName" => text(&employee.last_name),
        "preferredName" => employee.preferred_name.clone(),
        "displayName" => text(&employee.display_name()),
        "employeeNumber" => text(&employee.employee_number),
        "gender" => text(employee.gender.as_str()),
        "dateOfBirth" => Some(employee.date_of_birth.to_string()),
        "hireDate" => Some(employee.hire_date.to_string()),
        "originalHireDate" => employee.original_hire_date.map(|day| day.to_string()),
        "terminationDate" => employee
            .termination_date
            .filter(|last| *last <= day)
            .map(|day| day.to_string()),
        "workEmail" => text(&employee.work_email),
        "mobilePhone" => text(&employee.mobile_phone),
        "standardHoursPerWeek" => Some(employee.standard_hours_per_week.to_string()),
        "status" => text(if left { "Inactive" } else { "Active" }),
        "employmentHistoryStatus" => employee.status_on(day).and_then(|row| text(&row.employment_status)),
        "jobTitle" => job(|row| &row.job_title),
        "department" => job(|row| &row.department),
        "division" => job(|row| &row.division),
        "location" => job(|row| &row.location),
        "supervisor" => manager().and_then(|id| Some(company.employee(id)?.display_name())),
        "supervisorEId" => manager().map(|id| id.to_string()),
        "supervisorId" => manager().map(|id| (id.0.saturating_add(USER_ID_OFFSET)).to_string()),
        "payRate" => pay().map(|row| format!("{} {}", row.rate_decimal(), row.currency)),
        "payRateEffectiveDate" => pay().map(|row| row.start_date.to_string()),
        "payType" => pay().map(|row| row.pay_type.as_str().to_owned()),
        "payPer" => pay().map(|row| row.pay_type.paid_per().to_owned()),
        "payChangeReason" => pay().and_then(|row| text(&row.reason)),
        "paySchedule" => pay().and_then(|row| text(&row.pay_schedule)),
        "exempt" => pay().map(|row| exempt_word(row.exempt).to_owned()),
        "lastChanged" => Some(employee.last_changed.format(TIMESTAMP).to_string()),
        _ => return None,
    })
}

fn exempt_word(exempt: bool) -> &'static str {
    if exempt { "Exempt" } else { "Non-exempt" }
}

/// The rows of a table for one employee. They come in no order, as from BambooHR.
pub fn rows_of(
    company: &Company,
    employee: &Employee,
    table: Table,
    rate: RateShape,
    hidden: &BTreeSet<String>,
) -> Vec<Value> {
    let mut rows: Vec<Value> = match table {
        Table::JobInfo => employee
            .job_info
            .iter()
            .map(|row| job_row(company, employee, row))
            .collect(),
        Table::Compensation => employee
            .compensation
            .iter()
            .map(|row| {
                let amount = row.rate_decimal();
                json!({
                    "id": row.id.to_string(),
                    "employeeId": employee.id.to_string(),
                    "startDate": row.start_date.to_string(),
                    "rate": rate.render(&amount, &row.currency),
                    "type": row.pay_type.as_str(),
                    "exempt": exempt_word(row.exempt),
                    "reason": row.reason,
                    "comment": row.comment,
                    "paidPer": row.pay_type.paid_per(),
                    "paySchedule": row.pay_schedule,
                    "overtimeRate": overtime_rate(row.pay_type, row.rate_cents, &row.currency, rate),
                })
            })
            .collect(),
        Table::EmploymentStatus => employee
            .employment_status
            .iter()
            .map(|row| {
                json!({
                    "id": row.id.to_string(),
                    "employeeId": employee.id.to_string(),
                    "date": row.date.to_string(),
                    "employmentStatus": row.employment_status,
                    "comment": row.comment,
                    "terminationTypeId": row.termination_type,
                    "terminationReasonId": row.termination_reason,
                })
            })
            .collect(),
    };
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.retain(|column, _| !is_hidden(column, hidden));
    }
    let half = rows.len() / 2;
    rows.rotate_left(half);
    rows
}

fn job_row(company: &Company, employee: &Employee, row: &JobInfoRow) -> Value {
    let reports_to = row
        .reports_to
        .and_then(|id| company.employee(id))
        .map(Employee::display_name);
    json!({
        "id": row.id.to_string(),
        "employeeId": employee.id.to_string(),
        "date": row.date.to_string(),
        "location": row.location,
        "department": row.department,
        "division": row.division,
        "jobTitle": row.job_title,
        "reportsTo": reports_to,
    })
}

fn overtime_rate(pay_type: PayType, rate_cents: i64, currency: &str, shape: RateShape) -> Value {
    if pay_type == PayType::Salary {
        return Value::Null;
    }
    let cents = rate_cents * 3 / 2;
    shape.render(&format!("{}.{:02}", cents / 100, cents % 100), currency)
}

/// Columns of tables go by other names than the fields they feed.
fn is_hidden(column: &str, hidden: &BTreeSet<String>) -> bool {
    let alias = match column {
        "rate" | "overtimeRate" => "payRate",
        "reportsTo" => "supervisor",
        "employmentStatus" => "employmentHistoryStatus",
        "reason" => "payChangeReason",
        "type" => "payType",
        column => column,
    };
    hidden.contains(alias) || hidden.contains(column)
}

/// The flat object of the asked fields: those one may not see are left out, empty ones are null.
pub fn record_of(
    company: &Company,
    employee: &Employee,
    aliases: &[&str],
    day: NaiveDate,
    hidden: &BTreeSet<String>,
) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("id".to_owned(), Value::String(employee.id.to_string()));
    for alias in aliases.iter().filter(|alias| !hidden.contains(**alias)) {
        if let Some(value) = value_of(company, employee, alias, day) {
            record.insert((*alias).to_owned(), value.map_or(Value::Null, Value::String));
        }
    }
    record
}
