#![doc = include_str!("../README.md")]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod access;
pub mod aggregate;
pub mod dated;
pub mod id;
pub mod money;
pub mod personal;

pub mod connection;
pub mod employee;
pub mod pay_change;
pub mod policy;
pub mod program;
pub mod risk;
pub mod suppression;
pub mod tenant;

pub use aggregate::{Aggregate, Kind, StreamId};
pub use dated::Dated;
pub use personal::Personal;

/// A day in the world, without a time zone: HR facts become true on days.
pub type Date = chrono::NaiveDate;

/// A moment, in UTC: when something was recorded or observed.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
