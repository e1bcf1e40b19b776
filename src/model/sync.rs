//! What a replay may find fault with, as values: [`SyncError`] where Dovecot logs "Log synchronization error" and runs
//! fsck, [`Ignored`] where it leaves a record out and says nothing.
//!
//! The texts are Dovecot's (`mail-index-sync-update.c`, `mail-index-sync-ext.c`, `mail-index-sync-keywords.c`,
//! `mail-index-modseq.c`). Nobody compares them: what an error means follows from its [`SyncKind`].

use super::LogPos;

/// Something Dovecot logs as "Log synchronization error" before it runs fsck.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log position {pos}: {kind}")]
pub struct SyncError {
    /// Where the record starts.
    pub pos: LogPos,
    /// What is wrong with it.
    pub kind: SyncKind,
}

/// What is wrong with a record when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncKind {
    /// No such record type. Holds the type bits.
    #[error("Unknown transaction record type 0x{0:x}")]
    UnknownType(u32),
    /// An append of a UID that was given before.
    #[error("Append with UID {uid}, but next_uid = {next_uid}")]
    AppendBelowNextUid {
        /// The UID appended.
        uid: u32,
        /// The lowest that may be appended.
        next_uid: u32,
    },
    /// An append to more records than the bytes of the files can tell of; idx's own limit.
    #[error("Append: more records than the log could describe")]
    AppendTooMany,
    /// A message to be expunged whose UID was never given.
    #[error("uid {uid} >= next_uid {next_uid}")]
    UidNotGiven {
        /// The message's UID.
        uid: u32,
        /// The mailbox's.
        next_uid: u32,
    },
    /// A header-update record whose last element is cut off.
    #[error("header update extends beyond record size")]
    HeaderUpdateCut,
    /// A header-update outside the base header.
    #[error("Header update outside range: {start} + {size} > {base}")]
    HeaderUpdateOutside {
        /// First byte it is about.
        start: usize,
        /// Bytes it has.
        size: usize,
        /// Bytes the base header has.
        base: usize,
    },
    /// An ext-intro that names no extension.
    #[error("Extension introduction without id or name")]
    IntroNameless,
    /// An ext-intro of a number no extension has.
    #[error("Extension introduction for unknown id {0}")]
    IntroUnknownId(u32),
    /// An ext-intro of the keywords, which have records of their own.
    #[error("Extension introduction for keywords")]
    IntroKeywords,
    /// An ext-intro with sizes that cannot be. Holds the reason.
    #[error("Broken extension introduction: {0}")]
    IntroBroken(String),
    /// An ext-intro that asks for more bytes than the files could fill; idx's own limit.
    #[error("Broken extension introduction: larger than the log could fill")]
    IntroTooLarge,
    /// An ext-intro after which a record would not stay below 64 KiB.
    #[error("Broken extension introduction: record too large")]
    IntroRecordTooLarge,
    /// An ext-reset with a payload below 4 bytes.
    #[error("ext reset: invalid record size")]
    ExtResetSize,
    /// An ext-reset without an extension in force.
    #[error("Extension reset without intro prefix")]
    ExtResetWithoutIntro,
    /// An ext-hdr record whose last element is cut off.
    #[error("ext hdr update: invalid record size")]
    ExtHdrSize,
    /// An ext-hdr without an extension in force.
    #[error("Extension header update without intro prefix")]
    ExtHdrWithoutIntro,
    /// An ext-hdr beyond the extension's header.
    #[error("Extension header update points outside header size")]
    ExtHdrOutside,
    /// An ext-rec or ext-atomic-inc without an extension in force.
    #[error("Extension record updated without intro prefix")]
    ExtRecWithoutIntro,
    /// An ext-rec that is no multiple of its elements' size.
    #[error("ext rec update: invalid record size")]
    ExtRecSize,
    /// An ext-rec about a UID that was never given.
    #[error("Extension record update for invalid uid={0}")]
    ExtRecUid(u32),
    /// An ext-atomic-inc about a UID that was never given.
    #[error("Extension record inc for invalid uid={0}")]
    ExtIncUid(u32),
    /// An ext-atomic-inc of an extension whose record is no number. Holds the record's size in bytes.
    #[error("Extension record inc with invalid size={0}")]
    ExtIncSize(usize),
    /// An ext-atomic-inc whose result has no room in the record.
    #[error("Extension record inc {} (uid={uid}, diff={diff}, orig={old})",
        if *diff < 0 { "drops number below zero" } else { "overflows number" })]
    ExtIncRange {
        /// The message.
        uid: u32,
        /// What was to be added.
        diff: i32,
        /// The number before.
        old: u64,
    },
    /// A modseq-update of a mailbox without the `modseq` extension.
    #[error("modseqs updated before they were enabled")]
    ModseqsNotEnabled,
    /// `seen_messages_count` was wrong before: the change would take it below 0 or above `messages_count`.
    #[error("Seen counter wrong")]
    SeenCounter,
    /// `deleted_messages_count` was wrong before, in the same way.
    #[error("Deleted counter wrong")]
    DeletedCounter,
    /// The list of errors is full.
    #[error("more errors from here on, which are not listed")]
    More,
}

/// A record whose changes Dovecot leaves out without a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log position {pos}: {kind}")]
pub struct Ignored {
    /// Where the record starts.
    pub pos: LogPos,
    /// Why it is left out.
    pub kind: IgnoredKind,
}

/// Why a record is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredKind {
    /// The ext-intro is of another generation of the extension: what follows it is about data that was reset.
    #[error("extension {} introduced with reset_id {want}, it has {have}", String::from_utf8_lossy(ext))]
    ResetId {
        /// The extension's name.
        ext: Vec<u8>,
        /// The `reset_id` of the intro.
        want: u32,
        /// The extension's own.
        have: u32,
    },
}
