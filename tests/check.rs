//! One flaw for each rule: a sound mailbox of a real Dovecot, one change made to its bytes by the words of the format, and the
//! one code that must come of it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use idx::check::{self, Code, Finding, Options, RULES, Severity};
use idx::format::cache::Cache;
use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::format::packed;
use idx::format::record::{EXTERNAL, Record, RecordType};
use idx::ops::inspect;
use idx::source::{Bytes, Family, Input, MailboxFiles, MmapPolicy, Role, Snapshot, Stat};

/// The day of judgement: a week after the last fixture was made, whatever the day is on which this runs.
fn options() -> Options {
    Options { now: 1_796_000_000, ..inspect::options() }
}

/// The files of a mailbox in memory.
#[derive(Clone)]
struct Set {
    index: PathBuf,
    files: BTreeMap<Role, Vec<u8>>,
}

impl Set {
    fn load(path: &str) -> Set {
        let index = support::fixtures().join(path);
        let mailbox = MailboxFiles::at(index.clone());
        let read = |role| Some((role, fs::read(mailbox.path(role)).ok()?));
        let files: BTreeMap<_, _> = Role::ALL.into_iter().filter_map(read).collect();
        assert!(!files.is_empty(), "{path}: no files");
        // Nothing on disk must be able to influence the verdict.
        let index = Path::new("/nonexistent").join(index.file_name().expect("a name"));
        Set { index, files }
    }

    fn get(&mut self, role: Role) -> &mut Vec<u8> {
        self.files.get_mut(&role).expect("the fixture has this file")
    }

    fn check(&self, options: &Options) -> Vec<Finding> {
        let inputs = self.files.iter().map(|(role, bytes)| {
            let stat = Stat { dev: 1, ino: *role as u64 + 1, size: bytes.len() as u64, mtime: (1, 0) };
            (*role, Input { bytes: Bytes::Owned(bytes.clone()), stat })
        });
        let files = MailboxFiles::at(self.index.clone());
        check::snapshot(&files, &Snapshot::new(inputs.collect()), options)
    }

    /// Sets a number of four bytes.
    fn put(&mut self, role: Role, at: usize, value: u32) {
        self.get(role)[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn number(&mut self, role: Role, at: usize) -> u32 {
        u32::from_le_bytes(self.get(role)[at..at + 4].try_into().expect("four bytes"))
    }

    /// Adds to a number of four bytes.
    fn add(&mut self, role: Role, at: usize, n: u32) {
        let value = self.number(role, at);
        self.put(role, at, value.wrapping_add(n));
    }

    /// Appends a record to the log.
    fn append(&mut self, type_raw: u32, payload: &[u8]) {
        let size = u32::try_from(payload.len() + 8).expect("short");
        let log = self.get(Role::Log);
        log.extend(packed::encode(size).expect("a multiple of 4"));
        log.extend(type_raw.to_le_bytes());
        log.extend(payload);
    }

    /// Appends a transaction of several records.
    fn transaction(&mut self, records: &[(u32, &[u8])]) {
        let payloads: usize = records.iter().map(|(_, payload)| payload.len() + 8).sum();
        let sync = records.first().map_or(0, |(raw, _)| raw & 0x2000_0000);
        self.append(0x8_0000 | EXTERNAL | sync, &words(&[u32::try_from(payloads + 12).expect("short")]));
        records.iter().for_each(|(type_raw, payload)| self.append(*type_raw, payload));
    }

    /// Where extension header, its data, and its part of the first record are.
    fn extension(&mut self, name: &str) -> (usize, usize, usize) {
        let index = IndexFile::parse(self.get(Role::Index)).expect("an index");
        let ext = index.extension(name.as_bytes()).expect("the extension");
        (ext.at, ext.data_at, index.records_at + usize::from(ext.header.record_offset))
    }

    /// Where the first record is, and how large records are.
    fn records(&mut self) -> (usize, usize) {
        let index = IndexFile::parse(self.get(Role::Index)).expect("an index");
        (index.records_at, index.record_size)
    }

    /// Offset of the first log record that is wanted.
    fn find(&mut self, role: Role, wanted: impl Fn(&Record<'_>) -> bool) -> usize {
        let bytes = self.get(role);
        let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
        log.records(bytes).find(wanted).expect("such a record").offset as usize
    }
}

fn words(list: &[u32]) -> Vec<u8> {
    list.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An introduction by name.
fn intro(name: &str, hdr_size: u32, record_size: u16, align: u16) -> Vec<u8> {
    let mut out = words(&[u32::MAX, 0, hdr_size]);
    for half in [record_size, align, 0, name.len() as u16] {
        out.extend(half.to_le_bytes());
    }
    out.extend(name.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A keyword set on a range of messages.
fn keyword(name: &str, uid1: u32, uid2: u32) -> Vec<u8> {
    let mut out = words(&[u32::from(name.len() as u16) << 16]);
    out.extend(name.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(words(&[uid1, uid2]));
    out
}

/// The cache records that messages lead to, newest ones only: where each is, and its size.
fn records(s: &mut Set) -> Vec<(usize, u32)> {
    let (.., first) = s.extension("cache");
    let (_, size) = s.records();
    let count = s.number(Role::Index, 32) as usize;
    let offsets: Vec<u32> = (0..count).map(|i| s.number(Role::Index, first + i * size)).filter(|at| *at != 0).collect();
    let cache = s.get(Role::Cache).clone();
    let cache = Cache::parse(&cache, None).expect("a cache");
    offsets.into_iter().map(|at| (at as usize, cache.record_at(at).expect("a record").size)).collect()
}

/// Where the text of a message's To header begins in the cache.
fn header(s: &mut Set) -> usize {
    let records = records(s);
    let bytes = s.get(Role::Cache).clone();
    let cache = Cache::parse(&bytes, None).expect("a cache");
    let index = cache.fields.iter().position(|f| f.name == b"hdr.to").expect("the field");
    let chains = records.iter().flat_map(|(at, _)| cache.chain(*at as u32).flatten());
    let mut fields = chains.flat_map(|record| cache.fields(&record).flatten().collect::<Vec<_>>());
    let field = fields.find(|field| field.index as usize == index && !field.data.is_empty());
    // One line number and the zero after it.
    field.expect("a recipient").offset as usize + 8
}

/// One flaw.
struct Case {
    code: Code,
    severity: Severity,
    role: Role,
    base: &'static str,
    what: &'static str,
    flaw: fn(&mut Set),
}

/// Two logs that hold the whole history, an index in the second.
const CHAIN: &str = "2.3.19.1-maildir-chain/files/Maildir/dovecot.index";
/// Two logs that do not reach the beginning.
const BUSY: &str = "2.3.19.1-maildir-busy/files/Maildir/dovecot.index";
/// No index yet.
const FRESH: &str = "2.3.19.1-maildir-fresh/files/Maildir/dovecot.index";
const NOMODSEQ: &str = "2.3.19.1-maildir-nomodseq/files/Maildir/dovecot.index";
const SDBOX: &str = "2.4.1-sdbox-busy/files/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index";
const MDBOX: &str = "2.4.1-mdbox-busy/files/mdbox/mailboxes/INBOX/dbox-Mails/dovecot.index";
const MAP: &str = "2.4.1-mdbox-fresh/files/mdbox/storage/dovecot.map.index";
const LIST: &str = "2.4.1-sdbox-list-index/files/sdbox/dovecot.list.index";

const ALL_BASES: [&str; 8] = [CHAIN, BUSY, FRESH, NOMODSEQ, SDBOX, MDBOX, MAP, LIST];

macro_rules! cases {
    ($( $code:ident $severity:ident $role:ident $base:ident $what:literal => $flaw:expr; )*) => {
        const CASES: &[Case] = &[ $( Case {
            code: Code::$code, severity: Severity::$severity, role: Role::$role, base: $base, what: $what, flaw: $flaw,
        }, )* ];
    };
}

/// What was introduced before the log was rotated is still what was introduced behind it, for a replay and for the judge.
#[test]
fn an_introduction_holds_when_the_next_log_begins() {
    use support::build::{APPEND, EXT_REC, Log};
    let mut old = Log::new(1);
    old.record(0x20 | EXTERNAL, &words(&[4 << 16 | 24, support::build::INDEXID]));
    old.record(APPEND | EXTERNAL, &words(&[1, 0])).record(0x40 | EXTERNAL, &intro("mine", 0, 4, 4));
    let mut new = Log::new(2);
    new.bytes[8..20].copy_from_slice(&words(&[3, 2, u32::try_from(old.bytes.len()).expect("short")]));
    new.record(EXT_REC | EXTERNAL, &words(&[1, 7]));
    let files = BTreeMap::from([(Role::OldLog, old.bytes), (Role::Log, new.bytes)]);
    let mut set = Set { index: PathBuf::from("/nonexistent/dovecot.index"), files };
    let wrong = |set: &Set| -> Vec<Finding> {
        set.check(&options()).into_iter().filter(|one| one.code == Code::L12 && one.severity > Severity::Info).collect()
    };
    assert_eq!(wrong(&set), []);
    // Where nobody knows what was introduced there is nothing to hold.
    set.files.remove(&Role::OldLog);
    assert_eq!(wrong(&set).len(), 1);
}

/// An index says whose mailbox it is before an old log does: without a log Dovecot makes one with the index's id.
#[test]
fn an_index_outvotes_an_old_log() {
    let mut set = Set::load(BUSY);
    [Role::Log, Role::Backup, Role::Cache].iter().for_each(|role| drop(set.files.remove(role)));
    set.add(Role::OldLog, 4, 1);
    let other: Vec<_> = set.check(&options()).into_iter().filter(|one| one.code == Code::L5).collect();
    assert_eq!(other.len(), 1);
    assert!(other[0].file.ends_with("dovecot.index.log.2"), "{other:?}");
}

cases! {
    L1 Error Log BUSY "major_version 2" => |s| s.get(Role::Log)[0] = 2;
    L1 Error Log BUSY "hdr_size 23" => |s| s.get(Role::Log)[2] = 23;
    L1 Error Log BUSY "cut inside the header" => |s| s.get(Role::Log).truncate(20);
    L1 Error Log BUSY "empty" => |s| s.get(Role::Log).clear();
    L1 Error Log BUSY "missing" => |s| { s.files.remove(&Role::Log); };
    L2 Info Log BUSY "minor_version 4" => |s| s.get(Role::Log)[1] = 4;
    L3 Error Log BUSY "compat_flags 0" => |s| s.get(Role::Log)[32] = 0;
    L4 Error Log BUSY "indexid 0" => |s| s.put(Role::Log, 4, 0);
    L5 Error Log BUSY "indexid of another mailbox" => |s| s.add(Role::Log, 4, 1);
    L5 Error Index BUSY "indexid of another mailbox in the index" => |s| s.add(Role::Index, 16, 1);
    L6 Error OldLog BUSY ".log.2 is a copy of .log" => |s| { let log = s.get(Role::Log).clone(); s.files.insert(Role::OldLog, log); };
    L7 Error Log BUSY "prev_file_offset is not where .log.2 ends" => |s| s.add(Role::Log, 16, 4);
    L7 Error Log BUSY "a log between the two is missing" => |s| { s.add(Role::OldLog, 8, u32::MAX); s.add(Role::OldLog, 12, u32::MAX); };
    L8 Error Log BUSY "three stray bytes at the end" => |s| s.get(Role::Log).extend([0xff; 3]);
    L8 Error Log BUSY "a size without the high bits" => |s| { let at = s.find(Role::Log, |r| r.offset > 200); s.get(Role::Log)[at] = 0; };
    L8 Error Log BUSY "a record of 4 bytes" => |s| s.get(Role::Log).extend([0x80, 0x80, 0x80, 0x81, 0, 0, 0, 0]);
    L8 Error OldLog BUSY "zeros in .log.2" => |s| { let at = s.find(Role::OldLog, |r| r.offset > 200); s.get(Role::OldLog)[at..at + 64].fill(0); };
    L9 Error Log BUSY "a boundary that ends inside a record" => |s| { let at = s.find(Role::Log, |r| r.kind() == Some(RecordType::Boundary)); s.add(Role::Log, at + 8, 4); };
    L9 Error Log BUSY "a boundary past the end of the log" => |s| s.append(0x8_0000 | EXTERNAL, &words(&[4000]));
    L10 Error Log BUSY "type 0x8" => |s| s.append(0x8, &words(&[0]));
    L10 Error Log BUSY "an expunge without its protection" => |s| s.append(0x1 | EXTERNAL, &words(&[1, 1]));
    L11 Error Log BUSY "a range that descends" => |s| s.append(0x4, &words(&[2, 1, 8]));
    L11 Error Log BUSY "UID 0" => |s| s.append(0x4, &words(&[0, 1, 8]));
    L11 Error Log BUSY "half an element" => |s| s.append(0x4, &words(&[1, 1]));
    L11 Warning Log BUSY "a UID that does not exist yet" => |s| s.append(0x4, &words(&[1, 4_000_000, 8]));
    L12 Error Log BUSY "an extension number that does not exist" => |s| { let mut p = words(&[900, 0, 0]); p.extend([0; 8]); s.append(0x40 | EXTERNAL, &p); };
    L12 Warning Log BUSY "an extension of another shape" => |s| s.append(0x40 | EXTERNAL, &intro("hdr-pop3-uidl", 5, 0, 0));
    L13 Error Log BUSY "a UID beyond next_uid in extension data" => |s| s.transaction(&[(0x40 | EXTERNAL, &intro("new", 0, 4, 4)), (0x200 | EXTERNAL, &words(&[4_000_000, 1]))]);
    L13 Error Log BUSY "extension data of another size" => |s| s.transaction(&[(0x40 | EXTERNAL, &intro("new", 0, 4, 4)), (0x200 | EXTERNAL, &words(&[1, 1, 1]))]);
    L14 Error Log BUSY "UID 1 appended again" => |s| s.append(0x2 | EXTERNAL, &words(&[1, 0]));
    L15 Error Log BUSY "a header update of bytes 200 to 204" => |s| s.append(0x20 | EXTERNAL, &words(&[200 | 4 << 16, 7]));
    L15 Warning Log BUSY "a header update of messages_count" => |s| s.append(0x20 | EXTERNAL, &words(&[32 | 4 << 16, 7]));
    L16 Error Log BUSY "a tail past its own record" => |s| s.append(0x20 | EXTERNAL, &words(&[64 | 4 << 16, 1 << 20]));
    L17 Error Log NOMODSEQ "modseqs enabled without their header" => |s| { s.append(0x40, &intro("modseq", 16, 8, 8)); s.append(0x4, &words(&[1, 1, 8])); };
    L18 Warning Log CHAIN "initial_modseq 1" => |s| s.get(Role::Log)[24..32].copy_from_slice(&1_u64.to_le_bytes());
    L19 Error Log BUSY "index-deleted" => |s| s.append(0x2_0000 | EXTERNAL, &words(&[0]));
    L20 Info Log BUSY "created in 2106" => |s| s.put(Role::Log, 20, 0xffff_fff0);
    L21 Error Log BUSY "an empty log from nothing" => |s| {
        s.files.remove(&Role::OldLog);
        s.get(Role::Log).truncate(40);
        s.put(Role::Log, 12, 0);
        s.put(Role::Log, 16, 0);
        for (at, value) in [(64, 40), (68, 40), (76, u32::MAX)] {
            s.put(Role::Index, at, value);
        }
    };
    L22 Info Log BUSY "larger than a log may be" => |s| for _ in 0..100_000 { s.append(0x4, &words(&[1, 1, 8])); };

    I1 Error Index BUSY "major_version 9" => |s| s.get(Role::Index)[0] = 9;
    I1 Error Index BUSY "the corrupted flag" => |s| s.get(Role::Index)[20] |= 1;
    I1 Error Index BUSY "compat_flags 0" => |s| s.get(Role::Index)[12] = 0;
    I1 Error Index BUSY "record_size 4" => |s| s.put(Role::Index, 8, 4);
    I1 Error Index BUSY "cut inside the extension headers" => |s| s.get(Role::Index).truncate(150);
    I1 Error Index BUSY "empty" => |s| s.get(Role::Index).clear();
    I2 Error Index BUSY "eight bytes after the last extension header" => |s| {
        let (at, _) = s.records();
        s.get(Role::Index).splice(at..at, [0; 8]);
        s.add(Role::Index, 4, 8);
    };
    I3 Error Index BUSY "one message more than there is" => |s| s.add(Role::Index, 32, 1);
    I3 Info Index BUSY "bytes after the last record" => |s| s.get(Role::Index).extend([7; 5]);
    I4 Error Index BUSY "two messages change places" => |s| {
        let (at, size) = s.records();
        s.get(Role::Index)[at..at + 2 * size].rotate_left(size);
    };
    I4 Error Index BUSY "a message without UID" => |s| { let (at, _) = s.records(); s.put(Role::Index, at, 0); };
    I4 Error Index BUSY "next_uid 1" => |s| s.put(Role::Index, 28, 1);
    I5 Error Index BUSY "one more seen" => |s| s.add(Role::Index, 40, 1);
    I6 Error Index BUSY "low-water mark above next_uid" => |s| s.put(Role::Index, 52, 4_000_000);
    I7 Error Index BUSY "first_recent_uid 0" => |s| s.put(Role::Index, 48, 0);
    I8 Error Index BUSY "uid_validity 0" => |s| s.put(Role::Index, 24, 0);
    I9 Warning Index BUSY "flag 0x20" => |s| { let (at, _) = s.records(); s.get(Role::Index)[at + 4] |= 0x20; };
    I10 Error Index BUSY "head past the end of the log" => |s| s.put(Role::Index, 68, 100_000);
    I10 Error Index BUSY "head inside a record" => |s| { let at = s.find(Role::Log, |r| r.size > 12) as u32; s.put(Role::Index, 68, at + 4); s.put(Role::Index, 64, 0); };
    I10 Error Index BUSY "a log that is gone" => |s| s.put(Role::Index, 60, 1);
    I10 Error Index BUSY "no index, and the logs do not reach the beginning" => |s| { s.files.remove(&Role::Index); };
    I11 Error Index BUSY "tail beyond head" => |s| s.put(Role::Index, 64, 100_000);
    I12 Error Index CHAIN "a message is flagged that was not" => |s| { let (at, _) = s.records(); s.get(Role::Index)[at + 4] ^= 0x02; };
    I13 Error Index BUSY "a name with a dot" => |s| { let (at, ..) = s.extension("maildir"); s.get(Role::Index)[at + 16] = b'.'; };
    I14 Error Index BUSY "data outside the record" => |s| { let (at, ..) = s.extension("modseq"); s.get(Role::Index)[at + 8] = 200; };
    I15 Error Index BUSY "a thousand keywords" => |s| { let (_, at, _) = s.extension("keywords"); s.put(Role::Index, at, 1000); };
    I16 Warning Index CHAIN "a keyword bit beyond the last keyword" => |s| {
        let (ext, data, record) = s.extension("keywords");
        let size = u16::from_le_bytes([s.get(Role::Index)[ext + 10], s.get(Role::Index)[ext + 11]]);
        assert!(s.number(Role::Index, data) < u32::from(size) * 8, "no spare bit");
        s.get(Role::Index)[record + usize::from(size) - 1] |= 0x80;
    };
    I17 Warning Index BUSY "highest_modseq one too high" => |s| { let (_, at, _) = s.extension("modseq"); s.add(Role::Index, at, 1); };
    I18 Error Cache BUSY "file_seq of another cache" => |s| s.add(Role::Cache, 8, 1);
    I18 Info Cache BUSY "no cache" => |s| { s.files.remove(&Role::Cache); };
    I19 Warning Index SDBOX "vsize one too high" => |s| { let (_, at, _) = s.extension("hdr-vsize"); s.add(Role::Index, at, 1); };
    I20 Info Index BUSY "yesterday began after today" => |s| s.put(Role::Index, 92, 4_000_000);
    I21 Info OldLog BUSY ".log.2 is gone" => |s| { s.files.remove(&Role::OldLog); };
    I22 Info Index BUSY "the FSCKD flag" => |s| s.get(Role::Index)[20] |= 4;

    C1 Error Cache BUSY "sizes of 4 bytes" => |s| s.get(Role::Cache)[1] = 4;
    C1 Warning Cache BUSY "indexid of another mailbox" => |s| s.add(Role::Cache, 4, 1);
    C2 Error Cache BUSY "field headers past the end" => |s| s.get(Role::Cache)[28] = 0xff;
    C3 Error Cache BUSY "a record of no bytes" => |s| { let (.., at) = s.extension("cache"); let at = s.number(Role::Index, at) as usize; s.put(Role::Cache, at + 4, 0); };
    C4 Info Cache BUSY "four billion records" => |s| s.put(Role::Cache, 16, u32::MAX);
    C5 Info Cache BUSY "minor_version 2" => |s| s.get(Role::Cache)[2] = 2;
    C7 Error Cache BUSY "decision 7" => |s| { let at = Cache::parse(s.get(Role::Cache), None).expect("a cache").fields[0].decision_at as usize; s.get(Role::Cache)[at] = 7; };
    C8 Error Cache BUSY "date.sent of 4 bytes" => |s| {
        let cache = Cache::parse(s.get(Role::Cache), None).expect("a cache");
        let at = cache.fields.iter().find(|f| f.name == b"date.sent").expect("the field").size_at as usize;
        s.put(Role::Cache, at, 4);
    };

    D6 Error Index SDBOX "no mailbox GUID" => |s| { let (_, at, _) = s.extension("dbox-hdr"); s.get(Role::Index)[at + 4..at + 20].fill(0); };
    D7 Error Index MDBOX "no mailbox GUID" => |s| { let (_, at, _) = s.extension("mdbox-hdr"); s.get(Role::Index)[at + 4..at + 20].fill(0); };
    D8 Error Index MAP "a mail in file 0" => |s| s.transaction(&[(0x40 | EXTERNAL, &intro("map", 8, 12, 4)), (0x200 | EXTERNAL, &words(&[1, 0, 0, 100]))]);
    D9 Warning Index LIST "a parent that does not exist" => |s| { let (.., at) = s.extension("list"); s.put(Role::Index, at + 4, 4_000_000); };
    D11 Info Backup SDBOX "a backup of another mailbox" => |s| s.add(Role::Backup, 24, 1);

    // What Dovecot reads without a word, but never writes (mail-index-transaction-export.c and its kin).
    L2 Info Log BUSY "compat_flags in a log of version 1.1" => |s| s.get(Role::Log)[1] = 1;
    L2 Info Log FRESH "a header of 44 bytes" => |s| { s.files.remove(&Role::Cache); let log = s.get(Role::Log); log[2] = 44; log.truncate(44); };
    L9 Info Log BUSY "a boundary around one record" => |s| s.transaction(&[(0x4, &words(&[1, 1, 8]))]);
    L9 Info Log BUSY "a boundary of eight bytes" => |s| s.append(0x8_0000 | EXTERNAL, &words(&[24, 0, 0, 0]));
    L9 Info Log BUSY "an append after an expunge" => |s| {
        let uid = s.number(Role::Index, 28) + 1000;
        s.transaction(&[(0xed90 | EXTERNAL, &words(&[1, 0, 0, 0, 0])), (0x2 | EXTERNAL, &words(&[uid, 0]))]);
    };
    L10 Info Log BUSY "half a request" => |s| s.transaction(&[(0x4, &words(&[1, 1, 8])), (0x20 | EXTERNAL, &words(&[80 | 4 << 16, 1_700_000_000]))]);
    L10 Info Log BUSY "half of dsync" => |s| s.transaction(&[(0x4 | 0x2000_0000, &words(&[1, 1, 8])), (0x400, &keyword("$Forwarded", 1, 1))]);
    L11 Info Log BUSY "a flag added and removed" => |s| s.append(0x4, &words(&[1, 1, 0x0808]));
    L11 Info Log BUSY "no flag at all" => |s| s.append(0x4, &words(&[1, 1, 0]));
    L11 Info Log CHAIN "a UID that was left out" => |s| {
        let uid = s.number(Role::Index, 28) + 1000;
        s.append(0x2 | EXTERNAL, &words(&[uid, 0]));
        s.append(0x4, &words(&[uid - 1, uid, 8]));
    };
    L11 Info Log BUSY "expunges that descend" => |s| s.append(0xed90, &words(&[2, 0, 0, 0, 0, 1, 0, 0, 0, 0]));
    L11 Info Log BUSY "a keyword with a space" => |s| s.append(0x400, &keyword("two words", 1, 1));
    L11 Info Log BUSY "a keyword that nobody has named" => |s| s.append(0x400, &keyword("$Forwa2ded", 1, 1));
    L12 Info Log BUSY "an introduction in another transaction" => |s| {
        s.append(0x40 | EXTERNAL, &intro("new", 0, 4, 4));
        s.append(0x200 | EXTERNAL, &words(&[1, 1]));
    };
    L12 Info Log BUSY "an extension that nobody has named" => |s| s.append(0x40 | EXTERNAL, &intro("vsizg", 0, 4, 4));
    L12 Info Log BUSY "a new extension that was reset" => |s| { let mut p = intro("new", 0, 4, 4); p[4] = 7; s.append(0x40 | EXTERNAL, &p); };
    L12 Info Log BUSY "bytes of no length in an extension header" => |s| s.transaction(&[(0x40 | EXTERNAL, &intro("new", 8, 0, 0)), (0x100 | EXTERNAL, &words(&[0]))]);
    L12 Info Log BUSY "bytes after an extension header" => |s| s.transaction(&[(0x40 | EXTERNAL, &intro("new", 8, 0, 0)), (0x100 | EXTERNAL, &words(&[2 << 16, 1 | 1 << 24]))]);
    L15 Info Log BUSY "a header update that descends" => |s| s.append(0x20 | EXTERNAL, &words(&[80 | 4 << 16, 1_700_000_000, 76 | 4 << 16, 1_700_000_000]));
    L15 Info Log BUSY "day_stamp without days" => |s| s.append(0x20 | EXTERNAL, &words(&[84 | 4 << 16, 1_699_920_000]));
    L15 Info Log BUSY "a scan of 1970" => |s| s.append(0x20 | EXTERNAL, &words(&[80 | 4 << 16, 1000]));
    L15 Info Log CHAIN "next_uid 1" => |s| s.append(0x20 | EXTERNAL, &words(&[28 | 4 << 16, 1]));
    L16 Info Log BUSY "a tail inside a transaction" => |s| {
        let tail = s.get(Role::Log).len() as u32 + 48;
        s.transaction(&[(0x4 | EXTERNAL, &words(&[1, 1, 8])), (0x20 | EXTERNAL, &words(&[64 | 4 << 16, tail]))]);
    };
    L16 Info Log BUSY "a tail as a request" => |s| { let tail = s.get(Role::Log).len() as u32; s.append(0x20, &words(&[64 | 4 << 16, tail])); };
    L20 Info Log BUSY "a log older than the index" => |s| s.put(Role::Log, 20, 1_000_000_000);
    I13 Info Index BUSY "an extension that nobody has named" => |s| { let (at, ..) = s.extension("hdr-vsize"); s.get(Role::Index)[at + 16] = b'i'; };
    I20 Info Index BUSY "a day that begins at a minute past midnight" => |s| s.add(Role::Index, 84, 60);
    I20 Info Index BUSY "a scan of 1970" => |s| s.put(Role::Index, 80, 1000);
    C2 Info Cache BUSY "a field that nobody has named" => |s| {
        let cache = Cache::parse(s.get(Role::Cache), None).expect("a cache");
        let at = cache.fields.iter().find(|f| f.name.eq_ignore_ascii_case(b"hdr.date")).expect("the field").name_range.start as usize;
        s.get(Role::Cache)[at + 5] ^= 1;
    };
    C3 Info Cache SDBOX "a recipient under another name" => |s| { let at = header(s); s.get(Role::Cache)[at] ^= 1; };
    C3 Error Cache BUSY "a record that runs into the next" => |s| {
        // The new size is filled by one more field: the next record, as far as it goes.
        let (cache, records) = (s.get(Role::Cache).clone(), records(s));
        let fits = |at: usize, size: u32| {
            let mut copy = cache.clone();
            copy[at + 4..at + 8].copy_from_slice(&size.to_le_bytes());
            let cache = Cache::parse(&copy, None).expect("a cache");
            let record = cache.record_at(at as u32).ok()?;
            cache.fields(&record).all(|field| field.is_ok()).then_some((at, size))
        };
        let (at, size) = records.iter().find_map(|(at, size)| (1..64).find_map(|n| fits(*at, size + n * 4))).expect("one");
        s.put(Role::Cache, at + 4, size);
    };
    C4 Info Cache BUSY "a size inside a record" => |s| s.put(Role::Cache, 20, 36);
    C7 Info Cache BUSY "a field used in 1970" => |s| { let at = Cache::parse(s.get(Role::Cache), None).expect("a cache").fields[0].last_used_at as usize; s.put(Role::Cache, at, 1000); };
    D11 Info Backup SDBOX "a backup with one more seen" => |s| s.add(Role::Backup, 40, 1);
}

#[test]
fn the_bases_are_sound() {
    for base in ALL_BASES {
        assert_eq!(Set::load(base).check(&options()), [], "{base}");
    }
}

#[test]
fn one_flaw_one_code() {
    let mut wrong = Vec::new();
    for case in CASES {
        let mut set = Set::load(case.base);
        (case.flaw)(&mut set);
        let found = set.check(&options());
        let file = MailboxFiles::at(set.index.clone()).path(case.role);
        let right = |f: &Finding| f.code == case.code && f.severity == case.severity && f.file == file;
        if found.is_empty() || !found.iter().all(right) {
            wrong.push(format!("{} {}: {found:#?}", case.code, case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A command that is printed as the fix of a finding silences it, and loses nothing: it exits with 0.
#[test]
fn the_fix_of_each_finding_silences_it() {
    let mut wrong = Vec::new();
    for case in CASES {
        let mut set = Set::load(case.base);
        (case.flaw)(&mut set);
        let dir = tempfile::tempdir().expect("a directory");
        let files = MailboxFiles::at(dir.path().join(set.index.file_name().expect("a name")));
        for (role, bytes) in &set.files {
            fs::write(files.path(*role), bytes).expect("written");
            age(&files.path(*role), 3600);
        }
        let options = Options { now: inspect::options().now + 3600, ..inspect::options() };
        let mut before = inspect::mailbox(&files, &options).expect("readable");
        idx::ops::remedy::try_all(&mut before, &files, None, MmapPolicy::Auto);
        let is_told = |f: &Finding| f.fix(&files.index).or_else(|| f.advice(&files.index)).is_some();
        assert!(before.iter().all(is_told), "{} {}: no remedy", case.code, case.what);
        let mut fixes: Vec<(Code, String)> =
            before.iter().filter_map(|f| Some((f.code, f.fix(&files.index)?))).collect();
        fixes.dedup();
        for (code, fix) in fixes {
            assert!(fix.starts_with("idx rebuild ") || fix.starts_with("rm -- "), "{code}: {fix}");
            let command = fix.replacen("idx ", concat!(env!("CARGO_BIN_EXE_idx"), " "), 1);
            let output = std::process::Command::new("sh").arg("-c").arg(&command).output().expect("a shell");
            let after = inspect::mailbox(&files, &options).expect("readable");
            let left = after.iter().find(|f| f.code == code && f.severity > Severity::Info);
            if !output.status.success() || left.is_some() {
                let said = String::from_utf8_lossy(&output.stdout).lines().take(2).collect::<Vec<_>>().join(" | ");
                wrong.push(format!("{code} {}: {} {left:?} {said}", case.what, output.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules that need the mail storage, a real clock, or a large file are tried elsewhere.
#[test]
fn every_rule_has_its_case() {
    const ELSEWHERE: [&str; 21] = [
        "L23", "I23", "C6", "T1", "T2", "T3", "D1", "D2", "D3", "D4", "D5", "D10", "D12", "D13", "D14", "D15", "D16",
        "D17", "D18", "D19", "N1",
    ];
    let without: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.code)
        .filter(|code| !CASES.iter().any(|case| case.code == *code) && !ELSEWHERE.contains(&code.name()))
        .map(Code::name)
        .collect();
    assert!(without.is_empty(), "no case for {without:?}");
}

#[test]
fn thresholds_are_the_administrators() {
    let set = Set::load(BUSY);
    let codes = |options: &Options| set.check(options).iter().map(|f| f.code).collect::<Vec<_>>();
    let tight =
        |max_log_size, max_cache_size, min_window| Options { max_log_size, max_cache_size, min_window, ..options() };
    assert_eq!(codes(&tight(Some(100), None, None)), [Code::T1]);
    assert_eq!(codes(&tight(None, Some(100), None)), [Code::T2]);
    assert_eq!(codes(&tight(None, None, Some(u64::MAX))), [Code::T3]);
    assert_eq!(codes(&tight(Some(1 << 30), Some(1 << 30), Some(0))), []);
    // A log that the newest does not continue is of no use to a client that comes back.
    let mut gap = set.clone();
    let (old, new) = (gap.number(Role::OldLog, 20), gap.number(Role::Log, 20));
    assert!(old < new, "{old} {new}");
    let since_new = tight(None, None, Some(u64::try_from(options().now - i64::from(new) + 1).expect("later")));
    assert_eq!(codes(&since_new), []);
    gap.add(Role::OldLog, 8, u32::MAX);
    gap.add(Role::OldLog, 12, u32::MAX);
    assert!(gap.check(&since_new).iter().any(|one| one.code == Code::T3));
    // A log from the beginning covers everything.
    assert_eq!(Set::load(FRESH).check(&tight(None, None, Some(u64::MAX))), []);
}

/// A mailbox on disk whose files nobody has touched for an hour.
fn on_disk(base: &str) -> (tempfile::TempDir, MailboxFiles) {
    let dir = tempfile::tempdir().expect("a directory");
    let set = Set::load(base);
    let files = MailboxFiles::at(dir.path().join("dovecot.index"));
    for (role, bytes) in &set.files {
        fs::write(files.path(*role), bytes).expect("written");
        age(&files.path(*role), 3600);
    }
    (dir, files)
}

fn age(path: &Path, seconds: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("a file");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("times set");
}

#[test]
fn lock_files_grow_old() {
    let (dir, files) = on_disk(BUSY);
    let lock = dir.path().join("dovecot.index.log.newlock");
    fs::write(&lock, "").expect("written");
    age(&lock, 0);
    assert_eq!(inspect::mailbox(&files, &inspect::options()).expect("readable"), [], "a rotation under way");
    age(&lock, 1000);
    let found = inspect::mailbox(&files, &inspect::options()).expect("readable");
    assert_eq!(found.iter().map(|f| (f.code, f.file.as_path())).collect::<Vec<_>>(), [(Code::L23, lock.as_path())]);
}

#[test]
fn a_cache_of_a_gigabyte() {
    let (_dir, files) = on_disk(BUSY);
    let cache = fs::OpenOptions::new().write(true).open(files.path(Role::Cache)).expect("a file");
    cache.set_len((1 << 30) + 4).expect("a hole");
    age(&files.path(Role::Cache), 3600);
    let found = inspect::mailbox(&files, &Options { mmap: MmapPolicy::Auto, ..inspect::options() }).expect("readable");
    assert_eq!(found.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::C6]);
}

/// A torn end is damage only when nobody will finish it.
#[test]
fn a_torn_end_is_no_damage_while_it_is_young() {
    let (_dir, files) = on_disk(BUSY);
    let path = files.path(Role::Log);
    let mut bytes = fs::read(&path).expect("readable");
    bytes.extend([0; 12]);
    fs::write(&path, &bytes).expect("written");
    age(&path, 0);
    assert_eq!(inspect::mailbox(&files, &inspect::options()).expect("readable"), []);
    age(&path, 60);
    let found = inspect::mailbox(&files, &inspect::options()).expect("readable");
    assert_eq!(found.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::L8]);
}

/// Between the two steps of a rotation both names lead to one file.
#[test]
fn a_rotation_half_done_is_no_damage() {
    let (_dir, files) = on_disk(BUSY);
    fs::remove_file(files.path(Role::OldLog)).expect("removed");
    fs::hard_link(files.path(Role::Log), files.path(Role::OldLog)).expect("linked");
    assert_eq!(inspect::mailbox(&files, &inspect::options()).expect("readable"), []);
}

/// Every mailbox, list, map and private index below a directory.
fn indexes_below(dir: &Path) -> Vec<MailboxFiles> {
    let mut list = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for family in Family::ALL {
        let files = MailboxFiles::at(dir.join(family.prefix()));
        if !files.present().is_empty() {
            list.push(files);
        }
    }
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list.append(&mut indexes_below(&entry.path()));
        }
    }
    list
}

#[test]
fn fixtures_are_sound() {
    let list = indexes_below(&support::fixtures());
    assert!(list.len() > 100, "{} indexes", list.len());
    for files in list {
        assert_eq!(inspect::mailbox(&files, &inspect::options()).expect("readable"), [], "{}", files.index.display());
    }
}

fn corpus() -> PathBuf {
    std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS names the directory of the corpus").into()
}

/// What nine versions of Dovecot in both byte orders wrote raises no warning. Worth knowing is only that files are of the
/// other byte order, and that a `doveadm force-resync` has been there.
#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn healthy_mailboxes_of_the_corpus_are_sound() {
    let mut checked = 0;
    for entry in fs::read_dir(corpus()).expect("a directory") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() || path.ends_with("broken") {
            continue;
        }
        for files in indexes_below(&path) {
            checked += 1;
            for finding in inspect::mailbox(&files, &inspect::options()).expect("readable") {
                let known = match finding.code {
                    Code::I1 | Code::L3 => finding.file.to_string_lossy().contains("s390x"),
                    Code::I22 => finding.file.to_string_lossy().contains("admin"),
                    _ => false,
                };
                assert!(known && finding.severity == Severity::Info, "{finding:#?}");
            }
        }
    }
    assert!(checked > 150, "{checked} indexes");
}

/// The codes and files that a case of `broken/` must lead to, by what was done to it (`broken/README.md`); an empty list for
/// what Dovecot itself finds nothing wrong with.
fn expected(case: &str) -> Option<&'static [(Code, &'static str)]> {
    use Code::*;
    const INDEX: &str = "dovecot.index";
    const LOG: &str = "dovecot.index.log";
    const OLD: &str = "dovecot.index.log.2";
    const CACHE: &str = "dovecot.index.cache";
    Some(match case {
        "control-untouched" => &[],
        // SIGKILL leaves files as sound as they were: a record is one write.
        case if case.starts_with("kill9-writer") => &[],
        // Nothing is left that could be wrong.
        "index-all-deleted" => &[],
        "backup-only" | "log-deleted-both" | "log-deleted-log2-present" | "log-empty" | "log-trunc-hdr" => &[(L1, LOG)],
        "bigendian-host" => &[(L3, LOG)],
        "cache-deleted" => &[(I18, CACHE)],
        "cache-garbage-middle" | "cache-truncated" | "cache-zero-page" => &[(C3, CACHE)],
        "cache-wrong-fileseq" => &[(I18, CACHE)],
        "cache-wrong-indexid" => &[(C1, CACHE)],
        "index-deleted" | "index-and-backup-deleted" | "index-stale-lost" | "log2-missing-needed" => &[(I10, INDEX)],
        "index-stale-replayable" | "index-logoffset-beyond" | "log-stale-copy" => &[(I10, INDEX)],
        "index-bigendian-flag"
        | "index-empty"
        | "index-major-version"
        | "index-trunc-exthdr"
        | "index-trunc-header"
        | "index-zero-all"
        | "index-zero-start" => &[(I1, INDEX)],
        "index-counters-wrong" | "index-seen-gt-messages" => &[(I5, INDEX)],
        "index-dup-ext" => &[(I13, INDEX)],
        "index-dup-uid"
        | "index-records-unordered"
        | "index-nextuid-low"
        | "index-uid-beyond-next"
        | "index-zero-records" => &[(I4, INDEX)],
        "index-ext-offset-bad" => &[(I14, INDEX)],
        "index-is-bigger" | "index-msgcount-big" | "index-trunc-records" => &[(I3, INDEX)],
        "index-keywords-count" | "index-keywords-dup" | "index-keywords-nameoff" => &[(I15, INDEX)],
        "index-lowwater-wrong" => &[(I6, INDEX)],
        "index-wrong-indexid" => &[(L5, INDEX)],
        "leftovers" => &[
            (L23, "dovecot.index.cache.lock"),
            (L23, "dovecot.index.lock"),
            (L23, "dovecot.index.log.lock"),
            (L23, "dovecot.index.log.newlock"),
            (L23, "dovecot.index.tmp"),
        ],
        "log-flip-data-tail" => &[(L11, LOG)],
        "log-flip-size-noindex" => &[(I10, INDEX), (L8, LOG)],
        "log-flip-size"
        | "log-flip-size-tail"
        | "log-garbage-tail"
        | "log-size0-tail"
        | "log-trunc-midrecord"
        | "log-trunc-tail"
        | "log-zero-middle"
        | "log-zero-tail"
        | "log-zero-tailrec" => &[(L8, LOG)],
        "log-flip-type-nohead" => &[(I10, INDEX), (L10, LOG)],
        "log-flip-type" | "log-flip-type-tail" => &[(L10, LOG)],
        "log-indexid-other" => &[(L5, LOG)],
        "log-indexid-zero" => &[(L4, LOG)],
        "log2-copy-of-log" | "logs-swapped" => &[(L6, OLD)],
        "log2-corrupt-unneeded" => &[(L8, OLD)],
        "log2-deleted" => &[(I21, OLD)],
        // In the corpus the hard link has become a copy.
        "rotation-interrupted" => &[(L6, OLD), (L23, "dovecot.index.log.newlock")],
        _ => return None,
    })
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn broken_mailboxes_of_the_corpus_are_found() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(corpus().join("broken")).expect("a directory") {
        let dir = entry.expect("an entry").path();
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let case = ["-maildir-", "-sdbox-"].iter().find_map(|format| name.split_once(format));
        let Some((_, case)) = case.filter(|_| dir.join("files").is_dir()) else { continue };
        cases += 1;
        let Some(want) = expected(case) else {
            wrong.push(format!("{name}: no expectation"));
            continue;
        };
        let mut found = Vec::new();
        for files in indexes_below(&dir.join("files")).iter().filter(|files| files.index.ends_with("dovecot.index")) {
            for finding in inspect::mailbox(files, &inspect::options()).expect("readable") {
                let file = finding.file.file_name().expect("a name").to_string_lossy().into_owned();
                found.push((finding.code, file));
            }
        }
        found.sort();
        found.dedup();
        let mut want: Vec<_> = want.iter().map(|(code, file)| (*code, (*file).to_owned())).collect();
        want.sort();
        if found != want {
            wrong.push(format!("{name}: found {found:?}, want {want:?}"));
        }
    }
    assert!(cases > 80, "{cases} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A sector is lost, or written twice: what is found there says so, with its bytes.
#[test]
fn sectors_are_named() {
    for role in [Role::Index, Role::Log, Role::Cache] {
        let words = |change: fn(&mut [u8])| {
            let mut set = Set::load(BUSY);
            change(set.get(role));
            let found = set.check(&options());
            found.into_iter().map(|one| one.message).collect::<Vec<_>>().join("\n")
        };
        let zeroed = words(|bytes| bytes[512..1024].fill(0));
        assert!(zeroed.contains("bytes 512..1024 are zero, as sectors of 512 bytes"), "{role:?}: {zeroed}");
        let twice = words(|bytes| bytes.copy_within(..512, 512));
        assert!(twice.contains("bytes 512..1024 are the same as 0..512: sectors"), "{role:?}: {twice}");
    }
}
