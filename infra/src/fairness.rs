//! The fairness store: people's protected attributes, out of the reach of whatever makes models.
//!
//! They lie in a schema of their own, to which the database gives rights to one role only. The application's role, with which
//! scorer, training and query API work, is refused there, and the fairness role is refused everything that is predicted or
//! learnt from. So scores and attributes meet where somebody holds handles on both: in an audit, in memory. A test names the
//! files that may mention [`FairnessStore`].

use std::collections::BTreeMap;

use domain::{
    employee::Demographics,
    id::{EmployeeId, TenantId},
};
use secrecy::SecretString;
use uuid::Uuid;

use crate::{
    database::{Access, Connection, Database, DatabaseError, Doing},
    read_model::keys,
    sealing::{Keyring, MasterKey, SealingError, Subject, SubjectKey},
};

/// Rows that are read and opened at once.
const PAGE: i64 = 1_000;

/// The handle on protected attributes: whoever has one can read them. Cheap to clone.
#[derive(Clone)]
pub struct FairnessStore {
    database: Database,
    keyring: Keyring,
}

impl FairnessStore {
    /// Connects when first used, with the fairness role. `keyring` opens what the store holds; it reads keys with the
    /// application's role.
    ///
    /// # Errors
    /// When the address does not read.
    pub fn new(owner_url: &SecretString, master: &MasterKey, keyring: Keyring) -> Result<Self, DatabaseError> {
        Ok(Self {
            database: Database::of_fairness(owner_url, master)?,
            keyring,
        })
    }

    /// The same store for a tool ([`Database::patient`]).
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            database: self.database.patient(),
            ..self
        }
    }

    /// The database as the fairness role sees it: what the store's projection writes with.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// What is on record of a tenant's people. Who is not there, or whose key is gone, has nothing on record.
    ///
    /// # Errors
    /// When the database or the keys fail, or an attribute does not read.
    pub async fn attributes(&self, tenant: TenantId) -> Result<BTreeMap<EmployeeId, Demographics>, SealingError> {
        let mut attributes = BTreeMap::new();
        let mut after = None;
        loop {
            let rows = self
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(page(connection, tenant, after, PAGE))
                })
                .await?;
            let Some(last) = rows.last() else { return Ok(attributes) };
            after = Some(last.employee);
            let people: Vec<Subject> = rows.iter().map(|row| (tenant, row.employee)).collect();
            let keys = self.keyring.subjects(&people).await?;
            for row in rows {
                let who = (tenant, row.employee);
                if let Some(key) = keys.get(&who) {
                    attributes.insert(EmployeeId::from_uuid(row.employee), row.open(key)?);
                }
            }
        }
    }
}

/// What is on record of one person, sealed with the person's key.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AttributesRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    pub sealed: Vec<u8>,
    /// The log position of the event that said so.
    pub position: i64,
}

impl AttributesRow {
    /// Seals a person's attributes with the person's `key`.
    ///
    /// # Errors
    /// When encryption fails.
    pub fn seal(
        who: Subject,
        key: &SubjectKey,
        attributes: &Demographics,
        position: i64,
    ) -> Result<Self, SealingError> {
        let plain = serde_json::to_vec(attributes).map_err(|_| SealingError::Seal)?;
        Ok(Self {
            tenant: who.0.into(),
            employee: who.1,
            sealed: key.seal_bytes(&place(who), &plain)?,
            position,
        })
    }

    /// What is on record, opened with the person's `key`.
    ///
    /// # Errors
    /// When the key is another, or what it opens does not read.
    pub fn open(&self, key: &SubjectKey) -> Result<Demographics, SealingError> {
        let who = (TenantId::from_uuid(self.tenant), self.employee);
        let plain = key.open_bytes(&place(who), &self.sealed)?;
        Ok(serde_json::from_slice(&plain).map_err(|_| DatabaseError::Corrupt("attributes"))?)
    }
}

fn place((tenant, employee): Subject) -> String {
    format!("{tenant}|protected attributes|{employee}")
}

/// A tenant's rows after `after` (an employee's id), in order of id.
///
/// # Errors
/// When the database fails, or the connection is not the fairness role's.
pub async fn page(
    connection: &mut Connection,
    tenant: TenantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<AttributesRow>, DatabaseError> {
    sqlx::query_as(
        "select * from fairness.attributes where tenant = $1 and ($2::uuid is null or employee > $2) order by employee limit $3",
    )
    .bind(Uuid::from(tenant))
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("read protected attributes")
}

/// Keeps what is on record now, in place of what was.
///
/// # Errors
/// When the database fails, or the connection is not the fairness role's.
pub async fn upsert(connection: &mut Connection, rows: &[AttributesRow]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into fairness.attributes (tenant, employee, sealed, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bigint[])
         on conflict (tenant, employee) do update set sealed = excluded.sealed, position = excluded.position",
    )
    .bind(rows.iter().map(|row| row.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sealed.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.position).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("keep protected attributes")
    .map(drop)
}

/// Keeps the store's projection out until the transaction ends.
///
/// # Errors
/// When the database fails, or the connection is not the fairness role's.
pub async fn keep_to_oneself(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::raw_sql("lock table fairness.attributes in share row exclusive mode")
        .execute(connection)
        .await
        .doing("keep protected attributes")
        .map(drop)
}

/// Removes what is on record of people.
///
/// # Errors
/// When the database fails, or the connection is not the fairness role's.
pub async fn remove(connection: &mut Connection, people: &[Subject]) -> Result<(), DatabaseError> {
    if people.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = keys(people);
    sqlx::query(
        "delete from fairness.attributes a using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          where (a.tenant, a.employee) = (u.tenant, u.employee)",
    )
    .bind(tenants)
    .bind(ids)
    .execute(connection)
    .await
    .doing("remove protected attributes")
    .map(drop)
}
