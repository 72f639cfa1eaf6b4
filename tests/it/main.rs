//! The whole product from outside: a real process, real HTTP, simulated vendors that speak BambooHR's and Workday's APIs.

#![expect(
    clippy::print_stderr,
    reason = "seeds and kept folders are told to whoever reads a failed test"
)]

mod archive;
mod convergence;
mod crash;
mod export;
mod faults;
mod files;
mod harness;
mod journal;
mod log;
mod outages;
mod pay_changes;
mod rebuild;
mod replay;
mod scim;
#[path = "../../infra/tests/postgres/kurrent/stand_in/mod.rs"]
#[expect(dead_code, reason = "infra's own tests ask more of it")]
mod stand_in;
mod stories;
mod synchronising;
mod verify;
mod what_if;
mod workday;
