//! Files that people upload: CSV or a spreadsheet, a mapping from its columns to the neutral record, and what is wrong row by row.

mod cells;
pub mod import;
pub mod inbox;
pub mod people;
pub mod preview;
pub mod proposal;
pub mod report;
pub mod table;
