//! Keys in the database: made once, kept with what they seal, and gone for good.

use std::collections::BTreeSet;

use domain::{
    Kind, Personal, StreamId,
    employee::{Event, Note},
    id::{EventId, TenantId},
};
use futures_util::future::join_all;
use infra::{
    clock,
    database::{Access, DatabaseError},
    sealing::{self, Keyring, Place, SealingError, Subject, SubjectKey},
};
use schemas::codec::AnyEvent;
use serde_json::Value;

use crate::server::{self, World, code, on_purpose, run, shared};

fn keyring(world: &World) -> Keyring {
    Keyring::new(world.master.clone(), world.database.clone())
}

async fn keys_of(world: &World, table: &str, tenant: TenantId) -> i64 {
    let sql = format!("select count(*) from {table} where tenant = '{tenant}'");
    world.owner_number(&sql).await
}

/// A tenant with a key, and a person in it.
async fn person(keyring: &Keyring) -> Subject {
    let tenant = server::tenant();
    keyring.ensure_tenant(tenant).await.expect("a key");
    (tenant, clock::new_id())
}

async fn found(keyring: &Keyring, subject: Subject) -> Option<SubjectKey> {
    keyring.subjects(&[subject]).await.expect("keys").remove(&subject)
}

/// Makes a subject's key and stores it, as an append does.
async fn store(world: &World, keyring: &Keyring, subject: Subject) -> Result<SubjectKey, DatabaseError> {
    let (new, key) = keyring.new_subject(subject).await.expect("a key");
    let stored = new.clone();
    world
        .database
        .transact(Access::Write, &[subject.0], move |c| {
            Box::pin(async move { sealing::store_subject_keys(c, &[stored]).await })
        })
        .await?;
    keyring.stored(vec![new]);
    Ok(key)
}

async fn destroy(world: &World, subject: Subject) {
    world
        .database
        .transact(Access::Write, &[subject.0], move |c| {
            Box::pin(sealing::destroy_subject_key(c, subject))
        })
        .await
        .expect("destroyed");
}

#[test]
fn a_tenants_key_is_made_once() {
    run(async {
        let (world, tenant) = (shared().await, server::tenant());
        // As many processes, each with a memory of its own.
        let keyrings: Vec<Keyring> = (0..20).map(|_| keyring(world)).collect();
        for made in join_all(keyrings.iter().map(|keyring| keyring.ensure_tenant(tenant))).await {
            made.expect("a key");
        }
        assert_eq!(keys_of(world, "tenant_key", tenant).await, 1);
        assert_eq!(keys_of(world, "tenant_directory", tenant).await, 1);
        let mut sealed = Vec::new();
        for keyring in &keyrings {
            let keys = keyring.tenant(tenant).await.expect("keys");
            sealed.push(keys.seal("here", b"it").expect("sealed"));
        }
        let different: BTreeSet<&Vec<u8>> = sealed.iter().collect();
        assert_eq!(different.len(), 20, "a nonce was used twice");
        let last = keyrings[19].tenant(tenant).await.expect("keys");
        assert!(
            sealed
                .iter()
                .all(|sealed| last.open("here", sealed).expect("opens") == b"it")
        );
        assert!(last.open("there", &sealed[0]).is_err());
    });
}

#[test]
fn a_tenant_without_a_key_is_told_apart() {
    run(async {
        let world = shared().await;
        let tenant = server::tenant();
        let missing = keyring(world).tenant(tenant).await.map(drop);
        assert!(
            matches!(missing, Err(SealingError::NoTenantKey(of)) if of == tenant),
            "{missing:?}"
        );
    });
}

#[test]
fn a_subjects_key_shares_the_fate_of_its_transaction() {
    run(async {
        let world = shared().await;
        let own = keyring(world);
        let subject = person(&own).await;
        assert!(found(&own, subject).await.is_none());
        let (new, _) = own.new_subject(subject).await.expect("a key");
        let result = world
            .database
            .transact(Access::Write, &[subject.0], move |c| {
                Box::pin(async move {
                    sealing::store_subject_keys(c, &[new]).await?;
                    Err::<(), _>(on_purpose())
                })
            })
            .await;
        assert!(result.is_err());
        assert_eq!(keys_of(world, "subject_key", subject.0).await, 0);
        // "Has none" was not remembered.
        let key = store(world, &own, subject).await.expect("stored");
        let sealed = key.seal_bytes("here", b"it").expect("sealed");
        for reader in [own, keyring(world)] {
            let key = found(&reader, subject).await.expect("a key");
            assert_eq!(key.open_bytes("here", &sealed).expect("opens"), b"it");
        }
    });
}

/// Two processes meet a new person at once: one of them stores a key, the other tries again and finds it.
#[test]
fn a_subject_has_one_key() {
    run(async {
        let world = shared().await;
        let (one, other) = (keyring(world), keyring(world));
        let subject = person(&one).await;
        let key = store(world, &one, subject).await.expect("stored");
        let late = store(world, &other, subject).await.map(drop);
        assert!(
            late.as_ref().is_err_and(DatabaseError::is_transient),
            "worth another try: {late:?}"
        );
        assert_eq!(code(late), "23505");
        other.forget(&[subject]);
        let found = found(&other, subject).await.expect("the first one's");
        let sealed = found.seal_bytes("here", b"it").expect("sealed");
        assert_eq!(key.open_bytes("here", &sealed).expect("opens"), b"it");
        assert_eq!(keys_of(world, "subject_key", subject.0).await, 1);
    });
}

fn note(on: &str) -> AnyEvent {
    AnyEvent::Employee(Event::NoteWritten(Note {
        on: on.parse().expect("a day"),
        text: Personal::Open("Ada wants to leave".into()),
    }))
}

#[test]
fn what_a_destroyed_key_sealed_is_unreadable_and_still_an_event() {
    run(async {
        let world = shared().await;
        let own = keyring(world);
        let subject = person(&own).await;
        let key = store(world, &own, subject).await.expect("stored");
        let stream = StreamId::new(subject.0, Kind::Employee, subject.1);
        let event = note("2026-03-01");
        let encoded = event.encode().expect("encoded");
        let place = Place {
            stream: &stream,
            event_id: EventId::from_uuid(clock::new_id()),
            schema_version: encoded.schema_version,
        };
        let mut payload = encoded.payload;
        key.seal(place, &mut payload).expect("sealed");
        assert!(!payload.to_string().contains("Ada") && !sealing::has_open_marker(&payload));
        let read = async |keyring: &Keyring| {
            let mut opened: Value = payload.clone();
            sealing::open_payload(found(keyring, subject).await.as_ref(), place, &mut opened);
            AnyEvent::decode(&encoded.event_type, encoded.schema_version, opened).expect("an event")
        };
        assert_eq!(read(&own).await, event);
        assert_eq!(read(&keyring(world)).await, event);

        destroy(world, subject).await;
        own.forget(&[subject]);
        for keyring in [own.clone(), keyring(world)] {
            let AnyEvent::Employee(Event::NoteWritten(note)) = read(&keyring).await else {
                panic!("another event");
            };
            assert_eq!(note.text, Personal::Unreadable);
            assert_eq!(note.on.to_string(), "2026-03-01");
        }
        // A new key for the same person opens nothing of the old.
        store(world, &own, subject).await.expect("stored");
        assert_ne!(read(&own).await, event);
        destroy(world, subject).await;
        destroy(world, subject).await;
    });
}

#[test]
fn another_tenants_keys_open_nothing() {
    run(async {
        let world = shared().await;
        let own = keyring(world);
        let (subject, other) = (person(&own).await, person(&own).await);
        let sealed = own
            .tenant(subject.0)
            .await
            .expect("keys")
            .seal("here", b"it")
            .expect("sealed");
        let opened = own.tenant(other.0).await.expect("keys").open("here", &sealed);
        assert!(matches!(opened, Err(SealingError::DoesNotOpen)), "{opened:?}");

        // Nor does a row that is moved to another tenant, by whoever may do everything in the database.
        store(world, &own, subject).await.expect("stored");
        for table in ["tenant_key", "subject_key"] {
            let stolen = server::tenant();
            if table == "subject_key" {
                own.ensure_tenant(stolen).await.expect("a key of its own");
            }
            let sql = format!("update {table} set tenant = '{stolen}' where tenant = '{}'", subject.0);
            world.as_owner(&sql).await;
            let fresh = keyring(world);
            let result = match table {
                "tenant_key" => fresh.tenant(stolen).await.map(drop),
                _ => fresh.subjects(&[(stolen, subject.1)]).await.map(drop),
            };
            assert!(matches!(result, Err(SealingError::DoesNotOpen)), "{table}: {result:?}");
        }
    });
}

#[test]
fn the_master_key_of_another_installation_opens_nothing() {
    run(async {
        let world = shared().await;
        let own = keyring(world);
        let subject = person(&own).await;
        let stranger = Keyring::new(server::master(8), world.database.clone());
        for result in [
            stranger.tenant(subject.0).await.map(drop),
            stranger.ensure_tenant(subject.0).await,
            stranger.new_subject(subject).await.map(drop),
        ] {
            let error = result.expect_err("not its key");
            assert!(matches!(error, SealingError::DoesNotOpen), "{error:?}");
            assert!(error.to_string().contains("sealed under another key"), "{error}");
        }
        assert_eq!(
            keys_of(world, "tenant_key", subject.0).await,
            1,
            "and it made no key of its own"
        );
    });
}
