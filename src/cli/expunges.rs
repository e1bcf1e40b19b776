//! `idx expunges`.

use std::path::Path;

use clap::Args;

use super::args::Mailboxes;
use super::{Context, EXIT_STATUS, grammar, paths};
use crate::model::UidSet;
use crate::ops::expunges::{self, Options, Since};
use crate::render::Format;
use crate::{view, with_document};

/// List expunged messages: which, when, asked for by whom, and how far back the logs know
///
/// Each has the modseq and the log position of the expunge, the position of the request, the GUID, and the time it must
/// lie in.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Expunges {
    #[command(flatten)]
    pub(super) mailboxes: Mailboxes,
    /// What a client has not seen that knows this modseq, or what may have happened since this time
    ///
    /// A time is "2026-11-23 03:52", RFC 3339, a span such as "3d ago", or @ and UNIX seconds. A bare number is a
    /// modseq, unless it is above every modseq of the logs and can be UNIX seconds.
    #[arg(long, value_name = "MODSEQ|TIME", value_parser = since)]
    since: Option<Since>,
    /// Only these messages
    #[arg(long, value_name = "SET", value_parser = grammar::set)]
    uid: Option<UidSet>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx expunges --since '3d ago' ~/Maildir     what was deleted in the last three days?
  idx expunges --uid 4088 ~/Maildir           who deleted this message, and when?
  idx expunges -f json --since 4100 ~/Maildir | jq -r .vanished

",
    EXIT_STATUS
);

fn since(text: &str) -> Result<Since, String> {
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Since::Number(number));
    }
    grammar::time(text).map(|time| Since::Time(time.0)).map_err(|error| format!("no modseq, and {error}"))
}

impl Expunges {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        paths::for_each(context, expunges::SCHEMA, &self.mailboxes.paths, |context, path| self.run_one(path, context))
    }

    fn run_one(&self, path: &Path, context: &mut Context) -> anyhow::Result<()> {
        let options = Options { since: self.since, uid: self.uid.clone() };
        let mut report = match expunges::read(path, &options, context.mmap, crate::source::now()) {
            Ok(report) => report,
            Err(error) => {
                context.error_document(expunges::SCHEMA, path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        let (format, style) = (context.format, context.style);
        let written = with_document!(format, expunges::SCHEMA, style, &mut context.out, |out| {
            view::expunges::write(path, &mut report, format == Format::Table, out)
        });
        // What is wrong is said even to those who read no further.
        context.problems(&report.problems());
        Ok(written?)
    }
}
