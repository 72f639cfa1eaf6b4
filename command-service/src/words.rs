//! Words that people and their systems write, without their spelling.

use domain::{
    employee::{Voluntariness, WeeklyMinutes},
    money::{Currency, Money, NotMoney, PayPeriod},
};

const MINUTES_PER_WEEK_MAX: f64 = 7.0 * 24.0 * 60.0;

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

/// An amount such as `55000.00`. The flag: it was rounded to the currency's minor unit, as hourly rates often must.
pub fn money(amount: &str, currency: Currency) -> Result<(Money, bool), NotMoney> {
    match Money::parse(amount, currency) {
        Err(NotMoney::TooPrecise(_)) => rounded(amount, currency).map(|money| (money, true)),
        money => money.map(|money| (money, false)),
    }
}

/// Half up. Only called for amounts with more decimals than the currency has.
fn rounded(amount: &str, currency: Currency) -> Result<Money, NotMoney> {
    let digits = currency.minor_digits() as usize;
    let (whole, fraction) = amount.split_once('.').ok_or(NotMoney::Amount)?;
    let up = fraction.as_bytes().get(digits).is_some_and(|digit| *digit >= b'5');
    let mut money = Money::parse(
        &format!("{whole}.{}", fraction.get(..digits).unwrap_or_default()),
        currency,
    )?;
    money.minor_units = money.minor_units.checked_add(i64::from(up)).ok_or(NotMoney::TooLarge)?;
    Ok(money)
}

/// Weekly hours such as `37.5`; zero means that none are agreed.
pub fn weekly_minutes(hours: &str) -> Result<Option<WeeklyMinutes>, ()> {
    if hours.is_empty() {
        return Ok(None);
    }
    let minutes = (hours.parse::<f64>().map_err(|_| ())? * 60.0).round();
    if minutes == 0.0 {
        return Ok(None);
    }
    // The range makes the cast exact; NaN and infinity are outside.
    if (1.0..=MINUTES_PER_WEEK_MAX).contains(&minutes) {
        Ok(Some(WeeklyMinutes(minutes as u16)))
    } else {
        Err(())
    }
}

/// Who wanted the ending, from its type and its reason. A reason that tells of retirement or death is more exact than a
/// type that says "voluntary".
pub fn voluntariness(kind: &str, reason: &str) -> Voluntariness {
    match (word_of(kind), word_of(reason)) {
        (
            Voluntariness::Voluntary | Voluntariness::Unknown,
            exact @ (Voluntariness::Retirement | Voluntariness::Death),
        ) => exact,
        (Voluntariness::Unknown, by_reason) => by_reason,
        (by_kind, _) => by_kind,
    }
}

fn word_of(text: &str) -> Voluntariness {
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["death", "deceased"]) {
        Voluntariness::Death
    } else if says(&["retire"]) {
        Voluntariness::Retirement
    } else if says(&["involuntary", "dismiss", "laid off", "layoff", "lay-off", "redundan"]) {
        Voluntariness::Involuntary
    } else if says(&["voluntary", "resign", "quit"]) {
        Voluntariness::Voluntary
    } else {
        Voluntariness::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_endings_are_read_in_the_words_of_people() {
        for (text, minutes) in [
            ("40", Ok(Some(2_400))),
            ("37.5", Ok(Some(2_250))),
            ("", Ok(None)),
            ("0", Ok(None)),
        ] {
            assert_eq!(
                weekly_minutes(text),
                minutes.map(|m: Option<u16>| m.map(WeeklyMinutes)),
                "{text}"
            );
        }
        for text in ["169", "-1", "NaN", "inf", "forty"] {
            assert_eq!(weekly_minutes(text), Err(()), "{text}");
        }
        for (kind, reason, expected) in [
            ("Voluntary", "", Voluntariness::Voluntary),
            ("Resignation (Voluntary)", "", Voluntariness::Voluntary),
            ("Termination (Involuntary)", "Performance", Voluntariness::Involuntary),
            ("", "Resignation", Voluntariness::Voluntary),
            ("Voluntary", "Retirement", Voluntariness::Retirement),
            ("Death", "", Voluntariness::Death),
            ("Involuntary", "Retirement", Voluntariness::Involuntary),
            ("12", "7", Voluntariness::Unknown),
            ("", "", Voluntariness::Unknown),
        ] {
            assert_eq!(voluntariness(kind, reason), expected, "{kind}/{reason}");
        }
    }
}
