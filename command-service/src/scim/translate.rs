//! What an account says of an employment, in the domain's words.
//!
//! An account is no employment: SCIM knows neither the first day of one nor its end. Both come in Tenure's extension
//! ([`EMPLOYMENT`](super::schema::EMPLOYMENT)). Without a first day an account stays an account, because a first day that is made up
//! would be a lie in every length of service; and so does one that is first seen when it is switched off already and says no last day.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime};
use domain::{
    Date, Personal,
    employee::{DAYS_AHEAD_MAX, Ended, Job, Rows, Said, Snapshot, Source, Standing, Voluntariness, WeeklyMinutes},
    id::EmployeeId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    problem::ScimProblem,
    schema::{EMPLOYMENT, ENTERPRISE, Object},
};

/// An account as it is kept, with what was concluded from it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub resource: Object,
    /// The day on which it was first seen.
    seen: Date,
    /// Whether it was switched off then.
    began_off: bool,
    /// The first day of the employment, as it was said first and last, and the day on which it was said last.
    first_start: Option<Date>,
    start: Option<Date>,
    start_said: Date,
    turns: Vec<Turn>,
    /// Whether it has become an employee.
    pub is_employee: bool,
}

/// An account was switched off, or on again.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    /// The first day on which it is so.
    on: Date,
    active: bool,
    /// The day on which we were told: what is taken back on the same day never was.
    told: Date,
}

/// Whom an account names as its manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    Nobody,
    Is(EmployeeId),
    /// Somebody whom we do not know yet: nothing is said.
    Unknown,
}

/// A day, or a moment's day where it was said.
#[must_use]
pub fn day(text: &str) -> Option<Date> {
    let text = text.trim();
    (text.parse().ok())
        .or_else(|| DateTime::parse_from_rfc3339(text).map(|at| at.date_naive()).ok())
        .or_else(|| text.parse::<NaiveDateTime>().map(|at| at.date()).ok())
}

impl Account {
    /// An account that is new, or that is changed to `resource`.
    ///
    /// # Errors
    /// When the days or hours contradict themselves.
    pub fn told(known: Option<&Self>, resource: Object, today: Date) -> Result<Self, ScimProblem> {
        let (start, end) = (moment(&resource, "startDate"), moment(&resource, "endDate"));
        if start.is_some_and(|start| (start - today).num_days() > DAYS_AHEAD_MAX) {
            let text = format!("startDate is more than {DAYS_AHEAD_MAX} days ahead");
            return Err(ScimProblem::bad("invalidValue", text));
        }
        // Of somebody who comes back, the end of the earlier employment may still stand there.
        let is_new = known.is_none_or(|known| !known.is_employee);
        if let (true, Some(start), Some(end)) = (is_new, start, end)
            && end < start
        {
            let text = "endDate, the last day of the employment, is before startDate, its first";
            return Err(ScimProblem::bad("invalidValue", text));
        }
        if hours(&resource).is_some_and(|minutes| !(0.0..=168.0 * 60.0).contains(&minutes)) {
            return Err(ScimProblem::bad(
                "invalidValue",
                "weeklyHours is to lie between 0 and 168",
            ));
        }
        let is_active = resource.get("active") != Some(&Value::Bool(false));
        let known_start = known.and_then(|known| known.start);
        let mut account = Self {
            seen: known.map_or(today, |known| known.seen),
            began_off: known.map_or(!is_active, |known| known.began_off),
            first_start: known.and_then(|known| known.first_start).or(start),
            start: start.or(known_start),
            start_said: match known {
                Some(known) if start.is_none() || start == known_start => known.start_said,
                Some(_) | None => today,
            },
            turns: known.map(|known| known.turns.clone()).unwrap_or_default(),
            is_employee: known.is_some_and(|known| known.is_employee),
            resource,
        };
        account.turn(is_active, today);
        account.is_employee |= account.start.is_some() && (is_active || end.is_some());
        Ok(account)
    }

    /// The account is deleted: its employment ends, if it has not. Somebody who never began was never here, which is answered, too.
    #[must_use]
    pub fn deleted(mut self, today: Date) -> Option<(Self, bool)> {
        let was_active = self.is_on();
        let never_began = self.first_start.is_some_and(|start| start > today);
        self.turn(false, today);
        // Nobody will tell on the day that was planned.
        let planned = self.turns.last_mut().filter(|turn| !turn.active && turn.on > today);
        let was_planned = planned.is_some();
        if let Some(turn) = planned {
            turn.on = today;
        }
        (self.is_employee && (was_active || was_planned || never_began)).then_some((self, never_began))
    }

    fn is_on(&self) -> bool {
        self.turns.last().is_none_or(|turn| turn.active)
    }

    /// The first day of what lasts now.
    fn since(&self) -> Option<Date> {
        let on = self.turns.iter().rfind(|turn| turn.active).map(|turn| turn.on);
        on.max(self.start)
    }

    /// The first day after the employment; none if it says an end of an earlier one.
    fn end(&self) -> Option<Date> {
        let end = moment(&self.resource, "endDate")?.succ_opt()?;
        // 9999-12-31 is no end.
        let is_far = (end - self.seen).num_days() > DAYS_AHEAD_MAX;
        Some(end).filter(|end| !is_far && self.since().is_none_or(|since| *end > since))
    }

    fn turn(&mut self, active: bool, today: Date) {
        let end = self.end();
        let turn = Turn {
            on: end.filter(|_| !active).unwrap_or(today),
            active,
            told: today,
        };
        match self.turns.last_mut() {
            Some(last) if last.active == active => {
                // A last day that was corrected; one of an earlier employment says nothing.
                if let (false, Some(end)) = (active, end) {
                    last.on = end;
                }
            }
            None if active => {}
            Some(last) if last.told == today || last.on > today => drop(self.turns.pop()),
            Some(_) | None => self.turns.push(turn),
        }
    }

    fn standing(&self, start: Date) -> Rows<Standing> {
        let ended = || Standing::Ended(Ended::new(Voluntariness::Unknown, None));
        // An account is often made switched off, for the first day; and so is the one of somebody who will come back. One that is
        // switched off after that was said, and before that day, never begins.
        let is_made_off =
            |turn: &Turn| self.began_off && !turn.active && turn.told == self.seen && turn.on == self.seen;
        let is_waiting =
            |turn: &Turn| is_made_off(turn) || (!turn.active && turn.on <= start && turn.told < self.start_said);
        let early = self.turns.iter().rfind(|turn| turn.on <= start);
        let mut is_working = early.is_none_or(|turn| turn.active || is_waiting(turn));
        let mut known = vec![(start, if is_working { Standing::Working } else { ended() })];
        for turn in self.turns.iter().filter(|turn| turn.on > start && !is_made_off(turn)) {
            if turn.active == is_working {
                continue;
            }
            is_working = turn.active;
            known.push((turn.on, if is_working { Standing::Working } else { ended() }));
        }
        if is_working && let Some(end) = self.end() {
            known.push((end, ended()));
        }
        Rows::all(known)
    }

    /// The next day on which it says something else of an employee.
    #[must_use]
    pub fn next_day(&self, today: Date) -> Option<Date> {
        let start = self.start.filter(|_| self.is_employee)?;
        let days = self.standing(start).known.into_iter().map(|(day, _)| day);
        days.filter(|day| *day > today).min()
    }

    /// The first day of the employment.
    #[must_use]
    pub const fn start(&self) -> Option<Date> {
        self.start
    }

    /// What it says of an employee, if it is one.
    #[must_use]
    pub fn snapshot(&self, source: Source, manager: Manager, today: Date) -> Option<Snapshot> {
        let start = self.start.filter(|_| self.is_employee)?;
        let mut snapshot = Snapshot::silent(source, today);
        snapshot.hired_on = Some(start);
        snapshot.standing = self.standing(start);
        self.say_person(&mut snapshot);
        // Of whoever has not begun, it is said from the first day on.
        let from = today.max(start);
        let enterprise = |name: &str| text(self.resource.get(ENTERPRISE), name);
        let work = picked(&self.resource, "addresses", "work");
        snapshot.jobs = Rows::current(
            from,
            Job {
                title: self.text("title"),
                department: enterprise("department"),
                division: enterprise("division"),
                location: work.and_then(|address| text(Some(address), "locality")),
            },
        );
        match manager {
            Manager::Nobody => snapshot.managers = Rows::current(from, None),
            Manager::Is(manager) => snapshot.managers = Rows::current(from, Some(manager)),
            Manager::Unknown => {}
        }
        if let Some(minutes) = hours(&self.resource) {
            snapshot.hours = Rows::current(from, WeeklyMinutes(minutes as u16));
        }
        Some(snapshot)
    }

    fn say_person(&self, snapshot: &mut Snapshot) {
        let said = |value: Option<String>| -> Said<String> { Some(value) };
        let name = self.resource.get("name");
        let (first, last) = (text(name, "givenName"), text(name, "familyName"));
        // A whole name that nobody has taken apart is not taken apart here.
        let whole = || self.text("displayName").or_else(|| text(name, "formatted"));
        let last = if first.is_none() { last.or_else(whole) } else { last };
        snapshot.say_name(said(first), said(last), said(self.text("nickName")));
        let number = |kind| exactly(&self.resource, "phoneNumbers", kind).and_then(|one| text(Some(one), "value"));
        snapshot.say_contact(said(self.email()), said(number("work")), said(number("mobile")));
        let core = [
            "userName",
            "externalId",
            "userType",
            "preferredLanguage",
            "locale",
            "timezone",
        ];
        let enterprise = ["employeeNumber", "costCenter", "organization"];
        let core = core.into_iter().map(|name| (name, self.text(name)));
        let more = enterprise
            .into_iter()
            .map(|name| (name, text(self.resource.get(ENTERPRISE), name)));
        let other: BTreeMap<String, String> = (core.chain(more))
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        snapshot.other = Some(Personal::Open(other));
    }

    fn text(&self, name: &str) -> Option<String> {
        said_text(self.resource.get(name))
    }

    /// The address at work.
    #[must_use]
    pub fn email(&self) -> Option<String> {
        picked(&self.resource, "emails", "work").and_then(|one| text(Some(one), "value"))
    }

    /// Whom it names as manager, in whatever way.
    #[must_use]
    pub fn manager(&self) -> Option<String> {
        text(self.resource.get(ENTERPRISE)?.get("manager"), "value")
    }
}

fn said_text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn text(object: Option<&Value>, name: &str) -> Option<String> {
    said_text(object?.get(name))
}

fn moment(resource: &Object, name: &str) -> Option<Date> {
    day(&text(resource.get(EMPLOYMENT), name)?)
}

/// Minutes of work in a week.
fn hours(resource: &Object) -> Option<f64> {
    let hours = resource.get(EMPLOYMENT)?.get("weeklyHours")?.as_f64()?;
    Some((hours * 60.0).round())
}

/// The value of a type.
fn exactly<'a>(resource: &'a Object, name: &str, kind: &str) -> Option<&'a Value> {
    let values = resource.get(name)?.as_array()?;
    values.iter().find(|value| {
        value["type"]
            .as_str()
            .is_some_and(|word| word.eq_ignore_ascii_case(kind))
    })
}

/// The value of a type, else the primary one.
fn picked<'a>(resource: &'a Object, name: &str, kind: &str) -> Option<&'a Value> {
    exactly(resource, name, kind).or_else(|| {
        let values = resource.get(name)?.as_array()?;
        values.iter().find(|value| value["primary"] == Value::Bool(true))
    })
}

#[cfg(test)]
mod tests {
    use domain::{
        Aggregate,
        employee::{Command, Employee, Event},
        id::{ConnectionId, TenantId},
    };
    use serde_json::json;

    use super::*;

    fn on(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn source() -> Source {
        let tenant: TenantId = "00000000-0000-0000-0000-000000000007".parse().expect("an id");
        Source {
            connection: ConnectionId::derive(tenant, "scim", "okta"),
            remote_id: "42".into(),
        }
    }

    fn resource(active: bool, employment: Value) -> Object {
        let resource = json!({"userName": "ada", "active": active, "title": "Cashier", "name": {"givenName": "Ada", "familyName": "Rossi"},
            ENTERPRISE: {"department": "Sales"}, EMPLOYMENT: employment});
        resource.as_object().expect("an object").clone()
    }

    /// What the log says after each of the days on which an account was told.
    #[track_caller]
    fn history(told: &[(&str, Object)]) -> Vec<String> {
        let (mut account, mut employee, mut all) = (None, Employee::default(), Vec::new());
        for (today, resource) in told {
            let today = on(today);
            let next = Account::told(account.as_ref(), resource.clone(), today).expect("an account");
            if let Some(snapshot) = next.snapshot(source(), Manager::Unknown, today) {
                let command = || Command::Synchronise(Box::new(snapshot.clone()));
                let events = employee.decide(command(), today).expect("accepted");
                for event in &events {
                    employee = employee.evolve(event);
                    all.push(format!("{} {}", word(event), event.effective_on()));
                }
                assert_eq!(
                    employee.decide(command(), today).as_deref(),
                    Ok(&[][..]),
                    "again it is no news"
                );
            }
            account = Some(next);
        }
        all
    }

    fn word(event: &Event) -> &'static str {
        match event {
            Event::Hired(_) => "hired",
            Event::Rehired { .. } => "rehired",
            Event::Terminated { .. } => "terminated",
            Event::NoticeGiven { .. } => "notice",
            Event::Transferred(_) => "transferred",
            Event::Promoted(_) => "promoted",
            _ => "other",
        }
    }

    #[test]
    fn an_account_without_a_first_day_is_no_employee() {
        assert_eq!(
            history(&[("2026-03-01", resource(true, json!({})))]),
            Vec::<String>::new()
        );
        let begun = history(&[
            ("2026-03-01", resource(true, json!({}))),
            (
                "2026-03-05",
                resource(true, json!({"startDate": "2024-03-01T00:00:00Z"})),
            ),
        ]);
        assert_eq!(begun[0], "hired 2024-03-01");
    }

    #[test]
    fn what_changes_changes_on_its_day_and_once() {
        let start = json!({"startDate": "2024-03-01"});
        let mut moved = resource(true, start.clone());
        moved[ENTERPRISE]["department"] = json!("Stores");
        let told = history(&[
            ("2026-03-01", resource(true, start.clone())),
            ("2026-03-02", resource(true, start)),
            ("2026-03-09", moved.clone()),
            ("2026-03-10", moved),
        ]);
        let moves: Vec<&String> = told.iter().filter(|event| event.starts_with("transferred")).collect();
        assert_eq!((told[0].as_str(), moves.len()), ("hired 2024-03-01", 1), "{told:?}");
        assert_eq!(moves[0], "transferred 2026-03-09");
    }

    fn standings(told: &[(&str, bool, Value)]) -> Vec<String> {
        let told: Vec<(&str, Object)> = (told.iter())
            .map(|(today, active, employment)| (*today, resource(*active, employment.clone())))
            .collect();
        let events = history(&told);
        events.into_iter().filter(|event| !event.starts_with("other")).collect()
    }

    #[test]
    fn switching_off_ends_and_switching_on_begins_again() {
        let start = json!({"startDate": "2024-03-01"});
        let end = json!({"startDate": "2024-03-01", "endDate": "2026-03-31"});
        // Without a last day, the day on which it was told is the first after it.
        assert_eq!(
            standings(&[
                ("2026-03-01", true, start.clone()),
                ("2026-03-09", false, start.clone()),
                ("2026-05-01", true, start.clone())
            ]),
            ["hired 2024-03-01", "terminated 2026-03-09", "rehired 2026-05-01"]
        );
        // With one, that day counts, whenever the account is switched off.
        for off in ["2026-03-20", "2026-04-15"] {
            let told = standings(&[
                ("2026-03-01", true, start.clone()),
                ("2026-03-05", true, end.clone()),
                (off, false, end.clone()),
                ("2026-04-20", false, end.clone()),
            ]);
            let ends: Vec<&String> = told.iter().filter(|event| event.starts_with("terminated")).collect();
            assert!(
                ends.len() <= 1 && told.iter().any(|event| event.ends_with("2026-04-01")),
                "{off}: {told:?}"
            );
        }
        // A slip that is mended on the same day never was.
        let told = standings(&[
            ("2026-03-01", true, start.clone()),
            ("2026-03-09", false, start.clone()),
            ("2026-03-09", true, start.clone()),
        ]);
        assert!(!told.iter().any(|event| event == "rehired 2026-03-09"), "{told:?}");
        // Switched off until the first day.
        let ahead = json!({"startDate": "2026-04-01", "endDate": "2027-03-31"});
        let told = standings(&[("2026-03-01", false, ahead.clone()), ("2026-04-01", true, ahead)]);
        assert!(
            !told
                .iter()
                .any(|event| event.starts_with("terminated") || event.starts_with("rehired")),
            "{told:?}"
        );
        // Switched off again before the first day: nobody will come.
        let ahead = json!({"startDate": "2026-04-01"});
        let told = standings(&[("2026-03-01", true, ahead.clone()), ("2026-03-10", false, ahead)]);
        assert_eq!(told, ["hired 2026-04-01", "notice 2026-03-10"]);
        // Off when it is first seen, and nobody says since when.
        assert_eq!(standings(&[("2026-03-01", false, start.clone())]), Vec::<String>::new());
        assert_eq!(
            standings(&[("2026-05-01", false, end.clone())]),
            ["hired 2024-03-01", "terminated 2026-04-01"]
        );
        // An end of an earlier employment ends no later one.
        let told = standings(&[
            ("2026-03-01", true, end.clone()),
            ("2026-04-15", false, end.clone()),
            ("2026-06-01", true, end.clone()),
            ("2026-09-01", false, end.clone()),
            ("2026-09-20", false, end),
        ]);
        assert_eq!(
            told.last().map(String::as_str),
            Some("terminated 2026-09-01"),
            "{told:?}"
        );
    }

    #[test]
    fn what_was_made_switched_off_or_comes_back_never_left() {
        // Made switched off for somebody who works here already, and switched on a few days later.
        let start = json!({"startDate": "2026-03-01"});
        let made_off = [
            ("2026-03-02", false, start.clone()),
            ("2026-03-05", true, start.clone()),
        ];
        assert_eq!(standings(&made_off), ["hired 2026-03-01"]);
        // Switched off on the day on which it was made.
        let ahead = json!({"startDate": "2026-04-01"});
        let slip = [
            ("2026-03-01", true, ahead.clone()),
            ("2026-03-01", false, ahead.clone()),
        ];
        assert_eq!(standings(&slip), ["hired 2026-04-01", "notice 2026-03-01"]);
        // Somebody who left comes back, while the end of the earlier employment still stands there.
        let back = json!({"startDate": "2026-03-01", "endDate": "2024-05-31"});
        let told = standings(&[
            ("2023-01-10", true, json!({"startDate": "2020-02-01"})),
            (
                "2024-06-01",
                false,
                json!({"startDate": "2020-02-01", "endDate": "2024-05-31"}),
            ),
            ("2026-02-01", false, back.clone()),
            ("2026-03-01", true, back),
        ]);
        assert_eq!(
            told,
            ["hired 2020-02-01", "terminated 2024-06-01", "rehired 2026-03-01"]
        );
        // An end that is none.
        let open = json!({"startDate": "2026-03-01", "endDate": "9999-12-31"});
        assert_eq!(standings(&[("2026-03-02", true, open)]), ["hired 2026-03-01"]);
    }

    #[test]
    fn an_ending_is_told_again_on_its_day() {
        let end = json!({"startDate": "2024-03-01", "endDate": "2026-03-31"});
        let account = Account::told(None, resource(true, end.clone()), on("2026-03-01")).expect("an account");
        assert_eq!(account.next_day(on("2026-03-01")), Some(on("2026-04-01")));
        assert_eq!(account.next_day(on("2026-04-01")), None);
        let told = standings(&[("2026-03-01", true, end.clone()), ("2026-04-01", true, end)]);
        assert_eq!(told, ["hired 2024-03-01", "notice 2026-03-01", "terminated 2026-04-01"]);
    }

    #[test]
    fn deleting_ends_what_lasts_and_unmakes_what_never_began() {
        let told = |active, start: &str, end: &str| {
            let employment = json!({"startDate": start, "endDate": end});
            Account::told(None, resource(active, employment), on("2026-03-01")).expect("an account")
        };
        let today = on("2026-03-02");
        let (_, never_began) = told(true, "2026-04-01", "2030-01-01").deleted(today).expect("news");
        assert!(never_began);
        for active in [true, false] {
            let (account, never_began) = told(active, "2024-04-01", "2030-01-01").deleted(today).expect("news");
            assert!(!never_began);
            let snapshot = account
                .snapshot(source(), Manager::Unknown, today)
                .expect("an employee");
            let last = snapshot.standing.known.last().expect("a row");
            assert!(
                last.0 == today && matches!(last.1, Standing::Ended(_)),
                "nobody can tell it later: {last:?}"
            );
        }
        assert!(
            told(false, "2024-04-01", "2026-01-01").deleted(today).is_none(),
            "it has ended already"
        );
        let account = Account::told(None, resource(true, json!({})), on("2026-03-01")).expect("an account");
        assert!(account.deleted(today).is_none(), "no employee");
    }

    #[test]
    fn days_and_hours_that_contradict_themselves_are_refused() {
        for employment in [
            json!({"startDate": "2026-03-01", "endDate": "2026-02-01"}),
            json!({"startDate": "2206-03-01"}),
            json!({"weeklyHours": 169}),
            json!({"weeklyHours": -1}),
        ] {
            let refused = Account::told(None, resource(true, employment.clone()), on("2026-03-01"));
            assert_eq!(
                refused.err().and_then(|problem| problem.kind),
                Some("invalidValue"),
                "{employment}"
            );
        }
        assert_eq!(
            day("2026-03-01T23:30:00-08:00"),
            Some(on("2026-03-01")),
            "as it was said there"
        );
    }
}
