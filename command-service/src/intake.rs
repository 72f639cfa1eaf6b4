//! Into `tenure.intake`: sealed with the tenant's key, acknowledged by Kafka before anybody is told "accepted".

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use domain::{Kind, StreamId, id::CommandId};
use infra::{
    broker::{BrokerError, Outgoing, Producer},
    clock,
    completion::FoundBy,
    sealing::{Keyring, SealingError},
};
use schemas::{
    codec::AnyCommand,
    envelope::{IntakeHeader, IntakeKind, Provenance},
    topics,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bamboohr::payload::Notification;

/// What a notification record holds, sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notified {
    pub connection: domain::id::ConnectionId,
    pub notification: Notification,
}

/// What an unreadable record holds, sealed: the message as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unreadable {
    pub content_type: Option<String>,
    /// Base64: it need not be text.
    body: String,
    /// What was wrong, without anything personal.
    pub problem: String,
}

impl Unreadable {
    #[must_use]
    pub fn new(content_type: Option<String>, body: &[u8], problem: String) -> Self {
        Self {
            content_type,
            body: BASE64.encode(body),
            problem,
        }
    }

    /// The body as it came, byte for byte.
    ///
    /// # Errors
    /// When this was not made by [`Self::new`].
    pub fn body(&self) -> Result<Vec<u8>, base64::DecodeError> {
        BASE64.decode(&self.body)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("the intake could not seal")]
    Seal(#[from] SealingError),
    #[error("the intake could not be written")]
    Broker(#[from] BrokerError),
    #[error("a record did not serialise")]
    Encode(#[source] serde_json::Error),
}

/// A record before it is sealed.
#[derive(Debug, Clone)]
pub struct Submission {
    pub id: CommandId,
    pub stream: StreamId,
    pub actor: String,
    pub correlation: Uuid,
    /// The trace that the caller is in.
    pub traceparent: Option<String>,
    pub backfill: bool,
    pub fingerprint: Option<String>,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Command(Box<AnyCommand>),
    Notification(Box<Notified>),
    Unreadable(Unreadable),
}

/// How a source is named in the log, with how it came out what it says there if it did not tell by itself.
#[must_use]
pub fn source_actor(kind: &str, connection: domain::id::ConnectionId, found_by: FoundBy) -> String {
    if found_by.is_asked_for() {
        format!("{kind}:{connection}:{}", found_by.name())
    } else {
        format!("{kind}:{connection}")
    }
}

/// How it came out what a source says, if it did not tell by itself: what [`source_actor`] wrote.
#[must_use]
pub fn asked_for(actor: &str) -> Option<FoundBy> {
    let (source, found_by) = actor.rsplit_once(':')?;
    let found_by = FoundBy::from_name(found_by).ok()?;
    let (kind, _) = source.split_once(':')?;
    (matches!(kind, "bamboohr" | "workday") && found_by.is_asked_for()).then_some(found_by)
}

/// How a system without a connector is named in the log.
#[must_use]
pub fn push_actor(connection: domain::id::ConnectionId) -> String {
    format!("push:{connection}")
}

/// How files are named in the log.
#[must_use]
pub fn file_actor(connection: domain::id::ConnectionId) -> String {
    format!("file:{connection}")
}

/// How an identity provider is named in the log.
#[must_use]
pub fn scim_actor(connection: domain::id::ConnectionId) -> String {
    format!("scim:{connection}")
}

/// Which system told by itself or in a file: what [`push_actor`], [`file_actor`] and [`scim_actor`] wrote.
#[must_use]
pub fn pushed_by(actor: &str) -> Option<domain::id::ConnectionId> {
    let (how, connection) = actor.split_once(':')?;
    matches!(how, "push" | "file" | "scim")
        .then_some(connection)?
        .parse()
        .ok()
}

/// Where an intake record's value belongs.
#[must_use]
pub fn place(id: CommandId) -> String {
    infra::outbox::place(id)
}

/// Seals and sends; everything is durable when this answers well.
///
/// # Errors
/// When sealing fails or Kafka does not confirm. Sending again under the same ids is harmless.
pub async fn submit(producer: &Producer, keyring: &Keyring, submissions: Vec<Submission>) -> Result<(), IntakeError> {
    let mut records = Vec::with_capacity(submissions.len());
    for submission in submissions {
        records.push(record(keyring, submission).await?);
    }
    producer.send_all(records).await?;
    fail::fail_point!("after-intake-ack");
    Ok(())
}

async fn record(keyring: &Keyring, submission: Submission) -> Result<Outgoing, IntakeError> {
    let (kind, plain) = match &submission.content {
        Content::Command(command) => (IntakeKind::Command, serde_json::to_vec(command)),
        Content::Notification(notified) => (IntakeKind::Notification, serde_json::to_vec(notified)),
        Content::Unreadable(unreadable) => (IntakeKind::Unreadable, serde_json::to_vec(unreadable)),
    };
    let plain = plain.map_err(IntakeError::Encode)?;
    let sealed = keyring
        .tenant(submission.stream.tenant)
        .await?
        .seal(&place(submission.id), &plain)?;
    let header = IntakeHeader {
        kind,
        id: submission.id,
        stream: submission.stream,
        accepted_at: clock::now(),
        provenance: Provenance {
            actor: submission.actor,
            correlation: submission.correlation,
            causation: submission.id,
            backfill: submission.backfill,
            traceparent: submission.traceparent,
        },
        fingerprint: submission.fingerprint,
    };
    Ok(Outgoing {
        topic: topics::INTAKE,
        key: topics::key(&submission.stream),
        value: header.write(&sealed),
    })
}

/// The stream of a connection, for what belongs to no person.
#[must_use]
pub fn connection_stream(tenant: domain::id::TenantId, connection: domain::id::ConnectionId) -> StreamId {
    StreamId::new(tenant, Kind::Connection, connection)
}

/// A digest, for what an id is derived from.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
