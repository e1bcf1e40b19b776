//! POSIX access lists, as the kernel codes them in extended attributes (`linux/posix_acl_xattr.h`): a version of four
//! bytes, then entries of tag and permissions, 16 bits each, and id, 32 bits, all little-endian.
//!
//! A file that Dovecot makes has what the default list of its directory gives it, cut down to the mode that Dovecot
//! asks for, and no list where the directory has no default one: a list that somebody gave a file is gone after the
//! next rewrite (seen with 2.3.19). Here such a list stays, as nobody gets a right by that who had none.

use std::io;
use std::os::fd::AsFd;

use rustix::io::{Errno, retry_on_intr};

/// The list of a file or directory.
pub const ACCESS: &str = "system.posix_acl_access";
/// The list that files in a directory begin with.
pub const DEFAULT: &str = "system.posix_acl_default";

const HEAD: usize = 4;
const ENTRY: usize = 8;
const USER_OBJ: u8 = 0x01;
const GROUP_OBJ: u8 = 0x04;
const MASK: u8 = 0x10;
const OTHER: u8 = 0x20;
/// Largest extended attribute of Linux.
const MAX_XATTR: usize = 1 << 16;

/// An extended attribute; `None`: it has none of that name, or the file system knows none.
///
/// # Errors
/// As fgetxattr(2).
pub fn xattr(file: impl AsFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; MAX_XATTR];
    match retry_on_intr(|| rustix::fs::fgetxattr(&file, name, &mut value[..])) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The permissions of the first entry with that tag.
fn permissions(acl: &[u8], tag: u8) -> Option<u32> {
    let entries = acl.get(HEAD..)?.chunks_exact(ENTRY);
    entries.filter(|entry| entry.starts_with(&[tag, 0])).find_map(|entry| Some(u32::from(*entry.get(2)?)))
}

/// The list and the mode of a file that is made with `mode` in a directory with this default list (`posix_acl_create`
/// in the kernel). `None`: it is no list.
pub fn inherited(default: &[u8], mode: u32) -> Option<(Vec<u8>, u32)> {
    let group = if permissions(default, MASK).is_some() { MASK } else { GROUP_OBJ };
    let mut acl = default.to_vec();
    let mut made = 0;
    for (tag, shift) in [(USER_OBJ, 6), (group, 3), (OTHER, 0)] {
        let allowed = permissions(default, tag)? & (mode >> shift) & 7;
        made |= allowed << shift;
        let entry = acl.get_mut(HEAD..)?.chunks_exact_mut(ENTRY).find(|entry| entry.starts_with(&[tag, 0]))?;
        *entry.get_mut(2)? = u8::try_from(allowed).ok()?;
    }
    Some((acl, made))
}

/// The mode of something with a list as it would be without: what looks like the rights of the group is the mask.
pub fn plain_mode(mode: u32, acl: Option<&[u8]>) -> u32 {
    match acl.and_then(|acl| permissions(acl, GROUP_OBJ)) {
        Some(group) => (mode & !0o070) | (mode & (group & 7) << 3),
        None => mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u8, u8, u32)]) -> Vec<u8> {
        let one = |(tag, bits, id): &(u8, u8, u32)| [&[*tag, 0, *bits, 0], id.to_le_bytes().as_slice()].concat();
        [vec![2, 0, 0, 0], entries.iter().flat_map(one).collect()].concat()
    }

    #[test]
    fn a_new_file_has_the_list_of_its_directory_within_its_mode() {
        let none = u32::MAX;
        let list = |user, group, mask, other| {
            acl(&[(1, user, none), (2, 7, 1234), (4, group, none), (0x10, mask, none), (0x20, other, none)])
        };
        assert_eq!(inherited(&list(7, 0, 7, 0), 0o660), Some((list(6, 0, 6, 0), 0o660)));
        assert_eq!(inherited(&list(7, 5, 7, 4), 0o600), Some((list(6, 5, 0, 0), 0o600)));
        let short = |group| acl(&[(1, 6, none), (4, group, none), (0x20, 0, none)]);
        assert_eq!(inherited(&short(6), 0o644), Some((short(4), 0o640)));
        assert_eq!(inherited(b"", 0o644), None);
        assert_eq!(inherited(&[2, 0, 0, 0, 1], 0o644), None);
        assert_eq!(plain_mode(0o660, Some(&list(6, 0, 6, 0))), 0o600);
        assert_eq!(plain_mode(0o664, Some(&list(6, 4, 6, 0))), 0o644);
        assert_eq!(plain_mode(0o664, None), 0o664);
    }
}
