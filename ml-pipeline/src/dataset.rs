//! Histories as rows to learn from: what was known at each cut-off, and what happened after it.

use chrono::{Datelike, Days, Months};
use domain::{Date, employee::Event, id::EmployeeId, program::Path};
use serde::{Deserialize, Serialize};

use crate::{
    features::{self, FEATURES, FeatureId, FeatureState, FeatureVector, Group, PayLevels, SpellEnd},
    table::Table,
};

/// The most rows; of a longer or larger history the earliest cut-offs are left out.
pub const ROWS_MAX: usize = 500_000;

/// An event and the day on which Tenure learnt of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub known_on: Date,
    pub event: Event,
}

/// One person's events in the order of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub employee: EmployeeId,
    pub events: Vec<Recorded>,
}

/// What is predicted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Target {
    /// Notice of leaving of one's own will.
    #[default]
    Notice,
    /// Moving up in a career program (or in any of several), for those who stay.
    Promotion { name: String, paths: Vec<Path> },
}

impl Target {
    /// Whether there is anything to predict about a person on a day.
    #[must_use]
    pub fn is_about(&self, state: &FeatureState, on: Date) -> bool {
        match self {
            Self::Notice => state.is_at_risk(on),
            Self::Promotion { paths, .. } => paths.iter().any(|path| state.is_candidate(on, path)),
        }
    }

    /// For each spell that somebody is in on a day, as was known `then`, how it ends, as is known `now`. Of an employment there
    /// is one at most; somebody may be a candidate of several paths.
    #[must_use]
    pub fn ends(&self, then: &FeatureState, now: &FeatureState, on: Date) -> Vec<SpellEnd> {
        match self {
            Self::Notice => {
                let at_risk = then.is_at_risk(on).then(|| now.end_after(on));
                at_risk.into_iter().collect()
            }
            Self::Promotion { paths, .. } => {
                let candidate = paths.iter().filter(|path| then.is_candidate(on, path));
                candidate.map(|path| now.promotion_after(on, path)).collect()
            }
        }
    }

    /// How the spell that somebody was scored in on a day ends; of several paths the first.
    #[must_use]
    pub fn end_after(&self, state: &FeatureState, on: Date) -> SpellEnd {
        match self {
            Self::Notice => state.end_after(on),
            Self::Promotion { paths, .. } => paths
                .first()
                .map_or(SpellEnd::Censored { on }, |path| state.promotion_after(on, path)),
        }
    }

    /// Whether it is about this career program, and nothing else.
    #[must_use]
    pub fn is_for(&self, program: &Path) -> bool {
        match self {
            Self::Notice => false,
            Self::Promotion { paths, .. } => paths.as_slice() == std::slice::from_ref(program),
        }
    }
}

/// One person at one cut-off.
#[derive(Debug, Clone)]
pub struct Row {
    pub employee: EmployeeId,
    pub cutoff: Date,
    /// The values of all [`crate::FEATURES`], as they were known at the cut-off.
    pub x: Vec<f64>,
    /// How the spell ended later, as far as is known now.
    pub end: SpellEnd,
}

/// A time after a cut-off in which what is predicted comes or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Up to and including the next cut-off: what models learn. Every event is in the window of one row.
    Month,
    /// So many days: what scores are about.
    Days(u16),
}

impl Window {
    /// The last day of the window that begins after the cut-off.
    #[must_use]
    pub fn end(self, cutoff: Date) -> Date {
        let end = match self {
            Self::Month => cutoff.checked_add_months(Months::new(1)),
            Self::Days(days) => cutoff.checked_add_days(Days::new(u64::from(days))),
        };
        end.unwrap_or(Date::MAX)
    }
}

/// Rows in order of cut-off, then of the histories.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    pub target: Target,
    pub rows: Vec<Row>,
    /// What jobs pay on the last day that the histories tell of: what a model that learns from these rows compares pay with.
    pub pay_levels: PayLevels,
    /// The last day that the histories tell of.
    pub known_until: Date,
}

impl Dataset {
    /// Rows about leaving, for every month and every person at risk in it. `known_until` is the last day that the histories tell of;
    /// `progress` is told how many histories are done.
    ///
    /// People whose record was erased, or who object to being scored now, are left out altogether.
    pub fn build(histories: &[History], known_until: Date, progress: &mut dyn FnMut(usize)) -> Self {
        Self::of(Target::Notice, histories, known_until, progress)
    }

    /// The same for any target.
    pub fn of(target: Target, histories: &[History], known_until: Date, progress: &mut dyn FnMut(usize)) -> Self {
        let cutoffs = cutoffs(histories, known_until);
        let mut rows = Vec::new();
        let mut now = Vec::new();
        for (done, history) in histories.iter().enumerate() {
            if done % 256 == 0 {
                progress(done);
            }
            now.extend(rows_of(&target, history, &cutoffs, known_until, &mut rows));
        }
        progress(histories.len());
        rows.sort_by_key(|(row, _)| row.cutoff); // stable: histories keep their order
        let rows = with_compa_ratios(rows);
        Self {
            target,
            rows,
            pay_levels: PayLevels::of(now),
            known_until,
        }
    }

    /// Whether what is predicted came in the window; nothing if that is not known (yet).
    #[must_use]
    pub fn outcome(&self, row: &Row, window: Window) -> Option<bool> {
        label_of(row.end, window.end(row.cutoff), self.known_until)
    }

    /// The rows whose outcome in the window is known.
    pub fn labelled(&self, window: Window) -> impl Iterator<Item = (&Row, bool)> {
        self.rows
            .iter()
            .filter_map(move |row| Some((row, self.outcome(row, window)?)))
    }

    /// What was known on `day`, as a data set of its own: rows before it, and of their outcomes only those whose window was
    /// over by then.
    #[must_use]
    pub fn before(&self, day: Date) -> Self {
        Self {
            target: self.target.clone(),
            rows: self.rows.iter().filter(|row| row.cutoff < day).cloned().collect(),
            pay_levels: self.pay_levels.clone(),
            known_until: self.known_until.min(day),
        }
    }

    /// The rows from `day` on.
    #[must_use]
    pub fn from(&self, day: Date) -> Self {
        Self {
            target: self.target.clone(),
            rows: self.rows.iter().filter(|row| row.cutoff >= day).cloned().collect(),
            pay_levels: self.pay_levels.clone(),
            known_until: self.known_until,
        }
    }

    /// The labelled rows as a table of all features, and their outcomes. What is in `exclusions` is missing throughout.
    #[must_use]
    pub fn table(&self, window: Window, exclusions: &[FeatureId]) -> (Table, Vec<bool>) {
        let mut table = Table {
            inputs: features::inputs(self.target == Target::Notice),
            columns: vec![Vec::with_capacity(self.rows.len()); FEATURES.len()],
        };
        let mut outcomes = Vec::with_capacity(self.rows.len());
        for (row, y) in self.labelled(window) {
            for (id, (column, value)) in FeatureId::all().zip(table.columns.iter_mut().zip(&row.x)) {
                column.push(if exclusions.contains(&id) { f64::NAN } else { *value });
            }
            outcomes.push(y);
        }
        (table, outcomes)
    }

    /// The cut-offs that have labelled rows, in order.
    #[must_use]
    pub fn labelled_cutoffs(&self, window: Window) -> Vec<Date> {
        let mut cutoffs: Vec<Date> = self.labelled(window).map(|(row, _)| row.cutoff).collect();
        cutoffs.dedup();
        cutoffs
    }

    /// How many people the labelled rows are about.
    #[must_use]
    pub fn people(&self, window: Window) -> usize {
        distinct(self.labelled(window).map(|(row, _)| row.employee))
    }

    /// To how many of them it came. One event makes several positive rows where windows overlap.
    #[must_use]
    pub fn cases(&self, window: Window) -> usize {
        distinct(self.labelled(window).filter(|(_, y)| *y).map(|(row, _)| row.employee))
    }
}

fn distinct(people: impl Iterator<Item = EmployeeId>) -> usize {
    people.collect::<std::collections::BTreeSet<_>>().len()
}

/// The first days of the months after the first known exit of anybody, up to `known_until`.
///
/// Whoever connects an HRIS tells of everybody who works there, back to their hire, but of former employees only as far as
/// the source remembers: in the months before, nobody can be seen to leave (left truncation), and to learn from them is to
/// learn that long-serving people never do. The first exit is the first sign that exits are told.
fn cutoffs(histories: &[History], known_until: Date) -> Vec<Date> {
    let first_known = histories
        .iter()
        .flat_map(|history| &history.events)
        .filter(|recorded| matches!(recorded.event, Event::Terminated(_)))
        .map(|recorded| recorded.known_on)
        .min();
    let first_of_month = first_known.and_then(|day| day.with_day(1));
    let months = std::iter::successors(first_of_month, |month| month.checked_add_months(Months::new(1)));
    let mut cutoffs: Vec<Date> = months
        .take_while(|cutoff| *cutoff <= known_until)
        .filter(|cutoff| Some(*cutoff) >= first_known)
        .collect();
    let kept = ROWS_MAX / histories.len().max(1);
    cutoffs.drain(..cutoffs.len().saturating_sub(kept));
    cutoffs
}

/// Adds a person's rows; answers what their pay is compared with on the last day, if they are scored then: those whose rows are
/// compared at a cut-off are the ones whose scores are.
fn rows_of(
    target: &Target,
    history: &History,
    cutoffs: &[Date],
    known_until: Date,
    rows: &mut Vec<(Row, Option<(Group, f64)>)>,
) -> Option<(Group, f64)> {
    let latest = fold(history, |_| true);
    if latest.is_erased() || latest.objects() {
        return None;
    }
    let outcome = fold(history, |recorded| recorded.known_on <= known_until);
    let mut replay = Replay::new(history);
    for &cutoff in cutoffs {
        let state = replay.known_on(cutoff);
        for end in target.ends(state, &outcome, cutoff) {
            let row = Row {
                employee: history.employee,
                cutoff,
                x: state.own_vector(cutoff).values,
                end,
            };
            rows.push((row, state.pay_in_group(cutoff)));
        }
    }
    let is_scored = target.is_about(&outcome, known_until);
    is_scored.then(|| outcome.pay_in_group(known_until)).flatten()
}

/// Rows in order of cut-off, each with its pay against that of the others at the same cut-off, as it was known then.
fn with_compa_ratios(mut rows: Vec<(Row, Option<(Group, f64)>)>) -> Vec<Row> {
    for of_day in rows.chunk_by_mut(|(one, _), (other, _)| one.cutoff == other.cutoff) {
        let levels = PayLevels::of(of_day.iter().filter_map(|(_, pay)| pay.clone()));
        for (row, pay) in of_day {
            let ratio = pay.as_ref().and_then(|(group, pay)| levels.ratio(group, *pay));
            let mut vector = FeatureVector {
                values: std::mem::take(&mut row.x),
            };
            vector.compare_pay(ratio);
            row.x = vector.values;
        }
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

fn fold(history: &History, take: impl Fn(&Recorded) -> bool) -> FeatureState {
    let mut state = FeatureState::default();
    for recorded in history.events.iter().filter(|recorded| take(recorded)) {
        state.apply(&recorded.event);
    }
    state
}

/// States as they were known on one day after another.
struct Replay<'a> {
    history: &'a History,
    /// Whether the log order is the order of learning, so that each state is the last one and a few events more.
    in_order: bool,
    taken: usize,
    state: FeatureState,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History) -> Self {
        let in_order = history.events.is_sorted_by_key(|recorded| recorded.known_on);
        Self {
            history,
            in_order,
            taken: 0,
            state: FeatureState::default(),
        }
    }

    fn known_on(&mut self, day: Date) -> &FeatureState {
        if self.in_order {
            while let Some(recorded) = self
                .history
                .events
                .get(self.taken)
                .filter(|recorded| recorded.known_on <= day)
            {
                self.state.apply(&recorded.event);
                self.taken += 1;
            }
        } else {
            self.state = fold(self.history, |recorded| recorded.known_on <= day);
        }
        &self.state
    }
}

/// Whether the event came by the end of a window. Unknown while the window is open, for positives as for negatives, or only they
/// would be counted; unknown too for those whose spell ended otherwise before. The one rule for what a model learns from and
/// what its scores in use are held against.
pub(crate) fn label_of(next_end: SpellEnd, window_end: Date, known_until: Date) -> Option<bool> {
    if window_end > known_until {
        return None;
    }
    match next_end {
        SpellEnd::Event { on } if on <= window_end => Some(true),
        SpellEnd::Censored { on } if on <= window_end => None,
        SpellEnd::Open | SpellEnd::Event { .. } | SpellEnd::Censored { .. } => Some(false),
    }
}

#[cfg(test)]
mod tests;
