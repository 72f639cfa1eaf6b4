use super::*;
use crate::{
    artifact::Origin,
    dataset::Dataset,
    features::FEATURES,
    metrics,
    train::{HORIZON_DAYS, judge},
};

fn update_golden() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// `UPDATE_GOLDEN=1 cargo test -p ml-pipeline prior` makes the prior anew; otherwise the committed one is checked.
#[test]
fn the_committed_prior_is_whole_and_knows_these_features() {
    if update_golden() {
        let artifact = build_prior(&mut |_| {}).expect("a prior");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/models/prior.json");
        std::fs::write(file, artifact.to_json().expect("json")).expect("the prior is written");
        return;
    }
    let prior = prior().expect("a whole artifact: if features changed, make it anew with UPDATE_GOLDEN=1");
    assert!(prior.card.origin == Origin::Pooled && prior.card.evaluation.beats_base_rate());
    assert_eq!(prior.card.horizon_days, HORIZON_DAYS);
    let mut names: Vec<&str> = prior
        .card
        .features
        .iter()
        .chain(&prior.card.exclusions)
        .map(String::as_str)
        .collect();
    let mut expected: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(
        prior.card.exclusions.contains(&"pay_log".to_owned()),
        "a currency's level says nothing in another company"
    );
    assert_eq!(
        prior.to_json().expect("json"),
        PRIOR,
        "the committed file is laid out as written"
    );
}

#[test]
fn a_smaller_prior_ranks_people_of_another_seed() {
    if update_golden() {
        return;
    }
    let small = build(&company(2, 1_600), &mut |_| {}).expect("enough data");
    let again = build(&company(2, 1_600), &mut |_| {}).expect("enough data");
    assert_eq!(
        small.to_json().expect("json"),
        again.to_json().expect("json"),
        "the same data gives the same bytes"
    );

    let fresh = company(99, 1_500);
    let rows = Dataset::build(&fresh.histories(), fresh.ends_on(), &mut |_| {});
    let auc = metrics::roc_auc(&judge(&small.hazard, &rows, HORIZON_DAYS)).expect("both outcomes");
    assert!(auc > 0.60, "AUC on a fresh seed is {auc}");
}

/// The figures of the README: `cargo test -p ml-pipeline prior -- --nocapture`.
#[test]
fn the_committed_prior_ranks_people_of_another_seed() {
    if update_golden() {
        return;
    }
    let artifact = prior().expect("a whole artifact");
    let fresh = company(7, 1_500);
    let rows = Dataset::build(&fresh.histories(), fresh.ends_on(), &mut |_| {});
    let judged = judge(&artifact.hazard, &rows, HORIZON_DAYS);
    let auc = metrics::roc_auc(&judged).expect("both outcomes");
    let ratio = metrics::observed_over_expected(&judged).expect("some expected");
    let lift = metrics::lift(&judged, 0.1).expect("somebody left");
    let error = metrics::expected_calibration_error(&metrics::reliability(&judged));
    println!(
        "prior on seed 7: rows {}, AUC {auc:.3}, Brier {:.4}, ECE {error:.4}, lift {lift:.2}, O/E {ratio:.2}",
        judged.len(),
        metrics::brier(&judged)
    );
    assert!(
        auc > 0.60 && lift > 1.3 && (0.8..1.25).contains(&ratio) && error < 0.02,
        "AUC {auc}, lift {lift}, O/E {ratio}, ECE {error}"
    );
    let used = |name: &str| artifact.card.features.contains(&name.to_owned());
    assert!(used("tenure_years") && used("survey_score"));
}
