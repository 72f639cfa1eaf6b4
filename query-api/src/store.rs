//! Where resolvers get what they show: one transaction per question, in the viewer's tenant only.

use domain::{access::Question, id::TenantId};
use futures_util::future::BoxFuture;
use infra::{
    database::{Access, Connection, Database, DatabaseError},
    outbox,
    sealing::Keyring,
};
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
        let actor = format!("user:{}", viewer.0.subject);
        outbox::record_question(&self.database, &self.keyring, (viewer.0.tenant, &actor), question).await?;
        Ok(())
    }
}
