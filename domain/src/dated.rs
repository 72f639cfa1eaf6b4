//! Values by effective date.

use serde::{Deserialize, Serialize};

use crate::Date;

/// A value that changes on days: for every day on or after the first fact, the value is that of the latest fact on or before
/// it. Setting a day again replaces what was believed of that day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated<T> {
    /// Sorted by date; dates are unique.
    facts: Vec<(Date, T)>,
}

impl<T> Default for Dated<T> {
    fn default() -> Self {
        Self { facts: Vec::new() }
    }
}

impl<T> Dated<T> {
    /// The value in force on `day`.
    #[must_use]
    pub fn at(&self, day: Date) -> Option<&T> {
        let after = self.facts.partition_point(|(from, _)| *from <= day);
        after.checked_sub(1).map(|index| &self.facts[index].1)
    }

    /// The value in force on the day before `day`.
    #[must_use]
    pub fn before(&self, day: Date) -> Option<&T> {
        let not_before = self.facts.partition_point(|(from, _)| *from < day);
        not_before.checked_sub(1).map(|index| &self.facts[index].1)
    }

    /// Says that the value is `value` from `day` on, until the next fact.
    pub fn set(&mut self, day: Date, value: T) {
        match self.facts.binary_search_by_key(&day, |(from, _)| *from) {
            Ok(index) => self.facts[index].1 = value,
            Err(index) => self.facts.insert(index, (day, value)),
        }
    }

    /// The facts in order of their days.
    pub fn facts(&self) -> impl DoubleEndedIterator<Item = (Date, &T)> {
        self.facts.iter().map(|(day, value)| (*day, value))
    }

    /// The fact of exactly this day.
    #[must_use]
    pub fn fact_on(&self, day: Date) -> Option<&T> {
        self.facts
            .binary_search_by_key(&day, |(from, _)| *from)
            .ok()
            .map(|index| &self.facts[index].1)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }
}

impl<T> FromIterator<(Date, T)> for Dated<T> {
    /// Facts in any order; of two for the same day the later one in the sequence counts.
    fn from_iter<I: IntoIterator<Item = (Date, T)>>(facts: I) -> Self {
        let mut dated = Self::default();
        for (day, value) in facts {
            dated.set(day, value);
        }
        dated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(d: u32) -> Date {
        Date::from_ymd_opt(2026, 1, d).expect("a day")
    }

    #[test]
    fn the_latest_fact_on_or_before_a_day_counts() {
        let dated: Dated<_> = [(day(10), 'b'), (day(1), 'a'), (day(20), 'c')].into_iter().collect();
        assert_eq!(dated.at(day(9)), Some(&'a'));
        assert_eq!(dated.at(day(10)), Some(&'b'));
        assert_eq!(dated.before(day(10)), Some(&'a'));
        assert_eq!(dated.at(day(31)), Some(&'c'));
        assert_eq!(dated.before(day(1)), None);
        assert_eq!(dated.fact_on(day(11)), None);
    }
}
