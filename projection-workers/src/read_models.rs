//! The projections that people query, all in one transaction per batch: a page never shows half of an event.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{Date, Kind, StreamId, connection, employee, id::TenantId, pay_change, program, risk, tenant};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    generation,
    read_model::{
        self,
        employee::{self as employee_table, EmployeeRow, Status},
        pay_change::{self as pay_change_table, PayChangeRow},
        readiness::{self, ProgramRow, ReadinessHistoryRow},
        risk::{self as risk_table, RiskHistoryRow},
        settings::{self, ConnectionRow, SettingsRow},
        stats::{self, Changes, Counts},
        timeline::{self, TimelineRow},
        version as version_table,
    },
    route, sandbox,
};
use schemas::codec::AnyEvent;
use uuid::Uuid;

use crate::{
    runner::{Opened, Owned, Projection},
    version::{Attribute, Leaving, Standing, Versions},
};

/// Employees whose day has come that one transaction takes.
const DUE_MAX: i64 = 500;

/// After so many events the planner is told what the tables hold, and again whenever it is four times as many: between a
/// company's first rows and the server's own look at them there is time enough for very slow plans.
const STATISTICS_AFTER_EVENTS: u64 = 500;
const STATISTICS_AGAIN: u64 = 4;

/// Cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    database: Database,
    growth: Arc<Growth>,
}

struct Growth {
    events: AtomicU64,
    refresh_at: AtomicU64,
}

impl ReadModels {
    #[must_use]
    pub fn new(database: Database) -> Self {
        let growth = Growth {
            events: AtomicU64::new(0),
            refresh_at: AtomicU64::new(STATISTICS_AFTER_EVENTS),
        };
        Self {
            database,
            growth: Arc::new(growth),
        }
    }

    async fn refresh_statistics(&self) -> Result<(), DatabaseError> {
        let events = self.growth.events.load(Ordering::Relaxed);
        if events < self.growth.refresh_at.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.growth
            .refresh_at
            .store(events * STATISTICS_AGAIN, Ordering::Relaxed);
        self.database
            .transact(Access::Write, &[], |connection| {
                Box::pin(read_model::refresh_statistics(connection))
            })
            .await
    }
}

impl Projection for ReadModels {
    const NAME: &'static str = "read-models";

    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            self.growth.events.fetch_add(events.len() as u64, Ordering::Relaxed);
            let erased = fold(connection, events).await?;
            if !erased.is_empty() {
                generation::forget_kept(connection).await?;
                sandbox::forget(connection, &erased).await?;
            }
            Ok(())
        })
    }

    /// Future-dated facts become true when their day comes.
    fn tick<'c>(&'c self, owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            if let Err(error) = self.refresh_statistics().await {
                // Queries are slower without, not wrong.
                tracing::warn!(%error, "the tables' statistics were not refreshed");
            }
            let tenants = self
                .database
                .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
                .await?;
            let today = clock::today();
            let due = self
                .database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move { employee_table::due(connection, today, DUE_MAX).await })
                })
                .await?;
            let due: Vec<EmployeeRow> = due
                .into_iter()
                .filter(|row| owned.holds(&StreamId::new(TenantId::from_uuid(row.tenant), Kind::Employee, row.id)))
                .collect();
            if due.is_empty() {
                return Ok(());
            }
            self.database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move {
                        let people = People::of_rows(connection, due).await?;
                        people.store(connection, today).await
                    })
                })
                .await
        })
    }
}

/// Takes events into the tables that their names mean, and into nothing else. Answers who was erased.
///
/// # Errors
/// When the database fails.
pub(crate) async fn fold(
    connection: &mut Connection,
    events: &[Opened],
) -> Result<Vec<(TenantId, Uuid)>, DatabaseError> {
    let mut people = People::load(connection, events).await?;
    let mut history = Vec::new();
    let mut readiness_history = Vec::new();
    let mut timelines = Vec::new();
    let mut erased = Vec::new();
    for opened in events {
        let stream = opened.stored.stream;
        match &opened.event {
            AnyEvent::Employee(event) => {
                people.take(opened, event);
                timelines.push(timeline_row(opened));
                if matches!(event, employee::Event::Erased(_)) {
                    erased.push((stream.tenant, stream.id));
                }
            }
            AnyEvent::Risk(event) => {
                timelines.push(timeline_row(opened));
                history.extend(history_row(opened, event));
                readiness_history.extend(readiness_row(opened, event));
            }
            AnyEvent::Tenant(event) => tenant_settings(connection, opened, event).await?,
            AnyEvent::Connection(event) => connection_row(connection, opened, event).await?,
            AnyEvent::Program(event) => program_row(connection, opened, event).await?,
            AnyEvent::PayChange(event) => {
                timelines.push(timeline_row(opened));
                pay_change_row(connection, opened, event).await?;
            }
            // Who looked back is in the log, and in no screen of today.
            AnyEvent::Access(_) => {}
        }
    }
    timeline::add(connection, &timelines).await?;
    risk_table::add_history(connection, &history).await?;
    readiness::add_history(connection, &readiness_history).await?;
    if !erased.is_empty() {
        risk_table::clear_history(connection, &erased).await?;
        readiness::clear_history(connection, &erased).await?;
    }
    // Last, and the counts last of that: batches of other partitions wait for their rows.
    people.store(connection, clock::today()).await?;
    Ok(erased)
}

/// One person: the row as it was and is, and the versions.
struct Person {
    before: Option<EmployeeRow>,
    row: Option<EmployeeRow>,
    versions: Versions,
}

/// The people whom a batch concerns, by tenant and id.
struct People(BTreeMap<(Uuid, Uuid), Person>);

impl People {
    async fn load(connection: &mut Connection, events: &[Opened]) -> Result<Self, DatabaseError> {
        let mut wanted: Vec<(TenantId, Uuid)> = events
            .iter()
            .filter(|opened| matches!(&opened.event, AnyEvent::Employee(event) if is_about_the_row(event)))
            .map(|opened| (opened.stored.stream.tenant, opened.stored.stream.id))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        let rows = employee_table::load(connection, &wanted).await?;
        let mut people = Self::of_rows(connection, rows).await?;
        for (tenant, id) in wanted {
            people.0.entry((tenant.into(), id)).or_insert_with(|| Person {
                before: None,
                row: None,
                versions: Versions::default(),
            });
        }
        Ok(people)
    }

    async fn of_rows(connection: &mut Connection, rows: Vec<EmployeeRow>) -> Result<Self, DatabaseError> {
        let ids: Vec<(TenantId, Uuid)> = rows
            .iter()
            .map(|row| (TenantId::from_uuid(row.tenant), row.id))
            .collect();
        let mut versions: BTreeMap<(Uuid, Uuid), Vec<_>> = BTreeMap::new();
        for version in version_table::load_believed(connection, &ids).await? {
            versions
                .entry((version.tenant, version.employee))
                .or_default()
                .push(version);
        }
        let person = |row: EmployeeRow| {
            let key = (row.tenant, row.id);
            let versions = Versions::stored(versions.remove(&key).unwrap_or_default());
            (
                key,
                Person {
                    before: Some(row.clone()),
                    row: Some(row),
                    versions,
                },
            )
        };
        Ok(Self(rows.into_iter().map(person).collect()))
    }

    fn take(&mut self, opened: &Opened, event: &employee::Event) {
        if !is_about_the_row(event) {
            return;
        }
        let stream = opened.stored.stream;
        let who = (Uuid::from(stream.tenant), stream.id);
        let Some(person) = self.0.get_mut(&who) else { return };
        // A position that the row has seen already: this event was applied, when a batch was taken one by one.
        if person
            .row
            .as_ref()
            .is_some_and(|row| row.position >= opened.stored.position)
        {
            return;
        }
        let facts = facts(event);
        if !facts.is_empty() {
            person.versions.take(
                who,
                event.effective_on(),
                &facts,
                opened.stored.recorded_at,
                opened.stored.position,
            );
        }
        if let employee::Event::Hired(hired) = event
            && person.row.is_none()
        {
            person.row = Some(hired_row(who, hired));
        }
        if let Some(row) = &mut person.row {
            details(row, event);
            row.position = opened.stored.position;
        }
    }

    /// Writes everybody as they are on `today`, and what that changes in the counts.
    async fn store(self, connection: &mut Connection, today: Date) -> Result<(), DatabaseError> {
        let mut changes = Changes::default();
        let (mut rows, mut closed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for person in self.0.into_values() {
            let Some(mut row) = person.row else { continue };
            as_of_today(&mut row, &person.versions, today);
            if let Some(before) = &person.before {
                count(&mut changes, before, -1);
            }
            count(&mut changes, &row, 1);
            if person.before.as_ref() != Some(&row) {
                rows.push(row);
            }
            let (ended, new) = person.versions.changes();
            closed.extend(ended);
            added.extend(new);
        }
        employee_table::upsert(connection, &rows).await?;
        version_table::replace(connection, &closed, &added).await?;
        stats::apply(connection, &changes).await
    }
}

fn hired_row(who: (Uuid, Uuid), hired: &employee::Hired) -> EmployeeRow {
    EmployeeRow {
        tenant: who.0,
        id: who.1,
        connection: hired.source.as_ref().map(|source| source.connection.into()),
        remote_id: hired.source.as_ref().map(|source| source.remote_id.clone()),
        display_name: None,
        work_email: None,
        work_phone: None,
        mobile_phone: None,
        job_title: None,
        department: None,
        division: None,
        location: None,
        manager: None,
        status: Status::Prehire.name().to_owned(),
        hired_on: hired.on,
        left_on: None,
        notice_on: None,
        last_day: None,
        weekly_minutes: None,
        objects_to_scoring: false,
        next_change_on: None,
        position: 0,
    }
}

/// Whether an event can change a person's row or versions. Most do not: they are in the timeline, and in the scores.
const fn is_about_the_row(event: &employee::Event) -> bool {
    match event {
        employee::Event::Hired(_)
        | employee::Event::Rehired { .. }
        | employee::Event::Transferred(_)
        | employee::Event::Promoted(_)
        | employee::Event::ManagerChanged { .. }
        | employee::Event::HoursChanged { .. }
        | employee::Event::LeaveStarted { .. }
        | employee::Event::LeaveEnded { .. }
        | employee::Event::NoticeGiven(_)
        | employee::Event::NoticeWithdrawn { .. }
        | employee::Event::Terminated(_)
        | employee::Event::TerminationReversed { .. }
        | employee::Event::SourceRecordDeleted { .. }
        | employee::Event::ContactChanged { .. }
        | employee::Event::ScoringObjected(_)
        | employee::Event::ScoringObjectionWithdrawn(_)
        | employee::Event::Erased(_) => true,
        employee::Event::PayChanged(_)
        | employee::Event::DemographicsChanged { .. }
        | employee::Event::SourceFieldsKept { .. }
        | employee::Event::AssessmentCompleted(_)
        | employee::Event::ReviewRecorded(_)
        | employee::Event::SurveyAnswered(_)
        | employee::Event::RecognitionGiven(_)
        | employee::Event::AbsenceRecorded(_)
        | employee::Event::OvertimeRecorded(_)
        | employee::Event::NoteWritten(_)
        | employee::Event::ColleagueLeft(_)
        | employee::Event::ColleagueStayed(_) => false,
    }
}

/// What an event says of attributes that have versions.
fn facts(event: &employee::Event) -> Vec<Attribute> {
    match event {
        employee::Event::Hired(hired) => {
            let mut facts = vec![
                Attribute::Standing(Standing::Working),
                Attribute::Job(hired.job.clone()),
                Attribute::Manager(hired.manager.map(Uuid::from)),
            ];
            facts.extend(hired.hours.map(|hours| Attribute::Hours(i32::from(hours.0))));
            facts
        }
        employee::Event::Rehired { .. } | employee::Event::TerminationReversed { .. } => {
            vec![
                Attribute::Standing(Standing::Working),
                Attribute::Leaving(Leaving::default()),
            ]
        }
        employee::Event::LeaveStarted { .. } => vec![Attribute::Standing(Standing::OnLeave)],
        employee::Event::LeaveEnded { .. } => vec![Attribute::Standing(Standing::Working)],
        employee::Event::NoticeGiven(notice) => vec![Attribute::Leaving(Leaving {
            notice_on: Some(notice.on),
            last_day: notice.last_day,
            voluntariness: Some(notice.voluntariness),
        })],
        employee::Event::NoticeWithdrawn { .. } => vec![Attribute::Leaving(Leaving::default())],
        employee::Event::Terminated(ending) => vec![
            Attribute::Standing(Standing::Ended),
            Attribute::Leaving(Leaving {
                voluntariness: Some(ending.ended.voluntariness),
                ..Leaving::default()
            }),
        ],
        employee::Event::Erased(_) => vec![Attribute::Standing(Standing::Erased)],
        employee::Event::ScoringObjected(_) => vec![Attribute::ObjectsToScoring(true)],
        employee::Event::ScoringObjectionWithdrawn(_) => vec![Attribute::ObjectsToScoring(false)],
        employee::Event::SourceRecordDeleted { .. } => vec![Attribute::Standing(Standing::Deleted)],
        employee::Event::Transferred(moved) | employee::Event::Promoted(moved) => {
            vec![Attribute::Job(moved.to.clone())]
        }
        employee::Event::ManagerChanged { to, .. } => vec![Attribute::Manager(to.map(Uuid::from))],
        employee::Event::HoursChanged { to, .. } => vec![Attribute::Hours(i32::from(to.0))],
        employee::Event::PayChanged(_)
        | employee::Event::ContactChanged { .. }
        | employee::Event::DemographicsChanged { .. }
        | employee::Event::SourceFieldsKept { .. }
        | employee::Event::AssessmentCompleted(_)
        | employee::Event::ReviewRecorded(_)
        | employee::Event::SurveyAnswered(_)
        | employee::Event::RecognitionGiven(_)
        | employee::Event::AbsenceRecorded(_)
        | employee::Event::OvertimeRecorded(_)
        | employee::Event::NoteWritten(_)
        | employee::Event::ColleagueLeft(_)
        | employee::Event::ColleagueStayed(_) => vec![],
    }
}

/// What an event says of columns that have no versions.
fn details(row: &mut EmployeeRow, event: &employee::Event) {
    match event {
        employee::Event::Hired(hired) => {
            row.hired_on = hired.on;
            contact(row, hired.name.open(), hired.contact.open());
        }
        employee::Event::ContactChanged { name, contact: to, .. } => contact(row, name.open(), to.open()),
        employee::Event::ScoringObjected(_) => row.objects_to_scoring = true,
        employee::Event::ScoringObjectionWithdrawn(_) => row.objects_to_scoring = false,
        employee::Event::Erased(_) => {
            contact(row, None, None);
            row.remote_id = None;
            Status::Erased.name().clone_into(&mut row.status);
        }
        employee::Event::Rehired { .. }
        | employee::Event::NoticeGiven(_)
        | employee::Event::NoticeWithdrawn { .. }
        | employee::Event::Terminated(_)
        | employee::Event::TerminationReversed { .. }
        | employee::Event::Transferred(_)
        | employee::Event::Promoted(_)
        | employee::Event::ManagerChanged { .. }
        | employee::Event::PayChanged(_)
        | employee::Event::HoursChanged { .. }
        | employee::Event::LeaveStarted { .. }
        | employee::Event::LeaveEnded { .. }
        | employee::Event::SourceRecordDeleted { .. }
        | employee::Event::DemographicsChanged { .. }
        | employee::Event::SourceFieldsKept { .. }
        | employee::Event::AssessmentCompleted(_)
        | employee::Event::ReviewRecorded(_)
        | employee::Event::SurveyAnswered(_)
        | employee::Event::RecognitionGiven(_)
        | employee::Event::AbsenceRecorded(_)
        | employee::Event::OvertimeRecorded(_)
        | employee::Event::NoteWritten(_)
        | employee::Event::ColleagueLeft(_)
        | employee::Event::ColleagueStayed(_) => {}
    }
}

fn contact(row: &mut EmployeeRow, name: Option<&employee::Name>, contact: Option<&employee::Contact>) {
    row.display_name = name.map(employee::Name::display);
    row.work_email = contact.and_then(|contact| contact.work_email.clone());
    row.work_phone = contact.and_then(|contact| contact.work_phone.clone());
    row.mobile_phone = contact.and_then(|contact| contact.mobile_phone.clone());
}

/// Brings the row to what is true today.
fn as_of_today(row: &mut EmployeeRow, versions: &Versions, today: Date) {
    row.next_change_on = versions.next_change(today);
    let known = versions
        .on(today)
        .filter(|version| version.standing != Standing::Unknown.name());
    let standing = known.map_or(Standing::Unknown, |version| Standing::from_name(&version.standing));
    // Before the first day people are shown with what they will be.
    let version = known.or_else(|| versions.on(row.hired_on));
    if let Some(version) = version {
        row.notice_on = version.notice_on;
        row.last_day = version.last_day.or_else(|| versions.next_end(today)?.pred_opt());
        row.job_title.clone_from(&version.job_title);
        row.department.clone_from(&version.department);
        row.division.clone_from(&version.division);
        row.location.clone_from(&version.location);
        row.manager = version.manager;
        row.weekly_minutes = version.weekly_minutes;
    }
    row.left_on = match standing {
        Standing::Ended => versions.since(today, |version| version.standing == Standing::Ended.name()),
        Standing::Unknown | Standing::Working | Standing::OnLeave | Standing::Deleted | Standing::Erased => None,
    };
    if let Some(left_on) = row.left_on {
        row.last_day = left_on.pred_opt();
    }
    if row.status == Status::Erased.name() {
        return;
    }
    let status = match standing {
        Standing::Unknown => Status::Prehire,
        Standing::Working | Standing::OnLeave if row.notice_on.is_some() => Status::OnNotice,
        Standing::Working => Status::Active,
        Standing::OnLeave => Status::OnLeave,
        Standing::Ended => Status::Left,
        Standing::Deleted => Status::Deleted,
        Standing::Erased => Status::Erased,
    };
    status.name().clone_into(&mut row.status);
}

/// Adds (or takes away) one person to the counts of the department and the team.
fn count(changes: &mut Changes, row: &EmployeeRow, sign: i64) {
    let status = Status::from_name(&row.status);
    let is = |wanted: Status| i64::from(status == Some(wanted));
    let counts = Counts {
        headcount: i64::from(status.is_some_and(Status::is_employed)),
        on_leave: is(Status::OnLeave),
        on_notice: is(Status::OnNotice),
        departed: is(Status::Left),
    };
    if let Some(department) = &row.department {
        changes
            .departments
            .entry((row.tenant, department.clone()))
            .or_default()
            .add(counts, sign);
    }
    if let Some(manager) = row.manager {
        changes
            .teams
            .entry((row.tenant, manager))
            .or_default()
            .add(counts, sign);
    }
}

/// Takes the live row of a person out of the counts of heads (-1), or into them (1), where another table of employees shadows it.
///
/// # Errors
/// When the database fails.
pub(crate) async fn count_live(
    connection: &mut Connection,
    (tenant, employee): (TenantId, Uuid),
    sign: i64,
) -> Result<(), DatabaseError> {
    let mut changes = Changes::default();
    if let Some(row) = employee_table::load_live(connection, tenant, employee).await? {
        count(&mut changes, &row, sign);
    }
    stats::apply(connection, &changes).await
}

fn timeline_row(opened: &Opened) -> TimelineRow {
    let stored = &opened.stored;
    TimelineRow {
        tenant: stored.stream.tenant.into(),
        // A risk's stream has its employee's id, and so has that of changes of pay.
        employee: stored.stream.id,
        position: stored.position,
        kind: stored.stream.kind.name().to_owned(),
        stream_id: stored.stream.id,
        event_id: stored.event_id.into(),
        event_type: stored.event_type.clone(),
        schema_version: stored.schema_version,
        effective_on: stored.effective_on,
        recorded_at: stored.recorded_at,
        actor: stored.provenance.actor.clone(),
        data: stored.data.clone(),
    }
}

fn history_row(opened: &Opened, event: &risk::Event) -> Option<RiskHistoryRow> {
    match event {
        risk::Event::RiskAssessed(assessment) => {
            let score = assessment.score.open();
            Some(RiskHistoryRow {
                tenant: opened.stored.stream.tenant.into(),
                employee: opened.stored.stream.id,
                position: opened.stored.position,
                probability: score.map(|score| score.probability),
                horizon_days: i16::try_from(assessment.horizon_days).unwrap_or(i16::MAX),
                band: assessment.band.name().to_owned(),
                factors: risk_table::json(score.map(|score| score.factors.clone()).unwrap_or_default()),
                model: assessment.model.clone(),
                scored_at: assessment.scored_at,
                scored_position: assessment.position,
                recorded_at: opened.stored.recorded_at,
                vector: score.and_then(|score| score.vector.clone()),
            })
        }
        risk::Event::ReadinessAssessed(_) | risk::Event::HumanReviewRecorded(_) => None,
    }
}

fn readiness_row(opened: &Opened, event: &risk::Event) -> Option<ReadinessHistoryRow> {
    match event {
        risk::Event::ReadinessAssessed(assessed) => Some(ReadinessHistoryRow {
            tenant: opened.stored.stream.tenant.into(),
            employee: opened.stored.stream.id,
            position: opened.stored.position,
            program: assessed.program.into(),
            probability: assessed.score.open().map(|score| score.probability),
            horizon_days: i16::try_from(assessed.horizon_days).unwrap_or(i16::MAX),
            level: assessed.level.name().to_owned(),
            model: assessed.model.clone(),
            scored_at: assessed.scored_at,
        }),
        risk::Event::RiskAssessed(_) | risk::Event::HumanReviewRecorded(_) => None,
    }
}

async fn pay_change_row(
    connection: &mut Connection,
    opened: &Opened,
    event: &pay_change::Event,
) -> Result<(), DatabaseError> {
    let stored = &opened.stored;
    let (tenant, employee, id) = (stored.stream.tenant, stored.stream.id, event.change());
    let mut row = match event {
        pay_change::Event::Requested(request) => PayChangeRow {
            tenant: tenant.into(),
            employee,
            id: id.into(),
            connection: request.at.connection.into(),
            stage: String::new(),
            effective_on: request.effective_on,
            requested_by: request.by.clone(),
            requested_at: stored.recorded_at,
            requested_position: stored.position,
            decided_by: None,
            reference: None,
            cause: None,
            message: None,
            changed_at: stored.recorded_at,
            event_id: stored.event_id.into(),
            schema_version: stored.schema_version,
            data: stored.data.clone(),
            position: 0,
        },
        pay_change::Event::Approved(_)
        | pay_change::Event::Declined(_)
        | pay_change::Event::Withdrawn(_)
        | pay_change::Event::Abandoned(_)
        | pay_change::Event::SubmissionBegun(_)
        | pay_change::Event::Submitted(_)
        | pay_change::Event::Accepted(_)
        | pay_change::Event::Rejected(_)
        | pay_change::Event::Effective(_)
        | pay_change::Event::Overtaken(_) => {
            match pay_change_table::load(connection, tenant, (employee, id.into())).await? {
                Some(row) => row,
                // Only of a history that begins in the middle.
                None => return Ok(()),
            }
        }
    };
    if row.position >= stored.position {
        return Ok(()); // applied, when a batch was taken one by one or read models were made again
    }
    match event {
        pay_change::Event::Approved(decision)
        | pay_change::Event::Withdrawn(decision)
        | pay_change::Event::Abandoned(decision) => {
            row.decided_by = Some(decision.by.clone());
        }
        pay_change::Event::Declined(declining) => row.decided_by = Some(declining.by.clone()),
        pay_change::Event::Submitted(submission) => row.reference.clone_from(&submission.reference),
        pay_change::Event::Rejected(refusal) => {
            row.cause = Some(refusal.cause.clone());
            row.message.clone_from(&refusal.message);
        }
        pay_change::Event::Requested(_)
        | pay_change::Event::SubmissionBegun(_)
        | pay_change::Event::Accepted(_)
        | pay_change::Event::Effective(_)
        | pay_change::Event::Overtaken(_) => {}
    }
    event.stage().name().clone_into(&mut row.stage);
    row.changed_at = stored.recorded_at;
    row.position = stored.position;
    pay_change_table::upsert(connection, &row).await
}

async fn program_row(
    connection: &mut Connection,
    opened: &Opened,
    event: &program::Event,
) -> Result<(), DatabaseError> {
    let stream = opened.stored.stream;
    let known = readiness::load_program(connection, stream.tenant, stream.id).await?;
    let mut row = known.unwrap_or_else(|| ProgramRow {
        tenant: stream.tenant.into(),
        id: stream.id,
        name: String::new(),
        titles_from: Vec::new(),
        titles_to: Vec::new(),
        status: readiness::CLOSED.to_owned(),
        model: None,
        challenger: None,
        position: 0,
    });
    if row.position >= opened.stored.position {
        return Ok(()); // applied, when a batch was taken one by one or read models were made again
    }
    match event {
        program::Event::Defined { name, path, .. } => {
            if !row.is_open() || row.path() != *path {
                (row.model, row.challenger) = (None, None); // as the aggregate has it
            }
            name.clone_into(&mut row.name);
            row.titles_from.clone_from(&path.from);
            row.titles_to.clone_from(&path.to);
            readiness::OPEN.clone_into(&mut row.status);
        }
        program::Event::Closed { .. } => {
            readiness::CLOSED.clone_into(&mut row.status);
            (row.model, row.challenger) = (None, None);
        }
        program::Event::ModelPromoted { model, .. } => {
            row.challenger = row.challenger.filter(|challenger| challenger != model);
            row.model = Some(model.clone());
        }
        program::Event::ChallengerChanged { model, .. } => row.challenger.clone_from(model),
    }
    row.position = opened.stored.position;
    readiness::upsert_program(connection, &row).await
}

async fn tenant_settings(
    connection: &mut Connection,
    opened: &Opened,
    event: &tenant::Event,
) -> Result<(), DatabaseError> {
    let of = opened.stored.stream.tenant;
    let known = settings::load(connection, of).await?;
    let mut row = known.unwrap_or_else(|| SettingsRow {
        tenant: of.into(),
        name: String::new(),
        bands: settings::json(tenant::Bands::default()),
        model: None,
        challenger: None,
        position: 0,
    });
    if row.position >= opened.stored.position {
        return Ok(());
    }
    match event {
        tenant::Event::Created { name, .. } => name.clone_into(&mut row.name),
        tenant::Event::SettingsChanged { bands, .. } => row.bands = settings::json(*bands),
        tenant::Event::ModelPromoted { model, .. } => {
            row.challenger = row.challenger.filter(|challenger| challenger != model);
            row.model = Some(model.clone());
        }
        tenant::Event::ChallengerChanged { model, .. } => row.challenger.clone_from(model),
    }
    row.position = opened.stored.position;
    settings::upsert(connection, &row).await
}

async fn connection_row(
    connection: &mut Connection,
    opened: &Opened,
    event: &connection::Event,
) -> Result<(), DatabaseError> {
    let stored = &opened.stored;
    let known = settings::load_connection(connection, stored.stream.tenant, stored.stream.id).await?;
    let mut row = known.unwrap_or_else(|| ConnectionRow {
        tenant: stored.stream.tenant.into(),
        id: stored.stream.id,
        vendor: String::new(),
        company_domain: String::new(),
        status: "CONNECTED".to_owned(),
        last_cause: None,
        synchronised_at: None,
        employees: None,
        position: 0,
    });
    if row.position >= stored.position {
        return Ok(());
    }
    match event {
        connection::Event::Connected { system, .. } => {
            system.kind().clone_into(&mut row.vendor);
            system.account().clone_into(&mut row.company_domain);
            "CONNECTED".clone_into(&mut row.status);
            row.last_cause = None;
        }
        connection::Event::Synchronised { employees, .. } => {
            "CONNECTED".clone_into(&mut row.status);
            row.last_cause = None;
            row.synchronised_at = Some(stored.recorded_at);
            row.employees = Some(i64::from(*employees));
        }
        connection::Event::Failed { cause, .. } => {
            "FAILING".clone_into(&mut row.status);
            row.last_cause = Some(cause.clone());
        }
        connection::Event::Disconnected { .. } => "DISCONNECTED".clone_into(&mut row.status),
    }
    row.position = stored.position;
    settings::upsert_connection(connection, &row).await
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The committed sample of each type and version of the employee's events.
    fn samples() -> Vec<(String, employee::Event)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/events");
        let files = std::fs::read_dir(folder).expect("schemas/events");
        let names = files.map(|file| file.expect("a file").path());
        let samples = names.filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
            let (event_type, version) = name.rsplit_once(".v")?;
            let payload = std::fs::read(&path).expect("a sample");
            let payload = serde_json::from_slice(&payload).expect("JSON");
            let event = AnyEvent::decode(event_type, version.parse().ok()?, payload).expect("an event");
            match event {
                AnyEvent::Employee(event) => Some((name.to_owned(), event)),
                AnyEvent::Risk(_)
                | AnyEvent::Connection(_)
                | AnyEvent::Tenant(_)
                | AnyEvent::Program(_)
                | AnyEvent::Access(_)
                | AnyEvent::PayChange(_) => None,
            }
        });
        samples.collect()
    }

    /// Rows are loaded and written only for events that are about them: an event that is not must say nothing of any column.
    #[test]
    fn what_is_not_about_the_row_changes_nothing_of_it() {
        let samples = samples();
        let hired = samples.iter().find_map(|(_, event)| {
            if let employee::Event::Hired(hired) = event {
                Some(hired)
            } else {
                None
            }
        });
        let mut row = hired_row((Uuid::nil(), Uuid::nil()), hired.expect("a sample of being hired"));
        row.display_name = Some("Ada King".to_owned());
        row.notice_on = Some(row.hired_on);
        let mut about = 0;
        for (name, event) in &samples {
            let mut after = row.clone();
            details(&mut after, event);
            let says_something = after != row || !facts(event).is_empty();
            assert!(!says_something || is_about_the_row(event), "{name}");
            about += usize::from(is_about_the_row(event));
        }
        assert!(about > 0 && about < samples.len(), "{about} of {}", samples.len());
    }
}
