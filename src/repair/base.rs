//! The state that storage and logs tell together, without any index and without logs that reach back to the beginning.

use super::candidates::{Candidate, replay};
use super::doubt::first_append_after;
use super::heal::index::Hints;
use super::heal::own::{OLDEST, is_other_guid};
use super::inputs::{Base, Inputs, Storage};
use super::loss::Loss;
use super::order::Logs;
use super::told::Told;
use crate::format::ext::{MboxHeader, MdboxHeader, SdboxHeader};
use crate::format::log::LogHeader;
use crate::format::{Disk, Endian};
use crate::model::{LogPos, Mailbox, UidSet};

/// Builds it. What logs say of older messages is taken from them, all else from the storage.
///
/// # Errors
/// Why it cannot be had: no storage, or one that does not tell which UIDs its mails have, or no UIDVALIDITY where only
/// the server may give one.
pub fn from_storage(inputs: &Inputs<'_>, logs: &Logs<'_>, hints: &Hints<'_>) -> Result<Candidate, String> {
    let Some(storage) = &inputs.storage else { return Err("there is no mail storage beside it".into()) };
    match storage.format {
        "mbox" if storage.unnumbered > 0 => {
            return Err(format!(
                "{} messages of the mbox have no UID in it: the server numbers them when it opens the mailbox without \
                 its index files",
                storage.unnumbered
            ));
        }
        "maildir" | "mbox" => {}
        "sdbox" if !storage.uids.is_empty() => {}
        "mdbox" => left_over(storage)?,
        "map" => {}
        _ => return Err("the mail storage beside it has no messages".into()),
    }
    let endian = logs.files.first().map_or(Endian::NATIVE, |log| log.log.endian);
    let mut mailbox = Mailbox::empty(hints.indexid, endian);
    let mut lost = Vec::new();
    mailbox.header.uid_validity = told_validity(Some(storage), hints);
    // No client sees that of a map. Every mailbox that has messages has a copy.
    if storage.mails.is_some() && mailbox.header.uid_validity == 0 {
        mailbox.header.uid_validity = inputs.now.max(1);
    }
    identity(&mut mailbox, &mut lost, storage.flags.is_some(), inputs.now)?;
    let first = first_append_after(logs, LogPos { seq: 0, offset: 0 });
    let mut older = UidSet::new();
    let mut records = Vec::new();
    for uid in storage.uids.iter().copied().filter(|uid| *uid < first && !hints.expunged.contains(*uid)) {
        older.insert(uid);
        records.extend(endian.u32_bytes(uid));
        records.extend([0; 4]);
    }
    mailbox.set_records(records);
    let above = storage.uids.last().map_or(1, |uid| uid.saturating_add(1)).max(storage.next_uid);
    mailbox.header.next_uid = if first == u32::MAX { above } else { first };
    mailbox = with_headers(mailbox, storage, inputs);
    let known = mailbox.extensions.len();
    let mut candidate = match logs.files.first() {
        Some(log) => {
            let from = LogPos { seq: log.seq(), offset: log.log.records_at };
            mailbox.header.log_file_seq = from.seq;
            mailbox.header.log_file_head_offset = u32::try_from(from.offset).unwrap_or(u32::MAX);
            let mut files = logs.files.clone();
            // Numbers of extensions are those of an index that is gone.
            files.iter_mut().for_each(|file| file.distrust_ids(0, known));
            replay(Base::Storage, mailbox, &Logs::of(files), from, Some(from.seq), true)
                .ok_or_else(|| "the logs cannot be followed".to_owned())?
        }
        None => {
            // Not the beginning of a log: one that continues it begins with messages.
            mailbox.header.log_file_seq = 1;
            mailbox.header.log_file_head_offset = u32::try_from(LogHeader::SIZE).unwrap_or(40);
            let position = LogPos { seq: 1, offset: LogHeader::SIZE as u64 };
            Candidate::of(Base::Storage, mailbox, position, storage.highest_modseq.max(1))
        }
    };
    let mailbox = &candidate.replayed.mailbox;
    let mut kept = UidSet::new();
    mailbox.positions().map(|i| mailbox.uid(i)).filter(|uid| older.contains(*uid)).for_each(|uid| kept.insert(uid));
    kept.iter().for_each(|uid| candidate.touched.insert(uid));
    if !kept.is_empty() {
        lost.push(if storage.names_all_keywords() { Loss::ModseqsOf(kept) } else { Loss::Flags(kept) });
    }
    if storage.unnumbered > 0 {
        lost.push(Loss::Unlisted(storage.unnumbered));
    }
    lost.push(Loss::AllExpunges);
    candidate.lost.splice(0..0, lost);
    candidate.proven_from = u32::MAX;
    candidate.damaged = true;
    Ok(candidate)
}

/// UIDVALIDITY as the storage or the logs tell it; 0 if they do not.
pub fn told_validity(storage: Option<&Storage>, hints: &Hints<'_>) -> u32 {
    // A Maildir knows it better than its index, the list has only copied it.
    let first = storage.filter(|storage| storage.flags.is_some()).and_then(|storage| storage.uid_validity);
    let logs = Some(hints.uid_validity).filter(|value| *value != 0);
    first.or(logs).or_else(|| storage?.uid_validity).unwrap_or(0)
}

/// Gives a mailbox that has lost its UIDVALIDITY a new one, where that is not the server's business.
pub fn identity(mailbox: &mut Mailbox, lost: &mut Vec<Loss>, keeps_own: bool, now: u32) -> Result<(), String> {
    if mailbox.header.uid_validity != 0 {
        return Ok(());
    }
    if keeps_own {
        return Err("no file tells UIDVALIDITY: the server gives this mailbox a new one when it opens it".into());
    }
    mailbox.header.uid_validity = now.max(1);
    if !lost.contains(&Loss::UidValidity) {
        lost.push(Loss::UidValidity);
    }
    Ok(())
}

/// What every index of a dbox has: the header with the mailbox's GUID, in an mdbox also the places of map UIDs and
/// GUIDs.
fn with_headers(mailbox: Mailbox, storage: &Storage, inputs: &Inputs<'_>) -> Mailbox {
    let mut told = Told::new(mailbox.endian);
    let mailbox_guid = storage.guid.unwrap_or_else(|| inputs.fresh_guid());
    match (storage.format, &storage.map) {
        ("sdbox", _) => {
            let header = SdboxHeader { rebuild_count: 0, mailbox_guid, flags: 0, unused: [0; 3] };
            told.extension(b"dbox-hdr", &header.to_bytes(mailbox.endian));
        }
        ("mdbox", Some(map)) => {
            let header = MdboxHeader { map_uid_validity: map.uid_validity(), mailbox_guid, flags: 0, unused: [0; 3] };
            told.extension(b"mdbox-hdr", &header.to_bytes(mailbox.endian));
            told.in_records(b"mdbox", 8, 4);
            told.in_records(b"guid", 16, 1);
        }
        _ => {}
    }
    told.onto(&mailbox).unwrap_or(mailbox)
}

/// A dbox mailbox whose GUID is gone gets it back from the mailbox list, or a new one: without it Dovecot rebuilds the
/// index as soon as it is opened (`sdbox-storage.c`, `mdbox-storage.c`).
///
/// Returns why the log does not lead to what the mailbox is now: it has no such header, or a damaged one.
pub fn keep_guid(mailbox: &mut Mailbox, inputs: &Inputs<'_>) -> Option<String> {
    let storage = inputs.storage.as_ref()?;
    let place = SdboxHeader::mailbox_guid.offset..SdboxHeader::mailbox_guid.offset + 16;
    let (name, place): (&[u8], _) = match storage.format {
        "mbox" => (b"mbox", MboxHeader::mailbox_guid.offset..MboxHeader::mailbox_guid.offset + 16),
        _ if storage.map.is_some() => (b"mdbox-hdr", place),
        _ => (b"dbox-hdr", place),
    };
    let header = mailbox.extension(name).map(|ext| ext.header().to_vec());
    let is_whole = header.as_ref().is_some_and(|header| header.len() >= place.end);
    if !is_whole && matches!(storage.format, "sdbox" | "mdbox") {
        *mailbox = with_headers(mailbox.clone(), storage, inputs);
        return Some(format!("it introduces no {}", String::from_utf8_lossy(name)));
    }
    let mut header = header?;
    let was = header.clone();
    // The end of another log may have brought another mailbox's.
    let is_other = |guid: &[u8]| {
        guid.first_chunk().zip(storage.guid).is_some_and(|(guid, own): (&[u8; 16], _)| is_other_guid(guid, &own))
    };
    let is_wrong = |guid: &[u8]| is_other(guid) || (guid == [0; 16] && storage.format != "mbox");
    if let Some(to) = header.get_mut(place).filter(|guid| is_wrong(guid)) {
        to.copy_from_slice(&storage.guid.unwrap_or_else(|| inputs.fresh_guid()));
    }
    // What cannot be a time of the last forty years is damage: an index of another mdbox has one.
    let mut mended = None;
    if let Some(map) = &storage.map
        && let Some(to) = header.get_mut(MdboxHeader::map_uid_validity.offset..).and_then(<[u8]>::first_chunk_mut::<4>)
        && mailbox.endian.u32_at(&*to, 0).is_some_and(|have| have < OLDEST)
    {
        *to = mailbox.endian.u32_bytes(map.uid_validity());
        mended = Some(format!("map_uid_validity can only be {}", map.uid_validity()));
    }
    if header == was {
        return None;
    }
    let (size, align) = mailbox.extension(name).map_or((0, 0), |ext| (ext.record_size, ext.record_align));
    let mut told = Told::new(mailbox.endian);
    told.with_records(name, &header, size, align);
    if let Some(fresh) = told.onto(mailbox) {
        *mailbox = fresh;
    }
    mended
}

/// Whether the map of an mdbox tells which mails this mailbox had.
///
/// # Errors
/// Why not, and what Dovecot would do.
fn left_over(storage: &Storage) -> Result<(), String> {
    let alone = "Dovecot alone begins with an empty mailbox and a new UIDVALIDITY, and doveadm force-resync gives the \
                 mails that no mailbox refers to new UIDs";
    let Some(map) = &storage.map else { return Err(format!("the map cannot be read: rebuild it first. {alone}")) };
    if !map.is_complete() {
        return Err(format!(
            "another mailbox of this mdbox cannot be read, so that nobody knows whose the mails of the map are: \
             rebuild that one first. {alone}"
        ));
    }
    match map.rest().is_empty() {
        true => Err(format!("all mails of the map belong to other mailboxes. {alone}")),
        false => Ok(()),
    }
}
