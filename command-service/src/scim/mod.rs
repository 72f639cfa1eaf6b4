//! A SCIM 2.0 server (RFC 7643, RFC 7644): what identity providers tell of accounts, and what that says of employees. Requests are
//! answered in [`crate::http`]; what is kept of them is in `infra::scim`.

pub mod filter;
pub mod patch;
pub mod problem;
pub mod resources;
pub mod schema;
pub mod token;
pub mod translate;
pub mod value;
