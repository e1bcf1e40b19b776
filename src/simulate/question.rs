//! The question that a simulation answers, and the mailbox or traffic it is asked of.

use std::path::{Path, PathBuf};

use super::advise::Want;
use super::now;
use super::past::KnownMailbox;
use super::retention::Population;
use super::settings::{DAY, Settings, Version};
use super::synthetic::Synthetic;
use super::trace::Trace;
use super::workload::Scenario;
use crate::source::{MmapPolicy, PathError};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.simulate/1";

/// What happens in the simulation.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Each mailbox's own past, repeated.
    Replay,
    /// Made-up traffic.
    Synthetic(Synthetic),
    /// Recorded events, exactly.
    Trace(Trace),
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The settings.
    pub settings: Settings,
    /// Whose rules.
    pub version: Version,
    /// What happens.
    pub workload: Workload,
    /// The present, UNIX seconds.
    pub now: i64,
    /// Seconds to simulate; `None`: as long as the workload suggests.
    pub span: Option<i64>,
    /// Times away to answer for, seconds.
    pub offline: Vec<i64>,
    /// The clients there are.
    pub population: Option<Population>,
    /// Settings to look for.
    pub want: Option<Want>,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is nothing to simulate with.
    #[error("{}: {reason}", path.display())]
    Mailbox {
        /// The mailbox.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The question does not make sense.
    #[error("{0}")]
    Question(String),
}

impl SimulateError {
    /// The path that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SimulateError::Mailbox { path, .. } => Some(path),
            SimulateError::Path(
                PathError::Io { path, .. }
                | PathError::NoIndex(path)
                | PathError::Above { path, .. }
                | PathError::Unknown { path, .. }
                | PathError::Busy(path),
            ) => Some(path),
            SimulateError::Question(_) => None,
        }
    }
}

/// Days that are simulated when nobody says how many.
const DEFAULT_SPAN: i64 = 30 * DAY;

/// A mailbox, or no particular one, ready to be simulated.
#[derive(Debug)]
pub struct SimulatedMailbox {
    /// Where it is; `None` for traffic without a mailbox.
    pub path: Option<PathBuf>,
    /// Its proper name, if it was found in a tree.
    pub name: Option<PathBuf>,
    /// Whose mailbox it is, if it was found in a tree that tells.
    pub user: Option<String>,
    /// What its files say.
    pub state: Option<KnownMailbox>,
    /// What happens to it; `Err` when that cannot be told.
    pub scenario: Result<Scenario, String>,
    /// What is wrong with its files.
    pub problems: Vec<(PathBuf, String)>,
    /// What its files are now.
    pub now: Option<now::OldestLog>,
}

/// Traffic without a mailbox.
///
/// # Errors
/// When there can be none: a replay needs a mailbox.
pub fn traffic(options: &Options) -> Result<SimulatedMailbox, SimulateError> {
    let scenario = prepare(None, options).map_err(SimulateError::Question)?;
    Ok(SimulatedMailbox {
        path: None,
        name: None,
        user: None,
        state: None,
        scenario: Ok(scenario),
        problems: Vec::new(),
        now: None,
    })
}

/// What happens to a mailbox in that state, or to a new one.
///
/// # Errors
/// When there is nothing that could happen, in words.
pub fn prepare(state: Option<&KnownMailbox>, options: &Options) -> Result<Scenario, String> {
    // To tell how often a window of that length is kept, several of them must fit.
    let wanted = options.want.map_or(0, |want| want.offline.saturating_mul(4));
    let span = options.span.unwrap_or(DEFAULT_SPAN.max(wanted));
    let end = options.now.saturating_add(span);
    match (&options.workload, state) {
        (Workload::Replay, Some(state)) => state.replay(end),
        (Workload::Replay, None) => Err("a replay needs a mailbox: give a PATH, or --synthetic or --trace".into()),
        (Workload::Synthetic(synthetic), state) => {
            let mut scenario = synthetic.scenario(options.now, end)?;
            if let Some(state) = state {
                state.continued_by(&mut scenario);
            }
            Ok(scenario)
        }
        (Workload::Trace(trace), state) => {
            let until = options.span.and_then(|span| trace.first().map(|first| first.saturating_add(span)));
            trace.clone().scenario(state, until)
        }
    }
}
