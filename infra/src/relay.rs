//! How far the log has been relayed.

use std::collections::BTreeMap;

use crate::database::{Connection, DatabaseError, Doing};

/// The relay's place in the log, and the last position that went to each partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relayed {
    pub position: i64,
    pub sent: BTreeMap<i32, i64>,
}

/// # Errors
/// When the database fails.
pub async fn read(connection: &mut Connection) -> Result<Relayed, DatabaseError> {
    let (position, sent): (i64, sqlx::types::Json<BTreeMap<i32, i64>>) =
        sqlx::query_as("select position, sent from relay_checkpoint")
            .fetch_one(connection)
            .await
            .doing("read the relay's checkpoint")?;
    Ok(Relayed { position, sent: sent.0 })
}

/// Moves the relay's checkpoint from `from` to `to`.
///
/// # Errors
/// [`DatabaseError::Fenced`] when another relay moved it.
pub async fn advance(connection: &mut Connection, from: i64, to: &Relayed) -> Result<(), DatabaseError> {
    let moved = sqlx::query("update relay_checkpoint set position = $2, sent = $3 where position = $1")
        .bind(from)
        .bind(to.position)
        .bind(sqlx::types::Json(&to.sent))
        .execute(connection)
        .await
        .doing("advance the relay's checkpoint")?
        .rows_affected();
    if moved == 1 {
        Ok(())
    } else {
        Err(DatabaseError::Fenced("the relay"))
    }
}
