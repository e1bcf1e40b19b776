//! Findings for people, and the outcome of a check for monitoring: a Nagios line, a Prometheus text file.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::check::{Finding, Severity};
use crate::model::chain::Unlinked;
use crate::ops::check::{Summary, Tally, WINDOWS};
use crate::render::document::{Document, Part};
use crate::render::table::{Cell, Table};
use crate::render::text::{printable, shown};
use crate::render::{Emit, Paint, Style};
use crate::source::Role;

/// Prints findings as they come: code, severity, mailbox, file with offset, message; when told to, also what Dovecot
/// does, and the remedy.
#[derive(Debug)]
pub struct Findings {
    table: Table,
    more: Table,
    style: Style,
    verbose: bool,
}

impl Findings {
    /// Begins.
    pub fn new(verbose: bool, style: Style) -> Findings {
        let table = || Table::members(style).at_once();
        Findings { table: table().indented(0).ranked(&[0, 2, 1, 0, 0]), more: table().indented(5), style, verbose }
    }

    /// Prints one.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn print(&mut self, mailbox: &Path, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let paint = match finding.severity {
            Severity::Error => Paint::Error,
            Severity::Warning => Paint::Warning,
            Severity::Info => Paint::Dim,
        };
        let file = finding.file.strip_prefix(mailbox).unwrap_or(&finding.file);
        // A mailbox that was named by one of its files is that file.
        let file = if file.as_os_str().is_empty() || finding.file.parent() == mailbox.parent() {
            finding.file.file_name().map_or(file, Path::new)
        } else {
            file
        };
        let offset = finding.offset.map_or_else(String::new, |offset| format!(":{offset}"));
        let uid = finding.uid.map_or_else(String::new, |uid| format!("uid {uid}: "));
        let row = vec![
            Cell::text(self.style.cell(Paint::Heading, finding.code.name())),
            Cell::text(self.style.cell(paint, finding.severity.name())),
            Cell::text(shown(mailbox)),
            Cell::text(format!("{}{offset}", shown(file))),
            Cell::long(format!("{uid}{}", printable(finding.message.as_bytes()))),
        ];
        self.table.row(row, out)?;
        if self.verbose {
            let fix = finding.fix(mailbox).map(|fix| printable(fix.as_bytes()));
            let advice = finding.advice(mailbox).map(|advice| printable(advice.as_bytes()));
            let dovecot = printable(finding.dovecot().as_bytes());
            for (name, text) in [("Dovecot:", Some(dovecot)), ("fix:", fix), ("advice:", advice)] {
                let Some(text) = text else { continue };
                let dim = |text: &str| self.style.cell(Paint::Dim, text);
                self.more.row(vec![Cell::text(dim(name)), Cell::long(dim(&text))], out)?;
            }
        }
        Ok(())
    }
}

/// The state of a service as Nagios plugins tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nagios {
    /// Exit code 0.
    Ok,
    /// Exit code 1.
    Warning,
    /// Exit code 2.
    Critical,
    /// Exit code 3.
    Unknown,
}

/// The one line of a Nagios plugin: state, what is wrong, performance data.
pub fn nagios(tally: &Tally) -> (Nagios, String) {
    let summary = &tally.summary;
    let state = match () {
        () if summary.error > 0 => Nagios::Critical,
        () if summary.unreadable > 0 || summary.mailboxes == 0 => Nagios::Unknown,
        () if summary.warning > 0 => Nagios::Warning,
        () => Nagios::Ok,
    };
    let total = summary.mailboxes;
    let mut text = match state {
        Nagios::Ok => format!("IDX OK - {total} mailboxes sound"),
        Nagios::Warning => format!("IDX WARNING - {} of {total} mailboxes with warnings", summary.warning),
        Nagios::Critical => format!("IDX CRITICAL - {} of {total} mailboxes damaged", summary.error),
        Nagios::Unknown if total == 0 => "IDX UNKNOWN - no mailbox".to_owned(),
        Nagios::Unknown => format!("IDX UNKNOWN - {} of {total} mailboxes could not be read", summary.unreadable),
    };
    let worst: Vec<String> = tally
        .findings
        .iter()
        .filter(|((_, severity), _)| *severity > Severity::Info)
        .map(|((code, _), count)| format!("{code} {count}"))
        .collect();
    if !worst.is_empty() {
        let _ = write!(text, " ({})", worst.join(", "));
    }
    let _ = write!(
        text,
        " | damaged={};0;0;0;{total} warning={};;;0;{total} busy={};;;0;{total} unreadable={};;;0;{total}",
        summary.error, summary.warning, summary.busy, summary.unreadable
    );
    for (name, role) in [("log_max", Role::Log), ("cache_max", Role::Cache)] {
        if let Some((_, max)) = tally.bytes.get(&role) {
            let _ = write!(text, " {name}={max}B;;;0;");
        }
    }
    if let Some(window) = tally.window_min {
        let _ = write!(text, " window_min={window}s;;;0;");
    }
    (state, text)
}

/// The metrics of a check in the text format of Prometheus: no sample carries a time, every label has few values, the
/// order is always the same.
///
/// `now` is the time of the check, UNIX seconds; `seconds` how long it took; `success` whether every mailbox could be
/// judged.
pub fn prometheus(tally: &Tally, now: i64, seconds: f64, success: bool) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let one = |value: String| [(String::new(), value)];
    family("idx_last_run_timestamp_seconds", "gauge", "When idx check last ended.", &one(now.to_string()));
    family(
        "idx_last_run_success",
        "gauge",
        "1 if every mailbox could be judged in the last run.",
        &one(u8::from(success).to_string()),
    );
    family("idx_run_duration_seconds", "gauge", "How long the last run took.", &one(format!("{seconds:.3}")));
    let states: Vec<_> = tally
        .summary
        .states()
        .iter()
        .map(|(name, count)| (format!("{{state=\"{name}\"}}"), count.to_string()))
        .collect();
    family("idx_mailboxes", "gauge", "Mailboxes by state.", &states);
    let findings: Vec<_> = tally
        .findings
        .iter()
        .map(|((code, severity), count)| {
            (format!("{{code=\"{code}\",severity=\"{}\"}}", severity.name()), count.to_string())
        })
        .collect();
    family("idx_findings", "gauge", "Findings by rule and severity.", &findings);
    let bytes: Vec<_> = [
        ("index", Role::Index),
        ("backup", Role::Backup),
        ("log.2", Role::OldLog),
        ("log", Role::Log),
        ("cache", Role::Cache),
    ]
    .iter()
    .map(|(kind, role)| (format!("{{kind=\"{kind}\"}}"), tally.bytes.get(role).map_or(0, |(sum, _)| *sum).to_string()))
    .collect();
    family("idx_file_bytes", "gauge", "Bytes of index files by kind.", &bytes);
    let name = "idx_qresync_window_seconds";
    let _ = writeln!(out, "# HELP {name} How far back the logs of a mailbox reach.\n# TYPE {name} histogram");
    let mut below = 0;
    for (end, count) in WINDOWS.iter().zip(tally.windows) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {below}");
    }
    let all: u64 = tally.windows.iter().sum();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {}\n{name}_count {all}", tally.windows_sum);
    out
}

/// Lists what is wrong with a mailbox as `problems`. Whether a rebuild mends it is not tried here: `check` says that.
///
/// # Errors
/// When `out` cannot be written to.
pub fn list_problems<D: Document>(mailbox: &Path, problems: &[Finding], out: &mut D) -> io::Result<()> {
    // A document has the key in every case; a person needs no heading above nothing.
    if problems.is_empty() && D::FOR_PEOPLE {
        return Ok(());
    }
    out.list("problems", |part| problems.iter().try_for_each(|one| part.item(|item| emit(mailbox, one, item))))
}

/// Emits the members of one finding.
pub fn emit<V: Emit + ?Sized>(mailbox: &Path, finding: &Finding, emit: &mut V) {
    emit.text("code", finding.code.name().as_bytes());
    emit.text("severity", finding.severity.name().as_bytes());
    emit.text("mailbox", mailbox.as_os_str().as_bytes());
    emit.text("file", finding.file.as_os_str().as_bytes());
    match finding.offset {
        Some(offset) => emit.number("offset", offset),
        None => emit.null("offset"),
    }
    match finding.uid {
        Some(uid) => emit.number("uid", u64::from(uid)),
        None => emit.null("uid"),
    }
    emit.text("message", finding.message.as_bytes());
    emit.text("dovecot", finding.dovecot().as_bytes());
    match finding.fix(mailbox) {
        Some(fix) => emit.text("fix", fix.as_bytes()),
        None => emit.null("fix"),
    }
    match finding.advice(mailbox) {
        Some(advice) => emit.text("advice", advice.as_bytes()),
        None => emit.absent("advice"),
    }
}

/// Emits the members of `summary`.
pub fn emit_summary(summary: &Summary, emit: &mut dyn Emit) {
    emit.number("mailboxes", summary.mailboxes);
    for (name, count) in summary.states() {
        emit.number(name, count);
    }
}

/// Writes which `.log.2` is left out of the answer, if one is.
pub fn emit_left_out(emit: &mut (impl Emit + ?Sized), left_out: Option<(u32, Unlinked)>) {
    if let Some((seq, why)) = left_out {
        emit.text("left_out", format!(".log.2 (file_seq {seq}): {why}").as_bytes());
    }
}
