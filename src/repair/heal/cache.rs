//! Whether a cache goes with a mailbox, and the links of the messages into it.

use crate::format::Disk;
use crate::format::cache::{Cache, CacheHeader};
use crate::model::Mailbox;

pub fn cache_links(mailbox: &Mailbox) -> u64 {
    mailbox.cache_links().count() as u64
}

pub fn clear_cache_links(mailbox: &mut Mailbox) {
    let Some(range) = mailbox.extension(b"cache").map(crate::model::Extension::range) else { return };
    for i in 0..mailbox.physical_len() {
        if let Some(bytes) = mailbox.record_mut(i).get_mut(range.clone()) {
            bytes.fill(0);
        }
    }
}

/// Why a cache does not go with a mailbox: Dovecot would delete it, most often with a word in its log.
pub fn foreign_cache(bytes: &[u8], mailbox: &Mailbox, indexid: u32) -> Option<String> {
    if bytes.len() < CacheHeader::SIZE {
        return Some(format!("the cache is only {} bytes long", bytes.len()));
    }
    // A cache does not tell its byte order; it is the one in which its numbers make sense.
    let cache = Cache::parse(bytes, Some(indexid));
    let header = match &cache {
        Ok(cache) => cache.header.clone(),
        Err(_) => CacheHeader::read(bytes, mailbox.endian),
    };
    if (header.major_version, header.compat_sizeof_uoff_t) != (1, 8) {
        return Some("the cache has no header that Dovecot would read".into());
    }
    if header.indexid != indexid {
        return Some(format!("the cache has indexid {}, the mailbox {indexid}", header.indexid));
    }
    if header.file_seq == 0 {
        return Some("the cache is marked corrupted".into());
    }
    let ext = mailbox.extension(b"cache")?;
    if ext.reset_id != 0 && ext.reset_id != header.file_seq {
        return Some(format!("the cache has file_seq {}, the index expects {}", header.file_seq, ext.reset_id));
    }
    match cache {
        Ok(cache) if cache.endian != mailbox.endian => Some("the cache is in the other byte order".into()),
        Ok(_) => None,
        Err(error) => Some(format!("the cache is damaged: {error}")),
    }
}
