//! Reads single values as BambooHR words them. Unreadable is told apart from empty.

use chrono::Datelike;
use domain::{
    Date,
    money::{Currency, Money, NotMoney, PayPeriod},
};
use serde_json::Value;

use crate::words::{canonical, money};

/// The currency of a rate that names none.
pub const DEFAULT_CURRENCY: Currency = Currency::USD;
/// A day before this year is a mistake or a placeholder.
const YEAR_MIN: i32 = 1900;

/// A scalar as trimmed text, from `"x"`, `1`, `true` or `{"value": "x"}`. `Some("")` is empty; `None` is no scalar.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Object(object) => match (object.get("value"), object.get("currency").and_then(Value::as_str)) {
            (Some(Value::Object(_)) | None, _) => None,
            (Some(amount), currency) => {
                let amount = text(amount)?;
                let currency = currency
                    .map(str::trim)
                    .filter(|code| !code.is_empty() && !amount.is_empty());
                Some(currency.map_or_else(|| amount.clone(), |currency| format!("{amount} {currency}")))
            }
        },
        Value::Array(_) => None,
    }
}

/// A day: `2024-03-01`, also with a time behind it. `Ok(None)` for the ways in which BambooHR writes "no day".
pub(super) fn date(text: &str) -> Result<Option<Date>, ()> {
    let text = text.trim();
    let day = text.split(['T', ' ']).next().unwrap_or_default();
    if day.is_empty() || day == "0000-00-00" {
        return Ok(None);
    }
    let date = Date::parse_from_str(day, "%Y-%m-%d").map_err(|_| ())?;
    if (YEAR_MIN..=9999).contains(&date.year()) {
        Ok(Some(date))
    } else {
        Err(())
    }
}

/// A rate such as `55000.00 USD`, `USD 55,000`, `$55000` or `55000.00`. `None` if there is none. The flag: it was rounded
/// to the currency's minor unit, as hourly rates often must.
pub(super) fn rate(text: &str) -> Result<Option<(Money, bool)>, NotMoney> {
    let text = text.trim();
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    let currency = if !letters.is_empty() {
        letters.to_ascii_uppercase().parse()?
    } else if text.contains('€') {
        Currency::EUR
    } else if text.contains('£') {
        "GBP".parse()?
    } else {
        DEFAULT_CURRENCY
    };
    let amount =
        text.trim_matches(|c: char| c.is_ascii_alphabetic() || c.is_whitespace() || matches!(c, '$' | '€' | '£'));
    if amount.is_empty() {
        return if letters.is_empty() && text.is_empty() {
            Ok(None)
        } else {
            Err(NotMoney::Amount)
        };
    }
    if !thousands_fit(amount) || amount.starts_with('-') {
        return Err(NotMoney::Amount);
    }
    money(amount, currency).map(Some)
}

/// Commas must stand before groups of three digits: `55000,00` is not five and a half million.
fn thousands_fit(amount: &str) -> bool {
    let whole = amount.split('.').next().unwrap_or_default();
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default().len();
    let grouped = whole.contains(',');
    groups.all(|group| group.len() == 3)
        && (!grouped || (1..=3).contains(&first))
        && !amount[whole.len()..].contains(',')
}

/// What a rate is paid for, from `paidPer`, or for want of it from the pay type.
pub(super) fn period(paid_per: &str, pay_type: &str) -> Option<PayPeriod> {
    if !canonical(paid_per).is_empty() {
        return crate::words::period(paid_per);
    }
    match canonical(pay_type).as_str() {
        "daily" => Some(PayPeriod::Day),
        "weekly" => Some(PayPeriod::Week),
        "monthly" => Some(PayPeriod::Month),
        kind if kind.contains("hourly") => Some(PayPeriod::Hour),
        kind if kind.contains("salar") => Some(PayPeriod::Year),
        _ => None,
    }
}

/// What a row of employmentStatus means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Working,
    OnLeave,
    Ended,
}

/// Companies name their statuses themselves; "Terminated" is BambooHR's own.
pub(super) fn status(label: &str) -> Status {
    let label = label.to_lowercase();
    if label.contains("terminated") || label.contains("inactive") {
        Status::Ended
    } else if label.contains("leave") || label.contains("furlough") {
        Status::OnLeave
    } else {
        Status::Working
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_no_day_is_none() {
        let day = Date::from_ymd_opt(2024, 3, 1);
        for text in [
            "2024-03-01",
            "2024-03-01T00:00:00+00:00",
            "2024-03-01 12:00:00",
            " 2024-03-01 ",
        ] {
            assert_eq!(date(text), Ok(day), "{text}");
        }
        for text in ["", "0000-00-00", "0000-00-00T00:00:00"] {
            assert_eq!(date(text), Ok(None), "{text}");
        }
        for text in ["03/01/2024", "2024-02-30", "0001-01-01", "soon", "+12024-01-01"] {
            assert_eq!(date(text), Err(()), "{text}");
        }
    }

    #[test]
    fn rates_are_read_in_every_shape() {
        for (text, amount) in [
            ("55000.00 USD", Some("55000.00 USD")),
            ("55,000.00 EUR", Some("55000.00 EUR")),
            ("EUR 55000", Some("55000.00 EUR")),
            ("1,250,000 jpy", Some("1250000 JPY")),
            ("$55000", Some("55000.00 USD")),
            ("€ 18.50", Some("18.50 EUR")),
            ("55000.00", Some("55000.00 USD")),
            ("17.3125 USD", Some("17.31 USD")),
            ("17.3150 USD", Some("17.32 USD")),
            ("99.999", Some("100.00 USD")),
            ("1000.5 JPY", Some("1001 JPY")),
            ("", None),
        ] {
            let read = rate(text).expect("a rate").map(|(money, _)| money.to_string());
            assert_eq!(read.as_deref(), amount, "{text}");
        }
        for text in [
            "55000,00",
            "5,50,00",
            "-3",
            "n/a",
            "USD",
            "12 DOLLARS",
            "1.2.3",
            "99999999999999999999",
            "1.000,00",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(matches!(rate("17.3125"), Ok(Some((_, true)))));
    }

    #[test]
    fn periods_hours_and_endings_are_read() {
        use PayPeriod::{EverySixMonths, EveryTwoWeeks, Hour, Month, Quarter, Semimonthly, Year};
        for (paid_per, pay_type, expected) in [
            ("Hour", "", Some(Hour)),
            ("Day", "Salary", Some(PayPeriod::Day)),
            ("Week", "", Some(PayPeriod::Week)),
            ("Every other week", "", Some(EveryTwoWeeks)),
            ("Twice a month", "", Some(Semimonthly)),
            ("Month", "", Some(Month)),
            ("Quarter", "", Some(Quarter)),
            ("Twice a year", "", Some(EverySixMonths)),
            ("Every 6 months", "", Some(EverySixMonths)),
            ("Year", "Hourly", Some(Year)),
            ("", "Hourly", Some(Hour)),
            ("", "Exception Hourly", Some(Hour)),
            ("", "Salary", Some(Year)),
            ("", "Salaried", Some(Year)),
            ("", "", None),
            ("", "Commission Only", None),
            ("Pay Period", "Salary", None),
        ] {
            assert_eq!(period(paid_per, pay_type), expected, "{paid_per}/{pay_type}");
        }
    }
}
