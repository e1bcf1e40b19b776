//! What a rebuild cannot keep, how grave that is, and what it is called.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct;

use crate::format::Flaw;
use crate::model::{LogPos, UidSet};

/// How grave a loss is. The later ones are the graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Clients transfer more than they would have to.
    History,
    /// Flags, keywords or other data of messages that are still there.
    Flags,
    /// Messages may be missing.
    Messages,
    /// Clients forget everything and begin anew.
    UidValidity,
}

impl Grade {
    /// All grades, the least grave first.
    pub const ALL: [Grade; 4] = [Grade::History, Grade::Flags, Grade::Messages, Grade::UidValidity];

    /// The word for it in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Grade::History => "history",
            Grade::Flags => "flags",
            Grade::Messages => "messages",
            Grade::UidValidity => "uidvalidity",
        }
    }
}

/// Why the index has no record of a message any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecord {
    /// A UID that it cannot have, and nothing tells the right one.
    NoUid,
    /// All bytes are 0.
    Zero,
    /// The file ends before it.
    CutOff,
}

/// What of an extension nothing tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionPart {
    /// Its name.
    Name,
    /// Where its data is in a record.
    Place,
    /// How large its data is.
    Sizes,
}

/// Something that no file tells any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// UIDVALIDITY.
    UidValidity,
    /// Which of the files are this mailbox's. Holds what contradicts what.
    Whose(String),
    /// Flags and keywords of these messages: two files that can both be read say otherwise.
    Disputed(UidSet),
    /// So many messages.
    Records {
        /// How many.
        count: u32,
        /// Why.
        why: NoRecord,
    },
    /// Part of what describes an extension. Holds its name.
    Extension(String, ExtensionPart),
    /// What keywords are called.
    KeywordNames,
    /// The modseqs of messages.
    Modseqs,
    /// Flags, keywords and modseqs of these messages, which only the storage has.
    Flags(UidSet),
    /// Modseqs of these messages: flags and keywords are those that the storage keeps.
    ModseqsOf(UidSet),
    /// Messages that no log expunges as far as it can be read, but whose mails are gone.
    Gone(UidSet),
    /// So many messages of a Maildir whose list of UIDs does not name their files.
    Unlisted(usize),
    /// Flags and keywords of these messages may have been changed by records that are lost.
    Stale(UidSet),
    /// Messages of which nothing tells which mails they are.
    Unlinked(UidSet),
    /// Mails in the map, by their UIDs there, which no mailbox refers to any more.
    Orphans(UidSet),
    /// Messages under new UIDs: their mails are in the map of an mdbox, and nothing tells which UIDs they had.
    Renumbered {
        /// The UIDs that they get.
        fresh: UidSet,
        /// These, and all that they may have had.
        all: UidSet,
    },
    /// One of the others, held against the storage: it comes to no more than this.
    Compared {
        /// What is lost.
        what: Box<Loss>,
        /// How grave that is at worst.
        grade: Grade,
        /// The messages that it may concern.
        uids: UidSet,
    },
    /// Flags, keywords and modseqs of these messages, whose index records were out of place.
    Displaced(UidSet),
    /// Messages whose append no replay executes, because a higher UID was appended before.
    Skipped(UidSet),
    /// A stretch of a log that cannot be read.
    Hole {
        /// Where it begins.
        at: LogPos,
        /// Bytes it has.
        size: u64,
        /// What is wrong there.
        what: String,
    },
    /// What replay did not go on to.
    Unread {
        /// Where it stopped.
        at: LogPos,
        /// Why.
        why: Flaw,
    },
    /// What was logged between two positions.
    Between(LogPos, LogPos),
    /// What was logged after a position, if anything was.
    After(LogPos),
    /// Which messages were expunged between two positions.
    Expunges(LogPos, LogPos),
    /// Which messages were expunged before.
    AllExpunges,
    /// Which messages were expunged while the log before the present one was written. Holds why that log has to go.
    OldExpunges(String),
}

impl Loss {
    /// How grave it is at worst.
    pub const fn grade(&self) -> Grade {
        match self {
            Loss::UidValidity | Loss::Whose(_) => Grade::UidValidity,
            Loss::Compared { grade, .. } => *grade,
            Loss::Unlinked(_)
            | Loss::Unlisted(_)
            | Loss::Orphans(_)
            | Loss::Renumbered { .. }
            | Loss::Records { .. }
            | Loss::Skipped(_)
            | Loss::Hole { .. }
            | Loss::Unread { .. }
            | Loss::Between(..)
            | Loss::After(_) => Grade::Messages,
            Loss::Extension(..)
            | Loss::KeywordNames
            | Loss::Flags(_)
            | Loss::Displaced(_)
            | Loss::Stale(_)
            | Loss::Disputed(_) => Grade::Flags,
            Loss::Modseqs
            | Loss::ModseqsOf(_)
            | Loss::Gone(_)
            | Loss::Expunges(..)
            | Loss::AllExpunges
            | Loss::OldExpunges(_) => Grade::History,
        }
    }

    /// The messages concerned, where they are known.
    pub fn uids(&self) -> Option<&UidSet> {
        match self {
            Loss::Flags(uids)
            | Loss::Disputed(uids)
            | Loss::Displaced(uids)
            | Loss::Skipped(uids)
            | Loss::ModseqsOf(uids)
            | Loss::Gone(uids)
            | Loss::Stale(uids)
            | Loss::Unlinked(uids)
            | Loss::Renumbered { all: uids, .. }
            | Loss::Orphans(uids) => Some(uids),
            Loss::Compared { uids, .. } if !uids.is_empty() => Some(uids),
            _ => None,
        }
    }

    /// How many messages are concerned, where that is known.
    pub fn count(&self) -> Option<u64> {
        match self {
            Loss::Records { count, .. } => Some(u64::from(*count)),
            Loss::Unlisted(files) => Some(*files as u64),
            Loss::Renumbered { fresh, .. } => Some(fresh.count()),
            _ => self.uids().map(UidSet::count),
        }
    }

    /// What Dovecot does with the same files when it is left alone.
    pub fn dovecot(&self) -> &'static str {
        match self {
            Loss::Compared { what, .. } => what.dovecot(),
            Loss::Flags(_) => "finds them again only when a delivery fails, or when it is told to, and without flags",
            Loss::ModseqsOf(_) => "takes them from the files as well, and counts modseqs anew",
            Loss::Stale(_) => "takes the flags of its last index, or none",
            Loss::Gone(_) => "drops them as well, when somebody reads them",
            Loss::Unlisted(_) => "gives them new UIDs as well",
            Loss::Unlinked(_) => "logs that their map uid is lost, and rebuilds the storage",
            Loss::Renumbered { .. } | Loss::Orphans(_) => {
                "gives them new UIDs and no flags when the storage is rebuilt"
            }
            Loss::UidValidity => "invents one, and clients download everything again",
            Loss::Hole { .. } => "marks the log corrupted and loses this and all that follows",
            Loss::Unread { .. } => "stops reading there as well",
            Loss::Skipped(_) => "skips them as well, and runs fsck",
            Loss::Displaced(_) => "serves each with what stands in the other's record",
            Loss::Records { .. } => "drops the index and starts anew from the storage",
            Loss::Expunges(..) | Loss::AllExpunges => "loses it as well, with the log it marks corrupted",
            Loss::OldExpunges(_) => "marks .log.2 corrupted, and loses it as well",
            Loss::Whose(_) => "2.4: deletes dovecot.index; before: marks the log corrupted and runs fsck",
            Loss::Disputed(_) => "shows what the index says without a word",
            Loss::Extension(..) => "logs \"Broken extension\", and fsck drops it",
            Loss::KeywordNames => "logs errors at each open, and fsck renames keywords to unknown-N",
            Loss::Modseqs => "counts them anew from the log that it has",
            Loss::Between(..) | Loss::After(_) => "logs \"Lost log for seq\", runs fsck, and goes on without",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::UidValidity => f.write_str("UIDVALIDITY: no file tells it"),
            Loss::Whose(why) => write!(f, "which files are this mailbox's: {why}, and nothing else tells"),
            Loss::Disputed(uids) => {
                write!(f, "flags and keywords of UIDs {uids}: the logs do not make them what index or backup have")
            }
            Loss::Records { count, why: NoRecord::NoUid } => {
                let plural = if *count == 1 { "a record" } else { "records" };
                write!(f, "{count} messages: {plural} whose UID nothing tells")
            }
            Loss::Records { count, why: NoRecord::Zero } => write!(f, "{count} messages: their records are zero"),
            Loss::Records { count, why: NoRecord::CutOff } => {
                write!(f, "{count} messages: the file ends before their records")
            }
            Loss::Extension(name, ExtensionPart::Name) => write!(f, "extension {name:?}: its name"),
            Loss::Extension(name, ExtensionPart::Place) => {
                write!(f, "extension {name}: where its data is in records")
            }
            Loss::Extension(name, ExtensionPart::Sizes) => write!(f, "extension {name}: its sizes"),
            Loss::KeywordNames => f.write_str("the names of keywords: their header does not tell them any more"),
            Loss::Modseqs => f.write_str("modseqs of messages"),
            Loss::Flags(uids) => {
                write!(f, "flags, keywords and modseqs of UIDs {uids}: only the storage still has these messages")
            }
            Loss::ModseqsOf(uids) => {
                write!(f, "modseqs of UIDs {uids}: only the storage still has these messages, with flags and keywords")
            }
            Loss::Gone(uids) => write!(
                f,
                "UIDs {uids} go: no log that can be read expunges them, but the storage has no mail of theirs any more"
            ),
            Loss::Unlisted(files) => {
                write!(f, "{files} messages whose files dovecot-uidlist does not name: they get new UIDs")
            }
            Loss::Stale(uids) => write!(f, "flags and keywords of UIDs {uids} may be older ones"),
            Loss::Unlinked(uids) => {
                write!(f, "messages with UIDs {uids}: nothing tells which mails of the map they are")
            }
            Loss::Orphans(mails) => write!(f, "mails {mails} of the map: no mailbox refers to them any more"),
            Loss::Compared { what, grade: Grade::Messages, uids } => {
                write!(f, "{what}; UIDs {uids} were given, and no mail of theirs is here")
            }
            Loss::Renumbered { fresh, .. } => write!(
                f,
                "{} messages whose mails are in the map get new UIDs {fresh}, and no flags: nothing tells their own",
                fresh.count()
            ),
            Loss::Compared { what, grade: Grade::Flags, uids } => write!(
                f,
                "{what}; the storage has no message more, but flags and keywords of UIDs {uids} may be older ones"
            ),
            Loss::Compared { what, .. } => write!(f, "{what}; the storage has no message more"),
            Loss::Displaced(uids) => {
                write!(f, "flags, keywords and modseqs of UIDs {uids}: their index records are out of place")
            }
            Loss::Skipped(uids) => {
                write!(f, "messages with UIDs {uids}: appended after a higher UID, so that replay skips them")
            }
            Loss::Hole { at, size, what } => write!(f, "{size} bytes of log at {at}: {what}"),
            Loss::Unread { at, why } => write!(f, "everything after {at}: {why}"),
            Loss::Between(from, to) => write!(f, "what was logged between {from} and {to}"),
            Loss::After(pos) => write!(f, "what was logged after {pos}, if anything"),
            Loss::Expunges(from, to) => write!(f, "the history of expunges between {from} and {to}"),
            Loss::AllExpunges => {
                f.write_str("the history of expunges: QRESYNC clients from before get every missing UID")
            }
            Loss::OldExpunges(why) => write!(f, "the history of expunges that .log.2 had: {why}"),
        }
    }
}

impl Serialize for Loss {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Loss", 5)?;
        object.serialize_field("grade", &self.grade())?;
        object.serialize_field("text", &self.to_string())?;
        if let Some(uids) = self.uids() {
            // Mails of a map are numbered by the map, not by a mailbox.
            let key = if matches!(self, Loss::Orphans(_)) { "map_uids" } else { "uids" };
            object.serialize_field(key, &uids.to_string())?;
        }
        if let Some(count) = self.count() {
            object.serialize_field("count", &count)?;
        }
        object.serialize_field("dovecot", self.dovecot())?;
        object.end()
    }
}
