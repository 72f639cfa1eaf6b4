//! `tenure rebuild`: read models made again from the log, beside the live ones.

use std::io::Write;

use domain::id::{EmployeeId, TenantId};
use indicatif::{ProgressBar, ProgressStyle};
use infra::generation::{Begun, Workshop};
use projection_workers::{
    fairness,
    memories::{self, Of},
    rebuild::{self, Aim, Outcome, Rebuild},
};

use crate::{
    config::{Parts, Settings},
    report,
    roles::Failure,
};

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// What is made again: the rows that people see, or what a projection remembers of people between events (mended in place)
    #[arg(long, value_name = "NAME", default_value = "read-models")]
    projection: ProjectionName,
    /// Only the rows of one tenant
    #[arg(long, conflicts_with_all = ["back", "compare", "forget"])]
    tenant: Option<TenantId>,
    /// Only the rows of one employee
    #[arg(long, requires = "tenant")]
    employee: Option<EmployeeId>,
    /// Makes a new generation, compares it with the live one, and leaves everything as it is
    #[arg(long)]
    compare: bool,
    /// Brings the generation before the last rebuild up to date, and puts it in place again
    #[arg(long, conflicts_with = "compare")]
    back: bool,
    /// Removes the generation that is kept for `--back`
    #[arg(long, conflicts_with_all = ["compare", "back"])]
    forget: bool,
    /// Pieces of history that rows are made of at once, while as many are read [default: one for each processor]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProjectionName {
    /// Everything that is queried
    ReadModels,
    /// Who worked for whom, and who left
    Teams,
    /// The inputs of scores
    Scorer,
    /// The protected attributes that audits compare groups by
    Fairness,
}

/// Rebuilds, and tells what came out otherwise.
///
/// # Errors
/// When nothing could be put in place; what is live is then unchanged.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = &arguments.settings;
    let parts = settings.tool()?;
    let mut out = std::io::stdout();
    if arguments.projection != ProjectionName::ReadModels {
        return mend(&parts, &arguments).await;
    }
    if let Some(tenant) = arguments.tenant {
        let whom = arguments.employee.map(EmployeeId::uuid);
        let made = rebuild::in_place(&parts.database, &parts.keyring, tenant, whom).await?;
        if made.events == 0 {
            return Err("the log has no event of whom is asked for: is the id right?".into());
        }
        writeln!(
            out,
            "{} events of {tenant} made again, {} rows put in place",
            made.events, made.rows
        )?;
        return Ok(());
    }
    let workshop = Workshop::open(&settings.database_url()?, &settings.master()?, build()?).await?;
    if arguments.forget {
        let told = if workshop.forget().await? {
            "the kept generation is gone"
        } else {
            "no generation was kept"
        };
        writeln!(out, "{told}")?;
        return Ok(());
    }
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "rebuilding {bar:40} {pos}/{len} events, {per_sec}, {eta} left",
    )?);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let show = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let rebuild = Rebuild {
        database: parts.database,
        keyring: parts.keyring,
        workshop,
        workers: arguments.workers.map_or(processors, usize::from),
        show: &show,
    };
    let aim = match (arguments.compare, arguments.back) {
        (true, _) => Aim::Compare,
        (false, true) => Aim::Back,
        (false, false) => Aim::Flip,
    };
    let started = std::time::Instant::now();
    let outcome = rebuild.run(aim).await?;
    bar.finish_and_clear();
    tell(&mut out, &outcome, started.elapsed().as_secs_f64())?;
    Ok(())
}

/// Mends what a projection remembers, tenant by tenant.
async fn mend(parts: &Parts, arguments: &Arguments) -> Result<(), Failure> {
    let is_other = arguments.compare || arguments.back || arguments.forget || arguments.employee.is_some();
    if is_other || arguments.workers.is_some() {
        return Err("what a projection remembers is mended in place, of everybody who is remembered otherwise: only --tenant goes with it (`tenure verify` compares)".into());
    }
    let tenants = match arguments.tenant {
        Some(tenant) => vec![tenant],
        None => report::tenants(parts).await?,
    };
    let memory = async |tenant, of| {
        let mended = memories::mend(&parts.database, &parts.keyring, tenant, of).await?;
        Ok::<_, Failure>((mended.mended.len(), mended.people))
    };
    for tenant in tenants {
        let (mended, people) = match arguments.projection {
            ProjectionName::ReadModels => continue, // beside the live ones, by `run`
            ProjectionName::Teams => memory(tenant, Of::Teams).await?,
            ProjectionName::Scorer => memory(tenant, Of::Scorer).await?,
            ProjectionName::Fairness => {
                let store = arguments.settings.fairness_store(&parts.keyring)?.patient();
                let mended = fairness::mend((&store, &parts.database, &parts.keyring), tenant).await?;
                (mended.differing.len(), mended.people)
            }
        };
        writeln!(
            std::io::stdout(),
            "{tenant}: {mended} of {people} people were remembered otherwise than the log says, and are mended"
        )?;
    }
    Ok(())
}

/// What tells this build of the product from others of the same version: size and time of the binary.
fn build() -> Result<String, Failure> {
    let binary = std::fs::metadata(std::env::current_exe()?)?;
    let since = binary.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!("{version}-{}-{}", binary.len(), since.as_nanos()))
}

fn tell(out: &mut impl Write, outcome: &Outcome, seconds: f64) -> std::io::Result<()> {
    if outcome.begun == Begun::Again {
        writeln!(out, "went on where a generation was left")?;
    }
    let events = outcome.events;
    writeln!(
        out,
        "{events} events made again in {seconds:.1} s, {:.0} events/s",
        events as f64 / seconds.max(f64::EPSILON)
    )?;
    for table in &outcome.tables {
        let (name, compared) = (table.table, &table.comparison);
        if compared.differing.is_empty() {
            writeln!(out, "  {name}: {} rows, the same", compared.live)?;
            continue;
        }
        writeln!(
            out,
            "  {name}: {} rows before, {} rows now, which differ:",
            compared.live, compared.again
        )?;
        for difference in &compared.differing {
            let when = if difference.is_live { "before" } else { "now" };
            writeln!(out, "    only {when}: {}", difference.row)?;
        }
    }
    if outcome.unread > 0 {
        writeln!(
            out,
            "{} events cannot be read, now as before: `tenure parked`",
            outcome.unread
        )?;
    }
    match outcome.resolved {
        None => writeln!(out, "compared; what is live is as it was"),
        Some(resolved) => {
            if resolved > 0 {
                writeln!(out, "{resolved} events that were parked went through")?;
            }
            writeln!(
                out,
                "the new generation is live; the one before is kept: `tenure rebuild --back`, or `--forget`"
            )
        }
    }
}
