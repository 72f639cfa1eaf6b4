//! A model in use: what became of its predictions, and whether the people it is asked about are still those it knows.

use domain::{Date, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    drift::{self, Shift, Verdict},
    fairness::in_use::Impact,
    features::FEATURES,
    outcomes::{Finding, Reading, Record, Truth},
    synthetic::Random,
};

/// How far back people are compared with people now, in days.
pub const REFERENCE_DAYS: u64 = 182;
/// Bins are dealt anew from here, so that the same people give the same report.
const SEED: u64 = 1;

/// What is known of a model in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseReport {
    pub model: String,
    pub made_at: Timestamp,
    pub truth: Truth,
    /// Features that are not as they were [`REFERENCE_DAYS`] ago; the score itself is called `score`.
    pub drift: Vec<Moved>,
    /// The day that people now are compared with.
    pub reference: Date,
    /// For a challenger: the models in use beside it, about the same people on the same days.
    #[serde(default)]
    pub beside: Option<Truth>,
    /// Whether groups fare alike. Nothing in reports from before audits were made, or while attributes were still read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness: Option<Impact>,
    /// The essence, in plain words.
    pub words: Vec<String>,
}

impl UseReport {
    /// With an audit of groups, and its essence among the words.
    #[must_use]
    pub fn audited(mut self, impact: Impact) -> Self {
        self.words.extend(impact.words());
        self.fairness = Some(impact);
        self
    }
}

/// A feature that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    pub feature: String,
    pub shift: Shift,
}

/// The values of all features, then the score, of people at risk on one day: `values[feature][person]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    values: Vec<Vec<f64>>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            values: vec![Vec::new(); FEATURES.len() + 1],
        }
    }
}

impl Sample {
    /// Takes in a person.
    pub fn add(&mut self, x: &[f64], score: f64) {
        for (values, value) in self.values.iter_mut().zip(x.iter().copied().chain([score])) {
            values.push(value);
        }
    }
}

/// Puts a report together from what became of predictions, and from people then and now.
#[must_use]
pub fn report(
    model: &str,
    made_at: Timestamp,
    truth: Truth,
    reference: Date,
    then: &Sample,
    now: &Sample,
) -> UseReport {
    let mut random = Random::seeded(SEED);
    let names = FEATURES.iter().map(|feature| feature.name).chain(["score"]);
    let mut drift: Vec<Moved> = names
        .zip(then.values.iter().zip(&now.values))
        .map(|(name, (then, now))| Moved {
            feature: name.to_owned(),
            shift: drift::shift(then, now, FEATURES.len() + 1, &mut random),
        })
        .filter(|moved| matches!(moved.shift.verdict, Verdict::Shifted | Verdict::Drifted))
        .collect();
    drift.sort_by(|a, b| b.shift.excess.total_cmp(&a.shift.excess));
    let words = words(&truth, &drift, reference);
    UseReport {
        model: model.to_owned(),
        made_at,
        truth,
        drift,
        reference,
        beside: None,
        fairness: None,
        words,
    }
}

impl UseReport {
    /// The report on a challenger, with what was said by the models in use beside it, about the same people on the same days.
    #[must_use]
    pub fn beside(mut self, champion: Truth) -> Self {
        let words = match (&self.truth.overall.finding, &champion.overall.finding) {
            (Finding::Measured(ours), Finding::Measured(theirs)) => format!(
                "As a challenger it is shown to nobody. About the same {} people its mean squared error was {:.4}, that of the models \
                 in use {:.4}.",
                self.truth.overall.ripe, ours.brier, theirs.brier
            ),
            (_, _) => "As a challenger it is shown to nobody; how it does beside the model in use cannot be said yet."
                .to_owned(),
        };
        self.words.insert(1.min(self.words.len()), words);
        self.beside = Some(champion);
        self
    }
}

fn words(truth: &Truth, drift: &[Moved], reference: Date) -> Vec<String> {
    let mut words = vec![of_record(&truth.overall)];
    match drift {
        [] => words.push(format!("People are like those of {reference}, as far as can be told.")),
        moved => {
            let names: Vec<&str> = moved.iter().map(|moved| moved.feature.as_str()).collect();
            words.push(format!(
                "Since {reference} people have changed in: {}. What the model learnt of them may no longer hold.",
                names.join(", ")
            ));
        }
    }
    words
}

fn of_record(record: &Record) -> String {
    match &record.finding {
        Finding::NotEnoughRipe { needed } => format!(
            "The windows of {} predictions have passed with a known outcome; it takes {needed} to say how good they were. {} are \
             still open.",
            record.ripe, record.unripe
        ),
        Finding::Measured(measures) => {
            let reading = match measures.reading {
                Reading::AsPredicted => "as predicted, within chance",
                Reading::MoreLeft => "more than predicted",
                Reading::FewerLeft => "fewer than predicted",
            };
            format!(
                "Of {} people whose windows have passed, {:.1} should have left and {} did: {reading}.",
                record.ripe, measures.expected, measures.observed
            )
        }
    }
}

/// How far predictions were from what happened on average: of deciles where there are enough people for them, else overall.
/// Nothing before anything is ripe.
#[must_use]
pub fn prediction_error(truth: &Truth) -> Option<f64> {
    match &truth.overall.finding {
        Finding::NotEnoughRipe { .. } => None,
        Finding::Measured(measures) => {
            let n = truth.overall.ripe.max(1) as f64;
            let overall = (measures.expected - measures.observed as f64).abs() / n;
            Some(
                measures
                    .deciles
                    .as_ref()
                    .map_or(overall, |deciles| deciles.mean_absolute_error),
            )
        }
    }
}

/// The share of ripe predictions that were on the right side: in the band `called` and it came, or in another one and it did
/// not. Nothing before enough is ripe, overall and in that band. Where what is predicted is rare, to say that it never comes
/// is right mostly: read it beside the figures by band.
#[must_use]
pub fn accuracy(truth: &Truth, called: &str) -> Option<f64> {
    let observed = |record: &Record| match &record.finding {
        Finding::Measured(measures) => Some(measures.observed),
        Finding::NotEnoughRipe { .. } => (record.ripe == 0).then_some(0),
    };
    let all = &truth.overall;
    let called = &truth.bands.iter().find(|band| band.band == called)?.record;
    let (came, right) = (observed(all)?, observed(called)?);
    let wrong = (called.ripe - right) + (came - right);
    (all.ripe > 0).then(|| 1.0 - wrong as f64 / all.ripe as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::tenant::Bands;

    use super::*;
    use crate::{fairness::in_use, outcomes};

    fn on(year: i32, month: u32, day: u32) -> Date {
        Date::from_ymd_opt(year, month, day).expect("a day")
    }

    fn sample(seed: u64, n: usize, by: f64) -> Sample {
        let mut random = Random::seeded(seed);
        let mut sample = Sample::default();
        for _ in 0..n {
            let mut x: Vec<f64> = FEATURES.iter().map(|_| random.normal()).collect();
            x[0] += by;
            sample.add(&x, random.unit());
        }
        sample
    }

    fn reported(by: f64) -> UseReport {
        let truth = outcomes::truth(&[], &[], |_, _| None, on(2026, 1, 1));
        report(
            "m1",
            Timestamp::UNIX_EPOCH,
            truth,
            on(2025, 7, 3),
            &sample(1, 1_000, 0.0),
            &sample(2, 1_000, by),
        )
    }

    #[test]
    fn people_who_changed_are_named_and_others_are_not() {
        assert_eq!(reported(0.0).drift, []);
        let moved = reported(0.7);
        let names: Vec<&str> = moved.drift.iter().map(|moved| moved.feature.as_str()).collect();
        assert_eq!(names, ["tenure_years"]);
        assert!(moved.words[1].contains("tenure_years"));
    }

    #[test]
    fn accuracy_counts_both_sides() {
        // Of 40 who were called ready 30 made it, of 60 others 12.
        let scores: Vec<outcomes::Scored> = (0..100u32)
            .map(|number| outcomes::Scored {
                employee: format!("00000000-0000-0000-0000-{number:012}").parse().expect("an id"),
                probability: if number < 40 { 0.6 } else { 0.1 },
                band: if number < 40 { "READY" } else { "EARLY" }.to_owned(),
                scored_on: on(2025, 1, 1),
                horizon_days: 180,
            })
            .collect();
        let made_it: Vec<_> = scores[..30]
            .iter()
            .chain(&scores[88..])
            .map(|one| one.employee)
            .collect();
        let outcome = |employee, _| {
            Some(if made_it.contains(&employee) {
                crate::features::SpellEnd::Event { on: on(2025, 3, 1) }
            } else {
                crate::features::SpellEnd::Open
            })
        };
        let truth = |until| outcomes::truth(&scores, &["EARLY", "READY"], outcome, until);
        assert_eq!(accuracy(&truth(on(2026, 1, 1)), "READY"), Some(0.78));
        assert_eq!(accuracy(&truth(on(2025, 2, 1)), "READY"), None, "nothing is ripe");
    }

    #[test]
    fn an_audit_is_told_and_reports_from_before_there_were_any_still_read() {
        let before = reported(0.0);
        let text = serde_json::to_string(&before).expect("json");
        assert!(!text.contains("fairness"), "as it was stored then: {text}");
        assert_eq!(
            serde_json::from_str::<UseReport>(&text).expect("a report").fairness,
            None
        );
        let impact = in_use::impact(
            &BTreeMap::new(),
            &[],
            &[],
            in_use::Scale::Bands(Bands::default()),
            on(2026, 1, 1),
        );
        let after = before.clone().audited(impact.clone());
        assert_eq!(after.words, [before.words, impact.words()].concat());
        let text = serde_json::to_string(&after).expect("json");
        assert_eq!(serde_json::from_str::<UseReport>(&text).expect("a report"), after);
    }

    #[test]
    fn before_anything_is_ripe_nothing_is_claimed() {
        let report = reported(0.0);
        assert!(report.words[0].contains("it takes 30"), "{:?}", report.words);
        assert_eq!(prediction_error(&report.truth), None);
        let text = serde_json::to_string(&report).expect("json");
        assert_eq!(serde_json::from_str::<UseReport>(&text).expect("a report"), report);
    }
}
