//! What the models said of one person over time, and what people said of that. One stream per employee.
//!
//! The scorer scores on every relevant event; only what a person would call news enters history: another band, a step of at
//! least [`STEP_MIN`], or another model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, Date, Kind, Personal, Timestamp,
    id::{EmployeeId, ProgramId},
};

/// The smallest change of probability that is news within one band and model.
pub const STEP_MIN: f64 = 0.05;
/// The longest reason of a human review, in characters.
pub const REASON_CHARS_MAX: usize = 2_000;

/// How urgent a flight risk is. The thresholds are a tenant's setting (see [`crate::tenant::Bands`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Band {
    Low,
    Medium,
    High,
    Critical,
}

impl Band {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|band| band.name() == name)
    }
}

/// How far a candidate of a career program is, against the usual rate among all of its candidates: a level says how one
/// compares with the others, since most people are promoted rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Below the usual rate.
    Early,
    /// From the usual rate on.
    Developing,
    /// From [`READY_FROM`] times the usual rate on.
    Ready,
}

/// How many times the usual rate makes a candidate ready.
pub const READY_FROM: f64 = 2.0;

impl Level {
    pub const ALL: [Self; 3] = [Self::Early, Self::Developing, Self::Ready];

    /// The level of a probability where `usual` is the rate among all candidates, over the same time.
    #[must_use]
    pub fn of(probability: f64, usual: f64) -> Self {
        if probability >= READY_FROM * usual {
            Self::Ready
        } else if probability >= usual {
            Self::Developing
        } else {
            Self::Early
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Early => "EARLY",
            Self::Developing => "DEVELOPING",
            Self::Ready => "READY",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// One score, with everything that is needed to reproduce and to explain it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// The version of the model, as in the registry.
    pub model: String,
    /// The position in the log up to which events were seen.
    pub position: i64,
    pub scored_at: Timestamp,
    pub horizon_days: u16,
    pub band: Band,
    pub score: Personal<Score>,
}

/// How ready somebody is to move up in a career program, with everything that is needed to reproduce and to explain it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    pub program: ProgramId,
    /// The version of the model, as in the registry.
    pub model: String,
    /// The position in the log up to which events were seen.
    pub position: i64,
    pub scored_at: Timestamp,
    pub horizon_days: u16,
    pub level: Level,
    /// Its probability is that of moving up within the horizon, for somebody who stays.
    pub score: Personal<Score>,
}

/// The personal part of an assessment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The probability, within the horizon, of what is assessed (a risk: of voluntary notice), calibrated, 0 to 1.
    pub probability: f64,
    /// The largest contributions, largest first.
    pub factors: Vec<Factor>,
    /// The digest of the model's inputs: the same inputs, model and day give the same score. Personal as they are, for
    /// whoever guesses them could confirm the guess. None in scores that were made before digests were.
    #[serde(default)]
    pub vector: Option<String>,
}

/// How much one feature moves a score away from the base, in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// The feature's stable name.
    pub feature: String,
    /// Plain words with the value, such as "no raise for 2.4 years".
    pub label: String,
    pub contribution: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Agree,
    Override,
}

/// A person with authority looked at a score and judged it (GDPR art. 22, AI Act art. 14).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HumanReview {
    pub on: Date,
    pub verdict: Verdict,
    /// The band that the reviewer holds right, for an override.
    #[serde(default)]
    pub band: Option<Band>,
    pub reason: Personal<String>,
    #[serde(default)]
    pub reviewer: Option<EmployeeId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    Assess(Assessment),
    AssessReadiness(Readiness),
    ReviewRisk(HumanReview),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    RiskAssessed(Assessment),
    ReadinessAssessed(Readiness),
    HumanReviewRecorded(HumanReview),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no score to review yet")]
    NothingToReview,
    #[error("an override names the band that is right, agreement names none")]
    BandDoesNotFit,
    #[error("the reason must not be empty or longer than {REASON_CHARS_MAX} characters")]
    BadReason,
    #[error("a probability lies between 0 and 1")]
    NotAProbability,
}

impl Event {
    /// The day on which it is true in the world.
    #[must_use]
    pub fn effective_on(&self) -> Date {
        match self {
            Self::RiskAssessed(assessment) => assessment.scored_at.date_naive(),
            Self::ReadinessAssessed(readiness) => readiness.scored_at.date_naive(),
            Self::HumanReviewRecorded(review) => review.on,
        }
    }
}

/// The last scores that entered history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Risk {
    flight: Option<Assessment>,
    readiness: BTreeMap<ProgramId, Readiness>,
}

impl Aggregate for Risk {
    const KIND: Kind = Kind::Risk;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Assess(assessment) => self.assess(assessment),
            Command::AssessReadiness(readiness) => self.assess_readiness(readiness),
            Command::ReviewRisk(review) => self.review(review),
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::RiskAssessed(assessment) => self.flight = Some(assessment.clone()),
            Event::ReadinessAssessed(readiness) => {
                self.readiness.insert(readiness.program, readiness.clone());
            }
            Event::HumanReviewRecorded(_) => {}
        }
        self
    }
}

impl Risk {
    fn assess(&self, assessment: Assessment) -> Result<Vec<Event>, Rejection> {
        check(&assessment.score)?;
        let news = self.flight.as_ref().is_none_or(|last| is_news(last, &assessment));
        Ok(if news {
            vec![Event::RiskAssessed(assessment)]
        } else {
            vec![]
        })
    }

    fn assess_readiness(&self, readiness: Readiness) -> Result<Vec<Event>, Rejection> {
        check(&readiness.score)?;
        let last = self.readiness.get(&readiness.program);
        Ok(if last.is_none_or(|last| is_readiness_news(last, &readiness)) {
            vec![Event::ReadinessAssessed(readiness)]
        } else {
            vec![]
        })
    }

    fn review(&self, review: HumanReview) -> Result<Vec<Event>, Rejection> {
        if self.flight.is_none() {
            return Err(Rejection::NothingToReview);
        }
        if (review.verdict == Verdict::Override) != review.band.is_some() {
            return Err(Rejection::BandDoesNotFit);
        }
        if review
            .reason
            .open()
            .is_some_and(|reason| reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX)
        {
            return Err(Rejection::BadReason);
        }
        Ok(vec![Event::HumanReviewRecorded(review)])
    }
}

/// Whether `next` tells a person something that `last` did not. A score of an older position never is news.
#[must_use]
pub fn is_news(last: &Assessment, next: &Assessment) -> bool {
    if next.position < last.position {
        return false;
    }
    next.band != last.band || next.model != last.model || is_step(&last.score, &next.score)
}

/// The same for readiness.
#[must_use]
pub fn is_readiness_news(last: &Readiness, next: &Readiness) -> bool {
    if next.position < last.position {
        return false;
    }
    next.level != last.level || next.model != last.model || is_step(&last.score, &next.score)
}

fn is_step(last: &Personal<Score>, next: &Personal<Score>) -> bool {
    match (last.open(), next.open()) {
        // Within rounding, a step of exactly STEP_MIN counts.
        (Some(last), Some(next)) => (last.probability - next.probability).abs() >= STEP_MIN - 1e-9,
        (_, _) => false,
    }
}

fn check(score: &Personal<Score>) -> Result<(), Rejection> {
    let is_probability = |score: &Score| (0.0..=1.0).contains(&score.probability);
    if score.open().is_none_or(is_probability) {
        Ok(())
    } else {
        Err(Rejection::NotAProbability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assessment(probability: f64, band: Band, model: &str, position: i64) -> Assessment {
        Assessment {
            model: model.to_owned(),
            position,
            scored_at: Timestamp::UNIX_EPOCH,
            horizon_days: 180,
            band,
            score: Personal::Open(Score {
                probability,
                factors: vec![],
                vector: None,
            }),
        }
    }

    fn today() -> Date {
        Date::from_ymd_opt(2026, 1, 31).expect("a day")
    }

    #[track_caller]
    fn entered(last: &Assessment, next: Assessment) -> usize {
        Risk::fold([&Event::RiskAssessed(last.clone())])
            .decide(Command::Assess(next), today())
            .expect("accepted")
            .len()
    }

    #[test]
    fn only_news_enters_history() {
        let last = assessment(0.20, Band::Medium, "m1", 10);
        assert_eq!(
            Risk::default()
                .decide(Command::Assess(last.clone()), today())
                .expect("accepted")
                .len(),
            1
        );
        assert_eq!(entered(&last, assessment(0.20, Band::Medium, "m1", 11)), 0);
        assert_eq!(entered(&last, assessment(0.24, Band::Medium, "m1", 11)), 0);
        assert_eq!(entered(&last, assessment(0.25, Band::Medium, "m1", 11)), 1);
        assert_eq!(entered(&last, assessment(0.15, Band::Medium, "m1", 11)), 1);
        assert_eq!(entered(&last, assessment(0.21, Band::High, "m1", 11)), 1);
        assert_eq!(entered(&last, assessment(0.20, Band::Medium, "m2", 11)), 1);
        assert_eq!(
            entered(&last, assessment(0.90, Band::Critical, "m1", 9)),
            0,
            "an older position is no news"
        );
    }

    fn readiness(program: u128, probability: f64, position: i64) -> Readiness {
        Readiness {
            program: ProgramId::from_uuid(uuid::Uuid::from_u128(program)),
            model: "m1".to_owned(),
            position,
            scored_at: Timestamp::UNIX_EPOCH,
            horizon_days: 180,
            level: Level::of(probability, 0.04),
            score: Personal::Open(Score {
                probability,
                factors: vec![],
                vector: None,
            }),
        }
    }

    #[test]
    fn readiness_is_told_by_program_when_it_is_news() {
        let risk = Risk::fold([&Event::ReadinessAssessed(readiness(1, 0.05, 10))]);
        let entered = |next: Readiness| {
            let events = risk.decide(Command::AssessReadiness(next), today());
            events.expect("accepted").len()
        };
        assert_eq!(entered(readiness(1, 0.07, 11)), 0);
        assert_eq!(entered(readiness(1, 0.03, 11)), 1, "another level");
        assert_eq!(entered(readiness(1, 0.08, 11)), 1, "another level");
        assert_eq!(entered(readiness(1, 0.08, 9)), 0, "an older position is no news");
        assert_eq!(entered(readiness(2, 0.05, 11)), 1, "another program");
        let nonsense = risk.decide(Command::AssessReadiness(readiness(1, 1.5, 11)), today());
        assert_eq!(nonsense, Err(Rejection::NotAProbability));
        let review = Command::ReviewRisk(HumanReview {
            on: today(),
            verdict: Verdict::Agree,
            band: None,
            reason: Personal::Open("right".to_owned()),
            reviewer: None,
        });
        assert_eq!(risk.decide(review, today()), Err(Rejection::NothingToReview));
    }

    #[test]
    fn levels_begin_at_once_and_twice_the_usual_rate() {
        let levels = [0.039, 0.04, 0.079, 0.08].map(|p| Level::of(p, 0.04));
        assert_eq!(
            levels,
            [Level::Early, Level::Developing, Level::Developing, Level::Ready]
        );
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
    }

    #[test]
    fn every_rejection_is_produced() {
        let review = |verdict, band, reason: &str| {
            Command::ReviewRisk(HumanReview {
                on: today(),
                verdict,
                band,
                reason: Personal::Open(reason.to_owned()),
                reviewer: None,
            })
        };
        let assessed = Risk::fold([&Event::RiskAssessed(assessment(0.2, Band::Low, "m", 1))]);
        assert_eq!(
            Risk::default().decide(review(Verdict::Agree, None, "right"), today()),
            Err(Rejection::NothingToReview)
        );
        assert_eq!(
            assessed.decide(review(Verdict::Override, None, "no"), today()),
            Err(Rejection::BandDoesNotFit)
        );
        assert_eq!(
            assessed.decide(review(Verdict::Agree, Some(Band::Low), "no"), today()),
            Err(Rejection::BandDoesNotFit)
        );
        assert_eq!(
            assessed.decide(review(Verdict::Agree, None, " "), today()),
            Err(Rejection::BadReason)
        );
        let nonsense = Command::Assess(assessment(f64::NAN, Band::Low, "m", 2));
        assert_eq!(assessed.decide(nonsense, today()), Err(Rejection::NotAProbability));
        assert_eq!(
            assessed
                .decide(review(Verdict::Override, Some(Band::High), "she told me"), today())
                .expect("accepted")
                .len(),
            1
        );
    }
}
