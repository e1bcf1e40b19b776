//! The headers of `list` and `box-name`: names of mailboxes.

use std::ops::Range;

use super::super::FileKind;
use super::super::endian::Endian;
use super::super::flaw::{Flaw, FlawKind};

/// One name of the `list` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListName<'a> {
    /// `name_id` of the records.
    pub id: u32,
    /// The name of one hierarchy level: UTF-8, or mUTF-7 where `mailbox_list_utf8` is off.
    pub name: &'a [u8],
    /// The bytes of the id, the name and its NUL, absolute.
    pub range: Range<u64>,
}

/// The header of `list`: `{u8 refresh_flag}`, then unaligned `{u32 id; name; NUL}`, ended by id 0 or the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListHeader<'a> {
    /// Changed to make other processes refresh the list.
    pub refresh_flag: u8,
    /// The names with ascending ids.
    pub names: Vec<ListName<'a>>,
    /// What `mailbox_list_index_parse_header` objects to.
    pub problems: Vec<Flaw>,
}

impl<'a> ListHeader<'a> {
    /// Decodes the header data of `list`, which begins at `base` in the file, up to the first thing that is broken.
    pub fn parse(bytes: &'a [u8], base: u64, endian: Endian) -> Self {
        let mut header =
            ListHeader { refresh_flag: bytes.first().copied().unwrap_or_default(), ..ListHeader::default() };
        let mut at = 1;
        let mut before = 0;
        while let Some(next) = next_list_name(bytes, at, before, endian) {
            let absolute = |n: usize| base.saturating_add(n as u64);
            match next {
                Ok((id, name, end)) => {
                    if std::str::from_utf8(name).is_err() {
                        header.problems.push(Flaw::new(
                            FileKind::Index,
                            absolute(at.saturating_add(4)),
                            FlawKind::ListNameText,
                            "UTF-8",
                            String::from_utf8_lossy(name).into_owned(),
                        ));
                    }
                    header.names.push(ListName { id, name, range: absolute(at)..absolute(end) });
                    at = end;
                    before = id;
                }
                Err((kind, have)) => {
                    let need = format!("an id above {before} and a name with its NUL");
                    header.problems.push(Flaw::new(FileKind::Index, absolute(at), kind, need, have));
                    break;
                }
            }
        }
        header
    }
}

/// One step of `mailbox_list_index_name_iter_next`: `None` at the end, else `(id, name, end)`.
#[expect(clippy::type_complexity, reason = "a private step, taken apart where it is called")]
pub(super) fn next_list_name(
    bytes: &[u8],
    at: usize,
    before: u32,
    endian: Endian,
) -> Option<Result<(u32, &[u8], usize), (FlawKind, &'static str)>> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let Some(id) = endian.u32_at(rest, 0) else { return Some(Err((FlawKind::ListIdCut, "the header ends in an id"))) };
    if id == 0 {
        return None;
    }
    if id <= before {
        return Some(Err((FlawKind::ListIdOrder, "an id that does not ascend")));
    }
    let named = rest.get(4..).unwrap_or_default();
    let Some(len) = named.iter().position(|&b| b == 0) else {
        return Some(Err((FlawKind::ListNameCut, "a name without NUL")));
    };
    let name = named.get(..len).unwrap_or_default();
    Some(Ok((id, name, at.saturating_add(5).saturating_add(len))))
}

/// The header of `box-name`: hierarchy levels with NUL between them; after 2.4.4 perhaps two NULs and a flag byte after
/// them (`mailbox_name_hdr_encode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxName<'a> {
    levels: &'a [u8],
    /// `enum mailbox_name_hdr_flags`: 0x01 the mailbox is prefix/INBOX; 0 without a flag byte.
    pub flags: u8,
}

impl<'a> BoxName<'a> {
    /// Takes the header data of `box-name` apart (`mailbox_name_hdr_decode_storage_name`); trailing NULs are spare
    /// space.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut levels = bytes;
        while let [rest @ .., 0] = levels {
            levels = rest;
        }
        match levels {
            [rest @ .., 0, 0, flags] => BoxName { levels: rest, flags: *flags },
            _ => BoxName { levels, flags: 0 },
        }
    }

    /// The names of the levels, outermost first.
    pub fn levels(self) -> impl Iterator<Item = &'a [u8]> {
        self.levels.split(|&b| b == 0)
    }
}
