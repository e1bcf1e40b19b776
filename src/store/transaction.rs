//! Several files of an index changed as one: everything new is on disk before anything old goes, what went is kept
//! until all is in place, and what fails is taken back.
//!
//! Names lie in a directory that somebody else may write to, so each one is asked, before it is touched again, whether
//! it still leads to the file that was put there. While the new log has its name it is locked, as in Dovecot's own
//! rotation (`mail-transaction-log.c`, `mail_transaction_log_rotate`), until the index is in place: else a session that
//! opens the mailbox in between would write to it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::dir;
use super::home::{AsFound, FileAttributes, Home, set_mtime};
use super::lock::{LockError, LockMethod, LogLock};
use super::signals::Hold;
use super::{StoreError, lock};
use crate::source::{Meta, Role, Stat};

/// One change. They are made in the order given; the index is to be the last that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange<'a> {
    /// The log ends at `len` now; `rest` is what it ends with so far.
    CutLog {
        /// Its new length.
        len: u64,
        /// The bytes behind it.
        rest: &'a [u8],
    },
    /// `rest` follows the `len` bytes that the log has, and its time is as given.
    ExtendLog {
        /// Its present length.
        len: u64,
        /// What is appended.
        rest: &'a [u8],
        /// Modification time, UNIX seconds and nanoseconds.
        mtime: (i64, i64),
    },
    /// The log becomes `.log.2` as well.
    LinkOldLog,
    /// Log and `.log.2` change places.
    ExchangeLogs,
    /// A file becomes this, with this modification time if there is one.
    Write {
        /// What the file is for.
        role: Role,
        /// Its content.
        bytes: &'a [u8],
        /// Modification time, UNIX seconds and nanoseconds.
        mtime: Option<(i64, i64)>,
    },
    /// A file goes.
    Remove(Role),
}

/// What the name of the index is followed by in that of the undo file.
pub const UNDO_SUFFIX: &str = ".idx-undo";

/// What a transaction does with the undo file.
#[derive(Clone, Copy, Debug)]
pub enum UndoTurn<'a, 'h> {
    /// Nothing.
    Stays,
    /// A new one is put in place before anything else is done: it can take the changes back.
    First(&'a Staged<'h>),
    /// When all else is done this one takes its place, or it goes: were idx killed before, the next run would begin
    /// where this one did.
    Last(Option<&'a Staged<'h>>),
}

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Every name leads to the file that it led to before.
    #[error("{0}; nothing is changed")]
    Unchanged(StoreError),
    /// What had been done could not be taken back.
    #[error("{error}; not taken back: {}: `idx undo` or another run will", left.join(", "))]
    Torn {
        /// What failed first.
        error: StoreError,
        /// What stays, and why.
        left: Vec<String>,
    },
}

/// A new file, complete and synced, under its temporary name; removed when dropped before it has found its place.
#[derive(Debug)]
pub struct Staged<'h> {
    home: &'h Home,
    name: Vec<u8>,
    temp: Vec<u8>,
    file: File,
    stat: Stat,
}

impl<'h> Staged<'h> {
    /// Writes a file that will be called `name`. The temporary name of the index is Dovecot's own: a leftover is
    /// removed by whoever writes the index next, under the same lock.
    ///
    /// # Errors
    /// As open(2), write(2) and fsync(2); the temporary file is then removed.
    pub fn write(
        home: &'h Home,
        name: Vec<u8>,
        attributes: &FileAttributes,
        mtime: Option<(i64, i64)>,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Staged<'h>, StoreError> {
        let temp = [&name, &b".tmp"[..]].concat();
        dir::remove(home.dir(), &temp).map_err(|error| home.error(&temp, "cannot remove", error))?;
        let file = dir::create(home.dir(), &temp).map_err(|error| home.error(&temp, "cannot create", error))?;
        let mut written = || -> io::Result<Stat> {
            let mut out = BufWriter::with_capacity(1 << 20, &file);
            fill(&mut out)?;
            out.flush()?;
            drop(out);
            attributes.give(&file)?;
            if let Some(mtime) = mtime {
                set_mtime(&file, mtime)?;
            }
            file.sync_all()?;
            Ok(Meta::of(&file)?.stat)
        };
        match written() {
            Ok(stat) => Ok(Staged { home, name, temp, file, stat }),
            Err(error) => {
                let _ = dir::remove(home.dir(), &temp);
                Err(home.error(&temp, "cannot write", error))
            }
        }
    }

    /// The file, for reading back. No second descriptor is opened: closing it would release a lock.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// True while its temporary name leads to it: another idx at work here takes the same name.
    pub fn is_there(&self) -> bool {
        self.home.dir().stat(&self.temp).is_ok_and(|now| now.stat.same_file(&self.stat))
    }

    /// # Errors
    /// When it does not hold what was written.
    fn check(&self, want: &[u8]) -> Result<(), StoreError> {
        let fail = |what, error| self.home.error(&self.temp, what, error);
        let mut have = vec![0; want.len()];
        self.file.read_exact_at(&mut have, 0).map_err(|error| fail("cannot read back", error))?;
        if have == want && self.stat.size == want.len() as u64 {
            return Ok(());
        }
        Err(fail("cannot be trusted", io::Error::new(io::ErrorKind::InvalidData, "it does not hold what was written")))
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // Once it is in place the temporary name leads to the former file, or to nothing.
        if self.is_there() {
            let _ = dir::remove(self.home.dir(), &self.temp);
        }
    }
}

/// What was done to names, so that it can be taken back.
enum Done {
    /// A new file has this name; the former one, if there was one, waits under the temporary name.
    Put { name: Vec<u8>, temp: Vec<u8>, new: Stat, old: Option<Stat> },
    /// Nothing has this name any more; the former file waits under the temporary name.
    Taken { name: Vec<u8>, temp: Vec<u8>, old: Stat },
    /// Log and `.log.2` have changed places.
    Exchanged { log: Stat, old: Stat },
    /// The log was cut to `len` bytes.
    Cut { len: u64, rest: Vec<u8>, mtime: (i64, i64) },
    /// The log was extended from `len` bytes.
    Extended { len: u64, mtime: (i64, i64) },
}

/// A transaction on the files of one index whose lock is held.
pub struct Transaction<'a> {
    home: &'a Home,
    lock: &'a LogLock<'a>,
    survey: &'a AsFound,
    done: Vec<Done>,
}

impl<'a> Transaction<'a> {
    /// Makes `changes` true on disk, in their order. `survey` is what they were planned on.
    ///
    /// # Errors
    /// [`CommitError`]; in all cases but [`CommitError::Torn`] every name leads to the file that it led to before.
    pub fn commit(
        home: &'a Home,
        lock: &'a LogLock<'a>,
        survey: &'a AsFound,
        undo: UndoTurn<'_, '_>,
        changes: &[FileChange<'_>],
    ) -> Result<(), CommitError> {
        let mut transaction = Transaction { home, lock, survey, done: Vec::new() };
        let unchanged = CommitError::Unchanged;
        // Everything new is on disk, complete, before anything old goes.
        let mut staged = Vec::new();
        for change in changes {
            let FileChange::Write { role, bytes, mtime } = change else { continue };
            let attributes = home.attributes(survey, *role);
            let one = Staged::write(home, home.name(*role), &attributes, *mtime, &mut |out| out.write_all(bytes))
                .map_err(unchanged)?;
            one.check(bytes).map_err(unchanged)?;
            if *role == Role::Log && lock.method() != LockMethod::None {
                lock::lock_new(&one.file).map_err(|error| unchanged(home.error(&one.temp, "cannot lock", error)))?;
            }
            staged.push((*role, one));
        }
        // The log that will be in force must be ours before it is: nobody else can hold `.log.2`, which is not written
        // to.
        let mut second = None;
        if changes.contains(&FileChange::ExchangeLogs) && lock.method() != LockMethod::None {
            let name = home.name(Role::OldLog);
            if let Some((file, _, true)) = home.open_for_lock(&name).map_err(unchanged)? {
                lock::lock_new(&file).map_err(|error| unchanged(home.error(&name, "cannot lock", error)))?;
                second = Some(file);
            }
        }
        // Of whoever takes the log away both locks are needed.
        let making = changes.contains(&FileChange::Remove(Role::Log)).then(|| lock.on_making()).transpose();
        let making = making.map_err(|error| {
            let error = match error {
                LockError::Io(error) => error,
                held => home.error(&home.name(Role::Log), "cannot remove", io::Error::other(held)),
            };
            unchanged(error)
        })?;
        let hold = Hold::signals();
        let result = transaction.apply(undo, changes, &staged);
        let result = match result {
            Ok(()) => {
                transaction.forget();
                Ok(())
            }
            Err(error) => transaction.roll_back(error),
        };
        // The locks on new logs end here.
        drop((staged, second, making));
        match result {
            Ok(()) => hold.done(),
            Err(_) => drop(hold),
        }
        result
    }

    fn apply(
        &mut self,
        undo: UndoTurn<'_, '_>,
        changes: &[FileChange<'_>],
        staged: &[(Role, Staged<'_>)],
    ) -> Result<(), StoreError> {
        if let UndoTurn::First(undo) = undo {
            self.put(undo)?;
            self.sync()?;
        }
        for change in changes {
            match *change {
                FileChange::CutLog { len, rest } => self.cut(len, rest)?,
                FileChange::ExtendLog { len, rest, mtime } => self.extend(len, rest, mtime)?,
                FileChange::LinkOldLog => self.link_old_log()?,
                FileChange::ExchangeLogs => self.exchange_logs()?,
                FileChange::Remove(role) => self.take_away(self.home.name(role))?,
                FileChange::Write { role, .. } => {
                    // What comes before must be on disk before the index says so.
                    if role == Role::Index && !self.done.is_empty() {
                        self.sync()?;
                    }
                    if let Some((_, one)) = staged.iter().find(|(have, _)| *have == role) {
                        self.put(one)?;
                    }
                }
            }
        }
        if let UndoTurn::Last(undo) = undo {
            self.sync()?;
            match undo {
                Some(undo) => self.put(undo)?,
                None => self.take_away(self.home.beside(UNDO_SUFFIX))?,
            }
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), StoreError> {
        dir::sync(self.home.dir()).map_err(|error| StoreError::new(self.home.dir().path(), "cannot sync", error))
    }

    /// Puts a new file under its name.
    fn put(&mut self, new: &Staged<'_>) -> Result<(), StoreError> {
        let (home, name, temp) = (self.home, new.name.clone(), new.temp.clone());
        let fail = |error| home.error(&name, "cannot put the new file in place", error);
        if !new.is_there() {
            return Err(fail(io::Error::other("somebody else has removed it")));
        }
        let mut old = home.stat(&name)?;
        if old.is_some_and(|meta| meta.is_dir()) {
            // Nobody's file; what is in it is not thrown away.
            dir::remove(home.dir(), &name).map_err(fail)?;
            old = None;
        }
        let old = old.map(|meta| meta.stat);
        match old {
            Some(_) => dir::replace(home.dir(), &temp, &name).map_err(fail)?,
            None => dir::rename_new(home.dir(), &temp, &name).map_err(fail)?,
        }
        self.done.push(Done::Put { name, temp, new: new.stat, old });
        Ok(())
    }

    /// Takes a file away; that there is none is fine.
    fn take_away(&mut self, name: Vec<u8>) -> Result<(), StoreError> {
        let home = self.home;
        let Some(old) = home.stat(&name)? else { return Ok(()) };
        let temp = [&name, &b".tmp"[..]].concat();
        let fail = |error| home.error(&name, "cannot remove", error);
        dir::remove(home.dir(), &temp).map_err(fail)?;
        dir::rename_new(home.dir(), &name, &temp).map_err(fail)?;
        self.done.push(Done::Taken { name, temp, old: old.stat });
        Ok(())
    }

    fn link_old_log(&mut self) -> Result<(), StoreError> {
        let (home, log, old) = (self.home, self.home.name(Role::Log), self.home.name(Role::OldLog));
        let temp = [&old, &b".tmp"[..]].concat();
        let fail = |error| home.error(&temp, "cannot link the log", error);
        dir::remove(home.dir(), &temp).map_err(fail)?;
        dir::link(home.dir(), &log, &temp).map_err(fail)?;
        let new = home.stat(&temp)?.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?.stat;
        let was = home.stat(&old)?.map(|meta| meta.stat);
        let placed = match was {
            Some(was) if was.same_file(&new) => dir::remove(home.dir(), &temp),
            Some(_) => dir::replace(home.dir(), &temp, &old),
            None => dir::rename_new(home.dir(), &temp, &old),
        };
        if let Err(error) = placed {
            let _ = dir::remove(home.dir(), &temp);
            return Err(home.error(&old, "cannot put the new file in place", error));
        }
        if !was.is_some_and(|was| was.same_file(&new)) {
            self.done.push(Done::Put { name: old, temp, new, old: was });
        }
        Ok(())
    }

    fn exchange_logs(&mut self) -> Result<(), StoreError> {
        let (home, a, b) = (self.home, self.home.name(Role::Log), self.home.name(Role::OldLog));
        let missing = |name: &[u8]| home.error(name, "cannot exchange", io::Error::from(io::ErrorKind::NotFound));
        let log = home.stat(&a)?.ok_or_else(|| missing(&a))?.stat;
        let old = home.stat(&b)?.ok_or_else(|| missing(&b))?.stat;
        dir::exchange(home.dir(), &a, &b)
            .map_err(|error| home.error(&a, "cannot exchange with the other log", error))?;
        self.done.push(Done::Exchanged { log, old });
        Ok(())
    }

    /// The locked log, which is changed where it is: other processes have it open.
    fn log(&self) -> Result<(&'a File, (i64, i64)), StoreError> {
        let name = self.home.name(Role::Log);
        let missing = || self.home.error(&name, "cannot write", io::Error::from(io::ErrorKind::NotFound));
        let file = self.lock.file().ok_or_else(missing)?;
        let mtime = self.survey.meta(Role::Log).map(|meta| meta.stat.mtime).ok_or_else(missing)?;
        Ok((file, mtime))
    }

    fn cut(&mut self, len: u64, rest: &[u8]) -> Result<(), StoreError> {
        let (file, mtime) = self.log()?;
        self.done.push(Done::Cut { len, rest: rest.to_vec(), mtime });
        self.cut_to(file, len)
    }

    fn cut_to(&self, file: &File, len: u64) -> Result<(), StoreError> {
        let name = self.home.name(Role::Log);
        rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file, len))
            .map_err(|error| self.home.error(&name, "cannot cut", error))?;
        file.sync_all().map_err(|error| self.home.error(&name, "cannot sync", error))
    }

    fn extend(&mut self, len: u64, rest: &[u8], mtime: (i64, i64)) -> Result<(), StoreError> {
        let (file, was) = self.log()?;
        self.done.push(Done::Extended { len, mtime: was });
        self.extend_with(file, len, rest, mtime)
    }

    fn extend_with(&self, file: &File, len: u64, rest: &[u8], mtime: (i64, i64)) -> Result<(), StoreError> {
        let name = self.home.name(Role::Log);
        let fail = |error| self.home.error(&name, "cannot write", error);
        file.write_all_at(rest, len).map_err(fail)?;
        set_mtime(file, mtime).map_err(fail)?;
        file.sync_all().map_err(fail)
    }

    /// All is done: what was replaced may go. A file that cannot be removed is in nobody's way.
    fn forget(&self) {
        for done in &self.done {
            if let Done::Put { temp, old: Some(old), .. } | Done::Taken { temp, old, .. } = done
                && self.leads_to(temp, old)
            {
                let _ = dir::remove(self.home.dir(), temp);
            }
        }
    }

    fn leads_to(&self, name: &[u8], stat: &Stat) -> bool {
        self.home.dir().stat(name).is_ok_and(|now| now.stat.same_file(stat))
    }

    fn is_free(&self, name: &[u8]) -> bool {
        matches!(self.home.stat(name), Ok(None))
    }

    /// Takes back what was done, the last first, if all of it is as it was left: else somebody has gone on from there,
    /// and what he did is not to be lost.
    fn roll_back(&mut self, error: StoreError) -> Result<(), CommitError> {
        let mut left: Vec<String> = self.done.iter().filter_map(|done| self.cannot_take_back(done)).collect();
        if left.is_empty() {
            for done in self.done.iter().rev() {
                if let Err(error) = self.take_back(done) {
                    left.push(error.to_string());
                }
            }
            if let Err(error) = self.sync()
                && !self.done.is_empty()
            {
                left.push(error.to_string());
            }
        }
        match left.is_empty() {
            true => Err(CommitError::Unchanged(error)),
            false => Err(CommitError::Torn { error, left }),
        }
    }

    /// What stands in the way of taking one thing back.
    fn cannot_take_back(&self, done: &Done) -> Option<String> {
        let not_ours = |name: &[u8]| {
            let name = crate::render::text::printable(name);
            Some(format!("{name} is not the file that idx put there; it is left alone"))
        };
        let gone = |temp: &[u8]| {
            let temp = crate::render::text::printable(temp);
            Some(format!("the former file, {temp}, is gone"))
        };
        match done {
            Done::Put { name, new, .. } if !self.leads_to(name, new) => not_ours(name),
            Done::Put { temp, old: Some(old), .. } if !self.leads_to(temp, old) => gone(temp),
            Done::Taken { name, .. } if !self.is_free(name) => not_ours(name),
            Done::Taken { temp, old, .. } if !self.leads_to(temp, old) => gone(temp),
            Done::Exchanged { log, old } => {
                let (a, b) = (self.home.name(Role::Log), self.home.name(Role::OldLog));
                // A new log may have taken the place since; that is judged by itself.
                let placed = |name: &[u8], new: &Stat| {
                    self.leads_to(name, new)
                        || self.done.iter().any(|done| match done {
                            Done::Put { name: put, old: Some(was), .. } => put == name && was.same_file(new),
                            Done::Taken { name: taken, old: was, .. } => taken == name && was.same_file(new),
                            _ => false,
                        })
                };
                match (placed(&a, old), placed(&b, log)) {
                    (false, _) => not_ours(&a),
                    (_, false) => not_ours(&b),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn take_back(&self, done: &Done) -> Result<(), StoreError> {
        let dir = self.home.dir();
        match done {
            Done::Put { name, temp, old: Some(_), .. } => {
                dir::rename(dir, temp, name).map_err(|error| self.home.error(name, "cannot put back", error))
            }
            Done::Put { name, old: None, .. } => {
                dir::remove(dir, name).map_err(|error| self.home.error(name, "cannot remove", error))
            }
            Done::Taken { name, temp, .. } => {
                dir::rename_new(dir, temp, name).map_err(|error| self.home.error(name, "cannot put back", error))
            }
            Done::Exchanged { .. } => {
                let (a, b) = (self.home.name(Role::Log), self.home.name(Role::OldLog));
                dir::exchange(dir, &a, &b).map_err(|error| self.home.error(&a, "cannot exchange back", error))
            }
            Done::Cut { len, rest, mtime } => {
                let (file, _) = self.log()?;
                self.extend_with(file, *len, rest, *mtime)
            }
            Done::Extended { len, mtime } => {
                let (file, _) = self.log()?;
                self.cut_to(file, *len)?;
                set_mtime(file, *mtime)
                    .map_err(|error| self.home.error(&self.home.name(Role::Log), "cannot set the time", error))
            }
        }
    }
}
