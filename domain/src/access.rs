//! Who looked back, at what, and what for: the history of history. One stream per person who asks.

use serde::{Deserialize, Serialize};

use crate::{Aggregate, Date, Kind, Personal, Timestamp};

/// The longest purpose, in characters.
pub const PURPOSE_CHARS_MAX: usize = 500;

/// One question about the past. Who asked is the event's actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub on: Date,
    /// What was asked for: a field of the GraphQL interface, such as `employees`.
    pub about: String,
    /// The day that it was about, or the last day of a series.
    #[serde(default)]
    pub as_of: Option<Date>,
    /// The state of knowledge that it was about.
    #[serde(default)]
    pub known_at: Option<Timestamp>,
    /// In the asker's words, which may name people.
    pub purpose: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    AskForHistory(Question),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    HistoryAskedFor(Question),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("say what the history is wanted for, in {PURPOSE_CHARS_MAX} characters at most")]
    NoPurpose,
}

impl Event {
    /// The day on which it is true in the world.
    #[must_use]
    pub const fn effective_on(&self) -> Date {
        match self {
            Self::HistoryAskedFor(question) => question.on,
        }
    }
}

/// Whether a purpose says something, and not too much.
#[must_use]
pub fn is_purpose(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= PURPOSE_CHARS_MAX
}

/// What somebody asked for: nothing of it decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access;

impl Aggregate for Access {
    const KIND: Kind = Kind::Access;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::AskForHistory(question) => match question.purpose.open() {
                Some(purpose) if is_purpose(purpose) => Ok(vec![Event::HistoryAskedFor(question)]),
                Some(_) | None => Err(Rejection::NoPurpose),
            },
        }
    }

    fn evolve(self, _event: &Event) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(purpose: &str) -> Result<Vec<Event>, Rejection> {
        let question = Question {
            on: Date::default(),
            about: "employees".to_owned(),
            as_of: None,
            known_at: None,
            purpose: Personal::Open(purpose.to_owned()),
        };
        Access.decide(Command::AskForHistory(question), Date::default())
    }

    #[test]
    fn a_purpose_has_to_say_something() {
        assert_eq!(asked("yearly report on turnover").map(|events| events.len()), Ok(1));
        assert_eq!(asked(" "), Err(Rejection::NoPurpose));
        assert_eq!(asked(&"x".repeat(PURPOSE_CHARS_MAX + 1)), Err(Rejection::NoPurpose));
    }
}
