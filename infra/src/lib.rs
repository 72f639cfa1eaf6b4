#![doc = include_str!("../README.md")]

pub mod auth;
pub mod broker;
pub mod checkpoint;
pub mod clock;
pub mod completion;
pub mod connection_task;
pub mod connection_token;
mod copies;
pub mod database;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod event_log;
pub mod fairness;
pub mod generation;
pub mod inbox;
pub mod kurrent;
mod locks;
pub mod log_archive;
pub mod log_copy;
pub mod model_registry;
pub mod outbox;
pub mod outcome;
pub mod parked;
pub mod pay_change_task;
pub mod read_model;
pub mod relay;
pub mod route;
pub mod sandbox;
pub mod scim;
pub mod seal;
pub mod sealing;
pub mod source_quality;
pub mod teams;
pub mod telemetry;
