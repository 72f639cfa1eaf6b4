//! Models: what the registry says of each, and what became of its predictions.

use std::collections::BTreeSet;

use async_graphql::{Context, Json, Object};
use domain::Timestamp;
use infra::{
    model_registry::{self, ModelRow},
    read_model::{readiness, settings},
};
use serde_json::Value;

use super::employee::store;
use crate::{access::Viewer, error::ApiError};

/// A version of a model.
pub struct Model {
    row: ModelRow,
    in_use: bool,
    is_challenger: bool,
}

#[Object]
impl Model {
    async fn version(&self) -> &str {
        &self.row.version
    }

    /// What it tells: `notice` (flight risk), or `promotion` (readiness for a career program); null for the shared prior.
    async fn target(&self) -> Option<&str> {
        self.told("/target/kind")?.as_str()
    }

    /// The career program that it is for, if it is for one.
    async fn program(&self) -> Option<&str> {
        self.told("/target/name")?.as_str()
    }

    /// Whether people are scored with it.
    async fn in_use(&self) -> bool {
        self.in_use
    }

    /// Whether it runs beside the model in use, on the same people, and is shown to nobody.
    async fn is_challenger(&self) -> bool {
        self.is_challenger
    }

    /// When it was trained.
    async fn created_at(&self) -> Timestamp {
        self.row.created_at
    }

    /// The kind of model, such as `additive`; null for the shared prior.
    async fn kind(&self) -> Option<&str> {
        self.told("/learner")?.as_str()
    }

    /// The area under the ROC curve on later months than it learnt from.
    async fn auc(&self) -> Option<f64> {
        self.told("/evaluation/auc")?.as_f64()
    }

    /// The mean squared error of its probabilities on those months.
    async fn brier(&self) -> Option<f64> {
        self.told("/evaluation/brier")?.as_f64()
    }

    /// Exits on those months over those that it expected.
    async fn observed_over_expected(&self) -> Option<f64> {
        self.told("/evaluation/observed_over_expected")?.as_f64()
    }

    /// What it is not good for.
    async fn limits(&self) -> Vec<&str> {
        let limits = self.told("/limits").and_then(Value::as_array);
        limits.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// All that is known of it: data window, features and exclusions, label, metrics, every kind of model that was tried.
    async fn card(&self) -> Option<Json<&Value>> {
        self.row.card.as_ref().map(|card| Json(&card.0))
    }

    /// What became of its predictions, and whether people are still like those that it knows.
    async fn performance(&self) -> Option<Json<&Value>> {
        self.row.report.as_ref().map(|report| Json(&report.0))
    }

    /// The part of that about groups: for each protected attribute and each band from medium up, how many people of each group
    /// are in it or above, adverse impact ratios with Fisher's p, verdict or insufficient data; and whether predictions came
    /// true for all groups. Null before the first audit.
    async fn fairness(&self) -> Option<Json<&Value>> {
        self.row.report.as_ref()?.0.get("fairness").map(Json)
    }

    /// The essence of that, in plain words.
    async fn findings(&self) -> Vec<&str> {
        let words = self.row.report.as_ref().and_then(|report| report.0.pointer("/words"));
        let words = words.and_then(Value::as_array);
        words.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

impl Model {
    fn told(&self, pointer: &str) -> Option<&Value> {
        self.row.card.as_ref()?.0.pointer(pointer)
    }
}

/// The viewer's models, the newest first.
pub async fn models(ctx: &Context<'_>) -> Result<Vec<Model>, ApiError> {
    let tenant = Viewer::of(ctx)?.0.tenant;
    let (settings, programs, rows) = store(ctx)?
        .read(tenant, move |connection| {
            Box::pin(async move {
                let settings = settings::load(connection, tenant).await?;
                let programs = readiness::programs(connection, tenant).await?;
                Ok((settings, programs, model_registry::list(connection, tenant).await?))
            })
        })
        .await?;
    let (used, challenger) = settings.map_or((None, None), |settings| (settings.model, settings.challenger));
    let beside: BTreeSet<&str> = programs
        .iter()
        .filter_map(|program| program.challenger.as_deref())
        .chain(challenger.as_deref())
        .collect();
    let for_programs: BTreeSet<&str> = programs.iter().filter_map(|program| program.model.as_deref()).collect();
    let in_use = |row: &ModelRow| {
        for_programs.contains(row.version.as_str())
            || match &used {
                Some(version) => *version == row.version,
                // The shared prior is in no tenant's registry: it is known by its report alone.
                None => row.card.is_none(),
            }
    };
    Ok(rows
        .into_iter()
        .map(|row| Model {
            in_use: in_use(&row),
            is_challenger: beside.contains(row.version.as_str()),
            row,
        })
        .collect())
}
