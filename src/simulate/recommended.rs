//! The settings that a simulation recommends.

use serde::Serialize;

use super::advise::{Advice, Want};
use super::engine::Course;
use super::retention::{Client, PopulationCost, Retention};
use super::settings::Settings;

/// Lines for `dovecot.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfLines {
    /// For Dovecot 2.2.34 to 2.3.
    #[serde(rename = "2.3")]
    pub old: Vec<String>,
    /// For Dovecot 2.4.
    #[serde(rename = "2.4")]
    pub new: Vec<String>,
}

/// The settings that are recommended.
#[derive(Clone, Debug, Serialize)]
pub struct Recommended {
    /// The window that was wanted.
    pub want_seconds: i64,
    /// The share of the time that it was wanted for.
    pub want_share: f64,
    /// These settings keep it.
    pub reached: bool,
    /// The settings.
    pub settings: Settings,
    /// The share of the time in which they keep it.
    pub exact_share: f64,
    /// The share of the time in which the present settings keep it.
    pub exact_share_present: f64,
    /// Mean bytes of the logs, of all mailboxes together.
    pub disk_bytes_mean: u64,
    /// The same with the present settings.
    pub disk_bytes_mean_present: u64,
    /// The settings that differ from Dovecot's defaults, ready to be used.
    pub dovecot_conf: ConfLines,
    /// Settings that were tried.
    pub tried: usize,
    /// Rotations; of a single mailbox.
    pub rotations: usize,
    /// The window over time; of a single mailbox.
    pub retention: Option<Retention>,
    /// What clients get; of a single mailbox.
    pub clients: Vec<Client>,
    /// What all clients together cost; of a single mailbox.
    pub population: Option<PopulationCost>,
    /// What only many mailboxes have.
    #[serde(flatten)]
    pub of_many: Option<OfMany>,
    #[serde(skip)]
    pub(super) picture: Option<(Course, Option<i64>)>,
}

/// What there is to say of settings that are for many mailboxes. All have one `dovecot.conf`, so it is one set for all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OfMany {
    /// The share of the mailboxes that was wanted.
    pub want_mailboxes: f64,
    /// Mailboxes that were judged.
    pub mailboxes: u64,
    /// Those of them that do not keep the window.
    pub missing: u64,
    /// The same with the present settings.
    pub missing_present: u64,
}

impl Recommended {
    /// The outcome of a search.
    pub fn new(want: Want, advice: &Advice) -> Recommended {
        let lines: Vec<String> =
            advice.settings.lines().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        Recommended {
            want_seconds: want.offline,
            want_share: want.share,
            reached: advice.reached,
            settings: advice.settings,
            exact_share: advice.price.exact_share,
            exact_share_present: advice.present.exact_share,
            disk_bytes_mean: advice.price.disk_bytes_mean,
            disk_bytes_mean_present: advice.present.disk_bytes_mean,
            dovecot_conf: ConfLines { old: lines.clone(), new: lines },
            tried: advice.tried,
            rotations: 0,
            retention: None,
            clients: Vec::new(),
            population: None,
            of_many: None,
            picture: None,
        }
    }
}
