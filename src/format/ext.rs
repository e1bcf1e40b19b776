//! Index extensions by name: what their headers and per-record data mean (`mail-index-private.h`,
//! `doveadm-dump-index.c`, and the storage code that registers each name). A kind is looked up once per extension;
//! after that a record is decoded without allocation, straight into a [`Visit`]or. How extension headers are laid out
//! in the index is `index.rs`'s matter.

use std::collections::HashSet;
use std::ops::Range;

use super::FileKind;
use super::disk::{Disk, Field, disk_struct};
use super::endian::Endian;
use super::flaw::{Flaw, FlawKind};

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
    /// A number whose bits have names, lowest first.
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        let _ = names;
        self.number(name, value);
    }
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
    pub problems: Vec<Flaw>,
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
                        header.problems.push(Flaw::new(
                            FileKind::Index,
                            absolute(at.saturating_add(4)),
                            FlawKind::ListNameText,
                            "UTF-8",
                            String::from_utf8_lossy(name).into_owned(),
                        ));
                    }
                    header.names.push(ListName { id, name, range: absolute(at)..absolute(end) });
                    at = end;
                    before = id;
                }
                Err((kind, have)) => {
                    let need = format!("an id above {before} and a name with its NUL");
                    header.problems.push(Flaw::new(FileKind::Index, absolute(at), kind, need, have));
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
) -> Option<Result<(u32, &[u8], usize), (FlawKind, &'static str)>> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let Some(id) = endian.u32_at(rest, 0) else { return Some(Err((FlawKind::ListIdCut, "the header ends in an id"))) };
    if id == 0 {
        return None;
    }
    if id <= before {
        return Some(Err((FlawKind::ListIdOrder, "an id that does not ascend")));
    }
    let named = rest.get(4..).unwrap_or_default();
    let Some(len) = named.iter().position(|&b| b == 0) else {
        return Some(Err((FlawKind::ListNameCut, "a name without NUL")));
    };
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

/// One field: a number or bytes.
#[inline]
fn leaf<V: Visit + ?Sized>(field: &Field, raw: &[u8], endian: Endian, visitor: &mut V) {
    let value = match field.size {
        _ if !field.is_number => None,
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

/// What the tests of this folder share.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod testing {
    use super::*;

    /// Writes what it is visited with as JSON, so that tests can compare text.
    #[derive(Default)]
    pub struct Json(pub String);

    impl Json {
        fn key(&mut self, name: &str) {
            if !self.0.is_empty() && !self.0.ends_with(['{', '[']) {
                self.0.push(',');
            }
            if !name.is_empty() {
                self.0.push_str(&format!("{name:?}:"));
            }
        }
    }

    impl Visit for Json {
        fn number(&mut self, name: &str, value: u64) {
            self.key(name);
            self.0.push_str(&value.to_string());
        }
        fn signed(&mut self, name: &str, value: i64) {
            self.key(name);
            self.0.push_str(&value.to_string());
        }
        fn hex(&mut self, name: &str, bytes: &[u8]) {
            self.key(name);
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            self.0.push_str(&format!("{digits:?}"));
        }
        fn text(&mut self, name: &str, bytes: &[u8]) {
            self.key(name);
            self.0.push_str(&format!("{:?}", String::from_utf8_lossy(bytes)));
        }
        fn object_begin(&mut self, name: &str) {
            self.key(name);
            self.0.push('{');
        }
        fn object_end(&mut self) {
            self.0.push('}');
        }
        fn list_begin(&mut self, name: &str) {
            self.key(name);
            self.0.push('[');
        }
        fn list_end(&mut self) {
            self.0.push(']');
        }
    }

    /// Bytes from hex digits; white space is skipped.
    pub fn unhex(digits: &str) -> Vec<u8> {
        let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, &digit| byte << 4 | digit).try_into().unwrap()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::testing::{Json, unhex};
    use super::*;
    use Endian::{Big, Little};

    fn record(name: &str, flavor: IndexFlavor, hex: &str, endian: Endian) -> String {
        let bytes = unhex(hex);
        let mut json = Json::default();
        let kind = RecordKind::lookup(name, flavor, bytes.len().try_into().unwrap()).unwrap();
        kind.visit("", &bytes, endian, &mut json);
        json.0
    }

    fn header(name: &str, flavor: IndexFlavor, hex: &str, endian: Endian) -> String {
        let bytes = unhex(hex);
        let mut json = Json::default();
        let kind = HeaderKind::lookup(name, flavor, bytes.len().try_into().unwrap()).unwrap();
        kind.visit("", &bytes, endian, &mut json);
        json.0
    }

    /// Record bytes and their meaning from doveadm dump: corpus 2.4.1/mdbox/fresh INBOX uid 1, 2.3.19.1/maildir/list
    /// dovecot.list.index uid 1, 2.3.19.1/mdbox/admin map uid 1, s390x/mdbox/busy Archive uid 1.
    #[test]
    fn records_of_real_files() {
        use IndexFlavor::{List, Mailbox, Map};
        assert_eq!(record("modseq", Mailbox, "1500000000000000", Little), "21");
        assert_eq!(record("cache", Mailbox, "14040000", Little), "1044");
        assert_eq!(record("vsize", Mailbox, "de040000", Little), "1246");
        assert_eq!(record("sort-s", Mailbox, "89e92ca6", Little), "2787961225");
        let mdbox = r#"{"map_uid":1,"save_date":1795408453}"#;
        assert_eq!(record("mdbox", Mailbox, "0100000045c2036b", Little), mdbox);
        let guid = "f10bd01045c2036b9a19000083ecc375";
        assert_eq!(record("guid", Mailbox, guid, Little), format!("{guid:?}"));
        let list =
            r#"{"name_id":1,"parent_uid":0,"guid":"1075d92d71c2036b1628000083ecc375","uid_validity":1795408497}"#;
        let bytes = "01000000000000001075d92d71c2036b1628000083ecc37571c2036b";
        assert_eq!(record("list", List, bytes, Little), list);
        let msgs = r#"{"messages":1,"unseen":1,"recent":1,"uidnext":2}"#;
        assert_eq!(record("msgs", List, "01000000010000000100000002000000", Little), msgs);
        let sync = r#"{"size":736,"mtime":1795408497}"#;
        assert_eq!(record("index sync", List, "e002000071c2036b", Little), sync);
        assert_eq!(record("hmodseq", List, "0200000000000000", Little), "2");
        let map = r#"{"file_id":1,"offset":16,"size":723}"#;
        assert_eq!(record("map", Map, "0100000010000000d3020000", Little), map);
        assert_eq!(record("ref", Map, "0100", Little), "1");
        assert_eq!(record("mdbox", Mailbox, "0000004e6b03cb40", Big), r#"{"map_uid":78,"save_date":1795410752}"#);
        assert_eq!(record("keywords", Mailbox, "0102", Big), "[0,9]");
    }

    #[test]
    fn one_name_means_different_things() {
        use IndexFlavor::{List, Mailbox};
        let fields = RecordKind::Fields(VsizeHeader::FIELDS);
        assert_eq!(RecordKind::lookup("vsize", Mailbox, 4), Some(RecordKind::U32));
        assert_eq!(RecordKind::lookup("vsize", List, 16), Some(fields));
        assert_eq!(RecordKind::lookup("vsize", List, 4), None);
        assert_eq!(RecordKind::lookup("mbox", Mailbox, 8), Some(RecordKind::U64));
        assert_eq!(record("mbox", List, "0100000002000000", Little), r#"{"mtime":1,"size":2}"#);
        assert_eq!(record("maildir", List, "0100000002000000", Little), r#"{"new_mtime":1,"cur_mtime":2}"#);
        assert_eq!(RecordKind::lookup("x-unknown", Mailbox, 4), None);
        assert_eq!(IndexFlavor::guess(["subs", "list"]), List);
        assert_eq!(IndexFlavor::guess(["map", "ref"]), IndexFlavor::Map);
        assert_eq!(IndexFlavor::guess(["modseq", "maildir"]), Mailbox);
    }

    #[test]
    fn records_longer_than_known_keep_the_rest() {
        let json = record("mdbox", IndexFlavor::Mailbox, "0100000002000000ff", Little);
        assert_eq!(json, r#"{"map_uid":1,"save_date":2,"rest":"ff"}"#);
        let json = record("obox", IndexFlavor::Mailbox, "000102030405060708090a0b0c0d0e0f aabb", Little);
        assert_eq!(json, r#"{"guid":"000102030405060708090a0b0c0d0e0f","oid":"aabb"}"#);
    }

    /// Header bytes from the same files, and `virtual`, `virtual2` from the log of 2.3.19.1/mdbox/virtual Flagged; the
    /// meaning from doveadm dump.
    #[test]
    fn headers_of_real_files() {
        use IndexFlavor::{List, Mailbox};
        let json = header("modseq", Mailbox, "00000000000000260000000200001088", Big);
        assert_eq!(json, r#"{"highest_modseq":38,"log_seq":2,"log_offset":4232}"#);
        let json = header("mdbox-hdr", Mailbox, "6b03cb4020544c0840cb036be165000083ecc37500000000", Big);
        let guid = "20544c0840cb036be165000083ecc375";
        let want = format!(r#"{{"map_uid_validity":1795410752,"mailbox_guid":"{guid}","flags":0,"unused":"000000"}}"#);
        assert_eq!(json, want);
        // 16 bytes as written before 2.0.
        let json = header("mbox", Mailbox, "65090000000000008ac2036b01000000", Little);
        assert_eq!(json, r#"{"sync_size":2405,"sync_mtime":1795408522,"dirty_flag":1,"unused":"000000"}"#);
        let json = header("dbox-hdr", Mailbox, "01000000", Little);
        assert_eq!(json, r#"{"last_dirty_flush_stamp":1}"#);
        let json = header("list", List, "00 01000000 44726166747300 02000000 53656e7400 0000000000", Little);
        assert_eq!(json, r#"{"refresh_flag":0,"names":[{"id":1,"name":"Drafts"},{"id":2,"name":"Sent"}]}"#);
        let json = header(
            "virtual",
            Mailbox,
            "0100000002000000020000000ca3f2b3 01000000050000005bc6036b0b0000000300000000000000
             02000000070000005ac6036b090000000300000000000000 494e424f5841726368697665",
            Little,
        );
        let want = concat!(
            r#"{"change_counter":1,"mailbox_count":2,"highest_mailbox_id":2,"search_args_crc32":3019023116,"#,
            r#""mailboxes":["#,
            r#"{"id":1,"name_len":5,"uid_validity":1795409499,"next_uid":11,"highest_modseq":3,"name":"INBOX"},"#,
            r#"{"id":2,"name_len":7,"uid_validity":1795409498,"next_uid":9,"highest_modseq":3,"name":"Archive"}]}"#,
        );
        assert_eq!(json, want);
        let guids = ["a83e01275ac6036bf070000083ecc375", "2038ea265ac6036bf070000083ecc375"];
        let json = header("virtual2", Mailbox, &format!("0110080003000000{}", guids.concat()), Little);
        let want = r#"{"version":1,"ext_record_size":16,"hdr_size":8,"change_counter":3,"guids":"#;
        assert_eq!(json, format!("{want}{guids:?}}}").replace(", ", ","));
    }

    #[test]
    fn box_names() {
        let mut json = Json::default();
        HeaderKind::BoxName.visit("", b"a\0b c\0\0", Little, &mut json);
        assert_eq!(json.0, r#"{"levels":["a","b c"]}"#);
        // As main writes prefix/INBOX.
        let name = BoxName::parse(b"p\0INBOX\0\0\x01");
        assert_eq!((name.flags, name.levels().collect::<Vec<_>>()), (1, vec![&b"p"[..], b"INBOX"]));
    }

    #[test]
    fn pieces_of_headers() {
        let mut json = Json::default();
        let kind = HeaderKind::lookup("modseq", IndexFlavor::Mailbox, 16).unwrap();
        kind.visit_range("fields", 6, &unhex("0000 02000000 dc05"), Little, &mut json);
        assert_eq!(json.0, r#""fields":{"log_seq":2}"#);
    }

    /// Keyword header of two names as Dovecot lays it out, with spare bytes.
    fn keywords() -> Vec<u8> {
        unhex("02000000 00000000 00000000 00000000 08000000 244c6162656c3100 4a756e6b00 000000")
    }

    #[test]
    fn keyword_header() {
        let bytes = keywords();
        let parsed = KeywordsHeader::parse(&bytes, 1000, Little);
        assert_eq!(parsed.problems, []);
        let names: Vec<_> =
            parsed.keywords.iter().map(|keyword| (keyword.name.unwrap(), &keyword.name_range)).collect();
        assert_eq!(names, [(&b"$Label1"[..], &(1020..1028)), (b"Junk", &(1028..1033))]);
        assert_eq!(parsed.keywords[1].rec, 1012..1020);
        assert_eq!(parsed.names, 1020..1036);
        let json = header("keywords", IndexFlavor::Mailbox, "01000000 00000000 00000000 6100", Little);
        assert_eq!(json, r#"{"keywords_count":1,"keywords":[{"name_offset":0,"name":"a"}]}"#);
        assert_eq!(KeywordsHeader::parse(&[], 0, Little), KeywordsHeader::default());
    }

    #[test]
    fn keyword_header_problems() {
        let problems = |at: usize, byte: u8| {
            let mut bytes = keywords();
            bytes[at] = byte;
            let found = KeywordsHeader::parse(&bytes, 0, Little).problems;
            found.into_iter().map(|problem| (problem.at, problem.have.into_owned())).collect::<Vec<_>>()
        };
        let mismatch = |n| vec![(16, format!("{n} (Mismatching keyword name_offset)"))];
        assert_eq!(problems(16, 9), mismatch(9));
        let outside = vec![(16, "200 (name_offset points outside allocated header)".into())];
        assert_eq!(problems(16, 200), outside);
        assert_eq!(problems(35, b'x'), [(35, "Keyword header doesn't end with NUL".to_string())]);
        assert_eq!(problems(28, 0)[0], (28, "empty name".into()));
        assert_eq!(problems(21, 7)[0], (20, "byte 0x07".into()));
        assert!(problems(3, 0xff)[0].1.contains("keywords_count larger than header size"));
        let twice = unhex("02000000 0000000000000000 0000000002000000 6100 4100");
        assert_eq!(KeywordsHeader::parse(&twice, 0, Little).problems[0].have, "A");
    }

    /// A megabyte of keyword records that all name the same long text must not take a million times its length.
    #[test]
    fn hostile_keywords_end() {
        let mut bytes = vec![b'x'; 2 << 20];
        bytes[..4].copy_from_slice(&(1u32 << 17).to_le_bytes());
        bytes[4..4 + (1 << 20)].fill(0);
        let parsed = KeywordsHeader::parse(&bytes, 0, Little);
        assert_eq!(parsed.keywords.len(), 1 << 17);
        assert!(parsed.problems.len() <= MAX_PROBLEMS + 1);
    }

    #[test]
    fn list_header_problems() {
        let bytes = unhex("00 02000000 6100 01000000 6200");
        let parsed = ListHeader::parse(&bytes, 100, Little);
        assert_eq!((parsed.names.len(), &parsed.names[0].range), (1, &(101..107)));
        assert_eq!((parsed.problems[0].at, &*parsed.problems[0].have), (107, "an id that does not ascend"));
        assert_eq!(ListHeader::parse(&unhex("00 01000000 61"), 0, Little).problems[0].have, "a name without NUL");
        assert_eq!(ListHeader::parse(&unhex("00 0100"), 0, Little).problems[0].have, "the header ends in an id");
        assert_eq!(ListHeader::parse(&[], 0, Little), ListHeader::default());
    }

    #[test]
    fn every_kind_survives_every_length() {
        let names = "keywords modseq cache deleted ref guid vsize maildir mbox mdbox dbox map mobox-map obox virtual \
                     list msgs 1saved sort-x box-name virtual2 hdr-vsize dbox-hdr mdbox-hdr mobox-hdr fts subs list2 \
                     hdr-pop3-uidl last-rename-stamp virtual-guid header-md5 hmodseq";
        for name in names.split_whitespace() {
            for len in 0..64u16 {
                let bytes = vec![0xff; len.into()];
                for flavor in [IndexFlavor::Mailbox, IndexFlavor::List, IndexFlavor::Map] {
                    for size in 0..64 {
                        if let Some(kind) = RecordKind::lookup(name, flavor, size) {
                            kind.visit("", &bytes, Big, &mut Json::default());
                        }
                    }
                    if let Some(kind) = HeaderKind::lookup(name, flavor, len.into()) {
                        kind.visit("", &bytes, Little, &mut Json::default());
                        kind.visit_range("", usize::from(len), &bytes, Little, &mut Json::default());
                        kind.visit_range("", usize::MAX, &bytes, Little, &mut Json::default());
                    }
                }
            }
        }
    }

    #[test]
    fn ext_header_rules() {
        let check = |hdr_size, record_offset, record_size, record_align| {
            let ext = ExtHeader { hdr_size, reset_id: 0, record_offset, record_size, record_align, name_size: 1 };
            ext_hdr_check(24, &ext, b"x").err().unwrap_or_default()
        };
        assert_eq!(check(36, 0, 0, 0), "");
        assert_eq!(check(0, 8, 8, 8), "");
        assert_eq!(check(0, 5, 2, 1), "");
        assert_eq!(check(0, 0, 8, 8), "");
        assert_eq!(check(0, 0, 0, 4), "Invalid field values");
        assert_eq!(check(0, 8, 4, 0), "Record field alignment is zero");
        assert_eq!(check(0, 8, 4, 16), "Record alignment is too large");
        assert_eq!(check(0, 8, 0x8000, 1), "Record size is too large");
        assert_eq!(check(0, 20, 8, 4), "Record field points outside record size (20+8 > 24)");
        assert_eq!(check(0, 10, 4, 4), "Record field alignment 4 not used");
        assert_eq!(check(0, 7, 7, 7), "Record size not aligned by 7 as required by extension");
        assert_eq!(check(16 << 20, 0, 0, 0), "Header size too large (16777216)");
        let ext =
            ExtHeader { hdr_size: 4, reset_id: 0, record_offset: 0, record_size: 0, record_align: 0, name_size: 1 };
        assert_eq!(ext_hdr_check(24, &ext, b"a.b"), Err("Invalid name".into()));
        assert!(name_is_valid(b"index sync") && name_is_valid(b"") && name_is_valid(&[b'a'; 63]));
        assert!(!name_is_valid(&[b'a'; 64]) && !name_is_valid(b"a/b") && !name_is_valid("\u{e4}".as_bytes()));
    }
}
