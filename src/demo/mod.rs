//! The demonstration: a living retail company, and the HRIS it keeps its records in.
//!
//! Nothing here is a mock of Tenure. It is the *other side* of the wire: [`company`] generates people and their
//! history, [`bamboohr`] serves them the way BambooHR does, [`webhooks`] announces their changes the way BambooHR
//! does, [`workday`] serves the same people the way Workday does, and [`gusto`] and [`adp`] pay them the
//! way those do. Tenure is pointed at it by address and key, exactly as it is pointed at the vendor.

pub mod company;

pub mod adp;

pub mod bamboohr;

pub mod faults;

pub mod gusto;

pub mod vendor;

pub mod webhooks;

pub mod workday;

mod stage;

pub use stage::{EMPLOYEES_DEFAULT, Scene, run};
