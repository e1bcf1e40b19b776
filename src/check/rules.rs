//! The table of rules: one code each, with what breaking it means to Dovecot and what mends it. Codes are the numbers
//! of the invariants and never change their meaning; `T` codes are thresholds that the administrator set.

use std::borrow::Cow;
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is lost or wrong.
    Info,
    /// Dovecot says nothing and answers something wrong, or is held up.
    Warning,
    /// Dovecot logs an error, runs fsck, throws a file away, loses data or crashes.
    Error,
}

impl Severity {
    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its code.
    pub code: Code,
    /// How bad it is to break it. Single findings may be milder.
    pub severity: Severity,
    /// What must hold, in a few words.
    pub title: &'static str,
    /// What Dovecot logs or does.
    pub dovecot: &'static str,
    /// What is to be done about it.
    pub remedy: Remedy,
}

/// What is to be done about a finding. `{mailbox}` and `{file}` in a text stand for the paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A command that mends it and loses nothing.
    Fix(Cow<'static, str>),
    /// What can be done where no command is known to mend it without loss, with what it costs.
    Advice(Cow<'static, str>),
    /// `idx rebuild`, if it can: which the judge does not know, and whoever offers it has to try in memory.
    Rebuild,
}

impl Remedy {
    /// The command that mends it and loses nothing.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Remedy::Fix(command) => Some(command),
            Remedy::Advice(_) | Remedy::Rebuild => None,
        }
    }

    /// What can be done where there is no such command.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Remedy::Fix(_) => None,
            Remedy::Advice(text) => Some(text),
            Remedy::Rebuild => Some(TRY_REBUILD),
        }
    }
}

const TRY_REBUILD: &str =
    "idx rebuild {mailbox}: it mends what other files prove, refuses where something would be lost, and says what";
const REBUILD: Remedy = Remedy::Rebuild;
const REMOVE: Remedy = Remedy::Fix(Cow::Borrowed("rm -- {file}"));

const fn advice(text: &'static str) -> Remedy {
    Remedy::Advice(Cow::Borrowed(text))
}

/// What Dovecot itself sets right, or reads on over for good.
static NOTHING: Remedy = advice("nothing to do: it changes no answer that a client gets");
const RESYNC: Remedy = advice(
    "doveadm force-resync -u USER MAILBOX: messages may get new UIDs, modseqs and flags that only the index has are \
     lost",
);
const RESYNC_ALL: Remedy = advice(
    "doveadm force-resync -u USER '*' makes the list anew, from the directories: it takes long on a large account",
);
/// No release of Dovecot writes such a thing: what it meant is not known.
static WATCH: Remedy = advice(
    "nothing to mend; it is gone when the log is rotated and the old one is removed. Look at the disk, and at what \
     else writes there",
);

impl Rule {
    /// True when `idx rebuild` is the remedy.
    pub fn is_mended_by_rebuild(&self) -> bool {
        self.remedy == Remedy::Rebuild
    }
}

macro_rules! rules {
    ($($code:ident $severity:ident $title:literal, $dovecot:literal, $remedy:expr;)*) => {
        /// The code of a rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $( #[doc = $title] $code, )* }

        impl Code {
            /// The code as it is printed.
            pub const fn name(self) -> &'static str {
                match self { $( Code::$code => stringify!($code), )* }
            }
        }

        /// Every rule, in the order of the codes.
        pub const RULES: &[Rule] = &[ $( Rule {
            code: Code::$code, severity: Severity::$severity, title: $title, dovecot: $dovecot,
            remedy: $remedy,
        }, )* ];
    };
}

rules! {
    L1 Error "the log is there, its header whole and of version 1",
        "discards the log and starts a new one from dovecot.index; changes after the index's position are lost",
        REBUILD;
    L2 Info "log minor_version is one that exists (0 to 3)",
        "reads it as version 1.3; a lower one is rotated away at the next sync", advice(
        "nothing to do: the next Dovecot reads it, and a rotation replaces it");
    L3 Error "log compat_flags tell the byte order",
        "logs \"CPU architecture changed\" and discards the log", REBUILD;
    L4 Error "log indexid is not 0",
        "logs \"marked corrupted\", discards the log and starts a new one from dovecot.index", REBUILD;
    L5 Error "index, logs and backup have one indexid",
        "2.4: logs \"indexid changed\" and deletes dovecot.index; before: marks the log corrupted and runs fsck, \
         modseqs restart", REBUILD;
    L6 Error ".log has a higher file_seq than .log.2",
        "logs \"duplicate transaction log sequence\" and marks .log.2 corrupted", REBUILD;
    L7 Error ".log continues where .log.2 ends",
        "logs \"Invalid transaction log size\" and marks .log.2 corrupted; expunge history is lost", REBUILD;
    L8 Error "records follow each other to the end of the log",
        "logs \"Unexpected garbage at EOF\" or \"hdr.size too small\" and marks the log corrupted when it next locks \
         it (2.4.4 and older); what follows is lost", REBUILD;
    L9 Error "a boundary covers whole records inside the log",
        "ignores the whole transaction, and marks the log corrupted when it next locks it (2.4.4 and older)", REBUILD;
    L10 Error "record types are known, expunges protected",
        "unknown type: logs \"Log synchronization error\", skips the record and runs fsck; expunge without its \
         protection mask: marks the log corrupted", REBUILD;
    L11 Error "record payloads are well formed",
        "marks the log corrupted and stops reading there", REBUILD;
    L12 Error "extension records follow a valid introduction",
        "logs \"Log synchronization error\", skips the record and runs fsck", REBUILD;
    L13 Error "extension data fits its introduction and its messages",
        "logs \"Log synchronization error\", skips the record and runs fsck", REBUILD;
    L14 Error "appended UIDs rise",
        "logs \"Append with UID\", skips the rest of the record and runs fsck: messages are missing", REBUILD;
    L15 Error "header updates stay inside the base header",
        "logs \"Header update outside range\", skips the record and runs fsck", REBUILD;
    L16 Error "published tail offsets are record boundaries already written",
        "logs \"log_file_tail_offset goes past sync offset\" and marks the log corrupted", REBUILD;
    L17 Error "enabling modseqs is complete before the next change",
        "2.4: crashes (SIGSEGV in mail_index_modseq_update_to_highest) each time the mailbox is opened; 2.3 reads \
         it", REBUILD;
    L18 Warning "initial_modseq is not below the end of the previous log",
        "nothing; HIGHESTMODSEQ goes back, and clients miss changes and expunges", REBUILD;
    L19 Error "the mailbox is not marked deleted",
        "logs \"Index is marked deleted\" and refuses to open the mailbox", advice(
        "end it with doveadm mailbox delete -u USER MAILBOX; mail that must stay is copied to another mailbox before: \
         its files are still there");
    L20 Info "create_stamp is not in the future",
        "rotates this log only at its maximum size", advice(
        "nothing to do: it is rotated by its size; look at the clock of the host");
    L21 Error "a log that starts from nothing does not meet an index at its beginning",
        "empties the index silently: all messages, keywords and modseqs are gone (data loss in 2.3 and 2.4)", REBUILD;
    L22 Info "the log was rotated at its maximum size",
        "rotates it at the next sync", advice(
        "look why rotations fail: rights on the directory, a full disk, a left-over .log.newlock, see the mail log");
    L23 Warning "no lock file is left over",
        "waits for it or, after three minutes, steals it; force-resync hangs on a leftover .log.newlock", REMOVE;

    I1 Error "the index header is usable",
        "deletes dovecot.index and starts an empty log, even if the log is good: modseqs restart, sdbox and mdbox \
         lose flags", REBUILD;
    I2 Error "extension headers fill the index header exactly",
        "logs \"Header extension goes outside header\"; fsck cuts the header there and loses all later extensions",
        REBUILD;
    I3 Error "the file holds exactly messages_count records",
        "too few: logs \"messages_count too large\" and the missing messages are lost; trailing bytes are ignored",
        REBUILD;
    I4 Error "UIDs ascend between 1 and next_uid",
        "last UID 0: deletes the index; wrong order: silent, maildir then gives messages new UIDs; beyond next_uid: \
         fsck", REBUILD;
    I5 Warning "seen and deleted counts are exact",
        "above messages_count: fsck; otherwise silent, and STATUS tells a wrong number of unseen messages", REBUILD;
    I6 Warning "no unseen or deleted message below its low-water mark",
        "above next_uid: fsck; otherwise silent, searches for unseen or deleted messages miss some", REBUILD;
    I7 Error "first_recent_uid lies between 1 and next_uid",
        "runs fsck", REBUILD;
    I8 Error "uid_validity is set once there were messages",
        "logs \"uidvalidity=0, but next_uid\"; fsck invents one, and clients download everything again", REBUILD;
    I9 Warning "flags have no unknown bits, and HAVE_DIRTY tells the truth",
        "nothing; unknown bits stay, dirty flags may never reach the mail storage", REBUILD;
    I10 Error "the index's log position can be reached",
        "logs \"Lost log for seq\" or \"log_file_head_offset\"; fsck, or marks the log corrupted when the offset is \
         inside a record", REBUILD;
    I11 Error "the index's tail is a record boundary before the head, and skips no request",
        "beyond the head: 2.3 marks the log corrupted, 2.4 runs fsck; too high: clients' pending changes are silently \
         undone", REBUILD;
    I12 Warning "the index holds what the logs say",
        "shows what the index says without a word, or gives all messages new UIDs (virtual mailboxes)", REBUILD;
    I13 Error "extension headers are valid and have names of their own",
        "logs \"Broken extension\" or \"Duplicate header extension\"; fsck drops it, later extensions change their \
         numbers", REBUILD;
    I14 Error "extension data lies inside the record and does not overlap",
        "outside: fsck drops the extension with its data; overlapping: silent corruption", REBUILD;
    I15 Error "the keywords header is valid",
        "logs errors at each open; fsck renames keywords to unknown-N", REBUILD;
    I16 Warning "no keyword bit without a keyword",
        "ignores the bits", REBUILD;
    I17 Warning "modseqs agree with the logs",
        "reports HIGHESTMODSEQ as it stands; clients miss changes", REBUILD;
    I18 Error "the cache extension belongs to the cache file",
        "logs \"reset_id mismatch\" and deletes the cache", REBUILD;
    I19 Warning "hdr-vsize agrees with the messages",
        "nothing; quota and STATUS SIZE are wrong", REBUILD;
    I20 Info "day_stamp and day_first_uid are plausible",
        "decides wrongly what is worth caching", advice(
        "nothing to do: Dovecot sets it anew the next day");
    I21 Info "log2_rotate_time tells whether there is a .log.2",
        "looks for it once more, or removes it late; without .log.2 QRESYNC falls back to naming every \
         missing UID", advice(
        "nothing to do: Dovecot looks for itself");
    I22 Info "no fsck has left its mark",
        "sdbox and mdbox: logs it and rebuilds the mailbox at the next sync; others: nothing", advice(
        "doveadm force-resync -u USER MAILBOX, for sdbox and mdbox, at a quiet hour: else the next session does it");
    I23 Error "there are UIDs left to give",
        "panics at each delivery and APPEND", advice(
        "move the messages to a new mailbox: they get UIDs from 1, and clients transfer them again");

    C1 Error "the cache header is valid and of this index",
        "deletes the cache", REMOVE;
    C2 Error "the chain of field headers is valid",
        "logs \"Deleting corrupted cache\" and deletes it", REMOVE;
    C3 Error "every message's cache records can be read",
        "logs \"Deleting corrupted cache\" and deletes it at the first touch", REMOVE;
    C4 Info "cache counters are plausible",
        "purges the cache too early or too late", advice(
        "nothing to do: a purge makes it anew");
    C5 Info "cache minor_version is one that exists",
        "purges the cache when it can", advice(
        "nothing to do: a purge makes it anew");
    C6 Warning "the cache is below 1 GiB",
        "logs \"File is too large\" and deletes it", REMOVE;
    C7 Error "cache field types and decisions exist",
        "logs \"field decision type corrupted\" and deletes the cache", REMOVE;
    C8 Error "known cache fields have their known type and size",
        "logs \"registered field type/size changed\" and deletes the cache", REMOVE;

    D1 Error "maildir: uid_validity is that of dovecot-uidlist",
        "logs \"UIDVALIDITY changed\" and resets the index", REBUILD;
    D2 Error "maildir: index and dovecot-uidlist have the same UIDs",
        "at the next scan of the directories, without a word: gives a message that the list lacks a new UID, and \
         expunges one that has no file", RESYNC;
    D3 Warning "maildir: file names have the flags of the index",
        "takes the flags of the file names at the next sync", advice(
        "nothing, where the names are right: Dovecot takes over their flags; where the index is, give the files \
         its letters \
         before the next session");
    D4 Info "maildir: the remembered directory times are right",
        "scans the directory again", advice(
        "nothing to do: Dovecot scans the directory once more");
    D5 Info "maildir: dovecot-keywords and the index name the same keywords",
        "nothing, the numbering is independent", advice(
        "put dovecot-keywords back from a backup, or add the missing lines to it, before Dovecot opens the mailbox");
    D6 Error "sdbox: dbox-hdr is whole, and every message has its file",
        "marks the mailbox corrupted and rebuilds it", RESYNC;
    D7 Error "mdbox: mdbox-hdr is whole, and every message is in the map",
        "marks the storage corrupted and rebuilds it", RESYNC;
    D8 Error "mdbox: the map's files and reference counts are right",
        "marks the storage corrupted and rebuilds it", RESYNC;
    D9 Warning "the list index is a tree of named mailboxes",
        "logs \"Corrupted mailbox list index\" and rebuilds the list", RESYNC_ALL;
    D10 Error "private index: every UID is in the shared index",
        "logs \"unexpectedly inserted\"", advice(
        "remove the private index: it is made anew, and this user sees the messages as new");
    D11 Info "the backup is of this mailbox, and older",
        "uses it only to rebuild the index, and then takes wrong values from it", REMOVE;
    D12 Error "index files belong to the mail user",
        "opens the index read-only or in memory, or not at all: \"Permission denied\"", advice(
        "give the file to the owner of the mailbox: chown --reference=. FILE and chmod u+rw FILE, in its directory");
    D13 Error "a message file has the size that its name, its header, the map and the cache tell",
        "closes the connection when the body is fetched, and logs \"Cached message size\" or a broken file; \
        dbox is rebuilt",
        advice("put the file back from a backup; what is left of it can be read from the file itself");
    D14 Error "uid_validity is that of the backup and of the mailbox list",
        "nothing; clients see another UIDVALIDITY and transfer the mailbox again", REBUILD;
    D15 Warning "mbox: the file is beside its indexes and has the UIDVALIDITY of the index",
        "resets the index to what the file says, or says that the mailbox does not exist", advice(
        "put the mbox file of this index back before Dovecot opens the mailbox, or let it take what is there");
    D16 Warning "the thread index can be read",
        "deletes it, and threads the mailbox anew when a client asks", REMOVE;
    D17 Error "there is an index where there are messages",
        "sdbox, mdbox: opens an empty mailbox with a new UIDVALIDITY and gives UIDs again; \
        maildir: modseqs begin anew", REBUILD;
    D18 Error "next_uid and HIGHESTMODSEQ are not below what the mailbox list has seen",
        "gives UIDs again that clients know as those of other messages", REBUILD;
    D19 Warning "the log goes back to the first message",
        "nothing: it has begun modseqs and history anew, and clients that were there before miss changes", advice(
        "what was before is gone; where a backup or a client tells the old HIGHESTMODSEQ, doveadm mailbox update \
         --min-highest-modseq N -u USER MAILBOX goes on from there");

    T1 Warning "the log is below --max-log-size", "nothing", advice(
        "nothing is wrong with it; idx simulate PATH says which mail_index_log_rotate settings would keep it below");
    T2 Warning "the cache is below --max-cache-size", "nothing", advice(
        "doveadm mailbox cache purge -u USER MAILBOX (2.4) makes it anew without what nobody asks for");
    T3 Warning "the logs reach back --min-window",
        "clients that were away longer get every missing UID as VANISHED", advice(
        "raise mail_index_log_rotate_min_size or mail_index_log2_max_age; idx simulate PATH says how far that reaches");

    N1 Warning "the mailbox's name can be decoded",
        "leaves the mailbox out of LIST, or logs \"Invalid mUTF-7 mailbox name\"", advice(
        "give the directory its name in modified UTF-7, or delete it with doveadm mailbox delete, and run doveadm \
         force-resync where a list index names it");
}

/// The remedy of a variant that is milder than its rule, or in `.log.2`, where it is another.
pub(super) fn variant(code: Code, severity: Severity) -> Option<&'static Remedy> {
    use Code::{L7, L10, L11, L12, L13, L14, L15};
    let rule = code.rule();
    // What Dovecot reads on over without a word is in a log that is kept for its history.
    match severity {
        Severity::Info if !(rule.severity == Severity::Info && rule.remedy.fix().is_none()) => Some(&NOTHING),
        Severity::Warning if matches!(code, L7 | L10 | L11 | L12 | L13 | L14 | L15) => Some(&WATCH),
        _ => None,
    }
}

impl Code {
    /// The rule with this code.
    pub fn rule(self) -> &'static Rule {
        // The table is generated in the order of the variants.
        RULES.get(self as usize).unwrap_or(&RULES[0])
    }

    /// The code that is printed so.
    pub fn from_name(name: &str) -> Option<Code> {
        RULES.iter().map(|rule| rule.code).find(|code| code.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_finds_its_own_rule() {
        for rule in RULES {
            assert_eq!(rule.code.rule().title, rule.title);
            assert_eq!(Code::from_name(rule.code.name()), Some(rule.code));
        }
    }
}
