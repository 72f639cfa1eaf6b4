//! Changes to people's histories, and to what is set for the tenant.

use std::collections::{BTreeMap, HashMap};

use domain::{
    Date, Personal,
    employee::{self, Employee, Ended, Ending, Event, PayChanged, Voluntariness},
    money::{Money, PayRate},
    tenant,
};
use infra::{
    database::{Connection, DatabaseError},
    sealing::Keyring,
};
use ml_pipeline::features::PayLevels;
use schemas::{codec::AnyEvent, upcast};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Edits, Inserted, Spot, WhatIfError,
    history::{History, Origin, Person, Step, Subject},
    script::{self, Change, Script, ScriptError, Spanned, Who},
};

/// What a script sets for the tenant, from a spot of the log on.
#[derive(Debug, Clone)]
pub struct Setting {
    pub spot: Spot,
    pub recorded_at: domain::Timestamp,
    pub set: tenant::Event,
}

/// How much a script changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    pub dropped: usize,
    pub changed: usize,
    pub inserted: usize,
    /// People whose own history is another one; scores do not count.
    pub people: usize,
}

/// A script, on its way to be events.
pub struct Plan<'h> {
    pub history: &'h History,
    pub script: &'h Script,
    /// Whoever's history was looked at to be changed.
    pub people: BTreeMap<Uuid, Person>,
    pub settings: Vec<Setting>,
    /// What is changed in scores, and set for the tenant.
    pub edits: Edits,
    /// How many spots after a position are taken.
    taken: HashMap<i64, u32>,
}

impl<'h> Plan<'h> {
    pub fn new(history: &'h History, script: &'h Script) -> Self {
        Self {
            history,
            script,
            people: BTreeMap::new(),
            settings: Vec::new(),
            edits: Edits::default(),
            taken: HashMap::new(),
        }
    }

    /// Makes the script's changes, one after the other.
    pub async fn make(&mut self, connection: &mut Connection, keyring: &Keyring) -> Result<(), WhatIfError> {
        for change in &self.script.changes {
            let is_made = match &change.value {
                Change::Raise(raise) => {
                    let who = self.meant(&raise.who, raise.on.value)?;
                    self.load(connection, keyring, &who).await?;
                    self.each(&who, |plan, person, employee| plan.raise(person, employee, raise))
                }
                Change::Stay(stay) => {
                    let who = self.meant(&stay.who, self.script.from.value)?;
                    self.load(connection, keyring, &who).await?;
                    self.each(&who, Self::stay)
                }
                Change::Leave(leave) => {
                    let who = self.meant(&leave.who, leave.on.value)?;
                    self.load(connection, keyring, &who).await?;
                    self.each(&who, |plan, person, employee| plan.leave(person, employee, leave))
                }
                Change::Insert(insert) => {
                    let event = self.event(&insert.event_type, &insert.data)?;
                    let who = self.meant(&insert.who, event.effective_on())?;
                    self.load(connection, keyring, &who).await?;
                    self.each(&who, |plan, person, employee| {
                        plan.insert(person, employee, event.clone());
                        Ok(true)
                    })
                }
                Change::Edit(edit) => {
                    let since = edit.since.as_ref().unwrap_or(&self.script.from).value;
                    let who = self.meant(&edit.who, since)?;
                    self.load(connection, keyring, &who).await?;
                    let days = since..=edit.until.as_ref().map_or(Date::MAX, |until| until.value);
                    self.each(&who, |plan, person, _| plan.edit(person, edit, &days))
                }
                Change::Drop(drop) => {
                    let since = drop.since.as_ref().unwrap_or(&self.script.from).value;
                    let who = self.meant(&drop.who, since)?;
                    self.load(connection, keyring, &who).await?;
                    let days = since..=drop.until.as_ref().map_or(Date::MAX, |until| until.value);
                    self.each(&who, |_, person, _| {
                        let before = person.steps.len();
                        person.steps.retain(|_, step| {
                            !(is_of(step, &drop.event_type.value) && days.contains(&step.event.effective_on()))
                        });
                        Ok(person.steps.len() < before)
                    })
                }
                Change::Bands(bands) => self.set_bands(change, bands).map(|()| true),
                Change::Model(model) => {
                    self.set_model(model);
                    Ok(true)
                }
            };
            if !is_made? {
                return Err(ScriptError::at(
                    change,
                    "this changes nothing: whoever is meant has no such event from then on",
                )
                .into());
            }
        }
        Ok(())
    }

    /// Whom a script means on a day.
    fn meant(&self, who: &Spanned<Who>, day: Date) -> Result<Vec<Uuid>, ScriptError> {
        for employee in who.value.employees.iter().chain(&who.value.manager) {
            if !self.history.people.contains_key(&employee.value.uuid()) {
                return Err(ScriptError::at(
                    employee,
                    format_args!("nobody has the id {}", employee.value),
                ));
            }
        }
        let levels = PayLevels::of(
            self.history
                .people
                .values()
                .filter_map(|subject| subject.features.pay_in_group(day)),
        );
        let people = self.history.people.iter();
        let meant: Vec<Uuid> = people
            .filter(|(id, subject)| fits(&who.value, (**id, subject), day, &levels))
            .map(|(id, _)| *id)
            .collect();
        if meant.is_empty() {
            return Err(ScriptError::at(
                who,
                format_args!("nobody who was employed on {day} fits this"),
            ));
        }
        Ok(meant)
    }

    /// Makes people's histories ready to be changed.
    pub async fn load(
        &mut self,
        connection: &mut Connection,
        keyring: &Keyring,
        employees: &[Uuid],
    ) -> Result<(), DatabaseError> {
        let missing: Vec<Uuid> = employees
            .iter()
            .filter(|employee| !self.people.contains_key(employee))
            .copied()
            .collect();
        for chunk in missing.chunks(super::scores::CHUNK) {
            self.people.extend(self.history.load(connection, keyring, chunk).await?);
        }
        Ok(())
    }

    /// Changes some people's histories. Tells whether any of them is another one now.
    fn each(
        &mut self,
        who: &[Uuid],
        mut change: impl FnMut(&mut Self, &mut Person, Uuid) -> Result<bool, ScriptError>,
    ) -> Result<bool, ScriptError> {
        let mut is_made = false;
        for employee in who {
            let Some(mut person) = self.people.remove(employee) else {
                continue;
            };
            is_made |= change(self, &mut person, *employee)?;
            self.people.insert(*employee, person);
        }
        Ok(is_made)
    }

    /// A free spot after a position.
    pub fn spot_after(&mut self, position: i64) -> Spot {
        let taken = self.taken.entry(position).or_default();
        *taken += 1;
        (position, *taken)
    }

    /// Puts an event where it belongs in a person's history.
    pub fn insert(&mut self, person: &mut Person, _employee: Uuid, event: Event) {
        let (after, recorded_at, backfill) = self.history.place_of(person, event.effective_on());
        let step = Step {
            event,
            recorded_at,
            backfill,
            origin: Origin::Inserted,
        };
        person.steps.insert(self.spot_after(after), step);
    }

    fn raise(&mut self, person: &mut Person, employee: Uuid, raise: &script::Raise) -> Result<bool, ScriptError> {
        let on = raise.on.value;
        let Employee::OnFile(file) = person.file() else {
            return Ok(false);
        };
        // Whose pay is not known cannot be raised.
        let Some(before) = file.pay.at(on).and_then(Personal::open).copied() else {
            return Ok(false);
        };
        let factor = 1.0 + raise.percent.value / 100.0;
        for step in person.steps.values_mut() {
            if let Event::PayChanged(change) = &mut step.event
                && change.on > on
            {
                change.to = raised_value(&change.to, factor);
                change.from = change.from.as_ref().map(|from| raised_value(from, factor));
                step.origin = changed(step.origin);
            }
        }
        let event = Event::PayChanged(PayChanged {
            from: Some(before.into()),
            to: raised(before, factor).into(),
            reason: None,
            on,
        });
        self.insert(person, employee, event);
        Ok(true)
    }

    fn stay(&mut self, person: &mut Person, employee: Uuid) -> Result<bool, ScriptError> {
        let from = self.script.from.value;
        let before = person.steps.len();
        person
            .steps
            .retain(|_, step| !(step.event.effective_on() >= from && is_of_exit(&step.event)));
        // Notice that was given before the fork is taken back on it.
        let was_leaving = person.steps.len() < before;
        if was_leaving
            && let Employee::OnFile(file) = person.file()
            && file.notice.is_some()
        {
            self.insert(person, employee, Event::NoticeWithdrawn { on: from });
        }
        Ok(was_leaving)
    }

    fn leave(&mut self, person: &mut Person, employee: Uuid, leave: &script::Leave) -> Result<bool, ScriptError> {
        let on = leave.on.value;
        person.steps.retain(|_, step| {
            step.event.effective_on() < on || matches!(step.event, Event::Erased(_) | Event::Hired(_))
        });
        let voluntariness = if leave.voluntary {
            Voluntariness::Voluntary
        } else {
            Voluntariness::Involuntary
        };
        let event = Event::Terminated(Ending {
            on,
            ended: Ended {
                voluntariness,
                reason: None,
            },
        });
        self.insert(person, employee, event);
        Ok(true)
    }

    fn edit(
        &mut self,
        person: &mut Person,
        edit: &script::Edit,
        days: &std::ops::RangeInclusive<Date>,
    ) -> Result<bool, ScriptError> {
        let mut is_made = false;
        for step in person.steps.values_mut() {
            if !is_of(step, &edit.event_type.value) || !days.contains(&step.event.effective_on()) {
                continue;
            }
            let encoded = AnyEvent::Employee(step.event.clone())
                .encode()
                .map_err(|error| ScriptError::at(&edit.event_type, error))?;
            let mut data = encoded.payload;
            for (field, value) in &edit.set.value {
                let Some(place) = data.get_mut(field) else {
                    return Err(ScriptError::at(
                        &edit.set,
                        format_args!("{} has no field {field}", edit.event_type.value),
                    ));
                };
                *place = value.clone();
            }
            let event = self.read(&edit.event_type, &edit.set, data)?;
            if event != step.event {
                step.event = event;
                step.origin = changed(step.origin);
                is_made = true;
            }
        }
        Ok(is_made)
    }

    /// The event that a script writes out.
    fn event(&self, event_type: &Spanned<String>, data: &Spanned<Value>) -> Result<Event, ScriptError> {
        self.read(event_type, data, data.value.clone())
    }

    fn read<T>(&self, event_type: &Spanned<String>, place: &Spanned<T>, data: Value) -> Result<Event, ScriptError> {
        let name = event_type.value.as_str();
        let event = match AnyEvent::decode(name, upcast::newest_version(name), data) {
            Ok(AnyEvent::Employee(event)) => event,
            Ok(_) => return Err(ScriptError::at(event_type, "only events of employees can be changed")),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                return Err(ScriptError::at(
                    place,
                    format_args!("{error}{}", cause.unwrap_or_default()),
                ));
            }
        };
        let (day, today) = (event.effective_on(), infra::clock::today());
        if day < self.script.from.value || day > today {
            return Err(ScriptError::at(
                place,
                format_args!(
                    "`on` must lie between the fork, {}, and today, {today}; it is {day}",
                    self.script.from.value
                ),
            ));
        }
        Ok(event)
    }

    fn set_bands(&mut self, change: &Spanned<Change>, bands: &script::Bands) -> Result<(), ScriptError> {
        let day = bands.from.as_ref().unwrap_or(&self.script.from).value;
        let (after, recorded_at) = self.history.place_of_setting(day);
        let before = self.bands_at((after, u32::MAX));
        let to = tenant::Bands {
            medium_above: bands.medium_above.unwrap_or(before.medium_above),
            high_above: bands.high_above.unwrap_or(before.high_above),
            critical_above: bands.critical_above.unwrap_or(before.critical_above),
        };
        if !to.are_in_order() {
            return Err(ScriptError::at(
                change,
                format_args!(
                    "thresholds must rise: 0 < medium < high < critical < 1; these would be {}, {} and {}",
                    to.medium_above, to.high_above, to.critical_above
                ),
            ));
        }
        self.set(
            after,
            recorded_at,
            tenant::Event::SettingsChanged { bands: to, on: day },
        );
        Ok(())
    }

    fn set_model(&mut self, model: &script::Model) {
        let day = model.from.as_ref().unwrap_or(&self.script.from).value;
        let (after, recorded_at) = self.history.place_of_setting(day);
        let version = model.version.value.clone();
        self.set(
            after,
            recorded_at,
            tenant::Event::ModelPromoted {
                model: version,
                on: day,
            },
        );
    }

    /// Sets something, and takes out what was set of the same kind later.
    fn set(&mut self, after: i64, recorded_at: domain::Timestamp, set: tenant::Event) {
        let spot = self.spot_after(after);
        let overruled = self.history.settings.iter().filter(|(position, event)| {
            (*position, 0) > spot && std::mem::discriminant(event) == std::mem::discriminant(&set)
        });
        self.edits.dropped.extend(overruled.map(|(position, _)| *position));
        let inserted = Inserted {
            stream: self.history.settings_stream(),
            event: AnyEvent::Tenant(set.clone()),
            recorded_at,
            backfill: false,
        };
        self.edits.inserted.insert(spot, inserted);
        self.settings.push(Setting { spot, recorded_at, set });
    }

    /// The bands that are in force at a spot.
    pub fn bands_at(&self, spot: Spot) -> tenant::Bands {
        let of = |event: &tenant::Event| match event {
            tenant::Event::SettingsChanged { bands, .. } => Some(*bands),
            tenant::Event::Created { .. }
            | tenant::Event::ModelPromoted { .. }
            | tenant::Event::ChallengerChanged { .. } => None,
        };
        self.overruling(spot, of).unwrap_or_else(|| {
            let real = self.history.settings.iter().rev();
            let mut set = real
                .filter(|(position, _)| (*position, 0) <= spot)
                .filter_map(|(_, event)| of(event));
            set.next().unwrap_or_default()
        })
    }

    /// What the script has set, if it has, of those in force at a spot.
    pub fn overruling<T>(&self, spot: Spot, of: impl Fn(&tenant::Event) -> Option<T>) -> Option<T> {
        let set = self.settings.iter().rev().filter(|setting| setting.spot <= spot);
        set.filter_map(|setting| of(&setting.set)).next()
    }

    /// How much is changed.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted {
            dropped: self.edits.dropped.len(),
            changed: self.edits.changed.len(),
            inserted: self.edits.inserted.len(),
            people: 0,
        };
        for person in self.people.values().filter(|person| person.is_changed()) {
            let of = |origin| person.steps.values().filter(|step| step.origin == origin).count();
            counted.people += 1;
            counted.inserted += of(Origin::Inserted);
            counted.changed += of(Origin::Changed);
            counted.dropped += person.real.len() + of(Origin::Inserted) - person.steps.len();
        }
        counted
    }

    /// All changes, by where they are.
    pub fn into_edits(mut self) -> Edits {
        for (employee, person) in std::mem::take(&mut self.people) {
            if !person.is_changed() {
                continue;
            }
            let stream = self.history.stream(employee);
            for known in &person.real {
                if !person.steps.contains_key(&(known.position, 0)) {
                    self.edits.dropped.insert(known.position);
                }
            }
            for (spot, step) in person.steps {
                let event = AnyEvent::Employee(step.event);
                match step.origin {
                    Origin::Kept => {}
                    Origin::Changed => _ = self.edits.changed.insert(spot.0, event),
                    Origin::Inserted => {
                        let inserted = Inserted {
                            stream,
                            event,
                            recorded_at: step.recorded_at,
                            backfill: step.backfill,
                        };
                        self.edits.inserted.insert(spot, inserted);
                    }
                }
            }
        }
        self.edits
    }
}

/// What was made up stays made up.
fn changed(origin: Origin) -> Origin {
    match origin {
        Origin::Kept | Origin::Changed => Origin::Changed,
        Origin::Inserted => Origin::Inserted,
    }
}

/// Whether an event is of a type such as `employee.pay-changed`.
fn is_of(step: &Step, event_type: &str) -> bool {
    let encoded = AnyEvent::Employee(step.event.clone()).encode();
    encoded.is_ok_and(|encoded| encoded.event_type == event_type)
}

const fn is_of_exit(event: &Event) -> bool {
    matches!(
        event,
        Event::NoticeGiven(_)
            | Event::NoticeWithdrawn { .. }
            | Event::Terminated(_)
            | Event::TerminationReversed { .. }
            | Event::Rehired { .. }
    )
}

fn raised(rate: PayRate, factor: f64) -> PayRate {
    PayRate {
        amount: Money {
            minor_units: (rate.amount.minor_units as f64 * factor).round() as i64,
            currency: rate.amount.currency,
        },
        per: rate.per,
    }
}

fn raised_value(pay: &Personal<PayRate>, factor: f64) -> Personal<PayRate> {
    pay.open()
        .map_or(Personal::Unreadable, |rate| raised(*rate, factor).into())
}

/// Whether a person is meant: they were employed on the day, and fit all that is said.
fn fits(who: &Who, (id, subject): (Uuid, &Subject), day: Date, levels: &PayLevels) -> bool {
    let Employee::OnFile(file) = &subject.file else {
        return false;
    };
    if !file.standing.at(day).is_some_and(employee::Standing::is_employed) {
        return false;
    }
    let job = file.jobs.at(day);
    let is = |wanted: &Option<Spanned<String>>, of: fn(&employee::Job) -> &Option<String>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| job.and_then(|job| of(job).as_ref()) == Some(&wanted.value))
    };
    let manager = file.managers.at(day).copied().flatten();
    let ratio = || {
        let (group, pay) = subject.features.pay_in_group(day)?;
        levels.ratio(&group, pay)
    };
    (who.employees.is_empty() || who.employees.iter().any(|employee| employee.value.uuid() == id))
        && is(&who.department, |job| &job.department)
        && is(&who.division, |job| &job.division)
        && is(&who.location, |job| &job.location)
        && is(&who.job_title, |job| &job.title)
        && who.manager.as_ref().is_none_or(|wanted| manager == Some(wanted.value))
        && who
            .compa_ratio_below
            .is_none_or(|limit| ratio().is_some_and(|ratio| ratio < limit))
        && who
            .compa_ratio_above
            .is_none_or(|limit| ratio().is_some_and(|ratio| ratio > limit))
}
