//! Risk over groups.

use async_graphql::{Context, SimpleObject};
use domain::policy::Permission;
use infra::read_model::query::{self, GroupRow, Moment};

use super::{employee::store, heads::manager_names, risk::BandCounts, scalar::Grouping};
use crate::{
    access::Viewer,
    error::ApiError,
    suppression::{self, Hidden},
};

/// Risk over everyone who is employed.
#[derive(SimpleObject)]
pub struct RiskOverview {
    pub groups: Vec<RiskGroup>,
    /// Everyone.
    pub total: RiskGroup,
    /// How many groups are withheld: too small, or needed to cover one that is.
    pub suppressed_groups: i64,
}

/// Figures over one group. Null figures: none, or withheld because too few people stand behind them.
#[derive(Debug, Clone, PartialEq, Default, SimpleObject)]
pub struct RiskGroup {
    /// The department's or location's name, the band, or the manager's id; null: people who have none.
    pub key: Option<String>,
    /// What to show for the key: for managers their name, or a pseudonym.
    pub label: Option<String>,
    pub headcount: Option<i64>,
    /// Of these, how many have a score.
    pub scored: Option<i64>,
    /// Over those who have a score.
    pub average_probability: Option<f64>,
    pub bands: Option<BandCounts>,
    /// Whether something is withheld because the group is too small.
    pub suppressed: bool,
}

/// What a viewer sees of the groups. Headcounts and scores are two tables: a group may be large enough for one of them only.
fn shown(rows: &[GroupRow], sees_small_groups: bool) -> (Vec<RiskGroup>, RiskGroup) {
    let (heads, scores) = if sees_small_groups {
        (Hidden::nothing(rows.len()), Hidden::nothing(rows.len()))
    } else {
        let heads = suppression::hide(&rows.iter().map(|row| row.headcount).collect::<Vec<_>>(), &[]);
        let scores = suppression::hide(&rows.iter().map(|row| row.scored).collect::<Vec<_>>(), &heads.groups);
        (heads, scores)
    };
    let groups = rows
        .iter()
        .enumerate()
        .map(|(index, row)| group(row, heads.groups[index], scores.groups[index]))
        .collect();
    let total = group(&sum(rows), heads.total, scores.total);
    (groups, total)
}

fn group(row: &GroupRow, hides_heads: bool, hides_scores: bool) -> RiskGroup {
    let shows_scores = !hides_heads && !hides_scores;
    RiskGroup {
        key: row.key.clone(),
        label: row.key.clone(),
        headcount: (!hides_heads).then_some(row.headcount),
        scored: shows_scores.then_some(row.scored),
        average_probability: row.average.filter(|_| shows_scores),
        bands: shows_scores.then_some(BandCounts {
            low: row.low,
            medium: row.medium,
            high: row.high,
            critical: row.critical,
        }),
        suppressed: hides_heads || hides_scores,
    }
}

fn sum(rows: &[GroupRow]) -> GroupRow {
    let of = |count: fn(&GroupRow) -> i64| rows.iter().map(count).sum::<i64>();
    let scored = of(|row| row.scored);
    let weighted: f64 = rows
        .iter()
        .filter_map(|row| row.average.map(|average| average * row.scored as f64))
        .sum();
    GroupRow {
        key: None,
        headcount: of(|row| row.headcount),
        scored,
        average: (scored > 0).then(|| weighted / scored as f64),
        low: of(|row| row.low),
        medium: of(|row| row.medium),
        high: of(|row| row.high),
        critical: of(|row| row.critical),
    }
}

pub async fn risk_overview(
    ctx: &Context<'_>,
    grouping: Grouping,
    at: Option<Moment>,
) -> Result<RiskOverview, ApiError> {
    let viewer = Viewer::of(ctx)?;
    let tenant = viewer.0.tenant;
    let rows = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move { query::risk_overview(connection, tenant, grouping.into(), at).await })
        })
        .await?;
    let (mut groups, total) = shown(&rows, viewer.may(Permission::SeeSmallGroups));
    if grouping == Grouping::Manager {
        let asked = ctx.look_ahead().field("groups").field("label").exists();
        let names = manager_names(
            ctx,
            rows.iter().map(|row| row.key.as_deref().unwrap_or_default()),
            asked,
        )
        .await?;
        for (group, name) in groups.iter_mut().zip(names) {
            group.label = name;
        }
    }
    let suppressed_groups = groups.iter().filter(|group| group.suppressed).count();
    Ok(RiskOverview {
        groups,
        total,
        suppressed_groups: i64::try_from(suppressed_groups).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, headcount: i64, scored: i64, average: f64) -> GroupRow {
        GroupRow {
            key: Some(key.into()),
            headcount,
            scored,
            average: (scored > 0).then_some(average),
            low: scored,
            medium: 0,
            high: 0,
            critical: 0,
        }
    }

    #[test]
    fn a_small_group_and_its_cover_are_withheld_and_the_total_stays() {
        let rows = [row("a", 20, 20, 0.1), row("b", 3, 3, 0.9), row("c", 10, 10, 0.4)];
        let (groups, total) = shown(&rows, false);
        assert_eq!(
            groups.iter().map(|group| group.suppressed).collect::<Vec<_>>(),
            [false, true, true]
        );
        assert!(groups[1].headcount.is_none() && groups[1].average_probability.is_none() && groups[1].bands.is_none());
        assert_eq!((total.headcount, total.scored), (Some(33), Some(33)));
        let (groups, _) = shown(&rows, true);
        assert!(
            groups
                .iter()
                .all(|group| !group.suppressed && group.headcount.is_some())
        );
    }

    #[test]
    fn few_scores_in_a_large_group_are_withheld_though_its_headcount_is_not() {
        let rows = [row("a", 20, 20, 0.1), row("b", 30, 1, 0.9), row("c", 10, 10, 0.4)];
        let (groups, _) = shown(&rows, false);
        assert_eq!(
            (groups[1].headcount, groups[1].average_probability, groups[1].bands),
            (Some(30), None, None)
        );
        assert_eq!(
            (groups[2].headcount, groups[2].average_probability),
            (Some(10), None),
            "the cover"
        );
        assert!(groups[0].average_probability.is_some());
    }

    #[test]
    fn the_total_s_average_weighs_by_scores() {
        let (_, total) = shown(
            &[row("a", 10, 10, 0.1), row("b", 30, 30, 0.5), row("c", 9, 0, 0.0)],
            true,
        );
        assert!((total.average_probability.expect("an average") - 0.4).abs() < 1e-9);
        assert_eq!(shown(&[], false).1.headcount, Some(0));
    }
}
