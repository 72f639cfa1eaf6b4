//! Standard Webhooks signatures: `v1,base64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}"))` (facts/connectors.md A4, from the
//! specification). Signatures with asymmetric keys (`v1a`) are not taken.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chrono::DateTime;
use domain::Timestamp;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The same for every attempt to deliver a message.
pub const ID_HEADER: &str = "webhook-id";
/// Unix seconds of the attempt.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Signatures with spaces between them, so that a secret can be changed for another without a gap.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

const SECRET_PREFIX: &str = "whsec_";
/// What a secret may have, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    #[error("the header {0} is missing or empty")]
    Missing(&'static str),
    #[error("the header {TIMESTAMP_HEADER} is not Unix seconds")]
    UnreadableTimestamp,
    #[error("no signature of version v1 matches a secret of this connection")]
    BadSignature,
    #[error("the message is authentic, but was sent {age_seconds} seconds ago, outside of the connection's freshness")]
    Stale { age_seconds: i64 },
}

/// What comes with a message.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
}

/// Proves that one of `secrets` signed these bytes, and that they were sent within `freshness_seconds` of `now`.
///
/// # Errors
/// When something is missing or unreadable, nothing matches, or the attempt is too far from `now` in either direction.
pub fn verify(
    secrets: &[String],
    body: &[u8],
    signed: Signed<'_>,
    (now, freshness_seconds): (Timestamp, u32),
) -> Result<(), SignatureProblem> {
    for (name, value) in [
        (ID_HEADER, signed.id),
        (TIMESTAMP_HEADER, signed.timestamp),
        (SIGNATURE_HEADER, signed.signature),
    ] {
        if value.trim().is_empty() {
            return Err(SignatureProblem::Missing(name));
        }
    }
    let signatures = signed.signature.split_whitespace();
    let mut signatures = signatures.filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?).ok());
    let matches = signatures.any(|signature| {
        (secrets.iter().filter_map(|secret| bytes_of(secret)))
            .any(|secret| mac(&secret, body, signed).is_some_and(|mac| mac.verify_slice(&signature).is_ok()))
    });
    if !matches {
        return Err(SignatureProblem::BadSignature);
    }
    let sent = (signed.timestamp.trim().parse().ok())
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or(SignatureProblem::UnreadableTimestamp)?;
    let age_seconds = (now - sent).num_seconds();
    if age_seconds.unsigned_abs() > u64::from(freshness_seconds) {
        return Err(SignatureProblem::Stale { age_seconds });
    }
    Ok(())
}

/// Whether a bearer token is one of the secrets. Compared by their digests, so that the time says nothing about them.
#[must_use]
pub fn is_secret(secrets: &[String], token: &str) -> bool {
    let digest = Sha256::digest(token);
    secrets.iter().any(|secret| Sha256::digest(secret) == digest)
}

/// The bytes of a secret, which is written as `whsec_` and base64.
#[must_use]
pub fn bytes_of(secret: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

/// A new secret.
#[must_use]
pub fn new_secret() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("{SECRET_PREFIX}{}", BASE64.encode(bytes))
}

/// What a sender puts into [`SIGNATURE_HEADER`]; none if the secret is none.
#[must_use]
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let signed = Signed {
        id,
        timestamp,
        signature: "",
    };
    let mac = mac(&bytes_of(secret)?, body, signed)?;
    Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// HMAC takes keys of any length, so this is never `None`.
fn mac(secret: &[u8], body: &[u8], signed: Signed<'_>) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(signed.id.as_bytes());
    mac.update(b".");
    mac.update(signed.timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification (facts/connectors.md A4).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verified(secret: &str, signature: &str, body: &[u8], after: i64) -> Result<(), SignatureProblem> {
        let signed = Signed {
            id: ID,
            timestamp: TIMESTAMP,
            signature,
        };
        let now = DateTime::from_timestamp(1_614_265_330 + after, 0).expect("a moment");
        verify(&["whsec_other".into(), secret.into()], body, signed, (now, 300))
    }

    #[test]
    fn the_vector_of_the_specification_matches() {
        assert_eq!(sign(SECRET, ID, TIMESTAMP, BODY).as_deref(), Some(SIGNATURE));
        assert_eq!(verified(SECRET, SIGNATURE, BODY, 0), Ok(()));
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        assert_eq!(verified(SECRET, &several, BODY, 300), Ok(()));
        assert_eq!(
            verified(SECRET, SIGNATURE, BODY, -301),
            Err(SignatureProblem::Stale { age_seconds: -301 })
        );
        for (secret, signature, body) in [
            (SECRET, SIGNATURE, &b"{}"[..]),
            (SECRET, "v1,AAAA", BODY),
            (SECRET, &SIGNATURE[3..], BODY),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SIGNATURE, BODY),
            ("", SIGNATURE, BODY),
        ] {
            assert_eq!(
                verified(secret, signature, body, 0),
                Err(SignatureProblem::BadSignature)
            );
        }
        assert_eq!(
            verified(SECRET, " ", BODY, 0),
            Err(SignatureProblem::Missing(SIGNATURE_HEADER))
        );
    }

    #[test]
    fn a_new_secret_signs_and_short_ones_are_none() {
        let secret = new_secret();
        assert!(sign(&secret, "1", "2", b"").is_some() && is_secret(std::slice::from_ref(&secret), &secret));
        assert!(!is_secret(&[secret], "") && new_secret() != new_secret());
        assert_eq!(bytes_of("whsec_c2hvcnQ="), None);
    }
}
