//! Sends on what can wait: a file of a hundred thousand people goes into the intake little by little, so that whoever works beside it does
//! not wait behind it. Tenants with files take turns.
//!
//! While somebody else is at work a few commands go at a time, the next when everybody's read models have them, and between them
//! there is as long a pause as they took. While nobody is, large steps follow one another, and who comes then waits behind one or two.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use domain::id::{CommandId, TenantId};
use infra::{
    database::{Access, DatabaseError},
    event_log, outbox,
    outcome::{self, Verdict},
    route,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ProjectionWorkers, lag,
    outbox::{OutboxError, send},
};

/// How often it is looked for something to send.
const POLL: Duration = Duration::from_millis(200);
/// How often it is looked at what became of a step.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// For how long somebody who did something counts as at work.
const AT_WORK: Duration = Duration::from_secs(10);
/// What is parked, or waits for something that is away, is not waited for any longer.
const STEP_MAX: Duration = Duration::from_secs(5);

/// How much is under way at once.
#[derive(Debug, Clone, Copy)]
struct Stride {
    /// Commands of one step.
    commands: usize,
    /// So many of the steps before may be undecided when the next is sent.
    undecided: usize,
    /// By so many events the read models may be behind what is decided then.
    lag_events: i64,
}

/// Beside somebody at work.
const SHORT: Stride = Stride {
    commands: 40,
    undecided: 0,
    lag_events: 0,
};
/// While nobody is.
const LONG: Stride = Stride {
    commands: 1_000,
    undecided: 1_000,
    lag_events: 6_000,
};

/// Sends until shut down.
pub async fn run(workers: ProjectionWorkers, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = send_all(&workers, &shutdown).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "what can wait waits");
        }
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(POLL) => {} }
    }
}

/// Sends until nothing is left, if no other process does.
async fn send_all(workers: &ProjectionWorkers, shutdown: &CancellationToken) -> Result<(), OutboxError> {
    if waiting(workers, 1).await?.is_empty() {
        return Ok(());
    }
    let Some(mut seat) = workers.database.try_bulk_seat().await? else {
        return Ok(());
    };
    let mut others = Others {
        looked_up_to: 0,
        at_work: None,
    };
    others.look(workers).await?;
    let mut under_way = UnderWay::default();
    while !shutdown.is_cancelled() && seat.is_held().await {
        let (begun, stride) = (Instant::now(), others.stride());
        let commands = waiting(workers, stride.commands).await?;
        if commands.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = (commands.iter().map(|command| (command.stream.tenant, command.id))).collect();
        send(workers, commands).await?;
        metrics::counter!("tenure_bulk_commands_total").increment(ids.len() as u64);
        under_way.commands.extend(ids);
        while !under_way.allows(workers, stride).await? && begun.elapsed() < STEP_MAX && !shutdown.is_cancelled() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        if begun.elapsed() >= STEP_MAX {
            // What is parked is never decided: it does not hold up the steps after this one too.
            under_way.commands.clear();
        }
        metrics::histogram!("tenure_bulk_step_seconds").record(begun.elapsed().as_secs_f64());
        others.look(workers).await?;
        if others.are_at_work() {
            tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(begun.elapsed()) => {} }
        }
    }
    Ok(())
}

async fn waiting(workers: &ProjectionWorkers, limit: usize) -> Result<Vec<outbox::Outgoing>, DatabaseError> {
    let tenants = tenants(workers).await?;
    let of = tenants.clone();
    let waiting = workers.database.transact(Access::Read, &tenants, move |connection| {
        let of = of.clone();
        Box::pin(async move { outbox::waiting_bulk(connection, &of, limit).await })
    });
    waiting.await
}

async fn tenants(workers: &ProjectionWorkers) -> Result<Vec<TenantId>, DatabaseError> {
    let tenants = (workers.database).transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)));
    tenants.await
}

/// What was sent and is not decided yet.
#[derive(Default)]
struct UnderWay {
    commands: HashSet<(TenantId, CommandId)>,
    /// The last position of what was decided.
    decided_up_to: i64,
}

impl UnderWay {
    /// Whether the next step may be sent.
    async fn allows(&mut self, workers: &ProjectionWorkers, stride: Stride) -> Result<bool, DatabaseError> {
        let asked: Vec<_> = self.commands.iter().copied().collect();
        let tenants = event_log::tenants_of(asked.iter().map(|(tenant, _)| *tenant));
        let found = workers.database.transact(Access::Read, &tenants, move |connection| {
            let asked = asked.clone();
            Box::pin(async move { outcome::find(connection, &asked).await })
        });
        for decided in found.await? {
            self.commands.remove(&(decided.stream.tenant, decided.command));
            if let Verdict::Accepted {
                position: Some(position),
                ..
            } = decided.verdict
            {
                self.decided_up_to = self.decided_up_to.max(position);
            }
        }
        if self.commands.len() > stride.undecided {
            return Ok(false);
        }
        let standing = lag::standing(&workers.database).await?;
        let mut projections = standing.projections.iter();
        Ok(projections.all(|projection| self.decided_up_to - projection.behind.position <= stride.lag_events))
    }
}

/// Whoever else does something here.
struct Others {
    /// The position up to which the log was looked at.
    looked_up_to: i64,
    at_work: Option<Instant>,
}

impl Others {
    async fn look(&mut self, workers: &ProjectionWorkers) -> Result<(), DatabaseError> {
        let (tenants, after) = (tenants(workers).await?, self.looked_up_to);
        let looked = workers.database.transact(Access::Read, &tenants, move |connection| {
            Box::pin(async move {
                let head = event_log::head(connection).await?;
                let acted = event_log::others_acted(connection, after, AT_WORK).await?;
                Ok((head, acted))
            })
        });
        let (head, acted) = looked.await?;
        self.looked_up_to = head;
        if acted {
            self.at_work = Some(Instant::now());
        }
        Ok(())
    }

    fn are_at_work(&self) -> bool {
        self.at_work.is_some_and(|at| at.elapsed() < AT_WORK)
    }

    fn stride(&self) -> Stride {
        if self.are_at_work() { SHORT } else { LONG }
    }
}
