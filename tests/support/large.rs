//! Large mailboxes made of real bytes: the records that real Dovecots wrote into the fixtures, over and over.

use std::io::Write;
use std::path::{Path, PathBuf};

use idx::format::cache::{Cache, CacheHeader, TileKind};
use idx::format::log::LogFile;
use idx::format::{Disk, Endian};

use super::build::{self, Ext, INDEXID, Log};

fn fixture(name: &str) -> Vec<u8> {
    let path = super::fixtures().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A log of at least `size` bytes in `dir`: the records of a busy mailbox again and again.
pub fn log(dir: &Path, size: u64) -> PathBuf {
    let parts = ["dovecot.index.log.2", "dovecot.index.log"].map(|name| {
        let bytes = fixture(&format!("2.3.19.1-maildir-busy/files/Maildir/{name}"));
        let log = LogFile::parse(&bytes, bytes.len() as u64).expect("a log");
        bytes[usize::try_from(log.records_at).expect("small")..].to_vec()
    });
    let path = dir.join("dovecot.index.log");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("created"));
    let mut written = 40;
    file.write_all(&Log::new(1).bytes).expect("written");
    while written < size {
        for part in &parts {
            file.write_all(part).expect("written");
            written += part.len() as u64;
        }
    }
    file.flush().expect("written");
    path
}

/// A mailbox of that many messages in `dir`: index with modseqs, keywords and cache links, cache, and a log of one record.
/// Returns the path of the index.
pub fn mailbox(dir: &Path, messages: u32) -> PathBuf {
    let source = fixture("2.3.19.1-maildir-fresh/files/Maildir/dovecot.index.cache");
    let (cache_bytes, offsets) = cache(&source, messages);
    // A log after a rotation: what the index holds is in no log any more. It counts up to the modseq of the index.
    let mut log = Log::new(u64::from(messages) - 1);
    log.bytes[12..20].copy_from_slice(&build::words(&[1, 4000]));
    log.append(1..=1);
    let head = log.bytes.len();
    std::fs::write(dir.join("dovecot.index.log"), log.bytes).expect("written");
    let names = ["$Label1", "NonJunk", "Work"];
    let mut keywords = build::words(&[3, 0, 0, 0, 8, 0, 16]);
    names.iter().for_each(|name| keywords.extend(name.bytes().chain([0])));
    keywords.resize(keywords.len().next_multiple_of(4), 0);
    let mut modseq = u64::from(messages).to_le_bytes().to_vec();
    modseq.extend(build::words(&[2, u32::try_from(head).expect("short")]));
    let ext = |name: &str, header: Vec<u8>, reset_id, record_offset, record_size, record_align| Ext {
        name: name.into(),
        header,
        reset_id,
        record_offset,
        record_size,
        record_align,
    };
    let file_seq = CacheHeader::read(&cache_bytes, Endian::Little).file_seq;
    let extensions = [
        ext("cache", vec![], file_seq, 16, 4, 4),
        ext("keywords", keywords, 0, 5, 2, 1),
        ext("modseq", modseq, 0, 8, 8, 8),
    ];
    let mut records = Vec::with_capacity(messages as usize * 24);
    let (mut seen, mut deleted) = (0, 0);
    for (i, offset) in (0..messages).zip(offsets) {
        let flags: u8 = [0x08, 0x08, 0x09, 0, 0x0a, 0x08, 0x0c, 0][i as usize % 8];
        seen += u32::from(flags & 8 != 0);
        deleted += u32::from(flags & 4 != 0);
        records.extend((i + 1).to_le_bytes());
        records.extend([flags, u8::from(i % 3 == 0) | u8::from(i % 7 == 0) << 1, 0, 0]);
        records.extend(u64::from(i + 1).to_le_bytes());
        records.extend(offset.to_le_bytes());
        records.extend([0; 4]);
    }
    let index = build::index(&extensions, 24, &records, |header| {
        header.uid_validity = INDEXID;
        header.seen_messages_count = seen;
        header.deleted_messages_count = deleted;
        header.first_recent_uid = messages + 1;
        header.first_unseen_uid_lowwater = 1;
        header.first_deleted_uid_lowwater = 1;
        header.log_file_seq = 2;
        header.log_file_tail_offset = u32::try_from(head).expect("short");
        header.log_file_head_offset = header.log_file_tail_offset;
    });
    let path = dir.join("dovecot.index");
    std::fs::write(&path, index).expect("written");
    std::fs::write(dir.join("dovecot.index.cache"), cache_bytes).expect("written");
    path
}

/// What a real cache holds of its messages again and again, one record for each message, and where they are.
fn cache(source: &[u8], messages: u32) -> (Vec<u8>, Vec<u32>) {
    let cache = Cache::parse(source, None).expect("a cache");
    let all: Vec<_> = cache
        .tile()
        .filter_map(|tile| match tile.kind {
            TileKind::Record(record) => Some(record),
            _ => None,
        })
        .collect();
    let newest = all.iter().filter(|record| all.iter().all(|other| other.prev_offset != record.offset));
    let records: Vec<Vec<u8>> = newest
        .map(|record| {
            let ranges = cache.chain(record.offset).map(|record| record.expect("a sound chain").range());
            ranges.flat_map(|range| source[range.start as usize + 8..range.end as usize].to_vec()).collect()
        })
        .collect();
    let mut out = source.to_vec();
    out[4..8].copy_from_slice(&INDEXID.to_le_bytes());
    out[16..20].copy_from_slice(&messages.to_le_bytes());
    let fields = (0..messages as usize).map(|i| &records[i % records.len()]);
    let offsets = fields.map(|fields| build::cache_record(&mut out, 0, fields)).collect();
    (out, offsets)
}
