//! What one person's own stream says of teams: when they worked for whom, and when they left. Pure.

use domain::{
    Date, Dated,
    employee::{Event, Relation},
    id::EmployeeId,
};
use infra::{
    read_model::FOR_EVER,
    teams::{Exit, Membership},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A fact, and whether it is imported history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Known<T> {
    is: T,
    backfill: bool,
}

/// Whether somebody works here from a day on; who is on leave does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Employed,
    Ended,
    /// The source deleted the record, which is no exit.
    Deleted,
}

/// The fold over one person's events.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    standing: Dated<Known<Standing>>,
    managers: Dated<Known<Option<EmployeeId>>>,
    /// The notice that is given and not withdrawn, by its day.
    notice: Option<Known<Date>>,
    /// Notices after which the employment ended, by the first day without it.
    notices_kept: BTreeMap<Date, Known<Date>>,
}

/// The part of one employment in which nothing about it changes.
struct Stretch {
    from: Date,
    /// Exclusive.
    to: Date,
    backfill: bool,
}

impl Facts {
    /// Takes in an event, in the order of the stream. Tells whether it says anything about teams.
    pub fn take(&mut self, event: &Event, backfill: bool) -> bool {
        let known = |is| Known { is, backfill };
        let on = event.effective_on();
        match event {
            Event::Hired(hired) => {
                *self = Self::default();
                self.standing.set(on, known(Standing::Employed));
                self.managers.set(
                    on,
                    Known {
                        is: hired.manager,
                        backfill,
                    },
                );
            }
            Event::Rehired { .. } => {
                self.standing.set(on, known(Standing::Employed));
                self.notice = None;
            }
            Event::LeaveStarted { .. } | Event::LeaveEnded { .. } => self.standing.set(on, known(Standing::Employed)),
            Event::Terminated(_) => {
                self.standing.set(on, known(Standing::Ended));
                if let Some(notice) = self.notice.take().filter(|notice| notice.is <= on) {
                    self.notices_kept.insert(on, notice);
                }
            }
            Event::TerminationReversed { .. } => {
                self.standing.set(on, known(Standing::Employed));
                self.notices_kept.remove(&on);
                self.notice = None;
            }
            Event::SourceRecordDeleted { .. } => self.standing.set(on, known(Standing::Deleted)),
            Event::ManagerChanged { to, .. } => self.managers.set(on, Known { is: *to, backfill }),
            // A revised notice keeps its day.
            Event::NoticeGiven(_) => {
                let earlier = self.notice.filter(|notice| notice.is <= on);
                self.notice = Some(earlier.unwrap_or(Known { is: on, backfill }));
            }
            Event::NoticeWithdrawn { .. } => self.notice = None,
            Event::Transferred(_)
            | Event::Promoted(_)
            | Event::PayChanged(_)
            | Event::HoursChanged { .. }
            | Event::ContactChanged { .. }
            | Event::DemographicsChanged { .. }
            | Event::SourceFieldsKept { .. }
            | Event::AssessmentCompleted(_)
            | Event::ReviewRecorded(_)
            | Event::SurveyAnswered(_)
            | Event::RecognitionGiven(_)
            | Event::AbsenceRecorded(_)
            | Event::OvertimeRecorded(_)
            | Event::NoteWritten(_)
            | Event::ScoringObjected(_)
            | Event::ScoringObjectionWithdrawn(_)
            | Event::ColleagueLeft(_)
            | Event::ColleagueStayed(_)
            // Only ids and dates are kept here; what was told of an exit stays true.
            | Event::Erased(_) => return false,
        }
        true
    }

    /// Whether an event says anything about teams.
    #[must_use]
    pub fn concern(event: &Event) -> bool {
        Self::default().take(event, false)
    }

    fn stretches(&self) -> Vec<Stretch> {
        let facts: Vec<(Date, &Known<Standing>)> = self.standing.facts().collect();
        let ends = facts.iter().skip(1).map(|(day, _)| *day).chain([FOR_EVER]);
        facts
            .iter()
            .zip(ends)
            .filter(|((_, standing), _)| standing.is == Standing::Employed)
            .map(|((from, standing), to)| Stretch {
                from: *from,
                to,
                backfill: standing.backfill,
            })
            .collect()
    }

    /// For whom the person worked, and when. Known as imported history only if both the employment and the manager are.
    #[must_use]
    pub fn memberships(&self) -> Vec<Membership> {
        let managers: Vec<(Date, &Known<Option<EmployeeId>>)> = self.managers.facts().collect();
        let ends = managers.iter().skip(1).map(|(day, _)| *day).chain([FOR_EVER]);
        let managed: Vec<(Date, Date, &Known<Option<EmployeeId>>)> = managers
            .iter()
            .zip(ends)
            .map(|((from, manager), to)| (*from, to, *manager))
            .collect();
        let mut memberships: Vec<Membership> = Vec::new();
        for stretch in self.stretches() {
            for (from, to, manager) in &managed {
                let (from_on, to_on) = (stretch.from.max(*from), stretch.to.min(*to));
                let Some(team) = manager.is.filter(|_| from_on < to_on) else {
                    continue;
                };
                let next = Membership {
                    team: team.uuid(),
                    from_on,
                    to_on,
                    backfill: stretch.backfill && manager.backfill,
                };
                match memberships.last_mut() {
                    Some(last) if (last.to_on, last.team, last.backfill) == (from_on, next.team, next.backfill) => {
                        last.to_on = to_on;
                    }
                    Some(_) | None => memberships.push(next),
                }
            }
        }
        memberships
    }

    /// The exits of the employee `who`, one for each employment that ended or is to end: on the day of the notice, or on the first
    /// day away where there was none. Each is told to the team that the person was of on that day, and to the one that they led.
    #[must_use]
    pub fn exits(&self, who: EmployeeId) -> Vec<Exit> {
        let mut exits = Vec::new();
        for left in self.left_on() {
            let exit = |relation, team: EmployeeId, backfill| Exit {
                exit_on: left.is,
                relation,
                team: team.uuid(),
                backfill,
            };
            exits.push(exit(Relation::Manager, who, left.backfill));
            if let Some(manager) = self.managers.at(left.is)
                && let Some(team) = manager.is.filter(|manager| *manager != who)
            {
                exits.push(exit(Relation::Peer, team, left.backfill && manager.backfill));
            }
        }
        exits
    }

    fn left_on(&self) -> Vec<Known<Date>> {
        let mut since = None;
        let mut left = Vec::new();
        for (day, standing) in self.standing.facts() {
            match (standing.is, since) {
                (Standing::Employed, _) => since = since.or(Some(day)),
                (Standing::Ended | Standing::Deleted, None) => {}
                (Standing::Ended, Some(from)) => {
                    let end = Known {
                        is: day,
                        backfill: standing.backfill,
                    };
                    left.push(self.notice_between(from, day).unwrap_or(end));
                    since = None;
                }
                (Standing::Deleted, Some(from)) => {
                    left.extend(self.notice_between(from, day));
                    since = None;
                }
            }
        }
        left.extend(since.and_then(|from| self.notice_between(from, FOR_EVER)));
        left
    }

    /// The first notice given from `from` to before `to`.
    fn notice_between(&self, from: Date, to: Date) -> Option<Known<Date>> {
        let notices = self.notices_kept.values().chain(&self.notice).copied();
        let within = notices.filter(|notice| (from..to).contains(&notice.is));
        within.min_by_key(|notice| notice.is)
    }
}

#[cfg(test)]
mod tests {
    use domain::employee::{Ended, Ending, GiveNotice, Hired, Job, Voluntariness};
    use uuid::Uuid;

    use super::*;

    fn on(month: u32, day: u32) -> Date {
        Date::from_ymd_opt(2025, month, day).expect("a day")
    }

    fn person(number: u128) -> EmployeeId {
        EmployeeId::from_uuid(Uuid::from_u128(number))
    }

    fn me() -> EmployeeId {
        person(1)
    }

    fn hired(manager: u128) -> Event {
        Event::Hired(Hired {
            on: on(1, 1),
            source: None,
            name: Default::default(),
            contact: Default::default(),
            job: Job::default(),
            manager: Some(person(manager)),
            pay: None,
            hours: None,
        })
    }

    fn notice(day: Date) -> Event {
        Event::NoticeGiven(GiveNotice {
            on: day,
            last_day: None,
            voluntariness: Voluntariness::Voluntary,
        })
    }

    fn terminated(day: Date) -> Event {
        Event::Terminated(Ending {
            on: day,
            ended: Ended::new(Voluntariness::Unknown, None),
        })
    }

    fn moved_to(manager: Option<u128>, day: Date) -> Event {
        Event::ManagerChanged {
            from: None,
            to: manager.map(person),
            on: day,
        }
    }

    fn facts(events: &[Event]) -> Facts {
        let mut facts = Facts::default();
        for event in events {
            assert!(facts.take(event, true));
        }
        facts
    }

    fn exits(events: &[Event]) -> Vec<(Date, Relation, u128)> {
        let exits = facts(events).exits(me());
        exits
            .iter()
            .map(|exit| (exit.exit_on, exit.relation, exit.team.as_u128()))
            .collect()
    }

    /// The exit's days, as those whom the person led are told.
    fn days(events: &[Event]) -> Vec<Date> {
        let led = exits(events).into_iter().filter(|exit| exit.1 == Relation::Manager);
        led.map(|exit| exit.0).collect()
    }

    fn teams(events: &[Event]) -> Vec<(u128, Date, Date)> {
        let memberships = facts(events).memberships();
        memberships
            .iter()
            .map(|one| (one.team.as_u128(), one.from_on, one.to_on))
            .collect()
    }

    #[test]
    fn people_are_in_the_team_of_their_manager_while_they_are_employed() {
        let events = [
            hired(2),
            Event::LeaveStarted { on: on(2, 1) },
            moved_to(Some(3), on(4, 1)),
            moved_to(None, on(5, 1)),
            moved_to(Some(3), on(6, 1)),
            terminated(on(8, 1)),
            Event::Rehired { on: on(10, 1) },
        ];
        assert_eq!(
            teams(&events),
            [
                (2, on(1, 1), on(4, 1)),
                (3, on(4, 1), on(5, 1)),
                (3, on(6, 1), on(8, 1)),
                (3, on(10, 1), FOR_EVER),
            ]
        );
    }

    #[test]
    fn an_exit_is_the_notice_or_the_end_without_one_and_is_told_to_both_teams() {
        let ended = [hired(2), terminated(on(8, 1))];
        assert_eq!(
            exits(&ended),
            [(on(8, 1), Relation::Manager, 1), (on(8, 1), Relation::Peer, 2)]
        );
        let noticed = [
            hired(2),
            notice(on(7, 1)),
            moved_to(Some(3), on(7, 15)),
            terminated(on(8, 1)),
        ];
        assert_eq!(
            exits(&noticed),
            [(on(7, 1), Relation::Manager, 1), (on(7, 1), Relation::Peer, 2)],
            "the team of the day of the notice"
        );
        assert_eq!(days(&noticed[..2]), [on(7, 1)], "before the end, too");
        let revised = [hired(2), notice(on(7, 1)), notice(on(7, 9))];
        assert_eq!(days(&revised), [on(7, 1)]);
        let again = [
            hired(2),
            notice(on(7, 1)),
            terminated(on(8, 1)),
            Event::Rehired { on: on(9, 1) },
            terminated(on(11, 1)),
        ];
        assert_eq!(days(&again), [on(7, 1), on(11, 1)], "one for each employment");
        assert_eq!(
            exits(&[hired(1), notice(on(7, 1))]),
            [(on(7, 1), Relation::Manager, 1)],
            "nobody is their own colleague"
        );
    }

    #[test]
    fn what_is_taken_back_was_no_exit() {
        let withdrawn = [hired(2), notice(on(7, 1)), Event::NoticeWithdrawn { on: on(7, 9) }];
        assert_eq!(days(&withdrawn), []);
        let reversed = [
            hired(2),
            notice(on(7, 1)),
            terminated(on(8, 1)),
            Event::TerminationReversed { on: on(8, 1) },
        ];
        assert_eq!(days(&reversed), []);
        let deleted = [hired(2), Event::SourceRecordDeleted { on: on(8, 1) }];
        assert_eq!(days(&deleted), [], "a mistake at the source is no exit");
    }

    #[test]
    fn history_is_only_what_is_history_throughout() {
        let mut facts = Facts::default();
        facts.take(&hired(2), true);
        facts.take(&moved_to(Some(3), on(4, 1)), false);
        facts.take(&terminated(on(8, 1)), true);
        let known: Vec<bool> = facts.memberships().iter().map(|one| one.backfill).collect();
        assert_eq!(known, [true, false]);
        let exits = facts.exits(me());
        assert!(exits[0].backfill && !exits[1].backfill, "{exits:?}");
    }

    #[test]
    fn facts_read_back() {
        let facts = facts(&[
            hired(2),
            notice(on(7, 1)),
            terminated(on(8, 1)),
            Event::Rehired { on: on(9, 1) },
        ]);
        let json = serde_json::to_string(&facts).expect("JSON");
        assert_eq!(serde_json::from_str::<Facts>(&json).expect("facts"), facts);
    }
}
