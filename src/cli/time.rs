//! Times on the command line.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// A point in time: UNIX seconds, RFC 3339, a date or date and time (UTC), `now`, or a span `ago`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        parse(text, Timestamp::now()).map(Time).ok_or_else(|| {
            format!(
                "{text:?} is no time (expected UNIX seconds, RFC 3339 such as 2026-11-23T03:52:08Z, a date such as \
                 2026-11-23, or a span such as \"3d ago\")"
            )
        })
    }
}

fn parse(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok().map(Timestamp::as_second);
    }
    if text == "now" {
        return Some(now.as_second());
    }
    if let Some(span) = text.strip_suffix("ago") {
        let span: Span = span.trim().parse().ok()?;
        let then: Zoned = now.to_zoned(TimeZone::UTC).checked_sub(span).ok()?;
        return Some(then.timestamp().as_second());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second());
    match (text.parse::<DateTime>(), text.parse::<Date>()) {
        (Ok(time), _) => utc(time),
        (_, Ok(date)) => utc(date.at(0, 0, 0, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time() {
        let now = Timestamp::from_second(1_795_420_800).expect("a time");
        let time = |text: &str| parse(text, now);
        // The expected values are those of `date -u -d ... +%s`.
        assert_eq!(time("1795405928"), Some(1_795_405_928));
        assert_eq!(time("2026-11-23T03:52:08Z"), Some(1_795_405_928));
        assert_eq!(time("2026-11-23 03:52:08Z"), Some(1_795_405_928));
        assert_eq!(time("2026-11-23T05:52:08+02:00"), Some(1_795_405_928));
        assert_eq!(time("2026-11-23 03:52:08"), Some(1_795_405_928));
        assert_eq!(time("2026-11-23"), Some(1_795_392_000));
        assert_eq!(time("now"), Some(1_795_420_800));
        assert_eq!(time("3d ago"), Some(1_795_420_800 - 3 * 86_400));
        assert_eq!(time("1w 2h ago"), Some(1_795_420_800 - 7 * 86_400 - 7200));
        assert_eq!(time("90s ago"), Some(1_795_420_710));
        for bad in ["", "ago", "soon", "2026-13-01", "3 parsecs ago", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
