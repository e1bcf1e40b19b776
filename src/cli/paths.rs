//! The paths of a verb: from the command line and from standard input, one mailbox after the other.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::progress::Progress;
use super::{Context, is_single};
use crate::ops::rebuild::is_tree;
use crate::render::text::shown;
use crate::source::{MailboxFiles, PathError, guarded, walk};

/// Bytes of a path with its end, as Linux takes it (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Mailboxes below a directory that are named when a verb wants one of them.
const NAMED: usize = 5;

/// The paths of a verb; `-` stands for names on standard input. `None` when there are none, which has been said.
///
/// # Errors
/// When standard input cannot be read.
pub fn expand(context: &mut Context, paths: &[PathBuf]) -> io::Result<Option<Vec<PathBuf>>> {
    let (mut list, mut given) = (Vec::new(), Vec::new());
    for path in paths {
        if path.as_os_str() != "-" {
            given.push(path.clone());
            list.push(tidied(context, path));
            continue;
        }
        if io::stdin().is_terminal() {
            context.remark(&"reading paths from standard input, one a line; Ctrl-D ends them");
        }
        let mut names = Vec::new();
        io::stdin().read_to_end(&mut names)?;
        let separator = if names.contains(&0) { 0 } else { b'\n' };
        let names = names.split(|byte| *byte == separator).filter(|name| !name.is_empty());
        for name in names {
            // A longer one is one byte too long for every system call, and no longer is remembered.
            let name = Path::new(OsStr::from_bytes(name.get(..PATH_MAX).unwrap_or(name)));
            given.push(name.to_owned());
            list.push(tidied(context, name));
        }
    }
    if list.is_empty() && !paths.is_empty() {
        context.failure(&"no paths on standard input");
        return Ok(None);
    }
    context.out.given(&given);
    Ok(Some(list))
}

/// The path that is meant: that of the indexes, where the caller told of another root for them, and without the
/// punctuation that was copied with it from a log line, if it exists only so.
fn tidied(context: &mut Context, path: &Path) -> PathBuf {
    let indexes = context.location.as_ref().and_then(|location| location.indexes_of(&std::path::absolute(path).ok()?));
    if let Some(indexes) = indexes.filter(|indexes| indexes.is_dir()) {
        return indexes;
    }
    let mut bytes = path.as_os_str().as_bytes();
    if path.symlink_metadata().is_ok() {
        return path.to_owned();
    }
    while let Some((b':' | b',' | b'\'' | b'"', rest)) = bytes.split_last() {
        bytes = rest;
        let shorter = PathBuf::from(OsString::from_vec(bytes.to_vec()));
        if !bytes.is_empty() && shorter.symlink_metadata().is_ok() {
            context.remark(&format_args!("{}: taken for {}", shown(path), shown(&shorter)));
            return shorter;
        }
    }
    path.to_owned()
}

/// Runs a verb for each of its mailboxes. Several JSON documents become one, with a list of them. What ends one in a
/// panic is said as a bug, and the others are answered.
///
/// # Errors
/// When standard input cannot be read or standard output cannot be written to.
pub fn for_each(
    context: &mut Context,
    schema: &'static str,
    paths: &[PathBuf],
    mut one: impl FnMut(&mut Context, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(paths) = expand(context, paths)? else {
        return Ok(context.error_document(schema, Path::new("-"), &"no paths on standard input")?);
    };
    let grouped = is_single(context.format) && paths.len() > 1;
    if grouped {
        write!(context.out, "{{\"schema\":\"{schema}\",\"mailboxes\":[")?;
    }
    let progress = Progress::new(context.progress, "mailboxes", Some(paths.len() as u64), true);
    for (i, path) in paths.iter().enumerate() {
        if grouped && i > 0 {
            context.out.write_all(b",")?;
        }
        if let Some(below) = mailboxes_below(path) {
            let error =
                format!("{}: no Dovecot index files in this directory, but mailboxes below it: {below}", shown(path));
            context.error_document(schema, path, &error)?;
            context.failure(&error);
            continue;
        }
        let written = context.out.written;
        match guarded(|| one(context, path)) {
            Ok(result) => result?,
            Err(panic) => {
                let error = format!("{}: {panic}", shown(path));
                if context.out.written == written {
                    context.error_document(schema, path, &error)?;
                }
                context.failure(&error);
            }
        }
        progress.step();
    }
    progress.finish();
    if grouped {
        context.end_of_several(None)?;
    }
    Ok(())
}

/// Paths, some of which are trees.
pub struct Groups<'a> {
    paths: &'a [PathBuf],
    is_tree: Vec<bool>,
}

impl<'a> Groups<'a> {
    /// Looks at each; `recursive`: every directory is a tree.
    pub fn of(paths: &'a [PathBuf], recursive: bool) -> Groups<'a> {
        let is_tree = |path: &PathBuf| guarded(|| is_tree(path, recursive)).unwrap_or(false);
        Groups { paths, is_tree: paths.iter().map(is_tree).collect() }
    }

    /// True when there is a tree.
    pub fn any(&self) -> bool {
        self.is_tree.contains(&true)
    }

    /// How many mailboxes it comes to, if that is known.
    pub fn total(&self) -> Option<u64> {
        (!self.any()).then_some(self.paths.len() as u64)
    }

    /// Paths that follow each other and are trees, or are none, in order.
    pub fn groups(&self) -> impl Iterator<Item = (&'a [PathBuf], bool)> {
        let mut rest = self.paths;
        self.is_tree.chunk_by(|a, b| a == b).map(move |group| {
            let (now, later) = rest.split_at(group.len());
            rest = later;
            (now, group.contains(&true))
        })
    }
}

/// The first mailboxes below a directory that is none itself.
fn mailboxes_below(path: &Path) -> Option<String> {
    if !path.is_dir() || !matches!(MailboxFiles::locate(path), Err(PathError::NoIndex(_))) {
        return None;
    }
    let mut found = Vec::new();
    walk(
        &[path.to_owned()],
        1,
        |found| found.dir,
        |result| {
            found.extend(result.ok());
            if found.len() > NAMED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let more = if found.len() > NAMED { ", ..." } else { "" };
    let names: Vec<String> = found.iter().take(NAMED).map(|dir| shown(dir)).collect();
    (!names.is_empty()).then(|| names.join(", ") + more)
}
