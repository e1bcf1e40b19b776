//! The extensions that a log introduces, and the one that its ext records are about, by the rules of
//! `mail-index-sync-ext.c`: [`standing`] judges one introduction, for a replay onto a mailbox as for [`ExtNames`],
//! which has none. What the data of an extension means is `ext`'s matter.

use std::collections::HashMap;
use std::sync::Arc;

use super::disk::Disk;
use super::ext::{IndexFlavor, KnownExt, ext_hdr_check};
use super::record::{ExtIntro, ExtReset, Record, RecordType};

/// Number of an extension that is introduced by its name.
pub const BY_NAME: u32 = u32::MAX;

/// Extensions of a log that are remembered by name; those a hostile log has beyond them are known by number alone.
const MAX_NAMES: usize = 4096;

/// What Dovecot makes of an introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Records about it are applied, as far as the logs that were followed tell.
    InForce,
    /// Its `reset_id` is not that of the extension: records about it are passed over without a word, except resets.
    Stale,
    /// Dovecot complains about the introduction, and passes over records about it.
    Broken,
}

/// What Dovecot complains of in an introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is by name, and the name is empty.
    Nameless,
    /// No extension has this number.
    UnknownId(u32),
    /// The keywords are introduced by keyword records alone.
    Keywords,
    /// Its sizes or its name cannot be, in Dovecot's own words.
    Broken(String),
}

/// The extension that an introduction means, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its `reset_id`, where it is known for certain.
    pub reset_id: Option<u32>,
}

/// Judges one element of an ext-intro (`mail_index_sync_ext_intro`). `name` is the one in the element, `meant` the
/// extension that is there already, `index_record_size` the size of a message's record, bytes; 0 where it is not known.
/// With `internal` it is the keywords' own, which a keyword record brings along.
///
/// # Errors
/// What Dovecot complains of: it looks at no further elements of the record then.
pub fn standing(
    intro: &ExtIntro,
    name: &[u8],
    meant: Option<Meant<'_>>,
    index_record_size: u32,
    internal: bool,
) -> Result<Standing, Refused> {
    let by_name = intro.ext_id == BY_NAME;
    if by_name && name.is_empty() {
        return Err(Refused::Nameless);
    }
    let name = match meant {
        Some(meant) => meant.name,
        None if by_name => name,
        None => return Err(Refused::UnknownId(intro.ext_id)),
    };
    if !internal && name == b"keywords" {
        return Err(Refused::Keywords);
    }
    ext_hdr_check(index_record_size, &intro.proposed(), name).map_err(Refused::Broken)?;
    let is_of_it = meant.and_then(|meant| meant.reset_id).is_none_or(|reset_id| reset_id == intro.reset_id);
    Ok(if is_of_it { Standing::InForce } else { Standing::Stale })
}

impl ExtIntro {
    /// Whether it means its extension by a number from `known` on: behind a hole an extension that was created in it
    /// may have that number.
    pub fn is_numbered_from(&self, known: usize) -> bool {
        self.ext_id != BY_NAME && self.ext_id as usize >= known
    }
}

/// The last introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduced {
    /// Number of the extension in the order of their creation, as far as that is known: behind a hole it is a number
    /// that no other has. `usize::MAX` when it is not remembered.
    pub id: usize,
    /// Its `reset_id`.
    pub reset_id: u32,
    /// Bytes of data in each element of an ext-rec.
    pub record_size: u16,
    /// What Dovecot makes of it.
    pub standing: Standing,
}

impl Introduced {
    /// Does Dovecot apply ext records that follow?
    #[inline]
    pub fn is_in_force(&self) -> bool {
        self.standing == Standing::InForce
    }
}

/// Follows the introductions of the logs of a mailbox, oldest first, so that ext records can be read by name. An
/// introduction stays in force when the next log begins.
#[derive(Clone, Debug, Default)]
pub struct ExtNames {
    /// Shared by the blocks of a log: names are new at its beginning, if at all.
    names: Arc<Names>,
    /// By number: the extension's `reset_id`, where it is known for certain.
    reset_ids: Vec<Option<u32>>,
    /// No extension existed before the first record that was followed.
    from_nothing: bool,
    /// So many extensions have the number that they are known by; those created behind records that nobody has
    /// read have a number that nobody knows.
    numbered: usize,
    current: Option<Introduced>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    list: Vec<Vec<u8>>,
    ids: HashMap<Vec<u8>, usize>,
    flavor: IndexFlavor,
    /// What each of them is in an index of that kind: looked up once.
    known: Vec<Option<&'static KnownExt>>,
}

impl ExtNames {
    /// Begins with the extensions a map has before the first record. An index names them all, but it may be ahead of
    /// the record, so that a `reset_id` in it need not be the one that held then. By default nothing is known of them.
    pub fn new(names: impl IntoIterator<Item = Vec<u8>>) -> ExtNames {
        let mut known = ExtNames { numbered: usize::MAX, ..ExtNames::default() };
        for name in names {
            known.add(&name);
        }
        known
    }

    /// Begins with a log that starts from an empty mailbox.
    pub fn from_nothing() -> ExtNames {
        ExtNames { from_nothing: true, numbered: usize::MAX, ..ExtNames::default() }
    }

    /// Goes on behind records that cannot be read: there may have been resets and introductions among them, and
    /// extensions created.
    pub fn after_hole(&mut self) {
        self.reset_ids.iter_mut().for_each(|known| *known = None);
        self.from_nothing = false;
        self.numbered = self.numbered.min(self.names.list.len());
        self.current = None;
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        // The few names of a usual log are compared faster than hashed.
        if self.names.list.len() <= 16 {
            self.names.list.iter().position(|known| known == name)
        } else {
            self.names.ids.get(name).copied()
        }
    }

    fn add(&mut self, name: &[u8]) -> usize {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = self.names.list.len();
        if id >= MAX_NAMES {
            return usize::MAX;
        }
        let names = Arc::make_mut(&mut self.names);
        names.list.push(name.to_vec());
        names.ids.insert(name.to_vec(), id);
        let flavor = match (names.flavor, IndexFlavor::guess([name])) {
            (known, IndexFlavor::Mailbox) | (known @ IndexFlavor::List, _) => known,
            (_, new) => new,
        };
        if flavor != names.flavor {
            names.flavor = flavor;
            names.known.clear();
        }
        let unknown = names.list.iter().skip(names.known.len());
        names.known.extend(unknown.map(|name| KnownExt::of(name, flavor)));
        id
    }

    /// What kind of index the names are those of.
    pub fn flavor(&self) -> IndexFlavor {
        self.names.flavor
    }

    /// Takes note of a record.
    #[inline]
    pub fn follow(&mut self, record: &Record<'_>) {
        match record.kind() {
            Some(RecordType::ExtIntro) => {
                for intro in record.intros() {
                    if !self.introduce(&intro.intro, intro.name) {
                        break;
                    }
                }
            }
            Some(RecordType::ExtReset) => self.reset(record),
            // The first keyword creates the extension without an intro, and ends what was introduced.
            Some(RecordType::KeywordUpdate) if self.find(b"keywords").is_none() => {
                self.add(b"keywords");
                self.current = None;
            }
            _ => {}
        }
    }

    /// One element of an ext-intro (`mail_index_sync_ext_intro`); false when Dovecot looks at no further ones.
    fn introduce(&mut self, intro: &ExtIntro, name: &[u8]) -> bool {
        let by_name = intro.ext_id == BY_NAME;
        let number = intro.ext_id as usize;
        let old = match by_name {
            true => self.find(name),
            false => (!intro.is_numbered_from(self.numbered)).then_some(number),
        };
        let known = old.and_then(|id| Some((self.name(id)?, self.reset_ids.get(id).copied().flatten())));
        let meant = known.map(|(name, reset_id)| Meant { name, reset_id });
        let (reset_id, record_size) = (intro.reset_id, intro.record_size);
        let judged = standing(intro, name, meant, 0, false);
        let (id, standing) = match (old, judged) {
            // Created here, unless it is older than what was followed.
            (None, Ok(standing)) => {
                let id = self.add(name);
                self.set_reset_id(id, self.from_nothing.then_some(reset_id));
                (id, standing)
            }
            (Some(id), Ok(standing)) => (id, standing),
            // A number that nothing is known about is none only where all are known.
            (_, Err(Refused::UnknownId(_))) if !self.from_nothing || self.names.list.len() >= MAX_NAMES => {
                // Those that were created behind a hole are kept where one with this number would be.
                let is_free = !intro.is_numbered_from(self.numbered) || number >= self.names.list.len();
                (if is_free { number } else { usize::MAX }, Standing::InForce)
            }
            (old, Err(refused)) => {
                let of_number = || if let Refused::UnknownId(_) = refused { number } else { usize::MAX };
                (old.unwrap_or_else(of_number), Standing::Broken)
            }
        };
        self.current = Some(Introduced { id, reset_id, record_size, standing });
        standing != Standing::Broken
    }

    /// `mail_index_sync_ext_reset`: it is done to a stale introduction too, which stays stale.
    fn reset(&mut self, record: &Record<'_>) {
        let reset_id = ExtReset::read(record.payload, record.endian).new_reset_id;
        let current = self.current.filter(|current| current.standing != Standing::Broken);
        if let Some(current) = current.filter(|_| record.payload.len() >= 4) {
            self.set_reset_id(current.id, Some(reset_id));
        }
    }

    fn set_reset_id(&mut self, id: usize, reset_id: Option<u32>) {
        if id >= MAX_NAMES {
            return;
        }
        if self.reset_ids.len() <= id {
            self.reset_ids.resize(id.saturating_add(1), None);
        }
        if let Some(known) = self.reset_ids.get_mut(id) {
            *known = reset_id;
        }
    }

    /// How many extensions are known by name.
    #[inline]
    pub fn count(&self) -> usize {
        self.names.list.len()
    }

    /// Name of the extension that [`Introduced::id`] is the number of.
    pub fn name(&self, id: usize) -> Option<&[u8]> {
        self.names.list.get(id).map(Vec::as_slice)
    }

    /// Name of the extension that an introduction means by its number, where that is known.
    pub fn name_of(&self, intro: &ExtIntro) -> Option<&[u8]> {
        if intro.is_numbered_from(self.numbered) { None } else { self.name(intro.ext_id as usize) }
    }

    /// The introduction that ext records are about now.
    #[inline]
    pub fn current(&self) -> Option<&Introduced> {
        self.current.as_ref()
    }

    /// What the extension is that ext records are about now, if it is known.
    pub fn current_known(&self) -> Option<&'static KnownExt> {
        *self.names.known.get(self.current?.id)?
    }

    /// The name of the extension that ext records are about now, if it is known.
    pub fn current_name(&self) -> Option<&[u8]> {
        self.name(self.current?.id)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::super::record::HEADER_SIZE;
    use super::super::{Endian, align4};
    use super::*;

    fn record(kind: RecordType, payload: &[u8]) -> Record<'_> {
        let size = u32::try_from(payload.len() + HEADER_SIZE).expect("short");
        Record { offset: 0, size, type_raw: kind.raw(), payload, bytes: payload, endian: Endian::Little, modseq: 0 }
    }

    fn intro(ext_id: u32, reset_id: u32, name: &[u8]) -> Vec<u8> {
        let name_size = u16::try_from(name.len()).expect("short");
        let fixed = ExtIntro { ext_id, reset_id, hdr_size: 0, record_size: 4, record_align: 4, flags: 0, name_size };
        let mut bytes = fixed.to_bytes(Endian::Little);
        bytes.extend(name);
        bytes.resize(align4(bytes.len()), 0);
        bytes
    }

    fn introduce(names: &mut ExtNames, payload: &[u8]) -> Option<(usize, Standing)> {
        names.follow(&record(RecordType::ExtIntro, payload));
        names.current().map(|current| (current.id, current.standing))
    }

    #[test]
    fn a_stale_reset_id_is_told_where_the_true_one_is_known() {
        let mut names = ExtNames::from_nothing();
        assert_eq!(introduce(&mut names, &intro(BY_NAME, 1, b"cache")), Some((0, Standing::InForce)));
        names.follow(&record(RecordType::ExtReset, &7_u64.to_le_bytes()));
        assert_eq!(introduce(&mut names, &intro(0, 1, b"")), Some((0, Standing::Stale)));
        assert_eq!(introduce(&mut names, &intro(BY_NAME, 7, b"cache")), Some((0, Standing::InForce)));
        // An index that is ahead of the log cannot tell what held when its records were written.
        let mut names = ExtNames::new([b"cache".to_vec()]);
        assert_eq!(introduce(&mut names, &intro(0, 1, b"")), Some((0, Standing::InForce)));
        assert_eq!(introduce(&mut names, &intro(0, 2, b"")), Some((0, Standing::InForce)));
    }

    #[test]
    fn behind_a_hole_nothing_is_held_to_be_stale() {
        let mut names = ExtNames::from_nothing();
        introduce(&mut names, &intro(BY_NAME, 1, b"cache"));
        names.after_hole();
        assert_eq!(names.current(), None);
        assert_eq!(introduce(&mut names, &intro(0, 2, b"")), Some((0, Standing::InForce)));
        assert_eq!(introduce(&mut names, &intro(5, 2, b"")), Some((5, Standing::InForce)));
    }

    /// An extension may have been created among the records that cannot be read, and have the number that the next one
    /// would have had.
    #[test]
    fn behind_a_hole_numbers_of_new_extensions_are_not_known() {
        let mut names = ExtNames::from_nothing();
        introduce(&mut names, &intro(BY_NAME, 1, b"cache"));
        names.after_hole();
        introduce(&mut names, &intro(BY_NAME, 1, b"hdr-vsize"));
        assert_eq!(names.current_name(), Some(&b"hdr-vsize"[..]));
        for number in [1, 2] {
            introduce(&mut names, &intro(number, 1, b""));
            assert_eq!(names.current_name(), None);
        }
        introduce(&mut names, &intro(0, 1, b""));
        assert_eq!(names.current_name(), Some(&b"cache"[..]));
        introduce(&mut names, &intro(BY_NAME, 1, b"hdr-vsize"));
        assert_eq!((names.current_name(), names.count()), (Some(&b"hdr-vsize"[..]), 2));
        // Where nothing is known of what was before, as behind a log that is gone.
        let mut names = ExtNames::default();
        introduce(&mut names, &intro(BY_NAME, 1, b"cache"));
        introduce(&mut names, &intro(0, 1, b""));
        assert_eq!(names.current_name(), None);
    }

    #[test]
    fn the_last_element_counts_up_to_a_broken_one() {
        let mut names = ExtNames::from_nothing();
        let two = [intro(BY_NAME, 1, b"cache"), intro(BY_NAME, 3, b"vsize")].concat();
        assert_eq!(introduce(&mut names, &two), Some((1, Standing::InForce)));
        let broken = [intro(9, 1, b""), intro(0, 1, b"")].concat();
        assert_eq!(introduce(&mut names, &broken), Some((9, Standing::Broken)));
        assert_eq!(introduce(&mut names, &intro(BY_NAME, 0, b"keywords")), Some((usize::MAX, Standing::Broken)));
        assert_eq!(names.count(), 2);
    }

    #[test]
    fn the_first_keyword_makes_an_extension_and_ends_the_introduction() {
        let mut names = ExtNames::from_nothing();
        introduce(&mut names, &intro(BY_NAME, 1, b"cache"));
        names.follow(&record(RecordType::KeywordUpdate, &[0; 16]));
        assert_eq!((names.count(), names.current()), (2, None));
        introduce(&mut names, &intro(0, 1, b""));
        names.follow(&record(RecordType::KeywordUpdate, &[0; 16]));
        assert_eq!(names.current_name(), Some(&b"cache"[..]));
    }
}
