//! Which messages a record touches, and how: the one reading of UIDs in a log. What a change does to a mailbox is
//! `model::apply`'s matter.

use super::intros::Introduced;
use super::record::{Append, AtomicInc, Elements, ExpungeGuid, FlagUpdate, ModseqUpdate, Record, RecordType, UidRange};
use super::{Endian, align4};

/// What happens to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The message is new.
    Append {
        /// Its flags byte.
        flags: u8,
    },
    /// Flags change.
    Flags(FlagChange),
    /// A keyword is added or removed.
    Keyword {
        /// Its name.
        name: &'a [u8],
        /// True when it is added.
        add: bool,
    },
    /// All keywords are removed.
    KeywordReset,
    /// The message goes.
    Expunge {
        /// True when the storage has expunged it (EXTERNAL); false when somebody asked for it.
        done: bool,
        /// Its GUID, where the record tells.
        guid: Option<[u8; 16]>,
    },
    /// Data of the introduced extension is set.
    Extension {
        /// The new data.
        data: &'a [u8],
    },
    /// A number of the introduced extension is added to.
    Increment {
        /// What is added.
        diff: i32,
    },
    /// The modseq is raised.
    Modseq {
        /// To this, unless it is higher.
        modseq: u64,
    },
}

/// A change of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// Bits to set.
    pub add: u8,
    /// Bits to clear before.
    pub remove: u8,
    /// True when no IMAP flag changes and no new modseq is asked for.
    pub internal: bool,
}

/// What a record says of the messages with the UIDs `uid1` to `uid2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// First UID.
    pub uid1: u32,
    /// Last UID.
    pub uid2: u32,
    /// Where in the record's payload it is said, in bytes.
    pub at: usize,
    /// What happens to them.
    pub effect: Effect<'a>,
}

impl Change<'_> {
    /// False for UID 0 and for a range that ends before it begins: Dovecot marks a log with an expunge, flag or keyword
    /// change of that kind corrupted, and no message has UID 0.
    #[inline]
    pub fn is_sound(&self) -> bool {
        (1..=self.uid2).contains(&self.uid1)
    }
}

#[derive(Clone, Debug)]
enum Parts<'a> {
    None,
    Append(Elements<'a, Append>),
    Flags(Elements<'a, FlagUpdate>),
    Ranges(Elements<'a, UidRange>, Effect<'a>),
    Guids(Elements<'a, ExpungeGuid>, bool),
    Data { rest: &'a [u8], record_size: usize, endian: Endian },
    Increments(Elements<'a, AtomicInc>),
    Modseqs(Elements<'a, ModseqUpdate>),
}

/// Iterator over the changes of a record as they stand in it: see [`Record::changes_as_stored`].
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    payload: usize,
    parts: Parts<'a>,
}

impl<'a> Changes<'a> {
    /// Where in the payload the bytes begin that are not yet taken.
    fn at(&self) -> usize {
        let left = match &self.parts {
            Parts::None => 0,
            Parts::Append(list) => list.bytes().len(),
            Parts::Flags(list) => list.bytes().len(),
            Parts::Ranges(list, _) => list.bytes().len(),
            Parts::Guids(list, _) => list.bytes().len(),
            Parts::Data { rest, .. } => rest.len(),
            Parts::Increments(list) => list.bytes().len(),
            Parts::Modseqs(list) => list.bytes().len(),
        };
        self.payload.saturating_sub(left)
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    #[inline]
    fn next(&mut self) -> Option<Change<'a>> {
        let at = self.at();
        let one = |uid: u32, effect| Change { uid1: uid, uid2: uid, at, effect };
        Some(match &mut self.parts {
            Parts::None => return None,
            Parts::Append(list) => {
                let append = list.next()?;
                one(append.uid, Effect::Append { flags: append.flags })
            }
            Parts::Flags(list) => {
                let update = list.next()?;
                let internal = update.is_internal();
                let effect = Effect::Flags(FlagChange { add: update.add_flags, remove: update.remove_flags, internal });
                Change { uid1: update.uid1, uid2: update.uid2, at, effect }
            }
            Parts::Ranges(list, effect) => {
                let range = list.next()?;
                Change { uid1: range.uid1, uid2: range.uid2, at, effect: *effect }
            }
            Parts::Guids(list, done) => {
                let expunge = list.next()?;
                one(expunge.uid, Effect::Expunge { done: *done, guid: Some(expunge.guid_128) })
            }
            Parts::Data { rest, record_size, endian } => {
                let (element, behind) = rest.split_at_checked(align4(record_size.saturating_add(4)))?;
                *rest = behind;
                let data = element.get(4..)?.get(..*record_size)?;
                one(endian.u32_at(element, 0)?, Effect::Extension { data })
            }
            Parts::Increments(list) => {
                let inc = list.next()?;
                one(inc.uid, Effect::Increment { diff: inc.diff })
            }
            Parts::Modseqs(list) => {
                let update = list.next()?;
                one(update.uid, Effect::Modseq { modseq: update.modseq() })
            }
        })
    }
}

impl<'a> Record<'a> {
    /// What the record says of messages, element by element, whatever Dovecot makes of it. `intro` is the introduction
    /// it stands behind, which tells how long the elements of an ext-rec are: without one it has none that can be read.
    pub fn changes_as_stored(&self, intro: Option<&Introduced>) -> Changes<'a> {
        let parts = match self.kind() {
            Some(RecordType::Append) => Parts::Append(self.elements()),
            Some(RecordType::FlagUpdate) => Parts::Flags(self.elements()),
            Some(RecordType::KeywordUpdate) => self.keyword_update().map_or(Parts::None, |(fixed, name, ranges)| {
                Parts::Ranges(ranges, Effect::Keyword { name, add: fixed.modify_type == 0 })
            }),
            Some(RecordType::KeywordReset) => Parts::Ranges(self.elements(), Effect::KeywordReset),
            Some(RecordType::Expunge) => {
                Parts::Ranges(self.elements(), Effect::Expunge { done: self.external(), guid: None })
            }
            Some(RecordType::ExpungeGuid) => Parts::Guids(self.elements(), self.external()),
            Some(RecordType::ExtRec) => intro.map_or(Parts::None, |intro| Parts::Data {
                rest: self.payload,
                record_size: usize::from(intro.record_size),
                endian: self.endian,
            }),
            Some(RecordType::ExtAtomicInc) => Parts::Increments(self.elements()),
            Some(RecordType::ModseqUpdate) => Parts::Modseqs(self.elements()),
            _ => Parts::None,
        };
        Changes { payload: self.payload.len(), parts }
    }

    /// The messages that the record touches, and how: without ranges that are none, and without extension data behind
    /// an introduction that Dovecot passes over.
    pub fn changes(&self, intro: Option<&Introduced>) -> impl Iterator<Item = Change<'a>> + Clone + use<'a> {
        let of_extension = matches!(self.kind(), Some(RecordType::ExtRec | RecordType::ExtAtomicInc));
        let counts = !of_extension || intro.is_some_and(Introduced::is_in_force);
        let stored = if counts { self.changes_as_stored(intro) } else { Changes { payload: 0, parts: Parts::None } };
        stored.filter(Change::is_sound)
    }

    /// The UIDs of the messages that the record appends.
    pub fn appended(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        let is_append = self.kind() == Some(RecordType::Append);
        Elements::<Append>::new(if is_append { self.payload } else { &[] }, self.endian).map(|append| append.uid)
    }

    /// The UID ranges of messages that the storage has expunged.
    pub fn expunged(&self) -> impl Iterator<Item = (u32, u32)> + Clone + use<'a> {
        self.changes(None)
            .filter(|change| matches!(change.effect, Effect::Expunge { done: true, .. }))
            .map(|change| (change.uid1, change.uid2))
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::super::intros::Standing;
    use super::super::record::{EXTERNAL, HEADER_SIZE};
    use super::*;

    fn record(type_raw: u32, payload: &[u8]) -> Record<'_> {
        let size = u32::try_from(payload.len() + HEADER_SIZE).expect("short");
        Record { offset: 0, size, type_raw, payload, bytes: payload, endian: Endian::Little, modseq: 0 }
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn uids(record: &Record<'_>, intro: Option<&Introduced>) -> Vec<(u32, u32)> {
        record.changes(intro).map(|change| (change.uid1, change.uid2)).collect()
    }

    const INTRO: Introduced = Introduced { id: 0, reset_id: 0, record_size: 4, standing: Standing::InForce };

    #[test]
    fn ranges_that_are_none_touch_nothing() {
        let payload = words(&[5, 3, 0, 3, 7, 9]);
        let expunge = record(RecordType::Expunge.raw() | EXTERNAL, &payload);
        assert_eq!(uids(&expunge, None), [(7, 9)]);
        assert_eq!(expunge.expunged().collect::<Vec<_>>(), [(7, 9)]);
        assert_eq!(
            expunge.changes_as_stored(None).map(|one| (one.at, one.uid1)).collect::<Vec<_>>(),
            [(0, 5), (8, 0), (16, 7)]
        );
        let request = record(RecordType::Expunge.raw(), &payload);
        assert_eq!((uids(&request, None), request.expunged().count()), (vec![(7, 9)], 0));
    }

    #[test]
    fn extension_data_needs_an_introduction_in_force() {
        let payload = words(&[7, 1, 8, 2]);
        let rec = record(RecordType::ExtRec.raw(), &payload);
        assert_eq!(uids(&rec, Some(&INTRO)), [(7, 7), (8, 8)]);
        assert_eq!(uids(&rec, Some(&Introduced { standing: Standing::Stale, ..INTRO })), []);
        assert_eq!((uids(&rec, None), rec.changes_as_stored(None).count()), (vec![], 0));
        let inc = record(RecordType::ExtAtomicInc.raw(), &payload);
        let effects: Vec<_> = inc.changes(Some(&INTRO)).map(|change| (change.uid1, change.effect)).collect();
        assert_eq!(effects, [(7, Effect::Increment { diff: 1 }), (8, Effect::Increment { diff: 2 })]);
    }

    #[test]
    fn keywords_say_whose_they_are() {
        let mut payload = vec![0, 0, 4, 0];
        payload.extend(b"Junk");
        payload.extend(words(&[2, 4]));
        let update = record(RecordType::KeywordUpdate.raw(), &payload);
        let change = update.changes(None).next().expect("a change");
        assert_eq!(change, Change { uid1: 2, uid2: 4, at: 8, effect: Effect::Keyword { name: b"Junk", add: true } });
        let payload = words(&[2, 4]);
        let reset = record(RecordType::KeywordReset.raw(), &payload);
        assert_eq!(uids(&reset, None), [(2, 4)]);
    }
}
