//! Dovecot's lock on a mailbox: an exclusive lock on the whole of `dovecot.index.log` (`mail-transaction-log-file.c`,
//! `file-lock.c`, `file-dotlock.c`). While it is held no other process appends, rotates, or rewrites `dovecot.index`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::source::{Stat, lock_holder, with_suffix};

/// A dotlock that has not changed for this long belongs to nobody any more (`MAIL_TRANSACTION_LOG_LOCK_CHANGE_TIMEOUT`).
const DOTLOCK_STALE: Duration = Duration::from_secs(180);
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
    #[error("{}: cannot lock: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The lock, released when dropped. POSIX locks end when the process closes *any* descriptor of the file, so while this lives
/// the log is to be read through [`LogLock::file`] alone.
#[derive(Debug)]
pub struct LogLock {
    file: Option<File>,
    stat: Option<Stat>,
    dotlock: Option<PathBuf>,
}

impl LogLock {
    /// Waits for the lock on a log. When there is no such file there is nothing to lock; a process that is just creating it
    /// is waited for.
    ///
    /// # Errors
    /// [`LockError::Held`] after `timeout`; [`LockError::Io`] when the log cannot be opened for writing.
    pub fn acquire(log: &Path, method: LockMethod, timeout: Duration) -> Result<LogLock, LockError> {
        let started = Instant::now();
        let fail = |source: io::Error| LockError::Io { path: log.to_owned(), source };
        let held =
            |path: &Path, holder: String| LockError::Held { path: path.to_owned(), holder, waited: started.elapsed() };
        let newlock = with_suffix(log, ".newlock");
        let mut dotlock = None;
        if method == LockMethod::Dotlock {
            let path = with_suffix(log, ".lock");
            while let Err(error) = create_dotlock(&path) {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    return Err(LockError::Io { path, source: error });
                }
                if is_stale(&path) {
                    let _ = std::fs::remove_file(&path);
                } else if started.elapsed() >= timeout {
                    let owner = std::fs::read_to_string(&path).unwrap_or_default();
                    let owner = owner.trim();
                    let who =
                        if owner.is_empty() { "the owner of this file".into() } else { format!("process {owner}") };
                    return Err(held(&path, who));
                } else {
                    std::thread::sleep(RETRY);
                }
            }
            dotlock = Some(path);
        }
        let mut lock = LogLock { file: None, stat: None, dotlock };
        loop {
            let file = match open_rw(log) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Whoever creates a log holds this file.
                    if !newlock.exists() || is_stale(&newlock) || method == LockMethod::None {
                        return Ok(lock);
                    }
                    if started.elapsed() >= timeout {
                        return Err(held(&newlock, "a process that is creating the log".into()));
                    }
                    std::thread::sleep(RETRY);
                    continue;
                }
                Err(error) => return Err(fail(error)),
            };
            loop {
                let taken = match method {
                    LockMethod::Fcntl => rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
                    LockMethod::Flock => rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive),
                    LockMethod::Dotlock | LockMethod::None => Ok(()),
                };
                match taken {
                    Ok(()) => break,
                    Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS | rustix::io::Errno::INTR) => {
                        if started.elapsed() >= timeout {
                            return Err(held(log, holder(&file, method)));
                        }
                        std::thread::sleep(RETRY);
                    }
                    Err(error) => return Err(fail(error.into())),
                }
            }
            let stat = Stat::of(&file).map_err(fail)?;
            // Rotated while we waited: the lock is on a file that is .log.2 by now.
            if Stat::at(log).is_ok_and(|now| now.same_file(&stat)) {
                lock.file = Some(file);
                lock.stat = Some(stat);
                return Ok(lock);
            }
            drop(file);
            if started.elapsed() >= timeout {
                return Err(held(log, "nobody, but it is replaced all the time".into()));
            }
        }
    }

    /// The locked log; `None` when there is none.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// The state of the log when it was locked.
    pub fn stat(&self) -> Option<&Stat> {
        self.stat.as_ref()
    }
}

impl Drop for LogLock {
    fn drop(&mut self) {
        self.file = None;
        if let Some(path) = self.dotlock.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn open_rw(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Creates a dotlock as Dovecot does with `dotlock_use_excl`: the name is the lock, the content says whose it is.
fn create_dotlock(path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    write!(file, "{}:{host}", std::process::id())
}

fn is_stale(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > DOTLOCK_STALE))
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

fn process(pid: i32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// The kernel lists BSD locks by inode: `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`.
fn flock_holder(file: &File) -> Option<i32> {
    let inode = file.metadata().ok()?.ino().to_string();
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
    use super::*;

    #[test]
    fn a_missing_log_needs_no_lock_and_a_locked_one_names_its_holder() {
        let dir = tempfile::tempdir().expect("directory");
        let log = dir.path().join("dovecot.index.log");
        let none = LogLock::acquire(&log, LockMethod::Fcntl, Duration::ZERO).expect("nothing to lock");
        assert!(none.file().is_none());
        std::fs::write(&log, b"x").expect("log");
        // flock(2) locks belong to the open file, so one process can be both sides.
        let first = LogLock::acquire(&log, LockMethod::Flock, Duration::ZERO).expect("free");
        let error = LogLock::acquire(&log, LockMethod::Flock, Duration::from_millis(60)).expect_err("held");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        LogLock::acquire(&log, LockMethod::Flock, Duration::ZERO).expect("free again");
    }

    #[test]
    fn a_dotlock_is_created_and_removed() {
        let dir = tempfile::tempdir().expect("directory");
        let log = dir.path().join("dovecot.index.log");
        std::fs::write(&log, b"x").expect("log");
        let lock = LogLock::acquire(&log, LockMethod::Dotlock, Duration::ZERO).expect("free");
        let path = dir.path().join("dovecot.index.log.lock");
        assert!(std::fs::read_to_string(&path).expect("dotlock").starts_with(&format!("{}:", std::process::id())));
        assert!(LogLock::acquire(&log, LockMethod::Dotlock, Duration::ZERO).is_err());
        drop(lock);
        assert!(!path.exists());
    }
}
