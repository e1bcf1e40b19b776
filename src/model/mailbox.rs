//! The state of a mailbox, as Dovecot's in-memory map holds it (`mail-index-map.c`).
//!
//! Records are kept as one array of `record_size` bytes each, in the byte order of the file: unknown extensions, unused
//! bits and padding travel through replay untouched and come out again in [`Mailbox::encode`], byte for byte.

use crate::format::ext::{ExtHeader, KeywordsHeader, keyword_bits};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::BY_NAME;
use crate::format::record::Intro;
use crate::format::{Disk, Endian, align8};

/// An extension of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The name.
    pub name: Vec<u8>,
    /// Generation of the data.
    pub reset_id: u32,
    /// Offset of the data in a record; 0 when there is none.
    pub record_offset: u16,
    /// Bytes per record.
    pub record_size: u16,
    /// Alignment in the record.
    pub record_align: u16,
    /// Bytes of header data.
    pub hdr_size: u32,
    /// The header data, padded to a multiple of 8.
    pub data: Vec<u8>,
}

impl Extension {
    /// The header data without its padding.
    pub fn header(&self) -> &[u8] {
        self.data.get(..self.hdr_size as usize).unwrap_or(&self.data)
    }

    /// Where the data lies in a record.
    pub fn range(&self) -> std::ops::Range<usize> {
        let start = usize::from(self.record_offset);
        start..start + usize::from(self.record_size)
    }

    /// Bytes of the whole extension header in a file.
    fn encoded_len(&self) -> usize {
        align8(ExtHeader::SIZE + self.name.len()) + self.data.len()
    }
}

/// `struct mail_index_modseq_header`: up to where the per-message modseqs are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModseqHeader {
    /// HIGHESTMODSEQ.
    pub highest_modseq: u64,
    /// Log file of the position.
    pub log_seq: u32,
    /// Offset of the position.
    pub log_offset: u32,
}

/// A mailbox.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Byte order of the files.
    pub endian: Endian,
    /// The base header.
    pub header: IndexHeader,
    /// Base header bytes after the known 120, with the padding before the first extension.
    pub base_rest: Vec<u8>,
    /// The extensions in file order: their positions are the numbers that logs use.
    pub extensions: Vec<Extension>,
    records: Vec<u8>,
    /// One bit per record that has been expunged but not yet taken out of `records`.
    dead: Vec<u64>,
    dead_count: usize,
    keywords: Vec<Vec<u8>>,
}

impl Mailbox {
    /// The mailbox before its first log record.
    pub fn empty(indexid: u32, endian: Endian) -> Mailbox {
        Mailbox {
            endian,
            header: IndexHeader::empty(indexid, endian),
            base_rest: Vec::new(),
            extensions: Vec::new(),
            records: Vec::new(),
            dead: Vec::new(),
            dead_count: 0,
            keywords: Vec::new(),
        }
    }

    /// The state stored in a main index. Bytes that could not be decoded are left out; headers of versions before 7.3
    /// are upgraded as Dovecot does it in memory (`mail_index_map_check_header`).
    pub fn load(index: &IndexFile<'_>) -> Mailbox {
        let mut mailbox = Mailbox {
            endian: index.endian,
            header: index.header.clone(),
            base_rest: index.bytes.get(IndexHeader::SIZE..index.extensions_at).unwrap_or_default().to_vec(),
            extensions: index
                .extensions
                .iter()
                .map(|ext| Extension {
                    name: ext.name.to_vec(),
                    reset_id: ext.header.reset_id,
                    record_offset: ext.header.record_offset,
                    record_size: ext.header.record_size,
                    record_align: ext.header.record_align,
                    hdr_size: ext.header.hdr_size,
                    data: {
                        let mut data = ext.padded.to_vec();
                        data.resize(align8(data.len()), 0);
                        data
                    },
                })
                .collect(),
            records: index.records.to_vec(),
            dead: Vec::new(),
            dead_count: 0,
            keywords: Vec::new(),
        };
        mailbox.header.record_size = u32::try_from(index.record_size).unwrap_or(u32::MAX);
        mailbox.upgrade_header();
        mailbox.reload_keywords();
        mailbox
    }

    fn upgrade_header(&mut self) {
        let header = &mut self.header;
        if header.minor_version == 0 {
            header.unused_old_recent_messages_count = 0;
            header.first_recent_uid = header.first_recent_uid.max(1);
        }
        if header.minor_version <= 1 {
            let stride = header.record_size as usize;
            for record in self.records.chunks_exact_mut(stride.max(8)) {
                record[4] &= !0x20;
            }
        }
        if header.minor_version <= 2 {
            header.unused_old_sync_size_part1 = 0;
            header.log2_rotate_time = 0;
            header.last_temp_file_scan = 0;
        }
        header.minor_version = header.minor_version.max(3);
    }

    /// Bytes of one record.
    #[inline]
    pub fn record_size(&self) -> usize {
        self.header.record_size as usize
    }

    /// Records in memory, those already expunged included.
    #[inline]
    pub fn physical_len(&self) -> usize {
        self.records.len() / self.record_size().max(1)
    }

    /// Number of messages.
    #[inline]
    pub fn len(&self) -> usize {
        self.physical_len() - self.dead_count
    }

    /// True when there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when the record at position `i` has been expunged.
    #[inline]
    pub(super) fn is_dead(&self, i: usize) -> bool {
        self.dead_count > 0 && self.dead.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 != 0)
    }

    pub(super) fn kill(&mut self, i: usize) {
        let word = i / 64;
        if self.dead.len() <= word {
            self.dead.resize(word + 1, 0);
        }
        let bit = 1 << (i % 64);
        if self.dead[word] & bit == 0 {
            self.dead[word] |= bit;
            self.dead_count += 1;
        }
    }

    /// Takes expunged records out of the array once they are most of it, so that they cost no more than they are worth.
    pub(super) fn compact_if_sparse(&mut self) {
        if self.dead_count > 64 + self.physical_len() / 2 {
            self.compact();
        }
    }

    /// Takes expunged records out of the array.
    pub fn compact(&mut self) {
        if self.dead_count == 0 {
            return;
        }
        let stride = self.record_size();
        let mut to = 0;
        for i in 0..self.physical_len() {
            if !self.is_dead(i) {
                self.records.copy_within(i * stride..(i + 1) * stride, to);
                to += stride;
            }
        }
        self.records.truncate(to);
        self.dead.clear();
        self.dead_count = 0;
    }

    /// Replaces all records: `records` has `record_size` bytes for each message, by rising UID.
    pub fn set_records(&mut self, records: Vec<u8>) {
        self.records = records;
        self.dead.clear();
        self.dead_count = 0;
        self.header.messages_count = u32::try_from(self.physical_len()).unwrap_or(u32::MAX);
    }

    /// All records, expunged ones included.
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    /// Positions of the messages, in UID order.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.physical_len()).filter(|i| !self.is_dead(*i))
    }

    /// The bytes of the record at position `i`.
    #[inline]
    pub fn record(&self, i: usize) -> &[u8] {
        let stride = self.record_size();
        &self.records[i * stride..(i + 1) * stride]
    }

    /// The bytes of the record at position `i`.
    #[inline]
    pub fn record_mut(&mut self, i: usize) -> &mut [u8] {
        let stride = self.record_size();
        &mut self.records[i * stride..(i + 1) * stride]
    }

    /// UID of the record at position `i`.
    #[inline]
    pub fn uid(&self, i: usize) -> u32 {
        self.endian.u32_at(self.record(i), 0).unwrap_or(0)
    }

    /// Flags byte of the record at position `i`.
    #[inline]
    pub fn flags(&self, i: usize) -> u8 {
        self.record(i)[4]
    }

    pub(super) fn push_record(&mut self, uid: u32, rest: [u8; 4]) {
        self.records.extend(self.endian.u32_bytes(uid));
        self.records.extend(rest);
        self.records.resize(self.records.len() + self.record_size() - 8, 0);
    }

    /// Bytes held by the record array.
    pub(super) fn records_bytes(&self) -> usize {
        self.records.len()
    }

    pub(super) fn records_mut(&mut self) -> &mut Vec<u8> {
        &mut self.records
    }

    /// Positions whose UIDs lie in `uid1..=uid2`; expunged ones included. Binary search, as Dovecot does it.
    pub fn lookup_range(&self, uid1: u32, uid2: u32) -> std::ops::Range<usize> {
        let (start, end) = (self.lower_bound(uid1), uid2.checked_add(1).map(|uid| self.lower_bound(uid)));
        let end = end.unwrap_or_else(|| self.physical_len());
        start..end.max(start)
    }

    /// Position of the message with that UID.
    pub fn lookup(&self, uid: u32) -> Option<usize> {
        let i = self.lower_bound(uid);
        (i < self.physical_len() && self.uid(i) == uid && !self.is_dead(i)).then_some(i)
    }

    /// Position of the first message with at least that UID. UIDs ascend by one or more, which leaves little to search
    /// where few are missing.
    fn lower_bound(&self, uid: u32) -> usize {
        let Some(end) = self.physical_len().checked_sub(1) else { return 0 };
        let (first, last) = (self.uid(0), self.uid(end));
        if uid <= first {
            return 0;
        }
        if uid > last {
            return end + 1;
        }
        let mut low = end.saturating_sub((last - uid) as usize);
        let mut high = end.min((uid - first) as usize);
        while low < high {
            let mid = low.midpoint(high);
            if self.uid(mid) < uid { low = mid + 1 } else { high = mid }
        }
        low
    }

    /// Number of the extension with that name.
    pub fn extension_id(&self, name: &[u8]) -> Option<usize> {
        self.extensions.iter().position(|ext| ext.name == name)
    }

    /// The extension with that name.
    pub fn extension(&self, name: &[u8]) -> Option<&Extension> {
        self.extensions.iter().find(|ext| ext.name == name)
    }

    /// An extension's bytes in the record at position `i`; `None` when its range does not lie in the record.
    #[inline]
    pub fn ext_bytes(&self, i: usize, ext: &Extension) -> Option<&[u8]> {
        if ext.record_size == 0 {
            return None;
        }
        self.record(i).get(ext.range())
    }

    /// Number of the extension that an introduction is of, whether or not there is one with that number; `None` when
    /// there is none of its name.
    pub fn introduced(&self, intro: &Intro<'_>) -> Option<usize> {
        match intro.intro.ext_id {
            BY_NAME => self.extension_id(intro.name),
            id => usize::try_from(id).ok(),
        }
    }

    /// The messages that have something in the cache, by position: offset of their newest record there, in bytes.
    pub fn cache_links(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let ext = self.extension(b"cache");
        let offset = move |i: usize| self.endian.u32_at(self.ext_bytes(i, ext?)?, 0);
        self.positions().filter_map(move |i| Some((i, offset(i).filter(|offset| *offset != 0)?)))
    }

    /// The keyword names, in the order of their bits.
    pub fn keywords(&self) -> &[Vec<u8>] {
        &self.keywords
    }

    /// The keyword names of an index file, in the order of their bits.
    pub fn keywords_of(index: &IndexFile<'_>) -> Vec<Vec<u8>> {
        index.extension(b"keywords").map(|ext| keyword_names(ext.data, index.endian)).unwrap_or_default()
    }

    /// Reads the keyword names again from the extension header.
    pub fn reload_keywords(&mut self) {
        self.keywords =
            self.extension(b"keywords").map(|ext| keyword_names(ext.header(), self.endian)).unwrap_or_default();
    }

    /// Takes note of a keyword that was added as the last of `count` to the extension header.
    pub(super) fn keyword_added(&mut self, name: &[u8], count: usize) {
        if self.keywords.len() + 1 == count {
            self.keywords.push(name.to_vec());
        } else {
            self.reload_keywords();
        }
    }

    /// Number of the keyword with that name; names are compared without regard to ASCII case.
    pub fn keyword_id(&self, name: &[u8]) -> Option<usize> {
        self.keywords.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    /// Numbers of the keywords set in the record at position `i`.
    pub fn keyword_ids(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        let bytes = self.extension(b"keywords").and_then(|ext| self.ext_bytes(i, ext)).unwrap_or_default();
        keyword_bits(bytes).map(|bit| bit as usize).filter(|id| *id < self.keywords.len())
    }

    /// UIDs of the messages that have a keyword.
    pub fn having<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = u32> + 'a {
        let id = self.keyword_id(name);
        self.positions().filter(move |i| self.keyword_ids(*i).any(|one| Some(one) == id)).map(|i| self.uid(i))
    }

    /// Names of the keywords set in the record at position `i`.
    pub fn keywords_at(&self, i: usize) -> impl Iterator<Item = &[u8]> + '_ {
        self.keyword_ids(i).filter_map(|id| self.keywords.get(id).map(Vec::as_slice))
    }

    /// The modseq header; `None` when modseqs are not tracked per message.
    pub fn modseq_header(&self) -> Option<ModseqHeader> {
        let ext = self.extension(b"modseq").filter(|ext| ext.hdr_size == 16)?;
        let data = ext.header();
        Some(ModseqHeader {
            highest_modseq: self.endian.u64_at(data, 0)?,
            log_seq: self.endian.u32_at(data, 8)?,
            log_offset: self.endian.u32_at(data, 12)?,
        })
    }

    /// Sets the modseq header, if modseqs are tracked per message.
    pub fn set_modseq_header(&mut self, header: ModseqHeader) {
        let endian = self.endian;
        if let Some(ext) = self.extensions.iter_mut().find(|ext| ext.name == b"modseq")
            && let Some(data) = ext.data.get_mut(..16)
        {
            data[..8].copy_from_slice(&endian.u64_bytes(header.highest_modseq));
            data[8..12].copy_from_slice(&endian.u32_bytes(header.log_seq));
            data[12..16].copy_from_slice(&endian.u32_bytes(header.log_offset));
        }
    }

    /// The modseq stored for the record at position `i`; 0: not set; `None`: modseqs are not tracked per message.
    pub fn record_modseq(&self, i: usize) -> Option<u64> {
        let ext = self.extension(b"modseq")?;
        self.endian.u64_at(self.record(i).get(usize::from(ext.record_offset)..)?, 0)
    }

    /// Bytes of the base header and all extension headers.
    pub(super) fn header_size(&self) -> usize {
        IndexHeader::SIZE + self.base_rest.len() + self.extensions.iter().map(Extension::encoded_len).sum::<usize>()
    }

    /// Makes `header.header_size` follow the extensions.
    pub fn update_header_size(&mut self) {
        // Dovecot pads between base header and extensions only once there is an extension.
        if !self.extensions.is_empty() {
            let padded = align8(IndexHeader::SIZE + self.base_rest.len());
            self.base_rest.resize(padded - IndexHeader::SIZE, 0);
        }
        self.header.header_size = u32::try_from(self.header_size()).unwrap_or(u32::MAX);
    }

    /// The bytes of `dovecot.index` for this state: the exact inverse of [`Mailbox::load`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.to_bytes(self.endian);
        out.extend(&self.base_rest);
        for ext in &self.extensions {
            let fixed = ExtHeader {
                hdr_size: ext.hdr_size,
                reset_id: ext.reset_id,
                record_offset: ext.record_offset,
                record_size: ext.record_size,
                record_align: ext.record_align,
                name_size: u16::try_from(ext.name.len()).unwrap_or(u16::MAX),
            };
            out.extend(fixed.to_bytes(self.endian));
            out.extend(&ext.name);
            out.resize(align8(out.len()), 0);
            out.extend(&ext.data);
        }
        out.reserve(self.len() * self.record_size());
        for i in self.positions() {
            out.extend(self.record(i));
        }
        out
    }
}

/// The names of a keywords extension header; a name that cannot be read is empty.
fn keyword_names(header: &[u8], endian: Endian) -> Vec<Vec<u8>> {
    let keywords = KeywordsHeader::parse(header, 0, endian).keywords;
    keywords.into_iter().map(|keyword| keyword.name.unwrap_or_default().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expunged_records_vanish_from_every_view() {
        let mut mailbox = Mailbox::empty(1, Endian::Little);
        for uid in [1, 5, 9] {
            mailbox.push_record(uid, [0; 4]);
        }
        mailbox.kill(1);
        assert_eq!(mailbox.len(), 2);
        assert_eq!(mailbox.lookup(5), None);
        assert_eq!(mailbox.lookup_range(2, u32::MAX), 1..3);
        assert_eq!(mailbox.positions().map(|i| mailbox.uid(i)).collect::<Vec<_>>(), [1, 9]);
        mailbox.compact();
        assert_eq!((mailbox.physical_len(), mailbox.lookup(9)), (2, Some(1)));
    }

    #[test]
    fn a_keyword_count_from_nowhere_allocates_nothing() {
        assert!(keyword_names(&[0xff; 16], Endian::Little).len() <= 2);
    }
}
