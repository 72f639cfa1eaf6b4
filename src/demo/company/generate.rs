//! History: the first population, then week after week until today.

use super::draw::{gamma, happens, happens_this_week, normal, pick, pick_weighted};
use super::names::Mailboxes;
use super::organisation::{LADDERS, Organisation};
use super::steps::{last_day, rounded};
use super::{
    AbsenceKind, Company, Correction, EMPLOYEES_MAX, EMPLOYEES_MIN, Employee, EmployeeId, Gender, HISTORY_YEARS_MAX,
    HazardPoint, Plan, TERMINATED, TalentRecord, Vacancy,
};
use chrono::{Datelike, Days, NaiveDate, Weekday};
use ml_pipeline::synthetic::process::{
    Candidate, Circumstances, DISMISSALS_PER_YEAR, FRAILTY_SHAPE, PROMOTION_WEEKS, Phase, Process, Season,
    TEAM_EXIT_WEEKS, TRAINING_WEEKS, frailty_rate, next_mood,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// The process for this company. The facts' intercepts are for their mix of people; these make 12 to 14 % a year leave of
/// their own accord here, and 8 % be promoted.
const PROCESS: Process = Process {
    search_intercept: -1.74,
    promotion_intercept: -4.58,
    ..Process::FACTS
};
/// Share of seats that are vacant at any time.
const VACANT_SHARE: f64 = 0.02;
/// Mean tenure of the first population.
const TENURE_YEARS_MEAN: f64 = 4.5;
/// Longest tenure of the first population.
const TENURE_YEARS_MAX: f64 = 22.0;
/// Yearly hazard that the first population has survived, for the posterior of its frailty.
const PAST_HAZARD_PER_YEAR: f64 = 0.20;
/// How often somebody who does not search is absent.
const ABSENCES_PER_YEAR: f64 = 3.8;
const RECOGNITIONS_PER_YEAR: f64 = 2.8;
const TRAININGS_PER_YEAR: f64 = 4.0;
const NOTES_PER_YEAR: f64 = 0.8;
const LEAVES_PER_YEAR: f64 = 0.04;
const TRANSFERS_PER_YEAR: f64 = 0.14;
const MARKET_ADJUSTMENTS_PER_YEAR: f64 = 0.10;
const REVIEW_SHARE: f64 = 0.98;
const MERIT_SHARE: f64 = 0.93;
const WRONG_RATE_SHARE: f64 = 0.015;
const REHIRE_SHARE: f64 = 0.03;
const REHIRE_AFTER_DAYS_MIN: i64 = 182;
/// One in so many employees has a raise that lies ahead of the last day.
const FUTURE_RAISE_ONE_IN: usize = 80;
const REVIEW_WEEKS: [u32; 2] = [4, 30];
const SURVEY_WEEKS: [u32; 4] = [7, 20, 33, 46];
const MERIT_WEEK: u32 = 11;
const FIRST_EMPLOYEE_ID: u32 = 101;

const TRAININGS: &[&str] = &[
    "Cash Handling",
    "Customer Conversation",
    "Data Protection",
    "Food Safety",
    "Inventory Accuracy",
    "Loss Prevention",
    "Team Leadership",
    "Workplace Safety",
];
const NOTES: &[&str] = &[
    "Asked for more early shifts next quarter.",
    "Handled the inventory count very calmly.",
    "Would like to learn the ordering system.",
    "Helped to train two new colleagues.",
    "Talked about goals for the next half year.",
    "Covered a shift at short notice.",
    "Needs a reminder about closing procedures.",
    "Suggested a better layout for the returns desk.",
];

impl Company {
    /// Generates a company and its history.
    pub fn generate(plan: &Plan) -> Self {
        History::begin(plan).run()
    }
}

struct History<'a> {
    plan: &'a Plan,
    process: Process,
    random: ChaCha8Rng,
    company: Company,
    start: NaiveDate,
    /// Who left of their own accord, and may be hired again.
    alumni: Vec<EmployeeId>,
}

#[derive(Clone, Copy)]
struct Week {
    monday: NaiveDate,
    /// Sunday, or the last day of history.
    end: NaiveDate,
    number: u32,
    /// Counts from the start of the history.
    index: u32,
}

impl Week {
    /// Until the Monday; nothing for a day that lies ahead, such as that of a raise which is entered already.
    fn weeks_since(self, day: NaiveDate) -> f64 {
        (self.monday - day).num_days().max(0) as f64 / 7.0
    }

    fn years_since(self, day: NaiveDate) -> f64 {
        (self.monday - day).num_days().max(0) as f64 / 365.25
    }
}

impl<'a> History<'a> {
    fn begin(plan: &'a Plan) -> Self {
        let employees = plan.employees.clamp(EMPLOYEES_MIN, EMPLOYEES_MAX);
        let years = plan.years.clamp(1, HISTORY_YEARS_MAX);
        let start = plan.today - Days::new(u64::from(years) * 365 + u64::from(years / 4));
        let seats = (employees as f64 * (1.0 + VACANT_SHARE)).round() as usize;
        let company = Company {
            domain: "harborpine".to_owned(),
            company_id: "482915".to_owned(),
            today: plan.today,
            employees: Vec::with_capacity(employees * 2),
            talent: Vec::new(),
            deleted: BTreeMap::new(),
            headcount_wanted: employees,
            organisation: Organisation::build(seats),
            mailboxes: Mailboxes::default(),
            vacancies: Vec::new(),
            corrections: Vec::new(),
            next_row_id: 1_000,
            next_employee_id: FIRST_EMPLOYEE_ID,
            live_at: None,
            journal: Vec::new(),
        };
        Self {
            plan,
            process: Process {
                promotion_bias: plan.promotion_bias,
                ..PROCESS
            },
            random: ChaCha8Rng::seed_from_u64(plan.seed),
            company,
            start,
            alumni: Vec::new(),
        }
    }

    fn run(mut self) -> Company {
        self.populate();
        let mut monday = self.start.week(Weekday::Mon).first_day();
        let mut index = 0;
        while monday <= self.plan.today {
            let end = (monday + Days::new(6)).min(self.plan.today);
            self.step(Week {
                monday,
                end,
                number: monday.iso_week().week(),
                index,
            });
            monday = monday + Days::new(7);
            index += 1;
        }
        self.plan_future_raises();
        self.company.talent.sort_by_key(TalentRecord::date);
        self.company
    }

    /// Seats the first population, from the root down so that every manager has a record before their reports.
    fn populate(&mut self) {
        let mut open = vec![0];
        let mut next = 0;
        while let Some(&seat) = open.get(next) {
            next += 1;
            let reports = self.company.organisation.reports.get(seat).cloned().unwrap_or_default();
            if reports.is_empty() && happens(&mut self.random, VACANT_SHARE) {
                let fill_on = self.start + Days::new(self.random.random_range(1..60));
                self.company.vacancies.push(Vacancy { seat, fill_on });
            } else {
                self.populate_seat(seat);
            }
            open.extend(reports);
        }
    }

    fn populate_seat(&mut self, seat: usize) {
        let tenure_years =
            (-TENURE_YEARS_MEAN * (1.0 - self.random.random::<f64>()).ln()).clamp(0.02, TENURE_YEARS_MAX);
        let hired_on = self.start - Days::new(1 + (tenure_years * 365.25) as u64);
        let Some(id) = self.company.hire(&mut self.random, seat, hired_on) else {
            return;
        };
        let rate = frailty_rate(PAST_HAZARD_PER_YEAR * tenure_years);
        let frailty = gamma(&mut self.random, FRAILTY_SHAPE, rate);
        let months = (tenure_years * 365.25 * 0.5) as u64;
        if let Some(employee) = self.company.employee_mut(id) {
            employee.truth.frailty = frailty;
        }
        if tenure_years > 3.0 && happens(&mut self.random, 0.5) {
            self.add_past_promotion(id, hired_on + Days::new(months));
        }
        self.add_past_merit(id, hired_on);
    }

    /// Makes the first rows those of one rung lower, and adds the promotion to the present one.
    fn add_past_promotion(&mut self, id: EmployeeId, on: NaiveDate) {
        let Some(employee) = self.company.employee_mut(id) else {
            return;
        };
        let Some(lower) = employee.truth.rung.checked_sub(1) else {
            return;
        };
        let Some(seat) = employee.truth.seat else { return };
        employee.truth.rung = lower;
        let Some(place) = self.company.organisation.seats.get(seat).cloned() else {
            return;
        };
        let hired_on = self.company.employee(id).map_or(on, |employee| employee.hire_date);
        let (market, pay_type) = self.company.market_cents(place.ladder, lower, place.location, hired_on);
        if let Some(employee) = self.company.employee_mut(id) {
            if let Some(title) = LADDERS.get(place.ladder).and_then(|ladder| ladder.titles.get(lower))
                && let Some(row) = employee.job_info.first_mut()
            {
                row.job_title = (*title).to_owned();
            }
            if let Some(row) = employee.compensation.first_mut() {
                row.rate_cents = rounded(market, pay_type);
                row.pay_type = pay_type;
                row.exempt = pay_type == super::PayType::Salary;
            }
            employee.truth.rung = lower + 1;
            employee.truth.last_promotion = on;
        }
        self.company.enter_job(id, on, on);
        let (market, pay_type) = self.company.market_cents(place.ladder, lower + 1, place.location, on);
        let compa = (0.98 + 0.06 * normal(&mut self.random)).clamp(0.80, 1.20);
        let pay = super::steps::NewPay {
            rate_cents: rounded(market * compa, pay_type),
            pay_type,
            reason: "Promotion",
        };
        self.company.enter_pay(id, on, on, &pay);
    }

    /// One merit row on the last first of April before the start, which carries all merit rounds since hiring.
    fn add_past_merit(&mut self, id: EmployeeId, hired_on: NaiveDate) {
        let year = if self.start.ordinal() > 91 {
            self.start.year()
        } else {
            self.start.year() - 1
        };
        let Some(on) = NaiveDate::from_ymd_opt(year, 4, 1) else {
            return;
        };
        let Some(last) = self
            .company
            .employee(id)
            .and_then(|employee| employee.pay_on(NaiveDate::MAX))
        else {
            return;
        };
        if hired_on + Days::new(90) > on || last.start_date + Days::new(180) > on {
            return;
        }
        let years = (on - last.start_date).num_days() as f64 / 365.25;
        self.company.raise_pay(id, on, on, (0.03 * years).exp() - 1.0, "Merit");
    }

    fn step(&mut self, week: Week) {
        let decay = (-1.0 / TEAM_EXIT_WEEKS).exp();
        for seat in &mut self.company.organisation.seats {
            seat.team_exits *= decay;
        }
        let present: Vec<EmployeeId> = self
            .company
            .employees
            .iter()
            .filter(|employee| employee.truth.phase != Phase::Gone)
            .map(|employee| employee.id)
            .collect();
        for id in present {
            self.rounds(id, week);
            self.live_one_week(id, week);
        }
        self.fill_vacancies(week);
        self.company.enter_corrections(week.end);
    }

    /// What the calendar brings: reviews, surveys, merit raises, promotions.
    fn rounds(&mut self, id: EmployeeId, week: Week) {
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        if employee.hire_date > week.monday || employee.truth.on_leave_until.is_some() {
            return;
        }
        let survey_response = employee.truth.phase.survey_response();
        if REVIEW_WEEKS.contains(&week.number) && happens(&mut self.random, REVIEW_SHARE) {
            self.review(id, week);
        }
        if SURVEY_WEEKS.contains(&week.number) && happens(&mut self.random, survey_response) {
            self.survey(id, week);
        }
        if week.number == MERIT_WEEK && happens(&mut self.random, MERIT_SHARE) {
            self.merit(id, week);
        }
        if PROMOTION_WEEKS.contains(&week.number) {
            self.promotion_round(id, week);
        }
    }

    fn review(&mut self, id: EmployeeId, week: Week) {
        let on = self.day_in(week);
        let noise = normal(&mut self.random);
        let Some(employee) = self.company.employee_mut(id) else {
            return;
        };
        let seen = 0.8 * employee.truth.performance + 0.6 * noise;
        let rating = match seen {
            seen if seen < -1.88 => 1,
            seen if seen < -1.04 => 2,
            seen if seen < 0.31 => 3,
            seen if seen < 1.28 => 4,
            _ => 5,
        };
        employee.truth.rating = Some(rating);
        self.company.talent.push(TalentRecord::Review {
            employee: id,
            on,
            rating,
        });
    }

    fn survey(&mut self, id: EmployeeId, week: Week) {
        let on = self.day_in(week);
        let noise = normal(&mut self.random);
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        let score = (7.0 + 1.5 * employee.truth.engagement + 0.9 * noise)
            .round()
            .clamp(0.0, 10.0) as u8;
        self.company.talent.push(TalentRecord::Survey {
            employee: id,
            on,
            score,
        });
    }

    fn merit(&mut self, id: EmployeeId, week: Week) {
        let Some(first_of_april) = NaiveDate::from_ymd_opt(week.monday.year(), 4, 1) else {
            return;
        };
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        if employee.hire_date + Days::new(90) > first_of_april || employee.truth.phase == Phase::Notice {
            return;
        }
        let share = match employee.truth.rating {
            Some(5) => 0.050,
            Some(4) => 0.038,
            Some(1) => return,
            Some(2) => 0.012,
            _ => 0.030,
        };
        let share = (share + 0.004 * normal(&mut self.random)).max(0.005);
        let recorded_on = self.day_in(week);
        let Some((row, right)) = self.company.raise_pay(id, first_of_april, recorded_on, share, "Merit") else {
            return;
        };
        if happens(&mut self.random, WRONG_RATE_SHARE) {
            let found_on = first_of_april + Days::new(self.random.random_range(31..=90));
            self.company.corrections.push(Correction {
                employee: id,
                row,
                rate_cents: right,
                found_on,
            });
            if let Some(row) = self
                .company
                .employee_mut(id)
                .and_then(|employee| employee.compensation.iter_mut().find(|known| known.id == row))
            {
                row.rate_cents = (right as f64 * 0.98) as i64;
            }
        }
    }

    fn promotion_round(&mut self, id: EmployeeId, week: Week) {
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        if employee.truth.phase == Phase::Notice {
            return;
        }
        let chance = self.process.promotion_chance(&Candidate {
            rating: employee.truth.rating,
            years_in_level: week.years_since(employee.truth.last_promotion),
            trainings: (employee.truth.training_weeks & ((1 << TRAINING_WEEKS) - 1)).count_ones(),
            performance: employee.truth.performance,
            level: employee.truth.rung as u32 + 1,
            tenure_weeks: week.weeks_since(employee.hire_date),
            woman: employee.gender == Gender::Female,
        });
        if happens(&mut self.random, chance) {
            self.company.promote(&mut self.random, id, week.monday);
        }
    }

    fn live_one_week(&mut self, id: EmployeeId, week: Week) {
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        if employee.hire_date > week.monday {
            return;
        }
        if let (Phase::Notice, Some(last)) = (employee.truth.phase, employee.termination_date)
            && last <= week.end
        {
            self.company.leave(&mut self.random, id, last);
            return;
        }
        if let Some(until) = employee.truth.on_leave_until {
            if until <= week.end {
                self.company.set_leave(id, until, until, None);
            }
            return;
        }
        let is_root = employee.truth.seat == Some(0);
        self.move_mind(id, week, is_root);
        self.work(id, week);
        let phase = self
            .company
            .employee(id)
            .map_or(Phase::Gone, |employee| employee.truth.phase);
        if !is_root && matches!(phase, Phase::Passive | Phase::Searching) {
            self.have_fate(id, week);
        }
    }

    /// Mood and phase: what nobody sees.
    fn move_mind(&mut self, id: EmployeeId, week: Week, is_root: bool) {
        let Some(index) = self.company.index_of(id) else { return };
        let Some(employee) = self.company.employees.get(index) else {
            return;
        };
        let log_rate = self.process.search_log_rate(&self.circumstances(employee, week));
        let Some(employee) = self.company.employees.get_mut(index) else {
            return;
        };
        let truth = &mut employee.truth;
        truth.engagement = next_mood(truth.engagement, normal(&mut self.random));
        if week.index.is_multiple_of(4) {
            truth.hazard.push(HazardPoint {
                on: week.monday,
                search_log_rate: log_rate,
                phase: truth.phase,
            });
        }
        if is_root || truth.phase == Phase::Notice {
            return;
        }
        truth.phase = truth
            .phase
            .after_a_week(log_rate.exp(), &mut |chance| happens(&mut self.random, chance));
        if truth.phase == Phase::Notice {
            let last = last_day(&mut self.random, week.monday);
            self.company
                .enter_termination(&mut self.random, id, last, week.monday, true);
            self.alumni.push(id);
        }
    }

    fn circumstances(&self, employee: &Employee, week: Week) -> Circumstances {
        let truth = &employee.truth;
        let seat = truth.seat.and_then(|seat| self.company.organisation.seats.get(seat));
        let above = seat
            .and_then(|seat| seat.manager)
            .and_then(|seat| self.company.organisation.seats.get(seat));
        let at_head_office = seat.is_some_and(|seat| seat.location == 0);
        Circumstances {
            tenure_years: week.years_since(employee.hire_date),
            compa_ratio: self.company.compa_ratio(employee, week.monday),
            years_since_raise: week.years_since(truth.last_raise),
            years_since_promotion: week.years_since(truth.last_promotion),
            weeks_since_manager_change: truth.manager_changed.map(|on| week.weeks_since(on)),
            engagement: truth.engagement,
            rating: truth.rating,
            overtime: truth.overtime_weeks.count_ones() >= 3,
            team_exits: above.map_or(0.0, |above| above.team_exits),
            weeks_since_office_order: self
                .plan
                .return_to_office_on
                .filter(|on| at_head_office && *on <= week.monday)
                .map(|on| week.weeks_since(on)),
            weeks_since_recognition: truth.recognised.map(|on| week.weeks_since(on)),
            season: Season::of(week.number, week.monday.month()),
            frailty: truth.frailty,
        }
    }

    /// What the talent and time systems see.
    fn work(&mut self, id: EmployeeId, week: Week) {
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        let phase = employee.truth.phase;
        let (engagement, performance) = (employee.truth.engagement, employee.truth.performance);
        let overtime_per_year = employee.truth.overtime_per_year;
        if happens_this_week(&mut self.random, ABSENCES_PER_YEAR * phase.absence_factor()) {
            self.absence(id, week);
        }
        let trained = happens_this_week(&mut self.random, TRAININGS_PER_YEAR * phase.training_factor());
        if trained {
            self.assessment(id, week, performance);
        }
        if happens_this_week(
            &mut self.random,
            RECOGNITIONS_PER_YEAR * (0.2 * engagement + 0.15 * performance).exp(),
        ) {
            self.recognition(id, week);
        }
        if happens_this_week(&mut self.random, NOTES_PER_YEAR) {
            let on = self.day_in(week);
            let text = pick(&mut self.random, NOTES).copied().unwrap_or_default();
            self.company.talent.push(TalentRecord::Note { employee: id, on, text });
        }
        let overtime = happens_this_week(&mut self.random, overtime_per_year);
        if overtime {
            let minutes = 30 * self.random.random_range(1..=16);
            self.company.talent.push(TalentRecord::Overtime {
                employee: id,
                week_of: week.monday,
                minutes,
            });
        }
        if let Some(employee) = self.company.employee_mut(id) {
            employee.truth.training_weeks = employee.truth.training_weeks << 1 | u32::from(trained);
            employee.truth.overtime_weeks = employee.truth.overtime_weeks << 1 | u8::from(overtime);
        }
    }

    fn absence(&mut self, id: EmployeeId, week: Week) {
        let kinds = [
            (AbsenceKind::Sick, 0.70),
            (AbsenceKind::Personal, 0.22),
            (AbsenceKind::Unexcused, 0.08),
        ];
        let kind = pick_weighted(&mut self.random, &kinds).unwrap_or(AbsenceKind::Sick);
        let from = self.day_in(week);
        let mut days = 1;
        while days < 10 && happens(&mut self.random, 0.40) {
            days += 1;
        }
        self.company.talent.push(TalentRecord::Absence {
            employee: id,
            from,
            days,
            kind,
        });
    }

    fn assessment(&mut self, id: EmployeeId, week: Week, performance: f64) {
        let on = self.day_in(week);
        let name = pick(&mut self.random, TRAININGS).copied().unwrap_or_default();
        let score = (78.0 + 7.0 * performance + 8.0 * normal(&mut self.random))
            .round()
            .clamp(0.0, 100.0) as u8;
        self.company.talent.push(TalentRecord::Assessment {
            employee: id,
            on,
            name,
            score,
        });
    }

    /// Thanks from the manager or from somebody in the same team.
    fn recognition(&mut self, id: EmployeeId, week: Week) {
        let on = self.day_in(week);
        let Some(seat) = self.company.employee(id).and_then(|employee| employee.truth.seat) else {
            return;
        };
        let organisation = &self.company.organisation;
        let above = organisation.seats.get(seat).and_then(|seat| seat.manager);
        let team = above
            .and_then(|above| organisation.reports.get(above))
            .map_or(&[][..], Vec::as_slice);
        let colleague = pick(&mut self.random, team)
            .and_then(|&seat| organisation.seats.get(seat))
            .and_then(|seat| seat.holder)
            .filter(|&from| from != id);
        let Some(from) = colleague.or_else(|| organisation.manager_of(seat)) else {
            return;
        };
        if let Some(employee) = self.company.employee_mut(id) {
            employee.truth.recognised = Some(on);
        }
        self.company
            .talent
            .push(TalentRecord::Recognition { employee: id, on, from });
    }

    /// What happens to people: dismissal, leave, transfer, an adjustment of pay.
    fn have_fate(&mut self, id: EmployeeId, week: Week) {
        let Some(employee) = self.company.employee(id) else {
            return;
        };
        let poor = employee.truth.rating.is_some_and(|rating| rating <= 2);
        let compa = self.company.compa_ratio(employee, week.monday);
        let dismissals = DISMISSALS_PER_YEAR * if poor { 2.6 } else { 0.74 };
        if happens_this_week(&mut self.random, dismissals) {
            let on = self.day_in(week);
            let recorded_on = self.company.recorded_on(&mut self.random, on);
            self.company
                .enter_termination(&mut self.random, id, on, recorded_on, false);
            self.company.leave(&mut self.random, id, on);
        } else if happens_this_week(&mut self.random, LEAVES_PER_YEAR) {
            let on = self.day_in(week);
            let until = on + Days::new(7 * self.random.random_range(4..=16));
            self.company.set_leave(id, on, on, Some(until));
        } else if happens_this_week(&mut self.random, TRANSFERS_PER_YEAR) {
            self.company.transfer(&mut self.random, id, week.monday);
        } else if happens_this_week(
            &mut self.random,
            MARKET_ADJUSTMENTS_PER_YEAR * if compa < 0.95 { 2.0 } else { 0.5 },
        ) {
            let share = self.random.random_range(0.03..0.08);
            let recorded_on = self.company.recorded_on(&mut self.random, week.monday);
            self.company
                .raise_pay(id, week.monday, recorded_on, share, "Market Adjustment");
        }
    }

    fn fill_vacancies(&mut self, week: Week) {
        let due: Vec<Vacancy> = self
            .company
            .vacancies
            .extract_if(.., |vacancy| vacancy.fill_on <= week.end)
            .collect();
        for Vacancy { seat, fill_on } in due {
            let on = fill_on.max(week.monday);
            if self
                .company
                .organisation
                .seats
                .get(seat)
                .is_none_or(|seat| seat.holder.is_some())
            {
                continue;
            }
            match self.returning(on) {
                Some(id) if happens(&mut self.random, REHIRE_SHARE) => {
                    self.alumni.retain(|known| *known != id);
                    self.company.rehire(&mut self.random, id, seat, on);
                }
                _ => {
                    self.company.hire(&mut self.random, seat, on);
                }
            }
            self.company.refresh_reports(&mut self.random, seat, on);
        }
    }

    /// Somebody who left of their own accord at least half a year ago.
    fn returning(&mut self, on: NaiveDate) -> Option<EmployeeId> {
        let id = *pick(&mut self.random, &self.alumni)?;
        let employee = self.company.employee(id)?;
        let gone = employee
            .status_on(on)
            .is_some_and(|row| row.employment_status == TERMINATED);
        let left_on = employee.termination_date?;
        (gone && (on - left_on).num_days() >= REHIRE_AFTER_DAYS_MIN).then_some(id)
    }

    /// A few raises that are entered already but lie ahead.
    fn plan_future_raises(&mut self) {
        let today = self.plan.today;
        let staying: Vec<EmployeeId> = self
            .company
            .employees
            .iter()
            .filter(|employee| matches!(employee.truth.phase, Phase::Passive | Phase::Searching))
            .map(|employee| employee.id)
            .collect();
        for _ in 0..staying.len().div_ceil(FUTURE_RAISE_ONE_IN) {
            let Some(&id) = pick(&mut self.random, &staying) else {
                return;
            };
            let on = today + Days::new(self.random.random_range(7..=60));
            let recorded_on = today - Days::new(self.random.random_range(0..=10));
            let share = self.random.random_range(0.03..0.09);
            self.company.raise_pay(id, on, recorded_on, share, "Market Adjustment");
        }
    }

    /// A working day of the week that is not after the last day of history.
    fn day_in(&mut self, week: Week) -> NaiveDate {
        (week.monday + Days::new(self.random.random_range(0..5))).min(week.end)
    }
}
