//! Cursors of connections: the sort key and the id of an entry, opaque outside. Never an offset: lists change.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use domain::id::EmployeeId;
use infra::read_model::query::{Key, Order};
use serde::{Deserialize, Serialize};

use crate::{
    error::ApiError,
    limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX},
};

/// A longer cursor is none of ours.
const CURSOR_BYTES_MAX: usize = 2_048;

#[derive(Serialize, Deserialize)]
enum Wire {
    #[serde(rename = "n")]
    Name(Option<String>, EmployeeId),
    #[serde(rename = "i")]
    Id(EmployeeId),
    /// Bits of the probability: text would round it.
    #[serde(rename = "r")]
    Risk(Option<u64>, EmployeeId),
    #[serde(rename = "p")]
    Position(i64),
}

fn write(wire: &Wire) -> String {
    BASE64.encode(serde_json::to_vec(wire).unwrap_or_default())
}

fn read(cursor: &str) -> Result<Wire, ApiError> {
    let broken = || ApiError::bad_input("this is not a cursor of this list: use one that it gave you");
    if cursor.len() > CURSOR_BYTES_MAX {
        return Err(broken());
    }
    let bytes = BASE64.decode(cursor).map_err(|_| broken())?;
    serde_json::from_slice(&bytes).map_err(|_| broken())
}

pub fn of_key(key: Key) -> String {
    write(&match key {
        Key::Name(name, id) => Wire::Name(name, id),
        Key::Id(id) => Wire::Id(id),
        Key::Risk(probability, id) => Wire::Risk(probability.map(f64::to_bits), id),
    })
}

/// The place that a cursor means in a list of this order.
pub fn to_key(cursor: &str, order: Order) -> Result<Key, ApiError> {
    match (read(cursor)?, order) {
        (Wire::Name(name, id), Order::Name) => Ok(Key::Name(name, id)),
        (Wire::Id(id), Order::Id) => Ok(Key::Id(id)),
        (Wire::Risk(bits, id), Order::Risk) => {
            let probability = bits.map(f64::from_bits);
            if probability.is_some_and(|p| !p.is_finite()) {
                return Err(ApiError::bad_input(
                    "this is not a cursor of this list: use one that it gave you",
                ));
            }
            Ok(Key::Risk(probability, id))
        }
        (Wire::Name(..) | Wire::Id(_) | Wire::Risk(..) | Wire::Position(_), _) => Err(ApiError::bad_input(
            "this cursor belongs to a list of another order: keep the order while you page",
        )),
    }
}

pub fn of_position(position: i64) -> String {
    write(&Wire::Position(position))
}

pub fn to_position(cursor: &str) -> Result<i64, ApiError> {
    match read(cursor)? {
        Wire::Position(position) => Ok(position),
        Wire::Name(..) | Wire::Id(_) | Wire::Risk(..) => {
            Err(ApiError::bad_input("this cursor belongs to another list"))
        }
    }
}

/// A page as the four arguments of a connection ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub size: i32,
    pub backwards: bool,
    /// The cursor to go on from.
    pub cursor: Option<String>,
}

impl Window {
    pub fn new(
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Self, ApiError> {
        let (size, backwards, cursor) = match (first, last) {
            (Some(_), Some(_)) => return Err(ApiError::bad_input("give `first` or `last`, not both")),
            (_, None) if before.is_some() => return Err(ApiError::bad_input("`before` goes with `last`")),
            (None, Some(_)) if after.is_some() => return Err(ApiError::bad_input("`after` goes with `first`")),
            (first, None) => (first.unwrap_or(PAGE_SIZE_DEFAULT), false, after),
            (None, Some(last)) => (last, true, before),
        };
        Ok(Self {
            size: page_size(Some(size))?,
            backwards,
            cursor,
        })
    }
}

/// A page size within its limits.
pub fn page_size(first: Option<i32>) -> Result<i32, ApiError> {
    let size = first.unwrap_or(PAGE_SIZE_DEFAULT);
    if (1..=PAGE_SIZE_MAX).contains(&size) {
        Ok(size)
    } else {
        Err(ApiError::bad_input(format!(
            "a page has between 1 and {PAGE_SIZE_MAX} entries"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id() -> EmployeeId {
        EmployeeId::from_uuid(Uuid::from_u128(7))
    }

    #[test]
    fn a_cursor_reads_back_exactly() {
        for (key, order) in [
            (Key::Name(Some("ada \"löve\"".into()), id()), Order::Name),
            (Key::Name(None, id()), Order::Name),
            (Key::Id(id()), Order::Id),
            (Key::Risk(Some(0.1 + 0.2), id()), Order::Risk),
            (Key::Risk(None, id()), Order::Risk),
        ] {
            let cursor = of_key(key.clone());
            assert!(to_key(&cursor, order).expect("reads") == key, "{cursor}");
        }
        assert_eq!(to_position(&of_position(i64::MAX)).expect("reads"), i64::MAX);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        assert!(to_key(&of_key(Key::Id(id())), Order::Name).is_err());
        assert!(to_key(&of_position(3), Order::Id).is_err());
        assert!(to_position(&of_key(Key::Id(id()))).is_err());
        let infinite = write(&Wire::Risk(Some(f64::NAN.to_bits()), id()));
        for broken in ["", "x", "!!!", "bnVsbA", &"A".repeat(5_000), &infinite] {
            assert!(to_key(broken, Order::Risk).is_err(), "{broken}");
        }
    }

    #[test]
    fn windows_are_forward_or_backward_and_bounded() {
        let window = |first, after: Option<&str>, last, before: Option<&str>| {
            Window::new(first, after.map(str::to_owned), last, before.map(str::to_owned))
        };
        assert_eq!(
            window(None, None, None, None).expect("a window"),
            Window {
                size: PAGE_SIZE_DEFAULT,
                backwards: false,
                cursor: None
            }
        );
        assert_eq!(
            window(None, None, Some(3), Some("c")).expect("a window"),
            Window {
                size: 3,
                backwards: true,
                cursor: Some("c".into())
            }
        );
        for (first, after, last, before) in [
            (Some(1), None, Some(1), None),
            (Some(0), None, None, None),
            (Some(-5), None, None, None),
            (Some(PAGE_SIZE_MAX + 1), None, None, None),
            (Some(1), None, None, Some("c")),
            (None, Some("c"), Some(1), None),
        ] {
            assert!(window(first, after, last, before).is_err());
        }
    }
}
