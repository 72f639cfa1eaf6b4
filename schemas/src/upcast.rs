//! Old payloads to new ones. The domain sees only the newest version of an event; this table is where history is translated.

use serde_json::Value;

/// Turns the payload of one version into that of the next.
type Upcaster = fn(Value) -> Value;

/// Every change that was ever made to a stored payload: `(event type, from version, how)`. Append only.
const UPCASTERS: &[(&str, i16, Upcaster)] = &[
    // Scores say what they were made from.
    ("risk.risk-assessed", 1, |mut payload| {
        // A score that can no longer be opened has nothing to add to.
        let score = payload.pointer_mut("/score/$personal").and_then(Value::as_object_mut);
        if let Some(score) = score {
            score.insert("vector".to_owned(), Value::Null);
        }
        payload
    }),
    // What is connected need not be a BambooHR account.
    ("connection.connected", 1, |mut payload| {
        if let Some(fields) = payload.as_object_mut()
            && let Some(mut system) = fields.remove("vendor")
        {
            if let Some(system) = system.as_object_mut() {
                system.insert("kind".to_owned(), "bamboohr".into());
            }
            fields.insert("system".to_owned(), system);
        }
        payload
    }),
];

/// The newest version of an event type: 1, and one more for each upcaster.
#[must_use]
pub fn newest_version(event_type: &str) -> i16 {
    UPCASTERS
        .iter()
        .filter(|(of, _, _)| *of == event_type)
        .map(|(_, from, _)| from + 1)
        .max()
        .unwrap_or(1)
}

/// Brings `payload` from `version` to the newest.
#[must_use]
pub fn upcast(event_type: &str, version: i16, payload: Value) -> Value {
    (version..newest_version(event_type)).fold(payload, |payload, from| {
        match UPCASTERS
            .iter()
            .find(|(of, version, _)| *of == event_type && *version == from)
        {
            Some((_, _, step)) => step(payload),
            None => payload,
        }
    })
}
