//! The one trait of the domain, and the names of streams.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Date, id::TenantId};

/// A decider: commands are judged against the state, events make the next state.
///
/// All three functions are pure and total. The state before the first event is `Default::default()`.
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// The kind of stream that holds this aggregate's events.
    const KIND: Kind;

    type Command;
    type Event;
    type Rejection: std::error::Error;

    /// Judges `command` on the day `today`: the events that follow from it, none if nothing changes, or the broken rule.
    fn decide(&self, command: Self::Command, today: Date) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// The state after `event`. Never fails: a stored event is a fact.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;

    /// The state after a whole history.
    fn fold<'a>(history: impl IntoIterator<Item = &'a Self::Event>) -> Self
    where
        Self::Event: 'a,
    {
        history.into_iter().fold(Self::default(), Self::evolve)
    }
}

/// The kinds of stream, as they are spelled in stream names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Employee,
    Risk,
    Connection,
    Tenant,
    Program,
    Access,
    /// Changes of an employee's pay that are made elsewhere; the stream has the employee's id.
    PayChange,
}

impl Kind {
    /// Every kind, for enumeration in tests and set-up.
    pub const ALL: [Self; 7] = [
        Self::Employee,
        Self::Risk,
        Self::Connection,
        Self::Tenant,
        Self::Program,
        Self::Access,
        Self::PayChange,
    ];

    /// The kind's stable name, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Employee => "employee",
            Self::Risk => "risk",
            Self::Connection => "connection",
            Self::Tenant => "tenant",
            Self::Program => "program",
            Self::Access => "access",
            Self::PayChange => "pay-change",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no kind of stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a stream name: expected tenant/kind/id")]
pub struct NotAStream(pub String);

impl FromStr for Kind {
    type Err = NotAStream;

    fn from_str(name: &str) -> Result<Self, NotAStream> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| NotAStream(name.to_owned()))
    }
}

/// The name of one aggregate's stream: `tenant/kind/id`. It is also the Kafka key, so that a stream keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub tenant: TenantId,
    pub kind: Kind,
    pub id: Uuid,
}

impl StreamId {
    #[must_use]
    pub fn new(tenant: TenantId, kind: Kind, id: impl Into<Uuid>) -> Self {
        Self {
            tenant,
            kind,
            id: id.into(),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.kind, self.id)
    }
}

impl FromStr for StreamId {
    type Err = NotAStream;

    fn from_str(name: &str) -> Result<Self, NotAStream> {
        let broken = || NotAStream(name.to_owned());
        let mut parts = name.split('/');
        let (Some(tenant), Some(kind), Some(id), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(broken());
        };
        Ok(Self {
            tenant: tenant.parse().map_err(|_| broken())?,
            kind: kind.parse()?,
            id: id.parse().map_err(|_| broken())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_reads_back() {
        let stream = StreamId::new(TenantId::from_uuid(Uuid::from_u128(7)), Kind::Risk, Uuid::from_u128(9));
        assert_eq!(stream.to_string().parse(), Ok(stream));
    }

    #[test]
    fn what_is_not_a_stream_name_says_so() {
        for broken in [
            "",
            "a/b/c",
            "00000000-0000-0000-0000-000000000007/employee",
            "x/employee/y/z",
        ] {
            assert!(broken.parse::<StreamId>().is_err());
        }
    }
}
