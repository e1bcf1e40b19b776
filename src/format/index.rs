//! `dovecot.index` and the siblings that share its format (`mail-index.h`, `mail-index-map-read.c`,
//! `mail-index-map-hdr.c`).

use std::collections::HashSet;

use super::disk::{Disk, disk_struct};
use super::ext::ExtHeader;
use super::flaw::note;
use super::{Endian, FileKind, Flaw, FlawKind, align8};

disk_struct! {
    /// The base header (`struct mail_index_header`).
    pub struct IndexHeader, 120 {
        0 => major_version: u8, "7";
        1 => minor_version: u8, "0 (1.0), 1 (1.1), 2 (1.1.rc6 to 2.1), 3 (2.2 and later)";
        2 => base_header_size: u16, "bytes of this header";
        4 => header_size: u32, "bytes of this header and all extension headers";
        8 => record_size: u32, "bytes of one record, extension data included";
        12 => compat_flags: u8, "bit 0: little-endian";
        13 => unused: [u8; 3], "zero";
        16 => indexid: u32, "ties index, log and cache; UNIX time of creation";
        20 => flags: u32, "1 corrupted, 2 have dirty, 4 fscked";
        24 => uid_validity: u32, "IMAP UIDVALIDITY";
        28 => next_uid: u32, "IMAP UIDNEXT";
        32 => messages_count: u32, "number of records";
        36 => unused_old_recent_messages_count: u32, "zero";
        40 => seen_messages_count: u32, "records with \\Seen";
        44 => deleted_messages_count: u32, "records with \\Deleted";
        48 => first_recent_uid: u32, "messages from here on are \\Recent";
        52 => first_unseen_uid_lowwater: u32, "no unseen message has a lower UID";
        56 => first_deleted_uid_lowwater: u32, "no \\Deleted message has a lower UID";
        60 => log_file_seq: u32, "log that the offsets belong to";
        64 => log_file_tail_offset: u32, "requests before it have been executed on the mailbox";
        68 => log_file_head_offset: u32, "records before it are in this index";
        72 => unused_old_sync_size_part1: u32, "zero";
        76 => log2_rotate_time: u32 as time, "UNIX time of the last rotation; 0 unknown, 0xffffffff no .log.2";
        80 => last_temp_file_scan: u32 as time, "UNIX time";
        84 => day_stamp: u32 as time, "start of the local day of the last append, UNIX time";
        88 => day_first_uid: [u32; 8], "first UID appended on day_stamp and the seven days with mail before it";
    }
}

/// Bits of [`IndexHeader::flags`].
pub mod header_flag {
    /// Never written; a file that has it is deleted by Dovecot.
    pub const CORRUPTED: u32 = 1;
    /// Some record has the DIRTY bit.
    pub const HAVE_DIRTY: u32 = 2;
    /// An fsck changed the file (2.2.27 and later).
    pub const FSCKD: u32 = 4;
    /// All that there are.
    pub const ALL: u32 = CORRUPTED | HAVE_DIRTY | FSCKD;
}

/// Bytes of a record that are not extension data: UID and flags.
pub const RECORD_MIN_SIZE: usize = 5;
/// Bytes of `struct mail_index_record`; the smallest record.
pub const RECORD_SIZE: usize = 8;

impl IndexHeader {
    /// The header of an index that does not exist yet (`mail_index_map_alloc`).
    pub fn empty(indexid: u32, endian: Endian) -> IndexHeader {
        let mut header = IndexHeader::read(&[], endian);
        header.major_version = 7;
        header.minor_version = 3;
        header.base_header_size = 120;
        header.header_size = 120;
        header.record_size = 8;
        header.compat_flags = u8::from(endian == Endian::Little);
        header.indexid = indexid;
        header.log_file_seq = 1;
        header.next_uid = 1;
        header.first_recent_uid = 1;
        header
    }
}

/// An extension header in a file.
#[derive(Clone, Debug)]
pub struct ExtView<'a> {
    /// File offset of the fixed part.
    pub at: usize,
    /// The fixed part.
    pub header: ExtHeader,
    /// The name, as stored.
    pub name: &'a [u8],
    /// File offset of the header data.
    pub data_at: usize,
    /// `hdr_size` bytes of header data.
    pub data: &'a [u8],
    /// The header data with its padding to a multiple of 8.
    pub padded: &'a [u8],
}

/// A main index, decoded as far as its bytes allow.
#[derive(Clone, Debug)]
pub struct IndexFile<'a> {
    /// The whole file.
    pub bytes: &'a [u8],
    /// Byte order.
    pub endian: Endian,
    /// The base header; bytes past the end of the file count as zero.
    pub header: IndexHeader,
    /// Where the first extension header starts: `base_header_size` rounded up to 8.
    pub extensions_at: usize,
    /// The extension headers that could be read, in file order.
    pub extensions: Vec<ExtView<'a>>,
    /// File offset of the first record.
    pub records_at: usize,
    /// The whole records, `record_size` bytes each; at most `messages_count`.
    pub records: &'a [u8],
    /// Bytes of one record; at least 8 whenever `records` is not empty.
    pub record_size: usize,
    /// What is wrong with the structure of the file. Empty for a file that Dovecot opens without complaint about sizes.
    pub problems: Vec<Flaw>,
}

impl<'a> IndexFile<'a> {
    /// Decodes a main index.
    ///
    /// # Errors
    /// When this is not an index at all: empty, or neither version nor header size make sense in either byte order.
    pub fn parse(bytes: &'a [u8]) -> Result<IndexFile<'a>, Flaw> {
        let error =
            |at: usize, kind, need: String, have: String| Flaw::new(FileKind::Index, at as u64, kind, need, have);
        let plausible =
            |endian: Endian| endian.u16_at(bytes, 2).is_some_and(|n| (120..=4096).contains(&n) && n.is_multiple_of(4));
        let seen = match (plausible(Endian::Little), plausible(Endian::Big)) {
            (true, _) => Some(Endian::Little),
            (false, true) => Some(Endian::Big),
            (false, false) => None,
        };
        let said = bytes.get(12).map(|flags| if flags & 1 != 0 { Endian::Little } else { Endian::Big });
        let major = bytes.first().copied();
        if seen.is_none() && major != Some(7) {
            return Err(error(
                0,
                FlawKind::NoIndex,
                "major_version 7 and a base_header_size of 120 or more".into(),
                match major {
                    None => "an empty file".into(),
                    Some(major) => format!("major_version {major}"),
                },
            ));
        }
        // base_header_size reads sanely in one order only, so it outvotes a damaged compat_flags byte.
        let endian = seen.or(said).unwrap_or_default();
        let header = IndexHeader::read(bytes, endian);
        let mut problems = Vec::new();
        if bytes.len() < IndexHeader::SIZE {
            problems.push(error(0, FlawKind::IndexShort, "120 bytes".into(), format!("{} bytes", bytes.len())));
        }
        if header.major_version != 7 {
            problems.push(error(0, FlawKind::IndexVersion, "7".into(), header.major_version.to_string()));
        }
        if let (Some(said), Some(seen)) = (said, seen)
            && said != seen
        {
            problems.push(error(12, FlawKind::IndexByteOrder, seen.name().into(), said.name().into()));
        }
        if header.flags & header_flag::CORRUPTED != 0 {
            problems.push(error(20, FlawKind::IndexCorrupted, "0".into(), format!("0x{:x}", header.flags)));
        }
        let base = usize::from(header.base_header_size);
        let header_size = usize::try_from(header.header_size).unwrap_or(usize::MAX);
        if base < IndexHeader::SIZE {
            problems.push(error(2, FlawKind::BaseHeaderSize, "120 or more".into(), base.to_string()));
        }
        if header_size < base {
            problems.push(error(
                4,
                FlawKind::HeaderSize,
                format!("at least base_header_size {base}"),
                header_size.to_string(),
            ));
        }
        if header_size > bytes.len() {
            problems.push(error(
                4,
                FlawKind::HeaderPastFile,
                format!("at most {} bytes", bytes.len()),
                header_size.to_string(),
            ));
        }
        let base = base.clamp(IndexHeader::SIZE, bytes.len().max(IndexHeader::SIZE));
        let records_at = header_size.clamp(base, bytes.len().max(base));
        let extensions_at = align8(base);
        let extensions = Self::parse_extensions(bytes, endian, extensions_at, records_at, &mut problems);

        let record_size = usize::try_from(header.record_size).unwrap_or(usize::MAX);
        let area = bytes.get(records_at..).unwrap_or_default();
        let mut records = <&[u8]>::default();
        if record_size < RECORD_SIZE {
            problems.push(error(8, FlawKind::RecordSizeSmall, "at least 8".into(), record_size.to_string()));
        } else {
            let wanted = usize::try_from(header.messages_count).unwrap_or(usize::MAX);
            let there = area.len().checked_div(record_size).unwrap_or(0);
            if wanted > there {
                problems.push(error(
                    32,
                    FlawKind::MessagesCount,
                    format!("at most {there} records of {record_size} bytes"),
                    wanted.to_string(),
                ));
            }
            records = area.get(..wanted.min(there).saturating_mul(record_size)).unwrap_or_default();
        }
        Ok(IndexFile {
            bytes,
            endian,
            header,
            extensions_at,
            extensions,
            records_at,
            records,
            record_size: record_size.max(RECORD_SIZE),
            problems,
        })
    }

    fn parse_extensions(
        bytes: &'a [u8],
        endian: Endian,
        start: usize,
        end: usize,
        problems: &mut Vec<Flaw>,
    ) -> Vec<ExtView<'a>> {
        let mut list: Vec<ExtView<'a>> = Vec::new();
        let mut names = HashSet::new();
        let area = bytes.get(..end).unwrap_or(bytes);
        let mut at = start;
        while at < area.len() {
            let Some(view) = Self::extension_at(area, endian, at) else {
                problems.push(Flaw::new(
                    FileKind::Index,
                    at as u64,
                    FlawKind::ExtOutsideHeader(list.len()),
                    format!("an extension header that ends by {end}"),
                    format!("{} bytes left", area.len().saturating_sub(at)),
                ));
                break;
            };
            if !names.insert(view.name) || view.name.is_empty() {
                let kind = if view.name.is_empty() { FlawKind::ExtNameEmpty } else { FlawKind::ExtNamedTwice };
                let name = format!("{:?}", String::from_utf8_lossy(view.name));
                let need = "a name of its own for each extension";
                note(problems, [Flaw::new(FileKind::Index, at as u64, kind, need, name)]);
            }
            at = view.data_at.saturating_add(view.padded.len());
            list.push(view);
        }
        list
    }

    fn extension_at(area: &'a [u8], endian: Endian, at: usize) -> Option<ExtView<'a>> {
        let name_at = at.checked_add(ExtHeader::SIZE)?;
        let header = ExtHeader::read(area.get(at..name_at)?, endian);
        let name_end = name_at.checked_add(usize::from(header.name_size))?;
        let name = area.get(name_at..name_end)?;
        let data_at = align8(name_end);
        let size = usize::try_from(header.hdr_size).ok()?;
        let data_end = data_at.checked_add(size)?;
        let data = area.get(data_at..data_end)?;
        let padded = area.get(data_at..align8(data_end)).or_else(|| area.get(data_at..))?;
        Some(ExtView { at, header, name, data_at, data, padded })
    }

    /// Number of whole records.
    pub fn count(&self) -> usize {
        self.records.len().checked_div(self.record_size).unwrap_or(0)
    }

    /// The records in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        self.records.chunks_exact(self.record_size)
    }

    /// The record at 0-based position `i`.
    pub fn record(&self, i: usize) -> Option<&'a [u8]> {
        let start = i.checked_mul(self.record_size)?;
        self.records.get(start..start.checked_add(self.record_size)?)
    }

    /// UID of the record at 0-based position `i`.
    pub fn uid(&self, i: usize) -> Option<u32> {
        self.endian.u32_at(self.record(i)?, 0)
    }

    /// Position of the first record with a UID of at least `uid`, by binary search as Dovecot does it.
    pub fn lower_bound(&self, uid: u32) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let mid = low.midpoint(high);
            if self.uid(mid).is_some_and(|have| have < uid) {
                low = mid.saturating_add(1);
            } else {
                high = mid;
            }
        }
        low
    }

    /// The extension with that name.
    pub fn extension(&self, name: &[u8]) -> Option<&ExtView<'a>> {
        self.extensions.iter().find(|ext| ext.name == name)
    }

    /// Bytes after the last record; a sound file has none.
    pub fn trailing(&self) -> &'a [u8] {
        self.bytes.get(self.records_at.saturating_add(self.records.len())..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 216 bytes of the worked example in `format/replay.md`, cut to its first two extensions and two
    /// records.
    fn sample() -> Vec<u8> {
        let mut header = IndexHeader::empty(7, Endian::Little);
        header.header_size = 208;
        header.record_size = 12;
        header.messages_count = 2;
        header.next_uid = 3;
        let mut bytes = header.to_bytes(Endian::Little);
        bytes.extend([0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0]);
        bytes.extend(b"maildir\0");
        bytes.extend([9; 36]);
        bytes.extend([0; 4]);
        bytes.extend([0, 0, 0, 0, 7, 0, 0, 0, 8, 0, 4, 0, 4, 0, 5, 0]);
        bytes.extend(b"cache\0\0\0");
        bytes.extend([1, 0, 0, 0, 8, 0, 0, 0, 0x84, 1, 0, 0]);
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn extensions_and_records() {
        let bytes = sample();
        let index = IndexFile::parse(&bytes).expect("an index");
        assert!(index.problems.is_empty(), "{:?}", index.problems);
        assert_eq!(index.extensions.len(), 2);
        assert_eq!((index.extensions[0].name, index.extensions[0].data.len()), (&b"maildir"[..], 36));
        assert_eq!(index.extensions[0].padded.len(), 40);
        assert_eq!(index.extension(b"cache").map(|e| e.header.record_offset), Some(8));
        assert_eq!((index.count(), index.uid(1), index.lower_bound(2)), (2, Some(2), 1));
        assert!(index.trailing().is_empty());
    }

    #[test]
    fn records_past_the_file_are_clipped_and_named() {
        let bytes = sample();
        let index = IndexFile::parse(&bytes[..bytes.len() - 1]).expect("an index");
        assert_eq!(index.count(), 1);
        assert_eq!(index.problems.len(), 1);
        assert_eq!(index.trailing().len(), 11);
    }

    #[test]
    fn every_truncation_is_survived() {
        let bytes = sample();
        for len in 0..bytes.len() {
            if let Ok(index) = IndexFile::parse(&bytes[..len]) {
                assert!(!index.problems.is_empty(), "{len}");
            } else {
                assert!(len == 0);
            }
        }
    }
}
