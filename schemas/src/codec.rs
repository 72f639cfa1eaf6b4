//! Events and commands to JSON and back.
//!
//! An event's type is `kind.name`, such as `employee.pay-changed`; its payload is the domain type's own serialisation, in
//! which every personal value carries a marker (see [`domain::personal`]). Sealing replaces the markers before anything is
//! stored.

use domain::{Kind, access, connection, employee, pay_change, program, risk, tenant};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::upcast;

/// The event that carries protected attributes: what makes models does not even open it.
pub const DEMOGRAPHICS_CHANGED: &str = "employee.demographics-changed";

/// Any event of any aggregate.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyEvent {
    Employee(employee::Event),
    Risk(risk::Event),
    Connection(connection::Event),
    Tenant(tenant::Event),
    Program(program::Event),
    Access(access::Event),
    PayChange(pay_change::Event),
}

/// Any command to any aggregate, as it travels in `tenure.intake`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "command", rename_all = "kebab-case")]
pub enum AnyCommand {
    Employee(employee::Command),
    Risk(risk::Command),
    Connection(connection::Command),
    Tenant(tenant::Command),
    Program(program::Command),
    Access(access::Command),
    PayChange(pay_change::Command),
}

impl AnyCommand {
    /// The kind of aggregate that judges it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Employee(_) => Kind::Employee,
            Self::Risk(_) => Kind::Risk,
            Self::Connection(_) => Kind::Connection,
            Self::Tenant(_) => Kind::Tenant,
            Self::Program(_) => Kind::Program,
            Self::Access(_) => Kind::Access,
            Self::PayChange(_) => Kind::PayChange,
        }
    }
}

/// An event as JSON, before sealing.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Such as `employee.pay-changed`.
    pub event_type: String,
    pub schema_version: i16,
    /// With open personal markers: seal it before it goes anywhere.
    pub payload: Value,
}

/// A payload that cannot be turned into an event (or back). What it was about stays in the log; the reader parks it.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("{0:?} is not an event type that this version of Tenure knows; was it written by a newer one?")]
    UnknownType(String),
    #[error("the payload of {event_type} version {version} does not read as one")]
    BadPayload {
        event_type: String,
        version: i16,
        #[source]
        cause: serde_json::Error,
    },
    #[error("an event did not serialise")]
    Encode(#[source] serde_json::Error),
}

impl AnyEvent {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Employee(_) => Kind::Employee,
            Self::Risk(_) => Kind::Risk,
            Self::Connection(_) => Kind::Connection,
            Self::Tenant(_) => Kind::Tenant,
            Self::Program(_) => Kind::Program,
            Self::Access(_) => Kind::Access,
            Self::PayChange(_) => Kind::PayChange,
        }
    }

    /// The day on which it is true in the world.
    #[must_use]
    pub fn effective_on(&self) -> domain::Date {
        match self {
            Self::Employee(event) => event.effective_on(),
            Self::Risk(event) => event.effective_on(),
            Self::Connection(event) => event.effective_on(),
            Self::Tenant(event) => event.effective_on(),
            Self::Program(event) => event.effective_on(),
            Self::Access(event) => event.effective_on(),
            Self::PayChange(event) => event.effective_on(),
        }
    }

    /// # Errors
    /// When serialisation fails, which no value of these types does.
    pub fn encode(&self) -> Result<Encoded, CodecError> {
        let tagged = match self {
            Self::Employee(event) => serde_json::to_value(event),
            Self::Risk(event) => serde_json::to_value(event),
            Self::Connection(event) => serde_json::to_value(event),
            Self::Tenant(event) => serde_json::to_value(event),
            Self::Program(event) => serde_json::to_value(event),
            Self::Access(event) => serde_json::to_value(event),
            Self::PayChange(event) => serde_json::to_value(event),
        };
        let mut tagged = tagged.map_err(CodecError::Encode)?;
        let name = tagged.get("type").and_then(Value::as_str).unwrap_or_default();
        let event_type = format!("{}.{name}", self.kind());
        let schema_version = upcast::newest_version(&event_type);
        let payload = tagged.get_mut("data").map(Value::take).unwrap_or(Value::Null);
        Ok(Encoded {
            event_type,
            schema_version,
            payload,
        })
    }

    /// Reads an opened payload of any version.
    ///
    /// # Errors
    /// When the type is unknown or the payload does not fit it.
    pub fn decode(event_type: &str, version: i16, payload: Value) -> Result<Self, CodecError> {
        let (kind, name) = event_type
            .split_once('.')
            .ok_or_else(|| CodecError::UnknownType(event_type.to_owned()))?;
        let kind: Kind = kind
            .parse()
            .map_err(|_| CodecError::UnknownType(event_type.to_owned()))?;
        let payload = upcast::upcast(event_type, version, payload);
        let mut tagged = serde_json::Map::with_capacity(2);
        tagged.insert("type".to_owned(), Value::String(name.to_owned()));
        tagged.insert("data".to_owned(), payload);
        let tagged = Value::Object(tagged);
        let event = match kind {
            Kind::Employee => serde_json::from_value(tagged).map(Self::Employee),
            Kind::Risk => serde_json::from_value(tagged).map(Self::Risk),
            Kind::Connection => serde_json::from_value(tagged).map(Self::Connection),
            Kind::Tenant => serde_json::from_value(tagged).map(Self::Tenant),
            Kind::Program => serde_json::from_value(tagged).map(Self::Program),
            Kind::Access => serde_json::from_value(tagged).map(Self::Access),
            Kind::PayChange => serde_json::from_value(tagged).map(Self::PayChange),
        };
        event.map_err(|cause| CodecError::BadPayload {
            event_type: event_type.to_owned(),
            version,
            cause,
        })
    }
}
