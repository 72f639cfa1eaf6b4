//! CloudEvents 1.0 in binary mode on Kafka: attributes are headers `ce_…`, the value is the (sealed) payload.

use std::collections::HashMap;

use chrono::{SecondsFormat, Utc};
use domain::{
    Date, Kind, StreamId, Timestamp,
    id::{CommandId, EventId, TenantId},
};
use uuid::Uuid;

/// Where a fact comes from: travels from the intake to the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Who or what: `user:<subject>`, `bamboohr:<connection>`, `scorer`, `tenure`. Never a name.
    pub actor: String,
    /// Groups everything that one outside cause led to.
    pub correlation: Uuid,
    /// The command that was decided.
    pub causation: CommandId,
    /// Whether history was imported: then facts count as known from the day on which they were true, for want of better.
    pub backfill: bool,
    pub traceparent: Option<String>,
}

/// An event as it is stored and relayed: everything in clear but the payload's personal values.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// 1, 2, 3, … without gaps, in the order of commits.
    pub position: i64,
    pub stream: StreamId,
    /// 1, 2, 3, … within the stream.
    pub revision: i64,
    pub event_id: EventId,
    pub event_type: String,
    pub schema_version: i16,
    pub effective_on: Date,
    /// When Tenure learnt it.
    pub recorded_at: Timestamp,
    pub provenance: Provenance,
    /// Sealed JSON.
    pub data: Vec<u8>,
}

impl StoredEvent {
    /// When this fact was known, as far as training may assume: when it was recorded, or for imported history the day on
    /// which it became true (the source does not tell when it was entered).
    #[must_use]
    pub fn known_at(&self) -> Timestamp {
        if !self.provenance.backfill {
            return self.recorded_at;
        }
        let then = self.effective_on.and_time(chrono::NaiveTime::MIN).and_utc();
        then.min(self.recorded_at)
    }
}

/// What an intake record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeKind {
    /// A [`crate::codec::AnyCommand`].
    Command,
    /// A source said that something about a person changed: to be completed by asking the source.
    Notification,
    /// An authentic message that could not be understood: to be parked.
    Unreadable,
}

impl IntakeKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Command => "tenure.intake.command",
            Self::Notification => "tenure.intake.notification",
            Self::Unreadable => "tenure.intake.unreadable",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Command, Self::Notification, Self::Unreadable]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// The outside of an intake record.
#[derive(Debug, Clone, PartialEq)]
pub struct IntakeHeader {
    pub kind: IntakeKind,
    pub id: CommandId,
    /// The stream that it is for: also the key.
    pub stream: StreamId,
    pub accepted_at: Timestamp,
    pub provenance: Provenance,
    /// SHA-256 of a user's request, hexadecimal: the same `Idempotency-Key` with another request is refused.
    pub fingerprint: Option<String>,
}

/// A record whose headers do not make an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the record lacks the header {0}")]
    Missing(&'static str),
    #[error("the header {0} does not read")]
    Unreadable(&'static str),
}

/// Kafka headers: names and UTF-8 values.
pub type Headers = Vec<(&'static str, String)>;

const TENANT: &str = "ce_tenant";
const SUBJECT: &str = "ce_subject";

impl StoredEvent {
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.event_id.to_string()),
            ("ce_source", format!("/tenants/{}", self.stream.tenant)),
            ("ce_type", self.event_type.clone()),
            ("ce_time", moment(self.recorded_at)),
            ("content-type", "application/json".to_owned()),
            (TENANT, self.stream.tenant.to_string()),
            (SUBJECT, format!("{}/{}", self.stream.kind, self.stream.id)),
            ("ce_position", self.position.to_string()),
            ("ce_revision", self.revision.to_string()),
            ("ce_schemaversion", self.schema_version.to_string()),
            ("ce_effectiveon", self.effective_on.to_string()),
        ];
        self.provenance.write(&mut headers);
        headers
    }

    /// # Errors
    /// When a header is missing or does not read.
    pub fn read<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        value: &[u8],
    ) -> Result<Self, EnvelopeError> {
        let headers = Read::new(headers);
        Ok(Self {
            position: headers.parsed("ce_position")?,
            stream: headers.stream()?,
            revision: headers.parsed("ce_revision")?,
            event_id: headers.parsed("ce_id")?,
            event_type: headers.text("ce_type")?.to_owned(),
            schema_version: headers.parsed("ce_schemaversion")?,
            effective_on: headers.parsed("ce_effectiveon")?,
            recorded_at: headers.parsed("ce_time")?,
            provenance: Provenance::read(&headers)?,
            data: value.to_vec(),
        })
    }
}

impl IntakeHeader {
    #[must_use]
    pub fn headers(&self) -> Headers {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_source", format!("/tenants/{}", self.stream.tenant)),
            ("ce_type", self.kind.name().to_owned()),
            ("ce_time", moment(self.accepted_at)),
            ("content-type", "application/octet-stream".to_owned()),
            (TENANT, self.stream.tenant.to_string()),
            (SUBJECT, format!("{}/{}", self.stream.kind, self.stream.id)),
        ];
        if let Some(fingerprint) = &self.fingerprint {
            headers.push(("ce_fingerprint", fingerprint.clone()));
        }
        self.provenance.write(&mut headers);
        headers
    }

    /// # Errors
    /// When a header is missing or does not read.
    pub fn read<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, EnvelopeError> {
        let headers = Read::new(headers);
        Ok(Self {
            kind: IntakeKind::from_name(headers.text("ce_type")?).ok_or(EnvelopeError::Unreadable("ce_type"))?,
            id: headers.parsed("ce_id")?,
            stream: headers.stream()?,
            accepted_at: headers.parsed("ce_time")?,
            provenance: Provenance::read(&headers)?,
            fingerprint: headers.text("ce_fingerprint").ok().map(str::to_owned),
        })
    }
}

impl Provenance {
    fn write(&self, headers: &mut Headers) {
        headers.push(("ce_actor", self.actor.clone()));
        headers.push(("ce_correlationid", self.correlation.to_string()));
        headers.push(("ce_causationid", self.causation.to_string()));
        if self.backfill {
            headers.push(("ce_backfill", "true".to_owned()));
        }
        if let Some(traceparent) = &self.traceparent {
            headers.push(("ce_traceparent", traceparent.clone()));
        }
    }

    fn read(headers: &Read<'_>) -> Result<Self, EnvelopeError> {
        Ok(Self {
            actor: headers.text("ce_actor")?.to_owned(),
            correlation: headers.parsed("ce_correlationid")?,
            causation: headers.parsed("ce_causationid")?,
            backfill: headers.text("ce_backfill").is_ok_and(|value| value == "true"),
            traceparent: headers.text("ce_traceparent").ok().map(str::to_owned),
        })
    }
}

/// RFC 3339 in UTC with microseconds: Postgres keeps no more, so that what is relayed equals what is stored.
fn moment(at: Timestamp) -> String {
    at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Micros, true)
}

struct Read<'a>(HashMap<&'a str, &'a [u8]>);

impl<'a> Read<'a> {
    fn new(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(headers.into_iter().collect())
    }

    fn text(&self, name: &'static str) -> Result<&'a str, EnvelopeError> {
        let value = self.0.get(name).ok_or(EnvelopeError::Missing(name))?;
        std::str::from_utf8(value).map_err(|_| EnvelopeError::Unreadable(name))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, EnvelopeError> {
        self.text(name)?.parse().map_err(|_| EnvelopeError::Unreadable(name))
    }

    fn stream(&self) -> Result<StreamId, EnvelopeError> {
        let tenant: TenantId = self.parsed(TENANT)?;
        let (kind, id) = self
            .text(SUBJECT)?
            .split_once('/')
            .ok_or(EnvelopeError::Unreadable(SUBJECT))?;
        let kind: Kind = kind.parse().map_err(|_| EnvelopeError::Unreadable(SUBJECT))?;
        let id: Uuid = id.parse().map_err(|_| EnvelopeError::Unreadable(SUBJECT))?;
        Ok(StreamId { tenant, kind, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance(backfill: bool) -> Provenance {
        Provenance {
            actor: "user:7".into(),
            correlation: Uuid::from_u128(4),
            causation: CommandId::from_uuid(Uuid::from_u128(5)),
            backfill,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }
    }

    fn stored(backfill: bool) -> StoredEvent {
        StoredEvent {
            position: 12,
            stream: StreamId::new(
                TenantId::from_uuid(Uuid::from_u128(1)),
                Kind::Employee,
                Uuid::from_u128(2),
            ),
            revision: 3,
            event_id: EventId::from_uuid(Uuid::from_u128(6)),
            event_type: "employee.pay-changed".into(),
            schema_version: 1,
            effective_on: Date::from_ymd_opt(2024, 2, 29).expect("a day"),
            recorded_at: Timestamp::from_timestamp_micros(1_769_884_920_123_456).expect("a moment"),
            provenance: provenance(backfill),
            data: b"{}".to_vec(),
        }
    }

    fn bytes(headers: &Headers) -> impl Iterator<Item = (&str, &[u8])> {
        headers.iter().map(|(name, value)| (*name, value.as_bytes()))
    }

    #[test]
    fn an_event_reads_back_from_its_headers() {
        let event = stored(true);
        assert_eq!(StoredEvent::read(bytes(&event.headers()), b"{}"), Ok(event));
    }

    #[test]
    fn a_missing_header_is_named() {
        let headers: Headers = stored(false)
            .headers()
            .into_iter()
            .filter(|(name, _)| *name != "ce_position")
            .collect();
        assert_eq!(
            StoredEvent::read(bytes(&headers), b"{}"),
            Err(EnvelopeError::Missing("ce_position"))
        );
    }

    #[test]
    fn an_intake_header_reads_back() {
        let header = IntakeHeader {
            kind: IntakeKind::Notification,
            id: CommandId::from_uuid(Uuid::from_u128(8)),
            stream: stored(false).stream,
            accepted_at: stored(false).recorded_at,
            provenance: provenance(false),
            fingerprint: Some("ab".into()),
        };
        assert_eq!(IntakeHeader::read(bytes(&header.headers())), Ok(header));
    }

    #[test]
    fn imported_history_counts_as_known_when_it_became_true() {
        assert_eq!(stored(true).known_at().date_naive(), stored(true).effective_on);
        assert_eq!(stored(false).known_at(), stored(false).recorded_at);
    }
}
