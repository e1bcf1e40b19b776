//! What the header and the records of an extension are, by its name.

use super::super::disk::{Disk, Field};
use super::super::endian::Endian;
use super::keywords::keyword_bits;
use super::structs::*;
use super::visit::{
    Visit, fields_in, fields_size, hex, leaf, number, visit_box_name, visit_fields, visit_keywords, visit_list,
    visit_virtual, visit_virtual2,
};

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
    /// `keywords`: see [`super::KeywordsHeader`].
    Keywords,
    /// `list`: see [`super::ListHeader`].
    List,
    /// `box-name`: see [`super::BoxName`].
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
