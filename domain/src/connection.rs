//! One connection to an HRIS: its address, its secrets, and how it fares.

use serde::{Deserialize, Serialize};

use crate::{Aggregate, Date, Kind, Personal};

/// The most webhook keys that one connection holds at once. A key cannot be rotated at BambooHR, only replaced, so several
/// live side by side during a change-over.
pub const WEBHOOK_KEYS_MAX: usize = 16;
/// How far a webhook's timestamp may lie from now by default, in seconds. BambooHR retries for 155 minutes and does not
/// say whether it stamps anew, so a narrower window would lose retries; a replay is harmless, because it is deduplicated.
pub const FRESHNESS_SECONDS_DEFAULT: u32 = 3 * 60 * 60;

/// Where a BambooHR account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BambooHr {
    pub company_domain: String,
    /// Ends without a slash; requests go to `{base_url}/api/v1/...`.
    pub base_url: String,
}

/// What opens the source and proves its messages. Sealed like personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub api_key: String,
    pub webhook_keys: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Connects, or changes the address or secrets of what is connected.
    Connect {
        vendor: BambooHr,
        secrets: Personal<Secrets>,
        freshness_seconds: u32,
        on: Date,
    },
    /// A whole import or reconciliation went through.
    ReportSynchronised {
        employees: u32,
        cursor: Option<String>,
        on: Date,
    },
    /// The source could not be used; `cause` names the kind of failure, without anything personal.
    ReportFailed {
        cause: String,
        on: Date,
    },
    Disconnect {
        on: Date,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "kebab-case")]
pub enum Event {
    Connected {
        vendor: BambooHr,
        secrets: Personal<Secrets>,
        freshness_seconds: u32,
        on: Date,
    },
    Synchronised {
        employees: u32,
        cursor: Option<String>,
        on: Date,
    },
    Failed {
        cause: String,
        on: Date,
    },
    Disconnected {
        on: Date,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(
        "the company domain is the first part of the address of your BambooHR account: letters, digits and hyphens"
    )]
    BadCompanyDomain,
    #[error("the API key is empty")]
    NoApiKey,
    #[error("give between 1 and {WEBHOOK_KEYS_MAX} webhook keys, none of them empty")]
    BadWebhookKeys,
    #[error("the freshness must lie between 60 seconds and 7 days")]
    BadFreshness,
    #[error("this connection does not exist")]
    NotConnected,
}

impl Event {
    /// The day on which it is true in the world.
    #[must_use]
    pub const fn effective_on(&self) -> Date {
        match self {
            Self::Connected { on, .. }
            | Self::Synchronised { on, .. }
            | Self::Failed { on, .. }
            | Self::Disconnected { on } => *on,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Connection {
    #[default]
    Unknown,
    Live {
        vendor: BambooHr,
        secrets: Personal<Secrets>,
        freshness_seconds: u32,
        last_cause: Option<String>,
    },
    Disconnected,
}

impl Aggregate for Connection {
    const KIND: Kind = Kind::Connection;

    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(&self, command: Command, _today: Date) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Connect {
                vendor,
                secrets,
                freshness_seconds,
                on,
            } => self.connect(vendor, secrets, freshness_seconds, on),
            Command::ReportSynchronised { employees, cursor, on } => {
                self.live(vec![Event::Synchronised { employees, cursor, on }])
            }
            Command::ReportFailed { cause, on } => self.report_failed(cause, on),
            Command::Disconnect { on } => match self {
                Self::Disconnected => Ok(vec![]),
                Self::Unknown | Self::Live { .. } => self.live(vec![Event::Disconnected { on }]),
            },
        }
    }

    fn evolve(self, event: &Event) -> Self {
        match event {
            Event::Connected {
                vendor,
                secrets,
                freshness_seconds,
                ..
            } => Self::Live {
                vendor: vendor.clone(),
                secrets: secrets.clone(),
                freshness_seconds: *freshness_seconds,
                last_cause: None,
            },
            Event::Synchronised { .. } => self.with_cause(None),
            Event::Failed { cause, .. } => self.with_cause(Some(cause.clone())),
            Event::Disconnected { .. } => Self::Disconnected,
        }
    }
}

impl Connection {
    fn live(&self, events: Vec<Event>) -> Result<Vec<Event>, Rejection> {
        match self {
            Self::Live { .. } => Ok(events),
            Self::Unknown | Self::Disconnected => Err(Rejection::NotConnected),
        }
    }

    fn connect(
        &self,
        vendor: BambooHr,
        secrets: Personal<Secrets>,
        freshness_seconds: u32,
        on: Date,
    ) -> Result<Vec<Event>, Rejection> {
        let domain = &vendor.company_domain;
        if domain.is_empty() || domain.len() > 63 || !domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Rejection::BadCompanyDomain);
        }
        if let Some(secrets) = secrets.open() {
            if secrets.api_key.trim().is_empty() {
                return Err(Rejection::NoApiKey);
            }
            let keys = &secrets.webhook_keys;
            if !(1..=WEBHOOK_KEYS_MAX).contains(&keys.len()) || keys.iter().any(String::is_empty) {
                return Err(Rejection::BadWebhookKeys);
            }
        }
        if !(60..=7 * 24 * 60 * 60).contains(&freshness_seconds) {
            return Err(Rejection::BadFreshness);
        }
        match self {
            Self::Live {
                vendor: v,
                secrets: s,
                freshness_seconds: f,
                ..
            } if *v == vendor && *s == secrets && *f == freshness_seconds => Ok(vec![]),
            Self::Unknown | Self::Live { .. } | Self::Disconnected => Ok(vec![Event::Connected {
                vendor,
                secrets,
                freshness_seconds,
                on,
            }]),
        }
    }

    /// A failure is told once: the same cause again is no news until something worked.
    fn report_failed(&self, cause: String, on: Date) -> Result<Vec<Event>, Rejection> {
        match self {
            Self::Live {
                last_cause: Some(last), ..
            } if *last == cause => Ok(vec![]),
            Self::Unknown | Self::Live { .. } | Self::Disconnected => self.live(vec![Event::Failed { cause, on }]),
        }
    }

    fn with_cause(self, cause: Option<String>) -> Self {
        match self {
            Self::Live {
                vendor,
                secrets,
                freshness_seconds,
                ..
            } => Self::Live {
                vendor,
                secrets,
                freshness_seconds,
                last_cause: cause,
            },
            Self::Unknown | Self::Disconnected => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> Date {
        Date::from_ymd_opt(2026, 1, 1).expect("a day")
    }

    fn connect(domain: &str, api_key: &str, keys: &[&str], freshness_seconds: u32) -> Command {
        Command::Connect {
            vendor: BambooHr {
                company_domain: domain.into(),
                base_url: "http://localhost".into(),
            },
            secrets: Personal::Open(Secrets {
                api_key: api_key.into(),
                webhook_keys: keys.iter().map(|&k| k.into()).collect(),
            }),
            freshness_seconds,
            on: on(),
        }
    }

    fn connected() -> Connection {
        let events = Connection::default()
            .decide(connect("acme", "k", &["w"], 300), on())
            .expect("accepted");
        Connection::fold(&events)
    }

    #[test]
    fn connecting_is_idempotent_and_keys_can_be_added() {
        assert_eq!(connected().decide(connect("acme", "k", &["w"], 300), on()), Ok(vec![]));
        assert_eq!(
            connected()
                .decide(connect("acme", "k", &["w", "w2"], 300), on())
                .expect("accepted")
                .len(),
            1
        );
    }

    #[test]
    fn every_rejection_is_produced() {
        let refused = |command| Connection::default().decide(command, on()).expect_err("refused");
        assert_eq!(
            refused(connect("acme.example", "k", &["w"], 300)),
            Rejection::BadCompanyDomain
        );
        assert_eq!(refused(connect("acme", " ", &["w"], 300)), Rejection::NoApiKey);
        assert_eq!(refused(connect("acme", "k", &[], 300)), Rejection::BadWebhookKeys);
        assert_eq!(refused(connect("acme", "k", &["w"], 5)), Rejection::BadFreshness);
        assert_eq!(refused(Command::Disconnect { on: on() }), Rejection::NotConnected);
    }

    #[test]
    fn a_failure_is_told_once_until_something_works() {
        let fail = Command::ReportFailed {
            cause: "unauthorised".into(),
            on: on(),
        };
        let events = connected().decide(fail.clone(), on()).expect("accepted");
        let failed = connected().evolve(&events[0]);
        assert_eq!(failed.decide(fail.clone(), on()), Ok(vec![]));
        let well = failed.evolve(&Event::Synchronised {
            employees: 1,
            cursor: None,
            on: on(),
        });
        assert_eq!(well.decide(fail, on()).expect("accepted").len(), 1);
    }
}
