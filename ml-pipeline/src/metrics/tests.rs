use proptest::prelude::*;

use super::*;
use crate::{model::probability, statistics::Interval, synthetic::Random};

const FOUR: [Judged; 4] = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn auc_counts_pairs_and_ties_half() {
    assert_eq!(roc_auc(&FOUR), Some(0.75));
    assert_eq!(roc_auc(&[(0.5, true), (0.5, false)]), Some(0.5));
    // Pairs: (.5 against .5) one half, (.5 against .2) one, (.9 against both) two.
    assert_eq!(
        roc_auc(&[(0.5, true), (0.5, false), (0.2, false), (0.9, true)]),
        Some(3.5 / 4.0)
    );
    assert_eq!(roc_auc(&[(0.5, true)]), None);
}

#[test]
fn brier_and_log_loss_are_those_of_a_calculation_by_hand() {
    close(brier(&FOUR), (0.01 + 0.16 + 0.4225 + 0.04) / 4.0);
    close(
        log_loss(&[(0.8, true), (0.4, false)]),
        -(0.8_f64.ln() + 0.6_f64.ln()) / 2.0,
    );
    assert!(log_loss(&[(0.0, true)]).is_finite());
}

#[test]
fn calibration_in_the_large_compares_totals() {
    close(observed_over_expected(&FOUR).expect("some expected"), 2.0 / 1.65);
    assert_eq!(observed_over_expected(&[]), None);
}

#[test]
fn lift_is_the_top_rate_over_the_base_rate() {
    let ten: Vec<Judged> = (0..10).map(|i| (f64::from(i) / 10.0, i == 9 || i == 0)).collect();
    close(lift(&ten, 0.1).expect("somebody left"), 5.0);
    close(
        lift(&[(0.5, true), (0.5, false), (0.5, false), (0.5, false)], 0.25).expect("somebody left"),
        1.0,
    );
    assert_eq!(lift(&[(0.5, false)], 0.1), None);
}

#[test]
fn bins_have_equal_mass() {
    let twenty: Vec<Judged> = (0..20).map(|i| (f64::from(i / 2) / 10.0, i % 2 == 0)).collect();
    let bins = reliability(&twenty);
    assert_eq!(bins.len(), BINS);
    assert!(bins.iter().all(|bin| bin.n == 2 && (bin.observed - 0.5).abs() < 1e-12));
    // |p - .5| over 0, .1, ... .9 is 2.5 in all.
    close(expected_calibration_error(&bins), 0.25);
}

#[test]
fn average_precision_is_scikit_learns() {
    // The example of its documentation: 1/2 at precision 1, 1/2 at precision 2/3.
    close(pr_auc(&FOUR).expect("somebody left"), 0.5 + 0.5 * 2.0 / 3.0);
    // With ties; scikit-learn 1.7 says 0.6476190476190475.
    let scores = [0.9, 0.8, 0.8, 0.6, 0.6, 0.6, 0.4, 0.3, 0.3, 0.1];
    let outcomes = [1, 0, 1, 1, 0, 0, 1, 0, 0, 1].map(|y| y == 1);
    let mut tied: Vec<Judged> = scores.into_iter().zip(outcomes).collect();
    close(pr_auc(&tied).expect("somebody left"), 0.647_619_047_619_047_5);
    tied.reverse();
    close(pr_auc(&tied).expect("somebody left"), 0.647_619_047_619_047_5);
    // One score for all says nothing: the base rate.
    assert_eq!(
        pr_auc(&[(0.2, true), (0.2, false), (0.2, false), (0.2, false)]),
        Some(0.25)
    );
    assert_eq!(pr_auc(&[(0.5, false)]), None);
    assert_eq!(pr_auc(&[]), None);
}

/// Probabilities from 2 % to 60 %, and outcomes with log-odds `intercept + slope × predicted`.
fn drawn(n: usize, intercept: f64, slope: f64, random: &mut Random) -> Vec<Judged> {
    let mut draw = || {
        let p: f64 = 0.02 + 0.58 * random.unit();
        let truth = probability(intercept + slope * (p / (1.0 - p)).ln());
        (p, random.happens(truth))
    };
    (0..n).map(|_| draw()).collect()
}

#[test]
fn recalibration_is_that_of_statsmodels() {
    let scores = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.35];
    let outcomes = [0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0].map(|y| y == 1);
    let judged: Vec<Judged> = scores.into_iter().zip(outcomes).collect();
    let found = recalibration(&judged).expect("a maximum");
    // statsmodels: Logit on the log-odds; and binomial GLM with the log-odds as offset.
    assert!((found.intercept - -0.142_070_68).abs() < 1e-7, "{found:?}");
    assert!((found.slope - 0.285_248_37).abs() < 1e-7, "{found:?}");
    assert!((found.in_the_large - 0.273_421_86).abs() < 1e-7, "{found:?}");
}

#[test]
fn recalibration_finds_what_was_done_to_the_probabilities() {
    let judged = drawn(100_000, -0.4, 0.7, &mut Random::seeded(1));
    let found = recalibration(&judged).expect("a maximum");
    assert!((found.intercept - -0.4).abs() < 0.03, "{found:?}");
    assert!((found.slope - 0.7).abs() < 0.03, "{found:?}");
    // Corrected, they need no correction.
    let corrected: Vec<Judged> = judged.iter().map(|(p, y)| (found.apply(*p), *y)).collect();
    let again = recalibration(&corrected).expect("a maximum");
    for zero in [again.intercept, again.slope - 1.0, again.in_the_large] {
        assert!(zero.abs() < 1e-6, "{again:?}");
    }
    close_to(observed_over_expected(&corrected).expect("some expected"), 1.0, 1e-9);
}

#[track_caller]
fn close_to(found: f64, expected: f64, error: f64) {
    assert!((found - expected).abs() < error, "{found} is not {expected}");
}

#[test]
fn without_overlap_there_is_no_recalibration() {
    let no = |judged: &[Judged]| assert_eq!(recalibration(judged), None, "{judged:?}");
    no(&[]);
    no(&[(0.2, true), (0.4, true)]);
    no(&[(0.2, false), (0.4, true)]);
    no(&[(0.2, true), (0.4, false)]);
    no(&[(0.3, false), (0.3, true), (0.3, false)]);
    // They touch, but do not overlap.
    no(&[(0.2, false), (0.3, false), (0.3, true), (0.4, true)]);
    assert!(recalibration(&[(0.2, false), (0.3, true), (0.4, false), (0.5, true)]).is_some());
    // Certainties that were wrong are terrible, but have log-odds.
    let certain = recalibration(&[(0.0, true), (0.0, false), (1.0, true), (1.0, true), (1.0, false)]);
    assert!(certain.is_some_and(|found| found.slope > 0.0 && found.slope < 0.1));
}

#[test]
fn intervals_resample_persons_and_not_rows() {
    let once: Vec<(u32, Judged)> = (0..300).zip(drawn(300, 0.0, 1.0, &mut Random::seeded(3))).collect();
    // Everybody eight times over, as in eight months of a slow life: no more is known than before.
    let eightfold: Vec<(u32, Judged)> = (0..8).flat_map(|_| once.clone()).collect();
    let seeded = |rows: &[(u32, Judged)]| intervals(rows, 400, &mut Random::seeded(9)).expect("enough people");
    let (one, eight) = (seeded(&once), seeded(&eightfold));
    assert_eq!((one.people, one.draws, eight.people), (300, 400, 300));
    let brier_of = |intervals: &Intervals| intervals.brier.expect("an interval");
    let auc_of = |intervals: &Intervals| intervals.auc.expect("an interval");
    for interval_of in [brier_of as fn(&Intervals) -> Interval, auc_of] {
        close_to(interval_of(&one).low, interval_of(&eight).low, 1e-9);
        close_to(interval_of(&one).high, interval_of(&eight).high, 1e-9);
    }

    // Were the rows people of their own, the interval would be the square root of eight narrower.
    let strangers: Vec<(u32, Judged)> = (0..).zip(eightfold.iter().map(|(_, judged)| *judged)).collect();
    let width = |interval: Interval| interval.high - interval.low;
    let narrower = width(brier_of(&eight)) / width(brier_of(&seeded(&strangers)));
    assert!((2.3..3.4).contains(&narrower), "{narrower}");
}

#[test]
fn intervals_do_not_depend_on_the_order_of_rows() {
    let mut rows: Vec<(u32, Judged)> = (0..200)
        .map(|row| row / 4)
        .zip(drawn(200, 0.0, 1.0, &mut Random::seeded(4)))
        .collect();
    let forwards = intervals(&rows, 100, &mut Random::seeded(1));
    rows.reverse();
    assert_eq!(forwards, intervals(&rows, 100, &mut Random::seeded(1)));
    assert_ne!(forwards, intervals(&rows, 100, &mut Random::seeded(2)));
}

#[test]
fn intervals_that_nobody_can_know_are_not_made_up() {
    let stayed: Vec<(u32, Judged)> = (0..50).map(|person| (person, (0.1, false))).collect();
    let found = intervals(&stayed, 100, &mut Random::seeded(1)).expect("enough people");
    assert_eq!(found.auc, None);
    assert_eq!(found.observed_over_expected, Some(Interval { low: 0.0, high: 0.0 }));
    // One leaver is missing from more than a third of the draws.
    let mut one_left = stayed.clone();
    one_left[0].1.1 = true;
    assert_eq!(
        intervals(&one_left, 100, &mut Random::seeded(1))
            .expect("enough people")
            .auc,
        None
    );
    assert_eq!(intervals(&stayed[..19], 100, &mut Random::seeded(1)), None);
    assert_eq!(intervals(&stayed, 0, &mut Random::seeded(1)), None);
}

/// What an interval promises. The truth of calibrated draws is known: observed over expected is 1, the Brier score the mean of
/// p (1 - p), and the AUC that of a very large sample.
#[test]
fn intervals_hold_the_truth_about_as_often_as_they_say() {
    let mut random = Random::seeded(17);
    let large = drawn(200_000, 0.0, 1.0, &mut random);
    let auc = roc_auc(&large).expect("both");
    let brier_score = brier(&large);
    let mut held = [0; 3];
    let companies = 150;
    for _ in 0..companies {
        let rows: Vec<(usize, Judged)> = drawn(200, 0.0, 1.0, &mut random).into_iter().enumerate().collect();
        let found = intervals(&rows, 200, &mut random).expect("enough people");
        for (held, (interval, truth)) in held.iter_mut().zip([
            (found.auc, auc),
            (found.brier, brier_score),
            (found.observed_over_expected, 1.0),
        ]) {
            *held += usize::from(interval.expect("an interval").contains(truth));
        }
    }
    // 95 % of 150 is 142.5, give or take 2.7; the percentile interval is known to be a little narrow.
    assert!(held.iter().all(|held| (132..=149).contains(held)), "{held:?}");
}

proptest! {
    #[test]
    fn average_precision_is_a_share_and_ignores_any_rising_change_of_scores(
        rows in prop::collection::vec((0..20_u8, any::<bool>()), 1..60),
    ) {
        let judged: Vec<Judged> = rows.iter().map(|(p, y)| (f64::from(*p) / 20.0, *y)).collect();
        let squared: Vec<Judged> = judged.iter().map(|(p, y)| (p * p, *y)).collect();
        prop_assert_eq!(pr_auc(&judged), pr_auc(&squared));
        // By the definition, one threshold after another.
        let at_or_above = |threshold: f64, of: fn(bool) -> bool| {
            judged.iter().filter(|(p, y)| *p >= threshold && of(*y)).count() as f64
        };
        let mut thresholds: Vec<f64> = judged.iter().map(|(p, _)| *p).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let positives = at_or_above(0.0, |y| y);
        let (mut area, mut recall) = (0.0, 0.0);
        for threshold in thresholds {
            let left = at_or_above(threshold, |y| y);
            area += (left / positives - recall) * left / at_or_above(threshold, |_| true);
            recall = left / positives;
        }
        match pr_auc(&judged) {
            Some(found) => prop_assert!((found - area).abs() < 1e-12),
            None => prop_assert_eq!(positives, 0.0),
        }
    }

    #[test]
    fn recalibrated_probabilities_are_right_in_the_large(
        rows in prop::collection::vec((0.001..0.999_f64, any::<bool>()), 2..60),
    ) {
        if let Some(found) = recalibration(&rows) {
            let corrected: Vec<Judged> = rows.iter().map(|(p, y)| (found.apply(*p), *y)).collect();
            let ratio = observed_over_expected(&corrected).expect("some expected");
            prop_assert!((ratio - 1.0).abs() < 1e-6, "{:?} {}", found, ratio);
        }
    }
}
