//! What Tenure may see and change at Gusto.

use super::{Finding, Verdict};
use crate::gusto::client::Client;

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    const OPENS: &str = "secrets and company";
    let everybody = match client.everybody().await {
        Ok(everybody) => everybody,
        Err(problem) => {
            let text = format!("{problem}. The scopes employees:read and jobs:read are needed");
            return vec![Finding::new(OPENS, Verdict::Broken, text)];
        }
    };
    let mut findings = vec![Finding::new(OPENS, Verdict::Works, "accepted")];
    if everybody.is_empty() {
        let text = "nobody is listed: is it the right company?";
        findings.push(Finding::new("employees", Verdict::Broken, text));
        return findings;
    }
    let has_address = |address: &Option<String>| address.as_deref().is_some_and(|address| !address.trim().is_empty());
    let with_address = everybody.iter().filter(|one| has_address(&one.work_email)).count();
    let text = format!(
        "{with_address} of {} have a work address, by which they are found",
        everybody.len()
    );
    let verdict = if with_address == 0 {
        Verdict::Broken
    } else {
        Verdict::Works
    };
    findings.push(Finding::new("employees", verdict, text));
    let Some(somebody) = everybody.iter().find(|one| !one.jobs.is_empty()) else {
        let text = "nobody has a job that is shown: the scope jobs:read is needed";
        findings.push(Finding::new("jobs", Verdict::Broken, text));
        return findings;
    };
    findings.push(match client.compensations(&somebody.uuid).await {
        Ok((_, known)) if !known.is_empty() => Finding::new(
            "rates of pay",
            Verdict::Works,
            "shown. Whether they may be changed shows with the first change",
        ),
        Ok(_) => {
            let text = "none is shown of somebody who has a job: the scope compensations:read is needed";
            Finding::new("rates of pay", Verdict::Broken, text)
        }
        Err(problem) => {
            let text =
                format!("{problem}. The scope compensations:read is needed, and compensations:write to change them");
            Finding::new("rates of pay", Verdict::Broken, text)
        }
    });
    findings
}
