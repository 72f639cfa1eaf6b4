use domain::{
    Aggregate,
    employee::{Employee, Voluntariness},
};

use super::*;
use crate::{features::FeatureState, prior};

fn exits(histories: &[History], voluntary: bool) -> usize {
    let is_exit = |recorded: &&Recorded| matches!(&recorded.event, Event::Terminated(ending) if (ending.ended.voluntariness == Voluntariness::Voluntary) == voluntary);
    histories
        .iter()
        .flat_map(|history| &history.events)
        .filter(is_exit)
        .count()
}

#[test]
fn people_come_and_go_at_the_usual_rates() {
    let company = prior::company(11, 1_500);
    let histories = company.histories();
    let per_year = |count: usize| count as f64 / (1_500.0 * 3.0);
    let (voluntary, other) = (per_year(exits(&histories, true)), per_year(exits(&histories, false)));
    let events: usize = histories.iter().map(|history| history.events.len()).sum();
    println!(
        "voluntary {voluntary:.3}, other {other:.3}, people {}, events {events}",
        histories.len()
    );
    assert!((0.11..0.15).contains(&voluntary), "{voluntary}");
    assert!((0.02..0.06).contains(&other), "{other}");
    assert!(
        histories
            .iter()
            .flat_map(|history| &history.events)
            .any(|recorded| matches!(recorded.event, Event::Rehired { .. }))
    );
    let late = |recorded: &&Recorded| {
        recorded.known_on > recorded.event.effective_on() && recorded.known_on > company.begins_on
    };
    let share = histories
        .iter()
        .flat_map(|history| &history.events)
        .filter(late)
        .count() as f64
        / events as f64;
    assert!((0.02..0.12).contains(&share), "{share}");
}

#[test]
fn a_seed_is_a_company() {
    assert_eq!(prior::company(11, 30).histories(), prior::company(11, 30).histories());
    assert_ne!(prior::company(11, 30).histories(), prior::company(12, 30).histories());
}

#[test]
fn the_domain_and_the_features_agree_on_who_works_here() {
    let company = prior::company(11, 60);
    for history in company.histories() {
        let employee = Employee::fold(history.events.iter().map(|recorded| &recorded.event));
        let Employee::OnFile(file) = employee else {
            panic!("everybody was hired")
        };
        let mut state = FeatureState::default();
        for recorded in &history.events {
            state.apply(&recorded.event);
        }
        for day in company
            .begins_on
            .iter_days()
            .step_by(5)
            .take_while(|day| *day < company.ends_on())
        {
            let employed = file
                .standing
                .at(day)
                .is_some_and(domain::employee::Standing::is_employed);
            assert_eq!(state.employed_since(day).is_some(), employed, "{day}");
        }
    }
}

#[test]
fn the_histories_of_the_committed_prior_are_unchanged() {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    for history in prior::company(2026, 300).histories() {
        hasher.update(history.employee.to_string());
        for recorded in history.events {
            hasher.update(recorded.known_on.to_string());
            hasher.update(serde_json::to_vec(&recorded.event).expect("an event"));
        }
    }
    assert_eq!(
        format!("{:x}", hasher.finalize()),
        "0d4b9ccf2ee4fedb935fa80f1675061c4461b11bfc726bf56ba108d9de2e2b90",
        "what the prior was trained on has changed: undo it, or make the prior anew and this digest too"
    );
}
