#![doc = include_str!("../README.md")]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod features;

pub mod dataset;
pub mod files;
pub mod frame;
pub mod metrics;
pub mod model;
pub mod table;

pub mod crossval;
pub mod statistics;

pub mod artifact;
pub mod explain;
pub mod report;
pub mod shapes;
pub mod train;

pub mod drift;
pub mod fairness;
pub mod outcomes;

pub mod monitor;

pub mod prior;
pub mod synthetic;

pub use artifact::{Artifact, ModelCard};
pub use dataset::{Dataset, History, Recorded};
pub use explain::factors;
pub use features::{FEATURES, FeatureState, FeatureVector};
pub use model::{Model, Prediction};
pub use train::train;
