//! Announcements of changed risks, from Postgres to every subscription of this process.

use std::sync::Arc;

use domain::id::{EmployeeId, TenantId};
use infra::database::{Database, RISK_CHANNEL};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::limits::CHANGES_BUFFER;

/// Whose risks changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    pub tenant: TenantId,
    pub employees: Vec<EmployeeId>,
}

/// Every announcement, read once, to all who listen. Cheap to clone.
#[derive(Clone)]
pub struct Changes(broadcast::Sender<Arc<Change>>);

impl Changes {
    pub fn listen(database: &Database, shutdown: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(CHANGES_BUFFER);
        let mut announcements = database
            .notifications(RISK_CHANNEL, CHANGES_BUFFER, shutdown.clone())
            .subscribe();
        let out = sender.clone();
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    () = shutdown.cancelled() => return,
                    received = announcements.recv() => received,
                };
                match received {
                    Ok(payload) => match serde_json::from_str::<Change>(&payload) {
                        // Nobody listening is no error.
                        Ok(change) => drop(out.send(Arc::new(change))),
                        Err(error) => tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "an announcement of changed risks does not read"
                        ),
                    },
                    Err(RecvError::Lagged(missed)) => lagged(missed),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self(sender)
    }

    pub fn subscribe(&self) -> Listener {
        Listener(self.0.subscribe())
    }

    #[cfg(test)]
    pub fn announce(&self, change: Change) {
        self.0.send(Arc::new(change)).ok();
    }

    #[cfg(test)]
    pub fn none() -> Self {
        Self(broadcast::channel(CHANGES_BUFFER).0)
    }
}

/// One subscription's ear.
pub struct Listener(broadcast::Receiver<Arc<Change>>);

impl Listener {
    /// The next announcement for `tenant`; none when there will be no more. What a slow listener missed is counted.
    pub async fn next(&mut self, tenant: TenantId) -> Option<Arc<Change>> {
        loop {
            match self.0.recv().await {
                Ok(change) if change.tenant == tenant => return Some(change),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => lagged(missed),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn lagged(missed: u64) {
    metrics::counter!("tenure_graphql_changes_dropped_total").increment(missed);
    tracing::warn!(
        missed,
        "a subscription was too slow: the oldest announcements were dropped"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn change(tenant: u128, employee: u128) -> Change {
        Change {
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
            employees: vec![EmployeeId::from_uuid(Uuid::from_u128(employee))],
        }
    }

    #[test]
    fn announcements_are_read_as_infra_writes_them() {
        let text = serde_json::json!({"tenant": Uuid::from_u128(1), "employees": [Uuid::from_u128(2)]}).to_string();
        assert_eq!(serde_json::from_str::<Change>(&text).expect("it reads"), change(1, 2));
    }

    #[tokio::test]
    async fn a_listener_hears_its_own_tenant_only_and_survives_lagging() {
        let changes = Changes::none();
        let mut listener = changes.subscribe();
        for index in 0..(CHANGES_BUFFER as u128 * 2) {
            changes.announce(change(1, index));
        }
        changes.announce(change(2, 7));
        changes.announce(change(1, 999_999));
        let mut last = None;
        while last != Some(change(1, 999_999)) {
            let heard = listener
                .next(TenantId::from_uuid(Uuid::from_u128(1)))
                .await
                .expect("more");
            assert_eq!(heard.tenant, TenantId::from_uuid(Uuid::from_u128(1)));
            last = Some((*heard).clone());
        }
    }
}
