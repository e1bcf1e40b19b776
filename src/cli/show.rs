//! `idx show`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::args::Mailboxes;
use super::{Context, EXIT_STATUS, grammar, paths};
use crate::model::replay::Until;
use crate::model::{LogPos, UidSet};
use crate::ops::show::{self, Options};
use crate::{view, with_document};

/// Show a mailbox as Dovecot would present it: index plus logs replayed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    pub(super) mailboxes: Mailboxes,
    /// Only these messages
    #[arg(long, value_name = "SET", value_parser = grammar::set)]
    uid: Option<UidSet>,
    /// The mailbox as it was at a log position SEQ:OFFSET, or when its highest modseq was N (modseq:N)
    #[arg(long, value_name = "POSITION", value_parser = Position::from_str)]
    at: Option<Position>,
    /// Directory of the private index with the user's own flags
    #[arg(long, value_name = "DIR")]
    pvt: Option<PathBuf>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx show ~/Maildir                        all messages with flags, keywords and modseqs
  idx show --at modseq:4100 ~/Maildir       the mailbox when its HIGHESTMODSEQ was 4100
  idx show -f json ~/Maildir | jq '.messages[] | select(.flags | index(\"\\\\Deleted\")) | .uid'

",
    EXIT_STATUS
);

/// A position as it is given on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Position(pub Until);

impl FromStr for Position {
    type Err = String;
    fn from_str(text: &str) -> Result<Position, String> {
        let bad = || format!("{text:?} is not a position (expected SEQ:OFFSET such as 4:1832, or modseq:N)");
        let (left, right) = text.split_once(':').ok_or_else(bad)?;
        let until = if left == "modseq" {
            Until::Modseq(right.parse().map_err(|_| bad())?)
        } else {
            Until::Pos(LogPos { seq: left.parse().map_err(|_| bad())?, offset: right.parse().map_err(|_| bad())? })
        };
        Ok(Position(until))
    }
}

impl Show {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let options = Options {
            uid: self.uid.clone(),
            at: self.at.map_or(Until::End, |at| at.0),
            pvt: self.pvt.clone(),
            mmap: context.mmap,
        };
        paths::for_each(context, show::SCHEMA, &self.mailboxes.paths, |context, path| {
            let state = match show::state(path, &options) {
                Ok(state) => state,
                Err(error) => {
                    context.error_document(show::SCHEMA, path, &error)?;
                    context.failure(&error);
                    return Ok(());
                }
            };
            let (format, style) = (context.format, context.style);
            let written = with_document!(format, show::SCHEMA, style, &mut context.out, |out| {
                view::show::write(path, &state, &options, out)
            });
            // What is wrong is said even to those who read no further.
            context.problems(&state.problems);
            Ok(written?)
        })
    }
}
