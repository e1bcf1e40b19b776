//! Holds the JSON of `idx` against what Dovecot says, and collects every difference.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::Value;

use super::doveadm_dump::{
    CacheDump, CacheRecord, Extension, IndexDump, IndexRecord, LogDump, LogItem, LogRecord, Numbers, unhex,
};
use super::imap::{Message, split_flags};

/// How many differences of a group are spelled out.
const EXAMPLES: usize = 6;

/// The system flags with their bits in a record.
const FLAG_BITS: [(u64, &str); 5] =
    [(0x01, "\\Answered"), (0x02, "\\Flagged"), (0x04, "\\Deleted"), (0x08, "\\Seen"), (0x10, "\\Draft")];

/// Names and offsets of the index header fields that `doveadm dump` names in a `header-update`.
const HEADER_OFFSETS: [(&str, u64); 14] = [
    ("flags", 20),
    ("uid_validity", 24),
    ("next_uid", 28),
    ("messages_count", 32),
    ("seen_messages_count", 40),
    ("deleted_messages_count", 44),
    ("first_recent_uid", 48),
    ("first_unseen_uid_lowwater", 52),
    ("first_deleted_uid_lowwater", 56),
    ("log_file_seq", 60),
    ("log_file_tail_offset", 64),
    ("log_file_head_offset", 68),
    ("sync_stamp", 80),
    ("day_stamp", 84),
];

/// The names and sizes of the fields of a record.
type Layout = &'static [(&'static str, usize)];

/// The layout of the extension records that hold more than one number: name, size of the record, fields with sizes.
/// `vsize` is a single number in a mailbox and this structure in a mailbox list.
const EXT_LAYOUTS: [(&str, usize, Layout); 10] = [
    ("mdbox", 8, &[("map_uid", 4), ("save_date", 4)]),
    ("map", 12, &[("file_id", 4), ("offset", 4), ("size", 4)]),
    ("list", 28, &[("name_id", 4), ("parent_uid", 4), ("guid", 16), ("uid_validity", 4)]),
    ("msgs", 16, &[("messages", 4), ("unseen", 4), ("recent", 4), ("uidnext", 4)]),
    ("vsize", 16, &[("vsize", 8), ("highest_uid", 4), ("message_count", 4)]),
    ("1saved", 8, &[("uid", 4), ("timestamp", 4)]),
    ("index sync", 8, &[]),
    ("maildir", 8, &[("new_mtime", 4), ("cur_mtime", 4)]),
    ("mbox", 16, &[]),
    ("virtual", 8, &[("mailbox_id", 4), ("real_uid", 4)]),
];

/// The byte order of index files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// The unsigned number in 0 to 8 bytes.
    fn number(self, bytes: &[u8]) -> u64 {
        let push = |number, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, push),
            Self::Big => bytes.iter().fold(0, push),
        }
    }
}

/// The differences found, grouped by what differs.
#[derive(Debug, Default)]
pub struct Differences {
    groups: BTreeMap<String, Vec<String>>,
    compared: BTreeMap<&'static str, u64>,
    place: String,
}

impl Differences {
    /// Names the file or mailbox that the following differences are in.
    pub fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// Counts something that was compared, so that a test can insist that it was.
    pub fn count(&mut self, what: &'static str) {
        *self.compared.entry(what).or_default() += 1;
    }

    pub fn compared(&self, what: &str) -> u64 {
        self.compared.get(what).copied().unwrap_or(0)
    }

    pub fn add(&mut self, group: &str, detail: impl AsRef<str>) {
        let text = format!("{}: {}", self.place, detail.as_ref());
        self.groups.entry(group.to_owned()).or_default().push(text);
    }

    /// Expects two values to be equal.
    pub fn equal<T: PartialEq + Debug>(&mut self, group: &str, subject: &str, dovecot: &T, idx: &T) {
        if dovecot != idx {
            self.add(group, format!("{subject}: Dovecot has {dovecot:?}, idx has {idx:?}"));
        }
    }

    /// Panics with all differences, grouped and counted, if there are any.
    pub fn finish(self) {
        if self.groups.is_empty() {
            return;
        }
        let total: usize = self.groups.values().map(Vec::len).sum();
        let mut text = format!("{total} differences in {} groups (compared: {:?})", self.groups.len(), self.compared);
        for (group, details) in &self.groups {
            text += &format!("\n\n{group}: {}", details.len());
            for detail in details.iter().take(EXAMPLES) {
                text += &format!("\n  {detail}");
            }
            if details.len() > EXAMPLES {
                text += &format!("\n  ... and {} more", details.len() - EXAMPLES);
            }
        }
        panic!("{text}");
    }
}

/// What `idx show` is expected to say; `None` where the oracle does not tell.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub numbers: Vec<(&'static str, Option<u64>)>,
    pub messages: Vec<Message>,
    /// The keywords the oracle can tell of, if not of all.
    pub keywords: Option<Vec<String>>,
}

/// Compares the document of `idx show`.
pub fn show(differences: &mut Differences, expected: &Expected, document: &Value) {
    differences.count("show");
    for (name, value) in &expected.numbers {
        if value.is_some() {
            differences.equal(&format!("show: {name}"), name, value, &document[*name].as_u64());
        }
    }
    let Some(messages) = document["messages"].as_array() else {
        return differences.add("show: messages", "no array of messages");
    };
    let wanted: Vec<_> = expected.messages.iter().map(|message| Some(u64::from(message.uid))).collect();
    let found: Vec<_> = messages.iter().map(|message| message["uid"].as_u64()).collect();
    if wanted != found {
        let same = wanted.iter().zip(&found).take_while(|(a, b)| a == b).count();
        differences.equal("show: number of messages", "messages", &wanted.len(), &found.len());
        return differences.equal("show: uids", &format!("seq {}", same + 1), &wanted.get(same), &found.get(same));
    }
    for (wanted, found) in expected.messages.iter().zip(messages) {
        show_message(differences, wanted, expected.keywords.as_deref(), found);
    }
}

fn show_message(differences: &mut Differences, wanted: &Message, known: Option<&[String]>, found: &Value) {
    differences.count("message");
    let subject = format!("uid {}", wanted.uid);
    differences.equal("show: seq", &subject, &Some(u64::from(wanted.seq)), &found["seq"].as_u64());
    let (flags, mut keywords) = (sorted_strings(&found["flags"]), sorted_strings(&found["keywords"]));
    if let (Some(keywords), Some(known)) = (&mut keywords, known) {
        keywords.retain(|keyword| known.contains(keyword));
    }
    differences.equal("show: flags", &subject, &Some(&wanted.flags), &flags.as_ref());
    differences.equal("show: keywords", &subject, &Some(&wanted.keywords), &keywords.as_ref());
    if wanted.modseq.is_some() {
        differences.equal("show: modseq", &subject, &wanted.modseq, &found["modseq"].as_u64());
    }
}

/// What a dump of an index says of the mailbox: the state after the log was replayed.
pub fn expected_from_dump(dump: &IndexDump) -> Expected {
    let modseq = dump.extension("modseq");
    let highest = modseq.and_then(|extension| extension.header.get("highest_modseq").copied());
    let names = [
        "indexid",
        "uid_validity",
        "next_uid",
        "first_recent_uid",
        "messages_count",
        "seen_messages_count",
        "deleted_messages_count",
    ];
    let mut numbers: Vec<_> = names.into_iter().map(|name| (name, dump.header.get(name).copied())).collect();
    numbers.push(("highest_modseq", highest));
    let messages = dump.records.iter().map(|record| dumped_message(dump, record, highest)).collect();
    Expected { numbers, messages, keywords: Some(dump.told_keywords().to_vec()) }
}

fn dumped_message(dump: &IndexDump, record: &IndexRecord, highest: Option<u64>) -> Message {
    // 0 stands for the highest modseq. Without the extension no modseqs are kept.
    let modseq = record.ext("modseq").and_then(unhex).and_then(|bytes| {
        let order = if dump.header.get("compat_flags") == Some(&0) { ByteOrder::Big } else { ByteOrder::Little };
        Some(order.number(&bytes)).filter(|modseq| *modseq != 0).or(highest)
    });
    Message {
        seq: u32::try_from(record.seq).unwrap_or(u32::MAX),
        uid: u32::try_from(record.uid).unwrap_or(u32::MAX),
        flags: flag_names(record.flags),
        keywords: dump.keywords_of(record),
        modseq,
    }
}

/// Compares the document of `idx show` with a dump of the index.
pub fn show_with_dump(differences: &mut Differences, dump: &IndexDump, document: &Value) {
    show(differences, &expected_from_dump(dump), document);
    let position = |name: &str| document["position"][name].as_u64();
    let header = |name: &str| dump.header.get(name).copied();
    differences.equal("show: position", "log_file_seq", &header("log_file_seq"), &position("log_file_seq"));
    differences.equal("show: position", "offset", &header("log_file_head_offset"), &position("offset"));
    differences.equal("show: keywords", "names", &Some(&dump.keywords), &strings(&document["keywords"]).as_ref());
}

/// Compares the document of `idx dump` of a log.
///
/// `counts_internal` says whether flag updates without IMAP flags raise modseqs in this log by today's rule although
/// the Dovecot that printed the dump did not count them: so in logs before version 1.3 dumped by 2.1 or older.
pub fn log(differences: &mut Differences, dump: &LogDump, counts_internal: bool, document: &Value) {
    differences.count("log");
    numbers(differences, "log header", &dump.header, &document["header"]);
    let Some(records) = document["records"].as_array() else {
        return differences.add("log: records", "no array of records");
    };
    differences.equal("log: number of records", "records", &dump.records.len(), &records.len());
    // Where tracking begins within a log, old versions and idx agree from the first modseq that is printed.
    let mut modseq = dump.header.get("initial_modseq").copied().filter(|initial| *initial > 0 || !counts_internal);
    let mut uncounted = 0;
    for (wanted, found) in dump.records.iter().zip(records) {
        if let Some(printed) = wanted.modseq {
            modseq = Some(printed + uncounted);
        } else if counts_internal && wanted.kind == "flag-update" && modseq > Some(0) {
            uncounted += 1;
            modseq = modseq.map(|value| value + 1);
        }
        log_record(differences, wanted, modseq, found);
    }
    if let Some(last) = dump.records.last() {
        let end = &document["end"];
        differences.equal("log: end", "offset", &Some(last.offset + last.size), &end["offset"].as_u64());
        differences.equal("log: end", "reason", &Some("eof"), &end["reason"].as_str());
    }
}

fn log_record(differences: &mut Differences, wanted: &LogRecord, modseq: Option<u64>, found: &Value) {
    differences.count("log record");
    let subject = format!("record at {}", wanted.offset);
    for (name, value) in [("offset", wanted.offset), ("size", wanted.size)] {
        differences.equal(&format!("log record: {name}"), &subject, &Some(value), &found[name].as_u64());
    }
    differences.equal("log record: type", &subject, &Some(wanted.kind.as_str()), &found["type"].as_str());
    differences.equal("log record: external", &subject, &Some(wanted.external), &found["external"].as_bool());
    differences.equal("log record: sync", &subject, &Some(wanted.sync), &found["sync"].as_bool());
    if modseq.is_some() {
        differences.equal("log record: modseq", &subject, &modseq, &found["modseq"].as_u64());
    }
    let group = format!("log data: {}", wanted.kind);
    if let Err(problem) = log_data(wanted, &found["data"]) {
        differences.add(&group, format!("{subject}: {problem}"));
    }
}

/// Compares the content of a record; `Err` says what differs.
fn log_data(wanted: &LogRecord, data: &Value) -> Result<(), String> {
    match wanted.kind.as_str() {
        // Of these only the first element is printed, or all numbers are those of one structure.
        "ext-intro" => wanted.items.iter().try_for_each(|item| intro_item(item, &data[0])),
        "header-update" | "ext-hdr" | "ext-hdr32" => {
            wanted.items.iter().try_for_each(|item| header_item(item, &data[0]))
        }
        // Old logs have resets without preserve_data; Dovecot then prints the byte behind the record.
        "ext-reset" if wanted.size < 16 => wanted.items.iter().take(1).try_for_each(|item| structure_item(item, data)),
        "ext-reset" | "boundary" => wanted.items.iter().try_for_each(|item| structure_item(item, data)),
        "keyword-update" => wanted.items.iter().try_for_each(|item| keyword_item(item, data)),
        _ => {
            let found = data.as_array().map_or(0, Vec::len);
            expect("elements", wanted.items.len(), found)?;
            wanted.items.iter().enumerate().try_for_each(|(index, item)| array_item(item, &data[index]))
        }
    }
}

fn expect<T: PartialEq + Debug>(what: &str, dovecot: T, idx: T) -> Result<(), String> {
    if dovecot == idx { Ok(()) } else { Err(format!("{what}: Dovecot has {dovecot:?}, idx has {idx:?}")) }
}

fn expect_number(data: &Value, name: &str, value: u64) -> Result<(), String> {
    expect(name, Some(value), number(data, name))
}

fn intro_item(item: &LogItem, data: &Value) -> Result<(), String> {
    match item {
        LogItem::Number { name, .. } if name == "name_size" => Ok(()),
        LogItem::Number { name, value } if name == "ext_id" && *value == u64::from(u32::MAX) => {
            expect("ext_id", true, data["ext_id"].is_null())
        }
        LogItem::Number { name, value } => expect_number(data, name, *value),
        LogItem::Name(name) => expect("name", Some(name.as_str()), data["name"].as_str()),
        other => Err(format!("unexpected {other:?}")),
    }
}

/// Dovecot prints the fields of an element of the index header that it knows and the rest of it as bytes.
fn header_item(item: &LogItem, data: &Value) -> Result<(), String> {
    let start = number(data, "offset").ok_or("no offset")?;
    let size = number(data, "size").ok_or("no size")?;
    let bytes = data["data"].as_str().ok_or("no data")?;
    let slice = |offset: u64, size: u64| {
        let first = usize::try_from(offset.checked_sub(start)? * 2).ok()?;
        bytes.get(first..first + usize::try_from(size * 2).ok()?)
    };
    match item {
        LogItem::Bytes { offset, size: length, data } => {
            expect("end of the element", offset + length, start + size)?;
            expect("data", Some(data.as_str()), slice(*offset, *length))
        }
        LogItem::Number { name, value } => {
            if let Some((_, offset)) = HEADER_OFFSETS.iter().find(|(known, _)| known == name) {
                let number = slice(*offset, 4).and_then(unhex);
                let orders = [ByteOrder::Little, ByteOrder::Big];
                let is_equal = number.is_some_and(|bytes| orders.iter().any(|order| order.number(&bytes) == *value));
                expect(&format!("bytes at {offset} are {name}"), true, is_equal)?;
            }
            expect_number(&data["fields"], name, *value)
        }
        other => Err(format!("unexpected {other:?}")),
    }
}

fn structure_item(item: &LogItem, data: &Value) -> Result<(), String> {
    match item {
        LogItem::Number { name, value } if name == "preserve_data" => {
            let found = data[name].as_bool().map(u64::from).or_else(|| data[name].as_u64());
            expect(name, Some(*value), found)
        }
        LogItem::Number { name, value } => expect_number(data, name, *value),
        other => Err(format!("unexpected {other:?}")),
    }
}

fn keyword_item(item: &LogItem, data: &Value) -> Result<(), String> {
    let LogItem::Keyword { modify, name, ranges } = item else { return Err(format!("unexpected {item:?}")) };
    let action = if *modify == 0 { "add" } else { "remove" };
    expect("modify_type", Some(action), data["modify_type"].as_str())?;
    expect("name", Some(name.as_str()), data["name"].as_str())?;
    let found: Option<Vec<_>> = data["uids"].as_array().map(|uids| uids.iter().map(range).collect());
    expect("uids", Some(ranges.iter().map(|&(a, b)| (Some(a), Some(b))).collect()), found)
}

fn range(data: &Value) -> (Option<u64>, Option<u64>) {
    (data["uid1"].as_u64(), data["uid2"].as_u64())
}

fn array_item(item: &LogItem, data: &Value) -> Result<(), String> {
    match item {
        LogItem::Append { uid, flags } => {
            expect_number(data, "uid", *uid)?;
            expect("flags", Some(*flags), flag_bits(data, "flags"))
        }
        LogItem::Range { uid1, uid2 } => expect("uids", (Some(*uid1), Some(*uid2)), range(data)),
        LogItem::Flags { uid1, uid2, add, remove, modseq_inc } => {
            expect("uids", (Some(*uid1), Some(*uid2)), range(data))?;
            expect("add_flags", Some(*add), flag_bits(data, "add_flags"))?;
            expect("remove_flags", Some(*remove), flag_bits(data, "remove_flags"))?;
            let found = &data["modseq_inc_flag"];
            let found = found.as_bool().map(u64::from).or_else(|| found.as_u64());
            modseq_inc.map_or(Ok(()), |value| expect("modseq_inc_flag", Some(value), found))
        }
        LogItem::ExpungeGuid { uid, guid } => {
            expect_number(data, "uid", *uid)?;
            expect("guid_128", Some(guid.as_str()), data["guid_128"].as_str())
        }
        LogItem::ExtRecord { uid, data: bytes } => {
            expect_number(data, "uid", *uid)?;
            expect("data", Some(bytes.as_str()), data["data"].as_str())
        }
        LogItem::Increment { uid, diff } => {
            expect_number(data, "uid", *uid)?;
            expect("diff", Some(*diff), data["diff"].as_i64())
        }
        LogItem::ModSeq { uid, modseq } => {
            expect_number(data, "uid", *uid)?;
            expect_number(data, "modseq", *modseq)
        }
        LogItem::Attribute { set, private, key, timestamp, value_len } => {
            expect("key", Some(key.as_str()), data["key"].as_str())?;
            expect("private", Some(*private), data["private"].as_bool())?;
            expect("set", Some(*set), data["set"].as_bool())?;
            expect_number(data, "timestamp", *timestamp)?;
            expect("value_len", *value_len, data["value_len"].as_u64())
        }
        other => Err(format!("unexpected {other:?}")),
    }
}

/// Compares the document of `idx dump` of an index with a dump that shows the same state.
pub fn index(differences: &mut Differences, dump: &IndexDump, order: ByteOrder, document: &Value) {
    differences.count("index");
    // Replaying nothing can still move the tail, and an old minor version is raised in memory with the fields it lacks.
    let mut header = dump.header.clone();
    header.remove("log_file_tail_offset");
    if header.remove("minor_version") != document["header"]["minor_version"].as_u64() {
        header.retain(|name, _| !["log2_rotate_time", "last_temp_file_scan"].contains(&name.as_str()));
    }
    header.retain(|name, _| !name.starts_with("sync_"));
    numbers(differences, "index header", &header, &document["header"]);
    extensions(differences, &dump.extensions, &document["extensions"]);
    differences.equal("index: keywords", "names", &Some(&dump.keywords), &strings(&document["keywords"]).as_ref());
    let Some(records) = document["records"].as_array() else {
        return differences.add("index: records", "no array of records");
    };
    differences.equal("index: number of records", "records", &dump.records.len(), &records.len());
    for (wanted, found) in dump.records.iter().zip(records) {
        index_record(differences, dump, wanted, order, found);
    }
}

fn extensions(differences: &mut Differences, wanted: &[Extension], found: &Value) {
    let names: Vec<&str> = wanted.iter().map(|extension| extension.name.as_str()).collect();
    let found: Vec<&Value> = found.as_array().map(|list| list.iter().collect()).unwrap_or_default();
    let found_names: Vec<&str> = found.iter().map(|extension| extension["name"].as_str().unwrap_or("?")).collect();
    if names != found_names {
        return differences.equal("index: extensions", "names", &names, &found_names);
    }
    for (wanted, found) in wanted.iter().zip(found) {
        differences.count("extension");
        numbers(differences, &format!("extension {}", wanted.name), &wanted.numbers, found);
        extension_header(differences, wanted, &found["header"]);
    }
}

/// Fields of an extension header are compared where idx gives them the name that Dovecot's dump has.
fn extension_header(differences: &mut Differences, wanted: &Extension, found: &Value) {
    let group = format!("extension {}: header", wanted.name);
    match found {
        Value::String(bytes) => {
            if let Some(wanted) = &wanted.header_bytes {
                differences.equal(&group, "bytes", wanted, bytes);
            }
        }
        Value::Object(fields) => {
            // Opening the index moves the position in the modseq header to the end of the log.
            let is_position = |name: &str| wanted.name == "modseq" && name.starts_with("log_");
            for (name, value) in wanted.header.iter().filter(|(name, _)| !is_position(name)) {
                if let Some(found) = fields.get(name).and_then(Value::as_u64) {
                    differences.count("extension header field");
                    differences.equal(&group, name, value, &found);
                }
            }
        }
        _ if wanted.header.is_empty() => {}
        other => differences.add(&group, format!("neither fields nor bytes: {other}")),
    }
}

fn index_record(
    differences: &mut Differences,
    dump: &IndexDump,
    wanted: &IndexRecord,
    order: ByteOrder,
    found: &Value,
) {
    differences.count("index record");
    let subject = format!("uid {}", wanted.uid);
    differences.equal("index record: seq", &subject, &Some(wanted.seq), &found["seq"].as_u64());
    differences.equal("index record: uid", &subject, &Some(wanted.uid), &found["uid"].as_u64());
    differences.equal("index record: flags", &subject, &Some(wanted.flags), &flag_bits(found, "flags"));
    let told =
        |keywords: Vec<String>| keywords.into_iter().filter(|name| dump.told_keywords().contains(name)).collect();
    let keywords = sorted_strings(&found["keywords"]).map(told);
    differences.equal("index record: keywords", &subject, &Some(dump.keywords_of(wanted)), &keywords);
    for (name, bytes) in wanted.ext.iter().filter(|(name, _)| name != "keywords") {
        differences.count("extension record");
        if let Err(problem) = ext_value(name, &unhex(bytes).unwrap_or_default(), order, &found["ext"][name.as_str()]) {
            differences.add(&format!("index record: ext {name}"), format!("{subject}: {problem} (bytes {bytes})"));
        }
    }
}

/// Compares the decoded value of an extension record with its bytes.
fn ext_value(name: &str, bytes: &[u8], order: ByteOrder, found: &Value) -> Result<(), String> {
    match found {
        Value::Number(number) if bytes.len() <= 8 => expect("number", Some(order.number(bytes)), number.as_u64()),
        Value::String(text) => expect("bytes", hex(bytes), text.clone()),
        Value::Object(fields) => {
            let layout = EXT_LAYOUTS.iter().find(|(known, size, _)| *known == name && *size == bytes.len());
            let Some((_, _, layout)) = layout else { return Ok(()) };
            let mut rest = bytes;
            for (field, size) in *layout {
                let (value, tail) = rest.split_at(*size);
                rest = tail;
                match fields.get(*field) {
                    Some(Value::Number(number)) => expect(field, Some(order.number(value)), number.as_u64())?,
                    Some(Value::String(text)) => expect(field, &hex(value), text)?,
                    other => return Err(format!("{field} is {other:?}")),
                }
            }
            Ok(())
        }
        other => Err(format!("is {other}")),
    }
}

/// Compares the document of `idx dump` of a cache file with the cache part of a dump of its index.
pub fn cache(differences: &mut Differences, dump: &IndexDump, cache: &CacheDump, order: ByteOrder, document: &Value) {
    differences.count("cache");
    // The names of 2.1 and older for what are other fields today are left out.
    let old = ["version", "hole_offset", "used_file_size", "deleted_space"];
    let mut header = cache.header.clone();
    header.retain(|name, _| !old.contains(&name.as_str()));
    numbers(differences, "cache header", &header, &document["header"]);
    cache_fields(differences, cache, &document["fields"]);
    let Some(records) = document["records"].as_array() else {
        return differences.add("cache: records", "no array of records");
    };
    let by_offset: BTreeMap<u64, &Value> =
        records.iter().filter_map(|record| Some((record["offset"].as_u64()?, record))).collect();
    let kinds: BTreeMap<&str, &str> =
        cache.fields.iter().map(|field| (field.name.as_str(), field.kind.as_str())).collect();
    for (message, record) in
        dump.records.iter().flat_map(|message| message.cache.iter().map(move |record| (message, record)))
    {
        match by_offset.get(&record.offset) {
            Some(found) => cache_record(differences, message.uid, record, &kinds, order, found),
            None => differences.add("cache: missing record", format!("uid {} at {}", message.uid, record.offset)),
        }
    }
}

fn cache_fields(differences: &mut Differences, cache: &CacheDump, found: &Value) {
    let found: Vec<&Value> = found.as_array().map(|list| list.iter().collect()).unwrap_or_default();
    let wanted_names: Vec<&str> = cache.fields.iter().map(|field| field.name.as_str()).collect();
    let found_names: Vec<&str> = found.iter().map(|field| field["name"].as_str().unwrap_or("?")).collect();
    if wanted_names != found_names {
        return differences.equal("cache: fields", "names", &wanted_names, &found_names);
    }
    for (wanted, found) in cache.fields.iter().zip(found) {
        differences.count("cache field");
        let name = &wanted.name;
        differences.equal("cache field: type", name, &Some(wanted.kind.as_str()), &found["type"].as_str());
        differences.equal("cache field: size", name, &wanted.size, &found["size"].as_u64());
        // Since 2.2 Dovecot ignores the mark of a forced decision in the file, and so does its dump.
        let decision = found["decision"].as_str();
        let unforced = decision.map(|decision| decision.trim_end_matches('!'));
        let decision = if wanted.decision.ends_with('!') { decision } else { unforced };
        differences.equal("cache field: decision", name, &Some(wanted.decision.as_str()), &decision);
        let last_used = found["last_used"].as_u64().map(|time| time / 60);
        differences.equal("cache field: last_used in minutes", name, &Some(wanted.last_used), &last_used);
    }
}

fn cache_record(
    differences: &mut Differences,
    uid: u64,
    wanted: &CacheRecord,
    kinds: &BTreeMap<&str, &str>,
    order: ByteOrder,
    found: &Value,
) {
    differences.count("cache record");
    let subject = format!("uid {uid} at {}", wanted.offset);
    differences.equal("cache record: size", &subject, &Some(wanted.size), &found["size"].as_u64());
    differences.equal("cache record: prev_offset", &subject, &Some(wanted.prev_offset), &found["prev_offset"].as_u64());
    if let Some(found) = found["uid"].as_u64() {
        differences.equal("cache record: uid", &subject, &uid, &found);
    }
    let found_names: Vec<&String> =
        found["fields"].as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
    let mut names: Vec<&String> = wanted.fields.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let mut sorted = found_names.clone();
    sorted.sort_unstable();
    differences.equal("cache record: fields", &subject, &names, &sorted);
    for (name, text) in &wanted.fields {
        let kind = kinds.get(name.as_str()).copied().unwrap_or("?");
        differences.count("cache value");
        if let Err(problem) = cache_value(name, kind, text, order, &found["fields"][name.as_str()]) {
            let group = name.split_once('.').filter(|(prefix, _)| *prefix == "hdr").map_or(name.as_str(), |_| "hdr.*");
            differences.add(&format!("cache value: {group}"), format!("{subject}: {name}: {problem}"));
        }
    }
}

/// Compares one cached value with the text Dovecot prints for it, which depends on the type of its field.
fn cache_value(name: &str, kind: &str, text: &str, order: ByteOrder, found: &Value) -> Result<(), String> {
    match kind {
        "hdr" => header_value(text, found),
        "str" => match found {
            // Bytes that are not UTF-8 cannot be told from the text.
            Value::Object(fields) if fields.contains_key("base64") => Ok(()),
            other => expect(
                "text",
                Some(text.trim_end_matches('\n')),
                other.as_str().map(|text| text.trim_end_matches('\n')),
            ),
        },
        _ => {
            let bytes = text.split_once('(').and_then(|(_, rest)| unhex(rest.split_once(')')?.0));
            let bytes = bytes.ok_or_else(|| format!("no bytes in Dovecot's {text:?}"))?;
            match name {
                "date.sent" if bytes.len() == 8 => {
                    let timezone = (order.number(&bytes[4..]) as u32).cast_signed();
                    expect("time", Some(order.number(&bytes[..4])), found["time"].as_u64())?;
                    expect("timezone", Some(i64::from(timezone)), found["timezone"].as_i64())
                }
                "mime.parts" => mime_parts(&bytes, order, found),
                _ => plain_value(&bytes, order, found),
            }
        }
    }
}

/// A value without a type of its own may be shown as a number, as text or as bytes, and bits as names.
fn plain_value(bytes: &[u8], order: ByteOrder, found: &Value) -> Result<(), String> {
    match found {
        Value::Number(number) if bytes.len() <= 8 => expect("number", Some(order.number(bytes)), number.as_u64()),
        Value::String(text) => {
            let all = String::from_utf8_lossy(bytes);
            let is_tail = bytes.get(1..).is_some_and(|tail| String::from_utf8_lossy(tail) == *text);
            if *text == hex(bytes) || *text == all || is_tail { Ok(()) } else { expect("bytes", &hex(bytes), text) }
        }
        Value::Array(_) | Value::Object(_) => Ok(()),
        other => Err(format!("is {other}")),
    }
}

/// `1, 3: Received: a ...`, or nothing for a header that does not exist.
fn header_value(text: &str, found: &Value) -> Result<(), String> {
    let text = text.trim_end_matches('\n');
    let (lines, raw) = if text.is_empty() { ("", "") } else { text.split_once(": ").unwrap_or((text, "")) };
    let lines: Vec<Option<u64>> =
        lines.split(", ").filter(|line| !line.is_empty()).map(|line| line.parse().ok()).collect();
    let found_lines: Option<Vec<_>> = found["lines"].as_array().map(|lines| lines.iter().map(Value::as_u64).collect());
    expect("lines", Some(lines), found_lines)?;
    match &found["raw"] {
        Value::String(found) => expect("raw", raw, found.trim_end_matches('\n')),
        // Bytes that are not UTF-8 cannot be told from the text.
        Value::Object(fields) if fields.contains_key("base64") => Ok(()),
        Value::Null if raw.is_empty() => Ok(()),
        other => Err(format!("raw is {other}")),
    }
}

/// Compares the tree of MIME parts with its serialised form.
fn mime_parts(bytes: &[u8], order: ByteOrder, found: &Value) -> Result<(), String> {
    let rest = mime_part(bytes, true, order, found).ok_or_else(|| format!("the parts differ from {}", hex(bytes)))?;
    expect("bytes left over", 0, rest.len())
}

/// Compares one part and those in it; returns the bytes behind it, or `None` if anything differs.
fn mime_part<'a>(bytes: &'a [u8], root: bool, order: ByteOrder, found: &Value) -> Option<&'a [u8]> {
    const MULTIPART: u64 = 0x1;
    const RFC822: u64 = 0x4;
    const TEXT: u64 = 0x8;
    let mut rest = bytes;
    let mut take = |size: usize| {
        let (value, tail) = rest.split_at_checked(size)?;
        rest = tail;
        Some(order.number(value))
    };
    let flags = take(4)?;
    let physical_pos = if root { 0 } else { take(8)? };
    let names = ["header_physical_size", "header_virtual_size", "body_physical_size", "body_virtual_size"];
    let mut same = found["physical_pos"].as_u64() == Some(physical_pos);
    for name in names {
        same &= found[name].as_u64() == Some(take(8)?);
    }
    same &= number(found, "flags").is_none_or(|found| found == flags);
    if flags & (TEXT | RFC822) != 0 {
        take(4)?;
    }
    let children = if flags & (MULTIPART | RFC822) != 0 { take(4)? } else { 0 };
    let found_children = found["children"].as_array().map_or(&[][..], Vec::as_slice);
    if !same || usize::try_from(children).ok()? != found_children.len() {
        return None;
    }
    found_children.iter().try_fold(rest, |rest, child| mime_part(rest, false, order, child))
}

/// Compares numbers of a header; `day_first_uid[3]` is an element of an array.
fn numbers(differences: &mut Differences, group: &str, wanted: &Numbers, found: &Value) {
    for (name, value) in wanted {
        let found = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((array, index)) => index.parse::<usize>().ok().and_then(|index| found[array][index].as_u64()),
            None => number(found, name),
        };
        differences.equal(&format!("{group}: {name}"), name, &Some(*value), &found);
    }
}

/// A number, whether it is given as such or, beside its meaning, as `<name>_raw`.
fn number(found: &Value, name: &str) -> Option<u64> {
    found[format!("{name}_raw")].as_u64().or_else(|| found[name].as_u64())
}

/// The flags byte: `<name>_raw`, or the names where there is no such number. They must not contradict each other.
fn flag_bits(found: &Value, name: &str) -> Option<u64> {
    let names = strings(&found[name])?;
    let mut bits = 0;
    for name in names {
        bits |= FLAG_BITS.iter().find(|(_, known)| *known == name)?.0;
    }
    match found[format!("{name}_raw")].as_u64() {
        Some(raw) => (raw & 0x1f == bits).then_some(raw),
        None => Some(bits),
    }
}

fn flag_names(bits: u64) -> Vec<String> {
    let names: Vec<&str> = FLAG_BITS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    split_flags(&names).0
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn sorted_strings(value: &Value) -> Option<Vec<String>> {
    strings(value).map(|mut strings| {
        strings.sort_unstable();
        strings
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
