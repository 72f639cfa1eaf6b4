//! The tenant, its connections, and how far everything is.

use async_graphql::{ComplexObject, Context, ID, SimpleObject};
use chrono::TimeDelta;
use domain::{Timestamp, id::ConnectionId, tenant::Bands};
use infra::{clock, read_model::settings, source_quality};

use super::{
    employee::store,
    scalar::{Day, Position},
};
use crate::{access::Viewer, error::ApiError, freshness::Progress};

/// The most days of a source's quality at once: a year.
const QUALITY_DAYS_MAX: i32 = 366;

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

/// A connection to an HRIS, or to another system that tells of people.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct Connection {
    #[graphql(skip)]
    key: ConnectionId,
    pub id: ID,
    /// What is connected: `bamboohr`, `workday`, `scim`, `gusto`, `adp`, or `push` for a system without a connector.
    pub vendor: String,
    /// Which one: the company domain at BambooHR; your word for it otherwise.
    pub company_domain: String,
    /// `CONNECTED`, `FAILING` or `DISCONNECTED`.
    pub status: String,
    /// The kind of the last failure.
    pub last_cause: Option<String>,
    /// When everybody was read last, and went through.
    pub synchronised_at: Option<Timestamp>,
    pub employees: Option<i64>,
    /// When the source last told something by itself; null: never.
    pub heard_at: Option<Timestamp>,
    /// When the source was last asked who changed.
    pub asked_at: Option<Timestamp>,
    /// When everybody was last compared with the source.
    pub compared_at: Option<Timestamp>,
}

#[ComplexObject]
impl Connection {
    /// How well the source told, by day: days on which it told nothing are left out. The oldest comes first.
    async fn quality(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 30, desc = "How many days, today (UTC) included; a year at most.")] days: i32,
    ) -> Result<Vec<SourceQuality>, ApiError> {
        if !(1..=QUALITY_DAYS_MAX).contains(&days) {
            return Err(ApiError::bad_input(format!("days is from 1 to {QUALITY_DAYS_MAX}")));
        }
        let (tenant, of) = (Viewer::of(ctx)?.0.tenant, self.key);
        let from = clock::today() - TimeDelta::days(i64::from(days) - 1);
        let days = store(ctx)?.read(tenant, move |connection| {
            Box::pin(source_quality::days(connection, (tenant, of), from))
        });
        Ok(days.await?.into_iter().map(SourceQuality::from).collect())
    }
}

/// What a source told on a day, and what was wrong with it.
#[derive(SimpleObject)]
pub struct SourceQuality {
    /// In UTC.
    pub day: Day,
    /// Notifications, each person of a message counted.
    pub received: i64,
    /// Of these, those that had come before.
    pub duplicate: i64,
    /// Of these, those that came more than five minutes after what they tell of.
    pub late: i64,
    /// Of these, those that came after one that tells of something later about the same person.
    pub out_of_order: i64,
    /// People about whom asking found news that nobody had told. One whom a webhook was only slow to tell of counts here too.
    pub missed: i64,
    /// Messages that could not be understood (`tenure parked` lists them), and people whose record a rule refused.
    pub rejected: i64,
}

impl From<source_quality::Day> for SourceQuality {
    fn from(source_quality::Day { day, counts }: source_quality::Day) -> Self {
        Self {
            day: Day(day),
            received: counts.received,
            duplicate: counts.duplicate,
            late: counts.late,
            out_of_order: counts.out_of_order,
            missed: counts.missed,
            rejected: counts.rejected,
        }
    }
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
    let read = store(ctx)?.read(id, move |connection| {
        Box::pin(async move {
            let rows = settings::list_connections(connection, id).await?;
            Ok((rows, source_quality::freshness(connection, id).await?))
        })
    });
    let (rows, freshness) = read.await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let known = freshness.iter().find(|known| known.connection == row.id);
            Connection {
                key: ConnectionId::from_uuid(row.id),
                id: ID(row.id.to_string()),
                vendor: row.vendor,
                company_domain: row.company_domain,
                status: row.status,
                last_cause: row.last_cause,
                synchronised_at: row.synchronised_at,
                employees: row.employees,
                heard_at: known.and_then(|known| known.heard_at),
                asked_at: known.and_then(|known| known.asked_at),
                compared_at: known.and_then(|known| known.compared_at),
            }
        })
        .collect())
}
