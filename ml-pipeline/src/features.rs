//! The one definition of every model input: a fold over the employee's events ([`FeatureState`]), and a table of what is
//! read off it on a day ([`FEATURES`]). Training and live scoring both come through here, so that they cannot drift apart.

mod pay_levels;
mod state;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

use chrono::Datelike;
use domain::{Date, employee::Relation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use pay_levels::{Group, PayLevels};
pub use state::{FeatureState, SpellEnd, Unscored};

use state::{Move, Pay};
use timeline::{Day, day};

use crate::table::Input;

/// The number of this set of definitions. Raise it with every change of a definition or of [`FeatureState`]: models trained
/// on another set are refused, and stored states must be folded again.
pub const FEATURE_SET: u32 = 2;

/// What full time means when a source gives no hours, in hours a week.
pub const FULL_TIME_HOURS: f64 = 40.0;
/// From here on, a longer wait for a raise says nothing more, in years.
pub const RAISE_YEARS_CAP: f64 = 3.0;
/// The same for a promotion, and for the time in one job.
pub const PROMOTION_YEARS_CAP: f64 = 5.5;
/// The wait for a promotion that nobody minds, in years.
pub const PROMOTION_PATIENCE_YEARS: f64 = 1.5;
/// The largest raise that is told from a larger one, relative.
pub const RAISE_CAP: f64 = 0.5;
/// From here on, an older survey answer says nothing more, in weeks.
pub const SURVEY_WEEKS_CAP: f64 = 104.0;
/// Within how long the effect of a new manager fades to a third, in weeks.
pub const MANAGER_WEEKS: f64 = 16.0;
/// The same for the exit of a colleague.
pub const TEAM_EXIT_WEEKS: f64 = 13.0;
/// The same for a recognition.
pub const RECOGNITION_WEEKS: f64 = 8.0;
/// The same for an absence.
pub const ABSENCE_WEEKS: f64 = 8.0;

/// The feature that other people's pay enters.
const COMPA_RATIO: &str = "compa_ratio";
const DAYS_PER_YEAR: f64 = 365.25;
const HALF_YEAR_DAYS: Day = 26 * 7;
const QUARTER_DAYS: Day = 13 * 7;
const SURVEYS_COMPARED_MAX: usize = 5;

/// One model input. Its place in [`FEATURES`] is its index in every [`FeatureVector`].
#[derive(Debug)]
pub struct Feature {
    /// The stable name: stored in models, scores and cards. Never reuse one with another meaning.
    pub name: &'static str,
    pub unit: &'static str,
    /// Where the flight risk may go when the value rises, if that is known beforehand: models of it are held to it.
    pub expected: Option<Direction>,
    /// The feature that people are shown instead of this one: several inputs may spell out one thing, such as tenure.
    pub shown_as: &'static str,
    value: fn(&Moment<'_>) -> f64,
    /// The value by that of the feature that people are shown, if nothing else decides it.
    view: Option<fn(f64) -> f64>,
    /// The value by the date alone, if nothing else decides it.
    calendar: Option<fn(Date) -> f64>,
    label: fn(f64) -> String,
}

impl Feature {
    /// The value in plain words, such as "no raise for 2.4 years". Says what is, never why somebody would leave.
    #[must_use]
    pub fn label(&self, value: f64) -> String {
        (self.label)(value)
    }

    /// What the feature is about, for the head of a chart, such as "years since the last raise".
    #[must_use]
    pub fn title(&self) -> &'static str {
        words::title(self.name)
    }

    /// This input's value where the feature that it is shown as has `shown`; nothing if that alone does not decide it.
    #[must_use]
    pub fn seen_in(&self, shown: f64) -> Option<f64> {
        self.view.map(|view| view(shown))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Up,
    Down,
}

/// A feature by its place in [`FEATURES`]; serialised by its name, so that stored models survive a change of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FeatureId(usize);

impl FeatureId {
    /// Every feature, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..FEATURES.len()).map(Self)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FEATURES.iter().position(|feature| feature.name == name).map(Self)
    }

    /// The feature at a place of [`FEATURES`].
    #[must_use]
    pub fn at(index: usize) -> Option<Self> {
        (index < FEATURES.len()).then_some(Self(index))
    }

    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }

    #[must_use]
    pub const fn feature(self) -> &'static Feature {
        &FEATURES[self.0]
    }
}

impl From<FeatureId> for String {
    fn from(id: FeatureId) -> Self {
        id.feature().name.to_owned()
    }
}

impl TryFrom<String> for FeatureId {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("there is no feature called {name:?} here"))
    }
}

/// The values of all [`FEATURES`] in their order; what is missing is not a number.
#[derive(Debug, Clone)]
pub struct FeatureVector {
    pub values: Vec<f64>,
}

impl FeatureVector {
    /// A digest of the values, bit by bit, in hexadecimal: the first 128 bits of SHA-256. All missing values are one.
    #[must_use]
    pub fn digest(&self) -> String {
        let bits = |value: &f64| {
            if value.is_nan() {
                f64::NAN.to_bits()
            } else {
                value.to_bits()
            }
        };
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| bits(value).to_le_bytes()).collect();
        Sha256::digest(bytes)[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Sets the compa-ratio.
    pub(crate) fn compare_pay(&mut self, ratio: Option<f64>) {
        let place = FEATURES.iter().position(|feature| feature.name == COMPA_RATIO);
        if let Some(value) = place.and_then(|place| self.values.get_mut(place)) {
            *value = ratio.unwrap_or(f64::NAN);
        }
    }

    /// The value of one feature, unless it is missing.
    #[must_use]
    pub fn get(&self, id: FeatureId) -> Option<f64> {
        self.values.get(id.index()).copied().filter(|value| value.is_finite())
    }
}

impl FeatureState {
    /// The model inputs on a day, from facts that are true by then. All are missing on a day without employment. Pay is
    /// compared with the levels that a model brings.
    #[must_use]
    pub fn vector(&self, on: Date, levels: &PayLevels) -> FeatureVector {
        let mut vector = self.own_vector(on);
        if let Some((group, pay)) = self.pay_in_group(on) {
            vector.compare_pay(levels.ratio(&group, pay));
        }
        vector
    }

    /// The same, where pay is compared later.
    pub(crate) fn own_vector(&self, on: Date) -> FeatureVector {
        let values = match self.spell_start(day(on)) {
            Some(since) => {
                let moment = Moment {
                    state: self,
                    on: day(on),
                    since,
                };
                let mut values: Vec<f64> = FEATURES.iter().map(|feature| (feature.value)(&moment)).collect();
                turn_to(&mut values, on);
                values
            }
            None => vec![f64::NAN; FEATURES.len()],
        };
        FeatureVector { values }
    }
}

/// All features as the inputs of a model, in order. `directions`: whether a model is held to where the flight risk may go.
#[must_use]
pub fn inputs(directions: bool) -> Vec<Input> {
    let input = |feature: &Feature| Input {
        expected: feature.expected.filter(|_| directions),
        ..Input::numeric(feature.name)
    };
    FEATURES.iter().map(input).collect()
}

const fn feature(
    name: &'static str,
    unit: &'static str,
    expected: Option<Direction>,
    value: fn(&Moment<'_>) -> f64,
    label: fn(f64) -> String,
) -> Feature {
    Feature {
        name,
        unit,
        expected,
        shown_as: name,
        value,
        view: None,
        calendar: None,
        label,
    }
}

/// A feature that the date alone decides.
const fn season(
    name: &'static str,
    expected: Option<Direction>,
    is: fn(Date) -> f64,
    label: fn(f64) -> String,
) -> Feature {
    Feature {
        calendar: Some(is),
        ..feature(name, "flag", expected, |_| 0.0, label)
    }
}

/// Whether the date alone decides a feature.
#[must_use]
pub fn is_calendar(id: FeatureId) -> bool {
    id.feature().calendar.is_some()
}

/// Sets what the date alone decides to another date: the same person in another month.
pub fn turn_to(x: &mut [f64], date: Date) {
    for (value, feature) in x.iter_mut().zip(FEATURES) {
        if let Some(calendar) = feature.calendar {
            *value = calendar(date);
        }
    }
}

impl Feature {
    /// Another view of what `name` shows already.
    const fn part_of(self, name: &'static str) -> Self {
        Self { shown_as: name, ..self }
    }

    /// The same, where that feature's value decides this one.
    const fn view_of(self, name: &'static str, view: fn(f64) -> f64) -> Self {
        Self {
            shown_as: name,
            view: Some(view),
            ..self
        }
    }
}

const UP: Option<Direction> = Some(Direction::Up);
const DOWN: Option<Direction> = Some(Direction::Down);

/// Every model input. Shapes and time constants follow the flight process of prediction.md, section 5.
pub static FEATURES: &[Feature] = &[
    feature("tenure_years", "years", None, |m| m.tenure(), words::tenure),
    feature(
        "tenure_first_year",
        "0 to 1",
        None,
        |m| first_year(m.tenure()),
        words::unnamed,
    )
    .view_of("tenure_years", first_year),
    feature(
        "tenure_vesting_first",
        "0 to 1",
        None,
        |m| vesting_first(m.tenure()),
        words::unnamed,
    )
    .view_of("tenure_years", vesting_first),
    feature(
        "tenure_vesting_last",
        "0 to 1",
        None,
        |m| vesting_last(m.tenure()),
        words::unnamed,
    )
    .view_of("tenure_years", vesting_last),
    feature(
        "tenure_log",
        "ln(1 + years)",
        None,
        |m| m.tenure().ln_1p(),
        words::unnamed,
    )
    .view_of("tenure_years", f64::ln_1p),
    feature(
        "years_since_raise",
        "years",
        UP,
        |m| m.years_since_raise(),
        words::years_since_raise,
    ),
    feature(
        "last_raise",
        "relative",
        None,
        |m| m.last_raise().map_or(f64::NAN, |(_, size)| size.min(RAISE_CAP)),
        words::last_raise,
    ),
    feature(
        "years_since_promotion",
        "years",
        UP,
        |m| m.years_since_promotion(),
        words::years_since_promotion,
    ),
    feature(
        "promotion_overdue",
        "years",
        UP,
        |m| overdue(m.years_since_promotion()),
        words::unnamed,
    )
    .view_of("years_since_promotion", overdue),
    feature(
        "years_in_role",
        "years",
        None,
        |m| m.years_in_role(),
        words::years_in_role,
    ),
    feature(
        "manager_change_recent",
        "0 to 1",
        UP,
        |m| fading(m.weeks_since_manager_change(), MANAGER_WEEKS),
        words::manager_change,
    ),
    feature(
        "managers",
        "people",
        None,
        |m| m.managers_so_far() as f64,
        words::managers,
    ),
    feature("rating", "1 to 5", None, |m| m.rating(), words::rating),
    feature("rating_top", "flag", None, |m| is_top(m.rating()), words::unnamed).view_of("rating", is_top),
    feature("rating_low", "flag", UP, |m| is_low(m.rating()), words::unnamed).view_of("rating", is_low),
    feature(
        "survey_score",
        "0 to 10",
        DOWN,
        |m| m.survey_score(),
        words::survey_score,
    ),
    feature(
        "survey_trend",
        "points",
        None,
        |m| m.survey_trend(),
        words::survey_trend,
    ),
    feature("survey_weeks", "weeks", None, |m| m.survey_weeks(), words::survey_weeks),
    feature(
        "absence_days",
        "days in 26 weeks",
        UP,
        |m| m.absence_days(),
        words::absence_days,
    ),
    feature(
        "absence_count",
        "absences in 26 weeks",
        UP,
        |m| m.absences().len() as f64,
        words::unnamed,
    )
    .part_of("absence_days"),
    feature(
        "absence_recent",
        "absences, fading",
        UP,
        |m| m.absence_recent(),
        words::unnamed,
    )
    .part_of("absence_days"),
    feature(
        "overtime_minutes",
        "minutes in 13 weeks",
        UP,
        |m| m.overtime_minutes(),
        words::overtime_minutes,
    ),
    feature(
        "recognition_recent",
        "0 to 1",
        DOWN,
        |m| fading(m.weeks_since_recognition(), RECOGNITION_WEEKS),
        words::recognition,
    ),
    feature(
        "assessment_score",
        "percent",
        None,
        |m| m.assessment_score(),
        words::assessment_score,
    ),
    feature(
        "assessment_count",
        "assessments in 26 weeks",
        None,
        |m| m.assessment_count(),
        words::assessment_count,
    ),
    feature(
        "on_leave",
        "flag",
        None,
        |m| flag(m.state.is_on_leave(m.on)),
        words::on_leave,
    ),
    feature(
        "weekly_hours",
        "hours",
        None,
        |m| m.hours().unwrap_or(f64::NAN),
        words::weekly_hours,
    ),
    feature(
        "pay_log",
        "ln(major units a year, full time)",
        None,
        |m| m.pay_log(),
        words::pay,
    ),
    // Set by `compare_pay`.
    feature(
        COMPA_RATIO,
        "pay over the median of the same job",
        DOWN,
        |_| f64::NAN,
        words::compa_ratio,
    ),
    feature("team_exits", "exits, fading", UP, |m| m.team_exits(), words::team_exits),
    feature(
        "manager_left",
        "0 to 1",
        None,
        |m| fading(m.weeks_since_manager_left(), MANAGER_WEEKS),
        words::manager_left,
    ),
    feature("transfers", "in a year", None, |m| m.transfers(), words::transfers),
    season("month", None, |date| f64::from(date.month()), words::month),
    season("season_january", None, |date| flag(date.month() == 1), words::january),
    season(
        "season_december",
        None,
        |date| flag(date.month() == 12),
        words::december,
    ),
    season(
        "season_after_bonus",
        None,
        |date| flag((10..=15).contains(&date.iso_week().week())),
        words::after_bonus,
    ),
];

/// One person on one day within an employment: what the definitions above read.
struct Moment<'a> {
    state: &'a FeatureState,
    on: Day,
    /// The first day of this employment; what was before it counts for nothing.
    since: Day,
}

impl Moment<'_> {
    fn years_since(&self, day: Day) -> f64 {
        f64::from(self.on - day) / DAYS_PER_YEAR
    }

    fn weeks_since(&self, day: Day) -> f64 {
        f64::from(self.on - day) / 7.0
    }

    fn within(&self, days: Day) -> Day {
        self.since.max(self.on - days + 1)
    }

    fn tenure(&self) -> f64 {
        self.years_since(self.since)
    }

    fn hours(&self) -> Option<f64> {
        let minutes = self.state.hours.at(self.on)?;
        (minutes.0 > 0).then(|| f64::from(minutes.0) / 60.0)
    }

    fn pay_log(&self) -> f64 {
        let hours = self.hours().unwrap_or(FULL_TIME_HOURS);
        let yearly = self
            .state
            .pay
            .at(self.on)
            .copied()
            .flatten()
            .map(|pay| pay.full_time(hours));
        yearly.filter(|yearly| *yearly > 0.0).map_or(f64::NAN, f64::ln)
    }

    /// The last time that pay rose in this employment, and by how much. Pay that cannot be read is passed over.
    fn last_raise(&self) -> Option<(Day, f64)> {
        let hours = self.hours().unwrap_or(FULL_TIME_HOURS);
        let mut later: Option<(Day, Pay)> = None;
        for (day, pay) in self.state.pay.until(self.on).iter().rev() {
            let Some(pay) = *pay else { continue };
            if let Some((day, later)) = later
                && let Some(rise) = later.rise_from(pay, hours).filter(|rise| *rise > 0.0)
            {
                return Some((day, rise));
            }
            if *day <= self.since {
                break;
            }
            later = Some((*day, pay));
        }
        None
    }

    fn years_since_raise(&self) -> f64 {
        let known = self.state.pay.until(self.on).iter().any(|(_, pay)| pay.is_some());
        let last = self.last_raise().map_or(self.since, |(day, _)| day);
        if known {
            self.years_since(last).min(RAISE_YEARS_CAP)
        } else {
            f64::NAN
        }
    }

    fn moves(&self, kind: Move, from: Day) -> impl DoubleEndedIterator<Item = Day> {
        let moves = self.state.moves.until(self.on).iter();
        moves
            .filter(move |(day, what)| *what == kind && *day >= from)
            .map(|(day, _)| *day)
    }

    fn years_since_promotion(&self) -> f64 {
        let last = self
            .moves(Move::Promotion, self.since)
            .next_back()
            .unwrap_or(self.since);
        self.years_since(last).min(PROMOTION_YEARS_CAP)
    }

    /// Since the job title last became what it is; a job from before this employment counts from its first day.
    fn years_in_role(&self) -> f64 {
        let titles = self.state.titles.until(self.on);
        let Some((_, Some(now))) = titles.last() else {
            return f64::NAN;
        };
        let same = titles.iter().rev().take_while(|(_, title)| title.as_ref() == Some(now));
        same.last().map_or(f64::NAN, |(since, _)| {
            self.years_since((*since).max(self.since)).min(PROMOTION_YEARS_CAP)
        })
    }

    fn transfers(&self) -> f64 {
        self.moves(Move::Transfer, self.within(365)).count() as f64
    }

    /// The known managers of this employment one after another, the one on the first day included.
    fn managers(&self) -> Vec<(Day, domain::id::EmployeeId)> {
        let facts = self.state.managers.until(self.on);
        let first = facts.partition_point(|(day, _)| *day <= self.since).saturating_sub(1);
        let mut managers: Vec<_> = facts[first..]
            .iter()
            .filter_map(|(day, manager)| Some((*day, (*manager)?)))
            .collect();
        managers.dedup_by_key(|(_, manager)| *manager);
        managers
    }

    fn managers_so_far(&self) -> usize {
        self.managers().len()
    }

    /// Since one known manager followed another. To learn who the manager is is no change.
    fn weeks_since_manager_change(&self) -> Option<f64> {
        let managers = self.managers();
        managers.get(1..)?.last().map(|(day, _)| self.weeks_since(*day))
    }

    fn rating(&self) -> f64 {
        last(self.state.reviews.between(self.since, self.on))
    }

    fn surveys(&self) -> &[(Day, Option<u8>)] {
        self.state.surveys.between(self.since, self.on)
    }

    fn survey_score(&self) -> f64 {
        last(self.surveys())
    }

    /// The last score against the mean of the few before it.
    fn survey_trend(&self) -> f64 {
        let scores: Vec<f64> = self
            .surveys()
            .iter()
            .rev()
            .filter_map(|(_, score)| score.map(f64::from))
            .take(SURVEYS_COMPARED_MAX)
            .collect();
        match scores.split_first() {
            Some((last, earlier)) if !earlier.is_empty() => last - earlier.iter().sum::<f64>() / earlier.len() as f64,
            Some(_) | None => f64::NAN,
        }
    }

    fn survey_weeks(&self) -> f64 {
        self.surveys()
            .last()
            .map_or(f64::NAN, |(day, _)| self.weeks_since(*day).min(SURVEY_WEEKS_CAP))
    }

    fn absences(&self) -> &[(Day, u16)] {
        self.state.absences.between(self.within(HALF_YEAR_DAYS), self.on)
    }

    fn absence_days(&self) -> f64 {
        total(self.absences().iter().map(|(_, days)| f64::from(*days)))
    }

    fn absence_recent(&self) -> f64 {
        total(
            self.absences()
                .iter()
                .map(|(day, _)| fading(Some(self.weeks_since(*day)), ABSENCE_WEEKS)),
        )
    }

    fn overtime_minutes(&self) -> f64 {
        let weeks = self.state.overtimes.between(self.within(QUARTER_DAYS), self.on);
        total(weeks.iter().map(|(_, minutes)| f64::from(*minutes)))
    }

    fn weeks_since_recognition(&self) -> Option<f64> {
        self.state
            .recognitions
            .between(self.since, self.on)
            .last()
            .map(|(day, ())| self.weeks_since(*day))
    }

    fn assessment_count(&self) -> f64 {
        let lately = self.state.assessments.between(self.within(HALF_YEAR_DAYS), self.on);
        lately.len() as f64
    }

    /// The exits of colleagues in this employment, managers' included, the older the less.
    fn team_exits(&self) -> f64 {
        let exits = self.state.colleagues_left.between(self.since, self.on).iter();
        total(exits.map(|(day, _)| fading(Some(self.weeks_since(*day)), TEAM_EXIT_WEEKS)))
    }

    /// Since the present manager gave notice or left, for as long as nobody has taken over: then it is a change of manager, which
    /// is another feature.
    fn weeks_since_manager_left(&self) -> Option<f64> {
        let present = self.state.managers.at(self.on).copied().flatten();
        let exits = self.state.colleagues_left.between(self.since, self.on).iter();
        let mut of_managers = exits.filter(|(_, (who, relation))| {
            *relation == Relation::Manager && present.is_none_or(|present| present == *who)
        });
        of_managers.next_back().map(|(day, _)| self.weeks_since(*day))
    }

    fn assessment_score(&self) -> f64 {
        last(self.state.assessments.between(self.since, self.on))
    }
}

fn last(observed: &[(Day, Option<u8>)]) -> f64 {
    observed
        .last()
        .and_then(|(_, value)| *value)
        .map_or(f64::NAN, f64::from)
}

/// The sum; of nothing it is 0, where `Iterator::sum` says -0.
fn total(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// From 1 at once to 1/e after `scale` weeks; 0 if it never happened.
fn fading(weeks: Option<f64>, scale: f64) -> f64 {
    weeks.map_or(0.0, |weeks| (-weeks / scale).exp())
}

/// What the first year is like, most of all its seventh month.
fn first_year(tenure: f64) -> f64 {
    (-(tenure - 0.6).abs() / 0.35).exp()
}

fn vesting_first(tenure: f64) -> f64 {
    bump(tenure, 1.05)
}

fn vesting_last(tenure: f64) -> f64 {
    bump(tenure, 4.05)
}

fn overdue(years: f64) -> f64 {
    (years - PROMOTION_PATIENCE_YEARS).max(0.0)
}

fn is_top(rating: f64) -> f64 {
    flag(rating >= 5.0)
}

fn is_low(rating: f64) -> f64 {
    flag(rating <= 2.0)
}

/// What happens around a date of vesting, some six weeks wide on either side.
fn bump(tenure: f64, at: f64) -> f64 {
    (-((tenure - at) / 0.12).powi(2)).exp()
}
