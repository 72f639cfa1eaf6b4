//! Where resolvers get what they show: one transaction per question, in the viewer's tenant only.

use domain::{
    Kind, StreamId,
    access::{Command, Question},
    id::{CommandId, TenantId, access_stream},
};
use futures_util::future::BoxFuture;
use infra::{
    clock,
    database::{Access, Connection, Database, DatabaseError},
    outbox::{self, Outgoing},
    sealing::Keyring,
};
use schemas::codec::AnyCommand;
use zeroize::Zeroizing;

use crate::{
    access::{Pseudonyms, Viewer},
    changes::Changes,
    error::ApiError,
};

#[derive(Clone)]
pub struct Store {
    database: Database,
    pub keyring: Keyring,
    pub pseudonyms: Pseudonyms,
    pub changes: Changes,
}

impl Store {
    pub fn new(database: Database, keyring: Keyring, pseudonym_key: Zeroizing<Vec<u8>>, changes: Changes) -> Self {
        Self {
            database,
            keyring,
            pseudonyms: Pseudonyms::new(pseudonym_key),
            changes,
        }
    }

    /// Reads in a transaction that sees `tenant` and nobody else.
    pub async fn read<T, W>(&self, tenant: TenantId, work: W) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        Ok(self.database.transact(Access::Read, &[tenant], work).await?)
    }

    /// As [`Self::read`], for a list that is walked along an index: its plan is made once, not for each page.
    pub async fn walk<T, W>(&self, tenant: TenantId, work: W) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        Ok(self.database.transact(Access::LookUp, &[tenant], work).await?)
    }

    /// Records that somebody asks for history, on its way into the log when this answers well: the one thing that is written here.
    pub async fn record_question(&self, viewer: &Viewer, question: Question) -> Result<(), ApiError> {
        let tenant = viewer.0.tenant;
        let id = CommandId::from_uuid(clock::new_id());
        let command = AnyCommand::Access(Command::AskForHistory(question));
        let plain = serde_json::to_vec(&command).map_err(|_| ApiError::Corrupt("question"))?;
        let outgoing = Outgoing {
            id,
            stream: StreamId::new(tenant, Kind::Access, access_stream(tenant, &viewer.0.subject)),
            command: self.keyring.tenant(tenant).await?.seal(&outbox::place(id), &plain)?,
            actor: format!("user:{}", viewer.0.subject),
            correlation: id.uuid(),
            backfill: false,
        };
        self.database
            .transact(Access::Write, &[tenant], move |connection| {
                Box::pin(async move { outbox::add(connection, &[outgoing]).await })
            })
            .await?;
        Ok(())
    }
}
