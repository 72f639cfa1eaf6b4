//! A mapping that the headers and cells of a file suggest. It is a suggestion: what is not clear is said, and a person decides.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    connection::{Column, DayOrder, DecimalMark, Mapping},
    money::PayPeriod,
};

use super::{
    cells,
    table::{Cell, PROBLEM_HEADER, Table},
};
use crate::words::canonical;

/// The most unknown words that are named.
const WORDS_TOLD_MAX: usize = 20;

#[derive(Debug)]
pub struct Proposal {
    pub mapping: Mapping,
    /// Headers of columns that nothing was found for.
    pub unread: Vec<String>,
    /// What somebody has to decide or to add.
    pub unclear: Vec<String>,
}

/// Headers without their spelling, in the languages of the exports that we know, best first.
const HEADERS: [(Column, &[&str]); 27] = [
    (
        Column::Id,
        &[
            "employeeid",
            "employeenumber",
            "employeeno",
            "personnelnumber",
            "personid",
            "workerid",
            "staffid",
            "payrollid",
            "id",
            "personalnummer",
            "mitarbeiternummer",
            "matricola",
            "matricule",
            "numerodeempleado",
        ],
    ),
    (
        Column::FirstName,
        &[
            "firstname",
            "givenname",
            "forename",
            "vorname",
            "nome",
            "prenom",
            "prénom",
            "nombre",
        ],
    ),
    (
        Column::LastName,
        &[
            "lastname",
            "surname",
            "familyname",
            "nachname",
            "cognome",
            "nom",
            "apellido",
            "apellidos",
        ],
    ),
    (
        Column::FullName,
        &["fullname", "employeename", "name", "displayname", "nomecompleto"],
    ),
    (
        Column::PreferredName,
        &["preferredname", "nickname", "knownas", "rufname"],
    ),
    (
        Column::WorkEmail,
        &[
            "workemail",
            "workemailaddress",
            "emailaddress",
            "email",
            "mail",
            "businessemail",
            "dienstlicheemail",
        ],
    ),
    (
        Column::WorkPhone,
        &[
            "workphone",
            "workphonenumber",
            "phone",
            "telephone",
            "businessphone",
            "telefon",
            "telefono",
        ],
    ),
    (
        Column::MobilePhone,
        &[
            "mobilephone",
            "mobile",
            "cell",
            "cellphone",
            "mobiltelefon",
            "handy",
            "cellulare",
        ],
    ),
    (
        Column::Gender,
        &["gender", "sex", "geschlecht", "genere", "sesso", "sexe", "genero"],
    ),
    (
        Column::DateOfBirth,
        &[
            "dateofbirth",
            "birthdate",
            "dob",
            "birthday",
            "geburtsdatum",
            "datadinascita",
            "datedenaissance",
            "fechadenacimiento",
        ],
    ),
    (Column::Ethnicity, &["ethnicity", "race", "raceethnicity"]),
    (
        Column::StartDate,
        &[
            "startdate",
            "hiredate",
            "dateofhire",
            "dateofjoining",
            "originalhiredate",
            "joindate",
            "eintrittsdatum",
            "eintritt",
            "datadiassunzione",
            "dataassunzione",
            "dateembauche",
            "datedentrée",
            "fechadealta",
        ],
    ),
    (
        Column::WeeklyHours,
        &[
            "weeklyhours",
            "hoursperweek",
            "standardhours",
            "scheduledweeklyhours",
            "wochenstunden",
            "oresettimanali",
        ],
    ),
    (
        Column::EffectiveDate,
        &[
            "effectivedate",
            "effectivefrom",
            "validfrom",
            "asof",
            "gültigab",
            "gueltigab",
            "decorrenza",
        ],
    ),
    (
        Column::JobTitle,
        &[
            "jobtitle",
            "position",
            "title",
            "jobrole",
            "role",
            "job",
            "businesstitle",
            "stelle",
            "berufsbezeichnung",
            "mansione",
            "ruolo",
            "poste",
            "puesto",
        ],
    ),
    (
        Column::Department,
        &[
            "department",
            "dept",
            "abteilung",
            "reparto",
            "dipartimento",
            "département",
            "departement",
            "departamento",
        ],
    ),
    (Column::Division, &["division", "businessunit", "bereich", "divisione"]),
    (
        Column::Location,
        &[
            "location",
            "worklocation",
            "office",
            "site",
            "branch",
            "standort",
            "sede",
            "filiale",
            "lieu",
        ],
    ),
    (
        Column::ManagerId,
        &[
            "managerid",
            "manageremployeeid",
            "managernumber",
            "supervisorid",
            "reportstoid",
            "reportsto",
            "vorgesetztenid",
            "vorgesetzter",
            "matricolaresponsabile",
        ],
    ),
    (
        Column::PayRate,
        &[
            "payrate",
            "salary",
            "basesalary",
            "annualsalary",
            "basepay",
            "compensation",
            "monthlyincome",
            "monthlysalary",
            "hourlyrate",
            "rate",
            "gehalt",
            "grundgehalt",
            "stipendio",
            "ral",
            "retribuzione",
            "salaire",
            "salario",
        ],
    ),
    (
        Column::PayCurrency,
        &[
            "paycurrency",
            "currency",
            "currencycode",
            "währung",
            "waehrung",
            "valuta",
            "devise",
            "moneda",
        ],
    ),
    (
        Column::PayPeriod,
        &[
            "payperiod",
            "payfrequency",
            "paidper",
            "payper",
            "rateperiod",
            "paybasis",
        ],
    ),
    (
        Column::ChangeReason,
        &["changereason", "reasonforchange", "änderungsgrund"],
    ),
    (
        Column::Status,
        &["status", "employmentstatus", "employeestatus", "workerstatus", "stato"],
    ),
    (
        Column::LastDay,
        &[
            "lastday",
            "terminationdate",
            "lastworkingday",
            "enddate",
            "leavingdate",
            "leavedate",
            "dateofleaving",
            "austrittsdatum",
            "austritt",
            "datacessazione",
            "datedesortie",
            "fechadebaja",
        ],
    ),
    (
        Column::LeavingReason,
        &[
            "leavingreason",
            "terminationreason",
            "reasonforleaving",
            "austrittsgrund",
            "motivocessazione",
        ],
    ),
    (
        Column::Voluntary,
        &["voluntary", "terminationtype", "voluntarytermination", "isvoluntary"],
    ),
];

/// Suggests how a file is to be read.
#[must_use]
pub fn propose(table: &Table) -> Proposal {
    let mut taken = BTreeSet::new();
    let mut columns = BTreeMap::new();
    for (column, words) in HEADERS {
        let place = words.iter().find_map(|word| {
            (table.headers.iter().enumerate())
                .position(|(index, header)| !taken.contains(&index) && canonical(header) == *word)
        });
        if let Some(index) = place {
            taken.insert(index);
            columns.insert(column, table.headers[index].clone());
        }
    }
    if columns.contains_key(&Column::FirstName) || columns.contains_key(&Column::LastName) {
        columns.remove(&Column::FullName);
    }
    let mut mapping = Mapping {
        columns,
        custom: BTreeSet::new(),
        days: None,
        decimal_mark: None,
        pay_currency: None,
        pay_period: None,
        words: BTreeMap::new(),
        complete: false,
    };
    let mut unclear = Vec::new();
    if mapping.header(Column::Id).is_none() {
        unclear.push("no column looks like a person's id: map one that is never given to somebody else".to_owned());
    }
    if mapping.header(Column::StartDate).is_none() {
        unclear.push("no column looks like start_date: people who are new to Tenure need one".to_owned());
    }
    days(table, &mut mapping, &mut unclear);
    numbers(table, &mut mapping, &mut unclear);
    pay(&mut mapping, &mut unclear);
    unknown_words(table, &mapping, &mut unclear);
    let is_mapped = |header: &String| mapping.columns.values().any(|mapped| mapped == header);
    let unread = table
        .headers
        .iter()
        .filter(|header| !is_mapped(header) && *header != PROBLEM_HEADER);
    Proposal {
        unread: unread.cloned().collect(),
        mapping,
        unclear,
    }
}

/// The cells of a column that is mapped.
fn cells_of<'a>(table: &'a Table, mapping: &Mapping, column: Column) -> impl Iterator<Item = &'a Cell> {
    let index = mapping
        .header(column)
        .and_then(|header| table.index(header).ok().flatten());
    (table.rows.iter()).filter_map(move |row| row.cells.get(index?))
}

/// The order in which every day of the file can be read.
fn days(table: &Table, mapping: &mut Mapping, unclear: &mut Vec<String>) {
    let read = |order| {
        let columns = Column::ALL.into_iter().filter(|column| column.is_day());
        let mut cells = columns.flat_map(|column| cells_of(table, mapping, column));
        // A cell that no order reads says nothing about the order.
        cells.all(|cell| cells::day(cell, order).is_ok() || !matches!(cell, Cell::Text(_)) || is_wrong_anyway(cell))
    };
    let orders = (
        read(None),
        read(Some(DayOrder::DayFirst)),
        read(Some(DayOrder::MonthFirst)),
    );
    mapping.days = match orders {
        (true, _, _) => None,
        (false, true, false) => Some(DayOrder::DayFirst),
        (false, false, true) => Some(DayOrder::MonthFirst),
        (false, true, true) => {
            unclear.push(
                "days such as 03/04/2026 can be read in two ways: set `days` to day_first or month_first".to_owned(),
            );
            None
        }
        (false, false, false) => {
            unclear
                .push("some days have the month first and others the day: write them all like 2026-04-03".to_owned());
            None
        }
    };
}

fn is_wrong_anyway(cell: &Cell) -> bool {
    cells::day(cell, Some(DayOrder::DayFirst)).is_err() && cells::day(cell, Some(DayOrder::MonthFirst)).is_err()
}

/// The decimal mark with which every number of the file can be read.
fn numbers(table: &Table, mapping: &mut Mapping, unclear: &mut Vec<String>) {
    let read = |mark| {
        let pay = cells_of(table, mapping, Column::PayRate).all(|cell| match cells::decimal(cell, mark) {
            Ok(Some((decimal, _))) => decimal.rsplit_once('.').is_none_or(|(_, decimals)| decimals.len() != 3),
            Ok(None) => true,
            Err(_) => !matches!(cell, Cell::Text(_)),
        });
        pay && cells_of(table, mapping, Column::WeeklyHours)
            .all(|cell| cells::decimal(cell, mark).is_ok() || !matches!(cell, Cell::Text(_)))
    };
    mapping.decimal_mark = match (
        read(None),
        read(Some(DecimalMark::Point)),
        read(Some(DecimalMark::Comma)),
    ) {
        (true, _, _) => None,
        (false, true, false) => Some(DecimalMark::Point),
        (false, false, true) => Some(DecimalMark::Comma),
        (false, true, true) | (false, false, false) => {
            unclear.push(
                "some numbers can be read in two ways, or not at all: set `decimal_mark` to \".\" or \",\"".to_owned(),
            );
            None
        }
    };
}

fn pay(mapping: &mut Mapping, unclear: &mut Vec<String>) {
    let Some(header) = mapping.header(Column::PayRate).map(canonical) else {
        return;
    };
    if mapping.header(Column::PayCurrency).is_none() {
        unclear.push("no column has the currency of the pay: set `pay_currency`, such as \"EUR\"".to_owned());
    }
    if mapping.header(Column::PayPeriod).is_none() {
        mapping.pay_period = match header.as_str() {
            header if header.contains("annual") => Some(PayPeriod::Year),
            header if header.contains("month") => Some(PayPeriod::Month),
            header if header.contains("hour") => Some(PayPeriod::Hour),
            // Retribuzione annua lorda: a year's.
            "ral" => Some(PayPeriod::Year),
            _ => None,
        };
        if mapping.pay_period.is_none() {
            unclear.push(
                "no column says what the pay is paid for: set `pay_period`, such as \"YEAR\" or \"MONTH\"".to_owned(),
            );
        }
    }
}

fn unknown_words(table: &Table, mapping: &Mapping, unclear: &mut Vec<String>) {
    for column in [Column::Status, Column::Voluntary] {
        let words = cells_of(table, mapping, column).filter_map(|cell| cells::text(cell).ok().flatten());
        let unknown: BTreeSet<String> = words.filter(|word| cells::meaning(word, mapping).is_none()).collect();
        if !unknown.is_empty() {
            let some: Vec<String> = unknown
                .iter()
                .take(WORDS_TOLD_MAX)
                .map(|word| format!("{word:?}"))
                .collect();
            unclear.push(format!(
                "say in `words` what these words of {} mean: {}",
                column.name(),
                some.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::table::{self, Hints},
        *,
    };

    fn proposed(csv: &str) -> Proposal {
        propose(&table::read(csv.as_bytes(), Hints::default()).expect("a table"))
    }

    #[test]
    fn headers_and_cells_suggest_a_mapping() {
        let proposal = proposed(
            "Employee ID,First Name,Last Name,Work E-mail,Hire Date,Job Title,Department,Manager ID,Annual Salary,Currency,Employment Status,Shoe size\n42,Ada,Rossi,ada@acme.example,25/12/2024,Cashier,Sales,7,\"27.000,50\",EUR,Active,38\n",
        );
        let expected = json!({"columns": {"id": "Employee ID", "first_name": "First Name", "last_name": "Last Name", "work_email": "Work E-mail",
            "start_date": "Hire Date", "job_title": "Job Title", "department": "Department", "manager_id": "Manager ID", "pay_rate": "Annual Salary",
            "pay_currency": "Currency", "status": "Employment Status"}, "pay_period": "YEAR"});
        assert_eq!(serde_json::to_value(&proposal.mapping).expect("JSON"), expected);
        assert_eq!(proposal.mapping.check(), Ok(()));
        assert_eq!(
            (proposal.unread, proposal.unclear),
            (vec!["Shoe size".to_owned()], vec![])
        );
    }

    #[test]
    fn what_is_not_clear_is_asked() {
        let proposal = proposed("Name,Eintritt,Gehalt,Status\nAda Rossi,3.4.2024,2.100,ruhend\n");
        let all = proposal.unclear.join("\n");
        for asked in [
            "a person's id",
            "day_first or month_first",
            "pay_currency",
            "pay_period",
            "\"ruhend\"",
        ] {
            assert!(all.contains(asked), "{asked} is not in {all}");
        }
        assert_eq!(proposal.unclear.len(), 5);
        // Pay has no three decimals.
        assert_eq!(proposal.mapping.decimal_mark, Some(DecimalMark::Comma));
        let hours = proposed("id,hire date,weekly hours\n1,2024-04-03,37.125");
        assert!(hours.unclear[0].contains("decimal_mark"), "{:?}", hours.unclear);
        let order = |days: &str| proposed(&format!("id,hire date\n{days}")).mapping.days;
        assert_eq!(order("1,3/4/2024\n2,25/4/2024"), Some(DayOrder::DayFirst));
        assert_eq!(order("1,3/4/2024\n2,4/25/2024\n3,soon"), Some(DayOrder::MonthFirst));
        assert_eq!(order("1,2024-04-03\n2,3 Apr 2024"), None);
        let torn = proposed("id,hire date,start\n1,25/4/2024,x\n2,4/25/2024,x\n3,1/2/2024,x");
        assert!(torn.unclear[0].contains("write them all like"), "{:?}", torn.unclear);
    }
}
