use super::*;

fn on(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day")
}

fn options(today: Date) -> Options {
    Options::new(today, 42, Timestamp::UNIX_EPOCH)
}

#[test]
fn too_little_to_learn_from_says_what_is_missing() {
    let small = prior::company(1, 60);
    let people = train(&small.histories(), &options(small.ends_on()), &mut |_| {});
    assert!(matches!(people, Err(TrainingError::TooFewPeople { have: 60..=200 })));

    let larger = prior::company(1, 250);
    let early = train(&larger.histories(), &options(on(2022, 10, 1)), &mut |_| {});
    assert!(matches!(early, Err(TrainingError::TooFewLeavers { .. })), "{early:?}");
    assert!(early.expect_err("an error").to_string().contains("at least 50"));

    let large = prior::company(1, 1_200);
    let short = train(&large.histories(), &options(on(2022, 11, 1)), &mut |_| {});
    assert!(matches!(short, Err(TrainingError::HistoryTooShort { .. })), "{short:?}");
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
    assert!(artifact.version.starts_with("logistic-1970-01-01-"));
    assert_eq!(
        (card.data.log_position, card.pooled_prior, card.horizon_days),
        (42, false, HORIZON_DAYS)
    );
    assert!(card.data.people >= PEOPLE_MIN && card.data.leavers >= LEAVERS_MIN);
    let evaluation = &card.evaluation;
    assert!((evaluation.test_from - evaluation.train_until).num_days() >= i64::from(HORIZON_DAYS));
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
    assert!(told.len() > fits && fits >= 3);
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
    let limits = limits(&options(company.ends_on()), &evaluation);
    assert!(limits.iter().any(|limit| limit.contains("do not promote it")));
    assert!(limits.iter().any(|limit| limit.contains("keep it in place")));
}
