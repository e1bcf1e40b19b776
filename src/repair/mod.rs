//! A new set of index files from what survives of the old one: survey the logs, follow every state that can be had to
//! the end of the logs, choose the one that loses least, heal each file, and hold the result against the rules before
//! it is written.

mod base;
mod candidates;
mod changes;
mod choose;
mod demands;
mod doubt;
mod flip;
mod heal;
mod inputs;
mod loss;
mod mails;
mod map;
mod order;
mod outcome;
mod plan;
mod steps;
mod storage;
mod survey;
mod told;
mod verify;

use crate::source::PathError;
use crate::store::StoreError;
use crate::store::lock::LockError;
use crate::store::transaction::CommitError;
pub(crate) use changes::{StorageState, after, before, change, inputs, whole_files};
pub use inputs::{Base, Inputs};
pub use loss::{ExtensionPart, Grade, Loss, NoRecord};
pub use outcome::{Kept, MessageCounts, Plan, Step};
pub use plan::plan;

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No mailbox, or its files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be read, or the result not be written; nothing is changed.
    #[error("{0}; nothing is changed")]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
