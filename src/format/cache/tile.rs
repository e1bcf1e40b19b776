//! A name for every stretch of a cache file.

use std::ops::Range;

use super::super::align4;
use super::super::disk::Disk;
use super::Cache;
use super::header::{CacheHeader, HOLE_MAGIC, HoleStart, RecordStart};
use super::records::{CacheRecord, Step};

impl<'a> Cache<'a> {
    /// Names every byte of the file: the items follow each other without gap or overlap from 0 to its end.
    pub fn tile(&self) -> Tile<'_, 'a> {
        let mut known: Vec<(usize, usize)> = self
            .field_headers
            .iter()
            .enumerate()
            .filter(|(_, header)| header.sound)
            .map(|(i, header)| (header.offset as usize, i))
            .collect();
        known.sort_unstable();
        known.dedup();
        Tile { cache: self, at: 0, known, passed: 0, budget: self.bytes.len().saturating_mul(4).saturating_add(4096) }
    }

    /// A hole at `at`, if its magic says so and its size can be.
    fn hole_at(&self, at: usize) -> Option<HoleStart> {
        let raw = self.bytes.get(at..).filter(|raw| raw.len() >= HoleStart::SIZE)?;
        let hole = HoleStart::read(raw, self.endian);
        let fits = hole.size as usize >= HoleStart::SIZE && hole.size as usize <= raw.len();
        (at >= CacheHeader::SIZE && hole.magic == HOLE_MAGIC && fits).then_some(hole)
    }
}

/// What a stretch of a cache file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TileKind {
    /// The file header.
    Header,
    /// The field header with this index in [`Cache::field_headers`].
    FieldHeader(usize),
    /// A record whose fields fill it.
    Record(CacheRecord),
    /// A hole in a file of 2.1 or older.
    Hole(HoleStart),
    /// Nothing but zeros: space reserved in advance, or lost data.
    Zeros,
    /// Bytes that are none of these.
    Unreadable,
}

/// What a page of a file holds that was never written.
static PAGE: [u8; 4096] = [0; 4096];

/// True when no record begins in the first page of these bytes: it is empty, and so is the size that one at its end
/// would have.
fn begins_empty(bytes: &[u8]) -> bool {
    let behind = bytes.get(PAGE.len()..PAGE.len().saturating_add(RecordStart::SIZE));
    bytes.starts_with(&PAGE) && behind.is_some_and(|behind| PAGE.starts_with(behind))
}

/// A stretch of a cache file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileItem {
    /// What it is.
    pub kind: TileKind,
    /// Its bytes.
    pub range: Range<u64>,
}

/// Iterator that names every byte of the file: see [`Cache::tile`].
#[derive(Clone, Debug)]
pub struct Tile<'c, 'a> {
    cache: &'c Cache<'a>,
    at: usize,
    /// Offsets of the sound field headers, ascending, with their place in the chain.
    known: Vec<(usize, usize)>,
    /// How many of them lie before `at`.
    passed: usize,
    /// Steps left for finding records behind unreadable bytes: bounds the work on a hostile file to a multiple of its
    /// size. When it is used up, the stretch up to the next field header stays unreadable.
    budget: usize,
}

impl Tile<'_, '_> {
    /// A record at `at` that ends by `limit` and is filled by its fields. `strict` asks for more, for a place where
    /// nothing says that a record begins: at least one field and a link that can be.
    fn record(&mut self, at: usize, limit: usize, strict: bool) -> Option<CacheRecord> {
        self.budget = self.budget.saturating_sub(1);
        let offset = u32::try_from(at).ok()?;
        let start = RecordStart::read(self.cache.bytes.get(at..limit).filter(|raw| raw.len() >= 8)?, self.cache.endian);
        let record = CacheRecord { offset, prev_offset: start.prev_offset, size: start.size };
        let raw = self.cache.bytes.get(at..limit)?.get(..start.size as usize)?;
        if start.size < 8 || !start.size.is_multiple_of(4) {
            return None;
        }
        let prev = start.prev_offset;
        let backwards = prev < offset || self.cache.header.old().is_some();
        if strict && (start.size == 8 || !prev.is_multiple_of(4) || !backwards) {
            return None;
        }
        let mut at = RecordStart::SIZE;
        loop {
            match self.cache.step(offset, raw, at) {
                Step::Field(_, next) => at = next,
                Step::End => return Some(record),
                Step::Broken(_) => return None,
            }
            if strict {
                self.budget = self.budget.checked_sub(1)?;
            }
        }
    }

    fn item(&mut self, kind: TileKind, end: usize) -> Option<TileItem> {
        let range = self.at as u64..end as u64;
        self.at = end;
        Some(TileItem { kind, range })
    }

    /// Goes on to the next thing that can be read, at the latest to `limit`.
    fn gap(&mut self, limit: usize) -> Option<TileItem> {
        let mut end = align4(self.at.saturating_add(1));
        while end < limit && self.budget > 0 {
            if self.cache.hole_at(end).is_some() || self.record(end, limit, true).is_some() {
                break;
            }
            end = end.saturating_add(4);
            // Neither begins where there is no size: a file of nothing but a hole is passed over by the page.
            while end.is_multiple_of(PAGE.len()) && self.cache.bytes.get(end..limit).is_some_and(begins_empty) {
                end = end.saturating_add(PAGE.len());
            }
        }
        let end = if self.budget == 0 { limit } else { end.min(limit) };
        let gap = self.cache.bytes.get(self.at..end).unwrap_or_default();
        let zeros = gap.chunks(PAGE.len()).all(|part| PAGE.starts_with(part));
        self.item(if zeros { TileKind::Zeros } else { TileKind::Unreadable }, end)
    }
}

impl Iterator for Tile<'_, '_> {
    type Item = TileItem;

    fn next(&mut self) -> Option<TileItem> {
        let len = self.cache.bytes.len();
        if self.at >= len {
            return None;
        }
        if self.at == 0 {
            return self.item(TileKind::Header, CacheHeader::SIZE);
        }
        while self.known.get(self.passed).is_some_and(|&(offset, _)| offset < self.at) {
            self.passed = self.passed.saturating_add(1);
        }
        let known = self.known.get(self.passed).copied();
        if let Some((_, i)) = known.filter(|&(offset, _)| offset == self.at) {
            let end = self.cache.field_headers.get(i).map_or(len as u64, |header| header.end);
            let end = usize::try_from(end).unwrap_or(len).clamp(self.at.saturating_add(1), len);
            return self.item(TileKind::FieldHeader(i), end);
        }
        let limit = known.map_or(len, |(offset, _)| offset);
        if let Some(hole) = self.cache.hole_at(self.at) {
            let end = align4(self.at.saturating_add(hole.size as usize)).min(limit);
            return self.item(TileKind::Hole(hole), end);
        }
        match self.record(self.at, limit, false) {
            Some(record) => self.item(TileKind::Record(record), self.at.saturating_add(record.size as usize)),
            None => self.gap(limit),
        }
    }
}
