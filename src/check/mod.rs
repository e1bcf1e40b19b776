//! The judge: the rules a mailbox's index files must obey, and what breaks them.
//!
//! [`judge`] is a function of its arguments: files in memory, the time, and what the file system said of them when they
//! were read go in, findings come out. Nothing is opened, waited for, mended or printed here. Whoever has files asks
//! it: `check` and `scan` of files on disk, `rebuild` of the files it has made and not yet written.
//!
//! Rules that look at one file are in `log`, `index` and `cache`; those that need several, or the replayed state, in
//! `state`. A flaw is reported once, by the rule it breaks first: what only follows from it is left out.

mod cache;
pub mod codes;
pub mod deep;
mod index;
mod log;
mod names;
mod records;
mod rules;
mod sectors;
mod state;
mod transactions;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::format::log::{LogFile, LogHeader};
use crate::format::unseen::is_unseen;
use crate::model::replay::Replayed;
use crate::model::{ChainFile, reach};
use crate::source::{Family, MailboxFiles, Meta, MmapPolicy, Role, Snapshot, Stat};

pub use rules::{Code, RULES, Remedy, Rule, Severity};

/// Findings of one rule in one file beyond which only their number is told.
const MAX_ALIKE: usize = 10;
/// Age from which a lock file is left over (`MAIL_TRANSACTION_LOG_LOCK_CHANGE_TIMEOUT`), seconds.
const LOCK_STALE: i64 = 180;
/// UNIX time of the release of Dovecot 2.2.0. An indexid is the time at which the index was created.
const FIRST_2_2: u32 = 1_361_000_000;
/// No Dovecot has written a time before this one: UNIX time of 2002, when its development began.
const FIRST_STAMP: i64 = 1_009_843_200;
/// What the mark of a fsck says.
const FSCKD: &str = "the FSCKD flag is set: Dovecot found something to mend here";
/// What both servers do about a header that `mail_index_map_check_header` refuses.
const FSCK: &str = "logs \"fscking index file\", and makes modseqs anew";
/// How far a clock may be ahead, seconds.
const CLOCK_SKEW: i64 = 3600;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub code: Code,
    /// How bad this variant is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Byte offset in the file.
    pub offset: Option<u64>,
    /// The message concerned; in a list index the mailbox, in a map index the stored mail.
    pub uid: Option<u32>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What Dovecot logs or does about this variant, where that differs from what the rule says.
    does: Option<&'static str>,
    /// What is to be done about this variant, where that differs from what the rule says.
    remedy: Option<Remedy>,
}

impl Finding {
    /// A finding with the severity of its rule.
    pub fn new(code: Code, file: impl Into<PathBuf>, message: impl Into<String>) -> Finding {
        let severity = code.rule().severity;
        Finding {
            code,
            severity,
            file: file.into(),
            offset: None,
            uid: None,
            message: message.into(),
            does: None,
            remedy: None,
        }
    }

    /// Adds where in the file it is, in bytes.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// Adds the message it is about.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Finding {
        self.uid = Some(uid);
        self
    }

    /// Sets another severity than the rule's.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    /// Sets what Dovecot does about this variant of the flaw.
    #[must_use]
    pub fn does(mut self, what: &'static str) -> Finding {
        self.does = Some(what);
        self
    }

    /// Sets what is to be done about this variant.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Finding {
        self.remedy = Some(remedy);
        self
    }

    /// Sets what is to be done about this variant, where no command mends it without loss.
    #[must_use]
    pub fn advise(self, what: &'static str) -> Finding {
        self.remedy(Remedy::Advice(what.into()))
    }

    /// What is wrong, with the place: `byte 40: seen_messages_count is ...`.
    pub fn text(&self) -> String {
        match self.offset {
            Some(offset) => format!("byte {offset}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// What Dovecot logs or does.
    pub fn dovecot(&self) -> &'static str {
        let rule = self.code.rule();
        if let Some(does) = self.does {
            return does;
        }
        if self.severity == Severity::Info && rule.severity > Severity::Info {
            return "reads on without a word";
        }
        rule.dovecot
    }

    /// The command that mends it and loses nothing, for a mailbox that is given as `mailbox` on the command line.
    pub fn fix(&self, mailbox: &Path) -> Option<String> {
        self.fill(self.what_to_do().fix().filter(|_| self.severity > Severity::Info), mailbox)
    }

    /// What to do where no command mends it without loss, with what it costs.
    pub fn advice(&self, mailbox: &Path) -> Option<String> {
        self.fill(self.what_to_do().advice(), mailbox)
    }

    /// True when a rebuild may mend it: whoever says so has to try.
    pub fn may_be_rebuilt(&self) -> bool {
        self.severity > Severity::Info && *self.what_to_do() == Remedy::Rebuild
    }

    fn what_to_do(&self) -> &Remedy {
        let of_kind = || rules::variant(self.code, self.severity);
        self.remedy.as_ref().or_else(of_kind).unwrap_or(&self.code.rule().remedy)
    }

    fn fill(&self, words: Option<&str>, mailbox: &Path) -> Option<String> {
        Some(words?.replace("{mailbox}", &quote(mailbox)).replace("{file}", &quote(&self.file)))
    }

    /// True when `idx rebuild` mends it: the fix of the rule, and no variant that Dovecot itself reads on over.
    pub fn is_mended_by_rebuild(&self) -> bool {
        let rule = self.code.rule();
        rule.is_mended_by_rebuild() && self.severity >= rule.severity && self.severity > Severity::Info
    }
}

/// A path as a shell takes it: what is no text, or would not be seen as it is, as `$'\xff'`.
pub(crate) fn quote(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let start = if bytes.starts_with(b"-") { "./" } else { "" };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=,:@%".contains(byte);
    let each = |byte: &u8| if is_plain(byte) { char::from(*byte).into() } else { format!("\\x{byte:02x}") };
    match std::str::from_utf8(bytes) {
        Ok(text) if start.is_empty() && !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.contains(is_unseen) => format!("'{start}{}'", text.replace('\'', "'\\''")),
        _ => format!("$'{start}{}'", bytes.iter().map(each).collect::<String>()),
    }
}

/// How much to look at. Every rule is the same at each level; a level only leaves rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What modseqs are counted by: each log by itself, the headers of the index, and both against each other. No
    /// message is looked at and nothing is replayed.
    Modseqs,
    /// Also which UIDs the index has.
    Uids,
    /// What index, backup and logs say, each by itself and together with the logs replayed once: all that makes a
    /// Dovecot complain when it opens the mailbox, apart from the cache.
    Files,
    /// Also the cache, the index and its backup against what the logs say from their beginning on, and values that no
    /// Dovecot writes.
    All,
}

/// What to judge by.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much to look at.
    pub level: Level,
    /// The time now, UNIX seconds.
    pub now: i64,
    /// When to map files.
    pub mmap: MmapPolicy,
    /// Largest log, bytes.
    pub max_log_size: Option<u64>,
    /// Largest cache, bytes.
    pub max_cache_size: Option<u64>,
    /// How far back the logs must reach, seconds.
    pub min_window: Option<u64>,
}

impl Options {
    /// To judge everything by, at a time in UNIX seconds.
    pub fn at(now: i64) -> Options {
        Options {
            level: Level::All,
            now,
            mmap: MmapPolicy::Auto,
            max_log_size: None,
            max_cache_size: None,
            min_window: None,
        }
    }
}

/// Takes findings; of many alike in one file the first few are kept and the rest counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    alike: Vec<Alike>,
}

/// How many findings there are of one rule and severity in one file.
#[derive(Debug)]
struct Alike {
    code: Code,
    severity: Severity,
    file: PathBuf,
    count: usize,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        if self.counts(finding.code, finding.severity, &finding.file, 1) {
            self.list.push(finding);
        }
    }

    /// Counts one more of a kind; true while it is one of the first.
    fn counts(&mut self, code: Code, severity: Severity, file: &Path, more: usize) -> bool {
        let is_it =
            |one: &&mut Alike| one.code == code && one.severity == severity && one.file.as_os_str() == file.as_os_str();
        if let Some(one) = self.alike.iter_mut().find(is_it) {
            one.count += more;
            return one.count <= MAX_ALIKE;
        }
        self.alike.push(Alike { code, severity, file: file.to_owned(), count: more });
        true
    }

    /// As [`add`](Findings::add) for a rule that may be broken by thousands of records: `say` is asked for what is
    /// wrong, and where, only while that is kept.
    pub(crate) fn info(&mut self, code: Code, file: &Path, say: impl FnOnce() -> Finding) {
        if self.counts(code, Severity::Info, file, 1) {
            self.list.push(say().severity(Severity::Info));
        }
    }

    /// Adds what was found elsewhere, behind what is there.
    pub(crate) fn append(&mut self, other: Findings) {
        let Findings { list, alike } = other;
        list.into_iter().for_each(|finding| self.add(finding));
        for one in alike.iter().filter(|one| one.count > MAX_ALIKE) {
            self.counts(one.code, one.severity, &one.file, one.count - MAX_ALIKE);
        }
    }

    /// True when the rule found something in that file, or in any when `None`.
    pub(crate) fn has(&self, code: Code, file: Option<&Path>) -> bool {
        self.alike.iter().any(|one| one.code == code && file.is_none_or(|file| file == one.file))
    }

    /// True when a rule of at least this severity found something in that file.
    pub(crate) fn any(&self, file: &Path, severity: Severity) -> bool {
        self.list.iter().any(|finding| finding.file == file && finding.severity >= severity)
    }

    /// True when there is a finding in that part of a file.
    pub(crate) fn within(&self, file: &Path, range: std::ops::Range<u64>) -> bool {
        self.list.iter().any(|one| one.file == file && one.offset.is_some_and(|at| range.contains(&at)))
    }

    /// True when more of a kind are only counted: where they are is no longer known, so that a second rule cannot tell
    /// whether it would say the same again.
    pub(crate) fn is_full(&self, of: &Finding) -> bool {
        let is_it = |one: &Alike| one.code == of.code && one.severity == of.severity && one.file == of.file;
        self.alike.iter().any(|one| is_it(one) && one.count > MAX_ALIKE)
    }

    fn finish(mut self) -> Vec<Finding> {
        for one in &self.alike {
            let more = one.count.saturating_sub(MAX_ALIKE);
            let is_it = |f: &&mut Finding| f.code == one.code && f.severity == one.severity && f.file == one.file;
            if more > 0
                && let Some(last) = self.list.iter_mut().rev().find(is_it)
            {
                last.message.push_str(&format!(" (and {more} more like this)"));
            }
        }
        self.list
    }
}

/// A log file that could be read at least in part.
struct Log<'a> {
    role: Role,
    path: PathBuf,
    stat: Stat,
    file: ChainFile<'a>,
    /// The end of the file is being written just now.
    live: bool,
    /// Offsets of the records.
    starts: Vec<u32>,
}

impl Log<'_> {
    /// True when a record begins there, or the last one ends.
    fn is_boundary(&self, offset: u64) -> bool {
        offset == self.file.end.offset || u32::try_from(offset).is_ok_and(|at| self.starts.binary_search(&at).is_ok())
    }
}

/// Everything the rules look at.
struct Subject<'a> {
    files: &'a MailboxFiles,
    snapshot: &'a Snapshot,
    /// Files whose end is being written.
    growing: &'a [Role],
    options: &'a Options,
    family: Family,
    /// `.log` first.
    logs: Vec<Log<'a>>,
    /// The `indexid` that most files agree on.
    indexid: Option<u32>,
}

impl<'a> Subject<'a> {
    fn log(&self, role: Role) -> Option<&Log<'a>> {
        self.logs.iter().find(|log| log.role == role)
    }

    fn path(&self, role: Role) -> PathBuf {
        self.files.path(role)
    }

    /// The log with that number.
    fn numbered(&self, seq: u32) -> Option<&Log<'a>> {
        self.logs.iter().find(|log| log.file.seq() == seq)
    }

    /// The logs that tell of this mailbox's present life, newest first. A log that starts from nothing leaves a
    /// `.log.2` of an earlier life where it is.
    fn history(&self) -> impl DoubleEndedIterator<Item = &Log<'a>> {
        let alone = self.log(Role::Log).is_some_and(|log| log.file.log.header.starts_empty());
        self.logs.iter().filter(move |log| log.role == Role::Log || !alone)
    }

    /// True when a Dovecot before 2.2 has written to this mailbox: the index is older than 2.2.0, or one of the files
    /// still has the version of such a Dovecot.
    fn is_old(&self) -> bool {
        let version = |role: Role, at: usize| self.snapshot.get(role).and_then(|input| input.bytes.get(at).copied());
        self.indexid.is_some_and(|created| created < FIRST_2_2)
            || version(Role::Index, 1).is_some_and(|minor| minor < 3)
            || version(Role::Cache, 2).is_some_and(|minor| minor != 1)
            || self.logs.iter().any(|log| log.file.log.header.minor_version < 3)
    }
}

/// What is judged: the files of one mailbox as they were read, and what only the file system could tell of them then.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The files by name, for the findings.
    pub files: &'a MailboxFiles,
    /// Their content.
    pub snapshot: &'a Snapshot,
    /// Files whose end somebody is writing: what is unfinished there is no damage.
    pub growing: &'a [Role],
    /// Lock files and temporary files that lay beside them.
    pub leftovers: &'a [Leftover],
    /// Their directory, whose owner they must belong to.
    pub directory: Option<Meta>,
}

impl<'a> Evidence<'a> {
    /// Files that nobody is writing to, with nothing beside them: a copy in memory, say the result of a repair.
    pub fn in_memory(files: &'a MailboxFiles, snapshot: &'a Snapshot) -> Evidence<'a> {
        Evidence { files, snapshot, growing: &[], leftovers: &[], directory: None }
    }
}

/// A lock file or a temporary file of Dovecot's beside an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The file.
    pub path: PathBuf,
    /// When it was last written to, UNIX seconds.
    pub mtime: i64,
    /// True for a lock file, which somebody may wait for.
    pub is_lock: bool,
}

/// What Dovecot appends to the name of an index for its lock files (true) and temporary files
/// (`mail-transaction-log-file.c`, `file-dotlock.c`, `mail-index-write.c`, `mail-cache-purge.c`).
pub const LEFTOVERS: [(&str, bool); 7] = [
    (".log.newlock", true),
    (".log.lock", true),
    (".lock", true),
    (".cache.lock", true),
    (".tmp", false),
    (".backup.tmp", false),
    (".cache.tmp", false),
];

/// Judges files in memory that nobody is writing to: [`judge`] of [`Evidence::in_memory`].
pub fn snapshot(files: &MailboxFiles, snapshot: &Snapshot, options: &Options) -> Vec<Finding> {
    judge(&Evidence::in_memory(files, snapshot), options)
}

/// Judges a mailbox's files: every rule that they break, ordered by file and offset. No finding above
/// [`Severity::Info`] means that a Dovecot opens them without a word and answers what they say.
///
/// The same evidence and options always give the same findings.
pub fn judge(evidence: &Evidence<'_>, options: &Options) -> Vec<Finding> {
    judge_state(evidence, options).0
}

/// The same, with the state that index and logs lead to, where nothing is wrong on the way there.
pub fn judge_state(evidence: &Evidence<'_>, options: &Options) -> (Vec<Finding>, Option<Replayed>) {
    let Evidence { files, snapshot, growing, leftovers: stray, directory } = *evidence;
    let mut found = Findings::default();
    let family = files.family();
    let mut subject = Subject { files, snapshot, growing, options, family, logs: Vec::new(), indexid: None };
    // Between the two steps of a rotation .log.2 is another name of .log.
    let linked = match (snapshot.get(Role::Log), snapshot.get(Role::OldLog)) {
        (Some(new), Some(old)) => new.stat.same_file(&old.stat),
        _ => false,
    };
    for role in [Role::Log, Role::OldLog] {
        let Some(input) = snapshot.get(role).filter(|_| role == Role::Log || !linked) else { continue };
        let path = files.path(role);
        match LogFile::parse(&input.bytes, input.bytes.len() as u64) {
            Ok(log) => {
                let file = ChainFile::new(log, &input.bytes);
                let live = role == Role::Log && growing.contains(&role);
                // Offsets are below 4 GiB, or reading has stopped there.
                let starts = file.records().filter_map(|record| u32::try_from(record.offset).ok()).collect();
                subject.logs.push(Log { role, path, stat: input.stat, file, live, starts });
            }
            Err(error) => found.add(log::unreadable(&path, &error)),
        }
    }
    subject.indexid = state::common_indexid(&subject);
    log::check(&subject, &mut found);
    index::check(&subject, &mut found);
    let state = state::check(&subject, &mut found);
    if options.level == Level::All {
        cache::check(&subject, state.as_ref(), &mut found);
    }
    leftovers(stray, options.now, &mut found);
    owner(&subject, directory, &mut found);
    thresholds(&subject, &mut found);
    let mut list = found.finish();
    list.sort_by(|a, b| (&a.file, a.offset, a.code, a.uid).cmp(&(&b.file, b.offset, b.code, b.uid)));
    sectors::name(&subject, &mut list);
    (list, state.filter(|state| state.sound).map(|state| state.replayed))
}

/// Whether the storage is one that rebuilds itself after a fsck, by the extensions of its index.
fn is_dbox(has: impl Fn(&[u8]) -> bool) -> bool {
    [&b"dbox-hdr"[..], b"mdbox-hdr"].into_iter().any(has)
}

/// True for a time at which a day begins somewhere: since 1972 all zones are whole quarters of an hour from UTC.
fn is_midnight(stamp: u32) -> bool {
    stamp.is_multiple_of(900)
}

/// L23: lock files that nobody can hold any more, and temporary files nobody will finish.
fn leftovers(stray: &[Leftover], now: i64, found: &mut Findings) {
    for Leftover { path, mtime, is_lock } in stray {
        if now.saturating_sub(*mtime) <= LOCK_STALE {
            continue;
        }
        let since = jiff::Timestamp::from_second(*mtime).map_or_else(|_| "long ago".to_owned(), |at| at.to_string());
        let finding = if *is_lock {
            Finding::new(Code::L23, path, format!("lock file, untouched since {since}: whoever made it is gone"))
        } else {
            let message = format!("temporary file, untouched since {since}: its writer did not finish");
            Finding::new(Code::L23, path, message).severity(Severity::Info)
        };
        found.add(finding);
    }
}

/// D16: a thread index, which is in no set of files.
pub fn thread(path: &Path, bytes: &[u8]) -> Option<Finding> {
    let flaw = match crate::format::thread::Thread::parse(bytes, None) {
        Ok(thread) => thread.problem()?,
        Err(flaw) => flaw,
    };
    Some(Finding::new(Code::D16, path, flaw.words()).at(flaw.at))
}

/// D12: whoever owns the directory can read and write the index files.
fn owner(subject: &Subject<'_>, directory: Option<Meta>, found: &mut Findings) {
    let opened = subject.snapshot.generation();
    let (Some(dir), Some(opened)) = (directory.filter(|dir| dir.uid != 0), opened) else { return };
    for (role, file) in Role::ALL.into_iter().filter_map(|role| Some((role, opened.meta(role)?))) {
        let can = |bits: u32| file.mode & bits == bits;
        let usable = (file.uid == dir.uid && can(0o600)) || (file.gid == dir.gid && can(0o060)) || can(0o006);
        if !usable {
            let message = format!(
                "belongs to {}:{} with mode {:04o}, but the mailbox to {}:{}",
                file.uid, file.gid, file.mode, dir.uid, dir.gid
            );
            // Another owner may be meant; root never is.
            let severity = if file.uid == 0 { Severity::Error } else { Severity::Warning };
            found.add(Finding::new(Code::D12, subject.path(role), message).severity(severity));
        }
    }
}

/// T1 to T3.
fn thresholds(subject: &Subject<'_>, found: &mut Findings) {
    let options = subject.options;
    let size = |role: Role| subject.snapshot.get(role).map(|input| input.bytes.len() as u64);
    for (code, role, limit) in
        [(Code::T1, Role::Log, options.max_log_size), (Code::T2, Role::Cache, options.max_cache_size)]
    {
        if let (Some(limit), Some(size)) = (limit, size(role))
            && size > limit
        {
            found.add(Finding::new(code, subject.path(role), format!("{size} bytes, more than {limit}")));
        }
    }
    let log = |role| Some(&subject.log(role)?.file.log);
    let window = log(Role::Log).and_then(|new| reach::window(new, log(Role::OldLog), options.now));
    if let (Some(wanted), Some((oldest, window))) = (options.min_window, window)
        && window < wanted
        && let Some(log) = subject.numbered(oldest.header.file_seq)
    {
        let message = format!("the logs reach back {window} s, less than {wanted} s");
        found.add(Finding::new(Code::T3, &log.path, message).at(LogHeader::create_stamp.at()));
    }
}
