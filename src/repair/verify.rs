//! The result of a rebuild, decoded and judged before anything of it is written.

use super::heal::index::{Hints, mend};
use super::survey::Survey;
use crate::format::index::IndexFile;
use crate::model::Chain;

/// Decodes the result and holds it against every rule again.
pub fn verify(index: &[u8], new_log: Option<&[u8]>, head: Option<&Survey<'_>>, indexid: u32) -> Result<(), String> {
    let view = IndexFile::parse(index).map_err(|error| error.to_string())?;
    if let Some(problem) = view.problems.first() {
        return Err(problem.to_string());
    }
    let mended = mend(index, &Hints { indexid, ..Hints::default() }).ok_or("it cannot be read")?;
    if let Some(flaw) = mended.flaws.first() {
        return Err(flaw.clone());
    }
    if mended.mailbox.encode() != index {
        return Err("it does not decode to itself".into());
    }
    let header = &view.header;
    let chain = match (new_log, head) {
        (Some(bytes), _) => {
            let log =
                crate::format::log::LogFile::parse(bytes, bytes.len() as u64).map_err(|error| error.to_string())?;
            Chain::new([crate::model::ChainFile::new(log, bytes)])
        }
        (None, Some(head)) => Chain::new([head.file()]),
        (None, None) => return Err("there is no log".into()),
    };
    let start =
        chain.start(header.log_file_seq, u64::from(header.log_file_head_offset)).map_err(|lost| lost.to_string())?;
    if start.reset && view.count() > 0 {
        return Err("the log would wipe it".into());
    }
    let (tail, top) = (header.log_file_tail_offset, header.log_file_head_offset);
    if tail > top {
        return Err(format!("tail {tail} is past head {top}"));
    }
    Ok(())
}
