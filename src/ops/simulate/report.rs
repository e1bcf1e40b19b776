//! What a simulation says, as JSON and for people.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::advise::{Advice, Want};
use super::engine::{Deletion, Outcome, Rotation};
use super::many;
use super::now::Now;
use super::retention::{self, Client, PopulationCost, Retention};
use super::settings::{DAY, HOUR, Settings, interval_text, size_text};
use super::survey::{Distribution, Row};
use super::workload::{Scenario, Storage};
use crate::render::text::{rfc3339, utc};
use crate::render::{self, Style};

/// The settings that were simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingsUsed {
    /// Whose rules.
    pub dovecot: String,
    /// The storage format of made-up traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The settings, bytes and seconds.
    #[serde(flatten)]
    pub settings: Settings,
}

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
pub struct Disk {
    /// Bytes of `.log` and `.log.2` together, on average.
    pub mean_bytes: u64,
    /// At most.
    pub max_bytes: u64,
}

/// What is said of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Body {
    /// The mailbox; absent for traffic without one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    pub disk: Option<Disk>,
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
    pub fn take(&mut self, outcome: &Outcome) {
        self.rotations.clone_from(&outcome.rotations);
        self.log2_deletions.clone_from(&outcome.deletions);
        self.index_rewrites = Some(outcome.rewrites);
        self.disk = Some(Disk { mean_bytes: outcome.disk_mean(), max_bytes: outcome.disk_max });
    }
}

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
    pub(super) picture: Option<(Outcome, Option<i64>)>,
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

/// A curve and what it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The window over time: pieces of a line, each from (UNIX seconds, seconds) to (UNIX seconds, seconds).
    pub window: Vec<[(i64, i64); 2]>,
    /// Share of exact answers by seconds away.
    pub shares: Vec<(i64, f64)>,
    /// UNIX seconds.
    pub rotations: Vec<i64>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Begin, UNIX seconds.
    pub from: i64,
    /// End, UNIX seconds.
    pub to: i64,
    /// The present settings.
    pub present: Curve,
    /// The recommended settings.
    pub recommended: Option<Curve>,
}

/// Times away that the curve is drawn for.
const CURVE_POINTS: i32 = 96;

impl Curve {
    fn of(outcome: &Outcome, known_from: Option<i64>) -> Curve {
        let begin = outcome.segments.first().map_or(0, |segment| segment.from);
        let end = outcome.segments.last().map_or(begin, |segment| segment.to);
        let window = |segment: &super::engine::Segment| {
            let since = segment.since.unwrap_or(begin);
            [(segment.from, segment.from - since), (segment.to, segment.to - since)]
        };
        let known_from = known_from.unwrap_or(i64::MIN / 2);
        // From one hour to 64 days, or as long as the simulation is.
        let longest = ((end - begin) as f64).clamp(2.0 * HOUR as f64, 64.0 * DAY as f64);
        let ratio = longest / HOUR as f64;
        let shares = (0..=CURVE_POINTS).filter_map(|i| {
            let away = (HOUR as f64 * ratio.powf(f64::from(i) / f64::from(CURVE_POINTS))) as i64;
            let (exact, all) = retention::exact_time(outcome, away, known_from.saturating_add(away));
            // What is told from a few instants only is no share.
            (all * 20 > end - begin).then(|| (away, exact as f64 / all as f64))
        });
        Curve {
            window: outcome.segments.iter().map(window).collect(),
            shares: shares.collect(),
            rotations: outcome.rotations.iter().map(|rotation| rotation.at).collect(),
        }
    }
}

/// The answers about many mailboxes.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How they compare.
    pub distribution: Distribution,
    /// Each of them, the worst first.
    pub rows: Vec<Row>,
    /// The same in full, where they were named one by one.
    pub bodies: Option<Vec<Body>>,
    /// What could not be simulated: paths and reasons.
    pub errors: Vec<(PathBuf, String)>,
}

#[derive(Clone, Debug)]
enum Content {
    One(Box<Body>),
    Many(Box<Survey>),
}

/// The whole answer.
#[derive(Clone, Debug)]
pub struct Report {
    settings: SettingsUsed,
    content: Content,
    recommended: Option<Recommended>,
    notes: Vec<String>,
    picture: Option<Picture>,
    most_rows: usize,
}

#[derive(Serialize)]
struct One<'a> {
    settings: &'a SettingsUsed,
    #[serde(flatten)]
    body: &'a Body,
    recommended: &'a Option<Recommended>,
}

#[derive(Serialize)]
struct Many<'a> {
    settings: &'a SettingsUsed,
    distribution: &'a Distribution,
    mailboxes: Mailboxes<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Failure<'a>>,
    recommended: &'a Option<Recommended>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Mailboxes<'a> {
    InFull(&'a [Body]),
    Rows(&'a [Row]),
}

#[derive(Serialize)]
struct Failure<'a> {
    path: &'a Path,
    error: &'a str,
}

/// A line of a list.
#[derive(Serialize)]
struct Section<'a, T: Serialize> {
    section: &'static str,
    #[serde(flatten)]
    item: &'a T,
}

/// The line after the lists.
#[derive(Serialize)]
struct Summary<'a> {
    settings: &'a SettingsUsed,
    distribution: &'a Distribution,
    recommended: &'a Option<Recommended>,
    notes: &'a [String],
}

impl Report {
    /// The answer about one mailbox, or traffic without one.
    pub fn one(
        settings: SettingsUsed,
        mut body: Body,
        recommended: Option<Recommended>,
        mut notes: Vec<String>,
        present: Option<(Outcome, Option<i64>)>,
    ) -> Report {
        let picture =
            present.filter(|(outcome, _)| !outcome.segments.is_empty()).map(|(outcome, known_from)| Picture {
                from: outcome.segments.first().map_or(0, |segment| segment.from),
                to: outcome.segments.last().map_or(0, |segment| segment.to),
                present: Curve::of(&outcome, known_from),
                recommended: recommended
                    .as_ref()
                    .and_then(|recommended| recommended.picture.as_ref())
                    .map(|(outcome, known_from)| Curve::of(outcome, *known_from)),
            });
        notes.append(&mut body.notes);
        body.notes = notes;
        let content = Content::One(Box::new(body));
        Report { settings, content, recommended, notes: Vec::new(), picture, most_rows: usize::MAX }
    }

    /// The answer about many mailboxes.
    pub fn many(
        settings: SettingsUsed,
        survey: Survey,
        recommended: Option<Recommended>,
        notes: Vec<String>,
    ) -> Report {
        let content = Content::Many(Box::new(survey));
        Report { settings, content, recommended, notes, picture: None, most_rows: usize::MAX }
    }

    /// Lets the table show no more than so many mailboxes.
    pub fn show_at_most(&mut self, rows: usize) {
        self.most_rows = rows;
    }

    /// What to draw of one mailbox; `None` when no time passes.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// The answers about many mailboxes; `None` when it was one.
    pub fn survey(&self) -> Option<&Survey> {
        match &self.content {
            Content::One(_) => None,
            Content::Many(survey) => Some(survey),
        }
    }

    /// What is recommended.
    pub fn recommended(&self) -> Option<&Recommended> {
        self.recommended.as_ref()
    }
}

impl Survey {
    fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        self.errors.iter().map(|(path, error)| Failure { path, error })
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (settings, recommended) = (&self.settings, &self.recommended);
        match &self.content {
            Content::One(body) => One { settings, body, recommended }.serialize(serializer),
            Content::Many(survey) => Many {
                settings,
                distribution: &survey.distribution,
                mailboxes: match &survey.bodies {
                    Some(bodies) => Mailboxes::InFull(bodies),
                    None => Mailboxes::Rows(&survey.rows),
                },
                errors: survey.failures().collect(),
                recommended,
                notes: &self.notes,
            }
            .serialize(serializer),
        }
    }
}

/// Rotations that the table shows before it cuts the list short.
const SHOWN: usize = 8;

impl render::Report for Report {
    const SCHEMA: &'static str = super::SCHEMA;

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let used = &self.settings;
        let s = &used.settings;
        writeln!(
            out,
            "{} Dovecot {}{}: log_rotate_min_size {}, max_size {}, min_age {}, log2_max_age {}",
            style.heading("settings"),
            used.dovecot,
            used.storage.map(|storage| format!(", {}", storage.name())).unwrap_or_default(),
            size_text(s.min_size),
            size_text(s.max_size),
            interval_text(s.min_age),
            interval_text(s.log2_max_age),
        )?;
        let notes = match &self.content {
            Content::One(body) => {
                self.print_one(body, out, style)?;
                &body.notes
            }
            Content::Many(survey) => {
                many::table(survey, self.most_rows, out, style)?;
                &self.notes
            }
        };
        if let Some(recommended) = &self.recommended {
            recommendation(recommended, out, style)?;
        }
        for note in notes {
            writeln!(out, "{} {note}", style.warning("note"))?;
        }
        Ok(())
    }

    fn lines(&self, out: &mut dyn Write) -> io::Result<()> {
        let (settings, recommended) = (&self.settings, &self.recommended);
        let survey = match &self.content {
            Content::One(body) => return render::line(out, Self::SCHEMA, &One { settings, body, recommended }),
            Content::Many(survey) => survey,
        };
        if let Some(bodies) = &survey.bodies {
            return bodies
                .iter()
                .try_for_each(|body| render::line(out, Self::SCHEMA, &One { settings, body, recommended }));
        }
        for row in &survey.rows {
            render::line(out, Self::SCHEMA, &Section { section: "mailboxes", item: row })?;
        }
        for failure in survey.failures() {
            render::line(out, Self::SCHEMA, &Section { section: "errors", item: &failure })?;
        }
        let summary = Summary { settings, distribution: &survey.distribution, recommended, notes: &self.notes };
        render::line(out, Self::SCHEMA, &Section { section: "summary", item: &summary })
    }
}

impl Report {
    fn print_one(&self, body: &Body, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        if let Some(path) = &body.path {
            writeln!(out, "{} {}", style.heading("mailbox "), path.display())?;
        }
        if let Some(now) = &body.now {
            present(now, out, style)?;
        }
        let Some(traffic) = &body.traffic else { return Ok(()) };
        let days = traffic.seconds as f64 / DAY as f64;
        writeln!(
            out,
            "\n{} {} to {}: {} transactions, {} of log ({} a day), {} messages expunged",
            style.heading("simulated"),
            traffic.from,
            traffic.to,
            traffic.events,
            bytes(traffic.bytes),
            bytes((traffic.bytes as f64 / days.max(1e-9)) as u64),
            traffic.expunged,
        )?;
        if !body.rotations.is_empty() {
            let width = body.rotations.iter().map(|r| r.initial_modseq.to_string().len()).max().unwrap_or(0).max(14);
            let head = format!(
                "  {:<20}  {:>8}  {:>10}  {:>width$}  reason",
                "rotated at", "file_seq", "size", "initial_modseq"
            );
            writeln!(out, "{}", style.heading(&head))?;
            let skipped = body.rotations.len().saturating_sub(SHOWN);
            for (i, r) in body.rotations.iter().enumerate() {
                if skipped > 0 && i == SHOWN / 2 {
                    writeln!(out, "  {}", style.dim(&format!("... {skipped} more; all are in --format json")))?;
                }
                if skipped > 0 && (SHOWN / 2..SHOWN / 2 + skipped).contains(&i) {
                    continue;
                }
                let (at, seq, size, modseq) = (utc(r.at), r.file_seq, r.size, r.initial_modseq);
                writeln!(out, "  {at:<20}  {seq:>8}  {size:>10}  {modseq:>width$}  {}", r.reason.name())?;
            }
        }
        let disk =
            body.disk.map(|disk| format!(", logs take {} (at most {})", bytes(disk.mean_bytes), bytes(disk.max_bytes)));
        writeln!(
            out,
            "  {} rotations, .log.2 unlinked {} times, dovecot.index rewritten {} times{}",
            body.rotations.len(),
            body.log2_deletions.len(),
            body.index_rewrites.unwrap_or(0),
            disk.unwrap_or_default(),
        )?;
        if let Some(r) = &body.retention {
            let text = match r.complete {
                true => format!("nothing was ever lost: all {} are covered", span(r.max_seconds)),
                false => format!(
                    "min {}, 1 % below {}, median {}, max {}",
                    span(r.min_seconds),
                    span(r.p1_seconds),
                    span(r.median_seconds),
                    span(r.max_seconds)
                ),
            };
            writeln!(out, "\n{} {text}", style.heading("retention window"))?;
            if let Some(picture) = self.picture.as_ref().filter(|_| !r.complete) {
                chart(picture, out, style)?;
            }
        }
        clients(&body.clients, out, style)?;
        if let Some(cost) = &body.population {
            population(cost, out, style)?;
        }
        Ok(())
    }
}

fn present(now: &Now, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let word = |time: &Option<String>| time.clone().unwrap_or_else(|| "?".into());
    let reach = match now.complete {
        true => "its whole history".to_owned(),
        false => {
            let window = now.window_seconds.map(|window| format!(", {} at least", span(window))).unwrap_or_default();
            let (before, after) = (word(&now.reaches_back_to.not_before), word(&now.reaches_back_to.not_after));
            format!("to a time between {before} and {after}{window}")
        }
    };
    writeln!(
        out,
        "{} HIGHESTMODSEQ {}; the logs reach back to modseq {} ({reach})",
        style.heading("now     "),
        now.highest_modseq,
        now.oldest_modseq,
    )?;
    let next = &now.next_rotation;
    let when = match (&next.at, next.due) {
        (_, true) => "due at the next full sync".to_owned(),
        (Some(at), false) => format!("expected {at}"),
        (None, false) => "not in sight".to_owned(),
    };
    let reason = next.reason.map(|reason| format!(" ({})", reason.name())).unwrap_or_default();
    let drops = match &next.drops {
        Some(file) => format!("drops log {} of {}", file.file_seq, bytes(file.size)),
        None => "drops nothing, for there is no .log.2".to_owned(),
    };
    let loses = next.loses_exactness.map(|m| format!(": clients with modseqs {} to {} lose exactness", m.from, m.to));
    writeln!(out, "{} {when}{reason}; {drops}{}", style.heading("rotation"), loses.unwrap_or_default())?;
    if let Some(expiry) = &now.log2_expiry {
        let loses =
            expiry.loses_exactness.map(|m| format!(": clients with modseqs {} to {} lose exactness", m.from, m.to));
        let when = if expiry.due { "by the next sync" } else { "from then on by the first sync" };
        writeln!(
            out,
            "{} unlinked for its age at {}, {when}{}",
            style.heading(".log.2  "),
            expiry.at,
            loses.unwrap_or_default()
        )?;
    }
    if let (Some(rate), Some(transactions)) = (now.bytes_per_day, now.transactions_per_day) {
        writeln!(
            out,
            "{} {} of log and {transactions:.1} transactions a day",
            style.heading("rate    "),
            bytes(rate as u64)
        )?;
    }
    Ok(())
}

/// Width of a bar and of the chart.
const WIDTH: usize = 60;
/// Rows of the chart.
const ROWS: usize = 7;
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The window over time, in blocks.
fn chart(picture: &Picture, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let pieces = &picture.present.window;
    let span_of_time = (picture.to - picture.from).max(1);
    let columns: Vec<i64> = (0..WIDTH)
        .map(|column| {
            let share = (2 * i64::try_from(column).unwrap_or(0) + 1) as f64 / (2 * WIDTH) as f64;
            let at = picture.from + (span_of_time as f64 * share) as i64;
            let i = pieces.partition_point(|[_, (to, _)]| *to <= at);
            pieces.get(i).map_or(0, |[(from, window), _]| window + (at - from))
        })
        .collect();
    let highest = columns.iter().copied().max().unwrap_or(0).max(1);
    for row in (0..ROWS).rev() {
        let label = if row == ROWS - 1 {
            span(highest)
        } else if row == 0 {
            "0".into()
        } else {
            String::new()
        };
        let line: String = columns
            .iter()
            .map(|window| {
                let eighths = (*window as f64 / highest as f64 * (8 * ROWS) as f64).round() as usize;
                EIGHTHS.get(eighths.saturating_sub(8 * row).min(8)).copied().unwrap_or(" ")
            })
            .collect();
        writeln!(out, "{label:>8} {}", style.dim("│").to_owned() + line.trim_end())?;
    }
    let (from, to) = (utc(picture.from), utc(picture.to));
    let date = |text: &str| text.get(..10).unwrap_or(text).to_owned();
    writeln!(out, "{:>8} └{}", "", "─".repeat(WIDTH))?;
    writeln!(out, "{:>10}{}{:>width$}", "", date(&from), date(&to), width = WIDTH - 10)
}

fn clients(clients: &[Client], out: &mut dyn Write, style: &Style) -> io::Result<()> {
    if clients.is_empty() {
        return Ok(());
    }
    let head = format!(
        "{:>10}  {:<24} {:>7}  {:>9} {:>9} {:>9}",
        "away for", "exact answers", "", "exact", "fallback", "sent"
    );
    writeln!(out, "\n{}", style.heading(&head))?;
    let cell = |value: Option<u64>| value.map_or("-".to_owned(), bytes);
    for client in clients {
        let (bar, share) = match client.exact_share {
            None => (String::new(), "-".to_owned()),
            Some(share) => ("█".repeat((share * 24.0).round() as usize), format!("{:.1} %", share * 100.0)),
        };
        writeln!(
            out,
            "{:>10}  {bar:<24} {share:>7}  {:>9} {:>9} {:>9}",
            span(client.offline_seconds),
            cell(client.vanished_bytes_exact),
            cell(client.vanished_bytes_fallback),
            cell(client.vanished_bytes_sent),
        )?;
    }
    Ok(())
}

pub(super) fn population(cost: &PopulationCost, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let share = cost.exact_share.map_or("an unknown share".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let sent = cost.vanished_bytes_per_day.map_or("?".to_owned(), |sent| bytes(sent as u64));
    writeln!(
        out,
        "{} {} clients come back {:.1} times a day: {share} exact, {sent} of VANISHED a day",
        style.heading("population"),
        cost.clients,
        cost.reconnects_per_day
    )
}

fn recommendation(r: &Recommended, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let head = if r.reached { "recommended" } else { "nearest" };
    writeln!(
        out,
        "\n{} for {} in {} % of the time ({} settings tried): exact {:.2} % (now {:.2} %), logs take {} (now {})",
        style.heading(head),
        interval_text(r.want_seconds),
        r.want_share * 100.0,
        r.tried,
        r.exact_share * 100.0,
        r.exact_share_present * 100.0,
        bytes(r.disk_bytes_mean),
        bytes(r.disk_bytes_mean_present),
    )?;
    if let Some(many) = &r.of_many {
        writeln!(
            out,
            "  one set for all: {} of {} mailboxes miss the window (now {}); wanted for {} % of the mailboxes",
            many.missing,
            many.mailboxes,
            many.missing_present,
            many.want_mailboxes * 100.0,
        )?;
    }
    if let Some(retention) = r.retention.filter(|retention| !retention.complete) {
        let (min, median, max) = (retention.min_seconds, retention.median_seconds, retention.max_seconds);
        writeln!(out, "  window min {}, median {}, max {}", span(min), span(median), span(max))?;
    }
    if let Some(cost) = &r.population {
        write!(out, "  ")?;
        population(cost, out, style)?;
    }
    writeln!(out, "  {}", style.dim("# dovecot.conf, 2.2.34 to 2.4"))?;
    if r.dovecot_conf.old.is_empty() {
        writeln!(out, "  {}", style.dim("# nothing: Dovecot's defaults do"))?;
    }
    for line in &r.dovecot_conf.old {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// Seconds for people: `5.3 d`, `2.0 h`, `90 s`.
pub fn span(seconds: i64) -> String {
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        s if s % DAY == 0 => format!("{} d", seconds / DAY),
        s if s % HOUR == 0 && s < 2 * DAY => format!("{} h", seconds / HOUR),
        120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        7200..172_800 => format!("{:.1} h", seconds as f64 / HOUR as f64),
        _ => format!("{:.1} d", seconds as f64 / DAY as f64),
    }
}

/// Bytes for people: `1.2 kB` stands for 1.2 times 1024, as Dovecot's `k` does.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} kB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GB", bytes as f64 / 1_073_741_824.0),
    }
}
