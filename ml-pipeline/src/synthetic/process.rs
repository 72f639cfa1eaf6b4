//! The process behind all invented data, defined once: who looks for another job, who gives notice, who is promoted
//! (prediction.md, section 5; `docs/synthetic.md` tells a user).
//!
//! An employee is passive, searching, on notice, or gone ([`Phase`]). A passive one begins to search at a rate of `exp(eta)`
//! a year; a search ends in notice (5.5 % a week) or is given up (3.5 %). `eta` ([`Process::search_log_rate`]) is linear in
//! effects of what events tell (tenure, pay, promotions, managers, ratings, overtime, recognition, exits in the team, the
//! season) and of what nobody sees (mood, frailty). Searching shows: more absences, fewer trainings, fewer answered surveys.
//!
//! Nothing here draws or remembers. Three views do, each with its own people, its own randomness, and intercepts that bring
//! its mix of people to the facts' rates:
//!
//! | view | people | for |
//! |---|---|---|
//! | [`super::snapshot`] | frozen on one day | a known optimum in closed form |
//! | [`super::Scenario`] | places in teams, up to 200,000; the domain's own events | the shared prior, traps, peaks |
//! | `tenure::demo::company` | seats in a tree, written as an HRIS's rows | the demonstration, tests from outside |
//!
//! The dynamic ones stay two. The company writes what BambooHR holds: names, titles, effective-dated rows that corrections
//! overwrite, no notices, no talent records. To train on it one would have to read it back as the product does, through
//! translation, commands and the log, which this crate may not know; the wrong values that the traps need are gone by then;
//! and a tree in which a manager's exit moves nine reports makes neighbours dependent, where the prior and its tests want
//! people who are drawn alike, by the hundred thousand, in bytes that no HRIS's wording changes.

/// Within how long the effect of the exits of team mates fades to a third, in weeks.
pub const TEAM_EXIT_WEEKS: f64 = 13.0;
/// Within how long the effect of a new manager fades to a third, in weeks.
pub const MANAGER_WEEKS: f64 = 16.0;
/// The same for an order to work at the office.
pub const OFFICE_ORDER_WEEKS: f64 = 26.0;
/// The same for a recognition.
pub const RECOGNITION_WEEKS: f64 = 8.0;
/// How wide the bumps at the vesting dates are, in years. (The facts name their places only.)
const VESTING_YEARS: f64 = 0.12;
/// Chance per week that a search ends in notice.
pub const NOTICE_PER_WEEK: f64 = 0.055;
/// Chance per week that a search is given up, where it did not end in notice.
pub const GIVE_UP_PER_WEEK: f64 = 0.035;
/// Of the employer's decision.
pub const DISMISSALS_PER_YEAR: f64 = 0.03;

/// Variance of the frailty, whose mean is 1.
const FRAILTY_VARIANCE: f64 = 0.35;
/// Shape of the gamma distribution of the frailty.
pub const FRAILTY_SHAPE: f64 = 1.0 / FRAILTY_VARIANCE;
/// How much of the mood stays from week to week. (The facts say AR(1) and no more.)
const MOOD_MEMORY: f64 = 0.97;

/// The ISO weeks of the promotion rounds.
pub const PROMOTION_WEEKS: [u32; 2] = [13, 39];
/// Who has been here for less is hardly promoted.
const NEWCOMER_WEEKS: f64 = 40.0;
/// Within how many weeks trainings count towards a promotion.
pub const TRAINING_WEEKS: u32 = 26;

/// What the market's pay grows by in a year.
pub const MARKET_GROWTH: f64 = 0.032;
/// How many weeks a place stays empty, in the median, and the deviation of its logarithm (an assumption).
pub const VACANCY_WEEKS_MEDIAN: f64 = 6.0;
pub const VACANCY_SIGMA: f64 = 0.5;
/// How many begin on the 1st or the 15th.
pub const HIRES_ON_THE_DAY: f64 = 0.70;
/// How many go at the end of a month.
pub const EXITS_AT_MONTH_END: f64 = 0.60;
/// Chance that something becomes known late, by how many days in the median and at most, and the deviation of the logarithm
/// (the last two are assumptions).
pub const LATE_SHARE: f64 = 0.08;
pub const LATE_DAYS_MEDIAN: f64 = 3.0;
pub const LATE_DAYS_MAX: f64 = 120.0;
pub const LATE_SIGMA: f64 = 1.2;

/// The process for one mix of people. The intercepts are the view's own; all else is the facts'.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// The intercept of eta.
    pub search_intercept: f64,
    /// What eta without its intercept and the frailty is on average among the view's people: the point around which flipped
    /// coefficients turn.
    pub mean_effect: f64,
    /// The intercept of the promotion logit.
    pub promotion_intercept: f64,
    pub coefficients: Coefficients,
    /// How strongly promotions discriminate against women: their log-odds are lower by .30 times this. 0 is fair.
    pub promotion_bias: f64,
}

impl Process {
    /// With the intercepts that the facts have for their mix of people.
    pub const FACTS: Self = Self {
        search_intercept: -1.95,
        mean_effect: 0.43,
        promotion_intercept: -4.2,
        coefficients: Coefficients::Usual,
        promotion_bias: 0.0,
    };

    /// eta: the logarithm of the yearly rate at which somebody passive begins to search for another job.
    #[must_use]
    pub fn search_log_rate(&self, circumstances: &Circumstances) -> f64 {
        let eta = match self.coefficients {
            Coefficients::Usual => circumstances.effects(self.search_intercept),
            Coefficients::Flipped => self.search_intercept + 2.0 * self.mean_effect - circumstances.effects(0.0),
        };
        eta + circumstances.frailty.max(f64::MIN_POSITIVE).ln()
    }

    /// The chance of being promoted in one round, each candidate's independent of the others'.
    #[must_use]
    pub fn promotion_chance(&self, candidate: &Candidate) -> f64 {
        let logit = self.promotion_intercept
            + 0.95 * (f64::from(candidate.rating.unwrap_or(3)) - 3.0)
            + 0.8 * (candidate.years_in_level - 1.5).tanh()
            + 0.35 * candidate.performance
            - 0.18 * (f64::from(candidate.level) - 2.0)
            - if candidate.tenure_weeks < NEWCOMER_WEEKS {
                3.0
            } else {
                0.0
            }
            - if candidate.woman {
                0.30 * self.promotion_bias
            } else {
                0.0
            }
            + 0.15 * f64::from(candidate.trainings.min(4));
        crate::model::probability(logit)
    }
}

/// Whether things act as they do elsewhere, or the other way round: a company that no pooled model may be shipped to blindly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coefficients {
    #[default]
    Usual,
    /// Every effect on eta has the other sign, turned around what they come to on average. The frailty stays.
    Flipped,
}

/// The times of the year that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// The weeks 10 to 15, when the bonus has been paid.
    AfterBonus,
    January,
    December,
    Rest,
}

impl Season {
    /// By the week of the year alone, where no month is known.
    #[must_use]
    pub const fn of_week(week: u32) -> Self {
        match week {
            10..=15 => Self::AfterBonus,
            1..=4 => Self::January,
            49..=53 => Self::December,
            _ => Self::Rest,
        }
    }

    /// By the ISO week and the month.
    #[must_use]
    pub const fn of(week: u32, month: u32) -> Self {
        match (week, month) {
            (10..=15, _) => Self::AfterBonus,
            (_, 1) => Self::January,
            (_, 12) => Self::December,
            _ => Self::Rest,
        }
    }

    const fn effect(self) -> f64 {
        match self {
            Self::AfterBonus => 0.30,
            Self::January => 0.20,
            Self::December => -0.35,
            Self::Rest => 0.0,
        }
    }
}

/// All that eta depends on.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Since the present hire.
    pub tenure_years: f64,
    /// Since pay last rose, or since the hire.
    pub years_since_raise: f64,
    /// Since the last promotion, or since the hire.
    pub years_since_promotion: f64,
    /// Since somebody else became the manager, if that has happened.
    pub weeks_since_manager_change: Option<f64>,
    /// Pay over the market's pay for the same job.
    pub compa_ratio: f64,
    /// The mood: how well they like it here, as a standard normal value.
    pub engagement: f64,
    /// Of the last review, from 1 to 5.
    pub rating: Option<u8>,
    /// Whether there has been much of it lately.
    pub overtime: bool,
    /// Exits of team mates lately; each counts less with time ([`TEAM_EXIT_WEEKS`]).
    pub team_exits: f64,
    /// Since the order to work at the office, for whom it concerns.
    pub weeks_since_office_order: Option<f64>,
    pub weeks_since_recognition: Option<f64>,
    pub season: Season,
    /// How prone they are to leave by nature; 1 on average, and where there is no such thing.
    pub frailty: f64,
}

impl Circumstances {
    fn effects(&self, intercept: f64) -> f64 {
        let rating = match self.rating {
            Some(5) => 0.20,
            Some(1 | 2) => 0.30,
            Some(_) | None => 0.0,
        };
        intercept + 0.9 * first_year(self.tenure_years) - 0.30 * self.tenure_years.ln_1p()
            + 0.6 * vesting(self.tenure_years)
            - 2.5 * (self.compa_ratio - 1.0)
            + 0.22 * raise_wait(self.years_since_raise)
            + 0.22 * promotion_wait(self.years_since_promotion)
            + 0.60 * fading(self.weeks_since_manager_change, MANAGER_WEEKS)
            - 0.45 * self.engagement
            + rating
            + if self.overtime { 0.35 } else { 0.0 }
            + 0.25 * self.team_exits.ln_1p()
            + 0.70 * fading(self.weeks_since_office_order, OFFICE_ORDER_WEEKS)
            - 0.25 * fading(self.weeks_since_recognition, RECOGNITION_WEEKS)
            + self.season.effect()
    }
}

/// The first doubts, at their strongest after seven months.
pub(super) fn first_year(tenure_years: f64) -> f64 {
    (-(tenure_years - 0.6).abs() / 0.35).exp()
}

/// Shares vest after one year and after four: people go when they have them.
pub(super) fn vesting(tenure_years: f64) -> f64 {
    let bump = |at: f64| (-((tenure_years - at) / VESTING_YEARS).powi(2)).exp();
    bump(1.05) + bump(4.05)
}

/// After three years a longer wait for a raise adds nothing.
pub(super) fn raise_wait(years: f64) -> f64 {
    years.min(3.0)
}

/// Nobody minds a year and a half without a promotion; after five and a half a longer wait adds nothing.
pub(super) fn promotion_wait(years: f64) -> f64 {
    (years - 1.5).clamp(0.0, 4.0)
}

/// What is left of something that happened so many weeks ago; nothing if it never did.
pub(super) fn fading(weeks_ago: Option<f64>, weeks: f64) -> f64 {
    weeks_ago.map_or(0.0, |ago| (-ago / weeks).exp())
}

/// All that a promotion depends on.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Of the last review, from 1 to 5; none counts as 3.
    pub rating: Option<u8>,
    pub years_in_level: f64,
    /// Those of the last [`TRAINING_WEEKS`].
    pub trainings: u32,
    /// What nobody sees of how well they do, as a standard normal value.
    pub performance: f64,
    /// 1 at the bottom.
    pub level: u32,
    /// Since the present hire.
    pub tenure_weeks: f64,
    pub woman: bool,
}

/// Where somebody stands on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Passive,
    /// Looking for another job; nobody can see it.
    Searching,
    /// Has given notice.
    Notice,
    Gone,
}

impl Phase {
    /// The phase a week later, for somebody who begins to search at `search_rate` a year; `happens` draws. How long notice
    /// lasts is not decided here.
    #[must_use]
    pub fn after_a_week(self, search_rate: f64, happens: &mut dyn FnMut(f64) -> bool) -> Self {
        match self {
            Self::Passive if happens(chance_per_week(search_rate)) => Self::Searching,
            Self::Searching if happens(NOTICE_PER_WEEK) => Self::Notice,
            Self::Searching if happens(GIVE_UP_PER_WEEK) => Self::Passive,
            Self::Passive | Self::Searching | Self::Notice | Self::Gone => self,
        }
    }

    /// How many times as often as others they are absent.
    #[must_use]
    pub const fn absence_factor(self) -> f64 {
        match self {
            Self::Searching => 2.1,
            Self::Passive | Self::Notice | Self::Gone => 1.0,
        }
    }

    /// How many times as often as others they take a training.
    #[must_use]
    pub const fn training_factor(self) -> f64 {
        match self {
            Self::Searching => 0.5,
            Self::Passive | Self::Notice | Self::Gone => 1.0,
        }
    }

    /// The chance that they answer a survey.
    #[must_use]
    pub const fn survey_response(self) -> f64 {
        match self {
            Self::Searching => 0.55,
            Self::Passive | Self::Notice | Self::Gone => 0.72,
        }
    }
}

/// The chance in one week of something that happens at a constant rate `per_year`.
#[must_use]
pub fn chance_per_week(per_year: f64) -> f64 {
    1.0 - (-per_year / 52.0).exp()
}

/// The probability of notice within `weeks` if nothing changed but the search, for somebody who begins one at `search_rate`
/// a year while passive: the instantaneous-hazard oracle. It knows what nobody sees; the true probability differs from it a
/// little, because circumstances and moods go on changing.
#[must_use]
pub fn notice_chance(search_rate: f64, phase: Phase, weeks: u32) -> f64 {
    let begins = chance_per_week(search_rate);
    let (mut passive, mut searching) = match phase {
        Phase::Passive => (1.0, 0.0),
        Phase::Searching => (0.0, 1.0),
        Phase::Notice | Phase::Gone => (0.0, 0.0),
    };
    for _ in 0..weeks {
        let stays = searching * (1.0 - NOTICE_PER_WEEK);
        let gives_up = stays * GIVE_UP_PER_WEEK;
        (passive, searching) = (passive * (1.0 - begins) + gives_up, stays - gives_up + passive * begins);
    }
    1.0 - passive - searching
}

/// The mood a week later, for a standard normal shock: standard normal in the long run.
#[must_use]
pub fn next_mood(mood: f64, shock: f64) -> f64 {
    MOOD_MEMORY * mood + (1.0 - MOOD_MEMORY.powi(2)).sqrt() * shock
}

/// The rate of the gamma distribution (of [`FRAILTY_SHAPE`]) of the frailty of those who are still there after a hazard that
/// comes to `survived` for somebody average: who is prone to leave has left. Gamma is conjugate, so this is exact.
#[must_use]
pub fn frailty_rate(survived: f64) -> f64 {
    FRAILTY_SHAPE + survived
}

#[cfg(test)]
mod tests;
