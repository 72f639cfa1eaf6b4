//! Truth in use: once a day, each tenant's model is held against what happened since, and people now against people then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::Days;
use domain::{
    Date,
    id::{EmployeeId, ProgramId, TenantId},
    risk::{Band, Level},
    tenant::Bands,
};
use infra::{
    clock,
    database::{Access, DatabaseError},
    fairness::FairnessStore,
    model_registry::{self, LastReport},
    read_model::{
        readiness,
        risk::{self as risk_table, PredictionRow, ShadowRow},
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
        for asked in asked(scorer, tenant).await? {
            let Some(report) = report_if_due(scorer, attributes, tenant, &asked).await? else {
                continue;
            };
            match asked.program {
                _ if asked.is_challenger => {} // metrics are about what people see
                None => announce(tenant, &report),
                Some(program) => announce_readiness(tenant, program.to_string(), &report),
            }
        }
    }
    Ok(())
}

/// The models that are asked about a tenant's people.
async fn asked(scorer: &Scorer, tenant: TenantId) -> Result<Vec<Asked>, DatabaseError> {
    let of = |program, artifact, is_challenger| Asked {
        program,
        artifact,
        is_challenger,
    };
    let mut all = vec![of(None, scorer.artifact(tenant).await?, false)];
    all.extend(
        scorer
            .challenger(tenant)
            .await?
            .map(|artifact| of(None, artifact, true)),
    );
    for ready in scorer.programs(tenant).await? {
        all.push(of(Some(ready.program), ready.artifact, false));
        all.extend(ready.challenger.map(|artifact| of(Some(ready.program), artifact, true)));
    }
    Ok(all)
}

/// A model that is asked about people.
struct Asked {
    /// How ready they are for this career program; none: the flight risk.
    program: Option<ProgramId>,
    artifact: Arc<Artifact>,
    /// It runs beside the one in use: nobody sees its scores.
    is_challenger: bool,
}

impl Asked {
    /// What its scores are sorted into, lowest first.
    fn bands(&self) -> Vec<&'static str> {
        match self.program {
            None => Band::ALL.map(Band::name).into(),
            Some(_) => Level::ALL.map(Level::name).into(),
        }
    }

    /// For readiness, the usual rate that its levels are told by.
    fn usual(&self) -> Option<f64> {
        self.program.map(|_| self.artifact.card.usual)
    }

    /// Where a probability of its own belongs. Of the flight risk the bands are the usual ones: a challenger is compared as a whole.
    fn band(&self, probability: f64) -> &'static str {
        match self.usual() {
            None => Bands::default().band(probability).name(),
            Some(usual) => Level::of(probability, usual).name(),
        }
    }
}

/// Makes and keeps a new report if the last one is too old.
async fn report_if_due(
    scorer: &Scorer,
    attributes: &FairnessStore,
    tenant: TenantId,
    asked: &Asked,
) -> Result<Option<UseReport>, DatabaseError> {
    let database = scorer.database();
    let version = asked.artifact.version.clone();
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
        return Ok(None);
    }
    let report = report(scorer, attributes, tenant, asked).await?;
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

async fn report(
    scorer: &Scorer,
    attributes: &FairnessStore,
    tenant: TenantId,
    asked: &Asked,
) -> Result<UseReport, DatabaseError> {
    let artifact = &asked.artifact;
    let (predictions, champion) = predictions(scorer, tenant, asked).await?;
    let mut scored: HashMap<Uuid, Vec<Scored>> = HashMap::new();
    for one in &predictions {
        scored.entry(one.employee.into()).or_default().push(one.clone());
    }
    let today = clock::today();
    let reference = today.checked_sub_days(Days::new(REFERENCE_DAYS)).unwrap_or(today);
    let (mut then, mut now) = (Sample::default(), Sample::default());
    let mut outcomes: HashMap<(EmployeeId, Date), SpellEnd> = HashMap::new();
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
                outcomes.insert(
                    (one.employee, one.scored_on),
                    artifact.card.target.end_after(state, one.scored_on),
                );
            }
        }
    }
    let outcome = |employee, on| outcomes.get(&(employee, on)).copied();
    let truth = |scored: &[Scored]| outcomes::truth(scored, &asked.bands(), outcome, today);
    let report = monitor::report(
        &artifact.version,
        clock::now(),
        truth(&predictions),
        reference,
        &then,
        &now,
    );
    let report = match champion {
        Some(champion) => report.beside(truth(&champion)),
        None => report,
    };
    let said = audit::Predictions {
        current,
        ripe: outcomes::ripe(&predictions, outcome, today),
        today,
    };
    let impact = audit::impact(attributes, scorer.database(), tenant, asked.usual(), said).await?;
    Ok(match impact {
        Some(impact) => report.audited(impact),
        None => report,
    })
}

/// Takes in a person whom the model is about on the day, and answers the score.
fn add(sample: &mut Sample, artifact: &Artifact, state: &FeatureState, day: Date) -> Option<f64> {
    artifact.card.target.is_about(state, day).then(|| {
        let x = artifact.vector(state, day).values;
        let score = artifact.hazard.probability(&x, day, artifact.card.horizon_days);
        sample.add(&x, score);
        score
    })
}

/// What the model has said; for a challenger also what was said by the models in use, about the same people on the same days.
async fn predictions(
    scorer: &Scorer,
    tenant: TenantId,
    asked: &Asked,
) -> Result<(Vec<Scored>, Option<Vec<Scored>>), DatabaseError> {
    let version = asked.artifact.version.clone();
    let database = scorer.database();
    let (program, is_challenger) = (asked.program, asked.is_challenger);
    if is_challenger {
        let rows = database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { risk_table::shadows(connection, tenant, &version, program).await })
            })
            .await?;
        let scored = |probability: fn(&ShadowRow) -> f64| {
            let rows = rows.iter();
            rows.map(|row| shadow(asked, row, probability(row))).collect()
        };
        let (ours, theirs): (Result<Vec<Scored>, _>, Result<Vec<Scored>, _>) =
            (scored(|row| row.probability), scored(|row| row.champion_probability));
        return Ok((ours?, Some(theirs?)));
    }
    let rows = database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move {
                match program {
                    None => risk_table::predictions(connection, tenant, &version).await,
                    Some(program) => readiness::predictions(connection, tenant, program, &version).await,
                }
            })
        })
        .await?;
    let scored: Result<Vec<Scored>, DatabaseError> = rows.into_iter().map(prediction).collect();
    Ok((scored?, None))
}

/// A score of a challenger or beside one.
fn shadow(asked: &Asked, row: &ShadowRow, probability: f64) -> Result<Scored, DatabaseError> {
    Ok(Scored {
        employee: EmployeeId::from_uuid(row.employee),
        probability,
        band: asked.band(probability).to_owned(),
        scored_on: row.scored_at.date_naive(),
        horizon_days: u16::try_from(row.horizon_days).map_err(|_| DatabaseError::Corrupt("horizon"))?,
    })
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
