//! Parses what `doveadm dump` (in 1.1 and 1.2: `idxview` and `logview`) prints for index files and logs.
//!
//! The text is made for people, so mind what it is not:
//! * a dump of an index shows the state after the log was replayed, and the cache with it, not the file;
//! * of a `header-update`, `ext-hdr` or `ext-intro` record only the first element is printed;
//! * `modseq=` is printed only where a record raises it; flags are hexadecimal without a prefix;
//! * keywords of a message are the hexadecimal bytes of its bitmap, of which only the first few (often 2) are printed;
//! * a header of a message loses its last line feed when it occurs once, and keeps it when it occurs more often.

use std::collections::BTreeMap;

/// Numbers by the name Dovecot's structs have for them.
pub type Numbers = BTreeMap<String, u64>;

/// A dump of a transaction log.
#[derive(Clone, Debug, Default)]
pub struct LogDump {
    pub header: Numbers,
    pub records: Vec<LogRecord>,
    /// Lines the parser could not make sense of.
    pub unknown: Vec<String>,
}

/// One record of a log.
#[derive(Clone, Debug, Default)]
pub struct LogRecord {
    pub offset: u64,
    pub size: u64,
    /// The type without `(ext)` and `(sync)`.
    pub kind: String,
    pub external: bool,
    pub sync: bool,
    /// The modseq after the record, if it raised it.
    pub modseq: Option<u64>,
    pub items: Vec<LogItem>,
}

/// A part of a record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    Append {
        uid: u64,
        flags: u64,
    },
    Range {
        uid1: u64,
        uid2: u64,
    },
    Flags {
        uid1: u64,
        uid2: u64,
        add: u64,
        remove: u64,
        /// Only 2.2.31 and later print it.
        modseq_inc: Option<u64>,
    },
    Keyword {
        modify: u64,
        name: String,
        ranges: Vec<(u64, u64)>,
    },
    ExpungeGuid {
        uid: u64,
        guid: String,
    },
    /// Bytes of a header, in hexadecimal.
    Bytes {
        offset: u64,
        size: u64,
        data: String,
    },
    /// A named number: a field of the index header, of an intro or of a reset.
    Number {
        name: String,
        value: u64,
    },
    /// The name in an intro.
    Name(String),
    ExtRecord {
        uid: u64,
        data: String,
    },
    Increment {
        uid: u64,
        diff: i64,
    },
    ModSeq {
        uid: u64,
        modseq: u64,
    },
    Attribute {
        set: bool,
        private: bool,
        key: String,
        timestamp: u64,
        value_len: Option<u64>,
    },
}

/// A dump of an index, as it is after the log was replayed.
#[derive(Clone, Debug, Default)]
pub struct IndexDump {
    pub header: Numbers,
    pub extensions: Vec<Extension>,
    pub keywords: Vec<String>,
    pub cache: Option<CacheDump>,
    pub records: Vec<IndexRecord>,
    /// Lines the parser could not make sense of.
    pub unknown: Vec<String>,
}

impl IndexDump {
    pub fn extension(&self, name: &str) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.name == name)
    }

    /// The keywords whose bits are printed; of the others nothing is known.
    pub fn told_keywords(&self) -> &[String] {
        let bytes = self.records.iter().filter_map(|record| record.ext("keywords")).map(|bytes| bytes.len() / 2).min();
        let count = bytes.map_or(self.keywords.len(), |bytes| self.keywords.len().min(bytes * 8));
        &self.keywords[..count]
    }

    /// The keywords of a message, sorted, as far as their bits are printed.
    pub fn keywords_of(&self, record: &IndexRecord) -> Vec<String> {
        let names = record.keyword_bits().into_iter().filter_map(|bit| self.told_keywords().get(bit).cloned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }
}

/// The header of an extension.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    pub name: String,
    /// `hdr_size`, `reset_id`, `record_offset`, `record_size`, `record_align`.
    pub numbers: Numbers,
    /// The header's fields that were printed as plain numbers.
    pub header: Numbers,
    /// The header in hexadecimal, where Dovecot does not know its fields.
    pub header_bytes: Option<String>,
}

/// One message.
#[derive(Clone, Debug, Default)]
pub struct IndexRecord {
    pub seq: u64,
    pub uid: u64,
    pub flags: u64,
    /// The record bytes of the extensions in hexadecimal, by name.
    pub ext: Vec<(String, String)>,
    /// The message's cache records, the newest first.
    pub cache: Vec<CacheRecord>,
}

impl IndexRecord {
    pub fn ext(&self, name: &str) -> Option<&str> {
        self.ext.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_str())
    }

    /// The positions of the bits set in the keywords bitmap.
    pub fn keyword_bits(&self) -> Vec<usize> {
        let bytes = self.ext("keywords").and_then(unhex).unwrap_or_default();
        let bits =
            bytes.iter().enumerate().flat_map(|(index, byte)| (0..8).map(move |bit| (index * 8 + bit, byte >> bit)));
        bits.filter(|(_, rest)| rest & 1 == 1).map(|(position, _)| position).collect()
    }
}

/// The header and the fields of a cache file.
#[derive(Clone, Debug, Default)]
pub struct CacheDump {
    pub header: Numbers,
    pub fields: Vec<CacheField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheField {
    pub name: String,
    pub kind: String,
    pub size: Option<u64>,
    pub decision: String,
    /// In whole minutes.
    pub last_used: u64,
}

/// A record of the cache file with the text printed for each of its fields.
#[derive(Clone, Debug, Default)]
pub struct CacheRecord {
    pub offset: u64,
    pub size: u64,
    pub prev_offset: u64,
    pub fields: Vec<(String, String)>,
}

impl LogDump {
    /// Parses `doveadm dump -t log`.
    pub fn parse(text: &str) -> Self {
        let mut dump = Self::default();
        for line in text.lines() {
            let understood = match line.strip_prefix("record: ") {
                Some(rest) => parse_log_record(rest).map(|record| dump.records.push(record)),
                None => match dump.records.last_mut() {
                    Some(record) => parse_log_items(&record.kind, line).map(|items| record.items.extend(items)),
                    None => parse_log_header(&mut dump.header, line),
                },
            };
            if understood.is_none() {
                dump.unknown.push(line.to_owned());
            }
        }
        dump
    }
}

fn parse_log_header(header: &mut Numbers, line: &str) -> Option<()> {
    if line.starts_with("Detected file type") || line.is_empty() {
        return Some(());
    }
    let (name, value) = line.split_once(" = ")?;
    let mut insert = |name: &str, value: &str| header.insert(name.to_owned(), value.parse().ok()?);
    match name {
        "version" => {
            let (major, minor) = value.split_once('.')?;
            insert("major_version", major);
            insert("minor_version", minor);
        }
        "prev file" => {
            let (seq, offset) = value.split_once('/')?;
            insert("prev_file_seq", seq);
            insert("prev_file_offset", offset);
        }
        "index id" => drop(insert("indexid", value)),
        other => drop(insert(&other.replace(' ', "_"), value)),
    }
    Some(())
}

fn parse_log_record(rest: &str) -> Option<LogRecord> {
    let mut record = LogRecord::default();
    for part in rest.split(", ") {
        let (name, value) = part.split_once('=')?;
        match name {
            "offset" => record.offset = value.parse().ok()?,
            "size" => record.size = value.parse().ok()?,
            "modseq" => record.modseq = Some(value.parse().ok()?),
            "type" => {
                record.external = value.contains(" (ext)");
                record.sync = value.contains(" (sync)");
                record.kind = value.split(' ').next()?.to_owned();
            }
            _ => return None,
        }
    }
    Some(record)
}

fn parse_log_items(kind: &str, line: &str) -> Option<Vec<LogItem>> {
    let line = line.strip_prefix(" - ")?;
    match kind {
        "append" => list_items(line).map(parse_append).collect(),
        "expunge" | "keyword-reset" => {
            parse_ranges(line)?.into_iter().map(|(uid1, uid2)| Some(LogItem::Range { uid1, uid2 })).collect()
        }
        "flag-update" => one(parse_flags(line)),
        "keyword-update" => one(parse_keyword(line)),
        "expunge-guid" => {
            let (uid, guid) = line.strip_prefix("uid=")?.split_once(" (guid ")?;
            one(Some(LogItem::ExpungeGuid { uid: uid.parse().ok()?, guid: guid.strip_suffix(')')?.to_owned() }))
        }
        "header-update" | "ext-hdr" | "ext-hdr32" => one(parse_bytes(line).or_else(|| parse_number(line))),
        "ext-intro" | "ext-reset" => one(match line.strip_prefix("name = '") {
            Some(name) => name.strip_suffix('\'').map(|name| LogItem::Name(name.to_owned())),
            None => parse_number(line),
        }),
        "boundary" => one(parse_number(&line.replace('=', " = "))),
        "ext-rec" => {
            let (uid, data) = line.strip_prefix("uid=").unwrap_or(line).split_once(": ")?;
            one(Some(LogItem::ExtRecord { uid: uid.parse().ok()?, data: first_word(data).to_owned() }))
        }
        "ext-atomic-inc" => {
            let (uid, diff) = line.strip_prefix("uid=")?.split_once(": ")?;
            one(Some(LogItem::Increment { uid: uid.parse().ok()?, diff: diff.parse().ok()? }))
        }
        "modseq-update" => {
            let (uid, modseq) = line.strip_prefix("uid=")?.split_once(" modseq=")?;
            one(Some(LogItem::ModSeq { uid: uid.parse().ok()?, modseq: modseq.parse().ok()? }))
        }
        "attribute-update" => one(parse_attribute(line)),
        _ => None,
    }
}

fn one(item: Option<LogItem>) -> Option<Vec<LogItem>> {
    item.map(|item| vec![item])
}

/// The items of a list such as `uids=1,2 (flags=8),`, whose separators differ from version to version.
fn list_items(line: &str) -> impl Iterator<Item = &str> {
    let list = line.strip_prefix("uids=").unwrap_or(line);
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_append(item: &str) -> Option<LogItem> {
    let (uid, flags) = match item.split_once(" (flags=") {
        Some((uid, flags)) => (uid, u64::from_str_radix(flags.strip_suffix(')')?, 16).ok()?),
        None => (item, 0),
    };
    Some(LogItem::Append { uid: uid.parse().ok()?, flags })
}

/// Ranges `1-2`, separated by commas or blanks.
fn parse_ranges(line: &str) -> Option<Vec<(u64, u64)>> {
    let parts = list_items(line).flat_map(str::split_ascii_whitespace);
    parts.map(|range| range.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))).collect()
}

fn parse_flags(line: &str) -> Option<LogItem> {
    let (range, flags) = line.strip_prefix("uids=").unwrap_or(line).split_once(" (flags +")?;
    let (uid1, uid2) = range.split_once('-')?;
    let flags = flags.strip_suffix(')')?;
    let (flags, modseq_inc) = match flags.split_once(", modseq_inc_flag=") {
        Some((flags, value)) => (flags, Some(value.parse().ok()?)),
        None => (flags, None),
    };
    let (add, remove) = flags.split_once('-')?;
    Some(LogItem::Flags {
        uid1: uid1.parse().ok()?,
        uid2: uid2.parse().ok()?,
        add: u64::from_str_radix(add, 16).ok()?,
        remove: u64::from_str_radix(remove, 16).ok()?,
        modseq_inc,
    })
}

fn parse_keyword(line: &str) -> Option<LogItem> {
    let (modify, rest) = line.strip_prefix("modify=")?.split_once(", name=")?;
    let (name, ranges) = rest.split_once(", ")?;
    Some(LogItem::Keyword { modify: modify.parse().ok()?, name: name.to_owned(), ranges: parse_ranges(ranges)? })
}

fn parse_bytes(line: &str) -> Option<LogItem> {
    let (offset, rest) = line.strip_prefix("offset = ")?.split_once(", size = ")?;
    let (size, data) = rest.split_once(':')?;
    let data = first_word(data.trim_start()).to_owned();
    Some(LogItem::Bytes { offset: offset.parse().ok()?, size: size.parse().ok()?, data })
}

fn parse_number(line: &str) -> Option<LogItem> {
    let (name, value) = line.split_once(" = ")?;
    Some(LogItem::Number { name: name.to_owned(), value: value.parse().ok()? })
}

fn parse_attribute(line: &str) -> Option<LogItem> {
    let (action, rest) = line.split_once(": ")?;
    let (key, rest) = rest.split_once(" : timestamp=")?;
    let (scope, key) = key.split_once('/')?;
    let (timestamp, value_len) = match rest.split_once(" value_len=") {
        Some((timestamp, len)) => (timestamp, Some(len.parse().ok()?)),
        None => (rest, None),
    };
    Some(LogItem::Attribute {
        set: action == "add",
        private: scope == "private",
        key: key.to_owned(),
        timestamp: parse_time(timestamp)?,
        value_len,
    })
}

/// Which part of the text of an index dump a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Header,
    Extension,
    Keywords,
    Cache,
    CacheFields,
    Records,
}

impl IndexDump {
    /// Parses `doveadm dump -t index`; `None` if the index could not be opened.
    pub fn parse(text: &str) -> Option<Self> {
        let start = text.find("-- INDEX: ")?;
        let mut dump = Self::default();
        let mut section = Section::Header;
        for line in text[start..].lines().skip(1) {
            if let Some(next) = dump.parse_title(line) {
                section = next;
            } else if dump.parse_line(section, line).is_none() {
                dump.unknown.push(line.to_owned());
            }
        }
        Some(dump)
    }

    fn parse_title(&mut self, line: &str) -> Option<Section> {
        let title = line.strip_prefix("-- ")?;
        if title.starts_with("Extension ") {
            self.extensions.push(Extension::default());
            Some(Section::Extension)
        } else if title.starts_with("CACHE: ") {
            Some(Section::Cache)
        } else if title.starts_with("RECORDS: ") {
            Some(Section::Records)
        } else {
            match title {
                "Keywords --" => Some(Section::Keywords),
                "Cache fields --" => Some(Section::CacheFields),
                _ => None,
            }
        }
    }

    fn parse_line(&mut self, section: Section, line: &str) -> Option<()> {
        if line.is_empty() && section != Section::Records {
            return Some(());
        }
        match section {
            Section::Header => {
                let (name, value) = field(line)?;
                let name = if name == "index id" { "indexid".to_owned() } else { name.replace(' ', "_") };
                parse_version_or_number(&mut self.header, name, value)
            }
            Section::Extension => parse_extension_line(self.extensions.last_mut()?, line),
            Section::Keywords => {
                let (_, name) = line.split_once(" = ")?;
                self.keywords.push(name.to_owned());
                Some(())
            }
            Section::Cache => self.parse_cache_line(line),
            Section::CacheFields => {
                if !line.starts_with(" #") {
                    self.cache.as_mut()?.fields.push(parse_cache_field(line)?);
                }
                Some(())
            }
            Section::Records => parse_record_line(&mut self.records, line),
        }
    }

    fn parse_cache_line(&mut self, line: &str) -> Option<()> {
        if line == "cache is unusable" {
            return Some(());
        }
        let (name, value) = field(line)?;
        let name = match name {
            "used_file_size (old)" => "backwards_compat_used_file_size".to_owned(),
            other => other.replace(' ', "_"),
        };
        parse_version_or_number(&mut self.cache.get_or_insert_default().header, name, value)
    }
}

/// Splits `name ...... = value`.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim_end_matches(['.', ' ']), value.trim_start()))
}

fn parse_version_or_number(numbers: &mut Numbers, name: String, value: &str) -> Option<()> {
    if name == "version" && value.contains('.') {
        let (major, minor) = value.split_once('.')?;
        numbers.insert("major_version".to_owned(), major.parse().ok()?);
        numbers.insert("minor_version".to_owned(), minor.parse().ok()?);
    } else {
        numbers.insert(name, first_word(value).parse().ok()?);
    }
    Some(())
}

fn parse_extension_line(extension: &mut Extension, line: &str) -> Option<()> {
    if let Some(line) = line.strip_prefix(" - ") {
        // Times, GUIDs and the names in lists are not needed; what is a number is kept.
        if let Some((name, value)) = field(line)
            && let Ok(value) = value.parse()
        {
            extension.header.insert(name.replace(' ', "_"), value);
        }
        return Some(());
    }
    if line == "header" || line.starts_with("mailbox ") || line.starts_with("   ") {
        return Some(());
    }
    match field(line)? {
        ("name", name) => name.clone_into(&mut extension.name),
        ("header", bytes) => extension.header_bytes = Some(bytes.to_owned()),
        (name, value) => drop(extension.numbers.insert(name.to_owned(), value.parse().ok()?)),
    }
    Some(())
}

/// ` 6: imap.body                                    str     - no   2026-11-23 04:34`
fn parse_cache_field(line: &str) -> Option<CacheField> {
    let (_, rest) = line.split_once(": ")?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [name @ .., kind, size, decision, day, time] = &words[..] else { return None };
    Some(CacheField {
        name: name.join(" "),
        kind: (*kind).to_owned(),
        size: if *size == "-" { None } else { Some(size.parse().ok()?) },
        decision: (*decision).to_owned(),
        last_used: parse_time(&format!("{day} {time}"))? / 60,
    })
}

fn parse_record_line(records: &mut Vec<IndexRecord>, line: &str) -> Option<()> {
    if let Some(rest) = line.strip_prefix("RECORD: seq=") {
        records.push(parse_record(rest)?);
        return Some(());
    }
    let Some(record) = records.last_mut() else { return line.is_empty().then_some(()) };
    if let Some(rest) = line.strip_prefix(" - cache offset=") {
        record.cache.push(parse_cache_record(rest)?);
    } else if let Some(rest) = line.strip_prefix(" - ext ").filter(|_| record.cache.is_empty()) {
        record.ext.push(parse_record_ext(rest)?);
    } else if let Some(cache) = record.cache.last_mut() {
        parse_cache_value(cache, line)?;
    } else if !line.is_empty() && !line.trim_start().starts_with(": ") {
        return None;
    }
    Some(())
}

/// `1, uid=1, flags=0x08 (Seen)`
fn parse_record(rest: &str) -> Option<IndexRecord> {
    let (seq, rest) = rest.split_once(", uid=")?;
    let (uid, flags) = rest.split_once(", flags=0x")?;
    Some(IndexRecord {
        seq: seq.parse().ok()?,
        uid: uid.parse().ok()?,
        flags: u64::from_str_radix(first_word(flags), 16).ok()?,
        ..IndexRecord::default()
    })
}

/// `1 modseq    :          2 (0200000000000000)`
fn parse_record_ext(rest: &str) -> Option<(String, String)> {
    let (name, value) = rest.trim_start().split_once(' ')?.1.split_once(':')?;
    let (_, bytes) = value.rsplit_once('(')?;
    Some((name.trim_end().to_owned(), bytes.strip_suffix(')')?.to_owned()))
}

/// `27256 size=16, prev_offset = 26216`
fn parse_cache_record(rest: &str) -> Option<CacheRecord> {
    let (offset, rest) = rest.split_once(" size=")?;
    let (size, prev_offset) = rest.split_once(", prev_offset = ")?;
    Some(CacheRecord {
        offset: offset.parse().ok()?,
        size: size.parse().ok()?,
        prev_offset: prev_offset.parse().ok()?,
        fields: Vec::new(),
    })
}

/// A new field, or one more line of the last field's value.
fn parse_cache_value(record: &mut CacheRecord, line: &str) -> Option<()> {
    if let Some((name, value)) = line.strip_prefix("    - ").and_then(|rest| rest.split_once(": ")) {
        record.fields.push((name.to_owned(), value.to_owned()));
        return Some(());
    }
    match record.fields.last_mut() {
        Some((_, value)) => {
            value.push('\n');
            value.push_str(line);
            Some(())
        }
        None => line.is_empty().then_some(()),
    }
}

/// `2026-11-23 04:34:46` or without seconds, in UTC, as UNIX time.
pub fn parse_time(text: &str) -> Option<u64> {
    let (day, time) = text.split_once(' ')?;
    let numbers = |text: &str, separator| -> Option<Vec<u64>> {
        text.split(separator).map(|number| number.parse().ok()).collect()
    };
    let [year, month, day] = numbers(day, '-')?[..] else { return None };
    let time = numbers(time, ':')?;
    let (hour, minute) = (*time.first()?, *time.get(1)?);
    // Years are counted from March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + time.get(2).copied().unwrap_or(0))
}

/// Decodes hexadecimal text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| digit.try_into().ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log() {
        let dump = LogDump::parse(
            "version = 1.3\nprev file = 2/84596\ninitial modseq = 636\n\
             record: offset=40, type=append (ext) (sync), size=24, modseq=637\n - uids=1 (flags=1f),2,\n\
             record: offset=64, type=keyword-update, size=44\n - modify=1, name=a, uids=1-2,4-6,\n\
             record: offset=108, type=flag-update, size=20\n - uids=1-2 (flags +8-1f, modseq_inc_flag=0)\n\
             record: offset=128, type=header-update (ext), size=16\n - log_file_tail_offset = 208\n",
        );
        assert!(dump.unknown.is_empty(), "{:?}", dump.unknown);
        assert_eq!((dump.header["prev_file_seq"], dump.header["prev_file_offset"]), (2, 84596));
        assert!(dump.records[0].external && dump.records[0].sync && !dump.records[1].external);
        assert_eq!(dump.records[0].items[0], LogItem::Append { uid: 1, flags: 0x1f });
        assert_eq!(
            dump.records[2].items,
            [LogItem::Flags { uid1: 1, uid2: 2, add: 8, remove: 0x1f, modseq_inc: Some(0) }]
        );
        let tail = LogItem::Number { name: "log_file_tail_offset".to_owned(), value: 208 };
        assert_eq!(dump.records[3].items, [tail]);
    }

    #[test]
    fn index_with_cache() {
        let dump = IndexDump::parse(
            "-- INDEX: x\nversion .................. = 7.3\nindex id ................. = 5 (1970-01-01 00:00:05)\n\
             -- Extension 0 --\nname ........ = modseq\nrecord_align  = 8\nheader\n - highest_modseq = 21\n\
             -- Keywords --\n  0 = $Label1\n\n-- CACHE: x\nminor version ........ = 1\n-- Cache fields --\n\
             \x20#  Name                                         Type Size Dec  Last used\n\
             \x206: imap.body                                    str     - no   2026-11-23 04:34\n\n-- RECORDS: 1\n\
             RECORD: seq=1, uid=7, flags=0x08 (Seen)\n - ext 0 keywords  :            (0100)\n\
             \x20- ext 3 index sync:          3 (0300)\n - cache offset=27256 size=16, prev_offset = 0\n\
             \x20   - hdr.Received: 1, 3: Received: a\n\tb\nReceived: c\n\n    - hdr.Bcc: \n\n",
        )
        .unwrap();
        assert!(dump.unknown.is_empty(), "{:?}", dump.unknown);
        assert_eq!((dump.header["minor_version"], dump.header["indexid"]), (3, 5));
        assert_eq!(dump.extensions[0].header["highest_modseq"], 21);
        let cache = dump.cache.unwrap();
        assert_eq!((cache.fields[0].size, cache.fields[0].last_used), (None, 1_795_408_440 / 60));
        let record = &dump.records[0];
        assert_eq!((record.keyword_bits(), record.ext("index sync")), (vec![0], Some("0300")));
        assert_eq!(record.cache[0].fields[0].1, "1, 3: Received: a\n\tb\nReceived: c\n");
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("1970-01-01 00:00:05"), Some(5));
        assert_eq!(parse_time("2000-02-29 12:00"), Some(951_825_600));
    }
}
