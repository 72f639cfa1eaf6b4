//! The adapters on a real Postgres: one server for all tests, and a tenant of its own for each. Beside it the log in KurrentDB.

#![expect(
    clippy::print_stderr,
    reason = "seeds and counts are told to whoever reads a failed test"
)]

mod cancellation;
mod checkpoints;
mod consumers;
mod event_log;
mod isolation;
mod keys;
mod kurrent;
mod log_archive;
mod log_copy;
mod queues;
mod sandboxes;
mod schema;
mod server;
