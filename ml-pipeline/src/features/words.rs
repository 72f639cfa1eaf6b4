//! The values of features in plain words: what is, never why. A missing value says that nothing is on record.

use super::{MANAGER_WEEKS, PROMOTION_YEARS_CAP, RAISE_YEARS_CAP, RECOGNITION_WEEKS, SURVEY_WEEKS_CAP};

/// What a feature is about, for the head of a chart.
pub fn title(name: &str) -> &'static str {
    match name {
        "tenure_years" => "length of employment",
        "tenure_first_year" => "nearness to the seventh month",
        "tenure_vesting_first" => "nearness to the first year's end",
        "tenure_vesting_last" => "nearness to the fourth year's end",
        "tenure_log" => "length of employment, as a logarithm",
        "years_since_raise" => "years since the last raise",
        "last_raise" => "size of the last raise",
        "years_since_promotion" => "years since the last promotion",
        "promotion_overdue" => "years beyond a usual wait for a promotion",
        "years_in_role" => "years in the present job",
        "manager_change_recent" => "recent change of manager",
        "managers" => "managers so far",
        "rating" => "last review rating",
        "rating_top" => "highest review rating",
        "rating_low" => "low review rating",
        "survey_score" => "last survey score",
        "survey_trend" => "survey score against the ones before",
        "survey_weeks" => "weeks since the last survey answer",
        "absence_days" => "days absent in 26 weeks",
        "absence_count" => "absences in 26 weeks",
        "absence_recent" => "recent absences",
        "overtime_minutes" => "overtime in 13 weeks",
        "recognition_recent" => "recent recognition by colleagues",
        "assessment_score" => "last assessment score",
        "assessment_count" => "assessments completed in 26 weeks",
        "on_leave" => "on leave",
        "weekly_hours" => "contractual hours a week",
        "pay_log" => "level of pay",
        "compa_ratio" => "pay against the median of the same job",
        "team_exits" => "recent exits in the team",
        "manager_left" => "manager who is leaving",
        "transfers" => "transfers in a year",
        "month" => "month of the year",
        "season_january" => "January",
        "season_december" => "December",
        "season_after_bonus" => "weeks after bonuses",
        _ => UNTITLED,
    }
}

/// Of a feature that nobody gave a title.
pub const UNTITLED: &str = "a feature without a title";

/// For inputs that are shown as another one.
pub fn unnamed(value: f64) -> String {
    known(value, "not on record", |value| format!("{value:.2}"))
}

pub fn tenure(years: f64) -> String {
    known(years, "length of employment unknown", |years| {
        format!("employed for {}", span(years))
    })
}

pub fn years_since_raise(years: f64) -> String {
    known(years, "no pay on record", |years| {
        waited("raise", years, RAISE_YEARS_CAP)
    })
}

pub fn last_raise(size: f64) -> String {
    known(size, "no raise on record", |size| {
        format!("last raise was {:.1} %", size * 100.0)
    })
}

pub fn years_since_promotion(years: f64) -> String {
    known(years, "no promotion on record", |years| {
        waited("promotion", years, PROMOTION_YEARS_CAP)
    })
}

pub fn compa_ratio(ratio: f64) -> String {
    known(ratio, "no pay of the same job to compare with", |ratio| {
        let percent = (ratio - 1.0).abs() * 100.0;
        if percent < 0.5 {
            "paid like the median of the same job".to_owned()
        } else {
            let side = if ratio < 1.0 { "below" } else { "above" };
            format!("paid {percent:.0} % {side} the median of the same job")
        }
    })
}

pub fn years_in_role(years: f64) -> String {
    known(years, "no job title on record", |years| {
        if years >= PROMOTION_YEARS_CAP {
            format!("in the present job for {PROMOTION_YEARS_CAP} years or more")
        } else {
            format!("in the present job for {}", span(years))
        }
    })
}

pub fn assessment_count(count: f64) -> String {
    known(count, "assessments unknown", |count| {
        format!("{} completed in the last 26 weeks", counted(count, "assessment"))
    })
}

pub fn month(month: f64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let name = MONTHS.get((month as usize).wrapping_sub(1));
    name.map_or_else(|| "month unknown".to_owned(), |name| format!("it is {name}"))
}

pub fn manager_change(recent: f64) -> String {
    ago(
        recent,
        MANAGER_WEEKS,
        "manager changed",
        "no change of manager on record",
    )
}

pub fn managers(count: f64) -> String {
    known(count, "no manager on record", |count| {
        format!("{} so far", counted(count, "manager"))
    })
}

pub fn rating(rating: f64) -> String {
    known(rating, "no review on record", |rating| {
        format!("last review rating {rating:.0} of 5")
    })
}

pub fn survey_score(score: f64) -> String {
    known(score, "no survey answer on record", |score| {
        format!("last survey score {score:.0} of 10")
    })
}

pub fn survey_trend(points: f64) -> String {
    known(points, "fewer than two survey answers on record", |points| {
        if points.abs() < 0.05 {
            "survey score as before".to_owned()
        } else {
            format!(
                "survey score {:.1} {} the average before",
                points.abs(),
                if points < 0.0 { "below" } else { "above" }
            )
        }
    })
}

pub fn survey_weeks(weeks: f64) -> String {
    known(weeks, "no survey answer on record", |weeks| {
        if weeks >= SURVEY_WEEKS_CAP {
            "last answered a survey two years ago or earlier".to_owned()
        } else {
            format!("last answered a survey {}", since(weeks))
        }
    })
}

pub fn absence_days(days: f64) -> String {
    known(days, "absences unknown", |days| {
        format!("absent for {} in the last 26 weeks", counted(days, "day"))
    })
}

pub fn overtime_minutes(minutes: f64) -> String {
    known(minutes, "overtime unknown", |minutes| {
        format!("{:.0} hours of overtime in the last 13 weeks", minutes / 60.0)
    })
}

pub fn recognition(recent: f64) -> String {
    ago(
        recent,
        RECOGNITION_WEEKS,
        "last recognised by a colleague",
        "no recognition on record",
    )
}

pub fn assessment_score(score: f64) -> String {
    known(score, "no assessment on record", |score| {
        format!("last assessment score {score:.0} %")
    })
}

pub fn on_leave(is: f64) -> String {
    either(is, "on leave", "not on leave")
}

pub fn weekly_hours(hours: f64) -> String {
    known(hours, "no weekly hours on record", |hours| {
        format!("works {hours:.0} hours a week")
    })
}

/// Without the amount: not everybody who may see a risk may see pay.
pub fn pay(log: f64) -> String {
    known(log, "no pay on record", |_| "level of pay".to_owned())
}

pub fn transfers(count: f64) -> String {
    known(count, "transfers unknown", |count| {
        format!("{} in the last year", counted(count, "transfer"))
    })
}

/// The exits fade, so that their number is told as it weighs today.
pub fn team_exits(exits: f64) -> String {
    known(exits, "exits in the team unknown", |exits| {
        if exits >= 0.5 {
            format!("{} left lately", counted(exits, "colleague"))
        } else if exits >= 0.05 {
            "a colleague left some months ago".to_owned()
        } else {
            "no colleague left lately".to_owned()
        }
    })
}

pub fn manager_left(recent: f64) -> String {
    ago(
        recent,
        MANAGER_WEEKS,
        "their manager gave notice or left",
        "their manager is not known to leave",
    )
}

pub fn january(is: f64) -> String {
    either(is, "it is January", "it is not January")
}

pub fn december(is: f64) -> String {
    either(is, "it is December", "it is not December")
}

pub fn after_bonus(is: f64) -> String {
    either(
        is,
        "in the weeks after bonuses (weeks 10 to 15)",
        "not in the weeks after bonuses",
    )
}

fn known(value: f64, missing: &str, words: impl FnOnce(f64) -> String) -> String {
    if value.is_finite() {
        words(value)
    } else {
        missing.to_owned()
    }
}

fn either(is: f64, yes: &str, no: &str) -> String {
    (if is >= 0.5 { yes } else { no }).to_owned()
}

fn waited(what: &str, years: f64, cap: f64) -> String {
    if years >= cap {
        format!("no {what} for {cap} years or more")
    } else if years < 1.0 / 24.0 {
        format!("a {what} or the start less than a month ago")
    } else {
        format!("no {what} for {}", span(years))
    }
}

/// A fading value, told as the time that it has been fading for.
fn ago(recent: f64, scale: f64, event: &str, never: &str) -> String {
    if recent > 0.0 {
        format!("{event} {}", since(-recent.ln() * scale))
    } else {
        never.to_owned()
    }
}

fn since(weeks: f64) -> String {
    if weeks < 1.0 {
        "this week".to_owned()
    } else if weeks < 104.0 {
        format!("{} ago", counted(weeks, "week"))
    } else {
        format!("{} ago", span(weeks * 7.0 / super::DAYS_PER_YEAR))
    }
}

fn span(years: f64) -> String {
    let months = years * 12.0;
    if months < 18.0 {
        counted(months, "month")
    } else {
        format!("{years:.1} years")
    }
}

fn counted(count: f64, what: &str) -> String {
    let count = count.round();
    format!("{count:.0} {what}{}", if count == 1.0 { "" } else { "s" })
}
