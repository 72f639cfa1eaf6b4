use proptest::prelude::*;

use super::*;
use crate::synthetic::Random;

const HALF: Rule = Rule::AtOrAbove { probability: 0.5 };

/// `selected` of `n` people with a probability of .9, the others with .1.
fn group(name: &str, selected: usize, n: usize) -> Vec<Member> {
    let member = |index: usize| Member {
        group: Some(name.to_owned()),
        probability: if index < selected { 0.9 } else { 0.1 },
        outcome: None,
    };
    (0..n).map(member).collect()
}

fn audited(groups: &[(&str, usize, usize)]) -> Audit {
    let members: Vec<Member> = groups
        .iter()
        .flat_map(|(name, selected, n)| group(name, *selected, *n))
        .collect();
    audit("gender", &members, HALF, Favourable::Selected)
}

fn named<'a>(audit: &'a Audit, name: &str) -> &'a Group {
    audit
        .groups
        .iter()
        .find(|group| group.group == name)
        .expect("the group")
}

fn names(audit: &Audit) -> Vec<&str> {
    audit.groups.iter().map(|group| group.group.as_str()).collect()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn four_fifths_is_judged_as_the_guidelines_do() {
    // Questions and answers on the guidelines (44 FR 11996, question 12): 48 of 80 against 12 of 40 is one half.
    let found = audited(&[("white", 48, 80), ("black", 12, 40)]);
    close(found.adverse_impact_ratio.expect("a ratio"), 0.5);
    assert_eq!(found.highest.as_deref(), Some("white"));
    assert_eq!(found.verdict, Verdict::BelowFourFifths { significant: true });
    let black = named(&found, "black").to_highest.expect("a comparison");
    close(black.ratio.expect("a ratio"), 0.5);
    assert_eq!(black.other, Part { some: 48, of: 80 });
    close(
        black.chance,
        fisher_exact(Part { some: 12, of: 40 }, Part { some: 48, of: 80 }),
    );
    // By hand: both .5, error root(.25 (1/40 + 1/80)), difference -.3.
    close(
        black.standard_deviations.expect("some"),
        -0.3 / (0.25 * (0.025 + 0.0125_f64)).sqrt(),
    );
    // Katz: ln .5 ± 1.96 root(.7/12 + .4/48).
    let error = (0.7 / 12.0 + 0.4 / 48.0_f64).sqrt() * 1.959_963_984_540_054;
    let interval = black.ratio_interval.expect("an interval");
    close(interval.low, 0.5 * (-error).exp());
    close(interval.high, 0.5 * error.exp());
    assert_eq!(named(&found, "white").to_highest, None);
}

#[test]
fn exactly_four_fifths_passes_and_three_quarters_fails() {
    let exactly = audited(&[("a", 40, 100), ("b", 50, 100)]);
    assert_eq!(exactly.verdict, Verdict::NoDisparityFound);
    close(exactly.adverse_impact_ratio.expect("a ratio"), 0.8);
    // As fractions, 4/30 over 5/30 need not be .8 to the last digit.
    assert_eq!(
        audited(&[("a", 4, 30), ("b", 5, 30)]).verdict,
        Verdict::NoDisparityFound
    );
    assert_eq!(
        audited(&[("a", 28, 49), ("b", 35, 49)]).verdict,
        Verdict::NoDisparityFound
    );
    // The published error: .75 is not more than .80.
    let three_quarters = audited(&[("a", 30, 100), ("b", 40, 100)]);
    assert_eq!(three_quarters.verdict, Verdict::BelowFourFifths { significant: false });
    assert_eq!(
        audited(&[("a", 300, 1_000), ("b", 400, 1_000)]).verdict,
        Verdict::BelowFourFifths { significant: true }
    );
}

#[test]
fn smaller_differences_that_count_are_named() {
    let found = audited(&[("a", 850, 10_000), ("b", 1_000, 10_000), ("c", 990, 10_000)]);
    assert_eq!(found.verdict, Verdict::NoDisparityFound);
    assert_eq!(found.significant_above_four_fifths, ["a"]);
}

#[test]
fn it_is_enough_that_one_of_the_low_groups_is_significant() {
    // The lowest is small; a larger one is below four fifths too.
    let found = audited(&[("small", 5, 30), ("large", 700, 2_500), ("highest", 1_000, 2_500)]);
    assert!(named(&found, "small").to_highest.expect("compared").chance < 0.05);
    let found = audited(&[("small", 8, 30), ("large", 700, 2_500), ("highest", 1_000, 2_500)]);
    assert!(named(&found, "small").to_highest.expect("compared").chance > 0.05);
    assert_eq!(found.verdict, Verdict::BelowFourFifths { significant: true });
    close(found.adverse_impact_ratio.expect("a ratio"), (8.0 / 30.0) / 0.4);
}

#[test]
fn small_groups_are_shown_but_not_judged_and_tiny_ones_not_even_shown() {
    let found = audited(&[
        ("large", 50, 100),
        ("small", 0, 29),
        ("tiny", 4, 4),
        ("tinier", 1, 3),
        ("other", 45, 100),
    ]);
    assert_eq!(names(&found), ["large", "other", "small"]);
    assert_eq!(found.not_shown, 7);
    let small = named(&found, "small");
    assert_eq!(
        (small.standing, small.to_highest, small.to_rest),
        (Standing::InsufficientData, None, None)
    );
    // Nobody of the 29 was selected, but 29 are too few.
    assert_eq!(found.verdict, Verdict::NoDisparityFound);
    close(found.adverse_impact_ratio.expect("a ratio"), 0.9);
    // The rest is made of what is shown, or one could subtract.
    assert_eq!(
        named(&found, "large").to_rest.expect("compared").other,
        Part { some: 45, of: 129 }
    );
    let lone = audited(&[("large", 50, 100), ("tiny", 4, 4), ("tinier", 1, 3)]);
    assert_eq!(named(&lone, "large").to_rest, None);
    assert_eq!(lone.verdict, Verdict::InsufficientData);

    let five = audited(&[("a", 50, 100), ("b", 40, 100), ("c", 2, 5)]);
    assert_eq!((five.groups.len(), five.not_shown), (3, 0));
    let thirty = audited(&[("a", 50, 100), ("b", 0, 30)]);
    assert_eq!(thirty.verdict, Verdict::BelowFourFifths { significant: true });
}

/// What everybody together makes is told elsewhere: the total less what is shown must not be a small group.
#[test]
fn a_small_group_is_covered_by_the_next_smallest_or_by_those_not_on_record() {
    let found = audited(&[
        ("large", 50, 100),
        ("middle", 20, 40),
        ("other", 45, 90),
        ("tiny", 4, 4),
    ]);
    assert_eq!((names(&found), found.not_shown), (vec!["large", "other"], 44));
    // With two groups nothing is left.
    let found = audited(&[("large", 50, 100), ("tiny", 4, 4)]);
    assert_eq!((names(&found), found.not_shown), (vec![], 104));
    assert_eq!(found.verdict, Verdict::InsufficientData);

    let unknown = |people: usize, groups: &[(&str, usize, usize)]| {
        let known = groups.iter().flat_map(|(name, some, of)| group(name, *some, *of));
        let mut members: Vec<Member> = known.collect();
        for mut member in group("", 0, people) {
            member.group = None;
            members.push(member);
        }
        audit("gender", &members, HALF, Favourable::Selected)
    };
    let (large, tiny) = (("large", 50, 100), ("tiny", 4, 4));
    assert_eq!(names(&unknown(1, &[large, tiny])), ["large"], "four and one are five");
    let three = ("tiny", 2, 3);
    assert_eq!(names(&unknown(1, &[large, ("other", 9, 50), three])), ["large"]);
    // Who is not on record is in no group, and hides nobody else.
    let found = unknown(1, &[large, ("other", 9, 50)]);
    assert_eq!((names(&found), found.not_shown), (vec!["large", "other"], 1));
}

#[test]
fn nothing_is_said_where_there_is_nothing_to_compare() {
    for groups in [
        &[("a", 50, 100)][..],
        &[("a", 20, 29), ("b", 10, 200)],
        &[("a", 0, 100), ("b", 0, 100)],
        &[],
    ] {
        let found = audited(groups);
        assert_eq!(found.verdict, Verdict::InsufficientData, "{groups:?}");
        assert_eq!((found.adverse_impact_ratio, found.highest), (None, None));
    }
}

#[test]
fn two_percent_may_be_left_out_but_are_judged() {
    let found = audited(&[("many", 1_500, 3_000), ("few", 5, 40)]);
    let few = named(&found, "few");
    assert!(few.may_be_left_out && !named(&found, "many").may_be_left_out);
    assert_eq!(few.standing, Standing::Judged);
    assert_eq!(found.verdict, Verdict::BelowFourFifths { significant: true });
}

#[test]
fn what_is_good_for_people_decides_whose_rate_is_the_highest() {
    let members: Vec<Member> = [group("old", 40, 100), group("young", 20, 100)].concat();
    let selected = audit("age", &members, HALF, Favourable::Selected);
    assert_eq!(selected.highest.as_deref(), Some("old"));
    assert_eq!(selected.verdict, Verdict::BelowFourFifths { significant: true });
    let spared = audit("age", &members, HALF, Favourable::NotSelected);
    assert_eq!(spared.highest.as_deref(), Some("young"));
    close(spared.adverse_impact_ratio.expect("a ratio"), 0.6 / 0.8);
}

fn scored(probabilities: &[f64]) -> Vec<Member> {
    let member = |probability: &f64| Member {
        group: Some("all".to_owned()),
        probability: *probability,
        outcome: None,
    };
    probabilities.iter().map(member).collect()
}

#[test]
fn rules_select_whom_they_say() {
    let select = |probabilities: &[f64], rule| {
        let found = audit("any", &scored(probabilities), rule, Favourable::Selected);
        (found.threshold, named(&found, "all").favoured.some)
    };
    let ten: Vec<f64> = (1..=10).map(|tenths| f64::from(tenths) / 10.0).collect();
    let at = |probability| Rule::AtOrAbove { probability };
    assert_eq!(select(&ten, at(0.8)), (Some(0.8), 3));
    assert_eq!(select(&ten, at(0.75)), (Some(0.8), 3));
    assert_eq!(select(&ten, at(1.1)), (None, 0));
    // As bands are told apart: what lies on the threshold is below it.
    let above = |probability| Rule::Above { probability };
    assert_eq!(select(&ten, above(0.8)), (Some(0.9), 2));
    assert_eq!(select(&ten, above(1.0)), (None, 0));
    let top = |share| Rule::TopShare { share };
    assert_eq!(select(&ten, top(0.1)), (Some(1.0), 1));
    assert_eq!(select(&ten, top(0.3)), (Some(0.8), 3));
    // At least one, at most all.
    assert_eq!(select(&ten, top(0.01)), (Some(1.0), 1));
    assert_eq!(select(&ten, top(7.0)), (Some(0.1), 10));
    // Ties are selected together.
    assert_eq!(select(&[0.3, 0.3, 0.3, 0.1, 0.1], top(0.2)), (Some(0.3), 3));
    // Above the median, not at it: of ten, five; of nine, four; of equals, nobody.
    assert_eq!(select(&ten, Rule::AboveMedian), (Some(0.6), 5));
    assert_eq!(select(&ten[..9], Rule::AboveMedian), (Some(0.6), 4));
    assert_eq!(select(&[0.2; 7], Rule::AboveMedian), (None, 0));
}

#[test]
fn people_without_a_score_or_a_group_are_left_out() {
    let mut members = [group("a", 30, 60), group("b", 30, 60)].concat();
    members[0].probability = f64::NAN;
    members[1].group = None;
    let found = audit("any", &members, Rule::TopShare { share: 0.49 }, Favourable::Selected);
    assert_eq!(named(&found, "a").favoured, Part { some: 28, of: 58 });
    // Not on record, but selected by the rule as all are.
    assert_eq!(found.not_shown, 1);
}

#[test]
fn a_score_that_is_wrong_for_one_group_is_found() {
    let mut random = Random::seeded(21);
    let mut members = Vec::new();
    for (name, times) in [("right", 1.0), ("underrated", 2.0)] {
        for _ in 0..1_500 {
            let probability = 0.05 + 0.3 * random.unit();
            members.push(Member {
                group: Some(name.to_owned()),
                probability,
                outcome: Some(random.happens(probability * times)),
            });
        }
    }
    let found = audit("any", &members, HALF, Favourable::Selected);
    let calibration_of = |name| named(&found, name).calibration.expect("enough outcomes");
    assert!(calibration_of("right").bounds.contains(1.0), "{found:?}");
    let underrated = calibration_of("underrated");
    assert!(
        underrated.bounds.low > 1.5 && underrated.bounds.contains(2.0),
        "{underrated:?}"
    );
    close(underrated.ratio, underrated.observed as f64 / underrated.expected);
    assert!(named(&found, "right").auc.is_some_and(|auc| auc > 0.55));
}

#[test]
fn outcomes_of_few_people_are_not_told() {
    let mut members = group("a", 20, 40);
    for (index, member) in members.iter_mut().enumerate().take(29) {
        member.outcome = Some(index % 2 == 0);
    }
    let of = |members: &[Member]| {
        let found = audit("any", members, HALF, Favourable::Selected);
        (found.groups[0].calibration.map(|c| c.n), found.groups[0].auc.is_some())
    };
    assert_eq!(of(&members), (None, false));
    members[29].outcome = Some(false);
    assert_eq!(of(&members), (Some(30), true));
    // Four leavers are too few for an order, but not for a count.
    for (index, member) in members.iter_mut().enumerate() {
        member.outcome = Some(index < 4);
    }
    assert_eq!(of(&members), (Some(40), false));
}

#[test]
fn intersections_are_groups_like_others() {
    assert_eq!(
        intersection(Some("female"), Some("40 and over")).as_deref(),
        Some("female, 40 and over")
    );
    assert_eq!(intersection(Some("female"), None), None);
    // Each attribute alone is even; together they are not.
    let mut members = Vec::new();
    for (gender, age, selected) in [
        ("f", "old", 10),
        ("f", "young", 30),
        ("m", "old", 30),
        ("m", "young", 10),
    ] {
        let group = group(&intersection(Some(gender), Some(age)).expect("both"), selected, 100);
        members.extend(group);
    }
    let both = audit("gender and age", &members, HALF, Favourable::Selected);
    assert_eq!(both.verdict, Verdict::BelowFourFifths { significant: true });
    for member in &mut members {
        member.group = member.group.as_ref().map(|both| both[..1].to_owned());
    }
    let alone = audit("gender", &members, HALF, Favourable::Selected);
    assert_eq!(alone.verdict, Verdict::NoDisparityFound);
}

#[test]
fn an_audit_reads_back_as_it_was_written() {
    let mut members = [group("a", 30, 60), group("b", 10, 60)].concat();
    for (index, member) in members.iter_mut().enumerate() {
        member.outcome = Some(index % 4 == 0);
    }
    let found = audit(
        "gender",
        &members,
        Rule::TopShare { share: 0.25 },
        Favourable::NotSelected,
    );
    let json = serde_json::to_string(&found).expect("json");
    assert!(json.contains(r#""rule":{"kind":"top_share","share":0.25}"#), "{json}");
    assert!(
        json.contains(r#""verdict":{"kind":"below_four_fifths","significant":"#),
        "{json}"
    );
    let again: Audit = serde_json::from_str(&json).expect("an audit");
    assert_eq!(again.verdict, found.verdict);
    assert_eq!(again.groups.len(), 2);
    assert!(serde_json::from_str::<Audit>(&json.replacen("not_shown", "hidden", 1)).is_err());
}

proptest! {
    #[test]
    fn the_order_of_people_leaves_no_trace_and_everybody_is_counted(
        (people, shuffled) in prop::collection::vec((0..4_u8, 0..10_u8, any::<Option<bool>>()), 0..200)
            .prop_flat_map(|people| (Just(people.clone()), Just(people).prop_shuffle())),
        share in 0.0..1.0_f64,
    ) {
        let members = |people: &[(u8, u8, Option<bool>)]| -> Vec<Member> {
            let member = |(group, tenths, outcome): &(u8, u8, Option<bool>)| Member {
                group: (*group > 0).then(|| group.to_string()),
                probability: f64::from(*tenths) / 10.0,
                outcome: *outcome,
            };
            people.iter().map(member).collect()
        };
        let audit_of = |people: &[_]| audit("any", &members(people), Rule::TopShare { share }, Favourable::Selected);
        let found = audit_of(&people);
        prop_assert_eq!(&found, &audit_of(&shuffled));
        prop_assert_eq!(found.groups.iter().map(|group| group.favoured.of).sum::<usize>() + found.not_shown, people.len());
        prop_assert!(found.groups.iter().all(|group| group.favoured.of >= SHOWN_MIN));
        let is_hidden = |group: &u8| *group > 0 && found.groups.iter().all(|shown| shown.group != group.to_string());
        if people.iter().any(|(group, ..)| is_hidden(group)) {
            let kinds: std::collections::BTreeSet<u8> =
                people.iter().map(|(group, ..)| *group).filter(|group| *group == 0 || is_hidden(group)).collect();
            prop_assert!(found.groups.is_empty() || (kinds.len() >= 2 && found.not_shown >= SHOWN_MIN), "{:?}", found);
        }
        if let Some(ratio) = found.adverse_impact_ratio {
            prop_assert!((0.0..=1.0).contains(&ratio));
            let below = matches!(found.verdict, Verdict::BelowFourFifths { .. });
            prop_assert!((ratio - 0.8).abs() < 1e-9 || below == (ratio < 0.8));
        }
    }
}
