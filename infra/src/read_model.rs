//! The read models' tables: rows, how projections write them, how queries read them.
//!
//! A row is also the query result: GraphQL types wrap rows, nothing copies them.

pub mod employee;
pub mod export;
pub mod pay_change;
pub mod query;
pub mod readiness;
pub mod risk;
pub mod settings;
pub mod shadow;
pub mod stats;
pub mod timeline;
pub mod trends;
pub mod version;

use crate::database::{Connection, DatabaseError, Doing};

/// "For ever" in effective dates: chrono has no infinity.
pub const FOR_EVER: domain::Date = match domain::Date::from_ymd_opt(9999, 12, 31) {
    Some(day) => day,
    None => domain::Date::MAX,
};

/// "Until now" in recorded times.
pub const STILL_BELIEVED: domain::Timestamp = FOR_EVER.and_time(chrono::NaiveTime::MIN).and_utc();

/// Tells the planner how much the tables hold. Costs some tens of milliseconds; ask when they have grown several times over.
///
/// # Errors
/// When the database fails.
pub async fn refresh_statistics(connection: &mut Connection) -> Result<(), DatabaseError> {
    sqlx::query("select tenure_refresh_statistics()")
        .execute(connection)
        .await
        .doing("refresh the planner's statistics")
        .map(drop)
}

/// Ids as two arrays, for `unnest`.
pub(crate) fn keys<T: Into<uuid::Uuid> + Copy>(
    keys: &[(domain::id::TenantId, T)],
) -> (Vec<uuid::Uuid>, Vec<uuid::Uuid>) {
    keys.iter()
        .map(|(tenant, id)| (uuid::Uuid::from(*tenant), (*id).into()))
        .unzip()
}
