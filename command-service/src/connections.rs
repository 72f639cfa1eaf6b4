//! Connections as the log knows them, cached: webhooks are verified also while Postgres is away.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use domain::{
    Aggregate, StreamId, Timestamp,
    connection::{Connection, Event, Mapping, Report, Secrets, System},
    id::{ConnectionId, TenantId},
};
use infra::{
    database::{Access, Database, DatabaseError},
    event_log, route,
    sealing::{Keyring, Place, SealingError, open_payload},
};
use schemas::codec::AnyEvent;

use crate::{
    bamboohr::{self, moment},
    pace::Paces,
    source::{Client, SourceProblem},
    token::Token,
    workday,
};

/// A cached connection is read again after this, when the database is there.
const FRESH: Duration = Duration::from_secs(30);

/// How long a refresh may keep a webhook waiting.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that is alive.
#[derive(Clone)]
pub struct Live {
    pub tenant: TenantId,
    pub id: ConnectionId,
    pub system: System,
    pub secrets: Secrets,
    pub freshness_seconds: u32,
    /// Whether an import went through once.
    pub synchronised: bool,
    /// Where the source said that changes are to be asked for from, when all of it was read last.
    pub cursor: Option<Timestamp>,
    /// What its secrets were exchanged for.
    pub(crate) token: Token,
}

impl Live {
    /// How its files are read, if it sends any.
    #[must_use]
    pub fn mapping(&self) -> Option<&Mapping> {
        match &self.system {
            System::BambooHr(_) | System::Scim(_) | System::Workday(_) | System::Gusto(_) | System::Adp(_) => None,
            System::Push(push) => push.mapping.as_deref(),
        }
    }

    /// Where its file is fetched from, if it is not sent.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.system {
            System::Push(push) => push.report.as_deref(),
            System::BambooHr(_) | System::Scim(_) | System::Workday(_) | System::Gusto(_) | System::Adp(_) => None,
        }
    }

    /// What asks it, at its pace; none for a system that only tells.
    ///
    /// # Errors
    /// When its address is none.
    pub fn client(&self, http: &reqwest::Client, paces: &Paces) -> Result<Option<Client>, SourceProblem> {
        let (http, pace) = (http.clone(), paces.of(self.id));
        match &self.system {
            System::BambooHr(account) => {
                let Some(key) = self.secrets.api_key.clone() else {
                    return Ok(None);
                };
                let (base_url, domain) = (&account.base_url, &account.company_domain);
                let client = bamboohr::client::Client::new(base_url, domain, key.into(), http)?;
                Ok(Some(Client::BambooHr(client.at(pace))))
            }
            System::Workday(account) => {
                let opened_by = (&self.secrets, self.token.clone());
                let client = workday::client::Client::new(account, opened_by, http)?;
                Ok(Some(Client::Workday(client.at(pace))))
            }
            // A payroll tells of nobody: it is asked by `payroll`.
            System::Push(_) | System::Scim(_) | System::Gusto(_) | System::Adp(_) => Ok(None),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    #[error("the connection could not be looked up")]
    Database(#[from] DatabaseError),
    #[error("the connection's secrets could not be opened")]
    Sealing(#[from] SealingError),
    #[error("the connection's history does not read")]
    Unreadable,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    database: Database,
    keyring: Keyring,
    cached: Arc<RwLock<HashMap<ConnectionId, (Live, Instant)>>>,
}

impl Connections {
    #[must_use]
    pub fn new(database: Database, keyring: Keyring) -> Self {
        Self {
            database,
            keyring,
            cached: Arc::default(),
        }
    }

    /// Reads every connection once, so that webhooks are accepted if Postgres goes away later. Answers how many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn warm(&self) -> Result<Vec<Live>, ConnectionsError> {
        let routes = self
            .database
            .transact(Access::Read, &[], |connection| Box::pin(route::all(connection)))
            .await?;
        let mut live = Vec::new();
        for (id, tenant) in routes {
            self.keyring.tenant(tenant).await?;
            live.extend(self.read(tenant, id).await?);
        }
        Ok(live)
    }

    /// The connection, if it is alive: fresh when the database is there, else as last seen.
    ///
    /// # Errors
    /// When it was never seen and the database fails.
    pub async fn find(&self, id: ConnectionId) -> Result<Option<Live>, ConnectionsError> {
        let cached = self
            .cached
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        match cached {
            Some((live, read_at)) if read_at.elapsed() < FRESH => Ok(Some(live)),
            Some((live, _)) => match tokio::time::timeout(REFRESH_TIMEOUT, self.refresh(id)).await {
                Ok(Ok(fresh)) => Ok(fresh),
                Err(_hangs) => {
                    tracing::warn!(connection = %id, "connection {id} could not be refreshed in time: the last known keys are used");
                    Ok(Some(live))
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, connection = %id, "connection {id} could not be refreshed: the last known keys are used");
                    Ok(Some(live))
                }
            },
            None => self.refresh(id).await,
        }
    }

    /// Reads the connection from the log.
    ///
    /// # Errors
    /// When the database fails or the history cannot be read.
    pub async fn refresh(&self, id: ConnectionId) -> Result<Option<Live>, ConnectionsError> {
        let tenant = self
            .database
            .transact(Access::Read, &[], move |connection| {
                Box::pin(route::tenant_of(connection, id))
            })
            .await?;
        match tenant {
            Some(tenant) => self.read(tenant, id).await,
            None => Ok(None),
        }
    }

    async fn read(&self, tenant: TenantId, id: ConnectionId) -> Result<Option<Live>, ConnectionsError> {
        let stream = StreamId::new(tenant, Connection::KIND, id);
        let events = self
            .database
            .transact(Access::Read, &[tenant], move |connection| {
                Box::pin(async move { event_log::read_streams(connection, &[stream]).await })
            })
            .await?;
        let keys = self.keyring.subjects(&[(tenant, stream.id)]).await?;
        let (mut state, mut synchronised, mut cursor) = (Connection::default(), false, None);
        for event in events {
            let mut payload = serde_json::from_slice(&event.data).map_err(|_| ConnectionsError::Unreadable)?;
            open_payload(
                keys.get(&(tenant, stream.id)),
                Place {
                    stream: &stream,
                    event_id: event.event_id,
                    schema_version: event.schema_version,
                },
                &mut payload,
            );
            let AnyEvent::Connection(event) = AnyEvent::decode(&event.event_type, event.schema_version, payload)
                .map_err(|_| ConnectionsError::Unreadable)?
            else {
                return Err(ConnectionsError::Unreadable);
            };
            if let Event::Synchronised { cursor: told, .. } = &event {
                synchronised = true;
                cursor = told.as_deref().and_then(moment).or(cursor);
            }
            state = state.evolve(&event);
        }
        let mut live = match state {
            Connection::Live {
                system,
                secrets,
                freshness_seconds,
                ..
            } => (*secrets).into_open().map(|secrets| Live {
                tenant,
                id,
                system,
                secrets,
                freshness_seconds,
                synchronised,
                cursor,
                token: Token::default(),
            }),
            Connection::Unknown | Connection::Disconnected => None,
        };
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(live), Some((before, _))) = (&mut live, cached.get(&id))
            && (&live.system, &live.secrets) == (&before.system, &before.secrets)
        {
            live.token = before.token.clone();
        }
        match &live {
            Some(live) => drop(cached.insert(id, (live.clone(), Instant::now()))),
            None => drop(cached.remove(&id)),
        }
        Ok(live)
    }
}
