//! Files that people upload, read by the mapping that they suggest.
#![no_main]

use command_service::files::{
    people::{self, Origin},
    proposal,
    table::{self, Hints},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    // The reader of workbooks may panic, which is caught: only what is not caught is a finding.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        let Ok(table) = table::read(data, Hints::default()) else { return };
        let mapping = proposal::propose(&table).mapping;
        if mapping.check().is_err() {
            return;
        }
        let origin = Origin { tenant: fuzz::tenant(), connection: fuzz::source("x").connection, as_of: fuzz::today() };
        let Ok(read) = people::read(&table, &mapping, origin) else { return };
        // Every row is of somebody who was read, or has a problem.
        let mut told: Vec<usize> = read.people.iter().flat_map(|person| person.rows.clone()).collect();
        told.extend(read.problems.iter().map(|problem| problem.row));
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, (0..table.rows.len()).collect::<Vec<_>>());
        for person in read.people {
            fuzz::believed(person.snapshot);
        }
    }
);
