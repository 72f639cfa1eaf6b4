//! What an HRIS says now, and the business events that explain it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Contact, DAYS_AHEAD_MAX, Demographics, Employee, Ended, Ending, Event, File, GiveNotice, Hired, Job, Moved, Name,
    PayChanged, Rejection, Source, Standing, WeeklyMinutes,
};
use crate::{Aggregate, Date, Dated, Personal, id::EmployeeId, money::PayRate};

/// What a source says of one person. What it does not say (`None`, [`Rows::default`]) is not compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub source: Source,
    /// The source's own day when it said so: what it calls current is true on this day.
    pub as_of: Date,
    pub hired_on: Option<Date>,
    pub name: Option<Personal<Name>>,
    pub contact: Option<Personal<Contact>>,
    pub demographics: Option<Personal<Demographics>>,
    /// At work, on leave, gone. A future ending is a notice.
    pub standing: Rows<Standing>,
    pub jobs: Rows<Job>,
    pub managers: Rows<Option<EmployeeId>>,
    pub pay: Rows<Personal<PayRate>>,
    /// The source's words for changes of pay, by their day.
    pub pay_reasons: BTreeMap<Date, Personal<String>>,
    pub hours: Rows<WeeklyMinutes>,
    /// The days on which the source calls a change of job a promotion.
    pub promotions: BTreeSet<Date>,
    /// Fields that the source sent and Tenure has no word for.
    pub other: Option<Personal<BTreeMap<String, String>>>,
    /// Parts of what is said above that the source did not say, because it may not or was not asked: they stay as on file.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unsaid: BTreeSet<Field>,
}

/// Of a part of what a source says: left out, cleared, or a value.
pub type Said<T> = Option<Option<T>>;

/// A part of what belongs together and that a source can withhold by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    FirstName,
    LastName,
    PreferredName,
    WorkEmail,
    WorkPhone,
    MobilePhone,
    Gender,
    DateOfBirth,
    Ethnicity,
    JobTitle,
    Department,
    Division,
    Location,
    /// One of [`Snapshot::other`], by its name there.
    Other(String),
}

impl Snapshot {
    /// A snapshot that says nothing yet.
    #[must_use]
    pub fn silent(source: Source, as_of: Date) -> Self {
        Self {
            source,
            as_of,
            hired_on: None,
            name: None,
            contact: None,
            demographics: None,
            standing: Rows::default(),
            jobs: Rows::default(),
            managers: Rows::default(),
            pay: Rows::default(),
            pay_reasons: BTreeMap::new(),
            hours: Rows::default(),
            promotions: BTreeSet::new(),
            other: None,
            unsaid: BTreeSet::new(),
        }
    }

    /// Says the parts of a name. What is left out stays as on file; if everything is, nothing is said.
    pub fn say_name(&mut self, first: Said<String>, last: Said<String>, preferred: Said<String>) {
        let parts = [
            (first.is_some(), Field::FirstName),
            (last.is_some(), Field::LastName),
            (preferred.is_some(), Field::PreferredName),
        ];
        if self.say_any(parts) {
            self.name = Some(Personal::Open(Name {
                first: first.flatten().unwrap_or_default(),
                last: last.flatten().unwrap_or_default(),
                preferred: preferred.flatten(),
            }));
        }
    }

    /// Says how to reach a person, as [`Self::say_name`] says the name.
    pub fn say_contact(&mut self, work_email: Said<String>, work_phone: Said<String>, mobile_phone: Said<String>) {
        let parts = [
            (work_email.is_some(), Field::WorkEmail),
            (work_phone.is_some(), Field::WorkPhone),
            (mobile_phone.is_some(), Field::MobilePhone),
        ];
        if self.say_any(parts) {
            self.contact = Some(Personal::Open(Contact {
                work_email: work_email.flatten(),
                work_phone: work_phone.flatten(),
                mobile_phone: mobile_phone.flatten(),
            }));
        }
    }

    /// Says protected attributes, as [`Self::say_name`] says the name.
    pub fn say_demographics(&mut self, gender: Said<String>, date_of_birth: Said<Date>, ethnicity: Said<String>) {
        let parts = [
            (gender.is_some(), Field::Gender),
            (date_of_birth.is_some(), Field::DateOfBirth),
            (ethnicity.is_some(), Field::Ethnicity),
        ];
        if self.say_any(parts) {
            self.demographics = Some(Personal::Open(Demographics {
                gender: gender.flatten(),
                date_of_birth: date_of_birth.flatten(),
                ethnicity: ethnicity.flatten(),
            }));
        }
    }

    /// Whether something is said of what belongs together; what is not then is unsaid.
    fn say_any<const N: usize>(&mut self, parts: [(bool, Field); N]) -> bool {
        let any = parts.iter().any(|(is_said, _)| *is_said);
        if any {
            let unsaid = parts.into_iter().filter(|(is_said, _)| !is_said);
            self.unsaid.extend(unsaid.map(|(_, field)| field));
        }
        any
    }

    /// The same with histories that begin on the first day, and what it leaves unsaid, taken from `file`.
    fn completed(mut self, file: &File) -> Self {
        self.jobs = self.jobs.since(file.hired_on);
        self.managers = self.managers.since(file.hired_on);
        self.pay = self.pay.since(file.hired_on);
        self.hours = self.hours.since(file.hired_on);
        for field in std::mem::take(&mut self.unsaid) {
            self.take_from_file(&field, file);
        }
        self
    }

    fn take_from_file(&mut self, field: &Field, file: &File) {
        let (name, contact, demographics) = (&mut self.name, &mut self.contact, &mut self.demographics);
        match field {
            Field::FirstName => keep(name, &file.name, |name| &mut name.first),
            Field::LastName => keep(name, &file.name, |name| &mut name.last),
            Field::PreferredName => keep(name, &file.name, |name| &mut name.preferred),
            Field::WorkEmail => keep(contact, &file.contact, |contact| &mut contact.work_email),
            Field::WorkPhone => keep(contact, &file.contact, |contact| &mut contact.work_phone),
            Field::MobilePhone => keep(contact, &file.contact, |contact| &mut contact.mobile_phone),
            Field::Gender => keep(demographics, &file.demographics, |said| &mut said.gender),
            Field::DateOfBirth => keep(demographics, &file.demographics, |said| &mut said.date_of_birth),
            Field::Ethnicity => keep(demographics, &file.demographics, |said| &mut said.ethnicity),
            Field::JobTitle => self.keep_of_jobs(file, |job| &mut job.title),
            Field::Department => self.keep_of_jobs(file, |job| &mut job.department),
            Field::Division => self.keep_of_jobs(file, |job| &mut job.division),
            Field::Location => self.keep_of_jobs(file, |job| &mut job.location),
            Field::Other(name) => {
                if let (Some(Personal::Open(said)), Personal::Open(kept)) = (&mut self.other, &file.source_fields)
                    && let Some(value) = kept.get(name)
                {
                    said.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
    }

    fn keep_of_jobs(&mut self, file: &File, part: fn(&mut Job) -> &mut Option<String>) {
        for (on, job) in &mut self.jobs.known {
            *part(job) = file.jobs.at(*on).and_then(|kept| part(&mut kept.clone()).take());
        }
    }
}

/// Takes a part of what is said from what is on file, if both can be read.
fn keep<T: Clone, P>(said: &mut Option<Personal<T>>, file: &Personal<T>, part: fn(&mut T) -> &mut P) {
    if let (Some(Personal::Open(said)), Personal::Open(kept)) = (said, file) {
        std::mem::swap(part(said), part(&mut kept.clone()));
    }
}

/// Effective-dated rows as the source holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows<T> {
    pub known: Vec<(Date, T)>,
    /// Whether these are all rows: then a row that we believe in and the source no longer has is corrected.
    pub complete: bool,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            complete: false,
        }
    }
}

impl<T> Rows<T> {
    /// Only the value that the source calls current.
    pub fn current(as_of: Date, value: T) -> Self {
        Self {
            known: vec![(as_of, value)],
            complete: false,
        }
    }

    /// The whole history, in any order.
    #[must_use]
    pub const fn all(known: Vec<(Date, T)>) -> Self {
        Self { known, complete: true }
    }
}

impl<T: Clone> Rows<T> {
    /// A whole history that begins later than the employment, with its first row from the first day on, for want of better: as for
    /// somebody who is hired with it. What is believed does not depend on which rows there were once.
    fn since(mut self, first_day: Date) -> Self {
        let earliest = self.known.iter().map(|(on, _)| *on).min();
        if self.complete && earliest.is_some_and(|on| on > first_day) {
            let value = value_on_first_day(&self, first_day);
            self.known.extend(value.map(|value| (first_day, value)));
        }
        self
    }
}

impl<T: Clone + PartialEq> Rows<T> {
    /// The days on which `believed` differs from these rows, in order, with what the source says. Setting each of them in
    /// this order makes both agree on every day that the source speaks of.
    fn differences(&self, believed: &Dated<T>) -> Vec<(Date, T)> {
        let said: Dated<T> = self.known.iter().cloned().collect();
        let mut days: BTreeSet<Date> = said.facts().map(|(day, _)| day).collect();
        if self.complete {
            days.extend(believed.facts().map(|(day, _)| day));
        }
        let mut believed = believed.clone();
        let mut differences = Vec::new();
        for day in days {
            if let Some(value) = said.at(day)
                && believed.at(day) != Some(value)
            {
                believed.set(day, value.clone());
                differences.push((day, value.clone()));
            }
        }
        differences
    }
}

impl Employee {
    /// Compares what the source says with what is on file.
    pub(super) fn synchronise(&self, snapshot: Snapshot, today: Date) -> Result<Vec<Event>, Rejection> {
        if matches!(self, Self::Erased) {
            return Err(Rejection::Erased);
        }
        check_dates(&snapshot, today)?;
        let mut story = Story {
            employee: self.clone(),
            events: Vec::new(),
        };
        if matches!(self, Self::Unknown) {
            if snapshot
                .standing
                .known
                .iter()
                .all(|(_, standing)| *standing == Standing::Deleted)
                && !snapshot.standing.known.is_empty()
            {
                return Ok(vec![]); // deleted before we ever heard of it
            }
            story.tell(hired(&snapshot)?);
        }
        let snapshot = snapshot.completed(story.file()?);
        story.standing(&snapshot)?;
        story.details(&snapshot)?;
        story.moves(&snapshot)?;
        Ok(story.events)
    }
}

fn check_dates(snapshot: &Snapshot, today: Date) -> Result<(), Rejection> {
    let days = (snapshot.hired_on.into_iter())
        .chain(snapshot.standing.known.iter().map(|(day, _)| *day))
        .chain(snapshot.jobs.known.iter().map(|(day, _)| *day))
        .chain(snapshot.managers.known.iter().map(|(day, _)| *day))
        .chain(snapshot.pay.known.iter().map(|(day, _)| *day))
        .chain(snapshot.hours.known.iter().map(|(day, _)| *day));
    match days.max() {
        Some(on) if (on - today).num_days() > DAYS_AHEAD_MAX => Err(Rejection::TooFarAhead { on }),
        Some(_) | None => Ok(()),
    }
}

/// The first event of a person's stream: the state of things on the first day.
fn hired(snapshot: &Snapshot) -> Result<Event, Rejection> {
    let on = snapshot.hired_on.ok_or(Rejection::HireDateMissing)?;
    Ok(Event::Hired(Hired {
        on,
        source: Some(snapshot.source.clone()),
        name: snapshot.name.clone().unwrap_or(Personal::Open(Name::default())),
        contact: snapshot.contact.clone().unwrap_or(Personal::Open(Contact::default())),
        job: value_on_first_day(&snapshot.jobs, on).unwrap_or_default(),
        manager: value_on_first_day(&snapshot.managers, on).flatten(),
        pay: value_on_first_day(&snapshot.pay, on),
        hours: value_on_first_day(&snapshot.hours, on),
    }))
}

/// The value in force on the first day; of a history that begins later, its first row, for want of better.
fn value_on_first_day<T: Clone>(rows: &Rows<T>, on: Date) -> Option<T> {
    let said: Dated<T> = rows.known.iter().cloned().collect();
    said.at(on)
        .cloned()
        .or_else(|| said.facts().next().map(|(_, value)| value.clone()))
}

/// Events, each told to the state before the next is thought of.
struct Story {
    employee: Employee,
    events: Vec<Event>,
}

impl Story {
    fn tell(&mut self, event: Event) {
        self.employee = std::mem::take(&mut self.employee).evolve(&event);
        self.events.push(event);
    }

    fn file(&self) -> Result<&File, Rejection> {
        self.employee.file()
    }

    /// Hires again, leaves, notices, endings.
    fn standing(&mut self, snapshot: &Snapshot) -> Result<(), Rejection> {
        let said_to_end = |row: &&(Date, Standing)| row.0 > snapshot.as_of && matches!(row.1, Standing::Ended(_));
        let planned = snapshot.standing.known.iter().find(said_to_end);
        let mut present = snapshot.standing.clone();
        present.known.retain(|row| !said_to_end(&row));

        let file = self.file()?;
        // A record that goes before its first day goes with that day.
        for (day, said) in &mut present.known {
            if *said == Standing::Deleted {
                *day = (*day).max(file.hired_on);
            }
        }
        let mut differences = present.differences(&file.standing);
        // A source that only says "working" does not contradict a day before the hire.
        differences.retain(|(day, _)| *day >= file.hired_on || matches!(self.employee, Employee::Unknown));
        for (on, said) in differences {
            let believed_on_the_day = self.file()?.standing.fact_on(on).cloned();
            let believed = self.file()?.standing.at(on).cloned();
            let event = match (said, believed) {
                (Standing::Ended(ended), _) => Event::Terminated(Ending { on, ended }),
                (Standing::Deleted, _) => Event::SourceRecordDeleted { on },
                (Standing::OnLeave, _) => Event::LeaveStarted { on },
                (Standing::Working, Some(Standing::OnLeave)) => Event::LeaveEnded { on },
                (Standing::Working, _)
                    if matches!(believed_on_the_day, Some(Standing::Ended(_) | Standing::Deleted)) =>
                {
                    Event::TerminationReversed { on }
                }
                (Standing::Working, _) => Event::Rehired { on },
            };
            let reversed = matches!(event, Event::TerminationReversed { .. });
            self.tell(event);
            // What holds again without the ending is what held before it, and that may be a leave, which the source says ended.
            if reversed && self.file()?.standing.at(on) == Some(&Standing::OnLeave) {
                self.tell(Event::LeaveEnded { on });
            }
        }

        let notice = self.file()?.notice.clone();
        match (planned, notice) {
            (Some((leaves_on, Standing::Ended(ended))), notice) => {
                // The ending's date is the first day away; notice is given for the last day of work.
                let last_day = leaves_on.pred_opt();
                if notice.as_ref().is_none_or(|given| given.last_day != last_day) {
                    let on = notice.map_or(snapshot.as_of, |given| given.on);
                    self.tell(Event::NoticeGiven(GiveNotice {
                        on,
                        last_day,
                        voluntariness: ended.voluntariness,
                    }));
                }
            }
            // Only a source that shows all rows can take a planned ending back, and only one that it could have known.
            (None, Some(given))
                if snapshot.standing.complete && given.last_day.is_some_and(|day| day >= snapshot.as_of) =>
            {
                self.tell(Event::NoticeWithdrawn { on: snapshot.as_of });
            }
            (Some((_, Standing::Working | Standing::OnLeave | Standing::Deleted)) | None, _) => {}
        }
        Ok(())
    }

    fn details(&mut self, snapshot: &Snapshot) -> Result<(), Rejection> {
        let on = snapshot.as_of;
        let file = self.file()?;
        let name = snapshot.name.clone().unwrap_or_else(|| file.name.clone());
        let contact = snapshot.contact.clone().unwrap_or_else(|| file.contact.clone());
        if name != file.name || contact != file.contact {
            self.tell(Event::ContactChanged { name, contact, on });
        }
        if let Some(demographics) = &snapshot.demographics
            && *demographics != self.file()?.demographics
        {
            self.tell(Event::DemographicsChanged {
                demographics: demographics.clone(),
                on,
            });
        }
        if let Some(fields) = &snapshot.other
            && *fields != self.file()?.source_fields
        {
            self.tell(Event::SourceFieldsKept {
                fields: fields.clone(),
                on,
            });
        }
        Ok(())
    }

    fn moves(&mut self, snapshot: &Snapshot) -> Result<(), Rejection> {
        for (on, to) in snapshot.jobs.differences(&self.file()?.jobs) {
            let from = self.file()?.jobs.at(on).cloned().unwrap_or_default();
            let promoted = snapshot.promotions.contains(&on) && from.title != to.title;
            let moved = Moved { from, to, on };
            self.tell(if promoted {
                Event::Promoted(moved)
            } else {
                Event::Transferred(moved)
            });
        }
        for (on, to) in snapshot.managers.differences(&self.file()?.managers) {
            let from = self.file()?.managers.at(on).copied().flatten();
            self.tell(Event::ManagerChanged { from, to, on });
        }
        for (on, to) in snapshot.pay.differences(&self.file()?.pay) {
            let from = self.file()?.pay.at(on).cloned();
            let reason = snapshot.pay_reasons.get(&on).cloned();
            self.tell(Event::PayChanged(PayChanged { from, to, reason, on }));
        }
        for (on, to) in snapshot.hours.differences(&self.file()?.hours) {
            let from = self.file()?.hours.at(on).copied();
            self.tell(Event::HoursChanged { from, to, on });
        }
        Ok(())
    }
}

/// For connectors: an ending in the source's words.
impl Ended {
    #[must_use]
    pub fn new(voluntariness: super::Voluntariness, reason: Option<String>) -> Self {
        Self {
            voluntariness,
            reason: reason.map(Personal::Open),
        }
    }
}
