//! Single cells: days, numbers and words, as people write them. What could mean two things is refused, not guessed.

use chrono::Datelike;
use domain::{
    Date,
    connection::{DayOrder, DecimalMark, Mapping, Meaning},
    money::{Currency, Money},
};

use super::table::Cell;
use crate::words::canonical;

/// A day before this year is a mistake or a placeholder.
const YEAR_MIN: i32 = 1900;

/// A formula without a value, or a list with several.
const NO_VALUE: &str = "has no value, or several";

/// A text; numbers without a decimal point if they have no decimals.
pub fn text(cell: &Cell) -> Result<Option<String>, &'static str> {
    match cell {
        Cell::Empty => Ok(None),
        Cell::Broken => Err(NO_VALUE),
        Cell::Text(_) | Cell::Number(_) | Cell::Day(_) => Ok(Some(cell.text())),
    }
}

/// A day: `2026-04-03`, `3 Apr 2026`, `April 3, 2026`, `20260403`, also with a time behind it; and `03/04/2026`, `3.4.2026` by the
/// order that the mapping says.
pub fn day(cell: &Cell, order: Option<DayOrder>) -> Result<Option<Date>, &'static str> {
    let text = match cell {
        Cell::Empty => return Ok(None),
        Cell::Day(day) => return in_range(*day).map(Some),
        Cell::Number(_) => return Err("is a number and not a day: format the column as a date"),
        Cell::Broken => return Err(NO_VALUE),
        Cell::Text(text) => without_time(text),
    };
    if text == "0000-00-00" {
        return Ok(None);
    }
    let parts: Vec<&str> = (text.split(|c: char| !c.is_alphanumeric()))
        .filter(|part| !part.is_empty())
        .collect();
    let day = match parts[..] {
        [whole] if whole.len() == 8 && whole.bytes().all(|byte| byte.is_ascii_digit()) => {
            of(&whole[..4], &whole[4..6], &whole[6..])
        }
        [year, month, day] if year.len() == 4 => match month_of(month) {
            Some(month) => of(year, &month.to_string(), day),
            None => of(year, month, day),
        },
        [first, second, year] if year.len() == 4 => match (month_of(first), month_of(second)) {
            (Some(month), None) => of(year, &month.to_string(), second),
            (None, Some(month)) => of(year, &month.to_string(), first),
            (Some(_), Some(_)) => None,
            (None, None) => in_order(first, second, year, order)?,
        },
        [_, _, year] if year.len() == 2 => return Err("write the year with four digits"),
        _ => None,
    };
    let day = day.ok_or("is no day: write it like 2026-04-03")?;
    in_range(day).map(Some)
}

fn in_range(day: Date) -> Result<Date, &'static str> {
    if (YEAR_MIN..=9999).contains(&day.year()) {
        Ok(day)
    } else {
        Err("is no day that somebody at work could know of")
    }
}

/// Numbers in an order that may have to be said.
fn in_order(first: &str, second: &str, year: &str, order: Option<DayOrder>) -> Result<Option<Date>, &'static str> {
    let day_first = || of(year, second, first);
    let month_first = || of(year, first, second);
    match order {
        Some(DayOrder::DayFirst) => Ok(day_first()),
        Some(DayOrder::MonthFirst) => Ok(month_first()),
        None => match (day_first(), month_first()) {
            (Some(one), Some(other)) if one != other => {
                Err("can be read in two ways: say in the mapping whether `days` are day_first or month_first")
            }
            (one, other) => Ok(one.or(other)),
        },
    }
}

fn of(year: &str, month: &str, day: &str) -> Option<Date> {
    let short = |part: &str| part.len() <= 2;
    if !short(month) || !short(day) {
        return None;
    }
    Date::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// A month's English name, or its first three letters.
fn month_of(word: &str) -> Option<u32> {
    let month: chrono::Month = word.parse().ok()?;
    Some(month.number_from_month())
}

/// Without `T00:00:00Z`, ` 0:00`, or (as Workday writes it) `-08:00` behind the day.
fn without_time(text: &str) -> &str {
    let zone = text.get(10..).filter(|behind| behind.starts_with(['+', '-', 'Z']));
    if zone.is_some() && Date::parse_from_str(&text[..10], "%Y-%m-%d").is_ok() {
        return &text[..10];
    }
    let is_iso = text.as_bytes().get(4) == Some(&b'-');
    let cut = match text.find(':') {
        Some(colon) => text[..colon].rfind(if is_iso { &['T', ' '][..] } else { &[' '][..] }),
        None => None,
    };
    cut.map_or(text, |cut| text[..cut].trim_end_matches(','))
}

/// A number as a decimal with a point: `1.234,56` is `1234.56` where the comma is the decimal mark. Also gives the three letters of a
/// currency before or behind it.
pub fn decimal(cell: &Cell, mark: Option<DecimalMark>) -> Result<Option<(String, Option<Currency>)>, &'static str> {
    const NO_NUMBER: &str = "is no number";
    let text = match cell {
        Cell::Empty => return Ok(None),
        // Six decimals: what a spreadsheet computes has crumbs behind them.
        Cell::Number(number) => {
            let text = format!("{number:.6}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            return Ok(Some((text.to_owned(), None)));
        }
        Cell::Day(_) => return Err("is a day and not a number: format the column as a number"),
        Cell::Broken => return Err(NO_VALUE),
        Cell::Text(text) => text,
    };
    let is_sign = |c: char| c.is_whitespace() || matches!(c, '$' | '€' | '£' | '¥');
    let number = text.trim_matches(|c: char| c.is_ascii_alphabetic() || is_sign(c));
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    let currency = match (letters.as_str(), text.contains('€'), text.contains('£')) {
        ("", true, false) => Some(Currency::EUR),
        ("", false, true) => "GBP".parse().ok(),
        ("", _, _) => None,
        (code, _, _) => Some(code.to_ascii_uppercase().parse().map_err(|_| NO_NUMBER)?),
    };
    let number: String = number
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '’'))
        .collect();
    let (negative, number) = number
        .strip_prefix('-')
        .map_or((false, number.as_str()), |rest| (true, rest));
    let mark = match mark {
        Some(DecimalMark::Point) => '.',
        Some(DecimalMark::Comma) => ',',
        None => mark_of(number)?,
    };
    let (whole, fraction) = number.split_once(mark).unwrap_or((number, ""));
    let mut groups = whole.split(if mark == '.' { ',' } else { '.' });
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = digits(first)
        && rest.iter().all(|group| group.len() == 3 && digits(group))
        && (rest.is_empty() || first.len() <= 3)
        && (digits(fraction) || !number.contains(mark));
    if !fits {
        return Err(NO_NUMBER);
    }
    let sign = if negative { "-" } else { "" };
    let fraction = if fraction.is_empty() {
        String::new()
    } else {
        format!(".{fraction}")
    };
    Ok(Some((format!("{sign}{first}{}{fraction}", rest.concat()), currency)))
}

/// Which mark a number can only have before its decimals.
fn mark_of(number: &str) -> Result<char, &'static str> {
    let (points, commas) = (number.matches('.').count(), number.matches(',').count());
    let mark = match (points, commas) {
        (0, 0) => '.',
        (0, 1) if decimals(number, ',') != 3 => ',',
        (1, 0) if decimals(number, '.') != 3 => '.',
        (0, 2..) => '.',
        (2.., 0) => ',',
        // The last of both.
        (1.., 1..) if number.rfind('.') > number.rfind(',') => '.',
        (1.., 1..) => ',',
        (_, _) => {
            return Err("can be read in two ways: say in the mapping whether the `decimal_mark` is \".\" or \",\"");
        }
    };
    Ok(mark)
}

fn decimals(number: &str, mark: char) -> usize {
    number.rsplit_once(mark).map_or(0, |(_, decimals)| decimals.len())
}

/// Pay, as a decimal that the currency has coins for.
pub fn amount(decimal: &str, currency: Currency) -> Result<Money, &'static str> {
    // "55.000" is more often fifty-five thousand than fifty-five.
    if decimals(decimal, '.') == 3 && decimal.ends_with('0') {
        return Err(
            "has three decimals: write it without separators, or say in the mapping which the `decimal_mark` is",
        );
    }
    if decimal.starts_with('-') {
        return Err("is below zero");
    }
    Money::parse(decimal, currency).map_err(|_| "has more decimals than the currency, or is too large: round it")
}

/// Whether a currency is written with `$`.
pub fn is_dollar(currency: Currency) -> bool {
    let code = currency.to_string();
    code.ends_with('D') || ["ARS", "BRL", "CLP", "COP", "MXN", "UYU"].contains(&code.as_str())
}

/// What a word of a status means: as the mapping says, or as usual.
pub fn meaning(word: &str, mapping: &Mapping) -> Option<Meaning> {
    let canonical_word = canonical(word);
    let said = mapping.words.iter().find(|(own, _)| canonical(own) == canonical_word);
    if let Some((_, meaning)) = said {
        return Some(*meaning);
    }
    let meaning = match canonical_word.as_str() {
        "active" | "a" | "employed" | "working" | "current" | "aktiv" | "attivo" | "attiva" | "actif" | "activo"
        | "activa" => Meaning::Active,
        "leave" | "onleave" | "loa" | "leaveofabsence" | "parentalleave" | "maternityleave" | "sickleave"
        | "sabbatical" => Meaning::Leave,
        "terminated" | "term" | "t" | "left" | "leaver" | "resigned" | "retired" | "dismissed" | "ausgeschieden"
        | "cessato" | "cessata" | "sorti" | "sortie" => Meaning::Terminated,
        "voluntary" | "yes" | "y" | "true" | "1" | "resignation" => Meaning::Voluntary,
        "involuntary" | "no" | "n" | "false" | "0" | "dismissal" | "layoff" | "redundancy" => Meaning::Involuntary,
        _ => return None,
    };
    Some(meaning)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn days_are_read_as_people_write_them_and_never_guessed() {
        use DayOrder::{DayFirst, MonthFirst};
        let third = Date::from_ymd_opt(2026, 4, 3).expect("a day");
        for text in [
            "2026-04-03",
            "2026-4-3",
            "2026/04/03",
            "20260403",
            "2026-04-03T00:00:00Z",
            "2026-04-03 12:30",
            "2026-04-03-08:00",
            "2026-04-03+01:00",
            "2026-04-03Z",
            "3 Apr 2026",
            "03-Apr-2026",
            "April 3, 2026",
            "3 April 2026 00:00",
        ] {
            for order in [None, Some(DayFirst), Some(MonthFirst)] {
                assert_eq!(day(&cell(text), order), Ok(Some(third)), "{text}");
            }
        }
        for (text, order) in [
            ("03/04/2026", DayFirst),
            ("3.4.2026", DayFirst),
            ("4/3/2026 0:00", MonthFirst),
        ] {
            assert_eq!(day(&cell(text), Some(order)), Ok(Some(third)), "{text}");
            assert!(day(&cell(text), None).expect_err(text).contains("two ways"));
        }
        assert_eq!(day(&cell("25/12/2026"), None), Ok(Date::from_ymd_opt(2026, 12, 25)));
        assert_eq!(day(&cell("04/04/2026"), None), Ok(Date::from_ymd_opt(2026, 4, 4)));
        assert_eq!(day(&cell("0000-00-00"), None), Ok(None));
        for text in [
            "25/12/2026",
            "2026-02-30",
            "soon",
            "03/04/26",
            "1026-04-03",
            "2026-004-03",
            "1-2-3-4",
            "Apr May 2026",
        ] {
            assert!(day(&cell(text), Some(MonthFirst)).is_err(), "{text}");
        }
        assert!(day(&Cell::Number(46_115.0), None).is_err());
    }

    #[test]
    fn numbers_are_read_as_people_write_them_and_never_guessed() {
        use DecimalMark::{Comma, Point};
        for (text, mark, decimal_text) in [
            ("55000", None, "55000"),
            ("55,000.50", None, "55000.50"),
            ("55.000,50", None, "55000.50"),
            ("1.234.567", None, "1234567"),
            ("27,5", None, "27.5"),
            ("$ 27.50", None, "27.50"),
            ("55'000.00", None, "55000.00"),
            ("55 000,00", None, "55000.00"),
            ("55.000", Some(Comma), "55000"),
            ("55.000", Some(Point), "55.000"),
            ("-3.5", None, "-3.5"),
        ] {
            let read = decimal(&cell(text), mark);
            assert_eq!(read, Ok(Some((decimal_text.to_owned(), None))), "{text}");
        }
        assert!(decimal(&cell("55.000"), None).expect_err("either").contains("two ways"));
        assert_eq!(
            decimal(&cell("EUR 5"), None),
            Ok(Some(("5".to_owned(), Some(Currency::EUR))))
        );
        assert_eq!(
            decimal(&cell("5 €"), None),
            Ok(Some(("5".to_owned(), Some(Currency::EUR))))
        );
        for text in [
            "",
            "much",
            "5.5.5",
            "55,00,000.0",
            "5,",
            "1e5",
            "12 pounds",
            "5,5,5",
            "٣",
        ] {
            assert!(decimal(&cell(text), Some(Point)).is_err(), "{text}");
        }
        assert_eq!(
            decimal(&Cell::Number(0.1 + 0.2), None),
            Ok(Some(("0.3".to_owned(), None)))
        );
        assert!(amount("55.000", Currency::EUR).is_err());
        assert!(amount("55.001", Currency::EUR).is_err());
        assert!(amount("-5", Currency::EUR).is_err());
        assert_eq!(amount("55.5", Currency::EUR).expect("money").minor_units, 5_550);
    }

    proptest! {
        #[test]
        fn nothing_that_stands_in_a_cell_makes_it_fail(text in ".{0,24}", order in prop::sample::select(vec![None, Some(DayOrder::DayFirst)]), mark in prop::sample::select(vec![None, Some(DecimalMark::Comma)])) {
            let cell = cell(&text);
            let _ = day(&cell, order);
            if let Ok(Some((decimal, _))) = decimal(&cell, mark) {
                let _ = amount(&decimal, Currency::EUR);
            }
        }

        #[test]
        fn a_day_is_read_as_it_was_written(days in 0_i64..50_000, form in 0_usize..5) {
            let written = Date::from_ymd_opt(1950, 1, 1).expect("a day") + chrono::TimeDelta::days(days);
            let format = ["%Y-%m-%d", "%d/%m/%Y", "%-d.%-m.%Y", "%d %B %Y", "%b %-d, %Y"][form];
            prop_assert_eq!(day(&cell(&written.format(format).to_string()), Some(DayOrder::DayFirst)), Ok(Some(written)));
        }
    }
}
