//! eta: the logarithm of the yearly rate at which somebody who is content starts to look for another job, as
//! prediction.md, section 5, has it. The static and the dynamic mode both come through here.

/// Within how long the effect of the exits of team mates fades to a third, in weeks.
pub const TEAM_EXIT_WEEKS: f64 = 13.0;
/// Within how long the effect of a new manager fades to a third, in weeks.
pub const MANAGER_WEEKS: f64 = 16.0;
/// The same for an order to work at the office.
pub const OFFICE_ORDER_WEEKS: f64 = 26.0;
/// The same for a recognition.
pub const RECOGNITION_WEEKS: f64 = 8.0;

/// Whether things act as they do elsewhere, or the other way round: a company that no pooled model may be shipped to blindly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coefficients {
    #[default]
    Usual,
    Flipped,
}

impl Coefficients {
    /// eta: the effects of the circumstances on top of the intercept, as they are, or turned around `mean_effect`, which is
    /// what they come to on average.
    pub(super) fn eta(self, circumstances: &Circumstances, intercept: f64, mean_effect: f64) -> f64 {
        match self {
            Self::Usual => circumstances.effects(intercept),
            Self::Flipped => intercept + 2.0 * mean_effect - circumstances.effects(0.0),
        }
    }
}

/// The times of the year that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Season {
    /// The weeks 10 to 15, when the bonus has been paid.
    AfterBonus,
    January,
    December,
    Rest,
}

impl Season {
    /// By the week of the year alone.
    pub const fn of_week(week: u32) -> Self {
        match week {
            10..=15 => Self::AfterBonus,
            1..=4 => Self::January,
            49..=53 => Self::December,
            _ => Self::Rest,
        }
    }

    /// By the ISO week and the month.
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

/// All that eta depends on, except for what makes somebody prone to leave by nature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub tenure_years: f64,
    pub years_since_raise: f64,
    pub years_since_promotion: f64,
    pub weeks_since_manager_change: Option<f64>,
    pub compa_ratio: f64,
    /// How well they like it here, as a standard normal value.
    pub engagement: f64,
    /// From 1 to 5.
    pub rating: Option<u8>,
    pub overtime: bool,
    /// Exits of team mates lately.
    pub team_exits: f64,
    pub weeks_since_office_order: Option<f64>,
    pub weeks_since_recognition: Option<f64>,
    pub season: Season,
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
    let bump = |at: f64| (-((tenure_years - at) / 0.12).powi(2)).exp();
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
