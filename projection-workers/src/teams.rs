//! Who works with whom, and what colleagues are told: when somebody gives notice or leaves, those of the team hear of it as an
//! event on their own stream, from which features are folded like from any other (ADR 12).
//!
//! Two steps, so that the order in which people's streams arrive does not matter (imports deliver people in any order, partitions
//! run beside each other, in several processes):
//!
//! 1. [`Teams::apply`] keeps, for each person of a batch, what the own stream says: memberships and exits. Whoever's changed is due.
//! 2. [`Teams::tell`] takes people who are due, finds who has to know of which exit now, compares with what has been told, and
//!    sends the difference as commands.
//!
//! Nothing is missed: of two people, one in the team and one who leaves, each becomes due in the transaction that writes the own
//! rows. Whoever's second step comes later begins after both transactions have ended, and sees the rows of both. Nothing is told
//! on what is no longer so: second steps of one tenant wait for each other (a lock in Postgres), and read after they have waited.
//! A step that reads while a first step is about to commit may tell what is just being corrected; the correction makes that person
//! due, and their step takes it back.

mod facts;

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use domain::{
    Kind, StreamId, Timestamp,
    employee::{self, ColleagueLeft, ColleagueStayed},
    id::{CommandId, EmployeeId, TenantId},
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    outbox::{self, Outgoing},
    route,
    sealing::Keyring,
    teams::{self as tables, News, PersonRow},
};
use schemas::codec::{AnyCommand, AnyEvent};
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    runner::{Opened, Owned, Projection},
    scorer::unavailable,
};
pub use facts::Facts;

const ACTOR: &str = "teams";
/// People whose colleagues are told in one transaction.
pub const PEOPLE_MAX: i64 = 500;
/// Commands of one kind that one transaction makes. A team may have thousands of people: what is left waits for the next one.
pub const COMMANDS_MAX: i64 = 2_000;
/// Transactions of one tick, so that the projection gets back to its events.
const PAGES_PER_TICK_MAX: usize = 10;
/// What was recorded longer ago, or is imported history, is being caught up with: then the rest of the person's stream is probably
/// on its way, and what comes of it is told once instead of told and taken back.
const FRESH_MAX: TimeDelta = TimeDelta::seconds(10);
/// How long a person's stream has to be quiet then.
pub const QUIET: TimeDelta = TimeDelta::seconds(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Teams {
    database: Database,
    keyring: Keyring,
    /// Rung when commands wait in the outbox.
    outgoing: Arc<Notify>,
}

/// What one transaction told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    commands: usize,
    /// Whether somebody may still be due.
    more: bool,
}

impl Teams {
    #[must_use]
    pub const fn new(database: Database, keyring: Keyring, outgoing: Arc<Notify>) -> Self {
        Self {
            database,
            keyring,
            outgoing,
        }
    }

    /// Tells the colleagues of up to some thousands of people who are due by `now`; answers how many commands that makes.
    ///
    /// # Errors
    /// When the database or the keys fail; what was told until then stays told.
    pub async fn tell(&self, tenant: TenantId, now: Timestamp) -> Result<usize, DatabaseError> {
        let mut commands = 0;
        for _ in 0..PAGES_PER_TICK_MAX {
            let teams = self.clone();
            let page = self
                .database
                .transact(Access::Write, &[tenant], move |connection| {
                    Box::pin(async move { teams.tell_page(connection, tenant, now).await })
                })
                .await?;
            commands += page.commands;
            if !page.more {
                break;
            }
        }
        if commands > 0 {
            self.outgoing.notify_one();
            metrics::counter!("tenure_team_news_total").increment(commands as u64);
        }
        Ok(commands)
    }

    async fn tell_page(
        &self,
        connection: &mut Connection,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Page, DatabaseError> {
        tables::lock(connection, tenant).await?;
        let due: HashMap<Uuid, PersonRow> = tables::claim(connection, tenant, now, PEOPLE_MAX)
            .await?
            .into_iter()
            .map(|row| (row.employee, row))
            .collect();
        if due.is_empty() {
            return Ok(Page {
                commands: 0,
                more: false,
            });
        }
        let people: Vec<Uuid> = due.keys().copied().collect();
        let stayed = tables::take_back(connection, tenant, &people, COMMANDS_MAX).await?;
        let left = tables::tell(connection, tenant, &people, COMMANDS_MAX).await?;
        if stayed.len().max(left.len()) < COMMANDS_MAX as usize {
            tables::settle(connection, tenant, &people).await?;
        }
        let mut outgoing = Vec::with_capacity(stayed.len() + left.len());
        for news in &stayed {
            outgoing.push(self.command(tenant, &due, Word::Stayed, news).await?);
        }
        for news in &left {
            outgoing.push(self.command(tenant, &due, Word::Left, news).await?);
        }
        outbox::add(connection, &outgoing).await?;
        Ok(Page {
            commands: outgoing.len(),
            more: true,
        })
    }

    async fn command(
        &self,
        tenant: TenantId,
        due: &HashMap<Uuid, PersonRow>,
        word: Word,
        news: &News,
    ) -> Result<Outgoing, DatabaseError> {
        let colleague = EmployeeId::from_uuid(news.colleague);
        let causes = [due.get(&news.colleague), due.get(&news.teammate)];
        let mut causes = causes.into_iter().flatten();
        let (command, backfill) = match word {
            Word::Left => {
                let exit = ColleagueLeft {
                    colleague,
                    relation: news.relation()?,
                    on: news.exit_on,
                };
                (employee::Command::HearOfExit(exit), news.backfill)
            }
            // What was history is taken back in history only by history: else it was believed until now.
            Word::Stayed => {
                let exit = ColleagueStayed {
                    colleague,
                    on: news.exit_on,
                };
                let by_history = news.backfill && causes.clone().all(|cause| cause.backfill);
                (employee::Command::HearOfStay(exit), by_history)
            }
        };
        // The two positions never come again: whether somebody is told changes only with facts of one of the two.
        let id = CommandId::derive(
            tenant,
            ACTOR,
            &format!(
                "{colleague}|{}|{}|{}|{}|{}|{}",
                news.exit_on,
                news.teammate,
                word.name(),
                news.relation()?.name(),
                news.colleague_position,
                news.teammate_position
            ),
        );
        let keys = self.keyring.tenant(tenant).await.map_err(unavailable)?;
        let stream = StreamId::new(tenant, Kind::Employee, news.teammate);
        let sealed = Outgoing::seal(&keys, (id, stream), ACTOR, &AnyCommand::Employee(command));
        Ok(Outgoing {
            correlation: causes.next().map_or_else(|| id.uuid(), |cause| cause.correlation),
            backfill,
            ..sealed.map_err(unavailable)?
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Left,
    Stayed,
}

impl Word {
    const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Stayed => "stayed",
        }
    }
}

impl Projection for Teams {
    const NAME: &'static str = "teams";

    fn apply<'c>(
        &'c self,
        connection: &'c mut Connection,
        events: &'c [Opened],
    ) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            let mut people: BTreeMap<(TenantId, Uuid), Vec<(&Opened, &employee::Event)>> = BTreeMap::new();
            for opened in events {
                if let AnyEvent::Employee(event) = &opened.event
                    && Facts::concern(event)
                {
                    people
                        .entry((opened.stored.stream.tenant, opened.stored.stream.id))
                        .or_default()
                        .push((opened, event));
                }
            }
            if people.is_empty() {
                return Ok(());
            }
            let ids: Vec<(TenantId, Uuid)> = people.keys().copied().collect();
            let mut known: HashMap<(TenantId, Uuid), PersonRow> = tables::load(connection, &ids)
                .await?
                .into_iter()
                .map(|row| ((TenantId::from_uuid(row.tenant), row.employee), row))
                .collect();
            let (mut rows, mut moved) = (Vec::new(), Vec::new());
            for (who, events) in people {
                let Some((row, teams)) = taken(who, known.remove(&who), &events)? else {
                    continue;
                };
                rows.push(row);
                moved.extend(teams);
            }
            tables::replace(connection, &moved).await?;
            tables::store(connection, &rows).await
        })
    }

    fn tick<'c>(&'c self, _owned: &'c Owned) -> BoxFuture<'c, Result<(), DatabaseError>> {
        Box::pin(async move {
            let tenants = self
                .database
                .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
                .await?;
            let now = clock::now();
            let due = self
                .database
                .transact(Access::Read, &tenants, move |connection| {
                    Box::pin(tables::due_tenants(connection, now))
                })
                .await?;
            for tenant in due {
                self.tell(tenant, now).await?;
            }
            Ok(())
        })
    }
}

/// A person after some more events; with their teams, if those are others now. Nothing if all of it was seen before.
fn taken(
    (tenant, employee): (TenantId, Uuid),
    known: Option<PersonRow>,
    events: &[(&Opened, &employee::Event)],
) -> Result<Option<(PersonRow, Option<tables::Teams>)>, DatabaseError> {
    let seen = known.as_ref().map_or(0, |row| row.position);
    // Seen already, when a batch was taken one by one.
    let mut fresh = events
        .iter()
        .filter(|(opened, _)| opened.stored.position > seen)
        .peekable();
    let Some((first, _)) = fresh.peek() else {
        return Ok(None);
    };
    let before: Facts = match &known {
        Some(row) => serde_json::from_str(&row.facts).map_err(|_| DatabaseError::Corrupt("facts of teams"))?,
        None => Facts::default(),
    };
    let (mut facts, mut backfill, mut last) = (before.clone(), true, first);
    for (opened, event) in fresh {
        facts.take(event, opened.stored.provenance.backfill);
        backfill &= opened.stored.provenance.backfill;
        last = opened;
    }
    let who = EmployeeId::from_uuid(employee);
    let teams = tables::Teams {
        tenant,
        employee,
        memberships: facts.memberships(),
        exits: facts.exits(who),
    };
    let is_moved = teams.memberships != before.memberships() || teams.exits != before.exits(who);
    let due_before = known.as_ref().and_then(|row| row.due_at);
    let row = PersonRow {
        tenant: tenant.into(),
        employee,
        facts: serde_json::to_string(&facts).map_err(|_| DatabaseError::Corrupt("facts of teams"))?,
        position: last.stored.position,
        due_at: if is_moved || due_before.is_some() {
            Some(due_at(last, clock::now()))
        } else {
            None
        },
        backfill: backfill && known.is_none_or(|row| row.due_at.is_none() || row.backfill),
        correlation: last.stored.provenance.correlation,
    };
    Ok(Some((row, is_moved.then_some(teams))))
}

/// When colleagues can be told of what an event changed.
fn due_at(last: &Opened, now: Timestamp) -> Timestamp {
    let is_caught_up_with = last.stored.provenance.backfill || now - last.stored.recorded_at > FRESH_MAX;
    if is_caught_up_with { now + QUIET } else { now }
}
