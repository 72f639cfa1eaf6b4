//! `tenure dataset`: what models learn from, as a Parquet file.

use std::{fs::File, io::Write, path::PathBuf};

use domain::{
    Date, Timestamp,
    access::{self, Question},
    id::TenantId,
};
use infra::{clock, database::Access, outbox, route};
use ml_pipeline::{
    dataset::{Dataset, Target, Window},
    files::{Format, TableError, Writer},
    frame,
};

use crate::{
    config::{Parts, Settings},
    roles::Failure,
    train,
};

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Whose history; needed where there is more than one tenant.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// A career program by its name: rows about its candidates, and who moved up [default: rows about who leaves]
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
    /// What it is wanted for: recorded, with who asked
    #[arg(long, value_parser = purpose)]
    purpose: String,
    /// The Parquet file to write; one that exists is replaced.
    #[arg(long, default_value = "dataset.parquet")]
    out: PathBuf,
}

/// Writes a row per person and month: features as they were known then, and who left (or moved up) afterwards.
///
/// # Errors
/// When the log cannot be read, the file not be written, or it is not clear whose history is meant.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = arguments.settings.tool()?;
    let tenant = the_tenant(&parts, arguments.tenant).await?;
    let target = match &arguments.program {
        Some(name) => train::target(&parts, tenant, name).await?,
        None => Target::Notice,
    };
    record(&parts, tenant, ("dataset", None, None), &arguments.purpose).await?;
    let (histories, position) = train::histories(&parts, tenant).await?;
    let file = File::create(&arguments.out)
        .map_err(|cause| format!("{} cannot be written: {cause}", arguments.out.display()))?;
    let dataset = tokio::task::spawn_blocking(move || {
        let dataset = Dataset::of(target, &histories, clock::today(), &mut |_| {});
        let mut writer = Writer::begin(Format::Parquet, file, &frame::table(&dataset, 0..0))?;
        writer.write(&frame::table(&dataset, 0..dataset.rows.len()))?;
        writer.finish()?;
        Ok::<_, TableError>(dataset)
    });
    let dataset = dataset.await??;
    writeln!(
        std::io::stdout(),
        "{}: {} months of {} people, it came to {}; up to log position {position}",
        arguments.out.display(),
        dataset.rows.len(),
        dataset.people(Window::Month),
        dataset.cases(Window::Month),
    )?;
    Ok(())
}

/// Records, as an event of its own, that somebody at the command line asks for history: what about, as of which day and known
/// when, and what for.
///
/// # Errors
/// When it cannot be recorded; then nothing is told.
pub(crate) async fn record(
    parts: &Parts,
    tenant: TenantId,
    (about, as_of, known_at): (&str, Option<Date>, Option<Timestamp>),
    purpose: &str,
) -> Result<(), Failure> {
    let question = Question {
        on: clock::today(),
        about: about.to_owned(),
        as_of,
        known_at,
        purpose: purpose.to_owned().into(),
    };
    let actor = format!("cli:{}", std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()));
    outbox::record_question(&parts.database, &parts.keyring, (tenant, &actor), question).await?;
    Ok(())
}

pub(crate) fn purpose(text: &str) -> Result<String, String> {
    if access::is_purpose(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "say what it is wanted for, in {} characters at most",
            access::PURPOSE_CHARS_MAX
        ))
    }
}

/// The tenant that is meant: the one that is named, or the only one.
///
/// # Errors
/// When there is none, or more than one.
pub async fn the_tenant(parts: &Parts, named: Option<TenantId>) -> Result<TenantId, Failure> {
    if let Some(tenant) = named {
        return Ok(tenant);
    }
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    match tenants.as_slice() {
        [only] => Ok(*only),
        [] => Err("there is no tenant yet: connect an HRIS first".into()),
        several => {
            let names = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(format!("say which tenant is meant with --tenant: {names}").into())
        }
    }
}
