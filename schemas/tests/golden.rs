//! Every event that was ever stored stays readable: one sample per type and version in `schemas/events`, for ever.
//!
//! `just golden` adds samples that are missing. It changes none: what is stored cannot be changed either.

#[path = "golden/samples.rs"]
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Once,
};

use domain::{
    access, connection, employee, pay_change,
    personal::{OPEN_MARKER, UNREADABLE_MARKER},
    program, risk, tenant,
};
use schemas::{codec::AnyEvent, upcast::newest_version};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn events() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/events"))
}

/// `employee.hired.v1.json` to its type and version.
fn parse(file: &str) -> Option<(&str, i16)> {
    let (event_type, version) = file.strip_suffix(".json")?.rsplit_once(".v")?;
    Some((event_type, version.parse().ok().filter(|version| *version > 0)?))
}

/// A hand-built event's file, and what is to be in it.
fn sample(event: &AnyEvent) -> (String, String) {
    let encoded = event.encode().expect("encoded");
    let text = serde_json::to_string_pretty(&encoded.payload).expect("JSON") + "\n";
    (format!("{}.v{}.json", encoded.event_type, encoded.schema_version), text)
}

/// Adds the samples that are missing, if asked to.
fn update() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            for (file, text) in samples::all().iter().map(sample) {
                if !events().join(&file).exists() {
                    std::fs::write(events().join(&file), text).expect("written");
                }
            }
        }
    });
}

/// The samples as they are committed: payloads by type and version.
fn committed() -> BTreeMap<(String, i16), Value> {
    update();
    std::fs::read_dir(events())
        .expect("schemas/events")
        .map(|entry| {
            let entry = entry.expect("a file");
            let file = entry.file_name().into_string().expect("a name");
            let (event_type, version) =
                parse(&file).unwrap_or_else(|| panic!("schemas/events/{file} is not named <type>.v<version>.json"));
            let text = std::fs::read_to_string(entry.path()).expect("a sample");
            let payload = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            ((event_type.to_owned(), version), payload)
        })
        .collect()
}

/// The names of an enum's variants, as serde lists them: nobody has to keep a list.
fn variants<E: DeserializeOwned>(kind: &str) -> BTreeSet<String> {
    let error = match serde_json::from_value::<E>(json!({ "type": "no such event", "data": {} })) {
        Ok(_) => panic!("{kind} takes any event"),
        Err(error) => error.to_string(),
    };
    let (_, names) = error
        .split_once(", expected ")
        .unwrap_or_else(|| panic!("serde lists variants differently now: {error}"));
    names
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|name| format!("{kind}.{name}"))
        .collect()
}

fn all_types() -> BTreeSet<String> {
    let mut types = variants::<employee::Event>("employee");
    types.extend(variants::<risk::Event>("risk"));
    types.extend(variants::<connection::Event>("connection"));
    types.extend(variants::<tenant::Event>("tenant"));
    types.extend(variants::<program::Event>("program"));
    types.extend(variants::<access::Event>("access"));
    types.extend(variants::<pay_change::Event>("pay-change"));
    types
}

#[test]
fn golden_events() {
    update();
    let mut sampled = BTreeSet::new();
    for event in samples::all() {
        let (file, now) = sample(&event);
        let (event_type, version) = parse(&file).expect("our own name");
        let text = std::fs::read_to_string(events().join(&file))
            .unwrap_or_else(|_| panic!("schemas/events/{file} is missing: run `just golden` and commit it"));
        assert!(
            text == now,
            "{event_type} is stored differently now than schemas/events/{file} says. Events of version {version} are in logs and \
             cannot be changed: leave the sample as it is and write an upcaster in schemas/src/upcast.rs, which makes this \
             version {}. (If only the sample, or its value in schemas/tests/golden/samples.rs, was edited: undo that.)\n\
             stored: {text}\nnow: {now}",
            version + 1,
        );
        let payload = serde_json::from_str(&text).expect("JSON");
        let decoded = AnyEvent::decode(event_type, version, payload).expect("decoded");
        assert_eq!(decoded, event, "{file} reads as another event");
        assert!(sampled.insert(event_type.to_owned()), "two samples for {file}");
    }
    assert_eq!(
        sampled,
        all_types(),
        "every event needs one hand-built sample in schemas/tests/golden/samples.rs"
    );
}

#[test]
fn golden_events_of_every_version_are_kept() {
    let types = all_types();
    let committed = committed();
    for (event_type, version) in committed.keys() {
        assert!(
            types.contains(event_type),
            "schemas/events/{event_type}.v{version}.json is of no known type: was an event renamed or removed? Logs hold it still"
        );
        assert!(
            *version <= newest_version(event_type),
            "schemas/events/{event_type}.v{version}.json is newer than the code: is its upcaster missing?"
        );
    }
    for event_type in types {
        for version in 1..=newest_version(&event_type) {
            assert!(
                committed.contains_key(&(event_type.clone(), version)),
                "schemas/events/{event_type}.v{version}.json is missing: restore it, or run `just golden` if it is new"
            );
        }
    }
}

#[test]
fn golden_events_of_every_version_read_as_events_of_today() {
    for ((event_type, version), payload) in committed() {
        let event = AnyEvent::decode(&event_type, version, payload)
            .unwrap_or_else(|error| panic!("{event_type} version {version}: {error:?}"));
        let encoded = event.encode().expect("encoded");
        assert_eq!(encoded.event_type, event_type);
        let again = AnyEvent::decode(&encoded.event_type, encoded.schema_version, encoded.payload);
        assert_eq!(again.expect("decoded"), event, "{event_type} version {version}");
    }
}

/// When a person's key is destroyed, every personal value becomes the marker of the unreadable; the events stay events.
#[test]
fn golden_events_survive_an_erasure() {
    for ((event_type, version), mut payload) in committed() {
        erase(&mut payload);
        let event = AnyEvent::decode(&event_type, version, payload)
            .unwrap_or_else(|error| panic!("{event_type} version {version}: {error:?}"));
        let text = event.encode().expect("encoded").payload.to_string();
        assert!(
            !text.contains(OPEN_MARKER),
            "{event_type} made up a personal value: {text}"
        );
    }
}

fn erase(value: &mut Value) {
    match value {
        Value::Object(map) if map.contains_key(OPEN_MARKER) => *value = json!({ UNREADABLE_MARKER: true }),
        Value::Object(map) => map.values_mut().for_each(erase),
        Value::Array(items) => items.iter_mut().for_each(erase),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
