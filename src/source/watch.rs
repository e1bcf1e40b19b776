//! Waiting for a directory to change.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

/// Wakes a reader when a file in a directory is written to or replaced.
#[derive(Debug)]
pub struct Watch {
    /// `None` where the system cannot tell: then every wait takes its full time.
    inotify: Option<OwnedFd>,
}

impl Watch {
    /// Watches a directory.
    pub fn new(dir: &Path) -> Watch {
        let wanted = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Watch { inotify: inotify.filter(|fd| add_watch(fd, dir, wanted).is_ok()) }
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
