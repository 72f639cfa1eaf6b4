use super::*;

fn on(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

/// Kinds of models that are fitted in no time, so that the tests are about the rest.
fn options(today: Date) -> Options {
    Options {
        learners: vec![Learner::Logistic, Learner::Additive],
        ..Options::new(today, 42, Timestamp::UNIX_EPOCH)
    }
}

#[test]
fn too_little_to_learn_from_says_what_is_missing() {
    let small = prior::company(1, 60);
    let people = train(&small.histories(), &options(small.ends_on()), &mut |_| {});
    assert!(matches!(people, Err(TrainingError::TooFewPeople { have: 60..=200 })));

    let larger = prior::company(1, 250);
    let early = train(&larger.histories(), &options(on(2022, 10, 1)), &mut |_| {});
    assert!(matches!(early, Err(TrainingError::TooFewCases { .. })));
    assert!(early.expect_err("an error").to_string().contains("at least 50"));

    let large = prior::company(1, 1_200);
    let short = train(&large.histories(), &options(on(2022, 8, 20)), &mut |_| {});
    assert!(matches!(short, Err(TrainingError::HistoryTooShort { .. })));
    for error in [people, short] {
        assert!(error.expect_err("an error").is_abstention());
    }
}

#[test]
fn a_company_with_a_history_gets_its_own_model() {
    let company = prior::company(3, 400);
    let mut told = Vec::new();
    let artifact = train(&company.histories(), &options(company.ends_on()), &mut |progress| {
        told.push(progress)
    })
    .expect("a model");
    let card = &artifact.card;
    assert!(
        artifact
            .version
            .starts_with(&format!("{}-1970-01-01-", card.learner.name()))
    );
    assert_eq!(
        (card.data.log_position, &card.origin, card.horizon_days),
        (42, &Origin::Own, HORIZON_DAYS)
    );
    let champions: Vec<Learner> = card
        .candidates
        .iter()
        .filter(|tried| tried.champion)
        .map(|tried| tried.learner)
        .collect();
    assert_eq!(champions, [card.learner]);
    assert!(card.data.people >= PEOPLE_MIN && card.data.cases >= CASES_MIN);
    let evaluation = &card.evaluation;
    assert!(evaluation.test_from > card.data.first_cutoff && evaluation.intervals.is_some());
    assert_eq!(evaluation.reliability.len(), metrics::BINS);
    assert!(evaluation.auc.is_some_and(|auc| auc > 0.5));
    assert!(
        card.features.contains(&"pay_log".to_owned()),
        "within one company the level of pay counts"
    );
    let fits = told
        .iter()
        .filter(|progress| matches!(progress, Progress::Fits { .. }))
        .count();
    assert!(told.len() > fits && fits >= 2);
    assert!(matches!(told.last(), Some(Progress::Fits { done, total }) if done == total));
}

#[test]
fn nothing_that_was_recorded_after_the_day_of_training_matters() {
    let company = prior::company(3, 400);
    let today = on(2024, 6, 1);
    let all = company.histories();
    let mut known = all.clone();
    for history in &mut known {
        history.events.retain(|recorded| recorded.known_on <= today);
    }
    known.retain(|history| !history.events.is_empty());
    let bytes = |histories: &[History]| {
        train(histories, &options(today), &mut |_| {})
            .expect("a model")
            .to_json()
            .expect("json")
    };
    assert_eq!(bytes(&all), bytes(&known));
}

#[test]
fn a_model_that_knows_nothing_is_told_on_its_card() {
    let company = prior::company(3, 400);
    let artifact = train(&company.histories(), &options(company.ends_on()), &mut |_| {}).expect("a model");
    let mut evaluation = artifact.card.evaluation;
    assert!(
        evaluation.shared_prior.is_some(),
        "the prior was measured on the same rows"
    );
    evaluation.brier = evaluation.brier_base_rate + 0.001;
    let limits = limits(&Target::Notice, &Origin::Own, &evaluation, &artifact.card.candidates);
    assert!(limits.iter().any(|limit| limit.contains("do not promote it")));
    assert!(limits.iter().any(|limit| limit.contains("keep it in place")));
}

/// People who stay have their off-boarding planned as little as people who leave have theirs forgotten.
#[test]
fn a_feature_that_knows_who_leaves_is_refused() {
    let company = prior::company(3, 300);
    let mut dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
    assert!(refuse_leaks(&dataset).is_ok());
    let leak = FeatureId::named("transfers").expect("a feature").index();
    let known: Vec<bool> = dataset
        .rows
        .iter()
        .map(|row| dataset.outcome(row, Window::Month) == Some(true))
        .collect();
    for (row, leaves) in dataset.rows.iter_mut().zip(known) {
        // As a task that is created a few days before the notice would be counted.
        row.x[leak] = if leaves { 1.0 } else { 0.0 };
    }
    let found = train_on(&dataset, &options(company.ends_on()), &mut |_| {});
    assert!(
        matches!(
            found,
            Err(TrainingError::Leak {
                feature: "transfers",
                ..
            })
        ),
        "{found:?}"
    );
}

#[test]
fn a_small_company_gets_the_prior_at_its_own_level_as_far_as_its_history_speaks() {
    let shared = prior::prior().expect("the committed prior");
    let options = options(on(2025, 1, 1));
    let rows = |places: usize| Dataset::build(&prior::company(4, places).histories(), on(2025, 1, 1), &mut |_| {});
    let adapted = adapt(&shared, &rows(50), &options).expect("an adapted model");
    assert!(matches!(&adapted.card.origin, Origin::Adapted { from } if *from == shared.version));
    assert!(adapted.hazard.shift.abs() < 0.7, "{}", adapted.hazard.shift);
    assert!(
        adapted
            .card
            .limits
            .iter()
            .any(|limit| limit.contains("too little history"))
    );

    // Where nobody leaves, the level sinks, but not to nothing.
    let mut quiet = rows(50);
    for row in &mut quiet.rows {
        row.end = crate::features::SpellEnd::Open;
    }
    let calm = adapt(&shared, &quiet, &options).expect("an adapted model");
    let expected: f64 = quiet
        .labelled(Window::Month)
        .map(|(row, _)| shared.hazard.probability(&row.x, row.cutoff, 30))
        .sum();
    assert!((calm.hazard.shift - (10.0 / (10.0 + expected)).ln()).abs() < 1e-6);
    let (row, _) = quiet.labelled(Window::Month).next().expect("a row");
    let level = |artifact: &Artifact| artifact.hazard.probability(&row.x, row.cutoff, 180);
    assert!(level(&calm) < level(&shared) && level(&calm) > 0.0);

    assert!(matches!(
        adapt(&shared, &rows(1), &options),
        Err(TrainingError::NotEnoughHistory { .. })
    ));
}

#[test]
fn longer_horizons_are_likelier_and_all_come_from_one_model() {
    let shared = prior::prior().expect("the committed prior");
    let company = prior::company(6, 100);
    let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
    for row in dataset.rows.iter().step_by(7) {
        let of = |days| shared.hazard.probability(&row.x, row.cutoff, days);
        assert!(
            of(90) < of(180) && of(180) < of(365),
            "{} {} {}",
            of(90),
            of(180),
            of(365)
        );
        let score = shared.score(&row.x, row.cutoff);
        assert_eq!(score.probability, of(180));
        let sum = score.contributions.iter().fold(score.base, |sum, (_, part)| sum + part);
        assert!((sum - score.log_odds).abs() < 1e-9);
    }
}
