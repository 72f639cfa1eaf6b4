//! How an event lies in KurrentDB.
//!
//! Its id, type and stream are KurrentDB's own; its data are the sealed bytes, as JSON where they are JSON. The rest is in its
//! metadata, a JSON object:
//!
//! | member | what |
//! |---|---|
//! | `$correlationId`, `$causationId` | as KurrentDB's own projections know them |
//! | `schemaVersion`, `effectiveOn`, `actor` | as in Postgres |
//! | `backfill`, `traceparent` | only where there is something to say |
//! | `append` | which call wrote it; missing if it was copied |
//! | `recordedAt` | when it was recorded, if it was copied; otherwise it is when KurrentDB wrote it |
//! | `position` | its position in the log that it was copied from |

use chrono::DateTime;
use domain::{
    Date, Kind, StreamId, Timestamp,
    id::{CommandId, EventId, TenantId},
};
use eventstore::{EventData, RecordedEvent};
use schemas::envelope::{Provenance, StoredEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Checkpoint, KurrentError};
use crate::event_log::NewEvent;

/// An event, and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its position is KurrentDB's commit position.
    pub event: StoredEvent,
    pub at: Checkpoint,
    /// Its position in the log that it was copied from.
    pub copied_from: Option<i64>,
    /// Which call wrote it.
    pub(super) mark: Option<Uuid>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(rename = "$correlationId")]
    correlation: Uuid,
    #[serde(rename = "$causationId")]
    causation: Uuid,
    schema_version: i16,
    effective_on: Date,
    actor: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    backfill: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    append: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recorded_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
}

/// What the names of all streams of a log begin with.
pub(super) fn prefix(name: &str) -> String {
    format!("{name}-")
}

pub(super) fn prefix_of_kind(name: &str, tenant: TenantId, kind: Kind) -> String {
    format!("{name}-{tenant}-{kind}-")
}

pub(super) fn stream_name(name: &str, stream: &StreamId) -> String {
    format!("{}{}", prefix_of_kind(name, stream.tenant, stream.kind), stream.id)
}

/// The other way round. Ids have dashes too, but always as many letters.
fn stream_of(name: &str, text: &str) -> Option<StreamId> {
    const ID_LETTERS: usize = 36;
    let rest = text.strip_prefix(name)?.strip_prefix('-')?;
    let (tenant, rest) = rest.split_at_checked(ID_LETTERS)?;
    let (kind, id) = rest.split_at_checked(rest.len().checked_sub(ID_LETTERS)?)?;
    let kind = kind.strip_prefix('-')?.strip_suffix('-')?;
    format!("{tenant}/{kind}/{id}").parse().ok()
}

/// An event that happens now, by the call `mark`.
pub(super) fn new(event: &NewEvent, mark: Uuid) -> EventData {
    let metadata = Metadata {
        append: Some(mark),
        ..metadata(&event.provenance, event.schema_version, event.effective_on)
    };
    data(&event.event_type, &event.data, event.event_id, &metadata)
}

/// An event that was recorded elsewhere.
pub(super) fn old(event: &StoredEvent) -> EventData {
    let metadata = Metadata {
        recorded_at: Some(event.recorded_at),
        position: Some(event.position),
        ..metadata(&event.provenance, event.schema_version, event.effective_on)
    };
    data(&event.event_type, &event.data, event.event_id, &metadata)
}

fn metadata(provenance: &Provenance, schema_version: i16, effective_on: Date) -> Metadata {
    Metadata {
        correlation: provenance.correlation,
        causation: provenance.causation.uuid(),
        schema_version,
        effective_on,
        actor: provenance.actor.clone(),
        backfill: provenance.backfill,
        traceparent: provenance.traceparent.clone(),
        append: None,
        recorded_at: None,
        position: None,
    }
}

fn data(event_type: &str, data: &[u8], id: EventId, metadata: &Metadata) -> EventData {
    // As it is, byte for byte; spaces around it would be lost as JSON.
    let json: Option<&RawValue> = serde_json::from_slice(data).ok();
    let event = match json.filter(|json| json.get().len() == data.len()) {
        Some(json) => EventData::json(event_type, &json),
        None => Ok(EventData::binary(event_type, data.to_vec().into())),
    };
    event
        .and_then(|event| event.id(id.uuid()).metadata_as_json(metadata))
        .unwrap_or_else(|_| unreachable!("strings, numbers and JSON always serialise"))
}

pub(super) fn unreadable(event: &RecordedEvent, what: &'static str) -> KurrentError {
    KurrentError::Unreadable {
        stream: event.stream_id().to_owned(),
        revision: event.revision,
        what,
    }
}

/// An event as it lies there.
///
/// # Errors
/// When it is none of Tenure's.
pub(super) fn read(name: &str, event: &RecordedEvent) -> Result<Found, KurrentError> {
    let failed = |what| move || unreadable(event, what);
    let metadata: Metadata =
        serde_json::from_slice(&event.custom_metadata).map_err(|_| unreadable(event, "its metadata do not read"))?;
    let recorded_at = metadata.recorded_at.or_else(|| written_at(event));
    Ok(Found {
        event: StoredEvent {
            position: i64::try_from(event.position.commit).map_err(|_| unreadable(event, "it has no position"))?,
            stream: stream_of(name, event.stream_id()).ok_or_else(failed("its stream's name does not read"))?,
            revision: i64::try_from(event.revision).map_err(|_| unreadable(event, "its number does not read"))? + 1,
            event_id: EventId::from_uuid(event.id),
            event_type: event.event_type.clone(),
            schema_version: metadata.schema_version,
            effective_on: metadata.effective_on,
            recorded_at: recorded_at.ok_or_else(failed("it does not say when it was recorded"))?,
            provenance: Provenance {
                actor: metadata.actor,
                correlation: metadata.correlation,
                causation: CommandId::from_uuid(metadata.causation),
                backfill: metadata.backfill,
                traceparent: metadata.traceparent,
            },
            data: event.data.to_vec(),
        },
        at: event.position.into(),
        copied_from: metadata.position,
        mark: metadata.append,
    })
}

/// When KurrentDB wrote it, to the microsecond. (The client rounds it to the second, but hands on what it was told: tenths of
/// microseconds since 1970.)
fn written_at(event: &RecordedEvent) -> Option<Timestamp> {
    let ticks: i64 = event.metadata.get("created")?.parse().ok()?;
    DateTime::from_timestamp_micros(ticks / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_name_reads_back_and_no_other_does() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        for kind in Kind::ALL {
            let stream = StreamId::new(tenant, kind, Uuid::from_u128(2));
            assert_eq!(stream_of("tenure", &stream_name("tenure", &stream)), Some(stream));
        }
        let stream = StreamId::new(tenant, Kind::Employee, Uuid::from_u128(2));
        assert_eq!(
            stream_name("tenure", &stream),
            "tenure-00000000-0000-0000-0000-000000000001-employee-00000000-0000-0000-0000-000000000002"
        );
        let other = stream_name("tenure2", &stream);
        for wrong in ["tenure", "tenure-", "tenure-1-employee-2", "tenure-ä", other.as_str()] {
            assert_eq!(stream_of("tenure", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        let provenance = Provenance {
            actor: "user:7".to_owned(),
            correlation: Uuid::from_u128(3),
            causation: CommandId::from_uuid(Uuid::from_u128(4)),
            backfill: false,
            traceparent: None,
        };
        let day = Date::from_ymd_opt(2026, 1, 31).expect("a day");
        let written = serde_json::to_value(metadata(&provenance, 2, day)).expect("JSON");
        let expected = serde_json::json!({
            "$correlationId": "00000000-0000-0000-0000-000000000003",
            "$causationId": "00000000-0000-0000-0000-000000000004",
            "schemaVersion": 2,
            "effectiveOn": "2026-01-31",
            "actor": "user:7",
        });
        assert_eq!(written, expected);
    }
}
