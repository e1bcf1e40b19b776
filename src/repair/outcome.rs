//! What a rebuild comes to: changes on disk in their order, what is kept, and what is lost.

use serde::Serialize;

use super::inputs::Base;
use super::loss::Loss;
use crate::model::UidSet;

/// One change on disk. They are made in the order of the plan; the index is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The log ends here now.
    CutLog(u64),
    /// The log becomes `.log.2`, as it is.
    LinkOldLog,
    /// `.log.2` becomes this.
    WriteOldLog(Vec<u8>),
    /// The log becomes this.
    WriteLog(Vec<u8>),
    /// Log and `.log.2` change places.
    ExchangeLogs,
    /// `.log.2` goes.
    RemoveOldLog,
    /// The cache goes.
    RemoveCache,
    /// The index becomes this.
    WriteIndex(Vec<u8>),
}

impl Step {
    /// The step in words, with its reason. `index` is the name of the index, by which its log is called too.
    pub fn describe(&self, index: &str, why: &str) -> String {
        match self {
            Step::CutLog(len) => format!("cut {index}.log to {len} bytes: {why}"),
            Step::LinkOldLog | Step::WriteOldLog(_) => format!("the old log becomes .log.2: {why}"),
            Step::WriteLog(_) => format!("write a new log: {why}"),
            Step::ExchangeLogs => format!("exchange .log and .log.2: {why}"),
            Step::RemoveOldLog => format!("remove .log.2: {why}"),
            Step::RemoveCache => format!("remove the cache: {why}"),
            Step::WriteIndex(bytes) => format!("write the index, {} bytes: {why}", bytes.len()),
        }
    }
}

/// How well the messages of the result are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessageCounts {
    /// All messages.
    pub total: u64,
    /// Every bit follows from log records.
    pub proven: u64,
    /// Taken over from a sound index or backup.
    pub carried: u64,
    /// Taken from a damaged file.
    pub salvaged: u64,
}

/// What stays as it is, so that no client has to synchronise anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Ties index, log and cache.
    pub indexid: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub next_uid: u32,
    /// HIGHESTMODSEQ.
    pub highest_modseq: u64,
    /// By how much that was raised because log records are lost; 0 otherwise.
    pub highest_modseq_raised_by: u64,
    /// Keyword names in the order of their bits.
    pub keywords: Vec<String>,
    /// Extensions in the order of their numbers.
    pub extensions: Vec<String>,
    /// The byte order of the result: a Dovecot on a host of the other one throws it away.
    pub byte_order: String,
    /// Messages whose data in the cache stays linked.
    pub cache_links: u64,
}

/// A plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the state is based on; `None` when there is no state.
    pub base: Option<Base>,
    /// The changes, each with its reason.
    pub steps: Vec<(Step, String)>,
    /// How well the messages are known.
    pub messages: MessageCounts,
    /// What is lost with these changes.
    pub lost: Vec<Loss>,
    /// What is kept.
    pub kept: Option<Kept>,
    /// Why it must not be done whatever is accepted.
    pub refusal: Option<String>,
    /// The index at the end of the logs, whether it is to be written or not.
    pub index: Vec<u8>,
    /// Mails of a map whose metadata this rests on, and that were not read.
    pub asks: UidSet,
}
