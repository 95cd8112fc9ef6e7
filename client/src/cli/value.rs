//! What users type for sizes, rates, durations and file numbers, and how such values are shown again.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Bytes. Reads `1500`, `500K`, `1MiB`, `1.5G`; K, M, G and T are powers of 1024, with or without `iB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size(pub(crate) u64);

/// Bytes a second. Reads as [`Size`], with or without `/s`; 0 means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rate(pub(crate) u64);

/// Files of a torrent, numbered from 1 as `sprat show --files` numbers them: `1,3-5`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileNumbers(pub(crate) Vec<RangeInclusive<usize>>);

const SIZE_HELP: &str = "a size is a number, with K, M, G, T (or KiB …) for powers of 1024: 500K, 1.5GiB";
const DURATION_HELP: &str = "a duration is a number with s, m, h or d: 90s, 30m, 1h30m";
const NUMBERS_HELP: &str = "file numbers start from 1: 1,3-5 (see `sprat show --files`)";

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SIZE_HELP.to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err(error()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Self).ok_or_else(error);
        }
        let fraction: f64 = number.parse().map_err(|_| error())?;
        let bytes = fraction * (1u64 << shift) as f64;
        // Above 2^53 a fraction has no meaning; whole numbers went the other way.
        if bytes < (1u64 << 53) as f64 { Ok(Self(bytes as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for Size {
    /// Three significant digits or the exact number of bytes below 1 KiB.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // 999.5 would be shown as 1000.
        while value >= 999.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let decimals = if (value - value.round()).abs() < 0.005 || value >= 99.95 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        };
        write!(f, "{value:.decimals$} {}", UNITS[unit])
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix("/s").unwrap_or(text).parse().map(|Size(bytes)| Self(bytes))
    }
}

impl Rate {
    /// As a limit: 0 is none.
    pub(crate) fn limit(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

/// Reads `90s`, `30m`, `2h`, `1d`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let error = || DURATION_HELP.to_owned();
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let (digits, unit) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?);
        let number: u64 = digits.parse().map_err(|_| error())?;
        let seconds = match unit.as_bytes()[0] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(error()),
        };
        total = number.checked_mul(seconds).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
        rest = &unit[1..];
    }
    // A century is as good as for ever, and far from where adding it to a clock could overflow.
    (total <= 100 * 365 * 86_400).then(|| Duration::from_secs(total)).ok_or_else(error)
}

/// As people say it: `42s`, `3m05s`, `2h10m`, `4d06h`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Reads a ratio of uploaded to wanted bytes: `0`, `1.5`.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("a ratio is a number such as 1.5".to_owned()),
    }
}

impl FromStr for FileNumbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(NUMBERS_HELP.to_owned()),
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first)?..=number(last)?;
            if range.is_empty() { Err(NUMBERS_HELP.to_owned()) } else { Ok(range) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

/// `1 file`, `1,234 files`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `1,234,567`: for people; whatever a program may read has plain digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("12b", 12),
            ("500K", 512_000),
            ("500k", 512_000),
            ("1MiB", 1 << 20),
            ("1 mib", 1 << 20),
            ("1.5G", 3 << 29),
            (".5K", 512),
            ("2T", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in
            ["", "K", "-1", "1KB", "1X", "1.2.3", "99999999999999999999", "99999999T", "1e3", "0x10", "."]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (64 << 20, "64 MiB"),
            (12 * 1024 + 300, "12.3 KiB"),
            (1_048_575, "1 MiB"),
            (123_456_789, "118 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        assert_eq!("500K/s".parse::<Rate>().unwrap().limit(), Some(512_000));
        assert_eq!("1M".parse::<Rate>().unwrap().to_string(), "1 MiB/s");
        assert_eq!("0".parse::<Rate>().unwrap().limit(), None);
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "5x", "-5s", "1.5h", "99999999999999999999s", "99999d", "5ä"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_with_two_units_at_most() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (185, "3m05s"), (7800, "2h10m"), (367_200, "4d06h")] {
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((plural(1, "file"), plural(1234, "file")), ("1 file".into(), "1,234 files".into()));
    }

    #[test]
    fn file_numbers_start_from_one() {
        assert_eq!("1,3-5".parse(), Ok(FileNumbers(vec![1..=1, 3..=5])));
        for text in ["", "0", "1,", "5-3", "a", "1--2", "-1"] {
            assert!(text.parse::<FileNumbers>().is_err(), "{text}");
        }
    }
}
