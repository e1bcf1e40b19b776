//! Transaction log records: types, payloads and Dovecot's validity rules (`mail-transaction-log.h`,
//! `mail-transaction-log-view.c`). What a record *means* is decided in `model::apply`, not here.

mod payload;
mod rules;
mod types;

pub use payload::*;
pub use types::*;

#[cfg(test)]
mod tests {
    use super::super::Endian;
    use super::*;

    fn record(type_raw: u32, payload: &[u8]) -> Record<'_> {
        let size = u32::try_from(payload.len() + HEADER_SIZE).expect("short");
        Record { offset: 100, size, type_raw, payload, bytes: payload, endian: Endian::Little, modseq: 0 }
    }

    #[test]
    fn every_type_word_maps_back() {
        for (kind, raw, name) in RecordType::ALL {
            assert_eq!(RecordType::of(raw | EXTERNAL | SYNC), Some(kind));
            assert_eq!(kind.raw(), raw);
            assert_eq!(RecordType::from_name(name), Some(kind));
        }
        assert_eq!(RecordType::of(0x8), None);
    }

    /// Bytes of the worked example in `format/replay.md`, offset 136: two fields in one header-update.
    #[test]
    fn header_update_shows_every_element() {
        let payload = [0x18, 0, 4, 0, 2, 0xbb, 3, 0x6b, 0x4c, 0, 4, 0, 0xff, 0xff, 0xff, 0xff];
        let chunks: Vec<_> = record(0x20 | EXTERNAL, &payload).header_chunks().collect();
        assert_eq!(chunks.len(), 2);
        assert_eq!((chunks[0].offset, chunks[0].data), (24, &payload[4..8]));
        assert_eq!((chunks[1].offset, chunks[1].at), (76, 8));
    }

    #[test]
    fn a_chunk_past_the_payload_is_reported_not_read() {
        let payload = [0x18, 0, 9, 0, 1, 2, 3, 4];
        let rec = record(0x20, &payload);
        let mut chunks = rec.header_chunks();
        assert_eq!(chunks.next(), None);
        assert_eq!(chunks.truncated, Some(0));
        assert_eq!(rec.payload_error().map(|e| e.at), Some(108));
    }

    #[test]
    fn expunge_needs_its_protection_mask() {
        let payload = [1, 0, 0, 0, 1, 0, 0, 0];
        assert!(record(0x1, &payload).fatal_error().is_some());
        assert!(record(0xcd91, &payload).fatal_error().is_none());
        assert!(record(0xed90 | 1, &payload).fatal_error().is_some());
    }

    #[test]
    fn ranges_must_ascend() {
        let payload = [5, 0, 0, 0, 6, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0];
        let error = record(0x800, &payload).fatal_error().expect("overlap");
        assert_eq!((error.at, error.have.as_ref()), (116, "6"));
    }

    #[test]
    fn keyword_update_splits_name_and_ranges() {
        let payload = [0, 0, 3, 0, b'k', b'w', b'1', 0, 2, 0, 0, 0, 2, 0, 0, 0];
        let rec = record(0x400, &payload);
        assert!(rec.fatal_error().is_none());
        let (fixed, name, mut ranges) = rec.keyword_update().expect("valid");
        assert_eq!((fixed.modify_type, name), (0, &b"kw1"[..]));
        assert_eq!(ranges.next(), Some(UidRange { uid1: 2, uid2: 2 }));
    }

    #[test]
    fn attributes_carry_their_numbers() {
        let mut payload = b"+pvendor/a\0-sb\0\0".to_vec();
        payload.extend([0; 0]);
        payload.extend(7_u32.to_le_bytes());
        payload.extend(5_u32.to_le_bytes());
        payload.extend(8_u32.to_le_bytes());
        let rec = record(0x10_0000, &payload);
        assert!(rec.fatal_error().is_none() && rec.payload_error().is_none());
        let list: Vec<Attribute<'_>> = rec.attributes().collect();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].timestamp, list[0].value_len, list[0].private), (Some(7), Some(5), true));
        assert_eq!((list[1].timestamp, list[1].set, list[1].key), (Some(8), false, &b"b"[..]));
    }
}
