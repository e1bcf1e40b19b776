//! The settings that govern rotation, Dovecot's ways to write them, and what each version makes of them
//! (`mail-storage-settings.c`, `mail-index.c:mail_index_set_optimization_settings`, `mail-transaction-log.c`).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Seconds in a day.
pub const DAY: i64 = 86_400;
/// Seconds in an hour.
pub const HOUR: i64 = 3_600;

/// The settings, as Dovecot uses them. Names in JSON are those of `dovecot.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Settings {
    /// Bytes: a smaller log is not rotated.
    #[serde(rename = "mail_index_log_rotate_min_size")]
    pub min_size: u64,
    /// Bytes: a larger log is rotated whatever its age.
    #[serde(rename = "mail_index_log_rotate_max_size")]
    pub max_size: u64,
    /// Seconds: a younger log is not rotated unless it is larger than `max_size`.
    #[serde(rename = "mail_index_log_rotate_min_age")]
    pub min_age: i64,
    /// Seconds after the rotation from which on a sync unlinks `.log.2`.
    #[serde(rename = "mail_index_log2_max_age")]
    pub log2_max_age: i64,
    /// Bytes of log read at open above which `dovecot.index` is rewritten.
    #[serde(rename = "mail_index_rewrite_min_log_bytes")]
    pub rewrite_min: u64,
    /// Bytes of log above which `dovecot.index` is rewritten in any case.
    #[serde(rename = "mail_index_rewrite_max_log_bytes")]
    pub rewrite_max: u64,
}

impl Default for Settings {
    /// The defaults of every Dovecot from 2.0 to 2.4.
    fn default() -> Settings {
        Settings {
            min_size: 32 << 10,
            max_size: 1 << 20,
            min_age: 300,
            log2_max_age: 2 * DAY,
            rewrite_min: 8 << 10,
            rewrite_max: 128 << 10,
        }
    }
}

/// The name of a setting, its value as it would be written in `dovecot.conf`.
pub type Line = (&'static str, String);

impl Settings {
    /// Changes one setting. A value of 0 leaves the built-in default, as in Dovecot.
    ///
    /// # Errors
    /// When the value cannot be read. `Ok(false)` when `name` is another setting.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let defaults = Settings::default();
        let size = |target: &mut u64, default: u64| {
            parse_size(value).map(|bytes| *target = if bytes == 0 { default } else { bytes })
        };
        let time = |target: &mut i64, default: i64| {
            parse_interval(value).map(|seconds| *target = if seconds == 0 { default } else { seconds })
        };
        match name {
            "mail_index_log_rotate_min_size" => size(&mut self.min_size, defaults.min_size),
            "mail_index_log_rotate_max_size" => size(&mut self.max_size, defaults.max_size),
            "mail_index_log_rotate_min_age" => time(&mut self.min_age, defaults.min_age),
            "mail_index_log2_max_age" => time(&mut self.log2_max_age, defaults.log2_max_age),
            "mail_index_rewrite_min_log_bytes" => size(&mut self.rewrite_min, defaults.rewrite_min),
            "mail_index_rewrite_max_log_bytes" => size(&mut self.rewrite_max, defaults.rewrite_max),
            _ => return Ok(false),
        }
        .map(|()| true)
        .map_err(|error| format!("{name} = {value}: {error}"))
    }

    /// The settings that differ from the defaults, as lines of `dovecot.conf`. 2.3 and 2.4 read the same syntax here.
    pub fn lines(&self) -> Vec<Line> {
        let defaults = Settings::default();
        let mut lines = Vec::new();
        let mut size = |name, value: u64, default: u64| {
            if value != default {
                lines.push((name, size_text(value)));
            }
        };
        size("mail_index_log_rotate_min_size", self.min_size, defaults.min_size);
        size("mail_index_log_rotate_max_size", self.max_size, defaults.max_size);
        size("mail_index_rewrite_min_log_bytes", self.rewrite_min, defaults.rewrite_min);
        size("mail_index_rewrite_max_log_bytes", self.rewrite_max, defaults.rewrite_max);
        let mut time = |name, value: i64, default: i64| {
            if value != default {
                lines.push((name, interval_text(value)));
            }
        };
        time("mail_index_log_rotate_min_age", self.min_age, defaults.min_age);
        time("mail_index_log2_max_age", self.log2_max_age, defaults.log2_max_age);
        lines
    }

    /// What of these settings cannot work as it reads.
    pub fn contradictions(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.min_size > self.max_size {
            list.push(format!(
                "mail_index_log_rotate_min_size {} is above mail_index_log_rotate_max_size {}: a log is rotated as \
                 soon as it \
                 exceeds the latter, and min_size and min_age never count",
                size_text(self.min_size),
                size_text(self.max_size)
            ));
        }
        if self.max_size >= 1 << 32 {
            list.push(format!(
                "mail_index_log_rotate_max_size {} is beyond 4 GiB, where log offsets end: Dovecot cannot use a log \
                 that long",
                size_text(self.max_size)
            ));
        }
        if self.rewrite_min > self.rewrite_max {
            list.push(format!(
                "mail_index_rewrite_min_log_bytes {} is above mail_index_rewrite_max_log_bytes {}: only the latter \
                 counts",
                size_text(self.rewrite_min),
                size_text(self.rewrite_max)
            ));
        }
        list
    }
}

/// Reads `doveconf -n` output or a plain `dovecot.conf` of 2.3 or 2.4. Settings outside of any block count, and those
/// within `protocol imap { }`, which IMAP sessions have instead wherever they stand (a filter outranks what is global):
/// sessions sync far more often than the other processes, so it is they who rotate. What other blocks hold is for some
/// mailboxes, clients or processes only and is left out. Returns the remarks a user should see: each setting within a
/// block with its line, values of 0, and files that are included and not read.
///
/// # Errors
/// When a value cannot be read.
pub fn read_config(text: &str, settings: &mut Settings) -> Result<Vec<String>, String> {
    let mut remarks: Vec<(usize, String)> = Vec::new();
    let mut blocks: Vec<String> = Vec::new();
    let mut of_imap: Vec<(usize, &str, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = without_comment(line).trim();
        if let Some(name) = line.strip_suffix('{') {
            blocks.push(name.split_whitespace().collect::<Vec<_>>().join(" "));
            continue;
        }
        if line == "}" {
            blocks.pop();
            continue;
        }
        if line.starts_with("!include") {
            let remark = format!("{line} is not read; the output of doveconf -n has it all");
            remarks.push((number, remark));
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), unquoted(value.trim()));
        let mut scratch = *settings;
        if !scratch.set(name, value).map_err(|error| format!("line {number}: {error}"))? {
            continue;
        }
        match blocks.as_slice() {
            [] => {
                if is_zero(value) {
                    remarks.push((number, format!("{name} = {value} means the built-in default")));
                }
                *settings = scratch;
            }
            [block] if block == "protocol imap" => of_imap.push((number, name, value)),
            blocks => {
                let place = blocks.join(" { ");
                let ends = " }".repeat(blocks.len());
                let remark = format!(
                    "{name} = {value} within {place} {{{ends} is left out: it is not for all mailboxes and sessions"
                );
                remarks.push((number, remark));
            }
        }
    }
    for (number, name, value) in of_imap {
        settings.set(name, value).map_err(|error| format!("line {number}: {error}"))?;
        let zero = if is_zero(value) { ", and means the built-in default" } else { "" };
        let remark = format!(
            "{name} = {value} within protocol imap {{ }} is used, as IMAP sessions do; other processes (deliveries, \
             doveadm) have \
             what is outside of it{zero}"
        );
        remarks.push((number, remark));
    }
    remarks.sort_by_key(|(number, _)| *number);
    Ok(remarks.into_iter().map(|(number, remark)| format!("line {number}: {remark}")).collect())
}

fn is_zero(value: &str) -> bool {
    value.starts_with('0') && value.trim_end_matches(|c: char| !c.is_ascii_digit()) == "0"
}

/// A line up to its comment, which `#` begins anywhere but in quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return line.get(..at).unwrap_or(line),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// True for the words that 2.4 has for no limit at all.
fn is_unlimited(text: &str) -> bool {
    matches!(text.trim(), "unlimited" | "infinite")
}

/// A size as Dovecot reads it: `32k`, `1 M`, `1MiB`, `4096`.
///
/// # Errors
/// When it is none, or too large.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if is_unlimited(text) {
        return Ok(u64::MAX);
    }
    let (number, unit) = split_number(text)?;
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        "t" | "ti" => 40,
        _ => return Err(format!("{text:?} is no size (expected for example 32k or 1M)")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// A time as Dovecot reads it, in seconds: `5 mins`, `2days`, `12h`, `1 week`; a number needs a unit unless it is 0.
///
/// # Errors
/// When it is none, or too large.
pub fn parse_interval(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is no time (expected for example 5 mins, 12h, or 14 days)");
    if is_unlimited(text) {
        return Ok(i64::from(u32::MAX));
    }
    let (number, unit) = split_number(text)?;
    let unit = unit.to_ascii_lowercase();
    let is = |names: &[&str]| !unit.is_empty() && names.iter().any(|name| name.starts_with(unit.as_str()));
    let mut number = number;
    let seconds = match () {
        () if unit.is_empty() && number == 0 => 0,
        () if unit.is_empty() => {
            return Err(format!("time {text:?} is missing units (add for example s for seconds)"));
        }
        () if is(&["secs", "seconds"]) => 1,
        () if is(&["mins", "minutes"]) => 60,
        () if unit != "ms" && is(&["hours"]) => HOUR,
        () if is(&["days"]) => DAY,
        () if is(&["weeks"]) => 7 * DAY,
        () if (unit == "ms" || is(&["msecs", "mseconds", "millisecs", "milliseconds"]))
            && number.is_multiple_of(1000) =>
        {
            number /= 1000;
            1
        }
        () => return Err(bad()),
    };
    i64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| *seconds <= i64::from(u32::MAX))
        .ok_or_else(|| format!("{text:?} is too large (Dovecot counts seconds in 32 bits)"))
}

fn split_number(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Ok((number.parse().map_err(|_| format!("{text:?} is no number"))?, unit.trim()))
}

/// A size in the largest unit that divides it: `32k`, `1M`.
pub fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(30, 'G'), (20, 'M'), (10, 'k')] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A time in the largest unit that divides it: `5 mins`, `14 days`.
pub fn interval_text(seconds: i64) -> String {
    for (unit, name) in [(DAY, "days"), (HOUR, "hours"), (60, "mins")] {
        if seconds != 0 && seconds % unit == 0 {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} secs")
}

/// A release of Dovecot, for its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Default for Version {
    fn default() -> Version {
        Version(2, 3, 19)
    }
}

impl FromStr for Version {
    type Err = String;
    fn from_str(text: &str) -> Result<Version, String> {
        let bad = || format!("{text:?} is no version of Dovecot (expected for example 2.3, 2.3.19.1, or 2.4)");
        let text = text.trim().trim_start_matches('v');
        if text == "main" {
            return Ok(Version(2, 4, u16::MAX));
        }
        let mut numbers = text.split('.').map(|part| part.parse::<u16>());
        let mut next = || numbers.next().transpose().map_err(|_| bad());
        let (major, minor, patch) = (next()?.ok_or_else(bad)?, next()?.ok_or_else(bad)?, next()?);
        // Without a patch level the last of the series is meant.
        let version = Version(major, minor, patch.unwrap_or(u16::MAX));
        if version < Version(2, 0, 0) || version.0 > 2 {
            return Err(format!("rotation of Dovecot {text} is not known (2.0 to 2.4 are)"));
        }
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.2 {
            u16::MAX => write!(f, "{}.{}", self.0, self.1),
            patch => write!(f, "{}.{}.{patch}", self.0, self.1),
        }
    }
}

/// How a version rotates (`mail_transaction_log_want_rotate`, `mail_transaction_log_2_unlink_old`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A log of exactly `min_size` counts as large enough (2.2.29 and later compare `< min_size`, older `> min_size`).
    pub min_size_included: bool,
    /// A log of an older format version is rotated at the next full sync (2.2.29 and later).
    pub rotates_old_version: bool,
    /// The minor version of the logs it writes.
    pub log_minor: u8,
    /// `.log.2` ages from the rotation (2.2.32 and later), not from its last write.
    pub ages_from_rotation: bool,
    /// The settings exist; before 2.2.34 they are constants.
    pub has_settings: bool,
}

impl Rules {
    /// The rules of a version.
    pub fn of(version: Version) -> Rules {
        Rules {
            min_size_included: version >= Version(2, 2, 29),
            rotates_old_version: version >= Version(2, 2, 29),
            log_minor: if version >= Version(2, 2, 29) { 3 } else { 2 },
            ages_from_rotation: version >= Version(2, 2, 32),
            has_settings: version >= Version(2, 2, 34),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_dovecot_reads_them() {
        for (text, bytes) in [("32k", 32 << 10), ("1 M", 1 << 20), ("1MiB", 1 << 20), ("4096", 4096), ("7 B", 7)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "99999999999T", "1 ib"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_as_dovecot_reads_them() {
        let cases = [
            ("5 mins", 300),
            ("5m", 300),
            ("2days", 2 * DAY),
            ("1 week", 7 * DAY),
            ("0", 0),
            ("2000ms", 2),
            ("9 S", 9),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_interval(text), Ok(seconds), "{text}");
        }
        for text in ["5", "", "5 fortnights", "1500ms", "h"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn config_of_both_syntaxes() {
        let mut settings = Settings::default();
        let text = "# 2.3.19.1\nmail_index_log_rotate_min_size = 1 k\nprotocol imap {\n  mail_index_log2_max_age = 9 \
         days\n}\n\
                    mail_index_log_rotate_min_age = '90 mins'# note\nmail_index_log2_max_age = 0\n\
                    remote 10.0.0.0/8 {\n  protocol imap {\n    mail_index_log_rotate_max_size = 5M\n  }\n}\n\
                    !include local.conf\n";
        let remarks = read_config(text, &mut settings).expect("a configuration");
        // A filter outranks what is global, although that comes later (doveconf warns of it).
        let expected = Settings { min_size: 1024, min_age: 5400, log2_max_age: 9 * DAY, ..Settings::default() };
        assert_eq!(settings, expected);
        let found = |words: &str| remarks.iter().any(|remark| remark.contains(words));
        assert!(found("line 4: mail_index_log2_max_age = 9 days within protocol imap { } is used"), "{remarks:?}");
        assert!(found("line 7: mail_index_log2_max_age = 0 means"), "{remarks:?}");
        assert!(
            found("line 10:") && found("within remote 10.0.0.0/8 { protocol imap { } } is left out"),
            "{remarks:?}"
        );
        assert!(found("line 13: !include local.conf is not read"), "{remarks:?}");
        assert_eq!(remarks.len(), 4);
        assert!(read_config("mail_index_log2_max_age = 9", &mut settings).is_err());
    }

    #[test]
    fn versions_have_their_rules() {
        let rules = |text: &str| Rules::of(text.parse().expect("a version"));
        assert!(!rules("2.2.28").min_size_included);
        assert!(rules("2.2.29").min_size_included);
        assert!(!rules("2.2.31").ages_from_rotation);
        assert!(rules("2.2").has_settings);
        assert!(rules("2.3.19.1").has_settings);
        assert!("1.2".parse::<Version>().is_err());
        assert!("2".parse::<Version>().is_err());
    }
}
