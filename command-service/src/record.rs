//! What a source says of a person, in a neutral vocabulary: names after Merge's employee and employment, standing in Finch's words
//! (facts/connectors.md A5).
//!
//! What is left out is unsaid, and stays as it is known; `null` clears. Rows of `employments` and `statuses` hold from their day on;
//! a row says what changed, and the rest goes on from the row before. Only with `complete` are they the whole history, and what is
//! known beside them is taken back.

use std::{collections::BTreeMap, fmt};

use domain::{
    Date, Personal,
    employee::{Ended, Field, Job, Rows, Said, Snapshot, Source, Standing, Voluntariness, WeeklyMinutes},
    id::{EmployeeId, TenantId},
    money::{Currency, Money, PayPeriod, PayRate},
};
use serde::{Deserialize, Deserializer};

use crate::bamboohr::is_remote_id;

/// Whether somebody is told of, or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is known of somebody, new or not.
    Upserted,
    /// The record was deleted, which is not how somebody leaves.
    Deleted,
}

/// A person, as the source sends it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The source's own id of the person: 1 to 64 letters, digits, hyphens and underscores. It never changes.
    pub id: String,
    #[serde(default, deserialize_with = "said")]
    pub(crate) first_name: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) last_name: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) preferred_name: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) work_email: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) work_phone: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) mobile_phone: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) gender: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) date_of_birth: Said<Date>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) ethnicity: Said<String>,
    /// The first day of the first employment. The first message about somebody needs it.
    pub(crate) start_date: Option<Date>,
    /// Hours per week.
    pub(crate) weekly_hours: Option<f64>,
    #[serde(default)]
    pub(crate) employments: Vec<Employment>,
    #[serde(default)]
    pub(crate) statuses: Vec<Status>,
    /// Whether `employments` and `statuses` are all there are, where there are any.
    #[serde(default)]
    pub(crate) complete: bool,
    /// Whatever else is to be kept: all of it, each time.
    pub(crate) custom_fields: Option<BTreeMap<String, String>>,
}

/// Personal throughout, so that nothing of it is shown.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Employment {
    pub(crate) effective_date: Date,
    #[serde(default, deserialize_with = "said")]
    pub(crate) job_title: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) department: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) division: Said<String>,
    #[serde(default, deserialize_with = "said")]
    pub(crate) location: Said<String>,
    /// The manager's `id`.
    #[serde(default, deserialize_with = "said")]
    pub(crate) manager_id: Said<String>,
    /// A decimal number as a string, such as `"55000.00"`.
    pub(crate) pay_rate: Option<String>,
    /// ISO 4217.
    pub(crate) pay_currency: Option<String>,
    pub(crate) pay_period: Option<PayPeriod>,
    /// In the source's words. One that has "promotion" in it makes a new job title a promotion.
    pub(crate) change_reason: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// Of `terminated`: the first day on which the person is no longer employed.
    pub(crate) effective_date: Date,
    pub(crate) status: Word,
    /// Of `terminated`.
    pub(crate) voluntary: Option<bool>,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Active,
    Leave,
    Terminated,
}

/// Tells `null` from what is left out.
pub(crate) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Said<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Why a record cannot be taken. Holds none of its values but days.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordProblem {
    #[error("id is to be 1 to 64 letters, digits, hyphens and underscores")]
    Id,
    #[error("manager_id of {0} is no id, or the person's own")]
    Manager(Date),
    #[error("weekly_hours is to lie between 0 and 168")]
    Hours,
    #[error("the pay of {0} needs pay_rate as a decimal number in a string, pay_currency and pay_period together")]
    Pay(Date),
    #[error("there are two {0} of {1}")]
    Twice(&'static str, Date),
    #[error("{what} is said from {from} on, and not in the first row, of {first}: say it there too")]
    Gap {
        what: &'static str,
        from: Date,
        first: Date,
    },
}

/// What the record says, in the domain's words. `as_of` is the day on which what has no day of its own is true.
///
/// # Errors
/// When a part of it contradicts itself.
pub fn snapshot(
    record: Record,
    kind: Kind,
    (tenant, source, as_of): (TenantId, Source, Date),
) -> Result<Snapshot, RecordProblem> {
    if !is_remote_id(&record.id) {
        return Err(RecordProblem::Id);
    }
    let mut snapshot = Snapshot::silent(source, as_of);
    if kind == Kind::Deleted {
        snapshot.standing = Rows::current(as_of, Standing::Deleted);
        return Ok(snapshot);
    }
    snapshot.hired_on = record.start_date;
    snapshot.standing = standing(&record)?;
    if let Some(hours) = record.weekly_hours {
        let minutes = (hours * 60.0).round();
        if !(0.0..=168.0 * 60.0).contains(&minutes) {
            return Err(RecordProblem::Hours);
        }
        snapshot.hours = Rows::current(as_of, WeeklyMinutes(minutes as u16));
    }
    employments(&record, tenant, &mut snapshot)?;
    person(record, &mut snapshot);
    Ok(snapshot)
}

fn person(record: Record, snapshot: &mut Snapshot) {
    snapshot.say_name(record.first_name, record.last_name, record.preferred_name);
    snapshot.say_contact(record.work_email, record.work_phone, record.mobile_phone);
    snapshot.say_demographics(record.gender, record.date_of_birth, record.ethnicity);
    snapshot.other = record.custom_fields.map(Personal::Open);
}

fn standing(record: &Record) -> Result<Rows<Standing>, RecordProblem> {
    let mut known: Vec<(Date, Standing)> = Vec::with_capacity(record.statuses.len() + 1);
    for status in in_order(&record.statuses, |status| status.effective_date, "statuses")? {
        let standing = match status.status {
            Word::Active => Standing::Working,
            Word::Leave => Standing::OnLeave,
            Word::Terminated => {
                let voluntariness = match status.voluntary {
                    Some(true) => Voluntariness::Voluntary,
                    Some(false) => Voluntariness::Involuntary,
                    None => Voluntariness::Unknown,
                };
                Standing::Ended(Ended::new(voluntariness, status.reason.clone()))
            }
        };
        known.push((status.effective_date, standing));
    }
    if let Some(start) = record.start_date
        && known.first().is_none_or(|(on, _)| *on > start)
    {
        known.insert(0, (start, Standing::Working));
    }
    Ok(Rows {
        complete: record.complete && !record.statuses.is_empty(),
        known,
    })
}

/// A part of a job: its name in the record, what it is called in a snapshot, and where it stands in both.
struct Part {
    what: &'static str,
    field: Field,
    said: fn(&Employment) -> &Said<String>,
    of: fn(&mut Job) -> &mut Option<String>,
}

const JOB_PARTS: [Part; 4] = [
    Part {
        what: "job_title",
        field: Field::JobTitle,
        said: |row| &row.job_title,
        of: |job| &mut job.title,
    },
    Part {
        what: "department",
        field: Field::Department,
        said: |row| &row.department,
        of: |job| &mut job.department,
    },
    Part {
        what: "division",
        field: Field::Division,
        said: |row| &row.division,
        of: |job| &mut job.division,
    },
    Part {
        what: "location",
        field: Field::Location,
        said: |row| &row.location,
        of: |job| &mut job.location,
    },
];

/// The jobs of rows in order. What no row says stays as it is known; what the first does not say, none may.
fn jobs(rows: &[&Employment], complete: bool, snapshot: &mut Snapshot) -> Result<(), RecordProblem> {
    let says = |row: &&&Employment| JOB_PARTS.iter().any(|part| (part.said)(row).is_some());
    let rows: Vec<&Employment> = rows.iter().filter(says).copied().collect();
    let mut jobs = vec![Job::default(); rows.len()];
    for Part { what, field, said, of } in JOB_PARTS {
        let Some(index) = rows.iter().position(|row| said(row).is_some()) else {
            if !rows.is_empty() {
                snapshot.unsaid.insert(field);
            }
            continue;
        };
        if index > 0 {
            let (from, first) = (rows[index].effective_date, rows[0].effective_date);
            return Err(RecordProblem::Gap { what, from, first });
        }
        let mut value = None;
        for (row, job) in rows.iter().zip(&mut jobs) {
            if let Some(said) = said(row) {
                value.clone_from(said);
            }
            of(job).clone_from(&value);
        }
    }
    let days = rows.iter().map(|row| row.effective_date);
    snapshot.jobs = Rows {
        known: days.zip(jobs).collect(),
        complete: complete && !rows.is_empty(),
    };
    Ok(())
}

fn employments(record: &Record, tenant: TenantId, snapshot: &mut Snapshot) -> Result<(), RecordProblem> {
    let rows = in_order(&record.employments, |row| row.effective_date, "employments")?;
    jobs(&rows, record.complete, snapshot)?;
    for row in rows {
        let on = row.effective_date;
        if let Some(manager) = &row.manager_id {
            if manager.as_ref().is_some_and(|id| !is_remote_id(id) || *id == record.id) {
                return Err(RecordProblem::Manager(on));
            }
            let connection = snapshot.source.connection;
            let manager = manager.as_ref().map(|id| EmployeeId::derive(tenant, connection, id));
            snapshot.managers.known.push((on, manager));
        }
        if let Some(rate) = row.pay()? {
            snapshot.pay.known.push((on, Personal::Open(rate)));
            let reason = row.change_reason.clone().map(Personal::Open);
            snapshot.pay_reasons.extend(reason.map(|reason| (on, reason)));
        }
        let reason = row.change_reason.as_deref().unwrap_or_default();
        if reason.to_lowercase().contains("promotion") {
            snapshot.promotions.insert(on);
        }
    }
    snapshot.managers.complete = record.complete && !snapshot.managers.known.is_empty();
    snapshot.pay.complete = record.complete && !snapshot.pay.known.is_empty();
    Ok(())
}

impl Employment {
    fn pay(&self) -> Result<Option<PayRate>, RecordProblem> {
        match (&self.pay_rate, &self.pay_currency, self.pay_period) {
            (None, None, None) => Ok(None),
            (Some(rate), Some(currency), Some(per)) => {
                let currency: Option<Currency> = currency.parse().ok();
                let amount = currency.and_then(|currency| Money::parse(rate, currency).ok());
                let amount = amount.ok_or(RecordProblem::Pay(self.effective_date))?;
                Ok(Some(PayRate { amount, per }))
            }
            _ => Err(RecordProblem::Pay(self.effective_date)),
        }
    }
}

/// By their days, of which none may come twice.
fn in_order<'a, T>(rows: &'a [T], day: fn(&T) -> Date, what: &'static str) -> Result<Vec<&'a T>, RecordProblem> {
    let mut rows: Vec<&T> = rows.iter().collect();
    rows.sort_by_key(|row| day(row));
    match rows.windows(2).find(|pair| day(pair[0]) == day(pair[1])) {
        Some(pair) => Err(RecordProblem::Twice(what, day(pair[0]))),
        None => Ok(rows),
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Aggregate,
        employee::{Command, Contact, Employee, Event},
        id::ConnectionId,
    };
    use serde_json::{Value, json};

    use super::*;

    fn tenant() -> TenantId {
        "00000000-0000-0000-0000-000000000007".parse().expect("an id")
    }

    fn source() -> Source {
        Source {
            connection: ConnectionId::derive(tenant(), "push", "hr"),
            remote_id: "42".into(),
        }
    }

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn read(record: Value) -> Result<Snapshot, RecordProblem> {
        let record: Record = serde_json::from_value(record).expect("a record");
        snapshot(record, Kind::Upserted, (tenant(), source(), day("2026-06-30")))
    }

    #[track_caller]
    fn told(employee: &Employee, record: Value) -> Vec<Event> {
        let snapshot = read(record).expect("a snapshot");
        employee
            .decide(Command::Synchronise(Box::new(snapshot)), day("2026-06-30"))
            .expect("accepted")
    }

    fn ada() -> Value {
        json!({"id": "42", "first_name": "Ada", "last_name": "Rossi", "work_email": "ada@acme.example", "start_date": "2024-03-01",
            "weekly_hours": 37.5, "gender": "Female", "employments": [
                {"effective_date": "2024-03-01", "job_title": "Cashier", "department": "Sales", "location": "Turin", "manager_id": "7",
                 "pay_rate": "27000.00", "pay_currency": "EUR", "pay_period": "YEAR"},
                {"effective_date": "2025-09-01", "job_title": "Supervisor", "change_reason": "Promotion",
                 "pay_rate": "31000", "pay_currency": "EUR", "pay_period": "YEAR"}],
            "statuses": [{"effective_date": "2025-01-10", "status": "leave"}, {"effective_date": "2025-06-10", "status": "active"}],
            "complete": true, "custom_fields": {"badge": "1007"}})
    }

    #[test]
    fn a_whole_person_is_told_and_told_again_is_no_news() {
        let events = told(&Employee::default(), ada());
        let kinds: Vec<&str> = (events.iter())
            .map(|event| match event {
                Event::Hired(_) => "hired",
                Event::LeaveStarted { .. } => "leave",
                Event::LeaveEnded { .. } => "back",
                Event::Promoted(_) => "promoted",
                Event::PayChanged(_) => "pay",
                Event::DemographicsChanged { .. } => "demographics",
                Event::SourceFieldsKept { .. } => "fields",
                _ => "?",
            })
            .collect();
        assert_eq!(
            kinds,
            ["hired", "leave", "back", "demographics", "fields", "promoted", "pay"]
        );
        let Some(Event::Promoted(moved)) = events.iter().find(|event| matches!(event, Event::Promoted(_))) else {
            panic!("{events:?}")
        };
        assert_eq!(
            moved.to.department.as_deref(),
            Some("Sales"),
            "it goes on from the row before"
        );
        assert_eq!(told(&Employee::fold(&events), ada()), vec![]);
    }

    #[test]
    fn a_part_changes_that_part_and_null_clears() {
        let known = Employee::fold(&told(&Employee::default(), ada()));
        let events = told(
            &known,
            json!({"id": "42", "preferred_name": "Addie", "work_email": null}),
        );
        assert!(
            matches!(&events[..], [Event::ContactChanged { name: Personal::Open(name), contact: Personal::Open(contact), .. }]
                if name.first == "Ada" && name.preferred.as_deref() == Some("Addie") && *contact == Contact::default()),
            "{events:?}"
        );
        let moved = told(
            &known,
            json!({"id": "42", "employments": [{"effective_date": "2026-07-01", "location": "Milan"}]}),
        );
        assert!(
            matches!(&moved[..], [Event::Transferred(moved)] if moved.on == day("2026-07-01")
                && moved.to.location.as_deref() == Some("Milan") && moved.to.title.as_deref() == Some("Supervisor")),
            "{moved:?}"
        );
        let left = json!({"id": "42", "statuses": [{"effective_date": "2026-06-01", "status": "terminated", "voluntary": true}]});
        assert!(
            matches!(&told(&known, left)[..], [Event::Terminated(ending)] if ending.ended.voluntariness == Voluntariness::Voluntary)
        );
        // All that there is: the promotion was a mistake.
        let one = json!({"id": "42", "complete": true, "employments": [{"effective_date": "2024-03-01", "job_title": "Cashier"}]});
        assert!(
            matches!(&told(&known, one)[..], [Event::Transferred(moved)] if moved.to.title.as_deref() == Some("Cashier"))
        );
        let record: Record = serde_json::from_value(json!({"id": "42"})).expect("a record");
        assert_eq!(format!("{record:?}"), "Record { .. }");
        let gone = snapshot(record, Kind::Deleted, (tenant(), source(), day("2026-06-30"))).expect("a snapshot");
        assert_eq!(gone.standing, Rows::current(day("2026-06-30"), Standing::Deleted));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let row = |row: Value| json!({"id": "42", "employments": [row]});
        let on = day("2026-01-01");
        for (record, problem) in [
            (json!({"id": "../7"}), RecordProblem::Id),
            (json!({"id": "42", "weekly_hours": 169}), RecordProblem::Hours),
            (json!({"id": "42", "weekly_hours": -1}), RecordProblem::Hours),
            (
                row(json!({"effective_date": "2026-01-01", "manager_id": "42"})),
                RecordProblem::Manager(on),
            ),
            (
                row(json!({"effective_date": "2026-01-01", "pay_rate": "1"})),
                RecordProblem::Pay(on),
            ),
            (
                row(
                    json!({"effective_date": "2026-01-01", "pay_rate": "much", "pay_currency": "EUR", "pay_period": "YEAR"}),
                ),
                RecordProblem::Pay(on),
            ),
            (
                json!({"id": "42", "statuses": [{"effective_date": "2026-01-01", "status": "leave"}, {"effective_date": "2026-01-01", "status": "active"}]}),
                RecordProblem::Twice("statuses", on),
            ),
            (
                json!({"id": "42", "employments": [{"effective_date": "2026-01-01", "job_title": "A"}, {"effective_date": "2026-02-01", "division": "B"}]}),
                RecordProblem::Gap {
                    what: "division",
                    from: day("2026-02-01"),
                    first: on,
                },
            ),
        ] {
            assert_eq!(read(record.clone()).map(|_| ()), Err(problem), "{record}");
        }
    }
}
