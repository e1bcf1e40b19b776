//! An index and two logs replayed. The input holds the three files, each with its length in front.

#![no_main]

use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::model::replay::Until;
use idx::model::{Chain, ChainFile, Mailbox};
use libfuzzer_sys::fuzz_target;

fn split(data: &mut &[u8]) -> Vec<u8> {
    let Some((head, rest)) = data.split_at_checked(4) else { return Vec::new() };
    let len = u32::from_le_bytes(head.try_into().unwrap_or_default()) as usize;
    let (file, rest) = rest.split_at(len.min(rest.len()));
    *data = rest;
    file.to_vec()
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (index, old, new) = (split(&mut data), split(&mut data), split(&mut data));
    let logs = [&new, &old];
    let chain = Chain::new(logs.into_iter().filter_map(|bytes| {
        LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| ChainFile::new(log, bytes))
    }));
    let base = match IndexFile::parse(&index) {
        Ok(index) => Mailbox::load(&index),
        Err(_) => chain.empty_mailbox(),
    };
    let Ok(whole) = chain.replay(base.clone(), Until::End) else { return };
    let encoded = whole.mailbox.encode();
    assert!(encoded.len() < (64 << 20) + 8 * (index.len() + old.len() + new.len()));
    assert!(whole.mailbox.len() <= whole.mailbox.physical_len());
    for i in whole.mailbox.positions() {
        let _ = (whole.message_modseq(i), whole.mailbox.keyword_ids(i).count());
    }
});
