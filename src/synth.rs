//! `tenure synth`: invented data with a known truth, to measure models and machines against.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use ml_pipeline::synthetic::{StaticTable, optimum};

use crate::roles::Failure;

/// The most people of a table: one draw is held in memory, at some 280 bytes a row.
const ROWS_MAX: usize = 10_000_000;

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
    /// How many people the table of the static mode has.
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// Adds the derived columns of somebody who knows the trade to the table of the static mode.
    #[arg(long)]
    domain_features: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// A table (CSV) of people on one day with their true probability of leaving within half a year, in closed form.
    Static,
}

/// Why nothing was invented.
#[derive(Debug, thiserror::Error)]
enum SynthProblem {
    #[error("{} could not be written: check that its directory exists, is yours to write to and has room, or give another --out", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("--{option} {given} is not possible: give a number from 1 to {max}")]
    OutOfRange {
        option: &'static str,
        given: usize,
        max: usize,
    },
}

/// # Errors
/// When an argument is out of range or the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.mode {
        Mode::Static => write_table(arguments),
    }
}

fn write_table(arguments: &Arguments) -> Result<(), Failure> {
    let rows = in_range("rows", arguments.rows, ROWS_MAX)?;
    let table = StaticTable::draw(arguments.seed, rows);
    to_file(&arguments.out, |out| table.write_csv(arguments.domain_features, out))?;
    let p = table.true_probability();
    let base_rate = p.iter().sum::<f64>() / p.len() as f64;
    // Of one person alone there is no order, and so no optimum.
    let optimum = optimum::optimum_auc(p).map_or_else(|| "-".to_owned(), |auc| format!("{auc:.4}"));
    writeln!(
        std::io::stdout(),
        "{}: {rows} people, base rate {base_rate:.4}, the best possible AUC is {optimum}",
        arguments.out.display()
    )?;
    Ok(())
}

fn in_range(option: &'static str, given: usize, max: usize) -> Result<usize, SynthProblem> {
    if (1..=max).contains(&given) {
        Ok(given)
    } else {
        Err(SynthProblem::OutOfRange { option, given, max })
    }
}

fn to_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<(), SynthProblem> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|cause| SynthProblem::Write {
        path: path.to_owned(),
        cause,
    })
}
