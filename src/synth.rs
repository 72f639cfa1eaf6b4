//! `tenure synth`: invented data with a known truth, to measure models and machines against.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ml_pipeline::{
    prior,
    synthetic::{
        Company, Fidelity, Lived, Peaks, Scenario, StaticTable, Trap, optimum, peaks::Export, scenario::HORIZON_WEEKS,
    },
};

use crate::roles::Failure;

/// The most people of a table: all are held in memory, at some 270 bytes each.
const ROWS_MAX: usize = 10_000_000;
const ROWS_DEFAULT: usize = 10_000;
/// The most employees of a company, and the longest history. All of it is held in memory: 100,000 employees take some 5 GB
/// for three years.
const EMPLOYEES_MAX: usize = 200_000;
const EMPLOYEES_DEFAULT: usize = 1_000;
const YEARS_MAX: usize = 10;
const YEARS_DEFAULT: usize = 3;
const BUFFER_BYTES: usize = 1 << 20;
/// What is done sooner shows no progress.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// What to invent.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write; one that exists is replaced.
    #[arg(long)]
    out: PathBuf,
    /// static: how many people the table has [default: 10000]
    #[arg(long)]
    rows: Option<usize>,
    /// static: adds the derived columns of somebody who knows the trade.
    #[arg(long)]
    domain_features: bool,
    /// dynamic: how many employees the company has at a time [default: 1000]
    #[arg(long)]
    employees: Option<usize>,
    /// dynamic: how long the history is [default: 3]
    #[arg(long)]
    years: Option<usize>,
    /// dynamic: what to plant, separated by commas: offboarding, backdated-pay, duplicates, out-of-order, layoff,
    /// office-order, protected, noise, flipped.
    #[arg(long, value_delimiter = ',')]
    traps: Vec<Trap>,
    /// dynamic: how strongly promotions discriminate against women; 0 is fair [default: 0]
    #[arg(long)]
    promotion_bias: Option<f64>,
    /// dynamic: adds everybody's payslips at the end of each month.
    #[arg(long)]
    payslips: bool,
    /// dynamic: a second file (CSV) for the truth about everybody on the first day of each month.
    #[arg(long)]
    truth: Option<PathBuf>,
    /// dynamic: another file (CSV) for what a model would learn from: everybody's features on the first day of each month, what
    /// came of them within half a year, and its true probability; `tenure evaluate --table` reads it.
    #[arg(long)]
    table: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// A table (CSV) of people on one day with their true probability of leaving within half a year, in closed form.
    Static,
    /// A log (JSON lines) of a company's events over years, in the order of arrival.
    Dynamic,
}

/// Why nothing was invented.
#[derive(Debug, thiserror::Error)]
enum SynthProblem {
    #[error("{path} could not be written: see that its directory exists and has room, or give another path")]
    Write {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{option} {given} is not possible: give a number from 1 to {max}")]
    OutOfRange {
        option: &'static str,
        given: usize,
        max: usize,
    },
    #[error("--promotion-bias {0} is not possible: give a number from 0 (fair) to 100")]
    BadBias(f64),
    #[error("{option} means nothing in this mode: leave it out, or give --mode {mode}")]
    OtherMode { option: &'static str, mode: &'static str },
}

/// # Errors
/// When an argument is out of range or of the other mode, or a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check_mode()?;
    match arguments.mode {
        Mode::Static => write_table(arguments),
        Mode::Dynamic => write_log(arguments),
    }
}

impl Arguments {
    /// An option that would be ignored is a mistake that nobody would notice.
    fn check_mode(&self) -> Result<(), SynthProblem> {
        let (others, mode) = match self.mode {
            Mode::Static => (
                vec![
                    ("--employees", self.employees.is_some()),
                    ("--years", self.years.is_some()),
                    ("--traps", !self.traps.is_empty()),
                    ("--promotion-bias", self.promotion_bias.is_some()),
                    ("--payslips", self.payslips),
                    ("--truth", self.truth.is_some()),
                    ("--table", self.table.is_some()),
                ],
                "dynamic",
            ),
            Mode::Dynamic => (
                vec![
                    ("--rows", self.rows.is_some()),
                    ("--domain-features", self.domain_features),
                ],
                "static",
            ),
        };
        match others.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(SynthProblem::OtherMode { option, mode }),
            None => Ok(()),
        }
    }

    fn scenario(&self) -> Result<Scenario, SynthProblem> {
        let employees = in_range(
            "--employees",
            self.employees.unwrap_or(EMPLOYEES_DEFAULT),
            EMPLOYEES_MAX,
        )?;
        let years = in_range("--years", self.years.unwrap_or(YEARS_DEFAULT), YEARS_MAX)?;
        let promotion_bias = self.promotion_bias.unwrap_or(0.0);
        if !(0.0..=100.0).contains(&promotion_bias) {
            return Err(SynthProblem::BadBias(promotion_bias));
        }
        let company = Company {
            weeks: 52 * u32::try_from(years).unwrap_or(u32::MAX / 52),
            ..prior::company(self.seed, employees)
        };
        Ok(Scenario {
            fidelity: Fidelity::Full,
            traps: self.traps.clone(),
            promotion_bias,
            truths: self.truth.is_some() || self.table.is_some(),
            ..Scenario::new(company)
        })
    }
}

fn write_table(arguments: &Arguments) -> Result<(), Failure> {
    let rows = in_range("--rows", arguments.rows.unwrap_or(ROWS_DEFAULT), ROWS_MAX)?;
    let table = StaticTable::draw(arguments.seed, rows);
    to_file(&arguments.out, |out| table.write_csv(arguments.domain_features, out))?;
    let p = table.true_probability();
    let base_rate = p.iter().sum::<f64>() / p.len() as f64;
    let optimum = optimum::optimum_auc(p).map_or_else(|| "-".to_owned(), |auc| format!("{auc:.4}"));
    writeln!(
        std::io::stdout(),
        "{}: {rows} people, base rate {base_rate:.4}, the best possible AUC is {optimum}",
        arguments.out.display()
    )?;
    Ok(())
}

fn write_log(arguments: &Arguments) -> Result<(), Failure> {
    let scenario = arguments.scenario()?;
    let bar = LateBar::new("weeks")?;
    let weeks = scenario.company.weeks as usize;
    let lived = scenario.live(&mut |done| bar.show(done as usize, weeks));
    bar.finish();
    let export = Export {
        seed: arguments.seed,
        peaks: Peaks::default(),
        payslips: arguments.payslips,
    };
    let bar = LateBar::new("events")?;
    let lines = to_file(&arguments.out, |out| {
        lived.write_lines(&export, out, &mut |done, total| bar.show(done, total))
    })?;
    bar.finish();
    if let Some(path) = &arguments.truth {
        to_file(path, |out| lived.write_truths(out))?;
    }
    let mut summary = summary(arguments, &lived, lines);
    if let Some(path) = &arguments.table {
        let rows = to_file(path, |out| lived.write_rows(out))?;
        summary += &format!("\n{}: {rows} rows", path.display());
    }
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(())
}

fn summary(arguments: &Arguments, lived: &Lived, lines: usize) -> String {
    let people = lived.histories.len();
    let mut text = format!(
        "{}: {lines} events of {people} people, {} to {}",
        arguments.out.display(),
        lived.begins_on,
        lived.until
    );
    for trap in &arguments.traps {
        let planted = lived.planted.iter().filter(|planted| planted.trap == *trap).count();
        text += &match planted {
            0 => format!("\n  {trap}"),
            planted => format!("\n  {trap}: {planted} events"),
        };
    }
    if let Some(path) = &arguments.truth {
        text += &format!(
            "\n{}: {} truths, for notice within {HORIZON_WEEKS} weeks",
            path.display(),
            lived.truths.len()
        );
    }
    text
}

fn in_range(option: &'static str, given: usize, max: usize) -> Result<usize, SynthProblem> {
    if (1..=max).contains(&given) {
        Ok(given)
    } else {
        Err(SynthProblem::OutOfRange { option, given, max })
    }
}

fn to_file<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<T>) -> Result<T, SynthProblem> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let value = write(&mut out)?;
        out.flush()?;
        Ok(value)
    });
    written.map_err(|cause| SynthProblem::Write {
        path: path.to_owned(),
        cause,
    })
}

/// A progress bar that comes out only when something takes its time.
struct LateBar {
    bar: ProgressBar,
    began: Instant,
}

impl LateBar {
    fn new(what: &'static str) -> Result<Self, Failure> {
        let style = ProgressStyle::with_template("synth: {msg:>8} {bar:40} {pos}/{len} ({elapsed})")?;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Ok(Self {
            bar: bar.with_style(style).with_message(what),
            began: Instant::now(),
        })
    }

    fn show(&self, done: usize, total: usize) {
        if self.bar.is_hidden() && self.began.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
