//! Personal data, marked as such in the type.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};

/// The key of the object that stands for an open personal value in serialised form. The codec seals every one of them;
/// nothing with this marker is ever stored or sent.
pub const OPEN_MARKER: &str = "$personal";

/// The key of the object that stands for a value that can no longer be read.
pub const UNREADABLE_MARKER: &str = "$unreadable";

/// A value about a person (or a secret): printed as `[personal]`, stored only sealed, and possibly gone.
///
/// A value whose key has been destroyed is [`Personal::Unreadable`]: code must say what it does then. Deserialising accepts
/// the bare value too, so that request bodies stay plain.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Personal<T> {
    Open(T),
    /// Erased, or sealed under a key that is not to be had.
    #[default]
    Unreadable,
}

impl<T> Personal<T> {
    /// The value, if it can be read.
    pub const fn open(&self) -> Option<&T> {
        match self {
            Self::Open(value) => Some(value),
            Self::Unreadable => None,
        }
    }

    /// The value, if it can be read.
    pub fn into_open(self) -> Option<T> {
        match self {
            Self::Open(value) => Some(value),
            Self::Unreadable => None,
        }
    }
}

impl<T> From<T> for Personal<T> {
    fn from(value: T) -> Self {
        Self::Open(value)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "[personal]",
            Self::Unreadable => "[unreadable]",
        })
    }
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Open(value) => map.serialize_entry(OPEN_MARKER, value)?,
            Self::Unreadable => map.serialize_entry(UNREADABLE_MARKER, &true)?,
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape<T> {
            Open(Marked<T>),
            Unreadable(#[expect(dead_code, reason = "only its shape is asked for")] Gone),
            Plain(T),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Marked<T> {
            #[serde(rename = "$personal")]
            value: T,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Gone {
            #[serde(rename = "$unreadable")]
            _gone: bool,
        }
        Ok(match Shape::deserialize(deserializer)? {
            Shape::Open(Marked { value }) | Shape::Plain(value) => Self::Open(value),
            Shape::Unreadable(_) => Self::Unreadable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_value_never_prints_itself() {
        assert_eq!(format!("{:?}", Personal::Open("Ada Lovelace")), "[personal]");
    }

    #[test]
    fn markers_and_bare_values_are_read() {
        let read = |text: &str| serde_json::from_str::<Personal<u8>>(text).expect("a personal value");
        assert_eq!(read("7"), Personal::Open(7));
        assert_eq!(read(r#"{"$personal": 7}"#), Personal::Open(7));
        assert_eq!(read(r#"{"$unreadable": true}"#), Personal::Unreadable);
        assert_eq!(
            serde_json::to_string(&Personal::Open(7)).expect("json"),
            r#"{"$personal":7}"#
        );
    }
}
