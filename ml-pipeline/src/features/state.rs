//! What the model remembers of one person: the fold over that person's events.

use domain::{
    Date, Personal,
    employee::{Ending, Event, Hired, Relation, Voluntariness, WeeklyMinutes},
    id::EmployeeId,
    money::{Currency, Money, PayPeriod, PayRate},
    program::Path,
};
use serde::{Deserialize, Serialize};

use super::timeline::{Day, Observations, Timeline, date, day};

/// The most changes of standing (hires, leaves, ends) that a state remembers.
pub const STANDINGS_MAX: usize = 64;
/// The most notices and withdrawals.
pub const NOTICES_MAX: usize = 32;
/// The most transfers and promotions.
pub const MOVES_MAX: usize = 48;
/// The most changes of manager.
pub const MANAGERS_MAX: usize = 24;
/// The most changes of job title.
pub const TITLES_MAX: usize = 24;
/// The most changes of pay.
pub const PAY_CHANGES_MAX: usize = 32;
/// The most changes of contractual hours.
pub const HOURS_CHANGES_MAX: usize = 16;
/// The most reviews.
pub const REVIEWS_MAX: usize = 8;
/// The most survey answers.
pub const SURVEYS_MAX: usize = 12;
/// The most recognitions.
pub const RECOGNITIONS_MAX: usize = 8;
/// The most absences.
pub const ABSENCES_MAX: usize = 64;
/// The most weeks of overtime.
pub const OVERTIMES_MAX: usize = 32;
/// The most assessments.
pub const ASSESSMENTS_MAX: usize = 8;
/// The most exits of colleagues.
pub const COLLEAGUES_MAX: usize = 32;
/// How much older than the newest of its kind an absence, a week of overtime or a colleague's exit may be, in days. The longest
/// window that looks at them is half a year, and of an exit two years ago a three-thousandth is left.
pub const WINDOWED_DAYS_MAX: Day = 2 * 366;
/// The same for reviews, survey answers, recognitions and assessments.
pub const LASTING_DAYS_MAX: Day = 10 * 366;

/// Whether somebody works here from a day on. Stored as one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    #[serde(rename = "w")]
    Working,
    #[serde(rename = "l")]
    OnLeave,
    #[serde(rename = "e")]
    Ended(Voluntariness),
    #[serde(rename = "d")]
    Deleted,
}

impl Standing {
    const fn is_employed(self) -> bool {
        match self {
            Self::Working | Self::OnLeave => true,
            Self::Ended(_) | Self::Deleted => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Move {
    #[serde(rename = "t")]
    Transfer,
    #[serde(rename = "p")]
    Promotion,
}

/// A rate of pay, stored as an array of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pay(i64, Currency, PayPeriod);

impl Pay {
    const fn new(rate: PayRate) -> Self {
        Self(rate.amount.minor_units, rate.amount.currency, rate.per)
    }

    pub(super) const fn currency(self) -> Currency {
        self.1
    }

    /// Major units per year of full time (40 hours a week).
    pub(super) fn full_time(self, weekly_hours: f64) -> f64 {
        let rate = PayRate {
            amount: Money {
                minor_units: self.0,
                currency: self.1,
            },
            per: self.2,
        };
        rate.per_year(weekly_hours) * super::FULL_TIME_HOURS / weekly_hours
    }

    /// How much more this is than `before`, relative to it; nothing where the two cannot be compared.
    pub(super) fn rise_from(self, before: Self, weekly_hours: f64) -> Option<f64> {
        let (now, before) = (
            self.full_time(weekly_hours),
            if self.1 == before.1 {
                before.full_time(weekly_hours)
            } else {
                0.0
            },
        );
        (before > 0.0).then(|| now / before - 1.0)
    }
}

/// How a spell that lasts on a day ends later: the employment, or the time in the job that a career program starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpellEnd {
    /// It does not, as far as is known.
    Open,
    /// With what is predicted. Of an employment: the day of the notice of the person's own will, or of the exit where no
    /// notice is on record.
    Event { on: Date },
    /// In another way (for an employment: dismissal, retirement, death, a deleted record, no word why), so that nobody knows
    /// whether what is predicted would have come.
    Censored { on: Date },
}

/// Why somebody is not scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unscored {
    /// The record was erased.
    Erased,
    /// The person objects to being scored (GDPR art. 21).
    Objects,
    /// Gone, or not yet there.
    NotEmployed,
    /// Notice was given: there is nothing to predict any more.
    OnNotice,
    /// The end of the employment is on record; the first day without it.
    EndOnRecord { on: Date },
}

/// All that features, labels and the risk set need to know of one person, bounded in size. Erased people have none: only
/// the mark that keeps later events out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureState {
    erased: bool,
    objects: bool,
    standing: Timeline<Standing>,
    notices: Timeline<Option<Voluntariness>>,
    pub(super) moves: Timeline<Move>,
    pub(super) titles: Timeline<Option<String>>,
    pub(super) managers: Timeline<Option<EmployeeId>>,
    pub(super) pay: Timeline<Option<Pay>>,
    pub(super) hours: Timeline<WeeklyMinutes>,
    pub(super) reviews: Observations<Option<u8>>,
    pub(super) surveys: Observations<Option<u8>>,
    pub(super) recognitions: Observations<()>,
    pub(super) absences: Observations<u16>,
    pub(super) overtimes: Observations<u16>,
    pub(super) assessments: Observations<Option<u8>>,
    pub(super) colleagues_left: Observations<(EmployeeId, Relation)>,
}

impl FeatureState {
    /// Takes in an event, in the order of the log. Tells whether a model input, or whether the person is scored at all, may
    /// have changed. What the model must not know (names, contacts, protected attributes, notes) is not even kept.
    pub fn apply(&mut self, event: &Event) -> bool {
        if self.erased {
            return false;
        }
        // Nothing can precede the hire but a broken log (as in `domain`).
        let opens_or_closes = matches!(event, Event::Hired(_) | Event::Erased(_));
        let changed = (opens_or_closes || !self.standing.is_empty()) && self.take_in(event, day(event.effective_on()));
        if changed {
            self.forget_surplus();
        }
        changed
    }

    fn opened_by(hired: &Hired) -> Self {
        let on = day(hired.on);
        let mut state = Self::default();
        state.standing.set(on, Standing::Working);
        state.titles.set(on, hired.job.title.clone());
        state.managers.set(on, hired.manager);
        if let Some(pay) = &hired.pay {
            state.pay.set(on, pay.open().copied().map(Pay::new));
        }
        if let Some(hours) = hired.hours {
            state.hours.set(on, hours);
        }
        state
    }

    fn take_in(&mut self, event: &Event, on: Day) -> bool {
        match event {
            Event::Hired(hired) => {
                *self = Self::opened_by(hired);
                true
            }
            Event::Erased(_) => {
                *self = Self {
                    erased: true,
                    ..Self::default()
                };
                true
            }
            Event::Rehired { .. } => self.standing.set(on, Standing::Working) | self.notices.set(on, None),
            Event::LeaveEnded { .. } => self.standing.set(on, Standing::Working),
            Event::LeaveStarted { .. } => self.standing.set(on, Standing::OnLeave),
            Event::Terminated(Ending { ended, .. }) => {
                self.standing.set(on, Standing::Ended(ended.voluntariness)) | self.notices.set(on, None)
            }
            Event::TerminationReversed { .. } => {
                let before = self
                    .standing
                    .before(on)
                    .copied()
                    .filter(|standing| standing.is_employed());
                self.standing.set(on, before.unwrap_or(Standing::Working)) | self.notices.set(on, None)
            }
            Event::SourceRecordDeleted { .. } => self.standing.set(on, Standing::Deleted),
            Event::NoticeGiven(notice) => self.notices.set(on, Some(notice.voluntariness)),
            Event::NoticeWithdrawn { .. } => self.notices.set(on, None),
            // A correction of a promotion's department arrives as a transfer on the same day: it stays a promotion.
            Event::Transferred(moved) if self.moves.fact_on(on) == Some(&Move::Promotion) => {
                self.titles.set(on, moved.to.title.clone())
            }
            Event::Transferred(moved) => {
                self.moves.set(on, Move::Transfer) | self.titles.set(on, moved.to.title.clone())
            }
            Event::Promoted(moved) => self.moves.set(on, Move::Promotion) | self.titles.set(on, moved.to.title.clone()),
            Event::ManagerChanged { to, .. } => self.managers.set(on, *to),
            Event::PayChanged(change) => self.pay.set(on, change.to.open().copied().map(Pay::new)),
            Event::HoursChanged { to, .. } => self.hours.set(on, *to),
            Event::AssessmentCompleted(done) => {
                self.assessments
                    .add(on, readable(&done.score), ASSESSMENTS_MAX, LASTING_DAYS_MAX);
                true
            }
            Event::ReviewRecorded(review) => {
                self.reviews
                    .add(on, readable(&review.rating), REVIEWS_MAX, LASTING_DAYS_MAX);
                true
            }
            Event::SurveyAnswered(survey) => {
                self.surveys
                    .add(on, readable(&survey.score), SURVEYS_MAX, LASTING_DAYS_MAX);
                true
            }
            Event::RecognitionGiven(_) => {
                self.recognitions.add(on, (), RECOGNITIONS_MAX, LASTING_DAYS_MAX);
                true
            }
            Event::AbsenceRecorded(absence) => {
                self.absences.add(on, absence.days, ABSENCES_MAX, WINDOWED_DAYS_MAX);
                true
            }
            Event::OvertimeRecorded(overtime) => {
                self.overtimes
                    .add(on, overtime.minutes, OVERTIMES_MAX, WINDOWED_DAYS_MAX);
                true
            }
            Event::ScoringObjected(_) => !std::mem::replace(&mut self.objects, true),
            Event::ScoringObjectionWithdrawn(_) => std::mem::replace(&mut self.objects, false),
            Event::ColleagueLeft(exit) => {
                let told = (exit.colleague, exit.relation);
                if self.colleagues_left.between(on, on).contains(&(on, told)) {
                    return false;
                }
                self.colleagues_left.remove(on, |(who, _)| *who == exit.colleague);
                self.colleagues_left.add(on, told, COLLEAGUES_MAX, WINDOWED_DAYS_MAX);
                true
            }
            Event::ColleagueStayed(exit) => self.colleagues_left.remove(on, |(who, _)| *who == exit.colleague),
            Event::ContactChanged { .. }
            | Event::DemographicsChanged { .. }
            | Event::SourceFieldsKept { .. }
            | Event::NoteWritten(_) => false,
        }
    }

    /// Facts are forgotten by their number, never by their age: one that lies years ahead must not push out today's.
    fn forget_surplus(&mut self) {
        // Leaves go first, so that the day of hire outlives them.
        self.standing
            .keep_unless(STANDINGS_MAX, |before, this| before.is_employed() == this.is_employed());
        self.notices.keep_newest(NOTICES_MAX);
        self.moves.keep_newest(MOVES_MAX);
        self.titles.keep_newest(TITLES_MAX);
        self.managers.keep_newest(MANAGERS_MAX);
        self.pay.keep_newest(PAY_CHANGES_MAX);
        self.hours.keep_newest(HOURS_CHANGES_MAX);
    }

    /// The first day of the employment that lasts on `on`; a rehire begins a new one.
    #[must_use]
    pub fn employed_since(&self, on: Date) -> Option<Date> {
        self.spell_start(day(on)).map(date)
    }

    pub(super) fn spell_start(&self, on: Day) -> Option<Day> {
        let employed = self
            .standing
            .until(on)
            .iter()
            .rev()
            .take_while(|(_, standing)| standing.is_employed());
        employed.last().map(|(from, _)| *from)
    }

    pub(super) fn is_on_leave(&self, on: Day) -> bool {
        self.standing.at(on) == Some(&Standing::OnLeave)
    }

    /// Whether the person has objected to being scored (GDPR art. 21).
    #[must_use]
    pub const fn objects(&self) -> bool {
        self.objects
    }

    /// Whether the person's record has been erased.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        self.erased
    }

    /// Whether there is anything to predict: employed on `on`, not on notice, no end of the employment on record yet, and no
    /// objection to being scored.
    #[must_use]
    pub fn is_at_risk(&self, on: Date) -> bool {
        self.unscored(on).is_none()
    }

    /// Why there is nothing to predict on a day; nothing if there is. Of several reasons the one that weighs most.
    #[must_use]
    pub fn unscored(&self, on: Date) -> Option<Unscored> {
        let on = day(on);
        if self.erased {
            return Some(Unscored::Erased);
        }
        if self.objects {
            return Some(Unscored::Objects);
        }
        if self.spell_start(on).is_none() {
            return Some(Unscored::NotEmployed);
        }
        if self.notices.at(on).is_some_and(Option::is_some) {
            return Some(Unscored::OnNotice);
        }
        self.planned_end(on)
            .map(|(end, _)| Unscored::EndOnRecord { on: date(end) })
    }

    /// Whether there is anything to predict about moving up: at risk as above, in a job that the program starts from.
    #[must_use]
    pub fn is_candidate(&self, on: Date, path: &Path) -> bool {
        self.is_at_risk(on) && self.has_job_of(on, path)
    }

    fn has_job_of(&self, on: Date, path: &Path) -> bool {
        let title = self.titles.at(day(on)).and_then(Option::as_deref);
        title.is_some_and(|title| path.starts_at(title))
    }

    /// How the time of a candidate on `on` in the jobs that the program starts from ends after that day. Whoever leaves (or
    /// gives notice), or goes to a job that is on neither side, is censored: nobody knows whether they would have moved up. So is
    /// whoever, as is known by now, had left these jobs on that day already.
    #[must_use]
    pub fn promotion_after(&self, on: Date, path: &Path) -> SpellEnd {
        if !self.has_job_of(on, path) {
            return SpellEnd::Censored { on };
        }
        let exit = match self.end_after(on) {
            SpellEnd::Open => None,
            SpellEnd::Event { on } | SpellEnd::Censored { on } => Some(on),
        };
        let elsewhere = |title: &Option<String>| !title.as_deref().is_some_and(|title| path.starts_at(title));
        let moved = self.titles.after(day(on)).iter().find(|(_, title)| elsewhere(title));
        match (moved, exit) {
            (None, None) => SpellEnd::Open,
            (None, Some(exit)) => SpellEnd::Censored { on: exit },
            (Some((moved, _)), Some(exit)) if exit <= date(*moved) => SpellEnd::Censored { on: exit },
            (Some((moved, title)), _) => {
                let on = date(*moved);
                match title.as_deref() {
                    Some(title) if path.leads_to(title) => SpellEnd::Event { on },
                    Some(_) | None => SpellEnd::Censored { on },
                }
            }
        }
    }

    fn planned_end(&self, on: Day) -> Option<(Day, Standing)> {
        self.standing
            .after(on)
            .iter()
            .find(|(_, standing)| !standing.is_employed())
            .copied()
    }

    /// How the employment that lasts on `on` ends after that day: the source of labels. A notice counts on its own day, even
    /// if it is withdrawn later; a termination that the source took back never was.
    #[must_use]
    pub fn end_after(&self, on: Date) -> SpellEnd {
        let end = self.planned_end(day(on));
        let last_day = end.map_or(Day::MAX, |(day, _)| day);
        let mut given: Option<(Day, Voluntariness)> = None;
        for (day, notice) in self
            .notices
            .after(day(on))
            .iter()
            .take_while(|(day, _)| *day < last_day)
        {
            given = match (*notice, given) {
                (Some(word), None) => Some((*day, word)),
                // A revised notice keeps its day; a clearer word replaces none.
                (Some(word), Some((first, Voluntariness::Unknown))) => Some((first, word)),
                (Some(Voluntariness::Unknown), Some(given)) => Some(given),
                (Some(word), Some((first, _))) => Some((first, word)),
                (None, Some((first, Voluntariness::Voluntary))) => return SpellEnd::Event { on: date(first) },
                (None, _) => None,
            };
        }
        let (decided, word) = match (end, given) {
            (None, None) => return SpellEnd::Open,
            (None, Some(given)) => given,
            (Some((day, standing)), given) => {
                let noticed = given.map_or(day, |(first, _)| first);
                match standing {
                    Standing::Ended(Voluntariness::Unknown) => {
                        (noticed, given.map_or(Voluntariness::Unknown, |(_, word)| word))
                    }
                    Standing::Ended(word) => (noticed, word),
                    Standing::Working | Standing::OnLeave | Standing::Deleted => (day, Voluntariness::Unknown),
                }
            }
        };
        match word {
            Voluntariness::Voluntary => SpellEnd::Event { on: date(decided) },
            Voluntariness::Involuntary | Voluntariness::Retirement | Voluntariness::Death | Voluntariness::Unknown => {
                SpellEnd::Censored { on: date(decided) }
            }
        }
    }
}

fn readable(value: &Personal<u8>) -> Option<u8> {
    value.open().copied()
}
