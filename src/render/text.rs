//! Text for people: what is safe to show, times, and values on one line.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::Emit;
use crate::format::ext::Visit;
use crate::format::unseen::is_unseen;

/// Cuts bytes into pieces of at most `most` bytes; text is cut between characters.
pub(super) fn pieces(bytes: &[u8], most: usize, is_text: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let is_inside = |at: &usize| rest.get(*at).is_some_and(|byte| is_text && byte & 0xc0 == 0x80);
        let at = (most.saturating_sub(3)..=most).rev().find(|at| !is_inside(at)).unwrap_or(most).min(rest.len());
        let (piece, after) = rest.split_at(at);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Makes bytes safe for a terminal, a mail or a journal: control characters, characters that turn the direction of text
/// or are not seen at all, and what is not UTF-8 are shown escaped. Whatever goes to people goes through here.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    push_printable(bytes, &mut out);
    out
}

fn push_printable(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid();
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            out.push_str(text);
        } else {
            for c in text.chars() {
                if is_unseen(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// A path for people.
pub fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// UNIX seconds for people, in the zone of the system as mail logs are: `2026-11-23 03:52:08Z` where that is UTC,
/// elsewhere `2026-11-23 04:52:08+01:00`.
pub fn local(seconds: i64) -> String {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(TimeZone::system);
    in_zone(seconds, zone).unwrap_or_else(|| "?".into())
}

fn in_zone(seconds: i64, zone: &TimeZone) -> Option<String> {
    let time = Timestamp::from_second(seconds).ok()?.to_zoned(zone.clone());
    let format = if time.offset() == Offset::UTC { "%Y-%m-%d %H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%S%:z" };
    Some(time.strftime(format).to_string())
}

/// What is said behind a number that is a UNIX time; nothing behind 0 and what is no time.
pub(super) fn local_of(value: u64) -> Option<String> {
    let seconds = u32::try_from(value).ok().filter(|seconds| !matches!(*seconds, 0 | u32::MAX))?;
    Some(format!(" ({})", local(i64::from(seconds))))
}

/// UNIX seconds as RFC 3339 in UTC, `2026-11-23T03:52:08Z`.
pub fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |time| time.to_string())
}

/// Collects a value as one line: `uid=3 flags=[\Seen] data={...}`.
#[derive(Debug, Default)]
pub struct Compact {
    /// The line so far.
    pub line: String,
    space: bool,
    /// The line takes no more beyond so many bytes.
    most: Option<usize>,
}

impl Compact {
    /// A line that takes no more once it has so many bytes; what was begun before is whole.
    pub fn cut_at(most: usize) -> Compact {
        Compact { most: Some(most), ..Compact::default() }
    }

    /// What of a value can still be seen.
    fn clip<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(..self.most.unwrap_or(usize::MAX)).unwrap_or(bytes)
    }

    /// Begins a value that has nothing to do with what stands in the line already.
    pub(super) fn start(&mut self) {
        self.space = false;
    }

    fn key(&mut self, name: &str) {
        if let Some(most) = self.most.filter(|most| self.line.len() > *most) {
            self.line.truncate((0..=most).rev().find(|at| self.line.is_char_boundary(*at)).unwrap_or(0));
        }
        if self.space {
            self.line.push(' ');
        }
        self.space = true;
        if !name.is_empty() {
            self.line.push_str(name);
            self.line.push('=');
        }
    }

    fn raw(&mut self, name: &str, text: &str) {
        self.key(name);
        self.line.push_str(text);
    }

    /// Text that stands alone, so that it needs no quotes.
    pub(super) fn plain(&mut self, bytes: &[u8]) {
        self.key("");
        push_printable(bytes, &mut self.line);
    }

    /// Begins a text, which [`more_text`](Self::more_text) goes on with; who asks for quotes ends them.
    pub(super) fn begin_text(&mut self, name: &str, quoted: bool) {
        self.raw(name, if quoted { "\"" } else { "" });
    }

    /// More of a value that has been begun: text, within quotes when `quoted`.
    pub(super) fn more_text(&mut self, bytes: &[u8], quoted: bool) {
        let from = self.line.len();
        push_printable(bytes, &mut self.line);
        if quoted && self.line.get(from..).is_some_and(|text| text.contains('"')) {
            let text = self.line.split_off(from);
            self.line.push_str(&text.replace('"', "\\\""));
        }
    }

    /// More of a value that has been begun: hex digits.
    pub(super) fn more_hex(&mut self, bytes: &[u8]) {
        push_hex(bytes, &mut self.line);
    }

    /// More of a value that has been begun: ranges of UIDs, the first of all of them where `is_first`.
    pub(super) fn more_uids(&mut self, ranges: &[(u32, u32)], is_first: bool) {
        for (i, (first, last)) in ranges.iter().enumerate() {
            if i > 0 || !is_first {
                self.line.push(',');
            }
            self.line.push_str(itoa::Buffer::new().format(*first));
            if last > first {
                self.line.push(':');
                self.line.push_str(itoa::Buffer::new().format(*last));
            }
        }
    }
}

impl Visit for Compact {
    fn number(&mut self, name: &str, value: u64) {
        self.raw(name, itoa::Buffer::new().format(value));
    }
    fn time(&mut self, name: &str, value: u64) {
        self.number(name, value);
        if let Some(stamp) = local_of(value) {
            self.line.push_str(&stamp);
        }
    }
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        self.key(name);
        let mut first = true;
        for (_, text) in names.iter().filter(|(bit, _)| value & u64::from(*bit) != 0) {
            self.line.push_str(if std::mem::take(&mut first) { "" } else { "|" });
            self.line.push_str(text);
        }
        // Writing to a string cannot fail.
        let _ = write!(self.line, "(0x{value:02x})");
    }
    fn signed(&mut self, name: &str, value: i64) {
        self.raw(name, itoa::Buffer::new().format(value));
    }
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        if bytes.is_empty() {
            self.line.push('-');
        }
        push_hex(self.clip(bytes), &mut self.line);
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        let from = self.line.len();
        push_printable(self.clip(bytes), &mut self.line);
        let text = self.line.get(from..).unwrap_or_default();
        if text.is_empty() || text.contains([' ', '"', '=', '{', '[']) {
            let text = text.replace('"', "\\\"");
            self.line.truncate(from);
            let _ = write!(self.line, "\"{text}\"");
        }
    }
    fn object_begin(&mut self, name: &str) {
        self.raw(name, "{");
        self.space = false;
    }
    fn object_end(&mut self) {
        self.line.push('}');
        self.space = true;
    }
    fn list_begin(&mut self, name: &str) {
        self.raw(name, "[");
        self.space = false;
    }
    fn list_end(&mut self) {
        self.line.push(']');
        self.space = true;
    }
}

impl Emit for Compact {
    fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "yes" } else { "no" });
    }
    fn null(&mut self, name: &str) {
        self.raw(name, "-");
    }
    fn flags(&mut self, name: &str, flags: u8) {
        self.key(name);
        push_flags(flags, &mut self.line);
    }
    fn uids(&mut self, name: &str, ranges: &[(u32, u32)]) {
        self.raw(name, if ranges.is_empty() { "-" } else { "" });
        self.more_uids(ranges, true);
    }
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])),
    );
}

/// Flags as `\Seen \Flagged (0x0a)`; `-` when there is none.
pub fn flag_text(flags: u8) -> String {
    let mut out = String::new();
    push_flags(flags, &mut out);
    out
}

fn push_flags(flags: u8, out: &mut String) {
    if flags == 0 {
        return out.push('-');
    }
    for (_, name) in crate::format::record::flag::NAMES.iter().filter(|(bit, _)| flags & bit != 0) {
        out.push_str(name);
        out.push(' ');
    }
    let _ = write!(out, "(0x{flags:02x})");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_one_line() {
        let mut out = Compact::default();
        out.number("uid", 3);
        out.flags("flags", 0x88);
        out.list_begin("names");
        out.text("", b"a b");
        out.text("", b"c\x1b");
        out.list_end();
        assert_eq!(out.line, "uid=3 flags=\\Seen (0x88) names=[\"a b\" \"c\\u{1b}\"]");
    }

    #[test]
    fn times_are_those_of_a_zone() {
        assert_eq!(in_zone(1_795_405_928, &TimeZone::UTC).as_deref(), Some("2026-11-23 03:52:08Z"));
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        assert_eq!(in_zone(1_795_405_928, &zone).as_deref(), Some("2026-11-22 22:52:08-05:00"));
        assert_eq!(in_zone(i64::MAX, &zone), None);
    }

    #[test]
    fn what_would_play_with_a_terminal_is_escaped() {
        assert_eq!(printable(b"a\x1b]0;x\x07\n"), "a\\u{1b}]0;x\\u{7}\\u{a}");
        assert_eq!(printable("\u{202e}gpj.exe \u{2066}\u{2028}\u{feff}\u{e0041}".as_bytes()), {
            "\\u{202e}gpj.exe \\u{2066}\\u{2028}\\u{feff}\\u{e0041}"
        });
        assert_eq!(printable("日本語 é \u{301}".as_bytes()), "日本語 é \u{301}");
        assert_eq!(printable(b"\xffa"), "\\xffa");
    }
}
