//! A verb that writes, on several mailboxes: each named one and each in a tree, until a signal ends it; one document
//! with all of them, a line of JSON for each, or lines for people, and a summary at the end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::paths::Groups;
use super::progress::Progress;
use super::{Context, is_single};
use crate::render::{self, Format, Report};

/// What is done for each mailbox; `T` is what came of one.
pub struct Work<'a, T> {
    /// True when nothing more may be begun.
    pub is_over: &'a dyn Fn() -> bool,
    /// For the mailbox that a path means.
    pub named: &'a dyn Fn(&Path) -> T,
    /// For every mailbox below directories.
    pub trees: &'a dyn Fn(&[PathBuf], &mut dyn FnMut(T)),
}

/// What is written about several mailboxes.
pub struct Batch {
    schema: &'static str,
    /// Whether there may be several.
    several: bool,
    /// Whether several were named, or a tree.
    is_run: bool,
    /// Whether something was written between the brackets.
    some: bool,
    /// The first error. The work goes on without its report.
    written: io::Result<()>,
}

impl Batch {
    /// Begins it; of a single mailbox (not `several`) there is nothing but its document.
    pub fn begin(schema: &'static str, several: bool) -> Batch {
        Batch { schema, several, is_run: several, some: false, written: Ok(()) }
    }

    /// Does the work for each mailbox in the order of its path, and tells what came of it: that of trees is told with
    /// `true`.
    pub fn run<T>(
        &mut self,
        context: &mut Context,
        paths: &Groups<'_>,
        work: &Work<'_, T>,
        mut tell: impl FnMut(&mut Context, &mut Batch, T, bool),
    ) {
        let progress = Progress::new(context.progress, "mailboxes", paths.total(), true);
        for (group, is_tree) in paths.groups() {
            let mut told = |outcome: T| {
                progress.step();
                progress.aside(|| tell(context, self, outcome, is_tree));
            };
            if is_tree {
                (work.trees)(group, &mut told);
            } else {
                group.iter().take_while(|_| !(work.is_over)()).for_each(|path| told((work.named)(path)));
            }
        }
        progress.finish();
    }

    fn is_one_document(&self, context: &Context) -> bool {
        self.several && is_single(context.format)
    }

    fn write(&mut self, context: &mut Context, write: impl FnOnce(&mut Context) -> io::Result<()>) {
        if self.written.is_ok() {
            self.written = write(context);
        }
    }

    /// The beginning of the document, or what stands between two of its items.
    fn open(&mut self, context: &mut Context, between: &'static [u8]) {
        let is_first = !std::mem::replace(&mut self.some, true);
        if !self.is_one_document(context) {
            return;
        }
        let schema = self.schema;
        self.write(context, |context| match is_first {
            true => write!(context.out, "{{\"schema\":\"{schema}\",\"mailboxes\":["),
            false => context.out.write_all(between),
        });
    }

    /// There is nothing where the only path leads: that is a single result, if there is none yet.
    pub fn is_nothing(&mut self) {
        self.several = self.several && self.some;
    }

    fn item(&mut self, context: &mut Context, write: impl FnOnce(&mut Context) -> io::Result<()>) {
        let flush = self.several;
        self.open(context, b",");
        self.write(context, |context| {
            write(context)?;
            if flush { context.out.flush() } else { Ok(()) }
        });
    }

    /// One result. `row` writes it for people where there may be very many.
    pub fn report<R: Report>(
        &mut self,
        context: &mut Context,
        report: &R,
        row: Option<impl FnOnce(&mut Context) -> io::Result<()>>,
    ) {
        self.item(context, |context| match row {
            Some(row) if context.format == Format::Table => row(context),
            _ => render::print(report, context.format, &context.style, &mut context.out),
        });
    }

    /// One mailbox that nothing could be done with.
    pub fn failure(&mut self, context: &mut Context, path: &Path, error: &dyn std::fmt::Display) {
        let schema = self.schema;
        if context.format != Format::Table {
            self.item(context, |context| context.error_document(schema, path, error));
        }
        context.failure(error);
    }

    /// Ends it with a summary, if there may have been several: `interrupted` is the signal that ended it before all was
    /// done, `sentence` what all came to, and `more` writes for people what follows from it.
    ///
    /// # Errors
    /// When standard output could not be written to, now or since it began.
    pub fn end<S: Serialize>(
        mut self,
        context: &mut Context,
        summary: &S,
        interrupted: Option<&str>,
        sentence: String,
        more: impl FnOnce(&mut Context) -> io::Result<()>,
    ) -> io::Result<()> {
        let schema = self.schema;
        if let Some(signal) = interrupted {
            context.failure(&format_args!("ended by {signal} after the mailboxes in work; the others were not begun"));
        }
        if self.is_run {
            context.done(sentence.clone());
        }
        if self.several {
            self.open(context, b"");
            self.write(context, |context| match context.format {
                Format::Table => {
                    writeln!(context.out, "{sentence}")?;
                    more(context)
                }
                Format::Json => context.end_of_several(Some(&serde_json::to_vec(summary)?)),
                Format::Ndjson => {
                    write!(context.out, "{{\"schema\":\"{schema}\",\"section\":\"summary\",\"summary\":")?;
                    serde_json::to_writer(&mut context.out, summary)?;
                    context.out.write_all(b"}\n")
                }
            });
        }
        self.written
    }
}
