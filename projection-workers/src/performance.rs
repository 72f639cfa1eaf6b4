//! Truth in use: once a day, each tenant's model is held against what happened since, and people now against people then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::Days;
use domain::{
    Date, Timestamp,
    id::{EmployeeId, TenantId},
    risk::{Band, Level},
};
use infra::{
    clock,
    database::{Access, DatabaseError},
    model_registry,
    read_model::{
        readiness,
        risk::{self as risk_table, PredictionRow},
    },
    route,
};
use ml_pipeline::{
    artifact::Artifact,
    features::{FeatureState, SpellEnd},
    monitor::{self, REFERENCE_DAYS, Sample, UseReport},
    outcomes::{self, Scored},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scorer::{Ready, Scorer};

/// How often it is looked whether a report is due.
const EVERY: Duration = Duration::from_mins(5);
/// How old a report may become, in hours.
const REPORT_HOURS_MAX: i64 = 24;
/// People whose memory is opened at once.
const PAGE: i64 = 1_000;

/// Keeps reports up to date until shut down.
pub async fn run(scorer: Scorer, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = round(&scorer).await {
            tracing::warn!(%error, "models could not be held against what happened: {error}");
        }
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(EVERY) => {} }
    }
}

async fn round(scorer: &Scorer) -> Result<(), DatabaseError> {
    let database = scorer.database();
    let tenants = database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    for tenant in tenants {
        let artifact = scorer.artifact(tenant).await?;
        if let Some(report) = report_if_due(scorer, tenant, &Used::Risk(artifact)).await? {
            announce(tenant, &report);
        }
        for ready in scorer.programs(tenant).await? {
            let program = ready.program.to_string();
            if let Some(report) = report_if_due(scorer, tenant, &Used::Readiness(ready)).await? {
                announce_readiness(tenant, program, &report);
            }
        }
    }
    Ok(())
}

/// A model whose scores people see.
enum Used {
    Risk(Arc<Artifact>),
    Readiness(Ready),
}

impl Used {
    fn artifact(&self) -> &Artifact {
        match self {
            Self::Risk(artifact) => artifact,
            Self::Readiness(ready) => &ready.artifact,
        }
    }

    /// What its scores are sorted into, lowest first.
    fn bands(&self) -> Vec<&'static str> {
        match self {
            Self::Risk(_) => Band::ALL.map(Band::name).into(),
            Self::Readiness(_) => Level::ALL.map(Level::name).into(),
        }
    }

    /// Whether it has anything to say of a person on a day.
    fn is_about(&self, state: &FeatureState, on: Date) -> bool {
        match self {
            Self::Risk(_) => state.is_at_risk(on),
            Self::Readiness(ready) => state.is_candidate(on, &ready.path),
        }
    }

    /// What became of that.
    fn outcome(&self, state: &FeatureState, after: Date) -> SpellEnd {
        match self {
            Self::Risk(_) => state.end_after(after),
            Self::Readiness(ready) => state.promotion_after(after, &ready.path),
        }
    }
}

/// Makes and keeps a new report if the last one is too old.
async fn report_if_due(scorer: &Scorer, tenant: TenantId, used: &Used) -> Result<Option<UseReport>, DatabaseError> {
    let database = scorer.database();
    let version = used.artifact().version.clone();
    let reported = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { model_registry::last_report(connection, tenant, &version).await })
        })
        .await?;
    // A report on nothing is made anew as soon as there may be something.
    let is_fresh = |(at, scores): (Timestamp, i64)| scores > 0 && (clock::now() - at).num_hours() < REPORT_HOURS_MAX;
    if reported.is_some_and(is_fresh) {
        return Ok(None);
    }
    let report = report(scorer, tenant, used).await?;
    let (model, made_at) = (report.model.clone(), report.made_at);
    let json = serde_json::to_value(&report).map_err(|_| DatabaseError::Corrupt("model report"))?;
    database
        .transact(Access::Write, &[tenant], move |connection| {
            Box::pin(async move { model_registry::report(connection, tenant, &model, made_at, json).await })
        })
        .await?;
    Ok(Some(report))
}

/// The figures as metrics.
fn announce(tenant: TenantId, report: &UseReport) {
    let tenant = tenant.to_string();
    if let Some(error) = monitor::prediction_error(&report.truth) {
        metrics::gauge!("hr_flight_risk_prediction_error", "tenant" => tenant.clone()).set(error);
    }
    metrics::gauge!("hr_flight_risk_ripe_predictions", "tenant" => tenant.clone())
        .set(report.truth.overall.ripe as f64);
    metrics::gauge!("hr_flight_risk_drifted_features", "tenant" => tenant).set(report.drift.len() as f64);
}

fn announce_readiness(tenant: TenantId, program: String, report: &UseReport) {
    let tenant = tenant.to_string();
    if let Some(accuracy) = monitor::accuracy(&report.truth, Level::Ready.name()) {
        metrics::gauge!("hr_readiness_score_accuracy", "tenant" => tenant.clone(), "program" => program.clone())
            .set(accuracy);
    }
    metrics::gauge!("hr_readiness_score_ripe_predictions", "tenant" => tenant, "program" => program)
        .set(report.truth.overall.ripe as f64);
}

async fn report(scorer: &Scorer, tenant: TenantId, used: &Used) -> Result<UseReport, DatabaseError> {
    let artifact = used.artifact();
    let version = artifact.version.clone();
    let program = match used {
        Used::Risk(_) => None,
        Used::Readiness(ready) => Some(ready.program),
    };
    let predictions = scorer
        .database()
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                match program {
                    None => risk_table::predictions(connection, tenant, &version).await,
                    Some(program) => readiness::predictions(connection, tenant, program, &version).await,
                }
            })
        })
        .await?;
    let mut scored: HashMap<Uuid, Vec<Scored>> = HashMap::new();
    for row in predictions {
        scored.entry(row.employee).or_default().push(prediction(row)?);
    }
    let today = clock::today();
    let reference = today.checked_sub_days(Days::new(REFERENCE_DAYS)).unwrap_or(today);
    let (mut then, mut now) = (Sample::default(), Sample::default());
    let mut outcomes: HashMap<(EmployeeId, Date), SpellEnd> = HashMap::new();
    let mut after = None;
    loop {
        let page = scorer.people(tenant, after, PAGE).await?;
        let Some(last) = page.last else { break };
        after = Some(last);
        for (employee, state) in &page.people {
            for (day, sample) in [(reference, &mut then), (today, &mut now)] {
                if used.is_about(state, day) {
                    let x = state.vector(day).values;
                    let score = artifact.hazard.probability(&x, day, artifact.card.horizon_days);
                    sample.add(&x, score);
                }
            }
            for one in scored.get(employee).into_iter().flatten() {
                outcomes.insert((one.employee, one.scored_on), used.outcome(state, one.scored_on));
            }
        }
    }
    let scored: Vec<Scored> = scored.into_values().flatten().collect();
    let outcome = |employee, on| outcomes.get(&(employee, on)).copied();
    let truth = outcomes::truth(&scored, &used.bands(), outcome, today);
    Ok(monitor::report(
        &artifact.version,
        clock::now(),
        truth,
        reference,
        &then,
        &now,
    ))
}

fn prediction(row: PredictionRow) -> Result<Scored, DatabaseError> {
    Ok(Scored {
        employee: EmployeeId::from_uuid(row.employee),
        probability: row.probability,
        band: row.band,
        scored_on: row.scored_at.date_naive(),
        horizon_days: u16::try_from(row.horizon_days).map_err(|_| DatabaseError::Corrupt("horizon"))?,
    })
}
