//! A history that happens to a state: what the engine is given, wherever the events come from.

use super::history::{PastEvents, StartState};

/// Events that are kept at most: about a gigabyte.
pub(super) const MOST_EVENTS: i64 = 10_000_000;

/// A history and where it starts.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens.
    pub history: PastEvents,
    /// The state it happens to.
    pub start: StartState,
    /// The earliest instant at which a client can have been here; `None`: long before the simulation starts.
    pub known_from: Option<i64>,
    /// What a user should know.
    pub notes: Vec<String>,
}
