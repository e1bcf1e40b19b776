//! Records: where they are, how they follow each other, and the fields in them.

use std::ops::Range;

use super::super::align4;
use super::super::disk::Disk;
use super::super::flaw::{Flaw, FlawKind};
use super::header::{CacheHeader, RecordStart};
use super::{Cache, problem};

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// Where it begins in the file, in bytes.
    pub offset: u32,
    /// Where the message's previous record begins, 0 when this is the first.
    pub prev_offset: u32,
    /// Its size in bytes, this header included.
    pub size: u32,
}

impl CacheRecord {
    /// The bytes it takes in the file.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start..start.saturating_add(u64::from(self.size))
    }
}

/// The data of one field in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldData<'a> {
    /// The number of the field: an index into [`Cache::fields`].
    pub index: u32,
    /// Its data without padding.
    pub data: &'a [u8],
    /// Where the data begins in the file.
    pub offset: u64,
}

/// Why the fields of a record cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The fields do not end where the record does.
    RecordSize,
    /// There is no such field.
    FieldIndex(u32),
    /// The data would go beyond the record.
    DataSize(u32),
}

/// One step through a record.
pub(super) enum Step<'a> {
    /// A field, and where the next one begins in the record.
    Field(FieldData<'a>, usize),
    End,
    Broken(Broken),
}

impl<'a> Cache<'a> {
    /// The record at `offset`, its own size checked but not its fields.
    ///
    /// # Errors
    /// The checks of `mail_cache_get_record`: alignment, inside the file, a size that can be.
    pub fn record_at(&self, offset: u32) -> Result<CacheRecord, Flaw> {
        let at = u64::from(offset);
        let len = self.bytes.len();
        if !offset.is_multiple_of(4) {
            return Err(problem(
                at,
                FlawKind::CacheRecordAlign,
                "a multiple of 4",
                format!("{offset} (invalid record offset)"),
            ));
        }
        let end = || format!("{len} (record points outside file)");
        if (offset as usize) < CacheHeader::SIZE {
            return Err(problem(at, FlawKind::CacheRecordInHeader, "32 or more", offset.to_string()));
        }
        let Some(raw) = self.bytes.get(offset as usize..).filter(|raw| raw.len() >= RecordStart::SIZE) else {
            return Err(problem(at, FlawKind::CacheRecordOutside, "8 bytes before the end of the file", end()));
        };
        let RecordStart { prev_offset, size } = RecordStart::read(raw, self.endian);
        let at = at.saturating_add(4);
        if size < 8 || !size.is_multiple_of(4) {
            return Err(problem(
                at,
                FlawKind::CacheRecordSize,
                "at least 8, a multiple of 4",
                format!("{size} (invalid record size)"),
            ));
        }
        if size as usize > raw.len() {
            return Err(problem(
                at,
                FlawKind::CacheRecordPastEnd,
                format!("at most {}", raw.len()),
                format!("{size}; file size {}", end()),
            ));
        }
        Ok(CacheRecord { offset, prev_offset, size })
    }

    /// The fields of a record, in the order they were written. Ends after the first error.
    #[inline]
    pub fn fields(&self, record: &CacheRecord) -> CacheFields<'_, 'a> {
        CacheFields { cache: self, offset: record.offset, raw: self.raw(record), at: RecordStart::SIZE }
    }

    /// A message's records, newest first, from the offset in the index. Ends after the first error, at the latest when
    /// more has been read than there is between the outermost records ("record list is circular").
    pub fn chain(&self, newest_offset: u32) -> CacheChain<'_, 'a> {
        CacheChain { cache: self, next: newest_offset, span: None, sum: 0 }
    }

    fn raw(&self, record: &CacheRecord) -> &'a [u8] {
        let rest = self.bytes.get(record.offset as usize..).unwrap_or_default();
        rest.get(..record.size as usize).unwrap_or_default()
    }

    /// Reads the field at `at` in the record `raw`, which begins at `offset` (`mail_cache_lookup_iter_next`).
    #[inline]
    pub(super) fn step(&self, offset: u32, raw: &'a [u8], at: usize) -> Step<'a> {
        let Some(index) = self.endian.u32_at(raw, at) else {
            return if at == raw.len() { Step::End } else { Step::Broken(Broken::RecordSize) };
        };
        let Some(field) = self.fields.get(index as usize) else { return Step::Broken(Broken::FieldIndex(index)) };
        let mut data_at = at.saturating_add(4);
        let size = match field.size {
            Some(size) => size,
            None => {
                let Some(size) = self.endian.u32_at(raw, data_at) else {
                    return Step::Broken(Broken::DataSize(u32::MAX));
                };
                data_at = data_at.saturating_add(4);
                size
            }
        };
        let Some(data) = raw.get(data_at..).and_then(|rest| rest.get(..size as usize)) else {
            return Step::Broken(Broken::DataSize(size));
        };
        let next = data_at.saturating_add(align4(size as usize));
        Step::Field(FieldData { index, data, offset: u64::from(offset).saturating_add(data_at as u64) }, next)
    }

    #[cold]
    fn flaw(&self, offset: u32, raw: &[u8], at: usize, broken: Broken) -> Flaw {
        let place = u64::from(offset).saturating_add(at as u64);
        match broken {
            Broken::RecordSize => problem(
                place,
                FlawKind::CacheFieldsEnd,
                "fields that fill the record exactly",
                format!("{} (record has invalid size)", raw.len()),
            ),
            Broken::FieldIndex(index) => problem(
                place,
                FlawKind::CacheFieldIndex,
                format!("less than {}", self.fields.len()),
                format!("{index} (field index too large)"),
            ),
            Broken::DataSize(size) => problem(
                place,
                FlawKind::CacheFieldSize,
                format!("at most {}", raw.len().saturating_sub(at.saturating_add(4))),
                format!("{size} (record continues outside its allocated size)"),
            ),
        }
    }
}

/// Iterator over the fields of a record: see [`Cache::fields`].
#[derive(Clone, Debug)]
pub struct CacheFields<'c, 'a> {
    cache: &'c Cache<'a>,
    offset: u32,
    raw: &'a [u8],
    at: usize,
}

impl<'a> Iterator for CacheFields<'_, 'a> {
    type Item = Result<FieldData<'a>, Flaw>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.raw.is_empty() {
            return None;
        }
        match self.cache.step(self.offset, self.raw, self.at) {
            Step::Field(field, next) => {
                self.at = next;
                Some(Ok(field))
            }
            Step::End => None,
            Step::Broken(broken) => {
                let error = self.cache.flaw(self.offset, self.raw, self.at, broken);
                self.raw = &[];
                Some(Err(error))
            }
        }
    }
}

/// Iterator over a message's records: see [`Cache::chain`].
#[derive(Clone, Debug)]
pub struct CacheChain<'c, 'a> {
    cache: &'c Cache<'a>,
    next: u32,
    /// The outermost bytes seen.
    span: Option<(u64, u64)>,
    sum: u64,
}

impl Iterator for CacheChain<'_, '_> {
    type Item = Result<CacheRecord, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let record = match self.cache.record_at(std::mem::take(&mut self.next)) {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let Range { start, end } = record.range();
        let (low, high) = self.span.map_or((start, end), |(low, high)| (low.min(start), high.max(end)));
        self.span = Some((low, high));
        self.sum = self.sum.saturating_add(u64::from(record.size));
        if self.sum > high.saturating_sub(low) {
            let have = format!("{} again (record list is circular)", record.offset);
            return Some(Err(problem(start, FlawKind::CacheRecordLoop, "records that do not repeat", have)));
        }
        self.next = record.prev_offset;
        Some(Ok(record))
    }
}
