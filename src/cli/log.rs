//! `idx log`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;

use super::args::Mailboxes;
use super::grammar::{self, Time};
use super::{Context, EXIT_STATUS, paths};
use crate::format::record::RecordType;
use crate::logs::history::LogError;
use crate::logs::walk::Options;
use crate::model::{LogPos, UidSet};
use crate::ops::log::OpenHistory;
use crate::view;

/// Show the history of a mailbox: every record of .log.2 and .log, in order, and when it was written
///
/// Records carry no time. The bracket in which each was written follows from every clock the files hold; --evidence
/// names them. With --uid the records are told as the life of these messages. --since and --until keep what may have
/// been written in that time.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Log {
    #[command(flatten)]
    pub(super) mailboxes: Mailboxes,
    /// Only records that name these messages, told as their life
    #[arg(long, value_name = "SET", value_parser = grammar::set)]
    uid: Option<UidSet>,
    /// Only these record types, such as append, flag-update, expunge-guid
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = type_of)]
    types: Option<Vec<RecordType>>,
    /// Only records after which the modseq is N, or from A to B; either may be left out
    #[arg(long, value_name = "A:B", value_parser = modseq_range)]
    modseq: Option<(u64, u64)>,
    /// Only records that begin at or between these log positions; either may be left out
    #[arg(long, value_name = "S:O..S:O", value_parser = position_range)]
    position: Option<(LogPos, LogPos)>,
    /// Only what may have been written since: "2026-11-23 03:52", 03:52, yesterday, "3d ago", UNIX seconds, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = grammar::time)]
    since: Option<Time>,
    /// Only what may have been written until then
    #[arg(long, value_name = "TIME", value_parser = grammar::time)]
    until: Option<Time>,
    /// Count records and bytes by type, by origin and by hour
    #[arg(long, conflicts_with = "follow")]
    stats: bool,
    /// Go on with what is written from now on, across rotations, until interrupted
    #[arg(long)]
    follow: bool,
    /// Say which clocks gave the times
    #[arg(long)]
    evidence: bool,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx log --uid 4088 ~/Maildir                         the life of one message: saved, flagged, expunged, by whom
  idx log --type expunge-guid --since '3d ago' ~/Maildir
  idx log --follow -f ndjson ~/Maildir | jq -r 'select(.origin == \"request\") | [.not_before, .type] | @tsv'

",
    EXIT_STATUS
);

fn type_of(name: &str) -> Result<RecordType, String> {
    RecordType::from_name(name).ok_or_else(|| {
        let names: Vec<_> = RecordType::ALL.iter().map(|(.., name)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// `N`, `A:B`, `A:`, `:B`.
fn modseq_range(text: &str) -> Result<(u64, u64), String> {
    let bad = || format!("{text:?} is no range of modseqs (expected N, A:B, A: or :B)");
    let number = |text: &str, absent| if text.is_empty() { Ok(absent) } else { text.parse().map_err(|_| bad()) };
    let (from, to) = match text.split_once(':') {
        Some((from, to)) if from.len() + to.len() > 0 => (number(from, 0)?, number(to, u64::MAX)?),
        Some(_) => return Err(bad()),
        None => {
            let one: u64 = text.parse().map_err(|_| bad())?;
            (one, one)
        }
    };
    if from <= to { Ok((from, to)) } else { Err(bad()) }
}

/// `S:O`, `S:O..S:O`, `S:O..`, `..S:O`; a file number alone stands for the whole file.
fn position_range(text: &str) -> Result<(LogPos, LogPos), String> {
    let bad =
        || format!("{text:?} is no range of log positions (expected SEQ:OFFSET..SEQ:OFFSET such as 3:40..4:1832)");
    let position = |text: &str, absent: u64| -> Result<LogPos, String> {
        let (seq, offset) = match text.split_once(':') {
            Some((seq, offset)) => (seq, offset.parse().map_err(|_| bad())?),
            None => (text, absent),
        };
        Ok(LogPos { seq: seq.parse().map_err(|_| bad())?, offset })
    };
    let last = LogPos { seq: u32::MAX, offset: u64::MAX };
    let (from, to) = match text.split_once("..") {
        Some(("", "")) => return Err(bad()),
        Some((from, "")) => (position(from, 0)?, last),
        Some(("", to)) => (LogPos::default(), position(to, u64::MAX)?),
        Some((from, to)) => (position(from, 0)?, position(to, u64::MAX)?),
        None => (position(text, 0)?, position(text, u64::MAX)?),
    };
    if from <= to { Ok((from, to)) } else { Err(bad()) }
}

impl Log {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let list = &self.mailboxes.paths;
        if self.follow && (list.len() != 1 || list.iter().any(|path| path.as_os_str() == "-")) {
            context.failure(&"--follow takes one PATH: the history of a mailbox has no end then");
            return Ok(());
        }
        paths::for_each(context, view::log::SCHEMA, list, |context, path| self.run_one(path, context))
    }

    fn run_one(&self, path: &Path, context: &mut Context) -> anyhow::Result<()> {
        let options = Options {
            uid: self.uid.clone(),
            types: self.types.clone(),
            modseq: self.modseq,
            position: self.position,
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
            evidence: self.evidence,
        };
        let timed = !self.stats || options.since.is_some() || options.until.is_some();
        match self.show(path, &options, timed, context) {
            Ok(()) => Ok(()),
            Err(LogError::Output(error)) => Err(error.into()),
            Err(error) => {
                context.failure(&error);
                Ok(())
            }
        }
    }

    fn show(&self, path: &Path, options: &Options, timed: bool, context: &mut Context) -> Result<(), LogError> {
        let (format, style) = (context.format, context.style);
        let mut opened = match OpenHistory::open(path, timed, context.mmap, crate::source::now()) {
            Ok(opened) => opened,
            Err(error) => {
                context.error_document(view::log::SCHEMA, path, &error)?;
                return Err(error);
            }
        };
        if self.stats {
            let stats = match opened.history.stats(options) {
                Ok(stats) => stats,
                Err(error) => {
                    context.error_document(view::log::SCHEMA, path, &error)?;
                    return Err(error);
                }
            };
            let problems = opened.problems();
            let sums = view::log::Sums::new(path, &stats, &problems);
            let written = crate::render::print(&sums, format, &style, &mut context.out);
            context.problems(&problems);
            return Ok(written?);
        }
        let whole =
            options.types.is_none() && options.modseq.is_none() && options.position.is_none() && options.timeless();
        let stop = if self.follow { Some(stop_flag()?) } else { None };
        let written = view::log::Options { format, style, whole };
        let (problems, result) = view::log::write(path, &written, &mut context.out, &mut |sink| {
            let result = match &stop {
                Some(stop) => {
                    let stopped = || stop.load(Ordering::Relaxed) || nobody_reads();
                    opened.history.follow(options, sink, &stopped)
                }
                None => opened.history.records(options, sink),
            };
            (opened.problems(), result)
        });
        // What is wrong is said even to those who read no further.
        context.problems(&problems);
        result
    }
}

/// Set when the user or the system wants idx to end.
fn stop_flag() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

/// True when standard output is a pipe whose other end is closed.
fn nobody_reads() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_modseqs() {
        assert_eq!(modseq_range("7"), Ok((7, 7)));
        assert_eq!(modseq_range("7:9"), Ok((7, 9)));
        assert_eq!(modseq_range("7:"), Ok((7, u64::MAX)));
        assert_eq!(modseq_range(":9"), Ok((0, 9)));
        for bad in ["", ":", "9:7", "x", "1:x", "-1"] {
            assert!(modseq_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_of_positions() {
        let pos = |seq, offset| LogPos { seq, offset };
        assert_eq!(position_range("3:40..4:1832"), Ok((pos(3, 40), pos(4, 1832))));
        assert_eq!(position_range("3:40.."), Ok((pos(3, 40), pos(u32::MAX, u64::MAX))));
        assert_eq!(position_range("..4:8"), Ok((pos(0, 0), pos(4, 8))));
        assert_eq!(position_range("4"), Ok((pos(4, 0), pos(4, u64::MAX))));
        assert_eq!(position_range("4:8"), Ok((pos(4, 8), pos(4, 8))));
        for bad in ["", "..", "4:8..3:8", "a:1", "4:x"] {
            assert!(position_range(bad).is_err(), "{bad}");
        }
    }
}
