//! What people see of a scan: a row for each mailbox, and the counts of them all.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use crate::format::ext::Visit;
use crate::ops::scan::{Counts, Row, State};
use crate::render::table::{Cell, Table};
use crate::render::text::printable;
use crate::render::units::{short_bytes, short_span};
use crate::render::{Emit, Style};
use crate::source::Role;

const TITLES: [&str; 14] = [
    "NAME",
    "USER",
    "KIND",
    "FORMAT",
    "MESSAGES",
    "UNSEEN",
    "MODSEQ",
    "UIDVALIDITY",
    "INDEX",
    "LOG",
    "LOG.2",
    "CACHE",
    "LOG AGE",
    "STATE",
];
/// What a narrow terminal can do without, the least first.
const RANKS: [u8; 14] = [0, 1, 4, 5, 0, 2, 3, 9, 8, 4, 7, 6, 3, 0];

/// Rows by state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    mailboxes: u64,
    messages: u64,
    sound: u64,
    warning: u64,
    busy: u64,
    damaged: u64,
    unreadable: u64,
}

impl Summary {
    /// Takes in a row.
    pub fn count(&mut self, row: &Row) {
        if row.kind == "mailbox" {
            self.mailboxes += 1;
            self.messages += row.counts.map_or(0, |counts| counts.messages);
        }
        match row.state {
            State::Sound => self.sound += 1,
            State::Warning => self.warning += 1,
            State::Busy => self.busy += 1,
            State::Damaged => self.damaged += 1,
            State::Unreadable => self.unreadable += 1,
        }
    }

    /// Writes the members of the summary.
    pub fn emit<E: Visit + ?Sized>(&self, emit: &mut E) {
        emit.number("mailboxes", self.mailboxes);
        emit.number("messages", self.messages);
        emit.number("sound", self.sound);
        emit.number("warning", self.warning);
        emit.number("busy", self.busy);
        emit.number("damaged", self.damaged);
        emit.number("unreadable", self.unreadable);
    }

    /// Writes the line below the table.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let of = if self.mailboxes == 1 { "mailbox" } else { "mailboxes" };
        write!(out, "{} {of}, {} messages", self.mailboxes, self.messages)?;
        for (n, what) in [(self.busy, "busy"), (self.damaged, "damaged"), (self.unreadable, "unreadable")] {
            if n > 0 {
                write!(out, ", {n} {what}")?;
            }
        }
        writeln!(out)
    }
}

/// An empty table.
pub fn table(style: Style) -> Table {
    Table::new(TITLES, style).ranked(&RANKS)
}

/// The cells of a row; `all` says whether there may be others than mailboxes.
pub fn cells(row: &Row, all: bool) -> Vec<Cell> {
    let count = |value: fn(&Counts) -> u64| Cell::optional(row.counts.as_ref().map(value));
    let size = |role: Role| Cell::optional(row.size(role).map(short_bytes));
    vec![
        Cell::text(printable(&row.name)),
        Cell::text(row.user.as_ref().map_or_else(String::new, |user| printable(user.as_bytes()))),
        Cell::text(if all { row.kind } else { "" }),
        Cell::text(row.format.unwrap_or("-")),
        count(|c| c.messages),
        count(|c| c.unseen),
        count(|c| c.highest_modseq),
        count(|c| c.uid_validity.into()),
        size(Role::Index),
        size(Role::Log),
        size(Role::OldLog),
        size(Role::Cache),
        Cell::optional(row.log_age.map(|age| short_span(i64::try_from(age).unwrap_or(i64::MAX)))),
        Cell::text(row.state.name()),
    ]
}

/// Writes the members of a row.
pub fn emit<E: Emit + ?Sized>(row: &Row, emit: &mut E) {
    emit.text("name", &row.name);
    match &row.user {
        Some(user) => emit.text("user", user.as_bytes()),
        None => emit.null("user"),
    }
    emit.text("path", row.path.as_os_str().as_bytes());
    emit.text("kind", row.kind.as_bytes());
    match row.format {
        Some(format) => emit.text("format", format.as_bytes()),
        None => emit.null("format"),
    }
    let counts: [(&str, Option<u64>); 5] = [
        ("messages", row.counts.map(|c| c.messages)),
        ("unseen", row.counts.map(|c| c.unseen)),
        ("highest_modseq", row.counts.map(|c| c.highest_modseq)),
        ("uid_validity", row.counts.map(|c| c.uid_validity.into())),
        ("next_uid", row.counts.map(|c| c.next_uid.into())),
    ];
    for (name, value) in counts {
        match value {
            Some(value) => emit.number(name, value),
            None => emit.null(name),
        }
    }
    emit.object_begin("sizes");
    for (role, size) in &row.sizes {
        emit.number(size_key(*role), *size);
    }
    emit.object_end();
    match row.log_create_stamp {
        Some(stamp) => emit.number("log_create_stamp", stamp.into()),
        None => emit.null("log_create_stamp"),
    }
    match row.log_age {
        Some(age) => emit.number("log_age_seconds", age),
        None => emit.null("log_age_seconds"),
    }
    emit.text("state", row.state.name().as_bytes());
    if let Some((file, problem)) = &row.problem {
        emit.text("file", file.as_os_str().as_bytes());
        emit.text("problem", problem.as_bytes());
    }
    if row.undecodable {
        emit.boolean("undecodable", true);
    }
}

const fn size_key(role: Role) -> &'static str {
    match role {
        Role::Index => "index",
        Role::Backup => "backup",
        Role::OldLog => "log.2",
        Role::Log => "log",
        Role::Cache => "cache",
    }
}
