//! Messages of systems without a connector. The first byte says in which mode.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use command_service::{
    push::message::{self, Mode},
    record,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    let mode = [Mode::StandardWebhooks, Mode::Binary, Mode::Structured, Mode::Batch][usize::from(*first) % 4];
    let pairs = [
        ("webhook-id", "1"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "employee.upserted"),
    ];
    let headers: HeaderMap = (pairs.into_iter())
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    for message in message::parse(mode, &headers, body).unwrap_or_default() {
        let source = fuzz::source(&message.record.id);
        if let Ok(snapshot) = record::snapshot(message.record, message.kind, (fuzz::tenant(), source, fuzz::today())) {
            fuzz::believed(snapshot);
        }
    }
});
