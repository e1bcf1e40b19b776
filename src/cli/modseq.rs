//! `idx modseq`.

use std::path::Path;

use clap::Args;

use super::args::Mailboxes;
use super::{Context, EXIT_STATUS, Status, grammar, paths};
use crate::check::Level;
use crate::model::UidSet;
use crate::ops::modseq;
use crate::ops::opened::Opened;
use crate::ops::past::Past;
use crate::{view, with_document};

/// Show modseqs: the highest, each file's, each message's, and the log position one stands for
///
/// Without options: HIGHESTMODSEQ from the index header and from the log, which must agree, where tracking began, the
/// range of each log, and per message its modseq, its createseq (the modseq of its append) and the record that set the
/// modseq.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Modseq {
    #[command(flatten)]
    pub(super) mailboxes: Mailboxes,
    /// Only these messages
    #[arg(long, value_name = "SET", value_parser = grammar::set, conflicts_with_all = ["locate", "decode"])]
    uid: Option<UidSet>,
    /// Every step of the modseq, one line each
    #[arg(long, conflicts_with_all = ["locate", "decode"])]
    history: bool,
    /// The log position that a modseq stands for, and how QRESYNC with it is answered
    #[arg(long, value_name = "N", conflicts_with = "decode")]
    locate: Option<u64>,
    /// Take a number apart: a count of changes, or a log position as in snapshots of 2008
    #[arg(long, value_name = "N", value_parser = number)]
    decode: Option<u64>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx modseq --uid 4088 ~/Maildir          which record gave this message its modseq?
  idx modseq --locate 4100 ~/Maildir       what has a client seen that knows modseq 4100?
  idx modseq --history -f ndjson ~/Maildir | jq 'select(.type == \"append\") | .modseq'

",
    EXIT_STATUS
);

/// A decimal or hexadecimal number.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{error} (expected a decimal number, or 0x and a hexadecimal one)"))
}

impl Modseq {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        paths::for_each(context, modseq::SCHEMA, &self.mailboxes.paths, |context, path| self.run_one(path, context))
    }

    fn run_one(&self, path: &Path, context: &mut Context) -> anyhow::Result<()> {
        if self.history || self.locate.is_some() || self.decode.is_some() {
            return self.run_on_logs(path, context);
        }
        let opened = match Opened::read(path, None, context.mmap) {
            Ok(opened) => opened,
            Err(error) => return self.fail(path, context, &error),
        };
        let overview = match modseq::overview(path, &opened) {
            Ok(overview) => overview,
            Err(error) => return self.fail(path, context, &error),
        };
        let (format, style) = (context.format, context.style);
        let written = with_document!(format, modseq::SCHEMA, style, &mut context.out, |out| {
            view::modseq::write_overview(path, &overview, self.uid.as_ref(), out)
        });
        // What is wrong is said even to those who read no further.
        context.problems(overview.state.problems);
        // Index and log that disagree are a difference, whatever it costs the server.
        if !overview.agree() {
            context.raise(Status::Findings);
        }
        Ok(written?)
    }

    fn fail(&self, path: &Path, context: &mut Context, error: &dyn std::fmt::Display) -> anyhow::Result<()> {
        context.error_document(modseq::SCHEMA, path, error)?;
        context.failure(error);
        Ok(())
    }

    fn run_on_logs(&self, path: &Path, context: &mut Context) -> anyhow::Result<()> {
        let mut past = match Past::open(path, Level::Modseqs, context.mmap, crate::source::now()) {
            Ok(past) => past,
            Err(error) => return self.fail(path, context, &error),
        };
        let (format, style) = (context.format, context.style);
        if let Some(wanted) = self.locate {
            let located = match modseq::locate_in(&mut past, wanted) {
                Ok(located) => located,
                Err(error) => return self.fail(path, context, &error),
            };
            let problems = past.verdict.problems(&past.logs);
            with_document!(format, modseq::SCHEMA, style, &mut context.out, |out| {
                view::modseq::write_located(path, &located, &problems, out)?;
            });
        } else if let Some(value) = self.decode {
            let decoded = match modseq::decode_in(&mut past, value) {
                Ok(decoded) => decoded,
                Err(error) => return self.fail(path, context, &error),
            };
            let problems = past.verdict.problems(&past.logs);
            with_document!(format, modseq::SCHEMA, style, &mut context.out, |out| {
                view::modseq::write_decoded(path, past.logs.indexid(), &decoded, &problems, out)?;
            });
        } else {
            with_document!(format, modseq::SCHEMA, style, &mut context.out, |out| {
                view::modseq::write_history(path, &mut past, self.uid.as_ref(), out)?;
            });
        }
        context.problems(&past.verdict.problems(&past.logs));
        Ok(())
    }
}
