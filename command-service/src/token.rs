//! Access tokens that are held while they are good.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::source::SourceProblem;

/// How long before its end a token is changed for another.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a token is believed in that does not say how long it lasts.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long any token is believed in.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The access token of a connection, for whoever asks meanwhile. Cheap to clone.
#[derive(Clone, Default)]
pub struct Token(Arc<Mutex<Option<Held>>>);

struct Held {
    token: SecretString,
    until: Instant,
}

impl Token {
    /// A token that is good for now; `ask` gets another, with how long it lasts in seconds. `refused` is one that was not taken: it is not
    /// given again.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn good(
        &self,
        refused: Option<&SecretString>,
        ask: impl Future<Output = Result<(SecretString, Option<u64>), SourceProblem>>,
    ) -> Result<SecretString, SourceProblem> {
        // Whoever else needs one waits for this one.
        let mut held = self.0.lock().await;
        if let Some(Held { token, until }) = &*held {
            let is_refused = refused.is_some_and(|refused| refused.expose_secret() == token.expose_secret());
            if !is_refused && Instant::now() + MARGIN < *until {
                return Ok(token.clone());
            }
        }
        let (token, seconds) = ask.await?;
        let lasts = seconds.map_or(LIFETIME, Duration::from_secs).min(LIFETIME_MAX);
        *held = Some(Held {
            token: token.clone(),
            until: Instant::now() + lasts,
        });
        Ok(token)
    }
}
