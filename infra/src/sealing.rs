//! Keys, and values that only they open.
//!
//! AES-256-GCM with random 96-bit nonces. A master key (outside the database) wraps a key per tenant; that wraps a key per
//! subject: a person, or a connection with its secrets. Personal fields of events are sealed under the subject's key; what
//! waits in the intake is sealed whole under the tenant's key, because there no subject is known yet.
//!
//! Associated data binds every ciphertext to its place (tenant, stream, event, field, key), so that none can be moved.
//! Format: `1 | key id (16) | nonce (12) | ciphertext and tag`. The key id is checked before decryption: GCM does not commit
//! to its key, so keys are never tried in turn.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, AeadCore, OsRng, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use domain::{
    StreamId,
    id::{EventId, TenantId},
    personal::{OPEN_MARKER, UNREADABLE_MARKER},
};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    clock,
    database::{Access, Connection, Database, DatabaseError, Doing},
};

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;
/// The key of the object that stands for a sealed value in stored JSON.
const SEALED_MARKER: &str = "$sealed";
/// Subjects' keys that are kept in memory; beyond, the memory starts anew.
const SUBJECT_KEYS_CACHED_MAX: usize = 200_000;
/// How long a cached key is used: after an erasure no process reads for longer than this.
const SUBJECT_KEY_TTL: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    #[error("the master key at {path} cannot be read or written")]
    MasterKeyFile {
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error(
        "the master key must be 32 bytes, base64: was it cut or changed? Without the right one nothing that was sealed can be read"
    )]
    BadMasterKey,
    #[error("tenant {0} has no key yet")]
    NoTenantKey(TenantId),
    #[error("a sealed value does not open: it was changed, moved, or sealed under another key")]
    DoesNotOpen,
    #[error("sealing failed")]
    Seal,
    #[error("the keys could not be read")]
    Database(#[from] DatabaseError),
}

/// The root of all keys: 32 bytes in a file that only its owner reads, or in `TENURE_MASTER_KEY`.
#[derive(Clone)]
pub struct MasterKey(Arc<Zeroizing<[u8; 32]>>);

impl MasterKey {
    /// # Errors
    /// When the text is not 32 bytes in base64.
    pub fn from_base64(text: &str) -> Result<Self, SealingError> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| SealingError::BadMasterKey)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| SealingError::BadMasterKey)?;
        Ok(Self(Arc::new(Zeroizing::new(bytes))))
    }

    /// Reads the key file, or makes one (mode 0600) if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no key.
    pub fn load_or_create(path: &Path) -> Result<Self, SealingError> {
        use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt};
        let in_file = |cause| SealingError::MasterKeyFile {
            path: path.display().to_string(),
            cause,
        };
        if !path.exists() {
            let key = Aes256Gcm::generate_key(OsRng);
            // Written beside and renamed: a crash leaves no half key.
            let beside = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)
                .map_err(in_file)?;
            file.write_all(BASE64.encode(key).as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(in_file)?;
            fs::rename(&beside, path).map_err(in_file)?;
        }
        Self::from_base64(&fs::read_to_string(path).map_err(in_file)?)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// A secret for one named purpose, derived from the master key (HMAC-SHA256).
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<Vec<u8>> {
        use hmac::Mac;
        let mut mac = <hmac::Hmac<sha2::Sha256> as Mac>::new_from_slice(self.bytes())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().to_vec())
    }
}

/// One symmetric key with its id.
#[derive(Clone)]
struct Key {
    id: Uuid,
    cipher: Aes256Gcm,
}

impl Key {
    fn new(id: Uuid, bytes: &[u8]) -> Result<Self, SealingError> {
        Ok(Self {
            id,
            cipher: Aes256Gcm::new_from_slice(bytes).map_err(|_| SealingError::DoesNotOpen)?,
        })
    }

    fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        let nonce = Aes256Gcm::generate_nonce(&mut OsRng);
        let bound = bind(place, self.id);
        let sealed = self
            .cipher
            .encrypt(
                &nonce,
                Payload {
                    msg: plain,
                    aad: bound.as_bytes(),
                },
            )
            .map_err(|_| SealingError::Seal)?;
        let mut out = Vec::with_capacity(HEADER_BYTES + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        if sealed.len() < HEADER_BYTES || sealed[0] != FORMAT || sealed[1..=KEY_ID_BYTES] != *self.id.as_bytes() {
            return Err(SealingError::DoesNotOpen);
        }
        let (nonce, ciphertext) = sealed[1 + KEY_ID_BYTES..].split_at(NONCE_BYTES);
        let bound = bind(place, self.id);
        self.cipher
            .decrypt(
                nonce.into(),
                Payload {
                    msg: ciphertext,
                    aad: bound.as_bytes(),
                },
            )
            .map_err(|_| SealingError::DoesNotOpen)
    }
}

fn bind(place: &str, key_id: Uuid) -> String {
    format!("tenure/{FORMAT}|{place}|{key_id}")
}

/// A subject's key, ready to seal that subject's values.
#[derive(Clone)]
pub struct SubjectKey(Key);

/// Where a payload's fields belong.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub stream: &'a StreamId,
    pub event_id: EventId,
    pub schema_version: i16,
}

impl Place<'_> {
    fn field(&self, path: &str) -> String {
        format!("{}|{}|{}|{path}", self.stream, self.event_id, self.schema_version)
    }
}

impl SubjectKey {
    /// Replaces every open personal value of `payload` by its ciphertext.
    ///
    /// # Errors
    /// When encryption fails.
    pub fn seal(&self, place: Place<'_>, payload: &mut Value) -> Result<(), SealingError> {
        let mut path = String::new();
        each_marked(payload, OPEN_MARKER, &mut path, &mut |path, value| {
            let plain = Zeroizing::new(serde_json::to_vec(&value).map_err(|_| SealingError::Seal)?);
            let sealed = self.0.seal(&place.field(path), &plain)?;
            Ok(marked(SEALED_MARKER, Value::String(BASE64.encode(sealed))))
        })
    }
}

impl SubjectKey {
    /// Seals bytes that belong to `place`.
    ///
    /// # Errors
    /// When encryption fails.
    pub fn seal_bytes(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.0.seal(place, plain)
    }

    /// Opens bytes that were sealed for `place`.
    ///
    /// # Errors
    /// When they were changed, moved, or sealed under another key.
    pub fn open_bytes(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.0.open(place, sealed)
    }
}

/// Replaces every sealed value of `payload` by the open one, or, without the right key, by the marker of the unreadable.
/// Never fails: unreadable is a value.
pub fn open_payload(key: Option<&SubjectKey>, place: Place<'_>, payload: &mut Value) {
    let mut path = String::new();
    let opened = each_marked(payload, SEALED_MARKER, &mut path, &mut |path, value| {
        let open = || {
            let sealed = BASE64.decode(value.as_str()?).ok()?;
            let plain = Zeroizing::new(key?.0.open(&place.field(path), &sealed).ok()?);
            serde_json::from_slice(&plain).ok()
        };
        Ok::<_, SealingError>(match open() {
            Some(plain) => marked(OPEN_MARKER, plain),
            None => marked(UNREADABLE_MARKER, Value::Bool(true)),
        })
    });
    debug_assert!(opened.is_ok(), "opening has no failing path");
}

/// Whether any open personal value is left: such a payload must not leave the process.
#[must_use]
pub fn has_open_marker(payload: &Value) -> bool {
    match payload {
        Value::Object(map) => map.contains_key(OPEN_MARKER) || map.values().any(has_open_marker),
        Value::Array(items) => items.iter().any(has_open_marker),
        _ => false,
    }
}

fn marked(marker: &str, value: Value) -> Value {
    Value::Object(std::iter::once((marker.to_owned(), value)).collect())
}

/// Visits each object that consists of `marker` alone and replaces it by what `replace` makes of its path and value.
fn each_marked<E>(
    value: &mut Value,
    marker: &str,
    path: &mut String,
    replace: &mut impl FnMut(&str, Value) -> Result<Value, E>,
) -> Result<(), E> {
    match value {
        Value::Object(map) => {
            if map.len() == 1
                && let Some(inner) = map.get_mut(marker)
            {
                let inner = inner.take();
                *value = replace(path, inner)?;
                return Ok(());
            }
            for (name, child) in map.iter_mut() {
                let length = path.len();
                path.push('/');
                path.push_str(name);
                each_marked(child, marker, path, replace)?;
                path.truncate(length);
            }
            Ok(())
        }
        Value::Array(items) => {
            for (index, child) in items.iter_mut().enumerate() {
                let length = path.len();
                path.push_str(&format!("/{index}"));
                each_marked(child, marker, path, replace)?;
                path.truncate(length);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A subject whose key is asked for.
pub type Subject = (TenantId, Uuid);

/// A new key that must be stored in the transaction that uses it first.
#[derive(Clone)]
pub struct NewSubjectKey {
    subject: Subject,
    key: Key,
    wrapped: Vec<u8>,
}

impl NewSubjectKey {
    #[must_use]
    pub const fn subject(&self) -> Subject {
        self.subject
    }
}

#[derive(Clone)]
struct Cached {
    key: Option<SubjectKey>,
    until: Instant,
}

/// All keys of this process, cached. Cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    master: MasterKey,
    database: Database,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<TenantKeys>>>>,
    subjects: Arc<Mutex<HashMap<Subject, Cached>>>,
}

/// A tenant's keys: the newest seals, all open.
pub struct TenantKeys {
    tenant: TenantId,
    newest: Key,
    all: HashMap<Uuid, Key>,
}

impl TenantKeys {
    /// # Errors
    /// When encryption fails.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.newest.seal(&format!("{}|{place}", self.tenant), plain)
    }

    /// # Errors
    /// When the value was changed, moved, or sealed under a key that is not this tenant's.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        let id = sealed
            .get(1..=KEY_ID_BYTES)
            .and_then(|id| Uuid::from_slice(id).ok())
            .ok_or(SealingError::DoesNotOpen)?;
        self.all
            .get(&id)
            .ok_or(SealingError::DoesNotOpen)?
            .open(&format!("{}|{place}", self.tenant), sealed)
    }
}

impl Keyring {
    #[must_use]
    pub fn new(master: MasterKey, database: Database) -> Self {
        Self {
            master,
            database,
            tenants: Arc::default(),
            subjects: Arc::default(),
        }
    }

    fn master_key(&self) -> Result<Key, SealingError> {
        Key::new(Uuid::nil(), self.master.bytes())
    }

    /// The tenant's keys: cached, so that the intake goes on sealing while Postgres is away.
    ///
    /// # Errors
    /// When they are not cached and cannot be read, or the tenant has none.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, SealingError> {
        if let Some(keys) = lock(&self.tenants).get(&tenant) {
            return Ok(Arc::clone(keys));
        }
        let rows: Vec<(Uuid, Vec<u8>)> = self
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move {
                    sqlx::query_as("select key_id, wrapped from tenant_key where tenant = $1 order by created_at")
                        .bind(Uuid::from(tenant))
                        .fetch_all(connection)
                        .await
                        .doing("read a tenant's keys")
                })
            })
            .await?;
        let master = self.master_key()?;
        let mut all = HashMap::new();
        let mut newest = None;
        for (id, wrapped) in rows {
            let bytes = Zeroizing::new(master.open(&format!("tenant key|{tenant}|{id}"), &wrapped)?);
            let key = Key::new(id, &bytes)?;
            newest = Some(key.clone());
            all.insert(id, key);
        }
        let newest = newest.ok_or(SealingError::NoTenantKey(tenant))?;
        let keys = Arc::new(TenantKeys { tenant, newest, all });
        lock(&self.tenants).insert(tenant, Arc::clone(&keys));
        Ok(keys)
    }

    /// A digest by which equal texts of a tenant are found, and that tells nothing of them to whoever has no master key
    /// (HMAC-SHA256).
    #[must_use]
    pub fn digest(&self, tenant: TenantId, text: &str) -> Vec<u8> {
        self.master.derive(&format!("digest|{tenant}|{text}")).to_vec()
    }

    /// Makes the tenant's first key, if it has none.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn ensure_tenant(&self, tenant: TenantId) -> Result<(), SealingError> {
        match self.tenant(tenant).await {
            Err(SealingError::NoTenantKey(_)) => {}
            other => return other.map(drop),
        }
        let id = clock::new_id();
        let key = Zeroizing::new(Aes256Gcm::generate_key(OsRng).to_vec());
        let wrapped = self.master_key()?.seal(&format!("tenant key|{tenant}|{id}"), &key)?;
        self.database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    // Two processes at once: the lock lets the second see the first one's key.
                    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7467))").bind(tenant.to_string()).execute(&mut *connection).await.doing("lock a tenant's keys")?;
                    sqlx::query(
                        "insert into tenant_key (tenant, key_id, wrapped) select $1, $2, $3 where not exists (select from tenant_key where tenant = $1)",
                    )
                    .bind(Uuid::from(tenant))
                    .bind(id)
                    .bind(wrapped)
                    .execute(&mut *connection)
                    .await
                    .doing("store a tenant's key")?;
                    sqlx::query("insert into tenant_directory (tenant) values ($1) on conflict do nothing")
                        .bind(Uuid::from(tenant))
                        .execute(connection)
                        .await
                        .doing("list a tenant")
                })
            })
            .await?;
        self.tenant(tenant).await.map(drop)
    }

    /// The keys of `subjects`, from memory or in one query. A subject without an entry has no key: it never had one, or
    /// it was erased.
    ///
    /// # Errors
    /// When keys cannot be read.
    pub async fn subjects(&self, subjects: &[Subject]) -> Result<HashMap<Subject, SubjectKey>, SealingError> {
        let now = monotonic_now();
        let mut found = HashMap::with_capacity(subjects.len());
        let mut missing = Vec::new();
        {
            let cache = lock(&self.subjects);
            for subject in subjects {
                match cache.get(subject) {
                    Some(cached) if cached.until > now => {
                        if let Some(key) = &cached.key {
                            found.insert(*subject, key.clone());
                        }
                    }
                    _ => missing.push(*subject),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let mut tenants: Vec<TenantId> = missing.iter().map(|(tenant, _)| *tenant).collect();
        tenants.dedup();
        let (of, ids): (Vec<Uuid>, Vec<Uuid>) = missing
            .iter()
            .map(|(tenant, subject)| (Uuid::from(*tenant), *subject))
            .unzip();
        let rows: Vec<(Uuid, Uuid, Uuid, Vec<u8>)> = self
            .database
            .transact(Access::LookUp, &tenants, move |connection| {
                Box::pin(async move {
                    sqlx::query_as(
                        "select k.tenant, k.subject, k.key_id, k.wrapped
                           from unnest($1::uuid[], $2::uuid[]) as u(tenant, subject)
                                cross join lateral (select * from subject_key where (tenant, subject) = (u.tenant, u.subject) offset 0) k",
                    )
                    .bind(of)
                    .bind(ids)
                    .fetch_all(connection)
                    .await
                    .doing("read subjects' keys")
                })
            })
            .await?;
        for (tenant, subject, id, wrapped) in rows {
            let tenant = TenantId::from_uuid(tenant);
            let bytes = Zeroizing::new(self.tenant(tenant).await?.open(&subject_place(subject, id), &wrapped)?);
            found.insert((tenant, subject), SubjectKey(Key::new(id, &bytes)?));
        }
        self.remember(missing.iter().map(|subject| (*subject, found.get(subject).cloned())));
        Ok(found)
    }

    /// Makes a key for a subject that has none: to be stored with [`store_subject_keys`] in the transaction that uses it.
    ///
    /// # Errors
    /// When the tenant has no key.
    pub async fn new_subject(&self, subject: Subject) -> Result<(NewSubjectKey, SubjectKey), SealingError> {
        let id = clock::new_id();
        let bytes = Zeroizing::new(Aes256Gcm::generate_key(OsRng).to_vec());
        let wrapped = self
            .tenant(subject.0)
            .await?
            .seal(&subject_place(subject.1, id), &bytes)?;
        let key = Key::new(id, &bytes)?;
        Ok((
            NewSubjectKey {
                subject,
                key: key.clone(),
                wrapped,
            },
            SubjectKey(key),
        ))
    }

    /// Keeps keys that have been stored.
    pub fn stored(&self, keys: Vec<NewSubjectKey>) {
        self.remember(keys.into_iter().map(|new| (new.subject, Some(SubjectKey(new.key)))));
    }

    /// Forgets keys, because they were destroyed or a transaction with them failed.
    pub fn forget(&self, subjects: &[Subject]) {
        let mut cache = lock(&self.subjects);
        for subject in subjects {
            cache.remove(subject);
        }
    }

    fn remember(&self, keys: impl Iterator<Item = (Subject, Option<SubjectKey>)>) {
        let until = monotonic_now() + SUBJECT_KEY_TTL;
        let mut cache = lock(&self.subjects);
        if cache.len() > SUBJECT_KEYS_CACHED_MAX {
            cache.clear();
        }
        // "Has none" is not remembered: the next event may be the first.
        cache.extend(
            keys.filter(|(_, key)| key.is_some())
                .map(|(subject, key)| (subject, Cached { key, until })),
        );
    }
}

fn subject_place(subject: Uuid, key_id: Uuid) -> String {
    format!("subject key|{subject}|{key_id}")
}

/// Stores new keys. A subject that got one meanwhile makes the transaction fail, to be tried again with that one.
///
/// # Errors
/// When a key is there already, or the database fails.
pub async fn store_subject_keys(connection: &mut Connection, keys: &[NewSubjectKey]) -> Result<(), DatabaseError> {
    if keys.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = keys.iter().map(|new| Uuid::from(new.subject.0)).collect();
    let subjects: Vec<Uuid> = keys.iter().map(|new| new.subject.1).collect();
    let ids: Vec<Uuid> = keys.iter().map(|new| new.key.id).collect();
    let wrapped: Vec<&[u8]> = keys.iter().map(|new| new.wrapped.as_slice()).collect();
    sqlx::query("insert into subject_key (tenant, subject, key_id, wrapped) select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[])")
        .bind(tenants)
        .bind(subjects)
        .bind(ids)
        .bind(wrapped)
        .execute(connection)
        .await
        .doing("store subjects' keys")?;
    Ok(())
}

/// Destroys a subject's key: whatever was sealed with it is unreadable from this commit on.
///
/// # Errors
/// When the database fails.
pub async fn destroy_subject_key(connection: &mut Connection, subject: Subject) -> Result<(), DatabaseError> {
    sqlx::query("delete from subject_key where tenant = $1 and subject = $2")
        .bind(Uuid::from(subject.0))
        .bind(subject.1)
        .execute(connection)
        .await
        .doing("destroy a subject's key")?;
    Ok(())
}

fn monotonic_now() -> Instant {
    Instant::now()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A cache has no invariant that a panic could break.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Kind;
    use serde_json::json;

    fn key(id: u128, byte: u8) -> SubjectKey {
        SubjectKey(Key::new(Uuid::from_u128(id), &[byte; 32]).expect("a key"))
    }

    fn stream(id: u128) -> StreamId {
        StreamId::new(
            TenantId::from_uuid(Uuid::from_u128(1)),
            Kind::Employee,
            Uuid::from_u128(id),
        )
    }

    fn place(stream: &StreamId, event: u128) -> Place<'_> {
        Place {
            stream,
            event_id: EventId::from_uuid(Uuid::from_u128(event)),
            schema_version: 1,
        }
    }

    fn sealed(key: &SubjectKey, at: Place<'_>) -> Value {
        let mut payload =
            json!({"name": {"$personal": "Ada"}, "list": [{"pay": {"$personal": 7}}], "on": "2026-01-01"});
        key.seal(at, &mut payload).expect("sealed");
        payload
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let (own, other) = (stream(2), stream(3));
        let k = key(9, 1);
        let payload = sealed(&k, place(&own, 5));
        assert!(!payload.to_string().contains("Ada") && !has_open_marker(&payload));

        let opened = |key: Option<&SubjectKey>, at: Place<'_>| {
            let mut payload = payload.clone();
            open_payload(key, at, &mut payload);
            payload
        };
        assert_eq!(opened(Some(&k), place(&own, 5))["name"], json!({"$personal": "Ada"}));
        let unreadable = json!({"$unreadable": true});
        for elsewhere in [
            opened(None, place(&own, 5)),
            opened(Some(&key(9, 2)), place(&own, 5)),
            opened(Some(&key(8, 1)), place(&own, 5)),
            opened(Some(&k), place(&own, 6)),
            opened(Some(&k), place(&other, 5)),
        ] {
            assert_eq!(elsewhere["name"], unreadable);
            assert_eq!(elsewhere["list"][0]["pay"], unreadable);
            assert_eq!(elsewhere["on"], "2026-01-01");
        }
    }

    #[test]
    fn a_field_cannot_stand_in_for_another() {
        let own = stream(2);
        let k = key(9, 1);
        let mut payload = json!({"a": {"$personal": 1}, "b": {"$personal": 2}});
        k.seal(place(&own, 5), &mut payload).expect("sealed");
        let swapped = json!({"a": payload["b"], "b": payload["a"]});
        let mut opened = swapped;
        open_payload(Some(&k), place(&own, 5), &mut opened);
        assert_eq!(opened["a"], json!({"$unreadable": true}));
    }

    #[test]
    fn a_changed_byte_does_not_open() {
        let k = Key::new(Uuid::from_u128(4), &[3; 32]).expect("a key");
        let whole = k.seal("here", b"secret").expect("sealed");
        assert_eq!(k.open("here", &whole).expect("opens"), b"secret");
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            assert!(k.open("here", &changed).is_err(), "byte {index}");
        }
        assert!(k.open("there", &whole).is_err());
    }

    #[test]
    fn nonces_differ() {
        let k = Key::new(Uuid::from_u128(4), &[3; 32]).expect("a key");
        assert_ne!(
            k.seal("here", b"x").expect("sealed"),
            k.seal("here", b"x").expect("sealed")
        );
    }
}
