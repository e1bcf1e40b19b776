//! Index extensions by name: what their headers and per-record data mean (`mail-index-private.h`,
//! `doveadm-dump-index.c`, and the storage code that registers each name). A kind is looked up once per extension;
//! after that a record is decoded without allocation, straight into a [`Visit`]or. How extension headers are laid out
//! in the index is `index.rs`'s matter.

use std::collections::HashSet;
use std::ops::Range;

use super::FileKind;
use super::disk::{Disk, Field, disk_struct};
use super::endian::Endian;
use super::error::DecodeError;

disk_struct! {
    /// `struct mail_index_ext_header`: 16 bytes, then the name, both padded to 8, then `hdr_size` bytes of header data.
    pub struct ExtHeader, 16 {
        0 => hdr_size: u32, "size of the extension's header data in bytes, without padding";
        4 => reset_id: u32, "changes when all data of the extension became void; for cache the cache's file_seq";
        8 => record_offset: u16, "where the extension's data begins in each record, in bytes; 0 without record data";
        10 => record_size: u16, "bytes of data in each record";
        12 => record_align: u16, "alignment of the data within the record, in bytes";
        14 => name_size: u16, "length of the name that follows, in bytes, without NUL";
    }
}

disk_struct! {
    /// Header of `modseq` (`mail-index-modseq.h`).
    pub struct ModseqHeader, 16 {
        0 => highest_modseq: u64, "highest modseq used so far";
        8 => log_seq: u32, "log file up to which the values are complete";
        12 => log_offset: u32, "offset in that log, in bytes";
    }
}

disk_struct! {
    /// Header of `hdr-vsize`, and record of `vsize` in a list index (`struct mailbox_index_vsize`).
    pub struct VsizeHeader, 16 {
        0 => vsize: u64, "sum of the virtual sizes, in bytes";
        8 => highest_uid: u32, "last UID counted";
        12 => message_count: u32, "messages counted";
    }
}

disk_struct! {
    /// Header of `maildir` in a mailbox index (`maildir-storage.h`).
    pub struct MaildirHeader, 36 {
        0 => new_check_time: u32, "when new/ was last scanned, UNIX time";
        4 => new_mtime: u32, "mtime of new/ then";
        8 => new_mtime_nsecs: u32, "its nanoseconds";
        12 => cur_check_time: u32, "when cur/ was last scanned, UNIX time";
        16 => cur_mtime: u32, "mtime of cur/ then";
        20 => cur_mtime_nsecs: u32, "its nanoseconds";
        24 => uidlist_mtime: u32, "mtime of dovecot-uidlist when last read";
        28 => uidlist_mtime_nsecs: u32, "its nanoseconds";
        32 => uidlist_size: u32, "its size in bytes";
    }
}

disk_struct! {
    /// Header of `mbox` in a mailbox index (`mbox-storage.h`); 16 bytes before 2.0.
    pub struct MboxHeader, 32 {
        0 => sync_size: u64, "size of the mbox file at the last sync, in bytes";
        8 => sync_mtime: u32, "its mtime";
        12 => dirty_flag: u8, "1 when flags have not been written to the mbox yet";
        13 => unused: [u8; 3], "padding";
        16 => mailbox_guid: [u8; 16], "GUID of the mailbox";
    }
}

disk_struct! {
    /// Header of `dbox-hdr` of sdbox (`sdbox-storage.h`); 20 bytes without flags before 2.1.
    pub struct SdboxHeader, 24 {
        0 => rebuild_count: u32, "how often the index was rebuilt";
        4 => mailbox_guid: [u8; 16], "GUID of the mailbox";
        20 => flags: u8, "0x01 HAVE_POP3_UIDLS, 0x02 HAVE_POP3_ORDERS";
        21 => unused: [u8; 3], "padding";
    }
}

disk_struct! {
    /// Header of `dbox-hdr` of the dbox of 1.1 and 1.2 (`struct dbox_index_header`).
    pub struct DboxHeader, 4 {
        0 => last_dirty_flush_stamp: u32, "when flags were last written to the message files, UNIX time";
    }
}

disk_struct! {
    /// Header of `mdbox-hdr` (`mdbox-storage.h`).
    pub struct MdboxHeader, 24 {
        0 => map_uid_validity: u32, "uid_validity of the map index that map_uid refers to";
        4 => mailbox_guid: [u8; 16], "GUID of the mailbox";
        20 => flags: u8, "0x01 HAVE_POP3_UIDLS, 0x02 HAVE_POP3_ORDERS";
        21 => unused: [u8; 3], "padding";
    }
}

disk_struct! {
    /// Header of `map` in `dovecot.map.index` (`mdbox-map.h`).
    pub struct MapHeader, 8 {
        0 => highest_file_id: u32, "highest m.N number given so far";
        4 => rebuild_count: u32, "how often the storage was rebuilt";
    }
}

disk_struct! {
    /// Header of `mobox-hdr`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxHeader, 28 {
        0 => rebuild_count: u32, "how often the index was rebuilt";
        4 => map_uid_validity: u32, "uid_validity of the map index";
        8 => unused: [u8; 4], "padding";
        12 => mailbox_guid: [u8; 16], "GUID of the mailbox";
    }
}

disk_struct! {
    /// Header of `mobox-map`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxMapHeader, 4 {
        0 => rebuild_count: u32, "how often the storage was rebuilt";
    }
}

disk_struct! {
    /// Header of `fts` (`fts-api.c`).
    pub struct FtsHeader, 12 {
        0 => last_indexed_uid: u32, "last UID in the full text index";
        4 => settings_checksum: u32, "checksum of the settings it was built with";
        8 => unused: [u8; 4], "padding";
    }
}

disk_struct! {
    /// Header of `virtual` (`virtual-storage.h`); mailbox records and then names follow.
    pub struct VirtualHeader, 16 {
        0 => change_counter: u32, "grows with each change of this header";
        4 => mailbox_count: u32, "mailbox records that follow";
        8 => highest_mailbox_id: u32, "highest mailbox id given so far";
        12 => search_args_crc32: u32, "CRC32 of the search that defines the mailbox";
    }
}

disk_struct! {
    /// One mailbox in the header of `virtual` (`struct virtual_mail_index_mailbox_record`).
    pub struct VirtualMailbox, 24 {
        0 => id: u32, "mailbox_id of the records";
        4 => name_len: u32, "length of its name in bytes";
        8 => uid_validity: u32, "its uid_validity at the last sync";
        12 => next_uid: u32, "its next_uid at the last sync";
        16 => highest_modseq: u64, "its highest modseq at the last sync";
    }
}

disk_struct! {
    /// Header of `virtual2` (`struct virtual_mail_index_ext2_header`); one GUID record per mailbox follows.
    pub struct Virtual2Header, 8 {
        0 => version: u8, "1";
        1 => ext_record_size: u8, "bytes per mailbox record";
        2 => hdr_size: u16, "bytes of this header";
        4 => change_counter: u32, "must equal that of virtual, else the header is void";
    }
}

disk_struct! {
    /// Header of `hdr-pop3-uidl` (`struct mailbox_index_pop3_uidl`).
    pub struct Pop3UidlHeader, 4 {
        0 => max_uid_with_pop3_uidl: u32, "highest UID known to have a POP3 UIDL of its own";
    }
}

disk_struct! {
    /// Header of `last-rename-stamp` (`index-storage.c`).
    pub struct LastRenameHeader, 4 {
        0 => last_rename_stamp: u32, "when the mailbox was last renamed, UNIX time";
    }
}

disk_struct! {
    /// Header of `subs` in a list index (`mailbox-list-index-iter.c`).
    pub struct SubsHeader, 4 {
        0 => mtime: u32, "mtime of the subscriptions file when last read";
    }
}

disk_struct! {
    /// Header of `list2` in a list index (`struct mailbox_list_index_header2`).
    pub struct List2Header, 4 {
        0 => inbox_inbox_name_id: u32, "name_id that stands for prefix/INBOX";
    }
}

disk_struct! {
    /// Header of `virtual-guid` (`virtual-storage.c`).
    pub struct VirtualGuidHeader, 16 {
        0 => guid: [u8; 16], "GUID of the virtual mailbox";
    }
}

disk_struct! {
    /// Record of `mdbox` and of `mobox` (`struct mdbox_mail_index_record`).
    pub struct MdboxRecord, 8 {
        0 => map_uid: u32, "UID in the map index";
        4 => save_date: u32, "when the mail was saved, UNIX time";
    }
}

disk_struct! {
    /// Record of `dbox` in 1.1 and 1.2 (`struct dbox_mail_index_record`).
    pub struct DboxRecord, 8 {
        0 => file_id: u32, "number of the message file; bit 31 marks a u.UID file";
        4 => offset: u32, "offset in that file, in bytes";
    }
}

disk_struct! {
    /// Record of `map` in `dovecot.map.index` (`struct mdbox_map_mail_index_record`).
    pub struct MapRecord, 12 {
        0 => file_id: u32, "N of the m.N file";
        4 => offset: u32, "offset in that file, in bytes";
        8 => size: u32, "bytes the mail takes there, with its headers";
    }
}

disk_struct! {
    /// Record of `mobox-map`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxMapRecord, 24 {
        0 => offset: u32, "offset in the object, in bytes";
        4 => size: u32, "size in bytes";
        8 => oid: [u8; 16], "id of the object";
    }
}

disk_struct! {
    /// Record of `virtual` (`struct virtual_mail_index_record`).
    pub struct VirtualRecord, 8 {
        0 => mailbox_id: u32, "id of the mailbox in the header";
        4 => real_uid: u32, "UID in that mailbox";
    }
}

disk_struct! {
    /// Record of `list` in a list index (`struct mailbox_list_index_record`).
    pub struct ListRecord, 28 {
        0 => name_id: u32, "id of the name in the header";
        4 => parent_uid: u32, "uid of the parent record, 0 at the root";
        8 => guid: [u8; 16], "GUID of the mailbox, zero while unknown";
        24 => uid_validity: u32, "its uid_validity, zero while unknown";
    }
}

disk_struct! {
    /// Record of `msgs` in a list index (`struct mailbox_list_index_msgs_record`).
    pub struct MsgsRecord, 16 {
        0 => messages: u32, "messages";
        4 => unseen: u32, "messages without \\Seen";
        8 => recent: u32, "recent messages";
        12 => uidnext: u32, "next UID";
    }
}

disk_struct! {
    /// Record of `1saved` in a list index (`struct mailbox_index_first_saved`).
    pub struct FirstSavedRecord, 8 {
        0 => uid: u32, "UID of the first message, 0 when there is none";
        4 => timestamp: u32, "when it was saved, UNIX time; 0xffffffff when there is none";
    }
}

disk_struct! {
    /// Record of `index sync` in a list index (`struct index_storage_list_index_record`).
    pub struct IndexSyncRecord, 8 {
        0 => size: u32, "size of the mailbox's log, in bytes";
        4 => mtime: u32, "its mtime";
    }
}

disk_struct! {
    /// Record of `maildir` in a list index (`struct maildir_list_index_record`).
    pub struct MaildirListRecord, 8 {
        0 => new_mtime: u32, "mtime of new/";
        4 => cur_mtime: u32, "mtime of cur/";
    }
}

disk_struct! {
    /// Record of `mbox` in a list index (`struct mbox_list_index_record`).
    pub struct MboxListRecord, 8 {
        0 => mtime: u32, "mtime of the mbox file";
        4 => size: u32, "its size in bytes";
    }
}

/// Receives a decoded value piece by piece, in the shape of JSON. `name` is the key in the enclosing object and empty
/// for elements of a list.
pub trait Visit {
    /// Called before each value of bytes in the file, with its place relative to the start of what is visited.
    fn place(&mut self, range: Range<usize>) {
        let _ = range;
    }
    /// An unsigned number.
    fn number(&mut self, name: &str, value: u64);
    /// A signed number.
    fn signed(&mut self, name: &str, value: i64);
    /// Bytes best shown as hex: GUIDs, digests, padding.
    fn hex(&mut self, name: &str, bytes: &[u8]);
    /// Text, usually but not surely UTF-8.
    fn text(&mut self, name: &str, bytes: &[u8]);
    /// An object begins; its members follow.
    fn object_begin(&mut self, name: &str);
    /// The object ends.
    fn object_end(&mut self);
    /// A list begins; its elements follow.
    fn list_begin(&mut self, name: &str);
    /// The list ends.
    fn list_end(&mut self);
}

/// The kind of index. `vsize`, `maildir` and `mbox` mean one thing in a mailbox and another in a list index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IndexFlavor {
    /// `dovecot.index` and its private and backup siblings: records are messages.
    #[default]
    Mailbox,
    /// `dovecot.list.index`: records are mailbox names.
    List,
    /// `dovecot.map.index`: records are mails stored in m.N files.
    Map,
}

impl IndexFlavor {
    /// `"mailbox"`, `"list"` or `"map"`.
    pub const fn name(self) -> &'static str {
        match self {
            IndexFlavor::Mailbox => "mailbox",
            IndexFlavor::List => "list",
            IndexFlavor::Map => "map",
        }
    }

    /// Guesses the kind from the extension names of an index, or of a log's intros.
    pub fn guess<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> IndexFlavor {
        let mut flavor = IndexFlavor::Mailbox;
        for name in names {
            match name.as_ref() {
                b"list" => return IndexFlavor::List,
                b"map" | b"ref" => flavor = IndexFlavor::Map,
                _ => {}
            }
        }
        flavor
    }
}

/// What the record data of an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A `u16` in the file's byte order.
    U16,
    /// A `u32` in the file's byte order.
    U32,
    /// A `u64` in the file's byte order.
    U64,
    /// A GUID or digest.
    Hex,
    /// A bitmap of keywords, bit `i % 8` of byte `i / 8` being keyword `i`.
    Keywords,
    /// A struct; bytes after the last field are passed on as `rest`.
    Fields(&'static [Field]),
    /// `obox`: a 16-byte GUID, then an object id of whatever size is left.
    Obox,
}

impl RecordKind {
    /// Finds what the records of extension `name` hold; `None` when the name is unknown or `record_size` (bytes) does
    /// not suit it, so that the bytes are best shown as they are.
    pub fn lookup(name: impl AsRef<[u8]>, flavor: IndexFlavor, record_size: u16) -> Option<RecordKind> {
        use IndexFlavor::List;
        let kind = match (name.as_ref(), flavor) {
            (b"keywords", _) => RecordKind::Keywords,
            (b"modseq" | b"hmodseq", _) => RecordKind::U64,
            (b"cache" | b"deleted", _) => RecordKind::U32,
            (b"ref", _) => RecordKind::U16,
            (b"guid" | b"header-md5", _) => RecordKind::Hex,
            (b"vsize", List) => RecordKind::Fields(VsizeHeader::FIELDS),
            (b"maildir", List) => RecordKind::Fields(MaildirListRecord::FIELDS),
            (b"mbox", List) => RecordKind::Fields(MboxListRecord::FIELDS),
            (b"vsize", _) => RecordKind::U32,
            (b"mbox", _) => RecordKind::U64,
            (b"mdbox" | b"mobox", _) => RecordKind::Fields(MdboxRecord::FIELDS),
            (b"dbox", _) => RecordKind::Fields(DboxRecord::FIELDS),
            (b"map", _) => RecordKind::Fields(MapRecord::FIELDS),
            (b"mobox-map", _) => RecordKind::Fields(MoboxMapRecord::FIELDS),
            (b"obox", _) => RecordKind::Obox,
            (b"virtual", _) => RecordKind::Fields(VirtualRecord::FIELDS),
            (b"list", _) => RecordKind::Fields(ListRecord::FIELDS),
            // The list index of 1.1 and 1.2 had one u32 extension for each of these.
            (b"msgs" | b"unseen" | b"recent" | b"uid_validity" | b"uidnext", _) if record_size == 4 => RecordKind::U32,
            (b"msgs", _) => RecordKind::Fields(MsgsRecord::FIELDS),
            (b"1saved", _) => RecordKind::Fields(FirstSavedRecord::FIELDS),
            (b"index sync", _) => RecordKind::Fields(IndexSyncRecord::FIELDS),
            (name, _) if name.starts_with(b"sort-") => RecordKind::U32,
            _ => return None,
        };
        let size = usize::from(record_size);
        let fits = match kind {
            RecordKind::U16 => size == 2,
            RecordKind::U32 => size == 4,
            RecordKind::U64 => size == 8,
            RecordKind::Hex | RecordKind::Obox => size >= 16,
            RecordKind::Keywords => size > 0,
            RecordKind::Fields(fields) => size >= fields_size(fields),
        };
        fits.then_some(kind)
    }

    /// Decodes one record's bytes into `visitor` as the value called `name`: a plain number, hex, a list of keyword
    /// numbers, or an object with Dovecot's field names. Bytes that are missing leave values out; nothing else can
    /// fail.
    pub fn visit<V: Visit + ?Sized>(self, name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
        match self {
            RecordKind::U16 => number(name, bytes, 2, endian, visitor),
            RecordKind::U32 => number(name, bytes, 4, endian, visitor),
            RecordKind::U64 => number(name, bytes, 8, endian, visitor),
            RecordKind::Hex => hex(name, bytes, 0, visitor),
            RecordKind::Keywords => {
                visitor.list_begin(name);
                for keyword in keyword_bits(bytes) {
                    let at = keyword as usize / 8;
                    visitor.place(at..at.saturating_add(1));
                    visitor.number("", u64::from(keyword));
                }
                visitor.list_end();
            }
            RecordKind::Fields(fields) => visit_fields(name, fields, bytes, endian, visitor),
            RecordKind::Obox => {
                let (guid, oid) = bytes.split_at_checked(16).unwrap_or((bytes, &[]));
                visitor.object_begin(name);
                hex("guid", guid, 0, visitor);
                hex("oid", oid, 16, visitor);
                visitor.object_end();
            }
        }
    }
}

/// What the header data of an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// A struct, of which older versions wrote only the beginning; bytes after the last field are passed on as `rest`.
    Fields(&'static [Field]),
    /// `keywords`: see [`KeywordsHeader`].
    Keywords,
    /// `list`: see [`ListHeader`].
    List,
    /// `box-name`: see [`BoxName`].
    BoxName,
    /// `virtual`: [`VirtualHeader`], [`VirtualMailbox`]es, names.
    Virtual,
    /// `virtual2`: [`Virtual2Header`], one GUID per mailbox.
    Virtual2,
}

impl HeaderKind {
    /// Finds what the header of extension `name` holds; `None` when the name is unknown or has no header (`hdr_size` in
    /// bytes), so that the bytes are best shown as they are.
    pub fn lookup(name: impl AsRef<[u8]>, flavor: IndexFlavor, hdr_size: u32) -> Option<HeaderKind> {
        use IndexFlavor::List;
        if hdr_size == 0 {
            return None;
        }
        Some(match (name.as_ref(), flavor) {
            (b"keywords", _) => HeaderKind::Keywords,
            (b"list", _) => HeaderKind::List,
            (b"box-name", _) => HeaderKind::BoxName,
            (b"virtual", _) => HeaderKind::Virtual,
            (b"virtual2", _) => HeaderKind::Virtual2,
            (b"maildir" | b"mbox", List) => return None,
            (b"modseq", _) => HeaderKind::Fields(ModseqHeader::FIELDS),
            (b"hdr-vsize", _) => HeaderKind::Fields(VsizeHeader::FIELDS),
            (b"maildir", _) => HeaderKind::Fields(MaildirHeader::FIELDS),
            (b"mbox", _) => HeaderKind::Fields(MboxHeader::FIELDS),
            (b"dbox-hdr", _) if hdr_size == 4 => HeaderKind::Fields(DboxHeader::FIELDS),
            (b"dbox-hdr", _) => HeaderKind::Fields(SdboxHeader::FIELDS),
            (b"mdbox-hdr", _) => HeaderKind::Fields(MdboxHeader::FIELDS),
            (b"map", _) => HeaderKind::Fields(MapHeader::FIELDS),
            (b"mobox-hdr", _) => HeaderKind::Fields(MoboxHeader::FIELDS),
            (b"mobox-map", _) => HeaderKind::Fields(MoboxMapHeader::FIELDS),
            (b"fts", _) => HeaderKind::Fields(FtsHeader::FIELDS),
            (b"hdr-pop3-uidl", _) => HeaderKind::Fields(Pop3UidlHeader::FIELDS),
            (b"last-rename-stamp", _) => HeaderKind::Fields(LastRenameHeader::FIELDS),
            (b"subs", _) => HeaderKind::Fields(SubsHeader::FIELDS),
            (b"list2", _) => HeaderKind::Fields(List2Header::FIELDS),
            (b"virtual-guid", _) => HeaderKind::Fields(VirtualGuidHeader::FIELDS),
            _ => return None,
        })
    }

    /// The fixed fields at the start of the header, with their offsets in bytes; empty for `box-name`.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            HeaderKind::Fields(fields) => fields,
            HeaderKind::Keywords => KeywordsCount::FIELDS,
            HeaderKind::List => ListFlag::FIELDS,
            HeaderKind::BoxName => &[],
            HeaderKind::Virtual => VirtualHeader::FIELDS,
            HeaderKind::Virtual2 => Virtual2Header::FIELDS,
        }
    }

    /// Decodes a whole header into `visitor` as the object called `name`. What is missing or broken is left out.
    pub fn visit<V: Visit + ?Sized>(self, name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
        match self {
            HeaderKind::Fields(fields) => return visit_fields(name, fields, bytes, endian, visitor),
            HeaderKind::Keywords => visit_keywords(name, bytes, endian, visitor),
            HeaderKind::List => visit_list(name, bytes, endian, visitor),
            HeaderKind::BoxName => visit_box_name(name, bytes, visitor),
            HeaderKind::Virtual => visit_virtual(name, bytes, endian, visitor),
            HeaderKind::Virtual2 => visit_virtual2(name, bytes, endian, visitor),
        }
        visitor.object_end();
    }

    /// Decodes a changed piece of a header, as `ext-hdr` log records carry it: the object called `name` gets the fixed
    /// fields that lie wholly in the piece. `offset` is that of `data` in the header, in bytes. A variable header that
    /// is replaced from its start is decoded as a whole.
    pub fn visit_range<V: Visit + ?Sized>(
        self,
        name: &str,
        offset: usize,
        data: &[u8],
        endian: Endian,
        visitor: &mut V,
    ) {
        if offset == 0 && !matches!(self, HeaderKind::Fields(_)) {
            return self.visit(name, data, endian, visitor);
        }
        visitor.object_begin(name);
        for (field, raw) in fields_in(self.fields(), offset, data) {
            let at = field.offset.saturating_sub(offset);
            visitor.place(at..at.saturating_add(field.size));
            leaf(field, raw, endian, visitor);
        }
        visitor.object_end();
    }
}

disk_struct! {
    /// The fixed part of the header of `keywords`.
    struct KeywordsCount, 4 {
        0 => keywords_count: u32, "number of keywords";
    }
}

disk_struct! {
    /// The fixed part of the header of `list`.
    struct ListFlag, 1 {
        0 => refresh_flag: u8, "changed to make other processes refresh the list";
    }
}

/// The fields of a struct that lie wholly in `data`, which starts `offset` bytes into it, each with its bytes.
pub fn fields_in<'a>(
    fields: &'static [Field],
    offset: usize,
    data: &'a [u8],
) -> impl Iterator<Item = (&'static Field, &'a [u8])> {
    fields.iter().filter_map(move |field| Some((field, part(data, field.offset.checked_sub(offset)?, field.size)?)))
}

/// The numbers of the keywords set in a record's bitmap, ascending.
pub fn keyword_bits(bitmap: &[u8]) -> impl Iterator<Item = u32> {
    (0u32..).step_by(8).zip(bitmap).flat_map(|(first, &byte)| {
        (0..8u32).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| first.saturating_add(bit))
    })
}

/// Is it a name that Dovecot would register or accept (`mail_index_ext_name_is_valid`)? At most 63 ASCII letters,
/// digits, `-`, `_` and spaces. The empty name is valid: it marks a broken extension.
pub fn name_is_valid(name: &[u8]) -> bool {
    name.len() < 64 && name.iter().all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b' '))
}

/// The largest `hdr_size` Dovecot accepts, in bytes (`MAIL_INDEX_EXT_HEADER_MAX_SIZE`).
pub const EXT_HEADER_MAX_SIZE: u32 = (1024 * 1024 * 16) - 1;

/// The checks of `mail_index_map_ext_hdr_check`; `index_record_size` is the `record_size` of the index header, in
/// bytes.
///
/// # Errors
/// The reason in Dovecot's own words, when opening the index would end in fsck.
pub fn ext_hdr_check(index_record_size: u32, ext: &ExtHeader, name: &[u8]) -> Result<(), String> {
    if ext.record_size == 0 && ext.hdr_size == 0 {
        return Err("Invalid field values".into());
    }
    if !name_is_valid(name) {
        return Err("Invalid name".into());
    }
    if ext.record_size != 0 {
        check_record(index_record_size, ext)?;
    }
    if ext.hdr_size > EXT_HEADER_MAX_SIZE {
        return Err(format!("Header size too large ({})", ext.hdr_size));
    }
    Ok(())
}

/// `mail_index_map_ext_hdr_check_record`.
fn check_record(index_record_size: u32, ext: &ExtHeader) -> Result<(), String> {
    let (offset, size, align) = (u32::from(ext.record_offset), u32::from(ext.record_size), ext.record_align);
    if align == 0 {
        return Err("Record field alignment is zero".into());
    }
    if align > 8 {
        return Err("Record alignment is too large".into());
    }
    if size >= 32768 {
        return Err("Record size is too large".into());
    }
    // An intro in the log has no place yet.
    if offset == 0 {
        return Ok(());
    }
    if offset.saturating_add(size) > index_record_size {
        return Err(format!("Record field points outside record size ({offset}+{size} > {index_record_size})"));
    }
    if !offset.is_multiple_of(u32::from(align)) {
        return Err(format!("Record field alignment {align} not used"));
    }
    if !index_record_size.is_multiple_of(u32::from(align)) {
        return Err(format!("Record size not aligned by {align} as required by extension"));
    }
    Ok(())
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
const MAX_PROBLEMS: usize = 100;

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
    pub problems: Vec<DecodeError>,
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
            header.problems.push(DecodeError::new(
                FileKind::Index,
                base,
                "keywords_count",
                format!("4 + 8 * count <= header size {}", bytes.len()),
                format!("{} (keywords_count larger than header size)", header.keywords_count),
            ));
        }
        let names_at = recs.len().saturating_add(4).min(bytes.len());
        let names = bytes.get(names_at..).unwrap_or_default();
        header.names = at(names_at)..at(bytes.len());
        let mut seen = HashSet::new();
        let mut expected = 0usize;
        // Names may overlap in a hostile file; what is searched for NULs in all is held to a multiple of what is there.
        let mut budget = names.len().saturating_mul(4);
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
            header.problems.push(DecodeError::new(
                FileKind::Index,
                at(bytes.len().saturating_sub(1)),
                "keyword names",
                "NUL as the last byte",
                "Keyword header doesn't end with NUL",
            ));
        }
        header
    }
}

impl KeywordEntry<'_> {
    /// The rules for one keyword; `seen` holds the names before it in lower case, as Dovecot compares them.
    fn judge(&self, seen: &mut HashSet<Vec<u8>>, names_len: usize, expected: usize, problems: &mut Vec<DecodeError>) {
        let mut add = |at: u64, what: &'static str, need: String, have: String| {
            if problems.len() < MAX_PROBLEMS {
                problems.push(DecodeError::new(FileKind::Index, at, what, need, have));
            }
        };
        let offset_at = self.rec.start.saturating_add(4);
        let Some(name) = self.name else {
            return add(
                offset_at,
                "name_offset",
                format!("at most {names_len}"),
                format!("{} (name_offset points outside allocated header)", self.name_offset),
            );
        };
        if self.name_offset as usize != expected {
            add(
                offset_at,
                "name_offset",
                expected.to_string(),
                format!("{} (Mismatching keyword name_offset)", self.name_offset),
            );
        }
        if name.is_empty() {
            add(self.name_range.start, "keyword name", "at least one byte".into(), "empty name".into());
        } else if let Some(control) = name.iter().find(|&&c| c < 0x20 || c == 0x7f) {
            add(self.name_range.start, "keyword name", "no control characters".into(), format!("byte {control:#04x}"));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            let name = String::from_utf8_lossy(name).into_owned();
            add(self.name_range.start, "keyword name", "a name used only once".into(), name);
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

/// One name of the `list` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListName<'a> {
    /// `name_id` of the records.
    pub id: u32,
    /// The name of one hierarchy level: UTF-8, or mUTF-7 where `mailbox_list_utf8` is off.
    pub name: &'a [u8],
    /// The bytes of the id, the name and its NUL, absolute.
    pub range: Range<u64>,
}

/// The header of `list`: `{u8 refresh_flag}`, then unaligned `{u32 id; name; NUL}`, ended by id 0 or the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHeader<'a> {
    /// Changed to make other processes refresh the list.
    pub refresh_flag: u8,
    /// The names with ascending ids.
    pub names: Vec<ListName<'a>>,
    /// What `mailbox_list_index_parse_header` objects to.
    pub problems: Vec<DecodeError>,
}

impl<'a> ListHeader<'a> {
    /// Decodes the header data of `list`, which begins at `base` in the file, up to the first thing that is broken.
    pub fn parse(bytes: &'a [u8], base: u64, endian: Endian) -> Self {
        let mut header =
            ListHeader { refresh_flag: bytes.first().copied().unwrap_or_default(), ..ListHeader::default() };
        let mut at = 1;
        let mut before = 0;
        while let Some(next) = next_list_name(bytes, at, before, endian) {
            let absolute = |n: usize| base.saturating_add(n as u64);
            match next {
                Ok((id, name, end)) => {
                    if std::str::from_utf8(name).is_err() {
                        header.problems.push(DecodeError::new(
                            FileKind::Index,
                            absolute(at.saturating_add(4)),
                            "mailbox name",
                            "UTF-8",
                            String::from_utf8_lossy(name).into_owned(),
                        ));
                    }
                    header.names.push(ListName { id, name, range: absolute(at)..absolute(end) });
                    at = end;
                    before = id;
                }
                Err(have) => {
                    let need = format!("an id above {before} and a name with its NUL");
                    header.problems.push(DecodeError::new(FileKind::Index, absolute(at), "list header", need, have));
                    break;
                }
            }
        }
        header
    }
}

/// One step of `mailbox_list_index_name_iter_next`: `None` at the end, else `(id, name, end)`.
#[expect(clippy::type_complexity, reason = "a private step, taken apart where it is called")]
fn next_list_name(
    bytes: &[u8],
    at: usize,
    before: u32,
    endian: Endian,
) -> Option<Result<(u32, &[u8], usize), &'static str>> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let Some(id) = endian.u32_at(rest, 0) else { return Some(Err("the header ends in an id")) };
    if id == 0 {
        return None;
    }
    if id <= before {
        return Some(Err("an id that does not ascend"));
    }
    let named = rest.get(4..).unwrap_or_default();
    let Some(len) = named.iter().position(|&b| b == 0) else { return Some(Err("a name without NUL")) };
    let name = named.get(..len).unwrap_or_default();
    Some(Ok((id, name, at.saturating_add(5).saturating_add(len))))
}

/// The header of `box-name`: hierarchy levels with NUL between them; after 2.4.4 perhaps two NULs and a flag byte after
/// them (`mailbox_name_hdr_encode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxName<'a> {
    levels: &'a [u8],
    /// `enum mailbox_name_hdr_flags`: 0x01 the mailbox is prefix/INBOX; 0 without a flag byte.
    pub flags: u8,
}

impl<'a> BoxName<'a> {
    /// Takes the header data of `box-name` apart (`mailbox_name_hdr_decode_storage_name`); trailing NULs are spare
    /// space.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut levels = bytes;
        while let [rest @ .., 0] = levels {
            levels = rest;
        }
        match levels {
            [rest @ .., 0, 0, flags] => BoxName { levels: rest, flags: *flags },
            _ => BoxName { levels, flags: 0 },
        }
    }

    /// The names of the levels, outermost first.
    pub fn levels(self) -> impl Iterator<Item = &'a [u8]> {
        self.levels.split(|&b| b == 0)
    }
}

#[inline]
fn part(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..)?.get(..len)
}

/// The size of a struct in bytes.
const fn fields_size(fields: &[Field]) -> usize {
    match fields.last() {
        Some(last) => last.offset.saturating_add(last.size),
        None => 0,
    }
}

#[inline]
fn number<V: Visit + ?Sized>(name: &str, bytes: &[u8], size: usize, endian: Endian, visitor: &mut V) {
    let value = match size {
        1 => bytes.first().copied().map(u64::from),
        2 => endian.u16_at(bytes, 0).map(u64::from),
        4 => endian.u32_at(bytes, 0).map(u64::from),
        _ => endian.u64_at(bytes, 0),
    };
    if let Some(value) = value {
        visitor.place(0..size);
        visitor.number(name, value);
    }
}

#[inline]
fn hex<V: Visit + ?Sized>(name: &str, bytes: &[u8], at: usize, visitor: &mut V) {
    visitor.place(at..at.saturating_add(bytes.len()));
    visitor.hex(name, bytes);
}

/// One field: a number when it has the size of one, except padding, which is bytes whatever its size.
#[inline]
fn leaf<V: Visit + ?Sized>(field: &Field, raw: &[u8], endian: Endian, visitor: &mut V) {
    let value = match field.size {
        _ if field.name == "unused" => None,
        1 => raw.first().copied().map(u64::from),
        2 => endian.u16_at(raw, 0).map(u64::from),
        4 => endian.u32_at(raw, 0).map(u64::from),
        8 => endian.u64_at(raw, 0),
        _ => None,
    };
    match value {
        Some(value) => visitor.number(field.name, value),
        None => visitor.hex(field.name, raw),
    }
}

/// The members of a struct; returns where they end.
#[inline]
fn members<V: Visit + ?Sized>(fields: &[Field], bytes: &[u8], at: usize, endian: Endian, visitor: &mut V) -> usize {
    let mut end = at;
    for field in fields {
        let from = at.saturating_add(field.offset);
        let Some(raw) = part(bytes, from, field.size) else { break };
        end = from.saturating_add(field.size);
        visitor.place(from..end);
        leaf(field, raw, endian, visitor);
    }
    end
}

fn rest<V: Visit + ?Sized>(bytes: &[u8], at: usize, visitor: &mut V) {
    if let Some(rest @ [_, ..]) = bytes.get(at..) {
        hex("rest", rest, at, visitor);
    }
}

fn visit_fields<V: Visit + ?Sized>(name: &str, fields: &[Field], bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    let end = members(fields, bytes, 0, endian, visitor);
    rest(bytes, end, visitor);
    visitor.object_end();
}

fn visit_keywords<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    members(KeywordsCount::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("keywords");
    for keyword in KeywordsHeader::parse(bytes, 0, endian).keywords {
        visitor.object_begin("");
        visitor.place(narrow(keyword.rec.end.saturating_sub(4)..keyword.rec.end));
        visitor.number("name_offset", u64::from(keyword.name_offset));
        if let Some(name) = keyword.name {
            visitor.place(narrow(keyword.name_range));
            visitor.text("name", name);
        }
        visitor.object_end();
    }
    visitor.list_end();
}

/// A range of offsets that are known to be inside a slice.
fn narrow(range: Range<u64>) -> Range<usize> {
    let narrow = |n| usize::try_from(n).unwrap_or(usize::MAX);
    narrow(range.start)..narrow(range.end)
}

fn visit_list<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    let mut at = members(ListFlag::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("names");
    let mut before = 0;
    while let Some(Ok((id, name, end))) = next_list_name(bytes, at, before, endian) {
        let name_at = at.saturating_add(4);
        visitor.object_begin("");
        visitor.place(at..name_at);
        visitor.number("id", u64::from(id));
        visitor.place(name_at..end.saturating_sub(1));
        visitor.text("name", name);
        visitor.object_end();
        at = end;
        before = id;
    }
    visitor.list_end();
}

fn visit_box_name<V: Visit + ?Sized>(name: &str, bytes: &[u8], visitor: &mut V) {
    let parsed = BoxName::parse(bytes);
    visitor.object_begin(name);
    visitor.list_begin("levels");
    let mut at = 0usize;
    for level in parsed.levels() {
        let end = at.saturating_add(level.len());
        visitor.place(at..end);
        visitor.text("", level);
        at = end.saturating_add(1);
    }
    visitor.list_end();
    if parsed.flags != 0 {
        at = at.saturating_add(1);
        visitor.place(at..at.saturating_add(1));
        visitor.number("flags", u64::from(parsed.flags));
    }
}

fn visit_virtual<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    let recs_at = members(VirtualHeader::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("mailboxes");
    let count = endian.u32_at(bytes, 4).unwrap_or_default() as usize;
    let mut name_at = recs_at.saturating_add(count.saturating_mul(VirtualMailbox::SIZE));
    let recs = bytes.get(recs_at..).unwrap_or_default();
    for (i, rec) in recs.chunks_exact(VirtualMailbox::SIZE).take(count).enumerate() {
        visitor.object_begin("");
        let rec_at = recs_at.saturating_add(i.saturating_mul(VirtualMailbox::SIZE));
        members(VirtualMailbox::FIELDS, bytes, rec_at, endian, visitor);
        let len = endian.u32_at(rec, 4).unwrap_or_default() as usize;
        if let Some(name) = part(bytes, name_at, len) {
            visitor.place(name_at..name_at.saturating_add(len));
            visitor.text("name", name);
        }
        name_at = name_at.saturating_add(len);
        visitor.object_end();
    }
    visitor.list_end();
    rest(bytes, name_at, visitor);
}

fn visit_virtual2<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    members(Virtual2Header::FIELDS, bytes, 0, endian, visitor);
    let size = usize::from(bytes.get(1).copied().unwrap_or_default()).max(1);
    let start = usize::from(endian.u16_at(bytes, 2).unwrap_or_default());
    visitor.list_begin("guids");
    let mut at = start;
    for rec in bytes.get(start..).unwrap_or_default().chunks_exact(size) {
        hex("", rec.get(..16).unwrap_or(rec), at, visitor);
        at = at.saturating_add(size);
    }
    visitor.list_end();
}
