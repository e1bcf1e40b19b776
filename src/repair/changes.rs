//! From the files of an index to a plan, and from the plan to changes on disk. What is made true there is `store`'s.

use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::inputs::{Base, Inputs, Storage};
use super::outcome::{Plan, Step};
use crate::source::{Dir, Family, MailboxFiles, Role, Stat, passed};
use crate::storage::{Mails, Roots, is_saving};
use crate::store::home::{AsFound, Home};
use crate::store::transaction::FileChange;
use crate::store::undo;

/// What the storage is read from, beside the index: a delivery changes it.
#[derive(Debug)]
pub(crate) struct StorageState<'a> {
    /// Where a Maildir has its lists and its messages.
    places: &'a [Dir],
    stats: Vec<Option<Stat>>,
    /// Messages of an sdbox, which are files in the directory of the index: how many, and a sum over their names.
    mails: (u64, u64),
    /// For a map: where it is, and a sum over its files of mails and the indexes of the mailboxes that refer to them.
    map: Option<(Dir, u64)>,
}

impl PartialEq for StorageState<'_> {
    fn eq(&self, other: &StorageState<'_>) -> bool {
        let sum = |state: &StorageState| state.map.as_ref().map(|(_, sum)| *sum);
        self.stats == other.stats && self.mails == other.mails && sum(self) == sum(other)
    }
}

impl<'a> StorageState<'a> {
    /// The present state, with the places that `list_places` has found.
    pub(crate) fn of(home: &Home, places: &'a [Dir]) -> StorageState<'a> {
        // A copy by another name has no storage beside it.
        if home.files().own_family().is_none() {
            return StorageState { places: &[], stats: Vec::new(), mails: (0, 0), map: None };
        }
        let mut mails = (0_u64, 0_u64);
        let listed = home.dir().each(|name, _| {
            if name.starts_with(b"u.") {
                // In whatever order the directory gives them.
                let mut hash = DefaultHasher::new();
                hash.write(name);
                mails = (mails.0 + 1, mails.1.wrapping_add(hash.finish()));
            }
        });
        let is_map = home.files().own_family() == Some(Family::Map);
        let map = is_map.then(|| (home.dir().clone(), Mails::stamp(home.dir())));
        StorageState { stats: stats(places), places, mails: listed.map_or((0, 0), |()| mails), map }
    }

    /// True while nothing was delivered, as far as a look at the times tells: all that is asked under the lock.
    pub(crate) fn may_hold(&self) -> bool {
        // Whoever saves, copies or expunges a mail holds the lock of the map's log (`mdbox-map.c`).
        let is_same = |(dir, sum): &(Dir, u64)| Mails::stamp(dir) == *sum;
        self.stats == stats(self.places) && self.map.as_ref().is_none_or(is_same)
    }

    /// Whether a session is saving into the Maildir: it writes UIDs to `dovecot-uidlist`, lets the log's lock go, and
    /// then appends them to the log (`maildir-save.c`).
    pub(crate) fn is_saving(&self) -> bool {
        self.places.iter().any(is_saving)
    }

    /// Waits until no session is saving, that long at most.
    pub(crate) fn wait(&self, most: Duration) {
        let began = passed();
        while self.is_saving() && passed().saturating_sub(began) < most {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn stats(places: &[Dir]) -> Vec<Option<Stat>> {
    let of = |dir: &Dir, name| dir.stat(name).ok().map(|meta| meta.stat);
    places.iter().flat_map(|dir| ["dovecot-uidlist", "cur", "new"].map(|name| of(dir, name))).collect()
}

/// The files of an index, each with its bytes; `None`: no file.
pub(crate) type Files<'a> = Vec<(Role, Option<&'a [u8]>)>;

fn bytes<'a>(files: &Files<'a>, role: Role) -> Option<&'a [u8]> {
    files.iter().find(|(have, _)| *have == role).and_then(|(_, bytes)| *bytes)
}

/// The files to plan with: as they are, or as a run that was interrupted found them.
pub(crate) fn before<'a>(home: &Home, survey: &'a AsFound, interrupted: Option<&'a undo::UndoStep>) -> Files<'a> {
    let of = |role| match interrupted.and_then(|step| step.entry(&home.text(role))) {
        Some(entry) => entry.before.as_ref().map(|saved| saved.bytes.as_slice()),
        // One log under both names is one log.
        None if role == Role::OldLog && survey.is_one_log() => None,
        None => survey.bytes(role),
    };
    Role::ALL.into_iter().map(|role| (role, of(role))).collect()
}

pub(crate) fn inputs<'a>(
    files: &Files<'a>,
    names: &'a MailboxFiles,
    base: Option<Base>,
    roots: &Roots,
    now: i64,
) -> Inputs<'a> {
    Inputs {
        index: bytes(files, Role::Index),
        backup: bytes(files, Role::Backup),
        old_log: bytes(files, Role::OldLog),
        log: bytes(files, Role::Log),
        cache: bytes(files, Role::Cache),
        storage: Storage::among(names, roots),
        now: u32::try_from(now).unwrap_or(u32::MAX),
        place: names.dir().map(|dir| dir.path().as_os_str().as_bytes()).unwrap_or_default(),
        base,
    }
}

/// What each file will be.
pub(crate) fn after<'a>(before: &Files<'a>, plan: &'a Plan) -> Files<'a> {
    let mut after = before.clone();
    let mut set = |role: Role, bytes: Option<&'a [u8]>| {
        after.iter_mut().filter(|(have, _)| *have == role).for_each(|(_, slot)| *slot = bytes);
    };
    let (log, old) = (bytes(before, Role::Log), bytes(before, Role::OldLog));
    for (step, _) in &plan.steps {
        match step {
            Step::CutLog(len) => set(Role::Log, log.and_then(|b| b.get(..usize::try_from(*len).ok()?))),
            Step::LinkOldLog => set(Role::OldLog, log),
            Step::WriteOldLog(bytes) => set(Role::OldLog, Some(bytes)),
            Step::WriteLog(bytes) => set(Role::Log, Some(bytes)),
            Step::ExchangeLogs => {
                set(Role::Log, old);
                set(Role::OldLog, log);
            }
            Step::RemoveOldLog => set(Role::OldLog, None),
            Step::RemoveCache => set(Role::Cache, None),
            Step::WriteIndex(bytes) => set(Role::Index, Some(bytes)),
        }
    }
    after
}

/// A step as a change on disk. Cutting a log that is not there is none.
pub(crate) fn change<'a>(step: &'a Step, survey: &'a AsFound) -> Option<FileChange<'a>> {
    let write = |role, bytes: &'a Vec<u8>| FileChange::Write { role, bytes, mtime: None };
    Some(match step {
        Step::CutLog(len) => {
            FileChange::CutLog { len: *len, rest: survey.bytes(Role::Log)?.get(usize::try_from(*len).ok()?..)? }
        }
        Step::LinkOldLog => FileChange::LinkOldLog,
        Step::WriteOldLog(bytes) => write(Role::OldLog, bytes),
        Step::WriteLog(bytes) => write(Role::Log, bytes),
        Step::ExchangeLogs => FileChange::ExchangeLogs,
        Step::RemoveOldLog => FileChange::Remove(Role::OldLog),
        Step::RemoveCache => FileChange::Remove(Role::Cache),
        Step::WriteIndex(bytes) => write(Role::Index, bytes),
    })
}

/// All that differs, written whole: where an earlier run has done some of it already, or where the log is not the
/// owner's, so that it can be neither cut nor linked.
pub(crate) fn whole_files<'a>(
    home: &Home,
    survey: &AsFound,
    interrupted: Option<&undo::UndoStep>,
    after: &Files<'a>,
) -> Vec<FileChange<'a>> {
    let unsure = |role: Role| interrupted.is_some_and(|step| step.entry(&home.text(role)).is_some());
    let order = [Role::OldLog, Role::Log, Role::Backup, Role::Cache, Role::Index];
    let differs = order.into_iter().filter(|role| unsure(*role) || survey.bytes(*role) != bytes(after, *role));
    differs
        .map(|role| match bytes(after, role) {
            Some(bytes) => FileChange::Write { role, bytes, mtime: None },
            None => FileChange::Remove(role),
        })
        .collect()
}
