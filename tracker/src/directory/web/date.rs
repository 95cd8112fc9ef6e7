//! Days as people write them. Pure.

/// Seconds of a day.
const DAY: u64 = 86_400;

/// `2026-11-29` of a time in seconds since 1970.
pub(super) fn day(epoch: u64) -> String {
    let (year, month, day) = civil(epoch / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-29T18:17:58Z`.
pub(super) fn rfc3339(epoch: u64) -> String {
    let second = epoch % DAY;
    format!("{}T{:02}:{:02}:{:02}Z", day(epoch), second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of a day, or of a number of them.
pub(super) fn parse(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let mut parts = text.splitn(3, '-');
    let mut number = || parts.next()?.parse::<u32>().ok();
    let (year, month, day) = (number()?, number()?, number()?);
    let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    is_date.then(|| days(year.into(), month.into(), day.into()) * DAY)
}

/// "3 hours ago", "2 days ago".
pub(super) fn ago(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..DAY => (seconds / 3600, "hour"),
        _ if seconds < 60 * DAY => (seconds / DAY, "day"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// Year, month and day of a day counted from 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way round.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_there_and_back() {
        for (epoch, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_910_400, "2026-11-29"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!((day(epoch).as_str(), parse(text)), (text, Some(epoch)));
        }
        assert_eq!(rfc3339(1_795_910_400 + 65_878), "2026-11-29T18:17:58Z");
        assert_eq!(parse("86401"), Some(86_401));
        for nonsense in ["", "yesterday", "2026-13-01", "2026-1", "1969-01-01", "-5", "99999-01-01"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn how_long_ago_in_words() {
        for (seconds, text) in [
            (5, "just now"),
            (60, "1 minute ago"),
            (7200, "2 hours ago"),
            (40 * DAY, "40 days ago"),
            (800 * DAY, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
    }
}
