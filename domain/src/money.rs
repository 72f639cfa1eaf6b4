//! Money in minor units, and rates of pay. No floating point: cents that are lost are found by employees.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Self = Self(*b"USD");
    pub const EUR: Self = Self(*b"EUR");

    #[must_use]
    pub fn code(&self) -> &str {
        // Constructed from ASCII letters only.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits after the decimal point (ISO 4217 "minor unit").
    #[must_use]
    pub const fn minor_digits(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Text that is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    #[error("a currency is three capital letters (ISO 4217), such as EUR")]
    Currency,
    #[error("an amount is digits with an optional decimal point, such as 55000.00")]
    Amount,
    #[error("the amount has more decimals than {0} has minor units")]
    TooPrecise(Currency),
    #[error("the amount is too large")]
    TooLarge,
}

impl FromStr for Currency {
    type Err = NotMoney;

    fn from_str(code: &str) -> Result<Self, NotMoney> {
        match code.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(NotMoney::Currency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = NotMoney;

    fn try_from(code: String) -> Result<Self, NotMoney> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

/// An amount: minor units (cents) of a currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub minor_units: i64,
    pub currency: Currency,
}

impl Money {
    /// Reads a decimal such as `55000`, `55,000.00` or `-3.5`.
    ///
    /// # Errors
    /// When the text is no decimal, is finer than the currency's minor unit, or does not fit.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, NotMoney> {
        let text: String = amount.trim().chars().filter(|c| *c != ',').collect();
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text.as_str()), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(NotMoney::Amount);
        }
        let precision = currency.minor_digits() as usize;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > precision {
            return Err(NotMoney::TooPrecise(currency));
        }
        let minor: i64 = format!("{whole}{fraction:0<precision$}")
            .parse()
            .map_err(|_| NotMoney::TooLarge)?;
        Ok(Self {
            minor_units: if negative { -minor } else { minor },
            currency,
        })
    }

    /// The exact amount in major units, such as `55000.00`: what [`Self::parse`] reads.
    #[must_use]
    pub fn decimal(self) -> String {
        let digits = self.currency.minor_digits();
        let (minor, sign) = (
            self.minor_units.unsigned_abs(),
            if self.minor_units < 0 { "-" } else { "" },
        );
        let unit = 10_u64.pow(digits);
        match digits {
            0 => format!("{sign}{minor}"),
            digits => format!(
                "{sign}{}.{:0width$}",
                minor / unit,
                minor % unit,
                width = digits as usize
            ),
        }
    }

    /// The amount in major units, for models only.
    #[must_use]
    pub fn major(self) -> f64 {
        self.minor_units as f64 / f64::from(10_u32.pow(self.currency.minor_digits()))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a rate of pay is paid for (Merge's `pay_period`, facts/connectors.md A5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PayPeriod {
    Hour,
    Day,
    Week,
    EveryTwoWeeks,
    Semimonthly,
    Month,
    Quarter,
    EverySixMonths,
    Year,
}

/// A rate of pay: so much per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayRate {
    pub amount: Money,
    pub per: PayPeriod,
}

impl PayRate {
    /// The rate as major units per year; hourly and daily rates are scaled by the weekly hours (8 hours make a day, 52
    /// weeks a year).
    #[must_use]
    pub fn per_year(self, weekly_hours: f64) -> f64 {
        let periods = match self.per {
            PayPeriod::Hour => weekly_hours * 52.0,
            PayPeriod::Day => weekly_hours / 8.0 * 52.0,
            PayPeriod::Week => 52.0,
            PayPeriod::EveryTwoWeeks => 26.0,
            PayPeriod::Semimonthly => 24.0,
            PayPeriod::Month => 12.0,
            PayPeriod::Quarter => 4.0,
            PayPeriod::EverySixMonths => 2.0,
            PayPeriod::Year => 1.0,
        };
        self.amount.major() * periods
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly() {
        let jpy = "JPY".parse().expect("a currency");
        for (text, currency, minor) in [
            ("55000.00", Currency::USD, 5_500_000),
            ("55,000.5", Currency::EUR, 5_500_050),
            ("-3", Currency::EUR, -300),
            ("420000", jpy, 420_000),
        ] {
            assert_eq!(
                Money::parse(text, currency),
                Ok(Money {
                    minor_units: minor,
                    currency
                })
            );
        }
    }

    #[test]
    fn what_is_not_money_says_why() {
        assert_eq!(Money::parse("", Currency::USD), Err(NotMoney::Amount));
        assert_eq!(Money::parse("12e3", Currency::USD), Err(NotMoney::Amount));
        assert_eq!(
            Money::parse("1.005", Currency::USD),
            Err(NotMoney::TooPrecise(Currency::USD))
        );
        assert_eq!(
            Money::parse("99999999999999999999", Currency::USD),
            Err(NotMoney::TooLarge)
        );
        assert_eq!("Eur".parse::<Currency>(), Err(NotMoney::Currency));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(minor_units in (i64::MIN + 1)..=i64::MAX, code in prop_oneof![Just("EUR"), Just("JPY"), Just("KWD")]) {
            let currency = code.parse().expect("a currency");
            let money = Money { minor_units, currency };
            prop_assert_eq!(Money::parse(&money.decimal(), currency), Ok(money));
            prop_assert_eq!(money.to_string(), format!("{} {code}", money.decimal()));
        }
    }
}
