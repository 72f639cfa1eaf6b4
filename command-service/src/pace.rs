//! How fast a source is asked, and when it is left alone.
//!
//! All requests to one connection pass its [`Pace`], whoever sends them:
//!
//! - Sources do not publish how much they bear, so it is found out: when one says "too many requests", the pace falls to half of
//!   what it was, and rises by a tenth in each second without such an answer.
//! - A source that asks to be left alone (`Retry-After`) is, by everybody.
//! - A source that failed several times in a row is asked nothing for a while, then one request; if that fails too, for twice as
//!   long (a circuit breaker).
//!
//! Each process keeps its own: several that ask one source each find what it bears beside the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::id::ConnectionId;

use crate::source::Backoff;

/// Failures in a row after which a source is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long it is left alone then.
const BREAK: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
/// How long a source that limits the rate, and does not say for how long, is left alone.
const LIMITED: Duration = Duration::from_secs(1);
/// The slowest pace, in requests per second.
const SLOWEST: f64 = 1.0;
/// A pace above this is none: no source answers so many requests in a second.
const FASTEST: f64 = 2_000.0;
/// What the pace is multiplied with when there are too many requests, and in each second without that.
const FALL: f64 = 0.5;
const RISE: f64 = 1.1;
/// How long others wait while one request tries whether the source is back.
const PROBE: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The source answered, be it that something is not there or not allowed.
    Answered,
    /// Too many requests; not before this.
    Limited(Option<Duration>),
    /// No answer, or one that the source is away; not before this.
    Failed(Option<Duration>),
}

impl Outcome {
    /// For metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Limited(_) => "limited",
            Self::Failed(_) => "failed",
        }
    }
}

/// The pace of one connection. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pace(Arc<Mutex<State>>);

/// Leave to send one request. Dropped before it was told what became of it, nothing is known.
pub struct Turn<'a>(Option<&'a Pace>);

impl Pace {
    /// Waits for a turn.
    ///
    /// # Errors
    /// For how long the source is to be left alone, if it is.
    pub async fn turn(&self) -> Result<Turn<'_>, Duration> {
        loop {
            let entry = self.state().enter(Instant::now());
            match entry {
                Entry::Go => return Ok(Turn(Some(self))),
                Entry::Wait(wait) => tokio::time::sleep(wait).await,
                Entry::Closed(left) => return Err(left),
            }
        }
    }

    /// For how long the source is to be left alone.
    #[must_use]
    pub fn closed_for(&self) -> Option<Duration> {
        self.state().closed_for(Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    pub fn tell(mut self, outcome: Outcome) {
        if let Some(pace) = self.0.take() {
            pace.state().tell(outcome, Instant::now(), rand::random());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(pace) = self.0.take() {
            pace.state().probing_until = None;
        }
    }
}

/// The paces of all connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Paces(Arc<Mutex<HashMap<ConnectionId, Pace>>>);

impl Paces {
    #[must_use]
    pub fn of(&self, connection: ConnectionId) -> Pace {
        self.all().entry(connection).or_default().clone()
    }

    /// The connections whose source is to be left alone now.
    #[must_use]
    pub fn closed(&self) -> Vec<ConnectionId> {
        let all = self.all();
        let closed = all.iter().filter(|(_, pace)| pace.closed_for().is_some());
        closed.map(|(connection, _)| *connection).collect()
    }

    /// Whatever was found out, something is different now: the source is asked at once.
    pub fn forget(&self, connection: ConnectionId) {
        self.all().remove(&connection);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionId, Pace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, PartialEq)]
enum Entry {
    Go,
    Wait(Duration),
    Closed(Duration),
}

#[derive(Debug, Default)]
struct State {
    closed_until: Option<Instant>,
    /// In a row.
    failures: u32,
    /// After a break one request goes, and until then at most the others wait for what becomes of it.
    probing_until: Option<Instant>,
    /// None: the source has never said that there are too many.
    bucket: Option<Bucket>,
    sent: Sent,
}

/// Requests of this second and of the one before.
#[derive(Debug, Default)]
struct Sent {
    since: Option<Instant>,
    now: u32,
    before: u32,
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    filled_at: Instant,
}

impl State {
    fn closed_for(&self, now: Instant) -> Option<Duration> {
        let left = self.closed_until?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    fn enter(&mut self, now: Instant) -> Entry {
        if let Some(left) = self.closed_for(now) {
            return Entry::Closed(left);
        }
        if self.failures >= FAILURES_MAX {
            let left = self.probing_until.and_then(|until| until.checked_duration_since(now));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                return Entry::Closed(left);
            }
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.fill(now);
            if bucket.per_second > FASTEST {
                self.bucket = None;
            } else if bucket.tokens < 1.0 {
                return Entry::Wait(Duration::from_secs_f64((1.0 - bucket.tokens) / bucket.per_second));
            } else {
                bucket.tokens -= 1.0;
            }
        }
        if self.failures >= FAILURES_MAX {
            self.probing_until = Some(now + PROBE);
        }
        self.sent.add(now);
        Entry::Go
    }

    fn tell(&mut self, outcome: Outcome, now: Instant, fraction: f64) {
        self.probing_until = None;
        let close_for = match outcome {
            Outcome::Answered => {
                self.failures = 0;
                return;
            }
            Outcome::Limited(retry_after) => {
                self.failures = 0;
                self.slow_down(now);
                // Each a bit later than asked, so that not all come at once.
                let asked = retry_after.unwrap_or(LIMITED);
                Some(asked + LIMITED.mul_f64(fraction))
            }
            Outcome::Failed(retry_after) => {
                self.failures = self.failures.saturating_add(1);
                let breaks = self.failures.checked_sub(FAILURES_MAX);
                breaks
                    .map(|breaks| BREAK.delay(breaks, fraction, retry_after))
                    .or(retry_after)
            }
        };
        if let Some(close_for) = close_for {
            self.closed_until = self.closed_until.max(Some(now + close_for));
        }
    }

    fn slow_down(&mut self, now: Instant) {
        // Of many requests that are under way several are refused; they are one sign.
        if self.closed_for(now).is_some() {
            return;
        }
        let before = match &self.bucket {
            Some(bucket) => bucket.per_second.min(self.sent.per_second()),
            None => self.sent.per_second(),
        };
        self.bucket = Some(Bucket {
            per_second: (before * FALL).max(SLOWEST),
            tokens: 1.0,
            filled_at: now,
        });
    }
}

impl Sent {
    fn add(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let seconds = now.duration_since(since).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.now } else { 0 };
            self.now = 0;
            self.since = Some(now);
        }
        self.now += 1;
    }

    /// The more of both seconds: this one is not over.
    fn per_second(&self) -> f64 {
        f64::from(self.before.max(self.now))
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let seconds = now.duration_since(self.filled_at).as_secs_f64();
        // A tenth of a second's worth at most: what was not used is not made up for.
        self.tokens = (self.tokens + seconds * self.per_second).min((self.per_second / 10.0).max(1.0));
        self.per_second *= RISE.powf(seconds);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many of as many requests as can be made go in a second.
    fn a_second_of(state: &mut State, from: Instant) -> u32 {
        let mut now = from;
        let mut gone = 0;
        while now < from + SECOND {
            match state.enter(now) {
                Entry::Go => {
                    gone += 1;
                    state.tell(Outcome::Answered, now, 0.0);
                    now += Duration::from_millis(1);
                }
                Entry::Wait(wait) | Entry::Closed(wait) => now += wait.max(Duration::from_micros(1)),
            }
        }
        gone
    }

    #[test]
    fn a_source_that_limits_the_rate_is_asked_half_as_fast_and_then_faster_again() {
        let (mut state, start) = (State::default(), Instant::now());
        assert_eq!(a_second_of(&mut state, start), 1_000, "nobody has complained");
        let mut now = start + SECOND;
        // Three of those under way are refused.
        for _ in 0..3 {
            state.tell(Outcome::Limited(Some(5 * SECOND)), now, 0.0);
        }
        assert_eq!(state.enter(now + SECOND), Entry::Closed(4 * SECOND));
        now += 5 * SECOND;
        let slower = a_second_of(&mut state, now);
        // It rose by a tenth in each of the five seconds.
        assert!((700..=1_000).contains(&slower), "{slower}");

        let (mut state, mut now) = (State::default(), start);
        for _ in 0..20 {
            assert_eq!(state.enter(now), Entry::Go);
            now += Duration::from_millis(50);
        }
        state.tell(Outcome::Limited(None), now, 0.0);
        now += LIMITED;
        let paces: Vec<u32> = (0..40).map(|n| a_second_of(&mut state, now + n * SECOND)).collect();
        assert!((9..=12).contains(&paces[0]), "{paces:?}");
        assert!(paces.windows(2).all(|pair| pair[0] <= pair[1] + 1), "{paces:?}");
        assert!(paces[39] > 300, "{paces:?}");
    }

    #[test]
    fn a_source_that_fails_is_left_alone_for_longer_and_longer() {
        let (mut state, mut now) = (State::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(state.enter(now), Entry::Go);
            state.tell(Outcome::Failed(None), now, 1.0);
        }
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = wait * SECOND;
            assert_eq!(state.enter(now), Entry::Closed(wait));
            now += wait;
            assert_eq!(state.enter(now), Entry::Go, "one may try");
            assert_eq!(state.enter(now), Entry::Closed(PROBE), "and only one");
            state.tell(Outcome::Failed(None), now, 1.0);
        }
        now += 60 * SECOND;
        // Whoever tried was cut off: another may.
        assert_eq!(state.enter(now), Entry::Go);
        now += PROBE;
        assert_eq!(state.enter(now), Entry::Go);
        state.tell(Outcome::Answered, now, 1.0);
        assert_eq!((state.enter(now), state.enter(now)), (Entry::Go, Entry::Go));
        state.tell(Outcome::Failed(None), now, 1.0);
        assert_eq!(state.enter(now), Entry::Go, "once is nothing");
    }

    #[test]
    fn a_source_that_says_for_how_long_is_left_alone_for_that_long() {
        let (mut state, now) = (State::default(), Instant::now());
        state.tell(Outcome::Failed(Some(90 * SECOND)), now, 0.0);
        assert_eq!(state.enter(now + 89 * SECOND), Entry::Closed(SECOND));
        // A shorter wait that somebody else is told does not end it.
        state.tell(Outcome::Limited(Some(SECOND)), now, 0.0);
        assert_eq!(state.enter(now + 89 * SECOND), Entry::Closed(SECOND));
        assert_eq!(state.enter(now + 90 * SECOND), Entry::Go);
    }

    #[tokio::test]
    async fn a_turn_that_is_cut_off_lets_the_next_one_try() {
        let pace = Pace::default();
        for _ in 0..FAILURES_MAX {
            pace.turn()
                .await
                .map(|turn| turn.tell(Outcome::Failed(None)))
                .expect("a turn");
        }
        let left = pace.turn().await.map(drop).expect_err("closed");
        assert!(left <= SECOND && pace.closed_for().is_some());
        pace.state().closed_until = None;
        drop(pace.turn().await.expect("a turn"));
        assert!(pace.turn().await.is_ok());
    }
}
