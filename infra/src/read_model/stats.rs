//! `department_stats` and `team_stats`: counts that move by differences.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

/// Heads by standing, or a change of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Employed: at work, on leave or on notice.
    pub headcount: i64,
    pub on_leave: i64,
    pub on_notice: i64,
    pub departed: i64,
}

impl Counts {
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.headcount == 0 && self.on_leave == 0 && self.on_notice == 0 && self.departed == 0
    }

    pub const fn add(&mut self, other: Self, sign: i64) {
        self.headcount += sign * other.headcount;
        self.on_leave += sign * other.on_leave;
        self.on_notice += sign * other.on_notice;
        self.departed += sign * other.departed;
    }
}

/// Changes by group. A `BTreeMap`, so that rows are always locked in the same order.
#[derive(Debug, Default)]
pub struct Changes {
    pub departments: BTreeMap<(Uuid, String), Counts>,
    pub teams: BTreeMap<(Uuid, Uuid), Counts>,
}

/// # Errors
/// When the database fails.
pub async fn apply(connection: &mut Connection, changes: &Changes) -> Result<(), DatabaseError> {
    let departments: Vec<_> = changes
        .departments
        .iter()
        .filter(|(_, counts)| !counts.is_zero())
        .collect();
    if !departments.is_empty() {
        sqlx::query(
            "insert into department_stats as s (tenant, department, headcount, on_leave, on_notice, departed)
             select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             on conflict (tenant, department) do update set headcount = s.headcount + excluded.headcount, on_leave = s.on_leave + excluded.on_leave,
                on_notice = s.on_notice + excluded.on_notice, departed = s.departed + excluded.departed",
        )
        .bind(departments.iter().map(|((tenant, _), _)| *tenant).collect::<Vec<_>>())
        .bind(departments.iter().map(|((_, name), _)| name.as_str()).collect::<Vec<_>>())
        .bind(departments.iter().map(|(_, c)| c.headcount).collect::<Vec<_>>())
        .bind(departments.iter().map(|(_, c)| c.on_leave).collect::<Vec<_>>())
        .bind(departments.iter().map(|(_, c)| c.on_notice).collect::<Vec<_>>())
        .bind(departments.iter().map(|(_, c)| c.departed).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .doing("count departments")?;
    }
    let teams: Vec<_> = changes.teams.iter().filter(|(_, counts)| !counts.is_zero()).collect();
    if !teams.is_empty() {
        sqlx::query(
            "insert into team_stats as s (tenant, manager, headcount, on_leave, on_notice, departed)
             select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             on conflict (tenant, manager) do update set headcount = s.headcount + excluded.headcount, on_leave = s.on_leave + excluded.on_leave,
                on_notice = s.on_notice + excluded.on_notice, departed = s.departed + excluded.departed",
        )
        .bind(teams.iter().map(|((tenant, _), _)| *tenant).collect::<Vec<_>>())
        .bind(teams.iter().map(|((_, manager), _)| *manager).collect::<Vec<_>>())
        .bind(teams.iter().map(|(_, c)| c.headcount).collect::<Vec<_>>())
        .bind(teams.iter().map(|(_, c)| c.on_leave).collect::<Vec<_>>())
        .bind(teams.iter().map(|(_, c)| c.on_notice).collect::<Vec<_>>())
        .bind(teams.iter().map(|(_, c)| c.departed).collect::<Vec<_>>())
        .execute(connection)
        .await
        .doing("count teams")?;
    }
    Ok(())
}

/// The manager of the tenant's largest team.
///
/// # Errors
/// When the database fails.
pub async fn largest_team(
    connection: &mut Connection,
    tenant: domain::id::TenantId,
) -> Result<Option<Uuid>, DatabaseError> {
    sqlx::query_scalar(
        "select s.manager from team_stats s join employee e on e.tenant = s.tenant and e.id = s.manager
          where s.tenant = $1 and s.headcount > 0 order by s.headcount desc, s.manager limit 1",
    )
    .bind(Uuid::from(tenant))
    .fetch_optional(connection)
    .await
    .doing("look for the largest team")
}
