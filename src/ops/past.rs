//! The logs that a question about the past is answered from, and what the judge says of the mailbox's files: one
//! opening of one generation for both.

use std::path::Path;

use super::inspect::{self, Look};
use crate::check::{self, Finding, Level, Severity, codes};
use crate::format::index::IndexFile;
use crate::logs::history::{LogError, Logs};
use crate::logs::walk::is_stray;
use crate::model::reach::Indexed;
use crate::source::{Generation, MmapPolicy, Role, Subject};

/// Logs up to this many bytes are judged in memory; of larger ones only what the walk through them finds is said.
const JUDGED: u64 = 8 << 20;
/// The files that tell of the past.
const ROLES: [Role; 4] = [Role::Index, Role::Backup, Role::OldLog, Role::Log];

/// The files of a mailbox, open, and its logs.
#[derive(Debug)]
pub struct Past {
    /// The open files.
    pub generation: Generation,
    /// The logs among them.
    pub logs: Logs,
    /// What is wrong with the files.
    pub verdict: Verdict,
    /// `highest_modseq` of the index, where it was read to be judged and can be used.
    pub(super) highest_modseq: Option<u64>,
    /// The time at which they were opened, UNIX seconds.
    pub now: i64,
}

/// What is wrong with the files of a mailbox.
#[derive(Debug)]
pub struct Verdict {
    /// The judge's word; `None` where it was not asked: for logs too large to be held in memory, and for a log alone.
    judged: Option<Vec<Finding>>,
}

impl Past {
    /// Opens the files of a mailbox, or a log with a name of its own, at `now`, UNIX seconds. They are judged as far
    /// as `level` says: by what the answer rests on.
    ///
    /// # Errors
    /// When there is no log that can be read, or when the files keep being replaced.
    pub fn open(path: &Path, level: Level, mmap: MmapPolicy, now: i64) -> Result<Past, LogError> {
        let subject = Subject::of(path)?;
        let generation = Generation::open(&subject.files, &ROLES)?;
        if is_stray(&subject, &generation) {
            let logs = Logs::stray(&generation, now)?;
            return Ok(Past { generation, logs, verdict: Verdict { judged: None }, highest_modseq: None, now });
        }
        let size = |role| generation.meta(role).map_or(0, |meta| meta.stat.size);
        if size(Role::Log).max(size(Role::OldLog)) > JUDGED {
            let logs = Logs::of(&generation, now)?;
            return Ok(Past { generation, logs, verdict: Verdict { judged: None }, highest_modseq: None, now });
        }
        let by = check::Options { level, mmap, ..check::Options::at(now) };
        let Look { snapshot, mut findings, .. } = inspect::look(&subject.files, &ROLES, &by)?;
        findings.retain(|finding| finding.severity > Severity::Info);
        let index = snapshot.get(Role::Index).and_then(|input| IndexFile::parse(&input.bytes).ok());
        let highest_modseq = index.map(|index| Indexed::highest_modseq_of(&index));
        // The clocks and what never was in the logs are read from these, too.
        let Some(generation) = snapshot.into_generation(&[Role::Index, Role::Backup], JUDGED) else {
            return Err(LogError::NoLog(path.to_owned()));
        };
        let logs = Logs::of(&generation, now)?;
        Ok(Past { generation, logs, verdict: Verdict { judged: Some(findings) }, highest_modseq, now })
    }
}

impl Verdict {
    /// What is wrong. `logs` are those that were opened, once they have been read.
    pub fn problems(&self, logs: &Logs) -> Vec<Finding> {
        match &self.judged {
            Some(findings) => findings.clone(),
            None => {
                let flaws = logs.flaws.iter().flat_map(|(path, flaws)| flaws.iter().map(move |flaw| (path, flaw)));
                flaws.filter_map(|(path, flaw)| codes::flaw(path, flaw)).collect()
            }
        }
    }
}
