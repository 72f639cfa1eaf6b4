#![doc = include_str!("../README.md")]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod codec;
pub mod envelope;
pub mod topics;
pub mod upcast;

/// The OpenAPI document of the HTTP API, as committed.
pub const OPENAPI: &str = include_str!("../openapi.json");
