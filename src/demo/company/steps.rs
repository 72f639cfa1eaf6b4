//! What can happen to one person, as the clerk enters it: shared by history and by the living company.

use super::draw::{gamma, happens, log_normal, normal, pick_weighted};
use super::organisation::{LADDERS, PAY_STEP, Seat};
use super::{
    CURRENCY, Change, ChangeAction, Company, CompensationRow, Correction, Employee, EmployeeId, EmploymentStatusRow,
    FULL_TIME, Gender, JobInfoRow, LEAVE_OF_ABSENCE, PART_TIME, PayType, Phase, TERMINATED, Truth, Vacancy, midnight,
    names,
};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use ml_pipeline::synthetic::process::{
    EXITS_AT_MONTH_END, FRAILTY_SHAPE, HIRES_ON_THE_DAY, LATE_DAYS_MAX, LATE_DAYS_MEDIAN, LATE_SHARE, LATE_SIGMA,
    MARKET_GROWTH, VACANCY_SIGMA, VACANCY_WEEKS_MEDIAN,
};
use rand::Rng;
use std::collections::BTreeMap;

/// Longest time that a seat stays vacant.
const VACANCY_WEEKS_MAX: f64 = 26.0;
/// Share of women among those hired.
const FEMALE_SHARE: f64 = 0.54;
/// Share of part-time contracts on the bottom rung.
const PART_TIME_SHARE: f64 = 0.22;
/// Nobody is paid less per hour.
const MINIMUM_WAGE_CENTS: i64 = 725;
/// Paid hours in a year of full-time work.
const HOURS_PER_YEAR: f64 = 2_080.0;
/// Average overtime weeks per year.
const OVERTIME_PER_YEAR: f64 = 10.0;

const VOLUNTARY_REASONS: &[(&str, f64)] = &[
    ("Better Pay Elsewhere", 0.28),
    ("Career Advancement", 0.22),
    ("Working Hours", 0.16),
    ("Relocation", 0.12),
    ("Return to School", 0.12),
    ("Family Reasons", 0.10),
];
const INVOLUNTARY_REASONS: &[(&str, f64)] = &[
    ("Performance", 0.45),
    ("Attendance", 0.30),
    ("Position Eliminated", 0.15),
    ("Misconduct", 0.10),
];

/// The aliases that a change of pay touches.
pub(super) const PAY_FIELDS: &[&str] = &["payRate", "payRateEffectiveDate", "payChangeReason"];
/// The aliases that a new record fills.
pub(super) const NEW_HIRE_FIELDS: &[&str] = &[
    "firstName",
    "lastName",
    "hireDate",
    "status",
    "jobTitle",
    "department",
    "location",
    "supervisor",
    "payRate",
];
/// The aliases that a termination touches.
pub(super) const TERMINATION_FIELDS: &[&str] = &["status", "employmentHistoryStatus", "terminationDate"];

/// What a new compensation row says beside its date.
pub(super) struct NewPay {
    pub(super) rate_cents: i64,
    pub(super) pay_type: PayType,
    pub(super) reason: &'static str,
}

impl Company {
    /// Market pay for a rung, in cents per hour or year, on a day.
    pub(super) fn market_cents(&self, ladder: usize, rung: usize, location: usize, on: NaiveDate) -> (f64, PayType) {
        let Some(ladder) = LADDERS.get(ladder) else {
            return (0.0, PayType::Hourly);
        };
        let place = self
            .organisation
            .locations
            .get(location)
            .map_or(1.0, |location| location.pay_factor);
        let years = (on - self.today).num_days() as f64 / 365.25;
        let yearly = ladder.market_pay_yearly * PAY_STEP.powi(rung as i32) * place * (MARKET_GROWTH * years).exp();
        if rung >= ladder.salaried_from {
            (yearly * 100.0, PayType::Salary)
        } else {
            (yearly / HOURS_PER_YEAR * 100.0, PayType::Hourly)
        }
    }

    /// Pay over market pay.
    pub(super) fn compa_ratio(&self, employee: &Employee, on: NaiveDate) -> f64 {
        let Some(pay) = employee.pay_on(on) else { return 1.0 };
        let Some(seat) = employee.truth.seat.and_then(|seat| self.organisation.seats.get(seat)) else {
            return 1.0;
        };
        let (market, _) = self.market_cents(seat.ladder, employee.truth.rung, seat.location, on);
        (pay.rate_cents as f64 / market.max(1.0)).clamp(0.6, 1.5)
    }

    /// When something that takes effect on a day is entered.
    pub(super) fn recorded_on<R: Rng + ?Sized>(&self, random: &mut R, on: NaiveDate) -> NaiveDate {
        if self.live_at.is_some() || on >= self.today || !happens(random, LATE_SHARE) {
            return on.min(self.today);
        }
        let lag = log_normal(random, LATE_DAYS_MEDIAN, LATE_SIGMA).clamp(1.0, LATE_DAYS_MAX) as u64;
        (on + Days::new(lag)).min(self.today)
    }

    /// Marks a record as changed and, in the living company, writes the change down for the announcement.
    pub(super) fn touch(&mut self, id: EmployeeId, recorded_on: NaiveDate, fields: &[&'static str]) {
        let at = self.live_at.unwrap_or_else(|| midnight(recorded_on));
        let live = self.live_at.is_some();
        let Some(employee) = self.employee_mut(id) else { return };
        employee.last_changed = employee.last_changed.max(at);
        if live {
            self.announce(id, ChangeAction::Updated, fields, at);
        }
    }

    pub(super) fn announce(
        &mut self,
        id: EmployeeId,
        action: ChangeAction,
        fields: &[&'static str],
        at: DateTime<Utc>,
    ) {
        if let Some(known) = self
            .journal
            .iter_mut()
            .find(|known| known.employee == id && known.action == action)
        {
            for field in fields {
                if !known.fields.contains(field) {
                    known.fields.push(field);
                }
            }
            return;
        }
        self.journal.push(Change {
            employee: id,
            action,
            fields: fields.to_vec(),
            at,
        });
    }

    /// Makes a record for somebody new and seats them.
    pub(super) fn hire<R: Rng + ?Sized>(&mut self, random: &mut R, seat: usize, on: NaiveDate) -> Option<EmployeeId> {
        let place = self.organisation.seats.get(seat)?.clone();
        let id = EmployeeId(self.next_employee_id);
        let recorded_on = self.recorded_on(random, on);
        let employee = self.new_person(random, id, seat, on, recorded_on);
        self.insert(employee);
        self.organisation.seats.get_mut(seat)?.holder = Some(id);
        if let Some(at) = self.live_at {
            self.announce(id, ChangeAction::Created, &[], at);
        }
        self.enter_first_rows(random, id, &place, on, recorded_on);
        self.touch(id, recorded_on, NEW_HIRE_FIELDS);
        Some(id)
    }

    fn new_person<R: Rng + ?Sized>(
        &mut self,
        random: &mut R,
        id: EmployeeId,
        seat: usize,
        on: NaiveDate,
        recorded_on: NaiveDate,
    ) -> Employee {
        let rung = self.organisation.seats.get(seat).map_or(0, |seat| seat.rung);
        let gender = if happens(random, FEMALE_SHARE) {
            Gender::Female
        } else {
            Gender::Male
        };
        let name = names::person(random, gender);
        let work_email = self
            .mailboxes
            .assign(&name.first, &name.last, &format!("{}.example", self.domain));
        let age_years = 18.5 + 3.0 * rung as f64 + (2.2 + 0.6 * normal(random)).exp().min(38.0);
        let part_time = rung == 0 && happens(random, PART_TIME_SHARE);
        let at = self.live_at.unwrap_or_else(|| midnight(recorded_on));
        Employee {
            id,
            employee_number: format!("E{:05}", id.0),
            first_name: name.first,
            last_name: name.last,
            preferred_name: name.preferred,
            work_email,
            mobile_phone: names::phone(random),
            gender,
            date_of_birth: on - Days::new((age_years * 365.25) as u64),
            hire_date: on,
            original_hire_date: None,
            termination_date: None,
            standard_hours_per_week: if part_time { 24 } else { 40 },
            job_info: Vec::new(),
            compensation: Vec::new(),
            employment_status: Vec::new(),
            overrides: BTreeMap::new(),
            created_at: at,
            last_changed: at,
            truth: Truth {
                phase: Phase::Passive,
                frailty: gamma(random, FRAILTY_SHAPE, FRAILTY_SHAPE),
                engagement: normal(random),
                performance: normal(random),
                hazard: Vec::new(),
                seat: Some(seat),
                rung,
                rating: None,
                last_raise: on,
                last_promotion: on,
                manager_changed: None,
                recognised: None,
                overtime_per_year: OVERTIME_PER_YEAR * gamma(random, 1.5, 1.5),
                overtime_weeks: 0,
                training_weeks: 0,
                on_leave_until: None,
            },
        }
    }

    fn enter_first_rows<R: Rng + ?Sized>(
        &mut self,
        random: &mut R,
        id: EmployeeId,
        place: &Seat,
        on: NaiveDate,
        recorded_on: NaiveDate,
    ) {
        let (market, pay_type) = self.market_cents(place.ladder, place.rung, place.location, on);
        let compa = (0.98 + 0.06 * normal(random)).clamp(0.80, 1.20);
        self.enter_status(id, on, recorded_on, None);
        self.enter_job(id, on, recorded_on);
        let pay = NewPay {
            rate_cents: rounded(market * compa, pay_type),
            pay_type,
            reason: "New Hire",
        };
        self.enter_pay(id, on, recorded_on, &pay);
    }

    /// Hires somebody again who left before; they keep their record.
    pub(super) fn rehire<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, seat: usize, on: NaiveDate) {
        let Some(place) = self.organisation.seats.get(seat).cloned() else {
            return;
        };
        let recorded_on = self.recorded_on(random, on);
        let Some(employee) = self.employee_mut(id) else { return };
        employee.original_hire_date = employee.original_hire_date.or(Some(employee.hire_date));
        employee.hire_date = on;
        employee.termination_date = None;
        let truth = &mut employee.truth;
        truth.phase = Phase::Passive;
        truth.seat = Some(seat);
        truth.rung = place.rung;
        truth.last_raise = on;
        truth.last_promotion = on;
        truth.manager_changed = None;
        if let Some(seat) = self.organisation.seats.get_mut(seat) {
            seat.holder = Some(id);
        }
        self.enter_first_rows(random, id, &place, on, recorded_on);
        self.touch(id, recorded_on, NEW_HIRE_FIELDS);
        self.touch(id, recorded_on, &["originalHireDate", "terminationDate"]);
    }

    /// Writes a job row that says where the employee's seat is now and whom it reports to.
    pub(super) fn enter_job(&mut self, id: EmployeeId, date: NaiveDate, recorded_on: NaiveDate) {
        let Some(employee) = self.employee(id) else { return };
        let Some(seat_index) = employee.truth.seat else { return };
        let rung = employee.truth.rung;
        let reports_to = self.organisation.manager_of(seat_index);
        let Some(seat) = self.organisation.seats.get(seat_index) else {
            return;
        };
        let Some(location) = self.organisation.locations.get(seat.location) else {
            return;
        };
        let Some(ladder) = LADDERS.get(seat.ladder) else { return };
        let row = JobInfoRow {
            id: 0,
            date,
            location: location.name.clone(),
            department: ladder.department.to_owned(),
            division: location.division.to_owned(),
            job_title: ladder.titles.get(rung).copied().unwrap_or_default().to_owned(),
            reports_to,
            recorded_on,
        };
        let row_id = self.row_id();
        if let Some(employee) = self.employee_mut(id) {
            employee.job_info.push(JobInfoRow { id: row_id, ..row });
        }
        self.touch(id, recorded_on, &[]);
    }

    /// Writes a compensation row; answers with its id.
    pub(super) fn enter_pay(&mut self, id: EmployeeId, on: NaiveDate, recorded_on: NaiveDate, pay: &NewPay) -> u64 {
        let row_id = self.row_id();
        if let Some(employee) = self.employee_mut(id) {
            employee.truth.last_raise = employee.truth.last_raise.max(on);
            employee.compensation.push(CompensationRow {
                id: row_id,
                start_date: on,
                rate_cents: pay.rate_cents,
                currency: CURRENCY.to_owned(),
                pay_type: pay.pay_type,
                exempt: pay.pay_type == PayType::Salary,
                reason: pay.reason.to_owned(),
                comment: String::new(),
                pay_schedule: "Biweekly".to_owned(),
                recorded_on,
            });
        }
        // A future-dated row announces nothing: BambooHR fires when it takes effect.
        let fields: &[&'static str] = if on <= self.today { PAY_FIELDS } else { &[] };
        self.touch(id, recorded_on, fields);
        row_id
    }

    /// Writes a status row: a termination with its type and reason, or the ordinary status.
    pub(super) fn enter_status(
        &mut self,
        id: EmployeeId,
        date: NaiveDate,
        recorded_on: NaiveDate,
        termination: Option<(&str, &str)>,
    ) {
        let row_id = self.row_id();
        let Some(employee) = self.employee_mut(id) else { return };
        let ordinary = if employee.standard_hours_per_week < 35 {
            PART_TIME
        } else {
            FULL_TIME
        };
        employee.employment_status.push(EmploymentStatusRow {
            id: row_id,
            date,
            employment_status: termination.map_or(ordinary, |_| TERMINATED).to_owned(),
            comment: String::new(),
            termination_type: termination.map(|(kind, _)| kind.to_owned()),
            termination_reason: termination.map(|(_, reason)| reason.to_owned()),
            recorded_on,
        });
        self.touch(id, recorded_on, &[]);
    }

    /// Starts a leave of absence, or ends one.
    pub(super) fn set_leave(
        &mut self,
        id: EmployeeId,
        on: NaiveDate,
        recorded_on: NaiveDate,
        until: Option<NaiveDate>,
    ) {
        self.enter_status(id, on, recorded_on, None);
        if let Some(employee) = self.employee_mut(id) {
            employee.truth.on_leave_until = until;
            if let (Some(row), true) = (employee.employment_status.last_mut(), until.is_some()) {
                row.employment_status = LEAVE_OF_ABSENCE.to_owned();
            }
        }
        self.touch(id, recorded_on, &["employmentHistoryStatus"]);
    }

    /// Records that somebody will leave, or leaves today. The seat is given up by [`Company::leave`].
    pub(super) fn enter_termination<R: Rng + ?Sized>(
        &mut self,
        random: &mut R,
        id: EmployeeId,
        on: NaiveDate,
        recorded_on: NaiveDate,
        voluntary: bool,
    ) {
        let (kind, reasons) = if voluntary {
            ("Voluntary", VOLUNTARY_REASONS)
        } else {
            ("Involuntary", INVOLUNTARY_REASONS)
        };
        let reason = pick_weighted(random, reasons).unwrap_or_default();
        self.enter_status(id, on, recorded_on, Some((kind, reason)));
        if let Some(employee) = self.employee_mut(id) {
            employee.termination_date = Some(on);
            employee.truth.phase = Phase::Notice;
        }
        let fields: &[&'static str] = if on <= self.today { TERMINATION_FIELDS } else { &[] };
        self.touch(id, recorded_on, fields);
    }

    /// Empties the seat of somebody whose last day has come, and opens the vacancy.
    pub(super) fn leave<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, on: NaiveDate) {
        let Some(employee) = self.employee_mut(id) else { return };
        employee.truth.phase = Phase::Gone;
        employee.truth.on_leave_until = None;
        let Some(seat) = employee.truth.seat.take() else { return };
        if let Some(above) = self.organisation.seats.get(seat).and_then(|seat| seat.manager)
            && let Some(above) = self.organisation.seats.get_mut(above)
        {
            above.team_exits += 1.0;
        }
        self.vacate(random, seat, on);
    }

    /// Empties a seat; those who reported to it report to the next one up until it is filled.
    pub(super) fn vacate<R: Rng + ?Sized>(&mut self, random: &mut R, seat: usize, on: NaiveDate) {
        if let Some(seat) = self.organisation.seats.get_mut(seat) {
            seat.holder = None;
        }
        let weeks = log_normal(random, VACANCY_WEEKS_MEDIAN, VACANCY_SIGMA).min(VACANCY_WEEKS_MAX);
        let fill_on = hiring_day(random, on + Days::new(1 + (weeks * 7.0) as u64));
        self.vacancies.push(Vacancy { seat, fill_on });
        self.refresh_reports(random, seat, on);
    }

    /// Moves somebody to another seat; the rung is theirs to keep unless the seat demands a higher one.
    pub(super) fn take_seat<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, seat: usize, on: NaiveDate) {
        self.vacancies.retain(|vacancy| vacancy.seat != seat);
        let Some(employee) = self.employee_mut(id) else { return };
        let left = employee.truth.seat.replace(seat);
        if let Some(seat) = self.organisation.seats.get_mut(seat) {
            seat.holder = Some(id);
        }
        if let Some(left) = left {
            self.vacate(random, left, on);
        }
        self.refresh_reports(random, seat, on);
    }

    /// Enters a new job row for everybody below a seat whose manager is no longer the one in their last row.
    pub(super) fn refresh_reports<R: Rng + ?Sized>(&mut self, random: &mut R, seat: usize, on: NaiveDate) {
        let mut open = self.organisation.reports.get(seat).cloned().unwrap_or_default();
        while let Some(below) = open.pop() {
            match self.organisation.seats.get(below).and_then(|seat| seat.holder) {
                Some(id) => self.refresh_manager(random, id, below, on),
                None => open.extend(self.organisation.reports.get(below).into_iter().flatten()),
            }
        }
    }

    fn refresh_manager<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, seat: usize, on: NaiveDate) {
        let manager = self.organisation.manager_of(seat);
        let Some(employee) = self.employee(id) else { return };
        let Some(last) = employee.job_on(NaiveDate::MAX) else {
            return;
        };
        if last.reports_to == manager || employee.truth.seat != Some(seat) {
            return;
        }
        let date = not_before_last_move(employee, on);
        let recorded_on = self.recorded_on(random, date);
        self.enter_job(id, date, recorded_on);
        if let Some(employee) = self.employee_mut(id) {
            employee.truth.manager_changed = Some(date);
        }
        self.touch(id, recorded_on, &["supervisor"]);
    }

    /// Promotes somebody by one rung, into a vacant seat if the rung needs one or a lead's seat is free nearby.
    /// Answers false if there was no such seat, or no higher rung.
    pub(super) fn promote<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, on: NaiveDate) -> bool {
        let Some(employee) = self.employee(id) else {
            return false;
        };
        let on = not_before_last_move(employee, on);
        let Some(seat_index) = employee.truth.seat else {
            return false;
        };
        let Some(seat) = self.organisation.seats.get(seat_index).cloned() else {
            return false;
        };
        let Some(ladder) = LADDERS.get(seat.ladder) else {
            return false;
        };
        let rung = employee.truth.rung + 1;
        let compa = self.compa_ratio(employee, on);
        if rung >= ladder.titles.len() {
            return false;
        }
        let needs_seat = rung >= ladder.seats_from;
        let vacant = self.vacant_seat(|candidate| {
            candidate.ladder == seat.ladder
                && candidate.rung == rung
                && (needs_seat || candidate.location == seat.location)
        });
        if needs_seat && vacant.is_none() {
            return false;
        }
        if let Some(employee) = self.employee_mut(id) {
            employee.truth.rung = rung;
            employee.truth.last_promotion = on;
        }
        let manages = self.organisation.is_management(seat_index);
        if let Some(vacant) = vacant.filter(|_| needs_seat || !manages) {
            self.take_seat(random, id, vacant, on);
        }
        let recorded_on = self.recorded_on(random, on);
        self.enter_job(id, on, recorded_on);
        let place = self.seat_location(id).unwrap_or(seat.location);
        let (market, pay_type) = self.market_cents(seat.ladder, rung, place, on);
        let rate_cents = rounded(market * (compa - 0.04).clamp(0.86, 1.12), pay_type);
        self.enter_pay(
            id,
            on,
            recorded_on,
            &NewPay {
                rate_cents,
                pay_type,
                reason: "Promotion",
            },
        );
        self.touch(id, recorded_on, &["jobTitle"]);
        true
    }

    /// Moves somebody to a vacant seat of the same job at another place. Answers false if there is none.
    pub(super) fn transfer<R: Rng + ?Sized>(&mut self, random: &mut R, id: EmployeeId, on: NaiveDate) -> bool {
        let Some(employee) = self.employee(id) else {
            return false;
        };
        let on = not_before_last_move(employee, on);
        let Some(seat_index) = employee.truth.seat else {
            return false;
        };
        let Some(seat) = self.organisation.seats.get(seat_index).cloned() else {
            return false;
        };
        if seat.manager.is_none() {
            return false;
        }
        let Some(vacant) = self.vacant_seat(|candidate| {
            candidate.ladder == seat.ladder && candidate.rung == seat.rung && candidate.location != seat.location
        }) else {
            return false;
        };
        self.take_seat(random, id, vacant, on);
        let recorded_on = self.recorded_on(random, on);
        self.enter_job(id, on, recorded_on);
        if let Some(employee) = self.employee_mut(id) {
            employee.truth.manager_changed = Some(on);
        }
        self.touch(id, recorded_on, &["location", "division", "supervisor"]);
        true
    }

    /// Raises pay by a share of it, from a day on; answers with the row.
    pub(super) fn raise_pay(
        &mut self,
        id: EmployeeId,
        on: NaiveDate,
        recorded_on: NaiveDate,
        share: f64,
        reason: &'static str,
    ) -> Option<(u64, i64)> {
        let pay = self.employee(id)?.pay_on(on)?;
        let pay_type = pay.pay_type;
        let rate_cents = rounded(pay.rate_cents as f64 * (1.0 + share), pay_type);
        let row = self.enter_pay(
            id,
            on,
            recorded_on,
            &NewPay {
                rate_cents,
                pay_type,
                reason,
            },
        );
        Some((row, rate_cents))
    }

    /// Enters the corrections that were found by a day.
    pub(super) fn enter_corrections(&mut self, by: NaiveDate) {
        let due: Vec<Correction> = self
            .corrections
            .extract_if(.., |correction| correction.found_on <= by)
            .collect();
        for Correction {
            employee: id,
            row,
            rate_cents,
            found_on,
        } in due
        {
            if let Some(row) = self
                .employee_mut(id)
                .and_then(|employee| employee.compensation.iter_mut().find(|known| known.id == row))
            {
                row.rate_cents = rate_cents;
                row.recorded_on = found_on;
                row.comment = "Corrected: entered with a wrong rate".to_owned();
            }
            self.touch(id, found_on, PAY_FIELDS);
        }
    }

    fn vacant_seat(&self, fits: impl Fn(&Seat) -> bool) -> Option<usize> {
        self.vacancies.iter().map(|vacancy| vacancy.seat).find(|&index| {
            self.organisation
                .seats
                .get(index)
                .is_some_and(|seat| seat.holder.is_none() && fits(seat))
        })
    }

    fn seat_location(&self, id: EmployeeId) -> Option<usize> {
        let seat = self.employee(id)?.truth.seat?;
        self.organisation.seats.get(seat).map(|seat| seat.location)
    }
}

/// The day on which somebody moves who could move on `on`. A row of a later day in the same week (that of another manager) would
/// stay in force over the move.
fn not_before_last_move(employee: &Employee, on: NaiveDate) -> NaiveDate {
    employee.job_info.iter().map(|row| row.date).fold(on, NaiveDate::max)
}

/// Hourly rates end in five cents and obey the federal minimum wage, yearly ones end in a hundred dollars.
pub(super) fn rounded(cents: f64, pay_type: PayType) -> i64 {
    let (step, lowest) = match pay_type {
        PayType::Hourly => (5.0, MINIMUM_WAGE_CENTS),
        PayType::Salary => (10_000.0, 0),
    };
    (((cents / step).round() * step) as i64).max(lowest)
}

/// Seven in ten start on the first or the fifteenth.
fn hiring_day<R: Rng + ?Sized>(random: &mut R, earliest: NaiveDate) -> NaiveDate {
    if !happens(random, HIRES_ON_THE_DAY) {
        return earliest;
    }
    (0..31)
        .filter_map(|days| earliest.checked_add_days(Days::new(days)))
        .find(|day| matches!(day.day(), 1 | 15))
        .unwrap_or(earliest)
}

/// Two to four weeks after notice; six in ten at the end of the month if one falls in between.
pub(super) fn last_day<R: Rng + ?Sized>(random: &mut R, notice: NaiveDate) -> NaiveDate {
    let window = || (14..=28).filter_map(|days| notice.checked_add_days(Days::new(days)));
    let month_end = window().find(|day| day.succ_opt().is_some_and(|next| next.day() == 1));
    match month_end {
        Some(day) if happens(random, EXITS_AT_MONTH_END) => day,
        _ => notice + Days::new(random.random_range(14..=28)),
    }
}
