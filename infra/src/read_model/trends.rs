//! Series over any range of days, from the bitemporal tables: one pass over each, whatever the number of points.

use std::collections::BTreeMap;

use domain::{Date, Timestamp, id::TenantId, risk::Band};
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// What a series is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The days to tell of, rising. What happens between counts for the later one; before the first, nothing does.
    pub days: Vec<Date>,
    /// None: everybody.
    pub department: Option<String>,
    pub known_at: Timestamp,
}

/// Where things stood at the end of a day, and what had happened since the day of the point before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    pub headcount: i64,
    pub on_leave: i64,
    pub on_notice: i64,
    /// Who was not employed the day before: hires and rehires.
    pub joined: i64,
    /// Whose employment ended.
    pub left: i64,
    /// Of these, by their own will.
    pub left_voluntarily: i64,
    /// People by the band of their score, from the lowest.
    pub bands: [i64; 4],
    /// The probabilities of everybody who has a score, added up: so many voluntary leavers are expected within the horizon.
    pub expected: f64,
    /// Of those who had a score, how many gave notice or left by their own will within the horizon after the day. None: it has
    /// not passed yet.
    pub came_true: Option<i64>,
}

impl Point {
    #[must_use]
    pub fn scored(&self) -> i64 {
        self.bands.iter().sum()
    }
}

/// How the heads of a day differ from those of the day before.
#[derive(FromRow)]
struct HeadsChange {
    day: Date,
    headcount: i64,
    on_leave: i64,
    on_notice: i64,
    joined: i64,
    left: i64,
    left_voluntarily: i64,
}

#[derive(FromRow)]
struct ScoresChange {
    day: Date,
    band: String,
    people: i64,
    expected: f64,
}

/// Versions as known (the texts of these statements are ours alone), with what the one before said. Versions of a person follow each other without gaps.
const VERSIONS: &str = "v as (
    select employee, effective_from, effective_to, department, objects_to_scoring,
           standing in ('WORKING', 'ON_LEAVE') as employed, standing = 'ON_LEAVE' and notice_on is null as on_leave,
           standing in ('WORKING', 'ON_LEAVE') and notice_on is not null as on_notice, standing = 'ENDED' as ended,
           coalesce(voluntariness = 'voluntary', false) as voluntarily
      from employee_version where tenant = $1 and recorded_from <= $2 and $2 < recorded_to)";

/// Times when somebody had a score: from the day of an assessment to that of the next, as far as they were employed (in the
/// department that is asked for) and did not object.
const SCORED: &str = "assessed as (
    select employee, band, probability, (scored_at at time zone 'UTC')::date as from_day,
           coalesce(lead((scored_at at time zone 'UTC')::date) over (partition by employee order by position), 'infinity') as to_day
      from risk_history where tenant = $1 and recorded_at <= $2 and probability is not null),
  scored as (
    select v.employee, a.band, a.probability, greatest(a.from_day, v.effective_from) as from_day, least(a.to_day, v.effective_to) as to_day
      from assessed a join v on v.employee = a.employee and v.effective_from < a.to_day and a.from_day < v.effective_to
     where v.employed and not v.objects_to_scoring and ($3::text is null or v.department = $3) and a.from_day < a.to_day)";

/// The series that is asked for: a point for each day.
///
/// # Errors
/// When the database fails.
pub async fn series(connection: &mut Connection, tenant: TenantId, asked: &Asked) -> Result<Vec<Point>, DatabaseError> {
    let heads = format!(
        "with {VERSIONS}, told as (
            select *, employed and ($3::text is null or coalesce(department = $3, false)) as counts from v),
          stepped as (
            select *, lag(employed) over w as was_employed, lag(counts) over w as counted, lag(on_leave and counts) over w as was_on_leave,
                   lag(on_notice and counts) over w as was_on_notice
              from told window w as (partition by employee order by effective_from))
         select effective_from as day,
                sum(counts::int - coalesce(counted, false)::int)::bigint as headcount,
                sum((on_leave and counts)::int - coalesce(was_on_leave, false)::int)::bigint as on_leave,
                sum((on_notice and counts)::int - coalesce(was_on_notice, false)::int)::bigint as on_notice,
                count(*) filter (where counts and not coalesce(was_employed, false)) as joined,
                count(*) filter (where ended and counted) as left,
                count(*) filter (where ended and counted and voluntarily) as left_voluntarily
           from stepped group by 1 order by 1"
    );
    let heads: Vec<HeadsChange> = sqlx::query_as(AssertSqlSafe(heads))
        .bind(Uuid::from(tenant))
        .bind(asked.known_at)
        .bind(&asked.department)
        .fetch_all(&mut *connection)
        .await
        .doing("read a series of heads")?;
    let scores = format!(
        "with {VERSIONS}, {SCORED}
         select day, band, sum(sign)::bigint as people, sum(sign * probability) as expected
           from scored cross join lateral (values (from_day, 1), (to_day, -1)) as step(day, sign)
          where day < '9999-12-31' group by 1, 2 order by 1"
    );
    let scores: Vec<ScoresChange> = sqlx::query_as(AssertSqlSafe(scores))
        .bind(Uuid::from(tenant))
        .bind(asked.known_at)
        .bind(&asked.department)
        .fetch_all(&mut *connection)
        .await
        .doing("read a series of scores")?;
    let horizon: Option<i16> = sqlx::query_scalar("select max(horizon_days) from risk_history where tenant = $1")
        .bind(Uuid::from(tenant))
        .fetch_one(&mut *connection)
        .await
        .doing("read the horizon of scores")?;
    let horizon = horizon.unwrap_or_default();
    let came_true = format!(
        "with {VERSIONS}, {SCORED}, stepped as (
            select *, (on_notice or ended) and voluntarily as leaving,
                   lag((on_notice or ended) and voluntarily) over (partition by employee order by effective_from) as was_leaving from v),
          leaving as (select employee, effective_from as day from stepped where leaving and not coalesce(was_leaving, false))
         select point.day, count(distinct leaving.employee)
           from unnest($4::date[]) as point(day)
                join leaving on leaving.day > point.day and leaving.day <= point.day + $5
                join scored on scored.employee = leaving.employee and scored.from_day <= point.day and point.day < scored.to_day
          group by 1"
    );
    let came_true: Vec<(Date, i64)> = sqlx::query_as(AssertSqlSafe(came_true))
        .bind(Uuid::from(tenant))
        .bind(asked.known_at)
        .bind(&asked.department)
        .bind(&asked.days)
        .bind(i32::from(horizon))
        .fetch_all(connection)
        .await
        .doing("read who left")?;
    let came_true: BTreeMap<Date, i64> = came_true.into_iter().collect();
    let known_until = asked.known_at.date_naive();
    let has_passed = |day: Date| (known_until - day).num_days() >= i64::from(horizon);
    let mut points = added_up(&asked.days, &heads, &scores);
    for (point, day) in points.iter_mut().zip(&asked.days) {
        point.came_true = has_passed(*day).then(|| came_true.get(day).copied().unwrap_or_default());
    }
    Ok(points)
}

/// Adds changes up to the points, whose days rise as the changes' do.
fn added_up(days: &[Date], heads: &[HeadsChange], scores: &[ScoresChange]) -> Vec<Point> {
    let (mut heads, mut scores) = (heads.iter().peekable(), scores.iter().peekable());
    let mut now = Point::default();
    let mut points = Vec::with_capacity(days.len());
    for (index, day) in days.iter().enumerate() {
        (now.joined, now.left, now.left_voluntarily) = (0, 0, 0);
        while let Some(change) = heads.next_if(|change| change.day <= *day) {
            now.headcount += change.headcount;
            now.on_leave += change.on_leave;
            now.on_notice += change.on_notice;
            if index > 0 && change.day > days[index - 1] {
                now.joined += change.joined;
                now.left += change.left;
                now.left_voluntarily += change.left_voluntarily;
            }
        }
        while let Some(change) = scores.next_if(|change| change.day <= *day) {
            if let Some(band) = Band::ALL.iter().position(|band| band.name() == change.band) {
                now.bands[band] += change.people;
                now.expected += change.expected;
            }
        }
        points.push(now.clone());
    }
    points
}
