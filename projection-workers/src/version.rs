//! Bitemporal versions of one person: pure.
//!
//! A fact says that an attribute has a value from a day on; it holds until the next fact about the same attribute. Facts
//! arrive in any order of their days. What is believed now is a run of versions without gaps or overlaps; a fact splits and
//! changes some of them, which ends the belief in the old ones at the moment when it was recorded.

use domain::{Date, Timestamp, employee::Voluntariness};
use infra::read_model::{FOR_EVER, STILL_BELIEVED, version::VersionRow};
use uuid::Uuid;

/// What a fact can be about. The bits are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    Standing(Standing),
    Job(domain::employee::Job),
    Manager(Option<Uuid>),
    Hours(i32),
    Leaving(Leaving),
    ObjectsToScoring(bool),
}

/// What is said of an end, before it (a notice that was not withdrawn) and after it. Nothing: nobody leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaving {
    pub notice_on: Option<Date>,
    /// The last day that the notice names.
    pub last_day: Option<Date>,
    pub voluntariness: Option<Voluntariness>,
}

impl Attribute {
    const fn bit(&self) -> i32 {
        match self {
            Self::Standing(_) => 1,
            Self::Job(_) => 2,
            Self::Manager(_) => 4,
            Self::Hours(_) => 8,
            Self::Leaving(_) => 16,
            Self::ObjectsToScoring(_) => 32,
        }
    }

    fn set(&self, row: &mut VersionRow) {
        match self {
            Self::Standing(standing) => standing.name().clone_into(&mut row.standing),
            Self::Job(job) => {
                row.job_title.clone_from(&job.title);
                row.department.clone_from(&job.department);
                row.division.clone_from(&job.division);
                row.location.clone_from(&job.location);
            }
            Self::Manager(manager) => row.manager = *manager,
            Self::Hours(minutes) => row.weekly_minutes = Some(*minutes),
            Self::Leaving(leaving) => {
                row.notice_on = leaving.notice_on;
                row.last_day = leaving.last_day;
                row.voluntariness = leaving.voluntariness.map(|who| who.name().to_owned());
            }
            Self::ObjectsToScoring(objects) => row.objects_to_scoring = *objects,
        }
    }
}

/// Where someone stands, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of that day yet.
    Unknown,
    Working,
    OnLeave,
    Ended,
    Deleted,
    /// Nothing more is known, and nothing of the person is told, from the erasure on.
    Erased,
}

impl Standing {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Working => "WORKING",
            Self::OnLeave => "ON_LEAVE",
            Self::Ended => "ENDED",
            Self::Deleted => "DELETED",
            Self::Erased => "ERASED",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Self {
        [Self::Working, Self::OnLeave, Self::Ended, Self::Deleted, Self::Erased]
            .into_iter()
            .find(|standing| standing.name() == name)
            .unwrap_or(Self::Unknown)
    }
}

/// A row and whether the database has it.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    row: VersionRow,
    stored: bool,
}

/// The versions of one person, and how they changed.
#[derive(Debug, Default)]
pub struct Versions {
    /// Believed now, by effective date.
    believed: Vec<Held>,
    /// Stored rows that are believed no longer.
    closed: Vec<VersionRow>,
    /// Rows that were believed for a while within this batch.
    passed: Vec<VersionRow>,
}

impl Versions {
    /// The versions that the database believes in.
    #[must_use]
    pub fn stored(rows: Vec<VersionRow>) -> Self {
        let mut believed: Vec<Held> = rows.into_iter().map(|row| Held { row, stored: true }).collect();
        believed.sort_by_key(|held| held.row.effective_from);
        Self {
            believed,
            ..Self::default()
        }
    }

    /// The version in force on `day`.
    #[must_use]
    pub fn on(&self, day: Date) -> Option<&VersionRow> {
        self.believed
            .iter()
            .map(|held| &held.row)
            .find(|row| row.effective_from <= day && day < row.effective_to)
    }

    /// The next day after `day` on which something changes.
    #[must_use]
    pub fn next_change(&self, day: Date) -> Option<Date> {
        self.believed
            .iter()
            .map(|held| held.row.effective_from)
            .filter(|from| *from > day)
            .min()
    }

    /// The next day after `day` on which the employment ends, as far as that is known.
    #[must_use]
    pub fn next_end(&self, day: Date) -> Option<Date> {
        let ends = self.believed.iter().map(|held| &held.row);
        ends.filter(|row| row.effective_from > day && row.standing == Standing::Ended.name())
            .map(|row| row.effective_from)
            .min()
    }

    /// The first day of the run of versions, up to `day`, in which `holds` holds without a break.
    #[must_use]
    pub fn since(&self, day: Date, holds: impl Fn(&VersionRow) -> bool) -> Option<Date> {
        let until = self
            .believed
            .iter()
            .map(|held| &held.row)
            .take_while(|row| row.effective_from <= day);
        until.fold(None, |since, row| {
            if holds(row) {
                since.or(Some(row.effective_from))
            } else {
                None
            }
        })
    }

    /// Takes facts that are true from `on`, recorded at `recorded_at` as the event at `position`.
    pub fn take(&mut self, who: (Uuid, Uuid), on: Date, facts: &[Attribute], recorded_at: Timestamp, position: i64) {
        let before = std::mem::take(&mut self.believed);
        let mut rows: Vec<VersionRow> = before.iter().map(|held| held.row.clone()).collect();
        split(&mut rows, who, on);
        for fact in facts {
            let mut first = true;
            for row in rows.iter_mut().filter(|row| row.effective_from >= on) {
                let is_final = matches!(fact, Attribute::Standing(Standing::Erased));
                if !first && row.asserted & fact.bit() != 0 && !is_final {
                    break; // the next fact about the same attribute takes over
                }
                fact.set(row);
                if first {
                    row.asserted |= fact.bit();
                }
                first = false;
            }
        }
        // What is as it was keeps its row; the rest is believed from now on.
        let mut kept = vec![false; before.len()];
        for row in rows {
            match before.iter().position(|held| held.row == row) {
                Some(index) => {
                    kept[index] = true;
                    self.believed.push(before[index].clone());
                }
                None => self.believed.push(Held {
                    row: VersionRow {
                        recorded_from: recorded_at,
                        recorded_to: STILL_BELIEVED,
                        position,
                        ..row
                    },
                    stored: false,
                }),
            }
        }
        for (held, kept) in before.into_iter().zip(kept) {
            if kept {
                continue;
            }
            let ended = VersionRow {
                recorded_to: recorded_at,
                ..held.row
            };
            if held.stored {
                self.closed.push(ended);
            } else if ended.recorded_from < ended.recorded_to {
                self.passed.push(ended);
            } // else: nobody can have seen it
        }
    }

    /// Stored rows to end, and rows to add.
    #[must_use]
    pub fn changes(self) -> (Vec<VersionRow>, Vec<VersionRow>) {
        let new = self
            .believed
            .into_iter()
            .filter(|held| !held.stored)
            .map(|held| held.row);
        (self.closed, self.passed.into_iter().chain(new).collect())
    }
}

/// Makes `on` the beginning of a version.
fn split(rows: &mut Vec<VersionRow>, who: (Uuid, Uuid), on: Date) {
    let blank = |from: Date, to: Date| VersionRow {
        tenant: who.0,
        employee: who.1,
        effective_from: from,
        effective_to: to,
        recorded_from: Timestamp::UNIX_EPOCH,
        recorded_to: STILL_BELIEVED,
        asserted: 0,
        standing: Standing::Unknown.name().to_owned(),
        job_title: None,
        department: None,
        division: None,
        location: None,
        manager: None,
        weekly_minutes: None,
        notice_on: None,
        last_day: None,
        voluntariness: None,
        objects_to_scoring: false,
        position: 0,
    };
    match rows.iter().position(|row| on < row.effective_to) {
        None => rows.push(blank(on, FOR_EVER)),
        Some(index) if rows[index].effective_from == on => {}
        Some(0) if on < rows[0].effective_from => {
            let until = rows[0].effective_from;
            rows.insert(0, blank(on, until));
        }
        Some(index) => {
            let after = VersionRow {
                effective_from: on,
                asserted: 0,
                ..rows[index].clone()
            };
            rows[index].effective_to = on;
            rows.insert(index + 1, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(offset: u64) -> Date {
        Date::from_ymd_opt(2024, 1, 1).expect("a day") + chrono::Days::new(offset)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).expect("a moment")
    }

    fn who() -> (Uuid, Uuid) {
        (Uuid::from_u128(1), Uuid::from_u128(2))
    }

    #[derive(Debug, Clone)]
    struct Fact {
        on: u64,
        recorded: i64,
        what: Attribute,
    }

    fn facts() -> impl Strategy<Value = Vec<Fact>> {
        let what = prop_oneof![
            prop_oneof![Just(Standing::Working), Just(Standing::OnLeave), Just(Standing::Ended)]
                .prop_map(Attribute::Standing),
            (0_u128..3).prop_map(|m| Attribute::Manager(Some(Uuid::from_u128(m)))),
            (0..3_i32).prop_map(Attribute::Hours),
            proptest::option::of(0_u64..12).prop_map(|on| {
                Attribute::Leaving(Leaving {
                    notice_on: on.map(day),
                    last_day: on.map(|on| day(on + 30)),
                    voluntariness: on.map(|_| Voluntariness::Voluntary),
                })
            }),
            any::<bool>().prop_map(Attribute::ObjectsToScoring),
        ];
        proptest::collection::vec((0_u64..12, 0_i64..3, what), 1..14).prop_map(|facts| {
            let mut recorded = 0;
            facts
                .into_iter()
                .map(|(on, step, what)| {
                    recorded += step;
                    Fact { on, recorded, what }
                })
                .collect()
        })
    }

    /// All rows that a database would hold, batch by batch.
    fn stored(facts: &[Fact], batch: usize) -> Vec<VersionRow> {
        let mut table: Vec<VersionRow> = Vec::new();
        for (number, batch_facts) in facts.chunks(batch).enumerate() {
            let mut versions = Versions::stored(table.iter().filter(|row| row.is_believed()).cloned().collect());
            for (index, fact) in batch_facts.iter().enumerate() {
                versions.take(
                    who(),
                    day(fact.on),
                    std::slice::from_ref(&fact.what),
                    at(fact.recorded),
                    (number * batch + index + 1) as i64,
                );
            }
            let (closed, added) = versions.changes();
            for ended in closed {
                let row = table
                    .iter_mut()
                    .find(|row| {
                        row.effective_from == ended.effective_from
                            && row.recorded_from == ended.recorded_from
                            && row.is_believed()
                    })
                    .expect("a stored row");
                row.recorded_to = ended.recorded_to;
            }
            table.retain(|row| row.recorded_from < row.recorded_to);
            table.extend(added);
        }
        table.sort_by_key(|row| (row.effective_from, row.recorded_from));
        table
    }

    /// What the facts that qualify say, by a naive fold.
    fn naive(
        facts: &[Fact],
        as_of: u64,
        known_at: i64,
    ) -> (Option<String>, Option<Uuid>, Option<i32>, Option<Date>, bool) {
        let mut qualifying: Vec<(usize, &Fact)> = facts
            .iter()
            .enumerate()
            .filter(|(_, fact)| fact.on <= as_of && fact.recorded <= known_at)
            .collect();
        qualifying.sort_by_key(|(index, fact)| (fact.on, *index));
        let mut answer = (None, None, None, None, false);
        for (_, fact) in qualifying {
            match &fact.what {
                Attribute::Standing(standing) => answer.0 = Some(standing.name().to_owned()),
                Attribute::Manager(manager) => answer.1 = *manager,
                Attribute::Hours(minutes) => answer.2 = Some(*minutes),
                Attribute::Leaving(leaving) => answer.3 = leaving.last_day,
                Attribute::ObjectsToScoring(objects) => answer.4 = *objects,
                Attribute::Job(_) => {}
            }
        }
        answer
    }

    proptest! {
        /// Every answer about every day, as known at every moment, equals a naive fold of the events that qualify.
        #[test]
        fn the_table_answers_as_a_naive_fold(facts in facts(), batch in 1_usize..5) {
            let table = stored(&facts, batch);
            for as_of in 0..13 {
                for known_at in 0..40 {
                    let found: Vec<&VersionRow> = table.iter().filter(|row| {
                        row.effective_from <= day(as_of) && day(as_of) < row.effective_to && row.recorded_from <= at(known_at) && at(known_at) < row.recorded_to
                    }).collect();
                    prop_assert!(found.len() <= 1, "versions overlap");
                    let expected = naive(&facts, as_of, known_at);
                    let answer = found.first().map_or((None, None, None, None, false), |row| {
                        let standing = Some(row.standing.clone()).filter(|standing| standing != Standing::Unknown.name());
                        (standing, row.manager, row.weekly_minutes, row.last_day, row.objects_to_scoring)
                    });
                    prop_assert_eq!(answer, expected, "as of {}, known at {}", as_of, known_at);
                }
            }
        }

        /// How the events were batched leaves no trace: a rebuild gives the same rows.
        #[test]
        fn batches_leave_no_trace(facts in facts(), batch in 1_usize..6) {
            prop_assert_eq!(stored(&facts, batch), stored(&facts, facts.len()));
        }
    }
}
