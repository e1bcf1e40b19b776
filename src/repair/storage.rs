//! What the mail storage itself says about UIDs: the uidlist of a Maildir, the file names of an sdbox. It is asked only about
//! messages whose index record is damaged, and nothing of it is changed.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::source::Family;

/// How much of a uidlist is read.
const MAX_UIDLIST: u64 = 256 << 20;

/// The messages a mail storage has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// What it is.
    pub format: &'static str,
    /// Their UIDs, rising.
    pub uids: Vec<u32>,
    /// UIDVALIDITY, if the storage keeps it.
    pub uid_validity: Option<u32>,
}

impl Storage {
    /// Looks for a storage beside an index.
    pub fn find(index: &Path) -> Option<Storage> {
        if index.file_name()? != Family::Mailbox.prefix() {
            return None;
        }
        let dir = index.parent()?;
        let uidlist = dir.join("dovecot-uidlist");
        if std::fs::metadata(&uidlist).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_UIDLIST) {
            return Storage::maildir(&std::fs::read(&uidlist).ok()?, &maildir_files(dir));
        }
        let mut uids: Vec<u32> = std::fs::read_dir(dir)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("u.")?.parse().ok())
            .collect();
        uids.sort_unstable();
        (!uids.is_empty()).then_some(Storage { format: "sdbox", uids, uid_validity: None })
    }

    /// A uidlist of version 3: `3 V<uidvalidity> N<next uid> G<guid>`, then `<uid> [fields] :<file name>` a line. It still
    /// names files that are gone, so only those in `files` count. `None` when there is not one of them: then the list came
    /// without its messages.
    fn maildir(bytes: &[u8], files: &HashSet<Vec<u8>>) -> Option<Storage> {
        let mut lines = bytes.split(|b| *b == b'\n');
        let head = String::from_utf8_lossy(lines.next()?);
        let mut words = head.split(' ');
        if words.next()? != "3" {
            return None;
        }
        let uid_validity = words.find_map(|word| word.strip_prefix('V')?.parse().ok());
        let uid = |line: &[u8]| {
            let name_at = line.windows(2).position(|pair| pair == b" :")? + 2;
            let name = base_name(line.get(name_at..)?);
            let uid = line.split(|b| *b == b' ').next()?;
            files.contains(name).then(|| std::str::from_utf8(uid).ok()?.parse().ok())?
        };
        let mut uids: Vec<u32> = lines.filter_map(uid).collect();
        uids.sort_unstable();
        uids.dedup();
        (!uids.is_empty()).then_some(Storage { format: "maildir", uids, uid_validity })
    }

    /// The UIDs between two others.
    pub fn between(&self, low: u32, high: u32) -> &[u32] {
        let from = self.uids.partition_point(|uid| *uid <= low);
        let to = self.uids.partition_point(|uid| *uid < high);
        self.uids.get(from..to.max(from)).unwrap_or_default()
    }
}

/// The part of a file's name that stays when its flags change.
fn base_name(name: &[u8]) -> &[u8] {
    name.split(|b| *b == b':').next().unwrap_or(name)
}

fn maildir_files(dir: &Path) -> HashSet<Vec<u8>> {
    let entries = ["cur", "new"].into_iter().filter_map(|sub| std::fs::read_dir(dir.join(sub)).ok()).flatten();
    entries.filter_map(|entry| Some(base_name(entry.ok()?.file_name().as_bytes()).to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first lines of a uidlist that Dovecot 2.3.19.1 wrote.
    #[test]
    fn a_uidlist_tells_uids_and_uidvalidity() {
        let text = b"3 V1795410600 N49 Ga055102ca8ca036b6f3b000083ecc375\n1 :1795410600.M739268P15215.vm,S=437,W=448\n\
            12 W5 :1795410600.M739269P15215.vm,S=596\n13 :gone\n";
        let files = ["1795410600.M739268P15215.vm,S=437,W=448", "1795410600.M739269P15215.vm,S=596"];
        let files = files.map(|name| name.as_bytes().to_vec()).into();
        let storage = Storage::maildir(text, &files).expect("version 3");
        assert_eq!((storage.uids.as_slice(), storage.uid_validity), (&[1, 12][..], Some(1_795_410_600)));
        assert_eq!(storage.between(1, 12), &[] as &[u32]);
        assert_eq!(storage.between(0, 13), &[1, 12]);
    }
}
