//! The schema as a whole: its committed description, who may see what of it, and its limits. No database is needed: what is
//! allowed gets as far as asking one that is not there.

use std::path::Path;

use async_graphql::{
    EmptyMutation, EmptySubscription, Object, Request, Response, Schema,
    parser::{
        parse_schema,
        types::{TypeKind, TypeSystemDefinition},
    },
};
use domain::policy::Role;
use futures_util::{StreamExt, future::join_all};
use infra::{
    database::Database,
    sealing::{Keyring, MasterKey},
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{employee::Employee, *};
use crate::{
    access::tests::{manager, row, viewer},
    changes::Changes,
    error::{first_code, mask},
    http::{self, Asked},
    limits::ALIASES_MAX,
};

/// A store whose database does not answer.
fn store() -> (Store, Freshness) {
    let master = MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key");
    let database =
        Database::new(&SecretString::from("postgres://nobody@127.0.0.1:1/none"), &master).expect("an address");
    let store = Store::new(
        database.clone(),
        Keyring::new(master, database.clone()),
        Zeroizing::new(vec![7; 32]),
        Changes::none(),
    );
    (store, Freshness::new(database))
}

fn schemas(development: bool) -> (Schemas, Store) {
    let (store, freshness) = store();
    (Schemas::new(&store, &freshness, development), store)
}

async fn ask(schemas: &Schemas, store: &Store, role: Role, document: &str) -> Response {
    let purpose = past::Purpose(Some("a test".to_owned()));
    let request = equip(Request::new(document), viewer(role), store).data(purpose);
    mask(schemas.main.execute(request).await, "request")
}

fn fields_of(name: &str) -> Vec<String> {
    let document = parse_schema(sdl()).expect("the description parses");
    for definition in document.definitions {
        if let TypeSystemDefinition::Type(definition) = definition
            && definition.node.name.node == name
            && let TypeKind::Object(object) = definition.node.kind
        {
            let mut fields: Vec<String> = object
                .fields
                .into_iter()
                .map(|field| field.node.name.node.to_string())
                .collect();
            fields.sort();
            return fields;
        }
    }
    panic!("no type {name}");
}

#[test]
fn golden_sdl() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/schema.graphql");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, sdl()).expect("the description is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == sdl(),
        "the schema differs from schemas/schema.graphql: run `just golden` and read the difference"
    );
}

/// Every root field: a document that asks for it, and who may (in the order of `Role::ALL`: store manager, HR manager,
/// executive, analyst, admin).
const ROOT_FIELDS: [(&str, &str, &str); 14] = [
    ("connections", "{ connections { id } }", ".x..x"),
    ("departments", "{ departments { name } }", ".xxxx"),
    (
        "employee",
        r#"{ employee(id: "00000000-0000-0000-0000-000000000002") { id } }"#,
        "xx.xx",
    ),
    ("employees", "{ employees { edges { node { id } } } }", "xx.xx"),
    ("models", "{ models { version } }", ".xxxx"),
    ("payChanges", "{ payChanges { nodes { id } } }", "xx..x"),
    (
        "program",
        r#"{ program(id: "00000000-0000-0000-0000-000000000002") { name } }"#,
        "xxxxx",
    ),
    ("programs", "{ programs { name } }", "xxxxx"),
    ("riskOverview", "{ riskOverview { total { headcount } } }", ".xxxx"),
    ("status", "{ status { logHead } }", "xxxxx"),
    ("teams", "{ teams { manager } }", ".xxxx"),
    ("tenant", "{ tenant { name } }", "xxxxx"),
    (
        "trends",
        r#"{ trends(from: "2024-01-31", to: "2024-12-31") { headcount } }"#,
        ".xxxx",
    ),
    ("viewer", "{ viewer { role } }", "xxxxx"),
];

/// The same for questions about the past.
const PAST_FIELDS: [(&str, &str, &str); 6] = [
    (
        "departments",
        r#"{ departments(asOf: "2024-01-31") { name } }"#,
        ".xxxx",
    ),
    (
        "employee",
        r#"{ employee(id: "00000000-0000-0000-0000-000000000002", asOf: "2024-01-31") { id } }"#,
        ".x.xx",
    ),
    (
        "employees",
        r#"{ employees(knownAt: "2024-01-31T10:00:00Z") { edges { node { id } } } }"#,
        ".x.xx",
    ),
    (
        "employees",
        r#"{ employees(asOf: "2023-12-01", knownAt: "2024-01-31T10:00:00Z") { totalCount } }"#,
        ".x.xx",
    ),
    (
        "riskOverview",
        r#"{ riskOverview(asOf: "2024-01-31") { total { headcount } } }"#,
        ".xxxx",
    ),
    ("teams", r#"{ teams(asOf: "2024-01-31") { manager } }"#, ".xxxx"),
];

#[tokio::test]
async fn every_query_is_allowed_to_the_roles_of_the_table_and_to_no_other() {
    assert_eq!(
        fields_of("Query"),
        ROOT_FIELDS.map(|(field, _, _)| field),
        "a field is not in the table"
    );
    let (schemas, store) = schemas(false);
    let cells = ROOT_FIELDS
        .iter()
        .chain(&PAST_FIELDS)
        .flat_map(|(field, document, roles)| {
            Role::ALL
                .into_iter()
                .zip(roles.chars())
                .map(move |cell| (field, document, cell))
        });
    join_all(cells.map(|(field, document, (role, expected))| {
        let (schemas, store) = (&schemas, &store);
        async move {
            let response = ask(schemas, store, role, document).await;
            let code = first_code(&response);
            let allowed = expected == 'x';
            assert_eq!(
                code != Some("FORBIDDEN"),
                allowed,
                "{field} for {}: {code:?}",
                role.name()
            );
            assert!(
                matches!(code, None | Some("FORBIDDEN" | "UNAVAILABLE")),
                "{field} for {}: {:?}",
                role.name(),
                response.errors
            );
        }
    }))
    .await;
}

#[tokio::test]
async fn every_subscription_is_allowed_to_the_roles_of_the_table_and_to_no_other() {
    assert_eq!(fields_of("Subscription"), ["riskChanged"]);
    let (schemas, store) = schemas(false);
    for (role, expected) in Role::ALL.into_iter().zip("xx.xx".chars()) {
        let request = equip(
            Request::new("subscription { riskChanged { risk { band } } }"),
            viewer(role),
            &store,
        );
        let mut stream = schemas.main.execute_stream(request);
        let first = tokio::time::timeout(std::time::Duration::from_millis(50), stream.next()).await;
        match first {
            Err(_) => assert_eq!(expected, 'x', "{} listens", role.name()),
            Ok(response) => {
                let response = mask(response.expect("an answer"), "r");
                assert_eq!(
                    (first_code(&response), expected),
                    (Some("FORBIDDEN"), '.'),
                    "{}",
                    role.name()
                );
            }
        }
    }
}

#[tokio::test]
async fn without_a_viewer_nothing_is_answered() {
    let (schemas, store) = schemas(false);
    for (field, document, _) in ROOT_FIELDS {
        let request = Request::new(document).data(Loaders::new(&store));
        let response = mask(schemas.main.execute(request).await, "r");
        assert_eq!(first_code(&response), Some("FORBIDDEN"), "{field}");
    }
}

/// One employee of the store manager's team, and one of another.
struct Root;

#[Object]
impl Root {
    async fn mine(&self) -> Employee {
        Employee::new(row(2, Some(manager())))
    }

    async fn other(&self) -> Employee {
        Employee::new(row(3, None))
    }
}

/// Every field of `Employee`: how to ask for it, and what each role gets of a person of the own team, and of another person
/// in the tenant, if it comes to see one (in outline). `v` value, `p` pseudonym, `-` null or empty, `d` asks the database.
const EMPLOYEE_FIELDS: [(&str, &str, &str, &str); 20] = [
    ("department", "department", "vvvvv", "vvvvv"),
    ("displayName", "displayName", "vvppv", "vvppv"),
    ("division", "division", "-----", "-----"),
    ("hiredOn", "hiredOn", "vvvvv", "vvvvv"),
    ("id", "id", "vvvvv", "vvvvv"),
    ("jobTitle", "jobTitle", "vvvvv", "vvvvv"),
    ("lastDay", "lastDay", "-----", "-----"),
    ("leftOn", "leftOn", "-----", "-----"),
    ("location", "location", "vvvvv", "vvvvv"),
    ("manager", "manager { id }", "dd-dd", "-----"),
    ("mobilePhone", "mobilePhone", "vv--v", "-v--v"),
    ("position", "position", "vvvvv", "vvvvv"),
    ("readiness", "readiness { level }", "dd-dd", "-d-dd"),
    ("risk", "risk { band }", "dd-dd", "-d-dd"),
    ("riskHistory", "riskHistory { band }", "dd-dd", "-d-dd"),
    ("status", "status", "vvvvv", "vvvvv"),
    ("team", "team { nodes { id } }", "-dfdd", "-dfdd"),
    ("timeline", "timeline { nodes { type } }", "dd-dd", "-d-dd"),
    ("weeklyMinutes", "weeklyMinutes", "vvvvv", "vvvvv"),
    ("workEmail", "workEmail", "vv--v", "-v--v"),
];

#[tokio::test]
async fn every_field_of_an_employee_shows_each_role_what_the_table_says() {
    let mut listed: Vec<&str> = EMPLOYEE_FIELDS.iter().map(|(field, ..)| *field).collect();
    listed.push("workPhone");
    assert_eq!(fields_of("Employee"), listed, "a field is not in the table");
    let (store, _) = store();
    let schema = Schema::build(Root, EmptyMutation, EmptySubscription)
        .data(store.clone())
        .finish();
    let mut cells = Vec::new();
    for (field, selection, mine, other) in
        EMPLOYEE_FIELDS
            .into_iter()
            .chain([("workPhone", "workPhone", "vv--v", "-v--v")])
    {
        for (whose, expected) in [("mine", mine), ("other", other)] {
            cells.extend(
                Role::ALL
                    .into_iter()
                    .zip(expected.chars())
                    .map(move |(role, expected)| (field, selection, whose, role, expected)),
            );
        }
    }
    join_all(cells.into_iter().map(|(field, selection, whose, role, expected)| {
        let (schema, store) = (&schema, &store);
        async move {
            let request = equip(
                Request::new(format!("{{ {whose} {{ {selection} }} }}")),
                viewer(role),
                store,
            );
            let response = mask(schema.execute(request).await, "r");
            let data = response.data.clone().into_json().expect("json");
            let value = &data[whose][field];
            let empty = value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value["nodes"].as_array().is_some_and(Vec::is_empty);
            let got = match first_code(&response) {
                Some("FORBIDDEN") => 'f',
                Some("UNAVAILABLE") => 'd',
                Some(code) => panic!("{field}: {code} {:?}", response.errors),
                None if empty => '-',
                None if value.as_str().is_some_and(|text| text.starts_with("Employee ")) => 'p',
                None => 'v',
            };
            assert_eq!(got, expected, "{field} of {whose} for {}: {value}", role.name());
        }
    }))
    .await;
}

#[tokio::test]
async fn those_who_see_no_names_do_not_search_by_them() {
    let (schemas, store) = schemas(false);
    let document = r#"{ employees(filter: {search: "ada"}) { edges { cursor } } }"#;
    assert_eq!(
        first_code(&ask(&schemas, &store, Role::Analyst, document).await),
        Some("FORBIDDEN")
    );
    assert_eq!(
        first_code(&ask(&schemas, &store, Role::HrManager, document).await),
        Some("UNAVAILABLE")
    );
}

#[tokio::test]
async fn a_page_of_fifty_with_everything_on_it_is_within_the_limits() {
    let (schemas, store) = schemas(false);
    let document = "{ employees(first: 50) { pageInfo { hasNextPage endCursor } edges { cursor node { id displayName jobTitle department location status
        hiredOn manager { id displayName } risk { probability horizonDays band factors { feature label contribution } model scoredAt position } } } } }";
    assert_eq!(
        first_code(&ask(&schemas, &store, Role::HrManager, document).await),
        Some("UNAVAILABLE")
    );
}

#[tokio::test]
async fn documents_over_a_limit_are_refused_before_anything_is_read() {
    let (schemas, store) = schemas(false);
    let deep = format!(
        "{{ employees {{ nodes {{ {} id {} }} }} }}",
        "manager { ".repeat(9),
        "}".repeat(9)
    );
    let directives = format!("{{ status {{ logHead {} }} }}", "@include(if: true) ".repeat(11));
    for (what, document) in [
        ("depth", deep.as_str()),
        (
            "complexity",
            "{ employees(first: 100) { nodes { team(first: 100) { nodes { id } } } } }",
        ),
        ("directives", directives.as_str()),
        ("page size", "{ employees(first: 101) { nodes { id } } }"),
        ("negative page size", "{ employees(first: -1) { nodes { id } } }"),
        ("a bad cursor", r#"{ employees(after: "x") { nodes { id } } }"#),
        ("a bad id", r#"{ employee(id: "1 or 1=1") { id } }"#),
        ("introspection", "{ __schema { queryType { name } } }"),
    ] {
        let code = ask(&schemas, &store, Role::HrManager, document).await;
        assert!(
            matches!(first_code(&code), Some("INVALID" | "BAD_INPUT")) || code.data.to_string().contains("__schema"),
            "{what}: {code:?}"
        );
        assert!(!format!("{code:?}").contains("queryType"), "{what}: {code:?}");
    }
}

#[tokio::test]
async fn nothing_is_suggested_and_introspection_is_for_development() {
    let (schemas, store) = schemas(false);
    let response = ask(&schemas, &store, Role::HrManager, "{ employes { id } }").await;
    assert!(
        !response.errors[0].message.contains("employees"),
        "{}",
        response.errors[0].message
    );
    assert!(schemas.introspection.is_none());
    let (development, _) = self::schemas(true);
    let introspection = development.introspection.expect("in development");
    let answer = introspection.execute("{ __schema { queryType { fields { type { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } }").await;
    assert!(answer.is_ok(), "{:?}", answer.errors);
}

#[test]
fn a_request_with_too_many_aliases_is_refused_as_invalid() {
    let fields: String = (0..=ALIASES_MAX).map(|index| format!("a{index}: logHead ")).collect();
    let asked: Asked = serde_json::from_value(serde_json::json!({"query": format!("{{ status {{ {fields} }} }}")}))
        .expect("a request");
    let refused = http::prepare(asked).err().expect("refused");
    assert_eq!(first_code(&mask(refused.response, "r")), Some("BAD_INPUT"));
}
