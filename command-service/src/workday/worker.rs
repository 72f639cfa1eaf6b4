//! What Workday says of a worker as of a day, in the domain's words.
//!
//! | Workday | here |
//! |---|---|
//! | an element that is missing | unsaid: the integration user may not see it, so what is on file stays |
//! | `Termination_Date` | the last day of the employment: the day after is the first one away |
//! | `Position_Data/@Effective_Date` | since when title, location and hours hold |
//! | `Compensation_Effective_Date` | since when the pay holds |
//! | organisations and managers | have no day: [`super::history`] looks for it |
//! | dates such as `2025-03-14-08:00` | their first ten characters: the offset is the server's |

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::{
    Date,
    connection::Workday,
    employee::{Ended, Said, Standing, Voluntariness, WeeklyMinutes},
    money::{Currency, PayRate},
};
use roxmltree::Node;

use super::{
    history::Part,
    soap::{at, attribute, children, id, text},
};
use crate::{
    source::{OTHER_CHARS_MAX, Problem, Warning},
    words,
};

/// What holds on a day.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    pub standing: Part<Standing>,
    pub position: Part<Position>,
    pub organisation: Part<Organisation>,
    /// The manager's Employee_ID.
    pub manager: Part<Option<String>>,
    pub hours: Part<WeeklyMinutes>,
    pub pay: Part<Paid>,
    /// Whether there is a pay that could not be read.
    pub hides_pay: bool,
}

/// What has the day of the position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    pub title: Option<String>,
    pub location: Option<String>,
}

/// What has no day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Organisation {
    pub department: Option<String>,
    pub division: Option<String>,
}

/// A rate of pay, and Workday's word for why it is that.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    pub rate: PayRate,
    pub reason: Option<String>,
}

/// A worker as of a day. Personal throughout, so that nothing of it is shown.
#[derive(Clone, Default)]
pub struct Worker {
    /// The Employee_ID. It stays when the worker's WID changes.
    pub id: String,
    pub is_active: bool,
    /// The first day of the first employment.
    pub hired_on: Option<Date>,
    pub person: Person,
    pub state: State,
    /// The days on which anything became effective, as far as the log is shown.
    pub log: BTreeSet<Date>,
    /// What Tenure has no word for.
    pub other: BTreeMap<String, String>,
    pub warnings: Vec<Warning>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
pub struct Person {
    pub first_name: Said<String>,
    pub last_name: Said<String>,
    pub preferred_name: Said<String>,
    pub work_email: Said<String>,
    pub work_phone: Said<String>,
    pub mobile_phone: Said<String>,
    pub gender: Said<String>,
    pub date_of_birth: Said<Date>,
    pub ethnicity: Said<String>,
}

/// Whom a reference names. Contingent workers have no Employee_ID.
pub fn employee_id<'a>(reference: Node<'a, '_>) -> Option<&'a str> {
    id(reference, "Employee_ID")
}

/// A day as Workday writes it.
pub fn day(text: &str) -> Option<Date> {
    text.get(..10)?.parse().ok()
}

/// `1`, `true`.
fn is_set(text: &str) -> bool {
    matches!(text, "1" | "true")
}

/// Reads a `Worker` element that was asked for as of `on`. None: it has no Employee_ID.
pub fn read(worker: Node<'_, '_>, on: Date, account: &Workday) -> Option<Worker> {
    let id = at(worker, "Worker_Reference").and_then(employee_id)?;
    let mut reading = Reading {
        on,
        account,
        worker: Worker {
            id: id.to_owned(),
            ..Worker::default()
        },
    };
    if let Some(data) = at(worker, "Worker_Data") {
        reading.person(data);
        if let Some(employment) = at(data, "Employment_Data") {
            reading.standing(employment);
            reading.job(employment, data);
        }
        reading.manager(data);
        reading.pay(data);
        reading.worker.log = log(data);
    }
    Some(reading.worker)
}

struct Reading<'a> {
    on: Date,
    account: &'a Workday,
    worker: Worker,
}

impl Reading<'_> {
    fn warn(&mut self, field: &str, problem: Problem) {
        let field = field.to_owned();
        self.worker.warnings.push(Warning { field, problem });
    }

    fn keep(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let value = value.chars().take(OTHER_CHARS_MAX).collect();
            self.worker.other.entry(name.to_owned()).or_insert(value);
        }
    }

    /// The day in an element; one that does not read is told of.
    fn day(&mut self, node: Node<'_, '_>, name: &str) -> Option<Date> {
        let written = text(node, name).filter(|text| !text.is_empty())?;
        let read = day(written);
        if read.is_none() {
            self.warn(name, Problem::NotADay);
        }
        read
    }

    fn person(&mut self, data: Node<'_, '_>) {
        let Some(personal) = at(data, "Personal_Data") else {
            return;
        };
        let name = |of: &str, part: &str| {
            let said = at(personal, &format!("Name_Data/{of}/Name_Detail_Data"))?;
            text(said, part).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (first, last) = (
            name("Legal_Name_Data", "First_Name"),
            name("Legal_Name_Data", "Last_Name"),
        );
        let called = name("Preferred_Name_Data", "First_Name").filter(|called| Some(called) != first.as_ref());
        let person = &mut self.worker.person;
        // Without a preferred name the legal one is what they are called.
        person.preferred_name = at(personal, "Name_Data").map(|_| called);
        person.first_name = first.map(Some);
        person.last_name = last.map(Some);
        if let Some(contact) = at(personal, "Contact_Data") {
            // Of a kind of which nothing is shown, nothing is said.
            let shows = |kind: &str| at(contact, kind).is_some();
            person.work_email = shows("Email_Address_Data").then(|| work_email(contact));
            person.work_phone = shows("Phone_Data").then(|| work_phone(contact, false));
            person.mobile_phone = shows("Phone_Data").then(|| work_phone(contact, true));
        }
        // Flat until about v33, by country in `Personal_Information_Data` since.
        let anywhere = |name: &'static str| personal.descendants().find(move |node| node.tag_name().name() == name);
        person.gender = anywhere("Gender_Reference")
            .and_then(|it| id(it, "Gender_Code"))
            .map(|it| Some(it.to_owned()));
        person.ethnicity = anywhere("Ethnicity_Reference")
            .and_then(|it| id(it, "Ethnicity_ID"))
            .map(|it| Some(it.to_owned()));
        if let Some(parent) = anywhere("Birth_Date").and_then(|it| it.parent_element()) {
            self.worker.person.date_of_birth = self.day(parent, "Birth_Date").map(Some);
        }
    }

    fn standing(&mut self, employment: Node<'_, '_>) {
        let Some(status) = at(employment, "Worker_Status_Data") else {
            return;
        };
        let hired_on = self.day(status, "Hire_Date");
        let first = self.day(status, "Original_Hire_Date");
        self.worker.hired_on = first.into_iter().chain(hired_on).min();
        let flag = |name: &str| text(status, name).is_some_and(is_set);
        self.worker.is_active = flag("Active");
        let changed_on = self.day(status, "Active_Status_Date");
        let leave = children(status, "Leave_Status_Data").find(|leave| text(*leave, "On_Leave").is_some_and(is_set));
        let part = if flag("Hire_Rescinded") {
            Part {
                value: Some(Standing::Deleted),
                since: hired_on,
            }
        } else if flag("Terminated") && !self.worker.is_active {
            let last_day = self.day(status, "Termination_Date");
            let since = last_day
                .map(|last_day| last_day + TimeDelta::days(1))
                .filter(|since| *since <= self.on);
            Part {
                value: Some(Standing::Ended(ended(status))),
                since: since.or(changed_on),
            }
        } else if let Some(leave) = leave {
            Part {
                value: Some(Standing::OnLeave),
                since: self.day(leave, "Leave_Start_Date"),
            }
        } else if self.worker.is_active {
            let returned =
                children(status, "Leave_Status_Data").filter_map(|leave| day(text(leave, "First_Day_Of_Work")?));
            let since = returned.chain(hired_on).filter(|day| *day <= self.on).max();
            Part {
                value: Some(Standing::Working),
                since,
            }
        } else {
            // Hired, and not there yet; or not to be seen.
            Part::default()
        };
        self.worker.state.standing = part;
    }

    fn job(&mut self, employment: Node<'_, '_>, data: Node<'_, '_>) {
        // The primary position is the first; until v30 there was no level between.
        let jobs = children(employment, "Worker_Job_Data");
        let is_primary = |job: &Node<'_, '_>| attribute(*job, "Primary_Job").is_some_and(is_set);
        let jobs: Vec<_> = jobs.collect();
        let primary = jobs.iter().find(|job| is_primary(job)).or(jobs.first()).copied();
        let Some(position) = at(primary.unwrap_or(employment), "Position_Data") else {
            return;
        };
        let since = attribute(position, "Effective_Date")
            .and_then(day)
            .filter(|since| *since <= self.on);
        let filled = |path: &str| text(position, path).filter(|text| !text.is_empty()).map(str::to_owned);
        let title = filled("Business_Title").or_else(|| filled("Position_Title"));
        let profile = text(position, "Job_Profile_Summary_Data/Job_Profile_Name");
        let location = filled("Business_Site_Summary_Data/Name");
        let organisations = organisations(data);
        let of_type = |wanted: &str| {
            let mut fitting = organisations
                .iter()
                .filter(|(kind, _)| kind.eq_ignore_ascii_case(wanted));
            fitting.next().map(|(_, name)| name.clone())
        };
        let value = Some(Position {
            title: title.or_else(|| profile.map(str::to_owned)),
            location,
        });
        self.worker.state.position = Part { value, since };
        let organisation = Organisation {
            department: of_type(&self.account.department),
            division: of_type(&self.account.division),
        };
        let shown = at(data, "Organization_Data").map(|_| organisation);
        self.worker.state.organisation = Part {
            value: shown,
            since: None,
        };
        self.keep("Job_Profile_Name", profile);
        self.keep("Position_ID", text(position, "Position_ID"));
        let kind = |path: &str, of: &str| at(position, path).and_then(|reference| id(reference, of));
        self.keep("Employee_Type_ID", kind("Worker_Type_Reference", "Employee_Type_ID"));
        self.keep(
            "Position_Time_Type_ID",
            kind("Position_Time_Type_Reference", "Position_Time_Type_ID"),
        );
        for (kind, name) in &organisations {
            self.keep(&kind.to_uppercase(), Some(name));
        }
        if let Some(hours) = text(position, "Scheduled_Weekly_Hours") {
            match words::weekly_minutes(hours) {
                Ok(value) => self.worker.state.hours = Part { value, since },
                Err(()) => self.warn("Scheduled_Weekly_Hours", Problem::NotHours),
            }
        }
    }

    /// The nearest who is somebody else: chains begin at the top, and a manager's own ends with the organisation that they lead or are in.
    fn manager(&mut self, data: Node<'_, '_>) {
        let chain = at(data, "Management_Chain_Data/Worker_Supervisory_Management_Chain_Data");
        let levels: Vec<_> = chain
            .into_iter()
            .flat_map(|chain| chain.children())
            .filter(Node::is_element)
            .collect();
        let managers = levels
            .iter()
            .rev()
            .flat_map(|level| children(*level, "Manager_Reference"));
        let mut others = managers
            .map(employee_id)
            .filter(|manager| *manager != Some(&self.worker.id));
        let value = match (at(data, "Management_Chain_Data"), others.next()) {
            (_, Some(Some(manager))) => Some(Some(manager.to_owned())),
            // A contingent worker, who is not read: whoever was it before is not any more.
            (_, Some(None)) => {
                self.warn("Manager_Reference", Problem::UnknownManager);
                Some(None)
            }
            // Nobody above.
            (Some(_), None) => Some(None),
            (None, None) => None,
        };
        self.worker.state.manager = Part { value, since: None };
    }

    fn pay(&mut self, data: Node<'_, '_>) {
        let Some(compensation) = at(data, "Compensation_Data") else {
            return;
        };
        let since = self
            .day(compensation, "Compensation_Effective_Date")
            .filter(|since| *since <= self.on);
        let Some(summary) = at(compensation, "Employee_Compensation_Summary_Data") else {
            return;
        };
        let warnings = self.worker.warnings.len();
        let own = at(summary, "Employee_Compensation_Summary_Data").and_then(|own| self.rate(own));
        let rate = match own {
            Some((rate, false)) => Some(rate),
            // Hourly rates are often written to six decimals, where the year's is exact.
            Some((rounded, true)) => match at(summary, "Annualized_Summary_Data").and_then(|year| self.rate(year)) {
                Some((exact, false)) => Some(exact),
                Some((_, true)) | None => {
                    self.warn("Total_Base_Pay", Problem::Rounded);
                    Some(rounded)
                }
            },
            None => at(summary, "Annualized_Summary_Data")
                .and_then(|year| self.rate(year))
                .map(|(rate, _)| rate),
        };
        let reason = at(compensation, "Reason_Reference")
            .and_then(|reference| label(reference, "Event_Classification_Subcategory_ID"));
        self.worker.state.hides_pay = rate.is_none() && self.worker.warnings.len() > warnings;
        self.worker.state.pay = Part {
            value: rate.map(|rate| Paid { rate, reason }),
            since,
        };
    }

    /// The rate of a summary, and whether it was rounded. Zero is none: what nobody entered is written so.
    fn rate(&mut self, summary: Node<'_, '_>) -> Option<(PayRate, bool)> {
        let amount = text(summary, "Total_Base_Pay").filter(|text| !text.is_empty())?;
        let currency = at(summary, "Currency_Reference").and_then(|reference| id(reference, "Currency_ID"))?;
        let frequency = at(summary, "Frequency_Reference").and_then(|reference| id(reference, "Frequency_ID"))?;
        let currency: Result<Currency, _> = currency.parse();
        let (amount, is_rounded) = match currency.and_then(|currency| words::money(amount, currency)) {
            Ok(read) => read,
            Err(problem) => {
                self.warn("Total_Base_Pay", Problem::NotARate(problem));
                return None;
            }
        };
        let Some(per) = words::period(frequency) else {
            self.warn("Frequency_ID", Problem::UnknownPeriod);
            return None;
        };
        (amount.minor_units != 0).then_some((PayRate { amount, per }, is_rounded))
    }
}

/// How an employment ended. `Termination_Involuntary` is Workday's own; categories and reasons are the customer's words.
fn ended(status: Node<'_, '_>) -> Ended {
    let word = |name: &str, kinds: &[&str]| {
        let reference = at(status, name)?;
        kinds.iter().find_map(|kind| label(reference, kind))
    };
    let category = word("Primary_Termination_Category_Reference", &["Termination_Category_ID"]);
    let kinds = ["Event_Classification_Subcategory_ID", "Termination_Subcategory_ID"];
    let reason = word("Primary_Termination_Reason_Reference", &kinds);
    let told = |word: &Option<String>| word.clone().unwrap_or_default();
    let voluntariness = match words::voluntariness(&told(&category), &told(&reason)) {
        Voluntariness::Unknown => match text(status, "Termination_Involuntary") {
            Some(flag) if is_set(flag) => Voluntariness::Involuntary,
            Some(_) | None => Voluntariness::Unknown,
        },
        known => known,
    };
    Ended::new(voluntariness, reason.or(category))
}

/// What a reference is called: its descriptor, if Workday shows one, or else its identifier without underscores.
fn label(reference: Node<'_, '_>, kind: &str) -> Option<String> {
    let descriptor = attribute(reference, "Descriptor").filter(|text| !text.trim().is_empty());
    descriptor
        .map(str::to_owned)
        .or_else(|| id(reference, kind).map(|id| id.replace('_', " ")))
}

/// The days on which the transactions became effective that were not taken back.
fn log(data: Node<'_, '_>) -> BTreeSet<Date> {
    let entries = at(data, "Transaction_Log_Entry_Data");
    let entries = entries
        .into_iter()
        .flat_map(|all| children(all, "Transaction_Log_Entry"));
    let kept = entries.filter_map(|entry| at(entry, "Transaction_Log_Data"));
    let kept = kept.filter(|entry| !text(*entry, "Is_Rescind_Or_Rescinded").is_some_and(is_set));
    kept.filter_map(|entry| day(text(entry, "Transaction_Effective_Moment")?))
        .collect()
}

/// Types and names of the organisations in which somebody is, in order.
fn organisations(data: Node<'_, '_>) -> Vec<(String, String)> {
    let Some(all) = at(data, "Organization_Data") else {
        return Vec::new();
    };
    let memberships = children(all, "Worker_Organization_Data");
    let named = memberships.filter_map(|membership| {
        let organisation = at(membership, "Organization_Data")?;
        let kind = at(organisation, "Organization_Type_Reference")
            .and_then(|reference| id(reference, "Organization_Type_ID"))?;
        let name = text(organisation, "Organization_Name").filter(|name| !name.is_empty())?;
        Some((kind.to_owned(), name.to_owned()))
    });
    named.collect()
}

/// Whether an address is for work, and whether it is the first choice. None: it is not for work.
fn work_usage(address: Node<'_, '_>) -> Option<bool> {
    let types = children(address, "Usage_Data").flat_map(|usage| children(usage, "Type_Data").collect::<Vec<_>>());
    let of_work = types.filter(|kind| {
        let reference = at(*kind, "Type_Reference");
        reference.and_then(|reference| id(reference, "Communication_Usage_Type_ID")) == Some("WORK")
    });
    of_work.map(|kind| attribute(kind, "Primary").is_some_and(is_set)).max()
}

fn work_email(contact: Node<'_, '_>) -> Option<String> {
    let all =
        children(contact, "Email_Address_Data").filter_map(|one| Some((work_usage(one)?, text(one, "Email_Address")?)));
    let filled = all.filter(|(_, address)| !address.is_empty());
    first_choice(filled).map(str::to_owned)
}

fn work_phone(contact: Node<'_, '_>, is_mobile: bool) -> Option<String> {
    let all = children(contact, "Phone_Data").filter_map(|one| {
        let device = at(one, "Phone_Device_Type_Reference").and_then(|reference| id(reference, "Phone_Device_Type_ID"));
        let fits = device.is_some_and(|device| device.eq_ignore_ascii_case("mobile")) == is_mobile;
        let number = [
            "E164_Formatted_Phone",
            "International_Formatted_Phone",
            "Formatted_Phone",
            "Tenant_Formatted_Phone",
        ];
        let number = number
            .iter()
            .find_map(|name| attribute(one, name))
            .or_else(|| text(one, "Phone_Number"));
        fits.then_some((work_usage(one)?, number?))
    });
    first_choice(all.filter(|(_, number)| !number.is_empty())).map(str::to_owned)
}

/// The first that is the first choice, or else the first.
fn first_choice<'a>(all: impl Iterator<Item = (bool, &'a str)>) -> Option<&'a str> {
    let all: Vec<(bool, &str)> = all.collect();
    let primary = all.iter().find(|(is_primary, _)| *is_primary);
    primary.or(all.first()).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests;
