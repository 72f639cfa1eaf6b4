//! Systems without a connector, which tell by themselves in Tenure's own vocabulary (docs/webhooks.md).
//!
//! | module | does | IO |
//! |---|---|---|
//! | [`signature`] | proves that a message comes from whoever has the secret | none |
//! | [`message`] | reads Standard Webhooks and CloudEvents of any mode | none |
//!
//! What is said of a person is a [`crate::record`].

pub mod message;
pub mod signature;
