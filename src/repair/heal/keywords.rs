//! The names of keywords in a damaged header.

use std::collections::HashSet;

use super::index::{Hints, Mended};
use crate::format::ext::{KeywordsHeader, keywords_header};
use crate::format::{Endian, align8};
use crate::repair::flip::{bits_apart, is_keyword};
use crate::repair::loss::Loss;

/// Bytes of a keywords header that are searched for names.
const MAX_KEYWORDS: usize = 64 << 10;

impl Mended {
    /// The keywords header: a wrong count, wrong offsets and a missing NUL follow from the names.
    pub fn keywords(&mut self, hints: &Hints<'_>) {
        let endian = self.mailbox.endian;
        let Some(id) = self.mailbox.extension_id(b"keywords") else { return };
        self.flipped_name(id, hints);
        let ext = &self.mailbox.extensions[id];
        let header = ext.header().to_vec();
        let problems = KeywordsHeader::parse(&header, 0, endian).problems;
        let bits = usize::from(ext.record_size) * 8;
        if problems.is_empty() && self.mailbox.keywords().len() <= bits {
            return;
        }
        let what = problems.first().map_or_else(|| "more keywords than bits".to_owned(), ToString::to_string);
        self.flaw(format!("keywords header: {what}"));
        let used = self.highest_keyword_bit(id).map_or(0, |bit| bit + 1);
        match keyword_names(&header, endian, used, &hints.keywords).filter(|names| names.len() <= bits) {
            Some(names) => {
                let (mut fresh, _) = keywords_header(None, &names, endian);
                if fresh.len() <= align8(header.len()) {
                    fresh.resize(header.len().max(fresh.len()), 0);
                    let data = &mut self.mailbox.extensions[id].data;
                    data.get_mut(..fresh.len()).into_iter().for_each(|to| to.copy_from_slice(&fresh));
                } else {
                    self.lost.push(Loss::KeywordNames);
                }
            }
            None => self.lost.push(Loss::KeywordNames),
        }
        self.mailbox.reload_keywords();
    }

    /// A name one bit away from one that records before the index's position give, and which the index lacks.
    fn flipped_name(&mut self, id: usize, hints: &Hints<'_>) {
        let names = self.mailbox.keywords().to_vec();
        let has = |list: &[Vec<u8>], name: &[u8]| list.iter().any(|one| one.eq_ignore_ascii_case(name));
        let letters = hints.storage.filter(|storage| storage.names_all_keywords()).map(|storage| &storage.letters);
        let seen = || hints.seen_keywords.iter().chain(letters.into_iter().flatten());
        let mut lacking: Vec<&Vec<u8>> = seen().filter(|name| is_keyword(name) && !has(&names, name)).collect();
        lacking.sort_unstable();
        lacking.dedup();
        let strange = names.iter().filter(|name| !seen().any(|other| other == *name));
        // Names that count up differ in one bit, too.
        let counts = |one: &[u8], name: &[u8]| {
            one.iter().zip(name).any(|(a, b)| a != b && a.is_ascii_digit() && b.is_ascii_digit())
        };
        let like = |one: &Vec<u8>| {
            let mut fits = lacking.iter().filter(|name| bits_apart(one, name) == Some(1) && !counts(one, name));
            fits.next().filter(|_| fits.next().is_none()).map(|right| (one.clone(), (*right).clone()))
        };
        // The backup has the same names in the same order, as far as it goes.
        let pairs = names.iter().zip(&hints.keywords).filter(|(one, old)| bits_apart(one, old) == Some(1));
        // Which of the two is damaged somebody else has to tell.
        let told = |name: &[u8]| {
            let of_storage = hints.storage.into_iter().flat_map(|storage| &storage.letters);
            hints.logged_keywords.iter().chain(of_storage).any(|one| one.eq_ignore_ascii_case(name))
        };
        let pairs = pairs.filter(|(one, old)| told(old) && !told(one));
        let older =
            pairs.filter(|(_, old)| is_keyword(old) && !has(&names, old)).map(|(one, old)| (one.clone(), old.clone()));
        let mut fits: Vec<(Vec<u8>, Vec<u8>)> = strange.filter_map(like).chain(older).collect();
        fits.dedup();
        let [(was, right)] = &fits[..] else { return };
        let data = &mut self.mailbox.extensions[id].data;
        let ends = |at: usize| data.get(at + was.len()) == Some(&0) && at.checked_sub(1).is_none_or(|j| data[j] == 0);
        let at = data.windows(was.len()).position(|part| part == was.as_slice()).filter(|at| ends(*at));
        if let Some(to) = at.and_then(|at| data.get_mut(at..at + right.len())) {
            to.copy_from_slice(right);
            let [was, right] = [was, right].map(|name| String::from_utf8_lossy(name).into_owned());
            self.flaw(format!("the keyword {was} can only be {right}, which the logs name before the index"));
            self.mailbox.reload_keywords();
        }
    }

    fn highest_keyword_bit(&self, id: usize) -> Option<usize> {
        let ext = self.mailbox.extensions.get(id)?;
        let bits = |i: usize| {
            let bytes = self.mailbox.ext_bytes(i, ext)?;
            let at = bytes.iter().rposition(|byte| *byte != 0)?;
            Some(at * 8 + bytes[at].checked_ilog2().unwrap_or(0) as usize)
        };
        (0..self.mailbox.physical_len()).filter_map(bits).max()
    }
}

/// The keyword names of a damaged header. `used` bits are in use in records.
fn keyword_names(header: &[u8], endian: Endian, used: usize, other: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let told = (1..=header.len().min(MAX_KEYWORDS) / 8)
        .filter_map(|count| names_if(header, endian, count).map(|(names, wrong)| (wrong, names)));
    let mut best: Vec<(usize, Vec<Vec<u8>>)> = told.filter(|(_, names)| names.len() >= used).collect();
    best.sort_by_key(|(wrong, _)| *wrong);
    let (wrong, names) = best.first()?;
    // Two counts that fit equally well prove nothing.
    if best.get(1).is_some_and(|(next, _)| next == wrong) {
        return None;
    }
    let unique: HashSet<Vec<u8>> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    if unique.len() == names.len() {
        return Some(names.clone());
    }
    // A name was overwritten with another: an older copy may have it, if all the rest agrees.
    let mut mended = names.clone();
    for (i, name) in names.iter().enumerate() {
        let twice = names.iter().filter(|one| one.eq_ignore_ascii_case(name)).count() > 1;
        match other.get(i) {
            Some(theirs) if twice => mended[i].clone_from(theirs),
            Some(theirs) if !theirs.eq_ignore_ascii_case(name) => return None,
            None if twice => return None,
            _ => {}
        }
    }
    let unique: HashSet<Vec<u8>> = mended.iter().map(|name| name.to_ascii_lowercase()).collect();
    (unique.len() == mended.len()).then_some(mended)
}

/// The names if there are `count` of them, and how many offsets are then wrong. `None` when the names area does not
/// fit.
fn names_if(header: &[u8], endian: Endian, count: usize) -> Option<(Vec<Vec<u8>>, usize)> {
    let area = header.get(4 + count.checked_mul(8)?..)?;
    let mut names = Vec::new();
    let mut at = 0;
    let mut wrong = 0;
    for i in 0..count {
        let rec = 4 + i * 8;
        if endian.u32_at(header, rec)? != 0 {
            return None;
        }
        if endian.u32_at(header, rec + 4)? as usize != at {
            wrong += 1;
        }
        let rest = area.get(at..)?;
        let len = rest.iter().position(|byte| *byte == 0)?;
        let name = rest.get(..len)?;
        if name.is_empty() || name.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
            return None;
        }
        names.push(name.to_vec());
        at += len + 1;
    }
    // Nothing may follow, and one wrong offset at most can be believed to be the damage.
    (wrong <= 1 && area.get(at..)?.iter().all(|byte| *byte == 0)).then_some((names, wrong))
}
