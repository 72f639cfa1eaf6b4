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
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use domain::{
    Date, Dated, Personal,
    employee::{Field, Job, Rows, Snapshot, Source},
    id::{EmployeeId, TenantId},
};
use infra::clock;

use self::{
    client::{Client, Group},
    worker::{Organisation, Position, State, Worker},
};
use crate::source::{Problem, SourceProblem, Warning};

/// How far ahead what is entered already is looked for.
pub const AHEAD: TimeDelta = TimeDelta::days(2 * 366);
/// The most days that are asked about for one worker.
pub const ASKED_MAX: usize = 96;
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
    let Some(first) = worker.hired_on.filter(|first| *first <= last) else {
        // Without a first day there is no time to ask about: what holds today is all.
        answers.retain(|day, _| *day <= today);
        return Ok((snapshot((tenant, source), today, worker, &answers), warnings));
    };
    answers.retain(|day, _| *day >= first);
    if let Entry::Vacant(open) = answers.entry(first) {
        open.insert(state(client, (&source, first), entered_by, &mut warnings).await?);
    }
    let logged: BTreeSet<Date> = worker.log.range(first..=last).rev().take(LOGGED_MAX).copied().collect();
    // What changed and changed back between two equal answers is seen if the log names its day.
    let unseen = |answers: &BTreeMap<Date, State>| logged.iter().rev().find(|day| !answers.contains_key(day)).copied();
    while let Some(day) = next(&answers, &logged).or_else(|| unseen(&answers)) {
        if answers.len() >= ASKED_MAX || began.elapsed() > ASKING_MAX {
            let (field, problem) = ("history".to_owned(), Problem::TooLong);
            warnings.push(Warning { field, problem });
            break;
        }
        let state = state(client, (&source, day), entered_by, &mut warnings).await?;
        answers.insert(day, state);
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
fn next(answers: &BTreeMap<Date, State>, logged: &BTreeSet<Date>) -> Option<Date> {
    let told = answers.values().flat_map(|state| {
        let dated = [
            state.standing.since,
            state.position.since,
            state.hours.since,
            state.pay.since,
        ];
        dated.into_iter().flatten()
    });
    let hints: BTreeSet<Date> = told.chain(logged.iter().copied()).collect();
    let open = [
        history::ask(answers, &hints, |state| &state.standing),
        history::ask(answers, &hints, |state| &state.position),
        history::ask(answers, &hints, |state| &state.organisation),
        history::ask(answers, &hints, |state| &state.manager),
        history::ask(answers, &hints, |state| &state.hours),
        history::ask(answers, &hints, |state| &state.pay),
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
    snapshot.jobs = jobs(answers, &mut snapshot.unsaid);
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
    let shows_all = worker.state.position.value.is_some() && worker.state.organisation.value.is_some();
    snapshot.other = shows_all.then_some(Personal::Open(worker.other));
    let person = worker.person;
    snapshot.say_name(person.first_name, person.last_name, person.preferred_name);
    snapshot.say_contact(person.work_email, person.work_phone, person.mobile_phone);
    snapshot.say_demographics(person.gender, person.date_of_birth, person.ethnicity);
    if worker.hired_on.is_none() {
        // Nothing was asked about the time before today.
        snapshot.standing.complete = false;
        snapshot.jobs.complete = false;
        snapshot.hours.complete = false;
        snapshot.managers.complete = false;
        snapshot.pay.complete = false;
    }
    snapshot
}

/// Positions and organisations together. What no answer says of them is unsaid.
fn jobs(answers: &BTreeMap<Date, State>, unsaid: &mut BTreeSet<Field>) -> Rows<Job> {
    let positions = history::rows(answers, |state| &state.position);
    let organisations = history::rows(answers, |state| &state.organisation);
    let says = |part: fn(&Position) -> bool| positions.known.iter().any(|(_, position)| part(position));
    let withheld = [
        (!says(|position| position.title.is_some()), Field::JobTitle),
        (!says(|position| position.location.is_some()), Field::Location),
        (organisations.known.is_empty(), Field::Department),
        (organisations.known.is_empty(), Field::Division),
    ];
    if positions.known.is_empty() && organisations.known.is_empty() {
        return Rows::default();
    }
    let withheld = withheld.into_iter().filter(|(is_withheld, _)| *is_withheld);
    unsaid.extend(withheld.map(|(_, field)| field));
    let days: BTreeSet<Date> = (positions.known.iter().map(|(on, _)| *on))
        .chain(organisations.known.iter().map(|(on, _)| *on))
        .collect();
    let (at_positions, at_organisations): (Dated<Position>, Dated<Organisation>) = (
        positions.known.into_iter().collect(),
        organisations.known.into_iter().collect(),
    );
    let job = |on: Date| {
        let position = on_or_first(&at_positions, on);
        let organisation = on_or_first(&at_organisations, on);
        let job = Job {
            title: position.title,
            department: organisation.department,
            division: organisation.division,
            location: position.location,
        };
        (on, job)
    };
    Rows {
        known: days.into_iter().map(job).collect(),
        complete: (positions.complete || at_positions.is_empty())
            && (organisations.complete || at_organisations.is_empty()),
    }
}

/// What holds on a day; before the first, that, for want of better.
fn on_or_first<T: Clone + Default>(dated: &Dated<T>, on: Date) -> T {
    let first = || dated.facts().next().map(|(_, value)| value);
    dated.at(on).or_else(first).cloned().unwrap_or_default()
}

impl Worker {
    /// Whether the first day has come.
    fn is_hired(&self) -> bool {
        self.state.standing.value.is_some()
    }
}
