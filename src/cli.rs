//! The command line: parses the role, starts logging, runs it.

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use infra::telemetry::{self, LogFormat};

use crate::{
    config::Settings, connection, dataset, evaluate, explain, export, log, parked, rebuild, replay, report, roles,
    synth, train, up, verify, what_if,
};

/// Event-sourced people intelligence.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// How logs look on standard error.
    #[arg(long, global = true, env = "TENURE_LOG", default_value = "auto")]
    log: Log,
    #[command(subcommand)]
    role: Role,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Log {
    /// Text at a terminal, JSON otherwise.
    Auto,
    Json,
    Text,
}

#[derive(Subcommand)]
enum Role {
    /// The whole product on one machine.
    Up(up::Arguments),
    /// Webhooks, commands, the appender and connectors.
    CommandService(roles::Serve),
    /// Relay, projections and the scorer.
    ProjectionWorkers(roles::Serve),
    /// GraphQL.
    QueryApi(roles::Serve),
    /// Creates roles and brings the database schema up to date.
    Migrate(Settings),
    /// Trains a model on each tenant's own history, and promotes it if it is better than the shared prior.
    Train(Settings),
    /// Draws one person's score with what goes along with it.
    Explain(explain::Arguments),
    /// Writes a model report (HTML) to look at: the model in use, a version, or the shared prior.
    Report(report::Arguments),
    /// The sources: how fresh they are, and what their keys open.
    Connection(connection::Arguments),
    /// What could not be processed.
    Parked(parked::Arguments),
    /// Invents data with a known truth, to measure models and machines against.
    Synth(synth::Arguments),
    /// Writes what models learn from as a Parquet file.
    Dataset(dataset::Arguments),
    /// Writes events, people on a day, scores or training rows as a file for other programs.
    Export(export::Arguments),
    /// The history again, in order, as CloudEvents.
    Replay(replay::Arguments),
    /// Makes the read models again from the log, beside the live ones, compares, and puts them in place.
    Rebuild(rebuild::Arguments),
    /// What would have happened: a history with something changed, beside the one that happened.
    WhatIf(what_if::Arguments),
    /// Proves the log and what is made of it; fails with the first difference.
    Verify(verify::Arguments),
    /// Moves the log between Postgres and KurrentDB, and its old partitions into files.
    Log(log::Arguments),
    /// Compares the models: on each tenant's own history, or on a flat table (CSV) without anything else running.
    Evaluate(Box<evaluate::Arguments>),
}

/// The whole program. In the library: what is awaited in the binary is compiled there once more, all the way down.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let text = match arguments.log {
        Log::Auto => std::io::IsTerminal::is_terminal(&std::io::stderr()),
        Log::Json => false,
        Log::Text => true,
    };
    telemetry::start_logging(if text { LogFormat::Text } else { LogFormat::Json });
    crash_on_fail_points();
    let _fail_points = fail::FailScenario::setup();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let result = runtime.block_on(async {
        match arguments.role {
            Role::Up(arguments) => up::run(arguments).await,
            Role::CommandService(serve) => roles::command_service(serve).await,
            Role::ProjectionWorkers(serve) => roles::projection_workers(serve).await,
            Role::QueryApi(serve) => roles::query_api(serve).await,
            Role::Migrate(settings) => roles::migrate(settings).await,
            Role::Train(settings) => train::run(settings).await,
            Role::Explain(arguments) => explain::run(arguments).await,
            Role::Report(arguments) => report::run(arguments).await,
            Role::Connection(arguments) => connection::run(arguments).await,
            Role::Parked(arguments) => parked::run(arguments).await,
            Role::Export(arguments) => export::run(arguments).await,
            Role::Replay(arguments) => replay::run(arguments).await,
            Role::Rebuild(arguments) => rebuild::run(arguments).await,
            Role::WhatIf(arguments) => what_if::run(arguments).await,
            Role::Verify(arguments) => verify::run(arguments).await,
            Role::Log(arguments) => log::run(arguments).await,
            Role::Dataset(arguments) => dataset::run(arguments).await,
            Role::Evaluate(arguments) => evaluate::run(*arguments).await,
            Role::Synth(arguments) => synth::run(&arguments),
        }
    });
    // Training that is under way is not waited for: the next start begins it again.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

/// For crash tests: with TENURE_CRASH_ON_FAILPOINT=1 a fail point's panic ends the whole process at once, as SIGKILL would,
/// instead of the one task that met it. Fail points themselves exist in test builds only.
fn crash_on_fail_points() {
    if std::env::var_os("TENURE_CRASH_ON_FAILPOINT").is_none_or(|value| value != "1") {
        return;
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        if panic
            .payload_as_str()
            .is_some_and(|text| text.starts_with("failpoint "))
        {
            std::process::abort();
        }
    }));
}

/// Prints the chain of causes once, for people.
fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut out = std::io::stderr();
    let mut next = Some(error);
    let mut lead = "tenure: ";
    while let Some(error) = next {
        writeln!(out, "{lead}{error}").ok();
        lead = "  because ";
        next = error.source();
    }
    ExitCode::FAILURE
}
