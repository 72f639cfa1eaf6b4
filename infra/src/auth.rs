//! Who is asking: JSON Web Tokens, by a shared secret in development or by a key set (JWKS) of the identity provider.
//!
//! One algorithm family per installation, pinned by configuration: the token's own `alg` chooses nothing. Keys come only
//! from the configured set, never from the token (`jku`, `x5u`, `jwk` are ignored).

use std::{sync::Arc, time::Duration};

use domain::{
    Timestamp,
    id::{EmployeeId, TenantId},
    policy::{Actor, Role},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

const ISSUER: &str = "tenure";
const AUDIENCE: &str = "tenure-api";
/// How far clocks may differ.
const LEEWAY_SECONDS: u64 = 60;
/// A longer token is none of ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How often an unknown key id may make us fetch the key set.
const JWKS_REFRESH_MIN: Duration = Duration::from_secs(30);

/// Why a request is not let in. The text is for the caller; it never says which check failed on a forged token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("send `Authorization: Bearer <token>`")]
    Missing,
    #[error("the token has expired: get a new one")]
    Expired,
    #[error("the token is not valid here")]
    Invalid,
    #[error("the keys that tokens are checked with cannot be fetched")]
    NoKeys,
}

/// A token's claims.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub tenant: TenantId,
    pub role: Role,
    /// Who the holder is among the employees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub employee: Option<EmployeeId>,
    pub iss: String,
    pub aud: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Keys>);

enum Keys {
    Secret(DecodingKey),
    Jwks {
        url: String,
        issuer: String,
        audience: String,
        http: reqwest::Client,
        cached: RwLock<Cached>,
    },
}

#[derive(Default)]
struct Cached {
    set: Option<JwkSet>,
    fetched: Option<std::time::Instant>,
}

impl Verifier {
    /// HS256 with a shared secret: for development and for `tenure up`.
    #[must_use]
    pub fn with_secret(secret: &[u8]) -> Self {
        Self(Arc::new(Keys::Secret(DecodingKey::from_secret(secret))))
    }

    /// RS256 or ES256 with the key set at `url`.
    #[must_use]
    pub fn with_jwks(url: String, issuer: String, audience: String, http: reqwest::Client) -> Self {
        Self(Arc::new(Keys::Jwks {
            url,
            issuer,
            audience,
            http,
            cached: RwLock::default(),
        }))
    }

    /// The holder of the token in an `Authorization` header.
    ///
    /// # Errors
    /// When there is none, or it does not prove anything.
    pub async fn actor(&self, authorization: Option<&str>) -> Result<Actor, AuthError> {
        let header = authorization.ok_or(AuthError::Missing)?;
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        self.bearer(token.ok_or(AuthError::Missing)?).await
    }

    /// The holder of a token.
    ///
    /// # Errors
    /// When it does not prove anything.
    pub async fn bearer(&self, token: &str) -> Result<Actor, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Invalid);
        }
        let claims = match &*self.0 {
            Keys::Secret(key) => decode(token, key, &validation(Algorithm::HS256, ISSUER, AUDIENCE))?,
            Keys::Jwks { issuer, audience, .. } => {
                let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Invalid)?;
                if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
                    return Err(AuthError::Invalid);
                }
                let key = self.jwk(header.kid.as_deref().ok_or(AuthError::Invalid)?).await?;
                decode(token, &key, &validation(header.alg, issuer, audience))?
            }
        };
        Ok(Actor {
            tenant: claims.tenant,
            role: claims.role,
            subject: claims.sub,
            employee: claims.employee,
        })
    }

    /// The configured key with this id; the set is fetched again when the id is new, but not more often than bearable.
    async fn jwk(&self, kid: &str) -> Result<DecodingKey, AuthError> {
        let Keys::Jwks { url, http, cached, .. } = &*self.0 else {
            return Err(AuthError::Invalid);
        };
        let find = |set: &JwkSet| set.find(kid).and_then(|jwk| DecodingKey::from_jwk(jwk).ok());
        if let Some(key) = cached.read().await.set.as_ref().and_then(find) {
            return Ok(key);
        }
        let mut cached = cached.write().await;
        if cached.fetched.is_none_or(|at| at.elapsed() >= JWKS_REFRESH_MIN) {
            cached.fetched = Some(std::time::Instant::now());
            let fetch = async {
                http.get(url)
                    .timeout(Duration::from_secs(5))
                    .send()
                    .await?
                    .error_for_status()?
                    .json::<JwkSet>()
                    .await
            };
            match fetch.await {
                Ok(set) => cached.set = Some(set),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the key set could not be fetched"
                    );
                    if cached.set.is_none() {
                        return Err(AuthError::NoKeys);
                    }
                }
            }
        }
        cached.set.as_ref().and_then(find).ok_or(AuthError::Invalid)
    }
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation
}

fn decode(token: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, AuthError> {
    jsonwebtoken::decode::<Claims>(token, key, validation)
        .map(|token| token.claims)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => AuthError::Expired,
            _ => AuthError::Invalid,
        })
}

/// Makes a development token (HS256).
///
/// # Errors
/// When signing fails.
pub fn development_token(
    secret: &[u8],
    tenant: TenantId,
    role: Role,
    employee: Option<EmployeeId>,
    now: Timestamp,
    valid: Duration,
) -> Result<String, AuthError> {
    let claims = Claims {
        sub: format!("dev-{}", role.name()),
        tenant,
        role,
        employee,
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: now.timestamp() + i64::try_from(valid.as_secs()).unwrap_or(i64::MAX / 2),
    };
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret),
    )
    .map_err(|_| AuthError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    const SECRET: &[u8] = b"a secret for tests only, 32 bytes";

    fn claims() -> Value {
        let now = crate::clock::now().timestamp();
        json!({"sub": "s", "tenant": uuid::Uuid::nil(), "role": "hr_manager", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600})
    }

    fn signed(header: &Header, claims: &Value, secret: &[u8]) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).expect("a token")
    }

    fn with(name: &str, value: Value) -> String {
        let mut claims = claims();
        claims[name] = value;
        signed(&Header::default(), &claims, SECRET)
    }

    fn without(name: &str) -> String {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(name);
        signed(&Header::default(), &claims, SECRET)
    }

    #[tokio::test]
    async fn a_good_token_names_its_holder() {
        let actor = Verifier::with_secret(SECRET)
            .actor(Some(&format!("Bearer {}", with("sub", json!("ada")))))
            .await
            .expect("let in");
        assert_eq!((actor.role, actor.subject.as_str()), (Role::HrManager, "ada"));
    }

    #[tokio::test]
    async fn forged_and_stale_tokens_are_refused() {
        let verifier = Verifier::with_secret(SECRET);
        let now = crate::clock::now().timestamp();
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
            URL_SAFE_NO_PAD.encode(claims().to_string())
        );
        let foreign_key = Header {
            jku: Some("http://localhost/keys".into()),
            ..Header::default()
        };
        for (what, token) in [
            ("alg none", none),
            (
                "another secret",
                signed(&Header::default(), &claims(), b"another secret, also thirty-two by"),
            ),
            (
                "another algorithm",
                signed(&Header::new(Algorithm::HS512), &claims(), SECRET),
            ),
            (
                "a key of its own",
                signed(&foreign_key, &claims(), b"another secret, also thirty-two by"),
            ),
            ("exp as text", with("exp", json!("9999999999"))),
            ("no exp", without("exp")),
            ("no nbf", without("nbf")),
            ("nbf ahead", with("nbf", json!(now + 3600))),
            ("another audience", with("aud", json!("else"))),
            ("another issuer", with("iss", json!("else"))),
            ("an unknown role", with("role", json!("root"))),
            ("no tenant", without("tenant")),
            ("too long", with("sub", json!("x".repeat(100_000)))),
            ("rubbish", "a.b.c".to_owned()),
        ] {
            assert_eq!(verifier.bearer(&token).await, Err(AuthError::Invalid), "{what}");
        }
        assert_eq!(
            verifier.bearer(&with("exp", json!(now - 3600))).await,
            Err(AuthError::Expired)
        );
        assert_eq!(verifier.actor(None).await, Err(AuthError::Missing));
        assert_eq!(verifier.actor(Some("Basic eDp5")).await, Err(AuthError::Missing));
    }
}
