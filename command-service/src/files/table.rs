//! A file as rows of cells, from CSV, from an Excel workbook, or from a list in JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read},
};

use calamine::{DataRef, Reader, SheetVisible, Xlsx};
use chrono::NaiveDate;
use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;

/// The most bytes of a file.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most rows of a file, without its headers.
pub const ROWS_MAX: usize = 500_000;
/// The most columns of a file.
pub const COLUMNS_MAX: usize = 500;
/// The most cells of a list in JSON, whose entries may leave out what is empty.
const CELLS_MAX: usize = 20_000_000;
/// The longest cell, in bytes. A quotation mark that does not end makes one cell of the rest of a file.
const CELL_BYTES_MAX: usize = 10_000;
/// What a workbook may weigh unpacked: a few kilobytes can hold gigabytes of nothing.
const UNPACKED_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The most bytes of text of a table: a workbook may name one long text in a million cells.
const TEXT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is added to rows that are given back. A file that is sent again may have it; it is not read.
pub const PROBLEM_HEADER: &str = "tenure_problem";

/// Rows of cells under headers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub headers: Vec<String>,
    pub rows: Vec<Row>,
    /// What stands between the cells when rows are given back.
    delimiter: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it begins in the file, counted from 1: the row's number in a spreadsheet.
    pub line: usize,
    /// One for each header, unless the row has too few or too many.
    pub cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Empty,
    /// Trimmed, and not empty.
    Text(Box<str>),
    Number(f64),
    Day(NaiveDate),
    /// A formula that has no value, such as `#N/A`, or a list with several.
    Broken,
}

/// Why a whole file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    #[error("the file is empty: its first row is to have the columns' headers")]
    Empty,
    #[error("the file has more than {} MB: send it in several", FILE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("the file has more than {ROWS_MAX} rows: send it in several")]
    TooManyRows,
    #[error("the file has more than {COLUMNS_MAX} columns: leave out those that are not read")]
    TooManyColumns,
    #[error(
        "line {0} is not in UTF-8: save the file as \"CSV UTF-8\", or name its encoding, such as `content-type: text/csv; charset=windows-1252`"
    )]
    NotUtf8(usize),
    #[error("{0:?} is no encoding that is known here")]
    UnknownEncoding(String),
    #[error("line {0} does not read in the encoding that the file or its sender names")]
    Encoding(usize),
    #[error(
        "the cell that begins on line {0} is longer than {CELL_BYTES_MAX} bytes: a quotation mark there may have no end"
    )]
    LongCell(usize),
    #[error(
        "this is a workbook of the old kind (.xls), or one with a password: save it as .xlsx without one, or as CSV"
    )]
    OldWorkbook,
    #[error(
        "this is XML or a web page: ask for CSV or JSON (of Workday's reports by format=csv at the end of the address)"
    )]
    Xml,
    #[error("the JSON does not read, near line {0}")]
    Json(usize),
    #[error("the JSON is to be a list of objects, or an object with such a list as Report_Entry")]
    JsonShape,
    #[error("this is neither CSV nor an Excel workbook (.xlsx)")]
    NotAFile,
    #[error("the workbook is damaged, or no .xlsx: open it and save it anew")]
    Workbook,
    #[error("the workbook is larger than {} MB unpacked: save the sheet alone, or as CSV", UNPACKED_BYTES_MAX / 1024 / 1024)]
    TooLargeUnpacked,
    #[error("the file has more than {} MB of text", TEXT_BYTES_MAX / 1024 / 1024)]
    TooMuchText,
    #[error("the workbook has no sheet {wanted:?}; it has {}", .there.join(", "))]
    NoSheet { wanted: String, there: Vec<String> },
    #[error("the file has no column {}; its columns are {}", .missing.join(", "), .there.join(", "))]
    NoColumns { missing: Vec<String>, there: Vec<String> },
    #[error("the file has the column {0:?} more than once, and it is not clear which is meant")]
    ColumnTwice(String),
}

/// How a file says that it is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// Of text: the name of an encoding, as of `charset`.
    pub encoding: Option<&'a str>,
    /// Of a workbook: the sheet. Without it the first that is visible.
    pub sheet: Option<&'a str>,
}

/// The encoding that a content type names: its `charset`.
#[must_use]
pub fn charset(content_type: &str) -> Option<&str> {
    let named = content_type
        .split(';')
        .find_map(|part| part.trim().strip_prefix("charset="))?;
    Some(named.trim_matches('"'))
}

/// Reads a file, whatever kind it is.
///
/// # Errors
/// When it cannot be read at all. Rows that are too short or too long are left to the caller.
pub fn read(bytes: &[u8], hints: Hints<'_>) -> Result<Table, FileProblem> {
    if bytes.starts_with(b"PK\x03\x04") {
        // The reader is not ours, and a panic of it is the file's fault.
        let read = std::panic::catch_unwind(|| workbook(bytes, hints.sheet));
        read.unwrap_or(Err(FileProblem::Workbook))
    } else if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
        Err(FileProblem::OldWorkbook)
    } else {
        let text = text(bytes, hints.encoding)?;
        match text.trim_start().bytes().next() {
            Some(b'<') => Err(FileProblem::Xml),
            Some(b'{' | b'[') => entries(&text),
            Some(_) | None => separated(&text),
        }
    }
}

impl Table {
    /// Where a column stands, if it does. Headers are compared without their case and outer spaces.
    ///
    /// # Errors
    /// When it stands there more than once.
    pub fn index(&self, header: &str) -> Result<Option<usize>, FileProblem> {
        let wanted = header.trim().to_lowercase();
        let mut found = (self.headers.iter().enumerate()).filter(|(_, header)| header.trim().to_lowercase() == wanted);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(FileProblem::ColumnTwice(header.to_owned())),
            (first, None) => Ok(first.map(|(index, _)| index)),
        }
    }

    /// Rows as CSV, each with what is wrong with it behind its cells: to be mended and sent again.
    ///
    /// # Panics
    /// Never: memory takes what is written.
    #[must_use]
    pub fn give_back<'a>(&self, rows: impl Iterator<Item = (&'a Row, &'a str)>) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .flexible(true)
            .from_writer(Vec::new());
        let problem_at = self.headers.iter().position(|header| header == PROBLEM_HEADER);
        let mut write = |cells: &mut Vec<String>, problem: &str| {
            match problem_at {
                Some(index) if index < cells.len() => problem.clone_into(&mut cells[index]),
                _ => cells.push(problem.to_owned()),
            }
            writer.write_record(&*cells).expect("memory takes it");
        };
        write(&mut self.headers.clone(), PROBLEM_HEADER);
        for (row, problem) in rows {
            write(&mut row.cells.iter().map(Cell::text).collect(), problem);
        }
        writer.into_inner().expect("memory takes it")
    }
}

impl Cell {
    fn of(text: &str) -> Self {
        match text.trim() {
            "" => Self::Empty,
            text => Self::Text(text.into()),
        }
    }

    /// As it is written in CSV: `.` before decimals, days as in ISO 8601.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Day(day) => day.to_string(),
            Self::Broken => "#N/A".to_owned(),
        }
    }
}

/// The text of a file: as UTF-8, or as its byte order mark or its sender says.
fn text(bytes: &[u8], label: Option<&str>) -> Result<String, FileProblem> {
    let marked = Encoding::for_bom(bytes);
    let (encoding, bytes) = match (marked, label) {
        (Some((encoding, length)), _) => (encoding, &bytes[length..]),
        (None, Some(label)) => {
            let encoding = Encoding::for_label(label.as_bytes());
            (
                encoding.ok_or_else(|| FileProblem::UnknownEncoding(label.to_owned()))?,
                bytes,
            )
        }
        (None, None) => (UTF_8, bytes),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let Some(text) = text else {
        let good = if encoding == UTF_8 {
            Encoding::utf8_valid_up_to(bytes)
        } else {
            0
        };
        let line = 1 + bytes[..good].iter().filter(|byte| **byte == b'\n').count();
        return Err(match label {
            None if encoding == UTF_8 => FileProblem::NotUtf8(line),
            _ => FileProblem::Encoding(line),
        });
    };
    if text.contains('\0') {
        return Err(FileProblem::NotAFile);
    }
    Ok(text.into_owned())
}

/// What stands between the headers: whichever of the usual marks is there most, outside of quotation marks.
fn delimiter(text: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut is_quoted = false;
    for byte in text.trim_start().bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            _ if is_quoted => {}
            _ => (counts.iter_mut().filter(|(mark, _)| *mark == byte)).for_each(|(_, count)| *count += 1),
        }
    }
    // Of as many, the first.
    (counts.iter().rev())
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(mark, _)| *mark)
}

fn separated(text: &str) -> Result<Table, FileProblem> {
    let delimiter = delimiter(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let (mut headers, mut rows) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    // Reading text from memory does not fail, and this text is UTF-8.
    while reader.read_record(&mut record).map_err(|_| FileProblem::NotAFile)? {
        let line = record.position().map_or(0, |position| position.line() as usize);
        if record.iter().any(|cell| cell.len() > CELL_BYTES_MAX) {
            return Err(FileProblem::LongCell(line));
        }
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if headers.is_empty() {
            headers = record.iter().map(|header| header.trim().to_owned()).collect();
        } else if rows.len() == ROWS_MAX {
            return Err(FileProblem::TooManyRows);
        } else {
            rows.push(Row {
                line,
                cells: record.iter().map(Cell::of).collect(),
            });
        }
    }
    table(headers, rows, delimiter)
}

/// A list of objects, by itself or as `Report_Entry`, as Workday's reports are in JSON. An entry's number is its line.
fn entries(text: &str) -> Result<Table, FileProblem> {
    let read: Value = serde_json::from_str(text).map_err(|error| FileProblem::Json(error.line()))?;
    let list = match read {
        Value::Array(list) => list,
        Value::Object(mut members) => match members.remove("Report_Entry") {
            Some(Value::Array(list)) => list,
            // A single entry may stand without a list.
            Some(one @ Value::Object(_)) => vec![one],
            Some(_) | None => return Err(FileProblem::JsonShape),
        },
        _ => return Err(FileProblem::JsonShape),
    };
    if list.len() > ROWS_MAX {
        return Err(FileProblem::TooManyRows);
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = Vec::with_capacity(list.len());
    for (index, entry) in list.into_iter().enumerate() {
        let Value::Object(entry) = entry else {
            return Err(FileProblem::JsonShape);
        };
        let mut cells = Vec::new();
        flat(String::new(), entry, &mut cells);
        let mut row = Row {
            line: index + 1,
            cells: vec![Cell::Empty; named.len()],
        };
        for (header, cell) in cells {
            if matches!(&cell, Cell::Text(text) if text.len() > CELL_BYTES_MAX) {
                return Err(FileProblem::LongCell(index + 1));
            }
            let next = named.len();
            let column = *named.entry(header).or_insert(next);
            if column >= COLUMNS_MAX {
                return Err(FileProblem::TooManyColumns);
            }
            if row.cells.len() <= column {
                row.cells.resize(column + 1, Cell::Empty);
            }
            row.cells[column] = cell;
        }
        rows.push(row);
    }
    if rows.len().saturating_mul(named.len()) > CELLS_MAX {
        return Err(FileProblem::TooManyColumns);
    }
    for row in &mut rows {
        row.cells.resize(named.len(), Cell::Empty);
    }
    let mut headers = vec![String::new(); named.len()];
    for (header, column) in named {
        headers[column] = header;
    }
    table(headers, rows, b',')
}

/// The members of an entry; those of a group are named with it (`Worker.Name`). A group of one may stand in a list or not.
fn flat(prefix: String, members: serde_json::Map<String, Value>, cells: &mut Vec<(String, Cell)>) {
    for (name, value) in members {
        let header = format!("{prefix}{name}");
        let cell = match value {
            Value::Object(group) => {
                flat(format!("{header}."), group, cells);
                continue;
            }
            Value::Array(mut list) => match (list.len(), list.pop()) {
                (1, Some(Value::Object(group))) => {
                    flat(format!("{header}."), group, cells);
                    continue;
                }
                (1, Some(one)) => scalar(&one),
                (0, _) => Cell::Empty,
                // Which of several is meant is not said: none of their members has a value.
                (_, Some(last @ Value::Object(_))) => {
                    list.push(last);
                    let groups = list.iter().filter_map(Value::as_object);
                    let names: BTreeSet<&String> = groups.flat_map(|group| group.keys()).collect();
                    cells.extend(names.into_iter().map(|name| (format!("{header}.{name}"), Cell::Broken)));
                    continue;
                }
                _ => Cell::Broken,
            },
            value => scalar(&value),
        };
        cells.push((header, cell));
    }
}

fn scalar(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Empty,
        Value::Bool(truth) => Cell::Text(if *truth { "yes" } else { "no" }.into()),
        Value::Number(number) => Cell::of(&number.to_string()),
        Value::String(text) => Cell::of(text),
        Value::Array(_) | Value::Object(_) => Cell::Broken,
    }
}

fn table(headers: Vec<String>, rows: Vec<Row>, delimiter: u8) -> Result<Table, FileProblem> {
    match headers.len() {
        0 => Err(FileProblem::Empty),
        1..=COLUMNS_MAX => Ok(Table {
            headers,
            rows,
            delimiter,
        }),
        _ => Err(FileProblem::TooManyColumns),
    }
}

/// Refuses what would not fit into memory. What an entry says of its own size may be a lie, so it is unpacked once to count.
fn weigh(bytes: &[u8], most: u64) -> Result<(), FileProblem> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| FileProblem::Workbook)?;
    let mut left = most;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|_| FileProblem::Workbook)?;
        let size = std::io::copy(&mut entry.take(left + 1), &mut std::io::sink()).map_err(|_| FileProblem::Workbook)?;
        left = left.checked_sub(size).ok_or(FileProblem::TooLargeUnpacked)?;
    }
    Ok(())
}

/// Cells are taken one by one: a range would have room for every cell up to the last, and two cells can lie 17 billion apart.
fn workbook(bytes: &[u8], sheet: Option<&str>) -> Result<Table, FileProblem> {
    weigh(bytes, UNPACKED_BYTES_MAX)?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|_| FileProblem::Workbook)?;
    let visible = |sheet: &&calamine::Sheet| sheet.visible == SheetVisible::Visible;
    let there: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    let name = match sheet {
        Some(wanted) if !there.iter().any(|name| name == wanted) => {
            let wanted = wanted.to_owned();
            return Err(FileProblem::NoSheet { wanted, there });
        }
        Some(wanted) => wanted,
        None => there.first().ok_or(FileProblem::Empty)?,
    };
    let mut reader = workbook
        .worksheet_cells_reader(name)
        .map_err(|_| FileProblem::Workbook)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut text_bytes = 0;
    while let Some(cell) = reader
        .next_cell_with_formula_metadata()
        .map_err(|_| FileProblem::Workbook)?
    {
        let (row, column) = (cell.pos.0 as usize, cell.pos.1 as usize);
        let value = match of_workbook(&cell.value) {
            // Written by a program that does not compute: opened and saved by one that does, it has a value.
            Cell::Empty if cell.formula.is_some() => Cell::Broken,
            value => value,
        };
        if value == Cell::Empty {
            continue;
        }
        if column >= COLUMNS_MAX {
            return Err(FileProblem::TooManyColumns);
        }
        if let Cell::Text(text) = &value {
            text_bytes += text.len();
            if text.len() > CELL_BYTES_MAX {
                return Err(FileProblem::LongCell(row + 1));
            }
            if text_bytes > TEXT_BYTES_MAX {
                return Err(FileProblem::TooMuchText);
            }
        }
        if rows.last().is_none_or(|last| last.line != row + 1) {
            // One more than the rows: the headers.
            if rows.len() > ROWS_MAX {
                return Err(FileProblem::TooManyRows);
            }
            rows.push(Row {
                line: row + 1,
                cells: Vec::new(),
            });
        }
        let cells = rows.last_mut().map(|row| &mut row.cells).ok_or(FileProblem::Workbook)?;
        if cells.len() <= column {
            cells.resize(column + 1, Cell::Empty);
        }
        cells[column] = value;
    }
    // Programs write rows in order. Whichever does not is not worth a guess.
    if rows.windows(2).any(|pair| pair[0].line >= pair[1].line) {
        return Err(FileProblem::Workbook);
    }
    let mut rows = rows.into_iter();
    let headers: Vec<String> = rows
        .next()
        .map(|row| row.cells.iter().map(Cell::text).collect())
        .unwrap_or_default();
    let mut rows: Vec<Row> = rows.collect();
    for row in &mut rows {
        // A spreadsheet does not keep what is empty at a row's end.
        if row.cells.len() < headers.len() {
            row.cells.resize(headers.len(), Cell::Empty);
        }
    }
    table(headers, rows, b',')
}

fn of_workbook(value: &DataRef<'_>) -> Cell {
    match value {
        DataRef::Empty => Cell::Empty,
        DataRef::Int(number) => Cell::Number(*number as f64),
        DataRef::Float(number) => Cell::Number(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => Cell::of(text),
        DataRef::SharedString(text) => Cell::of(text),
        DataRef::Bool(truth) => Cell::Text(if *truth { "yes" } else { "no" }.into()),
        DataRef::DateTime(moment) => moment
            .as_datetime()
            .map_or(Cell::Broken, |moment| Cell::Day(moment.date())),
        DataRef::Error(_) => Cell::Broken,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn csv(text: &str) -> Result<Table, FileProblem> {
        read(text.as_bytes(), Hints::default())
    }

    #[test]
    fn reports_in_json_are_rows_and_xml_is_named() {
        let report = r#"{"Report_Entry":[{"Employee_ID":"7","Job":{"Title":"Cashier"},"Pay":[{"Amount":"31.5"}],"Old":["a","b"]},
            {"Employee_ID":"8","Full_Time":true,"Pay":{"Amount":12}}]}"#;
        let table = csv(report).expect("a table");
        assert_eq!(
            table.headers,
            ["Employee_ID", "Job.Title", "Old", "Pay.Amount", "Full_Time"]
        );
        let rows = [["7", "Cashier", "#N/A", "31.5", ""], ["8", "", "", "12", "yes"]];
        assert_eq!(texts(&table), rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(csv(r#"[{"a":"1"}]"#).expect("a table").rows[0].line, 1);
        let two = csv(r#"[{"Job":[{"Title":"A"},{"Title":"B","Site":"C"}]}]"#).expect("a table");
        assert_eq!(
            (two.headers, two.rows[0].cells.clone()),
            (vec!["Job.Site".into(), "Job.Title".into()], vec![Cell::Broken; 2])
        );
        assert_eq!(csv(r#"{"Report_Entry":{"a":"1"}}"#).expect("a table").rows.len(), 1);
        for (text, problem) in [
            ("<?xml version=\"1.0\"?><wd:Report_Data/>", FileProblem::Xml),
            ("<html>Sign in</html>", FileProblem::Xml),
            ("{\n\"a\": [", FileProblem::Json(2)),
            ("{\"a\": 1}", FileProblem::JsonShape),
            ("[1, 2]", FileProblem::JsonShape),
            ("[]", FileProblem::Empty),
        ] {
            assert_eq!(csv(text), Err(problem), "{text}");
        }
    }

    fn texts(table: &Table) -> Vec<Vec<String>> {
        table
            .rows
            .iter()
            .map(|row| row.cells.iter().map(Cell::text).collect())
            .collect()
    }

    /// A workbook of one sheet, packed as Excel packs it: `sheet` is what stands in `sheetData`, style 1 is a date.
    pub fn workbook_of(prolog: &str, sheet: &str) -> Vec<u8> {
        const NS: &str = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"";
        const RELS: &str = "xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"";
        const TYPE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let parts = [
            (
                "[Content_Types].xml",
                "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>".to_owned(),
            ),
            (
                "_rels/.rels",
                format!(
                    "<Relationships {RELS}><Relationship Id=\"rId1\" Type=\"{TYPE}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
                ),
            ),
            (
                "xl/workbook.xml",
                format!(
                    "<workbook {NS}><sheets><sheet name=\"Notes\" sheetId=\"2\" state=\"hidden\" r:id=\"rId2\"/><sheet name=\"Staff\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
                ),
            ),
            (
                "xl/_rels/workbook.xml.rels",
                format!(
                    "<Relationships {RELS}><Relationship Id=\"rId1\" Type=\"{TYPE}/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"rId2\" Type=\"{TYPE}/worksheet\" Target=\"worksheets/sheet2.xml\"/><Relationship Id=\"rId3\" Type=\"{TYPE}/styles\" Target=\"styles.xml\"/></Relationships>"
                ),
            ),
            (
                "xl/styles.xml",
                format!(
                    "<styleSheet {NS}><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>"
                ),
            ),
            (
                "xl/worksheets/sheet1.xml",
                format!("{prolog}<worksheet {NS}><sheetData>{sheet}</sheetData></worksheet>"),
            ),
            (
                "xl/worksheets/sheet2.xml",
                format!("<worksheet {NS}><sheetData/></worksheet>"),
            ),
        ];
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            zip.start_file(name, zip::write::SimpleFileOptions::default())
                .expect("a part");
            zip.write_all(content.as_bytes()).expect("written");
        }
        zip.finish().expect("a workbook").into_inner()
    }

    #[test]
    fn text_is_read_whatever_stands_between_its_cells() {
        let expected = vec![vec!["42".to_owned(), "Rossi, Ada".to_owned(), String::new()]];
        for (text, delimiter) in [
            ("Id,Name,Town\n42,\"Rossi, Ada\",\n", b','),
            ("\u{feff}Id;Name;Town\r\n42;Rossi, Ada; \r\n;;\r\n", b';'),
            ("\n\nId\tName\tTown\n42\tRossi, Ada\t", b'\t'),
            ("Id|\"Name, whole; or not\"|Town\n42|Rossi, Ada|", b'|'),
        ] {
            let table = csv(text).expect(text);
            assert_eq!(
                (texts(&table), table.delimiter),
                (expected.clone(), delimiter),
                "{text}"
            );
        }
        let table = csv("Id,Note\n1,\"two\nlines\"\n2,x,y\n3\n").expect("read");
        let lines: Vec<(usize, usize)> = table.rows.iter().map(|row| (row.line, row.cells.len())).collect();
        assert_eq!(lines, [(2, 2), (4, 3), (5, 1)]);
        assert_eq!(table.index(" ID "), Ok(Some(0)));
        assert_eq!(table.index("town"), Ok(None));
        let twice = csv("Id,id\n1,2").expect("read");
        assert_eq!(twice.index("id"), Err(FileProblem::ColumnTwice("id".to_owned())));
    }

    #[test]
    fn encodings_are_read_when_they_are_named_and_never_guessed() {
        let named = |bytes: &[u8], encoding| read(bytes, Hints { encoding, sheet: None }).map(|table| table.headers);
        let latin = b"Id,Geh\xe4lter\n1,2";
        assert_eq!(named(latin, None), Err(FileProblem::NotUtf8(1)));
        assert_eq!(
            named(latin, Some("windows-1252")),
            Ok(vec!["Id".to_owned(), "Geh\u{e4}lter".to_owned()])
        );
        assert_eq!(named(b"Id\nx\n\xff", None), Err(FileProblem::NotUtf8(3)));
        assert_eq!(
            named(latin, Some("klingon")),
            Err(FileProblem::UnknownEncoding("klingon".to_owned()))
        );
        let wide: Vec<u8> = "\u{feff}Id\tName\n1\tAda"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(named(&wide, None), Ok(vec!["Id".to_owned(), "Name".to_owned()]));
    }

    #[test]
    fn a_workbook_is_read_by_its_cells() {
        let text = |place: &str, text: &str| format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>");
        let sheet = format!(
            "<row r=\"1\">{}{}{}{}</row><row r=\"3\">{}<c r=\"B3\" s=\"1\"><v>45352</v></c><c r=\"D3\" t=\"e\"><v>#N/A</v></c></row><row r=\"4\"><c r=\"A4\"><v>7</v></c><c r=\"B4\"><f>TODAY()</f></c><c r=\"C4\"><f>55/2</f><v>27.5</v></c><c r=\"D4\" t=\"b\"><v>1</v></c></row>",
            text("A1", "Id"),
            text("B1", "Start"),
            text("C1", "Rate"),
            text("D1", "Voluntary"),
            text("A3", " 42 "),
        );
        let book = workbook_of("", &sheet);
        let table = read(&book, Hints::default()).expect("read");
        assert_eq!(table.headers, ["Id", "Start", "Rate", "Voluntary"]);
        let day = NaiveDate::from_ymd_opt(2024, 3, 1).expect("a day");
        assert_eq!(
            table.rows[0],
            Row {
                line: 3,
                cells: vec![Cell::Text("42".into()), Cell::Day(day), Cell::Empty, Cell::Broken]
            }
        );
        assert_eq!(
            table.rows[1],
            Row {
                line: 4,
                cells: vec![
                    Cell::Number(7.0),
                    Cell::Broken,
                    Cell::Number(27.5),
                    Cell::Text("yes".into())
                ]
            }
        );
        let other = Hints {
            encoding: None,
            sheet: Some("Pay"),
        };
        assert_eq!(
            read(&book, other),
            Err(FileProblem::NoSheet {
                wanted: "Pay".to_owned(),
                there: vec!["Staff".to_owned()]
            })
        );
        assert_eq!(read(&workbook_of("", ""), Hints::default()), Err(FileProblem::Empty));
    }

    #[test]
    fn tricks_are_refused_before_they_cost_anything() {
        // Two cells with 17 billion between them.
        let far = workbook_of(
            "",
            "<row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>",
        );
        assert_eq!(read(&far, Hints::default()), Err(FileProblem::TooManyColumns));
        let mut bomb = zip::ZipWriter::new(Cursor::new(Vec::new()));
        bomb.start_file("xl/workbook.xml", zip::write::SimpleFileOptions::default())
            .expect("a part");
        bomb.write_all(&vec![b' '; 1_000_000]).expect("written");
        let bomb = bomb.finish().expect("a file").into_inner();
        assert!(bomb.len() < 3_000);
        assert_eq!(weigh(&bomb, 999_999), Err(FileProblem::TooLargeUnpacked));
        assert_eq!(weigh(&bomb, 1_000_000), Ok(()));
        assert_eq!(read(&bomb, Hints::default()), Err(FileProblem::Workbook));
        // An entity that names a file, and one that stands for more than it is.
        for entity in [
            "<!ENTITY e SYSTEM \"file:///etc/passwd\">",
            "<!ENTITY a \"aaaaaaaa\"><!ENTITY e \"&a;&a;&a;\">",
        ] {
            let prolog = format!("<!DOCTYPE worksheet [{entity}]>");
            let sheet = "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Id&e;</t></is></c></row>";
            match read(&workbook_of(&prolog, sheet), Hints::default()) {
                Err(problem) => assert_eq!(problem, FileProblem::Workbook),
                Ok(table) => assert!(
                    !table.headers[0].contains("root") && !table.headers[0].contains("aa"),
                    "{table:?}"
                ),
            }
        }
        assert_eq!(
            read(&[0xd0, 0xcf, 0x11, 0xe0, 0xa1], Hints::default()),
            Err(FileProblem::OldWorkbook)
        );
        assert_eq!(read(b"PK\x03\x04", Hints::default()), Err(FileProblem::Workbook));
        assert_eq!(csv(""), Err(FileProblem::Empty));
        assert_eq!(csv("\n , \n"), Err(FileProblem::Empty));
        assert_eq!(csv("a\0b"), Err(FileProblem::NotAFile));
        let open = format!("Id,Name\n1,\"Ada\n{}", "2,Bo\n".repeat(3_000));
        assert_eq!(csv(&open), Err(FileProblem::LongCell(2)));
        let wide = vec!["x"; COLUMNS_MAX + 1].join(",");
        assert_eq!(csv(&wide), Err(FileProblem::TooManyColumns));
        let long = format!("Id\n{}", "1\n".repeat(ROWS_MAX + 1));
        assert_eq!(csv(&long), Err(FileProblem::TooManyRows));
    }

    #[test]
    fn rows_come_back_with_what_is_wrong_and_are_read_again() {
        let table = csv("Id;Name\n42;\"Rossi; Ada\"\n7;=cmd\n").expect("read");
        let given = table.give_back(table.rows.iter().map(|row| (row, "Name is empty; too long")));
        let text = String::from_utf8(given).expect("text");
        assert_eq!(
            text,
            "Id;Name;tenure_problem\n42;\"Rossi; Ada\";\"Name is empty; too long\"\n7;=cmd;\"Name is empty; too long\"\n"
        );
        let again = csv(&text).expect("read");
        assert_eq!(again.rows[0].cells[..2], table.rows[0].cells[..]);
        let given = again.give_back(again.rows.iter().take(1).map(|row| (row, "still")));
        assert_eq!(given, b"Id;Name;tenure_problem\n42;\"Rossi; Ada\";still\n");
    }

    proptest! {
        #[test]
        fn nothing_that_anybody_sends_makes_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[a-c,;\"\n]{0,60}", at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = read(&bytes, Hints::default());
            let _ = csv(&text);
            let mut book = workbook_of("", "<row r=\"1\"><c r=\"A1\"><v>1</v></c></row>");
            let at = at.index(book.len());
            book[at] = byte;
            let _ = read(&book, Hints::default());
        }
    }
}
