//! Series over any range of the past, for charts.

use async_graphql::{Context, Enum, SimpleObject};
use domain::{
    Date, Timestamp,
    policy::{GROUP_SIZE_MIN, Permission},
};
use infra::{
    clock,
    read_model::trends::{self, Asked, Point},
};

use super::{employee::store, past, risk::BandCounts, scalar::Day};
use crate::{access::Viewer, error::ApiError, limits::TEXT_CHARS_MAX};

/// Points of one series at most.
const POINTS_MAX: usize = 400;

/// How far apart the points of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "TrendStep")]
pub enum Step {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// Where things stood at the end of a day, and what had happened since the point before. Null figures: none, or withheld because
/// too few people stand behind them.
#[derive(Debug, Clone, PartialEq, SimpleObject)]
pub struct TrendPoint {
    pub on: Day,
    pub headcount: Option<i64>,
    pub on_leave: Option<i64>,
    pub on_notice: Option<i64>,
    /// Hires and rehires since the point before; null at the first point.
    pub joined: Option<i64>,
    /// Employments that ended since the point before; null at the first point.
    pub left: Option<i64>,
    /// Of these, by the person's own will.
    pub left_voluntarily: Option<i64>,
    /// Who left since the point before, over the mean of the headcounts at both.
    pub turnover: Option<f64>,
    /// How many people had a score.
    pub scored: Option<i64>,
    pub bands: Option<BandCounts>,
    /// Their probabilities added up: so many were expected to give notice by their own will within the horizon.
    /// Null where nobody had a score.
    pub expected_leavers: Option<f64>,
    /// How many of them did. Null: the horizon has not passed yet.
    pub actual_leavers: Option<i64>,
    /// Whether something is withheld.
    pub suppressed: bool,
}

/// What is asked for: the range, both ends included, and what of it.
pub struct Range {
    pub from: Day,
    pub to: Day,
    pub step: Step,
    pub department: Option<String>,
    pub known_at: Option<Timestamp>,
}

/// The days from `from` to `to`, a step apart.
fn days(from: Date, to: Date, step: Step) -> Result<Vec<Date>, ApiError> {
    if from > to {
        return Err(ApiError::bad_input(format!(
            "the range ends before it begins: {from} to {to}"
        )));
    }
    let mut days = Vec::new();
    for number in 0.. {
        let day = match step {
            Step::Day => from.checked_add_days(chrono::Days::new(number)),
            Step::Week => from.checked_add_days(chrono::Days::new(7 * number)),
            Step::Month => months(from, number),
            Step::Quarter => months(from, 3 * number),
            Step::Year => months(from, 12 * number),
        };
        let Some(day) = day.filter(|day| *day <= to) else { break };
        if days.len() == POINTS_MAX {
            return Err(ApiError::bad_input(format!(
                "a series has {POINTS_MAX} points at most: ask for a shorter range or a longer step"
            )));
        }
        days.push(day);
    }
    Ok(days)
}

/// Counted from the first day, so that the 31st comes back after a short month.
fn months(from: Date, count: u64) -> Option<Date> {
    from.checked_add_months(chrono::Months::new(u32::try_from(count).ok()?))
}

pub async fn trends(ctx: &Context<'_>, range: Range) -> Result<Vec<TrendPoint>, ApiError> {
    let viewer = Viewer::of(ctx)?;
    viewer.require(Permission::SeeHistory)?;
    let now = clock::now();
    let known_at = range.known_at.unwrap_or(now);
    if known_at > now || range.to.0 > now.date_naive() {
        return Err(ApiError::bad_input(format!(
            "the future is asked for: the latest day is {} (UTC)",
            now.date_naive()
        )));
    }
    if range
        .department
        .as_ref()
        .is_some_and(|name| name.chars().count() > TEXT_CHARS_MAX)
    {
        return Err(ApiError::bad_input(format!(
            "a department has {TEXT_CHARS_MAX} characters at most"
        )));
    }
    // Whoever asks for all departments but one, and for everybody, would have that one.
    if range.department.is_some() && !viewer.may(Permission::SeeSmallGroups) {
        return Err(ApiError::bad_input(
            "series of one department are for those who may see small groups: ask for everybody, or for `departments(asOf)`",
        ));
    }
    let asked = Asked {
        days: days(range.from.0, range.to.0, range.step)?,
        department: range.department,
        known_at,
    };
    past::record(ctx, "trends", range.to.0, range.known_at).await?;
    let (tenant, days) = (viewer.0.tenant, asked.days.clone());
    let points = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { trends::series(connection, tenant, &asked).await })
        })
        .await?;
    Ok(shown(&days, &points, viewer.may(Permission::SeeSmallGroups)))
}

/// What may be seen of a series. Parts of a group are groups as well.
fn shown(days: &[Date], points: &[Point], sees_small_groups: bool) -> Vec<TrendPoint> {
    let is_large = |count: i64| sees_small_groups || count == 0 || count >= GROUP_SIZE_MIN;
    let part = |count: i64| is_large(count).then_some(count);
    days.iter()
        .zip(points)
        .enumerate()
        .map(|(index, (day, point))| {
            let before = index.checked_sub(1).map(|before| &points[before]);
            let shows_heads = is_large(point.headcount);
            let shows_scores = shows_heads && is_large(point.scored());
            let expects = shows_scores && point.scored() > 0;
            // One of them follows from the other and the headcounts at both points.
            let shows_flows = shows_heads && before.is_some() && is_large(point.joined) && is_large(point.left);
            let left = shows_flows.then_some(point.left);
            // What is left of the leavers is a group as well.
            let shows_will = shows_flows && is_large(point.left - point.left_voluntarily);
            let mean = before.map(|before| (before.headcount + point.headcount) as f64 / 2.0);
            let [low, medium, high, critical] = point.bands;
            let mut shown = TrendPoint {
                on: Day(*day),
                headcount: shows_heads.then_some(point.headcount),
                on_leave: part(point.on_leave).filter(|_| shows_heads),
                on_notice: part(point.on_notice).filter(|_| shows_heads),
                joined: shows_flows.then_some(point.joined),
                left,
                left_voluntarily: part(point.left_voluntarily).filter(|_| shows_will),
                turnover: left
                    .zip(mean.filter(|mean| *mean > 0.0))
                    .map(|(left, mean)| left as f64 / mean),
                scored: shows_scores.then_some(point.scored()),
                bands: shows_scores.then_some(BandCounts {
                    low,
                    medium,
                    high,
                    critical,
                }),
                expected_leavers: expects.then_some(point.expected),
                actual_leavers: point.came_true.and_then(part).filter(|_| expects),
                suppressed: false,
            };
            shown.suppressed = !shows_scores
                || [point.on_leave, point.on_notice]
                    .into_iter()
                    .any(|count| !is_large(count))
                || before.is_some()
                    && [
                        point.joined,
                        point.left,
                        point.left_voluntarily,
                        point.left - point.left_voluntarily,
                    ]
                    .into_iter()
                    .any(|count| !is_large(count))
                || point.came_true.is_some_and(|count| !is_large(count));
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    #[test]
    fn steps_are_counted_from_the_first_day() {
        let months = days(day("2024-01-31"), day("2024-05-30"), Step::Month).expect("days");
        assert_eq!(
            months,
            ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"].map(day)
        );
        assert_eq!(
            days(day("2024-01-31"), day("2024-01-31"), Step::Day)
                .expect("days")
                .len(),
            1
        );
        assert_eq!(
            days(day("2024-01-01"), day("2025-02-03"), Step::Day)
                .expect("days")
                .len(),
            POINTS_MAX
        );
        assert!(
            days(day("2024-01-01"), day("2025-02-04"), Step::Day).is_err(),
            "one more"
        );
        assert!(days(day("2024-01-02"), day("2024-01-01"), Step::Day).is_err());
    }

    #[test]
    fn few_people_are_withheld_and_what_nobody_did_is_not() {
        let point = Point {
            headcount: 40,
            joined: 3,
            left: 6,
            left_voluntarily: 6,
            bands: [4, 0, 0, 0],
            expected: 0.5,
            came_true: Some(0),
            ..Point::default()
        };
        let on = [day("2024-01-01"), day("2024-02-01")];
        let told = shown(&on, &[point.clone(), point.clone()], false);
        assert_eq!(
            (told[0].headcount, told[0].left, told[0].on_leave),
            (Some(40), None, Some(0)),
            "no point before"
        );
        let later = &told[1];
        assert_eq!(
            (later.joined, later.left, later.turnover),
            (None, None, None),
            "who joined would follow from the headcounts and who left"
        );
        assert!(later.suppressed && later.bands.is_none() && later.expected_leavers.is_none());
        let flows = Point {
            joined: 0,
            left: 8,
            ..point.clone()
        };
        let told = shown(&on, &[point.clone(), flows], false);
        let later = &told[1];
        assert_eq!(
            (later.joined, later.left, later.turnover),
            (Some(0), Some(8), Some(0.2))
        );
        assert!(
            later.left_voluntarily.is_none() && later.suppressed,
            "or the two who left otherwise follow"
        );
        let all = shown(&on, &[point.clone(), point], true);
        assert_eq!(
            (all[1].joined, all[1].scored, all[1].actual_leavers),
            (Some(3), Some(4), Some(0))
        );
        assert!(!all[1].suppressed);
    }
}
