//! The demonstration: a living retail company, and the HRIS it keeps its records in.
//!
//! Nothing here is a mock of Tenure. It is the *other side* of the wire: [`company`] generates people and their
//! history, [`bamboohr`] serves them the way BambooHR does, [`webhooks`] announces their changes the way BambooHR
//! does, and [`workday`] serves the same people the way Workday does. Tenure is pointed at it by address and key, exactly as it is pointed at the vendor.

pub mod company;

pub mod bamboohr;

pub mod faults;

pub mod vendor;

pub mod webhooks;

pub mod workday;

mod stage;

pub use stage::{EMPLOYEES_DEFAULT, Scene, run};
