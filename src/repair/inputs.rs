//! What a rebuild is given: the bytes of a mailbox's files, and what the mail storage tells.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::source::Role;
pub use crate::storage::Messages as Storage;

/// Where a state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The main index and the logs after it
    Index,
    /// dovecot.index.backup and the logs after it
    Backup,
    /// Logs that start from an empty mailbox
    Log,
    /// The mail storage, and what logs tell of its messages
    Storage,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Index => "index",
            Base::Backup => "backup",
            Base::Log => "log",
            Base::Storage => "storage",
        })
    }
}

/// The bytes of a mailbox's files.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    /// `dovecot.index`.
    pub index: Option<&'a [u8]>,
    /// `dovecot.index.backup`.
    pub backup: Option<&'a [u8]>,
    /// `dovecot.index.log.2`, unless it is the same file as the log.
    pub old_log: Option<&'a [u8]>,
    /// `dovecot.index.log`.
    pub log: Option<&'a [u8]>,
    /// `dovecot.index.cache`.
    pub cache: Option<&'a [u8]>,
    /// What the mail storage tells.
    pub storage: Option<Storage>,
    /// UNIX time, for the header of a new log.
    pub now: u32,
    /// The path of the mailbox's directory.
    pub place: &'a [u8],
    /// Take only this base.
    pub base: Option<Base>,
}

impl<'a> Inputs<'a> {
    /// The bytes of the file with that role.
    pub fn bytes(&self, role: Role) -> Option<&'a [u8]> {
        match role {
            Role::Index => self.index,
            Role::Backup => self.backup,
            Role::OldLog => self.old_log,
            Role::Log => self.log,
            Role::Cache => self.cache,
        }
    }

    /// A GUID that no mailbox has, should this one need it: 128 bits over its place and the time.
    pub fn fresh_guid(&self) -> [u8; 16] {
        let half = |salt: u8| {
            let mut hash = DefaultHasher::new();
            (salt, self.place, self.now).hash(&mut hash);
            u128::from(hash.finish())
        };
        (half(0) << 64 | half(1)).to_be_bytes()
    }
}
