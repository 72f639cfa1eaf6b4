//! `tenure log copy`: the log from one place to another, and the proof that both hold the same.

use std::{convert::Infallible, io::Write};

use infra::{
    database::Database,
    kurrent::{KurrentLog, NAME_DEFAULT},
    log_copy::{self, Place},
};
use secrecy::SecretString;

use crate::{config::Settings, roles::Failure};

/// How often it is told how far a copy is.
const TOLD_EVENTS: i64 = 50_000;

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
        let postgres = |url: &SecretString| Ok(Place::Postgres(Database::new(url, &self.settings.master()?)?));
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
    }
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
