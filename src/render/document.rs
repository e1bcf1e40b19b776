//! Long results, written as they come: a document is a few members and lists of items, in JSON, in lines of JSON, or as
//! tables. Items can be formatted by several threads; they come out in order.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Emit, Format, Json, Row, Style, Take};
use crate::format::ext::Visit;

/// Bytes collected before they are written.
const FLUSH: usize = 128 << 10;
/// Bytes that a lane collects: what a block becomes, as a rule.
const ENOUGH: usize = 2 << 20;

/// Takes the items of one list, and passes them on as they become many. Each thread has its own.
pub trait Part {
    /// True where each item is a line, so that others may stand between them.
    const IN_LINES: bool = false;
    /// What an item is written to.
    type Out: Emit;
    /// Writes one item, an object: `write` emits its members.
    ///
    /// # Errors
    /// When the output could not be written to.
    fn item(&mut self, write: impl FnOnce(&mut Self::Out)) -> io::Result<()>;
    /// Writes one item that is a plain value, emitted by `write` without a name.
    ///
    /// # Errors
    /// When the output could not be written to.
    fn value(&mut self, write: impl FnOnce(&mut Self::Out)) -> io::Result<()>;
    /// Shows bytes that have no meaning, for people; `offset` is that of the first one in the file. Other formats have
    /// them as hex in an item.
    ///
    /// # Errors
    /// When the output could not be written to.
    fn plain(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _ = (offset, bytes);
        Ok(())
    }
    /// Passes on what has been written: the next item is the first of others.
    ///
    /// # Errors
    /// When the output could not be written to.
    fn finish(&mut self) -> io::Result<()>;
    /// Has all that has been written be seen.
    ///
    /// # Errors
    /// When the output could not be written to.
    fn flush(&mut self) -> io::Result<()>;
}

/// Items of a JSON array.
pub struct JsonPart<'p> {
    json: Json<'p>,
}

impl<'p> Part for JsonPart<'p> {
    type Out = Json<'p>;
    #[inline]
    fn item(&mut self, write: impl FnOnce(&mut Json<'p>)) -> io::Result<()> {
        self.json.object_begin("");
        write(&mut self.json);
        self.json.object_end();
        self.json.flush_some()
    }
    fn value(&mut self, write: impl FnOnce(&mut Json<'p>)) -> io::Result<()> {
        write(&mut self.json);
        self.json.flush_some()
    }
    fn finish(&mut self) -> io::Result<()> {
        self.json.start();
        self.json.flush()
    }
    fn flush(&mut self) -> io::Result<()> {
        self.json.flush_all()
    }
}

/// Items as lines of JSON.
pub struct LinePart<'p> {
    json: Json<'p>,
    prefix: Vec<u8>,
}

impl<'p> Part for LinePart<'p> {
    const IN_LINES: bool = true;
    type Out = Json<'p>;
    #[inline]
    fn item(&mut self, write: impl FnOnce(&mut Json<'p>)) -> io::Result<()> {
        self.json.start();
        self.json.append(&self.prefix);
        write(&mut self.json);
        self.json.object_end();
        self.json.end_line();
        self.json.flush_some()
    }
    fn value(&mut self, write: impl FnOnce(&mut Json<'p>)) -> io::Result<()> {
        self.item(|json| {
            json.list_begin("values");
            write(json);
            json.list_end();
        })
    }
    fn finish(&mut self) -> io::Result<()> {
        self.json.flush()
    }
    fn flush(&mut self) -> io::Result<()> {
        self.json.flush_all()
    }
}

/// Items as rows of a table.
pub struct TablePart<'p> {
    row: Row<'p>,
}

impl<'p> Part for TablePart<'p> {
    type Out = Row<'p>;
    fn item(&mut self, write: impl FnOnce(&mut Row<'p>)) -> io::Result<()> {
        write(&mut self.row);
        self.row.end_row();
        self.row.outcome()
    }
    fn value(&mut self, write: impl FnOnce(&mut Row<'p>)) -> io::Result<()> {
        self.row.value(write);
        self.row.outcome()
    }
    fn plain(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.row.plain(offset, bytes);
        self.row.outcome()
    }
    fn finish(&mut self) -> io::Result<()> {
        self.row.finish()
    }
    fn flush(&mut self) -> io::Result<()> {
        self.row.flush()
    }
}

/// What a lane of [`Document::list_in_blocks`] has written: pieces of a block, then the end of it.
type Piece = Option<Vec<u8>>;

/// The end of a lane that pieces go into.
struct Lane {
    done: SyncSender<Piece>,
    spare: Receiver<Vec<u8>>,
}

impl Take for Lane {
    fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let fresh = self.spare.try_recv().unwrap_or_default();
        self.done.send(Some(std::mem::replace(bytes, fresh))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A result in the making.
pub trait Document {
    /// Takes the items of a list.
    type Part<'p>: Part;
    /// True where each item is a line, so that others may stand between them.
    const IN_LINES: bool = false;
    /// What a part has to know.
    type Seed: Send + Sync;
    /// True for what people read, where a hex dump says more than digits, and nothing needs no heading. Only one part
    /// works on a list, for a table's heading belongs to one.
    const FOR_PEOPLE: bool = false;

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
    /// What a taker of items for the list that was begun has to know.
    fn seed(&self) -> Self::Seed;
    /// A taker of items, which passes them on each time when it has `enough` bytes.
    fn part<'p>(seed: &Self::Seed, to: &'p mut dyn Take, enough: usize) -> Self::Part<'p>;
    /// Where everything goes.
    fn out(&mut self) -> &mut dyn Write;
    /// Writes what stands between the items of two parts.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn between(&mut self) -> io::Result<()> {
        Ok(())
    }
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

    /// The member `errors`: what could not be read, and why.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn errors<'e>(&mut self, errors: impl Iterator<Item = (&'e Path, String)>) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list("errors", |part| {
            for (path, error) in errors {
                part.item(|emit| {
                    emit.text("path", path.as_os_str().as_bytes());
                    emit.text("error", error.as_bytes());
                })?;
            }
            Ok(())
        })
    }

    /// A member that is a list, written by `fill` on this thread.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self::Part<'_>) -> io::Result<()>) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list_begin(name)?;
        let seed = self.seed();
        let mut to = self.out();
        let mut part = Self::part(&seed, &mut to, FLUSH);
        fill(&mut part)?;
        part.finish()?;
        drop(part);
        self.list_end()
    }

    /// The list that the whole report is about: its lines need not say so.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn stream(&mut self, name: &str, fill: impl FnOnce(&mut Self::Part<'_>) -> io::Result<()>) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list(if Self::IN_LINES { "" } else { name }, fill)
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
        format: impl Fn(B, &mut Self::Part<'_>) -> io::Result<()> + Sync,
    ) -> io::Result<()>
    where
        Self: Sized,
    {
        self.list_begin(name)?;
        let workers =
            if Self::FOR_PEOPLE { 1 } else { std::thread::available_parallelism().map_or(1, usize::from).min(4) };
        let first = next()?;
        let second = if first.is_some() && workers > 1 { next()? } else { None };
        let mut pending = [first, second].into_iter().flatten().collect::<std::collections::VecDeque<_>>();
        // One block is not worth a thread.
        let workers = if pending.len() > 1 { workers } else { 0 };
        let (format, seed) = (&format, &self.seed());
        let alone = std::thread::scope(|scope| -> io::Result<bool> {
            let mut lanes = Vec::new();
            for _ in 0..workers {
                let (to, blocks) = sync_channel::<B>(1);
                let (done, from) = sync_channel::<Piece>(4);
                let (back, spare) = std::sync::mpsc::channel::<Vec<u8>>();
                let lane = move || {
                    let ended = done.clone();
                    let mut to = Lane { done, spare };
                    let mut part = Self::part(seed, &mut to, ENOUGH);
                    for block in blocks {
                        // Who does not want it any more has gone.
                        let written = format(block, &mut part).and_then(|()| part.finish());
                        if written.is_err() || ended.send(None).is_err() {
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
                    let mut first = true;
                    while let Ok(Some(mut bytes)) = from.recv() {
                        if std::mem::take(&mut first) {
                            self.between()?;
                        }
                        self.out().write_all(&bytes)?;
                        bytes.clear();
                        let _ = back.send(bytes);
                    }
                    written += 1;
                }
                if !more {
                    break;
                }
            }
            Ok(false)
        })?;
        // Without threads, which the system may refuse, this one does it all.
        if alone {
            let mut to = self.out();
            let mut part = Self::part(seed, &mut to, FLUSH);
            while let Some(block) = pending.pop_front().map_or_else(&mut next, |block| Ok(Some(block)))? {
                format(block, &mut part)?;
            }
            part.finish()?;
        }
        self.list_end()
    }
}

/// One JSON document.
pub struct JsonDocument<'w> {
    out: &'w mut dyn Write,
    schema: &'static str,
    depth: usize,
    /// A value stands before the next one.
    comma: bool,
    spare: Vec<u8>,
}

impl<'w> JsonDocument<'w> {
    /// A document with that schema.
    pub fn new(schema: &'static str, out: &'w mut dyn Write) -> Self {
        JsonDocument { out, schema, depth: 0, comma: false, spare: Vec::new() }
    }

    fn write(&mut self, write: impl FnOnce(&mut Json<'_>)) -> io::Result<()> {
        let mut to: &mut dyn Write = &mut *self.out;
        let mut json = Json::to(&mut to, FLUSH);
        std::mem::swap(&mut json.buf, &mut self.spare);
        json.comma = self.comma;
        write(&mut json);
        json.flush()?;
        self.comma = json.comma;
        self.spare = json.buf;
        Ok(())
    }
}

impl Document for JsonDocument<'_> {
    type Part<'p> = JsonPart<'p>;
    type Seed = ();
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let schema = (self.depth == 0).then_some(self.schema);
        self.depth += 1;
        self.write(|json| {
            json.object_begin("");
            if let Some(schema) = schema {
                json.text("schema", schema.as_bytes());
            }
            head(json);
        })
    }
    fn members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        self.write(|json| write(json))
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        self.write(|json| {
            json.object_begin(name);
            write(json);
            json.object_end();
        })
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        self.write(|json| json.list_begin(name))
    }
    fn seed(&self) {}
    fn part<'p>((): &(), to: &'p mut dyn Take, enough: usize) -> JsonPart<'p> {
        JsonPart { json: Json::to(to, enough) }
    }
    fn out(&mut self) -> &mut dyn Write {
        self.out
    }
    fn between(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.comma, true) { self.out.write_all(b",") } else { Ok(()) }
    }
    fn list_end(&mut self) -> io::Result<()> {
        self.write(|json| json.list_end())
    }
    fn end(&mut self) -> io::Result<()> {
        self.depth -= 1;
        let is_last = self.depth == 0;
        self.write(|json| {
            json.object_end();
            if is_last {
                json.end_line();
            }
        })
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

impl LinesDocument<'_> {
    fn line(&mut self, write: impl FnOnce(&mut Json<'_>)) -> io::Result<()> {
        let mut to: &mut dyn Write = &mut *self.out;
        let mut json = Json::to(&mut to, FLUSH);
        json.append(&self.head);
        write(&mut json);
        json.object_end();
        json.end_line();
        json.flush()
    }
}

impl Document for LinesDocument<'_> {
    type Part<'p> = LinePart<'p>;
    const IN_LINES: bool = true;
    /// What each line begins with.
    type Seed = Vec<u8>;
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
        self.line(|json| write(json))
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        self.line(|json| {
            json.text("section", name.as_bytes());
            json.object_begin(name);
            write(json);
            json.object_end();
        })
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        name.clone_into(&mut self.section);
        Ok(())
    }
    fn seed(&self) -> Vec<u8> {
        let mut json = Json::new();
        json.append(&self.head);
        if !self.section.is_empty() {
            json.text("section", self.section.as_bytes());
        }
        json.buf
    }
    fn part<'p>(prefix: &Vec<u8>, to: &'p mut dyn Take, enough: usize) -> LinePart<'p> {
        LinePart { json: Json::to(to, enough), prefix: prefix.clone() }
    }
    fn out(&mut self) -> &mut dyn Write {
        self.out
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

    fn print_members(&mut self, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut to: &mut dyn Write = &mut *self.out;
        let mut row = Row::members(self.style, &mut to);
        write(&mut row);
        row.end_row();
        row.finish()
    }
}

impl Document for TableDocument<'_> {
    type Part<'p> = TablePart<'p>;
    type Seed = Style;
    const FOR_PEOPLE: bool = true;
    // The message on stderr says it all.
    fn failed(&mut self, _: &Path, _: &dyn Display) -> io::Result<()> {
        Ok(())
    }
    fn begin(&mut self, head: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        let mut row = Row::default();
        head(&mut row);
        let line: Vec<String> = row
            .named()
            .map(|(name, text)| match name {
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
        self.print_members(write)
    }
    fn object(&mut self, name: &str, write: &mut dyn FnMut(&mut dyn Emit)) -> io::Result<()> {
        writeln!(self.out, "{}", self.style.heading(name))?;
        self.print_members(write)
    }
    fn list_begin(&mut self, name: &str) -> io::Result<()> {
        if name.is_empty() { Ok(()) } else { writeln!(self.out, "{}", self.style.heading(name)) }
    }
    fn seed(&self) -> Style {
        self.style
    }
    fn part<'p>(style: &Style, to: &'p mut dyn Take, _: usize) -> TablePart<'p> {
        TablePart { row: Row::lines(*style, to) }
    }
    fn out(&mut self) -> &mut dyn Write {
        self.out
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
pub fn emit_errors<'e>(json: &mut Json<'_>, errors: impl Iterator<Item = (&'e Path, &'e str)>) {
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
