//! One company that uses Tenure, and its settings.

use serde::{Deserialize, Serialize};

use crate::{Aggregate, Date, Kind, risk::Band};

/// The longest name of a tenant, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// Probabilities above which a risk belongs to a band. The defaults suit a horizon of 180 days and some 13 % of voluntary
/// exits per year: about 1.5 and 3 times the usual risk, and the seed rule of the alerts for CRITICAL.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bands {
    pub medium_above: f64,
    pub high_above: f64,
    pub critical_above: f64,
}

impl Default for Bands {
    fn default() -> Self {
        Self {
            medium_above: 0.10,
            high_above: 0.20,
            critical_above: 0.90,
        }
    }
}

impl Bands {
    #[must_use]
    pub fn band(&self, probability: f64) -> Band {
        if probability > self.critical_above {
            Band::Critical
        } else if probability > self.high_above {
            Band::High
        } else if probability > self.medium_above {
            Band::Medium
        } else {
            Band::Low
        }
    }

    /// Whether thresholds rise: 0 < medium < high < critical < 1.
    #[must_use]
    pub fn are_in_order(&self) -> bool {
        0.0 < self.medium_above
            && self.medium_above < self.high_above
            && self.high_above < self.critical_above
            && self.critical_above < 1.0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub bands: Bands,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    Create {
        name: String,
        on: Date,
    },
    ChangeSettings {
        bands: Bands,
        on: Date,
    },
    /// Makes a model of the registry the one whose scores people see.
    PromoteModel {
        model: String,
        on: Date,
    },
    /// Runs a model of the registry beside the one in use, on the same people, unseen: none ends that.
    Challenge {
        model: Option<String>,
        on: Date,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    Created { name: String, on: Date },
    SettingsChanged { bands: Bands, on: Date },
    ModelPromoted { model: String, on: Date },
    ChallengerChanged { model: Option<String>, on: Date },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the tenant's name must not be empty or longer than {NAME_CHARS_MAX} characters")]
    BadName,
    #[error("this tenant has another name already")]
    AlreadyCreated,
    #[error("this tenant has not been created")]
    NotCreated,
    #[error("band thresholds must rise: 0 < medium < high < critical < 1")]
    BandsOutOfOrder,
    #[error("the model's version must not be empty")]
    NoModel,
    #[error("the model in use cannot challenge itself")]
    InUse,
}

impl Event {
    /// The day on which it is true in the world.
    #[must_use]
    pub const fn effective_on(&self) -> Date {
        match self {
            Self::Created { on, .. }
            | Self::SettingsChanged { on, .. }
            | Self::ModelPromoted { on, .. }
            | Self::ChallengerChanged { on, .. } => *on,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Tenant {
    #[default]
    Unknown,
    Active {
        name: String,
        bands: Bands,
        model: Option<String>,
        challenger: Option<String>,
    },
}

impl Aggregate for Tenant {
    const KIND: Kind = Kind::Tenant;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Create { name, on } => self.create(name, on),
            Command::ChangeSettings { bands, on } => self.change_settings(bands, on),
            Command::PromoteModel { model, on } => self.promote_model(model, on),
            Command::Challenge { model, on } => self.challenge(model, on),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        if let Event::Created { name, .. } = event {
            return Self::Active {
                name: name.clone(),
                bands: Bands::default(),
                model: None,
                challenger: None,
            };
        }
        match self {
            Self::Unknown => Self::Unknown,
            Self::Active {
                name,
                mut bands,
                mut model,
                mut challenger,
            } => {
                match event {
                    Event::Created { .. } => {} // answered above
                    Event::SettingsChanged { bands: to, .. } => bands = *to,
                    Event::ModelPromoted { model: to, .. } => {
                        challenger = challenger.filter(|challenger| challenger != to);
                        model = Some(to.clone());
                    }
                    Event::ChallengerChanged { model: to, .. } => challenger.clone_from(to),
                }
                Self::Active {
                    name,
                    bands,
                    model,
                    challenger,
                }
            }
        }
    }
}

impl Tenant {
    fn create(&self, name: String, on: Date) -> Result<Vec<Event>, Rejection> {
        if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return Err(Rejection::BadName);
        }
        match self {
            Self::Unknown => Ok(vec![Event::Created { name, on }]),
            Self::Active { name: known, .. } if *known == name => Ok(vec![]),
            Self::Active { .. } => Err(Rejection::AlreadyCreated),
        }
    }

    fn change_settings(&self, bands: Bands, on: Date) -> Result<Vec<Event>, Rejection> {
        if !bands.are_in_order() {
            return Err(Rejection::BandsOutOfOrder);
        }
        match self {
            Self::Unknown => Err(Rejection::NotCreated),
            Self::Active { bands: known, .. } if *known == bands => Ok(vec![]),
            Self::Active { .. } => Ok(vec![Event::SettingsChanged { bands, on }]),
        }
    }

    fn challenge(&self, model: Option<String>, on: Date) -> Result<Vec<Event>, Rejection> {
        if model.as_ref().is_some_and(|model| model.trim().is_empty()) {
            return Err(Rejection::NoModel);
        }
        match self {
            Self::Unknown => Err(Rejection::NotCreated),
            Self::Active { model: in_use, .. } if model.is_some() && *in_use == model => Err(Rejection::InUse),
            Self::Active { challenger, .. } if *challenger == model => Ok(vec![]),
            Self::Active { .. } => Ok(vec![Event::ChallengerChanged { model, on }]),
        }
    }

    fn promote_model(&self, model: String, on: Date) -> Result<Vec<Event>, Rejection> {
        if model.trim().is_empty() {
            return Err(Rejection::NoModel);
        }
        match self {
            Self::Unknown => Err(Rejection::NotCreated),
            Self::Active { model: Some(known), .. } if *known == model => Ok(vec![]),
            Self::Active { .. } => Ok(vec![Event::ModelPromoted { model, on }]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> Date {
        Date::from_ymd_opt(2026, 1, 1).expect("a day")
    }

    fn created() -> Tenant {
        Tenant::fold(&[Event::Created {
            name: "Acme".into(),
            on: on(),
        }])
    }

    #[test]
    fn a_tenant_is_created_once() {
        let create = |name: &str| Command::Create {
            name: name.into(),
            on: on(),
        };
        assert_eq!(
            Tenant::default().decide(create("Acme"), on()),
            Ok(vec![Event::Created {
                name: "Acme".into(),
                on: on()
            }])
        );
        assert_eq!(
            created().decide(create("Acme"), on()),
            Ok(vec![]),
            "a retry is harmless"
        );
        assert_eq!(created().decide(create("Other"), on()), Err(Rejection::AlreadyCreated));
        assert_eq!(Tenant::default().decide(create(" "), on()), Err(Rejection::BadName));
    }

    #[test]
    fn settings_and_models_need_a_tenant_and_sense() {
        let bands = Bands {
            medium_above: 0.2,
            high_above: 0.3,
            critical_above: 0.5,
        };
        let change = Command::ChangeSettings { bands, on: on() };
        assert_eq!(
            Tenant::default().decide(change.clone(), on()),
            Err(Rejection::NotCreated)
        );
        let events = created().decide(change.clone(), on()).expect("accepted");
        assert_eq!(created().evolve(&events[0]).decide(change, on()), Ok(vec![]));
        let disorder = Bands {
            medium_above: 0.4,
            ..bands
        };
        assert_eq!(
            created().decide(
                Command::ChangeSettings {
                    bands: disorder,
                    on: on()
                },
                on()
            ),
            Err(Rejection::BandsOutOfOrder)
        );
        let promote = |model: &str| Command::PromoteModel {
            model: model.into(),
            on: on(),
        };
        assert_eq!(created().decide(promote(""), on()), Err(Rejection::NoModel));
        assert_eq!(
            Tenant::default().decide(promote("m1"), on()),
            Err(Rejection::NotCreated)
        );
        assert_eq!(created().decide(promote("m1"), on()).expect("accepted").len(), 1);
    }

    #[test]
    fn a_challenger_is_another_model_and_is_none_any_more_once_promoted() {
        let challenge = |model: Option<&str>| Command::Challenge {
            model: model.map(str::to_owned),
            on: on(),
        };
        let after = |state: Tenant, command: Command| {
            let events = state.decide(command, on()).expect("accepted");
            events.iter().fold(state, Tenant::evolve)
        };
        let promote = |model: &str| Command::PromoteModel {
            model: model.into(),
            on: on(),
        };
        assert_eq!(
            Tenant::default().decide(challenge(Some("m2")), on()),
            Err(Rejection::NotCreated)
        );
        let used = after(created(), promote("m1"));
        assert_eq!(used.decide(challenge(Some("m1")), on()), Err(Rejection::InUse));
        assert_eq!(used.decide(challenge(Some(" ")), on()), Err(Rejection::NoModel));
        assert_eq!(used.decide(challenge(None), on()), Ok(vec![]));
        let challenged = after(used, challenge(Some("m2")));
        assert_eq!(challenged.decide(challenge(Some("m2")), on()), Ok(vec![]));
        let other = after(challenged.clone(), promote("m3"));
        assert!(matches!(other, Tenant::Active { challenger: Some(model), .. } if model == "m2"));
        let promoted = after(challenged, promote("m2"));
        assert!(matches!(promoted, Tenant::Active { challenger: None, model: Some(model), .. } if model == "m2"));
    }

    #[test]
    fn bands_begin_above_their_thresholds() {
        let bands = Bands::default();
        assert_eq!(
            [0.10, 0.11, 0.21, 0.90, 0.91].map(|p| bands.band(p)),
            [Band::Low, Band::Medium, Band::High, Band::High, Band::Critical]
        );
    }
}
