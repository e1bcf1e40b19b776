//! What the judge of [`check`](crate::check) says of a plan's result, before anything of it is written, and what the
//! next plan has to do about it.

use std::sync::Arc;

use super::changes::after;
use super::plan::{Inputs, Plan};
use crate::check::{self, Code, Finding, Severity};
use crate::source::{Bytes, Input, MailboxFiles, Role, Stat};

/// Plans after which what is left of a log is not mended any more, but given up.
const PATIENCE: usize = 3;

/// What a plan has to do because the judge found fault with the one before it.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Why the log cannot stay.
    pub log: Vec<String>,
    /// The log sets a tail where none of its records ends: what stands before it may be of another log.
    pub alien_tail: bool,
    /// Places in the log whose records must mean nothing in the copy that becomes `.log.2`.
    pub silent: Vec<u64>,
    /// Why `.log.2` cannot stay as it is.
    pub old: Vec<String>,
    /// Places in `.log.2` whose records must mean nothing.
    pub old_silent: Vec<u64>,
    /// Damaged logs are given up with the history in them.
    pub give_up_log: bool,
    /// `.log.2` is given up.
    pub give_up_old: bool,
    /// Why the index must be written.
    pub index: Vec<String>,
    /// Why the cache goes.
    pub cache: Option<String>,
    /// What the logs tell from the beginning counts, not the index.
    pub logs_win: bool,
    /// The modseq header is what the log counts.
    pub modseq: bool,
    /// Flag bits that mean nothing are cleared.
    pub flags: bool,
    /// Keyword bits without a keyword are cleared.
    pub keywords: bool,
    /// The sum of sizes is forgotten, so that Dovecot counts anew.
    pub vsize: bool,
    /// The tail is set anew.
    pub tail: bool,
}

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

impl Demands {
    /// Takes in what the judge found after so many plans.
    pub fn learn(&mut self, files: &MailboxFiles, found: &[Finding], rounds: usize) {
        let name = |role: Role| files.path(role);
        for one in found {
            let why = format!("{}: {}", one.code, one.message);
            if one.file == name(Role::Cache) {
                self.cache.get_or_insert(why);
            } else if one.file == name(Role::Log) {
                self.log.push(why);
                self.silent.extend(one.offset);
                self.alien_tail |= one.code == Code::L16;
                self.give_up_log |= rounds >= PATIENCE;
            } else if one.file == name(Role::OldLog) {
                match one.code {
                    Code::L4 | Code::L5 => {}
                    Code::L1 | Code::L3 | Code::L6 | Code::L7 | Code::L8 | Code::L9 => self.give_up_old = true,
                    _ => self.old_silent.extend(one.offset),
                }
                self.old.push(why);
                self.give_up_old |= rounds >= PATIENCE;
            } else {
                match one.code {
                    Code::I9 => self.flags = true,
                    Code::I11 => self.tail = true,
                    Code::I16 => self.keywords = true,
                    Code::I17 => self.modseq = true,
                    Code::I19 => self.vsize = true,
                    _ => self.logs_win = true,
                }
                self.index.push(why);
                self.give_up_log |= rounds > PATIENCE;
            }
        }
        for list in [&mut self.log, &mut self.old, &mut self.index] {
            let mut seen = std::collections::HashSet::new();
            list.retain(|why| seen.insert(why.clone()));
        }
    }
}
