//! What records about extensions do to a mailbox (`mail-index-sync-ext.c`): introductions, resets, headers, records,
//! and where extensions lie in a message's record.

use super::apply::Run;
use super::mailbox::{Extension, Mailbox};
use super::sync::{Ignored, IgnoredKind, SyncKind};
use crate::format::index::{RECORD_MIN_SIZE, RECORD_SIZE};
use crate::format::intros::{BY_NAME, Introduced, Meant, Refused, Standing, standing};
use crate::format::record::{AtomicInc, ExtIntro, ExtReset, HeaderChunk, Record};
use crate::format::{align4, align8};

/// Bits of `ExtIntro::flags`.
const INTRO_NO_SHRINK: u16 = 1;

impl Mailbox {
    /// One element of an ext-intro. With `internal` it is the keywords' own, that a keyword record brings along.
    pub(super) fn introduce(&mut self, intro: &ExtIntro, name: &[u8], internal: bool, run: &mut Run<'_>) -> bool {
        let by_name = intro.ext_id == BY_NAME;
        let known = if by_name { self.extension_id(name) } else { Some(intro.ext_id as usize) };
        let known = known.filter(|id| *id < self.extensions.len());
        let (reset_id, record_size) = (intro.reset_id, intro.record_size);
        let introduced = |id: usize, standing| Some(Introduced { id, reset_id, record_size, standing });
        run.current = introduced(usize::MAX, Standing::Broken);
        let own = known.and_then(|id| self.extensions.get(id));
        let meant = own.map(|ext| Meant { name: &ext.name, reset_id: Some(ext.reset_id) });
        let standing = match standing(intro, name, meant, self.header.record_size, internal) {
            Ok(standing) => standing,
            Err(refused) => {
                // Once per id, as Dovecot does: a lost intro otherwise fills the error log.
                let is_new = |id: &u32| *id >= 1024 || !run.unknown_ids.contains(id);
                match refused {
                    Refused::Nameless => run.error(SyncKind::IntroNameless),
                    Refused::UnknownId(id) if is_new(&id) => {
                        run.unknown_ids.push(id);
                        run.error(SyncKind::IntroUnknownId(id));
                    }
                    Refused::UnknownId(_) => {}
                    Refused::Keywords => run.error(SyncKind::IntroKeywords),
                    Refused::Broken(why) => run.error(SyncKind::IntroBroken(why)),
                }
                return false;
            }
        };
        let name = own.map_or_else(|| name.to_vec(), |ext| ext.name.clone());
        let old_hdr = known.map_or(0, |id| self.extensions[id].data.len());
        let old_size = known.map_or(0, |id| self.extensions[id].record_size);
        let grown = usize::from(intro.record_size.saturating_sub(old_size)) + 8;
        let records = self.physical_len().saturating_mul(self.record_size() + grown);
        if (self.header_size() - old_hdr).saturating_add(intro.hdr_size as usize).saturating_add(records) > run.budget {
            run.error(SyncKind::IntroTooLarge);
            return false;
        }
        let changed = known.is_none_or(|id| {
            let ext = &self.extensions[id];
            (ext.hdr_size, ext.record_size, ext.record_align) != (intro.hdr_size, intro.record_size, intro.record_align)
        });
        let each = 32 + 8 * self.extensions.iter().filter(|ext| ext.record_size > 0).count();
        let moved = records / 4 + self.physical_len() * each + (old_hdr + intro.hdr_size as usize) / 4;
        if changed && !run.spend(moved + 128 * self.extensions.len()) {
            return false;
        }
        match known {
            Some(id) => {
                if standing == Standing::InForce {
                    if !self.resize_extension(id, intro) {
                        run.error(SyncKind::IntroRecordTooLarge);
                        return false;
                    }
                } else {
                    let have = self.extensions[id].reset_id;
                    let kind = IgnoredKind::ResetId { ext: name, want: intro.reset_id, have };
                    run.ignored.push(Ignored { pos: run.pos, kind });
                }
                run.current = introduced(id, standing);
            }
            None => {
                self.extensions.push(Extension {
                    name,
                    reset_id: intro.reset_id,
                    record_offset: 0,
                    record_size: intro.record_size,
                    record_align: intro.record_align,
                    hdr_size: intro.hdr_size,
                    data: vec![0; align8(intro.hdr_size as usize)],
                });
                self.update_header_size();
                let id = self.extensions.len() - 1;
                if !self.lay_out_records(id, 0) {
                    self.extensions.pop();
                    self.update_header_size();
                    run.error(SyncKind::IntroRecordTooLarge);
                    return false;
                }
                run.current = if internal { None } else { introduced(id, standing) };
            }
        }
        true
    }

    /// `sync_ext_resize`. False, with nothing changed, when the record would not fit any more.
    fn resize_extension(&mut self, id: usize, intro: &ExtIntro) -> bool {
        let no_shrink = intro.flags & INTRO_NO_SHRINK != 0;
        let before = self.extensions[id].clone();
        let (old_padded, new_padded) = (before.data.len(), align8(intro.hdr_size as usize));
        let record_same = before.record_align == intro.record_align && before.record_size == intro.record_size;
        if record_same && ((new_padded < old_padded && no_shrink) || before.hdr_size == intro.hdr_size) {
            return true;
        }
        let ext = &mut self.extensions[id];
        if new_padded >= old_padded || !no_shrink {
            ext.data.resize(new_padded, 0);
            ext.hdr_size = intro.hdr_size;
        }
        let mut reorder = false;
        let differs = |old: u16, new: u16| old < new || (old > new && !no_shrink);
        if differs(ext.record_align, intro.record_align) {
            ext.record_align = intro.record_align;
            reorder = true;
        }
        if differs(ext.record_size, intro.record_size) {
            ext.record_size = intro.record_size;
            reorder = true;
        }
        self.update_header_size();
        if reorder && !self.lay_out_records(id, before.record_size) {
            self.extensions[id] = before;
            self.update_header_size();
            return false;
        }
        true
    }

    /// Places the extensions in the record anew (`sync_ext_reorder`); `changed` had `old_size` bytes before. False,
    /// with nothing changed, when the record would become too large.
    fn lay_out_records(&mut self, changed: usize, old_size: u16) -> bool {
        let old: Vec<(usize, usize)> = self
            .extensions
            .iter()
            .enumerate()
            .map(|(id, ext)| {
                let size = if id == changed { ext.record_size.min(old_size) } else { ext.record_size };
                (usize::from(ext.record_offset), usize::from(size))
            })
            .collect();
        let Some((offsets, new_size)) = layout(&self.extensions) else { return false };
        let old_stride = self.record_size();
        let count = self.physical_len();
        let mut moved = vec![0; new_size];
        let mut relocate = |records: &mut Vec<u8>, i: usize| {
            let from = &records[i * old_stride..(i + 1) * old_stride];
            moved.fill(0);
            moved[..RECORD_SIZE].copy_from_slice(&from[..RECORD_SIZE]);
            for (&(old_offset, size), &new_offset) in old.iter().zip(&offsets) {
                if size > 0
                    && let Some(data) = from.get(old_offset..old_offset + size)
                {
                    moved[new_offset..new_offset + size].copy_from_slice(data);
                }
            }
            records[i * new_size..(i + 1) * new_size].copy_from_slice(&moved);
        };
        // In place: a mailbox of a million messages is not held in memory twice.
        let records = self.records_mut();
        if new_size >= old_stride {
            records.resize(count * new_size, 0);
            (0..count).rev().for_each(|i| relocate(records, i));
        } else {
            (0..count).for_each(|i| relocate(records, i));
            records.truncate(count * new_size);
        }
        self.header.record_size = new_size as u32;
        for (ext, offset) in self.extensions.iter_mut().zip(offsets) {
            ext.record_offset = offset as u16;
        }
        true
    }

    pub(super) fn reset_extension(&mut self, reset: &ExtReset, run: &mut Run<'_>) {
        let Some(current) = run.current else { return run.error(SyncKind::ExtResetWithoutIntro) };
        // It is done to a stale introduction too, which stays stale.
        if current.standing == Standing::Broken {
            return;
        }
        let ext = &mut self.extensions[current.id];
        ext.reset_id = reset.new_reset_id;
        if reset.preserve_data == 0 && run.spend(ext.hdr_size as usize / 8) {
            let size = ext.hdr_size as usize;
            ext.data.iter_mut().take(size).for_each(|byte| *byte = 0);
            let range = ext.range();
            if range.is_empty() || !run.spend(2 * self.physical_len()) {
                return;
            }
            for i in 0..self.physical_len() {
                if let Some(bytes) = self.record_mut(i).get_mut(range.clone()) {
                    bytes.fill(0);
                }
            }
        }
    }

    pub(super) fn update_ext_header(&mut self, chunk: &HeaderChunk<'_>, run: &mut Run<'_>) -> bool {
        let Some(current) = run.current else {
            run.error(SyncKind::ExtHdrWithoutIntro);
            return false;
        };
        if !current.is_in_force() {
            return true;
        }
        let ext = &mut self.extensions[current.id];
        let (start, size) = (chunk.offset as usize, chunk.data.len());
        let limit = ext.hdr_size as usize;
        match ext.data.get_mut(start..start.saturating_add(size)) {
            Some(to) if start + size <= limit => to.copy_from_slice(chunk.data),
            _ => {
                run.error(SyncKind::ExtHdrOutside);
                return false;
            }
        }
        if ext.name == b"modseq" {
            run.catch_up(self);
        }
        true
    }

    /// The extension that ext-rec and ext-atomic-inc records are about, and the bytes that they have for each message;
    /// `None` when they are to be skipped.
    fn current_extension(&self, run: &mut Run<'_>) -> Option<(usize, u16)> {
        if run.current.is_none() {
            run.error(SyncKind::ExtRecWithoutIntro);
        }
        run.current.filter(Introduced::is_in_force).map(|current| (current.id, current.record_size))
    }

    /// Where the message is that an element is about, if it is there at all; `wrong` says what is wrong with a UID that
    /// was never given.
    fn ext_target(&self, uid: u32, wrong: fn(u32) -> SyncKind) -> Result<Option<usize>, SyncKind> {
        if uid == 0 || uid >= self.header.next_uid { Err(wrong(uid)) } else { Ok(self.lookup(uid)) }
    }

    pub(super) fn update_ext_records(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some((id, record_size)) = self.current_extension(run) else { return };
        let size = usize::from(record_size);
        let range = self.extensions[id].range();
        for (uid, data) in record.ext_recs(record_size) {
            let target = match self.ext_target(uid, SyncKind::ExtRecUid) {
                Ok(target) => target,
                Err(kind) => return run.error(kind),
            };
            if let Some(i) = target
                && let Some(to) = self.record_mut(i).get_mut(range.clone())
            {
                let (head, rest) = to.split_at_mut(size.min(range.len()));
                head.copy_from_slice(&data[..head.len()]);
                rest.fill(0);
            }
        }
        if !record.payload.len().is_multiple_of(align4(4 + size)) {
            run.error(SyncKind::ExtRecSize);
        }
    }

    pub(super) fn add_to_ext_records(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some((id, record_size)) = self.current_extension(run) else { return };
        let size = usize::from(record_size);
        if !matches!(size, 1 | 2 | 4 | 8) {
            return run.error(SyncKind::ExtIncSize(size));
        }
        let max = if size == 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
        let at = usize::from(self.extensions[id].record_offset);
        let endian = self.endian;
        for inc in record.elements::<AtomicInc>() {
            let target = match self.ext_target(inc.uid, SyncKind::ExtIncUid) {
                Ok(target) => target,
                Err(kind) => return run.error(kind),
            };
            let Some(i) = target else { continue };
            let Some(bytes) = self.record_mut(i).get_mut(at..at + size) else { continue };
            let mut wide = [0; 8];
            let low = if endian == crate::format::Endian::Little { 0 } else { 8 - size };
            wide[low..low + size].copy_from_slice(bytes);
            let old = endian.u64_at(&wide, 0).unwrap_or(0);
            match old.checked_add_signed(i64::from(inc.diff)) {
                Some(new) if new <= max => {
                    bytes.copy_from_slice(&endian.u64_bytes(new)[low..low + size]);
                }
                _ => return run.error(SyncKind::ExtIncRange { uid: inc.uid, diff: inc.diff, old }),
            }
        }
    }
}

/// Where Dovecot places extensions in a record, and the record's size: largest alignment first, gaps filled where
/// something fits. `None` when the record would not stay below 64 KiB.
pub fn layout(extensions: &[Extension]) -> Option<(Vec<usize>, usize)> {
    let mut unplaced: Vec<usize> = (0..extensions.len()).filter(|id| extensions[*id].record_size > 0).collect();
    unplaced.sort_by_key(|id| std::cmp::Reverse(extensions[*id].record_align));
    let mut offsets = vec![0; extensions.len()];
    let mut offset = RECORD_MIN_SIZE;
    loop {
        let align = |id: usize| usize::from(extensions[id].record_align.max(1));
        if let Some(first) = unplaced.iter().position(|id| offset.is_multiple_of(align(*id))) {
            let id = unplaced.remove(first);
            offsets[id] = offset;
            offset += usize::from(extensions[id].record_size);
        } else {
            let Some(least) = unplaced.iter().map(|id| align(*id)).min() else { break };
            offset = offset.next_multiple_of(least);
        }
        if offset >= usize::from(u16::MAX) {
            return None;
        }
    }
    let max_align = extensions.iter().map(|ext| usize::from(ext.record_align)).fold(4, usize::max);
    let size = offset.next_multiple_of(max_align);
    // An alignment that is no power of two can end within the eight bytes that every record begins with.
    (size >= RECORD_SIZE).then_some((offsets, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext(name: &str, hdr_size: u32, record_size: u16, record_align: u16) -> Extension {
        Extension {
            name: name.into(),
            reset_id: 0,
            record_offset: 0,
            record_size,
            record_align,
            hdr_size,
            data: vec![0; align8(hdr_size as usize)],
        }
    }

    /// Dovecot 2.3.19.1's own layout of a maildir index (format/replay.md, section 4).
    #[test]
    fn layout_of_a_maildir_index() {
        let list =
            [ext("maildir", 36, 0, 0), ext("cache", 0, 4, 4), ext("keywords", 144, 2, 1), ext("modseq", 16, 8, 8)];
        let (offsets, size) = layout(&list).expect("fits");
        assert_eq!(offsets, [0, 16, 5, 8]);
        assert_eq!(size, 24);
    }

    #[test]
    fn a_record_that_would_be_too_large_is_refused() {
        assert!(layout(&[ext("a", 0, 32767, 1), ext("b", 0, 32767, 1), ext("c", 0, 32767, 1)]).is_none());
    }

    #[test]
    fn a_record_that_would_be_too_small_is_refused() {
        assert!(layout(&[ext("a", 0, 0, 7)]).is_none());
        assert_eq!(layout(&[ext("a", 0, 0, 8)]), Some((vec![0], 8)));
    }
}
