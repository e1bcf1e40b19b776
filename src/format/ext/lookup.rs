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

/// What Dovecot keeps in one extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownExt {
    /// Its name.
    pub name: &'static str,
    /// The kind of index in which it is this; `None`: in all that have no line of their own for the name.
    flavor: Option<IndexFlavor>,
    /// What its header is: the present form first, then others that are told by their size.
    headers: &'static [HeaderKind],
    /// What its records are: the present form first, then others that are told by their size.
    records: &'static [RecordKind],
    /// The alignment of its records, where that and the sizes have been the same in all versions since 2.2.
    align: Option<u16>,
    /// What of it tells the time.
    pub clocks: Clocks,
    /// Written by Dovecot Pro alone.
    is_pro: bool,
}

/// Where an extension tells the time at which it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clocks {
    /// Nowhere.
    #[default]
    None,
    /// In its header, a [`MaildirHeader`]: mtimes, and the times at which they were looked at.
    Maildir,
    /// In its header, an [`MboxHeader`]: an mtime.
    Mbox,
    /// In its header, an [`SdboxHeader`] or [`MdboxHeader`]: a GUID.
    MailboxGuid,
    /// In its records, [`MdboxRecord`]s: the times at which mails were saved.
    SaveDates,
    /// In its records: GUIDs.
    Guids,
    /// In its first `reset_id`.
    ResetId,
}

/// Every extension, by name; where one name means several things, that of all other kinds of index comes last.
static KNOWN: [KnownExt; 47] = {
    use HeaderKind::{BoxName, Fields as Header, Keywords as KeywordNames, List as ListNames, Virtual, Virtual2};
    use RecordKind::{Fields, Hex, Keywords, Obox, U16, U32, U64};
    const fn ext(name: &'static str, headers: &'static [HeaderKind], records: &'static [RecordKind]) -> KnownExt {
        KnownExt { name, flavor: None, headers, records, align: None, clocks: Clocks::None, is_pro: false }
    }
    [
        ext("1saved", &[], &[Fields(FirstSavedRecord::FIELDS)]).aligned(4),
        ext("box-name", &[BoxName], &[]),
        ext("cache", &[], &[U32]).aligned(4).timed(Clocks::ResetId),
        ext("dbox", &[], &[Fields(DboxRecord::FIELDS)]),
        ext("dbox-hdr", &[Header(SdboxHeader::FIELDS), Header(DboxHeader::FIELDS)], &[])
            .aligned(0)
            .timed(Clocks::MailboxGuid),
        ext("deleted", &[], &[U32]),
        ext("fts", &[Header(FtsHeader::FIELDS)], &[]).aligned(0),
        ext("guid", &[], &[Hex]).aligned(1).timed(Clocks::Guids),
        ext("hdr-pop3-uidl", &[Header(Pop3UidlHeader::FIELDS)], &[]).aligned(0),
        ext("hdr-vsize", &[Header(VsizeHeader::FIELDS)], &[]).aligned(8),
        ext("header-md5", &[], &[Hex]).aligned(1),
        ext("hmodseq", &[], &[U64]).aligned(8),
        ext("index sync", &[], &[Fields(IndexSyncRecord::FIELDS)]).aligned(4),
        ext("keywords", &[KeywordNames], &[Keywords]),
        ext("last-rename-stamp", &[Header(LastRenameHeader::FIELDS)], &[]).aligned(4),
        ext("list", &[ListNames], &[Fields(ListRecord::FIELDS)]).aligned(4),
        ext("list2", &[Header(List2Header::FIELDS)], &[]),
        ext("maildir", &[], &[Fields(MaildirListRecord::FIELDS)]).of_lists(),
        ext("maildir", &[Header(MaildirHeader::FIELDS)], &[]).aligned(0).timed(Clocks::Maildir),
        ext("map", &[Header(MapHeader::FIELDS)], &[Fields(MapRecord::FIELDS)]).aligned(4),
        ext("mbox", &[], &[Fields(MboxListRecord::FIELDS)]).of_lists(),
        ext("mbox", &[Header(MboxHeader::FIELDS)], &[U64]).aligned(8).timed(Clocks::Mbox),
        ext("mdbox", &[], &[Fields(MdboxRecord::FIELDS)]).aligned(4).timed(Clocks::SaveDates),
        ext("mdbox-hdr", &[Header(MdboxHeader::FIELDS)], &[]).aligned(0).timed(Clocks::MailboxGuid),
        ext("mobox", &[], &[Fields(MdboxRecord::FIELDS)]).of_pro(),
        ext("mobox-hdr", &[Header(MoboxHeader::FIELDS)], &[]).of_pro(),
        ext("mobox-map", &[Header(MoboxMapHeader::FIELDS)], &[Fields(MoboxMapRecord::FIELDS)]).of_pro(),
        ext("modseq", &[Header(ModseqHeader::FIELDS)], &[U64]).aligned(8),
        // The list index of 1.1 and 1.2 had one u32 extension for each of these.
        ext("msgs", &[], &[Fields(MsgsRecord::FIELDS), U32]).aligned(4),
        ext("obox", &[], &[Obox]).of_pro(),
        ext("recent", &[], &[U32]),
        ext("ref", &[], &[U16]).aligned(2),
        ext("sort-c", &[], &[U32]),
        ext("sort-df", &[], &[U32]),
        ext("sort-dt", &[], &[U32]),
        ext("sort-f", &[], &[U32]),
        ext("sort-s", &[], &[U32]),
        ext("sort-t", &[], &[U32]),
        ext("subs", &[Header(SubsHeader::FIELDS)], &[]).aligned(4),
        ext("uid_validity", &[], &[U32]),
        ext("uidnext", &[], &[U32]),
        ext("unseen", &[], &[U32]),
        ext("virtual", &[Virtual], &[Fields(VirtualRecord::FIELDS)]).aligned(4),
        ext("virtual-guid", &[Header(VirtualGuidHeader::FIELDS)], &[]),
        ext("virtual2", &[Virtual2], &[]),
        ext("vsize", &[], &[Fields(VsizeHeader::FIELDS)]).of_lists(),
        ext("vsize", &[], &[U32]).aligned(4),
    ]
};

impl KnownExt {
    const fn aligned(mut self, align: u16) -> KnownExt {
        self.align = Some(align);
        self
    }

    const fn timed(mut self, clocks: Clocks) -> KnownExt {
        self.clocks = clocks;
        self
    }

    const fn of_lists(mut self) -> KnownExt {
        self.flavor = Some(IndexFlavor::List);
        self
    }

    const fn of_pro(mut self) -> KnownExt {
        self.is_pro = true;
        self
    }

    /// The extension of that name in an index of that kind; `None` when nobody knows it.
    pub fn of(name: impl AsRef<[u8]>, flavor: IndexFlavor) -> Option<&'static KnownExt> {
        let name = name.as_ref();
        let from = KNOWN.partition_point(|known| known.name.as_bytes() < name);
        let mut named = KNOWN.get(from..)?.iter().take_while(|known| known.name.as_bytes() == name);
        named.find(|known| known.flavor.is_none_or(|only| only == flavor))
    }

    /// The names of the extensions that everybody's Dovecot writes.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        KNOWN.iter().filter(|known| !known.is_pro).map(|known| known.name)
    }

    /// What its records of `record_size` bytes hold; `None` when that size does not suit it.
    pub fn record_kind(&self, record_size: u16) -> Option<RecordKind> {
        let size = usize::from(record_size);
        let fits = |kind: &RecordKind| match kind {
            RecordKind::U16 | RecordKind::U32 | RecordKind::U64 => size == kind.least(),
            _ => size >= kind.least(),
        };
        self.records.iter().copied().find(fits)
    }

    /// What its header of `hdr_size` bytes holds; `None` when it has none.
    pub fn header_kind(&self, hdr_size: u32) -> Option<HeaderKind> {
        let exact = |kind: &&HeaderKind| u32::try_from(fields_size(kind.fields())) == Ok(hdr_size);
        self.headers.iter().find(exact).or(self.headers.first()).copied()
    }

    /// Bytes of its header, where they have been the same in all versions since 2.2.
    pub fn header_size(&self) -> Option<u32> {
        match self.headers {
            _ if self.align.is_none() => None,
            [] => Some(0),
            [HeaderKind::Fields(fields)] => u32::try_from(fields_size(fields)).ok(),
            _ => None,
        }
    }

    /// Bytes of its data in each record, and their alignment, where both have been the same in all versions since 2.2.
    pub fn record_shape(&self) -> Option<(u16, u16)> {
        let size = self.records.first().map_or(0, |kind| kind.least());
        Some((u16::try_from(size).ok()?, self.align?))
    }

    /// False for sizes, in bytes, that it has had in no version since 2.2, where these are the same in all.
    pub fn suits(&self, hdr_size: u32, record_size: u16, record_align: u16) -> bool {
        self.header_size().is_none_or(|size| size == hdr_size)
            && self.record_shape().is_none_or(|shape| shape == (record_size, record_align))
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
        KnownExt::of(name, flavor)?.record_kind(record_size)
    }

    /// The fewest bytes that hold one.
    const fn least(self) -> usize {
        match self {
            RecordKind::Keywords => 1,
            RecordKind::U16 => 2,
            RecordKind::U32 => 4,
            RecordKind::U64 => 8,
            RecordKind::Hex | RecordKind::Obox => 16,
            RecordKind::Fields(fields) => fields_size(fields),
        }
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
        KnownExt::of(name, flavor).filter(|_| hdr_size != 0)?.header_kind(hdr_size)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_found() {
        assert!(KNOWN.is_sorted_by_key(|known| (known.name, known.flavor.is_none())));
        for known in &KNOWN {
            assert_eq!(KnownExt::of(known.name, known.flavor.unwrap_or_default()), Some(known));
        }
        let suits = |name: &str, header, record, align| {
            KnownExt::of(name, IndexFlavor::Mailbox).is_some_and(|known| known.suits(header, record, align))
        };
        assert!(suits("mbox", 32, 8, 8) && !suits("mbox", 16, 8, 8) && !suits("mbox", 32, 8, 4));
        assert!(suits("dbox-hdr", 20, 0, 0) && !suits("dbox-hdr", 24, 4, 4));
        assert!(suits("keywords", 1, 2, 3));
    }
}
