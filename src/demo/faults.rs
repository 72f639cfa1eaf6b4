//! What can go wrong at the vendor, switched on and off while the server runs, and what it was asked.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Different paths that are counted apart; the rest is counted together.
const COUNTED_PATHS_MAX: usize = 100_000;
/// Under this name.
const OTHER_PATHS: &str = "(other)";

/// How a rate of pay is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateShape {
    /// `{"value":"55000.00","currency":"USD"}`, as the single-employee endpoints do.
    Object,
    /// `"55000.00 USD"`, as `changed/tables` does.
    Text,
}

impl RateShape {
    /// Writes a rate.
    pub fn render(self, amount: &str, currency: &str) -> Value {
        match self {
            Self::Object => json!({ "value": amount, "currency": currency }),
            Self::Text => Value::String(format!("{amount} {currency}")),
        }
    }
}

/// A shared handle; clones change the same plan.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    limited: Option<Limited>,
    slow: Duration,
    hidden: BTreeSet<String>,
    rate_shape: Option<RateShape>,
    requests: BTreeMap<String, u64>,
    writes: Option<(Write, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Limited {
    status: u16,
    requests_left: u32,
    retry_after_seconds: u32,
}

/// What becomes of something that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is done, and answered so.
    Done,
    /// It is done, and the answer is lost on the way: a gateway says 504.
    Unanswered,
    /// It is answered as done, and not done.
    Swallowed,
    /// It is refused with a status and words.
    Refused(u16, &'static str),
}

/// What to do with one request before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) delay: Duration,
    /// Status and `Retry-After` to refuse with.
    pub(super) refusal: Option<(u16, Option<u32>)>,
}

impl FaultPlan {
    /// Answers 503 without `Retry-After` until told otherwise.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Answers the next `requests` with 429 and `Retry-After`.
    pub fn rate_limit(&self, requests: u32, retry_after_seconds: u32) {
        self.lock().limited = Some(Limited {
            status: 429,
            requests_left: requests,
            retry_after_seconds,
        });
    }

    /// Answers the next `requests` with 503 and `Retry-After`.
    pub fn unavailable(&self, requests: u32, retry_after_seconds: u32) {
        self.lock().limited = Some(Limited {
            status: 503,
            requests_left: requests,
            retry_after_seconds,
        });
    }

    /// Waits before every answer.
    pub fn set_slow(&self, delay: Duration) {
        self.lock().slow = delay;
    }

    /// Takes away the right to see these fields (BambooHR's, by alias) or elements (Workday's, by name); they are left out without a word.
    pub fn hide_fields<I: IntoIterator<Item = S>, S: Into<String>>(&self, aliases: I) {
        self.lock().hidden = aliases.into_iter().map(Into::into).collect();
    }

    /// Lets this become of the next `count` writes.
    pub fn set_writes(&self, write: Write, count: u32) {
        self.lock().writes = Some((write, count));
    }

    pub(super) fn write(&self) -> Write {
        let mut state = self.lock();
        match &mut state.writes {
            Some((write, left)) if *left > 0 => {
                *left -= 1;
                *write
            }
            Some(_) | None => Write::Done,
        }
    }

    /// Writes rates in this shape everywhere; none for each endpoint's own.
    pub fn set_rate_shape(&self, shape: Option<RateShape>) {
        self.lock().rate_shape = shape;
    }

    /// Ends every fault; the counters stay.
    pub fn clear(&self) {
        let mut state = self.lock();
        let requests = std::mem::take(&mut state.requests);
        *state = State {
            requests,
            ..State::default()
        };
    }

    /// How often a method and path were asked, such as `GET employees/101`: without base, version and query.
    pub fn requests(&self, method_and_path: &str) -> u64 {
        self.lock().requests.get(method_and_path).copied().unwrap_or(0)
    }

    /// How often anything was asked whose method and path begin so.
    pub fn requests_beginning(&self, prefix: &str) -> u64 {
        self.lock()
            .requests
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, count)| count)
            .sum()
    }

    /// All counters.
    pub fn request_counts(&self) -> BTreeMap<String, u64> {
        self.lock().requests.clone()
    }

    /// Starts counting anew.
    pub fn reset_counts(&self) {
        self.lock().requests.clear();
    }

    pub(super) fn hidden(&self) -> BTreeSet<String> {
        self.lock().hidden.clone()
    }

    pub(super) fn rate_shape_or(&self, usual: RateShape) -> RateShape {
        self.lock().rate_shape.unwrap_or(usual)
    }

    /// Counts a request and says what shall become of it.
    pub(super) fn judge(&self, method_and_path: String) -> Verdict {
        let mut state = self.lock();
        let full = state.requests.len() >= COUNTED_PATHS_MAX && !state.requests.contains_key(&method_and_path);
        let counted = if full { OTHER_PATHS.to_owned() } else { method_and_path };
        *state.requests.entry(counted).or_insert(0) += 1;
        let delay = state.slow;
        if state.down {
            return Verdict {
                delay,
                refusal: Some((503, None)),
            };
        }
        let refusal = state
            .limited
            .as_mut()
            .filter(|limited| limited.requests_left > 0)
            .map(|limited| {
                limited.requests_left -= 1;
                (limited.status, Some(limited.retry_after_seconds))
            });
        Verdict { delay, refusal }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
