//! The tables of the projection `teams`: who reported to whom, who left, and who has been told of it.

use std::collections::HashMap;

use domain::{Date, Timestamp, employee::Relation, id::TenantId};
use uuid::Uuid;

use crate::{
    database::{Connection, DatabaseError, Doing},
    read_model::keys,
};

/// With the tenant's hash, the name of the lock that [`lock`] takes.
const LOCK_CLASS: i32 = 7_467;

/// One person.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct PersonRow {
    pub tenant: Uuid,
    pub employee: Uuid,
    /// JSON.
    pub facts: String,
    /// Of the last event that the facts come from.
    pub position: i64,
    /// From when on colleagues can be told what changed; nothing when they have been.
    pub due_at: Option<Timestamp>,
    /// Whether all that changed since colleagues were told is imported history.
    pub backfill: bool,
    /// What the last change is part of.
    pub correlation: Uuid,
}

/// Somebody was employed and reported to the manager `team`, from `from_on` to before `to_on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub team: Uuid,
    pub from_on: Date,
    pub to_on: Date,
    pub backfill: bool,
}

/// Somebody's exit, as one team is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub exit_on: Date,
    pub relation: Relation,
    pub team: Uuid,
    pub backfill: bool,
}

/// A person's memberships and exits, all of them.
#[derive(Debug, Clone)]
pub struct Teams {
    pub tenant: TenantId,
    pub employee: Uuid,
    pub memberships: Vec<Membership>,
    pub exits: Vec<Exit>,
}

/// What somebody is to be told: an exit, or that it is none.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct News {
    pub teammate: Uuid,
    pub colleague: Uuid,
    pub exit_on: Date,
    relation: String,
    pub backfill: bool,
    /// The positions up to which the two people's events were seen.
    pub teammate_position: i64,
    pub colleague_position: i64,
}

impl News {
    /// # Errors
    /// When the stored word is none of ours.
    pub fn relation(&self) -> Result<Relation, DatabaseError> {
        Relation::from_name(&self.relation).ok_or(DatabaseError::Corrupt("relation of colleagues"))
    }
}

/// What is known of people.
///
/// # Errors
/// When the database fails.
pub async fn load(connection: &mut Connection, people: &[(TenantId, Uuid)]) -> Result<Vec<PersonRow>, DatabaseError> {
    let (tenants, ids) = keys(people);
    sqlx::query_as(
        "select p.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          cross join lateral (select tenant, employee, facts::text as facts, position, due_at, backfill, correlation
                                from team_person where (tenant, employee) = (u.tenant, u.employee) offset 0) p",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("load what is known of teams")
}

/// Keeps everybody else from writing these tables until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn keep_to_oneself(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::raw_sql("lock table team_person, team_membership, team_exit in share row exclusive mode")
        .execute(connection)
        .await
        .doing("keep the tables of teams")
        .map(drop)
}

/// The memberships and exits of people that others are told by, as they are stored, in order of time.
///
/// # Errors
/// When the database fails, or a stored word is none of ours.
pub async fn of(
    connection: &mut Connection,
    tenant: TenantId,
    people: &[(TenantId, Uuid)],
) -> Result<HashMap<Uuid, (Vec<Membership>, Vec<Exit>)>, DatabaseError> {
    let (_, ids) = keys(people);
    let mut of: HashMap<Uuid, (Vec<Membership>, Vec<Exit>)> = HashMap::new();
    let memberships: Vec<(Uuid, Uuid, Date, Date, bool)> = sqlx::query_as(
        "select employee, team, from_on, to_on, backfill from team_membership where tenant = $1 and employee = any ($2) order by employee, from_on",
    )
    .bind(Uuid::from(tenant))
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await
    .doing("read who worked for whom")?;
    for (employee, team, from_on, to_on, backfill) in memberships {
        let membership = Membership {
            team,
            from_on,
            to_on,
            backfill,
        };
        of.entry(employee).or_default().0.push(membership);
    }
    let exits: Vec<(Uuid, Date, String, Uuid, bool)> = sqlx::query_as(
        "select employee, exit_on, relation, team, backfill from team_exit where tenant = $1 and employee = any ($2) order by employee, exit_on",
    )
    .bind(Uuid::from(tenant))
    .bind(&ids)
    .fetch_all(connection)
    .await
    .doing("read who left")?;
    for (employee, exit_on, relation, team, backfill) in exits {
        let relation = Relation::from_name(&relation).ok_or(DatabaseError::Corrupt("relation of colleagues"))?;
        let exit = Exit {
            exit_on,
            relation,
            team,
            backfill,
        };
        of.entry(employee).or_default().1.push(exit);
    }
    Ok(of)
}

/// Stores what is known of people.
///
/// # Errors
/// When the database fails.
pub async fn store(connection: &mut Connection, rows: &[PersonRow]) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into team_person (tenant, employee, facts, position, due_at, backfill, correlation)
         select tenant, employee, facts::json, position, due_at, backfill, correlation
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $6::boolean[], $7::uuid[])
                as u(tenant, employee, facts, position, due_at, backfill, correlation)
             on conflict (tenant, employee) do update set facts = excluded.facts, position = excluded.position,
                due_at = excluded.due_at, backfill = excluded.backfill, correlation = excluded.correlation",
    )
    .bind(rows.iter().map(|row| row.tenant).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.employee).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.facts.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.due_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.backfill).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.correlation).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("store what is known of teams")
    .map(drop)
}

/// Replaces people's memberships and exits.
///
/// # Errors
/// When the database fails.
pub async fn replace(connection: &mut Connection, people: &[Teams]) -> Result<(), DatabaseError> {
    let ids: Vec<(TenantId, Uuid)> = people.iter().map(|person| (person.tenant, person.employee)).collect();
    let (tenants, ids) = keys(&ids);
    for delete in [
        "delete from team_membership t using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          where (t.tenant, t.employee) = (u.tenant, u.employee)",
        "delete from team_exit t using unnest($1::uuid[], $2::uuid[]) as u(tenant, employee)
          where (t.tenant, t.employee) = (u.tenant, u.employee)",
    ] {
        sqlx::query(delete)
            .bind(&tenants)
            .bind(&ids)
            .execute(&mut *connection)
            .await
            .doing("replace teams")?;
    }
    add_memberships(connection, people).await?;
    add_exits(connection, people).await
}

async fn add_memberships(connection: &mut Connection, people: &[Teams]) -> Result<(), DatabaseError> {
    let rows = || {
        people.iter().flat_map(|person| {
            let who = (Uuid::from(person.tenant), person.employee);
            person.memberships.iter().map(move |membership| (who, membership))
        })
    };
    sqlx::query(
        "insert into team_membership (tenant, employee, team, from_on, to_on, backfill)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::date[], $6::boolean[])",
    )
    .bind(rows().map(|(who, _)| who.0).collect::<Vec<_>>())
    .bind(rows().map(|(who, _)| who.1).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.team).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.from_on).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.to_on).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.backfill).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("store memberships of teams")
    .map(drop)
}

async fn add_exits(connection: &mut Connection, people: &[Teams]) -> Result<(), DatabaseError> {
    let rows = || {
        people.iter().flat_map(|person| {
            let who = (Uuid::from(person.tenant), person.employee);
            person.exits.iter().map(move |exit| (who, exit))
        })
    };
    sqlx::query(
        "insert into team_exit (tenant, employee, exit_on, relation, team, backfill)
         select * from unnest($1::uuid[], $2::uuid[], $3::date[], $4::text[], $5::uuid[], $6::boolean[])",
    )
    .bind(rows().map(|(who, _)| who.0).collect::<Vec<_>>())
    .bind(rows().map(|(who, _)| who.1).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.exit_on).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.relation.name()).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.team).collect::<Vec<_>>())
    .bind(rows().map(|(_, row)| row.backfill).collect::<Vec<_>>())
    .execute(connection)
    .await
    .doing("store exits from teams")
    .map(drop)
}

/// The tenants in which somebody's colleagues can be told something by `now`.
///
/// # Errors
/// When the database fails.
pub async fn due_tenants(connection: &mut Connection, now: Timestamp) -> Result<Vec<TenantId>, DatabaseError> {
    let tenants: Vec<Uuid> =
        sqlx::query_scalar("select distinct tenant from team_person where due_at <= $1 order by tenant")
            .bind(now)
            .fetch_all(connection)
            .await
            .doing("look for news of teams")?;
    Ok(tenants.into_iter().map(TenantId::from_uuid).collect())
}

/// Waits until nobody else tells this tenant's people of exits, and keeps others from it until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn lock(connection: &mut Connection, tenant: TenantId) -> Result<(), DatabaseError> {
    sqlx::query("select pg_advisory_xact_lock($1, hashtext($2))")
        .bind(LOCK_CLASS)
        .bind(tenant.to_string())
        .execute(connection)
        .await
        .doing("wait for who tells of exits")
        .map(drop)
}

/// Up to `limit` people whose colleagues can be told something by `now`, held until the transaction ends. People whose facts
/// somebody is writing right now are left for later.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    connection: &mut Connection,
    tenant: TenantId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<PersonRow>, DatabaseError> {
    sqlx::query_as(
        "select tenant, employee, facts::text as facts, position, due_at, backfill, correlation from team_person
          where tenant = $1 and due_at <= $2 order by due_at, employee limit $3 for update skip locked",
    )
    .bind(Uuid::from(tenant))
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
    .doing("claim news of teams")
}

/// Marks people's colleagues as told.
///
/// # Errors
/// When the database fails.
pub async fn settle(connection: &mut Connection, tenant: TenantId, people: &[Uuid]) -> Result<(), DatabaseError> {
    sqlx::query("update team_person set due_at = null where tenant = $1 and employee = any($2)")
        .bind(Uuid::from(tenant))
        .bind(people)
        .execute(connection)
        .await
        .doing("mark news of teams as told")
        .map(drop)
}

/// Who is to know of which exit, as far as one of the people `$2` is either of the two: whoever was in a team on the day of an
/// exit that this team is told of. One pair has at most one row for a day, because nobody is in two teams on one day, and an exit
/// is told to two different teams.
const DESIRED: &str = "with changed as (select unnest($2::uuid[]) as employee),
    desired as (
        select m.employee as teammate, x.employee as colleague, x.exit_on, x.relation, x.backfill and m.backfill as backfill
          from changed c
          cross join lateral (select * from team_exit where tenant = $1 and employee = c.employee offset 0) x
          cross join lateral (select employee, backfill from team_membership
            where tenant = $1 and team = x.team and from_on <= x.exit_on and x.exit_on < to_on and employee <> x.employee offset 0) m
        union
        select m.employee, x.employee, x.exit_on, x.relation, x.backfill and m.backfill
          from changed c
          cross join lateral (select * from team_membership where tenant = $1 and employee = c.employee offset 0) m
          cross join lateral (select * from team_exit
            where tenant = $1 and team = m.team and exit_on >= m.from_on and exit_on < m.to_on and employee <> m.employee offset 0) x
    )";

/// What both [`tell`] and [`take_back`] answer with.
const NEWS: &str = "returning t.teammate, t.colleague, t.exit_on, t.relation, t.backfill,
    (select position from team_person p where (p.tenant, p.employee) = (t.tenant, t.teammate)) as teammate_position,
    (select position from team_person p where (p.tenant, p.employee) = (t.tenant, t.colleague)) as colleague_position";

/// Notes as told up to `limit` exits that concern `people` and have not been told; answers them.
///
/// # Errors
/// When the database fails.
pub async fn tell(
    connection: &mut Connection,
    tenant: TenantId,
    people: &[Uuid],
    limit: i64,
) -> Result<Vec<News>, DatabaseError> {
    let statement = format!(
        "{DESIRED}
         insert into team_told as t (tenant, teammate, colleague, exit_on, relation, backfill)
         select $1, d.teammate, d.colleague, d.exit_on, d.relation, d.backfill
           from desired d
           left join lateral (select relation from team_told
             where tenant = $1 and (teammate, colleague, exit_on) = (d.teammate, d.colleague, d.exit_on) offset 0) k on true
          where k.relation is distinct from d.relation
          order by d.exit_on, d.colleague, d.teammate
          limit $3
             on conflict (tenant, teammate, colleague, exit_on)
                do update set relation = excluded.relation, backfill = excluded.backfill
         {NEWS}"
    );
    changed(connection, statement, tenant, people, limit).await
}

/// Forgets up to `limit` exits that were told, concern `people`, and are none; answers them.
///
/// # Errors
/// When the database fails.
pub async fn take_back(
    connection: &mut Connection,
    tenant: TenantId,
    people: &[Uuid],
    limit: i64,
) -> Result<Vec<News>, DatabaseError> {
    let statement = format!(
        "{DESIRED}
         , known as (
            select k.* from changed c cross join lateral
                (select ctid as row, teammate, colleague, exit_on from team_told where tenant = $1 and teammate = c.employee offset 0) k
            union
            select k.* from changed c cross join lateral
                (select ctid as row, teammate, colleague, exit_on from team_told where tenant = $1 and colleague = c.employee offset 0) k
         )
         delete from team_told t using (
            select row from known k
             where not exists (select from desired d
                                where (d.teammate, d.colleague, d.exit_on) = (k.teammate, k.colleague, k.exit_on))
             limit $3
         ) gone where t.ctid = gone.row
         {NEWS}"
    );
    changed(connection, statement, tenant, people, limit).await
}

async fn changed(
    connection: &mut Connection,
    statement: String,
    tenant: TenantId,
    people: &[Uuid],
    limit: i64,
) -> Result<Vec<News>, DatabaseError> {
    // Two constants in a row: nothing in it comes from outside.
    sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(Uuid::from(tenant))
        .bind(people)
        .bind(limit)
        .fetch_all(connection)
        .await
        .doing("find out who is to be told of exits")
}
