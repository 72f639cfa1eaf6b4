use std::collections::{BTreeMap, BTreeSet};

use chrono::Timelike;

use super::*;
use crate::{
    prior,
    synthetic::{Fidelity, Scenario, Trap},
};

fn lived(places: usize, traps: &[Trap]) -> Lived {
    let scenario = Scenario {
        fidelity: Fidelity::Full,
        traps: traps.to_vec(),
        ..Scenario::new(prior::company(21, places))
    };
    scenario.live(&mut |_| {})
}

fn export(seed: u64) -> Export {
    Export {
        seed,
        peaks: Peaks::default(),
        payslips: true,
    }
}

fn text(lived: &Lived, export: &Export) -> String {
    let mut out = Vec::new();
    let told = lived
        .write_lines(export, &mut out, &mut |_, _| {})
        .expect("memory is writable");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().count(), told);
    text
}

fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect()
}

#[test]
fn a_day_has_the_rush_hours_of_the_facts() {
    let (peaks, mut random) = (Peaks::default(), Random::seeded(1));
    let mut hours = [0_u32; 24];
    for _ in 0..100_000 {
        hours[peaks.time_of_day(Origin::Work, &mut random).hour() as usize] += 1;
    }
    let share = |from: usize, to: usize| f64::from(hours[from..to].iter().sum::<u32>()) / 100_000.0;
    // .35 * .913 of the first rush, and an hour of nine of what comes at any time.
    assert!((share(8, 10) - 0.347).abs() < 0.01, "{}", share(8, 10));
    assert!((share(2, 3) - 0.05).abs() < 0.01, "{}", share(2, 3));
    assert!(share(20, 24) + share(0, 2) < 0.005);
    for (origin, hour) in [
        (Origin::MeritRound, 6),
        (Origin::Payroll, 18),
        (Origin::Timesheets, 10),
        (Origin::Import, 2),
    ] {
        assert!(
            (0..1_000).all(|_| peaks.time_of_day(origin, &mut random).hour() == hour),
            "{origin:?}"
        );
    }
}

#[test]
fn monday_is_the_busiest_day() {
    let mut random = Random::seeded(2);
    let mut days = [0.0_f64; 7];
    for _ in 0..100_000 {
        days[weekday(random.unit()) as usize] += 1.0;
    }
    let (first, last) = (days[0] / days[2], days[4] / days[2]);
    assert!((first - 1.15).abs() < 0.04 && (last - 0.90).abs() < 0.04, "{days:?}");
    assert!(days[5] + days[6] < 0.02 * 100_000.0);
    assert_eq!((weekday(0.0), weekday(1.0 - f64::EPSILON)), (0, 6));
}

#[test]
fn the_log_is_in_order_of_arrival_and_complete() {
    let lived = lived(60, &Trap::ALL);
    let text = text(&lived, &export(1));
    let lines = lines(&text);
    let mut people: BTreeMap<EmployeeId, &History> = lived
        .histories
        .iter()
        .map(|history| (history.employee, history))
        .collect();
    let (mut last, mut late) = (None, 0);
    let mut told: BTreeMap<EmployeeId, usize> = BTreeMap::new();
    for line in &lines {
        late += usize::from(Some(line.recorded_at) < last);
        last = last.max(Some(line.recorded_at));
        if line.id.contains("payslip") {
            continue;
        }
        // What a person's history tells, in its order, on its days.
        let place = told.entry(line.employee).or_default();
        let recorded = &people[&line.employee].events[*place];
        *place += 1;
        assert_eq!(line.recorded_at.date_naive(), recorded.known_on);
        let name = line.event_type.strip_prefix("employee.").expect("an employee's event");
        let whole = format!(r#"{{"type":"{name}","data":{}}}"#, line.data.get());
        let event: Event = serde_json::from_str(&whole).expect("an event of the domain");
        assert_eq!(event, recorded.event);
    }
    people.retain(|employee, history| told.get(employee) != Some(&history.events.len()));
    assert!(people.is_empty(), "somebody is not told of: {people:?}");
    let planted = |trap| lived.planted.iter().filter(move |planted| planted.trap == trap).count();
    assert_eq!(late, planted(Trap::OutOfOrder));

    let ids: BTreeSet<&str> = lines.iter().map(|line| line.id.as_str()).collect();
    assert_eq!(lines.len() - ids.len(), planted(Trap::Duplicates));
    assert!(planted(Trap::Duplicates) > 3);
}

#[test]
fn payslips_come_in_ten_minutes_and_only_if_wanted() {
    let lived = lived(50, &[]);
    let with = text(&lived, &export(1));
    let slips: Vec<DateTime<FixedOffset>> = lines(&with)
        .iter()
        .filter(|line| line.id.contains("payslip"))
        .map(|line| line.recorded_at)
        .collect();
    let per_month = slips.len() as f64 / 36.0;
    assert!((40.0..50.5).contains(&per_month), "{per_month}");
    assert!(
        slips
            .iter()
            .all(|at| at.hour() == 18 && at.minute() < 10 && at.weekday().num_days_from_monday() < 5)
    );
    let without = Export {
        payslips: false,
        ..export(1)
    };
    assert_eq!(text(&lived, &without).lines().count(), lines(&with).len() - slips.len());
}

#[test]
fn a_seed_is_a_log_and_a_place_has_its_own_time() {
    let lived = lived(20, &[]);
    assert_eq!(text(&lived, &export(1)), text(&lived, &export(1)));
    assert_ne!(text(&lived, &export(1)), text(&lived, &export(2)));
    let mut east = export(1);
    east.peaks.utc_offset = FixedOffset::east_opt(9 * 3_600).expect("Tokyo");
    let there = text(&lived, &east);
    let (here, there) = (text(&lived, &export(1)), there);
    for (here, there) in lines(&here).iter().zip(lines(&there)) {
        assert_eq!(here.id, there.id);
        assert_eq!(here.recorded_at.naive_local(), there.recorded_at.naive_local());
        assert_eq!((here.recorded_at - there.recorded_at).num_hours(), 9);
    }
}
