//! The structured values of cache fields: `mime.parts` (`message-part-serialize.c`), `binary.parts`
//! (`message-binary-part.c`) and `hdr.*` (`index-mail-headers.c`). Everything is read in place; nothing is allocated
//! for messages nested less than eight deep.

use std::ops::Range;

use super::FileKind;
use super::endian::Endian;
use super::ext::Visit;
use super::flaw::{Flaw, FlawKind};

/// `MESSAGE_PART_FLAG_MULTIPART`: has children, each a part.
pub const MULTIPART: u32 = 0x01;
/// `MESSAGE_PART_FLAG_MULTIPART_DIGEST`.
pub const MULTIPART_DIGEST: u32 = 0x02;
/// `MESSAGE_PART_FLAG_MESSAGE_RFC822`: has exactly one child, the enclosed message.
pub const MESSAGE_RFC822: u32 = 0x04;
/// `MESSAGE_PART_FLAG_TEXT`: has a line count.
pub const TEXT: u32 = 0x08;
/// `MESSAGE_PART_FLAG_HAS_NULS`.
pub const HAS_NULS: u32 = 0x20;
/// `MESSAGE_PART_FLAG_IS_MIME`.
pub const IS_MIME: u32 = 0x40;
/// `MESSAGE_PART_FLAG_OVERFLOW`: parsing stopped at a limit.
pub const OVERFLOW: u32 = 0x80;

/// Names of the flags of a MIME part: Dovecot's constants without `MESSAGE_PART_FLAG_`.
pub const PART_FLAGS: [(u32, &str); 8] = [
    (MULTIPART, "MULTIPART"),
    (MULTIPART_DIGEST, "MULTIPART_DIGEST"),
    (MESSAGE_RFC822, "MESSAGE_RFC822"),
    (TEXT, "TEXT"),
    (0x10, "UNUSED"),
    (HAS_NULS, "HAS_NULS"),
    (IS_MIME, "IS_MIME"),
    (OVERFLOW, "OVERFLOW"),
];

/// Deepest nesting that is followed. Dovecot 2.3 and later stop at 100.
pub const MAX_DEPTH: usize = 1000;

/// One part of a message (`struct message_part`). Sizes and positions are in bytes; "virtual" counts every line end as
/// CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MimePart {
    /// Levels above it; 0 for the message itself.
    pub depth: usize,
    /// Where its data begins and ends in the field's data, in bytes, children not included.
    pub at: (usize, usize),
    /// See [`PART_FLAGS`].
    pub flags: u32,
    /// Where its header begins in the message; 0 for the message itself, for which it is not stored.
    pub physical_pos: u64,
    /// Size of its header as stored.
    pub header_physical_size: u64,
    /// Size of its header with CRLF.
    pub header_virtual_size: u64,
    /// Size of its body as stored.
    pub body_physical_size: u64,
    /// Size of its body with CRLF.
    pub body_virtual_size: u64,
    /// Lines of the body, stored for text and message/rfc822 only.
    pub body_lines: Option<u32>,
    /// Parts directly below it, which come next; 0 unless multipart or message/rfc822.
    pub children_count: u32,
}

impl MimePart {
    fn visit<V: Visit + ?Sized>(&self, visitor: &mut V) {
        visitor.number("physical_pos", self.physical_pos);
        visitor.number("header_physical_size", self.header_physical_size);
        visitor.number("header_virtual_size", self.header_virtual_size);
        visitor.number("body_physical_size", self.body_physical_size);
        visitor.number("body_virtual_size", self.body_virtual_size);
        if let Some(lines) = self.body_lines {
            visitor.number("body_lines", u64::from(lines));
        }
        visitor.bits("flags", u64::from(self.flags), &PART_FLAGS);
    }
}

/// The data of a `mime.parts` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MimeParts<'a> {
    /// The field's data.
    pub data: &'a [u8],
    /// Where the data begins in the cache file.
    pub offset: u64,
    /// Byte order of the file.
    pub endian: Endian,
}

impl<'a> MimeParts<'a> {
    /// The parts, each before its children.
    pub fn iter(&self) -> MimePartIter<'a> {
        let mut open = Levels::default();
        let _ = open.push(1);
        MimePartIter { parts: *self, at: 0, open, done: false }
    }

    /// Passes the tree to `visitor`: an object called `name` with Dovecot's field names and the list `children`. What
    /// can be read before damage is passed on and closed properly; data without a single part is passed on as hex.
    ///
    /// # Errors
    /// What [`MimePartIter`] stopped at.
    pub fn visit<V: Visit + ?Sized>(&self, name: &str, visitor: &mut V) -> Result<(), Flaw> {
        let mut open = 0usize;
        let mut end = Ok(());
        let mut empty = true;
        for part in self.iter() {
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            };
            empty = false;
            close(open.saturating_sub(part.depth), visitor);
            visitor.place(part.at.0..part.at.1);
            visitor.object_begin(if part.depth == 0 { name } else { "" });
            part.visit(visitor);
            visitor.list_begin("children");
            open = part.depth.saturating_add(1);
            if part.children_count == 0 {
                close(1, visitor);
                open = part.depth;
            }
        }
        close(open, visitor);
        if empty {
            visitor.place(0..self.data.len());
            visitor.hex(name, self.data);
        }
        end
    }

    /// What `message_part_deserialize` objects to beyond what the iterator reports: overlapping parts, virtual sizes
    /// below physical ones, a message/rfc822 part without exactly one child. The rule for overlapping leaves is newer
    /// than 2.4.4; older releases accept them.
    pub fn problem(&self) -> Option<Flaw> {
        // The end of each open part, and how many of its children are still to come.
        let mut open: Vec<(u64, u32)> = Vec::new();
        let mut pos = 0u64;
        for part in self.iter() {
            let part = match part {
                Ok(part) => part,
                Err(error) => return Some(error),
            };
            let wrong = part.flaw(pos);
            let body_at = part.physical_pos.saturating_add(part.header_physical_size);
            let end = body_at.saturating_add(part.body_physical_size);
            pos = if part.children_count > 0 { body_at } else { end };
            let mut outside = false;
            if part.children_count > 0 {
                open.push((end, part.children_count));
            } else {
                while let Some((end, left)) = open.last_mut() {
                    *left = left.saturating_sub(1);
                    if *left > 0 {
                        break;
                    }
                    outside |= pos > *end;
                    pos = *end;
                    open.pop();
                }
            }
            let outside = outside.then_some((FlawKind::PartOutside, "child part location exceeds our size"));
            if let Some((kind, what)) = wrong.or(outside) {
                let at = self.offset.saturating_add(part.at.0 as u64);
                return Some(Flaw::new(FileKind::Cache, at, kind, "a consistent part tree", what));
            }
        }
        None
    }
}

impl<'a> IntoIterator for MimeParts<'a> {
    type Item = Result<MimePart, Flaw>;
    type IntoIter = MimePartIter<'a>;
    fn into_iter(self) -> MimePartIter<'a> {
        self.iter()
    }
}

impl MimePart {
    /// The rules that a part can break on its own; it may begin at `pos` at the earliest.
    fn flaw(&self, pos: u64) -> Option<(FlawKind, &'static str)> {
        if self.physical_pos < pos {
            return Some((FlawKind::PartOverlap, "physical_pos less than expected"));
        }
        if self.header_virtual_size < self.header_physical_size {
            return Some((FlawKind::PartHeaderSize, "header_size.virtual_size too small"));
        }
        if self.body_virtual_size < self.body_physical_size {
            return Some((FlawKind::PartBodySize, "body_size.virtual_size too small"));
        }
        match self.children_count {
            0 if self.flags & MESSAGE_RFC822 != 0 => {
                Some((FlawKind::PartChildNone, "message/rfc822 part has no children"))
            }
            2.. if self.flags & MESSAGE_RFC822 != 0 => {
                Some((FlawKind::PartChildren, "message/rfc822 part has multiple children"))
            }
            _ => None,
        }
    }
}

/// Ends `count` open parts.
fn close<V: Visit + ?Sized>(count: usize, visitor: &mut V) {
    for _ in 0..count {
        visitor.list_end();
        visitor.object_end();
    }
}

/// Iterator over [`MimePart`]s, depth first; it ends after the first error. Each part takes at least 36 bytes, so the
/// data bounds the work whatever the counts say.
#[derive(Clone, Debug)]
pub struct MimePartIter<'a> {
    parts: MimeParts<'a>,
    at: usize,
    open: Levels,
    done: bool,
}

impl MimePartIter<'_> {
    fn part(&mut self) -> Option<MimePart> {
        let depth = self.open.depth();
        let start = self.at;
        let flags = self.u32()?;
        let physical_pos = if depth == 0 { 0 } else { self.u64()? };
        let header_physical_size = self.u64()?;
        let header_virtual_size = self.u64()?;
        let body_physical_size = self.u64()?;
        let body_virtual_size = self.u64()?;
        let body_lines = if flags & (TEXT | MESSAGE_RFC822) != 0 { Some(self.u32()?) } else { None };
        let children_count = if flags & (MULTIPART | MESSAGE_RFC822) != 0 { self.u32()? } else { 0 };
        Some(MimePart {
            depth,
            at: (start, self.at),
            flags,
            physical_pos,
            header_physical_size,
            header_virtual_size,
            body_physical_size,
            body_virtual_size,
            body_lines,
            children_count,
        })
    }

    #[inline]
    fn u32(&mut self) -> Option<u32> {
        let value = self.parts.endian.u32_at(self.parts.data, self.at)?;
        self.at = self.at.saturating_add(4);
        Some(value)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        let value = self.parts.endian.u64_at(self.parts.data, self.at)?;
        self.at = self.at.saturating_add(8);
        Some(value)
    }

    #[cold]
    fn error(&mut self, kind: FlawKind, need: &'static str, have: &'static str) -> Flaw {
        self.done = true;
        let at = self.parts.offset.saturating_add(self.at as u64);
        Flaw::new(FileKind::Cache, at, kind, need, have)
    }
}

impl Iterator for MimePartIter<'_> {
    type Item = Result<MimePart, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if !self.open.take_one() {
            self.done = true;
            let more = self.at < self.parts.data.len();
            return more
                .then(|| Err(self.error(FlawKind::PartsTooLong, "nothing after the last part", "Too much data")));
        }
        let Some(part) = self.part() else {
            return Some(Err(self.error(FlawKind::PartsTooShort, "a whole part", "Not enough data")));
        };
        if part.children_count > 0 && !self.open.push(part.children_count) {
            return Some(Err(self.error(FlawKind::PartsTooDeep, "at most 1000 levels", "deeper nesting")));
        }
        Some(Ok(part))
    }
}

/// How many parts are still to come on each open level; the first eight levels need no memory of their own.
#[derive(Clone, Debug, Default)]
struct Levels {
    near: [u32; 8],
    deep: Vec<u32>,
    len: usize,
}

impl Levels {
    fn depth(&self) -> usize {
        self.len.saturating_sub(1)
    }

    fn push(&mut self, count: u32) -> bool {
        if self.len >= MAX_DEPTH {
            return false;
        }
        match self.near.get_mut(self.len) {
            Some(slot) => *slot = count,
            None => self.deep.push(count),
        }
        self.len = self.len.saturating_add(1);
        true
    }

    /// Takes one part off the innermost level that has any left; false when there is none.
    fn take_one(&mut self) -> bool {
        while self.len > 0 {
            let last = self.depth();
            let left = match self.near.get_mut(last) {
                Some(left) => Some(left),
                None => self.deep.last_mut(),
            };
            if let Some(left @ 1..) = left {
                *left = left.saturating_sub(1);
                return true;
            }
            self.deep.pop();
            self.len = last;
        }
        false
    }
}

/// Reads a `numpack` number: 7 bits a byte, lowest first, bit 7 set on all but the last (`numpack.c`). Returns the
/// value and the bytes it takes; `None` when it does not end within `bytes` or needs more than 64 bits.
pub fn numpack(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        let low = u64::from(byte & 0x7f);
        // The tenth byte holds bit 63 alone.
        if i == 9 && low > 1 {
            return None;
        }
        value |= low.wrapping_shl(u32::try_from(i).unwrap_or_default().saturating_mul(7));
        if byte < 0x80 {
            return Some((value, i.saturating_add(1)));
        }
    }
    None
}

/// One part of a message that is or contains BINARY data (`struct message_binary_part`). Sizes in bytes, after decoding
/// the transfer encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryPart {
    /// Where the part begins in the message as stored.
    pub physical_pos: u64,
    /// Size of its header.
    pub binary_hdr_size: u64,
    /// Size of its decoded body.
    pub binary_body_size: u64,
    /// Lines of its decoded body.
    pub binary_body_lines_count: u64,
}

/// The data of a `binary.parts` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryParts<'a> {
    /// The field's data.
    pub data: &'a [u8],
    /// Where the data begins in the cache file.
    pub offset: u64,
}

impl<'a> BinaryParts<'a> {
    /// The parts in file order; Dovecot keeps them in reverse. Ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<(BinaryPart, Range<usize>), Flaw>> + use<'a> {
        let BinaryParts { data, offset } = *self;
        let mut at = 0usize;
        std::iter::from_fn(move || {
            let start = at;
            let rest = data.get(at..).filter(|rest| !rest.is_empty())?;
            let Some((part, used)) = binary_part(rest) else {
                at = data.len();
                return Some(Err(Flaw::new(
                    FileKind::Cache,
                    offset.saturating_add(start as u64),
                    FlawKind::BinaryParts,
                    "four packed numbers, the last of 32 bits",
                    "the end of the data or a number too large",
                )));
            };
            at = at.saturating_add(used);
            Some(Ok((part, start..at)))
        })
    }

    /// Passes a list of objects called `name` to `visitor`, up to the first thing that is broken.
    ///
    /// # Errors
    /// What the iterator stopped at.
    pub fn visit<V: Visit + ?Sized>(&self, name: &str, visitor: &mut V) -> Result<(), Flaw> {
        let mut end = Ok(());
        visitor.list_begin(name);
        for part in self.iter() {
            match part {
                Ok((part, range)) => {
                    visitor.place(range);
                    visitor.object_begin("");
                    visitor.number("physical_pos", part.physical_pos);
                    visitor.number("binary_hdr_size", part.binary_hdr_size);
                    visitor.number("binary_body_size", part.binary_body_size);
                    visitor.number("binary_body_lines_count", part.binary_body_lines_count);
                    visitor.object_end();
                }
                Err(error) => end = Err(error),
            }
        }
        visitor.list_end();
        end
    }
}

fn binary_part(bytes: &[u8]) -> Option<(BinaryPart, usize)> {
    let mut at = 0usize;
    let mut next = || {
        let (value, used) = numpack(bytes.get(at..)?)?;
        at = at.saturating_add(used);
        Some(value)
    };
    let part = BinaryPart {
        physical_pos: next()?,
        binary_hdr_size: next()?,
        binary_body_size: next()?,
        binary_body_lines_count: next().filter(|&lines| u32::try_from(lines).is_ok())?,
    };
    Some((part, at))
}

/// The data of a `hdr.*` field: the line numbers of the header's occurrences, a zero, and the raw lines. No data at all
/// says that the message has no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLines<'a> {
    numbers: &'a [u8],
    endian: Endian,
    /// The raw lines: name, colon, value, continuation lines, each with its LF; empty when the header is absent.
    pub raw: &'a [u8],
    /// Does a zero end the line numbers, as it must unless there is no data?
    pub terminated: bool,
}

impl<'a> HeaderLines<'a> {
    /// Takes the data of a `hdr.*` field apart. Without the ending zero everything counts as line numbers.
    #[inline]
    pub fn parse(data: &'a [u8], endian: Endian) -> Self {
        let words = data.chunks_exact(4);
        let count = words.clone().position(|word| word == [0; 4]);
        let end = count.unwrap_or(words.len()).saturating_mul(4);
        let numbers = data.get(..end).unwrap_or_default();
        let raw = match count {
            Some(_) => data.get(end.saturating_add(4)..).unwrap_or_default(),
            None => &[],
        };
        HeaderLines { numbers, endian, raw, terminated: count.is_some() || data.is_empty() }
    }

    /// Is the header there at all?
    pub fn exists(&self) -> bool {
        !self.numbers.is_empty() || !self.raw.is_empty()
    }

    /// The 1-based numbers of the lines in the message where the header occurs.
    pub fn lines(&self) -> impl Iterator<Item = u32> + use<'a> {
        let endian = self.endian;
        self.numbers.chunks_exact(4).filter_map(move |word| endian.u32_at(word, 0))
    }

    /// Passes `{"lines": [..], "raw": ".."}` to `visitor` as the object called `name`.
    #[inline]
    pub fn visit<V: Visit + ?Sized>(&self, name: &str, visitor: &mut V) {
        visitor.object_begin(name);
        visitor.list_begin("lines");
        let mut at = 0usize;
        for line in self.lines() {
            let end = at.saturating_add(4);
            visitor.place(at..end);
            visitor.number("", u64::from(line));
            at = end;
        }
        visitor.list_end();
        at = at.saturating_add(4);
        visitor.place(at..at.saturating_add(self.raw.len()));
        visitor.text("raw", self.raw);
        visitor.object_end();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::super::ext::testing::{Json, unhex};
    use super::*;

    fn parts(data: &[u8]) -> MimeParts<'_> {
        MimeParts { data, offset: 100, endian: Endian::Little }
    }

    /// mime.parts of uid 2 of 2.4.1/mdbox/fresh, for which doveadm dump prints
    /// `(pos=0 hdr.p=920 hdr.v=938 body.p=358 body.v=369 flags=41 (pos=943 hdr.p=41 hdr.v=43 body.p=89 body.v=89
    /// flags=48)(pos=1088 hdr.p=40 hdr.v=42 body.p=124 body.v=124 flags=48))`.
    const ALTERNATIVE: &str = "41000000 9803000000000000 aa03000000000000 6601000000000000 7101000000000000 02000000
        48000000 af03000000000000 2900000000000000 2b00000000000000 5900000000000000 5900000000000000 00000000
        48000000 4004000000000000 2800000000000000 2a00000000000000 7c00000000000000 7c00000000000000 00000000";

    #[test]
    fn real_tree() {
        let data = unhex(ALTERNATIVE);
        let found: Vec<MimePart> = parts(&data).iter().map(Result::unwrap).collect();
        let text = found.iter().map(|part| {
            let MimePart { depth, physical_pos, header_physical_size, header_virtual_size, .. } = part;
            let (body, virt) = (part.body_physical_size, part.body_virtual_size);
            format!(
                "{depth} {physical_pos} {header_physical_size} {header_virtual_size} {body} {virt} {:x}",
                part.flags
            )
        });
        assert_eq!(
            text.collect::<Vec<_>>(),
            ["0 0 920 938 358 369 41", "1 943 41 43 89 89 48", "1 1088 40 42 124 124 48"]
        );
        assert_eq!((found[0].at, found[1].at.0, found[2].at.1), ((0, 40), 40, data.len()));
        assert_eq!(parts(&data).problem(), None);
    }

    #[test]
    fn tree_as_json() {
        let data = unhex(ALTERNATIVE);
        let mut json = Json::default();
        parts(&data).visit("mime.parts", &mut json).unwrap();
        let leaf = |numbers: &str| {
            let [pos, p, v, bp, bv]: [&str; 5] = numbers.split(' ').collect::<Vec<_>>().try_into().unwrap();
            format!(
                "{{\"physical_pos\":{pos},\"header_physical_size\":{p},\"header_virtual_size\":{v},\
                 \"body_physical_size\":{bp},\"body_virtual_size\":{bv},\"body_lines\":0,\
                 \"flags\":72,\"children\":[]}}"
            )
        };
        let root = "\"mime.parts\":{\"physical_pos\":0,\"header_physical_size\":920,\"header_virtual_size\":938,\
                    \"body_physical_size\":358,\"body_virtual_size\":369,\"flags\":65,\
                    \"children\":[";
        assert_eq!(json.0, format!("{root}{},{}]}}", leaf("943 41 43 89 89"), leaf("1088 40 42 124 124")));
    }

    #[test]
    fn broken_trees_close_what_they_opened() {
        let data = unhex(ALTERNATIVE);
        for len in 0..data.len() {
            let mut json = Json::default();
            let error = parts(&data[..len]).visit("x", &mut json).unwrap_err();
            assert_eq!(error.have, "Not enough data");
            assert!(error.at >= 100 && error.at <= 100 + len as u64);
            for (open, close) in [('{', '}'), ('[', ']')] {
                assert_eq!(json.0.matches(open).count(), json.0.matches(close).count());
            }
            assert_eq!(json.0.starts_with("\"x\":\""), len < 40);
        }
        let mut more = data.clone();
        more.push(0);
        assert_eq!(parts(&more).problem().unwrap().have, "Too much data");
    }

    #[test]
    fn rules_of_deserializing() {
        let broken = |at: usize, byte: u8| {
            let mut data = unhex(ALTERNATIVE);
            data[at] = byte;
            parts(&data).problem().map(|problem| (problem.at, problem.have.into_owned()))
        };
        assert_eq!(broken(12, 0), Some((100, "header_size.virtual_size too small".into())));
        assert_eq!(broken(28, 0), Some((100, "body_size.virtual_size too small".into())));
        assert_eq!(broken(45, 2), Some((140, "physical_pos less than expected".into())));
        assert_eq!(broken(93, 7), Some((188, "child part location exceeds our size".into())));
        // A message/rfc822 part stores its lines before its children, of which it has one.
        let mut rfc822 = unhex(ALTERNATIVE);
        rfc822[0] = 4;
        let lines = rfc822[36..40].to_vec();
        rfc822.splice(36..36, lines);
        assert_eq!(parts(&rfc822).problem().unwrap().have, "message/rfc822 part has multiple children");
        rfc822[40] = 0;
        assert_eq!(parts(&rfc822[..44]).problem().unwrap().have, "message/rfc822 part has no children");
    }

    #[test]
    fn hostile_counts_end_with_the_data() {
        let mut data = unhex(ALTERNATIVE);
        data[36..40].fill(0xff);
        assert_eq!(parts(&data).iter().filter(|part| part.is_ok()).count(), 3);
        assert_eq!(parts(&data).iter().last().unwrap().unwrap_err().have, "Not enough data");
        // Ten thousand multiparts, each in the one before: 44 bytes each, the first without a position.
        let mut nested = unhex(ALTERNATIVE)[..40].to_vec();
        nested[36] = 1;
        for _ in 0..10_000 {
            nested.extend_from_slice(&[1, 0, 0, 0]);
            nested.extend_from_slice(&[0; 40]);
            nested.extend_from_slice(&[1, 0, 0, 0]);
        }
        assert_eq!(parts(&nested).iter().filter(|part| part.is_ok()).count(), MAX_DEPTH - 1);
        let mut json = Json::default();
        assert!(parts(&nested).visit("x", &mut json).is_err());
        assert_eq!(json.0.matches('{').count(), json.0.matches('}').count());
    }

    #[test]
    fn levels_beyond_eight() {
        let mut levels = Levels::default();
        for depth in 0..20 {
            assert!(levels.push(2) && levels.take_one());
            assert_eq!(levels.depth(), depth);
        }
        assert_eq!((0..).take_while(|_| levels.take_one()).count(), 20);
        assert_eq!(levels.depth(), 0);
    }

    #[test]
    fn packed_numbers() {
        assert_eq!(numpack(&[0x7f]), Some((127, 1)));
        assert_eq!(numpack(&[0x80, 0x01, 9]), Some((128, 2)));
        assert_eq!(numpack(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some((u64::MAX, 10)));
        assert_eq!(numpack(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(numpack(&[0x80; 11]), None);
        assert_eq!(numpack(&[]), None);
    }

    #[test]
    fn binary_parts() {
        let data = [0x80, 0x01, 2, 3, 4, 5, 6, 7, 8];
        let mut json = Json::default();
        BinaryParts { data: &data, offset: 0 }.visit("", &mut json).unwrap();
        let want = concat!(
            r#"[{"physical_pos":128,"binary_hdr_size":2,"binary_body_size":3,"binary_body_lines_count":4},"#,
            r#"{"physical_pos":5,"binary_hdr_size":6,"binary_body_size":7,"binary_body_lines_count":8}]"#,
        );
        assert_eq!(json.0, want);
        let found: Vec<_> = BinaryParts { data: &data[..7], offset: 50 }.iter().collect();
        assert_eq!((found.len(), found[1].as_ref().unwrap_err().at), (2, 55));
    }

    /// `hdr.Date` of format/cache.md, and the two ways to say that there is no such header.
    #[test]
    fn header_lines() {
        let mut data = vec![5, 0, 0, 0, 0, 0, 0, 0];
        data.extend_from_slice(b"Date: x\n");
        let header = HeaderLines::parse(&data, Endian::Little);
        assert_eq!((header.lines().collect::<Vec<_>>(), header.raw), (vec![5], &b"Date: x\n"[..]));
        assert!(header.exists() && header.terminated);
        let mut json = Json::default();
        header.visit("hdr.date", &mut json);
        assert_eq!(json.0, r#""hdr.date":{"lines":[5],"raw":"Date: x\n"}"#);
        let absent = HeaderLines::parse(&[], Endian::Little);
        assert!(!absent.exists() && absent.terminated);
        let broken = HeaderLines::parse(&[5, 0, 0, 0, 6, 0], Endian::Little);
        assert!(broken.exists() && !broken.terminated);
    }
}
