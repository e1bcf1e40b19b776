//! One idx at a time works on a directory: a BSD lock on the directory itself, which Dovecot does not ask for, and that
//! ends with the process. It is taken before anything is read, so that whoever comes second plans on what the first
//! has left, and neither removes the temporary files of the other. Dovecot is kept away by its own lock
//! ([`super::lock`]), much later.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use super::StoreError;
use super::dir;
use super::home::Home;
use super::lock::{LockError, flock_holder, process};

/// How often a directory that is taken is asked for again.
const RETRY: Duration = Duration::from_millis(20);

/// While it lives, no other idx changes anything in the directory.
#[derive(Debug)]
pub struct Alone {
    _fd: OwnedFd,
}

impl Alone {
    /// Waits until no other idx is at work in the directory. On a file system without such locks (NFS has none for
    /// directories) nobody is waited for.
    ///
    /// # Errors
    /// [`LockError::Held`] after `timeout`; [`LockError::Io`] when the directory cannot be opened for reading, without
    /// which its names could not be made to last either.
    pub fn in_dir(home: &Home, timeout: Duration) -> Result<Alone, LockError> {
        let started = Instant::now();
        let fail = |source| StoreError::new(home.dir().path(), "cannot open", source);
        let fd = dir::readable(home.dir()).map_err(fail)?;
        loop {
            match retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
                Err(Errno::AGAIN) => {}
                _ => return Ok(Alone { _fd: fd }),
            }
            let waited = started.elapsed();
            if waited >= timeout {
                let holder = flock_holder(&fd).map_or_else(|| "another idx".to_owned(), process);
                return Err(LockError::Held { path: home.dir().path().to_owned(), holder, waited });
            }
            std::thread::sleep(RETRY.min(timeout.saturating_sub(waited)));
        }
    }
}
