//! From rows to people: what each row says in the neutral vocabulary, and what is wrong with it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use domain::{
    Date,
    connection::{Column, Mapping, Meaning},
    employee::{Said, Snapshot, Source},
    id::{ConnectionId, TenantId},
    money::{Currency, PayPeriod},
};

use super::{
    cells,
    table::{Cell, FileProblem, PROBLEM_HEADER, Row, Table},
};
use crate::{
    bamboohr::is_remote_id,
    record::{self, Employment, Kind, Record, Status, Word},
    words,
};

/// Somebody of a file, with all rows about them.
#[derive(Debug)]
pub struct Person {
    pub id: String,
    /// Where the rows stand in the table.
    pub rows: Vec<usize>,
    pub snapshot: Snapshot,
}

/// What is wrong with a row, for whoever sent the file: it may hold values of it.
#[derive(Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// Where the row stands in the table.
    pub row: usize,
    /// The header of the column.
    pub column: Option<String>,
    pub problem: String,
}

/// May hold personal values: not for logs.
impl fmt::Debug for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowProblem")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

/// A file as it was read. Whoever has a row with a problem is not among the people, and all their rows are among the problems.
#[derive(Debug)]
pub struct People {
    pub people: Vec<Person>,
    pub problems: Vec<RowProblem>,
    /// Headers of columns that are not read.
    pub unread: Vec<String>,
}

/// Whose file it is. What has no day of its own is true from `as_of` on.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub as_of: Date,
}

/// Reads all rows.
///
/// # Errors
/// When the file lacks a column that is mapped: a report that has lost one would else seem to clear it for everybody.
pub fn read(table: &Table, mapping: &Mapping, origin: Origin) -> Result<People, FileProblem> {
    let columns = Columns::find(table, mapping)?;
    let mut problems = Vec::new();
    let mut by_person: HashMap<String, Vec<Line>> = HashMap::new();
    let mut order = Vec::new();
    for (index, row) in table.rows.iter().enumerate() {
        let mut reading = Reading {
            mapping,
            columns: &columns,
            row,
            index,
            problems: Vec::new(),
        };
        let line = reading.line(table.headers.len(), origin.as_of);
        problems.append(&mut reading.problems);
        if let Some(line) = line {
            let rows = by_person.entry(line.record.id.clone()).or_default();
            if rows.is_empty() {
                order.push(line.record.id.clone());
            }
            rows.push(line);
        }
    }
    let mut people = Vec::with_capacity(order.len());
    for id in order {
        let lines = by_person.remove(&id).unwrap_or_default();
        let rows: Vec<usize> = lines.iter().map(|line| line.index).collect();
        match person(lines, mapping, origin) {
            Ok(Some(snapshot)) => people.push(Person { id, rows, snapshot }),
            // What is wrong with one of the rows is said there. The others wait for it.
            Ok(None) => {
                let fine: Vec<usize> = rows
                    .iter()
                    .copied()
                    .filter(|row| !problems.iter().any(|p| p.row == *row))
                    .collect();
                problems.extend(fine.into_iter().map(|row| RowProblem {
                    row,
                    column: None,
                    problem: "another row of the same person has a problem".to_owned(),
                }));
            }
            Err(problem) => problems.extend(rows.into_iter().map(|row| RowProblem {
                row,
                column: None,
                problem: problem.clone(),
            })),
        }
    }
    problems.sort_by_key(|problem| problem.row);
    Ok(People {
        people,
        problems,
        unread: columns.unread,
    })
}

/// Where the mapped columns stand.
struct Columns {
    mapped: BTreeMap<Column, usize>,
    custom: Vec<(String, usize)>,
    unread: Vec<String>,
}

impl Columns {
    fn find(table: &Table, mapping: &Mapping) -> Result<Self, FileProblem> {
        let (mut mapped, mut custom, mut missing) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (column, header) in &mapping.columns {
            match table.index(header)? {
                Some(index) => drop(mapped.insert(*column, index)),
                None => missing.push(format!("{header:?} ({})", column.name())),
            }
        }
        for header in &mapping.custom {
            match table.index(header)? {
                Some(index) => custom.push((header.clone(), index)),
                None => missing.push(format!("{header:?}")),
            }
        }
        if !missing.is_empty() {
            let there = table.headers.iter().map(|header| format!("{header:?}")).collect();
            return Err(FileProblem::NoColumns { missing, there });
        }
        let is_read =
            |index: usize| mapped.values().any(|at| *at == index) || custom.iter().any(|(_, at)| *at == index);
        let headers = table.headers.iter().enumerate();
        let unread = headers.filter(|(index, header)| !is_read(*index) && *header != PROBLEM_HEADER);
        let unread = unread.map(|(_, header)| header.clone()).collect();
        Ok(Self { mapped, custom, unread })
    }
}

/// A row that names somebody.
struct Line {
    index: usize,
    on: Date,
    is_good: bool,
    record: Record,
}

/// A row that is being read.
struct Reading<'a> {
    mapping: &'a Mapping,
    columns: &'a Columns,
    row: &'a Row,
    index: usize,
    problems: Vec<RowProblem>,
}

impl Reading<'_> {
    fn problem(&mut self, column: Option<Column>, problem: impl Into<String>) {
        let column = column.and_then(|column| self.mapping.header(column)).map(str::to_owned);
        self.problems.push(RowProblem {
            row: self.index,
            column,
            problem: problem.into(),
        });
    }

    /// The cell, if there is such a column.
    fn cell(&self, column: Column) -> Option<&Cell> {
        self.columns
            .mapped
            .get(&column)
            .map(|index| self.row.cells.get(*index).unwrap_or(&Cell::Empty))
    }

    /// A value: left out without a column, cleared by an empty cell. What cannot be read is a problem, and left out.
    fn said<T>(&mut self, column: Column, read: impl FnOnce(&Cell) -> Result<Option<T>, &'static str>) -> Said<T> {
        match read(self.cell(column)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(Some(column), problem);
                None
            }
        }
    }

    fn text(&mut self, column: Column) -> Said<String> {
        self.said(column, cells::text)
    }

    fn day(&mut self, column: Column) -> Said<Date> {
        let order = self.mapping.days;
        self.said(column, |cell| cells::day(cell, order))
    }

    /// What the row says; none if it does not say of whom.
    fn line(&mut self, width: usize, as_of: Date) -> Option<Line> {
        if self.row.cells.len() != width {
            let cells = self.row.cells.len();
            self.problem(
                None,
                format!(
                    "the row has {cells} cells and the header {width}: a text with a comma in it needs quotation marks"
                ),
            );
        }
        let Some(id) = self.text(Column::Id).flatten() else {
            if self.problems.is_empty() {
                self.problem(Some(Column::Id), "is empty: the row does not say whom it is about");
            }
            return None;
        };
        if !is_remote_id(&id) {
            self.problem(
                Some(Column::Id),
                "is to be 1 to 64 letters, digits, hyphens and underscores",
            );
        }
        let start_date = self.day(Column::StartDate).flatten();
        let effective_on = self.day(Column::EffectiveDate);
        if effective_on == Some(None) {
            self.problem(
                Some(Column::EffectiveDate),
                "is empty: the row does not say from when on it holds",
            );
        }
        // What is so today is so from the first day on of somebody who has not begun.
        let since = |start: Option<Date>| start.map_or(as_of, |start| start.max(as_of));
        let on = effective_on.flatten().unwrap_or_else(|| since(start_date));
        let record = Record {
            id,
            start_date,
            employments: vec![self.employment(on)],
            statuses: self.statuses(effective_on.flatten(), on, start_date),
            weekly_hours: self.hours(),
            complete: self.mapping.complete,
            custom_fields: self.custom(),
            preferred_name: self.text(Column::PreferredName),
            work_email: self.text(Column::WorkEmail),
            work_phone: self.text(Column::WorkPhone),
            mobile_phone: self.text(Column::MobilePhone),
            gender: self.text(Column::Gender),
            date_of_birth: self.day(Column::DateOfBirth),
            ethnicity: self.text(Column::Ethnicity),
            ..self.names()
        };
        Some(Line {
            index: self.index,
            on,
            is_good: self.problems.is_empty(),
            record,
        })
    }

    fn names(&mut self) -> Record {
        let mut names = Record {
            first_name: self.text(Column::FirstName),
            last_name: self.text(Column::LastName),
            ..Record::default()
        };
        if let Some(full) = self.text(Column::FullName) {
            let full = full.unwrap_or_default();
            let (first, last) = match full.split_once(',') {
                Some((last, first)) => (first, last),
                None => full.rsplit_once(' ').unwrap_or((&full, "")),
            };
            let part = |part: &str| Some(part.trim().to_owned()).filter(|part| !part.is_empty());
            (names.first_name, names.last_name) = (Some(part(first)), Some(part(last)));
        }
        names
    }

    fn custom(&mut self) -> Option<BTreeMap<String, String>> {
        if self.columns.custom.is_empty() {
            return None;
        }
        let mut fields = BTreeMap::new();
        for (header, index) in &self.columns.custom {
            match self.row.cells.get(*index).map_or(Ok(None), cells::text) {
                Ok(value) => fields.extend(value.map(|value| (header.clone(), value))),
                Err(problem) => {
                    let (row, column) = (self.index, Some(header.clone()));
                    self.problems.push(RowProblem {
                        row,
                        column,
                        problem: problem.to_owned(),
                    });
                }
            }
        }
        Some(fields)
    }

    /// Hours per week. An empty cell leaves them as they are: nobody works no hours by not saying.
    fn hours(&mut self) -> Option<f64> {
        let mark = self.mapping.decimal_mark;
        let (hours, _) = self
            .said(Column::WeeklyHours, |cell| cells::decimal(cell, mark))
            .flatten()?;
        hours.parse().ok()
    }

    fn employment(&mut self, on: Date) -> Employment {
        let (rate, currency, period) = self.pay().map_or((None, None, None), |(rate, currency, period)| {
            (Some(rate), Some(currency.to_string()), Some(period))
        });
        Employment {
            effective_date: on,
            job_title: self.text(Column::JobTitle),
            department: self.text(Column::Department),
            division: self.text(Column::Division),
            location: self.text(Column::Location),
            manager_id: self.text(Column::ManagerId),
            pay_rate: rate,
            pay_currency: currency,
            pay_period: period,
            change_reason: self.text(Column::ChangeReason).flatten(),
        }
    }

    /// The pay, if the row says any. An empty cell leaves it as it is.
    fn pay(&mut self) -> Option<(String, Currency, PayPeriod)> {
        let mark = self.mapping.decimal_mark;
        let (rate, own) = self
            .said(Column::PayRate, |cell| cells::decimal(cell, mark))
            .flatten()?;
        let told = match self
            .text(Column::PayCurrency)
            .flatten()
            .map(|code| code.to_uppercase().parse::<Currency>())
        {
            Some(Ok(currency)) => Some(currency),
            Some(Err(_)) => {
                self.problem(
                    Some(Column::PayCurrency),
                    "is no currency: write its three letters, such as EUR",
                );
                return None;
            }
            None => None,
        };
        if let (Some(own), Some(told)) = (own, told)
            && own != told
        {
            self.problem(
                Some(Column::PayRate),
                format!("is in {}, and the row's currency is {}", own, told),
            );
            return None;
        }
        let Some(currency) = own.or(told).or(self.mapping.pay_currency) else {
            self.problem(Some(Column::PayRate), "has no currency");
            return None;
        };
        let has_dollars = matches!(self.cell(Column::PayRate), Some(Cell::Text(text)) if text.contains('$'));
        if has_dollars && !cells::is_dollar(currency) {
            self.problem(
                Some(Column::PayRate),
                format!("is in dollars, and the currency is {currency}"),
            );
            return None;
        }
        let period = match self.text(Column::PayPeriod).flatten() {
            Some(word) => words::period(&word),
            None => self.mapping.pay_period,
        };
        let Some(period) = period else {
            self.problem(
                Some(Column::PayPeriod),
                "is not understood: write hour, day, week, two weeks, month or year",
            );
            return None;
        };
        if let Err(problem) = cells::amount(&rate, currency) {
            self.problem(Some(Column::PayRate), problem);
            return None;
        }
        Some((rate, currency, period))
    }

    /// `holds_on` is the row's own day, if it has one; `on` the day from which it holds either way.
    fn statuses(&mut self, holds_on: Option<Date>, on: Date, start: Option<Date>) -> Vec<Status> {
        let last_day = self.day(Column::LastDay).flatten();
        // Somebody who came back may still have the day on which they went.
        let last_day = last_day.filter(|last| start.is_none_or(|start| start <= *last));
        let word = match self.text(Column::Status).flatten() {
            Some(word) => match cells::meaning(&word, self.mapping) {
                Some(Meaning::Active) => Some(Word::Active),
                Some(Meaning::Leave) => Some(Word::Leave),
                Some(Meaning::Terminated) => Some(Word::Terminated),
                Some(Meaning::Voluntary | Meaning::Involuntary) | None => {
                    let problem = format!(
                        "says {word:?}: say in the mapping's `words` whether that is active, leave or terminated"
                    );
                    self.problem(Some(Column::Status), problem);
                    return Vec::new();
                }
            },
            None => None,
        };
        let ended_on = match (last_day, word) {
            (Some(last), _) => last.succ_opt(),
            (None, Some(Word::Terminated)) => {
                if holds_on.is_none() {
                    let problem = "says that somebody left, and no column says their last day";
                    self.problem(Some(Column::Status), problem);
                }
                holds_on
            }
            (None, Some(Word::Active | Word::Leave) | None) => None,
        };
        if let (Some(ended_on), Some(Word::Active | Word::Leave)) = (ended_on, word)
            && ended_on <= on
        {
            self.problem(
                Some(Column::LastDay),
                "has passed, and the status says that somebody is still there",
            );
            return Vec::new();
        }
        let now = word.filter(|word| !matches!(word, Word::Terminated));
        let mut statuses: Vec<Status> = Vec::new();
        statuses.extend(now.map(|status| Status {
            effective_date: on,
            status,
            voluntary: None,
            reason: None,
        }));
        if let Some(effective_date) = ended_on {
            let voluntary = self.voluntary();
            let reason = self.text(Column::LeavingReason).flatten();
            statuses.push(Status {
                effective_date,
                status: Word::Terminated,
                voluntary,
                reason,
            });
        }
        statuses
    }

    fn voluntary(&mut self) -> Option<bool> {
        let word = self.text(Column::Voluntary).flatten()?;
        match cells::meaning(&word, self.mapping) {
            Some(Meaning::Voluntary) => Some(true),
            Some(Meaning::Involuntary) => Some(false),
            Some(Meaning::Active | Meaning::Leave | Meaning::Terminated) | None => {
                let problem =
                    format!("says {word:?}: say in the mapping's `words` whether that is voluntary or involuntary");
                self.problem(Some(Column::Voluntary), problem);
                None
            }
        }
    }
}

/// What all rows of a person say; none if one of them is not good.
fn person(mut lines: Vec<Line>, mapping: &Mapping, origin: Origin) -> Result<Option<Snapshot>, String> {
    if lines.len() > 1 && mapping.header(Column::EffectiveDate).is_none() {
        return Err(
            "there are several rows about this person, and no column for effective_date says from when on each holds"
                .to_owned(),
        );
    }
    if !lines.iter().all(|line| line.is_good) {
        return Ok(None);
    }
    lines.sort_by_key(|line| line.on);
    let (mut employments, mut statuses): (Vec<Employment>, Vec<Status>) = (Vec::new(), Vec::new());
    for line in &mut lines {
        employments.append(&mut line.record.employments);
        // What is said of every row anew is one status from the first on.
        for status in line.record.statuses.drain(..) {
            if statuses.last().is_none_or(|last| last.status != status.status) {
                statuses.push(status);
            }
        }
    }
    // Who somebody is: as the newest row says.
    let Some(newest) = lines.pop() else { return Ok(None) };
    let start_date = lines
        .iter()
        .find_map(|line| line.record.start_date)
        .or(newest.record.start_date);
    let record = Record {
        employments,
        statuses,
        start_date,
        ..newest.record
    };
    let source = Source {
        connection: origin.connection,
        remote_id: record.id.clone(),
    };
    record::snapshot(record, Kind::Upserted, (origin.tenant, source, origin.as_of))
        .map(Some)
        .map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use domain::{
        Aggregate, Personal,
        employee::{Command, Employee, Event, Standing},
    };
    use serde_json::{Value, json};

    use super::{
        super::table::{self, Hints},
        *,
    };

    fn day(text: &str) -> Date {
        text.parse().expect("a day")
    }

    fn origin() -> Origin {
        let tenant = "00000000-0000-0000-0000-000000000007".parse().expect("an id");
        Origin {
            tenant,
            connection: ConnectionId::derive(tenant, "push", "hr"),
            as_of: day("2026-06-30"),
        }
    }

    fn people(mapping: Value, csv: &str) -> Result<People, FileProblem> {
        let mapping: Mapping = serde_json::from_value(mapping).expect("a mapping");
        mapping.check().expect("a mapping that can be used");
        read(
            &table::read(csv.as_bytes(), Hints::default()).expect("a table"),
            &mapping,
            origin(),
        )
    }

    fn events(known: &Employee, snapshot: &Snapshot) -> Vec<Event> {
        let command = Command::Synchronise(Box::new(snapshot.clone()));
        known.decide(command, day("2026-06-30")).expect("accepted")
    }

    fn whole() -> Value {
        json!({"columns": {"id": "Nr", "full_name": "Name", "start_date": "Eintritt", "job_title": "Stelle", "department": "Abteilung",
            "manager_id": "Vorgesetzt", "pay_rate": "Gehalt", "status": "Status", "last_day": "Austritt", "voluntary": "Art", "weekly_hours": "Std"},
            "custom": ["Badge"], "days": "day_first", "decimal_mark": ",", "pay_currency": "EUR", "pay_period": "MONTH", "words": {"Ruhend": "leave", "Eigenkündigung": "voluntary"}})
    }

    const HEADER: &str = "Nr;Name;Eintritt;Stelle;Abteilung;Vorgesetzt;Gehalt;Status;Austritt;Art;Std;Badge;Rest\n";

    #[test]
    fn a_row_is_a_person() {
        let file = format!(
            "{HEADER}42;Rossi, Ada;1.3.2024;Kassiererin;Verkauf;7;2.100,50;Aktiv;;;37,5;B1;x\n7;Bo Batch;01.02.2020;Leiter;;;;ruhend;;;;;\n9;Cy Old;1.1.2021;;;;;left;30.04.2026;Eigenkündigung;;;\n"
        );
        let read = people(whole(), &file).expect("read");
        assert_eq!(read.problems, []);
        assert_eq!(read.unread, ["Rest"]);
        let ids: Vec<(&str, &[usize])> = read
            .people
            .iter()
            .map(|person| (person.id.as_str(), &person.rows[..]))
            .collect();
        assert_eq!(ids, [("42", &[0][..]), ("7", &[1]), ("9", &[2])]);
        let ada = &read.people[0].snapshot;
        assert!(
            matches!(&ada.name, Some(Personal::Open(name)) if name.first == "Ada" && name.last == "Rossi"),
            "{ada:?}"
        );
        assert!(
            matches!(&ada.pay.known[..], [(on, Personal::Open(rate))] if *on == day("2026-06-30") && rate.amount.minor_units == 210_050 && rate.per == PayPeriod::Month)
        );
        assert_eq!(ada.hours.known[0].1.0, 2_250);
        assert!(matches!(&ada.other, Some(Personal::Open(fields)) if fields["Badge"] == "B1"));
        let hired = events(&Employee::default(), ada);
        assert!(
            matches!(&hired[0], Event::Hired(hired) if hired.on == day("2024-03-01") && hired.job.title.as_deref() == Some("Kassiererin")),
            "{hired:?}"
        );
        assert_eq!(
            events(&Employee::fold(&hired), ada),
            vec![],
            "the same file again is no news"
        );
        let bo = &read.people[1].snapshot;
        assert!(bo.pay.known.is_empty(), "an empty cell does not take pay away");
        assert!(
            bo.standing
                .known
                .iter()
                .any(|(on, standing)| *on == day("2026-06-30") && *standing == Standing::OnLeave)
        );
        let cy = &read.people[2].snapshot;
        assert!(
            matches!(cy.standing.known.last(), Some((on, Standing::Ended(ended))) if *on == day("2026-05-01") && ended.voluntariness == domain::employee::Voluntariness::Voluntary),
            "{cy:?}"
        );
    }

    #[test]
    fn rows_with_days_are_a_history() {
        let mapping = json!({"columns": {"id": "id", "first_name": "first", "last_name": "last", "start_date": "start", "effective_date": "from",
            "job_title": "job", "change_reason": "why", "status": "status"}, "complete": true});
        let file = "id,first,last,start,from,job,why,status\n42,Ada,Rossi,2024-03-01,2025-09-01,Supervisor,Promotion,active\n42,Ada,Verdi,2024-03-01,2024-03-01,Cashier,,active\n42,Ada,Rossi,2024-03-01,2026-01-01,Supervisor,,leave\n";
        let read = people(mapping, file).expect("read");
        assert_eq!(read.problems, []);
        let ada = &read.people[0];
        assert_eq!(ada.rows, [0, 1, 2]);
        assert!(
            matches!(&ada.snapshot.name, Some(Personal::Open(name)) if name.last == "Rossi"),
            "as the newest row says"
        );
        let told = events(&Employee::default(), &ada.snapshot);
        let promoted = told
            .iter()
            .find(|event| matches!(event, Event::Promoted(moved) if moved.on == day("2025-09-01")));
        let left = told
            .iter()
            .find(|event| matches!(event, Event::LeaveStarted { on, .. } if *on == day("2026-01-01")));
        assert!(promoted.is_some() && left.is_some(), "{told:?}");
    }

    #[test]
    fn what_is_wrong_is_said_row_by_row_and_the_rest_goes_on() {
        let file = format!(
            "{HEADER}1;A A;1.3.2024;X;Y;1;2000;aktiv;;;;;\n2;B B;31.2.2024;X;Y;;2000;aktiv;;;;;\n3;C C;1.3.2024;X;Y;;viel;gegangen;;;;;\n;D D;1.3.2024;X;Y;;2000;aktiv;;;;;\n5;E E;1.3.2024;X;Y;;2000;aktiv;;;;\n6;F F;1.3.2024;X;Y;;2000;aktiv;;;;;\n7;G G;1.3.2024;X;Y;;2000;left;;;;;\n8;H H;1.3.2024;X;Y;;2000;aktiv;1.4.2024;;;;\n9;I I;1.3.2024;X;Y;;2000;aktiv;;;;;\n9;I I;1.3.2024;Z;Y;;2000;aktiv;;;;;\na@b;J J;1.3.2024;X;Y;;2000;aktiv;;;200;;\n10;K K;1.3.2024;X;Y;;55.000;aktiv;;;;;\n11;L L;1.3.2024;X;Y;;$ 5;aktiv;;maybe;;;\n12;M M;1.3.2024;X;Y;;5 USD;aktiv;31.12.2026;maybe;;;\n"
        );
        let read = people(whole(), &file).expect("read");
        let ids: Vec<&str> = read.people.iter().map(|person| person.id.as_str()).collect();
        assert_eq!(ids, ["6", "10"]);
        let said: Vec<(usize, Option<&str>, &str)> = (read.problems.iter())
            .map(|problem| (problem.row, problem.column.as_deref(), problem.problem.as_str()))
            .collect();
        let expected = [
            (0, None, "manager_id of 2026-06-30 is no id, or the person's own"),
            (1, Some("Eintritt"), "is no day"),
            (2, Some("Gehalt"), "is no number"),
            (2, Some("Status"), "\"gegangen\""),
            (3, Some("Nr"), "does not say whom"),
            (4, None, "12 cells and the header 13"),
            (6, Some("Status"), "no column says their last day"),
            (7, Some("Austritt"), "still there"),
            (8, None, "several rows"),
            (9, None, "several rows"),
            (10, Some("Nr"), "1 to 64 letters"),
            (12, Some("Gehalt"), "is in dollars, and the currency is EUR"),
            (13, Some("Art"), "\"maybe\""),
        ];
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (said, expected) in said.iter().zip(expected) {
            assert_eq!((said.0, said.1), (expected.0, expected.1), "{said:?}");
            assert!(said.2.contains(expected.2), "{said:?} has no {:?}", expected.2);
        }
    }

    #[test]
    fn a_report_that_lost_a_column_is_refused_whole() {
        let problem = people(whole(), "Nr;Name;Eintritt\n42;Ada Rossi;1.3.2024\n")
            .expect_err("refused")
            .to_string();
        assert!(
            problem.contains("\"Stelle\" (job_title)")
                && problem.contains("\"Badge\"")
                && problem.contains("its columns are \"Nr\", \"Name\", \"Eintritt\""),
            "{problem}"
        );
    }
}
