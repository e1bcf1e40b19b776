//! The log that takes the place of one that Dovecot would not go on with (`mail-transaction-log.c`).

use crate::format::Endian;
use crate::format::index::IndexFile;
use crate::format::log::LogHeader;
use crate::model::Mailbox;
use crate::repair::order::Logs;
use crate::repair::plan::Inputs;
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
