//! BambooHR's webhooks, in any of their styles.
#![no_main]

#[path = "common.rs"]
mod common;

use command_service::bamboohr::{
    payload::{self, Message},
    translate,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Message::Employees(notifications)) = payload::parse(None, data) else {
        return;
    };
    for notification in notifications {
        let source = common::source(&notification.remote_id);
        let read = translate::partial_snapshot(common::tenant(), source, &notification, &|_| None, common::today());
        if let Ok((snapshot, _)) = read {
            common::believed(snapshot);
        }
    }
});
