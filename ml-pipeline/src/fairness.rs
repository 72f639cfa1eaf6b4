//! Whether groups of people fare alike under a score: who is selected, how often, and whether the score is right for all.
//!
//! The rule of four fifths (29 CFR 1607.4(D)): a group that is selected at less than 4/5 of the rate of the group that is
//! selected most is generally regarded as evidence of adverse impact. Smaller differences count too if they are significant,
//! and larger ones may not with small numbers: so there are a significance test and a least number of people beside the ratio.
//! New York City's Local Law 144 asks for the same ratios, of intersections too, and lets groups under 2 % be left out.
//!
//! A ratio is a question and not an answer: where groups truly leave at different rates, a good score selects them at
//! different rates (on IBM's data, .190 against .109). Calibration and AUC of each group say which it is.
//!
//! Attributes come from the separate fairness store; nothing here is a model input. Groups too small to be shown enter no
//! figure but the count of those left out. Since the figures of everybody together are told elsewhere, a larger group is left
//! out with a small one where a subtraction would bring the small one back ([`domain::suppression`]).

pub mod in_use;

use domain::{policy::GROUP_SIZE_MIN, suppression};
use serde::{Deserialize, Serialize};

use crate::{
    metrics::{Judged, roc_auc},
    statistics::{CONFIDENCE, Interval, Part, fisher_exact, observed_over_expected_bounds},
};

/// The fewest people of a group whose figures are shown.
pub const SHOWN_MIN: usize = GROUP_SIZE_MIN as usize;
/// The fewest people of a group that is judged: with fewer, one person more or less moves a rate by several points, and a
/// ratio says nothing ("small numbers", 29 CFR 1607.4(D)). The number itself is a convention.
pub const JUDGED_MIN: usize = 30;
/// A group with a smaller share may be left out of a bias audit (6 RCNY 5-301). It is judged all the same if it has
/// [`JUDGED_MIN`] people, and marked: 2 % of a large company are many people.
pub const SHARE_MIN: f64 = 0.02;
/// The fewest leavers, and the fewest stayers, of a group whose AUC is told.
pub const OUTCOMES_MIN: usize = 5;
/// A difference with less than this chance is significant (about two standard deviations, as the courts count them).
pub const SIGNIFICANT_BELOW: f64 = 0.05;
/// How many standard errors of the logarithm of a ratio are on either side of it, for [`CONFIDENCE`].
const ERRORS: f64 = 1.959_963_984_540_054;

/// One scored person.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The value of the attribute, such as "female" or, for an [`intersection`], "female, 40 and over". Nothing if not on
    /// record.
    pub group: Option<String>,
    /// What the model said; people without a finite number are left out.
    pub probability: f64,
    /// Whether it came true; nothing while that is unknown.
    pub outcome: Option<bool>,
}

/// The group of two attributes together, if both are on record.
#[must_use]
pub fn intersection(first: Option<&str>, second: Option<&str>) -> Option<String> {
    Some(format!("{}, {}", first?, second?))
}

/// Who is selected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Whose probability is at least this.
    AtOrAbove { probability: f64 },
    /// Whose probability is above this, as a tenant's bands are told apart.
    Above { probability: f64 },
    /// The share of all with the highest probabilities, at least one person; whoever has the same probability as the last of
    /// them is selected too.
    TopShare { share: f64 },
    /// Whose probability is above the median of all: the scoring rate of Local Law 144 (6 RCNY 5-301).
    AboveMedian,
}

/// What being selected means for a person. The law's selection rate is the rate of what is good for people, so a risk score
/// must say which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Favourable {
    /// Good: ready for promotion, offered a programme.
    Selected,
    /// Bad: called a risk. Rates are then those of not being selected.
    NotSelected,
}

/// Whether groups fare alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// Fewer than two groups of [`JUDGED_MIN`] people, or nobody in them was treated favourably.
    InsufficientData,
    /// No group is below four fifths. There may be smaller differences that count: see
    /// [`Audit::significant_above_four_fifths`].
    NoDisparityFound,
    /// A group is below four fifths of the highest rate; exactly four fifths is not below. `significant` if the difference of
    /// such a group has less than [`SIGNIFICANT_BELOW`] of a chance.
    BelowFourFifths { significant: bool },
}

/// What a group's numbers are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// [`JUDGED_MIN`] people or more.
    Judged,
    /// Shown, but compared with no other group: insufficient data.
    InsufficientData,
}

/// A group's rate against another one's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The other side: how many there were treated favourably, of how many.
    pub other: Part,
    /// The group's rate over the other's. Nothing if the other's is zero.
    pub ratio: Option<f64>,
    /// Where the ratio lies at [`CONFIDENCE`] (Katz and others, 1978). Nothing if either rate is zero.
    pub ratio_interval: Option<Interval>,
    /// The chance of a difference like this or a less likely one, if there is none: [`fisher_exact`], two-sided.
    pub chance: f64,
    /// The difference of the rates in standard deviations, below zero if the group's is the lower: the "2-SD" test, for large
    /// numbers only. Nothing if all fared alike.
    pub standard_deviations: Option<f64>,
}

/// Predicted against observed exits of a group's people whose outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCalibration {
    pub n: usize,
    pub expected: f64,
    pub observed: usize,
    /// 1 is right; above 1, more left than predicted.
    pub ratio: f64,
    /// Exact Poisson bounds of the ratio at [`CONFIDENCE`].
    pub bounds: Interval,
}

/// One group's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub group: String,
    pub standing: Standing,
    /// How many were treated favourably, of how many.
    pub favoured: Part,
    /// The rate of favourable treatment.
    pub rate: f64,
    /// Of all people in groups that are shown.
    pub share: f64,
    /// Whether the share is under [`SHARE_MIN`].
    pub may_be_left_out: bool,
    /// Against the judged group with the highest rate. Nothing for that group itself, and for groups that are not judged.
    pub to_highest: Option<Comparison>,
    /// Against all other groups that are shown. Nothing if either side has fewer than [`JUDGED_MIN`] people.
    pub to_rest: Option<Comparison>,
    /// Nothing with fewer than [`JUDGED_MIN`] known outcomes.
    pub calibration: Option<GroupCalibration>,
    /// How well the score orders the people of this group. Nothing with fewer than [`JUDGED_MIN`] known outcomes, or fewer than
    /// [`OUTCOMES_MIN`] of either kind.
    pub auc: Option<f64>,
}

/// All groups of one attribute (or intersection) under one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    pub attribute: String,
    pub rule: Rule,
    pub favourable: Favourable,
    /// The lowest probability that is selected, as the rule works out for these people. Nothing if nobody is.
    pub threshold: Option<f64>,
    pub verdict: Verdict,
    /// The adverse impact ratio: the lowest over the highest rate of the judged groups. Nothing with insufficient data.
    pub adverse_impact_ratio: Option<f64>,
    /// The group with the highest rate among those judged (of several, the largest, then the first by name).
    pub highest: Option<String>,
    /// Groups whose rate is at least four fifths of the highest and yet significantly lower: in large companies, differences
    /// that count (29 CFR 1607.4(D)) if they matter in practice.
    pub significant_above_four_fifths: Vec<String>,
    /// Groups of [`SHOWN_MIN`] people or more, by name, but for those that are left out to cover smaller ones.
    pub groups: Vec<Group>,
    /// Scored people who are in no group that is shown: their group is smaller, covers a smaller one, or is not on record.
    pub not_shown: usize,
}

/// Compares the groups of one attribute. The rule is applied to all scored people together, also to those whose group is not
/// shown, as it is in use. The order of the members does not matter.
#[must_use]
pub fn audit(attribute: &str, members: &[Member], rule: Rule, favourable: Favourable) -> Audit {
    let scored: Vec<&Member> = members.iter().filter(|member| member.probability.is_finite()).collect();
    let threshold = threshold(&scored, rule);
    let is_favoured = |member: &Member| {
        let selected = threshold.is_some_and(|threshold| member.probability >= threshold);
        selected == (favourable == Favourable::Selected)
    };
    let mut groups = gather(&scored, is_favoured);
    let shown: usize = groups.iter().map(|group| group.favoured.of).sum();
    compare_with_rest(&mut groups);
    let highest = compare_with_highest(&mut groups);
    Audit {
        attribute: attribute.to_owned(),
        rule,
        favourable,
        threshold,
        verdict: verdict(&groups, highest.as_ref()),
        adverse_impact_ratio: impact_ratio(&groups, highest.as_ref()),
        significant_above_four_fifths: groups
            .iter()
            .filter(|group| is_significantly_lower(group) && !is_below_four_fifths(group))
            .map(|group| group.group.clone())
            .collect(),
        highest: highest.map(|highest| highest.group),
        groups,
        not_shown: scored.len() - shown,
    }
}

/// The lowest probability that is selected.
fn threshold(scored: &[&Member], rule: Rule) -> Option<f64> {
    let mut falling: Vec<f64> = scored.iter().map(|member| member.probability).collect();
    falling.sort_by(|a, b| b.total_cmp(a));
    match rule {
        Rule::AtOrAbove { probability } => falling.into_iter().rfind(|p| *p >= probability),
        Rule::Above { probability } => falling.into_iter().rfind(|p| *p > probability),
        Rule::TopShare { share } => {
            let wanted = (falling.len() as f64 * share).round().max(1.0) as usize;
            falling.get(wanted.min(falling.len()).checked_sub(1)?).copied()
        }
        Rule::AboveMedian => {
            let (upper, lower) = (
                *falling.get((falling.len().checked_sub(1)?) / 2)?,
                *falling.get(falling.len() / 2)?,
            );
            let median = lower + (upper - lower) / 2.0;
            falling.into_iter().rfind(|p| *p > median)
        }
    }
}

/// The groups that are shown, by name, without comparisons.
fn gather(scored: &[&Member], is_favoured: impl Fn(&Member) -> bool) -> Vec<Group> {
    let mut by_name: std::collections::BTreeMap<&str, Vec<&Member>> = std::collections::BTreeMap::new();
    for member in scored {
        if let Some(name) = &member.group {
            by_name.entry(name).or_default().push(member);
        }
    }
    leave_out(&mut by_name, scored.len());
    let shown: usize = by_name.values().map(Vec::len).sum();
    let group = |(name, people): (&str, Vec<&Member>)| {
        let some = people.iter().filter(|member| is_favoured(member)).count();
        let judged: Vec<Judged> = people
            .iter()
            .filter_map(|member| Some((member.probability, member.outcome?)))
            .collect();
        let share = people.len() as f64 / shown as f64;
        Group {
            group: name.to_owned(),
            standing: if people.len() < JUDGED_MIN {
                Standing::InsufficientData
            } else {
                Standing::Judged
            },
            favoured: Part { some, of: people.len() },
            rate: some as f64 / people.len() as f64,
            share,
            may_be_left_out: share < SHARE_MIN,
            to_highest: None,
            to_rest: None,
            calibration: calibration(&judged),
            auc: auc(&judged),
        }
    };
    by_name.into_iter().map(group).collect()
}

/// Takes out the groups that are too small, with what covers them. Whoever has no attribute on record is among those who are not
/// shown and covers them too, but needs no cover: nobody is recognised by what is not on record.
fn leave_out(groups: &mut std::collections::BTreeMap<&str, Vec<&Member>>, scored: usize) {
    if groups.values().all(|group| group.len() >= SHOWN_MIN) {
        return;
    }
    let size = |people: usize| i64::try_from(people).unwrap_or(i64::MAX);
    let on_record: usize = groups.values().map(Vec::len).sum();
    let sizes: Vec<i64> = groups
        .values()
        .map(|group| size(group.len()))
        .chain([size(scored - on_record)])
        .collect();
    let mut hidden_already = vec![false; sizes.len()];
    hidden_already[sizes.len() - 1] = true;
    let mut hidden = suppression::hide(&sizes, &hidden_already).groups.into_iter();
    groups.retain(|_, _| hidden.next() == Some(false));
}

fn calibration(judged: &[Judged]) -> Option<GroupCalibration> {
    if judged.len() < JUDGED_MIN {
        return None;
    }
    // In order, so that the order of the members leaves no trace in the last digits.
    let mut probabilities: Vec<f64> = judged.iter().map(|(p, _)| *p).collect();
    probabilities.sort_by(f64::total_cmp);
    let expected: f64 = probabilities.iter().sum();
    let observed = judged.iter().filter(|(_, y)| *y).count();
    Some(GroupCalibration {
        n: judged.len(),
        expected,
        observed,
        ratio: observed as f64 / expected,
        bounds: observed_over_expected_bounds(observed, expected, CONFIDENCE)?,
    })
}

fn auc(judged: &[Judged]) -> Option<f64> {
    let left = judged.iter().filter(|(_, y)| *y).count();
    let enough = judged.len() >= JUDGED_MIN && left.min(judged.len() - left) >= OUTCOMES_MIN;
    roc_auc(judged).filter(|_| enough)
}

fn compare_with_rest(groups: &mut [Group]) {
    let all = groups.iter().fold(Part { some: 0, of: 0 }, |all, group| Part {
        some: all.some + group.favoured.some,
        of: all.of + group.favoured.of,
    });
    for group in groups {
        let rest = Part {
            some: all.some - group.favoured.some,
            of: all.of - group.favoured.of,
        };
        let enough = group.favoured.of.min(rest.of) >= JUDGED_MIN;
        group.to_rest = enough.then(|| compare(group.favoured, rest));
    }
}

/// Compares all judged groups with the highest of them, if there are two and if anybody was treated favourably.
fn compare_with_highest(groups: &mut [Group]) -> Option<Group> {
    let judged = || groups.iter().filter(|group| group.standing == Standing::Judged);
    let by_rate = |a: &&Group, b: &&Group| {
        times(a.favoured.some, b.favoured.of)
            .cmp(&times(b.favoured.some, a.favoured.of))
            .then_with(|| a.favoured.of.cmp(&b.favoured.of))
            .then_with(|| b.group.cmp(&a.group))
    };
    let highest = judged()
        .max_by(by_rate)
        .filter(|highest| highest.favoured.some > 0 && judged().count() > 1)?
        .clone();
    for group in groups.iter_mut().filter(|group| group.standing == Standing::Judged) {
        if group.group != highest.group {
            group.to_highest = Some(compare(group.favoured, highest.favoured));
        }
    }
    Some(highest)
}

fn compare(group: Part, other: Part) -> Comparison {
    let (rate, other_rate) = (group.rate().unwrap_or(0.0), other.rate().unwrap_or(0.0));
    let ratio = (other_rate > 0.0).then(|| rate / other_rate);
    let both = (group.some + other.some) as f64 / (group.of + other.of) as f64;
    let error = (both * (1.0 - both) * (1.0 / group.of as f64 + 1.0 / other.of as f64)).sqrt();
    Comparison {
        other,
        ratio,
        ratio_interval: ratio.filter(|ratio| *ratio > 0.0).map(|ratio| {
            let part = |part: Part, rate: f64| (1.0 - rate) / part.some as f64;
            let error = (part(group, rate) + part(other, other_rate)).sqrt();
            Interval {
                low: ratio * (-ERRORS * error).exp(),
                high: ratio * (ERRORS * error).exp(),
            }
        }),
        chance: fisher_exact(group, other),
        standard_deviations: (error > 0.0).then(|| (rate - other_rate) / error),
    }
}

fn verdict(groups: &[Group], highest: Option<&Group>) -> Verdict {
    if highest.is_none() {
        return Verdict::InsufficientData;
    }
    let mut below = groups.iter().filter(|group| is_below_four_fifths(group)).peekable();
    if below.peek().is_none() {
        Verdict::NoDisparityFound
    } else {
        Verdict::BelowFourFifths {
            significant: below.any(is_significantly_lower),
        }
    }
}

/// In whole numbers, so that exactly four fifths is not below for the sake of a last digit.
fn is_below_four_fifths(group: &Group) -> bool {
    group.to_highest.is_some_and(|comparison| {
        let (group, highest) = (group.favoured, comparison.other);
        5 * times(group.some, highest.of) < 4 * times(highest.some, group.of)
    })
}

/// The product, which no number of people makes too large.
const fn times(a: usize, b: usize) -> u128 {
    a as u128 * b as u128
}

fn is_significantly_lower(group: &Group) -> bool {
    group
        .to_highest
        .is_some_and(|comparison| comparison.chance < SIGNIFICANT_BELOW)
}

fn impact_ratio(groups: &[Group], highest: Option<&Group>) -> Option<f64> {
    let highest = highest?;
    let judged = groups.iter().filter(|group| group.standing == Standing::Judged);
    let lowest = judged.map(|group| group.rate).min_by(f64::total_cmp)?;
    Some(lowest / highest.rate)
}

#[cfg(test)]
mod tests;
