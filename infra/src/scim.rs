//! What identity providers keep here by SCIM: accounts and groups, sealed, found by digests of their names.
//!
//! Everything that one connection writes is written one after the other ([`lock`]), so that what was looked up still holds when it is
//! written.

use domain::{
    Date, Timestamp,
    id::{ConnectionId, TenantId},
};
use uuid::Uuid;

use crate::{
    database::{Connection, DatabaseError, Doing},
    sealing::Subject,
};

/// Whose resources.
pub type Scope = (TenantId, ConnectionId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// A resource as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Stored {
    pub id: Uuid,
    /// In which order they were made.
    pub number: i64,
    /// Sealed.
    pub content: Vec<u8>,
    pub version: i64,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
    /// The employee of another source whom an account belongs to.
    pub employee: Option<Uuid>,
}

/// What is written of a resource besides its id.
#[derive(Debug, Clone)]
pub struct Written {
    pub kind: Kind,
    /// Of a user: whose key seals it.
    pub subject: Option<Uuid>,
    /// Of a user's userName, of a group's displayName.
    pub name_digest: Vec<u8>,
    pub external_digest: Option<Vec<u8>>,
    /// Of what an account calls its manager.
    pub manager_digest: Option<Vec<u8>>,
    /// Of an account's address.
    pub email_digest: Option<Vec<u8>>,
    /// The employee of another source whom an account belongs to.
    pub employee: Option<Uuid>,
    /// The next day on which an account says something else of itself.
    pub tell_on: Option<Date>,
    pub content: Vec<u8>,
    pub version: i64,
    pub at: Timestamp,
}

/// Which resources are looked for.
#[derive(Debug, Clone)]
pub enum Which {
    Id(Uuid),
    /// By a digest of userName or displayName.
    Name(Vec<u8>),
    /// By a digest of externalId.
    External(Vec<u8>),
    /// In the order in which they were made, those behind a number.
    After(i64),
}

/// Lets nobody else write for this connection until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn lock(connection: &mut Connection, (_, of): Scope) -> Result<(), DatabaseError> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7643))")
        .bind(of.to_string())
        .execute(connection)
        .await
        .doing("lock a connection's resources")
        .map(drop)
}

/// Up to `limit` resources after `offset` others, in the order in which they were made.
///
/// # Errors
/// When the database fails.
pub async fn find(
    connection: &mut Connection,
    (tenant, of): Scope,
    (kind, which): (Kind, Which),
    (offset, limit): (i64, i64),
) -> Result<Vec<Stored>, DatabaseError> {
    let (condition, id, digest, after) = match which {
        Which::Id(id) => ("id = $4", Some(id), None, None),
        Which::Name(digest) => ("name_digest = $5", None, Some(digest), None),
        Which::External(digest) => ("external_digest = $5", None, Some(digest), None),
        Which::After(number) => ("number > $6", None, None, Some(number)),
    };
    // The unused parameters say their types by the casts.
    let query = format!(
        "select id, number, content, version, created_at, modified_at, employee from scim_resource
          where tenant = $1 and connection = $2 and kind = $3 and {condition}
                and ($4::uuid is null or true) and ($5::bytea is null or true) and ($6::bigint is null or true)
          order by number offset $7 limit $8"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(of))
        .bind(kind.name())
        .bind(id)
        .bind(digest)
        .bind(after)
        .bind(offset)
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("look up a connection's resources")
}

/// How many there are.
///
/// # Errors
/// When the database fails.
pub async fn count(connection: &mut Connection, (tenant, of): Scope, kind: Kind) -> Result<i64, DatabaseError> {
    sqlx::query_scalar("select count(*) from scim_resource where tenant = $1 and connection = $2 and kind = $3")
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(of))
        .bind(kind.name())
        .fetch_one(connection)
        .await
        .doing("count a connection's resources")
}

/// Writes a resource, new or not; false if it is to be there already and is gone.
///
/// # Errors
/// When the database fails, also because another user has that name: look first.
pub async fn write(
    connection: &mut Connection,
    (tenant, of): Scope,
    (id, is_new): (Uuid, bool),
    written: Written,
) -> Result<bool, DatabaseError> {
    let query = if is_new {
        "insert into scim_resource (tenant, connection, id, name_digest, external_digest, manager_digest, content, version, kind, subject,
                                    created_at, modified_at, email_digest, employee, tell_on)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $10, $11, $9, $9, $12, $13, $14)"
    } else {
        "update scim_resource set name_digest = $4, external_digest = $5, manager_digest = $6, content = $7, version = $8, modified_at = $9,
                email_digest = $12, employee = $13, tell_on = $14, tell_again = false
          where tenant = $1 and connection = $2 and id = $3 and kind = $10 and subject is not distinct from $11"
    };
    let written = sqlx::query(query)
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(of))
        .bind(id)
        .bind(written.name_digest)
        .bind(written.external_digest)
        .bind(written.manager_digest)
        .bind(written.content)
        .bind(written.version)
        .bind(written.at)
        .bind(written.kind.name())
        .bind(written.subject)
        .bind(written.email_digest)
        .bind(written.employee)
        .bind(written.tell_on)
        .execute(connection)
        .await
        .doing("write a connection's resource")?;
    Ok(written.rows_affected() == 1)
}

/// Removes a resource, with what it is a member of and who is a member of it.
///
/// # Errors
/// When the database fails.
pub async fn delete(connection: &mut Connection, (tenant, of): Scope, id: Uuid) -> Result<(), DatabaseError> {
    sqlx::query(
        "with memberships as (delete from scim_member where tenant = $1 and connection = $2 and (in_group = $3 or member = $3))
         delete from scim_resource where tenant = $1 and connection = $2 and id = $3",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(id)
    .execute(connection)
    .await
    .doing("remove a connection's resource")
    .map(drop)
}

/// Removes the accounts of an employee who is erased: the own one, and any that belongs to them. Answers the subjects of the latter.
///
/// # Errors
/// When the database fails.
pub async fn forget(connection: &mut Connection, (tenant, employee): Subject) -> Result<Vec<Uuid>, DatabaseError> {
    sqlx::query_scalar(
        "with accounts as (delete from scim_resource where tenant = $1 and (subject = $2 or employee = $2)
                           returning connection, id, subject),
              members as (delete from scim_member m using accounts a where (m.tenant, m.connection, m.member) = ($1, a.connection, a.id))
         select subject from accounts where subject <> $2",
    )
    .bind(Uuid::from(tenant))
    .bind(employee)
    .fetch_all(connection)
    .await
    .doing("remove the accounts of an erased person")
}

/// Employees of sources other than identity providers, which are no truth about each other.
const ELSEWHERE: &str = "from employee e where e.tenant = $1 and e.status not in ('DELETED', 'ERASED')
    and not exists (select from connection c where (c.tenant, c.id) = (e.tenant, e.connection) and c.vendor = 'scim')";

/// Whose an account may be.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub email: Option<&'a str>,
    /// The first day of its employment: who had left before is somebody else.
    pub start: Option<Date>,
    /// Who was found before.
    pub known: Option<Uuid>,
}

/// The employee of another source who has the account's address, in any case: of several the one who has not left; nobody if there is not
/// one alone. Also who was found before, while that employee is there.
///
/// # Errors
/// When the database fails.
pub async fn employee_of(
    connection: &mut Connection,
    tenant: TenantId,
    claim: Claim<'_>,
) -> Result<Option<Uuid>, DatabaseError> {
    let query = format!(
        "select e.id, e.status = 'LEFT' {ELSEWHERE} and lower(e.work_email) = lower($2)
                and (e.status <> 'LEFT' or $3::date is null or e.left_on > $3)
          order by 2 limit 2"
    );
    let found: Vec<(Uuid, bool)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(Uuid::from(tenant))
        .bind(claim.email)
        .bind(claim.start)
        .fetch_all(&mut *connection)
        .await
        .doing("look up whose account it is")?;
    match found.as_slice() {
        [(id, _)] | [(id, false), (_, true)] => return Ok(Some(*id)),
        _ => {}
    }
    let query = format!("select e.id {ELSEWHERE} and e.id = $2");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(Uuid::from(tenant))
        .bind(claim.known)
        .fetch_optional(connection)
        .await
        .doing("look up whose account it was")
}

/// Addresses of employees of other sources, in the order of their ids, after `after`.
///
/// # Errors
/// When the database fails.
pub async fn addresses_elsewhere(
    connection: &mut Connection,
    tenant: TenantId,
    (after, limit): (Uuid, i64),
) -> Result<Vec<(Uuid, String)>, DatabaseError> {
    let query = format!(
        "select e.id, e.work_email {ELSEWHERE} and e.work_email is not null and e.id > $2 order by e.id limit $3"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(Uuid::from(tenant))
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("read other sources' addresses")
}

/// Accounts whose day has come, and those whose employee is there no more, are to be told again.
///
/// # Errors
/// When the database fails.
pub async fn days_came(connection: &mut Connection, (tenant, of): Scope, today: Date) -> Result<(), DatabaseError> {
    sqlx::query(
        "update scim_resource r set tell_again = true
          where r.tenant = $1 and r.connection = $2 and not r.tell_again
            and (r.tell_on <= $3
                 or exists (select from employee e where (e.tenant, e.id) = (r.tenant, r.employee) and e.status in ('DELETED', 'ERASED')))",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(today)
    .execute(connection)
    .await
    .doing("note that days came")
    .map(drop)
}

/// Accounts with an address of which `digests` are, and that belong to nobody yet, are to be told again.
///
/// # Errors
/// When the database fails.
pub async fn employees_came(
    connection: &mut Connection,
    (tenant, of): Scope,
    digests: &[Vec<u8>],
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update scim_resource set tell_again = true
          where tenant = $1 and connection = $2 and email_digest = any($3) and employee is null and not tell_again",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(digests)
    .execute(connection)
    .await
    .doing("note that employees came")
    .map(drop)
}

/// Who of a connection's users is called so: by id, else by externalId, else by userName, with the employee of another source whom the
/// account belongs to; nobody if several are called so.
///
/// # Errors
/// When the database fails.
pub async fn called(
    connection: &mut Connection,
    (tenant, of): Scope,
    (id, digest): (Option<Uuid>, Vec<u8>),
) -> Result<Option<(Uuid, Option<Uuid>)>, DatabaseError> {
    let rows: Vec<(Uuid, Option<Uuid>, i32)> = sqlx::query_as(
        "select id, employee, 1 from scim_resource where tenant = $1 and connection = $2 and kind = 'user' and id = $3
         union all select id, employee, 2 from scim_resource where tenant = $1 and connection = $2 and kind = 'user' and external_digest = $4
         union all select id, employee, 3 from scim_resource where tenant = $1 and connection = $2 and kind = 'user' and name_digest = $4
         order by 3 limit 3",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(id)
    .bind(digest)
    .fetch_all(connection)
    .await
    .doing("look up who is called so")?;
    let best = rows.first().map(|(.., how)| *how);
    let mut alike = rows.iter().filter(|(.., how)| Some(*how) == best);
    match (alike.next(), alike.next()) {
        (Some((id, employee, _)), None) => Ok(Some((*id, *employee))),
        _ => Ok(None),
    }
}

/// Whoever calls their manager like one of `digests` is to be told again.
///
/// # Errors
/// When the database fails.
pub async fn manager_came(
    connection: &mut Connection,
    (tenant, of): Scope,
    digests: &[Vec<u8>],
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update scim_resource set tell_again = true where tenant = $1 and connection = $2 and manager_digest = any($3) and not tell_again",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(digests)
    .execute(connection)
    .await
    .doing("note that a manager came")
    .map(drop)
}

/// Users who are to be told again.
///
/// # Errors
/// When the database fails.
pub async fn to_tell_again(
    connection: &mut Connection,
    (tenant, of): Scope,
    limit: i64,
) -> Result<Vec<Uuid>, DatabaseError> {
    sqlx::query_scalar("select id from scim_resource where tenant = $1 and connection = $2 and tell_again limit $3")
        .bind(Uuid::from(tenant))
        .bind(Uuid::from(of))
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("look up who is to be told again")
}

/// The members of a group, and whether each is a group itself.
///
/// # Errors
/// When the database fails.
pub async fn members(
    connection: &mut Connection,
    (tenant, of): Scope,
    groups: &[Uuid],
) -> Result<Vec<(Uuid, Uuid, bool)>, DatabaseError> {
    sqlx::query_as(
        "select m.in_group, m.member, r.kind = 'group' from scim_member m
                join scim_resource r on (r.tenant, r.connection, r.id) = (m.tenant, m.connection, m.member)
          where m.tenant = $1 and m.connection = $2 and m.in_group = any($3) order by r.number",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(groups)
    .fetch_all(connection)
    .await
    .doing("look up groups' members")
}

/// The groups that users are in: user, group.
///
/// # Errors
/// When the database fails.
pub async fn memberships(
    connection: &mut Connection,
    (tenant, of): Scope,
    users: &[Uuid],
) -> Result<Vec<(Uuid, Uuid)>, DatabaseError> {
    sqlx::query_as(
        "select member, in_group from scim_member where tenant = $1 and connection = $2 and member = any($3) order by in_group",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(users)
    .fetch_all(connection)
    .await
    .doing("look up users' groups")
}

/// One of `members` who is not here.
///
/// # Errors
/// When the database fails.
pub async fn unknown_member(
    connection: &mut Connection,
    (tenant, of): Scope,
    members: &[Uuid],
) -> Result<Option<Uuid>, DatabaseError> {
    sqlx::query_scalar(
        "select u.id from unnest($3::uuid[]) as u(id)
          where not exists (select from scim_resource r where (r.tenant, r.connection, r.id) = ($1, $2, u.id)) limit 1",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(members)
    .fetch_optional(connection)
    .await
    .doing("look up a group's members")
}

/// Makes `members`, who are all here, the members of a group.
///
/// # Errors
/// When the database fails.
pub async fn set_members(
    connection: &mut Connection,
    (tenant, of): Scope,
    group: Uuid,
    members: &[Uuid],
) -> Result<(), DatabaseError> {
    sqlx::query(
        "with gone as (delete from scim_member where tenant = $1 and connection = $2 and in_group = $3 and member <> all($4))
         insert into scim_member (tenant, connection, in_group, member) select $1, $2, $3, * from unnest($4::uuid[]) on conflict do nothing",
    )
    .bind(Uuid::from(tenant))
    .bind(Uuid::from(of))
    .bind(group)
    .bind(members)
    .execute(connection)
    .await
    .doing("set a group's members")
    .map(drop)
}
