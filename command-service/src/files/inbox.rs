//! Files that others put into a connection's folder ([`infra::inbox`]): taken in as if they had been sent, and put away with what was wrong.

use chrono::SecondsFormat;
use domain::{connection::Mapping, id::ConnectionId};
use infra::{
    clock,
    inbox::{Arrived, Inbox, InboxError},
};
use sha2::{Digest, Sha256};

use super::{
    import::{self, ImportError, Upload},
    people::{self, Origin, People, RowProblem},
    table::{self, FILE_BYTES_MAX, FileProblem, Hints, Table},
};
use crate::{CommandService, connections::Live, intake};

#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("{0}")]
    Inbox(#[from] InboxError),
    #[error("{0}")]
    Import(#[from] ImportError),
    #[error("reading a file did not end well")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What was found in a connection's folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub people: usize,
    /// Files that could not be read at all.
    pub refused: usize,
}

/// Takes in what lies in a connection's folder. A file that was taken in and not put away counts once.
///
/// # Errors
/// When a part of Tenure or the inbox is away: what is not put away is taken next time.
pub async fn take(service: &CommandService, inbox: &Inbox, live: &Live, mapping: &Mapping) -> Result<Taken, TakeError> {
    let folder = live.id.to_string();
    let mut taken = Taken::default();
    for file in inbox.files(&folder, clock::now()).await? {
        let origin = Origin {
            tenant: live.tenant,
            connection: live.id,
            // What it says was so when it was written.
            as_of: file.modified.date_naive().min(clock::today()),
        };
        let Ok(_alone) = service.files.acquire().await else {
            return Ok(taken);
        };
        let read = match read(inbox, (&folder, &file), mapping, origin).await {
            Err(TakeError::Inbox(problem)) if problem.is_gone() => continue,
            read => read?,
        };
        let put_away = match read {
            Ok(read) => {
                let upload = Upload {
                    service,
                    live,
                    key: Some(read.key.clone()),
                    traceparent: None,
                };
                let problems = upload.take_in(&read.people).await?;
                let name = format!("done/{}", stamped(&file));
                if !problems.is_empty() {
                    let rows = import::to_mend(&read.table, &problems);
                    inbox.write(&folder, &format!("{name}.problems.csv"), rows).await?;
                }
                taken.people += read.people.people.len();
                log(live.id, &read.people, &problems);
                name
            }
            Err(problem) => {
                let name = format!("refused/{}", stamped(&file));
                let why = format!("{problem}\n").into_bytes();
                inbox.write(&folder, &format!("{name}.problem.txt"), why).await?;
                taken.refused += 1;
                tracing::warn!(connection = %live.id, "a file of connection {} was refused: see {name}.problem.txt in its folder", live.id);
                name
            }
        };
        match inbox.put_away(&folder, &file, &put_away).await {
            Err(problem) if problem.is_gone() => {}
            done => done?,
        }
    }
    Ok(taken)
}

/// A file that was read.
struct Read {
    /// What the same file has whenever it is taken again.
    key: String,
    table: Table,
    people: People,
}

fn log(connection: ConnectionId, read: &People, problems: &[RowProblem]) {
    let (people, problems) = (read.people.len(), problems.len());
    tracing::info!(%connection, people, problems, "a file of connection {connection}: {people} people, {problems} problems");
}

async fn read(
    inbox: &Inbox,
    (folder, file): (&str, &Arrived),
    mapping: &Mapping,
    origin: Origin,
) -> Result<Result<Read, FileProblem>, TakeError> {
    let bytes = match inbox.read(folder, file, FILE_BYTES_MAX).await {
        Err(InboxError::TooLarge(_)) => return Ok(Err(FileProblem::TooLarge)),
        bytes => bytes?,
    };
    let (mapping, at) = (mapping.clone(), stamped(file));
    let read = tokio::task::spawn_blocking(move || {
        let table = table::read(&bytes, Hints::default())?;
        let people = people::read(&table, &mapping, origin)?;
        let key = format!("{at} {}", intake::hex(&Sha256::digest(&bytes)));
        Ok(Read { key, table, people })
    });
    Ok(read.await?)
}

/// The name with the time of the file before it: the next may have the same name.
fn stamped(file: &Arrived) -> String {
    let at = file
        .modified
        .to_rfc3339_opts(SecondsFormat::Secs, true)
        .replace([':', '-'], "");
    format!("{at}-{}", file.name)
}
