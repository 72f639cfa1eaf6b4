//! What a report calls what is predicted.

use domain::{
    risk::{Band, Level, READY_FROM},
    tenant::Bands,
};

use crate::{artifact::ModelCard, dataset::Target};

/// Words that fit in the report's sentences.
#[derive(Debug)]
pub struct Wording {
    /// "It gives the probability that somebody …"
    pub somebody: String,
    /// "… times as many … within 180 days as among all people"
    pub came: &'static str,
    /// "Of two people of whom one …, it puts the one who … higher"
    pub did: &'static str,
    /// "ranked above the one who …"
    pub did_not: &'static str,
    /// "The rate of …"
    pub events: &'static str,
    /// "hold of all …"
    pub people: &'static str,
    /// "Who … within 180 days"
    pub comes: &'static str,
    /// "of them before …"
    pub event: &'static str,
    /// "Not for …"
    pub not_for: &'static str,
    /// "not what makes people …"
    pub infinitive: &'static str,
}

impl Wording {
    #[must_use]
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Notice => Self {
                somebody: "gives notice of their own will".to_owned(),
                came: "gave notice",
                did: "left",
                did_not: "stayed",
                events: "exits",
                people: "leavers",
                comes: "gives notice",
                event: "a notice",
                not_for: "dismissals, pay or promotions",
                infinitive: "leave",
            },
            Target::Promotion { name, .. } => Self {
                somebody: format!("who stays moves up ({name})"),
                came: "moved up",
                did: "moved up",
                did_not: "did not",
                events: "promotions",
                people: "those who moved up",
                comes: "moves up",
                event: "a promotion",
                not_for: "a promotion or its refusal, pay or dismissals",
                infinitive: "move up",
            },
        }
    }
}

/// Where each band (of a risk) or level (of readiness) begins, lowest first, with its name.
#[must_use]
pub fn thresholds(card: &ModelCard, bands: &Bands) -> Vec<(f64, &'static str)> {
    match &card.target {
        Target::Notice => [0.0, bands.medium_above, bands.high_above, bands.critical_above]
            .into_iter()
            .zip(Band::ALL.map(Band::name))
            .collect(),
        Target::Promotion { .. } => [0.0, card.usual, READY_FROM * card.usual]
            .into_iter()
            .zip(Level::ALL.map(Level::name))
            .collect(),
    }
}
