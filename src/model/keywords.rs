//! What keyword records do to a mailbox (`mail-index-sync-keywords.c`).

use super::apply::{Run, raise_range};
use super::mailbox::{Extension, Mailbox};
use crate::format::ext::keywords_header;
use crate::format::index::RECORD_MIN_SIZE;
use crate::format::intros::BY_NAME;
use crate::format::record::{ExtIntro, Record};

impl Mailbox {
    pub(super) fn update_keyword(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some((update, name, ranges)) = record.keyword_update() else { return };
        if !run.spend(self.keywords().len()) {
            return;
        }
        let keyword = match self.keyword_id(name) {
            Some(id) => id,
            None => match self.add_keyword(name, run) {
                Some(id) => id,
                None => return,
            },
        };
        let (byte, bit) = (keyword / 8, 1_u8 << (keyword % 8));
        let Some(ext_id) = self.extension_id(b"keywords") else { return };
        if byte >= usize::from(self.extensions[ext_id].record_size) {
            if update.modify_type != 0 {
                return;
            }
            let hdr_size = self.extensions[ext_id].hdr_size;
            if !self.register_keywords(Some(ext_id), hdr_size, self.keywords().len(), run) {
                return;
            }
        }
        let at = usize::from(self.extensions[ext_id].record_offset) + byte;
        for range in ranges {
            raise_range(self, range.uid1, range.uid2, run.modseq, run);
            let positions = self.lookup_range(range.uid1, range.uid2);
            if !run.spend(positions.len()) {
                return;
            }
            for i in positions {
                let Some(bits) = self.record_mut(i).get_mut(at).filter(|_| at >= RECORD_MIN_SIZE) else { continue };
                if update.modify_type == 0 { *bits |= bit } else { *bits &= !bit }
            }
        }
    }

    /// `keywords_header_add`: the number of the new keyword.
    fn add_keyword(&mut self, name: &[u8], run: &mut Run<'_>) -> Option<usize> {
        let ext_id = self.extension_id(b"keywords");
        let header = ext_id.map_or(0, |id| self.extensions[id].data.len());
        // All names are copied.
        if !run.spend(header / 2) {
            return None;
        }
        let ext = ext_id.map(|id| &self.extensions[id]);
        let (mut content, count) = keywords_header(ext.map(Extension::header), &[name], self.endian);
        let fits =
            ext.is_some_and(|ext| content.len() <= ext.hdr_size as usize && usize::from(ext.record_size) * 8 >= count);
        if !fits {
            // Room for the next keywords, so that the header does not grow with each.
            content.resize(content.len() + 128, 0);
            if !self.register_keywords(ext_id, content.len() as u32, count, run) {
                return None;
            }
        }
        let ext = self.extensions.iter_mut().find(|ext| ext.name == b"keywords")?;
        ext.data.get_mut(..content.len())?.copy_from_slice(&content);
        self.keyword_added(name, count);
        Some(count - 1)
    }

    /// `keywords_ext_register`. Creates or resizes the keywords extension.
    fn register_keywords(&mut self, ext_id: Option<usize>, hdr_size: u32, count: usize, run: &mut Run<'_>) -> bool {
        let bytes = count.div_ceil(8);
        // One spare byte unless the size is a multiple of 4 anyway.
        let record_size = bytes + usize::from(!bytes.is_multiple_of(4));
        let intro = ExtIntro {
            ext_id: ext_id.map_or(BY_NAME, |id| id as u32),
            reset_id: ext_id.map_or(0, |id| self.extensions[id].reset_id),
            hdr_size,
            record_size: u16::try_from(record_size).unwrap_or(u16::MAX),
            record_align: 1,
            flags: 0,
            name_size: 0,
        };
        self.introduce(&intro, b"keywords", true, run)
    }
}
