//! Fuzz targets for whatever reads from outside: `.ci/fuzz SECONDS [TARGET]`. Here is what all of them do with what was read.

use domain::{
    Aggregate, Date,
    employee::{Command, Employee, Snapshot, Source},
    id::{ConnectionId, TenantId},
};

pub fn tenant() -> TenantId {
    "00000000-0000-0000-0000-000000000007".parse().expect("an id")
}

pub fn source(remote_id: &str) -> Source {
    let connection = ConnectionId::derive(tenant(), "push", "fuzz");
    Source {
        connection,
        remote_id: remote_id.to_owned(),
    }
}

pub fn today() -> Date {
    Date::from_ymd_opt(2026, 6, 30).expect("a day")
}

/// Whatever a source says: it is accepted or refused, and said again it is no news.
pub fn believed(snapshot: Snapshot) {
    let say = |known: &Employee| known.decide(Command::Synchronise(Box::new(snapshot.clone())), today());
    if let Ok(events) = say(&Employee::default()) {
        let known = Employee::fold(&events);
        assert_eq!(
            say(&known).as_deref(),
            Ok(&[][..]),
            "said again it is news, after {events:?}"
        );
    }
}
