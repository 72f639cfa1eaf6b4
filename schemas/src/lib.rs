#![doc = include_str!("../README.md")]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod codec;
pub mod envelope;
pub mod topics;
pub mod upcast;
