//! Locks on whole tables, for what changes them beside people at work: nobody waits long behind one that is not had at once.

use std::time::Duration;

/// How long all tables of one statement together are waited for before those who queue behind are let through: less than the second
/// after which Postgres looks for a deadlock and takes a victim.
const WAIT: &str = "300ms";
/// How often a lock is tried, with [`PAUSE`] between.
pub(crate) const TRIES: u32 = 300;
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Locks tables until the transaction ends, or fails in a way that [`timed_out`] knows.
pub(crate) fn statement(tables: &str, mode: &str) -> String {
    // Not lock_timeout: that would begin anew with each table, while those behind wait for the first.
    format!(
        "set local statement_timeout = '{WAIT}'; lock table {tables} in {mode} mode; set local statement_timeout = 0"
    )
}

/// Whether somebody else was at work there.
pub(crate) fn timed_out(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| ["57014", "40P01"].contains(&code.as_ref()))
}
