//! One invented person: what drives them, and the events that tell of it.

use std::collections::BTreeMap;

use chrono::{Datelike, Days};
use domain::{
    Date,
    employee::{
        Absence, Assessment, ColleagueLeft, Contact, Ended, Ending, Event, GiveNotice, Hired, Job, Moved, Name,
        PayChanged, Recognition, Review, Survey, Voluntariness, WeeklyMinutes,
    },
    id::EmployeeId,
    money::{Currency, Money, PayPeriod, PayRate},
};

use super::{
    Streams, calendar,
    draw::Random,
    known, overtime,
    peaks::{self, MERIT_WEEK},
    personal,
    process::{
        Candidate, Circumstances, FRAILTY_SHAPE, LATE_DAYS_MAX, LATE_DAYS_MEDIAN, LATE_SHARE, LATE_SIGMA,
        MARKET_GROWTH, PROMOTION_WEEKS, Phase, Process, Season, TRAINING_WEEKS, next_mood,
    },
    scenario::Fidelity,
    week_of_year,
};
use crate::dataset::{History, Recorded};

/// The process for these people: the facts' intercept of eta is for theirs, this one makes some 13 % of voluntary exits a
/// year here.
pub const PROCESS: Process = Process {
    search_intercept: -1.80,
    mean_effect: 0.52,
    ..Process::FACTS
};
const RETIREMENTS_PER_YEAR: f64 = 0.005;
/// How often somebody who does not search is absent.
const ABSENCES_PER_YEAR: f64 = 4.0;
/// The spread of compa-ratios.
const COMPA_DEVIATION: f64 = 0.10;
/// Market pay at level 1 when the history begins, in cents a year, and how much more each level brings.
const MARKET_CENTS: f64 = 4_200_000.0;
const LEVEL_STEP: f64 = 1.22;
const LEVEL_MAX: u16 = 8;

/// What a week is like for everybody in a team.
#[derive(Debug, Clone, Copy)]
pub struct Week {
    pub monday: Date,
    /// Exits of team mates, the older the less.
    pub team_exits: f64,
    pub office_order: Option<Date>,
    pub dismissals_per_year: f64,
    pub fidelity: Fidelity,
    pub process: Process,
}

/// What has no say in anything but the bias. Drawn from what the person is paid and does at the beginning, so that it goes
/// along with them and tells nothing beyond them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traits {
    pub woman: bool,
    pub born: Date,
}

impl Traits {
    fn draw(person: &Person, today: Date, random: &mut Random) -> Self {
        let woman = random.happens(crate::model::probability(-8.0 * (person.compa - 1.0)));
        let older = 0.9 * years(person.since, today) + 1.5 * f64::from(person.level) + random.exponential(9.0);
        let age = (18.5 + older).min(70.0);
        Self {
            woman,
            born: today - Days::new((age * 365.25) as u64),
        }
    }
}

pub struct Person {
    pub id: EmployeeId,
    pub traits: Traits,
    events: Vec<Recorded>,
    pub phase: Phase,
    notice_weeks_left: u16,
    gone_since: Option<Date>,
    /// Whether the last exit was of the person's own will.
    pub left_freely: bool,
    manager: EmployeeId,
    since: Date,
    level: u16,
    level_since: Date,
    compa: f64,
    pay: PayRate,
    raise_on: Date,
    manager_on: Option<Date>,
    recognised_on: Option<Date>,
    rating: Option<u8>,
    weekly_hours: u16,
    overtime_weeks_left: u16,
    leave_weeks_left: u16,
    mood: f64,
    performance: f64,
    frailty: f64,
    /// The trainings that still count towards a promotion; none where they do not.
    trained_on: Vec<Date>,
    /// The first day without work, once notice is given and the calendar matters.
    ends_on: Option<Date>,
}

impl Person {
    /// Somebody who begins work on `on`, which was known before.
    pub fn hired(id: EmployeeId, on: Date, manager: EmployeeId, random: &mut Streams) -> Self {
        Self::start(id, on, on, manager, random)
    }

    /// Somebody who was there already on the day of the import, with what the source still knew.
    pub fn imported(id: EmployeeId, since: Date, known_on: Date, manager: EmployeeId, random: &mut Streams) -> Self {
        let mut person = Self::start(id, since, known_on, manager, random);
        let random = &mut random.life;
        let years = f64::from((known_on - since).num_days() as i32) / 365.25;
        if years > 2.0 && random.happens(0.5) {
            let on = known_on - Days::new((random.unit() * years.min(6.0) * 330.0) as u64 + 7);
            person.promote(on, known_on);
        }
        if years > 1.0 {
            let on = known_on - Days::new((random.exponential(300.0).min(years * 330.0)) as u64 + 1);
            person.raise(on, known_on, 0.02 + random.unit() * 0.03);
        }
        person
    }

    fn start(id: EmployeeId, on: Date, known_on: Date, manager: EmployeeId, streams: &mut Streams) -> Self {
        let random = &mut streams.life;
        let level = (1.0 + random.exponential(1.5)).min(f64::from(LEVEL_MAX)) as u16;
        let compa = (1.0 + COMPA_DEVIATION * random.normal()).clamp(0.7, 1.35);
        let weekly_hours = if random.happens(0.85) { 40 } else { random.whole(20, 36) };
        let market = MARKET_CENTS * LEVEL_STEP.powi(i32::from(level) - 1);
        let pay = rate(market * compa * f64::from(weekly_hours) / 40.0);
        let hired = Event::Hired(Hired {
            on,
            source: None,
            name: personal(Name::default()),
            contact: personal(Contact::default()),
            job: job(level),
            manager: Some(manager),
            pay: Some(personal(pay)),
            hours: Some(WeeklyMinutes(weekly_hours * 60)),
        });
        let mut person = Self {
            id,
            traits: Traits { woman: false, born: on },
            events: vec![known(known_on, hired)],
            phase: Phase::Passive,
            notice_weeks_left: 0,
            gone_since: None,
            left_freely: false,
            manager,
            since: on,
            level,
            level_since: on,
            compa,
            pay,
            raise_on: on,
            manager_on: None,
            recognised_on: None,
            rating: None,
            weekly_hours,
            overtime_weeks_left: 0,
            leave_weeks_left: 0,
            mood: random.normal(),
            performance: random.normal(),
            frailty: random.gamma(FRAILTY_SHAPE),
            trained_on: Vec::new(),
            ends_on: None,
        };
        person.traits = Traits::draw(&person, known_on, &mut streams.aside);
        person
    }

    pub fn would_return(&self, today: Date) -> bool {
        self.left_freely && self.gone_since.is_some_and(|gone| (today - gone).num_days() > 182)
    }

    pub fn return_on(&mut self, on: Date, manager: EmployeeId, random: &mut Random) {
        self.tell(on, Event::Rehired { on });
        self.phase = Phase::Passive;
        (self.gone_since, self.left_freely) = (None, false);
        (self.since, self.level_since, self.raise_on) = (on, on, on);
        (self.manager_on, self.recognised_on, self.rating) = (None, None, None);
        if self.manager != manager {
            self.tell(
                on,
                Event::ManagerChanged {
                    from: Some(self.manager),
                    to: Some(manager),
                    on,
                },
            );
            self.manager = manager;
        }
        self.mood = random.normal();
    }

    pub fn get_manager(&mut self, to: EmployeeId, on: Date, random: &mut Random) {
        let event = Event::ManagerChanged {
            from: Some(self.manager),
            to: Some(to),
            on,
        };
        self.tell_perhaps_late(on, event, random);
        self.manager = to;
        self.manager_on = Some(on);
    }

    /// Somebody else of the team leaves.
    pub fn hear_of(&mut self, exit: ColleagueLeft) {
        if exit.colleague != self.id && self.since <= exit.on {
            self.tell(exit.on, Event::ColleagueLeft(exit));
        }
    }

    /// One week, from Monday. Answers the day on which the team hears that the person leaves, if it is in this week: that of the
    /// notice, or of the exit without one.
    pub fn live_through(&mut self, week: &Week, random: &mut Random) -> Option<Date> {
        let was_there = matches!(self.phase, Phase::Passive | Phase::Searching);
        self.mood = next_mood(self.mood, random.normal());
        self.compa *= 1.0 - MARKET_GROWTH / 52.0;
        self.be_at_work(week, random);
        self.be_managed(week, random);
        self.decide(week, random);
        match self.phase {
            Phase::Notice if was_there => Some(week.monday),
            Phase::Gone if was_there => self.gone_since,
            Phase::Passive | Phase::Searching | Phase::Notice | Phase::Gone => None,
        }
    }

    /// What is measured along the way.
    fn be_at_work(&mut self, week: &Week, random: &mut Random) {
        let monday = week.monday;
        let (weekday, trainings) = match week.fidelity {
            Fidelity::Prior => (u64::from(random.whole(0, 4)), 1.0),
            Fidelity::Full => (peaks::weekday(random.unit()), 3.9),
        };
        let day = monday + Days::new(weekday);
        if random.happens_this_week(ABSENCES_PER_YEAR * self.phase.absence_factor()) {
            let days = 1 + random.exponential(1.5).min(15.0) as u16;
            self.tell_perhaps_late(
                day,
                Event::AbsenceRecorded(Absence {
                    on: day,
                    days,
                    kind: None,
                }),
                random,
            );
        }
        self.overtime_weeks_left = match self.overtime_weeks_left {
            0 if random.happens_this_week(0.5) => random.whole(8, 30),
            weeks => weeks.saturating_sub(1),
        };
        if self.overtime_weeks_left > 0 && random.happens(0.8) {
            self.tell_perhaps_late(monday, overtime(monday, random.whole(60, 600)), random);
        }
        if random.happens_this_week(if self.mood > 0.0 { 3.5 } else { 2.3 }) {
            self.tell_perhaps_late(
                day,
                Event::RecognitionGiven(Recognition {
                    on: day,
                    from: self.manager,
                }),
                random,
            );
            self.recognised_on = Some(day);
        }
        if random.happens_this_week(trainings * self.phase.training_factor()) {
            let score = (72.0 + 9.0 * self.performance + 6.0 * random.normal()).clamp(20.0, 100.0) as u8;
            let assessment = Assessment {
                on: day,
                name: "course".to_owned(),
                score: personal(score),
            };
            self.tell_perhaps_late(day, Event::AssessmentCompleted(assessment), random);
            if week.fidelity == Fidelity::Full {
                self.trained_on.push(day);
            }
        }
        let asked = week_of_year(monday) % 13 == 6;
        if asked && random.happens(self.phase.survey_response()) {
            let score = (7.0 + 1.6 * self.mood + 0.9 * random.normal()).round().clamp(0.0, 10.0) as u8;
            let survey = Survey {
                on: day,
                survey: "pulse".to_owned(),
                score: personal(score),
            };
            self.tell_perhaps_late(day, Event::SurveyAnswered(survey), random);
        }
    }

    /// What others decide.
    fn be_managed(&mut self, of: &Week, random: &mut Random) {
        let monday = of.monday;
        let week = week_of_year(monday);
        if matches!(week, 4 | 30) {
            let rating = (3.2 + 0.75 * self.performance + 0.5 * random.normal())
                .round()
                .clamp(1.0, 5.0) as u8;
            let review = Review {
                on: monday,
                rating: personal(rating),
                reviewer: Some(self.manager),
            };
            self.tell_perhaps_late(monday, Event::ReviewRecorded(review), random);
            self.rating = Some(rating);
        }
        if week == MERIT_WEEK && random.happens(0.85) {
            let towards_market = 0.15 * (1.0 - self.compa);
            let rise = (MARKET_GROWTH + towards_market + 0.015 * random.normal()).max(0.003);
            self.raise(monday, monday, rise);
        }
        if PROMOTION_WEEKS.contains(&week) && random.happens(self.promotion_chance(of)) {
            self.promote(monday, monday);
            self.raise(monday, monday, 0.08);
        }
        if random.happens_this_week(0.12) {
            let from = job(self.level);
            let to = Job {
                location: Some(format!("site {}", random.whole(1, 20))),
                ..from.clone()
            };
            self.tell_perhaps_late(monday, Event::Transferred(Moved { from, to, on: monday }), random);
        }
        if random.happens_this_week(0.05) {
            let from = Some(WeeklyMinutes(self.weekly_hours * 60));
            let hours = if self.weekly_hours == 40 {
                random.whole(20, 36)
            } else {
                40
            };
            let yearly = self.pay.amount.minor_units as f64 * f64::from(hours) / f64::from(self.weekly_hours);
            self.weekly_hours = hours;
            self.tell(
                monday,
                Event::HoursChanged {
                    from,
                    to: WeeklyMinutes(hours * 60),
                    on: monday,
                },
            );
            self.change_pay(monday, monday, rate(yearly));
        }
        self.leave_weeks_left = match self.leave_weeks_left {
            0 if random.happens_this_week(0.04) => {
                self.tell(monday, Event::LeaveStarted { on: monday });
                random.whole(6, 24)
            }
            1 => {
                self.tell(monday, Event::LeaveEnded { on: monday });
                0
            }
            weeks => weeks.saturating_sub(1),
        };
    }

    /// Whether to look for something else, to give notice, to go.
    fn decide(&mut self, week: &Week, random: &mut Random) {
        let monday = week.monday;
        if let Some(ends_on) = self.ends_on.filter(|ends_on| (*ends_on - monday).num_days() <= 7) {
            return self.go(ends_on, Voluntariness::Voluntary);
        }
        let friday = monday + Days::new(4);
        if random.happens_this_week(week.dismissals_per_year) {
            return self.go(friday, Voluntariness::Involuntary);
        }
        if years(self.since, monday) > 8.0 && random.happens_this_week(4.0 * RETIREMENTS_PER_YEAR) {
            return self.go(friday, Voluntariness::Retirement);
        }
        if self.phase == Phase::Notice {
            if self.notice_weeks_left == 0 && self.ends_on.is_none() {
                return self.go(friday, Voluntariness::Voluntary);
            }
            self.notice_weeks_left = self.notice_weeks_left.saturating_sub(1);
            return;
        }
        let search_rate = self.search_rate(week);
        self.phase = self
            .phase
            .after_a_week(search_rate, &mut |chance| random.happens(chance));
        if self.phase == Phase::Notice {
            self.give_notice(week, random);
        }
    }

    fn give_notice(&mut self, week: &Week, random: &mut Random) {
        let monday = week.monday;
        self.notice_weeks_left = random.whole(2, 4);
        // The Thursday after the Friday of so many weeks later.
        let mut last_day = monday + Days::new(4 + u64::from(self.notice_weeks_left) * 7 - 1);
        if week.fidelity == Fidelity::Full {
            last_day = calendar::last_day(last_day, random);
            self.ends_on = Some(last_day + Days::new(1));
        }
        let notice = GiveNotice {
            on: monday,
            last_day: Some(last_day),
            voluntariness: Voluntariness::Voluntary,
        };
        self.tell(monday, Event::NoticeGiven(notice));
    }

    /// The yearly rate at which the person begins to look for another job while content.
    pub fn search_rate(&self, week: &Week) -> f64 {
        let today = week.monday;
        let weeks_since = |since: Option<Date>| since.map(|since| years(since, today) * 52.18);
        let circumstances = Circumstances {
            tenure_years: years(self.since, today),
            years_since_raise: years(self.raise_on, today),
            years_since_promotion: years(self.level_since, today),
            weeks_since_manager_change: weeks_since(self.manager_on),
            compa_ratio: self.compa,
            engagement: self.mood,
            rating: self.rating,
            overtime: self.overtime_weeks_left > 0,
            team_exits: week.team_exits,
            weeks_since_office_order: weeks_since(week.office_order),
            weeks_since_recognition: weeks_since(self.recognised_on),
            season: Season::of(week_of_year(today), today.month()),
            frailty: self.frailty,
        };
        week.process.search_log_rate(&circumstances).exp()
    }

    fn promotion_chance(&mut self, week: &Week) -> f64 {
        if self.level >= LEVEL_MAX {
            return 0.0;
        }
        let today = week.monday;
        self.trained_on
            .retain(|on| (today - *on).num_days() <= i64::from(TRAINING_WEEKS) * 7);
        week.process.promotion_chance(&Candidate {
            rating: self.rating,
            years_in_level: years(self.level_since, today),
            trainings: self.trained_on.len() as u32,
            performance: self.performance,
            level: u32::from(self.level),
            tenure_weeks: years(self.since, today) * 52.0,
            woman: self.traits.woman,
        })
    }

    fn promote(&mut self, on: Date, known_on: Date) {
        let from = job(self.level);
        self.level = (self.level + 1).min(LEVEL_MAX);
        self.level_since = on;
        self.events.push(known(
            known_on,
            Event::Promoted(Moved {
                from,
                to: job(self.level),
                on,
            }),
        ));
    }

    fn raise(&mut self, on: Date, known_on: Date, rise: f64) {
        self.compa *= 1.0 + rise;
        self.raise_on = on;
        let amount = self.pay.amount.minor_units as f64 * (1.0 + rise);
        self.change_pay(on, known_on, rate(amount));
    }

    fn change_pay(&mut self, on: Date, known_on: Date, to: PayRate) {
        let change = PayChanged {
            from: Some(personal(self.pay)),
            to: personal(to),
            reason: None,
            on,
        };
        self.events.push(known(known_on, Event::PayChanged(change)));
        self.pay = to;
    }

    fn go(&mut self, on: Date, voluntariness: Voluntariness) {
        if self.ends_on.take().is_some() {
            // Nobody works after the last day of work, which may be in the middle of a week.
            self.events.retain(|recorded| recorded.event.effective_on() < on);
        }
        self.tell(
            on,
            Event::Terminated(Ending {
                on,
                ended: Ended {
                    voluntariness,
                    reason: None,
                },
            }),
        );
        self.phase = Phase::Gone;
        self.gone_since = Some(on);
        self.left_freely = voluntariness == Voluntariness::Voluntary;
        self.leave_weeks_left = 0;
        self.overtime_weeks_left = 0;
    }

    fn tell(&mut self, on: Date, event: Event) {
        self.events.push(known(on, event));
    }

    fn tell_perhaps_late(&mut self, on: Date, event: Event, random: &mut Random) {
        let late = if random.happens(LATE_SHARE) {
            random.log_normal(LATE_DAYS_MEDIAN, LATE_SIGMA).min(LATE_DAYS_MAX) as u64
        } else {
            0
        };
        self.events.push(known(on + Days::new(late), event));
    }

    /// What the source says about where people have to work.
    pub fn be_called_to_the_office(&mut self, on: Date) {
        let fields = BTreeMap::from([("workplace".to_owned(), "office".to_owned())]);
        self.tell(
            on,
            Event::SourceFieldsKept {
                fields: personal(fields),
                on,
            },
        );
    }

    /// The events in the order in which they became known.
    pub fn into_history(mut self, until: Date) -> History {
        self.events.retain(|recorded| recorded.known_on <= until);
        self.events.sort_by_key(|recorded| recorded.known_on);
        self.events.shrink_to_fit();
        History {
            employee: self.id,
            events: self.events,
        }
    }
}

fn years(from: Date, to: Date) -> f64 {
    f64::from((to - from).num_days() as i32) / 365.25
}

fn rate(cents: f64) -> PayRate {
    PayRate {
        amount: Money {
            minor_units: cents.round() as i64,
            currency: Currency::USD,
        },
        per: PayPeriod::Year,
    }
}

fn job(level: u16) -> Job {
    Job {
        title: Some(format!("level {level}")),
        ..Job::default()
    }
}
