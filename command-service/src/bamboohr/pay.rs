//! Changes of pay: rows of the table `compensation` (facts/connectors.md A6).

use domain::{Date, money::PayPeriod};
use serde_json::{Map, Value, json};

use super::client::{Client, Row, Table, Whose};
use crate::{payroll::Order, source::SourceProblem, words};

/// Adds a row, or changes the one that begins on the day. How somebody is paid besides the rate stays as it is in the row before, as far as
/// it fits.
///
/// # Errors
/// When BambooHR cannot be asked or refuses: 409 when its payroll forbids it, 412 without an active pay schedule.
pub async fn submit(client: &Client, remote_id: &str, order: &Order) -> Result<(), SourceProblem> {
    let rows = client.table(Whose::One(remote_id), Table::Compensation).await?;
    let row = row(order, in_force(&rows, order.on));
    let replaced = order.instead_of.and_then(|_| row_id(&rows, order.on));
    match replaced {
        Some(id) => client.change_row(remote_id, (Table::Compensation, &id), &row).await,
        None => client.add_row(remote_id, Table::Compensation, &row).await,
    }
}

/// Of two rows for one day the later one counts, as for whoever reads.
fn row_id(rows: &[Row], on: Date) -> Option<String> {
    let row = rows
        .iter()
        .filter(|row| day(row) == Some(on))
        .max_by_key(|row| number(row))?;
    number(row).map(|id| id.to_string())
}

fn number(row: &Row) -> Option<u64> {
    match row.get("id")? {
        Value::String(text) => text.trim().parse().ok(),
        id => id.as_u64(),
    }
}

fn day(row: &Row) -> Option<Date> {
    row.get("startDate")?.as_str()?.trim().parse().ok()
}

fn in_force(rows: &[Row], on: Date) -> Option<&Row> {
    rows.iter()
        .filter(|row| day(row).is_some_and(|day| day <= on))
        .max_by_key(|row| day(row))
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
    fn the_row_to_be_replaced_is_the_last_of_its_day() {
        let known = rows(&[
            json!({ "id": "7", "startDate": "2026-07-01" }),
            json!({ "id": 12, "startDate": "2026-07-01" }),
            json!({ "id": "40", "startDate": "2026-08-01" }),
        ]);
        let on = |day| Date::from_ymd_opt(2026, 7, day).expect("a day");
        assert_eq!(row_id(&known, on(1)).as_deref(), Some("12"));
        assert_eq!(row_id(&known, on(2)), None);
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
