//! Workday: what is asked of it, and what that means.
//!
//! | module | does | IO |
//! |---|---|---|
//! | [`soap`] | writes envelopes, reads answers and faults | none |
//! | [`login`] | gets access tokens | HTTP |
//! | [`client`] | asks `Get_Workers` | HTTP |
//! | [`worker`] | reads what holds of a worker as of a day | none |
//! | [`history`] | finds out since when what holds | none |
//!
//! Workday knows every worker's history and gives none: it answers what is true as of a day. [`read`] asks about as many days as it
//! takes (ADR 23). Every wire shape here is from facts/connectors.md A2, and from the sources that docs/adr/0023 names.

pub mod client;
pub mod history;
pub mod login;
pub mod soap;
pub mod worker;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use domain::{
    Date, Personal,
    employee::{Snapshot, Source},
    id::{EmployeeId, TenantId},
};
use infra::clock;

use self::{
    client::{Client, Group},
    worker::{State, Worker},
};
use crate::source::{SourceProblem, Warning};

/// How far ahead what is entered already is looked for.
pub const AHEAD: TimeDelta = TimeDelta::days(2 * 366);
/// The most days that are asked about for one worker.
pub const ASKED_MAX: usize = 64;
/// The most days of the transaction log that are asked about, the latest first: most transactions concern nothing of what is read here.
pub const LOGGED_MAX: usize = 24;
/// How long is asked about one worker, well within a reading's time. What is not known then is told without being called complete.
pub const ASKING_MAX: Duration = Duration::from_secs(30);

/// Reads one worker with all their history, as of today.
///
/// A worker who is not shown is not gone: Workday keeps everybody, and an integration user without rights is shown nobody. So nothing is
/// said then.
///
/// # Errors
/// When the source cannot be asked.
pub async fn read(
    client: &Client,
    (tenant, source): (TenantId, Source),
    today: Date,
) -> Result<(Snapshot, Vec<Warning>), SourceProblem> {
    // All answers are of one moment: whatever is entered meanwhile is another reading's.
    let (entered_by, began) = (clock::now(), Instant::now());
    let last = today + AHEAD;
    let (current, ahead) = tokio::join!(
        client.worker(&source.remote_id, today, (Group::Everything, entered_by)),
        client.worker(&source.remote_id, last, (Group::Everything, entered_by)),
    );
    let (current, ahead) = (current?, ahead?);
    let known_days = [(today, &current), (last, &ahead)];
    let mut answers: BTreeMap<Date, State> = known_days
        .into_iter()
        .filter_map(|(day, worker)| Some((day, worker.as_ref()?.state.clone())))
        .collect();
    // Who comes later is not there today.
    let Some(worker) = current.filter(Worker::is_hired).or(ahead) else {
        return Ok((Snapshot::silent(source, today), Vec::new()));
    };
    let mut warnings = worker.warnings.clone();
    if let Some(first) = worker.hired_on {
        answers.retain(|day, _| *day >= first);
        if let Entry::Vacant(open) = answers.entry(first) {
            open.insert(state(client, (&source, first), entered_by, &mut warnings).await?);
        }
        let logged: Vec<Date> = worker.log.range(first..=last).rev().take(LOGGED_MAX).copied().collect();
        let mut logged = logged.into_iter();
        // What changed and changed back between two equal answers is seen if the log names its day.
        while let Some(day) = next(&answers).or_else(|| logged.find(|day| !answers.contains_key(day)))
            && answers.len() < ASKED_MAX
            && began.elapsed() < ASKING_MAX
        {
            let state = state(client, (&source, day), entered_by, &mut warnings).await?;
            answers.insert(day, state);
        }
    }
    Ok((snapshot((tenant, source), today, worker, &answers), warnings))
}

async fn state(
    client: &Client,
    (source, day): (&Source, Date),
    entered_by: domain::Timestamp,
    warnings: &mut Vec<Warning>,
) -> Result<State, SourceProblem> {
    let worker = client
        .worker(&source.remote_id, day, (Group::State, entered_by))
        .await?;
    let worker = worker.unwrap_or_default();
    let new: Vec<Warning> = worker
        .warnings
        .into_iter()
        .filter(|warning| !warnings.contains(warning))
        .collect();
    warnings.extend(new);
    Ok(worker.state)
}

/// The next day to ask about: the latest on which anything is open.
fn next(answers: &BTreeMap<Date, State>) -> Option<Date> {
    let open = [
        history::ask(answers, |state| &state.standing),
        history::ask(answers, |state| &state.job),
        history::ask(answers, |state| &state.manager),
        history::ask(answers, |state| &state.hours),
        history::ask(answers, |state| &state.pay),
    ];
    open.into_iter().flatten().max()
}

/// What the answers say. `worker` is the person as of today, or of those who come later as of then.
#[must_use]
pub fn snapshot(
    (tenant, source): (TenantId, Source),
    today: Date,
    worker: Worker,
    answers: &BTreeMap<Date, State>,
) -> Snapshot {
    let connection = source.connection;
    let mut snapshot = Snapshot::silent(source, today);
    snapshot.hired_on = worker.hired_on;
    snapshot.standing = history::rows(answers, |state| &state.standing);
    snapshot.jobs = history::rows(answers, |state| &state.job);
    snapshot.hours = history::rows(answers, |state| &state.hours);
    let managers = history::rows(answers, |state| &state.manager);
    snapshot.managers.complete = managers.complete;
    let who = |manager: Option<String>| manager.map(|id| EmployeeId::derive(tenant, connection, &id));
    snapshot.managers.known = managers
        .known
        .into_iter()
        .map(|(on, manager)| (on, who(manager)))
        .collect();
    let pay = history::rows(answers, |state| &state.pay);
    snapshot.pay.complete = pay.complete && answers.values().all(|state| !state.hides_pay);
    for (on, paid) in pay.known {
        if let Some(reason) = paid.reason {
            if reason.to_lowercase().contains("promotion") {
                snapshot.promotions.insert(on);
            }
            snapshot.pay_reasons.insert(on, Personal::Open(reason));
        }
        snapshot.pay.known.push((on, Personal::Open(paid.rate)));
    }
    // A part of the other fields would clear the rest.
    let shows_all = worker.state.job.value.is_some() && worker.unsaid.is_empty();
    snapshot.other = shows_all.then_some(Personal::Open(worker.other));
    snapshot.unsaid = worker.unsaid;
    let person = worker.person;
    snapshot.say_name(person.first_name, person.last_name, person.preferred_name);
    snapshot.say_contact(person.work_email, person.work_phone, person.mobile_phone);
    snapshot.say_demographics(person.gender, person.date_of_birth, person.ethnicity);
    snapshot
}

impl Worker {
    /// Whether the first day has come.
    fn is_hired(&self) -> bool {
        self.state.standing.value.is_some()
    }
}
