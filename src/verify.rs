//! `tenure verify`: proves the log, and what is made of it.

use std::{io::Write, sync::Arc};

use domain::id::TenantId;
use infra::{
    database::Access,
    event_log,
    fairness::FairnessStore,
    read_model::query,
    seal::{self, Broken, Checker, Sealer},
};
use ml_pipeline::prior;
use projection_workers::{fairness, memories, proof};

use crate::{
    config::{Parts, Settings},
    report,
    roles::Failure,
};

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Whose read models and scores [default: every tenant's]; the log is always checked whole.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// How many current scores of each tenant are made again.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    scores: u16,
}

/// Checks everything, tells what was checked and how many of it, and fails with the first difference.
///
/// # Errors
/// The first difference; or when the log cannot be read.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = arguments.settings.tool()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", log(&parts).await?)?;
    let tenants = match arguments.tenant {
        Some(tenant) => vec![tenant],
        None => report::tenants(&parts).await?,
    };
    let prior = Arc::new(prior::prior()?);
    let store = arguments.settings.fairness_store(&parts.keyring)?.patient();
    for tenant in tenants {
        writeln!(out, "tenant {tenant}")?;
        writeln!(out, "  {}", registry(&parts, tenant).await?)?;
        writeln!(out, "  {}", rows(&parts, tenant).await?)?;
        writeln!(out, "  {}", remembered(&parts, tenant).await?)?;
        writeln!(out, "  {}", protected(&parts, &store, tenant).await?)?;
        let scores = proof::scores(
            &parts.database,
            &parts.keyring,
            (tenant, arguments.scores.into()),
            &prior,
        )
        .await?;
        if let Some(employee) = scores.difference {
            return Err(format!(
                "the score of {employee} comes out otherwise when it is made again from the log with its model"
            )
            .into());
        }
        let unknown = match scores.unknown_model {
            0 => String::new(),
            count => format!("; {count} of models that are not there any more"),
        };
        writeln!(
            out,
            "  {} scores made again from the log, the same to the byte{unknown}",
            scores.reproduced
        )?;
    }
    writeln!(out, "verified")?;
    Ok(())
}

/// The whole log against its seals, and these against the heads outside the database.
async fn log(parts: &Parts) -> Result<String, Failure> {
    // Read first: what is sealed later is no head of the file's yet.
    let kept = parts.heads.read()?;
    let heads = kept.len();
    let mut checker = Checker::new(Sealer::new(&parts.master), kept);
    loop {
        let after = checker.sealed();
        let seals = parts
            .database
            .transact_as_relay(move |connection| Box::pin(async move { seal::page(connection, after).await }))
            .await?;
        if seals.is_empty() {
            break;
        }
        for seal in seals {
            take_until(parts, &mut checker, seal.head.position).await?;
            checker.meet(&seal)?;
        }
    }
    let (counter, _) = parts
        .database
        .transact_as_relay(|connection| Box::pin(query::log_head(connection)))
        .await?;
    take_until(parts, &mut checker, counter).await?;
    let beyond = parts
        .database
        .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, counter, 1)))
        .await?;
    // Others append meanwhile, and move the counter with their events; it is never behind them.
    let (counter_now, _) = parts
        .database
        .transact_as_relay(|connection| Box::pin(query::log_head(connection)))
        .await?;
    if let Some(event) = beyond.first()
        && counter_now < event.position
    {
        let (end, counter) = (event.position, counter_now);
        return Err(Broken::Miscounted { end, counter }.into());
    }
    checker.finish(counter)?;
    let unsealed = match checker.position() - checker.sealed() {
        0 => String::new(),
        events => format!(" ({events} not sealed yet)"),
    };
    let kept = match heads {
        0 => format!("no head of it is written down in {} yet", parts.heads.path().display()),
        1 => "the head that is written down outside the database is among them".to_owned(),
        heads => format!("the {heads} heads that are written down outside the database are among them"),
    };
    Ok(format!(
        "log: {} events of {} streams without a gap{unsealed}; {} seals hold, and {kept}",
        checker.position(),
        checker.streams(),
        checker.seals()
    ))
}

/// Takes events up to a position, as far as there are any.
async fn take_until(parts: &Parts, checker: &mut Checker, position: i64) -> Result<(), Failure> {
    while checker.position() < position {
        let after = checker.position();
        let limit = event_log::PAGE_EVENTS_MAX.min(position - after);
        let events = parts
            .database
            .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)))
            .await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            checker.take(event)?;
        }
    }
    Ok(())
}

async fn registry(parts: &Parts, tenant: TenantId) -> Result<String, Failure> {
    let (unregistered, astray) = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                let unregistered = event_log::unregistered(connection, tenant).await?;
                Ok((unregistered, event_log::streams_astray(connection, tenant).await?))
            })
        })
        .await?;
    if unregistered > 0 {
        return Err(format!("{unregistered} events are not registered under their ids as they should be").into());
    }
    if astray > 0 {
        return Err(format!("{astray} streams are not at the revision of their last event").into());
    }
    Ok("every event is registered under its id, every stream is at its last revision".to_owned())
}

async fn remembered(parts: &Parts, tenant: TenantId) -> Result<String, Failure> {
    let memories = memories::compare(&parts.database, &parts.keyring, tenant).await?;
    if let Some((of, employee)) = memories.difference {
        return Err(format!(
            "what is remembered of {employee} ({}) is not what the log says: `tenure rebuild --projection {}` mends it",
            of.what(),
            of.projection()
        )
        .into());
    }
    Ok(format!(
        "what is remembered equals a fold too: teams and exits of {} people, inputs of scores of {}",
        memories.teams, memories.inputs
    ))
}

async fn protected(parts: &Parts, store: &FairnessStore, tenant: TenantId) -> Result<String, Failure> {
    let compared = fairness::compare((store, &parts.database, &parts.keyring), tenant).await?;
    if let Some(employee) = compared.differing.first() {
        return Err(format!(
            "the protected attributes of {employee} are not what the log says: `tenure rebuild --projection fairness` mends it"
        )
        .into());
    }
    Ok(format!(
        "the fairness store equals a fold: protected attributes of {} people",
        compared.people
    ))
}

async fn rows(parts: &Parts, tenant: TenantId) -> Result<String, Failure> {
    let rows = proof::rows(&parts.database, &parts.keyring, tenant).await?;
    if let Some(odd) = rows.difference {
        let whose = if odd.is_live {
            "has a row that the log does not say"
        } else {
            "lacks a row that the log says, or has it otherwise"
        };
        return Err(format!("the read model {} {whose}: {}", odd.table, odd.row).into());
    }
    let counts: Vec<String> = rows
        .tables
        .iter()
        .map(|(table, count)| format!("{table} {count}"))
        .collect();
    let waiting = match rows.waiting {
        0 => String::new(),
        count => format!("; not compared: {count} streams with parked events (`tenure parked`), and counts of heads"),
    };
    Ok(format!(
        "rows equal a fold of {} events: {}{waiting}",
        rows.events,
        counts.join(", ")
    ))
}
