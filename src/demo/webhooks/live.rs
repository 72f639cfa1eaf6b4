//! The living company, at a pace that people can follow.

use super::super::company::{Change, Company};
use super::super::vendor::{SharedCompany, lock};
use super::WebhookSender;
use chrono::{DateTime, Utc};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Announcements under way at once; the company waits when the receiver falls this far behind.
const ANNOUNCEMENTS_IN_FLIGHT_MAX: usize = 64;
/// How long announcements under way may take to end after the shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A pace of nothing would not be a pace.
const PACE_MIN: Duration = Duration::from_millis(1);

/// What happens next in a company: the same seed at the same moments gives the same life.
#[derive(Debug)]
pub struct Life {
    random: ChaCha8Rng,
    diary: Option<File>,
}

impl Life {
    /// Begins a life that nobody remembers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            diary: None,
        }
    }

    /// Goes on with the life that the diary at `path` tells: a line per step, the moment of it. `company` is as it was when
    /// the diary was begun, and lives through everything again.
    ///
    /// # Errors
    /// When the diary cannot be read or written.
    pub fn remembered(seed: u64, path: &Path, company: &mut Company) -> io::Result<Self> {
        let mut life = Self::new(seed);
        let written = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut kept = 0;
        // A line without an end was cut off by a crash, before its step.
        for line in written.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let moment: DateTime<Utc> = line.trim_end().parse().map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} does not read: {line:?} is no moment", path.display()),
                )
            })?;
            company.next_change(&mut life.random, moment);
            kept += line.len() as u64;
        }
        let diary = OpenOptions::new().create(true).append(true).open(path)?;
        diary.set_len(kept)?;
        life.diary = Some(diary);
        Ok(life)
    }

    /// Lets one thing happen, after it was written down.
    pub(super) fn step(&mut self, company: &mut Company, now: DateTime<Utc>) -> Vec<Change> {
        if let Some(diary) = &mut self.diary
            && let Err(error) = diary.write_all(format!("{now:?}\n").as_bytes())
        {
            tracing::warn!(%error, "the simulated vendor will not remember this change");
        }
        company.next_change(&mut self.random, now)
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveReport {
    /// Steps of the company.
    pub steps: u64,
    /// Records that changed.
    pub changes: u64,
    /// Webhooks that were taken.
    pub delivered: u64,
    /// Webhooks that were refused or given up.
    pub undelivered: u64,
}

/// Lets the company live, one step per `pace`, and announces every change, until `shutdown`.
///
/// A receiver that is down does not stop the company: announcements climb their ladder beside it, and may therefore
/// arrive out of order, as the vendor's do.
pub async fn run_live(
    company: SharedCompany,
    sender: WebhookSender,
    pace: Duration,
    mut life: Life,
    shutdown: impl Future<Output = ()>,
) -> LiveReport {
    let mut report = LiveReport::default();
    let mut announcements: JoinSet<(u64, u64)> = JoinSet::new();
    let mut ticks = tokio::time::interval(pace.max(PACE_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = announcements.join_next(), if !announcements.is_empty() => report.count(ended.ok()),
            _ = ticks.tick(), if announcements.len() < ANNOUNCEMENTS_IN_FLIGHT_MAX => {
                let now = (sender.clock)();
                let changes = life.step(&mut lock(&company), now);
                report.steps += 1;
                report.changes += changes.len() as u64;
                let (company, sender) = (company.clone(), sender.clone());
                announcements.spawn(async move {
                    let outcomes = sender.send_changes(&company, &changes).await;
                    let delivered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                    (delivered as u64, (outcomes.len() - delivered) as u64)
                });
            }
        }
    }
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        while let Some(ended) = announcements.join_next().await {
            report.count(ended.ok());
        }
    });
    if drained.await.is_err() {
        tracing::warn!("webhooks that were still being tried again are dropped");
    }
    report
}

impl LiveReport {
    fn count(&mut self, outcome: Option<(u64, u64)>) {
        let (delivered, undelivered) = outcome.unwrap_or_default();
        self.delivered += delivered;
        self.undelivered += undelivered;
    }
}
