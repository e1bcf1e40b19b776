//! What a rebuild has done, and what an undo has, for people.

use std::io::{self, Write};

use crate::ops::many::{RebuildSummary, is_shared};
use crate::ops::rebuild::{RebuildReport, SCHEMA, Status};
use crate::ops::undo::{self, UndoReport};
use crate::render::table::{Cell, Table};
use crate::render::text::{printable, shown};
use crate::render::{Paint, Report, Style};
use crate::repair::{Base, MessageCounts};

/// Lines with a name in front, which is said once.
struct Lines<'w> {
    table: Table,
    style: Style,
    out: &'w mut dyn Write,
}

impl Lines<'_> {
    fn add(&mut self, name: &str, text: impl Into<String>) -> io::Result<()> {
        let name = Cell::text(self.style.cell(Paint::Dim, name));
        self.table.row(vec![name, Cell::long(text)], self.out)
    }

    fn all<'t>(&mut self, name: &str, list: impl IntoIterator<Item = &'t String>) -> io::Result<()> {
        let list = list.into_iter().enumerate();
        list.map(|(i, text)| (if i == 0 { name } else { "" }, text))
            .try_for_each(|(name, text)| self.add(name, printable(text.as_bytes())))
    }
}

fn status(report: &RebuildReport, style: &Style) -> String {
    match (report.status, report.dry_run) {
        (Status::Unchanged, _) => style.heading("unchanged"),
        (Status::Rebuilt, true) => style.heading("would be rebuilt"),
        (Status::Rebuilt, false) => style.heading("rebuilt"),
        (Status::Refused, _) => style.error("refused"),
    }
}

/// One of many mailboxes, as a line.
///
/// # Errors
/// When `out` cannot be written to.
pub fn row(report: &RebuildReport, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}: {}", shown(&report.path), status(report, style))?;
    if !is_shared(&report.path) {
        write!(out, ", {}", counted(report.messages.total, "message"))?;
    }
    if report.status != Status::Unchanged {
        if let Some(base) = report.base {
            write!(out, ", base {base}")?;
        }
        if let Some(reason) = report.reason.as_ref().filter(|_| report.losses.is_empty()) {
            write!(out, ": {}", printable(reason.as_bytes()))?;
        }
        for (i, lost) in report.losses.iter().enumerate() {
            let lost = format!("{} ({})", printable(lost.to_string().as_bytes()), lost.grade().name());
            let before = if i == 0 { ": loses " } else { "; " };
            write!(out, "{before}{}", style.cell(Paint::Warning, &lost))?;
        }
    }
    writeln!(out)
}

/// A number of things, each called `what`.
fn counted(n: u64, what: &str) -> String {
    let plural = if n == 1 {
        ""
    } else if what.ends_with('x') {
        "es"
    } else {
        "s"
    };
    format!("{n} {what}{plural}")
}

impl RebuildSummary {
    /// What all of it came to, in one line.
    pub fn text(&self, dry_run: bool) -> String {
        let counts = [
            (self.unchanged, "unchanged"),
            (self.rebuilt, if dry_run { "would be rebuilt" } else { "rebuilt" }),
            (self.with_loss, "of them with a loss"),
            (self.refused, "left alone"),
            (self.failed, "failed"),
        ];
        let others = match self.others {
            0 => String::new(),
            others => format!(" and {}", counted(others, "shared index")),
        };
        let (mailboxes, messages) = (counted(self.mailboxes, "mailbox"), counted(self.messages, "message"));
        let things = format!("{mailboxes}{others}, {messages}");
        sentence(things, &counts, self.interrupted)
    }

    /// Writes what is lost, and what to type next.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn next_steps(&self, out: &mut dyn Write) -> io::Result<()> {
        for lost in &self.losses {
            let (mailboxes, messages) = (counted(lost.mailboxes, "mailbox"), counted(lost.messages, "message"));
            write!(out, "loss of {}: {mailboxes}, {messages}", lost.grade.name())?;
            match lost.refused {
                0 => writeln!(out)?,
                refused => writeln!(out, "; {} left alone", counted(refused, "mailbox"))?,
            }
        }
        for next in &self.commands {
            writeln!(out, "next, for {}: {}", counted(next.mailboxes, "mailbox"), printable(next.command.as_bytes()))?;
        }
        Ok(())
    }
}

impl Report for RebuildReport {
    const SCHEMA: &'static str = SCHEMA;

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        writeln!(out, "{}: {}", shown(&self.path), status(self, style))?;
        let mut lines = Lines { table: Table::members(*style), style: *style, out };
        lines.all("reason", &self.reason)?;
        if let Some(base) = self.base {
            let what = match base {
                Base::Index => "the main index and the logs after it",
                Base::Backup => "dovecot.index.backup and the logs after it",
                Base::Log => "logs that start from an empty mailbox",
                Base::Storage => "the mail storage, and what logs tell of its messages",
            };
            lines.add("base", format!("{base}: {what}"))?;
        }
        lines.all("actions", &self.actions)?;
        for (i, lost) in self.lost.iter().enumerate() {
            let lost = style.cell(Paint::Warning, &printable(lost.as_bytes()));
            lines.add(if i == 0 { "lost" } else { "" }, lost)?;
        }
        lines.all("accept", &self.command)?;
        let MessageCounts { total, proven, carried, salvaged } = self.messages;
        lines.add(
            "messages",
            format!("{total}: {proven} proven by the logs, {carried} carried over, {salvaged} salvaged"),
        )?;
        if let Some(kept) = &self.kept {
            let raised = match kept.highest_modseq_raised_by {
                0 => String::new(),
                by => format!(" (raised by {by})"),
            };
            let (keywords, extensions) = (kept.keywords.len(), kept.extensions.len());
            let text = format!(
                "uid_validity {}, next_uid {}, highest_modseq {}{raised}, {keywords} keywords, \
                 {extensions} extensions, {} cache links",
                kept.uid_validity, kept.next_uid, kept.highest_modseq, kept.cache_links,
            );
            lines.add("kept", text)?;
        }
        if let Some(undo) = &self.undo {
            lines.add("undo", shown(undo))?;
        }
        lines.table.flush(lines.out)
    }
}

/// What a report of an undo says first.
fn heading(report: &UndoReport, style: &Style) -> String {
    let status = match (report.status, report.dry_run) {
        (undo::UndoStatus::Restored, false) => style.heading("restored"),
        (undo::UndoStatus::Restored, true) => style.heading("would be restored"),
        (undo::UndoStatus::Refused, _) => style.error("refused"),
        (undo::UndoStatus::Listed, _) => style.heading("can be undone"),
        (undo::UndoStatus::Cleared, false) => style.heading("the undo file is removed"),
        (undo::UndoStatus::Cleared, true) => style.heading("the undo file would be removed"),
    };
    format!("{}: {status} (rebuilt {})", shown(&report.path), printable(report.created.as_bytes()))
}

/// One of many mailboxes, as a line.
///
/// # Errors
/// When `out` cannot be written to.
pub fn undone(report: &UndoReport, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", heading(report, style))
}

impl undo::UndoSummary {
    /// What all of it came to, in one line.
    pub fn text(&self, dry_run: bool) -> String {
        let counts = [
            (self.restored, if dry_run { "would be restored" } else { "restored" }),
            (self.refused, "refused"),
            (self.listed, "can be undone"),
            (self.cleared, if dry_run { "would be forgotten" } else { "forgotten" }),
            (self.failed, "failed"),
        ];
        sentence(counted(self.mailboxes, "mailbox"), &counts, self.interrupted)
    }
}

/// Things, how many of them are what, and the signal that ended the run.
fn sentence(things: String, counts: &[(u64, &str)], interrupted: Option<&str>) -> String {
    let there = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let there = there.collect::<Vec<_>>().join(", ");
    let colon = if there.is_empty() { "" } else { ": " };
    let signal = interrupted.map_or_else(String::new, |signal| format!("; ended by {signal}"));
    format!("{things}{colon}{there}{signal}")
}

impl Report for UndoReport {
    const SCHEMA: &'static str = "idx.undo/1";

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        writeln!(out, "{}", heading(self, style))?;
        let mut lines = Lines { table: Table::members(*style), style: *style, out };
        lines.all("undone", &self.undone)?;
        lines.all("restored", &self.restored)?;
        lines.all("removed", &self.removed)?;
        lines.all("changed", &self.changed_since)?;
        lines.all("lost", &self.thrown_away)?;
        if self.status == undo::UndoStatus::Listed {
            for (i, step) in self.steps.iter().enumerate() {
                let files = printable(step.files.join(", ").as_bytes());
                lines.add(&(i + 1).to_string(), format!("{}: {files}", printable(step.created.as_bytes())))?;
                lines.all("", &step.why)?;
            }
        } else if !self.steps.is_empty() {
            lines.add("left", format!("{} earlier: `idx undo` again, or `idx undo --all`", self.steps.len()))?;
        }
        lines.table.flush(lines.out)
    }
}
