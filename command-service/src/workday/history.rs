//! Finds out since when what holds, from a source that only says what holds on a day.
//!
//! Workday gives no history of a worker: it answers what is true as of a day. Between two days on which a part of the answer differs, something
//! began. The later answer mostly says when (a position has its effective date, pay has its own); what has no such date is looked for
//! by halving the days between. What began and ended again between two equal answers is not seen.

use std::collections::{BTreeMap, BTreeSet};

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

/// A day on which something is said, and what was known before it.
struct Step<'a, T> {
    /// The day that was asked about before; nothing may have been said of it.
    from: Date,
    to: Date,
    /// The last that was said before.
    before: Option<&'a Part<T>>,
    after: &'a Part<T>,
}

impl<T: PartialEq> Step<'_, T> {
    fn is_change(&self) -> bool {
        self.before.is_none_or(|before| before.value != self.after.value)
    }

    /// The day on which the later value began, if the answer says one between the two.
    fn told(&self) -> Option<Date> {
        self.after.since.filter(|since| self.from < *since && *since <= self.to)
    }

    /// The day on which the later value began, if that is certain.
    fn began(&self) -> Option<Date> {
        self.told().or((self.from + DAY == self.to).then_some(self.to))
    }

    /// The next day to ask about: none if everything between is known. `hints` are days on which something else began: what has no day of
    /// its own mostly began with it.
    fn ask(&self, hints: &BTreeSet<Date>) -> Option<Date> {
        // Nothing between was asked about.
        let is_open = |day: &Date| self.from < *day && *day < self.to;
        if let Some(began) = self.told() {
            // The same value that began anew had another before it.
            let is_news = self.is_change() || self.before.is_none_or(|before| before.since != self.after.since);
            return is_news.then_some(began - DAY).filter(is_open);
        }
        if !self.is_change() {
            return None;
        }
        let hinted = hints
            .range(self.from + DAY..=self.to)
            .rev()
            .flat_map(|hint| [*hint, *hint - DAY]);
        let middle = self.from + TimeDelta::days((self.to - self.from).num_days() / 2);
        hinted.chain([middle]).find(is_open)
    }
}

const DAY: TimeDelta = TimeDelta::days(1);

/// The steps of one part through all answers, in order. The first is that from which on anything is said.
fn steps<'a, S, T: 'a>(
    answers: &'a BTreeMap<Date, S>,
    part: impl Fn(&'a S) -> &'a Part<T>,
) -> impl DoubleEndedIterator<Item = Step<'a, T>> {
    let (mut steps, mut asked, mut said) = (Vec::new(), None, None);
    for (day, state) in answers {
        let after = part(state);
        if after.value.is_some() {
            if let Some(from) = asked {
                let (to, before) = (*day, said);
                steps.push(Step {
                    from,
                    to,
                    before,
                    after,
                });
            }
            said = Some(after);
        }
        asked = Some(*day);
    }
    steps.into_iter()
}

/// The next day to ask about for the sake of one part: the latest, because what is near matters most. None: all is known.
pub fn ask<'a, S, T: PartialEq + 'a>(
    answers: &'a BTreeMap<Date, S>,
    hints: &BTreeSet<Date>,
    part: impl Fn(&'a S) -> &'a Part<T>,
) -> Option<Date> {
    steps(answers, part).rev().find_map(|step| step.ask(hints))
}

/// What the answers say of one part. Complete if every day on which it changed is known.
pub fn rows<'a, S, T: Clone + PartialEq + 'a>(
    answers: &'a BTreeMap<Date, S>,
    part: impl Fn(&'a S) -> &'a Part<T> + Copy,
) -> Rows<T> {
    // What is said of the first day began on it, or before.
    let first = answers
        .first_key_value()
        .and_then(|(day, state)| Some((*day, part(state).value.clone()?)));
    let mut rows = Rows {
        complete: answers.values().any(|state| part(state).value.is_some()),
        known: first.into_iter().collect(),
    };
    for step in steps(answers, part) {
        rows.complete &= step.ask(&BTreeSet::new()).is_none();
        if step.is_change() {
            let began = step.began().unwrap_or(step.to);
            rows.known.extend(step.after.value.clone().map(|value| (began, value)));
        }
    }
    rows
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

    /// What a source holds: from each day on a value, or nothing; and whether it says since when.
    type Held = BTreeMap<i64, (Option<u8>, bool)>;

    fn answer(held: &Held, on: Date) -> Part<u8> {
        let number = (on - day(0)).num_days();
        let mut until_then = held.range(..=number);
        let Some((_, (Some(value), _))) = until_then.next_back() else {
            return Part::default();
        };
        // The day stays what it was while nothing with a day of its own begins.
        let dated = held.range(..=number).rev().find(|(_, (_, is_dated))| *is_dated);
        Part {
            value: Some(*value),
            since: dated.map(|(since, _)| day(*since)),
        }
    }

    /// Asks until all is known; answers how often.
    fn ask_all(held: &Held, last: i64, asked_max: usize) -> (BTreeMap<Date, Part<u8>>, usize) {
        let mut answers: BTreeMap<Date, Part<u8>> = [day(0), day(last)]
            .into_iter()
            .map(|on| (on, answer(held, on)))
            .collect();
        let mut asked = 2;
        while asked < asked_max {
            let hints: BTreeSet<Date> = answers.values().filter_map(|part| part.since).collect();
            let Some(on) = ask(&answers, &hints, whole) else { break };
            assert!(answers.insert(on, answer(held, on)).is_none(), "asked twice about {on}");
            asked += 1;
        }
        (answers, asked)
    }

    /// That what is believed is what is held, on every day of which anything is said.
    fn agree(held: &Held, rows: &Rows<u8>, last: i64) -> Result<(), TestCaseError> {
        let believed: Dated<u8> = rows.known.iter().copied().collect();
        for number in 0..=last {
            if let Some(value) = answer(held, day(number)).value {
                prop_assert_eq!(believed.at(day(number)).copied(), Some(value), "day {}", number);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_says_since_when_it_holds_is_found_with_one_question_each(
            values in proptest::collection::btree_map(1..400_i64, 0..4_u8, 0..12),
            first in 0..4_u8,
        ) {
            let mut held: Held = values.into_iter().map(|(on, value)| (on, (Some(value), true))).collect();
            held.insert(0, (Some(first), true));
            let (answers, asked) = ask_all(&held, 400, usize::MAX);
            let rows = rows(&answers, whole);
            prop_assert!(rows.complete);
            prop_assert!(asked <= held.len() + 2, "{} asked for {}", asked, held.len());
            agree(&held, &rows, 400)?;
        }

        #[test]
        fn what_does_not_say_is_found_by_halving_also_around_times_of_which_nothing_is_said(
            // Values that never come back, so that nothing hides between two equal answers.
            days in proptest::collection::btree_map(1..400_i64, proptest::bool::weighted(0.8), 0..10),
            is_said_at_first in any::<bool>(),
        ) {
            let numbered = days.into_iter().zip(1..).map(|((on, is_said), value)| (on, (is_said.then_some(value), false)));
            let mut held: Held = numbered.collect();
            held.insert(0, (is_said_at_first.then_some(0), false));
            let (answers, asked) = ask_all(&held, 400, usize::MAX);
            let rows = rows(&answers, whole);
            let is_said = answers.values().any(|part| part.value.is_some());
            prop_assert_eq!(rows.complete, is_said);
            prop_assert!(asked <= 2 + 10 * held.len(), "{} asked", asked);
            if is_said {
                // What was said only between two days of which nothing is said may not have been seen.
                let seen: Vec<u8> = rows.known.iter().map(|(_, value)| *value).collect();
                let believed: Dated<u8> = rows.known.iter().copied().collect();
                for (on, value) in &rows.known {
                    prop_assert_eq!(answer(&held, *on).value, Some(*value));
                    let before = answer(&held, *on - DAY);
                    prop_assert!(*on == day(0) || before.value != Some(*value));
                }
                for number in 0..=400 {
                    let held = answer(&held, day(number)).value.filter(|value| seen.contains(value));
                    prop_assert!(held.is_none() || held == believed.at(day(number)).copied(), "day {}", number);
                }
            }
        }

        #[test]
        fn what_is_not_asked_to_the_end_is_not_called_complete(asked_max in 2..8_usize) {
            let held: Held = (0..10).map(|number| (number * 37, (Some(number as u8), false))).collect();
            let (answers, _) = ask_all(&held, 400, asked_max);
            let rows = rows(&answers, whole);
            prop_assert!(!rows.complete);
            // What is believed in is true on the days that were asked about.
            let believed: Dated<u8> = rows.known.into_iter().collect();
            for (on, part) in &answers {
                prop_assert_eq!(believed.at(*on).copied(), part.value);
            }
        }
    }

    #[test]
    fn what_is_withheld_is_unsaid() {
        let withheld: BTreeMap<Date, Part<u8>> = [(day(0), Part::default()), (day(9), Part::default())].into();
        assert_eq!(ask(&withheld, &BTreeSet::new(), whole), None);
        assert_eq!(rows(&withheld, whole), Rows::default());
        // Somebody who left holds no position: that is no change of position. Back in the same one, nothing is looked for.
        let said = |value, since| Part {
            value: Some(value),
            since: Some(day(since)),
        };
        let gap = |after| BTreeMap::from([(day(0), said(1, 0)), (day(5), Part::default()), (day(9), after)]);
        assert_eq!(ask(&gap(said(1, 0)), &BTreeSet::new(), whole), None);
        assert_eq!(rows(&gap(said(1, 0)), whole), Rows::all(vec![(day(0), 1)]));
        assert_eq!(ask(&gap(said(2, 6)), &BTreeSet::new(), whole), None);
        assert_eq!(rows(&gap(said(2, 6)), whole), Rows::all(vec![(day(0), 1), (day(6), 2)]));
        // What was entered only later begins when it does, not today.
        let later = BTreeMap::from([(day(0), Part::default()), (day(9), said(2, 4))]);
        assert_eq!(ask(&later, &BTreeSet::new(), whole), Some(day(3)));
        // A hint is asked about before anything else: the day itself, and the day before.
        let undated = |value| Part {
            value: Some(value),
            since: None,
        };
        let moved = BTreeMap::from([(day(0), undated(1)), (day(9), undated(2))]);
        assert_eq!(ask(&moved, &[day(7)].into(), whole), Some(day(7)));
        assert_eq!(ask(&moved, &[day(9)].into(), whole), Some(day(8)));
        assert_eq!(ask(&moved, &BTreeSet::new(), whole), Some(day(4)));
    }
}
