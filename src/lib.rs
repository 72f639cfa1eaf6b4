#![doc = include_str!("../README.md")]

pub mod config;
pub mod demo;
pub mod health;
pub mod parked;
pub mod roles;
pub mod train;
pub mod up;

/// For everything that links the product, so that benchmarks measure what is shipped: GraphQL answers and rows are many small
/// allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
