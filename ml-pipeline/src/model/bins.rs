//! Values as small numbers: what histograms, shape functions and trees are made over.

use super::twelve_digits;
use crate::table::{Input, InputKind, Table};

/// The bin of what is missing, unknown, or not a number.
pub const MISSING: u8 = 0;
/// The most bins of one input, the missing one included.
pub const BINS_MAX: usize = 255;

/// Values beyond this are no measurements, and count as this: their sums and squares are still numbers.
pub const LARGEST: f64 = 1e100;

/// How the values of one input fall into bins.
#[derive(Debug, Clone, PartialEq)]
pub enum Binning {
    /// Bin `i + 1` ends at (and holds) `cuts[i]`; the last bin has no end. `centres` are the mean values of the bins.
    Numeric { cuts: Vec<f64>, centres: Vec<f64> },
    /// Bin `i + 1` is category `i`.
    Category { count: usize },
}

impl Binning {
    /// At most `max` bins of (nearly) the same number of rows; each distinct value a bin of its own where that suffices.
    #[must_use]
    pub fn of(input: &Input, values: &[f64], max: usize) -> Self {
        match &input.kind {
            InputKind::Category { names } => Self::Category {
                count: names.len().min(BINS_MAX - 1),
            },
            InputKind::Numeric => Self::numeric(values, max.clamp(2, BINS_MAX - 1)),
        }
    }

    fn numeric(values: &[f64], max: usize) -> Self {
        let known = values.iter().filter(|value| value.is_finite());
        let mut sorted: Vec<f64> = known.map(|value| value.clamp(-LARGEST, LARGEST)).collect();
        sorted.sort_by(f64::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        let mut cuts: Vec<f64> = Vec::new();
        if distinct.len() <= max {
            cuts.extend(distinct.windows(2).map(|pair| between(pair[0], pair[1])));
        } else {
            for part in 1..max {
                let below = sorted[part * sorted.len() / max - 1];
                let above = sorted[sorted.partition_point(|value| *value <= below)..].first();
                cuts.extend(above.map(|above| between(below, *above)));
            }
        }
        cuts.dedup();
        let mut sums = vec![(0.0, 0.0); cuts.len() + 1];
        for value in &sorted {
            let (sum, n) = &mut sums[cuts.partition_point(|cut| cut < value)];
            *sum += value;
            *n += 1.0;
        }
        let centres = sums.iter().map(|(sum, n)| if *n > 0.0 { sum / n } else { 0.0 });
        Self::Numeric {
            centres: centres.collect(),
            cuts,
        }
    }

    /// How many bins there are, the missing one included.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self {
            Self::Numeric { centres, .. } => centres.len() + 1,
            Self::Category { count } => *count + 1,
        }
    }

    /// Whether neighbouring bins are neighbouring values.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        matches!(self, Self::Numeric { .. })
    }

    /// The bin of a value.
    #[must_use]
    pub fn bin(&self, value: f64) -> u8 {
        if !value.is_finite() {
            return MISSING;
        }
        match self {
            Self::Numeric { cuts, .. } => cuts.partition_point(|cut| *cut < value) as u8 + 1,
            Self::Category { count } if value >= 0.0 && (value as usize) < *count => value as u8 + 1,
            Self::Category { .. } => MISSING,
        }
    }
}

/// A cut with `below` under it (or on it) and `above` over it, so that a value between them goes to the nearer one.
fn between(below: f64, above: f64) -> f64 {
    let middle = f64::midpoint(below, above);
    let short = twelve_digits(middle);
    // Between neighbouring floating-point numbers there is nothing short, or even nothing.
    if (below..above).contains(&short) {
        short
    } else if middle < above {
        middle
    } else {
        below
    }
}

/// A table in bins: `columns[input][row]`.
#[derive(Debug, Clone)]
pub struct Binned {
    pub binnings: Vec<Binning>,
    pub columns: Vec<Vec<u8>>,
}

impl Binned {
    #[must_use]
    pub fn of(table: &Table, max: usize) -> Self {
        let pairs = table.inputs.iter().zip(&table.columns);
        let binnings: Vec<Binning> = pairs.map(|(input, values)| Binning::of(input, values, max)).collect();
        let pairs = binnings.iter().zip(&table.columns);
        let columns = pairs.map(|(binning, values)| values.iter().map(|value| binning.bin(*value)).collect());
        Self {
            columns: columns.collect(),
            binnings,
        }
    }

    /// These rows of all columns, in this order.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Vec<Vec<u8>> {
        let column = |bins: &Vec<u8>| rows.iter().map(|row| bins[*row as usize]).collect();
        self.columns.iter().map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(values: &[f64], max: usize) -> Vec<f64> {
        match Binning::of(&Input::numeric("x"), values, max) {
            Binning::Numeric { cuts, .. } => cuts,
            Binning::Category { .. } => panic!("a quantity"),
        }
    }

    #[test]
    fn few_values_get_a_bin_each_with_the_cut_in_the_middle() {
        assert_eq!(cuts(&[3.0, 1.0, 1.0, f64::NAN, 2.0], 10), [1.5, 2.5]);
        let binning = Binning::of(&Input::numeric("x"), &[3.0, 1.0, 1.0, 2.0], 10);
        let bins = [f64::NAN, 0.0, 1.0, 1.4, 1.6, 2.0, 3.0, 99.0].map(|value| binning.bin(value));
        assert_eq!(bins, [0, 1, 1, 1, 2, 2, 3, 3]);
        assert_eq!(binning.count(), 4);
    }

    #[test]
    fn many_values_share_bins_of_equal_mass() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let binning = Binning::of(&Input::numeric("x"), &values, 10);
        let mut counts = vec![0; binning.count()];
        for value in &values {
            counts[usize::from(binning.bin(*value))] += 1;
        }
        assert_eq!(counts, [0, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]);
    }

    #[test]
    fn one_value_nothing_and_infinity_are_no_trouble() {
        assert_eq!(cuts(&[5.0, 5.0], 10), [] as [f64; 0]);
        assert_eq!(cuts(&[f64::NAN], 10), [] as [f64; 0]);
        assert_eq!(
            Binning::of(&Input::numeric("x"), &[1.0], 10).bin(f64::INFINITY),
            MISSING
        );
    }

    #[test]
    fn categories_are_bins_and_unknown_ones_are_missing() {
        let input = Input {
            kind: InputKind::Category {
                names: vec!["a".to_owned(), "b".to_owned()],
            },
            ..Input::numeric("x")
        };
        let binning = Binning::of(&input, &[], 10);
        assert_eq!(
            [0.0, 1.0, 2.0, f64::NAN, -1.0].map(|value| binning.bin(value)),
            [1, 2, 0, 0, 0]
        );
    }
}
