//! Many mailboxes: a short answer for each, and how they compare. Of a mailbox only numbers and its name are kept, so
//! that memory grows by a few hundred bytes for each, however long its logs are and however much is simulated.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::advise::Want;
use super::body::{Body, DiskUse};
use super::engine::{Course, RotationReason};
use super::now::Now;
use super::retention::{self, Client, PopulationCost, Retention};
use super::{Options, SimulatedMailbox, Workload};
use crate::render::text::rfc3339;

/// Where the logs of one of many mailboxes stand at present.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RowNow {
    /// HIGHESTMODSEQ as the log counts it.
    pub highest_modseq: u64,
    /// The lowest client modseq that gets an exact answer.
    pub oldest_modseq: u64,
    /// The logs hold everything since the mailbox was created.
    pub complete: bool,
    /// Seconds: at least so long a client may have been away.
    pub window_seconds: Option<i64>,
    /// Bytes of both logs.
    pub log_bytes: u64,
    /// Bytes of log in a day, as far as the logs tell.
    pub bytes_per_day: Option<f64>,
    /// The rotation to come.
    pub next_rotation: RowRotation,
}

/// The rotation to come of one of many mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RowRotation {
    /// The next full sync rotates.
    pub due: bool,
    /// Why.
    pub reason: Option<RotationReason>,
    /// When it is due at the present rate, UNIX seconds, shown as RFC 3339.
    #[serde(serialize_with = "time")]
    pub at: Option<i64>,
}

fn time<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&rfc3339(*at)),
        None => serializer.serialize_none(),
    }
}

impl RowNow {
    fn of(now: &Now) -> RowNow {
        RowNow {
            highest_modseq: now.highest_modseq,
            oldest_modseq: now.oldest_modseq,
            complete: now.complete,
            window_seconds: now.window_seconds,
            log_bytes: now.log.size.saturating_add(now.log2.as_ref().map_or(0, |log| log.size)),
            bytes_per_day: now.bytes_per_day,
            next_rotation: RowRotation {
                due: now.next_rotation.due,
                reason: now.next_rotation.reason,
                at: now.next_rotation.seconds,
            },
        }
    }
}

/// Whether a mailbox keeps the window that is wanted, under the present settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowKept {
    /// It does, in the share of the time that is wanted.
    pub kept: bool,
    /// The share of the time in which it does.
    pub exact_share: f64,
}

/// Time in which clients that were away for a while get an exact answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactTime {
    /// Seconds with exact answers.
    pub exact: i64,
    /// Seconds in all.
    pub all: i64,
}

/// What is said of one of many mailboxes. Names that [`Body`] has too mean the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MailboxAnswer {
    /// The mailbox's proper name, where the place of its files tells; its bytes need be no text.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::render::optional_path_text")]
    pub name: Option<PathBuf>,
    /// The user, where the path tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it is.
    #[serde(serialize_with = "crate::render::optional_path_text")]
    pub path: Option<PathBuf>,
    /// The present.
    pub now: Option<RowNow>,
    /// The window over time; `None` when there is none.
    pub retention: Option<Retention>,
    /// Rotations in the time simulated; `None` when there was nothing to simulate.
    pub rotation_count: Option<usize>,
    /// `.log.2` files that were unlinked because of their age.
    pub log2_deletion_count: Option<usize>,
    /// How often `dovecot.index` was written for other reasons than a rotation.
    pub index_rewrites: Option<u64>,
    /// Disk use of the logs.
    pub disk: Option<DiskUse>,
    /// What clients get.
    pub clients: Vec<Client>,
    /// What all clients together cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<PopulationCost>,
    /// Whether it keeps the window that is wanted; `None` when the time simulated is too short to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<WindowKept>,
    /// The mailbox keeps modseqs.
    pub tracks_modseqs: bool,
    /// Its logs tell of less than a day: what is foretold from them is a guess.
    pub guess: bool,
    /// Why there is no window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time with exact answers, for each time away.
    #[serde(skip)]
    pub times: Vec<ExactTime>,
}

impl MailboxAnswer {
    /// Takes from the answer about one mailbox what is kept of it among many.
    pub fn of(subject: &SimulatedMailbox, body: &Body, outcome: Option<&Course>, options: &Options) -> MailboxAnswer {
        let tracks_modseqs = subject.state.as_ref().is_none_or(|state| state.tracks_modseqs);
        let scenario = subject.scenario.as_ref().ok();
        let times = match (outcome, scenario) {
            (Some(outcome), Some(scenario)) if tracks_modseqs => {
                let known_from = scenario.known_from.unwrap_or(i64::MIN / 2);
                let of = |away: &i64| {
                    let (exact, all) = retention::exact_time(outcome, *away, known_from.saturating_add(*away));
                    ExactTime { exact, all }
                };
                options.offline.iter().map(of).collect()
            }
            _ => Vec::new(),
        };
        let want = options.want.filter(|_| tracks_modseqs).and_then(|want| {
            let (exact, all) = retention::exact_time(outcome?, want.offline, want.from(scenario?));
            let exact_share = exact as f64 / all as f64;
            (all > 0).then(|| WindowKept { kept: want.is_kept(exact, all), exact_share })
        });
        let reason = match (&subject.scenario, tracks_modseqs) {
            (Err(reason), _) => Some(reason.clone()),
            (Ok(_), false) => Some("modseqs are not tracked: QRESYNC clients have none to come back with".to_owned()),
            (Ok(_), true) => body.retention.is_none().then(|| "no time passes".to_owned()),
        };
        MailboxAnswer {
            name: subject.name.clone(),
            user: subject.user.clone(),
            path: body.path.clone(),
            now: body.now.as_ref().map(RowNow::of),
            retention: body.retention,
            rotation_count: outcome.map(|outcome| outcome.rotations.len()),
            log2_deletion_count: outcome.map(|outcome| outcome.deletions.len()),
            index_rewrites: body.index_rewrites,
            disk: body.disk,
            clients: body.clients.clone(),
            population: body.population,
            want,
            tracks_modseqs,
            guess: scenario.is_some()
                && matches!(options.workload, Workload::Replay)
                && subject.state.as_ref().is_some_and(super::past::KnownMailbox::is_brief),
            reason,
            times,
        }
    }

    /// The worst first: the shortest median window, then what could not be told, then what was never lost.
    pub(super) fn rank(&self) -> (u8, i64) {
        rank(self.retention)
    }
}

/// How good a window is compared with others.
pub(super) fn rank(retention: Option<Retention>) -> (u8, i64) {
    match retention {
        Some(retention) if !retention.complete => (0, retention.median_seconds),
        None => (1, 0),
        Some(retention) => (2, retention.median_seconds),
    }
}

/// Where some of the values lie, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min_seconds: Option<i64>,
    /// One in a hundred is below.
    pub p1_seconds: Option<i64>,
    /// One in ten is below.
    pub p10_seconds: Option<i64>,
    /// Half are below.
    pub median_seconds: Option<i64>,
    /// One in ten is above.
    pub p90_seconds: Option<i64>,
    /// The most.
    pub max_seconds: Option<i64>,
}

impl Quantiles {
    fn of(values: impl Iterator<Item = i64>) -> Quantiles {
        let mut list: Vec<i64> = values.collect();
        list.sort_unstable();
        let at = |percent: usize| list.get((list.len().max(1) - 1) * percent / 100).copied();
        Quantiles {
            min_seconds: at(0),
            p1_seconds: at(1),
            p10_seconds: at(10),
            median_seconds: at(50),
            p90_seconds: at(90),
            max_seconds: at(100),
        }
    }
}

/// What the clients of all mailboxes get that were away for a given time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AllClients {
    /// How long they were away, seconds.
    pub offline_seconds: i64,
    /// Mailboxes of which that can be told.
    pub mailboxes: usize,
    /// Share of exact answers, when each mailbox has as many clients as the others.
    pub exact_share: Option<f64>,
    /// Mean bytes of VANISHED that are sent, exact or not.
    pub vanished_bytes_sent: Option<u64>,
}

/// How many mailboxes keep the window that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wanted {
    /// The window, seconds.
    pub want_seconds: i64,
    /// The share of the time that it is wanted for.
    pub want_share: f64,
    /// Mailboxes that were judged.
    pub mailboxes: usize,
    /// Those of them that do not keep it.
    pub missing: usize,
}

/// How the mailboxes compare. Windows are those of mailboxes that lose history at all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Mailboxes that there is something to say of.
    pub mailboxes: usize,
    /// Mailboxes that never lose anything in the time simulated.
    pub complete: usize,
    /// Mailboxes without a window, those below included.
    pub untold: usize,
    /// Mailboxes that do not keep modseqs.
    pub untracked: usize,
    /// Mailboxes that could not be read, or have no log; not among `mailboxes`.
    pub unreadable: usize,
    /// Mailboxes whose logs tell of less than a day.
    pub guesses: usize,
    /// Medians over time, the worst mailbox, seconds.
    pub min_median_seconds: Option<i64>,
    /// One in a hundred is worse.
    pub p1_median_seconds: Option<i64>,
    /// One in ten is worse.
    pub p10_median_seconds: Option<i64>,
    /// Half are worse.
    pub median_seconds: Option<i64>,
    /// One in ten is better.
    pub p90_median_seconds: Option<i64>,
    /// The best mailbox.
    pub max_median_seconds: Option<i64>,
    /// The shortest window of each mailbox.
    pub shortest: Quantiles,
    /// The windows at present, of mailboxes that have lost history already.
    pub now: Quantiles,
    /// Mailboxes that have lost nothing up to now.
    pub complete_now: usize,
    /// Mailboxes whose next full sync rotates.
    pub rotation_due: usize,
    /// Bytes of all logs at present.
    pub log_bytes: u64,
    /// Bytes of all logs over time: the sum of the means, and the sum of what each takes at most.
    pub disk: DiskUse,
    /// Share of exact answers over all mailboxes.
    pub clients: Vec<AllClients>,
    /// What all clients of all mailboxes cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<PopulationCost>,
    /// How many keep the window that is wanted, under the present settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<Wanted>,
}

/// Compares mailboxes.
pub(super) fn distribution(
    rows: &[MailboxAnswer],
    unreadable: usize,
    offline: &[i64],
    want: Option<Want>,
) -> Distribution {
    let lossy = || rows.iter().filter_map(|row| row.retention).filter(|r| !r.complete);
    let medians = Quantiles::of(lossy().map(|r| r.median_seconds));
    let count = |what: &dyn Fn(&MailboxAnswer) -> bool| rows.iter().filter(|row| what(row)).count();
    let now = || rows.iter().filter_map(|row| row.now);
    let disk = rows.iter().filter_map(|row| row.disk).fold((0_u64, 0_u64), |(mean, max), disk| {
        (mean.saturating_add(disk.mean_bytes), max.saturating_add(disk.max_bytes))
    });
    let clients = offline.iter().enumerate().map(|(i, &offline_seconds)| {
        let times = || rows.iter().filter_map(|row| row.times.get(i)).filter(|time| time.all > 0);
        let (exact, all) = times()
            .fold((0_i128, 0_i128), |(exact, all), time| (exact + i128::from(time.exact), all + i128::from(time.all)));
        let sent: Vec<u64> = rows.iter().filter_map(|row| row.clients.get(i)?.vanished_bytes_sent).collect();
        AllClients {
            offline_seconds,
            mailboxes: times().count(),
            exact_share: (all > 0).then(|| exact as f64 / all as f64),
            vanished_bytes_sent: sent.iter().sum::<u64>().checked_div(sent.len() as u64),
        }
    });
    let want = want.map(|want| {
        let judged = || rows.iter().filter_map(|row| row.want);
        Wanted {
            want_seconds: want.offline,
            want_share: want.share,
            mailboxes: judged().count(),
            missing: judged().filter(|want| !want.kept).count(),
        }
    });
    Distribution {
        mailboxes: rows.len(),
        complete: count(&|row| row.retention.is_some_and(|r| r.complete)),
        untold: count(&|row| row.retention.is_none()),
        untracked: count(&|row| !row.tracks_modseqs),
        unreadable,
        guesses: count(&|row| row.guess),
        min_median_seconds: medians.min_seconds,
        p1_median_seconds: medians.p1_seconds,
        p10_median_seconds: medians.p10_seconds,
        median_seconds: medians.median_seconds,
        p90_median_seconds: medians.p90_seconds,
        max_median_seconds: medians.max_seconds,
        shortest: Quantiles::of(lossy().map(|r| r.min_seconds)),
        now: Quantiles::of(now().filter(|now| !now.complete).filter_map(|now| now.window_seconds)),
        complete_now: now().filter(|now| now.complete).count(),
        rotation_due: now().filter(|now| now.next_rotation.due).count(),
        log_bytes: now().map(|now| now.log_bytes).fold(0, u64::saturating_add),
        disk: DiskUse { mean_bytes: disk.0, max_bytes: disk.1 },
        clients: clients.collect(),
        population: population(rows),
        want,
    }
}

/// The clients of all mailboxes together.
fn population(rows: &[MailboxAnswer]) -> Option<PopulationCost> {
    let list: Vec<PopulationCost> = rows.iter().filter_map(|row| row.population).collect();
    let shares: Vec<f64> = list.iter().filter_map(|one| one.exact_share).collect();
    let bytes: Vec<f64> = list.iter().filter_map(|one| one.vanished_bytes_per_day).collect();
    (!list.is_empty()).then(|| PopulationCost {
        clients: list.iter().map(|one| one.clients).fold(0, u64::saturating_add),
        reconnects_per_day: list.iter().map(|one| one.reconnects_per_day).sum(),
        exact_share: (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64),
        vanished_bytes_per_day: (!bytes.is_empty()).then(|| bytes.iter().sum()),
    })
}

/// What is drawn of many mailboxes. Windows are in order, the shortest first, of those that lose history.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Mailboxes there is an answer for.
    pub told: usize,
    /// Mailboxes that never lose anything in the time simulated.
    pub complete: usize,
    /// Medians over time, seconds.
    pub medians: Vec<i64>,
    /// The shortest window of each, seconds.
    pub shortest: Vec<i64>,
    /// At present, seconds.
    pub now: Vec<i64>,
    /// Share of exact answers by seconds away.
    pub shares: Vec<(i64, f64)>,
    /// The window that is wanted, seconds.
    pub want: Option<i64>,
}

impl Spread {
    /// What there is to draw; `None` when nothing was told of any mailbox.
    pub fn of(rows: &[MailboxAnswer], distribution: &Distribution) -> Option<Spread> {
        let sorted = |mut list: Vec<i64>| {
            list.sort_unstable();
            list
        };
        let lossy = || rows.iter().filter_map(|row| row.retention).filter(|r| !r.complete);
        let now = rows.iter().filter_map(|row| row.now).filter(|now| !now.complete);
        let shares = distribution.clients.iter();
        let mut shares: Vec<(i64, f64)> =
            shares.filter_map(|client| Some((client.offline_seconds, client.exact_share?))).collect();
        shares.sort_by_key(|(away, _)| *away);
        let told = distribution.mailboxes.saturating_sub(distribution.untold);
        (told > 0).then(|| Spread {
            told,
            complete: distribution.complete,
            medians: sorted(lossy().map(|r| r.median_seconds).collect()),
            shortest: sorted(lossy().map(|r| r.min_seconds).collect()),
            now: sorted(now.filter_map(|now| now.window_seconds).collect()),
            shares,
            want: distribution.want.map(|want| want.want_seconds),
        })
    }
}

/// The answers about many mailboxes.
#[derive(Clone, Debug)]
pub struct ManyAnswers {
    /// How they compare.
    pub distribution: Distribution,
    /// Each of them, the worst first.
    pub rows: Vec<MailboxAnswer>,
    /// The same in full, where they were named one by one.
    pub bodies: Option<Vec<Body>>,
    /// What could not be simulated: paths and reasons.
    pub errors: Vec<(PathBuf, String)>,
}
