//! Changes of pay that are decided here and made elsewhere: asked for, approved, submitted to the HRIS or the payroll, and believed
//! only when that system shows them. An answer of 200 is never taken for "applied".
//!
//! One stream per employee, with the employee's id: two changes for one day meet in it, and it is sealed under the employee's key, so that
//! an erasure reaches it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, Date, Kind, Personal,
    employee::{DAYS_AHEAD_MAX, Source},
    id::PayChangeId,
    money::PayRate,
};

/// The most changes of one employee that are under way at once.
pub const UNDER_WAY_MAX: usize = 20;
/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    Request(Request),
    Approve(Decision),
    Decline(Declining),
    /// Takes back what one has asked for, and nobody has begun to submit.
    Withdraw(Decision),
    /// Waits no longer for what was begun to be submitted.
    Abandon(Decision),
    /// From now on it may be at the other system, whatever becomes of the attempt.
    BeginSubmission(Step),
    ReportSubmitted(Submission),
    ReportAccepted(Step),
    ReportRejected(Refusal),
    ReportEffective(Step),
    ReportOvertaken(Step),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    Requested(Request),
    Approved(Decision),
    Declined(Declining),
    Withdrawn(Decision),
    /// Nobody waits for it any more. What the other system has is for people to find out.
    Abandoned(Decision),
    SubmissionBegun(Step),
    /// The other system took the request. That is not the change.
    Submitted(Submission),
    /// The other system shows the rate from the day on.
    Accepted(Step),
    /// The other system refused it, or has something else.
    Rejected(Refusal),
    /// The day has come, and the other system still shows it.
    Effective(Step),
    /// Accepted once, and not what the other system has for the day any more.
    Overtaken(Step),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub change: PayChangeId,
    /// Where it is to be made, and whom that system knows the employee as.
    pub at: Source,
    pub to: Personal<PayRate>,
    /// The first day with the new rate.
    pub effective_on: Date,
    /// The rate that the other system has from that day on, and that this one replaces. None: no rate begins on that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Personal<PayRate>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<String>>,
    /// Who asks, as actors are named in the log.
    pub by: String,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub change: PayChangeId,
    pub by: String,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declining {
    pub change: PayChangeId,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<String>>,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub change: PayChangeId,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    pub change: PayChangeId,
    /// What the other system calls the request, if it has a name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub on: Date,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub change: PayChangeId,
    /// A stable word, such as `refused` or `day-taken`.
    pub cause: String,
    /// The other system's own words, without what could be a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub on: Date,
}

/// Why a command was refused. The text names the rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("a rate of pay must be more than nothing")]
    NoRate,
    #[error("this is the rate that it is to replace")]
    NothingNew,
    #[error("{on} is more than {DAYS_AHEAD_MAX} days ahead")]
    TooFarAhead { on: Date },
    #[error("a reason must not be empty or longer than {REASON_CHARS_MAX} characters")]
    BadReason,
    #[error(
        "another change of this employee's pay is under way for {on}: withdraw it, or say that this one is instead of it"
    )]
    DayTaken { on: Date },
    #[error("{UNDER_WAY_MAX} changes of this employee's pay are under way already")]
    TooMany,
    #[error("there is no such change of pay")]
    Unknown,
    #[error("whoever asked for a change of pay does not decide about it: somebody else must")]
    OwnRequest,
    #[error("only whoever asked for a change of pay takes it back; others decline it")]
    NotYours,
    #[error("nothing was submitted yet: withdraw it, or decline it")]
    NotBegun,
    #[error("this change of pay is {} already", .0.words())]
    Already(Stage),
}

impl Event {
    /// The day on which it is true in the world: for all but the request's own first day with the new rate, which is in its data.
    #[must_use]
    pub const fn effective_on(&self) -> Date {
        match self {
            Self::Requested(request) => request.on,
            Self::Approved(decision) | Self::Withdrawn(decision) | Self::Abandoned(decision) => decision.on,
            Self::Declined(declining) => declining.on,
            Self::SubmissionBegun(step) | Self::Accepted(step) | Self::Effective(step) | Self::Overtaken(step) => {
                step.on
            }
            Self::Submitted(submission) => submission.on,
            Self::Rejected(refusal) => refusal.on,
        }
    }

    /// Which change it is about.
    #[must_use]
    pub const fn change(&self) -> PayChangeId {
        match self {
            Self::Requested(request) => request.change,
            Self::Approved(decision) | Self::Withdrawn(decision) | Self::Abandoned(decision) => decision.change,
            Self::Declined(declining) => declining.change,
            Self::SubmissionBegun(step) | Self::Accepted(step) | Self::Effective(step) | Self::Overtaken(step) => {
                step.change
            }
            Self::Submitted(submission) => submission.change,
            Self::Rejected(refusal) => refusal.change,
        }
    }

    /// Where the change stands after it.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Requested(_) => Stage::Requested,
            Self::Approved(_) => Stage::Approved,
            Self::Declined(_) => Stage::Declined,
            Self::Withdrawn(_) => Stage::Withdrawn,
            Self::Abandoned(_) => Stage::Abandoned,
            Self::SubmissionBegun(_) => Stage::Submitting,
            Self::Submitted(_) => Stage::Submitted,
            Self::Accepted(_) => Stage::Accepted,
            Self::Rejected(_) => Stage::Rejected,
            Self::Effective(_) => Stage::Effective,
            Self::Overtaken(_) => Stage::Overtaken,
        }
    }
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Requested,
    Approved,
    /// It may be at the other system, or not.
    Submitting,
    Submitted,
    Accepted,
    Declined,
    Withdrawn,
    Abandoned,
    Rejected,
    Effective,
    Overtaken,
}

impl Stage {
    pub const ALL: [Self; 11] = [
        Self::Requested,
        Self::Approved,
        Self::Submitting,
        Self::Submitted,
        Self::Accepted,
        Self::Declined,
        Self::Withdrawn,
        Self::Abandoned,
        Self::Rejected,
        Self::Effective,
        Self::Overtaken,
    ];

    /// The stage's stable name, as stored and asked for.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Approved => "APPROVED",
            Self::Submitting => "SUBMITTING",
            Self::Submitted => "SUBMITTED",
            Self::Accepted => "ACCEPTED",
            Self::Declined => "DECLINED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Abandoned => "ABANDONED",
            Self::Rejected => "REJECTED",
            Self::Effective => "EFFECTIVE",
            Self::Overtaken => "OVERTAKEN",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether something is still to come.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        match self {
            Self::Requested | Self::Approved | Self::Submitting | Self::Submitted | Self::Accepted => true,
            Self::Declined | Self::Withdrawn | Self::Abandoned | Self::Rejected | Self::Effective | Self::Overtaken => {
                false
            }
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Requested => "asked for",
            Self::Approved => "approved",
            Self::Submitting => "being submitted",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted by the other system",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Abandoned => "abandoned",
            Self::Rejected => "rejected by the other system",
            Self::Effective => "effective",
            Self::Overtaken => "overtaken by the other system",
        }
    }
}

/// One change of pay, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub request: Request,
    pub stage: Stage,
    /// The day of the last event about it.
    pub since: Date,
    pub reference: Option<String>,
}

/// All changes of one employee's pay that were asked for here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PayChanges(BTreeMap<PayChangeId, Change>);

impl PayChanges {
    #[must_use]
    pub fn get(&self, change: PayChangeId) -> Option<&Change> {
        self.0.get(&change)
    }

    fn under_way(&self) -> impl Iterator<Item = &Change> {
        self.0.values().filter(|change| change.stage.is_under_way())
    }

    fn request(&self, request: Request, today: Date) -> Result<Vec<Event>, Rejection> {
        if self.0.contains_key(&request.change) {
            return Ok(vec![]);
        }
        if request.to.open().is_none_or(|rate| rate.amount.minor_units <= 0) {
            return Err(Rejection::NoRate);
        }
        if request.instead_of.as_ref() == Some(&request.to) {
            return Err(Rejection::NothingNew);
        }
        if (request.effective_on - today).num_days() > DAYS_AHEAD_MAX {
            return Err(Rejection::TooFarAhead {
                on: request.effective_on,
            });
        }
        check_reason(request.reason.as_ref())?;
        // What the other system has by now can be replaced by whoever knows of it: it is overtaken then.
        let is_replaced = |change: &Change| {
            change.stage == Stage::Accepted && request.instead_of.as_ref() == Some(&change.request.to)
        };
        if self
            .under_way()
            .any(|change| change.request.effective_on == request.effective_on && !is_replaced(change))
        {
            return Err(Rejection::DayTaken {
                on: request.effective_on,
            });
        }
        if self.under_way().count() >= UNDER_WAY_MAX {
            return Err(Rejection::TooMany);
        }
        Ok(vec![Event::Requested(request)])
    }

    /// Who decides about a request is not who made it.
    fn decide_by_another(&self, event: Event, by: &str, at: &[Stage]) -> Result<Vec<Event>, Rejection> {
        let known = self.get(event.change()).ok_or(Rejection::Unknown)?;
        if known.stage == event.stage() {
            return Ok(vec![]);
        }
        if !at.contains(&known.stage) {
            return Err(Rejection::Already(known.stage));
        }
        if known.request.by == by {
            return Err(Rejection::OwnRequest);
        }
        Ok(vec![event])
    }

    fn withdraw(&self, decision: Decision) -> Result<Vec<Event>, Rejection> {
        let known = self.get(decision.change).ok_or(Rejection::Unknown)?;
        let stage = known.stage;
        match stage {
            Stage::Requested | Stage::Approved if known.request.by != decision.by => Err(Rejection::NotYours),
            Stage::Requested | Stage::Approved => Ok(vec![Event::Withdrawn(decision)]),
            Stage::Withdrawn => Ok(vec![]),
            Stage::Submitting
            | Stage::Submitted
            | Stage::Accepted
            | Stage::Declined
            | Stage::Abandoned
            | Stage::Rejected
            | Stage::Effective
            | Stage::Overtaken => Err(Rejection::Already(stage)),
        }
    }

    fn abandon(&self, decision: Decision) -> Result<Vec<Event>, Rejection> {
        let stage = self.get(decision.change).ok_or(Rejection::Unknown)?.stage;
        match stage {
            Stage::Submitting | Stage::Submitted | Stage::Accepted => Ok(vec![Event::Abandoned(decision)]),
            Stage::Abandoned => Ok(vec![]),
            Stage::Requested | Stage::Approved => Err(Rejection::NotBegun),
            Stage::Declined | Stage::Withdrawn | Stage::Rejected | Stage::Effective | Stage::Overtaken => {
                Err(Rejection::Already(stage))
            }
        }
    }

    /// What is told of the other system counts at the stages at which it is news; told late or twice it changes nothing.
    fn news(&self, event: Event, at: &[Stage]) -> Result<Vec<Event>, Rejection> {
        let known = self.get(event.change()).ok_or(Rejection::Unknown)?;
        Ok(if at.contains(&known.stage) { vec![event] } else { vec![] })
    }
}

fn check_reason(reason: Option<&Personal<String>>) -> Result<(), Rejection> {
    match reason.and_then(Personal::open) {
        Some(reason) if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX => {
            Err(Rejection::BadReason)
        }
        Some(_) | None => Ok(()),
    }
}

impl Aggregate for PayChanges {
    const KIND: Kind = Kind::PayChange;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Request(request) => self.request(request, today),
            Command::Approve(decision) => {
                let by = decision.by.clone();
                self.decide_by_another(Event::Approved(decision), &by, &[Stage::Requested])
            }
            Command::Decline(declining) => {
                check_reason(declining.reason.as_ref())?;
                // Also what was approved, as long as nothing was sent.
                let by = declining.by.clone();
                let at = [Stage::Requested, Stage::Approved];
                self.decide_by_another(Event::Declined(declining), &by, &at)
            }
            Command::Withdraw(decision) => self.withdraw(decision),
            Command::Abandon(decision) => self.abandon(decision),
            Command::BeginSubmission(step) => self.news(Event::SubmissionBegun(step), &[Stage::Approved]),
            Command::ReportSubmitted(submission) => self.news(Event::Submitted(submission), &[Stage::Submitting]),
            Command::ReportAccepted(step) => self.news(Event::Accepted(step), &[Stage::Submitting, Stage::Submitted]),
            Command::ReportRejected(refusal) => {
                self.news(Event::Rejected(refusal), &[Stage::Submitting, Stage::Submitted])
            }
            Command::ReportEffective(step) => self.news(Event::Effective(step), &[Stage::Accepted]),
            Command::ReportOvertaken(step) => self.news(Event::Overtaken(step), &[Stage::Accepted]),
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        if let Event::Requested(request) = event {
            let change = Change {
                request: request.clone(),
                stage: Stage::Requested,
                since: request.on,
                reference: None,
            };
            self.0.insert(request.change, change);
        } else if let Some(change) = self.0.get_mut(&event.change()) {
            change.stage = event.stage();
            change.since = event.effective_on();
            if let Event::Submitted(submission) = event {
                change.reference.clone_from(&submission.reference);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
