//! The two true processes: who starts to look for another job, and who is promoted.
//!
//! Pure functions of what drives them, so that the known optimum can be computed from the same code that generated
//! the history. Coefficients are those of `facts/prediction.md`, section 5; calibrated intercepts are named constants.

/// The facts' intercept is -1.95 for their mix of people; this one gives this company the same 13 % a year.
pub const SEARCH_INTERCEPT: f64 = -1.74;
/// The facts' intercept is -4.2; this one gives this company the same 8 % a year.
pub const PROMOTION_INTERCEPT: f64 = -4.58;
/// Shape (and rate) of the frailty: mean 1, variance .35.
pub const FRAILTY_SHAPE: f64 = 1.0 / 0.35;
/// Chance per week that a search ends in notice.
pub const NOTICE_PER_WEEK: f64 = 0.055;
/// Chance per week that a search is given up.
pub const GIVE_UP_PER_WEEK: f64 = 0.035;
/// How wide the bumps at the vesting dates are, in years.
const VESTING_WIDTH_YEARS: f64 = 0.12;

/// Where somebody stands on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not looking.
    Passive,
    /// Looking for another job; nobody can see it.
    Searching,
    /// Has given notice.
    Notice,
    /// Has left.
    Gone,
}

/// All that the search rate depends on.
#[derive(Debug, Clone, Copy)]
pub struct SearchDrivers {
    /// Years since the present hire date.
    pub tenure_years: f64,
    /// Pay over market pay for the same job and place.
    pub compa_ratio: f64,
    /// Years since pay last rose.
    pub years_since_raise: f64,
    /// Years since the last promotion, or since hiring.
    pub years_since_promotion: f64,
    /// Weeks since somebody else became the manager.
    pub weeks_since_manager_change: Option<f64>,
    /// Latent mood, standard normal in the long run.
    pub engagement: f64,
    /// The last review's rating.
    pub rating: Option<u8>,
    /// Frequent overtime lately.
    pub overtime: bool,
    /// Exits in the same team, decaying over 13 weeks.
    pub team_exits: f64,
    /// Weeks since the order to return to the office, for whom it concerns.
    pub weeks_since_office_order: Option<f64>,
    /// Weeks since the last recognition by a colleague.
    pub weeks_since_recognition: Option<f64>,
    /// ISO week of the year.
    pub week_of_year: u32,
    /// Month of the year, 1 to 12.
    pub month: u32,
    /// Latent frailty, mean 1.
    pub frailty: f64,
}

/// eta: the logarithm of the yearly rate at which a passive employee starts to search.
pub fn search_log_rate(drivers: &SearchDrivers) -> f64 {
    let tenure = drivers.tenure_years.max(0.0);
    let bump = |at: f64| (-((tenure - at) / VESTING_WIDTH_YEARS).powi(2)).exp();
    let fading = |weeks: Option<f64>, scale: f64| weeks.map_or(0.0, |weeks| (-weeks.max(0.0) / scale).exp());
    SEARCH_INTERCEPT + 0.9 * (-(tenure - 0.6).abs() / 0.35).exp() - 0.30 * (1.0 + tenure).ln()
        + 0.6 * (bump(1.05) + bump(4.05))
        - 2.5 * (drivers.compa_ratio - 1.0)
        + 0.22 * drivers.years_since_raise.clamp(0.0, 3.0)
        + 0.22 * (drivers.years_since_promotion - 1.5).clamp(0.0, 4.0)
        + 0.60 * fading(drivers.weeks_since_manager_change, 16.0)
        - 0.45 * drivers.engagement
        + rating_effect(drivers.rating)
        + if drivers.overtime { 0.35 } else { 0.0 }
        + 0.25 * (1.0 + drivers.team_exits).ln()
        + 0.70 * fading(drivers.weeks_since_office_order, 26.0)
        - 0.25 * fading(drivers.weeks_since_recognition, 8.0)
        + season(drivers.week_of_year, drivers.month)
        + drivers.frailty.max(f64::MIN_POSITIVE).ln()
}

fn rating_effect(rating: Option<u8>) -> f64 {
    match rating {
        Some(5) => 0.20,
        Some(rating) if rating <= 2 => 0.30,
        _ => 0.0,
    }
}

fn season(week_of_year: u32, month: u32) -> f64 {
    let after_bonus = if (10..=15).contains(&week_of_year) { 0.30 } else { 0.0 };
    let month = match month {
        1 => 0.20,
        12 => -0.35,
        _ => 0.0,
    };
    after_bonus + month
}

/// Chance that a passive employee starts to search within one week.
pub fn search_chance_per_week(log_rate: f64) -> f64 {
    1.0 - (-log_rate.exp() / 52.0).exp()
}

/// Chance of notice within `weeks`, from `phase`, if nothing that drives the search rate changed meanwhile.
///
/// This is the oracle that regret is measured against: it knows the frailty, the mood and the phase.
pub fn notice_chance(log_rate: f64, phase: Phase, weeks: u32) -> f64 {
    let start = search_chance_per_week(log_rate);
    let (mut passive, mut searching, mut noticed) = match phase {
        Phase::Passive => (1.0, 0.0, 0.0),
        Phase::Searching => (0.0, 1.0, 0.0),
        Phase::Notice | Phase::Gone => (0.0, 0.0, 1.0),
    };
    for _ in 0..weeks {
        let notice = searching * NOTICE_PER_WEEK;
        let give_up = (searching - notice) * GIVE_UP_PER_WEEK;
        let begin = passive * start;
        passive += give_up - begin;
        searching += begin - notice - give_up;
        noticed += notice;
    }
    noticed
}

/// All that a promotion draw depends on.
#[derive(Debug, Clone, Copy)]
pub struct PromotionDrivers {
    /// The last review's rating; 3 where there is none yet.
    pub rating: u8,
    /// Years in the present job level.
    pub years_in_level: f64,
    /// Trainings completed in the last 26 weeks.
    pub trainings: u32,
    /// Latent performance, standard normal.
    pub performance: f64,
    /// Level, 1 at the bottom rung.
    pub level: u32,
    /// Weeks since the present hire date.
    pub tenure_weeks: f64,
    /// How strongly women are disadvantaged here: 0 not at all, 1 as in the facts.
    pub bias: f64,
    /// Whether the bias applies.
    pub female: bool,
}

/// The logit of being promoted in one round.
pub fn promotion_logit(drivers: &PromotionDrivers) -> f64 {
    PROMOTION_INTERCEPT
        + 0.95 * (f64::from(drivers.rating) - 3.0)
        + 0.8 * (drivers.years_in_level - 1.5).tanh()
        + 0.15 * f64::from(drivers.trainings.min(4))
        + 0.35 * drivers.performance
        - 0.18 * (f64::from(drivers.level) - 2.0)
        - if drivers.tenure_weeks < 40.0 { 3.0 } else { 0.0 }
        - if drivers.female { 0.30 * drivers.bias } else { 0.0 }
}

/// The chance that belongs to a logit.
pub fn chance_of_logit(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
