//! Words that people and their systems write, without their spelling.

use domain::money::PayPeriod;

/// A name without its spelling: `First Name`, `firstName` and `first_name` are one.
pub fn canonical(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// What a rate is paid for.
pub fn period(word: &str) -> Option<PayPeriod> {
    let period = match canonical(word).as_str() {
        "hour" | "hourly" | "perhour" => PayPeriod::Hour,
        "day" | "daily" | "perday" => PayPeriod::Day,
        "week" | "weekly" | "perweek" => PayPeriod::Week,
        "everyotherweek" | "biweekly" | "twoweeks" | "everytwoweeks" | "every2weeks" => PayPeriod::EveryTwoWeeks,
        "twiceamonth" | "semimonthly" | "twicepermonth" => PayPeriod::Semimonthly,
        "month" | "monthly" | "permonth" => PayPeriod::Month,
        "quarter" | "quarterly" | "perquarter" => PayPeriod::Quarter,
        "twiceayear" | "every6months" | "everysixmonths" | "sixmonths" | "semiannually" => PayPeriod::EverySixMonths,
        "year" | "yearly" | "annually" | "annual" | "peryear" => PayPeriod::Year,
        _ => return None,
    };
    Some(period)
}
