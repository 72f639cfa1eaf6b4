//! `tenure explain`: one person's score today, drawn in the terminal.

use std::io::{IsTerminal, Write};

use domain::{
    Kind, StreamId,
    id::{EmployeeId, TenantId},
};
use infra::{clock, event_log::EventLog};
use ml_pipeline::{
    explain::drawing::{Canvas, WIDTH_DEFAULT, drawing},
    features::FeatureState,
};

use crate::{
    config::{Parts, Settings},
    report::{self, ModelInUse},
    roles::Failure,
    train,
};

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// The employee's id, as the GraphQL interface tells it.
    employee: EmployeeId,
    /// Where to look for the person [default: every tenant]
    #[arg(long)]
    tenant: Option<TenantId>,
    /// A version in the model registry [default: the one in use]
    #[arg(long, value_name = "VERSION")]
    model: Option<String>,
}

/// Draws the score, or says why there is none; then readiness for each career program that has a model.
///
/// # Errors
/// When nobody has this id, the log cannot be read, or the model does not read.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = arguments.settings.tool()?;
    let tenants = match arguments.tenant {
        Some(tenant) => vec![tenant],
        None => report::tenants(&parts).await?,
    };
    for tenant in tenants {
        let Some(state) = folded(&parts, tenant, arguments.employee).await? else {
            continue;
        };
        let model = ModelInUse::load(&parts, tenant, arguments.model.as_deref()).await?;
        let drawn = drawing(&model.artifact, &model.bands, &state, clock::today(), canvas());
        write!(std::io::stdout(), "\n{drawn}")?;
        if arguments.model.is_none() {
            for program in report::programs(&parts, tenant).await? {
                let artifact = report::registered(&parts, tenant, program).await?;
                let drawn = drawing(&artifact, &model.bands, &state, clock::today(), canvas());
                write!(std::io::stdout(), "\n{drawn}")?;
            }
        }
        return Ok(());
    }
    Err(format!(
        "no event tells of an employee {}: see that the id is right",
        arguments.employee
    )
    .into())
}

/// What the features remember of a person; nothing if the log knows nobody by that id.
async fn folded(parts: &Parts, tenant: TenantId, employee: EmployeeId) -> Result<Option<FeatureState>, Failure> {
    let stream = StreamId::new(tenant, Kind::Employee, employee);
    let events = EventLog::new(parts.database.clone()).read_stream(stream, 0).await?;
    if events.is_empty() {
        return Ok(None);
    }
    let subject = (tenant, employee.uuid());
    let keys = parts.keyring.subjects(&[subject]).await?;
    let mut state = FeatureState::default();
    for event in &events {
        if let Some(recorded) = train::opened(event, keys.get(&subject))? {
            state.apply(&recorded.event);
        }
    }
    Ok(Some(state))
}

/// As wide as the terminal; colours only there, and only where nobody asked for none (<https://no-color.org>).
fn canvas() -> Canvas {
    let is_terminal = std::io::stdout().is_terminal();
    let width = is_terminal.then(|| console::Term::stdout().size_checked()).flatten();
    Canvas {
        width: width.map_or(WIDTH_DEFAULT, |(_, columns)| usize::from(columns)),
        colours: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
