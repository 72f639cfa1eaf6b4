//! `tenure log copy`: the log from one place to another, and the proof that both hold the same. `tenure log archive`: old partitions of
//! the log out of Postgres, into files.

use std::{convert::Infallible, io::Write, path::PathBuf};

use infra::{
    clock,
    database::{Access, Database},
    kurrent::{KurrentLog, NAME_DEFAULT},
    log_archive::{Archived, Archivist},
    log_copy::{self, Place},
};
use secrecy::SecretString;

use crate::{config::Settings, roles::Failure};

/// How often it is told how far a copy is.
const TOLD_EVENTS: i64 = 50_000;
/// How often it is told how far an archive is.
const TOLD_ARCHIVED_EVENTS: i64 = 1_000_000;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// Copies a log to where there is none, or a beginning of it, and proves that both hold the same.
    ///
    /// Everything that an event is goes along: its position, revision, id and time, and its sealed data. Interrupted, the next run goes
    /// on. An event that differs stops it, and so does a target that has more than the source. Nothing may write to the target meanwhile.
    ///
    /// Keys are no part of the log: they stay in the database that it comes from, and without them nobody opens a copy's personal values.
    /// A Postgres that is copied into has been migrated with this installation's master key (`tenure migrate`). KurrentDB's user may read `$all`.
    Copy(Box<Copying>),
    /// Moves old partitions of the log out of Postgres into Parquet files, from which everything still reads them.
    ///
    /// A partition (ten million events) is written to a file, read back and compared event by event; then the table loses it, in one short
    /// transaction, while people work. Interrupted, nothing is lost, and the next run goes on. Personal values are as sealed in a file as
    /// in the table, and an erasure reaches both, because it destroys the key.
    ///
    /// From then on the files belong to the log: every process of the installation opens them at the same path, and backups include them.
    Archive(Box<Archiving>),
}

#[derive(Debug, Clone, clap::Args)]
struct Archiving {
    #[command(flatten)]
    settings: Settings,
    /// The folder of the files, for good; `archive` in the data directory unless it is named
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// Partitions whose last event was recorded so many days ago, and all before them
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    older_than: u32,
    /// Only tells what is in files, and what would be moved
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct Copying {
    #[command(flatten)]
    settings: Settings,
    /// From where: `postgres` (this installation's), `postgres://…`, `kurrentdb` (see --eventstore-url) or `kurrentdb://…`
    #[arg(long, value_name = "PLACE", value_parser = Address::parse)]
    from: Address,
    /// To where, likewise
    #[arg(long, value_name = "PLACE", value_parser = Address::parse)]
    to: Address,
    /// KurrentDB: `kurrentdb://user:password@host:2113?tls=true`, several hosts with commas.
    #[arg(long, env = "EVENTSTORE_URL", hide_env_values = true)]
    eventstore_url: Option<String>,
    /// What the log's streams in KurrentDB are called by: several logs can lie on one server
    #[arg(long, value_name = "NAME", default_value = NAME_DEFAULT)]
    streams: String,
}

/// Where a log is said to be.
#[derive(Debug, Clone)]
enum Address {
    OwnPostgres,
    Postgres(SecretString),
    NamedKurrent,
    Kurrent(SecretString),
    /// What cannot be understood. A failure here would repeat it, and it may hold a password.
    Nowhere,
}

impl Address {
    fn parse(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once("://") {
            None if text == "postgres" => Self::OwnPostgres,
            None if text == "kurrentdb" => Self::NamedKurrent,
            Some(("postgres" | "postgresql", _)) => Self::Postgres(text.into()),
            Some(("kurrentdb" | "kurrentdb+discover" | "esdb" | "esdb+discover", _)) => Self::Kurrent(text.into()),
            None | Some(_) => Self::Nowhere,
        })
    }
}

impl Copying {
    fn place(&self, address: &Address) -> Result<Place, Failure> {
        let postgres = |url: &SecretString| Ok(Place::Postgres(Database::of_tool(url, &self.settings.master()?)?));
        let kurrent = |url: &SecretString| Ok(Place::Kurrent(KurrentLog::new(url, &self.streams)?));
        match address {
            Address::OwnPostgres => postgres(&self.settings.database_url()?),
            Address::Postgres(url) => postgres(url),
            Address::NamedKurrent => {
                let url = self.eventstore_url.as_deref().ok_or("EVENTSTORE_URL is not set")?;
                kurrent(&url.into())
            }
            Address::Nowhere => {
                Err("a place is `postgres`, `postgres://…`, `kurrentdb` or `kurrentdb://…`, and this is none".into())
            }
            Address::Kurrent(url) => kurrent(url),
        }
    }
}

/// # Errors
/// When the target is no beginning of the source, a log cannot be read or written, or they are not equal in the end.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Copy(copying) => copy(&copying).await,
        Action::Archive(archiving) => archive(&archiving).await,
    }
}

async fn archive(archiving: &Archiving) -> Result<(), Failure> {
    let settings = &archiving.settings;
    let folder = archiving
        .into
        .clone()
        .unwrap_or_else(|| settings.data_dir.join("archive"));
    let database_url = settings.database_url()?;
    let database = Database::of_tool(&database_url, &settings.master()?)?;
    let archivist = Archivist::open(&database_url, database.clone()).await?;
    let before = clock::now() - chrono::Duration::days(archiving.older_than.into());
    let due = archivist.due(before).await?;
    let mut out = std::io::stdout();
    if archiving.list {
        let archived = database.transact(Access::Read, &[], |connection| Box::pin(Archived::look(connection)));
        for file in archived.await?.files() {
            writeln!(
                out,
                "events {} to {} are in {}",
                file.first,
                file.last,
                file.path.display()
            )?;
        }
        for partition in due {
            writeln!(out, "events {} to {} can be moved", partition.first, partition.last)?;
        }
        return Ok(());
    }
    if due.is_empty() {
        writeln!(
            out,
            "nothing to move: no full partition of the log is older than {} days",
            archiving.older_than
        )?;
        return Ok(());
    }
    let make = |cause| format!("the folder {} cannot be used: {cause}", folder.display());
    std::fs::create_dir_all(&folder).map_err(make)?;
    let folder = folder.canonicalize().map_err(make)?;
    for partition in due {
        let mut next = partition.first + TOLD_ARCHIVED_EVENTS;
        let told = |position: i64| {
            if position >= next {
                next = position + TOLD_ARCHIVED_EVENTS;
                writeln!(std::io::stderr(), "{position} events are written").ok(); // nobody may be looking
            }
        };
        let file = archivist.archive(&partition, &folder, told).await?;
        let megabytes = std::fs::metadata(&file.path)?.len() / 1_000_000;
        writeln!(
            out,
            "events {} to {} were compared one by one, and are now in {} ({megabytes} MB)",
            file.first,
            file.last,
            file.path.display()
        )?;
    }
    writeln!(
        out,
        "keep these files where they are, and add them to what is backed up"
    )?;
    Ok(())
}

async fn copy(copying: &Copying) -> Result<(), Failure> {
    let (source, target) = (copying.place(&copying.from)?, copying.place(&copying.to)?);
    let mut next = TOLD_EVENTS;
    let told = |position: i64| {
        if position >= next {
            next = position + TOLD_EVENTS;
            writeln!(std::io::stderr(), "{position} events are there").ok(); // nobody may be looking
        }
    };
    let copied = log_copy::copy(&source, &target, told).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} events copied, {} were there", copied.copied, copied.already)?;
    writeln!(out, "source: {}", log_copy::shown(copied.source))?;
    writeln!(out, "target: {}", log_copy::shown(copied.target))?;
    writeln!(out, "equal (keys are no part of a log: they stay where they are)")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_by_its_scheme() {
        assert!(matches!(Address::parse("postgres"), Ok(Address::OwnPostgres)));
        assert!(matches!(Address::parse("kurrentdb"), Ok(Address::NamedKurrent)));
        assert!(matches!(Address::parse("postgres://a/b"), Ok(Address::Postgres(_))));
        assert!(matches!(Address::parse("esdb+discover://a"), Ok(Address::Kurrent(_))));
        for wrong in ["", "kafka", "mysql://me:secret@a", "postgres:"] {
            assert!(matches!(Address::parse(wrong), Ok(Address::Nowhere)), "{wrong}");
        }
        let said = format!("{:?}", Address::parse("kurrentdb://me:secret@a"));
        assert!(!said.contains("secret"), "{said}");
    }
}
