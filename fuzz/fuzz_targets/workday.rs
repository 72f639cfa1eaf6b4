//! Workday's answers about one worker, as of the days in their attribute `on`; and faults.
#![no_main]

use std::collections::BTreeMap;

use command_service::workday::{
    snapshot,
    soap::{attribute, children, document, fault},
    worker::{self, State, Worker},
};
use domain::{
    Date,
    connection::{Login, Workday},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(xml) = std::str::from_utf8(data) else { return };
    let Some(answers) = document(xml) else { return };
    let _ = fault("workers", axum::http::StatusCode::INTERNAL_SERVER_ERROR, &answers);
    let account = Workday {
        tenant: "acme".into(),
        base_url: "https://wd2.example".into(),
        version: Workday::VERSION.into(),
        login: Login::Password { user: "ISU".into() },
        department: Workday::DEPARTMENT.into(),
        division: Workday::DIVISION.into(),
    };
    let mut states: BTreeMap<Date, State> = BTreeMap::new();
    let mut person: Option<Worker> = None;
    for node in children(answers.root_element(), "Worker") {
        let on = attribute(node, "on").and_then(worker::day).unwrap_or_else(fuzz::today);
        if let Some(read) = worker::read(node, on, &account) {
            states.insert(on, read.state.clone());
            person = Some(read);
        }
    }
    if let Some(person) = person {
        let today = fuzz::today();
        fuzz::believed(snapshot(
            (fuzz::tenant(), fuzz::source("123456")),
            today,
            person,
            &states,
        ));
    }
});
