//! `idx expunges`: which messages were expunged, when, by whom, and how far back the logs know.

use std::collections::HashMap;
use std::path::Path;

use super::past::{Past, Verdict};
use super::whereabouts;
use crate::check::{Code, Finding, Level};
use crate::format::index::IndexFile;
use crate::logs::clock::Clock;
use crate::logs::expunges::Expunges;
pub use crate::logs::expunges::{Options, Since};
use crate::logs::history::LogError;
use crate::model::reach::Indexed;
use crate::source::{Generation, MmapPolicy, PathError, Role};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.expunges/1";

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The expunges.
    pub expunges: Expunges,
    /// Where those mails are that are in another mailbox of the user, by GUID.
    pub moved_to: HashMap<[u8; 16], whereabouts::Message>,
    verdict: Verdict,
}

impl Report {
    /// What is wrong with the files.
    pub fn problems(&self) -> Vec<Finding> {
        let cut = self.expunges.cut.iter().map(|(path, offset)| {
            let message = "expunge: more UIDs than there ever were; the list is cut there";
            Finding::new(Code::L14, path, message).at(*offset)
        });
        self.verdict.problems(&self.expunges.logs).into_iter().chain(cut).collect()
    }
}

/// What the index of a generation says alone; `None` when there is none that can be used.
///
/// # Errors
/// As read(2).
pub(super) fn indexed<T>(
    generation: &Generation,
    what: impl FnOnce(&IndexFile<'_>) -> T,
) -> Result<Option<T>, PathError> {
    let input = generation.input(Role::Index, MmapPolicy::Auto)?;
    Ok(input.and_then(|input| IndexFile::parse(&input.bytes).ok().map(|index| what(&index))))
}

/// Reads the logs of a mailbox at `now`, UNIX seconds.
///
/// # Errors
/// When there are no logs, or they cannot be read.
pub fn read(path: &Path, options: &Options, mmap: MmapPolicy, now: i64) -> Result<Report, LogError> {
    let Past { generation, logs, verdict, now, .. } = Past::open(path, Level::Uids, mmap, now)?;
    let clock = Clock::build(&generation, now)?;
    let indexed = indexed(&generation, Indexed::of)?;
    let expunges = Expunges::read(logs, clock, indexed.as_ref(), options)?;
    let moved_to = whereabouts::find(generation.files(), &expunges.guids(), mmap);
    Ok(Report { expunges, moved_to, verdict })
}
