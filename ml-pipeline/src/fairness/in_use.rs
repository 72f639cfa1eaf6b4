//! Whether groups fare alike under a model in use: the part of its daily report that is about groups.
//!
//! Everybody who is scored today is looked at by each protected attribute, at each threshold that makes a difference to people:
//! a tenant's bands, or the levels of readiness. Beside it stands whether the score was right for all: predictions whose windows have passed against what
//! happened, by group. What comes out holds counts of groups and nothing of one person.

use std::collections::BTreeMap;

use domain::{
    Date,
    employee::Demographics,
    id::EmployeeId,
    risk::{Band, Level, READY_FROM},
    tenant::Bands,
};
use serde::{Deserialize, Serialize};

use super::{Audit, Favourable, GroupCalibration, Member, Rule, Verdict, audit, gather};
use crate::outcomes::Scored;

/// From this age on, United States law protects people from discrimination by age (29 USC 631).
pub const PROTECTED_AGE_YEARS: u32 = 40;

/// A person's group by one protected attribute on a day; nothing if the attribute is not on record.
pub type Attribute = fn(&Demographics, Date) -> Option<String>;

/// The protected attributes, by name. Not their intersections: beside the attributes themselves, cells of the two would follow
/// by subtraction.
pub const PROTECTED: [(&str, Attribute); 3] = [
    ("gender", |of, _| said(of.gender.as_deref())),
    ("age", |of, on| {
        let years = on.years_since(of.date_of_birth?)?;
        let group = if years < PROTECTED_AGE_YEARS {
            "under 40"
        } else {
            "40 and over"
        };
        Some(group.to_owned())
    }),
    ("ethnicity", |of, _| said(of.ethnicity.as_deref())),
];

/// The source's word, unless it is empty.
fn said(word: Option<&str>) -> Option<String> {
    word.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned)
}

/// Whether groups fare alike under a model in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impact {
    /// The day of the scores and of the ages.
    pub on: Date,
    /// How many people were scored.
    pub people: usize,
    /// For each attribute, one audit at each of medium, high and critical (of a risk), or of developing and ready.
    pub thresholds: Vec<AtThreshold>,
    /// For each attribute, whether predictions came true for all groups.
    pub truth: Vec<GroupsTruth>,
}

/// What probabilities are sorted into, and which end of it one would rather be at.
#[derive(Debug, Clone, Copy)]
pub enum Scale {
    /// A risk: better not to be selected.
    Bands(Bands),
    /// Readiness, against the usual rate: better to be selected.
    Levels { usual: f64 },
}

impl Scale {
    fn thresholds(self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Bands(bands) => vec![
                (Band::Medium.name(), bands.medium_above),
                (Band::High.name(), bands.high_above),
                (Band::Critical.name(), bands.critical_above),
            ],
            Self::Levels { usual } => vec![
                (Level::Developing.name(), usual),
                (Level::Ready.name(), READY_FROM * usual),
            ],
        }
    }

    const fn favourable(self) -> Favourable {
        match self {
            Self::Bands(_) => Favourable::NotSelected,
            Self::Levels { .. } => Favourable::Selected,
        }
    }
}

/// An audit of who is in a band (or at a level) or in a higher one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtThreshold {
    /// The lowest band (or level) that counts as being selected.
    pub band: String,
    /// Its `threshold` is left out: the lowest score that is selected is one person's.
    pub audit: Audit,
}

/// What became of predictions, by the groups of one attribute. Of each person the last one that is ripe, so that a group has as
/// many people as predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupsTruth {
    pub attribute: String,
    /// Groups that may be shown, as in an [`Audit`], by name.
    pub groups: Vec<GroupTruth>,
    /// People in no group that is shown.
    pub not_shown: usize,
}

/// What became of one group's predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupTruth {
    pub group: String,
    /// People whose window has passed with a known outcome.
    pub ripe: usize,
    /// Expected against observed events. Nothing with fewer than [`super::JUDGED_MIN`] people: insufficient data.
    pub calibration: Option<GroupCalibration>,
}

/// Looks at a model in use. `attributes` are the fairness store's; who is not there has nothing on record. `scored` are the
/// people who are scored on the day with their probabilities, `ripe` the predictions whose truth is known
/// ([`crate::outcomes::ripe`]), each person's in order of days.
#[must_use]
pub fn impact(
    attributes: &BTreeMap<EmployeeId, Demographics>,
    scored: &[(EmployeeId, f64)],
    ripe: &[(Scored, bool)],
    scale: Scale,
    on: Date,
) -> Impact {
    let last: BTreeMap<EmployeeId, (f64, bool)> = ripe
        .iter()
        .map(|(score, came_true)| (score.employee, (score.probability, *came_true)))
        .collect();
    let (mut thresholds, mut truth) = (Vec::new(), Vec::new());
    for (name, group) in PROTECTED {
        let group = |employee: &EmployeeId| group(attributes.get(employee)?, on);
        let now: Vec<Member> = scored
            .iter()
            .map(|(employee, probability)| Member {
                group: group(employee),
                probability: *probability,
                outcome: None,
            })
            .collect();
        let at = |(band, probability): (&str, f64)| AtThreshold {
            band: band.to_owned(),
            audit: Audit {
                threshold: None,
                ..audit(name, &now, Rule::Above { probability }, scale.favourable())
            },
        };
        thresholds.extend(scale.thresholds().into_iter().map(at));
        let then: Vec<Member> = last
            .iter()
            .map(|(employee, (probability, came_true))| Member {
                group: group(employee),
                probability: *probability,
                outcome: Some(*came_true),
            })
            .collect();
        truth.push(groups_truth(name, &then));
    }
    Impact {
        on,
        people: scored.len(),
        thresholds,
        truth,
    }
}

fn groups_truth(attribute: &str, members: &[Member]) -> GroupsTruth {
    let members: Vec<&Member> = members.iter().collect();
    let groups: Vec<GroupTruth> = gather(&members, |_| false)
        .into_iter()
        .map(|group| GroupTruth {
            ripe: group.favoured.of,
            group: group.group,
            calibration: group.calibration,
        })
        .collect();
    let shown: usize = groups.iter().map(|group| group.ripe).sum();
    GroupsTruth {
        attribute: attribute.to_owned(),
        groups,
        not_shown: members.len() - shown,
    }
}

impl Impact {
    /// The essence, in plain words. They name attributes and ratios, but no group and no counts: words are shown more widely
    /// than figures.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.thresholds.iter().filter_map(AtThreshold::words).collect();
        words.extend(self.truth.iter().filter_map(GroupsTruth::words));
        if words.is_empty() {
            let (mut told, mut untold) = (Vec::new(), Vec::new());
            for (name, _) in PROTECTED {
                let mut of = self.thresholds.iter().filter(|at| at.audit.attribute == name);
                let is_told = of.any(|at| at.audit.verdict != Verdict::InsufficientData);
                if is_told { &mut told } else { &mut untold }.push(name);
            }
            if !told.is_empty() {
                words.push(format!("No adverse impact was found by {}.", told.join(", ")));
            }
            if !untold.is_empty() {
                words.push(format!(
                    "Whether groups fare alike cannot be told by {}: insufficient data.",
                    untold.join(", ")
                ));
            }
        }
        words
    }
}

impl AtThreshold {
    /// Nothing if no group fares worse.
    fn words(&self) -> Option<String> {
        let audit = &self.audit;
        let (attribute, band) = (&audit.attribute, &self.band);
        let unlike = match audit.favourable {
            Favourable::NotSelected => format!("are not spared {band} or a higher band alike"),
            Favourable::Selected => format!("do not reach {band} alike"),
        };
        let ratio = audit.adverse_impact_ratio?;
        let chances = audit.groups.iter().filter_map(|group| Some(group.to_highest?.chance));
        let chance = chances.min_by(f64::total_cmp)?;
        let finding = match audit.verdict {
            Verdict::BelowFourFifths { significant: true } => "below four fifths, and hardly by chance",
            Verdict::BelowFourFifths { significant: false } => "below four fifths, though it may be chance",
            Verdict::NoDisparityFound if !audit.significant_above_four_fifths.is_empty() => {
                "not below four fifths, but hardly by chance"
            }
            Verdict::NoDisparityFound | Verdict::InsufficientData => return None,
        };
        Some(format!(
            "Groups by {attribute} {unlike}: adverse impact ratio {ratio:.2}, {finding} \
             (least Fisher p {}).",
            if chance < 0.001 {
                "below 0.001".to_owned()
            } else {
                format!("{chance:.3}")
            }
        ))
    }
}

impl GroupsTruth {
    /// Nothing if the predictions were right for all groups, as far as chance lets one tell.
    fn words(&self) -> Option<String> {
        let is_off = |group: &GroupTruth| group.calibration.is_some_and(|of| !of.bounds.contains(1.0));
        let off = self.groups.iter().filter(|group| is_off(group)).count();
        (off > 0).then(|| {
            format!(
                "Predictions were off for {off} of {} groups by {}: it came to more or fewer people than predicted.",
                self.groups.len(),
                self.attribute
            )
        })
    }
}

#[cfg(test)]
mod tests;
