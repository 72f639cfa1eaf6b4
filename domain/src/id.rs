//! One newtype per id. Raw UUIDs stay inside: a tenant's id cannot be passed where an employee's is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of every UUIDv5 that Tenure derives. Never change it: stored ids depend on it.
const NAMESPACE: Uuid = Uuid::from_u128(0x7465_6e75_7265_4000_8000_7065_6f70_6c65);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// One company that uses Tenure.
    TenantId
);
id!(
    /// One connection to an HRIS.
    ConnectionId
);
id!(
    /// One person in one tenant, whatever source told of them.
    EmployeeId
);
id!(
    /// One career program of a tenant.
    ProgramId
);
id!(
    /// One change of pay: the id of the command that asked for it.
    PayChangeId
);
id!(
    /// One stored event. Derived from what caused it, so that the same input twice is one event.
    EventId
);
id!(
    /// One command: a user's `Idempotency-Key`, a webhook's content, or what a process manager reacted to.
    CommandId
);

impl EmployeeId {
    /// The id of the person whom `connection` knows as `remote`. Stable for ever: a re-import finds the same stream.
    #[must_use]
    pub fn derive(tenant: TenantId, connection: ConnectionId, remote: &str) -> Self {
        Self(derived(&[
            "employee",
            &tenant.to_string(),
            &connection.to_string(),
            remote,
        ]))
    }
}

impl ConnectionId {
    /// The id of a tenant's connection to `account` at `vendor`: connecting the same account twice is one connection.
    #[must_use]
    pub fn derive(tenant: TenantId, vendor: &str, account: &str) -> Self {
        Self(derived(&["connection", &tenant.to_string(), vendor, account]))
    }
}

/// The stream of what a person asks for, by the subject of their tokens.
#[must_use]
pub fn access_stream(tenant: TenantId, subject: &str) -> Uuid {
    derived(&["access", &tenant.to_string(), subject])
}

impl ProgramId {
    /// The id of the program that a tenant's set-up calls `key`: set up twice, it is one program.
    #[must_use]
    pub fn derive(tenant: TenantId, key: &str) -> Self {
        Self(derived(&["program", &tenant.to_string(), key]))
    }
}

impl CommandId {
    /// The id of the command that `source` sent under its own `key`.
    #[must_use]
    pub fn derive(tenant: TenantId, source: &str, key: &str) -> Self {
        Self(derived(&["command", &tenant.to_string(), source, key]))
    }
}

impl EventId {
    /// The id of the `index`-th event (from 0) that `command` led to.
    #[must_use]
    pub fn of_command(command: CommandId, index: usize) -> Self {
        Self(derived(&["event", &command.to_string(), &index.to_string()]))
    }
}

/// UUIDv5 over length-prefixed parts, so that `["a", "bc"]` and `["ab", "c"]` differ.
fn derived(parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_the_ones_that_are_stored() {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let connection = ConnectionId::derive(tenant, "bamboohr", "acme");
        assert_eq!(connection.to_string(), "c2ff17ac-ebbb-50b8-b1bb-1bb490169adb");
        assert_eq!(
            EmployeeId::derive(tenant, connection, "42").to_string(),
            "2ce57f14-0fdf-5282-beb9-b3eef865e2d6"
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(derived(&["a", "bc"]), derived(&["ab", "c"]));
    }
}
