//! One batch: records in, one transaction out.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::{
    Kind, StreamId, connection,
    employee::{self, Erasure},
    id::{CommandId, EmployeeId, EventId, TenantId},
    pay_change,
};
use infra::{
    broker::Record,
    checkpoint::{self, Step},
    clock, completion,
    database::{Access, DatabaseError},
    event_log::{self, Append, Appended, NewEvent},
    outbox::{self, Outgoing},
    outcome::{self, Outcome, Verdict},
    parked::{self, Parked, UNKNOWN_TENANT},
    pay_change_task::{self, Next},
    route, scim,
    sealing::{self, NewSubjectKey, Place, Subject, SubjectKey, TenantKeys},
    source_quality,
};
use schemas::{
    codec::{AnyCommand, AnyEvent},
    envelope::{IntakeHeader, IntakeKind, Provenance},
    topics,
};
use uuid::Uuid;

use super::{Appender, AppenderError, CONSUMER, ledger::Ledger, streams::Known};
use crate::{
    bamboohr::payload,
    intake::{self, Notified, Unreadable},
};

/// Everything that the transaction writes.
#[derive(Clone, Default)]
struct Writes {
    appends: Vec<Append>,
    /// For each append, the outcome that it decides (an index into `outcomes`).
    decides: Vec<usize>,
    outcomes: Vec<Outcome>,
    completions: Vec<completion::Request>,
    parked: Vec<Parked>,
    new_keys: Vec<NewSubjectKey>,
    /// Whose keys are destroyed, and why.
    erased: Vec<(Subject, Erasure)>,
    routes: Vec<(domain::id::ConnectionId, TenantId)>,
    /// What is next about changes of pay.
    pay_changes: Vec<(pay_change_task::Of, Next)>,
    ledger: Ledger,
    steps: Vec<Step>,
}

/// A record that could be opened.
struct Opened {
    header: IntakeHeader,
    plain: Vec<u8>,
    record: usize,
    /// Whether it was decided before: only what is worth a second look gets this far.
    again: bool,
}

impl Appender {
    pub(super) async fn try_append(&mut self, records: &[Record]) -> Result<(), AppenderError> {
        let mut writes = Writes {
            steps: self.steps(records),
            ..Writes::default()
        };
        let opened = self.open(records, &mut writes).await?;
        let fresh = self.undecided(opened, &mut writes.ledger).await?;
        let streams = fresh
            .iter()
            .filter(|opened| opened.header.kind == IntakeKind::Command)
            .map(|opened| opened.header.stream);
        self.streams
            .load(&self.service.database, &self.service.keyring, streams)
            .await?;
        let subjects: Vec<Subject> = fresh
            .iter()
            .map(|opened| (opened.header.stream.tenant, opened.header.stream.id))
            .collect();
        let mut keys = self.service.keyring.subjects(&subjects).await?;
        for opened in fresh {
            self.judge(opened, records, &mut keys, &mut writes).await?;
        }
        let touched: Vec<StreamId> = writes.appends.iter().map(|append| append.stream).collect();
        let committed = self.commit(writes).await;
        if committed.is_err() {
            // What was folded ahead did not happen (or nobody knows).
            touched.iter().for_each(|stream| self.streams.forget(stream));
        }
        let steps = committed?;
        for step in steps {
            if let Some(owned) = self.owned.get_mut(&step.from.partition) {
                owned.next_offset = step.next_offset;
            }
        }
        Ok(())
    }

    /// Where each partition stands after this batch.
    fn steps(&self, records: &[Record]) -> Vec<Step> {
        let mut last: HashMap<i32, i64> = HashMap::new();
        for record in records {
            let upto = last.entry(record.partition).or_insert(record.offset);
            *upto = record.offset.max(*upto);
        }
        let mut steps: Vec<Step> = last
            .into_iter()
            .filter_map(|(partition, offset)| {
                let from = *self.owned.get(&partition)?;
                Some(Step {
                    from,
                    next_offset: offset + 1,
                    position: from.position,
                    recorded_at: None,
                })
            })
            .collect();
        steps.sort_unstable_by_key(|step| step.from.partition);
        steps
    }

    /// Reads headers and opens values; what does not open is parked.
    async fn open(&self, records: &[Record], writes: &mut Writes) -> Result<Vec<Opened>, AppenderError> {
        let mut opened = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let (header, sealed) = match IntakeHeader::read(&record.value) {
                Ok(read) => read,
                Err(error) => {
                    let nowhere = StreamId::new(UNKNOWN_TENANT, Kind::Tenant, Uuid::nil());
                    writes.parked.push(park(record, nowhere, error.to_string()));
                    continue;
                }
            };
            let keys = match self.service.keyring.tenant(header.stream.tenant).await {
                Ok(keys) => keys,
                Err(sealing::SealingError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    let nowhere = StreamId {
                        tenant: UNKNOWN_TENANT,
                        ..header.stream
                    };
                    writes.parked.push(park(record, nowhere, error.to_string()));
                    continue;
                }
            };
            match keys.open(&intake::place(header.id), &sealed) {
                Ok(plain) => opened.push(Opened {
                    header,
                    plain,
                    record: index,
                    again: false,
                }),
                Err(error) => writes.parked.push(park(record, header.stream, error.to_string())),
            }
        }
        Ok(opened)
    }

    /// Drops what was decided before, or earlier in this batch; but a notification that came before may be news.
    async fn undecided(&self, opened: Vec<Opened>, ledger: &mut Ledger) -> Result<Vec<Opened>, AppenderError> {
        let asked: Vec<(TenantId, CommandId)> = opened.iter().map(|o| (o.header.stream.tenant, o.header.id)).collect();
        let tenants = event_log::tenants_of(asked.iter().map(|(tenant, _)| *tenant));
        let decided = self
            .service
            .database
            .transact(Access::LookUp, &tenants, move |connection| {
                Box::pin(async move { outcome::find(connection, &asked).await })
            })
            .await?;
        let decided: HashSet<(TenantId, CommandId)> = decided
            .into_iter()
            .map(|outcome| (outcome.stream.tenant, outcome.command))
            .collect();
        let (mut seen, mut repeats) = (HashSet::new(), 0);
        let mut fresh = Vec::with_capacity(opened.len());
        for mut one in opened {
            let id = (one.header.stream.tenant, one.header.id);
            one.again = decided.contains(&id);
            repeats += u64::from(one.again);
            if one.header.kind == IntakeKind::Command {
                ledger.pushed(&one.header, one.again || seen.contains(&id));
            }
            if !seen.insert(id) {
                repeats += 1;
                if one.header.kind == IntakeKind::Notification
                    && let Ok(notified) = serde_json::from_slice::<Notified>(&one.plain)
                {
                    ledger.notified(&one.header, &notified, true);
                }
            } else if !one.again || one.header.kind == IntakeKind::Notification {
                fresh.push(one);
            }
        }
        metrics::counter!("tenure_intake_duplicates_total").increment(repeats);
        Ok(fresh)
    }

    async fn judge(
        &mut self,
        opened: Opened,
        records: &[Record],
        keys: &mut HashMap<Subject, SubjectKey>,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        let Opened {
            header,
            plain,
            record,
            again,
        } = opened;
        let record = &records[record];
        match header.kind {
            IntakeKind::Command => match serde_json::from_slice::<AnyCommand>(&plain) {
                Ok(command) if command.kind() == header.stream.kind => {
                    self.decide(header, command, record, keys, writes).await
                }
                Ok(_) => {
                    writes.parked.push(park(
                        record,
                        header.stream,
                        "the command is for another kind of stream".to_owned(),
                    ));
                    Ok(())
                }
                Err(_) => {
                    writes.parked.push(park(
                        record,
                        header.stream,
                        "the command does not read: was it sent by a newer version?".to_owned(),
                    ));
                    Ok(())
                }
            },
            IntakeKind::Notification => match serde_json::from_slice::<Notified>(&plain) {
                Ok(notified) if again => self.notice_again(&header, notified, writes).await,
                Ok(notified) => self.notice(&header, &notified, writes).await,
                Err(_) => {
                    writes.parked.push(park(
                        record,
                        header.stream,
                        "the notification does not read: was it sent by a newer version?".to_owned(),
                    ));
                    Ok(())
                }
            },
            IntakeKind::Unreadable => self.read_again(&header, &plain, record, writes).await,
        }
    }

    /// A message that could not be understood when it came is parked, unless it is understood by now. It has no outcome
    /// until then, so that it can be re-driven; its own id keeps repeats of it to one entry.
    async fn read_again(
        &self,
        header: &IntakeHeader,
        plain: &[u8],
        record: &Record,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        let message = serde_json::from_slice::<Unreadable>(plain).ok();
        let cause = match message.and_then(|message| Some((message.body().ok()?, message))) {
            None => "the message does not read".to_owned(),
            Some((body, message)) => match payload::parse(message.content_type.as_deref(), &body) {
                Err(problem) => problem.to_string(),
                Ok(payload::Message::Company { .. }) => return Ok(()),
                Ok(payload::Message::Employees(notifications)) => {
                    let connection = domain::id::ConnectionId::from_uuid(header.stream.id);
                    for notification in notifications {
                        let notified = Notified {
                            connection,
                            notification,
                        };
                        self.notice(header, &notified, writes).await?;
                    }
                    return Ok(());
                }
            },
        };
        writes.ledger.unreadable(header);
        writes.parked.push(Parked {
            id: header.id.uuid(),
            ..park(record, header.stream, cause)
        });
        Ok(())
    }

    /// A source says that a person changed: the person is to be read from the source.
    async fn notice(
        &self,
        header: &IntakeHeader,
        notified: &Notified,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        writes.ledger.notified(header, notified, false);
        self.want_reading(header, notified, writes).await?;
        writes.outcomes.push(outcome_of(
            header,
            Verdict::Accepted {
                position: None,
                revision: 0,
            },
        ));
        Ok(())
    }

    /// The same notification again. Sources tell time in seconds: a second change of a person within the second in which the
    /// first was told and read looks the same as a repetition. Reading the person once more is right in both cases; its
    /// values are not believed in the meantime, for they may be old.
    async fn notice_again(
        &self,
        header: &IntakeHeader,
        mut notified: Notified,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        writes.ledger.notified(header, &notified, true);
        notified.notification.fields.clear();
        self.want_reading(header, &notified, writes).await
    }

    async fn want_reading(
        &self,
        header: &IntakeHeader,
        notified: &Notified,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        let tenant = header.stream.tenant;
        let remote_id = notified.notification.remote_id.clone();
        let plain = serde_json::to_vec(notified).map_err(|_| DatabaseError::Corrupt("notification"))?;
        let sealed = self
            .service
            .keyring
            .tenant(tenant)
            .await?
            .seal(&completion::place(notified.connection, &remote_id), &plain)?;
        writes.completions.push(completion::Request {
            tenant,
            connection: notified.connection,
            remote_id,
            notification: sealed,
            correlation: header.provenance.correlation,
            backfill: header.provenance.backfill,
            found_by: completion::FoundBy::Notification,
        });
        Ok(())
    }

    async fn decide(
        &mut self,
        header: IntakeHeader,
        command: AnyCommand,
        record: &Record,
        keys: &mut HashMap<Subject, SubjectKey>,
        writes: &mut Writes,
    ) -> Result<(), AppenderError> {
        let (revision, state) = match self.streams.get(&header.stream) {
            Some(Known::At { revision, state }) => (*revision, state.clone()),
            Some(Known::Unreadable { position }) => {
                writes.parked.push(park(
                    record,
                    header.stream,
                    format!("the stream's event at position {position} does not read"),
                ));
                return Ok(());
            }
            None => return Err(DatabaseError::Corrupt("stream cache").into()),
        };
        let tenant = header.stream.tenant;
        // Whoever has no key was erased, or was never there: nothing of theirs is kept under a new one.
        if header.stream.kind == Kind::PayChange && !keys.contains_key(&(tenant, header.stream.id)) {
            let rule = "this person is not on file, or was erased".to_owned();
            writes.outcomes.push(outcome_of(&header, Verdict::Rejected { rule }));
            return Ok(());
        }
        let source = match &command {
            AnyCommand::Employee(employee::Command::Synchronise(snapshot)) => Some(snapshot.source.connection),
            _ => None,
        };
        let events = match state.decide(command, clock::today()) {
            Ok(events) => events,
            Err(rule) => {
                if let Some(source) = source {
                    writes.ledger.refused(tenant, source);
                }
                writes.outcomes.push(outcome_of(&header, Verdict::Rejected { rule }));
                return Ok(());
            }
        };
        if events.is_empty() {
            writes.outcomes.push(outcome_of(
                &header,
                Verdict::Accepted {
                    position: None,
                    revision,
                },
            ));
            return Ok(());
        }
        if let Some(found_by) = intake::asked_for(&header.provenance.actor) {
            metrics::counter!("tenure_missed_total", "found_by" => found_by.name()).increment(1);
            if let Some(source) = source {
                writes.ledger.missed(tenant, source);
            }
        }
        let state = events.iter().fold(state, super::streams::AnyState::evolve);
        let mut stored = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            stored.push(self.seal(&header, index, event, keys, writes).await?);
            follow(&header, event, writes);
        }
        let after = revision + stored.len() as i64;
        writes.decides.push(writes.outcomes.len());
        writes.outcomes.push(outcome_of(
            &header,
            Verdict::Accepted {
                position: None,
                revision: after,
            },
        ));
        writes.appends.push(Append {
            stream: header.stream,
            expected: revision,
            events: stored,
        });
        self.streams.set(header.stream, after, state);
        Ok(())
    }

    /// Encodes an event and seals what is personal in it under its subject's key, which is made when first needed.
    async fn seal(
        &self,
        header: &IntakeHeader,
        index: usize,
        event: &AnyEvent,
        keys: &mut HashMap<Subject, SubjectKey>,
        writes: &mut Writes,
    ) -> Result<NewEvent, AppenderError> {
        let encoded = event.encode().map_err(|_| DatabaseError::Corrupt("event"))?;
        let event_id = EventId::of_command(header.id, index);
        let mut payload = encoded.payload;
        if sealing::has_open_marker(&payload) {
            let subject = (header.stream.tenant, header.stream.id);
            let key = match keys.get(&subject) {
                Some(key) => key.clone(),
                None => {
                    let (new, key) = self.service.keyring.new_subject(subject).await?;
                    writes.new_keys.push(new);
                    keys.insert(subject, key.clone());
                    key
                }
            };
            key.seal(
                Place {
                    stream: &header.stream,
                    event_id,
                    schema_version: encoded.schema_version,
                },
                &mut payload,
            )?;
        }
        Ok(NewEvent {
            event_id,
            event_type: encoded.event_type,
            schema_version: encoded.schema_version,
            effective_on: event.effective_on(),
            provenance: Provenance {
                causation: header.id,
                ..header.provenance.clone()
            },
            data: serde_json::to_vec(&payload).map_err(|_| DatabaseError::Corrupt("event"))?,
        })
    }

    /// Writes everything or nothing.
    async fn commit(&self, writes: Writes) -> Result<Vec<Step>, AppenderError> {
        let mut tenants = event_log::tenants_of(
            (writes.outcomes.iter().map(|outcome| outcome.stream.tenant))
                .chain(writes.parked.iter().map(|item| item.stream.tenant))
                .chain(writes.completions.iter().map(|request| request.tenant))
                .chain(writes.ledger.tenants()),
        );
        tenants.dedup();
        let (steps, new_keys) = (writes.steps.clone(), writes.new_keys.clone());
        let destroyed: Vec<Subject> = writes.erased.iter().map(|(subject, _)| *subject).collect();
        let mut keys = HashMap::new();
        for (tenant, _) in &destroyed {
            keys.insert(*tenant, self.service.keyring.tenant(*tenant).await?);
        }
        let (wants_readings, wants_pay) = (!writes.completions.is_empty(), !writes.pay_changes.is_empty());
        let looks_first = self.looks_first;
        fail::fail_point!("before-append");
        let done = self
            .service
            .database
            .transact(Access::Write, &tenants, move |connection| {
                Box::pin(write(connection, (writes, keys), looks_first))
            })
            .await;
        fail::fail_point!("after-append");
        match done {
            Ok(ledger) => {
                ledger.publish();
                if wants_readings {
                    self.service.readings_wanted.notify_one();
                }
                if wants_pay {
                    self.service.pay_changes_wanted.notify_one();
                }
                self.service.keyring.stored(new_keys);
                self.service.keyring.forget(&destroyed);
                Ok(steps)
            }
            Err(error) => {
                let subjects: Vec<Subject> = new_keys.iter().map(NewSubjectKey::subject).collect();
                self.service.keyring.forget(&subjects);
                Err(error.into())
            }
        }
    }
}

/// Answers what was counted.
async fn write(
    connection: &mut infra::database::Connection,
    (mut writes, keys): (Writes, HashMap<TenantId, Arc<TenantKeys>>),
    looks_first: bool,
) -> Result<Ledger, DatabaseError> {
    sealing::store_subject_keys(connection, &writes.new_keys).await?;
    for (id, tenant) in &writes.routes {
        route::add(connection, *id, *tenant).await?;
    }
    completion::request(connection, &writes.completions).await?;
    let parked = parked::park(connection, &writes.parked).await?;
    let appended = if looks_first {
        event_log::append(connection, &writes.appends).await?
    } else {
        event_log::append_expected(connection, &writes.appends).await?
    };
    for (appended, outcome) in appended.iter().zip(&writes.decides) {
        let verdict = match appended {
            Appended::Recorded { last, revision, .. } => Verdict::Accepted {
                position: Some(*last),
                revision: *revision,
            },
            Appended::Duplicate { first } => Verdict::Accepted {
                position: Some(*first),
                revision: 0,
            },
            // Another writer was faster than our cache: all is decided anew.
            Appended::Conflict { .. } => return Err(DatabaseError::Contended("a stream")),
        };
        writes.outcomes[*outcome].verdict = verdict;
    }
    outcome::record(connection, &writes.outcomes).await?;
    for (of, next) in &writes.pay_changes {
        pay_change_task::follow(connection, *of, *next).await?;
    }
    for (subject, erasure) in &writes.erased {
        sealing::destroy_subject_key(connection, *subject).await?;
        source_quality::forget(connection, *subject).await?;
        pay_change_task::forget(connection, *subject).await?;
        // Whom an account was told as before it was known whose it is, is the same person.
        for own in scim::forget(connection, *subject).await? {
            if let Some(keys) = keys.get(&subject.0) {
                outbox::add(connection, &[erasing(keys, (subject.0, own), erasure)?]).await?;
            }
        }
    }
    writes.ledger.write(connection, &parked).await?;
    fail::fail_point!("after-append-before-offset");
    checkpoint::advance(connection, CONSUMER, topics::INTAKE, &writes.steps).await?;
    Ok(writes.ledger)
}

/// Nobody asks for it: it follows from that somebody was erased.
fn erasing(keys: &TenantKeys, (tenant, person): Subject, erasure: &Erasure) -> Result<Outgoing, DatabaseError> {
    let id = CommandId::derive(tenant, "tenure", &format!("erase {person}"));
    let stream = StreamId::new(tenant, Kind::Employee, person);
    let command = AnyCommand::Employee(employee::Command::Erase(erasure.clone()));
    Outgoing::seal(keys, (id, stream), "tenure", &command).map_err(|_| DatabaseError::Corrupt("command"))
}

/// What follows from an event in the same transaction.
fn follow(header: &IntakeHeader, event: &AnyEvent, writes: &mut Writes) {
    let subject = (header.stream.tenant, header.stream.id);
    match event {
        AnyEvent::Employee(employee::Event::Erased(erasure)) => writes.erased.push((subject, erasure.clone())),
        AnyEvent::Connection(connection::Event::Connected { .. }) => writes.routes.push((
            domain::id::ConnectionId::from_uuid(header.stream.id),
            header.stream.tenant,
        )),
        AnyEvent::PayChange(event) => {
            let of = pay_change_task::Of {
                tenant: header.stream.tenant,
                employee: EmployeeId::from_uuid(header.stream.id),
                change: event.change(),
            };
            writes.pay_changes.push((of, next(event)));
        }
        AnyEvent::Employee(_)
        | AnyEvent::Risk(_)
        | AnyEvent::Connection(_)
        | AnyEvent::Tenant(_)
        | AnyEvent::Program(_)
        | AnyEvent::Access(_) => {}
    }
}

const fn next(event: &pay_change::Event) -> Next {
    match event {
        pay_change::Event::Requested(request) => Next::Planned(request.at.connection),
        pay_change::Event::Approved(_)
        | pay_change::Event::SubmissionBegun(_)
        | pay_change::Event::Submitted(_)
        | pay_change::Event::Accepted(_) => Next::Due,
        pay_change::Event::Declined(_)
        | pay_change::Event::Withdrawn(_)
        | pay_change::Event::Abandoned(_)
        | pay_change::Event::Rejected(_)
        | pay_change::Event::Effective(_)
        | pay_change::Event::Overtaken(_) => Next::Over,
    }
}

fn outcome_of(header: &IntakeHeader, verdict: Verdict) -> Outcome {
    Outcome {
        command: header.id,
        stream: header.stream,
        fingerprint: header.fingerprint.clone(),
        decided_at: clock::now(),
        verdict,
    }
}

fn park(record: &Record, stream: StreamId, cause: String) -> Parked {
    tracing::warn!(
        partition = record.partition,
        offset = record.offset,
        cause,
        "an intake record was parked: {cause}"
    );
    Parked {
        // The same record parked twice is one: its place is its name.
        id: Uuid::new_v5(
            &Uuid::NAMESPACE_OID,
            format!("{CONSUMER}|{}|{}|{}", topics::INTAKE, record.partition, record.offset).as_bytes(),
        ),
        consumer: CONSUMER.to_owned(),
        stream,
        topic: topics::INTAKE.to_owned(),
        partition: record.partition,
        offset: record.offset,
        position: 0,
        cause,
        headers: record.headers_text(),
        value: record.value.clone(),
        parked_at: clock::now(),
    }
}
