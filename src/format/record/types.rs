//! The types of log records, and the bits of flags.

use std::fmt;

/// Bit 28 of the type word: the change has already happened in the mail storage, or is bookkeeping.
pub const EXTERNAL: u32 = 0x1000_0000;
/// Bit 29 of the type word: the change was made by dsync.
pub const SYNC: u32 = 0x2000_0000;
/// The bits of the type word that carry the record type.
pub const TYPE_MASK: u32 = 0x0fff_ffff;
/// Size of a record's own header: coded size and type word.
pub const HEADER_SIZE: usize = 8;

/// The expunge types carry these extra bits, so that a damaged type word is not taken for an expunge.
pub(super) const EXPUNGE_PROT: u32 = 0xcd90;

/// System flags and the two bits Dovecot keeps for itself in a record's flags byte.
pub mod flag {
    /// `\Answered`.
    pub const ANSWERED: u8 = 0x01;
    /// `\Flagged`.
    pub const FLAGGED: u8 = 0x02;
    /// `\Deleted`.
    pub const DELETED: u8 = 0x04;
    /// `\Seen`.
    pub const SEEN: u8 = 0x08;
    /// `\Draft`.
    pub const DRAFT: u8 = 0x10;
    /// Private to the storage backend; dbox: the mail is in alternate storage.
    pub const BACKEND: u8 = 0x40;
    /// The flags have not been written to the mail storage yet.
    pub const DIRTY: u8 = 0x80;
    /// The five IMAP flags; a change of any other bit is internal and raises no modseq.
    pub const IMAP: u8 = 0x1f;
    /// IMAP names, lowest bit first.
    pub const NAMES: [(u8, &str); 5] = [
        (ANSWERED, "\\Answered"),
        (FLAGGED, "\\Flagged"),
        (DELETED, "\\Deleted"),
        (SEEN, "\\Seen"),
        (DRAFT, "\\Draft"),
    ];

    /// The IMAP flags among `flags` by name, lowest bit first.
    pub fn names(flags: u8) -> impl Iterator<Item = &'static str> + Clone {
        NAMES.into_iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| name)
    }
}

/// The types whose type word is a single bit, by the number of the bit.
const SINGLE_BITS: [Option<RecordType>; 21] = {
    let mut table = [None; 21];
    table[1] = Some(RecordType::Append);
    table[2] = Some(RecordType::FlagUpdate);
    table[5] = Some(RecordType::HeaderUpdate);
    table[6] = Some(RecordType::ExtIntro);
    table[7] = Some(RecordType::ExtReset);
    table[8] = Some(RecordType::ExtHdr);
    table[9] = Some(RecordType::ExtRec);
    table[10] = Some(RecordType::KeywordUpdate);
    table[11] = Some(RecordType::KeywordReset);
    table[12] = Some(RecordType::ExtAtomicInc);
    table[15] = Some(RecordType::ModseqUpdate);
    table[16] = Some(RecordType::ExtHdr32);
    table[17] = Some(RecordType::IndexDeleted);
    table[18] = Some(RecordType::IndexUndeleted);
    table[19] = Some(RecordType::Boundary);
    table[20] = Some(RecordType::AttributeUpdate);
    table
};

/// A record type (`enum mail_transaction_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// Expunge by UID ranges (Dovecot 1.x).
    Expunge,
    /// Expunge by UID and GUID (2.0 and later).
    ExpungeGuid,
    /// New messages.
    Append,
    /// Flags added to and removed from UID ranges.
    FlagUpdate,
    /// Bytes of the base header.
    HeaderUpdate,
    /// Names the extension that the following ext records are about.
    ExtIntro,
    /// New `reset_id` for the extension; its data is cleared unless preserved.
    ExtReset,
    /// Bytes of the extension header, 16-bit offsets.
    ExtHdr,
    /// Bytes of the extension header, 32-bit offsets (2.0 and later).
    ExtHdr32,
    /// Extension data of messages.
    ExtRec,
    /// A keyword added to or removed from UID ranges.
    KeywordUpdate,
    /// All keywords removed from UID ranges.
    KeywordReset,
    /// Signed additions to an extension number (mdbox reference counts).
    ExtAtomicInc,
    /// Modseqs raised to given values.
    ModseqUpdate,
    /// The mailbox is being deleted.
    IndexDeleted,
    /// The deletion was taken back.
    IndexUndeleted,
    /// Byte count of the transaction that starts here (2.2 and later).
    Boundary,
    /// Mailbox attributes (METADATA) set or unset.
    AttributeUpdate,
}

impl RecordType {
    /// Every type with its masked type word and doveadm's name.
    pub const ALL: [(RecordType, u32, &'static str); 18] = [
        (RecordType::Expunge, EXPUNGE_PROT | 0x1, "expunge"),
        (RecordType::ExpungeGuid, EXPUNGE_PROT | 0x2000, "expunge-guid"),
        (RecordType::Append, 0x2, "append"),
        (RecordType::FlagUpdate, 0x4, "flag-update"),
        (RecordType::HeaderUpdate, 0x20, "header-update"),
        (RecordType::ExtIntro, 0x40, "ext-intro"),
        (RecordType::ExtReset, 0x80, "ext-reset"),
        (RecordType::ExtHdr, 0x100, "ext-hdr"),
        (RecordType::ExtHdr32, 0x1_0000, "ext-hdr32"),
        (RecordType::ExtRec, 0x200, "ext-rec"),
        (RecordType::KeywordUpdate, 0x400, "keyword-update"),
        (RecordType::KeywordReset, 0x800, "keyword-reset"),
        (RecordType::ExtAtomicInc, 0x1000, "ext-atomic-inc"),
        (RecordType::ModseqUpdate, 0x8000, "modseq-update"),
        (RecordType::IndexDeleted, 0x2_0000, "index-deleted"),
        (RecordType::IndexUndeleted, 0x4_0000, "index-undeleted"),
        (RecordType::Boundary, 0x8_0000, "boundary"),
        (RecordType::AttributeUpdate, 0x10_0000, "attribute-update"),
    ];

    /// The type of a type word; `None` when it is not exactly one of the known values.
    #[inline]
    pub fn of(type_raw: u32) -> Option<RecordType> {
        let masked = type_raw & TYPE_MASK;
        if masked.is_power_of_two() {
            // All but the expunges are one bit: a look-up instead of a search, since this is asked of every record.
            return *SINGLE_BITS.get(masked.trailing_zeros() as usize)?;
        }
        match masked {
            0xcd91 => Some(RecordType::Expunge),
            0xed90 => Some(RecordType::ExpungeGuid),
            _ => None,
        }
    }

    /// The masked type word.
    pub const fn raw(self) -> u32 {
        let mut all: &[(RecordType, u32, &str)] = &Self::ALL;
        while let [(kind, raw, _), rest @ ..] = all {
            if *kind as u8 == self as u8 {
                return *raw;
            }
            all = rest;
        }
        0
    }

    /// doveadm's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., name)| name)
    }

    /// The type with that doveadm name.
    pub fn from_name(name: &str) -> Option<RecordType> {
        Self::ALL.iter().find(|(.., known)| *known == name).map(|(kind, ..)| *kind)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
