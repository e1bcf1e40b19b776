//! `dovecot.index.thread` (`mail-index-strmap.c`): which messages name which Message-IDs, by number and CRC32, so that
//! THREAD need not read every header. A header, then blocks, each `{coded size; records}`. The file is disposable.

use std::borrow::Cow;
use std::ops::Range;

use super::disk::{Disk, disk_struct};
use super::endian::Endian;
use super::flaw::{Flaw, FlawKind};
use super::mime::numpack;
use super::{FileKind, packed};

disk_struct! {
    /// `struct mail_index_strmap_header`.
    pub struct ThreadHeader, 8 {
        0 => version: u8, "1; any other: Dovecot rebuilds the file";
        1 => unused: [u8; 3], "0; in version 2 the first byte is 1";
        4 => uid_validity: u32, "must equal that of the index";
    }
}

/// A thread index.
#[derive(Clone, Debug)]
pub struct Thread<'a> {
    bytes: &'a [u8],
    /// The file header.
    pub header: ThreadHeader,
    /// Eight bytes that differ from file to file, in version 2 only. Released Dovecot has no such version; Debian's
    /// patched 2.3.19.1 writes it, and its values for equal Message-IDs differ from file to file, so these bytes are
    /// most likely the key of a hash that replaced the CRC32.
    pub hash_key: Option<&'a [u8]>,
    /// The byte order of everything but the packed and coded numbers.
    pub endian: Endian,
    /// Was the byte order guessed, for want of a `uid_validity` to compare with?
    pub endian_guessed: bool,
}

/// What a stretch of a thread index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadTileKind<'a> {
    /// The file header.
    Header,
    /// The size of a block; that many bytes of records follow.
    Block(u32),
    /// A record.
    Record(ThreadRecord<'a>),
    /// The rest of the file, which no finished write has reached.
    Unwritten,
    /// The rest of the file, which cannot be read on: UIDs are relative, so nothing after damage has a meaning.
    Unreadable(Flaw),
}

/// A stretch of a thread index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadTile<'a> {
    /// What it is.
    pub kind: ThreadTileKind<'a>,
    /// Its bytes.
    pub range: Range<u64>,
}

/// The Message-IDs one message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadRecord<'a> {
    /// The message.
    pub uid: u32,
    /// 0: Message-ID only; 1: Message-ID and In-Reply-To; 2 and more: Message-ID and n - 1 References.
    pub n: u32,
    strings: &'a [u8],
    endian: Endian,
}

/// Where a message names a Message-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// Its own Message-ID.
    MessageId,
    /// In-Reply-To.
    InReplyTo,
    /// The n-th entry of References, from 1.
    Reference(u32),
}

impl std::fmt::Display for RefKind {
    /// As `doveadm dump` prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RefKind::MessageId => f.write_str("message-id"),
            RefKind::InReplyTo => f.write_str("in-reply-to"),
            RefKind::Reference(n) => write!(f, "references[{n}]"),
        }
    }
}

/// One Message-ID that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadRef {
    /// Where it is named.
    pub kind: RefKind,
    /// CRC32 of the Message-ID, 0 when the message has none; see [`Thread::hash_key`].
    pub crc32: u32,
    /// Number of the Message-ID in this file: equal numbers, equal Message-IDs.
    pub str_idx: u32,
}

impl<'a> ThreadRecord<'a> {
    /// The Message-IDs, the message's own first.
    pub fn refs(&self) -> impl Iterator<Item = ThreadRef> + use<'a> {
        let (n, endian) = (self.n, self.endian);
        let (crcs, indexes) = self.strings.split_at_checked(self.strings.len() / 2).unwrap_or_default();
        (0..).zip(crcs.chunks_exact(4).zip(indexes.chunks_exact(4))).map(move |(i, (crc, index))| ThreadRef {
            kind: match i {
                0 => RefKind::MessageId,
                1 if n == 1 => RefKind::InReplyTo,
                _ => RefKind::Reference(i),
            },
            crc32: endian.u32_at(crc, 0).unwrap_or_default(),
            str_idx: endian.u32_at(index, 0).unwrap_or_default(),
        })
    }
}

/// The size of the block at the start of `bytes`, `None` when it was not written yet.
fn block_size(bytes: &[u8]) -> Option<u32> {
    let coded = packed::decode(*bytes.first_chunk::<4>()?)?;
    Some(coded / 4).filter(|&size| size > 0)
}

impl<'a> Thread<'a> {
    /// Reads the header. `uid_validity` is that of the index, if known: it tells the byte order, which the file does
    /// not record.
    ///
    /// # Errors
    /// The file is shorter than its header, or its version is neither 1 nor 2.
    pub fn parse(bytes: &'a [u8], uid_validity: Option<u32>) -> Result<Thread<'a>, Flaw> {
        let version = bytes.first().copied().unwrap_or_default();
        let size = if version == 2 { 16 } else { ThreadHeader::SIZE };
        if bytes.len() < size {
            return Err(problem(0, FlawKind::ThreadShort, format!("{size} bytes"), format!("{} bytes", bytes.len())));
        }
        if !matches!(version, 1 | 2) {
            return Err(problem(0, FlawKind::ThreadVersion, "1 or 2", version.to_string()));
        }
        let mut thread = Thread {
            bytes,
            header: ThreadHeader::read(bytes, Endian::Little),
            hash_key: bytes.get(8..size).filter(|key| !key.is_empty()),
            endian: Endian::Little,
            endian_guessed: true,
        };
        let matches = |endian: Endian| uid_validity.is_some() && endian.u32_at(bytes, 4) == uid_validity;
        (thread.endian, thread.endian_guessed) = match (matches(Endian::Little), matches(Endian::Big)) {
            (true, false) => (Endian::Little, false),
            (false, true) => (Endian::Big, false),
            _ => (thread.guess_endian(), true),
        };
        thread.header = ThreadHeader::read(bytes, thread.endian);
        Ok(thread)
    }

    /// Size of the header in bytes: 8, or 16 in version 2.
    pub fn header_size(&self) -> usize {
        self.hash_key.map_or(0, <[u8]>::len).saturating_add(ThreadHeader::SIZE)
    }

    /// Names every byte of the file: the stretches follow each other without gap or overlap from 0 to its end.
    pub fn tile(&self) -> ThreadTiles<'a> {
        ThreadTiles {
            bytes: self.bytes,
            header_size: self.header_size(),
            endian: self.endian,
            at: 0,
            block_end: 0,
            uid: 0,
        }
    }

    /// The records, in UID order, as far as the file can be read.
    pub fn records(&self) -> impl Iterator<Item = (ThreadRecord<'a>, Range<u64>)> + use<'a> {
        self.tile().filter_map(|tile| match tile.kind {
            ThreadTileKind::Record(record) => Some((record, tile.range)),
            _ => None,
        })
    }

    /// What makes Dovecot throw the file away: what cannot be read, and string numbers above what the number of
    /// references allows (`strmap_read_block_deinit`).
    pub fn problem(&self) -> Option<Flaw> {
        let (mut count, mut highest) = (0u32, 0u32);
        let mut block_at = 0;
        for tile in self.tile().map(Some).chain([None]) {
            match tile {
                Some(ThreadTile { kind: ThreadTileKind::Unreadable(error), .. }) => return Some(error),
                Some(ThreadTile { kind: ThreadTileKind::Record(record), .. }) => {
                    for named in record.refs() {
                        count = count.saturating_add(1);
                        highest = highest.max(named.str_idx);
                    }
                }
                _ if highest > count => {
                    let have = format!("{highest} (String indexes too high)");
                    return Some(problem(block_at, FlawKind::ThreadString, format!("at most {count}"), have));
                }
                Some(ThreadTile { range, .. }) => block_at = range.start,
                None => {}
            }
        }
        None
    }

    /// The first string of the first record has number 1, or another small one: in the wrong order it is huge.
    fn guess_endian(&self) -> Endian {
        let first = |endian| {
            let thread = Thread { endian, ..self.clone() };
            thread.records().next().and_then(|(record, _)| record.refs().next()).map(|named| named.str_idx)
        };
        if first(Endian::Big) < first(Endian::Little) { Endian::Big } else { Endian::Little }
    }
}

/// Iterator that names every byte of the file: see [`Thread::tile`].
#[derive(Clone, Debug)]
pub struct ThreadTiles<'a> {
    bytes: &'a [u8],
    header_size: usize,
    endian: Endian,
    at: usize,
    block_end: usize,
    uid: u32,
}

impl<'a> ThreadTiles<'a> {
    fn item(&mut self, kind: ThreadTileKind<'a>, end: usize) -> ThreadTile<'a> {
        let range = self.at as u64..end as u64;
        self.at = end;
        ThreadTile { kind, range }
    }

    fn block(&mut self) -> ThreadTile<'a> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(size) = block_size(rest) else {
            return self.item(ThreadTileKind::Unwritten, self.bytes.len());
        };
        let start = self.at.saturating_add(4);
        let end = start.saturating_add(size as usize);
        if end > self.bytes.len() {
            let room = rest.len().saturating_sub(4);
            let error = problem(self.at as u64, FlawKind::ThreadBlock, format!("at most {room}"), size.to_string());
            return self.item(ThreadTileKind::Unreadable(error), self.bytes.len());
        }
        self.block_end = end;
        // The first UID of a block is counted from the one after the last.
        self.uid = self.uid.saturating_add(1);
        self.item(ThreadTileKind::Block(size), start)
    }

    /// `<uid diff> <n> <crc32>*count <str_idx>*count`, the first two packed; count is n, but 1 for n = 0 and 2 for n =
    /// 1.
    fn record(&mut self) -> Option<ThreadTile<'a>> {
        let block = self.bytes.get(self.at..self.block_end)?;
        let (diff, diff_size) = numpack(block)?;
        let (n, n_size) = numpack(block.get(diff_size..)?)?;
        let n = u32::try_from(n).ok()?;
        let count = if n < 2 { n.saturating_add(1) } else { n } as usize;
        let strings_at = diff_size.saturating_add(n_size);
        let strings = block.get(strings_at..)?.get(..count.checked_mul(8)?)?;
        self.uid = self.uid.checked_add(u32::try_from(diff).ok()?)?;
        let end = self.at.saturating_add(strings_at).saturating_add(strings.len());
        let record = ThreadRecord { uid: self.uid, n, strings, endian: self.endian };
        Some(self.item(ThreadTileKind::Record(record), end))
    }
}

impl<'a> Iterator for ThreadTiles<'a> {
    type Item = ThreadTile<'a>;

    fn next(&mut self) -> Option<ThreadTile<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if self.at == 0 {
            return Some(self.item(ThreadTileKind::Header, self.header_size));
        }
        if self.at >= self.block_end {
            return Some(self.block());
        }
        Some(self.record().unwrap_or_else(|| {
            let error = problem(
                self.at as u64,
                FlawKind::ThreadRecord,
                "a record that ends inside its block",
                format!("a broken one in the block that ends at {}", self.block_end),
            );
            self.item(ThreadTileKind::Unreadable(error), self.bytes.len())
        }))
    }
}

fn problem(at: u64, kind: FlawKind, need: impl Into<Cow<'static, str>>, have: impl Into<Cow<'static, str>>) -> Flaw {
    Flaw::new(FileKind::Thread, at, kind, need, have)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::super::ext::testing::unhex;
    use super::*;

    /// The first two messages of s390x-2.3.19.1/maildir/fresh, the block made to end there.
    fn big_endian() -> Vec<u8> {
        let mut bytes = unhex("01000000 6b03c4fe 808080a6 0000a8f4fab000000001 0103");
        bytes.extend(unhex("906447c9e4fe10b1e4fe10b1000000020000000300000003"));
        bytes[8..12].copy_from_slice(&packed::encode(36 * 4).unwrap());
        bytes
    }

    fn dump(thread: &Thread<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        for (record, _) in thread.records() {
            lines.push(format!("uid {}: n={}", record.uid, record.n));
            lines.extend(
                record.refs().map(|named| format!("{}: crc32={:08x} index={}", named.kind, named.crc32, named.str_idx)),
            );
        }
        lines
    }

    /// As doveadm dump prints the same file.
    const DUMP: [&str; 6] = [
        "uid 1: n=0",
        "message-id: crc32=a8f4fab0 index=1",
        "uid 2: n=3",
        "message-id: crc32=906447c9 index=2",
        "references[1]: crc32=e4fe10b1 index=3",
        "references[2]: crc32=e4fe10b1 index=3",
    ];

    #[test]
    fn real_file_in_an_order_that_has_to_be_guessed() {
        let bytes = big_endian();
        let guessed = Thread::parse(&bytes, None).unwrap();
        assert_eq!((guessed.endian, guessed.endian_guessed), (Endian::Big, true));
        assert_eq!((guessed.header.uid_validity, dump(&guessed)), (1_795_409_150, DUMP.map(String::from).to_vec()));
        let told = Thread::parse(&bytes, Some(1_795_409_150)).unwrap();
        assert_eq!((told.endian, told.endian_guessed), (Endian::Big, false));
        assert_eq!(guessed.problem(), None);
    }

    /// The start of 2.3.19.1/maildir/fresh as Debian's build wrote it; doveadm dump calls it version 2 with the block
    /// at 16.
    #[test]
    fn version_2_has_a_longer_header() {
        let mut bytes = unhex("02010000 66c2036b da2762fa7fb4bf95 80808798 0000 9e7af54c 01000000");
        bytes[16..20].copy_from_slice(&packed::encode(10 * 4).unwrap());
        let thread = Thread::parse(&bytes, None).unwrap();
        assert_eq!(thread.hash_key, Some(&bytes[8..16]));
        assert_eq!(dump(&thread), ["uid 1: n=0", "message-id: crc32=4cf57a9e index=1"]);
    }

    #[test]
    fn second_block_counts_from_the_last_uid() {
        let mut bytes = unhex("01000000 01000000");
        for records in ["04 01 1111111122222222 0100000002000000", "00 00 33333333 03000000"] {
            let records = unhex(records);
            bytes.extend(packed::encode(records.len() as u32 * 4).unwrap());
            bytes.extend(records);
        }
        let end = bytes.len();
        bytes.extend([0; 7]);
        let thread = Thread::parse(&bytes, Some(1)).unwrap();
        let want = [
            "uid 5: n=1",
            "message-id: crc32=11111111 index=1",
            "in-reply-to: crc32=22222222 index=2",
            "uid 6: n=0",
            "message-id: crc32=33333333 index=3",
        ];
        assert_eq!(dump(&thread), want);
        let last = thread.tile().last().unwrap();
        assert_eq!(last, ThreadTile { kind: ThreadTileKind::Unwritten, range: end as u64..bytes.len() as u64 });
    }

    #[test]
    fn string_numbers_too_high() {
        let mut bytes = big_endian();
        let last = bytes.len() - 1;
        bytes[last] = 5;
        let problem = Thread::parse(&bytes, None).unwrap().problem().unwrap();
        assert_eq!((problem.at, &*problem.have), (8, "5 (String indexes too high)"));
    }

    #[test]
    fn any_bytes_are_tiled() {
        let sound = big_endian();
        for len in 0..sound.len() {
            tiles(&sound[..len]);
        }
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                tiles(&bytes);
            }
        }
        tiles(&[1; 64]);
        tiles(&[2; 64]);
    }

    fn tiles(bytes: &[u8]) {
        let Ok(thread) = Thread::parse(bytes, None) else { return };
        let end = thread.tile().fold(0, |end, tile| {
            assert_eq!(tile.range.start, end);
            tile.range.end
        });
        assert_eq!(end, bytes.len() as u64);
        let _ = (thread.problem(), dump(&thread));
    }
}
