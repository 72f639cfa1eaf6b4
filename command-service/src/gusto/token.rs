//! Access tokens: two hours each, in exchange for a refresh token that changes every time.
//!
//! `POST /oauth/token`, in JSON. Gusto revokes the refresh token before when the new access token is first used
//! (docs.gusto.com, "refresh access token"): so what an exchange gave is kept before anything is asked with it, and a process that dies in
//! between has lost nothing. All processes share one row ([`infra::connection_token`]), and one exchanges at a time.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use domain::{
    Timestamp,
    id::{ConnectionId, TenantId},
};
use infra::{
    clock,
    connection_token::{self, Claim},
    database::{Access, Database},
    sealing::Keyring,
};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    intake::hex,
    source::{self, SourceProblem, read_bounded},
};

/// How long before its end a token is changed for another.
const MARGIN: TimeDelta = TimeDelta::seconds(60);
/// How long a token is believed in that does not say how long it lasts, and any token at most, in seconds.
const LIFETIME_SECONDS: i64 = 15 * 60;
const LIFETIME_SECONDS_MAX: i64 = 24 * 60 * 60;
/// How long an exchange may take: much less than the claim to it lasts.
const WITHIN: Duration = Duration::from_secs(30);
const _: () = assert!(WITHIN.as_secs() * 2 <= connection_token::LEASE.as_secs());
/// How often, and after how long, it is looked whether another process has exchanged the token.
const LOOKS_MAX: u32 = 160;
const LOOK: Duration = Duration::from_millis(250);

/// What opens a company's payroll. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    pub database: Database,
    pub keyring: Keyring,
    pub of: (TenantId, ConnectionId),
    pub address: Url,
    pub client_id: Arc<str>,
    pub client_secret: SecretString,
    /// The refresh token that an administrator gave.
    pub given: SecretString,
}

/// What is kept, sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The digest of the refresh token that an administrator gave: with another one, all of this is over.
    given: String,
    access_token: String,
    until: Timestamp,
    refresh_token: String,
}

#[derive(Serialize)]
struct Exchange<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    refresh_token: &'a str,
    grant_type: &'static str,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<i64>,
    refresh_token: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenProblem {
    #[error("the payroll did not give a token")]
    Source(#[from] SourceProblem),
    #[error("the token could not be read or kept")]
    Database(#[from] infra::database::DatabaseError),
    #[error("the token could not be sealed or opened")]
    Sealing(#[from] infra::sealing::SealingError),
}

impl Tokens {
    /// A token that is good for now. `refused` is one that was not taken: it is not given again.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn token(
        &self,
        http: &reqwest::Client,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, TokenProblem> {
        let good = |kept: &Option<Kept>| {
            let kept = kept.as_ref()?;
            let is_refused = refused.is_some_and(|refused| refused.expose_secret() == kept.access_token);
            let is_good = !is_refused && clock::now() + MARGIN < kept.until;
            is_good.then(|| SecretString::from(kept.access_token.clone()))
        };
        for _ in 0..LOOKS_MAX {
            if let Some(token) = good(&self.kept().await?) {
                return Ok(token);
            }
            if let Some(claim) = self.claim().await? {
                // As it is now: another may have exchanged it since it was looked at.
                let kept = self.opened(claim.content.as_deref()).await?;
                if let Some(token) = good(&kept) {
                    self.keep(&claim, None).await?;
                    return Ok(token);
                }
                let exchanged = self.exchange(http, kept.as_ref()).await;
                // Kept before it is used: only its first use ends the refresh token before.
                let is_ours = self.keep(&claim, exchanged.as_ref().ok()).await?;
                let exchanged = exchanged?;
                if is_ours {
                    return Ok(exchanged.access_token.into());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(SourceProblem::Timeout.into())
    }

    fn digest(&self) -> String {
        hex(&Sha256::digest(self.given.expose_secret()))
    }

    async fn kept(&self) -> Result<Option<Kept>, TokenProblem> {
        let of = self.of;
        let sealed = self
            .database
            .transact(Access::Read, &[of.0], move |connection| {
                Box::pin(connection_token::load(connection, of))
            })
            .await?;
        self.opened(sealed.as_deref()).await
    }

    /// What is sealed, unless an administrator has given another refresh token since.
    async fn opened(&self, sealed: Option<&[u8]>) -> Result<Option<Kept>, TokenProblem> {
        let Some(sealed) = sealed else { return Ok(None) };
        let keys = self.keyring.tenant(self.of.0).await?;
        let plain = keys.open(&connection_token::place(self.of.1), sealed)?;
        let kept: Option<Kept> = serde_json::from_slice(&plain).ok();
        Ok(kept.filter(|kept| kept.given == self.digest()))
    }

    async fn claim(&self) -> Result<Option<Claim>, TokenProblem> {
        let (of, tenants) = (self.of, [self.of.0]);
        let claimed = self.database.transact(Access::Write, &tenants, move |connection| {
            Box::pin(connection_token::claim(connection, of))
        });
        Ok(claimed.await?)
    }

    /// Whether the claim was still ours.
    async fn keep(&self, claim: &Claim, exchanged: Option<&Kept>) -> Result<bool, TokenProblem> {
        let claim = claim.clone();
        let (of, tenants) = (self.of, [self.of.0]);
        let sealed = match exchanged {
            Some(kept) => {
                let plain = serde_json::to_vec(kept).map_err(|_| SourceProblem::BadAnswer { what: WHAT })?;
                let keys = self.keyring.tenant(of.0).await?;
                Some(keys.seal(&connection_token::place(of.1), &plain)?)
            }
            None => None,
        };
        let kept = self.database.transact(Access::Write, &tenants, move |connection| {
            Box::pin(async move { connection_token::keep(connection, of, (&claim, sealed.as_deref())).await })
        });
        Ok(kept.await?)
    }

    async fn exchange(&self, http: &reqwest::Client, kept: Option<&Kept>) -> Result<Kept, SourceProblem> {
        let exchange = Exchange {
            client_id: &self.client_id,
            client_secret: self.client_secret.expose_secret(),
            refresh_token: kept.map_or(self.given.expose_secret(), |kept| &kept.refresh_token),
            grant_type: "refresh_token",
        };
        let request = http.post(self.address.clone()).json(&exchange).timeout(WITHIN);
        let response = request.send().await.map_err(SourceProblem::network)?;
        let response = match response.status() {
            // RFC 6749: invalid_grant and invalid_client.
            StatusCode::BAD_REQUEST => return Err(SourceProblem::Unauthorised),
            _ => source::accepted(WHAT, response)?,
        };
        let answer = read_bounded(response, WHAT).await?;
        let granted: Granted = serde_json::from_slice(&answer).map_err(|_| SourceProblem::BadAnswer { what: WHAT })?;
        let seconds = granted
            .expires_in
            .unwrap_or(LIFETIME_SECONDS)
            .clamp(0, LIFETIME_SECONDS_MAX);
        Ok(Kept {
            given: self.digest(),
            access_token: granted.access_token,
            until: clock::now() + TimeDelta::seconds(seconds),
            refresh_token: granted.refresh_token,
        })
    }
}

const WHAT: &str = "an access token";
