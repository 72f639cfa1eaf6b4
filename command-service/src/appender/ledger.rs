//! What is counted of each source in a batch: the source-quality ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use domain::id::{ConnectionId, EmployeeId, TenantId};
use infra::{
    clock,
    database::{Connection, DatabaseError},
    source_quality::{self, Counts, Told},
};
use schemas::envelope::IntakeHeader;
use uuid::Uuid;

use crate::intake::{self, Notified};

/// A notification that comes later than this after what it tells of is late: BambooHR tries again after 5 minutes, so it failed to
/// be delivered at first.
const LATE_AFTER: TimeDelta = TimeDelta::minutes(5);

#[derive(Clone, Default)]
pub(super) struct Ledger {
    counts: BTreeMap<(TenantId, ConnectionId), Counts>,
    told: Vec<Told>,
    /// By the ids under which they are parked: a message that is tried again counts once.
    unreadable: HashMap<Uuid, (TenantId, ConnectionId)>,
}

impl Ledger {
    fn of(&mut self, tenant: TenantId, connection: ConnectionId) -> &mut Counts {
        self.counts.entry((tenant, connection)).or_default()
    }

    /// Whose sources were counted.
    pub(super) fn tenants(&self) -> impl Iterator<Item = TenantId> {
        self.counts.keys().map(|(tenant, _)| *tenant)
    }

    /// A notification about a person, and whether it came before.
    pub(super) fn notified(&mut self, header: &IntakeHeader, notified: &Notified, again: bool) {
        let (tenant, at) = (header.stream.tenant, notified.notification.at);
        let is_late = at.is_some_and(|at| header.accepted_at - at > LATE_AFTER);
        self.of(tenant, notified.connection).add(Counts {
            received: 1,
            duplicate: i64::from(again),
            late: i64::from(is_late && !again),
            heard_at: Some(header.accepted_at),
            ..Counts::default()
        });
        if let Some(at) = at.filter(|_| !again) {
            let employee = EmployeeId::derive(tenant, notified.connection, &notified.notification.remote_id);
            self.told.push(Told {
                tenant,
                connection: notified.connection,
                employee,
                at,
            });
        }
    }

    /// What a system without a connector told of a person, and whether it came before.
    pub(super) fn pushed(&mut self, header: &IntakeHeader, again: bool) {
        if let Some(connection) = intake::pushed_by(&header.provenance.actor) {
            self.of(header.stream.tenant, connection).add(Counts {
                received: 1,
                duplicate: i64::from(again),
                heard_at: Some(header.accepted_at),
                ..Counts::default()
            });
        }
    }

    /// Asking found what nobody had told.
    pub(super) fn missed(&mut self, tenant: TenantId, connection: ConnectionId) {
        self.of(tenant, connection).missed += 1;
    }

    /// A rule refused what a source said.
    pub(super) fn refused(&mut self, tenant: TenantId, connection: ConnectionId) {
        self.of(tenant, connection).rejected += 1;
    }

    /// A message could not be understood, and is parked under the id of its record.
    pub(super) fn unreadable(&mut self, header: &IntakeHeader) {
        let connection = ConnectionId::from_uuid(header.stream.id);
        self.unreadable
            .insert(header.id.uuid(), (header.stream.tenant, connection));
    }

    /// Writes what was counted; `parked` are the records that were parked for the first time.
    pub(super) async fn write(
        &mut self,
        connection: &mut Connection,
        parked: &HashSet<Uuid>,
    ) -> Result<(), DatabaseError> {
        for (id, (tenant, of)) in std::mem::take(&mut self.unreadable) {
            if parked.contains(&id) {
                self.refused(tenant, of);
            }
        }
        for (tenant, of, count) in source_quality::tell(connection, &self.told).await? {
            self.of(tenant, of).out_of_order += count;
        }
        // In the order of the map: two processes that count the same sources wait for each other, and never in a ring.
        for ((tenant, of), counts) in &self.counts {
            source_quality::count(connection, (*tenant, *of, clock::today()), *counts).await?;
        }
        Ok(())
    }

    /// Once it is written.
    pub(super) fn publish(&self) {
        for ((_, connection), counts) in &self.counts {
            let of = connection.to_string();
            for (what, count) in [
                ("received", counts.received),
                ("duplicate", counts.duplicate),
                ("late", counts.late),
                ("out-of-order", counts.out_of_order),
                ("missed", counts.missed),
                ("rejected", counts.rejected),
            ] {
                metrics::counter!("tenure_source_quality_total", "connection" => of.clone(), "what" => what)
                    .increment(u64::try_from(count).unwrap_or_default());
            }
            if let Some(heard_at) = counts.heard_at {
                metrics::gauge!("tenure_source_heard_timestamp_seconds", "connection" => of)
                    .set(heard_at.timestamp_millis() as f64 / 1_000.0);
            }
        }
    }
}
