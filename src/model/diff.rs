//! Two states of a mailbox compared, message by message: an index as it is stored against what the logs tell.

use super::mailbox::{Extension, Mailbox};

/// Differences that are listed; the rest is more of the same.
const MOST: usize = 1000;

/// What an extension looks like: `reset_id`, bytes in the record, their alignment, bytes in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `reset_id`.
    pub reset_id: u32,
    /// Bytes in the record.
    pub record_size: u16,
    /// Their alignment.
    pub record_align: u16,
    /// Bytes in the header.
    pub hdr_size: u32,
}

impl Shape {
    fn of(ext: &Extension) -> Shape {
        let Extension { reset_id, record_size, record_align, hdr_size, .. } = *ext;
        Shape { reset_id, record_size, record_align, hdr_size }
    }
}

/// One thing that is not the same. `i` is a message's position in the stored state, `ext` an extension's number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A field of the base header.
    #[error("{field} is {have}, the logs say {want}")]
    Header {
        /// Its name.
        field: &'static str,
        /// Byte offset in the header.
        at: usize,
        /// Stored.
        have: u32,
        /// Told.
        want: u32,
    },
    /// `day_first_uid`.
    #[error("day_first_uid is {have:?}, the logs say {want:?}")]
    DayFirstUid {
        /// Stored.
        have: [u32; 8],
        /// Told.
        want: [u32; 8],
    },
    /// The keywords, which everything about keywords rests on.
    #[error("keywords are {}, the logs say {}", names(have), names(want))]
    Keywords {
        /// Stored.
        have: Vec<Vec<u8>>,
        /// Told.
        want: Vec<Vec<u8>>,
    },
    /// Another extension has this number: what follows cannot be compared.
    #[error("the logs know no extension {} in place {ext}", String::from_utf8_lossy(name))]
    Order {
        /// Number of the stored extension.
        ext: usize,
        /// Its name.
        name: Vec<u8>,
    },
    /// The stored state lacks extensions.
    #[error("the logs know more extensions")]
    MoreExtensions,
    /// An extension has other sizes, or is of another generation.
    #[error("extension {} has another shape in the logs", String::from_utf8_lossy(name))]
    Shape {
        /// Its number.
        ext: usize,
        /// Its name.
        name: Vec<u8>,
        /// Stored.
        have: Shape,
        /// Told.
        want: Shape,
    },
    /// The data of an extension's header.
    #[error("the header of extension {} is another in the logs", String::from_utf8_lossy(name))]
    ExtHeader {
        /// Its number.
        ext: usize,
        /// Its name.
        name: Vec<u8>,
    },
    /// A message that should be there. `i` is where it should stand.
    #[error("UID {uid} is missing, the logs say it is there")]
    Missing {
        /// Position.
        i: usize,
        /// The UID.
        uid: u32,
    },
    /// A message that should not be there.
    #[error("UID {uid} is there, the logs say it is not")]
    Extra {
        /// Position.
        i: usize,
        /// The UID.
        uid: u32,
    },
    /// The flags byte of a message.
    #[error("flags are 0x{have:02x}, the logs say 0x{want:02x}")]
    Flags {
        /// Position.
        i: usize,
        /// The UID.
        uid: u32,
        /// Stored.
        have: u8,
        /// Told.
        want: u8,
    },
    /// The data of an extension in a message's record.
    #[error("{} differs from what the logs say", String::from_utf8_lossy(name))]
    ExtRecord {
        /// Position.
        i: usize,
        /// The UID.
        uid: u32,
        /// The extension's number.
        ext: usize,
        /// Its name.
        name: Vec<u8>,
    },
}

fn names(list: &[Vec<u8>]) -> String {
    list.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(" ")
}

impl Difference {
    /// The message it is about.
    pub fn uid(&self) -> Option<u32> {
        match self {
            Difference::Missing { uid, .. }
            | Difference::Extra { uid, .. }
            | Difference::Flags { uid, .. }
            | Difference::ExtRecord { uid, .. } => Some(*uid),
            _ => None,
        }
    }
}

/// Differences as they are found, of those that matter.
struct List<F> {
    found: Vec<Difference>,
    matters: F,
}

impl<F: Fn(&Difference) -> bool> List<F> {
    fn push(&mut self, one: Difference) {
        if self.found.len() < MOST && (self.matters)(&one) {
            self.found.push(one);
        }
    }
}

/// Where a stored state differs from the one that is told, in what matters to the caller; at most a thousand places.
/// Where the modseq header stands is left out: a rotation leaves it at the end of the old log.
pub fn compare(stored: &Mailbox, told: &Mailbox, matters: impl Fn(&Difference) -> bool) -> Vec<Difference> {
    let mut list = List { found: Vec::new(), matters };
    let (a, b) = (&stored.header, &told.header);
    for (at, field, have, want) in [
        (24, "uid_validity", a.uid_validity, b.uid_validity),
        (28, "next_uid", a.next_uid, b.next_uid),
        (32, "messages_count", a.messages_count, b.messages_count),
        (48, "first_recent_uid", a.first_recent_uid, b.first_recent_uid),
        (52, "first_unseen_uid_lowwater", a.first_unseen_uid_lowwater, b.first_unseen_uid_lowwater),
        (56, "first_deleted_uid_lowwater", a.first_deleted_uid_lowwater, b.first_deleted_uid_lowwater),
        (84, "day_stamp", a.day_stamp, b.day_stamp),
    ] {
        if have != want {
            list.push(Difference::Header { field, at, have, want });
        }
    }
    if a.day_first_uid != b.day_first_uid {
        list.push(Difference::DayFirstUid { have: a.day_first_uid, want: b.day_first_uid });
    }
    if stored.keywords() != told.keywords() {
        list.push(Difference::Keywords { have: stored.keywords().to_vec(), want: told.keywords().to_vec() });
    }
    let mut pairs = Vec::new();
    for (id, ext) in stored.extensions.iter().enumerate() {
        let name = || ext.name.clone();
        let Some(other) = told.extensions.get(id).filter(|other| other.name == ext.name) else {
            list.push(Difference::Order { ext: id, name: name() });
            return list.found;
        };
        let (have, want) = (Shape::of(ext), Shape::of(other));
        if have != want {
            list.push(Difference::Shape { ext: id, name: name(), have, want });
        } else {
            let same = match ext.name.as_slice() {
                b"modseq" => ext.header().get(..8) == other.header().get(..8),
                _ => ext.header() == other.header(),
            };
            if !same {
                list.push(Difference::ExtHeader { ext: id, name: name() });
            }
        }
        if have.record_size > 0 && have.record_size == want.record_size && have.reset_id == want.reset_id {
            pairs.push((id, ext, other));
        }
    }
    if told.extensions.len() > stored.extensions.len() {
        list.push(Difference::MoreExtensions);
        return list.found;
    }
    let mut others = told.positions().peekable();
    for i in stored.positions() {
        let uid = stored.uid(i);
        while let Some(j) = others.next_if(|j| told.uid(*j) < uid) {
            list.push(Difference::Missing { i, uid: told.uid(j) });
        }
        if list.found.len() >= MOST {
            return list.found;
        }
        let Some(j) = others.next_if(|j| told.uid(*j) == uid) else {
            list.push(Difference::Extra { i, uid });
            continue;
        };
        let (have, want) = (stored.flags(i), told.flags(j));
        if have != want {
            list.push(Difference::Flags { i, uid, have, want });
        }
        for (id, ext, other) in &pairs {
            if stored.ext_bytes(i, ext) != told.ext_bytes(j, other) {
                list.push(Difference::ExtRecord { i, uid, ext: *id, name: ext.name.clone() });
            }
        }
    }
    others.for_each(|j| list.push(Difference::Missing { i: stored.physical_len(), uid: told.uid(j) }));
    list.found
}
