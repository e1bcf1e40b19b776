//! Waiting for a directory to change.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

use super::MailboxFiles;

/// Wakes a reader when a file in a directory is written to or replaced.
#[derive(Debug)]
pub struct Watch {
    /// `None` where the system cannot tell: then every wait takes its full time.
    inotify: Option<OwnedFd>,
}

impl Watch {
    /// Watches the directory of a mailbox: the one that was opened, whatever its path leads to by now.
    pub fn new(files: &MailboxFiles) -> Watch {
        let wanted = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let place = files.dir().ok().map(|dir| format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
        let watched = |fd: &OwnedFd| place.is_some_and(|place| add_watch(fd, place, wanted).is_ok());
        Watch { inotify: inotify.filter(watched) }
    }

    /// Waits until something happens, but no longer than `most`. May return early for no reason.
    pub fn wait(&self, most: Duration) {
        let Some(inotify) = &self.inotify else { return std::thread::sleep(most) };
        let timeout = Timespec::try_from(most).ok();
        let mut fds = [PollFd::new(inotify, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            // What happened does not matter: the files are looked at in any case.
            Ok(n) if n > 0 => while rustix::io::read(inotify, &mut [0_u8; 4096]).is_ok_and(|n| n > 0) {},
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::thread::sleep(most),
        }
    }
}
