use super::*;
use chrono::Days;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 20).unwrap()
}

fn company(seed: u64, employees: usize) -> Company {
    Company::generate(&Plan::new(seed, employees, 3, today()))
}

/// Employee-years of a company within its last three years.
fn employee_years(company: &Company) -> f64 {
    let weeks = 156;
    let people: usize = (0..weeks)
        .step_by(4)
        .map(|week| company.headcount_on(today() - Days::new(7 * week)))
        .sum();
    people as f64 / (weeks as f64 / 4.0) * 3.0
}

fn terminations<'a>(company: &'a Company, kind: &'a str) -> impl Iterator<Item = &'a EmploymentStatusRow> {
    company
        .employees
        .iter()
        .flat_map(|employee| &employee.employment_status)
        .filter(move |row| row.date <= today() && row.termination_type.as_deref() == Some(kind))
}

#[test]
fn the_same_seed_gives_the_same_company() {
    let (one, same, other) = (company(7, 200), company(7, 200), company(8, 200));
    assert_eq!(format!("{one:?}"), format!("{same:?}"));
    assert_ne!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn headcount_stays_near_the_wanted_one() {
    for employees in [60, 300, 1_200] {
        let company = company(1, employees);
        for weeks in (0..150).step_by(10) {
            let headcount = company.headcount_on(today() - Days::new(7 * weeks)) as f64;
            let allowed = (employees as f64 * 0.05).max(5.0);
            assert!(
                (headcount - employees as f64).abs() <= allowed,
                "{headcount} of {employees}, {weeks} weeks ago"
            );
        }
    }
}

#[test]
fn rates_are_those_of_the_facts() {
    for seed in [42, 43] {
        assert_rates(seed);
    }
}

#[track_caller]
fn assert_rates(seed: u64) {
    let started = Instant::now();
    let company = company(seed, 1_200);
    println!("1,200 employees x 3 years in {:?}", started.elapsed());
    let years = employee_years(&company);
    let per_year = |count: usize| count as f64 / years;
    let count = |wanted: fn(&TalentRecord) -> bool| per_year(company.talent.iter().filter(|r| wanted(r)).count());
    let start = today() - Days::new(3 * 365);
    let pay = |reason: &str| {
        let rows = company.employees.iter().flat_map(|employee| &employee.compensation);
        per_year(
            rows.filter(|row| row.reason == reason && row.start_date > start && row.start_date <= today())
                .count(),
        )
    };
    let manager_changes = company
        .employees
        .iter()
        .flat_map(|employee| employee.job_info.windows(2))
        .filter(|rows| rows[0].reports_to != rows[1].reports_to && rows[1].date > start)
        .count();
    let moves = company
        .employees
        .iter()
        .flat_map(|employee| employee.job_info.windows(2))
        .filter(|rows| rows[0].location != rows[1].location && rows[1].date > start)
        .count();
    let measured = [
        (
            "voluntary exits",
            per_year(terminations(&company, "Voluntary").count()),
            0.10,
            0.16,
        ),
        (
            "involuntary exits",
            per_year(terminations(&company, "Involuntary").count()),
            0.02,
            0.042,
        ),
        ("promotions", pay("Promotion"), 0.06, 0.10),
        (
            "pay changes",
            pay("Promotion") + pay("Merit") + pay("Market Adjustment"),
            0.90,
            1.20,
        ),
        ("manager changes", per_year(manager_changes), 0.15, 0.60),
        ("transfers", per_year(moves), 0.05, 0.18),
        ("reviews", count(|r| matches!(r, TalentRecord::Review { .. })), 1.7, 2.1),
        ("surveys", count(|r| matches!(r, TalentRecord::Survey { .. })), 2.5, 3.1),
        (
            "recognitions",
            count(|r| matches!(r, TalentRecord::Recognition { .. })),
            2.5,
            3.3,
        ),
        (
            "absences",
            count(|r| matches!(r, TalentRecord::Absence { .. })),
            3.6,
            4.4,
        ),
        (
            "assessments",
            count(|r| matches!(r, TalentRecord::Assessment { .. })),
            3.5,
            4.3,
        ),
        (
            "overtime weeks",
            count(|r| matches!(r, TalentRecord::Overtime { .. })),
            7.0,
            11.0,
        ),
    ];
    for (what, rate, low, high) in measured {
        println!("{what}: {rate:.3} a year");
        assert!(
            (low..=high).contains(&rate),
            "{what}: {rate:.3} a year, not within {low}..{high}"
        );
    }
    let managers: std::collections::BTreeSet<_> = company
        .employees
        .iter()
        .filter(|employee| employee.is_employed_on(today()))
        .filter_map(|employee| employee.job_on(today())?.reports_to)
        .collect();
    let span = company.headcount_on(today()) as f64 / managers.len() as f64;
    println!("span of control: {span:.1}");
    assert!((6.0..=11.0).contains(&span));
}

/// Every current manager is employed, there is one root, and everybody reaches it.
#[track_caller]
fn assert_reporting_lines(company: &Company) {
    let day = company.today;
    let mut roots = 0;
    for employee in company.employees.iter().filter(|employee| employee.is_employed_on(day)) {
        let mut at = employee;
        for depth in 0.. {
            assert!(depth < 10, "{} is in a cycle or too deep", employee.id);
            let Some(above) = at.job_on(day).and_then(|row| row.reports_to) else {
                break;
            };
            at = company.employee(above).expect("a manager exists");
            assert!(
                at.is_employed_on(day),
                "{} reports to {}, who has left",
                employee.id,
                above
            );
        }
        roots += usize::from(employee.job_on(day).is_some_and(|row| row.reports_to.is_none()));
    }
    assert_eq!(roots, 1);
}

#[test]
fn every_manager_exists_and_nobody_is_in_a_cycle() {
    // In the two of 500 somebody moves in the week in which the old manager leaves.
    for (seed, employees) in [(1, 5), (2, 30), (3, 60), (4, 400), (24, 500), (31, 500), (5, 1_200)] {
        assert_reporting_lines(&company(seed, employees));
    }
}

#[test]
fn tables_are_valid() {
    let company = company(3, 600);
    let mut row_ids = std::collections::BTreeSet::new();
    let mut late = 0;
    let mut ahead = 0;
    for employee in &company.employees {
        let id = employee.id;
        assert!(employee.hire_date <= company.today, "{id}");
        assert!(
            (employee.hire_date - employee.date_of_birth).num_days() > 18 * 365,
            "{id} was hired as a child"
        );
        let first_day = employee.original_hire_date.unwrap_or(employee.hire_date);
        assert!(
            !employee.job_info.is_empty() && !employee.compensation.is_empty(),
            "{id}"
        );
        assert!(
            employee
                .job_info
                .iter()
                .all(|row| row.date >= first_day && row.recorded_on <= company.today),
            "{id}"
        );
        assert!(
            employee
                .compensation
                .iter()
                .all(|row| row.start_date >= first_day && row.rate_cents >= 700),
            "{id}"
        );
        let gone = employee
            .status_on(company.today)
            .is_some_and(|row| row.employment_status == TERMINATED);
        let left = employee.termination_date.is_some_and(|day| day <= company.today);
        assert_eq!(gone, left, "{id}: status and termination date disagree");
        let rows = employee.job_info.iter().map(|row| row.id);
        let rows = rows.chain(employee.compensation.iter().map(|row| row.id));
        for row in rows.chain(employee.employment_status.iter().map(|row| row.id)) {
            assert!(row_ids.insert(row), "row {row} twice");
        }
        late += employee
            .job_info
            .iter()
            .filter(|row| row.recorded_on > row.date)
            .count();
        ahead += employee
            .compensation
            .iter()
            .filter(|row| row.start_date > company.today)
            .count();
    }
    assert!(late > 0 && ahead > 0);
    assert!(company.talent.is_sorted_by_key(TalentRecord::date));
    assert!(company.talent.iter().all(|record| record.date() <= company.today));
    assert!(
        company
            .talent
            .iter()
            .all(|record| company.employee(record.employee()).is_some())
    );
    assert!(
        company
            .employees
            .iter()
            .any(|employee| employee.original_hire_date.is_some()),
        "no rehire"
    );
    let rows = || company.employees.iter().flat_map(|employee| &employee.compensation);
    assert!(rows().any(|row| row.comment.starts_with("Corrected")), "no correction");
    let emails: std::collections::BTreeSet<_> = company.employees.iter().map(|e| &e.work_email).collect();
    assert_eq!(emails.len(), company.employees.len());
}

#[test]
fn the_true_hazard_tells_who_leaves() {
    let company = company(9, 1_200);
    let cut = today() - Days::new(7 * 30);
    let mut points = Vec::new();
    for employee in &company.employees {
        let Some(point) = employee.truth.hazard.iter().rfind(|point| point.on <= cut) else {
            continue;
        };
        if (cut - point.on).num_days() > 28 || point.phase == Phase::Notice {
            continue;
        }
        let left = employee
            .employment_status
            .iter()
            .any(|row| row.termination_type.as_deref() == Some("Voluntary") && row.recorded_on > point.on);
        points.push((point.notice_chance(26), left));
    }
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (higher, _) in points.iter().filter(|(_, left)| *left) {
        for (lower, _) in points.iter().filter(|(_, left)| !*left) {
            pairs += 1.0;
            wins += if higher > lower {
                1.0
            } else if higher == lower {
                0.5
            } else {
                0.0
            };
        }
    }
    let auc: f64 = wins / pairs;
    println!("AUC of the oracle at 26 weeks: {auc:.3} over {} people", points.len());
    assert!(auc > 0.65);
}

#[test]
fn the_living_company_changes_step_by_step_and_stays_whole() {
    let mut company = company(11, 300);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut now = midnight(today()) + chrono::TimeDelta::hours(9);
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..600 {
        now += chrono::TimeDelta::minutes(20);
        let before: BTreeMap<_, _> = company.employees.iter().map(|e| (e.id, e.last_changed)).collect();
        let changes = company.next_change(&mut random, now);
        assert!(!changes.is_empty(), "step {step}");
        for change in &changes {
            seen.extend(change.fields.iter().copied());
            assert_eq!(company.employee(change.employee).unwrap().last_changed, now);
        }
        for employee in &company.employees {
            if before.get(&employee.id) != Some(&employee.last_changed) {
                assert!(
                    changes.iter().any(|change| change.employee == employee.id),
                    "a silent change"
                );
            }
        }
        assert_reporting_lines(&company);
    }
    for field in [
        "payRate",
        "supervisor",
        "location",
        "terminationDate",
        "jobTitle",
        "lastName",
        "mobilePhone",
    ] {
        assert!(seen.contains(field), "{field} never changed");
    }
    let headcount = company.headcount_on(company.today) as f64;
    assert!((headcount - 300.0).abs() <= 15.0, "{headcount}");
}
