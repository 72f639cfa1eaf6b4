//! The history that is forked: everybody as they really were.

use std::collections::{BTreeMap, HashSet};

use domain::{
    Aggregate, Date, Kind, StreamId, Timestamp,
    employee::{self, Employee},
    id::TenantId,
};
use infra::{
    checkpoint,
    database::{Connection, DatabaseError},
    event_log, parked,
    sealing::Keyring,
};
use ml_pipeline::features::FeatureState;
use schemas::{
    codec::{AnyEvent, DEMOGRAPHICS_CHANGED},
    envelope::StoredEvent,
    topics,
};
use uuid::Uuid;

use super::{Set, Spot, WhatIfError, opened, settings_stream};
use crate::{
    read_models::ReadModels,
    runner::{BATCH_EVENTS_MAX, Projection},
    teams::Facts,
};

/// A person, folded to the end in three ways: for rules, for models, for teams.
#[derive(Default)]
pub struct Subject {
    pub file: Employee,
    pub features: FeatureState,
    pub facts: Facts,
}

/// A tenant's history, as far as it is projected.
pub struct History {
    pub tenant: TenantId,
    /// The last event that belongs to it.
    pub head: i64,
    /// How many events it has.
    pub events: usize,
    pub people: BTreeMap<Uuid, Subject>,
    /// What was set for the tenant, in order, with the moment in which it was recorded.
    pub settings: Vec<Set>,
    /// The streams with parked events: their live rows say less than the log, so they are left out of both worlds.
    pub waiting: Vec<Uuid>,
    is_waiting: HashSet<Uuid>,
    /// Up to where each partition is projected.
    positions: BTreeMap<i32, i64>,
    partitions: i32,
    /// The first position that was recorded on a day.
    days: BTreeMap<Date, i64>,
    /// Where the tenant's own stream begins, and when.
    settings_begin: Option<(i64, Timestamp)>,
}

impl History {
    pub async fn read(
        connection: &mut Connection,
        keyring: &Keyring,
        tenant: TenantId,
        events_max: usize,
    ) -> Result<Self, WhatIfError> {
        let positions = checkpoint::positions(connection, ReadModels::NAME, topics::EVENTS).await?;
        let positions: BTreeMap<i32, i64> = positions
            .into_iter()
            .map(|(partition, at, _)| (partition, at))
            .collect();
        let waiting = parked::waiting(connection, tenant, ReadModels::NAME).await?;
        let mut history = Self {
            tenant,
            head: 0,
            events: 0,
            people: BTreeMap::new(),
            settings: Vec::new(),
            is_waiting: waiting.iter().copied().collect(),
            waiting,
            partitions: i32::try_from(positions.len()).unwrap_or(i32::MAX).max(1),
            positions,
            days: BTreeMap::new(),
            settings_begin: None,
        };
        let mut after = 0;
        loop {
            let page = event_log::read_tenant_after(connection, tenant, after, BATCH_EVENTS_MAX as i64).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            let page: Vec<StoredEvent> = page.into_iter().filter(|event| history.holds(event)).collect();
            history.events += page.len();
            if history.events > events_max {
                return Err(WhatIfError::TooManyEvents(events_max));
            }
            history.take(keyring, page).await?;
        }
        if history.head == 0 {
            return Err(WhatIfError::NoHistory);
        }
        Ok(history)
    }

    async fn take(&mut self, keyring: &Keyring, page: Vec<StoredEvent>) -> Result<(), DatabaseError> {
        for event in &page {
            self.head = event.position;
            self.days
                .entry(event.recorded_at.date_naive())
                .or_insert(event.position);
        }
        let is_of_interest = |event: &StoredEvent| {
            [Kind::Employee, Kind::Tenant].contains(&event.stream.kind) && event.event_type != DEMOGRAPHICS_CHANGED
        };
        let page = page.into_iter().filter(is_of_interest).collect();
        for (stored, event) in opened(keyring, page).await? {
            match event {
                AnyEvent::Employee(event) => {
                    let subject = self.people.entry(stored.stream.id).or_default();
                    subject.file = std::mem::take(&mut subject.file).evolve(&event);
                    subject.features.apply(&event);
                    subject.facts.take(&event, stored.provenance.backfill);
                }
                AnyEvent::Tenant(event) => {
                    self.settings_begin.get_or_insert((stored.position, stored.recorded_at));
                    self.settings.push((stored.position, event));
                }
                AnyEvent::Risk(_)
                | AnyEvent::Connection(_)
                | AnyEvent::Program(_)
                | AnyEvent::Access(_)
                | AnyEvent::PayChange(_) => {}
            }
        }
        Ok(())
    }

    /// Whether an event is projected, and so part of what happened. Who asked for history is no part of it.
    pub fn holds(&self, event: &StoredEvent) -> bool {
        if event.stream.kind == Kind::Access {
            return false;
        }
        let partition = topics::partition(topics::key(&event.stream).as_bytes(), self.partitions);
        self.positions.get(&partition).is_some_and(|at| event.position <= *at)
            && !self.is_waiting.contains(&event.stream.id)
    }

    /// The first position that was recorded on a day or later: the one after the last, if none was.
    fn first_since(&self, day: Date) -> i64 {
        self.days
            .range(day..)
            .next()
            .map_or(self.head + 1, |(_, position)| *position)
    }

    /// Where something belongs that becomes true on a day: with what was recorded then, or, in imported history, before what became true
    /// later. Answers after which position, when it counts as recorded, and whether it is imported history.
    pub fn place_of(&self, person: &Person, day: Date) -> (i64, Timestamp, bool) {
        let then = super::first_moment(day);
        let imported = person
            .real
            .iter()
            .find(|known| known.backfill && known.event.effective_on() > day);
        let lived = self.first_since(day);
        let before = imported.map_or(lived, |known| known.position.min(lived));
        let is_imported = imported.is_some_and(|known| known.position <= lived);
        let begin = person
            .real
            .first()
            .map_or((0, then), |known| (known.position, known.recorded_at));
        let after = begin.0.max(before - 1);
        let earlier = person.real.iter().rfind(|known| known.position <= after);
        let later = person.real.iter().find(|known| known.position > after);
        let recorded_at = earlier.map_or(begin.1, |known| known.recorded_at).max(then);
        let recorded_at = later.map_or(recorded_at, |known| recorded_at.min(known.recorded_at));
        (after, recorded_at, is_imported)
    }

    /// The same for what is set for the tenant.
    pub fn place_of_setting(&self, day: Date) -> (i64, Timestamp) {
        let then = super::first_moment(day);
        let (begin, recorded_at) = self.settings_begin.unwrap_or((0, then));
        (begin.max(self.first_since(day) - 1), recorded_at.max(then))
    }

    /// The stream of a person.
    pub fn stream(&self, employee: Uuid) -> StreamId {
        StreamId::new(self.tenant, Kind::Employee, employee)
    }

    /// The stream of a person's scores.
    pub fn risk_stream(&self, employee: Uuid) -> StreamId {
        StreamId::new(self.tenant, Kind::Risk, employee)
    }

    pub fn settings_stream(&self) -> StreamId {
        settings_stream(self.tenant)
    }

    /// Loads what really happened to some people.
    pub async fn load(
        &self,
        connection: &mut Connection,
        keyring: &Keyring,
        employees: &[Uuid],
    ) -> Result<BTreeMap<Uuid, Person>, DatabaseError> {
        let streams: Vec<StreamId> = employees
            .iter()
            .flat_map(|employee| [self.stream(*employee), self.risk_stream(*employee)])
            .collect();
        let mut events = event_log::read_streams(connection, &streams).await?;
        events.retain(|event| self.holds(event) && event.event_type != DEMOGRAPHICS_CHANGED);
        events.sort_unstable_by_key(|event| event.position);
        let mut people: BTreeMap<Uuid, Person> = employees.iter().map(|id| (*id, Person::default())).collect();
        for (stored, event) in opened(keyring, events).await? {
            let Some(person) = people.get_mut(&stored.stream.id) else {
                continue;
            };
            match event {
                AnyEvent::Employee(event) => {
                    let known = Known {
                        position: stored.position,
                        recorded_at: stored.recorded_at,
                        backfill: stored.provenance.backfill,
                        event,
                    };
                    person.steps.insert((stored.position, 0), Step::kept(&known));
                    person.real.push(known);
                }
                AnyEvent::Risk(event) => person.said.push((stored.position, event)),
                AnyEvent::Tenant(_)
                | AnyEvent::Connection(_)
                | AnyEvent::Program(_)
                | AnyEvent::Access(_)
                | AnyEvent::PayChange(_) => {}
            }
        }
        Ok(people)
    }
}

/// An event of a person that happened.
#[derive(Debug, Clone)]
pub struct Known {
    pub position: i64,
    pub recorded_at: Timestamp,
    pub backfill: bool,
    pub event: employee::Event,
}

/// Where an event of a changed history comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Kept,
    Changed,
    Inserted,
}

/// An event of a changed history.
#[derive(Debug, Clone)]
pub struct Step {
    pub event: employee::Event,
    pub recorded_at: Timestamp,
    pub backfill: bool,
    pub origin: Origin,
}

impl Step {
    fn kept(known: &Known) -> Self {
        Self {
            event: known.event.clone(),
            recorded_at: known.recorded_at,
            backfill: known.backfill,
            origin: Origin::Kept,
        }
    }
}

/// What really happened to a person, what was said of them, and their history as it is changed.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub real: Vec<Known>,
    /// Scores and what people said of them.
    pub said: Vec<(i64, domain::risk::Event)>,
    pub steps: BTreeMap<Spot, Step>,
}

impl Person {
    pub fn is_changed(&self) -> bool {
        self.steps.len() != self.real.len() || self.steps.values().any(|step| step.origin != Origin::Kept)
    }

    /// The changed history, folded.
    pub fn file(&self) -> Employee {
        self.steps
            .values()
            .fold(Employee::default(), |file, step| file.evolve(&step.event))
    }

    pub fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for step in self.steps.values() {
            facts.take(&step.event, step.backfill);
        }
        facts
    }
}
