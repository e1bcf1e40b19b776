//! What the judge of [`check`](crate::check) says of a plan's result, before anything of it is written, and what the
//! next plan has to do about it.

use std::sync::Arc;

use super::changes::after;
use super::inputs::Inputs;
use super::outcome::Plan;
use crate::check::{self, Finding, Severity};
use crate::source::{Bytes, Input, MailboxFiles, Role, Stat};

/// Files that no plan changes, copied once for all that the judge is asked.
#[derive(Debug, Default)]
pub struct Unchanged(Vec<(Role, Arc<[u8]>)>);

impl Unchanged {
    /// The bytes that a plan leaves in a file.
    fn bytes(&mut self, role: Role, left: &[u8], before: Option<&[u8]>) -> Bytes {
        if !before.is_some_and(|before| std::ptr::eq(before, left)) {
            return Bytes::Owned(left.to_vec());
        }
        let known = self.0.iter().find(|(have, _)| *have == role).map(|(_, bytes)| Arc::clone(bytes));
        Bytes::Shared(known.unwrap_or_else(|| {
            let bytes: Arc<[u8]> = left.into();
            self.0.push((role, Arc::clone(&bytes)));
            bytes
        }))
    }
}

/// What is wrong with the files as a plan would leave them, as far as a rebuild answers for it.
pub fn judge(files: &MailboxFiles, inputs: &Inputs<'_>, plan: &Plan, unchanged: &mut Unchanged) -> Vec<Finding> {
    let before = Role::ALL.into_iter().map(|role| (role, inputs.bytes(role))).collect();
    let left = after(&before, plan);
    let list = left.into_iter().enumerate().filter_map(|(i, (role, bytes))| {
        let bytes = bytes?;
        // Files in memory have no inode; all that counts is that they are different ones.
        let stat = Stat { dev: 0, ino: i as u64 + 1, size: bytes.len() as u64, mtime: (0, 0) };
        Some((role, Input { bytes: unchanged.bytes(role, bytes, inputs.bytes(role)), stat }))
    });
    let options = check::Options::at(i64::from(inputs.now));
    let mut found = check::snapshot(files, &list.collect(), &options);
    found.retain(|one| {
        let unusable_cache = one.file == files.path(Role::Cache) && one.severity == Severity::Error;
        unusable_cache || one.is_mended_by_rebuild()
    });
    found
}
