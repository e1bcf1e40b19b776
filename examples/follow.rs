//! Follows a log: `cargo run --example follow -- ~/Maildir/dovecot.index.log [SECONDS]` prints the records that are there and,
//! for so many seconds (none by default), those that are written from now on.

use std::time::{Duration, Instant};

use idx::source::{LogStream, StreamStep};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().ok_or("usage: follow LOG [SECONDS]")?;
    let seconds = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut log = LogStream::open(path.as_ref())?;
    loop {
        while let StreamStep::Record(record) = log.step()? {
            let name = record.kind().map_or("unknown", |kind| kind.name());
            println!("{}:{} {name}, {} bytes", record.offset, record.size, record.payload.len());
        }
        if Instant::now() >= until {
            return Ok(());
        }
        // A reader of Dovecot's logs may sleep: what is appended stays.
        std::thread::sleep(Duration::from_millis(200));
        log.refresh()?;
    }
}
