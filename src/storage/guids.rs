//! Which messages of a mailbox are a mail, by its GUID: one that was moved or copied keeps it. A Maildir has it in the
//! file's name or in `dovecot-uidlist`, an mdbox in the index. Servers log no GUID of what they expunge from an sdbox
//! (2.3.19.1 and 2.4.1), and an mbox has none that lasts.

use std::collections::{HashMap, HashSet};

use sha1::{Digest, Sha1};

use super::maildir::{self, Asked, Maildir};
use super::{Witness, load};
use crate::source::place::guid_of;
use crate::source::{MailboxFiles, MmapPolicy};

/// The 128 bits of a GUID that is a text (`mail_generate_guid_128_hash`).
fn of_text(text: &[u8]) -> [u8; 16] {
    guid_of(text).unwrap_or_else(|| {
        let hash: [u8; 20] = Sha1::digest(text).into();
        let mut guid = [0; 16];
        guid.copy_from_slice(&hash[4..]);
        guid
    })
}

/// The messages of a mailbox that have one of these GUIDs, as GUID and UID. Nothing where the storage cannot be read.
pub fn holders(files: &MailboxFiles, wanted: &HashSet<[u8; 16]>, mmap: MmapPolicy) -> Vec<([u8; 16], u32)> {
    let Ok(dir) = files.dir() else { return Vec::new() };
    if maildir::list_places(dir).iter().any(|dir| dir.stat("dovecot-uidlist").is_ok()) {
        return match Maildir::read(dir, &Asked::default()) {
            Witness::Maildir(maildir) => in_maildir(&maildir, wanted),
            _ => Vec::new(),
        };
    }
    let Some(mailbox) = load(files, mmap) else { return Vec::new() };
    let Some(ext) = mailbox.extension(b"guid") else { return Vec::new() };
    let guid = |i: usize| Some((mailbox.ext_bytes(i, ext)?.try_into().ok()?, mailbox.uid(i)));
    mailbox.positions().filter_map(guid).filter(|(guid, _)| wanted.contains(guid)).collect()
}

fn in_maildir(maildir: &Maildir, wanted: &HashSet<[u8; 16]>) -> Vec<([u8; 16], u32)> {
    let Ok(file) = &maildir.uidlist else { return Vec::new() };
    let told: HashMap<u32, &[u8]> = file.list.guids.iter().map(|(uid, guid)| (*uid, guid.as_slice())).collect();
    let guid = |uid: u32, name: &[u8]| of_text(told.get(&uid).copied().unwrap_or(name));
    let all = file.list.entries.iter().map(|(uid, name)| (guid(*uid, name), *uid));
    let found: Vec<_> = all.filter(|(guid, _)| wanted.contains(guid)).collect();
    if found.is_empty() {
        return found;
    }
    // A line may outlive its file.
    let there: HashSet<u32> = maildir.with_files().into_iter().collect();
    found.into_iter().filter(|(_, uid)| there.contains(uid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_of_names() {
        // SHA-1 of "abc" (FIPS 180), without its first four bytes.
        let abc = [0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8];
        assert_eq!(of_text(b"abc"), [&abc[1..], &[0x9d]].concat().as_slice());
        assert_eq!(of_text(b"18013624bbf5036bf063000083ecc375")[..2], [0x18, 0x01]);
    }
}
