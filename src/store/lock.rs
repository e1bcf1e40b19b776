//! Dovecot's lock on a mailbox: an exclusive lock on the whole of `dovecot.index.log` (`mail-transaction-log-file.c`,
//! `file-lock.c`, `file-dotlock.c`). While it is held no other process appends, rotates, or rewrites `dovecot.index`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::home::Home;
use super::{StoreError, dir};
use crate::render::text::printable;
use crate::source::{Meta, Role, Stat, lock_holder};

/// A dotlock that has not changed for this long belongs to nobody any more
/// (`MAIL_TRANSACTION_LOG_LOCK_CHANGE_TIMEOUT`).
const DOTLOCK_STALE: i64 = 180;
/// A dotlock names process and host; more than this is none of Dovecot's.
const MAX_DOTLOCK: u64 = 300;
/// How often a lock that is held is asked for again.
const RETRY: Duration = Duration::from_millis(20);

/// Dovecot's setting `lock_method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockMethod {
    /// POSIX record locks, Dovecot's default
    #[default]
    Fcntl,
    /// BSD locks
    Flock,
    /// A file dovecot.index.log.lock
    Dotlock,
    /// No lock: nobody else must be using the mailbox
    None,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{}: locked by {holder}; gave up after {} s", path.display(), waited.as_secs_f32())]
    Held {
        /// The file.
        path: PathBuf,
        /// Who has it, as far as the system says.
        holder: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// The lock, released when dropped. POSIX locks end when the process closes *any* descriptor of the file, so while this
/// lives the log is to be touched through [`LogLock::file`] alone.
#[derive(Debug)]
pub struct LogLock<'h> {
    home: &'h Home,
    method: LockMethod,
    timeout: Duration,
    file: Option<File>,
    /// False for a log of root's that its owner cannot write.
    writable: bool,
    /// Files whose names are locks, and which file each was when it was made.
    names: Vec<(Vec<u8>, Stat)>,
}

/// Waiting, with an end.
struct Wait {
    started: Instant,
    timeout: Duration,
}

impl Wait {
    /// Waits a little, or gives up with the name of whoever holds the lock.
    fn on(&self, home: &Home, name: &[u8], holder: impl FnOnce() -> String) -> Result<(), LockError> {
        let waited = self.started.elapsed();
        if waited >= self.timeout {
            return Err(LockError::Held { path: home.path(name), holder: holder(), waited });
        }
        std::thread::sleep(RETRY.min(self.timeout.saturating_sub(waited)));
        Ok(())
    }
}

impl<'h> LogLock<'h> {
    /// Waits for the lock on the log of an index. Where there is no log, the lock is Dovecot's on the making of one.
    ///
    /// # Errors
    /// [`LockError::Held`] after `timeout`; [`LockError::Io`] when the log cannot be opened for writing.
    pub fn acquire(home: &'h Home, method: LockMethod, timeout: Duration) -> Result<LogLock<'h>, LockError> {
        let wait = Wait { started: Instant::now(), timeout };
        let log = home.name(Role::Log);
        let mut lock = LogLock { home, method, timeout, file: None, writable: true, names: Vec::new() };
        if method == LockMethod::Dotlock {
            lock.take_name([&log, &b".lock"[..]].concat(), &wait)?;
        }
        let newlock = [&log, &b".newlock"[..]].concat();
        loop {
            let Some((file, meta, writable)) = home.open_for_lock(&log)? else {
                if method != LockMethod::None {
                    lock.take_name(newlock.clone(), &wait)?;
                    // Whoever held the name until now may have made the log.
                    if home.stat(&log)?.is_some() {
                        lock.release_name(&newlock);
                        continue;
                    }
                }
                return Ok(lock);
            };
            // A log that cannot be written can be locked against writers all the same.
            let operation = match writable {
                true => FlockOperation::NonBlockingLockExclusive,
                false => FlockOperation::NonBlockingLockShared,
            };
            loop {
                let taken = match method {
                    LockMethod::Fcntl => rustix::fs::fcntl_lock(&file, operation),
                    LockMethod::Flock => rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive),
                    LockMethod::Dotlock | LockMethod::None => Ok(()),
                };
                match taken {
                    Ok(()) => break,
                    Err(Errno::AGAIN | Errno::ACCESS | Errno::INTR) => {
                        wait.on(home, &log, || holder(&file, method))?;
                    }
                    Err(error) => return Err(home.error(&log, "cannot lock", error).into()),
                }
            }
            // Rotated while we waited: the lock is on a file that is .log.2 by now.
            if home.stat(&log)?.is_some_and(|now| now.stat.same_file(&meta.stat)) {
                lock.file = Some(file);
                lock.writable = writable;
                return Ok(lock);
            }
            drop(file);
            wait.on(home, &log, || "nobody, but it is replaced all the time".into())?;
        }
    }

    /// Creates a file whose name is the lock, as Dovecot does with `dotlock_use_excl`; its content says whose it is.
    fn take_name(&mut self, name: Vec<u8>, wait: &Wait) -> Result<(), LockError> {
        let home = self.home;
        loop {
            match dir::create(home.dir(), &name) {
                Ok(mut file) => {
                    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
                    let made = Meta::of(&file).map_err(|error| home.error(&name, "cannot lock", error))?;
                    self.names.push((name, made.stat));
                    // The name is the lock; what the file says is for people.
                    let _ = write!(file, "{}:{host}", std::process::id());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(home.error(&name, "cannot lock", error).into()),
            }
            let Some(now) = home.stat(&name)? else { continue };
            if now.special.is_none() && (is_stale(&now) || is_of_the_dead(home, &name)) {
                dir::remove(home.dir(), &name).map_err(|error| home.error(&name, "cannot remove", error))?;
            } else {
                wait.on(home, &name, || name_holder(home, &name))?;
            }
        }
    }

    /// Removes a file whose name is the lock, unless somebody has made it his.
    fn release_name(&mut self, name: &[u8]) {
        self.names.retain(|(have, made)| {
            if have == name && self.home.dir().stat(name).is_ok_and(|now| now.stat.same_file(made)) {
                let _ = dir::remove(self.home.dir(), name);
            }
            have != name
        });
    }

    /// The lock on the making of a log as well, for whoever takes the log away: the lock on a file that has no name any
    /// more keeps nobody from making another one. Dovecot takes the two in this order (`mail_transaction_log_rotate`).
    ///
    /// # Errors
    /// As [`acquire`](LogLock::acquire).
    pub fn on_making(&self) -> Result<LogLock<'h>, LockError> {
        let LogLock { home, method, timeout, .. } = *self;
        let mut lock = LogLock { home, method, timeout, file: None, writable: true, names: Vec::new() };
        let name = [&home.name(Role::Log), &b".newlock"[..]].concat();
        if method != LockMethod::None && !self.names.iter().any(|(have, _)| *have == name) {
            lock.take_name(name, &Wait { started: Instant::now(), timeout })?;
        }
        Ok(lock)
    }

    /// The locked log; `None` when there is none.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// True when the lock, or a part of it, is a name in the directory.
    pub fn is_a_name(&self) -> bool {
        !self.names.is_empty()
    }

    /// The method it was taken by.
    pub fn method(&self) -> LockMethod {
        self.method
    }

    /// True when the log can be changed where it is: it is there, and the rights suffice.
    pub fn is_writable(&self) -> bool {
        self.file.is_some() && self.writable
    }
}

impl Drop for LogLock<'_> {
    fn drop(&mut self) {
        self.file = None;
        for (name, _) in self.names.clone() {
            self.release_name(&name);
        }
    }
}

/// Locks a log that nobody has seen yet, in both ways, so that whatever method a session uses, it waits.
///
/// # Errors
/// As fcntl(2) and flock(2).
pub fn lock_new(file: &File) -> io::Result<()> {
    rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive)?;
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        // A file system without one of the two has nobody who uses it.
        Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_stale(meta: &Meta) -> bool {
    crate::source::now().saturating_sub(meta.stat.mtime.0) > DOTLOCK_STALE
}

/// True for a dotlock of a process of this host that is there no more, as Dovecot asks (`file-dotlock.c`,
/// `check_lock`). Whoever can write another number there can remove the file as well.
fn is_of_the_dead(home: &Home, name: &[u8]) -> bool {
    let Ok((text, _)) = home.dir().read_small(name, MAX_DOTLOCK) else { return false };
    let host = rustix::system::uname().nodename().to_bytes().to_vec();
    let Some((pid, of)) = std::str::from_utf8(&text).ok().and_then(|text| text.trim().split_once(':')) else {
        return false;
    };
    let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) else { return false };
    of.as_bytes() == host && rustix::process::test_kill_process(pid) == Err(Errno::SRCH)
}

/// What a dotlock says of its owner. Whoever made it decided what it says, and what it is.
fn name_holder(home: &Home, name: &[u8]) -> String {
    match home.dir().read_small(name, MAX_DOTLOCK) {
        Ok((text, _)) if !text.trim_ascii().is_empty() => format!("process {}", printable(text.trim_ascii())),
        _ => "the owner of this file".into(),
    }
}

/// Who holds the lock, in words.
fn holder(file: &File, method: LockMethod) -> String {
    let unknown = || "another process".to_owned();
    match method {
        LockMethod::Fcntl => match lock_holder(file) {
            Ok(Some(pid)) if pid > 0 => process(pid),
            _ => unknown(),
        },
        LockMethod::Flock => flock_holder(file).map_or_else(unknown, process),
        LockMethod::Dotlock | LockMethod::None => unknown(),
    }
}

pub(super) fn process(pid: i32) -> String {
    match std::fs::read(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", printable(name.trim_ascii())),
        Err(_) => format!("process {pid}"),
    }
}

/// The kernel lists BSD locks by inode: `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`.
pub(super) fn flock_holder(file: impl AsFd) -> Option<i32> {
    let inode = Meta::of(file).ok()?.stat.ino.to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "FLOCK")?;
        let file = words.get(at + 4)?.rsplit(':').next()?;
        if file == inode { words.get(at + 3)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::MailboxFiles;

    /// Lock files grow old by the clock of this process, which need not be that of the file system.
    fn made_now(path: &Path) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
        let now = rustix::fs::Timespec { tv_sec: now.as_secs() as i64, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("times");
    }

    fn home(dir: &Path) -> Home {
        Home::open(&MailboxFiles::at(dir.join("dovecot.index")), false).expect("a directory")
    }

    #[test]
    fn a_locked_log_names_its_holder_and_a_missing_one_is_locked_against_being_made() {
        let dir = tempfile::tempdir().expect("directory");
        let home = home(dir.path());
        let none = LogLock::acquire(&home, LockMethod::Fcntl, Duration::ZERO).expect("nothing to lock");
        let newlock = dir.path().join("dovecot.index.log.newlock");
        assert!(none.file().is_none() && newlock.exists());
        made_now(&newlock);
        assert!(LogLock::acquire(&home, LockMethod::Fcntl, Duration::ZERO).is_err());
        drop(none);
        assert!(!newlock.exists());
        std::fs::write(dir.path().join("dovecot.index.log"), b"x").expect("log");
        // flock(2) locks belong to the open file, so one process can be both sides.
        let first = LogLock::acquire(&home, LockMethod::Flock, Duration::ZERO).expect("free");
        let error = LogLock::acquire(&home, LockMethod::Flock, Duration::from_millis(60)).expect_err("held");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        LogLock::acquire(&home, LockMethod::Flock, Duration::ZERO).expect("free again");
    }

    #[test]
    fn a_dotlock_is_created_and_removed() {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("dovecot.index.log"), b"x").expect("log");
        let home = home(dir.path());
        let lock = LogLock::acquire(&home, LockMethod::Dotlock, Duration::ZERO).expect("free");
        let path = dir.path().join("dovecot.index.log.lock");
        made_now(&path);
        assert!(std::fs::read_to_string(&path).expect("dotlock").starts_with(&format!("{}:", std::process::id())));
        assert!(LogLock::acquire(&home, LockMethod::Dotlock, Duration::ZERO).is_err());
        drop(lock);
        assert!(!path.exists());
    }

    /// A name that is a lock may be anything: it is not opened unless it is a file, and what it says is shown escaped.
    #[test]
    fn a_dotlock_that_somebody_else_made_up_is_waited_for_and_no_longer() {
        let dir = tempfile::tempdir().expect("directory");
        let (log, path) = (dir.path().join("dovecot.index.log"), dir.path().join("dovecot.index.log.lock"));
        std::fs::write(&log, b"x").expect("log");
        let home = home(dir.path());
        let locked = || LogLock::acquire(&home, LockMethod::Dotlock, Duration::ZERO).expect_err("held").to_string();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("FIFO");
        made_now(&path);
        assert!(locked().contains("the owner of this file"));
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("link");
        made_now(&path);
        assert!(locked().contains("the owner of this file"));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "\x1b]0;evil\x07\nidx: all sound").expect("file");
        made_now(&path);
        let text = locked();
        assert!(!text.contains(['\x1b', '\n']) && text.contains("evil"), "{text}");
    }
}
