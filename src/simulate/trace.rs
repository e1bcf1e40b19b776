//! Recorded events, one a line, followed exactly.

use serde::Deserialize;

use super::history::{Event, EventExpunge, PastEvents, StartState};
use super::past::KnownMailbox;
use super::workload::Scenario;
use crate::model::UidSet;

/// One line of a trace.
#[derive(Clone, Debug, Deserialize)]
struct TraceLine {
    at: f64,
    bytes: u64,
    modseq: u64,
    #[serde(default)]
    expunged: Option<String>,
    sync: bool,
    #[serde(default)]
    need_rotate: bool,
    /// Whether a process opens the mailbox for this event; without it each event has a process of its own.
    #[serde(default = "yes")]
    opens: bool,
}

fn yes() -> bool {
    true
}

/// A trace as it was read.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    expunges: Vec<EventExpunge>,
}

impl Trace {
    /// Reads a trace: NDJSON, one event a line.
    ///
    /// # Errors
    /// When a line cannot be read, names its line; times and modseqs must not fall.
    pub fn parse(text: &str) -> Result<Trace, String> {
        let mut trace = Trace::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fail = |what: String| format!("line {}: {what}", number + 1);
            let one: TraceLine = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
            if !one.at.is_finite() || one.at.abs() > 1e12 {
                return Err(fail(format!("at {} is no time in UNIX seconds", one.at)));
            }
            let event = Event {
                at: one.at.floor() as i64,
                bytes: one.bytes,
                modseq: one.modseq,
                sync: one.sync,
                need_rotate: one.need_rotate,
                opens: one.opens,
            };
            if let Some(last) = trace.events.last() {
                if event.at < last.at {
                    return Err(fail(format!("at {} is before the event above it, {}", event.at, last.at)));
                }
                if event.modseq < last.modseq {
                    return Err(fail(format!(
                        "modseq {} is below that of the event above it, {}",
                        event.modseq, last.modseq
                    )));
                }
            }
            if let Some(set) = one.expunged.filter(|set| !set.is_empty()) {
                let set: UidSet = set.parse().map_err(|error| fail(format!("expunged: {error}")))?;
                trace.expunges.extend(set.ranges().iter().map(|(a, b)| EventExpunge {
                    at: event.at,
                    uid1: *a,
                    uid2: *b,
                }));
            }
            trace.events.push(event);
        }
        Ok(trace)
    }

    /// Time of the first event, UNIX seconds.
    pub fn first(&self) -> Option<i64> {
        self.events.first().map(|event| event.at)
    }

    /// Makes the scenario: a mailbox that is created by the first event, or `state` when the trace goes on from there.
    ///
    /// # Errors
    /// When the trace has no events.
    pub fn scenario(self, state: Option<&KnownMailbox>, until: Option<i64>) -> Result<Scenario, String> {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else {
            return Err("the trace has no events".into());
        };
        let (start, known_from) = match state {
            Some(state) => (StartState { at: first.at.min(state.start.at), ..state.start }, None),
            None => (StartState::fresh(first.at), Some(first.at)),
        };
        let mut notes = Vec::new();
        if first.modseq < start.modseq {
            notes.push(format!("the trace begins with modseq {}, below the log's {}", first.modseq, start.modseq));
        }
        let end = until.unwrap_or(last.at).max(last.at);
        if !self.events.iter().any(|event| event.sync) {
            notes.push("no event of the trace ends a full sync: Dovecot never decides about rotation".into());
        }
        let mut history = PastEvents::new(self.events, end);
        history.expunges_since = start.at;
        history.expunges = self.expunges;
        if let Some(state) = state {
            history.gaps = state.gaps.clone();
        }
        Ok(Scenario { history, start, known_from, notes })
    }
}
