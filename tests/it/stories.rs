//! From a webhook to an answer.

use serde_json::{Value, json};
use tenure::demo::webhooks::{PayloadStyle, WebhookTarget};

use crate::harness::{Connected, DataDir, Tenure, Vendor, eventually};

/// Waits until the first import went through and every employed person has a score.
async fn imported(tenure: &Tenure, connected: &Connected) {
    eventually("the import", || async {
        let answer = tenure
            .query("admin", "{ connections { id status synchronisedAt employees } }")
            .await;
        let done = answer["connections"].as_array().is_some_and(|all| {
            all.iter()
                .any(|c| c["id"] == connected.id.as_str() && !c["synchronisedAt"].is_null())
        });
        if done { Ok(()) } else { Err(answer) }
    })
    .await;
}

async fn employee_named(tenure: &Tenure, name: &str) -> Value {
    eventually("the employee", || async {
        let query = format!(
            r#"{{ employees(first: 5, filter: {{search: "{name}"}}) {{ edges {{ node {{ id displayName jobTitle department location status hiredOn
                 manager {{ id displayName }} risk {{ probability horizonDays band factors {{ feature label contribution }} model scoredAt position }} }} }} }} }}"#
        );
        let answer = tenure.query("hr_manager", &query).await;
        match answer["employees"]["edges"].as_array().and_then(|edges| edges.first()) {
            Some(edge) => Ok(edge["node"].clone()),
            None => Err(answer),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_of_each_style_becomes_a_fresh_score() {
    let data = DataDir::new();
    let tenure = Tenure::start(&data.0);
    let vendor = Vendor::start(7, 40).await;
    let connected = tenure.connect(&vendor).await;
    imported(&tenure, &connected).await;

    for (index, style) in PayloadStyle::ALL.into_iter().enumerate() {
        let id = {
            let company = vendor.server.company();
            let today = crate::harness::today();
            company
                .employees
                .iter()
                .filter(|employee| employee.is_employed_on(today))
                .nth(index)
                .expect("somebody")
                .id
        };
        let first = format!("Zoe{index}");
        vendor.server.set_field(id, "preferredName", &first).expect("set");
        let change = vendor.server.set_field(id, "firstName", &first).expect("set");
        let target = WebhookTarget::new(connected.webhook_url.clone(), connected.webhook_key.clone(), style);
        let (company_id, events) = {
            let company = vendor.server.company();
            (company.company_id.clone(), target.events(&company, &[change]))
        };
        for body in target.bodies(&company_id, &events) {
            let (status, answer) = tenure.webhook(&connected, style.content_type(), &body).await;
            assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{style:?}: {answer}");
        }
        let employee = employee_named(&tenure, &first).await;
        assert!(
            employee["displayName"].as_str().expect("a name").starts_with(&first),
            "{employee:#}"
        );
        let risk = &employee["risk"];
        let probability = risk["probability"].as_f64().expect("a probability");
        assert!(
            (0.0..=1.0).contains(&probability) && !risk["factors"].as_array().expect("factors").is_empty(),
            "{employee:#}"
        );
        assert!(
            risk["model"].is_string() && risk["position"].as_i64().is_some_and(|p| p > 0) && risk["horizonDays"] == 180,
            "{risk:#}"
        );
    }
}
