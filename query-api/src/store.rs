//! Where resolvers get what they show: one transaction per question, in the viewer's tenant only.

use std::sync::Arc;

use domain::{access::Question, id::TenantId};
use futures_util::future::BoxFuture;
use infra::{
    database::{Access, Connection, Database, DatabaseError},
    outbox,
    sealing::Keyring,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{
    access::{Pseudonyms, Viewer},
    changes::Changes,
    error::ApiError,
    limits::READS_AT_ONCE,
};

#[derive(Clone)]
pub struct Store {
    database: Database,
    seats: Arc<Semaphore>,
    pub keyring: Keyring,
    pub pseudonyms: Pseudonyms,
    pub changes: Changes,
}

impl Store {
    pub fn new(database: Database, keyring: Keyring, pseudonym_key: Zeroizing<Vec<u8>>, changes: Changes) -> Self {
        Self {
            database,
            seats: Arc::new(Semaphore::new(READS_AT_ONCE)),
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
        self.with_a_seat(Access::Read, tenant, work).await
    }

    /// As [`Self::read`], for a list that is walked along an index: its plan is made once, not for each page.
    pub async fn walk<T, W>(&self, tenant: TenantId, work: W) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        self.with_a_seat(Access::LookUp, tenant, work).await
    }

    async fn with_a_seat<T, W>(&self, access: Access, tenant: TenantId, work: W) -> Result<T, ApiError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, DatabaseError>> + Send + 'static,
    {
        let seat = Arc::clone(&self.seats).acquire_owned().await;
        let tenants = [tenant];
        // The seat goes through the transaction: it is taken as long as that lasts, also when nobody waits for the answer any more.
        let seated = self.database.transact(access, &tenants, move |connection| {
            Box::pin(async move { Ok((work(connection).await?, seat)) })
        });
        let (done, _seat) = seated.await?;
        Ok(done)
    }

    /// Records that somebody asks for history, on its way into the log when this answers well: the one thing that is written here.
    pub async fn record_question(&self, viewer: &Viewer, question: Question) -> Result<(), ApiError> {
        let actor = format!("user:{}", viewer.0.subject);
        outbox::record_question(&self.database, &self.keyring, (viewer.0.tenant, &actor), question).await?;
        Ok(())
    }
}
