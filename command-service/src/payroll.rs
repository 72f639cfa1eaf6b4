//! Changes of pay that are approved here are made where people are paid from: in the HRIS, or in the payroll.
//!
//! ```text
//! approved ──► submission begun ──► submitted ──► accepted ──► effective
//!                    │ written before anything is sent   │ the system shows the rate  │ on its first day it still does
//!                    └────────────► rejected ◄───────────┘                            └──► overtaken
//! ```
//!
//! Each step is one event, and each event makes the next step due ([`infra::pay_change_task`]). No step believes an answer: before anything
//! is sent, and after, the rates that the system shows are read, and they decide. So a step may be done twice, a process may die anywhere, and
//! an answer may get lost. When something is settled, the person is read from the source, so that the profile follows.

use std::{iter, sync::Arc, time::Duration};

use chrono::{NaiveTime, TimeDelta};
use domain::{
    Aggregate, Date, Dated, Personal, StreamId,
    connection::System,
    employee::{self, Employee, Rows, Snapshot},
    id::{CommandId, ConnectionId, TenantId},
    money::PayRate,
    pay_change::{Change, Command, PayChanges, Refusal, Stage, Step, Submission as Submitted},
};
use infra::{
    clock,
    completion::FoundBy,
    database::{Access, Database, DatabaseError},
    pay_change_task::{self, Claimed},
    read_model::employee::{self as employee_table, EmployeeRow},
    route,
    sealing::Keyring,
};
use schemas::codec::AnyCommand;
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    CommandService,
    adp::{self, client::Unusable},
    appender::{
        AppenderError,
        streams::{AnyState, Known, Streams},
    },
    bamboohr,
    connections::{ConnectionsError, Live},
    gusto::{self, token::Tokens},
    intake::{self, Content, IntakeError, Submission},
    pace::Paces,
    source::{self, Backoff, SourceProblem},
    synchroniser,
};

/// Steps that are taken at once in this process.
const STEPS_MAX: usize = 16;
/// How often it is looked for steps when nobody rings.
const POLL: Duration = Duration::from_secs(1);
/// A step ends within this time, well before its lease.
const STEP_MAX: Duration = Duration::from_secs(50);
const _: () = assert!(STEP_MAX.as_secs() < pay_change_task::LEASE.as_secs());
/// How long to wait for what only people can mend.
const PEOPLE: Duration = Duration::from_secs(15 * 60);
/// After so many days a request that was taken, and is not shown, counts as rejected.
const SHOWN_WITHIN_DAYS: i64 = 3;
/// How long somebody is looked for in a payroll while they wait who ask for a change.
const FOUND_WITHIN: Duration = Duration::from_secs(20);
/// How long a request may still be at work of which nobody knows what became: before, it is not sent again.
const SETTLED_AFTER: Duration = Duration::from_secs(10 * 60);
/// How long at most until it is looked again for what is not shown before its day.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Why a request counts as rejected that was taken and is not shown.
const NOT_SHOWN: &str = "not-shown";
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(2),
    longest: Duration::from_secs(600),
};

/// What makes changes of pay.
pub enum Payroll {
    BambooHr(bamboohr::client::Client),
    Gusto {
        client: gusto::client::Client,
        tells_profiles: bool,
    },
    Adp {
        client: adp::client::Client,
        tells_profiles: bool,
    },
}

/// Who has a work address in a payroll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    One(String),
    Nobody,
    Several,
}

/// What it takes to ask.
pub struct Means<'a> {
    pub database: &'a Database,
    pub keyring: &'a Keyring,
    pub http: &'a reqwest::Client,
    pub paces: &'a Paces,
}

impl<'a> Means<'a> {
    const fn of(service: &'a CommandService) -> Self {
        Self {
            database: &service.database,
            keyring: &service.keyring,
            http: &service.http,
            paces: &service.paces,
        }
    }
}

/// What a system shows of a person.
struct Reading {
    /// All rates of pay, if it shows them.
    pay: Rows<Personal<PayRate>>,
    /// What the person's profile follows, if it does.
    profile: Profile,
}

/// How a profile learns what is paid.
enum Profile {
    /// Not from here.
    Elsewhere,
    /// The person is read from the source, as when a webhook tells of them.
    Reading,
    Told(Box<Snapshot>),
}

/// A rate that is to hold from a day on.
#[derive(Debug, Clone)]
pub struct Order {
    pub rate: PayRate,
    pub on: Date,
    /// What begins on the day, and is to be replaced.
    pub instead_of: Option<PayRate>,
    pub reason: Option<String>,
}

impl Payroll {
    /// What makes changes of pay at a connection; none for a system that does not, or not through Tenure.
    ///
    /// # Errors
    /// When its address is none.
    pub fn of(live: &Live, means: &Means<'_>) -> Result<Option<Self>, SourceProblem> {
        if let System::Gusto(account) = &live.system {
            let secret = |secret: &Option<String>| SecretString::from(secret.clone().unwrap_or_default());
            let tokens = Tokens {
                database: means.database.clone(),
                keyring: means.keyring.clone(),
                of: (live.tenant, live.id),
                address: gusto::client::token_address(&account.base_url)?,
                client_id: account.client_id.as_str().into(),
                client_secret: secret(&live.secrets.client_secret),
                given: secret(&live.secrets.api_key),
            };
            let client = gusto::client::Client::new(account, tokens, means.http.clone())?;
            return Ok(Some(Self::Gusto {
                client: client.at(means.paces.of(live.id)),
                tells_profiles: account.pays.tells_profiles,
            }));
        }
        if let System::Adp(account) = &live.system {
            let client = adp::client::Client::new(account, (&live.secrets, live.token.clone()));
            let client = client.map_err(|problem| match problem {
                Unusable::Address(problem) => problem,
                // Looked at when it was connected.
                Unusable::Identity(_) | Unusable::Authority(_) => SourceProblem::Unauthorised,
            })?;
            return Ok(Some(Self::Adp {
                client: client.at(means.paces.of(live.id)),
                tells_profiles: account.pays.tells_profiles,
            }));
        }
        let client = live.client(means.http, means.paces)?;
        Ok(client.and_then(|client| match client {
            source::Client::BambooHr(client) => Some(Self::BambooHr(client)),
            source::Client::Workday(_) => None,
        }))
    }

    /// What of a rate the system does not take, if that is known without asking.
    #[must_use]
    pub fn refused(&self, rate: &PayRate) -> Option<&'static str> {
        match self {
            Self::BambooHr(_) => None,
            Self::Gusto { .. } => gusto::refused(rate),
            Self::Adp { .. } => adp::refused(rate),
        }
    }

    /// Who has a work address in a payroll; none for a source, which knows people as it told of them.
    async fn whom(&self, work_email: &str) -> Result<Option<Whom>, SourceProblem> {
        match self {
            Self::BambooHr(_) => Ok(None),
            Self::Gusto { client, .. } => client.whom(work_email).await.map(Some),
            Self::Adp { client, .. } => client.whom(work_email).await.map(Some),
        }
    }

    /// Whether what begins on a day to come is shown before it.
    const fn shows_days_to_come(&self) -> bool {
        match self {
            Self::BambooHr(_) | Self::Gusto { .. } => true,
            Self::Adp { .. } => false,
        }
    }

    async fn read(&self, (change, rate): (&Change, &PayRate)) -> Result<Reading, SourceProblem> {
        let at = &change.request.at;
        match self {
            Self::BambooHr(client) => Ok(Reading {
                pay: bamboohr::pay::rates(client, &at.remote_id).await?,
                profile: Profile::Reading,
            }),
            Self::Gusto { client, tells_profiles } => {
                let pay = gusto::rates(client, &at.remote_id).await?;
                let profile = profile(*tells_profiles, at, &pay);
                Ok(Reading { pay, profile })
            }
            Self::Adp { client, tells_profiles } => {
                let on = change.request.effective_on;
                let pay = adp::rates(client, &at.remote_id, (on, rate)).await?;
                let profile = profile(*tells_profiles, at, &pay);
                Ok(Reading { pay, profile })
            }
        }
    }

    /// Asks for the change, and answers what the system calls the request.
    async fn submit(&self, remote_id: &str, order: &Order) -> Result<Option<String>, Unsubmitted> {
        match self {
            Self::BambooHr(client) => bamboohr::pay::submit(client, remote_id, order).await.map(|()| None),
            Self::Gusto { client, .. } => gusto::submit(client, remote_id, order).await.map(Some),
            Self::Adp { client, .. } => adp::submit(client, remote_id, order).await,
        }
    }
}

/// Why a change was not submitted.
#[derive(Debug)]
pub enum Unsubmitted {
    /// Nothing was sent.
    NotSent(SourceProblem),
    /// It was sent, and this came back.
    Sent(SourceProblem),
}

/// Why somebody's pay cannot be changed where they are paid.
#[derive(Debug, thiserror::Error)]
pub enum Nowhere {
    #[error("no system is known that this employee comes from")]
    NoSource,
    #[error("the system that this employee comes from is disconnected")]
    Disconnected,
    #[error(
        "this employee comes from a connection of the kind {0}, which Tenure only reads: change the rate there, and it arrives here"
    )]
    OnlyRead(&'static str),
    #[error("this employee has no work address, by which people are found in the payroll")]
    NoAddress,
    #[error("nobody in the payroll has this employee's work address")]
    Nobody,
    #[error("several people in the payroll have this employee's work address")]
    Several,
    #[error("several employees have this work address: who of them is meant in the payroll is not clear")]
    Shared,
    #[error("the system that pays could not be asked: {0}")]
    Source(SourceProblem),
    #[error("the employee could not be looked up")]
    Database(#[from] DatabaseError),
    #[error("the connection could not be looked up")]
    Connection(#[from] ConnectionsError),
}

/// What changes somebody's pay, and whom it knows them as: the payroll that pays the employees of their source, or the source itself.
///
/// # Errors
/// When there is none, or it does not know them.
pub async fn written_at(
    service: &CommandService,
    employee: &EmployeeRow,
) -> Result<(Payroll, employee::Source), Nowhere> {
    let (Some(own), Some(remote_id)) = (employee.connection, &employee.remote_id) else {
        return Err(Nowhere::NoSource);
    };
    let (own, tenant) = (ConnectionId::from_uuid(own), TenantId::from_uuid(employee.tenant));
    let mut theirs = payrolls(service, tenant).await?;
    theirs.retain(|live| live.system.pays().is_some_and(|pays| pays.employees_of.contains(&own)));
    if !theirs.is_empty() {
        return found_at(service, &theirs, employee).await;
    }
    let live = service.connections.find(own).await?.ok_or(Nowhere::Disconnected)?;
    let payroll = Payroll::of(&live, &Means::of(service)).map_err(Nowhere::Source)?;
    let payroll = payroll.ok_or(Nowhere::OnlyRead(live.system.kind()))?;
    let source = employee::Source {
        connection: own,
        remote_id: remote_id.clone(),
    };
    Ok((payroll, source))
}

/// The one payroll in which somebody is found by their work address, which must be theirs alone.
async fn found_at(
    service: &CommandService,
    payrolls: &[Live],
    employee: &EmployeeRow,
) -> Result<(Payroll, employee::Source), Nowhere> {
    let tenant = TenantId::from_uuid(employee.tenant);
    let address = employee.work_email.clone().ok_or(Nowhere::NoAddress)?;
    let (tenants, theirs) = ([tenant], address.clone());
    let sharing = service.database.transact(Access::Read, &tenants, move |connection| {
        Box::pin(async move { employee_table::with_address(connection, tenant, &theirs).await })
    });
    if sharing.await? > 1 {
        return Err(Nowhere::Shared);
    }
    let mut found = None;
    for live in payrolls {
        let payroll = Payroll::of(live, &Means::of(service)).map_err(Nowhere::Source)?;
        let Some(payroll) = payroll else { continue };
        let whom = tokio::time::timeout(FOUND_WITHIN, payroll.whom(&address)).await;
        match whom.unwrap_or(Err(SourceProblem::Timeout)).map_err(Nowhere::Source)? {
            Some(Whom::One(remote_id)) if found.is_none() => {
                let source = employee::Source {
                    connection: live.id,
                    remote_id,
                };
                found = Some((payroll, source));
            }
            Some(Whom::One(_) | Whom::Several) => return Err(Nowhere::Several),
            Some(Whom::Nobody) | None => {}
        }
    }
    found.ok_or(Nowhere::Nobody)
}

/// The payrolls of a tenant that are connected, as the log knows them.
async fn payrolls(service: &CommandService, tenant: TenantId) -> Result<Vec<Live>, Nowhere> {
    let routes = service
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::all(connection)))
        .await?;
    let mut live = Vec::new();
    for (id, _) in routes.into_iter().filter(|(_, of)| *of == tenant) {
        let known = service.connections.find(id).await?;
        live.extend(known.filter(|known| known.system.pays().is_some()));
    }
    Ok(live)
}

/// What a payroll says to a person's profile: rates of pay, of which others may know more.
fn profile(tells: bool, at: &employee::Source, pay: &Rows<Personal<PayRate>>) -> Profile {
    if !tells {
        return Profile::Elsewhere;
    }
    let known = pay.known.iter().filter(|(_, rate)| rate.open().is_some());
    Profile::Told(Box::new(Snapshot {
        pay: Rows {
            known: known.cloned().collect(),
            complete: false,
        },
        ..Snapshot::silent(at.clone(), clock::today())
    }))
}

/// Takes steps until shut down.
pub async fn run(service: CommandService, shutdown: CancellationToken) {
    let wanted = Arc::clone(&service.pay_changes_wanted);
    let mut steps = JoinSet::new();
    while !shutdown.is_cancelled() {
        let limit = STEPS_MAX.saturating_sub(steps.len());
        let claimed = claim(&service, limit).await.unwrap_or_else(|error| {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "changes of pay cannot be looked for yet"
            );
            Vec::new()
        });
        let perhaps_more = limit > 0 && claimed.len() == limit;
        for claimed in claimed {
            let service = service.clone();
            steps.spawn(async move { take(&service, &claimed).await });
        }
        if perhaps_more {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = wanted.notified() => {}
            Some(_ended) = steps.join_next() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    while steps.join_next().await.is_some() {}
}

async fn claim(service: &CommandService, limit: usize) -> Result<Vec<Claimed>, DatabaseError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let database = &service.database;
    let tenants = database
        .transact(Access::Read, &[], |connection| {
            Box::pin(infra::route::tenants(connection))
        })
        .await?;
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let closed = service.paces.closed();
    database
        .transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { pay_change_task::claim(connection, limit as i64, &closed).await })
        })
        .await
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the system that pays could not be asked")]
    Source(#[from] SourceProblem),
    #[error("the connection could not be looked up")]
    Connection(#[from] ConnectionsError),
    #[error("the history of the changes of pay could not be read")]
    History(#[from] AppenderError),
    #[error("the history of the changes of pay does not read")]
    Unreadable,
    #[error("the step could not be sent")]
    Intake(#[from] IntakeError),
    #[error("the task could not be written")]
    Database(#[from] DatabaseError),
    #[error("the person could not be queued to be read")]
    Reading(#[source] synchroniser::Failure),
    #[error("the step took longer than {} s", STEP_MAX.as_secs())]
    Slow,
}

/// What a step came to.
enum Taken {
    /// An event follows, and makes the next one due.
    Told,
    /// Nothing is news yet: to be looked at again, with a word for what keeps it.
    Waits(Duration, Option<&'static str>),
}

async fn take(service: &CommandService, claimed: &Claimed) {
    let taken = tokio::time::timeout(STEP_MAX, step(service, claimed)).await;
    let (delay, problem) = match taken.unwrap_or(Err(Failure::Slow)) {
        Ok(Taken::Told) => return,
        Ok(Taken::Waits(delay, problem)) => (delay, problem),
        Err(failure) => {
            let attempt = u32::try_from(claimed.attempts.max(1) - 1).unwrap_or(0);
            let (delay, problem) = match &failure {
                Failure::Source(problem) if problem.is_retryable() => {
                    let delay = BACKOFF.delay(attempt, rand::random(), problem.retry_after());
                    (delay, Some(problem.cause()))
                }
                Failure::Source(problem) => (PEOPLE, Some(problem.cause())),
                Failure::Slow => (BACKOFF.delay(attempt, rand::random(), None), Some("timeout")),
                _ => (BACKOFF.delay(attempt, rand::random(), None), None),
            };
            tracing::warn!(
                error = &failure as &dyn std::error::Error,
                connection = %claimed.connection,
                change = %claimed.of.change,
                delay_seconds = delay.as_secs_f64(),
                "a change of pay waits"
            );
            (delay, problem)
        }
    };
    metrics::counter!("tenure_pay_change_waits_total", "cause" => problem.unwrap_or("none")).increment(1);
    let (tenants, claimed) = ([claimed.of.tenant], claimed.clone());
    let postponed = service.database.transact(Access::Write, &tenants, move |connection| {
        let claimed = claimed.clone();
        Box::pin(async move { pay_change_task::postpone(connection, &claimed, delay, problem).await })
    });
    if let Err(error) = postponed.await {
        // Its lease runs out, and it is looked at again.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a change of pay could not be put off"
        );
    }
}

async fn step(service: &CommandService, claimed: &Claimed) -> Result<Taken, Failure> {
    let of = claimed.of;
    let stream = StreamId::new(of.tenant, PayChanges::KIND, of.employee);
    let change = change(service, stream, claimed).await?;
    let (change, on) = (change.ok_or(Failure::Unreadable)?, clock::today());
    let step = Step { change: of.change, on };
    let tell = |command, profile| tell(service, (claimed, &change), command, profile);
    if change.stage == Stage::Approved {
        fail::fail_point!("before-submission-begun");
        tell(Command::BeginSubmission(step), Profile::Elsewhere).await?;
        return Ok(Taken::Told);
    }
    if !change.stage.is_under_way() || change.stage == Stage::Requested {
        // An event that makes this one's row go, or due, is being written.
        return Ok(Taken::Waits(PEOPLE, None));
    }
    let effective_on = change.request.effective_on;
    if change.stage == Stage::Accepted && effective_on > on {
        return Ok(Taken::Waits(until(effective_on), None));
    }
    let Some(live) = service.connections.find(claimed.connection).await? else {
        return Ok(Taken::Waits(PEOPLE, Some("disconnected")));
    };
    let Some(payroll) = Payroll::of(&live, &Means::of(service))? else {
        return Ok(Taken::Waits(PEOPLE, Some("not-written-to")));
    };
    let Some(rate) = change.request.to.open().copied() else {
        // Who is erased is not paid through here any more; the task goes with the erasure.
        return Ok(Taken::Waits(PEOPLE, Some("erased")));
    };
    let reject = |cause: &str, message| {
        Command::ReportRejected(Refusal {
            change: of.change,
            cause: cause.to_owned(),
            message,
            on,
        })
    };
    let Reading { pay, profile } = payroll.read((&change, &rate)).await?;
    // What cannot be seen before its day is not missed before.
    let is_ahead = !payroll.shows_days_to_come() && effective_on > on;
    let (command, read) = match found(&change, rate, &pay, on) {
        Found::NotYet | Found::Rejected(NOT_SHOWN) if is_ahead => {
            return Ok(Taken::Waits(until(effective_on).min(A_DAY), Some("not-shown-yet")));
        }
        Found::Hidden => return Ok(Taken::Waits(PEOPLE, Some("pay-hidden"))),
        Found::NotYet => {
            let attempt = u32::try_from(claimed.attempts.max(1) - 1).unwrap_or(0);
            let delay = BACKOFF.delay(attempt, rand::random(), None);
            return Ok(Taken::Waits(delay, Some("not-shown-yet")));
        }
        Found::ToSubmit(instead_of) => {
            // One that was sent may still be at work there, or not be shown before its day.
            if let Some(seconds) = claimed.sent_seconds_ago {
                let left = SETTLED_AFTER.saturating_sub(Duration::from_secs_f64(seconds.max(0.0)));
                if is_ahead || !left.is_zero() {
                    let delay = if is_ahead { until(effective_on).min(A_DAY) } else { left };
                    return Ok(Taken::Waits(delay, Some("unconfirmed")));
                }
            }
            let order = Order {
                rate,
                on: effective_on,
                instead_of,
                reason: change.request.reason.as_ref().and_then(Personal::open).cloned(),
            };
            if let Some(why) = payroll.refused(&rate) {
                tell(reject("refused", Some(why.to_owned())), Profile::Elsewhere).await?;
                return Ok(Taken::Told);
            }
            fail::fail_point!("before-submission");
            if !note_sent(service, claimed, true).await? {
                return Ok(Taken::Told);
            }
            let submitted = payroll.submit(&change.request.at.remote_id, &order).await;
            fail::fail_point!("after-submission");
            let command = match submitted {
                Ok(reference) => Command::ReportSubmitted(Submitted {
                    change: of.change,
                    reference,
                    on,
                }),
                Err(Unsubmitted::Sent(problem)) if may_have_arrived(&problem) => return Err(problem.into()),
                Err(Unsubmitted::Sent(problem)) => match refusal(&problem) {
                    Some(message) => reject("refused", message),
                    None => {
                        note_sent(service, claimed, false).await?;
                        return Err(problem.into());
                    }
                },
                Err(Unsubmitted::NotSent(problem)) => {
                    note_sent(service, claimed, false).await?;
                    return Err(problem.into());
                }
            };
            (command, Profile::Elsewhere)
        }
        Found::Accepted => (Command::ReportAccepted(step), profile),
        Found::Rejected(cause) => (reject(cause, None), profile),
        Found::Effective => (Command::ReportEffective(step), profile),
        Found::Overtaken => (Command::ReportOvertaken(step), profile),
    };
    tell(command, read).await?;
    Ok(Taken::Told)
}

/// What the system's rates of pay say about a change that may have been submitted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    /// Not all rates are shown.
    Hidden,
    /// It is not there: to be submitted, in place of a rate that begins on the day.
    ToSubmit(Option<PayRate>),
    /// It was submitted, and is not there yet.
    NotYet,
    Accepted,
    Rejected(&'static str),
    Effective,
    Overtaken,
}

fn found(change: &Change, rate: PayRate, pay: &Rows<Personal<PayRate>>, today: Date) -> Found {
    let on = change.request.effective_on;
    let instead_of = change.request.instead_of.as_ref().and_then(Personal::open).copied();
    // Whether the day is as it was when the change was asked for, or free.
    let before = match Shown::of(pay, on) {
        Shown::Hidden => return Found::Hidden,
        _ if change.stage == Stage::Accepted => {
            return if in_force(pay, on) == Some(rate) {
                Found::Effective
            } else {
                Found::Overtaken
            };
        }
        Shown::Rate(known) if known == rate => return Found::Accepted,
        Shown::Rate(known) if Some(known) == instead_of => Some(known),
        Shown::Rate(_) | Shown::Another if change.stage == Stage::Submitted => return Found::Rejected("differs"),
        Shown::Rate(_) | Shown::Another => return Found::Rejected("day-taken"),
        Shown::Nothing => None,
    };
    // On the day itself it may be shown for the first time.
    let waited_since = if on <= today {
        change.since.max(on)
    } else {
        change.since
    };
    if change.stage != Stage::Submitted {
        Found::ToSubmit(before)
    } else if (today - waited_since).num_days() > SHOWN_WITHIN_DAYS {
        Found::Rejected(NOT_SHOWN)
    } else {
        Found::NotYet
    }
}

/// The change as the log has it now.
async fn change(service: &CommandService, stream: StreamId, claimed: &Claimed) -> Result<Option<Change>, Failure> {
    let mut streams = Streams::default();
    streams
        .load(&service.database, &service.keyring, iter::once(stream))
        .await?;
    match streams.get(&stream) {
        Some(Known::At {
            state: AnyState::PayChange(changes),
            ..
        }) => Ok(changes.get(claimed.of.change).cloned()),
        Some(Known::At { .. } | Known::Unreadable { .. }) | None => Ok(None),
    }
}

/// Sends what was found out, and what the system says of the person.
async fn tell(
    service: &CommandService,
    (claimed, change): (&Claimed, &Change),
    command: Command,
    profile: Profile,
) -> Result<(), Failure> {
    let (of, at) = (claimed.of, &change.request.at);
    let live = service.connections.find(at.connection).await?;
    let kind = live.as_ref().map_or("payroll", |live| live.system.kind());
    // Each stage is gone through once: what is found out twice about it is one command. Another finding has another name.
    let key = format!("{}|{}|{}", of.change, change.stage.name(), name(&command));
    let submission = |what: &str, stream, command| Submission {
        id: CommandId::derive(of.tenant, &format!("payroll:{}:{what}", at.connection), &key),
        stream,
        actor: intake::source_actor(kind, at.connection, FoundBy::Notification),
        correlation: of.change.uuid(),
        traceparent: None,
        backfill: false,
        fingerprint: None,
        content: Content::Command(Box::new(command)),
    };
    let pay_changes = StreamId::new(of.tenant, PayChanges::KIND, of.employee);
    let mut submissions = vec![submission("step", pay_changes, AnyCommand::PayChange(command))];
    let is_read = match profile {
        Profile::Elsewhere => false,
        Profile::Reading => true,
        Profile::Told(snapshot) => {
            let person = StreamId::new(of.tenant, Employee::KIND, of.employee);
            let command = employee::Command::Synchronise(snapshot);
            submissions.push(submission("reading", person, AnyCommand::Employee(command)));
            false
        }
    };
    if is_read && let Some(live) = &live {
        let wanted = (&[at.remote_id.clone()][..], FoundBy::Notification, of.change.uuid());
        synchroniser::queue(service, live, wanted)
            .await
            .map_err(Failure::Reading)?;
    }
    intake::submit(&service.bulk, &service.keyring, submissions).await?;
    metrics::counter!("tenure_pay_change_steps_total", "from" => change.stage.name()).increment(1);
    Ok(())
}

/// What a rate of pay looks like at the other system.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    /// Not all rates are shown.
    Hidden,
    /// No rate begins on the day.
    Nothing,
    /// This one does.
    Rate(PayRate),
    /// One does that Tenure has no words for.
    Another,
}

impl Shown {
    fn of(pay: &Rows<Personal<PayRate>>, on: Date) -> Self {
        // Of two for one day the later row counts, as everywhere.
        let begins = pay.known.iter().rfind(|(day, _)| *day == on);
        match begins {
            Some((_, Personal::Open(rate))) => Self::Rate(*rate),
            Some((_, Personal::Unreadable)) => Self::Another,
            None if pay.complete => Self::Nothing,
            None => Self::Hidden,
        }
    }
}

fn in_force(pay: &Rows<Personal<PayRate>>, on: Date) -> Option<PayRate> {
    let rates: Dated<&Personal<PayRate>> = pay.known.iter().map(|(day, rate)| (*day, rate)).collect();
    rates.at(on).and_then(|rate| rate.open()).copied()
}

/// Notes that a request is about to be sent, or that it came to nothing; whether the step is still ours to take.
async fn note_sent(service: &CommandService, claimed: &Claimed, is_sent: bool) -> Result<bool, Failure> {
    let (tenants, claimed) = ([claimed.of.tenant], claimed.clone());
    let noted = service.database.transact(Access::Write, &tenants, move |connection| {
        Box::pin(async move { pay_change_task::note_sent(connection, &claimed, is_sent).await })
    });
    Ok(noted.await?)
}

/// The system's own words, if it refuses this change for what it is; none for what is about the connection, or passes.
fn refusal(problem: &SourceProblem) -> Option<Option<String>> {
    match problem {
        SourceProblem::Unexpected {
            status: 400 | 406 | 409 | 412 | 422,
            message,
            ..
        } => Some(message.clone()),
        _ => None,
    }
}

/// Whether a request may have been carried out although this came back.
fn may_have_arrived(problem: &SourceProblem) -> bool {
    match problem {
        // Not taken: too many at once, not now, not you, not here, not any more as it was.
        SourceProblem::RateLimited { .. }
        | SourceProblem::LeftAlone { .. }
        | SourceProblem::Unavailable { status: 503, .. }
        | SourceProblem::Unauthorised
        | SourceProblem::Forbidden { .. }
        | SourceProblem::NothingThere { .. }
        | SourceProblem::Outdated { .. }
        | SourceProblem::BadAddress(_)
        | SourceProblem::BadEmployeeId(_) => false,
        SourceProblem::Network(error) => !error.is_connect(),
        SourceProblem::Unexpected { status, .. } => !(400..500).contains(status),
        SourceProblem::Unavailable { .. }
        | SourceProblem::Timeout
        | SourceProblem::Redirected { .. }
        | SourceProblem::TooLarge { .. }
        | SourceProblem::BadAnswer { .. } => true,
    }
}

/// How long it is until a day begins.
fn until(day: Date) -> Duration {
    let begins = day.and_time(NaiveTime::MIN).and_utc();
    (begins - clock::now())
        .max(TimeDelta::zero())
        .to_std()
        .unwrap_or(PEOPLE)
        + Duration::from_secs(1)
}

const fn name(command: &Command) -> &'static str {
    match command {
        Command::Request(_) => "request",
        Command::Approve(_) => "approve",
        Command::Decline(_) => "decline",
        Command::Withdraw(_) => "withdraw",
        Command::Abandon(_) => "abandon",
        Command::BeginSubmission(_) => "begin",
        Command::ReportSubmitted(_) => "submitted",
        Command::ReportAccepted(_) => "accepted",
        Command::ReportRejected(_) => "rejected",
        Command::ReportEffective(_) => "effective",
        Command::ReportOvertaken(_) => "overtaken",
    }
}

#[cfg(test)]
mod tests {
    use domain::money::{Currency, Money, PayPeriod};

    use super::*;

    fn day(d: u32) -> Date {
        Date::from_ymd_opt(2026, 7, d).expect("a day")
    }

    fn rate(minor_units: i64) -> PayRate {
        PayRate {
            amount: Money {
                minor_units,
                currency: Currency::EUR,
            },
            per: PayPeriod::Year,
        }
    }

    #[test]
    fn what_is_shown_is_the_last_row_of_the_day_and_no_row_says_something_only_if_all_are_shown() {
        let rows = |known: &[(u32, i64)], complete| Rows {
            known: known
                .iter()
                .map(|(d, minor)| (day(*d), Personal::Open(rate(*minor))))
                .collect(),
            complete,
        };
        assert_eq!(Shown::of(&rows(&[(1, 5)], true), day(2)), Shown::Nothing);
        assert_eq!(Shown::of(&rows(&[(1, 5)], false), day(2)), Shown::Hidden);
        assert_eq!(
            Shown::of(&rows(&[(2, 5), (1, 4), (2, 6)], false), day(2)),
            Shown::Rate(rate(6))
        );
        let strange = Rows::all(vec![(day(2), Personal::Unreadable)]);
        assert_eq!(Shown::of(&strange, day(2)), Shown::Another);
        assert_eq!(in_force(&rows(&[(3, 7), (1, 4)], true), day(2)), Some(rate(4)));
        assert_eq!(in_force(&rows(&[(3, 7)], true), day(2)), None);
    }

    #[test]
    fn what_the_system_shows_decides() {
        let change = |stage| Change {
            request: domain::pay_change::Request {
                change: domain::id::PayChangeId::from_uuid(uuid::Uuid::nil()),
                at: employee::Source {
                    connection: domain::id::ConnectionId::from_uuid(uuid::Uuid::nil()),
                    remote_id: "42".into(),
                },
                to: Personal::Open(rate(9)),
                effective_on: day(10),
                instead_of: Some(Personal::Open(rate(6))),
                reason: None,
                by: "user:ada".into(),
                on: day(1),
            },
            stage,
            since: day(1),
            reference: None,
        };
        let rows = |known: &[(u32, i64)]| {
            Rows::all(
                known
                    .iter()
                    .map(|(d, minor)| (day(*d), Personal::Open(rate(*minor))))
                    .collect(),
            )
        };
        let (nothing, there, other) = (rows(&[(1, 5)]), rows(&[(1, 5), (10, 9)]), rows(&[(1, 5), (10, 7)]));
        let before = rows(&[(1, 5), (10, 6)]);
        let long = SHOWN_WITHIN_DAYS as u32 + 2;
        for (stage, pay, today, expected) in [
            (Stage::Submitting, &nothing, 1, Found::ToSubmit(None)),
            (Stage::Submitting, &nothing, 30, Found::ToSubmit(None)),
            (Stage::Submitting, &before, 1, Found::ToSubmit(Some(rate(6)))),
            (Stage::Submitted, &before, 1, Found::NotYet),
            (Stage::Submitted, &before, long, Found::Rejected("not-shown")),
            (Stage::Accepted, &before, 10, Found::Overtaken),
            (Stage::Submitting, &there, 1, Found::Accepted),
            (Stage::Submitting, &other, 1, Found::Rejected("day-taken")),
            (Stage::Submitted, &nothing, 1, Found::NotYet),
            (Stage::Submitted, &nothing, long - 1, Found::NotYet),
            (Stage::Submitted, &nothing, long, Found::Rejected("not-shown")),
            (Stage::Submitted, &nothing, 12, Found::NotYet),
            (Stage::Submitted, &nothing, 14, Found::Rejected("not-shown")),
            (Stage::Submitted, &there, long, Found::Accepted),
            (Stage::Submitted, &other, 1, Found::Rejected("differs")),
            (Stage::Accepted, &there, 10, Found::Effective),
            (Stage::Accepted, &other, 10, Found::Overtaken),
            (Stage::Accepted, &nothing, 10, Found::Overtaken),
            // A row that begins later does not take the day away.
            (
                Stage::Accepted,
                &rows(&[(1, 5), (10, 9), (12, 4)]),
                12,
                Found::Effective,
            ),
        ] {
            assert_eq!(
                found(&change(stage), rate(9), pay, day(today)),
                expected,
                "{stage:?} on {today}"
            );
        }
        let hidden = Rows {
            complete: false,
            ..nothing
        };
        for stage in [Stage::Submitting, Stage::Submitted] {
            assert_eq!(found(&change(stage), rate(9), &hidden, day(30)), Found::Hidden);
        }
    }

    #[test]
    fn only_what_a_system_says_of_the_change_itself_is_a_refusal() {
        let said = |status| SourceProblem::Unexpected {
            what: "a change of pay",
            status,
            request_id: None,
            message: Some("an active pay schedule is needed".into()),
        };
        for status in [400, 406, 409, 412, 422] {
            let words = Some(Some("an active pay schedule is needed".to_owned()));
            assert_eq!(
                (refusal(&said(status)), may_have_arrived(&said(status))),
                (words, false)
            );
        }
        // A gateway that gave up has perhaps passed it on.
        for status in [501, 507, 520, 524] {
            assert_eq!((refusal(&said(status)), may_have_arrived(&said(status))), (None, true));
        }
        assert_eq!((refusal(&said(423)), may_have_arrived(&said(423))), (None, false));
        let unavailable = |status| SourceProblem::Unavailable {
            status,
            retry_after: None,
        };
        for (problem, arrived) in [
            (SourceProblem::Timeout, true),
            (unavailable(504), true),
            (unavailable(503), false),
            (SourceProblem::RateLimited { retry_after: None }, false),
            (SourceProblem::Unauthorised, false),
            (SourceProblem::NothingThere { what: "pay" }, false),
        ] {
            assert_eq!(
                (refusal(&problem), may_have_arrived(&problem)),
                (None, arrived),
                "{problem}"
            );
        }
    }
}
