//! Every shape of facts/connectors.md A1, and noise.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const AT: &str = "2026-01-31T18:42:00+0000";
const JSON: Option<&str> = Some("application/json");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

fn told(remote_id: &str, kind: Kind) -> Notification {
    Notification {
        remote_id: remote_id.into(),
        kind,
        changed_fields: vec![],
        fields: BTreeMap::new(),
        at: None,
        company_id: None,
    }
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

#[track_caller]
fn employees(content_type: Option<&str>, body: &str) -> Vec<Notification> {
    match parse(content_type, body.as_bytes()) {
        Ok(Message::Employees(employees)) => employees,
        other => panic!("{body}: {other:?}"),
    }
}

/// Event-based, both formats, with and without changed fields.
fn event_based_samples() -> Vec<(Option<&'static str>, &'static str, Vec<Notification>)> {
    let updated = Notification {
        changed_fields: vec!["firstName".into()],
        at: moment(AT),
        company_id: Some("12345".into()),
        ..told("67890", Kind::Updated)
    };
    let no_changes = |kind| Notification {
        changed_fields: vec![],
        kind,
        ..updated.clone()
    };
    vec![
        (
            JSON,
            r#"{"type":"employee.updated","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890","changedFields":["firstName"]}}"#,
            vec![updated.clone()],
        ),
        (
            JSON,
            r#"{"type":"employee.created","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":12345,"employeeId":67890}}"#,
            vec![no_changes(Kind::Created)],
        ),
        (
            JSON,
            r#"{"type":"employee.deleted","timestamp":1769884920,"data":{"companyId":"12345","employeeId":"67890"},"new":{"a":[1]}}"#,
            vec![no_changes(Kind::Deleted)],
        ),
        (
            JSON,
            r#"{"type":"employee.promoted","data":{"employeeId":"67890"}}"#,
            vec![told("67890", Kind::Updated)],
        ),
        (
            FORM,
            "type=employee.updated&timestamp=2026-01-31T18%3A42%3A00%2B0000&data[companyId]=12345&data[employeeId]=67890&data[changedFields][0]=firstName",
            vec![updated.clone()],
        ),
        (
            FORM,
            "type=employee.updated&data%5BemployeeId%5D=67890&data%5BchangedFields%5D%5B%5D=a&data%5BchangedFields%5D%5B%5D=b",
            vec![Notification {
                changed_fields: vec!["a".into(), "b".into()],
                ..told("67890", Kind::Updated)
            }],
        ),
        (
            JSON,
            r#"[{"type":"employee.created","data":{"employeeId":"1"}},{"type":"employee.updated","data":{"employeeId":"1"}}]"#,
            vec![told("1", Kind::Created), told("1", Kind::Updated)],
        ),
    ]
}

/// Field-based, both formats, today's and older tenants'.
fn field_based_samples() -> Vec<(Option<&'static str>, &'static str, Vec<Notification>)> {
    let tefi = Notification {
        fields: fields(&[("First name", "Tefi")]),
        ..told("12345", Kind::Updated)
    };
    let john = Notification {
        changed_fields: vec!["First name".into()],
        fields: fields(&[("First name", "John")]),
        ..told("12345", Kind::Updated)
    };
    vec![
        (
            JSON,
            r#"{"employees":[{"action":"Updated","changedFields":["First Name"],"fields":{"First Name":"Bryony"},"id":"12345","timestamp":"2026-01-31T18:42:00+0000"}]}"#,
            vec![Notification {
                changed_fields: vec!["First Name".into()],
                fields: fields(&[("First Name", "Bryony")]),
                at: moment(AT),
                ..told("12345", Kind::Updated)
            }],
        ),
        (
            JSON,
            r#"{"employees":[{"id":12345,"fields":{"First name":{"value":"Tefi"}}}]}"#,
            vec![tefi],
        ),
        (
            JSON,
            r#"{"employees":[{"id":"1","action":"Created","changedFields":[],"fields":[]},{"id":"2","action":"Deleted","fields":{}},
                {"id":"3","action":"Updated","fields":{"Pay rate":{"value":"55000.00","currency":"USD"},"Zip Code":84042,"Gone":null}}]}"#,
            vec![
                told("1", Kind::Created),
                told("2", Kind::Deleted),
                Notification {
                    fields: fields(&[("Pay rate", "55000.00 USD"), ("Zip Code", "84042"), ("Gone", "")]),
                    ..told("3", Kind::Updated)
                },
            ],
        ),
        (
            JSON,
            r#"{"type":"employee_with_fields.deleted","employees":{"7":{"fields":[]}}}"#,
            vec![told("7", Kind::Deleted)],
        ),
        (JSON, r#"{"employees":[]}"#, vec![]),
        (
            FORM,
            "employees[12345][changedFields][0]=First+name&employees[12345][First+name]=John",
            vec![john.clone()],
        ),
        (
            FORM,
            "employees%5B12345%5D%5BchangedFields%5D%5B0%5D=First+name&employees%5B12345%5D%5BFirst+name%5D=John",
            vec![john],
        ),
        (
            FORM,
            "employees[1][action]=Created&employees[2][fields][Job+Title]=Chef&employees[2][timestamp]=1769884920",
            vec![
                told("1", Kind::Created),
                Notification {
                    fields: fields(&[("Job Title", "Chef")]),
                    at: moment(AT),
                    ..told("2", Kind::Updated)
                },
            ],
        ),
        (FORM, "employees[0][id]=77&employees[0][Job+Title]=Chef", {
            vec![Notification {
                fields: fields(&[("Job Title", "Chef")]),
                ..told("77", Kind::Updated)
            }]
        }),
    ]
}

#[test]
fn every_recorded_shape_is_read() {
    for (content_type, body, expected) in [event_based_samples(), field_based_samples()].concat() {
        assert_eq!(employees(content_type, body), expected, "{body}");
    }
}

#[test]
fn a_content_type_that_lies_or_is_missing_changes_nothing() {
    for (_, body, expected) in [event_based_samples(), field_based_samples()].concat() {
        for content_type in [None, JSON, FORM, Some("text/plain; charset=utf-8")] {
            assert_eq!(employees(content_type, body), expected, "{body}");
        }
        assert_eq!(employees(None, &format!("\u{feff} {body}\n")), expected, "{body}");
    }
}

#[test]
fn company_events_name_nobody() {
    for kind in ["company.updated", "company.deleted", "company-integrations.updated"] {
        let expected = Ok(Message::Company { kind: kind.into() });
        let json = format!(r#"{{"type":"{kind}","timestamp":"{AT}","data":{{"companyId":"12345"}}}}"#);
        assert_eq!(parse(JSON, json.as_bytes()), expected);
        assert_eq!(
            parse(FORM, format!("type={kind}&data[companyId]=12345").as_bytes()),
            expected
        );
    }
}

#[test]
fn what_is_no_webhook_says_why() {
    use PayloadProblem::{BadEmployeeId, BrokenJson, Empty, UnknownEvent, UnknownShape};
    let shape = |content_type: Option<&str>| UnknownShape {
        content_type: content_type.map(Into::into),
    };
    for (content_type, body, problem) in [
        (None, "", Empty),
        (JSON, " \n", Empty),
        (JSON, r#"{"type":"#, BrokenJson { line: 1, column: 8 }),
        (JSON, "{}", shape(JSON)),
        (JSON, r#"{"employees":7}"#, shape(JSON)),
        (JSON, r#"{"employees":[7]}"#, shape(JSON)),
        (JSON, "[[]]", shape(JSON)),
        (FORM, "hello=world", shape(FORM)),
        (Some("text/html"), "<html>", shape(Some("text/html"))),
        (
            JSON,
            r#"{"type":"candidate.created","data":{}}"#,
            UnknownEvent("candidate.created".into()),
        ),
        (
            JSON,
            r#"{"type":"employee.updated","data":{}}"#,
            BadEmployeeId { index: 1 },
        ),
        (
            JSON,
            r#"{"employees":[{"id":"1"},{"id":"../2"}]}"#,
            BadEmployeeId { index: 2 },
        ),
        (FORM, "employees[..][First+name]=John", BadEmployeeId { index: 1 }),
    ] {
        assert_eq!(parse(content_type, body.as_bytes()), Err(problem), "{body}");
    }
}

#[test]
fn limits_hold() {
    let batch = |people: usize| {
        let people: Vec<_> = (0..people)
            .map(|id| serde_json::json!({"id": id, "action": "Updated"}))
            .collect();
        parse(JSON, serde_json::json!({"employees": people}).to_string().as_bytes())
    };
    assert!(matches!(batch(EMPLOYEES_MAX), Ok(Message::Employees(all)) if all.len() == EMPLOYEES_MAX));
    assert_eq!(
        batch(EMPLOYEES_MAX + 1),
        Err(PayloadProblem::TooManyEmployees {
            found: EMPLOYEES_MAX + 1
        })
    );

    let person = |fields: usize, value: usize| {
        let fields: BTreeMap<_, _> = (0..fields)
            .map(|field| (field.to_string(), "x".repeat(value)))
            .collect();
        let person = serde_json::json!({"employees": [{"id": 1, "fields": fields}]});
        parse(JSON, person.to_string().as_bytes()).map(|_| ())
    };
    assert_eq!(person(FIELDS_PER_EMPLOYEE_MAX, 1), Ok(()));
    let found = FIELDS_PER_EMPLOYEE_MAX + 1;
    assert_eq!(person(found, 1), Err(PayloadProblem::TooManyFields { index: 1, found }));
    assert_eq!(person(1, VALUE_BYTES_MAX), Ok(()));
    assert_eq!(
        person(1, VALUE_BYTES_MAX + 1),
        Err(PayloadProblem::TooLong { index: 1 })
    );

    let bytes = BODY_BYTES_MAX + 1;
    assert_eq!(parse(JSON, &vec![b' '; bytes]), Err(PayloadProblem::TooLarge { bytes }));
}

#[test]
fn a_notification_hides_its_values_and_reads_back() {
    let [notification] = &employees(JSON, r#"{"employees":[{"id":1,"fields":{"First Name":"Bryony"}}]}"#)[..] else {
        panic!("one person");
    };
    assert!(!format!("{notification:?}").contains("Bryony"));
    let stored = serde_json::to_string(notification).expect("json");
    assert_eq!(
        &serde_json::from_str::<Notification>(&stored).expect("read back"),
        notification
    );
}

/// Nothing that can be sent makes the reader panic: random bytes, and recorded bodies with random damage.
#[test]
fn noise_never_panics() {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_261_121);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let samples = [event_based_samples(), field_based_samples()].concat();
    const GRAMMAR: &[u8] = b"{}[]\":,=&%+.0159employesdatafieldsidtypenull\\u\xef\xbb\xbf\xff\0 ";
    for _ in 0..20_000 {
        let noise: Vec<u8> = (0..random.random_range(0..200)).map(|_| random.random()).collect();
        let _ = parse(None, &noise);
        let grammar: Vec<u8> = (0..random.random_range(0..80))
            .map(|_| GRAMMAR[random.random_range(0..GRAMMAR.len())])
            .collect();
        let _ = parse(FORM, &grammar);
        let mut damaged = samples[random.random_range(0..samples.len())].1.as_bytes().to_vec();
        for _ in 0..random.random_range(1..6) {
            let place = random.random_range(0..damaged.len());
            match random.random_range(0..3) {
                0 => damaged[place] = GRAMMAR[random.random_range(0..GRAMMAR.len())],
                1 => damaged.insert(place, random.random()),
                _ => damaged.truncate(place.max(1)),
            }
        }
        let _ = parse(JSON, &damaged);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        parse(JSON, deep.as_bytes()),
        Err(PayloadProblem::BrokenJson { .. })
    ));
    let deep_form = format!("employees{}=1", "[a]".repeat(50_000));
    let _ = parse(FORM, deep_form.as_bytes());
}
