//! What is to be said between the records of a history.

use std::path::PathBuf;

use crate::model::LogPos;

/// What is worth a word between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteKind {
    /// The history of the index begins.
    Start,
    /// The history begins in the middle: older logs are gone.
    Begins,
    /// `.log` continues `.log.2`.
    Rotation,
    /// Records between two files are lost.
    Gap,
    /// A log that starts from an empty index although there was one.
    Reset,
    /// A `.log.2` that does not belong before `.log`.
    LeftOut,
    /// The mailbox was recreated while it was followed.
    Recreated,
    /// An unfinished transaction that is being written.
    Tail,
    /// An unfinished transaction that nobody is writing any more.
    TornTail,
    /// Bytes that are no records, or a file that is no log.
    Damage,
}

impl NoteKind {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            NoteKind::Start => "start",
            NoteKind::Begins => "begins",
            NoteKind::Rotation => "rotation",
            NoteKind::Gap => "gap",
            NoteKind::Reset => "reset",
            NoteKind::LeftOut => "left_out",
            NoteKind::Recreated => "recreated",
            NoteKind::Tail => "tail",
            NoteKind::TornTail => "torn_tail",
            NoteKind::Damage => "damage",
        }
    }
}

/// A word between two records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// The file.
    pub file: PathBuf,
    /// Where it belongs.
    pub pos: LogPos,
    /// Where records can be read again, for damage; byte offset.
    pub resumes_at: Option<u64>,
    /// In words.
    pub message: String,
    /// True for what must not be in sound files.
    pub finding: bool,
}
