//! The working life of one person: hired, moved, paid, promoted, gone; and what was said and measured on the way.
//!
//! Facts arrive late, out of order and in advance, so the state keeps every fact by the day on which it is true
//! ([`Dated`]); "employed", "on leave" and "left" are what the [`Standing`] says on a given day. There is no bag of
//! options to contradict it.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use snapshot::{Field, Rows, Said, Snapshot};

use crate::{
    Aggregate, Date, Dated, Kind, Personal,
    id::{ConnectionId, EmployeeId},
    money::PayRate,
};

/// The longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 10_000;
/// The most overtime that a week can hold, in minutes.
pub const OVERTIME_MINUTES_MAX: u16 = 6_000;
/// The longest absence that one record can hold, in days.
pub const ABSENCE_DAYS_MAX: u16 = 366;
/// The most exits of colleagues that a file remembers. An older one that is told again is told a second time, which readers take
/// for the same.
pub const COLLEAGUES_MAX: usize = 1_000;
/// The most future-dated fact about a person that is believed, in days from today.
pub const DAYS_AHEAD_MAX: i64 = 3_660;

/// What can be asked of an employee's record. Also the body of `POST /v1/employees/{id}/{command}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// "This is what the source says now": answered by the business events that explain the difference.
    Synchronise(Box<Snapshot>),
    GiveNotice(GiveNotice),
    CompleteAssessment(Assessment),
    RecordReview(Review),
    AnswerSurvey(Survey),
    GiveRecognition(Recognition),
    RecordAbsence(Absence),
    RecordOvertime(Overtime),
    WriteNote(Note),
    ObjectToScoring(Objection),
    WithdrawObjection(Objection),
    /// Somebody whom this person worked with is leaving. Nobody sends it but Tenure itself, which knows the teams.
    HearOfExit(ColleagueLeft),
    /// What was heard of somebody's exit was taken back, or was never about this person's team.
    HearOfStay(ColleagueStayed),
    Erase(Erasure),
}

/// What happened. The stored payload is this type's own serialisation, so a change here is a new version (see `schemas`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    Hired(Hired),
    Rehired {
        on: Date,
    },
    /// Department, location, division or job title changed.
    Transferred(Moved),
    /// A move that the source calls a promotion.
    Promoted(Moved),
    ManagerChanged {
        from: Option<EmployeeId>,
        to: Option<EmployeeId>,
        on: Date,
    },
    PayChanged(PayChanged),
    HoursChanged {
        from: Option<WeeklyMinutes>,
        to: WeeklyMinutes,
        on: Date,
    },
    LeaveStarted {
        on: Date,
    },
    LeaveEnded {
        on: Date,
    },
    NoticeGiven(GiveNotice),
    NoticeWithdrawn {
        on: Date,
    },
    Terminated(Ending),
    /// The source took back a termination: it never was.
    TerminationReversed {
        on: Date,
    },
    /// The record vanished at its source (a duplicate or a mistake there), which is not a termination.
    SourceRecordDeleted {
        on: Date,
    },
    ContactChanged {
        name: Personal<Name>,
        contact: Personal<Contact>,
        on: Date,
    },
    /// Protected attributes: for the fairness store only, never for a model.
    DemographicsChanged {
        demographics: Personal<Demographics>,
        on: Date,
    },
    /// Fields that the source sent and Tenure has no word for: kept, not dropped.
    SourceFieldsKept {
        fields: Personal<BTreeMap<String, String>>,
        on: Date,
    },
    AssessmentCompleted(Assessment),
    ReviewRecorded(Review),
    SurveyAnswered(Survey),
    RecognitionGiven(Recognition),
    AbsenceRecorded(Absence),
    OvertimeRecorded(Overtime),
    NoteWritten(Note),
    ScoringObjected(Objection),
    ScoringObjectionWithdrawn(Objection),
    /// A colleague of the team, or the manager, gave notice or left.
    ColleagueLeft(ColleagueLeft),
    /// They do not leave after all: what [`Self::ColleagueLeft`] said of that day counts no longer.
    ColleagueStayed(ColleagueStayed),
    Erased(Erasure),
}

/// Why a command was refused. The text names the rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("this person is not on file: import the employee from its HRIS first")]
    NotOnFile,
    #[error("the source gives no hire date, and without one nobody can be put on file")]
    HireDateMissing,
    #[error("{on} is before the first day of work, {hired_on}")]
    BeforeHire { on: Date, hired_on: Date },
    #[error("on {on} this person was not employed")]
    NotEmployedOn { on: Date },
    #[error("{on} is more than {DAYS_AHEAD_MAX} days ahead, or lies in the future where only the past makes sense")]
    TooFarAhead { on: Date },
    #[error("{what} must lie between {min} and {max}")]
    OutOfRange { what: &'static str, min: u32, max: u32 },
    #[error("{what} must not be empty or longer than {max} characters")]
    BadText { what: &'static str, max: usize },
    #[error("the last day, {last_day}, is before the day of notice, {on}")]
    LastDayBeforeNotice { on: Date, last_day: Date },
    #[error("this person's record has been erased")]
    Erased,
}

/// Where a record comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub connection: ConnectionId,
    /// The source's own id of the person.
    pub remote_id: String,
}

/// A person's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    pub first: String,
    pub last: String,
    pub preferred: Option<String>,
}

impl Name {
    /// The name to show: the preferred first name, if there is one, and the last name.
    #[must_use]
    pub fn display(&self) -> String {
        let first = self
            .preferred
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.first);
        format!("{first} {}", self.last).trim().to_owned()
    }
}

/// How to reach a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    pub work_email: Option<String>,
    pub work_phone: Option<String>,
    pub mobile_phone: Option<String>,
}

/// Protected attributes, as the source words them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demographics {
    pub gender: Option<String>,
    pub date_of_birth: Option<Date>,
    pub ethnicity: Option<String>,
}

/// What someone does, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub title: Option<String>,
    pub department: Option<String>,
    pub division: Option<String>,
    pub location: Option<String>,
}

/// Contractual working time: minutes per week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WeeklyMinutes(pub u16);

/// Whether someone works here on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    Working,
    OnLeave,
    Ended(Ended),
    /// The source deleted the record.
    Deleted,
}

impl Standing {
    /// Whether the person is employed, at work or on leave.
    #[must_use]
    pub const fn is_employed(&self) -> bool {
        match self {
            Self::Working | Self::OnLeave => true,
            Self::Ended(_) | Self::Deleted => false,
        }
    }
}

/// Who wanted the end of an employment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voluntariness {
    Voluntary,
    Involuntary,
    Retirement,
    Death,
    /// The source does not say.
    Unknown,
}

impl Voluntariness {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Voluntary => "voluntary",
            Self::Involuntary => "involuntary",
            Self::Retirement => "retirement",
            Self::Death => "death",
            Self::Unknown => "unknown",
        }
    }
}

/// How an employment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    pub voluntariness: Voluntariness,
    /// The source's own words.
    pub reason: Option<Personal<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hired {
    pub on: Date,
    pub source: Option<Source>,
    pub name: Personal<Name>,
    pub contact: Personal<Contact>,
    pub job: Job,
    pub manager: Option<EmployeeId>,
    pub pay: Option<Personal<PayRate>>,
    pub hours: Option<WeeklyMinutes>,
}

/// A transfer or a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    pub from: Job,
    pub to: Job,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayChanged {
    pub from: Option<Personal<PayRate>>,
    pub to: Personal<PayRate>,
    /// The source's own words, such as "Merit".
    pub reason: Option<Personal<String>>,
    pub on: Date,
}

/// The end of an employment: the first day on which the person no longer works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub on: Date,
    #[serde(flatten)]
    pub ended: Ended,
}

/// Notice of leaving, given on a day, for a last day that may not be fixed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveNotice {
    pub on: Date,
    pub last_day: Option<Date>,
    pub voluntariness: Voluntariness,
}

/// A completed assessment; the score is in percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    pub on: Date,
    pub name: String,
    pub score: Personal<u8>,
}

/// A performance review; the rating goes from 1 (poor) to 5 (outstanding).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    pub on: Date,
    pub rating: Personal<u8>,
    #[serde(default)]
    pub reviewer: Option<EmployeeId>,
}

/// A survey answer; the score goes from 0 to 10.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    pub on: Date,
    pub survey: String,
    pub score: Personal<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recognition {
    pub on: Date,
    /// Who gave it.
    pub from: EmployeeId,
}

/// An absence; why is nobody's business but payroll's, so the kind is personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absence {
    /// The first day.
    pub on: Date,
    /// Working days.
    pub days: u16,
    #[serde(default)]
    pub kind: Option<Personal<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overtime {
    /// The first day of the week.
    pub on: Date,
    pub minutes: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub on: Date,
    pub text: Personal<String>,
}

/// GDPR art. 21: the person objects to being scored (or no longer does).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objection {
    pub on: Date,
}

/// Who somebody is to a person when they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Both reported to the same manager.
    Peer,
    /// The person reported to them.
    Manager,
}

impl Relation {
    pub const ALL: [Self; 2] = [Self::Peer, Self::Manager];

    /// The relation's stable name, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Manager => "manager",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relation| relation.name() == name)
    }
}

/// The exit of somebody of the team: the day of the notice, or the first day away where no notice is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColleagueLeft {
    pub colleague: EmployeeId,
    pub relation: Relation,
    pub on: Date,
}

/// An exit that is none any more; `on` is the day that the exit was told for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColleagueStayed {
    pub colleague: EmployeeId,
    pub on: Date,
}

/// GDPR art. 17: the person's data is made unreadable; `basis` names the request or the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    pub on: Date,
    pub basis: String,
}

impl Event {
    /// The day on which it is true in the world.
    #[must_use]
    pub const fn effective_on(&self) -> Date {
        match self {
            Self::Hired(hired) => hired.on,
            Self::Rehired { on }
            | Self::ManagerChanged { on, .. }
            | Self::HoursChanged { on, .. }
            | Self::LeaveStarted { on }
            | Self::LeaveEnded { on }
            | Self::NoticeWithdrawn { on }
            | Self::TerminationReversed { on }
            | Self::SourceRecordDeleted { on }
            | Self::ContactChanged { on, .. }
            | Self::DemographicsChanged { on, .. }
            | Self::SourceFieldsKept { on, .. } => *on,
            Self::Transferred(moved) | Self::Promoted(moved) => moved.on,
            Self::PayChanged(change) => change.on,
            Self::NoticeGiven(notice) => notice.on,
            Self::Terminated(ending) => ending.on,
            Self::AssessmentCompleted(assessment) => assessment.on,
            Self::ReviewRecorded(review) => review.on,
            Self::SurveyAnswered(survey) => survey.on,
            Self::RecognitionGiven(recognition) => recognition.on,
            Self::AbsenceRecorded(absence) => absence.on,
            Self::OvertimeRecorded(overtime) => overtime.on,
            Self::NoteWritten(note) => note.on,
            Self::ScoringObjected(objection) | Self::ScoringObjectionWithdrawn(objection) => objection.on,
            Self::ColleagueLeft(exit) => exit.on,
            Self::ColleagueStayed(exit) => exit.on,
            Self::Erased(erasure) => erasure.on,
        }
    }
}

/// The state that commands are judged against.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Employee {
    /// Nobody has told of this person yet.
    #[default]
    Unknown,
    OnFile(Box<File>),
    Erased,
}

/// Everything that is believed of a person, by the day on which it is true.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The first day of the first employment.
    pub hired_on: Date,
    pub standing: Dated<Standing>,
    pub notice: Option<GiveNotice>,
    pub name: Personal<Name>,
    pub contact: Personal<Contact>,
    pub demographics: Personal<Demographics>,
    pub jobs: Dated<Job>,
    pub managers: Dated<Option<EmployeeId>>,
    pub pay: Dated<Personal<PayRate>>,
    pub hours: Dated<WeeklyMinutes>,
    pub source_fields: Personal<BTreeMap<String, String>>,
    pub objects_to_scoring: bool,
    /// Exits in the team, by day and colleague.
    pub colleagues_left: BTreeMap<(Date, EmployeeId), Relation>,
}

impl Aggregate for Employee {
    const KIND: Kind = Kind::Employee;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Synchronise(snapshot) => self.synchronise(*snapshot, today),
            Command::GiveNotice(notice) => self.give_notice(notice, today),
            Command::CompleteAssessment(assessment) => self.complete_assessment(assessment, today),
            Command::RecordReview(review) => self.record_review(review, today),
            Command::AnswerSurvey(survey) => self.answer_survey(survey, today),
            Command::GiveRecognition(recognition) => self.give_recognition(recognition, today),
            Command::RecordAbsence(absence) => self.record_absence(absence, today),
            Command::RecordOvertime(overtime) => self.record_overtime(overtime, today),
            Command::WriteNote(note) => self.write_note(note, today),
            Command::ObjectToScoring(objection) => self.object_to_scoring(objection),
            Command::WithdrawObjection(objection) => self.withdraw_objection(objection),
            Command::HearOfExit(exit) => Ok(self.hear_of_exit(exit)),
            Command::HearOfStay(exit) => Ok(self.hear_of_stay(exit)),
            Command::Erase(erasure) => self.erase(erasure),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        match (self, event) {
            (_, Event::Erased(_)) | (Self::Erased, _) => Self::Erased,
            (Self::Unknown, Event::Hired(hired)) => Self::OnFile(Box::new(File::opened_by(hired))),
            // Nothing can precede the hire but a broken log; the fact is kept out rather than guessed into.
            (Self::Unknown, _) => Self::Unknown,
            (Self::OnFile(mut file), event) => {
                file.apply(event);
                Self::OnFile(file)
            }
        }
    }
}

/// Judging.
impl Employee {
    fn file(&self) -> Result<&File, Rejection> {
        match self {
            Self::Unknown => Err(Rejection::NotOnFile),
            Self::OnFile(file) => Ok(file),
            Self::Erased => Err(Rejection::Erased),
        }
    }

    /// The file, if the person was employed on `on`, and that is not in the future.
    fn employed_on(&self, on: Date, today: Date) -> Result<&File, Rejection> {
        let file = self.file()?;
        if on > today {
            return Err(Rejection::TooFarAhead { on });
        }
        if on < file.hired_on {
            return Err(Rejection::BeforeHire {
                on,
                hired_on: file.hired_on,
            });
        }
        match file.standing.at(on) {
            Some(standing) if standing.is_employed() => Ok(file),
            Some(_) | None => Err(Rejection::NotEmployedOn { on }),
        }
    }

    fn give_notice(&self, notice: GiveNotice, today: Date) -> Result<Vec<Event>, Rejection> {
        let file = self.employed_on(notice.on, today)?;
        if let Some(last_day) = notice.last_day {
            if last_day < notice.on {
                return Err(Rejection::LastDayBeforeNotice {
                    on: notice.on,
                    last_day,
                });
            }
            not_too_far_ahead(last_day, today)?;
        }
        if file.notice.as_ref() == Some(&notice) {
            return Ok(vec![]);
        }
        Ok(vec![Event::NoticeGiven(notice)])
    }

    fn complete_assessment(&self, assessment: Assessment, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(assessment.on, today)?;
        text("the assessment's name", &assessment.name, 200)?;
        range("an assessment's score", &assessment.score, 0, 100)?;
        Ok(vec![Event::AssessmentCompleted(assessment)])
    }

    fn record_review(&self, review: Review, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(review.on, today)?;
        range("a rating", &review.rating, 1, 5)?;
        Ok(vec![Event::ReviewRecorded(review)])
    }

    fn answer_survey(&self, survey: Survey, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(survey.on, today)?;
        text("the survey's name", &survey.survey, 200)?;
        range("a survey score", &survey.score, 0, 10)?;
        Ok(vec![Event::SurveyAnswered(survey)])
    }

    fn give_recognition(&self, recognition: Recognition, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(recognition.on, today)?;
        Ok(vec![Event::RecognitionGiven(recognition)])
    }

    fn record_absence(&self, absence: Absence, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(absence.on, today)?;
        if !(1..=ABSENCE_DAYS_MAX).contains(&absence.days) {
            return Err(Rejection::OutOfRange {
                what: "days of absence",
                min: 1,
                max: u32::from(ABSENCE_DAYS_MAX),
            });
        }
        Ok(vec![Event::AbsenceRecorded(absence)])
    }

    fn record_overtime(&self, overtime: Overtime, today: Date) -> Result<Vec<Event>, Rejection> {
        self.employed_on(overtime.on, today)?;
        if !(1..=OVERTIME_MINUTES_MAX).contains(&overtime.minutes) {
            return Err(Rejection::OutOfRange {
                what: "minutes of overtime",
                min: 1,
                max: u32::from(OVERTIME_MINUTES_MAX),
            });
        }
        Ok(vec![Event::OvertimeRecorded(overtime)])
    }

    fn write_note(&self, note: Note, today: Date) -> Result<Vec<Event>, Rejection> {
        self.file()?;
        if note.on > today {
            return Err(Rejection::TooFarAhead { on: note.on });
        }
        if let Some(words) = note.text.open() {
            text("a note", words, NOTE_CHARS_MAX)?;
        }
        Ok(vec![Event::NoteWritten(note)])
    }

    fn object_to_scoring(&self, objection: Objection) -> Result<Vec<Event>, Rejection> {
        Ok(if self.file()?.objects_to_scoring {
            vec![]
        } else {
            vec![Event::ScoringObjected(objection)]
        })
    }

    fn withdraw_objection(&self, objection: Objection) -> Result<Vec<Event>, Rejection> {
        Ok(if self.file()?.objects_to_scoring {
            vec![Event::ScoringObjectionWithdrawn(objection)]
        } else {
            vec![]
        })
    }

    /// Whether the person belonged to the team on that day is for the one to say who knows the teams (the projection `teams`),
    /// and not judged again here: this stream may be ahead of what it has seen, and it takes back what turns out otherwise.
    fn hear_of_exit(&self, exit: ColleagueLeft) -> Vec<Event> {
        match self {
            Self::OnFile(file) if file.colleagues_left.get(&(exit.on, exit.colleague)) != Some(&exit.relation) => {
                vec![Event::ColleagueLeft(exit)]
            }
            Self::OnFile(_) | Self::Unknown | Self::Erased => vec![],
        }
    }

    fn hear_of_stay(&self, exit: ColleagueStayed) -> Vec<Event> {
        match self {
            Self::OnFile(file) if file.colleagues_left.contains_key(&(exit.on, exit.colleague)) => {
                vec![Event::ColleagueStayed(exit)]
            }
            Self::OnFile(_) | Self::Unknown | Self::Erased => vec![],
        }
    }

    fn erase(&self, erasure: Erasure) -> Result<Vec<Event>, Rejection> {
        match self {
            Self::Unknown => Err(Rejection::NotOnFile),
            Self::OnFile(_) => {
                text("the basis of an erasure", &erasure.basis, 500)?;
                Ok(vec![Event::Erased(erasure)])
            }
            Self::Erased => Ok(vec![]),
        }
    }
}

/// Evolving.
impl File {
    fn opened_by(hired: &Hired) -> Self {
        let mut file = Self {
            hired_on: hired.on,
            standing: [(hired.on, Standing::Working)].into_iter().collect(),
            notice: None,
            name: hired.name.clone(),
            contact: hired.contact.clone(),
            demographics: Personal::Open(Demographics::default()),
            jobs: [(hired.on, hired.job.clone())].into_iter().collect(),
            managers: [(hired.on, hired.manager)].into_iter().collect(),
            pay: Dated::default(),
            hours: Dated::default(),
            source_fields: Personal::Open(BTreeMap::new()),
            objects_to_scoring: false,
            colleagues_left: BTreeMap::new(),
        };
        if let Some(pay) = &hired.pay {
            file.pay.set(hired.on, pay.clone());
        }
        if let Some(hours) = hired.hours {
            file.hours.set(hired.on, hours);
        }
        file
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Hired(hired) => *self = Self::opened_by(hired),
            Event::Rehired { on } => {
                self.standing.set(*on, Standing::Working);
                self.notice = None;
            }
            Event::LeaveEnded { on } => self.standing.set(*on, Standing::Working),
            Event::TerminationReversed { on } => {
                let before = self
                    .standing
                    .before(*on)
                    .filter(|standing| standing.is_employed())
                    .cloned();
                self.standing.set(*on, before.unwrap_or(Standing::Working));
            }
            Event::LeaveStarted { on } => self.standing.set(*on, Standing::OnLeave),
            Event::Transferred(moved) | Event::Promoted(moved) => self.jobs.set(moved.on, moved.to.clone()),
            Event::ManagerChanged { to, on, .. } => self.managers.set(*on, *to),
            Event::PayChanged(change) => self.pay.set(change.on, change.to.clone()),
            Event::HoursChanged { to, on, .. } => self.hours.set(*on, *to),
            Event::NoticeGiven(notice) => self.notice = Some(notice.clone()),
            Event::NoticeWithdrawn { .. } => self.notice = None,
            Event::Terminated(ending) => {
                self.standing.set(ending.on, Standing::Ended(ending.ended.clone()));
                self.notice = None;
            }
            Event::SourceRecordDeleted { on } => self.standing.set(*on, Standing::Deleted),
            Event::ContactChanged { name, contact, .. } => {
                self.name = name.clone();
                self.contact = contact.clone();
            }
            Event::DemographicsChanged { demographics, .. } => self.demographics = demographics.clone(),
            Event::SourceFieldsKept { fields, .. } => self.source_fields = fields.clone(),
            Event::ScoringObjected(_) => self.objects_to_scoring = true,
            Event::ScoringObjectionWithdrawn(_) => self.objects_to_scoring = false,
            Event::ColleagueLeft(exit) => {
                self.colleagues_left.insert((exit.on, exit.colleague), exit.relation);
                if self.colleagues_left.len() > COLLEAGUES_MAX {
                    self.colleagues_left.pop_first();
                }
            }
            Event::ColleagueStayed(exit) => drop(self.colleagues_left.remove(&(exit.on, exit.colleague))),
            // Measurements: no rule looks back at them.
            Event::AssessmentCompleted(_)
            | Event::ReviewRecorded(_)
            | Event::SurveyAnswered(_)
            | Event::RecognitionGiven(_)
            | Event::AbsenceRecorded(_)
            | Event::OvertimeRecorded(_)
            | Event::NoteWritten(_)
            | Event::Erased(_) => {}
        }
    }
}

fn not_too_far_ahead(on: Date, today: Date) -> Result<(), Rejection> {
    if (on - today).num_days() > DAYS_AHEAD_MAX {
        Err(Rejection::TooFarAhead { on })
    } else {
        Ok(())
    }
}

fn range(what: &'static str, value: &Personal<u8>, min: u8, max: u8) -> Result<(), Rejection> {
    match value.open() {
        Some(value) if !(min..=max).contains(value) => Err(Rejection::OutOfRange {
            what,
            min: u32::from(min),
            max: u32::from(max),
        }),
        Some(_) | None => Ok(()),
    }
}

fn text(what: &'static str, value: &str, max: usize) -> Result<(), Rejection> {
    if value.trim().is_empty() || value.chars().count() > max {
        Err(Rejection::BadText { what, max })
    } else {
        Ok(())
    }
}
