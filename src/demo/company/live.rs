//! The living company: one small visible change at a time, for the demonstration.

use super::draw::{happens, pick, pick_weighted};
use super::organisation::LADDERS;
use super::steps::{PAY_FIELDS, TERMINATION_FIELDS, last_day};
use super::{Company, EmployeeId, Phase, names};
use chrono::{DateTime, Days, NaiveDate, Utc};
use rand::Rng;

/// How many kinds of change are tried before the company is taken to have nothing left to change.
const ATTEMPTS_MAX: usize = 32;
/// Nobody else is let go while the company is smaller than this share of its wanted size.
const HEADCOUNT_SHARE_MIN: f64 = 0.97;
/// Share of terminations that are the employer's decision.
const INVOLUNTARY_SHARE: f64 = 0.2;

/// What happened to a record, in BambooHR's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeAction {
    /// A new record.
    Created,
    /// Fields changed; also when somebody was terminated.
    Updated,
    /// The record itself is gone, which is not what a termination does.
    Deleted,
}

/// One record that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub employee: EmployeeId,
    /// How.
    pub action: ChangeAction,
    /// BambooHR's aliases of the fields whose *current* value changed. Empty on an update that lies ahead: it is
    /// visible in the tables, but no webhook announces it before its day.
    pub fields: Vec<&'static str>,
    /// When.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Raise,
    FutureRaise,
    OtherTeam,
    Transfer,
    Promotion,
    Notice,
    Termination,
    Hire,
    LastName,
    Phone,
    Hours,
    Leave,
}

const STEPS: &[(Step, f64)] = &[
    (Step::Raise, 26.0),
    (Step::FutureRaise, 5.0),
    (Step::OtherTeam, 9.0),
    (Step::Transfer, 9.0),
    (Step::Promotion, 7.0),
    (Step::Notice, 8.0),
    (Step::Termination, 8.0),
    (Step::Hire, 9.0),
    (Step::LastName, 3.0),
    (Step::Phone, 9.0),
    (Step::Hours, 4.0),
    (Step::Leave, 3.0),
];

impl Company {
    /// Lets one thing happen now, and answers with every record that it changed.
    ///
    /// When the day has changed since the last call, first everything takes effect that was entered for the days in
    /// between. Empty only for a company in which nothing is left to change.
    pub fn next_change<R: Rng + ?Sized>(&mut self, random: &mut R, now: DateTime<Utc>) -> Vec<Change> {
        self.live_at = Some(now);
        self.journal.clear();
        self.take_effect(random, now);
        for _ in 0..ATTEMPTS_MAX {
            let short_of_people = self.headcount_on(self.today) < self.headcount_wanted;
            let step = match pick_weighted(random, STEPS) {
                Some(_) if short_of_people && happens(random, 0.4) => Step::Hire,
                Some(step) => step,
                None => break,
            };
            if self.take_step(random, step) {
                break;
            }
        }
        self.live_at = None;
        std::mem::take(&mut self.journal)
    }

    fn take_step<R: Rng + ?Sized>(&mut self, random: &mut R, step: Step) -> bool {
        if step == Step::Hire {
            return self.hire_now(random);
        }
        if step == Step::Termination {
            return self.terminate_now(random);
        }
        let today = self.today;
        let staying = self.staying();
        let Some(&id) = pick(random, &staying) else {
            return false;
        };
        match step {
            Step::Raise => {
                let share = random.random_range(0.02..0.07);
                self.raise_pay(id, today, today, share, "Market Adjustment").is_some()
            }
            Step::FutureRaise => {
                let on = today + Days::new(random.random_range(7..=60));
                let share = random.random_range(0.03..0.09);
                self.raise_pay(id, on, today, share, "Market Adjustment").is_some()
            }
            Step::OtherTeam => self.swap_teams(random, id, &staying),
            Step::Transfer => self.transfer(random, id, today),
            Step::Promotion => self.promote(random, id, today),
            Step::Notice => {
                let on = last_day(random, today);
                self.enter_termination(random, id, on, today, true);
                true
            }
            Step::LastName => {
                let name = names::last_name(random);
                self.edit_person(id, &["lastName"], |employee| employee.last_name = name)
            }
            Step::Phone => {
                let phone = names::phone(random);
                self.edit_person(id, &["mobilePhone"], |employee| employee.mobile_phone = phone)
            }
            Step::Hours => self.edit_person(id, &["standardHoursPerWeek"], |employee| {
                employee.standard_hours_per_week = if employee.standard_hours_per_week >= 35 { 24 } else { 40 };
            }),
            Step::Leave => {
                let on_leave = self
                    .employee(id)
                    .is_some_and(|employee| employee.truth.on_leave_until.is_some());
                let until = (!on_leave).then(|| today + Days::new(7 * random.random_range(4..=16)));
                self.set_leave(id, today, today, until);
                true
            }
            Step::Hire | Step::Termination => false,
        }
    }

    /// Everybody who is here, has not given notice and is not the head of the company.
    fn staying(&self) -> Vec<EmployeeId> {
        self.employees
            .iter()
            .filter(|employee| matches!(employee.truth.phase, Phase::Passive | Phase::Searching))
            .filter(|employee| employee.hire_date <= self.today && employee.truth.seat.is_some_and(|seat| seat != 0))
            .map(|employee| employee.id)
            .collect()
    }

    fn edit_person(
        &mut self,
        id: EmployeeId,
        fields: &[&'static str],
        edit: impl FnOnce(&mut super::Employee),
    ) -> bool {
        let Some(employee) = self.employee_mut(id) else {
            return false;
        };
        edit(employee);
        self.touch(id, self.today, fields);
        true
    }

    fn hire_now<R: Rng + ?Sized>(&mut self, random: &mut R) -> bool {
        if self.vacancies.is_empty() {
            return false;
        }
        let seat = self
            .vacancies
            .swap_remove(random.random_range(0..self.vacancies.len()))
            .seat;
        if self
            .organisation
            .seats
            .get(seat)
            .is_none_or(|seat| seat.holder.is_some())
        {
            return false;
        }
        let hired = self.hire(random, seat, self.today).is_some();
        self.refresh_reports(random, seat, self.today);
        hired
    }

    /// Somebody on notice leaves early, by agreement; or somebody is let go.
    fn terminate_now<R: Rng + ?Sized>(&mut self, random: &mut R) -> bool {
        if (self.headcount_on(self.today) as f64) < self.headcount_wanted as f64 * HEADCOUNT_SHARE_MIN {
            return false;
        }
        let today = self.today;
        if !happens(random, INVOLUNTARY_SHARE) {
            let on_notice: Vec<EmployeeId> = self
                .employees
                .iter()
                .filter(|employee| employee.truth.phase == Phase::Notice && employee.hire_date <= today)
                .filter(|employee| employee.termination_date.is_some_and(|last| last > today))
                .map(|employee| employee.id)
                .collect();
            let Some(&id) = pick(random, &on_notice) else {
                return false;
            };
            self.bring_forward(id, today);
            self.leave(random, id, today);
            return true;
        }
        let Some(&id) = pick(random, &self.staying()) else {
            return false;
        };
        self.enter_termination(random, id, today, today, false);
        self.leave(random, id, today);
        true
    }

    fn bring_forward(&mut self, id: EmployeeId, today: NaiveDate) {
        let Some(employee) = self.employee_mut(id) else { return };
        employee.termination_date = Some(today);
        if let Some(row) = employee.employment_status.iter_mut().rfind(|row| row.date > today) {
            row.date = today;
            row.recorded_on = today;
            row.comment = "Left early, by agreement".to_owned();
        }
        self.touch(id, today, TERMINATION_FIELDS);
    }

    /// Two people of the same job swap teams; both get another manager.
    fn swap_teams<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, staying: &[EmployeeId]) -> bool {
        let Some(seat) = self.leaf_seat(id) else { return false };
        let here = &self.organisation.seats[seat];
        let partners: Vec<(EmployeeId, usize)> = staying
            .iter()
            .filter_map(|&other| Some((other, self.leaf_seat(other)?)))
            .filter(|&(_, other)| {
                let there = &self.organisation.seats[other];
                there.ladder == here.ladder && there.location == here.location && there.manager != here.manager
            })
            .collect();
        let Some(&(partner, other)) = pick(random, &partners) else {
            return false;
        };
        for (who, to) in [(id, other), (partner, seat)] {
            self.organisation.seats[to].holder = Some(who);
            if let Some(employee) = self.employee_mut(who) {
                employee.truth.seat = Some(to);
            }
        }
        for who in [id, partner] {
            self.enter_job(who, self.today, self.today);
            let today = self.today;
            if let Some(employee) = self.employee_mut(who) {
                employee.truth.manager_changed = Some(today);
            }
            self.touch(who, today, &["supervisor"]);
        }
        true
    }

    /// The seat of somebody whom nobody reports to.
    fn leaf_seat(&self, id: EmployeeId) -> Option<usize> {
        let seat = self.employee(id)?.truth.seat?;
        (!self.organisation.is_management(seat)).then_some(seat)
    }

    /// Announces what takes effect between the last known day and now, and empties the seats of those who left.
    fn take_effect<R: Rng + ?Sized>(&mut self, random: &mut R, now: DateTime<Utc>) {
        let (before, today) = (self.today, now.date_naive());
        if today <= before {
            return;
        }
        self.today = today;
        let new = |day: NaiveDate| before < day && day <= today;
        let mut leaving = Vec::new();
        let mut paid = Vec::new();
        for employee in &self.employees {
            if employee.compensation.iter().any(|row| new(row.start_date)) {
                paid.push(employee.id);
            }
            if employee.truth.phase == Phase::Notice
                && let Some(last) = employee.termination_date.filter(|last| *last <= today)
            {
                leaving.push((employee.id, last));
            }
        }
        for id in paid {
            self.touch(id, today, PAY_FIELDS);
        }
        for (id, last) in leaving {
            self.touch(id, today, TERMINATION_FIELDS);
            self.leave(random, id, last.max(before));
        }
        self.enter_corrections(today);
    }

    /// All job titles of the company, for lists.
    pub fn job_titles() -> impl Iterator<Item = &'static str> {
        LADDERS.iter().flat_map(|ladder| ladder.titles.iter().copied())
    }
}
