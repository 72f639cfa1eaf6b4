//! Gusto: a payroll, in which rates of pay are changed.
//!
//! A rate hangs off a job, and a job has one for each day on which one begins (facts/connectors.md A6; Gusto's own specification,
//! `Gusto/gusto-python-client`, and docs.gusto.com). Only the rate of now is shown unless all are asked for. There is no key by which a
//! repeated request counts once: what is there is looked at first.

pub mod client;
pub mod token;

use domain::{
    Date, Personal,
    employee::Rows,
    money::{Currency, Money, PayPeriod, PayRate},
};

use self::client::{Client, Compensation, Terms};
use crate::{
    payroll::{Order, Unsubmitted},
    source::SourceProblem,
};

/// All rates of pay of somebody's first job. One that Tenure has no words for (so much for each paycheck) is there without its value.
///
/// # Errors
/// When Gusto cannot be asked, or does not show rates.
pub async fn rates(client: &Client, employee: &str) -> Result<Rows<Personal<PayRate>>, SourceProblem> {
    let (_, known) = client.compensations(employee).await?;
    Ok(rows(&known))
}

/// What Gusto says is paid, from which days on.
#[must_use]
pub fn rows(known: &[Compensation]) -> Rows<Personal<PayRate>> {
    let rows = known.iter().map(|known| (known.effective_date, rate(known)));
    Rows::all(rows.collect())
}

fn rate(known: &Compensation) -> Personal<PayRate> {
    let amount = Money::parse(&known.rate, Currency::USD).ok();
    match amount.zip(period(&known.payment_unit)) {
        Some((amount, per)) => Personal::Open(PayRate { amount, per }),
        None => Personal::Unreadable,
    }
}

/// What of a rate Gusto does not take.
#[must_use]
pub fn refused(rate: &PayRate) -> Option<&'static str> {
    if rate.amount.currency != Currency::USD {
        Some("Gusto pays in US dollars")
    } else if unit(rate.per).is_none() {
        Some("Gusto pays by the hour, the week, the month or the year")
    } else {
        None
    }
}

/// Adds a rate to somebody's first job, or changes the one that begins on the day, in the version in which it was seen. Whether overtime is
/// paid stays as it is.
///
/// # Errors
/// When Gusto cannot be asked or refuses.
pub async fn submit(client: &Client, employee: &str, order: &Order) -> Result<String, Unsubmitted> {
    const WHAT: &str = "a rate of pay";
    let (job, known) = client.compensations(employee).await.map_err(Unsubmitted::NotSent)?;
    let in_force = known
        .iter()
        .filter(|known| known.effective_date <= order.on)
        .max_by_key(|known| known.effective_date)
        .or_else(|| known.iter().min_by_key(|known| known.effective_date))
        .ok_or(Unsubmitted::NotSent(SourceProblem::Forbidden { what: WHAT }))?;
    let terms = Terms {
        rate: order.rate.amount.decimal(),
        payment_unit: unit(order.rate.per).ok_or(Unsubmitted::NotSent(SourceProblem::BadAnswer { what: WHAT }))?,
        flsa_status: in_force.flsa_status.clone(),
        effective_date: order.on,
    };
    let begins = known.iter().rfind(|known| known.effective_date == order.on);
    let seen = begins.map(|known| rate(known).open().copied());
    if seen != order.instead_of.map(Some) {
        return Err(Unsubmitted::NotSent(SourceProblem::Outdated { what: WHAT }));
    }
    let sent = match begins {
        Some(replaced) => client.change(replaced, &terms).await,
        None => client.add(&job, &terms).await,
    };
    sent.map_err(Unsubmitted::Sent)
}

fn period(unit: &str) -> Option<PayPeriod> {
    match unit {
        "Hour" => Some(PayPeriod::Hour),
        "Week" => Some(PayPeriod::Week),
        "Month" => Some(PayPeriod::Month),
        "Year" => Some(PayPeriod::Year),
        // A paycheck is as long as the schedule says, which is not shown here.
        _ => None,
    }
}

const fn unit(period: PayPeriod) -> Option<&'static str> {
    match period {
        PayPeriod::Hour => Some("Hour"),
        PayPeriod::Week => Some("Week"),
        PayPeriod::Month => Some("Month"),
        PayPeriod::Year => Some("Year"),
        PayPeriod::Day
        | PayPeriod::EveryTwoWeeks
        | PayPeriod::Semimonthly
        | PayPeriod::Quarter
        | PayPeriod::EverySixMonths => None,
    }
}

/// A day as Gusto writes it.
fn day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| serde::de::Error::custom("a day is written as 2026-01-31"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_as_numbers_and_what_has_no_words_is_there_without_its_value() {
        let known = |rate: &str, unit: &str| Compensation {
            uuid: "c".into(),
            version: "v".into(),
            rate: rate.into(),
            payment_unit: unit.into(),
            flsa_status: "Exempt".into(),
            effective_date: Date::from_ymd_opt(2026, 7, 1).expect("a day"),
        };
        let year = PayRate {
            amount: Money::parse("70000", Currency::USD).expect("money"),
            per: PayPeriod::Year,
        };
        for text in ["70000", "70000.0", "70000.00"] {
            assert_eq!(rate(&known(text, "Year")), Personal::Open(year));
        }
        assert_eq!(rate(&known("70000.00", "Paycheck")), Personal::Unreadable);
        assert_eq!(rate(&known("a lot", "Year")), Personal::Unreadable);
    }

    #[test]
    fn what_gusto_does_not_pay_by_is_said_before_it_is_asked_for() {
        let rate = |currency: &str, per| PayRate {
            amount: Money::parse("70000", currency.parse().expect("a currency")).expect("money"),
            per,
        };
        assert_eq!(refused(&rate("USD", PayPeriod::Year)), None);
        assert!(refused(&rate("EUR", PayPeriod::Year)).is_some());
        assert!(refused(&rate("USD", PayPeriod::Quarter)).is_some());
        for per in [PayPeriod::Hour, PayPeriod::Week, PayPeriod::Month, PayPeriod::Year] {
            assert_eq!(unit(per).and_then(period), Some(per));
        }
    }
}
