//! `tenure export`: events, people, scores or training rows as a file for other programs.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use domain::{Date, Timestamp, id::TenantId};
use infra::{
    clock,
    database::Access,
    event_log,
    read_model::{
        export::{self, PersonRow, ScoreRow, Scored},
        query::Moment,
    },
};
use ml_pipeline::{
    dataset::{Dataset, Target},
    files::{Format, Table, Values, Writer},
    frame,
};
use schemas::envelope::StoredEvent;
use uuid::Uuid;

use crate::{
    config::{Parts, Settings},
    dataset::{record, the_tenant},
    replay::{self, Time},
    roles::Failure,
    train,
};

/// Rows that are read, and written, at once.
const PAGE: i64 = 10_000;
/// Rows of a piece of a columnar file: readers like few pieces of many rows, and while it is written a piece is in memory several times.
const PIECE_ROWS: usize = 20_000;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    what: What,
    #[arg(long, default_value = "parquet")]
    format: FormatName,
    /// The file to write, `-` for standard output; one that exists is replaced [default: named after what is in it]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Whose history; needed where there is more than one tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// What it is wanted for: recorded, with who asked
    #[arg(long, value_parser = crate::dataset::purpose)]
    purpose: String,
    /// `employees`: everybody as they were on this day [default: today]
    #[arg(long, value_name = "DAY")]
    as_of: Option<Date>,
    /// `employees`, `risk`: as it was known then, a day (with all of it) or a moment [default: now]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    known_at: Option<Time>,
    /// `events`: recorded since then; `risk`: scored since then [default: the first]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    from: Option<Time>,
    /// Until when: a day, with all of it, or a moment [default: the last]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    to: Option<Time>,
    /// `events`: types, or their beginnings: `employee.hired`, `risk` [default: all]
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…")]
    kinds: Vec<String>,
    /// `employees`: only this department
    #[arg(long)]
    department: Option<String>,
    /// `frame`: a career program by its name: rows about its candidates, and who moved up [default: rows about who leaves]
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The log, sealed as it lies there
    Events,
    /// A row per person on a day, with the score that was known then
    Employees,
    /// A row per score that was news
    Risk,
    /// What models learn from: a row per person and month
    Frame,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    Parquet,
    Arrow,
    Csv,
    Jsonl,
}

impl FormatName {
    const fn format(self) -> Format {
        match self {
            Self::Parquet => Format::Parquet,
            Self::Arrow => Format::Arrow,
            Self::Csv => Format::Csv,
            Self::Jsonl => Format::JsonLines,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Employees => "employees",
            Self::Risk => "risk",
            Self::Frame => "frame",
        }
    }
}

/// Writes the file, whole or not at all, and tells how many rows it has.
///
/// # Errors
/// When an option is not for what is exported, there is nothing to export, the history cannot be read, or the file not be written.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let parts = arguments.settings.tool()?;
    let tenant = the_tenant(&parts, arguments.tenant).await?;
    let at = arguments.moment()?;
    let about = format!("export of {}", arguments.what.name());
    let known_at = arguments.known_at.map(|_| at.known_at);
    record(&parts, tenant, (&about, arguments.as_of, known_at), &arguments.purpose).await?;
    let began = Instant::now();
    let mut sink = Sink::open(&arguments)?;
    match arguments.what {
        What::Events => events(&parts, tenant, &arguments, &mut sink).await?,
        What::Employees => employees(&parts, tenant, &arguments, at, &mut sink).await?,
        What::Risk => risk(&parts, tenant, &arguments, at, &mut sink).await?,
        What::Frame => training_rows(&parts, tenant, &arguments, &mut sink).await?,
    }
    if sink.rows == 0 {
        return Err("there is nothing of what is asked for: no file was written".into());
    }
    let (rows, place) = (sink.rows, sink.finish()?);
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        std::io::stderr(),
        "{place}: {rows} rows in {seconds:.1} s ({:.0} rows/s)",
        rows as f64 / seconds.max(f64::EPSILON)
    )?;
    Ok(())
}

impl Arguments {
    /// Options that say nothing about what is exported are mistakes.
    fn check(&self) -> Result<(), Failure> {
        let given = [
            ("--as-of", self.as_of.is_some(), &[What::Employees][..]),
            ("--known-at", self.known_at.is_some(), &[What::Employees, What::Risk]),
            ("--from", self.from.is_some(), &[What::Events, What::Risk]),
            ("--to", self.to.is_some(), &[What::Events, What::Risk]),
            ("--kinds", !self.kinds.is_empty(), &[What::Events]),
            ("--department", self.department.is_some(), &[What::Employees]),
            ("--program", self.program.is_some(), &[What::Frame]),
        ];
        for (option, is_given, of) in given {
            if is_given && !of.contains(&self.what) {
                let of: Vec<&str> = of.iter().map(|what| what.name()).collect();
                return Err(format!("{option} is for {}, not for {}", of.join(" and "), self.what.name()).into());
            }
        }
        Ok(())
    }

    fn moment(&self) -> Result<Moment, Failure> {
        let (now, today) = (clock::now(), clock::today());
        let day = self.as_of.unwrap_or(today);
        let known_at = match self.known_at {
            // The last microsecond of it: what is known at a moment includes what is recorded in it.
            Some(time) => time.ends() - chrono::TimeDelta::microseconds(1),
            None => now,
        };
        if day > today {
            return Err(format!("{day} has not come yet: --as-of takes today ({today}) or a day before").into());
        }
        if self.known_at.is_some_and(|time| time.begins() > now) {
            return Err("--known-at is in the future: what will be known then is not known yet".into());
        }
        Ok(Moment { day, known_at })
    }
}

/// Where bytes go. Writers of columnar formats keep it to themselves and do not flush it: whoever began the file does, and hears
/// of a full disk.
#[derive(Clone)]
struct Out(Arc<Mutex<Box<dyn Write + Send>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// A file that is there when it is whole.
struct Sink {
    /// None: standard output.
    file: Option<(PathBuf, PathBuf)>,
    out: Out,
    format: Format,
    writer: Option<Writer<Out>>,
    waiting: Option<Table>,
    rows: usize,
}

impl Sink {
    fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let default = || PathBuf::from(format!("{}.{}", arguments.what.name(), arguments.format.extension()));
        let path = arguments.out.clone().unwrap_or_else(default);
        let (file, out): (_, Box<dyn Write + Send>) = if path == Path::new("-") {
            (None, Box::new(BufWriter::new(std::io::stdout())))
        } else {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".part");
            let part = path.with_file_name(name);
            let file = File::create(&part).map_err(|cause| format!("{} cannot be written: {cause}", part.display()))?;
            (Some((part, path)), Box::new(BufWriter::new(file)))
        };
        Ok(Self {
            file,
            out: Out(Arc::new(Mutex::new(out))),
            format: arguments.format.format(),
            writer: None,
            waiting: None,
            rows: 0,
        })
    }

    /// Takes rows; writes them when they are enough for a piece.
    fn take(&mut self, rows: Table) -> Result<(), Failure> {
        self.rows += rows.rows();
        match &mut self.waiting {
            Some(waiting) => waiting.append(rows),
            None => self.waiting = Some(rows),
        }
        if self
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.rows() >= PIECE_ROWS)
        {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Failure> {
        let Some(rows) = self.waiting.take() else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none @ None => none.insert(Writer::begin(self.format, self.out.clone(), &rows)?),
        };
        Ok(writer.write(&rows)?)
    }

    /// Ends the file and gives it its name. Tells where it is.
    fn finish(mut self) -> Result<String, Failure> {
        self.write()?;
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        self.out
            .flush()
            .map_err(|cause| format!("the end cannot be written: {cause}"))?;
        let Some((part, path)) = &self.file else {
            return Ok("standard output".to_owned());
        };
        std::fs::rename(part, path).map_err(|cause| format!("{} cannot be written: {cause}", path.display()))?;
        let place = path.display().to_string();
        self.file = None;
        Ok(place)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.file {
            std::fs::remove_file(part).ok();
        }
    }
}

async fn events(parts: &Parts, tenant: TenantId, arguments: &Arguments, sink: &mut Sink) -> Result<(), Failure> {
    let (first, end) = replay::range(parts, arguments.from, arguments.to).await?;
    let wanted = |event: &StoredEvent| {
        event.position < end
            && (arguments.kinds.is_empty() || arguments.kinds.iter().any(|kind| replay::is_of(event, kind)))
    };
    let read = |after: i64| {
        let database = parts.database.clone();
        tokio::spawn(async move {
            database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(event_log::read_tenant_after(connection, tenant, after, PAGE))
                })
                .await
        })
    };
    let mut page = read(first - 1).await??;
    while let Some(last) = page.last().map(|event| event.position) {
        let next = read(last); // while this one is written
        page.retain(wanted);
        if !page.is_empty() {
            sink.take(event_table(&page))?;
        }
        page = if last < end { next.await?? } else { Vec::new() };
    }
    Ok(())
}

/// Columns of `events`.
fn event_table(rows: &[StoredEvent]) -> Table {
    Table(vec![
        integer(rows, "position", |e| Some(e.position)),
        text(rows, "event_id", |e| Some(e.event_id.to_string())),
        text(rows, "type", |e| Some(e.event_type.clone())),
        integer(rows, "schema_version", |e| Some(e.schema_version.into())),
        text(rows, "stream_kind", |e| Some(e.stream.kind.name().to_owned())),
        text(rows, "stream_id", |e| Some(e.stream.id.to_string())),
        integer(rows, "revision", |e| Some(e.revision)),
        day(rows, "effective_on", |e| Some(e.effective_on)),
        moment(rows, "recorded_at", |e| Some(e.recorded_at)),
        text(rows, "actor", |e| Some(e.provenance.actor.clone())),
        text(rows, "correlation", |e| Some(e.provenance.correlation.to_string())),
        flag(rows, "backfill", |e| e.provenance.backfill),
        text(rows, "data", |e| String::from_utf8(e.data.clone()).ok()),
    ])
}

async fn employees(
    parts: &Parts,
    tenant: TenantId,
    arguments: &Arguments,
    at: Moment,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let rare = parts
        .database
        .transact(Access::Read, &[tenant], move |connection| {
            Box::pin(async move { export::rare(connection, tenant, at).await })
        })
        .await?;
    let mut after: Option<Uuid> = None;
    loop {
        let mut rows = parts
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { export::people(connection, tenant, at, after, PAGE).await })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id);
        rows.iter_mut().for_each(|row| rare.hide(row));
        if let Some(department) = &arguments.department {
            rows.retain(|row| row.department.as_ref() == Some(department));
        }
        if !rows.is_empty() {
            sink.take(people_table(&rows))?;
        }
    }
}

/// Columns of `employees`.
fn people_table(rows: &[PersonRow]) -> Table {
    Table(vec![
        text(rows, "employee", |p| Some(p.id.to_string())),
        text(rows, "status", |p| Some(p.status.clone())),
        text(rows, "job_title", |p| p.job_title.clone()),
        text(rows, "department", |p| p.department.clone()),
        text(rows, "division", |p| p.division.clone()),
        text(rows, "location", |p| p.location.clone()),
        text(rows, "manager", |p| p.manager.map(|id| id.to_string())),
        day(rows, "hired_on", |p| Some(p.hired_on)),
        day(rows, "left_on", |p| p.left_on),
        day(rows, "notice_on", |p| p.notice_on),
        day(rows, "last_day", |p| p.last_day),
        integer(rows, "weekly_minutes", |p| p.weekly_minutes.map(i64::from)),
        flag(rows, "objects_to_scoring", |p| p.objects_to_scoring),
        number(rows, "risk", |p| p.probability),
        text(rows, "risk_band", |p| p.band.clone()),
        integer(rows, "risk_horizon_days", |p| p.horizon_days.map(i64::from)),
        text(rows, "risk_model", |p| p.model.clone()),
        moment(rows, "scored_at", |p| p.scored_at),
    ])
}

async fn risk(
    parts: &Parts,
    tenant: TenantId,
    arguments: &Arguments,
    at: Moment,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let wanted = Scored {
        from: arguments.from.map_or(Timestamp::UNIX_EPOCH, Time::begins),
        to: arguments
            .to
            .map_or_else(|| clock::now() + chrono::TimeDelta::days(1), Time::ends),
        known_at: at.known_at,
    };
    let mut after: Option<(Uuid, i64)> = None;
    loop {
        let rows = parts
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { export::scores(connection, tenant, wanted, after, PAGE).await })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some((last.employee, last.position));
        sink.take(score_table(&rows))?;
    }
}

/// Columns of `risk`.
fn score_table(rows: &[ScoreRow]) -> Table {
    Table(vec![
        text(rows, "employee", |s| Some(s.employee.to_string())),
        integer(rows, "position", |s| Some(s.position)),
        moment(rows, "scored_at", |s| Some(s.scored_at)),
        moment(rows, "recorded_at", |s| Some(s.recorded_at)),
        number(rows, "risk", |s| s.probability),
        integer(rows, "risk_horizon_days", |s| Some(s.horizon_days.into())),
        text(rows, "risk_band", |s| Some(s.band.clone())),
        text(rows, "risk_model", |s| Some(s.model.clone())),
        text(rows, "reasons", |s| {
            s.factors.as_ref().map(|factors| factors.0.to_string())
        }),
    ])
}

/// Histories are opened in memory, as training does; the file is written in pieces.
async fn training_rows(parts: &Parts, tenant: TenantId, arguments: &Arguments, sink: &mut Sink) -> Result<(), Failure> {
    let target = match &arguments.program {
        Some(name) => train::target(parts, tenant, name).await?,
        None => Target::Notice,
    };
    let (histories, _) = train::histories(parts, tenant).await?;
    let dataset =
        tokio::task::spawn_blocking(move || Dataset::of(target, &histories, clock::today(), &mut |_| {})).await?;
    for first in (0..dataset.rows.len()).step_by(PIECE_ROWS) {
        let end = (first + PIECE_ROWS).min(dataset.rows.len());
        sink.take(frame::table(&dataset, first..end))?;
    }
    Ok(())
}

type Column = (String, Values);

fn text<R>(rows: &[R], name: &str, of: impl Fn(&R) -> Option<String>) -> Column {
    (name.to_owned(), Values::Text(rows.iter().map(of).collect()))
}

fn integer<R>(rows: &[R], name: &str, of: impl Fn(&R) -> Option<i64>) -> Column {
    (name.to_owned(), Values::Integer(rows.iter().map(of).collect()))
}

fn number<R>(rows: &[R], name: &str, of: impl Fn(&R) -> Option<f64>) -> Column {
    (name.to_owned(), Values::Number(rows.iter().map(of).collect()))
}

fn flag<R>(rows: &[R], name: &str, of: impl Fn(&R) -> bool) -> Column {
    let values = rows.iter().map(|row| Some(of(row)));
    (name.to_owned(), Values::Flag(values.collect()))
}

fn day<R>(rows: &[R], name: &str, of: impl Fn(&R) -> Option<Date>) -> Column {
    (name.to_owned(), Values::Day(rows.iter().map(of).collect()))
}

fn moment<R>(rows: &[R], name: &str, of: impl Fn(&R) -> Option<Timestamp>) -> Column {
    (name.to_owned(), Values::Moment(rows.iter().map(of).collect()))
}
