//! What an integration user may see at Workday.

use infra::clock;

use super::{Finding, Verdict, is_total};
use crate::workday::{
    client::{Client, Group},
    worker::Worker,
};

/// How many workers are looked at for what is shown of anybody, and how many to find so many who are employed.
const SAMPLED: usize = 5;
const SAMPLED_MAX: usize = 30;

/// A part of a worker: what is asked of it, and the domain of Workday whose right it needs.
struct Part {
    part: &'static str,
    is_shown: fn(&Worker) -> bool,
    domain: &'static str,
    /// What is not known without.
    lost: &'static str,
}

const PARTS: [Part; 8] = [
    Part {
        part: "employment",
        is_shown: |worker| worker.hired_on.is_some() && worker.state.standing.value.is_some(),
        domain: "Worker Data: Public Worker Reports and Worker Data: Employment Data",
        lost: "Nobody is taken in",
    },
    Part {
        part: "positions",
        is_shown: |worker| worker.state.position.value.is_some(),
        domain: "Worker Data: Current Staffing Information",
        lost: "Titles, locations and hours are not known",
    },
    Part {
        part: "organisations",
        is_shown: |worker| {
            let organisation = worker.state.organisation.value.as_ref();
            organisation.is_some_and(|organisation| organisation.department.is_some())
        },
        domain: "Worker Data: Organization Information (or choose another type of organisation as department)",
        lost: "Departments are not known",
    },
    Part {
        part: "managers",
        is_shown: |worker| matches!(worker.state.manager.value, Some(Some(_))),
        domain: "Worker Data: Public Worker Reports (management chain)",
        lost: "Managers and their teams are not known",
    },
    Part {
        part: "pay",
        is_shown: |worker| worker.state.pay.value.is_some(),
        domain: "Worker Data: Compensation by Organization",
        lost: "Pay is not known",
    },
    Part {
        part: "names",
        is_shown: |worker| worker.person.last_name.is_some(),
        domain: "Person Data: Name",
        lost: "People have no names",
    },
    Part {
        part: "work addresses",
        is_shown: |worker| worker.person.work_email.is_some(),
        domain: "Person Data: Work Contact Information",
        lost: "Work e-mail and telephone are not known",
    },
    Part {
        part: "protected attributes",
        is_shown: |worker| worker.person.gender.is_some() || worker.person.date_of_birth.is_some(),
        domain: "Person Data: Gender, Person Data: Date of Birth and Person Data: Ethnicity",
        lost: "Models cannot be audited for fairness",
    },
];

pub(super) async fn check(client: &Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    let everybody = client.workers().await;
    let everybody = match everybody {
        Ok(everybody) => everybody.remote_ids,
        Err(problem) if is_total(&problem) => {
            findings.push(Finding::new("user and address", Verdict::Broken, problem.to_string()));
            return findings;
        }
        Err(problem) => {
            findings.push(Finding::new("user and address", Verdict::Works, "accepted"));
            let text = format!("{problem}: its security group needs Get access to Worker Data: Public Worker Reports");
            findings.push(Finding::new("workers", Verdict::Broken, text));
            return findings;
        }
    };
    findings.push(Finding::new("user and address", Verdict::Works, "accepted"));
    if everybody.is_empty() {
        let text = "nobody is listed: is the user in a security group with rights to the workers' organisations?";
        findings.push(Finding::new("workers", Verdict::Broken, text));
        return findings;
    }
    let text = format!("{} are or were employed", everybody.len());
    findings.push(Finding::new("workers", Verdict::Works, text));
    findings.push(match client.changed_since(clock::now()).await {
        Ok(_) => Finding::new("who changed", Verdict::Works, "can be asked for"),
        Err(problem) => {
            let text = format!("{problem}. What changes is found once a day only");
            Finding::new("who changed", Verdict::Missing, text)
        }
    });
    let step = (everybody.len() / SAMPLED_MAX).max(1);
    let (now, today) = (clock::now(), clock::today());
    let (mut shown, mut gone) = (Vec::new(), Vec::new());
    for id in everybody.iter().step_by(step).take(SAMPLED_MAX) {
        match client.worker(id, today, (Group::Everything, now)).await {
            Ok(Some(worker)) if worker.is_active => shown.push(worker),
            Ok(Some(worker)) => gone.push(worker),
            Ok(None) => {}
            Err(problem) => {
                findings.push(Finding::new("a worker", Verdict::Broken, problem.to_string()));
                return findings;
            }
        }
        if shown.len() == SAMPLED {
            break;
        }
    }
    // Of those who left, positions are not shown; if nobody else is there, they will have to do.
    if shown.is_empty() {
        shown = gone;
    }
    for (index, part) in PARTS.iter().enumerate() {
        let count = shown.iter().filter(|worker| (part.is_shown)(worker)).count();
        findings.push(if count > 0 {
            Finding::new(
                part.part,
                Verdict::Works,
                format!("shown of {count} of {} workers", shown.len()),
            )
        } else {
            // Without an employment there is nobody.
            let verdict = if index == 0 { Verdict::Broken } else { Verdict::Missing };
            let (lost, domain) = (part.lost, part.domain);
            Finding::new(
                part.part,
                verdict,
                format!("not shown. {lost}. The user's security group needs Get access to {domain}"),
            )
        });
    }
    findings
}
