//! What the judge's findings in the result of one plan ask of the next.

use crate::check::{Code, Finding};
use crate::source::{MailboxFiles, Role};

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
                if rounds > PATIENCE {
                    self.give_up_log = true;
                    self.log.push(why.clone());
                }
                self.index.push(why);
            }
        }
        for list in [&mut self.log, &mut self.old, &mut self.index] {
            let mut seen = std::collections::HashSet::new();
            list.retain(|why| seen.insert(why.clone()));
        }
    }
}
