//! People of a file into the intake, and what becomes of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use domain::{
    Aggregate, StreamId, connection,
    employee::{self, Employee},
    id::{CommandId, EmployeeId},
};
use infra::{
    clock,
    database::{Access, DatabaseError},
    outbox::{self, Outgoing},
    outcome::{self, Verdict},
    sealing::SealingError,
};
use schemas::codec::AnyCommand;
use tokio::time::Instant;

use super::{
    people::{People, Person, RowProblem},
    table::Table,
};
use crate::{
    CommandService,
    connections::Live,
    intake::{self, IntakeError},
};

/// How many people are taken in, and asked after, at once.
const CHUNK: usize = 1_000;
/// How long to wait between two looks at what became of a file.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait for what becomes of a file's people, before it is looked at again.
const DECIDED_WITHIN: Duration = Duration::from_secs(30 * 60);

/// A file that is taken in.
pub struct Upload<'a> {
    pub service: &'a CommandService,
    pub live: &'a Live,
    /// What the same file has whenever it is sent again, so that it counts once. Without it each time is a time of its own.
    pub key: Option<String>,
    pub traceparent: Option<String>,
}

/// Why people of a file are not all taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the people of a file could not be taken in")]
    Intake(#[from] IntakeError),
    #[error("what became of the people of a file could not be read")]
    Database(#[from] DatabaseError),
    #[error("the people of a file are not all judged yet")]
    Pending,
}

/// What became of people.
#[derive(Debug, Default)]
pub struct Decided {
    pub changed: usize,
    pub unchanged: usize,
    /// By a rule: what it says is a problem of all of the person's rows.
    pub refused: usize,
    /// Not judged in time.
    pub pending: usize,
    pub problems: Vec<RowProblem>,
}

impl Upload<'_> {
    /// Everybody, durable when this answers well; then that the source was read whole. The commands are in the order of `people`.
    ///
    /// They wait in the outbox, so that a large file does not stand in everybody's way: it is sent on as there is room.
    ///
    /// # Errors
    /// When sealing or the database fails. Sending again under the same key is harmless.
    pub async fn submit(&self, people: &[Person]) -> Result<Vec<CommandId>, IntakeError> {
        let (tenant, connection) = (self.live.tenant, self.live.id);
        let key = self.key.clone().unwrap_or_else(|| clock::new_id().to_string());
        let actor = intake::file_actor(connection);
        let keys = self.service.keyring.tenant(tenant).await?;
        let outgoing = |id: CommandId, stream: StreamId, command: AnyCommand| {
            Ok::<_, IntakeError>(Outgoing {
                correlation: CommandId::derive(tenant, &actor, &key).uuid(),
                // What was so before anybody looked is no news.
                backfill: !self.live.synchronised,
                traceparent: self.traceparent.clone(),
                ..Outgoing::seal(&keys, (id, stream), &actor, &command)?
            })
        };
        let mut ids = Vec::with_capacity(people.len());
        for chunk in people.chunks(CHUNK) {
            let commands = chunk.iter().map(|person| {
                let id = CommandId::derive(tenant, &actor, &format!("{key} {}", person.id));
                ids.push(id);
                let employee = EmployeeId::derive(tenant, connection, &person.id);
                let command = employee::Command::Synchronise(Box::new(person.snapshot.clone()));
                let stream = StreamId::new(tenant, Employee::KIND, employee);
                outgoing(id, stream, AnyCommand::Employee(command))
            });
            self.store(commands.collect::<Result<_, _>>()?).await?;
        }
        let whole = connection::Command::ReportSynchronised {
            employees: u32::try_from(people.len()).unwrap_or(u32::MAX),
            cursor: None,
            on: clock::today(),
        };
        let id = CommandId::derive(tenant, &actor, &format!("{key} read"));
        let stream = intake::connection_stream(tenant, connection);
        self.store(vec![outgoing(id, stream, AnyCommand::Connection(whole))?])
            .await?;
        metrics::counter!("tenure_file_people_total").increment(people.len() as u64);
        Ok(ids)
    }

    /// Stores what is not decided yet: whoever asks what became of a file sends it again.
    async fn store(&self, mut commands: Vec<Outgoing>) -> Result<(), IntakeError> {
        if self.key.is_some() {
            let decided = self.outcomes(commands.iter().map(|command| command.id)).await;
            let decided = decided.map_err(SealingError::from)?;
            commands.retain(|command| !decided.contains_key(&command.id));
        }
        let (tenants, commands) = ([self.live.tenant], Arc::new(commands));
        let stored = self
            .service
            .database
            .transact(Access::Write, &tenants, move |connection| {
                let commands = Arc::clone(&commands);
                Box::pin(async move { outbox::add_bulk(connection, &commands).await })
            });
        Ok(stored.await.map_err(SealingError::from)?)
    }

    /// Everybody, until all are judged. Answers all problems of the file, in the order of its rows.
    ///
    /// # Errors
    /// When a part of Tenure is away, or takes too long.
    pub async fn take_in(&self, read: &People) -> Result<Vec<RowProblem>, ImportError> {
        let ids = self.submit(&read.people).await?;
        let decided = self.decided(&read.people, ids, Instant::now() + DECIDED_WITHIN).await?;
        if decided.pending > 0 {
            return Err(ImportError::Pending);
        }
        let mut problems = read.problems.clone();
        problems.extend(decided.problems);
        problems.sort_by_key(|problem| problem.row);
        Ok(problems)
    }

    /// What became of everybody, as far as it is known in time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decided(
        &self,
        people: &[Person],
        ids: Vec<CommandId>,
        until: Instant,
    ) -> Result<Decided, DatabaseError> {
        let mut waiting: VecDeque<(CommandId, &Person)> = ids.into_iter().zip(people).collect();
        let mut decided = Decided::default();
        loop {
            // They are judged about in the order in which they were sent: who is behind somebody who waits, waits.
            while !waiting.is_empty() {
                let next: Vec<(CommandId, &Person)> = waiting.drain(..waiting.len().min(CHUNK)).collect();
                let mut outcomes = self.outcomes(next.iter().map(|(id, _)| *id)).await?;
                let mut undecided = Vec::new();
                for (id, person) in next {
                    match outcomes.remove(&id) {
                        Some(verdict) => decided.tell(person, verdict),
                        None => undecided.push((id, person)),
                    }
                }
                let is_behind = !undecided.is_empty();
                undecided.into_iter().rev().for_each(|one| waiting.push_front(one));
                if is_behind {
                    break;
                }
            }
            if waiting.is_empty() || self.service.shutdown.is_cancelled() || Instant::now() > until {
                decided.pending = waiting.len();
                return Ok(decided);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn outcomes(
        &self,
        ids: impl Iterator<Item = CommandId>,
    ) -> Result<HashMap<CommandId, Verdict>, DatabaseError> {
        let tenants = [self.live.tenant];
        let asked: Vec<_> = ids.map(|id| (self.live.tenant, id)).collect();
        let found = self
            .service
            .database
            .transact(Access::Read, &tenants, move |connection| {
                let asked = asked.clone();
                Box::pin(async move { outcome::find(connection, &asked).await })
            });
        let found = found.await?;
        Ok(found
            .into_iter()
            .map(|outcome| (outcome.command, outcome.verdict))
            .collect())
    }
}

impl Decided {
    fn tell(&mut self, person: &Person, verdict: Verdict) {
        match verdict {
            Verdict::Accepted { position: Some(_), .. } => self.changed += 1,
            Verdict::Accepted { position: None, .. } => self.unchanged += 1,
            Verdict::Rejected { rule } => {
                self.refused += 1;
                self.problems.extend(person.rows.iter().map(|row| RowProblem {
                    row: *row,
                    column: None,
                    problem: rule.clone(),
                }));
            }
        }
    }
}

/// Rows with problems as CSV. `problems` are in the order of the rows.
#[must_use]
pub fn to_mend(table: &Table, problems: &[RowProblem]) -> Vec<u8> {
    let rows: Vec<(usize, String)> = (problems.chunk_by(|one, other| one.row == other.row))
        .map(|of_row| {
            let texts = of_row.iter().map(|RowProblem { column, problem, .. }| match column {
                Some(column) => format!("{column} {problem}"),
                None => problem.clone(),
            });
            (of_row[0].row, texts.collect::<Vec<_>>().join("; "))
        })
        .collect();
    table.give_back(rows.iter().map(|(row, problem)| (&table.rows[*row], problem.as_str())))
}
