//! Webhooks that Tenure registers at BambooHR itself. They end without a word when the user who made the key is deactivated, or when somebody
//! deletes them, and what a receiver refused or missed is not sent for ever: so each is looked after.

use domain::{
    Personal, Timestamp,
    connection::{self, Secrets, System, WEBHOOK_KEYS_MAX},
};
use infra::{clock, completion::FoundBy};
use secrecy::ExposeSecret;

use super::{Failure, Synchronised, queue, tell};
use crate::{
    CommandService,
    bamboohr::client::{Client, ClientProblem},
    connections::Live,
};

/// Whether Tenure registers the webhook of a connection.
#[must_use]
pub fn are_ours(live: &Live) -> bool {
    matches!(&live.system, System::BambooHr(account) if account.registers_webhook)
}

/// Where a connection's webhooks are sent to.
#[must_use]
pub fn address(service: &CommandService, connection: domain::id::ConnectionId) -> String {
    format!("{}/v1/webhooks/{connection}", service.public_url)
}

/// A webhook that was registered, whose key is to be kept.
pub struct Registered {
    id: String,
    /// The new key, and those before it: what was sent with them may still be on its way.
    pub keys: Vec<String>,
}

/// Registers a webhook.
///
/// # Errors
/// When BambooHR does not make it.
pub async fn register(client: &Client, address: &str, keys: &[String]) -> Result<Registered, ClientProblem> {
    let (id, key) = client.create_webhook(address).await?;
    let mut all = vec![key.expose_secret().to_owned()];
    all.extend(keys.iter().take(WEBHOOK_KEYS_MAX - 1).cloned());
    Ok(Registered { id, keys: all })
}

impl Registered {
    /// Its key is kept: other webhooks that send to the same address would tell everything twice.
    pub async fn kept(&self, client: &Client, address: &str) {
        let others = async {
            for webhook in client.webhooks().await? {
                if webhook.url == address && webhook.id != self.id {
                    client.delete_webhook(&webhook.id).await?;
                }
            }
            Ok::<_, ClientProblem>(())
        };
        if let Err(problem) = others.await {
            tracing::warn!(
                error = &problem as &dyn std::error::Error,
                "an earlier webhook at BambooHR could not be deleted: it tells everything twice"
            );
        }
    }

    /// Its key could not be kept: nothing that it would send could be proven.
    pub async fn lost(&self, client: &Client) {
        if let Err(problem) = client.delete_webhook(&self.id).await {
            tracing::warn!(
                error = &problem as &dyn std::error::Error,
                "a webhook at BambooHR whose key is lost could not be deleted"
            );
        }
    }
}

/// Makes a new webhook if there is none any more, and reads whom those told of that never arrived since `since`.
pub(super) async fn look_after(
    service: &CommandService,
    (live, client): (&Live, &Client),
    since: Option<Timestamp>,
) -> Result<Synchronised, Failure> {
    let address = address(service, live.id);
    let mut ours = client.webhooks().await?;
    ours.retain(|webhook| webhook.url == address);
    if ours.is_empty() {
        renew(service, live, client).await?;
    }
    let (mut remote_ids, mut newest) = (Vec::new(), since);
    for webhook in ours {
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
    let registered = register(client, &address(service, live.id), &live.secrets.webhook_keys).await?;
    let connect = connection::Command::Connect {
        system: live.system.clone(),
        secrets: Personal::Open(Secrets {
            webhook_keys: registered.keys.clone(),
            ..live.secrets.clone()
        }),
        freshness_seconds: live.freshness_seconds,
        on: clock::today(),
    };
    if let Err(error) = tell(service, of, connect).await {
        registered.lost(client).await;
        return Err(error.into());
    }
    Ok(())
}
