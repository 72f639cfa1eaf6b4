//! The projection that fills the fairness store: what is on record of people's protected attributes, for audits only.
//!
//! It runs as the others do, but with a database role of its own, which alone may touch the store.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Kind, StreamId,
    employee::{Demographics, Event},
    id::TenantId,
};
use futures_util::future::BoxFuture;
use infra::{
    database::{self, Access, Connection, Database, DatabaseError},
    event_log,
    fairness::{self, AttributesRow, FairnessStore},
    sealing::{Keyring, Subject},
};
use schemas::{
    codec::{AnyEvent, DEMOGRAPHICS_CHANGED},
    envelope::StoredEvent,
};
use uuid::Uuid;

use crate::{
    ProjectionWorkers,
    memories::Progress,
    proof,
    runner::{self, Opened, Owned, Projection},
    scorer::unavailable,
};

/// Rows that are read at once.
const ROWS_MAX: i64 = 5_000;
/// People whose histories are read again at once.
const PEOPLE_MAX: usize = 500;

/// Cheap to clone.
#[derive(Clone)]
pub struct Fairness {
    keyring: Keyring,
}

impl Fairness {
    /// With the workers to run it with: theirs is the store's role.
    #[must_use]
    pub fn new(workers: &ProjectionWorkers, store: &FairnessStore) -> (ProjectionWorkers, Self) {
        let workers = ProjectionWorkers {
            database: store.database().clone(),
            ..workers.clone()
        };
        let keyring = workers.keyring.clone();
        (workers, Self { keyring })
    }
}

impl Projection for Fairness {
    const NAME: &'static str = "fairness";

    /// The few that [`OnRecord::after`] looks at: nothing else is opened for it.
    fn wants(event_type: &str) -> bool {
        [DEMOGRAPHICS_CHANGED, "employee.hired", "employee.erased"].contains(&event_type)
    }

    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            // The last word on each person, with its position: attributes come whole, never in part.
            let mut last: BTreeMap<Subject, (OnRecord<'_>, i64)> = BTreeMap::new();
            for opened in events {
                if let AnyEvent::Employee(event) = &opened.event
                    && let Some(on_record) = OnRecord::after(event)
                {
                    let stream = opened.stored.stream;
                    last.insert((stream.tenant, stream.id), (on_record, opened.stored.position));
                }
            }
            let people: Vec<Subject> = last.keys().copied().collect();
            let keys = self.keyring.subjects(&people).await.map_err(unavailable)?;
            let (mut rows, mut gone) = (Vec::new(), Vec::new());
            for (who, (on_record, position)) in last {
                match (on_record, keys.get(&who)) {
                    (OnRecord::Attributes(attributes), Some(key)) => {
                        rows.push(AttributesRow::seal(who, key, attributes, position).map_err(unavailable)?);
                    }
                    // Nothing is kept of whom nothing is known, or whose key was destroyed meanwhile.
                    (OnRecord::Nothing, _) | (OnRecord::Attributes(_), None) => gone.push(who),
                }
            }
            fairness::upsert(connection, &rows).await?;
            fairness::remove(connection, &gone).await
        })
    }

    /// Attributes do not change with time; an age is told on the day of the audit.
    fn tick<'c>(&'c self, _owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async { Ok(()) })
    }
}

/// The store against a fold of the log.
#[derive(Debug, Default)]
pub struct Compared {
    /// People of whom something is on record, by the log or by the store.
    pub people: usize,
    /// Of whom the store says otherwise than the log.
    pub differing: Vec<Uuid>,
}

/// Compares what the store holds of a tenant's people with a fold of their events.
///
/// # Errors
/// When the database or the keys fail.
pub async fn compare(
    (store, log, keyring): (&FairnessStore, &Database, &Keyring),
    tenant: TenantId,
) -> Result<Compared, DatabaseError> {
    let tenants = [tenant];
    let held = store.database().transact(Access::Read, &tenants, move |connection| {
        Box::pin(async move {
            // Rows, and how far they are, at one moment.
            database::one_snapshot(connection).await?;
            Held::read(connection, tenant).await
        })
    });
    let held = held.await?;
    let (mut said, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = log.transact(Access::Read, &tenants, move |connection| {
            let limit = event_log::PAGE_EVENTS_MAX;
            Box::pin(event_log::read_tenant_after(connection, tenant, after, limit))
        });
        let events = page.await?;
        let Some(last) = events.last() else { break };
        after = last.position;
        hear(&mut said, keyring, &held.progress, events).await?;
    }
    let people: BTreeSet<Uuid> = said.keys().chain(held.rows.keys()).copied().collect();
    let judged = Judged::new(keyring, (tenant, &people), &held, &said).await?;
    let rows = judged.rows.iter().map(|row| row.employee);
    Ok(Compared {
        people: judged.people,
        differing: rows.chain(judged.gone.iter().map(|(_, person)| *person)).collect(),
    })
}

/// Makes what is otherwise again from the log, in one transaction: the store's projection waits meanwhile, and nobody else. Who that
/// is, is found out before.
///
/// # Errors
/// When the database or the keys fail; nothing was changed then.
pub async fn mend(
    (store, log, keyring): (&FairnessStore, &Database, &Keyring),
    tenant: TenantId,
) -> Result<Compared, DatabaseError> {
    let compared = compare((store, log, keyring), tenant).await?;
    let (log, keyring, differing) = (log.clone(), keyring.clone(), compared.differing.clone());
    let tenants = [tenant];
    let mended = store.database().transact(Access::Write, &tenants, move |connection| {
        Box::pin(async move {
            fairness::keep_to_oneself(connection).await?;
            let held = Held::read(connection, tenant).await?;
            for people in differing.chunks(PEOPLE_MAX) {
                let streams: Vec<StreamId> = people
                    .iter()
                    .map(|person| StreamId::new(tenant, Kind::Employee, *person))
                    .collect();
                let events = log
                    .transact(Access::LookUp, &[tenant], move |connection| {
                        Box::pin(async move { event_log::read_streams(connection, &streams).await })
                    })
                    .await?;
                let mut said = BTreeMap::new();
                hear(&mut said, &keyring, &held.progress, events).await?;
                let people = people.iter().copied().collect();
                let judged = Judged::new(&keyring, (tenant, &people), &held, &said).await?;
                fairness::upsert(connection, &judged.rows).await?;
                fairness::remove(connection, &judged.gone).await?;
            }
            Ok(())
        })
    });
    mended.await?;
    Ok(compared)
}

/// What the store holds of a tenant's people, and how far it is.
struct Held {
    progress: Progress,
    rows: BTreeMap<Uuid, AttributesRow>,
}

impl Held {
    async fn read(connection: &mut Connection, tenant: TenantId) -> Result<Self, DatabaseError> {
        let mut held = Self {
            progress: Progress::of::<Fairness>(connection, tenant).await?,
            rows: BTreeMap::new(),
        };
        loop {
            let after = held.rows.keys().next_back().copied();
            let rows = fairness::page(connection, tenant, after, ROWS_MAX).await?;
            if rows.is_empty() {
                return Ok(held);
            }
            held.rows.extend(rows.into_iter().map(|row| (row.employee, row)));
        }
    }
}

/// What is to be done so that the store says what the log says.
#[derive(Default)]
struct Judged {
    people: usize,
    rows: Vec<AttributesRow>,
    gone: Vec<Subject>,
}

impl Judged {
    async fn new(
        keyring: &Keyring,
        (tenant, people): (TenantId, &BTreeSet<Uuid>),
        held: &Held,
        said: &BTreeMap<Uuid, Said>,
    ) -> Result<Self, DatabaseError> {
        let subjects: Vec<Subject> = people.iter().map(|person| (tenant, *person)).collect();
        let keys = keyring.subjects(&subjects).await.map_err(unavailable)?;
        let mut judged = Self::default();
        for person in people.iter().copied() {
            if held.progress.waiting.contains(&person) {
                continue;
            }
            let who = (tenant, person);
            let (said, row) = (said.get(&person), held.rows.get(&person));
            let attributes = said.and_then(|said| said.attributes.as_ref());
            judged.people += usize::from(attributes.is_some() || row.is_some());
            match (attributes, row, keys.get(&who)) {
                (Some((attributes, position)), row, Some(key)) => {
                    let is_same = |row: &AttributesRow| {
                        row.position == *position && row.open(key).is_ok_and(|held| held == *attributes)
                    };
                    if !row.is_some_and(is_same) {
                        let row = AttributesRow::seal(who, key, attributes, *position).map_err(unavailable)?;
                        judged.rows.push(row);
                    }
                }
                (None, Some(_), Some(_)) => judged.gone.push(who),
                // Whose key is gone is being erased, which the projection may not have heard of yet.
                (_, Some(_), None) if said.is_none_or(|said| said.is_erased) => judged.gone.push(who),
                (_, Some(_), None) | (_, None, _) => {}
            }
        }
        Ok(judged)
    }
}

/// The last word of the log on a person, as far as the store has heard it.
#[derive(Default)]
struct Said {
    attributes: Option<(Demographics, i64)>,
    is_erased: bool,
}

/// Takes in what events, in the order of the log, say of people, as far as the store has heard them.
async fn hear(
    said: &mut BTreeMap<Uuid, Said>,
    keyring: &Keyring,
    progress: &Progress,
    events: Vec<StoredEvent>,
) -> Result<(), DatabaseError> {
    let is_of_interest = |event: &StoredEvent| {
        event.stream.kind == Kind::Employee && Fairness::wants(&event.event_type) && progress.has(event)
    };
    let events: Vec<StoredEvent> = events.into_iter().filter(is_of_interest).collect();
    let keys = proof::keys(keyring, &events).await?;
    for event in events {
        let stream = event.stream;
        let Ok(AnyEvent::Employee(opened)) = runner::open(&event, keys.get(&(stream.tenant, stream.id))) else {
            continue; // parked
        };
        let person = said.entry(stream.id).or_default();
        person.is_erased = matches!(opened, Event::Erased(_));
        person.attributes = match OnRecord::after(&opened) {
            Some(OnRecord::Attributes(attributes)) => Some((attributes.clone(), event.position)),
            Some(OnRecord::Nothing) | None => None,
        };
    }
    Ok(())
}

/// What is on record of a person.
enum OnRecord<'e> {
    Attributes(&'e Demographics),
    /// Never said, taken back, or erased.
    Nothing,
}

impl<'e> OnRecord<'e> {
    /// After an event; nothing if it says nothing about that.
    fn after(event: &'e Event) -> Option<Self> {
        match event {
            Event::DemographicsChanged { demographics, .. } => Some(
                demographics
                    .open()
                    .filter(|said| **said != Demographics::default())
                    .map_or(Self::Nothing, Self::Attributes),
            ),
            // A file is opened anew, or is gone.
            Event::Hired(_) | Event::Erased(_) => Some(Self::Nothing),
            Event::Rehired { .. }
            | Event::Transferred(_)
            | Event::Promoted(_)
            | Event::ManagerChanged { .. }
            | Event::PayChanged(_)
            | Event::HoursChanged { .. }
            | Event::LeaveStarted { .. }
            | Event::LeaveEnded { .. }
            | Event::NoticeGiven(_)
            | Event::NoticeWithdrawn { .. }
            | Event::Terminated(_)
            | Event::TerminationReversed { .. }
            | Event::SourceRecordDeleted { .. }
            | Event::ContactChanged { .. }
            | Event::SourceFieldsKept { .. }
            | Event::AssessmentCompleted(_)
            | Event::ReviewRecorded(_)
            | Event::SurveyAnswered(_)
            | Event::RecognitionGiven(_)
            | Event::AbsenceRecorded(_)
            | Event::OvertimeRecorded(_)
            | Event::NoteWritten(_)
            | Event::ScoringObjected(_)
            | Event::ScoringObjectionWithdrawn(_)
            | Event::ColleagueLeft(_)
            | Event::ColleagueStayed { .. } => None,
        }
    }
}
