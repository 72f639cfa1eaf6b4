//! What BambooHR's API says of a person: `[fields, jobInfo, compensation, employmentStatus]`.
#![no_main]

use command_service::bamboohr::{
    client::{Fields, Row},
    translate::{self, Tables},
};
use libfuzzer_sys::fuzz_target;

type Rows = Option<Vec<Row>>;

fuzz_target!(|data: &[u8]| {
    let Ok((fields, jobs, pay, statuses)) = serde_json::from_slice::<(Fields, Rows, Rows, Rows)>(data) else {
        return;
    };
    let tables = Tables {
        job_info: jobs,
        compensation: pay,
        employment_status: statuses,
    };
    let read = translate::snapshot(
        fuzz::tenant(),
        fuzz::source("42"),
        &fields,
        Some(&tables),
        &|_| None,
        fuzz::today(),
    );
    if let Ok((snapshot, _)) = read {
        fuzz::believed(snapshot);
    }
});
