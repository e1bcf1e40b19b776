//! Reading a log over bytes that are no records: the one way past damage, for logs in memory and for those that are
//! read in pieces.

use std::convert::Infallible;

use super::log::{EndReason, LogEnd, Scan, resynchronize};
use super::record::{Record, RecordType};
use super::{Flaw, FlawKind};

/// What reading on finds.
#[derive(Debug)]
pub enum StreamStep<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// No further record for now.
    End(LogEnd),
}

/// What a [`walk`] comes by.
#[derive(Debug)]
pub enum Passage<'r, 'a> {
    /// A whole record. Behind damage its modseq is not known: nobody can say what that hides.
    Record(&'r Record<'a>, Place),
    /// Bytes that are no records.
    Hole(Hole),
}

/// Where a record was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As Dovecot reads the file: each record follows the one before.
    InOrder,
    /// Found again behind damage.
    Salvaged,
}

/// Bytes that are no records, in a log or at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where they begin; byte offset.
    pub at: u64,
    /// True when a whole record may have been meant to begin there.
    pub is_partial: bool,
    /// What is wrong with them.
    pub error: Flaw,
    /// Somebody writes there just now: it is no damage, and nothing was looked for behind it.
    pub is_being_written: bool,
    /// Where records can be read again; byte offset.
    pub resumes_at: Option<u64>,
}

/// The records of a log, wherever its bytes are.
pub trait Records {
    /// Why bytes cannot be had.
    type Error;
    /// The byte offset of the next record, and the log's modseq before it.
    fn place(&self) -> (u64, u64);
    /// Goes to a byte offset, where the log's modseq is `modseq`.
    fn seek(&mut self, pos: u64, modseq: u64);
    /// The next record, or why there is none.
    ///
    /// # Errors
    /// When the bytes cannot be had.
    fn step(&mut self) -> Result<StreamStep<'_>, Self::Error>;
    /// As [`resynchronize`].
    ///
    /// # Errors
    /// When the bytes cannot be had.
    fn resynchronize(&mut self, from: u64) -> Result<Option<u64>, Self::Error>;

    /// True for a transaction, with a boundary of 12 bytes at `at`, of which only a part was written: it runs past the
    /// end of the file, and no other one begins inside it. Its records never were.
    ///
    /// # Errors
    /// When the bytes cannot be had.
    fn is_unfinished(&mut self, at: u64) -> Result<bool, Self::Error> {
        let (pos, modseq) = self.place();
        self.seek(at.saturating_add(12), 0);
        let is_last = loop {
            match self.step()? {
                StreamStep::Record(record) if record.kind() == Some(RecordType::Boundary) => break false,
                StreamStep::Record(_) => {}
                StreamStep::End(_) => break true,
            }
        };
        self.seek(pos, modseq);
        Ok(is_last)
    }

    /// Where records go on behind the place at which reading ended; `None` where none do.
    ///
    /// # Errors
    /// When the bytes cannot be had.
    fn resume(&mut self, end: &LogEnd) -> Result<Option<u64>, Self::Error> {
        let Some(error) = &end.error else { return Ok(None) };
        if error.kind == FlawKind::TransactionPastEnd && self.is_unfinished(end.offset)? {
            return Ok(None);
        }
        self.resynchronize(end.offset.saturating_add(1))
    }
}

/// Reads records from here on, over what are none, until `visit` says so (`false`) or the file ends. Where reading
/// ends, `is_being_written` says whether somebody writes there; `None` from it ends the walk, for more may come.
///
/// # Errors
/// When the bytes cannot be had. The inner error is that of `visit`.
pub fn walk<R: Records, E>(
    records: &mut R,
    is_being_written: impl Fn(&R, &LogEnd) -> Option<bool>,
    mut visit: impl FnMut(Passage<'_, '_>) -> Result<bool, E>,
) -> Result<Result<bool, E>, R::Error> {
    let mut place = Place::InOrder;
    loop {
        let end = match records.step()? {
            StreamStep::Record(record) => match visit(Passage::Record(&record, place)) {
                Ok(true) => continue,
                stop => return Ok(stop),
            },
            StreamStep::End(end) => end,
        };
        let Some(is_being_written) = is_being_written(records, &end) else { return Ok(Ok(true)) };
        let resumes_at = if is_being_written { None } else { records.resume(&end)? };
        let (at, is_partial) = (end.offset, end.reason == EndReason::Partial);
        let Some(error) = end.error else { return Ok(Ok(true)) };
        match visit(Passage::Hole(Hole { at, is_partial, error, is_being_written, resumes_at })) {
            Ok(true) => {}
            stop => return Ok(stop),
        }
        let Some(at) = resumes_at else { return Ok(Ok(true)) };
        records.seek(at, 0);
        place = Place::Salvaged;
    }
}

impl Records for Scan<'_> {
    type Error = Infallible;
    fn place(&self) -> (u64, u64) {
        (self.pos(), self.modseq())
    }
    fn seek(&mut self, pos: u64, modseq: u64) {
        *self = self.clone().from(pos, modseq);
    }
    fn step(&mut self) -> Result<StreamStep<'_>, Infallible> {
        Ok(match self.next() {
            Some(record) => StreamStep::Record(record),
            None => {
                let eof = LogEnd { offset: self.pos(), reason: EndReason::Eof, error: None };
                StreamStep::End(self.end().cloned().unwrap_or(eof))
            }
        })
    }
    fn resynchronize(&mut self, from: u64) -> Result<Option<u64>, Infallible> {
        Ok(resynchronize(self.bytes, from, self.endian()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endian;
    use super::super::log::LogFile;
    use super::super::packed;
    use super::*;

    const APPEND: (u32, &[u8]) = (0x2, &[1, 0, 0, 0, 0, 0, 0, 0]);

    /// Where records and holes begin and where the latter end, in a log of these records with `edit` done to it.
    fn passages(records: &[(u32, &[u8])], edit: fn(&mut Vec<u8>)) -> Vec<(u64, Option<Option<u64>>)> {
        let mut bytes = vec![1, 3, 40, 0];
        bytes.resize(40, 0);
        bytes[32] = 1;
        for (type_raw, payload) in records {
            let size = u32::try_from(payload.len() + 8).unwrap_or(0);
            bytes.extend(packed::encode(size).unwrap_or_default());
            bytes.extend(Endian::Little.u32_bytes(*type_raw));
            bytes.extend(*payload);
        }
        edit(&mut bytes);
        let mut list = Vec::new();
        if let Ok(log) = LogFile::parse(&bytes, bytes.len() as u64) {
            let Ok(Ok(_)) = walk(
                &mut log.records(&bytes),
                |_, _| Some(false),
                |passage| {
                    list.push(match passage {
                        Passage::Record(record, _) => (record.offset, None),
                        Passage::Hole(hole) => (hole.at, Some(hole.resumes_at)),
                    });
                    Ok::<_, Infallible>(true)
                },
            );
        }
        list
    }

    #[test]
    fn records_behind_damage_are_come_by() {
        let list = passages(&[APPEND; 4], |bytes| bytes[40..44].fill(0));
        assert_eq!(list, [(40, Some(Some(56))), (56, None), (72, None), (88, None)]);
        assert_eq!(passages(&[APPEND; 2], |_| {}), [(40, None), (56, None)]);
    }

    /// What was never written whole never was, though each of its records is.
    #[test]
    fn an_unfinished_transaction_has_no_records() {
        let boundary = (0x1008_0000_u32, &[100, 0, 0, 0][..]);
        assert_eq!(passages(&[APPEND, boundary, APPEND], |_| {}), [(40, None), (56, Some(None))]);
        // Another transaction inside it shows that its size is damaged.
        let list = passages(&[boundary, APPEND, (0x1008_0000, &[28, 0, 0, 0]), APPEND], |_| {});
        assert_eq!(list, [(40, Some(Some(52))), (52, None), (68, None), (80, None)]);
    }
}
