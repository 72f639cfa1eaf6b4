//! Heads by department and by team.

use async_graphql::{Context, ID, SimpleObject};
use domain::{id::EmployeeId, policy::Permission};
use infra::read_model::query::{self, HeadsRow, Moment};

use super::employee::store;
use crate::{
    access::Viewer,
    error::ApiError,
    suppression::{self, Hidden},
};

/// Heads in one department. Null figures: the department is too small to show.
#[derive(SimpleObject)]
pub struct Department {
    pub name: String,
    #[graphql(flatten)]
    pub heads: Heads,
}

/// Heads under one manager. Null figures: the team is too small to show.
#[derive(SimpleObject)]
pub struct Team {
    /// The manager's id.
    pub manager: ID,
    /// The manager's name, or a pseudonym.
    pub manager_name: Option<String>,
    #[graphql(flatten)]
    pub heads: Heads,
}

/// Counts of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, SimpleObject)]
pub struct Heads {
    /// Employed: at work, on leave or on notice.
    pub headcount: Option<i64>,
    pub on_leave: Option<i64>,
    pub on_notice: Option<i64>,
    pub departed: Option<i64>,
    /// Whether the figures are withheld because the group is too small.
    pub suppressed: bool,
}

/// The figures that the viewer may see of each row.
fn shown(rows: &[HeadsRow], viewer: &Viewer) -> Vec<Heads> {
    let hidden = if viewer.may(Permission::SeeSmallGroups) {
        Hidden::nothing(rows.len())
    } else {
        suppression::hide(&rows.iter().map(|row| row.headcount).collect::<Vec<_>>(), &[])
    };
    rows.iter()
        .zip(hidden.groups)
        .map(|(row, hidden)| {
            if hidden {
                return Heads {
                    suppressed: true,
                    ..Heads::default()
                };
            }
            // Parts of a group are groups as well.
            let part = |count: i64| {
                let small = count > 0 && count < domain::policy::GROUP_SIZE_MIN;
                (viewer.may(Permission::SeeSmallGroups) || !small).then_some(count)
            };
            Heads {
                headcount: Some(row.headcount),
                on_leave: part(row.on_leave),
                on_notice: part(row.on_notice),
                departed: part(row.departed),
                suppressed: false,
            }
        })
        .collect()
}

pub async fn departments(ctx: &Context<'_>, at: Option<Moment>) -> Result<Vec<Department>, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let tenant = viewer.0.tenant;
    let rows = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { query::departments(connection, tenant, at).await })
        })
        .await?;
    let heads = shown(&rows, viewer);
    Ok(rows
        .into_iter()
        .zip(heads)
        .map(|(row, heads)| Department { name: row.key, heads })
        .collect())
}

pub async fn teams(ctx: &Context<'_>, at: Option<Moment>) -> Result<Vec<Team>, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let tenant = viewer.0.tenant;
    let rows = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { query::team_heads(connection, tenant, at).await })
        })
        .await?;
    let names = manager_names(
        ctx,
        rows.iter().map(|row| row.key.as_str()),
        ctx.look_ahead().field("managerName").exists(),
    )
    .await?;
    let heads = shown(&rows, viewer);
    Ok(rows
        .into_iter()
        .zip(heads)
        .zip(names)
        .map(|((row, heads), manager_name)| Team {
            manager: ID(row.key),
            manager_name,
            heads,
        })
        .collect())
}

/// The names of managers (or their pseudonyms) by id, in one statement.
pub async fn manager_names(
    ctx: &Context<'_>,
    ids: impl Iterator<Item = &str>,
    asked: bool,
) -> Result<Vec<Option<String>>, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let ids: Vec<Option<EmployeeId>> = ids.map(|id| id.parse().ok()).collect();
    if !asked {
        return Ok(vec![None; ids.len()]);
    }
    if !viewer.may(Permission::SeeNames) {
        let pseudonyms = &store(ctx)?.pseudonyms;
        return Ok(ids
            .into_iter()
            .map(|id| id.map(|id| pseudonyms.of(viewer, id)))
            .collect());
    }
    let tenant = viewer.0.tenant;
    let wanted: Vec<_> = ids.iter().flatten().map(|id| (tenant, uuid::Uuid::from(*id))).collect();
    let rows = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { infra::read_model::employee::load(connection, &wanted).await })
        })
        .await?;
    let names: std::collections::HashMap<_, _> = rows
        .into_iter()
        .map(|row| (EmployeeId::from_uuid(row.id), row.display_name))
        .collect();
    Ok(ids
        .into_iter()
        .map(|id| id.and_then(|id| names.get(&id).cloned().flatten()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::viewer;
    use domain::policy::Role;

    fn row(headcount: i64, on_notice: i64) -> HeadsRow {
        HeadsRow {
            key: "k".into(),
            headcount,
            on_leave: 0,
            on_notice,
            departed: 9,
        }
    }

    #[test]
    fn small_groups_and_small_parts_are_withheld_from_those_who_may_not_see_them() {
        let rows = [row(30, 2), row(3, 0), row(8, 6)];
        let heads = shown(&rows, &viewer(Role::Executive));
        assert_eq!(
            heads[0],
            Heads {
                headcount: Some(30),
                on_leave: Some(0),
                on_notice: None,
                departed: Some(9),
                suppressed: false
            }
        );
        assert!(heads[1].suppressed && heads[1].headcount.is_none());
        assert!(heads[2].suppressed, "or the small one follows from the total");
        assert!(
            shown(&rows, &viewer(Role::HrManager))
                .iter()
                .all(|heads| !heads.suppressed && heads.on_notice.is_some())
        );
    }
}
