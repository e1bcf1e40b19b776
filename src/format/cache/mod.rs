//! `dovecot.index.cache` (`mail-cache-private.h`): the file header, the chain of field headers, and the records they
//! describe. Reading is lenient: what a rule objects to is kept in `problems`, and the rest is read all the same.
//! Which message a record belongs to is known only to the index.

use std::borrow::Cow;

use super::FileKind;
use super::disk::Disk;
use super::endian::Endian;
use super::flaw::{Flaw, FlawKind};

mod fields;
mod header;
mod records;
#[cfg(test)]
mod tests;
mod tile;
mod values;

pub use fields::*;
pub use header::*;
pub use records::{CacheChain, CacheFields, CacheRecord, FieldData};
pub use tile::*;
pub use values::*;

/// A cache file.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    bytes: &'a [u8],
    /// The file header.
    pub header: CacheHeader,
    /// The byte order of everything but coded offsets.
    pub endian: Endian,
    /// Was the byte order guessed, for want of an `indexid` to compare with?
    pub endian_guessed: bool,
    /// The chain of field headers in the order of their links; the last one is in force.
    pub field_headers: Vec<CacheFieldHeader>,
    /// The fields of the last field header; a field's number is its index.
    pub fields: Vec<CacheField<'a>>,
    /// What Dovecot would object to in the header and the field headers, in file order of discovery.
    pub problems: Vec<Flaw>,
}

impl<'a> Cache<'a> {
    /// Reads header and field headers. `indexid` is that of the index or log the cache belongs to, if known: it tells
    /// the byte order, which a cache file does not record.
    ///
    /// # Errors
    /// The file is shorter than its header, or its major version is not 1. All else is put into `problems`.
    pub fn parse(bytes: &'a [u8], indexid: Option<u32>) -> Result<Cache<'a>, Flaw> {
        if bytes.len() < CacheHeader::SIZE {
            return Err(problem(
                0,
                FlawKind::CacheShort,
                "32 bytes",
                format!("{} bytes (File too small)", bytes.len()),
            ));
        }
        let (endian, endian_guessed) = infer_endian(bytes, indexid);
        let header = CacheHeader::read(bytes, endian);
        if header.major_version != 1 {
            return Err(problem(
                0,
                FlawKind::CacheVersion,
                "1",
                format!("{} (Unsupported major version)", header.major_version),
            ));
        }
        let mut cache = Cache {
            bytes,
            header,
            endian,
            endian_guessed,
            field_headers: Vec::new(),
            fields: Vec::new(),
            problems: Vec::new(),
        };
        cache.check_header(indexid);
        cache.read_field_headers();
        if let Some(&last) = cache.field_headers.last() {
            let mut problems = std::mem::take(&mut cache.problems);
            cache.fields = cache.read_fields(&last, &mut problems);
            cache.problems = problems;
        }
        Ok(cache)
    }

    /// The file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

fn problem(at: u64, kind: FlawKind, need: impl Into<Cow<'static, str>>, have: impl Into<Cow<'static, str>>) -> Flaw {
    Flaw::new(FileKind::Cache, at, kind, need, have)
}
