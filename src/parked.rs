//! `tenure parked`: what could not be processed, and another try.

use std::io::Write;

use infra::{database::Access, parked, route};
use uuid::Uuid;

use crate::{config::Settings, roles::Failure};

/// Entries that are listed at once.
const LISTED_MAX: i64 = 1_000;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Shows what is parked, with its cause (the default).
    List,
    /// Asks for another try: of one entry, or of all.
    Retry {
        /// The entry's id, as listed.
        id: Option<Uuid>,
    },
}

/// # Errors
/// When the database cannot be reached.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = arguments.settings.tool()?;
    let mut tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    tenants.push(parked::UNKNOWN_TENANT);
    let mut out = std::io::stdout();
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let items = parts
                .database
                .transact(Access::Read, &tenants, |connection| {
                    Box::pin(parked::list(connection, LISTED_MAX))
                })
                .await?;
            if items.is_empty() {
                writeln!(out, "nothing is parked")?;
            }
            for item in items {
                writeln!(
                    out,
                    "{}  {}  {}  {}  {}",
                    item.id,
                    item.parked_at.format("%Y-%m-%d %H:%M:%S"),
                    item.consumer,
                    item.stream,
                    item.cause
                )?;
            }
        }
        Action::Retry { id } => {
            let count = parts
                .database
                .transact(Access::Write, &tenants, move |connection| {
                    Box::pin(async move { parked::ask_retry(connection, id).await })
                })
                .await?;
            writeln!(out, "{count} will be tried again")?;
        }
    }
    Ok(())
}
