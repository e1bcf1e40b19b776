//! Long results, written as they come: a document is a few members and lists of items, in JSON, in lines of JSON, or as
//! tables. Items can be formatted by several threads; they come out in order.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::style::Paint;
use super::table::{Kind, Table};
use super::{Emit, Format, Json, Row, Style};
use crate::format::ext::Visit;

/// Bytes collected before they are written.
const FLUSH: usize = 128 << 10;

/// Takes the items of one list. Each thread has its own.
pub trait Part: Send {
    /// True for what people read, where a hex dump says more than digits.
    const FOR_PEOPLE: bool = false;
    /// What an item is written to.
    type Out: Emit;
    /// Writes one item, an object: `write` emits its members.
    fn item(&mut self, write: impl FnOnce(&mut Self::Out));
    /// Writes one item that is a plain value, emitted by `write` without a name.
    fn value(&mut self, write: impl FnOnce(&mut Self::Out));
    /// Shows bytes that have no meaning, for people; `offset` is that of the first one in the file. Other formats have
    /// them as hex in an item.
    fn plain(&mut self, offset: u64, bytes: &[u8]) {
        let _ = (offset, bytes);
    }
    /// What has been written so far, to be taken away: the next item is the first of a new piece.
    fn bytes(&mut self) -> &mut Vec<u8>;
    /// Bytes written so far.
    fn len(&self) -> usize;
    /// True when nothing has been written.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Items of a JSON array.
#[derive(Debug, Default)]
pub struct JsonPart {
    json: Json,
}

impl Part for JsonPart {
    type Out = Json;
    #[inline]
    fn item(&mut self, write: impl FnOnce(&mut Json)) {
        self.json.object_begin("");
        write(&mut self.json);
        self.json.object_end();
    }
    fn value(&mut self, write: impl FnOnce(&mut Json)) {
        write(&mut self.json);
    }
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.json.start();
        &mut self.json.buf
    }
    fn len(&self) -> usize {
        self.json.buf.len()
    }
}

/// Items as lines of JSON.
#[derive(Debug, Default)]
pub struct LinePart {
    json: Json,
    prefix: Vec<u8>,
}

impl Part for LinePart {
    type Out = Json;
    #[inline]
    fn item(&mut self, write: impl FnOnce(&mut Json)) {
        self.json.start();
        self.json.append(&self.prefix);
        write(&mut self.json);
        self.json.buf.push(b'}');
        self.json.end_line();
    }
    fn value(&mut self, write: impl FnOnce(&mut Json)) {
        self.item(|json| {
            json.list_begin("values");
            write(json);
            json.list_end();
        });
    }
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.json.buf
    }
    fn len(&self) -> usize {
        self.json.buf.len()
    }
}

/// Items as rows of a table.
#[derive(Debug, Default)]
pub struct TablePart {
    row: Row,
    table: Table,
    style: Style,
    out: Vec<u8>,
}

impl Part for TablePart {
    const FOR_PEOPLE: bool = true;
    type Out = Row;
    fn item(&mut self, write: impl FnOnce(&mut Row)) {
        write(&mut self.row);
        // Writing to memory cannot fail.
        if self.row.is_renamed() {
            let _ = self.table.flush(&mut self.out);
            self.table = Table::new(self.row.names().iter().map(|name| name.to_uppercase()), self.style);
        }
        let _ = self.table.cells(self.row.cells(), &mut self.out);
        self.row.clear();
    }
    fn value(&mut self, write: impl FnOnce(&mut Row)) {
        let mut row = Row::default();
        write(&mut row);
        for (text, _) in row.cells() {
            self.out.extend_from_slice(format!("  {text}\n").as_bytes());
        }
    }
    fn plain(&mut self, offset: u64, bytes: &[u8]) {
        let _ = self.table.flush(&mut self.out);
        let _ = super::hex::plain(offset, bytes, &self.style, &mut self.out);
    }
    fn bytes(&mut self) -> &mut Vec<u8> {
        let _ = self.table.flush(&mut self.out);
        &mut self.out
    }
    fn len(&self) -> usize {
        self.out.len()
    }
}

/// A result in the making.
pub trait Document {
    /// Takes the items of a list.
    type Part: Part;
    /// Whether several parts may work on one list. A table's heading belongs to one.
    const PARALLEL: bool = true;

    /// Begins an object: the whole document, or one of several in it. `head` emits its first members.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()>;
    /// Begins an object as [`begin`](Self::begin) does; `more` emits members that need not be said again with every
    /// line.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn begin_with(
        &mut self,
        head: &mut dyn FnMut(&mut dyn Emit),
        more: &mut dyn FnMut(&mut dyn Emit),
    ) -> io::Result<()> {
        self.begin(&mut |emit| {
            head(emit);
            more(emit);
        })
    }
    /// Members of the object itself.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()>;
    /// A member that is an object; `write` emits its members.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()>;
    /// Begins a member that is a list of items.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn list_begin(&mut self, name: &str) -> io::Result<()>;
    /// A taker of items for the list that was begun.
    fn part(&self) -> Self::Part;
    /// Writes what a part has collected and empties it.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn take(&mut self, part: &mut Self::Part) -> io::Result<()>;
    /// Ends the list.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn list_end(&mut self) -> io::Result<()>;
    /// Ends the object.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn end(&mut self) -> io::Result<()>;

    /// The object of something that could not be had.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn failed(&mut self, path: &Path, error: &dyn Display) -> io::Result<()> {
        self.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
        self.members(&mut |emit| emit.text("error", error.to_string().as_bytes()))?;
        self.end()
    }

    /// Writes what a part has collected once that is worth a system call.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn take_some(&mut self, part: &mut Self::Part) -> io::Result<()> {
        if part.len() >= FLUSH { self.take(part) } else { Ok(()) }
    }

    /// The member `errors`: what could not be read, and why.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn errors<'e>(&mut self, errors: impl Iterator<Item = (&'e Path, String)>) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list("errors", |out, part| {
            for (path, error) in errors {
                part.item(|emit| {
                    emit.text("path", path.as_os_str().as_bytes());
                    emit.text("error", error.as_bytes());
                });
                out.take_some(part)?;
            }
            Ok(())
        })
    }

    /// A member that is a list, written by `fill` on this thread.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self, &mut Self::Part) -> io::Result<()>) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list_begin(name)?;
        let mut part = self.part();
        fill(self, &mut part)?;
        self.take(&mut part)?;
        self.list_end()
    }

    /// A member that is a list whose items come in blocks that can be formatted independently. `next` hands out the
    /// blocks one after the other on this thread; `format` runs on all cores.
    ///
    /// # Errors
    /// What `next` returns, or when the output cannot be written to.
    fn list_in_blocks<B: Send>(
        &mut self,
        name: &str,
        mut next: impl FnMut() -> io::Result<Option<B>>,
        format: impl Fn(B, &mut Self::Part) + Sync,
    ) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list_begin(name)?;
        let workers =
            if Self::PARALLEL { std::thread::available_parallelism().map_or(1, usize::from).min(4) } else { 1 };
        let first = next()?;
        let second = if first.is_some() && workers > 1 { next()? } else { None };
        let mut pending = [first, second].into_iter().flatten().collect::<std::collections::VecDeque<_>>();
        // One block is not worth a thread.
        let workers = if pending.len() > 1 { workers } else { 0 };
        let parts: Vec<Self::Part> = (0..workers).map(|_| self.part()).collect();
        let format = &format;
        let alone = std::thread::scope(|scope| -> io::Result<bool> {
            let mut lanes = Vec::new();
            for mut part in parts {
                let (to, blocks) = sync_channel::<B>(1);
                let (done, from) = sync_channel::<Vec<u8>>(2);
                let (back, spare) = std::sync::mpsc::channel::<Vec<u8>>();
                let lane = move || {
                    for block in blocks {
                        format(block, &mut part);
                        let fresh: Vec<u8> = spare.try_recv().unwrap_or_default();
                        if done.send(std::mem::replace(part.bytes(), fresh)).is_err() {
                            return;
                        }
                    }
                };
                if std::thread::Builder::new().spawn_scoped(scope, lane).is_err() {
                    break;
                }
                lanes.push((to, from, back));
            }
            let workers = lanes.len();
            if workers == 0 {
                return Ok(true);
            }
            let (mut sent, mut written) = (0, 0);
            loop {
                let block = match pending.pop_front() {
                    Some(block) => Some(block),
                    None => next()?,
                };
                let more = block.is_some();
                if let Some(block) = block {
                    // A lane that is gone has panicked; the scope passes that on.
                    if lanes[sent % workers].0.send(block).is_err() {
                        break;
                    }
                    sent += 1;
                }
                while written < sent && (!more || sent - written >= workers * 2) {
                    let (_, from, back) = &lanes[written % workers];
                    let Ok(mut bytes) = from.recv() else { break };
                    self.take_bytes(&bytes)?;
                    bytes.clear();
                    let _ = back.send(bytes);
                    written += 1;
                }
                if !more {
                    break;
                }
            }
            Ok(false)
        })?;
        // Without threads, which the system may refuse, this one does it all.
        let mut part = self.part();
        while alone && let Some(block) = pending.pop_front().map_or_else(&mut next, |block| Ok(Some(block)))? {
            format(block, &mut part);
            self.take(&mut part)?;
        }
        self.list_end()
    }

    /// Writes items that a part has collected.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn take_bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// One JSON document.
pub struct JsonDocument<'w> {
    out: &'w mut dyn Write,
    json: Json,
    schema: &'static str,
    depth: usize,
}

impl<'w> JsonDocument<'w> {
    /// A document with that schema.
    pub fn new(schema: &'static str, out: &'w mut dyn Write) -> Self {
        JsonDocument { out, json: Json::new(), schema, depth: 0 }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.json.buf)?;
        self.json.buf.clear();
        Ok(())
    }
}

impl Document for JsonDocument<'_> {
    type Part = JsonPart;
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        self.json.object_begin("");
        if self.depth == 0 {
            self.json.text("schema", self.schema.as_bytes());
        }
        self.depth += 1;
        head(&mut self.json);
        self.flush()
    }
    fn members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        write(&mut self.json);
        self.flush()
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        self.json.object_begin(name);
        write(&mut self.json);
        self.json.object_end();
        self.flush()
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        self.json.list_begin(name);
        self.flush()
    }
    fn part(&self) -> JsonPart {
        JsonPart::default()
    }
    fn take(&mut self, part: &mut JsonPart) -> io::Result<()> {
        let mut bytes = std::mem::take(part.bytes());
        self.take_bytes(&bytes)?;
        bytes.clear();
        *part.bytes() = bytes;
        Ok(())
    }
    fn take_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // The first byte decides about a comma; the rest is not copied again.
        self.json.append(&bytes[..1]);
        self.flush()?;
        self.out.write_all(&bytes[1..])
    }
    fn list_end(&mut self) -> io::Result<()> {
        self.json.list_end();
        self.flush()
    }
    fn end(&mut self) -> io::Result<()> {
        self.json.object_end();
        self.depth -= 1;
        if self.depth == 0 {
            self.json.end_line();
        }
        self.flush()
    }
}

/// Lines of JSON, each an object with the schema and the head of the object it belongs to.
pub struct LinesDocument<'w> {
    out: &'w mut dyn Write,
    schema: &'static str,
    head: Vec<u8>,
    section: String,
}

impl<'w> LinesDocument<'w> {
    /// Lines with that schema.
    pub fn new(schema: &'static str, out: &'w mut dyn Write) -> Self {
        LinesDocument { out, schema, head: Vec::new(), section: String::new() }
    }
}

impl Document for LinesDocument<'_> {
    type Part = LinePart;
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut json = Json::new();
        json.object_begin("");
        json.text("schema", self.schema.as_bytes());
        head(&mut json);
        self.head = json.buf;
        Ok(())
    }
    fn begin_with(
        &mut self,
        head: &mut dyn FnMut(&mut dyn Emit),
        more: &mut dyn FnMut(&mut dyn Emit),
    ) -> io::Result<()> {
        self.begin(head)?;
        self.members(more)
    }
    fn members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut json = Json::new();
        json.append(&self.head);
        write(&mut json);
        json.object_end();
        json.end_line();
        self.out.write_all(&json.buf)
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut json = Json::new();
        json.append(&self.head);
        json.text("section", name.as_bytes());
        json.object_begin(name);
        write(&mut json);
        json.object_end();
        json.object_end();
        json.end_line();
        self.out.write_all(&json.buf)
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        name.clone_into(&mut self.section);
        Ok(())
    }
    fn part(&self) -> LinePart {
        let mut json = Json::new();
        json.append(&self.head);
        json.text("section", self.section.as_bytes());
        LinePart { json: Json::new(), prefix: json.buf }
    }
    fn take(&mut self, part: &mut LinePart) -> io::Result<()> {
        self.out.write_all(part.bytes())?;
        part.bytes().clear();
        Ok(())
    }
    fn take_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }
    fn list_end(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tables.
pub struct TableDocument<'w> {
    out: &'w mut dyn Write,
    style: Style,
}

impl<'w> TableDocument<'w> {
    /// Tables in that style.
    pub fn new(style: Style, out: &'w mut dyn Write) -> Self {
        TableDocument { out, style }
    }

    fn print_members(&mut self, row: &Row) -> io::Result<()> {
        let mut table = Table::members(self.style);
        for (name, (text, _)) in row.names().iter().zip(row.cells()) {
            let name = self.style.cell(Paint::Dim, name);
            table.cells([(name.as_str(), Kind::Text), (text, Kind::Long)].into_iter(), self.out)?;
        }
        table.flush(self.out)
    }
}

impl Document for TableDocument<'_> {
    type Part = TablePart;
    // The message on stderr says it all.
    fn failed(&mut self, _: &Path, _: &dyn Display) -> io::Result<()> {
        Ok(())
    }
    const PARALLEL: bool = false;
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut row = Row::default();
        head(&mut row);
        let line: Vec<String> = row
            .names()
            .iter()
            .zip(row.cells())
            .map(|(name, (text, _))| match name.as_str() {
                "path" | "kind" => text.to_owned(),
                _ => format!("{name} {text}"),
            })
            .collect();
        if line.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "{}", self.style.heading(&line.join("  ")))
    }
    fn members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut row = Row::default();
        write(&mut row);
        self.print_members(&row)
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut row = Row::default();
        write(&mut row);
        writeln!(self.out, "{}", self.style.heading(name))?;
        self.print_members(&row)
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        if name.is_empty() { Ok(()) } else { writeln!(self.out, "{}", self.style.heading(name)) }
    }
    fn part(&self) -> TablePart {
        TablePart { style: self.style, ..TablePart::default() }
    }
    fn take(&mut self, part: &mut TablePart) -> io::Result<()> {
        self.out.write_all(part.bytes())?;
        part.bytes().clear();
        Ok(())
    }
    fn take_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }
    fn list_end(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }
}

/// Runs `$body` with `$doc` being a document of the wanted format.
#[macro_export]
macro_rules! with_document {
    ($format:expr, $schema:expr, $style:expr, $out:expr, |$doc:ident| $body:expr) => {
        match $format {
            $crate::render::Format::Table => {
                let mut document = $crate::render::document::TableDocument::new($style, $out);
                let $doc = &mut document;
                $body
            }
            $crate::render::Format::Json => {
                let mut document = $crate::render::document::JsonDocument::new($schema, $out);
                let $doc = &mut document;
                $body
            }
            $crate::render::Format::Ndjson => {
                let mut document = $crate::render::document::LinesDocument::new($schema, $out);
                let $doc = &mut document;
                $body
            }
        }
    };
}

/// Writes the member `errors`: what could not be read, and why.
pub fn emit_errors<'e>(json: &mut Json, errors: impl Iterator<Item = (&'e Path, &'e str)>) {
    json.list_begin("errors");
    for (path, error) in errors {
        json.object_begin("");
        json.text("path", path.as_os_str().as_bytes());
        json.text("error", error.as_bytes());
        json.object_end();
    }
    json.list_end();
}

/// True when the format has one document even if there are several results.
pub const fn is_single(format: Format) -> bool {
    matches!(format, Format::Json)
}
