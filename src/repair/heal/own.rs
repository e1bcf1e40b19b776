//! Whose a file is. A file of another mailbox, or of an earlier life of this one, is left out and named: it is never
//! made this mailbox's by writing its id into it.

use crate::format::Disk;
use crate::format::cache::CacheHeader;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::log::LogFile;
use crate::format::record::{Append, RecordType};
use crate::repair::plan::Inputs;
use crate::source::Role;

/// What a file says of the mailbox it belongs to. `indexid` alone tells little: mailboxes that were made in the same
/// second have the same.
struct Claim {
    role: Role,
    indexid: u32,
    /// `None` where the file does not tell: a log that begins after a rotation.
    uid_validity: Option<u32>,
    /// Where an index stands: `file_seq` and offset.
    stands: Option<(u32, u64)>,
}

/// The files that are not this mailbox's, each with the reason.
#[derive(Clone, Debug, Default)]
pub struct Foreign(Vec<(Role, String)>);

impl Foreign {
    /// Compares what index, backup and logs say of themselves with one another, with the cache and with the storage.
    /// One field that differs may be damaged and proves nothing; two that differ independently do.
    pub fn find(inputs: &Inputs<'_>) -> Foreign {
        let roles = [Role::Index, Role::Backup, Role::OldLog, Role::Log];
        let claims: Vec<Claim> = roles.iter().filter_map(|role| claim(inputs, *role)).collect();
        let mut found = Foreign::default();
        found.against_storage(inputs, &claims);
        claims.iter().filter(|one| matches!(one.role, Role::Index | Role::Backup)).for_each(|one| {
            found.against_logs(inputs, &claims, one);
        });
        found
    }

    fn against_storage(&mut self, inputs: &Inputs<'_>, claims: &[Claim]) {
        let Some((storage, known)) = inputs.storage.as_ref().and_then(|one| Some((one, one.uid_validity?))) else {
            return;
        };
        // A list of mailboxes may be out of date; the storage itself is not.
        if storage.format != "maildir" && !claims.iter().any(|one| one.uid_validity == Some(known)) {
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
        // A log that tells nothing of its own goes with the one it continues.
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
        if for_logs > for_index {
            let why = format!("its uid_validity is {ours}, that of the logs {theirs}, which do not lead on from it");
            self.add(index.role, why);
        } else if for_index > for_logs {
            for log in logs {
                self.add(
                    log.role,
                    format!("its uid_validity is {theirs}, that of the index {ours}, from which it does not lead on"),
                );
            }
        }
    }

    fn add(&mut self, role: Role, why: String) {
        self.0.push((role, why));
    }

    /// Why the file with that role is not this mailbox's; `None` when it may be.
    pub fn why(&self, role: Role) -> Option<&str> {
        self.0.iter().find(|(have, _)| *have == role).map(|(_, why)| why.as_str())
    }

    /// The inputs without an index or a backup that is another mailbox's. Logs are sorted out by `sort_logs`.
    pub fn without<'a>(&self, inputs: &Inputs<'a>) -> Inputs<'a> {
        let mut own = inputs.clone();
        own.index = own.index.filter(|_| self.why(Role::Index).is_none());
        own.backup = own.backup.filter(|_| self.why(Role::Backup).is_none());
        own
    }

    /// What is said about the files that are left out.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(role, why)| format!("{} is of another mailbox or an earlier life: {why}", name(*role)))
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

fn claim(inputs: &Inputs<'_>, role: Role) -> Option<Claim> {
    let bytes = inputs.bytes(role)?;
    if matches!(role, Role::Index | Role::Backup) {
        let index = IndexFile::parse(bytes).ok()?;
        let header = &index.header;
        return Some(Claim {
            role,
            indexid: header.indexid,
            uid_validity: Some(header.uid_validity),
            stands: Some((header.log_file_seq, u64::from(header.log_file_head_offset))),
        });
    }
    let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
    let uid_validity = log
        .records(bytes)
        .filter(|record| record.kind() == Some(RecordType::HeaderUpdate))
        .flat_map(|record| record.header_chunks().map(move |chunk| (chunk, record.endian)))
        .filter_map(|(chunk, endian)| IndexHeader::uid_validity.u32_in(chunk.data, chunk.offset as usize, endian))
        .last();
    Some(Claim { role, indexid: log.header.indexid, uid_validity, stands: None })
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

/// Whether a log leads to about the messages that the storage has.
fn holds(bytes: Option<&[u8]>, storage: &[u32]) -> bool {
    let Some((bytes, log)) = bytes.and_then(|bytes| Some((bytes, LogFile::parse(bytes, bytes.len() as u64).ok()?)))
    else {
        return false;
    };
    let mut here = std::collections::HashSet::new();
    for record in log.records(bytes) {
        match record.kind() {
            Some(RecordType::Append) => here.extend(record.elements::<Append>().map(|append| append.uid)),
            Some(RecordType::Expunge | RecordType::ExpungeGuid) if record.external() => {
                let gone: Vec<(u32, u32)> = record.expunged().collect();
                here.retain(|uid| !gone.iter().any(|(first, last)| (first..=last).contains(&uid)));
            }
            _ => {}
        }
    }
    let same = storage.iter().filter(|uid| here.contains(uid)).count();
    same * 5 >= (here.len() + storage.len() - same) * 4
}

/// Whether the links of an index lead into this cache.
fn links_to(index: &[u8], cache: &[u8]) -> bool {
    let Ok(index) = IndexFile::parse(index) else { return false };
    let reset_id = index.extension(b"cache").map_or(0, |ext| ext.header.reset_id);
    reset_id != 0 && CacheHeader::SIZE <= cache.len() && CacheHeader::read(cache, index.endian).file_seq == reset_id
}
