//! Messages: Standard Webhooks (`{"type", "timestamp", "data"}`), and CloudEvents 1.0 in binary, structured and batch mode
//! (facts/connectors.md A4).

use axum::http::HeaderMap;
use chrono::DateTime;
use domain::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::signature::ID_HEADER;
use crate::record::{Kind, Record};

/// The most events of one batch.
pub const EVENTS_MAX: usize = 1_000;
/// The longest id of a message, in characters.
const ID_CHARS_MAX: usize = 256;

/// What a source says of a person.
#[derive(Debug)]
pub struct Message {
    /// The same for every attempt to deliver it.
    pub id: String,
    pub kind: Kind,
    /// When it was so; without it, when it came.
    pub at: Option<Timestamp>,
    pub record: Record,
}

/// How messages came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    StandardWebhooks,
    /// What the event is stands in headers, and the body is its data.
    Binary,
    Structured,
    Batch,
}

/// Why messages are not understood. Holds none of their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageProblem {
    #[error("the body does not read as JSON of a message (line {line}, column {column}): {why}")]
    Body {
        line: usize,
        column: usize,
        why: &'static str,
    },
    #[error("event {index} of the batch is wrong: {problem}")]
    OfBatch { index: usize, problem: Box<MessageProblem> },
    #[error("the {0} is missing, empty or longer than {ID_CHARS_MAX} characters")]
    Attribute(&'static str),
    #[error("specversion is to be 1.0")]
    Version,
    #[error(
        "the type is to be employee.upserted or employee.deleted, with or without a name of your own and a dot before it"
    )]
    Type,
    #[error("the time is not written as in RFC 3339, such as 2026-01-31T18:42:00Z")]
    Time,
    #[error("the event has no data")]
    NoData,
    #[error("a batch may have {EVENTS_MAX} events: send them in several")]
    TooMany,
}

impl MessageProblem {
    fn body(error: &serde_json::Error) -> Self {
        let why = match error.classify() {
            serde_json::error::Category::Data => {
                "a field that is unknown, missing, or of another kind than it should be"
            }
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is no JSON",
        };
        Self::Body {
            line: error.line(),
            column: error.column(),
            why,
        }
    }
}

/// In which mode a request is.
#[must_use]
pub fn mode(headers: &HeaderMap) -> Mode {
    let content_type = text(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
    if content_type.starts_with("application/cloudevents-batch") {
        Mode::Batch
    } else if content_type.starts_with("application/cloudevents") {
        Mode::Structured
    } else if headers.contains_key("ce-specversion") {
        Mode::Binary
    } else {
        Mode::StandardWebhooks
    }
}

/// Reads all messages of a request, or none.
///
/// # Errors
/// When one is not understood.
pub fn parse(mode: Mode, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Message>, MessageProblem> {
    match mode {
        Mode::StandardWebhooks => {
            let standard: Standard<'_> = read(body)?;
            let id = text(headers, ID_HEADER).unwrap_or_default().to_owned();
            message(&standard.kind, Ok((id, standard.timestamp)), standard.data).map(|one| vec![one])
        }
        Mode::Binary => {
            let header = |name: &str| text(headers, name).map(|value| percent_decode_str(value).decode_utf8_lossy());
            if header("ce-specversion").as_deref() != Some("1.0") {
                return Err(MessageProblem::Version);
            }
            let id = cloud_id(
                &header("ce-source").unwrap_or_default(),
                &header("ce-id").unwrap_or_default(),
            );
            let time = header("ce-time").map(std::borrow::Cow::into_owned);
            let kind = header("ce-type").unwrap_or_default();
            let data: &RawValue = read(body)?;
            message(&kind, id.map(|id| (id, time)), Some(data)).map(|one| vec![one])
        }
        Mode::Structured => read::<CloudEvent<'_>>(body)?.message().map(|one| vec![one]),
        Mode::Batch => {
            let events: Vec<CloudEvent<'_>> = read(body)?;
            if events.len() > EVENTS_MAX {
                return Err(MessageProblem::TooMany);
            }
            let messages = events.into_iter().enumerate().map(|(index, event)| {
                event.message().map_err(|problem| MessageProblem::OfBatch {
                    index,
                    problem: Box::new(problem),
                })
            });
            messages.collect()
        }
    }
}

/// The body of a Standard Webhook.
#[derive(Deserialize)]
struct Standard<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What of a CloudEvent is looked at. Extensions may come and are left.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl CloudEvent<'_> {
    fn message(self) -> Result<Message, MessageProblem> {
        if self.specversion != "1.0" {
            return Err(MessageProblem::Version);
        }
        let id = cloud_id(&self.source, &self.id);
        message(&self.kind, id.map(|id| (id, self.time)), self.data)
    }
}

/// An event's id is unique within its source only.
fn cloud_id(source: &str, id: &str) -> Result<String, MessageProblem> {
    match (source.is_empty(), id.is_empty()) {
        (true, _) => Err(MessageProblem::Attribute("source")),
        (_, true) => Err(MessageProblem::Attribute("id")),
        (false, false) => Ok(format!("{source} {id}")),
    }
}

fn message(
    kind: &str,
    id_and_time: Result<(String, Option<String>), MessageProblem>,
    data: Option<&RawValue>,
) -> Result<Message, MessageProblem> {
    let (id, time) = id_and_time?;
    if id.trim().is_empty() || id.chars().count() > ID_CHARS_MAX {
        return Err(MessageProblem::Attribute("id"));
    }
    let is = |word: &str| {
        kind.strip_suffix(word)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let kind = match (is("employee.upserted"), is("employee.deleted")) {
        (true, _) => Kind::Upserted,
        (_, true) => Kind::Deleted,
        (false, false) => return Err(MessageProblem::Type),
    };
    let at = time.map(|time| DateTime::parse_from_rfc3339(&time).map_err(|_| MessageProblem::Time));
    let at = at.transpose()?.map(|at| at.to_utc());
    let record = read(data.ok_or(MessageProblem::NoData)?.get().as_bytes())?;
    Ok(Message { id, kind, at, record })
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, MessageProblem> {
    serde_json::from_slice(json).map_err(|error| MessageProblem::body(&error))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use domain::{
        Aggregate,
        employee::{Command, Employee, Source},
        id::{ConnectionId, TenantId},
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::record;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                axum::http::HeaderName::from_static(name),
                value.parse().expect("a header"),
            )
        });
        pairs.collect()
    }

    fn parsed(pairs: &[(&'static str, &str)], body: &str) -> Result<Vec<Message>, MessageProblem> {
        let headers = headers(pairs);
        parse(mode(&headers), &headers, body.as_bytes())
    }

    #[test]
    fn the_same_event_reads_alike_in_every_mode() {
        let data = json!({"id": "42", "first_name": "Ada"});
        let standard = json!({"type": "employee.upserted", "timestamp": "2026-01-31T18:42:00Z", "data": data});
        let event = json!({"specversion": "1.0", "id": "7", "source": "/hr", "type": "com.acme.employee.upserted",
            "time": "2026-01-31T19:42:00+01:00", "datacontenttype": "application/json", "traceparent": "00-1", "data": data});
        let binary = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "%2Fhr"),
            ("ce-type", "employee.upserted"),
            ("ce-time", "2026-01-31T18:42:00Z"),
        ];
        let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
        let batch = [("content-type", "application/cloudevents-batch+json")];
        for (pairs, body, id) in [
            (&[("webhook-id", "msg_1")][..], standard.to_string(), "msg_1"),
            (&binary[..], data.to_string(), "/hr 7"),
            (&structured[..], event.to_string(), "/hr 7"),
            (&batch[..], json!([event]).to_string(), "/hr 7"),
        ] {
            let messages = parsed(pairs, &body).expect("understood");
            let [one] = &messages[..] else { panic!("{messages:?}") };
            assert_eq!((one.id.as_str(), one.kind), (id, Kind::Upserted));
            assert_eq!(
                one.at.map(|at| at.to_rfc3339()).as_deref(),
                Some("2026-01-31T18:42:00+00:00")
            );
            assert_eq!(one.record.id, "42");
        }
    }

    /// JSON that looks like a message here and there.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            prop::sample::select(vec![
                "42",
                "employee.upserted",
                "1.0",
                "2026-01-31",
                "2026-01-31T18:42:00Z",
                "YEAR",
                "leave",
                "1e400",
                ""
            ])
            .prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "id",
            "type",
            "data",
            "timestamp",
            "specversion",
            "source",
            "time",
            "first_name",
            "weekly_hours",
            "date_of_birth",
            "employments",
            "statuses",
            "effective_date",
            "pay_rate",
            "pay_currency",
            "pay_period",
            "manager_id",
            "status",
            "complete",
            "custom_fields",
            "x",
        ]);
        leaf.prop_recursive(4, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                    .prop_map(|map| json!(map)),
            ]
        })
    }

    fn read_and_translated(mode: Mode, body: &[u8]) {
        let headers = headers(&[
            ("webhook-id", "1"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "s"),
            ("ce-type", "employee.upserted"),
        ]);
        let messages = parse(mode, &headers, body).unwrap_or_default();
        let source = Source {
            connection: ConnectionId::from_uuid(uuid::Uuid::nil()),
            remote_id: "42".to_owned(),
        };
        let tenant = TenantId::from_uuid(uuid::Uuid::nil());
        let today = NaiveDate::from_ymd_opt(2026, 1, 31).expect("a day");
        for Message { kind, record, .. } in messages {
            if let Ok(snapshot) = record::snapshot(record, kind, (tenant, source.clone(), today)) {
                // Whatever a source says, the domain accepts it or refuses it.
                drop(Employee::default().decide(Command::Synchronise(Box::new(snapshot)), today));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_anybody_sends_makes_it_fail(
            body in prop::collection::vec(any::<u8>(), 0..300), json in any_json(), mode in prop::sample::select(vec![Mode::StandardWebhooks, Mode::Binary, Mode::Structured, Mode::Batch]),
        ) {
            read_and_translated(mode, &body);
            read_and_translated(mode, json.to_string().as_bytes());
            let wrapped = json!({"type": "employee.upserted", "specversion": "1.0", "id": "1", "source": "s", "data": json});
            read_and_translated(mode, wrapped.to_string().as_bytes());
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        let id = ("webhook-id", "1");
        let data = r#""data": {"id": "42"}"#;
        for (body, said) in [
            ("", "it ends too early"),
            ("Ada", "it is no JSON"),
            (
                r#"{"type": "employee.upserted", "data": {"id": "1", "first": "Ada"}}"#,
                "a field that is unknown",
            ),
            (
                r#"{"type": "employee.upserted", "data": {"id": "1", "weekly_hours": "Ada"}}"#,
                "a field that is unknown",
            ),
            (r#"{"type": "employee.upserted"}"#, "the event has no data"),
            (
                &format!(r#"{{"type": "employee.promoted", {data}}}"#),
                "the type is to be",
            ),
            (
                &format!(r#"{{"type": "xemployee.upserted", {data}}}"#),
                "the type is to be",
            ),
            (
                &format!(r#"{{"type": "employee.upserted", "timestamp": "now", {data}}}"#),
                "RFC 3339",
            ),
        ] {
            let problem = parsed(&[id], body).expect_err(body).to_string();
            assert!(problem.contains(said) && !problem.contains("Ada"), "{body}: {problem}");
        }
        let standard = format!(r#"{{"type": "employee.deleted", {data}}}"#);
        assert_eq!(parsed(&[], &standard).map(|_| ()), Err(MessageProblem::Attribute("id")));
        let batch = [("content-type", "application/cloudevents-batch+json")];
        let wrong =
            json!([{"specversion": "0.3", "id": "1", "source": "s", "type": "employee.deleted", "data": {"id": "1"}}]);
        let problem = parsed(&batch, &wrong.to_string()).expect_err("old").to_string();
        assert_eq!(problem, "event 0 of the batch is wrong: specversion is to be 1.0");
        let many =
            vec![json!({"specversion": "1.0", "id": "1", "source": "s", "type": "employee.deleted"}); EVENTS_MAX + 1];
        assert_eq!(
            parsed(&batch, &json!(many).to_string()).map(|_| ()),
            Err(MessageProblem::TooMany)
        );
    }
}
