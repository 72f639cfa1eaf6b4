//! A retail company that never existed: its people, their history, and what truly drives them to leave.
//!
//! [`Company::generate`] is a deterministic function of a [`Plan`]: the same seed gives the same company, on the same
//! platform to the last digit (transcendental functions may differ in the last place between platforms).
//!
//! # The process
//! Time moves in weeks from `today - years` to `today`. Each week, in this order: team exits decay; annual rounds are
//! held (reviews in ISO weeks 4 and 30, surveys in 7, 20, 33 and 46, the merit round in week 11 for the first of
//! April, promotions in weeks 13 and 39); every employee takes one step; vacant seats whose search is over are filled;
//! corrections that were found are entered.
//!
//! Who searches, gives notice and is promoted is the process of [`ml_pipeline::synthetic::process`], with this company's own
//! intercepts; why `tenure synth` has people without an organisation beside this, it says too. What is told here is what an
//! organisation adds to it.
//!
//! # What is assumed beside the process (or instead of `facts/prediction.md`, section 5)
//! - Frailty of those already employed at the start is drawn from its exact distribution given that they are still
//!   there (gamma is conjugate: the rate grows by the accumulated hazard), in place of a burn-in.
//! - The order to return to the office concerns head office only and is off unless [`Plan::return_to_office_on`] is set.
//! - "overtime" means overtime in three or more of the last eight weeks.
//! - Trainings appear as the assessment that ends them; goals, feedback, one-on-ones, timesheets and payslips are left
//!   out; managers' notes come at .8 a year (an assumption) and carry no signal about searching.
//! - Involuntary exits (3 % a year) are more likely after a rating of 2 or less.
//! - Promotions are independent draws, but rungs that exist only as a seat (manager and above) also need a vacant
//!   one; a draw without one is lost. The head of the company never leaves, so that the tree has one root.
//! - A transfer goes to a vacant seat of the same job elsewhere; location and remote policy do not change otherwise.
//! - Name, phone and hours changes happen only in the living company ([`Company::next_change`]): BambooHR keeps no
//!   history of them, so a past one could not be seen.
//! - Of late entries, only table rows are; 1.5 % of merit rows carry a wrong rate until they are corrected 31 to 90 days
//!   later. Duplicates and disorder belong to the transport, not to the company.
//! - Manager changes come at .4 to .6 a year in place of .30: when a manager leaves, the team first reports one level up and
//!   then to the successor, which are two changes.
//! - Rows that lie before the start of the history name the manager of the start.

pub mod draw;
mod edit;
mod generate;
mod live;
pub mod names;
pub mod organisation;
mod steps;
#[cfg(test)]
mod tests;

pub use edit::{EditRefused, Table};
pub use live::{Change, ChangeAction};
pub use ml_pipeline::synthetic::process::Phase;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use ml_pipeline::synthetic::process;
use names::Mailboxes;
use organisation::Organisation;
use std::collections::BTreeMap;
use std::fmt;

/// Smallest company that has a tree.
pub const EMPLOYEES_MIN: usize = 5;
/// Largest company that is generated.
pub const EMPLOYEES_MAX: usize = 200_000;
/// Longest history that is generated.
pub const HISTORY_YEARS_MAX: u32 = 20;
/// Status rows with this word end an employment.
pub const TERMINATED: &str = "Terminated";
/// Status rows with this word begin a leave.
pub const LEAVE_OF_ABSENCE: &str = "Leave of Absence";
/// The ordinary status.
pub const FULL_TIME: &str = "Full-Time";
/// Status of those who work fewer hours.
pub const PART_TIME: &str = "Part-Time";
/// What everybody is paid in.
pub const CURRENCY: &str = "USD";

/// What to generate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The same seed gives the same company.
    pub seed: u64,
    /// How many people it employs, within a few per cent.
    pub employees: usize,
    /// How long its history is.
    pub years: u32,
    /// The last day of the history.
    pub today: NaiveDate,
    /// Known amount of discrimination against women in promotions; 0 for none, 1 for -.30 in the logit.
    pub promotion_bias: f64,
    /// When head office was ordered back, if it was.
    pub return_to_office_on: Option<NaiveDate>,
}

impl Plan {
    /// A fair company without an order to return to the office.
    pub fn new(seed: u64, employees: usize, years: u32, today: NaiveDate) -> Self {
        Self {
            seed,
            employees,
            years,
            today,
            promotion_bias: 0.0,
            return_to_office_on: None,
        }
    }
}

/// An employee's number inside the company; BambooHR writes it as a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmployeeId(pub u32);

impl fmt::Display for EmployeeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for EmployeeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// As BambooHR records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gender {
    /// Female.
    Female,
    /// Male.
    Male,
}

impl Gender {
    /// BambooHR's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Female => "Female",
            Self::Male => "Male",
        }
    }
}

/// A row of the table `jobInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobInfoRow {
    /// Unique in the company.
    pub id: u64,
    /// From this day on.
    pub date: NaiveDate,
    /// Store or head office.
    pub location: String,
    /// Department.
    pub department: String,
    /// Region.
    pub division: String,
    /// Job title.
    pub job_title: String,
    /// The manager; the wire shows only the display name.
    pub reports_to: Option<EmployeeId>,
    /// When it was entered. Not on the wire.
    pub recorded_on: NaiveDate,
}

/// How a rate is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayType {
    /// Per hour.
    Hourly,
    /// Per year.
    Salary,
}

impl PayType {
    /// BambooHR's word in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "Hourly",
            Self::Salary => "Salary",
        }
    }

    /// BambooHR's word in `paidPer`.
    pub fn paid_per(self) -> &'static str {
        match self {
            Self::Hourly => "Hour",
            Self::Salary => "Year",
        }
    }
}

/// A row of the table `compensation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompensationRow {
    /// Unique in the company.
    pub id: u64,
    /// From this day on.
    pub start_date: NaiveDate,
    /// Cents per hour or per year.
    pub rate_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Hourly or salary; also decides `paidPer`.
    pub pay_type: PayType,
    /// Exempt from overtime pay.
    pub exempt: bool,
    /// Why it changed.
    pub reason: String,
    /// Free text.
    pub comment: String,
    /// Name of the pay schedule.
    pub pay_schedule: String,
    /// When it was entered. Not on the wire.
    pub recorded_on: NaiveDate,
}

impl CompensationRow {
    /// The rate in units with two decimals, as on the wire.
    pub fn rate_decimal(&self) -> String {
        format!("{}.{:02}", self.rate_cents / 100, self.rate_cents % 100)
    }
}

/// A row of the table `employmentStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmploymentStatusRow {
    /// Unique in the company.
    pub id: u64,
    /// From this day on.
    pub date: NaiveDate,
    /// A word of the customer's own list, such as [`FULL_TIME`] or [`TERMINATED`].
    pub employment_status: String,
    /// Free text.
    pub comment: String,
    /// `Voluntary` or `Involuntary`, on terminations.
    pub termination_type: Option<String>,
    /// Why, on terminations.
    pub termination_reason: Option<String>,
    /// When it was entered. Not on the wire.
    pub recorded_on: NaiveDate,
}

/// What only the generator knows about somebody.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Where they stand on the way out.
    pub phase: Phase,
    /// Latent frailty.
    pub frailty: f64,
    /// Latent mood.
    pub engagement: f64,
    /// Latent performance.
    pub performance: f64,
    /// The true hazard, every four weeks of employment.
    pub hazard: Vec<HazardPoint>,
    pub(crate) seat: Option<usize>,
    pub(crate) rung: usize,
    pub(crate) rating: Option<u8>,
    pub(crate) last_raise: NaiveDate,
    pub(crate) last_promotion: NaiveDate,
    pub(crate) manager_changed: Option<NaiveDate>,
    pub(crate) recognised: Option<NaiveDate>,
    pub(crate) overtime_per_year: f64,
    /// One bit per week, the latest lowest.
    pub(crate) overtime_weeks: u8,
    /// One bit per week, the latest lowest.
    pub(crate) training_weeks: u32,
    pub(crate) on_leave_until: Option<NaiveDate>,
}

/// The true hazard on one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HazardPoint {
    /// The day.
    pub on: NaiveDate,
    /// Logarithm of the yearly rate of starting to search.
    pub search_log_rate: f64,
    /// Where they stood.
    pub phase: Phase,
}

impl HazardPoint {
    /// The true chance of notice within `weeks`, everything else staying as it was ([`process::notice_chance`]).
    pub fn notice_chance(&self, weeks: u32) -> f64 {
        process::notice_chance(self.search_log_rate.exp(), self.phase, weeks)
    }
}

/// One person, as BambooHR holds them.
#[derive(Debug, Clone)]
pub struct Employee {
    /// Key on the wire.
    pub id: EmployeeId,
    /// The number on the badge.
    pub employee_number: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// What they are called, where that differs.
    pub preferred_name: Option<String>,
    /// Work address.
    pub work_email: String,
    /// Mobile phone.
    pub mobile_phone: String,
    /// Gender.
    pub gender: Gender,
    /// Date of birth.
    pub date_of_birth: NaiveDate,
    /// Start of the present employment.
    pub hire_date: NaiveDate,
    /// Start of the first employment, for those hired again.
    pub original_hire_date: Option<NaiveDate>,
    /// Day of leaving; may lie ahead for those on notice.
    pub termination_date: Option<NaiveDate>,
    /// Contracted hours.
    pub standard_hours_per_week: u32,
    /// Where and as what; in the order of entry.
    pub job_info: Vec<JobInfoRow>,
    /// Pay; in the order of entry.
    pub compensation: Vec<CompensationRow>,
    /// Employment status; in the order of entry.
    pub employment_status: Vec<EmploymentStatusRow>,
    /// Field values set from outside, by alias; they win over everything computed.
    pub overrides: BTreeMap<String, String>,
    /// When the record was made.
    pub created_at: DateTime<Utc>,
    /// When anything about it last changed.
    pub last_changed: DateTime<Utc>,
    /// What only the generator knows.
    pub truth: Truth,
}

impl Employee {
    /// The name that the interface shows.
    pub fn display_name(&self) -> String {
        format!(
            "{} {}",
            self.preferred_name.as_deref().unwrap_or(&self.first_name),
            self.last_name
        )
    }

    /// The job row in force on a day; of two with the same date the later entry.
    pub fn job_on(&self, day: NaiveDate) -> Option<&JobInfoRow> {
        self.job_info
            .iter()
            .filter(|row| row.date <= day)
            .max_by_key(|row| row.date)
    }

    /// The compensation row in force on a day.
    pub fn pay_on(&self, day: NaiveDate) -> Option<&CompensationRow> {
        self.compensation
            .iter()
            .filter(|row| row.start_date <= day)
            .max_by_key(|row| row.start_date)
    }

    /// The status row in force on a day.
    pub fn status_on(&self, day: NaiveDate) -> Option<&EmploymentStatusRow> {
        self.employment_status
            .iter()
            .filter(|row| row.date <= day)
            .max_by_key(|row| row.date)
    }

    /// Whether they are employed on a day.
    pub fn is_employed_on(&self, day: NaiveDate) -> bool {
        self.status_on(day)
            .is_some_and(|row| row.employment_status != TERMINATED)
    }
}

/// Why somebody was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsenceKind {
    /// Ill.
    Sick,
    /// A private reason.
    Personal,
    /// Did not say.
    Unexcused,
}

/// What the talent systems recorded; BambooHR's public interface does not carry these.
#[derive(Debug, Clone, PartialEq)]
pub enum TalentRecord {
    /// A manager's rating, 1 to 5.
    Review {
        employee: EmployeeId,
        on: NaiveDate,
        rating: u8,
    },
    /// An answered pulse survey, 0 to 10.
    Survey {
        employee: EmployeeId,
        on: NaiveDate,
        score: u8,
    },
    /// Thanks from a colleague.
    Recognition {
        employee: EmployeeId,
        on: NaiveDate,
        from: EmployeeId,
    },
    /// Days away from work.
    Absence {
        employee: EmployeeId,
        from: NaiveDate,
        days: u32,
        kind: AbsenceKind,
    },
    /// Overtime in the week that begins on `week_of`.
    Overtime {
        employee: EmployeeId,
        week_of: NaiveDate,
        minutes: u32,
    },
    /// The assessment that ends a training, 0 to 100.
    Assessment {
        employee: EmployeeId,
        on: NaiveDate,
        name: &'static str,
        score: u8,
    },
    /// A manager's note.
    Note {
        employee: EmployeeId,
        on: NaiveDate,
        text: &'static str,
    },
}

impl TalentRecord {
    /// The day that it belongs to.
    pub fn date(&self) -> NaiveDate {
        match self {
            Self::Review { on, .. }
            | Self::Survey { on, .. }
            | Self::Recognition { on, .. }
            | Self::Assessment { on, .. }
            | Self::Note { on, .. } => *on,
            Self::Absence { from, .. } => *from,
            Self::Overtime { week_of, .. } => *week_of,
        }
    }

    /// Whom it is about.
    pub fn employee(&self) -> EmployeeId {
        match self {
            Self::Review { employee, .. }
            | Self::Survey { employee, .. }
            | Self::Recognition { employee, .. }
            | Self::Absence { employee, .. }
            | Self::Overtime { employee, .. }
            | Self::Assessment { employee, .. }
            | Self::Note { employee, .. } => *employee,
        }
    }
}

/// The company on its last simulated day, with all that happened before.
#[derive(Debug, Clone)]
pub struct Company {
    /// The name in front of `.bamboohr.com`.
    pub domain: String,
    /// BambooHR's number for the company.
    pub company_id: String,
    /// Present day; moved on by [`Company::next_change`].
    pub today: NaiveDate,
    /// Everybody who ever worked here, by id.
    pub employees: Vec<Employee>,
    /// Talent records, by date.
    pub talent: Vec<TalentRecord>,
    /// When records were deleted (not: terminated).
    pub deleted: BTreeMap<EmployeeId, DateTime<Utc>>,
    /// How many people it means to employ.
    pub headcount_wanted: usize,
    pub(crate) organisation: Organisation,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) vacancies: Vec<Vacancy>,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) next_row_id: u64,
    pub(crate) next_employee_id: u32,
    /// The moment of the step being taken, while the company lives; none while history is generated.
    pub(crate) live_at: Option<DateTime<Utc>>,
    pub(crate) journal: Vec<Change>,
}

/// A seat without a holder, and when the search for one ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vacancy {
    pub(crate) seat: usize,
    pub(crate) fill_on: NaiveDate,
}

/// A compensation row that was entered wrongly, and when that will be put right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correction {
    pub(crate) employee: EmployeeId,
    pub(crate) row: u64,
    pub(crate) rate_cents: i64,
    pub(crate) found_on: NaiveDate,
}

impl Company {
    /// Somebody by id.
    pub fn employee(&self, id: EmployeeId) -> Option<&Employee> {
        self.index_of(id).and_then(|index| self.employees.get(index))
    }

    /// Somebody by id, to be changed.
    pub fn employee_mut(&mut self, id: EmployeeId) -> Option<&mut Employee> {
        self.index_of(id).and_then(|index| self.employees.get_mut(index))
    }

    /// How many people are employed on a day.
    pub fn headcount_on(&self, day: NaiveDate) -> usize {
        self.employees
            .iter()
            .filter(|employee| employee.is_employed_on(day))
            .count()
    }

    /// The stores and head office, by name.
    pub fn location_names(&self) -> Vec<&str> {
        self.organisation
            .locations
            .iter()
            .map(|location| location.name.as_str())
            .collect()
    }

    /// Inserts a record in the order of ids and reserves its id.
    pub(crate) fn insert(&mut self, employee: Employee) {
        self.next_employee_id = self.next_employee_id.max(employee.id.0 + 1);
        let place = self.employees.partition_point(|other| other.id < employee.id);
        self.employees.insert(place, employee);
    }

    pub(crate) fn index_of(&self, id: EmployeeId) -> Option<usize> {
        self.employees.binary_search_by_key(&id, |employee| employee.id).ok()
    }

    pub(crate) fn row_id(&mut self) -> u64 {
        self.next_row_id += 1;
        self.next_row_id
    }
}

/// Midnight UTC at the start of a day.
pub(crate) fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
