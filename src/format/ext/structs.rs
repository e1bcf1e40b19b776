//! The on-disk structs of extensions, and Dovecot's rules for an extension header.

use super::super::disk::disk_struct;

disk_struct! {
    /// `struct mail_index_ext_header`: 16 bytes, then the name, both padded to 8, then `hdr_size` bytes of header data.
    pub struct ExtHeader, 16 {
        0 => hdr_size: u32, "size of the extension's header data in bytes, without padding";
        4 => reset_id: u32, "changes when all data of the extension became void; for cache the cache's file_seq";
        8 => record_offset: u16, "where the extension's data begins in each record, in bytes; 0 without record data";
        10 => record_size: u16, "bytes of data in each record";
        12 => record_align: u16, "alignment of the data within the record, in bytes";
        14 => name_size: u16, "length of the name that follows, in bytes, without NUL";
    }
}

disk_struct! {
    /// Header of `modseq` (`mail-index-modseq.h`).
    pub struct ModseqHeader, 16 {
        0 => highest_modseq: u64, "highest modseq used so far";
        8 => log_seq: u32, "log file up to which the values are complete";
        12 => log_offset: u32, "offset in that log, in bytes";
    }
}

disk_struct! {
    /// Header of `hdr-vsize`, and record of `vsize` in a list index (`struct mailbox_index_vsize`).
    pub struct VsizeHeader, 16 {
        0 => vsize: u64, "sum of the virtual sizes, in bytes";
        8 => highest_uid: u32, "last UID counted";
        12 => message_count: u32, "messages counted";
    }
}

disk_struct! {
    /// Header of `maildir` in a mailbox index (`maildir-storage.h`).
    pub struct MaildirHeader, 36 {
        0 => new_check_time: u32 as time, "when new/ was last scanned, UNIX time";
        4 => new_mtime: u32 as time, "mtime of new/ then";
        8 => new_mtime_nsecs: u32, "its nanoseconds";
        12 => cur_check_time: u32 as time, "when cur/ was last scanned, UNIX time";
        16 => cur_mtime: u32 as time, "mtime of cur/ then";
        20 => cur_mtime_nsecs: u32, "its nanoseconds";
        24 => uidlist_mtime: u32 as time, "mtime of dovecot-uidlist when last read";
        28 => uidlist_mtime_nsecs: u32, "its nanoseconds";
        32 => uidlist_size: u32, "its size in bytes";
    }
}

disk_struct! {
    /// Header of `mbox` in a mailbox index (`mbox-storage.h`); 16 bytes before 2.0.
    pub struct MboxHeader, 32 {
        0 => sync_size: u64, "size of the mbox file at the last sync, in bytes";
        8 => sync_mtime: u32 as time, "its mtime";
        12 => dirty_flag: u8, "1 when flags have not been written to the mbox yet";
        13 => unused: [u8; 3], "padding";
        16 => mailbox_guid: [u8; 16], "GUID of the mailbox";
    }
}

disk_struct! {
    /// Header of `dbox-hdr` of sdbox (`sdbox-storage.h`); 20 bytes without flags before 2.1.
    pub struct SdboxHeader, 24 {
        0 => rebuild_count: u32, "how often the index was rebuilt";
        4 => mailbox_guid: [u8; 16], "GUID of the mailbox";
        20 => flags: u8, "0x01 HAVE_POP3_UIDLS, 0x02 HAVE_POP3_ORDERS";
        21 => unused: [u8; 3], "padding";
    }
}

disk_struct! {
    /// Header of `dbox-hdr` of the dbox of 1.1 and 1.2 (`struct dbox_index_header`).
    pub struct DboxHeader, 4 {
        0 => last_dirty_flush_stamp: u32, "when flags were last written to the message files, UNIX time";
    }
}

disk_struct! {
    /// Header of `mdbox-hdr` (`mdbox-storage.h`).
    pub struct MdboxHeader, 24 {
        0 => map_uid_validity: u32, "uid_validity of the map index that map_uid refers to";
        4 => mailbox_guid: [u8; 16], "GUID of the mailbox";
        20 => flags: u8, "0x01 HAVE_POP3_UIDLS, 0x02 HAVE_POP3_ORDERS";
        21 => unused: [u8; 3], "padding";
    }
}

disk_struct! {
    /// Header of `map` in `dovecot.map.index` (`mdbox-map.h`).
    pub struct MapHeader, 8 {
        0 => highest_file_id: u32, "highest m.N number given so far";
        4 => rebuild_count: u32, "how often the storage was rebuilt";
    }
}

disk_struct! {
    /// Header of `mobox-hdr`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxHeader, 28 {
        0 => rebuild_count: u32, "how often the index was rebuilt";
        4 => map_uid_validity: u32, "uid_validity of the map index";
        8 => unused: [u8; 4], "padding";
        12 => mailbox_guid: [u8; 16], "GUID of the mailbox";
    }
}

disk_struct! {
    /// Header of `mobox-map`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxMapHeader, 4 {
        0 => rebuild_count: u32, "how often the storage was rebuilt";
    }
}

disk_struct! {
    /// Header of `fts` (`fts-api.c`).
    pub struct FtsHeader, 12 {
        0 => last_indexed_uid: u32, "last UID in the full text index";
        4 => settings_checksum: u32, "checksum of the settings it was built with";
        8 => unused: [u8; 4], "padding";
    }
}

disk_struct! {
    /// Header of `virtual` (`virtual-storage.h`); mailbox records and then names follow.
    pub struct VirtualHeader, 16 {
        0 => change_counter: u32, "grows with each change of this header";
        4 => mailbox_count: u32, "mailbox records that follow";
        8 => highest_mailbox_id: u32, "highest mailbox id given so far";
        12 => search_args_crc32: u32, "CRC32 of the search that defines the mailbox";
    }
}

disk_struct! {
    /// One mailbox in the header of `virtual` (`struct virtual_mail_index_mailbox_record`).
    pub struct VirtualMailbox, 24 {
        0 => id: u32, "mailbox_id of the records";
        4 => name_len: u32, "length of its name in bytes";
        8 => uid_validity: u32, "its uid_validity at the last sync";
        12 => next_uid: u32, "its next_uid at the last sync";
        16 => highest_modseq: u64, "its highest modseq at the last sync";
    }
}

disk_struct! {
    /// Header of `virtual2` (`struct virtual_mail_index_ext2_header`); one GUID record per mailbox follows.
    pub struct Virtual2Header, 8 {
        0 => version: u8, "1";
        1 => ext_record_size: u8, "bytes per mailbox record";
        2 => hdr_size: u16, "bytes of this header";
        4 => change_counter: u32, "must equal that of virtual, else the header is void";
    }
}

disk_struct! {
    /// Header of `hdr-pop3-uidl` (`struct mailbox_index_pop3_uidl`).
    pub struct Pop3UidlHeader, 4 {
        0 => max_uid_with_pop3_uidl: u32, "highest UID known to have a POP3 UIDL of its own";
    }
}

disk_struct! {
    /// Header of `last-rename-stamp` (`index-storage.c`).
    pub struct LastRenameHeader, 4 {
        0 => last_rename_stamp: u32, "when the mailbox was last renamed, UNIX time";
    }
}

disk_struct! {
    /// Header of `subs` in a list index (`mailbox-list-index-iter.c`).
    pub struct SubsHeader, 4 {
        0 => mtime: u32, "mtime of the subscriptions file when last read";
    }
}

disk_struct! {
    /// Header of `list2` in a list index (`struct mailbox_list_index_header2`).
    pub struct List2Header, 4 {
        0 => inbox_inbox_name_id: u32, "name_id that stands for prefix/INBOX";
    }
}

disk_struct! {
    /// Header of `virtual-guid` (`virtual-storage.c`).
    pub struct VirtualGuidHeader, 16 {
        0 => guid: [u8; 16], "GUID of the virtual mailbox";
    }
}

disk_struct! {
    /// Record of `mdbox` and of `mobox` (`struct mdbox_mail_index_record`).
    pub struct MdboxRecord, 8 {
        0 => map_uid: u32, "UID in the map index";
        4 => save_date: u32 as time, "when the mail was saved, UNIX time";
    }
}

disk_struct! {
    /// Record of `dbox` in 1.1 and 1.2 (`struct dbox_mail_index_record`).
    pub struct DboxRecord, 8 {
        0 => file_id: u32, "number of the message file; bit 31 marks a u.UID file";
        4 => offset: u32, "offset in that file, in bytes";
    }
}

disk_struct! {
    /// Record of `map` in `dovecot.map.index` (`struct mdbox_map_mail_index_record`).
    pub struct MapRecord, 12 {
        0 => file_id: u32, "N of the m.N file";
        4 => offset: u32, "offset in that file, in bytes";
        8 => size: u32, "bytes the mail takes there, with its headers";
    }
}

disk_struct! {
    /// Record of `mobox-map`, as far as `doveadm-dump-index.c` knows it.
    pub struct MoboxMapRecord, 24 {
        0 => offset: u32, "offset in the object, in bytes";
        4 => size: u32, "size in bytes";
        8 => oid: [u8; 16], "id of the object";
    }
}

disk_struct! {
    /// Record of `virtual` (`struct virtual_mail_index_record`).
    pub struct VirtualRecord, 8 {
        0 => mailbox_id: u32, "id of the mailbox in the header";
        4 => real_uid: u32, "UID in that mailbox";
    }
}

disk_struct! {
    /// Record of `list` in a list index (`struct mailbox_list_index_record`).
    pub struct ListRecord, 28 {
        0 => name_id: u32, "id of the name in the header";
        4 => parent_uid: u32, "uid of the parent record, 0 at the root";
        8 => guid: [u8; 16], "GUID of the mailbox, zero while unknown";
        24 => uid_validity: u32, "its uid_validity, zero while unknown";
    }
}

disk_struct! {
    /// Record of `msgs` in a list index (`struct mailbox_list_index_msgs_record`).
    pub struct MsgsRecord, 16 {
        0 => messages: u32, "messages";
        4 => unseen: u32, "messages without \\Seen";
        8 => recent: u32, "recent messages";
        12 => uidnext: u32, "next UID";
    }
}

disk_struct! {
    /// Record of `1saved` in a list index (`struct mailbox_index_first_saved`).
    pub struct FirstSavedRecord, 8 {
        0 => uid: u32, "UID of the first message, 0 when there is none";
        4 => timestamp: u32 as time, "when it was saved, UNIX time; 0xffffffff when there is none";
    }
}

disk_struct! {
    /// Record of `index sync` in a list index (`struct index_storage_list_index_record`).
    pub struct IndexSyncRecord, 8 {
        0 => size: u32, "size of the mailbox's log, in bytes";
        4 => mtime: u32, "its mtime";
    }
}

disk_struct! {
    /// Record of `maildir` in a list index (`struct maildir_list_index_record`).
    pub struct MaildirListRecord, 8 {
        0 => new_mtime: u32 as time, "mtime of new/";
        4 => cur_mtime: u32 as time, "mtime of cur/";
    }
}

disk_struct! {
    /// Record of `mbox` in a list index (`struct mbox_list_index_record`).
    pub struct MboxListRecord, 8 {
        0 => mtime: u32, "mtime of the mbox file";
        4 => size: u32, "its size in bytes";
    }
}

disk_struct! {
    /// The fixed part of the header of `keywords`.
    pub(super) struct KeywordsCount, 4 {
        0 => keywords_count: u32, "number of keywords";
    }
}

disk_struct! {
    /// The fixed part of the header of `list`.
    pub(super) struct ListFlag, 1 {
        0 => refresh_flag: u8, "changed to make other processes refresh the list";
    }
}

/// Is it a name that Dovecot would register or accept (`mail_index_ext_name_is_valid`)? At most 63 ASCII letters,
/// digits, `-`, `_` and spaces. The empty name is valid: it marks a broken extension.
pub fn name_is_valid(name: &[u8]) -> bool {
    name.len() < 64 && name.iter().all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b' '))
}

/// The largest `hdr_size` Dovecot accepts, in bytes (`MAIL_INDEX_EXT_HEADER_MAX_SIZE`).
pub const EXT_HEADER_MAX_SIZE: u32 = (1024 * 1024 * 16) - 1;

/// The checks of `mail_index_map_ext_hdr_check`; `index_record_size` is the `record_size` of the index header, in
/// bytes.
///
/// # Errors
/// The reason in Dovecot's own words, when opening the index would end in fsck.
pub fn ext_hdr_check(index_record_size: u32, ext: &ExtHeader, name: &[u8]) -> Result<(), String> {
    if ext.record_size == 0 && ext.hdr_size == 0 {
        return Err("Invalid field values".into());
    }
    if !name_is_valid(name) {
        return Err("Invalid name".into());
    }
    if ext.record_size != 0 {
        check_record(index_record_size, ext)?;
    }
    if ext.hdr_size > EXT_HEADER_MAX_SIZE {
        return Err(format!("Header size too large ({})", ext.hdr_size));
    }
    Ok(())
}

/// `mail_index_map_ext_hdr_check_record`.
fn check_record(index_record_size: u32, ext: &ExtHeader) -> Result<(), String> {
    let (offset, size, align) = (u32::from(ext.record_offset), u32::from(ext.record_size), ext.record_align);
    if align == 0 {
        return Err("Record field alignment is zero".into());
    }
    if align > 8 {
        return Err("Record alignment is too large".into());
    }
    if size >= 32768 {
        return Err("Record size is too large".into());
    }
    // An intro in the log has no place yet.
    if offset == 0 {
        return Ok(());
    }
    if offset.saturating_add(size) > index_record_size {
        return Err(format!("Record field points outside record size ({offset}+{size} > {index_record_size})"));
    }
    if !offset.is_multiple_of(u32::from(align)) {
        return Err(format!("Record field alignment {align} not used"));
    }
    if !index_record_size.is_multiple_of(u32::from(align)) {
        return Err(format!("Record size not aligned by {align} as required by extension"));
    }
    Ok(())
}
