//! A career program: from which jobs to which jobs people move up, such as from Cashier to Supervisor. One stream per program.
//!
//! The definition is all that promotion readiness needs: who is a candidate, and what counts as having made it.

use serde::{Deserialize, Serialize};

use crate::{Aggregate, Date, Kind};

/// The longest name of a program, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// The most job titles on either side of a program.
pub const TITLES_MAX: usize = 50;
/// The longest job title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// The two ends of a career step, as job titles. Titles are compared without regard to case and to spaces around them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// Whoever has one of these is a candidate.
    pub from: Vec<String>,
    /// Whoever comes to have one of these has made it.
    pub to: Vec<String>,
}

impl Path {
    #[must_use]
    pub fn starts_at(&self, title: &str) -> bool {
        is_among(&self.from, title)
    }

    #[must_use]
    pub fn leads_to(&self, title: &str) -> bool {
        is_among(&self.to, title)
    }
}

fn is_among(titles: &[String], title: &str) -> bool {
    let plain = |title: &str| title.trim().to_lowercase();
    titles.iter().any(|one| plain(one) == plain(title))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Opens a program, or changes what it is.
    Define { name: String, path: Path, on: Date },
    /// Nobody is a candidate any more.
    Close { on: Date },
    /// Makes a model of the registry the one whose scores people see.
    PromoteModel { model: String, on: Date },
    /// Runs a model of the registry beside the one in use, on the same candidates, unseen: none ends that.
    Challenge { model: Option<String>, on: Date },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    Defined { name: String, path: Path, on: Date },
    Closed { on: Date },
    ModelPromoted { model: String, on: Date },
    ChallengerChanged { model: Option<String>, on: Date },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("a program's name must not be empty or longer than {NAME_CHARS_MAX} characters")]
    BadName,
    #[error("a program leads from at least one job title to at least one other, {TITLES_MAX} at most on either side")]
    NoTitles,
    #[error("a job title must not be empty or longer than {TITLE_CHARS_MAX} characters")]
    BadTitle,
    #[error("{0:?} is on both sides: nobody can move up to where they are")]
    LeadsNowhere(String),
    #[error("there is no such program: define it first")]
    NotDefined,
    #[error("this program is closed: define it again to open it")]
    Closed,
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
            Self::Defined { on, .. }
            | Self::Closed { on }
            | Self::ModelPromoted { on, .. }
            | Self::ChallengerChanged { on, .. } => *on,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Program {
    #[default]
    Unknown,
    Open {
        name: String,
        path: Path,
        /// The version in use. None: no scores yet.
        model: Option<String>,
        /// The version that runs beside it.
        challenger: Option<String>,
    },
    Closed,
}

impl Aggregate for Program {
    const KIND: Kind = Kind::Program;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Define { name, path, on } => self.define(name, path, on),
            Command::Close { on } => match self {
                Self::Unknown => Err(Rejection::NotDefined),
                Self::Closed => Ok(vec![]),
                Self::Open { .. } => Ok(vec![Event::Closed { on }]),
            },
            Command::PromoteModel { model, on } => self.promote_model(model, on),
            Command::Challenge { model, on } => self.challenge(model, on),
        }
    }

    fn evolve(self, event: &Event) -> Self {
        match (self, event) {
            // Another path is another question: what was learnt for the old one does not answer it.
            (
                Self::Open {
                    path: known,
                    model,
                    challenger,
                    ..
                },
                Event::Defined { name, path, .. },
            ) => Self::Open {
                name: name.clone(),
                model: model.filter(|_| known == *path),
                challenger: challenger.filter(|_| known == *path),
                path: path.clone(),
            },
            (Self::Unknown | Self::Closed, Event::Defined { name, path, .. }) => Self::Open {
                name: name.clone(),
                path: path.clone(),
                model: None,
                challenger: None,
            },
            (
                Self::Open {
                    name, path, challenger, ..
                },
                Event::ModelPromoted { model, .. },
            ) => Self::Open {
                name,
                path,
                challenger: challenger.filter(|challenger| challenger != model),
                model: Some(model.clone()),
            },
            (Self::Open { name, path, model, .. }, Event::ChallengerChanged { model: to, .. }) => Self::Open {
                name,
                path,
                model,
                challenger: to.clone(),
            },
            (Self::Open { .. } | Self::Closed, Event::Closed { .. }) => Self::Closed,
            (
                state @ (Self::Unknown | Self::Closed),
                Event::ModelPromoted { .. } | Event::ChallengerChanged { .. } | Event::Closed { .. },
            ) => state,
        }
    }
}

impl Program {
    fn define(&self, name: String, path: Path, on: Date) -> Result<Vec<Event>, Rejection> {
        if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return Err(Rejection::BadName);
        }
        for titles in [&path.from, &path.to] {
            if titles.is_empty() || titles.len() > TITLES_MAX {
                return Err(Rejection::NoTitles);
            }
            if titles
                .iter()
                .any(|title| title.trim().is_empty() || title.chars().count() > TITLE_CHARS_MAX)
            {
                return Err(Rejection::BadTitle);
            }
        }
        if let Some(both) = path.to.iter().find(|title| path.starts_at(title)) {
            return Err(Rejection::LeadsNowhere(both.clone()));
        }
        match self {
            Self::Open {
                name: known_name,
                path: known_path,
                ..
            } if *known_name == name && *known_path == path => Ok(vec![]),
            Self::Unknown | Self::Open { .. } | Self::Closed => Ok(vec![Event::Defined { name, path, on }]),
        }
    }

    fn promote_model(&self, model: String, on: Date) -> Result<Vec<Event>, Rejection> {
        if model.trim().is_empty() {
            return Err(Rejection::NoModel);
        }
        match self {
            Self::Unknown => Err(Rejection::NotDefined),
            Self::Closed => Err(Rejection::Closed),
            Self::Open { model: Some(known), .. } if *known == model => Ok(vec![]),
            Self::Open { .. } => Ok(vec![Event::ModelPromoted { model, on }]),
        }
    }

    fn challenge(&self, model: Option<String>, on: Date) -> Result<Vec<Event>, Rejection> {
        if model.as_ref().is_some_and(|model| model.trim().is_empty()) {
            return Err(Rejection::NoModel);
        }
        match self {
            Self::Unknown => Err(Rejection::NotDefined),
            Self::Closed => Err(Rejection::Closed),
            Self::Open { model: in_use, .. } if model.is_some() && *in_use == model => Err(Rejection::InUse),
            Self::Open { challenger, .. } if *challenger == model => Ok(vec![]),
            Self::Open { .. } => Ok(vec![Event::ChallengerChanged { model, on }]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> Date {
        Date::from_ymd_opt(2026, 1, 1).expect("a day")
    }

    fn path(from: &[&str], to: &[&str]) -> Path {
        let titles = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect();
        Path {
            from: titles(from),
            to: titles(to),
        }
    }

    fn define(name: &str, path: Path) -> Command {
        Command::Define {
            name: name.to_owned(),
            path,
            on: on(),
        }
    }

    fn promote(model: &str) -> Command {
        Command::PromoteModel {
            model: model.to_owned(),
            on: on(),
        }
    }

    fn challenge(model: Option<&str>) -> Command {
        Command::Challenge {
            model: model.map(str::to_owned),
            on: on(),
        }
    }

    fn after(commands: impl IntoIterator<Item = Command>) -> Program {
        commands.into_iter().fold(Program::default(), |state, command| {
            let events = state.decide(command, on()).expect("accepted");
            events.iter().fold(state, Program::evolve)
        })
    }

    #[test]
    fn titles_are_compared_without_case_and_spaces() {
        let path = path(&["Cashier "], &["Supervisor"]);
        assert!(path.starts_at("cashier") && path.leads_to(" SUPERVISOR"));
        assert!(!path.starts_at("Head Cashier") && !path.leads_to("cashier"));
    }

    #[test]
    fn every_rejection_is_produced() {
        let program = Program::default();
        let good = path(&["Cashier"], &["Supervisor"]);
        assert_eq!(program.decide(define(" ", good.clone()), on()), Err(Rejection::BadName));
        assert_eq!(
            program.decide(define("P", path(&["Cashier"], &[])), on()),
            Err(Rejection::NoTitles)
        );
        assert_eq!(
            program.decide(define("P", path(&[""], &["Supervisor"])), on()),
            Err(Rejection::BadTitle)
        );
        assert_eq!(
            program.decide(define("P", path(&["Cashier"], &["cashier"])), on()),
            Err(Rejection::LeadsNowhere("cashier".to_owned()))
        );
        assert_eq!(program.decide(promote("m"), on()), Err(Rejection::NotDefined));
        assert_eq!(
            program.decide(Command::Close { on: on() }, on()),
            Err(Rejection::NotDefined)
        );
        let closed = after([define("P", good), Command::Close { on: on() }]);
        assert_eq!(closed.decide(promote("m"), on()), Err(Rejection::Closed));
        assert_eq!(closed.decide(promote(" "), on()), Err(Rejection::NoModel));
        assert_eq!(program.decide(challenge(None), on()), Err(Rejection::NotDefined));
        assert_eq!(closed.decide(challenge(Some("m")), on()), Err(Rejection::Closed));
        assert_eq!(closed.decide(challenge(Some(" ")), on()), Err(Rejection::NoModel));
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let good = path(&["Cashier"], &["Supervisor"]);
        let open = after([define("P", good.clone()), promote("m")]);
        assert_eq!(open.decide(define("P", good), on()), Ok(vec![]));
        assert_eq!(open.decide(promote("m"), on()), Ok(vec![]));
    }

    #[test]
    fn a_new_name_keeps_the_model_and_a_new_path_does_not() {
        let good = path(&["Cashier"], &["Supervisor"]);
        let model = |program: Program| match program {
            Program::Open { model, .. } => model,
            Program::Unknown | Program::Closed => panic!("open"),
        };
        let renamed = after([define("P", good.clone()), promote("m"), define("Q", good.clone())]);
        assert_eq!(model(renamed), Some("m".to_owned()));
        let other = after([
            define("P", good.clone()),
            promote("m"),
            define("P", path(&["Cashier"], &["Lead"])),
        ]);
        assert_eq!(model(other), None);
        let again = after([
            define("P", good.clone()),
            promote("m"),
            Command::Close { on: on() },
            define("P", good),
        ]);
        assert_eq!(model(again), None);
    }

    #[test]
    fn a_challenger_is_another_model_and_is_none_any_more_once_promoted_or_asked_something_else() {
        let good = path(&["Cashier"], &["Supervisor"]);
        let challenger = |program: &Program| match program {
            Program::Open { challenger, .. } => challenger.clone(),
            Program::Unknown | Program::Closed => panic!("open"),
        };
        let begun = || [define("P", good.clone()), promote("m1")];
        let used = after(begun());
        assert_eq!(used.decide(challenge(Some("m1")), on()), Err(Rejection::InUse));
        assert_eq!(used.decide(challenge(None), on()), Ok(vec![]));
        let after = |more: &[Command]| after(begun().into_iter().chain(more.iter().cloned()));
        let challenged = after(&[challenge(Some("m2"))]);
        assert_eq!(challenger(&challenged).as_deref(), Some("m2"));
        assert_eq!(challenged.decide(challenge(Some("m2")), on()), Ok(vec![]));
        let other = after(&[challenge(Some("m2")), promote("m3")]);
        assert_eq!(challenger(&other).as_deref(), Some("m2"));
        assert_eq!(challenger(&after(&[challenge(Some("m2")), promote("m2")])), None);
        assert_eq!(challenger(&after(&[challenge(Some("m2")), challenge(None)])), None);
        let elsewhere = define("P", path(&["Cashier"], &["Lead"]));
        assert_eq!(challenger(&after(&[challenge(Some("m2")), elsewhere])), None);
        let renamed = after(&[challenge(Some("m2")), define("Q", good.clone())]);
        assert_eq!(challenger(&renamed).as_deref(), Some("m2"));
    }
}
