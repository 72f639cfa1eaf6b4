//! The witness: what was asked of the product and what it answered, kept by a process that is never killed.
//!
//! Every attempt carries a value that occurs once. Afterwards set arithmetic says what became of it: what was acknowledged
//! is there exactly once, what was left open at most once, what was refused never. (After Jepsen's set checkers.)

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx: acknowledged.
    Ok,
    /// A definite refusal.
    Fail,
    /// A timeout, a broken connection, a 5xx, or no answer yet: nobody knows.
    Info,
}

impl Outcome {
    /// What a status means; none is a connection that broke.
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Ok,
            Some(400..=499) => Self::Fail,
            _ => Self::Info,
        }
    }
}

/// Shared by all writers.
#[derive(Default)]
pub struct Journal(Mutex<BTreeMap<String, Outcome>>);

impl Journal {
    /// Before anything is sent.
    pub fn invoke(&self, value: &str) {
        let before = self.lock().insert(value.to_owned(), Outcome::Info);
        assert_eq!(before, None, "{value} is used twice");
    }

    /// After each answer. What was acknowledged once stays so, whatever a later try says.
    pub fn complete(&self, value: &str, outcome: Outcome) {
        let mut entries = self.lock();
        let entry = entries.get_mut(value).expect("an attempt that was invoked");
        if *entry == Outcome::Info {
            *entry = outcome;
        }
    }

    /// Compares with what is there in the end.
    pub fn judge<'a>(&self, seen: impl IntoIterator<Item = &'a str>) -> Verdict {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for value in seen {
            *counts.entry(value).or_default() += 1;
        }
        let mut verdict = Verdict::default();
        let entries = self.lock();
        for (value, outcome) in entries.iter() {
            let count = counts.remove(value.as_str()).unwrap_or(0);
            verdict.attempted += 1;
            match outcome {
                Outcome::Ok => verdict.acknowledged += 1,
                Outcome::Fail => verdict.refused += 1,
                Outcome::Info => verdict.unknown += 1,
            }
            match (outcome, count) {
                (Outcome::Ok, 0) => verdict.lost.push(value.clone()),
                (Outcome::Fail, 1..) => verdict.unexpected.push(value.clone()),
                (_, 2..) => verdict.duplicated.push(value.clone()),
                (Outcome::Info, 1) => verdict.recovered += 1,
                (Outcome::Ok, 1) | (Outcome::Fail | Outcome::Info, 0) => {}
            }
        }
        verdict.unexpected.extend(counts.into_keys().map(str::to_owned));
        verdict
    }

    /// Whether this value was attempted.
    pub fn knows(&self, value: &str) -> bool {
        self.lock().contains_key(value)
    }

    pub fn acknowledged(&self) -> usize {
        self.lock().values().filter(|outcome| **outcome == Outcome::Ok).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts, and the values that should not be as they are.
#[derive(Debug, Default)]
pub struct Verdict {
    pub attempted: usize,
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Of the unknown: are there after all.
    pub recovered: usize,
    /// Acknowledged, and not there.
    pub lost: Vec<String>,
    /// There more than once.
    pub duplicated: Vec<String>,
    /// There, though refused or never attempted.
    pub unexpected: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.unexpected.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} attempted, {} acknowledged, {} refused, {} unknown ({} of them recorded); {} lost, {} duplicated, {} unexpected",
            self.attempted,
            self.acknowledged,
            self.refused,
            self.unknown,
            self.recovered,
            self.lost.len(),
            self.duplicated.len(),
            self.unexpected.len(),
        )
    }
}

fn journal(entries: &[(&str, Outcome)]) -> Journal {
    let journal = Journal::default();
    for (value, outcome) in entries {
        journal.invoke(value);
        journal.complete(value, *outcome);
    }
    journal
}

#[test]
fn the_witness_finds_what_is_lost_doubled_or_invented() {
    let witness = journal(&[("a", Outcome::Ok), ("b", Outcome::Info), ("c", Outcome::Fail)]);
    assert!(witness.judge(["a"]).is_clean() && witness.judge(["a", "b"]).is_clean());
    assert_eq!(witness.judge(["a", "b"]).recovered, 1);
    assert_eq!(witness.judge(["b"]).lost, ["a"]);
    assert_eq!(witness.judge(["a", "a"]).duplicated, ["a"]);
    assert_eq!(witness.judge(["a", "b", "b"]).duplicated, ["b"]);
    assert_eq!(witness.judge(["a", "c"]).unexpected, ["c"]);
    assert_eq!(witness.judge(["a", "d"]).unexpected, ["d"]);
}

#[test]
fn what_was_acknowledged_once_stays_acknowledged() {
    let witness = journal(&[("a", Outcome::Info)]);
    for (status, then) in [
        (None, Outcome::Info),
        (Some(202), Outcome::Ok),
        (Some(503), Outcome::Ok),
    ] {
        witness.complete("a", Outcome::of(status));
        assert_eq!(witness.lock()["a"], then);
    }
    assert_eq!(witness.acknowledged(), 1);
}
