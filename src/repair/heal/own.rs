//! Whose a file is. A file of another mailbox, or of an earlier life of this one, is left out and named: it is never
//! made this mailbox's by writing its id into it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::format::Disk;
use crate::format::cache::CacheHeader;
use crate::format::ext::{MboxHeader, MdboxHeader, SdboxHeader};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::ExtNames;
use crate::format::log::LogFile;
use crate::format::record::{Record, RecordType};
use crate::model::replay::Until;
use crate::model::{Chain, ChainFile, Mailbox};
use crate::repair::flip::is_one_byte_apart;
use crate::repair::inputs::Inputs;
use crate::source::Role;
use crate::storage::{mails_of, own_guid};

/// No map was begun before that, UNIX seconds.
pub const OLDEST: u32 = 0x2000_0000;

/// Extensions that only mailboxes of one storage format have.
const HEADERS: [&[u8]; 4] = [b"dbox-hdr", b"maildir", b"mbox", b"mdbox-hdr"];

/// What a file says of the mailbox it belongs to. `indexid` alone tells little: mailboxes that were made in the same
/// second have the same.
struct Claim {
    role: Role,
    indexid: u32,
    /// `None` where the file does not tell: a log that begins after a rotation.
    uid_validity: Option<u32>,
    /// GUID of the mailbox, where the file tells it.
    guid: Option<[u8; 16]>,
    /// Where an index stands: `file_seq` and offset.
    stands: Option<(u32, u64)>,
    /// Those of [`HEADERS`] that it has or introduces.
    headers: Vec<&'static [u8]>,
}

/// The files that are not this mailbox's, each with the reason.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    files: Vec<(Role, String)>,
    /// Why it is not certain which of two sides is this mailbox's: nothing but the other files speaks for either.
    pub undecided: Option<String>,
}

impl Foreign {
    /// Compares what index, backup and logs say of themselves with one another, with the cache and with the storage.
    /// One field that differs may be damaged and proves nothing; two that differ independently do.
    pub fn find(inputs: &Inputs<'_>) -> Foreign {
        let roles = [Role::Index, Role::Backup, Role::OldLog, Role::Log];
        let claims: Vec<Claim> = roles.iter().filter_map(|role| claim(inputs, *role)).collect();
        let mut found = Foreign::default();
        found.against_format(inputs, &claims);
        found.against_guid(inputs, &claims);
        found.against_storage(inputs, &claims);
        found.against_mails(inputs, &claims);
        found.against_map(inputs, &claims);
        claims.iter().filter(|one| matches!(one.role, Role::Index | Role::Backup)).for_each(|one| {
            found.against_logs(inputs, &claims, one);
        });
        found
    }

    /// Index and logs that have the header of another storage format, and not the one of this storage.
    fn against_format(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let Some(storage) = &inputs.storage else { return };
        let own: &[u8] = match storage.format {
            "maildir" => b"maildir",
            "mbox" => b"mbox",
            "sdbox" => b"dbox-hdr",
            "mdbox" => b"mdbox-hdr",
            _ => return,
        };
        for one in claims.iter().filter(|one| !one.headers.contains(&own)) {
            if let Some(other) = one.headers.first() {
                let [other, own] = [*other, own].map(String::from_utf8_lossy);
                self.add(one.role, format!("it has the extension {other} of another storage format, and no {own}"));
            }
        }
    }

    /// A GUID that differs from the one that the storage or the list of mailboxes has is another mailbox's.
    fn against_guid(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let Some(known) = inputs.storage.as_ref().and_then(|storage| storage.guid) else { return };
        for one in claims.iter().filter(|one| one.guid.is_some_and(|guid| is_other_guid(&guid, &known))) {
            self.add(one.role, "it has the GUID of another mailbox".into());
        }
        self.successor(inputs, claims);
    }

    /// Logs and the index that goes with them, against the UIDs that have a mail: those of another mailbox lack mails,
    /// and do not know the ones that are here.
    fn against_mails(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let storage = inputs.storage.as_ref().filter(|storage| !storage.uids.is_empty() && storage.unnumbered == 0);
        let Some(storage) = storage else { return };
        for one in claims.iter().filter(|one| matches!(one.role, Role::Log | Role::OldLog)) {
            if self.why(one.role).is_some() || (one.guid.is_some() && one.guid == storage.guid) {
                continue;
            }
            let Some(mut here) = inputs.bytes(one.role).and_then(live) else { continue };
            // What `.log.2` appends the log after it may have expunged.
            if let (Role::OldLog, Some(old), Some(log)) = (one.role, inputs.old_log, inputs.log)
                && continues(log, old)
            {
                let later = LogFile::parse(log, log.len() as u64).ok();
                later.iter().flat_map(|file| file.records(log)).for_each(|one| take_expunged(&one, &mut here));
            }
            let index = claims.iter().find(|index| index.role == Role::Index && self.why(Role::Index).is_none());
            let index = index.filter(|index| index.stands.is_some_and(|place| stands_in(inputs, place)));
            let older = index.and_then(|index| inputs.bytes(index.role)).and_then(uids_of);
            let bare = here.iter().filter(|uid| !storage.has(**uid)).count();
            let own = here.len() - bare;
            let known = |uid: &u32| here.contains(uid) || older.as_ref().is_some_and(|older| older.contains(uid));
            let shared = storage.uids.iter().filter(|uid| known(uid)).count();
            let is_other = match &older {
                // An index that knows most of what is here vouches for its log.
                Some(_) => bare > own && shared * 2 < storage.uids.len(),
                None => bare > own && (bare > 1 || own == 0),
            };
            if is_other {
                let why = format!("{bare} of the {} messages that it appends have no mail here", here.len());
                self.add(one.role, why.clone());
                if let Some(index) = index {
                    self.add(index.role, why);
                }
            }
        }
        self.successor(inputs, claims);
    }

    /// Messages whose mails the other mailboxes have, more often than the map counts them.
    fn against_map(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let Some(map) = inputs.storage.as_ref().and_then(|storage| storage.map.as_ref()) else { return };
        for one in claims.iter().filter(|one| one.role != Role::Backup) {
            let Some(mailbox) = inputs.bytes(one.role).and_then(|bytes| state_of(one.role, bytes)) else { continue };
            let begun = mailbox
                .extension(b"mdbox-hdr")
                .and_then(|ext| mailbox.endian.u32_at(ext.header(), MdboxHeader::map_uid_validity.offset));
            let is_other = |begun: &u32| *begun >= OLDEST && (begun ^ map.uid_validity()).count_ones() > 1;
            if let Some(other) = begun.filter(is_other) {
                self.add(one.role, format!("its map has uid_validity {other}, the one here {}", map.uid_validity()));
            }
            // An older index has mails that were copied elsewhere and expunged here since.
            let later = one.stands.and_then(|_| followed(inputs, &mailbox));
            let own = mails_of(later.as_ref().unwrap_or(&mailbox));
            let Some((orphans, over)) = map.balance(&own) else { return };
            if over.len() * 2 > own.len() && !orphans.is_empty() {
                self.add(one.role, format!("other mailboxes have {} of its {} mails", over.len(), own.len()));
                let logs = claims.iter().filter(|log| matches!(log.role, Role::Log | Role::OldLog));
                for log in logs.filter(|_| one.stands.is_some_and(|place| stands_in(inputs, place))) {
                    self.add(log.role, "the index that goes with it is another mailbox's".into());
                }
            }
        }
        self.successor(inputs, claims);
    }

    fn against_storage(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let Some((storage, known)) = inputs.storage.as_ref().and_then(|one| Some((one, one.uid_validity?))) else {
            return;
        };
        let is_other = |one: &&Claim| one.uid_validity.is_some_and(|theirs| (theirs ^ known).count_ones() > 1);
        let other = claims.iter().find(is_other).and_then(|one| one.uid_validity);
        // In a text of digits one that is wrong is no other mailbox.
        let digit = |theirs: &u32| {
            let [one, two] = [*theirs, known].map(|number| number.to_string());
            is_one_byte_apart(one.as_bytes(), two.as_bytes())
        };
        let has_mails = |one: &Claim| match one.stands {
            Some(_) => inputs
                .bytes(one.role)
                .and_then(uids_of)
                .is_some_and(|uids| storage.uids.iter().all(|uid| uids.contains(uid))),
            None => holds(inputs.bytes(one.role), &storage.uids),
        };
        if storage.flags.is_some()
            && let Some(theirs) = other.filter(digit)
            && !claims.iter().any(|one| one.uid_validity == Some(known))
            && claims.iter().any(|one| one.uid_validity == Some(theirs) && has_mails(one))
        {
            self.undecided = Some(format!("they have uid_validity {theirs}, and the list of UIDs has {known}"));
            return;
        }
        if let Some(theirs) = other.filter(|_| storage.lists_other_files()) {
            self.undecided = Some(format!(
                "they have uid_validity {theirs}, dovecot-uidlist has {known}, and names none of the {} files here",
                storage.unnumbered
            ));
            return;
        }
        // A list of mailboxes may be out of date; the storage itself is not.
        if storage.flags.is_none() && !claims.iter().any(|one| one.uid_validity == Some(known)) {
            if let Some(theirs) = other {
                let why = format!("they have uid_validity {theirs}, and the list of mailboxes has {known}");
                self.undecided = Some(why);
            }
            return;
        }
        for one in claims {
            let Some(theirs) = one.uid_validity.filter(|theirs| *theirs != known && *theirs != 0) else { continue };
            let has_twin = claims.iter().filter(|two| two.uid_validity == Some(theirs)).count() > 1;
            let fits = match one.stands {
                Some(place) => stands_in(inputs, place),
                None => holds(inputs.bytes(one.role), &storage.uids),
            };
            if has_twin || !fits || (theirs ^ known).count_ones() > 1 {
                self.add(one.role, format!("its uid_validity is {theirs}, that of the storage {known}"));
            }
        }
        self.successor(inputs, claims);
    }

    /// A log that tells nothing of its own goes with the one it continues.
    fn successor(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let left = |role: Role| self.why(role).is_some();
        if let (true, Some(log)) = (left(Role::OldLog) && !left(Role::Log), inputs.log)
            && claims.iter().any(|one| one.role == Role::Log && one.uid_validity.is_none())
            && inputs.old_log.is_some_and(|old| continues(log, old))
        {
            self.add(Role::Log, "it continues a log of another mailbox".into());
        }
    }

    /// An index with another UIDVALIDITY than the logs, and another id or a position that they do not have: one side is
    /// another mailbox's, the one for which less speaks.
    fn against_logs(&mut self, inputs: &Inputs<'_>, claims: &[Claim], index: &Claim) {
        let is_log = |one: &&Claim| matches!(one.role, Role::Log | Role::OldLog);
        let logs: Vec<&Claim> = claims.iter().filter(is_log).filter(|one| self.why(one.role).is_none()).collect();
        let Some(log) = logs.last() else { return };
        // Logs that begin after a rotation have their UIDVALIDITY from an index with the same id.
        let akin = claims.iter().filter(|one| one.role != index.role && one.indexid == log.indexid);
        let told = logs
            .iter()
            .rev()
            .find_map(|one| one.uid_validity)
            .or_else(|| akin.filter_map(|one| one.uid_validity).next());
        if index.role == Role::Index
            && let Some(view) = inputs.index.and_then(|bytes| IndexFile::parse(bytes).ok())
            && self.why(index.role).is_none()
            && counts_otherwise(inputs, &view)
        {
            self.undecided = Some("index and logs meet where they count other modseqs".into());
        }
        let Some(theirs) = told else { return };
        let Some((ours, place)) = index.uid_validity.zip(index.stands) else { return };
        let fits = index.indexid == log.indexid && stands_in(inputs, place);
        if self.why(index.role).is_some() || ours == theirs || ours == 0 || fits {
            return;
        }
        let others = claims.iter().filter(|one| one.stands.is_some() && one.role != index.role);
        let backed = |value: u32| others.clone().filter(|one| one.uid_validity == Some(value)).count();
        let linked = inputs.bytes(index.role).zip(inputs.cache).is_some_and(|(index, cache)| links_to(index, cache));
        let for_index = 1 + backed(ours) + usize::from(linked);
        let for_logs = logs.len() + backed(theirs) + usize::from(!linked && inputs.cache.is_some());
        let told = inputs.storage.as_ref().and_then(|storage| storage.uid_validity);
        if ![ours, theirs].iter().any(|one| told == Some(*one)) && index.role == Role::Index {
            let why = format!("the index has uid_validity {ours}, the logs have {theirs} and do not lead on from it");
            self.undecided = Some(why);
        }
        if told.map_or(for_logs > for_index, |told| told == theirs || (told != ours && for_logs > for_index)) {
            let why = format!("its uid_validity is {ours}, that of the logs {theirs}, which do not lead on from it");
            self.add(index.role, why);
        } else if told.map_or(for_index > for_logs, |told| told == ours || for_index > for_logs) {
            for log in logs {
                self.add(
                    log.role,
                    format!("its uid_validity is {theirs}, that of the index {ours}, from which it does not lead on"),
                );
            }
        }
    }

    fn add(&mut self, role: Role, why: String) {
        if self.why(role).is_none() {
            self.files.push((role, why));
        }
    }

    /// Why the file with that role is not this mailbox's; `None` when it may be.
    pub fn why(&self, role: Role) -> Option<&str> {
        self.files.iter().find(|(have, _)| *have == role).map(|(_, why)| why.as_str())
    }

    /// The inputs without an index or a backup that is another mailbox's. Logs are sorted out by `sort_logs`.
    pub fn without<'i, 'a>(&self, inputs: &'i Inputs<'a>) -> Cow<'i, Inputs<'a>> {
        let mut own = Cow::Borrowed(inputs);
        if self.why(Role::Index).is_some() {
            own.to_mut().index = None;
        }
        if self.why(Role::Backup).is_some() {
            own.to_mut().backup = None;
        }
        own
    }

    /// What is said about the files that are left out.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.files.iter().map(|(role, why)| format!("{} is of another mailbox or an earlier life: {why}", name(*role)))
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Index => "the index",
        Role::Backup => "the backup",
        Role::OldLog => ".log.2",
        Role::Log => "the log",
        Role::Cache => "the cache",
    }
}

/// Whether a GUID is another one, and not this one damaged: then some of its bytes are zero, or few bits differ.
pub fn is_other_guid(guid: &[u8; 16], own: &[u8; 16]) -> bool {
    let bits: u32 = guid.iter().zip(own).map(|(a, b)| (a ^ b).count_ones()).sum();
    bits > 8 && !guid.windows(3).any(|bytes| bytes == [0; 3])
}

/// The GUID that a record gives the mailbox, in the header of the extension that was introduced last.
pub fn guid_set(record: &Record<'_>, names: &ExtNames) -> Option<[u8; 16]> {
    if !matches!(record.kind(), Some(RecordType::ExtHdr | RecordType::ExtHdr32)) {
        return None;
    }
    let place = match names.current_name()? {
        b"dbox-hdr" => SdboxHeader::mailbox_guid,
        b"mbox" => MboxHeader::mailbox_guid,
        b"mdbox-hdr" => MdboxHeader::mailbox_guid,
        _ => return None,
    };
    let guid = record.header_chunks().find_map(|chunk| {
        let at = place.offset.checked_sub(chunk.offset as usize)?;
        chunk.data.get(at..)?.first_chunk::<16>().copied()
    });
    guid.filter(|guid| *guid != [0; 16])
}

fn claim(inputs: &Inputs<'_>, role: Role) -> Option<Claim> {
    let bytes = inputs.bytes(role)?;
    if matches!(role, Role::Index | Role::Backup) {
        let index = IndexFile::parse(bytes).ok()?;
        let header = &index.header;
        return Some(Claim {
            role,
            indexid: header.indexid,
            uid_validity: Some(header.uid_validity),
            guid: own_guid(&Mailbox::load(&index)),
            stands: Some((header.log_file_seq, u64::from(header.log_file_head_offset))),
            headers: HEADERS.into_iter().filter(|name| index.extension(name).is_some()).collect(),
        });
    }
    let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
    let (mut uid_validity, mut introduced) = (None, [false; HEADERS.len()]);
    // The first one is the mailbox's own: another may have come with the end of another log.
    let mut names = if log.header.starts_empty() { ExtNames::from_nothing() } else { ExtNames::default() };
    let mut guid = None;
    for record in log.records(bytes) {
        guid = guid.or_else(|| guid_set(&record, &names));
        names.follow(&record);
        uid_validity = record.sets(IndexHeader::uid_validity).last().or(uid_validity);
        let intros = (record.kind() == Some(RecordType::ExtIntro)).then(|| record.intros());
        for one in intros.into_iter().flatten() {
            HEADERS.iter().zip(&mut introduced).for_each(|(name, seen)| *seen |= one.name == *name);
        }
    }
    let headers = HEADERS.into_iter().zip(introduced).filter_map(|(name, seen)| seen.then_some(name)).collect();
    Some(Claim { role, indexid: log.header.indexid, uid_validity, guid, stands: None, headers })
}

/// The state that an index has, or that a log leads to which begins with the mailbox.
fn state_of(role: Role, bytes: &[u8]) -> Option<Mailbox> {
    if matches!(role, Role::Index | Role::Backup) {
        return IndexFile::parse(bytes).ok().map(|index| Mailbox::load(&index));
    }
    let log = LogFile::parse(bytes, bytes.len() as u64).ok().filter(|log| log.header.starts_empty())?;
    let chain = Chain::new([ChainFile::new(log, bytes)]);
    chain.replay(chain.empty_mailbox(), Until::End).ok().map(|replayed| replayed.mailbox)
}

/// The state that the logs after an index lead to.
fn followed(inputs: &Inputs<'_>, index: &Mailbox) -> Option<Mailbox> {
    let logs = [inputs.old_log, inputs.log].into_iter().flatten();
    let files =
        logs.filter_map(|bytes| LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| ChainFile::new(log, bytes)));
    Chain::new(files).replay(index.clone(), Until::End).ok().map(|replayed| replayed.mailbox)
}

/// The UIDs that an index has.
fn uids_of(bytes: &[u8]) -> Option<HashSet<u32>> {
    let index = IndexFile::parse(bytes).ok()?;
    Some(index.iter().filter_map(|record| index.endian.u32_at(record, 0)).collect())
}

/// Whether the logs count another modseq at the place of an index than the index has: its place is there by chance.
fn counts_otherwise(inputs: &Inputs<'_>, index: &IndexFile<'_>) -> bool {
    let mailbox = Mailbox::load(index);
    let top = mailbox.positions().filter_map(|i| mailbox.record_modseq(i)).max().unwrap_or(0);
    let is_whole = |highest: u64| index.problems.is_empty() && highest != 0 && highest >= top;
    let Some(header) = mailbox.modseq_header().filter(|header| is_whole(header.highest_modseq)) else { return false };
    let (seq, offset) = (index.header.log_file_seq, u64::from(index.header.log_file_head_offset));
    let logs = [inputs.log, inputs.old_log].into_iter().flatten();
    let counts = logs.filter_map(|bytes| {
        let log = LogFile::parse(bytes, bytes.len() as u64).ok().filter(|log| {
            // One that starts from nothing is another matter: it would wipe the index.
            log.header.file_seq == seq && !log.header.starts_empty()
        })?;
        let mut scan = log.records(bytes);
        while scan.pos() < offset && scan.next().is_some() {}
        (log.header.minor_version >= 3 && scan.pos() == offset).then(|| scan.modseq())
    });
    // A flipped bit is no other mailbox.
    counts.into_iter().next().is_some_and(|count| (count ^ header.highest_modseq).count_ones() > 1)
}

/// Whether one of the logs has a record's end at that place, or continues from it.
fn stands_in(inputs: &Inputs<'_>, (seq, offset): (u32, u64)) -> bool {
    [inputs.log, inputs.old_log].into_iter().flatten().any(|bytes| {
        let Ok(log) = LogFile::parse(bytes, bytes.len() as u64) else { return false };
        let header = &log.header;
        let begins = (header.prev_file_seq, u64::from(header.prev_file_offset)) == (seq, offset);
        let inside = || log.records_at == offset || log.records(bytes).any(|record| record.end() == offset);
        begins || (header.file_seq == seq && inside())
    })
}

fn continues(log: &[u8], old: &[u8]) -> bool {
    let header = |bytes: &[u8]| LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| log.header);
    header(log).zip(header(old)).is_some_and(|(log, old)| log.prev_file_seq == old.file_seq)
}

/// The messages that a log appends and does not expunge.
fn live(bytes: &[u8]) -> Option<BTreeSet<u32>> {
    let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
    let mut here = BTreeSet::new();
    for record in log.records(bytes) {
        match record.kind() {
            Some(RecordType::Append) => here.extend(record.appended()),
            _ => take_expunged(&record, &mut here),
        }
    }
    Some(here)
}

/// Takes out what a record says is gone.
fn take_expunged(record: &Record<'_>, here: &mut BTreeSet<u32>) {
    if !matches!(record.kind(), Some(RecordType::Expunge | RecordType::ExpungeGuid)) || !record.external() {
        return;
    }
    for (first, last) in record.expunged().filter(|(first, last)| first <= last) {
        let gone: Vec<u32> = here.range(first..=last).copied().collect();
        for uid in gone {
            here.remove(&uid);
        }
    }
}

/// Whether a log leads to about the messages that the storage has.
fn holds(bytes: Option<&[u8]>, storage: &[u32]) -> bool {
    let Some(here) = bytes.and_then(live) else { return false };
    let same = storage.iter().filter(|uid| here.contains(uid)).count();
    same * 5 >= (here.len() + storage.len() - same) * 4
}

/// Whether the links of an index lead into this cache.
fn links_to(index: &[u8], cache: &[u8]) -> bool {
    let Ok(index) = IndexFile::parse(index) else { return false };
    let reset_id = index.extension(b"cache").map_or(0, |ext| ext.header.reset_id);
    reset_id != 0 && CacheHeader::SIZE <= cache.len() && CacheHeader::read(cache, index.endian).file_seq == reset_id
}
