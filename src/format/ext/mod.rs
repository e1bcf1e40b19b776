//! Index extensions by name: what their headers and per-record data mean (`mail-index-private.h`,
//! `doveadm-dump-index.c`, and the storage code that registers each name). A kind is looked up once per extension;
//! after that a record is decoded without allocation, straight into a [`Visit`]or. How extension headers are laid out
//! in the index is `index.rs`'s matter.

mod keywords;
mod list;
mod lookup;
mod structs;
mod visit;

pub use keywords::*;
pub use list::*;
pub use lookup::*;
pub use structs::*;
pub use visit::{Visit, fields_in};

/// What the tests of this folder share.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod testing {
    use super::Visit;

    /// Writes what it is visited with as JSON, so that tests can compare text.
    #[derive(Default)]
    pub struct Json(pub String);

    impl Json {
        fn key(&mut self, name: &str) {
            if !self.0.is_empty() && !self.0.ends_with(['{', '[']) {
                self.0.push(',');
            }
            if !name.is_empty() {
                self.0.push_str(&format!("{name:?}:"));
            }
        }
    }

    impl Visit for Json {
        fn number(&mut self, name: &str, value: u64) {
            self.key(name);
            self.0.push_str(&value.to_string());
        }
        fn signed(&mut self, name: &str, value: i64) {
            self.key(name);
            self.0.push_str(&value.to_string());
        }
        fn hex(&mut self, name: &str, bytes: &[u8]) {
            self.key(name);
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            self.0.push_str(&format!("{digits:?}"));
        }
        fn text(&mut self, name: &str, bytes: &[u8]) {
            self.key(name);
            self.0.push_str(&format!("{:?}", String::from_utf8_lossy(bytes)));
        }
        fn object_begin(&mut self, name: &str) {
            self.key(name);
            self.0.push('{');
        }
        fn object_end(&mut self) {
            self.0.push('}');
        }
        fn list_begin(&mut self, name: &str) {
            self.key(name);
            self.0.push('[');
        }
        fn list_end(&mut self) {
            self.0.push(']');
        }
    }

    /// Bytes from hex digits; white space is skipped.
    pub fn unhex(digits: &str) -> Vec<u8> {
        let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, &digit| byte << 4 | digit).try_into().unwrap()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::super::Disk;
    use super::super::Endian::{self, Big, Little};
    use super::keywords::MAX_PROBLEMS;
    use super::testing::{Json, unhex};
    use super::*;

    fn record(name: &str, flavor: IndexFlavor, hex: &str, endian: Endian) -> String {
        let bytes = unhex(hex);
        let mut json = Json::default();
        let kind = RecordKind::lookup(name, flavor, bytes.len().try_into().unwrap()).unwrap();
        kind.visit("", &bytes, endian, &mut json);
        json.0
    }

    fn header(name: &str, flavor: IndexFlavor, hex: &str, endian: Endian) -> String {
        let bytes = unhex(hex);
        let mut json = Json::default();
        let kind = HeaderKind::lookup(name, flavor, bytes.len().try_into().unwrap()).unwrap();
        kind.visit("", &bytes, endian, &mut json);
        json.0
    }

    /// Record bytes and their meaning from doveadm dump: corpus 2.4.1/mdbox/fresh INBOX uid 1, 2.3.19.1/maildir/list
    /// dovecot.list.index uid 1, 2.3.19.1/mdbox/admin map uid 1, s390x/mdbox/busy Archive uid 1.
    #[test]
    fn records_of_real_files() {
        use IndexFlavor::{List, Mailbox, Map};
        assert_eq!(record("modseq", Mailbox, "1500000000000000", Little), "21");
        assert_eq!(record("cache", Mailbox, "14040000", Little), "1044");
        assert_eq!(record("vsize", Mailbox, "de040000", Little), "1246");
        assert_eq!(record("sort-s", Mailbox, "89e92ca6", Little), "2787961225");
        let mdbox = r#"{"map_uid":1,"save_date":1795408453}"#;
        assert_eq!(record("mdbox", Mailbox, "0100000045c2036b", Little), mdbox);
        let guid = "f10bd01045c2036b9a19000083ecc375";
        assert_eq!(record("guid", Mailbox, guid, Little), format!("{guid:?}"));
        let list =
            r#"{"name_id":1,"parent_uid":0,"guid":"1075d92d71c2036b1628000083ecc375","uid_validity":1795408497}"#;
        let bytes = "01000000000000001075d92d71c2036b1628000083ecc37571c2036b";
        assert_eq!(record("list", List, bytes, Little), list);
        let msgs = r#"{"messages":1,"unseen":1,"recent":1,"uidnext":2}"#;
        assert_eq!(record("msgs", List, "01000000010000000100000002000000", Little), msgs);
        let sync = r#"{"size":736,"mtime":1795408497}"#;
        assert_eq!(record("index sync", List, "e002000071c2036b", Little), sync);
        assert_eq!(record("hmodseq", List, "0200000000000000", Little), "2");
        let map = r#"{"file_id":1,"offset":16,"size":723}"#;
        assert_eq!(record("map", Map, "0100000010000000d3020000", Little), map);
        assert_eq!(record("ref", Map, "0100", Little), "1");
        assert_eq!(record("mdbox", Mailbox, "0000004e6b03cb40", Big), r#"{"map_uid":78,"save_date":1795410752}"#);
        assert_eq!(record("keywords", Mailbox, "0102", Big), "[0,9]");
    }

    #[test]
    fn one_name_means_different_things() {
        use IndexFlavor::{List, Mailbox};
        let fields = RecordKind::Fields(VsizeHeader::FIELDS);
        assert_eq!(RecordKind::lookup("vsize", Mailbox, 4), Some(RecordKind::U32));
        assert_eq!(RecordKind::lookup("vsize", List, 16), Some(fields));
        assert_eq!(RecordKind::lookup("vsize", List, 4), None);
        assert_eq!(RecordKind::lookup("mbox", Mailbox, 8), Some(RecordKind::U64));
        assert_eq!(record("mbox", List, "0100000002000000", Little), r#"{"mtime":1,"size":2}"#);
        assert_eq!(record("maildir", List, "0100000002000000", Little), r#"{"new_mtime":1,"cur_mtime":2}"#);
        assert_eq!(RecordKind::lookup("x-unknown", Mailbox, 4), None);
        assert_eq!(IndexFlavor::guess(["subs", "list"]), List);
        assert_eq!(IndexFlavor::guess(["map", "ref"]), IndexFlavor::Map);
        assert_eq!(IndexFlavor::guess(["modseq", "maildir"]), Mailbox);
    }

    #[test]
    fn records_longer_than_known_keep_the_rest() {
        let json = record("mdbox", IndexFlavor::Mailbox, "0100000002000000ff", Little);
        assert_eq!(json, r#"{"map_uid":1,"save_date":2,"rest":"ff"}"#);
        let json = record("obox", IndexFlavor::Mailbox, "000102030405060708090a0b0c0d0e0f aabb", Little);
        assert_eq!(json, r#"{"guid":"000102030405060708090a0b0c0d0e0f","oid":"aabb"}"#);
    }

    /// Header bytes from the same files, and `virtual`, `virtual2` from the log of 2.3.19.1/mdbox/virtual Flagged; the
    /// meaning from doveadm dump.
    #[test]
    fn headers_of_real_files() {
        use IndexFlavor::{List, Mailbox};
        let json = header("modseq", Mailbox, "00000000000000260000000200001088", Big);
        assert_eq!(json, r#"{"highest_modseq":38,"log_seq":2,"log_offset":4232}"#);
        let json = header("mdbox-hdr", Mailbox, "6b03cb4020544c0840cb036be165000083ecc37500000000", Big);
        let guid = "20544c0840cb036be165000083ecc375";
        let want = format!(r#"{{"map_uid_validity":1795410752,"mailbox_guid":"{guid}","flags":0,"unused":"000000"}}"#);
        assert_eq!(json, want);
        // 16 bytes as written before 2.0.
        let json = header("mbox", Mailbox, "65090000000000008ac2036b01000000", Little);
        assert_eq!(json, r#"{"sync_size":2405,"sync_mtime":1795408522,"dirty_flag":1,"unused":"000000"}"#);
        let json = header("dbox-hdr", Mailbox, "01000000", Little);
        assert_eq!(json, r#"{"last_dirty_flush_stamp":1}"#);
        let json = header("list", List, "00 01000000 44726166747300 02000000 53656e7400 0000000000", Little);
        assert_eq!(json, r#"{"refresh_flag":0,"names":[{"id":1,"name":"Drafts"},{"id":2,"name":"Sent"}]}"#);
        let json = header(
            "virtual",
            Mailbox,
            "0100000002000000020000000ca3f2b3 01000000050000005bc6036b0b0000000300000000000000
             02000000070000005ac6036b090000000300000000000000 494e424f5841726368697665",
            Little,
        );
        let want = concat!(
            r#"{"change_counter":1,"mailbox_count":2,"highest_mailbox_id":2,"search_args_crc32":3019023116,"#,
            r#""mailboxes":["#,
            r#"{"id":1,"name_len":5,"uid_validity":1795409499,"next_uid":11,"highest_modseq":3,"name":"INBOX"},"#,
            r#"{"id":2,"name_len":7,"uid_validity":1795409498,"next_uid":9,"highest_modseq":3,"name":"Archive"}]}"#,
        );
        assert_eq!(json, want);
        let guids = ["a83e01275ac6036bf070000083ecc375", "2038ea265ac6036bf070000083ecc375"];
        let json = header("virtual2", Mailbox, &format!("0110080003000000{}", guids.concat()), Little);
        let want = r#"{"version":1,"ext_record_size":16,"hdr_size":8,"change_counter":3,"guids":"#;
        assert_eq!(json, format!("{want}{guids:?}}}").replace(", ", ","));
    }

    #[test]
    fn box_names() {
        let mut json = Json::default();
        HeaderKind::BoxName.visit("", b"a\0b c\0\0", Little, &mut json);
        assert_eq!(json.0, r#"{"levels":["a","b c"]}"#);
        // As main writes prefix/INBOX.
        let name = BoxName::parse(b"p\0INBOX\0\0\x01");
        assert_eq!((name.flags, name.levels().collect::<Vec<_>>()), (1, vec![&b"p"[..], b"INBOX"]));
    }

    #[test]
    fn pieces_of_headers() {
        let mut json = Json::default();
        let kind = HeaderKind::lookup("modseq", IndexFlavor::Mailbox, 16).unwrap();
        kind.visit_range("fields", 6, &unhex("0000 02000000 dc05"), Little, &mut json);
        assert_eq!(json.0, r#""fields":{"log_seq":2}"#);
    }

    /// Keyword header of two names as Dovecot lays it out, with spare bytes.
    fn keywords() -> Vec<u8> {
        unhex("02000000 00000000 00000000 00000000 08000000 244c6162656c3100 4a756e6b00 000000")
    }

    #[test]
    fn keyword_header() {
        let bytes = keywords();
        let parsed = KeywordsHeader::parse(&bytes, 1000, Little);
        assert_eq!(parsed.problems, []);
        let names: Vec<_> =
            parsed.keywords.iter().map(|keyword| (keyword.name.unwrap(), &keyword.name_range)).collect();
        assert_eq!(names, [(&b"$Label1"[..], &(1020..1028)), (b"Junk", &(1028..1033))]);
        assert_eq!(parsed.keywords[1].rec, 1012..1020);
        assert_eq!(parsed.names, 1020..1036);
        let json = header("keywords", IndexFlavor::Mailbox, "01000000 00000000 00000000 6100", Little);
        assert_eq!(json, r#"{"keywords_count":1,"keywords":[{"name_offset":0,"name":"a"}]}"#);
        assert_eq!(KeywordsHeader::parse(&[], 0, Little), KeywordsHeader::default());
    }

    /// Bytes as Dovecot 2.3.19.1 wrote them for one keyword (docs/format/replay.md, offset 0xd0 of the example).
    #[test]
    fn keyword_header_grows_as_dovecot_writes_it() {
        let (one, count) = keywords_header(None, &[b"kw1"], Little);
        assert_eq!((one.as_slice(), count), (&b"\x01\0\0\0\0\0\0\0\0\0\0\0kw1\0"[..], 1));
        let (two, count) = keywords_header(Some(&one), &[b"ab"], Little);
        let names = |bytes: &[u8]| -> Vec<Vec<u8>> {
            KeywordsHeader::parse(bytes, 0, Little).keywords.iter().map(|one| one.name.unwrap().to_vec()).collect()
        };
        assert_eq!((count, names(&two)), (2, vec![b"kw1".to_vec(), b"ab".to_vec()]));
        assert_eq!(keywords_header(None, &["kw1", "ab"], Little).0, two);
        assert_eq!(keywords_header(Some(&[0xff; 16]), &["a"], Little).1, 1);
    }

    #[test]
    fn keyword_header_problems() {
        let problems = |at: usize, byte: u8| {
            let mut bytes = keywords();
            bytes[at] = byte;
            let found = KeywordsHeader::parse(&bytes, 0, Little).problems;
            found.into_iter().map(|problem| (problem.at, problem.have.into_owned())).collect::<Vec<_>>()
        };
        let mismatch = |n| vec![(16, format!("{n} (Mismatching keyword name_offset)"))];
        assert_eq!(problems(16, 9), mismatch(9));
        let outside = vec![(16, "200 (name_offset points outside allocated header)".into())];
        assert_eq!(problems(16, 200), outside);
        assert_eq!(problems(35, b'x'), [(35, "Keyword header doesn't end with NUL".to_string())]);
        assert_eq!(problems(28, 0)[0], (28, "empty name".into()));
        assert_eq!(problems(21, 7)[0], (20, "byte 0x07".into()));
        assert!(problems(3, 0xff)[0].1.contains("keywords_count larger than header size"));
        let twice = unhex("02000000 0000000000000000 0000000002000000 6100 4100");
        assert_eq!(KeywordsHeader::parse(&twice, 0, Little).problems[0].have, "A");
    }

    /// A megabyte of keyword records that all name the same long text must not take a million times its length.
    #[test]
    fn hostile_keywords_end() {
        let mut bytes = vec![b'x'; 2 << 20];
        bytes[..4].copy_from_slice(&(1u32 << 17).to_le_bytes());
        bytes[4..4 + (1 << 20)].fill(0);
        let parsed = KeywordsHeader::parse(&bytes, 0, Little);
        assert_eq!(parsed.keywords.len(), 1 << 17);
        assert!(parsed.problems.len() <= MAX_PROBLEMS + 1);
    }

    #[test]
    fn list_header_problems() {
        let bytes = unhex("00 02000000 6100 01000000 6200");
        let parsed = ListHeader::parse(&bytes, 100, Little);
        assert_eq!((parsed.names.len(), &parsed.names[0].range), (1, &(101..107)));
        assert_eq!((parsed.problems[0].at, &*parsed.problems[0].have), (107, "an id that does not ascend"));
        assert_eq!(ListHeader::parse(&unhex("00 01000000 61"), 0, Little).problems[0].have, "a name without NUL");
        assert_eq!(ListHeader::parse(&unhex("00 0100"), 0, Little).problems[0].have, "the header ends in an id");
        assert_eq!(ListHeader::parse(&[], 0, Little), ListHeader::default());
    }

    #[test]
    fn every_kind_survives_every_length() {
        let names = "keywords modseq cache deleted ref guid vsize maildir mbox mdbox dbox map mobox-map obox virtual \
                     list msgs 1saved sort-x box-name virtual2 hdr-vsize dbox-hdr mdbox-hdr mobox-hdr fts subs list2 \
                     hdr-pop3-uidl last-rename-stamp virtual-guid header-md5 hmodseq";
        for name in names.split_whitespace() {
            for len in 0..64u16 {
                let bytes = vec![0xff; len.into()];
                for flavor in [IndexFlavor::Mailbox, IndexFlavor::List, IndexFlavor::Map] {
                    for size in 0..64 {
                        if let Some(kind) = RecordKind::lookup(name, flavor, size) {
                            kind.visit("", &bytes, Big, &mut Json::default());
                        }
                    }
                    if let Some(kind) = HeaderKind::lookup(name, flavor, len.into()) {
                        kind.visit("", &bytes, Little, &mut Json::default());
                        kind.visit_range("", usize::from(len), &bytes, Little, &mut Json::default());
                        kind.visit_range("", usize::MAX, &bytes, Little, &mut Json::default());
                    }
                }
            }
        }
    }

    #[test]
    fn ext_header_rules() {
        let check = |hdr_size, record_offset, record_size, record_align| {
            let ext = ExtHeader { hdr_size, reset_id: 0, record_offset, record_size, record_align, name_size: 1 };
            ext_hdr_check(24, &ext, b"x").err().unwrap_or_default()
        };
        assert_eq!(check(36, 0, 0, 0), "");
        assert_eq!(check(0, 8, 8, 8), "");
        assert_eq!(check(0, 5, 2, 1), "");
        assert_eq!(check(0, 0, 8, 8), "");
        assert_eq!(check(0, 0, 0, 4), "Invalid field values");
        assert_eq!(check(0, 8, 4, 0), "Record field alignment is zero");
        assert_eq!(check(0, 8, 4, 16), "Record alignment is too large");
        assert_eq!(check(0, 8, 0x8000, 1), "Record size is too large");
        assert_eq!(check(0, 20, 8, 4), "Record field points outside record size (20+8 > 24)");
        assert_eq!(check(0, 10, 4, 4), "Record field alignment 4 not used");
        assert_eq!(check(0, 7, 7, 7), "Record size not aligned by 7 as required by extension");
        assert_eq!(check(16 << 20, 0, 0, 0), "Header size too large (16777216)");
        let ext =
            ExtHeader { hdr_size: 4, reset_id: 0, record_offset: 0, record_size: 0, record_align: 0, name_size: 1 };
        assert_eq!(ext_hdr_check(24, &ext, b"a.b"), Err("Invalid name".into()));
        assert!(name_is_valid(b"index sync") && name_is_valid(b"") && name_is_valid(&[b'a'; 63]));
        assert!(!name_is_valid(&[b'a'; 64]) && !name_is_valid(b"a/b") && !name_is_valid("\u{e4}".as_bytes()));
    }
}
