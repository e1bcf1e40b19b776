//! What a rebuild has done, and what an undo has, for people.

use std::io::{self, Write};

use crate::ops::rebuild::{RebuildReport, Status};
use crate::ops::undo::{self, UndoReport};
use crate::render::table::{Cell, Table};
use crate::render::text::{printable, shown};
use crate::render::{Paint, Report, Style};
use crate::repair::{Base, Messages};

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

impl Report for RebuildReport {
    const SCHEMA: &'static str = "idx.rebuild/1";

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let status = match (self.status, self.dry_run) {
            (Status::Unchanged, _) => style.heading("unchanged"),
            (Status::Rebuilt, true) => style.heading("would be rebuilt"),
            (Status::Rebuilt, false) => style.heading("rebuilt"),
            (Status::Refused, _) => style.error("refused"),
        };
        writeln!(out, "{}: {status}", shown(&self.path))?;
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
        let Messages { total, proven, carried, salvaged } = self.messages;
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

impl Report for UndoReport {
    const SCHEMA: &'static str = "idx.undo/1";

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let status = match (self.status, self.dry_run) {
            (undo::Status::Restored, false) => style.heading("restored"),
            (undo::Status::Restored, true) => style.heading("would be restored"),
            (undo::Status::Refused, _) => style.error("refused"),
            (undo::Status::Listed, _) => style.heading("can be undone"),
            (undo::Status::Cleared, false) => style.heading("the undo file is removed"),
            (undo::Status::Cleared, true) => style.heading("the undo file would be removed"),
        };
        writeln!(out, "{}: {status} (rebuilt {})", shown(&self.path), printable(self.created.as_bytes()))?;
        let mut lines = Lines { table: Table::members(*style), style: *style, out };
        lines.all("undone", &self.undone)?;
        lines.all("restored", &self.restored)?;
        lines.all("removed", &self.removed)?;
        lines.all("changed", &self.changed_since)?;
        lines.all("lost", &self.thrown_away)?;
        if self.status == undo::Status::Listed {
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
