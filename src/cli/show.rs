//! `idx show`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{Context, EXIT_STATUS, expand_paths, is_single};
use crate::model::replay::Until;
use crate::model::{LogPos, UidSet};
use crate::ops::show::{self, Options};
use crate::render::document::Document;
use crate::with_document;

/// Show a mailbox as Dovecot would present it: index plus logs replayed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Show {
    /// Mailbox directory, or one of its index files; - reads names from standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Only these messages
    #[arg(long, value_name = "SET")]
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
        let paths = expand_paths(std::slice::from_ref(&self.path))?;
        let states: Vec<_> = paths.iter().map(|path| (path, show::state(path, &options))).collect();
        let (format, style) = (context.format, context.style);
        let grouped = is_single(format) && paths.len() != 1;
        with_document!(format, show::SCHEMA, style, &mut context.out, |out| {
            if grouped {
                out.begin(&mut |_| {})?;
                out.list_begin("mailboxes")?;
            }
            for (path, state) in &states {
                match state {
                    Ok(state) => show::write(path, state, &options, out)?,
                    Err(error) => out.failed(path, error)?,
                }
            }
            if grouped {
                out.list_end()?;
                out.end()?;
            }
        });
        for (_, state) in &states {
            match state {
                Ok(state) => state.problems.iter().for_each(|(path, problem)| context.finding(path, problem)),
                Err(error) => context.failure(error),
            }
        }
        Ok(())
    }
}
