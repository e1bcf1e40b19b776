//! What is physically in each file, field by field; what cannot be read is named, and reading goes on behind it.

mod cache;
mod index;
mod log;
mod other;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::Path;

use crate::format::cache::Cache;
use crate::format::disk::{Field, Meaning};
use crate::format::ext::Visit;
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::format::spans;
use crate::format::thread::Thread;
use crate::format::{Disk, Endian, FileKind, Flaw, FlawKind, Value};
pub use crate::ops::dump::{Beside, DumpError, DumpOutcome, Options, SCHEMA, Section};
use crate::ops::dump::{DumpSubject, open};
use crate::render::Emit;
use crate::render::document::{Document, Part};
use crate::source::PathError;

/// Bytes of log, or of index records, that make one block of work.
pub(super) const BLOCK: usize = 128 << 10;

/// Bytes that a table shows as hex digits beside their name.
const SHORT: usize = 32;

/// Dumps one file.
///
/// # Errors [`DumpError::Path`] when the file cannot be read or is of no known kind; [`DumpError::Output`] when `out`
/// cannot be written to.
pub fn file<D: Document>(path: &Path, options: &Options, out: &mut D) -> Result<DumpOutcome, DumpError> {
    match open(path, options)? {
        DumpSubject::Stream(stream, names) => log::dump_stream(path, *stream, names, options, out),
        DumpSubject::WholeFile(whole) => bytes(path, whole.kind, &whole.input.bytes, &whole.beside, options, out),
    }
}

/// Dumps the bytes of a file. Nothing is read from disk; `path` is only shown.
///
/// # Errors
/// As [`file()`].
pub fn bytes<D: Document>(
    path: &Path,
    kind: FileKind,
    bytes: &[u8],
    beside: &Beside,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, DumpError> {
    let unknown = |error| PathError::Unknown { path: path.to_owned(), error };
    match kind {
        FileKind::Index => {
            let index = IndexFile::parse(bytes).map_err(unknown)?;
            Ok(index::dump_index(path, &index, options, out)?)
        }
        FileKind::Log => {
            let log = LogFile::parse(bytes, bytes.len() as u64).map_err(unknown)?;
            Ok(log::dump_log(path, &log, bytes, beside, options, out)?)
        }
        FileKind::Cache => {
            let cache = Cache::parse(bytes, beside.links.indexid).map_err(unknown)?;
            Ok(cache::dump_cache(path, &cache, &beside.links, options, out)?)
        }
        FileKind::Thread => {
            let thread = Thread::parse(bytes, beside.uid_validity).map_err(unknown)?;
            Ok(other::dump_thread(path, bytes, &thread, options, out)?)
        }
        FileKind::MailboxLog => {
            if bytes.is_empty() {
                return Err(unknown(Flaw::new(kind, 0, FlawKind::MailboxLogEmpty, "24 bytes", "an empty file")).into());
            }
            Ok(other::dump_mailbox_log(path, bytes, options, out)?)
        }
    }
}

pub(super) fn begin<D: Document>(
    path: &Path,
    kind: FileKind,
    size: u64,
    order: Endian,
    guessed: bool,
    out: &mut D,
) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut head = |emit: &mut dyn Emit| {
        emit.text("kind", kind.name().as_bytes());
        emit.text("path", path.as_os_str().as_bytes());
    };
    out.begin_with(&mut head, &mut |emit| {
        emit.number("size", size);
        emit.text("byte_order", order.name().as_bytes());
        if guessed {
            emit.boolean("byte_order_guessed", true);
        }
    })
}

/// One value of an on-disk struct.
pub(super) fn emit_value(emit: &mut dyn Emit, field: &Field, value: &Value<'_>) {
    let name = field.name;
    match value {
        Value::U64(n) if field.meaning == Meaning::Time => emit.time(name, *n),
        Value::U64(n) => emit.number(name, *n),
        Value::I64(n) => emit.signed(name, *n),
        Value::Bytes(bytes) => emit.hex(name, bytes),
        Value::List(list) => {
            emit.list_begin(name);
            list.iter().for_each(|n| emit.number("", u64::from(*n)));
            emit.list_end();
        }
    }
}

pub(super) fn emit_struct<T: Disk>(emit: &mut dyn Emit, value: &T) {
    for (field, value) in T::FIELDS.iter().zip(value.values()) {
        emit_value(emit, field, &value);
    }
}

pub(super) fn emit_problem<E: Emit + ?Sized>(emit: &mut E, problem: &Flaw) {
    emit.number("offset", problem.at);
    emit.text("what", problem.kind.to_string().as_bytes());
    emit.text("need", problem.need.as_bytes());
    emit.text("found", problem.have.as_bytes());
}

pub(super) fn list_problems<D: Document>(problems: &[Flaw], out: &mut D) -> io::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    out.list("problems", |part| problems.iter().try_for_each(|one| part.item(|emit| emit_problem(emit, one))))
}

/// Names and shows every byte.
pub(super) fn list_bytes<D: Document>(
    kind: FileKind,
    bytes: &[u8],
    indexid: Option<u32>,
    options: &Options,
    out: &mut D,
) -> io::Result<()> {
    if !options.hex {
        return Ok(());
    }
    out.list("bytes", |part| {
        let mut failed = Ok(());
        spans::walk(kind, bytes, indexid, &mut |span| {
            if failed.is_err() {
                return;
            }
            let start = span.offset as usize;
            let inside = bytes.get(start..start + span.len as usize).unwrap_or_default();
            // For people, more than one value is readable only in lines.
            let in_lines = D::FOR_PEOPLE && inside.len() > SHORT;
            failed = part.item(|emit| {
                emit.number("offset", span.offset);
                emit.number("size", span.len);
                emit.text("name", span.name.as_bytes());
                emit.hex("hex", if in_lines { &[] } else { inside });
            });
            if in_lines && failed.is_ok() {
                failed = part.plain(span.offset, inside);
            }
        });
        failed
    })
}

/// Names as keys of an object: `#3` for the fourth when it has no name or one that was used before.
pub(super) fn keys<'n>(names: impl Iterator<Item = &'n [u8]>) -> Vec<Cow<'n, str>> {
    let mut used = HashSet::new();
    names
        .enumerate()
        .map(|(i, name)| {
            let own = !name.is_empty() && used.insert(name);
            if own { String::from_utf8_lossy(name) } else { Cow::Owned(format!("#{i}")) }
        })
        .collect()
}
