//! Webhooks that Tenure registers at BambooHR itself. They end without a word when the user who made the key is deactivated, or when somebody
//! deletes them, and what a receiver refused or missed is not sent for ever: so each is looked after.

use domain::{
    Personal, Timestamp,
    connection::{self, BambooHr, Secrets, System, WEBHOOK_KEYS_MAX},
};
use infra::{clock, completion::FoundBy};
use secrecy::ExposeSecret;

use super::{Failure, Synchronised, queue, tell};
use crate::{CommandService, bamboohr::client::Client, connections::Live, source::SourceProblem};

/// The id of the webhook that Tenure registered for a connection, if it did.
#[must_use]
pub fn registered(live: &Live) -> Option<&str> {
    match &live.system {
        System::BambooHr(account) => account.webhook.as_deref(),
        System::Push(_) | System::Scim(_) | System::Workday(_) | System::Gusto(_) | System::Adp(_) => None,
    }
}

/// Where a connection's webhooks are sent to.
#[must_use]
pub fn address(service: &CommandService, connection: domain::id::ConnectionId) -> String {
    format!("{}/v1/webhooks/{connection}", service.public_url)
}

/// A webhook that was registered, whose key is to be kept.
pub struct Registered {
    pub id: String,
    /// The new key, and those before it: what was sent with them may still be on its way.
    pub keys: Vec<String>,
}

/// Registers a webhook.
///
/// # Errors
/// When BambooHR does not make it.
pub async fn register(client: &Client, address: &str, keys: &[String]) -> Result<Registered, SourceProblem> {
    let (id, key) = client.create_webhook(address).await?;
    let mut all = vec![key.expose_secret().to_owned()];
    all.extend(keys.iter().take(WEBHOOK_KEYS_MAX - 1).cloned());
    Ok(Registered { id, keys: all })
}

/// Deletes what else sends to the same address: it tells everything twice, or what nobody can prove, because its key was lost.
pub async fn delete_others(client: &Client, address: &str, id: &str) -> Result<(), SourceProblem> {
    for webhook in client.webhooks().await? {
        if webhook.url == address && webhook.id != id {
            client.delete_webhook(&webhook.id).await?;
        }
    }
    Ok(())
}

/// A webhook is not needed. If it cannot be deleted, what it sends is refused.
pub async fn delete(client: &Client, id: &str) {
    if let Err(problem) = client.delete_webhook(id).await {
        tracing::warn!(
            error = &problem as &dyn std::error::Error,
            "a webhook at BambooHR that is not needed could not be deleted"
        );
    }
}

/// Makes a new webhook if there is none any more, and reads whom those told of that never arrived since `since`.
pub(super) async fn look_after(
    service: &CommandService,
    (live, client): (&Live, &Client),
    since: Option<Timestamp>,
) -> Result<Synchronised, Failure> {
    let (address, id) = (address(service, live.id), registered(live).unwrap_or_default());
    let mut ours = client.webhooks().await?;
    ours.retain(|webhook| webhook.url == address);
    if ours.iter().any(|webhook| webhook.id == id) {
        delete_others(client, &address, id).await?;
    } else {
        renew(service, live, client).await?;
    }
    let (mut remote_ids, mut newest) = (Vec::new(), since);
    for webhook in ours.into_iter().filter(|webhook| webhook.id == id) {
        let mut missed = client.webhook_log(&webhook.id).await?;
        missed.retain(|delivery| !delivery.is_delivered && delivery.last_attempted > since);
        for delivery in missed {
            newest = newest.max(delivery.last_attempted);
            remote_ids.extend(delivery.remote_ids);
        }
    }
    remote_ids.sort_unstable();
    remote_ids.dedup();
    queue(service, live, (&remote_ids, FoundBy::Changes, clock::new_id())).await?;
    Ok(Synchronised {
        asked: remote_ids.len(),
        cursor: newest,
        ..Synchronised::default()
    })
}

async fn renew(service: &CommandService, live: &Live, client: &Client) -> Result<(), Failure> {
    tracing::warn!(connection = %live.id, "the webhook of connection {} is gone: the user who made the key was deactivated, or somebody deleted it. Another one is registered", live.id);
    let of = (live.tenant, live.id);
    let gone = connection::Command::ReportFailed {
        cause: "webhook-gone".to_owned(),
        on: clock::today(),
    };
    tell(service, of, gone).await?;
    // What is on file now: somebody may have changed the API key meanwhile.
    let Some(live) = service.connections.refresh(live.id).await? else {
        return Ok(());
    };
    let System::BambooHr(account) = live.system.clone() else {
        return Ok(());
    };
    let address = address(service, live.id);
    let new = register(client, &address, &live.secrets.webhook_keys).await?;
    let connect = connection::Command::Connect {
        system: System::BambooHr(BambooHr {
            webhook: Some(new.id.clone()),
            ..account
        }),
        secrets: Personal::Open(Secrets {
            webhook_keys: new.keys,
            ..live.secrets
        }),
        freshness_seconds: live.freshness_seconds,
        on: clock::today(),
    };
    // If it is not told, the next look finds a webhook that is not on file, and begins anew.
    tell(service, of, connect).await?;
    delete_others(client, &address, &new.id).await?;
    Ok(())
}
