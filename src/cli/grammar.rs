//! The one grammar for times, spans, sizes and UID sets on the command line. What is not understood is answered with
//! what is.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time as Clock};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::model::UidSet;
use crate::render::units::{read_size, read_span};

/// What every option that takes a time says when it does not understand one.
const TIMES: &str = "expected UNIX seconds, RFC 3339 such as 2026-11-23T03:52:08Z, a local time such as \
    \"2026-11-23 03:52\", \"03:52\" or \"Nov 23 03:52:08\", now, today, yesterday, or a span such as \"3d ago\"";
/// The same for spans.
const SPANS: &str = "expected seconds, or a span such as 90s, 5 mins, 1h 30m, 3d, \"2 days\" or 1w";
/// The same for sizes.
const SIZES: &str = "expected bytes, or a size such as 64k, 1M, \"1.5 MiB\" or 500MB";
/// The same for UID sets.
const SETS: &str = "expected a set as in IMAP, such as 7, 1:3,7 or 4088:*";
/// Seconds below which a bare number is a span where both a span and a time may stand.
const FIRST_POINT: i64 = 1_000_000_000;

/// A point in time, UNIX seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

/// A span, or a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Seconds.
    Span(i64),
    /// UNIX seconds.
    At(i64),
}

/// Reads a time.
///
/// # Errors
/// What is understood.
pub fn time(text: &str) -> Result<Time, String> {
    read_time(text, Timestamp::now(), &TimeZone::system())
        .map(Time)
        .ok_or_else(|| format!("{text:?} is no time ({TIMES})"))
}

/// Reads a span; a bare number is seconds.
///
/// # Errors
/// What is understood.
pub fn span(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<u64>().ok().map(Duration::from_secs);
    let limit = Duration::from_secs(1 << 40);
    seconds
        .or_else(|| read_span(text))
        .filter(|span| *span <= limit)
        .ok_or_else(|| format!("{text:?} is no span ({SPANS})"))
}

/// Reads a span in whole seconds.
///
/// # Errors
/// What is understood.
pub fn seconds(text: &str) -> Result<u64, String> {
    span(text).map(|span| span.as_secs())
}

/// Reads a span or a time. A bare number is seconds up to 999999999, and UNIX seconds from there on.
///
/// # Errors
/// What is understood.
pub fn when(text: &str) -> Result<When, String> {
    match text.trim().parse::<i64>() {
        Ok(seconds @ 0..FIRST_POINT) => return Ok(When::Span(seconds)),
        Ok(seconds) if seconds >= FIRST_POINT => return Ok(When::At(seconds)),
        Ok(_) => return Err(format!("{text:?}: a time cannot be negative")),
        Err(_) => {}
    }
    if matches!(text.trim(), "unlimited" | "infinite") {
        return Ok(When::Span(i64::from(u32::MAX)));
    }
    if let Some(span) = read_span(text).and_then(|span| i64::try_from(span.as_secs()).ok()) {
        return if span <= i64::from(u32::MAX) { Ok(When::Span(span)) } else { Err(format!("{text:?} is too long")) };
    }
    time(text).map(|Time(at)| When::At(at)).map_err(|_| format!("{text:?} is neither span nor time ({SPANS}; {TIMES})"))
}

/// Reads a size in bytes.
///
/// # Errors
/// What is understood.
pub fn size(text: &str) -> Result<u64, String> {
    if matches!(text.trim(), "unlimited" | "infinite") {
        return Ok(u64::MAX);
    }
    read_size(text).ok_or_else(|| format!("{text:?} is no size ({SIZES})"))
}

/// Reads a set of UIDs or sequence numbers.
///
/// # Errors
/// What is understood.
pub fn set(text: &str) -> Result<UidSet, String> {
    text.parse().map_err(|_| format!("{text:?} is no set of UIDs ({SETS})"))
}

impl When {
    /// Seconds until then.
    ///
    /// # Errors
    /// When it is past.
    pub fn ahead(self, now: i64) -> Result<i64, String> {
        match self {
            When::Span(seconds) => Ok(seconds),
            When::At(at) if at > now => Ok(at - now),
            When::At(_) => Err("that time is not in the future".into()),
        }
    }

    /// Seconds since then.
    ///
    /// # Errors
    /// When it is to come.
    pub fn back(self, now: i64) -> Result<i64, String> {
        match self {
            When::Span(seconds) => Ok(seconds),
            When::At(at) if at <= now => Ok(now - at),
            When::At(_) => Err("that time is in the future".into()),
        }
    }
}

/// Reads a time as it is at `now`; what names no zone is in `zone`.
fn read_time(text: &str, now: Timestamp, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.strip_prefix('@').unwrap_or(text).parse::<i64>() {
        return Timestamp::from_second(seconds).ok().map(Timestamp::as_second);
    }
    let today = now.to_zoned(zone.clone()).date();
    let local = |time: DateTime| time.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp().as_second());
    match text {
        "now" => return Some(now.as_second()),
        "today" => return local(today.at(0, 0, 0, 0)),
        "yesterday" => return local(today.yesterday().ok()?.at(0, 0, 0, 0)),
        _ => {}
    }
    if let Some(span) = read_span(text.strip_suffix("ago").unwrap_or(text)) {
        return now.as_second().checked_sub(i64::try_from(span.as_secs()).ok()?);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    // A clock time alone must not be taken for a part of a date.
    if let Some(clock) = text.contains(':').then(|| text.parse::<Clock>().ok()).flatten() {
        return local(today.to_datetime(clock));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return local(time);
    }
    if let Ok(date) = text.parse::<Date>() {
        return local(date.at(0, 0, 0, 0));
    }
    mail_log_time(text, today).and_then(local)
}

/// `Nov 26 05:34:20`, as syslog writes it: without a year, so it is of the last twelve months.
fn mail_log_time(text: &str, today: Date) -> Option<DateTime> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [month, day, clock] = words.as_slice() else { return None };
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    let (month, day): (i8, i8) = (i8::try_from(month).ok()? + 1, day.parse().ok()?);
    let clock: Clock = clock.contains(':').then(|| clock.parse().ok()).flatten()?;
    let tomorrow = today.tomorrow().ok()?;
    let of = |year: i16| Date::new(year, month, day).ok();
    let date = of(today.year()).filter(|date| *date <= tomorrow);
    let earlier = || (1..=8_i16).find_map(|years| of(today.checked_sub(i64::from(years).years()).ok()?.year()));
    date.or_else(earlier).map(|date| date.to_datetime(clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time() {
        let now = Timestamp::from_second(1_795_420_800).expect("a time");
        let time = |text: &str| read_time(text, now, &TimeZone::UTC);
        // The expected values are those of `date -u -d ... +%s`.
        for text in [
            "1795405928",
            "@1795405928",
            "2026-11-23T03:52:08Z",
            "2026-11-23 03:52:08Z",
            "2026-11-23T05:52:08+02:00",
            "2026-11-23T05:52:08+0200",
            "2026-11-23T05:52:08.250+02:00",
            "2026-11-23 03:52:08",
            "2026-11-23T03:52:08",
            "Nov 23 03:52:08",
            "03:52:08",
        ] {
            assert_eq!(time(text), Some(1_795_405_928), "{text}");
        }
        assert_eq!(time("2026-11-23 03:52"), Some(1_795_405_920));
        assert_eq!(time("03:52"), Some(1_795_405_920));
        assert_eq!(time("2026-11-23"), Some(1_795_392_000));
        assert_eq!(time("today"), Some(1_795_392_000));
        assert_eq!(time("yesterday"), Some(1_795_392_000 - 86_400));
        assert_eq!(time("now"), Some(1_795_420_800));
        assert_eq!(time("Dec  1 00:00:00"), Some(1_764_547_200));
        for (text, back) in [
            ("3d ago", 3 * 86_400),
            ("3d", 3 * 86_400),
            ("2 days", 2 * 86_400),
            ("1w 2h ago", 7 * 86_400 + 7200),
            ("90s ago", 90),
            ("5 mins", 300),
        ] {
            assert_eq!(time(text), Some(1_795_420_800 - back), "{text}");
        }
        let bad =
            ["", "ago", "soon", "2026-13-01", "3 parsecs ago", "1 month ago", "25:00", "Nov 23", "Foo 23 01:02:03"];
        for bad in bad.into_iter().chain(["99999999999999999999", "9223372036854775807"]) {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_has_no_zone_is_local() {
        let now = Timestamp::from_second(1_795_420_800).expect("a time");
        let zone = TimeZone::fixed(jiff::tz::offset(5));
        assert_eq!(read_time("2026-11-23 08:52:08", now, &zone), Some(1_795_405_928));
        assert_eq!(read_time("2026-11-23T03:52:08Z", now, &zone), Some(1_795_405_928));
        assert_eq!(read_time("1795405928", now, &zone), Some(1_795_405_928));
    }

    #[test]
    fn bare_numbers() {
        assert_eq!(span("30"), Ok(Duration::from_secs(30)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("2d"), Ok(172_800));
        assert_eq!(when("3600"), Ok(When::Span(3600)));
        assert_eq!(when("1795405928"), Ok(When::At(1_795_405_928)));
        assert_eq!(when("14 days"), Ok(When::Span(1_209_600)));
        assert!(when("-1").is_err() && span("-1").is_err() && size("-1").is_err() && set("x").is_err());
        assert!(span("1 month").is_err_and(|error| error.contains("1h 30m")));
    }
}
