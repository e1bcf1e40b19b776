//! Kinds of damage. Each is made of what was seen in the field: one bit, a sector of a disk, a write that was cut off, a
//! backup that brought back some of the files.

use std::fs;
use std::path::{Path, PathBuf};

use idx::format::log::LogFile;

use crate::support::workload::Rng;
use crate::{ROLES, Recorded};

/// A user who owns nothing here.
const STRANGER: u32 = 64_999;

/// Where the records of a log begin, and its end.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let Ok(log) = LogFile::parse(bytes, bytes.len() as u64) else { return vec![] };
    log.records(bytes).map(|record| usize::try_from(record.offset).expect("small")).collect()
}

/// Does one damage to the files in `dir`; says what, or `None` when it does not fit.
pub fn damage(
    random: &mut Rng,
    dir: &Path,
    mailbox: &Recorded,
    others: &[PathBuf],
    twins: &[PathBuf],
) -> Option<(&'static str, String)> {
    let there: Vec<&str> = ROLES.into_iter().filter(|role| dir.join(role).exists()).collect();
    let role = *random.pick(&there);
    let path = dir.join(role);
    let mut bytes = fs::read(&path).expect("file");
    if bytes.is_empty() {
        return None;
    }
    let other = random.pick(others).join(role);
    let write = |bytes: &[u8]| fs::write(&path, bytes).expect("write");
    match random.below(24) {
        0..=2 => {
            let at = random.below(bytes.len());
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            write(&bytes);
            Some(("bit", format!("{role} byte {at} bit {bit}")))
        }
        3 | 4 => {
            let limit = if role.contains(".log") { 40 } else { 120 };
            let at = random.below(limit.min(bytes.len()));
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            write(&bytes);
            Some(("bit in a header", format!("{role} byte {at} bit {bit}")))
        }
        5..=7 => {
            let role = "dovecot.index.log";
            let mut bytes = fs::read(dir.join(role)).ok()?;
            let starts = boundaries(&bytes);
            let at = starts.get(random.below(starts.len()))? + 8 + random.below(16);
            let bit = random.below(8);
            *bytes.get_mut(at)? ^= 1 << bit;
            fs::write(dir.join(role), &bytes).expect("write");
            Some(("bit in a record", format!("{role} byte {at} bit {bit}")))
        }
        8 => {
            let size = *random.pick(&[64, 512, 512, 4096]);
            let at = random.below(bytes.len()) / size * size;
            let end = bytes.len().min(at + size);
            bytes[at..end].fill(0);
            write(&bytes);
            Some(("zeros", format!("{role} {at}..{end}")))
        }
        9 => {
            let size = *random.pick(&[512, 512, 4096]);
            let at = random.below(bytes.len()) / size * size;
            let end = bytes.len().min(at + size);
            // Of this file, or written to the wrong place from another one.
            let other = *random.pick(&there);
            let source = if random.below(3) == 0 { other } else { role };
            let theirs = fs::read(dir.join(source)).expect("file");
            let from = random.below(theirs.len().max(1)) / size * size;
            let copy: Vec<u8> = theirs[from..].iter().copied().chain(std::iter::repeat(0)).take(end - at).collect();
            bytes[at..end].copy_from_slice(&copy);
            write(&bytes);
            Some(("sector repeated", format!("{role} {at}..{end} from {source} {from}")))
        }
        10 => {
            let cut = random.below(bytes.len());
            let zeros = if random.below(2) == 0 { 0 } else { bytes.len() - cut };
            bytes.truncate(cut);
            bytes.resize(cut + zeros, 0);
            write(&bytes);
            Some((if zeros == 0 { "torn" } else { "tail of zeros" }, format!("{role} at {cut}")))
        }
        11 => {
            let role = "dovecot.index.log";
            let mut bytes = fs::read(dir.join(role)).ok()?;
            let starts = boundaries(&bytes);
            let back = 1 + random.below(12);
            let from = *starts.get(starts.len().checked_sub(back)?)?;
            let tail = bytes[from..].to_vec();
            bytes.extend(tail);
            fs::write(dir.join(role), &bytes).expect("write");
            Some(("doubled tail", format!("{role} from {from}")))
        }
        12 => {
            let role = "dovecot.index.log";
            let theirs = fs::read(other.parent()?.join(role)).ok()?;
            let starts = boundaries(&theirs);
            let from = *starts.get(starts.len().checked_sub(1 + random.below(12))?)?;
            let mut bytes = fs::read(dir.join(role)).ok()?;
            bytes.extend(&theirs[from..]);
            fs::write(dir.join(role), &bytes).expect("write");
            Some(("foreign tail", format!("{} from {from}", other.display())))
        }
        13 => {
            let theirs = fs::read(&other).ok()?;
            write(&theirs);
            let mut what = other.display().to_string();
            if random.below(3) == 0
                && let Ok(log) = fs::read(other.parent()?.join("dovecot.index.log"))
            {
                fs::write(dir.join("dovecot.index.log"), log).expect("write");
                what.push_str(" and its log");
            }
            Some(("foreign file", what))
        }
        14 => {
            let (from, to) = *random.pick(&[
                ("dovecot.index.backup", "dovecot.index"),
                ("dovecot.index.log.2", "dovecot.index.log"),
                ("dovecot.index.log", "dovecot.index.log.2"),
            ]);
            fs::copy(dir.join(from), dir.join(to)).ok()?;
            Some(("half restored", format!("{from} as {to}")))
        }
        15 => {
            // The same mailbox, deleted and made again: other ids, the same UIDs.
            let twin = random.pick(twins);
            let roles: Vec<&str> = ROLES.into_iter().filter(|role| twin.join(role).exists()).collect();
            let mut what = twin.display().to_string();
            for role in roles.into_iter().filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
                fs::copy(twin.join(role), dir.join(role)).expect("copy");
                what.push(' ');
                what.push_str(role);
            }
            Some(("other life", what))
        }
        16 => {
            // A log of before, and the index of then or of now.
            let role = "dovecot.index.log";
            let bytes = fs::read(dir.join(role)).ok()?;
            let starts = boundaries(&bytes);
            let at = *starts.get(random.below(starts.len().max(1)))?;
            fs::write(dir.join(role), &bytes[..at]).expect("write");
            let mut what = format!("{role} of before, {at} bytes");
            for (from, to) in [("dovecot.index.backup", "dovecot.index"), ("", "dovecot.index.cache")] {
                if random.below(2) == 0 {
                    continue;
                }
                let done = match from {
                    "" => fs::remove_file(dir.join(to)).is_ok(),
                    from => fs::copy(dir.join(from), dir.join(to)).is_ok(),
                };
                if done {
                    what.push_str(&format!(" + {to} {from}"));
                }
            }
            Some(("older set", what))
        }
        17 => {
            let role = "dovecot.index.log";
            let bytes = fs::read(dir.join(role)).ok()?;
            let starts = boundaries(&bytes);
            let i = random.below(starts.len().max(1));
            let end = starts.get(i + 1).copied().unwrap_or(bytes.len());
            let from = *starts.get(i)?;
            let twice = [&bytes[..end], &bytes[from..]].concat();
            fs::write(dir.join(role), twice).expect("write");
            Some(("record doubled", format!("{role} {from}..{end}")))
        }
        18 => {
            // Only root can; for others the case has one damage less.
            let _ = std::os::unix::fs::chown(&path, Some(STRANGER), Some(STRANGER));
            Some(("wrong owner", role.to_owned()))
        }
        19 => {
            let path = dir.join("dovecot-uidlist");
            let list = fs::read(&path).ok()?;
            let what = match random.below(3) {
                0 => {
                    fs::remove_file(&path).expect("remove");
                    "removed"
                }
                1 => {
                    fs::write(&path, "").expect("write");
                    "emptied"
                }
                _ => {
                    fs::write(&path, &list[..random.below(list.len())]).expect("write");
                    "cut"
                }
            };
            Some(("uidlist lost", what.to_owned()))
        }
        20 | 21 => {
            // A backup of an earlier time brought back some of the files.
            let earlier = mailbox.earlier.as_ref().filter(|earlier| earlier.is_dir())?;
            let roles = ROLES.into_iter().filter(|role| earlier.join(role).exists());
            let mut what = String::new();
            for role in roles.collect::<Vec<_>>() {
                if random.below(2) == 0 {
                    fs::copy(earlier.join(role), dir.join(role)).expect("copy");
                    what.push_str(&format!(" {role}"));
                }
            }
            (!what.is_empty()).then_some(("earlier files", what))
        }
        22 => {
            let (one, other) = *random
                .pick(&[("dovecot.index.backup", "dovecot.index"), ("dovecot.index.log.2", "dovecot.index.log")]);
            let (first, second) = (fs::read(dir.join(one)).ok()?, fs::read(dir.join(other)).ok()?);
            fs::write(dir.join(one), second).expect("write");
            fs::write(dir.join(other), first).expect("write");
            Some(("exchanged", format!("{one} and {other}")))
        }
        _ => {
            fs::remove_file(&path).expect("remove");
            Some(("removed", role.to_owned()))
        }
    }
}
