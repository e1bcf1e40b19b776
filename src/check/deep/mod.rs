//! The indexes against what they index: message files, control files, the mdbox map, the mailbox list, other users' flags.
//!
//! Only what cannot be the normal lag between a storage and its index is a finding: new mail that no session has seen, mail
//! that another program deleted, or counts that Dovecot refreshes on demand are not. Where a mailbox's messages are not
//! there at all (a copy of the indexes, a storage that cannot be found), nothing is said about them.

mod list;
mod maildir;
mod mdbox;
mod private;
mod sdbox;
mod storage;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Code, Finding, Findings, Options, Severity};
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::model::replay::Until;
use crate::model::{Chain, ChainFile, Mailbox};
use crate::source::{Family, MailboxFiles, MmapPolicy, Role, Snapshot};

/// How often a mailbox with findings is looked at again before anything is said.
const LOOKS: u32 = 4;

/// Judges a mailbox against its storage. The index files themselves must be sound; what is wrong with them is the business of
/// [`super::mailbox`].
///
/// A finding is one that several looks have in common, unless nothing was changed between two of them.
pub fn check(files: &MailboxFiles, options: &Options) -> Vec<Finding> {
    let mut common: Option<Vec<Finding>> = None;
    for look in 0..LOOKS {
        let before = stamps(files);
        let found = once(files, options);
        if found.is_empty() {
            return found;
        }
        let kept: Vec<Finding> = match common.take() {
            None => found,
            Some(earlier) => earlier.into_iter().filter(|finding| found.contains(finding)).collect(),
        };
        if kept.is_empty() {
            return kept;
        }
        // Mail moves before its index does; one change takes a moment.
        let at_rest =
            before == stamps(files) && old(&before, options.now) && !crate::source::is_locked(&files.path(Role::Log));
        if at_rest {
            return kept;
        }
        common = Some(kept);
        std::thread::sleep(Duration::from_millis(50 << look));
    }
    common.unwrap_or_default()
}

/// What tells that somebody works on a mailbox.
fn stamps(files: &MailboxFiles) -> Vec<Option<(i64, i64, u64)>> {
    let dir = files.index.parent().unwrap_or(Path::new("."));
    let paths = [
        files.path(Role::Log),
        files.path(Role::Index),
        dir.to_owned(),
        dir.join("cur"),
        dir.join("new"),
        dir.join("dovecot-uidlist"),
    ];
    paths
        .iter()
        .map(|path| std::fs::metadata(path).ok().map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.size())))
        .collect()
}

/// True when the last change was long enough ago that it is complete.
fn old(stamps: &[Option<(i64, i64, u64)>], now: i64) -> bool {
    stamps.iter().flatten().all(|(mtime, ..)| *mtime < now.saturating_sub(10))
}

fn once(files: &MailboxFiles, options: &Options) -> Vec<Finding> {
    let mut found = Findings::default();
    let Some(dir) = files.index.parent() else { return Vec::new() };
    let Some(mailbox) = load(files, options.mmap) else { return Vec::new() };
    owner(files, dir, &mut found);
    let subject = Subject { files, dir, mailbox: &mailbox, options };
    match super::family(files) {
        Family::List => list::check(&subject, &mut found),
        Family::Map => mdbox::check_map(&subject, &mut found),
        Family::Private => private::check(&subject, &mut found),
        Family::Mailbox => {
            if mailbox.extension(b"mdbox-hdr").is_some() || mailbox.extension(b"mdbox").is_some() {
                mdbox::check(&subject, &mut found);
            } else if mailbox.extension(b"dbox-hdr").is_some() || storage::has_sdbox_files(dir) {
                sdbox::check(&subject, &mut found);
            } else if mailbox.extension(b"virtual").is_none() && mailbox.extension(b"mbox").is_none() {
                maildir::check(&subject, &mut found);
            }
        }
    }
    found.finish()
}

/// A mailbox to judge.
struct Subject<'a> {
    files: &'a MailboxFiles,
    dir: &'a Path,
    mailbox: &'a Mailbox,
    options: &'a Options,
}

impl Subject<'_> {
    fn index(&self) -> PathBuf {
        self.files.index.clone()
    }

    /// The file that a finding about the state is in: the index, or the log where there is no index yet.
    fn state_file(&self) -> PathBuf {
        let index = self.index();
        if index.exists() { index } else { self.files.path(Role::Log) }
    }
}

/// The state of an index; `None` when its files are not sound.
pub(super) fn load(files: &MailboxFiles, mmap: MmapPolicy) -> Option<Mailbox> {
    state_of(&files.read(&[Role::Index, Role::OldLog, Role::Log], mmap).ok()?)
}

fn state_of(snapshot: &Snapshot) -> Option<Mailbox> {
    let mut logs = Vec::new();
    for role in [Role::Log, Role::OldLog] {
        if let Some(input) = snapshot.get(role) {
            let log = LogFile::parse(&input.bytes, input.bytes.len() as u64).ok()?;
            logs.push(ChainFile::new(log, &input.bytes));
        }
    }
    let chain = Chain::new(logs);
    chain.head()?;
    let base = match snapshot.get(Role::Index) {
        Some(input) => Mailbox::load(&IndexFile::parse(&input.bytes).ok().filter(|index| index.problems.is_empty())?),
        None => chain.empty_mailbox(),
    };
    let replayed = chain.replay(base, Until::End).ok()?;
    (replayed.stopped.is_none() && replayed.errors.is_empty()).then_some(replayed.mailbox)
}

/// D12: whoever owns the directory can read and write the index files.
fn owner(files: &MailboxFiles, dir: &Path, found: &mut Findings) {
    let Ok(dir) = std::fs::metadata(dir) else { return };
    if dir.uid() == 0 {
        return;
    }
    for role in Role::ALL {
        let path = files.path(role);
        let Ok(file) = std::fs::metadata(&path) else { continue };
        let can = |bits: u32| file.mode() & bits == bits;
        let usable = (file.uid() == dir.uid() && can(0o600)) || (file.gid() == dir.gid() && can(0o060)) || can(0o006);
        if !usable {
            let message = format!(
                "belongs to {}:{} with mode {:04o}, but the mailbox to {}:{}",
                file.uid(),
                file.gid(),
                file.mode() & 0o7777,
                dir.uid(),
                dir.gid()
            );
            // Another owner may be meant; root never is.
            let severity = if file.uid() == 0 { Severity::Error } else { Severity::Warning };
            found.add(Finding::new(Code::D12, path, message).severity(severity));
        }
    }
}

/// The UIDs of a mailbox, in order.
fn uids(mailbox: &Mailbox) -> impl Iterator<Item = u32> + '_ {
    mailbox.positions().map(|i| mailbox.uid(i))
}

/// Names of a directory's entries; `None` when it cannot be read.
fn names_in(dir: &Path) -> Option<Vec<Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.file_name().into_vec()).collect())
}
