//! The days on which companies let people begin and end.

use chrono::{Datelike, Days, Months};
use domain::Date;

use super::{
    draw::Random,
    process::{EXITS_AT_MONTH_END, HIRES_ON_THE_DAY},
};

/// In how many weeks after the week of `monday` a place is filled that could be after `weeks`.
pub fn weeks_to_start(monday: Date, weeks: u32, random: &mut Random) -> u32 {
    let exact = random.happens(HIRES_ON_THE_DAY);
    let has_the_day = |weeks: &u32| {
        // A place that is empty for no week more is filled a week after it was left.
        let monday = monday + Days::new(7 * (u64::from(*weeks) + 1));
        is_the_day(first_day(monday))
    };
    if exact {
        (weeks..weeks + 5).find(has_the_day).unwrap_or(weeks)
    } else {
        weeks
    }
}

/// The 1st or the 15th if it is in the week of `monday`, else the Monday.
pub fn first_day(monday: Date) -> Date {
    let mut days = monday.iter_days().take(7);
    days.find(|day| is_the_day(*day)).unwrap_or(monday)
}

fn is_the_day(day: Date) -> bool {
    matches!(day.day(), 1 | 15)
}

/// The last day of work of somebody who could go after `earliest`.
pub fn last_day(earliest: Date, random: &mut Random) -> Date {
    if random.happens(EXITS_AT_MONTH_END) {
        month_end(earliest)
    } else {
        earliest
    }
}

/// The last day of the month of `day`.
pub fn month_end(day: Date) -> Date {
    let next_month = day
        .with_day(1)
        .and_then(|first| first.checked_add_months(Months::new(1)));
    next_month.and_then(|first| first.pred_opt()).unwrap_or(day)
}
