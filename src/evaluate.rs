//! `tenure evaluate`: the product's models on the tenants' own histories, or on any flat table before anything is connected.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use infra::{database::Access, route};
use ml_pipeline::{
    crossval::{self, Comparison, HeldOut, Options, Scheme, Split},
    model::Learner,
    synthetic::optimum,
    table::{Read, ReadOptions, TableError, read_csv, read_csv_like},
};
use serde_json::json;

use crate::{config::Settings, roles::Failure, train};

const SEED: u64 = 1;
/// What is done sooner shows no progress.
const TICK: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// A CSV file with a header: a row per case. Without it, the tenants' own histories are evaluated.
    #[arg(long, requires = "label")]
    table: Option<PathBuf>,
    /// The column that says what happened.
    #[arg(long, requires = "table")]
    label: Option<String>,
    /// The value of that column that counts as the outcome (where it is not plainly a yes).
    #[arg(long)]
    positive: Option<String>,
    /// Columns that no model may see, separated by commas: protected attributes, numbers of rows, what is known only afterwards.
    #[arg(long, value_delimiter = ',')]
    exclude: Vec<String>,
    /// A column that says whose rows these are: they stay on one side of every split.
    #[arg(long)]
    group: Option<String>,
    /// A column of numbers or dates: models learn from what is earlier and are judged by what is later.
    #[arg(long, conflicts_with = "group")]
    time: Option<String>,
    /// Another CSV file, to judge by instead of by splits.
    #[arg(long, conflicts_with_all = ["group", "time", "folds", "repeats", "folds_out"])]
    test: Option<PathBuf>,
    /// A column of true probabilities, if the rows were invented (`tenure synth`): no model sees it, and it tells the regret.
    #[arg(long, requires = "test")]
    truth: Option<String>,
    /// Into how many parts the rows are split.
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// How often they are split anew.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The models to try, separated by commas: logistic, additive, additive-pairs, boosted, forest [default: all]
    #[arg(long, value_delimiter = ',', value_parser = learner)]
    models: Vec<Learner>,
    /// The same seed gives the same splits and models.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// How many threads to use [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Writes which row was in which fold to a CSV file.
    #[arg(long)]
    folds_out: Option<PathBuf>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn learner(name: &str) -> Result<Learner, String> {
    let known = Learner::ALL.into_iter().find(|learner| learner.name() == name);
    known.ok_or_else(|| format!("the models are: {}", Learner::ALL.map(Learner::name).join(", ")))
}

/// Why a file was not opened or not read.
#[derive(Debug, thiserror::Error)]
enum EvaluateError {
    #[error("{} cannot be opened", path.display())]
    Open {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} cannot be used", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: TableError,
    },
}

/// Compares the models and prints what came out. Nothing is stored or promoted.
///
/// # Errors
/// When a file is no table, there is too little in it, or a model cannot be fitted.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match (&arguments.table, &arguments.label) {
        (Some(table), Some(label)) => {
            let (table, label) = (table.clone(), label.clone());
            tokio::task::spawn_blocking(move || on_table(&arguments, &table, label)).await?
        }
        _ => on_histories(&arguments).await,
    }
}

/// On each tenant's history, forward in time, as `tenure train` does before it promotes anything.
async fn on_histories(arguments: &Arguments) -> Result<(), Failure> {
    let parts = arguments.settings.tool()?;
    let tenants = parts
        .database
        .transact(Access::Read, &[], |connection| Box::pin(route::tenants(connection)))
        .await?;
    for tenant in tenants {
        match train::evaluate(&parts, tenant).await? {
            Ok(artifact) if arguments.json => {
                let answer = json!({"tenant": tenant, "card": artifact.card});
                writeln!(std::io::stdout(), "{answer:#}")?;
            }
            Ok(artifact) => writeln!(std::io::stdout(), "{tenant}\n{}", train::summary(&artifact))?,
            Err(why) => writeln!(std::io::stdout(), "{tenant}: {why}")?,
        }
    }
    Ok(())
}

fn on_table(arguments: &Arguments, table: &Path, label: String) -> Result<(), Failure> {
    let reading = ReadOptions {
        label,
        positive: arguments.positive.clone(),
        exclude: arguments.exclude.clone(),
        group: arguments.group.clone(),
        time: arguments.time.clone(),
        truth: arguments.truth.clone(),
    };
    let read = open(table, |file| read_csv(file, &reading))?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = Options {
        learners: if arguments.models.is_empty() {
            Learner::ALL.to_vec()
        } else {
            arguments.models.clone()
        },
        folds: arguments.folds,
        repeats: arguments.repeats,
        seed: arguments.seed,
        threads: arguments.threads.unwrap_or(processors).max(1),
    };
    let bar = ProgressBar::new(1).with_style(ProgressStyle::with_template(
        "fitting {bar:40} {pos}/{len} ({elapsed})",
    )?);
    bar.enable_steady_tick(TICK);
    let shown = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let mut out = std::io::stdout().lock();
    if let Some(path) = &arguments.test {
        let test = open(path, |file| read_csv_like(file, &reading, &read))?;
        let judged = crossval::hold_out(&read, &test, &options, &shown)?;
        bar.finish_and_clear();
        let models: Vec<HeldOut> = judged.into_iter().map(|(held_out, _)| held_out).collect();
        if arguments.json {
            let best = test.truth.as_deref().and_then(optimum::optimum_auc);
            let answer = json!({
                "rows": read.table.len(),
                "positives": positives(&read),
                "test_rows": test.table.len(),
                "optimum_auc": best,
                "models": models,
                "excluded": read.excluded,
                "warnings": read.warnings,
            });
            writeln!(out, "{answer:#}")?;
        } else {
            introduce(&mut out, &read)?;
            held_out(&mut out, &models)?;
        }
        return Ok(());
    }
    let (scheme, splits) = crossval::splits(&read, options.folds, options.repeats, options.seed)?;
    if let Some(path) = &arguments.folds_out {
        write_folds(path, &read, &splits)?;
    }
    let comparison = crossval::compare(&read, scheme, &splits, &options, &shown)?;
    bar.finish_and_clear();
    if arguments.json {
        let mut answer = serde_json::to_value(&comparison)?;
        answer["excluded"] = json!(read.excluded);
        answer["warnings"] = json!(read.warnings);
        writeln!(out, "{answer:#}")?;
    } else {
        introduce(&mut out, &read)?;
        compared(&mut out, &comparison)?;
    }
    Ok(())
}

fn open(
    path: &Path,
    read: impl FnOnce(&mut dyn std::io::Read) -> Result<Read, TableError>,
) -> Result<Read, EvaluateError> {
    let mut file = File::open(path).map_err(|cause| EvaluateError::Open {
        path: path.to_owned(),
        cause,
    })?;
    read(&mut file).map_err(|cause| EvaluateError::Read {
        path: path.to_owned(),
        cause,
    })
}

fn positives(read: &Read) -> usize {
    read.outcomes.iter().filter(|y| **y).count()
}

fn introduce(out: &mut dyn Write, read: &Read) -> std::io::Result<()> {
    let (rows, positives) = (read.table.len(), positives(read));
    let rate = 100.0 * positives as f64 / rows as f64;
    writeln!(
        out,
        "{rows} rows, columns to learn from: {}; the outcome is {:?} in {positives} ({rate:.1} %)",
        read.table.inputs.len(),
        read.positive,
    )?;
    for (name, reason) in &read.excluded {
        writeln!(out, "left out: {name} ({reason})")?;
    }
    for warning in &read.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out)
}

fn compared(out: &mut dyn Write, comparison: &Comparison) -> std::io::Result<()> {
    let how = match comparison.scheme {
        Scheme::Stratified => format!("{} times {} folds", comparison.repeats, comparison.folds),
        Scheme::Grouped => format!(
            "{} times {} folds, groups kept together",
            comparison.repeats, comparison.folds
        ),
        Scheme::Forward => format!("{} times forward in time", comparison.folds),
    };
    writeln!(out, "{how}; mean and standard deviation over them\n")?;
    writeln!(
        out,
        "  model            ROC-AUC         PR-AUC          Brier           ECE    lift 10 %  obs/exp   fit s  100k rows s"
    )?;
    for model in &comparison.models {
        writeln!(
            out,
            "{} {:<15}  {:.4} ± {:.4} {:.4} ± {:.4} {:.4} ± {:.4} {:.4}  {:>8.2}  {:>7.3} {:>7.2}  {:>11.3}",
            if model.champion { '*' } else { ' ' },
            model.model.name(),
            model.roc_auc.mean,
            model.roc_auc.sd,
            model.pr_auc.mean,
            model.pr_auc.sd,
            model.brier.mean,
            model.brier.sd,
            model.ece,
            model.lift_top_tenth.mean,
            model.observed_over_expected,
            model.fit_seconds,
            model.predict_seconds_per_100k,
        )?;
    }
    writeln!(
        out,
        "\n* the champion: the simplest model whose log loss is within one standard error of the best one's"
    )
}

fn held_out(out: &mut dyn Write, models: &[HeldOut]) -> std::io::Result<()> {
    writeln!(
        out,
        "  model            ROC-AUC  PR-AUC   Brier  log loss     ECE  lift 10 %  obs/exp  regret  exc. Brier   fit s  100k rows s"
    )?;
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.4}"));
    for model in models {
        writeln!(
            out,
            "{} {:<15}  {:>7}  {:>6}  {:.4}    {:.4}  {:.4}  {:>9}  {:>7}  {:>6}  {:>10} {:>7.2}  {:>11.3}",
            if model.champion { '*' } else { ' ' },
            model.model.name(),
            figure(model.roc_auc),
            figure(model.pr_auc),
            model.brier,
            model.log_loss,
            model.ece,
            figure(model.lift_top_tenth),
            figure(model.observed_over_expected),
            figure(model.regret),
            model
                .excess_brier
                .map_or_else(|| "-".to_owned(), |excess| format!("{excess:.5}")),
            model.fit_seconds,
            model.predict_seconds_per_100k,
        )?;
    }
    writeln!(
        out,
        "\n* the champion, chosen within the rows that were learnt from: the simplest model whose log loss is within one \
         standard error of the best one's"
    )
}

fn write_folds(path: &Path, read: &Read, splits: &[Split]) -> Result<(), Failure> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "repeat,row,fold")?;
    for split in splits {
        for row in &split.judge {
            writeln!(out, "{},{},{}", split.repeat, read.rows[*row], split.fold)?;
        }
    }
    out.flush()?;
    Ok(())
}
