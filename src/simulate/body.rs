//! What a simulation says of one mailbox.

use std::path::PathBuf;

use serde::Serialize;

use super::engine::{Course, Deletion, Rotation};
use super::now::Now;
use super::retention::{Client, PopulationCost, Retention};
use super::workload::Scenario;
use crate::render::optional_path_text;
use crate::render::text::rfc3339;

/// What happened in a simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traffic {
    /// Begin, RFC 3339.
    pub from: String,
    /// End, RFC 3339.
    pub to: String,
    /// Seconds from begin to end.
    pub seconds: i64,
    /// Transactions.
    pub events: usize,
    /// Full syncs.
    pub syncs: usize,
    /// Bytes of log.
    pub bytes: u64,
    /// Messages expunged within the time.
    pub expunged: u64,
}

impl Traffic {
    /// Sums a scenario up.
    pub fn of(scenario: &Scenario) -> Traffic {
        let (history, from) = (&scenario.history, scenario.start.at);
        let expunged = history.expunges.iter().filter(|expunge| expunge.at >= from);
        Traffic {
            from: rfc3339(from),
            to: rfc3339(history.end),
            seconds: history.end - from,
            events: history.len(),
            syncs: history.syncs(),
            bytes: history.bytes(),
            expunged: expunged.map(|expunge| u64::from(expunge.uid2 - expunge.uid1) + 1).sum(),
        }
    }
}

/// Disk use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskUse {
    /// Bytes of `.log` and `.log.2` together, on average.
    pub mean_bytes: u64,
    /// At most.
    pub max_bytes: u64,
}

/// What is said of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Body {
    /// The mailbox; absent for traffic without one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_path_text")]
    pub path: Option<PathBuf>,
    /// What happened; `None` when there was nothing to simulate.
    pub traffic: Option<Traffic>,
    /// Rotations by time.
    pub rotations: Vec<Rotation>,
    /// `.log.2` files that were unlinked because of their age.
    pub log2_deletions: Vec<Deletion>,
    /// How often `dovecot.index` was written for other reasons than a rotation.
    pub index_rewrites: Option<u64>,
    /// The window over time; `None` when there is none.
    pub retention: Option<Retention>,
    /// Disk use of the logs.
    pub disk: Option<DiskUse>,
    /// What clients get.
    pub clients: Vec<Client>,
    /// What all clients together cost.
    pub population: Option<PopulationCost>,
    /// The present; `None` without a mailbox.
    pub now: Option<Now>,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl Body {
    /// Takes over what happened.
    pub fn take(&mut self, outcome: &Course) {
        self.rotations.clone_from(&outcome.rotations);
        self.log2_deletions.clone_from(&outcome.deletions);
        self.index_rewrites = Some(outcome.rewrites);
        self.disk = Some(DiskUse { mean_bytes: outcome.disk_mean(), max_bytes: outcome.disk_max });
    }
}
