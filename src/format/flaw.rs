//! What is wrong with bytes: which rule they break, where, what the rule asks for, and what is there. Whether that
//! matters is for `check` to say, by the [`FlawKind`] and never by the words.

use std::borrow::Cow;
use std::fmt;

use super::FileKind;

macro_rules! flaw_kinds {
    (
        rules { $( $(#[$doc:meta])* $name:ident = $text:literal; )* }
        rules with a value { $( $(#[$more_doc:meta])* $more:ident ( $ty:ty ) = $form:literal; )* }
    ) => {
        /// The rule that bytes break. Printed, it is the field or rule in Dovecot's terms; rules about one field may
        /// share the words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FlawKind {
            $( $(#[$doc])* $name, )*
            $( $(#[$more_doc])* $more($ty), )*
        }

        impl fmt::Display for FlawKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( FlawKind::$name => f.write_str($text), )*
                    $( FlawKind::$more(value) => write!(f, $form, value), )*
                }
            }
        }
    };
}

flaw_kinds! {
    rules {
        // Any file.
        /// Neither an index, a log, a cache, a thread index nor a mailbox log.
        NoKnownFile = "file";
        /// The file became shorter while it was read.
        FileShrank = "file shrank";
        /// Stands for all flaws of a file that has too many to list.
        Unlisted = "more problems from here on";

        // dovecot.index: mail_index_map_check_header and what is read after it.
        /// No index at all: neither version nor header size make sense in either byte order.
        NoIndex = "index header";
        /// Shorter than the base header.
        IndexShort = "File too small";
        /// `major_version` is not 7.
        IndexVersion = "Major version changed";
        /// `compat_flags` names the other byte order than the one in which the header can be read.
        IndexByteOrder = "CPU architecture changed: compat_flags";
        /// The flag CORRUPTED is set.
        IndexCorrupted = "Header's corrupted flag is set";
        /// `base_header_size` is less than the base header.
        BaseHeaderSize = "Corrupted header sizes: base_header_size";
        /// `header_size` is less than `base_header_size`.
        HeaderSize = "Corrupted header sizes: header_size";
        /// `header_size` is more than the file.
        HeaderPastFile = "Header size is larger than file";
        /// `record_size` is less than 8.
        RecordSizeSmall = "record_size too small";
        /// More messages than the file has room for.
        MessagesCount = "messages_count too large";
        /// An extension header without a name.
        ExtNameEmpty = "Broken extension: empty name";
        /// Two extension headers of one name.
        ExtNamedTwice = "Duplicate header extension";
        /// The data of an extension in each record goes beyond the record.
        ExtPastRecord = "Record field points outside record size";
        /// The extensions have more data in a record than it has room for.
        ExtOverlap = "Record fields overlap";

        // The header of the keywords extension: mail_index_map_parse_keywords.
        /// More keywords than the header has room for.
        KeywordsCount = "keywords_count";
        /// The area of the names does not end with NUL.
        KeywordNamesEnd = "keyword names";
        /// `name_offset` points out of the header.
        KeywordNameOutside = "name_offset";
        /// `name_offset` is not where the name before it ends: one bad offset makes all later ones look wrong.
        KeywordNameOffset = "name_offset";
        /// A keyword without a name.
        KeywordNameEmpty = "keyword name";
        /// A control character in a name.
        KeywordNameControl = "keyword name";
        /// Two keywords of one name.
        KeywordNamedTwice = "keyword name";

        // The header of the list extension: mailbox_list_index_parse_header.
        /// A name that is not UTF-8.
        ListNameText = "mailbox name";
        /// The header ends in the middle of an id.
        ListIdCut = "list header";
        /// Ids do not ascend.
        ListIdOrder = "list header";
        /// A name without its NUL.
        ListNameCut = "list header";

        // The header of a log: mail_transaction_log_file_read_hdr.
        /// No log at all: shorter than the two version bytes.
        NoLog = "log header";
        /// `major_version` is not 1.
        LogVersion = "major_version";
        /// Shorter than the header.
        LogShort = "unexpected end of file while reading header";
        /// `hdr_size` is less than that of the oldest version.
        LogHeaderSmall = "Header size too small";
        /// `hdr_size` is more than the file.
        LogHeaderPastFile = "hdr_size";
        /// `compat_flags` names the other byte order than the one in which the header can be read.
        LogByteOrder = "CPU architecture changed: compat_flags";
        /// `indexid` is 0.
        LogCorrupted = "indexid: marked corrupted";

        // Where the records of a log stop: mail_transaction_log_file_sync.
        /// Fewer bytes are left than a record header takes.
        RecordHeaderCut = "record header";
        /// The size word is not a coded size.
        RecordSizeCode = "record size";
        /// The size is less than the record header.
        RecordSize = "hdr.size too small";
        /// The record would end after the file.
        RecordPastEnd = "record size too large";
        /// The record would end above 4 GiB.
        RecordOffset = "record offset";
        /// A boundary announces more bytes than there are.
        TransactionPastEnd = "transaction size";

        // Records that make Dovecot mark the log corrupted: log_view_is_record_valid.
        /// The type word of an expunge without the bits that protect it.
        ExpungeMask = "expunge record missing protection mask";
        /// A record without payload.
        RecordEmpty = "Empty record contents";
        /// No whole number of appended messages.
        AppendSize = "Invalid append record size";
        /// No whole number of UID ranges.
        RangesSize = "Invalid record size";
        /// Not a single UID range.
        RangesNone = "No UID ranges";
        /// UID 0, or a range that ends before it begins.
        RangeInvalid = "Invalid UID range";
        /// Ranges that do not ascend, or that overlap.
        RangesOrder = "Non-sorted UID ranges";
        /// No whole number of expunged messages.
        ExpungeGuidSize = "Invalid expunge guid record size";
        /// UID 0 expunged.
        ExpungeGuidUid = "Expunge guid record with uid=0";
        /// A keyword update without the name of a keyword.
        KeywordEmpty = "Trying to use empty keyword";
        /// The name of the keyword goes beyond the record.
        KeywordUpdateSize = "Invalid keyword update record size";
        /// The name of an introduced extension goes beyond the record.
        IntroNameSize = "ext intro: name_size too large";
        /// The first element of a header update goes beyond the record.
        HeaderUpdateSize = "header update extends beyond record size";
        /// An attribute that is neither set nor unset.
        AttributePrefix = "attribute update: Invalid prefix";
        /// An attribute that is neither private nor shared.
        AttributeScope = "attribute update: Invalid type";
        /// An attribute without a key.
        AttributeKey = "attribute update: Empty key";
        /// The keys do not end with NUL.
        AttributeEnd = "attribute update doesn't end with NUL";
        /// The published tail offset lies after the record that publishes it: `log_file_track_sync`.
        TailPastSync = "log_file_tail_offset goes past sync offset";

        // Records that Dovecot complains about at most, while it reads on.
        /// A type that mail-transaction-log.h does not have.
        RecordTypeUnknown = "Unknown transaction record type";
        /// An element of a header update goes beyond the record.
        HeaderUpdateElement = "header update: invalid record size";
        /// No whole number of modseqs.
        ModseqUpdateSize = "Invalid modseq update record size";
        /// No whole number of additions.
        AtomicIncSize = "Invalid ext atomic inc record size";
        /// Too short for a `reset_id`.
        ExtResetSize = "ext reset: invalid record size";
        /// Neither add nor remove.
        KeywordModifyType = "keyword update: modify_type";
        /// A transaction that is shorter than the boundary that announces it.
        BoundarySize = "boundary size";
        /// Fewer time stamps and sizes than keys.
        AttributeNumbers = "attribute update: numbers";
        /// Replaying the records takes more work than files of their size can ask for.
        ReplayWork = "replay";

        // dovecot.index.cache: mail_cache_verify_header, mail_cache_header_fields_read.
        /// Shorter than the header.
        CacheShort = "cache header";
        /// `major_version` is not 1.
        CacheVersion = "major_version";
        /// `compat_sizeof_uoff_t` is not 8.
        CacheOffsetSize = "compat_sizeof_uoff_t";
        /// Belongs to another index.
        CacheIndexid = "indexid";
        /// `file_seq` is 0.
        CacheFileSeq = "file_seq";
        /// No offset of a first field header.
        FieldHeaderNone = "field_header_offset";
        /// The chain of field headers comes back to one that was there before.
        FieldHeaderLoop = "next_offset";
        /// A link of the chain leads to a lower offset.
        FieldHeaderOrder = "next_offset";
        /// More field headers than anybody follows.
        FieldHeaderChain = "field header chain";
        /// A link of the chain leads out of the file.
        FieldHeaderOutside = "next_offset";
        /// The size does not suit the number of fields or the file.
        FieldHeaderSize = "field header size";
        /// A field without a name, or whose name does not end inside the header.
        FieldName = "field name";
        /// Two fields of one name.
        FieldNamedTwice = "field name";
        /// A type that no Dovecot knows.
        FieldType = "field type";
        /// A caching decision that is none.
        FieldDecision = "field decision";
        /// A field that Dovecot registers itself, of another type: `field_type_verify`.
        RegisteredType = "field type";
        /// A field that Dovecot registers itself, of another size: `field_type_verify`.
        RegisteredSize = "field size";

        // Records of a cache: mail_cache_get_record, mail_cache_lookup_iter_next.
        /// An offset that is no multiple of 4.
        CacheRecordAlign = "record offset";
        /// An offset inside the file header.
        CacheRecordInHeader = "record offset";
        /// An offset at which no record header fits.
        CacheRecordOutside = "record";
        /// A size below 8, or no multiple of 4.
        CacheRecordSize = "record size";
        /// A record that would end after the file.
        CacheRecordPastEnd = "record size";
        /// The links of a message's records come back to one that was there before.
        CacheRecordLoop = "prev_offset";
        /// The fields do not end where the record does.
        CacheFieldsEnd = "record size";
        /// A field number that no field header gives.
        CacheFieldIndex = "field index";
        /// The data of a field goes beyond the record.
        CacheFieldSize = "field size";
        /// Bytes that are neither a record nor a field header.
        CacheUnreadable = "record";

        // Values of cache fields: message_part_deserialize, message_binary_part_deserialize.
        /// Data after the last part.
        PartsTooLong = "mime.parts";
        /// The data ends inside a part.
        PartsTooShort = "mime.parts";
        /// Parts nested deeper than anybody follows.
        PartsTooDeep = "mime.parts";
        /// A part that begins before the one ahead of it ends.
        PartOverlap = "mime.parts";
        /// A header that is larger as stored than with CRLF.
        PartHeaderSize = "mime.parts";
        /// A body that is larger as stored than with CRLF.
        PartBodySize = "mime.parts";
        /// A message/rfc822 part without an enclosed message.
        PartChildNone = "mime.parts";
        /// A message/rfc822 part with more than one enclosed message.
        PartChildren = "mime.parts";
        /// A part that ends after the one it is in.
        PartOutside = "mime.parts";
        /// A number that is cut short or too large.
        BinaryParts = "binary.parts";

        // dovecot.index.thread: strmap_read_block_init and what follows it.
        /// Shorter than the header.
        ThreadShort = "thread header";
        /// A version other than 1 and 2.
        ThreadVersion = "version";
        /// A block that would end after the file.
        ThreadBlock = "block_size";
        /// A record that does not end inside its block.
        ThreadRecord = "thread record";
        /// A string number above what the number of references allows.
        ThreadString = "string index";

        // dovecot.mailbox.log: mailbox_log_iter_next.
        /// An empty file.
        MailboxLogEmpty = "mailbox log";
        /// A piece of a record at the end.
        MailboxLogCut = "record";
        /// A type without a meaning.
        MailboxLogType = "type";
        /// Padding that is not zero.
        MailboxLogPadding = "padding";
    }
    rules with a value {
        /// The extension header with this number (from 0) goes beyond the header of the index.
        ExtOutsideHeader(usize) = "Header extension #{} goes outside header";
    }
}

/// Bytes that do not mean what the format says they must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} offset {at}: {kind}: need {need}, found {have}")]
pub struct Flaw {
    /// The kind of file being read.
    pub file: FileKind,
    /// Absolute byte offset in that file.
    pub at: u64,
    /// The rule.
    pub kind: FlawKind,
    /// What the rule asks for.
    pub need: Cow<'static, str>,
    /// What the bytes say.
    pub have: Cow<'static, str>,
}

impl Flaw {
    /// A flaw at byte offset `at` of a file; the two texts are `&'static str` or `String`.
    pub fn new(
        file: FileKind,
        at: u64,
        kind: FlawKind,
        need: impl Into<Cow<'static, str>>,
        have: impl Into<Cow<'static, str>>,
    ) -> Self {
        Flaw { file, at, kind, need: need.into(), have: have.into() }
    }

    /// Rule, need and find in words, without file and offset.
    pub fn words(&self) -> String {
        let Flaw { kind, need, have, .. } = self;
        format!("{kind}: need {need}, found {have}")
    }
}

/// How many flaws of one file are told apart; a damaged one can have as many as it has bytes.
pub const MAX_FLAWS: usize = 1000;

/// Adds to a list of flaws that does not grow with the damage: the last entry stands for all that are not listed.
pub fn note(flaws: &mut Vec<Flaw>, more: impl IntoIterator<Item = Flaw>) {
    for flaw in more {
        match flaws.len().cmp(&MAX_FLAWS) {
            std::cmp::Ordering::Less => flaws.push(flaw),
            std::cmp::Ordering::Equal => {
                let need = format!("at most {MAX_FLAWS}");
                flaws.push(Flaw::new(flaw.file, flaw.at, FlawKind::Unlisted, need, "more, which are not listed"));
            }
            std::cmp::Ordering::Greater => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_tells_file_place_rule_and_what_is_there() {
        let flaw = Flaw::new(FileKind::Index, 120, FlawKind::ExtOutsideHeader(2), "16 bytes", "3 bytes");
        assert_eq!(
            flaw.to_string(),
            "index offset 120: Header extension #2 goes outside header: need 16 bytes, found 3 bytes"
        );
        assert_eq!(flaw.words(), "Header extension #2 goes outside header: need 16 bytes, found 3 bytes");
    }

    #[test]
    fn a_list_of_flaws_ends_with_one_that_stands_for_the_rest() {
        let one = Flaw::new(FileKind::Log, 7, FlawKind::RecordEmpty, "", "");
        let mut list = Vec::new();
        note(&mut list, std::iter::repeat_n(one, MAX_FLAWS + 5));
        assert_eq!(list.len(), MAX_FLAWS + 1);
        assert_eq!(list.last().map(|flaw| flaw.kind), Some(FlawKind::Unlisted));
    }
}
