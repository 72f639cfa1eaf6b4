//! Whether the people who are scored now still look like those whom the model was trained on.
//!
//! The population stability index is the habit of the trade: the sum over bins of `(q - p) ln(q / p)`, where `p` and `q` are
//! the shares of the two samples, with .1 and .25 as the marks of a shift and of a drift. But even between two samples of one
//! and the same population it is about `(bins - 1) (1/n + 1/m)` (Yurdakul and Naranjo, 2020): .19 for 50 people against 1,000
//! in ten bins. Judged by the marks alone, a company of 50 would alarm for ever (prediction.md, section 4). So a verdict needs
//! both: the index minus what chance makes of it is beyond a mark, and a chi-square test finds less than one chance in a
//! hundred that nothing changed.
//!
//! What is compared are people: give one row per person. A person's rows of several months repeat each other, and a test that
//! takes them for people of their own finds changes where there are none.

use serde::{Deserialize, Serialize};

use crate::{statistics::chi_square_above, synthetic::Random};

/// How many bins of equal mass in the reference a column is cut into at most, besides the one for missing values.
pub const BINS: usize = 10;
/// The fewest people of the reference in a bin of equal mass; a small reference is cut into fewer bins. Where the cuts are is
/// chance too, which the test does not know: with six people in a bin it would alarm five times as often as it says.
pub const BIN_PEOPLE_MIN: usize = 20;
/// A column with no more values than this in the reference is compared value by value.
pub const VALUES_MAX: usize = 10;
/// The fewest people in either sample to say anything about. With fewer, even half of the people would have to change.
pub const SAMPLE_MIN: usize = 30;
/// The excess from which on a column counts as shifted: a convention, but a common one.
pub const SHIFTED_FROM: f64 = 0.1;
/// The excess from which on it counts as drifted: the model was trained on other people.
pub const DRIFTED_FROM: f64 = 0.25;
/// How likely a change that is none may be called one, over all columns that are looked at together.
pub const CHANCE_MAX: f64 = 0.01;
/// What is added to the count of every bin, so that an empty one has a logarithm (Jeffreys's prior).
const PSEUDO_COUNT: f64 = 0.5;
/// The chi-square distribution is trusted if no bin is expected to have fewer people than this in either sample...
const CELL_MIN: f64 = 1.0;
/// ...and if no more than a fifth of them has fewer than this (Cochran, 1954).
const CELL_USUAL: f64 = 5.0;
/// If the smaller sample is larger than this, it is trusted in any case: the bins that are too small to trust are too small to
/// matter for the index as well.
const PERMUTED_MAX: usize = 1_000;
/// Otherwise people are dealt to the two samples anew, until so many deals are as uneven as what was seen (Besag and Clifford,
/// 1991)...
const UNEVEN_DEALS: usize = 20;
/// ...or this many times for every column that is looked at, which is where `UNEVEN_DEALS` of them mean `CHANCE_MAX`.
const DEALS: usize = 2_000;

/// What to make of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Fewer than [`SAMPLE_MIN`] people in a sample.
    TooFewToTell,
    /// No change that is both large and unlikely to be chance. In small samples that is not the same as no change.
    Stable,
    /// From [`SHIFTED_FROM`] on: look at it.
    Shifted,
    /// From [`DRIFTED_FROM`] on: train again, or find out what broke.
    Drifted,
}

/// Which values a bin holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Span {
    /// No value, or none that is a finite number.
    Missing,
    /// Exactly this value.
    Value { value: f64 },
    /// From above the one, if there is one, up to and including the other.
    Range { above: Option<f64>, up_to: Option<f64> },
    /// Values that a column of few values did not have in the reference.
    Unseen,
}

/// How many people of each sample are in a bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    pub span: Span,
    pub reference: usize,
    pub current: usize,
}

/// How one column (a feature or the score) changed between two samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    pub verdict: Verdict,
    /// People in the reference, such as the model's training rows at one cut-off.
    pub reference: usize,
    /// People now.
    pub current: usize,
    /// The population stability index, with half a person added to every bin.
    pub index: f64,
    /// What the index is on average if nothing changed.
    pub expected: f64,
    /// `index - expected`, which may be below zero.
    pub excess: f64,
    /// Pearson's statistic of homogeneity over the bins.
    pub chi_square: f64,
    /// The chance of bins as uneven as these, or more, if nothing changed.
    pub chance: f64,
    /// What `chance` has to be below: [`CHANCE_MAX`] over the number of columns (Bonferroni).
    pub chance_max: f64,
    /// The bins with anybody in them: values in order, then missing.
    pub bins: Vec<Bin>,
}

/// Compares a column's values now with those in a reference. Values that are not finite numbers are missing, which is a bin of
/// its own. `columns` is how many are looked at together: of 37 features, one in three companies has one whose chance is below
/// one in a hundred. `random` deals people to samples anew where bins are too small for the chi-square distribution.
///
/// The order of the values does not matter for bins and index; where people are dealt, `chance` has a relative error of about a
/// quarter (one over the root of 20).
#[must_use]
pub fn shift(reference: &[f64], current: &[f64], columns: usize, random: &mut Random) -> Shift {
    let bins = count(reference, current);
    let index = stability_index(&bins);
    let expected = expected_index(bins.len(), reference.len(), current.len());
    let excess = index - expected;
    let statistic = chi_square(&bins);
    let chance_max = CHANCE_MAX / columns.max(1) as f64;
    let chance = chance(&bins, statistic, columns.max(1), random);
    Shift {
        verdict: if reference.len().min(current.len()) < SAMPLE_MIN {
            Verdict::TooFewToTell
        } else if chance >= chance_max || excess < SHIFTED_FROM {
            Verdict::Stable
        } else if excess < DRIFTED_FROM {
            Verdict::Shifted
        } else {
            Verdict::Drifted
        },
        reference: reference.len(),
        current: current.len(),
        index,
        expected,
        excess,
        chi_square: statistic,
        chance,
        chance_max,
        bins,
    }
}

/// The bins, as the reference says, with anybody in them.
fn count(reference: &[f64], current: &[f64]) -> Vec<Bin> {
    let mut known: Vec<f64> = reference.iter().copied().filter(|value| value.is_finite()).collect();
    // Zero and minus zero are one value.
    known.iter_mut().for_each(|value| *value += 0.0);
    known.sort_by(f64::total_cmp);
    let mut values = known.clone();
    values.dedup();
    let by_value = values.len() <= VALUES_MAX;
    let cuts = if by_value { values } else { cuts(&known) };
    let spans = if by_value {
        value_spans(&cuts)
    } else {
        range_spans(&cuts)
    };
    let mut bins: Vec<Bin> = spans
        .into_iter()
        .chain([Span::Missing])
        .map(|span| Bin {
            span,
            reference: 0,
            current: 0,
        })
        .collect();
    let missing = bins.len() - 1;
    let place = |value: f64| {
        let place = cuts.partition_point(|cut| *cut < value);
        match (value.is_finite(), by_value) {
            (false, _) => missing,
            (true, true) if cuts.get(place) != Some(&value) => missing - 1,
            (true, _) => place,
        }
    };
    for value in reference {
        bins[place(*value)].reference += 1;
    }
    for value in current {
        bins[place(*value)].current += 1;
    }
    bins.retain(|bin| bin.reference + bin.current > 0);
    bins
}

/// The values at which a tenth, two tenths, ... of the reference end; fewer cuts if it is small, or where many people share a
/// value.
fn cuts(sorted: &[f64]) -> Vec<f64> {
    let bins = (sorted.len() / BIN_PEOPLE_MIN).clamp(2, BINS);
    let mut cuts: Vec<f64> = (1..bins)
        .map(|bin| (bin * sorted.len()).div_ceil(bins))
        .filter_map(|people| sorted.get(people.checked_sub(1)?).copied())
        .collect();
    cuts.dedup();
    cuts
}

fn value_spans(values: &[f64]) -> Vec<Span> {
    let seen = values.iter().map(|value| Span::Value { value: *value });
    seen.chain([Span::Unseen]).collect()
}

fn range_spans(cuts: &[f64]) -> Vec<Span> {
    let above = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let up_to = cuts.iter().copied().map(Some).chain([None]);
    above
        .zip(up_to)
        .map(|(above, up_to)| Span::Range { above, up_to })
        .collect()
}

fn totals(bins: &[Bin]) -> (f64, f64) {
    bins.iter().fold((0.0, 0.0), |(reference, current), bin| {
        (reference + bin.reference as f64, current + bin.current as f64)
    })
}

fn stability_index(bins: &[Bin]) -> f64 {
    let added = PSEUDO_COUNT * bins.len() as f64;
    let (reference, current) = totals(bins);
    let part = |bin: &Bin| {
        let p = (bin.reference as f64 + PSEUDO_COUNT) / (reference + added);
        let q = (bin.current as f64 + PSEUDO_COUNT) / (current + added);
        (q - p) * (q / p).ln()
    };
    bins.iter().map(part).sum()
}

/// The index that two samples of one population have on average. Nothing can be expected of nobody.
fn expected_index(bins: usize, reference: usize, current: usize) -> f64 {
    let share = |people: usize| 1.0 / people.max(1) as f64;
    bins.saturating_sub(1) as f64 * (share(reference) + share(current))
}

fn chi_square(bins: &[Bin]) -> f64 {
    let (reference, current) = totals(bins);
    let part = |bin: &Bin| {
        let share = (bin.reference + bin.current) as f64 / (reference + current);
        let cell = |seen: usize, of: f64| {
            let expected = share * of;
            if expected > 0.0 {
                (seen as f64 - expected).powi(2) / expected
            } else {
                0.0
            }
        };
        cell(bin.reference, reference) + cell(bin.current, current)
    };
    bins.iter().map(part).sum()
}

fn chance(bins: &[Bin], statistic: f64, columns: usize, random: &mut Random) -> f64 {
    let (reference, current) = totals(bins);
    let smaller = reference.min(current);
    if bins.len() < 2 || smaller == 0.0 {
        return 1.0;
    }
    if smaller > PERMUTED_MAX as f64 || suits_the_distribution(bins, smaller / (reference + current)) {
        return chi_square_above(statistic, (bins.len() - 1) as f64);
    }
    deal(bins, statistic, columns, random)
}

/// Cochran's rule. `share` is the smaller sample's, where fewer people are expected.
fn suits_the_distribution(bins: &[Bin], share: f64) -> bool {
    let expected = |bin: &Bin| (bin.reference + bin.current) as f64 * share;
    let small = bins.iter().filter(|bin| expected(bin) < CELL_USUAL).count();
    bins.iter().all(|bin| expected(bin) >= CELL_MIN) && small * 5 <= bins.len()
}

/// The share of deals that are as uneven as `statistic`.
fn deal(bins: &[Bin], statistic: f64, columns: usize, random: &mut Random) -> f64 {
    let mut cards: Vec<usize> = (0..bins.len())
        .flat_map(|bin| std::iter::repeat_n(bin, bins[bin].reference + bins[bin].current))
        .collect();
    let (reference, current) = totals(bins);
    let hand = reference.min(current) as usize;
    let mut dealt = bins.to_vec();
    let mut uneven = 0;
    let deals = DEALS * columns;
    for done in 1..=deals {
        for (bin, seen) in dealt.iter_mut().zip(bins) {
            (bin.reference, bin.current) = (seen.reference + seen.current, 0);
        }
        for next in 0..hand {
            let drawn = next + random.below(cards.len() - next);
            cards.swap(next, drawn);
            dealt[cards[next]].reference -= 1;
            dealt[cards[next]].current += 1;
        }
        // The statistic does not ask which sample has the smaller hand. Equally uneven deals may differ in the last digits.
        if chi_square(&dealt) >= statistic * (1.0 - 1e-9) {
            uneven += 1;
            if uneven == UNEVEN_DEALS {
                return uneven as f64 / done as f64;
            }
        }
    }
    // What was seen is one of the deals.
    (uneven + 1) as f64 / (deals + 1) as f64
}

#[cfg(test)]
mod tests;
