//! Creation dates: read from RFC 3339, seconds since 1970 or `none`, shown as UTC.

use std::str::FromStr;

/// `--date`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Date(
    /// Seconds since 1970; `None`: no date.
    pub(crate) Option<i64>,
);

const HELP: &str = "a date is RFC 3339 (2026-01-31T12:00:00Z), seconds since 1970, or none";

/// 31 December 9999, the last that RFC 3339 can write.
const MAX_SECONDS: i64 = 253_402_300_799;

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let seconds = text.parse().ok().or_else(|| rfc3339(text));
        match seconds.filter(|seconds| (0..=MAX_SECONDS).contains(seconds)) {
            Some(seconds) => Ok(Self(Some(seconds))),
            None => Err(HELP.to_owned()),
        }
    }
}

/// `2026-01-31 12:00:00 UTC`; a number beyond what a date can be as it is.
pub(crate) fn show(seconds: i64) -> String {
    if !(0..=MAX_SECONDS).contains(&seconds) {
        return format!("{seconds} seconds since 1970");
    }
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", time / 3600, time / 60 % 60, time % 60)
}

/// `2026-01-31T12:00:00Z` (RFC 3339); a number beyond what a date can be as it is.
pub(crate) fn rfc3339_of(seconds: i64) -> String {
    show(seconds).replacen(' ', "T", 1).replace(" UTC", "Z")
}

/// Reads `YYYY-MM-DDThh:mm:ss[.fff](Z|±hh:mm)` (RFC 3339 section 5.6; a blank may stand for the T).
fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let byte = |at: usize| text.as_bytes().get(at).copied();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let separators = [byte(4)?, byte(7)?, byte(10)?.to_ascii_uppercase(), byte(13)?, byte(16)?];
    if !matches!(&separators, b"--T::" | b"-- ::") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day)?;
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0)?;
        zone = &fraction[end..];
    }
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let pair = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (pair(h1, h2), pair(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days since 1 January 1970 of a date that exists (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let year_of_march = year - i64::from(month <= 2);
    let era = year_of_march.div_euclid(400);
    let year_of_era = year_of_march.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    // 31 February comes out as a day of March.
    (civil(days) == (year, month, day)).then_some(days)
}

/// The inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_march + 2) / 5 + 1;
    let month = (month_of_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_shown_alike() {
        for (text, seconds, shown) in [
            ("0", 0, "1970-01-01 00:00:00 UTC"),
            ("951782400", 951_782_400, "2000-02-29 00:00:00 UTC"),
            ("2000-02-29T00:00:00Z", 951_782_400, "2000-02-29 00:00:00 UTC"),
            ("2000-02-29t01:30:00.25+01:30", 951_782_400, "2000-02-29 00:00:00 UTC"),
            ("2000-02-28 23:00:00-01:00", 951_782_400, "2000-02-29 00:00:00 UTC"),
            ("9999-12-31T23:59:59Z", MAX_SECONDS, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(text.parse(), Ok(Date(Some(seconds))), "{text}");
            assert_eq!(show(seconds), shown);
        }
        assert_eq!("none".parse(), Ok(Date(None)));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "yesterday",
            "-1",
            "2001-02-29T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-01-01T24:00:00Z",
            "2001-01-01T00:00:00",
            "2001-01-01",
            "2001-01-01T00:00:00.Z",
            "2001-01-01T00:00:00+1:00",
            "+001-01-01T00:00:00Z",
            "2001-01-01T00:00:00Zä",
            "ä001-01-01T00:00:00Z",
            "99999999999999999",
        ] {
            assert_eq!(text.parse::<Date>(), Err(HELP.to_owned()), "{text}");
        }
    }
}
