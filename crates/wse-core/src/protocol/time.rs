//! Times as text: ISO 8601 with milliseconds, in UTC.

/// `2026-01-31T23:59:59.999Z` for milliseconds since 1970-01-01; what is later than the year 9999 is its last moment.
#[must_use]
pub fn iso8601(unix_ms: u64) -> String {
    let unix_ms = unix_ms.min(253_402_300_799_999);
    let (days, ms) = ((unix_ms / 86_400_000) as i64, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    // Each event has one of these, and `format!` takes twenty times as long.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut pair = |at: usize, number: u64| {
        text[at] += (number / 10) as u8;
        text[at + 1] += (number % 10) as u8;
    };
    pair(0, year as u64 / 100);
    pair(2, year as u64 % 100);
    pair(5, month as u64);
    pair(8, day as u64);
    pair(11, ms / 3_600_000);
    pair(14, ms / 60_000 % 60);
    pair(17, ms / 1000 % 60);
    pair(20, ms % 1000 / 10);
    text[22] += (ms % 10) as u8;
    String::from_utf8(text.to_vec()).expect("digits and what is between them are text")
}

/// The same for seconds before or after 1970 and nanoseconds within them, with as many digits as they need; `None` for what is not in the
/// years 0 to 9999, or for more than a second of nanoseconds.
#[must_use]
pub fn iso8601_of(seconds: i64, nanoseconds: u32) -> Option<String> {
    // The first moment of year 0 and the last second of 9999.
    if !(-62_167_219_200..=253_402_300_799).contains(&seconds) || nanoseconds >= 1_000_000_000 {
        return None;
    }
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanoseconds.is_multiple_of(1_000_000) {
        text.push_str(&format!(".{:03}", nanoseconds / 1_000_000));
    } else if nanoseconds.is_multiple_of(1000) {
        text.push_str(&format!(".{:06}", nanoseconds / 1000));
    } else {
        text.push_str(&format!(".{nanoseconds:09}"));
    }
    text.push('Z');
    Some(text)
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day is the last of them and every month before it has a fixed length.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(iso8601(1_795_448_941_607), "2026-11-23T15:49:01.607Z");
        assert_eq!(iso8601(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(iso8601(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(iso8601(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn moments_of_any_year_with_four_digits() {
        let text = |seconds, nanoseconds| iso8601_of(seconds, nanoseconds).unwrap_or_default();
        assert_eq!(text(0, 0), iso8601(0));
        assert_eq!(text(1_795_448_941, 607_000_000), iso8601(1_795_448_941_607));
        assert_eq!(text(-1, 1000), "1969-12-31T23:59:59.000001Z");
        assert_eq!(text(253_402_300_799, 999_999_999), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(text(-62_167_219_200, 0), "0000-01-01T00:00:00.000Z");
        for (seconds, nanoseconds) in [(253_402_300_800, 0), (-62_167_219_201, 0), (0, 1_000_000_000)] {
            assert_eq!(iso8601_of(seconds, nanoseconds), None);
        }
    }
}
