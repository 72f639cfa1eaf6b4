//! Truth in use: once a day, each tenant's model is held against what happened since, and people now against people then.

use std::{collections::HashMap, time::Duration};

use chrono::Days;
use domain::{
    Date,
    id::{EmployeeId, TenantId},
    risk::Band,
};
use infra::{
    clock,
    database::{Access, DatabaseError},
    fairness::FairnessStore,
    model_registry::{self, LastReport},
    read_model::risk::{self as risk_table, PredictionRow},
    route,
};
use ml_pipeline::{
    artifact::Artifact,
    features::FeatureState,
    monitor::{self, REFERENCE_DAYS, Sample, UseReport},
    outcomes::{self, Outcome, Scored},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{audit, scorer::Scorer};

/// How often it is looked whether a report is due.
const EVERY: Duration = Duration::from_mins(5);
/// How old a report may become, in hours.
const REPORT_HOURS_MAX: i64 = 24;
/// People whose memory is opened at once.
const PAGE: i64 = 1_000;

/// Keeps reports up to date until shut down.
pub async fn run(scorer: Scorer, attributes: FairnessStore, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        if let Err(error) = round(&scorer, &attributes).await {
            tracing::warn!(%error, "models could not be held against what happened: {error}");
        }
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(EVERY) => {} }
    }
}

async fn round(scorer: &Scorer, attributes: &FairnessStore) -> Result<(), DatabaseError> {
    let database = scorer.database();
    let tenants = database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    for tenant in tenants {
        let artifact = scorer.artifact(tenant).await?;
        let version = artifact.version.clone();
        let reported = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { model_registry::last_report(connection, tenant, &version).await })
            })
            .await?;
        // A report on nothing, or without its audit, is made anew as soon as there may be something.
        let is_fresh = |last: LastReport| {
            last.scores > 0 && last.audited && (clock::now() - last.made_at).num_hours() < REPORT_HOURS_MAX
        };
        if reported.is_some_and(is_fresh) {
            continue;
        }
        let report = report(scorer, attributes, tenant, &artifact).await?;
        announce(tenant, &report);
        let json = serde_json::to_value(&report).map_err(|_| DatabaseError::Corrupt("model report"))?;
        database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move {
                    model_registry::report(connection, tenant, &report.model, report.made_at, json).await
                })
            })
            .await?;
    }
    Ok(())
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

async fn report(
    scorer: &Scorer,
    attributes: &FairnessStore,
    tenant: TenantId,
    artifact: &Artifact,
) -> Result<UseReport, DatabaseError> {
    let version = artifact.version.clone();
    let predictions = scorer
        .database()
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { risk_table::predictions(connection, tenant, &version).await })
        })
        .await?;
    let mut scored: HashMap<Uuid, Vec<Scored>> = HashMap::new();
    for row in &predictions {
        scored.entry(row.employee).or_default().push(prediction(row)?);
    }
    let today = clock::today();
    let reference = today.checked_sub_days(Days::new(REFERENCE_DAYS)).unwrap_or(today);
    let (mut then, mut now) = (Sample::default(), Sample::default());
    let mut outcomes: HashMap<(EmployeeId, Date), Outcome> = HashMap::new();
    let mut current: Vec<(EmployeeId, f64)> = Vec::new();
    let mut after = None;
    loop {
        let page = scorer.people(tenant, after, PAGE).await?;
        let Some(last) = page.last else { break };
        after = Some(last);
        for (employee, state) in &page.people {
            add(&mut then, artifact, state, reference);
            let score = add(&mut now, artifact, state, today);
            current.extend(score.map(|score| (EmployeeId::from_uuid(*employee), score)));
            for one in scored.get(employee).into_iter().flatten() {
                outcomes.insert((one.employee, one.scored_on), state.end_after(one.scored_on).into());
            }
        }
    }
    let scored: Vec<Scored> = scored.into_values().flatten().collect();
    let outcome = |employee, on| outcomes.get(&(employee, on)).copied().unwrap_or(Outcome::Unknown);
    let truth = outcomes::truth(&scored, outcome, today);
    let report = monitor::report(&artifact.version, clock::now(), truth, reference, &then, &now);
    let predictions = audit::Predictions {
        current,
        ripe: outcomes::ripe(&scored, outcome, today),
        today,
    };
    let impact = audit::impact(attributes, scorer.database(), tenant, predictions).await?;
    Ok(match impact {
        Some(impact) => report.audited(impact),
        None => report,
    })
}

/// Takes in a person who is scored on the day, and answers the score.
fn add(sample: &mut Sample, artifact: &Artifact, state: &FeatureState, day: Date) -> Option<f64> {
    state.is_at_risk(day).then(|| {
        let x = state.vector(day).values;
        let score = artifact.hazard.probability(&x, day, artifact.card.horizon_days);
        sample.add(&x, score);
        score
    })
}

fn prediction(row: &PredictionRow) -> Result<Scored, DatabaseError> {
    Ok(Scored {
        employee: EmployeeId::from_uuid(row.employee),
        probability: row.probability,
        band: Band::from_name(&row.band).ok_or(DatabaseError::Corrupt("band"))?,
        scored_on: row.scored_at.date_naive(),
        horizon_days: u16::try_from(row.horizon_days).map_err(|_| DatabaseError::Corrupt("horizon"))?,
    })
}
