#![doc = include_str!("../README.md")]

/// Messages come in and rows go out in many small pieces: glibc's allocator takes a fifth of the time that they take.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod cli;
pub mod config;
mod connection;
mod dataset;
pub mod demo;
mod evaluate;
mod explain;
mod export;
mod health;
mod log;
mod parked;
mod rebuild;
mod replay;
mod report;
pub mod roles;
mod synth;
pub mod train;
mod up;
mod verify;
mod what_if;
