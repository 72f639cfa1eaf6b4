//! CloudEvents 1.0 in structured mode on Kafka: a record's value is one JSON object with the attributes and the (sealed) data;
//! its only header is [`CONTENT_TYPE`]. Why not binary mode: `docs/adr/0006-structured-cloudevents.md`.
//!
//! All attributes are strings, 64-bit numbers among them: a CloudEvents integer has 32 bits. Formats:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>,
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>.

use std::{borrow::Cow, fmt, marker::PhantomData};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chrono::{SecondsFormat, Utc};
use domain::{
    Date, Kind, StreamId, Timestamp,
    id::{CommandId, EventId, TenantId},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
    ser::{Serialize, SerializeMap, Serializer},
};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The header `content-type` of every record.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// Where a fact comes from: travels from the intake to the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Who or what: `user:<subject>`, `bamboohr:<connection>`, `bamboohr:<connection>:reconciliation`, `workday:<connection>:import`, `scorer`, `tenure`. Never a name.
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

/// A record whose value is not one of Tenure's events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the record is not a CloudEvent in JSON")]
    NotAnEvent,
    #[error("the event lacks the attribute {0}")]
    Missing(&'static str),
    #[error("the event's attribute {0} does not read")]
    Unreadable(&'static str),
}

type Attributes = Vec<(&'static str, String)>;

/// Which log an event lies in: each database has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId(pub Uuid);

/// An event as it comes from Kafka.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub event: StoredEvent,
    /// The position that was sent to its partition before it; 0 at the beginning.
    pub previous_position: i64,
    /// None: sent before records named their log.
    pub log: Option<LogId>,
}

impl StoredEvent {
    /// As the relay sends it. `previous_position` is the position sent to the same partition before, 0 at the beginning: a
    /// consumer that has not seen that one knows that something is missing, and waits for the relay to send it again.
    #[must_use]
    pub fn write(&self, log: LogId, previous_position: i64) -> Vec<u8> {
        let mut attributes = vec![
            ("specversion", "1.0".to_owned()),
            ("id", self.event_id.to_string()),
            ("source", format!("/tenants/{}", self.stream.tenant)),
            ("type", self.event_type.clone()),
            ("time", moment(self.recorded_at)),
            ("tenant", self.stream.tenant.to_string()),
            ("subject", format!("{}/{}", self.stream.kind, self.stream.id)),
            ("log", log.0.to_string()),
            ("position", self.position.to_string()),
            ("previousposition", previous_position.to_string()),
            ("revision", self.revision.to_string()),
            ("schemaversion", self.schema_version.to_string()),
            ("effectiveon", self.effective_on.to_string()),
        ];
        self.provenance.write(&mut attributes);
        // What is stored is JSON; if it ever were not, the relay must not stop for it.
        let data = serde_json::from_slice(&self.data).map_or(Data::Octets(&self.data), Data::Json);
        Written { attributes, data }.to_bytes()
    }

    /// The event, with what is said of its place.
    ///
    /// # Errors
    /// When the value is no event, or an attribute is missing or does not read.
    pub fn read(value: &[u8]) -> Result<Received, EnvelopeError> {
        let read = Read::new(value)?;
        let event = Self {
            position: read.parsed("position")?,
            stream: read.stream()?,
            revision: read.parsed("revision")?,
            event_id: read.parsed("id")?,
            event_type: read.text("type")?.into_owned(),
            schema_version: read.parsed("schemaversion")?,
            effective_on: read.parsed("effectiveon")?,
            recorded_at: read.parsed("time")?,
            provenance: Provenance::read(&read)?,
            data: read.data()?,
        };
        Ok(Received {
            event,
            previous_position: read.parsed("previousposition")?,
            log: match read.parsed("log") {
                Ok(id) => Some(LogId(id)),
                Err(EnvelopeError::Missing(_)) => None,
                Err(error) => return Err(error),
            },
        })
    }
}

impl IntakeHeader {
    /// With its sealed content.
    #[must_use]
    pub fn write(&self, sealed: &[u8]) -> Vec<u8> {
        let mut attributes = vec![
            ("specversion", "1.0".to_owned()),
            ("id", self.id.to_string()),
            ("source", format!("/tenants/{}", self.stream.tenant)),
            ("type", self.kind.name().to_owned()),
            ("time", moment(self.accepted_at)),
            ("tenant", self.stream.tenant.to_string()),
            ("subject", format!("{}/{}", self.stream.kind, self.stream.id)),
        ];
        if let Some(fingerprint) = &self.fingerprint {
            attributes.push(("fingerprint", fingerprint.clone()));
        }
        self.provenance.write(&mut attributes);
        let data = Data::Octets(sealed);
        Written { attributes, data }.to_bytes()
    }

    /// The header and the sealed content.
    ///
    /// # Errors
    /// When the value is no event, or an attribute is missing or does not read.
    pub fn read(value: &[u8]) -> Result<(Self, Vec<u8>), EnvelopeError> {
        let read = Read::new(value)?;
        let header = Self {
            kind: IntakeKind::from_name(&read.text("type")?).ok_or(EnvelopeError::Unreadable("type"))?,
            id: read.parsed("id")?,
            stream: read.stream()?,
            accepted_at: read.parsed("time")?,
            provenance: Provenance::read(&read)?,
            fingerprint: read.optional("fingerprint")?,
        };
        Ok((header, read.data()?))
    }
}

impl Provenance {
    fn write(&self, attributes: &mut Attributes) {
        attributes.push(("actor", self.actor.clone()));
        attributes.push(("correlationid", self.correlation.to_string()));
        attributes.push(("causationid", self.causation.to_string()));
        if self.backfill {
            attributes.push(("backfill", "true".to_owned()));
        }
        if let Some(traceparent) = &self.traceparent {
            attributes.push(("traceparent", traceparent.clone()));
        }
    }

    fn read(read: &Read<'_>) -> Result<Self, EnvelopeError> {
        Ok(Self {
            actor: read.text("actor")?.into_owned(),
            correlation: read.parsed("correlationid")?,
            causation: read.parsed("causationid")?,
            backfill: read.optional("backfill")?.is_some_and(|value| value == "true"),
            traceparent: read.optional("traceparent")?,
        })
    }
}

/// RFC 3339 in UTC with microseconds: Postgres keeps no more, so that what is relayed equals what is stored.
fn moment(at: Timestamp) -> String {
    at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Micros, true)
}

enum Data<'a> {
    Json(&'a RawValue),
    Octets(&'a [u8]),
}

struct Written<'a> {
    attributes: Attributes,
    data: Data<'a>,
}

impl Written<'_> {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|_| unreachable!("strings and JSON always serialise"))
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in &self.attributes {
            object.serialize_entry(name, value)?;
        }
        match self.data {
            Data::Json(data) => {
                object.serialize_entry("datacontenttype", "application/json")?;
                object.serialize_entry("data", data)?;
            }
            Data::Octets(data) => {
                object.serialize_entry("datacontenttype", "application/octet-stream")?;
                object.serialize_entry("data_base64", &BASE64.encode(data))?;
            }
        }
        object.end()
    }
}

/// An object's members, not looked into yet. They are few: walking along them is quicker than hashing each name.
struct Read<'a>(Vec<(Text<'a>, &'a RawValue)>);

/// A string that is borrowed from the record, unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// More than we write ourselves.
const MEMBERS: usize = 24;

impl<'de: 'a, 'a> Deserialize<'de> for Read<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Read<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<'a>, A::Error> {
                let mut members = Vec::with_capacity(MEMBERS);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Read(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl<'a> Read<'a> {
    fn new(value: &'a [u8]) -> Result<Self, EnvelopeError> {
        // What the parser says may quote a foreign record, which may hold anything.
        serde_json::from_slice(value).map_err(|_| EnvelopeError::NotAnEvent)
    }

    /// Of two members of one name the last counts, as for most readers of JSON.
    fn member(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rfind(|(known, _)| known.0 == name);
        found.map(|(_, raw)| raw.get())
    }

    fn text(&self, name: &'static str) -> Result<Cow<'a, str>, EnvelopeError> {
        let raw = self.member(name).ok_or(EnvelopeError::Missing(name))?;
        let text: Text<'a> = serde_json::from_str(raw).map_err(|_| EnvelopeError::Unreadable(name))?;
        Ok(text.0)
    }

    fn optional(&self, name: &'static str) -> Result<Option<String>, EnvelopeError> {
        match self.text(name) {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(EnvelopeError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, EnvelopeError> {
        self.text(name)?.parse().map_err(|_| EnvelopeError::Unreadable(name))
    }

    fn stream(&self) -> Result<StreamId, EnvelopeError> {
        let tenant: TenantId = self.parsed("tenant")?;
        let subject = self.text("subject")?;
        let (kind, id) = subject.split_once('/').ok_or(EnvelopeError::Unreadable("subject"))?;
        let kind: Kind = kind.parse().map_err(|_| EnvelopeError::Unreadable("subject"))?;
        let id: Uuid = id.parse().map_err(|_| EnvelopeError::Unreadable("subject"))?;
        Ok(StreamId { tenant, kind, id })
    }

    fn data(&self) -> Result<Vec<u8>, EnvelopeError> {
        if let Some(data) = self.member("data") {
            return Ok(data.as_bytes().to_vec());
        }
        let octets = self.optional("data_base64")?.ok_or(EnvelopeError::Missing("data"))?;
        BASE64
            .decode(octets)
            .map_err(|_| EnvelopeError::Unreadable("data_base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(Uuid::from_u128(9));

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

    #[test]
    fn an_event_reads_back_with_the_position_before_it() {
        for data in [r#"{"pay":{"sealed":"q\u00e9=="},"n":1.50}"#, "not JSON"] {
            let event = StoredEvent {
                data: data.as_bytes().to_vec(),
                ..stored(true)
            };
            let sent = event.write(LOG, 7);
            let received = Received {
                event,
                previous_position: 7,
                log: Some(LOG),
            };
            assert_eq!(StoredEvent::read(&sent), Ok(received), "byte for byte");
        }
    }

    #[test]
    fn what_is_sent_is_a_cloud_event() {
        let sent: serde_json::Value = serde_json::from_slice(&stored(false).write(LOG, 11)).expect("JSON");
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "00000000-0000-0000-0000-000000000006",
            "source": "/tenants/00000000-0000-0000-0000-000000000001",
            "type": "employee.pay-changed",
            "time": "2026-01-31T18:42:00.123456Z",
            "subject": "employee/00000000-0000-0000-0000-000000000002",
            "datacontenttype": "application/json",
            "tenant": "00000000-0000-0000-0000-000000000001",
            "log": "00000000-0000-0000-0000-000000000009",
            "position": "12",
            "previousposition": "11",
            "revision": "3",
            "schemaversion": "1",
            "effectiveon": "2024-02-29",
            "actor": "user:7",
            "correlationid": "00000000-0000-0000-0000-000000000004",
            "causationid": "00000000-0000-0000-0000-000000000005",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {},
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn what_is_wrong_with_a_record_is_named() {
        let without = |name: &str, instead: Option<&str>| {
            let mut event: serde_json::Value = serde_json::from_slice(&stored(false).write(LOG, 11)).expect("JSON");
            match instead {
                Some(value) => event[name] = value.into(),
                None => drop(event.as_object_mut().expect("an object").remove(name)),
            }
            StoredEvent::read(event.to_string().as_bytes()).map(drop)
        };
        assert_eq!(without("position", None), Err(EnvelopeError::Missing("position")));
        assert_eq!(without("data", None), Err(EnvelopeError::Missing("data")));
        assert_eq!(without("log", None), Ok(()), "as it was sent before");
        assert_eq!(without("log", Some("7")), Err(EnvelopeError::Unreadable("log")));
        assert_eq!(
            without("subject", Some("employee")),
            Err(EnvelopeError::Unreadable("subject"))
        );
        for foreign in [&b"\x00\x9f"[..], b"", b"[]", b"{\"position\":"] {
            assert_eq!(StoredEvent::read(foreign).map(drop), Err(EnvelopeError::NotAnEvent));
        }
    }

    #[test]
    fn an_intake_record_reads_back() {
        let header = IntakeHeader {
            kind: IntakeKind::Notification,
            id: CommandId::from_uuid(Uuid::from_u128(8)),
            stream: stored(false).stream,
            accepted_at: stored(false).recorded_at,
            provenance: provenance(false),
            fingerprint: Some("ab".into()),
        };
        let sealed = vec![0, 159, 146, 150];
        assert_eq!(IntakeHeader::read(&header.write(&sealed)), Ok((header, sealed)));
    }

    #[test]
    fn imported_history_counts_as_known_when_it_became_true() {
        assert_eq!(stored(true).known_at().date_naive(), stored(true).effective_on);
        assert_eq!(stored(false).known_at(), stored(false).recorded_at);
    }
}
