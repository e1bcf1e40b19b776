//! The log that takes the place of one that Dovecot would not go on with (`mail-transaction-log.c`).

use crate::format::Endian;
use crate::format::index::IndexFile;
use crate::format::log::LogHeader;
use crate::format::record::{EXTERNAL, HEADER_SIZE, Record, RecordType};
use crate::model::Mailbox;
use crate::repair::inputs::Inputs;
use crate::repair::order::Logs;
use crate::repair::survey::Survey;

/// The header of the log that comes next: `mail_transaction_log_rotate`.
pub fn next_log(
    inputs: &Inputs<'_>,
    logs: &Logs<'_>,
    mailbox: &Mailbox,
    indexid: u32,
    highest: u64,
    keeps_old: bool,
) -> LogHeader {
    let header = &mailbox.header;
    let of_index = |bytes: Option<&[u8]>| {
        bytes.and_then(|bytes| IndexFile::parse(bytes).ok()).map_or(0, |index| index.header.log_file_seq)
    };
    let seqs = logs.files.iter().map(Survey::seq).chain([
        header.log_file_seq,
        of_index(inputs.index).min(header.log_file_seq.saturating_add(1000)),
        1,
    ]);
    let (prev_file_seq, prev_file_offset) = match logs.head().filter(|_| keeps_old) {
        Some(log) => (log.seq(), u32::try_from(log.end).unwrap_or(u32::MAX)),
        None => (header.log_file_seq, header.log_file_head_offset),
    };
    LogHeader {
        major_version: 1,
        minor_version: 3,
        hdr_size: 40,
        indexid,
        file_seq: seqs.max().unwrap_or(1).saturating_add(1),
        prev_file_seq,
        prev_file_offset,
        create_stamp: inputs.now,
        initial_modseq: highest.max(1),
        compat_flags: u8::from(mailbox.endian == Endian::Little),
        unused: [0; 3],
        unused2: 0,
    }
}

/// The records of requests that nobody has executed yet: flag and keyword changes and expunges between tail and end.
pub fn pending(log: &Survey<'_>, mailbox: &Mailbox) -> Vec<u8> {
    let same = mailbox.header.log_file_seq == log.seq();
    let tail = if same { u64::from(mailbox.header.log_file_tail_offset) } else { 0 };
    let file = log.file();
    let requests = file.records().filter(|record| record.offset >= tail && record.is_request());
    requests.flat_map(|record| record.bytes.to_vec()).collect()
}

/// A copy of a log in which the records at these places mean nothing: each becomes a header update that changes no
/// byte, so that no offset and no modseq moves. `None` when one of them counts as a change, or creates an extension:
/// without it the numbers of later ones would mean something else.
pub fn silenced(log: &Survey<'_>, places: &[u64]) -> Option<Vec<u8>> {
    let mut bytes = log.readable.get(..usize::try_from(log.end).ok()?)?.to_vec();
    let file = log.file();
    let mut places: Vec<u64> = places.to_vec();
    places.sort_unstable();
    places.dedup();
    let mut records = file.records().peekable();
    for place in places {
        while records.next_if(|record| record.end() <= place).is_some() {}
        let record = records.peek().filter(|record| record.offset <= place && may_be_silent(record))?;
        let start = usize::try_from(record.offset).ok()?;
        let (_, rest) = bytes.get_mut(start..start.checked_add(record.bytes.len())?)?.split_at_mut(4);
        let (kind, payload) = rest.split_at_mut(HEADER_SIZE - 4);
        kind.copy_from_slice(&record.endian.u32_bytes(RecordType::HeaderUpdate.raw() | EXTERNAL));
        payload.fill(0);
    }
    Some(bytes)
}

fn may_be_silent(record: &Record<'_>) -> bool {
    record.bytes.len() > HEADER_SIZE
        && match record.kind() {
            None
            | Some(
                RecordType::HeaderUpdate
                | RecordType::ExtReset
                | RecordType::ExtHdr
                | RecordType::ExtHdr32
                | RecordType::ExtRec
                | RecordType::ExtAtomicInc,
            ) => true,
            Some(RecordType::ExtIntro) => record.intros().all(|intro| intro.name.is_empty()),
            _ => false,
        }
}
