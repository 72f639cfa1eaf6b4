//! What people with the same job are paid, to hold one person's pay against: the compa-ratio.
//!
//! This is the one feature that other people's facts enter by value. It must not make a score depend on which of many
//! streams was read first, so a model brings the levels of the day on which it was trained, as it brings its coefficients; at
//! each cut-off of the training data they are those of that day.

use std::collections::BTreeMap;

use domain::{Date, policy::GROUP_SIZE_MIN};
use serde::{Deserialize, Serialize};

use super::FeatureState;

/// Job and currency. Pay in another currency is no part of a comparison.
pub type Group = String;

/// The median pay of groups, in major units a year of full time. Of groups smaller than [`GROUP_SIZE_MIN`] there is none: it
/// would say too much of single people, and too little of the job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PayLevels(BTreeMap<Group, f64>);

impl PayLevels {
    /// The levels of people with these groups and rates of pay.
    #[must_use]
    pub fn of(people: impl IntoIterator<Item = (Group, f64)>) -> Self {
        let mut groups: BTreeMap<Group, Vec<f64>> = BTreeMap::new();
        for (group, pay) in people {
            groups.entry(group).or_default().push(pay);
        }
        let smallest = usize::try_from(GROUP_SIZE_MIN).unwrap_or(usize::MAX);
        groups.retain(|_, pays| pays.len() >= smallest);
        Self(groups.into_iter().map(|(group, pays)| (group, median(pays))).collect())
    }

    /// A rate of pay over the median of its group; nothing for a group without one.
    #[must_use]
    pub fn ratio(&self, group: &str, pay: f64) -> Option<f64> {
        self.0.get(group).map(|level| pay / level)
    }
}

/// Of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(lower, upper)
}

impl FeatureState {
    /// Whom the person's pay is compared with on a day, and the pay: nothing without a job title, a rate of pay that can be
    /// read, or an employment.
    #[must_use]
    pub fn pay_in_group(&self, on: Date) -> Option<(Group, f64)> {
        let day = super::day(on);
        self.spell_start(day)?;
        let title = self.titles.at(day)?.as_deref()?.trim().to_lowercase();
        let pay = self.pay.at(day).copied().flatten()?;
        let hours = self.hours.at(day).filter(|minutes| minutes.0 > 0);
        let hours = hours.map_or(super::FULL_TIME_HOURS, |minutes| f64::from(minutes.0) / 60.0);
        let yearly = pay.full_time(hours);
        (yearly > 0.0).then(|| (format!("{title} {}", pay.currency()), yearly))
    }
}
