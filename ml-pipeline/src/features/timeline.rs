//! The two bounded collections that a feature state is made of.
//!
//! Days are plain numbers (days from the common era's first), which keeps a stored state short and arithmetic cheap.

use chrono::Datelike;
use domain::Date;
use serde::{Deserialize, Serialize};

/// A day as a number; differences are days.
pub type Day = i32;

/// The number of a date.
#[must_use]
pub fn day(date: Date) -> Day {
    date.num_days_from_ce()
}

/// The date of a number. Numbers come from dates, so there always is one.
#[must_use]
pub fn date(day: Day) -> Date {
    Date::from_num_days_from_ce_opt(day).unwrap_or(Date::MAX)
}

/// A value that changes on days, sorted by day, one value for each: like `domain::Dated`, but with a way to forget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline<T>(Vec<(Day, T)>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Timeline<T> {
    /// Says that the value is `value` from `day` on, until the next fact. Tells whether that is news.
    pub fn set(&mut self, day: Day, value: T) -> bool {
        match self.0.binary_search_by_key(&day, |(from, _)| *from) {
            Ok(index) if self.0[index].1 == value => false,
            Ok(index) => {
                self.0[index].1 = value;
                true
            }
            Err(index) => {
                self.0.insert(index, (day, value));
                true
            }
        }
    }

    /// The value in force on `day`.
    pub fn at(&self, day: Day) -> Option<&T> {
        self.until(day).last().map(|(_, value)| value)
    }

    /// The value in force before `day`.
    pub fn before(&self, day: Day) -> Option<&T> {
        self.at(day - 1)
    }

    /// The fact of exactly this day.
    pub fn fact_on(&self, day: Day) -> Option<&T> {
        self.until(day)
            .last()
            .filter(|(from, _)| *from == day)
            .map(|(_, value)| value)
    }

    /// The facts up to and including `day`, oldest first.
    pub fn until(&self, day: Day) -> &[(Day, T)] {
        &self.0[..self.0.partition_point(|(from, _)| *from <= day)]
    }

    /// The facts after `day`, oldest first.
    pub fn after(&self, day: Day) -> &[(Day, T)] {
        &self.0[self.0.partition_point(|(from, _)| *from <= day)..]
    }

    /// Forgets the oldest facts beyond `max`.
    pub fn keep_newest(&mut self, max: usize) {
        let surplus = self.0.len().saturating_sub(max);
        self.0.drain(..surplus);
    }

    /// Forgets one fact beyond `max`: the first whose removal `is_harmless` to the fact before it, else the oldest.
    pub fn keep_unless(&mut self, max: usize, is_harmless: impl Fn(&T, &T) -> bool) {
        if self.0.len() > max {
            let harmless = self.0.windows(2).position(|pair| is_harmless(&pair[0].1, &pair[1].1));
            self.0.remove(harmless.map_or(0, |index| index + 1));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Things that were observed on days, any number on one day. The order of arrival leaves no trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Observations<T>(Vec<(Day, T)>);

impl<T> Default for Observations<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Observations<T> {
    /// Adds an observation, then forgets all but the `max` newest, and those more than `days` older than the newest. Both
    /// depend on what was observed only, so that observations in any order end as the same state.
    pub fn add(&mut self, day: Day, value: T, max: usize, days: Day) {
        let entry = (day, value);
        let place = self.0.partition_point(|known| *known <= entry);
        self.0.insert(place, entry);
        let newest = self.0.last().map_or(day, |(day, _)| *day);
        let too_old = self.0.partition_point(|(day, _)| newest - *day > days);
        self.0.drain(..too_old.max(self.0.len().saturating_sub(max)));
    }

    /// Takes back what was observed on a day and `is_it`. Tells whether there was any.
    pub fn remove(&mut self, day: Day, is_it: impl Fn(&T) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(on, value)| *on != day || !is_it(value));
        self.0.len() < before
    }

    /// The observations of the days `from..=to`, oldest first.
    pub fn between(&self, from: Day, to: Day) -> &[(Day, T)] {
        let end = self.0.partition_point(|(day, _)| *day <= to);
        let start = self.0.partition_point(|(day, _)| *day < from).min(end);
        &self.0[start..end]
    }
}
