//! `idx modseq`: where HIGHESTMODSEQ and the modseq of every message come from, and what a modseq stands for.

use std::path::Path;

use super::opened::{LoadedMailbox, Opened};
use super::past::Past;
use super::show::ShowError;
use crate::check::{Code, Finding};
use crate::logs::history::LogError;
use crate::logs::modseq::{Decoded, Located, decode, locate};
use crate::model::LogPos;
use crate::model::mailbox::ModseqHeader;
use crate::model::reach::Indexed;
use crate::source::Role;

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.modseq/1";

/// What index and logs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The modseq header of the index file; `None` without a file or without the extension.
    pub index: Option<ModseqHeader>,
    /// What the log counts at the position of that header; `None` when the log of that position is gone.
    pub counted: Option<u64>,
    /// What the logs count at their end, and where that is.
    pub log: Option<(u64, LogPos)>,
}

/// Everything about a mailbox's modseqs.
#[derive(Debug)]
pub struct Overview<'s> {
    /// The mailbox.
    pub state: LoadedMailbox<'s>,
    /// What its files count.
    pub agreement: Agreement,
}

impl Overview<'_> {
    /// Whether the index's modseq header and the logs count the same: the judge's word.
    pub fn agree(&self) -> bool {
        !self.state.problems.iter().any(|finding: &Finding| matches!(finding.code, Code::I17 | Code::L18))
    }
}

/// Reads everything about a mailbox's modseqs.
///
/// # Errors
/// When its files are no index files.
pub fn overview<'s>(path: &Path, opened: &'s Opened) -> Result<Overview<'s>, ShowError> {
    let state = opened.state(path)?;
    let index = super::load::base(&opened.snapshot, Role::Index).and_then(|mailbox| mailbox.modseq_header());
    let chain = &state.chain;
    let counted = index.and_then(|header| {
        let file = chain.position_of(header.log_seq)?;
        Some(chain.modseq_at(file, u64::from(header.log_offset), None))
    });
    let log = chain.head().map(|head| (head.end_modseq, chain.end()));
    Ok(Overview { agreement: Agreement { index, counted, log }, state })
}

/// Finds the log position that a modseq stands for.
///
/// # Errors
/// When a log cannot be read.
pub fn locate_in(past: &mut Past, modseq: u64) -> Result<Located, LogError> {
    past.logs.find_ends()?;
    let indexed = match past.highest_modseq {
        Some(modseq) => Some(modseq),
        None => super::expunges::indexed(&past.generation, Indexed::highest_modseq_of)?,
    };
    Ok(locate(&mut past.logs, modseq, indexed.unwrap_or(0))?)
}

/// Takes a number apart.
///
/// # Errors
/// When a log cannot be read.
pub fn decode_in(past: &mut Past, value: u64) -> Result<Decoded, LogError> {
    past.logs.find_ends()?;
    Ok(decode(&mut past.logs, value)?)
}
