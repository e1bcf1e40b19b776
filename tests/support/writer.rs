//! Writes transaction logs the way Dovecot does, for tests that need many of them or one that is huge.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// `EXTERNAL`, log.md 3.2.
pub const EXTERNAL: u32 = 0x1000_0000;
pub const APPEND: u32 = 0x2;
pub const FLAG_UPDATE: u32 = 0x4;
pub const BOUNDARY: u32 = 0x8_0000;

/// A record size as log.md 2.1 codes it.
pub fn coded(size: u32) -> [u8; 4] {
    let v = size >> 2;
    [21, 14, 7, 0].map(|shift| 0x80 | u8::try_from(v >> shift & 0x7f).expect("seven bits"))
}

/// A record: coded size, type, payload.
pub fn record(kind: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 8).expect("a short payload");
    [&coded(size)[..], &kind.to_le_bytes(), payload].concat()
}

/// `\Seen` added to a UID, as a client's request.
pub fn seen(uid: u32) -> Vec<u8> {
    record(FLAG_UPDATE, &[&uid.to_le_bytes()[..], &uid.to_le_bytes(), &[8, 0, 0, 0]].concat())
}

/// Several records as one transaction.
pub fn transaction(records: &[Vec<u8>]) -> Vec<u8> {
    let body = records.concat();
    let size = u32::try_from(body.len() + 12).expect("a short transaction");
    [record(BOUNDARY | EXTERNAL, &size.to_le_bytes()), body].concat()
}

/// The 40 bytes of a log header, version 1.3.
pub fn header(seq: u32, prev: (u32, u32), create_stamp: u32, initial_modseq: u64) -> Vec<u8> {
    let mut bytes = vec![1, 3, 40, 0];
    for word in [1_700_000_000, seq, prev.0, prev.1, create_stamp] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(initial_modseq.to_le_bytes());
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Appends to a log and rotates it.
pub struct LogWriter {
    dir: PathBuf,
    file: File,
    seq: u32,
    size: u32,
    modseq: u64,
    stamp: u32,
}

impl LogWriter {
    pub fn create(dir: &Path, stamp: u32) -> Self {
        let path = dir.join("dovecot.index.log");
        fs::write(&path, header(2, (0, 0), stamp, 1)).expect("a log");
        let file = OpenOptions::new().append(true).open(path).expect("a log");
        Self { dir: dir.to_owned(), file, seq: 2, size: 40, modseq: 1, stamp }
    }

    /// Appends with one write; `modseqs` is by how much the bytes raise the modseq.
    pub fn append(&mut self, bytes: &[u8], modseqs: u64) {
        assert_eq!(self.file.write(bytes).expect("written"), bytes.len());
        self.size += u32::try_from(bytes.len()).expect("few bytes");
        self.modseq += modseqs;
    }

    pub fn size(&self) -> u32 {
        self.size
    }

    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// rotation.md 2, steps 3 to 7.
    pub fn rotate(&mut self) {
        let path = |name: &str| self.dir.join(name);
        let (log, old, new) =
            (path("dovecot.index.log"), path("dovecot.index.log.2"), path("dovecot.index.log.newlock"));
        fs::write(&new, header(self.seq + 1, (self.seq, self.size), self.stamp, self.modseq)).expect("a new log");
        match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        fs::hard_link(&log, &old).expect("linked");
        fs::rename(&new, &log).expect("renamed");
        self.file = OpenOptions::new().append(true).open(&log).expect("a log");
        (self.seq, self.size) = (self.seq + 1, 40);
    }
}

/// Writes a log of about `size` bytes that repeats the records of a real one.
pub fn huge(real: &[u8], path: &Path, size: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    let (head, records) = real.split_at(40);
    out.write_all(head).expect("written");
    let mut written = 40;
    while written < size {
        out.write_all(records).expect("written");
        written += records.len() as u64;
    }
    out.flush().expect("written");
}
