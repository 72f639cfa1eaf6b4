//! Invented histories of a company, week by week, with a known [`process`] behind them: who looks around, gives notice and is
//! promoted. `docs/synthetic.md` is for users of `tenure synth`.
//!
//! What comes out are the domain's own events with the day on which they became known: some late, some out of order.
//! Whoever was there at the beginning was imported then, with back-dated facts, as after connecting an HRIS.
//!
//! There is a static mode ([`snapshot`]) whose optimum has a closed form, and this dynamic one. [`Company::histories`] is
//! what the shared prior is trained on; a [`Scenario`] adds the rest of the facts' process, planted traps with known right
//! answers, and the truth; [`peaks`] turn it into a log with the rush hours of real life.
//!
//! The team hears of each notice and each exit without one, its manager's included: as an event on everybody's own stream.
//!
//! Left out, against the facts' generator: managers who are people of the company, units above the team, markets other than
//! one, and the events that the domain has no word for (goals, feedback, timesheets, clock-ins).

pub mod process;

pub mod optimum;
pub mod snapshot;

pub mod peaks;
pub mod scenario;

mod calendar;
mod draw;
mod person;
mod traps;

use std::collections::BTreeSet;

use chrono::{Datelike, Days};
use domain::{
    Date, Personal,
    employee::{ColleagueLeft, Event, Overtime, Relation},
    id::{ConnectionId, EmployeeId, TenantId},
};

pub use draw::Random;
pub use peaks::Peaks;
pub use process::Coefficients;
pub use scenario::{Fidelity, Lived, Scenario, Trap, Truth};
pub use snapshot::StaticTable;

use crate::dataset::{History, Recorded};
use person::{Person, Week};
use process::{DISMISSALS_PER_YEAR, Phase, TEAM_EXIT_WEEKS, VACANCY_SIGMA, VACANCY_WEEKS_MEDIAN};
use scenario::{LAYOFF_SHARE, LAYOFF_WEEKS, OFFICE_ORDER_ONE_TEAM_IN};

/// Chance per year that a team gets another manager.
const MANAGER_CHANGES_PER_YEAR: f64 = 0.30;
/// How many of them are because the manager leaves, which is known some weeks before.
const MANAGERS_WHO_LEAVE: f64 = 0.5;
/// How many people share a manager.
const TEAM: usize = 9;
/// Chance that a vacancy is filled by somebody who left half a year ago or earlier.
const REHIRE_CHANCE: f64 = 0.05;

/// What sets the stream of chance beside life apart from life's.
const ASIDE: u64 = 0x6173_6964_6500_0001;

/// What to invent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        Scenario::new(*self).live(&mut |_| {}).histories
    }
}

/// Where chance comes from: what happens in life, and what only goes along with it, so that the one can be had without the
/// other.
struct Streams {
    life: Random,
    aside: Random,
}

struct Life<'a> {
    scenario: &'a Scenario,
    company: Company,
    random: Streams,
    people: Vec<Person>,
    /// Those who left of their own will, by their place among the people.
    left_freely: BTreeSet<usize>,
    places: Vec<Place>,
    teams: Vec<Team>,
    managers: usize,
    truths: Vec<Truth>,
}

struct Team {
    manager: EmployeeId,
    /// Exits, the manager's included, the older the less.
    exits: f64,
    /// In how many weeks the manager goes, once notice is given.
    manager_goes_in: Option<u16>,
}

enum Place {
    Taken { person: usize },
    Empty { weeks_left: u32 },
}

impl<'a> Life<'a> {
    fn begin(scenario: &'a Scenario) -> Self {
        let company = scenario.company;
        let mut life = Self {
            scenario,
            company,
            random: Streams {
                life: Random::seeded(company.seed),
                aside: Random::seeded(company.seed ^ ASIDE),
            },
            people: Vec::new(),
            left_freely: BTreeSet::new(),
            places: Vec::new(),
            teams: Vec::new(),
            managers: 0,
            truths: Vec::new(),
        };
        for place in 0..company.places {
            if place % TEAM == 0 {
                let manager = life.new_manager();
                life.teams.push(Team {
                    manager,
                    exits: 0.0,
                    manager_goes_in: None,
                });
            }
            let id = life.new_id();
            let years = life.random.life.exponential(4.0).min(25.0);
            let since = company.begins_on - Days::new((years * 365.25) as u64 + 1);
            let manager = life.teams[place / TEAM].manager;
            let person = Person::imported(id, since, company.begins_on, manager, &mut life.random);
            life.places.push(Place::Taken {
                person: life.people.len(),
            });
            life.people.push(person);
        }
        life
    }

    fn end(self) -> (Vec<Truth>, Vec<Person>) {
        (self.truths, self.people)
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
        for team in &mut self.teams {
            team.exits *= (-1.0 / TEAM_EXIT_WEEKS).exp();
        }
        if self.scenario.truths {
            self.note_truths(monday);
        }
        self.order_to_the_office(monday);
        self.change_managers(monday);
        for place in 0..self.places.len() {
            match self.places[place] {
                Place::Taken { person } => {
                    let week = self.week(place, monday);
                    let exit = self.people[person].live_through(&week, &mut self.random.life);
                    if let Some(on) = exit {
                        self.tell_team(place / TEAM, self.people[person].id, Relation::Peer, on);
                    }
                    if self.people[person].phase == Phase::Gone {
                        if self.people[person].left_freely {
                            self.left_freely.insert(person);
                        }
                        let weeks_left =
                            self.random.life.log_normal(VACANCY_WEEKS_MEDIAN, VACANCY_SIGMA).round() as u32;
                        self.places[place] = Place::Empty {
                            weeks_left: self.start_after(monday, weeks_left),
                        };
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

    fn week(&self, place: usize, monday: Date) -> Week {
        let team = place / TEAM;
        let in_layoff = |(from, to): &(Date, Date)| (*from..*to).contains(&monday);
        let dismissals_per_year = match self.scenario.layoff().filter(in_layoff) {
            Some(_) => DISMISSALS_PER_YEAR - (1.0 - LAYOFF_SHARE).ln() * 52.0 / f64::from(LAYOFF_WEEKS),
            None => DISMISSALS_PER_YEAR,
        };
        Week {
            monday,
            team_exits: self.teams[team].exits,
            office_order: self
                .scenario
                .office_order()
                .filter(|on| *on <= monday && is_called_to_the_office(team)),
            dismissals_per_year,
            fidelity: self.scenario.fidelity,
            process: self.scenario.process(),
        }
    }

    /// Everybody at risk on the first day of a month that was not a Monday before.
    fn note_truths(&mut self, monday: Date) {
        let week_before = monday - Days::new(7);
        let is_new = |first: &Date| *first > week_before && *first >= self.company.begins_on;
        let Some(cutoff) = monday.with_day(1).filter(is_new) else {
            return;
        };
        for (place, taken) in self.places.iter().enumerate() {
            let Place::Taken { person } = taken else { continue };
            let person = &self.people[*person];
            if matches!(person.phase, Phase::Passive | Phase::Searching) {
                self.truths.push(Truth {
                    employee: person.id,
                    cutoff,
                    looking_rate: person.search_rate(&self.week(place, monday)),
                    searching: person.phase == Phase::Searching,
                });
            }
        }
    }

    fn order_to_the_office(&mut self, monday: Date) {
        if self.scenario.office_order() != Some(monday) {
            return;
        }
        for (place, taken) in self.places.iter().enumerate() {
            if let Place::Taken { person } = taken
                && is_called_to_the_office(place / TEAM)
            {
                self.people[*person].be_called_to_the_office(monday);
            }
        }
    }

    fn change_managers(&mut self, monday: Date) {
        for team in 0..self.teams.len() {
            match self.teams[team].manager_goes_in {
                Some(0) => self.change_manager(team, monday),
                Some(weeks) => self.teams[team].manager_goes_in = Some(weeks - 1),
                None if !self.random.life.happens_this_week(MANAGER_CHANGES_PER_YEAR) => {}
                None if self.random.aside.happens(MANAGERS_WHO_LEAVE) => {
                    self.teams[team].manager_goes_in = Some(self.random.aside.whole(2, 4));
                    self.tell_team(team, self.teams[team].manager, Relation::Manager, monday);
                }
                None => self.change_manager(team, monday),
            }
        }
    }

    fn change_manager(&mut self, team: usize, monday: Date) {
        let manager = self.new_manager();
        (self.teams[team].manager, self.teams[team].manager_goes_in) = (manager, None);
        for person in self.people_of(team) {
            self.people[person].get_manager(manager, monday, &mut self.random.life);
        }
    }

    /// Everybody who is there, by their place among the people.
    fn people_of(&self, team: usize) -> Vec<usize> {
        let places = (team * TEAM)..((team + 1) * TEAM).min(self.places.len());
        let taken = self.places[places].iter().filter_map(|place| match place {
            Place::Taken { person } => Some(*person),
            Place::Empty { .. } => None,
        });
        taken.collect()
    }

    /// Somebody gives notice, or goes without: the team hears of it, and thinks of it for a while.
    fn tell_team(&mut self, team: usize, colleague: EmployeeId, relation: Relation, on: Date) {
        self.teams[team].exits += 1.0;
        let exit = ColleagueLeft {
            colleague,
            relation,
            on,
        };
        for person in self.people_of(team) {
            self.people[person].hear_of(exit);
        }
    }

    /// How many weeks a place stays empty that could be filled after `weeks`.
    fn start_after(&mut self, monday: Date, weeks: u32) -> u32 {
        match self.scenario.fidelity {
            Fidelity::Prior => weeks,
            Fidelity::Full => calendar::weeks_to_start(monday, weeks, &mut self.random.life),
        }
    }

    fn fill(&mut self, place: usize, monday: Date) -> usize {
        let on = match self.scenario.fidelity {
            Fidelity::Prior => monday,
            Fidelity::Full => calendar::first_day(monday),
        };
        let manager = self.teams[place / TEAM].manager;
        if self.random.life.happens(REHIRE_CHANCE)
            && let Some(person) = self.who_would_return(monday)
        {
            self.left_freely.remove(&person);
            self.people[person].return_on(on, manager, &mut self.random.life);
            return person;
        }
        let id = self.new_id();
        self.people.push(Person::hired(id, on, manager, &mut self.random));
        self.people.len() - 1
    }

    fn who_would_return(&self, today: Date) -> Option<usize> {
        let mut who = self.left_freely.iter().copied();
        who.find(|person| self.people[*person].would_return(today))
    }
}

const fn is_called_to_the_office(team: usize) -> bool {
    team.is_multiple_of(OFFICE_ORDER_ONE_TEAM_IN)
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
