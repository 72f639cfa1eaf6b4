//! The only place that asks what time it is, and that makes random ids.

use domain::{Date, Timestamp};
use uuid::Uuid;

/// Now, to the microsecond: Postgres keeps no more, so a time means the same before and after it was stored.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
#[must_use]
pub fn now() -> Timestamp {
    let now = chrono::Utc::now();
    Timestamp::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

/// Today, in UTC.
#[must_use]
pub fn today() -> Date {
    now().date_naive()
}

/// A random id that sorts by the time of its making.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
