//! Which of the log files belong to this mailbox, and in what order.

use super::heal::own::Foreign;
use super::inputs::Inputs;
use super::survey::Survey;
use crate::format::index::IndexFile;
use crate::format::log::{LogFile, LogHeader};
use crate::model::Chain;
use crate::model::ids::common_indexid;
use crate::source::Role;

/// The logs, sorted out.
pub struct Logs<'a> {
    /// Oldest first.
    pub files: Vec<Survey<'a>>,
    /// Why the file in the place of `.log.2` is not one of them.
    pub foreign_old: Option<String>,
    /// Why the file in the place of `.log` is not one of them.
    pub foreign: Option<String>,
    /// `.log` and `.log.2` stand in each other's place.
    pub swapped: bool,
    /// The file in the place of `.log.2` is of this mailbox, though it does not lead to the log.
    pub old_is_ours: bool,
    /// The newest of them is `.log`.
    pub head_in_place: bool,
    /// `.log` and `.log.2` are both the same log, and not one file.
    pub same_twice: bool,
}

impl<'a> Logs<'a> {
    /// Logs against which nothing speaks, oldest first.
    pub fn of(files: Vec<Survey<'a>>) -> Logs<'a> {
        Logs {
            files,
            foreign_old: None,
            foreign: None,
            swapped: false,
            old_is_ours: false,
            head_in_place: true,
            same_twice: false,
        }
    }

    pub fn chain(&self) -> Chain<'_> {
        Chain::new(self.files.iter().map(Survey::file))
    }

    pub fn head(&self) -> Option<&Survey<'a>> {
        self.files.last()
    }

    /// The newest ends in the middle of something.
    pub fn is_torn(&self) -> bool {
        self.head().is_some_and(|log| log.tail.is_some())
    }
}

/// The id that most files have. An index that is created with a log gets the time at which the log was.
pub fn vote(inputs: &Inputs<'_>, foreign: &Foreign, index: Option<&IndexFile<'_>>) -> u32 {
    let log = |role: Role| {
        let bytes = inputs.bytes(role).filter(|_| foreign.why(role).is_none())?;
        Some(LogFile::parse(bytes, bytes.len() as u64).ok()?.header)
    };
    let backup = inputs.backup.and_then(|bytes| IndexFile::parse(bytes).ok());
    let of_index = |index: &IndexFile<'_>| index.header.indexid;
    let (new, old) = (log(Role::Log), log(Role::OldLog));
    let id = |header: &LogHeader| header.indexid;
    let ids = [new.as_ref().map(id), index.map(of_index), old.as_ref().map(id), backup.as_ref().map(of_index)];
    let born = || new.as_ref().map(|header| header.create_stamp).filter(|stamp| *stamp != 0).unwrap_or(inputs.now);
    common_indexid(ids, inputs.cache).unwrap_or_else(born)
}

pub fn sort_logs<'a>(inputs: &Inputs<'a>, others: &Foreign, index: Option<&IndexFile<'_>>, indexid: u32) -> Logs<'a> {
    let mut logs = Logs { head_in_place: false, ..Logs::of(Vec::new()) };
    let mut log = inputs.log.and_then(|bytes| Survey::new(bytes, index));
    let mut old = inputs.old_log.and_then(|bytes| Survey::new(bytes, None));
    if log.is_none() && inputs.log.is_some() {
        logs.foreign = Some("it has no readable header".into());
    }
    if old.is_none() && inputs.old_log.is_some() {
        logs.foreign_old = Some("it has no readable header".into());
    }
    if let Some(why) = others.why(Role::Log) {
        (log, logs.foreign) = (None, Some(why.to_owned()));
    }
    if let Some(why) = others.why(Role::OldLog) {
        (old, logs.foreign_old) = (None, Some(why.to_owned()));
    }
    let follows = |old: &Survey<'_>, new: &Survey<'_>| {
        let header = &new.log.header;
        (header.prev_file_seq, u64::from(header.prev_file_offset)) == (old.seq(), old.end)
    };
    // A header that had to be made up does not say what it follows.
    if let (Some(log), Some(old)) = (&mut log, &old)
        && log.log.header.prev_file_offset == u32::MAX
        && old.seq().checked_add(1) == Some(log.seq())
    {
        log.log.header.prev_file_seq = old.seq();
        log.log.header.prev_file_offset = u32::try_from(old.end).unwrap_or(u32::MAX);
    }
    // The number of the log before is right and its end is not: the log before says where it ends.
    if let (Some(log), Some(old)) = (&mut log, &old)
        && log.log.header.prev_file_seq == old.seq()
        && log.log.header.indexid == old.log.header.indexid
        && u64::from(log.log.header.prev_file_offset) != old.end
        && old.holes.is_empty()
        && old.tail.is_none()
        && log.log.header.initial_modseq == old.file().end_modseq
    {
        log.header_flaws.push(format!(
            "prev_file_offset is {}, but log {} ends at {}",
            log.log.header.prev_file_offset,
            old.seq(),
            old.end
        ));
        log.log.header.prev_file_offset = u32::try_from(old.end).unwrap_or(u32::MAX);
    }
    if let Some(one) = &log
        && one.log.header.indexid != indexid
        && one.log.header.indexid != 0
    {
        let at_index = index.is_some_and(|index| {
            let (seq, head) = (index.header.log_file_seq, u64::from(index.header.log_file_head_offset));
            let header = &one.log.header;
            let boundary = seq == one.seq() && one.file().records().any(|record| record.end() == head);
            boundary || (header.prev_file_seq, u64::from(header.prev_file_offset)) == (seq, head)
        });
        if !at_index && !old.as_ref().is_some_and(|old| follows(old, one)) {
            logs.foreign = Some(format!("its indexid is {}, the other files say {indexid}", one.log.header.indexid));
            log = None;
        }
    }
    if let (Some(newer), Some(one)) = (&log, &old) {
        if follows(newer, one) {
            logs.swapped = true;
        } else if one.seq() == newer.seq() {
            logs.foreign_old = Some(format!("it has the same file_seq {} as the log", one.seq()));
            logs.same_twice = one.log.header.create_stamp == newer.log.header.create_stamp;
            old = None;
        } else if !follows(one, newer) {
            let header = &newer.log.header;
            // Where the log between the two is missing, nobody could use what .log.2 tells.
            logs.old_is_ours = one.log.header.indexid == indexid && header.prev_file_seq == one.seq();
            logs.foreign_old = Some(format!(
                "it ends at {}:{}, the log continues {}:{}",
                one.seq(),
                one.end,
                header.prev_file_seq,
                header.prev_file_offset
            ));
            old = None;
        }
    }
    if let Some(one) = &old
        && one.log.header.indexid != indexid
        && one.log.header.indexid != 0
        && log.is_none()
    {
        logs.foreign_old = Some(format!("its indexid is {}, the other files say {indexid}", one.log.header.indexid));
        old = None;
    }
    logs.head_in_place = log.is_some() && !logs.swapped;
    logs.files.extend(old);
    logs.files.extend(log);
    logs.files.sort_by_key(Survey::seq);
    logs
}

pub fn has_undeleted(log: &Survey<'_>) -> bool {
    log.file().records().any(|record| record.deletion() == Some(false))
}
