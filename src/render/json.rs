//! A JSON writer without intermediate values: records stream through it at the speed of memory.

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

    #[inline]
    fn key(&mut self, name: &str) {
        if self.comma {
            self.buf.push(b',');
        }
        self.comma = true;
        if !name.is_empty() {
            self.string(name.as_bytes());
            self.buf.push(b':');
        }
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
            if self.comma {
                self.buf.push(b',');
            }
            self.buf.extend_from_slice(other);
            self.comma = true;
        }
    }

    /// A string that is known to be UTF-8.
    fn string(&mut self, text: &[u8]) {
        self.buf.push(b'"');
        let mut rest = text;
        while let Some(at) = rest.iter().position(|b| NEEDS_ESCAPE[usize::from(*b)]) {
            let (plain, tail) = rest.split_at(at);
            self.buf.extend_from_slice(plain);
            let byte = tail[0];
            match byte {
                b'"' => self.buf.extend_from_slice(b"\\\""),
                b'\\' => self.buf.extend_from_slice(b"\\\\"),
                b'\n' => self.buf.extend_from_slice(b"\\n"),
                b'\r' => self.buf.extend_from_slice(b"\\r"),
                b'\t' => self.buf.extend_from_slice(b"\\t"),
                _ => {
                    self.buf.extend_from_slice(b"\\u00");
                    self.buf.push(HEX[usize::from(byte >> 4)]);
                    self.buf.push(HEX[usize::from(byte & 15)]);
                }
            }
            rest = &tail[1..];
        }
        self.buf.extend_from_slice(rest);
        self.buf.push(b'"');
    }
}

static NEEDS_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = true;
        i += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7f] = true;
    table
};

impl Visit for Json {
    #[inline]
    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn signed(&mut self, name: &str, value: i64) {
        self.key(name);
        self.buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        self.buf.push(b'"');
        self.buf.extend(bytes.iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]));
        self.buf.push(b'"');
    }

    fn text(&mut self, name: &str, bytes: &[u8]) {
        self.key(name);
        if std::str::from_utf8(bytes).is_ok() {
            return self.string(bytes);
        }
        self.buf.extend_from_slice(b"{\"base64\":\"");
        let mut encoded = String::new();
        base64::engine::general_purpose::STANDARD.encode_string(bytes, &mut encoded);
        self.buf.extend_from_slice(encoded.as_bytes());
        self.buf.extend_from_slice(b"\"}");
    }

    fn object_begin(&mut self, name: &str) {
        self.key(name);
        self.buf.push(b'{');
        self.comma = false;
    }

    fn object_end(&mut self) {
        self.buf.push(b'}');
        self.comma = true;
    }

    fn list_begin(&mut self, name: &str) {
        self.key(name);
        self.buf.push(b'[');
        self.comma = false;
    }

    fn list_end(&mut self) {
        self.buf.push(b']');
        self.comma = true;
    }
}

impl Emit for Json {
    fn boolean(&mut self, name: &str, value: bool) {
        self.key(name);
        self.buf.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn null(&mut self, name: &str) {
        self.key(name);
        self.buf.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
