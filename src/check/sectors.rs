//! Names sectors of a disk in what was found: bytes that are zero, or stand elsewhere too, from one multiple of 512 to
//! another. A file system or a disk loses, repeats and exchanges such pieces as a whole; no program writes them.

use std::collections::HashMap;
use std::ops::Range;

use super::{Finding, Severity, Subject};
use crate::source::Role;

/// Bytes of the smallest sector.
const SECTOR: usize = 512;
/// Bytes of a page, the usual block of a file system.
const PAGE: usize = 4096;
/// Zero bytes at the end of a file, from a multiple of 512 on, that are told.
const MIN_END: usize = 32;
/// Largest file that is looked at, bytes.
const MAX_SIZE: usize = 64 << 20;
/// Stretches of one file that are told.
const MOST: usize = 3;

/// What is said of a stretch of sectors.
struct Stretch {
    bytes: Range<u64>,
    words: String,
}

/// Adds, to the finding nearest to each such stretch of its file, what the stretch looks like.
pub(super) fn name(subject: &Subject<'_>, list: &mut [Finding]) {
    for role in Role::ALL {
        let Some(input) = subject.snapshot.get(role).filter(|input| input.bytes.len() <= MAX_SIZE) else { continue };
        let path = subject.path(role);
        let is_here = |one: &Finding| one.file == path && one.severity > Severity::Info;
        if !list.iter().any(is_here) {
            continue;
        }
        for stretch in stretches(subject, role, &input.bytes).into_iter().take(MOST) {
            let distance = |one: &Finding| match one.offset {
                Some(at) if at < stretch.bytes.start => stretch.bytes.start - at,
                Some(at) if at >= stretch.bytes.end => at - stretch.bytes.end,
                _ => 0,
            };
            if let Some(nearest) = list.iter_mut().filter(|one| is_here(one)).min_by_key(|one| distance(one)) {
                nearest.message.push_str(&stretch.words);
            }
        }
    }
}

fn stretches(subject: &Subject<'_>, role: Role, bytes: &[u8]) -> Vec<Stretch> {
    let mut list = Vec::new();
    let mut zero: Option<Range<usize>> = None;
    let mut again: Option<(Range<usize>, Role, usize)> = None;
    let elsewhere = blocks(subject);
    for (n, block) in bytes.chunks(SECTOR).enumerate() {
        let at = n * SECTOR..n * SECTOR + block.len();
        let is_zero = block.len() >= MIN_END && block.iter().all(|byte| *byte == 0);
        if is_zero {
            zero = Some(zero.map_or(at.start, |range| range.start)..at.end);
        } else {
            list.extend(zero.take().map(zeros));
        }
        // At the same place of another file it is a copy of that file.
        let first = elsewhere.get(block).copied().filter(|(_, start)| !is_zero && *start != at.start);
        match (&mut again, first) {
            (Some((range, from, start)), Some(first)) if first == (*from, *start + range.len()) => range.end = at.end,
            (_, first) => {
                list.extend(again.take().map(|found| repeated(role, found)));
                again = first.map(|(from, start)| (at, from, start));
            }
        }
    }
    list.extend(zero.map(zeros));
    list.extend(again.map(|found| repeated(role, found)));
    list
}

/// The whole sectors of all files by their content, and where each stands first.
fn blocks<'a>(subject: &Subject<'a>) -> HashMap<&'a [u8], (Role, usize)> {
    let mut all = HashMap::new();
    for role in Role::ALL {
        let Some(input) = subject.snapshot.get(role).filter(|input| input.bytes.len() <= MAX_SIZE) else { continue };
        for (n, block) in input.bytes.chunks_exact(SECTOR).enumerate() {
            // A backup begins as its index does, and a run of one byte is no content.
            if role != Role::Backup && block.iter().any(|byte| Some(byte) != block.first()) {
                all.entry(block).or_insert((role, n * SECTOR));
            }
        }
    }
    all
}

/// The size of the pieces that a stretch is made of.
fn unit(range: &Range<usize>) -> usize {
    if range.start.is_multiple_of(PAGE) && range.len().is_multiple_of(PAGE) { PAGE } else { SECTOR }
}

fn zeros(range: Range<usize>) -> Stretch {
    let (start, end, unit) = (range.start, range.end, unit(&range));
    let words =
        format!("; bytes {start}..{end} are zero, as sectors of {unit} bytes that were never written, or are lost");
    Stretch { bytes: start as u64..end as u64, words }
}

fn repeated(role: Role, (range, from, first): (Range<usize>, Role, usize)) -> Stretch {
    let (start, end, unit) = (range.start, range.end, unit(&range));
    let of = if from == role { String::new() } else { format!(" of dovecot.index{}", from.suffix()) };
    let words = format!(
        "; bytes {start}..{end} are the same as {first}..{}{of}: sectors of {unit} bytes, one of which stands in the \
         wrong place",
        first + range.len(),
    );
    Stretch { bytes: start as u64..end as u64, words }
}
