//! What Tenure may see and change at ADP.

use infra::clock;

use super::{Finding, Verdict};
use crate::adp::client::Client;

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    const OPENS: &str = "certificate and secret";
    let everybody = match client.everybody().await {
        Ok(everybody) => everybody,
        Err(problem) => {
            let text = format!(
                "{problem}. The project needs the workers API, and the certificate must be the one that ADP signed for it"
            );
            return vec![Finding::new(OPENS, Verdict::Broken, text)];
        }
    };
    let mut findings = vec![Finding::new(OPENS, Verdict::Works, "accepted")];
    let Some(somebody) = everybody.first() else {
        let text = "nobody is listed: is it the right organisation?";
        findings.push(Finding::new("workers", Verdict::Broken, text));
        return findings;
    };
    let with_address = everybody.iter().filter(|one| !one.work_emails.is_empty()).count();
    let text = format!(
        "{with_address} of {} have a work address, by which they are found",
        everybody.len()
    );
    let verdict = if with_address == 0 {
        Verdict::Broken
    } else {
        Verdict::Works
    };
    findings.push(Finding::new("workers", verdict, text));
    findings.push(match client.assignment(&somebody.associate_oid, clock::today()).await {
        Ok(assignment) if !assignment.base_remuneration.is_null() => Finding::new(
            "rates of pay",
            Verdict::Works,
            "shown. Whether they may be changed shows with the first change",
        ),
        Ok(_) => {
            let text = "none is shown: the project needs workers' base remuneration, to read and as an event to change";
            Finding::new("rates of pay", Verdict::Broken, text)
        }
        Err(problem) => Finding::new("rates of pay", Verdict::Broken, problem.to_string()),
    });
    findings
}
