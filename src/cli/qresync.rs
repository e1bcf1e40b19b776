//! `idx qresync`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Mailboxes;
use super::{Context, EXIT_STATUS, Status, grammar, paths};
use crate::model::UidSet;
use crate::model::qresync::Sample;
use crate::ops::opened::Opened;
use crate::ops::qresync::{self, Options};
use crate::render::Format;
use crate::{view, with_document};

/// Say what a server must answer to SELECT (QRESYNC (V M ...))
///
/// The answer is Dovecot's, of 2.2 and later: exact while the logs reach back to the modseq, else every known UID that
/// is not there. With a recorded session it says where the server or the client went wrong.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Qresync {
    #[command(flatten)]
    pub(super) mailboxes: Mailboxes,
    /// The UIDVALIDITY the client knows
    #[arg(long, value_name = "V", required_unless_present = "versus")]
    uidvalidity: Option<u32>,
    /// The HIGHESTMODSEQ the client knows
    #[arg(long, value_name = "M", required_unless_present = "versus")]
    modseq: Option<u64>,
    /// The UIDs the client knows; all when not given
    #[arg(long, value_name = "SET", value_parser = grammar::set)]
    known: Option<UidSet>,
    /// Sequence numbers and UIDs of some messages the client knows
    #[arg(long, num_args = 2, value_names = ["SEQS", "UIDS"], value_parser = grammar::set)]
    seq_match: Option<Vec<UidSet>>,
    /// A recorded IMAP session to compare; what the client sent then stands in for options not given
    #[arg(long, value_name = "TRANSCRIPT")]
    versus: Option<PathBuf>,
    /// Directory of the private index with the user's own flags
    #[arg(long, value_name = "DIR")]
    pvt: Option<PathBuf>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx qresync --uidvalidity 1795421627 --modseq 7 ~/Maildir
  idx qresync --uidvalidity 1795421627 --modseq 7 --known 1:8 --seq-match 1,3,5 1,3,5 ~/Maildir
  idx qresync --versus session.txt ~/Maildir     where did server or client go wrong?

",
    EXIT_STATUS
);

impl Qresync {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        paths::for_each(context, qresync::SCHEMA, &self.mailboxes.paths, |context, path| self.run_one(path, context))
    }

    fn run_one(&self, path: &Path, context: &mut Context) -> anyhow::Result<()> {
        let sample = match self.seq_match.as_deref() {
            Some([seqs, uids]) => match Sample::new(seqs, uids) {
                Some(sample) => Some(sample),
                None => {
                    let error = format!(
                        "--seq-match: {} sequence numbers for {} UIDs (expected as many of one as of the other)",
                        seqs.count(),
                        uids.count()
                    );
                    context.error_document(qresync::SCHEMA, path, &error)?;
                    context.failure(&error);
                    return Ok(());
                }
            },
            _ => None,
        };
        let options = Options {
            uid_validity: self.uidvalidity,
            modseq: self.modseq,
            known: self.known.clone(),
            sample,
            versus: self.versus.clone(),
        };
        let opened = match Opened::read(path, self.pvt.as_deref(), context.mmap) {
            Ok(opened) => opened,
            Err(error) => {
                context.error_document(qresync::SCHEMA, path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        let outcome = match qresync::run(path, &opened, &options) {
            Ok(outcome) => outcome,
            Err(error) => {
                context.error_document(qresync::SCHEMA, path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        let (format, style) = (context.format, context.style);
        let written = with_document!(format, qresync::SCHEMA, style, &mut context.out, |out| {
            view::qresync::write(path, &outcome, format == Format::Table, out)
        });
        // What is wrong is said even to those who read no further.
        if outcome.differences.as_ref().is_some_and(|list| !list.is_empty()) {
            context.raise(Status::Findings);
        }
        context.problems(outcome.state.problems);
        Ok(written?)
    }
}
