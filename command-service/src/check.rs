//! What a connection's key opens, and what it does not: for an administrator who wonders why something is missing.

mod bamboohr;
mod workday;

use domain::id::ConnectionId;

use crate::source::{Client, SourceProblem};

/// What came out about one part of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub part: &'static str,
    pub verdict: Verdict,
    /// For administrators; holds no personal data.
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

/// Whether nothing at all can be asked.
const fn is_total(problem: &SourceProblem) -> bool {
    match problem {
        SourceProblem::Forbidden { .. } | SourceProblem::BadAnswer { .. } | SourceProblem::TooLarge { .. } => false,
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
