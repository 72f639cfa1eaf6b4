//! The whole product from outside: a real process, real HTTP, a simulated vendor that speaks BambooHR's API.

mod harness;
mod stories;
