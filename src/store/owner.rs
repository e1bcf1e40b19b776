//! The rights of somebody else: root works on a mailbox as its owner, in a thread that the system takes for that user.

use std::io;
use std::sync::OnceLock;

use rustix::fs::{Gid, Uid};
use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::source::Meta;

static ROOT: OnceLock<bool> = OnceLock::new();

/// True when idx was started as root, whatever the rights of this thread are.
pub fn started_as_root() -> bool {
    *ROOT.get_or_init(|| geteuid().is_root())
}

/// Whose rights a piece of work needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Rights {
    /// Those of the owner of a directory. Group and further groups are the ones that `/etc/passwd` and `/etc/group`
    /// give that user; a user who is not there, as those of a virtual domain, has the group of the directory alone.
    pub fn of_owner(dir: &Meta) -> Rights {
        started_as_root();
        let (uid, gid) = (dir.uid, dir.gid);
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        match (uid, geteuid().is_root()) {
            (0, _) | (_, false) => Rights { uid, gid, groups: Vec::new() },
            _ => Rights::from_tables(uid, gid, &read("/etc/passwd"), &read("/etc/group")),
        }
    }

    fn from_tables(uid: u32, gid: u32, passwd: &str, group: &str) -> Rights {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
        let user = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (number(fields.nth(1)) == Some(uid)).then(|| Some((name, number(fields.next())?)))?
        });
        let Some((name, gid)) = user else { return Rights { uid, gid, groups: Vec::new() } };
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let id = number(fields.nth(2))?;
            fields.next()?.split(',').any(|member| member == name).then_some(id)
        });
        Rights { uid, gid, groups: groups.collect() }
    }

    /// Only the *effective* ids change: files are judged by these, while the real and the saved ones decide who may
    /// send signals or trace, and the owner of a mailbox must not stop a run over the mailboxes of others.
    fn take(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(None, Gid::from_raw(self.gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(self.uid), None)?;
        if geteuid() != Uid::from_raw(self.uid) {
            return Err(io::Error::other("the system did not change the rights"));
        }
        Ok(())
    }
}

/// Does a piece of work with these rights, if this thread is root and they are not root's: in a thread of its own,
/// which ends with the work. Everybody else works with the rights he has.
///
/// # Errors
/// When the system refuses the thread or the change.
pub fn with<T: Send>(rights: &Rights, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if !geteuid().is_root() || rights.uid == 0 {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("owner".into()).spawn_scoped(scope, || {
            rights.take()?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_from_the_system_for_its_own_users_and_from_the_directory_for_others() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nbroken\n";
        let group = "mail:x:8:ann,bob\nann:x:1000:\nadm:x:4:bob\nshared:x:1002:joan,ann\n";
        let ann = Rights::from_tables(1000, 8, passwd, group);
        assert_eq!(ann, Rights { uid: 1000, gid: 1000, groups: vec![8, 1002] });
        assert_eq!(Rights::from_tables(5000, 5001, passwd, group), Rights { uid: 5000, gid: 5001, groups: Vec::new() });
    }

    #[test]
    fn only_the_thread_of_the_work_has_other_rights() {
        if !geteuid().is_root() {
            return;
        }
        let rights = Rights { uid: 65_534, gid: 65_534, groups: Vec::new() };
        let inside = with(&rights, || (geteuid().as_raw(), std::fs::read("/etc/shadow").is_ok())).expect("changed");
        assert_eq!((inside, geteuid().as_raw()), ((65_534, false), 0));
    }
}
