use std::collections::BTreeSet;

use super::*;
use crate::{
    model::probability,
    table::{Input, Table},
};

/// Rows in which one input says something, of persons with three rows each, at twenty points in time.
fn rows(n: usize) -> Read {
    let mut random = Random::seeded(1);
    let x: Vec<f64> = (0..n).map(|_| random.normal()).collect();
    let outcomes = x.iter().map(|x| random.happens(probability(2.0 * x - 1.0))).collect();
    Read {
        table: Table {
            inputs: vec![Input::numeric("x")],
            columns: vec![x],
        },
        outcomes,
        rows: (0..n).collect(),
        positive: "yes".to_owned(),
        ..Read::default()
    }
}

fn grouped_rows(n: usize) -> Read {
    Read {
        groups: Some((0..n).map(|row| format!("person {}", row / 3)).collect()),
        ..rows(n)
    }
}

fn timed_rows(n: usize) -> Read {
    Read {
        // Neither in the order of the rows nor at equal distances.
        times: Some((0..n).map(|row| ((row * 7 % 20) as f64).powi(2)).collect()),
        ..rows(n)
    }
}

/// Every row is judged once in every repeat, by what was learnt from all the others.
#[track_caller]
fn assert_partition(splits: &[Split], rows: usize, repeats: usize, folds: usize) {
    assert_eq!(splits.len(), repeats * folds);
    for repeat in 0..repeats {
        let of: Vec<&Split> = splits.iter().filter(|split| split.repeat == repeat).collect();
        let mut judged: Vec<usize> = of.iter().flat_map(|split| split.judge.iter().copied()).collect();
        judged.sort_unstable();
        assert!(judged.into_iter().eq(0..rows), "every row once in repeat {repeat}");
        for split in of {
            let sides: BTreeSet<usize> = split.learn.iter().chain(&split.judge).copied().collect();
            assert_eq!((sides.len(), split.learn.len() + split.judge.len()), (rows, rows));
        }
    }
}

#[test]
fn stratified_folds_have_equal_shares_of_every_row() {
    let read = rows(203);
    let (scheme, splits) = splits(&read, 5, 3, 9).expect("splits");
    assert_eq!(scheme, Scheme::Stratified);
    assert_partition(&splits, 203, 3, 5);
    let positives = read.outcomes.iter().filter(|y| **y).count();
    for split in &splits {
        let within = split.judge.iter().filter(|row| read.outcomes[**row]).count();
        assert!(
            (positives / 5..=positives.div_ceil(5)).contains(&within),
            "{within} of {positives}"
        );
    }
    assert_ne!(splits[0].judge, splits[5].judge, "repeats differ");
    let again = |seed: u64| self::splits(&read, 5, 3, seed).expect("splits").1;
    assert!(again(9) == splits && again(10) != splits, "the seed decides");
}

#[test]
fn grouped_folds_keep_groups_together() {
    let read = grouped_rows(200);
    let (scheme, splits) = splits(&read, 4, 2, 9).expect("splits");
    assert_eq!(scheme, Scheme::Grouped);
    assert_partition(&splits, 200, 2, 4);
    let groups = read.groups.as_ref().expect("groups");
    for split in &splits {
        let of = |rows: &[usize]| rows.iter().map(|row| &groups[*row]).collect::<BTreeSet<_>>();
        assert!(of(&split.learn).is_disjoint(&of(&split.judge)));
        assert!((48..=52).contains(&split.judge.len()), "{}", split.judge.len());
    }
    assert_ne!(splits[0].judge, splits[4].judge, "repeats differ");
}

#[test]
fn one_large_group_does_not_empty_a_fold() {
    let mut read = rows(90);
    read.groups = Some(
        (0..90)
            .map(|row| if row < 60 { "all".to_owned() } else { row.to_string() })
            .collect(),
    );
    let (_, splits) = splits(&read, 3, 1, 1).expect("splits");
    let mut sizes: Vec<usize> = splits.iter().map(|split| split.judge.len()).collect();
    sizes.sort_unstable();
    assert!(sizes[0] >= 10 && sizes[2] >= 60, "{sizes:?}");
}

#[test]
fn forward_never_learns_from_what_is_not_earlier() {
    for read in [
        timed_rows(200),
        Read {
            groups: grouped_rows(200).groups,
            ..timed_rows(200)
        },
    ] {
        let (scheme, splits) = splits(&read, 4, 3, 9).expect("splits");
        assert_eq!(scheme, Scheme::Forward, "times come before groups");
        assert_eq!(splits.len(), 4, "there is one way only to go forward");
        let times = read.times.as_ref().expect("times");
        let mut judged = BTreeSet::new();
        for split in &splits {
            let latest = split.learn.iter().map(|row| times[*row]).fold(f64::MIN, f64::max);
            let earliest = split.judge.iter().map(|row| times[*row]).fold(f64::MAX, f64::min);
            assert!(latest < earliest, "{latest} {earliest}");
            let earlier = times.iter().filter(|time| **time < earliest).count();
            assert_eq!(split.learn.len(), earlier, "everything earlier is learnt from");
            assert!((30..=60).contains(&split.judge.len()), "{}", split.judge.len());
            assert!(split.judge.iter().all(|row| judged.insert(*row)), "judged once");
        }
        let first = splits[0].learn.len();
        assert_eq!(judged.len() + first, 200, "the rest is judged");
    }
}

#[test]
fn forward_gets_by_with_two_points_in_time() {
    // The earlier one has nearly all the rows, or nearly none.
    for later in [30, 170] {
        let mut read = rows(200);
        read.times = Some((0..200).map(|row| if row < later { 2.0 } else { 1.0 }).collect());
        let (_, splits) = splits(&read, 5, 1, 1).expect("splits");
        assert_eq!(splits.len(), 1);
        assert!(splits[0].judge.iter().copied().eq(0..later) && splits[0].learn.len() == 200 - later);
    }
}

#[test]
fn what_cannot_be_split_is_told() {
    let told =
        |read: &Read, folds: usize, repeats: usize| splits(read, folds, repeats, 1).expect_err("no splits").to_string();
    assert_eq!(told(&rows(100), 1, 1), "there must be at least 2 folds and 1 repeat");
    assert_eq!(told(&rows(100), 5, 0), "there must be at least 2 folds and 1 repeat");
    let mut few = rows(100);
    few.outcomes = (0..100).map(|row| row < 4).collect();
    assert_eq!(
        told(&few, 5, 1),
        "of the rarer outcome there are 4 rows, too few for 5 folds: ask for fewer with --folds"
    );
    assert!(splits(&few, 4, 1, 1).is_ok());
    assert_eq!(
        told(&grouped_rows(12), 5, 1),
        "there are 4 groups: it takes at least 5 for 5 folds"
    );
    let mut still = rows(100);
    still.times = Some(vec![7.0; 100]);
    assert_eq!(
        told(&still, 5, 1),
        "there are 1 points in time: it takes at least 2 to learn from one and be judged by the other"
    );
    let mut turned = timed_rows(100);
    let times = turned.times.clone().expect("times");
    turned.outcomes = times.iter().map(|time| *time > 200.0).collect();
    assert!(told(&turned, 4, 1).starts_with("split 0 has one outcome only on one of its sides"));
}

#[test]
fn models_are_compared_on_rows_that_they_have_not_seen() {
    let mut read = rows(300);
    // Nothing to learn but the rows themselves.
    let mut random = Random::seeded(2);
    read.outcomes = (0..300).map(|_| random.happens(0.4)).collect();
    let options = Options {
        learners: vec![Learner::Logistic, Learner::Boosted],
        folds: 3,
        repeats: 2,
        seed: 1,
        threads: 2,
    };
    let (scheme, splits) = splits(&read, options.folds, options.repeats, options.seed).expect("splits");
    let told = std::sync::Mutex::new(Vec::new());
    let progress = |done: usize, total: usize| told.lock().expect("one at a time").push((done, total));
    let comparison = compare(&read, scheme, &splits, &options, &progress).expect("a comparison");
    let positives = read.outcomes.iter().filter(|y| **y).count();
    assert_eq!(
        (
            comparison.rows,
            comparison.positives,
            comparison.repeats,
            comparison.folds
        ),
        (300, positives, 2, 3)
    );
    assert_eq!(comparison.models.iter().filter(|model| model.champion).count(), 1);
    for model in &comparison.models {
        assert!((model.roc_auc.mean - 0.5).abs() < 0.1, "{model:?}");
        assert!(model.roc_auc.sd > 0.0 && model.log_losses.len() == 300);
        assert!((model.observed_over_expected - 1.0).abs() < 0.1, "{model:?}");
    }
    let mut told = told.into_inner().expect("told");
    told.sort_unstable();
    assert!(told.into_iter().eq((1..=12).map(|done| (done, 12))));
}

#[test]
fn a_model_that_cannot_be_fitted_is_named() {
    let mut read = rows(100);
    read.table.columns[0].fill(1.0);
    let (scheme, splits) = splits(&read, 2, 1, 1).expect("splits");
    let options = Options {
        learners: vec![Learner::Additive],
        folds: 2,
        repeats: 1,
        seed: 1,
        threads: 1,
    };
    let error = compare(&read, scheme, &splits, &options, &|_, _| {}).expect_err("nothing varies");
    assert_eq!(error.to_string(), "the additive model could not be fitted");
    let error = hold_out(&read, &read, &options, &|_, _| {}).expect_err("nothing varies");
    assert!(matches!(
        error,
        CompareError::Fit {
            cause: FitError::NoColumns,
            ..
        }
    ));
}

#[test]
fn another_file_judges_what_one_file_taught() {
    let (read, mut test) = (rows(1_000), rows(500));
    let mut random = Random::seeded(3);
    test.table.columns[0] = (0..500).map(|_| random.normal()).collect();
    let truth: Vec<f64> = test.table.columns[0]
        .iter()
        .map(|x| probability(2.0 * x - 1.0))
        .collect();
    test.outcomes = truth.iter().map(|p| random.happens(*p)).collect();
    test.truth = Some(truth);
    let options = Options {
        learners: vec![Learner::Logistic],
        folds: 2,
        repeats: 1,
        seed: 1,
        threads: 2,
    };
    let judged = hold_out(&read, &test, &options, &|_, _| {}).expect("a model");
    let (held_out, model) = &judged[0];
    assert_eq!(
        (judged.len(), held_out.model, model.kind()),
        (1, Learner::Logistic, "logistic")
    );
    assert!(held_out.roc_auc.is_some_and(|auc| auc > 0.8));
    assert!(
        held_out.regret.is_some_and(|regret| regret.abs() < 0.001),
        "one input ranks as the truth does"
    );
    assert!(
        held_out
            .excess_brier
            .is_some_and(|excess| (0.0..0.005).contains(&excess))
    );
}

/// A model with these log losses by split.
fn model(model: Learner, log_losses: &[f64]) -> Judgement {
    let nothing = Figure { mean: 0.0, sd: 0.0 };
    Judgement {
        model,
        champion: false,
        roc_auc: nothing,
        pr_auc: nothing,
        brier: nothing,
        log_loss: figure(log_losses),
        lift_top_tenth: nothing,
        ece: 0.0,
        observed_over_expected: 1.0,
        fit_seconds: 0.0,
        predict_seconds_per_100k: 0.0,
        log_losses: log_losses.to_vec(),
    }
}

#[track_caller]
fn assert_champion(mut models: Vec<Judgement>, champion: Learner) {
    crown(&mut models);
    let crowned: Vec<Learner> = models
        .iter()
        .filter(|model| model.champion)
        .map(|model| model.model)
        .collect();
    assert_eq!(crowned, [champion]);
}

#[test]
fn the_champion_is_the_simplest_within_one_standard_error() {
    let forest = [0.30, 0.32, 0.34, 0.36];
    let worse = |by: [f64; 4]| [0, 1, 2, 3].map(|split| forest[split] + by[split]);
    // The mean of the differences is .010, their deviation .0231 and its standard error .0115, or .0129 and .0065.
    let (within, beyond) = (worse([0.03, -0.01, 0.03, -0.01]), worse([0.025, -0.005, 0.015, 0.005]));
    let all = |logistic: [f64; 4], boosted: [f64; 4]| {
        vec![
            model(Learner::Forest, &forest),
            model(Learner::Boosted, &boosted),
            model(Learner::Logistic, &logistic),
        ]
    };
    assert_champion(all(within, within), Learner::Logistic);
    assert_champion(all(beyond, within), Learner::Boosted);
    assert_champion(all(beyond, beyond), Learner::Forest);
    // Every split is a little worse than the best one's: by as much as splits differ, but always.
    assert_champion(all(worse([0.01; 4]), beyond), Learner::Forest);
    assert_champion(all(forest, within), Learner::Logistic);
    assert_champion(vec![model(Learner::Forest, &[0.3])], Learner::Forest);
    crown(&mut []);
}
