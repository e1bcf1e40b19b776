//! `dovecot.mailbox.log` (`mailbox-log.h`): what happened to mailboxes as such, for dsync. 24-byte records without a
//! header; the same in files of both byte orders.

use super::FileKind;
use super::disk::{Disk, disk_struct};
use super::endian::Endian;
use super::flaw::{Flaw, FlawKind};

disk_struct! {
    /// `struct mailbox_log_record`.
    pub struct MailboxLogRecord, 24 {
        0 => record_type: u8, "enum mailbox_log_record_type, 1 to 6";
        1 => padding: [u8; 3], "0";
        4 => mailbox_guid: [u8; 16], "GUID of the mailbox; a digest of the name for directories and subscriptions";
        20 => timestamp: [u8; 4], "when it happened, UNIX time, big-endian";
    }
}

impl MailboxLogRecord {
    /// The type as `doveadm dump` prints it; `None` for a number without a meaning.
    pub const fn type_name(&self) -> Option<&'static str> {
        Some(match self.record_type {
            1 => "delete-mailbox",
            2 => "delete-dir",
            3 => "rename",
            4 => "subscribe",
            5 => "unsubscribe",
            6 => "create-dir",
            _ => return None,
        })
    }

    /// When it happened, UNIX time.
    pub const fn time(&self) -> u32 {
        u32::from_be_bytes(self.timestamp)
    }
}

/// The records, each with its offset in bytes. Records of an unknown type are passed on as they are; a piece of a
/// record at the end is an error, which comes last.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, MailboxLogRecord), Flaw>> {
    (0u64..).step_by(MailboxLogRecord::SIZE).zip(bytes.chunks(MailboxLogRecord::SIZE)).map(|(at, raw)| {
        if raw.len() < MailboxLogRecord::SIZE {
            return Err(Flaw::new(
                FileKind::MailboxLog,
                at,
                FlawKind::MailboxLogCut,
                "24 bytes",
                format!("{} before the end of the file", raw.len()),
            ));
        }
        Ok((at, MailboxLogRecord::read(raw, Endian::Big)))
    })
}

/// What no Dovecot writes in a record at `at`: an unknown type, or padding that is not zero.
pub fn problem(at: u64, record: &MailboxLogRecord) -> Option<Flaw> {
    let error = |at, kind, need: &'static str, have| Some(Flaw::new(FileKind::MailboxLog, at, kind, need, have));
    if record.type_name().is_none() {
        return error(at, FlawKind::MailboxLogType, "1 to 6", record.record_type.to_string());
    }
    if record.padding != [0; 3] {
        return error(at.saturating_add(1), FlawKind::MailboxLogPadding, "0", format!("{:?}", record.padding));
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::ext::testing::unhex;
    use super::*;

    /// The first record of 2.3.19.1/mbox/list, for which doveadm dump prints
    /// `#0: subscribe 22a31d86e0187b65e763143666d22094 (2026-11-23 04:35:22)`.
    const REAL: &str = "04000000 22a31d86e0187b65e763143666d22094 6b03c28a";

    #[test]
    fn real_record() {
        let bytes = unhex(REAL);
        let found: Vec<_> = records(&bytes).map(Result::unwrap).collect();
        let [(0, record)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((record.type_name(), record.time()), (Some("subscribe"), 1_795_408_522));
        assert_eq!(record.mailbox_guid.to_vec(), unhex("22a31d86e0187b65e763143666d22094"));
        assert!(problem(0, record).is_none());
    }

    #[test]
    fn damage() {
        let mut bytes = [unhex(REAL), unhex(REAL)].concat();
        bytes[24] = 9;
        bytes[1] = 1;
        let found: Vec<_> = records(&bytes[..47]).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(problem(0, &found[0].as_ref().unwrap().1).unwrap().at, 1);
        assert_eq!(found[1].as_ref().unwrap_err().at, 24);
        let (at, record) = records(&bytes).last().unwrap().unwrap();
        assert_eq!((record.type_name(), problem(at, &record).unwrap().at), (None, 24));
        assert!(records(&[]).next().is_none());
    }
}
