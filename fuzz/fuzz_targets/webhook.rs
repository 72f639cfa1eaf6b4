//! BambooHR's webhooks, in any of their styles.
#![no_main]

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
        let source = fuzz::source(&notification.remote_id);
        let read = translate::partial_snapshot(fuzz::tenant(), source, &notification, &|_| None, fuzz::today());
        if let Ok((snapshot, _)) = read {
            fuzz::believed(snapshot);
        }
    }
});
