//! The static mode: people frozen on one day, with a true probability in closed form (prediction.md, section 5).
//!
//! What would change within the horizon is held still, and what nobody sees is replaced by what is observed of it, so
//! that the best possible prediction is known: `p = 1 - exp(-H exp(eta))`. A model's distance to it is its regret
//! ([`super::optimum`]), free of the luck of labels.
//!
//! Three kinds of columns are there to be got right: some that look plausible and do nothing, one of pure noise, and two
//! protected attributes that go along with pay, overtime and tenure but have no say in `eta` themselves. They are drawn
//! from those columns, so that given the rest they tell nothing: a model that leaves them out loses nothing.

use std::io::{self, Write};

use super::{
    draw::Random,
    process::{self, Circumstances, Coefficients, Process, Season},
};

/// The horizon, in years.
pub const HORIZON_YEARS: f64 = 26.0 / 52.0;
/// The column of the outcomes: 1 for those who leave within the horizon.
pub const LABEL: &str = "leaves";
/// The column of the true probabilities.
pub const TRUTH: &str = "true_probability";

/// The process for these people: the facts' intercept of eta is for theirs, this one makes a base rate of .20.
const PROCESS: Process = Process {
    search_intercept: -1.41,
    ..Process::FACTS
};
/// The mean of survey answers, and below it their spread: what makes an answer a standard normal value, nearly.
const SURVEY_MEAN: f64 = 7.0;
const SURVEY_DEVIATION: f64 = 1.836;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// As an HRIS would tell it. Some of them do nothing.
    Raw,
    /// Derived from raw columns by somebody who knows the trade: the shapes of eta.
    Domain,
    /// Does nothing, and looks like nothing.
    Noise,
    /// Goes along with others and does nothing: for the fairness check only, never for a model.
    Protected,
}

/// A column of a [`StaticTable`].
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub role: Role,
    value: fn(&Subject) -> f64,
}

const fn column(role: Role, name: &'static str, value: fn(&Subject) -> f64) -> Column {
    Column { name, role, value }
}

/// Every column in the order of the file, except outcome and truth.
pub static COLUMNS: &[Column] = &[
    column(Role::Raw, "tenure_years", |s| s.tenure),
    column(Role::Raw, "years_since_raise", |s| s.raise),
    column(Role::Raw, "years_since_promotion", |s| s.promotion),
    column(Role::Raw, "weeks_since_manager_change", |s| {
        or_missing(s.manager_change)
    }),
    column(Role::Raw, "compa_ratio", |s| s.compa),
    column(Role::Raw, "survey_score", |s| s.survey),
    column(Role::Raw, "rating", |s| s.rating),
    column(Role::Raw, "overtime", |s| flag(s.overtime)),
    column(Role::Raw, "team_exits_13_weeks", |s| s.team_exits),
    column(Role::Raw, "weeks_since_office_order", |s| or_missing(s.office_order)),
    column(Role::Raw, "weeks_since_recognition", |s| or_missing(s.recognition)),
    column(Role::Raw, "week_of_year", |s| f64::from(s.week)),
    // From here on, raw columns that do nothing.
    column(Role::Raw, "level", |s| s.level),
    column(Role::Raw, "absence_days", |s| s.absence_days),
    column(Role::Raw, "trainings", |s| s.trainings),
    column(Role::Raw, "weekly_hours", |s| s.weekly_hours),
    column(Role::Domain, "tenure_first_year", |s| process::first_year(s.tenure)),
    column(Role::Domain, "tenure_vesting", |s| process::vesting(s.tenure)),
    column(Role::Domain, "tenure_log", |s| s.tenure.ln_1p()),
    column(Role::Domain, "raise_wait", |s| process::raise_wait(s.raise)),
    column(Role::Domain, "promotion_wait", |s| process::promotion_wait(s.promotion)),
    column(Role::Domain, "manager_change_recent", |s| {
        process::fading(s.manager_change, process::MANAGER_WEEKS)
    }),
    column(Role::Domain, "office_order_recent", |s| {
        process::fading(s.office_order, process::OFFICE_ORDER_WEEKS)
    }),
    column(Role::Domain, "recognition_recent", |s| {
        process::fading(s.recognition, process::RECOGNITION_WEEKS)
    }),
    column(Role::Domain, "rating_top", |s| flag(s.rating >= 5.0)),
    column(Role::Domain, "rating_low", |s| flag(s.rating <= 2.0)),
    column(Role::Domain, "team_exits_log", |s| s.team_exits.ln_1p()),
    column(Role::Domain, "season_bonus", |s| {
        flag(Season::of_week(s.week) == Season::AfterBonus)
    }),
    // 1 in January, -1 in December.
    column(Role::Domain, "season_turn_of_year", |s| {
        flag(Season::of_week(s.week) == Season::January) - flag(Season::of_week(s.week) == Season::December)
    }),
    column(Role::Noise, "noise", |s| s.noise),
    // 1 for a woman.
    column(Role::Protected, "gender", |s| flag(s.woman)),
    column(Role::Protected, "age", |s| s.age),
];

/// People on one day, their true probabilities, and one draw of what they do.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticTable {
    /// As [`COLUMNS`]; what is missing is not a number.
    values: Vec<Vec<f64>>,
    true_probability: Vec<f64>,
    leaves: Vec<bool>,
}

impl StaticTable {
    /// Draws so many people. The same seed gives the same table, and its first rows are those of a shorter one.
    #[must_use]
    pub fn draw(seed: u64, rows: usize) -> Self {
        Self::draw_with(Coefficients::Usual, seed, rows)
    }

    /// The same people where things act as `coefficients` say.
    #[must_use]
    pub fn draw_with(coefficients: Coefficients, seed: u64, rows: usize) -> Self {
        let process = Process {
            coefficients,
            ..PROCESS
        };
        let mut random = Random::seeded(seed);
        let mut table = Self {
            values: COLUMNS.iter().map(|_| Vec::with_capacity(rows)).collect(),
            true_probability: Vec::with_capacity(rows),
            leaves: Vec::with_capacity(rows),
        };
        for _ in 0..rows {
            let subject = Subject::draw(&mut random);
            let p = probability_within(HORIZON_YEARS, process.search_log_rate(&subject.circumstances()));
            for (values, column) in table.values.iter_mut().zip(COLUMNS) {
                values.push((column.value)(&subject));
            }
            table.true_probability.push(p);
            table.leaves.push(random.happens(p));
        }
        table
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.leaves.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The columns of these roles, in order, with their values; what is missing is not a number.
    pub fn columns(&self, roles: &[Role]) -> impl Iterator<Item = (&'static Column, &[f64])> {
        COLUMNS
            .iter()
            .zip(self.values.iter().map(Vec::as_slice))
            .filter(|(column, _)| roles.contains(&column.role))
    }

    /// The values of one column, if there is one of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        let place = COLUMNS.iter().position(|column| column.name == name)?;
        self.values.get(place).map(Vec::as_slice)
    }

    /// p of everybody: what no model can do better than.
    #[must_use]
    pub fn true_probability(&self) -> &[f64] {
        &self.true_probability
    }

    /// Whether they leave within the horizon.
    #[must_use]
    pub fn leaves(&self) -> &[bool] {
        &self.leaves
    }

    /// One line a person, with a header: raw columns, the derived ones if wanted, noise, protected attributes, [`LABEL`] and
    /// [`TRUTH`]. A missing value is an empty cell. Numbers are written so that they read back as the same ones.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_csv(&self, domain_features: bool, out: &mut impl Write) -> io::Result<()> {
        let wanted: &[Role] = if domain_features {
            &[Role::Raw, Role::Domain, Role::Noise, Role::Protected]
        } else {
            &[Role::Raw, Role::Noise, Role::Protected]
        };
        let columns: Vec<(&Column, &[f64])> = self.columns(wanted).collect();
        for (column, _) in &columns {
            write!(out, "{},", column.name)?;
        }
        writeln!(out, "{LABEL},{TRUTH}")?;
        for (row, (leaves, p)) in self.leaves.iter().zip(&self.true_probability).enumerate() {
            for (_, values) in &columns {
                match values[row] {
                    missing if missing.is_nan() => write!(out, ",")?,
                    value => write!(out, "{value},")?,
                }
            }
            writeln!(out, "{},{p}", u8::from(*leaves))?;
        }
        Ok(())
    }
}

/// The probability that something that happens at the constant rate `exp(log_rate)` a year happens within so many years.
#[must_use]
pub fn probability_within(years: f64, log_rate: f64) -> f64 {
    -(-years * log_rate.exp()).exp_m1()
}

/// One person on one day. Values are rounded as they would be written, so that the truth is that of the file.
struct Subject {
    tenure: f64,
    raise: f64,
    promotion: f64,
    manager_change: Option<f64>,
    compa: f64,
    survey: f64,
    rating: f64,
    overtime: bool,
    team_exits: f64,
    office_order: Option<f64>,
    recognition: Option<f64>,
    week: u32,
    level: f64,
    absence_days: f64,
    trainings: f64,
    weekly_hours: f64,
    noise: f64,
    woman: bool,
    age: f64,
}

impl Subject {
    /// What a company looks like on some day. The rates are those of the dynamic mode; shapes and shares without one there
    /// are assumptions.
    fn draw(random: &mut Random) -> Self {
        let tenure = rounded(random.exponential(4.0).clamp(0.02, 30.0), 2);
        let weeks_here = tenure * 52.0;
        // Asks whether it has happened since the person came.
        let since = |weeks: f64| (weeks < weeks_here).then(|| rounded(weeks, 0));
        // A merit round a year reaches 85 in 100; the others wait for the next ones.
        let mut raise = random.unit();
        while random.happens(0.15) {
            raise += 1.0;
        }
        let promotion = random.exponential(6.0).min(tenure);
        let manager_change = since(random.exponential(52.0 / 0.30));
        let performance = random.normal();
        let compa = rounded((1.0 + 0.11 * random.normal()).clamp(0.7, 1.35), 3);
        let survey = (7.0 + 1.6 * random.normal() + 0.9 * random.normal())
            .round()
            .clamp(0.0, 10.0);
        let rating = (3.2 + 0.75 * performance + 0.5 * random.normal())
            .round()
            .clamp(1.0, 5.0);
        let overtime = random.happens(0.30);
        let team_exits = f64::from(arrivals(0.45, random));
        let office_order = random.happens(0.35).then(|| 104.0 * random.unit()).and_then(since);
        let recognition = since(random.exponential(52.0 / 2.9));
        let week = u32::from(random.whole(1, 52));
        let level = (1.0 + random.exponential(1.5)).min(8.0).floor();
        let absence_days = rounded(random.exponential(6.0).min(60.0), 0);
        let trainings = f64::from(arrivals(3.9, random));
        let weekly_hours = f64::from(if random.happens(0.85) { 40 } else { random.whole(20, 36) });
        let noise = rounded(random.normal(), 3);
        let woman = random.happens(crate::model::probability(
            -8.0 * (compa - 1.0) - if overtime { 0.6 } else { -0.2 },
        ));
        let age = rounded(
            (20.0 + 0.9 * tenure + 1.5 * level + random.exponential(9.0)).min(70.0),
            0,
        );
        Self {
            tenure,
            raise: rounded(raise.min(tenure), 2),
            promotion: rounded(promotion, 2),
            manager_change,
            compa,
            survey,
            rating,
            overtime,
            team_exits,
            office_order,
            recognition,
            week,
            level,
            absence_days,
            trainings,
            weekly_hours,
            noise,
            woman,
            age,
        }
    }

    /// With the survey's answer in the place of the mood behind it, and no frailty.
    fn circumstances(&self) -> Circumstances {
        Circumstances {
            tenure_years: self.tenure,
            years_since_raise: self.raise,
            years_since_promotion: self.promotion,
            weeks_since_manager_change: self.manager_change,
            compa_ratio: self.compa,
            engagement: (self.survey - SURVEY_MEAN) / SURVEY_DEVIATION,
            rating: Some(self.rating as u8),
            overtime: self.overtime,
            team_exits: self.team_exits,
            weeks_since_office_order: self.office_order,
            weeks_since_recognition: self.recognition,
            season: Season::of_week(self.week),
            frailty: 1.0,
        }
    }
}

/// How often something happens that happens `mean` times on average (Poisson).
fn arrivals(mean: f64, random: &mut Random) -> u16 {
    let mut count = 0;
    let mut at = random.exponential(1.0);
    while at < mean {
        count += 1;
        at += random.exponential(1.0);
    }
    count
}

/// To so many decimals, as a decimal number would be read.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

fn or_missing(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests;
