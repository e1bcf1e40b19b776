//! JSON without intermediate values: records stream through at the speed of memory. serde_json writes it, by the
//! [`Formatter`] behind its serializer, which wants no value at hand: nesting, commas, numbers, and every text that
//! needs an escape. Text and names that need none are copied as they are: asking serde_json for each made documents a
//! fifth to two fifths slower. What is long within one value passes on in pieces.

use std::io;

use base64::Engine as _;
use serde_json::ser::{CompactFormatter, Formatter};

use super::text::pieces;
use super::{Emit, Take};
use crate::format::ext::Visit;

/// Bytes of a text or of hex digits that are written in one go.
const PIECE: usize = 24 << 10;

/// Writes JSON into a buffer, and what becomes long from there to where it goes.
pub struct Json<'w> {
    /// What has been written. Callers without an output flush and clear it between values.
    pub buf: Vec<u8>,
    pub(super) comma: bool,
    json: CompactFormatter,
    out: Option<&'w mut dyn Take>,
    /// Bytes that are collected before they are passed on.
    enough: usize,
    error: Option<io::Error>,
}

impl Default for Json<'_> {
    fn default() -> Self {
        Json { buf: Vec::new(), comma: false, json: CompactFormatter, out: None, enough: usize::MAX, error: None }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl<'w> Json<'w> {
    /// A writer with an empty buffer, which keeps everything.
    pub fn new() -> Json<'w> {
        Json::default()
    }

    /// A writer that passes on each time when there are `enough` bytes, also within a value, and the rest when it is
    /// [flushed](Self::flush).
    pub(super) fn to(out: &'w mut dyn Take, enough: usize) -> Json<'w> {
        Json { out: Some(out), enough, ..Json::new() }
    }

    /// Passes on what has been written.
    ///
    /// # Errors
    /// When the output could not be written to, now or since the last time.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.pass();
        self.error.take().map_or(Ok(()), Err)
    }

    /// Passes on what has been written, and has it be seen.
    pub(super) fn flush_all(&mut self) -> io::Result<()> {
        self.flush()?;
        self.out.as_mut().map_or(Ok(()), |out| out.flush())
    }

    /// Passes on what has been written once it is enough.
    #[inline(always)]
    pub(super) fn flush_some(&mut self) -> io::Result<()> {
        if self.error.is_some() || self.buf.len() >= self.enough { self.flush() } else { Ok(()) }
    }

    #[cold]
    fn pass(&mut self) {
        let Some(out) = &mut self.out else { return };
        match self.error {
            None if self.buf.is_empty() => {}
            None => self.error = out.take(&mut self.buf).err(),
            Some(_) => self.buf.clear(),
        }
    }

    /// Keeps the buffer short within a long value.
    #[inline(always)]
    fn make_room(&mut self) {
        if self.buf.len() >= self.enough {
            self.pass();
        }
    }

    /// Has serde_json write into the buffer: memory takes all that is written.
    #[inline(always)]
    fn put(&mut self, write: impl FnOnce(&mut CompactFormatter, &mut Vec<u8>) -> io::Result<()>) {
        let _ = write(&mut self.json, &mut self.buf);
    }

    /// What stands before the next value or name.
    #[inline(always)]
    fn comma(&mut self) {
        let is_first = !std::mem::replace(&mut self.comma, true);
        self.put(|json, to| json.begin_array_value(to, is_first));
    }

    // Names are nearly always literals: inlined, the check is made by the compiler and the bytes are moved in
    // registers.
    #[inline(always)]
    fn key(&mut self, name: &str) {
        if name.is_empty() {
            return self.comma();
        }
        let mut quoted = [b'"'; 32];
        if let (true, Some(to)) = (is_plain(name.as_bytes()), quoted.get_mut(2..name.len() + 2))
            && name.len() < 28
        {
            to.copy_from_slice(name.as_bytes());
            quoted[0] = b',';
            quoted[name.len() + 3] = b':';
            // Two moves of a length that the compiler knows are faster than one of either length.
            match std::mem::replace(&mut self.comma, true) {
                true => self.buf.extend_from_slice(&quoted[..name.len() + 4]),
                false => self.buf.extend_from_slice(&quoted[1..name.len() + 4]),
            }
        } else {
            self.comma();
            self.escaped(name);
            self.put(|json, to| json.begin_object_value(to));
        }
    }

    /// Text as serde_json writes it.
    #[inline(never)]
    fn escaped(&mut self, text: &str) {
        // Memory takes all that is written, and no text is refused.
        let _ = serde_json::to_writer(&mut self.buf, text);
    }

    /// Forgets that a value was written, so that the next one needs no comma: for lines of JSON.
    pub fn start(&mut self) {
        self.comma = false;
    }

    /// Ends a line of JSON.
    pub fn end_line(&mut self) {
        self.buf.push(b'\n');
        self.comma = false;
    }

    /// Appends elements that another writer has written, separated by commas.
    pub fn append(&mut self, other: &[u8]) {
        if !other.is_empty() {
            self.comma();
            self.buf.extend_from_slice(other);
        }
    }

    /// A number.
    #[inline(never)]
    fn decimal(&mut self, value: u64) {
        if let Some((text, len)) = short_decimal(value) {
            let end = self.buf.len() + len;
            self.buf.extend_from_slice(&text);
            self.buf.truncate(end);
        } else {
            self.put(|json, to| json.write_u64(to, value));
        }
        self.make_room();
    }

    /// Text of any kind.
    fn value(&mut self, bytes: &[u8]) {
        if bytes.len() > PIECE {
            return self.long_text(bytes);
        }
        if is_plain(bytes) {
            self.buf.reserve(bytes.len() + 2);
            self.buf.push(b'"');
            self.buf.extend_from_slice(bytes);
            self.buf.push(b'"');
            return self.make_room();
        }
        // The name of a system flag: nothing else is written as often.
        if let Some((b'\\', rest)) = bytes.split_first()
            && is_plain(rest)
        {
            self.buf.reserve(bytes.len() + 3);
            self.buf.extend_from_slice(b"\"\\\\");
            self.buf.extend_from_slice(rest);
            self.buf.push(b'"');
            return self.make_room();
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.escaped(text),
            Err(_) => {
                self.buf.extend_from_slice(b"{\"base64\":");
                self.escaped(&base64::engine::general_purpose::STANDARD.encode(bytes));
                self.buf.push(b'}');
            }
        }
        self.make_room();
    }

    /// Text that is written piece by piece.
    #[cold]
    fn long_text(&mut self, bytes: &[u8]) {
        let is_text = std::str::from_utf8(bytes).is_ok();
        self.buf.extend_from_slice(if is_text { b"\"" } else { b"{\"base64\":\"" });
        // Pieces of a length that base64 encodes without padding.
        for piece in pieces(bytes, PIECE, is_text) {
            match std::str::from_utf8(piece) {
                Ok(text) if is_text => {
                    let from = self.buf.len();
                    self.escaped(text);
                    self.buf.pop();
                    self.buf.remove(from);
                }
                _ => {
                    let digits = base64::engine::general_purpose::STANDARD.encode(piece);
                    self.buf.extend_from_slice(digits.as_bytes());
                }
            }
            self.make_room();
        }
        self.buf.extend_from_slice(if is_text { b"\"" } else { b"\"}" });
    }

    /// Bytes as hex digits.
    fn digits(&mut self, bytes: &[u8]) {
        self.buf.push(b'"');
        for piece in bytes.chunks(PIECE) {
            self.buf.reserve(piece.len() * 2 + 2);
            for chunk in piece.chunks(32) {
                let mut text = [0; 64];
                for (to, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(chunk) {
                    *to = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                }
                self.buf.extend_from_slice(&text[..chunk.len() * 2]);
            }
            self.make_room();
        }
        self.buf.push(b'"');
    }
}

/// The digits of a number of at most eight, and how many they are: all at once, two in each step, so that nothing
/// depends on the number before it is written.
#[inline(always)]
fn short_decimal(value: u64) -> Option<([u8; 8], usize)> {
    const LOW: u64 = 0x000f_000f_000f_000f;
    if value >= 100_000_000 {
        return None;
    }
    // Four digits in each half; then two in each quarter, the first in its lower byte; then one in each byte.
    let halves = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & LOW;
    let digits = tens | ((pairs - 10 * tens) << 8);
    let zeros = (digits.trailing_zeros() / 8).min(7);
    Some((((digits | 0x3030_3030_3030_3030) >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize))
}

/// True for ASCII without anything that JSON escapes; looks at eight bytes at a time, so that it costs little also for
/// the names that the compiler does not check.
#[inline(always)]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Bits of bytes that are zero, of words without a byte above 0x7f.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let bad = |bytes: [u8; 8]| {
        let word = u64::from_le_bytes(bytes);
        (word & HIGH)
            | zero(word & (ONES * 0xe0))
            | zero(word ^ (ONES * u64::from(b'"')))
            | zero(word ^ (ONES * u64::from(b'\\')))
    };
    let (chunks, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    chunks.iter().fold(bad(last), |sum, chunk| sum | bad(*chunk)) == 0
}

impl Visit for Json<'_> {
    #[inline(always)]
    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.decimal(value);
    }

    #[inline(always)]
    fn signed(&mut self, name: &str, value: i64) {
        self.key(name);
        self.put(|json, to| json.write_i64(to, value));
    }

    #[inline(always)]
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        self.digits(bytes);
    }

    #[inline(always)]
    fn text(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        self.value(bytes);
    }

    #[inline(always)]
    fn object_begin(&mut self, name: &str) {
        self.key(name);
        self.put(|json, to| json.begin_object(to));
        self.comma = false;
    }

    #[inline(always)]
    fn object_end(&mut self) {
        self.put(|json, to| json.end_object(to));
        self.comma = true;
    }

    #[inline(always)]
    fn list_begin(&mut self, name: &str) {
        self.key(name);
        self.put(|json, to| json.begin_array(to));
        self.comma = false;
    }

    #[inline(always)]
    fn list_end(&mut self) {
        self.put(|json, to| json.end_array(to));
        self.comma = true;
    }
}

impl Emit for Json<'_> {
    #[inline(always)]
    fn boolean(&mut self, name: &str, value: bool) {
        self.key(name);
        self.put(|json, to| json.write_bool(to, value));
    }

    #[inline(always)]
    fn null(&mut self, name: &str) {
        self.key(name);
        self.put(|json, to| json.write_null(to));
    }

    fn uids(&mut self, name: &str, ranges: &[(u32, u32)]) {
        self.key(name);
        self.buf.push(b'"');
        for (i, (first, last)) in ranges.iter().enumerate() {
            if i > 0 {
                self.buf.push(b',');
            }
            self.decimal(u64::from(*first));
            if last > first {
                self.buf.push(b':');
                self.decimal(u64::from(*last));
            }
        }
        self.buf.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_told_from_text_to_escape() {
        for byte in 0..=u8::MAX {
            let mut text = *b"abcdefghijk";
            for at in 0..11 {
                text[at] = byte;
                let as_it_is = std::str::from_utf8(&text)
                    .is_ok_and(|text| serde_json::to_string(text).expect("a string").len() == text.len() + 2);
                assert_eq!(is_plain(&text), as_it_is && byte.is_ascii(), "{byte:#x} at {at}");
                text[at] = b'x';
            }
        }
        assert!(is_plain(b""));
    }

    #[test]
    fn numbers_are_as_serde_json_writes_them() {
        let powers = (0..20).map(|n| 10_u64.pow(n));
        let near = powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(7), power / 3]);
        for value in near.chain((0..1_000_000).map(|n| n * 101)).chain([u64::MAX]) {
            let mut json = Json::new();
            json.decimal(value);
            assert_eq!(json.buf, value.to_string().into_bytes());
        }
    }

    #[test]
    fn long_values_pass_through() {
        let text = "é\u{1}\"x".repeat(1 << 19).into_bytes();
        let damaged: Vec<u8> = text.iter().copied().chain([0xff]).collect();
        let mut whole = Vec::new();
        {
            let mut out: &mut dyn io::Write = &mut whole;
            let mut json = Json::to(&mut out, PIECE);
            json.object_begin("");
            json.text("text", &text);
            json.text("damaged", &damaged);
            json.hex("hex", &text);
            json.list_begin("numbers");
            (0..300_000).for_each(|n| json.number("", n));
            json.list_end();
            json.object_end();
            assert!(json.buf.capacity() <= 16 * PIECE, "{}", json.buf.capacity());
            json.flush().expect("memory");
        }
        let value: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(value["text"].as_str().map(str::as_bytes), Some(&text[..]));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(value["damaged"]["base64"].as_str().expect("text"));
        assert_eq!(bytes.expect("base64"), damaged);
        assert_eq!(value["hex"].as_str().map(str::len), Some(text.len() * 2));
        assert_eq!(value["numbers"].as_array().map(Vec::len), Some(300_000));
    }

    #[test]
    fn what_is_written_is_json() {
        let mut json = Json::new();
        json.object_begin("");
        json.number("n", u64::MAX);
        json.text("t", "a\"b\\c\u{1}\n\u{7f}ü".as_bytes());
        json.text("bad", b"\xff");
        json.list_begin("list");
        json.signed("", -1);
        json.boolean("", true);
        json.null("");
        json.list_end();
        json.hex("x", &[0, 0xab]);
        json.flags("flags", 0x0a);
        json.object_end();
        let value: serde_json::Value = serde_json::from_slice(&json.buf).expect("JSON");
        assert_eq!(value["n"], u64::MAX);
        assert_eq!(value["t"], "a\"b\\c\u{1}\n\u{7f}ü");
        assert_eq!(value["bad"]["base64"], "/w==");
        assert_eq!(value["list"], serde_json::json!([-1, true, null]));
        assert_eq!(value["x"], "00ab");
        assert_eq!(value["flags"], serde_json::json!(["\\Flagged", "\\Seen"]));
    }
}
