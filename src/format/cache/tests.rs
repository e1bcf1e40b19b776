//! Tests of the whole format: real files, files made for a rule, hostile ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation)]

use std::ops::Range;

use super::super::ext::testing::{Json, unhex};
use super::super::{align4, packed};
use super::*;

/// worked/s2/dovecot.index.cache: a field header with 16 fields at 32, three records of flags and mime.parts.
const S2: &str = "
    0108010002bb036b02bb036b000000000300000084010000000000008080808800000000620100001000000002bb036b0000000000000000
    00000000000000000000000000000000000000000000000000000000000000000000000002bb036b00000000000000000000000004000000
    0800000004000000040000000800000008000000ffffffffffffffffffffffffffffffff04000000ffffffffffffffffffffffffffffffff
    ffffffff0300000000000202020200020101010401000000000000008000000001000000666c61677300646174652e73656e740064617465
    2e726563656976656400646174652e736176650073697a652e7669727475616c0073697a652e706879736963616c00696d61702e626f6479
    00696d61702e626f647973747275637475726500696d61702e656e76656c6f706500706f70332e7569646c00706f70332e6f726465720067
    756964006d696d652e70617274730062696e6172792e706172747300626f64792e736e6970706574006864722e4461746500000000000000
    4000000000000000300000000c00000028000000080000006c00000000000000720000000000000009000000000000000a00000000000000
    01000000000000004000000000000000300000000c00000028000000080000006c0000000000000072000000000000000900000000000000
    0a0000000000000001000000000000004000000000000000300000000c00000028000000080000006e000000000000007400000000000000
    0b000000000000000c0000000000000001000000";

fn s2() -> Vec<u8> {
    unhex(S2)
}

fn tiles(cache: &Cache<'_>) -> Vec<(String, Range<u64>)> {
    let mut end = 0;
    let mut found = Vec::new();
    for TileItem { kind, range } in cache.tile() {
        assert!(range.start == end && range.end > end);
        end = range.end;
        let name = match kind {
            TileKind::Record(record) => {
                assert_eq!(record.range(), range);
                "record".into()
            }
            TileKind::Hole(hole) => format!("hole {}", hole.size),
            kind => format!("{kind:?}"),
        };
        found.push((name, range));
    }
    assert_eq!(end, cache.bytes().len() as u64);
    found
}

/// All of it as doveadm dump prints it (worked/s2 was dumped by 2.3.19.1), except that Dovecot ignores `!`.
/// What is wrong with the records that begin at `offset`, and with their fields.
fn check_chain(cache: &Cache<'_>, offset: u32, problems: &mut Vec<Flaw>) {
    for record in cache.chain(offset) {
        match record {
            Ok(record) => problems.extend(cache.fields(&record).find_map(Result::err)),
            Err(error) => problems.push(error),
        }
    }
}

#[test]
fn real_file() {
    let bytes = s2();
    let cache = Cache::parse(&bytes, Some(1_795_406_594)).unwrap();
    assert_eq!(cache.problems, []);
    assert_eq!((cache.endian, cache.endian_guessed), (Endian::Little, false));
    assert_eq!((cache.header.record_count, cache.header.first_field_header()), (3, Some(32)));
    assert_eq!(cache.header.old(), None);
    let table: Vec<String> = cache
        .fields
        .iter()
        .map(|field| {
            let size = field.size.map_or("-".into(), |size| size.to_string());
            let name = String::from_utf8_lossy(field.name);
            format!("{name} {} {size} {}", field.type_name(), field.decision_name())
        })
        .collect();
    assert_eq!(table[..2], ["flags bit 4 tmp", "date.sent fix 8 no"]);
    assert_eq!(table[8..10], ["imap.envelope str - no!", "pop3.uidl str - no"]);
    assert_eq!(
        table[12..],
        ["mime.parts var - tmp", "binary.parts var - no", "body.snippet var - no", "hdr.Date hdr - no"]
    );
    let names: Vec<_> = tiles(&cache).into_iter().map(|(name, range)| (name, range.end)).collect();
    let want = [("Header", 32), ("FieldHeader(0)", 388), ("record", 452), ("record", 516), ("record", 580)];
    assert_eq!(names, want.map(|(name, end)| (name.to_string(), end)));
    // Every place points at what it is named after.
    for field in &cache.fields {
        let at = |at: u64| usize::try_from(at).unwrap();
        assert_eq!(bytes[at(field.decision_at)], field.decision);
        assert_eq!(FieldType::from_byte(bytes[at(field.type_at)]), field.field_type);
        assert_eq!(Endian::Little.u32_at(&bytes, at(field.last_used_at)), Some(field.last_used));
        assert_eq!(Endian::Little.u32_at(&bytes, at(field.size_at)), Some(field.size.unwrap_or(u32::MAX)));
        assert_eq!(&bytes[at(field.name_range.start)..at(field.name_range.end) - 1], field.name);
    }
}

#[test]
fn values_of_a_real_record() {
    let bytes = s2();
    let cache = Cache::parse(&bytes, None).unwrap();
    let record = cache.record_at(388).unwrap();
    assert_eq!(record, CacheRecord { offset: 388, prev_offset: 0, size: 64 });
    let mut json = Json::default();
    for field in cache.fields(&record) {
        let field = field.unwrap();
        let name = std::str::from_utf8(cache.fields[field.index as usize].name).unwrap();
        cache.value(&field).visit(name, &mut json).unwrap();
    }
    let want = "\"flags\":48,\"mime.parts\":{\"physical_pos\":0,\
                \"header_physical_size\":108,\"header_virtual_size\":114,\"body_physical_size\":9,\
                \"body_virtual_size\":10,\"body_lines\":1,\"flags\":8,\"children\":[]}";
    assert_eq!(json.0, want);
}

/// A file of the given byte order and minor version with all kinds of fields and one continued message.
struct Made {
    bytes: Vec<u8>,
    first: u32,
    second: u32,
}

const NAMES: [(&str, u8, u32); 9] = [
    ("flags", 3, 4),
    ("date.sent", 0, 8),
    ("date.received", 0, 4),
    ("size.virtual", 0, 8),
    ("pop3.uidl", 2, u32::MAX),
    ("hdr.Subject", 4, u32::MAX),
    ("binary.parts", 1, u32::MAX),
    ("body.snippet", 1, u32::MAX),
    ("x-plugin", 0, 3),
];

fn field_header(endian: Endian, next: u32, names: &[(&str, u8, u32)]) -> Vec<u8> {
    let mut out = if next == 0 { vec![0; 4] } else { packed::encode(next).unwrap().to_vec() };
    let text: Vec<u8> = names.iter().flat_map(|(name, ..)| name.bytes().chain([0])).collect();
    out.extend(endian.u32_bytes((12 + 10 * names.len() + text.len()) as u32));
    out.extend(endian.u32_bytes(names.len() as u32));
    names.iter().for_each(|_| out.extend(endian.u32_bytes(7)));
    names.iter().for_each(|(.., size)| out.extend(endian.u32_bytes(*size)));
    out.extend(names.iter().map(|(_, kind, _)| *kind));
    names.iter().for_each(|_| out.push(2));
    out.extend(text);
    out.resize(align4(out.len()), 0);
    out
}

fn record(endian: Endian, prev: u32, fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = [endian.u32_bytes(prev), [0; 4]].concat();
    for (index, data) in fields {
        out.extend(endian.u32_bytes(*index));
        if NAMES[*index as usize].2 == u32::MAX {
            out.extend(endian.u32_bytes(data.len() as u32));
        }
        out.extend_from_slice(data);
        out.resize(align4(out.len()), 0);
    }
    let size = out.len() as u32;
    out[4..8].copy_from_slice(&endian.u32_bytes(size));
    out
}

fn made(endian: Endian, minor: u8) -> Made {
    let mut bytes = vec![1, 8, minor, 0];
    for number in [1_795_406_594, 1_795_406_594, 1, 1, 0, 0] {
        bytes.extend(endian.u32_bytes(number));
    }
    bytes.extend(packed::encode(32).unwrap());
    let last = 32 + field_header(endian, 4, &NAMES[..2]).len();
    bytes.extend(field_header(endian, last as u32, &NAMES[..2]));
    bytes.extend(field_header(endian, 0, &NAMES));
    let first = bytes.len() as u32;
    let sent = [endian.u32_bytes(978_307_200), endian.u32_bytes(-480i32 as u32)].concat();
    let subject = [&endian.u32_bytes(3)[..], &[0; 4], b"Subject: hi\n"].concat();
    bytes.extend(record(
        endian,
        0,
        &[(0, &endian.u32_bytes(0x40)), (1, &sent), (2, &endian.u32_bytes(5)), (3, &endian.u64_bytes(1 << 40))],
    ));
    let second = bytes.len() as u32;
    bytes.extend(record(
        endian,
        first,
        &[(4, b"uidl\0"), (5, &subject), (5, b""), (6, &[0, 1, 2, 3]), (7, b"1snip"), (8, b"abc")],
    ));
    Made { bytes, first, second }
}

#[test]
fn every_value_in_both_orders() {
    for endian in [Endian::Little, Endian::Big] {
        let Made { bytes, first, second } = made(endian, 1);
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!((cache.endian, cache.endian_guessed), (endian, true));
        assert_eq!(cache.problems, []);
        let offsets: Vec<_> = cache.chain(second).map(|record| record.unwrap().offset).collect();
        assert_eq!(offsets, [second, first]);
        let mut json = Json::default();
        for record in [first, second] {
            for field in cache.fields(&cache.record_at(record).unwrap()) {
                cache.value(&field.unwrap()).visit("", &mut json).unwrap();
            }
        }
        let want = concat!(
            r#"64,{"time":978307200,"timezone":-480},5,1099511627776,"uidl","#,
            r#"{"lines":[3],"raw":"Subject: hi\n"},{"lines":[],"raw":""},"#,
            r#"[{"physical_pos":0,"binary_hdr_size":1,"binary_body_size":2,"binary_body_lines_count":3}],"#,
            r#"{"version":"1","text":"snip"},"616263""#,
        );
        assert_eq!(json.0, want);
        let names: Vec<_> = tiles(&cache).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Header", "FieldHeader(0)", "FieldHeader(1)", "record", "record"]);
        assert_eq!(cache.fields_of(&cache.field_headers[0]).len(), 2);
    }
}

/// date.sent and date.received of 1.0.beta7/maildir/fresh, whose byte 2 is sizeof(time_t).
#[test]
fn dates_of_1_0() {
    let names = [("date.sent", 0, 16), ("date.received", 0, 8)];
    let mut bytes = made(Endian::Little, 8).bytes[..32].to_vec();
    bytes.extend(field_header(Endian::Little, 0, &names));
    let at = bytes.len() as u32;
    bytes.extend(unhex("00000000 28000000 00000000 d3aa5b3c0000000020feffff00000000 01000000 28a6294d00000000"));
    let cache = Cache::parse(&bytes, None).unwrap();
    assert_eq!(cache.problems, []);
    let record = cache.record_at(at).unwrap();
    let values: Vec<_> = cache.fields(&record).map(|field| cache.value(&field.unwrap())).collect();
    let sent = CacheValue::Sent { time: 1_012_640_467, timezone: -480 };
    assert_eq!(values, [sent, CacheValue::Date(1_294_575_144)]);
    assert_eq!(cache.header.old().unwrap().hole_offset, 1);
}

#[test]
fn byte_order_from_the_indexid() {
    let Made { bytes, .. } = made(Endian::Big, 1);
    let order = |indexid| {
        let cache = Cache::parse(&bytes, indexid).unwrap();
        (cache.endian, cache.endian_guessed, cache.problems.len())
    };
    assert_eq!(order(Some(1_795_406_594)), (Endian::Big, false, 0));
    // Another index's: a guess again, and a problem.
    assert_eq!(order(Some(5)), (Endian::Big, true, 1));
    // In a file cut off behind its header only the stamps are left to go by.
    assert_eq!(Cache::parse(&bytes[..32], None).unwrap().endian, Endian::Big);
}

#[test]
fn header_rules() {
    let have = |at: usize, byte: u8| {
        let mut bytes = s2();
        bytes[at] = byte;
        let cache = Cache::parse(&bytes, Some(1_795_406_594)).unwrap();
        let found = cache.problems.into_iter().map(|problem| (problem.at, problem.have.into_owned()));
        found.collect::<Vec<_>>()
    };
    assert_eq!(have(1, 4), [(1, "4 (Unsupported uoff_t size)".to_string())]);
    assert_eq!(have(4, 3), [(4, "1795406595".to_string())]);
    assert_eq!(have(28, 0), [(28, "0x808088 (missing header fields)".to_string())]);
    assert_eq!(have(30, 0xff)[0].1, "65056 (header field next_offset points outside file)");
    assert_eq!(have(37, 0)[0].1, "98 for 16 fields (invalid field header size)");
    assert_eq!(have(39, 1)[0].1, "16777570 for 16 fields (invalid field header size)");
    assert_eq!(have(43, 0xff)[0].1, "354 for 4278190096 fields (invalid field header size)");
}

#[test]
fn field_rules() {
    let broken = |names: &[(&str, u8, u32)], decision: u8| {
        let mut bytes = s2()[..32].to_vec();
        let mut header = field_header(Endian::Little, 0, names);
        header[12 + 9 * names.len()] = decision;
        bytes.extend(header);
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!(cache.fields.len(), names.len());
        cache.problems.into_iter().map(|problem| problem.have.into_owned()).collect::<Vec<_>>()
    };
    assert!(broken(&[("flags", 3, 4), ("hdr.x", 4, u32::MAX)], 0x81).is_empty());
    assert_eq!(broken(&[("a", 0, 4), ("A", 0, 4)], 0), ["Duplicated field in header: A"]);
    assert_eq!(broken(&[("", 0, 4)], 0), ["\"\" (field header names corrupted)"]);
    assert_eq!(broken(&[("x", 5, 4)], 0), ["5 for x"]);
    assert_eq!(broken(&[("x", 0, 4)], 3), ["0x3 for x (field decision type corrupted)"]);
    assert_eq!(broken(&[("Flags", 3, 8)], 0), ["8 (registered field flags size changed)"]);
    assert_eq!(broken(&[("pop3.order", 0, u32::MAX)], 0), ["variable (registered field pop3.order size changed)"]);
    assert_eq!(broken(&[("guid", 1, u32::MAX)], 0), ["var (registered field guid type changed)"]);
    assert_eq!((decision_name(0x82), decision_name(0x17)), ("yes!".into(), "0x17".into()));
    assert_eq!(FieldType::from_byte(9).name(), "0x9");
}

#[test]
fn a_name_without_end() {
    let mut bytes = s2();
    bytes.truncate(380);
    bytes[36..40].copy_from_slice(&344u32.to_le_bytes());
    let cache = Cache::parse(&bytes, None).unwrap();
    assert_eq!(cache.problems[0].have, "\"body.snippet\" (field header names corrupted)");
    assert_eq!((cache.fields.len(), cache.problems.len()), (16, 2));
}

#[test]
fn circular_field_headers() {
    let Made { mut bytes, .. } = made(Endian::Little, 1);
    let last = Cache::parse(&bytes, None).unwrap().field_headers[1].offset as usize;
    bytes[last..last + 4].copy_from_slice(&packed::encode(32).unwrap());
    let cache = Cache::parse(&bytes, None).unwrap();
    assert_eq!(cache.problems[0].have, "32 (next_offset in field header decreases)");
    // Up to 2.1 they may go backwards, but not round and round.
    bytes[2] = 0;
    let cache = Cache::parse(&bytes, None).unwrap();
    assert_eq!(cache.problems[0].have, "32 (next_offset in field header decreases)");
    assert_eq!((cache.field_headers.len(), cache.fields.len()), (2, 9));
    bytes[last..last + 4].copy_from_slice(&packed::encode(last as u32).unwrap());
    assert_eq!(Cache::parse(&bytes, None).unwrap().field_headers.len(), 2);
    tiles(&Cache::parse(&bytes, None).unwrap());
}

#[test]
fn record_rules() {
    let bytes = s2();
    let cache = Cache::parse(&bytes, None).unwrap();
    let have = |offset| cache.record_at(offset).unwrap_err().have.into_owned();
    assert_eq!(have(390), "390 (invalid record offset)");
    assert_eq!(have(580), "580 (record points outside file)");
    assert_eq!(have(u32::MAX - 3), "580 (record points outside file)");
    assert_eq!(have(576), "580 (record points outside file)");
    assert_eq!(have(28), "28");
    let broken = |at: usize, byte: u8| {
        let mut bytes = s2();
        bytes[at] = byte;
        let cache = Cache::parse(&bytes, None).unwrap();
        let mut problems = Vec::new();
        check_chain(&cache, 388, &mut problems);
        tiles(&cache);
        problems.into_iter().map(|problem| (problem.at, problem.have.into_owned())).collect::<Vec<_>>()
    };
    assert_eq!(broken(392, 7), [(392, "7 (invalid record size)".to_string())]);
    assert_eq!(broken(392, 60)[0].1, "40 (record continues outside its allocated size)");
    assert_eq!(broken(394, 1), [(392, "65600; file size 580 (record points outside file)".to_string())]);
    assert_eq!(broken(396, 99), [(396, "99 (field index too large)".to_string())]);
    assert_eq!(broken(408, 0xff), [(404, "255 (record continues outside its allocated size)".to_string())]);
}

#[test]
fn circular_chains() {
    for minor in [0, 1] {
        let Made { mut bytes, first, second } = made(Endian::Little, minor);
        bytes[first as usize..first as usize + 4].copy_from_slice(&second.to_le_bytes());
        let cache = Cache::parse(&bytes, None).unwrap();
        let chain: Vec<_> = cache.chain(second).collect();
        assert!(chain.len() <= 4 && chain.last().unwrap().is_err());
        let mut problems = Vec::new();
        check_chain(&cache, second, &mut problems);
        assert_eq!(problems.len(), 1);
    }
}

#[test]
fn holes_of_2_1() {
    let Made { mut bytes, first, .. } = made(Endian::Little, 0);
    let at = bytes.len() as u32;
    bytes.extend([0, 24, HOLE_MAGIC].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([7; 12]);
    bytes.extend(record(Endian::Little, first, &[(2, &[1, 0, 0, 0])]));
    bytes.extend([0; 100]);
    bytes[16..20].copy_from_slice(&at.to_le_bytes());
    let cache = Cache::parse(&bytes, None).unwrap();
    let names: Vec<_> = tiles(&cache).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[3..], ["record", "record", "hole 24", "record", "Zeros"]);
}

#[test]
fn damage_costs_one_record() {
    let mut bytes = s2();
    bytes[452..480].fill(0xaa);
    let cache = Cache::parse(&bytes, None).unwrap();
    let found: Vec<_> = tiles(&cache).into_iter().map(|(name, range)| (name, range.end)).collect();
    let want = [("record", 452), ("Unreadable", 516), ("record", 580)];
    assert_eq!(found[2..], want.map(|(name, end)| (name.to_string(), end)));
}

#[test]
fn any_bytes_can_be_read() {
    let exhaust = |bytes: &[u8]| {
        let Ok(cache) = Cache::parse(bytes, None) else { return };
        tiles(&cache);
        for offset in 0..bytes.len() as u32 + 8 {
            let mut problems = Vec::new();
            check_chain(&cache, offset, &mut problems);
            for record in cache.chain(offset).flatten() {
                for field in cache.fields(&record).flatten() {
                    let _ = cache.value(&field).visit("", &mut Json::default());
                }
            }
        }
        for header in &cache.field_headers {
            let _ = cache.fields_of(header);
        }
    };
    for bytes in [s2(), made(Endian::Big, 0).bytes] {
        for len in 0..bytes.len() {
            exhaust(&bytes[..len]);
        }
        for at in 0..bytes.len() {
            for value in [0, 0x81, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                exhaust(&bytes);
            }
        }
    }
}

/// Offsets at which a record that spans all the rest seems to begin: looking for the next one must stay linear.
#[test]
fn hostile_files_take_linear_time() {
    let mut bytes = s2()[..32].to_vec();
    let names = [("x", 0, 0), ("y", 0, 0)];
    bytes.extend(field_header(Endian::Little, 0, &names));
    let body = 1 << 20;
    let start = bytes.len();
    bytes.resize(start + body, 0);
    for (i, word) in bytes[start..].chunks_exact_mut(4).enumerate() {
        let value = if i % 2 == 0 { 0 } else { (body - i * 4).saturating_sub(64) as u32 };
        word.copy_from_slice(&value.to_le_bytes());
    }
    tiles(&Cache::parse(&bytes, None).unwrap());
    // Fields of no size: a record is as many steps as it has words.
    let size = (body as u32 - 4).to_le_bytes();
    bytes[start..].fill(0);
    bytes[start + 4..].chunks_exact_mut(8).for_each(|pair| pair[..4].copy_from_slice(&size));
    tiles(&Cache::parse(&bytes, None).unwrap());
}
