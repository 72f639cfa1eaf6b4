//! What opens a tenant's web services: a user's password in each envelope, or an access token that a refresh token is exchanged for.
//!
//! `POST {base}/ccx/oauth2/{tenant}/token` answers 401 to whatever of the three is wrong, 404 to a wrong address and 503 to a wrong tenant
//! (facts/connectors.md A2). A refresh token of an API client for integrations does not change and does not end, but is lost when a
//! sandbox is refreshed from production.

use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    source::{self, SourceProblem, read_bounded},
    token::Token,
};

/// What opens the services.
#[derive(Clone)]
pub enum Login {
    Password {
        /// With `@` and the tenant.
        user: String,
        password: SecretString,
    },
    RefreshToken(Box<Refresh>),
}

#[derive(Clone)]
pub struct Refresh {
    pub address: Url,
    pub client_id: String,
    pub client_secret: SecretString,
    pub refresh_token: SecretString,
    pub token: Token,
}

/// What the token's address answers. Sometimes the number is text.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<serde_json::Value>,
}

impl Refresh {
    /// A token that is good for now. `refused` is one that was not taken: it is not given again.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn token(
        &self,
        http: &reqwest::Client,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, SourceProblem> {
        self.token.good(refused, self.ask(http)).await
    }

    async fn ask(&self, http: &reqwest::Client) -> Result<(SecretString, Option<u64>), SourceProblem> {
        const WHAT: &str = "an access token";
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", self.refresh_token.expose_secret()),
        ];
        let request = http
            .post(self.address.clone())
            .basic_auth(&self.client_id, Some(self.client_secret.expose_secret()))
            .form(&form);
        let response = request.send().await.map_err(SourceProblem::network)?;
        let response = match response.status() {
            StatusCode::BAD_REQUEST => return Err(SourceProblem::Unauthorised),
            _ => source::accepted(WHAT, response)?,
        };
        let bad = SourceProblem::BadAnswer { what: WHAT };
        let answer = read_bounded(response, WHAT).await?;
        let Ok(granted) = serde_json::from_slice::<Granted>(&answer) else {
            return Err(bad);
        };
        let seconds = granted.expires_in.and_then(|lasts| match lasts {
            serde_json::Value::String(text) => text.parse().ok(),
            lasts => lasts.as_u64(),
        });
        Ok((granted.access_token.into(), seconds))
    }
}
