//! Invented histories of a company, week by week, with a known process behind them (prediction.md, section 5).
//!
//! Somebody who is content starts to look for another job at a rate `exp(eta)` per year; somebody who looks gives notice
//! (5.5 % a week) or gives up looking (3.5 %), and leaves two to four weeks after the notice. `eta` depends on what events
//! tell (tenure, pay, promotions, managers, reviews, overtime, recognition, the season) and on what nobody sees (mood,
//! frailty). People who look are absent more and answer fewer surveys, which is what makes fresh events worth having.
//!
//! What comes out are the domain's own events with the day on which they became known: some late, some out of order.
//! Whoever was there at the beginning was imported then, with back-dated facts, as after connecting an HRIS.
//!
//! Left out, against the facts' generator: exits of team mates and office orders (no employee feature sees them), markets
//! other than one, and bias.

pub mod optimum;
pub mod snapshot;

mod draw;
mod eta;
mod person;

use chrono::{Datelike, Days};
use domain::{
    Date, Personal,
    employee::{Event, Overtime},
    id::{ConnectionId, EmployeeId, TenantId},
};

pub use draw::Random;
pub use eta::Coefficients;
pub use snapshot::StaticTable;

use crate::dataset::{History, Recorded};
use person::{Person, Phase};

/// Chance per year that a team gets another manager.
const MANAGER_CHANGES_PER_YEAR: f64 = 0.30;
/// How many people share a manager.
const TEAM: usize = 9;
/// How many weeks a place stays empty, in the median.
const VACANCY_WEEKS: f64 = 6.0;
/// Chance that a vacancy is filled by somebody who left half a year ago or earlier.
const REHIRE_CHANCE: f64 = 0.05;

/// What to invent.
#[derive(Debug, Clone, Copy)]
pub struct Company {
    pub seed: u64,
    /// How many places there are; people come and go.
    pub places: usize,
    pub weeks: u32,
    /// The first week's Monday; the day of the import.
    pub begins_on: Date,
}

impl Company {
    /// The last day that is told of.
    #[must_use]
    pub fn ends_on(&self) -> Date {
        self.begins_on + Days::new(u64::from(self.weeks) * 7)
    }

    /// Everybody's events. The same company gives the same events.
    #[must_use]
    pub fn histories(&self) -> Vec<History> {
        let mut life = Life::begin(*self);
        for week in 0..self.weeks {
            life.step(self.begins_on + Days::new(u64::from(week) * 7));
        }
        life.people
            .into_iter()
            .map(|person| person.into_history(self.ends_on()))
            .collect()
    }
}

struct Life {
    company: Company,
    random: Random,
    people: Vec<Person>,
    places: Vec<Place>,
    teams: Vec<EmployeeId>,
    managers: usize,
}

enum Place {
    Taken { person: usize },
    Empty { weeks_left: u32 },
}

impl Life {
    fn begin(company: Company) -> Self {
        let mut life = Self {
            company,
            random: Random::seeded(company.seed),
            people: Vec::new(),
            places: Vec::new(),
            teams: Vec::new(),
            managers: 0,
        };
        for place in 0..company.places {
            if place % TEAM == 0 {
                let manager = life.new_manager();
                life.teams.push(manager);
            }
            let id = life.new_id();
            let years = life.random.exponential(4.0).min(25.0);
            let since = company.begins_on - Days::new((years * 365.25) as u64 + 1);
            let manager = life.teams[place / TEAM];
            let person = Person::imported(id, since, company.begins_on, manager, &mut life.random);
            life.places.push(Place::Taken {
                person: life.people.len(),
            });
            life.people.push(person);
        }
        life
    }

    fn new_id(&self) -> EmployeeId {
        self.derived("person", self.people.len())
    }

    /// Managers come from outside the people who are told of; nothing but who it is matters.
    fn new_manager(&mut self) -> EmployeeId {
        self.managers += 1;
        self.derived("manager", self.managers)
    }

    fn derived(&self, kind: &str, number: usize) -> EmployeeId {
        let tenant = TenantId::from_uuid(Default::default());
        let connection = ConnectionId::derive(tenant, "synthetic", &self.company.seed.to_string());
        EmployeeId::derive(tenant, connection, &format!("{kind}-{number}"))
    }

    fn step(&mut self, monday: Date) {
        self.change_managers(monday);
        for place in 0..self.places.len() {
            match self.places[place] {
                Place::Taken { person } => {
                    self.people[person].live_through(monday, &mut self.random);
                    if self.people[person].phase == Phase::Gone {
                        let weeks_left = self.random.log_normal(VACANCY_WEEKS, 0.5).round() as u32;
                        self.places[place] = Place::Empty { weeks_left };
                    }
                }
                Place::Empty { weeks_left: 0 } => {
                    let person = self.fill(place, monday);
                    self.places[place] = Place::Taken { person };
                }
                Place::Empty { weeks_left } => {
                    self.places[place] = Place::Empty {
                        weeks_left: weeks_left - 1,
                    }
                }
            }
        }
    }

    fn change_managers(&mut self, monday: Date) {
        for team in 0..self.teams.len() {
            if !self.random.happens_this_week(MANAGER_CHANGES_PER_YEAR) {
                continue;
            }
            self.teams[team] = self.new_manager();
            for place in (team * TEAM)..((team + 1) * TEAM).min(self.places.len()) {
                if let Place::Taken { person } = self.places[place] {
                    self.people[person].get_manager(self.teams[team], monday, &mut self.random);
                }
            }
        }
    }

    fn fill(&mut self, place: usize, monday: Date) -> usize {
        let manager = self.teams[place / TEAM];
        if self.random.happens(REHIRE_CHANCE)
            && let Some(person) = self.people.iter().position(|person| person.would_return(monday))
        {
            self.people[person].return_on(monday, manager, &mut self.random);
            return person;
        }
        let id = self.new_id();
        self.people.push(Person::hired(id, monday, manager, &mut self.random));
        self.people.len() - 1
    }
}

/// ISO week of the year.
fn week_of_year(day: Date) -> u32 {
    day.iso_week().week()
}

fn overtime(on: Date, minutes: u16) -> Event {
    Event::OvertimeRecorded(Overtime { on, minutes })
}

fn personal<T>(value: T) -> Personal<T> {
    Personal::Open(value)
}

fn known(known_on: Date, event: Event) -> Recorded {
    Recorded { known_on, event }
}

#[cfg(test)]
mod tests;
