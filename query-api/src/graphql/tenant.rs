//! The tenant, its connections, and how far everything is.

use async_graphql::{Context, ID, SimpleObject};
use domain::{Timestamp, tenant::Bands};
use infra::read_model::settings;

use super::{employee::store, scalar::Position};
use crate::{access::Viewer, error::ApiError, freshness::Progress};

/// A company that uses Tenure.
#[derive(SimpleObject)]
pub struct Tenant {
    pub id: ID,
    pub name: Option<String>,
    pub bands: BandThresholds,
    /// The version of the model in use; null: the shared prior.
    pub model: Option<String>,
}

/// Probabilities above which a risk belongs to a band.
#[derive(SimpleObject)]
pub struct BandThresholds {
    pub medium_above: f64,
    pub high_above: f64,
    pub critical_above: f64,
}

impl From<Bands> for BandThresholds {
    fn from(bands: Bands) -> Self {
        Self {
            medium_above: bands.medium_above,
            high_above: bands.high_above,
            critical_above: bands.critical_above,
        }
    }
}

/// A connection to an HRIS.
#[derive(SimpleObject)]
pub struct Connection {
    pub id: ID,
    pub vendor: String,
    pub company_domain: String,
    /// `CONNECTED`, `FAILING` or `DISCONNECTED`.
    pub status: String,
    /// The kind of the last failure.
    pub last_cause: Option<String>,
    pub synchronised_at: Option<Timestamp>,
    pub employees: Option<i64>,
}

/// How far the log and what is read from it are.
#[derive(SimpleObject)]
pub struct Status {
    /// The last position of the event log.
    pub log_head: Position,
    pub log_head_recorded_at: Option<Timestamp>,
    /// Up to here the log has been relayed.
    pub relay_position: Position,
    /// Up to here everything is in the read models.
    pub read_model_position: Position,
    /// When the newest event in the read models was recorded.
    pub read_model_recorded_at: Option<Timestamp>,
    /// Up to here everything has been scored.
    pub scorer_position: Position,
    pub scorer_recorded_at: Option<Timestamp>,
}

impl From<&Progress> for Status {
    fn from(progress: &Progress) -> Self {
        let [read_models, scorer] = &progress.applied;
        Self {
            log_head: Position(progress.log_head),
            log_head_recorded_at: progress.head_recorded_at,
            relay_position: Position(progress.relayed.position),
            read_model_position: Position(read_models.complete_up_to(&progress.relayed)),
            read_model_recorded_at: read_models.recorded_at,
            scorer_position: Position(scorer.complete_up_to(&progress.relayed)),
            scorer_recorded_at: scorer.recorded_at,
        }
    }
}

pub async fn tenant(ctx: &Context<'_>) -> Result<Tenant, ApiError> {
    let id = Viewer::of(ctx)?.0.tenant;
    let row = store(ctx)?
        .read(id, move |connection| {
            Box::pin(async move { settings::load(connection, id).await })
        })
        .await?;
    let bands = row.as_ref().map_or_else(Bands::default, |row| row.bands.0);
    let (name, model) = row.map_or((None, None), |row| (Some(row.name), row.model));
    Ok(Tenant {
        id: ID(id.to_string()),
        name,
        bands: bands.into(),
        model,
    })
}

pub async fn connections(ctx: &Context<'_>) -> Result<Vec<Connection>, ApiError> {
    let id = Viewer::of(ctx)?.0.tenant;
    let rows = store(ctx)?
        .read(id, move |connection| {
            Box::pin(async move { settings::list_connections(connection, id).await })
        })
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Connection {
            id: ID(row.id.to_string()),
            vendor: row.vendor,
            company_domain: row.company_domain,
            status: row.status,
            last_cause: row.last_cause,
            synchronised_at: row.synchronised_at,
            employees: row.employees,
        })
        .collect())
}
