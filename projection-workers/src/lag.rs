//! How far each part is behind, as metrics and for `/health/detailed`.

use std::time::Duration;

use domain::Timestamp;
use infra::{
    checkpoint, clock,
    database::{Access, Database, DatabaseError},
    event_log, relay,
};
use schemas::topics;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{fairness::Fairness, read_models::ReadModels, runner::Projection, scorer::Scorer, teams::Teams};

const EVERY: Duration = Duration::from_secs(2);

impl Standing {
    /// How far a projection is behind.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Behind> {
        let named = self.projections.iter().find(|projection| projection.name == name);
        named.map(|projection| projection.behind)
    }
}

/// Where everything stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// The position of the last event in the log.
    pub log_head: i64,
    pub relay: Behind,
    pub projections: Vec<Named>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Named {
    pub name: &'static str,
    #[serde(flatten)]
    pub behind: Behind,
}

/// How far something is behind the log.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Behind {
    pub position: i64,
    pub lag_events: i64,
    /// Since the last applied event was recorded; 0 when nothing waits.
    pub lag_seconds: f64,
}

/// Reads where everything stands.
///
/// # Errors
/// When the database fails.
pub async fn standing(database: &Database) -> Result<Standing, DatabaseError> {
    database
        .transact(Access::Read, &[], |connection| {
            Box::pin(async move {
                let log_head = event_log::head(connection).await?;
                let relayed = relay::read(connection).await?;
                let mut projections = Vec::new();
                for name in [ReadModels::NAME, Scorer::NAME, Fairness::NAME, Teams::NAME] {
                    let partitions = checkpoint::positions(connection, name, topics::EVENTS).await?;
                    projections.push(Named {
                        name,
                        behind: behind(log_head, &relayed, &partitions),
                    });
                }
                let lag_events = log_head - relayed.position;
                Ok(Standing {
                    log_head,
                    relay: Behind {
                        position: relayed.position,
                        lag_events,
                        lag_seconds: 0.0,
                    },
                    projections,
                })
            })
        })
        .await
}

/// A projection has applied everything that was sent to a partition when it stands at that partition's last position.
fn behind(log_head: i64, relayed: &relay::Relayed, partitions: &[(i32, i64, Option<Timestamp>)]) -> Behind {
    let waiting: Vec<&(i32, i64, Option<Timestamp>)> = partitions
        .iter()
        .filter(|(partition, position, _)| relayed.sent.get(partition).is_some_and(|sent| position < sent))
        .collect();
    let unseen = relayed
        .sent
        .keys()
        .any(|partition| !partitions.iter().any(|(seen, _, _)| seen == partition));
    let oldest = waiting.iter().map(|(_, position, _)| *position).min();
    let position = match oldest {
        Some(position) => position,
        None if unseen => 0,
        None => relayed.position,
    };
    let since = waiting.iter().filter_map(|(_, _, at)| *at).min();
    let lag_seconds = since.map_or(0.0, |since| (clock::now() - since).num_milliseconds() as f64 / 1000.0);
    Behind {
        position,
        lag_events: log_head - position,
        lag_seconds,
    }
}

/// Keeps the gauges up to date until shut down.
pub async fn run(database: Database, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Ok(standing) = standing(&database).await {
            metrics::gauge!("tenure_log_head_position").set(standing.log_head as f64);
            metrics::gauge!("tenure_relay_position").set(standing.relay.position as f64);
            metrics::gauge!("tenure_relay_lag_events").set(standing.relay.lag_events as f64);
            for Named { name, behind } in standing.projections {
                metrics::gauge!("tenure_projection_position", "projection" => name).set(behind.position as f64);
                metrics::gauge!("tenure_projection_lag_events", "projection" => name).set(behind.lag_events as f64);
                metrics::gauge!("tenure_projection_lag_seconds", "projection" => name).set(behind.lag_seconds);
            }
        }
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(EVERY) => {} }
    }
}
