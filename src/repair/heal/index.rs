//! What an index file proves, whatever state it is in: each damaged part is restored from the rest of the file, or from
//! what stands beside it, if there is only one thing it can have been. Everything else is named as lost.

use std::collections::HashSet;

use crate::format::ext::{ExtHeader, IndexFlavor, KnownExt, ext_hdr_check, name_is_valid};
use crate::format::index::{IndexFile, IndexHeader, RECORD_MIN_SIZE, header_flag};
use crate::format::record::flag;
use crate::format::{Disk, Endian, align8};
use crate::model::ext::layout;
use crate::model::mailbox::Extension;
use crate::model::{Mailbox, UidSet};
use crate::repair::demands::Demands;
use crate::repair::flip::is_one_byte_apart;
use crate::repair::inputs::Storage;
use crate::repair::loss::{ExtensionPart, Loss, NoRecord};

/// What stands beside an index and may tell what it said.
#[derive(Clone, Debug, Default)]
pub struct Hints<'h> {
    /// The id that most files of the mailbox agree on; 0: unknown.
    pub indexid: u32,
    /// The mail storage.
    pub storage: Option<&'h Storage>,
    /// UIDs that the logs name as expunged.
    pub expunged: UidSet,
    /// Keyword names in another index of the same mailbox.
    pub keywords: Vec<Vec<u8>>,
    /// One more than the highest UID that the logs append before the index's position; 0 if they do not say.
    pub log_next_uid: u32,
    /// uid_validity as the logs set it; 0 if they do not say.
    pub uid_validity: u32,
    /// Keyword names in records that the index has seen.
    pub seen_keywords: HashSet<Vec<u8>>,
    /// Keyword names in any record of the logs.
    pub logged_keywords: HashSet<Vec<u8>>,
    /// uid_validity in the backup, where it is of the same mailbox.
    pub of_backup: Option<u32>,
}

/// An index with its damage mended as far as can be proven.
#[derive(Clone, Debug)]
pub struct Mended {
    /// The state, at the position that the header gives.
    pub mailbox: Mailbox,
    /// Everything that was wrong; empty when the index is sound.
    pub flaws: Vec<String>,
    /// What cannot be restored from the index.
    pub lost: Vec<Loss>,
    /// Messages whose records are gone, with or without their UIDs.
    pub missing: u32,
    /// True when records had to be mended or sorted.
    pub records_damaged: bool,
    /// An fsck changed the index: the logs do not tell all of it.
    pub fscked: bool,
    /// The index was written by a Dovecot whose states the logs do not tell in full.
    pub old: bool,
}

/// UIDs that are inferred from their neighbours; an index with more damage than this is beyond that.
const MAX_INFERRED: usize = 1000;
/// Records without a message in the storage up to which each is looked at by itself.
const MAX_STRANGE: usize = 3;
/// Extensions that are looked at one against the other.
const MAX_EXTENSIONS: usize = 1000;

/// Reads an index. `None` when neither header nor record layout can be had.
pub fn mend(bytes: &[u8], hints: &Hints<'_>) -> Option<Mended> {
    let counted = with_last_records(bytes);
    let too_short = counted.is_some();
    let bytes = counted.as_deref().unwrap_or(bytes);
    let index = IndexFile::parse(bytes).ok()?;
    let header = &index.header;
    let base = usize::from(header.base_header_size);
    let header_size = usize::try_from(header.header_size).ok()?;
    if bytes.len() < IndexHeader::SIZE
        || base < IndexHeader::SIZE
        || header_size < base
        || header_size > bytes.len()
        || header.record_size < 8
        || header.record_size > u32::from(u16::MAX)
        || index.extensions.len() > MAX_EXTENSIONS
    {
        return None;
    }
    let old = header.minor_version != 3;
    // Without all extension headers nobody knows what the storage keeps in this index, nor what extension numbers mean.
    let end = index.extensions.last().map_or(base, |ext| ext.data_at + ext.padded.len());
    if end < index.records_at && !(index.extensions.is_empty() && align8(base) >= index.records_at) {
        return None;
    }
    let mut mended = Mended {
        mailbox: Mailbox::load(&index),
        flaws: Vec::new(),
        lost: Vec::new(),
        missing: 0,
        records_damaged: false,
        fscked: header.flags & header_flag::FSCKD != 0,
        old,
    };
    if too_short {
        mended.flaw("messages_count leaves out records at the end");
    }
    mended.identity(header, hints);
    mended.extensions();
    mended.keywords(hints);
    mended.records(&index, hints);
    mended.counters();
    Some(mended)
}

/// The index with the records behind the last one counted, when they have the UIDs that come next.
fn with_last_records(bytes: &[u8]) -> Option<Vec<u8>> {
    let index = IndexFile::parse(bytes).ok()?;
    let uid = |record: &[u8]| index.endian.u32_at(record, 0).unwrap_or(0);
    let mut last = index.iter().last().map_or(0, uid);
    let rest = index.trailing().chunks_exact(index.record_size.max(1)).take_while(|record| {
        let follows = uid(record) > last && uid(record) < index.header.next_uid;
        last = uid(record);
        follows
    });
    let more = u32::try_from(rest.count()).ok().filter(|more| *more > 0)?;
    let mut counted = bytes.to_vec();
    let count = index.header.messages_count.checked_add(more)?;
    counted.get_mut(32..36)?.copy_from_slice(&index.endian.u32_bytes(count));
    Some(counted)
}

impl Mended {
    pub fn flaw(&mut self, what: impl Into<String>) {
        self.flaws.push(what.into());
    }

    fn identity(&mut self, was: &IndexHeader, hints: &Hints<'_>) {
        if was.major_version != 7 {
            self.flaw(format!("major_version is {}, not 7", was.major_version));
            self.mailbox.header.major_version = 7;
        }
        let compat = u8::from(self.mailbox.endian == Endian::Little);
        if was.compat_flags != compat {
            self.flaw(format!("compat_flags is {}, not {compat}", was.compat_flags));
            self.mailbox.header.compat_flags = compat;
        }
        if was.flags & header_flag::CORRUPTED != 0 {
            self.flaw("the corrupted flag is set");
            self.mailbox.header.flags &= !header_flag::CORRUPTED;
        }
        if hints.indexid != 0 && was.indexid != hints.indexid {
            self.flaw(format!("indexid is {}, the other files say {}", was.indexid, hints.indexid));
            self.mailbox.header.indexid = hints.indexid;
        }
        let told = hints.storage.and_then(|storage| storage.uid_validity);
        let of_log = Some(hints.uid_validity).filter(|value| *value != 0);
        let confirmed = |known: &u32| of_log == Some(*known) || hints.of_backup == Some(*known);
        let keeps_own = hints.storage.is_some_and(|storage| storage.flags.is_some());
        let right = told.filter(|known| (known ^ was.uid_validity).is_power_of_two());
        if let Some(known) = right.filter(|known| was.uid_validity != 0 && (keeps_own || confirmed(known))) {
            self.flaw(format!("uid_validity is {}, two other files say {known}", was.uid_validity));
            self.mailbox.header.uid_validity = known;
        }
        if was.uid_validity == 0 && was.next_uid != 1 {
            let known = hints.storage.and_then(|storage| storage.uid_validity).unwrap_or(hints.uid_validity);
            self.flaw("uid_validity is 0");
            if known == 0 {
                self.lost.push(Loss::UidValidity);
            }
            self.mailbox.header.uid_validity = known;
        }
    }

    fn extensions(&mut self) {
        let list = &mut self.mailbox.extensions;
        let mut names: HashSet<Vec<u8>> = HashSet::new();
        let mut flaws = Vec::new();
        let mut lost = Vec::new();
        list.retain(|ext| {
            let twice = !names.insert(ext.name.clone());
            if twice {
                flaws.push(format!("extension {} is there twice", String::from_utf8_lossy(&ext.name)));
            }
            !twice
        });
        for ext in list.iter_mut() {
            if ext.name.is_empty() || !name_is_valid(&ext.name) {
                flaws.push("an extension has no valid name".into());
                lost.push(Loss::Extension(String::from_utf8_lossy(&ext.name).into_owned(), ExtensionPart::Name));
            }
        }
        let record_size = self.mailbox.header.record_size;
        let check = |ext: &Extension, offset: u16| {
            let header = ExtHeader {
                hdr_size: ext.hdr_size,
                reset_id: ext.reset_id,
                record_offset: offset,
                record_size: ext.record_size,
                record_align: ext.record_align,
                name_size: u16::try_from(ext.name.len()).unwrap_or(u16::MAX),
            };
            let placed = ext.record_size == 0 || usize::from(offset) >= RECORD_MIN_SIZE;
            placed && ext_hdr_check(record_size, &header, &ext.name).is_ok()
        };
        let place = |list: &[Extension]| -> Vec<usize> {
            let mut bad = Vec::new();
            for (i, ext) in list.iter().enumerate() {
                let range = ext.range();
                let overlaps = list.iter().enumerate().any(|(j, other)| {
                    let theirs = other.range();
                    j != i
                        && ext.record_size > 0
                        && other.record_size > 0
                        && range.start < theirs.end
                        && theirs.start < range.end
                });
                if overlaps || !check(ext, ext.record_offset) {
                    bad.push(i);
                }
            }
            bad
        };
        let mut bad = place(list);
        if !bad.is_empty() {
            flaws.extend(known_shapes(list));
            bad = place(list);
        }
        if !bad.is_empty() {
            let named: Vec<String> = bad.iter().map(|i| String::from_utf8_lossy(&list[*i].name).into_owned()).collect();
            flaws.push(format!("the place of extension {} in records is wrong", named.join(", ")));
            // Dovecot always lays records out in the same way, so the sizes tell where everything is. If not all of the
            // sound ones are where that says, the layout is an older one and proves nothing.
            let told = layout(list).filter(|(offsets, size)| {
                *size == record_size as usize
                    && list
                        .iter()
                        .enumerate()
                        .all(|(i, ext)| bad.contains(&i) || usize::from(ext.record_offset) == offsets[i])
            });
            match told {
                Some((offsets, _)) => {
                    for (ext, offset) in list.iter_mut().zip(offsets) {
                        ext.record_offset = u16::try_from(offset).unwrap_or(0);
                    }
                }
                None => lost.push(Loss::Extension(named.join(", "), ExtensionPart::Place)),
            }
            if !place(list).is_empty() && lost.is_empty() {
                lost.push(Loss::Extension(named.join(", "), ExtensionPart::Sizes));
            }
        }
        self.flaws.append(&mut flaws);
        self.lost.append(&mut lost);
        self.mailbox.update_header_size();
    }

    fn records(&mut self, index: &IndexFile<'_>, hints: &Hints<'_>) {
        let mailbox = &mut self.mailbox;
        let wanted = mailbox.header.messages_count;
        let there = u32::try_from(mailbox.physical_len()).unwrap_or(u32::MAX);
        let rest = index.bytes.len().saturating_sub(index.records_at + mailbox.records().len());
        let mut uids: Vec<u32> = (0..mailbox.physical_len()).map(|i| mailbox.uid(i)).collect();
        let told = uids_of_storage(&uids, mailbox.header.next_uid, hints);
        for (i, uid) in &told {
            self.flaws.push(format!("UID {} is that of no message, it can only be {uid}", uids[*i]));
            uids[*i] = *uid;
            let bytes = mailbox.endian.u32_bytes(*uid);
            mailbox.record_mut(*i).get_mut(..4).into_iter().for_each(|to| to.copy_from_slice(&bytes));
        }
        let highest_sane = uids.iter().rev().find(|uid| **uid != 0).copied().unwrap_or(0);
        let mut next_uid = mailbox.header.next_uid;
        let mut flaws = Vec::new();
        // Two things can contradict each other here: next_uid and the last UID. The storage and the logs decide.
        let above = uids.iter().filter(|uid| **uid >= next_uid).count();
        if next_uid == 0 || above > 0 {
            let known = hints.storage.and_then(|storage| storage.uids.last()).map(|uid| uid.saturating_add(1));
            let floor = known.unwrap_or(0).max(hints.log_next_uid);
            if next_uid == 0 || above > 1 || (floor > next_uid && floor > highest_sane) {
                let raised = highest_sane.saturating_add(1).max(floor).max(next_uid);
                flaws.push(format!("next_uid is {next_uid}, but UID {highest_sane} exists"));
                next_uid = raised;
            }
        }
        mailbox.header.next_uid = next_uid;
        let is_sane = |uid: u32| uid != 0 && uid < next_uid;
        let ascending = uids.windows(2).all(|pair| pair[0] < pair[1]);
        let all_sane = uids.iter().all(|uid| is_sane(*uid));
        let mut damaged = false;
        let mut doubtful = Vec::new();
        if !(ascending && all_sane) {
            damaged = true;
            let zeroed = |i: usize| mailbox.record(i).iter().all(|byte| *byte == 0);
            let blank: HashSet<usize> = (0..uids.len()).filter(|i| zeroed(*i)).collect();
            let mut order: Vec<(u32, usize)> =
                uids.iter().copied().zip(0..).filter(|(_, i)| !blank.contains(i)).collect();
            let distinct: HashSet<u32> = order.iter().map(|(uid, _)| *uid).collect();
            if distinct.len() == order.len() && order.iter().all(|(uid, _)| is_sane(*uid)) {
                flaws.push(if blank.is_empty() {
                    "records are not in the order of their UIDs".into()
                } else {
                    format!("{} records are zero", blank.len())
                });
                order.sort_unstable();
                // Which of them has the UID that is its own, and which another's, nothing here tells.
                let whole: Vec<u32> = (0..uids.len()).filter(|i| !blank.contains(i)).map(|i| uids[i]).collect();
                let displaced = order.iter().zip(&whole).filter(|((uid, _), was)| uid != *was);
                displaced.for_each(|((uid, _), _)| doubtful.push(*uid));
            } else {
                flaws.push("records have UIDs that they cannot have".into());
                let mended = assign(&mut order, next_uid, hints);
                // A UID off by one bit is a flipped bit, and the rest of the record is sound. Of others more is gone.
                let changed = order.iter().filter(|(uid, i)| (uid ^ uids[*i]).count_ones() > 1);
                changed.for_each(|(uid, _)| doubtful.push(*uid));
                if mended > 0 {
                    let count = u32::try_from(mended).unwrap_or(u32::MAX);
                    self.lost.push(Loss::Records { count, why: NoRecord::NoUid });
                    self.missing = self.missing.saturating_add(count);
                }
            }
            let endian = mailbox.endian;
            let mut records = Vec::with_capacity(mailbox.records().len());
            for (uid, i) in order {
                let mut record = mailbox.record(i).to_vec();
                record[..4].copy_from_slice(&endian.u32_bytes(uid));
                records.extend(record);
            }
            mailbox.set_records(records);
            if !doubtful.is_empty() {
                doubtful.sort_unstable();
                let mut uids = UidSet::new();
                doubtful.into_iter().for_each(|uid| uids.insert(uid));
                self.lost.push(Loss::Displaced(uids));
            }
            if !blank.is_empty() {
                let n = u32::try_from(blank.len()).unwrap_or(u32::MAX);
                self.lost.push(Loss::Records { count: n, why: NoRecord::Zero });
                self.missing = self.missing.saturating_add(n);
            }
        }
        if wanted > there {
            let known = mailbox.header.next_uid.saturating_sub(1);
            let seen = mailbox.header.seen_messages_count;
            let counted = (0..mailbox.physical_len()).filter(|i| mailbox.flags(*i) & flag::SEEN != 0).count();
            flaws.push(format!("messages_count is {wanted}, but there are {there} records"));
            // A count that no mailbox with this next_uid can have, over whole records that agree with the other
            // counter, is wrong itself. Otherwise records were cut off.
            let absurd = wanted > known && rest == 0 && counted == seen as usize;
            let complete = hints.storage.is_some_and(|storage| {
                rest == 0 && storage.uids.iter().all(|uid| *uid >= next_uid || mailbox.lookup(*uid).is_some())
            });
            if !(absurd || complete) {
                let gone = wanted.min(known).saturating_sub(there);
                self.lost.push(Loss::Records { count: gone, why: NoRecord::CutOff });
                self.missing = self.missing.saturating_add(gone);
            }
            damaged |= !absurd;
        }
        mailbox.header.messages_count = u32::try_from(mailbox.physical_len()).unwrap_or(u32::MAX);
        self.records_damaged |= damaged;
        self.flaws.append(&mut flaws);
    }

    /// Counters, low-water marks, first_recent_uid, the modseq header: all of them follow from the records.
    fn counters(&mut self) {
        let flaws = fix_counters(&mut self.mailbox);
        self.flaws.extend(flaws);
        let mailbox = &mut self.mailbox;
        let Some(ext) = mailbox.extension(b"modseq") else { return };
        if ext.hdr_size != 16 || ext.record_size != 8 {
            self.flaws.push("the modseq extension has other sizes than 16 and 8".into());
            self.lost.push(Loss::Modseqs);
            return;
        }
        let Some(header) = mailbox.modseq_header() else { return };
        let highest = (0..mailbox.physical_len()).filter_map(|i| mailbox.record_modseq(i)).max().unwrap_or(0);
        if highest > header.highest_modseq {
            // Which of the two is wrong is known when the log has been counted.
            self.flaws.push(format!("highest_modseq is {}, but a message has {highest}", header.highest_modseq));
        }
    }
}

/// Gives extensions whose data is of one shape everywhere that shape, where one byte of it is wrong.
fn known_shapes(list: &mut [Extension]) -> Vec<String> {
    let flavor = IndexFlavor::guess(list.iter().map(|ext| ext.name.as_slice()));
    let mut flaws = Vec::new();
    for ext in list {
        let shape = KnownExt::of(&ext.name, flavor).and_then(KnownExt::record_shape);
        let Some((size, align)) = shape else { continue };
        let bytes = |size: u16, align: u16| [size.to_ne_bytes(), align.to_ne_bytes()].concat();
        if is_one_byte_apart(&bytes(size, align), &bytes(ext.record_size, ext.record_align)) {
            let name = String::from_utf8_lossy(&ext.name);
            flaws.push(format!(
                "extension {name} has {} bytes in records, aligned by {}: it can only have {size}, aligned by {align}",
                ext.record_size, ext.record_align
            ));
            (ext.record_size, ext.record_align) = (size, align);
        }
    }
    flaws
}

/// Makes the counters of a mailbox true, and says which were not. What is valid stays as it is.
pub fn fix_counters(mailbox: &mut Mailbox) -> Vec<String> {
    let mut flaws = Vec::new();
    let (mut seen, mut deleted, mut dirty) = (0_u32, 0_u32, false);
    let (mut first_unseen, mut first_deleted) = (None, None);
    for i in 0..mailbox.physical_len() {
        let flags = mailbox.flags(i);
        if flags & flag::SEEN != 0 {
            seen += 1;
        } else if first_unseen.is_none() {
            first_unseen = Some(mailbox.uid(i));
        }
        if flags & flag::DELETED != 0 {
            deleted += 1;
            if first_deleted.is_none() {
                first_deleted = Some(mailbox.uid(i));
            }
        }
        dirty |= flags & flag::DIRTY != 0;
    }
    let count = u32::try_from(mailbox.physical_len()).unwrap_or(u32::MAX);
    let header = &mut mailbox.header;
    let mut fix = |name: &str, value: &mut u32, right: u32| {
        if *value != right {
            flaws.push(format!("{name} is {value}, not {right}"));
            *value = right;
        }
    };
    fix("messages_count", &mut header.messages_count, count);
    fix("seen_messages_count", &mut header.seen_messages_count, seen);
    fix("deleted_messages_count", &mut header.deleted_messages_count, deleted);
    let next_uid = header.next_uid;
    // A low-water mark may be too low, but not too high.
    for (name, value, first) in [
        ("first_unseen_uid_lowwater", &mut header.first_unseen_uid_lowwater, first_unseen),
        ("first_deleted_uid_lowwater", &mut header.first_deleted_uid_lowwater, first_deleted),
    ] {
        let limit = first.unwrap_or(next_uid);
        if *value > limit {
            fix(name, value, limit);
        }
    }
    let recent = header.first_recent_uid.clamp(1, next_uid.max(1));
    fix("first_recent_uid", &mut header.first_recent_uid, recent);
    if dirty && header.flags & header_flag::HAVE_DIRTY == 0 {
        flaws.push("the have-dirty flag is missing".into());
        header.flags |= header_flag::HAVE_DIRTY;
    }
    flaws
}

/// Takes out of a state what the judge of `check` found and nothing else tells. `highest` is HIGHESTMODSEQ.
pub fn settle(mailbox: &mut Mailbox, demands: &Demands, highest: u64) {
    let names = mailbox.keywords().len();
    let keywords = mailbox.extension(b"keywords").map(Extension::range).filter(|_| demands.keywords);
    let modseqs = mailbox.extension(b"modseq").map(Extension::range).filter(|range| demands.modseq && range.len() == 8);
    let top = mailbox.endian.u64_bytes(highest);
    for i in 0..mailbox.physical_len() {
        let above = mailbox.record_modseq(i).is_some_and(|modseq| modseq > highest);
        let record = mailbox.record_mut(i);
        if demands.flags
            && let Some(flags) = record.get_mut(4)
        {
            *flags &= flag::IMAP | flag::BACKEND | flag::DIRTY;
        }
        let bits = keywords.clone().and_then(|range| record.get_mut(range)).unwrap_or_default();
        for (byte, bits) in bits.iter_mut().enumerate() {
            let known = names.saturating_sub(byte * 8).min(8);
            *bits &= u8::try_from((1_u16 << known) - 1).unwrap_or(u8::MAX);
        }
        if let Some(to) = modseqs.clone().filter(|_| above).and_then(|range| record.get_mut(range)) {
            to.copy_from_slice(&top);
        }
    }
    if demands.vsize {
        let ext = mailbox.extensions.iter_mut().find(|ext| ext.name == b"hdr-vsize");
        ext.into_iter().for_each(|ext| ext.data.fill(0));
    }
}

/// Records whose UID the storage does not have while it has the one that is a single bit away, at the same place in the
/// order: their position and that UID. More than a few are a storage that is absent or another one.
fn uids_of_storage(uids: &[u32], next_uid: u32, hints: &Hints<'_>) -> Vec<(usize, u32)> {
    let Some(storage) = hints.storage.filter(|storage| !storage.uids.is_empty()) else { return Vec::new() };
    let strange: Vec<usize> = (0..uids.len()).filter(|i| storage.uids.binary_search(&uids[*i]).is_err()).collect();
    if strange.len() > MAX_STRANGE {
        return Vec::new();
    }
    let only = |i: usize| {
        let low = i.checked_sub(1).map_or(0, |before| uids[before]);
        let high = uids.get(i + 1).map_or(next_uid, |after| *after);
        let near = |uid: &&u32| (**uid ^ uids[i]).is_power_of_two() && !hints.expunged.contains(**uid);
        let mut fits = storage.between(low, high).iter().filter(near);
        fits.next().filter(|_| fits.next().is_none()).map(|uid| (i, *uid))
    };
    strange.into_iter().filter_map(only).collect()
}

/// Gives UIDs to records that have an impossible one: where the UIDs around a record leave only one possibility, that
/// is it. Records without one are taken out; returns how many.
fn assign(order: &mut Vec<(u32, usize)>, next_uid: u32, hints: &Hints<'_>) -> usize {
    let candidates = |low: u32, high: u32| -> Vec<u32> {
        match hints.storage {
            Some(storage) => {
                let gone = hints.expunged.iter().skip_while(|uid| *uid <= low).take_while(|uid| *uid < high);
                let mut list: Vec<u32> = storage.between(low, high).iter().copied().chain(gone).collect();
                list.sort_unstable();
                list.dedup();
                list
            }
            None => (low.saturating_add(1)..high).take(64).collect(),
        }
    };
    let mut good: Vec<bool> = order.iter().map(|(uid, _)| *uid != 0 && *uid < next_uid).collect();
    // Of two records with the same UID one is right: the one that leaves a place for the other.
    for i in 1..order.len() {
        if good[i] && good[i - 1] && order[i].0 == order[i - 1].0 {
            let before = i.checked_sub(2).map_or(0, |j| order[j].0);
            let after = order.get(i + 1).map_or(next_uid, |(uid, _)| *uid);
            let (first, second) = (candidates(before, order[i].0).len(), candidates(order[i].0, after).len());
            match (first, second) {
                (0, _) => good[i] = false,
                (_, 0) => good[i - 1] = false,
                _ => (good[i], good[i - 1]) = (false, false),
            }
        }
    }
    // What else breaks the order.
    let mut last = 0;
    for i in 0..order.len() {
        if !good[i] {
            continue;
        }
        let following = (i + 1..order.len()).take(64).find(|j| good[*j]).map_or(next_uid, |j| order[j].0);
        if order[i].0 <= last || (order[i].0 > following && following > last) {
            good[i] = false;
        } else {
            last = order[i].0;
        }
    }
    let mut i = 0;
    let mut keep = vec![true; order.len()];
    // Where nearly everything is damaged there is nothing to infer.
    if good.iter().filter(|good| !**good).count() > MAX_INFERRED {
        i = order.len();
        keep.clone_from(&good);
    }
    while i < order.len() {
        if good[i] {
            i += 1;
            continue;
        }
        let end = (i..order.len()).find(|j| good[*j]).unwrap_or(order.len());
        let low = i.checked_sub(1).map_or(0, |j| order[j].0);
        let high = order.get(end).map_or(next_uid, |(uid, _)| *uid);
        let list = candidates(low, high);
        if list.len() == end - i {
            (i..end).zip(list).for_each(|(j, uid)| order[j].0 = uid);
        } else {
            (i..end).for_each(|j| keep[j] = false);
        }
        i = end;
    }
    let before = order.len();
    let mut flags = keep.into_iter();
    order.retain(|_| flags.next().unwrap_or(true));
    before - order.len()
}
