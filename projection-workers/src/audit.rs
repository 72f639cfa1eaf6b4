//! The audit of a model in use, where scores and protected attributes meet: in memory, and only counts of groups leave.

use domain::{
    Date,
    id::{EmployeeId, TenantId},
    tenant::Bands,
};
use infra::{
    database::{Access, Database, DatabaseError},
    fairness::FairnessStore,
    read_model::settings,
};
use ml_pipeline::{
    fairness::in_use::{self, Impact, Scale},
    outcomes::Scored,
};

use crate::{fairness::Fairness, lag, runner::Projection, scorer::unavailable};

/// Events that the store may be behind: beyond, it is being filled, and an audit would look at some of the people only.
const BEHIND_EVENTS_MAX: i64 = 1_000;

/// What a model said.
pub struct Predictions {
    /// Of whom it is asked about today.
    pub current: Vec<(EmployeeId, f64)>,
    /// Earlier, of whom time has told: [`ml_pipeline::outcomes::ripe`].
    pub ripe: Vec<(Scored, bool)>,
    pub today: Date,
}

/// Whether a tenant's groups fare alike under what a model said; nothing while the store is being filled. `database` is the
/// application's; `usual` is the rate that levels of readiness are told by, nothing for a risk.
///
/// # Errors
/// When the database or the keys fail.
pub async fn impact(
    store: &FairnessStore,
    database: &Database,
    tenant: TenantId,
    usual: Option<f64>,
    predictions: Predictions,
) -> Result<Option<Impact>, DatabaseError> {
    let behind = lag::standing(database).await?.of(Fairness::NAME);
    if behind.is_none_or(|behind| behind.lag_events > BEHIND_EVENTS_MAX) {
        return Ok(None);
    }
    let settings = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(settings::load(connection, tenant))
        })
        .await?;
    let scale = match usual {
        Some(usual) => Scale::Levels { usual },
        None => Scale::Bands(settings.map_or_else(Bands::default, |settings| settings.bands.0)),
    };
    let attributes = store.attributes(tenant).await.map_err(unavailable)?;
    Ok(Some(in_use::impact(
        &attributes,
        &predictions.current,
        &predictions.ripe,
        scale,
        predictions.today,
    )))
}
