//! One connection to a source, such as an HRIS: what it is, its secrets, and how it fares.

mod mapping;

use serde::{Deserialize, Serialize};

pub use self::mapping::{Column, DayOrder, DecimalMark, Mapping, MappingProblem, Meaning};
use crate::{Aggregate, Date, Kind, Personal, id::ConnectionId};

/// The most webhook keys that one connection holds at once. A key cannot be rotated at BambooHR, only replaced, so several
/// live side by side during a change-over.
pub const WEBHOOK_KEYS_MAX: usize = 16;
/// How far a webhook's timestamp may lie from now by default, in seconds. BambooHR retries for 155 minutes and does not
/// say whether it stamps anew, so a narrower window would lose retries; a replay is harmless, because it is deduplicated.
pub const FRESHNESS_SECONDS_DEFAULT: u32 = 3 * 60 * 60;
/// The most tokens of one identity provider: the one in use, and the one that takes its place.
pub const SCIM_TOKENS_MAX: usize = 2;

/// The most connections whose employees one payroll pays.
pub const PAID_CONNECTIONS_MAX: usize = 16;

/// What is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum System {
    BambooHr(BambooHr),
    /// A system without a connector: it tells by itself, and is not asked.
    Push(Push),
    /// An identity provider, which keeps accounts here by SCIM.
    Scim(Scim),
    Workday(Box<Workday>),
    /// A payroll: it tells of nobody, and changes of pay are made there.
    Gusto(Box<Gusto>),
    Adp(Box<Adp>),
}

impl System {
    /// Whom it pays, if it is a payroll.
    #[must_use]
    pub fn pays(&self) -> Option<&Pays> {
        match self {
            Self::Gusto(account) => Some(&account.pays),
            Self::Adp(account) => Some(&account.pays),
            Self::BambooHr(_) | Self::Push(_) | Self::Scim(_) | Self::Workday(_) => None,
        }
    }

    /// The word for what kind of system it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BambooHr(_) => "bamboohr",
            Self::Push(_) => "push",
            Self::Scim(_) => "scim",
            Self::Workday(_) => "workday",
            Self::Gusto(_) => "gusto",
            Self::Adp(_) => "adp",
        }
    }

    /// What tells it from others of its kind.
    #[must_use]
    pub fn account(&self) -> &str {
        match self {
            Self::BambooHr(account) => &account.company_domain,
            Self::Push(push) => &push.name,
            Self::Scim(scim) => &scim.name,
            Self::Workday(account) => &account.tenant,
            Self::Gusto(account) => &account.company,
            Self::Adp(account) => &account.name,
        }
    }
}

/// A system that tells by itself, in Tenure's own vocabulary or in files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The customer's own word for it.
    pub name: String,
    /// How its files are read, if it sends any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Box<Mapping>>,
    /// Where such a file is fetched from, if it is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Report>>,
}

/// A report that a system gives to whoever asks for it, such as one of Workday's (RaaS): a file at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// With its prompts.
    pub url: String,
    /// Whose password is among the secrets.
    pub user: String,
    /// How often it is fetched.
    pub every_hours: u16,
}

impl Report {
    /// How often a report is fetched unless said otherwise.
    pub const EVERY_HOURS: u16 = 24;
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scim {
    /// The customer's own word for it.
    pub name: String,
}

/// Where a BambooHR account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BambooHr {
    pub company_domain: String,
    /// Ends without a slash; requests go to `{base_url}/api/v1/...`.
    pub base_url: String,
    /// The account's id of the webhook that Tenure registered, and sees to it that there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

/// Where a Workday tenant is, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workday {
    /// The tenant's name, such as `acme_dpt1`.
    pub tenant: String,
    /// Ends without a slash, such as `https://wd2-impl-services1.workday.com`.
    pub base_url: String,
    /// Of the web services, such as `v42.0`.
    pub version: String,
    pub login: Login,
    /// The type of the organisations that are departments, such as `SUPERVISORY` or `COST_CENTER`.
    pub department: String,
    /// The type of those that are divisions.
    pub division: String,
}

/// Where a company's payroll at Gusto is, and whom it pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gusto {
    /// The company's id there, a UUID.
    pub company: String,
    /// Ends without a slash, such as `https://api.gusto.com`.
    pub base_url: String,
    /// The application's id. Its secret and a refresh token are among the secrets.
    pub client_id: String,
    pub pays: Pays,
}

/// Where an organisation's payroll at ADP Workforce Now is, and whom it pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adp {
    /// The customer's own word for it.
    pub name: String,
    /// Ends without a slash, such as `https://api.adp.com`.
    pub base_url: String,
    /// Such as `https://accounts.adp.com/auth/oauth/v2/token`.
    pub token_url: String,
    /// The project's id. Its secret, certificate and private key are among the secrets.
    pub client_id: String,
    /// The reason that changes are sent with, one of the organisation's codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub shape: Shape,
    /// Who vouches for the addresses (PEM), if no public authority does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    pub pays: Pays,
}

/// Where in an event the assignment lies that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `transform.worker.workAssignment`.
    #[default]
    Worker,
    /// `transform.workAssignment`.
    WorkAssignment,
}

/// Whom a payroll pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pays {
    /// The connections whose employees it pays. They are found in it by their work addresses.
    pub employees_of: Vec<ConnectionId>,
    /// Whether profiles follow what it shows: for people whose own source tells nothing of pay.
    pub tells_profiles: bool,
}

/// Who reads a Workday tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Login {
    /// An integration system user, without the tenant. Its password is among the secrets.
    Password { user: String },
    /// An API client for integrations. Its secret and the user's refresh token are among the secrets.
    RefreshToken { client_id: String },
}

impl Workday {
    /// The version that is asked for unless said otherwise.
    pub const VERSION: &str = "v42.0";
    /// What is a department unless said otherwise.
    pub const DEPARTMENT: &str = "SUPERVISORY";
    /// What is a division unless said otherwise.
    pub const DIVISION: &str = "BUSINESS_UNIT";

    fn check(&self) -> Result<(), Rejection> {
        let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let version = self
            .version
            .strip_prefix('v')
            .and_then(|version| version.split_once('.'));
        if !version.is_some_and(|(major, minor)| is_number(major) && is_number(minor)) {
            return Err(Rejection::BadVersion);
        }
        let is_name = match &self.login {
            Login::Password { user } => (1..=255).contains(&user.len()) && !user.contains(['@', ' ']),
            Login::RefreshToken { client_id } => {
                (1..=255).contains(&client_id.len()) && !client_id.contains([':', ' '])
            }
        };
        if is_name { Ok(()) } else { Err(Rejection::BadUser) }
    }
}

impl Gusto {
    fn check(&self) -> Result<(), Rejection> {
        if uuid::Uuid::parse_str(&self.company).is_err() || self.client_id.trim().is_empty() {
            return Err(Rejection::BadCompany);
        }
        self.pays.check()
    }
}

impl Pays {
    fn check(&self) -> Result<(), Rejection> {
        if (1..=PAID_CONNECTIONS_MAX).contains(&self.employees_of.len()) {
            Ok(())
        } else {
            Err(Rejection::PaysNobody)
        }
    }
}

/// What opens the source and proves its messages. Sealed like personal data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// For systems that are asked: the key, the user's password, or the refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Of an OAuth client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// What is shown in mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<Identity>>,
    pub webhook_keys: Vec<String>,
    /// Digests of the bearer tokens of an identity provider, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
}

/// A certificate and its private key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub certificate: String,
    pub private_key: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Connects, or changes the address or secrets of what is connected.
    Connect {
        system: System,
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
        system: System,
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
    #[error("the name of a system is up to 63 letters, digits and hyphens")]
    BadName,
    #[error("the tenant of Workday is a name of up to 63 letters, digits, hyphens and underscores, such as acme_dpt1")]
    BadTenant,
    #[error("the version of Workday's web services is written as v42.0")]
    BadVersion,
    #[error(
        "the integration system user is a name without @ and the tenant, and the API client's id as Workday shows it"
    )]
    BadUser,
    #[error("the company's id at Gusto is a UUID, and the application's id is not empty")]
    BadCompany,
    #[error("a payroll pays the employees of 1 to {PAID_CONNECTIONS_MAX} connections: give their ids in employees_of")]
    PaysNobody,
    #[error("a report has a user, and is fetched every 1 to 744 hours")]
    BadReport,
    #[error("the API key, password or refresh token is empty")]
    NoApiKey,
    #[error("the client secret is empty")]
    NoClientSecret,
    #[error("a certificate and its private key are needed, both as PEM")]
    NoCertificate,
    #[error("give between 1 and {WEBHOOK_KEYS_MAX} webhook keys, none of them empty")]
    BadWebhookKeys,
    #[error("an identity provider has 1 to {SCIM_TOKENS_MAX} tokens")]
    BadTokens,
    #[error("the mapping cannot be used: {0}")]
    BadMapping(#[from] MappingProblem),
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
        system: System,
        secrets: Box<Personal<Secrets>>,
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
                system,
                secrets,
                freshness_seconds,
                on,
            } => self.connect(system, secrets, freshness_seconds, on),
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
                system,
                secrets,
                freshness_seconds,
                ..
            } => Self::Live {
                system: system.clone(),
                secrets: Box::new(secrets.clone()),
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
        system: System,
        secrets: Personal<Secrets>,
        freshness_seconds: u32,
        on: Date,
    ) -> Result<Vec<Event>, Rejection> {
        let account = system.account();
        let may_have_underscores = matches!(system, System::Workday(_));
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (b == b'_' && may_have_underscores);
        if account.is_empty() || account.len() > 63 || !account.bytes().all(fits) {
            return Err(match system {
                System::BambooHr(_) => Rejection::BadCompanyDomain,
                System::Push(_) | System::Scim(_) | System::Adp(_) => Rejection::BadName,
                System::Workday(_) => Rejection::BadTenant,
                System::Gusto(_) => Rejection::BadCompany,
            });
        }
        let needs_client_secret = matches!(&system, System::Workday(account) if matches!(account.login, Login::RefreshToken { .. }))
            || matches!(&system, System::Gusto(_) | System::Adp(_));
        // Whoever sends files only needs no keys.
        let (is_asked, keys_min, tokens) = match &system {
            System::BambooHr(_) => (true, 1, 0..=0),
            System::Push(push) => {
                let mapping = push.mapping.as_deref();
                mapping.map_or(Ok(()), Mapping::check)?;
                let report = push.report.as_deref();
                if report.is_some_and(|report| report.user.is_empty() || !(1..=24 * 31).contains(&report.every_hours)) {
                    return Err(Rejection::BadReport);
                }
                (report.is_some(), usize::from(mapping.is_none()), 0..=0)
            }
            System::Scim(_) => (false, 0, 1..=SCIM_TOKENS_MAX),
            // It calls nobody.
            System::Workday(account) => {
                account.check()?;
                (true, 0, 0..=0)
            }
            System::Gusto(account) => {
                account.check()?;
                (true, 0, 0..=0)
            }
            System::Adp(account) => {
                account.pays.check()?;
                if secrets.open().is_some_and(|secrets| secrets.identity.is_none()) {
                    return Err(Rejection::NoCertificate);
                }
                (false, 0, 0..=0)
            }
        };
        if let Some(secrets) = secrets.open() {
            let has_api_key = secrets.api_key.as_ref().is_some_and(|key| !key.trim().is_empty());
            if is_asked && !has_api_key {
                return Err(Rejection::NoApiKey);
            }
            let has_client_secret = secrets
                .client_secret
                .as_ref()
                .is_some_and(|secret| !secret.trim().is_empty());
            if needs_client_secret && !has_client_secret {
                return Err(Rejection::NoClientSecret);
            }
            let keys = &secrets.webhook_keys;
            if !(keys_min..=WEBHOOK_KEYS_MAX).contains(&keys.len()) || keys.iter().any(String::is_empty) {
                return Err(Rejection::BadWebhookKeys);
            }
            if !tokens.contains(&secrets.tokens.len()) {
                return Err(Rejection::BadTokens);
            }
        }
        if !(60..=7 * 24 * 60 * 60).contains(&freshness_seconds) {
            return Err(Rejection::BadFreshness);
        }
        match self {
            Self::Live {
                system: known,
                secrets: s,
                freshness_seconds: f,
                ..
            } if *known == system && **s == secrets && *f == freshness_seconds => Ok(vec![]),
            Self::Unknown | Self::Live { .. } | Self::Disconnected => Ok(vec![Event::Connected {
                system,
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
                system,
                secrets,
                freshness_seconds,
                ..
            } => Self::Live {
                system,
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
    use serde_json::{Value, json};

    use super::*;

    fn on() -> Date {
        Date::from_ymd_opt(2026, 1, 1).expect("a day")
    }

    fn connect(domain: &str, api_key: &str, keys: &[&str], freshness_seconds: u32) -> Command {
        Command::Connect {
            system: System::BambooHr(BambooHr {
                company_domain: domain.into(),
                base_url: "http://localhost".into(),
                webhook: None,
            }),
            secrets: Personal::Open(Secrets {
                api_key: Some(api_key.into()),
                webhook_keys: keys.iter().map(|&k| k.into()).collect(),
                tokens: vec![],
                ..Secrets::default()
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
        let push = |name: &str| Command::Connect {
            system: System::Push(Push {
                name: name.into(),
                mapping: None,
                report: None,
            }),
            secrets: Personal::Open(Secrets {
                webhook_keys: vec!["w".into()],
                ..Secrets::default()
            }),
            freshness_seconds: 300,
            on: on(),
        };
        assert_eq!(refused(push("our HR")), Rejection::BadName);
        let files = |mapping: Value, webhook_keys: &[&str]| Command::Connect {
            system: System::Push(Push {
                name: "our-hr".into(),
                mapping: serde_json::from_value(mapping).expect("a mapping"),
                report: None,
            }),
            secrets: Personal::Open(Secrets {
                webhook_keys: webhook_keys.iter().map(|&key| key.into()).collect(),
                ..Secrets::default()
            }),
            freshness_seconds: 300,
            on: on(),
        };
        let problem = Rejection::BadMapping(MappingProblem::NoId);
        assert_eq!(refused(files(json!({"columns": {}}), &["w"])), problem);
        let files_only = files(json!({"columns": {"id": "Nr"}}), &[]);
        assert!(
            Connection::default().decide(files_only, on()).is_ok(),
            "no webhooks, no keys"
        );
        assert_eq!(refused(files(Value::Null, &[])), Rejection::BadWebhookKeys);
        let scim = |tokens: usize| Command::Connect {
            system: System::Scim(Scim { name: "okta".into() }),
            secrets: Personal::Open(Secrets {
                tokens: vec!["digest".into(); tokens],
                ..Secrets::default()
            }),
            freshness_seconds: 300,
            on: on(),
        };
        assert_eq!(
            (refused(scim(0)), refused(scim(3))),
            (Rejection::BadTokens, Rejection::BadTokens)
        );
        assert!(Connection::default().decide(scim(2), on()).is_ok(), "it needs no keys");
        let workday = |tenant: &str, version: &str, user: &str, password: &str| Command::Connect {
            system: System::Workday(Box::new(Workday {
                tenant: tenant.into(),
                base_url: "https://wd2.example".into(),
                version: version.into(),
                login: Login::Password { user: user.into() },
                department: Workday::DEPARTMENT.into(),
                division: Workday::DIVISION.into(),
            })),
            secrets: Personal::Open(Secrets {
                api_key: Some(password.into()),
                ..Secrets::default()
            }),
            freshness_seconds: 300,
            on: on(),
        };
        assert_eq!(refused(workday("../acme", "v42.0", "ISU", "p")), Rejection::BadTenant);
        for version in ["42.0", "v42", "v42.x", "v1234.0"] {
            assert_eq!(refused(workday("acme", version, "ISU", "p")), Rejection::BadVersion);
        }
        assert_eq!(refused(workday("acme", "v42.0", "ISU@acme", "p")), Rejection::BadUser);
        assert_eq!(refused(workday("acme", "v42.0", "ISU", "")), Rejection::NoApiKey);
        let Command::Connect {
            system: System::Workday(mut account),
            secrets,
            ..
        } = workday("acme", "v42.0", "ISU", "p")
        else {
            panic!("another")
        };
        account.login = Login::RefreshToken {
            client_id: "NjkwZjM4".into(),
        };
        let system = System::Workday(account);
        let by_token = Command::Connect {
            system,
            secrets,
            freshness_seconds: 300,
            on: on(),
        };
        assert_eq!(refused(by_token), Rejection::NoClientSecret);
        let fine = workday("acme_dpt1", "v42.0", "ISU", "p");
        assert!(
            Connection::default().decide(fine, on()).is_ok(),
            "it needs no webhook keys"
        );
        assert!(
            Connection::default().decide(push("our-hr"), on()).is_ok(),
            "it needs no API key"
        );
    }

    #[test]
    fn what_was_stored_before_reads_and_what_is_new_is_named() {
        let before = json!({"kind": "bamboohr", "company_domain": "acme", "base_url": "http://localhost"});
        let System::BambooHr(account) = serde_json::from_value(before.clone()).expect("a system") else {
            panic!("another kind");
        };
        assert_eq!(account.webhook, None);
        assert_eq!(serde_json::to_value(System::BambooHr(account)).ok(), Some(before));
        let secrets: Secrets = serde_json::from_value(json!({"webhook_keys": ["w"]})).expect("secrets");
        assert_eq!(
            serde_json::to_value(&secrets).ok(),
            Some(json!({"webhook_keys": ["w"]}))
        );
        let scim = System::Scim(Scim { name: "okta".into() });
        assert_eq!(
            serde_json::to_value(&scim).ok(),
            Some(json!({"kind": "scim", "name": "okta"}))
        );
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
