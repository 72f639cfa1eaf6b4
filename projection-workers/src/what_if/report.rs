//! What is other in a sandbox than what happened: numbers of groups, a series over time, and whose score differs most. No names; of
//! groups under the least size, nothing.

use std::collections::BTreeMap;

use chrono::{Datelike, Months};
use domain::{Date, policy::GROUP_SIZE_MIN, suppression};
use infra::{
    clock,
    database::{Connection, DatabaseError},
    read_model::trends::{self, Asked, Point},
    sandbox::{self, By, Group, World},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Question, changes::Counted, history::History};

/// People of whom it is told that their score differs.
pub const MOVERS_MAX: i64 = 20;
/// Points of the series.
const POINTS_MAX: u32 = 120;

/// The numbers of one group, or of everybody.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    pub headcount: i64,
    /// Who left since the fork.
    pub left: i64,
    /// How often, since the fork, somebody's score rose to HIGH or CRITICAL.
    pub alerts: i64,
    /// Whose score is there now.
    pub high: i64,
    pub scored: i64,
    /// The probabilities of all scores added up: so many are expected to leave within the horizon.
    pub expected: f64,
}

impl Numbers {
    /// The mean of the probabilities; nothing where nobody has a score.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.expected / self.scored as f64)
    }

    fn add(&mut self, group: &Group) {
        self.headcount += group.headcount;
        self.left += group.left;
        self.alerts += group.alerts;
        self.high += group.high;
        self.scored += group.scored;
        self.expected += group.expected;
    }
}

/// Two worlds' numbers. None: of too few people to tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Both<T> {
    pub happened: T,
    pub what_if: T,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupDifference {
    /// None: of whom it is not known.
    pub name: Option<String>,
    pub numbers: Option<Both<Numbers>>,
}

/// A person by their pseudonym. None: no score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    pub employee: Uuid,
    pub probability: Both<Option<f64>>,
    pub band: Both<Option<String>>,
}

/// Where things stood on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stand {
    pub headcount: i64,
    /// Who left since the point before.
    pub left: i64,
    /// People by the band of their score, from the lowest.
    pub bands: [i64; 4],
    pub expected: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesPoint {
    pub day: Date,
    pub stands: Both<Stand>,
}

/// What a script came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub title: String,
    pub from: Date,
    pub made_on: Date,
    /// The last event of the log that it was made from.
    pub position: i64,
    /// SHA-256 of the script, hexadecimal.
    pub script: String,
    pub events: Counted,
    /// Rows that differ, by table, in both worlds together; tables without any are left out.
    pub rows: BTreeMap<String, i64>,
    /// Streams whose events could not be read: left out of both worlds.
    pub not_compared: usize,
    /// People whose scores stay as they were, because a model is not there any more.
    pub unknown_models: usize,
    /// None: too few people to tell.
    pub total: Option<Both<Numbers>>,
    pub groups: BTreeMap<String, Vec<GroupDifference>>,
    pub scores_differing: i64,
    pub moved: Vec<Moved>,
    /// Month by month since the fork; nothing of fewer people than may be told of.
    pub series: Vec<SeriesPoint>,
}

impl Report {
    /// Whether the script made any difference.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Holds the sandbox that is being made against what happened.
pub(super) async fn of(
    connection: &mut Connection,
    question: &Question,
    history: &History,
    events: Counted,
    unknown_models: usize,
) -> Result<Report, DatabaseError> {
    let (tenant, name) = (question.tenant, &question.name);
    let (from, excepted) = (question.script.from.value, history.waiting.as_slice());
    let rows = sandbox::differing_rows(connection, (tenant, name), excepted).await?;
    let (scores_differing, movers) = sandbox::movers(connection, (tenant, name), excepted, MOVERS_MAX).await?;
    let days = days(from, clock::today());
    let (mut groups, mut series) = (BTreeMap::new(), Vec::new());
    for world in [World::Happened, World::WhatIf] {
        sandbox::look_at(connection, world, (tenant, name)).await?;
        for by in By::ALL {
            let of = sandbox::groups(connection, tenant, (by, from), excepted).await?;
            groups.entry(by).or_insert_with(Vec::new).push(of);
        }
        let asked = Asked {
            days: days.clone(),
            department: None,
            known_at: clock::now(),
        };
        series.push(trends::series(connection, tenant, &asked).await?);
    }
    let (mut total, mut by_group) = (None, BTreeMap::new());
    for (by, mut worlds) in groups {
        let what_if = worlds.pop().unwrap_or_default();
        let happened = worlds.pop().unwrap_or_default();
        let (of_all, differences) = differences(&happened, &what_if);
        if by == By::Department {
            total = of_all;
        }
        by_group.insert(by.name().to_owned(), differences);
    }
    let what_if = series.pop().unwrap_or_default();
    let happened = series.pop().unwrap_or_default();
    let moved = movers.into_iter().map(|mover| Moved {
        employee: mover.employee,
        probability: Both {
            happened: mover.happened,
            what_if: mover.what_if,
        },
        band: Both {
            happened: mover.happened_band,
            what_if: mover.what_if_band,
        },
    });
    Ok(Report {
        title: question.script.title.value.clone(),
        from,
        made_on: clock::today(),
        position: history.head,
        script: hex(&Sha256::digest(question.text.as_bytes())),
        events,
        rows: rows
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(table, count)| (table.to_owned(), count))
            .collect(),
        not_compared: history.waiting.len(),
        unknown_models,
        total,
        groups: by_group,
        scores_differing,
        moved: moved.collect(),
        series: points(&days, &happened, &what_if),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fork, the first of each month after it, and today; the last of them, if there are very many.
fn days(from: Date, today: Date) -> Vec<Date> {
    let mut days = vec![from];
    let mut month = from.with_day(1).unwrap_or(from);
    while let Some(next) = month.checked_add_months(Months::new(1)).filter(|next| *next < today) {
        days.push(next);
        month = next;
    }
    if days.last() != Some(&today) {
        days.push(today);
    }
    let surplus = days.len().saturating_sub(POINTS_MAX as usize);
    days.split_off(surplus)
}

/// Everybody's numbers, and those of the groups that are large enough to tell of, in both worlds.
fn differences(happened: &[Group], what_if: &[Group]) -> (Option<Both<Numbers>>, Vec<GroupDifference>) {
    let mut numbers: BTreeMap<Option<String>, Both<Numbers>> = BTreeMap::new();
    for group in happened {
        numbers.entry(group.name.clone()).or_default().happened.add(group);
    }
    for group in what_if {
        numbers.entry(group.name.clone()).or_default().what_if.add(group);
    }
    numbers.retain(|_, both| people(&both.happened) + people(&both.what_if) > 0);
    // What is too small in one world is hidden in both.
    let size =
        |of: fn(&Both<Numbers>) -> &Numbers| -> Vec<i64> { numbers.values().map(|both| people(of(both))).collect() };
    let (real, made) = (size(|both| &both.happened), size(|both| &both.what_if));
    let hidden = suppression::hide(&real, &[]);
    let also = suppression::hide(&made, &hidden.groups);
    let both_hidden = suppression::hide(&real, &also.groups);
    let mut total = Both::<Numbers>::default();
    for both in numbers.values() {
        for (sum, one) in [
            (&mut total.happened, &both.happened),
            (&mut total.what_if, &both.what_if),
        ] {
            sum.headcount += one.headcount;
            sum.left += one.left;
            sum.alerts += one.alerts;
            sum.high += one.high;
            sum.scored += one.scored;
            sum.expected += one.expected;
        }
    }
    let is_hidden = |index: usize| hidden.groups[index] || also.groups[index] || both_hidden.groups[index];
    let differences = numbers
        .iter()
        .enumerate()
        .map(|(index, (name, both))| GroupDifference {
            name: name.clone(),
            numbers: (!is_hidden(index)).then_some(*both),
        })
        .collect();
    let is_told = !hidden.total && !also.total && people(&total.happened) >= GROUP_SIZE_MIN;
    (is_told.then_some(total), differences)
}

/// How many people a group's numbers are about.
const fn people(numbers: &Numbers) -> i64 {
    numbers.headcount + numbers.left
}

fn points(days: &[Date], happened: &[Point], what_if: &[Point]) -> Vec<SeriesPoint> {
    let stand = |point: &Point| Stand {
        headcount: point.headcount,
        left: point.left,
        bands: point.bands,
        expected: point.expected,
    };
    let points = days.iter().zip(happened.iter().zip(what_if));
    let told = points.filter(|(_, (happened, what_if))| happened.headcount.min(what_if.headcount) >= GROUP_SIZE_MIN);
    told.map(|(day, (happened, what_if))| SeriesPoint {
        day: *day,
        stands: Both {
            happened: stand(happened),
            what_if: stand(what_if),
        },
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, headcount: i64) -> Group {
        Group {
            name: Some(name.to_owned()),
            headcount,
            scored: headcount,
            expected: headcount as f64 / 10.0,
            ..Group::default()
        }
    }

    #[test]
    fn what_is_too_small_in_either_world_is_told_of_in_neither() {
        let happened = [group("A", 30), group("B", 6), group("C", 9), group("D", 40)];
        let what_if = [group("A", 31), group("B", 4), group("C", 9), group("D", 40)];
        let (total, groups) = differences(&happened, &what_if);
        assert_eq!(total.expect("enough people").what_if.headcount, 84);
        let told: Vec<bool> = groups.iter().map(|group| group.numbers.is_some()).collect();
        assert_eq!(
            told,
            [true, false, false, true],
            "B is small in one world, C covers it in both"
        );
        let (total, groups) = differences(&[group("A", 3)], &[group("A", 3)]);
        assert_eq!((total, groups[0].numbers), (None, None));
    }

    #[test]
    fn series_go_month_by_month_from_the_fork_to_today() {
        let day = |month, day| Date::from_ymd_opt(2026, month, day).expect("a day");
        assert_eq!(
            days(day(3, 15), day(5, 20)),
            [day(3, 15), day(4, 1), day(5, 1), day(5, 20)]
        );
        assert_eq!(days(day(5, 20), day(5, 20)), [day(5, 20)]);
        assert_eq!(days(day(3, 1), day(4, 1)), [day(3, 1), day(4, 1)]);
    }
}
