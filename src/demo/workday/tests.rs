//! The connector's own client against the simulation.

use super::super::company::{Plan, Table};
use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use command_service::source::{SourceProblem, http_client};
use command_service::token::Token;
use command_service::workday::client::{Client, Group};
use domain::connection::{Login, Secrets, Workday};
use serde_json::json;

fn now() -> DateTime<Utc> {
    infra::clock::now()
}

async fn vendor(page_workers_max: usize) -> SimulatedWorkday {
    let company = Company::generate(&Plan::new(3, 30, 2, now().date_naive()));
    let options = ServerOptions {
        page_workers_max,
        client: Some(["id".into(), "of the client".into(), "a refresh token".into()]),
        ..ServerOptions::new("acme_dpt1", "ISU_Tenure", "hush")
    };
    let server = SimulatedWorkday::start(Arc::new(Mutex::new(company)), options).await;
    server.expect("a vendor")
}

fn client(server: &SimulatedWorkday, password: &str, change: impl FnOnce(&mut Workday)) -> Client {
    let secrets = Secrets {
        api_key: Some(password.into()),
        client_secret: Some("of the client".into()),
        ..Secrets::default()
    };
    let mut account = Workday {
        tenant: "acme_dpt1".into(),
        base_url: server.base_url(),
        version: Workday::VERSION.into(),
        login: Login::Password {
            user: "ISU_Tenure".into(),
        },
        department: Workday::DEPARTMENT.into(),
        division: Workday::DIVISION.into(),
    };
    change(&mut account);
    let http = http_client().expect("a client");
    Client::new(&account, (&secrets, Token::default()), http).expect("an address")
}

#[tokio::test]
async fn everybody_is_listed_once_over_many_pages() {
    let server = vendor(7).await;
    let later = (now() + TimeDelta::days(40)).date_naive().to_string();
    let record = json!({"firstName": "Ada", "lastName": "Later", "hireDate": later, "jobTitle": "Cashier", "payRate": "2000.00"});
    server
        .company()
        .insert_employee(&record, now())
        .expect("hired for a later day");
    let listed = client(&server, "hush", |_| {}).workers().await.expect("a list");
    let mut all: Vec<String> = server
        .company()
        .employees
        .iter()
        .map(|employee| employee.id.to_string())
        .collect();
    all.sort_unstable();
    assert!(all.len() > 3 * 7, "several pages");
    assert_eq!(listed.remote_ids, all);
}

#[tokio::test]
async fn who_changed_is_who_was_entered_and_for_whom_something_became_effective() {
    let server = vendor(7).await;
    let client = client(&server, "hush", |_| {});
    let (since, an_hour_ago) = (now() - TimeDelta::days(3), now() - TimeDelta::hours(1));
    let long_ago = now() - TimeDelta::days(90);
    let (entered, effective) = {
        let mut company = server.company();
        for employee in &mut company.employees {
            employee.last_changed = long_ago;
            // Nothing of the generator's own becomes effective now.
            let recent = (since - TimeDelta::days(2)).date_naive();
            employee.job_info.retain(|row| row.date < recent);
            employee.compensation.retain(|row| row.start_date < recent);
            employee.employment_status.retain(|row| row.date < recent);
        }
        let (entered, effective) = (company.employees[4].id, company.employees[9].id);
        let yesterday = (now() - TimeDelta::days(1)).date_naive().to_string();
        let row = json!({"startDate": yesterday, "rate": "31.00"});
        company
            .add_table_row(effective, Table::Compensation, &row, long_ago)
            .expect("a row");
        company
            .set_field(entered, "preferredName", "Addie", an_hour_ago)
            .expect("set");
        (entered, effective)
    };
    let changes = client.changed_since(since).await.expect("changes");
    let changed: Vec<String> = changes.employees.into_iter().map(|changed| changed.remote_id).collect();
    let mut expected = vec![entered.to_string(), effective.to_string()];
    expected.sort_unstable();
    assert_eq!(changed, expected);
    assert!(
        changes
            .cursor
            .is_some_and(|cursor| cursor < now() && cursor > an_hour_ago)
    );
}

#[tokio::test]
async fn every_refusal_is_told_as_what_it_is() {
    let server = vendor(7).await;
    let cause = |answer: Result<_, SourceProblem>| answer.map(drop).expect_err("refused").cause();
    assert_eq!(cause(client(&server, "wrong", |_| {}).workers().await), "unauthorised");
    let elsewhere = client(&server, "hush", |account| account.tenant = "another".into());
    assert_eq!(cause(elsewhere.workers().await), "unauthorised");
    let too_new = client(&server, "hush", |account| account.version = "v99.0".into());
    assert_eq!(cause(too_new.workers().await), "unexpected");
    let nothing_there = client(&server, "hush", |account| account.base_url.push_str("/other"));
    assert_eq!(cause(nothing_there.workers().await), "nothing-there");
    let right = client(&server, "hush", |_| {});
    server.faults().set_down(true);
    assert_eq!(cause(right.workers().await), "unavailable");
    server.faults().clear();
    server.faults().rate_limit(1, 7);
    let limited = right.workers().await.expect_err("refused");
    assert_eq!(
        (limited.cause(), limited.retry_after().map(|wait| wait.as_secs())),
        ("rate-limited", Some(7))
    );
    // That one leaves the source alone now.
    let right = client(&server, "hush", |_| {});
    server.faults().hide_fields(["Get_Workers"]);
    assert_eq!(cause(right.workers().await), "forbidden");
    server.faults().clear();
    let nobody = right
        .worker("no <such> & worker", now().date_naive(), (Group::Everything, now()))
        .await;
    assert!(nobody.expect("an answer").is_none());
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_for_all_and_again_when_its_token_ends() {
    let server = vendor(999).await;
    let by_token = |account: &mut Workday| account.login = Login::RefreshToken { client_id: "id".into() };
    let right = client(&server, "a refresh token", by_token);
    let (one, other) = tokio::join!(right.workers(), right.workers());
    assert_eq!(one.expect("a list").remote_ids, other.expect("a list").remote_ids);
    assert_eq!(server.faults().requests("POST token"), 1);
    server.end_tokens();
    assert!(right.workers().await.is_ok());
    assert_eq!(server.faults().requests("POST token"), 2);
    for wrong in [
        client(&server, "another", by_token),
        client(&server, "a refresh token", |account| {
            account.login = Login::RefreshToken {
                client_id: "another".into(),
            };
        }),
    ] {
        assert_eq!(
            wrong.workers().await.map(drop).expect_err("refused").cause(),
            "unauthorised"
        );
    }
}
