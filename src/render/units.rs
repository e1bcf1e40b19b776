//! Spans of time and sizes as text, written and read. What is read is all that Dovecot reads in its settings, and what
//! people type: several parts (`1h 30m`), fractions, units in full.

use std::time::Duration;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Seconds for people: `5.3 d`, `2.0 h`, `90 s`.
pub fn span(seconds: i64) -> String {
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        s if s % DAY == 0 => format!("{} d", seconds / DAY),
        s if s % HOUR == 0 && s < 2 * DAY => format!("{} h", seconds / HOUR),
        120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        7200..172_800 => format!("{:.1} h", seconds as f64 / HOUR as f64),
        _ => format!("{:.1} d", seconds as f64 / DAY as f64),
    }
}

/// Seconds in the largest unit of which there are at least two, rounded up, for narrow columns: `90s`, `7h`, `3d`.
pub fn short_span(seconds: i64) -> String {
    let (unit, size) = match seconds {
        ..=119 => ("s", 1),
        120..=7199 => ("m", 60),
        7200..=172_799 => ("h", HOUR),
        _ => ("d", DAY),
    };
    format!("{}{unit}", seconds.saturating_add(size - 1) / size)
}

/// Bytes for people: `1.2 kB` stands for 1.2 times 1024, as Dovecot's `k` does.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} kB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Bytes in the largest unit of which there are at least ten, for narrow columns: `900`, `12K`, `40M`.
pub fn short_bytes(n: u64) -> String {
    match n {
        0..10_240 => n.to_string(),
        10_240..10_485_760 => format!("{}K", n >> 10),
        10_485_760..10_737_418_240 => format!("{}M", n >> 20),
        _ => format!("{}G", n >> 30),
    }
}

/// Reads a span: parts such as `5 mins`, `1.5h`, `2days`, `500ms`, one after the other. A part needs a unit, which may
/// be cut short as in Dovecot's settings; months and years have no length.
///
/// `None` when it is none, or longer than 2^53 milliseconds.
pub fn read_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, unit, after) = part(rest)?;
        let millis = millis_of(&unit.to_ascii_lowercase())? as f64 * number;
        if millis > (1_u64 << 53) as f64 {
            return None;
        }
        total = total.checked_add(Duration::from_millis(millis.round() as u64))?;
        rest = after.trim_start_matches([' ', ',']);
    }
    Some(total)
}

/// Reads a size in bytes: `4096`, `64k`, `1M`, `1.5 MiB`, `500MB`. As in Dovecot, `k` and `kB` are 1024 bytes.
///
/// `None` when it is none, or too large.
pub fn read_size(text: &str) -> Option<u64> {
    let text = text.trim();
    // Not every whole number is a fraction.
    if let Ok(number) = text.parse::<u64>() {
        return text.starts_with(|c: char| c.is_ascii_digit()).then_some(number);
    }
    let (number, unit, rest) = part(text)?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.as_str() {
        "b" => 0,
        "k" | "kb" | "kib" | "ki" => 10,
        "m" | "mb" | "mib" | "mi" => 20,
        "g" | "gb" | "gib" | "gi" => 30,
        "t" | "tb" | "tib" | "ti" => 40,
        _ => return None,
    };
    let bytes = number * (1_u64 << shift) as f64;
    (rest.is_empty() && bytes < (1_u64 << 63) as f64).then_some(bytes.round() as u64)
}

/// A number, its unit, and what comes after.
fn part(text: &str) -> Option<(f64, &str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    Some((number.parse().ok()?, unit, after))
}

/// Milliseconds of a unit of time.
fn millis_of(unit: &str) -> Option<u64> {
    let is = |names: &[&str]| !unit.is_empty() && names.iter().any(|name| name.starts_with(unit));
    match () {
        () if is(&["secs", "seconds"]) => Some(1000),
        () if is(&["mins", "minutes"]) => Some(60_000),
        () if unit == "ms" || is(&["msecs", "mseconds", "millisecs", "milliseconds"]) => Some(1),
        () if is(&["hrs", "hours"]) => Some(3_600_000),
        () if is(&["days"]) => Some(86_400_000),
        () if is(&["wks", "weeks"]) => Some(604_800_000),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_dovecot_and_people_write_them() {
        for (text, millis) in [
            ("90m", 5_400_000),
            ("5 mins", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("14 days", 1_209_600_000),
            ("1w", 604_800_000),
            ("2D", 172_800_000),
            ("5400 s", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(read_span(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "5", "h", "1 month", "2 mo", "1 year", "5 fortnights", "-1h", "1h x", "1..5h", "99999999999999999w"]
        {
            assert_eq!(read_span(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_as_dovecot_and_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64k", 65_536),
            ("1M", 1 << 20),
            ("1.5 MiB", 3 << 19),
            ("500MB", 500 << 20),
            ("1 T", 1 << 40),
            ("7 B", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(read_size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "+1", "99999999999T", "1 ib", "1k 2k"] {
            assert_eq!(read_size(text), None, "{text}");
        }
    }
}
