//! Where things are: from the command line, the environment, or a running `tenure up`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use infra::{
    auth::Verifier,
    broker::{BrokerError, Brokers, Pace, Producer},
    database::{Database, DatabaseError},
    fairness::FairnessStore,
    inbox::{Inbox, InboxError},
    seal::{Heads, Sealer},
    sealing::{Keyring, MasterKey, SealingError},
};
use projection_workers::relay::Sealing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// The file in which `tenure up` leaves its addresses for the other subcommands (mode 0600: it holds a password).
const ADDRESSES_FILE: &str = "addresses.json";
const LOG_HEADS_FILE: &str = "log-heads";
const MASTER_KEY_FILE: &str = "master.key";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set, and no `tenure up` left its addresses in the data directory")]
    Missing(&'static str),
    #[error("{path} could not be used")]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{path} does not read")]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the master key could not be used")]
    MasterKey(#[source] SealingError),
    #[error("the database could not be prepared")]
    Database(#[source] DatabaseError),
    #[error("{0}")]
    Inbox(#[source] InboxError),
    #[error("Kafka could not be prepared")]
    Broker(#[source] BrokerError),
    #[error("an HTTP client could not be made")]
    Http(#[source] command_service::source::SourceProblem),
}

/// What every role needs.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where keys, development tokens and the embedded services keep their data.
    #[arg(long, global = true, env = "TENURE_DATA_DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,
    /// Postgres, as its owner: `postgres://owner:password@host/database`.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Kafka: `host:port`, several with commas.
    #[arg(long, global = true, env = "KAFKA_BROKERS")]
    pub kafka_brokers: Option<String>,
    /// The root of all keys, base64; by default in the data directory.
    #[arg(long, global = true, env = "TENURE_MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<String>,
    /// Replicas of each topic that Tenure creates; give 3 with `min.insync.replicas=2` for a cluster.
    #[arg(long, global = true, env = "TENURE_KAFKA_REPLICATION", default_value_t = 1)]
    pub kafka_replication: i32,
    /// Unique among the processes of an installation, and the same after a restart.
    #[arg(long, global = true, env = "TENURE_INSTANCE", default_value = "tenure-1")]
    pub instance: String,
    /// The identity provider's key set; without it, tokens are checked with the development secret.
    #[arg(long, global = true, env = "TENURE_JWKS_URL", requires_all = ["jwt_issuer", "jwt_audience"])]
    pub jwks_url: Option<String>,
    #[arg(long, global = true, env = "TENURE_JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    #[arg(long, global = true, env = "TENURE_JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// Where the heads of the sealed log are written down outside the database, for `tenure verify` [default: in the data directory]
    #[arg(long, global = true, env = "TENURE_LOG_HEADS", value_name = "FILE")]
    pub log_heads: Option<PathBuf>,
    /// A folder or `s3://bucket/folder` into which others put files (docs/files.md); none without it.
    #[arg(long, global = true, env = "TENURE_INBOX", value_name = "ADDRESS")]
    pub inbox: Option<String>,
    /// After how many days a tenant's model is trained again by itself; 0 for never.
    #[arg(long, global = true, env = "TENURE_RETRAIN_DAYS", default_value_t = 30)]
    pub retrain_days: u32,
}

/// `/var/lib/tenure` for root (the embedded Postgres, which does not run as root, must be able to reach it), else the
/// user's data directory.
fn default_data_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match home {
        Some(home) if home != Path::new("/root") => std::env::var_os("XDG_DATA_HOME")
            .map_or_else(|| home.join(".local/share"), PathBuf::from)
            .join("tenure"),
        _ => PathBuf::from("/var/lib/tenure"),
    }
}

/// Addresses of a running installation.
#[derive(Serialize, Deserialize)]
struct Addresses {
    database_url: String,
    kafka_brokers: String,
}

impl Settings {
    /// Makes the data directory, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare_data_dir(&self) -> Result<(), ConfigError> {
        use std::os::unix::fs::PermissionsExt;
        let failed = |cause| ConfigError::File {
            path: self.data_dir.clone(),
            cause,
        };
        if !self.data_dir.exists() {
            fs::create_dir_all(&self.data_dir).map_err(failed)?;
            // The embedded Postgres passes through as another user; what is secret inside is closed by itself.
            fs::set_permissions(&self.data_dir, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        }
        Ok(())
    }

    /// # Errors
    /// When the key is missing or does not read.
    pub fn master(&self) -> Result<MasterKey, ConfigError> {
        match &self.master_key {
            Some(text) => MasterKey::from_base64(text),
            None => MasterKey::load_or_create(&self.data_dir.join(MASTER_KEY_FILE)),
        }
        .map_err(ConfigError::MasterKey)
    }

    /// The heads of the log outside the database.
    #[must_use]
    pub fn heads(&self) -> Heads {
        let path = self.log_heads.clone();
        Heads::new(path.unwrap_or_else(|| self.data_dir.join(LOG_HEADS_FILE)))
    }

    /// Leaves addresses for the other subcommands.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, database_url: &SecretString, brokers: &Brokers) -> Result<(), ConfigError> {
        let addresses = Addresses {
            database_url: database_url.expose_secret().to_owned(),
            kafka_brokers: brokers.addresses.clone(),
        };
        let path = self.data_dir.join(ADDRESSES_FILE);
        let text = serde_json::to_string(&addresses).map_err(|cause| ConfigError::Unreadable {
            path: path.clone(),
            cause,
        })?;
        write_private(&path, &text).map_err(|cause| ConfigError::File { path, cause })
    }

    fn published(&self) -> Result<Option<Addresses>, ConfigError> {
        let path = self.data_dir.join(ADDRESSES_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(|cause| ConfigError::File {
            path: path.clone(),
            cause,
        })?;
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|cause| ConfigError::Unreadable { path, cause })
    }

    /// Postgres, as its owner.
    ///
    /// # Errors
    /// When it is not known where it is.
    pub fn database_url(&self) -> Result<SecretString, ConfigError> {
        match &self.database_url {
            Some(url) => Ok(url.clone().into()),
            None => Ok(self
                .published()?
                .ok_or(ConfigError::Missing("DATABASE_URL"))?
                .database_url
                .into()),
        }
    }

    /// # Errors
    /// When it is not known where Kafka is.
    pub fn brokers(&self) -> Result<Brokers, ConfigError> {
        let addresses = match &self.kafka_brokers {
            Some(addresses) => addresses.clone(),
            None => {
                self.published()?
                    .ok_or(ConfigError::Missing("KAFKA_BROKERS"))?
                    .kafka_brokers
            }
        };
        // Only the process that runs the embedded broker has it to itself; an address may be anybody's.
        Ok(Brokers {
            addresses,
            exclusive: false,
        })
    }

    /// What a role that runs alone is made of.
    ///
    /// # Errors
    /// When an address or a key is missing.
    pub fn parts(&self) -> Result<Parts, ConfigError> {
        let database = Database::new(&self.database_url()?, &self.master()?).map_err(ConfigError::Database)?;
        Parts::new(self, database, self.brokers()?)
    }

    /// What a tool is made of ([`Database::of_tool`]).
    ///
    /// # Errors
    /// When an address or a key is missing, or no database is there.
    pub fn tool(&self) -> Result<Parts, ConfigError> {
        let database = Database::of_tool(&self.database_url()?, &self.master()?).map_err(ConfigError::Database)?;
        Parts::new(self, database, self.brokers()?)
    }

    /// The handle on protected attributes. It is no part of [`Parts`], which whatever makes models is made of: whoever audits
    /// asks for it here.
    ///
    /// # Errors
    /// When an address or the key is missing.
    pub fn fairness_store(&self, keyring: &Keyring) -> Result<FairnessStore, ConfigError> {
        FairnessStore::new(&self.database_url()?, &self.master()?, keyring.clone()).map_err(ConfigError::Database)
    }
}

/// What roles are made of. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub master: MasterKey,
    pub database: Database,
    pub keyring: Keyring,
    pub brokers: Brokers,
    pub interactive: Producer,
    pub bulk: Producer,
    pub verifier: Verifier,
    pub http: reqwest::Client,
    pub instance: Arc<str>,
    /// The heads of the log outside the database.
    pub heads: Heads,
    /// Where others put files, if there is such a place.
    pub inbox: Option<Inbox>,
    /// Whether tokens are checked with the development secret.
    pub development: bool,
    /// After how many days a tenant's model is trained again; 0 for never.
    pub retrain_days: u32,
}

impl Parts {
    /// # Errors
    /// When something cannot be set up; nothing is connected yet.
    pub fn new(settings: &Settings, database: Database, brokers: Brokers) -> Result<Self, ConfigError> {
        let master = settings.master()?;
        let http = command_service::source::http_client().map_err(ConfigError::Http)?;
        let (verifier, development) = match (&settings.jwks_url, &settings.jwt_issuer, &settings.jwt_audience) {
            (Some(url), Some(issuer), Some(audience)) => (
                Verifier::with_jwks(url.clone(), issuer.clone(), audience.clone(), http.clone()),
                false,
            ),
            _ => (Verifier::with_secret(&development_secret(&master)), true),
        };
        let inbox = settings
            .inbox
            .as_deref()
            .map(|address| Inbox::open(address, std::env::vars()));
        Ok(Self {
            inbox: inbox.transpose().map_err(ConfigError::Inbox)?,
            keyring: Keyring::new(master.clone(), database.clone()),
            interactive: Producer::new(&brokers, Pace::INTERACTIVE).map_err(ConfigError::Broker)?,
            bulk: Producer::new(&brokers, Pace::BULK).map_err(ConfigError::Broker)?,
            instance: settings.instance.as_str().into(),
            heads: settings.heads(),
            master,
            database,
            brokers,
            verifier,
            http,
            development,
            retrain_days: settings.retrain_days,
        })
    }
}

impl Parts {
    /// What the relay seals the log with.
    #[must_use]
    pub fn sealing(&self) -> Sealing {
        Sealing::new(Sealer::new(&self.master), self.heads.clone())
    }
}

/// The secret that development tokens are signed with.
#[must_use]
pub fn development_secret(master: &MasterKey) -> Vec<u8> {
    master.derive("development tokens").to_vec()
}

/// Writes a file that only its owner may read; a crash leaves the old one or the new one.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let beside = path.with_extension("new");
    fs::remove_file(&beside).ok();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
