//! `check --deep`: indexes against the mail storage. Healthy mailboxes give no finding; each rule is broken in a copy of one.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use idx::check::{Code, Finding, Options, Severity};
use idx::ops::deep::check;
use idx::ops::inspect;
use idx::source::{MailboxFiles, Unit, walk};
use idx::storage::Depth;
use serde_json::Value;

use support::dovecot::copy_tree;
use support::fixtures;

/// Every finding below `root`, and the number of indexes looked at.
fn all(root: &Path) -> (Vec<Finding>, usize) {
    let (mut found, mut count) = (Vec::new(), 0);
    let judge = |unit: &Unit| check(&unit.files, &inspect::options(), Depth::All).findings;
    walk(
        &[root.to_owned()],
        2,
        |dir| dir.units.iter().filter(|unit| !unit.is_cache_only()).map(judge).collect::<Vec<_>>(),
        |lists| {
            for list in lists.expect("readable") {
                count += 1;
                found.extend(list);
            }
            ControlFlow::Continue(())
        },
    );
    (found, count)
}

/// Scenarios with their notes below a directory; `depth` levels down.
fn scenarios(root: &Path, depth: usize, list: &mut Vec<(PathBuf, bool)>) {
    let meta = root.join("meta.json");
    if let Ok(text) = fs::read(&meta) {
        let meta: Value = serde_json::from_slice(&text).expect("meta.json");
        let notes = meta["notes"].to_string();
        list.push((root.join("files"), !notes.contains("message files")));
    } else if depth > 0
        && let Ok(entries) = fs::read_dir(root)
    {
        let mut below: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
        below.sort();
        below.iter().filter(|path| path.is_dir()).for_each(|path| scenarios(path, depth - 1, list));
    }
}

fn healthy(root: &Path, depth: usize) -> usize {
    let mut list = Vec::new();
    scenarios(root, depth, &mut list);
    let (mut wrong, mut with_messages) = (Vec::new(), 0);
    for (files, has_messages) in list {
        let (found, count) = all(&files);
        assert!(count > 0, "{}", files.display());
        with_messages += usize::from(has_messages);
        // Without its messages a mailbox is not healthy, whatever its indexes are.
        let ours = |finding: &Finding| has_messages || !matches!(finding.code, Code::D2 | Code::D6 | Code::D8);
        wrong.extend(found.into_iter().filter(ours));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    with_messages
}

#[test]
fn healthy_fixtures_have_no_findings() {
    assert!(healthy(&fixtures(), 1) >= 10);
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn the_healthy_corpus_has_no_findings() {
    let corpus = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    let mut compared = 0;
    for entry in fs::read_dir(corpus).expect("corpus") {
        let dir = entry.expect("entry").path();
        if dir.is_dir() && !dir.ends_with("broken") && !dir.ends_with("worked") {
            compared += healthy(&dir, 3);
        }
    }
    assert!(compared >= 20, "{compared} scenarios");
}

/// A copy of a fixture's home directory.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    copy_tree(&fixtures().join(name).join("files"), dir.path()).expect("copy");
    dir
}

fn judge(files: PathBuf) -> Vec<Finding> {
    // The copy is seconds old; by this clock nobody is at work on it any more.
    let options = Options { now: inspect::options().now + 1000, ..inspect::options() };
    check(&MailboxFiles::at(files), &options, Depth::All).findings
}

fn codes(found: &[Finding]) -> Vec<(Code, Severity, Option<u32>)> {
    found.iter().map(|finding| (finding.code, finding.severity, finding.uid)).collect()
}

/// The file in `dir` whose name starts with `prefix` once its flags are left out; sorted first.
fn message(dir: &Path, n: usize) -> PathBuf {
    let mut names: Vec<PathBuf> =
        fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry").path()).collect();
    names.sort();
    names.swap_remove(n)
}

const FRESH: [&str; 2] = ["2.3.19.1-maildir-fresh", "2.4.1-maildir-fresh"];

#[test]
fn d1_another_uidvalidity() {
    for fixture in FRESH {
        let home = copy(fixture);
        let path = home.path().join("Maildir/dovecot-uidlist");
        let text = fs::read_to_string(&path).expect("uidlist");
        fs::write(&path, text.replacen("3 V1", "3 V2", 1)).expect("write");
        assert_eq!(codes(&judge(home.path().join("Maildir/dovecot.index"))), [(Code::D1, Severity::Error, None)]);
    }
}

#[test]
fn d2_messages_and_uids() {
    for fixture in FRESH {
        let home = copy(fixture);
        let maildir = home.path().join("Maildir");
        let index = maildir.join("dovecot.index");
        assert_eq!(judge(index.clone()), []);
        // UID 3's file is gone.
        let uidlist = fs::read_to_string(maildir.join("dovecot-uidlist")).expect("uidlist");
        let base = uidlist.lines().find_map(|line| line.strip_prefix("3 :")).expect("UID 3");
        let mut all = fs::read_dir(maildir.join("cur")).expect("cur").map(|entry| entry.expect("entry").path());
        let file = all.find(|path| path.to_string_lossy().contains(base)).expect("file");
        fs::rename(&file, home.path().join("aside")).expect("rename");
        assert_eq!(codes(&judge(index.clone())), [(Code::D2, Severity::Warning, Some(3))]);
        fs::rename(home.path().join("aside"), &file).expect("rename");
        // UID 3 is not in the uidlist.
        let without: String =
            uidlist.lines().filter(|line| !line.starts_with("3 :")).map(|line| format!("{line}\n")).collect();
        fs::write(maildir.join("dovecot-uidlist"), without).expect("write");
        assert_eq!(codes(&judge(index.clone())), [(Code::D2, Severity::Error, Some(3))]);
        // A line that is none.
        fs::write(maildir.join("dovecot-uidlist"), uidlist.replacen("\n2 :", "\nx :", 1)).expect("write");
        let found = judge(index.clone());
        assert_eq!(codes(&found), [(Code::D2, Severity::Error, None)]);
        let at = uidlist.find("\n2 :").expect("UID 2") as u64 + 1;
        assert_eq!(found[0].offset, Some(at));
    }
}

#[test]
fn d2_a_message_the_index_has_lost() {
    for fixture in ["2.3.19.1-maildir-onelog", "2.4.1-maildir-onelog"] {
        let home = copy(fixture);
        let maildir = home.path().join("Maildir");
        // A file under a UID that was expunged long ago.
        let path = maildir.join("dovecot-uidlist");
        let text = fs::read_to_string(&path).expect("uidlist");
        let uids: Vec<u32> = text.lines().skip(1).filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
        let gap = (1..*uids.last().expect("UIDs")).find(|uid| !uids.contains(uid)).expect("a gap");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = 1 + uids.iter().position(|uid| *uid > gap).expect("a later UID");
        lines.insert(at, format!("{gap} :1.back.again"));
        fs::write(&path, lines.join("\n") + "\n").expect("write");
        fs::write(maildir.join("cur/1.back.again:2,"), "Subject: x\n\n").expect("write");
        assert_eq!(codes(&judge(maildir.join("dovecot.index"))), [(Code::D2, Severity::Error, Some(gap))]);
    }
}

#[test]
fn d3_and_d5_flags_of_file_names() {
    for fixture in FRESH {
        let home = copy(fixture);
        let maildir = home.path().join("Maildir");
        let file = message(&maildir.join("cur"), 0);
        let name = file.to_str().expect("UTF-8").to_owned();
        assert!(name.ends_with(":2,"), "{name}");
        fs::rename(&file, format!("{name}T")).expect("rename");
        assert_eq!(codes(&judge(maildir.join("dovecot.index"))), [(Code::D3, Severity::Warning, Some(1))]);
        fs::rename(format!("{name}T"), format!("{name}z")).expect("rename");
        assert_eq!(codes(&judge(maildir.join("dovecot.index"))), [(Code::D5, Severity::Error, Some(1))]);
    }
}

#[test]
fn d6_sdbox_files() {
    for fixture in ["2.3.19.1-sdbox-fresh", "2.4.1-sdbox-fresh"] {
        let home = copy(fixture);
        let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
        let index = dir.join("dovecot.index");
        assert_eq!(judge(index.clone()), []);
        fs::rename(dir.join("u.3"), home.path().join("aside")).expect("rename");
        assert_eq!(codes(&judge(index.clone())), [(Code::D6, Severity::Error, Some(3))]);
        fs::rename(home.path().join("aside"), dir.join("u.3")).expect("rename");
        let gap = (1..20).find(|uid| !dir.join(format!("u.{uid}")).exists()).expect("a gap");
        fs::copy(dir.join("u.3"), dir.join(format!("u.{gap}"))).expect("copy");
        assert_eq!(codes(&judge(index)), [(Code::D6, Severity::Warning, Some(gap))]);
    }
}

#[test]
fn d7_mdbox_messages_without_a_mail() {
    for fixture in ["2.3.19.1-mdbox-fresh", "2.4.1-mdbox-fresh"] {
        let home = copy(fixture);
        let index = home.path().join("mdbox/mailboxes/INBOX/dbox-Mails/dovecot.index");
        assert_eq!(judge(index.clone()), []);
        // The map of another storage.
        let other = if fixture.starts_with("2.3") { "2.4.1-mdbox-fresh" } else { "2.3.19.1-mdbox-fresh" };
        let map = "mdbox/storage/dovecot.map.index.log";
        fs::copy(fixtures().join(other).join("files").join(map), home.path().join(map)).expect("copy");
        assert_eq!(codes(&judge(index)), [(Code::D7, Severity::Error, None)]);
    }
}

#[test]
fn d8_the_map_and_its_files() {
    for fixture in ["2.3.19.1-mdbox-fresh", "2.4.1-mdbox-fresh"] {
        let home = copy(fixture);
        let root = home.path().join("mdbox");
        let map = root.join("storage/dovecot.map.index");
        assert_eq!(judge(map.clone()), []);
        // A file cut short: its last mails are gone.
        let file = root.join("storage/m.1");
        let bytes = fs::read(&file).expect("m.1");
        fs::write(&file, &bytes[..bytes.len() - 10]).expect("write");
        let found = judge(map.clone());
        assert_eq!(found.iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>(), [(Code::D8, Severity::Error)]);
        assert_eq!(found[0].file, file);
        fs::write(&file, &bytes).expect("write");
        // Another file than the map says.
        fs::rename(&file, root.join("storage/m.7")).expect("rename");
        let found = judge(map.clone());
        assert!(
            !found.is_empty() && found.iter().all(|f| (f.code, f.severity) == (Code::D8, Severity::Error)),
            "{found:#?}"
        );
        fs::rename(root.join("storage/m.7"), &file).expect("rename");
        // A mailbox that the map knows nothing of: the same mails are referred to twice.
        copy_tree(&root.join("mailboxes/INBOX"), &root.join("mailboxes/Copy")).expect("copy");
        let found = judge(map.clone());
        assert!(
            !found.is_empty() && found.iter().all(|f| (f.code, f.severity) == (Code::D8, Severity::Error)),
            "{found:#?}"
        );
        fs::remove_dir_all(root.join("mailboxes/Copy")).expect("remove");
        // No mailbox left that refers to them.
        fs::remove_dir_all(root.join("mailboxes/INBOX")).expect("remove");
        let found = judge(map);
        assert!(
            !found.is_empty() && found.iter().all(|f| (f.code, f.severity) == (Code::D8, Severity::Warning)),
            "{found:#?}"
        );
    }
}

#[test]
fn d9_the_list_and_its_mailboxes() {
    for fixture in ["2.3.19.1-sdbox-list-index", "2.4.1-sdbox-list-index"] {
        let home = copy(fixture);
        let root = home.path().join("sdbox");
        let list = root.join("dovecot.list.index");
        assert_eq!(judge(list.clone()), []);
        let dirs = root.join("mailboxes");
        let (one, two) = (message(&dirs, 0), message(&dirs, 1));
        let aside = home.path().join("aside");
        fs::rename(&one, &aside).expect("rename");
        assert_eq!(
            judge(list.clone()).iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>(),
            [(Code::D9, Severity::Warning)]
        );
        // The directory of another mailbox: its UIDVALIDITY is not the listed one.
        copy_tree(&two, &one).expect("copy");
        let found = judge(list);
        assert_eq!(found.iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>(), [(Code::D9, Severity::Warning)]);
        assert!(found[0].message.contains("uid_validity"), "{found:?}");
    }
}

#[test]
fn d10_private_flags_of_messages_that_never_were() {
    for fixture in ["2.3.19.1-maildir-pvt", "2.4.1-maildir-pvt"] {
        let home = copy(fixture);
        let private = home.path().join("pvt/.INBOX/dovecot.index.pvt");
        assert_eq!(judge(private.clone()), []);
        // A younger shared mailbox in the place of the old one.
        let log = fixtures().join("2.3.19.1-maildir-list/files/Maildir/dovecot.index.log");
        for entry in fs::read_dir(home.path().join("Maildir")).expect("directory") {
            let path = entry.expect("entry").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot.index")) {
                fs::remove_file(path).expect("remove");
            }
        }
        fs::copy(log, home.path().join("Maildir/dovecot.index.log")).expect("copy");
        let found = judge(private);
        assert!(
            !found.is_empty() && found.iter().all(|f| (f.code, f.severity) == (Code::D10, Severity::Error)),
            "{found:#?}"
        );
    }
}

#[test]
#[ignore = "needs root: only root can give files away"]
fn d12_files_of_another_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let home = copy("2.4.1-maildir-onelog");
    let maildir = home.path().join("Maildir");
    assert_eq!(maildir.metadata().expect("metadata").uid(), 0, "this is run as root");
    let all = |dir: &Path| fs::read_dir(dir).expect("directory").map(|e| e.expect("entry").path()).collect::<Vec<_>>();
    for path in all(&maildir).into_iter().chain([maildir.clone()]) {
        chown(&path, Some(65534), Some(65534)).expect("chown");
    }
    // The owners are looked at without --deep, too.
    let owners = |index: &Path| inspect::mailbox(&MailboxFiles::at(index), &inspect::options()).expect("readable");
    let index = maildir.join("dovecot.index");
    assert_eq!(owners(&index), []);
    chown(&index, Some(0), Some(0)).expect("chown");
    fs::set_permissions(&index, fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(codes(&owners(&index)), [(Code::D12, Severity::Error, None)]);
    chown(&index, Some(1), Some(65534)).expect("chown");
    assert_eq!(codes(&owners(&index)), [(Code::D12, Severity::Warning, None)]);
    fs::set_permissions(&index, fs::Permissions::from_mode(0o660)).expect("chmod");
    assert_eq!(owners(&index), []);
}

/// The state of an index, to find the places that a test then changes.
fn state(index: &Path) -> idx::model::Mailbox {
    use idx::model::replay::Until;
    use idx::ops::load;
    use idx::source::{MmapPolicy, Role};
    let files = MailboxFiles::at(index.to_owned());
    let snapshot = files.read(&Role::ALL, MmapPolicy::Never).expect("readable");
    let chain = load::chain(&snapshot);
    load::state(&snapshot, &chain, Until::End).expect("state").replayed.mailbox
}

fn set_mtime(path: &Path, seconds: u32, nanoseconds: u32) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds.into(), nanoseconds);
    fs::File::options().append(true).open(path).expect("file").set_modified(time).expect("mtime");
}

#[test]
fn d4_another_uidlist_of_the_same_time() {
    use idx::format::Disk;
    use idx::format::ext::MaildirHeader;
    for fixture in FRESH {
        let home = copy(fixture);
        let maildir = home.path().join("Maildir");
        let mailbox = state(&maildir.join("dovecot.index"));
        let header = MaildirHeader::read(mailbox.extension(b"maildir").expect("maildir").header(), mailbox.endian);
        let uidlist = maildir.join("dovecot-uidlist");
        set_mtime(&uidlist, header.uidlist_mtime, header.uidlist_mtime_nsecs);
        assert_eq!(judge(maildir.join("dovecot.index")), []);
        let longer = fs::read_to_string(&uidlist).expect("uidlist") + "900 :900.not.there\n";
        fs::write(&uidlist, longer).expect("write");
        set_mtime(&uidlist, header.uidlist_mtime, header.uidlist_mtime_nsecs);
        assert_eq!(codes(&judge(maildir.join("dovecot.index"))), [(Code::D4, Severity::Info, None)]);
    }
}

#[test]
fn d9_counts_that_cannot_be_out_of_date() {
    use idx::format::log::LogFile;
    use idx::format::record::{RecordType, flag};
    for fixture in ["2.3.19.1-mdbox-list", "2.4.1-mdbox-list"] {
        let home = copy(fixture);
        let root = home.path().join("mdbox");
        let list = idx::model::MailboxList::load(&state(&root.join("dovecot.list.index"))).expect("list");
        let log = root.join("mailboxes/Archive/2023/dbox-Mails/dovecot.index.log");
        let node = list.nodes.iter().find(|node| list.levels(node).is_some_and(|l| l == [&b"Archive"[..], b"2023"]));
        let node = node.expect("Archive/2023");
        let (size, mtime) = node.index_sync.expect("index sync");
        let mut bytes = fs::read(&log).expect("log");
        assert_eq!(u64::from(size), bytes.len() as u64, "the list was refreshed last");
        set_mtime(&log, mtime, 0);
        assert_eq!(judge(root.join("dovecot.list.index")), []);
        // The one message there has been seen after all.
        let parsed = LogFile::parse(&bytes, bytes.len() as u64).expect("log");
        let append = parsed.records(&bytes).find(|record| record.kind() == Some(RecordType::Append)).expect("append");
        let at = usize::try_from(append.payload_at(4)).expect("offset");
        bytes[at] |= flag::SEEN;
        fs::write(&log, bytes).expect("write");
        set_mtime(&log, mtime, 0);
        let found = judge(root.join("dovecot.list.index"));
        assert_eq!(codes(&found), [(Code::D9, Severity::Warning, Some(node.uid))]);
    }
}

/// The same flaws are found when indexes are kept in a root of their own.
#[test]
fn indexes_in_another_root() {
    let home = copy("2.4.1-maildir-fresh");
    let (maildir, index) = (home.path().join("Maildir"), home.path().join("index/.INBOX"));
    fs::create_dir_all(&index).expect("directory");
    let home2 = copy("2.4.1-sdbox-fresh");
    let (sdbox, index2) =
        (home2.path().join("sdbox/mailboxes/INBOX/dbox-Mails"), home2.path().join("index/mailboxes/INBOX/dbox-Mails"));
    fs::create_dir_all(&index2).expect("directory");
    for (from, to) in [(&maildir, &index), (&sdbox, &index2)] {
        for entry in fs::read_dir(from).expect("directory") {
            let path = entry.expect("entry").path();
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            if name.starts_with("dovecot.index") {
                fs::rename(&path, to.join(name)).expect("rename");
            }
        }
        assert_eq!(judge(to.join("dovecot.index")), []);
    }
    fs::remove_file(message(&maildir.join("cur"), 0)).expect("remove");
    assert_eq!(codes(&judge(index.join("dovecot.index"))), [(Code::D2, Severity::Warning, Some(1))]);
    fs::remove_file(sdbox.join("u.2")).expect("remove");
    assert_eq!(codes(&judge(index2.join("dovecot.index"))), [(Code::D6, Severity::Error, Some(2))]);
}
