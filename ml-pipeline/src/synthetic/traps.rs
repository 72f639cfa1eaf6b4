//! What is planted in the log of a life that has been lived: it changes what is told, not what happened.

use std::collections::BTreeMap;

use chrono::Days;
use domain::{
    Date,
    employee::{Demographics, Event},
};

use super::{
    draw::Random,
    known,
    person::Traits,
    personal,
    scenario::{Planted, Scenario, Trap},
};
use crate::dataset::{History, Recorded};

/// The share of pay changes that are recorded wrong and corrected later.
pub const BACKDATED_SHARE: f64 = 0.015;
/// After how many days a correction comes at the earliest.
pub const BACKDATED_DAYS_MIN: u64 = 31;
/// The share of events that are recorded twice.
pub const DUPLICATE_SHARE: f64 = 0.003;
/// The share of events that stand in the log after one that was known later.
pub const OUT_OF_ORDER_SHARE: f64 = 0.002;

/// An event on its way into the log, with the number it had when it was told and the trap that put it there.
struct Told {
    recorded: Recorded,
    number: usize,
    planted: Option<(Trap, Option<usize>)>,
}

/// The history with what the scenario's traps put into it. Each trap has its own stream of chance for each person, so that
/// one more trap changes none of the others.
pub fn plant(scenario: &Scenario, person: usize, traits: &Traits, history: History) -> (History, Vec<Planted>) {
    let plants = |trap: &Trap| match trap {
        Trap::Offboarding
        | Trap::BackdatedPay
        | Trap::Duplicates
        | Trap::OutOfOrder
        | Trap::Protected
        | Trap::Noise => true,
        Trap::Layoff | Trap::OfficeOrder | Trap::Flipped => false,
    };
    if !scenario.traps.iter().any(plants) {
        return (history, Vec::new());
    }
    let told = |(number, recorded)| Told {
        recorded,
        number,
        planted: None,
    };
    let mut log = Log {
        until: scenario.company.ends_on(),
        events: history.events.into_iter().enumerate().map(told).collect(),
    };
    let random = |trap: Trap| {
        let person = (person as u64).wrapping_mul(0xd134_2543_de82_ef95);
        Random::seeded(scenario.company.seed.rotate_left(17) ^ person ^ ((trap as u64 + 1) << 56))
    };
    // In the order of the enum, whatever order they were asked for in.
    for trap in Trap::ALL.into_iter().filter(|trap| scenario.has(*trap)) {
        let mut random = random(trap);
        match trap {
            Trap::Protected => log.tell_demographics(traits),
            Trap::Noise => log.tell_noise(&mut random),
            Trap::Offboarding => log.tell_offboarding(&mut random),
            Trap::BackdatedPay => log.correct_pay(&mut random),
            Trap::Duplicates => log.repeat(&mut random),
            // Once the order stands.
            Trap::OutOfOrder | Trap::Layoff | Trap::OfficeOrder | Trap::Flipped => {}
        }
    }
    log.events.sort_by_key(|told| told.recorded.known_on);
    if scenario.has(Trap::OutOfOrder) {
        log.disorder(&mut random(Trap::OutOfOrder));
    }
    log.into_history(person, history.employee)
}

struct Log {
    until: Date,
    events: Vec<Told>,
}

impl Log {
    /// Adds an event unless it would become known too late.
    fn tell(&mut self, trap: Trap, of: Option<usize>, recorded: Recorded) -> bool {
        let in_time = recorded.known_on <= self.until;
        if in_time {
            self.events.push(Told {
                recorded,
                number: self.events.len(),
                planted: Some((trap, of)),
            });
        }
        in_time
    }

    fn tell_field(&mut self, trap: Trap, name: &str, value: &str, on: Date, known_on: Date) {
        let fields = personal(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        self.tell(trap, None, known(known_on, Event::SourceFieldsKept { fields, on }));
    }

    /// The day of the hire, and the day on which it became known: nothing is told before it.
    fn hire(&self) -> Option<(Date, Date)> {
        let told = self.events.first()?;
        Some((told.recorded.event.effective_on(), told.recorded.known_on))
    }

    fn tell_demographics(&mut self, traits: &Traits) {
        let Some((on, known_on)) = self.hire() else { return };
        let demographics = Demographics {
            gender: Some(if traits.woman { "Female" } else { "Male" }.to_owned()),
            date_of_birth: Some(traits.born),
            ethnicity: None,
        };
        let event = Event::DemographicsChanged {
            demographics: personal(demographics),
            on,
        };
        self.tell(Trap::Protected, None, known(known_on, event));
    }

    fn tell_noise(&mut self, random: &mut Random) {
        let Some((on, known_on)) = self.hire() else { return };
        let number = random.whole(1, 9_999).to_string();
        self.tell_field(Trap::Noise, "locker_number", &number, on, known_on);
    }

    /// A task some days before the notice (or before an exit without one), an interview after it, and the end of all access on
    /// the day before the exit.
    fn tell_offboarding(&mut self, random: &mut Random) {
        let Some((_, hire_known_on)) = self.hire() else { return };
        let (mut days, mut noticed) = (Vec::new(), false);
        for told in &self.events {
            if let Event::NoticeGiven(notice) = &told.recorded.event {
                days.push(("offboarding_task", notice.on, -i64::from(random.whole(3, 10))));
                days.push(("exit_interview", notice.on, i64::from(random.whole(1, 5))));
                noticed = true;
            }
            if let Event::Terminated(ending) = &told.recorded.event {
                if !noticed {
                    days.push(("offboarding_task", ending.on, -i64::from(random.whole(3, 10))));
                }
                days.push(("access_revoked", ending.on, -1));
                noticed = false;
            }
        }
        for (field, event, days) in days {
            let on = (event + chrono::Duration::days(days)).max(hire_known_on);
            self.tell_field(Trap::Offboarding, field, "created", on, on);
        }
    }

    /// The first record has the wrong amount, the later one says what was true from the beginning.
    fn correct_pay(&mut self, random: &mut Random) {
        for index in 0..self.events.len() {
            let recorded = &self.events[index].recorded;
            let Event::PayChanged(right) = &recorded.event else {
                continue;
            };
            let (mut wrong, late) = (right.clone(), BACKDATED_DAYS_MIN + random.exponential(30.0) as u64);
            if !random.happens(BACKDATED_SHARE) {
                continue;
            }
            let Some(mut rate) = wrong.to.open().copied() else {
                continue;
            };
            rate.amount.minor_units -= (rate.amount.minor_units as f64 * (0.01 + 0.05 * random.unit())) as i64;
            wrong.to = personal(rate);
            let correction = known(recorded.known_on + Days::new(late), recorded.event.clone());
            let number = self.events[index].number;
            if self.tell(Trap::BackdatedPay, Some(number), correction) {
                self.events[index].recorded.event = Event::PayChanged(wrong);
            }
        }
    }

    /// The log begins with the only event that nothing may be told before, so that one is told once.
    fn repeat(&mut self, random: &mut Random) {
        for index in 1..self.events.len() {
            let days = u64::from(random.whole(0, 3));
            if random.happens(DUPLICATE_SHARE) {
                let again = self.events[index].recorded.clone();
                let number = self.events[index].number;
                self.tell(
                    Trap::Duplicates,
                    Some(number),
                    known(again.known_on + Days::new(days), again.event),
                );
            }
        }
    }

    /// Puts some events behind the next one that became known on a later day.
    fn disorder(&mut self, random: &mut Random) {
        let mut index = 1;
        while index < self.events.len() {
            let known_on = self.events[index].recorded.known_on;
            let is_plain = self.events[index].planted.is_none();
            let later = self.events[index..]
                .iter()
                .position(|told| told.recorded.known_on > known_on);
            match later {
                Some(later) if random.happens(OUT_OF_ORDER_SHARE) && is_plain => {
                    self.events[index].planted = Some((Trap::OutOfOrder, None));
                    self.events[index..=index + later].rotate_left(1);
                    index += later + 1;
                }
                Some(_) => index += 1,
                None => break,
            }
        }
    }

    fn into_history(self, person: usize, employee: domain::id::EmployeeId) -> (History, Vec<Planted>) {
        let places: BTreeMap<usize, usize> = self
            .events
            .iter()
            .enumerate()
            .map(|(place, told)| (told.number, place))
            .collect();
        let planted = self.events.iter().enumerate().filter_map(|(event, told)| {
            let (trap, of) = told.planted?;
            Some(Planted {
                person,
                event,
                trap,
                of: of.and_then(|number| places.get(&number).copied()),
            })
        });
        let planted = planted.collect();
        let events = self.events.into_iter().map(|told| told.recorded).collect();
        (History { employee, events }, planted)
    }
}
