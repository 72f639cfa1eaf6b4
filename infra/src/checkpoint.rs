//! How far each consumer got, kept with what it wrote.
//!
//! A checkpoint moves by compare-and-set in the transaction that writes the rows: whoever lost a partition (its epoch is
//! old) or repeats a batch (its offset is old) changes nothing.

use std::collections::BTreeMap;

use domain::Timestamp;

use crate::database::{Connection, DatabaseError, Doing};

/// Where a consumer is in a partition that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub partition: i32,
    pub next_offset: i64,
    /// The log position of the last event applied.
    pub position: i64,
    pub epoch: i64,
}

/// Takes ownership of `partitions`: raises their epochs and answers where to go on.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    connection: &mut Connection,
    consumer: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<Checkpoint>, DatabaseError> {
    let rows: Vec<(i32, i64, i64, i64)> = sqlx::query_as(
        r#"insert into consumer_checkpoint as c (consumer, topic, "partition", next_offset, epoch)
           select $1, $2, p, 0, 1 from unnest($3::integer[]) as p order by p
           on conflict (consumer, topic, "partition") do update set epoch = c.epoch + 1
           returning "partition", next_offset, position, epoch"#,
    )
    .bind(consumer)
    .bind(topic)
    .bind(partitions)
    .fetch_all(connection)
    .await
    .doing("claim partitions")?;
    Ok(rows
        .into_iter()
        .map(|(partition, next_offset, position, epoch)| Checkpoint {
            partition,
            next_offset,
            position,
            epoch,
        })
        .collect())
}

/// A step forward: from where the owner was to where it is after this batch.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub from: Checkpoint,
    pub next_offset: i64,
    pub position: i64,
    pub recorded_at: Option<Timestamp>,
}

/// Moves checkpoints forward, all or none.
///
/// # Errors
/// [`DatabaseError::Fenced`] when one of them is not where the caller believes. Otherwise when the database fails.
pub async fn advance(
    connection: &mut Connection,
    consumer: &str,
    topic: &str,
    steps: &[Step],
) -> Result<(), DatabaseError> {
    let partitions: Vec<i32> = steps.iter().map(|step| step.from.partition).collect();
    let from: Vec<i64> = steps.iter().map(|step| step.from.next_offset).collect();
    let epochs: Vec<i64> = steps.iter().map(|step| step.from.epoch).collect();
    let to: Vec<i64> = steps.iter().map(|step| step.next_offset).collect();
    let positions: Vec<i64> = steps.iter().map(|step| step.position).collect();
    let recorded: Vec<Option<Timestamp>> = steps.iter().map(|step| step.recorded_at).collect();
    let moved = sqlx::query(
        r#"update consumer_checkpoint c
              set next_offset = u.upto, position = u.position, recorded_at = coalesce(u.recorded_at, c.recorded_at)
             from unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::timestamptz[])
                  as u(p, start, epoch, upto, position, recorded_at)
            where c.consumer = $1 and c.topic = $2 and c."partition" = u.p and c.next_offset = u.start and c.epoch = u.epoch"#,
    )
    .bind(consumer)
    .bind(topic)
    .bind(partitions)
    .bind(from)
    .bind(epochs)
    .bind(to)
    .bind(positions)
    .bind(recorded)
    .execute(connection)
    .await
    .doing("advance checkpoints")?
    .rows_affected();
    if moved == steps.len() as u64 {
        Ok(())
    } else {
        Err(DatabaseError::Fenced("a partition"))
    }
}

/// The positions that a consumer has applied, by partition.
///
/// # Errors
/// When the database fails.
pub async fn positions(
    connection: &mut Connection,
    consumer: &str,
    topic: &str,
) -> Result<Vec<(i32, i64, Option<Timestamp>)>, DatabaseError> {
    sqlx::query_as(
        r#"select "partition", position, recorded_at from consumer_checkpoint where consumer = $1 and topic = $2"#,
    )
    .bind(consumer)
    .bind(topic)
    .fetch_all(connection)
    .await
    .doing("read checkpoints")
}

/// How often each consumer's partitions have changed hands, by consumer and partition.
///
/// # Errors
/// When the database fails.
pub async fn epochs(connection: &mut Connection) -> Result<BTreeMap<(String, i32), i64>, DatabaseError> {
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as(r#"select consumer, "partition", epoch from consumer_checkpoint"#)
            .fetch_all(connection)
            .await
            .doing("read who owns the partitions")?;
    Ok(rows
        .into_iter()
        .map(|(consumer, partition, epoch)| ((consumer, partition), epoch))
        .collect())
}
