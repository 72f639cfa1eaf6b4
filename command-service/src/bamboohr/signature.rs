//! Whether a webhook was really sent by the BambooHR account, and lately.
//!
//! `signature = hex(HMAC-SHA256(key, raw body ‖ timestamp header))`: the body first, no separator, the key as given
//! (facts/connectors.md A1, from four independent clients and BambooHR's own PHP sample).

use domain::Timestamp;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::moment;

/// The header that holds the moment of sending.
pub const TIMESTAMP_HEADER: &str = "x-bamboohr-timestamp";
/// The header that holds the signature.
pub const SIGNATURE_HEADER: &str = "x-bamboohr-signature";

/// The length of a SHA-256 in hex digits.
const HEX_DIGITS: usize = 64;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    #[error("the header {0} is missing or empty")]
    Missing(&'static str),
    #[error("the header {SIGNATURE_HEADER} is not {HEX_DIGITS} hexadecimal digits")]
    NotHex,
    #[error(
        "the signature matches none of this connection's webhook keys: add the webhook's private key to the connection"
    )]
    BadSignature,
    #[error("the header {TIMESTAMP_HEADER} is neither Unix seconds nor an ISO 8601 time")]
    UnreadableTimestamp,
    /// The signature is right, so this is a late retry, a replay, or a clock that is wrong. Negative: sent in the future.
    #[error(
        "the webhook is authentic, but its timestamp lies {age_seconds} seconds back, outside of the connection's freshness"
    )]
    Stale { age_seconds: i64 },
}

/// Proves that one of `keys` signed these bytes and that they were sent within `freshness_seconds` of `now`.
///
/// The signature comes first: only what is authentic can be stale. Each key is compared in constant time. BambooHR cannot
/// rotate a key, only replace the webhook, so several keys live side by side.
///
/// # Errors
/// When a header is missing or unreadable, no key matches, or the timestamp is too far from `now` in either direction.
pub fn verify(
    keys: &[String],
    raw_body: &[u8],
    timestamp_header: &str,
    signature_header: &str,
    now: Timestamp,
    freshness_seconds: u32,
) -> Result<(), SignatureProblem> {
    let signature = signature_header.trim();
    for (name, value) in [
        (SIGNATURE_HEADER, signature),
        (TIMESTAMP_HEADER, timestamp_header.trim()),
    ] {
        if value.is_empty() {
            return Err(SignatureProblem::Missing(name));
        }
    }
    let signature = unhex(signature).ok_or(SignatureProblem::NotHex)?;
    if !keys
        .iter()
        .any(|key| signed_with(key, raw_body, timestamp_header, &signature))
    {
        return Err(SignatureProblem::BadSignature);
    }
    let sent = moment(timestamp_header).ok_or(SignatureProblem::UnreadableTimestamp)?;
    let age_seconds = (now - sent).num_seconds();
    if age_seconds.unsigned_abs() > u64::from(freshness_seconds) {
        return Err(SignatureProblem::Stale { age_seconds });
    }
    Ok(())
}

/// What BambooHR would send as signature: for tests and the demonstration's vendor.
#[must_use]
pub fn sign(key: &str, raw_body: &[u8], timestamp_header: &str) -> String {
    use std::fmt::Write as _;

    let Some(mac) = mac(key, raw_body, timestamp_header) else {
        return String::new();
    };
    mac.finalize()
        .into_bytes()
        .iter()
        .fold(String::with_capacity(HEX_DIGITS), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn signed_with(key: &str, raw_body: &[u8], timestamp_header: &str, signature: &[u8]) -> bool {
    // An empty key would let anybody sign.
    !key.is_empty() && mac(key, raw_body, timestamp_header).is_some_and(|mac| mac.verify_slice(signature).is_ok())
}

/// HMAC takes keys of any length, so this is never `None`.
fn mac(key: &str, raw_body: &[u8], timestamp_header: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(raw_body);
    mac.update(timestamp_header.as_bytes());
    Some(mac)
}

fn unhex(text: &str) -> Option<[u8; HEX_DIGITS / 2]> {
    let digits: &[u8; HEX_DIGITS] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let mut bytes = [0; HEX_DIGITS / 2];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "test-private-key";
    const SENT: &str = "1769884920";
    const BODY: &str = r#"{"type":"employee.updated","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890","changedFields":["firstName"]}}"#;
    /// The vector of facts/connectors.md A1.
    const SIGNATURE: &str = "8a9bbff957766dd991561e6fad13cafa4c3a479a39dc86c5ab8089351a2b117a";
    const FRESHNESS: u32 = 300;

    fn at(text: &str) -> Timestamp {
        moment(text).expect("a moment")
    }

    fn check(body: &str, sent: &str, signature: &str, now: &str) -> Result<(), SignatureProblem> {
        verify(
            &["other".into(), KEY.into()],
            body.as_bytes(),
            sent,
            signature,
            at(now),
            FRESHNESS,
        )
    }

    #[test]
    fn the_known_vector_is_accepted_in_either_case() {
        assert_eq!(BODY.len(), 146);
        assert_eq!(sign(KEY, BODY.as_bytes(), SENT), SIGNATURE);
        assert_eq!(check(BODY, SENT, SIGNATURE, SENT), Ok(()));
        assert_eq!(check(BODY, SENT, &SIGNATURE.to_uppercase(), SENT), Ok(()));
    }

    #[test]
    fn every_problem_is_named() {
        use SignatureProblem::{BadSignature, Missing, NotHex, Stale, UnreadableTimestamp};
        let changed = BODY.replace("67890", "67891");
        let odd = sign(KEY, BODY.as_bytes(), "yesterday");
        for (body, sent, signature, now, problem) in [
            (BODY, SENT, "", SENT, Missing(SIGNATURE_HEADER)),
            (BODY, " ", SIGNATURE, SENT, Missing(TIMESTAMP_HEADER)),
            (BODY, SENT, "zz", SENT, NotHex),
            (BODY, SENT, &SIGNATURE.replace('8', "g"), SENT, NotHex),
            (BODY, SENT, &format!("sha256={SIGNATURE}"), SENT, NotHex),
            (&changed, SENT, SIGNATURE, SENT, BadSignature),
            (BODY, "1769884921", SIGNATURE, SENT, BadSignature),
            (BODY, "yesterday", &odd, SENT, UnreadableTimestamp),
            (BODY, SENT, SIGNATURE, "1769885221", Stale { age_seconds: 301 }),
            (BODY, SENT, SIGNATURE, "1769884619", Stale { age_seconds: -301 }),
        ] {
            assert_eq!(check(body, sent, signature, now), Err(problem));
        }
        assert_eq!(
            check(BODY, SENT, SIGNATURE, "1769885220"),
            Ok(()),
            "300 seconds are still fresh"
        );
        assert_eq!(check(BODY, SENT, SIGNATURE, "1769884620"), Ok(()), "also ahead");
    }

    #[test]
    fn wrong_recipes_are_refused() {
        let before = sign(KEY, format!("{SENT}.{BODY}").as_bytes(), "");
        let body_only = sign(KEY, BODY.as_bytes(), "");
        for signature in [before, body_only] {
            assert_eq!(check(BODY, SENT, &signature, SENT), Err(SignatureProblem::BadSignature));
        }
    }

    #[test]
    fn a_forged_stale_webhook_is_forged_and_no_key_or_an_empty_key_proves_nothing() {
        assert_eq!(
            check(BODY, SENT, &"0".repeat(64), "1900000000"),
            Err(SignatureProblem::BadSignature)
        );
        let empty = sign("", BODY.as_bytes(), SENT);
        for keys in [vec![], vec![String::new()]] {
            let answer = verify(&keys, BODY.as_bytes(), SENT, &empty, at(SENT), FRESHNESS);
            assert_eq!(answer, Err(SignatureProblem::BadSignature));
        }
    }

    #[test]
    fn iso_timestamps_are_signed_verbatim() {
        for sent in [
            "2026-01-31T18:42:00+0000",
            "2026-01-31T18:42:00.000Z",
            "2026-01-31T19:42:00+01:00",
            "1769884920000",
        ] {
            let signature = sign(KEY, BODY.as_bytes(), sent);
            assert_eq!(check(BODY, sent, &signature, SENT), Ok(()), "{sent}");
        }
    }
}
