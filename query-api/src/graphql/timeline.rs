//! Everything that is recorded about a person, in words.

use async_graphql::{Json, Object, SimpleObject, connection::PageInfo, dataloader::DataLoader};
use domain::{
    Kind, Personal, StreamId, Timestamp, employee,
    employee::{Job, Relation, Voluntariness},
    id::{EventId, TenantId},
    money::{PayPeriod, PayRate},
    pay_change,
    personal::{OPEN_MARKER, UNREADABLE_MARKER},
    policy::{Permission, Reach},
    risk::{self, Level, Verdict},
};
use infra::{
    read_model::timeline::TimelineRow,
    sealing::{Place, SubjectKey, open_payload},
};
use schemas::codec::AnyEvent;
use serde_json::Value;

use super::scalar::{Day, Position};
use crate::{
    access::Viewer,
    cursor::{self, Window},
    error::SharedError,
    loaders::SubjectKeys,
};

const GONE: &str = "no longer readable";

/// A person's timeline, newest first.
pub struct TimelineConnection {
    entries: Vec<TimelineEntry>,
    has_next: bool,
    has_previous: bool,
}

/// Something that happened.
#[derive(Clone, SimpleObject)]
pub struct TimelineEntry {
    /// The place in the event log.
    position: Position,
    /// Such as `employee.pay-changed`.
    #[graphql(name = "type")]
    event_type: String,
    /// When it is true in the world.
    effective_on: Day,
    /// When Tenure learnt it.
    recorded_at: Timestamp,
    /// Who or what told it: `user:<subject>`, `bamboohr:<connection>` (with `:changes` or `:reconciliation` for
    /// what the source did not tell by itself), `scorer`. Null for viewers who see no details.
    source: Option<String>,
    /// What happened, in plain words. Null for viewers who see no details.
    summary: Option<String>,
    /// The facts. Null for viewers who see no details, and for facts that nobody is shown.
    details: Option<Json<Value>>,
}

/// An entry in a list.
#[derive(SimpleObject)]
pub struct TimelineEdge {
    cursor: String,
    node: TimelineEntry,
}

impl TimelineConnection {
    pub const fn empty() -> Self {
        Self {
            entries: Vec::new(),
            has_next: false,
            has_previous: false,
        }
    }

    /// Opens what the viewer may see. `rows` may hold one more than the window: that there is more.
    pub async fn open(
        mut rows: Vec<TimelineRow>,
        window: &Window,
        viewer: &Viewer,
        keys: &DataLoader<SubjectKeys>,
    ) -> Result<Self, SharedError> {
        let size = usize::try_from(window.size).unwrap_or(0);
        let has_next = rows.len() > size;
        rows.truncate(size);
        let sees_details = viewer.may(Permission::SeeDetails);
        let sees_everybody = viewer.0.reach() == Reach::WholeTenant;
        let tenant = viewer.0.tenant;
        let keys = if sees_details {
            let mut subjects: Vec<_> = rows.iter().map(|row| (tenant, row.stream_id)).collect();
            subjects.dedup();
            keys.load_many(subjects).await?
        } else {
            Default::default()
        };
        let entries = rows
            .into_iter()
            .map(|row| {
                let mut told = sees_details.then(|| told(tenant, &row, keys.get(&(tenant, row.stream_id))));
                if !sees_everybody && let Some(told) = &mut told {
                    told.leave_out_colleague();
                }
                TimelineEntry::new(row, told)
            })
            .collect();
        Ok(Self {
            entries,
            has_next,
            has_previous: window.cursor.is_some(),
        })
    }
}

#[Object]
impl TimelineConnection {
    async fn edges(&self) -> Vec<TimelineEdge> {
        self.entries
            .iter()
            .map(|entry| TimelineEdge {
                cursor: cursor::of_position(entry.position.0),
                node: entry.clone(),
            })
            .collect()
    }

    async fn nodes(&self) -> &[TimelineEntry] {
        &self.entries
    }

    async fn page_info(&self) -> PageInfo {
        let cursor = |entry: Option<&TimelineEntry>| entry.map(|entry| cursor::of_position(entry.position.0));
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: cursor(self.entries.first()),
            end_cursor: cursor(self.entries.last()),
        }
    }
}

/// An event in words, and the facts of it that may be shown.
#[derive(Debug, PartialEq)]
struct Told {
    summary: String,
    details: Option<Value>,
}

/// The member of an exit's facts that says whose it is.
const COLLEAGUE: &str = "colleague";

impl Told {
    /// Who reaches only the own team is not told which colleague of an earlier team left.
    fn leave_out_colleague(&mut self) {
        if let Some(details) = self.details.as_mut().and_then(Value::as_object_mut) {
            details.remove(COLLEAGUE);
        }
    }
}

impl TimelineEntry {
    fn new(row: TimelineRow, told: Option<Told>) -> Self {
        let (source, summary, details) = match told {
            Some(told) => (Some(row.actor), Some(told.summary), told.details.map(Json)),
            None => (None, None, None),
        };
        Self {
            position: Position(row.position),
            event_type: row.event_type,
            effective_on: Day(row.effective_on),
            recorded_at: row.recorded_at,
            source,
            summary,
            details,
        }
    }
}

fn told(tenant: TenantId, row: &TimelineRow, key: Option<&SubjectKey>) -> Told {
    let unknown = || Told {
        summary: "This entry cannot be read by this version of Tenure.".to_owned(),
        details: None,
    };
    let (Ok(kind), Ok(mut payload)) = (row.kind.parse::<Kind>(), serde_json::from_slice::<Value>(&row.data)) else {
        return unknown();
    };
    let stream = StreamId::new(tenant, kind, row.stream_id);
    let place = Place {
        stream: &stream,
        event_id: EventId::from_uuid(row.event_id),
        schema_version: row.schema_version,
    };
    open_payload(key, place, &mut payload);
    match AnyEvent::decode(&row.event_type, row.schema_version, payload.clone()) {
        Ok(event) => tell(&event, payload),
        Err(error) => {
            tracing::warn!(
                position = row.position,
                error = &error as &dyn std::error::Error,
                "timeline entry {} does not read",
                row.position
            );
            unknown()
        }
    }
}

fn tell(event: &AnyEvent, payload: Value) -> Told {
    let summary = match event {
        AnyEvent::Employee(event) => employee_summary(event),
        AnyEvent::Risk(event) => risk_summary(event),
        AnyEvent::PayChange(event) => pay_change_summary(event),
        // Timelines are about people.
        AnyEvent::Connection(_) | AnyEvent::Tenant(_) | AnyEvent::Program(_) | AnyEvent::Access(_) => {
            "Settings changed.".to_owned()
        }
    };
    Told {
        summary,
        details: details(event, payload),
    }
}

/// The facts without markers. Protected attributes, what a source sent beyond what Tenure understands, and why someone was
/// absent are shown to nobody here.
fn details(event: &AnyEvent, mut payload: Value) -> Option<Value> {
    match event {
        AnyEvent::Employee(employee::Event::DemographicsChanged { .. } | employee::Event::SourceFieldsKept { .. })
        | AnyEvent::Connection(_)
        | AnyEvent::Tenant(_)
        | AnyEvent::Program(_)
        | AnyEvent::Access(_) => return None,
        AnyEvent::Employee(employee::Event::AbsenceRecorded(_)) => {
            if let Some(payload) = payload.as_object_mut() {
                payload.remove("kind");
            }
        }
        AnyEvent::Employee(_) | AnyEvent::Risk(_) | AnyEvent::PayChange(_) => {}
    }
    unwrap_markers(&mut payload);
    Some(payload)
}

fn unwrap_markers(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.len() == 1
                && let Some(open) = map.get_mut(OPEN_MARKER)
            {
                *value = open.take();
                return;
            }
            if map.len() == 1 && map.contains_key(UNREADABLE_MARKER) {
                *value = Value::String(GONE.to_owned());
                return;
            }
            map.values_mut().for_each(unwrap_markers);
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_markers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn employee_summary(event: &employee::Event) -> String {
    use employee::Event;
    match event {
        Event::Hired(hired) => format!("Hired{}.", position(&hired.job)),
        Event::Rehired { .. } => "Came back to work here.".to_owned(),
        Event::Transferred(moved) => format!("Moved{}.", changes(&moved.from, &moved.to)),
        Event::Promoted(moved) => format!("Promoted{}.", changes(&moved.from, &moved.to)),
        Event::ManagerChanged { to: Some(_), .. } => "Got another manager.".to_owned(),
        Event::ManagerChanged { to: None, .. } => "No longer has a manager.".to_owned(),
        Event::PayChanged(change) => {
            let reason = change
                .reason
                .as_ref()
                .and_then(Personal::open)
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            match (change.from.as_ref().and_then(Personal::open), change.to.open()) {
                (Some(from), Some(to)) => format!("Pay changed from {} to {}{reason}.", pay(from), pay(to)),
                (None, Some(to)) => format!("Pay set to {}{reason}.", pay(to)),
                (_, None) => format!("Pay changed: the amounts are {GONE}."),
            }
        }
        Event::HoursChanged { from, to, .. } => match from {
            Some(from) => format!("Weekly hours changed from {} to {}.", hours(from.0), hours(to.0)),
            None => format!("Weekly hours set to {}.", hours(to.0)),
        },
        Event::LeaveStarted { .. } => "Went on leave.".to_owned(),
        Event::LeaveEnded { .. } => "Came back from leave.".to_owned(),
        Event::NoticeGiven(notice) => {
            let last_day = notice
                .last_day
                .map(|day| format!(", with {day} as the last day"))
                .unwrap_or_default();
            format!(
                "Notice of leaving was given ({}){last_day}.",
                voluntariness(notice.voluntariness)
            )
        }
        Event::NoticeWithdrawn { .. } => "The notice was withdrawn.".to_owned(),
        Event::Terminated(ending) => {
            let reason = match &ending.ended.reason {
                Some(Personal::Open(reason)) => format!(": {reason}"),
                Some(Personal::Unreadable) => format!("; the reason is {GONE}"),
                None => String::new(),
            };
            format!(
                "The employment ended ({}){reason}.",
                voluntariness(ending.ended.voluntariness)
            )
        }
        Event::TerminationReversed { .. } => "The end of the employment was taken back.".to_owned(),
        Event::SourceRecordDeleted { .. } => "The record was deleted at its source.".to_owned(),
        Event::ContactChanged { .. } => "Name or contact details changed.".to_owned(),
        Event::DemographicsChanged { .. } => {
            "Personal attributes changed; they are not shown and not used for scores.".to_owned()
        }
        Event::SourceFieldsKept { fields, .. } => match fields.open().map(std::collections::BTreeMap::len) {
            Some(1) => "The source sent one more field; it is kept, not shown.".to_owned(),
            Some(count) => format!("The source sent {count} more fields; they are kept, not shown."),
            None => format!("The source sent more fields; they are {GONE}."),
        },
        Event::AssessmentCompleted(assessment) => match assessment.score.open() {
            Some(score) => format!("Completed the assessment {} with {score} %.", assessment.name),
            None => format!("Completed the assessment {}; the score is {GONE}.", assessment.name),
        },
        Event::ReviewRecorded(review) => match review.rating.open() {
            Some(rating) => format!("Was reviewed: {rating} of 5."),
            None => format!("Was reviewed; the rating is {GONE}."),
        },
        Event::SurveyAnswered(survey) => match survey.score.open() {
            Some(score) => format!("Answered the survey {} with {score} of 10.", survey.survey),
            None => format!("Answered the survey {}; the answer is {GONE}.", survey.survey),
        },
        Event::RecognitionGiven(_) => "Was recognised by a colleague.".to_owned(),
        Event::AbsenceRecorded(absence) => format!("Was absent for {}.", count(i64::from(absence.days), "working day")),
        Event::OvertimeRecorded(overtime) => format!("Worked {} of overtime in the week.", hours(overtime.minutes)),
        Event::NoteWritten(note) => match note.text.open() {
            Some(text) => format!("Note: {text}"),
            None => format!("A note that is {GONE}."),
        },
        Event::ScoringObjected(_) => "Objected to being scored.".to_owned(),
        Event::ScoringObjectionWithdrawn(_) => "No longer objects to being scored.".to_owned(),
        Event::ColleagueLeft(exit) => match exit.relation {
            Relation::Peer => "A colleague of the team gave notice or left.".to_owned(),
            Relation::Manager => "Their manager gave notice or left.".to_owned(),
        },
        Event::ColleagueStayed(_) => "A colleague who was said to leave stays, or was not of the team.".to_owned(),
        Event::Erased(erasure) => format!("The personal data was erased ({}).", erasure.basis),
    }
}

fn risk_summary(event: &risk::Event) -> String {
    match event {
        risk::Event::RiskAssessed(assessment) => {
            let band = assessment.band.name().to_lowercase();
            match assessment.score.open() {
                Some(score) => format!(
                    "Flight risk {band}: {:.0} % within {}.",
                    score.probability * 100.0,
                    count(i64::from(assessment.horizon_days), "day")
                ),
                None => format!("Flight risk {band}; the figures are {GONE}."),
            }
        }
        risk::Event::ReadinessAssessed(assessed) => {
            let level = match assessed.level {
                Level::Early => "early on the way",
                Level::Developing => "developing",
                Level::Ready => "ready",
            };
            match assessed.score.open() {
                Some(score) => format!(
                    "Readiness for a career step: {level}, {:.0} % within {}.",
                    score.probability * 100.0,
                    count(i64::from(assessed.horizon_days), "day")
                ),
                None => format!("Readiness for a career step: {level}; the figures are {GONE}."),
            }
        }
        risk::Event::HumanReviewRecorded(review) => match (review.verdict, review.band) {
            (Verdict::Agree, _) => "A person reviewed the flight risk and agreed.".to_owned(),
            (Verdict::Override, Some(band)) => format!(
                "A person reviewed the flight risk and holds it to be {}.",
                band.name().to_lowercase()
            ),
            (Verdict::Override, None) => "A person reviewed the flight risk and disagreed.".to_owned(),
        },
    }
}

fn pay_change_summary(event: &pay_change::Event) -> String {
    use pay_change::Event;
    match event {
        Event::Requested(request) => {
            let rate = request.to.open().map_or_else(|| format!("a rate that is {GONE}"), pay);
            let reason = request
                .reason
                .as_ref()
                .and_then(Personal::open)
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            format!(
                "A change of pay to {rate} from {} on was asked for{reason}.",
                request.effective_on
            )
        }
        Event::Approved(_) => "The change of pay was approved.".to_owned(),
        Event::Declined(declining) => match declining.reason.as_ref().and_then(Personal::open) {
            Some(reason) => format!("The change of pay was declined: {reason}"),
            None => "The change of pay was declined.".to_owned(),
        },
        Event::Withdrawn(_) => "The change of pay was withdrawn.".to_owned(),
        Event::Abandoned(_) => {
            "Nobody waits for the change of pay any more; it may be at the system that pays, or not.".to_owned()
        }
        Event::SubmissionBegun(_) => "The change of pay is on its way to the system that pays.".to_owned(),
        Event::Submitted(_) => "The change of pay was submitted.".to_owned(),
        Event::Accepted(_) => "The system that pays shows the new rate.".to_owned(),
        Event::Rejected(refusal) => match &refusal.message {
            Some(message) => format!("The change of pay was rejected ({}): {message}", refusal.cause),
            None => format!("The change of pay was rejected ({}).", refusal.cause),
        },
        Event::Effective(_) => "The new rate of pay is in force.".to_owned(),
        Event::Overtaken(_) => "The system that pays has another rate by now.".to_owned(),
    }
}

fn position(job: &Job) -> String {
    let mut text = String::new();
    for (word, part) in [(" as ", &job.title), (" in ", &job.department), (" at ", &job.location)] {
        if let Some(part) = part {
            text.push_str(word);
            text.push_str(part);
        }
    }
    text
}

/// Such as ": department Sales → Support, location Leeds".
fn changes(from: &Job, to: &Job) -> String {
    let parts: Vec<String> = [
        ("job title", &from.title, &to.title),
        ("department", &from.department, &to.department),
        ("division", &from.division, &to.division),
        ("location", &from.location, &to.location),
    ]
    .into_iter()
    .filter(|(_, from, to)| from != to)
    .map(|(what, from, to)| match (from, to) {
        (Some(from), Some(to)) => format!("{what} {from} → {to}"),
        (None, Some(to)) => format!("{what} {to}"),
        (_, None) => format!("no longer a {what}"),
    })
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

fn pay(rate: &PayRate) -> String {
    let period = match rate.per {
        PayPeriod::Hour => "an hour",
        PayPeriod::Day => "a day",
        PayPeriod::Week => "a week",
        PayPeriod::EveryTwoWeeks => "every two weeks",
        PayPeriod::Semimonthly => "twice a month",
        PayPeriod::Month => "a month",
        PayPeriod::Quarter => "a quarter",
        PayPeriod::EverySixMonths => "every six months",
        PayPeriod::Year => "a year",
    };
    format!("{} {period}", rate.amount)
}

fn hours(minutes: u16) -> String {
    let (whole, rest) = (minutes / 60, minutes % 60);
    if rest == 0 {
        format!("{whole} h")
    } else {
        format!("{whole} h {rest} min")
    }
}

fn count(number: i64, noun: &str) -> String {
    if number == 1 {
        format!("{number} {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

const fn voluntariness(voluntariness: Voluntariness) -> &'static str {
    match voluntariness {
        Voluntariness::Voluntary => "by own will",
        Voluntariness::Involuntary => "by the employer",
        Voluntariness::Retirement => "retirement",
        Voluntariness::Death => "death",
        Voluntariness::Unknown => "unknown by whom",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        Date,
        employee::{Absence, Event, Note, PayChanged},
        money::{Currency, Money},
    };
    use serde_json::json;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn on() -> Date {
        Date::from_ymd_opt(2026, 3, 1).expect("a day")
    }

    /// As `told` would have it, sealing aside.
    fn tell_of(event: Event) -> Told {
        let event = AnyEvent::Employee(event);
        let payload = event.encode().expect("encodes").payload;
        tell(&event, payload)
    }

    fn rate(minor_units: i64) -> Personal<PayRate> {
        Personal::Open(PayRate {
            amount: Money {
                minor_units,
                currency: Currency::EUR,
            },
            per: PayPeriod::Year,
        })
    }

    #[test]
    fn pay_is_told_in_words_and_figures() {
        let told = tell_of(Event::PayChanged(PayChanged {
            from: Some(rate(3_000_000)),
            to: rate(3_150_000),
            reason: None,
            on: on(),
        }));
        assert_eq!(
            told.summary,
            "Pay changed from 30000.00 EUR a year to 31500.00 EUR a year."
        );
        assert_eq!(told.details.expect("details")["to"]["amount"]["minor_units"], 3_150_000);
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let told = tell_of(Event::NoteWritten(Note {
            on: on(),
            text: Personal::Unreadable,
        }));
        assert_eq!(told.summary, "A note that is no longer readable.");
        assert_eq!(
            told.details,
            Some(json!({"on": "2026-03-01", "text": "no longer readable"}))
        );
    }

    #[test]
    fn protected_and_unknown_facts_are_not_shown() {
        let demographics = employee::Demographics {
            gender: Some("secret".into()),
            ..Default::default()
        };
        let fields = BTreeMap::from([("ssn".to_owned(), "secret".to_owned())]);
        for event in [
            Event::DemographicsChanged {
                demographics: Personal::Open(demographics),
                on: on(),
            },
            Event::SourceFieldsKept {
                fields: Personal::Open(fields),
                on: on(),
            },
            Event::AbsenceRecorded(Absence {
                on: on(),
                days: 2,
                kind: Some(Personal::Open("secret".into())),
            }),
        ] {
            let told = tell_of(event);
            assert!(!format!("{told:?}").contains("secret"), "{told:?}");
        }
    }

    #[test]
    fn exits_of_colleagues_are_told_without_names_and_to_few_with_ids() {
        let colleague = domain::id::EmployeeId::from_uuid(Uuid::from_u128(7));
        let exit = |relation| {
            tell_of(Event::ColleagueLeft(employee::ColleagueLeft {
                colleague,
                relation,
                on: on(),
            }))
        };
        assert_eq!(exit(Relation::Manager).summary, "Their manager gave notice or left.");
        let mut told = exit(Relation::Peer);
        assert_eq!(told.summary, "A colleague of the team gave notice or left.");
        assert!(format!("{told:?}").contains(&colleague.to_string()));
        told.leave_out_colleague();
        assert_eq!(told.details, Some(json!({"relation": "peer", "on": "2026-03-01"})));
    }

    fn stored(event_type: &str, data: &[u8]) -> TimelineRow {
        TimelineRow {
            tenant: Uuid::from_u128(1),
            employee: Uuid::from_u128(2),
            position: 4,
            kind: "employee".into(),
            stream_id: Uuid::from_u128(2),
            event_id: Uuid::from_u128(3),
            event_type: event_type.into(),
            schema_version: 1,
            effective_on: on(),
            recorded_at: Timestamp::UNIX_EPOCH,
            actor: "user:7".into(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn a_sealed_entry_without_its_key_and_an_entry_of_a_newer_version_are_still_entries() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let sealed = br#"{"on": "2026-03-01", "text": {"$sealed": "AAAA"}}"#;
        assert_eq!(
            told(tenant, &stored("employee.note-written", sealed), None).summary,
            "A note that is no longer readable."
        );
        for row in [
            stored("employee.from-the-future", b"{}"),
            stored("employee.note-written", b"not json"),
        ] {
            assert_eq!(told(tenant, &row, None).details, None);
        }
    }

    #[test]
    fn without_details_only_type_and_dates_are_left() {
        let entry = TimelineEntry::new(stored("employee.note-written", b"{}"), None);
        assert!(entry.source.is_none() && entry.summary.is_none() && entry.details.is_none());
        assert_eq!(entry.event_type, "employee.note-written");
    }
}
