//! Finds out since when what holds, from a source that only says what holds on a day.
//!
//! Workday gives no history of a worker: it answers what is true as of a day. Between two days on which a part of the answer differs, something
//! began. The later answer mostly says when (a position has its effective date, pay has its own); what has no such date is looked for
//! by halving the days between. What began and ended again between two equal answers is not seen.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::{Date, employee::Rows};

/// A part of what holds on a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<T> {
    /// None: not said.
    pub value: Option<T>,
    /// Since when it holds, if that is said.
    pub since: Option<Date>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self {
            value: None,
            since: None,
        }
    }
}

/// Two answers that follow each other, and one part of both.
struct Step<'a, T> {
    from: Date,
    to: Date,
    before: &'a Part<T>,
    after: &'a Part<T>,
}

impl<T: PartialEq> Step<'_, T> {
    fn is_change(&self) -> bool {
        self.before.value != self.after.value
    }

    /// The day on which the later value began, if the answer says one between the two.
    fn told(&self) -> Option<Date> {
        self.after.since.filter(|since| self.from < *since && *since <= self.to)
    }

    /// The day on which the later value began, if that is certain.
    fn began(&self) -> Option<Date> {
        self.told().or((day_after(self.from) == self.to).then_some(self.to))
    }

    /// The next day to ask about: none if everything between is known.
    fn ask<S>(&self, answers: &BTreeMap<Date, S>) -> Option<Date> {
        // The same value that began anew had another before it.
        if !self.is_change() && (self.after.since == self.before.since || self.told().is_none()) {
            return None;
        }
        let before_it = match self.told() {
            Some(began) => began - TimeDelta::days(1),
            None => self.from + TimeDelta::days((self.to - self.from).num_days() / 2),
        };
        // Of a day about which was asked already, nothing is said.
        let is_open = before_it > self.from && !answers.contains_key(&before_it);
        is_open.then_some(before_it)
    }
}

/// The steps of one part through all answers, in order.
fn steps<'a, S, T: 'a>(
    answers: &'a BTreeMap<Date, S>,
    part: impl Fn(&'a S) -> &'a Part<T>,
) -> impl DoubleEndedIterator<Item = Step<'a, T>> {
    let all = answers.iter().map(|(day, state)| (*day, part(state)));
    // Where nothing is said, nothing is known to have changed.
    let all: Vec<(Date, &Part<T>)> = all.filter(|(_, part)| part.value.is_some()).collect();
    let steps: Vec<Step<'a, T>> = (all.windows(2))
        .map(|pair| Step {
            from: pair[0].0,
            to: pair[1].0,
            before: pair[0].1,
            after: pair[1].1,
        })
        .collect();
    steps.into_iter()
}

/// The next day to ask about for the sake of one part: the latest, because what is near matters most. None: all is known.
pub fn ask<'a, S, T: PartialEq + 'a>(
    answers: &'a BTreeMap<Date, S>,
    part: impl Fn(&'a S) -> &'a Part<T>,
) -> Option<Date> {
    steps(answers, part).rev().find_map(|step| step.ask(answers))
}

/// What the answers say of one part. Complete if every day on which it changed is known.
pub fn rows<'a, S, T: Clone + PartialEq + 'a>(
    answers: &'a BTreeMap<Date, S>,
    part: impl Fn(&'a S) -> &'a Part<T> + Copy,
) -> Rows<T> {
    let said = answers
        .iter()
        .find_map(|(day, state)| Some((*day, part(state).value.clone()?)));
    let is_from_first_day = said.as_ref().map(|(day, _)| *day) == answers.keys().next().copied();
    let mut rows = Rows {
        complete: said.is_some() && is_from_first_day,
        known: said.into_iter().collect(),
    };
    for step in steps(answers, part) {
        rows.complete &= step.ask(answers).is_none();
        if step.is_change() {
            let began = step.began().unwrap_or(step.to);
            rows.known.extend(step.after.value.clone().map(|value| (began, value)));
        }
    }
    rows
}

fn day_after(day: Date) -> Date {
    day + TimeDelta::days(1)
}

#[cfg(test)]
mod tests {
    use domain::Dated;
    use proptest::prelude::*;

    use super::*;

    fn day(number: i64) -> Date {
        Date::from_ymd_opt(2024, 1, 1).expect("a day") + TimeDelta::days(number)
    }

    fn whole(part: &Part<u8>) -> &Part<u8> {
        part
    }

    /// What a source holds: values from their days on, and whether each says since when.
    type Held = BTreeMap<i64, (u8, bool)>;

    fn answer(held: &Held, on: Date) -> Part<u8> {
        let number = (on - day(0)).num_days();
        let (since, (value, is_dated)) = held.range(..=number).next_back().expect("the first day");
        Part {
            value: Some(*value),
            since: is_dated.then(|| day(*since)),
        }
    }

    /// Asks until all is known; answers how often.
    fn ask_all(held: &Held, last: i64, asked_max: usize) -> (BTreeMap<Date, Part<u8>>, usize) {
        let mut answers: BTreeMap<Date, Part<u8>> = [day(0), day(last)]
            .into_iter()
            .map(|on| (on, answer(held, on)))
            .collect();
        let mut asked = 2;
        while let Some(on) = ask(&answers, whole)
            && asked < asked_max
        {
            assert!(answers.insert(on, answer(held, on)).is_none(), "asked twice about {on}");
            asked += 1;
        }
        (answers, asked)
    }

    proptest! {
        #[test]
        fn what_says_since_when_it_holds_is_found_with_one_question_each(
            values in proptest::collection::btree_map(1..400_i64, 0..4_u8, 0..12),
            first in 0..4_u8,
        ) {
            let mut held: Held = values.into_iter().map(|(on, value)| (on, (value, true))).collect();
            held.insert(0, (first, true));
            let (answers, asked) = ask_all(&held, 400, usize::MAX);
            let rows = rows(&answers, whole);
            prop_assert!(rows.complete);
            prop_assert!(asked <= held.len() + 2, "{} asked for {}", asked, held.len());
            let believed: Dated<u8> = rows.known.into_iter().collect();
            for number in 0..=400 {
                prop_assert_eq!(believed.at(day(number)).copied(), answer(&held, day(number)).value, "day {}", number);
            }
        }

        #[test]
        fn what_does_not_say_is_found_by_halving(
            // Values that never come back, so that nothing hides between two equal answers.
            days in proptest::collection::btree_map(1..400_i64, any::<bool>(), 0..12),
        ) {
            let numbered = days.into_iter().zip(1..).map(|((on, is_dated), value)| (on, (value, is_dated)));
            let mut held: Held = numbered.collect();
            held.insert(0, (0, false));
            let (answers, asked) = ask_all(&held, 400, usize::MAX);
            let rows = rows(&answers, whole);
            prop_assert!(rows.complete);
            prop_assert!(asked <= 2 + 10 * held.len(), "{} asked", asked);
            let expected: Vec<(Date, u8)> = held.iter().map(|(on, (value, _))| (day(*on), *value)).collect();
            prop_assert_eq!(rows.known, expected);
        }

        #[test]
        fn what_is_not_asked_to_the_end_is_not_called_complete(asked_max in 2..8_usize) {
            let held: Held = (0..10).map(|number| (number * 37, (number as u8, false))).collect();
            let (answers, _) = ask_all(&held, 400, asked_max);
            let rows = rows(&answers, whole);
            prop_assert!(!rows.complete);
            // What is believed in is true on the days that were asked about.
            let believed: Dated<u8> = rows.known.into_iter().collect();
            for (on, part) in &answers {
                prop_assert_eq!(believed.at(*on), part.value.as_ref());
            }
        }
    }

    #[test]
    fn what_is_withheld_is_unsaid() {
        let withheld: BTreeMap<Date, Part<u8>> = [(day(0), Part::default()), (day(9), Part::default())].into();
        assert_eq!(ask(&withheld, whole), None);
        assert_eq!(rows(&withheld, whole), Rows::default());
        // Somebody who left holds no position: that is no change of position, and is not looked for.
        let said = |value, since| Part {
            value: Some(value),
            since: Some(day(since)),
        };
        let back_again: BTreeMap<Date, Part<u8>> =
            [(day(0), said(1, 0)), (day(5), Part::default()), (day(9), said(2, 6))].into();
        assert_eq!(ask(&back_again, whole), None);
        let expected = Rows::all(vec![(day(0), 1), (day(6), 2)]);
        assert_eq!(rows(&back_again, whole), expected);
    }
}
