use proptest::prelude::*;

use super::*;
use crate::statistics::{Part, fisher_exact};

fn seeded(seed: u64) -> Random {
    Random::seeded(seed)
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

/// So many people with each of these values.
fn people(counts: &[(f64, usize)]) -> Vec<f64> {
    counts.iter().flat_map(|(value, n)| vec![*value; *n]).collect()
}

fn normal(n: usize, mean: f64, random: &mut Random) -> Vec<f64> {
    (0..n).map(|_| mean + random.normal()).collect()
}

#[test]
fn index_and_test_are_those_of_a_calculation_by_hand() {
    let reference = people(&[(0.0, 60), (1.0, 40)]);
    let current = people(&[(0.0, 100), (1.0, 100)]);
    let found = shift(&reference, &current, 1, &mut seeded(1));
    let (p, q) = (60.5 / 101.0, 100.5 / 201.0);
    let by_hand = (q - p) * f64::ln(q / p) + (p - q) * f64::ln((1.0 - q) / (1.0 - p));
    close(found.index, by_hand);
    close(found.expected, 1.0 / 100.0 + 1.0 / 200.0);
    close(found.excess, found.index - found.expected);
    // Pearson, 2 by 2: N (ad - bc)^2 over the product of the margins.
    close(
        found.chi_square,
        300.0 * (60.0 * 100.0 - 40.0 * 100.0_f64).powi(2) / (100.0 * 200.0 * 160.0 * 140.0),
    );
    // The distribution's chance: with one degree of freedom, the two tails beyond the root.
    assert!((found.chance - 0.101_7).abs() < 1e-4, "{found:?}");
    let bin = |value, reference, current| Bin {
        span: Span::Value { value },
        reference,
        current,
    };
    assert_eq!(found.bins, [bin(0.0, 60, 100), bin(1.0, 40, 100)]);
    assert_eq!(found.verdict, Verdict::Stable);
}

#[test]
fn fifty_people_have_a_large_index_by_chance_alone() {
    let mut random = seeded(2);
    let found = shift(
        &normal(1_000, 0.0, &mut random),
        &normal(50, 0.0, &mut random),
        1,
        &mut random,
    );
    // The facts' figure: .19.
    close(found.expected, 9.0 * (1.0 / 50.0 + 1.0 / 1_000.0));
    assert_eq!(found.bins.len(), 10);
    assert!(found.bins.iter().all(|bin| bin.reference == 100));
}

/// The share of 400 comparisons without any change that alarm, and the share whose bare index is beyond the first mark.
fn alarms(reference: usize, current: usize, mut draw: impl FnMut(&mut Random) -> f64) -> (f64, f64) {
    let mut random = seeded((reference * 100_000 + current) as u64);
    let (mut alarms, mut marks) = (0, 0);
    for _ in 0..400 {
        let then: Vec<f64> = (0..reference).map(|_| draw(&mut random)).collect();
        let now: Vec<f64> = (0..current).map(|_| draw(&mut random)).collect();
        let found = shift(&then, &now, 1, &mut random);
        alarms += usize::from(found.verdict > Verdict::Stable);
        marks += usize::from(found.index >= SHIFTED_FROM);
    }
    (alarms as f64 / 400.0, marks as f64 / 400.0)
}

#[test]
fn without_a_change_fewer_than_one_in_twenty_alarms() {
    let (alarming, marked) = alarms(1_000, 50, Random::normal);
    // One in a hundred is promised; by the bare index, four in five alarm.
    assert!(alarming < 0.03, "{alarming}");
    assert!(marked > 0.75, "{marked}");
    let rare = |random: &mut Random| f64::from(u8::from(random.happens(0.01)));
    let half_missing = |random: &mut Random| if random.happens(0.5) { f64::NAN } else { random.normal() };
    // Half of the people have none, the others few.
    let counted = |random: &mut Random| (random.normal() * 3.0).max(0.0).round();
    let mut skewed = |random: &mut Random| random.exponential(1.0).powi(3);
    for (name, alarming) in [
        ("few then, all now", alarms(30, 5_000, Random::normal).0),
        ("small samples", alarms(30, 30, Random::normal).0),
        ("equal samples", alarms(200, 200, Random::normal).0),
        ("more now than then", alarms(60, 900, Random::normal).0),
        ("a rare value", alarms(1_000, 50, rare).0),
        ("missing values", alarms(300, 50, half_missing).0),
        ("counts", alarms(500, 80, counted).0),
        ("a long tail", alarms(500, 50, &mut skewed).0),
    ] {
        assert!(alarming < 0.03, "{name}: {alarming}");
    }
}

#[test]
fn a_shift_of_half_a_deviation_is_found() {
    let mut random = seeded(5);
    for _ in 0..50 {
        let found = shift(
            &normal(1_000, 0.0, &mut random),
            &normal(1_000, 0.5, &mut random),
            37,
            &mut random,
        );
        assert!(found.verdict >= Verdict::Shifted, "{found:?}");
        // The index of two normal distributions half a deviation apart is 1/4, a little less in bins.
        assert!((0.12..0.40).contains(&found.excess), "{}", found.excess);
    }
    // Fifty people show a shift of a whole deviation.
    let found = shift(
        &normal(1_000, 0.0, &mut random),
        &normal(50, 1.2, &mut random),
        1,
        &mut random,
    );
    assert_eq!(found.verdict, Verdict::Drifted);
}

#[test]
fn a_change_that_is_certain_but_small_is_no_alarm() {
    let mut random = seeded(6);
    let found = shift(
        &normal(100_000, 0.0, &mut random),
        &normal(100_000, 0.1, &mut random),
        1,
        &mut random,
    );
    assert!(found.chance < 1e-10, "{}", found.chance);
    assert_eq!(found.verdict, Verdict::Stable);
}

#[test]
fn many_columns_together_alarm_no_more_often_than_one() {
    let mut random = seeded(7);
    let (columns, companies) = (37, 40);
    let mut alarming = 0;
    for _ in 0..companies {
        let any = (0..columns).any(|_| {
            let (then, now) = (normal(500, 0.0, &mut random), normal(50, 0.0, &mut random));
            shift(&then, &now, columns, &mut random).verdict > Verdict::Stable
        });
        alarming += usize::from(any);
    }
    // Without the correction, about a third of them: 12.
    assert!(alarming <= 2, "{alarming} of {companies}");
}

#[test]
fn values_that_went_missing_are_a_drift() {
    let mut random = seeded(8);
    let reference = normal(1_000, 0.0, &mut random);
    let mut current = normal(50, 0.0, &mut random);
    current[..15].fill(f64::NAN);
    let found = shift(&reference, &current, 1, &mut random);
    assert_eq!(found.verdict, Verdict::Drifted, "{found:?}");
    assert_eq!(
        found.bins.last(),
        Some(&Bin {
            span: Span::Missing,
            reference: 0,
            current: 15
        })
    );
}

#[test]
fn a_value_that_nobody_had_has_a_bin() {
    let reference = people(&[(1.0, 500), (2.0, 500), (f64::NAN, 20)]);
    let current = people(&[(1.0, 20), (2.0, 20), (3.0, 10), (f64::INFINITY, 1)]);
    let found = shift(&reference, &current, 1, &mut seeded(9));
    let spans: Vec<Span> = found.bins.iter().map(|bin| bin.span).collect();
    let value = |value| Span::Value { value };
    assert_eq!(spans, [value(1.0), value(2.0), Span::Unseen, Span::Missing]);
    assert_eq!(found.bins[2].current, 10);
    assert_eq!((found.bins[3].reference, found.bins[3].current), (20, 1));
    assert_eq!(found.verdict, Verdict::Drifted);
}

#[test]
fn dealing_people_anew_is_fishers_test_in_two_bins() {
    // Three of 50 have what none of 1,000 had: far too few for the distribution, which would say 1e-14.
    let reference = people(&[(0.0, 1_000)]);
    let current = people(&[(0.0, 47), (1.0, 3)]);
    let exact = fisher_exact(Part { some: 3, of: 50 }, Part { some: 0, of: 1_000 });
    let found = shift(&reference, &current, 50, &mut seeded(10));
    assert!((0.3..3.0).contains(&(found.chance / exact)), "{} {exact}", found.chance);

    let uneven = shift(
        &people(&[(0.0, 97), (1.0, 3)]),
        &people(&[(0.0, 30), (1.0, 4)]),
        1,
        &mut seeded(11),
    );
    let exact = fisher_exact(Part { some: 3, of: 100 }, Part { some: 4, of: 34 });
    assert!(
        (0.5..2.0).contains(&(uneven.chance / exact)),
        "{} {exact}",
        uneven.chance
    );
}

#[test]
fn where_both_may_be_used_dealing_and_distribution_agree() {
    let bins: Vec<Bin> = [(30, 18), (30, 35), (40, 27), (20, 20)]
        .into_iter()
        .map(|(reference, current)| Bin {
            span: Span::Missing,
            reference,
            current,
        })
        .collect();
    let statistic = chi_square(&bins);
    assert!(suits_the_distribution(&bins, 100.0 / 220.0));
    let distribution = chi_square_above(statistic, 3.0);
    let dealt: Vec<f64> = (0..40)
        .map(|seed| deal(&bins, statistic, 1, &mut seeded(seed)))
        .collect();
    let mean = dealt.iter().sum::<f64>() / dealt.len() as f64;
    assert!((mean / distribution - 1.0).abs() < 0.15, "{mean} {distribution}");
}

#[test]
fn too_few_people_have_no_verdict() {
    let mut random = seeded(12);
    let (many, few) = (
        normal(1_000, 0.0, &mut random),
        normal(SAMPLE_MIN - 1, 9.0, &mut random),
    );
    assert_eq!(shift(&many, &few, 1, &mut random).verdict, Verdict::TooFewToTell);
    assert_eq!(shift(&few, &many, 1, &mut random).verdict, Verdict::TooFewToTell);
    let nobody = shift(&[], &[], 1, &mut random);
    assert_eq!(
        (nobody.verdict, nobody.index, nobody.chance),
        (Verdict::TooFewToTell, 0.0, 1.0)
    );
    let same = shift(&[1.0; 100], &[1.0; 100], 1, &mut random);
    assert_eq!((same.verdict, same.index, same.chance), (Verdict::Stable, 0.0, 1.0));
}

#[test]
fn a_shift_reads_back_as_it_was_written() {
    let mut random = seeded(13);
    let found = shift(&normal(100, 0.0, &mut random), &[f64::NAN; 40], 1, &mut random);
    let json = serde_json::to_string(&found).expect("json");
    assert!(
        json.contains(r#""verdict":"drifted""#) && json.contains(r#"{"kind":"missing"}"#),
        "{json}"
    );
    let again: Shift = serde_json::from_str(&json).expect("a shift");
    assert_eq!(again.bins, found.bins);
    assert!(serde_json::from_str::<Shift>(&json.replacen("\"index\"", "\"indices\"", 1)).is_err());
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -50.0..50.0_f64,
        2 => (0..4_u8).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(-0.0),
        1 => Just(f64::NEG_INFINITY),
    ]
}

proptest! {
    #[test]
    fn everybody_is_in_one_bin_and_order_leaves_no_trace(
        reference in prop::collection::vec(value(), 0..80),
        current in prop::collection::vec(value(), 0..80),
    ) {
        let found = shift(&reference, &current, 1, &mut seeded(1));
        prop_assert_eq!(found.bins.iter().map(|bin| bin.reference).sum::<usize>(), reference.len());
        prop_assert_eq!(found.bins.iter().map(|bin| bin.current).sum::<usize>(), current.len());
        prop_assert!(found.bins.len() <= VALUES_MAX.max(BINS) + 2);
        prop_assert!(found.index >= 0.0 && found.index.is_finite());
        prop_assert!(found.chance > 0.0 && found.chance <= 1.0);
        let backwards: Vec<f64> = current.iter().rev().copied().collect();
        prop_assert_eq!(found.index, shift(&reference, &backwards, 1, &mut seeded(1)).index);
        let unchanged = shift(&reference, &reference, 1, &mut seeded(1));
        prop_assert!(unchanged.index.abs() < 1e-12 && unchanged.chance > 0.99);
    }
}

#[test]
fn the_distribution_is_trusted_by_cochrans_rule() {
    // A tenth of the people of each bin are expected in the smaller sample.
    let trusted = |people: &[usize]| {
        let bin = |people: &usize| Bin {
            span: Span::Missing,
            reference: *people,
            current: 0,
        };
        suits_the_distribution(&people.iter().map(bin).collect::<Vec<_>>(), 0.1)
    };
    assert!(trusted(&[50, 50, 50, 50, 49]), "one of five is a little small");
    assert!(!trusted(&[50, 50, 50, 49]), "one of four is too many");
    assert!(trusted(&[50, 50, 50, 50, 10]));
    assert!(!trusted(&[50, 50, 50, 50, 9]), "fewer than one is expected");
}
