//! The header of `keywords`, and the bits of a record that say which keywords a message has.

use std::collections::HashSet;
use std::ops::Range;

use super::super::endian::Endian;
use super::super::flaw::{Flaw, FlawKind};
use super::super::{FileKind, align4};

/// The numbers of the keywords set in a record's bitmap, ascending.
pub fn keyword_bits(bitmap: &[u8]) -> impl Iterator<Item = u32> {
    (0u32..).step_by(8).zip(bitmap).flat_map(|(first, &byte)| {
        (0..8u32).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| first.saturating_add(bit))
    })
}

/// The bytes of a `keywords` header with more names behind those of `old`, padded to a multiple of 4, and how many
/// names it then has (`keywords_get_header_buf`). What is in an old header that cannot be read is left out.
pub fn keywords_header(old: Option<&[u8]>, more: &[impl AsRef<[u8]>], endian: Endian) -> (Vec<u8>, usize) {
    let parts = old.and_then(|header| {
        let count = endian.u32_at(header, 0)? as usize;
        let names_at = count.checked_mul(8)?.checked_add(4)?;
        let last = endian.u32_at(header, names_at.checked_sub(4).filter(|_| count > 0)?)? as usize;
        let names = header.get(names_at..)?;
        let end = last.checked_add(until_nul(names.get(last..)?).len())?.checked_add(1)?;
        Some((count, header.get(4..names_at)?, names.get(..end)?))
    });
    let (count, recs, names) = parts.unwrap_or((0, &[], &[]));
    let (mut recs, mut names) = (recs.to_vec(), names.to_vec());
    let number = |n: usize| endian.u32_bytes(u32::try_from(n).unwrap_or(u32::MAX));
    for name in more {
        recs.extend([0; 4]);
        recs.extend(number(names.len()));
        names.extend(name.as_ref());
        names.push(0);
    }
    let count = count.saturating_add(more.len());
    let mut out = [&number(count)[..], &recs, &names].concat();
    out.resize(align4(out.len()), 0);
    (out, count)
}

/// One keyword of the `keywords` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordEntry<'a> {
    /// Its `struct mail_index_keyword_header_rec`, 8 bytes, absolute.
    pub rec: Range<u64>,
    /// Where its name begins, in bytes from the start of the names.
    pub name_offset: u32,
    /// The name without its NUL; `None` when `name_offset` points outside the header.
    pub name: Option<&'a [u8]>,
    /// The bytes of the name with its NUL, absolute; empty when there is none.
    pub name_range: Range<u64>,
}

/// How many problems of one header are told apart; a damaged one can have as many as it has bytes.
pub(super) const MAX_PROBLEMS: usize = 100;

/// The header of `keywords`: `{u32 count; {u32 unused; u32 name_offset}[count]; names}`, then spare zero bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeywordsHeader<'a> {
    /// The count as it stands in the file.
    pub keywords_count: u32,
    /// The keywords whose record is inside the header, in the order of their numbers.
    pub keywords: Vec<KeywordEntry<'a>>,
    /// The area of the names with its spare bytes, absolute.
    pub names: Range<u64>,
    /// What `mail_index_map_parse_keywords` and fsck object to.
    pub problems: Vec<Flaw>,
}

impl<'a> KeywordsHeader<'a> {
    /// Decodes the header data of `keywords`, which begins at `base` in the file. Never fails: `problems` tells what
    /// could not be read. An empty header is that of an index without keywords.
    pub fn parse(bytes: &'a [u8], base: u64, endian: Endian) -> Self {
        let mut header = KeywordsHeader::default();
        let at = |n: usize| base.saturating_add(n as u64);
        if bytes.is_empty() {
            header.names = base..base;
            return header;
        }
        header.keywords_count = endian.u32_at(bytes, 0).unwrap_or_default();
        let (recs, room) = keyword_recs(bytes, header.keywords_count);
        if !room || bytes.len() < 4 {
            header.problems.push(Flaw::new(
                FileKind::Index,
                base,
                FlawKind::KeywordsCount,
                format!("4 + 8 * count <= header size {}", bytes.len()),
                format!("{} (keywords_count larger than header size)", header.keywords_count),
            ));
        }
        let names_at = recs.len().saturating_add(4).min(bytes.len());
        let names = bytes.get(names_at..).unwrap_or_default();
        header.names = at(names_at)..at(bytes.len());
        let mut seen = HashSet::new();
        let mut expected = 0usize;
        // Names may overlap in a hostile file; what is read of them in all is held to what is there.
        let mut budget = names.len();
        for (i, rec) in recs.chunks_exact(8).enumerate() {
            let rec_at = i.saturating_mul(8).saturating_add(4);
            let name_offset = endian.u32_at(rec, 4).unwrap_or_default();
            let from = name_offset as usize;
            let name = names.get(from..).filter(|_| budget > 0).map(until_nul);
            let len = name.map_or(0, <[u8]>::len);
            budget = budget.saturating_sub(len.saturating_add(1));
            let name_at = names_at.saturating_add(from);
            let end = name_at.saturating_add(len).saturating_add(1).min(bytes.len());
            let entry = KeywordEntry {
                rec: at(rec_at)..at(rec_at.saturating_add(8)),
                name_offset,
                name,
                name_range: if name.is_some() { at(name_at)..at(end) } else { at(names_at)..at(names_at) },
            };
            entry.judge(&mut seen, names.len(), expected, &mut header.problems);
            expected = from.saturating_add(len).saturating_add(1);
            header.keywords.push(entry);
        }
        if names.last().is_some_and(|&last| last != 0) {
            header.problems.push(Flaw::new(
                FileKind::Index,
                at(bytes.len().saturating_sub(1)),
                FlawKind::KeywordNamesEnd,
                "NUL as the last byte",
                "Keyword header doesn't end with NUL",
            ));
        }
        header
    }
}

impl KeywordEntry<'_> {
    /// The rules for one keyword; `seen` holds the names before it in lower case, as Dovecot compares them.
    fn judge(&self, seen: &mut HashSet<Vec<u8>>, names_len: usize, expected: usize, problems: &mut Vec<Flaw>) {
        let mut add = |at: u64, kind: FlawKind, need: String, have: String| {
            if problems.len() < MAX_PROBLEMS {
                problems.push(Flaw::new(FileKind::Index, at, kind, need, have));
            }
        };
        let offset_at = self.rec.start.saturating_add(4);
        let Some(name) = self.name else {
            return add(
                offset_at,
                FlawKind::KeywordNameOutside,
                format!("at most {names_len}"),
                format!("{} (name_offset points outside allocated header)", self.name_offset),
            );
        };
        if self.name_offset as usize != expected {
            add(
                offset_at,
                FlawKind::KeywordNameOffset,
                expected.to_string(),
                format!("{} (Mismatching keyword name_offset)", self.name_offset),
            );
        }
        if name.is_empty() {
            add(self.name_range.start, FlawKind::KeywordNameEmpty, "at least one byte".into(), "empty name".into());
        } else if let Some(control) = name.iter().find(|&&c| c < 0x20 || c == 0x7f) {
            add(
                self.name_range.start,
                FlawKind::KeywordNameControl,
                "no control characters".into(),
                format!("byte {control:#04x}"),
            );
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            let name = String::from_utf8_lossy(name).into_owned();
            add(self.name_range.start, FlawKind::KeywordNamedTwice, "a name used only once".into(), name);
        }
    }
}

/// What comes before the first NUL, or everything.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// The keyword records that are inside the header, and whether that is all of them.
fn keyword_recs(bytes: &[u8], count: u32) -> (&[u8], bool) {
    let rest = bytes.get(4..).unwrap_or_default();
    let want = (count as usize).saturating_mul(8);
    match rest.get(..want) {
        Some(recs) => (recs, true),
        None => (rest, false),
    }
}
