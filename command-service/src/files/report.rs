//! Reports that are fetched: a file at an address, such as Workday's reports as a service, or any export behind a user and a password.
//!
//! There is no paging (facts/connectors.md A2, RaaS): a report comes whole, and may take minutes. Its owner can edit it, and then columns
//! change: one without a column of the mapping is refused whole.

use std::time::Duration;

use domain::connection::{Mapping, Report};
use infra::clock;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::{
    import::{ImportError, Upload},
    people::{self, Origin, People},
    table::{self, FileProblem, Hints, Table},
};
use crate::{
    CommandService,
    connections::Live,
    pace::Pace,
    source::{self, SourceProblem, read_bounded},
};

/// How long a report may take.
const REPORT_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Reports that are fetched at once in this process: each may have tens of megabytes.
const FETCHES_MAX: usize = 4;
static FETCHES: Semaphore = Semaphore::const_new(FETCHES_MAX);

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the report could not be fetched: {0}")]
    Source(#[from] SourceProblem),
    #[error("the report could not be read: {0}")]
    File(#[from] FileProblem),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("reading the report did not end well")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("the process ends")]
    Ending,
}

impl ReportError {
    /// A stable word for the kind of failure, if it does not lie with us.
    #[must_use]
    pub const fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Source(problem) => Some(problem.cause()),
            Self::File(FileProblem::NoColumns { .. }) => Some("report-lost-columns"),
            Self::File(_) => Some("report-unreadable"),
            Self::Import(_) | Self::Interrupted(_) | Self::Ending => None,
        }
    }

    /// What may be logged and kept: a file's problem can name what is in it.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::File(_) => format!(
                "{}: `tenure connection test` shows it",
                self.cause().unwrap_or_default()
            ),
            Self::Import(problem) => {
                let causes = std::iter::successors(std::error::Error::source(problem), |cause| cause.source());
                causes.fold(problem.to_string(), |told, cause| format!("{told}: {cause}"))
            }
            other => other.to_string(),
        }
    }

    /// What the source said, if it is the source's matter.
    #[must_use]
    pub const fn source_problem(&self) -> Option<&SourceProblem> {
        match self {
            Self::Source(problem) => Some(problem),
            Self::File(_) | Self::Import(_) | Self::Interrupted(_) | Self::Ending => None,
        }
    }
}

/// A file, and the encoding that its sender names.
struct Fetched {
    bytes: Vec<u8>,
    encoding: Option<String>,
}

/// What a report came to.
pub struct Taken {
    pub people: usize,
    /// Rows with something wrong.
    pub problems: usize,
}

/// A source whose file is fetched.
pub struct Reporter<'a> {
    pub live: &'a Live,
    pub report: &'a Report,
    pub mapping: &'a Mapping,
    password: SecretString,
    http: &'a reqwest::Client,
    pace: Pace,
}

impl<'a> Reporter<'a> {
    /// None: its files are sent.
    #[must_use]
    pub fn of(live: &'a Live, http: &'a reqwest::Client, pace: Pace) -> Option<Self> {
        Some(Self {
            live,
            report: live.report()?,
            mapping: live.mapping()?,
            password: live.secrets.api_key.clone()?.into(),
            http,
            pace,
        })
    }

    /// Fetches the report and takes in who is in it. Who has a row with a problem is left out.
    ///
    /// # Errors
    /// When it cannot be fetched or read at all, or a part of Tenure is away.
    pub async fn take(&self, service: &CommandService) -> Result<Taken, ReportError> {
        let fetched = self.fetch().await?;
        // Like a file that is sent: each may need hundreds of megabytes.
        let _alone = service.files.acquire().await.map_err(|_| ReportError::Ending)?;
        let (_, read) = self.read(fetched).await?;
        let upload = Upload {
            service,
            live: self.live,
            // What the report says is compared anew each time.
            key: None,
            traceparent: None,
        };
        let problems = upload.take_in(&read).await?;
        Ok(Taken {
            people: read.people.len(),
            problems: problems.len(),
        })
    }

    /// Fetches the report, and reads it. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be fetched or read at all.
    pub async fn look(&self) -> Result<(Table, People), ReportError> {
        let fetched = self.fetch().await?;
        self.read(fetched).await
    }

    async fn read(&self, Fetched { bytes, encoding }: Fetched) -> Result<(Table, People), ReportError> {
        let origin = Origin {
            tenant: self.live.tenant,
            connection: self.live.id,
            as_of: clock::today(),
        };
        let mapping = self.mapping.clone();
        let read = tokio::task::spawn_blocking(move || {
            let hints = Hints {
                encoding: encoding.as_deref(),
                sheet: None,
            };
            let table = table::read(&bytes, hints)?;
            let people = people::read(&table, &mapping, origin)?;
            Ok::<_, FileProblem>((table, people))
        });
        Ok(read.await??)
    }

    async fn fetch(&self) -> Result<Fetched, SourceProblem> {
        // A source that does not answer keeps a place for long.
        let _place = FETCHES.acquire().await;
        source::at_pace(&self.pace, self.fetch_now()).await
    }

    async fn fetch_now(&self) -> Result<Fetched, SourceProblem> {
        const WHAT: &str = "the report";
        let url = source::address_with_query(&self.report.url)?;
        let request = self
            .http
            .get(url)
            .basic_auth(&self.report.user, Some(self.password.expose_secret()))
            .header(ACCEPT, "text/csv, application/json;q=0.9, */*;q=0.5")
            .timeout(REPORT_WITHIN);
        let response = request.send().await.map_err(SourceProblem::network)?;
        let response = source::accepted(WHAT, response)?;
        let named = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let encoding = named.and_then(table::charset).map(str::to_owned);
        let bytes = read_bounded(response, WHAT).await?;
        Ok(Fetched { bytes, encoding })
    }
}
