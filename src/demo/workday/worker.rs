//! A worker as of a day, as Workday writes it.

use super::super::company::{
    Company, CompensationRow, Employee, EmployeeId, EmploymentStatusRow, JobInfoRow, LEAVE_OF_ABSENCE, PayType,
    TERMINATED,
};
use super::api::Who;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use command_service::workday::soap::escape;
use std::collections::BTreeSet;

/// How far the servers' clock is behind UTC.
pub(super) const PACIFIC: TimeDelta = TimeDelta::hours(8);
/// Levels that are looked up the chain.
const LEVELS_MAX: usize = 32;

/// What was asked for.
pub(super) struct Asked {
    pub(super) on: NaiveDate,
    pub(super) today: NaiveDate,
    /// The flags of the response group that are set.
    pub(super) groups: BTreeSet<String>,
    /// Elements that the user may not see.
    pub(super) hidden: BTreeSet<String>,
}

impl Asked {
    /// Whether somebody is there on the day: a worker of the past is not before the first day, one of the future is.
    pub(super) fn shows(&self, employee: &Employee) -> bool {
        let first = first_day(employee);
        first <= self.on || first > self.today
    }

    fn wants(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    /// An element with its content, unless it may not be seen.
    fn element(&self, name: &str, content: impl AsRef<str>) -> String {
        let content = content.as_ref();
        if self.hidden.contains(name) || content.is_empty() {
            String::new()
        } else {
            format!("<wd:{name}>{content}</wd:{name}>")
        }
    }

    fn text(&self, name: &str, text: impl std::fmt::Display) -> String {
        self.element(name, escape(&text.to_string()))
    }
}

/// When a day begins there.
pub(super) fn day_begins(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() + PACIFIC
}

/// The days on which something becomes effective.
pub(super) fn effective_days(employee: &Employee) -> BTreeSet<NaiveDate> {
    let jobs = employee.job_info.iter().map(|row| row.date);
    let pay = employee.compensation.iter().map(|row| row.start_date);
    let status = employee.employment_status.iter().map(|row| row.date);
    jobs.chain(pay).chain(status).collect()
}

pub(super) fn first_day(employee: &Employee) -> NaiveDate {
    let original = employee.original_hire_date.unwrap_or(employee.hire_date);
    original.min(employee.hire_date)
}

/// A reference with its identifiers; the first is always the WID.
fn reference(name: &str, ids: &[(&str, &str)]) -> String {
    let ids: String = ids
        .iter()
        .map(|(kind, id)| format!("<wd:ID wd:type=\"{kind}\">{}</wd:ID>", escape(id)))
        .collect();
    format!("<wd:{name}>{ids}</wd:{name}>")
}

/// 32 hexadecimal digits that stand for something.
fn wid(kind: u32, number: u64) -> String {
    format!(
        "{:08x}{:08x}{number:016x}",
        kind.wrapping_mul(0x9e37_79b9),
        number.wrapping_mul(0x85eb_ca6b) as u32
    )
}

/// A worker's reference: the WID is another one after each hire, the Employee_ID stays.
fn worker_reference(name: &str, employee: EmployeeId, hires: usize) -> String {
    let number = u64::from(employee.0) << 8 | hires as u64;
    reference(
        name,
        &[("WID", &wid(1, number)), ("Employee_ID", &employee.to_string())],
    )
}

/// The status rows in order.
fn statuses(employee: &Employee) -> Vec<&EmploymentStatusRow> {
    let mut rows: Vec<&EmploymentStatusRow> = employee.employment_status.iter().collect();
    rows.sort_by_key(|row| row.date);
    // Of two of one day the later counts.
    rows.reverse();
    rows.dedup_by_key(|row| row.date);
    rows.reverse();
    rows
}

pub(super) fn worker(company: &Company, who: Who<'_>, asked: &Asked) -> String {
    let employee = match who {
        Who::OnRecord(employee) => employee,
        Who::Rescinded(id) => {
            let reference = worker_reference("Worker_Reference", id, 1);
            let status = format!("{}{}", asked.text("Active", 0), asked.text("Hire_Rescinded", 1));
            let employment = asked.element("Employment_Data", asked.element("Worker_Status_Data", status));
            return format!(
                "<wd:Worker>{reference}{}</wd:Worker>",
                asked.element("Worker_Data", employment)
            );
        }
    };
    let past: Vec<&EmploymentStatusRow> = statuses(employee)
        .into_iter()
        .filter(|row| row.date <= asked.on)
        .collect();
    let hires = past.iter().filter(|row| row.employment_status == TERMINATED).count() + 1;
    let mut data = [
        asked.text("Worker_ID", employee.id),
        asked.text("User_ID", &employee.work_email),
    ]
    .concat();
    if asked.wants("Include_Personal_Information") {
        data.push_str(&asked.element("Personal_Data", personal(employee, asked)));
    }
    let is_here = employee.is_employed_on(asked.on) && first_day(employee) <= asked.on;
    let job = employee.job_on(asked.on).filter(|_| is_here);
    if asked.wants("Include_Employment_Information") {
        // A position is held by those who are employed.
        let position = job.map(|job| position(employee, job, asked)).unwrap_or_default();
        let status = asked.element("Worker_Status_Data", status(employee, &past, asked));
        data.push_str(&asked.element("Employment_Data", [position, status].concat()));
    }
    if asked.wants("Include_Compensation")
        && let Some(pay) = employee.pay_on(asked.on).filter(|_| is_here)
    {
        data.push_str(&asked.element("Compensation_Data", compensation(pay, asked)));
    }
    if let Some(job) = job {
        if asked.wants("Include_Organizations") {
            data.push_str(&asked.element("Organization_Data", organisations(job, asked)));
        }
        if asked.wants("Include_Management_Chain_Data") {
            let levels = asked.element("Worker_Supervisory_Management_Chain_Data", chain(company, job, asked));
            // The head of the company has a chain without a level.
            if !asked.hidden.contains("Management_Chain_Data") {
                data.push_str(&format!(
                    "<wd:Management_Chain_Data>{levels}</wd:Management_Chain_Data>"
                ));
            }
        }
    }
    if asked.wants("Include_Transaction_Log_Data") {
        data.push_str(&asked.element("Transaction_Log_Entry_Data", log(employee, asked)));
    }
    let reference = worker_reference("Worker_Reference", employee.id, hires);
    let descriptor = asked.text("Worker_Descriptor", employee.display_name());
    format!(
        "<wd:Worker>{reference}{descriptor}{}</wd:Worker>",
        asked.element("Worker_Data", data)
    )
}

fn personal(employee: &Employee, asked: &Asked) -> String {
    let detail = |first: &str| {
        let parts = [
            asked.text("First_Name", first),
            asked.text("Last_Name", &employee.last_name),
        ]
        .concat();
        asked.element("Name_Detail_Data", parts)
    };
    let preferred = employee.preferred_name.as_deref().filter(|name| !name.is_empty());
    let names = [
        asked.element("Legal_Name_Data", detail(&employee.first_name)),
        asked.element("Preferred_Name_Data", preferred.map(detail).unwrap_or_default()),
    ]
    .concat();
    let usage = |public: u8, kind: &str| {
        let id = reference(
            "Type_Reference",
            &[
                ("WID", &wid(2, u64::from(public))),
                ("Communication_Usage_Type_ID", kind),
            ],
        );
        format!(
            "<wd:Usage_Data wd:Public=\"{public}\"><wd:Type_Data wd:Primary=\"1\">{id}</wd:Type_Data></wd:Usage_Data>"
        )
    };
    let email = |address: &str, public: u8, kind: &str| {
        if address.is_empty() {
            return String::new();
        }
        asked.element(
            "Email_Address_Data",
            [asked.text("Email_Address", address), usage(public, kind)].concat(),
        )
    };
    let phone = escape(&employee.mobile_phone);
    let phone = if phone.is_empty() {
        String::new()
    } else {
        let device = reference(
            "Phone_Device_Type_Reference",
            &[("WID", &wid(3, 1)), ("Phone_Device_Type_ID", "Mobile")],
        );
        format!(
            "<wd:Phone_Data wd:E164_Formatted_Phone=\"{phone}\">{device}{}</wd:Phone_Data>",
            usage(1, "WORK")
        )
    };
    let contact = [
        email("private@home.example", 0, "HOME"),
        email(&employee.work_email, 1, "WORK"),
        phone,
    ]
    .concat();
    let gender = reference(
        "Gender_Reference",
        &[("WID", &wid(4, 1)), ("Gender_Code", employee.gender.as_str())],
    );
    let born = asked.text("Birth_Date", format!("{}-07:00", employee.date_of_birth));
    let gender = if asked.hidden.contains("Gender_Reference") {
        String::new()
    } else {
        gender
    };
    [
        asked.element("Name_Data", names),
        asked.element(
            "Personal_Information_Data",
            [
                asked.element(
                    "Personal_Information_For_Country_Data",
                    asked.element("Country_Personal_Information_Data", gender),
                ),
                born,
            ]
            .concat(),
        ),
        asked.element("Contact_Data", contact),
    ]
    .concat()
}

fn status(employee: &Employee, past: &[&EmploymentStatusRow], asked: &Asked) -> String {
    let first = first_day(employee);
    let here = past.last().filter(|_| first <= asked.on);
    let terminated = here.filter(|row| row.employment_status == TERMINATED);
    // The first day of the present employment, or of the last.
    let is_end = |row: &&EmploymentStatusRow| row.employment_status == TERMINATED;
    let before_last = terminated.map_or(past.len(), |_| past.len() - 1);
    let earlier_end = past[..before_last].iter().rposition(is_end);
    let hired_on = earlier_end
        .and_then(|end| past.get(end + 1))
        .map_or(first, |row| row.date);
    let active = here.is_some() && terminated.is_none();
    let changed_on = terminated.map_or(hired_on, |row| row.date);
    let flag = |name: &str, set: bool| asked.text(name, u8::from(set));
    let mut status = [
        flag("Active", active),
        asked.text("Active_Status_Date", changed_on),
        asked.text("Hire_Date", hired_on),
        asked.text("Original_Hire_Date", first),
        flag("Terminated", terminated.is_some()),
    ]
    .concat();
    if let Some(row) = terminated {
        let category = row
            .termination_type
            .as_deref()
            .map_or("Terminate_Employee_Other".to_owned(), |kind| {
                format!("Terminate_Employee_{kind}")
            });
        let reason = format!(
            "{category}_{}",
            row.termination_reason.as_deref().unwrap_or_default().replace(' ', "_")
        );
        status.push_str(&asked.text("Termination_Date", row.date - TimeDelta::days(1)));
        status.push_str(&reference(
            "Primary_Termination_Reason_Reference",
            &[("WID", &wid(5, 1)), ("Event_Classification_Subcategory_ID", &reason)],
        ));
        status.push_str(&reference(
            "Primary_Termination_Category_Reference",
            &[("WID", &wid(6, 1)), ("Termination_Category_ID", &category)],
        ));
        status.push_str(&flag(
            "Termination_Involuntary",
            row.termination_type.as_deref() == Some("Involuntary"),
        ));
    }
    for (index, row) in past
        .iter()
        .enumerate()
        .filter(|(_, row)| row.employment_status == LEAVE_OF_ABSENCE)
    {
        let before = index.checked_sub(1).and_then(|before| past.get(before));
        if before.is_some_and(|before| before.employment_status == LEAVE_OF_ABSENCE) {
            continue;
        }
        let end = past[index..]
            .iter()
            .find(|row| row.employment_status != LEAVE_OF_ABSENCE);
        let mut leave = [
            flag("On_Leave", end.is_none()),
            asked.text("Leave_Start_Date", row.date),
        ]
        .concat();
        if let Some(end) = end.filter(|end| end.employment_status != TERMINATED) {
            leave.push_str(&asked.text("Leave_End_Date", end.date - TimeDelta::days(1)));
            leave.push_str(&asked.text("First_Day_Of_Work", end.date));
        }
        status.push_str(&asked.element("Leave_Status_Data", leave));
    }
    status
}

fn position(employee: &Employee, job: &JobInfoRow, asked: &Asked) -> String {
    // Since when title and location are what they are; an organisation that changes does not move the day.
    let mut rows: Vec<&JobInfoRow> = employee.job_info.iter().filter(|row| row.date <= asked.on).collect();
    rows.sort_by_key(|row| row.date);
    let other = rows
        .iter()
        .rposition(|row| row.job_title != job.job_title || row.location != job.location);
    let since = rows
        .get(other.map_or(0, |other| other + 1))
        .map_or(job.date, |row| row.date);
    let profile = asked.element(
        "Job_Profile_Summary_Data",
        asked.text("Job_Profile_Name", format!("{} (profile)", job.job_title)),
    );
    let site = asked.element("Business_Site_Summary_Data", asked.text("Name", &job.location));
    let data = [
        asked.text("Position_ID", format!("P-{}", employee.id)),
        asked.text("Position_Title", format!("Position of {}", employee.id)),
        asked.text("Business_Title", &job.job_title),
        asked.text("Start_Date", first_day(employee)),
        reference(
            "Worker_Type_Reference",
            &[("WID", &wid(7, 1)), ("Employee_Type_ID", "Regular")],
        ),
        asked.text("Scheduled_Weekly_Hours", employee.standard_hours_per_week),
        profile,
        site,
    ]
    .concat();
    if asked.hidden.contains("Position_Data") {
        return String::new();
    }
    format!(
        "<wd:Worker_Job_Data wd:Primary_Job=\"1\"><wd:Position_Data wd:Effective_Date=\"{since}-08:00\">{data}</wd:Position_Data></wd:Worker_Job_Data>"
    )
}

fn compensation(pay: &CompensationRow, asked: &Asked) -> String {
    let summary = |name: &str, amount: &str, frequency: &str| {
        let content = [
            asked.text("Total_Base_Pay", amount),
            asked.text("Primary_Compensation_Basis", 0),
            reference(
                "Currency_Reference",
                &[("WID", &wid(8, 1)), ("Currency_ID", &pay.currency)],
            ),
            reference(
                "Frequency_Reference",
                &[("WID", &wid(9, 1)), ("Frequency_ID", frequency)],
            ),
        ]
        .concat();
        asked.element(name, content)
    };
    let frequency = match pay.pay_type {
        PayType::Hourly => "Hourly",
        PayType::Salary => "Annual",
    };
    let reason = format!("Request_Compensation_Change_{}", pay.reason.replace(' ', "_"));
    let own = summary("Employee_Compensation_Summary_Data", &pay.rate_decimal(), frequency);
    [
        asked.text("Compensation_Effective_Date", format!("{}-08:00", pay.start_date)),
        reference(
            "Reason_Reference",
            &[("WID", &wid(10, 1)), ("Event_Classification_Subcategory_ID", &reason)],
        ),
        asked.element("Employee_Compensation_Summary_Data", own),
    ]
    .concat()
}

fn organisations(job: &JobInfoRow, asked: &Asked) -> String {
    let one = |kind: &str, name: &str| {
        let named = [
            asked.text("Organization_Reference_ID", format!("{kind}_{name}")),
            asked.text("Organization_Name", name),
            reference(
                "Organization_Type_Reference",
                &[("WID", &wid(11, 1)), ("Organization_Type_ID", kind)],
            ),
        ]
        .concat();
        let named = format!("<wd:Organization_Data>{named}</wd:Organization_Data>");
        let content = [
            reference(
                "Organization_Reference",
                &[("WID", &wid(12, 1)), ("Organization_Reference_ID", name)],
            ),
            named,
        ]
        .concat();
        if name.is_empty() {
            String::new()
        } else {
            asked.element("Worker_Organization_Data", content)
        }
    };
    [
        one("COMPANY", "Acme"),
        one("Supervisory", &job.department),
        one("BUSINESS_UNIT", &job.division),
    ]
    .concat()
}

/// From the top down to the manager.
fn chain(company: &Company, job: &JobInfoRow, asked: &Asked) -> String {
    let mut managers: Vec<EmployeeId> = Vec::new();
    let mut next = job.reports_to;
    while let Some(manager) = next
        && managers.len() < LEVELS_MAX
        && !managers.contains(&manager)
    {
        managers.push(manager);
        next = company
            .employee(manager)
            .and_then(|manager| manager.job_on(asked.on)?.reports_to);
    }
    let levels = managers.iter().rev().map(|manager| {
        let organisation = reference("Organization_Reference", &[("WID", &wid(13, u64::from(manager.0)))]);
        asked.element(
            "Management_Chain_Data",
            [organisation, worker_reference("Manager_Reference", *manager, 1)].concat(),
        )
    });
    levels.collect()
}

fn log(employee: &Employee, asked: &Asked) -> String {
    let entries = effective_days(employee).into_iter().map(|day| {
        let data = [
            asked.text("Transaction_Log_Description", "Something"),
            asked.text("Transaction_Effective_Moment", format!("{day}T00:00:00.000-08:00")),
            asked.text("Is_Rescind_Or_Rescinded", 0),
        ]
        .concat();
        asked.element("Transaction_Log_Entry", asked.element("Transaction_Log_Data", data))
    });
    entries.collect()
}
