//! Recorded shapes in, snapshots out; and what the domain makes of them.

use domain::{
    Aggregate,
    employee::{Command, Contact, Demographics, Employee, Event, WeeklyMinutes},
    id::ConnectionId,
    money::{Money, PayPeriod},
};
use serde_json::json;

use super::*;

fn day(text: &str) -> Date {
    text.parse().expect("a day")
}

/// 30 June 2026.
fn today() -> Date {
    day("2026-06-30")
}

fn tenant() -> TenantId {
    "00000000-0000-0000-0000-000000000007".parse().expect("an id")
}

fn source() -> Source {
    Source {
        connection: ConnectionId::derive(tenant(), "bamboohr", "acme"),
        remote_id: "42".into(),
    }
}

fn person(remote: &str) -> EmployeeId {
    EmployeeId::derive(tenant(), source().connection, remote)
}

fn known_managers(name: &str) -> Option<EmployeeId> {
    match name {
        "Bo Li" => Some(person("7")),
        "Cy Roe" => Some(person("8")),
        "Ada Rossi" => Some(person("42")),
        _ => None,
    }
}

fn map(value: Value) -> Fields {
    value.as_object().expect("an object").clone()
}

fn rows(value: Value) -> Option<Vec<Row>> {
    Some(value.as_array().expect("a list").iter().cloned().map(map).collect())
}

#[track_caller]
fn translated(fields: Value, tables: &Tables) -> (Snapshot, Vec<Warning>) {
    snapshot(tenant(), source(), &map(fields), Some(tables), &known_managers, today()).expect("a snapshot")
}

#[track_caller]
fn without_warnings(fields: Value, tables: &Tables) -> Snapshot {
    let (snapshot, warnings) = translated(fields, tables);
    assert_eq!(warnings, vec![]);
    snapshot
}

fn ada() -> Value {
    json!({
        "id": "42", "firstName": "Ada", "lastName": "Rossi", "preferredName": null, "workEmail": "ada@acme.example",
        "workPhone": "", "mobilePhone": null, "jobTitle": "Supervisor", "department": "Sales", "division": null,
        "location": "Turin", "supervisor": "Li, Bo", "supervisorEId": "7", "status": "Active", "hireDate": "2024-03-01",
        "originalHireDate": "0000-00-00", "terminationDate": "0000-00-00", "payRate": "27000.00 EUR", "payPer": "Year",
        "payType": "Salary", "payRateEffectiveDate": "2025-09-01", "payChangeReason": "Promotion",
        "standardHoursPerWeek": "37.5", "gender": "Female", "dateOfBirth": "1990-05-05", "ethnicity": null,
        "employeeNumber": "1007", "country": "Italy", "state": "", "lastChanged": "2026-06-29T10:00:00+0000"
    })
}

fn history() -> Tables {
    Tables {
        job_info: rows(json!([
            {"id": "2", "employeeId": "42", "date": "2025-09-01", "location": "Turin", "department": "Sales", "division": null,
             "jobTitle": "Supervisor", "reportsTo": "Bo Li", "teams": []},
            {"id": "1", "employeeId": "42", "date": "2024-02-15", "location": "Turin", "department": "Sales", "division": "",
             "jobTitle": "Cashier", "reportsTo": "Cy Roe"},
        ])),
        compensation: rows(json!([
            {"id": "4", "startDate": "2025-09-01", "rate": {"value": "27000.00", "currency": "EUR"}, "type": "Salary",
             "exempt": "Exempt", "reason": "Promotion", "comment": "", "paidPer": "Year", "overtimeRate": {"value": "", "currency": "EUR"}},
            {"id": "3", "startDate": "2024-03-01", "rate": "24000.00 EUR", "type": "Salary", "reason": "", "paidPer": "Year"},
        ])),
        employment_status: rows(json!([
            {"id": "6", "date": "2025-01-10", "employmentStatus": "Parental Leave"},
            {"id": "7", "date": "2025-06-10", "employmentStatus": "Full-Time"},
            {"id": "5", "date": "2024-03-01", "employmentStatus": "Full-Time", "terminationReasonId": null, "terminationTypeId": "0"},
        ])),
    }
}

fn status_rows(rows_of_status: &[(&str, &str)]) -> Option<Vec<Row>> {
    let numbered = rows_of_status.iter().enumerate();
    rows(
        numbered
            .map(|(id, (on, status))| json!({"id": id.to_string(), "date": on, "employmentStatus": status}))
            .collect(),
    )
}

fn euros(minor_units: i64, per: PayPeriod) -> Personal<PayRate> {
    Personal::Open(PayRate {
        amount: Money {
            minor_units,
            currency: domain::money::Currency::EUR,
        },
        per,
    })
}

fn other(snapshot: &Snapshot) -> BTreeMap<String, String> {
    snapshot
        .other
        .clone()
        .and_then(Personal::into_open)
        .expect("other fields")
}

/// The standing as letters: Working, Leave, Ended, Deleted.
fn standings(snapshot: &Snapshot) -> String {
    let letter = |standing: &Standing| match standing {
        Standing::Working => 'W',
        Standing::OnLeave => 'L',
        Standing::Ended(_) => 'E',
        Standing::Deleted => 'D',
    };
    let rows = snapshot
        .standing
        .known
        .iter()
        .map(|(on, standing)| format!("{on} {}", letter(standing)));
    rows.collect::<Vec<_>>().join(", ")
}

fn told(employee: &Employee, snapshot: &Snapshot) -> Vec<Event> {
    employee
        .decide(Command::Synchronise(Box::new(snapshot.clone())), today())
        .expect("accepted")
}

/// What the domain makes of a first snapshot, which it must not find new a second time.
#[track_caller]
fn story(snapshot: &Snapshot) -> Vec<Event> {
    let events = told(&Employee::default(), snapshot);
    assert_eq!(
        told(&Employee::fold(&events), snapshot),
        vec![],
        "the same snapshot again is no news"
    );
    events
}

#[test]
fn a_whole_history_is_translated() {
    let snapshot = without_warnings(ada(), &history());
    assert_eq!(snapshot.hired_on, Some(day("2024-03-01")));
    assert_eq!(standings(&snapshot), "2024-03-01 W, 2025-01-10 L, 2025-06-10 W");
    let titles: Vec<_> = snapshot
        .jobs
        .known
        .iter()
        .map(|(on, job)| (*on, job.title.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        titles,
        [(day("2024-03-01"), "Cashier"), (day("2025-09-01"), "Supervisor")],
        "sorted, from the first day"
    );
    assert_eq!(
        snapshot.managers,
        Rows::all(vec![
            (day("2024-03-01"), Some(person("8"))),
            (day("2025-09-01"), Some(person("7")))
        ])
    );
    assert_eq!(
        snapshot.pay,
        Rows::all(vec![
            (day("2024-03-01"), euros(2_400_000, PayPeriod::Year)),
            (day("2025-09-01"), euros(2_700_000, PayPeriod::Year))
        ])
    );
    assert!(snapshot.standing.complete && snapshot.jobs.complete);
    assert_eq!(
        snapshot.pay_reasons,
        BTreeMap::from([(day("2025-09-01"), Personal::Open("Promotion".into()))])
    );
    assert_eq!(snapshot.promotions, BTreeSet::from([day("2025-09-01")]));
    assert_eq!(snapshot.hours, Rows::current(today(), WeeklyMinutes(2_250)));
    let name = domain::employee::Name {
        first: "Ada".into(),
        last: "Rossi".into(),
        preferred: None,
    };
    assert_eq!(snapshot.name, Some(Personal::Open(name)));
    let contact = Contact {
        work_email: Some("ada@acme.example".into()),
        work_phone: None,
        mobile_phone: None,
    };
    assert_eq!(snapshot.contact, Some(Personal::Open(contact)));
    let born = Demographics {
        gender: Some("Female".into()),
        date_of_birth: Some(day("1990-05-05")),
        ethnicity: None,
    };
    assert_eq!(snapshot.demographics, Some(Personal::Open(born)));
    assert_eq!(
        other(&snapshot),
        BTreeMap::from([
            ("employeeNumber".into(), "1007".into()),
            ("country".into(), "Italy".into())
        ])
    );

    let events = story(&snapshot);
    assert!(matches!(&events[0], Event::Hired(hired) if hired.job.title.as_deref() == Some("Cashier")));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Promoted(moved) if moved.on == day("2025-09-01")))
    );
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::LeaveEnded { on } if *on == day("2025-06-10")))
    );
}

#[test]
fn without_tables_the_flat_fields_hold_today() {
    let snapshot = snapshot(tenant(), source(), &map(ada()), None, &known_managers, today())
        .expect("a snapshot")
        .0;
    assert_eq!(standings(&snapshot), "2024-03-01 W, 2026-06-30 W");
    assert_eq!(snapshot.jobs.known[0].0, today());
    assert_eq!(snapshot.managers, Rows::current(today(), Some(person("7"))));
    assert_eq!(
        snapshot.pay,
        Rows::current(day("2025-09-01"), euros(2_700_000, PayPeriod::Year))
    );
    assert_eq!(snapshot.promotions, BTreeSet::from([day("2025-09-01")]));
    assert!(!snapshot.standing.complete && !snapshot.jobs.complete && !snapshot.pay.complete);
    assert_eq!(story(&snapshot).len(), 3, "hired, with demographics and other fields");

    let empty = Tables {
        job_info: rows(json!([])),
        compensation: rows(json!([])),
        employment_status: rows(json!([])),
    };
    assert_eq!(translated(ada(), &empty).0, snapshot, "an empty table says nothing");
}

#[test]
fn standing_follows_the_table_the_hire_dates_and_the_status() {
    type Case<'a> = (
        &'a str,
        Value,
        &'a [(&'a str, &'a str)],
        (Option<&'a str>, &'a str, bool),
    );
    let cases: &[Case] = &[
        (
            "rehired, with both dates",
            json!({"status": "Active", "hireDate": "2024-01-01", "originalHireDate": "2019-01-01"}),
            &[
                ("2019-01-01", "Full-Time"),
                ("2022-01-01", "Terminated"),
                ("2024-01-01", "Part-Time"),
            ],
            (Some("2019-01-01"), "2019-01-01 W, 2022-01-01 E, 2024-01-01 W", true),
        ),
        (
            "rehired, without the original date",
            json!({"status": "Active", "hireDate": "2024-01-01", "originalHireDate": null}),
            &[
                ("2024-01-01", "Part-Time"),
                ("2022-01-01", "Terminated"),
                ("2019-01-01", "Full-Time"),
            ],
            (Some("2019-01-01"), "2019-01-01 W, 2022-01-01 E, 2024-01-01 W", true),
        ),
        (
            "rehired, without the row",
            json!({"status": "Active", "hireDate": "2024-01-01", "originalHireDate": "2019-01-01"}),
            &[("2019-01-01", "Full-Time"), ("2022-01-01", "Terminated")],
            (Some("2019-01-01"), "2019-01-01 W, 2022-01-01 E, 2024-01-01 W", true),
        ),
        (
            "leaves in the future",
            json!({"status": "Active", "hireDate": "2024-01-01", "terminationDate": "2026-08-01"}),
            &[("2024-01-01", "Full-Time"), ("2026-08-01", "Terminated")],
            (Some("2024-01-01"), "2024-01-01 W, 2026-08-01 E", true),
        ),
        (
            "the table begins late",
            json!({"status": "Active", "hireDate": "2020-01-01"}),
            &[("2023-01-01", "Furloughed")],
            (Some("2020-01-01"), "2020-01-01 W, 2023-01-01 L", true),
        ),
        (
            "the table begins early",
            json!({"status": "Active", "hireDate": "2020-01-01"}),
            &[("2019-11-11", "Contractor"), ("2023-01-01", "Full-Time")],
            (Some("2020-01-01"), "2020-01-01 W, 2023-01-01 W", true),
        ),
        (
            "never came",
            json!({"status": "Inactive", "hireDate": "2020-01-01"}),
            &[("2020-01-01", "Full-Time"), ("2020-01-01", "Terminated")],
            (Some("2020-01-01"), "2020-01-01 E", true),
        ),
        (
            "inactive, under a name of the company's own",
            json!({"status": "Inactive", "hireDate": "2020-01-01", "terminationDate": "2025-05-05"}),
            &[("2020-01-01", "Full-Time"), ("2025-05-05", "Alumni")],
            (Some("2020-01-01"), "2020-01-01 W, 2025-05-05 E", true),
        ),
        (
            "inactive since nobody knows when",
            json!({"status": "Inactive", "hireDate": "2020-01-01"}),
            &[("2020-01-01", "Full-Time")],
            (Some("2020-01-01"), "2020-01-01 W, 2026-06-30 E", false),
        ),
        (
            "begins in the future, and is inactive until then",
            json!({"status": "Inactive", "hireDate": "2026-09-01"}),
            &[("2026-09-01", "Full-Time")],
            (Some("2026-09-01"), "2026-09-01 W", true),
        ),
        (
            "the hire date is hidden",
            json!({"status": "Active"}),
            &[("2021-01-01", "Full-Time")],
            (Some("2021-01-01"), "2021-01-01 W", true),
        ),
        (
            "flat: working",
            json!({"hireDate": "2024-01-01"}),
            &[],
            (Some("2024-01-01"), "2024-01-01 W", false),
        ),
        (
            "flat: gone",
            json!({"status": "Inactive", "hireDate": "2024-01-01", "terminationDate": "2025-05-05"}),
            &[],
            (Some("2024-01-01"), "2024-01-01 W, 2025-05-05 E", false),
        ),
        (
            "flat: gone, nobody says when",
            json!({"status": "Inactive", "hireDate": "2024-01-01"}),
            &[],
            (Some("2024-01-01"), "2024-01-01 W, 2026-06-30 E", false),
        ),
        (
            "flat: leaves in the future",
            json!({"status": "Active", "hireDate": "2024-01-01", "terminationDate": "2026-08-01"}),
            &[],
            (Some("2024-01-01"), "2024-01-01 W, 2026-06-30 W, 2026-08-01 E", false),
        ),
        (
            "flat: rehired",
            json!({"status": "Active", "hireDate": "2024-01-01", "originalHireDate": "2019-01-01", "terminationDate": "2022-01-01"}),
            &[],
            (
                Some("2019-01-01"),
                "2019-01-01 W, 2022-01-01 E, 2024-01-01 W, 2026-06-30 W",
                false,
            ),
        ),
        (
            "flat: on leave",
            json!({"status": "Active", "hireDate": "2024-01-01", "employmentHistoryStatus": "Unpaid Leave"}),
            &[],
            (Some("2024-01-01"), "2024-01-01 W, 2026-06-30 L", false),
        ),
        (
            "nothing is visible",
            json!({"firstName": "Ada", "lastName": "Rossi"}),
            &[],
            (None, "", false),
        ),
    ];
    for (name, fields, table, (hired_on, standing, complete)) in cases {
        let tables = Tables {
            employment_status: status_rows(table),
            ..Tables::default()
        };
        let (snapshot, _) = translated(fields.clone(), &tables);
        assert_eq!(snapshot.hired_on, hired_on.map(day), "{name}");
        assert_eq!(standings(&snapshot), *standing, "{name}");
        assert_eq!(snapshot.standing.complete, *complete, "{name}");
        if hired_on.is_some() {
            story(&snapshot);
        }
    }
}

#[test]
fn the_domain_tells_of_rehires_notices_and_their_withdrawal() {
    let fields = |hire: &str| json!({"status": "Active", "hireDate": hire, "originalHireDate": "2019-01-01"});
    let with = |rows_of_status: &[(&str, &str)]| Tables {
        employment_status: status_rows(rows_of_status),
        ..Tables::default()
    };
    let working = without_warnings(fields("2019-01-01"), &with(&[("2019-01-01", "Full-Time")]));
    let leaving = without_warnings(
        fields("2019-01-01"),
        &with(&[("2019-01-01", "Full-Time"), ("2026-08-01", "Terminated")]),
    );
    let events = story(&leaving);
    assert!(
        matches!(&events[..], [Event::Hired(_), Event::NoticeGiven(notice)] if notice.last_day == Some(day("2026-07-31")))
    );
    assert_eq!(
        told(&Employee::fold(&events), &working),
        vec![Event::NoticeWithdrawn { on: today() }]
    );

    let back = [
        ("2019-01-01", "Full-Time"),
        ("2022-01-01", "Terminated"),
        ("2024-01-01", "Full-Time"),
    ];
    let events = story(&without_warnings(fields("2024-01-01"), &with(&back)));
    assert!(
        matches!(&events[..], [Event::Hired(_), Event::Terminated(_), Event::Rehired { on }] if *on == day("2024-01-01"))
    );

    let vague = json!({"status": "Inactive", "hireDate": "2019-01-01"});
    let (today_gone, _) = translated(vague.clone(), &with(&[("2019-01-01", "Full-Time")]));
    let gone = Employee::fold(&story(&today_gone));
    let tomorrow = day("2026-07-01");
    let tables = with(&[("2019-01-01", "Full-Time")]);
    let next = snapshot(
        tenant(),
        source(),
        &map(vague),
        Some(&tables),
        &known_managers,
        tomorrow,
    )
    .expect("a snapshot")
    .0;
    assert_eq!(
        gone.decide(Command::Synchronise(Box::new(next)), tomorrow),
        Ok(vec![]),
        "a guessed day does not wander"
    );
}

#[test]
fn endings_say_who_wanted_them_and_why() {
    for (row, voluntariness, reason) in [
        (
            json!({"employmentStatus": "Terminated", "terminationTypeId": "Voluntary", "terminationReasonId": "Better offer"}),
            Voluntariness::Voluntary,
            Some("Better offer"),
        ),
        (
            json!({"employmentStatus": "Terminated", "terminationTypeId": "12", "terminationReasonId": "3"}),
            Voluntariness::Unknown,
            None,
        ),
        (
            json!({"employmentStatus": "Terminated", "terminationTypeId": null, "terminationType": "Termination (Involuntary)"}),
            Voluntariness::Involuntary,
            Some("Termination (Involuntary)"),
        ),
        (
            json!({"employmentStatus": "Alumni", "terminationReason": {"value": "Retirement"}}),
            Voluntariness::Retirement,
            Some("Retirement"),
        ),
        (
            json!({"employmentStatus": "Terminated", "comment": "private"}),
            Voluntariness::Unknown,
            None,
        ),
    ] {
        let expected = Standing::Ended(Ended::new(voluntariness, reason.map(Into::into)));
        assert_eq!(standing_of_row(&map(row.clone())), expected, "{row}");
    }
}

#[test]
fn every_shape_of_a_rate_is_read() {
    for (row, expected) in [
        (
            json!({"rate": {"value": "55000.00", "currency": "EUR"}, "paidPer": "Year"}),
            Some((5_500_000, PayPeriod::Year)),
        ),
        (
            json!({"rate": "55000.00 EUR", "paidPer": "Month"}),
            Some((5_500_000, PayPeriod::Month)),
        ),
        (
            json!({"rate": {"value": "18.50", "currency": "EUR"}, "type": "Hourly", "paidPer": ""}),
            Some((1_850, PayPeriod::Hour)),
        ),
        (
            json!({"rate": "55,000 EUR", "type": "Salary"}),
            Some((5_500_000, PayPeriod::Year)),
        ),
        (
            json!({"rate": "1000 EUR", "paidPer": "Every other week"}),
            Some((100_000, PayPeriod::EveryTwoWeeks)),
        ),
        (
            json!({"rate": {"value": null, "currency": "EUR"}, "type": "Commission Only"}),
            None,
        ),
        (json!({"rate": "", "type": "Salary"}), None),
    ] {
        let mut row = map(row);
        row.insert("startDate".into(), json!("2024-03-01"));
        let tables = Tables {
            compensation: Some(vec![row.clone()]),
            ..Tables::default()
        };
        let snapshot = without_warnings(json!({}), &tables);
        let expected = expected.map(|(minor, per)| (day("2024-03-01"), euros(minor, per)));
        assert_eq!(snapshot.pay, Rows::all(expected.into_iter().collect()), "{row:?}");
    }
    let bare = translated(json!({"payRate": "55000.00", "payType": "Salary"}), &Tables::default()).0;
    let usd = PayRate {
        amount: Money {
            minor_units: 5_500_000,
            currency: DEFAULT_CURRENCY,
        },
        per: PayPeriod::Year,
    };
    assert_eq!(bare.pay, Rows::current(today(), Personal::Open(usd)));
}

#[test]
fn what_cannot_be_read_is_kept_and_told_without_its_value() {
    let (snapshot, warnings) = translated(
        json!({
            "firstName": "Ada", "lastName": "Rossi", "status": "Active", "hireDate": "March 2024", "dateOfBirth": "1990-02-31",
            "standardHoursPerWeek": "lots", "gender": {"deep": [1]}, "customList": [1, 2], "customText": "kept",
            "originalHireDate": "2024-03-01", "terminationDate": "9999-12-31", "long": "x".repeat(OTHER_CHARS_MAX + 1)
        }),
        &Tables {
            job_info: rows(json!([
                {"id": "1", "date": "2024-03-01", "jobTitle": "Cashier", "reportsTo": "Nobody Known"},
                {"id": "2", "date": "someday", "jobTitle": "Queen", "reportsTo": "Ada Rossi"},
                {"id": "3", "date": "2025-03-01", "jobTitle": "Chef", "reportsTo": "Ada Rossi"},
            ])),
            compensation: rows(json!([
                {"id": "4", "startDate": "2024-03-01", "rate": "17.3125 USD", "paidPer": "Hour"},
                {"id": "5", "startDate": "2025-03-01", "rate": "plenty", "paidPer": "Hour"},
                {"id": "6", "startDate": "2026-03-01", "rate": "10 USD", "paidPer": "Blue moon"},
                {"id": "7", "startDate": null, "rate": "10 USD", "paidPer": "Hour"},
                {"id": "8", "startDate": "2026-04-01", "paidPer": "Hour"},
            ])),
            employment_status: None,
        },
    );
    let told: Vec<_> = warnings.iter().map(|warning| warning.field.as_str()).collect();
    for field in [
        "hireDate",
        "dateOfBirth",
        "standardHoursPerWeek",
        "gender",
        "customList",
        "terminationDate",
        "long",
        "jobInfo#1.reportsTo",
        "jobInfo#2.date",
        "jobInfo#3.reportsTo",
        "compensation#4.rate",
        "compensation#5.rate",
        "compensation#6.paidPer",
        "compensation#7.startDate",
        "compensation#8.rate",
    ] {
        assert!(told.contains(&field), "{field} in {told:?}");
    }
    let kept = other(&snapshot);
    assert_eq!(kept["hireDate"], "March 2024");
    assert_eq!(kept["compensation#6.rate"], "10 USD");
    assert_eq!(kept["customText"], "kept");
    assert_eq!(kept["long"].len(), OTHER_CHARS_MAX);
    let words = format!(
        "{warnings:?} {}",
        warnings.iter().map(|w| w.problem.to_string()).collect::<String>()
    );
    for value in ["March", "Nobody", "plenty", "17.31", "Blue"] {
        assert!(!words.contains(value), "{value}");
    }
    assert!(!snapshot.jobs.complete && !snapshot.managers.complete && !snapshot.pay.complete);
    assert_eq!(
        (
            snapshot.jobs.known.len(),
            snapshot.managers.known.len(),
            snapshot.pay.known.len()
        ),
        (2, 0, 1)
    );
    story(&snapshot);
}

#[test]
fn hidden_fields_are_unsaid_and_empty_ones_are_cleared() {
    let hidden = without_warnings(json!({"hireDate": "2024-03-01"}), &Tables::default());
    let silent = Snapshot::silent(source(), today());
    let only_hire = Rows {
        known: vec![(day("2024-03-01"), Standing::Working)],
        complete: false,
    };
    let other = Some(Personal::Open(BTreeMap::new()));
    assert_eq!(
        hidden,
        Snapshot {
            hired_on: Some(day("2024-03-01")),
            standing: only_hire,
            other,
            unsaid: withheld(&[
                "country",
                "employeeNumber",
                "exempt",
                "payGroup",
                "paySchedule",
                "state"
            ]),
            ..silent
        }
    );

    let cleared = json!({"firstName": "Ada", "lastName": "Rossi", "preferredName": "", "workEmail": null, "gender": "",
        "supervisorEId": null, "supervisor": null});
    let cleared = without_warnings(cleared, &Tables::default());
    assert_eq!(cleared.contact, Some(Personal::Open(Contact::default())));
    assert_eq!(cleared.demographics, Some(Personal::Open(Demographics::default())));
    assert_eq!(cleared.managers, Rows::current(today(), None), "nobody above");

    let half = without_warnings(
        json!({"firstName": "Ada", "hireDate": "2024-03-01"}),
        &Tables::default(),
    );
    assert!(half.unsaid.contains(&Field::LastName) && !half.unsaid.contains(&Field::FirstName));

    // The column reportsTo is hidden: only the current manager is told, and the rest is not taken back.
    let tables = Tables {
        job_info: rows(json!([{"id": "1", "date": "2024-03-01", "jobTitle": "Chef"}])),
        ..Tables::default()
    };
    let unknown = without_warnings(json!({"hireDate": "2024-03-01"}), &tables);
    assert_eq!(unknown.managers, Rows::default());
    let current = without_warnings(json!({"hireDate": "2024-03-01", "supervisorEId": 7}), &tables);
    assert_eq!(
        current.managers,
        Rows::all(vec![(day("2024-03-01"), Some(person("7")))])
    );

    // No table of pay, because the key may not see pay at all.
    let full = without_warnings(ada(), &history());
    let known = Employee::fold(&story(&full));
    let mut fields = map(ada());
    fields.retain(|name, _| !name.starts_with("pay"));
    let tables = Tables {
        compensation: None,
        ..history()
    };
    assert_eq!(
        told(&known, &without_warnings(Value::Object(fields), &tables)),
        vec![],
        "losing a right changes nothing"
    );
}

#[test]
fn the_answer_must_be_about_the_right_person() {
    let translate = |source: Source, fields: Value| {
        snapshot(tenant(), source, &map(fields), None, &known_managers, today()).map(|_| ())
    };
    assert_eq!(translate(source(), json!({"id": 42})), Ok(()));
    assert_eq!(
        translate(source(), json!({"id": "43"})),
        Err(TranslateProblem::SomebodyElse)
    );
    assert_eq!(
        translate(
            Source {
                remote_id: String::new(),
                ..source()
            },
            json!({})
        ),
        Err(TranslateProblem::NoRemoteId)
    );
}

fn notification(kind: Kind, fields: &[(&str, &str)]) -> Notification {
    Notification {
        remote_id: "42".into(),
        kind,
        changed_fields: vec![],
        fields: fields
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
        at: None,
        company_id: None,
    }
}

#[test]
fn a_webhook_alone_says_what_it_can() {
    let partial = |kind, fields: &[(&str, &str)]| {
        partial_snapshot(
            tenant(),
            source(),
            &notification(kind, fields),
            &known_managers,
            today(),
        )
        .expect("a snapshot")
    };
    let (full, warnings) = partial(
        Kind::Updated,
        &[
            ("First Name", "Ada"),
            ("Last name", "Rossi"),
            ("preferredName", ""),
            ("Job Title", "Chef"),
            ("Department", "Kitchen"),
            ("Division", ""),
            ("Location", "Turin"),
            ("Job Information: Date", "2026-06-01"),
            ("Reporting to", "Li, Bo"),
            ("Hire Date", "2024-03-01"),
            ("Status", "Active"),
            ("Pay rate", "18.50 EUR"),
            ("Paid per", "Hour"),
            ("Compensation: Date", "2026-06-01"),
            ("Compensation Change Reason", "Merit"),
            ("Standard Hours Per Week", "40"),
            ("T-Shirt", "M"),
        ],
    );
    assert_eq!(warnings, vec![]);
    assert_eq!(full.hired_on, Some(day("2024-03-01")));
    assert_eq!(standings(&full), "2024-03-01 W");
    assert!(
        matches!(&full.jobs.known[..], [(on, job)] if *on == day("2026-06-01") && job.title.as_deref() == Some("Chef"))
    );
    assert_eq!(full.managers, Rows::current(today(), Some(person("7"))));
    assert_eq!(
        full.pay,
        Rows::current(day("2026-06-01"), euros(1_850, PayPeriod::Hour))
    );
    assert_eq!(full.hours, Rows::current(today(), WeeklyMinutes(2_400)));
    assert_eq!(full.other, None, "a part of the other fields must not clear the rest");
    story(&full);

    let (part, warnings) = partial(
        Kind::Updated,
        &[("Job Title", "Chef"), ("Work Email", "a@acme.example")],
    );
    assert_eq!(warnings, vec![]);
    let known = Employee::fold(&story(&full));
    let told = told(&known, &part);
    let (name, on) = (full.name.clone().expect("a name"), today());
    let contact = Personal::Open(Contact {
        work_email: Some("a@acme.example".into()),
        ..Contact::default()
    });
    assert_eq!(
        told,
        [Event::ContactChanged { name, contact, on }],
        "what is not said stays"
    );

    let (created, _) = partial(Kind::Created, &[]);
    assert_eq!(created, Snapshot::silent(source(), today()));
    let (deleted, _) = partial(Kind::Deleted, &[]);
    assert_eq!(standings(&deleted), "2026-06-30 D");
    let (gone, _) = partial(Kind::Updated, &[("Status", "Inactive")]);
    assert_eq!(standings(&gone), "2026-06-30 E");

    let someone = Source {
        remote_id: "43".into(),
        ..source()
    };
    let answer = partial_snapshot(
        tenant(),
        someone,
        &notification(Kind::Updated, &[]),
        &known_managers,
        today(),
    );
    assert_eq!(answer.map(|_| ()), Err(TranslateProblem::SomebodyElse));
}

fn withheld(names: &[&str]) -> BTreeSet<Field> {
    names.iter().map(|name| Field::Other((*name).to_owned())).collect()
}

/// A key that loses a right must not clear what was read before.
#[test]
fn what_is_withheld_later_stays_as_on_file() {
    let known = Employee::fold(&story(&without_warnings(ada(), &history())));
    let mut fields = map(ada());
    for name in [
        "workEmail",
        "gender",
        "dateOfBirth",
        "preferredName",
        "employeeNumber",
        "country",
    ] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    let mut tables = history();
    for row in tables.job_info.iter_mut().flatten() {
        assert!(row.remove("department").is_some());
    }
    let less = without_warnings(Value::Object(fields.clone()), &tables);
    let told = |snapshot: Snapshot| told(&known, &snapshot);
    assert_eq!(told(less), vec![]);
    // What is still said counts.
    fields.insert("workPhone".into(), json!("+39 011 5550"));
    for row in tables.job_info.iter_mut().flatten() {
        row.insert("location".into(), json!("Milan"));
    }
    let changed = told(without_warnings(Value::Object(fields.clone()), &tables));
    assert!(
        matches!(&changed[0], Event::ContactChanged { contact: Personal::Open(contact), .. }
            if contact.work_email.as_deref() == Some("ada@acme.example") && contact.work_phone.as_deref() == Some("+39 011 5550")),
        "{changed:?}"
    );
    assert!(changed.len() > 1);
    for event in &changed[1..] {
        let (Event::Transferred(moved) | Event::Promoted(moved)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(moved.to.location.as_deref(), Some("Milan"));
        assert!(moved.to.department.is_some() && moved.to.department == moved.from.department);
    }
    // Flat fields: only the title is told.
    let flat = Tables {
        job_info: None,
        ..history()
    };
    for name in ["department", "division", "location"] {
        fields.remove(name);
    }
    fields.insert("jobTitle".into(), json!("Director"));
    fields.remove("workPhone");
    let moved = told(without_warnings(Value::Object(fields), &flat));
    assert!(
        matches!(&moved[..], [Event::Transferred(moved)] if moved.to.title.as_deref() == Some("Director")
            && moved.to.department.is_some() && moved.to.department == moved.from.department),
        "{moved:?}"
    );
}

/// A day of birth that does not read is not the same as none.
#[test]
fn a_day_of_birth_that_does_not_read_does_not_clear_the_one_on_file() {
    let known = Employee::fold(&story(&without_warnings(ada(), &history())));
    let mut fields = map(ada());
    fields.insert("dateOfBirth".into(), json!("05/31/90 or so"));
    let (snapshot, warnings) = translated(Value::Object(fields), &history());
    assert_eq!(warnings.len(), 1);
    let told = told(&known, &snapshot);
    assert!(matches!(&told[..], [Event::SourceFieldsKept { .. }]), "{told:?}");

    // None, as BambooHR writes it, is none.
    let mut fields = map(ada());
    fields.insert("dateOfBirth".into(), json!("0000-00-00"));
    let told = self::told(&known, &without_warnings(Value::Object(fields), &history()));
    assert!(
        matches!(&told[..], [Event::DemographicsChanged { demographics: Personal::Open(known), .. }]
            if known.date_of_birth.is_none() && known.gender.is_some()),
        "{told:?}"
    );
}

#[test]
fn every_requested_field_is_understood() {
    assert!(FIELDS.len() <= crate::bamboohr::client::FIELDS_PER_REQUEST_MAX);
    for field in ESSENTIAL_FIELDS {
        assert!(FIELDS.contains(field), "{field}");
    }
    let without_a_word: Vec<_> = FIELDS.iter().filter(|field| alias(field).is_none()).collect();
    assert_eq!(
        without_a_word,
        [
            &"employeeNumber",
            &"exempt",
            &"payGroup",
            &"paySchedule",
            &"country",
            &"state"
        ]
    );
    for field in POST_FIELDS {
        assert!(alias(field).is_some(), "{field}");
    }
}

/// Whatever the values are, translating neither fails nor panics, and the domain accepts what comes out.
#[test]
fn any_values_make_a_snapshot() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_121);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let values = [
        json!(null),
        json!(""),
        json!("2024-03-01"),
        json!("2025-07-01"),
        json!("0000-00-00"),
        json!("9999-99-99"),
        json!("55.5 EUR"),
        json!({"value": "1"}),
        json!([]),
        json!(7),
        json!("Active"),
        json!("Inactive"),
        json!("Terminated"),
        json!("Bo Li"),
        json!("€,"),
        json!("2030-01-01"),
    ];
    let columns = [
        "id",
        "date",
        "startDate",
        "rate",
        "paidPer",
        "employmentStatus",
        "reportsTo",
        "jobTitle",
        "terminationTypeId",
    ];
    for _ in 0..3_000 {
        let mut any = |names: &[&str]| -> Fields {
            let some = names
                .iter()
                .filter(|_| random.random_bool(0.7))
                .map(|name| name.to_string())
                .collect::<Vec<_>>();
            some.into_iter()
                .map(|name| (name, values[random.random_range(0..values.len())].clone()))
                .collect()
        };
        let mut table = || Some((0..4).map(|_| any(&columns)).collect());
        let tables = Tables {
            job_info: table(),
            compensation: table(),
            employment_status: table(),
        };
        let mut fields = any(FIELDS);
        fields.remove("id");
        let (mut snapshot, _) =
            snapshot(tenant(), source(), &fields, Some(&tables), &known_managers, today()).expect("a snapshot");
        snapshot.hired_on = snapshot.hired_on.or(Some(day("2024-01-01")));
        let events = told(&Employee::default(), &snapshot);
        let _ = Employee::fold(&events);
    }
}
