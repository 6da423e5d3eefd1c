//! Days and times as people write them.
//!
//! Seconds are counted from 1970-01-01 in the zone that the reader lives in: whoever asks has added
//! what local time is ahead of UTC.

const DAY_SECS: i64 = 24 * 60 * 60;

/// Months as C's `ctime` writes them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The first of these days is 1970-01-01.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A second of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Time {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: usize,
    /// The day of the month, from 1.
    pub day: i64,
    /// The hour of the day.
    pub hour: i64,
    /// The minute of the hour.
    pub minute: i64,
    /// The second of the minute.
    pub second: i64,
    days: i64,
}

impl Time {
    /// The time at a second since 1970. Years beyond 9999 are 9999.
    pub fn of(secs: i64) -> Time {
        const SECS_MAX: i64 = 253_402_300_799;
        let secs = secs.clamp(0, SECS_MAX);
        let (days, rest) = (secs / DAY_SECS, secs % DAY_SECS);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        Time { year, month, day, hour, minute, second, days }
    }

    /// The month in three letters.
    pub fn month_name(&self) -> &'static str {
        MONTHS[self.month - 1]
    }

    /// The day of the week in three letters.
    pub fn weekday_name(&self) -> &'static str {
        WEEKDAYS[(self.days % 7) as usize]
    }
}

/// Year, month and day of a day since 1970. Years begin in March here, so that the day that some
/// lack is the last one.
fn date(days: i64) -> (i64, usize, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, told, weekday) in [
            (0, (1970, 1, 1), "Thu"),
            (59, (1970, 3, 1), "Sun"),
            (11_016, (2000, 2, 29), "Tue"),
            (11_017, (2000, 3, 1), "Wed"),
            (20_453, (2025, 12, 31), "Wed"),
            (20_779, (2026, 11, 22), "Sun"),
            (47_540, (2100, 2, 28), "Sun"),
            (47_541, (2100, 3, 1), "Mon"),
        ] {
            let time = Time::of(days * DAY_SECS + 3661);
            assert_eq!((time.year, time.month, time.day), told, "{days}");
            assert_eq!((time.hour, time.minute, time.second), (1, 1, 1));
            assert_eq!(time.weekday_name(), weekday, "{days}");
        }
        assert_eq!(Time::of(59 * DAY_SECS).month_name(), "Mar");
        assert_eq!(Time::of(i64::MAX).year, 9999);
        assert_eq!(Time::of(-1), Time::of(0));
    }
}
