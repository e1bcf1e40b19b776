//! Reads a mailbox: `cargo run --example read -- ~/Maildir`. The logs are replayed onto the index, as Dovecot does it.

use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::model::{Chain, ChainFile, Mailbox, Until};
use idx::source::{MailboxFiles, MmapPolicy, Role};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: read MAILBOX")?;
    let files = MailboxFiles::locate(path.as_ref())?.read(&Role::ALL, MmapPolicy::Never)?;
    let logs = [Role::Log, Role::OldLog].into_iter().filter_map(|role| files.get(role));
    let parse = |bytes| LogFile::parse(bytes, bytes.len() as u64).map(|log| ChainFile::new(log, bytes)).ok();
    let chain = Chain::new(logs.filter_map(|file| parse(&file.bytes)));
    let base = match files.get(Role::Index) {
        Some(index) => Mailbox::load(&IndexFile::parse(&index.bytes)?),
        None => chain.empty_mailbox(),
    };
    let replayed = chain.replay(base, Until::End)?;
    let mailbox = &replayed.mailbox;
    let header = &mailbox.header;
    println!("{} messages, UIDVALIDITY {}, next UID {}", mailbox.len(), header.uid_validity, header.next_uid);
    for i in mailbox.positions() {
        let keywords = mailbox.keyword_ids(i).map(|id| String::from_utf8_lossy(&mailbox.keywords()[id]));
        let keywords = keywords.collect::<Vec<_>>().join(" ");
        println!("UID {} flags {:#04x} {keywords}", mailbox.uid(i), mailbox.flags(i));
    }
    Ok(())
}
