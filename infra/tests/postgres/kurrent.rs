//! The log in KurrentDB: what any back end must do, then what this one does besides. On the server at `EVENTSTORE_URL`, if there is one;
//! what needs a server that fails on demand is always asked of the stand-in.

pub mod stand_in;

use std::{sync::LazyLock, time::Duration};

use domain::Kind;
use eventstore::{Client, EventData};
use futures_util::future::join_all;
use infra::{
    clock,
    event_log::{Append, Appended},
    kurrent::{ATTEMPTS_MAX, Checkpoint, Heard, KurrentError, KurrentLog, NAME_DEFAULT},
};
use schemas::envelope::StoredEvent;
use secrecy::{ExposeSecret, SecretString};

use self::stand_in::{Fate, StandIn};
use crate::{
    event_log::conformance::{self, Log, append_to, new_stream, recorded},
    server::{self, run},
};

/// A server for tests that ask nothing of it but KurrentDB's own.
fn address() -> SecretString {
    static STAND_IN: LazyLock<StandIn> = LazyLock::new(StandIn::start);
    std::env::var("EVENTSTORE_URL").map_or_else(|_| STAND_IN.address(), SecretString::from)
}

/// A log for one test, wherever it is.
pub fn new_log() -> KurrentLog {
    let name = format!("test{}", clock::new_id().simple());
    KurrentLog::new(&address(), &name).expect("an address")
}

fn on(stand_in: &StandIn) -> KurrentLog {
    KurrentLog::new(&stand_in.address(), NAME_DEFAULT).expect("an address")
}

/// Runs a function of [`conformance`] on a log in KurrentDB.
macro_rules! conforms {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            run(async { conformance::$name(&Log::Kurrent(new_log()), server::tenant()).await });
        }
    )*};
}

conformance::every_log!(conforms);

#[test]
fn a_repeat_is_known_after_a_restart() {
    run(async {
        let name = format!("test{}", clock::new_id().simple());
        let log = || KurrentLog::new(&address(), &name).expect("an address");
        let append = append_to(new_stream(server::tenant()), 0, 2);
        let (first, ..) = recorded(log().append(append.clone()).await);
        conformance::a_repeat_is_known_to(&Log::Kurrent(log()), append, first).await;
    });
}

#[test]
fn concurrent_writers_lose_and_duplicate_nothing() {
    run(async {
        // Four processes: nothing but the server keeps them apart.
        let name = format!("test{}", clock::new_id().simple());
        let log = |_| Log::Kurrent(KurrentLog::new(&address(), &name).expect("an address"));
        let logs: Vec<Log> = (0..4).map(log).collect();
        conformance::concurrent_writers_lose_and_duplicate_nothing(&logs, server::tenant()).await;
    });
}

/// KurrentDB answers both with success.
#[test]
fn of_two_processes_that_append_the_same_one_records_it() {
    run(async {
        let name = format!("test{}", clock::new_id().simple());
        let logs: Vec<KurrentLog> = (0..6)
            .map(|_| KurrentLog::new(&address(), &name).expect("an address"))
            .collect();
        for _ in 0..20 {
            let append = append_to(new_stream(server::tenant()), 0, 2);
            let answers = join_all(logs.iter().map(|log| log.append(append.clone()))).await;
            let (recorded, duplicates): (Vec<Appended>, Vec<_>) = answers
                .into_iter()
                .map(|answer| answer.expect("an answer"))
                .partition(|answer| matches!(answer, Appended::Recorded { .. }));
            let [Appended::Recorded { first, .. }] = recorded[..] else {
                panic!("{} of them recorded it", recorded.len())
            };
            assert!(duplicates.iter().all(|answer| *answer == Appended::Duplicate { first }));
            let stored = logs[0].read_stream(append.stream, 0).await.expect("a stream");
            assert_eq!(stored.len(), 2);
        }
    });
}

#[test]
fn an_event_was_recorded_when_the_server_wrote_it() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        let before = clock::now();
        recorded(log.append(append_to(stream, 0, 1)).await);
        let recorded_at = log.read_stream(stream, 0).await.expect("a stream")[0].recorded_at;
        assert!(before <= recorded_at && recorded_at <= clock::now(), "{recorded_at}");
    });
}

/// The answer is what became of it, however often it had to be asked for.
#[test]
fn an_append_whose_answer_was_lost_is_recorded_once() {
    run(async {
        let stand_in = StandIn::start();
        let (log, tenant) = (on(&stand_in), server::tenant());
        for fates in [
            &[Fate::AnswerLost][..],
            &[Fate::Unavailable, Fate::AnswerLost],
            &[Fate::Unavailable, Fate::Unavailable],
        ] {
            let append = append_to(new_stream(tenant), 0, 3);
            stand_in.next_appends(fates);
            let (first, _, revision) = recorded(log.append(append.clone()).await);
            assert!(stand_in.has_no_more_fates());
            assert_eq!(revision, 3);
            conformance::a_repeat_is_known_to(&Log::Kurrent(on(&stand_in)), append, first).await;
        }
        stand_in.next_appends(&[Fate::Denied]);
        let refused = log.append(append_to(new_stream(tenant), 0, 1)).await;
        assert!(matches!(refused, Err(KurrentError::Failed { .. })), "{refused:?}");
    });
}

/// The client itself would wait for ever.
#[test]
fn who_does_not_answer_is_asked_again() {
    run(async {
        let stand_in = StandIn::start();
        let soon = Duration::from_millis(300);
        let log = KurrentLog::that_answers_within(soon, &stand_in.address(), NAME_DEFAULT).expect("an address");
        let stream = new_stream(server::tenant());
        stand_in.next_appends(&[Fate::Silence, Fate::Silence]);
        recorded(log.append(append_to(stream, 0, 3)).await);
        assert!(stand_in.has_no_more_fates());
        stand_in.silence_reads(2);
        assert_eq!(log.read_stream(stream, 0).await.expect("a stream").len(), 3);
        stand_in.silence_reads(2);
        let mut reader = log.read_after(None);
        for revision in 1..=3 {
            let found = reader.next().await.expect("an answer").expect("an event");
            assert_eq!(found.event.revision, revision);
        }
        stand_in.silence_reads(2);
        let mut follower = log.follow(None);
        for revision in 1..=3 {
            assert_eq!(next_event(&mut follower).await.revision, revision);
        }
    });
}

#[test]
fn whoever_is_no_leader_any_more_says_who_is() {
    run(async {
        let stand_in = StandIn::start();
        let first = stand_in.leader();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        let second = stand_in.add_node();
        let mut follower = log.follow(None);
        for (expected, leader) in [(0, second), (2, first), (4, second)] {
            stand_in.lead(leader);
            recorded(log.append(append_to(stream, expected, 2)).await);
            assert_eq!(log.read_stream(stream, expected).await.expect("a stream").len(), 2);
            for revision in [expected + 1, expected + 2] {
                assert_eq!(next_event(&mut follower).await.revision, revision);
            }
        }
    });
}

/// The client would stay with it.
#[test]
fn a_node_that_is_gone_is_done_without() {
    run(async {
        let stand_in = StandIn::start();
        let nodes = [stand_in.leader(), stand_in.add_node(), stand_in.add_node()];
        let log = KurrentLog::new(&stand_in.address_of(&nodes), NAME_DEFAULT).expect("an address");
        let stream = new_stream(server::tenant());
        let mut follower = log.follow(None);
        for (expected, leader) in nodes.into_iter().enumerate() {
            stand_in.lead(leader);
            if expected > 0 {
                stand_in.kill(nodes[expected - 1]);
            }
            recorded(log.append(append_to(stream, expected as i64, 1)).await);
            assert_eq!(next_event(&mut follower).await.revision, expected as i64 + 1);
        }
    });
}

async fn next_event(follower: &mut infra::kurrent::Follower) -> StoredEvent {
    loop {
        if let Heard::Event(found) = follower.next().await.expect("something") {
            return found.event;
        }
    }
}

#[test]
fn a_dropped_subscription_goes_on_without_loss_or_repeat() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        recorded(log.append(append_to(stream, 0, 10)).await);
        foreign_events(&stand_in).await;
        // Before anything came, in the middle, twice at once; and then, after the last three, when two live ones have come.
        stand_in.cut_reads(&[0, 3, 0, 4, 5]);
        let mut follower = log.follow(None);
        let mut heard = Vec::new();
        loop {
            match follower.next().await.expect("something") {
                Heard::Event(found) => heard.push(found),
                Heard::Nothing(_) => {}
                Heard::CaughtUp => break,
            }
        }
        assert_eq!(heard.len(), 10);
        assert!(stand_in.has_no_more_cuts());
        recorded(log.append(append_to(stream, 10, 6)).await);
        while heard.len() < 16 {
            if let Heard::Event(found) = follower.next().await.expect("something") {
                heard.push(found);
            }
        }
        let stored = log.read_stream(stream, 0).await.expect("a stream");
        let events: Vec<StoredEvent> = heard.iter().map(|found| found.event.clone()).collect();
        assert_eq!(events, stored);

        // From any checkpoint on it is the same.
        let mut follower = log.follow(Some(heard[11].at));
        assert_eq!(next_event(&mut follower).await, stored[12]);
    });
}

/// Tries are counted in a row: a server that was there in between is no reason to give up.
#[test]
fn a_subscription_is_dropped_as_often_as_it_likes() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        let mut follower = log.follow(None);
        for _ in 0..=ATTEMPTS_MAX {
            while follower.next().await.expect("something") != Heard::CaughtUp {}
            stand_in.drop_subscriptions();
        }
        recorded(log.append(append_to(stream, 0, 1)).await);
        assert_eq!(next_event(&mut follower).await.revision, 1);
    });
}

/// What others keep on the same server.
async fn foreign_events(stand_in: &StandIn) {
    let client = Client::new(stand_in.address().expose_secret().parse().expect("an address")).expect("a client");
    for stream in ["billing-1", "tenure2-1", "tenure"] {
        let event = EventData::binary("something", b"else".to_vec().into());
        client
            .append_to_stream(stream, &Default::default(), event)
            .await
            .expect("appended");
    }
}

/// A follower that starts again from there does not go through what is not its own.
#[test]
fn a_place_without_events_of_ours_is_a_checkpoint() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        recorded(log.append(append_to(stream, 0, 1)).await);
        foreign_events(&stand_in).await;
        let mut follower = log.follow(None);
        let mut last: Option<Checkpoint> = None;
        loop {
            match follower.next().await.expect("something") {
                Heard::Event(_) => {}
                Heard::Nothing(at) => last = Some(at),
                Heard::CaughtUp => break,
            }
        }
        let mut follower = log.follow(last);
        assert_eq!(follower.next().await.expect("something"), Heard::CaughtUp);
        recorded(log.append(append_to(stream, 1, 1)).await);
        assert_eq!(next_event(&mut follower).await.revision, 2);
    });
}

#[test]
fn a_read_that_is_cut_off_goes_on_without_loss_or_repeat() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        recorded(log.append(append_to(stream, 0, 10)).await);
        let stored = log.read_stream(stream, 0).await.expect("a stream");
        foreign_events(&stand_in).await;

        stand_in.cut_reads(&[0, 4, 1]);
        assert_eq!(log.read_stream(stream, 0).await.expect("a stream"), stored);
        stand_in.cut_reads(&[0, 4, 1]);
        let of_tenant = log.read_tenant(stream.tenant, Kind::Employee, stored[1].position).await;
        assert_eq!(of_tenant.expect("events"), stored[2..]);
        // The event that a read begins with again counts.
        stand_in.cut_reads(&[0, 4, 1, 2]);
        let (mut reader, mut read) = (log.read_after(None), Vec::new());
        while let Some(found) = reader.next().await.expect("an event") {
            read.push(found.event);
        }
        assert_eq!(read, stored);
        assert!(stand_in.has_no_more_cuts());
        assert_eq!(log.head().await.expect("a head"), stored[9].position);
    });
}

#[test]
fn what_is_none_of_ours_is_not_taken_for_an_event() {
    run(async {
        let stand_in = StandIn::start();
        let (log, tenant) = (on(&stand_in), server::tenant());
        let client = Client::new(stand_in.address().expose_secret().parse().expect("an address")).expect("a client");
        let stream = new_stream(tenant);
        let name = format!("tenure-{tenant}-employee-{}", stream.id);
        let foreign = EventData::binary("something", b"else".to_vec().into());
        client
            .append_to_stream(name, &Default::default(), foreign)
            .await
            .expect("appended");
        let read = log.read_stream(stream, 0).await;
        assert!(
            matches!(read, Err(KurrentError::Unreadable { revision: 0, .. })),
            "{read:?}"
        );
    });
}

#[test]
fn an_address_that_does_not_read_is_not_repeated() {
    run(async {
        for wrong in ["kurrentdb://me:secret@host:nowhere", "http://me:secret@host"] {
            let Err(error) = KurrentLog::new(&SecretString::from(wrong), NAME_DEFAULT) else {
                panic!("{wrong} was taken")
            };
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        assert!(KurrentLog::new(&address(), "Ten-ure").is_err());
    });
}

#[test]
fn what_is_restored_twice_is_there_once() {
    run(async {
        let stand_in = StandIn::start();
        let (log, stream) = (on(&stand_in), new_stream(server::tenant()));
        let Append { events, .. } = append_to(stream, 0, 4);
        let old: Vec<StoredEvent> = events
            .into_iter()
            .zip(1..)
            .map(|(event, position)| StoredEvent {
                position,
                stream,
                revision: position,
                event_id: event.event_id,
                event_type: event.event_type,
                schema_version: event.schema_version,
                effective_on: event.effective_on,
                recorded_at: clock::now(),
                provenance: event.provenance,
                data: event.data,
            })
            .collect();
        log.restorer().restore(&old[..2]).await.expect("restored");
        log.restorer().restore(&old[..2]).await.expect("once more");
        stand_in.next_appends(&[Fate::AnswerLost]);
        log.restorer().restore(&old[2..]).await.expect("restored");
        let there = log.read_stream(stream, 0).await.expect("a stream");
        let at_their_places: Vec<StoredEvent> = there
            .iter()
            .zip(&old)
            .map(|(there, old)| StoredEvent {
                position: there.position,
                ..old.clone()
            })
            .collect();
        assert_eq!(there, at_their_places);
        let again = log.restorer().restore(&old[1..2]).await;
        assert!(again.is_ok(), "{again:?}");
        let other = StoredEvent {
            event_id: domain::id::EventId::from_uuid(clock::new_id()),
            ..old[1].clone()
        };
        let refused = log.restorer().restore(&[other]).await;
        assert!(matches!(refused, Err(KurrentError::Contended(_))), "{refused:?}");
    });
}
