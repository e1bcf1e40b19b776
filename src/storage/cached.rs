//! What the cache says of the sizes of messages. The server believes it before it looks at a file (`index-mail.c`).

use std::collections::HashMap;

use crate::format::cache::{Cache, CacheValue};
use crate::model::Mailbox;

/// Sizes that are believed of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Believed {
    /// By UID: `size.physical` and `size.virtual`, bytes.
    sizes: HashMap<u32, (Option<u64>, Option<u64>)>,
}

impl Believed {
    /// Reads the sizes out of a cache, by the links of the index; nothing when the cache is not that of the index.
    pub(super) fn read(mailbox: &Mailbox, cache: &[u8]) -> Believed {
        Believed { sizes: sizes(mailbox, cache).unwrap_or_default() }
    }

    /// `size.physical` of a message: the bytes of its file.
    pub fn physical(&self, uid: u32) -> Option<u64> {
        self.sizes.get(&uid)?.0
    }

    /// `size.virtual` of a message: its bytes with CRLF line ends.
    pub fn with_crlf(&self, uid: u32) -> Option<u64> {
        self.sizes.get(&uid)?.1
    }
}

fn sizes(mailbox: &Mailbox, bytes: &[u8]) -> Option<HashMap<u32, (Option<u64>, Option<u64>)>> {
    let ext = mailbox.extension(b"cache")?;
    let cache = Cache::parse(bytes, Some(mailbox.header.indexid)).ok()?;
    if ext.reset_id != cache.header.file_seq || !cache.problems.is_empty() {
        return None;
    }
    let number = |name: &[u8]| {
        let at = cache.fields.iter().position(|field| field.name == name)?;
        u32::try_from(at).ok()
    };
    let (physical, with_crlf) = (number(b"size.physical"), number(b"size.virtual"));
    if physical.is_none() && with_crlf.is_none() {
        return None;
    }
    let mut sizes = HashMap::new();
    for (i, offset) in mailbox.cache_links() {
        let mut found = (None, None);
        for record in cache.chain(offset).map_while(Result::ok) {
            for field in cache.fields(&record).map_while(Result::ok) {
                let slot = match Some(field.index) {
                    index if index == physical => &mut found.0,
                    index if index == with_crlf => &mut found.1,
                    _ => continue,
                };
                if let CacheValue::Size(size) = cache.value(&field) {
                    // The newest record comes first, and counts.
                    slot.get_or_insert(size);
                }
            }
        }
        if found != (None, None) {
            sizes.insert(mailbox.uid(i), found);
        }
    }
    Some(sizes)
}
