//! `tenure report`: a model as a page that one looks at rather than reads.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use domain::{
    Date,
    employee::Demographics,
    id::{EmployeeId, TenantId},
    tenant::Bands,
};
use infra::{
    clock,
    database::Access,
    model_registry,
    read_model::{
        readiness::{self, ProgramRow},
        settings,
    },
    route,
};
use ml_pipeline::{
    artifact::Artifact,
    dataset::{Dataset, History, Target},
    fairness::{
        self, Audit, Favourable, Member, Rule,
        in_use::{Attribute, PROTECTED},
    },
    features::FeatureState,
    prior,
    report::{Report, Scores, html, wording::thresholds},
    shapes,
};

use crate::{
    config::{Parts, Settings},
    roles::Failure,
    train,
};

/// Who counts as selected when groups are compared: a risk score is looked at from its highest end.
const SELECTED_SHARE: f64 = 0.1;
/// The invented company whose people tell where most values of the prior's features lie. Not one that it learnt from.
const REFERENCE_SEED: u64 = 1;
const REFERENCE_PLACES: usize = 300;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Whose model [default: every tenant's]
    #[arg(long)]
    tenant: Option<TenantId>,
    /// A version in the model registry [default: the one in use]
    #[arg(long, value_name = "VERSION")]
    model: Option<String>,
    /// The shared prior by itself, without anything else running.
    #[arg(long, conflicts_with_all = ["tenant", "model"])]
    prior: bool,
    /// The file to write; one that exists is replaced [default: report-TENANT.html, and report-TENANT-VERSION.html for each
    /// career program; or report-prior.html]
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
}

/// Writes the reports.
///
/// # Errors
/// When a model does not read, the log cannot be read, or a file cannot be written.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.prior {
        let out = arguments.out.unwrap_or_else(|| PathBuf::from("report-prior.html"));
        let page = tokio::task::spawn_blocking(of_prior).await??;
        return write(&out, &page);
    }
    let parts = arguments.settings.tool()?;
    let store = arguments.settings.fairness_store(&parts.keyring)?.patient();
    let tenants = match arguments.tenant {
        Some(tenant) => vec![tenant],
        None => tenants(&parts).await?,
    };
    if tenants.is_empty() {
        return Err("there is no tenant yet: connect an HRIS first, or look at the shared prior with --prior".into());
    }
    if arguments.out.is_some() && tenants.len() > 1 {
        let names = tenants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!("one file holds one report: say whose with --tenant: {names}").into());
    }
    for tenant in tenants {
        let out = arguments
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("report-{tenant}.html")));
        let model = ModelInUse::load(&parts, tenant, arguments.model.as_deref()).await?;
        let mut pages = vec![(out, model)];
        // A page for each career program as well, unless one file or one model was asked for.
        if arguments.out.is_none() && arguments.model.is_none() {
            for version in programs(&parts, tenant).await? {
                let out = PathBuf::from(format!("report-{tenant}-{version}.html"));
                pages.push((out, ModelInUse::load(&parts, tenant, Some(&version)).await?));
            }
        }
        let (histories, _) = train::histories(&parts, tenant).await?;
        let attributes = store.attributes(tenant).await?;
        let made = tokio::task::spawn_blocking(move || {
            let page = |(out, model): (PathBuf, ModelInUse)| {
                (out, of_company(&model, &histories, &attributes, clock::today()))
            };
            pages.into_iter().map(page).collect::<Vec<_>>()
        });
        for (out, page) in made.await? {
            write(&out, &page)?;
        }
    }
    Ok(())
}

fn write(out: &Path, page: &str) -> Result<(), Failure> {
    fs::write(out, page).map_err(|cause| format!("{} cannot be written: {cause}", out.display()))?;
    writeln!(std::io::stdout(), "{}: open it in a browser", out.display())?;
    Ok(())
}

/// Every tenant.
///
/// # Errors
/// When the database cannot be reached.
pub async fn tenants(parts: &Parts) -> Result<Vec<TenantId>, Failure> {
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    Ok(tenants)
}

/// What a tenant's people are scored with, or would be.
pub struct ModelInUse {
    pub artifact: Artifact,
    pub bands: Bands,
    /// The company's name, if it is known.
    pub company: Option<String>,
}

impl ModelInUse {
    /// The named version, else the one that the settings name, else the shared prior.
    ///
    /// # Errors
    /// When the version is not in the registry or does not read.
    pub async fn load(parts: &Parts, tenant: TenantId, named: Option<&str>) -> Result<Self, Failure> {
        let settings = parts
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(settings::load(connection, tenant))
            })
            .await?;
        let bands = settings
            .as_ref()
            .map_or_else(Bands::default, |settings| settings.bands.0);
        let company = settings.as_ref().map(|settings| settings.name.clone());
        let prior = prior::prior()?;
        let version = named
            .map(str::to_owned)
            .or_else(|| settings.and_then(|settings| settings.model));
        let artifact = match version {
            Some(version) if version != prior.version => registered(parts, tenant, version).await?,
            Some(_) | None => prior,
        };
        Ok(Self {
            artifact,
            bands,
            company,
        })
    }
}

/// The versions in use for career programs.
///
/// # Errors
/// When the database cannot be reached.
pub async fn programs(parts: &Parts, tenant: TenantId) -> Result<Vec<String>, Failure> {
    let programs = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(readiness::programs(connection, tenant))
        })
        .await?;
    let open = programs.into_iter().filter(ProgramRow::is_open);
    Ok(open.filter_map(|program| program.model).collect())
}

/// A model of the registry.
///
/// # Errors
/// When it is not there or does not read.
pub async fn registered(parts: &Parts, tenant: TenantId, version: String) -> Result<Artifact, Failure> {
    let wanted = version.clone();
    let bytes = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { model_registry::load(connection, tenant, &wanted).await })
        })
        .await?
        .ok_or_else(|| format!("{tenant} has no model {version} in its registry"))?;
    Ok(Artifact::from_json(&String::from_utf8(bytes)?)?)
}

/// The shared prior. Where most values lie is told by the people of an invented company that it has not learnt from.
fn of_prior() -> Result<String, Failure> {
    let artifact = prior::prior()?;
    let company = prior::company(REFERENCE_SEED, REFERENCE_PLACES);
    let dataset = Dataset::build(&company.histories(), company.ends_on(), &mut |_| {});
    let reference: Vec<Vec<f64>> = dataset.rows.into_iter().map(|row| row.x).collect();
    Ok(html(&Report {
        artifact: &artifact,
        company: None,
        shapes: &shapes::shapes(&artifact, &reference),
        pairs: &shapes::pairs(&artifact),
        scores: None,
        audits: &[],
    }))
}

/// What the fairness store holds: beside the features, never among them.
type Attributes = BTreeMap<EmployeeId, Demographics>;

/// A company's model, with the scores of its people on a day.
fn of_company(model: &ModelInUse, histories: &[History], attributes: &Attributes, on: Date) -> String {
    let people: Vec<Person> = histories
        .iter()
        .filter_map(|history| Person::on(&model.artifact, history, on))
        .collect();
    let reference: Vec<Vec<f64>> = people.iter().map(|person| person.x.clone()).collect();
    let probabilities: Vec<f64> = people
        .iter()
        .map(|person| model.artifact.score(&person.x, on).probability)
        .collect();
    html(&Report {
        artifact: &model.artifact,
        company: model.company.as_deref(),
        shapes: &shapes::shapes(&model.artifact, &reference),
        pairs: &shapes::pairs(&model.artifact),
        scores: Scores::of(&probabilities, &thresholds(&model.artifact.card, &model.bands)).as_ref(),
        audits: &audits(&people, &probabilities, attributes, (favourable(&model.artifact), on)),
    })
}

/// Somebody who is scored.
struct Person {
    employee: EmployeeId,
    x: Vec<f64>,
}

impl Person {
    /// Nothing if the model has nothing to say of the person on the day.
    fn on(artifact: &Artifact, history: &History, on: Date) -> Option<Self> {
        let mut state = FeatureState::default();
        for recorded in &history.events {
            state.apply(&recorded.event);
        }
        artifact.card.target.is_about(&state, on).then(|| Self {
            employee: history.employee,
            x: artifact.vector(&state, on).values,
        })
    }
}

/// Which end of the scores one would rather be at.
const fn favourable(artifact: &Artifact) -> Favourable {
    match artifact.card.target {
        Target::Notice => Favourable::NotSelected,
        Target::Promotion { .. } => Favourable::Selected,
    }
}

/// Whether the highest scores fall on groups alike, by each protected attribute and by gender and ethnicity together. Attributes
/// that nobody has on record are left out.
fn audits(
    people: &[Person],
    probabilities: &[f64],
    attributes: &Attributes,
    (favourable, on): (Favourable, Date),
) -> Vec<Audit> {
    let both: (&str, Attribute) = ("gender and ethnicity", |of, _| {
        fairness::intersection(of.gender.as_deref(), of.ethnicity.as_deref())
    });
    let audit = |(name, attribute): (&str, Attribute)| {
        let members: Vec<Member> = people
            .iter()
            .zip(probabilities)
            .map(|(person, probability)| Member {
                group: attributes.get(&person.employee).and_then(|of| attribute(of, on)),
                probability: *probability,
                // The outcomes of today's scores are still to come.
                outcome: None,
            })
            .collect();
        let rule = Rule::TopShare { share: SELECTED_SHARE };
        fairness::audit(name, &members, rule, favourable)
    };
    PROTECTED
        .into_iter()
        .chain([both])
        .map(audit)
        .filter(|audit| !audit.groups.is_empty())
        .collect()
}
