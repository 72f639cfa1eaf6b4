//! When within the day events arrive: the rush hours of real life, and a log that has them (prediction.md, section 5).
//!
//! The shares are the facts' design assumptions, not measurements.

use std::io::{self, Write};

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveTime, Offset, TimeDelta, Utc};
use domain::{Date, employee::Event, id::EmployeeId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{calendar, draw::Random, personal, scenario::Lived, week_of_year};
use crate::dataset::{History, Recorded};

/// The ISO week of the merit round.
pub const MERIT_WEEK: u32 = 10;
/// How busy each day is, from Monday on, against a working day like any other.
pub const WEEKDAY_WEIGHTS: [f64; 7] = [1.15, 1.06, 1.00, 0.95, 0.90, 0.03, 0.03];

const DAY_SECONDS: f64 = 24.0 * 60.0 * 60.0;
/// What sets the stream of arrivals apart from that of life.
const ARRIVALS: u64 = 0x7065_616b_7300_0002;

/// A day of the week, 0 for Monday, for a value in [0, 1).
pub(super) fn weekday(unit: f64) -> u64 {
    let mut left = unit * WEEKDAY_WEIGHTS.iter().sum::<f64>();
    for (day, weight) in (0..).zip(WEEKDAY_WEIGHTS) {
        if left < weight {
            return day;
        }
        left -= weight;
    }
    6
}

/// A part of what people do in the course of a day: normally distributed around a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rush {
    pub share: f64,
    pub around: NaiveTime,
    pub deviation_minutes: f64,
}

/// A time in which many events come in at once, evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    pub begins: NaiveTime,
    pub minutes: f64,
}

/// When events arrive within their day, in the tenant's own time.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    /// How far the tenant's time is ahead of UTC.
    pub utc_offset: FixedOffset,
    pub rushes: Vec<Rush>,
    /// The share that comes at any time of the working day, and that day.
    pub any_time: (f64, Burst),
    /// What is left of the shares: what systems tell at night. The first import too.
    pub night: Burst,
    /// All payslips of a month.
    pub payroll: Burst,
    /// All raises of a merit round.
    pub merit: Burst,
    /// The hours of the week before.
    pub timesheets: Burst,
}

impl Default for Peaks {
    /// As the facts have it, in UTC: 100,000 raises or payslips in ten minutes are 167 a second, 100,000 timesheets in an hour
    /// 28.
    fn default() -> Self {
        let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        let rush = |share, around, deviation_minutes| Rush {
            share,
            around,
            deviation_minutes,
        };
        let burst = |begins, minutes| Burst { begins, minutes };
        Self {
            utc_offset: Utc.fix(),
            rushes: vec![
                rush(0.35, at(9, 0), 35.0),
                rush(0.15, at(13, 15), 50.0),
                rush(0.20, at(17, 15), 40.0),
            ],
            any_time: (0.25, burst(at(9, 0), 9.0 * 60.0)),
            night: burst(at(2, 0), 30.0),
            payroll: burst(at(18, 0), 10.0),
            merit: burst(at(6, 0), 10.0),
            timesheets: burst(at(10, 0), 60.0),
        }
    }
}

/// What makes an event arrive when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody does something.
    Work,
    /// The history from before the product was connected.
    Import,
    MeritRound,
    Timesheets,
    Payroll,
}

impl Origin {
    /// Where an event comes from; `begins_on` is the day of the import.
    #[must_use]
    pub fn of(recorded: &Recorded, begins_on: Date) -> Self {
        let day = recorded.known_on;
        let is_merit_day = day.weekday() == chrono::Weekday::Mon && week_of_year(day) == MERIT_WEEK;
        if day == begins_on && recorded.event.effective_on() < begins_on {
            Self::Import
        } else if is_merit_day && matches!(recorded.event, Event::PayChanged(_)) {
            Self::MeritRound
        } else if matches!(recorded.event, Event::OvertimeRecorded(_)) {
            Self::Timesheets
        } else {
            Self::Work
        }
    }
}

impl Peaks {
    /// The time of day at which something arrives, to the millisecond.
    #[must_use]
    pub fn time_of_day(&self, origin: Origin, random: &mut Random) -> NaiveTime {
        let seconds = match origin {
            Origin::Work => self.working_time(random),
            Origin::Import => within(self.night, random),
            Origin::MeritRound => within(self.merit, random),
            Origin::Timesheets => within(self.timesheets, random),
            Origin::Payroll => within(self.payroll, random),
        };
        let milliseconds = (seconds.clamp(0.0, DAY_SECONDS - 1.0) * 1_000.0) as i64;
        NaiveTime::MIN + TimeDelta::milliseconds(milliseconds)
    }

    fn working_time(&self, random: &mut Random) -> f64 {
        let mut left = random.unit();
        for rush in &self.rushes {
            if left < rush.share {
                return seconds(rush.around) + 60.0 * rush.deviation_minutes * random.normal();
            }
            left -= rush.share;
        }
        let (share, day) = self.any_time;
        within(if left < share { day } else { self.night }, random)
    }

    fn moment(&self, day: Date, origin: Origin, random: &mut Random) -> DateTime<FixedOffset> {
        let local = day.and_time(self.time_of_day(origin, random));
        let utc = local - TimeDelta::seconds(i64::from(self.utc_offset.local_minus_utc()));
        DateTime::from_naive_utc_and_offset(utc, self.utc_offset)
    }
}

fn seconds(time: NaiveTime) -> f64 {
    (time - NaiveTime::MIN).num_milliseconds() as f64 / 1_000.0
}

fn within(burst: Burst, random: &mut Random) -> f64 {
    seconds(burst.begins) + 60.0 * burst.minutes * random.unit()
}

/// How a life is written as a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    pub seed: u64,
    pub peaks: Peaks,
    /// Adds a payslip for everybody at the end of each month, as a field that the source keeps (`payslip`).
    pub payslips: bool,
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// The same for an event that is told twice.
    pub id: String,
    pub employee: EmployeeId,
    /// When it became known.
    pub recorded_at: DateTime<FixedOffset>,
    /// As the log has it, such as `employee.pay-changed`.
    pub event_type: String,
    /// The event's own serialisation; personal values are marked.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// What stands where in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// When it is written, in milliseconds: not before what was told of the same person before it.
    at: i64,
    person: u32,
    what: What,
    recorded_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Event(u32),
    Payslip(Date),
}

impl Lived {
    /// The log as JSON lines, in the order of arrival; tells how many there are. The same life and export make the same bytes.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_lines(
        &self,
        export: &Export,
        out: &mut impl Write,
        progress: &mut dyn FnMut(usize, usize),
    ) -> io::Result<usize> {
        let originals = self.planted.iter().filter_map(|planted| {
            let of = planted.of.filter(|_| planted.trap == super::Trap::Duplicates)?;
            Some(((planted.person, planted.event), of))
        });
        let originals: std::collections::HashMap<(usize, usize), usize> = originals.collect();
        let mut entries = self.entries(export);
        entries.sort_unstable();
        for (done, entry) in entries.iter().enumerate() {
            if done % 65_536 == 0 {
                progress(done, entries.len());
            }
            let person = entry.person as usize;
            let history = &self.histories[person];
            let (id, payslip, recorded);
            match entry.what {
                What::Event(event) => {
                    let event = event as usize;
                    recorded = &history.events[event].event;
                    let number = originals.get(&(person, event)).copied().unwrap_or(event);
                    id = format!("{}/{number}", history.employee);
                }
                What::Payslip(month) => {
                    payslip = payslip_of(month);
                    recorded = &payslip;
                    id = format!("{}/payslip/{month}", history.employee);
                }
            }
            let recorded_at = moment_at(entry.recorded_at, export.peaks.utc_offset);
            write_line(id, history.employee, recorded_at, recorded, out)?;
        }
        progress(entries.len(), entries.len());
        Ok(entries.len())
    }

    fn entries(&self, export: &Export) -> Vec<Entry> {
        let mut random = Random::seeded(export.seed ^ ARRIVALS);
        let mut entries = Vec::with_capacity(self.histories.iter().map(|history| history.events.len()).sum());
        for (person, history) in (0..).zip(&self.histories) {
            let (mut latest, mut latest_day) = (i64::MIN, Date::MIN);
            for (event, recorded) in (0..).zip(&history.events) {
                let origin = Origin::of(recorded, self.begins_on);
                let drawn = export.peaks.moment(recorded.known_on, origin, &mut random);
                let drawn = drawn.timestamp_millis();
                // What is told later on a day comes later in it; only what is out of order by days stays so.
                let recorded_at = if recorded.known_on < latest_day {
                    drawn
                } else {
                    drawn.max(latest)
                };
                (latest, latest_day) = (latest.max(recorded_at), latest_day.max(recorded.known_on));
                entries.push(Entry {
                    at: latest,
                    person,
                    what: What::Event(event),
                    recorded_at,
                });
            }
            if export.payslips {
                for month in paydays(history, self.begins_on, self.until) {
                    let at = export
                        .peaks
                        .moment(month, Origin::Payroll, &mut random)
                        .timestamp_millis();
                    entries.push(Entry {
                        at,
                        person,
                        what: What::Payslip(month),
                        recorded_at: at,
                    });
                }
            }
        }
        entries
    }
}

fn write_line(
    id: String,
    employee: EmployeeId,
    recorded_at: DateTime<FixedOffset>,
    event: &Event,
    out: &mut impl Write,
) -> io::Result<()> {
    /// How the domain writes an event.
    #[derive(Deserialize)]
    struct Tagged<'a> {
        #[serde(rename = "type")]
        name: &'a str,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let text = serde_json::to_string(event)?;
    let tagged: Tagged<'_> = serde_json::from_str(&text)?;
    let line = Line {
        id,
        employee,
        recorded_at,
        event_type: format!("employee.{}", tagged.name),
        data: tagged.data,
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

fn moment_at(milliseconds: i64, offset: FixedOffset) -> DateTime<FixedOffset> {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or_default()
        .with_timezone(&offset)
}

fn payslip_of(month: Date) -> Event {
    let fields = std::collections::BTreeMap::from([("payslip".to_owned(), month.format("%Y-%m").to_string())]);
    Event::SourceFieldsKept {
        fields: personal(fields),
        on: month,
    }
}

/// The last working days of the months at whose end somebody works here.
fn paydays(history: &History, begins_on: Date, until: Date) -> Vec<Date> {
    let mut changes: Vec<(Date, bool)> = Vec::new();
    for recorded in &history.events {
        let on = recorded.event.effective_on();
        if matches!(recorded.event, Event::Hired(_) | Event::Rehired { .. }) {
            changes.push((on, true));
        } else if matches!(recorded.event, Event::Terminated(_)) {
            changes.push((on, false));
        }
    }
    changes.sort_unstable();
    let mut days = Vec::new();
    let mut end = calendar::month_end(begins_on);
    while end <= until {
        let before = changes.partition_point(|(on, _)| *on <= end);
        if before > 0 && changes[before - 1].1 {
            let weekend = u64::from(end.weekday().num_days_from_monday().saturating_sub(4));
            days.push(end - Days::new(weekend));
        }
        end = calendar::month_end(end + Days::new(1));
    }
    days
}

#[cfg(test)]
mod tests;
