//! Standard output. The first JSON object of a run says which idx wrote it, where, when, and about what.

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::format::ext::Visit;
use crate::render::Json;

/// Bytes that the schema at the head of an object fits into.
const HEAD: usize = 64;

/// Paths that are named; the others are counted.
const GIVEN: usize = 1000;

/// Standard output without the look for the end of a line in all that is written: what comes here is collected already.
struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(io::stdout(), bytes) {
            // Whoever has closed it wants to see nothing; so it is with the standard library.
            Err(Errno::BADF) => Ok(bytes.len()),
            done => Ok(done?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output of a run.
pub struct Out {
    inner: BufWriter<Unbuffered>,
    /// The members to add behind the schema, until they are.
    stamp: Option<Vec<u8>>,
    head: Vec<u8>,
    /// Bytes written so far.
    pub written: u64,
}

impl Out {
    /// Standard output as it is.
    pub fn new() -> Out {
        Out { inner: BufWriter::with_capacity(64 << 10, Unbuffered), stamp: None, head: Vec::new(), written: 0 }
    }

    /// Names the paths that were read from standard input in place of the `-` that stood for them.
    pub fn given(&mut self, paths: &[PathBuf]) {
        if self.stamp.is_some() {
            self.stamp(paths);
        }
    }

    /// Adds to the first object the version of idx, the host, the time, and the paths as they were given.
    pub fn stamp(&mut self, given: &[PathBuf]) {
        let mut json = Json::new();
        json.text("idx", env!("CARGO_PKG_VERSION").as_bytes());
        json.text("host", rustix::system::uname().nodename().to_bytes());
        let now = jiff::Timestamp::now();
        let now = now.round(jiff::Unit::Second).unwrap_or(now);
        json.text("at", now.to_string().as_bytes());
        json.list_begin("given");
        given.iter().take(GIVEN).for_each(|path| json.text("", path.as_os_str().as_bytes()));
        json.list_end();
        if given.len() > GIVEN {
            json.number("given_more", (given.len() - GIVEN) as u64);
        }
        self.stamp = Some(json.buf);
    }

    /// Gives up what has not been written.
    pub fn forget(&mut self) {
        self.head.clear();
        self.stamp = None;
        let (_, _) = std::mem::replace(&mut self.inner, BufWriter::new(Unbuffered)).into_parts();
    }

    fn open_head(&mut self) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        self.stamp = None;
        self.inner.write_all(&head)
    }
}

/// Where the value of a first member `schema` ends; `None` when that cannot be said yet.
fn end_of_schema(head: &[u8]) -> Option<usize> {
    let rest = head.strip_prefix(b"{\"schema\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(head.len() - rest.len() + end + 1)
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        let Some(stamp) = &self.stamp else { return self.inner.write(bytes) };
        self.head.extend_from_slice(bytes);
        if let Some(at) = end_of_schema(&self.head) {
            let (before, after) = self.head.split_at(at);
            self.inner.write_all(before)?;
            self.inner.write_all(b",")?;
            self.inner.write_all(stamp)?;
            self.inner.write_all(after)?;
            self.head.clear();
            self.stamp = None;
        } else if self.head.len() > HEAD {
            self.open_head()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is not known to be an object yet waits on.
        if self.stamp.is_none() {
            self.inner.flush()?;
        }
        Ok(())
    }
}

impl Out {
    /// Writes everything: nothing more will come.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn finish(&mut self) -> io::Result<()> {
        self.open_head()?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_ends_at_its_quote() {
        assert_eq!(end_of_schema(b"{\"schema\":\"idx.show/1\",\"path\""), Some(22));
        assert_eq!(end_of_schema(b"{\"schema\":\"idx.sho"), None);
        assert_eq!(end_of_schema(b"#compdef idx"), None);
    }
}
