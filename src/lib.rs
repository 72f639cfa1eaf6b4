#![doc = include_str!("../README.md")]

/// Messages come in and rows go out in many small pieces: glibc's allocator takes a fifth of the time that they take.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod config;
pub mod dataset;
pub mod demo;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod health;
pub mod log;
pub mod parked;
pub mod rebuild;
pub mod replay;
pub mod report;
pub mod roles;
pub mod synth;
pub mod train;
pub mod up;
pub mod verify;
pub mod what_if;
