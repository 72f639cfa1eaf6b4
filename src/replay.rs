//! `tenure replay`: the history again, in order, for any consumer.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use domain::{Date, Timestamp, id::TenantId};
use infra::{
    broker::{Outgoing, Unconfirmed},
    database::Access,
    event_log,
    read_model::query,
};
use schemas::{envelope::StoredEvent, topics};

use crate::{
    config::{Parts, Settings},
    roles::Failure,
    what_if,
};

/// Events of one round.
const ROUND_EVENTS_MAX: i64 = 2_000;
/// Rounds that a broker is storing while the next one is read.
const ROUNDS_UNDER_WAY_MAX: usize = 8;

#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// From when on events were recorded: a day (UTC) or a moment [default: the first]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    from: Option<Time>,
    /// Until when: a day, with all of it, or a moment [default: the last]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    to: Option<Time>,
    /// Whose events [default: everybody's]
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Types of events, or their beginnings: `employee.hired`, `risk` [default: all]
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…")]
    kinds: Vec<String>,
    /// As fast as possible (`max`), or so many times as fast as it was recorded (`1000x`)
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Where to: `stdout`, a CloudEvent on each line; `kafka:TOPIC`, which is made if it is not there; `sandbox:NAME`, through the
    /// projections into tables of its own (`tenure what-if list`)
    #[arg(long, default_value = "stdout", value_parser = target)]
    into: Target,
    /// What a sandbox is wanted for, which is recorded; elsewhere personal values stay sealed, and nothing is asked
    #[arg(long, value_parser = crate::dataset::purpose)]
    purpose: Option<String>,
}

/// A day or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Day(Date),
    Moment(Timestamp),
}

impl Time {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let day = text.parse().map(Self::Day).ok();
        let moment = || {
            chrono::DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|at| Self::Moment(at.to_utc()))
        };
        day.or_else(moment)
            .ok_or_else(|| "a day is written as 2026-01-31, a moment as 2026-01-31T09:30:00Z".to_owned())
    }

    pub(crate) fn begins(self) -> Timestamp {
        match self {
            Self::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            Self::Moment(at) => at,
        }
    }

    /// The first moment after it.
    pub(crate) fn ends(self) -> Timestamp {
        match self {
            Self::Day(day) => Self::Day(day.succ_opt().unwrap_or(day)).begins(),
            Self::Moment(at) => at + chrono::TimeDelta::microseconds(1),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times: Option<f64> = text.strip_suffix('x').and_then(|times| times.parse().ok());
    match times {
        Some(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ => Err("a speed is `max`, or a number of times such as `1000x`".to_owned()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Stdout,
    Kafka(String),
    Sandbox(String),
}

fn target(text: &str) -> Result<Target, String> {
    match text.split_once(':') {
        None if text == "stdout" => Ok(Target::Stdout),
        Some(("kafka", topic)) if [topics::EVENTS, topics::INTAKE].contains(&topic) => Err(format!(
            "{topic} is the product's own: what is replayed into it would happen again"
        )),
        Some(("kafka", topic)) if is_topic(topic) => Ok(Target::Kafka(topic.to_owned())),
        Some(("sandbox", name)) => match what_if::is_name(name) {
            Ok(()) => Ok(Target::Sandbox(name.to_owned())),
            Err(error) => Err(error.to_string()),
        },
        _ => {
            Err("a target is `stdout`, `kafka:TOPIC` (letters, digits, `.`, `_` and `-`) or `sandbox:NAME`".to_owned())
        }
    }
}

/// What Kafka takes for a topic's name.
fn is_topic(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    (1..=249).contains(&name.len()) && name.chars().all(fits) && name != "." && name != ".."
}

/// Writes events, and remembers what went where before.
enum Sink {
    Stdout(BufWriter<std::io::Stdout>, i64),
    Kafka {
        topic: &'static str,
        partitions: i32,
        sent: BTreeMap<i32, i64>,
        under_way: VecDeque<Unconfirmed>,
    },
}

impl Sink {
    async fn open(parts: &Parts, target: &Target, replication: i32) -> Result<Self, Failure> {
        Ok(match target {
            Target::Sandbox(name) => return Err(format!("the sandbox {name} takes a whole history only").into()),
            Target::Stdout => Self::Stdout(BufWriter::new(std::io::stdout()), 0),
            Target::Kafka(topic) => {
                // One topic, for as long as the process lives.
                let topic: &'static str = topic.clone().leak();
                parts
                    .brokers
                    .ensure_topic(topic, topics::PARTITIONS_DEFAULT, replication)
                    .await?;
                Self::Kafka {
                    topic,
                    partitions: parts.bulk.partitions(topic).await?,
                    sent: BTreeMap::new(),
                    under_way: VecDeque::new(),
                }
            }
        })
    }

    /// Whether somebody still reads.
    async fn write(&mut self, parts: &Parts, events: &[&StoredEvent]) -> Result<bool, Failure> {
        let log = parts.database.log_id().await?;
        match self {
            Self::Stdout(out, before) => {
                let mut lines = Vec::new();
                for event in events {
                    lines.extend(event.write(log, *before));
                    lines.push(b'\n');
                    *before = event.position;
                }
                match out.write_all(&lines).and_then(|()| out.flush()) {
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(false),
                    written => written?,
                }
            }
            Self::Kafka {
                topic,
                partitions,
                sent,
                under_way,
            } => {
                let record = |event: &&StoredEvent| {
                    let key = topics::key(&event.stream);
                    let partition = topics::partition(key.as_bytes(), *partitions);
                    let before = sent.insert(partition, event.position).unwrap_or(0);
                    Outgoing {
                        topic,
                        key,
                        value: event.write(log, before),
                    }
                };
                let records: Vec<Outgoing> = events.iter().map(record).collect();
                under_way.push_back(parts.bulk.hand_over(&records).await?);
                if under_way.len() > ROUNDS_UNDER_WAY_MAX
                    && let Some(first) = under_way.pop_front()
                {
                    first.confirmed().await?;
                }
            }
        }
        Ok(true)
    }
}

impl Sink {
    /// All that was written is where it was to go.
    async fn finish(self) -> Result<(), Failure> {
        if let Self::Kafka { under_way, .. } = self {
            for round in under_way {
                round.confirmed().await?;
            }
        }
        Ok(())
    }
}

/// Replays what was recorded in a range of time, in the order of the log, sealed as it lies there.
///
/// # Errors
/// When there is nothing in the range, the log cannot be read, or the target does not take it.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    if let Target::Sandbox(name) = &arguments.into {
        return into_sandbox(&arguments, name).await;
    }
    if arguments.purpose.is_some() {
        return Err("only a sandbox takes a --purpose: what goes elsewhere stays sealed".into());
    }
    let parts = arguments.settings.tool()?;
    let (first, end) = range(&parts, arguments.from, arguments.to).await?;
    let mut sink = Sink::open(&parts, &arguments.into, arguments.settings.kafka_replication).await?;
    let mut pace = Pace::new(arguments.speed);
    let (began, mut count) = (Instant::now(), 0_usize);
    let read = |after: i64| {
        let (parts, tenant) = (parts.clone(), arguments.tenant);
        tokio::spawn(async move { page(&parts, tenant, after, ROUND_EVENTS_MAX.min(end - 1 - after)).await })
    };
    let mut events = read(first - 1).await??;
    while let Some(position) = events.last().map(|event| event.position) {
        let next = (position + 1 < end).then(|| read(position)); // while this one is written
        let wanted = |event: &&StoredEvent| {
            event.position < end
                && (arguments.kinds.is_empty() || arguments.kinds.iter().any(|kind| is_of(event, kind)))
        };
        let wanted: Vec<&StoredEvent> = events.iter().filter(wanted).collect();
        count += wanted.len();
        for events in pace.stretches(&wanted) {
            pace.wait(events).await;
            if !sink.write(&parts, events).await? {
                return Ok(()); // whoever read it has seen enough
            }
        }
        events = match next {
            Some(next) => next.await??,
            None => Vec::new(),
        };
    }
    sink.finish().await?;
    if count == 0 {
        return Err("no event in that range is of the tenant and the kinds that are asked for".into());
    }
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        std::io::stderr(),
        "{count} events replayed in {seconds:.1} s ({:.0} events/s)",
        count as f64 / seconds.max(1e-9)
    )?;
    Ok(())
}

/// A sandbox's tables are made of all that is projected: half of a history would say of people what nobody ever knew of them.
async fn into_sandbox(arguments: &Arguments, name: &str) -> Result<(), Failure> {
    let is_partial = arguments.from.is_some() || arguments.to.is_some() || !arguments.kinds.is_empty();
    if is_partial || arguments.speed != Speed::Max {
        return Err("a sandbox takes the whole history at once: leave out --from, --to, --kinds and --speed (a past day, as it was or as it was known, is asked for with `asOf` and `knownAt`)".into());
    }
    let purpose = arguments.purpose.as_deref();
    let purpose = purpose.ok_or("a sandbox shows people's history: say with --purpose what it is wanted for")?;
    let made = what_if::unchanged(&arguments.settings, arguments.tenant, (name, purpose)).await?;
    writeln!(std::io::stderr(), "sandbox {name}: {made}")?;
    Ok(())
}

/// The first position of what was recorded in a range of time, and the first one after it.
///
/// # Errors
/// When there is nothing in it.
pub(crate) async fn range(parts: &Parts, from: Option<Time>, to: Option<Time>) -> Result<(i64, i64), Failure> {
    let (head, _) = parts
        .database
        .transact_as_relay(|connection| Box::pin(query::log_head(connection)))
        .await?;
    let first = match from {
        Some(from) => first_since(parts, head, from.begins()).await?,
        None => 1,
    };
    let end = match to {
        Some(to) => first_since(parts, head, to.ends()).await?,
        None => head + 1,
    };
    if first >= end {
        return Err(nothing(parts, head).await?.into());
    }
    Ok((first, end))
}

/// Whether an event is of a type, or of one that begins so.
pub(crate) fn is_of(event: &StoredEvent, kind: &str) -> bool {
    let rest = event.event_type.strip_prefix(kind);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

async fn page(parts: &Parts, tenant: Option<TenantId>, after: i64, limit: i64) -> Result<Vec<StoredEvent>, Failure> {
    Ok(match tenant {
        Some(tenant) => {
            parts
                .database
                .transact(Access::Read, &[tenant], move |connection| {
                    Box::pin(event_log::read_tenant_after(connection, tenant, after, limit))
                })
                .await?
        }
        None => {
            parts
                .database
                .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, after, limit)))
                .await?
        }
    })
}

/// The position of the first event that was recorded at `at` or later: positions and recorded times rise together.
async fn first_since(parts: &Parts, head: i64, at: Timestamp) -> Result<i64, Failure> {
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = i64::midpoint(low, high);
        if recorded_at(parts, middle).await? < at {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

async fn recorded_at(parts: &Parts, position: i64) -> Result<Timestamp, Failure> {
    let events = parts
        .database
        .transact_as_relay(move |connection| Box::pin(event_log::read_after(connection, position - 1, 1)))
        .await?;
    let event = events
        .first()
        .ok_or("the log ends earlier than its counter says: see `tenure verify`")?;
    Ok(event.recorded_at)
}

async fn nothing(parts: &Parts, head: i64) -> Result<String, Failure> {
    if head == 0 {
        return Ok("the log is empty: nothing has happened yet".to_owned());
    }
    Ok(format!(
        "nothing was recorded in that range: the log has events from {} to {}",
        recorded_at(parts, 1).await?.to_rfc3339(),
        recorded_at(parts, head).await?.to_rfc3339()
    ))
}

/// Keeps the distances between events, so many times shortened.
struct Pace {
    speed: Speed,
    /// When the first event was written here, and when it was recorded.
    began: Option<(tokio::time::Instant, Timestamp)>,
}

impl Pace {
    const fn new(speed: Speed) -> Self {
        Self { speed, began: None }
    }

    /// Events that are written together: at full speed all, else those that were recorded at the same moment.
    fn stretches<'e, 's>(&self, events: &'e [&'s StoredEvent]) -> Vec<&'e [&'s StoredEvent]> {
        match self.speed {
            Speed::Max => vec![events],
            Speed::Times(_) => events.chunk_by(|a, b| a.recorded_at == b.recorded_at).collect(),
        }
    }

    /// Waits until it is the events' turn.
    async fn wait(&mut self, events: &[&StoredEvent]) {
        let (Speed::Times(times), Some(first)) = (self.speed, events.first()) else {
            return;
        };
        let (began, recorded) = *self
            .began
            .get_or_insert((tokio::time::Instant::now(), first.recorded_at));
        let since = (first.recorded_at - recorded).to_std().unwrap_or_default();
        tokio::time::sleep_until(began + Duration::from_secs_f64(since.as_secs_f64() / times)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_with_all_of_it() {
        let day = Time::parse("2026-01-31").expect("a day");
        assert_eq!(day.begins().to_rfc3339(), "2026-01-31T00:00:00+00:00");
        assert_eq!(day.ends().to_rfc3339(), "2026-02-01T00:00:00+00:00");
        let moment = Time::parse("2026-01-31T01:00:00+01:00").expect("a moment");
        assert_eq!(moment.begins(), day.begins());
        assert!(Time::parse("yesterday").is_err());
    }

    #[test]
    fn targets_and_speeds_are_what_they_say() {
        assert_eq!(
            target("kafka:analysts.history"),
            Ok(Target::Kafka("analysts.history".to_owned()))
        );
        for wrong in [
            "kafka:tenure.events",
            "kafka:tenure.intake",
            "kafka:",
            "kafka:a b",
            "file",
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        assert_eq!(speed("1000x"), Ok(Speed::Times(1_000.0)));
        for wrong in ["fast", "0x", "-1x", "infx", "NaNx"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
