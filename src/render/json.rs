//! A JSON writer without intermediate values: records stream through it at the speed of memory. What is here nests; a
//! number is written as serde_json writes it, with itoa, and every text that needs an escape by serde_json. Text that
//! needs none is copied as it is: asking serde_json for each made documents a fifth to two fifths slower.

use base64::Engine as _;

use super::Emit;
use crate::format::ext::Visit;

/// Writes JSON into a buffer.
#[derive(Debug, Default)]
pub struct Json {
    /// What has been written. Callers flush and clear it between values.
    pub buf: Vec<u8>,
    comma: bool,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Json {
    /// A writer with an empty buffer.
    pub fn new() -> Json {
        Json::default()
    }

    fn comma(&mut self) {
        if std::mem::replace(&mut self.comma, true) {
            self.buf.push(b',');
        }
    }

    // Names are nearly always literals: inlined, the check is made by the compiler and the bytes are moved in
    // registers.
    #[inline(always)]
    fn key(&mut self, name: &str) {
        self.comma();
        if name.is_empty() {
            return;
        }
        let mut quoted = [b'"'; 32];
        if let (true, Some(to)) = (is_plain(name.as_bytes()), quoted.get_mut(1..=name.len()))
            && name.len() < 29
        {
            to.copy_from_slice(name.as_bytes());
            quoted[name.len() + 2] = b':';
            self.buf.extend_from_slice(&quoted[..name.len() + 3]);
        } else {
            self.escaped(name);
            self.buf.push(b':');
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
        if value < 10 {
            return self.buf.push(b'0' + value as u8);
        }
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Text of any kind.
    fn value(&mut self, bytes: &[u8]) {
        if is_plain(bytes) {
            self.buf.reserve(bytes.len() + 2);
            self.buf.push(b'"');
            self.buf.extend_from_slice(bytes);
            self.buf.push(b'"');
            return;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.escaped(text),
            Err(_) => {
                self.buf.extend_from_slice(b"{\"base64\":");
                self.escaped(&base64::engine::general_purpose::STANDARD.encode(bytes));
                self.buf.push(b'}');
            }
        }
    }

    /// Bytes as hex digits.
    fn digits(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() * 2 + 2);
        self.buf.push(b'"');
        for chunk in bytes.chunks(32) {
            let mut text = [0; 64];
            for (to, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(chunk) {
                *to = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            }
            self.buf.extend_from_slice(&text[..chunk.len() * 2]);
        }
        self.buf.push(b'"');
    }
}

/// True for ASCII without anything that JSON escapes; looks at eight bytes at a time.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Bits of bytes that are zero, of words without a byte above 0x7f.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (chunks, rest) = text.as_chunks::<8>();
    let bad = chunks.iter().fold(0, |bad, chunk| {
        let word = u64::from_le_bytes(*chunk);
        bad | (word & HIGH)
            | zero(word & (ONES * 0xe0))
            | zero(word ^ (ONES * u64::from(b'"')))
            | zero(word ^ (ONES * u64::from(b'\\')))
    });
    bad == 0 && rest.iter().all(|byte| matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\'))
}

impl Visit for Json {
    #[inline(always)]
    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.decimal(value);
    }

    #[inline(always)]
    fn signed(&mut self, name: &str, value: i64) {
        self.key(name);
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
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
        self.buf.push(b'{');
        self.comma = false;
    }

    #[inline(always)]
    fn object_end(&mut self) {
        self.buf.push(b'}');
        self.comma = true;
    }

    #[inline(always)]
    fn list_begin(&mut self, name: &str) {
        self.key(name);
        self.buf.push(b'[');
        self.comma = false;
    }

    #[inline(always)]
    fn list_end(&mut self) {
        self.buf.push(b']');
        self.comma = true;
    }
}

impl Emit for Json {
    #[inline(always)]
    fn boolean(&mut self, name: &str, value: bool) {
        self.key(name);
        self.buf.extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[inline(always)]
    fn null(&mut self, name: &str) {
        self.key(name);
        self.buf.extend_from_slice(b"null");
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
