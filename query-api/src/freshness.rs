//! Read your own writes: `Tenure-Min-Position` makes a query wait until the read models have reached what a command wrote.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Timestamp;
use infra::{
    checkpoint,
    database::{Access, Database, DatabaseError},
    read_model::query,
    relay::{self, Relayed},
};
use schemas::topics;
use tokio::sync::Mutex;

use crate::{
    error::{ApiError, SharedError},
    limits::{FRESHNESS_POLL, FRESHNESS_WAIT},
};

/// The consumer that writes the read models.
pub const READ_MODELS_CONSUMER: &str = "read-models";
/// The consumer that writes risks.
pub const SCORER_CONSUMER: &str = "scorer";
/// Whose progress makes an answer fresh.
pub const CONSUMERS: [&str; 2] = [READ_MODELS_CONSUMER, SCORER_CONSUMER];

/// What a reading of the progress is worth, shared by all who wait.
const READING_TTL: Duration = Duration::from_millis(10);

/// The position that an answer must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinPosition {
    /// What a command answered with: its partition and position.
    InPartition(i32, i64),
    /// The whole log up to here.
    InLog(i64),
}

impl MinPosition {
    pub fn parse(header: &str) -> Option<Self> {
        let number = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse::<i64>().ok())
                .flatten()
        };
        match header.trim().split_once('.') {
            Some((partition, position)) => Some(Self::InPartition(
                i32::try_from(number(partition)?).ok()?,
                number(position)?,
            )),
            None => Some(Self::InLog(number(header.trim())?)),
        }
    }
}

/// How far one consumer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    pub by_partition: BTreeMap<i32, i64>,
    pub recorded_at: Option<Timestamp>,
}

impl Applied {
    fn at(&self, partition: i32) -> i64 {
        self.by_partition.get(&partition).copied().unwrap_or(0)
    }

    /// The position up to which everything has been applied.
    pub fn complete_up_to(&self, relayed: &Relayed) -> i64 {
        let behind = relayed
            .sent
            .iter()
            .filter(|(partition, sent)| self.at(**partition) < **sent);
        behind
            .map(|(partition, _)| self.at(*partition))
            .min()
            .unwrap_or(relayed.position)
            .min(relayed.position)
    }
}

/// How far everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub log_head: i64,
    pub head_recorded_at: Option<Timestamp>,
    pub relayed: Relayed,
    /// In the order of [`CONSUMERS`].
    pub applied: [Applied; 2],
}

impl Progress {
    pub fn has_reached(&self, min: MinPosition) -> bool {
        self.applied.iter().all(|applied| match min {
            MinPosition::InPartition(partition, position) => applied.at(partition) >= position,
            MinPosition::InLog(position) => {
                self.relayed.position >= position
                    && self
                        .relayed
                        .sent
                        .iter()
                        .all(|(partition, sent)| applied.at(*partition) >= position.min(*sent))
            }
        })
    }
}

/// A failure is shared as well: while the database is away, those who wait do not each wait for it in turn.
type Reading = Result<Arc<Progress>, SharedError>;

/// Reads the progress for everyone who waits: however many they are, the database is asked once per poll.
#[derive(Clone)]
pub struct Freshness {
    database: Database,
    latest: Arc<Mutex<Option<(Instant, Reading)>>>,
}

impl Freshness {
    pub fn new(database: Database) -> Self {
        Self {
            database,
            latest: Arc::default(),
        }
    }

    /// Waits, for [`FRESHNESS_WAIT`] at most, until everything up to `min` is visible.
    pub async fn wait(&self, min: MinPosition) -> Result<(), SharedError> {
        let waited = tokio::time::timeout(FRESHNESS_WAIT, async {
            while !self.progress().await?.has_reached(min) {
                tokio::time::sleep(FRESHNESS_POLL).await;
            }
            Ok::<(), SharedError>(())
        });
        waited.await.unwrap_or_else(|_| Err(ApiError::NotFresh.into()))
    }

    pub async fn progress(&self) -> Reading {
        let mut latest = self.latest.lock().await;
        if let Some((read_at, reading)) = &*latest
            && read_at.elapsed() < READING_TTL
        {
            return reading.clone();
        }
        let reading: Reading = self
            .read()
            .await
            .map(Arc::new)
            .map_err(|error| ApiError::from(error).into());
        *latest = Some((Instant::now(), reading.clone()));
        reading
    }

    async fn read(&self) -> Result<Progress, DatabaseError> {
        self.database
            .transact(Access::Read, &[], |connection| {
                Box::pin(async move {
                    // Consumers first: what they are compared with may only be newer.
                    let mut applied = [Applied::default(), Applied::default()];
                    for (consumer, applied) in CONSUMERS.iter().zip(&mut applied) {
                        let positions = checkpoint::positions(connection, consumer, topics::EVENTS).await?;
                        applied.recorded_at = positions.iter().filter_map(|(_, _, recorded_at)| *recorded_at).max();
                        applied.by_partition = positions
                            .into_iter()
                            .map(|(partition, position, _)| (partition, position))
                            .collect();
                    }
                    let relayed = relay::read(connection).await?;
                    let (log_head, recorded_at) = query::log_head(connection).await?;
                    Ok(Progress {
                        log_head,
                        head_recorded_at: (log_head > 0).then_some(recorded_at),
                        relayed,
                        applied,
                    })
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_or_a_bare_position_is_read() {
        assert_eq!(MinPosition::parse("3.120"), Some(MinPosition::InPartition(3, 120)));
        assert_eq!(MinPosition::parse(" 120 "), Some(MinPosition::InLog(120)));
        for broken in [
            "",
            ".",
            "3.",
            ".4",
            "-1",
            "3.-4",
            "1.2.3",
            "x",
            "99999999999999999999",
            "9999999999.1",
            "+1",
            "1e3",
        ] {
            assert_eq!(MinPosition::parse(broken), None, "{broken}");
        }
    }

    fn progress(relay: i64, sent: &[(i32, i64)], read_models: &[(i32, i64)], scorer: &[(i32, i64)]) -> Progress {
        let applied = |positions: &[(i32, i64)]| Applied {
            by_partition: positions.iter().copied().collect(),
            recorded_at: None,
        };
        Progress {
            log_head: relay,
            head_recorded_at: None,
            relayed: Relayed {
                position: relay,
                sent: sent.iter().copied().collect(),
            },
            applied: [applied(read_models), applied(scorer)],
        }
    }

    #[test]
    fn both_consumers_must_have_reached_the_partition_s_position() {
        let reached = |read_models, scorer| {
            progress(9, &[(0, 9)], &[(0, read_models)], &[(0, scorer)]).has_reached(MinPosition::InPartition(0, 7))
        };
        assert_eq!(
            [reached(7, 7), reached(8, 9), reached(7, 6), reached(6, 7)],
            [true, true, false, false]
        );
        assert!(
            !progress(9, &[(0, 9)], &[(0, 9)], &[(0, 9)]).has_reached(MinPosition::InPartition(1, 7)),
            "a partition that nobody has read"
        );
    }

    #[test]
    fn a_bare_position_asks_of_each_partition_what_was_sent_to_it() {
        let sent = [(0, 4), (1, 9)];
        let all = progress(9, &sent, &[(0, 4), (1, 9)], &[(0, 4), (1, 9)]);
        assert!(all.has_reached(MinPosition::InLog(9)));
        assert!(!all.has_reached(MinPosition::InLog(10)), "not relayed yet");
        assert!(!progress(9, &sent, &[(0, 3), (1, 9)], &[(0, 4), (1, 9)]).has_reached(MinPosition::InLog(9)));
        assert!(progress(9, &sent, &[(0, 4), (1, 7)], &[(0, 4), (1, 7)]).has_reached(MinPosition::InLog(7)));
        assert!(
            progress(0, &[], &[], &[]).has_reached(MinPosition::InLog(0)),
            "an empty log"
        );
    }

    #[test]
    fn complete_up_to_is_the_slowest_partition_that_is_behind() {
        let relayed = Relayed {
            position: 12,
            sent: [(0, 4), (1, 12)].into(),
        };
        let up_to = |zero, one| {
            Applied {
                by_partition: [(0, zero), (1, one)].into(),
                recorded_at: None,
            }
            .complete_up_to(&relayed)
        };
        assert_eq!([up_to(4, 12), up_to(4, 7), up_to(2, 7), up_to(2, 12)], [12, 7, 2, 2]);
        assert_eq!(Applied::default().complete_up_to(&relayed), 0);
    }
}
