//! Bearer tokens of identity providers. A token names its connection, because all of them speak to one address; only digests are kept.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use domain::id::ConnectionId;
use sha2::{Digest, Sha256};

use crate::intake::hex;

const PREFIX: &str = "tenure_scim_";

/// A new token.
#[must_use]
pub fn new(connection: ConnectionId) -> String {
    let bytes: [u8; 32] = rand::random();
    format!("{PREFIX}{}_{}", connection.uuid().simple(), BASE64.encode(bytes))
}

/// What is kept of a token. It is random and long, so that a digest without salt or work tells nothing.
#[must_use]
pub fn digest(token: &str) -> String {
    hex(&Sha256::digest(token))
}

/// Whose token it says to be.
#[must_use]
pub fn connection(token: &str) -> Option<ConnectionId> {
    let (connection, _) = token.strip_prefix(PREFIX)?.split_once('_')?;
    connection.parse().ok()
}

/// Whether it is one of those of which `digests` are kept.
#[must_use]
pub fn is_one_of(digests: &[String], token: &str) -> bool {
    let digest = digest(token);
    digests.contains(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_connection_and_only_itself_is_taken() {
        let of = ConnectionId::from_uuid(uuid::Uuid::from_u128(7));
        let (token, other) = (new(of), new(of));
        assert_eq!((connection(&token), connection("tenure_scim_7_x")), (Some(of), None));
        let kept = [digest(&token)];
        assert!(is_one_of(&kept, &token) && !is_one_of(&kept, &other) && !is_one_of(&kept, &kept[0]));
    }
}
