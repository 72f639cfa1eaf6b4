use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use domain::{
    Aggregate,
    employee::{Employee, Voluntariness},
};

use super::*;
use crate::{
    dataset::Dataset,
    dataset::Window,
    features::FeatureState,
    metrics, prior,
    synthetic::{optimum::expected_auc, traps},
    train::HORIZON_DAYS,
};

fn scenario(seed: u64, places: usize, fidelity: Fidelity, traps: &[Trap]) -> Scenario {
    Scenario {
        fidelity,
        traps: traps.to_vec(),
        ..Scenario::new(prior::company(seed, places))
    }
}

fn full(seed: u64, places: usize, traps: &[Trap]) -> Lived {
    scenario(seed, places, Fidelity::Full, traps).live(&mut |_| {})
}

fn events(lived: &Lived) -> impl Iterator<Item = &Event> {
    lived
        .histories
        .iter()
        .flat_map(|history| &history.events)
        .map(|recorded| &recorded.event)
}

fn exits(lived: &Lived, wanted: Voluntariness) -> Vec<Date> {
    let mut days = Vec::new();
    for event in events(lived) {
        if let Event::Terminated(ending) = event
            && ending.ended.voluntariness == wanted
        {
            days.push(ending.on);
        }
    }
    days
}

fn share(of: usize, all: usize) -> f64 {
    of as f64 / all as f64
}

#[test]
fn nothing_switched_on_is_the_company_of_the_prior() {
    let company = prior::company(11, 200);
    let mut scenario = Scenario::new(company);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    assert_eq!(lived.histories, company.histories());
    assert!(lived.planted.is_empty() && !lived.truths.is_empty());
}

#[test]
fn a_seed_is_a_life() {
    assert_eq!(full(3, 100, &Trap::ALL), full(3, 100, &Trap::ALL));
    assert_ne!(full(3, 100, &Trap::ALL).histories, full(4, 100, &Trap::ALL).histories);
}

#[test]
fn traps_are_known_by_their_names() {
    for trap in Trap::ALL {
        assert_eq!(trap.name().parse(), Ok(trap));
    }
    let error = "lobster".parse::<Trap>().expect_err("not a trap").to_string();
    assert!(error.contains("lobster") && error.contains("backdated-pay"), "{error}");
}

/// A planted event taken out again leaves the life as it was.
#[test]
fn traps_that_only_add_to_the_log_leave_the_life_alone() {
    let bare = full(5, 300, &[]);
    let added = [Trap::Offboarding, Trap::Duplicates, Trap::Protected, Trap::Noise];
    let lived = full(5, 300, &added);
    let planted: BTreeSet<(usize, usize)> = lived
        .planted
        .iter()
        .map(|planted| (planted.person, planted.event))
        .collect();
    for (person, (history, expected)) in lived.histories.iter().zip(&bare.histories).enumerate() {
        let kept = history
            .events
            .iter()
            .enumerate()
            .filter(|(event, _)| !planted.contains(&(person, *event)));
        assert!(kept.map(|(_, recorded)| recorded).eq(&expected.events));
    }
    for trap in added {
        assert!(lived.planted.iter().any(|planted| planted.trap == trap), "{trap}");
    }
}

#[test]
fn each_trap_is_there_at_its_rate() {
    let lived = full(6, 1_500, &Trap::ALL);
    let count = |trap| lived.planted.iter().filter(|planted| planted.trap == trap).count();
    let all = events(&lived).count();
    let pay_changes = events(&lived)
        .filter(|event| matches!(event, Event::PayChanged(_)))
        .count();
    let rates = [
        (
            "back-dated",
            share(count(Trap::BackdatedPay), pay_changes),
            traps::BACKDATED_SHARE,
        ),
        (
            "duplicates",
            share(count(Trap::Duplicates), all),
            traps::DUPLICATE_SHARE,
        ),
        (
            "out of order",
            share(count(Trap::OutOfOrder), all),
            traps::OUT_OF_ORDER_SHARE,
        ),
    ];
    for (what, found, expected) in rates {
        println!("{what}: {found:.5}");
        assert!((found / expected - 1.0).abs() < 0.3, "{what}: {found}");
    }
    assert_eq!(count(Trap::Protected), lived.histories.len());
    assert_eq!(count(Trap::Noise), lived.histories.len());

    let recorded = |planted: &Planted, event: usize| lived.histories[planted.person].events[event].clone();
    for planted in &lived.planted {
        let this = recorded(planted, planted.event);
        match planted.trap {
            Trap::BackdatedPay => {
                let wrong = recorded(planted, planted.of.expect("what it corrects"));
                assert!((this.known_on - wrong.known_on).num_days() > 30);
                assert_eq!(this.event.effective_on(), wrong.event.effective_on());
                assert_ne!(this.event, wrong.event);
            }
            Trap::Duplicates => {
                let first = recorded(planted, planted.of.expect("what it repeats"));
                assert_eq!(this.event, first.event);
                assert!((0..=3).contains(&(this.known_on - first.known_on).num_days()));
            }
            Trap::OutOfOrder => assert!(recorded(planted, planted.event - 1).known_on > this.known_on),
            Trap::Offboarding | Trap::Protected | Trap::Noise => {}
            Trap::Layoff | Trap::OfficeOrder | Trap::Flipped => panic!("nothing is planted for {}", planted.trap),
        }
    }
}

/// The field gives the leavers away before they give notice: whoever reads it is found out.
#[test]
fn offboarding_fields_come_before_the_exit() {
    let lived = full(7, 400, &[Trap::Offboarding]);
    let (mut tasks, mut notices) = (0, 0);
    for history in &lived.histories {
        let mut known = Vec::new();
        for recorded in &history.events {
            if let Event::SourceFieldsKept { fields, on } = &recorded.event
                && fields
                    .open()
                    .is_some_and(|fields| fields.contains_key("offboarding_task"))
            {
                known.push(*on);
            }
        }
        tasks += known.len();
        for recorded in &history.events {
            if let Event::NoticeGiven(notice) = &recorded.event {
                notices += 1;
                assert!(known.iter().any(|on| (0..=10).contains(&(notice.on - *on).num_days())));
            }
        }
    }
    assert!(notices > 100 && tasks >= notices, "{tasks} tasks, {notices} notices");
}

/// No model input reads what the traps add: rows of the same cut-offs are the same, value by value.
#[test]
fn features_do_not_see_fields_demographics_and_order() {
    let quiet = [Trap::Offboarding, Trap::Protected, Trap::Noise, Trap::OutOfOrder];
    let (bare, trapped) = (full(8, 150, &[]), full(8, 150, &quiet));
    let rows = |lived: &Lived| {
        let data = Dataset::build(&lived.histories, lived.until, &mut |_| {});
        let bits = |row: &crate::dataset::Row| {
            (
                row.cutoff,
                row.end,
                row.x.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            )
        };
        data.rows.iter().map(bits).collect::<Vec<_>>()
    };
    assert_eq!(rows(&bare), rows(&trapped));
    assert!(trapped.planted.iter().any(|planted| planted.trap == Trap::OutOfOrder));
}

#[test]
fn the_calendar_of_companies_is_kept() {
    let lived = full(9, 1_000, &[]);
    let mut hires = Vec::new();
    for event in events(&lived) {
        if let Event::Hired(hired) = event
            && hired.on > lived.begins_on
        {
            hires.push(hired.on);
        }
        if let Event::NoticeGiven(notice) = event {
            assert_eq!(notice.on.weekday(), chrono::Weekday::Mon);
        }
    }
    let on_the_day = hires.iter().filter(|day| matches!(day.day(), 1 | 15)).count();
    let on_the_day = share(on_the_day, hires.len());
    assert!((0.65..0.85).contains(&on_the_day), "{on_the_day}");
    // The first day without work is the first of a month.
    let gone = exits(&lived, Voluntariness::Voluntary);
    let at_month_end = share(gone.iter().filter(|day| day.day() == 1).count(), gone.len());
    assert!((0.55..0.70).contains(&at_month_end), "{at_month_end}");

    for history in &lived.histories {
        let Employee::OnFile(file) = Employee::fold(history.events.iter().map(|recorded| &recorded.event)) else {
            panic!("everybody was hired")
        };
        let mut state = FeatureState::default();
        for recorded in &history.events {
            state.apply(&recorded.event);
        }
        for day in lived
            .begins_on
            .iter_days()
            .step_by(9)
            .take_while(|day| *day < lived.until)
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
fn turnover_and_promotions_are_those_of_the_facts() {
    let lived = full(10, 3_000, &[]);
    let per_year = |count: usize| count as f64 / 9_000.0;
    let voluntary = per_year(exits(&lived, Voluntariness::Voluntary).len());
    let involuntary = per_year(exits(&lived, Voluntariness::Involuntary).len());
    let promoted =
        events(&lived).filter(|event| matches!(event, Event::Promoted(moved) if moved.on >= lived.begins_on));
    let promoted = per_year(promoted.count());
    println!("voluntary {voluntary:.4}, involuntary {involuntary:.4}, promoted {promoted:.4}");
    assert!((0.11..0.16).contains(&voluntary), "{voluntary}");
    assert!((0.025..0.035).contains(&involuntary), "{involuntary}");
    assert!((0.05..0.12).contains(&promoted), "{promoted}");
}

#[test]
fn a_layoff_is_a_quarter_of_many_dismissals() {
    let scenario = scenario(11, 2_000, Fidelity::Full, &[Trap::Layoff]);
    let (from, to) = scenario.layoff().expect("a layoff");
    let lived = scenario.live(&mut |_| {});
    let dismissed = exits(&lived, Voluntariness::Involuntary);
    let within = share(dismissed.iter().filter(|day| (from..to).contains(day)).count(), 2_000);
    assert!((0.08..0.13).contains(&within), "{within}");
    let before = share(dismissed.iter().filter(|day| **day < from).count(), 2_000) / 2.0;
    assert!(before < 0.04, "{before}");
    assert!(Scenario::new(scenario.company).layoff().is_none());
}

#[test]
fn an_office_order_makes_those_whom_it_reaches_look_around() {
    let mut scenario = scenario(12, 3_000, Fidelity::Full, &[Trap::OfficeOrder]);
    scenario.truths = true;
    let on = scenario.office_order().expect("an order");
    let lived = scenario.live(&mut |_| {});
    let is_order = |event: &Event| matches!(event, Event::SourceFieldsKept { on: day, .. } if *day == on);
    let reached: BTreeSet<EmployeeId> = lived
        .histories
        .iter()
        .filter(|history| history.events.iter().any(|recorded| is_order(&recorded.event)))
        .map(|history| history.employee)
        .collect();
    assert!((800..1_100).contains(&reached.len()), "{}", reached.len());
    let cutoff = lived
        .truths
        .iter()
        .map(|truth| truth.cutoff)
        .find(|cutoff| *cutoff > on)
        .expect("a month");
    let rate = |reached_too: bool| {
        let of = lived.truths.iter().filter(|truth| truth.cutoff == cutoff);
        let rates: Vec<f64> = of
            .filter(|truth| reached.contains(&truth.employee) == reached_too)
            .map(|truth| truth.looking_rate)
            .collect();
        rates.iter().sum::<f64>() / rates.len() as f64
    };
    let times = rate(true) / rate(false);
    assert!((1.5..2.3).contains(&times), "{times}");
}

/// Whoever trusts the usual signs is wrong here.
#[test]
fn flipped_coefficients_turn_the_signs() {
    let prior = prior::prior().expect("a whole artifact");
    let auc = |traps: &[Trap]| {
        let lived = full(13, 1_500, traps);
        let gone = exits(&lived, Voluntariness::Voluntary).len() as f64 / 4_500.0;
        assert!((0.08..0.20).contains(&gone), "{gone}");
        let data = Dataset::build(&lived.histories, lived.until, &mut |_| {});
        metrics::roc_auc(&crate::train::judge(&prior.hazard, &data, HORIZON_DAYS)).expect("both outcomes")
    };
    let (usual, flipped) = (auc(&[]), auc(&[Trap::Flipped]));
    println!("the prior: AUC {usual:.3} as usual, {flipped:.3} flipped");
    assert!(usual > 0.60 && flipped < 0.50, "{usual} and {flipped}");
}

#[test]
fn bias_keeps_women_from_being_promoted_and_nothing_else_does() {
    let ratio = |promotion_bias: f64| {
        let mut scenario = scenario(14, 4_000, Fidelity::Full, &[Trap::Protected]);
        scenario.promotion_bias = promotion_bias;
        let lived = scenario.live(&mut |_| {});
        let (mut people, mut promotions) = ([0.0; 2], [0.0; 2]);
        for history in &lived.histories {
            let mut group = 0;
            for recorded in &history.events {
                if let Event::DemographicsChanged { demographics, .. } = &recorded.event {
                    let gender = demographics.open().and_then(|known| known.gender.as_deref());
                    group = usize::from(gender == Some("Female"));
                    people[group] += 1.0;
                }
                if matches!(recorded.event, Event::Promoted(_)) && recorded.known_on > lived.begins_on {
                    promotions[group] += 1.0;
                }
            }
        }
        (promotions[1] / people[1]) / (promotions[0] / people[0])
    };
    let (fair, biased) = (ratio(0.0), ratio(3.0));
    println!("promotions of women against those of men: fair {fair:.3}, biased {biased:.3}");
    assert!((0.85..1.15).contains(&fair), "{fair}");
    assert!((0.30..0.55).contains(&biased), "{biased}");
}

/// The oracle of the facts reaches .79 to .83 with everything known, and the search alone .68.
#[test]
fn the_truth_orders_people_better_than_any_model_can() {
    let mut scenario = scenario(15, 4_000, Fidelity::Full, &[]);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    let truths: BTreeMap<(EmployeeId, Date), Truth> = lived
        .truths
        .iter()
        .map(|truth| ((truth.employee, truth.cutoff), *truth))
        .collect();
    let data = Dataset::build(&lived.histories, lived.until, &mut |_| {});
    let known: Vec<(&Truth, bool)> = data
        .labelled(Window::Days(HORIZON_DAYS))
        .filter_map(|(row, y)| Some((truths.get(&(row.employee, row.cutoff))?, y)))
        .collect();
    let labelled = data.labelled(Window::Days(HORIZON_DAYS)).count();
    assert!(share(known.len(), labelled) > 0.99, "{} of {labelled}", known.len());
    let judged = |of: &dyn Fn(&Truth) -> f64| -> Vec<metrics::Judged> {
        known.iter().map(|(truth, y)| (of(truth), *y)).collect()
    };
    let auc = |of: &dyn Fn(&Truth) -> f64| metrics::roc_auc(&judged(of)).expect("both outcomes");
    let frozen = judged(&|truth| truth.frozen_probability(HORIZON_WEEKS));
    let (whole, rate) = (
        auc(&|truth| truth.frozen_probability(HORIZON_WEEKS)),
        auc(&|truth| truth.looking_rate),
    );
    let searching = auc(&|truth| if truth.searching { 1.0 } else { 0.0 });
    let ratio = metrics::observed_over_expected(&frozen).expect("some expected");
    let p: Vec<f64> = frozen.iter().map(|(p, _)| *p).collect();
    let expected = expected_auc(&p, &p).expect("some leave");
    println!("everything {whole:.3} (expected {expected:.3}), rate {rate:.3}, search {searching:.3}, O/E {ratio:.3}");
    assert!((0.76..0.85).contains(&whole), "{whole}");
    assert!((0.65..0.76).contains(&rate), "{rate}");
    assert!((0.62..0.74).contains(&searching), "{searching}");
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
}

#[test]
fn truths_are_written_one_a_line() {
    let mut scenario = scenario(17, 40, Fidelity::Full, &[]);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    let mut out = Vec::new();
    lived.write_truths(&mut out).expect("memory is writable");
    let text = String::from_utf8(out).expect("text");
    let first = text.lines().nth(1).expect("a truth");
    let cells: Vec<&str> = first.split(',').collect();
    let truth = lived.truths[0];
    assert_eq!(cells[..2], [truth.employee.to_string(), "2022-02-01".to_owned()]);
    assert_eq!(cells[4].parse(), Ok(truth.frozen_probability(HORIZON_WEEKS)));
    assert_eq!(text.lines().count(), lived.truths.len() + 1);
}

/// What is written is what training sees, and its truth is that of the same people.
#[test]
fn rows_are_written_with_features_outcomes_and_truths() {
    let mut scenario = scenario(18, 60, Fidelity::Full, &[]);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    let mut out = Vec::new();
    let rows = lived.write_rows(&mut out).expect("memory is writable");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().count(), rows + 1);
    let data = Dataset::build(&lived.histories, lived.until, &mut |_| {});
    let labelled: BTreeMap<(String, String), (&crate::dataset::Row, bool)> = data
        .labelled(Window::Days(182))
        .map(|(row, y)| ((row.employee.to_string(), row.cutoff.to_string()), (row, y)))
        .collect();
    assert!(
        rows > 1_000 && share(rows, labelled.len()) > 0.98,
        "{rows} of {}",
        labelled.len()
    );
    let truths: BTreeMap<(String, String), &Truth> = lived
        .truths
        .iter()
        .map(|truth| ((truth.employee.to_string(), truth.cutoff.to_string()), truth))
        .collect();
    let header: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    assert_eq!(header.len(), 2 + crate::FEATURES.len() + 2);
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let key = (cells[0].to_owned(), cells[1].to_owned());
        let (row, y) = labelled[&key];
        for (cell, value) in cells[2..].iter().zip(&row.x) {
            assert_eq!(cell.parse().ok(), Some(*value).filter(|value| value.is_finite()));
        }
        let [.., label, truth] = cells[..] else {
            panic!("{line}")
        };
        assert_eq!(label, if y { "1" } else { "0" });
        assert_eq!(truth.parse(), Ok(truths[&key].frozen_probability(26)));
    }
}

/// A data set of so many people leaves out their first months, and the open windows of the last ones are no rows.
#[test]
fn a_large_company_has_rows_of_all_months() {
    let mut scenario = scenario(19, 12_000, Fidelity::Prior, &[]);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    let whole = Dataset::build(&lived.histories, lived.until, &mut |_| {});
    assert!(
        whole.rows[0].cutoff > lived.truths[0].cutoff,
        "too few people to try this with"
    );
    let mut out = Vec::new();
    let rows = lived.write_rows(&mut out).expect("memory is writable");
    let text = String::from_utf8(out).expect("text");
    let cutoffs: BTreeSet<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(cutoffs.first(), Some(&"2022-02-01"));
    assert_eq!((cutoffs.len(), rows), (30, text.lines().count() - 1));
}

#[test]
fn the_chain_of_the_oracle_is_that_of_the_simulation() {
    let truth = |searching| Truth {
        employee: EmployeeId::from_uuid(Default::default()),
        cutoff: Date::default(),
        looking_rate: 0.5,
        searching,
    };
    let mut random = crate::synthetic::Random::seeded(16);
    for searching in [false, true] {
        let mut left = 0;
        for _ in 0..40_000 {
            let mut looks = searching;
            for _ in 0..26 {
                if !looks {
                    looks = random.happens_this_week(0.5);
                } else if random.happens(0.055) {
                    left += 1;
                    break;
                } else if random.happens(0.035) {
                    looks = false;
                }
            }
        }
        let (found, expected) = (share(left, 40_000), truth(searching).frozen_probability(HORIZON_WEEKS));
        assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
    }
    assert_eq!(truth(true).frozen_probability(0), 0.0);
}

/// Lives through three years with everything on and writes the log; tells how many lines it has.
fn everything(places: usize) -> usize {
    let begin = std::time::Instant::now();
    let mut scenario = scenario(1, places, Fidelity::Full, &Trap::ALL);
    scenario.truths = true;
    let lived = scenario.live(&mut |_| {});
    println!(
        "{places} places: {} people, {} events of {} bytes, {} truths lived in {:?}",
        lived.histories.len(),
        events(&lived).count(),
        size_of::<crate::dataset::Recorded>(),
        lived.truths.len(),
        begin.elapsed()
    );
    let begin = std::time::Instant::now();
    let export = crate::synthetic::peaks::Export {
        seed: 1,
        peaks: crate::synthetic::Peaks::default(),
        payslips: true,
    };
    let lines = lived.write_lines(&export, &mut std::io::sink(), &mut |_, _| {});
    let lines = lines.expect("a sink takes all");
    println!("{lines} lines written in {:?}", begin.elapsed());
    lines
}

#[test]
fn companies_of_fifty_and_of_a_thousand() {
    for places in [50, 1_000] {
        let per_year = share(everything(places), places * 3);
        assert!((30.0..45.0).contains(&per_year), "{per_year}");
    }
}

/// The figures of the README: `/usr/bin/time -v cargo test --release -p ml-pipeline hundred_thousand_people_for -- --ignored
/// --nocapture`.
#[test]
#[ignore = "takes a minute and 5.2 GB of memory"]
fn a_hundred_thousand_people_for_three_years() {
    assert!(everything(100_000) > 10_000_000);
}
