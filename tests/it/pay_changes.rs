//! Changes of pay: asked for and approved here, made at the source, and believed when the source shows them.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use chrono::NaiveDate;
use rand::Rng;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tenure::demo::{
    adp::{self, SimulatedAdp},
    company::{CompensationRow, EmployeeId, PayType},
    faults::Write,
    gusto::{ServerOptions, SimulatedGusto},
};

use crate::{
    faults::{imported, lasting_address, random, seed, settled, sql},
    harness::{Connected, DataDir, Tenure, Vendor, eventually, today, tool},
    outages::employed,
};

/// Somebody whose pay is changed: at the source, and here.
struct Person {
    remote: EmployeeId,
    id: String,
    pay_type: PayType,
    currency: String,
}

fn person(tenure: &Tenure, vendor: &Vendor, remote: EmployeeId) -> Person {
    let id = sql(
        &tenure.data_dir,
        &format!("select id from employee where remote_id = '{}'", remote.0),
    );
    assert!(!id.is_empty(), "{remote:?} is not here");
    let rows = rows(vendor, remote);
    let last = rows.last().expect("somebody who is paid");
    Person {
        remote,
        id,
        pay_type: last.pay_type,
        currency: last.currency.clone(),
    }
}

/// A day to come.
fn later() -> NaiveDate {
    today() + chrono::Days::new(40)
}

/// People who work there, and whose pay the company does not change on the days of these tests by itself.
fn people(tenure: &Tenure, vendor: &Vendor, count: usize) -> Vec<Person> {
    let is_free = |remote: &EmployeeId| {
        let mut days = rows(vendor, *remote).into_iter().map(|row| row.start_date);
        !days.any(|day| day == today() || day == later())
    };
    let free = employed(vendor, usize::MAX).into_iter().filter(is_free);
    let people: Vec<Person> = free.take(count).map(|remote| person(tenure, vendor, remote)).collect();
    assert_eq!(people.len(), count, "too few people for this test");
    people
}

fn rows(vendor: &Vendor, remote: EmployeeId) -> Vec<CompensationRow> {
    let company = vendor.server.company();
    company.employee(remote).expect("an employee").compensation.clone()
}

/// What the source holds of somebody's pay from exactly this day on, in cents.
fn rates(vendor: &Vendor, remote: EmployeeId, on: NaiveDate) -> Vec<i64> {
    let begin = rows(vendor, remote).into_iter().filter(|row| row.start_date == on);
    begin.map(|row| row.rate_cents).collect()
}

fn rate(person: &Person, cents: i64) -> Value {
    let per = match person.pay_type {
        PayType::Hourly => "HOUR",
        PayType::Salary => "YEAR",
    };
    json!({ "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": person.currency, "per": per })
}

async fn ask(tenure: &Tenure, role: &str, person: &Person, cents: i64, on: NaiveDate) -> (u16, Value) {
    let body = json!({ "to": rate(person, cents), "effective_on": on.to_string(), "reason": "Merit" });
    let (path, key) = (
        format!("/v1/employees/{}/pay-changes", person.id),
        format!("{} {cents} {on}", person.id),
    );
    tenure.post(&path, role, &[("idempotency-key", &key)], body).await
}

async fn requested(tenure: &Tenure, person: &Person, cents: i64, on: NaiveDate) -> String {
    let (status, answer) = ask(tenure, "hr_manager", person, cents, on).await;
    assert_eq!(status, 200, "{answer:#}");
    answer["id"].as_str().expect("an id").to_owned()
}

async fn decide(tenure: &Tenure, role: &str, person: &Person, (change, decision): (&str, &str)) -> (u16, Value) {
    let path = format!("/v1/employees/{}/pay-changes/{change}/{decision}", person.id);
    let key = format!("{decision} {change}");
    tenure
        .post(&path, role, &[("idempotency-key", &key)], Value::Null)
        .await
}

async fn approved(tenure: &Tenure, person: &Person, cents: i64, on: NaiveDate) -> String {
    let change = requested(tenure, person, cents, on).await;
    let (status, answer) = decide(tenure, "admin", person, (&change, "approve")).await;
    assert_eq!(status, 200, "{answer:#}");
    change
}

/// The change, once it stands there.
async fn at(tenure: &Tenure, change: &str, stage: &str) -> Value {
    let query = "{ payChanges(first: 100) { nodes { id stage waitingFor cause message decidedBy reference reason effectiveOn to { amount currency per } \
                 employee { displayName } } } }";
    eventually(&format!("{change} is {stage}"), || async {
        let answer = tenure.ask("hr_manager", query, &[]).await;
        let all = answer["data"]["payChanges"]["nodes"].as_array().cloned();
        let known = all.into_iter().flatten().find(|known| known["id"] == change);
        known.filter(|known| known["stage"] == stage).ok_or(answer)
    })
    .await
}

/// What somebody's timeline says of their pay, the newest first.
async fn told(tenure: &Tenure, person: &Person) -> Vec<String> {
    let query = format!(
        r#"{{ employee(id: "{}") {{ timeline(first: 30) {{ nodes {{ type summary }} }} }} }}"#,
        person.id
    );
    let answer = tenure.query("hr_manager", &query).await;
    let entries = answer["employee"]["timeline"]["nodes"].as_array().cloned();
    let about_pay = entries.into_iter().flatten().filter(|entry| {
        let event_type = entry["type"].as_str().unwrap_or_default();
        event_type.starts_with("pay-change.") || event_type == "employee.pay-changed"
    });
    about_pay
        .map(|entry| entry["summary"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn opened(seed: u64, employees: usize) -> (DataDir, Tenure, Vendor, Connected) {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(seed, employees).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    (data, tenure, vendor, connected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_pay_is_approved_by_another_made_at_the_source_and_believed_when_it_shows() {
    let (_data, tenure, vendor, _) = opened(31, 20).await;
    let people = people(&tenure, &vendor, 6);
    let (ada, ben, eve, ida, max, zoe) = (&people[0], &people[1], &people[2], &people[3], &people[4], &people[5]);
    let (today, later) = (today(), later());

    // Asked for by one, approved by another, and in force today.
    let raise = requested(&tenure, ada, 4_321, today).await;
    let known = at(&tenure, &raise, "REQUESTED").await;
    assert_eq!(
        (&known["reason"], &known["effectiveOn"]),
        (&json!("Merit"), &json!(today.to_string()))
    );
    assert_eq!(
        (&known["to"]["amount"], known["employee"]["displayName"].is_string()),
        (&json!("43.21"), true)
    );
    let (status, answer) = decide(&tenure, "hr_manager", ada, (&raise, "approve")).await;
    assert_eq!(
        (status, answer["type"].as_str().map(|kind| kind.ends_with("rejected"))),
        (409, Some(true)),
        "{answer:#}"
    );
    assert_eq!(
        rates(&vendor, ada.remote, today),
        Vec::<i64>::new(),
        "nothing is sent before it is approved"
    );
    assert_eq!(decide(&tenure, "admin", ada, (&raise, "approve")).await.0, 200);
    let known = at(&tenure, &raise, "EFFECTIVE").await;
    assert!(
        known["decidedBy"].as_str().is_some_and(|by| by.starts_with("user:")),
        "{known:#}"
    );
    assert_eq!(rates(&vendor, ada.remote, today), vec![4_321]);
    let row = rows(&vendor, ada.remote).pop().expect("the new row");
    assert_eq!(
        (row.comment.as_str(), row.currency.as_str()),
        ("Merit", ada.currency.as_str())
    );
    // The profile follows, from what the source shows.
    eventually("the raise in the profile", || async {
        let told = told(&tenure, ada).await;
        let changed = told
            .iter()
            .any(|entry| entry.starts_with("Pay changed from") && entry.contains("43.21"));
        if changed { Ok(()) } else { Err(json!(told)) }
    })
    .await;
    let told = told(&tenure, ada).await;
    assert!(
        told.iter().any(|entry| entry.contains("was asked for (Merit)")),
        "{told:?}"
    );

    // A day to come: it is there, and waits for its day.
    let future = approved(&tenure, ben, 5_000, later).await;
    at(&tenure, &future, "ACCEPTED").await;
    assert_eq!(rates(&vendor, ben.remote, later), vec![5_000]);
    let (status, answer) = decide(&tenure, "admin", ben, (&future, "withdraw")).await;
    assert_eq!(status, 409, "{answer:#}");

    // Another rate begins on the day already.
    let row = json!({ "startDate": later.to_string(), "rate": "60.00", "type": eve.pay_type.as_str() });
    let table = tenure::demo::company::Table::Compensation;
    vendor.server.add_table_row(eve.remote, table, &row).expect("a row");
    let taken = approved(&tenure, eve, 5_100, later).await;
    assert_eq!(at(&tenure, &taken, "REJECTED").await["cause"], "day-taken");
    assert_eq!(rates(&vendor, eve.remote, later), vec![6_000]);

    // Whoever knows of it may replace it.
    let path = format!("/v1/employees/{}/pay-changes", eve.id);
    let body = json!({ "to": rate(eve, 5_150), "effective_on": later.to_string(), "instead_of": rate(eve, 6_000) });
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "instead")], body)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let replacing = answer["id"].as_str().expect("an id");
    assert_eq!(decide(&tenure, "admin", eve, (replacing, "approve")).await.0, 200);
    at(&tenure, replacing, "ACCEPTED").await;
    assert_eq!(rates(&vendor, eve.remote, later), vec![5_150]);

    // The source refuses, in its own words.
    vendor
        .server
        .faults()
        .set_writes(Write::Refused(412, "an active pay schedule is needed"), 1);
    let refused = approved(&tenure, ida, 5_200, later).await;
    let known = at(&tenure, &refused, "REJECTED").await;
    assert_eq!(
        (&known["cause"], &known["message"]),
        (&json!("refused"), &json!("an active pay schedule is needed"))
    );

    // An answer of 200 is not the change.
    vendor.server.faults().set_writes(Write::Swallowed, 1);
    let swallowed = approved(&tenure, max, 5_300, later).await;
    let known = eventually("it is seen that it is not there", || async {
        let known = at(&tenure, &swallowed, "SUBMITTED").await;
        if known["waitingFor"].is_null() {
            Err(known)
        } else {
            Ok(known)
        }
    })
    .await;
    assert_eq!(known["waitingFor"], "not-shown-yet");
    let row = json!({ "startDate": later.to_string(), "rate": "53.00", "type": max.pay_type.as_str() });
    vendor.server.add_table_row(max.remote, table, &row).expect("a row");
    at(&tenure, &swallowed, "ACCEPTED").await;

    // Withdrawn while it is nobody's yet; declined; and of no interest to who may not see it.
    let withdrawn = requested(&tenure, zoe, 5_400, later).await;
    assert_eq!(
        requested(&tenure, zoe, 5_400, later).await,
        withdrawn,
        "the same again is the same"
    );
    assert_eq!(
        decide(&tenure, "admin", zoe, (&withdrawn, "withdraw")).await.0,
        409,
        "who did not ask declines"
    );
    assert_eq!(
        ask(&tenure, "hr_manager", zoe, 5_401, later).await.0,
        409,
        "the day is taken"
    );
    assert_eq!(
        decide(&tenure, "hr_manager", zoe, (&withdrawn, "withdraw")).await.0,
        200
    );
    let declined = requested(&tenure, zoe, 5_500, later).await;
    let path = format!("/v1/employees/{}/pay-changes/{declined}/decline", zoe.id);
    let body = json!({ "reason": "not in this round" });
    let (status, _) = tenure.post(&path, "admin", &[("idempotency-key", "no")], body).await;
    assert_eq!(status, 200);
    assert_eq!(ask(&tenure, "analyst", zoe, 5_600, later).await.0, 403);
    assert_eq!(ask(&tenure, "executive", zoe, 5_600, later).await.0, 403);
    assert_eq!(
        ask(&tenure, "store_manager", zoe, 5_600, later).await.0,
        404,
        "beyond the own team"
    );
    at(&tenure, &declined, "DECLINED").await;
    at(&tenure, &withdrawn, "WITHDRAWN").await;
    assert_eq!(rates(&vendor, zoe.remote, later), Vec::<i64>::new());
    let tasks = sql(&tenure.data_dir, "select count(*) from pay_change_task");
    assert_eq!(tasks, "3", "those that wait for their day");

    // Whoever is erased is not paid through here any more.
    let path = format!("/v1/employees/{}/erase", ben.id);
    let body = json!({ "basis": "request of the person" });
    let (status, answer) = tenure.post(&path, "admin", &[("idempotency-key", "erase")], body).await;
    assert_eq!(status, 200, "{answer:#}");
    settled(&tenure).await;
    assert_eq!(sql(&tenure.data_dir, "select count(*) from pay_change_task"), "2");
    let known = at(&tenure, &future, "ACCEPTED").await;
    assert_eq!((&known["to"], &known["reason"]), (&Value::Null, &Value::Null));
    assert_eq!(
        decide(&tenure, "admin", ben, (&future, "abandon")).await.0,
        409,
        "of whoever was erased nothing is kept"
    );
}

/// A payroll of its own pays the people of an HRIS: changes are made there, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payroll_at_gusto_pays_the_people_of_an_hris() {
    const COMPANY: uuid::Uuid = uuid::Uuid::from_u128(0x6057);
    let (data, mut tenure, vendor, connected) = opened(33, 20).await;
    let options = ServerOptions::new(COMPANY, ["an-application", "a-secret"], "a-refresh-token");
    let company = vendor.server.shared_company();
    let gusto = SimulatedGusto::start(&company, options).await.expect("a payroll");
    let connect = |refresh_token: &str| {
        json!({ "company": COMPANY, "client_id": "an-application", "client_secret": "a-secret", "refresh_token": refresh_token,
            "employees_of": [connected.id], "tells_profiles": true, "base_url": gusto.base_url() })
    };
    let path = "/v1/integrations/gusto";
    let nobody = json!({ "employees_of": [uuid::Uuid::nil()] });
    let mut wrong = connect("a-refresh-token");
    wrong["employees_of"] = nobody["employees_of"].clone();
    assert_eq!(tenure.post(path, "admin", &[], wrong).await.0, 400);
    let (status, answer) = tenure.post(path, "admin", &[], connect("a-refresh-token")).await;
    assert_eq!(status, 201, "{answer:#}");
    let id = answer["id"].as_str().expect("an id").to_owned();
    let told_by =
        tokio::task::block_in_place(|| crate::harness::told(&mut tool(&data.0, &["connection", "test", &id])));
    let told_by = told_by.expect("it works");
    assert!(
        told_by.contains("have a work address") && told_by.contains("rates of pay"),
        "{told_by}"
    );

    let people = people(&tenure, &vendor, 7);
    let (ada, ben, eve, ida, max, zoe, kim) = (
        &people[0], &people[1], &people[2], &people[3], &people[4], &people[5], &people[6],
    );
    let (today, later) = (today(), later());
    let paid = |person: &Person, on: NaiveDate| -> Vec<i64> {
        let payee = gusto.payee(person.remote).expect("on the payroll");
        let begin = payee
            .compensations
            .into_iter()
            .filter(|known| known.effective_date == on);
        begin.map(|known| known.rate_cents).collect()
    };

    let raise = approved(&tenure, ada, 4_321, today).await;
    let known = at(&tenure, &raise, "EFFECTIVE").await;
    assert_eq!(paid(ada, today), vec![4_321]);
    assert_eq!(
        rates(&vendor, ada.remote, today),
        Vec::<i64>::new(),
        "the HRIS is only read"
    );
    assert!(known["reference"].is_string(), "{known:#}");
    eventually("the raise in the profile", || async {
        let told = told(&tenure, ada).await;
        let changed = told
            .iter()
            .any(|entry| entry.starts_with("Pay changed from") && entry.contains("43.21"));
        if changed { Ok(()) } else { Err(json!(told)) }
    })
    .await;

    // Tokens end, and the next one is asked for with the refresh token that came with the last, also by another process.
    gusto.end_tokens();
    let future = approved(&tenure, ben, 5_000, later).await;
    at(&tenure, &future, "ACCEPTED").await;
    drop(tenure);
    tenure = tokio::task::block_in_place(|| Tenure::start(&data.0));
    gusto.end_tokens();
    gusto.faults().set_writes(Write::Unanswered, 1);
    let unanswered = approved(&tenure, eve, 5_100, later).await;
    at(&tenure, &unanswered, "ACCEPTED").await;
    assert_eq!((paid(ben, later), paid(eve, later)), (vec![5_000], vec![5_100]));

    // What begins on the day is replaced in the version in which it was seen.
    let path = format!("/v1/employees/{}/pay-changes", eve.id);
    let body = json!({ "to": rate(eve, 5_150), "effective_on": later.to_string(), "instead_of": rate(eve, 5_100) });
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "instead")], body)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let replacing = answer["id"].as_str().expect("an id");
    assert_eq!(decide(&tenure, "admin", eve, (replacing, "approve")).await.0, 200);
    at(&tenure, replacing, "ACCEPTED").await;
    assert_eq!(paid(eve, later), vec![5_150]);
    assert_eq!(
        ask(&tenure, "hr_manager", eve, 5_160, later).await.0,
        409,
        "of what begins on the day nothing is said"
    );
    let begin = |person: &Person, cents: i64| {
        gusto.edit(person.remote, |payee| {
            let mut row = payee.compensations[0].clone();
            (row.uuid, row.rate_cents, row.effective_date) = (uuid::Uuid::new_v5(&row.uuid, b"by hand"), cents, later);
            payee.compensations.push(row);
        });
    };
    begin(ida, 6_000);
    let body = json!({ "to": rate(ida, 6_150), "effective_on": later.to_string(), "instead_of": rate(ida, 6_000) });
    let path = format!("/v1/employees/{}/pay-changes", ida.id);
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "by hand")], body)
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let replacing = answer["id"].as_str().expect("an id");
    assert_eq!(decide(&tenure, "admin", ida, (replacing, "approve")).await.0, 200);
    at(&tenure, replacing, "ACCEPTED").await;
    assert_eq!(paid(ida, later), vec![6_150]);
    begin(max, 6_200);
    let taken = approved(&tenure, max, 5_300, later).await;
    assert_eq!(at(&tenure, &taken, "REJECTED").await["cause"], "day-taken");

    // What keeps it from going on is told; and what cannot be, before it is asked for.
    gusto.faults().hide_fields(["compensations"]);
    let hidden = approved(&tenure, zoe, 5_400, later).await;
    eventually("the missing scope", || async {
        let known = at(&tenure, &hidden, "SUBMITTING").await;
        if known["waitingFor"] == "forbidden" {
            Ok(())
        } else {
            Err(known)
        }
    })
    .await;
    gusto.faults().clear();
    let path = format!("/v1/employees/{}/pay-changes", kim.id);
    let euros =
        json!({ "to": { "amount": "60000", "currency": "EUR", "per": "YEAR" }, "effective_on": later.to_string() });
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "euros")], euros)
        .await;
    assert_eq!(
        (status, &answer["detail"]),
        (409, &json!("Gusto pays in US dollars")),
        "{answer:#}"
    );
    let early = json!({ "to": rate(kim, 5_500), "effective_on": "1999-01-01" });
    assert_eq!(
        tenure
            .post(&path, "hr_manager", &[("idempotency-key", "early")], early)
            .await
            .0,
        400
    );
    gusto.edit(kim.remote, |payee| payee.work_email.clear());
    let (status, answer) = ask(&tenure, "hr_manager", kim, 5_500, later).await;
    assert_eq!(status, 409, "{answer:#}");
    assert!(
        answer["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("nobody in the payroll")),
        "{answer:#}"
    );
}

/// An authority, and who it vouches for: a certificate and its key.
fn certified(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> [String; 2] {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    [certificate.pem(), key.serialize_pem()]
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// ADP is asked over mutual TLS, and need not show what begins on a day to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payroll_at_adp_is_asked_over_mutual_tls() {
    let (data, tenure, vendor, connected) = opened(35, 16).await;
    let authority = authority();
    let (server, project) = (certified(&authority, "localhost"), certified(&authority, "a project"));
    let stranger = certified(&self::authority(), "a project");
    let mut options = adp::ServerOptions::new(["a-project", "a-secret"], server, authority.pem());
    (options.in_worker, options.shows_days_to_come) = (false, false);
    let company = vendor.server.shared_company();
    let adp = SimulatedAdp::start(&company, options).await.expect("a payroll");
    let connect = |name: &str, [certificate, private_key]: &[String; 2], shape: &str| {
        json!({ "name": name, "client_id": "a-project", "client_secret": "a-secret", "certificate": certificate, "private_key": private_key,
            "employees_of": [connected.id], "shape": shape, "base_url": adp.base_url(),
            "token_url": format!("{}/auth/oauth/v2/token", adp.base_url()), "authority": authority.pem() })
    };
    let path = "/v1/integrations/adp";
    let torn = [project[0].clone(), "no key".to_owned()];
    let (status, answer) = tenure.post(path, "admin", &[], connect("adp", &torn, "worker")).await;
    assert_eq!(status, 400, "{answer:#}");
    let tested = |id: &str| {
        let mut command = tool(&data.0, &["connection", "test", id]);
        tokio::task::block_in_place(|| command.output().expect("the binary"))
    };
    let (status, answer) = tenure
        .post(path, "admin", &[], connect("adp", &stranger, "worker"))
        .await;
    assert_eq!(status, 201, "{answer:#}");
    let id = answer["id"].as_str().expect("an id").to_owned();
    assert!(!tested(&id).status.success(), "nobody vouches for this certificate");
    assert_eq!(
        tenure
            .post(path, "admin", &[], connect("adp", &project, "worker"))
            .await
            .0,
        201
    );
    let works = tested(&id);
    let told_by = String::from_utf8_lossy(&works.stdout).into_owned();
    assert!(works.status.success() && told_by.contains("rates of pay"), "{told_by}");

    let people = people(&tenure, &vendor, 4);
    let (ada, ben, eve, ida) = (&people[0], &people[1], &people[2], &people[3]);
    let (today, later) = (today(), later());
    let paid = |person: &Person, on: NaiveDate| {
        let payee = adp.payee(person.remote).expect("on the payroll");
        (payee.rates.get(&on).map(|rate| rate.cents), payee.changes)
    };

    // The organisation wants the assignment elsewhere: it says so, and that is told.
    let refused = approved(&tenure, ada, 4_321, today).await;
    let known = at(&tenure, &refused, "REJECTED").await;
    assert_eq!(known["message"], "baseRemuneration is required.", "{known:#}");
    assert_eq!(
        tenure
            .post(path, "admin", &[], connect("adp", &project, "work-assignment"))
            .await
            .0,
        201
    );

    adp.end_tokens();
    let raise = approved(&tenure, ben, 4_321, today).await;
    let known = at(&tenure, &raise, "EFFECTIVE").await;
    assert!(
        known["reference"]
            .as_str()
            .is_some_and(|told| told.starts_with("request-")),
        "{known:#}"
    );
    assert_eq!(paid(ben, today), (Some(4_321), 1));
    assert_eq!(
        rates(&vendor, ben.remote, today),
        Vec::<i64>::new(),
        "the HRIS is only read"
    );

    // An answer that is lost.
    adp.faults().set_writes(Write::Unanswered, 1);
    let unanswered = approved(&tenure, eve, 5_100, today).await;
    at(&tenure, &unanswered, "EFFECTIVE").await;
    assert_eq!(paid(eve, today), (Some(5_100), 1));

    // What is not shown before its day is neither believed nor missed.
    adp.faults().set_writes(Write::Unanswered, 1);
    let unknown = approved(&tenure, ada, 5_150, later).await;
    eventually("nobody knows what became of it", || async {
        let known = at(&tenure, &unknown, "SUBMITTING").await;
        if known["waitingFor"] == "unconfirmed" {
            Ok(())
        } else {
            Err(known)
        }
    })
    .await;
    assert_eq!(paid(ada, later), (Some(5_150), 1));
    assert_eq!(decide(&tenure, "admin", ada, (&unknown, "abandon")).await.0, 200);
    at(&tenure, &unknown, "ABANDONED").await;
    let future = approved(&tenure, ida, 5_200, later).await;
    eventually("it waits for its day", || async {
        let known = at(&tenure, &future, "SUBMITTED").await;
        if known["waitingFor"] == "not-shown-yet" {
            Ok(())
        } else {
            Err(known)
        }
    })
    .await;
    assert_eq!(paid(ida, later), (Some(5_200), 1));
    let path = format!("/v1/employees/{}/pay-changes", ida.id);
    let monthly =
        json!({ "to": { "amount": "6000", "currency": "USD", "per": "MONTH" }, "effective_on": later.to_string() });
    let (status, answer) = tenure
        .post(&path, "hr_manager", &[("idempotency-key", "monthly")], monthly)
        .await;
    assert_eq!(status, 409, "{answer:#}");
}

/// Where the process dies.
const FAIL_POINTS: [&str; 3] = ["before-submission-begun", "before-submission", "after-submission"];

/// Whatever the source does and wherever the process dies, each change that was approved is made, and made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_a_change_is_made_once() {
    let seed = seed("pay_changes");
    let mut random = random(seed, 0);
    let (data, address) = (DataDir::new(), lasting_address());
    let start = |fail_points: &str| {
        let environment = [("TENURE_CRASH_ON_FAILPOINT", "1"), ("FAILPOINTS", fail_points)];
        tokio::task::block_in_place(|| Tenure::try_start(&data.0, &address, &environment))
    };
    let healthy = || start("").unwrap_or_else(|log| panic!("did not become ready: {log}"));
    let mut tenure = healthy();
    let vendor = Vendor::start(seed, 24).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;
    let people = people(&tenure, &vendor, 12);
    let mut changes = Vec::new();
    for (round, fail_point) in FAIL_POINTS.into_iter().enumerate() {
        let asked = changes.len();
        for person in &people[4 * round..4 * round + 4] {
            // Today or far ahead: what the company plans for itself lies in between.
            let ahead = if random.random_bool(0.5) {
                0
            } else {
                random.random_range(300..400)
            };
            let on = today() + chrono::Days::new(ahead);
            let cents = free_rate(&vendor, person, &mut random);
            let change = requested(&tenure, person, cents, on).await;
            changes.push((person, cents, on, change));
        }
        drop(tenure);
        let faults = vendor.server.faults();
        match random.random_range(0..4) {
            0 => faults.set_writes(Write::Unanswered, random.random_range(1..3)),
            1 => faults.rate_limit(random.random_range(1..6), 0),
            2 => faults.unavailable(random.random_range(1..6), 0),
            _ => faults.set_slow(Duration::from_millis(random.random_range(1..60))),
        }
        match start(&format!("{fail_point}=panic")) {
            Ok(mut running) => {
                for (person, .., change) in &changes[asked..] {
                    approve_somehow(&running, person, change).await;
                }
                let died = eventually("the process dies", || {
                    let ended = running.process.try_wait().expect("a child");
                    async move { ended.ok_or(json!("it lives")) }
                })
                .await;
                assert_eq!(died.signal(), Some(6), "{fail_point}: {died}, not an abort");
            }
            // What was left from before had it die before it was ready.
            Err(log) => assert!(log.contains(&format!("failpoint {fail_point} panic")), "{log}"),
        }
        tenure = healthy();
        if random.random_bool(0.5) {
            vendor.server.faults().clear();
        }
        for (person, .., change) in &changes[asked..] {
            let (status, answer) = decide(&tenure, "admin", person, (change, "approve")).await;
            assert_eq!(status, 200, "{answer:#}");
        }
    }
    vendor.server.faults().clear();
    for (person, cents, on, change) in &changes {
        // Of what was cut off on its way nobody knows what became: the ten minutes are over sooner here.
        eventually("what was cut off is settled", || async {
            let over = "update pay_change_task set sent_at = sent_at - interval '1 hour', due_at = now() where last_problem = 'unconfirmed'";
            sql(&data.0, over);
            let stage = sql(&data.0, &format!("select stage from pay_change where id = '{change}'"));
            if stage == "ACCEPTED" || stage == "EFFECTIVE" { Ok(()) } else { Err(json!(stage)) }
        })
        .await;
        let stage = if *on > today() { "ACCEPTED" } else { "EFFECTIVE" };
        at(&tenure, change, stage).await;
        assert_eq!(rates(&vendor, person.remote, *on), vec![*cents], "{change}");
    }
    settled(&tenure).await;
    // Of each change one event of each kind.
    let doubled = "select count(*) from (select 1 from event where kind = 'pay-change' group by stream_id, event_type having count(*) > 1) d";
    assert_eq!(sql(&data.0, doubled), "0");
    let unknown = "select count(*) from pay_change p where not exists
                   (select from timeline_entry t where t.employee = p.employee and t.event_type = 'employee.pay-changed' and t.effective_on = p.effective_on)";
    assert_eq!(sql(&data.0, unknown), "0", "what the source shows is in the profile");
}

/// A rate that the person never had.
fn free_rate(vendor: &Vendor, person: &Person, random: &mut impl Rng) -> i64 {
    let had: Vec<i64> = rows(vendor, person.remote).iter().map(|row| row.rate_cents).collect();
    loop {
        let cents = random.random_range(2_000..9_000);
        if !had.contains(&cents) {
            return cents;
        }
    }
}

/// The process may die before it answers.
async fn approve_somehow(tenure: &Tenure, person: &Person, change: &str) {
    let path = format!("/v1/employees/{}/pay-changes/{change}/approve", person.id);
    let request = tenure
        .http
        .post(format!("http://{}{path}", tenure.listen()))
        .bearer_auth(tenure.token("admin"))
        .header("idempotency-key", format!("approve {change}"));
    if let Err(error) = request.send().await {
        eprintln!("pay_changes: not answered: {error}");
    }
}
