//! Messages whose index records are gone, put back from what stands beside the index.

use super::index::Hints;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::record::RecordType;
use crate::model::{LogPos, Mailbox};
use crate::repair::candidates::{Candidate, replay};
use crate::repair::inputs::{Base, Inputs};
use crate::repair::loss::Loss;
use crate::repair::order::Logs;

pub fn hints<'h>(inputs: &'h Inputs<'_>, logs: &Logs<'_>, indexid: u32) -> Hints<'h> {
    let mut hints = Hints { indexid, storage: inputs.storage.as_ref(), ..Hints::default() };
    let head = inputs
        .index
        .and_then(|bytes| IndexFile::parse(bytes).ok())
        .map_or((0, 0), |index| (index.header.log_file_seq, u64::from(index.header.log_file_head_offset)));
    for log in &logs.files {
        for record in log.file().records() {
            if record.kind() == Some(RecordType::KeywordUpdate)
                && let Some((_, name, _)) = record.keyword_update()
            {
                hints.logged_keywords.insert(name.to_vec());
                if (log.seq(), record.offset) < head {
                    hints.seen_keywords.insert(name.to_vec());
                }
            }
            match record.kind() {
                Some(RecordType::Expunge | RecordType::ExpungeGuid) => {
                    record.expunged().for_each(|(first, last)| hints.expunged.insert_range(first, last));
                }
                Some(RecordType::HeaderUpdate) => {
                    for chunk in record.header_chunks() {
                        let value = IndexHeader::uid_validity.u32_in(chunk.data, chunk.offset as usize, record.endian);
                        hints.uid_validity = value.unwrap_or(hints.uid_validity);
                    }
                }
                _ => {}
            }
        }
    }
    // The order of keyword names is the same in an older copy, as far as that goes.
    let names = inputs.backup.and_then(|bytes| IndexFile::parse(bytes).ok()).map(|index| Mailbox::keywords_of(&index));
    hints.keywords = names.unwrap_or_default();
    let backup = inputs.backup.and_then(|bytes| IndexFile::parse(bytes).ok());
    let backup = backup.filter(|index| index.header.indexid == indexid && index.problems.is_empty());
    hints.of_backup = backup.map(|index| index.header.uid_validity);
    hints
}

/// Puts messages back whose index records are gone, from the logs where they were appended.
pub fn fill(chosen: &mut Candidate, logs: &Logs<'_>) {
    let mailbox = &chosen.replayed.mailbox;
    let chain = logs.chain();
    let mut found: Vec<(u32, Vec<u8>)> = Vec::new();
    let Some(first) = chain.files.first() else { return };
    let mut none = mailbox.clone();
    none.set_records(Vec::new());
    none.header.next_uid = 1;
    none.header.seen_messages_count = 0;
    none.header.deleted_messages_count = 0;
    none.header.log_file_seq = first.seq();
    none.header.log_file_head_offset = u32::try_from(first.log.records_at).unwrap_or(0);
    let from = LogPos { seq: first.seq(), offset: first.log.records_at };
    let unreset = first.log.header.starts_empty().then(|| first.seq());
    if let Some(partial) = replay(Base::Log, none, logs, from, unreset, false).filter(|partial| partial.lost.is_empty())
    {
        let partial = partial.replayed.mailbox;
        let same = partial
            .extensions
            .iter()
            .map(|e| (&e.name, e.range()))
            .eq(mailbox.extensions.iter().map(|e| (&e.name, e.range())));
        if same {
            for i in 0..partial.physical_len() {
                if mailbox.lookup(partial.uid(i)).is_none() {
                    found.push((partial.uid(i), partial.record(i).to_vec()));
                }
            }
        }
    }
    if found.is_empty() {
        return;
    }
    let back = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let mailbox = &mut chosen.replayed.mailbox;
    found.extend((0..mailbox.physical_len()).map(|i| (mailbox.uid(i), mailbox.record(i).to_vec())));
    found.sort_unstable_by_key(|(uid, _)| *uid);
    mailbox.set_records(found.into_iter().flat_map(|(_, record)| record).collect());
    let complete = chosen.missing > 0 && back >= chosen.missing;
    chosen.missing = chosen.missing.saturating_sub(back);
    if complete {
        chosen.lost.retain(|what| !matches!(what, Loss::Records { .. }));
    }
}
