//! Which rule is broken: the one place where what format and model find fault with becomes a [`Code`]. A new kind of
//! flaw does not compile until somebody says here what it is.

use std::path::Path;

use super::{Code, Finding, Severity};
use crate::format::{Flaw, FlawKind};
use crate::model::SyncKind;

/// The rule that bytes break which have this flaw; `None` for files that are not judged.
pub fn of_flaw(kind: FlawKind) -> Option<Code> {
    use FlawKind as K;
    Some(match kind {
        K::NoIndex
        | K::IndexShort
        | K::IndexVersion
        | K::IndexByteOrder
        | K::IndexCorrupted
        | K::BaseHeaderSize
        | K::HeaderSize
        | K::HeaderPastFile
        | K::RecordSizeSmall => Code::I1,
        K::ExtOutsideHeader(_) => Code::I2,
        K::MessagesCount => Code::I3,
        K::ExtNameEmpty | K::ExtNamedTwice => Code::I13,
        K::ExtPastRecord | K::ExtOverlap => Code::I14,
        K::KeywordsCount
        | K::KeywordNamesEnd
        | K::KeywordNameOutside
        | K::KeywordNameOffset
        | K::KeywordNameEmpty
        | K::KeywordNameControl
        | K::KeywordNamedTwice => Code::I15,
        K::ListNameText | K::ListIdCut | K::ListIdOrder | K::ListNameCut => Code::D9,

        K::NoLog | K::LogVersion | K::LogShort | K::LogHeaderSmall | K::LogHeaderPastFile => Code::L1,
        K::LogByteOrder => Code::L3,
        K::LogCorrupted => Code::L4,
        K::RecordHeaderCut
        | K::RecordSizeCode
        | K::RecordSize
        | K::RecordPastEnd
        | K::RecordOffset
        | K::ReplayWork
        | K::FileShrank => Code::L8,
        K::TransactionPastEnd | K::BoundarySize => Code::L9,
        // The type word is damaged when it is unknown, and when an expunge lost its protection.
        K::RecordTypeUnknown | K::ExpungeMask => Code::L10,
        K::RecordEmpty
        | K::AppendSize
        | K::RangesSize
        | K::RangesNone
        | K::RangeInvalid
        | K::RangesOrder
        | K::ExpungeGuidSize
        | K::ExpungeGuidUid
        | K::KeywordEmpty
        | K::KeywordUpdateSize
        | K::KeywordModifyType
        | K::IntroNameSize
        | K::HeaderUpdateSize
        | K::HeaderUpdateElement
        | K::ModseqUpdateSize
        | K::AtomicIncSize
        | K::ExtResetSize
        | K::AttributePrefix
        | K::AttributeScope
        | K::AttributeKey
        | K::AttributeEnd
        | K::AttributeNumbers => Code::L11,
        K::TailPastSync => Code::L16,

        K::CacheShort | K::CacheVersion | K::CacheOffsetSize | K::CacheIndexid | K::CacheFileSeq => Code::C1,
        K::FieldHeaderNone
        | K::FieldHeaderLoop
        | K::FieldHeaderOrder
        | K::FieldHeaderChain
        | K::FieldHeaderOutside
        | K::FieldHeaderSize
        | K::FieldName
        | K::FieldNamedTwice => Code::C2,
        K::FieldType | K::FieldDecision => Code::C7,
        K::RegisteredType | K::RegisteredSize => Code::C8,
        K::CacheRecordAlign
        | K::CacheRecordInHeader
        | K::CacheRecordOutside
        | K::CacheRecordSize
        | K::CacheRecordPastEnd
        | K::CacheRecordLoop
        | K::CacheFieldsEnd
        | K::CacheFieldIndex
        | K::CacheFieldSize
        | K::PartsTooLong
        | K::PartsTooShort
        | K::PartsTooDeep
        | K::PartOverlap
        | K::PartHeaderSize
        | K::PartBodySize
        | K::PartChildNone
        | K::PartChildren
        | K::PartOutside
        | K::BinaryParts => Code::C3,
        K::CacheUnreadable => Code::C4,

        // The thread index and the mailbox log are caches of nobody's; Unlisted stands for flaws that were not told
        // apart.
        K::NoKnownFile
        | K::Unlisted
        | K::ThreadShort
        | K::ThreadVersion
        | K::ThreadBlock
        | K::ThreadRecord
        | K::ThreadString
        | K::MailboxLogEmpty
        | K::MailboxLogCut
        | K::MailboxLogType
        | K::MailboxLogPadding => return None,
    })
}

/// The finding that a flaw makes.
pub fn flaw(path: &Path, flaw: &Flaw) -> Option<Finding> {
    let finding = Finding::new(of_flaw(flaw.kind)?, path, flaw.words()).at(flaw.at);
    // Seen on 2.3.19.1 and 2.4.1: not a line.
    let is_silent = flaw.kind == FlawKind::CacheIndexid;
    let does = "deletes the cache without a word, and reads the mails again for what was in it";
    Some(if is_silent { finding.severity(Severity::Warning).does(does) } else { finding })
}

/// The rule that a record breaks which a sync complains about.
pub fn of_sync(kind: &SyncKind) -> Code {
    match kind {
        SyncKind::UnknownType(_) => Code::L10,
        SyncKind::AppendBelowNextUid { .. } | SyncKind::AppendTooMany | SyncKind::UidNotGiven { .. } => Code::L14,
        SyncKind::HeaderUpdateCut | SyncKind::HeaderUpdateOutside { .. } => Code::L15,
        SyncKind::ExtRecUid(_)
        | SyncKind::ExtRecSize
        | SyncKind::ExtIncUid(_)
        | SyncKind::ExtIncSize(_)
        | SyncKind::ExtIncRange { .. } => Code::L13,
        SyncKind::SeenCounter | SyncKind::DeletedCounter => Code::I5,
        SyncKind::IntroNameless
        | SyncKind::IntroUnknownId(_)
        | SyncKind::IntroKeywords
        | SyncKind::IntroBroken(_)
        | SyncKind::IntroTooLarge
        | SyncKind::IntroRecordTooLarge
        | SyncKind::ExtResetSize
        | SyncKind::ExtResetWithoutIntro
        | SyncKind::ExtHdrSize
        | SyncKind::ExtHdrWithoutIntro
        | SyncKind::ExtHdrOutside
        | SyncKind::ExtRecWithoutIntro
        | SyncKind::ModseqsNotEnabled
        | SyncKind::More => Code::L12,
    }
}
