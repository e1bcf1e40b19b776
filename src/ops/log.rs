//! `idx log`: the joined history of a mailbox's logs, and what the judge says of them.

use std::path::Path;

use super::past::{Past, Verdict};
use crate::check::{Finding, Level};
use crate::logs::history::LogError;
use crate::logs::walk::History;
use crate::source::MmapPolicy;

/// A history that is open.
#[derive(Debug)]
pub struct OpenHistory {
    /// The history.
    pub history: History,
    verdict: Verdict,
}

impl OpenHistory {
    /// Opens the logs of a mailbox, or a log with a name of its own, at `now`, UNIX seconds. `is_timed` says that the
    /// times of records will be asked for, which takes a pass over the logs.
    ///
    /// # Errors
    /// When there is no readable log.
    pub fn open(path: &Path, is_timed: bool, mmap: MmapPolicy, now: i64) -> Result<OpenHistory, LogError> {
        let Past { generation, logs, verdict, now, .. } = Past::open(path, Level::Files, mmap, now)?;
        Ok(OpenHistory { history: History::of(generation, logs, is_timed, now)?, verdict })
    }

    /// What is wrong with the files: all of it once the history has been read.
    pub fn problems(&self) -> Vec<Finding> {
        self.verdict.problems(&self.history.logs)
    }
}
