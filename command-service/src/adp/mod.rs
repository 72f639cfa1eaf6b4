//! ADP Workforce Now: a payroll, in which rates of pay are changed by events.
//!
//! | what | how | known from |
//! |---|---|---|
//! | token | `client_credentials` over mutual TLS | facts/connectors.md A6; tests of `craibuc/node-adp-workforce-now` |
//! | rates | one `baseRemuneration` per assignment, with the day since when; `asOfDate` asks for another day | recorded answers there |
//! | change | `POST /events/hr/v1/worker.work-assignment.base-remuneration.change` | ADP's own description (`api-evangelist/adp`) |
//!
//! Clients disagree about where in an event the assignment lies ([`Shape`](domain::connection::Shape)): each tenant's `/meta` says it. What is
//! answered to an event is not believed anyway. Rates of days to come may not be shown before: then a change stays submitted until its day.

pub mod client;

use domain::{
    Date, Personal,
    employee::Rows,
    money::{Currency, Money, PayPeriod, PayRate},
};
use serde_json::Value;

use self::client::{Assignment, Client};
use crate::{
    payroll::{Order, Unsubmitted},
    source::SourceProblem,
};

/// The rate that somebody has on a day, from the day on since when they have it.
///
/// # Errors
/// When ADP cannot be asked, or shows no rate.
pub async fn rates(
    client: &Client,
    worker: &str,
    (on, like): (Date, &PayRate),
) -> Result<Rows<Personal<PayRate>>, SourceProblem> {
    let assignment = client.assignment(worker, on).await?;
    let (since, rate) = rate(&assignment, like.per).ok_or(SourceProblem::Forbidden { what: "rates of pay" })?;
    Ok(Rows::all(vec![(since, rate)]))
}

/// What is paid for a period, and since when. ADP has a rate for each way of telling it, of which one is what was set, and the others follow.
#[must_use]
pub fn rate(assignment: &Assignment, per: PayPeriod) -> Option<(Date, Personal<PayRate>)> {
    let paid = &assignment.base_remuneration;
    let since = paid.get("effectiveDate")?.as_str()?.parse().ok()?;
    let told = member(per).and_then(|(member, _)| {
        let amount = paid.get(member)?;
        let currency: Currency = amount.get("currencyCode")?.as_str()?.parse().ok()?;
        // As it is written: 31.5 is exact in text.
        let text = match amount.get("amountValue")? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return None,
        };
        let amount = Money::parse(&text, currency).ok()?;
        Some(Personal::Open(PayRate { amount, per }))
    });
    Some((since, told.unwrap_or(Personal::Unreadable)))
}

/// What of a rate ADP is not asked for.
#[must_use]
pub const fn refused(rate: &PayRate) -> Option<&'static str> {
    if member(rate.per).is_some() {
        None
    } else {
        Some("ADP is asked for rates by the hour, the day or the year")
    }
}

/// Where a rate is, and its name there.
const fn member(per: PayPeriod) -> Option<(&'static str, &'static str)> {
    match per {
        PayPeriod::Hour => Some(("hourlyRateAmount", "H")),
        PayPeriod::Day => Some(("dailyRateAmount", "D")),
        PayPeriod::Year => Some(("annualRateAmount", "A")),
        PayPeriod::Week
        | PayPeriod::EveryTwoWeeks
        | PayPeriod::Semimonthly
        | PayPeriod::Month
        | PayPeriod::Quarter
        | PayPeriod::EverySixMonths => None,
    }
}

/// Sends the event that changes a rate; answers what ADP calls it, if it does.
///
/// # Errors
/// When ADP cannot be asked or refuses.
pub async fn submit(client: &Client, worker: &str, order: &Order) -> Result<Option<String>, Unsubmitted> {
    const WHAT: &str = "a rate of pay";
    let named = member(order.rate.per).ok_or(Unsubmitted::NotSent(SourceProblem::BadAnswer { what: WHAT }));
    let (member, name) = named?;
    let assignment = client.assignment(worker, order.on).await;
    let assignment = assignment.map_err(Unsubmitted::NotSent)?;
    let begins = rate(&assignment, order.rate.per).filter(|(since, _)| *since == order.on);
    let seen = begins.map(|(_, rate)| rate.open().copied());
    if seen != order.instead_of.map(Some) {
        return Err(Unsubmitted::NotSent(SourceProblem::Outdated { what: WHAT }));
    }
    let amount = order.rate.amount;
    // A number in text that reads as one: no rounding on the way.
    let value: Value = serde_json::from_str(&amount.decimal()).unwrap_or_default();
    let remuneration = serde_json::json!({
        member: { "nameCode": { "codeValue": name }, "amountValue": value, "currencyCode": amount.currency.code() },
    });
    let sent = client.change((worker, &assignment.item_id), order.on, &remuneration);
    sent.await.map_err(Unsubmitted::Sent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The shape is that of a recorded answer (`craibuc/node-adp-workforce-now`, tests/fixtures/workers/aoid/200.json).
    #[test]
    fn the_rate_of_a_period_is_read_as_it_is_written_and_another_is_there_without_its_value() {
        let assignment = Assignment {
            item_id: "33325352N".into(),
            is_primary: true,
            base_remuneration: json!({
                "annualRateAmount": { "nameCode": { "codeValue": "ANNUAL" }, "amountValue": 123_456.00, "currencyCode": "USD" },
                "payPeriodRateAmount": { "nameCode": { "codeValue": "Salary" }, "amountValue": 1000.00, "currencyCode": "USD" },
                "effectiveDate": "2020-04-06",
            }),
        };
        let since = Date::from_ymd_opt(2020, 4, 6).expect("a day");
        let year = PayRate {
            amount: Money::parse("123456", Currency::USD).expect("money"),
            per: PayPeriod::Year,
        };
        assert_eq!(rate(&assignment, PayPeriod::Year), Some((since, Personal::Open(year))));
        assert_eq!(rate(&assignment, PayPeriod::Hour), Some((since, Personal::Unreadable)));
        let hidden = Assignment {
            base_remuneration: Value::Null,
            ..assignment
        };
        assert_eq!(rate(&hidden, PayPeriod::Year), None);
    }
}
