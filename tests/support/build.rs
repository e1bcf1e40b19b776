//! Builds index files byte by byte: hostile ones for the torture tests, large ones for the benchmarks.

use idx::format::cache::CacheHeader;
use idx::format::ext::ExtHeader;
use idx::format::index::IndexHeader;
use idx::format::log::LogHeader;
use idx::format::{Disk, Endian, packed};

/// Type word of an append.
pub const APPEND: u32 = 0x2;
/// Type word of a flag-update.
pub const FLAG_UPDATE: u32 = 0x4;
/// Type word of a header-update.
pub const HEADER_UPDATE: u32 = 0x20;
/// Type word of an ext-intro.
pub const EXT_INTRO: u32 = 0x40;
/// Type word of an ext-reset.
pub const EXT_RESET: u32 = 0x80;
/// Type word of an ext-hdr.
pub const EXT_HDR: u32 = 0x100;
/// Type word of an ext-hdr32.
pub const EXT_HDR32: u32 = 0x1_0000;
/// Type word of an ext-rec.
pub const EXT_REC: u32 = 0x200;
/// Type word of a keyword-update.
pub const KEYWORD_UPDATE: u32 = 0x400;
/// Type word of a keyword-reset.
pub const KEYWORD_RESET: u32 = 0x800;
/// Type word of an expunge by ranges.
pub const EXPUNGE: u32 = 0xcd91;
/// Type word of a modseq-update.
pub const MODSEQ_UPDATE: u32 = 0x8000;
/// Type word of a boundary.
pub const BOUNDARY: u32 = 0x8_0000;
/// Type word of an attribute-update.
pub const ATTRIBUTE_UPDATE: u32 = 0x10_0000;
/// The change has already been made in the storage.
pub const EXTERNAL: u32 = 0x1000_0000;

/// The `indexid` of everything built here.
pub const INDEXID: u32 = 0x6b03_c4fe;

/// Little-endian words.
pub fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A transaction log.
pub struct Log {
    /// The file so far.
    pub bytes: Vec<u8>,
}

impl Log {
    /// A log 1.3 that starts from an empty mailbox.
    pub fn new(initial_modseq: u64) -> Log {
        let header = LogHeader {
            major_version: 1,
            minor_version: 3,
            hdr_size: 40,
            indexid: INDEXID,
            file_seq: 2,
            prev_file_seq: 0,
            prev_file_offset: 0,
            create_stamp: INDEXID,
            initial_modseq,
            compat_flags: 1,
            unused: [0; 3],
            unused2: 0,
        };
        Log { bytes: header.to_bytes(Endian::Little) }
    }

    /// Adds a record.
    pub fn record(&mut self, type_raw: u32, payload: &[u8]) -> &mut Log {
        let size = u32::try_from(payload.len() + 8).expect("below 4 GiB");
        self.bytes.extend(packed::encode(size).expect("a multiple of 4"));
        self.bytes.extend(type_raw.to_le_bytes());
        self.bytes.extend(payload);
        self
    }

    /// Adds an append of messages with these UIDs.
    pub fn append(&mut self, uids: std::ops::RangeInclusive<u32>) -> &mut Log {
        let payload: Vec<u8> = uids.flat_map(|uid| words(&[uid, 0])).collect();
        self.record(APPEND, &payload)
    }

    /// Adds an ext-intro: by name, or by number when the name is empty.
    pub fn intro(&mut self, ext_id: u32, name: &[u8], hdr_size: u32, record_size: u16, record_align: u16) -> &mut Log {
        let mut payload = words(&[ext_id, 0, hdr_size]);
        let name_size = u16::try_from(name.len()).expect("a short name");
        for half in [record_size, record_align, 0, name_size] {
            payload.extend(half.to_le_bytes());
        }
        payload.extend(name);
        payload.resize(payload.len().next_multiple_of(4), 0);
        self.record(EXT_INTRO, &payload)
    }

    /// Adds a keyword-update of a UID range.
    pub fn keyword(&mut self, name: &[u8], uid1: u32, uid2: u32) -> &mut Log {
        let mut payload = vec![0, 0];
        payload.extend(u16::try_from(name.len()).expect("a short name").to_le_bytes());
        payload.extend(name);
        payload.resize(payload.len().next_multiple_of(4), 0);
        payload.extend(words(&[uid1, uid2]));
        self.record(KEYWORD_UPDATE, &payload)
    }
}

/// An extension of an index to be built.
pub struct Ext {
    /// The name.
    pub name: Vec<u8>,
    /// Its header data.
    pub header: Vec<u8>,
    /// `reset_id`.
    pub reset_id: u32,
    /// Offset in the record.
    pub record_offset: u16,
    /// Bytes in the record.
    pub record_size: u16,
    /// Alignment.
    pub record_align: u16,
}

/// A main index 7.3 with `record_size` bytes per record.
pub fn index(extensions: &[Ext], record_size: u32, records: &[u8], edit: impl FnOnce(&mut IndexHeader)) -> Vec<u8> {
    let mut area = Vec::new();
    for ext in extensions {
        let header = ExtHeader {
            hdr_size: u32::try_from(ext.header.len()).expect("below 4 GiB"),
            reset_id: ext.reset_id,
            record_offset: ext.record_offset,
            record_size: ext.record_size,
            record_align: ext.record_align,
            name_size: u16::try_from(ext.name.len()).expect("a short name"),
        };
        area.extend(header.to_bytes(Endian::Little));
        area.extend(&ext.name);
        area.resize(area.len().next_multiple_of(8), 0);
        area.extend(&ext.header);
        area.resize(area.len().next_multiple_of(8), 0);
    }
    let mut header = IndexHeader::empty(INDEXID, Endian::Little);
    header.record_size = record_size;
    header.header_size = 120 + u32::try_from(area.len()).expect("below 4 GiB");
    header.messages_count = u32::try_from(records.len()).expect("below 4 GiB") / record_size.max(1);
    header.next_uid = header.messages_count + 1;
    edit(&mut header);
    let mut bytes = header.to_bytes(Endian::Little);
    bytes.extend(area);
    bytes.extend(records);
    bytes
}

/// A field of a cache to be built: name, size (`u32::MAX`: variable), type.
pub type CacheField<'a> = (&'a str, u32, u8);

/// A cache 1.1 with one field header and no record. `file_seq` is what the index's cache extension must have as reset_id.
pub fn cache(fields: &[CacheField<'_>], file_seq: u32) -> Vec<u8> {
    let header = CacheHeader {
        major_version: 1,
        compat_sizeof_uoff_t: 8,
        minor_version: 1,
        unused: 0,
        indexid: INDEXID,
        file_seq,
        ..CacheHeader::read(&[], Endian::Little)
    };
    let mut bytes = header.to_bytes(Endian::Little);
    bytes[28..32].copy_from_slice(&packed::encode(32).expect("a multiple of 4"));
    let mut names = Vec::new();
    for (name, ..) in fields {
        names.extend(name.as_bytes());
        names.push(0);
    }
    let count = u32::try_from(fields.len()).expect("few fields");
    let size = 12 + 10 * fields.len() + names.len();
    bytes.extend(words(&[0, u32::try_from(size).expect("short"), count]));
    bytes.extend(fields.iter().flat_map(|_| INDEXID.to_le_bytes()));
    bytes.extend(fields.iter().flat_map(|(_, size, _)| size.to_le_bytes()));
    bytes.extend(fields.iter().map(|(.., kind)| *kind));
    bytes.extend(fields.iter().map(|_| 2));
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Adds a record to a cache and returns its offset. `fields` are the encoded fields.
pub fn cache_record(bytes: &mut Vec<u8>, prev_offset: u32, fields: &[u8]) -> u32 {
    let offset = u32::try_from(bytes.len()).expect("below 4 GiB");
    bytes.extend(words(&[prev_offset, u32::try_from(fields.len() + 8).expect("short")]));
    bytes.extend(fields);
    offset
}
