//! `dovecot.index.idx-undo`: one regular file beside the index that holds everything a rebuild replaces. It is a tar with a
//! manifest first, so that it can also be unpacked by hand. A directory would show up as a mailbox in IMAP LIST.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::commit::{self, Attributes};
use crate::source::{MmapPolicy, with_suffix};

/// What the index's name is followed by.
pub const SUFFIX: &str = ".idx-undo";
const MANIFEST: &str = "manifest.json";
const SCHEMA: &str = "idx.undo-manifest/1";

/// What was replaced, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `idx.undo-manifest/1`.
    pub schema: String,
    /// When, RFC 3339 UTC.
    pub created: String,
    /// What the rebuild did, in words.
    pub why: Vec<String>,
    /// The files that were replaced, cut, created or removed.
    pub files: Vec<Entry>,
    /// The other files of the mailbox, as the rebuild left them: they tell whether Dovecot has written since.
    pub untouched: Vec<Witness>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, without directory.
    pub name: String,
    /// What it was before; its bytes are in the tar under the same name. `null`: there was none.
    pub before: Option<Saved>,
    /// What it became. `null`: it was removed.
    pub after: Option<Sum>,
}

/// A file's content, by sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
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
    pub sum: Sum,
    /// Permissions, owner, modification time.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Its name, without directory.
    pub name: String,
    /// Bytes; `null`: there was none.
    pub size: Option<u64>,
    /// SHA-256, hex; `null` for a cache.
    pub sha256: Option<String>,
}

impl Sum {
    /// The sum of some bytes.
    pub fn of(bytes: &[u8]) -> Sum {
        let digest = Sha256::digest(bytes);
        let sha256 =
            digest.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect();
        Sum { size: bytes.len() as u64, sha256 }
    }
}

/// An undo file that has been read.
#[derive(Clone, Debug)]
pub struct Undo {
    /// What it says.
    pub manifest: Manifest,
    saved: Vec<(String, Vec<u8>)>,
}

/// Path of the undo file of an index.
pub fn path_of(index: &Path) -> PathBuf {
    with_suffix(index, SUFFIX)
}

impl Undo {
    /// An undo file in memory. `saved` are the bytes of the entries that have a `before`.
    pub fn new(why: Vec<String>, files: Vec<(Entry, Option<Vec<u8>>)>, untouched: Vec<Witness>) -> Undo {
        let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let saved = files.iter().filter_map(|(entry, bytes)| Some((entry.name.clone(), bytes.clone()?))).collect();
        let files = files.into_iter().map(|(entry, _)| entry).collect();
        Undo { manifest: Manifest { schema: SCHEMA.into(), created, why, files, untouched }, saved }
    }

    /// The bytes a file had.
    pub fn saved(&self, name: &str) -> Option<&[u8]> {
        self.saved.iter().find(|(have, _)| have == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// Writes the undo file: whole, synced, and in its place before anything else is changed.
    ///
    /// # Errors
    /// As open(2), write(2), fsync(2) and rename(2).
    pub fn write(&self, path: &Path, attributes: &Attributes) -> Result<(), StoreError> {
        let temp = commit::temporary(path);
        commit::stage(&temp, attributes, false, &mut |out| {
            let mut tar = tar::Builder::new(out);
            let mut manifest = serde_json::to_vec_pretty(&self.manifest)?;
            manifest.push(b'\n');
            append(&mut tar, MANIFEST, &manifest, attributes)?;
            for (name, bytes) in &self.saved {
                let entry = self.manifest.files.iter().find(|entry| entry.name == *name);
                let was = entry.and_then(|entry| entry.before.as_ref()).map_or(attributes, |saved| &saved.attributes);
                append(&mut tar, name, bytes, was)?;
            }
            tar.finish()
        })?;
        // Nothing is replaced on the strength of an undo file that cannot be read.
        let result = match Undo::read(&temp) {
            Ok(undo) if undo.manifest == self.manifest => commit::rename(&temp, path),
            Ok(_) => Err(StoreError::new(&temp, "cannot be trusted", io::Error::from(io::ErrorKind::InvalidData))),
            Err(error) => Err(StoreError::new(&temp, "cannot read back", error)),
        };
        result.inspect_err(|_| drop(std::fs::remove_file(&temp)))?;
        commit::sync_dir(path)
    }

    /// Reads an undo file and checks every sum in it.
    ///
    /// # Errors
    /// As open(2) and read(2); [`io::ErrorKind::InvalidData`] when it is damaged.
    pub fn read(path: &Path) -> io::Result<Undo> {
        let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let input = crate::source::read(path, MmapPolicy::Never, false)?;
        let mut tar = tar::Archive::new(&input.bytes[..]);
        let mut manifest: Option<Manifest> = None;
        let mut saved = Vec::new();
        for entry in tar.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            if manifest.is_none() {
                if name != MANIFEST {
                    return Err(bad(format!("its first file is {name}, not {MANIFEST}")));
                }
                manifest = Some(serde_json::from_slice(&bytes)?);
            } else {
                saved.push((name, bytes));
            }
        }
        let manifest = manifest.filter(|manifest| manifest.schema == SCHEMA);
        let manifest = manifest.ok_or_else(|| bad(format!("it has no {MANIFEST} that this idx understands")))?;
        let undo = Undo { manifest, saved };
        for entry in &undo.manifest.files {
            if entry.name.contains('/') || entry.name.is_empty() || entry.name.starts_with("..") {
                return Err(bad(format!("it names a file {:?}", entry.name)));
            }
            if let Some(before) = &entry.before
                && undo.saved(&entry.name).map(Sum::of).as_ref() != Some(&before.sum)
            {
                return Err(bad(format!("the sum of {} is wrong", entry.name)));
            }
        }
        Ok(undo)
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8], attributes: &Attributes) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(attributes.mode & 0o7777);
    header.set_uid(attributes.uid.into());
    header.set_gid(attributes.gid.into());
    header.set_mtime(u64::try_from(attributes.mtime).unwrap_or(0));
    tar.append_data(&mut header, name, bytes)
}
