//! What a key opens at BambooHR.

use chrono::DateTime;
use domain::id::ConnectionId;
use infra::clock;

use super::{Finding, Verdict, is_total};
use crate::bamboohr::{
    client::{Client, Table, Whose},
    translate::FIELDS,
};

pub(super) async fn check(client: &Client, registered: Option<ConnectionId>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let changes = client.changed_since(clock::now()).await;
    if let Err(problem) = &changes
        && is_total(problem)
    {
        findings.push(Finding::new("key and address", Verdict::Broken, problem.to_string()));
        return findings;
    }
    findings.push(Finding::new("key and address", Verdict::Works, "accepted"));
    findings.push(match changes {
        Ok(_) => Finding::new("who changed", Verdict::Works, "can be asked for"),
        Err(problem) => {
            let text = format!("{problem}. What no webhook tells is found once a day only");
            Finding::new("who changed", Verdict::Missing, text)
        }
    });
    if let Some(connection) = registered {
        findings.push(webhook(client, connection).await);
    }
    let listed = client.directory().await;
    findings.push(match &listed {
        Ok(people) => Finding::new(
            "directory",
            Verdict::Works,
            format!("{} people are employed", people.len()),
        ),
        Err(problem) => Finding::new("directory", Verdict::Missing, problem.to_string()),
    });
    let Some(somebody) = somebody(
        client,
        &mut findings,
        listed.unwrap_or_default().into_iter().map(|one| one.remote_id),
    )
    .await
    else {
        return findings;
    };
    findings.push(fields(client, &somebody).await);
    for (table, part) in [
        (Table::JobInfo, "job history"),
        (Table::Compensation, "pay history"),
        (Table::EmploymentStatus, "employment history"),
    ] {
        findings.push(rows(client, &somebody, (table, part)).await);
    }
    findings
}

async fn webhook(client: &Client, connection: ConnectionId) -> Finding {
    let end = format!("/v1/webhooks/{connection}");
    let part = "webhook";
    match client.webhooks().await {
        Ok(all) => match all.iter().find(|webhook| webhook.url.ends_with(&end)) {
            Some(webhook) => Finding::new(part, Verdict::Works, format!("sends to {}", webhook.url)),
            None => {
                let text =
                    "there is none any more: it is made anew within the hour. Until then who changed is asked for";
                Finding::new(part, Verdict::Missing, text)
            }
        },
        Err(problem) => Finding::new(part, Verdict::Missing, problem.to_string()),
    }
}

/// Somebody to ask about: from the directory, or who ever changed.
async fn somebody(
    client: &Client,
    findings: &mut Vec<Finding>,
    mut employed: impl Iterator<Item = String>,
) -> Option<String> {
    if let Some(one) = employed.next() {
        return Some(one);
    }
    let everybody = client.changed_since(DateTime::UNIX_EPOCH).await;
    let somebody = everybody.ok().and_then(|changes| changes.employees.into_iter().next());
    if somebody.is_none() {
        findings.push(Finding::new(
            "people",
            Verdict::Broken,
            "nobody is listed: may the user who made the key see employees?",
        ));
    }
    somebody.map(|one| one.remote_id)
}

async fn fields(client: &Client, somebody: &str) -> Finding {
    let part = "fields";
    match client.employee(somebody, FIELDS).await {
        Ok(Some(shown)) => {
            let withheld: Vec<&str> = FIELDS
                .iter()
                .copied()
                .filter(|name| !shown.contains_key(*name))
                .collect();
            if withheld.is_empty() {
                return Finding::new(part, Verdict::Works, format!("all {} are shown", FIELDS.len()));
            }
            let text = format!(
                "{} of {} are not shown: {}. If the account has them, give the user who made the key access to them in BambooHR",
                withheld.len(),
                FIELDS.len(),
                withheld.join(", ")
            );
            Finding::new(part, Verdict::Missing, text)
        }
        Ok(None) => Finding::new(part, Verdict::Broken, "a listed person is not there"),
        Err(problem) => Finding::new(part, Verdict::Broken, problem.to_string()),
    }
}

async fn rows(client: &Client, somebody: &str, (table, part): (Table, &'static str)) -> Finding {
    let name = table.name();
    match client.table(Whose::One(somebody), table).await {
        Ok(rows) if rows.is_empty() => Finding::new(
            part,
            Verdict::Missing,
            format!(
                "the table {name} is empty: it may not be seen, or is not used. Only what is true today is known then"
            ),
        ),
        Ok(_) => Finding::new(part, Verdict::Works, format!("the table {name} is shown")),
        Err(problem) => Finding::new(
            part,
            Verdict::Missing,
            format!("{problem}. Only what is true today is known then"),
        ),
    }
}
