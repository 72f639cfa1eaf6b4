//! OAuth: tokens that are exchanged for others.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// How long an access token lasts (documented).
pub(super) const LASTS: TimeDelta = TimeDelta::hours(2);

/// Which tokens are good.
pub(super) struct Tokens {
    /// Access tokens, when they end, and the refresh token that ends with their first use.
    access: BTreeMap<String, (DateTime<Utc>, Option<String>)>,
    refresh: BTreeSet<String>,
    given: u64,
}

impl Tokens {
    pub(super) fn new(refresh_token: &str) -> Self {
        Self {
            access: BTreeMap::new(),
            refresh: BTreeSet::from([refresh_token.to_owned()]),
            given: 0,
        }
    }

    /// Access token and refresh token for a refresh token, if that is good.
    pub(super) fn exchange(&mut self, refresh_token: &str, now: DateTime<Utc>) -> Option<(String, String)> {
        if !self.refresh.contains(refresh_token) {
            return None;
        }
        self.given += 1;
        let (access, refresh) = (format!("access-{}", self.given), format!("refresh-{}", self.given));
        self.access
            .insert(access.clone(), (now + LASTS, Some(refresh_token.to_owned())));
        self.refresh.insert(refresh.clone());
        Some((access, refresh))
    }

    /// Whether a request may be made with it.
    pub(super) fn is_good(&mut self, access: &str, now: DateTime<Utc>) -> bool {
        let Some((until, before)) = self.access.get_mut(access) else {
            return false;
        };
        if now >= *until {
            return false;
        }
        if let Some(before) = before.take() {
            self.refresh.remove(&before);
        }
        true
    }

    pub(super) fn end(&mut self) {
        self.access.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_ends_when_what_it_gave_is_used() {
        let now = DateTime::UNIX_EPOCH;
        let mut tokens = Tokens::new("first");
        let (lost, _) = tokens.exchange("first", now).expect("exchanged");
        let (access, refresh) = tokens.exchange("first", now).expect("the first was lost, and not used");
        assert!(tokens.is_good(&access, now));
        assert_eq!(tokens.exchange("first", now), None);
        assert!(!tokens.is_good(&access, now + LASTS));
        assert!(tokens.exchange(&refresh, now).is_some());
        assert!(tokens.is_good(&lost, now));
    }
}
