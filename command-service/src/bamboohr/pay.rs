//! Changes of pay: rows of the table `compensation` (facts/connectors.md A6).

use domain::{
    Date, Personal,
    employee::Rows,
    money::{PayPeriod, PayRate},
};
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Row, Table, Whose},
    translate::{day_of_rate, exact_rate},
};
use crate::{
    payroll::{Order, Unsubmitted},
    source::SourceProblem,
    words,
};

/// All rates of a person, the later of a day last. One that does not read exactly is there without its value.
///
/// # Errors
/// When BambooHR cannot be asked.
pub async fn rates(client: &Client, remote_id: &str) -> Result<Rows<Personal<PayRate>>, SourceProblem> {
    Ok(rates_of(
        client.table(Whose::One(remote_id), Table::Compensation).await?,
    ))
}

fn rates_of(mut rows: Vec<Row>) -> Rows<Personal<PayRate>> {
    rows.sort_by_key(|row| (day_of_rate(row), number(row)));
    // A row without a day could begin on any. And a rate that the key may not see is left out, also when it is the one that was sent.
    let is_shown = |row: &&Row| day_of_rate(row).is_some() && row.contains_key("rate");
    let complete = rows.iter().all(|row| is_shown(&row));
    let known = rows.iter().filter(is_shown).filter_map(|row| {
        let rate = exact_rate(row).map_or(Personal::Unreadable, Personal::Open);
        Some((day_of_rate(row)?, rate))
    });
    Rows {
        known: known.collect(),
        complete,
    }
}

/// Adds a row, or changes the one that begins on the day, if that is the one that was seen. How somebody is paid besides the rate stays as
/// it is in the row before, as far as it fits.
///
/// # Errors
/// When BambooHR cannot be asked or refuses: 409 when its payroll forbids it, 412 without an active pay schedule.
pub async fn submit(client: &Client, remote_id: &str, order: &Order) -> Result<(), Unsubmitted> {
    let rows = client.table(Whose::One(remote_id), Table::Compensation).await;
    let rows = rows.map_err(Unsubmitted::NotSent)?;
    let row = row(order, in_force(&rows, order.on));
    let begins = rows
        .iter()
        .filter(|row| day_of_rate(row) == Some(order.on))
        .max_by_key(|row| number(row));
    if begins.and_then(exact_rate) != order.instead_of || begins.is_some() != order.instead_of.is_some() {
        return Err(Unsubmitted::NotSent(SourceProblem::Outdated { what: "a rate of pay" }));
    }
    let sent = match begins.and_then(number) {
        Some(id) => {
            let id = id.to_string();
            client.change_row(remote_id, (Table::Compensation, &id), &row).await
        }
        None => client.add_row(remote_id, Table::Compensation, &row).await,
    };
    sent.map_err(Unsubmitted::Sent)
}

fn number(row: &Row) -> Option<u64> {
    match row.get("id")? {
        Value::String(text) => text.trim().parse().ok(),
        id => id.as_u64(),
    }
}

fn in_force(rows: &[Row], on: Date) -> Option<&Row> {
    rows.iter()
        .filter(|row| day_of_rate(row).is_some_and(|day| day <= on))
        .max_by_key(|row| (day_of_rate(row), number(row)))
}

fn row(order: &Order, before: Option<&Row>) -> Value {
    let hourly = order.rate.per == PayPeriod::Hour;
    let pay_type = if hourly { "Hourly" } else { "Salary" };
    let text = |name: &str| {
        before?
            .get(name)?
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let mut row = Map::from_iter([
        ("startDate".to_owned(), json!(order.on.to_string())),
        (
            "rate".to_owned(),
            json!({ "value": order.rate.amount.decimal(), "currency": order.rate.amount.currency.code() }),
        ),
        ("type".to_owned(), json!(pay_type)),
        ("paidPer".to_owned(), json!(paid_per(order.rate.per))),
        (
            "comment".to_owned(),
            json!(order.reason.as_deref().unwrap_or("Approved in Tenure")),
        ),
    ]);
    let same_type = text("type").is_some_and(|known| words::canonical(known) == words::canonical(pay_type));
    if let Some(exempt) = text("exempt").filter(|_| same_type) {
        row.insert("exempt".to_owned(), json!(exempt));
    }
    Value::Object(row)
}

/// BambooHR's words for what a rate is paid for.
const fn paid_per(period: PayPeriod) -> &'static str {
    match period {
        PayPeriod::Hour => "Hour",
        PayPeriod::Day => "Day",
        PayPeriod::Week => "Week",
        PayPeriod::EveryTwoWeeks => "Every other week",
        PayPeriod::Semimonthly => "Twice a month",
        PayPeriod::Month => "Month",
        PayPeriod::Quarter => "Quarter",
        PayPeriod::EverySixMonths => "Twice a year",
        PayPeriod::Year => "Year",
    }
}

#[cfg(test)]
mod tests {
    use domain::money::{Currency, Money, PayRate};

    use super::*;

    fn order(minor_units: i64, per: PayPeriod) -> Order {
        Order {
            rate: PayRate {
                amount: Money {
                    minor_units,
                    currency: Currency::USD,
                },
                per,
            },
            on: Date::from_ymd_opt(2026, 7, 1).expect("a day"),
            instead_of: None,
            reason: Some("Merit".into()),
        }
    }

    fn rows(rows: &[Value]) -> Vec<Row> {
        rows.iter()
            .map(|row| row.as_object().cloned().expect("a row"))
            .collect()
    }

    #[test]
    fn a_row_says_the_rate_exactly_and_leaves_the_rest_as_it_was() {
        let known = rows(&[
            json!({ "startDate": "2026-09-01", "type": "Salary", "exempt": "Non-exempt" }),
            json!({ "startDate": "2025-01-01", "type": "Salary", "exempt": "Exempt" }),
            json!({ "startDate": "2024-01-01", "type": "Hourly", "exempt": "Non-exempt" }),
        ]);
        let order = order(6_000_050, PayPeriod::Year);
        assert_eq!(
            row(&order, in_force(&known, order.on)),
            json!({
                "startDate": "2026-07-01",
                "rate": { "value": "60000.50", "currency": "USD" },
                "type": "Salary",
                "paidPer": "Year",
                "comment": "Merit",
                "exempt": "Exempt",
            })
        );
    }

    #[test]
    fn another_kind_of_pay_does_not_take_over_what_belongs_to_the_one_before() {
        let known = rows(&[json!({ "startDate": "2025-01-01", "type": "Salary", "exempt": "Exempt" })]);
        let order = order(3_150, PayPeriod::Hour);
        let row = row(&order, in_force(&known, order.on));
        assert_eq!((&row["type"], &row["paidPer"]), (&json!("Hourly"), &json!("Hour")));
        assert_eq!(row.get("exempt"), None);
    }

    #[test]
    fn rates_are_read_as_they_are_and_the_later_row_of_a_day_is_the_last() {
        let known = rows(&[
            json!({ "id": "12", "startDate": "2026-07-01", "rate": { "value": "31.50", "currency": "USD" }, "paidPer": "Hour" }),
            json!({ "id": 7, "startDate": "2026-07-01", "rate": "30.00 USD", "paidPer": "Hour" }),
            json!({ "id": "40", "startDate": "2026-08-01", "rate": "31.2575 USD", "paidPer": "Hour" }),
            json!({ "id": "41", "startDate": "2025-08-01", "rate": "1 USD", "paidPer": "Fortnight and a half" }),
        ]);
        let on = |month, day| Date::from_ymd_opt(2026, month, day).expect("a day");
        let hourly = |minor_units| Personal::Open(order(minor_units, PayPeriod::Hour).rate);
        let read = rates_of(known);
        assert_eq!(
            read.known[1..],
            [
                (on(7, 1), hourly(3_000)),
                (on(7, 1), hourly(3_150)),
                (on(8, 1), Personal::Unreadable)
            ]
        );
        assert!(read.complete && read.known[0].1 == Personal::Unreadable, "{read:?}");
        let without_day = rows(&[json!({ "id": "1", "rate": "30.00 USD", "paidPer": "Hour" })]);
        assert!(!rates_of(without_day).complete);
        let hidden = rates_of(rows(&[
            json!({ "id": "1", "startDate": "2026-07-01", "paidPer": "Hour" }),
        ]));
        assert!(!hidden.complete && hidden.known.is_empty(), "{hidden:?}");
    }

    #[test]
    fn periods_are_read_back_as_they_are_written() {
        for period in [
            PayPeriod::Hour,
            PayPeriod::Day,
            PayPeriod::Week,
            PayPeriod::EveryTwoWeeks,
            PayPeriod::Semimonthly,
            PayPeriod::Month,
            PayPeriod::Quarter,
            PayPeriod::EverySixMonths,
            PayPeriod::Year,
        ] {
            assert_eq!(words::period(paid_per(period)), Some(period));
        }
    }
}
