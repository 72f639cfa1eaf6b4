//! `tenure connection`: the sources, how fresh they are, and what their keys open.

use std::io::Write;

use chrono::TimeDelta;
use command_service::{
    check::{self, Finding, Verdict},
    connections::{Connections, Live},
    files::report::Reporter,
    pace::Paces,
    payroll::{Means, Payroll},
    synchroniser::webhooks,
};
use domain::{Timestamp, id::ConnectionId};
use infra::{
    clock,
    database::Access,
    read_model::settings,
    route,
    source_quality::{self, Counts},
};

use crate::{
    config::{Parts, Settings},
    roles::Failure,
};

/// The days that `list` adds up.
const DAYS: i64 = 7;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Shows the sources, when they were heard of, and how well they told in the last week (the default).
    List,
    /// Asks a source for everything that Tenure reads, and says what works and what is missing. Changes nothing.
    Test {
        /// The connection's id, as listed.
        id: ConnectionId,
    },
}

/// # Errors
/// When the database cannot be reached, there is no such connection, or nothing can be read from its source.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action.unwrap_or(Action::List) {
        Action::List => list(&arguments.settings).await,
        Action::Test { id } => test(&arguments.settings, id).await,
    }
}

async fn list(settings: &Settings) -> Result<(), Failure> {
    let parts = settings.tool()?;
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)));
    let (now, since) = (clock::now(), clock::today() - TimeDelta::days(DAYS - 1));
    let mut out = std::io::stdout();
    let mut is_empty = true;
    for tenant in tenants.await? {
        let tenants = [tenant];
        let known = parts.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(async move {
                let mut known = Vec::new();
                let freshness = source_quality::freshness(connection, tenant).await?;
                for row in settings::list_connections(connection, tenant).await? {
                    let fresh = freshness.iter().find(|fresh| fresh.connection == row.id).copied();
                    let of = (tenant, ConnectionId::from_uuid(row.id));
                    let mut week = Counts::default();
                    for day in source_quality::days(connection, of, since).await? {
                        week.add(day.counts);
                    }
                    known.push((row, fresh, week));
                }
                Ok(known)
            })
        });
        for (row, fresh, week) in known.await? {
            is_empty = false;
            let cause = row.last_cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            let (vendor, domain, status) = (row.vendor, row.company_domain, row.status);
            writeln!(out, "{}  {vendor} {domain}: {}{cause}", row.id, status.to_lowercase())?;
            let ago = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| ago(now - at));
            writeln!(
                out,
                "    heard of {}, asked who changed {}, compared {}",
                ago(fresh.and_then(|fresh| fresh.heard_at)),
                ago(fresh.and_then(|fresh| fresh.asked_at)),
                ago(fresh.and_then(|fresh| fresh.compared_at)),
            )?;
            writeln!(
                out,
                "    in {DAYS} days: {} received, {} duplicate, {} late, {} out of order, {} missed, {} rejected",
                week.received, week.duplicate, week.late, week.out_of_order, week.missed, week.rejected
            )?;
        }
    }
    if is_empty {
        writeln!(
            out,
            "nothing is connected: see \"Connect a BambooHR account\" in the README"
        )?;
    }
    Ok(())
}

async fn check_payroll(live: &Live, parts: &Parts, paces: &Paces) -> Result<Option<Vec<Finding>>, Failure> {
    let means = Means {
        database: &parts.database,
        keyring: &parts.keyring,
        http: &parts.http,
        paces,
    };
    match Payroll::of(live, &means)? {
        Some(payroll) => Ok(check::check_payroll(&payroll).await),
        None => Ok(None),
    }
}

async fn test(settings: &Settings, id: ConnectionId) -> Result<(), Failure> {
    let parts = settings.tool()?;
    let connections = Connections::new(parts.database.clone(), parts.keyring.clone());
    let live = connections.refresh(id).await?;
    let live = live.ok_or("there is no such connection: `tenure connection` lists them")?;
    let paces = Paces::default();
    let client = live.client(&parts.http, &paces)?;
    let findings = match (&client, Reporter::of(&live, &parts.http, paces.of(id))) {
        (Some(client), _) => check::check(client, webhooks::registered(&live).map(|_| id)).await,
        (None, Some(reporter)) => check::check_report(&reporter).await,
        (None, None) => match check_payroll(&live, &parts, &paces).await? {
            Some(findings) => findings,
            None => {
                writeln!(
                    std::io::stdout(),
                    "this system only tells, and is not asked: `tenure connection` says when it was heard of"
                )?;
                return Ok(());
            }
        },
    };
    let mut out = std::io::stdout();
    for finding in &findings {
        let word = match finding.verdict {
            Verdict::Works => "ok",
            Verdict::Missing => "missing",
            Verdict::Broken => "broken",
        };
        writeln!(out, "{word:8} {:20} {}", finding.part, finding.text)?;
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Broken) {
        return Err("the source cannot be read as it is".into());
    }
    Ok(())
}

/// "4 min ago".
fn ago(past: TimeDelta) -> String {
    let minutes = past.num_minutes();
    match minutes {
        ..1 => "just now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_told_in_the_unit_that_fits() {
        for (minutes, told) in [
            (-3, "just now"),
            (0, "just now"),
            (4, "4 min ago"),
            (119, "119 min ago"),
            (120, "2 h ago"),
            (2_879, "47 h ago"),
            (2_880, "2 days ago"),
        ] {
            assert_eq!(ago(TimeDelta::minutes(minutes)), told);
        }
    }
}
