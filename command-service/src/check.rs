//! What a connection's key opens, and what it does not: for an administrator who wonders why something is missing.

mod adp;
mod bamboohr;
mod gusto;
mod workday;

use domain::id::ConnectionId;

use crate::{
    files::report::Reporter,
    payroll::Payroll,
    source::{Client, SourceProblem},
};

/// What came out about one part of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub part: &'static str,
    pub verdict: Verdict,
    /// For administrators; holds no personal data, but for what is wrong in a report's rows.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// Tenure does without, and knows less.
    Missing,
    /// Nothing can be read.
    Broken,
}

impl Finding {
    fn new(part: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            part,
            verdict,
            text: text.into(),
        }
    }
}

/// Asks for everything that Tenure reads, of one person, and for the webhook if Tenure registered it. Changes nothing.
pub async fn check(client: &Client, registered: Option<ConnectionId>) -> Vec<Finding> {
    match client {
        Client::BambooHr(client) => bamboohr::check(client, registered).await,
        Client::Workday(client) => workday::check(client).await,
    }
}

/// Asks a payroll for what a change of pay needs, of one person. Changes nothing. None: it is a source, which [`check`] asks.
pub async fn check_payroll(payroll: &Payroll) -> Option<Vec<Finding>> {
    match payroll {
        Payroll::BambooHr(_) => None,
        Payroll::Gusto { client, .. } => Some(gusto::check(client).await),
        Payroll::Adp { client, .. } => Some(adp::check(client).await),
    }
}

/// The most rows with problems that are shown.
const PROBLEMS_SHOWN: usize = 20;

/// Fetches a report, and says what is wrong with it. Changes nothing. Rows with problems are shown with what is wrong in them.
pub async fn check_report(reporter: &Reporter<'_>) -> Vec<Finding> {
    let (table, read) = match reporter.look().await {
        Ok(read) => read,
        Err(problem) => return vec![Finding::new("report", Verdict::Broken, problem.to_string())],
    };
    let (rows, people, problems) = (table.rows.len(), read.people.len(), read.problems.len());
    let text = format!("{rows} rows, {people} people without a problem");
    let verdict = if people == 0 { Verdict::Broken } else { Verdict::Works };
    let mut findings = vec![Finding::new("report", verdict, text)];
    if !read.unread.is_empty() {
        let text = format!("not read: {}", read.unread.join(", "));
        findings.push(Finding::new("columns", Verdict::Works, text));
    }
    for problem in read.problems.iter().take(PROBLEMS_SHOWN) {
        let column = problem
            .column
            .as_ref()
            .map(|column| format!("{column} "))
            .unwrap_or_default();
        let text = format!("line {}: {column}{}", table.rows[problem.row].line, problem.problem);
        findings.push(Finding::new("row", Verdict::Missing, text));
    }
    if problems > PROBLEMS_SHOWN {
        let text = format!("and {} more", problems - PROBLEMS_SHOWN);
        findings.push(Finding::new("rows", Verdict::Missing, text));
    }
    findings
}

/// Whether nothing at all can be asked.
const fn is_total(problem: &SourceProblem) -> bool {
    match problem {
        SourceProblem::Forbidden { .. }
        | SourceProblem::BadAnswer { .. }
        | SourceProblem::Outdated { .. }
        | SourceProblem::TooLarge { .. } => false,
        SourceProblem::BadAddress(_)
        | SourceProblem::BadEmployeeId(_)
        | SourceProblem::RateLimited { .. }
        | SourceProblem::LeftAlone { .. }
        | SourceProblem::Unavailable { .. }
        | SourceProblem::Unauthorised
        | SourceProblem::NothingThere { .. }
        | SourceProblem::Timeout
        | SourceProblem::Network(_)
        | SourceProblem::Redirected { .. }
        | SourceProblem::Unexpected { .. } => true,
    }
}
