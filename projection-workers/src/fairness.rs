//! The projection that fills the fairness store: what is on record of people's protected attributes, for audits only.
//!
//! It runs as the others do, but with a database role of its own, which alone may touch the store.

use std::collections::BTreeMap;

use domain::employee::{Demographics, Event};
use futures_util::future::BoxFuture;
use infra::{
    database::{Connection, DatabaseError},
    fairness::{self, AttributesRow, FairnessStore},
    sealing::{Keyring, Subject},
};
use schemas::codec::{AnyEvent, DEMOGRAPHICS_CHANGED};

use crate::{
    ProjectionWorkers,
    runner::{Opened, Owned, Projection},
    scorer::unavailable,
};

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
