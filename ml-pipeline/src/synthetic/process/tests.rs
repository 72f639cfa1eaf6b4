use super::*;
use crate::synthetic::Random;

/// Nobody special on a day like any other.
const PLAIN: Circumstances = Circumstances {
    tenure_years: 10.0,
    years_since_raise: 0.0,
    years_since_promotion: 0.0,
    weeks_since_manager_change: None,
    compa_ratio: 1.0,
    engagement: 0.0,
    rating: Some(3),
    overtime: false,
    team_exits: 0.0,
    weeks_since_office_order: None,
    weeks_since_recognition: None,
    season: Season::Rest,
    frailty: 1.0,
};

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// Every term of the facts' formula, one at a time.
#[test]
fn eta_is_that_of_the_facts() {
    let base = Process::FACTS.search_log_rate(&PLAIN);
    // Ten years are far from every bump.
    assert!((base - (-1.95 - 0.30 * 11.0_f64.ln())).abs() < 1e-9, "{base}");
    #[track_caller]
    fn effect(changed: Circumstances, expected: f64) {
        close(
            Process::FACTS.search_log_rate(&changed) - Process::FACTS.search_log_rate(&PLAIN),
            expected,
        );
    }
    let tenure = |years: f64| {
        let bump = |at: f64| 0.6 * (-((years - at) / 0.12_f64).powi(2)).exp();
        0.9 * (-(years - 0.6).abs() / 0.35).exp() - 0.30 * ((1.0 + years) / 11.0).ln() + bump(1.05) + bump(4.05)
    };
    for years in [0.0, 0.6, 1.05, 4.05] {
        let effect_of_tenure = |tenure_years| Circumstances { tenure_years, ..PLAIN };
        assert!((Process::FACTS.search_log_rate(&effect_of_tenure(years)) - base - tenure(years)).abs() < 1e-6);
    }
    effect(
        Circumstances {
            compa_ratio: 0.9,
            ..PLAIN
        },
        0.25,
    );
    effect(
        Circumstances {
            years_since_raise: 2.0,
            ..PLAIN
        },
        0.44,
    );
    effect(
        Circumstances {
            years_since_raise: 9.0,
            ..PLAIN
        },
        0.66,
    );
    effect(
        Circumstances {
            years_since_promotion: 1.5,
            ..PLAIN
        },
        0.0,
    );
    effect(
        Circumstances {
            years_since_promotion: 3.5,
            ..PLAIN
        },
        0.44,
    );
    effect(
        Circumstances {
            years_since_promotion: 9.0,
            ..PLAIN
        },
        0.88,
    );
    let fade = |scale: f64| (-8.0 / scale).exp();
    effect(
        Circumstances {
            weeks_since_manager_change: Some(8.0),
            ..PLAIN
        },
        0.60 * fade(16.0),
    );
    effect(
        Circumstances {
            weeks_since_office_order: Some(8.0),
            ..PLAIN
        },
        0.70 * fade(26.0),
    );
    effect(
        Circumstances {
            weeks_since_recognition: Some(8.0),
            ..PLAIN
        },
        -0.25 * fade(8.0),
    );
    effect(
        Circumstances {
            engagement: 2.0,
            ..PLAIN
        },
        -0.90,
    );
    effect(
        Circumstances {
            overtime: true,
            ..PLAIN
        },
        0.35,
    );
    effect(
        Circumstances {
            team_exits: 1.0,
            ..PLAIN
        },
        0.25 * 2.0_f64.ln(),
    );
    effect(Circumstances { frailty: 2.0, ..PLAIN }, 2.0_f64.ln());
    for (rating, expected) in [(1, 0.30), (2, 0.30), (4, 0.0), (5, 0.20)] {
        effect(
            Circumstances {
                rating: Some(rating),
                ..PLAIN
            },
            expected,
        );
    }
    for (week, month, expected) in [
        (1, 1, 0.20),
        (1, 12, -0.35),
        (10, 3, 0.30),
        (15, 4, 0.30),
        (16, 4, 0.0),
        (49, 12, -0.35),
    ] {
        effect(
            Circumstances {
                season: Season::of(week, month),
                ..PLAIN
            },
            expected,
        );
    }
}

#[test]
fn flipped_effects_are_turned_around_their_mean_and_the_frailty_is_not() {
    let flipped = Process {
        coefficients: Coefficients::Flipped,
        ..Process::FACTS
    };
    for changed in [
        PLAIN,
        Circumstances {
            overtime: true,
            compa_ratio: 0.8,
            ..PLAIN
        },
    ] {
        let sum = flipped.search_log_rate(&changed) + Process::FACTS.search_log_rate(&changed);
        close(sum, 2.0 * (-1.95 + 0.43));
    }
    let frail = Circumstances { frailty: 3.0, ..PLAIN };
    close(
        flipped.search_log_rate(&frail) - flipped.search_log_rate(&PLAIN),
        3.0_f64.ln(),
    );
}

#[test]
fn the_promotion_logit_is_that_of_the_facts() {
    const PLAIN: Candidate = Candidate {
        rating: None,
        years_in_level: 1.5,
        trainings: 0,
        performance: 0.0,
        level: 2,
        tenure_weeks: 40.0,
        woman: false,
    };
    let logit = |process: Process, candidate: Candidate| {
        let p = process.promotion_chance(&candidate);
        (p / (1.0 - p)).ln()
    };
    close(logit(Process::FACTS, PLAIN), -4.2);
    let biased = Process {
        promotion_bias: 2.0,
        ..Process::FACTS
    };
    for (process, candidate, expected) in [
        (
            Process::FACTS,
            Candidate {
                rating: Some(5),
                ..PLAIN
            },
            1.90,
        ),
        (
            Process::FACTS,
            Candidate {
                years_in_level: 2.5,
                ..PLAIN
            },
            0.8 * 1.0_f64.tanh(),
        ),
        (Process::FACTS, Candidate { trainings: 3, ..PLAIN }, 0.45),
        (Process::FACTS, Candidate { trainings: 9, ..PLAIN }, 0.60),
        (
            Process::FACTS,
            Candidate {
                performance: 1.0,
                ..PLAIN
            },
            0.35,
        ),
        (Process::FACTS, Candidate { level: 4, ..PLAIN }, -0.36),
        (
            Process::FACTS,
            Candidate {
                tenure_weeks: 39.9,
                ..PLAIN
            },
            -3.0,
        ),
        (Process::FACTS, Candidate { woman: true, ..PLAIN }, 0.0),
        (biased, Candidate { woman: true, ..PLAIN }, -0.60),
        (biased, PLAIN, 0.0),
    ] {
        close(logit(process, candidate) - -4.2, expected);
    }
}

/// The oracle's chain is the one that people walk through.
#[test]
fn the_oracle_counts_what_the_phases_do() {
    let mut random = Random::seeded(16);
    for begins in [Phase::Passive, Phase::Searching, Phase::Notice] {
        for weeks in [1, 26] {
            let noticed = |random: &mut Random| {
                let walk = (0..weeks).fold(begins, |phase, _| {
                    phase.after_a_week(0.5, &mut |chance| random.happens(chance))
                });
                walk == Phase::Notice
            };
            let found = (0..40_000).filter(|_| noticed(&mut random)).count() as f64 / 40_000.0;
            let expected = notice_chance(0.5, begins, weeks);
            assert!(
                (found - expected).abs() < 0.01,
                "{begins:?}, {weeks}: {found} is not {expected}"
            );
        }
    }
    assert_eq!(notice_chance(0.5, Phase::Searching, 0), 0.0);
    assert_eq!(notice_chance(0.5, Phase::Gone, 3), 1.0);
    // By hand: in the second week those who neither gave notice nor up.
    close(notice_chance(0.0, Phase::Searching, 2), 0.055 + 0.945 * 0.965 * 0.055);
}

#[test]
fn moods_stay_standard_normal_and_the_frail_leave_first() {
    let mut random = Random::seeded(17);
    let (mut mood, mut squares) = (0.0, 0.0);
    for _ in 0..200_000 {
        mood = next_mood(mood, random.normal());
        squares += mood * mood / 200_000.0;
    }
    assert!((squares - 1.0).abs() < 0.1, "{squares}");

    // Frailties at the start, of which a hazard of .6 leaves those that it does not hit.
    let all: Vec<f64> = (0..100_000).map(|_| random.gamma(FRAILTY_SHAPE)).collect();
    let left: Vec<f64> = all.into_iter().filter(|z| random.happens((-0.6 * z).exp())).collect();
    let mean = left.iter().sum::<f64>() / left.len() as f64;
    let expected = FRAILTY_SHAPE / frailty_rate(0.6);
    assert!((mean - expected).abs() < 0.01, "{mean} is not {expected}");
    assert_eq!(frailty_rate(0.0), FRAILTY_SHAPE);
}
