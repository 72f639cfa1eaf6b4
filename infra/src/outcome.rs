//! What became of each command: written with its events, so that a retry is answered with the first outcome.

use domain::{
    Kind, StreamId, Timestamp,
    id::{CommandId, TenantId},
};
use uuid::Uuid;

use crate::database::{Connection, DatabaseError, Doing};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub command: CommandId,
    pub stream: StreamId,
    pub fingerprint: Option<String>,
    pub decided_at: Timestamp,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The position of the last event that followed, and the stream's revision after it. No position: nothing changed.
    Accepted { position: Option<i64>, revision: i64 },
    /// The rule that it broke, in words.
    Rejected { rule: String },
}

/// Stores outcomes; of a command that has one, the first stays.
///
/// # Errors
/// When the database fails.
pub async fn record(connection: &mut Connection, outcomes: &[Outcome]) -> Result<(), DatabaseError> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Outcome) -> Uuid| -> Vec<Uuid> { outcomes.iter().map(of).collect() };
    let kinds: Vec<&str> = outcomes.iter().map(|outcome| outcome.stream.kind.name()).collect();
    let fingerprints: Vec<Option<&str>> = outcomes.iter().map(|outcome| outcome.fingerprint.as_deref()).collect();
    let decided: Vec<Timestamp> = outcomes.iter().map(|outcome| outcome.decided_at).collect();
    let mut words = Vec::with_capacity(outcomes.len());
    let (mut positions, mut revisions, mut rules) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        let (word, position, revision, rule) = match &outcome.verdict {
            Verdict::Accepted { position, revision } => ("accepted", *position, Some(*revision), None),
            Verdict::Rejected { rule } => ("rejected", None, None, Some(rule.as_str())),
        };
        words.push(word);
        positions.push(position);
        revisions.push(revision);
        rules.push(rule);
    }
    sqlx::query(
        "insert into command_outcome (tenant, command_id, kind, stream_id, fingerprint, outcome, position, revision, rejection, decided_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::timestamptz[])
         on conflict do nothing",
    )
    .bind(column(|outcome| outcome.stream.tenant.into()))
    .bind(column(|outcome| outcome.command.into()))
    .bind(kinds)
    .bind(column(|outcome| outcome.stream.id))
    .bind(fingerprints)
    .bind(words)
    .bind(positions)
    .bind(revisions)
    .bind(rules)
    .bind(decided)
    .execute(connection)
    .await
    .doing("store commands' outcomes")
    .map(drop)
}

#[derive(sqlx::FromRow)]
struct OutcomeRow {
    tenant: Uuid,
    command_id: Uuid,
    kind: String,
    stream_id: Uuid,
    fingerprint: Option<String>,
    outcome: String,
    position: Option<i64>,
    revision: Option<i64>,
    rejection: Option<String>,
    decided_at: Timestamp,
}

/// The outcomes of those of `commands` that have been decided.
///
/// # Errors
/// When the database fails.
pub async fn find(
    connection: &mut Connection,
    commands: &[(TenantId, CommandId)],
) -> Result<Vec<Outcome>, DatabaseError> {
    let tenants: Vec<Uuid> = commands.iter().map(|(tenant, _)| Uuid::from(*tenant)).collect();
    let ids: Vec<Uuid> = commands.iter().map(|(_, id)| Uuid::from(*id)).collect();
    let rows: Vec<OutcomeRow> = sqlx::query_as(
        "select o.* from unnest($1::uuid[], $2::uuid[]) as u(tenant, command_id)
          cross join lateral (select * from command_outcome where (tenant, command_id) = (u.tenant, u.command_id) offset 0) o",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await
    .doing("look up commands' outcomes")?;
    rows.into_iter()
        .map(|row| {
            let kind: Kind = row.kind.parse().map_err(|_| DatabaseError::Corrupt("kind of stream"))?;
            let verdict = match (row.outcome.as_str(), row.rejection) {
                ("rejected", rule) => Verdict::Rejected {
                    rule: rule.unwrap_or_default(),
                },
                (_, _) => Verdict::Accepted {
                    position: row.position,
                    revision: row.revision.unwrap_or(0),
                },
            };
            Ok(Outcome {
                command: CommandId::from_uuid(row.command_id),
                stream: StreamId::new(TenantId::from_uuid(row.tenant), kind, row.stream_id),
                fingerprint: row.fingerprint,
                decided_at: row.decided_at,
                verdict,
            })
        })
        .collect()
}
