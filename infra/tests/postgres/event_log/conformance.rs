//! The log's contract, asked of either back end by what both can do ([`Log`]): each has its `conforms!`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{
    Date, Kind, StreamId,
    id::{CommandId, EventId, TenantId},
};
use futures_util::future::join_all;
use infra::{
    clock,
    event_log::{Append, Appended, EventLog, NewEvent},
    kurrent::KurrentLog,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use schemas::envelope::{Provenance, StoredEvent};
use uuid::Uuid;

/// Everything below that any back end does on a log of its own, for the macro `runs` of its caller.
macro_rules! every_log {
    ($runs:ident) => {
        $runs!(
            what_is_appended_reads_back,
            an_unexpected_revision_is_a_conflict,
            appends_of_one_batch_continue_a_stream,
            many_appends_at_once_keep_each_streams_order,
            a_rejected_append_does_not_touch_its_neighbours,
            a_repeated_event_id_is_answered_with_its_first_position,
            nothing_to_append_is_judged_by_its_revision,
            tenants_do_not_share_event_ids,
            a_reader_sees_each_event_once_and_in_order_while_others_write,
        );
    };
}
pub(crate) use every_log;

/// A log under test.
#[derive(Clone)]
pub enum Log {
    Postgres(EventLog),
    Kurrent(KurrentLog),
}

impl Log {
    /// Whether positions are 1, 2, 3, …; otherwise they only rise.
    pub const fn counts(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Kurrent(_) => false,
        }
    }

    pub async fn append(&self, append: Append) -> Result<Appended, String> {
        match self {
            Self::Postgres(log) => log.append(append).await.map_err(|error| error.to_string()),
            Self::Kurrent(log) => log.append(append).await.map_err(|error| format!("{error:?}")),
        }
    }

    pub async fn read_stream(&self, stream: StreamId, after: i64) -> Vec<StoredEvent> {
        match self {
            Self::Postgres(log) => log.read_stream(stream, after).await.expect("a stream"),
            Self::Kurrent(log) => log.read_stream(stream, after).await.expect("a stream"),
        }
    }

    pub async fn read_tenant(&self, tenant: TenantId, kind: Kind, after: i64) -> Vec<StoredEvent> {
        match self {
            Self::Postgres(log) => log.read_tenant(tenant, kind, after).await.expect("events"),
            Self::Kurrent(log) => log.read_tenant(tenant, kind, after).await.expect("events"),
        }
    }

    pub async fn head(&self) -> i64 {
        match self {
            Self::Postgres(log) => log.head().await.expect("a head"),
            Self::Kurrent(log) => log.head().await.expect("a head"),
        }
    }
}

pub fn new_stream(tenant: TenantId) -> StreamId {
    StreamId::new(tenant, Kind::Employee, clock::new_id())
}

pub fn new_event(number: usize) -> NewEvent {
    NewEvent {
        event_id: EventId::from_uuid(clock::new_id()),
        event_type: format!("test.number-{number}"),
        schema_version: 1 + number as i16,
        effective_on: Date::from_ymd_opt(2026, 1, 1 + number as u32 % 28).expect("a day"),
        provenance: Provenance {
            actor: format!("user:{number}"),
            correlation: clock::new_id(),
            causation: CommandId::from_uuid(clock::new_id()),
            backfill: number % 2 == 1,
            traceparent: number
                .is_multiple_of(2)
                .then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        },
        data: format!(r#"{{"number": {number}, "text": "ß\u0000"}}"#).into_bytes(),
    }
}

pub fn append_to(stream: StreamId, expected: i64, events: usize) -> Append {
    Append {
        stream,
        expected,
        events: (0..events).map(new_event).collect(),
    }
}

/// First and last position, and the stream's revision.
#[track_caller]
pub fn recorded<E: std::fmt::Debug>(answer: Result<Appended, E>) -> (i64, i64, i64) {
    match answer {
        Ok(Appended::Recorded { first, last, revision }) => (first, last, revision),
        other => panic!("expected a record, not {other:?}"),
    }
}

/// As [`recorded`], where the type of a failure cannot be told.
#[track_caller]
fn is_recorded(answer: Appended) -> (i64, i64, i64) {
    recorded(Ok::<_, String>(answer))
}

pub async fn what_is_appended_reads_back(log: &Log, tenant: TenantId) {
    let append = append_to(new_stream(tenant), 0, 3);
    let (first, last, revision) = recorded(log.append(append.clone()).await);
    assert_eq!(revision, 3);
    assert!(log.head().await >= last);
    let events = log.read_stream(append.stream, 0).await;
    assert_eq!(events.len(), 3);
    assert_eq!((events[0].position, events[2].position), (first, last));
    assert!(events[0].position < events[1].position && events[1].position < last);
    assert!(!log.counts() || last == first + 2);
    for (index, (stored, new)) in events.iter().zip(&append.events).enumerate() {
        let expected = StoredEvent {
            position: stored.position,
            stream: append.stream,
            revision: 1 + index as i64,
            event_id: new.event_id,
            event_type: new.event_type.clone(),
            schema_version: new.schema_version,
            effective_on: new.effective_on,
            recorded_at: stored.recorded_at,
            provenance: new.provenance.clone(),
            data: new.data.clone(),
        };
        assert_eq!(*stored, expected);
    }
    assert_eq!(log.read_stream(append.stream, 2).await, events[2..]);
    assert_eq!(log.read_stream(append.stream, 3).await, []);
    let of_kind = async |kind, after| log.read_tenant(tenant, kind, after).await;
    assert_eq!(of_kind(Kind::Employee, 0).await, events);
    assert_eq!(of_kind(Kind::Employee, first).await, events[1..]);
    assert_eq!(of_kind(Kind::Risk, 0).await, []);
    // Whoever has the same id under another kind, or in another tenant, is somebody else.
    for elsewhere in [
        StreamId {
            kind: Kind::Risk,
            ..append.stream
        },
        StreamId {
            tenant: crate::server::tenant(),
            ..append.stream
        },
    ] {
        assert_eq!(log.read_stream(elsewhere, 0).await, []);
    }
}

pub async fn an_unexpected_revision_is_a_conflict(log: &Log, tenant: TenantId) {
    let stream = new_stream(tenant);
    let conflict = async |expected, actual| {
        let answer = log.append(append_to(stream, expected, 1)).await.expect("an answer");
        assert_eq!(answer, Appended::Conflict { actual });
    };
    conflict(1, 0).await;
    recorded(log.append(append_to(stream, 0, 2)).await);
    conflict(0, 2).await;
    conflict(1, 2).await;
    conflict(3, 2).await;
    assert_eq!(log.read_stream(stream, 0).await.len(), 2);
}

/// All at once: polled in order, so that they queue in order while the first one commits.
async fn at_once(log: &Log, appends: Vec<Append>) -> Vec<Appended> {
    let answers = join_all(appends.into_iter().map(|append| log.append(append))).await;
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

/// So many that they do not go into one batch.
pub async fn many_appends_at_once_keep_each_streams_order(log: &Log, tenant: TenantId) {
    let streams: Vec<StreamId> = (0..40).map(|_| new_stream(tenant)).collect();
    let appends: Vec<Append> = (0..10)
        .flat_map(|expected| streams.iter().map(move |stream| append_to(*stream, expected, 1)))
        .collect();
    // The runtime would interrupt a task that does so much, and the rest would queue in another order.
    let answers = tokio::task::unconstrained(at_once(log, appends)).await;
    let mut positions: Vec<i64> = Vec::new();
    for (n, answer) in answers.into_iter().enumerate() {
        let (first, _, revision) = is_recorded(answer);
        assert_eq!(revision, (n / streams.len()) as i64 + 1);
        positions.push(first);
    }
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), 400);
}

pub async fn appends_of_one_batch_continue_a_stream(log: &Log, tenant: TenantId) {
    let (one, other) = (new_stream(tenant), new_stream(tenant));
    let appends: Vec<Append> = (0..20)
        .map(|n| append_to(if n % 2 == 0 { one } else { other }, (n / 2) * 2, 2))
        .collect();
    let answers = at_once(log, appends).await;
    let mut after = [0, 0];
    for (n, answer) in answers.into_iter().enumerate() {
        let (first, last, revision) = is_recorded(answer);
        let after = &mut after[n % 2];
        assert!(
            first > *after && last > first && (!log.counts() || last == first + 1),
            "a stream's positions follow the order of its appends"
        );
        assert_eq!(revision, (n as i64 / 2) * 2 + 2);
        *after = last;
    }
    for stream in [one, other] {
        let revisions: Vec<i64> = log
            .read_stream(stream, 0)
            .await
            .iter()
            .map(|event| event.revision)
            .collect();
        assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
    }
}

pub async fn a_rejected_append_does_not_touch_its_neighbours(log: &Log, tenant: TenantId) {
    let streams: Vec<StreamId> = (0..3).map(|_| new_stream(tenant)).collect();
    let answers = at_once(
        log,
        vec![
            append_to(streams[0], 0, 1),
            append_to(streams[1], 5, 1),
            append_to(streams[2], 0, 2),
            append_to(streams[0], 0, 1),
            append_to(streams[0], 1, 1),
        ],
    )
    .await;
    assert!(
        matches!(
            answers[..],
            [
                Appended::Recorded { revision: 1, .. },
                Appended::Conflict { actual: 0 },
                Appended::Recorded { revision: 2, .. },
                Appended::Conflict { actual: 1 },
                Appended::Recorded { revision: 2, .. }
            ]
        ),
        "{answers:?}"
    );
    for (stream, events) in streams.into_iter().zip([2, 0, 2]) {
        assert_eq!(log.read_stream(stream, 0).await.len(), events);
    }
}

pub async fn a_repeated_event_id_is_answered_with_its_first_position(log: &Log, tenant: TenantId) {
    let stream = new_stream(tenant);
    let once = append_to(stream, 0, 3);
    let (first, ..) = recorded(log.append(once.clone()).await);
    a_repeat_is_known_to(log, once.clone(), first).await;
    // Also after the stream went on, and whatever revision the repeat expects: it is no conflict, it is known.
    recorded(log.append(append_to(stream, 3, 1)).await);
    a_repeat_is_known_to(
        log,
        Append {
            expected: 4,
            ..once.clone()
        },
        first,
    )
    .await;
    a_repeat_is_known_to(log, once, first).await;
    assert_eq!(log.read_stream(stream, 0).await.len(), 4);

    // All at once, among others: exactly one of them is recorded.
    let twice = append_to(new_stream(tenant), 0, 2);
    let answers = at_once(
        log,
        vec![
            append_to(new_stream(tenant), 0, 1),
            twice.clone(),
            append_to(new_stream(tenant), 0, 1),
            twice.clone(),
            Append {
                expected: 2,
                ..twice.clone()
            },
        ],
    )
    .await;
    let (first, ..) = is_recorded(answers[1]);
    assert_eq!(
        [answers[3], answers[4]],
        [Appended::Duplicate { first }, Appended::Duplicate { first }]
    );
    is_recorded(answers[0]);
    is_recorded(answers[2]);
    assert_eq!(log.read_stream(twice.stream, 0).await.len(), 2);
}

pub async fn a_repeat_is_known_to(log: &Log, append: Append, first: i64) {
    let stream = append.stream;
    let before = log.read_stream(stream, 0).await;
    let answer = log.append(append).await.expect("an answer");
    assert_eq!(answer, Appended::Duplicate { first });
    assert_eq!(log.read_stream(stream, 0).await, before);
}

pub async fn nothing_to_append_is_judged_by_its_revision(log: &Log, tenant: TenantId) {
    let stream = new_stream(tenant);
    recorded(log.append(append_to(stream, 0, 2)).await);
    assert_eq!(recorded(log.append(append_to(stream, 2, 0)).await).2, 2);
    let answer = log.append(append_to(stream, 1, 0)).await.expect("an answer");
    assert_eq!(answer, Appended::Conflict { actual: 2 });
    assert_eq!(log.read_stream(stream, 0).await.len(), 2);
}

pub async fn tenants_do_not_share_event_ids(log: &Log, tenant: TenantId) {
    let append = append_to(new_stream(tenant), 0, 1);
    let elsewhere = Append {
        stream: StreamId {
            tenant: crate::server::tenant(),
            ..append.stream
        },
        ..append.clone()
    };
    for answer in at_once(log, vec![append, elsewhere]).await {
        is_recorded(answer);
    }
}

/// Twenty writers on five streams, each deciding anew after a conflict and repeating after a failure, as the appender does.
pub async fn concurrent_writers_lose_and_duplicate_nothing(logs: &[Log], tenant: TenantId) {
    const WRITERS: usize = 20;
    const APPENDS: usize = 15;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let streams: Vec<StreamId> = (0..5).map(|_| new_stream(tenant)).collect();
    let writers = (0..WRITERS).map(|writer| {
        let (log, streams) = (logs[writer % logs.len()].clone(), streams.clone());
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(writer as u64));
        tokio::spawn(async move {
            let mut written: Vec<(Vec<EventId>, i64)> = Vec::new();
            for _ in 0..APPENDS {
                let mut append = append_to(
                    streams[random.random_range(0..streams.len())],
                    0,
                    random.random_range(1..4),
                );
                let first = loop {
                    match log.append(append.clone()).await {
                        Ok(Appended::Recorded { first, .. } | Appended::Duplicate { first }) => break first,
                        Ok(Appended::Conflict { actual }) => append.expected = actual,
                        // Unknown: the same ids again will tell.
                        Err(_) => {}
                    }
                };
                written.push((append.events.iter().map(|event| event.event_id).collect(), first));
            }
            written
        })
    });
    let written: Vec<(Vec<EventId>, i64)> = join_all(writers)
        .await
        .into_iter()
        .flat_map(|written| written.expect("a writer"))
        .collect();
    let mut stored: BTreeMap<i64, EventId> = BTreeMap::new();
    let mut count = 0;
    for stream in streams {
        let events = logs[0].read_stream(stream, 0).await;
        assert!(events.is_sorted_by_key(|event| event.position));
        let revisions: Vec<i64> = events.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (1..=events.len() as i64).collect::<Vec<_>>());
        count += events.len();
        stored.extend(events.into_iter().map(|event| (event.position, event.event_id)));
    }
    assert_eq!(stored.len(), count, "two events were given one position");
    // Each append lies where it was acknowledged, in one piece of its stream; nothing else is there.
    let place: BTreeMap<EventId, i64> = stored.iter().map(|(position, id)| (*id, *position)).collect();
    for (ids, first) in &written {
        assert_eq!(
            stored.get(first),
            ids.first(),
            "what is stored is what was acknowledged"
        );
        let places: Vec<i64> = ids.iter().map(|id| place[id]).collect();
        assert!(places.is_sorted());
        let last = first + ids.len() as i64 - 1;
        assert!(
            !logs[0].counts() || places.last() == Some(&last),
            "an append lies in one piece"
        );
    }
    let acknowledged: usize = written.iter().map(|(ids, _)| ids.len()).sum();
    assert_eq!(stored.len(), acknowledged, "what is stored is what was acknowledged");
}

/// Eight writers, and a reader that goes on after the last position that it saw.
pub async fn a_reader_sees_each_event_once_and_in_order_while_others_write(log: &Log, tenant: TenantId) {
    const WRITERS: usize = 8;
    const APPENDS: usize = 25;
    let written = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (log, written) = (log.clone(), Arc::clone(&written));
        async move {
            let (mut cursor, mut seen, mut ids) = (0, Vec::new(), BTreeSet::new());
            loop {
                let done = written.load(Ordering::SeqCst);
                let page = log.read_tenant(tenant, Kind::Employee, cursor).await;
                if page.is_empty() && done {
                    return seen;
                }
                for event in page {
                    assert!(event.position > cursor, "positions rise");
                    assert!(ids.insert(event.event_id), "an event came twice");
                    cursor = event.position;
                    seen.push(event);
                }
            }
        }
    });
    let writers = (0..WRITERS).map(|_| {
        let log = log.clone();
        tokio::spawn(async move {
            let stream = new_stream(tenant);
            for turn in 0..APPENDS {
                recorded(log.append(append_to(stream, turn as i64, 1)).await);
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("a writer");
    }
    written.store(true, Ordering::SeqCst);
    let seen = reader.await.expect("a reader");
    assert_eq!(seen.len(), WRITERS * APPENDS, "the reader missed events");
    assert!(seen.is_sorted_by_key(|event| event.recorded_at));
    let mut next: BTreeMap<Uuid, i64> = BTreeMap::new();
    for event in seen {
        let revision = next.entry(event.stream.id).or_default();
        *revision += 1;
        assert_eq!(event.revision, *revision, "a stream's events come in their order");
    }
}
