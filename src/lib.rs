#![doc = include_str!("../README.md")]

pub mod config;
pub mod demo;
pub mod health;
pub mod parked;
pub mod roles;
pub mod train;
pub mod up;
