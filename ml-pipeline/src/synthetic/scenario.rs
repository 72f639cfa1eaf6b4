//! The dynamic mode with everything that can be switched on: how true to the facts the process is, and what is planted in
//! the log for models and machines to stumble over.

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
};

use chrono::Days;
use domain::{Date, employee::Event, id::EmployeeId};

use super::{
    Company, Life, person,
    process::{Coefficients, Phase, Process, notice_chance},
    snapshot::{LABEL, TRUTH},
    traps,
};
use crate::{
    dataset::{Dataset, History, ROWS_MAX, Window},
    features::FEATURES,
};

/// The horizon of the truths that are written, in weeks.
pub const HORIZON_WEEKS: u32 = 26;
const HORIZON_DAYS: u16 = HORIZON_WEEKS as u16 * 7;
/// How many people a layoff sends away within its quarter.
pub const LAYOFF_SHARE: f64 = 0.10;
/// How long a layoff lasts, in weeks.
pub const LAYOFF_WEEKS: u32 = 13;
/// Every so manieth team is called back to the office.
pub const OFFICE_ORDER_ONE_TEAM_IN: usize = 3;

/// How much of the facts' process is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fidelity {
    /// What the committed prior was trained on.
    #[default]
    Prior,
    /// Trainings count towards promotions and are as frequent as the facts say; most
    /// hires fall on the 1st and the 15th, most exits on the end of a month, and Monday is busier than Friday.
    Full,
}

/// Something planted whose right answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trap {
    /// The source keeps off-boarding fields (`offboarding_task`, `exit_interview`, `access_revoked`) that are recorded
    /// before notices and exits. Nothing that predicts exits may read them.
    Offboarding,
    /// 1.5 % of pay changes are recorded wrong and corrected more than 30 days later. What was known at a cut-off before
    /// the correction stays what was known.
    BackdatedPay,
    /// .3 % of events are recorded twice. The second one means nothing.
    Duplicates,
    /// .2 % of events stand in the log after one that was known later. What is known on a day does not depend on it.
    OutOfOrder,
    /// A quarter in which a tenth of the people are laid off, two thirds into the history. Drift must be seen, and the
    /// laid off are no leavers.
    Layoff,
    /// A third of the teams are called back to the office halfway through the history, which makes them look around.
    OfficeOrder,
    /// Demographics that go along with pay, tenure and level, but have no say in eta. Models lose nothing without them.
    Protected,
    /// A field that means nothing (`locker_number`). Its importance is none.
    Noise,
    /// Every coefficient of eta has the other sign. No model that was trained elsewhere may be used here blindly.
    Flipped,
}

impl Trap {
    pub const ALL: [Self; 9] = [
        Self::Offboarding,
        Self::BackdatedPay,
        Self::Duplicates,
        Self::OutOfOrder,
        Self::Layoff,
        Self::OfficeOrder,
        Self::Protected,
        Self::Noise,
        Self::Flipped,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offboarding => "offboarding",
            Self::BackdatedPay => "backdated-pay",
            Self::Duplicates => "duplicates",
            Self::OutOfOrder => "out-of-order",
            Self::Layoff => "layoff",
            Self::OfficeOrder => "office-order",
            Self::Protected => "protected",
            Self::Noise => "noise",
            Self::Flipped => "flipped",
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A trap that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no trap called {0:?}; there are {all}", all = Trap::ALL.map(Trap::name).join(", "))]
pub struct NoSuchTrap(String);

impl FromStr for Trap {
    type Err = NoSuchTrap;

    fn from_str(name: &str) -> Result<Self, NoSuchTrap> {
        let found = Self::ALL.into_iter().find(|trap| trap.name() == name);
        found.ok_or_else(|| NoSuchTrap(name.to_owned()))
    }
}

/// A company and what is switched on in it. With [`Scenario::new`] alone its histories are [`Company::histories`].
///
/// The traps that only add to the log (all but the layoff, the office order and the flip) leave the lives under it as they
/// are, so that the same scenario with and without them can be compared event by event.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub company: Company,
    pub fidelity: Fidelity,
    pub traps: Vec<Trap>,
    /// How strongly promotions discriminate against women: their log-odds are lower by .30 times this. 0 is fair.
    pub promotion_bias: f64,
    /// Whether to note the truth about everybody at each cut-off: some 40 bytes a person and month.
    pub truths: bool,
}

impl Scenario {
    #[must_use]
    pub const fn new(company: Company) -> Self {
        Self {
            company,
            fidelity: Fidelity::Prior,
            traps: Vec::new(),
            promotion_bias: 0.0,
            truths: false,
        }
    }

    #[must_use]
    pub fn has(&self, trap: Trap) -> bool {
        self.traps.contains(&trap)
    }

    /// The first day of the layoff and the first one after it, if there is one.
    #[must_use]
    pub fn layoff(&self) -> Option<(Date, Date)> {
        let from = self.after_weeks(self.company.weeks * 2 / 3);
        let to = from + Days::new(u64::from(LAYOFF_WEEKS) * 7);
        self.has(Trap::Layoff).then_some((from, to))
    }

    /// The day of the order to work at the office, if there is one.
    #[must_use]
    pub fn office_order(&self) -> Option<Date> {
        self.has(Trap::OfficeOrder)
            .then(|| self.after_weeks(self.company.weeks / 2))
    }

    pub(super) fn process(&self) -> Process {
        Process {
            coefficients: if self.has(Trap::Flipped) {
                Coefficients::Flipped
            } else {
                Coefficients::Usual
            },
            promotion_bias: self.promotion_bias,
            ..person::PROCESS
        }
    }

    fn after_weeks(&self, weeks: u32) -> Date {
        self.company.begins_on + Days::new(u64::from(weeks) * 7)
    }

    /// Lives through all weeks. The same scenario gives the same histories; `progress` is told how many weeks are done.
    #[must_use]
    pub fn live(&self, progress: &mut dyn FnMut(u32)) -> Lived {
        let mut life = Life::begin(self);
        for week in 0..self.company.weeks {
            progress(week);
            life.step(self.after_weeks(week));
        }
        let until = self.company.ends_on();
        let (truths, people) = life.end();
        let mut lived = Lived {
            begins_on: self.company.begins_on,
            until,
            histories: Vec::with_capacity(people.len()),
            truths,
            planted: Vec::new(),
        };
        for (number, person) in people.into_iter().enumerate() {
            let traits = person.traits;
            let (history, planted) = traps::plant(self, number, &traits, person.into_history(until));
            lived.planted.extend(planted);
            lived.histories.push(history);
        }
        progress(self.company.weeks);
        lived
    }
}

/// What has been lived through: what the log tells, what is true, and what was planted.
#[derive(Debug, Clone, PartialEq)]
pub struct Lived {
    /// The day of the import.
    pub begins_on: Date,
    /// The last day that is told of.
    pub until: Date,
    pub histories: Vec<History>,
    /// By cut-off; empty unless they were asked for.
    pub truths: Vec<Truth>,
    /// By person, then by place.
    pub planted: Vec<Planted>,
}

impl Lived {
    /// The event that was planted.
    #[must_use]
    pub fn event(&self, planted: &Planted) -> Option<&Event> {
        let history = self.histories.get(planted.person)?;
        Some(&history.events.get(planted.event)?.event)
    }

    /// What a model would learn from, with the truth beside it, as lines with a header: a row for everybody at risk at each
    /// month's first day, with all [`FEATURES`] as they were known then (an empty cell where one is missing), whether notice
    /// came within [`HORIZON_WEEKS`] ([`LABEL`]), and the true probability of that ([`TRUTH`],
    /// [`Truth::frozen_probability`]). Tells how many rows there are: those whose outcome is known. Without truths there are
    /// none.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_rows(&self, out: &mut impl Write) -> io::Result<usize> {
        let mut truths: Vec<&Truth> = self.truths.iter().collect();
        truths.sort_unstable_by_key(|truth| (truth.employee, truth.cutoff));
        write!(out, "employee,cutoff,")?;
        for feature in FEATURES {
            write!(out, "{},", feature.name)?;
        }
        writeln!(out, "{LABEL},{TRUTH}")?;
        let mut rows = 0;
        for histories in self.histories.chunks(self.people_at_once()) {
            let data = Dataset::build(histories, self.until, &mut |_| {});
            for (row, leaves) in data.labelled(Window::Days(HORIZON_DAYS)) {
                let of =
                    truths.binary_search_by_key(&(row.employee, row.cutoff), |truth| (truth.employee, truth.cutoff));
                // Somebody whose notice is known late is at risk for all that anybody knew, and for the truth not.
                let Ok(of) = of else { continue };
                write!(out, "{},{},", row.employee, row.cutoff)?;
                for value in &row.x {
                    if value.is_finite() {
                        write!(out, "{value}")?;
                    }
                    write!(out, ",")?;
                }
                let p = truths[of].frozen_probability(HORIZON_WEEKS);
                writeln!(out, "{},{p}", u8::from(leaves))?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    /// How many people have no more rows than a data set takes, which would else leave out early months.
    fn people_at_once(&self) -> usize {
        let months = (self.until - self.begins_on).num_days() / 28 + 1;
        (ROWS_MAX / usize::try_from(months).unwrap_or(ROWS_MAX)).max(1)
    }

    /// The truths as lines with a header; `true_probability` is [`Truth::frozen_probability`] within [`HORIZON_WEEKS`].
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_truths(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "employee,cutoff,looking_rate,searching,true_probability")?;
        for truth in &self.truths {
            writeln!(
                out,
                "{},{},{},{},{}",
                truth.employee,
                truth.cutoff,
                truth.looking_rate,
                u8::from(truth.searching),
                truth.frozen_probability(HORIZON_WEEKS)
            )?;
        }
        Ok(())
    }
}

/// An event that a trap put into the log, or moved in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    /// The place of the person among the histories.
    pub person: usize,
    /// The place of the event in the person's history.
    pub event: usize,
    pub trap: Trap,
    /// Of a duplicate or a correction, the place of the event that it repeats or corrects.
    pub of: Option<usize>,
}

/// What nobody can see about somebody at risk on the first day of a month, with all weeks before it lived through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    pub employee: EmployeeId,
    pub cutoff: Date,
    /// `exp(eta)` with mood and frailty: the yearly rate at which the person begins to look for another job while content.
    pub looking_rate: f64,
    /// Whether the person looks for another job now.
    pub searching: bool,
}

impl Truth {
    /// The probability of notice within so many weeks if nothing changed but the search ([`notice_chance`]).
    #[must_use]
    pub fn frozen_probability(&self, weeks: u32) -> f64 {
        let phase = if self.searching {
            Phase::Searching
        } else {
            Phase::Passive
        };
        notice_chance(self.looking_rate, phase, weeks)
    }
}

#[cfg(test)]
mod tests;
