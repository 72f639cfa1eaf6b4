//! `tenure what-if`: a history with something changed, beside the one that happened.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::id::TenantId;
use indicatif::{ProgressBar, ProgressStyle};
use infra::sandbox::{Name, SANDBOX_EVENTS_MAX, SandboxError, Sandboxes};
use ml_pipeline::prior;
use projection_workers::what_if::{
    Laboratory, Question,
    report::{Both, GroupDifference, Numbers, Report},
    script::SCRIPT_BYTES_MAX,
};

use crate::{
    config::{Parts, Settings},
    dataset::{purpose, record, the_tenant},
    roles::Failure,
};

/// Groups of a table that are drawn; all are in the JSON and in the chart's data.
const GROUPS_DRAWN_MAX: usize = 30;
/// People of a table that are drawn.
const MOVED_DRAWN_MAX: usize = 10;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Forks the history, changes it as a script says, takes it through projections and scorer, and tells what is other
    Run(Box<Run>),
    /// Tells again what is other in a sandbox than what happened
    Diff(Diff),
    /// Which sandboxes there are
    List(Of),
    /// Removes a sandbox
    Drop(Named),
}

#[derive(Debug, Clone, clap::Args)]
struct Run {
    #[command(flatten)]
    of: Of,
    /// The script (YAML; docs/what-if.md says how to write one, docs/what-if has examples), `-` for standard input
    script: PathBuf,
    /// What the sandbox is called [default: as the script's file]
    #[arg(long)]
    name: Option<String>,
    /// What it is wanted for: recorded, with who asked
    #[arg(long, value_parser = purpose)]
    purpose: String,
    /// The most events that the history may have
    #[arg(long, value_name = "NUMBER", default_value_t = SANDBOX_EVENTS_MAX)]
    events_max: usize,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, Clone, clap::Args)]
struct Diff {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, Clone, clap::Args)]
struct Named {
    #[command(flatten)]
    of: Of,
    /// The sandbox
    name: String,
}

#[derive(Debug, Clone, clap::Args)]
struct Of {
    #[command(flatten)]
    settings: Settings,
    /// Whose history; needed where there is more than one tenant
    #[arg(long)]
    tenant: Option<TenantId>,
}

#[derive(Debug, Clone, clap::Args)]
struct View {
    /// A table to read, everything as JSON, or the data of charts as CSV: a line per measure, group and day
    #[arg(long, default_value = "table")]
    format: Format,
    /// Which groups the table has
    #[arg(long, default_value = "department")]
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Department,
    Division,
    Location,
    JobTitle,
}

impl By {
    const fn of(self) -> infra::sandbox::By {
        match self {
            Self::Department => infra::sandbox::By::Department,
            Self::Division => infra::sandbox::By::Division,
            Self::Location => infra::sandbox::By::Location,
            Self::JobTitle => infra::sandbox::By::JobTitle,
        }
    }
}

/// Makes, tells of, lists or removes sandboxes.
///
/// # Errors
/// When the script does not read or asks for what is not there, there are too many sandboxes, or the database fails.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::Run(run) => make(*run).await,
        What::Diff(diff) => {
            let (_, tenant, sandboxes) = open(&diff.named.of).await?;
            let sandbox = sandboxes.get(tenant, &Name::new(&diff.named.name)?).await?;
            show(&serde_json::from_value(sandbox.difference.0)?, &diff.view)
        }
        What::List(of) => list(&of).await,
        What::Drop(named) => {
            let (_, tenant, sandboxes) = open(&named.of).await?;
            sandboxes.drop(tenant, &Name::new(&named.name)?).await?;
            writeln!(std::io::stdout(), "{} is gone", named.name)?;
            Ok(())
        }
    }
}

async fn open(of: &Of) -> Result<(Parts, TenantId, Sandboxes), Failure> {
    let parts = of.settings.tool()?;
    let tenant = the_tenant(&parts, of.tenant).await?;
    let sandboxes = Sandboxes::open(&of.settings.database_url()?).await?;
    Ok((parts, tenant, sandboxes))
}

async fn make(run: Run) -> Result<(), Failure> {
    let text = read(&run.script)?;
    let name = match &run.name {
        Some(name) => name.clone(),
        None => default_name(&run.script),
    };
    let (parts, tenant, sandboxes) = open(&run.of).await?;
    let mut question = Question::new(tenant, Name::new(&name)?, text)?;
    question.events_max = run.events_max;
    let since = Some(question.script.from.value);
    record(&parts, tenant, ("what-if", since, None), &run.purpose).await?;
    let report = answer(&parts, sandboxes, question).await?;
    show(&report, &run.view)?;
    writeln!(
        std::io::stderr(),
        "the sandbox {name} stays until `tenure what-if drop {name}`; `tenure what-if diff {name}` tells this again"
    )?;
    Ok(())
}

/// Makes a sandbox, and shows how far it is.
///
/// # Errors
/// As [`Laboratory::run`].
pub(crate) async fn answer(parts: &Parts, sandboxes: Sandboxes, question: Question) -> Result<Report, Failure> {
    let laboratory = Laboratory {
        database: parts.database.clone(),
        keyring: parts.keyring.clone(),
        sandboxes,
        prior: Arc::new(prior::prior()?),
    };
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "replaying {bar:40} {pos}/{len} events, {per_sec}, {eta} left",
    )?);
    let drawn = bar.clone();
    let report = laboratory
        .run(question, move |done, total| {
            drawn.set_length(total);
            drawn.set_position(done);
        })
        .await;
    bar.finish_and_clear();
    Ok(report?)
}

fn read(path: &Path) -> Result<String, Failure> {
    // One byte more than a script may have tells that it is too long, without reading all of it.
    let limit = SCRIPT_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let failed = |cause| format!("the script {} cannot be read: {cause}", path.display());
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(limit).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

/// The file's name, as far as it makes one.
fn default_name(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name: String = stem
        .to_lowercase()
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(infra::sandbox::NAME_CHARS_MAX)
        .collect();
    if Name::new(&name).is_ok() {
        name
    } else {
        "what-if".to_owned()
    }
}

async fn list(of: &Of) -> Result<(), Failure> {
    let (_, tenant, sandboxes) = open(of).await?;
    let all = sandboxes.list(tenant).await?;
    let mut out = std::io::stdout();
    if all.is_empty() {
        writeln!(out, "there is no sandbox: `tenure what-if run SCRIPT` makes one")?;
    }
    for sandbox in all {
        writeln!(
            out,
            "{:<24} made {}, {} events, {:.1} MB: {}",
            sandbox.name,
            sandbox.created_at.format("%Y-%m-%d %H:%M"),
            sandbox.events,
            sandbox.bytes as f64 / 1e6,
            sandbox.title
        )?;
    }
    Ok(())
}

fn show(report: &Report, view: &View) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match view.format {
        Format::Table => out.write_all(table(report, view.by.of().name()).as_bytes())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
        Format::Csv => out.write_all(&chart(report)?)?,
    }
    Ok(())
}

/// The measures of a table: a heading, how to say it, and how much it is.
type Measure = (&'static str, &'static str, fn(&Numbers) -> Option<f64>, usize);
const MEASURES: [Measure; 6] = [
    ("employed", "headcount", |n| Some(n.headcount as f64), 0),
    ("left", "left", |n| Some(n.left as f64), 0),
    ("alerts", "alerts", |n| Some(n.alerts as f64), 0),
    ("high risk", "high_risk", |n| Some(n.high as f64), 0),
    ("mean risk", "mean_risk", Numbers::mean, 4),
    ("expected", "expected_exits", |n| Some(n.expected), 1),
];

fn table(report: &Report, by: &str) -> String {
    let mut text = format!("{}\n", report.title.trim());
    let events = &report.events;
    text.push_str(&format!(
        "fork on {}, made on {} from the log up to position {}; {} events more, {} otherwise, {} fewer, in the history of {} people\n",
        report.from, report.made_on, report.position, events.inserted, events.changed, events.dropped, events.people
    ));
    if report.not_compared > 0 {
        text.push_str(&format!(
            "not compared: {} streams with parked events (`tenure parked`)\n",
            report.not_compared
        ));
    }
    if report.unknown_models > 0 {
        text.push_str(&format!(
            "left as they were: scores of {} people whose model is not there any more\n",
            report.unknown_models
        ));
    }
    if report.is_nothing() {
        text.push_str("nothing differs from what happened\n");
        return text;
    }
    let width = 24;
    text.push_str(&format!("\n{:<width$}", by.replace('_', " ")));
    for (heading, ..) in MEASURES {
        text.push_str(&format!("{heading:>21}"));
    }
    text.push('\n');
    let groups = report.groups.get(by).map_or(&[][..], Vec::as_slice);
    text.push_str(&line("everybody", report.total.as_ref(), width));
    for group in groups.iter().take(GROUPS_DRAWN_MAX) {
        text.push_str(&line(name(group), group.numbers.as_ref(), width));
    }
    if groups.len() > GROUPS_DRAWN_MAX {
        text.push_str(&format!("… and {} groups more\n", groups.len() - GROUPS_DRAWN_MAX));
    }
    if report.scores_differing > 0 {
        text.push_str(&format!("\nscores that differ: {}\n", report.scores_differing));
        for moved in report.moved.iter().take(MOVED_DRAWN_MAX) {
            let say = |probability: Option<f64>, band: &Option<String>| match (probability, band) {
                (Some(probability), Some(band)) => format!("{probability:.3} {band}"),
                (_, _) => "no score".to_owned(),
            };
            text.push_str(&format!(
                "  {}  {} -> {}\n",
                moved.employee,
                say(moved.probability.happened, &moved.band.happened),
                say(moved.probability.what_if, &moved.band.what_if)
            ));
        }
    }
    text
}

fn name(group: &GroupDifference) -> &str {
    group.name.as_deref().unwrap_or("(not known)")
}

fn line(name: &str, numbers: Option<&Both<Numbers>>, width: usize) -> String {
    let name: String = name.chars().take(width - 1).collect();
    let mut line = format!("{name:<width$}");
    match numbers {
        None => line.push_str("  (too few people to tell)"),
        Some(both) => {
            for (_, _, of, digits) in MEASURES {
                let (happened, what_if) = (of(&both.happened), of(&both.what_if));
                let say =
                    |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
                let text = if happened.map(f64::to_bits) == what_if.map(f64::to_bits) {
                    say(happened)
                } else {
                    format!("{} -> {}", say(happened), say(what_if))
                };
                line.push_str(&format!("{text:>21}"));
            }
        }
    }
    line.push('\n');
    line
}

/// The data of charts: a line per measure, group and day, with what happened and what would have. Empty: too few people to tell.
fn chart(report: &Report) -> Result<Vec<u8>, Failure> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["measure", "by", "group", "day", "happened", "what_if"])?;
    let say = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let total = GroupDifference {
        name: Some("everybody".to_owned()),
        numbers: report.total,
    };
    let groups = report
        .groups
        .iter()
        .flat_map(|(by, groups)| groups.iter().map(move |group| (by.as_str(), group)));
    let day = report.made_on.to_string();
    for (by, group) in [("everybody", &total)].into_iter().chain(groups) {
        for (_, measure, of, _) in MEASURES {
            let happened = group.numbers.and_then(|both| of(&both.happened));
            let what_if = group.numbers.and_then(|both| of(&both.what_if));
            let name = disarmed(name(group));
            csv.write_record([measure, by, name.as_str(), day.as_str(), &say(happened), &say(what_if)])?;
        }
    }
    for point in &report.series {
        let (happened, what_if) = (&point.stands.happened, &point.stands.what_if);
        let bands = ["low", "medium", "high", "critical"];
        let mut lines = vec![
            (
                "headcount".to_owned(),
                happened.headcount as f64,
                what_if.headcount as f64,
            ),
            ("left".to_owned(), happened.left as f64, what_if.left as f64),
            ("expected_exits".to_owned(), happened.expected, what_if.expected),
        ];
        for (index, band) in bands.iter().enumerate() {
            lines.push((
                format!("people_{band}"),
                happened.bands[index] as f64,
                what_if.bands[index] as f64,
            ));
        }
        for (measure, happened, what_if) in lines {
            let day = point.day.to_string();
            csv.write_record([
                &format!("{measure}_over_time"),
                "everybody",
                "everybody",
                &day,
                &happened.to_string(),
                &what_if.to_string(),
            ])?;
        }
    }
    Ok(csv.into_inner().map_err(|error| error.to_string())?)
}

/// What a spreadsheet program would take for a formula is text (OWASP, CSV injection).
fn disarmed(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// Makes a sandbox of a history that is not changed, for `tenure replay --into sandbox:NAME`.
///
/// # Errors
/// As [`Laboratory::run`].
pub(crate) async fn unchanged(
    settings: &Settings,
    tenant: Option<TenantId>,
    (name, purpose): (&str, &str),
) -> Result<String, Failure> {
    let of = Of {
        settings: settings.clone(),
        tenant,
    };
    let (parts, tenant, sandboxes) = open(&of).await?;
    let name = Name::new(name)?;
    let today = infra::clock::today();
    record(&parts, tenant, ("what-if", Some(today), None), purpose).await?;
    let question = Question::new(tenant, name, format!("title: The history as it is\nfrom: {today}\n"))?;
    let report = answer(&parts, sandboxes, question).await?;
    if !report.is_nothing() {
        let tables: Vec<&str> = report.rows.keys().map(String::as_str).collect();
        return Err(format!(
            "the history came out otherwise than what people see ({}): `tenure verify` says what is wrong",
            tables.join(", ")
        )
        .into());
    }
    Ok(format!(
        "everything up to position {} is in it, and equals what people see",
        report.position
    ))
}

/// Whether a text names a sandbox.
pub(crate) fn is_name(text: &str) -> Result<(), SandboxError> {
    Name::new(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_called_as_its_script() {
        assert_eq!(
            default_name(Path::new("/tmp/Raise_the underpaid.yaml")),
            "raise-the-underpaid"
        );
        assert_eq!(default_name(Path::new("-")), "what-if");
        assert_eq!(default_name(Path::new("2026.yaml")), "what-if");
    }

    #[test]
    fn numbers_that_are_the_same_are_said_once() {
        let numbers = |headcount, expected| Numbers {
            headcount,
            expected,
            scored: headcount,
            ..Numbers::default()
        };
        let both = Both {
            happened: numbers(10, 1.0),
            what_if: numbers(10, 0.5),
        };
        let line = line("Sales", Some(&both), 24);
        assert!(
            line.contains("0.1000 -> 0.0500") && line.contains("1.0 -> 0.5"),
            "{line}"
        );
        assert!(!line.contains("10 ->"), "{line}");
        assert_eq!(disarmed("=1+1"), "'=1+1");
    }
}
