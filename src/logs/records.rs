//! Log records as members of a report: what `dump`, `log` and others say of a record, in the same words.

use crate::format::ext::RecordKind;
use crate::format::index::IndexHeader;
use crate::format::intros::{BY_NAME, ExtNames};
use crate::format::record::{
    Append, AtomicInc, ExpungeGuid, ExtReset, FlagUpdate, ModseqUpdate, Record, RecordType, UidRange,
};
use crate::format::{Disk, Endian, Field, Value};
use crate::model::UidSet;
use crate::render::Emit;

/// Emits a log record's members, `data` included.
pub fn emit_record<E: Emit>(emit: &mut E, record: &Record<'_>, names: &ExtNames) {
    emit.number("offset", record.offset);
    emit.number("size", u64::from(record.size));
    let kind = record.kind();
    emit.text("type", kind.map_or("unknown", RecordType::name).as_bytes());
    emit.boolean("external", record.external());
    emit.boolean("sync", record.sync());
    emit.number("modseq", record.modseq);
    if kind.is_none() {
        emit.number("type_raw", u64::from(record.type_raw));
    }
    emit_data(emit, record, kind, names);
    if let Some(problem) = record.flaw() {
        emit.text("error", problem.to_string().as_bytes());
    }
}

fn emit_list<E: Emit, T>(emit: &mut E, items: impl Iterator<Item = T>, mut one: impl FnMut(&mut E, T)) {
    emit.list_begin("data");
    for item in items {
        emit.object_begin("");
        one(emit, item);
        emit.object_end();
    }
    emit.list_end();
}

fn emit_range<E: Emit>(emit: &mut E, range: &UidRange) {
    emit.number("uid1", u64::from(range.uid1));
    emit.number("uid2", u64::from(range.uid2));
}

/// The payload of a record as the member `data`.
pub fn emit_data<E: Emit>(emit: &mut E, record: &Record<'_>, kind: Option<RecordType>, names: &ExtNames) {
    match kind {
        Some(RecordType::Append) => emit_list(emit, record.elements::<Append>(), |emit, append| {
            emit.number("uid", u64::from(append.uid));
            emit.flags("flags", append.flags);
        }),
        Some(RecordType::Expunge | RecordType::KeywordReset) => {
            emit_list(emit, record.elements::<UidRange>(), |emit, range| emit_range(emit, &range));
        }
        Some(RecordType::ExpungeGuid) => emit_list(emit, record.elements::<ExpungeGuid>(), |emit, one| {
            emit.number("uid", u64::from(one.uid));
            emit.hex("guid_128", &one.guid_128);
        }),
        Some(RecordType::FlagUpdate) => emit_list(emit, record.elements::<FlagUpdate>(), |emit, update| {
            emit.number("uid1", u64::from(update.uid1));
            emit.number("uid2", u64::from(update.uid2));
            emit.flags("add_flags", update.add_flags);
            emit.flags("remove_flags", update.remove_flags);
            emit.number("modseq_inc_flag", u64::from(update.modseq_inc_flag));
        }),
        Some(RecordType::KeywordUpdate) => {
            emit.object_begin("data");
            if let Some((update, name, ranges)) = record.keyword_update() {
                match update.modify_type {
                    0 => emit.text("modify_type", b"add"),
                    1 => emit.text("modify_type", b"remove"),
                    other => emit.number("modify_type", u64::from(other)),
                }
                emit.text("name", name);
                emit.list_begin("uids");
                for range in ranges {
                    emit.object_begin("");
                    emit_range(emit, &range);
                    emit.object_end();
                }
                emit.list_end();
            }
            emit.object_end();
        }
        Some(RecordType::HeaderUpdate) => {
            emit_list(emit, record.header_chunks(), |emit, chunk| {
                emit.number("offset", u64::from(chunk.offset));
                emit.number("size", chunk.data.len() as u64);
                emit.hex("data", chunk.data);
                emit.object_begin("fields");
                base_fields(emit, chunk.offset as usize, chunk.data, record.endian);
                emit.object_end();
            });
        }
        Some(RecordType::ExtHdr | RecordType::ExtHdr32) => {
            let header = names.current_known().and_then(|known| known.header_kind(u32::MAX));
            emit_list(emit, record.header_chunks(), |emit, chunk| {
                emit.number("offset", u64::from(chunk.offset));
                emit.number("size", chunk.data.len() as u64);
                emit.hex("data", chunk.data);
                if let Some(header) = header {
                    header.visit_range("fields", chunk.offset as usize, chunk.data, record.endian, emit);
                }
            });
        }
        Some(RecordType::ExtIntro) => emit_list(emit, record.intros(), |emit, intro| {
            let fixed = &intro.intro;
            if fixed.ext_id == BY_NAME {
                emit.null("ext_id")
            } else {
                emit.number("ext_id", u64::from(fixed.ext_id))
            }
            emit.number("reset_id", u64::from(fixed.reset_id));
            emit.number("hdr_size", u64::from(fixed.hdr_size));
            emit.number("record_size", u64::from(fixed.record_size));
            emit.number("record_align", u64::from(fixed.record_align));
            emit.number("flags", u64::from(fixed.flags));
            match names.name_of(fixed).filter(|_| intro.name.is_empty()) {
                Some(name) => emit.text("name", name),
                None if intro.name.is_empty() => emit.null("name"),
                None => emit.text("name", intro.name),
            }
        }),
        Some(RecordType::ExtReset) => {
            let reset = ExtReset::read(record.payload, record.endian);
            emit.object_begin("data");
            emit.number("new_reset_id", u64::from(reset.new_reset_id));
            emit.number("preserve_data", u64::from(reset.preserve_data));
            emit.object_end();
        }
        Some(RecordType::ExtRec) => {
            // How long its elements are is not known without an introduction.
            let Some(intro) = names.current() else { return emit.hex("data", record.payload) };
            let size = intro.record_size;
            let kind = names.current_known().and_then(|known| known.record_kind(size));
            let text = String::from_utf8_lossy(names.current_name().unwrap_or_default());
            emit_list(emit, record.ext_recs(size), |emit, (uid, data)| {
                emit.number("uid", u64::from(uid));
                emit.hex("data", data);
                match kind {
                    Some(kind @ (RecordKind::Fields(_) | RecordKind::Obox)) => {
                        kind.visit("fields", data, record.endian, emit);
                    }
                    Some(kind) => {
                        emit.object_begin("fields");
                        kind.visit(&text, data, record.endian, emit);
                        emit.object_end();
                    }
                    None => {}
                }
            });
        }
        Some(RecordType::ExtAtomicInc) => emit_list(emit, record.elements::<AtomicInc>(), |emit, inc| {
            emit.number("uid", u64::from(inc.uid));
            emit.signed("diff", i64::from(inc.diff));
        }),
        Some(RecordType::ModseqUpdate) => emit_list(emit, record.elements::<ModseqUpdate>(), |emit, update| {
            emit.number("uid", u64::from(update.uid));
            emit.number("modseq", update.modseq());
        }),
        Some(RecordType::Boundary) => {
            emit.object_begin("data");
            emit.number("size", u64::from(record.boundary_size().unwrap_or(0)));
            emit.object_end();
        }
        Some(RecordType::AttributeUpdate) => {
            emit_list(emit, record.attributes(), |emit, attribute| {
                emit.text("key", attribute.key);
                emit.boolean("private", attribute.private);
                emit.boolean("set", attribute.set);
                match attribute.timestamp {
                    Some(time) => emit.number("timestamp", u64::from(time)),
                    None => emit.null("timestamp"),
                }
                if let Some(len) = attribute.value_len {
                    emit.number("value_len", u64::from(len));
                }
            });
        }
        Some(RecordType::IndexDeleted | RecordType::IndexUndeleted) => {
            emit.object_begin("data");
            emit.object_end();
        }
        None => emit.hex("data", record.payload),
    }
}

/// The fields of the base header that lie wholly in a piece of it.
fn base_fields<E: Emit>(emit: &mut E, offset: usize, data: &[u8], endian: Endian) {
    let inside = |field: &Field| field.offset >= offset && field.offset + field.size <= offset + data.len();
    if !IndexHeader::FIELDS.iter().any(inside) {
        return;
    }
    let mut bytes = vec![0; IndexHeader::SIZE.max(offset + data.len())];
    bytes[offset..offset + data.len()].copy_from_slice(data);
    let header = IndexHeader::read(&bytes, endian);
    for (field, value) in IndexHeader::FIELDS.iter().zip(header.values()).filter(|(field, _)| inside(field)) {
        match value {
            Value::U64(n) => emit.number(field.name, n),
            Value::I64(n) => emit.signed(field.name, n),
            Value::Bytes(bytes) => emit.hex(field.name, bytes),
            Value::List(list) => {
                emit.list_begin(field.name);
                list.iter().for_each(|n| emit.number("", u64::from(*n)));
                emit.list_end();
            }
        }
    }
}

/// True when a record touches a message of the set.
pub fn touches(record: &Record<'_>, names: &ExtNames, set: &UidSet) -> bool {
    record.changes(names.current()).any(|change| set.intersects(change.uid1, change.uid2))
}
