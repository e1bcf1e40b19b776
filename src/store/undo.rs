//! `dovecot.index.idx-undo`: one regular file beside the index that holds everything that rebuilds replaced. It is a
//! tar with a manifest first, so that it can also be unpacked by hand. A directory would show up as a mailbox in IMAP
//! LIST.
//!
//! Whoever owns the mailbox can write such a file, so it is that user's word and no more: it names only the five files
//! of its own index, is believed about their bytes and times, and never about who owns them or who may read them.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::home::{AsFound, FileAttributes, Home};
use super::transaction::{Staged, UNDO_SUFFIX};
use super::{StoreError, dir};
use crate::format::{index::IndexFile, log::LogFile};
use crate::source::Role;

const MANIFEST: &str = "manifest.json";
const SCHEMA: &str = "idx.undo-manifest/1";
/// How many steps are kept.
pub const MOST_STEPS: usize = 5;
/// Bytes of the manifest at most.
const MAX_MANIFEST: u64 = 4 << 20;
/// What an undo file may hold however little of it is on the disk (files with holes; file systems that compress).
const FREE: u64 = 16 << 20;

/// What the manifest of a file says: the last step by itself, the ones before it in `earlier`, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    schema: String,
    #[serde(flatten)]
    last: UndoStep,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<UndoStep>,
}

/// What one rebuild replaced, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoStep {
    /// When, RFC 3339 UTC.
    pub created: String,
    /// What the rebuild did, in words.
    pub why: Vec<String>,
    /// The files that were replaced, cut, created or removed.
    pub files: Vec<SavedFile>,
    /// The other files of the mailbox, as the rebuild left them: they tell whether Dovecot has written since.
    pub untouched: Vec<LeftAlone>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Its name, without directory.
    pub name: String,
    /// What it was before; its bytes are in the tar. `null`: there was none.
    pub before: Option<Saved>,
    /// What it became. `null`: it was removed.
    pub after: Option<ContentSum>,
}

/// A file's content, by sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSum {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its content.
    #[serde(flatten)]
    pub sum: ContentSum,
    /// What it was besides: for people, but for the time.
    #[serde(flatten)]
    pub attributes: FileAttributes,
    /// Its bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Its name, without directory.
    pub name: String,
    /// Bytes; `null`: there was none.
    pub size: Option<u64>,
    /// SHA-256, hex; `null` for a cache.
    pub sha256: Option<String>,
}

impl ContentSum {
    /// The sum of some bytes.
    pub fn of(bytes: &[u8]) -> ContentSum {
        let digest = Sha256::digest(bytes);
        let sha256 =
            digest.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect();
        ContentSum { size: bytes.len() as u64, sha256 }
    }

    /// True when it is the sum of these bytes. Bytes of another length are not read.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.size == bytes.len() as u64 && *self == ContentSum::of(bytes)
    }
}

/// True when a file is as the sum says, or is missing where there is none.
pub fn is_as(sum: Option<&ContentSum>, bytes: Option<&[u8]>) -> bool {
    match (sum, bytes) {
        (None, None) => true,
        (Some(sum), Some(bytes)) => sum.is_of(bytes),
        _ => false,
    }
}

impl UndoStep {
    /// A step, now. `after` is what each file of the index becomes; `None`: no file. `redone` is a step that stopped
    /// half-way: what it had found is what was there before.
    pub fn new(
        home: &Home,
        now: &AsFound,
        after: &[(Role, Option<&[u8]>)],
        why: Vec<String>,
        redone: Option<&UndoStep>,
    ) -> UndoStep {
        let created = jiff::Timestamp::from_second(crate::source::now())
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let mut step = UndoStep { created, why, files: Vec::new(), untouched: Vec::new() };
        for (role, bytes) in after {
            let name = home.text(*role);
            let found = redone.and_then(|step| step.entry(&name));
            let before = match found {
                Some(entry) => entry.before.clone(),
                None => now.get(*role).map(|held| Saved {
                    sum: ContentSum::of(&held.input.bytes),
                    attributes: FileAttributes { acl: None, selinux: None, ..held.attributes.clone() },
                    bytes: held.input.bytes.to_vec(),
                }),
            };
            if before.as_ref().map(|saved| saved.bytes.as_slice()) == *bytes {
                // A cache may be large, and grows with every write.
                let sha256 = bytes.filter(|_| *role != Role::Cache).map(|bytes| ContentSum::of(bytes).sha256);
                step.untouched.push(LeftAlone { name, size: bytes.map(|bytes| bytes.len() as u64), sha256 });
                continue;
            }
            step.files.push(SavedFile { name, before, after: bytes.map(ContentSum::of) });
        }
        step
    }

    /// What it says of a file.
    pub fn entry(&self, name: &str) -> Option<&SavedFile> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// True when some files are as an earlier run found them and some as it wanted them, and none is otherwise.
    pub fn was_interrupted(&self, home: &Home, now: &AsFound) -> bool {
        let (mut before, mut after) = (0, 0);
        for entry in &self.files {
            let Some(bytes) = home.role(&entry.name).map(|role| now.bytes(role)) else { return false };
            if is_as(entry.after.as_ref(), bytes) {
                after += 1;
            } else if is_as(entry.before.as_ref().map(|saved| &saved.sum), bytes) {
                before += 1;
            } else {
                return false;
            }
        }
        before > 0 && after > 0
    }

    /// One step that does what this one and the `next` did.
    fn followed_by(&self, next: &UndoStep) -> UndoStep {
        let mut both = next.clone();
        both.created.clone_from(&self.created);
        both.why = self.why.iter().chain(&next.why).cloned().collect();
        for entry in &self.files {
            match both.files.iter_mut().find(|have| have.name == entry.name) {
                Some(have) => have.before.clone_from(&entry.before),
                None => both.files.push(entry.clone()),
            }
        }
        let changed = |name: &str| both.files.iter().any(|entry| entry.name == name);
        both.untouched = next.untouched.iter().filter(|witness| !changed(&witness.name)).cloned().collect();
        both
    }
}

/// An undo file that has been read: its steps, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoFile {
    /// The steps.
    pub steps: Vec<UndoStep>,
}

/// What is under the name of the undo file.
#[derive(Debug)]
pub enum KeptUndo {
    /// Nothing.
    Nothing,
    /// An undo file.
    Undo(UndoFile),
    /// Something else, and why it is no undo file of this index.
    Other(StoreError),
}

impl KeptUndo {
    /// The same, held against the files that are there: an undo file that was brought from another mailbox is none of
    /// this one. That shows when nothing is as it found or left it, and what it saved has other `indexid`s than these
    /// files have.
    pub fn of_these(self, home: &Home, survey: &AsFound) -> KeptUndo {
        let KeptUndo::Undo(undo) = &self else { return self };
        let is_known = |step: &UndoStep| {
            let entries = step.files.iter().any(|entry| {
                let bytes = home.role(&entry.name).and_then(|role| survey.bytes(role));
                let before = entry.before.as_ref().map(|saved| &saved.sum);
                bytes.is_some() && [entry.after.as_ref(), before].into_iter().any(|sum| is_as(sum, bytes))
            });
            entries
                || step.untouched.iter().any(|witness| {
                    let bytes = home.role(&witness.name).and_then(|role| survey.bytes(role));
                    let sum =
                        witness.size.zip(witness.sha256.clone()).map(|(size, sha256)| ContentSum { size, sha256 });
                    sum.zip(bytes).is_some_and(|(sum, bytes)| sum.is_of(bytes))
                })
        };
        let saved = undo.steps.iter().flat_map(|step| &step.files).filter_map(|entry| {
            let saved = entry.before.as_ref()?;
            indexid(home.role(&entry.name)?, &saved.bytes)
        });
        let saved: Vec<u32> = saved.collect();
        let now: Vec<u32> = Role::ALL.into_iter().filter_map(|role| indexid(role, survey.bytes(role)?)).collect();
        let is_other = !saved.is_empty() && !now.is_empty() && !saved.iter().any(|id| now.contains(id));
        if is_other && !undo.steps.iter().any(is_known) {
            return KeptUndo::Other(home.error(
                &UndoFile::name(home),
                "cannot be used",
                bad("it is of another mailbox".into()),
            ));
        }
        self
    }
}

/// The `indexid` in a file of an index, if that is sound enough to tell.
fn indexid(role: Role, bytes: &[u8]) -> Option<u32> {
    let id = match role {
        Role::Index | Role::Backup => IndexFile::parse(bytes).ok()?.header.indexid,
        Role::Log | Role::OldLog => LogFile::parse(bytes, bytes.len() as u64).ok()?.header.indexid,
        Role::Cache => return None,
    };
    (id != 0).then_some(id)
}

impl UndoFile {
    /// Name of the undo file of an index.
    pub fn name(home: &Home) -> Vec<u8> {
        home.beside(UNDO_SUFFIX)
    }

    /// Adds a step. Of more than [`MOST_STEPS`] the oldest stays, and the two after it become one.
    pub fn push(&mut self, step: UndoStep) {
        self.steps.push(step);
        if self.steps.len() > MOST_STEPS
            && let [_, second, third, ..] = self.steps.as_slice()
        {
            let both = second.followed_by(third);
            self.steps.splice(1..3, [both]);
        }
    }

    /// All steps as one.
    pub fn all(&self) -> Option<UndoStep> {
        let (first, rest) = self.steps.split_first()?;
        Some(rest.iter().fold(first.clone(), |all, next| all.followed_by(next)))
    }

    /// Writes the undo file under its temporary name, whole and synced, and reads it back.
    ///
    /// # Errors
    /// As open(2), write(2) and fsync(2).
    pub fn stage<'h>(&self, home: &'h Home, survey: &AsFound) -> Result<Staged<'h>, StoreError> {
        let attributes = home.attributes(survey, Role::Index);
        let name = UndoFile::name(home);
        let staged = Staged::write(home, name.clone(), &attributes, None, &mut |out| self.fill(out, &attributes))?;
        let bad = |error| home.error(&name, "cannot be trusted", error);
        // Nothing is replaced on the strength of an undo file that cannot be read.
        match UndoFile::parse(home, staged.file()).map_err(bad)? {
            undo if undo == *self => Ok(staged),
            _ => Err(bad(io::ErrorKind::InvalidData.into())),
        }
    }

    fn fill(&self, out: &mut dyn Write, attributes: &FileAttributes) -> io::Result<()> {
        let Some((last, earlier)) = self.steps.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let manifest = Manifest { schema: SCHEMA.into(), last: last.clone(), earlier: earlier.to_vec() };
        let mut tar = tar::Builder::new(out);
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        append(&mut tar, MANIFEST, &text, attributes)?;
        for (i, step) in self.steps.iter().enumerate() {
            for entry in &step.files {
                let Some(saved) = &entry.before else { continue };
                append(&mut tar, &tar_name(i, self.steps.len(), &entry.name), &saved.bytes, &saved.attributes)?;
            }
        }
        tar.finish()
    }

    /// Reads the undo file of an index, whatever is under its name.
    ///
    /// # Errors
    /// As stat(2).
    pub fn read(home: &Home) -> Result<KeptUndo, StoreError> {
        let name = UndoFile::name(home);
        let file = match home.file(&name) {
            Ok(None) => return Ok(KeptUndo::Nothing),
            Ok(Some((file, _))) => file,
            Err(error) => return Ok(KeptUndo::Other(error)),
        };
        Ok(match UndoFile::parse(home, &file) {
            Ok(undo) => KeptUndo::Undo(undo),
            Err(error) => KeptUndo::Other(home.error(&name, "cannot be used", error)),
        })
    }

    /// Decodes an undo file and checks every sum in it.
    fn parse(home: &Home, mut file: &std::fs::File) -> io::Result<UndoFile> {
        io::Seek::rewind(&mut file)?;
        let meta = crate::source::Meta::of(file)?;
        let most = meta.stat.size.min(FREE.saturating_add(meta.allocated.saturating_mul(4)));
        let mut tar = tar::Archive::new(file.take(most));
        let mut steps: Option<Vec<UndoStep>> = None;
        let mut named: Vec<(String, usize, usize)> = Vec::new();
        for entry in tar.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let size = entry.size();
            if !entry.header().entry_type().is_file() || size > most {
                return Err(bad("it has an entry that is no regular file, or larger than itself".into()));
            }
            let mut bytes = Vec::new();
            match &mut steps {
                None if name == MANIFEST && size <= MAX_MANIFEST => {
                    entry.read_to_end(&mut bytes)?;
                    let list = UndoFile::checked(home, serde_json::from_slice(&bytes)?)?;
                    for (i, step) in list.iter().enumerate() {
                        let saved = step.files.iter().enumerate().filter(|(_, entry)| entry.before.is_some());
                        named.extend(saved.map(|(at, entry)| (tar_name(i, list.len(), &entry.name), i, at)));
                    }
                    steps = Some(list);
                }
                None => return Err(bad(format!("its first file is not a {MANIFEST}"))),
                Some(steps) => {
                    // Each is taken once, so that all together are no more than the archive.
                    let Some(at) = named.iter().position(|(have, ..)| *have == name) else {
                        return Err(bad("it holds a file that its manifest does not name".into()));
                    };
                    let (_, step, at) = named.swap_remove(at);
                    let saved = steps.get_mut(step).and_then(|step| step.files.get_mut(at));
                    let Some(saved) = saved.and_then(|entry| entry.before.as_mut()) else { continue };
                    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
                    entry.read_to_end(&mut bytes)?;
                    if !saved.sum.is_of(&bytes) {
                        return Err(bad(format!(
                            "the sum of {} is wrong",
                            crate::render::text::printable(name.as_bytes())
                        )));
                    }
                    saved.bytes = bytes;
                }
            }
        }
        match steps {
            Some(steps) if named.is_empty() => Ok(UndoFile { steps }),
            Some(_) => Err(bad("a file that its manifest names is missing".into())),
            None => Err(bad(format!("it has no {MANIFEST}"))),
        }
    }

    /// The steps of a manifest that names the files of this index, each once, and nothing else.
    fn checked(home: &Home, manifest: Manifest) -> io::Result<Vec<UndoStep>> {
        if manifest.schema != SCHEMA {
            return Err(bad(format!("it has no {MANIFEST} that this idx understands")));
        }
        let Manifest { last, earlier: mut steps, .. } = manifest;
        steps.push(last);
        if steps.len() > MOST_STEPS {
            return Err(bad("it has more steps than idx keeps".into()));
        }
        for step in &steps {
            let names = step.files.iter().map(|entry| &entry.name);
            let mut seen = Vec::new();
            for name in names.chain(step.untouched.iter().map(|witness| &witness.name)) {
                let Some(role) = home.role(name).filter(|role| !seen.contains(role)) else {
                    return Err(bad(format!(
                        "it names {name:?}, which is not a file of this index, or names it twice"
                    )));
                };
                seen.push(role);
            }
        }
        Ok(steps)
    }
}

/// Name of a saved file in the tar: that of the file for the last step, with the number of the step before it for the
/// others.
fn tar_name(step: usize, steps: usize, name: &str) -> String {
    if step + 1 == steps { name.to_owned() } else { format!("{}/{name}", step + 1) }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Removes the undo file.
///
/// # Errors
/// As unlink(2) and fsync(2).
pub fn clear(home: &Home) -> Result<(), StoreError> {
    let name = UndoFile::name(home);
    dir::remove(home.dir(), &name).map_err(|error| home.error(&name, "cannot remove", error))?;
    dir::sync(home.dir()).map_err(|error| StoreError::new(home.dir().path(), "cannot sync", error))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    bytes: &[u8],
    attributes: &FileAttributes,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(attributes.mode & 0o666);
    header.set_uid(attributes.uid.into());
    header.set_gid(attributes.gid.into());
    header.set_mtime(u64::try_from(attributes.mtime).unwrap_or(0));
    tar.append_data(&mut header, name, bytes)
}
