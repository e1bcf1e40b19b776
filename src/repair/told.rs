//! Changes that no log holds but the storage tells: applied to a state as records, so that they mean what records mean.

use crate::format::Endian;
use crate::format::index::IndexHeader;
use crate::format::packed;
use crate::format::record::{EXTERNAL, HEADER_SIZE, Record, RecordType};
use crate::model::apply::{Past, Run};
use crate::model::{LogPos, Mailbox};

/// Records that were never written.
#[derive(Debug)]
pub struct Told {
    endian: Endian,
    records: Vec<Vec<u8>>,
}

/// There are no logs behind them.
#[derive(Debug)]
struct NoPast;

impl Past for NoPast {
    fn bytes(&self) -> usize {
        0
    }

    fn catch_up(&self, _: &mut Mailbox, _: &mut Run<'_>) {}
}

impl Told {
    /// None yet.
    pub fn new(endian: Endian) -> Told {
        Told { endian, records: Vec::new() }
    }

    fn push(&mut self, kind: RecordType, payload: &[u8]) {
        let size = u32::try_from(HEADER_SIZE + payload.len()).ok().and_then(packed::encode);
        let Some(size) = size else { return };
        let kind = self.endian.u32_bytes(kind.raw() | EXTERNAL);
        self.records.push([size.as_slice(), &kind, payload].concat());
    }

    /// The next UID of the mailbox (`struct mail_transaction_header_update`).
    pub fn next_uid(&mut self, uid: u32) {
        let field = IndexHeader::next_uid;
        self.header_field(field.offset, uid);
    }

    /// The offset before which all requests are done.
    pub fn tail(&mut self, offset: u32) {
        let field = IndexHeader::log_file_tail_offset;
        self.header_field(field.offset, offset);
    }

    fn header_field(&mut self, at: usize, value: u32) {
        let (Ok(at), size) = (u16::try_from(at), 4) else { return };
        let place = [self.endian.u16_bytes(at), self.endian.u16_bytes(size)].concat();
        self.push(RecordType::HeaderUpdate, &[place.as_slice(), &self.endian.u32_bytes(value)].concat());
    }

    /// A keyword is added to messages, or removed from them (`struct mail_transaction_keyword_update`).
    pub fn keyword(&mut self, name: &[u8], uids: &[u32], adds: bool) {
        let Ok(len) = u16::try_from(name.len()) else { return };
        let mut payload = vec![u8::from(!adds), 0];
        payload.extend(self.endian.u16_bytes(len));
        payload.extend(name);
        payload.resize(payload.len().next_multiple_of(4), 0);
        for uid in uids {
            payload.extend(self.endian.u32_bytes(*uid));
            payload.extend(self.endian.u32_bytes(*uid));
        }
        self.push(RecordType::KeywordUpdate, &payload);
    }

    /// An extension with data in the header of the index and none in records: introduced by its name, and its data set
    /// (`struct mail_transaction_ext_intro`, `struct mail_transaction_ext_hdr_update`).
    pub fn extension(&mut self, name: &[u8], data: &[u8]) {
        self.with_records(name, data, 0, 0);
    }

    /// An extension with data in the header and so many bytes in each record, aligned to `align`.
    pub fn with_records(&mut self, name: &[u8], data: &[u8], record_size: u16, align: u16) {
        let Ok(size) = u16::try_from(data.len()) else { return };
        self.intro(name, u32::from(size), record_size, align);
        let mut payload = [self.endian.u16_bytes(0), self.endian.u16_bytes(size)].concat();
        payload.extend(data);
        payload.resize(payload.len().next_multiple_of(4), 0);
        self.push(RecordType::ExtHdr, &payload);
    }

    /// An extension with so many bytes in each record, aligned to `align`.
    pub fn in_records(&mut self, name: &[u8], size: u16, align: u16) {
        self.intro(name, 0, size, align);
    }

    fn intro(&mut self, name: &[u8], hdr_size: u32, record_size: u16, record_align: u16) {
        let Ok(len) = u16::try_from(name.len()) else { return };
        let mut payload = self.endian.u32_bytes(u32::MAX).to_vec();
        payload.extend([0; 4]);
        payload.extend(self.endian.u32_bytes(hdr_size));
        for word in [record_size, record_align, 0, len] {
            payload.extend(self.endian.u16_bytes(word));
        }
        payload.extend(name);
        payload.resize(payload.len().next_multiple_of(4), 0);
        self.push(RecordType::ExtIntro, &payload);
    }

    /// The bytes of all of them.
    pub fn bytes(&self) -> Vec<u8> {
        self.records.concat()
    }

    /// The state after them; `None` when they change nothing.
    pub fn onto(&self, mailbox: &Mailbox) -> Option<Mailbox> {
        let mut state = mailbox.clone();
        let pos = LogPos { seq: mailbox.header.log_file_seq, offset: u64::from(mailbox.header.log_file_head_offset) };
        let mut run = Run::begin(&NoPast, &mut state, pos, 0);
        for bytes in &self.records {
            let record = Record {
                offset: pos.offset,
                size: u32::try_from(bytes.len()).ok()?,
                type_raw: self.endian.u32_at(bytes, 4)?,
                payload: bytes.get(HEADER_SIZE..)?,
                bytes,
                endian: self.endian,
                modseq: 0,
            };
            state.apply(&record, pos, &mut run);
        }
        (!self.records.is_empty() && run.errors.is_empty()).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_records_say() {
        let mut told = Told::new(Endian::Little);
        assert!(told.onto(&Mailbox::empty(1, Endian::Little)).is_none());
        told.keyword(b"work", &[2], true);
        told.extension(b"dbox-hdr", &[7; 24]);
        let mut mailbox = Mailbox::empty(1, Endian::Little);
        mailbox.set_records(vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        mailbox.header.next_uid = 3;
        let state = told.onto(&mailbox).expect("a change");
        assert_eq!(state.keywords(), [b"work".to_vec()]);
        assert_eq!((state.keyword_ids(0).count(), state.keyword_ids(1).count()), (0, 1));
        assert_eq!(state.extension(b"dbox-hdr").map(|ext| ext.header().to_vec()), Some(vec![7; 24]));
    }
}
